/* JSON lines to completions and labels, line by line. */
#include "tests/support/expect.h"
#include "worker/send_fields.h"
#include "worker/send_lines.h"
#include "worker/send_prompts.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct options *options;
static const float ROW[] = {1, 2};

static int load_options(void **state)
{
    (void)state;
    options = options_new();
    if (options == NULL)
        return -1;
    options->limits_dimension = 4;
    options->limits_attributes = 3;
    return 0;
}

static int drop_options(void **state)
{
    (void)state;
    options_free(options);
    return 0;
}

/* One line under conversion; released by `done`. */
struct attempt {
    struct send_fields *fields;
    json_t *line;
    struct completion completion;
    struct label label;
    struct error error;
};

static struct attempt begin(enum contract contract, const char *line, const char *const *defaults,
                            size_t count)
{
    struct attempt attempt = {.error = {ERROR_NONE, ""}};
    attempt.fields = send_fields_new(contract, options, defaults, count, &attempt.error);
    assert_non_null(attempt.fields);
    attempt.line = json_loads(line, 0, NULL);
    assert_non_null(attempt.line);
    return attempt;
}

static void done(struct attempt *attempt)
{
    json_decref(attempt->line);
    send_fields_free(attempt->fields);
}

static void assert_text(struct span span, const char *text)
{
    if (!span_equal(span, span_of(text)))
        fail_msg("'%.*s' is not '%s'", (int)span.size, span.data, text);
}

/* The completion of a line that must be good, with ROW as its features. */
static struct attempt good_completion(const char *line, const char *const *defaults, size_t count)
{
    struct attempt attempt = begin(CONTRACT_COMPLETION, line, defaults, count);
    if (!send_completion(attempt.fields, attempt.line, ROW, 2, &attempt.completion, &attempt.error))
        fail_msg("%s: %s", line, attempt.error.message);
    return attempt;
}

static void fields_of_a_completion_go_where_they_belong(void **state)
{
    (void)state;
    struct attempt attempt = good_completion(
        "{\"prompt_id\": \"p\", \"completion_id\": \"c\", \"policy_version\": \"v1\","
        " \"policy_epoch\": 7, \"feature_space\": \"s\", \"feature_epoch\": 2.0,"
        " \"policy_logprob\": -3, \"reference_logprob\": -4.5, \"reward\": 0.25,"
        " \"traffic_weight\": 2, \"candidate\": false, \"domain\": \"poems\","
        " \"prompt\": \"Why?\", \"text\": \"fa\\u00fcr\", \"uri\": \"s3://x\","
        " \"created_at\": 1700000000000}",
        NULL, 0);
    const struct completion *completion = &attempt.completion;
    assert_text(completion->prompt_id, "p");
    assert_text(completion->completion_id, "c");
    assert_text(completion->policy_version, "v1");
    assert_int_equal(completion->policy_epoch, 7);
    assert_text(completion->feature_space, "s");
    assert_int_equal(completion->feature_epoch, 2);
    assert_true(completion->policy_logprob == -3);
    assert_true(completion->reference_logprob == -4.5);
    assert_true(completion->reward == 0.25);
    assert_true(completion->traffic_weight == 2);
    assert_false(completion->candidate);
    assert_text(completion->domain, "poems");
    assert_text(completion->prompt, "Why?");
    assert_text(completion->text, "fa\xc3\xbcr");
    assert_text(completion->uri, "s3://x");
    assert_int_equal(completion->created_at, 1700000000000);
    assert_ptr_equal(completion->features, ROW);
    assert_int_equal(completion->dimension, 2);
    assert_int_equal(completion->attributes.size, 0);
    done(&attempt);
}

static void absent_and_null_fields_have_the_contracts_defaults(void **state)
{
    (void)state;
    struct attempt attempt = good_completion(
        "{\"prompt_id\": \"p\", \"completion_id\": \"c\", \"reward\": null, \"candidate\": null,"
        " \"domain\": null, \"traffic_weight\": null}",
        NULL, 0);
    assert_text(attempt.completion.policy_version, "");
    assert_text(attempt.completion.feature_space, "default");
    assert_true(isnan(attempt.completion.reward));
    assert_true(isnan(attempt.completion.policy_logprob));
    assert_true(attempt.completion.traffic_weight == 1);
    assert_true(attempt.completion.candidate);
    assert_int_equal(attempt.completion.domain.size, 0);
    done(&attempt);
}

static void defaults_fill_absent_and_null_fields_only(void **state)
{
    (void)state;
    const char *const defaults[] = {"policy_version=1=2", "policy_epoch=9", "domain=poems",
                                    "candidate=false", "reward=0.5"};
    struct attempt attempt =
        good_completion("{\"prompt_id\": \"p\", \"completion_id\": \"c\", \"policy_epoch\": null,"
                        " \"domain\": \"code\"}",
                        defaults, 5);
    /* A text is taken as it stands, whatever it looks like. */
    assert_text(attempt.completion.policy_version, "1=2");
    assert_int_equal(attempt.completion.policy_epoch, 9);
    assert_text(attempt.completion.domain, "code");
    assert_false(attempt.completion.candidate);
    assert_true(attempt.completion.reward == 0.5);
    done(&attempt);
}

static void defaults_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *words;
    } CASES[] = {
        {"policy_versoin=v1", "the nearest is 'policy_version'"},
        {"policy_epoch=soon", "policy_epoch: expected an integer"},
        {"candidate=1", "candidate: expected true or false"},
        {"features=1", "has no default"},
        {"domain", "expected NAME=VALUE"},
        {"=x", "expected NAME=VALUE"},
    };
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        struct error error;
        assert_null(send_fields_new(CONTRACT_COMPLETION, options, &CASES[k].text, 1, &error));
        expect_says(error.message, CASES[k].words);
    }
}

static void assert_attribute(struct span attributes, const char *name, const char *text)
{
    size_t position = 0;
    struct span key, value;
    while (attributes_next(attributes, &position, &key, &value)) {
        if (!span_equal(key, span_of(name)))
            continue;
        assert_text(value, text);
        return;
    }
    fail_msg("no attribute '%s'", name);
}

static void unknown_fields_become_attributes_as_text(void **state)
{
    (void)state;
    struct attempt first = good_completion(
        "{\"prompt_id\": \"p\", \"completion_id\": \"c\", \"chars\": 12, \"good\": true,"
        " \"judge\": {\"b\": [1, null], \"a\": 0.1}}",
        NULL, 0);
    assert_attribute(first.completion.attributes, "chars", "12");
    assert_attribute(first.completion.attributes, "good", "true");
    assert_attribute(first.completion.attributes, "judge", "{\"a\":0.1,\"b\":[1,null]}");
    done(&first);
    struct attempt second = good_completion(
        "{\"prompt_id\": \"p\", \"completion_id\": \"c\", \"policy\": \"it's \\\"x\\\"\","
        " \"score\": null, \"attributes\": {\"r\": 0.30000000000000004}}",
        NULL, 0);
    assert_attribute(second.completion.attributes, "policy", "it's \"x\"");
    assert_attribute(second.completion.attributes, "score", "null");
    /* As many digits as it takes to read back the same value. */
    assert_attribute(second.completion.attributes, "r", "0.30000000000000004");
    done(&second);
}

static void the_attributes_of_one_line_do_not_reach_the_next(void **state)
{
    (void)state;
    struct attempt attempt = good_completion(
        "{\"prompt_id\": \"p\", \"completion_id\": \"c\", \"a\": 1, \"b\": 2, \"c\": 3}", NULL, 0);
    json_object_del(attempt.line, "a");
    json_object_del(attempt.line, "b");
    assert_true(
        send_completion(attempt.fields, attempt.line, ROW, 2, &attempt.completion, &attempt.error));
    size_t position = 0, count = 0;
    struct span key, value;
    while (attributes_next(attempt.completion.attributes, &position, &key, &value))
        count++;
    assert_int_equal(count, 1);
    done(&attempt);
}

static void features_may_stand_in_the_line(void **state)
{
    (void)state;
    struct attempt attempt = begin(
        CONTRACT_COMPLETION,
        "{\"prompt_id\": \"p\", \"completion_id\": \"c\", \"features\": [1, -2.5, 3]}", NULL, 0);
    assert_true(send_completion(attempt.fields, attempt.line, NULL, 0, &attempt.completion,
                                &attempt.error));
    assert_int_equal(attempt.completion.dimension, 3);
    assert_true(attempt.completion.features[1] == -2.5F);
    done(&attempt);
}

static void bad_completions_are_refused_by_the_name_of_the_field(void **state)
{
    (void)state;
#define IDS "{\"prompt_id\": \"p\", \"completion_id\": \"c\", "
    static const struct {
        const char *line;
        const char *words;
    } CASES[] = {
        {"{\"completion_id\": \"c\", \"features\": [1]}", "prompt_id: is missing"},
        {"{\"prompt_id\": null, \"completion_id\": \"c\"}", "prompt_id: is missing"},
        {"{\"prompt_id\": \"\", \"completion_id\": \"c\"}", "prompt_id: is empty"},
        {"{\"prompt_id\": 5, \"completion_id\": \"c\"}",
         "prompt_id: expected a string, found a number"},
        {IDS "\"text\": [\"x\"]}", "text: expected a string, found an array"},
        {IDS "\"policy_epoch\": \"7\"}", "policy_epoch: expected an integer, found a string"},
        {IDS "\"policy_epoch\": 1.5}", "policy_epoch: expected an integer, found 1.5"},
        {IDS "\"policy_epoch\": 1e300}", "policy_epoch: expected an integer"},
        {IDS "\"reward\": true}", "reward: expected a number, found true or false"},
        {IDS "\"candidate\": 1}", "candidate: expected true or false, found a number"},
        {IDS "\"traffic_weight\": -1, \"features\": [1]}", "traffic_weight: -1 is below 0"},
        {IDS "\"text\": \"x\"}", "features: is missing"},
        {IDS "\"features\": \"abc\"}", "features: expected an array of numbers, found a string"},
        {IDS "\"features\": []}", "features: 0 values; limits.dimension allows 1 to 4"},
        {IDS "\"features\": [1, 2, 3, 4, 5]}", "features: 5 values"},
        {IDS "\"features\": [1, \"2\"]}", "features: value 1 is not"},
        {IDS "\"features\": [1e300]}", "features: value 0 is not a finite number"},
        {IDS "\"attributes\": [], \"features\": [1]}", "attributes: expected an object"},
        {IDS "\"a\": 1, \"attributes\": {\"a\": 2}, \"features\": [1]}", "a: also stands in"},
        {IDS "\"a\": 1, \"b\": 1, \"c\": 1, \"d\": 1, \"features\": [1]}", "limits.attributes = 3"},
        {"[1, 2]", "expected an object, found an array"},
    };
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        struct attempt attempt = begin(CONTRACT_COMPLETION, CASES[k].line, NULL, 0);
        assert_false(send_completion(attempt.fields, attempt.line, NULL, 0, &attempt.completion,
                                     &attempt.error));
        assert_int_equal(attempt.error.class, ERROR_DATA);
        expect_says(attempt.error.message, CASES[k].words);
        done(&attempt);
    }
}

static void features_from_two_places_are_refused(void **state)
{
    (void)state;
    struct attempt attempt = begin(CONTRACT_COMPLETION, IDS "\"features\": [1]}", NULL, 0);
    assert_false(
        send_completion(attempt.fields, attempt.line, ROW, 2, &attempt.completion, &attempt.error));
    assert_non_null(strstr(attempt.error.message, "features: in the line and by --features"));
    done(&attempt);
}

static void labels_have_an_outcome_or_a_probability(void **state)
{
    (void)state;
    struct attempt first =
        begin(CONTRACT_LABEL,
              "{\"request_id\": \"r\", \"outcome\": \"both_bad\", \"confidence\": 0.5,"
              " \"annotator_id\": \"a\", \"annotator_kind\": \"human\", \"lead_time\": 1200,"
              " \"labelled_at\": 1700000000000, \"label_id\": \"l\", \"supersedes\": \"k\"}",
              NULL, 0);
    assert_true(send_label(first.fields, first.line, &first.label, &first.error));
    assert_text(first.label.request_id, "r");
    assert_int_equal(first.label.outcome, OUTCOME_BOTH_BAD);
    assert_true(isnan(first.label.probability_left));
    assert_true(first.label.confidence == 0.5);
    assert_text(first.label.annotator_id, "a");
    assert_int_equal(first.label.lead_time, 1200);
    assert_text(first.label.supersedes, "k");
    done(&first);
    struct attempt second =
        begin(CONTRACT_LABEL, "{\"pair_id\": \"q\", \"probability_left\": 0.75}", NULL, 0);
    assert_true(send_label(second.fields, second.line, &second.label, &second.error));
    assert_int_equal(second.label.outcome, OUTCOME_PROBABILITY);
    assert_true(second.label.probability_left == 0.75);
    assert_true(second.label.confidence == 1);
    assert_int_equal(second.label.lead_time, -1);
    done(&second);
}

static void bad_labels_are_refused_by_the_name_of_the_field(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *words;
    } CASES[] = {
        {"{\"request_id\": \"r\", \"outcome\": \"sideways\"}", "outcome: 'sideways' is none of"},
        {"{\"request_id\": \"r\", \"outcome\": 1}", "outcome: expected a string"},
        {"{\"request_id\": \"r\"}", "outcome: is missing"},
        {"{\"outcome\": \"left\"}", "request_id: is missing"},
        {"{\"request_id\": \"r\", \"outcome\": \"left\", \"probability_left\": 1}",
         "outcome: given, and probability_left too"},
        {"{\"request_id\": \"r\", \"probability_left\": 1.5}", "probability_left: 1.5"},
        {"{\"request_id\": \"r\", \"outcome\": \"left\", \"confidence\": 0}", "confidence: 0"},
        {"{\"request_id\": \"r\", \"outcom\": \"left\"}", "the nearest is 'outcome'"},
    };
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        struct attempt attempt = begin(CONTRACT_LABEL, CASES[k].line, NULL, 0);
        assert_false(send_label(attempt.fields, attempt.line, &attempt.label, &attempt.error));
        assert_int_equal(attempt.error.class, ERROR_DATA);
        expect_says(attempt.error.message, CASES[k].words);
        done(&attempt);
    }
}

static char path[] = "/tmp/infopair-send-XXXXXX";

#define PAIR "{\"prompt_id\": \"p\", \"left_id\": \"a\", \"right_id\": \"b\", "

static void a_line_of_history_holds_the_pair_and_its_answer(void **state)
{
    (void)state;
    struct history history;
    const char *const defaults[] = {"annotator_kind=human", "feature_space=s"};
    struct attempt attempt = begin(
        CONTRACT_LEDGER,
        PAIR "\"outcome\": \"tie\", \"confidence\": 0.5, \"label_id\": \"l\","
             " \"features_left\": [1, 2], \"features_right\": [3, 4], \"policy_version\": \"v\"}",
        defaults, 2);
    assert_true(
        send_history_line(attempt.fields, attempt.line, NULL, NULL, 0, &history, &attempt.error));
    assert_text(history.prompt_id, "p");
    assert_text(history.left_id, "a");
    assert_text(history.right_id, "b");
    assert_text(history.feature_space, "s");
    assert_text(history.policy_version, "v");
    assert_text(history.label.label_id, "l");
    assert_text(history.label.annotator_kind, "human");
    assert_int_equal(history.label.outcome, OUTCOME_TIE);
    assert_true(history.label.confidence == 0.5);
    assert_int_equal(history.dimension, 2);
    assert_true(history.left[1] == 2 && history.right[0] == 3);
    done(&attempt);
    /* By files. */
    const float right[] = {1, 3};
    attempt = begin(CONTRACT_LEDGER, PAIR "\"probability_left\": 0.75}", NULL, 0);
    assert_true(
        send_history_line(attempt.fields, attempt.line, ROW, right, 2, &history, &attempt.error));
    assert_ptr_equal(history.left, ROW);
    assert_ptr_equal(history.right, right);
    assert_int_equal(history.label.outcome, OUTCOME_PROBABILITY);
    done(&attempt);
}

static void bad_lines_of_history_are_refused_by_the_name_of_the_field(void **state)
{
    (void)state;
#define SIDES "\"features_left\": [1, 2], \"features_right\": [3, 4]}"
    static const struct {
        const char *line;
        bool rows;
        const char *words;
    } CASES[] = {
        {"{\"left_id\": \"a\", " SIDES, false, "prompt_id: is missing"},
        {PAIR SIDES, false, "outcome: is missing, and so is probability_left"},
        {PAIR "\"outcome\": \"left\", \"chosen\": 1, " SIDES, false,
         "chosen: a line of history has no such field"},
        {PAIR "\"outcome\": \"left\", \"confidence\": 2, " SIDES, false,
         "confidence: 2 is not in (0, 1]"},
        {PAIR "\"outcome\": \"left\"}", false,
         "features_left: is missing; give it in the line or both by --features"},
        {PAIR "\"outcome\": \"left\", \"features_left\": [1]}", false,
         "features_right: is missing"},
        {PAIR "\"outcome\": \"left\", " SIDES, true,
         "features_left: in the line and by --features"},
        {PAIR "\"outcome\": \"left\", \"features_left\": [1], \"features_right\": [1, 2]}", false,
         "features_right: 2 values, features_left has 1"},
        {PAIR "\"outcome\": \"left\", \"features_left\": [1], \"features_right\": [1]}", false,
         "features_right: the same as features_left"},
        {PAIR "\"outcome\": \"left\", \"features_left\": [1, 2, 3, 4, 5]}", false,
         "features_left: 5 values; limits.dimension allows 1 to 4"},
    };
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        struct history history;
        const float *row = CASES[k].rows ? ROW : NULL;
        struct attempt attempt = begin(CONTRACT_LEDGER, CASES[k].line, NULL, 0);
        assert_false(
            send_history_line(attempt.fields, attempt.line, row, row, 2, &history, &attempt.error));
        assert_int_equal(attempt.error.class, ERROR_DATA);
        expect_says(attempt.error.message, CASES[k].words);
        done(&attempt);
    }
}

static void write_file(const char *text, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int make_file(void **state)
{
    (void)state;
    int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int drop_file(void **state)
{
    (void)state;
    unlink(path);
    memcpy(path + strlen(path) - 6, "XXXXXX", 6);
    return 0;
}

static void assert_bad_line(struct send_lines *lines, int number, const char *words)
{
    char place[64];
    json_t *line;
    struct error error;
    snprintf(place, sizeof place, "%s:%d: ", path, number);
    assert_int_equal(send_lines_next(lines, &line, &error), LINE_BAD);
    assert_null(line);
    assert_int_equal(error.class, ERROR_DATA);
    if (strncmp(error.message, place, strlen(place)) != 0 || strstr(error.message, words) == NULL)
        fail_msg("'%s' does not say '%s%s'", error.message, place, words);
}

static void bad_lines_are_named_and_the_next_can_be_read(void **state)
{
    (void)state;
    static const char TEXT[] = "\n{\"a\": 1}\r\n \t\nnot json\n[1]\n{\"a\": 1, \"a\": 2}\n"
                               "{\"long\": \"0123456789012345678901234567890123456789\"}\n"
                               "{\"nul\0\": 1}\n{\"b\": 2}";
    write_file(TEXT, sizeof TEXT - 1);
    struct error error;
    struct send_lines *lines = send_lines_open(path, 32, &error);
    assert_non_null(lines);
    json_t *line;
    assert_int_equal(send_lines_next(lines, &line, &error), LINE_OBJECT);
    assert_int_equal(send_lines_number(lines), 2);
    json_decref(line);
    assert_bad_line(lines, 4, "not JSON");
    assert_bad_line(lines, 5, "not a JSON object");
    assert_bad_line(lines, 6, "duplicate");
    assert_bad_line(lines, 7, "longer than 32 bytes");
    assert_bad_line(lines, 8, "not JSON");
    /* The last line has no newline. */
    assert_int_equal(send_lines_next(lines, &line, &error), LINE_OBJECT);
    assert_int_equal(json_integer_value(json_object_get(line, "b")), 2);
    json_decref(line);
    assert_int_equal(send_lines_next(lines, &line, &error), LINE_END);
    send_lines_close(lines);
}

static struct send_prompts *load_prompts(const char *text, size_t bytes_max, struct error *error)
{
    write_file(text, strlen(text));
    return send_prompts_load(path, 1024, bytes_max, error);
}

static void prompts_are_found_by_their_id(void **state)
{
    (void)state;
    struct error error;
    struct send_prompts *prompts =
        load_prompts("{\"prompt_id\": \"b\", \"prompt\": \"Who?\", \"n\": 48}\n"
                     "{\"prompt_id\": \"a\", \"prompt\": \"Why?\"}\n"
                     "{\"prompt_id\": \"b\", \"prompt\": \"Who?\"}\n",
                     1024, &error);
    assert_non_null(prompts);
    assert_text(send_prompts_find(prompts, span_of("a")), "Why?");
    assert_text(send_prompts_find(prompts, span_of("b")), "Who?");
    assert_int_equal(send_prompts_find(prompts, span_of("ab")).size, 0);
    send_prompts_free(prompts);
    prompts = load_prompts("", 1024, &error);
    assert_non_null(prompts);
    assert_int_equal(send_prompts_find(prompts, span_of("a")).size, 0);
    send_prompts_free(prompts);
}

static void bad_prompts_are_refused(void **state)
{
    (void)state;
    struct error error;
    assert_null(load_prompts("{\"prompt_id\": \"a\"}\n", 1024, &error));
    assert_non_null(strstr(error.message, ":1: prompt: is missing"));
    assert_null(load_prompts("{\"prompt_id\": \"a\", \"prompt\": \"1\"}\n"
                             "{\"prompt_id\": \"a\", \"prompt\": \"2\"}\n",
                             1024, &error));
    assert_non_null(strstr(error.message, "'a' has two different texts"));
    assert_null(load_prompts("{\"prompt_id\": \"a\", \"prompt\": \"0123456789\"}\n", 8, &error));
    assert_non_null(strstr(error.message, "memory.limit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_a_completion_go_where_they_belong),
        cmocka_unit_test(absent_and_null_fields_have_the_contracts_defaults),
        cmocka_unit_test(defaults_fill_absent_and_null_fields_only),
        cmocka_unit_test(defaults_that_cannot_be_are_refused),
        cmocka_unit_test(unknown_fields_become_attributes_as_text),
        cmocka_unit_test(the_attributes_of_one_line_do_not_reach_the_next),
        cmocka_unit_test(features_may_stand_in_the_line),
        cmocka_unit_test(bad_completions_are_refused_by_the_name_of_the_field),
        cmocka_unit_test(features_from_two_places_are_refused),
        cmocka_unit_test(labels_have_an_outcome_or_a_probability),
        cmocka_unit_test(bad_labels_are_refused_by_the_name_of_the_field),
        cmocka_unit_test(a_line_of_history_holds_the_pair_and_its_answer),
        cmocka_unit_test(bad_lines_of_history_are_refused_by_the_name_of_the_field),
        cmocka_unit_test_setup_teardown(bad_lines_are_named_and_the_next_can_be_read, make_file,
                                        drop_file),
        cmocka_unit_test_setup_teardown(prompts_are_found_by_their_id, make_file, drop_file),
        cmocka_unit_test_setup_teardown(bad_prompts_are_refused, make_file, drop_file),
    };
    return cmocka_run_group_tests(tests, load_options, drop_options);
}
