/* The table of rules. A new rule is one row here and one file beside this one. */
#include "selectors/rules/rules.h"

#include <string.h>

static const struct sel_rule *const rules[] = {
    &rule_policy_trace,
    &rule_uniform,
};

static bool answers_to(const struct sel_rule *rule, const char *name)
{
    if (strcmp(rule->name, name) == 0)
        return true;
    for (const char *const *alias = rule->aliases; alias != NULL && *alias != NULL; alias++)
        if (strcmp(*alias, name) == 0)
            return true;
    return false;
}

const struct sel_rule *sel_rule_find(const char *name)
{
    for (size_t k = 0; name != NULL && k < sizeof rules / sizeof rules[0]; k++)
        if (answers_to(rules[k], name))
            return rules[k];
    return NULL;
}

const struct sel_rule *sel_rule_at(size_t k)
{
    return k < sizeof rules / sizeof rules[0] ? rules[k] : NULL;
}
