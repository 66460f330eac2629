/* Entries that commands write into the ledger, not the workers: requests taken back. */
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
static struct shell start_full(struct cluster *cluster)
{
    struct shell shell = start(cluster, 1000000);
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
    struct cluster *cluster = cluster_new();
    struct shell shell = start_full(cluster);
    size_t pairs = cluster->pairs;
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
    assert_int_equal(cluster->pairs, pairs + 3); /* and none of them a pair that was asked before */
    assert_int_equal(engine_stats(shell.engine)->requests_open, 40);
    for (size_t k = 0; k < 3; k++)
        assert_true(requests_find(engine_requests(shell.engine), withdrawn[k])->withdrawn);
    stop(&shell);
    cluster_free(cluster);
}

static void withdrawing_again_changes_nothing_and_a_restart_agrees(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_full(cluster);
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
    shell = start(cluster, now);
    engine_digest(shell.engine, restored);
    assert_string_equal(once, restored);
    assert_true(requests_find(engine_requests(shell.engine), request)->withdrawn);
    stop(&shell);
    cluster_free(cluster);
}

static void a_label_for_a_withdrawn_request_still_counts(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new();
    struct shell shell = start_full(cluster);
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
    assert_int_equal(cluster->dead_letters, 0);
    stop(&shell);
    cluster_free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_withdrawn_request_leaves_sigma_and_its_slot_is_given_to_another_pair),
        cmocka_unit_test(withdrawing_again_changes_nothing_and_a_restart_agrees),
        cmocka_unit_test(a_label_for_a_withdrawn_request_still_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
