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

#include <string.h>

static inline double clamped(double diagonal, double entry)
{
    double value = diagonal - 2 * entry;
    return value > 0 ? value : 0;
}

/* Finds the best allowed pair; inlined once with the default rule's formula and once with a call.
 */
static inline __attribute__((always_inline)) void
scan_with(struct candidates *candidates, const double *parameters,
          double (*score_of)(const struct sel_pair *pair))
{
    size_t n = candidates->gram.n;
    const uint8_t *allowed = candidates->allowed;
    const double *weight = candidates->weight;
    struct sel_choice *best = &candidates->best;
    best->score = -INFINITY;
    for (size_t i = 0; i + 1 < n; i++) {
        const double *g = candidates->gram.g + i * n;
        const double *h = candidates->gram.h + i * n;
        for (size_t j = i + 1; j < n; j++) {
            struct sel_pair pair = {
                .weight = *weight++,
                .variance = clamped(g[i] + candidates->gram.g[j * n + j], g[j]),
                .policy = clamped(h[i] + candidates->gram.h[j * n + j], h[j]),
                .margin = candidates->reward[i] - candidates->reward[j],
                .parameters = parameters,
            };
            double score = score_of(&pair);
            if (*allowed++ && score > best->score)
                *best = (struct sel_choice){best->pool, i, j, score, pair};
        }
    }
}

void candidates_scan(struct candidates *candidates, const struct candidates_round *round)
{
    const struct sel_rule *rule = round->options->rule;
    if (rule->score == NULL || (candidates->given & SEL_NEEDS(SEL_COST)) != 0) {
        view_scan(candidates, round);
        return;
    }
    if (rule == &rule_policy_trace)
        scan_with(candidates, NULL, rule_policy_trace_score);
    else
        scan_with(candidates, round->parameters, rule->score);
    candidates->found = candidates->best.score > -INFINITY;
}

/* ---- opening ---- */

static double pair_weight(const struct candidates_round *round, double margin, double variance)
{
    if ((round->options->rule->traits & SEL_UNWEIGHTED) != 0)
        return 1;
    double kappa = 1;
    if (round->options->weighting == SEL_WEIGHT_PROBIT)
        kappa = 1 / sqrt(1 + M_PI * variance / 8);
    double weight = kappa * sel_weight_lapse(kappa * margin, round->lapse);
    return fmax(weight, round->options->weight_min);
}

/* Centred rows, and for each row the first that is bytewise equal. */
static void centre(const struct candidates_round *round, const sel_feature *phi, size_t n)
{
    size_t d = round->options->d;
    for (size_t k = 0; k < d; k++)
        round->mean[k] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++)
            round->mean[k] += (double)phi[i * d + k] / (double)n;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < d; k++)
            round->centred[i * d + k] = (double)phi[i * d + k] - round->mean[k];
        size_t twin = 0;
        while (memcmp(phi + twin * d, phi + i * d, d * sizeof *phi) != 0)
            twin++;
        round->twin[i] = twin;
    }
}

/* BLAS may round equal rows differently, by their place; makes them equal again. False unless all
 * is finite. */
static bool settle(struct candidates *candidates, const size_t *twin)
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
        if (!isfinite(g[i]) || !isfinite(h[i]) || !isfinite(candidates->reward[i]))
            return false;
    }
    return true;
}

static bool is_forbidden(const uint8_t *forbidden, size_t index)
{
    return forbidden != NULL && (forbidden[index / 8] >> index % 8 & 1) != 0;
}

static void weigh(struct candidates *candidates, const struct candidates_round *round,
                  const uint8_t *forbidden)
{
    const double negligible = 1e-12;
    size_t n = candidates->gram.n;
    const double *g = candidates->gram.g;
    size_t index = 0;
    candidates->open_pairs = 0;
    for (size_t i = 0; i + 1 < n; i++)
        for (size_t j = i + 1; j < n; j++, index++) {
            double variance = sel_gram_variance(&candidates->gram, i, j);
            double margin = candidates->reward[i] - candidates->reward[j];
            /* q of bytewise equal rows is exactly 0, see settle. */
            bool degenerate = variance <= negligible * (g[i * n + i] + g[j * n + j]);
            candidates->weight[index] = pair_weight(round, margin, variance);
            candidates->allowed[index] = !degenerate && !is_forbidden(forbidden, index);
            candidates->open_pairs += candidates->allowed[index];
        }
}

enum sel_status candidates_open(struct candidates *candidates, const struct candidates_round *round,
                                const double *inverse, const sel_feature *phi, size_t n,
                                const uint8_t *forbidden)
{
    size_t d = round->options->d;
    centre(round, phi, n);
    gram_open(&candidates->gram, round->centred, n, d, inverse, round->policy_inverse,
              round->product);
    for (size_t i = 0; i < n; i++)
        candidates->reward[i] = linear_dot(round->psi, round->centred + i * d, d);
    if (!settle(candidates, round->twin))
        return SEL_INVALID;
    memcpy(candidates->phi, phi, n * d * sizeof *phi);
    weigh(candidates, round, forbidden);
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
