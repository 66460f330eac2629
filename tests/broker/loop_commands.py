"""The commands that look into a running loop, and change it: what they say is recomputed from the
topics by another program, and every promise holds behind them.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import information  # noqa: E402
from support.conditions import eventually  # noqa: E402
from support.faults import Scene  # noqa: E402
from support.labeller import Labeller  # noqa: E402
from support.ledger import TOPICS, read_run  # noqa: E402

OPTIONS = {"fit.every": 20, "features.scale": "auto", "budget.in_flight": 30}
SLOT = {"kafka.instance": "test-0"}
LABELS = 150  # more than 50, from which on there are fits


def refused(stage, code, words, *line, **more):
    """The command ends with the code and says the words."""
    done = stage.command(*line, check=False, **more)
    assert done.returncode == code and words in done.stderr, (line, done.returncode, done.stderr)
    return done


def check_model(stage, run):
    """The newest fit of the ledger, with the scale of its space; features in, rewards out."""
    head = stage.folder / "head.npy"
    said = json.loads(stage.command("model", "--npy", head).stdout)
    fit, space = information.newest_fit(run.entries), information.space_in_force(run.entries)
    assert said["fit_id"] == fit["fit_id"] > 1 and said["feature_space"] == "test", said
    for name in ("lapse", "left_bias", "return_rate", "labels", "objective"):
        assert said[name] == fit[name], (name, said[name], fit[name])
    assert [said["lambda"]] == list(numpy.frombuffer(fit["lambda"], "<f8"))
    psi = numpy.frombuffer(fit["psi"], "<f8")
    assert numpy.array_equal(said["psi"], psi) and said["dimension"] == len(psi)
    assert numpy.array_equal(said["centre"], numpy.frombuffer(space["centre"], "<f8"))
    assert said["scale"] == space["scale"] != 1
    assert said["time"] == max(entry.time for entry in run.of("fit"))
    loaded = numpy.load(head)
    assert loaded.dtype == "<f8" and numpy.array_equal(loaded, psi * space["scale"]), loaded
    print(f"model: fit {said['fit_id']} of {said['labels']} labels")


def check_model_refuses(stage):
    refused(stage, 1, "holds no SPACE of 'other'; it holds 'test'", "model", "--space", "other")
    stage.kafka.create_topic("empty", 3)
    refused(stage, 1, "holds no SPACE and no FIT yet", "model", options={"topics.ledger": "empty"})
    refused(stage, 1, "topic 'absent' does not exist", "model", options={"topics.ledger": "absent"})
    nobody = {"kafka.brokers": "127.0.0.1:1"}
    refused(stage, 4, "no broker answers", "model", "--no-wait", "--timeout", "1", options=nobody)


def under_way(run):
    """Requests that are neither answered nor gone, in the order of their ids."""
    return sorted({entry.fields["request_id"] for entry in run.of("selected")}
                  - information.answers(run.entries).keys() - information.freed(run.entries))


class Silent(Labeller):
    """Leaves every third pair without an answer while it is told to."""

    silent = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.left = []  # pairs

    def answer(self, pair):
        if self.silent and int(pair["request_id"][:8], 16) % 3 == 0:
            self.left.append(pair)
        else:
            super().answer(pair)


def check_withdraw(scene):
    """By id, by policy; whoever is answered or unknown is refused; slots go to other pairs. The
    worker of the same name lives on."""
    stage, unknown = scene.stage, "0" * 32
    scene.load.labeller.silent = True
    scene.load.start()
    eventually(lambda: len(scene.load.labeller.left) == stage.options["budget.in_flight"], 60,
               "all slots are taken by requests that nobody answers")
    run = at_rest(scene)
    asked, waiting = len(run.pairs), under_way(run)
    assert len(waiting) == stage.options["budget.in_flight"], len(waiting)
    answered = next(iter(information.answers(run.entries)))
    done = refused(stage, 1, f"{answered}: is answered already", "withdraw", *waiting[:2], answered,
                   unknown, waiting[0], "--reason", "a test", options=SLOT)
    assert f"{unknown}: the ledger knows no such request" in done.stderr, done.stderr
    assert sorted(done.stdout.split()) == sorted([*waiting[:2], *["withdrawn"] * 2]), done.stdout
    again = stage.command("withdraw", *waiting[:2])
    assert again.stdout.count("withdrawn before") == 2, again.stdout
    stage.await_quiet(every=2.5)
    run = read_run(stage.brokers)
    check_withdrawn(run, waiting[:2], "a test")
    assert len(run.pairs) == asked + 2 and len(under_way(run)) == len(waiting), "slots are free"
    # All that is left under way, by the policy; nobody is of another one.
    stage.command("withdraw", "--policy-version", "other")
    assert len(under_way(read_run(stage.brokers))) == len(waiting)
    stage.command("withdraw", "--policy-version", "load", "--feature-space", "test", options=SLOT)
    run = read_run(stage.brokers)
    check_withdrawn(run, {entry.fields["request_id"] for entry in run.of("withdrawn")}, None)
    assert not set(under_way(run)) & set(waiting), "requests of the policy are still under way"
    options = {"policy.beta": 0.7}
    refused(stage, 2, "must share: policy.beta", "withdraw", *waiting[2:3], options=options)
    print(f"withdrawn: {len(run.withdrawn)} of {len(run.pairs)} requests")


def check_withdrawn(run, ids, reason):
    """WITHDRAWN once for each id, in the partition of its request, and a notice behind its pair."""
    partition = {entry.fields["request_id"]: entry.partition for entry in run.of("selected")}
    prompts = {pair["request_id"]: pair["prompt_id"] for pair in run.pairs}
    entries = {entry.fields["request_id"]: entry for entry in run.of("withdrawn")}
    notices = {record.headers["infopair.withdrawn"].decode(): record for record in run.withdrawn}
    assert entries.keys() == notices.keys() and len(entries) == len(run.of("withdrawn"))
    assert len(run.withdrawn) == len(notices), "a notice twice"
    for request_id in ids:
        entry, notice = entries[request_id], notices[request_id]
        assert entry.partition == partition[request_id] and entry.writer == "test-0.command"
        assert notice.key.decode() == prompts[request_id]
        if reason is not None:
            assert entry.fields["reason"] == notice.headers["infopair.reason"].decode() == reason


def check_late_labels(scene):
    """Labels of withdrawn requests count, and the loop goes on."""
    labeller = scene.load.labeller
    labeller.silent = False
    for pair in labeller.left:
        labeller.answer(pair)
    scene.start()
    run = scene.verdict("withdrawn, then answered", 1, [0])
    late = information.freed(run.entries) & information.answers(run.entries).keys()
    assert len(late) == len(run.withdrawn) > 10, (len(late), len(run.withdrawn))


def at_rest(scene):
    """All topics, once the loop stands still."""
    scene.load.stop()
    scene.stage.await_quiet(every=2.5)
    return read_run(scene.stage.brokers)


def main():
    chosen = environment.arguments(__doc__)
    with Scene(chosen, options=OPTIONS, labeller=Silent) as scene:
        scene.await_progress(LABELS)
        run = at_rest(scene)
        check_model(scene.stage, run)
        check_model_refuses(scene.stage)
        check_withdraw(scene)
        check_late_labels(scene)


if __name__ == "__main__":
    main()
