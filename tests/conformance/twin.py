#!/usr/bin/env python3
"""Slow twin of the selection rules: writes vectors/*.json from the formulas, with NumPy alone.

Shares no code with the library and knows only its definitions. Plain loops, dense inverses, no
updates: every number is computed anew from what defines it. Run it from anywhere; it always writes
the same bytes.

A case of kind `rule` is one pool: scores or probabilities of the pairs (0,1), (0,2), ...; null for a
pair that may not be asked. A case of kind `set` is a list of candidate pairs and what is chosen.
"""
import itertools
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


# ---- one pool ----


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


def mutual(p):
    return entropy(p.mean()) - np.mean([entropy(v) for v in p])


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
    ]


def numbers(value):
    return np.asarray(value, float).tolist()


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


def write(name, kind, notes, cases):
    text = json.dumps({"kind": kind, "notes": notes, "cases": cases}, separators=(",", ":"))
    (HERE / name).write_text(text.replace('},{"rule"', '},\n{"rule"') + "\n")


# ---- a list ----


class List:
    def __init__(self, rng, count, d, draws):
        self.count, self.d = count, d
        self.x = rng.normal(size=(count, d))
        self.margin = rng.normal(size=count)
        self.weight = rng.uniform(0.05, 0.25, size=count)
        a = rng.normal(size=(d, 2 * d))
        self.sigma = a @ a.T / 3 + 0.4 * np.eye(d)
        self.s = np.linalg.inv(self.sigma)
        b = rng.normal(size=(d, 2 * d))
        self.policy = b @ b.T / d
        self.draws = self.margin + rng.normal(size=(draws, count))
        self.group = np.array([k % 4 for k in range(count)])
        self.context = rng.normal(size=(count, 3))
        self.past = rng.normal(size=(2, 3))
        self.key, self.stream = int(rng.integers(1 << 32)), int(rng.integers(1 << 32))

    def random(self):
        return Philox(self.key, self.stream)

    def dist(self, a, b):
        return float(np.linalg.norm(self.context[a] - self.context[b]))


def top(values, budget):
    return sorted(range(len(values)), key=lambda k: (-values[k], k))[:budget]


def ones(chosen):
    return {"chosen": chosen, "propensity": [1.0] * len(chosen)}


def greedy(count, budget, value):
    """Picks the best value(e, chosen) one by one."""
    chosen = []
    while len(chosen) < min(budget, count):
        left = [e for e in range(count) if e not in chosen]
        chosen.append(max(left, key=lambda e: (value(e, chosen), -e)))
    return ones(chosen)


def draw_one(weight, random):
    left = random.uniform() * sum(weight)
    last = None
    for k, w in enumerate(weight):
        if w > 0:
            last = k
            if left < w:
                break
            left -= w
    return last, weight[last] / sum(weight)


def successive(weight, budget, random):
    weight, chosen, share = list(weight), [], []
    while len(chosen) < budget and sum(weight) > 0:
        k, p = draw_one(weight, random)
        chosen.append(k)
        share.append(p)
        weight[k] = 0.0
    return {"chosen": chosen, "propensity": share}


def greedy_pairs(s, budget, score, weights=None, policy=None):
    """A rule of pairs, S formed anew before every pick."""
    w = s.weight if weights is None else weights
    policy = s.policy if policy is None else policy

    def value(e, chosen):
        inverse = np.linalg.inv(s.sigma + sum(w[k] * np.outer(s.x[k], s.x[k]) for k in chosen))
        v = inverse @ policy @ inverse
        return score(w[e], s.x[e] @ inverse @ s.x[e], s.x[e] @ v @ s.x[e], s.margin[e])
    return greedy(s.count, budget, value)


def oneshot(s, budget):
    m = np.linalg.inv(s.sigma + (s.x.T * s.weight) @ s.x)
    return ones(top([s.weight[k] * s.x[k] @ m @ s.x[k] for k in range(s.count)], budget))


def fisher_ratio(s, budget):
    x = s.x / np.linalg.norm(s.x, axis=1)[:, None]
    u = s.weight / 0.001
    chosen = []
    while len(chosen) < budget:
        value = [u[i] + sum(u[j] * (x[i] @ x[j]) ** 2 for j in range(s.count) if j != i) /
                 (1 / u[i] + (x[i] @ x[i]) ** 2) if i not in chosen else -1
                 for i in range(s.count)]
        o = int(np.argmax(value))
        chosen.append(o)
        u = np.array([1 / (1 / u[j] + s.weight[o] / s.weight[j] * (x[j] @ x[o]) ** 2)
                      for j in range(s.count)])
    return ones(chosen)


def batchbald(s, budget):
    p = 1 / (1 + np.exp(-s.draws))

    def joint(names):
        total = 0.0
        for answer in itertools.product((0, 1), repeat=len(names)):
            each_draw = np.ones(len(p))
            for k, a in zip(names, answer):
                each_draw = each_draw * (p[:, k] if a else 1 - p[:, k])
            m = each_draw.mean()
            total -= m * math.log(m)
        return total - sum(np.mean([entropy(v) for v in p[:, k]]) for k in names)
    out = greedy(s.count, budget, lambda e, chosen: joint(chosen + [e]))
    return {**out, "objective": joint(out["chosen"])}


def digamma(n):
    """At a whole number: -gamma + sum 1/k."""
    return -0.57721566490153286 + sum(1 / k for k in range(1, n))


def balpm(s, budget, b, k):
    p = 1 / (1 + np.exp(-s.draws))
    kth = [sorted(s.dist(i, j) for j in range(s.count) if j != i)[k - 1] for i in range(s.count)]

    def value(e, chosen):
        n = sum(s.dist(e, c) < kth[e] for c in chosen)
        n += sum(np.linalg.norm(s.context[e] - q) < kth[e] for q in s.past)
        return mutual(p[:, e]) + b * (math.log(kth[e]) - digamma(n + 1) / 3)
    return greedy(s.count, budget, value)


def kcenter(s, budget):
    return greedy(s.count, budget, lambda e, chosen: min(
        [s.dist(e, c) for c in chosen] + [np.linalg.norm(s.context[e] - q) for q in s.past]))


def median_distance(rows):
    return float(np.median([np.linalg.norm(a - b) for a, b in itertools.combinations(rows, 2)]))


def herding(s, budget, weight):
    h = median_distance(s.context)

    def k(a, b):
        return math.exp(-np.sum((a - b) ** 2) / h ** 2)

    def value(e, chosen):
        seen = list(s.past) + [s.context[c] for c in chosen]
        return np.mean([weight[j] * max(0, k(s.context[e], s.context[j]) -
                                        max(k(q, s.context[j]) for q in seen))
                        for j in range(s.count)])
    return greedy(s.count, budget, value)


def knn_herding(s, budget):
    h = median_distance(s.context)

    def k(a, b):
        return math.exp(-np.sum((a - b) ** 2) / h ** 2)

    def value(e, chosen):
        rows = list(s.past) + [s.context[c] for c in chosen] + [s.context[e]]
        total = 0.0
        for j in range(s.count):
            near = sorted(rows, key=lambda r: -k(r, s.context[j]))[:3]
            kk = np.array([[k(a, b) for b in near] for a in near]) + 1e-9 * np.eye(len(near))
            kj = np.array([k(a, s.context[j]) for a in near])
            total += math.sqrt(kj @ np.linalg.solve(kk, kj))
        return total / s.count
    return greedy(s.count, budget, value)


def div_reward(s, budget):
    random, chosen, share = s.random(), [], []
    while len(chosen) < budget:
        weight = []
        for e in range(s.count):
            seen = [s.dist(e, c) for c in chosen]
            seen += [float(np.linalg.norm(s.context[e] - q)) for q in s.past]
            weight.append(0.0 if e in chosen else min(seen) ** 2 * abs(s.margin[e]))
        k, p = draw_one(weight, random)
        chosen.append(k)
        share.append(p)
    return {"chosen": chosen, "propensity": share}


def clusters_of(rows, k):
    centre = [rows[int(np.argmin(np.linalg.norm(rows - rows.mean(0), axis=1)))]]
    while len(centre) < k:
        gap = [min(np.linalg.norm(r - c) for c in centre) for r in rows]
        centre.append(rows[int(np.argmax(gap))])
    member = None
    for _ in range(100):
        now = [int(np.argmin([np.linalg.norm(r - c) for c in centre])) for r in rows]
        if now == member:
            break
        member = now
        for c in range(k):
            inside = [r for r, m in zip(rows, member) if m == c]
            if inside:
                centre[c] = np.mean(inside, axis=0)
    return np.array(centre), member


def nearest_of_each(rows, k):
    centre, member = clusters_of(rows, k)
    out = []
    for c in range(k):
        inside = [i for i in range(len(rows)) if member[i] == c]
        if inside:
            out.append(min(inside, key=lambda i: (np.linalg.norm(rows[i] - centre[c]), i)))
    return out


def duo(s, budget):
    p = 1 / (1 + np.exp(-s.draws))
    half = top([mutual(p[:, k]) for k in range(s.count)], (s.count + 1) // 2)
    return ones([half[i] for i in nearest_of_each(s.draws.T[half], budget)])


def lr_coreset(s, budget, radius):
    centre, member = clusters_of(s.context, 10)
    weight = []
    for e in range(s.count):
        near = np.exp(-radius * np.linalg.norm(s.context[e] - centre, axis=1))
        sizes = [member.count(c) for c in range(10)]
        weight.append(s.count / (1 + float(near @ sizes) - near[member[e]]))
    return successive(weight, budget, s.random())


def dpp(s, budget, b, g):
    z, m = median_distance(s.x) ** 2, median_distance(s.draws.T) ** 2
    width = [math.sqrt(x @ s.s @ x) for x in s.x]
    l = np.array([[width[i] * width[j] * (
        (1 - b) * math.exp(-g * np.sum((s.x[i] - s.x[j]) ** 2) / z) +
        b * math.exp(-g * np.sum((s.draws[:, i] - s.draws[:, j]) ** 2) / m))
        for j in range(s.count)] for i in range(s.count)])
    return greedy(s.count, budget,
                  lambda e, c: np.linalg.slogdet(l[np.ix_(c + [e], c + [e])])[1])


def frank_wolfe_trace(s, iterations, ridge, beta):
    g = beta * s.x
    w = np.full(s.count, 1 / s.count)
    for t in range(1, iterations + 1):
        a = np.linalg.inv(ridge * np.eye(s.d) + (g.T * w) @ g)
        k = int(np.argmax([v @ a @ s.policy @ a @ v for v in g]))
        step = 2 / (t + 2)
        w = (1 - step) * w
        w[k] += step
    a = np.linalg.inv(ridge * np.eye(s.d) + (g.T * w) @ g)
    return w, float(np.trace(s.policy @ a))


def trace_fw(s, budget, iterations):
    w, f = frank_wolfe_trace(s, iterations, 1e-3, 0.1)
    return {**successive(w, budget, s.random()), "design": numbers(w), "objective": f}


def trace_fw_within(s, budget, iterations):
    w, f = frank_wolfe_trace(s, iterations, 1e-3, 0.1)
    random, left, chosen, share = s.random(), list(w), [], []
    while len(chosen) < budget:
        mass = [sum(left[k] for k in range(s.count) if s.group[k] == a) for a in range(4)]
        able = [a for a in range(4) if mass[a] > 0]
        group = able[random.below(len(able))]
        inside = [left[k] if s.group[k] == group else 0.0 for k in range(s.count)]
        k, p = draw_one(inside, random)
        chosen.append(k)
        share.append(p / len(able))
        left[k] = 0.0
    return {"chosen": chosen, "propensity": share, "design": numbers(w), "objective": f}


def trace_design(s, budget):
    """The optimum by a projected method of its own: multiplicative steps with clipping at the cap."""
    cap = 1 / budget
    p = np.full(s.count, 1 / s.count)

    def at(q):
        m = np.linalg.inv(s.sigma + budget * (s.x.T * (q * s.weight)) @ s.x)
        return float(np.trace(s.policy @ m)), np.array(
            [budget * s.weight[k] * s.x[k] @ m @ s.policy @ m @ s.x[k] for k in range(s.count)])

    for t in range(200000):
        f, d = at(p)
        i = max((k for k in range(s.count) if p[k] < cap - 1e-15), key=lambda k: d[k])
        j = min((k for k in range(s.count) if p[k] > 1e-15), key=lambda k: d[k])
        if d[i] - d[j] < 1e-9 * f:
            break
        e = np.zeros(s.count)
        e[i], e[j] = 1, -1
        low, high = 0.0, min(cap - p[i], p[j])
        for _ in range(60):
            mid = (low + high) / 2
            slope = at(p + mid * e)[1] @ e
            low, high = (mid, high) if slope > 0 else (low, mid)
        p = np.clip(p + high * e, 0, cap)
    return {"objective": f}


def dopt_design(v, iterations, ridge):
    """Frank-Wolfe with exact line search by golden section; v: matrices of the atoms."""
    p = np.full(len(v), 1 / len(v))
    eye = ridge * np.eye(len(v[0]))
    for _ in range(iterations):
        a = np.linalg.inv(eye + np.einsum("a,aij->ij", p, v))
        score = np.array([np.trace(a @ m) for m in v])
        if score.max() - p @ score < 1e-9:
            break
        k = int(np.argmax(score))
        e = np.zeros(len(v))
        e[k] = 1
        low, high = 0.0, 1.0
        for _ in range(60):
            mid = (low + high) / 2
            q = (1 - mid) * p + mid * e
            b = np.linalg.inv(eye + np.einsum("a,aij->ij", q, v))
            slope = np.trace(b @ v[k]) - sum(p[m] * np.trace(b @ v[m]) for m in range(len(v)))
            low, high = (mid, high) if slope > 0 else (low, mid)
        p = (1 - low) * p + low * e
    return p


def dopt_fw(s, budget, iterations):
    p = dopt_design([np.outer(x, x) for x in s.x], iterations, 1e-3)
    return {**successive(p, budget, s.random()), "design": numbers(p), "loose": True}


def gopt_round(s, budget, iterations):
    p = dopt_design([np.outer(x, x) for x in s.x], iterations, 1e-3)
    chosen = [k for k in range(s.count) for _ in range(int(math.floor(budget * p[k] + 0.5)))]
    return {**ones(chosen[:budget]), "design": numbers(p), "loose": True}


def list_fw(s, budget, iterations):
    v = [sum(np.outer(s.x[k], s.x[k]) for k in range(s.count) if s.group[k] == a)
         for a in range(4)]
    p = dopt_design(v, iterations, 1e-3)
    random, left, chosen, share = s.random(), list(p), [], []
    while sum(left) > 0:
        a, q = draw_one(left, random)
        inside = [k for k in range(s.count) if s.group[k] == a]
        if len(chosen) + len(inside) > budget:
            break
        chosen += inside
        share += [q] * len(inside)
        left[a] = 0.0
    return {"chosen": chosen, "propensity": share, "design": numbers([p[a] for a in s.group]),
            "loose": True}


def list_rules():
    def trace(w, q, r, m):
        return w * r / (1 + w * q)
    flat = lambda s: np.ones(s.count)
    return [
        ("policy_trace", [], 5, lambda s, b: greedy_pairs(s, b, trace)),
        ("aopt", [], 5, lambda s, b: greedy_pairs(s, b, trace, policy=np.eye(s.d))),
        ("dopt", [], 5, lambda s, b: greedy_pairs(s, b, lambda w, q, r, m: math.log(1 + w * q))),
        ("dopt_xx", [], 5, lambda s, b: greedy_pairs(s, b, lambda w, q, r, m: q, flat(s))),
        ("dopt_oneshot", [], 4, oneshot),
        ("dopt_topn", [], 4, lambda s, b: ones(top([x @ s.s @ x for x in s.x], b))),
        ("fisher_ratio", [], 4, fisher_ratio),
        ("batchbald", [], 4, batchbald),
        ("balpm", [0.4, 3], 5, lambda s, b: balpm(s, b, 0.4, 3)),
        ("kcenter", [], 5, kcenter),
        ("max_herding", [], 5, lambda s, b: herding(s, b, np.ones(s.count))),
        ("uherding", [], 5, lambda s, b: herding(s, b, [entropy(sigma(m)) for m in s.margin])),
        ("knn_herding", [], 4, knn_herding),
        ("div_reward", [], 5, div_reward),
        ("kmeans", [], 4, lambda s, b: ones(nearest_of_each(s.context, b))),
        ("duo", [], 3, duo),
        ("lr_coreset", [0.8], 5, lambda s, b: lr_coreset(s, b, 0.8)),
        ("dpp", [0.3, 1.2], 4, lambda s, b: dpp(s, b, 0.3, 1.2)),
        ("trace_fw", [1e-3, 0.1, 50, 0], 5, lambda s, b: trace_fw(s, b, 50)),
        ("trace_fw", [1e-3, 0.1, 50, 1], 5, lambda s, b: trace_fw_within(s, b, 50)),
        ("trace_design", [1e-8, 20000], 4, trace_design),
        ("dopt_fw", [1e-3, 30, 0], 4, lambda s, b: dopt_fw(s, b, 30)),
        ("list_fw", [1e-3, 30, 0], 12, lambda s, b: list_fw(s, b, 30)),
        ("gopt_round", [1e-3, 30, 0], 10, lambda s, b: gopt_round(s, b, 30)),
    ]


def write_lists():
    cases = []
    for number, (name, parameters, budget, rule) in enumerate(list_rules()):
        rng = np.random.default_rng(2000 + number)
        for count, d in ((18, 4), (20, 3)):
            s = List(rng, count, d, 8)
            cases.append({
                "rule": name, "count": count, "d": d, "parameters": parameters, "budget": budget,
                "x": numbers(s.x), "weight": numbers(s.weight), "margin": numbers(s.margin),
                "group": s.group.tolist(), "draws": numbers(s.draws), "Sigma": numbers(s.sigma),
                "I": numbers(s.policy), "context": numbers(s.context), "past": numbers(s.past),
                "key": s.key, "stream": s.stream, "expect": rule(s, budget),
            })
    write("lists.json", "set", "What is chosen of a list, in order, and with what propensity. "
          "rtol 1e-8; where `loose`, 1e-6 (two line searches).", cases)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    write_pools()
    write_lists()
