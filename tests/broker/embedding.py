"""Changing the embedding: labels of the space before are carried to the new one, once, as their
completions come again; a SIGKILL between them, and after them, changes nothing.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402

from support import information, judge  # noqa: E402
from support.conditions import eventually  # noqa: E402
from support.labeller import Labeller  # noqa: E402
from support.ledger import TOPICS, read_run  # noqa: E402
from support.stage import Stage  # noqa: E402

PROMPTS, COMPLETIONS, LABELS = 60, 6, 120
DIMENSIONS = {"first": 8, "second": 24}
OPTIONS = {"pool.size": COMPLETIONS, "features.scale_pools": 40, "budget.in_flight": 40,
           "fit.every": 20}
CARRIED = "infopair_labels_carried_total"


def features_of(space):
    def of(prompt_id, completion_id):
        number = int(prompt_id) * COMPLETIONS + int(completion_id)
        random = numpy.random.default_rng([DIMENSIONS[space], number])
        return random.normal(size=DIMENSIONS[space]).astype("<f4")
    return of


def send(stage, space, epoch, prompts, candidate):
    for prompt in prompts:
        for completion in range(COMPLETIONS):
            values = features_of(space)(str(prompt), str(completion))
            stage.write_completion(str(prompt), str(completion), values, feature_space=space,
                                   feature_epoch=epoch, candidate=candidate)
    stage.flush()


def informative(run):
    return {request_id for request_id, fields in information.answers(run.entries).items()
            if fields["origin"] == "request" and fields["outcome"] not in information.NO_INFORMATION}


def check_sigma(stage, run):
    """All carried labels are in the worker's Sigma, and nothing else is."""
    members = information.members(run.entries)
    assert {fields["origin"] for fields in members} == {"carried"}, "of the new space"
    assert stage.worker.metric("infopair_fit_labels") == len(members)
    print(f"carried: {len(members)} labels")


def main():
    chosen = environment.arguments(__doc__)
    with Stage(chosen.build, options=OPTIONS, keep=getattr(chosen, "keep", False)) as stage:
        send(stage, "first", 1, range(PROMPTS), True)
        stage.worker.start(ready=True)
        labeller = Labeller(stage.brokers, TOPICS["pairs"], TOPICS["labels"], lambda pair: 0.7)
        eventually(lambda: labeller.step() and labeller.answered >= LABELS, 90, "labels", every=0)
        labeller.writer.flush()
        stage.await_quiet()
        half = PROMPTS * 3 // 4
        send(stage, "second", 2, range(half), False)
        eventually(lambda: stage.worker.metric(CARRIED) > 0, 60, "labels are carried")
        stage.worker.kill()
        send(stage, "second", 2, range(half, PROMPTS), False)
        stage.worker.start(ready=True)
        stage.await_quiet()
        run = read_run(stage.brokers)
        given = informative(run)
        assert len(judge.carried(run)) == len(given) >= LABELS, (len(judge.carried(run)), len(given))
        judge.check_carried(run, features_of("second"))
        judge.check_nothing_doubled(run)
        judge.check_no_dead_letters(run)
        check_sigma(stage, run)
        stage.worker.kill()
        stage.worker.start(ready=True)
        stage.await_quiet()
        assert len(judge.carried(read_run(stage.brokers))) == len(given), "carried again"
        said = stage.command("explain", judge.carried(run)[0]["request_id"], check=False)
        assert said.returncode == 1 and "carried over from another feature space" in said.stderr, said


if __name__ == "__main__":
    main()
