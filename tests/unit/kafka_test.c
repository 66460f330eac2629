/* What librdkafka is told for each handle, which properties users may not touch, and what its
 * errors mean. No broker. */
#include "tests/support/expect.h"
#include "worker/kafka.h"
#include "worker/kafka_properties.h"
#include "worker/topics.h"

#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const BASE[] = {"kafka.brokers=127.0.0.1:1", "kafka.group=g", "kafka.instance=i",
                                   NULL};

static void assert_value(const rd_kafka_conf_t *conf, const char *name, const char *expected)
{
    char value[256] = "";
    size_t size = sizeof value;
    assert_int_equal(rd_kafka_conf_get(conf, name, value, &size), RD_KAFKA_CONF_OK);
    if (strcmp(value, expected) != 0)
        fail_msg("%s is '%s', not '%s'", name, value, expected);
}

static void assert_role(const struct options *options, enum kafka_role role,
                        const char *const values[][2])
{
    struct error error = {ERROR_NONE, ""};
    rd_kafka_conf_t *conf = kafka_conf(options, role, (size_t)64 << 20, &error);
    if (conf == NULL)
        fail_msg("%s", error.message);
    for (; (*values)[0] != NULL; values++)
        assert_value(conf, (*values)[0], (*values)[1]);
    rd_kafka_t *kafka = kafka_open(role, conf, &error);
    if (kafka == NULL)
        fail_msg("%s", error.message);
    rd_kafka_destroy(kafka);
}

static void each_handle_gets_what_the_protocol_asks_for(void **state)
{
    (void)state;
    struct options *options = expect_options(BASE);
    static const char *const GROUP[][2] = {{"group.id", "g"},
                                           {"group.instance.id", "i"},
                                           {"isolation.level", "read_committed"},
                                           {"enable.auto.commit", "false"},
                                           {"enable.auto.offset.store", "false"},
                                           {"auto.offset.reset", "error"},
                                           {"enable.partition.eof", "true"},
                                           {"partition.assignment.strategy", "range"},
                                           {"session.timeout.ms", "45000"},
                                           {"queued.max.messages.kbytes", "49153"},
                                           {"queued.min.messages", "32768"},
                                           {NULL, NULL}};
    static const char *const FOLLOWER[][2] = {
        {"group.id", "g.follower"},       {"isolation.level", "read_committed"},
        {"enable.auto.commit", "false"},  {"auto.offset.reset", "error"},
        {"enable.partition.eof", "true"}, {NULL, NULL}};
    static const char *const WATERMARKS[][2] = {
        {"isolation.level", "read_uncommitted"}, {"enable.auto.commit", "false"}, {NULL, NULL}};
    static const char *const PRODUCER[][2] = {{"transactional.id", "g-i"},
                                              {"transaction.timeout.ms", "15000"},
                                              {"message.timeout.ms", "12000"},
                                              {"enable.idempotence", "true"},
                                              {"acks", "-1"},
                                              {NULL, NULL}};
    static const char *const SENDER[][2] = {{"enable.idempotence", "true"},
                                            {"acks", "-1"},
                                            {"partitioner", "murmur2_random"},
                                            {"queue.buffering.max.kbytes", "65537"},
                                            {NULL, NULL}};
    assert_role(options, KAFKA_GROUP, GROUP);
    assert_role(options, KAFKA_FOLLOWER, FOLLOWER);
    assert_role(options, KAFKA_READER, FOLLOWER);
    assert_role(options, KAFKA_WATERMARKS, WATERMARKS);
    assert_role(options, KAFKA_PRODUCER, PRODUCER);
    assert_role(options, KAFKA_SENDER, SENDER);
    assert_role(options, KAFKA_ADMIN, (const char *const[][2]){{NULL, NULL}});
    options_free(options);
}

/* librdkafka compares some timeouts with others only when a handle is made. */
static void handles_can_be_made_at_the_ends_of_every_range(void **state)
{
    (void)state;
    static const char *const ENDS[][6] = {
        {"kafka.brokers=127.0.0.1:1", "kafka.session_timeout=1s", "kafka.transaction_timeout=1s",
         "kafka.assignment=cooperative-sticky", "kafka.static=false", NULL},
        {"kafka.brokers=127.0.0.1:1", "kafka.session_timeout=1h", "kafka.transaction_timeout=15m",
         NULL}};
    static const char *const NONE[][2] = {{NULL, NULL}};
    for (size_t k = 0; k < 2; k++) {
        struct options *options = expect_options(ENDS[k]);
        for (enum kafka_role role = KAFKA_GROUP; role <= KAFKA_ADMIN; role++)
            assert_role(options, role, NONE);
        options_free(options);
    }
}

static void a_users_properties_come_last(void **state)
{
    (void)state;
    static const char *const SETS[] = {"kafka.brokers=127.0.0.1:1",
                                       "kafka.properties.compression.type=gzip",
                                       "kafka.properties.fetch.wait.max.ms=7", NULL};
    static const char *const GROUP[][2] = {{"fetch.wait.max.ms", "7"}, {NULL, NULL}};
    static const char *const SENDER[][2] = {{"compression.type", "gzip"}, {NULL, NULL}};
    struct options *options = expect_options(SETS);
    assert_role(options, KAFKA_GROUP, GROUP);
    assert_role(options, KAFKA_SENDER, SENDER);
    options_free(options);
}

/* kafka_conf refuses `property` for every role, and the message contains `words`. */
static void assert_property_refused(const char *property, const char *words, const char *never)
{
    struct options *options = expect_options(BASE);
    struct error error = {ERROR_NONE, ""};
    char *item = strdup(property);
    assert_non_null(item);
    options->kafka_properties.items = &item;
    options->kafka_properties.count = 1;
    for (enum kafka_role role = KAFKA_GROUP; role <= KAFKA_ADMIN; role++) {
        assert_null(kafka_conf(options, role, 0, &error));
        assert_int_equal(error.class, ERROR_FATAL);
        expect_says(error.message, words);
        if (never != NULL && strstr(error.message, never) != NULL)
            fail_msg("%s is shown: %s", never, error.message);
    }
    options->kafka_properties.items = NULL;
    options->kafka_properties.count = 0;
    free(item);
    options_free(options);
}

static void properties_that_promises_rest_on_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const char *const PROMISED[] = {
        "enable.auto.commit=true",  "isolation.level=read_uncommitted",
        "auto.offset.reset=latest", "enable.partition.eof=false",
        "enable.idempotence=false", "enable.auto.offset.store=true",
        "request.required.acks=1",  "acks=1",
        "auto.commit.enable=true",
    };
    for (size_t k = 0; k < sizeof PROMISED / sizeof *PROMISED; k++)
        assert_property_refused(PROMISED[k], "promises rest on it", NULL);
    assert_property_refused("group.id=other", "kafka.group", NULL);
    assert_property_refused("transactional.id=other", "kafka.instance", NULL);
    assert_property_refused("bootstrap.servers=x:1", "kafka.brokers", NULL);
}

static void wrong_properties_are_named_and_their_secrets_are_not(void **state)
{
    (void)state;
    assert_property_refused("no.such.thing=1", "no.such.thing", NULL);
    assert_property_refused("socket.timeout.ms=never", "socket.timeout.ms", NULL);
    assert_property_refused("sasl.passwrd=hunter2", "sasl.passwrd", "hunter2");
}

/* librdkafka looks at some values only when a handle is made, and its log speaks then too. */
static void handles_that_cannot_be_made_keep_their_secrets(void **state)
{
    (void)state;
    static const char *const SETS[] = {"kafka.brokers=127.0.0.1:1",
                                       "kafka.properties.security.protocol=SSL",
                                       "kafka.properties.ssl.key.pem=hunter2", NULL};
    char log[4096] = "";
    FILE *stream = fmemopen(log, sizeof log, "w");
    assert_non_null(stream);
    log_set_stream(stream);
    struct options *options = expect_options(SETS);
    struct error error = {ERROR_NONE, ""};
    assert_null(kafka_open(KAFKA_SENDER, kafka_conf(options, KAFKA_SENDER, 0, &error), &error));
    log_set_stream(stderr);
    fclose(stream);
    assert_non_null(strstr(error.message, "ssl.key.pem"));
    assert_null(strstr(error.message, "hunter2"));
    assert_null(strstr(log, "hunter2"));
    options_free(options);
}

static void errors_have_the_class_of_what_must_be_done(void **state)
{
    (void)state;
    static const struct {
        rd_kafka_resp_err_t code;
        enum error_class class;
    } CASES[] = {
        {RD_KAFKA_RESP_ERR__TRANSPORT, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, ERROR_FENCED},
        {RD_KAFKA_RESP_ERR__FENCED, ERROR_FENCED},
        {RD_KAFKA_RESP_ERR_PRODUCER_FENCED, ERROR_FENCED},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERROR_FATAL},
        {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, ERROR_FATAL},
    };
    struct error error = {ERROR_NONE, ""};
    assert_true(kafka_failure(NULL, RD_KAFKA_RESP_ERR_NO_ERROR, "x", &error));
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        assert_false(kafka_failure(NULL, CASES[k].code, "reading", &error));
        assert_int_equal(error.class, CASES[k].class);
        assert_int_equal(strncmp(error.message, "reading: ", 9), 0);
    }
    assert_true(kafka_error(NULL, "x", &error));
}

/* The error of a commit that a mock broker answers with `code`. */
static enum error_class class_of_commit(rd_kafka_resp_err_t code)
{
    static const char *const SETS[] = {"kafka.brokers=", NULL};
    struct error error = {ERROR_NONE, ""};
    struct options *options = expect_options(SETS);
    rd_kafka_conf_t *conf = kafka_conf(options, KAFKA_PRODUCER, 0, &error);
    assert_non_null(conf);
    assert_int_equal(rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", NULL, 0), 0);
    rd_kafka_t *producer = kafka_open(KAFKA_PRODUCER, conf, &error);
    assert_non_null(producer);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_handle_mock_cluster(producer);
    rd_kafka_mock_topic_create(cluster, "t", 1, 1);
    assert_true(kafka_error(rd_kafka_init_transactions(producer, 10000), "init", &error));
    assert_true(kafka_error(rd_kafka_begin_transaction(producer), "begin", &error));
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("t"), RD_KAFKA_V_VALUE("x", 1),
                                       RD_KAFKA_V_END),
                     0);
    rd_kafka_mock_push_request_errors(cluster, 26 /* EndTxn */, 1, code);
    bool done = kafka_error(rd_kafka_commit_transaction(producer, 10000), "commit", &error);
    rd_kafka_destroy(producer);
    options_free(options);
    return done ? ERROR_NONE : error.class;
}

static void transaction_errors_tell_fenced_from_abort(void **state)
{
    (void)state;
    assert_int_equal(class_of_commit(RD_KAFKA_RESP_ERR_NO_ERROR), ERROR_NONE);
    assert_int_equal(class_of_commit(RD_KAFKA_RESP_ERR_PRODUCER_FENCED), ERROR_FENCED);
    assert_int_equal(class_of_commit(RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
                     ERROR_FATAL);
    assert_int_equal(class_of_commit(RD_KAFKA_RESP_ERR_INVALID_TXN_STATE), ERROR_FATAL);
}

static const struct topic_setting *setting_of(const struct topic_plan *plan, const char *name)
{
    for (size_t k = 0; k < plan->count; k++)
        if (strcmp(plan->settings[k].name, name) == 0)
            return &plan->settings[k];
    fail_msg("%s has no %s", plan->name, name);
    return NULL;
}

static long long number_of(const struct topic_plan *plan, const char *name)
{
    return strtoll(setting_of(plan, name)->text, NULL, 10);
}

static void topics_are_planned_for_the_promises(void **state)
{
    (void)state;
    static const char *const SETS[] = {"labels.window=40d",      "policy.window=50d",
                                       "labels.deadline=2d",     "labels.late=3d",
                                       "limits.record=2MiB",     "topics.partitions=12",
                                       "topics.replication=3",   "pool.age=30d",
                                       "limits.dimension=65536", NULL};
    const long long day = 86400000;
    struct options *options = expect_options(SETS);
    struct topic_plan plans[TOPICS];
    topics_plan(options, plans);
    for (int k = 0; k < TOPICS; k++) {
        assert_int_equal(plans[k].partitions, k == TOPIC_LEDGER ? 3 : 12);
        assert_int_equal(plans[k].replication, 3);
        assert_string_equal(setting_of(&plans[k], "cleanup.policy")->text, "delete");
        assert_string_equal(setting_of(&plans[k], "min.insync.replicas")->text, "2");
    }
    /* The larger window + deadline + late + a day. */
    assert_int_equal(number_of(&plans[TOPIC_LEDGER], "retention.ms"), (50 + 2 + 3 + 1) * day);
    assert_true(number_of(&plans[TOPIC_LEDGER], "max.message.bytes") >= 8 * 65536);
    assert_true(number_of(&plans[TOPIC_COMPLETIONS], "retention.ms") >= 31 * day);
    assert_true(number_of(&plans[TOPIC_PAIRS], "retention.ms") >= 5 * day);
    long long input = number_of(&plans[TOPIC_COMPLETIONS], "max.message.bytes");
    assert_true(input > 2 << 20);
    assert_int_equal(number_of(&plans[TOPIC_LABELS], "max.message.bytes"), input);
    assert_true(number_of(&plans[TOPIC_PAIRS], "max.message.bytes") > 2 << 20);
    assert_int_equal(number_of(&plans[TOPIC_DEAD_LETTERS], "max.message.bytes"), input + 65536);
    topics_raise_dead_letters(plans, 9000000);
    assert_int_equal(number_of(&plans[TOPIC_DEAD_LETTERS], "max.message.bytes"), 9065536);
    options_free(options);
}

static void no_topic_takes_less_than_one_batch_of_ours(void **state)
{
    (void)state;
    static const char *const SETS[] = {"limits.record=4KiB", "limits.text=1KiB", NULL};
    struct options *options = expect_options(SETS);
    struct topic_plan plans[TOPICS];
    topics_plan(options, plans);
    for (int k = 0; k < TOPICS; k++)
        assert_true(number_of(&plans[k], "max.message.bytes") > 1000000);
    options_free(options);
}

static void settings_fit_when_the_promise_holds(void **state)
{
    (void)state;
    struct options *options = expect_options(BASE);
    struct topic_plan plans[TOPICS];
    topics_plan(options, plans);
    const struct topic_plan *ledger = &plans[TOPIC_LEDGER];
    const struct topic_setting *policy = setting_of(ledger, "cleanup.policy");
    assert_true(topic_setting_fits(policy, "delete"));
    assert_false(topic_setting_fits(policy, "compact"));
    assert_false(topic_setting_fits(policy, "compact,delete"));
    const struct topic_setting *retention = setting_of(ledger, "retention.ms");
    assert_true(topic_setting_fits(retention, retention->text));
    assert_true(topic_setting_fits(retention, "-1"));
    assert_false(topic_setting_fits(retention, "604800000"));
    assert_false(topic_setting_fits(retention, ""));
    assert_false(topic_setting_fits(setting_of(ledger, "retention.bytes"), "1000000000"));
    assert_true(topic_setting_fits(setting_of(ledger, "message.timestamp.type"), "CreateTime"));
    options_free(options);
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_handle_gets_what_the_protocol_asks_for),
        cmocka_unit_test(handles_can_be_made_at_the_ends_of_every_range),
        cmocka_unit_test(a_users_properties_come_last),
        cmocka_unit_test(properties_that_promises_rest_on_are_refused_with_the_reason),
        cmocka_unit_test(wrong_properties_are_named_and_their_secrets_are_not),
        cmocka_unit_test(handles_that_cannot_be_made_keep_their_secrets),
        cmocka_unit_test(errors_have_the_class_of_what_must_be_done),
        cmocka_unit_test(transaction_errors_tell_fenced_from_abort),
        cmocka_unit_test(topics_are_planned_for_the_promises),
        cmocka_unit_test(no_topic_takes_less_than_one_batch_of_ours),
        cmocka_unit_test(settings_fit_when_the_promise_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
