"""The main world and twelve rules of selection in it, in NumPy: a program apart from infopair's.

Every array has a leading axis of seeds, and all seeds take each step together. A round draws POOLS
pools of POOL completions and asks BATCH pairs of them, after which they are thrown away; then I, the
fit and Sigma are renewed. The rules are in numpy_rules.

Prints a JSON line for each rule: c of each seed, the gap after all labels of each seed, seconds.
"""

import argparse
import json
import time

import numpy as np
from numpy_rules import BATCH, POOL, RULES, Pools, apply

PROMPTS, COMPLETIONS, POOLS, BETA = 100, 64, 50, .5
STEPS, TOLERANCE = 25, 1e-6  # of Newton


def sigmoid(m):
    return 1 / (1 + np.exp(-m))


def decay_weight(m):
    """sigma'(m)."""
    decay = np.exp(-np.abs(m))
    return decay / (1 + decay) ** 2


# ---- the world ----


class Worlds:
    """A world, its pools and the numbers behind its draws and labels, for each seed."""

    def __init__(self, seeds, d, labels):
        made = [self.make(np.random.default_rng(seed), d, labels) for seed in seeds]
        (self.features, self.psi, self.log_reference, self.prompts, self.rows, self.coins,
         self.draws) = (np.stack(each) for each in zip(*made))
        self.seeds, self.d, self.labels = len(seeds), d, labels
        self.reward = np.einsum("spmd,sd->spm", self.features, self.psi)

    @staticmethod
    def make(rng, d, labels):
        spectrum = 1 / np.arange(1, d + 1)
        spectrum *= d / spectrum.sum()
        scale = (np.exp(.4 * rng.standard_normal((PROMPTS, 1, d))) *
                 np.exp(.3 * rng.standard_normal((PROMPTS, 1, 1))))
        phi = rng.standard_normal((PROMPTS, COMPLETIONS, d)) * scale * np.sqrt(spectrum)
        phi += rng.standard_normal((PROMPTS, 1, d))
        inner = phi - phi.mean(axis=1, keepdims=True)
        factor = np.sqrt(d / (inner ** 2).sum(axis=2).mean())
        psi = rng.standard_normal(d)
        psi *= 1.5 / np.sqrt(((factor * inner @ psi) ** 2).mean())
        logits = .5 * rng.standard_normal((PROMPTS, COMPLETIONS))
        log_reference = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        rounds = labels // BATCH
        prompts = rng.integers(PROMPTS, size=(rounds, POOLS))
        keys = log_reference[prompts] + rng.gumbel(size=(rounds, POOLS, COMPLETIONS))
        rows = np.argsort(-keys, axis=2)[:, :, :POOL]
        return (factor * phi, psi, log_reference, prompts, rows, rng.random(labels),
                rng.random((rounds, BATCH, 3)))

    def pools_of(self, k):
        """Features and log pi_ref of the completions of round k."""
        places = np.arange(self.seeds)[:, None, None], self.prompts[:, k, :, None], self.rows[:, k]
        shape = self.seeds, POOLS * POOL
        return self.features[places].reshape(*shape, self.d), self.log_reference[places].reshape(shape)

    def c_of(self, x):
        """labels tr(I F^-1) at the truth, of x: seeds x labels x d."""
        logits = self.log_reference + self.reward / BETA
        pi = np.exp(logits - logits.max(axis=2, keepdims=True))
        policy = information_of(self.features, pi / pi.sum(axis=2, keepdims=True))
        fisher = fisher_of(x, apply(x, self.psi))
        return x.shape[1] * np.einsum("sii->s", np.linalg.solve(fisher, policy))

    def gaps(self, paths):
        """Of psi at each point of the curves, seeds x points x d: seeds x points."""
        found = np.empty(paths.shape[:2])
        for s in range(self.seeds):
            reward, reference = self.reward[s][:, :, None], self.log_reference[s][:, :, None]
            best = BETA * np.log(np.exp(reference + reward / BETA).sum(axis=1))
            learnt = self.features[s] @ paths[s].T
            logits = reference + learnt / BETA
            most = logits.max(axis=1, keepdims=True)
            pi = np.exp(logits - most)
            total = pi.sum(axis=1)
            reached = ((pi * (reward - learnt)).sum(axis=1) / total +
                       BETA * (most[:, 0] + np.log(total)))
            found[s] = (best - reached).mean(axis=0)
        return found


def information_of(phi, pi):
    """Mean over prompts of Cov(phi) under pi: seeds x prompts x n (x d)."""
    seeds, prompts, n, d = phi.shape
    mean = np.einsum("spn,spnd->spd", pi, phi)
    flat = phi.reshape(seeds, prompts * n, d)
    weighted = flat * pi.reshape(seeds, prompts * n, 1)
    return (weighted.swapaxes(1, 2) @ flat - mean.swapaxes(1, 2) @ mean) / prompts


def fisher_of(x, margin, which=None, into=None):
    """Sum of sigma' x x' of each seed, or of those of `which`, into an array that holds the others'."""
    root = np.sqrt(decay_weight(margin))
    found = np.empty((len(x), x.shape[2], x.shape[2])) if into is None else into
    for s in range(len(x)) if which is None else np.flatnonzero(which):
        scaled = x[s] * root[s][:, None]  # one seed at a time stays in the cache
        np.matmul(scaled.T, scaled, out=found[s])
    return found


# ---- the fit ----


class Fit:
    """psi by damped Newton, lambda by evidence, from the labels so far."""

    def __init__(self, seeds, d, labels):
        self.all_x, self.all_y = np.zeros((seeds, labels, d)), np.zeros((seeds, labels))
        self.psi, self.lam = np.zeros((seeds, d)), np.ones(seeds)
        self.count, self.d, self.cap = 0, d, 2 * d / .09

    def add(self, x, y):
        into = slice(self.count, self.count + BATCH)
        self.all_x[:, into], self.all_y[:, into] = x, y
        self.count += BATCH

    def labels(self, which=slice(None)):
        return self.all_x[which, :self.count], self.all_y[which, :self.count]

    def sigma(self, fisher, lam):
        return fisher + lam[:, None, None] * np.eye(self.d)

    def inverse(self):
        """S at the present psi."""
        x, _ = self.labels()
        return np.linalg.inv(self.sigma(fisher_of(x, apply(x, self.psi)), self.lam))

    @staticmethod
    def losses(x, y, psi):
        """Sum of the labels' losses, and psi' x."""
        margin = apply(x, psi)
        each = np.maximum(margin, 0) + np.log1p(np.exp(-np.abs(margin))) - y * margin
        return each.sum(axis=1), margin

    def descend(self, x, y, lam, psi, step, slope, loss):
        """The longest of the steps 1, 1/2, ... that lowers the penalised loss enough."""
        start = loss + lam / 2 * (psi ** 2).sum(axis=1)
        length = np.ones(len(psi))
        while True:
            trial = psi - length[:, None] * step
            loss, margin = self.losses(x, y, trial)
            value = loss + lam / 2 * (trial ** 2).sum(axis=1)
            high = value > start - 1e-4 * length * slope + 1e-12 * (1 + np.abs(start))
            if not high.any() or length.min() < 1e-9:
                return trial, loss, margin
            length[high] /= 2

    def newton(self, x, y, lam, psi, known=None):
        """Minimises the penalised loss. known, and what is returned beside psi: the sum of losses,
        psi' x and F at psi."""
        loss, margin, fisher = known or (*self.losses(x, y, psi), np.empty((len(x), self.d, self.d)))
        stale = np.full(len(x), known is None)
        for _ in range(STEPS):
            gradient = apply(x.swapaxes(1, 2), sigmoid(margin) - y) + lam[:, None] * psi
            moving = np.abs(gradient).max(axis=1) >= TOLERANCE
            if not moving.any():
                break
            gradient[~moving] = 0
            fisher_of(x, margin, stale & moving, fisher)
            stale[moving] = False
            step = np.zeros_like(psi)
            step[moving] = np.linalg.solve(self.sigma(fisher[moving], lam[moving]),
                                           gradient[moving, :, None])[:, :, 0]
            psi, loss, margin = self.descend(x, y, lam, psi, step, (gradient * step).sum(axis=1), loss)
            stale |= moving
        return psi, (loss, margin, fisher_of(x, margin, stale, fisher))

    def by_evidence(self, which, psi, lam, rounds):
        """Newton, then `rounds` times lambda by evidence and Newton again. Returns psi, lambda, S,
        gamma and the evidence."""
        x, y = self.labels(which)
        psi, known = self.newton(x, y, lam, psi)
        for left in reversed(range(rounds + 1)):
            sigma = self.sigma(known[2], lam)
            s = np.linalg.inv(sigma)
            gamma = np.maximum(0, self.d - lam * np.einsum("sii->s", s))
            size = (psi ** 2).sum(axis=1)
            if left == 0:
                break
            lam = np.clip(gamma / size, .01, self.cap)
            psi, known = self.newton(x, y, lam, psi, known)
        evidence = (-known[0] - lam / 2 * size + self.d / 2 * np.log(lam) -
                    np.linalg.slogdet(sigma)[1] / 2)
        return psi, lam, s, gamma, evidence

    def solve(self):
        """Renews psi and lambda; returns S. Where the evidence ran away to a large lambda the fit is
        started again, and the better of the two is kept."""
        kept = self.by_evidence(slice(None), self.psi, self.lam, 2)
        lost = np.flatnonzero(kept[3] < self.d / 2) if self.count > 2 * self.d else []
        if len(lost) > 0:
            again = self.by_evidence(lost, np.zeros((len(lost), self.d)), np.ones(len(lost)), 3)
            better = again[4] > kept[4][lost]
            for old, new in zip(kept, again):
                old[lost[better]] = new[better]
        self.psi, self.lam = kept[:2]
        return kept[2]


# ---- arms ----


class Arm:
    """A rule with what it has learnt."""

    def __init__(self, name, worlds):
        self.name, self.rule, self.worlds = name, RULES[name], worlds
        self.fit = Fit(worlds.seeds, worlds.d, worlds.labels)
        self.s = np.tile(np.eye(worlds.d), (worlds.seeds, 1, 1))
        self.policy = np.zeros_like(self.s)
        self.path, self.fitted, self.seconds = [], 0, 0

    def learn_policy(self, phi, k):
        logits = apply(phi, self.fit.psi).reshape(-1, POOLS, POOL) / BETA
        pi = np.exp(logits - logits.max(axis=2, keepdims=True))
        pi /= pi.sum(axis=2, keepdims=True)
        share = max(1 / (k + 1), .1)
        self.policy += share * (information_of(phi.reshape(*pi.shape, -1), pi) - self.policy)

    def due(self):
        """dopt_logit fits again when a power of two lies between."""
        return (self.name != "dopt_logit" or
                self.fit.count.bit_length() > self.fitted.bit_length())

    def step(self, k, phi, log_reference):
        begun = time.perf_counter()
        worlds = self.worlds
        if getattr(self.rule, "policy", False):
            self.learn_policy(phi, k)
        pools = Pools(phi, log_reference, worlds.draws[:, k], self.fit.psi, self.s, self.policy, BETA)
        self.rule(pools)
        x = pools.asked()
        coins = worlds.coins[:, k * BATCH:(k + 1) * BATCH]
        self.fit.add(x, coins < sigmoid(apply(x, worlds.psi)))
        if self.due():
            self.fitted = self.fit.count
            self.s = self.fit.solve()
        else:
            self.s = self.fit.inverse()
        self.path.append(self.fit.psi)
        self.seconds += time.perf_counter() - begun


def run(seeds, rules, d, labels):
    """Lines of the rules."""
    worlds = Worlds(seeds, d, labels)
    arms = [Arm(name, worlds) for name in rules]
    for k in range(labels // BATCH):
        phi, log_reference = worlds.pools_of(k)
        for arm in arms:
            arm.step(k, phi, log_reference)
    for arm in arms:
        gaps = worlds.gaps(np.stack(arm.path, axis=1))
        c = worlds.c_of(arm.fit.labels()[0])
        yield {"rule": arm.name, "seeds": list(seeds), "c": c.tolist(), "gap": gaps[:, -1].tolist(),
               "seconds": round(arm.seconds, 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-24", help="first-last")
    parser.add_argument("--rules", default=";".join(RULES))
    parser.add_argument("--dimension", type=int, default=32)
    parser.add_argument("--labels", type=int, default=2000)
    chosen = parser.parse_args()
    first, last = map(int, chosen.seeds.split("-"))
    for line in run(range(first, last + 1), chosen.rules.split(";"), chosen.dimension, chosen.labels):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
