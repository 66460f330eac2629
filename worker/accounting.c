#include "accounting.h"

#include "background.h"
#include "clock.h"
#include "log.h"
#include "number_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct accounting {
    struct metrics *metrics;
    size_t bytes;
    struct background *background;
};

/* ---- telling ---- */

static json_t *range(const struct account_range *range, double less, double by)
{
    return json_pack("{s:o, s:o, s:o}", "low", number_json((range->low - less) / by), "mid",
                     number_json((range->mid - less) / by), "high",
                     number_json((range->high - less) / by));
}

static json_t *arm(const struct account_arm *arm)
{
    return json_pack("{s:o, s:o, s:o}", "policy_trace", number_json(arm->trace), "gap_estimate",
                     number_json(arm->gap), "lambda", number_json(arm->lambda));
}

static json_t *rivals(const struct accounting_report *report)
{
    json_t *list = json_array();
    for (size_t k = 0; k < RIVALS && report->rivals[k] != NULL; k++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:o}", "rule", report->rivals[k], "pairs",
                                              (json_int_t)report->rival_pairs[k], "labels",
                                              number_json(report->account.rivals[k])));
    return list;
}

static json_t *arms(const struct account *account)
{
    return account->each == 0
               ? json_null()
               : json_pack("{s:I, s:o, s:o}", "labels_each", (json_int_t)account->each, "selected",
                           arm(&account->selected), "control", arm(&account->control));
}

/* What is saved is told only while it is supported. */
static json_t *tell(const void *opaque)
{
    const struct accounting_report *report = opaque;
    const struct account *account = &report->account;
    json_t *root = json_pack(
        "{s:I, s:s, s:I, s:I, s:I, s:b, s:o, s:o, s:o}", "time", (json_int_t)report->time, "space",
        report->space, "fit_id", (json_int_t)report->fit_id, "labels", (json_int_t)report->labels,
        "control_labels", (json_int_t)report->control, "supported", account->supported,
        "policy_trace", number_json(account->trace), "gap_estimate",
        json_pack("{s:o, s:o}", "low", number_json(account->gap.low), "high",
                  number_json(account->gap.high)),
        "arms", arms(account));
    json_t *evidence = json_pack("{s:I, s:o, s:o, s:f}", "labels", (json_int_t)report->predicted,
                                 "loss", number_json(report->loss), "surprise",
                                 number_json(report->surprise), "surprise_most", ACCOUNT_SURPRISE);
    json_t *shadows =
        json_pack("{s:I, s:I, s:I, s:I, s:f}", "count", (json_int_t)report->shadows, "slots",
                  (json_int_t)report->slots, "since", (json_int_t)report->since, "pools",
                  (json_int_t)report->pools, "seconds", report->seconds);
    if (root == NULL || json_object_set_new(root, "control_evidence", evidence) != 0 ||
        json_object_set_new(root, "shadows", shadows) != 0) {
        json_decref(root);
        return NULL;
    }
    double labels = (double)report->labels;
    if (report->rivals[0] != NULL)
        json_object_set_new(root, "rules", rivals(report));
    if (account->supported) {
        json_object_set_new(root, "labels_saved", range(&account->labels, labels, 1));
        json_object_set_new(root, "factor", range(&account->labels, 0, labels));
    } else {
        json_object_set_new(root, "unsupported", json_string(account->reason));
    }
    return root;
}

static void publish(struct accounting *accounting, const struct accounting_report *report)
{
    static const char *const BOUNDS[] = {"low", "mid", "high"};
    const struct account *account = &report->account;
    const double uniform[] = {account->labels.low, account->labels.mid, account->labels.high};
    struct metrics *metrics = accounting->metrics;
    bool supported = account->supported;
    for (size_t k = 0; k < 3; k++)
        metrics_set(metrics, METRIC_LABELS_SAVED, BOUNDS[k], NULL,
                    supported ? uniform[k] - (double)report->labels : (double)NAN);
    metrics_set(metrics, METRIC_LABELS_FACTOR, NULL, NULL,
                supported ? account->labels.mid / (double)report->labels : (double)NAN);
    metrics_set(metrics, METRIC_GAP_BRACKET, "low", NULL, account->gap.low);
    metrics_set(metrics, METRIC_GAP_BRACKET, "high", NULL, account->gap.high);
    metrics_set(metrics, METRIC_ACCOUNTING_SUPPORTED, NULL, NULL, supported);
    log_write(LOG_LEVEL_INFO, "accounting",
              "computed\tlabels=%" PRId64 " uniform=%.4g low=%.4g high=%.4g supported=%s "
              "seconds=%.3g",
              report->labels, account->labels.mid, account->labels.low, account->labels.high,
              supported ? "yes" : "no", report->seconds);
}

/* ---- what it is ---- */

static bool take(void *context, const struct engine *engine, void *snapshot, struct error *error)
{
    const struct accounting *accounting = context;
    return engine_accounting(engine, accounting->bytes, snapshot, error);
}

static bool solve(void *context, void *opaque, const atomic_bool *stop, void *outcome,
                  struct error *error)
{
    struct accounting_snapshot *snapshot = opaque;
    struct accounting_report *report = outcome;
    int64_t started = clock_monotonic_ms();
    *report = (struct accounting_report){.time = snapshot->time,
                                         .labels = snapshot->selected,
                                         .control = snapshot->control,
                                         .fit_id = snapshot->fit_id,
                                         .slots = snapshot->slots,
                                         .since = snapshot->since,
                                         .shadows = snapshot->shadows,
                                         .pools = snapshot->pools,
                                         .predicted = snapshot->predicted,
                                         .loss = snapshot->loss,
                                         .surprise = snapshot->surprise};
    memcpy(report->rivals, snapshot->rival_names, sizeof report->rivals);
    memcpy(report->rival_pairs, snapshot->rival_held, sizeof report->rival_pairs);
    if (!account(snapshot, stop, &report->account, error))
        return false;
    report->seconds = (double)(clock_monotonic_ms() - started) / 1000;
    report->space = snapshot->space;
    snapshot->space = NULL;
    publish(context, report);
    return true;
}

static void drop(void *snapshot)
{
    accounting_snapshot_free(snapshot);
}

static void discard(void *outcome)
{
    struct accounting_report *report = outcome;
    free(report->space);
}

static void copy(void *report, const void *outcome)
{
    struct accounting_report *copied = report;
    memcpy(copied, outcome, sizeof *copied);
    copied->space = NULL;
}

/* ---- its life ---- */

struct accounting *accounting_new(const struct options *options, size_t bytes,
                                  struct metrics *metrics, struct error *error)
{
    static const struct background_kind KIND = {.name = "accounting",
                                                .snapshot_size = sizeof(struct accounting_snapshot),
                                                .outcome_size = sizeof(struct accounting_report),
                                                .take = take,
                                                .solve = solve,
                                                .drop = drop,
                                                .discard = discard,
                                                .tell = tell};
    struct accounting *accounting = calloc(1, sizeof *accounting);
    if (accounting == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for accounting");
        return NULL;
    }
    accounting->metrics = metrics;
    accounting->bytes = bytes;
    metrics_set(metrics, METRIC_LABELS_FACTOR, NULL, NULL, (double)NAN);
    accounting->background = background_new(&KIND, accounting, options->accounting_interval, error);
    if (accounting->background != NULL)
        return accounting;
    free(accounting);
    return NULL;
}

void accounting_free(struct accounting *accounting)
{
    if (accounting == NULL)
        return;
    background_free(accounting->background);
    free(accounting);
}

void accounting_tick(struct accounting *accounting, const struct engine *engine)
{
    background_tick(accounting->background, engine);
}

int accounting_answer(struct accounting *accounting, char **body)
{
    return background_answer(accounting->background, body);
}

void accounting_settle(struct accounting *accounting)
{
    background_settle(accounting->background);
}

bool accounting_wait(struct accounting *accounting, int64_t timeout,
                     struct accounting_report *report)
{
    return background_wait(accounting->background, timeout, copy, report);
}
