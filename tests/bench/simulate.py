"""Seconds of `infopair simulate` against NumPy: the main world, d = 32, twelve rules, 24 seeds.

The reference (numpy_worlds) takes all seeds through each step together; its time is that of the
faster of one process with two BLAS threads and of two processes with half of the seeds each, on the
same two cores and with its start and imports, as ours. "wall": seconds of the clock; "processor":
seconds of processors. All runs after the first of a program that takes minutes are left out.

Both must mean the same: the line of each rule has its c ratio by both, and by how many standard errors
they differ; more than DEVIATIONS fails. Both draw worlds of their own.
"""

import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import rules as rules_bench  # noqa: E402
from numpy_rules import RULES  # noqa: E402

CORES = 2
SECONDS, FASTER = 20, 5  # asked: at most, and by how much
DEVIATIONS = 4
ONCE = 180  # seconds from which a run is not repeated
NUMPY = Path(__file__).resolve().with_name("numpy_worlds.py")


def timed(commands, threads):
    """Runs the commands side by side: (wall, processor, output of each)."""
    def run(words):
        done = subprocess.run(words, env=os.environ | {"OPENBLAS_NUM_THREADS": str(threads)},
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with ThreadPoolExecutor(len(commands)) as pool:
        output = list(pool.map(run, commands))
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output


def repeated(runs, commands, threads):
    """The same up to `runs` times: walls, processors, the last output as lines by rule and seed."""
    walls, processors, found = [], [], {}
    while len(walls) < runs and (not walls or walls[0] < ONCE):
        wall, processor, output = timed(commands, threads)
        walls.append(wall)
        processors.append(processor)
    for line in map(json.loads, "".join(output).splitlines()):
        seeds = line.get("seeds") or [line["seed"]]
        costs = line["c"] if isinstance(line["c"], list) else [line["c"]]
        found.setdefault(line["rule"], {}).update(
            {seed: {"c": c} for seed, c in zip(seeds, costs)})
    return walls, processors, found


def ours(chosen):
    words = [chosen.build / "infopair", "simulate", "main", "--with", f"dimension={chosen.dimension}",
             "--labels", str(chosen.labels), "--seeds", str(chosen.seeds), "--rules", ";".join(RULES),
             "--jobs", str(CORES), "--runs", "--quiet"]
    return repeated(chosen.runs, [words], 1)


def numpy_by(chosen, processes):
    """By so many processes, which share the seeds and the cores."""
    each = chosen.seeds // processes
    edges = [k * each for k in range(processes)] + [chosen.seeds]
    commands = [[sys.executable, NUMPY, "--seeds", f"{first + 1}-{last}", "--dimension",
                 str(chosen.dimension), "--labels", str(chosen.labels)]
                for first, last in zip(edges, edges[1:])]
    return repeated(chosen.runs, commands, CORES // processes)


def compare_times(chosen, engine, programs):
    """Lines of both times; whether what is asked is met."""
    name = min(programs, key=lambda each: median(programs[each][0]))
    case = {"d": chosen.dimension, "n": 16, "labels": chosen.labels, "seeds": chosen.seeds,
            "rules": len(RULES), "cores": CORES}
    met = True
    for place, measure in enumerate(("wall", "processor")):
        values, references = engine[place], programs[name][place]
        value, reference = median(values), median(references)
        line = {"bench": "simulate", "case": case | {"time": measure, "runs": len(values)},
                "value": round(value, 2), "min": round(min(values), 2), "max": round(max(values), 2),
                "unit": "s", "better": "lower", "reference": f"NumPy, {name}",
                "reference_value": round(reference, 2), "reference_runs": len(references),
                "ratio": round(value / reference, 4),
                "all": {each: round(median(times[place]), 2) for each, times in programs.items()}}
        if measure == "wall":
            met = value <= SECONDS and value <= reference / FASTER
            line |= {"bound": 1 / FASTER, "most": SECONDS, "met": met}
        print(json.dumps(line), flush=True)
    return met


def compare_ratios(engine, program):
    """Lines of the rules' c ratios by both; whether they agree."""
    agree = True
    for rule in RULES:
        if rule == "uniform":
            continue
        (value, error), (reference, other) = (
            rules_bench.ratio_of(found["uniform"], found[rule]) for found in (engine, program))
        deviations = (value - reference) / sqrt(error ** 2 + other ** 2)
        met = abs(deviations) <= DEVIATIONS
        print(json.dumps({
            "bench": "simulate", "case": {"rule": rule, "seeds": len(engine[rule])},
            "value": round(value, 4), "error": round(error, 4), "unit": "c ratio",
            "better": "higher", "reference": "NumPy", "reference_value": round(reference, 4),
            "reference_error": round(other, 4), "ratio": round(value / reference, 4),
            "deviations": round(deviations, 2), "deviations_bound": DEVIATIONS, "met": met}),
            flush=True)
        agree = agree and met
    return agree


def main():
    chosen = environment.arguments(__doc__, runs=3, seeds=24, dimension=32, labels=2000)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    engine = ours(chosen)
    programs = {f"{count} process{'es' * (count > 1)} of {CORES // count} thread"
                f"{'s' * (count < CORES)}": numpy_by(chosen, count) for count in (1, CORES)}
    agree = compare_ratios(engine[2], next(iter(programs.values()))[2])
    if not compare_times(chosen, engine, programs) or not agree:
        print("simulate: beyond a bound", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
