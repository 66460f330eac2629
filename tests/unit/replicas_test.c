/* Asking again, and several answers to a pair. */
#include "tests/unit/replicas_fixture.h"

static void what_nobody_answers_is_asked_again_and_then_no_more(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(2, 1);
    options.budget_per_second = 1e-3; /* the burst alone */
    options.budget_burst = 40;
    struct shell shell = begin(&options);
    size_t first = list_asked(&shell, asked);
    assert_int_equal(first, 40);
    options.budget_per_second = 5;
    stop(&shell);
    shell = start_with(shell.cluster, &options, shell.now); /* whoever comes next goes on */
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 50000);
    assert_int_equal(list_asked(&shell, asked), first);
    turn(&shell, 11000);
    assert_int_equal(count_kind(&shell, ENTRY_EXPIRED), 40);
    size_t count = list_asked(&shell, asked);
    assert_int_equal(count, 80);
    for (size_t k = 40; k < 80; k++) {
        assert_int_equal(asked[k].attempt, 2);
        same_choice(find_asked(asked, count, asked[k].pair, 1, 1), &asked[k]);
    }
    assert_int_equal(engine_stats(shell.engine)->asked_again, 40);
    assert_int_equal(engine_stats(shell.engine)->requests_open, 40);
    turn(&shell, 61000);
    count = list_asked(&shell, asked);
    for (size_t k = 80; k < count; k++)
        assert_int_equal(asked[k].attempt, 1);
    finish(&shell);
}

/* The same prompt in two partitions has two pools: each asks again what it asked. */
static void a_partition_asks_again_what_it_asked(void **state)
{
    (void)state;
    struct engine_options options = options_asking(3, 1);
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct error error;
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        give_prompt(&shell, partition, "split", NULL);
        check(engine_end(shell.engine, INPUT_COMPLETIONS, partition, POOL, &error), &error);
    }
    for (int k = 0; k < 8; k++)
        turn(&shell, k % 2 == 0 ? 61000 : 1);
    struct entry entry;
    struct id pairs[ASKED_MAX];
    int32_t partitions[ASKED_MAX];
    size_t at = 0, count = 0, again = 0;
    while (next_selected(&shell, &at, &entry)) {
        struct id pair = identity_of(entry.selected.pair_id);
        size_t k = 0;
        while (k < count && !identity_equal(pairs[k], pair))
            k++;
        if (k < count)
            assert_int_equal(entry.selected.completions_partition, partitions[k]);
        again += k < count;
        pairs[k] = pair;
        partitions[k] = entry.selected.completions_partition;
        count += k == count;
    }
    assert_true(again > 10);
    finish(&shell);
}

static void what_waits_for_a_slot_outlives_its_owner_and_goes_before_new_pairs(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(2, 1);
    struct shell shell = begin(&options);
    for (int k = 0; k < 4; k++)
        turn(&shell, 300);
    size_t first = list_asked(&shell, asked), count = first;
    assert_int_equal(first, 40);
    turn(&shell, 62000);
    assert_int_equal(list_asked(&shell, asked), first + 10); /* all that the bucket holds */
    while (count < 2 * first) {
        size_t before = count;
        int64_t now = shell.now;
        stop(&shell);
        shell = start_with(shell.cluster, &options, now);
        give_completions(&shell, PROMPTS / 2 * POOL);
        turn(&shell, 200);
        count = list_asked(&shell, asked);
        assert_true(count > before);
    }
    for (size_t k = first; k < 2 * first; k++)
        same_choice(find_asked(asked, count, asked[k].pair, 1, 1), &asked[k]);
    finish(&shell);
}

/* rho of the newest FIT. */
static double return_rate(struct shell *shell)
{
    double rate = (double)NAN;
    for (size_t k = 0; k < shell->cluster->entries; k++) {
        const struct entry entry = entry_at(shell, k);
        if (entry.kind == ENTRY_FIT)
            rate = entry.fit.return_rate;
    }
    return rate;
}

static void a_late_answer_closes_the_attempt_under_way_and_tells_labellers(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(3, 1);
    options.budget_per_second = 1e-3;
    options.fit_every = 1;
    struct shell shell = begin(&options);
    options.budget_per_second = 1;
    int64_t now = shell.now;
    stop(&shell);
    shell = start_with(shell.cluster, &options, now);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 61000);
    size_t count = list_asked(&shell, asked);
    assert_int_equal(asked[count - 1].attempt, 2);
    const struct asked *old = find_asked(asked, count, asked[count - 1].pair, 1, 1);
    int64_t open = engine_stats(shell.engine)->requests_open;
    give_label(&shell, 0, old->request, OUTCOME_LEFT);
    turn(&shell, 1);
    assert_int_equal(shell.cluster->notices, 1);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 1);
    assert_true(engine_stats(shell.engine)->requests_open >= open - 1);
    /* Ten ran out, one of them was answered late; of the attempt that this closed nobody knows. */
    assert_float_equal(return_rate(&shell), 10.5 / 20, 1e-12);
    /* The other one's answer comes all the same: kept, and not counted twice. */
    give_label(&shell, 1, asked[count - 1].request, OUTCOME_RIGHT);
    turn(&shell, 1);
    assert_int_equal(count_kind(&shell, ENTRY_LABELLED), 2);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 1);
    assert_int_equal(asked[count - 2].attempt, 2);
    give_label(&shell, 2, asked[count - 2].request, OUTCOME_LEFT);
    turn(&shell, 1);
    assert_float_equal(return_rate(&shell), 11.5 / 21, 1e-12);
    char lived[33], restored[33];
    struct error error;
    assert_true(engine_refresh(shell.engine, &error));
    engine_digest(shell.engine, lived);
    stop(&shell);
    shell = start_with(shell.cluster, &options, 1000000);
    assert_true(engine_refresh(shell.engine, &error));
    engine_digest(shell.engine, restored);
    assert_string_equal(lived, restored);
    finish(&shell);
}

static void a_pair_is_asked_by_all_its_replicas(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 3);
    struct shell shell = begin(&options);
    for (int k = 0; k < 4; k++)
        turn(&shell, 300);
    size_t count = list_asked(&shell, asked), whole = 0;
    assert_int_equal(count, 40); /* each is charged */
    for (size_t k = 0; k < count; k++) {
        assert_true(asked[k].replica >= 1 && asked[k].replica <= 3);
        same_choice(find_asked(asked, count, asked[k].pair, 1, 1),
                    asked[k].replica == 1
                        ? &(struct asked){.arm = asked[k].arm, .propensity = asked[k].propensity}
                        : &asked[k]);
        whole += find_asked(asked, count, asked[k].pair, 3, 1) != NULL;
    }
    assert_true(whole >= count - 2 * PARTITIONS);
    /* The rest of a pair for which the slots did not suffice comes first. */
    int64_t label = answer_all(&shell, 0, 0);
    turn(&shell, 500);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, label);
    size_t more = list_asked(&shell, asked);
    for (size_t k = 0; k < count; k++)
        assert_non_null(find_asked(asked, more, asked[k].pair, 3, 1));
    finish(&shell);
}

static void a_pair_competes_again_only_where_the_rule_chose_it_and_it_was_answered(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 2);
    options.labels_replicate = REPLICATE_BEST;
    options.labels_lapse = (double)NAN;
    options.labels_probes = .1;
    struct shell shell = begin(&options);
    int64_t labels = 0;
    size_t answered = 0;
    for (int k = 0; k < 60; k++) {
        size_t entries = shell.cluster->entries;
        labels = answer_all(&shell, answered, labels);
        answered = entries;
        turn(&shell, 400);
    }
    size_t count = list_asked(&shell, asked), again = 0, control = 0;
    for (size_t k = 0; k < count; k++) {
        assert_true(asked[k].propensity > 0 && asked[k].propensity <= 1 + 1e-9);
        control += asked[k].arm == ARM_CONTROL;
        if (asked[k].replica == 1)
            continue;
        const struct asked *first = find_asked(asked, count, asked[k].pair, 1, 1);
        assert_true(first != NULL && first < &asked[k]);
        assert_int_equal(first->arm, ARM_SELECTED);
        assert_int_equal(asked[k].arm, ARM_SELECTED);
        assert_int_equal(asked[k].replica, 2);
        again++;
    }
    assert_true(again > 10 && control > 10 && again < count);
    finish(&shell);
}

static void withdraw(struct shell *shell, const char *request)
{
    struct error error;
    struct id id;
    identity_parse(span_of(request), &id);
    const struct entry entry = {.version = LEDGER_VERSION,
                                .digest = span_of("digest"),
                                .writer = span_of("operator"),
                                .time = shell->now,
                                .kind = ENTRY_WITHDRAWN,
                                .withdrawn = {.request_id = span_of(request)}};
    check(engine_entry(shell->engine, &entry, (int32_t)(id.low % LEDGER), 1 << 20, &error), &error);
    assert_int_equal(engine_stats(shell->engine)->entries_refused, 0);
}

static void what_was_withdrawn_is_not_asked_again(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX], later[ASKED_MAX];
    struct engine_options options = options_asking(3, 1);
    struct shell shell = begin(&options);
    list_asked(&shell, asked);
    withdraw(&shell, asked[0].request);
    turn(&shell, 61000);
    size_t count = list_asked(&shell, later);
    assert_non_null(find_asked(later, count, asked[1].pair, 1, 2));
    const struct asked *second = find_asked(later, count, asked[1].pair, 1, 2);
    withdraw(&shell, second->request);
    for (int k = 0; k < 3; k++)
        turn(&shell, 61000);
    count = list_asked(&shell, later);
    assert_null(find_asked(later, count, asked[0].pair, 1, 2));
    assert_null(find_asked(later, count, asked[1].pair, 1, 3));
    assert_non_null(find_asked(later, count, asked[2].pair, 1, 3));
    finish(&shell);
}

/* At psi = 0 all differ by their variance alone, which is above 0. */
static void what_is_asked_again_is_weighed_like_a_pick(void **state)
{
    (void)state;
    struct engine_options options = options_asking(2, 1);
    options.labels_lapse = .2;
    struct shell shell = begin(&options);
    struct entry entry;
    size_t at = 0, again = 0;
    turn(&shell, 61000);
    while (next_selected(&shell, &at, &entry)) {
        again += entry.selected.attempt > 1;
        assert_true(entry.selected.weight > 0);
        assert_true(entry.selected.weight < sel_weight_lapse(0, .2));
    }
    assert_true(again > 0);
    finish(&shell);
}

/* Attempts of the pairs asked first, and of those asked after. */
static void count_attempts(struct shell *shell, const struct asked *first, size_t count,
                           size_t again[2])
{
    static struct asked asked[ASKED_MAX];
    size_t all = list_asked(shell, asked);
    again[0] = again[1] = 0;
    for (size_t k = 0; k < all; k++) {
        bool early = find_asked(first, count, asked[k].pair, asked[k].replica, 1) != NULL;
        again[early ? 0 : 1] += asked[k].attempt > 1;
    }
}

static void what_would_not_count_is_not_asked_again(void **state)
{
    (void)state;
    static struct asked first[ASKED_MAX];
    for (int reset = 0; reset < 2; reset++) {
        struct engine_options options = options_asking(2, 2);
        options.labels_versions = reset ? VERSIONS_RESET : VERSIONS_KEEP;
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        shell.policy_epoch = 1;
        give_completions(&shell, PROMPTS / 2 * POOL);
        turn(&shell, 2000);
        turn(&shell, 1); /* with the moments of the turn before */
        size_t again[2], count = list_asked(&shell, first);
        assert_true(count > 0);
        shell.policy_epoch = 2;
        give_completions(&shell, PROMPTS * POOL);
        for (int k = 0; k < 4; k++)
            turn(&shell, 2000);
        count_attempts(&shell, first, count, again);
        assert_true(again[0] == 0 && again[1] == 0);
        for (int k = 0; k < 8; k++)
            turn(&shell, 15000);
        count_attempts(&shell, first, count, again);
        assert_int_equal(again[0] > 0, !reset);
        assert_true(!reset || again[1] > 0);
        finish(&shell);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_answers_is_asked_again_and_then_no_more),
        cmocka_unit_test(a_partition_asks_again_what_it_asked),
        cmocka_unit_test(what_waits_for_a_slot_outlives_its_owner_and_goes_before_new_pairs),
        cmocka_unit_test(a_late_answer_closes_the_attempt_under_way_and_tells_labellers),
        cmocka_unit_test(a_pair_is_asked_by_all_its_replicas),
        cmocka_unit_test(a_pair_competes_again_only_where_the_rule_chose_it_and_it_was_answered),
        cmocka_unit_test(what_was_withdrawn_is_not_asked_again),
        cmocka_unit_test(what_is_asked_again_is_weighed_like_a_pick),
        cmocka_unit_test(what_would_not_count_is_not_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
