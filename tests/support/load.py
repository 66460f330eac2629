"""Load: completions that are written and pairs that are answered while a test does something else."""

import threading

import numpy

from . import contracts, synthetic
from .labeller import Labeller
from .ledger import TOPICS

BLOCK = 20  # prompts that get their completions at the same time


class Background:
    """Functions that run in threads until stop(). What one of them raised, stop() raises."""

    def __init__(self, *functions):
        """Each is called with an event that is set when it should return."""
        self.stopped = threading.Event()
        self.troubles = []
        self.threads = [threading.Thread(target=self._run, args=(function,), daemon=True)
                        for function in functions]
        for thread in self.threads:
            thread.start()

    def _run(self, function):
        try:
            function(self.stopped)
        except BaseException as trouble:  # of whatever kind: the test must fail
            self.troubles.append(trouble)

    def stop(self, timeout=90):
        self.stopped.set()
        for thread in self.threads:
            thread.join(timeout)
            assert not thread.is_alive(), "a thread of the load does not end"
        if self.troubles:
            raise self.troubles[0]


class Flow:
    """Synthetic completions: `size` for each prompt at first."""

    def __init__(self, stage, dimension, size):
        self.stage = stage
        self.size = size
        self.world = synthetic.World(dimension)
        self.encoder = synthetic.Encoder(dimension, policy_version="load", text="a completion")
        self.margins = {}  # of (prompt, completion): what the labeller needs
        self.written = 0

    def write(self, prompts):
        """One completion for each of the numbers."""
        for prompt, row in zip(prompts, self.world.rows(len(prompts))):
            prompt = int(prompt)
            key = synthetic.prompt_key(prompt)
            self.margins[key.decode(), f"c{self.written:011d}"] = float(row @ self.world.psi)
            self.stage.write("completions",
                             self.encoder.encode(prompt, self.written, row.astype("<f4")), key=key)
            self.written += 1

    def fill(self, pools):
        """All completions of the prompts 0 … pools."""
        for begin in range(0, pools, 1000):
            self.write(numpy.repeat(numpy.arange(begin, min(begin + 1000, pools)), self.size))
        self.stage.flush()

    def trickle(self, pools, per_second, stopped):
        """New completions for the prompts 0 … pools, at random."""
        random = numpy.random.default_rng(9)
        while not stopped.wait(0.2):
            self.write(random.integers(pools, size=per_second // 5))

    def grow(self, per_second, stopped):
        """Ever new prompts, BLOCK of them under way at a time; each has `size` in the end."""
        while not stopped.wait(0.2) or self.written % (BLOCK * self.size):
            numbers = self.written + numpy.arange(min(per_second // 5, BLOCK * self.size
                                                      - self.written % (BLOCK * self.size)))
            self.write(numbers // (BLOCK * self.size) * BLOCK + numbers % BLOCK)
        self.stage.flush()

    def probability_left(self, pair):
        margin = (self.margins[pair["prompt_id"], contracts.side(pair, "left")]
                  - self.margins[pair["prompt_id"], contracts.side(pair, "right")])
        return 1 / (1 + numpy.exp(-margin))


class Load:
    """A growing flow and a labeller that answers every pair; runs between start() and stop()."""

    def __init__(self, stage, dimension, size, per_second, labeller=Labeller):
        self.per_second = per_second
        self.flow = Flow(stage, dimension, size)
        self.labeller = labeller(stage.brokers, TOPICS["pairs"], TOPICS["labels"],
                                 self.flow.probability_left)
        self.running = None

    def start(self):
        self.running = Background(
            lambda stopped: self.flow.grow(self.per_second, stopped),
            lambda stopped: self.labeller.run(10 ** 9, stopped))

    def check(self):
        """Raises what broke a thread."""
        if self.running is not None and self.running.troubles:
            raise self.running.troubles[0]

    def stop(self):
        if self.running is not None:
            running, self.running = self.running, None
            running.stop()

    def close(self):
        self.stop()
        self.labeller.close()
