/* What an outcome leads to, and whose label is accepted. */
#include "tests/unit/replicas_fixture.h"

static void both_bad_tells_nothing_where_it_is_ignored(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    for (int ignored = 0; ignored < 2; ignored++) {
        struct engine_options options = options_asking(2, 1);
        options.labels_both_bad = ignored ? BOTH_BAD_IGNORE : BOTH_BAD_TIE;
        struct shell shell = begin(&options);
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
        finish(&shell);
    }
}

static void a_skipped_pair_goes_to_somebody_else_where_that_is_wanted(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX], later[ASKED_MAX];
    for (int again = 0; again < 2; again++) {
        struct engine_options options = options_asking(2, 1);
        options.labels_skips = again ? SKIPS_AGAIN : SKIPS_EXCLUDE;
        struct shell shell = begin(&options);
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
        finish(&shell);
    }
}

static void a_skip_is_not_asked_again_where_another_attempt_was_answered(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX], later[ASKED_MAX];
    struct engine_options options = options_asking(3, 1);
    options.labels_skips = SKIPS_AGAIN;
    struct shell shell = begin(&options);
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
    finish(&shell);
}

static void one_annotator_does_not_answer_two_replicas(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 2);
    struct shell shell = begin(&options);
    size_t count = list_asked(&shell, asked);
    const struct asked *second = find_asked(asked, count, asked[0].pair, 2, 1);
    assert_non_null(second);
    give_answer(
        &shell, 0,
        (struct label){.request_id = span_of(asked[0].request), .annotator_id = span_of("ann")});
    turn(&shell, 1);
    give_answer(
        &shell, 1,
        (struct label){.request_id = span_of(second->request), .annotator_id = span_of("ann")});
    turn(&shell, 1);
    assert_int_equal(shell.cluster->dead_letters, 1);
    assert_non_null(strstr(shell.cluster->last_reason, "ann"));
    assert_non_null(strstr(shell.cluster->last_reason, asked[0].request));
    assert_int_equal(engine_stats(shell.engine)->labels_repeated, 1);
    give_answer(
        &shell, 2,
        (struct label){.request_id = span_of(second->request), .annotator_id = span_of("bob")});
    /* Who answered may correct it. */
    give_answer(&shell, 3,
                (struct label){.request_id = span_of(asked[0].request),
                               .annotator_id = span_of("ann"),
                               .supersedes = span_of("labels-0-0"),
                               .outcome = OUTCOME_RIGHT});
    turn(&shell, 1);
    assert_int_equal(shell.cluster->dead_letters, 1);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 2);
    finish(&shell);
}

static void a_pair_that_is_asked_again_names_who_answered(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(2, 1);
    options.labels_skips = SKIPS_AGAIN;
    options.budget_in_flight = 4;
    options.budget_burst = 4;
    struct shell shell = begin(&options);
    size_t count = list_asked(&shell, asked);
    give_answer(&shell, 0,
                (struct label){.request_id = span_of(asked[count - 1].request),
                               .annotator_id = span_of("nobody knows"),
                               .outcome = OUTCOME_SKIP});
    turn(&shell, 1000);
    assert_int_equal(list_asked(&shell, asked), count + 1);
    assert_int_equal(asked[count].attempt, 2);
    struct error error;
    struct buffer text = {.maximum = 1 << 16};
    const struct span pair = {shell.cluster->last_pair.data, shell.cluster->last_pair.size};
    check(contracts_print_json(shell.contracts, CONTRACT_PAIR, pair, &text, &error), &error);
    assert_true(buffer_append(&text, "", 1));
    assert_non_null(strstr(text.data, "\"exclude_annotators\":[\"nobody knows\"]"));
    buffer_free(&text);
    finish(&shell);
}

static void a_label_whose_pair_is_not_its_requests_is_dead_lettered_with_both(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 1);
    struct shell shell = begin(&options);
    list_asked(&shell, asked);
    give_answer(
        &shell, 0,
        (struct label){.request_id = span_of(asked[0].request), .pair_id = span_of(asked[1].pair)});
    turn(&shell, 1);
    assert_int_equal(shell.cluster->dead_letters, 1);
    assert_non_null(strstr(shell.cluster->last_reason, asked[0].request));
    assert_non_null(strstr(shell.cluster->last_reason, asked[0].pair));
    assert_non_null(strstr(shell.cluster->last_reason, asked[1].pair));
    give_answer(
        &shell, 1,
        (struct label){.request_id = span_of(asked[0].request), .pair_id = span_of(asked[0].pair)});
    turn(&shell, 1);
    assert_int_equal(shell.cluster->dead_letters, 1);
    assert_int_equal(engine_stats(shell.engine)->labels, 1);
    finish(&shell);
}

static void a_label_from_the_future_and_of_an_unknown_kind_counts(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 1);
    struct shell shell = begin(&options);
    list_asked(&shell, asked);
    give_answer(&shell, 0,
                (struct label){.request_id = span_of(asked[0].request),
                               .annotator_kind = span_of("oracle"),
                               .labelled_at = shell.now + 300001});
    give_answer(
        &shell, 1,
        (struct label){.request_id = span_of(asked[1].request), .labelled_at = shell.now + 299000});
    turn(&shell, 1);
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 2);
    assert_int_equal(engine_stats(shell.engine)->clock_ahead, 1);
    finish(&shell);
}

static void a_label_sent_again_is_counted_and_changes_nothing(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(2, 1);
    struct shell shell = begin(&options);
    list_asked(&shell, asked);
    struct label label = {
        .label_id = span_of("once"), .request_id = span_of(asked[0].request), .confidence = .5};
    give_answer(&shell, 0, label);
    turn(&shell, 1);
    label.outcome = OUTCOME_RIGHT;
    give_answer(&shell, 1, label);
    turn(&shell, 1);
    assert_int_equal(engine_stats(shell.engine)->labels_duplicate, 1);
    assert_int_equal(count_kind(&shell, ENTRY_LABELLED), 1);
    struct id id;
    identity_parse(span_of(asked[0].request), &id);
    const struct request *request = requests_find(engine_requests(shell.engine), id);
    assert_float_equal(request_share(request, 1), .5, 0);
    finish(&shell);
}

static void a_label_of_a_pair_answers_its_oldest_open_request(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    struct engine_options options = options_asking(1, 2);
    struct shell shell = begin(&options);
    size_t count = list_asked(&shell, asked);
    const struct requests *requests = engine_requests(shell.engine);
    struct id ids[2], pair;
    for (int32_t k = 0; k < 2; k++)
        identity_parse(span_of(find_asked(asked, count, asked[0].pair, k + 1, 1)->request),
                       &ids[k]);
    identity_parse(span_of(asked[0].pair), &pair);
    const struct request *oldest = replicas_of_pair(requests, pair, span_of(""));
    give_answer(&shell, 0,
                (struct label){.pair_id = span_of(asked[0].pair), .label_id = span_of("one")});
    turn(&shell, 1);
    assert_int_equal(oldest->labels, LABELS_LISTED);
    give_answer(&shell, 1,
                (struct label){.pair_id = span_of(asked[0].pair), .label_id = span_of("two")});
    turn(&shell, 1);
    assert_true(request_informative(requests_find(requests, ids[0])));
    assert_true(request_informative(requests_find(requests, ids[1])));
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 2);
    /* A correction goes to what it corrects: withdrawn by a skip, it counts no more. */
    give_answer(&shell, 2,
                (struct label){.pair_id = span_of(asked[0].pair),
                               .supersedes = span_of("one"),
                               .outcome = OUTCOME_SKIP});
    turn(&shell, 1);
    assert_false(request_informative(oldest));
    assert_int_equal(engine_stats(shell.engine)->labels_counted, 1);
    finish(&shell);
}

/* A labeller that sends one answer over and over, without a label_id. */
static void a_request_takes_many_labels_and_not_any_number(void **state)
{
    (void)state;
    static struct asked asked[ASKED_MAX];
    enum { LABELS = 10000 };
    const struct engine_options options = options_asking(1, 1);
    struct shell shell = begin(&options);
    list_asked(&shell, asked);
    for (int64_t k = 0; k < LABELS; k++)
        give_label(&shell, k, asked[0].request, k == 0 ? OUTCOME_RIGHT : OUTCOME_LEFT);
    turn(&shell, 1);
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_int_equal(stats->labels, REQUEST_LABELS_MAX);
    assert_int_equal(stats->labels_counted, 1);
    assert_int_equal(shell.cluster->dead_letters, LABELS - REQUEST_LABELS_MAX);
    assert_non_null(strstr(shell.cluster->last_reason, "has had 256 labels"));
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_bad_tells_nothing_where_it_is_ignored),
        cmocka_unit_test(a_skipped_pair_goes_to_somebody_else_where_that_is_wanted),
        cmocka_unit_test(a_skip_is_not_asked_again_where_another_attempt_was_answered),
        cmocka_unit_test(one_annotator_does_not_answer_two_replicas),
        cmocka_unit_test(a_pair_that_is_asked_again_names_who_answered),
        cmocka_unit_test(a_label_whose_pair_is_not_its_requests_is_dead_lettered_with_both),
        cmocka_unit_test(a_label_from_the_future_and_of_an_unknown_kind_counts),
        cmocka_unit_test(a_label_sent_again_is_counted_and_changes_nothing),
        cmocka_unit_test(a_label_of_a_pair_answers_its_oldest_open_request),
        cmocka_unit_test(a_request_takes_many_labels_and_not_any_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
