/* What answers tell of annotators and of the fit. */
#include "tests/unit/selection_fixture.h"

/* Three answers of ten are coin flips. */
static struct label careless(void *random, int64_t offset, float x)
{
    bool left = x > 0;
    (void)offset;
    if (sel_random_uniform(random) < .3)
        left = sel_random_uniform(random) < .5;
    return (struct label){.outcome = left ? OUTCOME_LEFT : OUTCOME_RIGHT};
}

static void careless_answers_are_told_by_probes(void **state)
{
    (void)state;
    static const char *const RULES[] = {"policy_trace", "dts", "kcenter"};
    for (size_t rule = 0; rule < sizeof RULES / sizeof *RULES; rule++) {
        struct engine_options options = options_with(selection_of(RULES[rule]));
        options.labels_lapse = (double)NAN;
        options.labels_probes = .2;
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        struct sel_random random = sel_random_init(5, 1);
        run_by(&shell, 40, 0, careless, &random);
        check_selected(&shell, RULES[rule]);
        const struct engine_stats *stats = engine_stats(shell.engine);
        assert_true(stats->pairs[ARM_PROBE] > 10);
        if (!(stats->lapse > .1 && stats->lapse < .3))
            fail_msg("%s: lapse rate %g", RULES[rule], stats->lapse);
        finish(&shell);
    }
}

struct margins {
    double size; /* of the margin at x_0 = 1 */
    double tie;
    struct sel_random random;
};

/* By chance, as likely as the margin says. */
static struct label by_margin(void *context, int64_t offset, float x)
{
    struct margins *margins = context;
    bool left = sel_random_uniform(&margins->random) < sel_sigmoid(margins->size * (double)x);
    (void)offset;
    return (struct label){.outcome = left ? OUTCOME_LEFT : OUTCOME_RIGHT};
}

static void labels_that_contradict_the_fit_are_told(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("uniform"));
    options.budget_in_flight = 100;
    options.budget_per_second = 100;
    options.budget_burst = 50;
    options.fit_every = 100;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct margins margins = {.random = sel_random_init(11, 1)};
    size_t answered = 0;
    int64_t labels = 0;
    double before = (double)NAN, after = -INFINITY;
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 2000);
    for (int k = 0; k < 40; k++) {
        size_t entries = shell.cluster->entries;
        margins.size = labels < 500 ? 1.5 : -1.5;
        labels = answer_by(&shell, answered, labels, by_margin, &margins);
        answered = entries;
        turn(&shell, 500);
        double surprise = engine_stats(shell.engine)->label_surprise;
        if (labels < 500)
            before = surprise;
        else if (surprise > after)
            after = surprise;
    }
    assert_true(labels > 600);
    if (!(fabs(before) < 4 && after > 4))
        fail_msg("%g before, %g after", before, after);
    finish(&shell);
}

/* By Davidson's three chances. */
static struct label with_ties(void *context, int64_t offset, float x)
{
    struct margins *margins = context;
    struct sel_chances chances = sel_tie_chances(margins->size * (double)x, 0, margins->tie);
    double u = sel_random_uniform(&margins->random);
    (void)offset;
    return (struct label){.outcome = u < chances.tie                  ? OUTCOME_TIE
                                     : u < chances.tie + chances.left ? OUTCOME_LEFT
                                                                      : OUTCOME_RIGHT};
}

static void ties_are_learnt_where_they_are_modelled(void **state)
{
    (void)state;
    for (int modelled = 0; modelled < 2; modelled++) {
        struct engine_options options = options_with(selection_of("policy_trace"));
        options.labels_ties = modelled ? TIES_DAVIDSON : TIES_HALF;
        options.budget_in_flight = 100;
        options.budget_per_second = 100;
        options.budget_burst = 50;
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        struct margins margins = {1.5, 1.5, sel_random_init(12, 1)};
        int64_t labels = run_by(&shell, 40, 0, with_ties, &margins);
        const struct engine_view view = engine_view(shell.engine);
        assert_true(labels > 400 && view.fit_id > 3);
        if (modelled ? fabs(log(view.tie / 1.5)) > .4 : view.tie != 0)
            fail_msg("%lld labels: tie %g", (long long)labels, view.tie);
        struct shell other = start_with(shell.cluster, &options, shell.now);
        assert_true(engine_view(other.engine).tie == view.tie);
        stop(&other);
        finish(&shell);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(careless_answers_are_told_by_probes),
        cmocka_unit_test(labels_that_contradict_the_fit_are_told),
        cmocka_unit_test(ties_are_learnt_where_they_are_modelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
