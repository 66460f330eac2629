/* infopair topics: creates the topics that are missing and compares the others with what the
 * promises need. It never changes a topic. */
#include "clock.h"
#include "command.h"
#include "command_kafka.h"
#include "interrupt.h"
#include "topics_compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_AGAIN = 100 };

struct topics_command {
    struct command_patience patience;
    bool dry_run;
    rd_kafka_t *admin;
    rd_kafka_queue_t *queue;
    struct topic_plan plans[TOPICS];
    struct topic_found found[TOPICS];
    struct findings findings;
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
    const int64_t end = clock_monotonic_ms() + KAFKA_ANSWER_TIMEOUT;
    for (int k = 0; k < TOPICS;) {
        struct error passing;
        int32_t count = 0;
        if (kafka_partitions(topics->admin, topics->plans[k].name, KAFKA_ANSWER_TIMEOUT, &count,
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
        if (topics->found[k].partitions > 0)
            continue;
        missing[count] = new_topic(&topics->plans[k], error);
        done = missing[count] != NULL;
        count += done;
    }
    if (done && count > 0) {
        rd_kafka_AdminOptions_t *options =
            rd_kafka_AdminOptions_new(topics->admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        rd_kafka_AdminOptions_set_operation_timeout(options, KAFKA_ANSWER_TIMEOUT / 2, NULL, 0);
        rd_kafka_CreateTopics(topics->admin, missing, count, options, topics->queue);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_event_t *event = kafka_answer(topics->queue, "creating the topics", error);
        done = event != NULL && check_created(event, error) && await_visible(topics, error);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_NewTopic_destroy_array(missing, count);
    return done;
}

/* Compares the topics that were there before. */
static void compare_existing(struct topics_command *topics)
{
    for (int k = 0; k < TOPICS; k++) {
        const struct topic_plan *plan = &topics->plans[k];
        if (topics->found[k].partitions == 0)
            continue;
        int before = topics->findings.broken;
        topic_compare(plan, k == TOPIC_LEDGER, &topics->found[k], &topics->findings);
        if (topics->findings.broken == before)
            printf("%s: exists and fits\n", plan->name);
    }
}

static void print_missing(const struct topics_command *topics)
{
    for (int k = 0; k < TOPICS; k++)
        if (topics->found[k].partitions == 0)
            print_plan(topics->dry_run ? "would be created" : "created", &topics->plans[k]);
}

static bool make(struct topics_command *topics, struct error *error)
{
    for (int k = 0; k < TOPICS; k++)
        if (!topic_look(topics->admin, &topics->plans[k], &topics->found[k], error))
            return false;
    topics_raise_to_inputs(topics->plans, topics->found);
    compare_existing(topics);
    return topics->dry_run || create_missing(topics, error);
}

static int run(struct topics_command *topics)
{
    struct error error = {ERROR_NONE, ""};
    topics->findings.out = stdout;
    topics->queue = rd_kafka_queue_new(topics->admin);
    bool done = make(topics, &error);
    for (int k = 0; k < TOPICS; k++)
        settings_free(&topics->found[k].settings);
    rd_kafka_queue_destroy(topics->queue);
    if (!done)
        return command_fail(USAGE.name, &error, EXIT_FAILED);
    print_missing(topics);
    bool printed = fflush(stdout) == 0;
    return topics->findings.broken == 0 && printed ? EXIT_DONE : EXIT_FAILED;
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
        code = run(&topics);
        rd_kafka_destroy(topics.admin);
    }
    options_free(options);
    return code;
}
