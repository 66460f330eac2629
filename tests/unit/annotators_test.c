/* What fits say of annotators: in an engine, from labels of the same pairs, and in forged entries.
 */
#include "tests/unit/selection_fixture.h"

#include "worker/annotators_report.h"
#include "worker/engine/annotators.h"

/* ---- in an engine ---- */

/* In turn one of three, of whom the third flips a coin, and at times nobody known. */
static struct label in_turn(void *random, int64_t offset, float x)
{
    static const char *const NAMES[] = {"ann", "bob", "clicks", "ann", "bob", "clicks", ""};
    const char *name = NAMES[offset % 7];
    bool flips = name[0] == 'c';
    bool left = flips ? sel_random_uniform(random) < .5 : x > 0;
    return (struct label){.outcome = left ? OUTCOME_LEFT : OUTCOME_RIGHT,
                          .annotator_id = span_of(name),
                          .annotator_kind = span_of(flips ? "model" : "human")};
}

static const struct fit_annotator *row_of(const struct engine_view *view, const char *id)
{
    for (size_t k = 0; k < view->annotator_count; k++) {
        if (span_equal(view->annotators[k].id, span_of(id)))
            return &view->annotators[k];
    }
    return NULL;
}

static int64_t answer_for_long(struct shell *shell, int64_t labels)
{
    struct sel_random random = sel_random_init(3, 3);
    return run_by(shell, 40, labels, in_turn, &random);
}

static struct engine_options options_by(bool by_annotator, double lapse)
{
    struct engine_options options = options_with(selection_of("uniform"));
    options.labels_lapse = lapse;
    options.labels_by_annotator = by_annotator;
    options.budget_in_flight = 100;
    options.budget_per_second = 100;
    options.budget_burst = 50;
    options.fit_every = 50;
    return options;
}

static void who_flips_coins_is_told_from_who_looks(void **state)
{
    (void)state;
    struct engine_options options = options_by(true, (double)NAN);
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    int64_t labels = answer_for_long(&shell, 0);
    assert_true(labels > 300);
    const struct engine_view view = engine_view(shell.engine);
    assert_int_equal(view.annotator_count, 3);
    const struct fit_annotator *ann = row_of(&view, "ann"), *clicks = row_of(&view, "clicks");
    assert_non_null(ann);
    assert_non_null(clicks);
    assert_true(span_equal(clicks->kind, span_of("model")));
    assert_true(span_equal(ann->kind, span_of("human")));
    if (!(clicks->lapse > .5 && ann->lapse < .1 && view.lapse > .05))
        fail_msg("ann %g, clicks %g, all %g", ann->lapse, clicks->lapse, view.lapse);
    assert_true(ann->agreement > .8 && clicks->agreement < .65);
    assert_true(clicks->labels > 80 && clicks->sided == clicks->labels);
    assert_true(fabs(view.left_bias) < .3 && fabs(clicks->left_bias) < .5);
    /* What others take from the ledger is the same. */
    struct shell other = start_with(shell.cluster, &options, shell.now);
    const struct engine_view theirs = engine_view(other.engine);
    assert_int_equal(theirs.fit_id, view.fit_id);
    assert_int_equal(theirs.annotator_count, 3);
    assert_float_equal(row_of(&theirs, "clicks")->lapse, clicks->lapse, 0);
    stop(&other);
    finish(&shell);
}

static void rates_are_those_of_all_where_nobody_wants_more(void **state)
{
    (void)state;
    const struct engine_options each[] = {options_by(false, (double)NAN), options_by(true, .1)};
    for (int k = 0; k < 2; k++) {
        struct shell shell = start_with(cluster_new(), &each[k], 1000000);
        answer_for_long(&shell, 0);
        const struct engine_view view = engine_view(shell.engine);
        assert_int_equal(view.annotator_count, 3);
        for (size_t row = 0; row < 3; row++)
            assert_float_equal(view.annotators[row].lapse, view.lapse, 0);
        assert_true(k == 0 || view.lapse == .1);
        finish(&shell);
    }
}

/* ---- answers to the same pair ---- */

struct book {
    struct store store;
    struct requests requests;
    const struct request *request[16];
    uint32_t annotator[16];
    double y[16], weight[16], margin[16], variance[16];
    size_t count;
};

/* A label that answers no request, of a pair with a number; `flipped`: shown the other way round.
 */
static void book_label(struct book *book, const char *label_id, int number, bool flipped,
                       const char *annotator, bool first)
{
    char pair_id[ID_TEXT_SIZE], request_id[ID_TEXT_SIZE], prompt[16];
    float x[1] = {flipped ? -1.f : 1.f};
    struct error error;
    struct request *request;
    snprintf(prompt, sizeof prompt, "p%d", number);
    struct id pair = identity_pair(span_of(prompt), span_of("a"), span_of("b"));
    identity_format(pair, pair_id);
    identity_format(identity_imported(span_of("s"), pair, span_of(label_id)), request_id);
    bool left = first != flipped;
    struct entry entry = {.kind = ENTRY_LABELLED,
                          .time = 5,
                          .labelled = {.label_id = span_of(label_id),
                                       .request_id = span_of(request_id),
                                       .pair_id = span_of(pair_id),
                                       .prompt_id = span_of(prompt),
                                       .left_id = span_of(flipped ? "b" : "a"),
                                       .right_id = span_of(flipped ? "a" : "b"),
                                       .feature_space = span_of("s"),
                                       .x = {(const char *)x, sizeof x},
                                       .outcome = left ? OUTCOME_LEFT : OUTCOME_RIGHT,
                                       .probability_left = left,
                                       .confidence = 1,
                                       .annotator_id = span_of(annotator),
                                       .origin = ORIGIN_IMPORTED}};
    assert_int_equal(
        requests_labelled(&book->requests, &entry, 0, (int64_t)book->count, &request, &error),
        APPLIED_NEW);
    book->request[book->count] = request;
    book->annotator[book->count] = request->annotator;
    book->y[book->count] = left;
    book->weight[book->count] = 1;
    book->margin[book->count] = flipped ? -.5 : .5;
    book->variance[book->count++] = .1;
}

static void answers_to_one_pair_are_compared_whichever_side_they_stand_on(void **state)
{
    (void)state;
    static struct book book;
    store_init(&book.store, 16u << 20);
    requests_init(&book.requests, &book.store);
    /* Of pair 1: ann and bob say a, the unknown says b. Of pair 2: ann says a twice, bob b. */
    book_label(&book, "1", 1, false, "ann", true);
    book_label(&book, "2", 1, true, "bob", true);
    book_label(&book, "3", 1, true, "", false);
    book_label(&book, "4", 2, false, "ann", true);
    book_label(&book, "5", 2, true, "ann", true);
    book_label(&book, "6", 2, false, "bob", false);
    const struct annotated labels = {book.request, book.annotator, book.y,    book.weight,
                                     book.margin,  book.variance,  book.count};
    struct buffer region = {.maximum = 4096};
    struct annotators found = {0};
    struct error error;
    double bias;
    assert_true(annotators_estimate(&book.requests, &labels, .1, 0, true, &region, &bias));
    assert_int_equal(annotators_adopt(&found, (struct span){region.data, region.size}, &error),
                     APPLIED_NEW);
    assert_int_equal(found.count, 2);
    const struct fit_annotator *ann = &found.rows[0], *bob = &found.rows[1];
    assert_true(span_equal(ann->id, span_of("ann")) && span_equal(bob->id, span_of("bob")));
    assert_int_equal(ann->labels, 3);
    assert_int_equal(ann->compared, 4);
    assert_float_equal(ann->compared_agreement, .25, 1e-12);
    assert_int_equal(bob->compared, 4);
    assert_float_equal(bob->compared_agreement, .25, 1e-12);
    assert_float_equal(ann->agreement, 1, 0);
    assert_float_equal(bob->agreement, .5, 0);
    assert_float_equal(ann->left_share, 2. / 3, 1e-12);
    assert_float_equal(annotators_lapse(&found, &book.requests, book.annotator[1], .9), bob->lapse,
                       0);
    assert_float_equal(annotators_lapse(&found, &book.requests, 0, .9), .9, 0);
    annotators_free(&found);
    buffer_free(&region);
    requests_fini(&book.requests);
    assert_int_equal(book.store.used, 0);
    store_fini(&book.store);
}

/* ---- forged entries ---- */

static void rows_that_cannot_be_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const char BAD_TEXT[] = "\xff", LONG_TEXT[REQUEST_ID_MAX + 1] = {'x'};
    const struct fit_annotator good = {.id = span_of("ann"), .labels = 5, .sided = 3, .lapse = .2};
    struct fit_annotator rows[10];
    static const char *const WHY[] = {"id or kind", "id or kind", "id or kind", "lapse", "lapse",
                                      "left_bias",  "count",      "share",      "count", "twice"};
    for (size_t k = 0; k < 10; k++)
        rows[k] = good;
    rows[0].id.size = 0;
    rows[1].id = (struct span){LONG_TEXT, sizeof LONG_TEXT};
    rows[2].kind = (struct span){BAD_TEXT, 1};
    rows[3].lapse = 1;
    rows[4].lapse = (double)NAN;
    rows[5].left_bias = INFINITY;
    rows[6].sided = 6;
    rows[7].agreement = 1.5;
    rows[8].compared = -1;
    struct buffer region = {.maximum = 4096};
    struct annotators annotators = {0};
    struct error error;
    assert_true(annotators_encode(&good, 1, &region));
    assert_int_equal(annotators_adopt(&annotators, (struct span){region.data, region.size}, &error),
                     APPLIED_NEW);
    for (size_t k = 0; k < 10; k++) {
        const struct fit_annotator two[] = {{.id = span_of("ann"), .lapse = .5}, rows[k]};
        region.size = 0;
        /* The last comes twice. */
        assert_true(annotators_encode(k == 9 ? two : &rows[k], k == 9 ? 2 : 1, &region));
        assert_int_equal(
            annotators_adopt(&annotators, (struct span){region.data, region.size}, &error),
            APPLIED_REFUSED);
        if (strstr(error.message, WHY[k]) == NULL)
            fail_msg("row %zu: %s", k, error.message);
        assert_int_equal(annotators.count, 1);
        assert_float_equal(annotators.rows[0].lapse, .2, 0);
    }
    annotators_free(&annotators);
    buffer_free(&region);
}

static void a_fit_has_rows_of_a_thousand_at_most(void **state)
{
    (void)state;
    static struct fit_annotator rows[ANNOTATORS_MAX + 1];
    static char names[ANNOTATORS_MAX + 1][8];
    struct buffer region = {.maximum = 1 << 20};
    struct annotators annotators = {0};
    struct error error;
    for (int k = 0; k <= ANNOTATORS_MAX; k++) {
        snprintf(names[k], sizeof names[k], "a%d", k);
        rows[k].id = span_of(names[k]);
    }
    assert_true(annotators_encode(rows, ANNOTATORS_MAX, &region));
    assert_int_equal(annotators_adopt(&annotators, (struct span){region.data, region.size}, &error),
                     APPLIED_NEW);
    region.size = 0;
    assert_true(annotators_encode(rows, ANNOTATORS_MAX + 1, &region));
    assert_int_equal(annotators_adopt(&annotators, (struct span){region.data, region.size}, &error),
                     APPLIED_REFUSED);
    assert_int_equal(annotators.count, ANNOTATORS_MAX);
    annotators_free(&annotators);
    buffer_free(&region);
}

/* ---- for people ---- */

static void annotators_are_told_as_json_and_figures(void **state)
{
    (void)state;
    static struct fit_annotator rows[ANNOTATORS_SHOWN + 1];
    static char names[ANNOTATORS_SHOWN + 1][8];
    for (int k = 0; k <= ANNOTATORS_SHOWN; k++) {
        snprintf(names[k], sizeof names[k], "a%d", k);
        rows[k] = (struct fit_annotator){.id = span_of(names[k]),
                                         .kind = span_of("human"),
                                         .labels = 100 - k,
                                         .sided = k > 0 ? 50 : 0,
                                         .lapse = .125,
                                         .agreement = k > 0 ? .75 : 0};
    }
    const struct engine_view view = {.space = "s",
                                     .fit_id = 7,
                                     .left_bias = .5,
                                     .annotators = rows,
                                     .annotator_count = ANNOTATORS_SHOWN + 1};
    char *text = annotators_text(&view);
    assert_non_null(text);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    assert_true(json_real_value(json_object_get(root, "left_bias")) == .5);
    const json_t *list = json_object_get(root, "annotators");
    assert_int_equal(json_array_size(list), ANNOTATORS_SHOWN + 1);
    const json_t *first = json_array_get(list, 0), *second = json_array_get(list, 1);
    assert_string_equal(json_string_value(json_object_get(first, "annotator_id")), "a0");
    assert_true(json_is_null(json_object_get(first, "agreement")));
    assert_true(json_real_value(json_object_get(second, "agreement")) == .75);
    assert_true(json_is_null(json_object_get(second, "compared_agreement")));
    json_decref(root);
    free(text);
    struct metrics *metrics = metrics_new();
    metrics_set(metrics, METRIC_ANNOTATOR_LAPSE, "gone", NULL, 1);
    annotators_measure(&view, metrics);
    assert_true(isnan(metrics_get(metrics, METRIC_ANNOTATOR_LAPSE, "gone", NULL)));
    assert_true(metrics_get(metrics, METRIC_ANNOTATOR_LAPSE, "a1", NULL) == .125);
    assert_true(metrics_get(metrics, METRIC_ANNOTATOR_LABELS, "a1", NULL) == 99);
    assert_true(metrics_get(metrics, METRIC_ANNOTATOR_AGREEMENT, "a1", NULL) == .75);
    assert_true(isnan(metrics_get(metrics, METRIC_ANNOTATOR_LABELS, "a50", NULL)));
    metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_flips_coins_is_told_from_who_looks),
        cmocka_unit_test(rates_are_those_of_all_where_nobody_wants_more),
        cmocka_unit_test(answers_to_one_pair_are_compared_whichever_side_they_stand_on),
        cmocka_unit_test(rows_that_cannot_be_are_refused_and_change_nothing),
        cmocka_unit_test(a_fit_has_rows_of_a_thousand_at_most),
        cmocka_unit_test(annotators_are_told_as_json_and_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
