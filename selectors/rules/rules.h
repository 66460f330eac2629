/* The rows of the table of rules.c. One file a family; `rule_NAME` is its row. */
#ifndef SEL_RULES_H
#define SEL_RULES_H

#include "selectors/selectors.h"

#include <math.h>

/* Every rule of the library, in the order of the reference page. */
/* Formatted by hand: clang-format never comes to rest on it. */
/* clang-format off */
#define RULES(ROW) \
    ROW(policy_trace) ROW(aopt) ROW(dopt) ROW(gopt) ROW(dopt_xx) ROW(dopt_logit) ROW(mass_dpo) \
    ROW(min_margin) ROW(max_margin) ROW(target_margin) ROW(mid) ROW(tails) ROW(deltaquantile) ROW(gate) \
    ROW(l2diff) ROW(rmg) ROW(apl) ROW(mi) ROW(ens_var_logit) ROW(var_prob) ROW(kl) ROW(infomax) \
    ROW(deltaucb) ROW(dts) ROW(eets) ROW(drts) ROW(infogain) ROW(baits) ROW(ids_var) ROW(ucb) \
    ROW(maxminlcb) ROW(minmaxucb) ROW(maxmaxucb) ROW(maxwidth) ROW(rucb) ROW(ids) ROW(multisbm) \
    ROW(doubler) ROW(sparring) ROW(uniform) ROW(first2) ROW(most_likely) ROW(pi0_greedy) \
    ROW(pi0_weighted) ROW(best_quantile) ROW(ultrafeedback4) ROW(xpo_src) ROW(pilaf_src) \
    ROW(oracle_maxmin) ROW(trace_fw) ROW(trace_design) ROW(dopt_fw) ROW(list_fw) ROW(gopt_round) \
    ROW(dopt_oneshot) ROW(dopt_topn) ROW(fisher_ratio) ROW(batchbald) ROW(balpm) ROW(kcenter) \
    ROW(max_herding) ROW(uherding) ROW(knn_herding) ROW(div_reward) ROW(kmeans) ROW(duo) \
    ROW(lr_coreset) ROW(dpp)
/* clang-format on */

#define RULE_DECLARATION(name) extern const struct sel_rule rule_##name;
RULES(RULE_DECLARATION)
#undef RULE_DECLARATION

/* The parameter that most rules of bounds share. */
#define RULE_CONFIDENCE                                                                            \
    {                                                                                              \
        .name = "confidence", .fallback = 1, .least = 0, .most = HUGE_VAL,                         \
        .text = "c: width of the bounds in posterior standard deviations"                          \
    }
extern const struct sel_parameter rules_confidence[1];

/* Here so that the picker's scan of the default rule is compiled without a call. */
static inline double rule_policy_trace_score(const struct sel_pair *pair)
{
    return pair->weight * pair->policy / (1 + pair->weight * pair->variance);
}

/* Entropy of an answer of probability sigma(margin), in nats, without cancellation. */
static inline double rule_entropy(double margin)
{
    double size = fabs(margin);
    return log1p(exp(-size)) + size * sel_sigmoid(-size);
}

/* The parameters that a rule works with: those given (NULL: none), else its defaults. False when
 * they are not valid. parameters: SEL_PARAMETERS_MAX values. */
bool rule_parameters(const struct sel_rule *rule, const double *given, double *parameters);

#endif
