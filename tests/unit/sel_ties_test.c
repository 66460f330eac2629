/* Davidson's ties: chances, the weight against numerical derivatives and simulation, the fit
 * against a twin in plain C, and the parameter of ties on labels of a known one. */
#include "sel_fixture.h"

#include "selectors/weights.h"

static const double MARGINS[] = {-30, -3, -.7, 0, .2, 1.5, 6, 40};
static const double LAPSES[] = {0, .02, .3};
static const double TIES[] = {1e-3, .3, 1, 4};
enum { COUNT = 8 };

static void chances_are_those_of_davidson(void **state)
{
    (void)state;
    for (size_t m = 0; m < COUNT; m++) {
        for (size_t t = 0; t < 4; t++) {
            double half = exp(MARGINS[m] / 2), total = half + 1 / half + TIES[t];
            struct sel_chances at = sel_tie_chances(MARGINS[m], 0, TIES[t]);
            fixture_close(at.left, half / total, 1e-12);
            fixture_close(at.right, 1 / half / total, 1e-12);
            fixture_close(at.tie, TIES[t] / total, 1e-12);
            struct sel_chances lapsed = sel_tie_chances(MARGINS[m], .2, TIES[t]);
            fixture_close(lapsed.left, .8 * at.left + .1, 1e-12);
            fixture_close(lapsed.left + lapsed.right + lapsed.tie, 1, 1e-12);
        }
        fixture_close(sel_tie_chances(MARGINS[m], 0, 0).left, sel_sigmoid(MARGINS[m]), 1e-12);
        assert_true(sel_tie_chances(MARGINS[m], 0, 0).tie == 0);
    }
}

/* w = E[(d log P / dm)^2]: derivatives by differences. */
static void the_weight_is_the_fisher_information(void **state)
{
    (void)state;
    const double step = 1e-5;
    for (size_t m = 1; m + 1 < COUNT; m++) {
        for (size_t l = 0; l < 3; l++) {
            for (size_t t = 0; t < 4; t++) {
                struct sel_chances low = sel_tie_chances(MARGINS[m] - step, LAPSES[l], TIES[t]);
                struct sel_chances at = sel_tie_chances(MARGINS[m], LAPSES[l], TIES[t]);
                struct sel_chances high = sel_tie_chances(MARGINS[m] + step, LAPSES[l], TIES[t]);
                const double change[] = {high.left - low.left, high.right - low.right,
                                         high.tie - low.tie};
                const double chance[] = {at.left, at.right, at.tie};
                double expected = 0;
                for (int k = 0; k < 3; k++)
                    expected += change[k] / (2 * step) * (change[k] / (2 * step)) / chance[k];
                double weight = sel_weight_tie(MARGINS[m], LAPSES[l], TIES[t]);
                if (fabs(weight - expected) > 1e-6 * expected + 1e-11)
                    fail_msg("m %g lapse %g tie %g: %g, not %g", MARGINS[m], LAPSES[l], TIES[t],
                             weight, expected);
                assert_true(weight > 0 && weight <= .25);
                assert_true(weight == sel_weight_tie(-MARGINS[m], LAPSES[l], TIES[t]));
            }
        }
    }
    for (size_t m = 0; m < COUNT; m++) {
        fixture_close(sel_weight_tie(MARGINS[m], .1, 0), sel_weight_lapse(MARGINS[m], .1), 1e-14);
        fixture_close(sel_weight_tie(MARGINS[m], 0, 1e-18), sel_weight_plug(MARGINS[m]), 1e-6);
    }
    assert_true(sel_weight_tie(2000, 0, 1) >= 0);
    assert_true(sel_weight_tie(INFINITY, 0, 1) == 0);
}

static void many_weights_are_those_of_one(void **state)
{
    (void)state;
    double weight[COUNT], variance[COUNT];
    for (size_t k = 0; k < COUNT; k++)
        variance[k] = .5 * (double)k;
    for (int probit = 0; probit < 2; probit++) {
        weights_fill_ties(weight, MARGINS, variance, COUNT, probit != 0, .1, .8);
        for (size_t k = 0; k < COUNT; k++) {
            double kappa = probit != 0 ? 1 / sqrt(1 + M_PI * variance[k] / 8) : 1;
            fixture_close(weight[k], kappa * sel_weight_tie(kappa * MARGINS[k], .1, .8), 1e-14);
        }
    }
}

/* ---- the fit ---- */

enum { FEATURES = 4 };

struct labels {
    size_t n;
    float *rows;
    const float **x;
    double *y, *weight, *margin, *variance;
    uint32_t *annotator;
};

static struct labels labels_new(size_t n, double lapse, double tie, uint64_t seed)
{
    struct sel_random random = sel_random_init(seed, 0);
    struct labels labels = {.n = n,
                            .rows = fixture_features(&random, n * FEATURES),
                            .x = fixture_room(n, sizeof(float *)),
                            .y = fixture_room(n, sizeof(double)),
                            .weight = fixture_room(n, sizeof(double)),
                            .margin = fixture_room(n, sizeof(double)),
                            .variance = fixture_room(n, sizeof(double)),
                            .annotator = fixture_room(n, sizeof(uint32_t))};
    for (size_t i = 0; i < n; i++) {
        labels.x[i] = labels.rows + i * FEATURES;
        for (size_t k = 0; k < FEATURES; k++)
            labels.margin[i] += (k % 2 == 0 ? 1 : -.5) * (double)labels.x[i][k];
        struct sel_chances chances = sel_tie_chances(labels.margin[i], lapse, tie);
        double u = sel_random_uniform(&random);
        labels.y[i] = u < chances.tie ? .5 : u < chances.tie + chances.left ? 1 : 0;
        labels.weight[i] = i % 5 == 0 ? .5 : 1;
    }
    return labels;
}

static void labels_free(struct labels *labels)
{
    free(labels->rows);
    free(labels->x);
    free(labels->y);
    free(labels->weight);
    free(labels->margin);
    free(labels->variance);
    free(labels->annotator);
}

static double objective(const struct labels *labels, const double *psi, double lapse, double tie)
{
    double value = 0;
    for (size_t k = 0; k < FEATURES; k++)
        value += psi[k] * psi[k] / 2;
    for (size_t i = 0; i < labels->n; i++) {
        double margin = 0, y = labels->y[i];
        for (size_t k = 0; k < FEATURES; k++)
            margin += psi[k] * (double)labels->x[i][k];
        struct sel_chances at = sel_tie_chances(margin, lapse, tie);
        value -= labels->weight[i] *
                 (y == .5 ? log(at.tie) : y * log(at.left) + (1 - y) * log(at.right));
    }
    return value;
}

static void a_fit_with_ties_is_at_the_minimum(void **state)
{
    (void)state;
    for (size_t l = 0; l < 3; l++) {
        struct labels labels = labels_new(150, LAPSES[l], .8, 3 + l);
        labels.y[7] = .7; /* a probability: shares of two sided answers */
        struct sel_preference *preference = sel_preference_new(FEATURES);
        struct sel_preference_options options = sel_preference_defaults(FEATURES);
        struct sel_preference_result result;
        double psi[FEATURES] = {0};
        options.lambda = 1;
        options.lapse = LAPSES[l];
        options.tie = .8;
        options.iterations_max = 200;
        assert_int_equal(sel_preference_fit(preference, labels.x, labels.y, labels.weight, labels.n,
                                            NULL, &options, psi, &result),
                         SEL_OK);
        double found = objective(&labels, psi, LAPSES[l], .8);
        fixture_close(result.objective, found, 1e-10);
        for (size_t k = 0; k < FEATURES; k++) {
            double step = 1e-4, at = psi[k];
            psi[k] = at + step;
            double above = objective(&labels, psi, LAPSES[l], .8);
            psi[k] = at - step;
            double below = objective(&labels, psi, LAPSES[l], .8);
            psi[k] = at;
            assert_true(fabs(above - below) / (2 * step) < 1e-4);
            assert_true(above > found && below > found);
        }
        sel_preference_free(preference);
        labels_free(&labels);
    }
}

/* Without lapses the information is observed, too: Newton needs few steps, and Sigma is the second
 * derivative. */
static void the_information_is_the_curvature(void **state)
{
    (void)state;
    struct labels labels = labels_new(80, 0, 1.2, 11);
    const double psi[FEATURES] = {.5, .3, -.2, .1}, step = 1e-4;
    for (size_t k = 0; k < FEATURES; k++) {
        double moved[FEATURES], values[3], expected = 1;
        for (int side = 0; side < 3; side++) {
            memcpy(moved, psi, sizeof moved);
            moved[k] += step * (side - 1);
            values[side] = objective(&labels, moved, 0, 1.2);
        }
        for (size_t i = 0; i < labels.n; i++) {
            double margin = 0, x = (double)labels.x[i][k];
            for (size_t j = 0; j < FEATURES; j++)
                margin += psi[j] * (double)labels.x[i][j];
            expected += labels.weight[i] * sel_weight_tie(margin, 0, 1.2) * x * x;
        }
        fixture_close((values[0] - 2 * values[1] + values[2]) / (step * step), expected, 1e-5);
    }
    labels_free(&labels);
}

static void without_the_parameter_a_tie_is_half_for_each_side(void **state)
{
    (void)state;
    struct labels labels = labels_new(100, 0, 1, 5);
    struct sel_preference *preference = sel_preference_new(FEATURES);
    struct sel_preference_options options = sel_preference_defaults(FEATURES);
    struct sel_preference_result result;
    double psi[FEATURES] = {0}, value = 0;
    options.lambda = 1;
    sel_preference_fit(preference, labels.x, labels.y, labels.weight, labels.n, NULL, &options, psi,
                       &result);
    for (size_t i = 0; i < labels.n; i++) {
        double margin = 0;
        for (size_t k = 0; k < FEATURES; k++)
            margin += psi[k] * (double)labels.x[i][k];
        value -= labels.weight[i] * (labels.y[i] * log(sel_sigmoid(margin)) +
                                     (1 - labels.y[i]) * log(sel_sigmoid(-margin)));
    }
    for (size_t k = 0; k < FEATURES; k++)
        value += psi[k] * psi[k] / 2;
    fixture_close(result.objective, value, 1e-10);
    options.tie = -1;
    assert_int_equal(sel_preference_fit(preference, labels.x, labels.y, labels.weight, labels.n,
                                        NULL, &options, psi, &result),
                     SEL_INVALID);
    sel_preference_free(preference);
    labels_free(&labels);
}

/* ---- the parameter ---- */

static struct sel_answers answers_of(const struct labels *labels)
{
    return (struct sel_answers){labels->margin,    labels->variance, labels->y, labels->weight,
                                labels->annotator, labels->n,        0};
}

static void the_parameter_of_ties_is_found(void **state)
{
    (void)state;
    for (size_t l = 0; l < 3; l++) {
        for (size_t t = 1; t < 4; t++) {
            struct labels labels = labels_new(6000, LAPSES[l], TIES[t], 20 + 10 * l + t);
            const struct sel_answers answers = answers_of(&labels);
            double found = sel_tie_estimate(&answers, NULL, LAPSES[l]);
            if (fabs(log(found / TIES[t])) > .15)
                fail_msg("lapse %g: tie %g, true %g", LAPSES[l], found, TIES[t]);
            labels_free(&labels);
        }
    }
    struct labels labels = labels_new(500, .1, 0, 4);
    const struct sel_answers answers = answers_of(&labels);
    assert_true(sel_tie_estimate(&answers, NULL, .1) == 0);
    labels_free(&labels);
}

/* Ties take part in what is known of annotators: one who never ties and one who looks. */
static void ties_tell_of_lapses(void **state)
{
    (void)state;
    struct labels labels = labels_new(4000, 0, 1, 8);
    struct sel_random random = sel_random_init(9, 9);
    for (size_t i = 0; i < labels.n; i++) {
        labels.annotator[i] = i % 2;
        if (i % 2 == 1 && sel_random_uniform(&random) < .6)
            labels.y[i] = sel_random_uniform(&random) < .5 ? 1 : 0;
    }
    struct sel_answers answers = answers_of(&labels);
    struct sel_annotator found[3];
    answers.tie = 1;
    assert_int_equal(sel_annotators(&answers, 2, .3, found), SEL_OK);
    for (int a = 0; a < 2; a++)
        if (fabs(found[a].lapse - (a == 0 ? 0 : .6)) > 4 * found[a].lapse_deviation)
            fail_msg("%g +- %g", found[a].lapse, found[a].lapse_deviation);
    labels_free(&labels);
}

static void a_picker_weighs_pairs_with_ties(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(2, 2);
    float *phi = fixture_features(&random, 6 * FEATURES);
    const struct sel_picker_options options = {.d = FEATURES,
                                               .pools_max = 1,
                                               .n_max = 6,
                                               .rule = sel_rule_find("policy_trace"),
                                               .weighting = SEL_WEIGHT_PLUG};
    struct sel_picker *picker = sel_picker_new(&options);
    struct sel_information *information = sel_information_new(FEATURES);
    const double lambda[FEATURES] = {1, 1, 1, 1}, psi[FEATURES] = {1, -.5, 1, -.5};
    double policy[FEATURES * FEATURES] = {0};
    for (size_t k = 0; k < FEATURES; k++)
        policy[k * FEATURES + k] = 1;
    assert_int_equal(sel_information_reset(information, lambda), SEL_OK);
    assert_int_equal(sel_information_factor(information), SEL_OK);
    assert_int_equal(sel_picker_ties(picker, (double)NAN), SEL_INVALID);
    for (int ties = 0; ties < 2; ties++) {
        size_t pool;
        struct sel_choice choice;
        double tie = ties == 0 ? 0 : 1.5;
        assert_int_equal(sel_picker_ties(picker, tie), SEL_OK);
        assert_int_equal(sel_picker_begin(picker, information, policy, psi, .1), SEL_OK);
        assert_int_equal(sel_picker_open(picker, phi, 6, NULL, &pool), SEL_OK);
        for (size_t k = 0; k < sel_picker_allowed(picker, pool); k++) {
            assert_true(sel_picker_pair(picker, pool, k, &choice));
            fixture_close(choice.pair.weight, sel_weight_tie(choice.pair.margin, .1, tie), 1e-13);
        }
    }
    sel_information_free(information);
    sel_picker_free(picker);
    free(phi);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chances_are_those_of_davidson),
        cmocka_unit_test(the_weight_is_the_fisher_information),
        cmocka_unit_test(many_weights_are_those_of_one),
        cmocka_unit_test(a_fit_with_ties_is_at_the_minimum),
        cmocka_unit_test(the_information_is_the_curvature),
        cmocka_unit_test(without_the_parameter_a_tie_is_half_for_each_side),
        cmocka_unit_test(the_parameter_of_ties_is_found),
        cmocka_unit_test(ties_tell_of_lapses),
        cmocka_unit_test(a_picker_weighs_pairs_with_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
