/* Rules of the margin D = psi' x alone, or of features and log-probabilities without Sigma.
 *
 *   min_margin     -|D|: the pair whose answer is least certain
 *   max_margin     |D|: best against worst
 *   target_margin  -||D| - m|
 *   mid, tails     -||D| - median| and ||D| - median|, the median over the pool's pairs
 *   l2diff         |x|^2
 *   rmg            |D|, among pairs whose implicit margin
 *                  beta [(log pi - log pi_ref)(better) - (log pi - log pi_ref)(worse)] is below C
 *   apl            |implicit margin|; prompts by predictive entropy, see prompt.c
 *   gate           one of the pairs with |D| <= gamma, each alike; none: the pool is skipped
 *   deltaquantile  one of the pairs whose |D| lies between two quantiles of the pool, each alike */
#include "selectors/rules/rules.h"
#include "selectors/rules/view.h"
#include "selectors/sort.h"

#include <math.h>

static double min_margin(const struct sel_pair *pair)
{
    return -fabs(pair->margin);
}

static double max_margin(const struct sel_pair *pair)
{
    return fabs(pair->margin);
}

static double target_margin(const struct sel_pair *pair)
{
    return -fabs(fabs(pair->margin) - pair->parameters[0]);
}

static const char *const min_margin_aliases[] = {
    "margin", "entropy", "sharp", "w_sharp", "levelset", "bernoulli_variance", NULL};

const struct sel_rule rule_min_margin = {
    .name = "min_margin",
    .aliases = min_margin_aliases,
    .formula = "-abs(D)",
    .source = "uncertainty sampling; Guo et al. 2019; arXiv 2503.22137 (SHARP)",
    .cost = "K^2",
    .traits = SEL_SIGNED | SEL_STILL,
    .score = min_margin,
};

static const char *const max_margin_aliases[] = {"best_vs_worst", "best_worst", "reward_margin",
                                                 NULL};

const struct sel_rule rule_max_margin = {
    .name = "max_margin",
    .aliases = max_margin_aliases,
    .formula = "abs(D)",
    .source = "Muldrew et al., arXiv 2402.08114 (APL); best against worst",
    .cost = "K^2",
    .traits = SEL_STILL,
    .score = max_margin,
};

static const struct sel_parameter target_parameters[] = {
    {.name = "target_margin",
     .required = true,
     .least = 0,
     .most = HUGE_VAL,
     .text = "m: the margin |psi' x| that is sought"},
};

const struct sel_rule rule_target_margin = {
    .name = "target_margin",
    .formula = "-abs(abs(D) - m)",
    .source = "Online_RLHF, arXiv 2502.07193",
    .cost = "K^2",
    .traits = SEL_SIGNED | SEL_STILL,
    .parameters = target_parameters,
    .parameter_count = 1,
    .score = target_margin,
};

/* ---- the pool's own margins ---- */

/* |D| of the allowed pairs in ascending order, in view->scratch; returns how many. */
static size_t sort_margins(const struct sel_view *view)
{
    size_t count = 0;
    for (size_t k = 0; k < view_pairs(view); k++)
        if (view->allowed[k])
            view->scratch[count++] = fabs(view->pairs[k].margin);
    sort_ascending(view->scratch, count);
    return count;
}

/* Between the two nearest of `count` sorted values, linearly. */
static double quantile(const double *sorted, size_t count, double share)
{
    double place = share * (double)(count - 1);
    size_t below = (size_t)place;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]);
}

static void from_median(const struct sel_view *view, double *scores, double sign)
{
    size_t count = sort_margins(view);
    double median = count > 0 ? quantile(view->scratch, count, .5) : 0;
    for (size_t k = 0; k < view_pairs(view); k++)
        scores[k] = sign * fabs(fabs(view->pairs[k].margin) - median);
}

static void mid(const struct sel_view *view, double *scores)
{
    from_median(view, scores, -1);
}

static void tails(const struct sel_view *view, double *scores)
{
    from_median(view, scores, 1);
}

const struct sel_rule rule_mid = {
    .name = "mid",
    .formula = "-abs(abs(D) - median of the pool)",
    .source = "Muldrew et al., arXiv 2402.08114, and its ablations",
    .cost = "K^2 log K",
    .traits = SEL_SIGNED | SEL_STILL,
    .scores = mid,
};

const struct sel_rule rule_tails = {
    .name = "tails",
    .formula = "abs(abs(D) - median of the pool)",
    .source = "Muldrew et al., arXiv 2402.08114, and its ablations",
    .cost = "K^2 log K",
    .traits = SEL_STILL,
    .scores = tails,
};

/* 1 for the pairs with low <= |D| <= high. */
static void within(const struct sel_view *view, double low, double high, double *probability)
{
    for (size_t k = 0; k < view_pairs(view); k++) {
        double margin = fabs(view->pairs[k].margin);
        probability[k] = margin >= low && margin <= high;
    }
    view_normalise(view, probability);
}

static void deltaquantile(const struct sel_view *view, double *probability)
{
    size_t count = sort_margins(view);
    double low = count > 0 ? quantile(view->scratch, count, view->parameters[0]) : 0;
    double high = count > 0 ? quantile(view->scratch, count, view->parameters[1]) : 0;
    within(view, low, high, probability);
}

static void gate(const struct sel_view *view, double *probability)
{
    within(view, 0, view->parameters[0], probability);
}

static const struct sel_parameter quantile_parameters[] = {
    {.name = "quantile_low",
     .fallback = .8,
     .least = 0,
     .most = 1,
     .text = "lower end of the window of |psi' x|"},
    {.name = "quantile_high",
     .fallback = 1,
     .least = 0,
     .most = 1,
     .text = "upper end of the window of |psi' x|"},
};

static const char *const quantile_aliases[] = {"quantile", NULL};

const struct sel_rule rule_deltaquantile = {
    .name = "deltaquantile",
    .aliases = quantile_aliases,
    .formula = "uniform among the pairs with abs(D) between two quantiles of the pool",
    .source = "ActiveUltraFeedback, arXiv 2603.09692",
    .cost = "K^2 log K",
    .traits = SEL_STILL,
    .parameters = quantile_parameters,
    .parameter_count = 2,
    .distribution = deltaquantile,
};

static const struct sel_parameter gate_parameters[] = {
    {.name = "gate",
     .required = true,
     .least = 0,
     .most = HUGE_VAL,
     .text = "gamma: pairs with |psi' x| above it are not asked"},
};

const struct sel_rule rule_gate = {
    .name = "gate",
    .formula = "uniform among the pairs with abs(D) <= gamma; none: skip the pool",
    .source = "Ji et al., arXiv 2402.09401 (APPO); importance by the propensity as in VW",
    .cost = "K^2",
    .traits = SEL_STILL,
    .parameters = gate_parameters,
    .parameter_count = 1,
    .distribution = gate,
};

/* ---- features and log-probabilities ---- */

static void l2diff(const struct sel_view *view, double *scores)
{
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++) {
            const double *left = view->features + i * view->d;
            const double *right = view->features + j * view->d;
            double sum = 0;
            for (size_t k = 0; k < view->d; k++)
                sum += (left[k] - right[k]) * (left[k] - right[k]);
            *scores++ = sum;
        }
}

const struct sel_rule rule_l2diff = {
    .name = "l2diff",
    .formula = "norm(x)^2",
    .source = "Online_RLHF (its \"fisher\"), arXiv 2502.07193",
    .cost = "K^2 d",
    .traits = SEL_STILL,
    .scores = l2diff,
};

static double implicit_margin(const struct sel_view *view, size_t i, size_t j)
{
    const double *policy = view->inputs[SEL_LOG_POLICY];
    const double *reference = view->inputs[SEL_LOG_REFERENCE];
    return view->beta * (policy[i] - reference[i] - policy[j] + reference[j]);
}

static void rmg(const struct sel_view *view, double *scores)
{
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++) {
            double margin = view->reward[i] - view->reward[j];
            double implicit =
                margin >= 0 ? implicit_margin(view, i, j) : implicit_margin(view, j, i);
            *scores++ = implicit < view->parameters[0] ? fabs(margin) : -INFINITY;
        }
}

static const struct sel_parameter rmg_parameters[] = {
    {.name = "implicit_margin",
     .required = true,
     .least = -HUGE_VAL,
     .most = HUGE_VAL,
     .text = "C: pairs whose implicit margin is not below it are not asked"},
};

const struct sel_rule rule_rmg = {
    .name = "rmg",
    .formula = "abs(D) among the pairs with an implicit margin below C",
    .source = "ActiveUltraFeedback, arXiv 2603.09692",
    .cost = "K^2",
    .needs = SEL_NEEDS(SEL_LOG_POLICY) | SEL_NEEDS(SEL_LOG_REFERENCE),
    .traits = SEL_NEEDS_BETA | SEL_STILL,
    .parameters = rmg_parameters,
    .parameter_count = 1,
    .scores = rmg,
};

static void apl(const struct sel_view *view, double *scores)
{
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++)
            *scores++ = fabs(implicit_margin(view, i, j));
}

static const struct sel_parameter apl_parameters[] = {
    {.name = "prompt_share",
     .required = true,
     .least = 0,
     .most = 1,
     .text = "share of the prompts that is kept, those of the largest predictive entropy"},
};

const struct sel_rule rule_apl = {
    .name = "apl",
    .formula = "abs(implicit margin), prompts by predictive entropy -mean log pi",
    .source = "Muldrew et al., arXiv 2402.08114 (APL); arXiv 2411.01493",
    .cost = "K^2",
    .needs = SEL_NEEDS(SEL_LOG_POLICY) | SEL_NEEDS(SEL_LOG_REFERENCE),
    .traits = SEL_NEEDS_BETA | SEL_STILL,
    .parameters = apl_parameters,
    .parameter_count = 1,
    .scores = apl,
};
