/* The pairs of one open pool.
 *
 * Weight of a pair, frozen when the pool is opened:
 *   w = max(weight_min, kappa w_e(kappa m)), kappa = (1 + pi q / 8)^-1/2 (probit) or 1 (plug)
 * with w_e of weights.c for the lapse e, m = psi' x and q = x' S x. After a pick of any pool,
 * g = phi u and h = phi v update G and H (gram.c), and the best pair is found anew.
 *
 * Invariants: `best` is the allowed pair of the highest score, the first of several; rows that are
 * bytewise equal have bytewise equal rows in G and H, so that their pairs tie exactly. Features are
 * taken relative to the pool's mean, which leaves q and r as they are and costs no digits when the
 * pool has a large common offset. Cost: open O(n d^2 + n^2 d), update O(n d + n^2). */
#include "selectors/candidates.h"

#include "selectors/gram.h"
#include "selectors/linear.h"
#include "selectors/project.h"
#include "selectors/rules/rules.h"
#include "selectors/view.h"
#include "selectors/wide.h"

#include <string.h>

/* ---- opening ---- */

/* Rows relative to their mean. */
WIDE_BODY void centre(const struct candidates_round *round, const sel_feature *phi, size_t n)
{
    size_t d = round->options->d;
    double *restrict mean = round->mean;
    double share = 1 / (double)n;
    for (size_t k = 0; k < d; k++)
        mean[k] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++)
            mean[k] += (double)phi[i * d + k] * share;
    for (size_t i = 0; i < n; i++) {
        double *restrict row = round->centred + i * d;
        for (size_t k = 0; k < d; k++)
            row[k] = (double)phi[i * d + k] - mean[k];
    }
}

/* A number that is the same for rows that are bytewise equal, and seldom for others. */
WIDE_BODY uint64_t mark_of(const sel_feature *row, size_t d)
{
    uint32_t sums[4] = {0};
    uint32_t words[4];
    const unsigned char *bytes = (const unsigned char *)row;
    size_t left = d * sizeof *row;
    while (left > 0) {
        size_t size = left < sizeof words ? left : sizeof words;
        memset(words, 0, sizeof words);
        memcpy(words, bytes, size);
        bytes += size;
        left -= size;
        for (size_t l = 0; l < 4; l++)
            sums[l] = (sums[l] + words[l]) * 2654435761u;
    }
    return ((uint64_t)(sums[0] ^ sums[1] << 7) << 32) + (sums[2] ^ sums[3] << 7);
}

WIDE_TARGET static void centre_wide(const struct candidates_round *round, const sel_feature *phi,
                                    size_t n)
{
    centre(round, phi, n);
}

WIDE_TARGET static void mark_wide(uint64_t *mark, const sel_feature *phi, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++)
        mark[i] = mark_of(phi + i * d, d);
}

void candidates_centre(const struct candidates_round *round, const sel_feature *phi, size_t n)
{
    if (wide_is_possible())
        centre_wide(round, phi, n);
    else
        centre(round, phi, n);
}

static void mark_all(uint64_t *mark, const sel_feature *phi, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++)
        mark[i] = mark_of(phi + i * d, d);
}

/* For each row the first that is bytewise equal. True when some row has an earlier twin. */
static bool find_twins(const struct candidates_round *round, const sel_feature *phi, size_t n)
{
    size_t d = round->options->d;
    bool found = false;
    if (wide_is_possible())
        mark_wide(round->mark, phi, n, d);
    else
        mark_all(round->mark, phi, n, d);
    for (size_t i = 0; i < n; i++) {
        size_t twin = 0;
        while (round->mark[twin] != round->mark[i] ||
               memcmp(phi + twin * d, phi + i * d, d * sizeof *phi) != 0)
            twin++;
        round->twin[i] = twin;
        found |= twin != i;
    }
    return found;
}

/* BLAS may round equal rows differently, by their place; makes them equal again. */
static void settle(struct candidates *candidates, const size_t *twin)
{
    size_t n = candidates->gram.n;
    for (size_t i = 0; i < n; i++) {
        double *g = candidates->gram.g + i * n;
        double *h = candidates->gram.h + i * n;
        for (size_t j = 0; j < n; j++) {
            g[j] = candidates->gram.g[twin[i] * n + twin[j]];
            h[j] = candidates->gram.h[twin[i] * n + twin[j]];
        }
        candidates->reward[i] = candidates->reward[twin[i]];
    }
}

static bool is_finite(const struct candidates *candidates)
{
    size_t n = candidates->gram.n;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(candidates->gram.g[i * n + i]) || !isfinite(candidates->gram.h[i * n + i]) ||
            !isfinite(candidates->reward[i]))
            return false;
    return true;
}

/* G and H of n rows; leaves the centred rows behind. */
static void compute(struct candidates *candidates, const struct candidates_round *round,
                    const double *inverse, const sel_feature *phi, size_t n)
{
    candidates_centre(round, phi, n);
    gram_open(&candidates->gram, round->centred, n, round->options->d, inverse,
              round->policy_inverse, round->product, round->room);
    candidates->updates = 0;
}

enum sel_status candidates_open(struct candidates *candidates, const struct candidates_round *round,
                                const double *inverse, const sel_feature *phi, size_t n,
                                const uint8_t *forbidden)
{
    size_t d = round->options->d;
    compute(candidates, round, inverse, phi, n);
    for (size_t i = 0; i < n; i++)
        candidates->reward[i] = linear_dot(round->psi, round->centred + i * d, d);
    candidates->twins = find_twins(round, phi, n);
    if (candidates->twins)
        settle(candidates, round->twin);
    if (!is_finite(candidates))
        return SEL_INVALID;
    memcpy(candidates->phi, phi, n * d * sizeof *phi);
    candidates_weigh(candidates, round, forbidden);
    candidates->given = 0;
    view_deviate(candidates, round);
    candidates_scan(candidates, round);
    return SEL_OK;
}

void candidates_renew(struct candidates *candidates, const struct candidates_round *round,
                      const double *inverse)
{
    size_t n = candidates->gram.n;
    compute(candidates, round, inverse, candidates->phi, n);
    if (candidates->twins && find_twins(round, candidates->phi, n))
        settle(candidates, round->twin);
    view_deviate(candidates, round);
}

/* ---- after a pick ---- */

WIDE_BODY void subtract_mean(double *values, size_t n)
{
    double mean = 0;
    for (size_t k = 0; k < n; k++)
        mean += values[k] / (double)n;
    for (size_t k = 0; k < n; k++)
        values[k] -= mean;
}

WIDE_BODY void project_all(const struct candidates *candidates,
                           const struct candidates_round *round, const struct candidates_pick *pick)
{
    size_t d = round->options->d;
    size_t n = candidates->gram.n;
    for (size_t i = 0; i < n; i++)
        project(candidates->phi + i * d, pick, d, round->g + i, round->h + i);
    subtract_mean(round->g, n);
    subtract_mean(round->h, n);
}

WIDE_TARGET static void project_all_wide(const struct candidates *candidates,
                                         const struct candidates_round *round,
                                         const struct candidates_pick *pick)
{
    project_all(candidates, round, pick);
}

void candidates_update(struct candidates *candidates, const struct candidates_round *round,
                       const struct candidates_pick *pick)
{
    size_t n = candidates->gram.n;
    if (wide_is_possible())
        project_all_wide(candidates, round, pick);
    else
        project_all(candidates, round, pick);
    sel_gram_update(&candidates->gram, round->g, round->h, pick->c, pick->r);
    for (size_t e = 0; e < round->draws; e++)
        for (size_t i = 0; i < n; i++)
            candidates->deviation[e * n + i] -= pick->shift[e] * round->g[i];
    candidates->updates++;
}

void candidates_set_allowed(struct candidates *candidates, size_t index, bool allowed)
{
    candidates->open_pairs -= candidates->allowed[index];
    candidates->allowed[index] = allowed;
    candidates->open_pairs += allowed;
}

struct sel_pair candidates_pair(const struct candidates *candidates,
                                const struct candidates_round *round, size_t i, size_t j)
{
    return (struct sel_pair){
        .weight = candidates->weight[candidates_index(candidates->gram.n, i, j)],
        .variance = sel_gram_variance(&candidates->gram, i, j),
        .policy = sel_gram_policy(&candidates->gram, i, j),
        .margin = candidates->reward[i] - candidates->reward[j],
        .parameters = round->parameters,
    };
}

double candidates_score(const struct candidates *candidates, const struct candidates_round *round,
                        size_t i, size_t j)
{
    if (candidates->score != NULL)
        return candidates->score[candidates_index(candidates->gram.n, i, j)];
    struct sel_pair pair = candidates_pair(candidates, round, i, j);
    return view_priced(candidates, round->options->rule->score(&pair), i, j);
}

struct sel_choice candidates_at(const struct candidates *candidates,
                                const struct candidates_round *round, size_t pool, size_t k)
{
    size_t n = candidates->gram.n;
    size_t index = 0;
    for (size_t left = k; !candidates->allowed[index] || left > 0; index++)
        left -= candidates->allowed[index];
    struct candidates_place place = candidates_place(n, index);
    return (struct sel_choice){pool, place.i, place.j,
                               candidates_score(candidates, round, place.i, place.j),
                               candidates_pair(candidates, round, place.i, place.j)};
}
