/* Rules of optimal design: what one label of the pair does to the information matrix.
 *
 *   policy_trace  w r / (1 + w q): by how much tr(I S) falls, exactly
 *   aopt          the same with I = Id: by how much tr(S) falls
 *   dopt          log(1 + w q): by how much log det Sigma rises
 *   gopt          q: the widest pair; Sigma holds the weights w
 *   dopt_xx       q where Sigma = lambda Id + sum x x', without weights
 *   dopt_logit    dopt, psi fitted anew whenever the labels have doubled
 *   mass_dpo      dopt among the pairs of the pool's completion of highest reward, the winner
 *
 * The picker updates Sigma, q and r after every pick, and pairs under way are in Sigma already. */
#include "selectors/rules/rules.h"
#include "selectors/rules/view.h"

#include <math.h>
#include <stddef.h>

static double policy_trace(const struct sel_pair *pair)
{
    return rule_policy_trace_score(pair);
}

static double log_determinant(const struct sel_pair *pair)
{
    return log1p(pair->weight * pair->variance);
}

static double variance(const struct sel_pair *pair)
{
    return pair->variance;
}

static const char COST[] = "K d^2 + K^2 d to open, K d + K^2 a pick";

static const char *const policy_trace_aliases[] = {"trace_greedy", NULL};

const struct sel_rule rule_policy_trace = {
    .name = "policy_trace",
    .aliases = policy_trace_aliases,
    .formula = "w r / (1 + w q), q = x' S x, r = x' S I S x",
    .source = "derived from Han, Goyal, Ma, arXiv 2606.19607",
    .cost = COST,
    .score = policy_trace,
};

static const char *const aopt_aliases[] = {"a_opt", NULL};

const struct sel_rule rule_aopt = {
    .name = "aopt",
    .aliases = aopt_aliases,
    .formula = "w r / (1 + w q) with I = Id",
    .source = "A-optimality; Chaloner, Verdinelli 1995",
    .cost = COST,
    .traits = SEL_IDENTITY,
    .score = policy_trace,
};

static const char *const dopt_aliases[] = {"d_opt", NULL};

const struct sel_rule rule_dopt = {
    .name = "dopt",
    .aliases = dopt_aliases,
    .formula = "log(1 + w q)",
    .source = "D-optimality; Kveton et al., arXiv 2503.01076 (ADPO)",
    .cost = COST,
    .traits = SEL_SHRINKING,
    .score = log_determinant,
};

static const char *const gopt_aliases[] = {"g_opt", NULL};

const struct sel_rule rule_gopt = {
    .name = "gopt",
    .aliases = gopt_aliases,
    .formula = "q = x' S x",
    .source = "G-optimality; Kiefer, Wolfowitz 1960",
    .cost = COST,
    .traits = SEL_SHRINKING,
    .score = variance,
};

const struct sel_rule rule_dopt_xx = {
    .name = "dopt_xx",
    .formula = "q = x' S x, Sigma = lambda Id + sum x x' without weights",
    .source = "Das et al., arXiv 2402.10500 (APO); arXiv 2505.19241 (ActiveDPO); arXiv 2502.07193",
    .cost = COST,
    .traits = SEL_UNWEIGHTED | SEL_SHRINKING,
    .score = variance,
};

const struct sel_rule rule_dopt_logit = {
    .name = "dopt_logit",
    .formula = "log(1 + w q), psi fitted anew whenever the labels have doubled",
    .source = "Kveton et al., arXiv 2503.01076 (ADPO)",
    .cost = COST,
    .traits = SEL_REFIT_DOUBLING | SEL_SHRINKING,
    .score = log_determinant,
};

/* The winner is the pool's, whatever pairs were asked: when all of its own were, none is left. */
static void with_winner(const struct sel_view *view, double *scores)
{
    size_t winner = 0;
    for (size_t i = 1; i < view->n; i++)
        winner = view->reward[i] > view->reward[winner] ? i : winner;
    view_fill(view, scores, -INFINITY);
    for (size_t j = 0; j < view->n; j++)
        if (view_allows(view, winner, j)) {
            size_t k = view_index(view, winner, j);
            scores[k] = log_determinant(view->pairs + k);
        }
}

const struct sel_rule rule_mass_dpo = {
    .name = "mass_dpo",
    .formula = "log(1 + w q) among the pairs of the completion of highest reward",
    .source = "MASS-DPO, arXiv 2605.10784, with the weights of pairs",
    .cost = COST,
    .scores = with_winner,
};
