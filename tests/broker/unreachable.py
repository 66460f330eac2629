"""No broker, or not the right topics: the worker says so, is not ready, retries, and does not
crash; once everything is there it becomes ready by itself.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from confluent_kafka.admin import AdminClient  # noqa: E402

from support.conditions import eventually, steadily  # noqa: E402
from support.kafka import KafkaCluster  # noqa: E402
from support.ledger import TOPICS  # noqa: E402
from support.processes import free_port  # noqa: E402
from support.stage import Stage  # noqa: E402

UNREACHABLE = 4


def not_ready(worker, *words):
    """True when the worker lives and /ready is 503 with all of the words in its reasons."""
    worker.must_live()
    status, reasons = worker.get("/ready")
    return status == 503 and all(word.lower() in reasons.lower() for word in words)


def check_no_wait(stage):
    done = stage.command("run", "--no-wait", options={"http.address": f"127.0.0.1:{free_port()}"},
                         check=False, timeout=90)
    assert done.returncode == UNREACHABLE, f"--no-wait ended with {done.returncode}: {done.stderr}"
    assert stage.brokers in done.stderr + done.stdout, f"no address in {done.stderr!r}"


def check_without_broker(stage):
    stage.worker.start()
    eventually(lambda: not_ready(stage.worker, "broker"), 30, "/ready names the broker")
    steadily(lambda: not_ready(stage.worker) and stage.worker.get("/live")[0] == 200, 5,
             "lives and is not ready")
    print("without a broker:", stage.worker.get("/ready")[1].strip())


def check_without_topics(stage):
    eventually(lambda: not_ready(stage.worker, TOPICS["completions"]), 60,
               "/ready names a missing topic")
    print("without topics:", stage.worker.get("/ready")[1].strip())


def check_wrong_layout(stage):
    """A ledger that compaction would eat, or that has another number of partitions than 3."""
    stage.kafka.create_topic(TOPICS["ledger"], 2, cleanup_policy="compact")
    for topic in ("completions", "labels", "pairs", "dead_letters"):
        stage.kafka.create_topic(TOPICS[topic], 3)
    eventually(lambda: not_ready(stage.worker, TOPICS["ledger"]), 60, "/ready names the ledger")
    steadily(lambda: not_ready(stage.worker), 5, "not ready with a wrong ledger")
    print("with a wrong ledger:", stage.worker.get("/ready")[1].strip())
    admin = AdminClient({"bootstrap.servers": stage.brokers})
    for topic, deletion in admin.delete_topics(list(TOPICS.values())).items():
        deletion.result(30)
    eventually(lambda: not set(TOPICS.values()) & admin.list_topics(timeout=10).topics.keys(), 30,
               "the topics are gone")


def main():
    chosen = environment.arguments(__doc__)
    kafka = KafkaCluster(start=False, keep=chosen.keep)
    with Stage(chosen.build, keep=chosen.keep, topics=False, kafka=kafka) as stage:
        check_no_wait(stage)
        check_without_broker(stage)
        kafka.start()
        check_without_topics(stage)
        check_wrong_layout(stage)
        stage.command("topics")
        stage.worker.wait_ready(90)
        assert stage.worker.terminate() == 0


if __name__ == "__main__":
    main()
