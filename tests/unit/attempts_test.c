/* Which of the attempts of one replica counts. */
#include "tests/unit/selection_fixture.h"
#include "worker/engine/model.h"
#include "worker/engine/replicas.h"

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

/* A labelled request of another pair. */
static void apply_other(struct requests *requests, struct entries *entries, const char *right,
                        int64_t issued_at)
{
    struct error error;
    struct request *request;
    char pair_text[ID_TEXT_SIZE], id[ID_TEXT_SIZE];
    struct id pair = identity_pair(span_of("p"), span_of("a"), span_of(right));
    struct entry selected = entries->all[0], label = entries->all[3];
    identity_format(pair, pair_text);
    identity_format(identity_request(span_of("s"), pair, 1, 1), id);
    selected.selected.request_id = label.labelled.request_id = span_of(id);
    selected.selected.pair_id = label.labelled.pair_id = span_of(pair_text);
    selected.selected.right_id = label.labelled.right_id = span_of(right);
    selected.selected.issued_at = issued_at;
    selected.selected.deadline = issued_at + 50;
    label.labelled.label_id = span_of(right);
    assert_int_equal(requests_selected(requests, &selected, &request, &error), APPLIED_NEW);
    assert_int_equal(requests_labelled(requests, &label, 2, issued_at, &request, &error),
                     APPLIED_NEW);
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
    apply_other(&requests, &entries, "c", 50);
    for (size_t k = 0; k < 2; k++)
        identity_parse(span_of(entries.ids[k]), &ids[k]);
    /* The answer is beyond labels.max. It still keeps a late one to the other attempt from
     * counting. */
    assert_true(model_forget(&model, in_no_pool, NULL));
    assert_non_null(requests_find(&requests, ids[0]));
    apply(&requests, &entries, 4);
    assert_int_equal(requests.count, 3);
    apply_other(&requests, &entries, "d", 200);
    assert_true(model_forget(&model, in_no_pool, NULL));
    assert_null(requests_find(&requests, ids[0]));
    assert_null(requests_find(&requests, ids[1]));
    model_fini(&model);
    requests_fini(&requests);
    store_fini(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_answer_counts_in_whatever_order_entries_come),
        cmocka_unit_test(an_answer_closes_all_attempts),
        cmocka_unit_test(attempts_are_forgotten_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
