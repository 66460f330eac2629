"""The memory budget holds: under a flood of completions, and while transactions do not end.

flood: far more completions than fit are written beforehand; resident memory stays below
memory.limit from the first record to the last, and every completion was taken.
stalled: the broker holds an EndTxn back while completions go on to come; reading pauses, memory
stays below the limit, and once the connection ends the loop goes round again with nothing lost.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support.conditions import eventually  # noqa: E402
from support.faults import OPTIONS, Scene  # noqa: E402
from support.kafka import KafkaCluster  # noqa: E402
from support.load import Flow  # noqa: E402
from support.proxy import HOLD, Proxy  # noqa: E402
from support.stage import Stage  # noqa: E402

LIMIT = 128 << 20
DIMENSION = 64
SIZE = 16
SMALL = {"memory.limit": "128MiB", "labels.max": 2000, "limits.record": "64KiB",
         "limits.text": "4KiB"}


class Peak:
    """Largest resident memory that was seen of a worker."""

    def __init__(self, worker):
        self.worker = worker
        self.bytes = 0

    def look(self):
        self.worker.must_live()
        self.bytes = max(self.bytes, self.worker.resident_bytes())
        return self.bytes

    def judge(self, name):
        print(f"{name}: resident memory at most {self.bytes >> 20} MiB of {LIMIT >> 20}", flush=True)
        assert self.bytes <= LIMIT, f"{name}: memory.limit does not hold"


def flood(chosen, pools):
    options = {**OPTIONS, **SMALL, "features.dimension": DIMENSION, "pool.size": SIZE,
               "pool.max": SIZE}
    with Stage(chosen.build, options, chosen.keep) as stage:
        Flow(stage, DIMENSION, SIZE).fill(pools)
        worker = stage.worker.start()
        peak = Peak(worker)

        def all_taken():
            peak.look()
            taken[0] = worker.metrics().get("infopair_completions_total")
            return taken[0] == pools * SIZE
        taken = [None]
        eventually(all_taken, 90, "every completion is taken", every=0.05)
        closed = worker.metrics()["infopair_pools_closed_total{}"]
        evicted = sum(count for labels, count in closed.items() if ("reason", "memory") in labels)
        assert evicted > 0, "all pools fitted: this was no flood"
        peak.judge(f"flood of {pools * SIZE} completions, {evicted:.0f} pools evicted")


def stalled(chosen):
    kafka = KafkaCluster(keep=chosen.keep)
    with Proxy(kafka.broker()) as proxy:
        options = {**SMALL, "kafka.brokers": proxy.address, "commit.records": 300,
                   "kafka.transaction_timeout": "60s"}
        with Scene(chosen, options=options, kafka=kafka) as scene:
            peak = Peak(scene.workers[0])
            held = proxy.inject("EndTxn", HOLD)
            eventually(lambda: held.done, 30, "an EndTxn is held back")

            def paused():
                peak.look()
                return "reading pauses" in scene.workers[0].log_tail(200)
            eventually(paused, 60, "reading pauses", every=0.05)
            held.ended.set()
            scene.await_progress()
            peak.look()
            peak.judge("stalled transaction")
            scene.verdict("a transaction that does not end", 1, [0.0])


def main():
    chosen = environment.arguments(__doc__, pools=20000)
    flood(chosen, chosen.pools)
    stalled(chosen)


if __name__ == "__main__":
    main()
