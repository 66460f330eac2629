#include "kafka.h"

#include "kafka_properties.h"
#include "log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *error)
{
    char reason[256];
    if (rd_kafka_conf_set(conf, name, value, reason, sizeof reason) == RD_KAFKA_CONF_OK)
        return true;
    return error_set(error, ERROR_FATAL, "librdkafka: %s", reason);
}

static bool set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return set(conf, name, text, error);
}

/* librdkafka's log lines become ours. Properties of kafka.properties that a handle has no use for,
 * because they are the other kind's, are no news. */
static void on_log(const rd_kafka_t *kafka, int level, const char *facility, const char *text)
{
    (void)kafka;
    if (strcmp(facility, "CONFWARN") == 0 && strstr(text, "will be ignored by this") != NULL)
        return;
    enum { SYSLOG_ERROR = 3, SYSLOG_WARNING = 4, SYSLOG_INFO = 6 };
    enum log_level ours = level <= SYSLOG_ERROR     ? LOG_LEVEL_WARN
                          : level <= SYSLOG_WARNING ? LOG_LEVEL_INFO
                                                    : LOG_LEVEL_DEBUG;
    log_write(ours, "librdkafka", "%s: %s", facility, text);
}

static bool set_kbytes(rd_kafka_conf_t *conf, const char *name, size_t bytes, struct error *error)
{
    return bytes == 0 || set_number(conf, name, (int64_t)(bytes / 1024 + 1), error);
}

/* librdkafka counts the payload of what it has fetched; each record costs about 512 bytes more. A
 * quarter of the budget is for those. It asks the broker for no more than fits at once. */
static bool set_fetch_queue(rd_kafka_conf_t *conf, size_t bytes, struct error *error)
{
    enum { RECORD_COST = 512, RECORDS_LEAST = 1000, RECORDS_MOST = 1000000 };
    if (bytes == 0)
        return true;
    size_t records = bytes / 4 / RECORD_COST;
    if (records < RECORDS_LEAST)
        records = RECORDS_LEAST;
    if (records > RECORDS_MOST)
        records = RECORDS_MOST;
    return set_kbytes(conf, "queued.max.messages.kbytes", bytes / 4 * 3, error) &&
           set_number(conf, "queued.min.messages", (int64_t)records, error);
}

/* A full queue pauses fetching: for fetch.error.backoff.ms up to librdkafka 2.1, from then on for
 * fetch.queue.backoff.ms, which older ones do not know. A second, the default, starves a worker. */
static bool set_backoff(rd_kafka_conf_t *conf, struct error *error)
{
    char reason[256];
    if (rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "20", reason, sizeof reason) ==
        RD_KAFKA_CONF_INVALID)
        return error_set(error, ERROR_FATAL, "librdkafka: %s", reason);
    return set(conf, "fetch.error.backoff.ms", "50", error);
}

static bool set_consumer(rd_kafka_conf_t *conf, const char *isolation, size_t queue_bytes,
                         struct error *error)
{
    return set(conf, "isolation.level", isolation, error) &&
           set(conf, "enable.auto.commit", "false", error) &&
           set(conf, "enable.auto.offset.store", "false", error) &&
           set(conf, "auto.offset.reset", "error", error) &&
           set(conf, "enable.partition.eof", "true", error) &&
           set(conf, "fetch.wait.max.ms", "100", error) && set_backoff(conf, error) &&
           set_fetch_queue(conf, queue_bytes, error);
}

static bool set_group(rd_kafka_conf_t *conf, const struct options *options, struct error *error)
{
    enum { POLL_INTERVAL = 300000 }; /* librdkafka's default, which bounds the session's timeout */
    const char *strategy =
        options->kafka_assignment == ASSIGNMENT_RANGE ? "range" : "cooperative-sticky";
    return set(conf, "group.id", options->kafka_group, error) &&
           (!options->kafka_static ||
            set(conf, "group.instance.id", options->kafka_instance, error)) &&
           set(conf, "partition.assignment.strategy", strategy, error) &&
           set_number(conf, "session.timeout.ms", options->kafka_session_timeout, error) &&
           (options->kafka_session_timeout <= POLL_INTERVAL ||
            set_number(conf, "max.poll.interval.ms", options->kafka_session_timeout, error)) &&
           set_number(conf, "heartbeat.interval.ms",
                      options->kafka_session_timeout < 9000 ? options->kafka_session_timeout / 3
                                                            : 3000,
                      error);
}

/* The ledger's reader never joins a group; librdkafka wants a name all the same. */
static bool set_follower_group(rd_kafka_conf_t *conf, const struct options *options,
                               struct error *error)
{
    char name[300];
    snprintf(name, sizeof name, "%.249s.follower", options->kafka_group);
    return set(conf, "group.id", name, error);
}

static bool set_sender(rd_kafka_conf_t *conf, size_t queue_bytes, struct error *error)
{
    return set(conf, "enable.idempotence", "true", error) && set(conf, "acks", "all", error) &&
           set(conf, "linger.ms", "5", error) && set(conf, "compression.type", "lz4", error) &&
           set(conf, "partitioner", "murmur2_random", error) &&
           set(conf, "message.max.bytes", "67108864", error) &&
           /* A topic that a broker made up has none of the settings that the promises need. */
           set(conf, "allow.auto.create.topics", "false", error) &&
           set_kbytes(conf, "queue.buffering.max.kbytes", queue_bytes, error);
}

static bool set_transactional(rd_kafka_conf_t *conf, const struct options *options,
                              const char *suffix, struct error *error)
{
    char id[520];
    snprintf(id, sizeof id, "%.249s-%.249s%s", options->kafka_group, options->kafka_instance,
             suffix);
    int64_t timeout = options->kafka_transaction_timeout;
    return set(conf, "transactional.id", id, error) &&
           set_number(conf, "transaction.timeout.ms", timeout, error) &&
           set_number(conf, "message.timeout.ms", timeout * 4 / 5, error) &&
           /* AddPartitionsToTxn right behind a commit is answered "try again". */
           set(conf, "retry.backoff.ms", "10", error);
}

static bool set_role(rd_kafka_conf_t *conf, const struct options *options, enum kafka_role role,
                     size_t queue_bytes, struct error *error)
{
    switch (role) {
    case KAFKA_GROUP:
        return set_consumer(conf, "read_committed", queue_bytes, error) &&
               set_group(conf, options, error);
    case KAFKA_FOLLOWER:
    case KAFKA_READER:
        return set_consumer(conf, "read_committed", queue_bytes, error) &&
               set_follower_group(conf, options, error);
    case KAFKA_WATERMARKS:
        return set_consumer(conf, "read_uncommitted", 1024, error);
    case KAFKA_PRODUCER:
        return set_sender(conf, queue_bytes, error) && set_transactional(conf, options, "", error);
    case KAFKA_APPENDER:
        return set_sender(conf, queue_bytes, error) &&
               set_transactional(conf, options, KAFKA_COMMAND_SUFFIX, error);
    case KAFKA_SENDER:
        return set_sender(conf, queue_bytes, error);
    case KAFKA_ADMIN:
        /* A consumer that reads nothing: unlike a producer's, its questions create no topics. */
        return set(conf, "enable.auto.commit", "false", error);
    }
    return true;
}

rd_kafka_conf_t *kafka_conf(const struct options *options, enum kafka_role role, size_t queue_bytes,
                            struct error *error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (set(conf, "bootstrap.servers", options->kafka_brokers, error) &&
        set(conf, "client.id", "infopair", error) &&
        set(conf, "client.software.name", "infopair", error) &&
        set(conf, "client.software.version", INFOPAIR_VERSION, error) &&
        set_role(conf, options, role, queue_bytes, error) &&
        kafka_properties_apply(options, conf, error))
        return conf;
    rd_kafka_conf_destroy(conf);
    return NULL;
}

rd_kafka_t *kafka_open(enum kafka_role role, rd_kafka_conf_t *conf, struct error *error)
{
    if (conf == NULL)
        return NULL;
    char reason[256];
    bool producer = role == KAFKA_PRODUCER || role == KAFKA_APPENDER || role == KAFKA_SENDER;
    rd_kafka_t *kafka =
        rd_kafka_new(producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, reason, sizeof reason);
    if (kafka == NULL) {
        error_set(error, ERROR_FATAL, "librdkafka: %s", reason);
        rd_kafka_conf_destroy(conf);
    }
    return kafka;
}

static bool is_fenced(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID ||
           code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

/* An epoch that the coordinator raised for us after a timeout asks for an abort and fences nobody:
 * so what librdkafka demands comes first. */
static enum error_class class_of(const rd_kafka_error_t *source)
{
    if (rd_kafka_error_txn_requires_abort(source))
        return ERROR_ABORT;
    if (is_fenced(rd_kafka_error_code(source)))
        return ERROR_FENCED;
    if (rd_kafka_error_is_fatal(source))
        return ERROR_FATAL;
    return rd_kafka_error_is_retriable(source) ? ERROR_RETRY : ERROR_FATAL;
}

bool kafka_error(rd_kafka_error_t *source, const char *doing, struct error *error)
{
    if (source == NULL)
        return true;
    error_set(error, class_of(source), "%s: %s (%s)", doing, rd_kafka_error_string(source),
              rd_kafka_error_name(source));
    rd_kafka_error_destroy(source);
    return false;
}

static bool is_passing(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__RETRY:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
        return true;
    default:
        return false;
    }
}

bool kafka_failure(rd_kafka_t *kafka, rd_kafka_resp_err_t code, const char *doing,
                   struct error *error)
{
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    char reason[256] = "";
    if (code == RD_KAFKA_RESP_ERR__FATAL)
        code = rd_kafka_fatal_error(kafka, reason, sizeof reason);
    enum error_class class = is_fenced(code)    ? ERROR_FENCED
                             : is_passing(code) ? ERROR_RETRY
                                                : ERROR_FATAL;
    return error_set(error, class, "%s: %s%s%s (%s)", doing, rd_kafka_err2str(code),
                     reason[0] == '\0' ? "" : ": ", reason, rd_kafka_err2name(code));
}

/* ---- closing ---- */

/* A handle on its way out, and who waits for it: whoever comes last frees this. */
struct closing {
    rd_kafka_t *kafka;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done, left;
};

static void closing_free(struct closing *closing)
{
    pthread_cond_destroy(&closing->over);
    pthread_mutex_destroy(&closing->lock);
    free(closing);
}

static void *close_it(void *opaque)
{
    struct closing *closing = opaque;
    rd_kafka_destroy_flags(closing->kafka, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    pthread_mutex_lock(&closing->lock);
    closing->done = true;
    bool left = closing->left;
    pthread_cond_signal(&closing->over);
    pthread_mutex_unlock(&closing->lock);
    if (left)
        closing_free(closing);
    return NULL;
}

bool kafka_close(rd_kafka_t *kafka, int timeout_ms)
{
    if (kafka == NULL)
        return true;
    struct closing *closing = calloc(1, sizeof *closing);
    pthread_t thread;
    struct timespec until;
    if (closing == NULL)
        return false;
    closing->kafka = kafka;
    pthread_mutex_init(&closing->lock, NULL);
    pthread_cond_init(&closing->over, NULL);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000 + 1;
    if (pthread_create(&thread, NULL, close_it, closing) != 0) {
        closing_free(closing);
        return false;
    }
    pthread_detach(thread);
    pthread_mutex_lock(&closing->lock);
    while (!closing->done && pthread_cond_timedwait(&closing->over, &closing->lock, &until) == 0)
        ;
    bool done = closing->done;
    closing->left = !done;
    pthread_mutex_unlock(&closing->lock);
    if (done)
        closing_free(closing);
    return done;
}
