/* Baselines: rules that every other one is measured against.
 *
 *   uniform          a pair drawn at random; the control
 *   first2           the first two completions
 *   most_likely      log pi_ref(i) + log pi_ref(j) + psi' (phi_i + phi_j) / beta
 *   pi0_greedy       the same with psi = 0
 *   pi0_weighted     two draws from pi_ref, given that they differ
 *   best_quantile    the best completion against the one at the top 1/q of the pool
 *   ultrafeedback4   four at random, the best of them against a random other of them
 *   xpo_src          one completion of the policy, one of the reference
 *   pilaf_src        half: two of the policy; half: one of the optimist, one of the pessimist
 *   oracle_maxmin    the truly best against the truly worst: simulations only */
#include "selectors/rules/rules.h"
#include "selectors/rules/view.h"

static double nothing(const struct sel_pair *pair)
{
    (void)pair;
    return 0;
}

static const char *const uniform_aliases[] = {"random", NULL};

const struct sel_rule rule_uniform = {
    .name = "uniform",
    .aliases = uniform_aliases,
    .formula = "every pair of a uniform pool alike",
    .source = "the usual baseline, arXiv 2606.19607",
    .cost = "1",
    .randomised = true,
    .score = nothing,
};

static void first2(const struct sel_view *view, double *scores)
{
    for (size_t k = 0; k < view_pairs(view); k++)
        scores[k] = -(double)k;
}

static const char *const first2_aliases[] = {"first_two", NULL};

const struct sel_rule rule_first2 = {
    .name = "first2",
    .aliases = first2_aliases,
    .formula = "pairs in order: (0,1), (0,2), ...",
    .source = "the usual baseline, arXiv 2606.19607",
    .cost = "1",
    .traits = SEL_SIGNED | SEL_STILL,
    .scores = first2,
};

static void most_likely(const struct sel_view *view, double *scores)
{
    const double *reference = view->inputs[SEL_LOG_REFERENCE];
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++)
            *scores++ =
                reference[i] + reference[j] + (view->reward[i] + view->reward[j]) / view->beta;
}

static void pi0_greedy(const struct sel_view *view, double *scores)
{
    const double *reference = view->inputs[SEL_LOG_REFERENCE];
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++)
            *scores++ = reference[i] + reference[j];
}

static void pi0_weighted(const struct sel_view *view, double *probability)
{
    const double *reference = view->inputs[SEL_LOG_REFERENCE];
    pi0_greedy(view, probability);
    double largest = -INFINITY;
    for (size_t i = 0; i < view->n; i++)
        largest = fmax(largest, reference[i]);
    for (size_t k = 0; k < view_pairs(view); k++)
        probability[k] = exp(probability[k] - 2 * largest);
    view_normalise(view, probability);
}

const struct sel_rule rule_most_likely = {
    .name = "most_likely",
    .formula = "sum of log pi_ref + psi' phi / beta of the two",
    .source = "arXiv 2606.19607, baselines",
    .cost = "K",
    .needs = SEL_NEEDS(SEL_LOG_REFERENCE),
    .traits = SEL_NEEDS_BETA | SEL_SIGNED | SEL_STILL,
    .scores = most_likely,
};

const struct sel_rule rule_pi0_greedy = {
    .name = "pi0_greedy",
    .formula = "sum of log pi_ref of the two",
    .source = "arXiv 2606.19607, baselines",
    .cost = "K",
    .needs = SEL_NEEDS(SEL_LOG_REFERENCE),
    .traits = SEL_SIGNED | SEL_STILL,
    .scores = pi0_greedy,
};

const struct sel_rule rule_pi0_weighted = {
    .name = "pi0_weighted",
    .formula = "pi_ref(i) pi_ref(j), scaled over the pairs",
    .source = "arXiv 2606.19607, baselines",
    .cost = "K^2",
    .needs = SEL_NEEDS(SEL_LOG_REFERENCE),
    .traits = SEL_STILL,
    .distribution = pi0_weighted,
};

/* ---- ranks ---- */

/* How many completions are better than i; among equals the first is the better one. */
static size_t rank_of(const struct sel_view *view, size_t i)
{
    size_t rank = 0;
    for (size_t j = 0; j < view->n; j++)
        rank += view->reward[j] > view->reward[i] || (view->reward[j] == view->reward[i] && j < i);
    return rank;
}

static void best_quantile(const struct sel_view *view, double *scores)
{
    size_t second = (size_t)((double)view->n / view->parameters[0]);
    second = second < 1 ? 1 : second;
    second = second > view->n - 1 ? view->n - 1 : second;
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++) {
            size_t a = rank_of(view, i);
            size_t b = rank_of(view, j);
            bool fits = (a == 0 && b == second) || (b == 0 && a == second);
            *scores++ = fits ? fabs(view->reward[i] - view->reward[j]) : -INFINITY;
        }
}

static const struct sel_parameter quantile_parameters[] = {
    {.name = "top_quantile",
     .required = true,
     .least = 1,
     .most = HUGE_VAL,
     .text = "q: the second completion stands at place n/q of the pool, the best at place 0"},
};

static const char *const best_quantile_aliases[] = {"best+top-1/q", NULL};

const struct sel_rule rule_best_quantile = {
    .name = "best_quantile",
    .aliases = best_quantile_aliases,
    .formula = "the best completion with the one at place floor(n/q) by reward",
    .source = "one-pass RLHF, arXiv 2502.07193",
    .cost = "K log K",
    .traits = SEL_STILL,
    .parameters = quantile_parameters,
    .parameter_count = 1,
    .scores = best_quantile,
};

/* P(four at random hold both, the better one is the best of the four, the other is drawn). */
static void ultrafeedback4(const struct sel_view *view, double *probability)
{
    double n = (double)view->n;
    double drawn = fmin(4, n);
    double *written = probability;
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++) {
            size_t a = rank_of(view, i);
            size_t b = rank_of(view, j);
            /* Those below the better of the two, without the other. */
            double below = n - 2 - (double)(a < b ? a : b);
            if (view->n >= 4)
                *written++ = below * (below - 1) / 2 / (n * (n - 1) * (n - 2) * (n - 3) / 24) / 3;
            else
                *written++ = (a == 0 || b == 0) / (drawn - 1);
        }
    view_normalise(view, probability);
}

static const char *const ultrafeedback4_aliases[] = {"ultrafeedback", NULL};

const struct sel_rule rule_ultrafeedback4 = {
    .name = "ultrafeedback4",
    .aliases = ultrafeedback4_aliases,
    .formula = "four at random; the best of them with a random other of them",
    .source = "UltraFeedback, arXiv 2310.01377; ActiveUltraFeedback, arXiv 2603.09692",
    .cost = "K^2",
    .traits = SEL_STILL,
    .distribution = ultrafeedback4,
};

/* ---- where a completion comes from ---- */

static bool is_from(const struct sel_view *view, size_t i, enum sel_source source)
{
    return view->inputs[SEL_SOURCE][i] == (double)source;
}

/* Gives `mass` to the allowed pairs of one completion from each source, all alike. False if none.
 */
static bool spread(const struct sel_view *view, enum sel_source one, enum sel_source other,
                   double mass, double *probability)
{
    double fits[2] = {0};
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i + 1 < view->n; i++)
            for (size_t j = i + 1; j < view->n; j++) {
                bool fit = (is_from(view, i, one) && is_from(view, j, other)) ||
                           (is_from(view, i, other) && is_from(view, j, one));
                if (!fit || !view_allows(view, i, j))
                    continue;
                fits[pass]++;
                if (pass == 1)
                    probability[view_index(view, i, j)] += mass / fits[0];
            }
    return fits[0] > 0;
}

static void xpo_src(const struct sel_view *view, double *probability)
{
    view_fill(view, probability, 0);
    spread(view, SEL_FROM_POLICY, SEL_FROM_REFERENCE, 1, probability);
}

static void pilaf_src(const struct sel_view *view, double *probability)
{
    view_fill(view, probability, 0);
    spread(view, SEL_FROM_POLICY, SEL_FROM_POLICY, .5, probability);
    spread(view, SEL_FROM_OPTIMIST, SEL_FROM_PESSIMIST, .5, probability);
    view_normalise(view, probability); /* where one half finds no pair, the other has it all */
}

const struct sel_rule rule_xpo_src = {
    .name = "xpo_src",
    .formula = "uniform among the pairs of one completion of pi and one of pi_ref",
    .source = "XPO, arXiv 2405.21046; arXiv 2411.01493",
    .cost = "K^2",
    .needs = SEL_NEEDS(SEL_SOURCE),
    .traits = SEL_STILL,
    .distribution = xpo_src,
};

const struct sel_rule rule_pilaf_src = {
    .name = "pilaf_src",
    .formula = "half: two of pi; half: one of pi+ and one of pi-",
    .source = "PILAF, arXiv 2502.04270",
    .cost = "K^2",
    .needs = SEL_NEEDS(SEL_SOURCE),
    .traits = SEL_STILL,
    .distribution = pilaf_src,
};

static void oracle_maxmin(const struct sel_view *view, double *scores)
{
    const double *truth = view->inputs[SEL_TRUTH];
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++)
            *scores++ = fabs(truth[i] - truth[j]);
}

const struct sel_rule rule_oracle_maxmin = {
    .name = "oracle_maxmin",
    .formula = "abs(difference of the true rewards)",
    .source = "ActiveUltraFeedback, arXiv 2603.09692; simulations only",
    .cost = "K^2",
    .needs = SEL_NEEDS(SEL_TRUTH),
    .traits = SEL_SIMULATION | SEL_STILL,
    .scores = oracle_maxmin,
};
