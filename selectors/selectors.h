/* libinfopair: the mathematics of choosing which pairs of completions to compare.
 *
 * Symbols, used throughout (d features, n completions of one prompt):
 *   phi   n x d, features of a pool's completions, row-major float32
 *   psi   d, reward coordinates: P(left preferred) = sigma(psi' x), x = phi_left - phi_right
 *   Sigma d x d, information of the labelled and pending pairs: diag(lambda) + sum_i w_i x_i x_i'
 *   S     inverse of Sigma
 *   I     d x d, policy information: the average over prompts of Cov(phi) under the policy
 *   w     weight of a pair: Fisher information of one label, at most 1/4
 * The expected gap of the policy is tr(I S) / (2 beta) (arXiv 2606.19607). A pair (x, w) lowers
 * tr(I S) by exactly w r / (1 + w q) with q = x' S x and r = x' S I S x.
 *
 * All matrices are row-major, symmetric ones hold both triangles unless said. Scores and state are
 * double; features are float32. Nothing allocates after the _new functions unless said. An object
 * is used by one thread at a time; different objects are independent. */
#ifndef SEL_SELECTORS_H
#define SEL_SELECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "design.h"
#include "rule.h"
#include "wrappers.h"

/* One plain sentence. */
const char *sel_status_text(enum sel_status status);

/* Sets OpenBLAS to one thread. Call once at start. */
void sel_init(void);

/* ---- weights.c: what one label tells, as a function of the margin m = psi' x ---- */

/* sigma(m) = 1 / (1 + e^-m), with full precision in both tails. */
double sel_sigmoid(double margin);
/* sigma'(m) = sigma (1 - sigma), without underflow. */
double sel_weight_plug(double margin);
/* kappa sigma'(kappa m), kappa = (1 + pi variance / 8)^(-1/2): the plug-in weight averaged over a
 * posterior of that variance of the margin (MacKay 1992). */
double sel_weight_probit(double margin, double variance);
/* Weight when a label is a coin flip with probability `lapse`:
 * [(1-e) sigma']^2 / (P (1-P)), P = (1-e) sigma + e/2. */
double sel_weight_lapse(double margin, double lapse);

/* ---- ties.c: Davidson's model of ties ---- */

/* Chances of the three answers where P(tie) = tie / (e^(m/2) + e^(-m/2) + tie) and one who lapses
 * says left or right by a coin (Davidson 1970). tie >= 0; 0: there are no ties. */
struct sel_chances {
    double left, right, tie;
};
struct sel_chances sel_tie_chances(double margin, double lapse, double tie);
/* Weight of such an answer; sel_weight_lapse where tie = 0. */
double sel_weight_tie(double margin, double lapse, double tie);

/* ---- random.c: counter-based random numbers (Philox4x32-10, Salmon et al. 2011) ---- */

struct sel_random {
    uint64_t key;
    uint64_t stream;
    uint64_t counter;
    uint32_t block[4];
    unsigned left;
};

/* A generator that is a pure function of (key, stream). */
struct sel_random sel_random_init(uint64_t key, uint64_t stream);
/* The next 64 bits. */
uint64_t sel_random_bits(struct sel_random *random);
/* Uniform in [0, 1), 53 bits. */
double sel_random_uniform(struct sel_random *random);
/* Uniform in {0, ..., bound - 1} without bias; bound > 0. */
uint64_t sel_random_below(struct sel_random *random, uint64_t bound);
/* Standard normal (Box-Muller). */
double sel_random_normal(struct sel_random *random);

/* ---- information.c: Sigma and its inverse ---- */

struct sel_information;

/* Sigma = Id of d >= 1 features; about 2 d^2 + 256 d doubles. NULL when that cannot be had. */
struct sel_information *sel_information_new(size_t d);
/* NULL is allowed, here and in the other _free functions. */
void sel_information_free(struct sel_information *information);
size_t sel_information_dimension(const struct sel_information *information);
/* Sigma = diag(lambda) (d values, all > 0), S its inverse. */
enum sel_status sel_information_reset(struct sel_information *information, const double *lambda);
/* Adds sum_k w_k x_k x_k' to Sigma in blocks (dsyrk) without touching S; x: n pointers to d values.
 * Weights may be 0, never negative. Follow with sel_information_factor. */
enum sel_status sel_information_accumulate(struct sel_information *information,
                                           const sel_feature *const *x, const double *w, size_t n);
/* Cholesky of Sigma, then S and log det; clears the drift counters. After SEL_SINGULAR Sigma
 * stands, S and log det are not to be used. */
enum sel_status sel_information_factor(struct sel_information *information);
/* Sigma + w x x' by a rank-one update of Sigma and S (Sherman-Morrison), O(d^2). w >= 0. x: d
 * values. SEL_INVALID, and no change, when something is not finite. */
enum sel_status sel_information_add(struct sel_information *information, const sel_feature *x,
                                    double w);
/* Sigma - w x x'. SEL_REFUSED, and no change, unless 1 - w q > 0. */
enum sel_status sel_information_remove(struct sel_information *information, const sel_feature *x,
                                       double w);
/* True once rounding may have eaten digits: a removal with 1 - w q < 1e-6, 200 rank-one updates, or
 * a drift of S Sigma from the identity above 1e-8 on a probe vector (looked at every 8 updates).
 * The caller then resets, accumulates its list again and factors. */
bool sel_information_stale(const struct sel_information *information);
/* Sigma and S, d x d; they belong to `information` and change with it. */
const double *sel_information_sigma(const struct sel_information *information);
const double *sel_information_inverse(const struct sel_information *information);
/* q = x' S x. x: d values. O(d^2). */
double sel_information_variance(const struct sel_information *information, const sel_feature *x);
/* log det Sigma. */
double sel_information_log_determinant(const struct sel_information *information);
/* Draws psi_e ~ N(psi, S), the posterior (psi NULL: around 0). draws: count x d, written; scratch:
 * d x d. O(d^3 + count d^2). SEL_SINGULAR when S is not positive definite. */
enum sel_status sel_information_draw(const struct sel_information *information, const double *psi,
                                     size_t count, struct sel_random *random, double *draws,
                                     double *scratch);
/* tr(I S); policy: I, d x d. O(d^2). */
double sel_information_trace(const struct sel_information *information, const double *policy);

/* ---- policy.c: I ---- */

/* Adds weight * Cov(phi) under softmax(logits) to `sums` (d x d, lower triangle only) and returns
 * the effective sample size 1 / sum p^2 through *effective (may be NULL). logits NULL: equal
 * weights. weight >= 0; scratch: n x d doubles. SEL_INVALID, and no change, when n is 0, something
 * is not finite, or no logit is above -inf. */
enum sel_status sel_policy_moments(const sel_feature *phi, size_t n, size_t d, const double *logits,
                                   double weight, double *sums, double *effective, double *scratch);

/* ---- preference.c: psi by penalised maximum likelihood, lambda by evidence ---- */

/* Most groups of features. */
enum { SEL_GROUPS_MAX = 64 };

struct sel_preference_options {
    double lapse;        /* epsilon in [0, 1) */
    double lambda;       /* > 0: fixed; 0: by evidence (MacKay) */
    double lambda_start; /* where evidence starts; 1 at first, then the last lambda */
    double lambda_max;   /* cap by scale; 2 d / .09 */
    double lambda_min;   /* .01 */
    size_t
        evidence_from;   /* labels from which evidence is used, else lambda_start; max(50, d / 2) */
    int evidence_rounds; /* 2 */
    bool guard;          /* restart from psi = 0, lambda = 1 where evidence ran away */
    int iterations_max;  /* of one Newton solve; 50 */
    double tolerance;    /* of |gradient|_inf; 1e-8 */
    const double *lapses; /* one epsilon for each label, in place of `lapse`; NULL, the default */
    double tie;           /* of Davidson's model, where y = 1/2 is a tie; 0, the default: y = 1/2
                             counts as half an answer for each side */
    /* Groups of features with a lambda each; the cap and the floor are those of every group. */
    size_t groups;               /* 0 or 1: one lambda */
    const uint8_t *group;        /* d values below `groups`, none of them unused; or NULL */
    const double *lambda_starts; /* of each group; NULL: lambda_start */
};

/* The defaults above for dimension d. */
struct sel_preference_options sel_preference_defaults(size_t d);

struct sel_preference_result {
    double lambda;    /* of several groups: the geometric mean over the features */
    double objective; /* penalised negative log-likelihood */
    double evidence;  /* -objective + sum over groups of d_b/2 log lambda_b - 1/2 log det Sigma */
    double gradient;  /* |gradient|_inf at the end */
    int iterations;   /* Newton steps over all solves */
    double lambdas[SEL_GROUPS_MAX]; /* of each group */
};

struct sel_preference;

/* For d >= 1 features; about 2 d^2 + 256 d doubles. NULL when that cannot be had. */
struct sel_preference *sel_preference_new(size_t d);
void sel_preference_free(struct sel_preference *preference);
/* Minimises sum_k weight_k loss(y_k, psi' x_k) + sum_j lambda_j/2 (psi_j - prior_j)^2, lambda_j
 * that of the feature's group, by damped Newton (Fisher scoring where lapse > 0), y in [0, 1]. x: n
 * pointers to d values; prior: d values or NULL for 0; psi: d values, the start on entry and the
 * solution on return. SEL_NOT_CONVERGED still leaves the best psi found, and fills the result;
 * after SEL_INVALID psi is as it was. */
enum sel_status sel_preference_fit(struct sel_preference *preference, const sel_feature *const *x,
                                   const double *y, const double *weight, size_t n,
                                   const double *prior,
                                   const struct sel_preference_options *options, double *psi,
                                   struct sel_preference_result *result);
/* How each label's margin psi' x looks without that label: its mean and variance under the Laplace
 * posterior N(psi, Sigma^-1) with the label taken out by one Newton step from psi (approximate
 * leave-one-out, Rad and Maleki 2020):
 *   variance = q / (1 - weight w q),  mean = psi' x + variance weight dloss/dm,  q = x' Sigma^-1 x.
 * psi and lambdas (one for each group): of a fit of the same labels by the same options, prior 0.
 * margin, variance: n values. Costs about a Newton step. */
enum sel_status sel_preference_left_out(struct sel_preference *preference,
                                        const sel_feature *const *x, const double *y,
                                        const double *weight, size_t n,
                                        const struct sel_preference_options *options,
                                        const double *psi, const double *lambdas, double *margin,
                                        double *variance);

/* ---- lapse.c ---- */

struct sel_lapse {
    double rate;      /* epsilon: posterior mean of the share of answers that are coin flips */
    double deviation; /* its standard deviation */
};

/* Estimates the lapse rate of the labels by Laplace evidence over a grid from 0 to 0.3, psi
 * integrated out and lambda by evidence at each rate; arguments as for sel_preference_fit, whose
 * options `lapse` and `lapses` are not read. psi: d values, where each fit starts; it stays.
 * scratch: d. */
enum sel_status sel_preference_lapse(struct sel_preference *preference, const sel_feature *const *x,
                                     const double *y, const double *weight, size_t n,
                                     const double *prior,
                                     const struct sel_preference_options *options,
                                     const double *psi, size_t d, struct sel_lapse *lapse,
                                     double *scratch);

/* ---- annotators.c: who errs how often, and on which side ---- */

struct sel_annotator {
    size_t labels;          /* behind it */
    size_t sided;           /* those that prefer a side: y is not 1/2 */
    double lapse;           /* epsilon: posterior mean */
    double lapse_deviation; /* its posterior standard deviation */
    double left_bias;       /* what is added to psi' x, in log-odds: posterior mode */
    double left_share;      /* of the sided labels; 0 when there are none */
    double agreement;       /* share of the sided labels that prefer the side that the fit without
                               them takes for the better one; 0 when there are none */
};

/* Labels of several annotators as sel_annotators takes them: n of each. */
struct sel_answers {
    const double *margin, *variance; /* of sel_preference_left_out */
    const double *y, *weight;
    const uint32_t *annotator; /* below `annotators`; from there on: unknown */
    size_t n;
    double tie; /* of Davidson's model, as in struct sel_preference_options */
};

/* The most likely `tie` of Davidson's model, margins and rates being known: `lapses` one for each
 * label or NULL for `lapse`; one answer at m = 0, half a tie, is added. 0 where nobody ties.
 * `annotator` and `tie` of the answers are not read. See ties.c. */
double sel_tie_estimate(const struct sel_answers *answers, const double *lapses, double lapse);

/* Posterior lapse rates and biases of `annotators` annotators, result[annotators] being those of
 * all labels together. overall: the rate of sel_preference_lapse, in [0, 1); it is the mean of a
 * Beta prior whose strength is averaged over by the marginal likelihood of all annotators, so that
 * rates stay at `overall` where labels are few or annotators alike. See annotators.c. Fewer than
 * two annotators keep `overall`. */
enum sel_status sel_annotators(const struct sel_answers *answers, size_t annotators, double overall,
                               struct sel_annotator *result);

/* ---- gram.c: one pool's pair quadratics ---- */

/* G = phi S phi' and H = phi S I S phi' (n x n). For x = phi_i - phi_j, q = G_ii + G_jj - 2 G_ij
 * and r likewise from H. After a pick (i, j, w) both are updated in O(n^2); see gram.c. */
struct sel_gram {
    double *g;
    double *h;
    size_t n;
};

/* Fills g and h, n x n doubles each that the caller provides. scratch: 2 n d doubles. inverse = S,
 * policy_inverse = S I S, both d x d. */
void sel_gram_open(struct sel_gram *gram, const sel_feature *phi, size_t n, size_t d,
                   const double *inverse, const double *policy_inverse, double *scratch);
double sel_gram_variance(const struct sel_gram *gram, size_t i, size_t j); /* q, clamped at 0 */
double sel_gram_policy(const struct sel_gram *gram, size_t i, size_t j);   /* r, clamped at 0 */
/* After the pick of pair (i, j) of this very pool with weight w (negative: removal). SEL_REFUSED,
 * and no change, unless 1 + w q > 0. */
enum sel_status sel_gram_take(struct sel_gram *gram, size_t i, size_t j, double w);
/* After a pick in another pool: g = phi u, h = phi v (n values each), c = w / (1 + w q), r. */
void sel_gram_update(struct sel_gram *gram, const double *g, const double *h, double c, double r);

/* ---- rules/: see rule.h for what a rule is ---- */

/* By name or alias; NULL when unknown. */
const struct sel_rule *sel_rule_find(const char *name);
/* The k-th rule of the table, NULL past the end. */
const struct sel_rule *sel_rule_at(size_t k);
/* True when a picker can run the rule: it scores or weighs the pairs of a pool. The others select
 * from a list, see sel_select_run. */
bool sel_rule_is_of_pools(const struct sel_rule *rule);
/* True when features, psi, Sigma and I are all that the rule asks for: it scores pairs, without
 * other inputs, required parameters, or traits that ask for more. */
bool sel_rule_is_plain(const struct sel_rule *rule);
/* Writes the defaults of a rule's parameters, NAN for those without. values: SEL_PARAMETERS_MAX. */
void sel_rule_defaults(const struct sel_rule *rule, double *values);
/* SEL_MISSING or SEL_INVALID, and the parameter through *which (may be NULL), when a value is
 * missing or out of range. */
enum sel_status sel_rule_check(const struct sel_rule *rule, const double *values,
                               const struct sel_parameter **which);
/* Place of a parameter in the rule's table; parameter_count when it has none of that name. */
size_t sel_rule_parameter(const struct sel_rule *rule, const char *name);
/* What a rule must be given, as one word: log_reference, log_policy, source, ... */
const char *sel_input_name(enum sel_input input);
/* Whether psi is to be fitted anew, for a rule with SEL_REFIT_DOUBLING: a power of two lies above
 * the labels of the last fit and not above those of now (ADPO, arXiv 2503.01076). */
bool sel_refit_due(size_t labels_fitted, size_t labels);

/* ---- plugin.c: a rule of your own ---- */

/* A shared object exports one `const struct sel_rule` of this name; see example/. */
#define SEL_PLUGIN_SYMBOL "sel_rule_plugin"

struct sel_plugin;

/* Loads a rule. NULL, and one sentence in message, when it is none. The rule lives until unload.
 * Allocates; for start-up. */
struct sel_plugin *sel_rule_load(const char *path, const struct sel_rule **rule, char *message,
                                 size_t size);
void sel_rule_unload(struct sel_plugin *plugin);

/* ---- picker.c: greedy picks over several pools ---- */

enum sel_weighting { SEL_WEIGHT_PROBIT, SEL_WEIGHT_PLUG };

struct sel_picker_options {
    size_t d;
    size_t pools_max; /* pools opened at the same time */
    size_t n_max;     /* completions of one pool */
    const struct sel_rule *rule;
    enum sel_weighting weighting;
    double weight_min; /* floor of w; 0 */
    /* Of the rule, in the order of its table; copied. NULL: the defaults. */
    const double *parameters;
    double beta;      /* of the policy, for the rules that turn rewards into log-probabilities */
    size_t draws_max; /* posterior draws of the rules that need them; 0: 16 */
    size_t lazy_from; /* with more open pools than this the best of all is found by a heuristic, see
                         sel_picker_best; 0: 256 */
};

struct sel_choice {
    size_t pool; /* as numbered by sel_picker_open */
    size_t i;
    size_t j; /* i < j */
    double score;
    struct sel_pair pair;
};

struct sel_picker;

/* Copies the options; takes sel_picker_bytes at once. NULL when they are out of range (d and n_max
 * at most 32768) or memory is short. */
struct sel_picker *sel_picker_new(const struct sel_picker_options *options);
void sel_picker_free(struct sel_picker *picker);
/* Bytes that a picker of these options holds; 0 when they are out of range. */
size_t sel_picker_bytes(const struct sel_picker_options *options);
/* Starts a round at the present Sigma: closes all pools, computes S I S. The picker keeps the
 * pointers of `information` and psi until the next begin and updates `information` with each pick
 * taken; nobody else may change Sigma within a round. */
enum sel_status sel_picker_begin(struct sel_picker *picker, struct sel_information *information,
                                 const double *policy, const double *psi, double lapse);
/* Weights of the rounds to come are those of Davidson's model of ties; 0, as at first: there are
 * none. SEL_INVALID, and no change, unless tie is finite and not negative. */
enum sel_status sel_picker_ties(struct sel_picker *picker, double tie);
/* Closes all pools and keeps S I S: enough for a new round while only sel_picker_take has changed
 * Sigma since the last begin and psi and I are the same. */
void sel_picker_clear(struct sel_picker *picker);
/* Opens a pool (copies phi): G, H and the weights of its pairs, frozen for the round.
 * forbidden: bit k of byte k/8 set = pair k may not be picked, pairs in order (0,1), (0,2), ...,
 * (n-2,n-1); NULL = none. Pairs of bytewise equal rows, and those with q <= 1e-12 (G_ii + G_jj),
 * are forbidden by themselves. Returns the pool's number through *pool: 0, 1, ... SEL_NO_MEMORY
 * when pools_max are open, SEL_INVALID when n or a coordinate is out of range. */
enum sel_status sel_picker_open(struct sel_picker *picker, const sel_feature *phi, size_t n,
                                const uint8_t *forbidden, size_t *pool);
/* Best allowed pair of one pool, or of all open ones; ties to the lowest (pool, i, j). False when
 * no pair is allowed.
 * With more than lazy_from pools open, sel_picker_best is a heuristic: its choice is the best pair
 * of its pool with the numbers of the present, but of the other pools only some are brought up to
 * date between two picks, and of the rest it knows the present score of one pair each; see
 * lagging.c. All else that is asked about a pool is exact: the pool is brought up to date first. */
bool sel_picker_best_of(struct sel_picker *picker, size_t pool, struct sel_choice *choice);
bool sel_picker_best(struct sel_picker *picker, struct sel_choice *choice);
/* No allowed pair of the pool scores higher, but for the rounding of its variance; -INFINITY: there
 * is none. Costs nothing: INFINITY where only a look at the pool could tell, and the score itself
 * once sel_picker_best_of has looked. */
double sel_picker_bound(const struct sel_picker *picker, size_t pool);
/* How many pairs of a pool may be picked. */
size_t sel_picker_allowed(const struct sel_picker *picker, size_t pool);
/* The k-th allowed pair of a pool, in pair order, with its score under the rule. */
bool sel_picker_pair(struct sel_picker *picker, size_t pool, size_t k, struct sel_choice *choice);
/* Writes the scores of all pairs of a pool, n (n-1) / 2 values in pair order, -INFINITY where a
 * pair may not be picked; under a rule that draws its probabilities are the scores. Returns how
 * many. */
size_t sel_picker_scores(struct sel_picker *picker, size_t pool, double *scores);
/* The pair (i, j) of a pool, i < j, with its score; false when it may not be picked. */
bool sel_picker_choice(struct sel_picker *picker, size_t pool, size_t i, size_t j,
                       struct sel_choice *choice);
/* Gives a pool of the present round what the rule needs of its completions: n values (SEL_DRAWS:
 * draws_max x n). Before all needs of the rule are given a pool has no best pair and scores of
 * -INFINITY. Costs (SEL_COST) may be given under any rule: scores are then divided by the cost of
 * the pair. */
enum sel_status sel_picker_give(struct sel_picker *picker, size_t pool, enum sel_input input,
                                const double *values);
/* The posterior draws of the next rounds are those of this key and stream; at first (0, 0). */
void sel_picker_seed(struct sel_picker *picker, uint64_t key, uint64_t stream);
/* The exact probability with which sel_picker_draw takes each pair of a pool, n (n-1) / 2 values: 1
 * for the best pair under a rule of scores, all allowed pairs alike under a `randomised` one. Under
 * a rule that draws from the posterior it is exact given the draws. Returns the sum; what it lacks
 * of 1 is the probability that the pool is skipped. */
double sel_picker_distribution(struct sel_picker *picker, size_t pool, double *probability);
/* Draws a pair by it. False when the pool is skipped. probability: of this pair (may be NULL). */
bool sel_picker_draw(struct sel_picker *picker, size_t pool, struct sel_random *random,
                     struct sel_choice *choice, double *probability);
/* Takes a pair: adds share * w x x' to Sigma (share: probability that the label arrives), updates
 * S I S and G, H of the open pools, forbids the pair. Only pool, i and j of the choice are read.
 * SEL_INVALID, and no change, when the pair may not be picked or share is outside [0, 1]. x is
 * phi_i - phi_j rounded to float32. */
enum sel_status sel_picker_take(struct sel_picker *picker, const struct sel_choice *choice,
                                double share);

/* Undoes a take of this round by the same share, so that the pair may be picked again. SEL_REFUSED,
 * and no change, when Sigma would not stay positive definite. */
enum sel_status sel_picker_put_back(struct sel_picker *picker, const struct sel_choice *choice,
                                    double share);

/* One named number of a choice. */
struct sel_part {
    const char *name;
    double value;
};
enum { SEL_PARTS = 8 };
/* Why a pair was chosen, for its record: score, weight, variance, policy, margin, the rewards
 * relative to their pool and, with costs, cost. Returns how many parts were written. */
size_t sel_picker_explain(const struct sel_picker *picker, const struct sel_choice *choice,
                          struct sel_part parts[SEL_PARTS]);

/* ---- select.c: choosing from a list of candidate pairs ---- */

struct sel_select_options {
    const struct sel_rule *rule;
    const double *parameters; /* copied; NULL: the defaults */
    struct sel_set largest;   /* count, d, groups, draw_count, context_d, past_count: the most that
                                 a set may have; the rest is not read */
    size_t budget_max;
};

struct sel_select;

/* Bytes that sel_select_new takes for options that are in range. */
size_t sel_select_bytes(const struct sel_select_options *options);
/* NULL when the options are out of range, a required parameter is missing or memory is short. */
struct sel_select *sel_select_new(const struct sel_select_options *options);
void sel_select_free(struct sel_select *select);
/* Chooses at most selection->budget pairs of the set; chosen and propensity have room for so many.
 * Of the set, parameters, scratch and integers are filled in here. A rule with `score` is run
 * greedily: the picks are those of scoring all pairs after every pick, scores within 1e-12 of the
 * best counting as equal, ties to the first; O(N d^2) at first and at most O(N d) a pick.
 * SEL_INVALID for what is not finite, negative weights or empty sets; SEL_MISSING for an
 * input that the rule needs. On an error the selection is empty. */
enum sel_status sel_select_run(struct sel_select *select, const struct sel_set *set,
                               struct sel_selection *selection);

#ifdef __cplusplus
}
#endif

#endif
