#include "sel_fixture.h"

struct labels {
    size_t n;
    size_t d;
    float *features;
    const float **x;
    double *y;
    double *weight;
    double *psi;
    struct sel_preference *preference;
};

static struct labels labels_new(struct sel_random *random, size_t n, size_t d)
{
    struct labels labels = {
        .n = n,
        .d = d,
        .features = fixture_features(random, n * d + 1),
        .x = fixture_room(n + 1, sizeof *labels.x),
        .y = fixture_room(n + 1, sizeof(double)),
        .weight = fixture_room(n + 1, sizeof(double)),
        .psi = fixture_room(d, sizeof(double)),
        .preference = sel_preference_new(d),
    };
    for (size_t k = 0; k < n; k++) {
        labels.x[k] = labels.features + k * d;
        labels.weight[k] = 1;
    }
    return labels;
}

static void labels_free(struct labels *labels)
{
    sel_preference_free(labels->preference);
    free(labels->psi);
    free(labels->weight);
    free(labels->y);
    free(labels->x);
    free(labels->features);
}

static double margin_of(const struct labels *labels, size_t k, const double *psi)
{
    double sum = 0;
    for (size_t j = 0; j < labels->d; j++)
        sum += (double)labels->x[k][j] * psi[j];
    return sum;
}

/* Labels of the truth psi = size * (1, -1, 1, ...). */
static void labels_draw(struct labels *labels, struct sel_random *random, double size)
{
    double *truth = fixture_room(labels->d, sizeof *truth);
    for (size_t j = 0; j < labels->d; j++)
        truth[j] = j % 2 == 0 ? size : -size;
    for (size_t k = 0; k < labels->n; k++)
        labels->y[k] = sel_random_uniform(random) < sel_sigmoid(margin_of(labels, k, truth));
    free(truth);
}

static enum sel_status labels_fit(struct labels *labels,
                                  const struct sel_preference_options *options,
                                  struct sel_preference_result *result)
{
    return sel_preference_fit(labels->preference, labels->x, labels->y, labels->weight, labels->n,
                              NULL, options, labels->psi, result);
}

static struct sel_preference_options at_lambda(size_t d, double lambda)
{
    struct sel_preference_options options = sel_preference_defaults(d);
    options.lambda = lambda;
    return options;
}

static void the_gradient_at_the_solution_vanishes(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(21, 0);
    struct labels labels = labels_new(&random, 700, 9);
    labels_draw(&labels, &random, .5);
    for (size_t k = 0; k < labels.n; k++) {
        labels.weight[k] = .1 + sel_random_uniform(&random);
        if (k % 5 == 0)
            labels.y[k] = .5;
    }
    struct sel_preference_options options = at_lambda(9, 2);
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    fixture_below(result.gradient, 1e-8);
    for (size_t j = 0; j < labels.d; j++) {
        double gradient = 2 * labels.psi[j];
        for (size_t k = 0; k < labels.n; k++)
            gradient += labels.weight[k] *
                        (sel_sigmoid(margin_of(&labels, k, labels.psi)) - labels.y[k]) *
                        (double)labels.x[k][j];
        fixture_below(fabs(gradient), 1.1e-8);
    }
    labels_free(&labels);
}

/* Golden `separable`, its features rounded to float32. */
static void separable_labels_have_a_finite_solution(void **state)
{
    (void)state;
    static const float features[12][3] = {
        {0.10372500360114083f, -0.9103329442447046f, -0.37478094432908415f},
        {0.24288423003514256f, -1.1772651899116258f, -0.03706377493653354f},
        {1.742187036965263f, 0.6844171889497855f, -1.2259796623108334f},
        {-0.7697583789079633f, -0.3931286923805166f, 0.3862543584244132f},
        {-0.12446649148669095f, 1.87046225758403f, -0.9726587402777732f},
        {1.1933489849459253f, 0.17253118202491802f, -0.014897403026091119f},
        {-0.008257646231761707f, -1.1515092236280513f, 1.3614698529896905f},
        {1.5308400811179201f, 0.1934363603066025f, 0.40816690953241824f},
        {0.16667292812506557f, -0.08907652189263472f, -0.6016519647829568f},
        {-0.9753374998951343f, -0.3581718160072529f, -1.0813157018971677f},
        {-0.749239527786839f, 0.28276168150636516f, -0.40864762876425115f},
        {0.2878691589252928f, 1.3185458732120579f, -0.3148414654520585f},
    };
    static const double y[12] = {0, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1};
    struct sel_random random = sel_random_init(22, 0);
    struct labels labels = labels_new(&random, 12, 3);
    memcpy(labels.features, features, sizeof features);
    memcpy(labels.y, y, sizeof y);
    struct sel_preference_options options = at_lambda(3, .1);
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    fixture_close(labels.psi[0], -3.6285229575608997, 1e-6);
    fixture_close(labels.psi[1], 1.7740113823388377, 1e-6);
    fixture_close(labels.psi[2], 1.7308218032369964, 1e-6);
    fixture_close(result.objective, 2.7465604390378417, 1e-6);
    labels_free(&labels);
}

static void ties_alone_say_nothing(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(23, 0);
    struct labels labels = labels_new(&random, 40, 4);
    for (size_t k = 0; k < labels.n; k++)
        labels.y[k] = .5;
    labels.psi[1] = 3;
    struct sel_preference_options options = at_lambda(4, 1);
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    for (size_t j = 0; j < 4; j++)
        fixture_below(fabs(labels.psi[j]), 1e-8);
    fixture_close(result.objective, 40 * log(2), 1e-12);
    labels_free(&labels);
}

static void the_prior_is_where_no_label_pulls(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(24, 0);
    struct labels labels = labels_new(&random, 0, 2);
    const double prior[2] = {.25, -4};
    struct sel_preference_options options = at_lambda(2, 3);
    struct sel_preference_result result;
    assert_int_equal(sel_preference_fit(labels.preference, labels.x, labels.y, labels.weight, 0,
                                        prior, &options, labels.psi, &result),
                     SEL_OK);
    fixture_close(labels.psi[0], .25, 1e-8);
    fixture_close(labels.psi[1], -4, 1e-8);
    labels_free(&labels);
}

/* One feature, n labels won, all x = 1: (1 - sigma(psi)) n = lambda psi. */
static void one_feature_solves_its_equation(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(25, 0);
    struct labels labels = labels_new(&random, 300, 1);
    for (size_t k = 0; k < labels.n; k++) {
        labels.features[k] = 1;
        labels.y[k] = 1;
        labels.weight[k] = 2;
    }
    struct sel_preference_options options = at_lambda(1, .5);
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    double psi = labels.psi[0];
    fixture_close(600 * sel_sigmoid(-psi), .5 * psi, 1e-9);
    fixture_close(result.objective, 600 * log1p(exp(-psi)) + .25 * psi * psi, 1e-12);
    labels_free(&labels);
}

static void lapses_are_fitted_to_a_stationary_point(void **state)
{
    (void)state;
    const double lapse = .15;
    struct sel_random random = sel_random_init(26, 0);
    struct labels labels = labels_new(&random, 400, 5);
    labels_draw(&labels, &random, 1);
    for (size_t k = 0; k < labels.n; k += 7)
        labels.y[k] = k % 2 == 0 ? 1 : .5;
    struct sel_preference_options options = at_lambda(5, 1);
    options.lapse = lapse;
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    fixture_below(result.gradient, 1e-8);
    for (size_t j = 0; j < labels.d; j++) {
        double gradient = labels.psi[j];
        for (size_t k = 0; k < labels.n; k++) {
            double margin = margin_of(&labels, k, labels.psi);
            double p = (1 - lapse) * sel_sigmoid(margin) + lapse / 2;
            gradient += (p - labels.y[k]) / (p * (1 - p)) * (1 - lapse) * sel_weight_plug(margin) *
                        (double)labels.x[k][j];
        }
        fixture_below(fabs(gradient), 1.1e-8);
    }
    labels_free(&labels);
}

static void evidence_without_signal_goes_to_its_cap(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(27, 0);
    struct labels labels = labels_new(&random, 60, 2);
    for (size_t k = 0; k < labels.n; k++)
        labels.y[k] = .5;
    struct sel_preference_options options = sel_preference_defaults(2);
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    fixture_close(result.lambda, options.lambda_max, 1e-15);
    fixture_close(options.lambda_max, 4 / .09, 1e-15);
    labels_free(&labels);
}

/* lambda = gamma / |psi|^2 after many rounds, with gamma from an inverse made elsewhere. */
static void evidence_reaches_its_fixed_point(void **state)
{
    (void)state;
    const size_t d = 6;
    struct sel_random random = sel_random_init(28, 0);
    struct labels labels = labels_new(&random, 500, d);
    labels_draw(&labels, &random, .4);
    struct sel_preference_options options = sel_preference_defaults(d);
    options.evidence_rounds = 60;
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);

    double *scale = fixture_room(d, sizeof *scale);
    double *w = fixture_room(labels.n, sizeof *w);
    double square = 0;
    for (size_t j = 0; j < d; j++) {
        scale[j] = result.lambda;
        square += labels.psi[j] * labels.psi[j];
    }
    for (size_t k = 0; k < labels.n; k++)
        w[k] = sel_weight_plug(margin_of(&labels, k, labels.psi));
    struct sel_information *information = sel_information_new(d);
    assert_int_equal(sel_information_reset(information, scale), SEL_OK);
    assert_int_equal(sel_information_accumulate(information, labels.x, w, labels.n), SEL_OK);
    assert_int_equal(sel_information_factor(information), SEL_OK);
    double trace = 0;
    for (size_t j = 0; j < d; j++)
        trace += sel_information_inverse(information)[j * d + j];
    fixture_close(result.lambda, ((double)d - result.lambda * trace) / square, 1e-6);
    fixture_close(result.evidence,
                  -result.objective + (double)d / 2 * log(result.lambda) -
                      sel_information_log_determinant(information) / 2,
                  1e-9);
    sel_information_free(information);
    free(w);
    free(scale);
    labels_free(&labels);
}

static void few_labels_keep_the_starting_lambda(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(29, 0);
    struct labels labels = labels_new(&random, 49, 3);
    labels_draw(&labels, &random, 1);
    struct sel_preference_options options = sel_preference_defaults(3);
    options.lambda_start = 1.75;
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    fixture_close(result.lambda, 1.75, 1e-15);
    options.evidence_from = 49;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    assert_true(fabs(result.lambda - 1.75) > 1e-3);
    labels_free(&labels);
    assert_int_equal(sel_preference_defaults(64).evidence_from, 50);
    assert_int_equal(sel_preference_defaults(101).evidence_from, 50);
    assert_int_equal(sel_preference_defaults(384).evidence_from, 192);
}

/* A start at a huge lambda holds psi near 0, where evidence creeps; the guard starts afresh. */
static void the_guard_brings_back_a_lambda_that_ran_away(void **state)
{
    (void)state;
    const size_t d = 8;
    struct sel_random random = sel_random_init(30, 0);
    struct labels labels = labels_new(&random, 120, d);
    labels_draw(&labels, &random, .8);
    struct sel_preference_options options = sel_preference_defaults(d);
    options.lambda_start = options.lambda_max = 1e7;
    options.guard = false;
    struct sel_preference_result without;
    assert_int_equal(labels_fit(&labels, &options, &without), SEL_OK);
    memset(labels.psi, 0, d * sizeof(double));
    options.guard = true;
    struct sel_preference_result with;
    assert_int_equal(labels_fit(&labels, &options, &with), SEL_OK);
    assert_true(with.evidence > without.evidence + 10);
    assert_true(without.lambda > 10 * with.lambda);

    memset(labels.psi, 0, d * sizeof(double));
    options.lambda_start = 1;
    options.guard = false;
    options.evidence_rounds = 3;
    struct sel_preference_result afresh;
    assert_int_equal(labels_fit(&labels, &options, &afresh), SEL_OK);
    fixture_close(with.lambda, afresh.lambda, 1e-12);
    fixture_close(with.evidence, afresh.evidence, 1e-12);
    labels_free(&labels);
}

/* Labels with less signal than chance gives: evidence grows with lambda without end, and a start
 * afresh has not come as far after three rounds. */
static void the_guard_keeps_what_evidence_prefers(void **state)
{
    (void)state;
    const size_t d = 4;
    struct sel_random random = sel_random_init(31, 0);
    struct labels labels = labels_new(&random, 200, d);
    for (size_t k = 0; k < labels.n; k++)
        labels.y[k] = sel_random_below(&random, 2) == 0 ? .3 : .7;
    struct sel_preference_options options = sel_preference_defaults(d);
    options.lambda_start = options.lambda_max = 1e6;
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    fixture_close(result.lambda, 1e6, 1e-15);
    options.lambda_start = 1;
    options.guard = false;
    options.evidence_rounds = 3;
    struct sel_preference_result afresh;
    memset(labels.psi, 0, d * sizeof(double));
    assert_int_equal(labels_fit(&labels, &options, &afresh), SEL_OK);
    assert_true(afresh.lambda < 1e6 && afresh.evidence < result.evidence);
    labels_free(&labels);
}

static void a_stop_before_the_tolerance_is_told(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(32, 0);
    struct labels labels = labels_new(&random, 200, 5);
    labels_draw(&labels, &random, 2);
    struct sel_preference_options options = at_lambda(5, .1);
    options.iterations_max = 2;
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_NOT_CONVERGED);
    assert_int_equal(result.iterations, 2);
    assert_true(result.objective < 200 * log(2));
    assert_true(result.gradient > options.tolerance);
    labels_free(&labels);
}

static void a_warm_start_is_quicker(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(33, 0);
    struct labels labels = labels_new(&random, 500, 6);
    labels_draw(&labels, &random, 1);
    struct sel_preference_options options = at_lambda(6, 1);
    struct sel_preference_result cold;
    struct sel_preference_result warm;
    assert_int_equal(labels_fit(&labels, &options, &cold), SEL_OK);
    assert_int_equal(labels_fit(&labels, &options, &warm), SEL_OK);
    assert_true(cold.iterations > 2);
    assert_int_equal(warm.iterations, 0);
    labels_free(&labels);
}

static void extreme_features_end_in_finite_numbers(void **state)
{
    (void)state;
    const float sizes[] = {1e-30f, 1e-15f, 1e8f, 1e15f};
    struct sel_random random = sel_random_init(34, 0);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct labels labels = labels_new(&random, 90, 3);
        labels_draw(&labels, &random, 1);
        for (size_t k = 0; k < 270; k++)
            labels.features[k] *= sizes[s];
        struct sel_preference_options options = sel_preference_defaults(3);
        struct sel_preference_result result;
        enum sel_status status = labels_fit(&labels, &options, &result);
        assert_true(status == SEL_OK || status == SEL_NOT_CONVERGED);
        assert_true(isfinite(result.objective) && isfinite(result.lambda));
        for (size_t j = 0; j < 3; j++)
            assert_true(isfinite(labels.psi[j]));
        fixture_below(result.objective, 90 * log(2) * (1 + 1e-12));
        labels_free(&labels);
    }
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(35, 0);
    struct labels labels = labels_new(&random, 10, 2);
    const struct sel_preference_options good = at_lambda(2, 1);
    struct sel_preference_options options = good;
    struct sel_preference_result result;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_OK);
    labels.y[3] = 1.5;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_INVALID);
    labels.y[3] = NAN;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_INVALID);
    labels.y[3] = 1;
    labels.weight[3] = -1;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_INVALID);
    labels.weight[3] = 1;
    labels.features[5] = NAN;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_INVALID);
    labels.features[5] = -INFINITY;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_INVALID);
    labels.features[5] = 0;
    options.lapse = 1;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_INVALID);
    options = good;
    options.lambda = -1;
    assert_int_equal(labels_fit(&labels, &options, &result), SEL_INVALID);
    assert_null(sel_preference_new(0));
    labels_free(&labels);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_at_the_solution_vanishes),
        cmocka_unit_test(separable_labels_have_a_finite_solution),
        cmocka_unit_test(ties_alone_say_nothing),
        cmocka_unit_test(the_prior_is_where_no_label_pulls),
        cmocka_unit_test(one_feature_solves_its_equation),
        cmocka_unit_test(lapses_are_fitted_to_a_stationary_point),
        cmocka_unit_test(evidence_without_signal_goes_to_its_cap),
        cmocka_unit_test(evidence_reaches_its_fixed_point),
        cmocka_unit_test(few_labels_keep_the_starting_lambda),
        cmocka_unit_test(the_guard_brings_back_a_lambda_that_ran_away),
        cmocka_unit_test(the_guard_keeps_what_evidence_prefers),
        cmocka_unit_test(a_stop_before_the_tolerance_is_told),
        cmocka_unit_test(a_warm_start_is_quicker),
        cmocka_unit_test(extreme_features_end_in_finite_numbers),
        cmocka_unit_test(bad_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
