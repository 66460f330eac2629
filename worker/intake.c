/* Records of the group consumer become events of the engine. */
#include "log.h"
#include "session.h"

#include <string.h>

static struct span header(const rd_kafka_headers_t *headers, const char *name)
{
    const void *value;
    size_t size;
    if (rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return (struct span){"", 0};
    return (struct span){value, size};
}

static struct source source_of(const rd_kafka_message_t *message, enum input input)
{
    struct source source = {.input = input,
                            .partition = message->partition,
                            .offset = message->offset,
                            .timestamp = rd_kafka_message_timestamp(message, NULL),
                            .key = {message->key, message->key_len},
                            .value = {message->payload, message->len},
                            .traceparent = {"", 0},
                            .tracestate = {"", 0}};
    rd_kafka_headers_t *headers = NULL;
    if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        source.traceparent = header(headers, "traceparent");
        source.tracestate = header(headers, "tracestate");
    }
    return source;
}

/* An error that librdkafka hands over in place of a record. */
static bool take_error(struct session *session, const rd_kafka_message_t *message,
                       struct error *error)
{
    const char *text = rd_kafka_message_errstr(message);
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return error_set(error, ERROR_RETRY, "records were deleted while they were read: %s", text);
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        return error_set(error, ERROR_RETRY, "the group gave our partitions away: %s", text);
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        return error_set(error, ERROR_FENCED,
                         "another worker runs with kafka.instance = '%s'; give each its own",
                         session->options->kafka_instance);
    default:
        log_write(LOG_LEVEL_WARN, "stream", "%s", text);
        return true;
    }
}

bool intake(struct session *session, const rd_kafka_message_t *message, struct error *error)
{
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR &&
        message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return take_error(session, message, error);
    session->brokers_down = false;
    enum input input = assignment_input(session, rd_kafka_topic_name(message->rkt));
    if (input == INPUTS)
        return true;
    struct event event = {.kind = EVENT_RECORD,
                          .input = input,
                          .partition = message->partition,
                          .offset = message->offset};
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        event.kind = EVENT_END;
    else
        event.source = source_of(message, input);
    return session_event(session, &event, error);
}
