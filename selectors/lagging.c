/* The global argmax over pools that lag behind.
 *
 * A pool's best pair x of when it was last looked at is kept, and its q and r follow every pick
 * exactly, in O(d): with g = x' u, h = x' v
 *   q -= c g^2,  r += c^2 r_pick g^2 - 2 c g h.
 * Its score is what the pool offers at least. Another pair of the pool may be better by now, the
 * more likely the longer ago that was; so the pool stands at
 *   score + a |score|,  a = ALLOWANCE log(1 + picks since then).
 * While the first of the standings lags it is computed anew as a whole, O(n d^2), but only so many
 * times a pick; then the pool of the highest score, without allowance, is.
 *
 * A heuristic: the gain is not submodular, and even if it were the allowance is no bound.
 * tests/README.md has what it loses against exact greedy picks. A rule without `score` gives no way
 * to follow: its scores stay as they were.
 *
 * Invariant: a pool with seen = picks has G, H, scores and best pair of the present S, and stands
 * at just its score. */
#include "selectors/lagging.h"

#include "selectors/linear.h"
#include "selectors/project.h"
#include "selectors/rules/rules.h"
#include "selectors/view.h"

static const double ALLOWANCE = 0.25;

/* 16 pools at n = 16, d = 64, and more where they cost less. */
static size_t looks_most(size_t n, size_t d)
{
    const size_t least = 16;
    const size_t most = 128;
    size_t looks = least * (16 * 64 * (16 + 64)) / (n * d * (n + d));
    return looks < least ? least : looks > most ? most : looks;
}

void lagging_init(struct lagging *lagging, size_t n, size_t d)
{
    lagging->looks_most = looks_most(n, d);
    for (size_t age = 0; age < LAGGING_AGES; age++)
        lagging->allowance[age] = ALLOWANCE * log1p((double)age);
}

void lagging_clear(struct lagging *lagging)
{
    lagging->looks = 0;
    standings_reset(&lagging->standings);
}

void lagging_enter(struct lagging *lagging, const struct candidates *candidates,
                   const struct candidates_round *round)
{
    const struct sel_choice *best = &candidates->best;
    size_t d = round->options->d;
    size_t at = best->pool;
    lagging->seen[at] = lagging->picks;
    standings_set(&lagging->standings, at, candidates->found ? best->score : -INFINITY);
    if (lagging->score == NULL)
        return;
    const struct sel_pair pair = candidates->found ? best->pair : (struct sel_pair){0};
    lagging->weight[at] = pair.weight;
    lagging->variance[at] = pair.variance;
    lagging->policy[at] = pair.policy;
    lagging->margin[at] = pair.margin;
    lagging->score[at] = candidates->found ? best->score : 0;
    size_t i = candidates->found ? best->i : 0;
    size_t j = candidates->found ? best->j : 0;
    lagging->price[0][at] = view_cost(candidates, i, j);
    lagging->price[1][at] = 1 / lagging->price[0][at];
    for (size_t k = 0; lagging->x != NULL && k < d; k++)
        lagging->x[at * d + k] = candidates->phi[i * d + k] - candidates->phi[j * d + k];
}

void lagging_catch_up(struct lagging *lagging, struct candidates *candidates,
                      const struct candidates_round *round, const double *inverse)
{
    if (lagging->seen[candidates->best.pool] == lagging->picks)
        return;
    candidates_renew(candidates, round, inverse);
    candidates_scan(candidates, round);
    lagging_enter(lagging, candidates, round);
}

/* ---- after a pick ---- */

WIDE_BODY void move(double *restrict variance, double *restrict policy, const double *restrict g,
                    const double *restrict h, size_t count, double c, double r)
{
    double square = c * c * r;
    for (size_t k = 0; k < count; k++) {
        double q = variance[k] - c * (g[k] * g[k]);
        double p = policy[k] + square * (g[k] * g[k]) - 2 * c * (g[k] * h[k]);
        variance[k] = q > 0 ? q : 0;
        policy[k] = p > 0 ? p : 0;
    }
}

/* rule_policy_trace_score of many, with its digits. */
WIDE_BODY void score_traces(double *restrict score, const double *restrict weight,
                            const double *restrict variance, const double *restrict policy,
                            size_t count)
{
    for (size_t k = 0; k < count; k++)
        score[k] = weight[k] * policy[k] / (1 + weight[k] * variance[k]);
}

WIDE_BODY void follow(struct lagging *lagging, size_t count, size_t d,
                      const struct candidates_pick *pick)
{
    for (size_t k = 0; k < count; k++)
        project(lagging->x + k * d, pick, d, lagging->g + k, lagging->h + k);
    move(lagging->variance, lagging->policy, lagging->g, lagging->h, count, pick->c, pick->r);
    score_traces(lagging->score, lagging->weight, lagging->variance, lagging->policy, count);
}

WIDE_TARGET static void follow_wide(struct lagging *lagging, size_t count, size_t d,
                                    const struct candidates_pick *pick)
{
    follow(lagging, count, d, pick);
}

/* Under any rule but the default one. */
static void score_by_calls(struct lagging *lagging, size_t count,
                           const struct candidates_round *round)
{
    for (size_t k = 0; k < count; k++) {
        struct sel_pair pair = {.weight = lagging->weight[k],
                                .variance = lagging->variance[k],
                                .policy = lagging->policy[k],
                                .margin = lagging->margin[k],
                                .parameters = round->parameters};
        if (lagging->standings.key[k] > -INFINITY)
            lagging->score[k] = round->options->rule->score(&pair);
    }
}

void lagging_fall_behind(struct lagging *lagging, size_t count,
                         const struct candidates_round *round, const struct candidates_pick *pick)
{
    lagging->picks++;
    lagging->looks = 0;
    if (lagging->x != NULL) {
        if (wide_is_possible())
            follow_wide(lagging, count, round->options->d, pick);
        else
            follow(lagging, count, round->options->d, pick);
        if (round->options->rule->score != rule_policy_trace.score)
            score_by_calls(lagging, count, round);
    }
    double *key = lagging->standings.key;
    for (size_t k = 0; k < count; k++) {
        size_t age = lagging->picks - lagging->seen[k];
        double allowance = lagging->allowance[age < LAGGING_AGES ? age : LAGGING_AGES - 1];
        if (lagging->x != NULL)
            lagging->score[k] *= lagging->price[lagging->score[k] >= 0][k];
        if (key[k] > -INFINITY)
            key[k] = lagging->score[k] + allowance * fabs(lagging->score[k]);
    }
    standings_settle(&lagging->standings);
}

/* ---- the best ---- */

/* The pool with the highest score that is known to be had. */
static size_t best_known(const struct lagging *lagging, size_t count)
{
    size_t best = count;
    for (size_t k = 0; k < count; k++) {
        bool known = lagging->x != NULL || lagging->seen[k] == lagging->picks;
        if (known && lagging->standings.key[k] > -INFINITY &&
            (best == count || lagging->score[k] > lagging->score[best]))
            best = k;
    }
    return best;
}

struct candidates *lagging_best(struct lagging *lagging, struct candidates *pools, size_t count,
                                const struct candidates_round *round, const double *inverse)
{
    for (;;) {
        size_t at = standings_first(&lagging->standings);
        if (lagging->standings.key[at] == -INFINITY)
            return NULL;
        if (lagging->seen[at] == lagging->picks)
            return pools + at;
        if (lagging->looks >= lagging->looks_most && best_known(lagging, count) < count)
            at = best_known(lagging, count);
        if (lagging->seen[at] == lagging->picks)
            return pools + at;
        lagging->looks++;
        lagging_catch_up(lagging, pools + at, round, inverse);
    }
}
