/* The rule of selection: found by name or loaded, its parameters gathered from the options, and
 * what the other options of selection demand of it. */
#include "engine/inputs.h"
#include "nearest.h"
#include "options_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding it ---- */

static bool unknown_rule(const char *option, const char *name, struct error *error)
{
    struct nearest nearest = {0};
    const struct sel_rule *rule;
    for (size_t k = 0; (rule = sel_rule_at(k)) != NULL; k++) {
        nearest_offer(&nearest, name, rule->name);
        for (const char *const *alias = rule->aliases; alias != NULL && *alias != NULL; alias++)
            nearest_offer(&nearest, name, *alias);
    }
    return error_set(error, ERROR_FATAL, "%s: unknown rule '%.80s'; the nearest valid name is '%s'",
                     option, name, nearest.name);
}

static bool load_plugin(struct options *options, struct error *error)
{
    char message[256];
    if (options->selection_plugin[0] == '\0' || options->plugin != NULL)
        return true;
    options->plugin =
        sel_rule_load(options->selection_plugin, &options->rule, message, sizeof message);
    if (options->plugin == NULL)
        return error_set(error, ERROR_FATAL, "selection.plugin: %s", message);
    if (strcmp(options->rule->name, options->selection_rule) != 0)
        return error_set(error, ERROR_FATAL,
                         "selection.rule: '%.80s' is not the rule of selection.plugin, '%.80s'",
                         options->selection_rule, options->rule->name);
    return true;
}

static bool find_rule(struct options *options, struct error *error)
{
    if (!load_plugin(options, error))
        return false;
    if (options->plugin != NULL)
        return true;
    options->rule = sel_rule_find(options->selection_rule);
    if (options->rule == NULL)
        return unknown_rule("selection.rule", options->selection_rule, error);
    /* Workers that name one rule differently still agree: the digest sees its own name. */
    char *name = strdup(options->rule->name);
    if (name == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    free(options->selection_rule);
    options->selection_rule = name;
    return true;
}

/* ---- its parameters ---- */

/* "confidence, buffer", or "none". */
static const char *list_parameters(const struct sel_rule *rule, char text[256])
{
    size_t used = (size_t)snprintf(text, 256, "%s", rule->parameter_count == 0 ? "none" : "");
    for (size_t k = 0; k < rule->parameter_count && used < 256; k++)
        used += (size_t)snprintf(text + used, 256 - used, "%s%s", k == 0 ? "" : ", ",
                                 rule->parameters[k].name);
    return text;
}

static bool is_general(const struct option_row *row)
{
    return strcmp(row->name, "selection.prompt_share") == 0;
}

/* The number behind "name=" of an item of selection.parameters. */
static bool take_item(const struct options *options, const char *item, double *values,
                      struct error *error)
{
    const struct sel_rule *rule = options->rule;
    char name[OPTION_NAME_SIZE], text[256], *end;
    size_t size = strcspn(item, "=");
    snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : sizeof name - 1), item);
    double value = item[size] == '=' ? strtod(item + size + 1, &end) : (double)NAN;
    if (item[size] != '=' || end == item + size + 1 || *end != '\0' || !isfinite(value))
        return error_set(error, ERROR_FATAL,
                         "selection.parameters: '%.80s' is not of the form name=number", item);
    size_t place = sel_rule_parameter(rule, name);
    if (place == rule->parameter_count)
        return error_set(error, ERROR_FATAL,
                         "selection.parameters: the rule %s has no '%s'; its parameters: %s",
                         rule->name, name, list_parameters(rule, text));
    values[place] = value;
    return true;
}

static bool take_row(struct options *options, const struct option_row *row, double *values,
                     struct error *error)
{
    const struct sel_rule *rule = options->rule;
    const double *member = option_member(options, row);
    size_t place = sel_rule_parameter(rule, row->name + option_group(row) + 1);
    char text[256];
    if (isnan(*member))
        return true;
    if (place < rule->parameter_count)
        values[place] = *member;
    else if (!is_general(row))
        return error_set(error, ERROR_FATAL,
                         "%s: the rule %s has no such parameter; its parameters: %s", row->name,
                         rule->name, list_parameters(rule, text));
    return true;
}

static bool check_values(const struct options *options, struct error *error)
{
    const struct sel_parameter *which = NULL;
    enum sel_status status = sel_rule_check(options->rule, options->rule_parameters, &which);
    if (status == SEL_OK)
        return true;
    double value = options->rule_parameters[which - options->rule->parameters];
    if (status == SEL_MISSING)
        return error_set(error, ERROR_FATAL,
                         "selection.%s: must be given, the rule %s has no default for it (%s)",
                         which->name, options->rule->name, which->text);
    return error_set(error, ERROR_FATAL, "selection.%s: %g is not %s from %g to %g", which->name,
                     value, which->count ? "a whole number" : "a number", which->least,
                     which->most);
}

/* Rows without a value get that of the rule, so that workers agree who gives a default and who does
 * not. */
static void put_back(struct options *options)
{
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        if (!row->parameter)
            continue;
        size_t place = sel_rule_parameter(options->rule, row->name + option_group(row) + 1);
        if (place < options->rule->parameter_count)
            *(double *)option_member(options, row) = options->rule_parameters[place];
    }
    if (isnan(options->selection_prompt_share))
        options->selection_prompt_share = 1;
}

static bool gather_parameters(struct options *options, struct error *error)
{
    double *values = options->rule_parameters;
    sel_rule_defaults(options->rule, values);
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++)
        if (row->parameter && !take_row(options, row, values, error))
            return false;
    for (size_t k = 0; k < options->selection_parameters.count; k++)
        if (!take_item(options, options->selection_parameters.items[k], values, error))
            return false;
    if (!check_values(options, error))
        return false;
    put_back(options);
    return true;
}

bool options_check_parameters(struct error *error)
{
    const struct sel_rule *rule;
    for (size_t r = 0; (rule = sel_rule_at(r)) != NULL; r++) {
        for (size_t k = 0; k < rule->parameter_count; k++) {
            const struct sel_parameter *parameter = rule->parameters + k;
            char name[OPTION_NAME_SIZE];
            snprintf(name, sizeof name, "selection.%s", parameter->name);
            const struct option_row *row = option_find(name);
            if (row == NULL || !row->parameter)
                return error_set(error, ERROR_FATAL, "%s: no option, but a parameter of %s", name,
                                 rule->name);
            if (row->minimum != fmax(parameter->least, -1e300) ||
                row->maximum != fmin(parameter->most, 1e300))
                return error_set(error, ERROR_FATAL, "%s: its range is not that of %s", name,
                                 rule->name);
        }
    }
    return true;
}

/* ---- what selection demands of it ---- */

static bool unfit(const struct options *options, const char *option, const char *why,
                  struct error *error)
{
    char value[64];
    options_text(options, option, value, sizeof value);
    return error_set(error, ERROR_FATAL, "%s: %s does not go with the rule %s, %s", option, value,
                     options->rule->name, why);
}

/* ---- the rule to compare with ---- */

/* Only one that looks at nothing but features, and needs no parameter to be given. */
static bool find_rival(struct options *options, struct error *error)
{
    const char *name = options->accounting_rule;
    options->rival = NULL;
    if (name[0] == '\0')
        return true;
    const struct sel_rule *rule = sel_rule_find(name);
    if (rule == NULL)
        return unknown_rule("accounting.rule", name, error);
    double parameters[SEL_PARAMETERS_MAX];
    bool free_of_options = true;
    sel_rule_defaults(rule, parameters);
    for (size_t k = 0; k < rule->parameter_count; k++)
        free_of_options = free_of_options && !isnan(parameters[k]);
    if (!sel_rule_is_of_pools(rule) || rule->randomised || rule->distribution != NULL ||
        rule->needs != 0 || !free_of_options)
        return error_set(error, ERROR_FATAL,
                         "accounting.rule: '%.80s' is not a rule of scores that looks at features "
                         "alone and has a default for every parameter",
                         name);
    if (options->selection_when != WHEN_SLOTS || !sel_rule_is_of_pools(options->rule) ||
        options->rule->randomised || options->rule->distribution != NULL ||
        options->rule->needs != 0)
        return error_set(error, ERROR_FATAL,
                         "accounting.rule: can only be compared with a rule of scores that looks "
                         "at features alone, under selection.when = slots; selection.rule is %.80s",
                         options->rule->name);
    options->rival = rule;
    return true;
}

bool options_check_rule(struct options *options, struct error *error)
{
    if (!find_rule(options, error) || !gather_parameters(options, error) ||
        !find_rival(options, error))
        return false;
    const struct sel_rule *rule = options->rule;
    bool list = !sel_rule_is_of_pools(rule);
    bool drawn = rule->randomised || rule->distribution != NULL;
    if (list && options->selection_when != WHEN_SLOTS)
        return unfit(options, "selection.when",
                     "which chooses from the pairs of many pools at once", error);
    if (drawn && options->selection_when == WHEN_PRICE)
        return unfit(options, "selection.when", "which has no score to be held against a price",
                     error);
    if ((list || drawn) && options->selection_draw != DRAW_BEST)
        return unfit(options, "selection.draw", "which has no scores of pairs", error);
    if (options->selection_draw == DRAW_POWER && (rule->traits & SEL_SIGNED) != 0)
        return unfit(options, "selection.draw", "whose scores may be below 0", error);
    size_t side =
        options->selection_list < options->pool_max ? options->selection_list : options->pool_max;
    if ((rule->traits & SEL_GROUPS) != 0 && options->selection_candidates < side * (side - 1) / 2)
        return unfit(options, "selection.candidates",
                     "whose lists have more pairs (selection.list)", error);
    int64_t most = options->budget_burst < options->budget_in_flight ? options->budget_burst
                                                                     : options->budget_in_flight;
    if (options->selection_batch > most)
        return error_set(error, ERROR_FATAL,
                         "selection.batch: %lld slots are never open at once with budget.burst = "
                         "%lld and budget.in_flight = %lld",
                         (long long)options->selection_batch, (long long)options->budget_burst,
                         (long long)options->budget_in_flight);
    return true;
}

void options_needs(const struct sel_rule *rule, char text[OPTIONS_NEEDS_SIZE])
{
    size_t used = 0;
    text[0] = '\0';
    for (int k = 0; k < SEL_INPUTS; k++) {
        const char *field = inputs_field((enum sel_input)k);
        if (field == NULL || (rule->needs & SEL_NEEDS(k)) == 0)
            continue;
        used += (size_t)snprintf(text + used, OPTIONS_NEEDS_SIZE - used, "%s%s",
                                 used == 0 ? "" : ", ", field);
    }
}

bool options_require_worker(const struct options *options, struct error *error)
{
    if ((options->rule->traits & SEL_SIMULATION) != 0)
        return error_set(error, ERROR_FATAL,
                         "selection.rule: %s looks at true rewards, which only a simulation has",
                         options->rule->name);
    return options_require(options, error, "kafka.brokers", "policy.beta", NULL) &&
           options_require_budget(options, error);
}
