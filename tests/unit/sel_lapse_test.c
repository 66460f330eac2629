/* The lapse rate by evidence: against an integral, and on labels of a known rate. */
#include "sel_fixture.h"

#include <math.h>
#include <stdlib.h>

struct labels {
    size_t n, d;
    float *rows;
    const float **x;
    double *y, *weight;
};

static struct labels labels_new(size_t n, size_t d, double lapse, double size, uint64_t seed)
{
    struct labels labels = {n,
                            d,
                            calloc(n * d, sizeof(float)),
                            calloc(n, sizeof(float *)),
                            calloc(n, sizeof(double)),
                            calloc(n, sizeof(double))};
    struct sel_random random = sel_random_init(seed, 0);
    double psi[16];
    for (size_t k = 0; k < d; k++)
        psi[k] = size * sel_random_normal(&random);
    for (size_t i = 0; i < n; i++) {
        double margin = 0;
        labels.x[i] = labels.rows + i * d;
        for (size_t k = 0; k < d; k++) {
            labels.rows[i * d + k] = (float)sel_random_normal(&random);
            margin += psi[k] * (double)labels.rows[i * d + k];
        }
        double left = (1 - lapse) * sel_sigmoid(margin) + lapse / 2;
        labels.y[i] = sel_random_uniform(&random) < left ? 1 : 0;
        labels.weight[i] = 1;
    }
    return labels;
}

static void labels_free(struct labels *labels)
{
    free(labels->rows);
    free(labels->x);
    free(labels->y);
    free(labels->weight);
}

static struct sel_lapse estimate(const struct labels *labels,
                                 const struct sel_preference_options *options)
{
    struct sel_preference *preference = sel_preference_new(labels->d);
    struct sel_lapse lapse = {-1, -1};
    double psi[16] = {0}, scratch[16];
    assert_int_equal(sel_preference_lapse(preference, labels->x, labels->y, labels->weight,
                                          labels->n, NULL, options, psi, labels->d, &lapse,
                                          scratch),
                     SEL_OK);
    for (size_t k = 0; k < labels->d; k++)
        assert_true(psi[k] == 0);
    sel_preference_free(preference);
    return lapse;
}

/* One feature and a fixed lambda: Z(e) by the trapezoidal rule over psi. */
static double log_integral(const struct labels *labels, double lapse, double lambda)
{
    double most = -INFINITY, sum = 0;
    enum { STEPS = 4000 };
    static double value[STEPS + 1];
    for (int k = 0; k <= STEPS; k++) {
        double psi = -20 + 40. * k / STEPS;
        double log_likelihood = .5 * log(lambda) - lambda / 2 * psi * psi;
        for (size_t i = 0; i < labels->n; i++) {
            double margin = psi * (double)labels->rows[i];
            double p = labels->y[i] > 0 ? sel_sigmoid(margin) : sel_sigmoid(-margin);
            log_likelihood += log((1 - lapse) * p + lapse / 2);
        }
        value[k] = log_likelihood;
        most = fmax(most, log_likelihood);
    }
    for (int k = 0; k <= STEPS; k++)
        sum += exp(value[k] - most);
    return most + log(sum);
}

static void the_rate_is_the_posterior_mean(void **state)
{
    (void)state;
    static const double RATES[] = {0, .02, .05, .1, .15, .2, .3};
    static const double WIDTHS[] = {.02, .025, .04, .05, .05, .075, .1};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct labels labels = labels_new(300, 1, .1, 2, seed);
        struct sel_preference_options options = sel_preference_defaults(1);
        options.lambda = .5;
        struct sel_lapse lapse = estimate(&labels, &options);
        double sum = 0, mean = 0, first = log_integral(&labels, .1, .5);
        for (int g = 0; g < 7; g++) {
            double share = WIDTHS[g] * exp(log_integral(&labels, RATES[g], .5) - first);
            sum += share;
            mean += share * RATES[g];
        }
        assert_true(fabs(lapse.rate - mean / sum) < .004); /* what Laplace leaves out */
        assert_true(lapse.deviation > 0 && lapse.deviation < .12);
        labels_free(&labels);
    }
}

static void a_known_rate_is_found(void **state)
{
    (void)state;
    static const double TRUE_RATES[] = {0, .1, .25};
    for (int r = 0; r < 3; r++) {
        struct labels labels = labels_new(4000, 8, TRUE_RATES[r], 1, 7 + (uint64_t)r);
        struct sel_preference_options options = sel_preference_defaults(8);
        struct sel_lapse lapse = estimate(&labels, &options);
        if (fabs(lapse.rate - TRUE_RATES[r]) > .03 + 3 * lapse.deviation)
            fail_msg("%g +- %g, true %g", lapse.rate, lapse.deviation, TRUE_RATES[r]);
        assert_true(lapse.deviation < .08);
        labels_free(&labels);
    }
}

static void coin_flips_alone_say_nothing_wrong(void **state)
{
    (void)state;
    struct labels labels = labels_new(200, 4, 0, 0, 3); /* psi = 0: every answer is a coin flip */
    struct sel_preference_options options = sel_preference_defaults(4);
    struct sel_lapse lapse = estimate(&labels, &options);
    assert_true(lapse.rate >= 0 && lapse.rate <= .3 && isfinite(lapse.deviation));
    labels_free(&labels);
}

static void bad_labels_are_refused(void **state)
{
    (void)state;
    struct labels labels = labels_new(20, 2, 0, 1, 3);
    struct sel_preference_options options = sel_preference_defaults(2);
    struct sel_preference *preference = sel_preference_new(2);
    struct sel_lapse lapse;
    double psi[2] = {0}, scratch[2];
    labels.y[3] = 2;
    assert_int_equal(sel_preference_lapse(preference, labels.x, labels.y, labels.weight, 20, NULL,
                                          &options, psi, 2, &lapse, scratch),
                     SEL_INVALID);
    sel_preference_free(preference);
    labels_free(&labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_is_the_posterior_mean),
        cmocka_unit_test(a_known_rate_is_found),
        cmocka_unit_test(coin_flips_alone_say_nothing_wrong),
        cmocka_unit_test(bad_labels_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
