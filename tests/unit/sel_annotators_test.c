/* Labels of several annotators: a rate for each label in the fit, labels left out, and what is said
 * of each annotator, on labels whose truth is known. */
#include "sel_fixture.h"

enum { FEATURES = 6, MOST = 8 };

struct labels {
    size_t n;
    float *rows;
    const float **x;
    double *y, *weight, *lapses, *margin, *variance;
    uint32_t *annotator;
    double psi[FEATURES];
};

/* Label k is of annotator k modulo `annotators`, whose rate and left bias are given. */
static struct labels labels_new(size_t n, const double *rates, const double *biases,
                                size_t annotators, uint64_t seed)
{
    struct sel_random random = sel_random_init(seed, 0);
    struct labels labels = {.n = n, .x = fixture_room(n, sizeof(float *))};
    double **columns[] = {&labels.y, &labels.weight, &labels.lapses, &labels.margin,
                          &labels.variance};
    for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++)
        *columns[k] = fixture_room(n, sizeof(double));
    labels.annotator = fixture_room(n, sizeof *labels.annotator);
    labels.rows = fixture_features(&random, n * FEATURES);
    for (size_t k = 0; k < FEATURES; k++)
        labels.psi[k] = sel_random_normal(&random);
    for (size_t i = 0; i < n; i++) {
        size_t who = i % annotators;
        double margin = biases == NULL ? 0 : biases[who];
        labels.x[i] = labels.rows + i * FEATURES;
        for (size_t k = 0; k < FEATURES; k++)
            margin += labels.psi[k] * (double)labels.x[i][k];
        bool lapses = sel_random_uniform(&random) < rates[who];
        double left = lapses ? .5 : sel_sigmoid(margin);
        labels.y[i] = sel_random_uniform(&random) < left ? 1 : 0;
        labels.weight[i] = 1;
        labels.lapses[i] = rates[who];
        labels.annotator[i] = (uint32_t)who;
    }
    return labels;
}

static void labels_free(struct labels *labels)
{
    free(labels->rows);
    free(labels->x);
    free(labels->y);
    free(labels->weight);
    free(labels->lapses);
    free(labels->margin);
    free(labels->variance);
    free(labels->annotator);
}

static struct sel_preference_options options_of(const double *lapses, double lapse)
{
    struct sel_preference_options options = sel_preference_defaults(FEATURES);
    options.lapses = lapses;
    options.lapse = lapse;
    options.lambda = 1;
    options.tolerance = 1e-9;
    options.iterations_max = 200; /* scoring, not Newton */
    return options;
}

/* f at psi, in plain C. */
static double objective(const struct labels *labels, const double *psi)
{
    double value = 0;
    for (size_t k = 0; k < FEATURES; k++)
        value += psi[k] * psi[k] / 2;
    for (size_t i = 0; i < labels->n; i++) {
        double margin = 0, lapse = labels->lapses[i];
        for (size_t k = 0; k < FEATURES; k++)
            margin += psi[k] * (double)labels->x[i][k];
        double left = (1 - lapse) * sel_sigmoid(margin) + lapse / 2;
        value -= labels->weight[i] * (labels->y[i] * log(left) + (1 - labels->y[i]) * log1p(-left));
    }
    return value;
}

static double fit(const struct labels *labels, const struct sel_preference_options *options,
                  size_t n, double *psi)
{
    struct sel_preference *preference = sel_preference_new(FEATURES);
    struct sel_preference_result result;
    memset(psi, 0, FEATURES * sizeof *psi);
    assert_int_equal(sel_preference_fit(preference, labels->x, labels->y, labels->weight, n, NULL,
                                        options, psi, &result),
                     SEL_OK);
    sel_preference_free(preference);
    return result.objective;
}

static void a_fit_takes_each_label_at_its_own_rate(void **state)
{
    (void)state;
    static const double RATES[] = {0, .05, .5};
    struct labels labels = labels_new(240, RATES, NULL, 3, 5);
    struct sel_preference_options options = options_of(labels.lapses, .9);
    double psi[FEATURES];
    double found = fit(&labels, &options, labels.n, psi);
    fixture_close(found, objective(&labels, psi), 1e-10);
    for (size_t k = 0; k < FEATURES; k++) {
        double step = 1e-4, at = psi[k];
        psi[k] = at + step;
        double above = objective(&labels, psi);
        psi[k] = at - step;
        double below = objective(&labels, psi);
        psi[k] = at;
        assert_true(fabs(above - below) / (2 * step) < 1e-4);
        assert_true(above > found && below > found);
    }
    labels_free(&labels);
}

static void equal_rates_are_one_rate(void **state)
{
    (void)state;
    static const double RATES[] = {.1, .1};
    struct labels labels = labels_new(200, RATES, NULL, 2, 6);
    struct sel_preference_options each = options_of(labels.lapses, 0), one = options_of(NULL, .1);
    double left[FEATURES], right[FEATURES];
    fit(&labels, &each, labels.n, left);
    fit(&labels, &one, labels.n, right);
    assert_memory_equal(left, right, sizeof left);
    labels.lapses[7] = 1;
    struct sel_preference *preference = sel_preference_new(FEATURES);
    struct sel_preference_result result;
    assert_int_equal(sel_preference_fit(preference, labels.x, labels.y, labels.weight, labels.n,
                                        NULL, &each, left, &result),
                     SEL_INVALID);
    sel_preference_free(preference);
    labels_free(&labels);
}

static void leave_out(struct labels *labels, const struct sel_preference_options *options,
                      const double *psi)
{
    struct sel_preference *preference = sel_preference_new(FEATURES);
    assert_int_equal(sel_preference_left_out(preference, labels->x, labels->y, labels->weight,
                                             labels->n, options, psi, &options->lambda,
                                             labels->margin, labels->variance),
                     SEL_OK);
    sel_preference_free(preference);
}

/* Against fits without each label: the last of the list is left out, in turn. */
static void a_label_left_out_is_as_if_it_had_never_come(void **state)
{
    (void)state;
    static const double RATES[] = {0, .2};
    struct labels labels = labels_new(300, RATES, NULL, 2, 8);
    struct sel_preference_options options = options_of(labels.lapses, 0);
    double psi[FEATURES], without[FEATURES], worst = 0, moved = 0;
    fit(&labels, &options, labels.n, psi);
    leave_out(&labels, &options, psi);
    for (size_t out = 0; out < labels.n; out += 7) {
        double margin = 0, with = 0;
        labels.weight[out] = 0;
        fit(&labels, &options, labels.n, without);
        labels.weight[out] = 1;
        for (size_t k = 0; k < FEATURES; k++) {
            margin += without[k] * (double)labels.x[out][k];
            with += psi[k] * (double)labels.x[out][k];
        }
        worst = fmax(worst, fabs(labels.margin[out] - margin));
        moved = fmax(moved, fabs(with - margin));
        assert_true(labels.variance[out] > 0);
    }
    if (!(worst < .2 * moved))
        fail_msg("left out: off by %g of %g", worst, moved);
    labels_free(&labels);
}

static struct sel_answers answers_of(const struct labels *labels)
{
    return (struct sel_answers){labels->margin,    labels->variance, labels->y, labels->weight,
                                labels->annotator, labels->n,        0};
}

/* Fits at one rate for all, leaves out, and asks who errs; twice, as two fits do. */
static void ask(struct labels *labels, size_t annotators, double overall,
                struct sel_annotator *found)
{
    struct sel_preference_options options = options_of(labels->lapses, 0);
    const struct sel_answers answers = answers_of(labels);
    for (size_t k = 0; k < labels->n; k++)
        labels->lapses[k] = overall;
    for (int round = 0; round < 2; round++) {
        double psi[FEATURES];
        fit(labels, &options, labels->n, psi);
        leave_out(labels, &options, psi);
        assert_int_equal(sel_annotators(&answers, annotators, overall, found), SEL_OK);
        for (size_t k = 0; k < labels->n; k++)
            labels->lapses[k] = found[labels->annotator[k]].lapse;
    }
}

static void rates_of_annotators_are_found_within_their_deviations(void **state)
{
    (void)state;
    static const double RATES[] = {0, .05, .5, .9};
    double sum[4] = {0};
    enum { SEEDS = 8 };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct labels labels = labels_new(4000, RATES, NULL, 4, seed);
        struct sel_annotator found[5];
        ask(&labels, 4, .36, found);
        for (int a = 0; a < 4; a++) {
            assert_int_equal(found[a].labels, 1000);
            assert_true(found[a].lapse_deviation > 0 && found[a].lapse_deviation < .08);
            if (fabs(found[a].lapse - RATES[a]) > 4 * found[a].lapse_deviation)
                fail_msg("seed %d: %g +- %g, true %g", (int)seed, found[a].lapse,
                         found[a].lapse_deviation, RATES[a]);
            sum[a] += (found[a].lapse - RATES[a]) / SEEDS;
        }
        assert_true(found[0].agreement > found[2].agreement);
        labels_free(&labels);
    }
    for (int a = 1; a < 4; a++)
        if (fabs(sum[a]) > 4 * .04 / sqrt(SEEDS))
            fail_msg("rate %g: off by %g on average", RATES[a], sum[a]);
}

static void few_labels_leave_an_annotator_at_the_overall_rate(void **state)
{
    (void)state;
    static const double RATES[] = {.1, .1, .1, .1, .1, .1};
    struct labels labels = labels_new(1200, RATES, NULL, 6, 3);
    struct sel_annotator found[MOST + 1];
    /* Annotator 6 gave three labels, annotator 7 none. */
    for (size_t k = 0; k < 3; k++)
        labels.annotator[k] = 6;
    ask(&labels, 8, .1, found);
    assert_true(fabs(found[7].lapse - .1) < .005);
    assert_true(fabs(found[6].lapse - .1) < .05);
    for (int a = 0; a < 6; a++)
        if (!(fabs(found[a].lapse - .1) < .06))
            fail_msg("all alike: %g", found[a].lapse);
    labels_free(&labels);
}

static void one_annotator_alone_has_the_overall_rate(void **state)
{
    (void)state;
    static const double RATES[] = {.3};
    struct labels labels = labels_new(500, RATES, NULL, 1, 4);
    struct sel_annotator found[2];
    ask(&labels, 1, .07, found);
    assert_float_equal(found[0].lapse, .07, 0);
    assert_float_equal(found[1].lapse, .07, 0);
    labels_free(&labels);
}

static void a_liking_for_the_left_is_found(void **state)
{
    (void)state;
    static const double RATES[] = {.1, .1, .1}, BIASES[] = {0, .8, -.4};
    struct labels labels = labels_new(6000, RATES, BIASES, 3, 9);
    struct sel_annotator found[4];
    ask(&labels, 3, .1, found);
    for (int a = 0; a < 3; a++)
        if (fabs(found[a].left_bias - BIASES[a]) > .2)
            fail_msg("bias %g, true %g", found[a].left_bias, BIASES[a]);
    assert_true(found[1].left_share > .55 && found[2].left_share < .5);
    assert_true(fabs(found[3].left_bias - .13) < .12);
    labels_free(&labels);
}

static void what_is_not_a_number_is_refused(void **state)
{
    (void)state;
    static const double RATES[] = {.1, .1};
    struct labels labels = labels_new(20, RATES, NULL, 2, 1);
    struct sel_annotator found[3];
    const struct sel_answers answers = answers_of(&labels);
    assert_int_equal(sel_annotators(&answers, 2, 1, found), SEL_INVALID);
    labels.margin[3] = (double)NAN;
    assert_int_equal(sel_annotators(&answers, 2, .1, found), SEL_INVALID);
    labels_free(&labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fit_takes_each_label_at_its_own_rate),
        cmocka_unit_test(equal_rates_are_one_rate),
        cmocka_unit_test(a_label_left_out_is_as_if_it_had_never_come),
        cmocka_unit_test(rates_of_annotators_are_found_within_their_deviations),
        cmocka_unit_test(few_labels_leave_an_annotator_at_the_overall_rate),
        cmocka_unit_test(one_annotator_alone_has_the_overall_rate),
        cmocka_unit_test(a_liking_for_the_left_is_found),
        cmocka_unit_test(what_is_not_a_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
