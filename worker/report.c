/* What the session tells: figures for /metrics, reasons for /ready. */
#include "annotators_report.h"
#include "clock.h"
#include "engine/groups.h"
#include "log.h"
#include "session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { REPORT_INTERVAL = 500 };

static const char *const ARMS[] = {"selected", "control", "probe"};
static const char *const OUTCOMES[] = {"left", "right",   "tie",        "both_bad",
                                       "skip", "invalid", "probability"};
static const char *const KINDS[] = {"selected", "labelled", "expired", "withdrawn",
                                    "moments",  "fit",      "price",   "space"};
static const char *const ENDS[] = {"age", "picks", "passed", "memory", "space", "lost"};

void report_batch(struct session *session, const struct batch *batch, double seconds)
{
    metrics_add(session->metrics, METRIC_COMMITS, NULL, NULL, 1);
    metrics_observe(session->metrics, METRIC_COMMIT_SECONDS, seconds);
    for (size_t k = 0; k < batch->effect_count; k++) {
        const struct effect *effect = &batch->effects[k];
        for (size_t header = 0; header < effect->header_count; header++) {
            char stage[32];
            if (strcmp(effect->headers[header].name, "infopair.stage") != 0)
                continue;
            snprintf(stage, sizeof stage, "%.*s", (int)effect->headers[header].value.size,
                     effect->headers[header].value.data);
            metrics_add(session->metrics, METRIC_DEAD_LETTERS, stage, NULL, 1);
        }
    }
}

static void set_counts(struct session *session, const struct engine_stats *stats)
{
    const struct {
        enum metric metric;
        double value;
    } rows[] = {{METRIC_COMPLETIONS, (double)stats->completions},
                {METRIC_COMPLETIONS_REREAD, (double)stats->completions_reread},
                {METRIC_COMPLETIONS_DUPLICATE, (double)stats->completions_duplicate},
                {METRIC_COMPLETIONS_NEAR, (double)stats->completions_near},
                {METRIC_COMPLETIONS_UNPAIRED, (double)stats->completions_dropped},
                {METRIC_COMPLETIONS_HELD, (double)stats->completions_held},
                {METRIC_PROMPTS_SPLIT, (double)stats->prompts_split},
                {METRIC_TEXTS_CUT, (double)stats->texts_cut},
                {METRIC_CLOCK_AHEAD, (double)stats->clock_ahead},
                {METRIC_POOLS_OPEN, (double)stats->pools_open},
                {METRIC_POOLS_READY, (double)stats->pools_ready},
                {METRIC_SAMPLING_TEMPERED, (double)stats->sampling_tempered},
                {METRIC_PAIRS_TOO_LARGE, (double)stats->pairs_too_large},
                {METRIC_REQUESTS_IN_FLIGHT, (double)stats->requests_open},
                {METRIC_REQUESTS_EXPIRED, (double)stats->expired},
                {METRIC_REQUESTS_ASKED_AGAIN, (double)stats->asked_again},
                {METRIC_REQUESTS_REPLICAS, (double)stats->replicas},
                {METRIC_LABELS_IGNORED, (double)stats->labels_ignored},
                {METRIC_LABELS_REPEATED, (double)stats->labels_repeated},
                {METRIC_LABELS_DUPLICATE, (double)stats->labels_duplicate},
                {METRIC_LABELS_CARRIED, (double)stats->labels_carried},
                {METRIC_LABELS_WAITING, (double)stats->labels_waiting},
                {METRIC_ABORTED_OR_UNKNOWN, (double)stats->dead_letters_unknown},
                {METRIC_LEDGER_FOREIGN, (double)stats->foreign_entries},
                {METRIC_LEDGER_REFUSED, (double)stats->entries_refused},
                {METRIC_LEDGER_BEHIND, (double)follower_behind(session)},
                {METRIC_FIT_ID, (double)stats->fit_id},
                {METRIC_FIT_LABELS, (double)stats->labels_counted},
                {METRIC_INFORMATION_PAIRS, (double)(stats->labels_counted + stats->requests_open)},
                {METRIC_POLICY_POOLS, (double)stats->moments_pools},
                {METRIC_POLICY_POOLS_EFFECTIVE, stats->moments_pools_effective},
                {METRIC_POLICY_COMPLETIONS_EFFECTIVE, stats->moments_completions},
                {METRIC_POLICY_TRACE, stats->policy_trace},
                {METRIC_GAP_ESTIMATE, stats->gap_estimate},
                {METRIC_LABEL_LOSS, stats->label_loss},
                {METRIC_LABEL_SURPRISE, stats->label_surprise},
                {METRIC_LAPSE_RATE, stats->lapse},
                {METRIC_RETURN_RATE, stats->return_rate},
                {METRIC_LEFT_BIAS, stats->left_bias},
                {METRIC_MEMORY_LIMIT, (double)session->options->memory_limit}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
        metrics_set(session->metrics, rows[k].metric, NULL, NULL, rows[k].value);
}

/* Completions of one prompt in two partitions make two pools, which are never compared. */
static void warn_of_split(struct session *session, int64_t split)
{
    if (split == session->split_told)
        return;
    log_write(LOG_LEVEL_WARN, "pools",
              "prompts come in several partitions; key completions by prompt_id\tprompts=%lld",
              (long long)split);
    session->split_told = split;
}

/* Another feature space is in force: what was open of the one before is closed. */
static void tell_space(struct session *session, const struct engine_stats *stats)
{
    const struct engine_view view = engine_view(session->engine);
    if (view.space == NULL || strcmp(view.space, session->space) == 0)
        return;
    log_write(LOG_LEVEL_INFO, "space", "in force\tspace=%s dimension=%zu pools_closed=%lld",
              view.space, view.dimension,
              (long long)(stats->pools_closed[POOL_SPACE] - session->space_closed));
    snprintf(session->space, sizeof session->space, "%s", view.space);
    session->space_closed = stats->pools_closed[POOL_SPACE];
}

static void set_groups(struct session *session, const struct engine_stats *stats)
{
    struct metrics *metrics = session->metrics;
    for (size_t k = 0; k < 3; k++)
        metrics_set(metrics, METRIC_PAIRS, ARMS[k], NULL, (double)stats->pairs[k]);
    for (size_t k = 0; k < 7; k++)
        metrics_set(metrics, METRIC_LABELS, OUTCOMES[k], NULL, (double)stats->outcomes[k]);
    for (size_t k = 0; k < 8; k++)
        metrics_set(metrics, METRIC_LEDGER_ENTRIES, KINDS[k], NULL, (double)stats->entries[k]);
    for (size_t k = 0; k < POOL_ENDS; k++)
        metrics_set(metrics, METRIC_POOLS_CLOSED, ENDS[k], NULL, (double)stats->pools_closed[k]);
    const struct engine_view view = engine_view(session->engine);
    for (size_t k = 0; k < view.groups; k++) {
        char name[GROUP_NAME_MAX + 1];
        metrics_set(metrics, METRIC_LAMBDA, engine_group_name(session->engine, k, name), NULL,
                    view.lambdas[k]);
    }
    const struct memory_plan *plan = session->plan;
    metrics_set(metrics, METRIC_MEMORY, "pools", NULL, (double)stats->pools_bytes);
    metrics_set(metrics, METRIC_MEMORY, "window", NULL, (double)stats->window_bytes);
    metrics_set(metrics, METRIC_MEMORY, "model", NULL, (double)plan->model_bytes);
    metrics_set(metrics, METRIC_MEMORY, "queues", NULL,
                (double)(plan->consumer_bytes + plan->follower_bytes + plan->producer_bytes));
}

/* Records behind the last stable offset, of each partition that is ours. */
static void set_lag(struct session *session)
{
    rd_kafka_topic_partition_list_t *all = NULL;
    if (rd_kafka_assignment(session->consumer, &all) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    rd_kafka_position(session->consumer, all);
    for (int k = 0; k < all->cnt; k++) {
        const rd_kafka_topic_partition_t *partition = &all->elems[k];
        int64_t low, high;
        char number[16];
        if (rd_kafka_get_watermark_offsets(session->consumer, partition->topic,
                                           partition->partition, &low,
                                           &high) != RD_KAFKA_RESP_ERR_NO_ERROR ||
            high < 0)
            continue;
        int64_t next = engine_next(session->engine, assignment_input(session, partition->topic),
                                   partition->partition);
        snprintf(number, sizeof number, "%d", partition->partition);
        metrics_set(session->metrics, METRIC_LAG, partition->topic, number,
                    next >= 0 && next < high ? (double)(high - next) : 0);
    }
    rd_kafka_topic_partition_list_destroy(all);
}

/* I rests on fewer effective pools than policy.pools_min; told once each time it begins. */
static bool few_pools(struct session *session, char *text, size_t size)
{
    const struct engine_stats *stats = engine_stats(session->engine);
    bool few = stats->moments_pools > 0 &&
               stats->moments_pools_effective < session->options->policy_pools_min;
    snprintf(text, size, "%.1f effective of %lld, policy.pools_min is %g",
             stats->moments_pools_effective, (long long)stats->moments_pools,
             session->options->policy_pools_min);
    if (few && !session->few_pools)
        log_write(LOG_LEVEL_WARN, "policy", "I rests on few pools: %s", text);
    session->few_pools = few;
    return few;
}

/* Lines that an operator should read though the worker is ready. */
static void set_notes(struct session *session)
{
    char notes[2048] = "", obstacle[sizeof session->obstacle] = "";
    char surprise[64], pools[128];
    size_t used = 0;
    const struct engine_stats *stats = engine_stats(session->engine);
    bool drift = stats->label_surprise > session_settings(session)->labels_surprise;
    snprintf(surprise, sizeof surprise, "by %.1f standard deviations", stats->label_surprise);
    if (drift && !session->drift)
        log_write(LOG_LEVEL_WARN, "labels", "the last labels contradict the fit %s", surprise);
    session->drift = drift;
    bool few = few_pools(session, pools, sizeof pools);
    engine_obstacle(session->engine, obstacle, sizeof obstacle);
    if (strcmp(obstacle, session->obstacle) != 0 && obstacle[0] != '\0')
        log_write(LOG_LEVEL_INFO, "selection", "nothing is asked for now: %s", obstacle);
    memcpy(session->obstacle, obstacle, sizeof obstacle);
    const struct {
        bool told;
        const char *what, *more;
    } lines[] = {
        {obstacle[0] != '\0', "note: nothing is asked for now: ", obstacle},
        {session->foreign[0] != '\0',
         "note: entries of the ledger were written under other values of ", session->foreign},
        {drift, "note: the last labels contradict the fit ", surprise},
        {few, "note: I rests on few pools: ", pools},
        {session->flooded, "note: reading pauses until the brokers take what was decided", ""},
    };
    for (size_t k = 0; k < sizeof lines / sizeof lines[0]; k++) {
        if (lines[k].told && used < sizeof notes)
            used += (size_t)snprintf(notes + used, sizeof notes - used, "%s%s\n", lines[k].what,
                                     lines[k].more);
    }
    http_set_notes(session->http, notes);
}

static void set_ready(struct session *session)
{
    char trouble[512];
    int64_t behind = engine_reread_left(session->engine);
    int64_t refused = engine_stats(session->engine)->entries_refused;
    if (session->brokers_down)
        session_not_ready(session, "no broker answers: kafka.brokers %s",
                          session->options->kafka_brokers);
    else if (commit_trouble(session, trouble, sizeof trouble))
        session_not_ready(session, "the last transaction was aborted: %s", trouble);
    else if (!session->joined)
        session_not_ready(session, "no partition is assigned yet");
    else if (session->takeover != TAKEOVER_NONE)
        return; /* it tells itself what it waits for */
    else if (behind > 0)
        session_not_ready(session, "restoring: %lld records of open pools are left to read again",
                          (long long)behind);
    else if (refused > 0 && !session->flags->accept_loss)
        session_not_ready(session,
                          "%lld ledger entries were refused, the last: %s; start with "
                          "--accept-loss to go on without them",
                          (long long)refused, engine_refusal(session->engine));
    else
        session_not_ready(session, NULL);
}

/* Annotators change with the fit only. Without memory they are told another time. */
static void tell_annotators(struct session *session)
{
    const struct engine_view view = engine_view(session->engine);
    if (view.fit_id == session->fit_told)
        return;
    char *text = view.fit_id == 0 ? NULL : annotators_text(&view);
    if (text == NULL && view.fit_id != 0)
        return;
    annotators_measure(&view, session->metrics);
    http_set_annotators(session->http, text);
    session->fit_told = view.fit_id;
}

void report(struct session *session)
{
    int64_t now = clock_monotonic_ms();
    if (now - session->reported_at < REPORT_INTERVAL)
        return;
    session->reported_at = now;
    const struct engine_stats *stats = engine_stats(session->engine);
    set_counts(session, stats);
    warn_of_split(session, stats->prompts_split);
    tell_space(session, stats);
    set_groups(session, stats);
    tell_annotators(session);
    set_lag(session);
    set_ready(session);
    set_notes(session);
    metrics_set(session->metrics, METRIC_BUDGET_LEVEL, NULL, NULL,
                engine_budget_level(session->engine));
}
