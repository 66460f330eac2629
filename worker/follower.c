/* The follower: reads every partition of the ledger, read_committed, from its start.
 *
 * A barrier is a set of high watermarks read by a read_uncommitted handle (a read_committed one
 * would answer with the last stable offset). It is passed when the follower's position has reached
 * them; PARTITION_EOF tells positions behind control records. */
#include "clock.h"
#include "log.h"
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>

enum { BURST = 10000, WATERMARK_TIMEOUT = 5000 };

bool follower_start(struct session *session, struct error *error)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(session->ledger_partitions);
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        rd_kafka_topic_partition_list_add(list, session->options->topics_ledger, k)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
        session->ledger[k] = (struct ledger_position){.next = -1};
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(session->follower, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           error_set(error, ERROR_FATAL, "ledger: %s", rd_kafka_err2str(code));
}

static bool take_entry(struct session *session, const rd_kafka_message_t *message,
                       struct error *error)
{
    struct entry entry;
    struct error reason;
    const struct span record = {message->payload, message->len};
    if (!contracts_decode_entry(session->contracts, record, &entry, NULL, &reason)) {
        log_write(LOG_LEVEL_ERROR, "ledger",
                  "an entry is unreadable and was skipped: %s\tpartition=%d offset=%" PRId64,
                  reason.message, message->partition, message->offset);
        metrics_add(session->metrics, METRIC_LEDGER_REFUSED, NULL, NULL, 1);
        return true;
    }
    return engine_entry(session->engine, &entry, message->partition, message->offset, error);
}

static bool take_message(struct session *session, const rd_kafka_message_t *message,
                         struct error *error)
{
    bool known = message->partition >= 0 && message->partition < session->ledger_partitions;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && known) {
        if (message->offset > session->ledger[message->partition].next)
            session->ledger[message->partition].next = message->offset;
        session->brokers_down = false;
        return true;
    }
    if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
        return error_set(error, ERROR_RETRY, "ledger: was cut while it was read: %s",
                         rd_kafka_message_errstr(message));
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR || !known) {
        log_write(LOG_LEVEL_WARN, "ledger", "%s", rd_kafka_message_errstr(message));
        return true;
    }
    session->ledger[message->partition].next = message->offset + 1;
    return take_entry(session, message, error);
}

bool follower_poll(struct session *session, int timeout_ms, struct error *error)
{
    bool done = true;
    for (int k = 0; done && k < BURST; k++) {
        rd_kafka_message_t *message =
            rd_kafka_consumer_poll(session->follower, k == 0 ? timeout_ms : 0);
        if (message == NULL)
            break;
        done = take_message(session, message, error);
        rd_kafka_message_destroy(message);
    }
    return done;
}

/* High watermarks of the ledger, through *goal of each partition. */
static bool read_watermarks(struct session *session, size_t member, struct error *error)
{
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        int64_t low, high;
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(session->watermarks, session->options->topics_ledger,
                                             k, &low, &high, WATERMARK_TIMEOUT);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return error_set(error, ERROR_RETRY, "ledger: its end is not known: %s",
                             rd_kafka_err2str(code));
        *(int64_t *)(void *)((char *)&session->ledger[k] + member) = high;
    }
    return true;
}

bool follower_barrier(struct session *session, struct error *error)
{
    return read_watermarks(session, offsetof(struct ledger_position, goal), error);
}

int64_t follower_behind(const struct session *session)
{
    int64_t behind = 0;
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        const struct ledger_position *position = &session->ledger[k];
        int64_t next = position->next < 0 ? 0 : position->next;
        behind += next < position->goal ? position->goal - next : 0;
    }
    return behind;
}

static bool passed(const struct session *session)
{
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        if (session->ledger[k].next < session->ledger[k].goal)
            return false;
    }
    return true;
}

bool follower_pass_barrier(struct session *session, const char *what, struct error *error)
{
    int64_t started = clock_monotonic_ms();
    int64_t all = follower_behind(session);
    while (!passed(session)) {
        if (session_stopping(session))
            return error_set(error, ERROR_RETRY, "told to stop while reading the ledger");
        int64_t left = follower_behind(session);
        double done = all == 0 ? 1 : 1 - (double)left / (double)all;
        int64_t waited = clock_monotonic_ms() - started;
        metrics_set(session->metrics, METRIC_RESTORE_PROGRESS, NULL, NULL, done);
        session_not_ready(session, "%s: %" PRId64 " of %" PRId64 " ledger records are left", what,
                          left, all);
        metrics_set(session->metrics, METRIC_LEDGER_HELD_SECONDS, NULL, NULL,
                    (double)waited / 1000);
        if (!follower_poll(session, 100, error))
            return false;
    }
    metrics_set(session->metrics, METRIC_RESTORE_PROGRESS, NULL, NULL, 1);
    metrics_set(session->metrics, METRIC_LEDGER_HELD_SECONDS, NULL, NULL, 0);
    if (all > 0)
        log_write(LOG_LEVEL_INFO, "ledger", "%s: read\trecords=%" PRId64 " ms=%" PRId64, what, all,
                  clock_monotonic_ms() - started);
    return true;
}

bool follower_unknown_labels(struct session *session, struct error *error)
{
    if (engine_stats(session->engine)->labels_waiting == 0) {
        session->unknown_ticket = 0;
        return true;
    }
    if (session->unknown_ticket == 0) {
        session->unknown_ticket = engine_ticket(session->engine);
        struct error ignored;
        if (!read_watermarks(session, offsetof(struct ledger_position, unknown_goal), &ignored))
            session->unknown_ticket = 0;
        return true;
    }
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        if (session->ledger[k].next < session->ledger[k].unknown_goal)
            return true;
    }
    int64_t ticket = session->unknown_ticket;
    session->unknown_ticket = 0;
    return engine_ledger_passed(session->engine, ticket, error);
}
