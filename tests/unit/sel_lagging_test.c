/* Many open pools: what may lag, and what never does. */
#include "counted.h"
#include "sel_fixture.h"

enum { D = 8, N = 6, PAIRS = N * (N - 1) / 2, MANY = 400 };

/* Pools of different scales before one Sigma, in a picker of their own. */
struct crowd {
    size_t pools;
    float *phi;
    double *psi;
    double *policy;
    struct sel_information *information;
    struct sel_picker *picker;
};

static struct sel_picker_options options_of(size_t pools, size_t lazy_from, const char *rule)
{
    return (struct sel_picker_options){.d = D,
                                       .pools_max = pools,
                                       .n_max = N,
                                       .rule = sel_rule_find(rule),
                                       .weighting = SEL_WEIGHT_PROBIT,
                                       .lazy_from = lazy_from};
}

static const float *pool_of(const struct crowd *crowd, size_t pool)
{
    return crowd->phi + pool * N * D;
}

static struct crowd crowd_new(size_t pools, const struct sel_picker_options *options)
{
    struct sel_random random = sel_random_init(pools, 5);
    struct crowd crowd = {.pools = pools,
                          .phi = fixture_features(&random, pools * N * D),
                          .psi = fixture_normals(&random, D),
                          .policy = fixture_policy(&random, D),
                          .information = fixture_information(&random, D, .5, 2),
                          .picker = sel_picker_new(options)};
    assert_non_null(crowd.picker);
    for (size_t k = 0; k < pools * N * D; k++)
        crowd.phi[k] *= k / (N * D) % 4 == 0 ? 2 : 1;
    assert_int_equal(
        sel_picker_begin(crowd.picker, crowd.information, crowd.policy, crowd.psi, .05), SEL_OK);
    return crowd;
}

static void crowd_open(struct crowd *crowd)
{
    for (size_t k = 0; k < crowd->pools; k++) {
        size_t pool;
        assert_int_equal(sel_picker_open(crowd->picker, pool_of(crowd, k), N, NULL, &pool), SEL_OK);
        assert_int_equal(pool, k);
    }
}

static void crowd_free(struct crowd *crowd)
{
    sel_picker_free(crowd->picker);
    sel_information_free(crowd->information);
    free(crowd->policy);
    free(crowd->psi);
    free(crowd->phi);
}

static double trace_of(const struct crowd *crowd)
{
    return sel_information_trace(crowd->information, crowd->policy);
}

static struct sel_choice pick(struct crowd *crowd)
{
    struct sel_choice choice;
    assert_true(sel_picker_best(crowd->picker, &choice));
    assert_int_equal(sel_picker_take(crowd->picker, &choice, 1), SEL_OK);
    return choice;
}

static void few_pools_are_exact_to_the_last_bit(void **state)
{
    (void)state;
    enum { FEW = 40 };
    struct sel_picker_options small = options_of(FEW, FEW, "policy_trace");
    struct sel_picker_options large = options_of(MANY, FEW, "policy_trace");
    struct crowd exact = crowd_new(FEW, &small);
    struct crowd crowd = crowd_new(FEW, &large);
    crowd_open(&exact);
    crowd_open(&crowd);
    for (int k = 0; k < 60; k++) {
        struct sel_choice a = pick(&exact);
        struct sel_choice b = pick(&crowd);
        assert_true(a.pool == b.pool && a.i == b.i && a.j == b.j && a.score == b.score &&
                    a.pair.variance == b.pair.variance);
    }
    crowd_free(&exact);
    crowd_free(&crowd);
}

static void two_hundred_picks_of_many_pools_lose_less_than_a_hundredth(void **state)
{
    (void)state;
    struct sel_picker_options exactly = options_of(MANY, MANY, "policy_trace");
    struct sel_picker_options lazily = options_of(MANY, 1, "policy_trace");
    struct crowd exact = crowd_new(MANY, &exactly);
    struct crowd lazy = crowd_new(MANY, &lazily);
    crowd_open(&exact);
    crowd_open(&lazy);
    int before = allocations;
    for (int k = 0; k < 200; k++) {
        pick(&exact);
        pick(&lazy);
    }
    assert_int_equal(allocations, before);
    fixture_below(trace_of(&lazy), 1.01 * trace_of(&exact));
    crowd_free(&exact);
    crowd_free(&lazy);
}

/* The choice has the numbers of the present, and of its pool it is the best. */
static void a_lazy_choice_gains_what_it_says(void **state)
{
    (void)state;
    struct sel_picker_options options = options_of(MANY, 1, "policy_trace");
    struct crowd crowd = crowd_new(MANY, &options);
    crowd_open(&crowd);
    for (int k = 0; k < 50; k++) {
        double before = trace_of(&crowd);
        struct sel_choice choice;
        struct sel_choice of;
        assert_true(sel_picker_best(crowd.picker, &choice));
        assert_true(sel_picker_best(crowd.picker, &of));
        assert_memory_equal(&choice, &of, sizeof choice);
        assert_true(sel_picker_best_of(crowd.picker, choice.pool, &of));
        assert_memory_equal(&choice, &of, sizeof choice);
        assert_int_equal(sel_picker_take(crowd.picker, &choice, 1), SEL_OK);
        fixture_close(before - trace_of(&crowd), choice.score, 1e-9);
    }
    crowd_free(&crowd);
}

/* q and r of a pool, asked by `best_of` and by `pair`, beside a picker opened just now. */
static void expect_present(struct crowd *crowd, size_t pool)
{
    struct sel_picker_options options = options_of(1, 0, "policy_trace");
    struct sel_picker *fresh = sel_picker_new(&options);
    struct sel_choice best;
    struct sel_choice old;
    struct sel_choice new;
    size_t number;
    size_t seen = 0;
    double highest = 0;
    assert_int_equal(sel_picker_begin(fresh, crowd->information, crowd->policy, crowd->psi, .05),
                     SEL_OK);
    assert_int_equal(sel_picker_open(fresh, pool_of(crowd, pool), N, NULL, &number), SEL_OK);
    assert_true(sel_picker_best_of(crowd->picker, pool, &best));
    for (size_t k = 0; sel_picker_pair(fresh, 0, k, &new); k++) {
        if (!sel_picker_pair(crowd->picker, pool, seen, &old) || old.i != new.i || old.j != new.j)
            continue; /* picked already */
        seen++;
        fixture_close(old.pair.variance, new.pair.variance, 1e-9);
        fixture_close(old.pair.policy, new.pair.policy, 1e-9);
        double score =
            old.pair.weight * new.pair.policy / (1 + old.pair.weight * new.pair.variance);
        fixture_close(old.score, score, 1e-9);
        highest = fmax(highest, old.score);
    }
    assert_int_equal(seen, sel_picker_allowed(crowd->picker, pool));
    assert_true(best.score == highest);
    sel_picker_free(fresh);
}

static void a_pool_that_is_asked_about_is_up_to_date(void **state)
{
    (void)state;
    struct sel_picker_options options = options_of(MANY, 1, "policy_trace");
    struct crowd crowd = crowd_new(MANY, &options);
    crowd_open(&crowd);
    size_t taken = 0;
    for (int k = 0; k < 60; k++) {
        taken = pick(&crowd).pool;
        if (k % 20 == 19)
            for (size_t pool = 0; pool < MANY; pool += 37)
                expect_present(&crowd, pool);
    }
    expect_present(&crowd, taken);
    crowd_free(&crowd);
}

/* A pool may be picked from without having been looked at before. */
static void a_lagging_pool_may_be_picked_from_and_put_back(void **state)
{
    (void)state;
    struct sel_picker_options options = options_of(MANY, 1, "policy_trace");
    struct crowd crowd = crowd_new(MANY, &options);
    struct sel_choice choice = {.pool = 7, .i = 1, .j = 4};
    struct sel_choice again;
    crowd_open(&crowd);
    for (int k = 0; k < 10; k++)
        pick(&crowd);
    double trace = trace_of(&crowd);
    size_t allowed = sel_picker_allowed(crowd.picker, 7);
    struct sel_choice before;
    assert_true(sel_picker_best_of(crowd.picker, 11, &before));
    assert_int_equal(sel_picker_take(crowd.picker, &choice, .6), SEL_OK);
    assert_int_equal(sel_picker_take(crowd.picker, &choice, .6), SEL_INVALID);
    assert_int_equal(sel_picker_allowed(crowd.picker, 7), allowed - 1);
    expect_present(&crowd, 7);
    struct sel_choice other = pick(&crowd);
    assert_int_equal(sel_picker_put_back(crowd.picker, &other, 1), SEL_OK);
    assert_int_equal(sel_picker_put_back(crowd.picker, &choice, .6), SEL_OK);
    assert_int_equal(sel_picker_put_back(crowd.picker, &choice, .6), SEL_INVALID);
    assert_int_equal(sel_picker_allowed(crowd.picker, 7), allowed);
    fixture_close(trace_of(&crowd), trace, 1e-10);
    assert_true(sel_picker_best_of(crowd.picker, 11, &again));
    fixture_close(again.score, before.score, 1e-9);
    expect_present(&crowd, 7);
    expect_present(&crowd, other.pool);
    /* What was the best and was put back is the best again. */
    assert_true(sel_picker_best(crowd.picker, &again));
    assert_true(again.score >= other.score * (1 - 1e-9));
    crowd_free(&crowd);
}

/* Every third pool has (0, 1) forbidden, every fifth rows 2 and 3 alike. */
static void what_is_forbidden_or_alike_is_never_chosen(void **state)
{
    (void)state;
    const uint8_t forbidden[(PAIRS + 7) / 8] = {1};
    struct sel_picker_options options = options_of(MANY, 1, "policy_trace");
    struct crowd crowd = crowd_new(MANY, &options);
    for (size_t k = 0; k < MANY; k++) {
        float *phi = crowd.phi + k * N * D;
        size_t pool;
        if (k % 3 == 0) /* else it would be the best */
            for (size_t l = 0; l < D; l++)
                phi[l] *= 8;
        if (k % 5 == 0)
            memcpy(phi + 3 * D, phi + 2 * D, D * sizeof *phi);
        assert_int_equal(
            sel_picker_open(crowd.picker, phi, N, k % 3 == 0 ? forbidden : NULL, &pool), SEL_OK);
    }
    uint8_t *chosen = fixture_room(MANY, PAIRS);
    for (int k = 0; k < 500; k++) {
        struct sel_choice choice = pick(&crowd);
        size_t index = choice.i * N - choice.i * (choice.i + 1) / 2 + choice.j - choice.i - 1;
        assert_false(choice.pool % 3 == 0 && choice.i == 0 && choice.j == 1);
        assert_false(choice.pool % 5 == 0 && choice.i == 2 && choice.j == 3);
        assert_int_equal(chosen[choice.pool * PAIRS + index]++, 0);
    }
    free(chosen);
    crowd_free(&crowd);
}

static void the_order_of_pools_does_not_matter(void **state)
{
    (void)state;
    struct sel_picker_options options = options_of(MANY, 1, "policy_trace");
    struct crowd crowd = crowd_new(MANY, &options);
    struct crowd other = crowd_new(MANY, &options);
    for (size_t k = 0; k < MANY; k++)
        memcpy(other.phi + (k * 171 + 5) % MANY * N * D, pool_of(&crowd, k), N * D * sizeof(float));
    crowd_open(&crowd);
    crowd_open(&other);
    for (int k = 0; k < 100; k++) {
        struct sel_choice a = pick(&crowd);
        struct sel_choice b = pick(&other);
        assert_int_equal((a.pool * 171 + 5) % MANY, b.pool);
        assert_true(a.i == b.i && a.j == b.j);
        fixture_close(b.score, a.score, 1e-12);
    }
    crowd_free(&crowd);
    crowd_free(&other);
}

static void equal_pools_go_in_order(void **state)
{
    (void)state;
    struct sel_picker_options options = options_of(MANY, 1, "policy_trace");
    struct crowd crowd = crowd_new(MANY, &options);
    crowd_open(&crowd);
    size_t best = pick(&crowd).pool;
    struct crowd copies = crowd_new(MANY, &options);
    for (size_t k = 3; k < MANY; k += 100)
        memcpy(copies.phi + k * N * D, pool_of(&crowd, best), N * D * sizeof(float));
    crowd_open(&copies);
    assert_int_equal(pick(&copies).pool, best < 3 ? best : 3);
    crowd_free(&crowd);
    crowd_free(&copies);
}

/* Under rules of every shape the choice is the best of its pool, with costs and without. */
static void other_rules_choose_lazily_too(void **state)
{
    (void)state;
    const char *const rules[] = {"dopt", "gopt", "min_margin", "max_margin",
                                 "ucb",  "mi",   "uniform"};
    double cost[N] = {1, 2, 3, 1, 2, 3};
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        for (int costs = 0; costs < 2; costs++) {
            struct sel_picker_options options = options_of(MANY, 1, rules[r]);
            struct crowd crowd = crowd_new(MANY, &options);
            crowd_open(&crowd);
            for (size_t pool = 0; costs && pool < MANY; pool++)
                assert_int_equal(sel_picker_give(crowd.picker, pool, SEL_COST, cost), SEL_OK);
            for (int k = 0; k < 20; k++) {
                struct sel_choice best;
                struct sel_choice of;
                assert_true(sel_picker_best(crowd.picker, &best));
                assert_true(sel_picker_best_of(crowd.picker, best.pool, &of));
                assert_true(of.i == best.i && of.j == best.j && of.score == best.score);
                assert_int_equal(sel_picker_take(crowd.picker, &best, 1), SEL_OK);
            }
            crowd_free(&crowd);
        }
}

/* Drained to the last pair, and as good as new in the next round. */
static void pools_end_and_begin_again(void **state)
{
    (void)state;
    enum { FEW = 5 };
    struct sel_picker_options options = options_of(FEW, 1, "policy_trace");
    struct crowd crowd = crowd_new(FEW, &options);
    struct sel_choice choice;
    for (int round = 0; round < 2; round++) {
        crowd_open(&crowd);
        for (int k = 0; k < FEW * PAIRS; k++)
            pick(&crowd);
        assert_false(sel_picker_best(crowd.picker, &choice));
        assert_false(sel_picker_best_of(crowd.picker, 3, &choice));
        sel_picker_clear(crowd.picker);
        assert_false(sel_picker_best(crowd.picker, &choice));
    }
    crowd_free(&crowd);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_pools_are_exact_to_the_last_bit),
        cmocka_unit_test(two_hundred_picks_of_many_pools_lose_less_than_a_hundredth),
        cmocka_unit_test(a_lazy_choice_gains_what_it_says),
        cmocka_unit_test(a_pool_that_is_asked_about_is_up_to_date),
        cmocka_unit_test(a_lagging_pool_may_be_picked_from_and_put_back),
        cmocka_unit_test(what_is_forbidden_or_alike_is_never_chosen),
        cmocka_unit_test(the_order_of_pools_does_not_matter),
        cmocka_unit_test(equal_pools_go_in_order),
        cmocka_unit_test(other_rules_choose_lazily_too),
        cmocka_unit_test(pools_end_and_begin_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
