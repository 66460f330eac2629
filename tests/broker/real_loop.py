"""The whole loop on real completions through a real broker, with two interruptions.

8,016 alpaca completions go in by `infopair send`, a labelling process (confluent-kafka and fastavro)
answers 2,000 pairs, the worker is ended once by SIGTERM and once by SIGKILL and started again. Then
the promises of the protocol are asserted from the topics alone, tr(I inverse(Sigma)) of the finished
run is recomputed from the ledger, and c of the asked pairs is compared with that of uniform pairs
and of the same pools through the engine alone.
"""

import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import alpaca, engine_alone, information, judge  # noqa: E402
from support.conditions import eventually  # noqa: E402
from support.environment import ROOT, need_data  # noqa: E402
from support.ledger import TOPICS, entry_of, read_run  # noqa: E402
from support.processes import Process  # noqa: E402
from support.stage import Stage  # noqa: E402
from support.topics import Follower  # noqa: E402

OPTIONS = {"pool.max": 48, "pool.picks": 0, "pool.age": "2d", "labels.deadline": "1d",
           "moments.interval": "2s", "budget.per_second": 100, "budget.in_flight": 60, "seed": 1}
EARLY_PROMPTS = 60  # the others arrive after the first FITs, so that their moments are made under one


def send(stage, first, end):
    """Sends the alpaca prompts [first, end) by `infopair send`, features attached row by row."""
    features, prompts, lines = need_data("alpaca/phi64.npy", "alpaca/prompts.jsonl",
                                         "alpaca/completions.jsonl")
    begin, stop = first * alpaca.PER_PROMPT, end * alpaca.PER_PROMPT
    part, values = stage.folder / "part.jsonl", stage.folder / "part.npy"
    part.write_text("".join(lines.read_text(encoding="utf-8").splitlines(True)[begin:stop]),
                    encoding="utf-8")
    numpy.save(values, numpy.load(features)[begin:stop])
    stage.command("send", "completions", "--features", values, "--prompts", prompts,
                  "--default", "policy_version=alpaca-2024", "--default", "feature_space=phi64",
                  part)


class Labels:
    """Counts LABELLED entries as they are committed."""

    def __init__(self, stage):
        self.stage = stage
        self.follower = Follower(stage.brokers, TOPICS["ledger"])
        self.count = 0

    def reach(self, count):
        """Waits until `count` labels are in the ledger."""
        eventually(lambda: self._read() >= count, 300, f"{count} labels in the ledger", every=0.02)
        print(f"{self.count} labels", flush=True)

    def _read(self):
        self.stage.worker.must_live()
        self.count += sum(entry_of(record).kind == "labelled"
                          for record in self.follower.new_records())
        return self.count


def run_loop(stage, labels):
    """The run itself; returns the worker's metrics at its end."""
    labeller = Process(
        [sys.executable, ROOT / "tests" / "support" / "labeller.py", "--brokers", stage.brokers,
         "--pairs", TOPICS["pairs"], "--labels", TOPICS["labels"], "--count", labels],
        stage.folder / "labeller.log")
    accepted = Labels(stage)
    send(stage, 0, EARLY_PROMPTS)
    stage.worker.start(ready=True)
    accepted.reach(0.1 * labels)
    send(stage, EARLY_PROMPTS, 167)
    accepted.reach(0.3 * labels)
    status = stage.worker.terminate()
    assert status == 0, f"SIGTERM ended with {status}:\n{stage.worker.log_tail()}"
    stage.worker.start()
    accepted.reach(0.65 * labels)
    assert stage.worker.kill() == -signal.SIGKILL
    stage.worker.arguments = ("--journal", stage.folder / "worker.journal")
    stage.worker.start()
    accepted.reach(labels)
    assert labeller.wait(60) == 0, labeller.log_tail()
    accepted.follower.close()
    stage.await_quiet()
    return stage.worker.metrics()


def check_certificate(stage, labels):
    """A certificate is computed when it is asked for, of what stands in the ledger by then."""
    def answer():
        stage.worker.must_live()
        status, text = stage.worker.get("/certificate")
        assert status in (200, 202), f"/certificate answered {status}: {text}"
        found = json.loads(text)
        assert status == 200 or found["reason"], text
        return found if status == 200 and found["labels"] >= labels else None

    found = eventually(answer, 60, "a certificate of all labels")
    print(f"certificate: {found}")
    assert 0 < found["efficiency_least"] <= found["efficiency"] <= 1, found
    assert found["bound"] <= found["optimum"] <= found["objective"], found
    assert found["candidates"] > 0 and found["space"] == "phi64", found
    metrics = stage.worker.metrics()  # of this one or of the next, which the answer has started
    assert metrics["infopair_certificate_labels"] >= found["labels"], metrics
    assert 0 < metrics["infopair_certificate_efficiency_least"] <= 1, metrics
    assert 0 < metrics["infopair_certificate_efficiency"] <= 1, metrics
    assert metrics["infopair_certificate_timestamp_seconds"] * 1000 >= found["time"] - 1, metrics


def check_accounting(stage):
    """How many labels are saved is told when it is asked for, or why it is not."""
    def answer():
        stage.worker.must_live()
        status, text = stage.worker.get("/accounting")
        assert status in (200, 202), f"/accounting answered {status}: {text}"
        found = json.loads(text)
        assert status == 200 or found["reason"], text
        return found if status == 200 else None

    found = eventually(answer, 60, "an account of the labels")
    print(f"accounting: {found}")
    assert found["labels"] > 0 and found["shadows"]["slots"] > 0, found
    assert 0 < found["gap_estimate"]["low"] <= found["gap_estimate"]["high"], found
    if found["supported"]:
        saved = found["labels_saved"]
        assert saved["low"] <= saved["mid"] <= saved["high"], found
    else:
        assert "not supported by the control arm" in found["unsupported"], found


def judge_run(stage, world, metrics, labels):
    run = read_run(stage.brokers)

    def features_of(prompt_id, completion_id):
        return world.raw[world.row_of[prompt_id, completion_id]]

    assert len(run.completions) == len(world.prompts)
    assert len(run.of("labelled")) == labels
    judge.check_no_dead_letters(run)
    judge.check_nothing_doubled(run)
    judge.check_pairs_are_the_selected(run)
    judge.check_identities(run)
    judge.check_pairs_differ(run, features_of)
    judge.check_differences(run, features_of)
    judge.check_labels_are_accepted_once(run)
    judge.check_requests_accounted(run, metrics["infopair_requests_in_flight"])
    judge.check_completions_held(run, metrics["infopair_completions_held"],
                                 metrics["infopair_pools_open"])
    judge.check_panes(run, pools=167)
    judge.check_fits(run)
    judge.check_one_digest(run)
    judge.check_inputs_consumed(stage.committed(), stage.ends(), TOPICS["completions"])
    return run


def asked_rows(run, world):
    """Rows of the answered pairs of a run."""
    answered = information.answers(run.entries)
    pairs = [entry.fields for entry in run.of("selected")
             if entry.fields["request_id"] in answered]
    rows = [[world.row_of[fields["prompt_id"], fields[side]] for fields in pairs]
            for side in ("left_id", "right_id")]
    return numpy.array(rows[0]), numpy.array(rows[1])


def check_design(run, world, build, labels):
    through_kafka = world.c(*asked_rows(run, world))
    uniform = numpy.mean([world.c(*world.uniform_pairs(labels, seed)) for seed in range(8)])
    print(f"c: {through_kafka:.1f} through Kafka, {uniform:.1f} of uniform pairs, "
          f"ratio {uniform / through_kafka:.2f}")
    assert through_kafka <= 0.5 * uniform, "the asked pairs are not worth twice uniform ones"
    if not engine_alone.available(build):
        print("the engine alone: not built, not compared")
        return
    asked = engine_alone.run(build, labels=labels, seed=1)
    alone = world.c(asked.left, asked.right)
    print(f"c: {alone:.1f} of the same pools through the engine alone, "
          f"ratio {through_kafka / alone:.3f}")
    assert through_kafka <= 1.1 * alone, "Kafka costs more than a tenth of the design"


def check_journal(stage):
    """A replay of what the last process was given decides the same, byte for byte; a journal that
    was changed does not."""
    journal = stage.folder / "worker.journal"
    said = stage.command("replay", "--journal", journal).stdout
    print(f"journal of {journal.stat().st_size >> 20} MiB: {said.strip()}")
    assert "all equal" in said, said
    journal.write_bytes(journal.read_bytes().replace(b"alpaca-2024", b"alpaca-2025"))
    spoiled = stage.command("replay", "--journal", journal, check=False)
    assert spoiled.returncode == 1, f"a spoiled journal: {spoiled.stdout}{spoiled.stderr}"


def main():
    chosen = environment.arguments(__doc__, labels=2000)
    world = alpaca.load()
    with Stage(chosen.build, OPTIONS, chosen.keep) as stage:
        metrics = run_loop(stage, chosen.labels)
        check_certificate(stage, chosen.labels)
        check_accounting(stage)
        run = judge_run(stage, world, metrics, chosen.labels)
        trace, difference = judge.check_trace(run, metrics)
        print(f"tr(I inverse(Sigma)): {trace:.9g} in the ledger, the worker's differs by "
              f"{difference:.1e} of it")
        check_design(run, world, chosen.build, chosen.labels)
        status = stage.worker.terminate()
        assert status == 0, f"SIGTERM at rest ended with {status}"
        check_journal(stage)
    print(json.dumps({"pairs": len(run.pairs), "entries": len(run.entries),
                      "fits": len(run.of("fit")), "labels": len(run.labels)}))


if __name__ == "__main__":
    main()
