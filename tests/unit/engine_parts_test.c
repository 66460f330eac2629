/* The small parts of the engine: identities, memory, batches, requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/engine/batch.h"
#include "worker/engine/identity.h"
#include "worker/engine/index.h"
#include "worker/engine/names.h"
#include "worker/engine/pool.h"
#include "worker/engine/requests.h"
#include "worker/engine/store.h"

/* ---- identity ---- */

static void a_pair_has_one_identity_whatever_its_order(void **state)
{
    (void)state;
    struct id one = identity_pair(span_of("p"), span_of("a"), span_of("b"));
    assert_true(identity_equal(one, identity_pair(span_of("p"), span_of("b"), span_of("a"))));
    assert_false(identity_equal(one, identity_pair(span_of("q"), span_of("a"), span_of("b"))));
    /* Lengths are hashed too: the same bytes cut elsewhere are another pair. */
    assert_false(identity_equal(identity_pair(span_of("p"), span_of("ab"), span_of("c")),
                                identity_pair(span_of("p"), span_of("a"), span_of("bc"))));
}

static void identities_survive_a_round_trip_as_text(void **state)
{
    (void)state;
    struct id id = identity_of(span_of("completion")), back;
    char text[ID_TEXT_SIZE];
    identity_format(id, text);
    assert_int_equal(strlen(text), 32);
    assert_true(identity_parse(span_of(text), &back));
    assert_true(identity_equal(id, back));
    text[5] = 'G';
    assert_false(identity_parse(span_of(text), &back));
    assert_false(identity_parse(span_of("abc"), &back));
}

/* Entries of years ago name the same things: XXH3 of the bytes, however long and however read. */
static void identities_are_those_of_xxh3(void **state)
{
    (void)state;
    char text[ID_TEXT_SIZE], filler[505];
    memset(filler, 'x', sizeof filler);
    identity_format(identity_pair(span_of("p"), span_of("a"), span_of("b")), text);
    assert_string_equal(text, "b5a0809c8490340fee9940b0df2566ff");
    identity_format(identity_of((struct span){filler, 504}), text);
    assert_string_equal(text, "2044da05feca211695ac702cdfe97f55");
    identity_format(identity_of((struct span){filler, 505}), text);
    assert_string_equal(text, "189aecda20ca811e28a71413e7e24ae5");
}

static void request_ids_differ_by_space_replica_and_attempt(void **state)
{
    (void)state;
    struct id pair = identity_of(span_of("pair"));
    struct id base = identity_request(span_of("s"), pair, 1, 1);
    assert_true(identity_equal(base, identity_request(span_of("s"), pair, 1, 1)));
    assert_false(identity_equal(base, identity_request(span_of("t"), pair, 1, 1)));
    assert_false(identity_equal(base, identity_request(span_of("s"), pair, 2, 1)));
    assert_false(identity_equal(base, identity_request(span_of("s"), pair, 1, 2)));
}

/* ---- store ---- */

static void blocks_are_aligned_distinct_and_used_again(void **state)
{
    (void)state;
    struct store store;
    store_init(&store, 64u << 20);
    for (size_t size = 1; size < 200000; size = size * 5 / 4 + 1) {
        char *one = store_take(&store, size), *two = store_take(&store, size);
        assert_non_null(one);
        assert_non_null(two);
        assert_int_equal((uintptr_t)one % 16, 0);
        memset(one, 1, size);
        memset(two, 2, size);
        assert_int_equal(one[size - 1], 1);
        size_t bytes = store.bytes;
        store_give(&store, two, size);
        if (size < 60000) {
            assert_ptr_equal(store_take(&store, size), two);
            assert_int_equal(store.bytes, bytes);
            store_give(&store, two, size);
        }
        store_give(&store, one, size);
    }
    assert_int_equal(store.used, 0);
    store_fini(&store);
}

static void a_store_never_passes_its_limit(void **state)
{
    (void)state;
    struct store store;
    store_init(&store, 2u << 20);
    size_t taken = 0;
    while (store_take(&store, 1000) != NULL)
        taken++;
    assert_in_range(taken, 1000, 2100);
    assert_true(store.bytes <= store.limit);
    assert_null(store_take(&store, 4u << 20));
    store_fini(&store);
}

/* Fills the store with blocks of one size; returns how many there were. */
static size_t fill(struct store *store, size_t size, void **blocks, size_t most)
{
    size_t count = 0;
    while (count < most && (blocks[count] = store_take(store, size)) != NULL)
        count++;
    return count;
}

static void what_one_size_gave_back_serves_every_other(void **state)
{
    (void)state;
    enum { LIMIT = 4 << 20, MOST = LIMIT / 100 };
    static void *blocks[MOST];
    struct store store;
    store_init(&store, LIMIT);
    const size_t sizes[] = {100, 9000, 40, 30000, 1300, 200000, 100, 60000};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        size_t count = fill(&store, sizes[k], blocks, MOST);
        assert_in_range(count * sizes[k], count == MOST ? 0 : LIMIT / 5 * 4, LIMIT);
        assert_true(store.bytes <= store.limit);
        while (count-- > 0)
            store_give(&store, blocks[count], sizes[k]);
        assert_int_equal(store.used, 0);
    }
    store_fini(&store);
    assert_int_equal(store.bytes, 0);
}

static void an_empty_store_gives_its_memory_back(void **state)
{
    (void)state;
    enum { MOST = 32 << 10 };
    static void *blocks[MOST];
    struct store store;
    store_init(&store, 64u << 20);
    size_t count = fill(&store, 1000, blocks, MOST);
    assert_true(store.bytes > MOST * 1000ul);
    while (count-- > 0)
        store_give(&store, blocks[count], 1000);
    assert_true(store.bytes <= 1u << 20);
    store_fini(&store);
}

static void at_most_a_sixteenth_of_a_block_is_wasted(void **state)
{
    (void)state;
    struct store store;
    store_init(&store, 64u << 20);
    for (size_t size = 129; size < 65000; size += 97) {
        void *block = store_take(&store, size);
        assert_true(store.used - size <= size / 16 + 16);
        store_give(&store, block, size);
    }
    store_fini(&store);
}

/* ---- index and names ---- */

struct thing {
    struct id key;
};

static struct id key_of(const void *context, const void *thing)
{
    (void)context;
    return ((const struct thing *)thing)->key;
}

static void an_index_finds_what_is_there_and_nothing_else(void **state)
{
    (void)state;
    enum { THINGS = 3000 };
    static struct thing things[THINGS] __attribute__((aligned(16)));
    static bool there[THINGS];
    struct store store;
    struct index index;
    struct sel_random random = sel_random_init(5, 1);
    store_init(&store, 64u << 20);
    index_init(&index, &store, key_of, NULL);
    for (size_t k = 0; k < THINGS; k++)
        things[k].key = identity_of((struct span){(const char *)&k, sizeof k});
    for (size_t round = 0; round < 20000; round++) {
        /* The first rounds fill, then as many go as come. */
        size_t k = sel_random_below(&random, THINGS);
        if (!there[k]) {
            assert_true(index_reserve(&index));
            index_add(&index, &things[k]);
        } else if (round > 4000) {
            index_remove(&index, &things[k]);
        }
        there[k] = !there[k] || round <= 4000;
        k = sel_random_below(&random, THINGS);
        assert_ptr_equal(index_find(&index, things[k].key), there[k] ? &things[k] : NULL);
    }
    size_t count = 0, at = 0;
    for (size_t k = 0; k < THINGS; k++) {
        assert_ptr_equal(index_find(&index, things[k].key), there[k] ? &things[k] : NULL);
        count += there[k];
    }
    assert_int_equal(index.count, count);
    assert_true(index.capacity * 8 <= THINGS * 16);
    for (struct thing *thing; (thing = index_next(&index, &at)) != NULL; count--)
        index_remove(&index, thing);
    assert_int_equal(count, 0);
    assert_int_equal(index.count, 0);
    index_fini(&index);
    assert_int_equal(store.used, 0);
    store_fini(&store);
}

static void things_of_one_key_go_one_by_one(void **state)
{
    (void)state;
    static struct thing things[5] __attribute__((aligned(16)));
    struct store store;
    struct index index;
    store_init(&store, 1u << 20);
    index_init(&index, &store, key_of, NULL);
    for (size_t k = 0; k < 5; k++) {
        things[k].key = identity_of(span_of("the same"));
        assert_true(index_reserve(&index));
        index_add(&index, &things[k]);
    }
    static const size_t order[] = {2, 0, 4, 1};
    for (size_t k = 0; k < 4; k++) {
        index_remove(&index, &things[order[k]]);
        assert_non_null(index_find(&index, things[0].key));
    }
    assert_ptr_equal(index_find(&index, things[0].key), &things[3]);
    index_fini(&index);
    store_fini(&store);
}

static void a_name_is_kept_once_and_as_long_as_it_is_used(void **state)
{
    (void)state;
    struct store store;
    struct names names;
    uint32_t one, two, again, other;
    store_init(&store, 1u << 20);
    names_init(&names, &store, 3);
    assert_true(names_take(&names, span_of("v1"), 7, &one));
    assert_true(names_take(&names, span_of("v1"), 8, &two));
    assert_true(names_take(&names, span_of("v1"), 7, &again));
    assert_int_equal(one, again);
    assert_int_not_equal(one, two);
    assert_int_equal(names_get(&names, two)->value, 8);
    assert_int_equal(names_get(&names, one)->size, 2);
    assert_true(names_take(&names, span_of(""), 0, &other));
    uint32_t none;
    assert_false(names_take(&names, span_of("one too many"), 0, &none));
    names_give(&names, one);
    assert_false(names_take(&names, span_of("one too many"), 0, &none));
    names_give(&names, again);
    assert_true(names_take(&names, span_of("v9"), 0, &again));
    assert_int_equal(again, one);
    names_fini(&names);
    assert_int_equal(store.used, 0);
    store_fini(&store);
}

/* ---- batch ---- */

static void metadata_is_read_back_and_damage_is_noticed(void **state)
{
    (void)state;
    const struct batch_offset offset = {
        .low_water = 123456789012, .time = 1700000000000, .waiting = "7,12"};
    char text[BATCH_METADATA_SIZE];
    const char *waiting;
    int64_t low_water, time;
    batch_metadata_format(&offset, text);
    assert_true(batch_metadata_parse(text, &low_water, &time, &waiting));
    assert_string_equal(waiting, "7,12");
    assert_int_equal(low_water, offset.low_water);
    assert_int_equal(time, offset.time);
    const char *const damaged[] = {"",       "1",      "1 2",      "2 5 5", "1 -5 5",
                                   "1 5 5x", "1 5 5 ", "1 5 5 7x", "hello", NULL};
    for (size_t k = 0; k < sizeof damaged / sizeof damaged[0]; k++)
        assert_false(batch_metadata_parse(damaged[k], &low_water, &time, &waiting));
}

static void effects_keep_their_bytes_while_the_batch_grows(void **state)
{
    (void)state;
    struct batch batch;
    batch_init(&batch, 1u << 20);
    for (int k = 0; k < 500; k++) {
        char text[32];
        snprintf(text, sizeof text, "value %d", k);
        struct effect *effect = batch_effect(&batch, OUTPUT_PAIRS, -1);
        assert_non_null(effect);
        assert_true(batch_copy(&batch, span_of(text), &effect->value));
        assert_true(batch_header(&batch, effect, "name", span_of(text)));
    }
    batch_close(&batch);
    for (int k = 0; k < 500; k++) {
        char text[32];
        snprintf(text, sizeof text, "value %d", k);
        assert_true(span_equal(batch.effects[k].value, span_of(text)));
        assert_true(span_equal(batch.effects[k].headers[0].value, span_of(text)));
    }
    batch_free(&batch);
}

/* ---- texts ---- */

static void a_cut_never_splits_a_character(void **state)
{
    (void)state;
    struct span text = span_of("a\xc3\xa9\xe2\x82\xac");
    assert_int_equal(text_cut(text, 6).size, 6);
    assert_int_equal(text_cut(text, 5).size, 3);
    assert_int_equal(text_cut(text, 2).size, 1);
    assert_int_equal(text_cut(text, 0).size, 0);
}

/* ---- requests ---- */

struct fixture {
    struct store store;
    struct requests requests;
    char request_id[ID_TEXT_SIZE], pair_id[ID_TEXT_SIZE];
    float x[2];
};

static int fixture_make(void **state)
{
    static struct fixture fixture;
    store_init(&fixture.store, 16u << 20);
    requests_init(&fixture.requests, &fixture.store);
    struct id pair = identity_pair(span_of("p"), span_of("a"), span_of("b"));
    identity_format(pair, fixture.pair_id);
    identity_format(identity_request(span_of("s"), pair, 1, 1), fixture.request_id);
    fixture.x[0] = 1;
    fixture.x[1] = -2;
    *state = &fixture;
    return 0;
}

static int fixture_end(void **state)
{
    struct fixture *fixture = *state;
    requests_fini(&fixture->requests);
    assert_int_equal(fixture->store.used, 0);
    store_fini(&fixture->store);
    return 0;
}

static struct entry selected_of(const struct fixture *fixture)
{
    return (struct entry){.kind = ENTRY_SELECTED,
                          .time = 10,
                          .selected = {.request_id = span_of(fixture->request_id),
                                       .pair_id = span_of(fixture->pair_id),
                                       .cost = 1,
                                       .replica = 1,
                                       .attempt = 1,
                                       .prompt_id = span_of("p"),
                                       .left_id = span_of("a"),
                                       .right_id = span_of("b"),
                                       .feature_space = span_of("s"),
                                       .x = {(const char *)fixture->x, sizeof fixture->x},
                                       .weight = .2,
                                       .slot = 7,
                                       .deadline = 1000}};
}

static struct entry labelled_of(const struct fixture *fixture, const char *label_id, double y)
{
    return (struct entry){.kind = ENTRY_LABELLED,
                          .time = 20,
                          .labelled = {.label_id = span_of(label_id),
                                       .request_id = span_of(fixture->request_id),
                                       .pair_id = span_of(fixture->pair_id),
                                       .prompt_id = span_of("p"),
                                       .left_id = span_of("a"),
                                       .right_id = span_of("b"),
                                       .feature_space = span_of("s"),
                                       .x = {(const char *)fixture->x, sizeof fixture->x},
                                       .probability_left = y,
                                       .confidence = .5}};
}

/* What the label that counts says; NaN: none does. */
static double probability_of(const struct request *request)
{
    struct request_label label;
    return request_counting(request, &label) ? label.probability : (double)NAN;
}

static void an_entry_seen_twice_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct request *request;
    struct error error;
    const struct entry selected = selected_of(fixture), label = labelled_of(fixture, "l", 1);
    assert_int_equal(requests_selected(&fixture->requests, &selected, &request, &error),
                     APPLIED_NEW);
    assert_int_equal(fixture->requests.open_count, 1);
    assert_int_equal(requests_selected(&fixture->requests, &selected, &request, &error),
                     APPLIED_KNOWN);
    assert_int_equal(fixture->requests.open_count, 1);
    assert_float_equal(request_share(request, .75), .75, 0);
    assert_int_equal(requests_labelled(&fixture->requests, &label, 0, 5, &request, &error),
                     APPLIED_NEW);
    assert_int_equal(requests_labelled(&fixture->requests, &label, 0, 5, &request, &error),
                     APPLIED_KNOWN);
    assert_int_equal(fixture->requests.open_count, 0);
    assert_float_equal(request_share(request, .75), .5, 0);
    assert_int_equal(fixture->requests.slot_last, 7);
}

static void the_order_of_entries_does_not_matter(void **state)
{
    struct fixture *fixture = *state;
    struct request *request;
    struct error error;
    const struct entry selected = selected_of(fixture);
    const struct entry first = labelled_of(fixture, "first", 1);
    const struct entry second = labelled_of(fixture, "second", 0);
    assert_int_equal(
        requests_closed(&fixture->requests, span_of(fixture->request_id), true, &request, &error),
        APPLIED_NEW);
    assert_float_equal(request_share(request, 1), 0, 0);
    assert_int_equal(requests_labelled(&fixture->requests, &second, 0, 9, &request, &error),
                     APPLIED_NEW);
    assert_float_equal(probability_of(request), 0, 0);
    assert_int_equal(requests_labelled(&fixture->requests, &first, 0, 5, &request, &error),
                     APPLIED_NEW);
    /* The label that stands first in the ledger counts, though it was read second. */
    assert_float_equal(probability_of(request), 1, 0);
    assert_int_equal(requests_selected(&fixture->requests, &selected, &request, &error),
                     APPLIED_NEW);
    assert_int_equal(fixture->requests.open_count, 0);
    assert_float_equal(request_share(request, 1), .5, 0);
}

static void a_correction_counts_in_place_of_what_it_corrects(void **state)
{
    struct fixture *fixture = *state;
    struct request *request;
    struct error error;
    const struct entry selected = selected_of(fixture);
    const struct entry wrong = labelled_of(fixture, "wrong", 1);
    struct entry right = labelled_of(fixture, "right", 0);
    right.labelled.supersedes = span_of("wrong");
    requests_selected(&fixture->requests, &selected, &request, &error);
    requests_labelled(&fixture->requests, &right, 0, 9, &request, &error);
    requests_labelled(&fixture->requests, &wrong, 0, 5, &request, &error);
    assert_float_equal(probability_of(request), 0, 0);
}

static void a_label_of_ours_stands_behind_those_read_until_it_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct request *request;
    struct error error;
    const struct entry ours = labelled_of(fixture, "ours", 1);
    const struct entry theirs = labelled_of(fixture, "theirs", 0);
    requests_labelled(&fixture->requests, &ours, -1, INT64_MAX, &request, &error);
    assert_float_equal(probability_of(request), 1, 0);
    requests_labelled(&fixture->requests, &theirs, 0, 7, &request, &error);
    assert_float_equal(probability_of(request), 0, 0);
    assert_int_equal(requests_labelled(&fixture->requests, &ours, 0, 6, &request, &error),
                     APPLIED_NEW);
    assert_float_equal(probability_of(request), 1, 0);
}

static void a_label_of_ours_says_what_the_ledger_says_once_it_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct request *request;
    struct error error;
    const struct entry ours = labelled_of(fixture, "same", 1);
    const struct entry theirs = labelled_of(fixture, "same", 0);
    requests_labelled(&fixture->requests, &ours, -1, INT64_MAX, &request, &error);
    /* Another worker has accepted the same label, sent again with another outcome. */
    assert_int_equal(requests_labelled(&fixture->requests, &theirs, 0, 7, &request, &error),
                     APPLIED_NEW);
    assert_float_equal(probability_of(request), 0, 0);
    assert_int_equal(requests_labelled(&fixture->requests, &ours, 0, 8, &request, &error),
                     APPLIED_KNOWN);
    assert_float_equal(probability_of(request), 0, 0);
}

/* The usual label stands within its request, every other beside it: both must be the same to see.
 */
static void usual_and_unusual_labels_live_together(void **state)
{
    struct fixture *fixture = *state;
    struct requests *requests = &fixture->requests;
    struct request *request;
    struct request_label label;
    struct error error;
    struct entry usual = labelled_of(fixture, "usual", 1), odd = labelled_of(fixture, "odd", .25);
    usual.labelled.confidence = 1;
    const struct entry selected = selected_of(fixture);
    requests_selected(requests, &selected, &request, &error);
    assert_int_equal(requests_labelled(requests, &usual, 2, 40, &request, &error), APPLIED_NEW);
    assert_int_equal(request->labels, LABELS_PLAIN);
    assert_true(request_counting(request, &label));
    assert_true(identity_equal(label.id, identity_of(span_of("usual"))));
    assert_int_equal(label.ledger_partition, 2);
    assert_int_equal(label.ledger_offset, 40);
    assert_int_equal(label.accepted_at, 20);
    assert_float_equal(label.probability, 1, 0);
    assert_false(requests_has_label(requests, identity_of(span_of("odd"))));
    /* A second one that stands lower in the ledger takes its place, and the first is still known.
     */
    assert_int_equal(requests_labelled(requests, &odd, 1, 90, &request, &error), APPLIED_NEW);
    assert_int_equal(request->labels, LABELS_LISTED);
    assert_float_equal(probability_of(request), .25, 0);
    assert_true(requests_has_label(requests, identity_of(span_of("usual"))));
    assert_true(requests_has_label(requests, identity_of(span_of("odd"))));
    assert_int_equal(requests_labelled(requests, &usual, 2, 41, &request, &error), APPLIED_KNOWN);
    requests_forget(requests, request);
    assert_false(requests_has_label(requests, identity_of(span_of("usual"))));
    assert_false(requests_has_label(requests, identity_of(span_of("odd"))));
    assert_int_equal(requests->count, 0);
}

/* Who gave the label that counts; "" when that is unknown or there is none. */
static struct span annotator_of(const struct requests *requests, const struct request *request)
{
    struct request_label label;
    if (!request_counting(request, &label) || label.annotator == 0)
        return span_of("");
    const struct name *name = names_get(&requests->annotators, label.annotator - 1);
    return (struct span){name->text, name->size};
}

static void a_label_keeps_its_annotator_wherever_it_stands(void **state)
{
    struct fixture *fixture = *state;
    struct requests *requests = &fixture->requests;
    struct request *request;
    struct error error;
    struct entry usual = labelled_of(fixture, "usual", 1), odd = labelled_of(fixture, "odd", .25);
    usual.labelled.confidence = 1;
    usual.labelled.annotator_id = span_of("ann");
    odd.labelled.annotator_id = span_of("bob");
    requests_labelled(requests, &usual, 2, 40, &request, &error);
    assert_int_equal(request->labels, LABELS_PLAIN);
    assert_true(span_equal(annotator_of(requests, request), span_of("ann")));
    /* The second one counts, and both stand in a list. */
    requests_labelled(requests, &odd, 1, 90, &request, &error);
    assert_true(span_equal(annotator_of(requests, request), span_of("bob")));
    assert_int_equal(request->annotator, 0);
    assert_int_equal(requests->annotators.by_key.count, 2);
    requests_labelled(requests, &odd, 1, 91, &request, &error);
    requests_forget(requests, request);
    assert_int_equal(requests->annotators.by_key.count, 0);
}

static void the_annotator_is_whom_the_ledger_names(void **state)
{
    struct fixture *fixture = *state;
    struct requests *requests = &fixture->requests;
    struct request *request;
    struct error error;
    for (int plain = 0; plain < 2; plain++) {
        struct entry ours = labelled_of(fixture, "same", 1), theirs = ours, unknown = ours;
        ours.labelled.confidence = plain ? 1 : .5;
        theirs.labelled.confidence = 1;
        ours.labelled.annotator_id = span_of("ann");
        theirs.labelled.annotator_id = span_of("bob");
        requests_labelled(requests, &ours, -1, INT64_MAX, &request, &error);
        assert_true(span_equal(annotator_of(requests, request), span_of("ann")));
        /* Another worker has accepted the same label, sent again by somebody else. */
        assert_int_equal(requests_labelled(requests, &theirs, 0, 7, &request, &error), APPLIED_NEW);
        assert_true(span_equal(annotator_of(requests, request), span_of("bob")));
        assert_int_equal(requests_labelled(requests, &ours, 0, 8, &request, &error), APPLIED_KNOWN);
        assert_true(span_equal(annotator_of(requests, request), span_of("bob")));
        assert_int_equal(requests->annotators.by_key.count, 1);
        requests_forget(requests, request);
        requests_labelled(requests, &unknown, 0, 9, &request, &error);
        assert_true(span_equal(annotator_of(requests, request), span_of("")));
        assert_int_equal(requests->annotators.by_key.count, 0);
        requests_forget(requests, request);
    }
}

static void a_request_is_found_by_pair_and_prompt_until_it_is_forgotten(void **state)
{
    struct fixture *fixture = *state;
    struct requests *requests = &fixture->requests;
    struct request *first, *second;
    struct error error;
    char other[ID_TEXT_SIZE];
    struct id pair = identity_pair(span_of("p"), span_of("a"), span_of("b"));
    const struct entry selected = selected_of(fixture);
    struct entry again = selected_of(fixture);
    identity_format(identity_request(span_of("s"), pair, 1, 2), other);
    again.selected.request_id = span_of(other);
    again.selected.attempt = 2;
    /* EXPIRED may be read first: the request moves once SELECTED completes it. */
    requests_closed(requests, span_of(other), true, &second, &error);
    assert_null(requests_find_pair(requests, pair));
    requests_selected(requests, &selected, &first, &error);
    requests_selected(requests, &again, &second, &error);
    assert_ptr_equal(requests_find_pair(requests, pair), second);
    assert_true(second->expired && !second->open);
    struct id prompt = identity_of(span_of("p"));
    assert_ptr_equal(requests_of(requests, prompt), second);
    assert_ptr_equal(second->of_prompt, first);
    assert_true(span_equal(request_right_id(requests, first), span_of("b")));
    assert_true(span_equal(request_space(requests, first), span_of("s")));
    assert_int_equal(first->deadline, 1000);
    requests_forget(requests, second);
    assert_ptr_equal(requests_of(requests, prompt), first);
    assert_null(first->of_prompt);
    requests_forget(requests, first);
    assert_null(requests_of(requests, prompt));
}

static void a_label_of_other_completions_than_its_request_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct request *request;
    struct error error;
    const struct entry selected = selected_of(fixture);
    struct entry label = labelled_of(fixture, "l", 1);
    const float other[2] = {3, 4};
    requests_selected(&fixture->requests, &selected, &request, &error);
    label.labelled.x.data = (const char *)other;
    assert_int_equal(requests_labelled(&fixture->requests, &label, 0, 1, &request, &error),
                     APPLIED_REFUSED);
    assert_true(request->open && request->labels == LABELS_NONE);
}

static void entries_that_contradict_themselves_are_refused_whole(void **state)
{
    struct fixture *fixture = *state;
    struct request *request;
    struct error error;
    struct entry entry = selected_of(fixture);
    entry.selected.weight = .3;
    assert_int_equal(requests_selected(&fixture->requests, &entry, &request, &error),
                     APPLIED_REFUSED);
    assert_non_null(strstr(error.message, "weight"));
    entry = selected_of(fixture);
    fixture->x[1] = (float)NAN;
    assert_int_equal(requests_selected(&fixture->requests, &entry, &request, &error),
                     APPLIED_REFUSED);
    size_t used = fixture->store.used; /* the indexes keep their first slots */
    fixture->x[1] = 0;
    entry.selected.x.size = 7;
    assert_int_equal(requests_selected(&fixture->requests, &entry, &request, &error),
                     APPLIED_REFUSED);
    entry = selected_of(fixture);
    entry.selected.right_id = span_of("c");
    assert_int_equal(requests_selected(&fixture->requests, &entry, &request, &error),
                     APPLIED_REFUSED);
    assert_non_null(strstr(error.message, "pair_id"));
    entry = selected_of(fixture);
    entry.selected.attempt = 2;
    assert_int_equal(requests_selected(&fixture->requests, &entry, &request, &error),
                     APPLIED_REFUSED);
    assert_non_null(strstr(error.message, "request_id"));
    entry = labelled_of(fixture, "l", 1.5);
    assert_int_equal(requests_labelled(&fixture->requests, &entry, 0, 1, &request, &error),
                     APPLIED_REFUSED);
    entry = selected_of(fixture);
    entry.selected.deadline = INT64_MAX;
    assert_int_equal(requests_selected(&fixture->requests, &entry, &request, &error),
                     APPLIED_REFUSED);
    assert_non_null(strstr(error.message, "deadline"));
    assert_int_equal(fixture->requests.count, 0);
    assert_int_equal(fixture->store.used, used);
}

#define WITH_REQUESTS(test) cmocka_unit_test_setup_teardown(test, fixture_make, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_has_one_identity_whatever_its_order),
        cmocka_unit_test(identities_survive_a_round_trip_as_text),
        cmocka_unit_test(identities_are_those_of_xxh3),
        cmocka_unit_test(request_ids_differ_by_space_replica_and_attempt),
        cmocka_unit_test(blocks_are_aligned_distinct_and_used_again),
        cmocka_unit_test(a_store_never_passes_its_limit),
        cmocka_unit_test(what_one_size_gave_back_serves_every_other),
        cmocka_unit_test(an_empty_store_gives_its_memory_back),
        cmocka_unit_test(at_most_a_sixteenth_of_a_block_is_wasted),
        cmocka_unit_test(an_index_finds_what_is_there_and_nothing_else),
        cmocka_unit_test(things_of_one_key_go_one_by_one),
        cmocka_unit_test(a_name_is_kept_once_and_as_long_as_it_is_used),
        cmocka_unit_test(metadata_is_read_back_and_damage_is_noticed),
        cmocka_unit_test(effects_keep_their_bytes_while_the_batch_grows),
        cmocka_unit_test(a_cut_never_splits_a_character),
        WITH_REQUESTS(an_entry_seen_twice_changes_nothing),
        WITH_REQUESTS(the_order_of_entries_does_not_matter),
        WITH_REQUESTS(a_correction_counts_in_place_of_what_it_corrects),
        WITH_REQUESTS(a_label_of_ours_stands_behind_those_read_until_it_is_read),
        WITH_REQUESTS(a_label_of_ours_says_what_the_ledger_says_once_it_is_read),
        WITH_REQUESTS(usual_and_unusual_labels_live_together),
        WITH_REQUESTS(a_label_keeps_its_annotator_wherever_it_stands),
        WITH_REQUESTS(the_annotator_is_whom_the_ledger_names),
        WITH_REQUESTS(a_request_is_found_by_pair_and_prompt_until_it_is_forgotten),
        WITH_REQUESTS(a_label_of_other_completions_than_its_request_is_refused),
        WITH_REQUESTS(entries_that_contradict_themselves_are_refused_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
