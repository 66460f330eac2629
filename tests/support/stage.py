"""A broker with infopair's topics on it, a working folder, and a worker not yet started."""

import shutil
import tempfile
from pathlib import Path

from . import contracts
from .kafka import KafkaCluster
from .ledger import TOPICS
from .topics import Writer
from .worker import Worker, command


class Stage:
    """Use as a context manager. options: over the defaults below."""

    def __init__(self, build, options=None, keep=False, topics=True, kafka=None):
        self.build = build
        self.keep = keep
        self.kafka = kafka or KafkaCluster(keep=keep)
        self.folder = Path(tempfile.mkdtemp(prefix="infopair-test-"))
        self.options = {"kafka.brokers": self.kafka.brokers, "topics.partitions": 3,
                        "topics.replication": 1, "policy.beta": 0.5, "budget.per_second": 100,
                        "log.level": "info", **(options or {})}
        self.worker = Worker(build, self.folder, self.options)
        self._writer = None
        if topics:
            try:
                self.command("topics")
            except BaseException:
                self.__exit__(None, None, None)
                raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.worker.__exit__(kind, value, trace)
        self.kafka.stop()
        if self.keep:
            print(f"kept {self.folder}", flush=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def brokers(self):
        return self.kafka.brokers

    def command(self, *words, **more):
        return command(self.build, *words, options={**self.options, **more.pop("options", {})},
                       **more)

    def write(self, topic, value, **more):
        """topic: a key of TOPICS."""
        if self._writer is None:
            self._writer = Writer(self.brokers)
        self._writer.send(TOPICS[topic], value, **more)

    def write_completion(self, prompt_id, completion_id, values, **more):
        record = contracts.completion(prompt_id, completion_id, values, **more)
        self.write("completions", contracts.encode("completion", record), key=prompt_id.encode())

    def flush(self):
        if self._writer is not None:
            self._writer.flush()
