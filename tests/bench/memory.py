"""Resident bytes of what the engine keeps, against what it must hold.

An open completion: 4 d for its features, its texts, and 64. A window pair, that is a request and its
label: 4 d for its vector, and 128. Each case is an engine alone in a process of its own.
"""

import json
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

BOUND = 1.15
DIMENSIONS = (64, 384)
COMPLETIONS = {"text": (1000, 0), "uri": (0, 60)}  # bytes of text and of uri
COUNT = 96000


def measure(build, *words):
    return environment.lines_of(build / "tests" / "bench" / "memory", *words)[0]


def report(case, unit, runs, count, reference, formula):
    values = [run["resident"] / count for run in runs]
    value = median(values)
    print(json.dumps({
        "bench": "memory", "case": case, "value": round(value, 1), "min": round(min(values), 1),
        "max": round(max(values), 1), "store": round(runs[0]["store"] / count, 1), "unit": unit,
        "better": "lower", "reference": formula, "reference_value": round(reference, 1),
        "ratio": round(value / reference, 4), "bound": BOUND}), flush=True)
    return value <= BOUND * reference


def main():
    chosen = environment.arguments(__doc__, runs=3, scale=1.0)
    count = int(COUNT * chosen.scale)
    within = True
    for d in DIMENSIONS:
        for name, (text, uri) in COMPLETIONS.items():
            runs = [measure(chosen.build, "completions", d, count, text, uri)
                    for _ in range(chosen.runs)]
            held = runs[0]["text"] / count
            within &= report({"what": "open completion", "d": d, "n": 16, "with": name,
                              "completions": count}, "bytes/completion", runs, count,
                             4 * d + 64 + held, "4 d + 64 + text held")
        runs = [measure(chosen.build, "requests", d, count) for _ in range(chosen.runs)]
        within &= report({"what": "window pair", "d": d, "requests": count}, "bytes/pair", runs,
                         count, 4 * d + 128, "4 d + 128")
    if not within:
        print("memory: beyond the bound", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
