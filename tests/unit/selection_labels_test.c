/* What answers tell of annotators and of the fit. */
#include "tests/unit/selection_fixture.h"

/* Answers every second of the last labels by the wrong side. */
static int64_t answer_badly(struct shell *shell, size_t from, int64_t offset, uint64_t seed)
{
    struct entry entry;
    struct sel_random random = sel_random_init(seed, from);
    while (next_selected(shell, &from, &entry)) {
        float x;
        char request_id[64];
        memcpy(&x, entry.selected.x.data, sizeof x);
        snprintf(request_id, sizeof request_id, "%.*s", (int)entry.selected.request_id.size,
                 entry.selected.request_id.data);
        bool left = x > 0;
        if (sel_random_uniform(&random) < .3) /* a coin flip */
            left = sel_random_uniform(&random) < .5;
        give_label(shell, offset++, request_id, left ? OUTCOME_LEFT : OUTCOME_RIGHT);
    }
    return offset;
}

static void careless_answers_are_told_by_probes(void **state)
{
    (void)state;
    static const char *const RULES[] = {"policy_trace", "dts", "kcenter"};
    for (size_t rule = 0; rule < sizeof RULES / sizeof *RULES; rule++) {
        struct engine_options options = options_with(selection_of(RULES[rule]));
        options.labels_lapse = (double)NAN;
        options.labels_probes = .2;
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        size_t answered = 0;
        int64_t labels = 0;
        give_completions(&shell, PROMPTS / 2 * POOL);
        turn(&shell, 2000);
        for (int k = 0; k < 40; k++) {
            size_t entries = cluster->entries;
            labels = answer_badly(&shell, answered, labels, 5);
            answered = entries;
            turn(&shell, 500);
        }
        check_selected(&shell, RULES[rule]);
        const struct engine_stats *stats = engine_stats(shell.engine);
        assert_true(stats->pairs[ARM_PROBE] > 10);
        if (!(stats->lapse > .1 && stats->lapse < .3))
            fail_msg("%s: lapse rate %g", RULES[rule], stats->lapse);
        stop(&shell);
        cluster_free(cluster);
    }
}

/* Answers the SELECTED from entry `from` on by Bernoulli(sigma(size x_0)). */
static int64_t answer_by_margin(struct shell *shell, size_t from, int64_t offset, double size,
                                struct sel_random *random)
{
    struct entry entry;
    while (next_selected(shell, &from, &entry)) {
        float x;
        char request_id[64];
        memcpy(&x, entry.selected.x.data, sizeof x);
        snprintf(request_id, sizeof request_id, "%.*s", (int)entry.selected.request_id.size,
                 entry.selected.request_id.data);
        bool left = sel_random_uniform(random) < sel_sigmoid(size * (double)x);
        give_label(shell, offset++, request_id, left ? OUTCOME_LEFT : OUTCOME_RIGHT);
    }
    return offset;
}

static void labels_that_contradict_the_fit_are_told(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("uniform"));
    options.budget_in_flight = 100;
    options.budget_per_second = 100;
    options.budget_burst = 50;
    options.fit_every = 100;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    struct sel_random random = sel_random_init(11, 1);
    size_t answered = 0;
    int64_t labels = 0;
    double before = (double)NAN, after = -INFINITY;
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 2000);
    for (int k = 0; k < 40; k++) {
        size_t entries = cluster->entries;
        labels = answer_by_margin(&shell, answered, labels, labels < 500 ? 1.5 : -1.5, &random);
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
    stop(&shell);
    cluster_free(cluster);
}

/* Answers by Davidson's three chances at the margin size x_0. */
static int64_t answer_with_ties(struct shell *shell, size_t from, int64_t offset, double tie,
                                struct sel_random *random)
{
    struct entry entry;
    while (next_selected(shell, &from, &entry)) {
        float x;
        char request_id[64];
        memcpy(&x, entry.selected.x.data, sizeof x);
        snprintf(request_id, sizeof request_id, "%.*s", (int)entry.selected.request_id.size,
                 entry.selected.request_id.data);
        struct sel_chances chances = sel_tie_chances(1.5 * (double)x, 0, tie);
        double u = sel_random_uniform(random);
        give_label(shell, offset++, request_id,
                   u < chances.tie                  ? OUTCOME_TIE
                   : u < chances.tie + chances.left ? OUTCOME_LEFT
                                                    : OUTCOME_RIGHT);
    }
    return offset;
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
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        struct sel_random random = sel_random_init(12, 1);
        size_t answered = 0;
        int64_t labels = 0;
        give_completions(&shell, PROMPTS / 2 * POOL);
        turn(&shell, 2000);
        for (int k = 0; k < 40; k++) {
            size_t entries = cluster->entries;
            labels = answer_with_ties(&shell, answered, labels, 1.5, &random);
            answered = entries;
            turn(&shell, 500);
        }
        const struct engine_view view = engine_view(shell.engine);
        assert_true(labels > 400 && view.fit_id > 3);
        if (modelled ? fabs(log(view.tie / 1.5)) > .4 : view.tie != 0)
            fail_msg("%lld labels: tie %g", (long long)labels, view.tie);
        struct shell other = start_with(cluster, &options, shell.now);
        assert_true(engine_view(other.engine).tie == view.tie);
        stop(&other);
        stop(&shell);
        cluster_free(cluster);
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
