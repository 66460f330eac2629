/* Completions into pools.
 *
 * The time of a partition's records is the largest of their timestamps (those dated more than
 * limits.clock_ahead ahead of the engine's clock do not count); stream time is the same, moved on
 * by ticks while nothing follows. Pools begin by the one, so that reading again finds the same, and
 * become ready and close by the other. Records below the committed offset are read again after a
 * takeover: they fill pools and have no effects. */
#include <stdio.h>
#include <string.h>

#include "inputs.h"
#include "internal.h"

bool partition_live(const struct partition *partition)
{
    return partition->held && partition->barrier && partition->next >= partition->committed;
}

void completions_place(const struct space *space, const struct held *held, float *features)
{
    for (size_t k = 0; k < space->dimension; k++)
        features[k] = (float)space_bounded(space, k, held->features[k]);
}

void completions_gather(struct engine *engine, const struct pool *pool)
{
    const struct space *space = &engine->model.space;
    for (size_t row = 0; row < pool->count; row++)
        completions_place(space, pool->held[row], engine->gathered + row * space->dimension);
}

void completions_low_water(const struct partition *partition, struct batch_offset *offset)
{
    offset->low_water = partition->pane.from;
    offset->time = partition->pane.from_record_time;
    if (partition->pane.closed_offset < offset->low_water) {
        offset->low_water = partition->pane.closed_offset;
        offset->time = partition->pane.closed_time;
    }
    const struct pool *oldest = partition->pools.first;
    if (oldest != NULL && oldest->first_offset < offset->low_water) {
        offset->low_water = oldest->first_offset;
        offset->time = oldest->time_before;
    }
    if (offset->low_water > partition->next) {
        /* Offsets were set back by hand: what is read again is not whole before the last pane. */
        offset->low_water = partition->next;
        offset->time = partition->record_time;
    }
}

void completions_close_pool(struct engine *engine, struct pool *pool, enum pool_end reason)
{
    struct partition *partition = &engine->partitions[pool->partition];
    struct pane *pane = &partition->pane;
    if (pool->ready && !pool->counted && partition->met && reason != POOL_LOST)
        moments_keep(engine, partition, pool);
    if (reason != POOL_LOST)
        space_measure(engine, pool);
    if (pool->first_offset < pane->closed_offset) {
        pane->closed_offset = pool->first_offset;
        pane->closed_time = pool->time_before;
    }
    select_forget_pool(engine, pool);
    pool_close(&engine->pools, &partition->pools, pool, reason);
}

/* So far all records were dated too far ahead, or there were none: time begins now, also for an
 * owner to come who reads them again. */
static void begin_time(struct partition *partition, int64_t time)
{
    for (struct pool *pool = partition->pools.first; pool != NULL; pool = pool->next)
        pool->first_time = pool->time_before = time;
    if (partition->record_time == 0)
        partition->record_time = time;
    if (partition->pane.from_record_time == 0)
        partition->pane.from_record_time = time;
    if (partition->pane.closed_time == 0)
        partition->pane.closed_time = time;
}

static bool advance(struct engine *engine, struct partition *partition, int64_t time,
                    struct error *error)
{
    if (partition->stream_time == 0 && time > 0)
        begin_time(partition, time);
    if (time > partition->stream_time)
        partition->stream_time = time;
    struct pool *oldest = partition->pools.first;
    while (oldest != NULL &&
           partition->stream_time - oldest->first_time >= engine->options.pool_age) {
        struct pool *next = oldest->next;
        completions_close_pool(engine, oldest, POOL_AGE);
        oldest = next;
    }
    if (!pools_wait_over(&engine->pools, &partition->pools, partition->stream_time))
        return error_set(error, ERROR_FATAL, "out of memory for ready pools");
    return true;
}

/* Reading arrives behind the last published pane: what is ready here was counted there. */
static bool meet_pane(struct engine *engine, struct partition *partition, struct error *error)
{
    if (partition->met || partition->next < partition->pane.from)
        return true;
    if (!advance(engine, partition, partition->pane.from_time, error))
        return false;
    for (struct pool *pool = partition->pools.first; pool != NULL; pool = pool->next) {
        if (pool->counted || !pool->ready || !identity_equal(pool->space, partition->pane.space))
            continue;
        pool->counted = true;
        shadows_see_pool(engine, pool);
    }
    partition->pane.from_record_time = partition->record_time;
    partition->met = true;
    return true;
}

static bool check_sizes(const struct engine *engine, const struct completion *completion,
                        char *reason, size_t size)
{
    const struct {
        const char *name;
        struct span text;
        size_t most;
    } texts[] = {{"prompt_id", completion->prompt_id, ID_MAX},
                 {"completion_id", completion->completion_id, ID_MAX},
                 {"policy_version", completion->policy_version, ID_MAX},
                 {"feature_space", completion->feature_space, SPACE_NAME_MAX},
                 {"domain", completion->domain, ID_MAX},
                 {"uri", completion->uri, URI_MAX}};
    for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
        if (texts[k].text.size > texts[k].most) {
            snprintf(reason, size, "%s: has %zu bytes, may have %zu", texts[k].name,
                     texts[k].text.size, texts[k].most);
            return false;
        }
    }
    if (memchr(completion->feature_space.data, '\0', completion->feature_space.size) != NULL) {
        snprintf(reason, size, "feature_space: holds a NUL");
        return false;
    }
    bool logged = !isnan(completion->policy_logprob) && !isnan(completion->reference_logprob);
    if (engine->options.policy_sampling == SAMPLING_LOGGED && !logged) {
        snprintf(reason, size,
                 "policy_logprob, reference_logprob: both are needed with policy.sampling = "
                 "logged");
        return false;
    }
    const char *missing = inputs_missing(engine->pools.inputs, completion);
    if (missing != NULL && completion->candidate) {
        snprintf(reason, size, "%s: is needed with selection.rule = %s", missing,
                 engine->options.selection.rule->name);
        return false;
    }
    if (!completion_cost_is_valid(completion->cost)) {
        snprintf(reason, size, "cost: %g is not within 1e-100 to 1e100", completion->cost);
        return false;
    }
    if (!(completion->traffic_weight >= 0)) {
        snprintf(reason, size, "traffic_weight: %g is negative", completion->traffic_weight);
        return false;
    }
    return true;
}

/* Room that is made for one completion by closing pools: never more than some times what it needs,
 * nor an eighth of all, so that a completion that cannot be had all the same costs few others. */
struct eviction {
    size_t need; /* of the block that was refused last */
    size_t done; /* bytes that closed pools have given back */
};

/* Closes the oldest pool of all; false when there is none but `spared`, or enough were closed. */
static bool evict(struct engine *engine, const struct pool *spared, struct eviction *eviction)
{
    enum { TIMES = 64, PARTS = 8 };
    struct pool *oldest = NULL;
    const struct store *store = &engine->pools.store;
    if (eviction->need > store->limit || eviction->done >= TIMES * eviction->need ||
        eviction->done >= store->limit / PARTS)
        return false;
    for (int32_t k = 0; k < engine->partition_count; k++) {
        struct pool *first = engine->partitions[k].pools.first;
        if (first == spared && first != NULL)
            first = first->next;
        if (first != NULL && (oldest == NULL || first->first_time < oldest->first_time))
            oldest = first;
    }
    if (oldest == NULL)
        return false;
    size_t used = store->used;
    completions_close_pool(engine, oldest, POOL_MEMORY);
    eviction->done += used - store->used;
    return true;
}

static void watch_split(struct engine *engine, int32_t partition, struct id key)
{
    for (int32_t k = 0; k < engine->partition_count; k++) {
        if (k != partition && pool_find(&engine->partitions[k].pools, key) != NULL) {
            engine->stats.prompts_split++;
            return;
        }
    }
}

/* The pool of the completion's prompt, opened where there is none; NULL: no memory even after
 * closing others. */
static struct pool *pool_for(struct engine *engine, struct partition *partition, struct id space,
                             const struct source *source, const struct completion *completion,
                             int64_t time_before, struct eviction *eviction)
{
    struct id key = pool_key(space, identity_of(completion->prompt_id));
    struct pool *pool = pool_find(&partition->pools, key);
    if (pool != NULL)
        return pool;
    watch_split(engine, source->partition, key);
    do {
        pool = pool_open(&engine->pools, &partition->pools, space, source, completion,
                         partition->record_time, time_before);
        eviction->need = pool == NULL ? engine->pools.refused : 0;
    } while (pool == NULL && evict(engine, NULL, eviction));
    return pool;
}

/* Puts a valid completion into its pool. */
static bool enter(struct engine *engine, struct partition *partition, struct id space,
                  const struct source *source, const struct completion *completion,
                  int64_t time_before, bool reread, struct error *error)
{
    struct eviction eviction = {0};
    struct pool *pool =
        pool_for(engine, partition, space, source, completion, time_before, &eviction);
    enum pool_added added = POOL_FULL_MEMORY;
    while (pool != NULL) {
        added = pool_add(&engine->pools, pool, source, completion);
        eviction.need = engine->pools.refused;
        if (added != POOL_FULL_MEMORY || !evict(engine, pool, &eviction))
            break;
    }
    if (added == POOL_FULL_MEMORY) {
        if (pool != NULL && pool->count == 0)
            completions_close_pool(engine, pool, POOL_MEMORY);
        return reread || effect_dead_letter(engine, source, "memory",
                                            "the completion does not fit into the memory of "
                                            "pools (memory.limit)",
                                            error);
    }
    if (added == POOL_DUPLICATE)
        engine->stats.completions_duplicate++;
    else if (reread)
        engine->stats.completions_reread++;
    else
        engine->stats.completions++;
    pool->exhausted = pool->exhausted && added == POOL_DUPLICATE;
    if (!pool_update_ready(&engine->pools, pool, partition->stream_time))
        return error_set(error, ERROR_FATAL, "out of memory for ready pools");
    return added != POOL_ADDED || carried_completion(engine, pool, error);
}

/* Where reading stands after this record; false: it was given before, or not asked for. */
static bool accept_record(struct engine *engine, const struct source *source,
                          struct partition **partition, struct error *error)
{
    bool known = source->partition >= 0 && source->partition < engine->partition_count;
    *partition = known ? &engine->partitions[source->partition] : NULL;
    if (!known || !(*partition)->held || !(*partition)->barrier)
        return error_set(error, ERROR_FATAL, "completions partition %d delivered before its turn",
                         source->partition);
    if (engine->now == 0)
        return error_set(error, ERROR_FATAL, "a record came before the first tick");
    if (source->offset < (*partition)->next) {
        error->class = ERROR_NONE;
        return false;
    }
    if (!meet_pane(engine, *partition, error))
        return false;
    (*partition)->at_end = false;
    (*partition)->next = source->offset;
    if (!meet_pane(engine, *partition, error))
        return false;
    (*partition)->next = source->offset + 1;
    engine->moved = true;
    engine->records++;
    return true;
}

/* A record dated too far ahead does not move the stream. Read again, it does not either: what lies
 * below the last pane was then not later than that pane's stream time. */
static int64_t bounded_time(struct engine *engine, const struct partition *partition,
                            const struct source *source)
{
    int64_t most = engine->now + engine->options.limits_clock_ahead;
    if (source->offset < partition->pane.from && partition->pane.from_time < most)
        most = partition->pane.from_time;
    if (source->timestamp <= most)
        return source->timestamp < 0 ? 0 : source->timestamp;
    engine->stats.clock_ahead++;
    return partition->record_time;
}

bool engine_completion(struct engine *engine, const struct source *source,
                       const struct completion *completion, struct error *error)
{
    struct partition *partition;
    if (!accept_record(engine, source, &partition, error))
        return error->class == ERROR_NONE;
    bool reread = source->offset < partition->committed;
    int64_t time_before = partition->record_time;
    int64_t time = bounded_time(engine, partition, source);
    if (time > partition->record_time)
        partition->record_time = time;
    if (!advance(engine, partition, partition->record_time, error))
        return false;
    char reason[768];
    struct id space;
    if (!check_sizes(engine, completion, reason, sizeof reason) ||
        !space_admit(engine, completion, &space, reason, sizeof reason))
        return reread || effect_dead_letter(engine, source, "validate", reason, error);
    struct source bounded = *source;
    if (source->traceparent.size > TRACE_MAX || source->tracestate.size > TRACE_MAX)
        bounded.traceparent.size = bounded.tracestate.size = 0;
    return enter(engine, partition, space, &bounded, completion, time_before, reread, error);
}

/* A completion that could not be decoded moves the partition on like any other. */
bool completions_reject(struct engine *engine, const struct source *source, const char *stage,
                        const char *reason, struct error *error)
{
    struct partition *partition;
    if (!accept_record(engine, source, &partition, error))
        return error->class == ERROR_NONE;
    if (source->offset < partition->committed)
        return true;
    return effect_dead_letter(engine, source, stage, reason, error);
}

bool completions_end(struct engine *engine, int32_t number, int64_t next_offset,
                     struct error *error)
{
    struct partition *partition = &engine->partitions[number];
    if (next_offset > partition->next) {
        partition->next = next_offset;
        engine->moved = true;
    }
    partition->at_end = true;
    return meet_pane(engine, partition, error);
}

bool completions_tick(struct engine *engine, struct error *error)
{
    for (int32_t k = 0; k < engine->partition_count; k++) {
        struct partition *partition = &engine->partitions[k];
        if (!partition_live(partition) || !partition->met)
            continue;
        int64_t time = partition->at_end ? engine->now : partition->stream_time;
        if (!advance(engine, partition, time, error))
            return false;
    }
    return true;
}
