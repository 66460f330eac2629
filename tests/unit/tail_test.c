/* Records as they come from a broker (librdkafka's in-process one) as JSON lines. */
#include "worker/kafka.h"
#include "worker/tail_print.h"

#include <jansson.h>
#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TOPIC "t"
enum { WAIT = 10000 };

static struct options *options;
static rd_kafka_t *producer, *reader;
static struct tail_printer printer;
static int64_t next_offset;

static rd_kafka_t *open_handle(enum kafka_role role, const char *mock_brokers)
{
    struct error error = {ERROR_NONE, ""};
    rd_kafka_conf_t *conf = kafka_conf(options, role, 0, &error);
    if (conf == NULL)
        fail_msg("%s", error.message);
    if (mock_brokers != NULL)
        rd_kafka_conf_set(conf, "test.mock.num.brokers", mock_brokers, NULL, 0);
    rd_kafka_t *kafka = kafka_open(role, conf, &error);
    if (kafka == NULL)
        fail_msg("%s", error.message);
    return kafka;
}

static int start(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    log_set_level(LOG_LEVEL_ERROR);
    options = options_new();
    assert_non_null(options);
    producer = open_handle(KAFKA_SENDER, "1");
    rd_kafka_mock_cluster_t *cluster = rd_kafka_handle_mock_cluster(producer);
    rd_kafka_mock_topic_create(cluster, TOPIC, 1, 1);
    free(options->kafka_brokers);
    options->kafka_brokers = strdup(rd_kafka_mock_cluster_bootstraps(cluster));
    reader = open_handle(KAFKA_READER, NULL);
    rd_kafka_poll_set_consumer(reader);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, TOPIC, 0)->offset = 0;
    assert_int_equal(rd_kafka_assign(reader, list), 0);
    rd_kafka_topic_partition_list_destroy(list);
    const struct contracts_options contracts = {.directory = TEST_SOURCE_DIRECTORY "/schemas",
                                                .record_max = 1 << 20,
                                                .dimension_max = 8,
                                                .attributes_max = 8};
    printer.contracts = contracts_new(&contracts, &error);
    if (printer.contracts == NULL)
        fail_msg("%s", error.message);
    printer.options = options;
    printer.line.maximum = 1 << 20;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    rd_kafka_destroy(producer);
    contracts_free(printer.contracts);
    buffer_free(&printer.line);
    options_free(options);
    return 0;
}

/* Sends a record through the broker and prints it as read back. headers: pairs of name and text,
 * ended by NULL. The caller releases the JSON. */
static json_t *round_trip(struct span key, struct span value, const char *const *headers)
{
    rd_kafka_headers_t *list = rd_kafka_headers_new(4);
    for (; headers != NULL && headers[0] != NULL; headers += 2)
        rd_kafka_header_add(list, headers[0], -1, headers[1], -1);
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(TOPIC), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_KEY((void *)(uintptr_t)key.data, key.size),
                                       RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.size),
                                       RD_KAFKA_V_HEADERS(list),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     0);
    assert_int_equal(rd_kafka_flush(producer, WAIT), 0);
    rd_kafka_message_t *message;
    do { /* ends of the partition come in between */
        message = rd_kafka_consumer_poll(reader, WAIT);
        assert_non_null(message);
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            assert_int_equal(message->err, RD_KAFKA_RESP_ERR__PARTITION_EOF);
    } while (message->err != RD_KAFKA_RESP_ERR_NO_ERROR &&
             (rd_kafka_message_destroy(message), true));
    struct error error = {ERROR_NONE, ""};
    if (!tail_format(&printer, message, &error))
        fail_msg("%s", error.message);
    assert_int_equal(message->offset, next_offset++);
    rd_kafka_message_destroy(message);
    const struct buffer *line = &printer.line;
    assert_ptr_equal(memchr(line->data, '\n', line->size), line->data + line->size - 1);
    json_t *json = json_loadb(line->data, line->size, JSON_REJECT_DUPLICATES, NULL);
    if (json == NULL)
        fail_msg("no JSON: %.*s", (int)line->size, line->data);
    return json;
}

/* A label as it stands on its topic; in `out`, which the caller frees. */
static struct span encode_label(struct buffer *out)
{
    struct error error = {ERROR_NONE, ""};
    const struct label label = {
        .request_id = span_of("r1"), .outcome = OUTCOME_TIE, .confidence = 1, .lead_time = -1};
    *out = (struct buffer){.maximum = 1024};
    assert_true(contracts_encode_label(printer.contracts, &label, out, &error));
    return (struct span){out->data, out->size};
}

static void assert_string(const json_t *json, const char *name, const char *text)
{
    const char *found = json_string_value(json_object_get(json, name));
    if (found == NULL || strcmp(found, text) != 0)
        fail_msg("%s is '%s', not '%s'", name, found == NULL ? "absent" : found, text);
}

static void records_print_with_where_they_stand_when_asked(void **state)
{
    (void)state;
    struct buffer record;
    struct span value = encode_label(&record);
    printer.contract = CONTRACT_LABEL;
    printer.meta = false;
    json_t *plain = round_trip(span_of("r1"), value, NULL);
    assert_string(plain, "request_id", "r1");
    assert_string(plain, "outcome", "tie");
    assert_null(json_object_get(plain, "_offset"));
    printer.meta = true;
    json_t *meta = round_trip(span_of("r1"), value, NULL);
    assert_string(meta, "outcome", "tie");
    assert_string(meta, "_topic", TOPIC);
    assert_string(meta, "_key", "r1");
    assert_int_equal(json_integer_value(json_object_get(meta, "_partition")), 0);
    assert_int_equal(json_integer_value(json_object_get(meta, "_offset")), next_offset - 1);
    assert_true(json_integer_value(json_object_get(meta, "_timestamp")) > 1700000000000);
    json_decref(plain);
    json_decref(meta);
    buffer_free(&record);
}

static void records_that_cannot_be_decoded_print_as_their_bytes(void **state)
{
    (void)state;
    /* Vectors of RFC 4648, section 10. */
    static const char *const VECTORS[][2] = {{"f", "Zg=="},         {"fo", "Zm8="},
                                             {"foo", "Zm9v"},       {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    printer.contract = CONTRACT_LABEL;
    printer.meta = false;
    int64_t before = printer.unreadable;
    for (size_t k = 0; k < sizeof VECTORS / sizeof *VECTORS; k++) {
        json_t *json = round_trip(span_of("k"), span_of(VECTORS[k][0]), NULL);
        assert_string(json, "_bytes", VECTORS[k][1]);
        assert_true(json_string_length(json_object_get(json, "_error")) > 0);
        json_decref(json);
    }
    assert_int_equal(printer.unreadable - before, 6);
}

static void dead_letters_print_where_they_came_from_and_why(void **state)
{
    (void)state;
    static const char *const HEADERS[] = {"infopair.topic",
                                          "infopair.completions",
                                          "infopair.partition",
                                          "2",
                                          "infopair.offset",
                                          "17",
                                          "infopair.reason",
                                          "text: it's \"\xc3\xbc\"",
                                          "traceparent",
                                          "00-ab",
                                          "odd",
                                          "\xff\x01",
                                          NULL};
    printer.contract = CONTRACTS;
    printer.meta = false;
    json_t *letter = round_trip(span_of("p1"), span_of("\xfb\xff\xfe"), HEADERS);
    assert_string(letter, "topic", "infopair.completions");
    assert_int_equal(json_integer_value(json_object_get(letter, "partition")), 2);
    assert_int_equal(json_integer_value(json_object_get(letter, "offset")), 17);
    assert_string(letter, "reason", "text: it's \"\xc3\xbc\"");
    assert_string(letter, "key", "p1");
    assert_string(letter, "bytes", "+//+");
    assert_string(json_object_get(letter, "headers"), "traceparent", "00-ab");
    assert_string(json_object_get(letter, "headers"), "odd", "/wE=");
    assert_null(json_object_get(letter, "record"));
    json_decref(letter);
}

static void dead_letters_show_the_record_where_it_can_be_decoded(void **state)
{
    (void)state;
    static const char *const HEADERS[] = {"infopair.topic", "infopair.labels", NULL};
    struct buffer record;
    struct span value = encode_label(&record);
    printer.contract = CONTRACTS;
    printer.meta = true;
    json_t *letter = round_trip((struct span){NULL, 0}, value, HEADERS);
    assert_string(json_object_get(letter, "record"), "request_id", "r1");
    assert_string(letter, "_topic", TOPIC);
    assert_true(json_is_null(json_object_get(letter, "_key")));
    json_decref(letter);
    buffer_free(&record);
}

static void a_pair_that_was_taken_back_shows_which_and_why(void **state)
{
    (void)state;
    static const char *const HEADERS[] = {"infopair.withdrawn", "4f00", "infopair.reason", "a test",
                                          NULL};
    const struct span none = {NULL, 0};
    printer.contract = CONTRACT_PAIR;
    printer.meta = true;
    int64_t before = printer.unreadable;
    json_t *notice = round_trip(span_of("p1"), none, HEADERS);
    assert_string(notice, "withdrawn", "4f00");
    assert_string(notice, "reason", "a test");
    assert_string(notice, "_key", "p1");
    json_decref(notice);
    /* Of whom nobody knows what is meant. */
    notice = round_trip(span_of("p1"), none, NULL);
    assert_true(json_is_null(json_object_get(notice, "withdrawn")));
    json_decref(notice);
    assert_int_equal(printer.unreadable, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_print_with_where_they_stand_when_asked),
        cmocka_unit_test(records_that_cannot_be_decoded_print_as_their_bytes),
        cmocka_unit_test(dead_letters_print_where_they_came_from_and_why),
        cmocka_unit_test(dead_letters_show_the_record_where_it_can_be_decoded),
        cmocka_unit_test(a_pair_that_was_taken_back_shows_which_and_why),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
