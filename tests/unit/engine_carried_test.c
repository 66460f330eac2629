/* Labels that outlive their feature space. */
#include "engine_fixture.h"
#include "worker/engine/requests.h"

enum { PER_PARTITION = PROMPTS / 2 * POOL, WIDE = 4 * D };

/* Feature k of the same completion in another space. */
static float feature_in(const char *space, int32_t partition, int64_t number, size_t k)
{
    struct sel_random random =
        sel_random_init(strlen(space), (uint64_t)(number * PARTITIONS + partition));
    float feature = 0;
    for (size_t column = 0; column <= k; column++)
        feature = (float)sel_random_normal(&random);
    return feature;
}

/* Completion `number` of the world once more, as the next record of its partition. */
static void give_again(struct shell *shell, int32_t partition, int64_t number, const char *space,
                       int64_t epoch)
{
    char prompt[64], name[32];
    float features[WIDE];
    struct error error;
    for (size_t k = 0; k < WIDE; k++)
        features[k] = feature_in(space, partition, number, k);
    snprintf(prompt, sizeof prompt, "prompt %d-%lld", partition, (long long)(number / POOL));
    snprintf(name, sizeof name, "completion %lld", (long long)(number % POOL));
    int64_t offset = engine_next(shell->engine, INPUT_COMPLETIONS, partition);
    const struct source source = {.input = INPUT_COMPLETIONS,
                                  .partition = partition,
                                  .offset = offset,
                                  .timestamp = shell->now,
                                  .value = span_of("raw")};
    struct completion completion = records_completion(prompt, name, features, WIDE);
    completion.candidate = false;
    completion.feature_space = span_of(space);
    completion.feature_epoch = epoch;
    check(engine_completion(shell->engine, &source, &completion, &error), &error);
    check(engine_end(shell->engine, INPUT_COMPLETIONS, partition, offset + 1, &error), &error);
}

static void give_all_again(struct shell *shell, const char *space, int64_t epoch)
{
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        for (int64_t k = 0; k < PER_PARTITION; k++)
            give_again(shell, partition, k, space, epoch);
    }
}

static bool is_carried(const struct entry *entry)
{
    return entry->kind == ENTRY_LABELLED && entry->labelled.origin == ORIGIN_CARRIED;
}

static size_t count_carried(const struct shell *shell)
{
    size_t count = 0;
    for (size_t k = 0; k < shell->cluster->entries; k++) {
        const struct entry entry = entry_at(shell, k);
        count += is_carried(&entry);
    }
    return count;
}

static int64_t carried(struct shell *shell)
{
    return engine_stats(shell->engine)->labels_carried;
}

/* Space "space" with labels, and nobody asks any more. */
static struct shell start_labelled(struct engine_options options, int64_t *labels)
{
    options.pool_max = 2 * POOL;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    *labels = run(&shell, 10, 0);
    return shell;
}

/* All completions again in a space, until it is current. */
static void change_space(struct shell *shell, const char *space, int64_t epoch)
{
    give_all_again(shell, space, epoch);
    for (int k = 0; k < 3; k++)
        turn(shell, 1100);
}

/* The next owner, that has read no completions yet. */
static void restart(struct shell *shell)
{
    struct engine_options options = options_of();
    options.pool_max = 2 * POOL;
    stop(shell);
    *shell = start_with(shell->cluster, &options, shell->now);
}

/* What it must read of both spaces. */
static void read_again(struct shell *shell)
{
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        int64_t next;
        while ((next = engine_next(shell->engine, INPUT_COMPLETIONS, partition)) <
               2 * PER_PARTITION)
            give_again(shell, partition, next % PER_PARTITION, "wider", 1);
    }
}

/* The label of the same pair and sides that was given to a request. */
static struct entry original_of(const struct shell *shell, const struct entry_labelled *of)
{
    for (size_t k = 0; k < shell->cluster->entries; k++) {
        const struct entry entry = entry_at(shell, k);
        if (entry.kind == ENTRY_LABELLED && entry.labelled.origin == ORIGIN_REQUEST &&
            span_equal(entry.labelled.pair_id, of->pair_id) &&
            span_equal(entry.labelled.left_id, of->left_id))
            return entry;
    }
    fail_msg("a label was carried that nobody gave");
    return (struct entry){0};
}

static void assert_is_difference(const struct entry_labelled *labelled, const char *space,
                                 double scale)
{
    int partition, prompt, left, right;
    assert_int_equal(sscanf(labelled->prompt_id.data, "prompt %d-%d", &partition, &prompt), 2);
    assert_int_equal(sscanf(labelled->left_id.data, "completion %d", &left), 1);
    assert_int_equal(sscanf(labelled->right_id.data, "completion %d", &right), 1);
    for (size_t k = 0; k < WIDE; k++) {
        float x;
        memcpy(&x, labelled->x.data + k * sizeof x, sizeof x);
        double apart = (double)feature_in(space, partition, prompt * POOL + left, k) -
                       (double)feature_in(space, partition, prompt * POOL + right, k);
        assert_true(fabs((double)x - scale * apart) < 1e-4);
    }
}

static void a_label_is_carried_as_it_was_given_with_x_of_the_new_space(void **state)
{
    (void)state;
    int64_t labels;
    struct shell shell = start_labelled(options_of(), &labels);
    int64_t counted = engine_stats(shell.engine)->labels_counted;
    assert_true(counted > 50);
    give_all_again(&shell, "wider", 1);
    assert_int_equal(carried(&shell), 0); /* there is no scale yet */
    for (int k = 0; k < 3; k++)
        turn(&shell, 1100);
    assert_int_equal(engine_stats(shell.engine)->dimension, WIDE);
    assert_int_equal(carried(&shell), counted);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, counted);
    assert_int_equal(count_carried(&shell), counted);
    for (size_t k = 0; k < shell.cluster->entries; k++) {
        const struct entry entry = entry_at(&shell, k);
        if (!is_carried(&entry))
            continue;
        const struct entry_labelled now = entry.labelled;
        const struct entry given = original_of(&shell, &now);
        const struct entry_labelled *then = &given.labelled;
        assert_true(span_equal(now.feature_space, span_of("wider")));
        assert_true(span_equal(now.right_id, then->right_id));
        assert_true(span_equal(now.policy_version, then->policy_version));
        assert_false(span_equal(now.request_id, then->request_id));
        assert_int_equal(now.outcome, then->outcome);
        assert_int_equal(now.arm, then->arm);
        assert_int_equal(now.labelled_at, given.time);
        assert_true(now.probability_left == then->probability_left);
        assert_is_difference(&now, "wider", engine_view(shell.engine).scale);
    }
    finish(&shell);
}

static void nothing_is_carried_twice_and_a_restart_agrees(void **state)
{
    (void)state;
    char before[ID_TEXT_SIZE], after[ID_TEXT_SIZE];
    int64_t labels;
    struct shell shell = start_labelled(options_of(), &labels);
    change_space(&shell, "wider", 1);
    size_t count = count_carried(&shell);
    assert_true(count > 50);
    give_all_again(&shell, "wider", 1);
    turn(&shell, 100);
    engine_digest(shell.engine, before);
    restart(&shell);
    struct error error;
    check(engine_tick(shell.engine, shell.now, &error), &error);
    engine_digest(shell.engine, after);
    assert_string_equal(before, after);
    int64_t committed = shell.cluster->committed[INPUT_COMPLETIONS][0].next;
    assert_true(engine_next(shell.engine, INPUT_COMPLETIONS, 0) < committed);
    read_again(&shell);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1100);
    assert_int_equal(carried(&shell), 0);
    assert_int_equal(count_carried(&shell), count);
    finish(&shell);
}

/* "wider" is current, and a request of "space" whose completions have come again is open. */
static struct shell start_wider(struct engine_options options, int64_t *labels, struct id *id,
                                char text[ID_TEXT_SIZE])
{
    struct shell shell = start_labelled(options, labels);
    change_space(&shell, "wider", 1);
    const struct request *request = engine_requests(shell.engine)->open_first;
    assert_non_null(request);
    identity_format(request->id, text);
    *id = request->id;
    return shell;
}

/* What was carried of it to "wider"; NULL: nothing. */
static const struct request *in_wider(const struct shell *shell, struct id request)
{
    struct id there =
        identity_carried(request, identity_of(span_of("space")), identity_of(span_of("wider")));
    return requests_find(engine_requests(shell->engine), there);
}

static enum label_outcome says(const struct request *request)
{
    struct request_label label;
    assert_true(request_counting(request, &label));
    return label.outcome;
}

static void answer_as(struct shell *shell, int64_t offset, const char *label_id,
                      const char *request_id, const char *supersedes, enum label_outcome outcome,
                      const char *annotator)
{
    give_answer(shell, offset,
                (struct label){.label_id = span_of(label_id),
                               .request_id = span_of(request_id),
                               .supersedes = span_of(supersedes),
                               .annotator_id = span_of(annotator),
                               .outcome = outcome});
    turn(shell, 10);
}

static void answer(struct shell *shell, int64_t offset, const char *label_id,
                   const char *request_id, const char *supersedes, enum label_outcome outcome)
{
    answer_as(shell, offset, label_id, request_id, supersedes, outcome, "");
}

/* The last label that was carried. */
static struct entry last_carried(const struct shell *shell)
{
    size_t k = shell->cluster->entries;
    struct entry entry = {0};
    while (k > 0 && !is_carried(&entry))
        entry = entry_at(shell, --k);
    return entry;
}

static void who_gave_it_is_carried_too(void **state)
{
    (void)state;
    char request_id[ID_TEXT_SIZE];
    int64_t labels;
    struct id request;
    struct shell shell = start_wider(options_of(), &labels, &request, request_id);
    answer_as(&shell, labels++, "first", request_id, "", OUTCOME_LEFT, "ann");
    assert_true(span_equal(last_carried(&shell).labelled.annotator_id, span_of("ann")));
    answer_as(&shell, labels++, "second", request_id, "first", OUTCOME_LEFT, "bob");
    assert_true(span_equal(last_carried(&shell).labelled.annotator_id, span_of("bob")));
    finish(&shell);
}

static void
a_label_that_comes_behind_its_completions_is_carried_and_so_is_what_replaces_it(void **state)
{
    (void)state;
    char request_id[ID_TEXT_SIZE];
    int64_t labels;
    struct id request;
    struct shell shell = start_wider(options_of(), &labels, &request, request_id);
    int64_t count = carried(&shell);
    assert_null(in_wider(&shell, request));
    answer(&shell, labels++, "first", request_id, "", OUTCOME_LEFT);
    assert_int_equal(carried(&shell), count + 1);
    assert_int_equal(says(in_wider(&shell, request)), OUTCOME_LEFT);
    int64_t counted = engine_stats(shell.engine)->labels_counted;
    answer(&shell, labels++, "second", request_id, "first", OUTCOME_RIGHT);
    assert_int_equal(says(in_wider(&shell, request)), OUTCOME_RIGHT);
    answer(&shell, labels++, "third", request_id, "second", OUTCOME_LEFT);
    assert_int_equal(says(in_wider(&shell, request)), OUTCOME_LEFT);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, counted);
    answer(&shell, labels++, "other", request_id, "", OUTCOME_RIGHT); /* it does not count */
    assert_int_equal(carried(&shell), count + 3);
    answer(&shell, labels++, "last", request_id, "third", OUTCOME_SKIP);
    answer(&shell, labels++, "very last", request_id, "other", OUTCOME_SKIP);
    assert_int_equal(says(in_wider(&shell, request)), OUTCOME_SKIP);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, counted - 1);
    finish(&shell);
}

static void what_turns_out_to_be_bad_is_carried_where_that_tells_nothing(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.labels_both_bad = BOTH_BAD_IGNORE;
    char request_id[ID_TEXT_SIZE];
    int64_t labels;
    struct id request;
    struct shell shell = start_wider(options, &labels, &request, request_id);
    answer(&shell, labels++, "first", request_id, "", OUTCOME_LEFT);
    int64_t count = carried(&shell), counted = engine_stats(shell.engine)->labels_counted;
    answer(&shell, labels++, "second", request_id, "first", OUTCOME_BOTH_BAD);
    assert_int_equal(says(in_wider(&shell, request)), OUTCOME_BOTH_BAD);
    assert_float_equal(last_carried(&shell).labelled.probability_left, .5, 0);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, counted - 1);
    assert_int_equal(carried(&shell), count + 1);
    finish(&shell);
}

static void a_skip_is_not_carried(void **state)
{
    (void)state;
    char request_id[ID_TEXT_SIZE];
    int64_t labels;
    struct id request;
    struct shell shell = start_wider(options_of(), &labels, &request, request_id);
    answer(&shell, labels++, "skip", request_id, "", OUTCOME_SKIP);
    assert_null(in_wider(&shell, request));
    answer(&shell, labels++, "answer", request_id, "skip", OUTCOME_RIGHT);
    assert_int_equal(says(in_wider(&shell, request)), OUTCOME_RIGHT);
    finish(&shell);
}

static void an_answer_given_in_the_new_space_is_not_replaced(void **state)
{
    (void)state;
    char request_id[ID_TEXT_SIZE], there[ID_TEXT_SIZE], name[64];
    int64_t labels;
    struct id request;
    struct shell shell = start_wider(options_of(), &labels, &request, request_id);
    answer(&shell, labels++, "first", request_id, "", OUTCOME_LEFT);
    identity_format(in_wider(&shell, request)->id, there);
    snprintf(name, sizeof name, "carried-%s-1", there);
    answer(&shell, labels++, "here", there, name, OUTCOME_TIE);
    answer(&shell, labels++, "second", request_id, "first", OUTCOME_RIGHT);
    assert_int_equal(says(in_wider(&shell, request)), OUTCOME_TIE);
    finish(&shell);
}

static void the_next_owner_carries_what_was_labelled_while_nobody_held_the_pool(void **state)
{
    (void)state;
    char request_id[ID_TEXT_SIZE];
    int64_t labels;
    struct id request;
    struct shell shell = start_wider(options_of(), &labels, &request, request_id);
    for (int32_t k = 0; k < PARTITIONS; k++)
        engine_lose(shell.engine, INPUT_COMPLETIONS, k);
    answer(&shell, labels++, "first", request_id, "", OUTCOME_LEFT);
    assert_null(in_wider(&shell, request));
    restart(&shell);
    read_again(&shell);
    assert_null(in_wider(&shell, request));
    turn(&shell, 100);
    assert_int_equal(carried(&shell), 1);
    assert_int_equal(says(in_wider(&shell, request)), OUTCOME_LEFT);
    finish(&shell);
}

static void a_third_space_has_each_label_once_whichever_way_it_came(void **state)
{
    (void)state;
    int64_t labels;
    struct shell shell = start_labelled(options_of(), &labels);
    int64_t counted = engine_stats(shell.engine)->labels_counted;
    change_space(&shell, "wider", 1);
    assert_int_equal(carried(&shell), counted);
    change_space(&shell, "third space", 2);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, counted);
    assert_int_equal(carried(&shell), 2 * counted);
    finish(&shell);
}

static void the_way_does_not_change_the_name(void **state)
{
    (void)state;
    struct id request = identity_of(span_of("request")), a = identity_of(span_of("a"));
    struct id b = identity_of(span_of("b")), c = identity_of(span_of("c"));
    struct id straight = identity_carried(request, a, c);
    assert_true(identity_equal(identity_carried(identity_carried(request, a, b), b, c), straight));
    assert_false(identity_equal(straight, identity_carried(request, a, b)));
    assert_false(identity_equal(straight, request));
}

/* A forged entry stands under the name that the first label of the ledger will be carried by, about
 * the same pair, or another one, and as long as it likes. */
static void forge_carried(struct shell *shell, bool same_pair, size_t dimension)
{
    struct error error;
    static const float X[WIDE] = {1};
    char label_id[64], pair_id[ID_TEXT_SIZE], request_id[ID_TEXT_SIZE];
    struct id request, pair;
    struct entry entry;
    size_t k = 0;
    while (entry = entry_at(shell, k), entry.kind != ENTRY_LABELLED)
        k++;
    assert_true(identity_parse(entry.labelled.request_id, &request));
    request =
        identity_carried(request, identity_of(span_of("space")), identity_of(span_of("wider")));
    identity_format(request, request_id);
    snprintf(label_id, sizeof label_id, "carried-%s-1", request_id);
    entry.labelled.label_id = span_of(label_id);
    entry.labelled.request_id = span_of(request_id);
    entry.labelled.feature_space = span_of("wider");
    entry.labelled.x = (struct span){(const char *)X, dimension * sizeof *X};
    entry.labelled.outcome = OUTCOME_TIE;
    entry.labelled.probability_left = .5;
    entry.labelled.origin = ORIGIN_CARRIED;
    if (!same_pair) {
        entry.labelled.left_id = span_of("somebody");
        entry.labelled.right_id = span_of("else");
        pair = identity_pair(entry.labelled.prompt_id, entry.labelled.left_id,
                             entry.labelled.right_id);
        identity_format(pair, pair_id);
        entry.labelled.pair_id = span_of(pair_id);
    }
    check(engine_entry(shell->engine, &entry, engine_ledger_partition(shell->engine, request),
                       100000, &error),
          &error);
    assert_int_equal(engine_stats(shell->engine)->entries_refused, 0);
}

static void a_forged_label_in_the_place_of_a_carried_one_stops_nobody(void **state)
{
    (void)state;
    static const size_t LENGTHS[] = {1, WIDE};
    for (int k = 0; k < 4; k++) {
        int64_t labels;
        struct shell shell = start_labelled(options_of(), &labels);
        int64_t counted = engine_stats(shell.engine)->labels_counted;
        forge_carried(&shell, k % 2 == 0, LENGTHS[k / 2]);
        change_space(&shell, "wider", 1);
        bool replaced = k == 2; /* it could have been one of ours */
        assert_int_equal(carried(&shell), counted - !replaced);
        finish(&shell);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_is_carried_as_it_was_given_with_x_of_the_new_space),
        cmocka_unit_test(nothing_is_carried_twice_and_a_restart_agrees),
        cmocka_unit_test(
            a_label_that_comes_behind_its_completions_is_carried_and_so_is_what_replaces_it),
        cmocka_unit_test(who_gave_it_is_carried_too),
        cmocka_unit_test(what_turns_out_to_be_bad_is_carried_where_that_tells_nothing),
        cmocka_unit_test(a_skip_is_not_carried),
        cmocka_unit_test(an_answer_given_in_the_new_space_is_not_replaced),
        cmocka_unit_test(the_next_owner_carries_what_was_labelled_while_nobody_held_the_pool),
        cmocka_unit_test(a_third_space_has_each_label_once_whichever_way_it_came),
        cmocka_unit_test(the_way_does_not_change_the_name),
        cmocka_unit_test(a_forged_label_in_the_place_of_a_carried_one_stops_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
