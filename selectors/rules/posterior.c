/* Rules of a posterior: how much its draws, or its width, disagree about the answer. With draws
 * e = 1 ... E of the rewards, m_e = r_e(i) - r_e(j), p_e = sigma(m_e), p = mean of p_e:
 *
 *   mi             H(p) - mean H(p_e): mutual information of the answer and psi (BALD)
 *   kl             mean KL(p_e to p): the same number by another road, kept under its own name
 *   ens_var_logit  variance of m_e
 *   var_prob       variance of p_e
 *   infomax        sigma(D + c s) - sigma(D - c s), s = |x| in Sigma^-1
 *   deltaucb       |D| + c s
 * The variance divides by E: it is that of the ensemble, not an estimate. */
#include "selectors/rules/rules.h"
#include "selectors/rules/view.h"

static double infomax(const struct sel_pair *pair)
{
    double half = pair->parameters[0] * sqrt(pair->variance);
    return sel_sigmoid(pair->margin + half) - sel_sigmoid(pair->margin - half);
}

static double deltaucb(const struct sel_pair *pair)
{
    return fabs(pair->margin) + pair->parameters[0] * sqrt(pair->variance);
}

const struct sel_rule rule_infomax = {
    .name = "infomax",
    .formula = "sigma(D + c s) - sigma(D - c s), s = norm(x) in Sigma^-1",
    .source = "ActiveUltraFeedback, arXiv 2603.09692",
    .cost = "K^2",
    .traits = SEL_SHRINKING,
    .parameters = rules_confidence,
    .parameter_count = 1,
    .score = infomax,
};

const struct sel_rule rule_deltaucb = {
    .name = "deltaucb",
    .formula = "abs(D) + c s",
    .source = "ActiveUltraFeedback, arXiv 2603.09692",
    .cost = "K^2",
    .traits = SEL_SHRINKING,
    .parameters = rules_confidence,
    .parameter_count = 1,
    .score = deltaucb,
};

/* ---- draws ---- */

/* Sums over the draws of one pair. */
struct spread {
    double mean_margin;
    double mean_probability;
    double variance_margin;
    double variance_probability;
    double entropy;    /* mean of H(p_e) */
    double divergence; /* mean of KL(p_e to p) */
};

/* p log(p / q), 0 at p = 0. */
static double relative(double p, double q)
{
    return p > 0 ? p * log(p / q) : 0;
}

static struct spread spread_of(const struct sel_view *view, size_t i, size_t j)
{
    double count = (double)view->draw_count;
    struct spread spread = {0};
    for (size_t e = 0; e < view->draw_count; e++) {
        double margin = view->draws[e * view->n + i] - view->draws[e * view->n + j];
        spread.mean_margin += margin / count;
        spread.mean_probability += sel_sigmoid(margin) / count;
        spread.entropy += rule_entropy(margin) / count;
    }
    for (size_t e = 0; e < view->draw_count; e++) {
        double margin = view->draws[e * view->n + i] - view->draws[e * view->n + j];
        double p = sel_sigmoid(margin);
        double away = margin - spread.mean_margin;
        spread.variance_margin += away * away / count;
        away = p - spread.mean_probability;
        spread.variance_probability += away * away / count;
        spread.divergence += (relative(p, spread.mean_probability) +
                              relative(sel_sigmoid(-margin), 1 - spread.mean_probability)) /
                             count;
    }
    return spread;
}

static void mi(const struct sel_view *view, double *scores)
{
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++) {
            struct spread spread = spread_of(view, i, j);
            double p = spread.mean_probability;
            *scores++ = fmax(0, -relative(p, 1) - relative(1 - p, 1) - spread.entropy);
        }
}

static void kl(const struct sel_view *view, double *scores)
{
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++)
            *scores++ = spread_of(view, i, j).divergence;
}

static void ens_var_logit(const struct sel_view *view, double *scores)
{
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++)
            *scores++ = spread_of(view, i, j).variance_margin;
}

static void var_prob(const struct sel_view *view, double *scores)
{
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++)
            *scores++ = spread_of(view, i, j).variance_probability;
}

static const char *const mi_aliases[] = {"bald", NULL};

const struct sel_rule rule_mi = {
    .name = "mi",
    .aliases = mi_aliases,
    .formula = "H(mean p) - mean H(p) over posterior draws",
    .source = "Houlsby et al., arXiv 1112.5745 (BALD); Guo et al. 2019; arXiv 2406.10023",
    .cost = "E K^2",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .scores = mi,
};

static const char *const kl_aliases[] = {"ens_kl", NULL};

const struct sel_rule rule_kl = {
    .name = "kl",
    .aliases = kl_aliases,
    .formula = "mean KL(p_e to the mixture) over posterior draws",
    .source = "OAT, arXiv 2411.01493",
    .cost = "E K^2",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .scores = kl,
};

static const char *const ens_var_logit_aliases[] = {"ens_var", "var_logit", NULL};

const struct sel_rule rule_ens_var_logit = {
    .name = "ens_var_logit",
    .aliases = ens_var_logit_aliases,
    .formula = "variance of r_e(i) - r_e(j) over posterior draws",
    .source = "OAT, arXiv 2411.01493",
    .cost = "E K^2",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .scores = ens_var_logit,
};

static const char *const var_prob_aliases[] = {"ens_var_prob", NULL};

const struct sel_rule rule_var_prob = {
    .name = "var_prob",
    .aliases = var_prob_aliases,
    .formula = "variance of p_e over posterior draws",
    .source = "OAT, arXiv 2411.01493",
    .cost = "E K^2",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .scores = var_prob,
};
