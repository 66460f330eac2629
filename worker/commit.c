/* One Kafka transaction a batch: effects, ledger entries, dead letters and input offsets.
 *
 * A thread of its own sends the batch, so that the engine works ahead on the next one meanwhile;
 * one transaction is in flight at a time. While the committer is busy, its thread owns the producer
 * and the batch; offsets and the group's metadata were copied when the batch was closed.
 *
 * The batch's bytes and offsets are the same however often they are sent: an abortable error is
 * answered by abort and the same again. The group's metadata is taken once, when the batch is
 * closed. What cannot be repeated (a lost generation, a fatal error) ends the session, and the
 * next one finds out from Kafka what was committed. */
#include "clock.h"
#include "kafka.h"
#include "log.h"
#include "session.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SEND_TIMEOUT = 10000, POLL = 100, BACKOFF_LEAST = 50, BACKOFF_MOST = 5000 };
enum { STOP_GRACE = 10000 };

enum commit_state { COMMIT_IDLE, COMMIT_BUSY, COMMIT_DONE };

struct committer {
    struct session *session; /* read only: the producer, options, metrics, the stop flag */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock. */
    enum commit_state state;
    atomic_bool quit; /* readable without it */
    char trouble[512];
    /* The thread's while busy. */
    const struct batch *batch;
    rd_kafka_topic_partition_list_t *offsets;
    rd_kafka_consumer_group_metadata_t *group;
    int64_t started;
    bool done;
    int64_t stop_seen; /* 0: not told to stop yet */
    struct error error;
};

/* True when a transaction that does not get on may be left: at once when the session ends, and
 * STOP_GRACE after the worker was told to stop. The next start asks Kafka what became of it. */
static bool giving_up(const struct session *session)
{
    struct committer *committer = session->committer;
    if (atomic_load(&committer->quit))
        return true;
    if (!session_stopping(session))
        return false;
    if (committer->stop_seen == 0)
        committer->stop_seen = clock_monotonic_ms();
    return clock_monotonic_ms() - committer->stop_seen > STOP_GRACE;
}

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
    /* An empty one of the pairs is a notice: it has no value at all. */
    const char *value =
        effect->value.size == 0 && effect->output == OUTPUT_PAIRS ? NULL : effect->value.data;
    rd_kafka_resp_err_t code;
    do {
        rd_kafka_headers_t *copy = headers == NULL ? NULL : rd_kafka_headers_copy(headers);
        const rd_kafka_vu_t message[] = {
            {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic_of(session, effect->output)},
            {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = effect->partition},
            {.vtype = RD_KAFKA_VTYPE_KEY,
             .u.mem = {(void *)(uintptr_t)effect->key.data, effect->key.size}},
            {.vtype = RD_KAFKA_VTYPE_VALUE,
             .u.mem = {(void *)(uintptr_t)value, effect->value.size}},
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
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && !giving_up(session));
    if (headers != NULL)
        rd_kafka_headers_destroy(headers);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           error_set(error, ERROR_ABORT, "%s: %s", topic_of(session, effect->output),
                     rd_kafka_err2str(code));
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
        if (partition->metadata == NULL) {
            rd_kafka_topic_partition_list_destroy(list);
            return NULL;
        }
        partition->metadata_size = strlen(text);
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
        rd_kafka_resp_err_t code = rd_kafka_error_code(source);
        bool lost = generation_lost(code);
        if (kafka_error(source, "offsets", error))
            return true;
        if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
            error->class = ERROR_FENCED;
        if (lost && error->class != ERROR_FENCED)
            error->class = ERROR_FATAL; /* of this session: the same metadata can never pass */
        if (error->class != ERROR_RETRY || giving_up(session))
            return false;
    }
}

static bool finish(struct session *session, struct error *error)
{
    /* Asked again it goes on where it was. */
    while (!kafka_error(rd_kafka_commit_transaction(session->producer, SEND_TIMEOUT), "commit",
                        error)) {
        if (error->class != ERROR_RETRY || giving_up(session))
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
    while (
        !kafka_error(rd_kafka_abort_transaction(session->producer, SEND_TIMEOUT), "abort", error)) {
        if (error->class != ERROR_RETRY || giving_up(session))
            return false;
    }
    metrics_add(session->metrics, METRIC_ABORTS, NULL, NULL, 1);
    return true;
}

/* Waits on the condition for at most that long. */
static void wait_changed(struct committer *committer, int64_t milliseconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t nanoseconds = until.tv_nsec + milliseconds % 1000 * 1000000;
    until.tv_sec += milliseconds / 1000 + nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    pthread_cond_timedwait(&committer->changed, &committer->lock, &until);
}

/* Nothing of the batch is committed: says why, and waits before the same is sent again. False when
 * the worker is told to stop, which may leave it undone. */
static bool back_off(struct committer *committer, int round)
{
    int64_t pause = round < 7 ? BACKOFF_LEAST << round : BACKOFF_MOST;
    int64_t until = clock_monotonic_ms() + pause;
    log_write(LOG_LEVEL_WARN, "commit", "aborted, the same is sent again in %d ms: %s", (int)pause,
              committer->error.message);
    pthread_mutex_lock(&committer->lock);
    snprintf(committer->trouble, sizeof committer->trouble, "%s", committer->error.message);
    while (clock_monotonic_ms() < until && !giving_up(committer->session))
        wait_changed(committer, POLL);
    pthread_mutex_unlock(&committer->lock);
    return !giving_up(committer->session);
}

/* Sends the same batch until it is committed or cannot be. */
static void send_batch(struct committer *committer)
{
    struct session *session = committer->session;
    struct error *error = &committer->error;
    for (int round = 0; !(committer->done = attempt(session, committer->batch, committer->offsets,
                                                    committer->group, error));
         round++) {
        if (error->class != ERROR_ABORT || !abort_transaction(session, error))
            break;
        if (!back_off(committer, round)) {
            error_set(error, ERROR_RETRY, "told to stop; the last transaction was aborted");
            break;
        }
    }
}

static void *run(void *opaque)
{
    struct committer *committer = opaque;
    pthread_mutex_lock(&committer->lock);
    while (!atomic_load(&committer->quit)) {
        if (committer->state != COMMIT_BUSY) {
            pthread_cond_wait(&committer->changed, &committer->lock);
            continue;
        }
        pthread_mutex_unlock(&committer->lock);
        send_batch(committer);
        pthread_mutex_lock(&committer->lock);
        committer->state = COMMIT_DONE;
        committer->trouble[0] = '\0';
        pthread_cond_broadcast(&committer->changed);
    }
    pthread_mutex_unlock(&committer->lock);
    return NULL;
}

struct committer *committer_new(struct session *session, struct error *error)
{
    struct committer *committer = calloc(1, sizeof *committer);
    if (committer != NULL) {
        committer->session = session;
        pthread_mutex_init(&committer->lock, NULL);
        pthread_cond_init(&committer->changed, NULL);
        if (pthread_create(&committer->thread, NULL, run, committer) == 0)
            return committer;
    }
    free(committer);
    error_set(error, ERROR_FATAL, "no thread for transactions");
    return NULL;
}

static void forget_batch(struct committer *committer)
{
    if (committer->offsets != NULL)
        rd_kafka_topic_partition_list_destroy(committer->offsets);
    if (committer->group != NULL)
        rd_kafka_consumer_group_metadata_destroy(committer->group);
    committer->offsets = NULL;
    committer->group = NULL;
    committer->batch = NULL;
}

void committer_free(struct committer *committer)
{
    if (committer == NULL)
        return;
    pthread_mutex_lock(&committer->lock);
    atomic_store(&committer->quit, true);
    pthread_cond_broadcast(&committer->changed);
    pthread_mutex_unlock(&committer->lock);
    pthread_join(committer->thread, NULL);
    forget_batch(committer);
    pthread_mutex_destroy(&committer->lock);
    pthread_cond_destroy(&committer->changed);
    free(committer);
}

static bool record_batch(struct session *session, const struct batch *batch, struct error *error)
{
    const struct journal_frame frame = {.kind = JOURNAL_BATCH, .digest = batch_digest(batch)};
    return journal_write(session->journal, &frame, error) && journal_flush(session->journal, error);
}

bool commit_in_flight(const struct session *session)
{
    return session->committer->batch != NULL;
}

bool commit_start(struct session *session, struct error *error)
{
    struct committer *committer = session->committer;
    error->class = ERROR_NONE;
    if (commit_in_flight(session))
        return true;
    const struct batch *batch = engine_close(session->engine, error);
    if (batch == NULL)
        return error->class == ERROR_NONE;
    if (session->journal != NULL && !record_batch(session, batch, error))
        return false;
    committer->offsets = offsets_of(session, batch);
    if (committer->offsets == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for the offsets of a batch");
    committer->batch = batch;
    committer->group = rd_kafka_consumer_group_metadata(session->consumer);
    committer->started = clock_monotonic_ms();
    pthread_mutex_lock(&committer->lock);
    committer->state = COMMIT_BUSY;
    pthread_cond_broadcast(&committer->changed);
    pthread_mutex_unlock(&committer->lock);
    return true;
}

bool commit_collect(struct session *session, int wait_ms, struct error *error)
{
    struct committer *committer = session->committer;
    if (!commit_in_flight(session))
        return true;
    pthread_mutex_lock(&committer->lock);
    if (committer->state == COMMIT_BUSY && wait_ms > 0)
        wait_changed(committer, wait_ms);
    bool over = committer->state == COMMIT_DONE;
    if (over)
        committer->state = COMMIT_IDLE;
    pthread_mutex_unlock(&committer->lock);
    if (!over)
        return true;
    const struct batch *batch = committer->batch;
    forget_batch(committer);
    if (!committer->done) {
        *error = committer->error;
        if (error->class == ERROR_FENCED)
            error_prefix(error,
                         "another worker runs with kafka.instance = '%s', or a transaction was "
                         "open for longer than kafka.transaction_timeout",
                         session->options->kafka_instance);
        /* A producer that cannot go on is replaced by the next session, which asks Kafka. */
        if (error->class == ERROR_FATAL)
            error->class = ERROR_RETRY;
        return false;
    }
    session->brokers_down = false;
    report_batch(session, batch, (double)(clock_monotonic_ms() - committer->started) / 1000);
    return session_event(session, &(struct event){.kind = EVENT_CONFIRM}, error);
}

bool commit_all(struct session *session, int64_t most_ms, struct error *error)
{
    int64_t started = clock_monotonic_ms();
    do {
        while (commit_in_flight(session)) {
            if (!commit_collect(session, POLL, error))
                return false;
            if (most_ms >= 0 && commit_in_flight(session) &&
                clock_monotonic_ms() - started > most_ms)
                return error_set(error, ERROR_RETRY,
                                 "the transaction in flight did not end within %lld ms",
                                 (long long)most_ms);
        }
        if (!commit_start(session, error))
            return false;
    } while (commit_in_flight(session));
    return true;
}

bool commit_trouble(struct session *session, char *text, size_t size)
{
    struct committer *committer = session->committer;
    pthread_mutex_lock(&committer->lock);
    snprintf(text, size, "%s", committer->trouble);
    pthread_mutex_unlock(&committer->lock);
    return text[0] != '\0';
}
