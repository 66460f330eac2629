"""How long a worker takes to restore a full window, against what cannot be avoided.

The ledger holds PAIRS requests with their labels, and the fits that came of them. The worker's time
is that from its start until /ready, less that of a worker with an empty ledger in the same run. The
floor, measured beside it, is a bare consumer loop over the same topic (from its first record on)
plus one dsyrk of the window at the rate of dgemm. A second line has the time by the worker's log,
connecting and the broker's first answer included; a third the first fit of a window that was never
fitted.
"""

import json
import re
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support.conditions import eventually  # noqa: E402
from support.environment import log  # noqa: E402
from support.stage import Stage  # noqa: E402
from support.worker import Worker, settings  # noqa: E402

PAIRS = 100000
DIMENSION = 384
BOUND = 1.5
LEDGER_PARTITIONS = 3


class Ledgers:
    """Topics of a full ledger, of one without a FIT, and of an empty one."""

    def __init__(self, stage, pairs):
        self.stage = stage
        self.pairs = pairs
        self.starts = 0
        for name in ("full", "cold", "empty"):
            stage.command("topics", options=self.options(name))
        self.fill("full")
        self.fill("cold", "--no-fit")

    def tool(self, name, *words):
        return environment.lines_of(self.stage.build / "tests" / "bench" / name, *words)[0]

    def topics(self, name):
        return {f"topics.{each}": f"{name}.{each}" for each in
                ("completions", "labels", "pairs", "ledger", "dead_letters")}

    def options(self, name):
        """A group that nobody has seen, so that no start waits for another's leaving."""
        self.starts += 1
        return {**self.stage.options, **self.topics(name), "kafka.group": f"bench-{self.starts}"}

    def fill(self, name, *words):
        log(f"writing the ledger '{name}': {self.pairs} pairs")
        return self.tool("fill_ledger", *settings(self.options(name)), "--pairs", str(self.pairs),
                         *words)

    def bare_read(self, name):
        read = self.tool("consume", self.stage.brokers, f"{name}.ledger", str(LEDGER_PARTITIONS))
        return read["seconds"]

    def syrk(self):
        """Half of what a product of a matrix with its transpose takes."""
        return self.pairs * DIMENSION * (DIMENSION + 1) / self.tool("gemm")["flops"]


def logged(worker, what, field="ms"):
    """A field of the newest line that says `what`; None: there is none yet."""
    found = re.findall(rf'msg="?{what}"?[^\n]*\b{field}=(\d+)', worker.log.read_text())
    return int(found[-1]) if found else None


def restore(ledgers, name, run):
    """A start on a ledger: (seconds of the restore, seconds until it was ready, the first fit)."""
    stage = ledgers.stage
    folder = stage.folder / f"{name}-{run}"
    folder.mkdir()
    begun = time.monotonic()
    with Worker(stage.build, folder, {**ledgers.options(name),
                                      "kafka.instance": f"{name}-{run}"}) as worker:
        eventually(lambda: worker.get("/ready")[0] == 200, 120, "ready", every=0.02)
        ready = time.monotonic() - begun
        fit = eventually(lambda: logged(worker, "fitted"), 300, "the first fit") / 1000 \
            if name == "cold" else None
        seconds = (logged(worker, "restored") + logged(worker, "rebuilt")) / 1000
        if name != "empty":
            counted = logged(worker, "rebuilt", "labels")
            assert counted == ledgers.pairs, f"{counted} labels were restored"
        worker.terminate(60)
    return seconds, ready, fit


def line(values, references, pairs, runs, **more):
    print(json.dumps({
        "bench": "restore", "case": {"pairs": pairs, "d": DIMENSION, "runs": runs,
                                     **more.pop("case")},
        "value": round(median(values), 3), "min": round(min(values), 3),
        "max": round(max(values), 3), "unit": "s", "better": "lower",
        "reference_value": round(median(references), 3),
        "ratio": round(median(value / floor for value, floor in zip(values, references)), 3),
        **more}), flush=True)


def bench(ledgers, runs):
    floors, syrks, restored, ready, fits = [], [], [], [], []
    ledgers.bare_read("full")  # warms the page cache, for both alike
    for run in range(runs):
        read, syrk = ledgers.bare_read("full"), ledgers.syrk()
        seconds, full, _ = restore(ledgers, "full", run)
        _, empty, _ = restore(ledgers, "empty", run)
        floors.append(read + syrk)
        restored.append(seconds)
        ready.append(full - empty)
        log(f"run {run}: bare read {read:.3f} s, syrk {syrk:.3f} s, restored {seconds:.3f} s, "
            f"ready after {full:.2f} s, without a ledger {empty:.2f} s")
    for run in range(max(1, runs // 3)):
        syrks.append(ledgers.syrk())
        fits.append(restore(ledgers, "cold", run)[2])
        log(f"run {run}: first fit {fits[-1]:.2f} s, syrk {syrks[-1]:.3f} s")
    floor = "bare read of the ledger + dsyrk of the window at the rate of dgemm"
    line(ready, floors, ledgers.pairs, runs,
         case={"fit": "from the ledger", "time": "until /ready, less an empty ledger's"},
         bound=BOUND, reference=floor)
    line(restored, floors, ledgers.pairs, runs,
         case={"fit": "from the ledger", "time": "by the log, waits included"}, reference=floor)
    line(fits, syrks, ledgers.pairs, len(fits), case={"fit": "cold"},
         reference="dsyrk of the window at the rate of dgemm")


def main():
    chosen = environment.arguments(__doc__, runs=5, scale=1.0)
    options = {"features.dimension": DIMENSION, "labels.max": PAIRS, "memory.limit": "2GiB",
               "budget.per_second": 10}
    with Stage(chosen.build, options, chosen.keep, topics=False) as stage:
        bench(Ledgers(stage, int(PAIRS * chosen.scale)), chosen.runs)


if __name__ == "__main__":
    main()
