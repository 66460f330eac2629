"""How many labels each rule saves, in worlds whose truth is known, against what is asked of it.

Every line is one rule in one world as `infopair simulate --json` prints it, with "bench", "case" and,
where something is asked of the rule, "ask" ({measure: bound}, at least or, for gap and c_of_reference,
at most), "met", and the same of what is aimed at: "aim", "aimed". Seeds are 1 ... 48. The alpaca
worlds are read from the test data and are left out where those are not there.

c = labels tr(I inverse(F)) at the truth; c_ratio that of uniform pairs under the same fit over the
rule's; saving = labels / labels to the policy of all uniform labels; late_ratio = mean ratio of the
gaps over the second half of the labels; c_of_reference = c over that of the global rule on a quarter
of the pools, with c_of_reference_se over seeds. gap_se and the like are standard errors, _low and
_high 95 % intervals.

--record FOLDER keeps every run there: interrupted, the same command goes on. It is refused for runs of
another build. --table FILE writes the tables of the cases that ran between the lines `<!-- labels -->`
and `<!-- end of labels -->` of that file; tables of other cases stay.
"""

import hashlib
import json
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import rules as rules_bench  # noqa: E402

SEEDS = 48
POOL = ",selection.when=pool"
PRICE = ",selection.when=price,selection.price_share=0.25"
OTHERS = ["trace_fw", "dopt", "aopt", "infomax", "dts", "maxminlcb", "deltaucb", "baits",
          "dopt_logit", "first2", "most_likely", "best_vs_worst", "policy_trace" + POOL]
# Without a score there is nothing to hold against a price: these are asked pool by pool, and the
# paper's design, which looks at many pools at once, holds them.
AT_NO_PRICE = {"trace_fw": "", "dts": POOL, "baits": POOL, "policy_trace" + POOL: ""}
OTHERS_AT_PRICE = [rule + AT_NO_PRICE.get(rule, PRICE) for rule in OTHERS]
AT_MOST = ("gap", "c_of_reference")
ALPACA = """
kind = "features";
features = "{data}/alpaca/{name}.npy";
theta = "{data}/alpaca/{theta}.npy";
completions = 48;
rules = ("policy_trace");
"""


@dataclass
class Case:
    """A table of the bench: one world. ask, aim: {rule: {measure: bound}}; reference: the case whose
    policy_trace c_of_reference is of."""
    name: str
    title: str
    world: str = "main"
    fields: dict = field(default_factory=dict)
    options: list = field(default_factory=list)
    rules: list = field(default_factory=lambda: ["policy_trace", *OTHERS])
    ask: dict = field(default_factory=dict)
    aim: dict = field(default_factory=dict)
    reference: str = ""


def of_main(name, title, fields, ask, aim):
    return Case(name, title, fields=fields, ask={"policy_trace": {"c_ratio": ask}},
                aim={"policy_trace": {"c_ratio": aim}})


def by_price(name, title, d, ask, reference):
    """A round asks somewhat fewer than 50 labels, and is to be fitted all the same."""
    return Case(name, title, fields={"dimension": d, "pools": 200}, options=["fit.every=25"],
                rules=["policy_trace" + PRICE, *OTHERS_AT_PRICE, "policy_trace"],
                ask={"policy_trace" + PRICE: {"c_of_reference": ask}},
                aim={"policy_trace" + PRICE: {"c_of_reference": 1}}, reference=reference)


def of_alpaca(name, title, ask, aim, measure="c_ratio", options=()):
    return Case(name, title, world=name.removesuffix("_groups"), options=list(options),
                ask={"policy_trace": {measure: ask}}, aim={"policy_trace": {measure: aim}})


GROUPS = ["features.blocks=4"]
CASES = [
    of_main("main8", "main, d = 8", {"dimension": 8}, 4.2, 4.4),
    of_main("main8x4", "main, d = 8, 4 times as many pools", {"dimension": 8, "pools": 200}, 4.9, 5.4),
    by_price("price8", "by price, 1 in 4 of 200 pools a round, d = 8", 8, 1.03, "main8"),
    of_main("main32", "main, d = 32", {"dimension": 32}, 3.8, 4.2),
    of_main("main32x4", "main, d = 32, 4 times as many pools", {"dimension": 32, "pools": 200}, 4.4,
            4.9),
    by_price("price32", "by price, 1 in 4 of 200 pools a round, d = 32", 32, 1.04, "main32"),
    Case("target32", "target, d = 32", world="target",
         ask={"policy_trace": {"c_ratio": 4.1, "saving": 2.5}},
         aim={"policy_trace": {"c_ratio": 4.8}}),
    of_alpaca("phi64", "alpaca phi64", 3.7, 4.2),
    of_alpaca("phi64_mixed", "alpaca phi64_mixed", 3.6, 4.2),
    of_alpaca("phi64_groups", "alpaca phi64, 4 groups of features, uniform pairs too", 3.3, 4, "saving",
              GROUPS),
    of_alpaca("phi64_mixed_groups", "alpaca phi64_mixed, 4 groups of features, uniform pairs too", 2.3,
              4, "saving", GROUPS),
    Case("lapses8", "main, d = 8, a fifth of the answers coin flips", world="lapses",
         rules=["policy_trace", "policy_trace,labels.lapse=0", "policy_trace,labels.lapse=0.2",
                *OTHERS],
         ask={"policy_trace": {"gap": 0.022}}, aim={"policy_trace": {"gap": 0.0113}}),
    Case("drift8", "main, d = 8, an embedding that changes every 5 rounds", world="drift"),
]
BY_NAME = {case.name: case for case in CASES}


# ---- runs ----


def prepare_record(folder, build):
    """The runs of one build only."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256((build / "infopair").read_bytes()).hexdigest()
    mark = folder / "build"
    if mark.exists() and mark.read_text(encoding="ascii") != digest:
        sys.exit(f"{folder} holds runs of another build: delete it, or name another folder")
    mark.write_text(digest, encoding="ascii")


def is_there(case):
    """Whether the data of its world are."""
    path = environment.DATA / "alpaca" / f"{case.world}.npy"
    if not case.world.startswith("phi64") or path.exists():
        return True
    print(f"labels: {case.name} is left out: {path.name} is not in the data folder (set TEST_DATA)",
          file=sys.stderr)
    return False


def scene_of(case, folder):
    """Name of a world, or path; of the alpaca worlds a file is written."""
    name = case.world
    if not name.startswith("phi64"):
        return name
    path = folder / f"{name}.cfg"
    path.write_text(ALPACA.format(data=environment.DATA, name=name,
                                  theta=name.replace("phi", "theta")), encoding="utf-8")
    return str(path)


def simulate(chosen, case, folder, rules, form):
    """Lines of some rules of a case, each run once and for all."""
    words = [word for name, value in case.fields.items() for word in ("--with", f"{name}={value}")]
    words += [word for option in case.options for word in ("--set", option)]
    return environment.lines_of(
        chosen.build / "infopair", "simulate", scene_of(case, folder), form, "--quiet", "--seeds",
        chosen.seeds, "--rules", ";".join(rules), "--record", folder / f"{case.name}.jsonl", *words)


def add_reference(chosen, case, folder, line):
    """c over that of policy_trace of the case's reference, of the same seeds."""
    runs = [{run["seed"]: run for run in simulate(chosen, each, folder, [rule], "--runs")}
            for each, rule in ((case, line["rule"]), (BY_NAME[case.reference], "policy_trace"))]
    value, error = rules_bench.ratio_of(*runs)
    line |= {"c_of_reference": round(value, 4), "c_of_reference_se": round(error, 4)}


def is_met(line, bounds):
    return all(line[name] is not None and
               (line[name] <= bound if name in AT_MOST else line[name] >= bound)
               for name, bound in bounds.items())


def judge(case, line):
    """Adds what was asked of a line and what is aimed at."""
    ask, aim = case.ask.get(line["rule"]), case.aim.get(line["rule"])
    if ask is not None:
        line |= {"ask": ask, "met": is_met(line, ask), "aim": aim, "aimed": is_met(line, aim)}


def run(chosen, case, folder):
    lines = simulate(chosen, case, folder, ["uniform", *case.rules], "--json")
    for line in lines:
        line |= {"bench": "labels", "case": case.name}
        if "c_of_reference" in case.ask.get(line["rule"], ()):
            add_reference(chosen, case, folder, line)
        judge(case, line)
        print(json.dumps(line), flush=True)
    return lines


# ---- tables ----


def number(value, digits=3):
    """Without exponent and leading 0."""
    if value is None:
        return "-"
    places = 0
    while abs(value) * 10 ** places < 10 ** (digits - 1) and places < 6:
        places += 1
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{places}f}")


def with_error(value, error):
    return f"{number(value)} ± {number(error, 2)}"


def within(line, name, value):
    if line["rule"] == line["base"]:
        return "1"
    if line[value] is None:
        return "never"
    return f"{line[value]:.2f} ({line[name + '_low']:.2f} to {line[name + '_high']:.2f})"


def label_of(line):
    """A rule as the tables name it."""
    words = {PRICE: ", by price", POOL: ", pool by pool", ",labels.lapse=0.2": ", share known",
             ",labels.lapse=0": ", answers taken as clean"}
    name, comma, more = line["rule"].partition(",")
    seen = f", {line['pools_per_label']:.1f} pools a label" if line["when"] == "price" else ""
    return f"`{name}`{words.get(comma + more, comma + more)}{seen}"


def asked_of(line):
    if "ask" not in line:
        return ""
    words = {"c_ratio": "c ratio", "c_of_reference": "c of the global rule's on 50 pools"}
    parts = []
    for name, bound in line["ask"].items():
        found = ""
        if name == "c_of_reference":
            found = f" ({with_error(line[name], line[name + '_se'])})"
        parts.append(f"{words.get(name, name)} {'at most' if name in AT_MOST else 'at least'} "
                     f"{number(bound)}{found}")
    return f"{', '.join(parts)}: {'met' if line['met'] else 'missed'}"


def table_of(case, lines):
    some = lines[0]
    rows = [f"#### {case.title}", "",
            f"{some['seeds']} seeds, {some['labels']:,} labels, pools of {some['n']}; ± is a standard "
            "error.", "",
            "| rule | c | c ratio | gap | late ratio (95 %) | saving (95 %) | asked |",
            "|---|---|---|---|---|---|---|"]
    for line in lines:
        rows.append("| " + " | ".join([
            label_of(line), with_error(line["c"], line["c_se"]),
            "1" if line["rule"] == line["base"] else with_error(line["c_ratio"], line["c_ratio_se"]),
            with_error(line["gap"], line["gap_se"]),
            within(line, "late", "late_ratio"), within(line, "saving", "saving"),
            asked_of(line)]) + " |")
    return "\n".join(rows) + "\n"


def put_tables(path, tables):
    """tables: {title: text}."""
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- labels -->\n", "<!-- end of labels -->"
    if begin not in text or end not in text:
        sys.exit(f"{path} has no lines {begin.strip()} and {end}")
    before, rest = text.split(begin, 1)
    block, after = rest.split(end, 1)
    kept = {part.partition("\n")[0]: f"#### {part.strip()}\n" for part in block.split("#### ")[1:]}
    kept |= tables
    whole = "\n".join(kept[case.title] for case in CASES if case.title in kept)
    path.write_text(f"{before}{begin}\n{whole}\n{end}{after}", encoding="utf-8")


def main():
    chosen = environment.arguments(__doc__, seeds=SEEDS, cases="", record="", table="")
    if chosen.seeds < 2:
        sys.exit("labels: a standard error needs two seeds")
    wanted = chosen.cases.split(",") if chosen.cases else list(BY_NAME)
    for name in wanted:
        if name not in BY_NAME:
            sys.exit(f"labels: no case {name} (there are: {', '.join(BY_NAME)})")
    met = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(chosen.record or temporary).resolve()
        prepare_record(folder, chosen.build)
        for case in filter(is_there, map(BY_NAME.get, wanted)):
            lines = run(chosen, case, folder)
            met = met and all(line.get("met", True) for line in lines)
            if chosen.table:
                put_tables(Path(chosen.table), {case.title: table_of(case, lines)})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
