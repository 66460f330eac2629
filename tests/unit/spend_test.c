/* The limits of the budget in an engine: what is asked keeps to them, over takeovers too. */
#include "tests/unit/selection_fixture.h"
#include "worker/engine/event.h"

static const int64_t HOUR = 3600000;

static struct engine_options generous(void)
{
    struct engine_options options = options_with(selection_of("policy_trace"));
    options.budget_burst = options.budget_in_flight = 100000;
    options.budget_per_second = 1000;
    options.labels_deadline = 100 * HOUR;
    options.pool_age = 1000 * HOUR;
    return options;
}

static void turns(struct shell *shell, int count)
{
    for (int k = 0; k < count; k++)
        turn(shell, 500);
}

static struct shell run_with(struct cluster *cluster, const struct engine_options *options,
                             int64_t now, int ticks)
{
    struct shell shell = start_with(cluster, options, now);
    give_completions(&shell, 20 * POOL);
    turn(&shell, 2000);
    turns(&shell, ticks);
    return shell;
}

static void an_hour_is_used_up_and_comes_back(void **state)
{
    (void)state;
    struct engine_options options = generous();
    options.budget_per_second = 0;
    options.budget_limits.per_hour = 30;
    options.budget_limits.per_day = 70;
    struct shell shell = run_with(cluster_new(), &options, 1000000, 10);
    char text[256];
    assert_int_equal(shell.cluster->pairs, 30);
    assert_true(engine_obstacle(shell.engine, text, sizeof text));
    assert_non_null(strstr(text, "budget.per_hour: its 30 labels leave a partition no room"));
    /* The next owner knows, and asks nothing more. */
    stop(&shell);
    shell = run_with(shell.cluster, &options, shell.now, 10);
    assert_int_equal(shell.cluster->pairs, 30);
    turn(&shell, HOUR + 60000);
    turns(&shell, 5);
    assert_int_equal(shell.cluster->pairs, 60);
    turn(&shell, HOUR + 60000);
    turns(&shell, 5);
    assert_int_equal(shell.cluster->pairs, 70);
    assert_true(engine_obstacle(shell.engine, text, sizeof text));
    assert_non_null(strstr(text, "budget.per_day"));
    finish(&shell);
}

static void requests_under_way_are_named_as_what_is_in_the_way(void **state)
{
    (void)state;
    struct engine_options options = generous();
    options.budget_in_flight = 6;
    struct shell shell = run_with(cluster_new(), &options, 1000000, 5);
    char text[256];
    assert_int_equal(shell.cluster->pairs, 6);
    assert_true(engine_obstacle(shell.engine, text, sizeof text));
    assert_string_equal(text, "budget.in_flight: all of 6 requests wait for their label");
    answer_all(&shell, 0, 0);
    turn(&shell, 500);
    assert_int_equal(shell.cluster->pairs, 12);
    finish(&shell);
}

static void make_very_dear(struct completion *completion, size_t k)
{
    (void)k;
    completion->cost = 1e6;
}

/* One pair costs what the rate brings in hours: it may be asked, and what follows is told. */
static void a_pair_that_uses_up_hours_of_the_rate_is_named(void **state)
{
    (void)state;
    struct engine_options options = generous();
    options.budget_limits.by_cost = true;
    options.budget_per_second = 10;
    options.budget_burst = 10;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    for (int32_t k = 0; k < PARTITIONS; k++)
        give_prompt(&shell, k, k == 0 ? "dear" : "dear too", make_very_dear);
    turn(&shell, 2000);
    turns(&shell, 5);
    char text[256];
    assert_int_equal(shell.cluster->pairs, PARTITIONS);
    assert_true(engine_obstacle(shell.engine, text, sizeof text));
    assert_non_null(strstr(text, "budget.per_second: pairs of a high cost"));
    finish(&shell);
}

static void a_prompt_is_asked_no_more_than_it_may(void **state)
{
    (void)state;
    for (int when = WHEN_SLOTS; when <= WHEN_POOL; when++) {
        struct engine_options options = generous();
        options.budget_limits.per_prompt = 3;
        options.labels_window = 2 * HOUR;
        options.selection.when = (enum selection_when)when;
        options.pool_picks = 5;
        struct shell shell = run_with(cluster_new(), &options, 1000000, 10);
        struct entry entry;
        size_t at = 0, most = 0, asked[2][20] = {{0}};
        while (next_selected(&shell, &at, &entry)) {
            int partition, number;
            char prompt[64];
            snprintf(prompt, sizeof prompt, "%.*s", (int)entry.selected.prompt_id.size,
                     entry.selected.prompt_id.data);
            assert_int_equal(sscanf(prompt, "prompt %d-%d", &partition, &number), 2);
            size_t count = ++asked[partition][number];
            most = count > most ? count : most;
        }
        assert_int_equal(most, 3);
        if (when == WHEN_SLOTS) {
            char text[256];
            assert_int_equal(shell.cluster->pairs, 2 * 20 * 3);
            assert_true(engine_obstacle(shell.engine, text, sizeof text));
            assert_non_null(strstr(text, "of 40 ready pools 40 have had budget.per_prompt"));
            stop(&shell);
            shell = run_with(shell.cluster, &options, shell.now, 5);
            assert_int_equal(shell.cluster->pairs, 2 * 20 * 3);
            /* What was asked leaves the window. */
            turn(&shell, 2 * HOUR + 10000);
            turns(&shell, 10);
            assert_int_equal(shell.cluster->pairs, 2 * 20 * (3 + 2));
        }
        finish(&shell);
    }
}

static void make_dear(struct completion *completion, size_t k)
{
    completion->cost = k == 0 ? 9 : 2;
}

static void costs_add_up_to_the_total(void **state)
{
    (void)state;
    struct engine_options options = generous();
    options.budget_limits.total = 40;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct entry entry;
    size_t at = 0;
    double sum[PARTITIONS] = {0};
    for (int k = 0; k < 10; k++) {
        char prompt[16];
        snprintf(prompt, sizeof prompt, "p%d", k);
        give_prompt(&shell, k % PARTITIONS, prompt, make_dear);
    }
    for (int k = 0; k < 10; k++)
        turn(&shell, 1000);
    while (next_selected(&shell, &at, &entry))
        sum[entry.selected.completions_partition] += entry.selected.cost;
    for (int32_t k = 0; k < PARTITIONS; k++) {
        assert_true(sum[k] <= 20);
        assert_true(sum[k] > 20 - 5.5); /* less than the dearest pair is left */
    }
    char text[256];
    assert_true(engine_obstacle(shell.engine, text, sizeof text));
    assert_non_null(strstr(text, "budget.total"));
    size_t pairs = shell.cluster->pairs;
    stop(&shell);
    shell = start_with(shell.cluster, &options, shell.now);
    for (int k = 0; k < 10; k++)
        turn(&shell, 1000);
    assert_int_equal(shell.cluster->pairs, pairs);
    finish(&shell);
}

/* ---- domains ---- */

static void make_code(struct completion *completion, size_t k)
{
    (void)k;
    completion->domain = span_of("code");
}

static void make_chat(struct completion *completion, size_t k)
{
    (void)k;
    completion->domain = span_of("chat");
}

/* A pool of code and one of chat in each partition. */
static void give_domains(struct shell *shell)
{
    for (int32_t k = 0; k < PARTITIONS; k++) {
        char prompt[32];
        snprintf(prompt, sizeof prompt, "code %d", k);
        give_prompt(shell, k, prompt, make_code);
        snprintf(prompt, sizeof prompt, "chat %d", k);
        give_prompt(shell, k, prompt, make_chat);
    }
}

static size_t count_domain(struct shell *shell, const char *domain, size_t *all)
{
    struct entry entry;
    size_t at = 0, count = 0;
    *all = 0;
    while (next_selected(shell, &at, &entry)) {
        count += span_equal(entry.selected.domain, span_of(domain));
        ++*all;
    }
    return count;
}

static void domains_keep_to_their_shares(void **state)
{
    (void)state;
    static const struct {
        double floor, cap;
        size_t least, most; /* of the first 20 of two partitions */
    } CASES[] = {{0, .2, 4, 4}, {.8, 1, 16, 16}, {0, 0, 0, 0}};
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        struct engine_options options = generous();
        options.budget_per_second = 1e-9;
        options.budget_burst = 20;
        options.budget_limits.domain_count = 1;
        options.budget_limits.domains[0] =
            (struct budget_domain){identity_of(span_of("code")), CASES[k].floor, CASES[k].cap};
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        give_domains(&shell);
        size_t all, own;
        for (int tick = 0; tick < 30; tick++)
            turn(&shell, 1000);
        own = count_domain(&shell, "code", &all);
        if (all != 20 || own < CASES[k].least || own > CASES[k].most)
            fail_msg("case %zu: %zu of %zu", k, own, all);
        finish(&shell);
    }
}

/* Of two pools of 15 pairs, where shares leave two of the four. */
static void check_propensity(struct selection_options selection, double floor, double cap,
                             const char *what)
{
    struct engine_options options = options_with(selection);
    options.budget_limits.domain_count = 1;
    options.budget_limits.domains[0] =
        (struct budget_domain){identity_of(span_of("code")), floor, cap};
    check_propensities(options, 400, give_domains, 30, cap > 0 ? "code" : "chat", what);
}

static void propensities_are_right_under_shares(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("policy_trace");
    check_propensity(selection_of("uniform"), .3, 1, "uniform, floor");
    check_propensity(selection_of("uniform"), 0, 0, "uniform, cap");
    selection.draw = DRAW_SOFTMAX;
    selection.sharpness = 2;
    check_propensity(selection, .3, 1, "softmax, floor");
    check_propensity(selection, 0, 0, "softmax, cap");
    selection = selection_of("dts");
    selection.epsilon = .3;
    check_propensity(selection, .3, 1, "dts, floor");
    check_propensity(selection, 0, 0, "dts, cap");
}

/* ---- quiet hours, and a budget that changes ---- */

static void nothing_is_asked_in_quiet_hours(void **state)
{
    (void)state;
    struct engine_options options = generous();
    /* 1000000 ms after the epoch it is a Thursday, a quarter past midnight. */
    options.budget_limits.quiet_count = 1;
    options.budget_limits.quiet[0] = (struct budget_quiet){1 << 3, 0, 60};
    struct shell shell = run_with(cluster_new(), &options, 1000000, 10);
    char text[256];
    assert_int_equal(shell.cluster->pairs, 0);
    assert_true(engine_obstacle(shell.engine, text, sizeof text));
    assert_non_null(strstr(text, "budget.quiet"));
    turn(&shell, HOUR - shell.now - 1);
    assert_int_equal(shell.cluster->pairs, 0);
    turn(&shell, 1);
    assert_true(shell.cluster->pairs > 0);
    finish(&shell);
}

static void give_budget(struct shell *shell, const struct budget_options *budget,
                        const char *digest)
{
    struct error error;
    const struct event event = {
        .kind = EVENT_BUDGET,
        .source = {.key = span_of(digest), .value = {(const char *)budget, sizeof *budget}}};
    check(event_apply(shell->engine, shell->contracts, &event, &error), &error);
}

static void a_budget_changes_while_the_engine_lives(void **state)
{
    (void)state;
    struct engine_options options = generous();
    options.budget_per_second = 1e-9;
    options.budget_burst = 10;
    struct shell shell = run_with(cluster_new(), &options, 1000000, 5);
    assert_int_equal(shell.cluster->pairs, 10);
    /* Another rate: what was spent stays spent. */
    struct budget_options budget = {
        .per_second = 1e-9, .burst = 16, .in_flight = 100000, .limits.per_hour = 14};
    give_budget(&shell, &budget, "digest of tomorrow");
    turns(&shell, 5);
    assert_int_equal(shell.cluster->pairs, 14);
    /* A quiet hour, at once. */
    budget.limits = (struct budget_limits){.quiet_count = 1, .quiet = {{1 << 3, 0, 60}}};
    budget.burst = 1000;
    give_budget(&shell, &budget, "digest of tomorrow");
    turn(&shell, 500);
    assert_int_equal(shell.cluster->pairs, 14);
    budget.limits = (struct budget_limits){.per_prompt = 1};
    give_budget(&shell, &budget, "digest of tomorrow");
    turns(&shell, 10);
    struct entry entry;
    size_t at = 0, count = 0;
    while (next_selected(&shell, &at, &entry))
        assert_true(
            span_equal(entry.digest, span_of(count++ < 10 ? "digest" : "digest of tomorrow")));
    assert_in_range(count, 40, 40 + 13); /* each prompt once, but for those asked before */
    /* Own entries of before are no other worker's. */
    assert_int_equal(engine_stats(shell.engine)->foreign_entries, 0);
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_hour_is_used_up_and_comes_back),
        cmocka_unit_test(requests_under_way_are_named_as_what_is_in_the_way),
        cmocka_unit_test(a_pair_that_uses_up_hours_of_the_rate_is_named),
        cmocka_unit_test(a_prompt_is_asked_no_more_than_it_may),
        cmocka_unit_test(costs_add_up_to_the_total),
        cmocka_unit_test(domains_keep_to_their_shares),
        cmocka_unit_test(propensities_are_right_under_shares),
        cmocka_unit_test(nothing_is_asked_in_quiet_hours),
        cmocka_unit_test(a_budget_changes_while_the_engine_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
