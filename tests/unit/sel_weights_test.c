#include "sel_fixture.h"
#include "selectors/weights.h"

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

static void losses_of_clean_labels_keep_their_digits(void **state)
{
    (void)state;
    const double sizes[] = {0, 1e-8, .3, 1, 5, 36, 500, 700}, labels[] = {0, .3, 1};
    for (size_t k = 0; k < 2 * 8 * 3; k++) {
        double margin = (k % 2 == 0 ? 1 : -1) * sizes[k / 2 % 8], y = labels[k / 16];
        double value, slope, weight;
        weights_find_losses(&margin, &y, 1, (struct weights_losses){&value, &slope, &weight});
        long double small = expl(-fabsl((long double)margin));
        long double left = margin >= 0 ? log1pl(small) : log1pl(small) - margin; /* -log sigma(m) */
        long double right = margin >= 0 ? log1pl(small) + margin : log1pl(small);
        fixture_close(value, (double)(y * left + (1 - y) * right), 1e-15 * (1 + fabs(margin)));
        fixture_close(slope, (double)((1 - y) * expl(-left) - y * expl(-right)), 1e-14);
        fixture_close(weight, sel_weight_plug(margin), 1e-13 * weight);
        assert_true(y != .3 || fabs(margin) < 700 || value > 0);
    }
}

static long double exact(double margin, double variance, bool probit, double lapse)
{
    long double kappa = probit ? 1 / sqrtl(1 + acosl(-1) * variance / 8) : 1;
    long double small = expl(-fabsl(kappa * margin));
    long double sigma = 1 / (1 + small);
    long double slope = (1 - (long double)lapse) * small / ((1 + small) * (1 + small));
    if (lapse <= 0)
        return kappa * slope;
    long double likelier = (1 - (long double)lapse) * sigma + (long double)lapse / 2;
    long double other = (1 - (long double)lapse) * small * sigma + (long double)lapse / 2;
    return kappa * (slope / likelier) * (slope / other);
}

static void many_weights_at_once_have_the_same_digits(void **state)
{
    (void)state;
    enum { COUNT = 3001 };
    static double weight[COUNT], margin[COUNT], variance[COUNT];
    const double lapses[] = {0, .02, .3};
    struct sel_random random = sel_random_init(9, 9);
    for (size_t k = 0; k < COUNT; k++) {
        margin[k] = (k % 2 == 0 ? 1 : -1) * 700. * (double)k / COUNT;
        variance[k] = exp(20 * sel_random_uniform(&random) - 12);
    }
    for (size_t l = 0; l < 3; l++)
        for (int probit = 0; probit < 2; probit++) {
            weights_fill(weight, margin, variance, COUNT, probit, lapses[l]);
            for (size_t k = 0; k < COUNT; k++) {
                double expected = (double)exact(margin[k], variance[k], probit, lapses[l]);
                if (expected > 1e-307)
                    fixture_close(weight[k], expected, 1e-15 * (1 + fabs(margin[k])));
            }
            weights_fill(weight, margin, variance, 7, probit, lapses[l]);
            for (size_t k = 0; k < 7; k++)
                margin[k] = -margin[k];
            double again[7];
            weights_fill(again, margin, variance, 7, probit, lapses[l]);
            assert_memory_equal(again, weight, sizeof again);
        }
}

static void the_ends_of_the_range_are_sound(void **state)
{
    (void)state;
    const double margin[8] = {0, -0., 720, -745, 746, INFINITY, -INFINITY, NAN};
    const double variance[8] = {0};
    double weight[8];
    weights_fill(weight, margin, variance, 8, true, 0);
    assert_true(weight[0] == .25 && weight[1] == .25);
    fixture_close(weight[2], exp(-720), 1e-4); /* of few digits by itself */
    assert_true(weight[3] > 0);
    for (size_t k = 4; k < 8; k++)
        assert_true(weight[k] == 0);
}

/* Where the argument needs no rounding, all digits hold. */
static void whole_margins_keep_every_digit(void **state)
{
    (void)state;
    double margin[700], variance[700] = {0}, weight[700];
    for (size_t k = 0; k < 700; k++)
        margin[k] = (double)k;
    weights_fill(weight, margin, variance, 700, false, 0);
    for (size_t k = 0; k < 700; k++)
        fixture_close(weight[k], (double)exact(margin[k], 0, false, 0), 1e-15);
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
        cmocka_unit_test(many_weights_at_once_have_the_same_digits),
        cmocka_unit_test(losses_of_clean_labels_keep_their_digits),
        cmocka_unit_test(the_ends_of_the_range_are_sound),
        cmocka_unit_test(whole_margins_keep_every_digit),
        cmocka_unit_test(each_status_has_its_own_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
