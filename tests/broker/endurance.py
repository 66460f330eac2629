"""Ten minutes of the default rule through a real broker: d = 384, 10,000 open pools, labels flowing,
new completions coming in, one SIGKILL on the way. Memory stays flat, nothing is lost or doubled.

Prints one JSON line a minute and one of the whole.
"""

import json
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import judge  # noqa: E402
from support.conditions import eventually  # noqa: E402
from support.labeller import Labeller  # noqa: E402
from support.ledger import TOPICS, read_run  # noqa: E402
from support.load import Background, Flow  # noqa: E402
from support.stage import Stage  # noqa: E402

SIZE = 16  # completions a pool holds: full from the start, so that memory has no reason to grow


def sample(worker, begun):
    metrics = worker.metrics()
    return {"second": round(time.monotonic() - begun), "rss_mib": worker.resident_bytes() >> 20,
            "pools": metrics.get("infopair_pools_open"), "fit_id": metrics.get("infopair_fit_id"),
            "in_flight": metrics.get("infopair_requests_in_flight"),
            "policy_trace": metrics.get("infopair_policy_trace")}


def watch(stage, seconds, begun):
    """Samples each 10 s for `seconds`; the worker must be alive all the time."""
    samples = []
    end = time.monotonic() + seconds

    def next_sample():
        stage.worker.must_live()
        samples.append(sample(stage.worker, begun))
        if len(samples) % 6 == 1:
            print(json.dumps(samples[-1]), flush=True)
        return time.monotonic() > end
    eventually(next_sample, seconds + 60, "the time is over", every=10)
    return samples


def check_flat(samples, limit):
    """After a fifth of the time, memory neither grows by more than 5 % nor passes 1.25 x its limit
    (code, librdkafka's and BLAS's own buffers come on top of the budget)."""
    settled = [each["rss_mib"] for each in samples[len(samples) // 5:]]
    first, last = numpy.median(settled[:5]), numpy.median(settled[-5:])
    print(f"resident: {first:.0f} MiB, at the end {last:.0f} MiB, largest {max(settled)} MiB")
    assert last <= 1.05 * first, "memory grows"
    assert max(settled) <= 1.25 * limit, "memory passes its limit"


def loop(stage, flow, chosen):
    labeller = Labeller(stage.brokers, TOPICS["pairs"], TOPICS["labels"], flow.probability_left)
    begun = time.monotonic()
    stage.worker.start(ready=True, timeout=180)
    load = Background(lambda stopped: labeller.run(10 ** 9, stopped),
                      lambda stopped: flow.trickle(chosen.pools, chosen.rate, stopped))
    watch(stage, 0.3 * chosen.seconds, begun)
    assert stage.worker.kill() == -signal.SIGKILL
    restarted = time.monotonic()
    stage.worker.start(ready=True, timeout=180)
    restore = time.monotonic() - restarted
    samples = watch(stage, 0.7 * chosen.seconds, begun)
    load.stop()
    labeller.close()
    stage.flush()
    return samples, restore


def main():
    chosen = environment.arguments(__doc__, seconds=600, pools=10000, dimension=384, rate=100,
                                   labels_per_second=2.0, memory=1024)
    options = {"features.dimension": chosen.dimension, "pool.size": SIZE, "pool.max": SIZE,
               "pool.age": "2d",
               "memory.limit": f"{chosen.memory}MiB",
               "budget.per_second": chosen.labels_per_second, "budget.in_flight": 100}
    with Stage(chosen.build, options, chosen.keep) as stage:
        flow = Flow(stage, chosen.dimension, SIZE)
        flow.fill(chosen.pools)
        samples, restore = loop(stage, flow, chosen)
        eventually(lambda: stage.worker.metric("infopair_labels_waiting") == 0, 60, "labels settle")
        assert stage.worker.terminate(90) == 0
        run = read_run(stage.brokers)
        judge.check_no_dead_letters(run)
        judge.check_nothing_doubled(run)
        judge.check_pairs_are_the_selected(run)
        judge.check_fits(run)
        assert samples[-1]["pools"] == chosen.pools, f"{samples[-1]['pools']} pools are open"
        expected = chosen.labels_per_second * chosen.seconds
        assert len(run.of("labelled")) >= 0.5 * expected, \
            f"{len(run.of('labelled'))} labels, the budget was {expected}"
        check_flat(samples, chosen.memory)
        print(json.dumps({"seconds": chosen.seconds, "completions": flow.written,
                          "pairs": len(run.pairs), "labels": len(run.of("labelled")),
                          "fits": len(run.of("fit")), "restore_seconds": round(restore, 1)}))


if __name__ == "__main__":
    main()
