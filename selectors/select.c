/* Choosing from a list of candidate pairs. A rule with `score` is run greedily, lazily (lazy.c)
 * where no pick can raise a score, else in panels of picks (greedy.c). Other rules bring their own
 * `select`. Invariant: after an error the selection is empty. */
#include "selectors/greedy.h"
#include "selectors/rules/rules.h"
#include "selectors/selectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sel_select {
    struct sel_select_options options;
    double parameters[SEL_PARAMETERS_MAX];
    double *scratch;
    size_t *integers;
};

static bool is_pair_rule(const struct sel_rule *rule)
{
    return rule->score != NULL && !rule->randomised;
}

static bool is_lazy(const struct sel_rule *rule)
{
    return is_pair_rule(rule) && (rule->traits & SEL_SHRINKING) != 0;
}

static size_t room_of(const struct sel_select_options *options)
{
    const struct sel_set *largest = &options->largest;
    if (is_pair_rule(options->rule))
        return is_lazy(options->rule) ? lazy_room(largest) : greedy_room(largest);
    return options->rule->room == NULL ? 1 : options->rule->room(largest, options->budget_max) + 1;
}

size_t sel_select_bytes(const struct sel_select_options *options)
{
    const struct sel_set *largest = &options->largest;
    return sizeof(struct sel_select) + room_of(options) * sizeof(double) +
           (4 * (largest->count + largest->groups) + 4) * sizeof(size_t);
}

struct sel_select *sel_select_new(const struct sel_select_options *options)
{
    const size_t most = (size_t)1 << 28;
    const struct sel_set *largest = &options->largest;
    if (options->rule == NULL || largest->count == 0 || largest->d == 0 || largest->d > 32768 ||
        largest->count > most / largest->d || options->budget_max == 0 ||
        (options->rule->select == NULL && !is_pair_rule(options->rule)))
        return NULL;
    double parameters[SEL_PARAMETERS_MAX];
    if (!rule_parameters(options->rule, options->parameters, parameters))
        return NULL;
    struct sel_select *select = calloc(1, sizeof *select);
    if (select == NULL)
        return NULL;
    select->options = *options;
    memcpy(select->parameters, parameters, sizeof parameters);
    select->scratch = calloc(room_of(options), sizeof(double));
    select->integers = calloc(4 * (largest->count + largest->groups) + 4, sizeof(size_t));
    if (select->scratch == NULL || select->integers == NULL) {
        sel_select_free(select);
        return NULL;
    }
    return select;
}

void sel_select_free(struct sel_select *select)
{
    if (select == NULL)
        return;
    free(select->scratch);
    free(select->integers);
    free(select);
}

/* ---- checks ---- */

/* Sums that run beside each other, so that a large list is read as fast as memory gives it. */
typedef double lanes __attribute__((vector_size(8 * sizeof(double))));

static bool are_finite(const double *values, size_t count)
{
    lanes sums = {0};
    double sum = 0;
    size_t k = 0;
    for (; values != NULL && k + 8 <= count; k += 8) {
        lanes next;
        memcpy(&next, values + k, sizeof next);
        sums += 0 * next;
    }
    for (; values != NULL && k < count; k++)
        sum += 0 * values[k];
    for (k = 0; k < 8; k++)
        sum += sums[k];
    return sum == 0;
}

static bool fits(const struct sel_set *set, const struct sel_set *largest)
{
    return set->count > 0 && set->count <= largest->count && set->d == largest->d &&
           set->groups <= largest->groups && set->draw_count <= largest->draw_count &&
           set->context_d <= largest->context_d && set->past_count <= largest->past_count;
}

static bool exceeds(const struct sel_select *select, size_t budget)
{
    size_t most = select->options.rule->budget_max;
    return most > 0 && budget > most;
}

static enum sel_status check_set(const struct sel_select *select, const struct sel_set *set,
                                 const struct sel_selection *selection)
{
    if (!fits(set, &select->options.largest) || selection->budget == 0 ||
        selection->budget > select->options.budget_max || exceeds(select, selection->budget))
        return SEL_INVALID;
    if (set->x == NULL || set->weight == NULL || set->margin == NULL || set->inverse == NULL ||
        set->policy == NULL || set->sigma == NULL)
        return SEL_MISSING;
    if ((select->options.rule->needs & SEL_NEEDS(SEL_DRAWS)) != 0 &&
        (set->draws == NULL || set->draw_count == 0))
        return SEL_MISSING;
    for (size_t k = 0; k < set->count; k++)
        if (!(set->weight[k] >= 0) || (set->group != NULL && set->group[k] >= set->groups))
            return SEL_INVALID;
    /* lazy.c reads all x once in any case and looks there. */
    bool finite = (is_lazy(select->options.rule) || are_finite(set->x, set->count * set->d)) &&
                  are_finite(set->weight, set->count) && are_finite(set->margin, set->count) &&
                  are_finite(set->draws, set->draw_count * set->count) &&
                  are_finite(set->context, set->context_d * set->count) &&
                  are_finite(set->past, set->context_d * set->past_count) &&
                  are_finite(set->inverse, set->d * set->d) &&
                  are_finite(set->policy, set->d * set->d);
    return finite ? SEL_OK : SEL_INVALID;
}

/* What a rule of somebody else's may answer. */
static bool is_selection(const struct sel_set *set, const struct sel_selection *selection)
{
    if (selection->count > selection->budget)
        return false;
    for (size_t k = 0; k < selection->count; k++)
        if (selection->chosen[k] >= set->count || !(selection->propensity[k] >= 0))
            return false;
    return true;
}

enum sel_status sel_select_run(struct sel_select *select, const struct sel_set *set,
                               struct sel_selection *selection)
{
    selection->count = 0;
    selection->certificate = 0;
    selection->objective = 0;
    enum sel_status status = check_set(select, set, selection);
    if (status != SEL_OK)
        return status;
    struct sel_set own = *set;
    own.parameters = select->parameters;
    own.scratch = select->scratch;
    own.integers = select->integers;
    if (own.context == NULL) {
        own.context = own.x;
        own.context_d = own.d;
    }
    if (is_lazy(select->options.rule)) {
        status = lazy_run(&own, select->options.rule, selection);
    } else if (is_pair_rule(select->options.rule)) {
        struct greedy greedy = greedy_of(&own, select->options.rule);
        greedy_run(&greedy, selection);
    } else {
        status = select->options.rule->select(&own, selection);
    }
    if (status == SEL_OK && !is_selection(set, selection))
        status = SEL_INVALID;
    if (status != SEL_OK && status != SEL_NOT_CONVERGED)
        selection->count = 0;
    return status;
}
