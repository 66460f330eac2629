/* The follower: reads every partition of the ledger, read_committed, from its start.
 *
 * A barrier is a set of high watermarks read by a read_uncommitted handle (a read_committed one
 * would answer with the last stable offset). It is passed when the follower's position has reached
 * them; PARTITION_EOF tells positions behind control records. */
#include "clock.h"
#include "kafka.h"
#include "log.h"
#include "session.h"
#include "topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BURST = 10000, WATERMARK_TIMEOUT = 5000, PROGRESS_INTERVAL = 2000 };

/* Where every partition of the ledger begins, or ends with uncommitted records and all. */
static bool read_offsets(struct session *session, int64_t which, int64_t *offsets,
                         struct error *error)
{
    const struct kafka_place ledger = {session->options->topics_ledger, 0,
                                       session->ledger_partitions};
    return kafka_offsets(session->watermarks, &ledger, which, WATERMARK_TIMEOUT, offsets, error);
}

/* Where the ledger starts: what was deleted of it cannot be known any more. */
static bool read_starts(struct session *session, struct error *error)
{
    int64_t starts[LEDGER_PARTITIONS];
    if (!read_offsets(session, RD_KAFKA_OFFSET_BEGINNING, starts, error))
        return false;
    for (int32_t k = 0; k < session->ledger_partitions; k++)
        session->ledger[k] =
            (struct ledger_position){.next = -1, .low = starts[k], .first_time = -1};
    return true;
}

int64_t follower_whole_since(const struct session *session)
{
    int64_t since = 0;
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        if (session->ledger[k].low > 0 && session->ledger[k].first_time > since)
            since = session->ledger[k].first_time;
    }
    return since;
}

bool follower_assign(struct session *session, struct error *error)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(session->ledger_partitions);
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        int64_t next = session->ledger[k].next;
        rd_kafka_topic_partition_list_add(list, session->options->topics_ledger, k)->offset =
            next < 0 ? RD_KAFKA_OFFSET_BEGINNING : next;
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(session->follower, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           error_set(error, ERROR_FATAL, "ledger: %s", rd_kafka_err2str(code));
}

bool follower_start(struct session *session, struct error *error)
{
    return read_starts(session, error) && follower_assign(session, error);
}

/* Says which option another worker has set differently, once for each such digest. */
static void name_foreign(struct session *session)
{
    char names[sizeof session->foreign];
    const char *foreign = engine_foreign_digest(session->engine);
    struct span digest = span_of(foreign);
    if (strcmp(foreign, session->foreign_digest) == 0)
        return;
    snprintf(session->foreign_digest, sizeof session->foreign_digest, "%s", foreign);
    options_digest_differs(session_settings(session), digest, names, sizeof names);
    if (strcmp(names, session->foreign) == 0)
        return;
    memcpy(session->foreign, names, sizeof names);
    log_write(LOG_LEVEL_ERROR, "ledger",
              "entries were written under other values of options that all workers must share: %s",
              names);
}

/* Workers of a group read their options again one after the other: once nothing has come under
 * other values for a minute, they agree. */
static void watch_foreign(struct session *session, bool foreign, int64_t time)
{
    enum { AGREED = 60000 };
    if (foreign) {
        session->foreign_time = time;
        name_foreign(session);
    } else if (session->foreign[0] != '\0' && time - session->foreign_time > AGREED) {
        session->foreign[0] = session->foreign_digest[0] = '\0';
        log_write(LOG_LEVEL_INFO, "ledger", "all workers have the same shared options again");
    }
}

/* How long another worker's decision took to come here; what a restore reads is old anyway. */
static void observe_age(struct session *session, int64_t time)
{
    double age = (double)(clock_now_ms() - time) / 1000;
    if (session->restored)
        metrics_observe(session->metrics, METRIC_LEDGER_AGE, age > 0 ? age : 0);
}

static bool take_entry(struct session *session, const rd_kafka_message_t *message,
                       struct error *error)
{
    const struct engine_stats *stats = engine_stats(session->engine);
    int64_t refused = stats->entries_refused, foreign = stats->foreign_entries,
            others = stats->others_entries;
    const struct event event = {.kind = EVENT_ENTRY,
                                .partition = message->partition,
                                .offset = message->offset,
                                .source.value = {message->payload, message->len}};
    if (!session_event(session, &event, error))
        return false;
    if (stats->entries_refused > refused)
        log_write(LOG_LEVEL_ERROR, "ledger", "an entry was refused: %s",
                  engine_refusal(session->engine));
    if (stats->foreign_entries > foreign || stats->others_entries > others)
        watch_foreign(session, stats->foreign_entries > foreign, stats->others_time);
    if (stats->others_entries > others)
        observe_age(session, stats->others_time);
    return true;
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
    struct ledger_position *position = &session->ledger[message->partition];
    position->next = message->offset + 1;
    if (position->first_time < 0)
        position->first_time = rd_kafka_message_timestamp(message, NULL);
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

bool follower_barrier(struct session *session, struct error *error)
{
    int64_t ends[LEDGER_PARTITIONS];
    if (!read_offsets(session, RD_KAFKA_OFFSET_END, ends, error))
        return false;
    for (int32_t k = 0; k < session->ledger_partitions; k++)
        session->ledger[k].goal = ends[k];
    return true;
}

int64_t follower_behind(const struct session *session)
{
    int64_t behind = 0;
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        const struct ledger_position *position = &session->ledger[k];
        int64_t next = position->next < 0 ? position->low : position->next;
        behind += next < position->goal ? position->goal - next : 0;
    }
    return behind;
}

bool follower_passed(const struct session *session)
{
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        if (session->ledger[k].next < session->ledger[k].goal)
            return false;
    }
    return true;
}

void follower_progress(struct session *session, const char *what, int64_t started)
{
    int64_t now = clock_monotonic_ms();
    int64_t all = 0, left = follower_behind(session);
    for (int32_t k = 0; k < session->ledger_partitions; k++)
        all += session->ledger[k].goal - session->ledger[k].low;
    double done = all <= 0 ? 1 : 1 - (double)left / (double)all;
    metrics_set(session->metrics, METRIC_RESTORE_PROGRESS, NULL, NULL, done);
    metrics_set(session->metrics, METRIC_LEDGER_HELD_SECONDS, NULL, NULL,
                (double)(now - started) / 1000);
    session_not_ready(session, "%s: %" PRId64 " of %" PRId64 " ledger records are left (%d %%)",
                      what, left, all, (int)(done * 100));
    if (now - session->progress_at < PROGRESS_INTERVAL)
        return;
    session->progress_at = now;
    log_write(LOG_LEVEL_INFO, "ledger", "%s\tleft=%" PRId64 " of=%" PRId64 " percent=%d", what,
              left, all, (int)(done * 100));
}

bool follower_pass_barrier(struct session *session, struct error *error)
{
    int64_t started = clock_monotonic_ms();
    int64_t all = follower_behind(session);
    while (!follower_passed(session)) {
        if (session_stopping(session))
            return error_set(error, ERROR_RETRY, "told to stop while reading the ledger");
        follower_progress(session, "restoring", started);
        if (!follower_poll(session, 100, error))
            return false;
    }
    metrics_set(session->metrics, METRIC_RESTORE_PROGRESS, NULL, NULL, 1);
    metrics_set(session->metrics, METRIC_LEDGER_HELD_SECONDS, NULL, NULL, 0);
    log_write(LOG_LEVEL_INFO, "ledger", "restored\trecords=%" PRId64 " ms=%" PRId64, all,
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
        int64_t ends[LEDGER_PARTITIONS], ticket = engine_ticket(session->engine);
        struct error ignored;
        if (!read_offsets(session, RD_KAFKA_OFFSET_END, ends, &ignored))
            return true;
        session->unknown_ticket = ticket;
        for (int32_t k = 0; k < session->ledger_partitions; k++)
            session->ledger[k].unknown_goal = ends[k];
        return true;
    }
    for (int32_t k = 0; k < session->ledger_partitions; k++) {
        if (session->ledger[k].next < session->ledger[k].unknown_goal)
            return true;
    }
    int64_t ticket = session->unknown_ticket;
    session->unknown_ticket = 0;
    return session_event(session, &(struct event){.kind = EVENT_PASSED, .offset = ticket}, error);
}
