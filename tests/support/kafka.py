"""One Apache Kafka broker (KRaft, broker and controller in one process) on 127.0.0.1."""

import base64
import logging
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from .conditions import eventually
from .environment import CACHE, ROOT, skip
from .processes import Process, free_port

VERSION = "4.3.1"
QUIET = logging.getLogger("librdkafka")  # a client that waits for a broker logs every attempt
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""


class KafkaCluster:
    """Starts on construction unless start=False; use as a context manager. `port` may be given, for
    a broker that appears where somebody waits for it."""

    def __init__(self, port=None, start=True, keep=False):
        self.libraries = CACHE / f"kafka-{VERSION}"
        if not any(self.libraries.glob("kafka-server-*.jar")):
            skip(f"no Kafka in .cache/kafka-{VERSION}; tests/run.sh fetches it")
        self.port = port or free_port()
        self.brokers = f"127.0.0.1:{self.port}"
        self.keep = keep
        self.folder = Path(tempfile.mkdtemp(prefix="infopair-kafka-"))
        self.process = None
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop()

    def _java(self, *command):
        log4j = ROOT / "tests" / "support" / "kafka" / "log4j2.xml"
        return ["java", "-Xmx768m", "-XX:+UseSerialGC",
                f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{self.libraries}/*", *command]

    def _format(self):
        properties = self.folder / "server.properties"
        properties.write_text(PROPERTIES.format(
            port=self.port, controller=free_port(), folder=self.folder))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties),
            capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"formatting the broker's storage: {done.stdout}{done.stderr}")
        return properties

    def start(self):
        """Starts the broker and waits until it answers; after stop(), on the same data."""
        properties = self.folder / "server.properties"
        if not properties.exists():
            properties = self._format()
        self.process = Process(self._java("kafka.Kafka", properties), self.folder / "broker.log",
                               cwd=self.folder)
        eventually(self._answers, 120, "the broker answers", every=0.3)

    def _answers(self):
        if not self.process.alive():
            raise RuntimeError(f"the broker ended:\n{self.process.log_tail()}")
        admin = self.admin()
        try:
            return admin.list_topics(timeout=2).brokers
        except KafkaException:
            return None

    def stop(self):
        """Ends the broker and deletes its data (unless keep)."""
        if self.process is not None:
            try:
                self.process.terminate(20)
            except subprocess.TimeoutExpired:
                pass  # it was killed; its data go away anyway
            self.process = None
        if self.keep:
            print(f"kept {self.folder}", flush=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def admin(self):
        return AdminClient({"bootstrap.servers": self.brokers, "logger": QUIET})

    def create_topic(self, name, partitions=1, **config):
        """config: topic settings, with _ for the dots."""
        topic = NewTopic(name, partitions, 1,
                         config={key.replace("_", "."): str(value)
                                 for key, value in config.items()})
        admin = self.admin()  # must outlive the answer
        admin.create_topics([topic])[name].result(30)
