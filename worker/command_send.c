/* infopair send: JSON lines to records, one line at a time, so that memory does not grow with the
 * file (but for --prompts). The first bad line ends it: what stood before is delivered, nothing
 * behind it is sent. */
#include "clock.h"
#include "command.h"
#include "command_kafka.h"
#include "interrupt.h"
#include "npy.h"
#include "send_fields.h"
#include "send_history.h"
#include "send_lines.h"
#include "send_producer.h"
#include "send_prompts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* JSON takes more room than Avro: up to 6 bytes for a character, about 20 for a float. */
enum { LINE_FACTOR = 8, DEFAULTS_MAX = 64, QUEUE_MOST = 64 << 20 };

struct send_command {
    struct command_patience patience;
    const char *defaults[DEFAULTS_MAX];
    size_t default_count;
    const char *kind; /* "completions", "labels" or "history" */
    const char *files[2];
    const char *file;
    const char *features_file;
    const char *prompts_file;
    double rate;
    int64_t limit; /* -1: none */
    bool skip_bad;

    const struct options *options;
    enum contract contract;
    const char *topic;
    struct contracts *contracts;
    struct send_fields *fields;
    struct npy *features;
    struct send_prompts *prompts;
    struct send_lines *lines;
    struct send_producer *producer;
    struct buffer record;
    int64_t taken; /* lines that were looked at */
    int64_t skipped;
    int64_t without_prompt;
};

static const struct command_option OPTIONS[] = {
    {"features", 'F', "FILE.npy", "row k becomes the features of line k (blank lines not counted)"},
    {"prompts", 'p', "FILE", "JSON lines with prompt_id and prompt: texts for lines without"},
    {"default", 'd', "NAME=VALUE", "a field for lines without; may be repeated"},
    {"skip-bad", 0, NULL, "report bad lines and go on"},
    {"rate", 'r', "N", "send at most N lines a second"},
    {"limit", 'n', "N", "send the first N lines only"},
    COMMAND_PATIENCE,
    {0}};

static bool take_argument(struct send_command *send, const char *value, struct error *error)
{
    static const char *const KINDS[] = {"completions", "labels", "history"};
    if (send->kind == NULL) {
        send->kind = value;
        for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++)
            if (strcmp(value, KINDS[k]) == 0)
                return true;
        return error_set(error, ERROR_FATAL, "'%.60s' is none of completions, labels, history",
                         value);
    }
    bool more = send->files[0] != NULL && strcmp(send->kind, "history") == 0;
    if (send->files[more] != NULL)
        return error_set(error, ERROR_FATAL, "one file at a time: '%.80s' is too many", value);
    send->files[more] = value;
    return true;
}

static bool take_default(struct send_command *send, const char *value, struct error *error)
{
    if (send->default_count == DEFAULTS_MAX)
        return error_set(error, ERROR_FATAL, "more than %d times --default", DEFAULTS_MAX);
    send->defaults[send->default_count++] = value;
    return true;
}

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct send_command *send = closure;
    if (name == NULL)
        return take_argument(send, value, error);
    bool good;
    if (command_take_patience(&send->patience, name, value, &good, error))
        return good;
    if (strcmp(name, "features") == 0)
        send->features_file = value;
    else if (strcmp(name, "prompts") == 0)
        send->prompts_file = value;
    else if (strcmp(name, "default") == 0)
        return take_default(send, value, error);
    else if (strcmp(name, "rate") == 0)
        return command_positive("rate", value, &send->rate, error);
    else if (strcmp(name, "limit") == 0)
        return command_count("limit", value, &send->limit, error);
    else
        send->skip_bad = true;
    return true;
}

static const struct command_usage USAGE = {
    .name = "send",
    .arguments = "completions|labels|history [RIGHT.npy] [FILE|-]",
    .summary =
        "Turns JSON lines into records. Names are those of the Avro contracts. Fields that a\n"
        "completion does not have become attributes; features stand in the line as an array or\n"
        "come from --features. A label needs request_id or pair_id, and outcome (left, right, "
        "tie,\n"
        "both_bad, skip, invalid) or probability_left. The first bad line ends it with exit code\n"
        "1; what stood before it is sent, nothing behind it.\n"
        "\n"
        "History is what was judged before infopair: a line has prompt_id, left_id, right_id, an\n"
        "outcome or probability_left, features_left and features_right (or both by --features\n"
        "LEFT.npy RIGHT.npy), and may have confidence, annotator_id, annotator_kind, labelled_at,\n"
        "policy_version, policy_epoch, feature_space and label_id. It becomes LABELLED entries of\n"
        "the ledger in the scale of the space in force, or of features.scale where it is set: the\n"
        "next pick knows them, the next fit learns from them, and the same pair is not asked "
        "again.\n"
        "The window begins anew for them, and counts the newest labels.max. A label_id that the\n"
        "ledger holds is passed over; a line without one has that of the file's name, the line's\n"
        "number and the pair, so that sending a file again adds nothing. Use the workers'\n"
        "configuration.",
    .examples = "  infopair send completions --features phi.npy --prompts prompts.jsonl \\\n"
                "      --default feature_space=phi64 completions.jsonl\n"
                "  infopair send history --features left.npy right.npy preferences.jsonl\n"
                "  echo '{\"request_id\": \"4f...\", \"outcome\": \"left\"}' | infopair send "
                "labels\n",
    .options = OPTIONS,
    .take = take,
};

static struct span find_prompt(struct send_command *send, const struct completion *completion)
{
    if (completion->prompt.size > 0 || send->prompts == NULL)
        return completion->prompt;
    struct span text = send_prompts_find(send->prompts, completion->prompt_id);
    send->without_prompt += text.size == 0;
    return text;
}

static struct span encoded(const struct send_command *send)
{
    return (struct span){send->record.data, send->record.size};
}

/* Encodes one line; *key lives as long as it does. */
static bool encode_completion(struct send_command *send, json_t *line, struct span *key,
                              struct error *error)
{
    struct completion completion;
    const float *row = NULL;
    /* First, so that the rows stay with the lines whatever is wrong with a line. */
    if (send->features != NULL && !npy_next(send->features, &row, error))
        return false;
    size_t dimension = row == NULL ? 0 : npy_columns(send->features);
    if (!send_completion(send->fields, line, row, dimension, &completion, error))
        return false;
    completion.prompt = find_prompt(send, &completion);
    *key = completion.prompt_id;
    /* Read back as the worker will, so that nothing goes out that it would not take. */
    return contracts_encode_completion(send->contracts, &completion, &send->record, error) &&
           contracts_decode_completion(send->contracts, encoded(send), &completion, NULL, error);
}

static bool encode_label(struct send_command *send, json_t *line, struct span *key,
                         struct error *error)
{
    struct label label;
    if (!send_label(send->fields, line, &label, error))
        return false;
    *key = label.request_id.size > 0 ? label.request_id : label.pair_id;
    return contracts_encode_label(send->contracts, &label, &send->record, error) &&
           contracts_decode_label(send->contracts, encoded(send), &label, NULL, error);
}

/* True when nothing forbids to go on behind this line. */
static bool pass_over(struct send_command *send, const struct error *error)
{
    if (!send->skip_bad || error->class != ERROR_DATA)
        return false;
    send->skipped++;
    fprintf(stderr, "infopair send: %s\n", error->message);
    return true;
}

static bool send_line(struct send_command *send, json_t *line, struct error *error)
{
    struct span key = {NULL, 0};
    send->record.size = 0;
    bool good = send->contract == CONTRACT_COMPLETION ? encode_completion(send, line, &key, error)
                                                      : encode_label(send, line, &key, error);
    if (!good) {
        send_lines_blame(send->lines, error);
        return pass_over(send, error);
    }
    const char *reason;
    if (send_undelivered(send->producer, &reason) > 0)
        return error_set(error, ERROR_FATAL, "%s: %s", send->topic, reason);
    return send_produce(send->producer, key, encoded(send), error);
}

/* A line that is no object has its row of features all the same. */
static bool bad_line(struct send_command *send, struct error *error)
{
    const float *row;
    struct error ignored;
    if (send->features != NULL && send->skip_bad)
        npy_next(send->features, &row, &ignored);
    return pass_over(send, error);
}

static bool check_rows(const struct send_command *send, struct error *error)
{
    if (send->features == NULL || (uint64_t)send->taken == npy_rows(send->features))
        return true;
    return error_set(error, ERROR_DATA,
                     "%s has %" PRIu64 " rows, %s has %" PRId64 " lines: do they belong together?",
                     send->features_file, npy_rows(send->features),
                     send->file == NULL ? "standard input" : send->file, send->taken);
}

static bool take_line(void *closure, enum send_line found, json_t *line, struct error *error)
{
    struct send_command *send = closure;
    return found == LINE_OBJECT ? send_line(send, line, error) : bad_line(send, error);
}

static bool send_lines(struct send_command *send, struct error *error)
{
    bool end;
    return send_lines_each(send->lines, send->limit, take_line, send, &send->taken, &end, error) &&
           (!end || check_rows(send, error));
}

/* Everything that can be found wrong before the first record goes out. */
static bool open_inputs(struct send_command *send, struct error *error)
{
    const struct options *options = send->options;
    size_t line_max = LINE_FACTOR * options->limits_record;
    bool completions = send->contract == CONTRACT_COMPLETION;
    if (!completions && (send->features_file != NULL || send->prompts_file != NULL))
        return error_set(error, ERROR_FATAL, "labels have neither features nor prompts");
    send->fields =
        send_fields_new(send->contract, options, send->defaults, send->default_count, error);
    if (send->fields == NULL)
        return false;
    send->contracts = command_contracts(options, options->limits_record, error);
    if (send->contracts == NULL)
        return false;
    if (send->features_file != NULL) {
        send->features = npy_open(send->features_file, options->limits_dimension, error);
        if (send->features == NULL)
            return false;
    }
    if (send->prompts_file != NULL) {
        send->prompts =
            send_prompts_load(send->prompts_file, line_max, options->memory_limit / 2, error);
        if (send->prompts == NULL)
            return false;
    }
    send->lines = send_lines_open(send->file, line_max, error);
    return send->lines != NULL;
}

static bool open_producer(struct send_command *send, rd_kafka_t *admin, struct error *error)
{
    int32_t partitions;
    if (!command_topic(admin, send->topic, &partitions, error))
        return false;
    size_t queue = send->options->memory_limit / 4;
    send->producer = send_producer_new(send->options, send->topic,
                                       queue < QUEUE_MOST ? queue : QUEUE_MOST, send->rate, error);
    return send->producer != NULL;
}

static void report(const struct send_command *send, double seconds)
{
    const char *reason;
    int64_t undelivered = send_undelivered(send->producer, &reason);
    fprintf(stderr, "sent %" PRId64 " %s in %.1f s", send_delivered(send->producer), send->kind,
            seconds);
    if (send->skipped > 0)
        fprintf(stderr, ", skipped %" PRId64 " bad lines", send->skipped);
    if (send->without_prompt > 0)
        fprintf(stderr, ", %" PRId64 " without a prompt text", send->without_prompt);
    if (undelivered > 0)
        fprintf(stderr, ", %" PRId64 " not delivered: %s", undelivered, reason);
    fputc('\n', stderr);
}

static int run(struct send_command *send, rd_kafka_t *admin)
{
    struct error error = {ERROR_NONE, ""};
    if (!open_producer(send, admin, &error))
        return command_fail(USAGE.name, &error, EXIT_FAILED);
    int64_t started = clock_monotonic_ms();
    int code = EXIT_DONE;
    if (!send_lines(send, &error))
        code = command_fail(USAGE.name, &error, EXIT_FAILED);
    send_flush(send->producer);
    report(send, (double)(clock_monotonic_ms() - started) / 1000);
    const char *reason;
    return send_undelivered(send->producer, &reason) > 0 ? EXIT_FAILED : code;
}

static void close_all(struct send_command *send)
{
    send_producer_free(send->producer);
    send_lines_close(send->lines);
    send_prompts_free(send->prompts);
    npy_close(send->features);
    contracts_free(send->contracts);
    send_fields_free(send->fields);
    buffer_free(&send->record);
}

static int run_history(struct send_command *send, const struct options *options)
{
    struct history_request request = {.options = options,
                                      .patience = send->patience,
                                      .file = send->files[0],
                                      .defaults = send->defaults,
                                      .default_count = send->default_count,
                                      .limit = send->limit,
                                      .skip_bad = send->skip_bad};
    struct error error = {ERROR_NONE, ""};
    if (send->features_file != NULL) {
        request.features[0] = send->features_file;
        request.features[1] = send->files[0];
        request.file = send->files[1];
    }
    if (send->prompts_file != NULL || send->rate > 0)
        error_set(&error, ERROR_FATAL, "history has neither --prompts nor --rate");
    else if (send->features_file != NULL && send->files[0] == NULL)
        error_set(&error, ERROR_FATAL,
                  "--features of history: LEFT.npy RIGHT.npy, the right is "
                  "missing");
    else if (send->features_file == NULL && send->files[1] != NULL)
        error_set(&error, ERROR_FATAL, "one file at a time: '%.80s' is too many", send->files[1]);
    return error.class == ERROR_NONE ? send_history(&request)
                                     : command_fail(USAGE.name, &error, EXIT_USAGE);
}

static int prepare_and_run(struct send_command *send, const struct options *options)
{
    bool completions = strcmp(send->kind, "completions") == 0;
    send->options = options;
    send->file = send->files[0];
    send->contract = completions ? CONTRACT_COMPLETION : CONTRACT_LABEL;
    send->topic = completions ? options->topics_completions : options->topics_labels;
    send->record.maximum = options->limits_record;
    struct error error = {ERROR_NONE, ""};
    if (!open_inputs(send, &error))
        return command_fail(USAGE.name, &error,
                            error.class == ERROR_DATA ? EXIT_FAILED : EXIT_USAGE);
    int code;
    rd_kafka_t *admin = command_admin(USAGE.name, options, &send->patience, &code);
    if (admin == NULL)
        return code;
    code = run(send, admin);
    rd_kafka_destroy(admin);
    return code;
}

int command_send(int argc, char **argv)
{
    struct send_command send = {.limit = -1};
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, &send, &options);
    if (code != COMMAND_GO_ON)
        return code;
    if (send.kind == NULL) {
        const struct error error = {ERROR_FATAL, "completions, labels or history? See --help."};
        code = command_fail(USAGE.name, &error, EXIT_USAGE);
    } else {
        interrupt_catch();
        code = strcmp(send.kind, "history") == 0 ? run_history(&send, options)
                                                 : prepare_and_run(&send, options);
    }
    close_all(&send);
    options_free(options);
    return code;
}
