#include "ledger_append.h"

#include "clock.h"
#include "interrupt.h"

#include <stdio.h>
#include <stdlib.h>

enum { STEP = 5000, POLL = 100, PATIENCE = 60000 };

struct ledger_append {
    const struct ledger_view *view;
    rd_kafka_t *producer;
    struct buffer value;
    char writer[256];
    bool begun;
};

/* True when a call that may be repeated is to be. */
static bool once_more(const struct error *error, int64_t end)
{
    return error->class == ERROR_RETRY && clock_monotonic_ms() < end && !interrupt_seen();
}

static bool begin(struct ledger_append *append, struct error *error)
{
    append->begun = kafka_error(rd_kafka_begin_transaction(append->producer), "begin", error);
    return append->begun;
}

static bool start(struct ledger_append *append, struct error *error)
{
    const struct options *options = append->view->options;
    const int64_t end = clock_monotonic_ms() + PATIENCE;
    append->value.maximum = options->limits_record;
    snprintf(append->writer, sizeof append->writer, "%.240s%s", options->kafka_instance,
             KAFKA_COMMAND_SUFFIX);
    append->producer =
        kafka_open(KAFKA_APPENDER, kafka_conf(options, KAFKA_APPENDER, 0, error), error);
    if (append->producer == NULL)
        return false;
    while (!kafka_error(rd_kafka_init_transactions(append->producer, STEP), "transactions", error))
        if (!once_more(error, end))
            return false;
    return begin(append, error);
}

struct ledger_append *ledger_append_new(const struct ledger_view *view, struct error *error)
{
    struct ledger_append *append = calloc(1, sizeof *append);
    if (append == NULL) {
        error_set(error, ERROR_FATAL, "out of memory");
        return NULL;
    }
    append->view = view;
    if (start(append, error))
        return append;
    ledger_append_free(append);
    return NULL;
}

void ledger_append_free(struct ledger_append *append)
{
    if (append == NULL)
        return;
    struct error ignored;
    if (append->begun)
        kafka_error(rd_kafka_abort_transaction(append->producer, STEP), "abort", &ignored);
    if (append->producer != NULL)
        rd_kafka_destroy(append->producer);
    buffer_free(&append->value);
    free(append);
}

static rd_kafka_headers_t *headers_of(const struct append_record *record)
{
    const size_t most = sizeof record->headers / sizeof *record->headers;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(most);
    for (size_t k = 0; k < most && record->headers[k].name != NULL; k++)
        rd_kafka_header_add(headers, record->headers[k].name, -1, record->headers[k].value.data,
                            (ssize_t)record->headers[k].value.size);
    return headers;
}

static bool produce(struct ledger_append *append, const struct append_record *record,
                    int32_t partition, struct error *error)
{
    for (;;) {
        rd_kafka_headers_t *headers = headers_of(record);
        rd_kafka_resp_err_t code = rd_kafka_producev(
            append->producer, RD_KAFKA_V_TOPIC(record->topic), RD_KAFKA_V_PARTITION(partition),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_KEY((void *)(uintptr_t)record->key.data, record->key.size),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.data, record->value.size),
            RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_poll(append->producer, 0);
            return true;
        }
        rd_kafka_headers_destroy(headers);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return kafka_failure(append->producer, code, record->topic, error);
        if (interrupt_seen())
            return error_set(error, ERROR_FATAL, "interrupted");
        rd_kafka_poll(append->producer, POLL);
    }
}

/* The view takes it as every worker will; what it refuses does not go out. */
static bool follow(struct ledger_append *append, const struct entry *entry, struct id request,
                   struct error *error)
{
    struct engine *engine = append->view->engine;
    int64_t refused = engine_stats(engine)->entries_refused;
    /* Decided here, and not read back; the reason of a refusal stands in the error. */
    return engine_entry(engine, entry, engine_ledger_partition(engine, request), INT64_MAX,
                        error) &&
           engine_stats(engine)->entries_refused == refused;
}

bool ledger_append_entry(struct ledger_append *append, struct entry *entry, struct id request,
                         struct error *error)
{
    const struct ledger_view *view = append->view;
    int64_t now = clock_now_ms(), newest = engine_view(view->engine).time;
    char key[ID_TEXT_SIZE];
    identity_format(request, key);
    entry->version = LEDGER_VERSION;
    entry->digest = span_of(view->digest);
    entry->writer = span_of(append->writer);
    entry->time = now > newest ? now : newest; /* never before any entry seen */
    append->value.size = 0;
    if (!follow(append, entry, request, error) ||
        !contracts_encode_entry(view->contracts, entry, &append->value, error))
        return false;
    const struct append_record record = {.topic = view->options->topics_ledger,
                                         .key = span_of(key),
                                         .value = {append->value.data, append->value.size}};
    return produce(append, &record, engine_ledger_partition(view->engine, request), error);
}

bool ledger_append_record(struct ledger_append *append, const struct append_record *record,
                          struct error *error)
{
    return produce(append, record, RD_KAFKA_PARTITION_UA, error);
}

bool ledger_append_commit(struct ledger_append *append, struct error *error)
{
    const int64_t end = clock_monotonic_ms() + PATIENCE;
    while (!kafka_error(rd_kafka_commit_transaction(append->producer, STEP), "commit", error)) {
        if (once_more(error, end))
            continue;
        append->begun = error->class == ERROR_ABORT;
        if (error->class == ERROR_RETRY)
            error_prefix(error, "whether it was written is not known, do it again: nothing is "
                                "written twice");
        return false;
    }
    return begin(append, error);
}
