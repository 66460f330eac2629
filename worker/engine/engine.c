/* The engine: its life, its ticks and its batches. What an event means is in the files beside. */
#include "engine.h"

#include <stdlib.h>

#include "internal.h"
#include "replicas.h"

/* A transaction may hold this much; moments of 4,096 features for some dozen partitions fit. */
enum { BATCH_BYTES_MAX = 1 << 30 };

static bool usable(const struct engine_options *options, struct error *error)
{
    if (options->completions_partitions < 1 || options->ledger_partitions < 1)
        return error_set(error, ERROR_FATAL, "topics: partition counts are not known");
    if (options->pool_max < 2 || options->pool_min < 2 || options->pool_size < options->pool_min ||
        options->pool_max < options->pool_size)
        return error_set(error, ERROR_FATAL, "pool: 2 <= pool.min <= pool.size <= pool.max");
    const struct budget_options budget = spend_options(options);
    if (!(options->policy_beta > 0) || !spend_is_limited(&budget) ||
        options->selection.rule == NULL || options->digest == NULL || options->writer == NULL)
        return error_set(error, ERROR_FATAL,
                         "policy.beta, selection.rule and one of budget.per_second, per_hour and "
                         "per_day are required");
    return true;
}

/* What is asked after an answer repeats the propensity of its pair. */
static bool keeps_propensity(const struct engine_options *options)
{
    return again_all(options) ||
           (options->labels_skips == SKIPS_AGAIN && options->labels_attempts > 1);
}

size_t engine_listed_bytes(const struct engine_options *options)
{
    return keeps_propensity(options) ? requests_listed_bytes() : 0;
}

struct engine *engine_new(const struct engine_options *options, struct contracts *contracts,
                          struct error *error)
{
    if (!usable(options, error))
        return NULL;
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for the engine");
        return NULL;
    }
    engine->options = *options;
    if (options->pools_bytes == 0)
        engine->options.pools_bytes = SIZE_MAX / 2;
    engine->contracts = contracts;
    pools_init(&engine->pools, &engine->options, &engine->stats);
    store_init(&engine->window, options->window_bytes == 0 ? SIZE_MAX / 2 : options->window_bytes);
    store_init(&engine->room, options->waiting_bytes == 0 ? SIZE_MAX / 2 : options->waiting_bytes);
    requests_init(&engine->requests, &engine->window);
    engine->requests.both_bad_ignored = options->labels_both_bad == BOTH_BAD_IGNORE;
    engine->requests.skips_again = options->labels_skips == SKIPS_AGAIN;
    engine->requests.keeps_propensity = keeps_propensity(options);
    model_init(&engine->model, &engine->options, &engine->requests);
    const struct budget_options budget = spend_options(options);
    budget_init(&engine->budget, &budget, options->labels_window, options->completions_partitions);
    batch_init(&engine->batches[0], BATCH_BYTES_MAX);
    batch_init(&engine->batches[1], BATCH_BYTES_MAX);
    engine->open = &engine->batches[0];
    engine->stats.policy_trace = engine->stats.gap_estimate = (double)NAN;
    return engine;
}

void engine_free(struct engine *engine)
{
    if (engine == NULL)
        return;
    for (int32_t k = 0; k < engine->partition_count; k++) {
        engine_lose(engine, INPUT_COMPLETIONS, k);
        free(engine->partitions[k].pane.sums);
        buffer_free(&engine->partitions[k].pane.chunks);
        budget_fini(&engine->partitions[k].bucket);
    }
    for (int32_t k = 0; k < engine->labels_count; k++)
        labels_drop(engine, &engine->labels[k]);
    select_fini(engine);
    shadows_fini(&engine->shadows);
    rivals_fini(&engine->rivals);
    space_fini(engine);
    model_fini(&engine->model);
    requests_fini(&engine->requests);
    pools_fini(&engine->pools);
    store_fini(&engine->window);
    store_fini(&engine->room);
    batch_free(&engine->batches[0]);
    batch_free(&engine->batches[1]);
    free(engine->partitions);
    free(engine->labels);
    free(engine->again);
    free(engine);
}

/* ---- events ---- */

bool engine_reject(struct engine *engine, const struct source *source, const char *stage,
                   const char *reason, struct error *error)
{
    if (source->input == INPUT_COMPLETIONS)
        return completions_reject(engine, source, stage, reason, error);
    struct labels_partition *partition;
    if (!labels_accept_record(engine, source, &partition, error))
        return error->class == ERROR_NONE;
    return effect_dead_letter(engine, source, stage, reason, error);
}

bool engine_end(struct engine *engine, enum input input, int32_t number, int64_t next_offset,
                struct error *error)
{
    if (input == INPUT_COMPLETIONS && number >= 0 && number < engine->partition_count)
        return completions_end(engine, number, next_offset, error);
    if (input == INPUT_LABELS && number >= 0 && number < engine->labels_count &&
        next_offset > engine->labels[number].next) {
        engine->labels[number].next = next_offset;
        engine->moved = true;
    }
    return true;
}

static void follow_one(struct engine *engine, struct request *request, bool was_open)
{
    if (request->partition >= 0 && request->partition < engine->partition_count)
        engine->partitions[request->partition].bucket.open += request->open - was_open;
    model_follow(&engine->model, request);
}

void engine_follow_request(struct engine *engine, struct request *request, bool was_open)
{
    struct replica_change changes[REQUEST_ATTEMPTS_MAX];
    size_t count = replicas_settle(&engine->requests, request, changes);
    for (size_t k = 0; k < count; k++) {
        follow_one(engine, changes[k].request, changes[k].was_open);
        if (changes[k].request->labels != LABELS_NONE)
            engine->model.fresh = -1; /* labels that count are others now */
    }
    follow_one(engine, request, was_open);
    again_look(engine, request);
}

/* ---- forgetting ---- */

/* A pool that is open remembers what was asked of it, whoever holds it: it began at most
 * limits.clock_ahead after its request was issued, and is closed for every owner to come once a
 * published pane of its partition has reached pool.age later. */
static bool may_be_in_a_pool(void *context, const struct request *request)
{
    const struct engine *engine = context;
    const struct engine_options *options = &engine->options;
    if (!request->whole || request->partition < 0 || request->partition >= engine->partition_count)
        return false;
    return engine->partitions[request->partition].pane.from_time <
           request->issued_at + options->limits_clock_ahead + options->pool_age;
}

/* Requests that come between two times of forgetting. */
static int64_t forget_step(const struct engine_options *options)
{
    return options->labels_max / 32 + 64;
}

bool engine_forget(struct engine *engine, struct error *error)
{
    int64_t step = forget_step(&engine->options);
    if (engine->requests.count < engine->forget_at)
        return true;
    if (!model_forget(&engine->model, may_be_in_a_pool, engine))
        return error_set(error, ERROR_FATAL, "out of memory for forgetting requests");
    engine->forget_at = engine->requests.count + step;
    return true;
}

bool engine_window_full(const struct engine *engine)
{
    return engine->window.used > engine->window.limit / 16 * 15;
}

/* ---- ticks ---- */

static void update_stats(struct engine *engine)
{
    struct engine_stats *stats = &engine->stats;
    const struct model *model = &engine->model;
    stats->pools_bytes = engine->pools.store.bytes;
    stats->window_bytes = engine->window.bytes;
    stats->requests = engine->requests.count;
    stats->requests_open = engine->requests.open_count;
    stats->labels_counted = model->counted;
    stats->moments_pools = model->policy_pools;
    stats->moments_pools_effective = model->policy_pools_effective;
    stats->moments_completions = model->policy_completions;
    stats->fit_id = model->fit_id;
    stats->lambda = model->lambda;
    stats->lapse = model->lapse;
    stats->left_bias = model->left_bias;
    stats->label_loss = drift_loss(&model->drift);
    stats->label_surprise = drift_surprise(&model->drift);
    stats->return_rate = model->return_rate;
    stats->dimension = model->space.dimension;
    if (model->policy_pools > 0 && !model->stale && !model->policy_stale) {
        stats->policy_trace = model_trace(model);
        stats->gap_estimate = stats->policy_trace / (2 * engine->options.policy_beta);
    }
}

bool engine_tick(struct engine *engine, int64_t now, struct error *error)
{
    if (now > engine->now)
        engine->now = now;
    if (!engine_forget(engine, error))
        return false;
    if (engine->arrivals && !labels_resolve(engine, -1, error))
        return false;
    engine->arrivals = false;
    if (!completions_tick(engine, error) || !expiry_tick(engine, error) ||
        !select_prepare(engine, error) || !space_tick(engine, error) ||
        !carried_tick(engine, error) || !moments_tick(engine, error) || !fit_tick(engine, error) ||
        !select_tick(engine, error))
        return false;
    update_stats(engine);
    return true;
}

/* ---- batches ---- */

static bool add_offsets(struct engine *engine)
{
    for (int32_t k = 0; k < engine->partition_count; k++) {
        const struct partition *partition = &engine->partitions[k];
        if (!partition_live(partition))
            continue;
        struct batch_offset offset = {
            .input = INPUT_COMPLETIONS, .partition = k, .next = partition->next};
        completions_low_water(partition, &offset);
        if (!batch_offset_add(engine->open, &offset))
            return false;
    }
    for (int32_t k = 0; k < engine->labels_count; k++) {
        const struct labels_partition *partition = &engine->labels[k];
        if (!partition->held || !partition->barrier)
            continue;
        struct batch_offset offset = {
            .input = INPUT_LABELS, .partition = k, .next = labels_next(partition)};
        labels_low_water(partition, &offset);
        if (!batch_offset_add(engine->open, &offset))
            return false;
    }
    return true;
}

const struct batch *engine_close(struct engine *engine, struct error *error)
{
    struct batch *batch = engine->open;
    error->class = ERROR_NONE;
    if (engine->closed != NULL || (batch->effect_count == 0 && !engine->moved))
        return NULL;
    if (!add_offsets(engine)) {
        error_set(error, ERROR_FATAL, "out of memory for a batch");
        return NULL;
    }
    if (batch->offset_count == 0) {
        /* Nothing may leave without offsets: they fence it. */
        if (batch->effect_count > 0)
            error_set(error, ERROR_FATAL, "a batch has effects and no offsets");
        return NULL;
    }
    batch_close(batch);
    engine->closed = batch;
    engine->open = &engine->batches[batch == &engine->batches[0]];
    batch_clear(engine->open);
    engine->records = 0;
    engine->moved = false;
    return engine->closed;
}

void engine_confirm(struct engine *engine)
{
    engine->closed = NULL;
}

size_t engine_batch_bytes(const struct engine *engine)
{
    return engine->open->arena.size;
}

size_t engine_batch_records(const struct engine *engine)
{
    return engine->records;
}

/* ---- memory that it will take ---- */

size_t engine_fixed_bytes(const struct engine_options *options, size_t dimension)
{
    return model_bytes(options, dimension) + select_bytes(options, dimension);
}

size_t engine_pane_bytes(size_t dimension)
{
    return dimension * dimension * sizeof(double);
}

size_t engine_moments_bytes(size_t dimension)
{
    return dimension * (dimension + 1) / 2 * sizeof(float);
}

size_t engine_fit_bytes(void)
{
    return model_fit_bytes();
}

int64_t engine_labels_kept(const struct engine_options *options)
{
    return options->labels_max + model_slack(options) + forget_step(options);
}

size_t engine_request_bytes(size_t dimension)
{
    enum { TEXTS = 128 };
    return requests_bytes(dimension, TEXTS);
}
