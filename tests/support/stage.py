"""Brokers with infopair's topics on them, a working folder, and workers not yet started."""

import shutil
import tempfile
from pathlib import Path

from . import contracts
from .conditions import eventually
from .kafka import KafkaCluster
from .ledger import TOPICS
from .topics import Writer, committed, ends
from .worker import Worker, command


INPUTS = (TOPICS["completions"], TOPICS["labels"])


class Stage:
    """Use as a context manager. options: over the defaults below. There is one worker, and more by
    add_worker."""

    def __init__(self, build, options=None, keep=False, topics=True, kafka=None):
        self.build = build
        self.keep = keep
        self.kafka = kafka or KafkaCluster(keep=keep)
        self.folder = Path(tempfile.mkdtemp(prefix="infopair-test-"))
        self.options = {"kafka.brokers": self.kafka.brokers, "topics.partitions": 3,
                        "topics.replication": min(self.kafka.count, 3), "policy.beta": 0.5,
                        "budget.per_second": 100, "log.level": "info", **(options or {})}
        self.workers = []
        self.worker = self.add_worker()
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
        for worker in self.workers:
            worker.__exit__(kind, value, trace)
        self.kafka.stop()
        if self.keep:
            print(f"kept {self.folder}", flush=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def brokers(self):
        return self.kafka.brokers

    def add_worker(self, options=None):
        """One more worker, not started, with a slot of its own; options: over the stage's."""
        number = len(self.workers)
        own = {"kafka.instance": f"test-{number}", **(options or {})}
        worker = Worker(self.build, self.folder, {**self.options, **own},
                        log=f"worker-{number}.log")
        self.workers.append(worker)
        return worker

    def running(self):
        return [worker for worker in self.workers if worker.alive()]

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

    def committed(self):
        """{input topic: {partition: Place}} that were committed"""
        return {topic: committed(self.brokers, "infopair", topic) for topic in INPUTS}

    def ends(self):
        """{input topic: {partition: high watermark}}"""
        return {topic: ends(self.brokers, topic) for topic in INPUTS}

    def _state(self):
        return self.committed(), ends(self.brokers, TOPICS["ledger"])

    def await_quiet(self, every=4):
        """Until the workers have nothing left to do: all slots or pairs under way, all panes
        published; so they are ready, and the ledger and the offsets stand still for `every`
        seconds, longer than any interval."""
        last = [None]

        def still():
            for worker in self.running():
                worker.must_live()
            now = self._state()
            same, last[0] = now == last[0], now
            return same and all(worker.metric("infopair_ready") for worker in self.running())
        eventually(still, 90, "the workers come to rest", every=every)
