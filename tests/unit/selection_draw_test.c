/* Which pair a slot gets, and with what probability over all arms. */
#include "tests/unit/selection_fixture.h"

static void give_two_prompts(struct shell *shell)
{
    give_completions(shell, POOL);
}

/* Of 2 prompts with 15 pairs each, less the two copies with their originals. */
static void check_propensity(struct selection_options selection, const char *what)
{
    check_propensities(options_with(selection), 500, give_two_prompts, 2 * 13, "", what);
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
    struct shell shell = start_with(cluster_new(), &options, 1000000);
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
    finish(&shell);
}

static struct engine_options options_one_slot(struct selection_options selection, uint64_t seed)
{
    struct engine_options options = options_with(selection);
    options.seed = seed;
    options.budget_burst = options.budget_in_flight = 1;
    return options;
}

/* Where the rule has taken nothing of one pool it is known that the slot is the rule's. */
static void a_second_draw_for_a_slot_is_the_rules(void **state)
{
    (void)state;
    size_t first = 0, second = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct engine_options options = options_one_slot(selection_defaults(&SMALL_POOLS), seed);
        options.pool_size = 4;
        struct shell shell = start_with(cluster_new(), &options, 1000000);
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
        finish(&shell);
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
        struct shell shell = start_with(cluster_new(), &options, 1000000);
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
        finish(&shell);
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
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_completions(&shell, 30 * POOL);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1000);
    /* Two of 15 pairs are copies: 60 pools, each asked with probability .433. */
    if (shell.cluster->pairs < 12 || shell.cluster->pairs > 40)
        fail_msg("%zu of 60 pools were asked", shell.cluster->pairs);
    finish(&shell);
}

/* A probe takes no pair of a pool that the rule has skipped: no other arm would. */
static void probes_stay_with_the_candidates(void **state)
{
    (void)state;
    struct sel_rule rule = SMALL_POOLS;
    rule.distribution = half;
    size_t probes = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct engine_options options = options_with(selection_defaults(&rule));
        options.seed = seed;
        options.labels_lapse = (double)NAN;
        options.labels_probes = .5;
        options.pool_picks = 1;
        options.budget_burst = options.budget_in_flight = 200;
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        run(&shell, 6, 0);
        struct entry entry;
        size_t at = 0;
        while (next_selected(&shell, &at, &entry)) {
            probes += entry.selected.arm == ARM_PROBE;
            assert_true(entry.selected.propensity > 0 && entry.selected.propensity <= 1 + 1e-9);
        }
        finish(&shell);
    }
    assert_true(probes > 5);
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
    struct shell shell = start_with(cluster_new(), &options, 1000000);
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
    finish(&shell);
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
        struct shell shell = start_with(cluster_new(), &options, 1000000);
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
        finish(&shell);
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
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        struct entry entry;
        size_t at = 0;
        give_completions(&shell, POOL);
        for (int k = 0; k < 3; k++)
            turn(&shell, 1000);
        assert_true(next_selected(&shell, &at, &entry));
        sum += 1 / entry.selected.propensity;
        squares += 1 / entry.selected.propensity / entry.selected.propensity;
        finish(&shell);
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
    check_run(&options, 20);
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
    rule.name = "overflow";
    rule.distribution = NULL;
    rule.scores = overflow;
    for (int draw = DRAW_BEST; draw <= DRAW_SOFTRANK; draw++) {
        struct selection_options selection = selection_defaults(&rule);
        selection.draw = (enum selection_draw)draw;
        selection.sharpness = draw == DRAW_SOFTMAX ? 1e300 : 1;
        struct engine_options options = options_with(selection);
        check_run(&options, 10);
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
    check_run(&options, 10);
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
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct error error = {.class = ERROR_NONE};
    give_completions(&shell, 5 * POOL);
    turn(&shell, 2000);
    assert_false(engine_tick(shell.engine, shell.now, &error));
    assert_non_null(strstr(error.message, "beyond"));
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(propensities_are_those_of_the_draws),
        cmocka_unit_test(the_best_pair_has_what_chance_leaves),
        cmocka_unit_test(a_second_draw_for_a_slot_is_the_rules),
        cmocka_unit_test(what_was_skipped_in_one_space_is_forgotten_in_the_next),
        cmocka_unit_test(pools_are_skipped_each_by_its_own_draw),
        cmocka_unit_test(probes_stay_with_the_candidates),
        cmocka_unit_test(a_uniform_pair_does_not_let_its_pool_compete),
        cmocka_unit_test(a_pair_that_the_price_declines_has_what_other_arms_give),
        cmocka_unit_test(a_uniform_pair_knows_what_a_list_would_have_taken),
        cmocka_unit_test(scores_of_nothing_are_drawn_alike),
        cmocka_unit_test(scores_beyond_numbers_are_drawn_by),
        cmocka_unit_test(chances_that_are_none_are_set_right),
        cmocka_unit_test(a_choice_beyond_the_list_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
