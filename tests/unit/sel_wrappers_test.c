#include "sel_fixture.h"

enum { ARMS = 6, TRIES = 100000 };

static void chance_keeps_every_allowed_arm_possible(void **state)
{
    (void)state;
    double p[4] = {0, 1, 0, 0};
    const uint8_t allowed[4] = {1, 1, 0, 1};
    assert_int_equal(sel_wrap_mix(p, allowed, 4, .3), SEL_OK);
    fixture_close(p[0], .1, 1e-12);
    fixture_close(p[1], .8, 1e-12);
    assert_true(p[2] == 0);
    assert_int_equal(sel_wrap_mix(p, allowed, 4, 1.1), SEL_INVALID);
    assert_int_equal(sel_wrap_mix(p, allowed, 4, NAN), SEL_INVALID);
    fixture_close(p[3], .1, 1e-12);
}

static void scores_soften_by_their_formulas(void **state)
{
    (void)state;
    const double score[5] = {2, 0, -1, 3, 2};
    const uint8_t allowed[5] = {1, 1, 1, 0, 1};
    double log_weight[5];
    assert_int_equal(sel_wrap_soften(SEL_SOFTMAX, .5, score, allowed, 5, log_weight), SEL_OK);
    fixture_close(log_weight[0], 1, 1e-15);
    fixture_close(log_weight[2], -.5, 1e-15);
    assert_true(log_weight[3] == -INFINITY);
    assert_int_equal(sel_wrap_soften(SEL_POWER, 3, score, allowed, 5, log_weight), SEL_OK);
    fixture_close(log_weight[0], 3 * log(2), 1e-15);
    assert_true(log_weight[1] == -INFINITY && log_weight[2] == -INFINITY);
    assert_int_equal(sel_wrap_soften(SEL_SOFTRANK, 2, score, allowed, 5, log_weight), SEL_OK);
    assert_true(log_weight[0] == 0);
    fixture_close(log_weight[4], -2 * log(2), 1e-15); /* a tie goes to the first */
    fixture_close(log_weight[1], -2 * log(3), 1e-15);
    fixture_close(log_weight[2], -2 * log(4), 1e-15);
    assert_int_equal(sel_wrap_soften(SEL_POWER, -1, score, allowed, 5, log_weight), SEL_INVALID);
}

/* Ranks of as many pairs as a shortlist has, with ties, against a count of who comes before. */
static void ranks_of_many_arms_are_those_of_a_count(void **state)
{
    (void)state;
    enum { MANY = 100000, LOOKED_AT = 200 };
    double *score = malloc(MANY * sizeof *score), *log_weight = malloc(MANY * sizeof *log_weight);
    uint8_t *allowed = malloc(MANY);
    assert_true(score != NULL && log_weight != NULL && allowed != NULL);
    struct sel_random random = sel_random_init(1, 2);
    for (size_t k = 0; k < MANY; k++) {
        score[k] = (double)sel_random_below(&random, 5000);
        allowed[k] = sel_random_below(&random, 10) > 0;
    }
    score[7] = -INFINITY;
    assert_int_equal(sel_wrap_soften(SEL_SOFTRANK, 1, score, allowed, MANY, log_weight), SEL_OK);
    for (size_t i = 0; i < LOOKED_AT; i++) {
        double rank = 1;
        for (size_t j = 0; j < MANY; j++)
            rank += allowed[j] && (score[j] > score[i] || (score[j] == score[i] && j < i));
        if (!allowed[i] || i == 7)
            assert_true(log_weight[i] == -INFINITY);
        else
            fixture_close(log_weight[i], -log(rank), 1e-15);
    }
    free(score);
    free(log_weight);
    free(allowed);
}

/* P(i among the first k) of successive draws, by going through every order. */
static double inclusion_by_orders(const double *weight, size_t k, size_t i, unsigned taken)
{
    double sum = 0;
    double found = 0;
    for (size_t j = 0; j < ARMS; j++)
        sum += (taken >> j & 1) != 0 ? 0 : weight[j];
    for (size_t j = 0; j < ARMS && k > 0; j++) {
        if ((taken >> j & 1) != 0 || !(weight[j] > 0))
            continue;
        double rest = j == i ? 1 : inclusion_by_orders(weight, k - 1, i, taken | 1u << j);
        found += weight[j] / sum * rest;
    }
    return found;
}

static void inclusion_is_exact(void **state)
{
    (void)state;
    const double weight[ARMS] = {1, 2e-3, 40, 3, 0, .5};
    double log_weight[ARMS];
    double inclusion[ARMS];
    double scratch[2 * ARMS];
    for (size_t k = 0; k < ARMS; k++)
        log_weight[k] = log(weight[k]) + 700; /* only differences count */
    for (size_t k = 1; k <= ARMS; k++) {
        double sum = 0;
        sel_gumbel_inclusion(log_weight, ARMS, k, inclusion, scratch);
        for (size_t i = 0; i < ARMS; i++) {
            fixture_below(fabs(inclusion[i] - inclusion_by_orders(weight, k, i, 0)), 1e-10);
            sum += inclusion[i];
        }
        fixture_close(sum, fmin((double)k, 5), 1e-10);
    }
    double first[ARMS];
    sel_gumbel_first(log_weight, ARMS, first);
    fixture_close(first[2], 40 / 44.502, 1e-12);
}

static void draws_are_included_as_often_as_told(void **state)
{
    (void)state;
    const double log_weight[ARMS] = {0, -1, 2, 1, -INFINITY, -3};
    double seen[ARMS] = {0};
    double inclusion[ARMS];
    double scratch[2 * ARMS];
    size_t chosen[ARMS];
    struct sel_random random = sel_random_init(3, 0);
    sel_gumbel_inclusion(log_weight, ARMS, 3, inclusion, scratch);
    for (int t = 0; t < TRIES; t++) {
        assert_int_equal(sel_gumbel_draw(log_weight, ARMS, 3, &random, scratch, chosen), 3);
        for (size_t k = 0; k < 3; k++)
            seen[chosen[k]] += 1. / TRIES;
    }
    for (size_t k = 0; k < ARMS; k++)
        fixture_below(fabs(seen[k] - inclusion[k]), 5 * sqrt(.25 / TRIES));
    assert_int_equal(sel_gumbel_draw(log_weight, ARMS, 9, &random, scratch, chosen), 5);
}

static void prompts_keep_their_quotas(void **state)
{
    (void)state;
    const double score[6] = {5, 4, 4, NAN, 1, 9};
    const size_t domain[6] = {0, 0, 0, 1, 1, 0};
    const size_t quota[2] = {2, 3};
    size_t taken[2];
    size_t chosen[6];
    assert_int_equal(sel_prompt_choose(score, 6, domain, quota, 2, 3, taken, chosen), 3);
    assert_true(chosen[0] == 5 && chosen[1] == 0 && chosen[2] == 4);
    assert_int_equal(sel_shortlist(score, 6, 4, chosen), 4);
    assert_true(chosen[0] == 5 && chosen[1] == 0 && chosen[2] == 1 && chosen[3] == 2);
    const double log_policy[2] = {-1, -4};
    fixture_close(sel_prompt_entropy(log_policy, 2), 2.5, 1e-15);
    fixture_close(sel_prompt_spread(score, 3), 1, 1e-15);
}

/* Of a long stream the share is asked; the last pools are asked whatever they are worth. */
static void the_price_finds_its_share(void **state)
{
    (void)state;
    struct sel_price price = sel_price_defaults();
    struct sel_random random = sel_random_init(4, 0);
    int asked = 0;
    assert_false(sel_price_ask(&price, 2, SIZE_MAX, 10)); /* the first score is the price */
    fixture_close(price.price, 2 * exp(-.025), 1e-12);
    assert_true(sel_price_ask(&price, 2, SIZE_MAX, 10));
    fixture_close(price.price, 2 * exp(.05), 1e-12);
    assert_false(sel_price_ask(&price, 1e9, SIZE_MAX, 0));
    for (int k = 0; k < 20000; k++)
        asked += sel_price_ask(&price, exp(sel_random_normal(&random)), SIZE_MAX, 1);
    fixture_close(asked / 20000., .25, .03);
    assert_true(sel_price_ask(&price, 0, 3, 3));
}

static void reference_probabilities_give_theta_back(void **state)
{
    (void)state;
    enum { ROWS = 9, WIDTH = 3 };
    struct sel_random random = sel_random_init(5, 0);
    const double theta[WIDTH] = {.5, -2, 1};
    double sums[WIDTH * WIDTH] = {0};
    double moments[WIDTH] = {0};
    double row[WIDTH];
    double found[WIDTH];
    for (int prompt = 0; prompt < 4; prompt++) {
        float *phi = fixture_features(&random, ROWS * WIDTH);
        double log_reference[ROWS];
        for (size_t k = 0; k < ROWS; k++) {
            log_reference[k] = -prompt; /* each prompt has a constant of its own */
            for (size_t l = 0; l < WIDTH; l++)
                log_reference[k] += theta[l] * (double)phi[k * WIDTH + l];
        }
        assert_int_equal(sel_reference_add(phi, log_reference, ROWS, WIDTH, sums, moments, row),
                         SEL_OK);
        log_reference[0] = NAN;
        assert_int_equal(sel_reference_add(phi, log_reference, ROWS, WIDTH, sums, moments, row),
                         SEL_INVALID);
        free(phi);
    }
    assert_int_equal(sel_reference_solve(sums, moments, WIDTH, 1e-9, found), SEL_OK);
    for (size_t l = 0; l < WIDTH; l++)
        fixture_close(found[l], theta[l], 1e-8);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_of_many_arms_are_those_of_a_count),
        cmocka_unit_test(chance_keeps_every_allowed_arm_possible),
        cmocka_unit_test(scores_soften_by_their_formulas),
        cmocka_unit_test(inclusion_is_exact),
        cmocka_unit_test(draws_are_included_as_often_as_told),
        cmocka_unit_test(prompts_keep_their_quotas),
        cmocka_unit_test(the_price_finds_its_share),
        cmocka_unit_test(reference_probabilities_give_theta_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
