"""The alpaca world: real features, simulated labels, and the measure c of a set of asked pairs.

F = rows as 167 x 48 x 64, minus the prompt's mean, times sc = sqrt(64 / mean |.|^2);
psi* = theta / sc; reference policy uniform over the 48; beta = .5; labels by sigma(psi*'x).
I* = mean over prompts of Cov under softmax(psi*'phi / beta).
c = T tr(I* inverse(F*)), F* = sum over the T asked pairs of sigma'(psi*'x) x x'.
gap = (1 / 2 beta) (psi - psi*)' I* (psi - psi*).
"""

import json
from dataclasses import dataclass, field

import numpy

from .environment import need_data
from .information import weight_plug

BETA = 0.5
PER_PROMPT = 48


def sigmoid(margin):
    return 1 / (1 + numpy.exp(-margin))


@dataclass
class World:
    raw: numpy.ndarray    # rows x d as sent
    theta: numpy.ndarray  # of the raw features
    prompts: list         # prompt id of each row
    completions: list     # completion id of each row
    row_of: dict = field(init=False)
    scale: float = field(init=False)
    features: numpy.ndarray = field(init=False)
    psi: numpy.ndarray = field(init=False)
    policy: numpy.ndarray = field(init=False)

    def __post_init__(self):
        rows, d = self.raw.shape
        self.row_of = {place: row for row, place in enumerate(zip(self.prompts, self.completions))}
        grouped = self.raw.astype(float).reshape(-1, PER_PROMPT, d)
        centred = grouped - grouped.mean(axis=1, keepdims=True)
        self.scale = numpy.sqrt(d / (centred ** 2).sum(axis=2).mean())
        centred *= self.scale
        self.psi = self.theta / self.scale
        self.policy = numpy.mean([self._covariance(prompt) for prompt in centred], axis=0)
        self.features = centred.reshape(rows, d)

    def _covariance(self, phi):
        logits = phi @ self.psi / BETA
        chance = numpy.exp(logits - logits.max())
        chance /= chance.sum()
        mean = chance @ phi
        return (phi * chance[:, None]).T @ phi - numpy.outer(mean, mean)

    def probability_left(self, left, right):
        """Of rows."""
        return sigmoid(self.theta @ (self.raw[left].astype(float) - self.raw[right]))

    def c(self, left, right):
        """c of the pairs given as two arrays of rows."""
        x = self.features[left] - self.features[right]
        weight = weight_plug(x @ self.psi)
        information = (x * weight[:, None]).T @ x
        return float(len(x) * numpy.trace(numpy.linalg.solve(information, self.policy)))

    def gap(self, psi, scale):
        """Of psi estimated in a space whose features are the raw ones times `scale`."""
        off = psi * scale / self.scale - self.psi
        return float(off @ self.policy @ off / (2 * BETA))

    def uniform_pairs(self, count, seed):
        """Rows of `count` pairs: a uniform prompt, then a uniform unasked pair of it whose features
        differ."""
        random = numpy.random.default_rng(seed)
        asked, left, right = set(), [], []
        while len(left) < count:
            first = int(random.integers(len(self.prompts) // PER_PROMPT)) * PER_PROMPT
            one, other = sorted(random.choice(PER_PROMPT, 2, replace=False) + first)
            if (one, other) in asked or (self.raw[one] == self.raw[other]).all():
                continue
            asked.add((one, other))
            left.append(one)
            right.append(other)
        return numpy.array(left), numpy.array(right)


def load():
    """The world; skips the test when its files are not there."""
    features, theta, lines = need_data(
        "alpaca/phi64.npy", "alpaca/theta64.npy", "alpaca/completions.jsonl")
    with open(lines, encoding="utf-8") as text:
        records = [json.loads(line) for line in text]
    return World(numpy.load(features), numpy.load(theta).astype(float),
                 [record["prompt_id"] for record in records],
                 [record["completion_id"] for record in records])
