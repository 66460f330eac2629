/* infopair tail: what stands on a topic as JSON lines. Reads committed records only, joins no group
 * and leaves no trace. */
#include "command.h"
#include "command_kafka.h"
#include "interrupt.h"
#include "tail_print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAIT = 100,             /* ms between two looks at the signals */
    RECORD_MOST = 64 << 20, /* whatever the limits say: tail is there to look at the odd ones */
    LINE_FACTOR = 16,       /* a character may take 6 bytes in JSON, a float 20 */
    QUEUE = 16 << 20,
};

struct tail_command {
    struct command_patience patience;
    const char *what;
    bool from_end;
    bool follow;
    bool meta;
    int64_t limit; /* -1: none */

    rd_kafka_t *reader;
    int32_t partitions;
    bool *ended; /* by partition */
    int32_t ended_count;
    int64_t printed;
    bool unheard; /* the reader of standard output went away */
    struct tail_printer printer;
};

static const struct command_option OPTIONS[] = {
    {"from", 0, "PLACE", "beginning (default) or end"},
    {"follow", 'f', NULL, "go on behind the end, until interrupted"},
    {"limit", 'n', "N", "end after N records"},
    {"meta", 'm', NULL, "add _topic, _partition, _offset, _timestamp (ms) and _key"},
    COMMAND_PATIENCE,
    {0}};

static bool take_from(struct tail_command *tail, const char *value, struct error *error)
{
    tail->from_end = strcmp(value, "end") == 0;
    return tail->from_end || strcmp(value, "beginning") == 0 ||
           error_set(error, ERROR_FATAL, "--from: '%.60s' is neither beginning nor end", value);
}

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct tail_command *tail = closure;
    if (name == NULL && tail->what != NULL)
        return error_set(error, ERROR_FATAL, "one topic at a time: '%.80s' is too many", value);
    bool good = true;
    if (name == NULL)
        tail->what = value;
    else if (command_take_patience(&tail->patience, name, value, &good, error))
        return good;
    else if (strcmp(name, "from") == 0)
        return take_from(tail, value, error);
    else if (strcmp(name, "limit") == 0)
        return command_count("limit", value, &tail->limit, error);
    else if (strcmp(name, "follow") == 0)
        tail->follow = true;
    else
        tail->meta = true;
    return true;
}

static const struct command_usage USAGE = {
    .name = "tail",
    .arguments = "pairs|labels|dead-letters|ledger|completions",
    .summary =
        "Prints the committed records of a topic as JSON lines, from the beginning to the end. "
        "The\n"
        "order is that of the topic within each partition. A dead letter shows where it came "
        "from,\n"
        "why, and its bytes in base64. A request that was taken back shows among the pairs as\n"
        "withdrawn and reason. A record that cannot be decoded shows as _error and _bytes.",
    .examples = "  infopair tail pairs --follow --set kafka.brokers=localhost:9092\n"
                "  infopair tail dead-letters --limit 10 | jq .reason\n",
    .options = OPTIONS,
    .take = take,
};

/* The topic that is meant, and its contract (CONTRACTS: dead letters); NULL when it is none. */
static const char *topic_of(const char *what, const struct options *options,
                            enum contract *contract)
{
    const struct {
        const char *name;
        const char *topic;
        enum contract contract;
    } topics[] = {{"pairs", options->topics_pairs, CONTRACT_PAIR},
                  {"labels", options->topics_labels, CONTRACT_LABEL},
                  {"ledger", options->topics_ledger, CONTRACT_LEDGER},
                  {"completions", options->topics_completions, CONTRACT_COMPLETION},
                  {"dead-letters", options->topics_dead_letters, CONTRACTS}};
    for (size_t k = 0; what != NULL && k < sizeof topics / sizeof *topics; k++) {
        if (strcmp(topics[k].name, what) != 0)
            continue;
        *contract = topics[k].contract;
        return topics[k].topic;
    }
    return NULL;
}

static bool start(struct tail_command *tail, const char *topic, struct error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(tail->partitions);
    for (int32_t k = 0; k < tail->partitions; k++)
        rd_kafka_topic_partition_list_add(list, topic, k)->offset =
            tail->from_end ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_poll_set_consumer(tail->reader);
    rd_kafka_resp_err_t code = rd_kafka_assign(tail->reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    return kafka_failure(tail->reader, code, topic, error);
}

/* A reader that went away, as `| head` does, is remembered: it is no failure. */
static bool output_failed(struct tail_command *tail, struct error *error)
{
    tail->unheard = errno == EPIPE;
    return error_set(error, ERROR_FATAL, "standard output: %s", strerror(errno));
}

static bool print(struct tail_command *tail, const rd_kafka_message_t *message, struct error *error)
{
    if (!tail_format(&tail->printer, message, error))
        return false;
    struct buffer *line = &tail->printer.line;
    tail->printed++;
    return fwrite(line->data, 1, line->size, stdout) == line->size || output_failed(tail, error);
}

/* Errors that pass are librdkafka's to repeat; it has logged them. */
static bool take_error(struct tail_command *tail, const rd_kafka_message_t *message,
                       struct error *error)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        bool *ended = &tail->ended[message->partition];
        tail->ended_count += !*ended;
        *ended = true;
        return true;
    }
    kafka_failure(tail->reader, message->err, rd_kafka_message_errstr(message), error);
    if (error->class == ERROR_RETRY)
        error->class = ERROR_NONE;
    return error->class == ERROR_NONE;
}

static bool is_done(const struct tail_command *tail)
{
    return interrupt_seen() || tail->printed == tail->limit ||
           (!tail->follow && tail->ended_count == tail->partitions);
}

static bool read_all(struct tail_command *tail, struct error *error)
{
    bool good = true;
    while (good && !is_done(tail)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(tail->reader, 0);
        if (message == NULL) {
            /* Nothing to hand: whoever reads the pipe gets what there is before we wait. */
            good = fflush(stdout) == 0 || output_failed(tail, error);
            message = good ? rd_kafka_consumer_poll(tail->reader, WAIT) : NULL;
        }
        if (message == NULL)
            continue;
        good = message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? print(tail, message, error)
                                                          : take_error(tail, message, error);
        rd_kafka_message_destroy(message);
    }
    return good && (fflush(stdout) == 0 || output_failed(tail, error));
}

static bool open_all(struct tail_command *tail, const struct options *options, const char *topic,
                     rd_kafka_t *admin, struct error *error)
{
    if (!command_topic(admin, topic, &tail->partitions, error))
        return false;
    size_t record = options->limits_record > RECORD_MOST ? options->limits_record : RECORD_MOST;
    tail->printer.options = options;
    tail->printer.meta = tail->meta;
    tail->printer.line.maximum = LINE_FACTOR * record;
    tail->printer.contracts = command_contracts(options, record, error);
    tail->ended = calloc((size_t)tail->partitions, sizeof *tail->ended);
    if (tail->printer.contracts == NULL)
        return false;
    if (tail->ended == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    tail->reader = kafka_open(KAFKA_READER, kafka_conf(options, KAFKA_READER, QUEUE, error), error);
    return tail->reader != NULL && start(tail, topic, error);
}

static int finish(const struct tail_command *tail, bool good, const struct error *error)
{
    if (tail->printer.unreadable > 0)
        fprintf(stderr, "infopair tail: %" PRId64 " records could not be decoded\n",
                tail->printer.unreadable);
    if (good || tail->unheard)
        return EXIT_DONE;
    return command_fail(USAGE.name, error, EXIT_FAILED);
}

static int run(struct tail_command *tail, const struct options *options, const char *topic)
{
    int code;
    rd_kafka_t *admin = command_admin(USAGE.name, options, &tail->patience, &code);
    if (admin == NULL)
        return code;
    struct error error = {ERROR_NONE, ""};
    bool opened = open_all(tail, options, topic, admin, &error);
    rd_kafka_destroy(admin);
    code = opened ? finish(tail, read_all(tail, &error), &error)
                  : command_fail(USAGE.name, &error, EXIT_FAILED);
    if (tail->reader != NULL) {
        rd_kafka_consumer_close(tail->reader);
        rd_kafka_destroy(tail->reader);
    }
    contracts_free(tail->printer.contracts);
    buffer_free(&tail->printer.line);
    free(tail->ended);
    return code;
}

int command_tail(int argc, char **argv)
{
    struct tail_command tail = {.limit = -1};
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, &tail, &options);
    if (code != COMMAND_GO_ON)
        return code;
    const char *topic = topic_of(tail.what, options, &tail.printer.contract);
    if (topic == NULL) {
        struct error error;
        error_set(&error, ERROR_FATAL,
                  "expected one of pairs, labels, dead-letters, ledger, completions%s%.60s",
                  tail.what == NULL ? "" : "; not ", tail.what == NULL ? "" : tail.what);
        code = command_fail(USAGE.name, &error, EXIT_USAGE);
    } else {
        interrupt_catch();
        code = run(&tail, options, topic);
    }
    options_free(options);
    return code;
}
