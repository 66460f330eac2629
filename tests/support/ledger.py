"""The ledger and the other topics of a run, decoded."""

from dataclasses import dataclass, field

from . import contracts
from .topics import read_topic


@dataclass
class Entry:
    kind: str
    fields: dict
    partition: int
    offset: int
    time: int
    writer: str
    digest: str
    version: int


def entry_of(record):
    """An entry of a ledger record: the envelope, and the one body that it holds."""
    return entry_in(contracts.decode("ledger", record.value, names=True), record.partition,
                    record.offset)


def entry_in(envelope, partition, offset):
    bodies = [value for value in envelope.values() if isinstance(value, tuple)]
    assert len(bodies) == 1, f"an entry with {len(bodies)} bodies: {envelope}"
    name, fields = bodies[0]
    kind = str(envelope.get("kind") or name.rsplit(".", 1)[-1]).lower()
    return Entry(kind, fields, partition, offset, envelope["time"], envelope["writer"],
                 envelope["digest"], envelope["version"])


@dataclass
class Run:
    """All topics of a run, read_committed."""

    completions: list
    labels: list
    pairs: list
    entries: list
    dead_letters: list
    withdrawn: list = field(default_factory=list)  # records of pairs that take a request back

    def of(self, kind):
        return [entry for entry in self.entries if entry.kind == kind]


TOPICS = {"completions": "infopair.completions", "labels": "infopair.labels",
          "pairs": "infopair.pairs", "ledger": "infopair.ledger",
          "dead_letters": "infopair.dead-letters"}


FORGED = b"forged"  # key of what a test writes into the ledger to see it refused


def read_entries(brokers, topic=TOPICS["ledger"]):
    """All entries but the forged ones."""
    return [entry_of(record) for record in read_topic(brokers, topic) if record.key != FORGED]


def label_of(record):
    """The label, or None where the record is none: such a record must be dead-lettered."""
    try:
        return contracts.decode("label", record.value)
    except Exception:  # fastavro raises whatever broke: struct.error, EOFError, IndexError, ...
        return None


def read_run(brokers):
    pairs = read_topic(brokers, TOPICS["pairs"])
    labels = read_topic(brokers, TOPICS["labels"])
    return Run(
        completions=read_topic(brokers, TOPICS["completions"]),
        labels=[(record, label_of(record)) for record in labels],
        pairs=[contracts.decode("pair", record.value) for record in pairs
               if record.value is not None],
        withdrawn=[record for record in pairs if record.value is None],
        entries=read_entries(brokers),
        dead_letters=read_topic(brokers, TOPICS["dead_letters"]))
