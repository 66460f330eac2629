/* Rules that draw the champion from the posterior (Thompson sampling). With E draws of the rewards
 * let a_i be the share of draws in which i is the best completion and b_i that in which it is the
 * worst, ties to the first. Given the draws, the probability of a pair is exact:
 *
 *   dts, eets    i from a, j from a until it differs:  a_i a_j / (1 - a_i) + a_j a_i / (1 - a_j);
 *                where a_i = 1, j is any other, all alike
 *   drts         i from a, j from b until it differs:  a_i b_j / (1 - b_i), both orders;
 *                where b_i = 1, j is any other
 *   infogain     i from a, j = argmax sigma(D + c s) - sigma(D - c s)
 *   baits        i from a, j = argmax of the variance of p_e(i, j)
 *   ids_var      i from a, j = argmax of the variance of r_e(i) - r_e(j)
 *
 * dts looks at few draws, so that now and then it ends with a uniform challenger. */
#include "selectors/rules/rules.h"
#include "selectors/rules/view.h"

/* Shares of the draws in which each completion comes first by `sign` times its reward. */
static void shares(const struct sel_view *view, double sign, double *share)
{
    for (size_t i = 0; i < view->n; i++)
        share[i] = 0;
    for (size_t e = 0; e < view->draw_count; e++) {
        const double *reward = view->draws + e * view->n;
        size_t best = 0;
        for (size_t i = 1; i < view->n; i++)
            if (sign * reward[i] > sign * reward[best])
                best = i;
        share[best] += 1 / (double)view->draw_count;
    }
}

/* i from `first`, j from `second` until it differs. */
static void duel(const struct sel_view *view, const double *first, const double *second,
                 double *probability)
{
    const double rounding = 1e-12;
    view_fill(view, probability, 0);
    for (size_t i = 0; i < view->n; i++)
        for (size_t j = 0; j < view->n; j++) {
            if (i == j || first[i] <= 0)
                continue;
            double left = 1 - second[i];
            double share = left > rounding ? second[j] / left : 1 / (double)(view->n - 1);
            probability[view_index(view, i, j)] += first[i] * share;
        }
    view_normalise(view, probability);
}

static void dts(const struct sel_view *view, double *probability)
{
    double *best = view->scratch;
    shares(view, 1, best);
    duel(view, best, best, probability);
}

static void drts(const struct sel_view *view, double *probability)
{
    double *best = view->scratch;
    double *worst = view->scratch + view->n;
    shares(view, 1, best);
    shares(view, -1, worst);
    duel(view, best, worst, probability);
}

/* i by its share, j by the largest value against it among the pairs that may be asked. */
static void champion_and_challenger(const struct sel_view *view,
                                    double (*value)(const struct sel_view *view, size_t i,
                                                    size_t j),
                                    double *probability)
{
    double *share = view->scratch;
    shares(view, 1, share);
    view_fill(view, probability, 0);
    for (size_t i = 0; i < view->n; i++) {
        size_t best = view->n;
        double highest = -INFINITY;
        for (size_t j = 0; j < view->n && share[i] > 0; j++) {
            if (!view_allows(view, i, j) || !(value(view, i, j) > highest))
                continue;
            best = j;
            highest = value(view, i, j);
        }
        if (best < view->n)
            probability[view_index(view, i, best)] += share[i];
    }
    view_normalise(view, probability);
}

static double gap(const struct sel_view *view, size_t i, size_t j)
{
    double c = view->parameters[0];
    return view_upper(view, i, j, c) - view_lower(view, i, j, c);
}

/* Variance over the draws of p_e(i, j), or of the margin itself. */
static double variance(const struct sel_view *view, size_t i, size_t j, bool of_probability)
{
    double count = (double)view->draw_count;
    double sum = 0;
    double squares = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t e = 0; e < view->draw_count; e++) {
            double value = view->draws[e * view->n + i] - view->draws[e * view->n + j];
            value = of_probability ? sel_sigmoid(value) : value;
            if (pass == 0)
                sum += value / count;
            else
                squares += (value - sum) * (value - sum) / count;
        }
    return squares;
}

static double probability_variance(const struct sel_view *view, size_t i, size_t j)
{
    return variance(view, i, j, true);
}

static double margin_variance(const struct sel_view *view, size_t i, size_t j)
{
    return variance(view, i, j, false);
}

static void infogain(const struct sel_view *view, double *probability)
{
    champion_and_challenger(view, gap, probability);
}

static void baits(const struct sel_view *view, double *probability)
{
    champion_and_challenger(view, probability_variance, probability);
}

static void ids_var(const struct sel_view *view, double *probability)
{
    champion_and_challenger(view, margin_variance, probability);
}

const struct sel_rule rule_dts = {
    .name = "dts",
    .formula = "i and j the best of two posterior draws, until they differ",
    .source = "Wu, Liu 2016 (double Thompson sampling); ActiveUltraFeedback, arXiv 2603.09692",
    .cost = "E K",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .distribution = dts,
};

const struct sel_rule rule_eets = {
    .name = "eets",
    .formula = "i and j the best of two heads of an ensemble, until they differ",
    .source = "OAT (SEA), arXiv 2411.01493",
    .cost = "E K",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .distribution = dts,
};

const struct sel_rule rule_drts = {
    .name = "drts",
    .formula = "i the best of a posterior draw, j the worst of another, until they differ",
    .source = "ActiveUltraFeedback, arXiv 2603.09692",
    .cost = "E K",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .distribution = drts,
};

const struct sel_rule rule_infogain = {
    .name = "infogain",
    .formula = "i the best of a draw, j = argmax sigma(D + c s) - sigma(D - c s)",
    .source = "ActiveUltraFeedback, arXiv 2603.09692",
    .cost = "E K + K^2",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .parameters = rules_confidence,
    .parameter_count = 1,
    .distribution = infogain,
};

const struct sel_rule rule_baits = {
    .name = "baits",
    .formula = "i the best of a draw, j = argmax of the variance of p_e(i, j)",
    .source = "OAT (SEA), arXiv 2411.01493",
    .cost = "E K^2",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .distribution = baits,
};

const struct sel_rule rule_ids_var = {
    .name = "ids_var",
    .formula = "i the best of a draw, j = argmax of the variance of r_e(i) - r_e(j)",
    .source = "Russo, Van Roy, arXiv 1403.5556 (its variance form); arXiv 2411.01493",
    .cost = "E K^2",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .distribution = ids_var,
};
