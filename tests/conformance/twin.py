#!/usr/bin/env python3
"""Slow twin of the selection rules: writes vectors/*.json from the formulas, with NumPy alone.

Shares no code with the library and knows only its definitions. Plain loops, dense inverses, no
updates: every number is computed anew from what defines it. Run it from anywhere; it always writes
the same bytes.

A case of kind `rule` is one pool: scores or probabilities of the pairs (0,1), (0,2), ...; null for a
pair that may not be asked. A case of kind `set` is a list of candidate pairs and what is chosen.
"""
import itertools
import math

import numpy as np

import twin_lists
from twin_common import HERE, entropy, mutual, numbers, sigma, write


class Pool:
    def __init__(self, rng, n, d, draws, forbid=()):
        self.n, self.d = n, d
        self.phi = rng.normal(size=(n, d))
        self.psi = rng.normal(size=d) * 0.7
        a = rng.normal(size=(d, 3 * d))
        self.sigma = a @ a.T / 4 + 0.3 * np.eye(d)
        b = rng.normal(size=(d, 2 * d))
        self.policy = b @ b.T / d
        self.beta = 0.5
        self.reference = rng.normal(size=n) * 0.8 - 3
        self.log_policy = self.reference + rng.normal(size=n) * 0.6
        self.source = np.array([k % 4 for k in range(n)], float)
        self.truth = rng.normal(size=n)
        self.second_reward = rng.normal(size=n)
        self.second_width = rng.uniform(0.1, 1, size=n)
        self.previous = np.zeros(n)
        self.previous[n // 2] = 1
        self.s = np.linalg.inv(self.sigma)
        self.r = (self.phi - self.phi.mean(0)) @ self.psi
        self.draws = self.r + rng.normal(size=(draws, n)) * 0.8
        self.pairs = list(itertools.combinations(range(n), 2))
        self.forbidden = set(forbid)

    def ok(self, i, j):
        return i != j and (min(i, j), max(i, j)) not in self.forbidden

    def x(self, i, j):
        return self.phi[i] - self.phi[j]

    def gap(self, i, j):
        return float(self.psi @ self.x(i, j))

    def q(self, i, j, inverse=None):
        x = self.x(i, j)
        return float(x @ (self.s if inverse is None else inverse) @ x)

    def width(self, i, j):
        return math.sqrt(self.q(i, j))

    def w(self, i, j):
        kappa = 1 / math.sqrt(1 + math.pi * self.q(i, j) / 8)
        p = sigma(kappa * self.gap(i, j))
        return kappa * p * (1 - p)

    def upper(self, i, j, c=1.0):
        return sigma(self.gap(i, j) + c * self.width(i, j))

    def lower(self, i, j, c=1.0):
        return sigma(self.gap(i, j) - c * self.width(i, j))

    def candidates(self, c, buffer):
        return [i for i in range(self.n)
                if all(self.upper(i, j, c) > 0.5 - buffer for j in range(self.n) if j != i)]

    def champion(self, value):
        able = [i for i in range(self.n) if any(self.ok(i, j) for j in range(self.n))]
        return max(able, key=lambda i: (value[i], -i))

    def partners(self, i):
        return [j for j in range(self.n) if self.ok(i, j)]

    def implicit(self, i, j):
        h = self.log_policy - self.reference
        return self.beta * (h[i] - h[j])

    def rank(self, i):
        return sorted(range(self.n), key=lambda k: (-self.r[k], k)).index(i)


def each(pool, f):
    return {(i, j): f(i, j) for i, j in pool.pairs}


def only(pool, i, f):
    """Scores of the pairs of i, the other argument of f being the partner."""
    out = {p: -math.inf for p in pool.pairs}
    for j in pool.partners(i):
        out[min(i, j), max(i, j)] = f(j)
    return out


def normalised(pool, mass):
    mass = {p: (mass.get(p, 0.0) if pool.ok(*p) else 0.0) for p in pool.pairs}
    total = sum(mass.values())
    return {p: m / total if total > 0 else 0.0 for p, m in mass.items()}


def put(mass, i, j, p):
    key = (min(i, j), max(i, j))
    mass[key] = mass.get(key, 0.0) + p


def margins(pool):
    return [abs(pool.gap(*p)) for p in pool.pairs if pool.ok(*p)]


def p_draws(pool, i, j):
    return np.array([sigma(v) for v in pool.draws[:, i] - pool.draws[:, j]])


def policy_trace(pool, i, j, policy):
    x = pool.x(i, j)
    after = np.linalg.inv(pool.sigma + pool.w(i, j) * np.outer(x, x))
    return float(np.trace(policy @ pool.s) - np.trace(policy @ after))


def log_det(pool, i, j):
    x = pool.x(i, j)
    after = pool.sigma + pool.w(i, j) * np.outer(x, x)
    return float(np.linalg.slogdet(after)[1] - np.linalg.slogdet(pool.sigma)[1])


def kl_to_mixture(p):
    m = p.mean()
    return np.mean([v * math.log(v / m) + (1 - v) * math.log((1 - v) / (1 - m)) for v in p])


def maxminlcb(pool, c, buffer):
    inside = pool.candidates(c, buffer)
    if len(inside) < 2:
        return {p: -math.inf for p in pool.pairs}

    def worst(i):
        values = [pool.lower(i, j, c) for j in pool.partners(i) if j in inside]
        return min(values) if values else -math.inf

    i = max(inside, key=lambda k: (worst(k), -k))
    out = only(pool, i, lambda j: -pool.lower(i, j, c))
    return {p: v if (p[0] if p[1] == i else p[1]) in inside else -math.inf for p, v in out.items()}


def minmaxucb(pool, c):
    i = min(range(pool.n),
            key=lambda k: (max([pool.upper(k, j, c) for j in pool.partners(k)] or [9]), k))
    return only(pool, i, lambda j: pool.upper(i, j, c))


def maxwidth(pool, c, buffer):
    inside = pool.candidates(c, buffer)
    return each(pool, lambda i, j: (pool.upper(i, j, c) - pool.lower(i, j, c)) / 2
                if len(inside) > 1 and i in inside and j in inside else -math.inf)


def multisbm(pool, c):
    i = int(np.argmax(pool.previous))
    return only(pool, i, lambda j: pool.upper(j, i, c))


def sparring(pool, c):
    centred = pool.phi - pool.phi.mean(0)
    left = [pool.r[i] + c * math.sqrt(centred[i] @ pool.s @ centred[i]) for i in range(pool.n)]
    i = pool.champion(left)
    return only(pool, i, lambda j: pool.second_reward[j] + c * pool.second_width[j])


def best_quantile(pool, q):
    second = min(max(int(pool.n / q), 1), pool.n - 1)
    return each(pool, lambda i, j: abs(pool.gap(i, j))
                if {pool.rank(i), pool.rank(j)} == {0, second} else -math.inf)


def from_median(pool, sign):
    median = float(np.median(margins(pool)))
    return each(pool, lambda i, j: sign * abs(abs(pool.gap(i, j)) - median))


def rmg(pool, limit):
    def f(i, j):
        better, worse = (i, j) if pool.gap(i, j) >= 0 else (j, i)
        return abs(pool.gap(i, j)) if pool.implicit(better, worse) < limit else -math.inf
    return each(pool, f)


# probabilities


def deltaquantile(pool, low, high):
    a, b = np.quantile(margins(pool), [low, high])
    return normalised(pool, each(pool, lambda i, j: float(a <= abs(pool.gap(i, j)) <= b)))


def uniform_then(pool, c, buffer, value):
    inside = pool.candidates(c, buffer)
    mass = {}
    for j in inside if len(inside) > 1 else []:
        if pool.partners(j):
            put(mass, max(pool.partners(j), key=lambda i: (value(i, j), -i)), j, 1.0)
    return normalised(pool, mass)


def rucb(pool, c, buffer):
    return uniform_then(pool, c, buffer, lambda i, j: pool.upper(i, j, c))


def doubler(pool, c, buffer):
    return uniform_then(pool, c, buffer, lambda i, j: np.mean(
        [pool.upper(i, k, c) for k in range(pool.n) if k != i]))


def ids(pool, c, buffer, rho):
    inside = pool.candidates(c, buffer)
    g = pool.champion(pool.r)
    if len(inside) < 2:
        return {p: 0.0 for p in pool.pairs}
    regret = max(pool.upper(i, g, c) for i in inside if i != g)
    best = None
    for j in [j for j in pool.partners(g) if j in inside]:
        mean = sigma(pool.gap(g, j) / math.sqrt(1 + math.pi * pool.q(g, j) / 8))
        w = (pool.upper(g, j, c) - pool.lower(g, j, c)) / 2
        for p in np.linspace(1e-4, 1, 20001):  # the minimum over p by search
            value = ((1 - p) * regret + p * (regret + mean)) ** 2 / p * math.log(1 + w / rho ** 2)
            if best is None or value < best[0]:
                best = (value, j, p)
    mass = {}
    put(mass, g, best[1], float(best[2]))
    return {p: mass.get(p, 0.0) for p in pool.pairs}


def shares(pool, sign=1):
    best = [int(np.argmax(sign * row)) for row in pool.draws]
    return [best.count(i) / len(best) for i in range(pool.n)]


def duel(pool, first, second):
    mass = {}
    for i in range(pool.n):
        for j in range(pool.n):
            if i != j and first[i] > 0:
                rest = 1 - second[i]
                put(mass, i, j,
                    first[i] * (second[j] / rest if rest > 1e-12 else 1 / (pool.n - 1)))
    return normalised(pool, mass)


def thompson(pool, value):
    mass = {}
    for i, a in enumerate(shares(pool)):
        if a > 0 and pool.partners(i):
            put(mass, i, max(pool.partners(i), key=lambda j: (value(i, j), -j)), a)
    return normalised(pool, mass)


def ultrafeedback4(pool):
    """By going through every draw of four."""
    mass = {}
    for four in itertools.combinations(range(pool.n), min(4, pool.n)):
        best = min(four, key=pool.rank)
        for other in four:
            if other != best:
                put(mass, best, other, 1.0)
    return normalised(pool, mass)


def pi0_weighted(pool):
    p = np.exp(pool.reference) / np.exp(pool.reference).sum()
    return normalised(pool, each(pool, lambda i, j: 2 * p[i] * p[j]))


def by_source(pool, parts):
    mass = {}
    for weight, one, other in parts:
        fits = [p for p in pool.pairs if pool.ok(*p) and
                sorted(pool.source[list(p)]) == sorted([one, other])]
        for p in fits:
            put(mass, *p, weight / len(fits))
    return normalised(pool, mass)


def pool_rules():
    """name, parameters, scores or probabilities."""
    def f(g):
        return lambda pool: each(pool, lambda i, j: g(pool, i, j))
    return [
        ("policy_trace", [], f(lambda p, i, j: policy_trace(p, i, j, p.policy)), "scores"),
        ("aopt", [], f(lambda p, i, j: policy_trace(p, i, j, np.eye(p.d))), "scores"),
        ("dopt", [], f(log_det), "scores"),
        ("dopt_logit", [], f(log_det), "scores"),
        ("gopt", [], f(lambda p, i, j: p.q(i, j)), "scores"),
        ("dopt_xx", [], f(lambda p, i, j: p.q(i, j)), "scores"),
        ("min_margin", [], f(lambda p, i, j: -abs(p.gap(i, j))), "scores"),
        ("max_margin", [], f(lambda p, i, j: abs(p.gap(i, j))), "scores"),
        ("target_margin", [0.7], f(lambda p, i, j: -abs(abs(p.gap(i, j)) - 0.7)), "scores"),
        ("mid", [], lambda p: from_median(p, -1), "scores"),
        ("tails", [], lambda p: from_median(p, 1), "scores"),
        ("deltaquantile", [0.8, 1.0], lambda p: deltaquantile(p, 0.8, 1.0), "probability"),
        ("deltaquantile", [0.25, 0.6], lambda p: deltaquantile(p, 0.25, 0.6), "probability"),
        ("gate", [0.8], lambda p: normalised(p, each(p, lambda i, j: float(
            abs(p.gap(i, j)) <= 0.8))), "probability"),
        ("l2diff", [], f(lambda p, i, j: float(p.x(i, j) @ p.x(i, j))), "scores"),
        ("rmg", [0.2], lambda p: rmg(p, 0.2), "scores"),
        ("apl", [0.5], f(lambda p, i, j: abs(p.implicit(i, j))), "scores"),
        ("mi", [], f(lambda p, i, j: mutual(p_draws(p, i, j))), "scores"),
        ("kl", [], f(lambda p, i, j: kl_to_mixture(p_draws(p, i, j))), "scores"),
        ("ens_var_logit", [], f(lambda p, i, j: float(np.var(p.draws[:, i] - p.draws[:, j]))),
         "scores"),
        ("var_prob", [], f(lambda p, i, j: float(np.var(p_draws(p, i, j)))), "scores"),
        ("infomax", [1.5], f(lambda p, i, j: sigma(p.gap(i, j) + 1.5 * p.width(i, j)) -
                             sigma(p.gap(i, j) - 1.5 * p.width(i, j))), "scores"),
        ("deltaucb", [1.0], f(lambda p, i, j: abs(p.gap(i, j)) + p.width(i, j)), "scores"),
        ("dts", [], lambda p: duel(p, shares(p), shares(p)), "probability"),
        ("eets", [], lambda p: duel(p, shares(p), shares(p)), "probability"),
        ("drts", [], lambda p: duel(p, shares(p), shares(p, -1)), "probability"),
        ("infogain", [1.0], lambda p: thompson(p, lambda i, j: p.upper(i, j) - p.lower(i, j)),
         "probability"),
        ("baits", [], lambda p: thompson(p, lambda i, j: np.var(p_draws(p, i, j))),
         "probability"),
        ("ids_var", [], lambda p: thompson(p, lambda i, j: np.var(
            p.draws[:, i] - p.draws[:, j])), "probability"),
        ("ucb", [1.0], lambda p: (lambda i: only(p, i, lambda j: -abs(p.gap(i, j)) +
                                                 p.width(i, j)))(p.champion(p.r)), "scores"),
        ("maxminlcb", [1.0, 0.5], lambda p: maxminlcb(p, 1.0, 0.5), "scores"),
        ("maxminlcb", [0.7, 0.0], lambda p: maxminlcb(p, 0.7, 0.0), "scores"),
        ("minmaxucb", [1.0], lambda p: minmaxucb(p, 1.0), "scores"),
        ("maxmaxucb", [1.0], f(lambda p, i, j: max(p.upper(i, j), p.upper(j, i))), "scores"),
        ("maxwidth", [1.0, 0.1], lambda p: maxwidth(p, 1.0, 0.1), "scores"),
        ("multisbm", [1.0], lambda p: multisbm(p, 1.0), "scores"),
        ("sparring", [0.5], lambda p: sparring(p, 0.5), "scores"),
        ("rucb", [1.0, 0.2, 1.0], lambda p: rucb(p, 1.0, 0.2), "probability"),
        ("doubler", [1.0, 0.2, 1.0], lambda p: doubler(p, 1.0, 0.2), "probability"),
        ("ids", [0.3, 0.3, 0.5], lambda p: ids(p, 0.3, 0.3, 0.5), "probability"),
        ("uniform", [], lambda p: normalised(p, each(p, lambda i, j: 1.0)), "probability"),
        ("first2", [], lambda p: {q: -float(k) for k, q in enumerate(p.pairs)}, "scores"),
        ("most_likely", [], f(lambda p, i, j: p.reference[i] + p.reference[j] +
                              (p.r[i] + p.r[j]) / p.beta), "scores"),
        ("pi0_greedy", [], f(lambda p, i, j: p.reference[i] + p.reference[j]), "scores"),
        ("pi0_weighted", [], pi0_weighted, "probability"),
        ("best_quantile", [2.5], lambda p: best_quantile(p, 2.5), "scores"),
        ("ultrafeedback4", [], ultrafeedback4, "probability"),
        ("xpo_src", [], lambda p: by_source(p, [(1, 0, 1)]), "probability"),
        ("pilaf_src", [], lambda p: by_source(p, [(0.5, 0, 0), (0.5, 2, 3)]), "probability"),
        ("oracle_maxmin", [], f(lambda p, i, j: abs(p.truth[i] - p.truth[j])), "scores"),
        ("mass_dpo", [], lambda p: (lambda i: only(p, i, lambda j: log_det(p, i, j)))(
            int(np.argmax(p.phi @ p.psi))), "scores"),
    ]


def pool_case(name, parameters, expected, what, pool):
    values = [expected[p] if pool.ok(*p) and expected[p] > -math.inf else None
              for p in pool.pairs]
    if what == "probability":
        values = [expected[p] for p in pool.pairs]
    return {
        "rule": name, "n": pool.n, "d": pool.d, "parameters": parameters, "beta": pool.beta,
        "Phi": numbers(pool.phi), "psi": numbers(pool.psi), "Sigma": numbers(pool.sigma),
        "I": numbers(pool.policy),
        "forbidden": [pool.pairs.index(p) for p in sorted(pool.forbidden)],
        "inputs": {
            "log_reference": numbers(pool.reference), "log_policy": numbers(pool.log_policy),
            "source": numbers(pool.source), "truth": numbers(pool.truth),
            "second_reward": numbers(pool.second_reward),
            "second_width": numbers(pool.second_width), "previous": numbers(pool.previous),
        },
        "draws": numbers(pool.draws),
        "expect": {what: [None if v is None else float(v) for v in values]},
    }


def write_pools():
    cases = []
    for number, (name, parameters, rule, what) in enumerate(pool_rules()):
        rng = np.random.default_rng(1000 + number)
        for n, d, forbid in ((6, 4, ()), (7, 3, ((0, 2), (1, 4), (3, 5))), (2, 1, ())):
            pool = Pool(rng, n, d, 9, forbid)
            cases.append(pool_case(name, parameters, rule(pool), what, pool))
    write("rules.json", "rule", "One pool a case, probit weights. rtol 1e-8; ids: the probability "
          "was searched on a grid of 5e-5.", cases)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    write_pools()
    twin_lists.write_lists()
