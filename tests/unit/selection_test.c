/* How pairs are chosen: the rules in the worker, what they need, and when they are asked. */
#include "tests/unit/selection_fixture.h"

static void every_rule_asks_pairs_and_learns(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    for (size_t k = 0; (rule = sel_rule_at(k)) != NULL; k++) {
        struct engine_options options = options_with(selection_of(rule->name));
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        run(&shell, 20, 0);
        check_selected(&shell, rule->name);
        const struct engine_stats *stats = engine_stats(shell.engine);
        assert_true(stats->fits > 0 && isfinite(stats->policy_trace) && stats->policy_trace > 0);
        assert_int_equal(shell.cluster->dead_letters, 0);
        char name[64];
        snprintf(name, sizeof name, "%s", rule->name);
        assert_non_null(
            memmem(shell.cluster->effects.data, shell.cluster->effects.size, name, strlen(name)));
        finish(&shell);
    }
}

/* Sigma of a rule that wants it unweighted is kept beside the one that the gap is told by. */
static void an_unweighted_rule_agrees_after_a_restart(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("dopt_xx"));
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    int64_t labels = run(&shell, 20, 0);
    double trace = engine_stats(shell.engine)->policy_trace;
    size_t pairs = shell.cluster->pairs;
    struct shell again = start_with(shell.cluster, &options, shell.now);
    give_completions(&again, PROMPTS / 2 * POOL);
    turn(&again, 0);
    assert_true(fabs(engine_stats(again.engine)->policy_trace - trace) < 1e-9 * trace);
    answer_all(&again, shell.cluster->entries, labels);
    turn(&again, 500);
    assert_true(shell.cluster->pairs >= pairs);
    check_selected(&again, "dopt_xx");
    stop(&again);
    finish(&shell);
}

static void a_rule_that_lacks_its_input_says_so(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("sparring"));
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct error error;
    const float features[D] = {1, 2, 3, 4};
    const struct source source = {.offset = 0, .timestamp = 1000000, .value = span_of("raw")};
    struct completion completion = records_completion("p", "c", features, D);
    completion.reward = 1;
    check(engine_completion(shell.engine, &source, &completion, &error), &error);
    turn(&shell, 10);
    assert_int_equal(shell.cluster->dead_letters, 1);
    assert_string_equal(shell.cluster->last_reason,
                        "reward_deviation: is needed with selection.rule = sparring");
    finish(&shell);
}

/* ---- when ---- */

static void each_pool_is_asked_once_it_is_ready_and_closed(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("policy_trace");
    selection.when = WHEN_POOL;
    struct engine_options options = options_with(selection);
    options.budget_burst = 1000;
    options.budget_in_flight = 1000;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_completions(&shell, 20 * POOL);
    for (int k = 0; k < 4; k++)
        turn(&shell, 1000);
    assert_int_equal(shell.cluster->pairs, 2 * 20);
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_int_equal(stats->pools_closed[POOL_PICKS], 2 * 20);
    assert_int_equal(stats->pools_open, 0);
    finish(&shell);
}

static void a_pool_waits_for_its_slot(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("dts");
    selection.when = WHEN_POOL;
    struct engine_options options = options_with(selection);
    options.budget_burst = 2;
    options.budget_per_second = .001;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_completions(&shell, 10 * POOL);
    for (int k = 0; k < 4; k++)
        turn(&shell, 1000);
    assert_int_equal(shell.cluster->pairs, 2);
    assert_int_equal(engine_stats(shell.engine)->pools_open, 2 * 10 - 2);
    finish(&shell);
}

static void the_price_lets_its_share_of_the_pools_ask(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("policy_trace");
    selection.when = WHEN_PRICE;
    selection.price_share = .3;
    struct engine_options options = options_with(selection);
    options.control_share = 0;
    options.budget_burst = options.budget_in_flight = 100000;
    options.labels_deadline = 100000000;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    enum { POOLS = 600 };
    double asked_before = 0, pools_before = 0;
    for (int k = 1; k <= POOLS; k += 10) {
        give_completions(&shell, k * POOL);
        turn(&shell, 300);
        const struct engine_stats *so_far = engine_stats(shell.engine);
        if (k > POOLS / 2 && pools_before == 0) { /* the first scores are far above the later */
            asked_before = (double)so_far->pairs[ARM_SELECTED];
            pools_before =
                (double)(so_far->pools_closed[POOL_PICKS] + so_far->pools_closed[POOL_PASSED]);
        }
    }
    turn(&shell, 1000);
    turn(&shell, 0);
    const struct engine_stats *stats = engine_stats(shell.engine);
    double pools = (double)(stats->pools_closed[POOL_PICKS] + stats->pools_closed[POOL_PASSED]);
    double share = ((double)stats->pairs[ARM_SELECTED] - asked_before) / (pools - pools_before);
    /* Scores fall while labels are few, and the price follows them. */
    if (fabs(share - .3) > .12)
        fail_msg("%g of the pools were asked", share);
    size_t prices = count_kind(&shell, ENTRY_PRICE);
    assert_true(prices > 20 && prices <= 2 * (POOLS / 10 * 300 / 1000 + 2));
    /* The next owner goes on with the price that was written. */
    struct shell again = start_with(shell.cluster, &options, shell.now);
    give_completions(&again, (POOLS + 100) * POOL);
    size_t pairs = shell.cluster->pairs;
    turn(&again, 2000);
    double more = (double)(shell.cluster->pairs - pairs);
    assert_true(more > 0 && more < 2 * 100 * .6);
    stop(&again);
    finish(&shell);
}

/* Before the first fit all margins are 0, and no pool is worth more than that. */
static void worthless_pools_are_asked_by_their_share(void **state)
{
    (void)state;
    static const char *const RULES[] = {"max_margin", "first2"};
    for (size_t rule = 0; rule < 2; rule++) {
        struct selection_options selection = selection_of(RULES[rule]);
        selection.when = WHEN_PRICE;
        struct engine_options options = options_with(selection);
        options.control_share = 0;
        options.budget_burst = options.budget_in_flight = 1000;
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        give_completions(&shell, 100 * POOL);
        for (int k = 0; k < 3; k++)
            turn(&shell, 1000);
        if (shell.cluster->pairs < 30 || shell.cluster->pairs > 70)
            fail_msg("%s: %zu of 200 pools were asked", RULES[rule], shell.cluster->pairs);
        finish(&shell);
    }
}

/* ---- batches ---- */

static void a_batch_waits_until_its_slots_are_open(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("kcenter");
    selection.batch = 8;
    struct engine_options options = options_with(selection);
    options.budget_burst = 8;
    options.budget_per_second = 2;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 2000);
    turn(&shell, 0);
    /* Each partition holds half of the slots; a batch may want more of one. */
    size_t first = shell.cluster->pairs;
    assert_true(first > 4 && first <= 8);
    turn(&shell, 1000);
    assert_int_equal(shell.cluster->pairs, first);
    turn(&shell, 4000);
    assert_true(shell.cluster->pairs > first + 4 && shell.cluster->pairs <= 16);
    finish(&shell);
}

static void a_list_is_a_sample_where_there_are_more_pairs(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("trace_design");
    selection.candidates = 40;
    struct engine_options options = options_with(selection);
    options.control_share = 0;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 2000);
    turn(&shell, 0);
    struct entry entry;
    size_t at = 0, count = 0;
    for (; next_selected(&shell, &at, &entry); count++)
        assert_true(entry.selected.propensity < 40. / (64 * 13) + 1e-9);
    assert_true(count > 5 && count <= 10); /* each partition has five slots */
    assert_non_null(
        memmem(shell.cluster->last_pair.data, shell.cluster->last_pair.size, "certificate", 11));
    assert_non_null(memmem(shell.cluster->last_pair.data, shell.cluster->last_pair.size,
                           "list of 40 pairs", 16));
    finish(&shell);
}

/* Who came to challenge meets the next one: two pairs in a row share a completion. */
static void the_challenger_stays_for_the_next_pair(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("multisbm"));
    options.control_share = 0;
    options.budget_burst = options.budget_in_flight = 20;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct entry entry;
    struct id left = {0}, right = {0}, challenger = {0};
    size_t at = 0, pairs = 0;
    give_prompt(&shell, 0, "one", NULL);
    turn(&shell, 2000);
    turn(&shell, 0);
    for (; next_selected(&shell, &at, &entry); pairs++) {
        struct id one = identity_of(entry.selected.left_id);
        struct id other = identity_of(entry.selected.right_id);
        bool met = identity_equal(challenger, one) || identity_equal(challenger, other);
        if (pairs >= 2 && !met)
            fail_msg("pair %zu is without the challenger of the one before", pairs);
        bool stood = identity_equal(one, left) || identity_equal(one, right);
        challenger = stood ? other : one;
        left = one;
        right = other;
    }
    assert_true(pairs >= 4);
    finish(&shell);
}

static void a_pair_tells_why(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("infomax"));
    options.control_share = 0;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    run(&shell, 3, 0);
    static const char *const PARTS[] = {"score",  "weight",      "variance",    "policy",
                                        "margin", "reward_left", "reward_right"};
    for (size_t k = 0; k < sizeof PARTS / sizeof *PARTS; k++)
        assert_non_null(memmem(shell.cluster->last_pair.data, shell.cluster->last_pair.size,
                               PARTS[k], strlen(PARTS[k])));
    assert_non_null(
        memmem(shell.cluster->last_pair.data, shell.cluster->last_pair.size, "infomax", 7));
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_asks_pairs_and_learns),
        cmocka_unit_test(an_unweighted_rule_agrees_after_a_restart),
        cmocka_unit_test(a_rule_that_lacks_its_input_says_so),
        cmocka_unit_test(each_pool_is_asked_once_it_is_ready_and_closed),
        cmocka_unit_test(a_pool_waits_for_its_slot),
        cmocka_unit_test(the_price_lets_its_share_of_the_pools_ask),
        cmocka_unit_test(worthless_pools_are_asked_by_their_share),
        cmocka_unit_test(a_batch_waits_until_its_slots_are_open),
        cmocka_unit_test(a_list_is_a_sample_where_there_are_more_pairs),
        cmocka_unit_test(the_challenger_stays_for_the_next_pair),
        cmocka_unit_test(a_pair_tells_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
