#include "certificate.h"

#include "certify.h"
#include "clock.h"
#include "engine/certificate.h"
#include "log.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PAUSE = 1000, OK = 200, ACCEPTED = 202 };

/* A certificate and what it was computed from. */
struct outcome {
    struct sel_certificate found;
    int64_t time; /* of the snapshot */
    int64_t labels, fit_id;
    size_t asked, candidates;
    double seconds;
    char *space; /* NULL: there is none yet */
};

struct certificate {
    const struct options *options;
    int64_t interval;
    struct metrics *metrics;
    struct certificate_limits limits;
    int64_t began; /* the last snapshot, or the try; the engine's thread only */
    pthread_t thread;
    atomic_bool stop; /* readable without the lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock. */
    bool wanted; /* somebody asked */
    bool busy;   /* the thread has the snapshot */
    struct certificate_snapshot snapshot;
    struct outcome newest;
    char reason[sizeof((struct error *)0)->message]; /* why the last try came to nothing; "" */
};

/* ---- the thread ---- */

static void publish(struct certificate *certificate, const struct outcome *outcome)
{
    const struct {
        enum metric metric;
        double value;
    } rows[] = {{METRIC_CERTIFICATE_EFFICIENCY, outcome->found.efficiency},
                {METRIC_CERTIFICATE_EFFICIENCY_LEAST, outcome->found.efficiency_least},
                {METRIC_CERTIFICATE_LABELS, (double)outcome->labels},
                {METRIC_CERTIFICATE_TIMESTAMP, (double)outcome->time / 1000}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
        metrics_set(certificate->metrics, rows[k].metric, NULL, NULL, rows[k].value);
    log_write(LOG_LEVEL_INFO, "certificate",
              "computed\tefficiency=%.4g least=%.4g labels=%" PRId64 " candidates=%zu seconds=%.3g",
              outcome->found.efficiency, outcome->found.efficiency_least, outcome->labels,
              outcome->candidates, outcome->seconds);
}

/* Solves the snapshot that was handed over; without the lock. */
static bool solve(struct certificate *certificate, struct outcome *outcome, struct error *error)
{
    struct certificate_snapshot *snapshot = &certificate->snapshot;
    int64_t started = clock_monotonic_ms();
    bool done = certify(snapshot, &certificate->stop, &outcome->found, error);
    if (done) {
        outcome->time = snapshot->time;
        outcome->labels = snapshot->labels;
        outcome->fit_id = snapshot->fit_id;
        outcome->asked = snapshot->asked;
        outcome->candidates = snapshot->open;
        outcome->seconds = (double)(clock_monotonic_ms() - started) / 1000;
        outcome->space = snapshot->space;
        snapshot->space = NULL;
        publish(certificate, outcome);
    }
    certificate_snapshot_free(snapshot);
    return done;
}

static void *work(void *context)
{
    struct certificate *certificate = context;
    pthread_mutex_lock(&certificate->lock);
    while (!atomic_load(&certificate->stop)) {
        if (!certificate->busy) {
            pthread_cond_wait(&certificate->changed, &certificate->lock);
            continue;
        }
        pthread_mutex_unlock(&certificate->lock);
        struct outcome outcome = {0};
        struct error error = {ERROR_NONE, ""};
        bool done = solve(certificate, &outcome, &error);
        pthread_mutex_lock(&certificate->lock);
        if (done) {
            free(certificate->newest.space);
            certificate->newest = outcome;
        }
        memcpy(certificate->reason, error.message, sizeof certificate->reason);
        certificate->busy = false;
    }
    pthread_mutex_unlock(&certificate->lock);
    return NULL;
}

/* ---- its life ---- */

struct certificate *certificate_new(const struct options *options, size_t bytes,
                                    struct metrics *metrics, struct error *error)
{
    struct certificate *certificate = calloc(1, sizeof *certificate);
    if (certificate == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for certificates");
        return NULL;
    }
    certificate->options = options;
    certificate->interval = options->certificate_interval;
    certificate->metrics = metrics;
    certificate->limits =
        (struct certificate_limits){.candidates = options->certificate_candidates, .bytes = bytes};
    certificate->began = clock_monotonic_ms() - PAUSE; /* the first may begin at once */
    pthread_mutex_init(&certificate->lock, NULL);
    pthread_cond_init(&certificate->changed, NULL);
    const enum metric rows[] = {METRIC_CERTIFICATE_EFFICIENCY, METRIC_CERTIFICATE_EFFICIENCY_LEAST,
                                METRIC_CERTIFICATE_LABELS, METRIC_CERTIFICATE_TIMESTAMP};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
        metrics_set(metrics, rows[k], NULL, NULL, (double)NAN);
    int code = pthread_create(&certificate->thread, NULL, work, certificate);
    if (code == 0)
        return certificate;
    error_set(error, ERROR_FATAL, "a thread for certificates: %s", strerror(code));
    pthread_cond_destroy(&certificate->changed);
    pthread_mutex_destroy(&certificate->lock);
    free(certificate);
    return NULL;
}

void certificate_free(struct certificate *certificate)
{
    if (certificate == NULL)
        return;
    pthread_mutex_lock(&certificate->lock);
    atomic_store(&certificate->stop, true);
    pthread_cond_signal(&certificate->changed);
    pthread_mutex_unlock(&certificate->lock);
    pthread_join(certificate->thread, NULL);
    pthread_cond_destroy(&certificate->changed);
    pthread_mutex_destroy(&certificate->lock);
    certificate_snapshot_free(&certificate->snapshot);
    free(certificate->newest.space);
    free(certificate);
}

/* ---- taking ---- */

static bool is_due(struct certificate *certificate, int64_t since)
{
    int64_t interval = certificate->interval;
    pthread_mutex_lock(&certificate->lock);
    bool due = !certificate->busy && since >= PAUSE &&
               (certificate->wanted || (interval > 0 && since >= interval));
    pthread_mutex_unlock(&certificate->lock);
    return due;
}

void certificate_set_interval(struct certificate *certificate, int64_t interval)
{
    certificate->interval = interval;
}

void certificate_tick(struct certificate *certificate, const struct engine *engine)
{
    int64_t now = clock_monotonic_ms();
    if (!is_due(certificate, now - certificate->began))
        return;
    struct certificate_snapshot snapshot;
    struct error error = {ERROR_NONE, ""};
    bool done = engine_certificate(engine, &certificate->limits, &snapshot, &error);
    if (!done && error.class == ERROR_RETRY)
        return; /* after the next tick */
    certificate->began = now;
    pthread_mutex_lock(&certificate->lock);
    certificate->wanted = false;
    certificate->busy = done;
    if (done) {
        certificate->snapshot = snapshot;
        pthread_cond_signal(&certificate->changed);
    }
    memcpy(certificate->reason, error.message, sizeof certificate->reason);
    pthread_mutex_unlock(&certificate->lock);
    if (done)
        log_write(LOG_LEVEL_DEBUG, "certificate", "taken\tlabels=%" PRId64 " pairs=%zu ms=%" PRId64,
                  snapshot.labels, snapshot.open, clock_monotonic_ms() - now);
}

/* ---- telling ---- */

static json_t *json_of(const struct outcome *outcome, const char *reason)
{
    const struct sel_certificate *found = &outcome->found;
    json_t *root = json_pack(
        "{s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:I}", "time",
        (json_int_t)outcome->time, "labels", (json_int_t)outcome->labels, "listed",
        (json_int_t)outcome->asked, "candidates", (json_int_t)outcome->candidates, "objective",
        found->objective, "optimum", found->optimum, "bound", found->bound, "efficiency",
        found->efficiency, "efficiency_least", found->efficiency_least, "seconds", outcome->seconds,
        "space", outcome->space, "fit_id", (json_int_t)outcome->fit_id);
    if (root != NULL && reason[0] != '\0')
        json_object_set_new(root, "reason", json_string(reason));
    return root;
}

int certificate_answer(struct certificate *certificate, char **body)
{
    pthread_mutex_lock(&certificate->lock);
    const char *reason = certificate->busy                ? "the first one is being computed"
                         : certificate->reason[0] != '\0' ? certificate->reason
                                                          : "one has been asked for";
    bool known = certificate->newest.space != NULL;
    json_t *root = known ? json_of(&certificate->newest, certificate->reason)
                         : json_pack("{s:s}", "reason", reason);
    if (!certificate->busy)
        certificate->wanted = true;
    pthread_mutex_unlock(&certificate->lock);
    *body = root == NULL ? NULL : json_dumps(root, 0);
    json_decref(root);
    return *body == NULL ? 0 : known ? OK : ACCEPTED;
}
