"""Every rule of the library in a world whose truth is known, against uniform pairs.

The log-linear world: 100 prompts of 64 completions, pools of 16, d = 8, beta .5; a round has 50
pools and 50 labels, after which its pools are thrown away. All rules run through the worker's
engine, with their default parameters or those that the line names, and no control arm; a seed is
one world with its pools and its labels' random numbers, the same for all rules. Per rule:
  ratio   c(uniform) / c(rule), c = T tr(I F^-1) at the truth: how many times fewer labels do in
          the end, with its standard error
  gap     mean log of the policy's gap over that of uniform's policy, of the same seed
  merit, margin, likely   of the asked pairs, less those of uniform's: reward of the two above their
          prompt's mean, absolute difference of their rewards, log pi_ref of the two
  pick    processor time of the tick that asks, by its pairs, at d = 64: 50 pools opened, all picks,
          their records; the median of a run. The fit and the moments are not in it
Where the ratio cannot be told from 1 within three standard errors, the rule runs also where the
reference policy has been trained on the true reward once already (`informed`): there the order in
which completions come, and their likelihood, tell of their reward.

--rules A,B runs those only. --table FILE writes the last three columns of the table of rules in
that file anew; with --lines FILE from the lines of an earlier run.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from math import log, sqrt
from pathlib import Path
from statistics import mean, median, stdev

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

PROCESSES = 2
LABELS, REFERENCE_LABELS, TIME_LABELS = 500, 2000, 100
ROUND = 50
SHORTER = "selection.candidates=400"
# Those that take milliseconds a pick run on half of the seeds, and some on shorter lists.
SLOW = {"mi": (), "ens_var_logit": (), "var_prob": (), "kl": (), "dopt_fw": (), "list_fw": (),
        "gopt_round": (SHORTER,), "fisher_ratio": (SHORTER,), "batchbald": (SHORTER,),
        "max_herding": (SHORTER,), "uherding": (SHORTER,), "knn_herding": (SHORTER,)}
MEASURES = ("gap", "merit", "margin", "likely")
# c in the same world at T = 2000 by an independent NumPy program, 24 seeds.
REFERENCE = {("uniform", ""): 17.9, ("policy_trace", ""): 4.14,
             ("policy_trace", "pool.picks=1"): 5.93}
COLUMNS = ("measured c ratio", "measured time of a pick", "a tie differs in")


def run(build, seed, labels, dimension, rules, informed=0.0, lapse=0.0, more=()):
    """Runs of one seed, in the order of the rules, each "RULE[,OPTION=VALUE]..."; more: further fields
    of the scene. The line of a run has the rule's name, its options, and the last gap."""
    fields = {"dimension": dimension, "informed": informed, "lapse": lapse, **dict(more)}
    rules = list(rules)
    done = subprocess.run(
        [build / "infopair", "simulate", "main", "--quiet", "--runs", "--jobs", "1", "--seeds",
         f"{seed}-{seed}", "--labels", str(labels), "--rules", ";".join(rules),
         *(word for name, value in fields.items() for word in ("--with", f"{name}={value}"))],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        name, *options = line["rule"].split(",")
        line |= {"rule": name, "options": [f"selection.{each}" for each in line["parameters"]] + options,
                 "gap": line["gap"][-1], "seconds": line["pick"]}
    return lines


def run_all(build, jobs):
    """Lines of all jobs, each the arguments of run, by rule and seed."""
    lines = defaultdict(dict)
    with ThreadPoolExecutor(PROCESSES) as pool:
        for done in pool.map(lambda job: run(build, *job), jobs):
            for line in done:
                lines[line["rule"]][line["seed"]] = line
    return lines


def spread(values):
    """Mean and its standard error."""
    return mean(values), stdev(values) / sqrt(len(values)) if len(values) > 1 else float("nan")


def ratio_of(base, runs):
    """c(uniform) / c(rule) of the means over seeds, and its standard error by the jackknife."""
    seeds = sorted(runs)
    over, under = [base[s]["c"] for s in seeds], [runs[s]["c"] for s in seeds]
    n = len(seeds)
    left_out = [(sum(over) - over[k]) / (sum(under) - under[k]) for k in range(n)]
    centre = mean(left_out)
    return (sum(over) / sum(under),
            sqrt((n - 1) / n * sum((value - centre) ** 2 for value in left_out)))


def compare(base, runs):
    """A rule against uniform on its own seeds: name of a measure to (value, standard error)."""
    found = {"ratio": ratio_of(base, runs)}
    for name in MEASURES:
        if name == "gap":
            differences = [log(runs[s]["gap"] / base[s]["gap"]) for s in runs]
        else:
            differences = [runs[s][name] - base[s][name] for s in runs]
        found[name] = spread(differences)
    return found


def is_tie(comparison, rule):
    value, error = comparison["ratio"]
    return rule != "uniform" and abs(value - 1) <= 3 * error


def clearest(comparison):
    """The measure that tells the rule from uniform most surely."""
    return max(MEASURES, key=lambda name: abs(comparison[name][0]) / (comparison[name][1] or 1e-9))


def rounded(pair, digits=3):
    return [float(f"{value:.{digits}g}") for value in pair]


# ---- the table ----


def figure(value, error, sign=False):
    """value +- error with as many places as the error has, at most two digits of it."""
    places = 0 if error >= 2 else 1 if error >= .095 else 2 if error >= .0095 else 3
    places = min(places, 3)
    text = f"{value:+.{places}f}" if sign else f"{value:.{places}f}"
    return f"{text} ± {max(error, 10 ** -places):.{places}f}".replace("-", "−")


def duration(seconds):
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2g} ms" if seconds < .0995 else f"{seconds:.2g} s"


def cells(report):
    if report["rule"] == "uniform":
        return "1", duration(report["pick"]), "-"
    differs = "-"
    if report["tie"]:
        name = report["differs_in"]
        differs = f"{name} {figure(*report[name], sign=True)}"
        if "informed_ratio" in report:
            differs += f"; informed {figure(*report['informed_ratio'])}"
    return figure(*report["ratio"]), duration(report["pick"]), differs


def rewrite(path, reports):
    """Puts the columns behind those of the table of rules in a file."""
    by_rule = {report["rule"]: report for report in reports}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        parts = line.split(" | ")
        if line.startswith("| rule | shape |"):
            kept = re.sub(r"( \| " + r" \| ".join(COLUMNS) + r")? \|$", "", line)
            lines[number] = " | ".join([kept, *COLUMNS]) + " |"
            lines[number + 1] = "|" + "---|" * (kept.count(" | ") + 1 + len(COLUMNS))
            width = kept.count(" | ") + 1
        name = re.match(r"\| `([a-z0-9_+/-]+)`", line)
        if name and name[1] in by_rule and len(parts) >= 6:
            row = line.removesuffix(" |").split(" | ")[:width]
            lines[number] = " | ".join([*row, *cells(by_rule[name[1]])]) + " |"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# ---- the runs ----


def reference(build, seeds):
    """c of three arms against NumPy's."""
    words = [",".join(filter(None, arm)) for arm in REFERENCE]
    found = defaultdict(list)
    with ThreadPoolExecutor(PROCESSES) as pool:
        for done in pool.map(lambda s: run(build, s, REFERENCE_LABELS, 8, words),
                             range(1, seeds + 1)):
            for line in done:
                found[line["rule"], ",".join(line["options"])].append(line["c"])
    for (rule, more), values in found.items():
        value, error = spread(values)
        print(json.dumps({
            "bench": "rules", "case": {"rule": rule, "options": more, "d": 8, "seeds": len(values),
                                       "labels": REFERENCE_LABELS},
            "value": round(value, 3), "error": round(error, 3), "unit": "c", "better": "lower",
            "reference": "NumPy", "reference_value": REFERENCE[rule, more],
            "ratio": round(value / REFERENCE[rule, more], 4)}), flush=True)


def main_world(build, names, seeds, informed=0.0):
    quick = [name for name in names if name not in SLOW]
    slow = [",".join([name, *SLOW[name]]) for name in names if name in SLOW]
    jobs = [(seed, LABELS, 8, rules, informed)
            for seed in range(1, seeds + 1)
            for rules in (quick, slow if seed <= seeds // 2 else [])
            if rules]
    return run_all(build, jobs)


def all_rules(build):
    """Names of the library's rules: the first column of the reference's table."""
    page = subprocess.run([build / "infopair", "reference"], capture_output=True, text=True, check=True)
    table = page.stdout[page.stdout.index("## Rules of"):]
    return re.findall(r"^\| `([a-z0-9_]+)`", table, re.MULTILINE)


def times(build, names):
    """Runs at d = 64 with lists of full length; one round is enough where that takes seconds."""
    long = [name for name in names if not SLOW.get(name)]
    return run_all(build, [(1, TIME_LABELS, 64, long)] +
                   [(1, ROUND, 64, [name]) for name in names if SLOW.get(name)])


def measure(chosen):
    build = chosen.build
    names = ["uniform", *chosen.rules.split(",")] if chosen.rules else all_rules(build)
    reference(build, chosen.reference_seeds)
    timed = times(build, names)
    lines = main_world(build, names, chosen.seeds)
    compared = {name: compare(lines["uniform"], lines[name]) for name in names}
    ties = [name for name in names if is_tie(compared[name], name)]
    informed = main_world(build, ["uniform", *ties], chosen.seeds, 1)
    reports = []
    for name in names:
        some = next(iter(lines[name].values()))
        report = {"bench": "rules", "rule": name, "d": 8, "labels": LABELS,
                  "seeds": len(lines[name]), "options": some["options"],
                  "c": float(f"{mean(line['c'] for line in lines[name].values()):.4g}")}
        report |= {key: rounded(pair) for key, pair in compared[name].items()}
        report["pick"] = timed[name][1]["seconds"]
        report["pick_d8"] = median(line["seconds"] for line in lines[name].values())
        report["tie"] = name in ties
        if name in ties:
            report["differs_in"] = clearest(compared[name])
            report["informed_ratio"] = rounded(ratio_of(informed["uniform"], informed[name]))
        print(json.dumps(report), flush=True)
        reports.append(report)
    return reports


def main():
    chosen = environment.arguments(__doc__, seeds=12, reference_seeds=24, rules="", table="",
                                   lines="")
    reports = [] if chosen.lines else measure(chosen)
    if chosen.lines:
        lines = map(json.loads, Path(chosen.lines).read_text(encoding="utf-8").splitlines())
        reports = [line for line in lines if "pick" in line]
    if chosen.table:
        rewrite(Path(chosen.table), reports)


if __name__ == "__main__":
    main()
