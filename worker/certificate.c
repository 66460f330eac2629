#include "certificate.h"

#include "background.h"
#include "certify.h"
#include "clock.h"
#include "engine/certificate.h"
#include "log.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* A certificate and what it was computed from. */
struct outcome {
    struct sel_certificate found;
    int64_t time; /* of the snapshot */
    int64_t labels, fit_id;
    size_t asked, candidates;
    double seconds;
    char *space;
};

struct certificate {
    struct metrics *metrics;
    struct certificate_limits limits;
    struct background *background;
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

static bool solve(void *context, void *opaque, const atomic_bool *stop, void *result,
                  struct error *error)
{
    struct certificate_snapshot *snapshot = opaque;
    struct outcome *outcome = result;
    int64_t started = clock_monotonic_ms();
    *outcome = (struct outcome){0};
    if (!certify(snapshot, stop, &outcome->found, error))
        return false;
    outcome->time = snapshot->time;
    outcome->labels = snapshot->labels;
    outcome->fit_id = snapshot->fit_id;
    outcome->asked = snapshot->asked;
    outcome->candidates = snapshot->open;
    outcome->seconds = (double)(clock_monotonic_ms() - started) / 1000;
    outcome->space = snapshot->space;
    snapshot->space = NULL;
    publish(context, outcome);
    return true;
}

/* ---- what it is ---- */

static bool take(void *context, const struct engine *engine, void *opaque, struct error *error)
{
    const struct certificate *certificate = context;
    struct certificate_snapshot *snapshot = opaque;
    int64_t started = clock_monotonic_ms();
    if (!engine_certificate(engine, &certificate->limits, snapshot, error))
        return false;
    log_write(LOG_LEVEL_DEBUG, "certificate", "taken\tlabels=%" PRId64 " pairs=%zu ms=%" PRId64,
              snapshot->labels, snapshot->open, clock_monotonic_ms() - started);
    return true;
}

static void drop(void *snapshot)
{
    certificate_snapshot_free(snapshot);
}

static void discard(void *opaque)
{
    struct outcome *outcome = opaque;
    free(outcome->space);
}

static json_t *tell(const void *opaque)
{
    const struct outcome *outcome = opaque;
    const struct sel_certificate *found = &outcome->found;
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:I}", "time",
                     (json_int_t)outcome->time, "labels", (json_int_t)outcome->labels, "listed",
                     (json_int_t)outcome->asked, "candidates", (json_int_t)outcome->candidates,
                     "objective", found->objective, "optimum", found->optimum, "bound",
                     found->bound, "efficiency", found->efficiency, "efficiency_least",
                     found->efficiency_least, "seconds", outcome->seconds, "space", outcome->space,
                     "fit_id", (json_int_t)outcome->fit_id);
}

/* ---- its life ---- */

struct certificate *certificate_new(const struct options *options, size_t bytes,
                                    struct metrics *metrics, struct error *error)
{
    static const struct background_kind KIND = {.name = "certificates",
                                                .snapshot_size =
                                                    sizeof(struct certificate_snapshot),
                                                .outcome_size = sizeof(struct outcome),
                                                .take = take,
                                                .solve = solve,
                                                .drop = drop,
                                                .discard = discard,
                                                .tell = tell};
    struct certificate *certificate = calloc(1, sizeof *certificate);
    if (certificate == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for certificates");
        return NULL;
    }
    certificate->metrics = metrics;
    certificate->limits =
        (struct certificate_limits){.candidates = options->certificate_candidates, .bytes = bytes};
    const enum metric rows[] = {METRIC_CERTIFICATE_EFFICIENCY, METRIC_CERTIFICATE_EFFICIENCY_LEAST,
                                METRIC_CERTIFICATE_LABELS, METRIC_CERTIFICATE_TIMESTAMP};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
        metrics_set(metrics, rows[k], NULL, NULL, (double)NAN);
    certificate->background =
        background_new(&KIND, certificate, options->certificate_interval, error);
    if (certificate->background != NULL)
        return certificate;
    free(certificate);
    return NULL;
}

void certificate_free(struct certificate *certificate)
{
    if (certificate == NULL)
        return;
    background_free(certificate->background);
    free(certificate);
}

void certificate_set_interval(struct certificate *certificate, int64_t interval)
{
    background_set_interval(certificate->background, interval);
}

void certificate_tick(struct certificate *certificate, const struct engine *engine)
{
    background_tick(certificate->background, engine);
}

int certificate_answer(struct certificate *certificate, char **body)
{
    return background_answer(certificate->background, body);
}

void certificate_settle(struct certificate *certificate)
{
    background_settle(certificate->background);
}
