"""Slow twin of the rules that choose from a list; see twin.py."""
import itertools
import math

import numpy as np

from twin_common import Philox, entropy, mutual, numbers, sigma, write


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
