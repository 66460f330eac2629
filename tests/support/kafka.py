"""Apache Kafka on 127.0.0.1 (KRaft): one broker, or several that replicate each other. Each process
is broker and controller. Brokers are numbered from 1."""

import base64
import json
import logging
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource,
                                   NewPartitions, NewTopic, ResourceType)

from .conditions import eventually
from .environment import CACHE, ROOT, skip
from .processes import Process, free_port

VERSION = "4.3.1"
QUIET = logging.getLogger("librdkafka")  # a client that waits for a broker logs every attempt
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False

# The listener PROXIED tells clients to come through `proxy`, where a test may listen in between
# (support/proxy.py); `inner` is where it listens itself.
PROPERTIES = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{inner},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxy}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/data
num.partitions=1
auto.create.topics.enable=false
min.insync.replicas={in_sync}
offsets.topic.num.partitions=2
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""


class Broker:
    """One process; the same object is started again after it ended."""

    def __init__(self, number, folder, port=None, alone=True):
        self.number = number
        self.folder = folder
        # Of several on one machine, each compiles quickly rather than well.
        self.machine = ["-Xmx768m"] if alone else ["-Xmx384m", "-XX:TieredStopAtLevel=1"]
        self.port = port or free_port()
        self.controller, self.inner, self.proxy = free_port(), free_port(), free_port()
        self.libraries = CACHE / f"kafka-{VERSION}"
        self.process = None

    def java(self, *command):
        log4j = ROOT / "tests" / "support" / "kafka" / "log4j2.xml"
        return ["java", *self.machine, "-XX:+UseSerialGC",
                f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{self.libraries}/*",
                *map(str, command)]

    def run_java(self, *command):
        """Runs one of Kafka's own programs to its end."""
        done = subprocess.run(self.java(*command), capture_output=True, text=True, timeout=120,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
        return done.stdout

    def format(self, cluster_id, more, **settings):
        """more: {name: value} over PROPERTIES, whose gaps `settings` fill."""
        self.folder.mkdir(exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(PROPERTIES.format(
            number=self.number, port=self.port, controller=self.controller, inner=self.inner,
            proxy=self.proxy, folder=self.folder, **settings)
            + "".join(f"{name}={value}\n" for name, value in more.items()))
        self.run_java("kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c",
                      properties)  # in one word, for the id may begin with a dash

    def start(self):
        self.process = Process(self.java("kafka.Kafka", self.folder / "server.properties"),
                               self.folder / "broker.log", cwd=self.folder)

    def kill(self):
        if self.process is not None:
            self.process.kill()

    def must_live(self):
        if not self.process.alive():
            raise RuntimeError(f"broker {self.number} ended:\n{self.process.log_tail()}")


class KafkaCluster:
    """Starts on construction unless start=False; use as a context manager. `port` may be given, for
    a broker that appears where somebody waits for it. With several brokers every topic of Kafka's
    own has a replica on up to three of them, and two must have a record before it counts.
    settings: of every broker, over those above."""

    def __init__(self, port=None, start=True, keep=False, count=1, settings=None):
        if not any((CACHE / f"kafka-{VERSION}").glob("kafka-server-*.jar")):
            skip(f"no Kafka in .cache/kafka-{VERSION}; tests/run.sh fetches it")
        self.count = count
        self.keep = keep
        self.settings = settings or {}
        self.folder = Path(tempfile.mkdtemp(prefix="infopair-kafka-"))
        self.members = [Broker(number, self.folder / f"broker-{number}", port if number == 1 else None,
                               alone=count == 1)
                        for number in range(1, count + 1)]
        self.brokers = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        self.formatted = False
        if start:
            try:
                self.start()
            except BaseException:
                self.stop()
                raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop()

    def broker(self, number=1):
        return self.members[number - 1]

    def _format(self):
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        voters = ",".join(f"{member.number}@127.0.0.1:{member.controller}"
                          for member in self.members)
        for member in self.members:
            member.format(cluster_id, self.settings, voters=voters, replicas=min(self.count, 3),
                          in_sync=2 if self.count > 2 else 1)
        self.formatted = True

    def start(self):
        """Starts all brokers and waits until they answer; after stop(), on the same data."""
        if not self.formatted:
            self._format()
        for member in self.members:
            member.start()
        self.await_members()

    def await_members(self):
        """Until every broker has joined the cluster."""
        eventually(lambda: len(self._answering()) == self.count, 120, "the brokers answer", every=0.3)

    def _answering(self):
        for member in self.members:
            member.must_live()
        admin = self.admin()
        try:
            return admin.list_topics(timeout=2).brokers
        except KafkaException:
            return {}

    def kill(self, number):
        """SIGKILL of one broker."""
        self.broker(number).kill()

    def restart(self, number):
        """Starts one that was killed, and waits until all replicas are in sync again."""
        self.broker(number).start()
        self.await_members()
        eventually(self._in_sync, 60, "all replicas are in sync", every=0.3)

    def _in_sync(self):
        admin = self.admin()
        try:
            topics = admin.list_topics(timeout=5).topics.values()
        except KafkaException:
            return False
        return all(len(partition.isrs) == len(partition.replicas)
                   for topic in topics for partition in topic.partitions.values())

    def stop(self):
        """Ends the brokers and deletes their data (unless keep)."""
        for member in self.members:
            member.kill()
        if self.keep:
            print(f"kept {self.folder}", flush=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def admin(self):
        return AdminClient({"bootstrap.servers": self.brokers, "logger": QUIET})

    def create_topic(self, name, partitions=1, **config):
        """config: topic settings, with _ for the dots."""
        topic = NewTopic(name, partitions, min(self.count, 3),
                         config={key.replace("_", "."): str(value)
                                 for key, value in config.items()})
        admin = self.admin()  # must outlive the answer
        admin.create_topics([topic])[name].result(30)

    def configure(self, topic, **config):
        """Changes topic settings, with _ for the dots."""
        entries = [ConfigEntry(key.replace("_", "."), str(value),
                               incremental_operation=AlterConfigOpType.SET)
                   for key, value in config.items()]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        admin = self.admin()
        admin.incremental_alter_configs([resource])[resource].result(30)

    def grow(self, topic, partitions):
        """Gives a topic more partitions."""
        admin = self.admin()
        admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(30)
        eventually(lambda: len(self._partitions(topic)) == partitions, 30, f"{topic} has grown")

    def _partitions(self, topic):
        return self.admin().list_topics(topic, timeout=10).topics[topic].partitions

    def leaders(self, topic):
        """{partition: number of its leader}"""
        return {number: found.leader for number, found in self._partitions(topic).items()}

    def move_leaders(self, *topics):
        """Makes another replica the leader of every partition of the topics, all brokers alive."""
        found = {(topic, number): partition for topic in topics
                 for number, partition in self._partitions(topic).items()}
        # The preferred leader is the replica that stands first.
        wanted = {place: sorted(partition.replicas, key=lambda r, old=partition.leader: r == old)
                  for place, partition in found.items()}
        plan = self.folder / "plan.json"
        plan.write_text(json.dumps({"version": 1, "partitions": [
            {"topic": topic, "partition": number, "replicas": replicas}
            for (topic, number), replicas in wanted.items()]}))
        self.broker().run_java("org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
                               "--bootstrap-server", self.brokers, "--execute",
                               "--reassignment-json-file", plan)
        admin = self.admin()
        admin.elect_leaders(ElectionType.PREFERRED,
                            [TopicPartition(*place) for place in wanted]).result(30)

        def moved():
            return all(replicas[0] == self.leaders(topic)[number]
                       for (topic, number), replicas in wanted.items())
        eventually(moved, 30, f"the leaders of {topics} moved")
