"""Faults around a transaction: a worker killed inside an open one and not restarted, and requests
of transactions that are lost, unanswered or answered with an error.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support.conditions import eventually  # noqa: E402
from support.faults import Clock, Scene  # noqa: E402
from support.proxy import DROP, HOLD, LOSE, REFUSE, REPLACE, Proxy  # noqa: E402

NOT_LEADER, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR = 6, 15, 16
OUT_OF_ORDER, INVALID_EPOCH, CONCURRENT = 45, 47, 51
HARM = [("Produce", DROP, 0), ("Produce", LOSE, 0), ("Produce", REPLACE, NOT_LEADER),
        ("Produce", REPLACE, OUT_OF_ORDER),
        ("AddPartitionsToTxn", DROP, 0), ("AddPartitionsToTxn", LOSE, 0),
        ("AddPartitionsToTxn", REPLACE, CONCURRENT),
        ("AddOffsetsToTxn", DROP, 0), ("AddOffsetsToTxn", REFUSE, NOT_COORDINATOR),
        ("TxnOffsetCommit", DROP, 0), ("TxnOffsetCommit", LOSE, 0),
        ("TxnOffsetCommit", REPLACE, COORDINATOR_NOT_AVAILABLE),
        ("EndTxn", DROP, 0), ("EndTxn", LOSE, 0), ("EndTxn", REFUSE, CONCURRENT),
        ("EndTxn", REFUSE, COORDINATOR_NOT_AVAILABLE), ("EndTxn", REFUSE, NOT_COORDINATOR),
        ("EndTxn", REPLACE, COORDINATOR_NOT_AVAILABLE)]
FENCED = 3
LONGEST = 40  # seconds: a session, a transaction's timeout, and as much again


def await_harm(injection):
    eventually(lambda: injection.done, 30, f"{injection} happens", every=0.02)


def killed_in_a_transaction(scene, proxy, victim):
    """The survivor picks again in the victim's partitions once the open transaction timed out."""
    scene.await_progress()
    partitions = scene.partitions_of(victim)
    await_harm(proxy.inject("EndTxn", HOLD))
    victim.kill()
    clock = Clock()
    scene.await_pick(partitions, LONGEST, [scene.workers[0]])
    ready = clock.seconds()
    scene.await_progress()
    scene.verdict("worker killed in an open transaction", 1, [ready])


def harmed_requests(scene, proxy, victim):
    """One harm after the other, to a worker that is alone: it goes on."""
    ready = []
    for api, harm, code in HARM:
        injection = proxy.inject(api, harm, code)
        await_harm(injection)
        clock = Clock()
        scene.await_progress()
        victim.must_live()
        ready.append(clock.seconds())
        print(f"{injection}: {ready[-1]:.1f} s until labels flow", flush=True)
    ready.append(fenced_though_committed(scene, proxy, victim))
    scene.verdict("requests of transactions harmed", len(ready), ready)


def fenced_though_committed(scene, proxy, victim):
    """Told that it is fenced by the answer to a commit that was done, a worker ends with exit code
    3; started again it finds out what was committed."""
    await_harm(proxy.inject("EndTxn", REPLACE, INVALID_EPOCH))
    eventually(lambda: not victim.alive(), 30, "the fenced worker ends")
    assert victim.status() == FENCED, f"ended with {victim.status()}:\n{victim.log_tail()}"
    clock = Clock()
    victim.start(ready=True)
    ready = clock.seconds()
    scene.await_progress()
    return ready


def main():
    chosen = environment.arguments(__doc__)
    with Scene(chosen) as scene, Proxy(scene.stage.kafka.broker()) as proxy:
        victim = scene.stage.add_worker({"kafka.brokers": proxy.address})
        victim.start(ready=True)
        killed_in_a_transaction(scene, proxy, victim)
        assert scene.workers[0].terminate() == 0
        victim.start(ready=True)
        scene.start()
        harmed_requests(scene, proxy, victim)


if __name__ == "__main__":
    main()
