#include "memory.h"

#include "engine/accounting.h"
#include "engine/certificate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

static size_t at_most(size_t value, size_t most)
{
    return value < most ? value : most;
}

static struct selection_options selection_options(const struct options *options)
{
    struct selection_options selection = {
        .rule = options->rule,
        .weighting = options->selection_weights,
        .when = options->selection_when,
        .draw = options->selection_draw,
        .sharpness = options->selection_sharpness,
        .epsilon = options->selection_epsilon,
        .prompts = options->selection_prompts,
        .prompt_share = options->selection_prompt_share,
        .shortlist = options->selection_shortlist,
        .domain_quota = options->selection_domain_quota,
        .per_cost = options->selection_per_cost,
        .price_share = options->selection_price_share,
        .price_rate = options->selection_price_rate,
        .candidates = options->selection_candidates,
        .list = options->selection_list,
        .batch = options->selection_batch,
    };
    memcpy(selection.parameters, options->rule_parameters, sizeof selection.parameters);
    return selection;
}

struct engine_options memory_engine_options(const struct options *options,
                                            const struct memory_plan *plan)
{
    return (struct engine_options){
        .topics = {options->topics_completions, options->topics_labels},
        .features_dimension = options->features_dimension,
        .features_space = options->features_space,
        .features_scale = options->features_scale,
        .features_scale_pools = options->features_scale_pools,
        .features_groups = options->groups,
        .limits_record = options->limits_record,
        .limits_dimension = options->limits_dimension,
        .limits_text = options->limits_text,
        .limits_clock_ahead = options->limits_clock_ahead,
        .pool_size = options->pool_size,
        .pool_min = options->pool_min,
        .pool_max = options->pool_max,
        .pool_wait = options->pool_wait,
        .pool_age = options->pool_age,
        .pool_picks = options->pool_picks,
        .pool_near = options->pool_near,
        .pool_drop_near = options->pool_drop_near,
        .policy_beta = options->policy_beta,
        .policy_sampling = options->policy_sampling,
        .policy_window = options->policy_window,
        .moments_interval = options->moments_interval,
        .moments_fade = options->moments_gamma < 1,
        .moments_gamma = options->moments_gamma,
        .labels_versions = options->labels_versions,
        .labels_gamma = options->labels_gamma,
        .labels_window = options->labels_window,
        .labels_max = options->labels_max,
        .labels_deadline = options->labels_deadline,
        .labels_late = options->labels_late,
        .labels_attempts = options->labels_attempts,
        .labels_replicas = options->labels_replicas,
        .labels_replicate = options->labels_replicate,
        .labels_both_bad = options->labels_both_bad,
        .labels_skips = options->labels_skips,
        .labels_lapse = options->labels_lapse,
        .labels_by_annotator = options->labels_by_annotator,
        .labels_ties = options->labels_ties,
        .labels_probes = options->labels_probes,
        .fit_every = options->fit_every,
        .fit_lambda = options->fit_lambda,
        .fit_lambda_max = options->fit_lambda_max,
        .selection = selection_options(options),
        .control_share = options->control_share,
        .budget_per_second = options->budget_per_second,
        .budget_burst = options->budget_burst,
        .budget_in_flight = options->budget_in_flight,
        .budget_limits = options->budget_limits,
        .seed = options->seed,
        .pools_bytes = plan->pools_bytes,
        .window_bytes = plan->window_bytes,
        .model_bytes = plan->model_bytes,
        .waiting_max = plan->waiting_max,
        .waiting_bytes = plan->waiting_bytes,
        .accounting_bytes = accounting_shadow_bytes(plan->accounting_bytes),
        .accounting_rule = options->rival,
    };
}

/* Labels that may be asked for within a time, beyond what gathers before; 0: no budget is given.
 * With costs it is as if each were 1. */
static double most_within(const struct options *options, int64_t time)
{
    double most = INFINITY, hours = ceil((double)time / 3600000);
    if (options->budget_per_second > 0)
        most = options->budget_per_second * (double)time / 1000;
    if (options->budget_per_hour > 0)
        most = fmin(most, options->budget_per_hour * hours);
    if (options->budget_per_day > 0)
        most = fmin(most, options->budget_per_day * ceil(hours / 24));
    return isinf(most) ? 0 : most;
}

/* And at once. */
static size_t most_at_once(const struct options *options)
{
    double most = (double)options->budget_in_flight;
    if (options->budget_unit == UNIT_COST)
        return (size_t)most;
    if (options->budget_per_second > 0)
        return (size_t)fmin(most, (double)options->budget_burst);
    return (size_t)fmin(most, fmax(1, most_within(options, 1)));
}

/* Requests that the window may hold: those that count, those that the fit has not seen, those that
 * are forgotten in bulk only, and those under way. Open pools remember what was asked of them; of
 * that labels.max more are planned for, and a full window stops the picks. */
static int64_t window_requests(const struct options *options)
{
    int64_t most = options->labels_max;
    int64_t kept = engine_labels_kept(&(struct engine_options){.labels_max = options->labels_max,
                                                               .fit_every = options->fit_every});
    double recent = most_within(options, options->pool_age);
    double more = recent - (double)kept;
    return kept + options->budget_in_flight +
           (more <= 0             ? 0
            : more < (double)most ? (int64_t)more
                                  : most);
}

/* What a tick adds to a batch: as many pairs as slots may have gathered, with their entries, and
 * the moments of each partition. */
static size_t tick_bytes(const struct options *options, size_t d)
{
    enum { ROOM = 4096 }; /* ids, reason, headers and the like of a pair and its entry */
    size_t partitions = (size_t)options->topics_partitions;
    size_t pair = at_most(3 * options->limits_text + ROOM, options->limits_record);
    return (most_at_once(options) + partitions) * (pair + d * sizeof(float) + ROOM) +
           partitions * engine_moments_bytes(d);
}

/* A few labels as large as can be fit into the half that a pause leaves free. */
static size_t waiting_bytes(const struct options *options)
{
    size_t share = at_most(options->memory_limit / 32, 64 * MIB);
    size_t least = 4 * (options->limits_record + 128 * KIB);
    return share < least ? least : share;
}

/* Everything but the pools, for spaces of `d` features. Returns the sum. */
static size_t divide(const struct options *options, size_t d, struct memory_plan *plan)
{
    const size_t limit = options->memory_limit;
    *plan = (struct memory_plan){.dimension = d,
                                 .consumer_bytes = at_most(limit / 8, 64 * MIB),
                                 .follower_bytes = at_most(limit / 16, 16 * MIB),
                                 .producer_bytes = at_most(limit / 8, 64 * MIB),
                                 .batch_bytes = at_most(limit / 16, 32 * MIB),
                                 .waiting_bytes = waiting_bytes(options),
                                 .waiting_max = MEMORY_LABELS_WAITING,
                                 .requests = window_requests(options)};
    const struct engine_options engine = memory_engine_options(options, plan);
    plan->tick_bytes = 2 * tick_bytes(options, d);
    plan->model_bytes = engine_fixed_bytes(&engine, d);
    plan->panes_bytes = (size_t)options->topics_partitions * engine_pane_bytes(d) +
                        4 * engine_moments_bytes(d); /* being written, and read of the ledger */
    /* A sixteenth more: slabs are never quite full, and picks stop before the window is. */
    size_t request = engine_request_bytes(d) + engine_listed_bytes(&engine);
    plan->window_bytes = (size_t)plan->requests * request / 16 * 17 + 2 * MIB;
    plan->fit_bytes = (size_t)plan->requests * engine_fit_bytes();
    return plan->consumer_bytes + plan->follower_bytes + plan->producer_bytes + plan->batch_bytes +
           plan->tick_bytes + plan->model_bytes + plan->panes_bytes + plan->waiting_bytes +
           plan->window_bytes + plan->fit_bytes;
}

/* A start never fails for the sake of certificates: they take an eighth of what is spare, and what
 * the space at hand leaves of the model's plan, and work on less or say that there is no room. */
static size_t certificate_share(const struct options *options, size_t d, size_t spare)
{
    return at_most(certificate_bytes(d, options->certificate_candidates), spare / 8);
}

/* Whatever one record becomes can be sent. */
static bool check_record(const struct options *options, const struct memory_plan *plan,
                         struct error *error)
{
    enum { EXTRA = 64 * 1024 }; /* headers, and what a dead letter adds */
    size_t record = options->limits_record;
    if (record + EXTRA > plan->producer_bytes)
        return error_set(
            error, ERROR_FATAL,
            "limits.record: %zu KiB + %d KiB = %zu KiB do not fit into the producer queue of %zu "
            "KiB (an eighth of memory.limit = %zu MiB, at most 64 MiB); lower limits.record or "
            "raise memory.limit",
            record / KIB, EXTRA / KIB, (record + EXTRA) / KIB, plan->producer_bytes / KIB,
            options->memory_limit / MIB);
    return true;
}

bool memory_plan(const struct options *options, struct memory_plan *plan, struct error *error)
{
    /* Room for this many full pools is the least that makes sense. */
    enum { POOLS_LEAST = 8 };
    const size_t limit = options->memory_limit;
    size_t d = options->features_dimension;
    bool given = d > 0;
    size_t sum, least;
    if (!given)
        d = at_most(options->limits_dimension, MEMORY_DIMENSION);
    while (true) {
        sum = divide(options, d, plan);
        least = POOLS_LEAST * options->pool_max * (d * sizeof(float) + options->limits_text);
        if (given || sum + least <= limit || d < 32)
            break;
        d -= d / 16;
    }
    if (!check_record(options, plan, error))
        return false;
    if (sum + least <= limit) {
        plan->certificate_bytes = certificate_share(options, d, limit - sum - least);
        plan->accounting_bytes = at_most(options->accounting_memory, (limit - sum - least) / 8);
        plan->pools_bytes = limit - sum - plan->certificate_bytes - plan->accounting_bytes;
        return true;
    }
    return error_set(
        error, ERROR_FATAL,
        "memory.limit: %zu MiB cannot hold %zu features: consumer queue %zu + ledger queue %zu + "
        "producer queue %zu + batches %zu + model %zu + moments of %lld partitions %zu + waiting "
        "labels %zu + window of %lld labels %zu + %d pools %zu = %zu MiB; raise memory.limit or "
        "lower labels.max, pool.max, limits.text or features.dimension",
        limit / MIB, d, plan->consumer_bytes / MIB, plan->follower_bytes / MIB,
        plan->producer_bytes / MIB, (plan->batch_bytes + plan->tick_bytes) / MIB,
        plan->model_bytes / MIB, (long long)options->topics_partitions, plan->panes_bytes / MIB,
        plan->waiting_bytes / MIB, (long long)plan->requests,
        (plan->window_bytes + plan->fit_bytes) / MIB, POOLS_LEAST, least / MIB,
        (sum + least) / MIB);
}
