/* What holds of every rule that it applies to. */
#include "sel_world.h"

enum { DRAWS = 12 };

/* A pool with all that a rule may ask for. */
struct stage {
    size_t n;
    size_t d;
    float *phi;
    double *psi;
    double *policy;
    struct sel_information *information;
    double *inputs[SEL_INPUTS];
};

static struct stage stage_new(uint64_t seed, size_t n, size_t d)
{
    struct sel_random random = sel_random_init(seed, 77);
    struct stage stage = {.n = n,
                          .d = d,
                          .phi = fixture_features(&random, n * d),
                          .psi = fixture_normals(&random, d),
                          .policy = fixture_policy(&random, d),
                          .information = fixture_information(&random, d, .5, d)};
    for (unsigned k = 0; k < SEL_INPUTS; k++)
        stage.inputs[k] = fixture_normals(&random, n * (k == SEL_DRAWS ? DRAWS : 1));
    for (size_t i = 0; i < n; i++) {
        stage.inputs[SEL_SOURCE][i] = (double)(i % 4);
        stage.inputs[SEL_PREVIOUS][i] = i == n / 2;
        stage.inputs[SEL_SECOND_WIDTH][i] = fabs(stage.inputs[SEL_SECOND_WIDTH][i]);
        stage.inputs[SEL_COST][i] = 1 + fabs(stage.inputs[SEL_COST][i]);
    }
    return stage;
}

static void stage_free(struct stage *stage)
{
    free(stage->phi);
    free(stage->psi);
    free(stage->policy);
    sel_information_free(stage->information);
    for (unsigned k = 0; k < SEL_INPUTS; k++)
        free(stage->inputs[k]);
}

/* Values within every range for the parameters without a default. */
static void parameters_of(const struct sel_rule *rule, double *values)
{
    sel_rule_defaults(rule, values);
    for (size_t k = 0; k < rule->parameter_count; k++)
        if (isnan(values[k]))
            values[k] = fmin(fmax(rule->parameters[k].count ? 3 : .9, rule->parameters[k].least),
                             rule->parameters[k].most);
}

static struct sel_picker *picker_new(const struct stage *stage, const struct sel_rule *rule)
{
    double parameters[SEL_PARAMETERS_MAX];
    parameters_of(rule, parameters);
    struct sel_picker_options options = {.d = stage->d,
                                         .pools_max = 2,
                                         .n_max = stage->n,
                                         .rule = rule,
                                         .weighting = SEL_WEIGHT_PROBIT,
                                         .parameters = parameters,
                                         .beta = .5,
                                         .draws_max = DRAWS};
    struct sel_picker *picker = sel_picker_new(&options);
    assert_non_null(picker);
    return picker;
}

static void open_pool(const struct stage *stage, struct sel_picker *picker, bool costs)
{
    size_t pool;
    assert_int_equal(sel_picker_begin(picker, stage->information, stage->policy, stage->psi, 0),
                     SEL_OK);
    assert_int_equal(sel_picker_open(picker, stage->phi, stage->n, NULL, &pool), SEL_OK);
    for (unsigned k = 0; k < SEL_INPUTS; k++)
        if (k != SEL_COST || costs)
            assert_int_equal(sel_picker_give(picker, pool, (enum sel_input)k, stage->inputs[k]),
                             SEL_OK);
}

static size_t index_of(size_t n, size_t i, size_t j)
{
    size_t low = i < j ? i : j;
    size_t high = i < j ? j : i;
    return low * n - low * (low + 1) / 2 + high - low - 1;
}

/* Score, or probability, of every pair of the stage's pool; -INFINITY where it may not be asked. */
static double *evaluate(const struct stage *stage, const struct sel_rule *rule, bool costs)
{
    size_t pairs = stage->n * (stage->n - 1) / 2;
    double *values = fixture_room(pairs, sizeof *values);
    struct sel_picker *picker = picker_new(stage, rule);
    struct sel_choice choice;
    open_pool(stage, picker, costs);
    for (size_t k = 0; k < pairs; k++)
        values[k] = -INFINITY;
    if (rule->distribution != NULL || rule->randomised) {
        double sum = sel_picker_distribution(picker, 0, values);
        assert_true(sum >= 0 && sum <= 1 + 1e-12);
    } else {
        for (size_t k = 0; sel_picker_pair(picker, 0, k, &choice); k++)
            values[index_of(stage->n, choice.i, choice.j)] = choice.score;
    }
    sel_picker_free(picker);
    return values;
}

#define FOR_POOL_RULES(rule)                                                                       \
    for (size_t number = 0; (rule = sel_rule_at(number)) != NULL; number++)                        \
        if (sel_rule_is_of_pools(rule))

/* Completion i goes to place order[i]; with the order reversed, left and right change places. */
static void permute(struct stage *stage, const size_t *order)
{
    size_t n = stage->n;
    float *phi = fixture_room(n * stage->d, sizeof *phi);
    for (size_t i = 0; i < n; i++)
        memcpy(phi + order[i] * stage->d, stage->phi + i * stage->d, stage->d * sizeof *phi);
    memcpy(stage->phi, phi, n * stage->d * sizeof *phi);
    free(phi);
    for (unsigned k = 0; k < SEL_INPUTS; k++)
        for (size_t e = 0; e < (k == SEL_DRAWS ? DRAWS : 1); e++) {
            double row[16];
            for (size_t i = 0; i < n; i++)
                row[order[i]] = stage->inputs[k][e * n + i];
            memcpy(stage->inputs[k] + e * n, row, n * sizeof *row);
        }
}

static void rules_do_not_depend_on_the_order_of_completions(void **state)
{
    (void)state;
    const size_t orders[2][7] = {{6, 5, 4, 3, 2, 1, 0}, {3, 6, 0, 5, 1, 4, 2}};
    const struct sel_rule *rule;
    FOR_POOL_RULES(rule)
    {
        if (strcmp(rule->name, "first2") == 0)
            continue; /* the order is what it looks at */
        for (size_t o = 0; o < 2; o++) {
            struct stage plain = stage_new(3, 7, 5);
            struct stage moved = stage_new(3, 7, 5);
            permute(&moved, orders[o]);
            double *a = evaluate(&plain, rule, false);
            double *b = evaluate(&moved, rule, false);
            for (size_t i = 0; i < 7; i++)
                for (size_t j = i + 1; j < 7; j++) {
                    double left = a[index_of(7, i, j)];
                    double right = b[index_of(7, orders[o][i], orders[o][j])];
                    if (left != right && !(fabs(left - right) <= 1e-9 * (1 + fabs(left))))
                        fail_msg("%s: pair (%zu, %zu): %g and %g", rule->name, i, j, left, right);
                }
            free(a);
            free(b);
            stage_free(&plain);
            stage_free(&moved);
        }
    }
}

static void copies_are_never_asked(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    FOR_POOL_RULES(rule)
    {
        struct stage stage = stage_new(4, 6, 4);
        memcpy(stage.phi + 4 * 4, stage.phi, 4 * sizeof(float));
        double *values = evaluate(&stage, rule, false);
        bool drawn = rule->distribution != NULL || rule->randomised;
        assert_true(values[index_of(6, 0, 4)] == (drawn ? 0 : -INFINITY));
        free(values);
        stage_free(&stage);
    }
}

/* 1e5 draws fall as often as their probabilities say, skips included. */
static void draws_fall_as_their_probabilities_say(void **state)
{
    (void)state;
    enum { TRIES = 100000, ROWS = 5, ALL = ROWS * (ROWS - 1) / 2 };
    const struct sel_rule *rule;
    FOR_POOL_RULES(rule)
    {
        if (rule->distribution == NULL && !rule->randomised)
            continue;
        struct stage stage = stage_new(5, ROWS, 3);
        struct sel_picker *picker = picker_new(&stage, rule);
        struct sel_random random = sel_random_init(6, number);
        double probability[ALL];
        double seen[ALL] = {0};
        open_pool(&stage, picker, false);
        sel_picker_distribution(picker, 0, probability);
        for (int k = 0; k < TRIES; k++) {
            struct sel_choice choice;
            double told;
            if (!sel_picker_draw(picker, 0, &random, &choice, &told))
                continue;
            assert_true(choice.i < choice.j);
            assert_true(told == probability[index_of(ROWS, choice.i, choice.j)]);
            seen[index_of(ROWS, choice.i, choice.j)] += 1. / TRIES;
        }
        for (size_t k = 0; k < ALL; k++) {
            double p = probability[k];
            if (fabs(seen[k] - p) > 5 * sqrt(p * (1 - p) / TRIES) + 1e-9)
                fail_msg("%s: pair %zu: %g drawn, %g told", rule->name, k, seen[k], p);
        }
        sel_picker_free(picker);
        stage_free(&stage);
    }
}

static void expect_sound(const struct stage *stage, const struct sel_rule *rule)
{
    double *values = evaluate(stage, rule, false);
    for (size_t k = 0; k < stage->n * (stage->n - 1) / 2; k++)
        if (isnan(values[k]) || values[k] == INFINITY ||
            (rule->distribution != NULL && !(values[k] >= 0 && values[k] <= 1 + 1e-12)))
            fail_msg("%s: n = %zu, d = %zu: pair %zu has %g", rule->name, stage->n, stage->d, k,
                     values[k]);
    free(values);
}

/* One feature, two completions, 256 completions, features of 1e-30 and 1e15, margins that end every
 * doubt, a policy information of rank one, more features than labels. */
static void extremes_leave_sound_numbers(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        size_t d;
        double scale;
        double psi;
        bool singular;
    } cases[] = {{2, 1, 1, 1, false},    {2, 8, 1, 1, true},     {256, 2, 1, 1, false},
                 {6, 4, 1e-30, 1, true}, {6, 4, 1e15, 1, false}, {6, 4, 1, 1e4, false},
                 {4, 40, 1, 1, true}};
    const struct sel_rule *rule;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct stage stage = stage_new(7 + c, cases[c].n, cases[c].d);
        for (size_t k = 0; k < stage.n * stage.d; k++)
            stage.phi[k] *= (float)cases[c].scale;
        for (size_t k = 0; k < stage.d; k++)
            stage.psi[k] *= cases[c].psi;
        for (size_t k = 0; cases[c].singular && k < stage.d * stage.d; k++)
            stage.policy[k] = 1;
        FOR_POOL_RULES(rule)
        {
            expect_sound(&stage, rule);
        }
        stage_free(&stage);
    }
}

static void nothing_is_found_before_the_inputs_are_given(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    struct stage stage = stage_new(8, 5, 3);
    FOR_POOL_RULES(rule)
    {
        struct sel_picker *picker = picker_new(&stage, rule);
        struct sel_choice choice;
        size_t pool;
        assert_int_equal(sel_picker_begin(picker, stage.information, stage.policy, stage.psi, 0),
                         SEL_OK);
        assert_int_equal(sel_picker_open(picker, stage.phi, stage.n, NULL, &pool), SEL_OK);
        if ((rule->needs & ~SEL_NEEDS(SEL_DRAWS)) != 0) {
            double probability[10];
            assert_false(sel_picker_best(picker, &choice));
            assert_true(sel_picker_distribution(picker, 0, probability) == 0);
            assert_true(sel_picker_pair(picker, 0, 3, &choice));
            assert_true(choice.score == -INFINITY);
        }
        stage.inputs[SEL_COST][0] *= -1;
        assert_int_equal(sel_picker_give(picker, pool, SEL_COST, stage.inputs[SEL_COST]),
                         SEL_INVALID);
        stage.inputs[SEL_COST][0] *= -1;
        sel_picker_free(picker);
    }
    stage_free(&stage);
}

/* Costs that are alike change no order; a pair that costs more is worth less. */
static void costs_divide_the_gain(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    struct stage stage = stage_new(9, 5, 3);
    for (size_t i = 0; i < 5; i++)
        stage.inputs[SEL_COST][i] = i == 2 ? 3 : 1;
    FOR_POOL_RULES(rule)
    {
        if (rule->distribution != NULL || rule->randomised)
            continue;
        double *plain = evaluate(&stage, rule, false);
        double *priced = evaluate(&stage, rule, true);
        for (size_t i = 0; i < 5; i++)
            for (size_t j = i + 1; j < 5; j++) {
                size_t k = index_of(5, i, j);
                double cost = stage.inputs[SEL_COST][i] + stage.inputs[SEL_COST][j];
                if (isfinite(plain[k]))
                    fixture_close(priced[k], plain[k] >= 0 ? plain[k] / cost : plain[k] * cost,
                                  1e-12);
            }
        free(plain);
        free(priced);
    }
    stage_free(&stage);
}

/* A price is put on scores below 0 otherwise, so a rule must say that it has such. */
static void only_signed_rules_score_below_zero(void **state)
{
    (void)state;
    enum { STAGES = 60, RULES_MAX = 200 };
    bool below[RULES_MAX] = {false};
    const struct sel_rule *rule;
    for (size_t s = 0; s < STAGES; s++) {
        struct stage stage = stage_new(100 + s, 3 + s % 6, 1 + s % 5);
        FOR_POOL_RULES(rule)
        {
            if (rule->distribution != NULL || rule->randomised)
                continue;
            assert_true(number < RULES_MAX);
            double *scores = evaluate(&stage, rule, false);
            for (size_t k = 0; k < stage.n * (stage.n - 1) / 2; k++) {
                bool negative = isfinite(scores[k]) && scores[k] < 0;
                if (negative && (rule->traits & SEL_SIGNED) == 0)
                    fail_msg("%s scores %g", rule->name, scores[k]);
                below[number] = below[number] || negative;
            }
            free(scores);
        }
        stage_free(&stage);
    }
    for (size_t k = 0; (rule = sel_rule_at(k)) != NULL; k++)
        if ((rule->traits & SEL_SIGNED) != 0 && !below[k])
            fail_msg("%s never scores below 0", rule->name);
}

/* Draws made by the library have the covariance of the posterior, before and after picks. */
static void posterior_draws_follow_the_picks(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct stage stage = stage_new(10, 4, 3);
    struct sel_picker_options options = {.d = 3,
                                         .pools_max = 2,
                                         .n_max = 4,
                                         .rule = sel_rule_find("ens_var_logit"),
                                         .draws_max = MANY};
    struct sel_picker *picker = sel_picker_new(&options);
    struct sel_choice choice;
    size_t pool;
    sel_picker_seed(picker, 11, 12);
    assert_int_equal(sel_picker_begin(picker, stage.information, stage.policy, stage.psi, 0),
                     SEL_OK);
    assert_int_equal(sel_picker_open(picker, stage.phi, 4, NULL, &pool), SEL_OK);
    for (int pick = 0; pick < 4; pick++) {
        if (pick == 3) /* a pool opened after picks */
            assert_int_equal(sel_picker_open(picker, stage.phi, 4, NULL, &pool), SEL_OK);
        for (size_t k = 0; sel_picker_pair(picker, pool, k, &choice); k++)
            fixture_close(choice.score, choice.pair.variance, 6 * sqrt(2. / MANY));
        assert_true(sel_picker_best_of(picker, 0, &choice));
        assert_int_equal(sel_picker_take(picker, &choice, 1), SEL_OK);
    }
    sel_picker_free(picker);
    stage_free(&stage);
}

static void a_pick_put_back_leaves_no_trace(void **state)
{
    (void)state;
    struct world world = world_new(60, D);
    world_open(&world);
    double trace = sel_information_trace(world.information, world.policy);
    struct sel_choice before[PAIRS];
    struct sel_choice choice;
    for (size_t k = 0; k < PAIRS; k++)
        assert_true(sel_picker_pair(world.picker, 1, k, before + k));
    struct sel_choice taken[6];
    for (size_t k = 0; k < 6; k++) {
        assert_true(sel_picker_best_of(world.picker, k % POOLS, taken + k));
        assert_int_equal(sel_picker_take(world.picker, taken + k, .7), SEL_OK);
    }
    for (size_t k = 6; k-- > 0;)
        assert_int_equal(sel_picker_put_back(world.picker, taken + k, .7), SEL_OK);
    assert_int_equal(sel_picker_put_back(world.picker, taken, .7), SEL_INVALID);
    fixture_close(sel_information_trace(world.information, world.policy), trace, 1e-10);
    for (size_t k = 0; k < PAIRS; k++) {
        assert_true(sel_picker_pair(world.picker, 1, k, &choice));
        fixture_close(choice.pair.variance, before[k].pair.variance, 1e-10);
        fixture_close(choice.pair.policy, before[k].pair.policy, 1e-10);
    }
    world_free(&world);
}

static void parameters_are_checked(void **state)
{
    (void)state;
    double values[SEL_PARAMETERS_MAX];
    const struct sel_parameter *which = NULL;
    const struct sel_rule *rule = sel_rule_find("target_margin");
    sel_rule_defaults(rule, values);
    assert_int_equal(sel_rule_check(rule, values, &which), SEL_MISSING);
    assert_string_equal(which->name, "target_margin");
    values[0] = -1;
    assert_int_equal(sel_rule_check(rule, values, &which), SEL_INVALID);
    values[0] = 2;
    assert_int_equal(sel_rule_check(rule, values, NULL), SEL_OK);
    assert_int_equal(sel_rule_parameter(rule, "target_margin"), 0);
    assert_int_equal(sel_rule_parameter(rule, "other"), 1);
    struct sel_picker_options options = options_of(3, 1, 4);
    options.rule = rule;
    assert_null(sel_picker_new(&options));
    options.rule = sel_rule_find("most_likely"); /* without beta */
    assert_null(sel_picker_new(&options));
    options.rule = sel_rule_find("kcenter"); /* not of pools */
    assert_null(sel_picker_new(&options));
    assert_true(sel_rule_is_plain(sel_rule_find("ucb")));
    assert_true(sel_rule_is_plain(sel_rule_find("dopt")));
    assert_false(sel_rule_is_plain(sel_rule_find("dopt_xx")));
    assert_false(sel_rule_is_plain(sel_rule_find("mi")));
}

static void labels_double_before_a_refit(void **state)
{
    (void)state;
    const size_t fitted[] = {0, 1, 1, 2, 3, 4, 5, 64};
    const size_t labels[] = {1, 1, 2, 3, 4, 7, 9, 127};
    const bool due[] = {true, false, true, false, true, false, true, false};
    for (size_t k = 0; k < sizeof due; k++)
        assert_int_equal(sel_refit_due(fitted[k], labels[k]), due[k]);
}

static void the_parts_of_a_choice_have_names(void **state)
{
    (void)state;
    struct world world = world_new(61, D);
    world_open(&world);
    struct sel_choice choice;
    struct sel_part parts[SEL_PARTS];
    assert_true(sel_picker_best(world.picker, &choice));
    size_t count = sel_picker_explain(world.picker, &choice, parts);
    assert_int_equal(count, 7);
    assert_string_equal(parts[0].name, "score");
    assert_true(parts[0].value == choice.score);
    assert_string_equal(parts[4].name, "margin");
    fixture_close(parts[5].value - parts[6].value, parts[4].value, 1e-12);
    world_free(&world);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_do_not_depend_on_the_order_of_completions),
        cmocka_unit_test(copies_are_never_asked),
        cmocka_unit_test(draws_fall_as_their_probabilities_say),
        cmocka_unit_test(extremes_leave_sound_numbers),
        cmocka_unit_test(nothing_is_found_before_the_inputs_are_given),
        cmocka_unit_test(costs_divide_the_gain),
        cmocka_unit_test(only_signed_rules_score_below_zero),
        cmocka_unit_test(posterior_draws_follow_the_picks),
        cmocka_unit_test(a_pick_put_back_leaves_no_trace),
        cmocka_unit_test(parameters_are_checked),
        cmocka_unit_test(labels_double_before_a_refit),
        cmocka_unit_test(the_parts_of_a_choice_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
