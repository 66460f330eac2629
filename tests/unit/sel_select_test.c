/* Choosing from lists; and that nothing allocates once the workspace is made. */
#include "counted.h"
#include "sel_world.h"

enum { COUNT = 30, WIDTH = 4, HEADS = 6, BUDGET = 5 };

/* ---- a list ---- */

struct list {
    double x[COUNT * WIDTH];
    double weight[COUNT];
    double margin[COUNT];
    size_t group[COUNT];
    double draws[HEADS * COUNT];
    double *policy;
    struct sel_information *information;
    struct sel_random random;
    struct sel_set set;
};

static void list_fill(struct list *list, uint64_t seed)
{
    struct sel_random random = sel_random_init(seed, 1);
    for (size_t k = 0; k < COUNT; k++) {
        list->weight[k] = .05 + .2 * sel_random_uniform(&random);
        list->margin[k] = sel_random_normal(&random);
        list->group[k] = k % 5;
        for (size_t l = 0; l < WIDTH; l++)
            list->x[k * WIDTH + l] = sel_random_normal(&random);
        for (size_t e = 0; e < HEADS; e++)
            list->draws[e * COUNT + k] = list->margin[k] + sel_random_normal(&random);
    }
    list->policy = fixture_policy(&random, WIDTH);
    list->information = fixture_information(&random, WIDTH, .5, 6);
    list->random = sel_random_init(seed, 2);
    list->set = (struct sel_set){.count = COUNT,
                                 .d = WIDTH,
                                 .x = list->x,
                                 .weight = list->weight,
                                 .margin = list->margin,
                                 .group = list->group,
                                 .groups = 5,
                                 .draws = list->draws,
                                 .draw_count = HEADS,
                                 .sigma = sel_information_sigma(list->information),
                                 .inverse = sel_information_inverse(list->information),
                                 .policy = list->policy,
                                 .random = &list->random};
}

static void list_empty(struct list *list)
{
    free(list->policy);
    sel_information_free(list->information);
}

static struct sel_select *select_new(const struct list *list, const struct sel_rule *rule)
{
    double parameters[SEL_PARAMETERS_MAX];
    sel_rule_defaults(rule, parameters);
    for (size_t k = 0; k < rule->parameter_count; k++)
        if (isnan(parameters[k]))
            parameters[k] = rule->parameters[k].count ? 2 : .7;
    struct sel_select_options options = {
        .rule = rule, .parameters = parameters, .largest = list->set, .budget_max = 20};
    return sel_select_new(&options);
}

struct choices {
    size_t chosen[20];
    double propensity[20];
    double design[COUNT];
    struct sel_selection selection;
};

static enum sel_status choose(const struct list *list, const struct sel_rule *rule,
                              struct choices *choices)
{
    choices->selection = (struct sel_selection){.budget = BUDGET,
                                                .chosen = choices->chosen,
                                                .propensity = choices->propensity,
                                                .design = choices->design};
    if (strcmp(rule->name, "list_fw") == 0)
        choices->selection.budget = 12; /* two lists */
    struct sel_select *select = select_new(list, rule);
    assert_non_null(select);
    int before = allocations;
    enum sel_status status = sel_select_run(select, &list->set, &choices->selection);
    assert_int_equal(allocations, before);
    sel_select_free(select);
    return status;
}

#define FOR_LIST_RULES(rule)                                                                       \
    for (size_t number = 0; (rule = sel_rule_at(number)) != NULL; number++)                        \
        if (rule->select != NULL || (rule->score != NULL && !rule->randomised))

static void choices_are_different_pairs_with_their_chances(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    FOR_LIST_RULES(rule)
    {
        struct list list;
        struct choices choices;
        list_fill(&list, 1);
        assert_int_equal(choose(&list, rule, &choices), SEL_OK);
        assert_true(choices.selection.count > 0);
        assert_true(choices.selection.count <= choices.selection.budget);
        for (size_t k = 0; k < choices.selection.count; k++) {
            assert_true(choices.chosen[k] < COUNT);
            assert_true(choices.propensity[k] > 0 && choices.propensity[k] <= 1 + 1e-12);
            for (size_t l = 0; l < k && strcmp(rule->name, "gopt_round") != 0; l++)
                assert_int_not_equal(choices.chosen[k], choices.chosen[l]);
        }
        list_empty(&list);
    }
}

/* The list backwards gives the same pairs, where nothing is drawn. */
static void the_order_of_the_list_does_not_matter(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    FOR_LIST_RULES(rule)
    {
        struct list plain;
        struct list moved;
        struct choices a;
        struct choices b;
        list_fill(&plain, 2);
        list_fill(&moved, 2);
        for (size_t k = 0; k < COUNT; k++) {
            size_t to = COUNT - 1 - k;
            moved.weight[to] = plain.weight[k];
            moved.margin[to] = plain.margin[k];
            moved.group[to] = plain.group[k];
            memcpy(moved.x + to * WIDTH, plain.x + k * WIDTH, WIDTH * sizeof(double));
            for (size_t e = 0; e < HEADS; e++)
                moved.draws[e * COUNT + to] = plain.draws[e * COUNT + k];
        }
        plain.set.random = NULL; /* rules that draw say so */
        moved.set.random = NULL;
        enum sel_status status = choose(&plain, rule, &a);
        assert_int_equal(choose(&moved, rule, &b), status);
        assert_true(status == SEL_OK || (status == SEL_MISSING && a.selection.count == 0));
        assert_int_equal(a.selection.count, b.selection.count);
        bool sorted = strcmp(rule->name, "gopt_round") == 0;
        for (size_t k = 0; k < a.selection.count; k++) {
            size_t other = sorted ? b.chosen[a.selection.count - 1 - k] : b.chosen[k];
            if (a.chosen[k] != COUNT - 1 - other)
                fail_msg("%s: choice %zu is %zu and %zu", rule->name, k, a.chosen[k],
                         COUNT - 1 - other);
        }
        list_empty(&plain);
        list_empty(&moved);
    }
}

static void bad_lists_choose_nothing(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    FOR_LIST_RULES(rule)
    {
        struct list list;
        struct choices choices;
        list_fill(&list, 3);
        list.x[5] = NAN;
        assert_int_equal(choose(&list, rule, &choices), SEL_INVALID);
        list.x[5] = 1;
        list.weight[4] = -1;
        assert_int_equal(choose(&list, rule, &choices), SEL_INVALID);
        list.weight[4] = .1;
        list.group[3] = 5;
        assert_int_equal(choose(&list, rule, &choices), SEL_INVALID);
        list.group[3] = 0;
        list.set.draws = NULL;
        list.set.draw_count = 0;
        struct sel_select *select = select_new(&list, rule);
        list.set.count = 0;
        choices.selection.budget = BUDGET;
        assert_int_equal(sel_select_run(select, &list.set, &choices.selection), SEL_INVALID);
        list.set.count = COUNT;
        if ((rule->needs & SEL_NEEDS(SEL_DRAWS)) != 0)
            assert_int_equal(sel_select_run(select, &list.set, &choices.selection), SEL_MISSING);
        sel_select_free(select);
        list_empty(&list);
    }
}

/* The greedy run over a list picks what the picker picks. */
static void a_list_and_a_picker_agree(void **state)
{
    (void)state;
    const char *const names[] = {"policy_trace", "aopt", "dopt", "gopt", "infomax"};
    for (size_t r = 0; r < sizeof names / sizeof names[0]; r++) {
        const struct sel_rule *rule = sel_rule_find(names[r]);
        struct world world = world_new(70, D);
        struct sel_picker_options options = options_of(D, 1, N);
        options.rule = rule;
        struct sel_picker *picker = sel_picker_new(&options);
        struct sel_choice choice;
        double x[PAIRS * D];
        double weight[PAIRS];
        double margin[PAIRS];
        size_t pool;
        assert_int_equal(sel_picker_begin(picker, world.information, world.policy, world.psi, 0),
                         SEL_OK);
        assert_int_equal(sel_picker_open(picker, world.phi[0], N, NULL, &pool), SEL_OK);
        for (size_t k = 0; sel_picker_pair(picker, 0, k, &choice); k++) {
            weight[k] = choice.pair.weight;
            margin[k] = choice.pair.margin;
            for (size_t l = 0; l < D; l++)
                x[k * D + l] =
                    (double)world.phi[0][choice.i * D + l] - (double)world.phi[0][choice.j * D + l];
        }
        struct sel_set set = {.count = PAIRS,
                              .d = D,
                              .x = x,
                              .weight = weight,
                              .margin = margin,
                              .sigma = sel_information_sigma(world.information),
                              .inverse = sel_information_inverse(world.information),
                              .policy = world.policy};
        struct sel_select_options list = {.rule = rule, .largest = set, .budget_max = 10};
        size_t chosen[10];
        double propensity[10];
        struct sel_selection selection = {.budget = 10, .chosen = chosen, .propensity = propensity};
        struct sel_select *select = sel_select_new(&list);
        assert_int_equal(sel_select_run(select, &set, &selection), SEL_OK);
        assert_int_equal(selection.count, 10);
        for (size_t k = 0; k < 10; k++) {
            assert_true(sel_picker_best(picker, &choice));
            size_t index = choice.i * N - choice.i * (choice.i + 1) / 2 + choice.j - choice.i - 1;
            assert_int_equal(chosen[k], index);
            assert_int_equal(sel_picker_take(picker, &choice, 1), SEL_OK);
        }
        sel_select_free(select);
        sel_picker_free(picker);
        world_free(&world);
    }
}

static void a_picker_allocates_only_when_it_is_made(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    for (size_t number = 0; (rule = sel_rule_at(number)) != NULL; number++) {
        if (!sel_rule_is_of_pools(rule))
            continue;
        struct world world = world_new(71, D);
        double parameters[SEL_PARAMETERS_MAX];
        double values[16 * N] = {0};
        double probability[PAIRS];
        sel_rule_defaults(rule, parameters);
        for (size_t k = 0; k < rule->parameter_count; k++)
            parameters[k] = isnan(parameters[k]) ? 1 : parameters[k];
        struct sel_picker_options options = options_of(D, 1, N);
        options.rule = rule;
        options.parameters = parameters;
        options.beta = 1;
        struct sel_picker *picker = sel_picker_new(&options);
        struct sel_random random = sel_random_init(1, 2);
        struct sel_choice choice;
        size_t pool;
        int before = allocations;
        sel_picker_begin(picker, world.information, world.policy, world.psi, 0);
        sel_picker_open(picker, world.phi[0], N, NULL, &pool);
        for (unsigned k = 0; k < SEL_COST; k++)
            sel_picker_give(picker, 0, (enum sel_input)k, values);
        sel_picker_distribution(picker, 0, probability);
        if (sel_picker_draw(picker, 0, &random, &choice, NULL))
            assert_int_equal(sel_picker_take(picker, &choice, 1), SEL_OK);
        assert_int_equal(allocations, before);
        sel_picker_free(picker);
        world_free(&world);
    }
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_are_different_pairs_with_their_chances),
        cmocka_unit_test(the_order_of_the_list_does_not_matter),
        cmocka_unit_test(bad_lists_choose_nothing),
        cmocka_unit_test(a_list_and_a_picker_agree),
        cmocka_unit_test(a_picker_allocates_only_when_it_is_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
