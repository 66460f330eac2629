"""Reading and writing whole topics with librdkafka's own Python client."""

from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from .kafka import QUIET

READER = {"group.id": "infopair-test-reader", "enable.auto.commit": False, "logger": QUIET,
          "enable.partition.eof": True, "auto.offset.reset": "earliest"}


@dataclass
class Record:
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: dict = field(default_factory=dict)


def record_of(message):
    return Record(message.topic(), message.partition(), message.offset(), message.timestamp()[1],
                  message.key(), message.value(), dict(message.headers() or []))


def reader(brokers, isolation="read_committed"):
    return Consumer({"bootstrap.servers": brokers, "isolation.level": isolation, **READER})


def partitions_of(consumer, topic):
    metadata = consumer.list_topics(topic, timeout=20).topics[topic]
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    return sorted(metadata.partitions)


def read_topic(brokers, topic, isolation="read_committed", timeout=60):
    """The records of a topic up to the end that it has at the call (while it may go on growing), in
    order of (partition, offset)."""
    consumer = reader(brokers, isolation)
    try:
        reading = {number: consumer.get_watermark_offsets(TopicPartition(topic, number), 20)[1]
                   for number in partitions_of(consumer, topic)}
        consumer.assign([TopicPartition(topic, number, 0) for number in reading])
        records = []
        while reading:
            message = consumer.poll(timeout)
            if message is None:
                raise AssertionError(f"{topic}: no end of partitions {reading} in {timeout} s")
            partition, offset = message.partition(), message.offset()
            failed = message.error()
            if failed is not None and failed.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(failed)
            if failed is None and offset < reading.get(partition, 0):
                records.append(record_of(message))
            # The end may lie behind control records, which are never delivered.
            if failed is not None or offset >= reading.get(partition, 0) - 1:
                reading.pop(partition, None)
    finally:
        consumer.close()
    return sorted(records, key=lambda record: (record.partition, record.offset))


class Follower:
    """Reads a topic from its start as it grows, read_committed."""

    def __init__(self, brokers, topic):
        self.consumer = reader(brokers)
        self.consumer.assign([TopicPartition(topic, number, 0)
                              for number in partitions_of(self.consumer, topic)])

    def new_records(self, wait=0.2):
        """What has come since the last call; waits at most `wait` seconds for the first."""
        records = []
        for message in self.consumer.consume(10000, wait):
            if message.error() is None:
                records.append(record_of(message))
            elif message.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
        return records

    def close(self):
        self.consumer.close()


def ends(brokers, topic):
    """High watermark of each partition."""
    consumer = reader(brokers)
    try:
        return {number: consumer.get_watermark_offsets(TopicPartition(topic, number), 20)[1]
                for number in partitions_of(consumer, topic)}
    finally:
        consumer.close()


@dataclass
class Place:
    offset: int
    metadata: bool  # whether there are any


def _has_metadata(found):
    # The client reads past their end, so that their text is not to be trusted.
    try:
        return bool(found.metadata)
    except UnicodeDecodeError:
        return True


def committed(brokers, group, topic):
    """{partition: Place} that the group committed."""
    consumer = Consumer({"bootstrap.servers": brokers, **READER, "group.id": group})
    try:
        wanted = [TopicPartition(topic, number) for number in partitions_of(consumer, topic)]
        return {found.partition: Place(found.offset, _has_metadata(found))
                for found in consumer.committed(wanted, 20)}
    finally:
        consumer.close()


class Writer:
    """An idempotent producer; send() keeps what the broker said about each record."""

    def __init__(self, brokers):
        self.producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True,
                                  "linger.ms": 5, "logger": QUIET,
                                  # new partitions are written to soon
                                  "topic.metadata.refresh.interval.ms": 2000,
                                  "queue.buffering.max.messages": 1000000,
                                  "message.max.bytes": 16 << 20})
        self.failures = []

    def send(self, topic, value, key=None, partition=-1, timestamp=0, headers=None):
        while True:
            try:
                self.producer.produce(topic, value, key, partition, timestamp=timestamp,
                                      headers=headers, on_delivery=self._delivered)
                break
            except BufferError:
                self.producer.poll(0.5)
        self.producer.poll(0)

    def _delivered(self, error, message):
        if error is not None:
            self.failures.append(error)

    def flush(self, timeout=60):
        left = self.producer.flush(timeout)
        if left or self.failures:
            raise AssertionError(f"{left} records not delivered, failures {self.failures[:3]}")
