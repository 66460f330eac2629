/* Every rule against its slow twin: scores or probabilities of one pool, choices from one list. */
#include "check.h"

#include "selectors/selectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *parameters_of(struct check *check, const json_t *item)
{
    size_t count = check_length(item, "parameters");
    double *values = check_room(check, SEL_PARAMETERS_MAX);
    memcpy(values, check_numbers(check, item, "parameters", count), count * sizeof *values);
    return values;
}

/* ---- one pool ---- */

static uint8_t *forbidden_of(struct check *check, const json_t *item, size_t pairs)
{
    uint8_t *bits = (uint8_t *)check_room(check, pairs / 8 + 1);
    const json_t *list = json_object_get(item, "forbidden");
    for (size_t k = 0; k < json_array_size(list); k++) {
        size_t index = (size_t)json_integer_value(json_array_get(list, k));
        bits[index / 8] = (uint8_t)(bits[index / 8] | 1u << index % 8);
    }
    return bits;
}

static void give_inputs(struct check *check, const json_t *item, struct sel_picker *picker,
                        size_t n)
{
    const json_t *inputs = json_object_get(item, "inputs");
    for (unsigned k = 0; k < SEL_INPUTS; k++) {
        const char *name = sel_input_name((enum sel_input)k);
        if (json_object_get(inputs, name) != NULL)
            check_true(check, name,
                       sel_picker_give(picker, 0, (enum sel_input)k,
                                       check_numbers(check, inputs, name, n)) == SEL_OK);
    }
    size_t draws = check_length(item, "draws");
    check_true(check, "draws",
               sel_picker_give(picker, 0, SEL_DRAWS,
                               check_numbers(check, item, "draws", draws * n)) == SEL_OK);
}

/* null: the pair may not be asked, or the rule never asks it. */
static void check_pool_scores(struct check *check, struct sel_picker *picker, const json_t *scores,
                              size_t n)
{
    size_t index = 0;
    size_t seen = 0;
    double largest = 0;
    struct sel_choice choice;
    for (size_t k = 0; k < json_array_size(scores); k++)
        largest = fmax(largest, fabs(json_number_value(json_array_get(scores, k))));
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++, index++) {
            const json_t *expected = json_array_get(scores, index);
            bool there =
                sel_picker_pair(picker, 0, seen, &choice) && choice.i == i && choice.j == j;
            seen += there;
            if (json_is_number(expected)) {
                check_true(check, "allowed", there);
                check_close(check, "score", choice.score, json_number_value(expected), 1e-8,
                            1e-13 * largest);
            } else {
                check_true(check, "never asked", !there || choice.score == -INFINITY);
            }
        }
}

static void check_pool_probabilities(struct check *check, struct sel_picker *picker,
                                     const json_t *expect, size_t pairs, double tolerance)
{
    const double *expected = check_numbers(check, expect, "probability", pairs);
    double *found = check_room(check, pairs);
    double sum = 0;
    double total = sel_picker_distribution(picker, 0, found);
    for (size_t k = 0; k < pairs; k++) {
        check_close(check, "probability", found[k], expected[k], 1e-8, tolerance);
        sum += found[k];
    }
    check_close(check, "sum", total, sum, 1e-12, 0);
    check_true(check, "at most 1", total <= 1 + 1e-12);
}

static void run_rule(struct check *check, const json_t *item, const struct sel_rule *rule)
{
    const json_t *expect = json_object_get(item, "expect");
    size_t n = (size_t)check_number(check, item, "n");
    size_t d = (size_t)check_number(check, item, "d");
    size_t pairs = n * (n - 1) / 2;
    size_t pool;
    struct sel_picker_options options = {
        .d = d,
        .pools_max = 1,
        .n_max = n,
        .rule = rule,
        .weighting = SEL_WEIGHT_PROBIT,
        .parameters = parameters_of(check, item),
        .beta = check_number(check, item, "beta"),
        .draws_max = check_length(item, "draws"),
    };
    struct sel_information *information = sel_information_new(d);
    struct sel_picker *picker = sel_picker_new(&options);
    check_give_sigma(check, information, check_numbers(check, item, "Sigma", d * d));
    check_true(check, "begin",
               sel_picker_begin(picker, information, check_numbers(check, item, "I", d * d),
                                check_numbers(check, item, "psi", d), 0) == SEL_OK);
    check_true(check, "open",
               sel_picker_open(picker, check_numbers(check, item, "Phi", n * d), n,
                               forbidden_of(check, item, pairs), &pool) == SEL_OK);
    give_inputs(check, item, picker, n);
    const json_t *scores = json_object_get(expect, "scores");
    if (scores != NULL)
        check_pool_scores(check, picker, scores, n);
    else
        check_pool_probabilities(check, picker, expect, pairs,
                                 strcmp(rule->name, "ids") == 0 ? 1e-4 : 1e-12);
    sel_picker_free(picker);
    sel_information_free(information);
}

static void run_cases(struct check *check, const json_t *golden,
                      void (*run)(struct check *check, const json_t *item,
                                  const struct sel_rule *rule))
{
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *item = json_array_get(cases, k);
        const char *name = json_string_value(json_object_get(item, "rule"));
        const struct sel_rule *rule = sel_rule_find(name);
        check_begin(check, name);
        check_true(check, "the rule is known", rule != NULL);
        if (rule != NULL)
            run(check, item, rule);
        check_end(check);
    }
}

void check_rules(struct check *check, const json_t *golden)
{
    run_cases(check, golden, run_rule);
}

/* ---- one list ---- */

static double *inverse_of(struct check *check, const double *sigma, size_t d)
{
    struct sel_information *information = sel_information_new(d);
    double *inverse = check_room(check, d * d);
    check_give_sigma(check, information, sigma);
    memcpy(inverse, sel_information_inverse(information), d * d * sizeof *inverse);
    sel_information_free(information);
    return inverse;
}

static size_t *groups_of(struct check *check, const json_t *item, size_t count, size_t *groups)
{
    const double *values = check_numbers(check, item, "group", count);
    size_t *group = (size_t *)check_room(check, count);
    for (size_t k = 0; k < count; k++) {
        group[k] = (size_t)values[k];
        *groups = group[k] + 1 > *groups ? group[k] + 1 : *groups;
    }
    return group;
}

static struct sel_set read_set(struct check *check, const json_t *item, struct sel_random *random)
{
    struct sel_set set = {.count = (size_t)check_number(check, item, "count"),
                          .d = (size_t)check_number(check, item, "d")};
    set.x = check_numbers(check, item, "x", set.count * set.d);
    set.weight = check_numbers(check, item, "weight", set.count);
    set.margin = check_numbers(check, item, "margin", set.count);
    set.group = groups_of(check, item, set.count, &set.groups);
    set.draw_count = check_length(item, "draws");
    set.draws = check_numbers(check, item, "draws", set.draw_count * set.count);
    set.sigma = check_numbers(check, item, "Sigma", set.d * set.d);
    set.inverse = inverse_of(check, set.sigma, set.d);
    set.policy = check_numbers(check, item, "I", set.d * set.d);
    set.context_d = json_array_size(json_array_get(json_object_get(item, "context"), 0));
    set.context = check_numbers(check, item, "context", set.count * set.context_d);
    set.past_count = check_length(item, "past");
    set.past = check_numbers(check, item, "past", set.past_count * set.context_d);
    *random = sel_random_init((uint64_t)json_integer_value(json_object_get(item, "key")),
                              (uint64_t)json_integer_value(json_object_get(item, "stream")));
    set.random = random;
    return set;
}

static void check_choices(struct check *check, const struct sel_selection *selection,
                          const json_t *expect, double tolerance)
{
    const json_t *chosen = json_object_get(expect, "chosen");
    const json_t *propensity = json_object_get(expect, "propensity");
    check_close(check, "count", (double)selection->count, (double)json_array_size(chosen), 0, 0);
    for (size_t k = 0; k < selection->count && k < json_array_size(chosen); k++) {
        check_close(check, "chosen", (double)selection->chosen[k],
                    (double)json_integer_value(json_array_get(chosen, k)), 0, 0);
        check_close(check, "propensity", selection->propensity[k],
                    json_number_value(json_array_get(propensity, k)), tolerance, 0);
    }
}

static void run_list(struct check *check, const json_t *item, const struct sel_rule *rule)
{
    const json_t *expect = json_object_get(item, "expect");
    struct sel_random random;
    struct sel_set set = read_set(check, item, &random);
    size_t budget = (size_t)check_number(check, item, "budget");
    double tolerance = json_is_true(json_object_get(expect, "loose")) ? 1e-6 : 1e-8;
    struct sel_select_options options = {.rule = rule,
                                         .parameters = parameters_of(check, item),
                                         .largest = set,
                                         .budget_max = budget};
    struct sel_selection selection = {.budget = budget,
                                      .chosen = (size_t *)check_room(check, budget),
                                      .propensity = check_room(check, budget),
                                      .design = check_room(check, set.count)};
    struct sel_select *select = sel_select_new(&options);
    check_true(check, "new", select != NULL);
    check_true(check, "run", sel_select_run(select, &set, &selection) == SEL_OK);
    if (json_object_get(expect, "chosen") != NULL)
        check_choices(check, &selection, expect, tolerance);
    if (json_object_get(expect, "objective") != NULL)
        check_close(check, "objective", selection.objective,
                    check_number(check, expect, "objective"), 1e-7, 0);
    if (json_object_get(expect, "design") != NULL) {
        const double *design = check_numbers(check, expect, "design", set.count);
        for (size_t k = 0; k < set.count; k++)
            check_close(check, "design", selection.design[k], design[k], tolerance, 1e-8);
    }
    sel_select_free(select);
}

void check_lists(struct check *check, const json_t *golden)
{
    run_cases(check, golden, run_list);
}
