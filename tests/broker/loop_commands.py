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
from support.faults import Scene  # noqa: E402
from support.ledger import TOPICS, read_run  # noqa: E402

OPTIONS = {"fit.every": 20, "features.scale": "auto"}
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


def at_rest(scene):
    """All topics, once the loop stands still."""
    scene.load.stop()
    scene.stage.await_quiet(every=2.5)
    return read_run(scene.stage.brokers)


def main():
    chosen = environment.arguments(__doc__)
    with Scene(chosen, options=OPTIONS) as scene:
        scene.await_progress(LABELS)
        run = at_rest(scene)
        check_model(scene.stage, run)
        check_model_refuses(scene.stage)


if __name__ == "__main__":
    main()
