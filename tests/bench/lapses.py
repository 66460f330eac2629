"""What careless answers cost, and what estimating their share wins back.

The log-linear world of `rules`: pools of 16, 50 pools and 50 labels a round. A share of the answers
is a coin flip. Arms, on the same worlds and pools and with the same random numbers of labels:
  uniform   uniform pairs, the share estimated
  plain     policy_trace, answers taken as clean
  estimated policy_trace, the share estimated by evidence, 4 % of the slots on confident pairs
  known     policy_trace, the share given
Then three annotators who answer in turn, of different shares and, to see what it costs, of one:
  one       policy_trace, one share estimated for all
  each      policy_trace, one share estimated for each
Each line: mean gap of the last fit's policy with a 95 % interval, the mean estimate of the share,
and the mean log of the gap over that of `known` (of annotators: of `one`) of the same seed with its 95 % interval.
"""

import json
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from math import log, sqrt
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import environment  # noqa: E402

import rules  # noqa: E402

SEEDS = range(1, 49)
LABELS = 1000
WORLDS = [(8, 0.0), (8, 0.05), (8, 0.2), (32, 0.1)]  # features, true share
# What is asked of `estimated`: the mean gap at most, or the ratio to `known`.
ASKED = {(8, 0.0): ("gap", 1.4 * 0.0043), (8, 0.05): ("gap", 0.0075), (8, 0.2): ("gap", 0.022),
         (32, 0.1): ("ratio", 1.15)}

TEAM_SEEDS = range(1, 25)
TEAMS = [(0.0, 0.05, 0.5), (0.2, 0.2, 0.2), (0.0, 0.0, 0.0)]  # true shares, 8 features
TEAM_ARMS = {"one": "policy_trace,labels.lapse=auto,labels.by_annotator=false",
             "each": "policy_trace,labels.lapse=auto,labels.by_annotator=true"}


def arms(share):
    return {"uniform": "uniform,labels.lapse=auto", "plain": "policy_trace,labels.lapse=0",
            "estimated": "policy_trace,labels.lapse=auto",
            "known": f"policy_trace,labels.lapse={share}"}


def interval(values):
    return round(1.96 * stdev(values) / sqrt(len(values)), 6)


def measure(build, pool, dimension, share):
    def one(seed):
        return rules.run(build, seed, LABELS, dimension, arms(share).values(), lapse=share)
    gaps, estimates = defaultdict(list), defaultdict(list)
    for lines in pool.map(one, SEEDS):
        for name, line in zip(arms(share), lines):
            gaps[name].append(line["gap"])
            estimates[name].append(line["lapse"])
    for name, values in gaps.items():
        logs = [log(gap / known) for gap, known in zip(values, gaps["known"])]
        line = {"bench": "lapses", "d": dimension, "share": share, "arm": name,
                "gap": round(mean(values), 6), "gap_interval": interval(values),
                "estimate": round(mean(estimates[name]), 4),
                "log_ratio_to_known": round(mean(logs), 4),
                "log_ratio_interval": interval(logs) if name != "known" else 0,
                "seeds": len(values)}
        if name == "estimated":
            kind, most = ASKED[dimension, share]
            value = mean(values) if kind == "gap" else mean(values) / mean(gaps["known"])
            line.update(asked=f"{kind} <= {most:.4g}", value=round(value, 5), met=value <= most)
        print(json.dumps(line), flush=True)


def measure_team(build, pool, shares):
    def one(seed):
        return rules.run(build, seed, LABELS, 8, TEAM_ARMS.values(),
                         more={"annotators": ",".join(map(str, shares))})
    runs = {name: [] for name in TEAM_ARMS}
    for lines in pool.map(one, TEAM_SEEDS):
        for name, line in zip(TEAM_ARMS, lines):
            runs[name].append(line)
    for name, lines in runs.items():
        gaps = [line["gap"] for line in lines]
        logs = [log(line["gap"] / base["gap"]) for line, base in zip(lines, runs["one"])]
        line = {"bench": "lapses", "d": 8, "shares": shares, "arm": name,
                "gap": round(mean(gaps), 6), "gap_interval": interval(gaps),
                "estimate": round(mean(line["lapse"] for line in lines), 4),
                "estimates": [round(mean(values), 3)
                              for values in zip(*(line["lapses"] for line in lines))],
                "log_ratio_to_one": round(mean(logs), 4),
                "log_ratio_interval": interval(logs) if name != "one" else 0, "seeds": len(gaps)}
        if name == "each":
            # A gain is to be beyond its interval where they differ, a loss not where they are alike.
            differ = len(set(shares)) > 1
            bound = line["log_ratio_to_one"] + line["log_ratio_interval"] * (1 if differ else -1)
            line.update(asked=f"log ratio {'+' if differ else '-'} interval <= 0",
                        value=round(bound, 4), met=bound <= 0)
        print(json.dumps(line), flush=True)


def main():
    chosen = environment.arguments(__doc__)
    with ThreadPoolExecutor(rules.PROCESSES) as pool:
        for dimension, share in WORLDS:
            measure(chosen.build, pool, dimension, share)
        for shares in TEAMS:
            measure_team(chosen.build, pool, shares)


if __name__ == "__main__":
    main()
