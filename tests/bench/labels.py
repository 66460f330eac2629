"""How many labels each rule saves, in worlds whose truth is known, against what is asked of it.

Every line is one rule in one world as `infopair simulate --json` prints it, with "bench", "case" and,
where something is asked of the rule, "ask" ({measure: bound}, at least or, for c_of_reference and
gap, at most) and "met". Seeds are 1 ... 48. The alpaca worlds are read from the test data and are
left out where those are not there.

c = labels tr(I inverse(F)) at the truth; c_ratio that of uniform pairs under the same fit over the
rule's; saving = labels / labels to the policy of all uniform labels.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

SEEDS = 48
OTHERS = ["trace_fw", "dopt", "aopt", "infomax", "dts", "maxminlcb", "deltaucb", "baits",
          "dopt_logit", "first2", "most_likely", "best_vs_worst", "policy_trace,selection.when=pool"]
SLOW = {"trace_fw": ",selection.candidates=400"}
PRICE = "policy_trace,selection.when=price,selection.price_share=0.25"
GROUPS = "features.groups=0-15;16-31;32-47;48-63"
ALPACA = """
kind = "features";
features = "{data}/alpaca/{name}.npy";
theta = "{data}/alpaca/{theta}.npy";
completions = 48;
rules = ("policy_trace");
"""


@dataclass
class Case:
    """A table of the bench: one world. ask: {rule: {measure: bound}}."""
    name: str
    world: str = "main"
    fields: dict = field(default_factory=dict)
    rules: list = field(default_factory=lambda: ["policy_trace", *OTHERS])
    ask: dict = field(default_factory=dict)


CASES = [
    Case("main8", fields={"dimension": 8}, ask={"policy_trace": {"c_ratio": 4.2}}),
    Case("main8x4", fields={"dimension": 8, "pools": 200}, rules=["policy_trace", PRICE],
         ask={"policy_trace": {"c_ratio": 4.9}, PRICE: {"c_of_reference": 1.03}}),
    Case("main32", fields={"dimension": 32}, ask={"policy_trace": {"c_ratio": 3.8}}),
    Case("main32x4", fields={"dimension": 32, "pools": 200}, rules=["policy_trace", PRICE],
         ask={"policy_trace": {"c_ratio": 4.4}, PRICE: {"c_of_reference": 1.04}}),
    Case("target32", world="target", ask={"policy_trace": {"c_ratio": 4.1, "saving": 2.5}}),
    Case("phi64", world="phi64", ask={"policy_trace": {"c_ratio": 3.7}}),
    Case("phi64_mixed", world="phi64_mixed", ask={"policy_trace": {"c_ratio": 3.6}}),
    Case("lapses8", world="lapses", rules=["policy_trace", "policy_trace,labels.lapse=0",
                                           "policy_trace,labels.lapse=0.2"],
         ask={"policy_trace": {"gap": 0.022}}),
    Case("drift8", world="drift", rules=["policy_trace", "dopt"]),
]


def scene_file(name, folder):
    """Path or name of a world; of the alpaca worlds a file is written."""
    if not name.startswith("phi64"):
        return name
    environment.need_data(f"alpaca/{name}.npy")
    path = Path(folder) / f"{name}.cfg"
    path.write_text(ALPACA.format(data=environment.DATA, name=name,
                                  theta=name.replace("phi", "theta")), encoding="utf-8")
    return str(path)


def simulate(build, case, folder, seeds):
    rules = [rule + SLOW.get(rule, "") for rule in ["uniform", *case.rules]]
    words = [word for name, value in case.fields.items() for word in ("--with", f"{name}={value}")]
    done = subprocess.run(
        [build / "infopair", "simulate", scene_file(case.world, folder), "--json", "--quiet",
         "--seeds", str(seeds), "--rules", ";".join(rules), *words],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def judge(case, line, reference):
    """Adds what was asked of a line. reference: c of policy_trace on a quarter of the pools."""
    ask = case.ask.get(line["rule"])
    line |= {"bench": "labels", "case": case.name}
    if ask is None:
        return True
    if "c_of_reference" in ask:
        line["c_of_reference"] = round(line["c"] / reference, 4)
    line["ask"] = ask
    line["met"] = all(line[name] is not None and
                      (line[name] <= bound if name in ("gap", "c_of_reference")
                       else line[name] >= bound) for name, bound in ask.items())
    return line["met"]


def main():
    chosen = environment.arguments(__doc__, seeds=SEEDS, cases="")
    wanted = chosen.cases.split(",") if chosen.cases else [case.name for case in CASES]
    met, found = True, {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if case.name not in wanted:
                continue
            for line in simulate(chosen.build, case, folder, chosen.seeds):
                found[case.name, line["rule"]] = line["c"]
                reference = found.get((case.name.removesuffix("x4"), "policy_trace"))
                met = judge(case, line, reference) and met
                print(json.dumps(line), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
