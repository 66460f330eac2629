/* What stands around a rule: mixing with chance, drawing by score, choosing prompts, asking only
 * above a price. Part of selectors.h. Nothing here allocates. */
#ifndef SEL_WRAPPERS_H
#define SEL_WRAPPERS_H

#include "rule.h"

/* ---- probabilities over arms ---- */

/* probability = (1 - share) probability + share / allowed on every allowed arm: the arm at random
 * that keeps every pair possible. allowed: 1 or 0 of each arm, NULL: all. What the sum lacked of 1
 * before (a skip) shrinks by 1 - share. SEL_INVALID, and no change, unless 0 <= share <= 1. */
enum sel_status sel_wrap_mix(double *probability, const uint8_t *allowed, size_t count,
                             double share);

enum sel_softening {
    SEL_SOFTMAX,  /* log weight = beta score */
    SEL_POWER,    /* log weight = beta log score; scores below 0 count as 0 */
    SEL_SOFTRANK, /* log weight = -beta log rank, rank 1 the best, ties to the first */
};

/* log weight of each arm from its score (-INFINITY: never), for beta >= 0; -INFINITY where not
 * allowed. score and log_weight may be the same array, but for SEL_SOFTRANK. Drawing k arms by the
 * largest log weight + Gumbel noise takes them one by one in proportion to their weights (Kirsch et
 * al., arXiv 2106.12059). */
enum sel_status sel_wrap_soften(enum sel_softening softening, double beta, const double *score,
                                const uint8_t *allowed, size_t count, double *log_weight);

/* The first arm of the draw: probability = weight / sum. All 0 when no arm is possible. */
void sel_gumbel_first(const double *log_weight, size_t count, double *probability);
/* Draws at most k arms; `key`: scratch of count. Returns how many, in the order drawn. */
size_t sel_gumbel_draw(const double *log_weight, size_t count, size_t k, struct sel_random *random,
                       double *key, size_t *chosen);
/* The probability of each arm to be among the k: the integral over t of w e^(-w t) P(fewer than k
 * others have come by t), each other arm coming at an exponential time of rate w; by the
 * trapezoidal rule in log t, to about 1e-12. scratch: count + k doubles. O(400 count^2 k). */
void sel_gumbel_inclusion(const double *log_weight, size_t count, size_t k, double *inclusion,
                          double *scratch);

/* ---- prompts ---- */

/* -mean of log pi over completions drawn from pi: its predictive entropy (arXiv 2402.08114). */
double sel_prompt_entropy(const double *log_policy, size_t n);
/* Largest less smallest reward. */
double sel_prompt_spread(const double *reward, size_t n);
/* Chooses at most `most` of the prompts by the largest score, at most quota[domain] of each domain
 * (domain and quota NULL: one domain without a quota); prompts of a NAN or -INFINITY score are
 * never chosen. taken: scratch, one for each domain. Ties to the first. Returns how many. */
size_t sel_prompt_choose(const double *score, size_t count, const size_t *domain,
                         const size_t *quota, size_t domains, size_t most, size_t *taken,
                         size_t *chosen);
/* The `most` highest of the scores in descending order, ties to the first: a shortlist of pools. */
size_t sel_shortlist(const double *score, size_t count, size_t most, size_t *chosen);

/* ---- a price ---- */

/* Whether to ask at once, pool by pool, without holding any: ask what is worth more than the price,
 * and let the price rise after each ask and fall after each pass, so that `share` of the pools are
 * asked. */
struct sel_price {
    double rate;  /* .1 */
    double share; /* .25: of the pools that are asked */
    double price; /* NAN: the first score becomes the price */
};

struct sel_price sel_price_defaults(void);
/* Asks iff labels are left and (score > price, or no more pools are left than labels); then
 * multiplies the price by exp(rate (1[score > price] - share)). pools_left counts this one;
 * SIZE_MAX when the stream has no end. score: the pool's best, >= 0. */
bool sel_price_ask(struct sel_price *price, double score, size_t pools_left, size_t labels_left);

/* ---- psi0 from reference log-probabilities ---- */

/* Adds the centred phi' phi and phi' log pi_ref of one prompt to sums (d x d, lower triangle) and
 * moments (d). log pi_ref of a prompt is known up to a constant, so both are centred. row: d. */
enum sel_status sel_reference_add(const sel_feature *phi, const double *log_reference, size_t n,
                                  size_t d, double *sums, double *moments, double *row);
/* theta0 = (sums + ridge Id)^-1 moments; sums is overwritten (arXiv 2606.19607, our reading). */
enum sel_status sel_reference_solve(double *sums, const double *moments, size_t d, double ridge,
                                    double *theta);

#endif
