#include "memory.h"

#include <stdio.h>

enum { MIB = 1024 * 1024 };

static size_t at_most(size_t value, size_t most)
{
    return value < most ? value : most;
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
        .policy_beta = options->policy_beta,
        .policy_sampling = options->policy_sampling,
        .policy_window = options->policy_window,
        .moments_interval = options->moments_interval,
        .labels_window = options->labels_window,
        .labels_max = options->labels_max,
        .labels_deadline = options->labels_deadline,
        .labels_late = options->labels_late,
        .fit_every = options->fit_every,
        .fit_lambda = options->fit_lambda,
        .fit_lambda_max = options->fit_lambda_max,
        .rule = sel_rule_find(options->selection_rule),
        .weighting = options->selection_weights,
        .control_share = options->control_share,
        .budget_per_second = options->budget_per_second,
        .budget_burst = options->budget_burst,
        .budget_in_flight = options->budget_in_flight,
        .seed = options->seed,
        .pools_bytes = plan->pools_bytes,
        .window_bytes = plan->window_bytes,
        .waiting_max = MEMORY_LABELS_WAITING,
    };
}

bool memory_plan(const struct options *options, struct memory_plan *plan, struct error *error)
{
    const size_t limit = options->memory_limit;
    /* Room for this many full pools is the least that makes sense. */
    enum { POOLS_LEAST = 8 };
    size_t d = options->features_dimension;
    if (d == 0)
        d = at_most(options->limits_dimension, MEMORY_DIMENSION);
    *plan = (struct memory_plan){.dimension = d,
                                 .consumer_bytes = at_most(limit / 8, 64 * MIB),
                                 .follower_bytes = at_most(limit / 16, 16 * MIB),
                                 .producer_bytes = at_most(limit / 8, 64 * MIB),
                                 .batch_bytes = at_most(limit / 16, 32 * MIB)};
    const struct engine_options engine = memory_engine_options(options, plan);
    plan->model_bytes = engine_fixed_bytes(&engine, d);
    /* A sixteenth more: slabs are never quite full. */
    size_t requests = (size_t)options->labels_max + (size_t)options->budget_in_flight;
    plan->window_bytes = requests * engine_request_bytes(d) / 16 * 17 + 2 * MIB;
    size_t sum = plan->consumer_bytes + plan->follower_bytes + plan->producer_bytes +
                 plan->batch_bytes + plan->model_bytes + plan->window_bytes;
    size_t least = POOLS_LEAST * options->pool_max * (d * sizeof(float) + options->limits_text);
    if (sum + least <= limit) {
        plan->pools_bytes = limit - sum;
        return true;
    }
    return error_set(
        error, ERROR_FATAL,
        "memory.limit: %zu MiB cannot hold %zu features: consumer queue %zu + ledger queue %zu + "
        "producer queue %zu + batches %zu + model %zu + window of %lld labels %zu + at least %d "
        "pools %zu = %zu MiB; raise memory.limit or lower labels.max, pool.max, limits.text or "
        "features.dimension",
        limit / MIB, d, plan->consumer_bytes / MIB, plan->follower_bytes / MIB,
        plan->producer_bytes / MIB, plan->batch_bytes / MIB, plan->model_bytes / MIB,
        (long long)options->labels_max, plan->window_bytes / MIB, POOLS_LEAST, least / MIB,
        (sum + least) / MIB);
}
