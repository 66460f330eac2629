"""`check --online`: names each setting of topics and brokers, and each committed offset, that would
break a promise, and nothing else.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402
from confluent_kafka import Consumer, Producer, TopicPartition  # noqa: E402

from support.conditions import eventually  # noqa: E402
from support.kafka import QUIET, KafkaCluster  # noqa: E402
from support.ledger import TOPICS  # noqa: E402
from support.processes import free_port  # noqa: E402
from support.stage import Stage  # noqa: E402
from support.topics import READER, committed, read_topic  # noqa: E402

DONE, BROKEN, UNREACHABLE = 0, 1, 4
HOUR = 3600 * 1000
COMPLETIONS, LABELS, PAIRS = TOPICS["completions"], TOPICS["labels"], TOPICS["pairs"]
LEDGER, LETTERS = TOPICS["ledger"], TOPICS["dead_letters"]

BROKEN_BROKER = {
    "transaction.max.timeout.ms": 10000, "group.min.session.timeout.ms": 50000,
    "group.max.session.timeout.ms": 60000, "offset.metadata.max.bytes": 32,
    "offsets.retention.minutes": 59, "unclean.leader.election.enable": "true",
    "message.max.bytes": 1000000, "transactional.id.expiration.ms": HOUR}

GO_ON = "`infopair run --accept-loss` goes on without them"
# Each line whole, in the order of the page; the rest of the page are notes.
BREAKS = f"""\
{COMPLETIONS}: NOT FIT: unclean.leader.election.enable is true, must be false: acknowledged \
records can vanish
{COMPLETIONS}: NOT FIT: retention.ms is 3599999, must be at least 3600000: open pools are read \
again from here (pool.age)
{LABELS}: NOT FIT: min.insync.replicas is 2, must be at most the number of replicas, 1: nothing \
can be written
{PAIRS}: NOT FIT: max.message.bytes is 1000000, must be at least 1081344: a pair with two long \
texts could not be written (limits.record)
{LEDGER}: NOT FIT: has 2 partitions, must have at least 3: each entry has its place by its key
{LEDGER}: NOT FIT: cleanup.policy is compact, must be delete: compaction deletes what Sigma and I \
are made of
{LEDGER}: NOT FIT: retention.bytes is 1000000000, must be -1: entries vanish while they still count
{LETTERS}: NOT FIT: does not exist, must exist before a worker is ready; `infopair topics` \
creates it
broker 1: NOT FIT: transaction.max.timeout.ms is 10000, must be at least 15000: no transaction \
could begin (kafka.transaction_timeout)
broker 1: NOT FIT: group.min.session.timeout.ms is 50000, must be at most 45000: no worker could \
join the group (kafka.session_timeout)
broker 1: NOT FIT: offset.metadata.max.bytes is 32, must be at least 1408: offsets could not be \
committed with the place from which open pools are read again
broker 1: NOT FIT: offsets.retention.minutes is 59, must be at least 60: a group that rests loses \
its offsets while pools are still open (pool.age)
broker 1: NOT FIT: unclean.leader.election.enable is true, must be false: committed offsets and \
transactions can vanish
broker 1: NOT FIT: message.max.bytes is 1000000, must be at least 1081344: topics without a \
max.message.bytes of their own cannot take our records
{COMPLETIONS} [0]: NOT FIT: 5 records were deleted before they were read (the committed offset is \
3, must be at least the log's start 8); {GO_ON}
{COMPLETIONS} [0]: NOT FIT: 6 records of open pools were deleted (the low-water is 2, must be at \
least the log's start 8); {GO_ON}
{COMPLETIONS} [1]: NOT FIT: the metadata of its committed offset is damaged or not a worker's: \
which open pools are to be read again is lost; {GO_ON}
{COMPLETIONS} [2]: NOT FIT: 3 records of open pools were deleted (the low-water is 5, must be at \
least the log's start 8); {GO_ON}
{LABELS} [1]: NOT FIT: the committed offset is 4, must be at most the log's end 0: the topic was \
made anew or lost records
"""
NOTES = f"""\
{LEDGER}: note: message.timestamp.type is CreateTime; a new topic would get LogAppendTime: a \
worker whose clock is wrong can change what is kept
{LEDGER}: note: has 1 replica: what a broker loses is lost
{LEDGER}: note: grows by 11.4 MiB a day (from the last 12 records, 12.0 h; before compression, \
each copy)
broker 1: note: transaction.state.log.min.isr is 1, should be at least 2: what one broker alone \
has acknowledged of a transaction is lost with it
broker 1: note: transaction.state.log.replication.factor is 1, should be at least 2: the state of \
transactions is lost with one broker
broker 1: note: transactional.id.expiration.ms is 3600000, should be at least 86400000: who was \
fenced is forgotten while a worker rests
"""


def check(stage, *words, options=None):
    """Exit code and the lines behind those that need no broker."""
    done = stage.command("check", "--online", *words, options=options or {}, check=False)
    assert "configuration is good\n" in done.stdout, done
    return done.returncode, done.stdout.split("configuration is good\n")[1].splitlines(), done


def write_records(brokers):
    """Ten completions a partition (of no use: nobody reads them), and 13 records of the ledger, one
    an hour."""
    producer = Producer({"bootstrap.servers": brokers, "logger": QUIET})
    for partition in range(3):
        for _ in range(10):
            producer.produce(COMPLETIONS, b"x", partition=partition)
    now = int(time.time() * 1000)
    for hour in range(13):
        producer.produce(LEDGER, bytes(500000), key=str(hour % 10), partition=hour % 2,
                         timestamp=now - (12 - hour) * HOUR)
    assert producer.flush(60) == 0


def break_offsets(kafka):
    beginnings = [TopicPartition(COMPLETIONS, partition, 8) for partition in (0, 2)]
    admin = kafka.admin()  # must outlive the answer
    for deletion in admin.delete_records(beginnings).values():
        deletion.result(30)
    consumer = Consumer({"bootstrap.servers": kafka.brokers, **READER, "group.id": "infopair"})
    consumer.commit(asynchronous=False, offsets=[
        TopicPartition(COMPLETIONS, 0, 3, "1 2 1700000000000"),
        TopicPartition(COMPLETIONS, 1, 6, "by hand"),
        TopicPartition(COMPLETIONS, 2, 9, "1 5 1700000000000"),
        TopicPartition(LABELS, 1, 4)])
    consumer.close()


def check_broken(stage):
    kafka = stage.kafka
    kafka.create_topic(COMPLETIONS, 3, retention_ms=HOUR - 1, max_message_bytes=1200000)
    kafka.create_topic(LABELS, 3, min_insync_replicas=2, unclean_leader_election_enable="false")
    kafka.create_topic(PAIRS, 3, unclean_leader_election_enable="false")
    kafka.create_topic(LEDGER, 2, cleanup_policy="compact", retention_ms=-1,
                       retention_bytes=1000000000, unclean_leader_election_enable="false",
                       max_message_bytes=1200000)
    write_records(stage.brokers)
    break_offsets(kafka)
    code, lines, _ = check(stage)
    print("\n".join(lines))
    assert [line for line in lines if ": NOT " in line] == BREAKS.splitlines()
    missing = set(NOTES.splitlines()) - set(lines)
    assert not missing, missing
    assert lines[-1].startswith("topics and brokers do NOT keep the promises"), lines[-1]
    assert code == BROKEN, code


def check_long_ledger(stage):
    """Only the newest records are read: 3,333 a partition, of which the first begins the time."""
    stage.kafka.create_topic("long", 3)
    producer = Producer({"bootstrap.servers": stage.brokers, "logger": QUIET})
    now = int(time.time() * 1000)
    for second in range(4000):
        for partition in range(3):
            producer.produce("long", bytes(100 if second >= 600 else 10000), partition=partition,
                             timestamp=now - (4000 - second) * 1000)
        producer.poll(0)
    assert producer.flush(60) == 0
    _, lines, _ = check(stage, options={"topics.ledger": "long"})
    assert ("long: note: grows by 24.7 MiB a day (from the last 9996 records, 55.5 min; before "
            "compression, each copy)") in lines, lines


def check_sound(stage):
    """Only notes, before anything is written and beside a worker at work."""
    code, lines, _ = check(stage)
    print("\n".join(lines))
    assert code == DONE and lines[-1] == "topics and brokers keep the promises", lines
    assert all(": note: " in line for line in lines[:-1]), lines
    assert f"{LEDGER}: note: nothing written yet" in lines
    assert "group infopair: note: has committed nothing yet" in lines


def check_beside_a_worker(stage):
    random = numpy.random.default_rng(3)
    for k in range(8):
        stage.write_completion(f"p{k % 2}", f"c-{k}", random.normal(size=4), feature_space="s",
                               feature_epoch=1)
    stage.flush()
    stage.worker.options.update({"features.scale": 1, "pool.size": 4, "moments.interval": "1s"})
    stage.worker.start(ready=True)
    eventually(lambda: read_topic(stage.brokers, PAIRS), 30, "a pair")
    eventually(lambda: any(found.offset > 0 for found in
                           committed(stage.brokers, "infopair", COMPLETIONS).values()), 30,
               "committed offsets")
    code, lines, _ = check(stage)
    print("\n".join(lines))
    assert code == DONE, lines
    assert any(line.startswith(f"{LEDGER}: note: the last ") for line in lines), lines
    assert not any(line.startswith("group infopair") for line in lines), lines
    assert stage.worker.terminate() == 0
    code, lines, _ = check(stage, options={"kafka.group": "other"})
    assert code == DONE, lines
    assert ("group other: note: has no committed offsets although the ledger is written: the "
            "inputs are read again from their start") in lines, lines


def check_unreachable(stage):
    address = f"127.0.0.1:{free_port()}"
    code, lines, done = check(stage, "--timeout", "1", options={"kafka.brokers": address})
    assert code == UNREACHABLE and not lines, done
    assert address in done.stderr, done.stderr


def main():
    chosen = environment.arguments(__doc__)
    kafka = KafkaCluster(keep=chosen.keep, settings=BROKEN_BROKER)
    with Stage(chosen.build, keep=chosen.keep, topics=False, kafka=kafka) as stage:
        check_unreachable(stage)
        check_broken(stage)
        check_long_ledger(stage)
    with Stage(chosen.build, keep=chosen.keep) as stage:
        check_sound(stage)
        check_beside_a_worker(stage)


if __name__ == "__main__":
    main()
