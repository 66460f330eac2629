/* One Kafka transaction a batch: effects, ledger entries, dead letters and input offsets.
 *
 * The batch's bytes and offsets are the same however often they are sent: an abortable error is
 * answered by abort and the same again. The group's metadata is taken once, when the batch is
 * closed. What cannot be repeated (a lost generation, a fatal error) ends the session, and the
 * next one finds out from Kafka what was committed. */
#include "clock.h"
#include "kafka.h"
#include "log.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

enum { SEND_TIMEOUT = 10000, POLL = 100 };

static const char *topic_of(const struct session *session, enum output output)
{
    const struct options *options = session->options;
    return output == OUTPUT_PAIRS    ? options->topics_pairs
           : output == OUTPUT_LEDGER ? options->topics_ledger
                                     : options->topics_dead_letters;
}

static bool produce(struct session *session, const struct effect *effect, struct error *error)
{
    rd_kafka_headers_t *headers = NULL;
    if (effect->header_count > 0) {
        headers = rd_kafka_headers_new(effect->header_count);
        for (size_t k = 0; k < effect->header_count; k++)
            rd_kafka_header_add(headers, effect->headers[k].name, -1, effect->headers[k].value.data,
                                (ssize_t)effect->headers[k].value.size);
    }
    rd_kafka_resp_err_t code;
    do {
        rd_kafka_headers_t *copy = headers == NULL ? NULL : rd_kafka_headers_copy(headers);
        const rd_kafka_vu_t message[] = {
            {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic_of(session, effect->output)},
            {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = effect->partition},
            {.vtype = RD_KAFKA_VTYPE_KEY,
             .u.mem = {(void *)(uintptr_t)effect->key.data, effect->key.size}},
            {.vtype = RD_KAFKA_VTYPE_VALUE,
             .u.mem = {(void *)(uintptr_t)effect->value.data, effect->value.size}},
            {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
            {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = copy}};
        rd_kafka_error_t *refused =
            rd_kafka_produceva(session->producer, message, copy == NULL ? 5 : 6);
        code = rd_kafka_error_code(refused);
        if (refused != NULL && copy != NULL)
            rd_kafka_headers_destroy(copy);
        rd_kafka_error_destroy(refused);
        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(session->producer, POLL);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && !session_stopping(session));
    if (headers != NULL)
        rd_kafka_headers_destroy(headers);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           error_set(error, code == RD_KAFKA_RESP_ERR__FATAL ? ERROR_RETRY : ERROR_ABORT, "%s: %s",
                     topic_of(session, effect->output), rd_kafka_err2str(code));
}

static rd_kafka_topic_partition_list_t *offsets_of(const struct session *session,
                                                   const struct batch *batch)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)batch->offset_count);
    for (size_t k = 0; k < batch->offset_count; k++) {
        const struct batch_offset *offset = &batch->offsets[k];
        const char *topic = offset->input == INPUT_COMPLETIONS
                                ? session->options->topics_completions
                                : session->options->topics_labels;
        rd_kafka_topic_partition_t *partition =
            rd_kafka_topic_partition_list_add(list, topic, offset->partition);
        partition->offset = offset->next;
        char text[BATCH_METADATA_SIZE];
        batch_metadata_format(offset, text);
        partition->metadata = strdup(text);
        partition->metadata_size = partition->metadata == NULL ? 0 : strlen(text);
    }
    return list;
}

/* True for what only a new generation can mend. */
static bool generation_lost(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
           code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS ||
           code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

static bool send_offsets(struct session *session, const rd_kafka_topic_partition_list_t *offsets,
                         const rd_kafka_consumer_group_metadata_t *group, struct error *error)
{
    while (true) {
        rd_kafka_error_t *source =
            rd_kafka_send_offsets_to_transaction(session->producer, offsets, group, SEND_TIMEOUT);
        bool lost = generation_lost(rd_kafka_error_code(source));
        if (kafka_error(source, "offsets", error))
            return true;
        if (lost && error->class != ERROR_FENCED)
            error->class = ERROR_FATAL; /* of this session: the same metadata can never pass */
        if (error->class != ERROR_RETRY)
            return false;
    }
}

static bool finish(struct session *session, struct error *error)
{
    while (!kafka_error(rd_kafka_commit_transaction(session->producer, -1), "commit", error)) {
        if (error->class != ERROR_RETRY)
            return false;
    }
    return true;
}

static bool attempt(struct session *session, const struct batch *batch,
                    const rd_kafka_topic_partition_list_t *offsets,
                    const rd_kafka_consumer_group_metadata_t *group, struct error *error)
{
    if (!kafka_error(rd_kafka_begin_transaction(session->producer), "begin", error))
        return false;
    for (size_t k = 0; k < batch->effect_count; k++) {
        if (!produce(session, &batch->effects[k], error))
            return false;
        rd_kafka_poll(session->producer, 0);
    }
    return send_offsets(session, offsets, group, error) && finish(session, error);
}

static bool abort_transaction(struct session *session, struct error *error)
{
    while (!kafka_error(rd_kafka_abort_transaction(session->producer, -1), "abort", error)) {
        if (error->class != ERROR_RETRY)
            return false;
    }
    metrics_add(session->metrics, METRIC_ABORTS, NULL, NULL, 1);
    return true;
}

/* Sends the same batch until it is committed or cannot be. */
static bool send_batch(struct session *session, const struct batch *batch, struct error *error)
{
    rd_kafka_topic_partition_list_t *offsets = offsets_of(session, batch);
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(session->consumer);
    bool done = false;
    while (!(done = attempt(session, batch, offsets, group, error))) {
        if (error->class != ERROR_ABORT)
            break;
        log_write(LOG_LEVEL_WARN, "commit", "aborted, the same is sent again: %s", error->message);
        session_not_ready(session, "the last transaction was aborted: %s", error->message);
        if (!abort_transaction(session, error))
            break;
    }
    rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(offsets);
    return done;
}

bool commit_batch(struct session *session, struct error *error)
{
    const struct batch *batch = engine_close(session->engine, error);
    if (batch == NULL)
        return error->class == ERROR_NONE;
    int64_t started = clock_monotonic_ms();
    if (!send_batch(session, batch, error)) {
        /* A producer that cannot go on is replaced by the next session, which asks Kafka. */
        if (error->class == ERROR_FATAL)
            error->class = ERROR_RETRY;
        return false;
    }
    report_batch(session, batch, (double)(clock_monotonic_ms() - started) / 1000);
    engine_confirm(session->engine);
    return true;
}
