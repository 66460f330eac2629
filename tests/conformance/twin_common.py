"""What the two halves of the twin share: numbers, chance, files."""
import json
import math
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "vectors"


def sigma(m):
    return 1 / (1 + np.exp(-m)) if m >= 0 else np.exp(m) / (1 + np.exp(m))


def entropy(p):
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


class Philox:
    """Philox4x32-10 of Salmon et al. 2011; two 32-bit words to a number, low word first."""

    def __init__(self, key, stream):
        self.key, self.stream, self.counter, self.words = key, stream, 0, []

    def block(self):
        mask = 0xFFFFFFFF
        c = [self.counter & mask, self.counter >> 32, self.stream & mask, self.stream >> 32]
        k = [self.key & mask, self.key >> 32]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(b >> 32) ^ c[1] ^ k[0], b & mask, (a >> 32) ^ c[3] ^ k[1], a & mask]
            k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
        self.counter += 1
        return c

    def bits(self):
        if len(self.words) < 2:
            self.words = self.block()
        low, high = self.words[:2]
        self.words = self.words[2:]
        return high << 32 | low

    def uniform(self):
        return (self.bits() >> 11) * 2.0 ** -53

    def below(self, bound):
        unfair = (1 << 64) % bound
        while True:
            bits = self.bits()
            if bits >= unfair:
                return bits % bound


def mutual(p):
    return entropy(p.mean()) - np.mean([entropy(v) for v in p])


def numbers(value):
    return np.asarray(value, float).tolist()


def write(name, kind, notes, cases):
    text = json.dumps({"kind": kind, "notes": notes, "cases": cases}, separators=(",", ":"))
    (HERE / name).write_text(text.replace('},{"rule"', '},\n{"rule"') + "\n")
