/* The engine as a whole: what events make of it. */
#include "tests/unit/engine_fixture.h"

/* ---- tests ---- */

static void pairs_come_once_there_is_a_scale_and_stop_at_the_budget(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    char why[200];
    give_completions(&shell, 49 / 2 * POOL);
    turn(&shell, 1000);
    assert_int_equal(shell.cluster->pairs, 0);
    assert_true(engine_obstacle(shell.engine, why, sizeof why));
    assert_non_null(strstr(why, "48 of 50"));
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 1000);
    assert_int_equal(shell.cluster->pairs, 0); /* SPACE is written, and in force once it is read */
    turn(&shell, 0);
    assert_false(engine_obstacle(shell.engine, why, sizeof why));
    assert_int_equal(shell.cluster->pairs, 10); /* the burst */
    for (int k = 0; k < 100; k++)
        turn(&shell, 100);
    assert_int_equal(shell.cluster->pairs, 40); /* the most under way */
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_int_equal(stats->requests_open, 40);
    assert_int_equal(stats->pools_ready, PROMPTS);
    assert_true(stats->pairs[ARM_CONTROL] > 0 && stats->pairs[ARM_SELECTED] > 20);
    finish(&shell);
}

static void the_same_events_give_the_same_bytes(void **state)
{
    (void)state;
    struct cluster *first = cluster_new(), *second = cluster_new();
    struct shell one = start(first, 1000000), two = start(second, 1000000);
    run(&one, 30, 0);
    run(&two, 30, 0);
    assert_true(first->effects.size > 10000);
    assert_int_equal(first->effects.size, second->effects.size);
    assert_memory_equal(first->effects.data, second->effects.data, first->effects.size);
    stop(&one);
    stop(&two);
    cluster_free(first);
    cluster_free(second);
}

static void no_pair_is_asked_twice_nor_a_copy_with_its_original(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    run(&shell, 60, 0);
    assert_true(shell.cluster->pairs > 300);
    for (size_t k = 0; k < shell.cluster->entries; k++) {
        struct entry entry = entry_at(&shell, k);
        if (entry.kind != ENTRY_SELECTED)
            continue;
        float x[D];
        memcpy(x, entry.selected.x.data, sizeof x);
        assert_true(x[0] != 0 || x[1] != 0);
        assert_false(span_equal(entry.selected.left_id, entry.selected.right_id));
        assert_true(entry.selected.propensity > 0 && entry.selected.propensity <= 1);
        for (size_t other = 0; other < k; other++) {
            const struct entry earlier = entry_at(&shell, other);
            if (earlier.kind == ENTRY_SELECTED)
                assert_false(span_equal(earlier.selected.request_id, entry.selected.request_id));
        }
    }
    finish(&shell);
}

static void a_restart_arrives_at_the_same_state_and_asks_nothing_again(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    int64_t labels = run(&shell, 30, 0);
    turn(&shell, 1);
    const struct engine_stats before = *engine_stats(shell.engine);
    size_t pairs = shell.cluster->pairs;
    int64_t now = shell.now;
    stop(&shell);
    assert_true(before.fit_id > 2);

    shell = start(shell.cluster, now);
    assert_true(engine_reread_left(shell.engine) > 0);
    give_completions(&shell, PROMPTS / 2 * POOL);
    assert_int_equal(engine_reread_left(shell.engine), 0);
    turn(&shell, 0);
    const struct engine_stats after = *engine_stats(shell.engine);
    assert_int_equal(shell.cluster->pairs, pairs);
    assert_int_equal(after.requests, before.requests);
    assert_int_equal(after.requests_open, before.requests_open);
    assert_int_equal(after.labels_counted, before.labels_counted);
    assert_int_equal(after.fit_id, before.fit_id);
    assert_int_equal(after.moments_pools, before.moments_pools);
    assert_int_equal(after.pools_open, before.pools_open);
    assert_true(fabs(after.policy_trace / before.policy_trace - 1) < 1e-9);
    /* It goes on: new labels, no label counted twice when it is delivered again. */
    int64_t again = answer_all(&shell, 0, labels);
    turn(&shell, 1000);
    assert_true(again > labels);
    for (int k = 0; k < 20; k++)
        turn(&shell, 500);
    assert_true(shell.cluster->pairs > pairs);
    finish(&shell);
}

static void moments_are_counted_once_over_restarts(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new();
    int64_t pools = 0, now = 1000000;
    for (int round = 1; round <= 6; round++) {
        struct shell shell = start(cluster, now);
        /* Ends in the middle of a prompt, so that pools reach over every restart. */
        give_completions(&shell, (PROMPTS / 2 * POOL) * round / 6 - (round < 6 ? 2 : 0));
        turn(&shell, 2000);
        turn(&shell, 2000);
        now = shell.now;
        stop(&shell);
    }
    const struct shell reader = {.contracts = load_contracts(), .cluster = cluster};
    int64_t next[PARTITIONS] = {0};
    for (size_t k = 0; k < cluster->entries; k++) {
        const struct entry entry = entry_at(&reader, k);
        if (entry.kind != ENTRY_MOMENTS)
            continue;
        assert_int_equal(entry.moments.from, next[entry.moments.completions_partition]);
        next[entry.moments.completions_partition] = entry.moments.to;
        pools += entry.moments.pools;
    }
    assert_int_equal(pools, PROMPTS);
    contracts_free(reader.contracts);
    cluster_free(cluster);
}

static void an_early_label_waits_and_holds_its_offset(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    struct error error;
    char unknown[ID_TEXT_SIZE];
    identity_format(identity_of(span_of("nobody asked")), unknown);
    give_label(&shell, 0, unknown, OUTCOME_LEFT);
    give_label(&shell, 1, "not an id", OUTCOME_LEFT);
    turn(&shell, 10);
    assert_int_equal(shell.cluster->dead_letters, 1);
    assert_non_null(strstr(shell.cluster->last_reason, "request_id"));
    assert_int_equal(shell.cluster->committed[INPUT_LABELS][0].next, 0);
    assert_int_equal(engine_stats(shell.engine)->labels_waiting, 1);
    check(engine_ledger_passed(shell.engine, engine_ticket(shell.engine), &error), &error);
    turn(&shell, 10);
    assert_int_equal(shell.cluster->dead_letters, 2);
    assert_non_null(strstr(shell.cluster->last_reason, "aborted-or-unknown"));
    assert_int_equal(shell.cluster->committed[INPUT_LABELS][0].next, 2);
    for (int64_t k = 2; k < 7; k++)
        give_label(&shell, k, unknown, OUTCOME_LEFT);
    assert_true(engine_waiting(shell.engine, 0) >= 1);
    finish(&shell);
}

static void unanswered_requests_expire_and_late_labels_still_count(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 1000);
    turn(&shell, 1000);
    size_t pairs = shell.cluster->pairs;
    turn(&shell, 61000);
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_int_equal(stats->expired, (int64_t)pairs);
    double trace = stats->policy_trace;
    int64_t late = answer_all(&shell, 0, 0);
    turn(&shell, 100);
    assert_true(late >= (int64_t)pairs);
    assert_int_equal(stats->labels_counted, late);
    assert_true(stats->policy_trace < trace);
    /* Behind labels.late they are refused. */
    turn(&shell, 100000);
    turn(&shell, 100000);
    size_t before = shell.cluster->dead_letters;
    const struct entry first = first_of(&shell, ENTRY_SELECTED);
    give_answer(&shell, late, (struct label){.request_id = first.selected.request_id});
    turn(&shell, 100);
    assert_int_equal(shell.cluster->dead_letters, before + 1);
    assert_non_null(strstr(shell.cluster->last_reason, "too late"));
    finish(&shell);
}

static void the_share_that_comes_back_is_learned(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    const struct engine_stats *stats = engine_stats(shell.engine);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 1000);
    turn(&shell, 1000);
    assert_true(stats->return_rate == 1);
    /* By turns a round is answered, and one expires. */
    size_t from = 0;
    int64_t labels = 0;
    for (int round = 0; round < 12; round++) {
        size_t entries = shell.cluster->entries;
        if (round % 2 == 0)
            labels = answer_all(&shell, from, labels);
        from = entries;
        turn(&shell, 100);
        turn(&shell, 61000);
        stats = engine_stats(shell.engine);
    }
    assert_true(stats->fits > 0 && stats->expired > 30);
    double decided = (double)(stats->labels_counted + stats->expired);
    if (!(stats->return_rate > .4 && stats->return_rate < .8))
        fail_msg("return rate %g, %g of %g answered", stats->return_rate,
                 (double)stats->labels_counted, decided);
    finish(&shell);
}

static void a_skip_frees_the_slot_and_tells_nothing(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 1000);
    turn(&shell, 1000);
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_int_equal(stats->requests_open, 10);
    answer_by(&shell, 0, 0, skips, NULL);
    /* Nothing under way, nothing learnt: the trace is that of the prior again. */
    assert_int_equal(engine_stats(shell.engine)->outcomes[OUTCOME_SKIP], 10);
    turn(&shell, 0);
    assert_int_equal(stats->labels_counted, 0);
    assert_int_equal(stats->requests_open, 0);
    finish(&shell);
}

static void bad_completions_are_dead_letters_and_the_good_go_on(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    struct error error;
    give_completion(&shell, 0, 0);
    const float features[D + 1] = {1, 2, 3, 4, 5};
    struct source source = {
        .partition = 0, .offset = 1, .timestamp = 1000000, .value = span_of("raw bytes")};
    struct completion completion = {.prompt_id = span_of("p"),
                                    .completion_id = span_of("c"),
                                    .feature_space = span_of("space"),
                                    .features = features,
                                    .dimension = D + 1,
                                    COMPLETION_ABSENT};
    check(engine_completion(shell.engine, &source, &completion, &error), &error);
    turn(&shell, 10);
    assert_non_null(strstr(shell.cluster->last_reason, "features: has 5 values"));
    source.offset = 2;
    completion.dimension = D;
    completion.feature_space = span_of("other");
    check(engine_completion(shell.engine, &source, &completion, &error), &error);
    turn(&shell, 10);
    assert_non_null(strstr(shell.cluster->last_reason, "feature_space"));
    source.offset = 3;
    check(engine_reject(shell.engine, &source, "decode", "broken", &error), &error);
    turn(&shell, 10);
    assert_int_equal(shell.cluster->dead_letters, 3);
    give_completion(&shell, 0, 4);
    turn(&shell, 10);
    assert_int_equal(engine_stats(shell.engine)->completions, 2);
    assert_int_equal(shell.cluster->committed[INPUT_COMPLETIONS][0].next, 5);
    /* Its low-water is the first completion that a pool still holds. */
    assert_int_equal(shell.cluster->committed[INPUT_COMPLETIONS][0].low_water, 0);
    finish(&shell);
}

/* A completion of `size` bytes of text for a prompt of its own. */
static void give_text(struct shell *shell, int64_t offset, size_t size)
{
    struct error error;
    char prompt[32];
    const float features[D] = {1, 2, 3, 4};
    char *text = calloc(1, size + 1);
    assert_non_null(text);
    memset(text, 'x', size);
    snprintf(prompt, sizeof prompt, "prompt %lld", (long long)offset);
    const struct source source = {
        .offset = offset, .timestamp = 1000000, .value = span_of("raw bytes")};
    struct completion completion = records_completion(prompt, "c", features, D);
    completion.text = (struct span){text, size};
    check(engine_completion(shell->engine, &source, &completion, &error), &error);
    free(text);
}

static void a_long_completion_costs_a_full_memory_few_of_its_pools(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.limits_text = 8 << 20;
    options.pools_bytes = 4 << 20;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    const struct engine_stats *stats = engine_stats(shell.engine);
    int64_t offset = 0;
    while (stats->pools_closed[POOL_MEMORY] == 0)
        give_text(&shell, offset++, 10);
    int64_t full = stats->pools_open;
    assert_true(full > 3000);
    /* What closes is a few times what the long one needs, and it enters. */
    give_text(&shell, offset++, 9000);
    give_text(&shell, offset++, 50000);
    turn(&shell, 10);
    assert_int_equal(shell.cluster->dead_letters, 0);
    assert_int_equal(stats->completions, offset);
    assert_true(stats->pools_open > full / 2);
    /* What can never fit closes nothing. */
    full = stats->pools_open;
    give_text(&shell, offset++, 5 << 20);
    turn(&shell, 10);
    assert_int_equal(shell.cluster->dead_letters, 1);
    assert_non_null(strstr(shell.cluster->last_reason, "memory.limit"));
    assert_in_range(stats->pools_open, full - 10, full);
    finish(&shell);
}

static void a_space_beyond_the_planned_memory_is_refused(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.features_scale = 1;
    options.model_bytes = engine_fixed_bytes(&options, 2 * D);
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_completion_of(&shell, 0, 0, "wide", 0, 4 * D);
    turn(&shell, 10);
    assert_int_equal(shell.cluster->dead_letters, 1);
    char needed[64], left[64];
    snprintf(needed, sizeof needed, "space of 16 needs %zu KiB",
             (engine_fixed_bytes(&options, 4 * D) + 1023) / 1024);
    snprintf(left, sizeof left, "memory.limit leaves %zu KiB", options.model_bytes / 1024);
    assert_non_null(strstr(shell.cluster->last_reason, "features: "));
    assert_non_null(strstr(shell.cluster->last_reason, needed));
    assert_non_null(strstr(shell.cluster->last_reason, left));
    give_completion_of(&shell, 0, 1, "fitting", 0, 2 * D);
    turn(&shell, 10);
    assert_int_equal(shell.cluster->dead_letters, 1);
    assert_int_equal(engine_stats(shell.engine)->completions, 1);
    /* One that another worker has put in force ends this one before it allocates anything. */
    struct error error;
    const double centre[4 * D] = {0};
    const struct entry entry = {.version = LEDGER_VERSION,
                                .kind = ENTRY_SPACE,
                                .time = 1,
                                .space = {.feature_space = span_of("wide"),
                                          .feature_epoch = 9,
                                          .dimension = 4 * D,
                                          .centre = {(const char *)centre, sizeof centre},
                                          .scale = 1}};
    assert_false(engine_entry(shell.engine, &entry, 0, 77, &error));
    assert_int_equal(error.class, ERROR_FATAL);
    assert_non_null(strstr(error.message, needed));
    finish(&shell);
}

static void a_waiting_room_fills_by_bytes_too(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.waiting_max = 10000;
    options.waiting_bytes = 1 << 20;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct error error;
    char unknown[ID_TEXT_SIZE];
    static char record[100000];
    identity_format(identity_of(span_of("nobody asked")), unknown);
    const struct label label = {.request_id = span_of(unknown), .confidence = 1};
    struct source source = {.input = INPUT_LABELS, .value = {record, sizeof record}};
    assert_true(engine_waiting(shell.engine, 0) == 0);
    while (engine_waiting(shell.engine, 0) < .5) {
        check(engine_label(shell.engine, &source, &label, &error), &error);
        source.offset++;
    }
    assert_int_equal(source.offset, 6);
    /* The other half takes what was fetched already. */
    for (int k = 0; k < 4; k++, source.offset++)
        check(engine_label(shell.engine, &source, &label, &error), &error);
    finish(&shell);
}

/* The pairs of one pool whose completions carry these prompts and domains ("": none). Returns the
 * last one's bytes in the cluster. */
static void ask_about(struct cluster *cluster, size_t limit, const char *const (*carried)[2],
                      size_t count)
{
    struct error error;
    struct engine_options options = options_of();
    options.features_scale = 1;
    options.pool_size = 2;
    options.limits_record = limit;
    struct shell shell = start_with(cluster, &options, 1000000);
    for (size_t k = 0; k < count; k++) {
        char name[16];
        const float features[D] = {(float)k, 1, 2, (float)(k * k)};
        snprintf(name, sizeof name, "%zu", k);
        struct source source = {
            .offset = (int64_t)k, .timestamp = 1000000, .value = span_of("raw bytes")};
        struct completion completion = records_completion("p", name, features, D);
        completion.prompt = span_of(carried[k][0]);
        completion.domain = span_of(carried[k][1]);
        check(engine_completion(shell.engine, &source, &completion, &error), &error);
    }
    for (int k = 0; k < 5; k++)
        turn(&shell, 2000);
    assert_true(cluster->pairs > 0);
    stop(&shell);
}

static bool pair_says(const struct cluster *cluster, const char *text)
{
    return memmem(cluster->last_pair.data, cluster->last_pair.size, text, strlen(text)) != NULL;
}

/* prompt_cut is the last field of a pair. */
static bool pair_prompt_cut(const struct cluster *cluster)
{
    /* It stands before the map of the reason's parts: how many there are, then the first. */
    static const char FIRST[] = "\x0ascore";
    const char *data = cluster->last_pair.data;
    const char *first = memmem(data, cluster->last_pair.size, FIRST, sizeof FIRST - 1);
    assert_non_null(first);
    return first[-2] != 0;
}

static void the_first_completion_that_carries_the_prompt_gives_it(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new();
    static const char *const CARRIED[][2] = {
        {"", ""}, {"the question", ""}, {"another question", "law"}, {"", "poetry"}};
    ask_about(cluster, 1 << 20, CARRIED, 4);
    assert_true(pair_says(cluster, "the question"));
    assert_true(pair_says(cluster, "law"));
    assert_false(pair_says(cluster, "another question"));
    assert_false(pair_says(cluster, "poetry"));
    assert_false(pair_prompt_cut(cluster));
    cluster_free(cluster);
}

static void a_prompt_that_was_cut_is_flagged(void **state)
{
    (void)state;
    char longer[151], within[101];
    memset(longer, 'q', sizeof longer);
    memset(within, 'q', sizeof within);
    longer[150] = within[100] = '\0'; /* limits.text is 100 */
    const char *const too_long[][2] = {{longer, ""}, {"", ""}};
    struct cluster *cluster = cluster_new();
    ask_about(cluster, 1 << 20, too_long, 2);
    assert_true(pair_says(cluster, within));
    assert_true(pair_prompt_cut(cluster));
    cluster_free(cluster);
    /* The record has no room for what limits.text allows. */
    const char *const fits[][2] = {{within, ""}, {"", ""}};
    cluster = cluster_new();
    ask_about(cluster, 1 << 20, fits, 2);
    assert_false(pair_prompt_cut(cluster));
    size_t room = cluster->last_pair.size - 30;
    cluster_free(cluster);
    cluster = cluster_new();
    ask_about(cluster, room, fits, 2);
    assert_true(pair_prompt_cut(cluster));
    assert_false(pair_says(cluster, within));
    cluster_free(cluster);
}

static void a_newer_space_takes_over_once_it_has_a_scale(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    struct error error;
    run(&shell, 10, 0);
    const struct engine_stats *stats = engine_stats(shell.engine);
    int64_t to = PROMPTS / 2 * POOL;
    size_t pairs = shell.cluster->pairs;
    /* Four times the features; the pools of the space before stay open meanwhile. */
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        for (int64_t k = 0; k < to; k++)
            give_completion_of(&shell, partition, to + k, "wider", 1, 4 * D);
        check(engine_end(shell.engine, INPUT_COMPLETIONS, partition, 2 * to, &error), &error);
    }
    assert_int_equal(stats->dimension, D);
    assert_int_equal(stats->pools_open, 2 * PROMPTS);
    for (int k = 0; k < 60; k++)
        turn(&shell, 1100);
    assert_int_equal(stats->dimension, 4 * D);
    assert_int_equal(stats->pools_open, PROMPTS);
    assert_int_equal(stats->moments_pools, PROMPTS);
    assert_int_equal(stats->labels_counted, 0);
    assert_true(shell.cluster->pairs > pairs);
    char survivor[ID_TEXT_SIZE], restored[ID_TEXT_SIZE];
    engine_digest(shell.engine, survivor);
    int64_t now = shell.now;
    stop(&shell);
    shell = start(shell.cluster, now);
    check(engine_tick(shell.engine, now, &error), &error);
    engine_digest(shell.engine, restored);
    assert_string_equal(survivor, restored);
    /* What comes of the older space has missed its time. */
    for (int64_t k = 0; k < to; k++)
        give_completion_of(&shell, 0, to + k, "wider", 1, 4 * D);
    size_t before = shell.cluster->dead_letters;
    give_completion(&shell, 0, 2 * to);
    turn(&shell, 10);
    assert_int_equal(shell.cluster->dead_letters, before + 1);
    assert_non_null(strstr(shell.cluster->last_reason, "not newer than the space 'wider'"));
    finish(&shell);
}

static void scales_come_from_pools_that_are_never_open_together(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.pool_age = 20; /* of offsets, which are the records' time: three prompts */
    struct shell shell = start_with(cluster_new(), &options, 900000);
    char why[200];
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 0);
    assert_true(engine_stats(shell.engine)->pools_open < 12);
    turn(&shell, 0);
    if (engine_obstacle(shell.engine, why, sizeof why))
        assert_non_null(strstr(why, "moments"));
    finish(&shell);
}

static void labels_beyond_the_most_are_forgotten_and_a_restart_agrees(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.labels_max = 60;
    options.fit_every = 5;
    options.features_scale = 1;
    options.pool_age = 5000;
    options.limits_clock_ahead = 1000;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    size_t answered = 0;
    int64_t labels = 0;
    shell.step = 100;
    for (int64_t k = 1; k <= 100; k++) {
        give_completions(&shell, k * POOL);
        size_t entries = shell.cluster->entries;
        labels = answer_all(&shell, answered, labels);
        answered = entries;
        turn(&shell, POOL * shell.step);
    }
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_in_range(shell.cluster->pairs, 500, 10000);
    assert_in_range(stats->requests, 60, 400);
    assert_in_range(stats->labels_counted, 60, 65);
    char survivor[ID_TEXT_SIZE], restored[ID_TEXT_SIZE];
    turn(&shell, 0);
    engine_digest(shell.engine, survivor);
    int64_t now = shell.now;
    stop(&shell);
    shell = start_with(shell.cluster, &options, now);
    check(engine_tick(shell.engine, now, &(struct error){0}), &(struct error){0});
    engine_digest(shell.engine, restored);
    assert_string_equal(survivor, restored);
    finish(&shell);
}

static void a_broken_label_read_again_has_one_dead_letter(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    struct error error;
    char unknown[ID_TEXT_SIZE];
    identity_format(identity_of(span_of("nobody asked")), unknown);
    for (int round = 0; round < 2; round++) {
        give_label(&shell, 0, unknown, OUTCOME_LEFT);
        give_label(&shell, 1, "not an id", OUTCOME_LEFT);
        const struct source broken = {.input = INPUT_LABELS, .offset = 2, .value = span_of("?")};
        check(engine_reject(shell.engine, &broken, "decode", "broken", &error), &error);
        turn(&shell, 10);
        assert_int_equal(shell.cluster->dead_letters, 2);
        assert_int_equal(shell.cluster->committed[INPUT_LABELS][0].next, 0);
        int64_t now = shell.now;
        stop(&shell);
        shell = start(shell.cluster, now);
    }
    finish(&shell);
}

static void entries_of_the_version_before_are_read(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    struct error error;
    run(&shell, 10, 0);
    char written[ID_TEXT_SIZE], before[ID_TEXT_SIZE];
    engine_digest(shell.engine, written);
    const struct engine_options options = options_of();
    struct engine *other = engine_new(&options, shell.contracts, &error);
    assert_non_null(other);
    check(engine_tick(other, shell.now, &error), &error);
    for (size_t k = 0; k < shell.cluster->entries; k++) {
        struct entry entry = entry_at(&shell, k);
        entry.version = LEDGER_VERSION - 1;
        check(engine_entry(other, &entry, shell.cluster->ledger[k].partition,
                           shell.cluster->ledger[k].offset, &error),
              &error);
    }
    check(engine_tick(other, shell.now, &error), &error);
    engine_digest(other, before);
    assert_string_equal(written, before);
    engine_free(other);
    finish(&shell);
}

static void forged_entries_are_refused_with_a_reason(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    struct error error;
    run(&shell, 5, 0);
    char before[ID_TEXT_SIZE], after[ID_TEXT_SIZE];
    engine_digest(shell.engine, before);
    float sums[10] = {(float)NAN};
    struct entry entry = {.version = LEDGER_VERSION, .kind = ENTRY_MOMENTS, .time = 1};
    entry.moments = (struct entry_moments){.from = 1 << 20,
                                           .to = 2 << 20,
                                           .feature_space = span_of("space"),
                                           .dimension = D,
                                           .pools = 1,
                                           .weight = 1,
                                           .chunks = 1,
                                           .sums = {(const char *)sums, sizeof sums}};
    check(engine_entry(shell.engine, &entry, 0, 77, &error), &error);
    assert_non_null(strstr(engine_refusal(shell.engine), "offset 77: sums: are not finite"));
    memcpy(sums, (float[10]){[5] = -1}, sizeof sums); /* in row 2 of 0 ... */
    check(engine_entry(shell.engine, &entry, 0, 77, &error), &error);
    assert_non_null(strstr(engine_refusal(shell.engine), "below 0 on the diagonal"));
    entry.moments.completions_partition = INT32_MAX;
    check(engine_entry(shell.engine, &entry, 0, 78, &error), &error);
    assert_non_null(strstr(engine_refusal(shell.engine), "completions_partition"));
    entry.moments.completions_partition = 0;
    check(engine_entry(shell.engine, &entry, 1, 79, &error), &error);
    assert_non_null(strstr(engine_refusal(shell.engine), "stands in partition 1"));
    entry.time = INT64_C(1800000000000000); /* microseconds */
    check(engine_entry(shell.engine, &entry, 0, 79, &error), &error);
    assert_non_null(strstr(engine_refusal(shell.engine), "time: 1800000000000000"));
    entry.version = LEDGER_VERSION + 1;
    check(engine_entry(shell.engine, &entry, 0, 79, &error), &error);
    assert_non_null(strstr(engine_refusal(shell.engine), "version"));
    assert_int_equal(engine_stats(shell.engine)->entries_refused, 6);
    engine_digest(shell.engine, after);
    assert_string_equal(before, after);
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_come_once_there_is_a_scale_and_stop_at_the_budget),
        cmocka_unit_test(the_same_events_give_the_same_bytes),
        cmocka_unit_test(no_pair_is_asked_twice_nor_a_copy_with_its_original),
        cmocka_unit_test(a_restart_arrives_at_the_same_state_and_asks_nothing_again),
        cmocka_unit_test(moments_are_counted_once_over_restarts),
        cmocka_unit_test(an_early_label_waits_and_holds_its_offset),
        cmocka_unit_test(unanswered_requests_expire_and_late_labels_still_count),
        cmocka_unit_test(the_share_that_comes_back_is_learned),
        cmocka_unit_test(a_skip_frees_the_slot_and_tells_nothing),
        cmocka_unit_test(a_long_completion_costs_a_full_memory_few_of_its_pools),
        cmocka_unit_test(a_space_beyond_the_planned_memory_is_refused),
        cmocka_unit_test(a_waiting_room_fills_by_bytes_too),
        cmocka_unit_test(the_first_completion_that_carries_the_prompt_gives_it),
        cmocka_unit_test(a_prompt_that_was_cut_is_flagged),
        cmocka_unit_test(a_newer_space_takes_over_once_it_has_a_scale),
        cmocka_unit_test(scales_come_from_pools_that_are_never_open_together),
        cmocka_unit_test(labels_beyond_the_most_are_forgotten_and_a_restart_agrees),
        cmocka_unit_test(a_broken_label_read_again_has_one_dead_letter),
        cmocka_unit_test(entries_of_the_version_before_are_read),
        cmocka_unit_test(forged_entries_are_refused_with_a_reason),
        cmocka_unit_test(bad_completions_are_dead_letters_and_the_good_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
