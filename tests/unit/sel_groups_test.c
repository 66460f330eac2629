/* A lambda for each group of features. */
#include "sel_fixture.h"

enum { D = 9, N = 900, GROUPS = 3 };

/* The middle group matters most, the last one hardly; they lie in each other. */
static const uint8_t GROUP[D] = {0, 1, 0, 1, 2, 1, 2, 2, 0};
static const double SIZE[GROUPS] = {.3, 1.2, .1};

struct labels {
    float *features;
    const float *x[N];
    double y[N], weight[N], psi[D];
    struct sel_preference *preference;
};

static struct labels *labels_new(uint64_t seed)
{
    struct sel_random random = sel_random_init(seed, 0);
    struct labels *labels = fixture_room(1, sizeof *labels);
    labels->features = fixture_features(&random, N * D);
    labels->preference = sel_preference_new(D);
    for (size_t k = 0; k < N; k++) {
        double margin = 0;
        labels->x[k] = labels->features + k * D;
        for (size_t j = 0; j < D; j++)
            margin += (double)labels->x[k][j] * SIZE[GROUP[j]] * (j % 2 == 0 ? 1 : -1);
        labels->y[k] = sel_random_uniform(&random) < sel_sigmoid(margin);
        labels->weight[k] = .5 + sel_random_uniform(&random);
    }
    return labels;
}

static void labels_free(struct labels *labels)
{
    sel_preference_free(labels->preference);
    free(labels->features);
    free(labels);
}

static struct sel_preference_options grouped(void)
{
    struct sel_preference_options options = sel_preference_defaults(D);
    options.groups = GROUPS;
    options.group = GROUP;
    return options;
}

static struct sel_preference_result fit(struct labels *labels,
                                        const struct sel_preference_options *options)
{
    struct sel_preference_result result;
    assert_int_equal(sel_preference_fit(labels->preference, labels->x, labels->y, labels->weight, N,
                                        NULL, options, labels->psi, &result),
                     SEL_OK);
    return result;
}

/* Sigma at psi, made by information.c. */
static struct sel_information *information_of(const struct labels *labels, const double *lambdas,
                                              double lapse)
{
    double diagonal[D], w[N];
    struct sel_information *information = sel_information_new(D);
    for (size_t j = 0; j < D; j++)
        diagonal[j] = lambdas[GROUP[j]];
    for (size_t k = 0; k < N; k++) {
        double margin = 0;
        for (size_t j = 0; j < D; j++)
            margin += (double)labels->x[k][j] * labels->psi[j];
        w[k] = labels->weight[k] * sel_weight_lapse(margin, lapse);
    }
    assert_int_equal(sel_information_reset(information, diagonal), SEL_OK);
    assert_int_equal(sel_information_accumulate(information, labels->x, w, N), SEL_OK);
    assert_int_equal(sel_information_factor(information), SEL_OK);
    return information;
}

static double square_of(const struct labels *labels, size_t b)
{
    double square = 0;
    for (size_t j = 0; j < D; j++)
        square += GROUP[j] == b ? labels->psi[j] * labels->psi[j] : 0;
    return square;
}

static double size_of(size_t b)
{
    double size = 0;
    for (size_t j = 0; j < D; j++)
        size += GROUP[j] == b;
    return size;
}

static void each_lambda_is_gamma_over_the_square_of_its_psi(void **state)
{
    (void)state;
    struct labels *labels = labels_new(1);
    struct sel_preference_options options = grouped();
    options.evidence_rounds = 400;
    options.lambda_max = 1e9;
    struct sel_preference_result result = fit(labels, &options);
    struct sel_information *information = information_of(labels, result.lambdas, 0);
    const double *inverse = sel_information_inverse(information);
    double prior = 0, penalty = 0;
    for (size_t b = 0; b < GROUPS; b++) {
        double gamma = 0;
        for (size_t j = 0; j < D; j++)
            gamma += GROUP[j] == b ? 1 - result.lambdas[b] * inverse[j * D + j] : 0;
        fixture_close(result.lambdas[b], gamma / square_of(labels, b), 1e-5);
        prior += size_of(b) / 2 * log(result.lambdas[b]);
        penalty += result.lambdas[b] / 2 * square_of(labels, b);
    }
    fixture_close(result.evidence,
                  -result.objective + prior - sel_information_log_determinant(information) / 2,
                  1e-9);
    fixture_close(log(result.lambda), prior * 2 / D, 1e-12);
    assert_true(penalty > 0 && penalty < result.objective);
    assert_true(result.lambdas[2] > 20 * result.lambdas[1]);
    assert_true(result.lambdas[0] > result.lambdas[1]);
    sel_information_free(information);
    labels_free(labels);
}

/* With psi and F held, d/d log lambda_b of sum d_b/2 log lambda_b - lambda_b/2 |psi_b|^2 - 1/2 log
 * det Sigma is 0 there, by differences. */
static void the_evidence_is_flat_at_the_result(void **state)
{
    (void)state;
    struct labels *labels = labels_new(2);
    struct sel_preference_options options = grouped();
    options.evidence_rounds = 400;
    options.lambda_max = 1e9;
    options.lapse = .1;
    struct sel_preference_result result = fit(labels, &options);
    for (size_t b = 0; b < GROUPS; b++) {
        double value[2];
        for (size_t side = 0; side < 2; side++) {
            double lambdas[GROUPS];
            memcpy(lambdas, result.lambdas, sizeof lambdas);
            lambdas[b] *= exp(side == 0 ? -1e-3 : 1e-3);
            struct sel_information *information = information_of(labels, lambdas, .1);
            value[side] = size_of(b) / 2 * log(lambdas[b]) - lambdas[b] / 2 * square_of(labels, b) -
                          sel_information_log_determinant(information) / 2;
            sel_information_free(information);
        }
        assert_true(fabs(value[1] - value[0]) / 2e-3 < 1e-3);
    }
    labels_free(labels);
}

static void the_gradient_vanishes_with_a_lambda_for_each_feature_of_a_group(void **state)
{
    (void)state;
    struct labels *labels = labels_new(3);
    struct sel_preference_options options = grouped();
    struct sel_preference_result result = fit(labels, &options);
    double gradient[D];
    for (size_t j = 0; j < D; j++)
        gradient[j] = result.lambdas[GROUP[j]] * labels->psi[j];
    for (size_t k = 0; k < N; k++) {
        double margin = 0;
        for (size_t j = 0; j < D; j++)
            margin += (double)labels->x[k][j] * labels->psi[j];
        for (size_t j = 0; j < D; j++)
            gradient[j] +=
                labels->weight[k] * (sel_sigmoid(margin) - labels->y[k]) * (double)labels->x[k][j];
    }
    for (size_t j = 0; j < D; j++)
        assert_true(fabs(gradient[j]) < 1e-7);
    labels_free(labels);
}

static void one_group_is_no_group_bit_for_bit(void **state)
{
    (void)state;
    static const uint8_t ALL[D] = {0};
    struct labels *labels = labels_new(4);
    struct sel_preference_options options = sel_preference_defaults(D);
    struct sel_preference_result plain = fit(labels, &options);
    double psi[D];
    memcpy(psi, labels->psi, sizeof psi);
    memset(labels->psi, 0, sizeof labels->psi);
    options.groups = 1;
    options.group = ALL;
    options.lambda_starts = (const double[]){1};
    struct sel_preference_result one = fit(labels, &options);
    assert_memory_equal(psi, labels->psi, sizeof psi);
    assert_memory_equal(&plain, &one, sizeof plain);
    assert_true(plain.lambda == plain.lambdas[0]);
    labels_free(labels);
}

static void fixed_lambdas_and_starts_are_those_of_every_group(void **state)
{
    (void)state;
    static const double STARTS[GROUPS] = {.5, 2, 7};
    struct labels *labels = labels_new(5);
    struct sel_preference_options options = grouped();
    options.lambda = 3;
    struct sel_preference_result result = fit(labels, &options);
    for (size_t b = 0; b < GROUPS; b++)
        fixture_close(result.lambdas[b], 3, 0);
    options.lambda = 0;
    options.lambda_starts = STARTS;
    options.evidence_from = N + 1;
    result = fit(labels, &options);
    for (size_t b = 0; b < GROUPS; b++)
        fixture_close(result.lambdas[b], STARTS[b], 0);
    options.evidence_from = 0;
    options.lambda_max = 5;
    result = fit(labels, &options);
    fixture_close(result.lambdas[2], 5, 0); /* the cap is every group's */
    labels_free(labels);
}

/* The lapse rate is a mean under the evidence with a lambda for each group. */
static void lapses_are_weighed_by_the_groups_evidence(void **state)
{
    (void)state;
    static const double RATES[] = {0, .02, .05, .1, .15, .2, .3};
    static const double WIDTHS[] = {.02, .025, .04, .05, .05, .075, .1};
    struct labels *labels = labels_new(6);
    struct sel_random random = sel_random_init(7, 7);
    for (size_t k = 0; k < N; k++)
        labels->y[k] = sel_random_uniform(&random) < .1 ? 1 - labels->y[k] : labels->y[k];
    struct sel_preference_options options = grouped();
    options.guard = false;
    double mean = 0, sum = 0, scratch[D], first = 0;
    for (size_t g = 0; g < 7; g++) {
        memset(labels->psi, 0, sizeof labels->psi);
        options.lapse = RATES[g];
        struct sel_preference_result result = fit(labels, &options);
        first = g == 0 ? result.evidence : first;
        sum += WIDTHS[g] * exp(result.evidence - first);
        mean += RATES[g] * WIDTHS[g] * exp(result.evidence - first);
    }
    struct sel_lapse lapse;
    memset(labels->psi, 0, sizeof labels->psi);
    assert_int_equal(sel_preference_lapse(labels->preference, labels->x, labels->y, labels->weight,
                                          N, NULL, &options, labels->psi, D, &lapse, scratch),
                     SEL_OK);
    fixture_close(lapse.rate, mean / sum, 1e-9);
    assert_true(lapse.rate > .05);
    labels_free(labels);
}

/* x' Sigma^-1 x with the label's own share taken out, Sigma having a lambda for each group. */
static void a_label_is_left_out_under_the_lambdas_of_the_groups(void **state)
{
    (void)state;
    struct labels *labels = labels_new(7);
    struct sel_preference_options options = grouped();
    struct sel_preference_result result = fit(labels, &options);
    double margin[N], variance[N], none[GROUPS] = {1, 0, 1};
    assert_int_equal(sel_preference_left_out(labels->preference, labels->x, labels->y,
                                             labels->weight, N, &options, labels->psi,
                                             result.lambdas, margin, variance),
                     SEL_OK);
    struct sel_information *information = information_of(labels, result.lambdas, 0);
    for (size_t k = 0; k < N; k++) {
        double before = 0, q = sel_information_variance(information, labels->x[k]);
        for (size_t j = 0; j < D; j++)
            before += (double)labels->x[k][j] * labels->psi[j];
        double w = labels->weight[k] * sel_weight_plug(before);
        fixture_close(variance[k], q / (1 - w * q), 1e-9);
    }
    sel_information_free(information);
    assert_int_equal(sel_preference_left_out(labels->preference, labels->x, labels->y,
                                             labels->weight, N, &options, labels->psi, none, margin,
                                             variance),
                     SEL_INVALID);
    labels_free(labels);
}

static void groups_that_contradict_themselves_are_refused(void **state)
{
    (void)state;
    static const uint8_t HIGH[D] = {0, 1, 2, 3}, EMPTY[D] = {0, 2};
    static const double STARTS[GROUPS] = {1, 0, 1};
    struct labels *labels = labels_new(8);
    struct sel_preference_result result;
    struct sel_preference_options cases[5];
    for (size_t k = 0; k < 5; k++)
        cases[k] = grouped();
    cases[0].group = NULL;
    cases[1].group = HIGH;
    cases[2].group = EMPTY;
    cases[3].groups = SEL_GROUPS_MAX + 1;
    cases[4].lambda_starts = STARTS;
    labels->psi[3] = .25;
    for (size_t k = 0; k < 5; k++)
        assert_int_equal(sel_preference_fit(labels->preference, labels->x, labels->y,
                                            labels->weight, N, NULL, &cases[k], labels->psi,
                                            &result),
                         SEL_INVALID);
    assert_true(labels->psi[3] == .25);
    labels_free(labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_lambda_is_gamma_over_the_square_of_its_psi),
        cmocka_unit_test(the_evidence_is_flat_at_the_result),
        cmocka_unit_test(the_gradient_vanishes_with_a_lambda_for_each_feature_of_a_group),
        cmocka_unit_test(one_group_is_no_group_bit_for_bit),
        cmocka_unit_test(fixed_lambdas_and_starts_are_those_of_every_group),
        cmocka_unit_test(lapses_are_weighed_by_the_groups_evidence),
        cmocka_unit_test(a_label_is_left_out_under_the_lambdas_of_the_groups),
        cmocka_unit_test(groups_that_contradict_themselves_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
