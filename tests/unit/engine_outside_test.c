/* Entries that commands write into the ledger, not the workers: requests taken back, labels given
 * before. */
#include "tests/unit/engine_fixture.h"
#include "worker/engine/requests.h"

/* An entry about a request appears in the ledger, committed, and is read. */
static void appear(struct shell *shell, struct entry *entry, struct id request)
{
    struct error error;
    struct cluster *cluster = shell->cluster;
    struct buffer value = {.maximum = 1 << 16};
    entry->version = LEDGER_VERSION;
    entry->digest = span_of("digest");
    entry->writer = span_of("slot.command");
    entry->time = shell->now;
    check(contracts_encode_entry(shell->contracts, entry, &value, &error), &error);
    const struct effect effect = {.output = OUTPUT_LEDGER,
                                  .partition = engine_ledger_partition(shell->engine, request),
                                  .value = {value.data, value.size}};
    keep(cluster, &effect);
    buffer_free(&value);
    read_ledger(shell);
}

static void withdraw(struct shell *shell, struct id request)
{
    char text[ID_TEXT_SIZE];
    identity_format(request, text);
    struct entry entry = {.kind = ENTRY_WITHDRAWN,
                          .withdrawn = {.request_id = span_of(text), .reason = span_of("a test")}};
    appear(shell, &entry, request);
}

/* A shell that has asked as many pairs as may be under way. */
static struct shell start_full(void)
{
    struct shell shell = start(cluster_new(), 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    for (int k = 0; k < 40; k++)
        turn(&shell, 200);
    assert_int_equal(engine_stats(shell.engine)->requests_open, 40);
    return shell;
}

static const struct request *first_open(const struct shell *shell)
{
    return engine_requests(shell->engine)->open_first;
}

static double trace_of(struct shell *shell)
{
    struct error error;
    check(engine_refresh(shell->engine, &error), &error);
    const struct engine_view view = engine_view(shell->engine);
    double trace = 0;
    for (size_t k = 0; k < view.dimension * view.dimension; k++)
        trace += view.policy[k] * view.inverse[k];
    return trace;
}

static void a_withdrawn_request_leaves_sigma_and_its_slot_is_given_to_another_pair(void **state)
{
    (void)state;
    struct shell shell = start_full();
    size_t pairs = shell.cluster->pairs;
    double trace = trace_of(&shell);
    struct id withdrawn[3];
    for (size_t k = 0; k < 3; k++) {
        withdrawn[k] = first_open(&shell)->id;
        withdraw(&shell, withdrawn[k]);
    }
    assert_int_equal(engine_requests(shell.engine)->open_count, 37);
    assert_true(trace_of(&shell) > trace);
    for (int k = 0; k < 40; k++)
        turn(&shell, 200);
    /* And none of them a pair that was asked before. */
    assert_int_equal(shell.cluster->pairs, pairs + 3);
    assert_int_equal(engine_stats(shell.engine)->requests_open, 40);
    for (size_t k = 0; k < 3; k++)
        assert_true(requests_find(engine_requests(shell.engine), withdrawn[k])->withdrawn);
    finish(&shell);
}

static void withdrawing_again_changes_nothing_and_a_restart_agrees(void **state)
{
    (void)state;
    struct shell shell = start_full();
    char once[ID_TEXT_SIZE], twice[ID_TEXT_SIZE], restored[ID_TEXT_SIZE];
    struct id request = first_open(&shell)->id;
    withdraw(&shell, request);
    turn(&shell, 0);
    engine_digest(shell.engine, once);
    withdraw(&shell, request);
    engine_digest(shell.engine, twice);
    assert_string_equal(once, twice);
    int64_t now = shell.now;
    stop(&shell);
    shell = start(shell.cluster, now);
    engine_digest(shell.engine, restored);
    assert_string_equal(once, restored);
    assert_true(requests_find(engine_requests(shell.engine), request)->withdrawn);
    finish(&shell);
}

static void a_label_for_a_withdrawn_request_still_counts(void **state)
{
    (void)state;
    struct shell shell = start_full();
    char text[ID_TEXT_SIZE];
    const struct request *request = first_open(&shell);
    struct id id = request->id;
    identity_format(id, text);
    withdraw(&shell, id);
    double trace = trace_of(&shell);
    give_label(&shell, 0, text, OUTCOME_LEFT);
    turn(&shell, 0);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 1);
    assert_true(trace_of(&shell) < trace);
    /* And one that is answered stays so. */
    withdraw(&shell, id);
    assert_true(request_informative(requests_find(engine_requests(shell.engine), id)));
    turn(&shell, 0);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 1);
    assert_int_equal(shell.cluster->dead_letters, 0);
    finish(&shell);
}

/* A label of history number k: about a pair of its own, x by a generator, left by its sign. */
static void import_label(struct shell *shell, int k, struct span prompt, struct span left,
                         struct span right)
{
    char label_id[32], pair_id[ID_TEXT_SIZE], request_id[ID_TEXT_SIZE];
    float x[D];
    struct sel_random random = sel_random_init(5, (uint64_t)k);
    for (size_t column = 0; column < D; column++)
        x[column] = (float)sel_random_normal(&random);
    snprintf(label_id, sizeof label_id, "history %d", k);
    struct id pair = identity_pair(prompt, left, right);
    struct id request = identity_imported(span_of("space"), pair, span_of(label_id));
    identity_format(pair, pair_id);
    identity_format(request, request_id);
    struct entry entry = {.kind = ENTRY_LABELLED,
                          .labelled = {.label_id = span_of(label_id),
                                       .request_id = span_of(request_id),
                                       .pair_id = span_of(pair_id),
                                       .prompt_id = prompt,
                                       .left_id = left,
                                       .right_id = right,
                                       .feature_space = span_of("space"),
                                       .policy_version = span_of(""),
                                       .x = {(const char *)x, sizeof x},
                                       .source_topic = span_of("history.jsonl"),
                                       .source_offset = k,
                                       .outcome = x[0] > 0 ? OUTCOME_LEFT : OUTCOME_RIGHT,
                                       .probability_left = x[0] > 0,
                                       .confidence = 1,
                                       .annotator_id = span_of(""),
                                       .annotator_kind = span_of(""),
                                       .origin = ORIGIN_IMPORTED,
                                       .supersedes = span_of("")}};
    appear(shell, &entry, request);
}

enum { HISTORY = 30 };

static void import_history(struct shell *shell)
{
    for (int k = 0; k < HISTORY; k++) {
        char prompt[32];
        snprintf(prompt, sizeof prompt, "old prompt %d", k / 3);
        import_label(shell, k, span_of(prompt), span_of("a"), span_of("b"));
    }
}

static void imported_labels_enter_sigma_and_the_fit_and_a_restart_agrees(void **state)
{
    (void)state;
    struct shell shell = start_full();
    char before[ID_TEXT_SIZE], after[ID_TEXT_SIZE];
    double trace = trace_of(&shell);
    import_history(&shell);
    assert_true(trace_of(&shell) < trace);
    assert_int_equal(engine_requests(shell.engine)->open_count,
                     40);   /* no slot was taken or freed */
    import_history(&shell); /* the same labels again */
    turn(&shell, 100);
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_int_equal(stats->labels_counted, HISTORY);
    assert_int_equal(stats->fit_id, 1);
    assert_int_equal(stats->entries_refused, 0);
    double scale;
    assert_true(engine_preference(shell.engine, &scale)[0] > .5); /* as the labels say */
    trace = trace_of(&shell);
    engine_digest(shell.engine, before);
    int64_t now = shell.now;
    stop(&shell);
    shell = start(shell.cluster, now);
    assert_true(fabs(trace_of(&shell) / trace - 1) < 1e-9);
    engine_digest(shell.engine, after);
    assert_string_equal(before, after);
    finish(&shell);
}

static void the_first_pick_knows_a_history_that_stood_there_before(void **state)
{
    (void)state;
    struct shell shell = start(cluster_new(), 1000000);
    import_history(&shell);
    give_completions(&shell, PROMPTS / 2 * POOL);
    for (int k = 0; k < 5; k++)
        turn(&shell, 500);
    assert_int_equal(first_of(&shell, ENTRY_SELECTED).selected.fit_id, 1);
    assert_int_equal(first_of(&shell, ENTRY_FIT).fit.labels, HISTORY);
    finish(&shell);
}

/* True when the pair of `asked` was asked by the shell. */
static bool was_asked(struct shell *shell, const struct entry_selected *asked)
{
    struct id id;
    identity_parse(asked->request_id, &id);
    const struct request *request = requests_find(engine_requests(shell->engine), id);
    return request != NULL && request->selected;
}

static void an_imported_pair_is_not_asked_again_and_is_no_pick_of_its_pool(void **state)
{
    (void)state;
    struct cluster *first = cluster_new(), *second = cluster_new();
    struct engine_options options = options_of();
    options.pool_picks = 1;
    options.budget_in_flight = 1000;
    struct shell without = start_with(first, &options, 1000000);
    run(&without, 20, 0);
    const struct entry_selected asked = first_of(&without, ENTRY_SELECTED).selected;
    assert_true(was_asked(&without, &asked));
    struct shell with = start_with(second, &options, 1000000);
    import_label(&with, 0, asked.prompt_id, asked.left_id, asked.right_id);
    run(&with, 20, 0);
    assert_false(was_asked(&with, &asked));
    assert_true(first->pairs > 60 && second->pairs == first->pairs);
    stop(&without);
    stop(&with);
    cluster_free(first);
    cluster_free(second);
}

static void a_label_by_its_pair_answers_what_was_asked_not_what_was_imported(void **state)
{
    (void)state;
    struct shell shell = start_full();
    const struct request *request = first_open(&shell);
    const struct requests *requests = engine_requests(shell.engine);
    struct id id = request->id;
    char pair_id[ID_TEXT_SIZE];
    identity_format(request_pair(requests, request), pair_id);
    import_label(&shell, 0, request_prompt_id(requests, request),
                 request_left_id(requests, request), request_right_id(requests, request));
    give_answer(&shell, 0, (struct label){.pair_id = span_of(pair_id), .outcome = OUTCOME_LEFT});
    turn(&shell, 0);
    assert_true(request_informative(requests_find(requests, id)));
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 2);
    finish(&shell);
}

/* A request of a prompt of its own in a partition, as if another worker had asked it at a time. */
static void forge_selected(struct shell *shell, int32_t partition, int64_t issued_at, int64_t slot,
                           float far)
{
    const float x[D] = {1, far};
    char prompt[32], pair_id[ID_TEXT_SIZE], request_id[ID_TEXT_SIZE];
    snprintf(prompt, sizeof prompt, "forged %d", partition);
    struct id pair = identity_pair(span_of(prompt), span_of("a"), span_of("b"));
    struct id request = identity_request(span_of("space"), pair, 1, 1);
    identity_format(pair, pair_id);
    identity_format(request, request_id);
    struct entry entry = {.kind = ENTRY_SELECTED,
                          .selected = {.request_id = span_of(request_id),
                                       .pair_id = span_of(pair_id),
                                       .prompt_id = span_of(prompt),
                                       .left_id = span_of("a"),
                                       .right_id = span_of("b"),
                                       .feature_space = span_of("space"),
                                       .policy_version = span_of(""),
                                       .domain = span_of(""),
                                       .x = {(const char *)x, sizeof x},
                                       .slot = slot,
                                       .weight = .25,
                                       .propensity = 1,
                                       .issued_at = issued_at,
                                       .deadline = issued_at,
                                       .completions_partition = partition,
                                       .replica = 1,
                                       .attempt = 1,
                                       .cost = 1}};
    appear(shell, &entry, request);
}

static void a_request_from_the_future_does_not_empty_the_hour(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.budget_per_second = 0;
    options.budget_limits.per_hour = 20;
    options.budget_in_flight = 1000;
    options.features_scale = 1;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    run(&shell, 5, 0);
    assert_int_equal(shell.cluster->pairs, 20);
    for (int32_t k = 0; k < PARTITIONS; k++)
        forge_selected(&shell, k, shell.now + 7200000, 1, 0);
    assert_int_equal(engine_stats(shell.engine)->entries_refused, PARTITIONS);
    assert_non_null(strstr(engine_refusal(shell.engine), "issued_at: lies behind"));
    for (int k = 0; k < 5; k++)
        turn(&shell, 500);
    assert_int_equal(shell.cluster->pairs, 20);
    finish(&shell);
}

static void a_forged_request_does_not_stop_the_picks(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.features_scale = 1;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    int64_t labels = run(&shell, 2, 0);
    size_t pairs = shell.cluster->pairs;
    forge_selected(&shell, 0, shell.now, 1, 3e38f);
    assert_int_equal(engine_stats(shell.engine)->entries_refused, 1);
    assert_non_null(strstr(engine_refusal(shell.engine), "x[1]: 3e+38 is farther than 200000"));
    forge_selected(&shell, 1, shell.now, REQUEST_SLOT_MAX, 0);
    run(&shell, 3, labels);
    assert_true(shell.cluster->pairs > pairs);
    assert_int_equal(engine_stats(shell.engine)->entries_refused, 1);
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_withdrawn_request_leaves_sigma_and_its_slot_is_given_to_another_pair),
        cmocka_unit_test(withdrawing_again_changes_nothing_and_a_restart_agrees),
        cmocka_unit_test(a_label_for_a_withdrawn_request_still_counts),
        cmocka_unit_test(imported_labels_enter_sigma_and_the_fit_and_a_restart_agrees),
        cmocka_unit_test(the_first_pick_knows_a_history_that_stood_there_before),
        cmocka_unit_test(an_imported_pair_is_not_asked_again_and_is_no_pick_of_its_pool),
        cmocka_unit_test(a_label_by_its_pair_answers_what_was_asked_not_what_was_imported),
        cmocka_unit_test(a_request_from_the_future_does_not_empty_the_hour),
        cmocka_unit_test(a_forged_request_does_not_stop_the_picks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
