/* How pairs are chosen: the rules in the worker, what they need, and when they are asked. */
#include "tests/unit/engine_fixture.h"

#include "worker/engine/inputs.h"

/* A rule with values for the parameters that have no default. */
static struct selection_options selection_of(const char *name)
{
    static const struct {
        const char *parameter;
        double value;
    } REQUIRED[] = {{"target_margin", .5}, {"gate", 1},         {"implicit_margin", 10},
                    {"prompt_share", 1},   {"top_quantile", 2}, {"resolution", .1},
                    {"entropy_weight", 1}, {"neighbours", 2},   {"radius", 1},
                    {"reward_share", .5},  {"kernel_scale", 1}};
    struct selection_options options = selection_defaults(sel_rule_find(name));
    for (size_t k = 0; k < sizeof REQUIRED / sizeof *REQUIRED; k++) {
        size_t place = sel_rule_parameter(options.rule, REQUIRED[k].parameter);
        if (place < options.rule->parameter_count)
            options.parameters[place] = REQUIRED[k].value;
    }
    return options;
}

static struct engine_options options_with(struct selection_options selection)
{
    struct engine_options options = options_of();
    options.selection = selection;
    options.features_scale = 1;
    return options;
}

/* The next SELECTED from entry *at on; false when there is none. */
static bool next_selected(struct shell *shell, size_t *at, struct entry *entry)
{
    struct error error;
    for (; *at < shell->cluster->entries; ++*at) {
        check(contracts_decode_entry(shell->contracts, shell->cluster->ledger[*at].bytes, entry,
                                     NULL, &error),
              &error);
        if (entry->kind == ENTRY_SELECTED) {
            ++*at;
            return true;
        }
    }
    return false;
}

/* A pool of a prompt with random features, each completion as `change` wants it. */
static void give_prompt(struct shell *shell, int32_t partition, const char *prompt,
                        void (*change)(struct completion *completion, size_t k))
{
    for (size_t k = 0; k < POOL; k++) {
        float features[D];
        char name[32];
        struct error error;
        const struct source source = {.partition = partition,
                                      .offset =
                                          engine_next(shell->engine, INPUT_COMPLETIONS, partition),
                                      .timestamp = 1000000,
                                      .value = span_of("raw")};
        struct sel_random random =
            sel_random_init(5, (uint64_t)(source.offset * PARTITIONS + partition));
        for (size_t axis = 0; axis < D; axis++)
            features[axis] = (float)sel_random_normal(&random);
        snprintf(name, sizeof name, "c%zu", k);
        struct completion completion = records_completion(prompt, name, features, D);
        completion.domain = span_of(prompt);
        if (change != NULL)
            change(&completion, k);
        check(engine_completion(shell->engine, &source, &completion, &error), &error);
    }
}

static size_t count_kind(struct shell *shell, enum entry_kind kind)
{
    struct error error;
    struct entry entry;
    size_t count = 0;
    for (size_t k = 0; k < shell->cluster->entries; k++) {
        check(contracts_decode_entry(shell->contracts, shell->cluster->ledger[k].bytes, &entry,
                                     NULL, &error),
              &error);
        count += entry.kind == kind;
    }
    return count;
}

static void check_selected(struct shell *shell, const char *rule)
{
    struct entry entry;
    struct id seen[400];
    size_t at = 0, count = 0;
    while (next_selected(shell, &at, &entry)) {
        const struct entry_selected *selected = &entry.selected;
        if (!(selected->propensity > 0 && selected->propensity <= 1 + 1e-9))
            fail_msg("%s: propensity %g", rule, selected->propensity);
        if (!(selected->weight > 0 && selected->weight <= .25))
            fail_msg("%s: weight %g", rule, selected->weight);
        struct id pair = identity_of(selected->pair_id);
        for (size_t k = 0; k < count; k++)
            assert_false(identity_equal(seen[k], pair));
        assert_true(count < sizeof seen / sizeof *seen);
        seen[count++] = pair;
    }
    if (count < 60)
        fail_msg("%s asked %zu pairs", rule, count);
}

static void every_rule_asks_pairs_and_learns(void **state)
{
    (void)state;
    const struct sel_rule *rule;
    for (size_t k = 0; (rule = sel_rule_at(k)) != NULL; k++) {
        struct engine_options options = options_with(selection_of(rule->name));
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        run(&shell, 20, 0);
        check_selected(&shell, rule->name);
        const struct engine_stats *stats = engine_stats(shell.engine);
        assert_true(stats->fits > 0 && isfinite(stats->policy_trace) && stats->policy_trace > 0);
        assert_int_equal(cluster->dead_letters, 0);
        char name[64];
        snprintf(name, sizeof name, "%s", rule->name);
        assert_non_null(memmem(cluster->effects.data, cluster->effects.size, name, strlen(name)));
        stop(&shell);
        cluster_free(cluster);
    }
}

/* Sigma of a rule that wants it unweighted is kept beside the one that the gap is told by. */
static void an_unweighted_rule_agrees_after_a_restart(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("dopt_xx"));
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    int64_t labels = run(&shell, 20, 0);
    double trace = engine_stats(shell.engine)->policy_trace;
    size_t pairs = cluster->pairs;
    struct shell again = start_with(cluster, &options, shell.now);
    give_completions(&again, PROMPTS / 2 * POOL);
    turn(&again, 0);
    assert_true(fabs(engine_stats(again.engine)->policy_trace - trace) < 1e-9 * trace);
    answer_all(&again, cluster->entries, labels);
    turn(&again, 500);
    assert_true(cluster->pairs >= pairs);
    check_selected(&again, "dopt_xx");
    stop(&again);
    stop(&shell);
    cluster_free(cluster);
}

static void a_rule_that_lacks_its_input_says_so(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("sparring"));
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    struct error error;
    const float features[D] = {1, 2, 3, 4};
    const struct source source = {.offset = 0, .timestamp = 1000000, .value = span_of("raw")};
    struct completion completion = records_completion("p", "c", features, D);
    completion.reward = 1;
    check(engine_completion(shell.engine, &source, &completion, &error), &error);
    turn(&shell, 10);
    assert_int_equal(cluster->dead_letters, 1);
    assert_string_equal(cluster->last_reason,
                        "reward_deviation: is needed with selection.rule = sparring");
    stop(&shell);
    cluster_free(cluster);
}

/* ---- propensities ---- */

/* Over many seeds, 1 / propensity of the first pair averages to the number of pairs that can come:
 * 2 prompts of POOL completions with a third of them copies. */
static void check_propensity(struct selection_options selection, const char *what)
{
    enum { SEEDS = 500 };
    double sum = 0, squares = 0, asked = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct engine_options options = options_with(selection);
        options.seed = seed;
        options.budget_burst = options.budget_in_flight = 1;
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        struct entry entry;
        size_t at = 0;
        give_completions(&shell, POOL);
        turn(&shell, 2000);
        turn(&shell, 0);
        turn(&shell, 0);
        if (next_selected(&shell, &at, &entry)) {
            double inverse = 1 / entry.selected.propensity;
            sum += inverse;
            squares += inverse * inverse;
            asked++;
        }
        stop(&shell);
        cluster_free(cluster);
    }
    double mean = sum / asked, sd = sqrt(squares / asked - mean * mean) / sqrt(asked);
    const double pairs = 2 * 13; /* 15 pairs of 6, less the two copies with their originals */
    if (asked < SEEDS || fabs(mean - pairs) > 4 * sd + 1e-9)
        fail_msg("%s: %g pairs expected, %g +- %g found in %g", what, pairs, mean, sd, asked);
}

static void propensities_are_those_of_the_draws(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("uniform");
    check_propensity(selection, "uniform");
    selection = selection_of("policy_trace");
    selection.draw = DRAW_SOFTMAX;
    selection.sharpness = 2;
    check_propensity(selection, "softmax");
    selection.draw = DRAW_SOFTRANK;
    selection.sharpness = .5;
    check_propensity(selection, "softrank");
    selection.draw = DRAW_POWER;
    selection.sharpness = .5;
    selection.epsilon = .3;
    check_propensity(selection, "power with epsilon");
    check_propensity(selection_of("pi0_weighted"), "pi0_weighted");
}

static void the_best_pair_has_what_chance_leaves(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("policy_trace");
    selection.epsilon = .2;
    struct engine_options options = options_with(selection);
    options.budget_burst = options.budget_in_flight = 1;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    struct entry entry;
    size_t at = 0;
    give_completions(&shell, POOL);
    turn(&shell, 2000);
    turn(&shell, 0);
    turn(&shell, 0);
    assert_true(next_selected(&shell, &at, &entry));
    /* control.share is .25; 2 prompts of 13 pairs. */
    double chance = .25 + .75 * .2;
    double uniform = chance / 26, best = 1 - chance + chance / 26;
    assert_true(fabs(entry.selected.propensity - uniform) < 1e-12 ||
                fabs(entry.selected.propensity - best) < 1e-12);
    stop(&shell);
    cluster_free(cluster);
}

/* A rule that takes the first pair of pools of 4, and nothing of larger ones. */
static void distribute(const struct sel_view *view, double *probability)
{
    for (size_t k = 0; k < view->n * (view->n - 1) / 2; k++)
        probability[k] = view->n == 4 && k == 0;
}

static const struct sel_rule SMALL_POOLS = {
    .version = SEL_RULE_VERSION,
    .name = "small_pools",
    .formula = "1",
    .source = "this test",
    .distribution = distribute,
};

static struct engine_options options_one_slot(struct selection_options selection, uint64_t seed)
{
    struct engine_options options = options_with(selection);
    options.seed = seed;
    options.budget_burst = options.budget_in_flight = 1;
    return options;
}

static void give_small_prompt(struct shell *shell, int32_t partition)
{
    struct error error;
    for (int64_t k = 0; k < 4; k++)
        give_completion_of(shell, partition, 600 + k, "space", 0, D);
    check(engine_end(shell->engine, INPUT_COMPLETIONS, partition, 604, &error), &error);
}

/* Where the rule has taken nothing of one pool it is known that the slot is the rule's. */
static void a_second_draw_for_a_slot_is_the_rules(void **state)
{
    (void)state;
    size_t first = 0, second = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct engine_options options = options_one_slot(selection_defaults(&SMALL_POOLS), seed);
        options.pool_size = 4;
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        struct entry entry;
        size_t at = 0;
        give_prompt(&shell, 0, "large", NULL);
        give_small_prompt(&shell, 1);
        for (int k = 0; k < 3; k++)
            turn(&shell, 1000);
        assert_true(next_selected(&shell, &at, &entry));
        double propensity = entry.selected.propensity;
        /* 5 pairs: one completion of the 4 is a copy. */
        bool at_once = fabs(propensity - (.25 / 2 / 5 + .75 / 2)) < 1e-12;
        bool uniform =
            fabs(propensity - .25 / 2 / 5) < 1e-12 || fabs(propensity - .25 / 2 / 15) < 1e-12;
        if (!at_once && !uniform && fabs(propensity - 1) > 1e-12)
            fail_msg("seed %d: propensity %.17g", (int)seed, propensity);
        first += at_once;
        second += propensity > .9;
        stop(&shell);
        cluster_free(cluster);
    }
    assert_true(first > 5 && second > 5);
}

static void nothing(const struct sel_view *view, double *probability)
{
    memset(probability, 0, view->n * (view->n - 1) / 2 * sizeof *probability);
}

/* A slot that was the rule's may be another arm's in another space. */
static void what_was_skipped_in_one_space_is_forgotten_in_the_next(void **state)
{
    (void)state;
    struct sel_rule rule = SMALL_POOLS;
    rule.distribution = nothing;
    size_t asked = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct engine_options options = options_one_slot(selection_defaults(&rule), seed);
        options.control_share = .5;
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        struct entry entry;
        size_t at = 0;
        give_completions(&shell, POOL);
        turn(&shell, 2000);
        turn(&shell, 0);
        for (int64_t k = POOL; k < 2 * POOL; k++)
            give_completion_of(&shell, 0, k, "other", 1, D);
        struct error error;
        check(engine_end(shell.engine, INPUT_COMPLETIONS, 0, 2 * POOL, &error), &error);
        for (int k = 0; k < 4; k++)
            turn(&shell, 1000);
        for (; next_selected(&shell, &at, &entry); asked++)
            if (fabs(entry.selected.propensity - .5 / 13) > 1e-12 &&
                fabs(entry.selected.propensity - .25 / 13) > 1e-12)
                fail_msg("seed %d: propensity %g", (int)seed, entry.selected.propensity);
        stop(&shell);
        cluster_free(cluster);
    }
    assert_true(asked > 10);
}

static void half(const struct sel_view *view, double *probability)
{
    size_t pairs = view->n * (view->n - 1) / 2;
    for (size_t k = 0; k < pairs; k++)
        probability[k] = view->allowed[k] ? .5 / (double)pairs : 0;
}

/* One number may not decide for all pools that come while a slot is open. */
static void pools_are_skipped_each_by_its_own_draw(void **state)
{
    (void)state;
    struct sel_rule rule = SMALL_POOLS;
    rule.distribution = half;
    struct selection_options selection = selection_defaults(&rule);
    selection.when = WHEN_POOL;
    struct engine_options options = options_with(selection);
    options.control_share = 0;
    options.budget_burst = options.budget_in_flight = 1000;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    give_completions(&shell, 30 * POOL);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1000);
    /* Two of 15 pairs are copies: 60 pools, each asked with probability .433. */
    if (cluster->pairs < 12 || cluster->pairs > 40)
        fail_msg("%zu of 60 pools were asked", cluster->pairs);
    stop(&shell);
    cluster_free(cluster);
}

/* A pool that was opened for the control arm alone stays out of what the rule compares. */
static void a_uniform_pair_does_not_let_its_pool_compete(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("policy_trace");
    selection.shortlist = 1;
    struct engine_options options = options_with(selection);
    options.control_share = .5;
    options.budget_burst = options.budget_in_flight = 24;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    struct entry entry;
    struct id prompt = {0};
    size_t at = 0, chosen = 0, uniform = 0;
    give_completions(&shell, 10 * POOL);
    turn(&shell, 2000);
    turn(&shell, 0);
    while (next_selected(&shell, &at, &entry)) {
        struct id own = identity_of(entry.selected.prompt_id);
        if (entry.selected.arm == ARM_SELECTED && chosen++ == 0)
            prompt = own;
        else if (entry.selected.arm == ARM_SELECTED)
            assert_true(identity_equal(prompt, own));
    }
    for (at = 0; next_selected(&shell, &at, &entry);) {
        bool other = !identity_equal(prompt, identity_of(entry.selected.prompt_id));
        uniform += other;
        if (other && entry.selected.propensity > .1)
            fail_msg("propensity %g", entry.selected.propensity);
    }
    assert_true(chosen > 1 && uniform > 3);
    stop(&shell);
    cluster_free(cluster);
}

static void a_pair_that_the_price_declines_has_what_other_arms_give(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("policy_trace");
    selection.when = WHEN_PRICE;
    size_t asked = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct engine_options options = options_one_slot(selection, seed);
        options.control_share = .9;
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        struct entry entry;
        size_t at = 0;
        give_completions(&shell, POOL); /* the first is never worth more than the price it makes */
        turn(&shell, 2000);
        turn(&shell, 0);
        turn(&shell, 0);
        if (next_selected(&shell, &at, &entry)) {
            bool control = entry.selected.arm == ARM_CONTROL;
            if (control && fabs(entry.selected.propensity - .9 / 13) > 1e-12)
                fail_msg("seed %d: propensity %g", (int)seed, entry.selected.propensity);
            asked += control;
        }
        stop(&shell);
        cluster_free(cluster);
    }
    assert_true(asked > 60);
}

/* A uniform pair of a batch without a slot of the rule's has the rule's share all the same. */
static void a_uniform_pair_knows_what_a_list_would_have_taken(void **state)
{
    (void)state;
    double sum = 0, squares = 0;
    enum { SEEDS = 500 };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct engine_options options = options_one_slot(selection_of("trace_design"), seed);
        options.control_share = .5;
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        struct entry entry;
        size_t at = 0;
        give_completions(&shell, POOL);
        for (int k = 0; k < 3; k++)
            turn(&shell, 1000);
        assert_true(next_selected(&shell, &at, &entry));
        sum += 1 / entry.selected.propensity;
        squares += 1 / entry.selected.propensity / entry.selected.propensity;
        stop(&shell);
        cluster_free(cluster);
    }
    double mean = sum / SEEDS, sd = sqrt((squares / SEEDS - mean * mean) / SEEDS);
    if (fabs(mean - 26) > 4 * sd)
        fail_msg("26 pairs expected, %g +- %g found", mean, sd);
}

/* A power of scores that are all 0 has no favourites: somebody must be asked before the first fit.
 */
static void scores_of_nothing_are_drawn_alike(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("max_margin");
    selection.draw = DRAW_POWER;
    check_propensity(selection, "power of margins");
    struct engine_options options = options_with(selection);
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    run(&shell, 20, 0);
    check_selected(&shell, "max_margin");
    stop(&shell);
    cluster_free(cluster);
}

/* A rule that knows pairs of numbers beyond numbers. */
static void overflow(const struct sel_view *view, double *scores)
{
    for (size_t k = 0; k < view->n * (view->n - 1) / 2; k++)
        scores[k] = k % 3 == 0 ? (double)NAN : k % 3 == 1 ? (double)INFINITY : 1;
}

static void scores_beyond_numbers_are_drawn_by(void **state)
{
    (void)state;
    struct sel_rule rule = SMALL_POOLS;
    rule.distribution = NULL;
    rule.scores = overflow;
    for (int draw = DRAW_BEST; draw <= DRAW_SOFTRANK; draw++) {
        struct selection_options selection = selection_defaults(&rule);
        selection.draw = (enum selection_draw)draw;
        selection.sharpness = draw == DRAW_SOFTMAX ? 1e300 : 1;
        struct engine_options options = options_with(selection);
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        run(&shell, 10, 0);
        check_selected(&shell, "overflow");
        stop(&shell);
        cluster_free(cluster);
    }
}

/* Chances that are none: a rule of somebody else's. */
static void confuse(const struct sel_view *view, double *probability)
{
    static const double WILD[] = {(double)NAN, -1, 3, 1e300, (double)INFINITY};
    for (size_t k = 0; k < view->n * (view->n - 1) / 2; k++)
        probability[k] = WILD[(k + view->n) % 5];
}

static void chances_that_are_none_are_set_right(void **state)
{
    (void)state;
    struct sel_rule rule = SMALL_POOLS;
    rule.name = "confused";
    rule.distribution = confuse;
    check_propensity(selection_defaults(&rule), rule.name);
    struct engine_options options = options_with(selection_defaults(&rule));
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    run(&shell, 10, 0);
    check_selected(&shell, rule.name);
    stop(&shell);
    cluster_free(cluster);
}

static enum sel_status choose_beyond(const struct sel_set *set, struct sel_selection *selection)
{
    selection->count = 1;
    selection->chosen[0] = set->count;
    selection->propensity[0] = 1;
    return SEL_OK;
}

static void a_choice_beyond_the_list_is_an_error(void **state)
{
    (void)state;
    struct sel_rule rule = SMALL_POOLS;
    rule.name = "beyond";
    rule.distribution = NULL;
    rule.select = choose_beyond;
    struct engine_options options = options_with(selection_defaults(&rule));
    options.control_share = 0;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    struct error error = {.class = ERROR_NONE};
    give_completions(&shell, 5 * POOL);
    turn(&shell, 2000);
    assert_false(engine_tick(shell.engine, shell.now, &error));
    assert_non_null(strstr(error.message, "beyond"));
    stop(&shell);
    cluster_free(cluster);
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
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    give_completions(&shell, 20 * POOL);
    for (int k = 0; k < 4; k++)
        turn(&shell, 1000);
    assert_int_equal(cluster->pairs, 2 * 20);
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_int_equal(stats->pools_closed[POOL_PICKS], 2 * 20);
    assert_int_equal(stats->pools_open, 0);
    stop(&shell);
    cluster_free(cluster);
}

static void a_pool_waits_for_its_slot(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("dts");
    selection.when = WHEN_POOL;
    struct engine_options options = options_with(selection);
    options.budget_burst = 2;
    options.budget_per_second = .001;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    give_completions(&shell, 10 * POOL);
    for (int k = 0; k < 4; k++)
        turn(&shell, 1000);
    assert_int_equal(cluster->pairs, 2);
    assert_int_equal(engine_stats(shell.engine)->pools_open, 2 * 10 - 2);
    stop(&shell);
    cluster_free(cluster);
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
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
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
    struct shell again = start_with(cluster, &options, shell.now);
    give_completions(&again, (POOLS + 100) * POOL);
    size_t pairs = cluster->pairs;
    turn(&again, 2000);
    double more = (double)(cluster->pairs - pairs);
    assert_true(more > 0 && more < 2 * 100 * .6);
    stop(&again);
    stop(&shell);
    cluster_free(cluster);
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
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        give_completions(&shell, 100 * POOL);
        for (int k = 0; k < 3; k++)
            turn(&shell, 1000);
        if (cluster->pairs < 30 || cluster->pairs > 70)
            fail_msg("%s: %zu of 200 pools were asked", RULES[rule], cluster->pairs);
        stop(&shell);
        cluster_free(cluster);
    }
}

/* ---- which pools ---- */

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
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    struct entry entry;
    size_t at = 0, large = 0, answered = 0;
    int64_t labels = 0;
    give_prompt(&shell, 0, "large", NULL);
    give_small_prompt(&shell, 1);
    for (int k = 0; k < 12; k++) {
        size_t entries = cluster->entries;
        labels = answer_all(&shell, answered, labels);
        answered = entries;
        turn(&shell, 500);
    }
    assert_true(engine_stats(shell.engine)->fit_id > 0);
    while (next_selected(&shell, &at, &entry))
        large += entry.selected.prompt_id.data[0] == 'l';
    assert_true(large > 0);
    stop(&shell);
    cluster_free(cluster);
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
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    struct entry entry;
    size_t at = 0, count = 0;
    give_prompt(&shell, 0, "likely", make_likely);
    give_prompt(&shell, 0, "unlikely", make_unlikely);
    for (int k = 0; k < 8; k++)
        turn(&shell, 1000);
    for (; next_selected(&shell, &at, &entry); count++)
        assert_int_equal(entry.selected.prompt_id.data[0], 'u');
    assert_true(count > 3);
    stop(&shell);
    cluster_free(cluster);
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
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    give_completions(&shell, 20 * POOL);
    turn(&shell, 2000);
    turn(&shell, 0);
    *prompts = prompts_asked(&shell, asked);
    stop(&shell);
    cluster_free(cluster);
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
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        shell.own_texts = true;
        give_completions(&shell, 20 * POOL);
        for (int k = 0; k < 4; k++)
            turn(&shell, 1000);
        /* Copies are no pairs as it is; with their text the copies are near-duplicates. */
        assert_int_equal(engine_stats(shell.engine)->completions_near, 2 * 20 * 2);
        assert_int_equal(cluster->pairs, 2 * 20 * (drop ? 4 * 3 / 2 : 13));
        stop(&shell);
        cluster_free(cluster);
    }
    struct engine_options options = options_with(selection_of("uniform"));
    options.pool_near = 1; /* within the typical distance */
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    shell.own_texts = true;
    give_completions(&shell, 20 * POOL);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1000);
    assert_true(engine_stats(shell.engine)->completions_near > 2 * 20 * 2);
    stop(&shell);
    cluster_free(cluster);
}

static void a_dear_pair_is_asked_only_for_more(void **state)
{
    (void)state;
    for (int per_cost = 0; per_cost < 2; per_cost++) {
        struct selection_options selection = selection_of("policy_trace");
        selection.per_cost = per_cost;
        struct engine_options options = options_with(selection);
        options.control_share = 0;
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
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
        stop(&shell);
        cluster_free(cluster);
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
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    give_prompt(&shell, 0, "unpriceable", make_unpriceable);
    give_prompt(&shell, 0, "other", NULL);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1000);
    assert_int_equal(cluster->dead_letters, POOL);
    assert_string_equal(cluster->last_reason, "cost: -1 is not within 1e-100 to 1e100");
    assert_true(cluster->pairs > 0);
    stop(&shell);
    cluster_free(cluster);
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
        struct cluster *cluster = cluster_new();
        struct shell shell = start_with(cluster, &options, 1000000);
        give_prompt(&shell, 0, "far", make_far);
        give_completions(&shell, PROMPTS / 2 * POOL);
        turn(&shell, 2000);
        turn(&shell, 2000);
        size_t letters = cluster->dead_letters;
        give_prompt(&shell, 1, "farther", make_far);
        for (int k = 0; k < 10; k++)
            turn(&shell, 1000);
        assert_true(cluster->pairs > 20);
        assert_int_equal(cluster->dead_letters, letters + POOL);
        stop(&shell);
        cluster_free(cluster);
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
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    give_prompt(&shell, 0, "dear", make_dear);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1000);
    const double costs[] = {37.5, 38.5, 39.5};
    bool told = false;
    for (size_t k = 0; k < 3; k++)
        told = told || memmem(cluster->last_pair.data, cluster->last_pair.size, &costs[k],
                              sizeof costs[k]) != NULL;
    assert_true(told);
    stop(&shell);
    cluster_free(cluster);
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
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 2000);
    turn(&shell, 0);
    /* Each partition holds half of the slots; a batch may want more of one. */
    size_t first = cluster->pairs;
    assert_true(first > 4 && first <= 8);
    turn(&shell, 1000);
    assert_int_equal(cluster->pairs, first);
    turn(&shell, 4000);
    assert_true(cluster->pairs > first + 4 && cluster->pairs <= 16);
    stop(&shell);
    cluster_free(cluster);
}

static void a_list_is_a_sample_where_there_are_more_pairs(void **state)
{
    (void)state;
    struct selection_options selection = selection_of("trace_design");
    selection.candidates = 40;
    struct engine_options options = options_with(selection);
    options.control_share = 0;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 2000);
    turn(&shell, 0);
    struct entry entry;
    size_t at = 0, count = 0;
    for (; next_selected(&shell, &at, &entry); count++)
        assert_true(entry.selected.propensity < 40. / (64 * 13) + 1e-9);
    assert_true(count > 5 && count <= 10); /* each partition has five slots */
    assert_non_null(memmem(cluster->last_pair.data, cluster->last_pair.size, "certificate", 11));
    assert_non_null(
        memmem(cluster->last_pair.data, cluster->last_pair.size, "list of 40 pairs", 16));
    stop(&shell);
    cluster_free(cluster);
}

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

/* Who came to challenge meets the next one: two pairs in a row share a completion. */
static void the_challenger_stays_for_the_next_pair(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("multisbm"));
    options.control_share = 0;
    options.budget_burst = options.budget_in_flight = 20;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
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
    stop(&shell);
    cluster_free(cluster);
}

static void a_pair_tells_why(void **state)
{
    (void)state;
    struct engine_options options = options_with(selection_of("infomax"));
    options.control_share = 0;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
    run(&shell, 3, 0);
    static const char *const PARTS[] = {"score",  "weight",      "variance",    "policy",
                                        "margin", "reward_left", "reward_right"};
    for (size_t k = 0; k < sizeof PARTS / sizeof *PARTS; k++)
        assert_non_null(
            memmem(cluster->last_pair.data, cluster->last_pair.size, PARTS[k], strlen(PARTS[k])));
    assert_non_null(memmem(cluster->last_pair.data, cluster->last_pair.size, "infomax", 7));
    stop(&shell);
    cluster_free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_asks_pairs_and_learns),
        cmocka_unit_test(an_unweighted_rule_agrees_after_a_restart),
        cmocka_unit_test(a_rule_that_lacks_its_input_says_so),
        cmocka_unit_test(propensities_are_those_of_the_draws),
        cmocka_unit_test(the_best_pair_has_what_chance_leaves),
        cmocka_unit_test(a_second_draw_for_a_slot_is_the_rules),
        cmocka_unit_test(what_was_skipped_in_one_space_is_forgotten_in_the_next),
        cmocka_unit_test(pools_are_skipped_each_by_its_own_draw),
        cmocka_unit_test(a_uniform_pair_does_not_let_its_pool_compete),
        cmocka_unit_test(a_pair_that_the_price_declines_has_what_other_arms_give),
        cmocka_unit_test(a_uniform_pair_knows_what_a_list_would_have_taken),
        cmocka_unit_test(scores_of_nothing_are_drawn_alike),
        cmocka_unit_test(scores_beyond_numbers_are_drawn_by),
        cmocka_unit_test(chances_that_are_none_are_set_right),
        cmocka_unit_test(a_choice_beyond_the_list_is_an_error),
        cmocka_unit_test(each_pool_is_asked_once_it_is_ready_and_closed),
        cmocka_unit_test(a_pool_waits_for_its_slot),
        cmocka_unit_test(the_price_lets_its_share_of_the_pools_ask),
        cmocka_unit_test(worthless_pools_are_asked_by_their_share),
        cmocka_unit_test(what_a_rule_declines_is_looked_at_again_after_a_fit),
        cmocka_unit_test(pools_keep_the_rank_of_their_entropy),
        cmocka_unit_test(the_prompt_layer_limits_what_is_compared),
        cmocka_unit_test(near_duplicates_are_counted_and_left_out),
        cmocka_unit_test(a_dear_pair_is_asked_only_for_more),
        cmocka_unit_test(a_cost_that_no_score_can_be_divided_by_is_refused),
        cmocka_unit_test(features_out_of_all_proportion_stop_nobody),
        cmocka_unit_test(a_pair_tells_its_cost_even_where_scores_ignore_it),
        cmocka_unit_test(a_batch_waits_until_its_slots_are_open),
        cmocka_unit_test(a_list_is_a_sample_where_there_are_more_pairs),
        cmocka_unit_test(careless_answers_are_told_by_probes),
        cmocka_unit_test(labels_that_contradict_the_fit_are_told),
        cmocka_unit_test(the_challenger_stays_for_the_next_pair),
        cmocka_unit_test(a_pair_tells_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
