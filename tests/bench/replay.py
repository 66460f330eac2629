"""Completions a second of a processor through `infopair replay`, against the same completions given
to the engine as they are (replay_alone): what a spool, decoding and recorded labels cost.

Each rule runs over one history of files several times; time is that of the processor for the
rule's passage, as the command says it itself, without reading the files.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support.environment import log  # noqa: E402

DIMENSION, POOL, COMPLETIONS, LABELS, RATE = 64, 16, 400000, 100, 20000
LEAST = 300000  # completions a second
OPTIONS = {"policy.beta": 0.5, "budget.per_second": 10, "pool.size": POOL, "pool.max": POOL,
           "pool.age": "2d", "memory.limit": "2GiB"}


def write(folder, count):
    """Prompts of POOL completions each, one after the other; labels of the first."""
    random = numpy.random.default_rng(1)
    rows = random.standard_normal((count, DIMENSION), dtype="f4")
    rows += numpy.repeat(random.standard_normal((count // POOL, DIMENSION), dtype="f4"), POOL, axis=0)
    numpy.save(folder / "features.npy", rows)
    text = "x" * 100
    with (folder / "completions.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(f'{{"prompt_id":"p-{number // POOL:07d}","completion_id":"c-{number}",'
                       f'"text":"{text}"}}\n')
    with (folder / "labels.jsonl").open("w", encoding="utf-8") as file:
        for prompt in range(LABELS):
            file.write(json.dumps({"prompt_id": f"p-{prompt:07d}", "left_id": f"c-{POOL * prompt}",
                                   "right_id": f"c-{POOL * prompt + 1}",
                                   "outcome": "left" if prompt % 2 else "right"}) + "\n")


def replay(build, folder, rules):
    """{rule: completions a second}"""
    sets = [word for name, value in OPTIONS.items() for word in ("--set", f"{name}={value}")]
    done = subprocess.run(
        [build / "infopair", "replay", "--completions", folder / "completions.jsonl", "--features",
         folder / "features.npy", "--labels", folder / "labels.jsonl", "--rate", str(RATE),
         "--rules", ";".join(rules), *sets, "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    found = re.findall(r"replay: (\S+): (\d+) completions in ([0-9.]+) s", done.stderr)
    return {rule: int(count) / float(seconds) for rule, count, seconds in found}


def alone(build, folder, rule):
    """Completions a second of the engine alone."""
    sets = [f"{name}={value}" for name, value in OPTIONS.items()]
    said, = environment.lines_of(build / "tests" / "bench" / "replay_alone",
                                 folder / "features.npy", POOL, RATE, f"selection.rule={rule}",
                                 *sets)
    return said["completions"] / said["seconds"]


def main():
    chosen = environment.arguments(__doc__, runs=3, scale=1.0)
    count = int(COMPLETIONS * chosen.scale) // POOL * POOL
    rules = ("uniform", "policy_trace")
    rates, floors = {rule: [] for rule in rules}, {rule: [] for rule in rules}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, count)
        for run in range(chosen.runs):
            for rule in rules:
                floors[rule].append(alone(chosen.build, folder, rule))
            for rule, rate in replay(chosen.build, folder, rules).items():
                rates[rule].append(rate)
            log(f"run {run}: {({rule: round(rates[rule][-1]) for rule in rules})}")
    failed = False
    for rule in rules:
        value, floor = median(rates[rule]), median(floors[rule])
        failed |= (rule == "uniform" and value < LEAST) or value < floor / 2
        print(json.dumps({
            "bench": "replay", "case": {"rule": rule, "d": DIMENSION, "n": POOL,
                                        "completions": count, "runs": chosen.runs},
            "value": round(value), "min": round(min(rates[rule])), "max": round(max(rates[rule])),
            "unit": "completions/s", "better": "higher", "reference": "the engine alone",
            "reference_value": round(floor), "ratio": round(value / floor, 4),
            "bound": LEAST if rule == "uniform" else round(floor / 2)}), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
