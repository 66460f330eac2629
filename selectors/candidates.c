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

WIDE_BODY void prepare(const struct candidates_round *round, const sel_feature *phi, size_t n)
{
    size_t d = round->options->d;
    centre(round, phi, n);
    for (size_t i = 0; i < n; i++)
        round->mark[i] = mark_of(phi + i * d, d);
}

WIDE_TARGET static void prepare_wide(const struct candidates_round *round, const sel_feature *phi,
                                     size_t n)
{
    prepare(round, phi, n);
}

/* For each row the first that is bytewise equal. True when some row has an earlier twin. */
static bool find_twins(const struct candidates_round *round, const sel_feature *phi, size_t n)
{
    size_t d = round->options->d;
    bool found = false;
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

enum sel_status candidates_open(struct candidates *candidates, const struct candidates_round *round,
                                const double *inverse, const sel_feature *phi, size_t n,
                                const uint8_t *forbidden)
{
    size_t d = round->options->d;
    if (wide_is_possible())
        prepare_wide(round, phi, n);
    else
        prepare(round, phi, n);
    gram_open(&candidates->gram, round->centred, n, d, inverse, round->policy_inverse,
              round->product, round->room);
    for (size_t i = 0; i < n; i++)
        candidates->reward[i] = linear_dot(round->psi, round->centred + i * d, d);
    if (find_twins(round, phi, n))
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

/* ---- after a pick ---- */

/* Four coordinates at once; the order of additions is the same on every machine. */
typedef sel_feature feature_lanes __attribute__((vector_size(4 * sizeof(sel_feature))));
typedef double lanes __attribute__((vector_size(4 * sizeof(double))));

/* *g = phi' u and *h = phi' v for one row of d features. */
static void project(const sel_feature *phi, const struct candidates_pick *pick, size_t d, double *g,
                    double *h)
{
    lanes g_sum = {0};
    lanes h_sum = {0};
    size_t k = 0;
    for (; k + 4 <= d; k += 4) {
        feature_lanes narrow;
        lanes u;
        lanes v;
        memcpy(&narrow, phi + k, sizeof narrow);
        memcpy(&u, pick->u + k, sizeof u);
        memcpy(&v, pick->v + k, sizeof v);
        lanes wide = __builtin_convertvector(narrow, lanes);
        g_sum += wide * u;
        h_sum += wide * v;
    }
    *g = (g_sum[0] + g_sum[1]) + (g_sum[2] + g_sum[3]);
    *h = (h_sum[0] + h_sum[1]) + (h_sum[2] + h_sum[3]);
    for (; k < d; k++) {
        *g += (double)phi[k] * pick->u[k];
        *h += (double)phi[k] * pick->v[k];
    }
}

static void subtract_mean(double *values, size_t n)
{
    double mean = 0;
    for (size_t k = 0; k < n; k++)
        mean += values[k] / (double)n;
    for (size_t k = 0; k < n; k++)
        values[k] -= mean;
}

void candidates_update(struct candidates *candidates, const struct candidates_round *round,
                       const struct candidates_pick *pick)
{
    size_t d = round->options->d;
    size_t n = candidates->gram.n;
    for (size_t i = 0; i < n; i++)
        project(candidates->phi + i * d, pick, d, round->g + i, round->h + i);
    subtract_mean(round->g, n);
    subtract_mean(round->h, n);
    sel_gram_update(&candidates->gram, round->g, round->h, pick->c, pick->r);
    for (size_t e = 0; e < round->draws; e++)
        for (size_t i = 0; i < n; i++)
            candidates->deviation[e * n + i] -= pick->shift[e] * round->g[i];
    candidates_scan(candidates, round);
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
    size_t i = 0;
    while (i + 2 < n && candidates_index(n, i + 1, i + 2) <= index)
        i++;
    size_t j = i + 1 + index - candidates_index(n, i, i + 1);
    return (struct sel_choice){pool, i, j, candidates_score(candidates, round, i, j),
                               candidates_pair(candidates, round, i, j)};
}
