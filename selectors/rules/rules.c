/* The table of rules. A new rule is one name in RULES of rules.h and one file beside this one. */
#include "selectors/rules/rules.h"

#include <string.h>

#define RULE_ENTRY(name) &rule_##name,
static const struct sel_rule *const rules[] = {RULES(RULE_ENTRY)};
#undef RULE_ENTRY

const struct sel_parameter rules_confidence[1] = {RULE_CONFIDENCE};

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

bool sel_rule_is_of_pools(const struct sel_rule *rule)
{
    return rule->score != NULL || rule->scores != NULL || rule->distribution != NULL;
}

bool sel_rule_is_plain(const struct sel_rule *rule)
{
    /* Those that ask for nothing. */
    const unsigned harmless = SEL_IDENTITY | SEL_SIGNED | SEL_SHRINKING | SEL_STILL;
    double values[SEL_PARAMETERS_MAX];
    sel_rule_defaults(rule, values);
    return (rule->score != NULL || rule->scores != NULL) && rule->needs == 0 &&
           (rule->traits & ~harmless) == 0 && sel_rule_check(rule, values, NULL) == SEL_OK;
}

/* ---- parameters and inputs ---- */

void sel_rule_defaults(const struct sel_rule *rule, double *values)
{
    for (size_t k = 0; k < SEL_PARAMETERS_MAX; k++) {
        bool set = k < rule->parameter_count && !rule->parameters[k].required;
        values[k] = set ? rule->parameters[k].fallback : NAN;
    }
}

static enum sel_status check_parameter(const struct sel_parameter *parameter, double value)
{
    if (isnan(value))
        return SEL_MISSING;
    bool whole = !parameter->count || value == floor(value);
    return value >= parameter->least && value <= parameter->most && whole ? SEL_OK : SEL_INVALID;
}

enum sel_status sel_rule_check(const struct sel_rule *rule, const double *values,
                               const struct sel_parameter **which)
{
    for (size_t k = 0; k < rule->parameter_count; k++) {
        enum sel_status status = check_parameter(rule->parameters + k, values[k]);
        if (status == SEL_OK)
            continue;
        if (which != NULL)
            *which = rule->parameters + k;
        return status;
    }
    return SEL_OK;
}

size_t sel_rule_parameter(const struct sel_rule *rule, const char *name)
{
    size_t k = 0;
    while (k < rule->parameter_count && strcmp(rule->parameters[k].name, name) != 0)
        k++;
    return k;
}

const char *sel_input_name(enum sel_input input)
{
    static const char *const names[SEL_INPUTS] = {
        [SEL_LOG_REFERENCE] = "log_reference",
        [SEL_LOG_POLICY] = "log_policy",
        [SEL_SOURCE] = "source",
        [SEL_TRUTH] = "truth",
        [SEL_SECOND_REWARD] = "second_reward",
        [SEL_SECOND_WIDTH] = "second_width",
        [SEL_PREVIOUS] = "previous",
        [SEL_COST] = "cost",
        [SEL_DRAWS] = "draws",
    };
    return (unsigned)input < SEL_INPUTS ? names[input] : NULL;
}

bool sel_refit_due(size_t labels_fitted, size_t labels)
{
    size_t power = 1;
    while (power <= labels_fitted && power <= SIZE_MAX / 2)
        power *= 2;
    return power > labels_fitted && labels >= power;
}

bool rule_parameters(const struct sel_rule *rule, const double *given, double *parameters)
{
    sel_rule_defaults(rule, parameters);
    if (given != NULL)
        memcpy(parameters, given, rule->parameter_count * sizeof *parameters);
    return sel_rule_check(rule, parameters, NULL) == SEL_OK;
}
