/* infopair topics: creates the topics that are missing and compares the others with what the
 * promises need. It never changes a topic. */
#include "clock.h"
#include "command.h"
#include "command_kafka.h"
#include "interrupt.h"
#include "topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_TIMEOUT = 30000, LOOK_AGAIN = 100 };

struct topics_command {
    struct command_patience patience;
    bool dry_run;
    rd_kafka_t *admin;
    rd_kafka_queue_t *queue;
    struct topic_plan plans[TOPICS];
    int32_t partitions[TOPICS]; /* 0: does not exist */
    int misfits;
};

static const struct command_option OPTIONS[] = {
    {"dry-run", 'n', NULL, "print what would be made, make nothing"}, COMMAND_PATIENCE, {0}};

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct topics_command *topics = closure;
    if (name == NULL)
        return error_set(error, ERROR_FATAL, "takes no argument '%.80s'", value);
    bool good;
    if (command_take_patience(&topics->patience, name, value, &good, error))
        return good;
    topics->dry_run = true;
    return true;
}

static const struct command_usage USAGE = {
    .name = "topics",
    .summary =
        "Creates the five topics with settings under which the promises hold. Topics that exist\n"
        "are left as they are and compared: each setting that a promise needs and does not find\n"
        "is named, and the exit code is 1.",
    .examples = "  infopair topics --config infopair.cfg --dry-run\n"
                "  infopair topics --set kafka.brokers=localhost:9092 --set "
                "topics.replication=1\n",
    .options = OPTIONS,
    .take = take,
};

/* Waits for the answer to a request of the admin interface. */
static rd_kafka_event_t *await_answer(struct topics_command *topics, const char *doing,
                                      struct error *error)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(topics->queue, ANSWER_TIMEOUT);
    if (event == NULL) {
        error_set(error, ERROR_RETRY, "%s: no answer", doing);
        return NULL;
    }
    if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return event;
    error_set(error, ERROR_FATAL, "%s: %s", doing, rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    return NULL;
}

static void print_plan(const char *what, const struct topic_plan *plan)
{
    printf("%s: %s, partitions=%d replication=%d", plan->name, what, plan->partitions,
           plan->replication);
    for (size_t k = 0; k < plan->count; k++)
        printf(" %s=%s", plan->settings[k].name, plan->settings[k].text);
    putchar('\n');
}

static rd_kafka_NewTopic_t *new_topic(const struct topic_plan *plan, struct error *error)
{
    char reason[256];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(plan->name, plan->partitions,
                                                       plan->replication, reason, sizeof reason);
    if (topic == NULL) {
        error_set(error, ERROR_FATAL, "topic '%s': %s", plan->name, reason);
        return NULL;
    }
    for (size_t k = 0; k < plan->count; k++)
        rd_kafka_NewTopic_set_config(topic, plan->settings[k].name, plan->settings[k].text);
    return topic;
}

static bool check_created(rd_kafka_event_t *event, struct error *error)
{
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    for (size_t k = 0; k < count; k++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[k]);
        const char *text = rd_kafka_topic_result_error_string(results[k]);
        /* Somebody else was faster: as good. */
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            return error_set(
                error, ERROR_FATAL, "topic '%s': %s%s", rd_kafka_topic_result_name(results[k]),
                text != NULL ? text : rd_kafka_err2str(code),
                code == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR ? " (topics.replication)"
                                                                     : "");
    }
    return true;
}

/* A topic is known to the controller before it is to every broker. */
static bool await_visible(struct topics_command *topics, struct error *error)
{
    const int64_t end = clock_monotonic_ms() + ANSWER_TIMEOUT;
    for (int k = 0; k < TOPICS;) {
        struct error passing;
        int32_t count = 0;
        if (kafka_partitions(topics->admin, topics->plans[k].name, ANSWER_TIMEOUT, &count,
                             &passing) &&
            count > 0) {
            k++;
            continue;
        }
        if (interrupt_seen() || clock_monotonic_ms() >= end)
            return error_set(error, ERROR_RETRY, "topic '%s' was created and does not show up",
                             topics->plans[k].name);
        rd_kafka_poll(topics->admin, LOOK_AGAIN);
    }
    return true;
}

static bool create_missing(struct topics_command *topics, struct error *error)
{
    rd_kafka_NewTopic_t *missing[TOPICS];
    size_t count = 0;
    bool done = true;
    for (int k = 0; k < TOPICS && done; k++) {
        if (topics->partitions[k] > 0)
            continue;
        missing[count] = new_topic(&topics->plans[k], error);
        done = missing[count] != NULL;
        count += done;
    }
    if (done && count > 0) {
        rd_kafka_AdminOptions_t *options =
            rd_kafka_AdminOptions_new(topics->admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        rd_kafka_AdminOptions_set_operation_timeout(options, ANSWER_TIMEOUT / 2, NULL, 0);
        rd_kafka_CreateTopics(topics->admin, missing, count, options, topics->queue);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_event_t *event = await_answer(topics, "creating the topics", error);
        done = event != NULL && check_created(event, error) && await_visible(topics, error);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_NewTopic_destroy_array(missing, count);
    return done;
}

/* The value of a setting that the broker told; NULL when it did not. */
static const char *value_of(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t k = 0; k < count; k++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[k]), name) == 0)
            return rd_kafka_ConfigEntry_value(entries[k]);
    return NULL;
}

/* Prints one setting that is not what a new topic would get. */
static void compare_setting(struct topics_command *topics, const struct topic_plan *plan,
                            const struct topic_setting *setting, const char *actual)
{
    if (actual == NULL || strcmp(actual, setting->text) == 0)
        return;
    if (topic_setting_fits(setting, actual)) {
        printf("%s: %s is %s; a new topic would get %s\n", plan->name, setting->name, actual,
               setting->text);
        return;
    }
    topics->misfits++;
    char least[24];
    snprintf(least, sizeof least, "%" PRId64, setting->least);
    bool equal = setting->demand == DEMAND_EQUAL;
    printf("%s: NOT FIT: %s is %s, must be %s%s: %s\n", plan->name, setting->name, actual,
           equal ? "" : "at least ", equal ? setting->text : least, setting->why);
}

static void compare_partitions(struct topics_command *topics, enum topic topic)
{
    const struct topic_plan *plan = &topics->plans[topic];
    int32_t actual = topics->partitions[topic];
    if (actual == plan->partitions)
        return;
    if (topic != TOPIC_LEDGER) {
        printf("%s: has %" PRId32 " partitions; a new topic would get %d\n", plan->name, actual,
               plan->partitions);
        return;
    }
    topics->misfits++;
    printf("%s: NOT FIT: has %" PRId32 " partitions, must have %d: each entry has its place by its "
           "key\n",
           plan->name, actual, plan->partitions);
}

static const rd_kafka_ConfigResource_t *resource_of(const rd_kafka_ConfigResource_t **resources,
                                                    size_t count, const char *name)
{
    for (size_t k = 0; k < count; k++)
        if (strcmp(rd_kafka_ConfigResource_name(resources[k]), name) == 0)
            return resources[k];
    return NULL;
}

/* Dead letters need room for what the inputs may hold, not for what new inputs would. */
static void raise_dead_letters(struct topics_command *topics,
                               const rd_kafka_ConfigResource_t **resources, size_t count)
{
    const enum topic inputs[] = {TOPIC_COMPLETIONS, TOPIC_LABELS};
    for (size_t k = 0; k < sizeof inputs / sizeof *inputs; k++) {
        const rd_kafka_ConfigResource_t *resource =
            resource_of(resources, count, topics->plans[inputs[k]].name);
        const char *bytes = resource == NULL ? NULL : value_of(resource, "max.message.bytes");
        if (bytes != NULL)
            topics_raise_dead_letters(topics->plans, strtoll(bytes, NULL, 10));
    }
}

static bool compare_described(struct topics_command *topics, rd_kafka_event_t *event,
                              struct error *error)
{
    size_t count;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count);
    raise_dead_letters(topics, resources, count);
    for (int topic = 0; topic < TOPICS; topic++) {
        const struct topic_plan *plan = &topics->plans[topic];
        const rd_kafka_ConfigResource_t *resource = resource_of(resources, count, plan->name);
        if (resource == NULL)
            continue;
        if (rd_kafka_ConfigResource_error(resource) != RD_KAFKA_RESP_ERR_NO_ERROR)
            return error_set(error, ERROR_FATAL, "topic '%s': %s", plan->name,
                             rd_kafka_ConfigResource_error_string(resource));
        int before = topics->misfits;
        compare_partitions(topics, topic);
        for (size_t k = 0; k < plan->count; k++)
            compare_setting(topics, plan, &plan->settings[k],
                            value_of(resource, plan->settings[k].name));
        if (topics->misfits == before)
            printf("%s: exists and fits\n", plan->name);
    }
    return true;
}

/* Compares the topics that were there before. */
static bool compare_existing(struct topics_command *topics, struct error *error)
{
    rd_kafka_ConfigResource_t *resources[TOPICS];
    size_t count = 0;
    for (int k = 0; k < TOPICS; k++)
        if (topics->partitions[k] > 0)
            resources[count++] =
                rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics->plans[k].name);
    if (count == 0)
        return true;
    rd_kafka_DescribeConfigs(topics->admin, resources, count, NULL, topics->queue);
    rd_kafka_ConfigResource_destroy_array(resources, count);
    rd_kafka_event_t *event = await_answer(topics, "reading the topics' settings", error);
    bool done = event != NULL && compare_described(topics, event, error);
    rd_kafka_event_destroy(event);
    return done;
}

static bool look(struct topics_command *topics, struct error *error)
{
    for (int k = 0; k < TOPICS; k++)
        if (!kafka_partitions(topics->admin, topics->plans[k].name, ANSWER_TIMEOUT,
                              &topics->partitions[k], error))
            return false;
    return true;
}

static void print_missing(const struct topics_command *topics)
{
    for (int k = 0; k < TOPICS; k++)
        if (topics->partitions[k] == 0)
            print_plan(topics->dry_run ? "would be created" : "created", &topics->plans[k]);
}

static int make(struct topics_command *topics)
{
    struct error error = {ERROR_NONE, ""};
    topics->queue = rd_kafka_queue_new(topics->admin);
    bool done = look(topics, &error) && compare_existing(topics, &error) &&
                (topics->dry_run || create_missing(topics, &error));
    rd_kafka_queue_destroy(topics->queue);
    if (!done)
        return command_fail(USAGE.name, &error, EXIT_FAILED);
    print_missing(topics);
    bool printed = fflush(stdout) == 0;
    return topics->misfits == 0 && printed ? EXIT_DONE : EXIT_FAILED;
}

int command_topics(int argc, char **argv)
{
    struct topics_command topics = {0};
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, &topics, &options);
    if (code != COMMAND_GO_ON)
        return code;
    interrupt_catch();
    topics_plan(options, topics.plans);
    topics.admin = command_admin(USAGE.name, options, &topics.patience, &code);
    if (topics.admin != NULL) {
        code = make(&topics);
        rd_kafka_destroy(topics.admin);
    }
    options_free(options);
    return code;
}
