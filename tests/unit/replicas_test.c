/* Asking again, replicas, and what an outcome leads to. */
#include "tests/unit/selection_fixture.h"
#include "worker/engine/model.h"
#include "worker/engine/replicas.h"

/* ---- which attempt counts ---- */

/* Two attempts of one replica, answered both, and all that the ledger says of them. */
struct entries {
    char pair[ID_TEXT_SIZE], ids[2][ID_TEXT_SIZE];
    float x[2];
    struct entry all[5];
    int32_t partition[5];
};

static void name_entries(struct entries *entries)
{
    struct id pair = identity_pair(span_of("p"), span_of("a"), span_of("b"));
    identity_format(pair, entries->pair);
    entries->x[0] = 1;
    entries->x[1] = -2;
    for (int32_t k = 0; k < 2; k++) {
        identity_format(identity_request(span_of("s"), pair, 1, k + 1), entries->ids[k]);
        entries->partition[k] = entries->partition[3 + k] = 1 - k;
        entries->all[k] =
            (struct entry){.kind = ENTRY_SELECTED,
                           .time = 10,
                           .selected = {.request_id = span_of(entries->ids[k]),
                                        .pair_id = span_of(entries->pair),
                                        .cost = 1,
                                        .replica = 1,
                                        .attempt = k + 1,
                                        .prompt_id = span_of("p"),
                                        .left_id = span_of("a"),
                                        .right_id = span_of("b"),
                                        .feature_space = span_of("s"),
                                        .x = {(const char *)entries->x, sizeof entries->x},
                                        .weight = .2,
                                        .propensity = .3,
                                        .slot = k,
                                        .issued_at = 100 * k,
                                        .deadline = 100 * k + 50}};
        entries->all[3 + k] =
            (struct entry){.kind = ENTRY_LABELLED,
                           .time = 20,
                           .labelled = {.label_id = span_of(k == 0 ? "late" : "second"),
                                        .request_id = span_of(entries->ids[k]),
                                        .pair_id = span_of(entries->pair),
                                        .prompt_id = span_of("p"),
                                        .left_id = span_of("a"),
                                        .right_id = span_of("b"),
                                        .feature_space = span_of("s"),
                                        .x = {(const char *)entries->x, sizeof entries->x},
                                        .probability_left = 1 - k,
                                        .outcome = k == 0 ? OUTCOME_LEFT : OUTCOME_RIGHT,
                                        .confidence = 1}};
    }
    entries->all[2] = (struct entry){
        .kind = ENTRY_EXPIRED, .time = 60, .expired = {.request_id = span_of(entries->ids[0])}};
    entries->partition[2] = entries->partition[0];
}

static void apply(struct requests *requests, const struct entries *entries, size_t k)
{
    struct request *request;
    struct replica_change changes[REQUEST_ATTEMPTS_MAX];
    struct error error;
    const struct entry *entry = &entries->all[k];
    enum applied applied =
        entry->kind == ENTRY_SELECTED ? requests_selected(requests, entry, &request, &error)
        : entry->kind == ENTRY_LABELLED
            ? requests_labelled(requests, entry, entries->partition[k], (int64_t)k, &request,
                                &error)
            : requests_closed(requests, entry->expired.request_id, true, &request, &error);
    assert_true(applied == APPLIED_NEW || applied == APPLIED_KNOWN);
    replicas_settle(requests, request, changes);
}

/* The k-th order of five things. */
static void order_of(size_t k, size_t order[5])
{
    size_t left[5] = {0, 1, 2, 3, 4};
    for (size_t place = 0, count = 5; count > 0; place++, count--) {
        size_t chosen = k % count;
        k /= count;
        order[place] = left[chosen];
        for (size_t other = chosen; other + 1 < count; other++)
            left[other] = left[other + 1];
    }
}

static void the_lowest_answer_counts_in_whatever_order_entries_come(void **state)
{
    (void)state;
    struct entries entries;
    name_entries(&entries);
    for (size_t k = 0; k < 120; k++) {
        struct store store;
        struct requests requests;
        struct id ids[2];
        size_t order[5];
        store_init(&store, 16u << 20);
        requests_init(&requests, &store);
        order_of(k, order);
        for (size_t step = 0; step < 10; step++) /* each comes twice */
            apply(&requests, &entries, order[step % 5]);
        for (size_t attempt = 0; attempt < 2; attempt++)
            identity_parse(span_of(entries.ids[attempt]), &ids[attempt]);
        const struct request *first = requests_find(&requests, ids[0]);
        const struct request *second = requests_find(&requests, ids[1]);
        /* The answer to the second attempt stands in partition 0. */
        assert_true(first->elsewhere && !second->elsewhere);
        assert_true(!request_informative(first) && request_informative(second));
        assert_int_equal(requests.open_count, 0);
        requests_fini(&requests);
        assert_int_equal(store.used, 0);
        store_fini(&store);
    }
}

static void an_answer_closes_all_attempts(void **state)
{
    (void)state;
    static const size_t STEPS[] = {0, 2, 1, 3};
    struct entries entries;
    struct store store;
    struct requests requests;
    struct id id;
    name_entries(&entries);
    store_init(&store, 16u << 20);
    requests_init(&requests, &store);
    for (size_t k = 0; k < 3; k++)
        apply(&requests, &entries, STEPS[k]);
    assert_int_equal(requests.open_count, 1);
    apply(&requests, &entries, STEPS[3]);
    assert_int_equal(requests.open_count, 0);
    identity_parse(span_of(entries.ids[1]), &id);
    assert_float_equal(request_share(requests_find(&requests, id), .75), 0, 0);
    requests_fini(&requests);
    store_fini(&store);
}

static bool in_no_pool(void *context, const struct request *request)
{
    (void)context;
    (void)request;
    return false;
}

/* One labelled request of another pair, issued later than both attempts. */
static void apply_other(struct requests *requests, struct entries *entries)
{
    struct error error;
    struct request *request;
    char pair_text[ID_TEXT_SIZE], id[ID_TEXT_SIZE];
    struct id pair = identity_pair(span_of("p"), span_of("a"), span_of("c"));
    struct entry selected = entries->all[0], label = entries->all[3];
    identity_format(pair, pair_text);
    identity_format(identity_request(span_of("s"), pair, 1, 1), id);
    selected.selected.request_id = label.labelled.request_id = span_of(id);
    selected.selected.pair_id = label.labelled.pair_id = span_of(pair_text);
    selected.selected.right_id = label.labelled.right_id = span_of("c");
    selected.selected.issued_at = 200;
    selected.selected.deadline = 250;
    label.labelled.label_id = span_of("other");
    assert_int_equal(requests_selected(requests, &selected, &request, &error), APPLIED_NEW);
    assert_int_equal(requests_labelled(requests, &label, 2, 1, &request, &error), APPLIED_NEW);
}

static void attempts_are_forgotten_together(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.labels_max = 1;
    options.fit_every = 0;
    options.labels_window = 1000000;
    options.labels_late = 1000;
    struct entries entries;
    struct store store;
    struct requests requests;
    struct model model;
    struct id ids[2];
    name_entries(&entries);
    store_init(&store, 16u << 20);
    requests_init(&requests, &store);
    model_init(&model, &options, &requests);
    for (size_t k = 0; k < 4; k++)
        apply(&requests, &entries, k);
    apply_other(&requests, &entries);
    for (size_t k = 0; k < 2; k++)
        identity_parse(span_of(entries.ids[k]), &ids[k]);
    /* The answer is beyond labels.max. It still keeps a late one to the other attempt from
     * counting. */
    assert_true(model_forget(&model, in_no_pool, NULL));
    assert_non_null(requests_find(&requests, ids[0]));
    apply(&requests, &entries, 4);
    assert_int_equal(requests.count, 3);
    requests.time_last = 2000000;
    assert_true(model_forget(&model, in_no_pool, NULL));
    assert_null(requests_find(&requests, ids[0]));
    assert_null(requests_find(&requests, ids[1]));
    model_fini(&model);
    requests_fini(&requests);
    store_fini(&store);
}

/* ---- the engine ---- */

static struct engine_options options_asking(int64_t attempts, int64_t replicas)
{
    struct engine_options options = options_with(selection_of("policy_trace"));
    options.labels_attempts = attempts;
    options.labels_replicas = replicas;
    return options;
}

static struct shell begin(struct cluster *cluster, const struct engine_options *options)
{
    struct shell shell = start_with(cluster, options, 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 2000);
    turn(&shell, 1); /* with the moments of the turn before */
    return shell;
}

/* The fields of a SELECTED that tests look at. */
struct asked {
    char request[ID_TEXT_SIZE], pair[ID_TEXT_SIZE];
    int32_t replica, attempt;
    enum pair_arm arm;
    double propensity;
};
enum { ASKED_MAX = 1500 };

static size_t list_asked(struct shell *shell, struct asked asked[ASKED_MAX])
{
    struct entry entry;
    size_t at = 0, count = 0;
    while (next_selected(shell, &at, &entry)) {
        const struct entry_selected *selected = &entry.selected;
        assert_true(count < ASKED_MAX);
        struct asked *each = &asked[count++];
        *each = (struct asked){.replica = selected->replica,
                               .attempt = selected->attempt,
                               .arm = selected->arm,
                               .propensity = selected->propensity};
        memcpy(each->request, selected->request_id.data, ID_TEXT_SIZE - 1);
        memcpy(each->pair, selected->pair_id.data, ID_TEXT_SIZE - 1);
    }
    return count;
}

static const struct asked *find_asked(const struct asked *asked, size_t count, const char *pair,
                                      int32_t replica, int32_t attempt)
{
    const struct asked *found = NULL;
    for (size_t k = 0; k < count; k++) {
        if (asked[k].replica != replica || asked[k].attempt != attempt ||
            strcmp(asked[k].pair, pair) != 0)
            continue;
        assert_null(found); /* nothing is asked twice */
        found = &asked[k];
    }
    return found;
}

static void same_choice(const struct asked *one, const struct asked *other)
{
    assert_non_null(one);
    assert_non_null(other);
    assert_int_equal(one->arm, other->arm);
    assert_float_equal(one->propensity, other->propensity, 0);
    assert_string_not_equal(one->request, other->request);
}

static void what_nobody_answers_is_asked_again_and_then_no_more(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(2, 1);
    options.budget_per_second = 1e-3; /* the burst alone */
    options.budget_burst = 40;
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
    size_t first = list_asked(&shell, asked);
    assert_int_equal(first, 40);
    options.budget_per_second = 5;
    stop(&shell);
    shell = start_with(cluster, &options, shell.now); /* whoever comes next goes on */
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
    stop(&shell);
    cluster_free(cluster);
}

/* The same prompt in two partitions has two pools: each asks again what it asked. */
static void a_partition_asks_again_what_it_asked(void **state)
{
    (void)state;
    struct engine_options options = options_asking(3, 1);
    struct cluster *cluster = cluster_new();
    struct shell shell = start_with(cluster, &options, 1000000);
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
    stop(&shell);
    cluster_free(cluster);
}

static void what_waits_for_a_slot_outlives_its_owner_and_goes_before_new_pairs(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(2, 1);
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
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
        shell = start_with(cluster, &options, now);
        give_completions(&shell, PROMPTS / 2 * POOL);
        turn(&shell, 200);
        count = list_asked(&shell, asked);
        assert_true(count > before);
    }
    for (size_t k = first; k < 2 * first; k++)
        same_choice(find_asked(asked, count, asked[k].pair, 1, 1), &asked[k]);
    stop(&shell);
    cluster_free(cluster);
}

/* rho of the newest FIT. */
static double return_rate(struct shell *shell)
{
    struct error error;
    struct entry entry;
    double rate = (double)NAN;
    for (size_t k = 0; k < shell->cluster->entries; k++) {
        check(contracts_decode_entry(shell->contracts, shell->cluster->ledger[k].bytes, &entry,
                                     NULL, &error),
              &error);
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
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
    options.budget_per_second = 1;
    int64_t now = shell.now;
    stop(&shell);
    shell = start_with(cluster, &options, now);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 61000);
    size_t count = list_asked(&shell, asked);
    assert_int_equal(asked[count - 1].attempt, 2);
    const struct asked *old = find_asked(asked, count, asked[count - 1].pair, 1, 1);
    int64_t open = engine_stats(shell.engine)->requests_open;
    give_label(&shell, 0, old->request, OUTCOME_LEFT);
    turn(&shell, 1);
    assert_int_equal(cluster->notices, 1);
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
    shell = start_with(cluster, &options, 1000000);
    assert_true(engine_refresh(shell.engine, &error));
    engine_digest(shell.engine, restored);
    assert_string_equal(lived, restored);
    stop(&shell);
    cluster_free(cluster);
}

static void a_pair_is_asked_by_all_its_replicas(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 3);
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
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
    stop(&shell);
    cluster_free(cluster);
}

static void a_pair_competes_again_only_where_the_rule_chose_it_and_it_was_answered(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 2);
    options.labels_replicate = REPLICATE_BEST;
    options.labels_lapse = (double)NAN;
    options.labels_probes = .1;
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
    int64_t labels = 0;
    size_t answered = 0;
    for (int k = 0; k < 60; k++) {
        size_t entries = cluster->entries;
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
    stop(&shell);
    cluster_free(cluster);
}

static void both_bad_tells_nothing_where_it_is_ignored(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    for (int ignored = 0; ignored < 2; ignored++) {
        struct engine_options options = options_asking(2, 1);
        options.labels_both_bad = ignored ? BOTH_BAD_IGNORE : BOTH_BAD_TIE;
        struct cluster *cluster = cluster_new();
        struct shell shell = begin(cluster, &options);
        list_asked(&shell, asked);
        give_label(&shell, 0, asked[0].request, OUTCOME_BOTH_BAD);
        turn(&shell, 1);
        const struct engine_stats *stats = engine_stats(shell.engine);
        assert_int_equal(stats->labels_counted, !ignored);
        assert_int_equal(stats->labels_ignored, ignored);
        assert_int_equal(stats->outcomes[OUTCOME_BOTH_BAD], 1);
        turn(&shell, 61000);
        static struct asked later[ASKED_MAX];
        size_t count = list_asked(&shell, later);
        assert_null(find_asked(later, count, asked[0].pair, 1, 2)); /* it was answered */
        stop(&shell);
        cluster_free(cluster);
    }
}

static void a_skipped_pair_goes_to_somebody_else_where_that_is_wanted(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX], later[ASKED_MAX];
    for (int again = 0; again < 2; again++) {
        struct engine_options options = options_asking(2, 1);
        options.labels_skips = again ? SKIPS_AGAIN : SKIPS_EXCLUDE;
        struct cluster *cluster = cluster_new();
        struct shell shell = begin(cluster, &options);
        list_asked(&shell, asked);
        give_label(&shell, 0, asked[0].request, OUTCOME_SKIP);
        turn(&shell, 1000);
        size_t count = list_asked(&shell, later);
        const struct asked *second = find_asked(later, count, asked[0].pair, 1, 2);
        assert_true((second != NULL) == again);
        if (again) {
            same_choice(second, &asked[0]);
            give_label(&shell, 1, second->request, OUTCOME_INVALID);
            turn(&shell, 1000);
            count = list_asked(&shell, later);
            assert_null(find_asked(later, count, asked[0].pair, 1, 3));
        }
        assert_int_equal(engine_stats(shell.engine)->labels_counted, 0);
        stop(&shell);
        cluster_free(cluster);
    }
}

static void a_skip_is_not_asked_again_where_another_attempt_was_answered(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX], later[ASKED_MAX];
    struct engine_options options = options_asking(3, 1);
    options.labels_skips = SKIPS_AGAIN;
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
    list_asked(&shell, asked);
    turn(&shell, 61000);
    size_t count = list_asked(&shell, later);
    const struct asked *second = find_asked(later, count, asked[0].pair, 1, 2);
    assert_non_null(second);
    give_label(&shell, 0, asked[0].request, OUTCOME_LEFT);
    give_label(&shell, 1, second->request, OUTCOME_SKIP);
    for (int k = 0; k < 5; k++)
        turn(&shell, 1000);
    count = list_asked(&shell, later);
    assert_null(find_asked(later, count, asked[0].pair, 1, 3));
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 1);
    stop(&shell);
    cluster_free(cluster);
}

/* ---- labels ---- */

static void give(struct shell *shell, int64_t offset, struct label label)
{
    struct error error;
    struct buffer record = {.maximum = 4096};
    label.probability_left = (double)NAN;
    label.lead_time = -1;
    label.confidence = label.confidence == 0 ? 1 : label.confidence;
    check(contracts_encode_label(shell->contracts, &label, &record, &error), &error);
    const struct source source = {.input = INPUT_LABELS,
                                  .offset = offset,
                                  .timestamp = shell->now,
                                  .value = {record.data, record.size}};
    check(engine_label(shell->engine, &source, &label, &error), &error);
    buffer_free(&record);
}

static void one_annotator_does_not_answer_two_replicas(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 2);
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
    size_t count = list_asked(&shell, asked);
    const struct asked *second = find_asked(asked, count, asked[0].pair, 2, 1);
    assert_non_null(second);
    give(&shell, 0,
         (struct label){.request_id = span_of(asked[0].request), .annotator_id = span_of("ann")});
    turn(&shell, 1);
    give(&shell, 1,
         (struct label){.request_id = span_of(second->request), .annotator_id = span_of("ann")});
    turn(&shell, 1);
    assert_int_equal(cluster->dead_letters, 1);
    assert_non_null(strstr(cluster->last_reason, "ann"));
    assert_non_null(strstr(cluster->last_reason, asked[0].request));
    assert_int_equal(engine_stats(shell.engine)->labels_repeated, 1);
    give(&shell, 2,
         (struct label){.request_id = span_of(second->request), .annotator_id = span_of("bob")});
    /* Who answered may correct it. */
    give(&shell, 3,
         (struct label){.request_id = span_of(asked[0].request),
                        .annotator_id = span_of("ann"),
                        .supersedes = span_of("labels-0-0"),
                        .outcome = OUTCOME_RIGHT});
    turn(&shell, 1);
    assert_int_equal(cluster->dead_letters, 1);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 2);
    stop(&shell);
    cluster_free(cluster);
}

static void a_pair_that_is_asked_again_names_who_answered(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(2, 1);
    options.labels_skips = SKIPS_AGAIN;
    options.budget_in_flight = 4;
    options.budget_burst = 4;
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
    size_t count = list_asked(&shell, asked);
    give(&shell, 0,
         (struct label){.request_id = span_of(asked[count - 1].request),
                        .annotator_id = span_of("nobody knows"),
                        .outcome = OUTCOME_SKIP});
    turn(&shell, 1000);
    assert_int_equal(list_asked(&shell, asked), count + 1);
    assert_int_equal(asked[count].attempt, 2);
    struct error error;
    struct buffer text = {.maximum = 1 << 16};
    const struct span pair = {cluster->last_pair.data, cluster->last_pair.size};
    check(contracts_print_json(shell.contracts, CONTRACT_PAIR, pair, &text, &error), &error);
    assert_true(buffer_append(&text, "", 1));
    assert_non_null(strstr(text.data, "\"exclude_annotators\":[\"nobody knows\"]"));
    buffer_free(&text);
    stop(&shell);
    cluster_free(cluster);
}

static void a_label_whose_pair_is_not_its_requests_is_dead_lettered_with_both(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 1);
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
    list_asked(&shell, asked);
    give(
        &shell, 0,
        (struct label){.request_id = span_of(asked[0].request), .pair_id = span_of(asked[1].pair)});
    turn(&shell, 1);
    assert_int_equal(cluster->dead_letters, 1);
    assert_non_null(strstr(cluster->last_reason, asked[0].request));
    assert_non_null(strstr(cluster->last_reason, asked[0].pair));
    assert_non_null(strstr(cluster->last_reason, asked[1].pair));
    give(
        &shell, 1,
        (struct label){.request_id = span_of(asked[0].request), .pair_id = span_of(asked[0].pair)});
    turn(&shell, 1);
    assert_int_equal(cluster->dead_letters, 1);
    assert_int_equal(engine_stats(shell.engine)->labels, 1);
    stop(&shell);
    cluster_free(cluster);
}

static void a_label_from_the_future_and_of_an_unknown_kind_counts(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 1);
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
    list_asked(&shell, asked);
    give(&shell, 0,
         (struct label){.request_id = span_of(asked[0].request),
                        .annotator_kind = span_of("oracle"),
                        .labelled_at = shell.now + 300001});
    give(
        &shell, 1,
        (struct label){.request_id = span_of(asked[1].request), .labelled_at = shell.now + 299000});
    turn(&shell, 1);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 2);
    assert_int_equal(engine_stats(shell.engine)->clock_ahead, 1);
    stop(&shell);
    cluster_free(cluster);
}

static void a_label_of_a_pair_answers_its_oldest_open_request(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 2);
    struct cluster *cluster = cluster_new();
    struct shell shell = begin(cluster, &options);
    size_t count = list_asked(&shell, asked);
    const struct requests *requests = engine_requests(shell.engine);
    struct id ids[2], pair;
    for (int32_t k = 0; k < 2; k++)
        identity_parse(span_of(find_asked(asked, count, asked[0].pair, k + 1, 1)->request),
                       &ids[k]);
    identity_parse(span_of(asked[0].pair), &pair);
    const struct request *oldest = replicas_of_pair(requests, pair, span_of(""));
    give(&shell, 0, (struct label){.pair_id = span_of(asked[0].pair), .label_id = span_of("one")});
    turn(&shell, 1);
    assert_int_equal(oldest->labels, LABELS_LISTED);
    give(&shell, 1, (struct label){.pair_id = span_of(asked[0].pair), .label_id = span_of("two")});
    turn(&shell, 1);
    assert_true(request_informative(requests_find(requests, ids[0])));
    assert_true(request_informative(requests_find(requests, ids[1])));
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 2);
    /* A correction goes to what it corrects: withdrawn by a skip, it counts no more. */
    give(&shell, 2,
         (struct label){.pair_id = span_of(asked[0].pair),
                        .supersedes = span_of("one"),
                        .outcome = OUTCOME_SKIP});
    turn(&shell, 1);
    assert_false(request_informative(oldest));
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 1);
    stop(&shell);
    cluster_free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_answer_counts_in_whatever_order_entries_come),
        cmocka_unit_test(an_answer_closes_all_attempts),
        cmocka_unit_test(attempts_are_forgotten_together),
        cmocka_unit_test(what_nobody_answers_is_asked_again_and_then_no_more),
        cmocka_unit_test(a_partition_asks_again_what_it_asked),
        cmocka_unit_test(what_waits_for_a_slot_outlives_its_owner_and_goes_before_new_pairs),
        cmocka_unit_test(a_late_answer_closes_the_attempt_under_way_and_tells_labellers),
        cmocka_unit_test(a_pair_is_asked_by_all_its_replicas),
        cmocka_unit_test(a_pair_competes_again_only_where_the_rule_chose_it_and_it_was_answered),
        cmocka_unit_test(both_bad_tells_nothing_where_it_is_ignored),
        cmocka_unit_test(a_skipped_pair_goes_to_somebody_else_where_that_is_wanted),
        cmocka_unit_test(a_skip_is_not_asked_again_where_another_attempt_was_answered),
        cmocka_unit_test(one_annotator_does_not_answer_two_replicas),
        cmocka_unit_test(a_pair_that_is_asked_again_names_who_answered),
        cmocka_unit_test(a_label_whose_pair_is_not_its_requests_is_dead_lettered_with_both),
        cmocka_unit_test(a_label_from_the_future_and_of_an_unknown_kind_counts),
        cmocka_unit_test(a_label_of_a_pair_answers_its_oldest_open_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
