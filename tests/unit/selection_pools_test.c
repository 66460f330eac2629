/* Which pools are compared, and which of their completions. */
#include "tests/unit/selection_fixture.h"

static void rank_small_first(const struct sel_view *view, double *scores)
{
    bool fitted = false;
    for (size_t i = 0; i < view->n; i++)
        fitted = fitted || view->reward[i] != 0;
    for (size_t k = 0; k < view->n * (view->n - 1) / 2; k++)
        scores[k] = view->n == 4 || fitted ? 1 : -INFINITY;
}

static void what_a_rule_declines_is_looked_at_again_after_a_fit(void **state)
{
    (void)state;
    struct sel_rule rule = SMALL_POOLS;
    rule.distribution = NULL;
    rule.scores = rank_small_first;
    struct engine_options options = options_with(selection_defaults(&rule));
    options.pool_size = 4;
    options.fit_every = 4;
    options.control_share = 0;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct entry entry;
    size_t at = 0, large = 0, answered = 0;
    int64_t labels = 0;
    give_prompt(&shell, 0, "large", NULL);
    give_small_prompt(&shell, 1);
    for (int k = 0; k < 12; k++) {
        size_t entries = shell.cluster->entries;
        labels = answer_all(&shell, answered, labels);
        answered = entries;
        turn(&shell, 500);
    }
    assert_true(engine_stats(shell.engine)->fit_id > 0);
    while (next_selected(&shell, &at, &entry))
        large += entry.selected.prompt_id.data[0] == 'l';
    assert_true(large > 0);
    finish(&shell);
}

static void make_likely(struct completion *completion, size_t k)
{
    completion->policy_logprob = -30 - (double)k / 100;
    completion->reference_logprob = -5 * (double)k;
}

static void make_unlikely(struct completion *completion, size_t k)
{
    make_likely(completion, k);
    completion->policy_logprob -= 50;
}

/* A pick does not change how a pool ranks where it ranks by something else than its best pair. */
static void pools_keep_the_rank_of_their_entropy(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("apl");
    selection.parameters[sel_rule_parameter(selection.rule, "prompt_share")] = .5;
    selection.prompt_share = .5;
    struct engine_options options = options_with(selection);
    options.control_share = 0;
    options.budget_burst = 2;
    options.budget_per_second = 2;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct entry entry;
    size_t at = 0, count = 0;
    give_prompt(&shell, 0, "likely", make_likely);
    give_prompt(&shell, 0, "unlikely", make_unlikely);
    for (int k = 0; k < 8; k++)
        turn(&shell, 1000);
    for (; next_selected(&shell, &at, &entry); count++)
        assert_int_equal(entry.selected.prompt_id.data[0], 'u');
    assert_true(count > 3);
    finish(&shell);
}

static size_t prompts_asked(struct shell *shell, size_t *asked)
{
    struct entry entry;
    struct id seen[200];
    size_t at = 0, count = 0;
    *asked = 0;
    while (next_selected(shell, &at, &entry)) {
        struct id prompt = identity_of(entry.selected.prompt_id);
        size_t k = 0;
        while (k < count && !identity_equal(seen[k], prompt))
            k++;
        if (k == count)
            seen[count++] = prompt;
        ++*asked;
    }
    return count;
}

static void prompts_of_one_tick(struct selection_options selection, size_t *prompts, size_t *asked)
{
    struct engine_options options = options_with(selection);
    options.control_share = 0;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_completions(&shell, 20 * POOL);
    turn(&shell, 2000);
    turn(&shell, 0);
    *prompts = prompts_asked(&shell, asked);
    finish(&shell);
}

static void the_prompt_layer_limits_what_is_compared(void **state)
{
    (void)state;
    size_t prompts, asked;
    struct selection_options selection = selection_of("policy_trace");
    prompts_of_one_tick(selection, &prompts, &asked);
    assert_true(asked == 10 && prompts > 3);
    selection.shortlist = 1;
    prompts_of_one_tick(selection, &prompts, &asked);
    assert_true(asked == 5 && prompts == 1); /* one partition's half of the burst */
    selection.shortlist = 64;
    selection.prompt_share = .05; /* 2 of 40 */
    prompts_of_one_tick(selection, &prompts, &asked);
    assert_true(asked > 0 && prompts <= 2);
    selection.prompt_share = 1e-12; /* at least one */
    prompts_of_one_tick(selection, &prompts, &asked);
    assert_true(asked == 5 && prompts == 1);
    selection.prompt_share = .05;
    for (int k = PROMPTS_SPREAD; k <= PROMPTS_MAXMINLCB; k++) {
        selection.prompts = (enum selection_prompts)k;
        prompts_of_one_tick(selection, &prompts, &asked);
        assert_true(asked > 0 && prompts <= 2);
    }
    selection = selection_of("dts");
    selection.prompt_share = .05;
    selection.prompts = PROMPTS_ENTROPY;
    prompts_of_one_tick(selection, &prompts, &asked);
    assert_true(asked > 0 && prompts <= 2);
    /* All prompts are of one domain, the empty one. */
    selection = selection_of("policy_trace");
    selection.domain_quota = 1;
    prompts_of_one_tick(selection, &prompts, &asked);
    assert_true(asked == 5 && prompts == 1);
}

/* Every third completion of the world is a copy of the one before, all have the text "text". */
static void near_duplicates_are_counted_and_left_out(void **state)
{
    (void)state;
    for (int drop = 0; drop < 2; drop++) {
        struct engine_options options = options_with(selection_of("uniform"));
        options.pool_drop_near = drop;
        options.budget_burst = options.budget_in_flight = 1000;
        options.pool_picks = 1000;
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        shell.own_texts = true;
        give_completions(&shell, 20 * POOL);
        for (int k = 0; k < 4; k++)
            turn(&shell, 1000);
        /* Copies are no pairs as it is; with their text the copies are near-duplicates. */
        assert_int_equal(engine_stats(shell.engine)->completions_near, 2 * 20 * 2);
        assert_int_equal(shell.cluster->pairs, 2 * 20 * (drop ? 4 * 3 / 2 : 13));
        finish(&shell);
    }
    struct engine_options options = options_with(selection_of("uniform"));
    options.pool_near = 1; /* within the typical distance */
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    shell.own_texts = true;
    give_completions(&shell, 20 * POOL);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1000);
    assert_true(engine_stats(shell.engine)->completions_near > 2 * 20 * 2);
    finish(&shell);
}

static void a_dear_pair_is_asked_only_for_more(void **state)
{
    (void)state;
    for (int per_cost = 0; per_cost < 2; per_cost++) {
        struct selection_options selection = selection_of("policy_trace");
        selection.per_cost = per_cost;
        struct engine_options options = options_with(selection);
        options.control_share = 0;
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        struct error error;
        struct sel_random random = sel_random_init(5, 5);
        for (int64_t offset = 0; offset < 20 * POOL; offset++) {
            float features[D];
            char prompt[32], name[32];
            bool dear = offset / POOL % 2 == 0;
            for (size_t k = 0; k < D; k++)
                features[k] = (float)sel_random_normal(&random) * (dear ? 1.2f : 1);
            snprintf(prompt, sizeof prompt, "%s %d", dear ? "dear" : "cheap", (int)(offset / POOL));
            snprintf(name, sizeof name, "c%d", (int)(offset % POOL));
            const struct source source = {.offset = offset, .timestamp = 1000000};
            struct completion completion = records_completion(prompt, name, features, D);
            completion.cost = dear ? 100 : 1;
            check(engine_completion(shell.engine, &source, &completion, &error), &error);
        }
        turn(&shell, 2000);
        turn(&shell, 0);
        turn(&shell, 0);
        struct entry entry;
        size_t at = 0, dear = 0, count = 0;
        while (next_selected(&shell, &at, &entry)) {
            dear += entry.selected.prompt_id.data[0] == 'd';
            count++;
        }
        assert_int_equal(count, 5);
        assert_int_equal(dear > 0, !per_cost);
        finish(&shell);
    }
}

static void make_unpriceable(struct completion *completion, size_t k)
{
    static const double COSTS[POOL] = {5e-324, 1e-300, 1e300, 1e308, 0, -1};
    completion->cost = COSTS[k];
}

static void a_cost_that_no_score_can_be_divided_by_is_refused(void **state)
{
    (void)state;
    const struct engine_options options = options_with(selection_of("policy_trace"));
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_prompt(&shell, 0, "unpriceable", make_unpriceable);
    give_prompt(&shell, 0, "other", NULL);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1000);
    assert_int_equal(shell.cluster->dead_letters, POOL);
    assert_string_equal(shell.cluster->last_reason, "cost: -1 is not within 1e-100 to 1e100");
    assert_true(shell.cluster->pairs > 0);
    finish(&shell);
}

static float far_features[D];

static void make_far(struct completion *completion, size_t k)
{
    static const float VALUES[POOL] = {1e15f, -1e15f, 3e38f, -3e38f, 1e6f, -1e6f};
    for (size_t axis = 0; axis < D; axis++)
        far_features[axis] = axis == k % D ? VALUES[k] : completion->features[axis];
    completion->features = far_features;
}

/* Features beyond the scale of their space, before it is known and after. */
static void features_out_of_all_proportion_stop_nobody(void **state)
{
    (void)state;
    static const char *const RULES[] = {"policy_trace", "dopt_xx", "dts", "kcenter"};
    for (size_t rule = 0; rule < sizeof RULES / sizeof *RULES; rule++) {
        const struct engine_options options = options_with(selection_of(RULES[rule]));
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        give_prompt(&shell, 0, "far", make_far);
        give_completions(&shell, PROMPTS / 2 * POOL);
        turn(&shell, 2000);
        turn(&shell, 2000);
        size_t letters = shell.cluster->dead_letters;
        give_prompt(&shell, 1, "farther", make_far);
        for (int k = 0; k < 10; k++)
            turn(&shell, 1000);
        assert_true(shell.cluster->pairs > 20);
        assert_int_equal(shell.cluster->dead_letters, letters + POOL);
        finish(&shell);
    }
}

static void make_dear(struct completion *completion, size_t k)
{
    completion->cost = k % 2 == 0 ? 37.5 : 39.5;
}

static void a_pair_tells_its_cost_even_where_scores_ignore_it(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("policy_trace");
    selection.per_cost = false;
    const struct engine_options options = options_with(selection);
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_prompt(&shell, 0, "dear", make_dear);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1000);
    const double costs[] = {37.5, 38.5, 39.5};
    bool told = false;
    for (size_t k = 0; k < 3; k++)
        told = told || memmem(shell.cluster->last_pair.data, shell.cluster->last_pair.size,
                              &costs[k], sizeof costs[k]) != NULL;
    assert_true(told);
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_rule_declines_is_looked_at_again_after_a_fit),
        cmocka_unit_test(pools_keep_the_rank_of_their_entropy),
        cmocka_unit_test(the_prompt_layer_limits_what_is_compared),
        cmocka_unit_test(near_duplicates_are_counted_and_left_out),
        cmocka_unit_test(a_dear_pair_is_asked_only_for_more),
        cmocka_unit_test(a_cost_that_no_score_can_be_divided_by_is_refused),
        cmocka_unit_test(features_out_of_all_proportion_stop_nobody),
        cmocka_unit_test(a_pair_tells_its_cost_even_where_scores_ignore_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
