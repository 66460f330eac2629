"""Made-up completions in bulk, for load: cheap to encode, with prompts and pools as wanted."""

import numpy

from . import contracts


class Encoder:
    """Encodes completions whose ids and features vary and whose other fields stay. The encoded bytes
    are a frame, the varying fields and fixed parts between them, cut out of one real encoding, so
    that no order of fields is written down here."""

    MARKS = {"prompt_id": "PROMPTPROMPT", "completion_id": "COMPLETIONXX"}  # 12 bytes each

    def __init__(self, dimension, **more):
        self.dimension = dimension
        mark = numpy.full(dimension, 77.25)
        sample = contracts.encode("completion", contracts.completion(
            self.MARKS["prompt_id"], self.MARKS["completion_id"], mark, **more))
        self.template = bytearray(sample)
        self.places = {name: self._place(sample, text.encode())
                       for name, text in self.MARKS.items()}
        self.features = self._place(sample, contracts.features(mark))

    @staticmethod
    def _place(sample, needle):
        at = sample.index(needle)
        assert sample.find(needle, at + 1) < 0, "a mark occurs twice"
        return slice(at, at + len(needle))

    def encode(self, prompt, completion, values):
        """prompt, completion: numbers; values: float32 row of the dimension."""
        self.template[self.places["prompt_id"]] = b"p%011d" % prompt
        self.template[self.places["completion_id"]] = b"c%011d" % completion
        self.template[self.features] = values.tobytes()
        return bytes(self.template)


def prompt_key(prompt):
    return b"p%011d" % prompt


class World:
    """Log-linear: features z * sqrt(1/j spectrum) around an offset of the prompt, preference psi."""

    def __init__(self, dimension, seed=1, spread=1.5):
        self.random = numpy.random.default_rng(seed)
        spectrum = 1 / numpy.arange(1, dimension + 1)
        self.deviation = numpy.sqrt(spectrum * dimension / spectrum.sum()).astype("f4")
        psi = self.random.normal(size=dimension)
        self.psi = psi * spread / numpy.sqrt(((psi * self.deviation) ** 2).sum())

    def rows(self, count):
        noise = self.random.standard_normal((count, len(self.psi)), dtype="f4")
        return noise * self.deviation
