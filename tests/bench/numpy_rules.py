"""Twelve rules of selection in NumPy, for all seeds at once; see numpy_worlds.

Notation: S = Sigma^-1, M = S I S, x = phi_i - phi_j, q = x' S x, r = x' M x, D = psi' x, s = sqrt(q), w =
kappa sigma'(kappa D) with kappa = (1 + pi q / 8)^-1/2, frozen within a round. A pick of w, u = S x and
v = M x, with c = w / (1 + w q), changes

  S -= c u u',  M -= c (u v' + v u' - c r u u'),  and of every pair  q -= c g^2,  r -= c g (2 h - c r g),

g and h its x' u and x' v. With a = sqrt(c) u and b = sqrt(c) (2 v - c r u) that is q -= g g and r -= g h
for g = x' a and h = x' b.

Pools are global: a rule of scores takes the best pair of them all, and then the next. Arrays of pairs
are seeds x (pools PAIRS), those of completions seeds x (pools POOL).
"""

import numpy as np

POOL, BATCH, DRAWS = 16, 50, 16
LEFT, RIGHT = np.triu_indices(POOL, 1)  # the pairs of a pool
PAIRS = len(LEFT)
PLACE = np.zeros((POOL, POOL), int)
PLACE[LEFT, RIGHT] = PLACE[RIGHT, LEFT] = np.arange(PAIRS)


def signs(left, right):
    """POOL values times this are their differences."""
    found = np.zeros((POOL, len(left)))
    np.add.at(found, (left, np.arange(len(left))), 1)
    np.add.at(found, (right, np.arange(len(left))), -1)
    return found


SIGNS = signs(LEFT, RIGHT)
ALL_SIGNS = signs(*np.divmod(np.arange(POOL * POOL), POOL)).T


def apply(matrices, vectors):
    """One matrix times one vector for each seed."""
    return (matrices @ vectors[:, :, None])[:, :, 0]


def outer(a, b):
    return a[:, :, None] * b[:, None, :]


class Pools:
    """The pools of a round, what an arm knows of them, and its picks."""

    def __init__(self, phi, log_reference, draws, psi, s, policy, beta):
        self.phi, self.log_reference, self.draws = phi, log_reference, draws
        self.psi, self.s, self.policy, self.beta = psi, s.copy(), policy, beta
        self.seeds, self.count = len(phi), phi.shape[1] // POOL
        self.each = np.arange(self.seeds)
        self.reward = apply(phi, psi)
        self.left, self.right = [], []

    def differences(self, values):
        return (values.reshape(-1, POOL) @ SIGNS).reshape(self.seeds, -1)

    def quadratic(self, rows, other):
        """x' A x of all pairs, where the pools' phi A phi' is rows other'."""
        shape = self.seeds, self.count, POOL, -1
        gram = rows.reshape(shape) @ other.reshape(shape).swapaxes(2, 3)
        own = np.einsum("spnn->spn", gram)
        found = own[:, :, LEFT] + own[:, :, RIGHT] - 2 * gram[:, :, LEFT, RIGHT]
        return np.maximum(found, 0).reshape(self.seeds, -1)

    def note(self, pair):
        """Keeps a pick of each seed, a place among all pairs; returns its x."""
        pool, place = np.divmod(pair, PAIRS)
        self.left.append(pool * POOL + LEFT[place])
        self.right.append(pool * POOL + RIGHT[place])
        return self.phi[self.each, self.left[-1]] - self.phi[self.each, self.right[-1]]

    def asked(self):
        """x of the picks: seeds x picks x d."""
        each = self.each[:, None]
        return (self.phi[each, np.stack(self.left, axis=1)] -
                self.phi[each, np.stack(self.right, axis=1)])


def weights(margin, q):
    kappa = 1 / np.sqrt(1 + np.pi / 8 * q)
    decay = np.exp(-np.abs(kappa * margin))
    return kappa * decay / (1 + decay) ** 2


# ---- rules that look at nothing that follows the picks ----


def uniform(pools):
    for pool in range(BATCH):
        pools.note(pool * PAIRS + (pools.draws[:, pool, 0] * PAIRS).astype(int))


def first2(pools):
    for pool in range(BATCH):
        pools.note(np.full(pools.seeds, pool * PAIRS))


def take_highest(pools, scores):
    best = np.argpartition(scores, -BATCH, axis=1)[:, -BATCH:]
    for pair in best.T:
        pools.note(pair)


def most_likely(pools):
    """Of log pi_ref + psi' phi / beta, psi' phi relative to the pool's mean: a prompt's offset makes no
    completion likely."""
    reward = pools.reward.reshape(-1, POOL)
    value = (pools.log_reference.reshape(-1, POOL) +
             (reward - reward.mean(axis=1, keepdims=True)) / pools.beta)
    take_highest(pools, (value @ np.abs(SIGNS)).reshape(pools.seeds, -1))


def best_vs_worst(pools):
    take_highest(pools, np.abs(pools.differences(pools.reward)))


# ---- rules of scores ----


class Greedy:
    """One run of a rule over the pools of a round."""

    policy = False  # whether it looks at r

    def __init__(self, pools):
        self.pools = pools
        self.image = pools.phi @ pools.s
        self.margin = pools.differences(pools.reward)
        self.q = pools.quadratic(self.image, pools.phi)
        self.weight = weights(self.margin, self.q)
        self.g, self.h, self.room = (np.empty_like(self.q) for _ in range(3))
        self.begin()
        for _ in range(BATCH):
            pair = self.best()
            self.take(pair)
            self.drop(pair)

    def begin(self):
        """Makes `kept`, which drop() marks."""
        raise NotImplementedError

    def scores(self):
        raise NotImplementedError

    def best(self):
        return self.scores().argmax(axis=1)

    def drop(self, pair):
        self.kept[self.pools.each, pair] = self.never

    def widths(self):
        """s, into room."""
        np.maximum(self.q, 0, out=self.room)
        return np.sqrt(self.room, out=self.room)

    def along(self, direction, out):
        """x' direction of all pairs."""
        values = apply(self.pools.phi, direction)
        np.matmul(values.reshape(-1, POOL), SIGNS, out=out.reshape(-1, PAIRS))

    def follow(self, a, b):
        self.along(a, self.g)
        self.q -= np.multiply(self.g, self.g, out=self.room)
        if b is not None:
            self.along(b, self.h)
            self.r -= np.multiply(self.g, self.h, out=self.room)

    def take(self, pair):
        pools = self.pools
        x, weight = pools.note(pair), self.weight[pools.each, pair]
        u, b = apply(pools.s, x), None
        c = weight / (1 + weight * (x * u).sum(axis=1))
        a = np.sqrt(c)[:, None] * u
        pools.s -= outer(a, a)
        if self.policy:
            v = apply(self.m, x)
            b = np.sqrt(c)[:, None] * (2 * v - (c * (x * v).sum(axis=1))[:, None] * u)
            cross = outer(a, b) / 2
            self.m -= cross + cross.swapaxes(1, 2)
        self.follow(a, b)


class PolicyTrace(Greedy):
    """w r / (1 + w q) = r / (1 / w + q)."""

    policy, never = True, np.inf

    def begin(self):
        inner = self.inner()
        rows = self.image if inner is None else self.image @ inner
        self.r = self.pools.quadratic(rows, self.image)
        s = self.pools.s
        self.m = s @ s if inner is None else s @ inner @ s
        self.kept = 1 / self.weight

    def inner(self):
        return self.pools.policy

    def scores(self):
        np.add(self.kept, self.q, out=self.room)
        return np.divide(self.r, self.room, out=self.room)


class AOpt(PolicyTrace):
    def inner(self):
        return None  # I = Id


class DOpt(Greedy):
    """w q, in the order of log(1 + w q)."""

    never = 0

    def begin(self):
        self.kept = self.weight.copy()

    def scores(self):
        return np.multiply(self.kept, self.q, out=self.room)


class InfoMax(Greedy):
    """sigma(D + s) - sigma(D - s) = sinh s / (cosh D + cosh s)."""

    never = np.inf

    def begin(self):
        self.kept = 2 * np.cosh(self.margin)

    def scores(self):
        up = np.exp(self.widths(), out=self.room)
        down = np.reciprocal(up, out=self.h)
        under = np.add(up, down, out=self.g)
        under += self.kept
        np.subtract(up, down, out=self.room)
        return np.divide(self.room, under, out=self.room)


class DeltaUCB(Greedy):
    """|D| + s."""

    never = -np.inf

    def begin(self):
        self.kept = np.abs(self.margin)

    def scores(self):
        return np.add(self.kept, self.widths(), out=self.room)


class MaxMinLCB(Greedy):
    """i of the highest least L_ij = D_ij - s_ij, and that j; of the pools the one where it is lowest.

    sigma is monotone, and with a buffer of 1/2 every completion is a candidate. Arrays are POOL x POOL
    x (seeds pools), [j, i], so that the least over j is one of whole arrays."""

    def begin(self):
        self.q, self.margin = self.widen(self.q, self.q), self.widen(self.margin, -self.margin)
        self.margin[np.arange(POOL), np.arange(POOL)] = np.inf  # nobody plays against himself
        self.g, self.room = np.empty_like(self.q), np.empty_like(self.q)

    def widen(self, forth, back):
        found = np.zeros((POOL, POOL, self.pools.seeds * self.pools.count))
        found[RIGHT, LEFT], found[LEFT, RIGHT] = forth.reshape(-1, PAIRS).T, back.reshape(-1, PAIRS).T
        return found

    def along(self, direction, out):
        values = apply(self.pools.phi, direction)
        np.matmul(ALL_SIGNS, values.reshape(-1, POOL).T, out=out.reshape(POOL * POOL, -1))

    def best(self):
        count, each = self.pools.count, self.pools.each
        lower = np.subtract(self.margin, self.widths(), out=self.room)
        least = lower.min(axis=0)
        least[np.isinf(least)] = -np.inf  # whose pairs have all been asked
        pool = least.max(axis=0).reshape(-1, count).argmin(axis=1)
        column = each * count + pool
        i = least[:, column].argmax(axis=0)
        j = lower[:, i, column].argmin(axis=0)
        return pool * PAIRS + PLACE[i, j]

    def drop(self, pair):
        pool, place = np.divmod(pair, PAIRS)
        column = self.pools.each * self.pools.count + pool
        self.margin[RIGHT[place], LEFT[place], column] = np.inf
        self.margin[LEFT[place], RIGHT[place], column] = np.inf


# ---- a rule that draws ----


def dts(pools):
    """A uniform pool; of DRAWS draws of the posterior a_i is the share in which i is best; i from a, j
    from a until it differs, among the pairs that were not asked. Draws follow the picks."""
    before, each = pools.s.copy(), pools.each
    noise = np.random.default_rng(int(pools.draws[0, 0, 2] * 2 ** 32)).standard_normal(
        (pools.seeds, DRAWS, pools.s.shape[1]))
    away = noise @ np.linalg.cholesky(pools.s).swapaxes(1, 2)
    open_ = np.ones((pools.seeds, pools.count, PAIRS), bool)
    flat = pools.phi.reshape(pools.seeds, pools.count, POOL, -1)
    for coin in pools.draws.swapaxes(0, 1):
        pool = (coin[:, 0] * pools.count).astype(int)
        rewards = flat[each, pool] @ (pools.psi[:, None] + away).swapaxes(1, 2)
        chances = duel(rewards.argmax(axis=1)) * open_[each, pool]
        none = chances.sum(axis=1) == 0
        chances[none] = open_[each, pool][none]
        total = chances.cumsum(axis=1)
        place = (total > (coin[:, 1] * total[:, -1])[:, None]).argmax(axis=1)
        open_[each, pool, place] = False
        x = pools.note(pool * PAIRS + place)
        weight = weights((x * pools.psi).sum(axis=1), (x * apply(before, x)).sum(axis=1))
        u = apply(pools.s, x)
        q = (x * u).sum(axis=1)
        c = weight / (1 + weight * q)
        pools.s -= c[:, None, None] * outer(u, u)
        shrink = (1 - np.sqrt(1 - c * q)) / q
        away -= shrink[:, None, None] * outer(apply(away, x), u)


def duel(best):
    """Chances of the pairs, from the best of each draw: seeds x PAIRS."""
    a = (best[:, :, None] == np.arange(POOL)).mean(axis=1)
    left = 1 - a
    sole = left < 1e-12
    challenger = np.where(sole[:, :, None], 1 / (POOL - 1),
                          a[:, None, :] / np.where(sole, 1, left)[:, :, None])
    both = a[:, :, None] * challenger
    return both[:, LEFT, RIGHT] + both[:, RIGHT, LEFT]


RULES = {"uniform": uniform, "policy_trace": PolicyTrace, "dopt": DOpt, "aopt": AOpt,
         "infomax": InfoMax, "dts": dts, "maxminlcb": MaxMinLCB, "deltaucb": DeltaUCB,
         "dopt_logit": DOpt, "first2": first2, "most_likely": most_likely,
         "best_vs_worst": best_vs_worst}
