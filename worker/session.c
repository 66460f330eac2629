/* The loop you can read aloud: drain what is ready; when the batch is due, let time pass in the
 * engine and hand what it decided to the committer, unless the last one is still in flight; sleep
 * until the next record or the next due time. */
#include "session.h"
#include "clock.h"
#include "kafka.h"
#include "log.h"
#include "topics.h"

#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CONNECT_TIMEOUT = 5000,
    CONNECT_PAUSE = 500,
    BURST = 1000,
    CLOSE_TIMEOUT = 20000,
    DESTROY_TIMEOUT = 5000
};
enum { LOOK_INTERVAL = 10000, LOOK_INTERVAL_DOWN = 1000, LOOK_TIMEOUT = 500 };

bool session_stopping(const struct session *session)
{
    return atomic_load(session->stopping);
}

void session_not_ready(struct session *session, const char *format, ...)
{
    char reasons[1024];
    if (format == NULL) {
        http_set_ready(session->http, NULL);
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(reasons, sizeof reasons - 1, format, arguments);
    va_end(arguments);
    if (size > 0)
        snprintf(reasons + (size < 1022 ? size : 1022), 2, "\n");
    http_set_ready(session->http, reasons);
}

bool session_event(struct session *session, const struct event *event, struct error *error)
{
    const struct journal_frame frame = {.kind = JOURNAL_EVENT, .event = *event};
    if (session->journal != NULL && !journal_write(session->journal, &frame, error))
        return false;
    return event_apply(session->engine, session->contracts, event, error);
}

/* Lets time pass. Says how long a fit took where others had to wait for it. */
static bool tick(struct session *session, struct error *error)
{
    enum { SLOW = 500 };
    const struct event event = {.kind = EVENT_TICK, .now = clock_now_ms()};
    const struct engine_stats *stats = engine_stats(session->engine);
    int64_t started = clock_monotonic_ms(), fits = stats->fits;
    if (!session_event(session, &event, error))
        return false;
    int64_t took = clock_monotonic_ms() - started;
    if (stats->fits > fits)
        log_write(took < SLOW ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "model",
                  "fitted\tfit_id=%" PRId64 " labels=%" PRId64 " lambda=%.4g ms=%" PRId64,
                  stats->fit_id, stats->labels_counted, stats->lambda, took);
    return true;
}

/* ---- connecting ---- */

/* Tells that no broker answers, or that one does again. Called from rd_kafka_poll of a handle. */
static void on_error(rd_kafka_t *kafka, int code, const char *reason, void *opaque)
{
    struct session *session = opaque;
    char text[512];
    if (kafka == session->producer) {
        /* Called on the committer's thread, whose transaction fails by the same. */
        log_write(LOG_LEVEL_INFO, "kafka", "producer: %s", reason);
        return;
    }
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        session->brokers_down = true;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(kafka, text, sizeof text);
        bool fenced = fatal == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID ||
                      fatal == RD_KAFKA_RESP_ERR__FENCED ||
                      fatal == RD_KAFKA_RESP_ERR_PRODUCER_FENCED;
        if (session->failed.class == ERROR_NONE)
            error_set(&session->failed, fenced ? ERROR_FENCED : ERROR_RETRY, "%s", text);
        return;
    }
    log_write(LOG_LEVEL_INFO, "kafka", "%s", reason);
}

static rd_kafka_t *open_handle(struct session *session, enum kafka_role role, size_t queue_bytes,
                               struct error *error)
{
    rd_kafka_conf_t *conf = kafka_conf(session->options, role, queue_bytes, error);
    if (conf == NULL)
        return NULL;
    rd_kafka_conf_set_opaque(conf, session);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (role == KAFKA_GROUP)
        rd_kafka_conf_set_rebalance_cb(conf, assignment_rebalance);
    rd_kafka_t *kafka = kafka_open(role, conf, error);
    if (kafka != NULL && (role == KAFKA_GROUP || role == KAFKA_FOLLOWER))
        rd_kafka_poll_set_consumer(kafka);
    return kafka;
}

static void close_handle(rd_kafka_t *kafka)
{
    if (!kafka_close(kafka, DESTROY_TIMEOUT))
        log_write(LOG_LEVEL_WARN, "worker", "a handle of librdkafka does not end; it is left");
}

/* The follower's queue until the ledger is restored. librdkafka 2.0 looks only every second whether
 * a full queue has room again, so it should not become full; pools and the consumer's queue take
 * no room yet. */
static size_t restore_bytes(const struct memory_plan *plan)
{
    const size_t most = 256 << 20;
    size_t idle = plan->pools_bytes / 2 + plan->consumer_bytes;
    return plan->follower_bytes + (idle < most ? idle : most);
}

/* Gives back what the follower had beyond its plan: another handle goes on where it stopped. */
static bool shrink_follower(struct session *session, struct error *error)
{
    close_handle(session->follower);
    malloc_trim(0);
    session->follower = open_handle(session, KAFKA_FOLLOWER, session->plan->follower_bytes, error);
    return session->follower != NULL && follower_assign(session, error);
}

static bool open_handles(struct session *session, struct error *error)
{
    const struct memory_plan *plan = session->plan;
    session->watermarks = open_handle(session, KAFKA_WATERMARKS, 0, error);
    session->consumer = session->watermarks == NULL
                            ? NULL
                            : open_handle(session, KAFKA_GROUP, plan->consumer_bytes, error);
    session->follower = session->consumer == NULL
                            ? NULL
                            : open_handle(session, KAFKA_FOLLOWER, restore_bytes(plan), error);
    session->producer = session->follower == NULL
                            ? NULL
                            : open_handle(session, KAFKA_PRODUCER, plan->producer_bytes, error);
    return session->producer != NULL;
}

/* Partition counts of all topics; every one must be there, and the ledger laid out as agreed. */
static bool find_topics(struct session *session, struct error *error)
{
    const struct options *options = session->options;
    int32_t pairs, dead_letters;
    const struct {
        const char *name;
        int32_t *count;
    } topics[] = {{options->topics_completions, &session->partitions[INPUT_COMPLETIONS]},
                  {options->topics_labels, &session->partitions[INPUT_LABELS]},
                  {options->topics_ledger, &session->ledger_partitions},
                  {options->topics_pairs, &pairs},
                  {options->topics_dead_letters, &dead_letters}};
    for (size_t k = 0; k < sizeof topics / sizeof topics[0]; k++) {
        if (!kafka_partitions(session->watermarks, topics[k].name, CONNECT_TIMEOUT, topics[k].count,
                              error))
            return error_prefix(error, "kafka.brokers %s", options->kafka_brokers);
        if (*topics[k].count == 0)
            return error_set(error, ERROR_RETRY,
                             "topic '%s' does not exist; `infopair topics` creates it",
                             topics[k].name);
    }
    if (session->ledger_partitions < LEDGER_PARTITIONS)
        return error_set(error, ERROR_RETRY,
                         "topic '%s' (topics.ledger) has %" PRId32
                         " partitions, must have %d: each "
                         "entry has its place by its key",
                         options->topics_ledger, session->ledger_partitions, LEDGER_PARTITIONS);
    /* Partitions that were added later hold nothing: all workers use the first ones. */
    session->ledger_partitions = LEDGER_PARTITIONS;
    return true;
}

/* Waits until the brokers answer and the topics are there. */
static bool connect_to(struct session *session, struct error *error)
{
    while (!find_topics(session, error)) {
        log_write(LOG_LEVEL_WARN, "stream", "%s", error->message);
        session_not_ready(session, "%s", error->message);
        if (error->class != ERROR_RETRY || session->flags->no_wait || session_stopping(session))
            return false;
        rd_kafka_poll(session->watermarks, CONNECT_PAUSE);
    }
    session_not_ready(session, "ending the open transaction of this worker slot");
    while (!kafka_error(rd_kafka_init_transactions(session->producer, CONNECT_TIMEOUT),
                        "transactions", error)) {
        log_write(LOG_LEVEL_WARN, "stream", "%s", error->message);
        session_not_ready(session, "%s", error->message);
        if (error->class != ERROR_RETRY || session_stopping(session))
            return false;
    }
    return true;
}

static bool make_engine(struct session *session, struct error *error)
{
    struct engine_options options = memory_engine_options(session->options, session->plan);
    options.completions_partitions = session->partitions[INPUT_COMPLETIONS];
    options.ledger_partitions = session->ledger_partitions;
    options.writer = session->options->kafka_instance;
    options.digest = session->digest;
    const struct journal_frame begin = {
        .kind = JOURNAL_SESSION,
        .partitions = {options.completions_partitions, options.ledger_partitions}};
    if (session->journal != NULL && !journal_write(session->journal, &begin, error))
        return false;
    session->engine = engine_new(&options, session->contracts, error);
    session->ledger = calloc((size_t)session->ledger_partitions, sizeof *session->ledger);
    if (session->engine != NULL && session->ledger == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for the ledger's positions");
    session->committer = session->engine == NULL ? NULL : committer_new(session, error);
    return session->committer != NULL && session_budget(session, error) && tick(session, error);
}

/* What the ledger has lost by retention: said, and refused where a pair could be asked again. */
static bool check_whole(struct session *session, struct error *error)
{
    const struct options *options = session->options;
    int64_t since = follower_whole_since(session), now = clock_now_ms();
    int64_t window = options->labels_window > options->policy_window ? options->labels_window
                                                                     : options->policy_window;
    int64_t needed = options->pool_age > options->labels_deadline + options->labels_late
                         ? options->pool_age
                         : options->labels_deadline + options->labels_late;
    metrics_set(session->metrics, METRIC_LEDGER_WHOLE_SECONDS, NULL, NULL,
                since == 0 ? INFINITY : (double)(now - since) / 1000);
    if (since == 0 || since <= now - window - needed)
        return true;
    log_write(LOG_LEVEL_WARN, "ledger",
              "retention is shorter than the window: entries that count were deleted\t"
              "whole_hours=%" PRId64 " window_hours=%" PRId64,
              (now - since) / 3600000, (window + needed) / 3600000);
    if (since <= now - needed || session->flags->accept_loss)
        return true;
    return error_set(error, ERROR_RETRY,
                     "%s: entries of the last %" PRId64
                     " hours were deleted (pool.age, or labels.deadline + labels.late), so that "
                     "pairs could be asked again; raise retention.ms, and start with --accept-loss "
                     "to go on without them",
                     options->topics_ledger, needed / 3600000);
}

/* Sigma of all that was read: before joining, so that the group is not kept waiting for it. */
static bool first_rebuild(struct session *session, struct error *error)
{
    int64_t started = clock_monotonic_ms();
    if (!tick(session, error))
        return false;
    const struct engine_stats *stats = engine_stats(session->engine);
    log_write(LOG_LEVEL_INFO, "ledger",
              "rebuilt\tlabels=%" PRId64 " in_flight=%" PRId64 " ms=%" PRId64,
              stats->labels_counted, stats->requests_open, clock_monotonic_ms() - started);
    return true;
}

/* Reads the ledger before joining the group: what a takeover then has to wait for is short. */
static bool restore(struct session *session, struct error *error)
{
    if (!follower_start(session, error))
        return false;
    while (!follower_barrier(session, error)) {
        log_write(LOG_LEVEL_WARN, "stream", "%s", error->message);
        if (error->class != ERROR_RETRY || session_stopping(session))
            return false;
    }
    if (!follower_pass_barrier(session, error) || !check_whole(session, error))
        return false;
    session->restored = true;
    return shrink_follower(session, error) && first_rebuild(session, error);
}

/* Incremental rebalances of librdkafka before 2.10 can spin (its issue 4783) and lose an assignment
 * while offsets are committed (4908). */
static void warn_of_cooperative(const struct session *session)
{
    if (session->options->kafka_assignment == ASSIGNMENT_COOPERATIVE &&
        rd_kafka_version() < 0x020a00ff)
        log_write(LOG_LEVEL_WARN, "stream",
                  "kafka.assignment = cooperative-sticky has known faults in librdkafka before "
                  "2.10; range is the safer choice\tlibrdkafka=%s",
                  rd_kafka_version_str());
}

static bool join(struct session *session, struct error *error)
{
    warn_of_cooperative(session);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(2);
    rd_kafka_topic_partition_list_add(topics, session->options->topics_completions,
                                      RD_KAFKA_PARTITION_UA);
    rd_kafka_topic_partition_list_add(topics, session->options->topics_labels,
                                      RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(session->consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    session_not_ready(session, "no partition is assigned yet");
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           error_set(error, ERROR_FATAL, "subscribe: %s", rd_kafka_err2str(code));
}

/* ---- the loop ---- */

/* Takes what the group consumer has, waiting at most `wait` for the first record. */
static bool take_burst(struct session *session, int wait, struct error *error)
{
    bool done = true;
    for (int k = 0; done && k < BURST && session->failed.class == ERROR_NONE; k++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(session->consumer, k == 0 ? wait : 0);
        if (message == NULL)
            break;
        done = intake(session, message, error);
        rd_kafka_message_destroy(message);
        if (flow_crowded(session))
            break;
    }
    if (flow_crowded(session))
        flow_update(session);
    return done;
}

/* Takes records until `until`. While the batch is full, the transaction in flight is waited for. */
static bool drain(struct session *session, int64_t until, struct error *error)
{
    enum { WAIT = 20 }; /* so that neither the ledger nor the committer is kept waiting */
    bool done = true;
    while (done && session->failed.class == ERROR_NONE && !session_stopping(session)) {
        int64_t left = until - clock_monotonic_ms();
        int wait = left > WAIT ? WAIT : (int)left;
        bool full = flow_full(session);
        if (left <= 0 || (full && !commit_in_flight(session)))
            break;
        if (full && !session->flooded)
            done = commit_collect(session, wait, error);
        else
            done = take_burst(session, wait, error) && commit_collect(session, 0, error);
        done = done && follower_poll(session, 0, error);
    }
    return done;
}

/* Looks at the topics from time to time: partitions may have been added, brokers be back. */
static bool look_at_topics(struct session *session, struct error *error)
{
    int64_t now = clock_monotonic_ms();
    int64_t interval = session->brokers_down ? LOOK_INTERVAL_DOWN : LOOK_INTERVAL;
    if (session->looked_at != 0 && now - session->looked_at < interval)
        return true;
    session->looked_at = now;
    int32_t completions = 0, labels = 0;
    struct error ignored;
    if (!kafka_partitions(session->watermarks, session->options->topics_completions, LOOK_TIMEOUT,
                          &completions, &ignored) ||
        !kafka_partitions(session->watermarks, session->options->topics_labels, LOOK_TIMEOUT,
                          &labels, &ignored))
        return true;
    session->brokers_down = false;
    if (labels > session->partitions[INPUT_LABELS])
        session->partitions[INPUT_LABELS] = labels;
    if (completions <= session->partitions[INPUT_COMPLETIONS])
        return true;
    log_write(LOG_LEVEL_INFO, "stream", "partitions were added\ttopic=%s from=%d to=%d",
              session->options->topics_completions, session->partitions[INPUT_COMPLETIONS],
              completions);
    session->partitions[INPUT_COMPLETIONS] = completions;
    return session_event(session, &(struct event){.kind = EVENT_RESIZE, .partition = completions},
                         error);
}

/* Time passes in the engine, unless its batch is so full that it must wait. */
static bool let_time_pass(struct session *session, struct error *error)
{
    bool crowded = commit_in_flight(session) &&
                   engine_batch_bytes(session->engine) >= session->plan->batch_bytes / 2;
    return crowded || tick(session, error);
}

static bool loop(struct session *session, struct error *error)
{
    while (!session_stopping(session)) {
        http_beat(session->http);
        int64_t due = clock_monotonic_ms() + session->options->commit_interval;
        if (!drain(session, due, error))
            return false;
        if (session->failed.class != ERROR_NONE) {
            *error = session->failed;
            return false;
        }
        if (!session_reload(session, error) || !assignment_takeover(session, error) ||
            !follower_unknown_labels(session, error) || !look_at_topics(session, error) ||
            !let_time_pass(session, error) || !commit_collect(session, 0, error) ||
            !commit_start(session, error))
            return false;
        certificate_tick(session->certificate, session->engine);
        accounting_tick(session->accounting, session->engine);
        flow_update(session);
        rd_kafka_poll(session->watermarks, 0);
        report(session);
    }
    log_write(LOG_LEVEL_INFO, "stream", "told to stop: committing what was read");
    return commit_all(session, -1, error);
}

/* ---- the end ---- */

/* Leaves the group. librdkafka 2.0.2 can hang here when an assignment arrives meanwhile, so it gets
 * a deadline. */
static void leave_group(struct session *session)
{
    if (session->consumer == NULL)
        return;
    if (session->failed.class == ERROR_NONE)
        error_set(&session->failed, ERROR_RETRY, "the session is over");
    rd_kafka_queue_t *queue = rd_kafka_queue_new(session->consumer);
    rd_kafka_error_t *refused = rd_kafka_consumer_close_queue(session->consumer, queue);
    int64_t deadline = clock_monotonic_ms() + CLOSE_TIMEOUT;
    while (refused == NULL && !rd_kafka_consumer_closed(session->consumer) &&
           clock_monotonic_ms() < deadline) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 100);
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
            rd_kafka_assign(session->consumer, NULL);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_error_destroy(refused);
    rd_kafka_queue_destroy(queue);
}

static void session_close(struct session *session)
{
    session_not_ready(session, "the worker is stopping or starting anew");
    committer_free(session->committer);
    flow_reset(session);
    leave_group(session);
    if (session->gaining != NULL)
        rd_kafka_topic_partition_list_destroy(session->gaining);
    close_handle(session->consumer);
    close_handle(session->follower);
    close_handle(session->producer);
    close_handle(session->watermarks);
    engine_free(session->engine);
    free(session->ledger);
}

bool session_run(struct session *session, struct error *error)
{
    bool done = open_handles(session, error) && connect_to(session, error) &&
                make_engine(session, error) && restore(session, error) && join(session, error) &&
                loop(session, error);
    bool stopped = done || (session_stopping(session) && error->class == ERROR_RETRY);
    session_close(session);
    return stopped;
}
