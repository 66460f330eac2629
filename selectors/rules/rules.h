/* The rows of the table of rules.c. One file a family; `rule_NAME` is its row. */
#ifndef SEL_RULES_H
#define SEL_RULES_H

#include "selectors/selectors.h"

extern const struct sel_rule rule_policy_trace;
extern const struct sel_rule rule_uniform;

/* Here so that the picker's scan of the default rule is compiled without a call. */
static inline double rule_policy_trace_score(const struct sel_pair *pair)
{
    return pair->weight * pair->policy / (1 + pair->weight * pair->variance);
}

#endif
