#include "sel_fixture.h"

static void the_weight_does_not_underflow_where_sigma_rounds_to_one(void **state)
{
    (void)state;
    fixture_close(sel_weight_plug(40), 4.248354255291589e-18, 1e-12);
    fixture_close(sel_weight_plug(-700), 9.859676543759771e-305, 1e-12);
    fixture_close(sel_weight_plug(1), 0.19661193324148185, 1e-14);
    assert_true(sel_weight_plug(1e6) == 0);
}

static void the_weight_is_symmetric_and_at_most_a_quarter(void **state)
{
    (void)state;
    assert_true(sel_weight_plug(0) == 0.25);
    for (double margin = 0; margin < 700; margin += 0.37) {
        assert_true(sel_weight_plug(margin) == sel_weight_plug(-margin));
        assert_true(sel_weight_probit(margin, 2) == sel_weight_probit(-margin, 2));
        assert_true(sel_weight_lapse(margin, .1) == sel_weight_lapse(-margin, .1));
        assert_true(sel_weight_plug(margin) > 0 && sel_weight_plug(margin) <= 0.25);
        assert_true(sel_weight_lapse(margin, .1) <= sel_weight_plug(margin));
    }
}

static void golden_values_hold(void **state)
{
    (void)state;
    fixture_close(sel_weight_probit(0, .01), 0.24951056717572606, 1e-12);
    fixture_close(sel_weight_probit(0, 1), 0.21184165665015783, 1e-12);
    fixture_close(sel_weight_probit(0, 25), 0.07601110001375305, 1e-12);
    fixture_close(sel_weight_lapse(0, .02), 0.2401, 1e-12);
    fixture_close(sel_weight_lapse(0, .1), 0.2025, 1e-12);
    fixture_close(sel_weight_lapse(0, .3), 0.1225, 1e-12);
    assert_true(sel_weight_lapse(3, 0) == sel_weight_plug(3));
    assert_true(sel_weight_probit(3, 0) == sel_weight_plug(3));
}

static void the_sigmoid_keeps_its_digits_in_both_tails(void **state)
{
    (void)state;
    fixture_close(sel_sigmoid(-700), 9.859676543759771e-305, 1e-12);
    assert_true(sel_sigmoid(0) == 0.5);
    assert_true(sel_sigmoid(800) == 1);
    assert_true(sel_sigmoid(-800) == 0);
    fixture_close(sel_sigmoid(2) + sel_sigmoid(-2), 1, 1e-15);
}

static void each_status_has_its_own_sentence(void **state)
{
    (void)state;
    for (int a = SEL_OK; a <= SEL_NOT_CONVERGED; a++)
        for (int b = SEL_OK; b < a; b++)
            assert_string_not_equal(sel_status_text((enum sel_status)a),
                                    sel_status_text((enum sel_status)b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_weight_does_not_underflow_where_sigma_rounds_to_one),
        cmocka_unit_test(the_weight_is_symmetric_and_at_most_a_quarter),
        cmocka_unit_test(golden_values_hold),
        cmocka_unit_test(the_sigmoid_keeps_its_digits_in_both_tails),
        cmocka_unit_test(each_status_has_its_own_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
