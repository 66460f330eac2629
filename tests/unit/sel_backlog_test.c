/* Pools that follow picks late have the numbers of those that follow at once, bit for bit. */
#include "sel_fixture.h"

enum { D = 6, N = 5, PAIRS = N * (N - 1) / 2, CROWD = 9, FEW = 6, PICKS = 70, DRAWS = 4 };

/* One of two pickers before the same pools: `prompt` looks at all of them after every pick. */
struct side {
    struct sel_information *information;
    struct sel_picker *picker;
    size_t open; /* pools */
};

struct twins {
    float *phi;
    double *psi, *policy;
    double *inputs[SEL_INPUTS];
    struct side prompt, late;
};

static void open_pool(const struct twins *twins, const struct sel_rule *rule, bool costs,
                      struct side *side)
{
    size_t pool;
    size_t k = side->open++;
    assert_int_equal(sel_picker_open(side->picker, twins->phi + k * N * D, N, NULL, &pool), SEL_OK);
    for (unsigned input = 0; input < SEL_DRAWS; input++)
        if ((rule->needs & SEL_NEEDS(input)) != 0 || (costs && input == SEL_COST))
            assert_int_equal(sel_picker_give(side->picker, pool, (enum sel_input)input,
                                             twins->inputs[input] + k * N),
                             SEL_OK);
}

static struct side side_new(const struct twins *twins, const struct sel_rule *rule, bool costs)
{
    struct sel_random random = sel_random_init(3, 4);
    double parameters[SEL_PARAMETERS_MAX];
    sel_rule_defaults(rule, parameters);
    for (size_t k = 0; k < rule->parameter_count; k++)
        if (isnan(parameters[k]))
            parameters[k] = fmin(fmax(.9, rule->parameters[k].least), rule->parameters[k].most);
    const struct sel_picker_options options = {.d = D,
                                               .pools_max = CROWD,
                                               .n_max = N,
                                               .rule = rule,
                                               .parameters = parameters,
                                               .beta = .5,
                                               .draws_max = DRAWS};
    struct side side = {fixture_information(&random, D, .5, 3), sel_picker_new(&options), 0};
    assert_non_null(side.picker);
    sel_picker_seed(side.picker, 5, 6);
    assert_int_equal(
        sel_picker_begin(side.picker, side.information, twins->policy, twins->psi, .05), SEL_OK);
    while (side.open < FEW)
        open_pool(twins, rule, costs, &side);
    return side;
}

static void side_free(struct side *side)
{
    sel_picker_free(side->picker);
    sel_information_free(side->information);
}

static struct twins twins_new(void)
{
    struct sel_random random = sel_random_init(7, 8);
    struct twins twins = {.phi = fixture_features(&random, CROWD * N * D),
                          .psi = fixture_normals(&random, D),
                          .policy = fixture_policy(&random, D)};
    for (unsigned k = 0; k < SEL_DRAWS; k++)
        twins.inputs[k] = fixture_normals(&random, CROWD * N);
    for (size_t i = 0; i < CROWD * N; i++) {
        twins.inputs[SEL_SOURCE][i] = (double)(i % 4);
        twins.inputs[SEL_PREVIOUS][i] = i % N == 2;
        twins.inputs[SEL_SECOND_WIDTH][i] = fabs(twins.inputs[SEL_SECOND_WIDTH][i]);
        twins.inputs[SEL_COST][i] = 1 + fabs(twins.inputs[SEL_COST][i]);
    }
    /* A completion twice in a pool, and a pool twice. */
    memcpy(twins.phi + 3 * N * D, twins.phi + (3 * N + 1) * D, D * sizeof *twins.phi);
    memcpy(twins.phi + 5 * N * D, twins.phi + 4 * N * D, N * D * sizeof *twins.phi);
    return twins;
}

static void twins_free(struct twins *twins)
{
    for (unsigned k = 0; k < SEL_DRAWS; k++)
        free(twins->inputs[k]);
    free(twins->policy);
    free(twins->psi);
    free(twins->phi);
}

static void assert_same(const struct sel_choice *left, const struct sel_choice *right)
{
    assert_int_equal(left->pool, right->pool);
    assert_int_equal(left->i, right->i);
    assert_int_equal(left->j, right->j);
    assert_memory_equal(&left->score, &right->score, sizeof left->score);
    assert_memory_equal(&left->pair.variance, &right->pair.variance, sizeof(double));
    assert_memory_equal(&left->pair.policy, &right->pair.policy, sizeof(double));
}

/* What a late pool offers at most, against what a prompt one offers. */
static void check_bounds(const struct twins *twins)
{
    struct sel_choice choice;
    for (size_t k = 0; k < twins->late.open; k++)
        if (sel_picker_best_of(twins->prompt.picker, k, &choice))
            assert_true(sel_picker_bound(twins->late.picker, k) >= choice.score);
}

static void take(const struct twins *twins, const struct sel_choice *choice, double share)
{
    assert_int_equal(sel_picker_take(twins->prompt.picker, choice, share), SEL_OK);
    assert_int_equal(sel_picker_take(twins->late.picker, choice, share), SEL_OK);
}

static void put_back(const struct twins *twins, const struct sel_choice *choice, double share)
{
    assert_int_equal(sel_picker_put_back(twins->prompt.picker, choice, share), SEL_OK);
    assert_int_equal(sel_picker_put_back(twins->late.picker, choice, share), SEL_OK);
}

/* By the probabilities of a pool that has not been looked at for long. */
static void check_distribution(const struct twins *twins, size_t pool)
{
    double prompt[PAIRS], late[PAIRS];
    double sum = sel_picker_distribution(twins->prompt.picker, pool, prompt);
    assert_true(sel_picker_distribution(twins->late.picker, pool, late) == sum);
    assert_memory_equal(prompt, late, sizeof prompt);
}

static void run(struct twins *twins, const struct sel_rule *rule, bool costs)
{
    bool found = true;
    twins->prompt = side_new(twins, rule, costs);
    twins->late = side_new(twins, rule, costs);
    for (size_t k = 0; k < PICKS && found; k++) {
        struct sel_choice choice, same;
        if (k % 8 == 7 && twins->late.open < CROWD) { /* more come in the middle of a round */
            open_pool(twins, rule, costs, &twins->prompt);
            open_pool(twins, rule, costs, &twins->late);
        }
        check_bounds(twins);
        found = sel_picker_best(twins->late.picker, &choice);
        assert_int_equal(sel_picker_best(twins->prompt.picker, &same), found);
        if (!found)
            break;
        assert_same(&choice, &same);
        take(twins, &choice, .7);
        if (k % 16 == 9) { /* which raises the scores of others again, of those looked at too */
            for (size_t pool = 0; pool < twins->late.open; pool += 2)
                sel_picker_best_of(twins->late.picker, pool, &same);
            put_back(twins, &choice, .7);
            check_bounds(twins);
            take(twins, &choice, .7);
        }
    }
    for (size_t k = 0; k < twins->late.open; k++)
        check_distribution(twins, k);
    side_free(&twins->late);
    side_free(&twins->prompt);
}

static void late_pools_equal_prompt_ones(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    struct twins twins = twins_new();
    for (size_t number = 0; (rule = sel_rule_at(number)) != NULL; number++) {
        if (!sel_rule_is_of_pools(rule))
            continue;
        run(&twins, rule, false);
        run(&twins, rule, true);
    }
    twins_free(&twins);
}

/* Only the first pool is ever asked for a pair: the others miss more picks than are kept. */
static void no_pick_is_missed(void **state)
{
    (void)state;
    struct twins twins = twins_new();
    twins.prompt = side_new(&twins, sel_rule_find("var_prob"), false);
    twins.late = side_new(&twins, sel_rule_find("var_prob"), false);
    for (size_t k = 0; k < PICKS; k++) {
        struct sel_choice choice;
        check_bounds(&twins);
        assert_true(sel_picker_choice(twins.late.picker, 0, k % 2, 2 + k % 3, &choice));
        take(&twins, &choice, .2);
        put_back(&twins, &choice, .1);
    }
    for (size_t k = 0; k < FEW; k++) {
        struct sel_choice prompt, late;
        assert_true(sel_picker_best_of(twins.prompt.picker, k, &prompt));
        assert_true(sel_picker_best_of(twins.late.picker, k, &late));
        assert_same(&prompt, &late);
        assert_true(sel_picker_bound(twins.late.picker, k) == late.score);
    }
    assert_true(sel_picker_bound(twins.late.picker, CROWD) == -INFINITY);
    side_free(&twins.late);
    side_free(&twins.prompt);
    twins_free(&twins);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_pools_equal_prompt_ones),
        cmocka_unit_test(no_pick_is_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
