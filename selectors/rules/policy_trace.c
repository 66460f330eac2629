/* Policy trace: by how much one label of the pair lowers tr(I S), exactly. */
#include "selectors/rules/rules.h"

#include <stddef.h>

static double score(const struct sel_pair *pair)
{
    return rule_policy_trace_score(pair);
}

static const char *const aliases[] = {"trace_greedy", NULL};

const struct sel_rule rule_policy_trace = {
    .name = "policy_trace",
    .aliases = aliases,
    .formula = "w r / (1 + w q), q = x' S x, r = x' S I S x",
    .source = "derived from Han, Goyal, Ma, arXiv 2606.19607",
    .score = score,
};
