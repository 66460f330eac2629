/* The registry and the text format (https://prometheus.io/docs/instrumenting/exposition_formats).
 *
 * Series hang on their row in a list, in the order of their first use: there are few of each row,
 * and the HTTP thread walks all of them anyway. */
#include "metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

struct row {
    const char *name;
    enum metric_type type;
    const char *labels[2]; /* names; NULL: none */
    const char *help;
};

static const struct row ROWS[METRICS] = {
    [METRIC_BUILD_INFO] = {"infopair_build_info", GAUGE, {"version"}, "Always 1."},
    [METRIC_READY] = {"infopair_ready", GAUGE, {NULL}, "1 when /ready answers 200."},
    [METRIC_RESTORE_PROGRESS] = {"infopair_restore_progress",
                                 GAUGE,
                                 {NULL},
                                 "Share of the ledger and of the open pools that was read again "
                                 "after the start."},
    [METRIC_COMPLETIONS] = {"infopair_completions_total",
                            COUNTER,
                            {NULL},
                            "Completions that entered a pool."},
    [METRIC_COMPLETIONS_REREAD] = {"infopair_completions_reread_total",
                                   COUNTER,
                                   {NULL},
                                   "Completions read once more to fill open pools after a start."},
    [METRIC_COMPLETIONS_NEAR] = {"infopair_completions_near_duplicate_total",
                                 COUNTER,
                                 {NULL},
                                 "Completions with the text of another one of their pool, or "
                                 "features within pool.near of it."},
    [METRIC_COMPLETIONS_DUPLICATE] = {"infopair_completions_duplicate_total",
                                      COUNTER,
                                      {NULL},
                                      "Completions whose id the pool already held."},
    [METRIC_COMPLETIONS_UNPAIRED] = {"infopair_completions_unpaired_total",
                                     COUNTER,
                                     {NULL},
                                     "Completions dropped from a pool because of pool.max."},
    [METRIC_COMPLETIONS_HELD] = {"infopair_completions_held",
                                 GAUGE,
                                 {NULL},
                                 "Completions in open pools."},
    [METRIC_PROMPTS_SPLIT] = {"infopair_prompts_split_total",
                              COUNTER,
                              {NULL},
                              "Prompts seen in two partitions: key completions by prompt_id."},
    [METRIC_TEXTS_CUT] = {"infopair_texts_cut_total",
                          COUNTER,
                          {NULL},
                          "Texts cut to limits.text in published pairs."},
    [METRIC_CLOCK_AHEAD] = {"infopair_clock_ahead_total",
                            COUNTER,
                            {NULL},
                            "Records dated beyond limits.clock_ahead, and labels that say "
                            "they were given then."},
    [METRIC_POOLS_OPEN] = {"infopair_pools_open", GAUGE, {NULL}, "Open pools."},
    [METRIC_POOLS_READY] = {"infopair_pools_ready",
                            GAUGE,
                            {NULL},
                            "Open pools from which pairs may be picked."},
    [METRIC_POOLS_CLOSED] = {"infopair_pools_closed_total",
                             COUNTER,
                             {"reason"},
                             "Pools closed, by reason."},
    [METRIC_SAMPLING_TEMPERED] = {"infopair_sampling_tempered_total",
                                  COUNTER,
                                  {NULL},
                                  "Pools whose weights were flattened to keep the effective sample "
                                  "size above its floor."},
    [METRIC_PAIRS] = {"infopair_pairs_total", COUNTER, {"arm"}, "Pairs published, by arm."},
    [METRIC_PAIRS_TOO_LARGE] = {"infopair_pairs_too_large_total",
                                COUNTER,
                                {NULL},
                                "Pairs not asked because their record would be too large."},
    [METRIC_REQUESTS_IN_FLIGHT] = {"infopair_requests_in_flight",
                                   GAUGE,
                                   {NULL},
                                   "Requests that wait for their label."},
    [METRIC_REQUESTS_ASKED_AGAIN] = {"infopair_requests_asked_again_total",
                                     COUNTER,
                                     {NULL},
                                     "Pairs published because an earlier request for the same "
                                     "answer was not answered."},
    [METRIC_REQUESTS_REPLICAS] = {"infopair_requests_replicas_total",
                                  COUNTER,
                                  {NULL},
                                  "Pairs published for a further answer to a pair "
                                  "(labels.replicas)."},
    [METRIC_LABELS_IGNORED] = {"infopair_labels_ignored_total",
                               COUNTER,
                               {NULL},
                               "Answers both_bad that carry no information (labels.both_bad)."},
    [METRIC_LABELS_REPEATED] = {"infopair_labels_repeated_total",
                                COUNTER,
                                {NULL},
                                "Labels refused because their annotator has answered another "
                                "replica of the pair."},
    [METRIC_REQUESTS_EXPIRED] = {"infopair_requests_expired_total",
                                 COUNTER,
                                 {NULL},
                                 "Requests without an answer at their deadline."},
    [METRIC_BUDGET_LEVEL] = {"infopair_budget_level",
                             GAUGE,
                             {NULL},
                             "Label slots that are open, over the partitions of this worker."},
    [METRIC_LABELS] = {"infopair_labels_total",
                       COUNTER,
                       {"outcome"},
                       "Labels accepted, by outcome."},
    [METRIC_LABELS_DUPLICATE] = {"infopair_labels_duplicate_total",
                                 COUNTER,
                                 {NULL},
                                 "Labels whose id or request was answered before."},
    [METRIC_LABELS_CARRIED] = {"infopair_labels_carried_total",
                               COUNTER,
                               {NULL},
                               "Labels of another feature space that were carried over."},
    [METRIC_LABELS_WAITING] = {"infopair_labels_waiting",
                               GAUGE,
                               {NULL},
                               "Labels that wait for their pair to appear in the ledger."},
    [METRIC_ABORTED_OR_UNKNOWN] = {"infopair_aborted_or_unknown_total",
                                   COUNTER,
                                   {NULL},
                                   "Labels of requests that were never committed: read pairs with "
                                   "isolation.level=read_committed."},
    [METRIC_DEAD_LETTERS] = {"infopair_dead_letters_total",
                             COUNTER,
                             {"stage"},
                             "Records that could not be used, by the stage that failed."},
    [METRIC_LEDGER_ENTRIES] = {"infopair_ledger_entries_total",
                               COUNTER,
                               {"kind"},
                               "Ledger entries written, by kind."},
    [METRIC_LEDGER_FOREIGN] = {"infopair_ledger_foreign_entries_total",
                               COUNTER,
                               {NULL},
                               "Entries read that were written under other shared options."},
    [METRIC_LEDGER_REFUSED] = {"infopair_ledger_refused_entries_total",
                               COUNTER,
                               {NULL},
                               "Entries read that contradict themselves."},
    [METRIC_LEDGER_BEHIND] = {"infopair_ledger_behind",
                              GAUGE,
                              {NULL},
                              "Ledger records below the high watermark that were not read yet."},
    [METRIC_LEDGER_AGE] = {"infopair_ledger_age_seconds",
                           HISTOGRAM,
                           {NULL},
                           "Age of other workers' ledger entries when they were read: from the "
                           "decision to its arrival here."},
    [METRIC_LEDGER_WHOLE_SECONDS] = {"infopair_ledger_whole_seconds",
                                     GAUGE,
                                     {NULL},
                                     "How far back the ledger is whole; +Inf while nothing of it "
                                     "was deleted."},
    [METRIC_RECORDS_LOST] = {"infopair_records_lost_total",
                             COUNTER,
                             {"topic"},
                             "Records deleted before they were read, accepted by --accept-loss."},
    [METRIC_POOLS_INCOMPLETE] = {"infopair_pools_incomplete_records_total",
                                 COUNTER,
                                 {NULL},
                                 "Records of open pools that were deleted before a restart could "
                                 "read them again."},
    [METRIC_LEDGER_HELD_SECONDS] = {"infopair_ledger_held_seconds",
                                    GAUGE,
                                    {NULL},
                                    "How long an open transaction has held back the ledger's "
                                    "readers."},
    [METRIC_LAG] = {"infopair_lag",
                    GAUGE,
                    {"topic", "partition"},
                    "Records between the worker's position and the last stable offset; 0 at rest."},
    [METRIC_COMMITS] = {"infopair_commits_total", COUNTER, {NULL}, "Transactions committed."},
    [METRIC_COMMIT_SECONDS] = {"infopair_commit_seconds",
                               HISTOGRAM,
                               {NULL},
                               "Time from closing a batch to its confirmed commit."},
    [METRIC_ABORTS] = {"infopair_aborts_total", COUNTER, {NULL}, "Transactions aborted."},
    [METRIC_FIT_ID] = {"infopair_fit_id", GAUGE, {NULL}, "The fit in force; 0 before the first."},
    [METRIC_FIT_LABELS] = {"infopair_fit_labels", GAUGE, {NULL}, "Labels counted in the fit."},
    [METRIC_LAMBDA] = {"infopair_lambda",
                       GAUGE,
                       {"group"},
                       "Penalty of the fit in force, by group of features; without groups all."},
    [METRIC_INFORMATION_PAIRS] = {"infopair_information_pairs",
                                  GAUGE,
                                  {NULL},
                                  "Pairs in Sigma, labelled and pending."},
    [METRIC_POLICY_POOLS] = {"infopair_policy_pools",
                             GAUGE,
                             {NULL},
                             "Pools behind the policy information."},
    [METRIC_POLICY_POOLS_EFFECTIVE] =
        {"infopair_policy_pools_effective",
         GAUGE,
         {NULL},
         "Pools of equal weight that would be as good: (sum of weights)^2 / sum of their squares."},
    [METRIC_POLICY_COMPLETIONS_EFFECTIVE] =
        {"infopair_policy_completions_effective",
         GAUGE,
         {NULL},
         "Effective completions of a pool behind the policy information, 1 / sum of squared policy "
         "weights, on average."},
    [METRIC_POLICY_TRACE] = {"infopair_policy_trace",
                             GAUGE,
                             {NULL},
                             "tr(I inverse(Sigma)): what the labels have not measured yet."},
    [METRIC_GAP_ESTIMATE] =
        {"infopair_gap_estimate",
         GAUGE,
         {NULL},
         "The policy trace over 2 beta: a self-estimate of the expected gap to the "
         "best policy."},
    [METRIC_LABEL_LOSS] = {"infopair_label_loss",
                           GAUGE,
                           {NULL},
                           "Log-loss in nats of the last 200 labels, as predicted before they "
                           "came."},
    [METRIC_LABEL_SURPRISE] =
        {"infopair_label_surprise",
         GAUGE,
         {NULL},
         "By how many standard deviations that is above what the fit expects: "
         "new labels contradict it."},
    [METRIC_LAPSE_RATE] = {"infopair_lapse_rate",
                           GAUGE,
                           {NULL},
                           "Share of the answers that are coin flips, as the newest fit takes it."},
    [METRIC_RETURN_RATE] = {"infopair_return_rate",
                            GAUGE,
                            {NULL},
                            "Share of the requests that are answered."},
    [METRIC_LEFT_BIAS] = {"infopair_left_bias",
                          GAUGE,
                          {NULL},
                          "How much answers prefer the left side, in log-odds; sides are drawn at "
                          "random."},
    [METRIC_ANNOTATOR_LAPSE] = {"infopair_annotator_lapse",
                                GAUGE,
                                {"annotator"},
                                "Share of an annotator's answers that are coin flips, as the "
                                "newest fit takes it; of at most 50 with the most labels."},
    [METRIC_ANNOTATOR_LABELS] = {"infopair_annotator_labels",
                                 GAUGE,
                                 {"annotator"},
                                 "Labels of an annotator behind that."},
    [METRIC_ANNOTATOR_LEFT_BIAS] = {"infopair_annotator_left_bias",
                                    GAUGE,
                                    {"annotator"},
                                    "How much an annotator prefers the left side, in log-odds."},
    [METRIC_ANNOTATOR_AGREEMENT] = {"infopair_annotator_agreement",
                                    GAUGE,
                                    {"annotator"},
                                    "Share of an annotator's answers that agree with the fit of "
                                    "all others."},
    [METRIC_CERTIFICATE_EFFICIENCY] =
        {"infopair_certificate_efficiency",
         GAUGE,
         {NULL},
         "The best tr(I inverse(Sigma)) of as many labels from the pairs asked and those open now, "
         "over that of the pairs asked; NaN before the first certificate."},
    [METRIC_CERTIFICATE_EFFICIENCY_LEAST] = {"infopair_certificate_efficiency_least",
                                             GAUGE,
                                             {NULL},
                                             "Proven lower bound of that efficiency."},
    [METRIC_CERTIFICATE_LABELS] = {"infopair_certificate_labels",
                                   GAUGE,
                                   {NULL},
                                   "Asked pairs, answered or under way, that the certificate is "
                                   "of."},
    [METRIC_CERTIFICATE_TIMESTAMP] = {"infopair_certificate_timestamp_seconds",
                                      GAUGE,
                                      {NULL},
                                      "When the pairs of the certificate were taken, seconds since "
                                      "the epoch."},
    [METRIC_LABELS_SAVED] =
        {"infopair_labels_saved",
         GAUGE,
         {"bound"},
         "Uniform labels that would be as good as those of the selected arm, "
         "less these: middle and ends of a 90 % interval; NaN while the control "
         "arm does not support it."},
    [METRIC_LABELS_FACTOR] = {"infopair_labels_factor",
                              GAUGE,
                              {NULL},
                              "The same as a ratio, uniform labels for each of the selected arm."},
    [METRIC_GAP_BRACKET] = {"infopair_gap_bracket",
                            GAUGE,
                            {"bound"},
                            "Estimated gap of the policy to the best one: of I as small pools have "
                            "it, and corrected for their size."},
    [METRIC_ACCOUNTING_SUPPORTED] = {"infopair_accounting_supported",
                                     GAUGE,
                                     {NULL},
                                     "1 while control labels support infopair_labels_saved."},
    [METRIC_MEMORY] = {"infopair_memory_bytes", GAUGE, {"part"}, "Memory in use, by part."},
    [METRIC_MEMORY_LIMIT] = {"infopair_memory_limit_bytes", GAUGE, {NULL}, "memory.limit."},
};

/* Upper bounds of the buckets, in seconds; one more holds the rest. */
static const double BOUNDS[] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
enum { BUCKETS = sizeof BOUNDS / sizeof *BOUNDS + 1 };

enum { LABEL_SIZE = 256 }; /* more than the longest topic name */

struct series {
    struct series *next;
    char labels[2][LABEL_SIZE]; /* values */
    double value;               /* of a histogram: the sum */
    uint64_t buckets[BUCKETS];
};

struct metrics {
    pthread_mutex_t mutex;
    struct series *rows[METRICS];
};

static bool matches(const struct series *series, const char *first, const char *second)
{
    return strcmp(series->labels[0], first) == 0 && strcmp(series->labels[1], second) == 0;
}

/* The link that points to the series, or the end of the row's list. Label values are compared as
 * they are kept: cut to their size. */
static struct series **find(struct metrics *metrics, enum metric metric, const char *first,
                            const char *second)
{
    char cut[2][LABEL_SIZE];
    snprintf(cut[0], sizeof cut[0], "%s", first == NULL ? "" : first);
    snprintf(cut[1], sizeof cut[1], "%s", second == NULL ? "" : second);
    struct series **link = &metrics->rows[metric];
    while (*link != NULL && !matches(*link, cut[0], cut[1]))
        link = &(*link)->next;
    return link;
}

static struct series *find_or_make(struct metrics *metrics, enum metric metric, const char *first,
                                   const char *second)
{
    struct series **link = find(metrics, metric, first, second);
    if (*link != NULL)
        return *link;
    struct series *series = calloc(1, sizeof *series);
    if (series == NULL)
        return NULL;
    snprintf(series->labels[0], sizeof series->labels[0], "%s", first == NULL ? "" : first);
    snprintf(series->labels[1], sizeof series->labels[1], "%s", second == NULL ? "" : second);
    *link = series;
    return series;
}

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics == NULL)
        return NULL;
    pthread_mutex_init(&metrics->mutex, NULL);
    bool done = true;
    for (int metric = 0; metric < METRICS; metric++)
        if (ROWS[metric].labels[0] == NULL)
            done = find_or_make(metrics, (enum metric)metric, NULL, NULL) != NULL && done;
    if (done) {
        metrics_set(metrics, METRIC_BUILD_INFO, INFOPAIR_VERSION, NULL, 1);
        return metrics;
    }
    metrics_free(metrics);
    return NULL;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (int metric = 0; metric < METRICS; metric++)
        while (metrics->rows[metric] != NULL) {
            struct series *series = metrics->rows[metric];
            metrics->rows[metric] = series->next;
            free(series);
        }
    pthread_mutex_destroy(&metrics->mutex);
    free(metrics);
}

void metrics_set(struct metrics *metrics, enum metric metric, const char *first, const char *second,
                 double value)
{
    pthread_mutex_lock(&metrics->mutex);
    struct series *series = find_or_make(metrics, metric, first, second);
    if (series != NULL)
        series->value = value;
    pthread_mutex_unlock(&metrics->mutex);
}

void metrics_add(struct metrics *metrics, enum metric metric, const char *first, const char *second,
                 double value)
{
    pthread_mutex_lock(&metrics->mutex);
    struct series *series = find_or_make(metrics, metric, first, second);
    if (series != NULL)
        series->value += value;
    pthread_mutex_unlock(&metrics->mutex);
}

void metrics_observe(struct metrics *metrics, enum metric metric, double value)
{
    size_t bucket = 0;
    while (bucket < BUCKETS - 1 && value > BOUNDS[bucket])
        bucket++;
    pthread_mutex_lock(&metrics->mutex);
    struct series *series = find_or_make(metrics, metric, NULL, NULL);
    if (series != NULL) {
        series->value += value;
        series->buckets[bucket]++;
    }
    pthread_mutex_unlock(&metrics->mutex);
}

void metrics_remove(struct metrics *metrics, enum metric metric, const char *first,
                    const char *second)
{
    pthread_mutex_lock(&metrics->mutex);
    struct series **link = find(metrics, metric, first, second);
    struct series *series = *link;
    if (series != NULL)
        *link = series->next;
    pthread_mutex_unlock(&metrics->mutex);
    free(series);
}

void metrics_clear(struct metrics *metrics, enum metric metric)
{
    pthread_mutex_lock(&metrics->mutex);
    struct series *series = metrics->rows[metric];
    metrics->rows[metric] = NULL;
    pthread_mutex_unlock(&metrics->mutex);
    while (series != NULL) {
        struct series *next = series->next;
        free(series);
        series = next;
    }
}

double metrics_get(struct metrics *metrics, enum metric metric, const char *first,
                   const char *second)
{
    pthread_mutex_lock(&metrics->mutex);
    struct series *series = *find(metrics, metric, first, second);
    double value = series == NULL ? NAN : series->value;
    pthread_mutex_unlock(&metrics->mutex);
    return value;
}

static bool put(struct buffer *out, const char *text)
{
    return buffer_append(out, text, strlen(text));
}

/* The format spells infinities and NaN in its own way. */
static bool put_value(struct buffer *out, double value)
{
    if (isnan(value))
        return put(out, " NaN\n");
    if (isinf(value))
        return put(out, value > 0 ? " +Inf\n" : " -Inf\n");
    char text[40];
    snprintf(text, sizeof text, " %.17g\n", value);
    return put(out, text);
}

static bool put_label(struct buffer *out, const char *name, const char *value)
{
    bool done = put(out, name) && put(out, "=\"");
    for (const char *c = value; done && *c != '\0'; c++) {
        if (*c == '\n')
            done = put(out, "\\n");
        else if (*c == '"' || *c == '\\')
            done = put(out, "\\") && buffer_append(out, c, 1);
        else
            done = buffer_append(out, c, 1);
    }
    return done && put(out, "\"");
}

static bool put_series(struct buffer *out, const struct row *row, const struct series *series)
{
    bool done = put(out, row->name);
    for (int k = 0; done && k < 2 && row->labels[k] != NULL; k++)
        done = put(out, k == 0 ? "{" : ",") && put_label(out, row->labels[k], series->labels[k]);
    if (done && row->labels[0] != NULL)
        done = put(out, "}");
    return done && put_value(out, series->value);
}

static bool put_histogram(struct buffer *out, const struct row *row, const struct series *series)
{
    uint64_t count = 0;
    char text[160];
    for (size_t k = 0; k < BUCKETS; k++) {
        count += series->buckets[k];
        char bound[32] = "+Inf";
        if (k < BUCKETS - 1)
            snprintf(bound, sizeof bound, "%g", BOUNDS[k]);
        snprintf(text, sizeof text, "%s_bucket{le=\"%s\"} %llu\n", row->name, bound,
                 (unsigned long long)count);
        if (!put(out, text))
            return false;
    }
    snprintf(text, sizeof text, "%s_sum %.17g\n%s_count %llu\n", row->name, series->value,
             row->name, (unsigned long long)count);
    return put(out, text);
}

static bool put_row(struct buffer *out, const struct row *row, const struct series *series)
{
    static const char *const TYPES[] = {"counter", "gauge", "histogram"};
    if (series == NULL)
        return true;
    bool done = put(out, "# HELP ") && put(out, row->name) && put(out, " ") &&
                put(out, row->help) && put(out, "\n# TYPE ") && put(out, row->name) &&
                put(out, " ") && put(out, TYPES[row->type]) && put(out, "\n");
    for (; done && series != NULL; series = series->next)
        done =
            row->type == HISTOGRAM ? put_histogram(out, row, series) : put_series(out, row, series);
    return done;
}

bool metrics_render(struct metrics *metrics, struct buffer *out)
{
    pthread_mutex_lock(&metrics->mutex);
    bool done = true;
    for (int metric = 0; done && metric < METRICS; metric++)
        done = put_row(out, &ROWS[metric], metrics->rows[metric]);
    pthread_mutex_unlock(&metrics->mutex);
    return done;
}
