#include "sel_fixture.h"

static void the_covariance_follows_the_softmax(void **state)
{
    (void)state;
    const float phi[6] = {1, 0, 0, 2, -1, 1};
    const double logits[3] = {log(.5), log(.25), log(.25)};
    double sums[4] = {0};
    double scratch[6];
    double effective;
    assert_int_equal(sel_policy_moments(phi, 3, 2, logits, 1, sums, &effective, scratch), SEL_OK);
    /* mean (.25, .75); E phi phi' = [.75 -.25; -.25 1.25] */
    fixture_close(sums[0], .75 - .0625, 1e-14);
    fixture_close(sums[2], -.25 - .1875, 1e-14);
    fixture_close(sums[3], 1.25 - .5625, 1e-14);
    fixture_close(effective, 1 / (.25 + .0625 + .0625), 1e-14);
    assert_true(sums[1] == 0);
}

static void moments_add_up_with_their_weights(void **state)
{
    (void)state;
    const float phi[2] = {1, -1};
    double sums[1] = {10};
    double scratch[2];
    double effective;
    assert_int_equal(sel_policy_moments(phi, 2, 1, NULL, 3, sums, &effective, scratch), SEL_OK);
    fixture_close(sums[0], 13, 1e-15);
    fixture_close(effective, 2, 1e-15);
    assert_int_equal(sel_policy_moments(phi, 2, 1, NULL, 0, sums, NULL, scratch), SEL_OK);
    fixture_close(sums[0], 13, 1e-15);
}

static void a_common_offset_costs_no_digits(void **state)
{
    (void)state;
    const float phi[2] = {8388608 + 1, 8388608 - 1};
    double sums[1] = {0};
    double scratch[2];
    assert_int_equal(sel_policy_moments(phi, 2, 1, NULL, 1, sums, NULL, scratch), SEL_OK);
    fixture_close(sums[0], 1, 1e-15);
}

static void far_logits_neither_overflow_nor_divide_by_zero(void **state)
{
    (void)state;
    const float phi[6] = {1, 0, 0, 2, -1, 1};
    const double far[3] = {1e308, -1e308, -INFINITY};
    double sums[4] = {0};
    double scratch[6];
    double effective;
    assert_int_equal(sel_policy_moments(phi, 3, 2, far, 1, sums, &effective, scratch), SEL_OK);
    fixture_close(effective, 1, 1e-15);
    for (int k = 0; k < 4; k++)
        assert_true(sums[k] == 0);
}

static void bad_arguments_change_nothing(void **state)
{
    (void)state;
    float phi[6] = {1, 0, 0, 2, -1, 1};
    const double nothing[3] = {-INFINITY, -INFINITY, -INFINITY};
    const double broken[3] = {0, NAN, 0};
    double sums[4] = {0};
    double scratch[6];
    assert_int_equal(sel_policy_moments(phi, 3, 2, nothing, 1, sums, NULL, scratch), SEL_INVALID);
    assert_int_equal(sel_policy_moments(phi, 3, 2, broken, 1, sums, NULL, scratch), SEL_INVALID);
    assert_int_equal(sel_policy_moments(phi, 3, 2, NULL, NAN, sums, NULL, scratch), SEL_INVALID);
    assert_int_equal(sel_policy_moments(phi, 3, 2, NULL, -1, sums, NULL, scratch), SEL_INVALID);
    assert_int_equal(sel_policy_moments(phi, 0, 2, NULL, 1, sums, NULL, scratch), SEL_INVALID);
    phi[3] = NAN;
    assert_int_equal(sel_policy_moments(phi, 3, 2, NULL, 1, sums, NULL, scratch), SEL_INVALID);
    for (int k = 0; k < 4; k++)
        assert_true(sums[k] == 0);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_covariance_follows_the_softmax),
        cmocka_unit_test(moments_add_up_with_their_weights),
        cmocka_unit_test(a_common_offset_costs_no_digits),
        cmocka_unit_test(far_logits_neither_overflow_nor_divide_by_zero),
        cmocka_unit_test(bad_arguments_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
