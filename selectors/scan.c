/* The pairs of a pool, a block at a time.
 *
 *   q = G_ii + G_jj - 2 G_ij, r likewise from H, m = reward_i - reward_j
 * are laid out in pair order for the rows of one block, so that weights and scores are loops
 * without branches over arrays; the best pair of a block is its maximum, looked up only when it is
 * the best so far.
 *
 * Invariants: the first of equal scores wins; q and r have the digits of gram.c. Cost: O(n^2). */
#include "selectors/linear.h"
#include "selectors/rules/rules.h"
#include "selectors/view.h"
#include "selectors/weights.h"
#include "selectors/wide.h"

#include <string.h>

/* ---- blocks ---- */

/* out_j = max(0, own + diagonal_j - 2 a_j). */
WIDE_BODY void quadratics(double *restrict out, double own, const double *restrict diagonal,
                          const double *restrict a, size_t count)
{
    for (size_t j = 0; j < count; j++) {
        double value = own + diagonal[j] - 2 * a[j];
        out[j] = value > 0 ? value : 0;
    }
}

WIDE_BODY void differences(double *restrict out, double own, const double *restrict other,
                           size_t count)
{
    for (size_t j = 0; j < count; j++)
        out[j] = own - other[j];
}

static void take_diagonal(const double *a, size_t n, double *diagonal)
{
    for (size_t i = 0; i < n; i++)
        diagonal[i] = a[i * n + i];
}

/* Rows from `row` on, as many as make a block; returns the row after them. */
struct block {
    size_t row; /* first row */
    size_t end; /* the row after the last */
    size_t count;
};

WIDE_BODY struct block block_at(size_t row, size_t n)
{
    struct block block = {row, row, 0};
    while (block.end + 1 < n && block.count < CANDIDATES_BLOCK)
        block.count += n - 1 - block.end++;
    return block;
}

/* The row of a block's k-th pair, and through *k its place behind the diagonal. */
static size_t row_of(const struct block *block, size_t n, size_t *k)
{
    size_t i = block->row;
    for (; *k >= n - 1 - i; i++)
        *k -= n - 1 - i;
    return i;
}

/* ---- the default rule ---- */

/* Scores of a block; -INFINITY where a pair is not allowed. Returns the highest. */
WIDE_BODY double score_block(double *restrict score, const double *restrict weight,
                             const double *restrict variance, const double *restrict policy,
                             const uint8_t *restrict allowed, size_t count)
{
    enum { LANES = 8 };
    double top[LANES];
    for (size_t l = 0; l < LANES; l++)
        top[l] = -INFINITY;
    for (size_t k = 0; k < count; k++) {
        double value = weight[k] * policy[k] / (1 + weight[k] * variance[k]);
        score[k] = allowed[k] ? value : -INFINITY;
    }
    size_t k = 0;
    for (; k + LANES <= count; k += LANES)
        for (size_t l = 0; l < LANES; l++)
            top[l] = score[k + l] > top[l] ? score[k + l] : top[l];
    for (; k < count; k++)
        top[0] = score[k] > top[0] ? score[k] : top[0];
    for (size_t l = 1; l < LANES; l++)
        top[0] = top[l] > top[0] ? top[l] : top[0];
    return top[0];
}

/* q and r of a block's pairs, into the round. */
WIDE_BODY void measure_block(const struct candidates *candidates,
                             const struct candidates_round *round, const struct block *block)
{
    size_t n = candidates->gram.n;
    size_t k = 0;
    for (size_t i = block->row; i < block->end; k += n - 1 - i++) {
        size_t first = i * n + i + 1;
        quadratics(round->variance + k, round->g_diagonal[i], round->g_diagonal + i + 1,
                   candidates->gram.g + first, n - 1 - i);
        quadratics(round->policy + k, round->h_diagonal[i], round->h_diagonal + i + 1,
                   candidates->gram.h + first, n - 1 - i);
    }
}

WIDE_BODY void scan(struct candidates *candidates, const struct candidates_round *round)
{
    size_t n = candidates->gram.n;
    struct sel_choice best = {.pool = candidates->best.pool, .score = -INFINITY};
    size_t from = 0;
    take_diagonal(candidates->gram.g, n, round->g_diagonal);
    take_diagonal(candidates->gram.h, n, round->h_diagonal);
    for (struct block block = block_at(0, n); block.count > 0; block = block_at(block.end, n)) {
        measure_block(candidates, round, &block);
        double top = score_block(round->block_scores, candidates->weight + from, round->variance,
                                 round->policy, candidates->allowed + from, block.count);
        if (top > best.score) {
            size_t k = 0;
            while (round->block_scores[k] != top)
                k++;
            best.i = row_of(&block, n, &k);
            best.j = best.i + 1 + k;
            best.score = top;
        }
        from += block.count;
    }
    if (best.score > -INFINITY)
        best.pair = candidates_pair(candidates, round, best.i, best.j);
    candidates->best = best;
}

WIDE_TARGET static void scan_wide(struct candidates *candidates,
                                  const struct candidates_round *round)
{
    scan(candidates, round);
}

/* ---- any rule with a score of its own ---- */

WIDE_BODY void fill_pairs(const struct candidates *candidates, const struct candidates_round *round)
{
    size_t n = candidates->gram.n;
    size_t index = 0;
    take_diagonal(candidates->gram.g, n, round->g_diagonal);
    take_diagonal(candidates->gram.h, n, round->h_diagonal);
    for (struct block block = block_at(0, n); block.count > 0; block = block_at(block.end, n)) {
        measure_block(candidates, round, &block);
        size_t k = 0;
        for (size_t i = block.row; i < block.end; i++)
            for (size_t j = i + 1; j < n; j++, k++, index++)
                round->pairs[index] = (struct sel_pair){
                    .weight = candidates->weight[index],
                    .variance = round->variance[k],
                    .policy = round->policy[k],
                    .margin = candidates->reward[i] - candidates->reward[j],
                    .parameters = round->parameters,
                };
    }
}

WIDE_TARGET static void fill_pairs_wide(const struct candidates *candidates,
                                        const struct candidates_round *round)
{
    fill_pairs(candidates, round);
}

void candidates_fill(const struct candidates *candidates, const struct candidates_round *round)
{
    if (wide_is_possible())
        fill_pairs_wide(candidates, round);
    else
        fill_pairs(candidates, round);
}

static void scan_by_calls(struct candidates *candidates, const struct candidates_round *round)
{
    const struct sel_rule *rule = round->options->rule;
    size_t n = candidates->gram.n;
    struct sel_choice best = {.pool = candidates->best.pool, .score = -INFINITY};
    candidates_fill(candidates, round);
    size_t index = 0;
    for (size_t i = 0; i + 1 < n; i++)
        for (size_t j = i + 1; j < n; j++, index++) {
            if (!candidates->allowed[index])
                continue;
            const struct sel_pair *pair = round->pairs + index;
            double score = rule->score(pair);
            if (score > best.score)
                best = (struct sel_choice){best.pool, i, j, score, *pair};
        }
    candidates->best = best;
}

/* The first pair that may be asked: all are alike. */
static void scan_alike(struct candidates *candidates, const struct candidates_round *round)
{
    size_t n = candidates->gram.n;
    size_t index = 0;
    candidates->found = candidates->open_pairs > 0;
    if (!candidates->found)
        return;
    while (!candidates->allowed[index])
        index++;
    struct candidates_place place = candidates_place(n, index);
    struct sel_pair pair = candidates_pair(candidates, round, place.i, place.j);
    candidates->best = (struct sel_choice){candidates->best.pool, place.i, place.j,
                                           round->options->rule->score(&pair), pair};
}

void candidates_scan(struct candidates *candidates, const struct candidates_round *round)
{
    const struct sel_rule *rule = round->options->rule;
    if (rule->randomised && rule->score != NULL) {
        scan_alike(candidates, round);
        return;
    }
    if (rule->score == NULL || (candidates->given & SEL_NEEDS(SEL_COST)) != 0) {
        view_scan(candidates, round);
        return;
    }
    if (rule->score != rule_policy_trace.score)
        scan_by_calls(candidates, round);
    else if (wide_is_possible())
        scan_wide(candidates, round);
    else
        scan(candidates, round);
    candidates->found = candidates->best.score > -INFINITY;
}

/* ---- weights ---- */

WIDE_BODY size_t allow(uint8_t *restrict allowed, const double *restrict variance, double own,
                       const double *restrict diagonal, size_t count)
{
    const double negligible = 1e-12;
    size_t sum = 0;
    for (size_t j = 0; j < count; j++) {
        /* q of bytewise equal rows is exactly 0, see settle. */
        allowed[j] = (uint8_t) !(variance[j] <= negligible * (own + diagonal[j]));
        sum += allowed[j];
    }
    return sum;
}

WIDE_BODY void weigh(struct candidates *candidates, const struct candidates_round *round)
{
    size_t n = candidates->gram.n;
    const struct sel_picker_options *options = round->options;
    bool probit = options->weighting == SEL_WEIGHT_PROBIT;
    double least = options->weight_min;
    bool weighted = (options->rule->traits & SEL_UNWEIGHTED) == 0;
    size_t from = 0;
    candidates->open_pairs = 0;
    take_diagonal(candidates->gram.g, n, round->g_diagonal);
    for (struct block block = block_at(0, n); block.count > 0; block = block_at(block.end, n)) {
        size_t k = 0;
        for (size_t i = block.row; i < block.end; k += n - 1 - i++) {
            size_t count = n - 1 - i;
            double own = round->g_diagonal[i];
            const double *diagonal = round->g_diagonal + i + 1;
            quadratics(round->variance + k, own, diagonal, candidates->gram.g + i * n + i + 1,
                       count);
            differences(round->policy + k, candidates->reward[i], candidates->reward + i + 1,
                        count);
            candidates->open_pairs +=
                allow(candidates->allowed + from + k, round->variance + k, own, diagonal, count);
        }
        double *weight = candidates->weight + from;
        if (weighted && round->tie > 0)
            weights_fill_ties(weight, round->policy, round->variance, block.count, probit,
                              round->lapse, round->tie);
        else if (weighted)
            weights_fill(weight, round->policy, round->variance, block.count, probit, round->lapse);
        for (k = 0; k < block.count; k++)
            weight[k] = !weighted ? 1 : weight[k] > least ? weight[k] : least;
        from += block.count;
    }
}

WIDE_TARGET static void weigh_wide(struct candidates *candidates,
                                   const struct candidates_round *round)
{
    weigh(candidates, round);
}

void candidates_weigh(struct candidates *candidates, const struct candidates_round *round,
                      const uint8_t *forbidden)
{
    if (wide_is_possible())
        weigh_wide(candidates, round);
    else
        weigh(candidates, round);
    if (forbidden == NULL)
        return;
    for (size_t k = 0; k < candidates_pairs(candidates->gram.n); k++)
        if ((forbidden[k / 8] >> k % 8 & 1) != 0)
            candidates_set_allowed(candidates, k, false);
}
