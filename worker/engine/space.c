/* Feature spaces: which one is current, and which one is coming.
 *
 * The current space is the one of the SPACE entry in force, and nothing else makes it so: workers
 * that have read the same ledger work in the same space. Completions of a newer space (a larger
 * feature_epoch) gather in pools of their own, and once enough of those are ready SPACE is written
 * with their centre and scale. Several workers may write it; the ledger's lowest offset counts, so
 * each adopts it by reading it, its own one too; written again for the topic's retention it says
 * pools = 0 and counts before those that were not. Then the pools of the space before are closed.
 * At most two spaces live: the current and the coming one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

bool space_is_current(const struct engine *engine, const struct pool *pool)
{
    return engine->model.space.dimension > 0 && identity_equal(pool->space, engine->model.space.id);
}

static void close_pools(struct engine *engine, struct id kept, struct id also_kept)
{
    for (int32_t k = 0; k < engine->partition_count; k++) {
        struct pool *next;
        for (struct pool *pool = engine->partitions[k].pools.first; pool != NULL; pool = next) {
            next = pool->next;
            if (!identity_equal(pool->space, kept) && !identity_equal(pool->space, also_kept))
                completions_close_pool(engine, pool, POOL_SPACE);
        }
    }
}

static void forget_coming(struct engine *engine)
{
    free(engine->coming.means);
    engine->coming = (struct coming_space){0};
}

/* ---- admission ---- */

static bool wrong_dimension(const struct completion *completion, size_t dimension, char *reason,
                            size_t size)
{
    if (dimension == 0 || completion->dimension == dimension)
        return false;
    snprintf(reason, size, "features: has %zu values, the space '%.*s' has %zu",
             completion->dimension, (int)completion->feature_space.size,
             completion->feature_space.data, dimension);
    return true;
}

/* One such feature would leave Sigma without an inverse, for every worker and after each restart.
 */
static bool lies_too_far(const struct space *space, const struct completion *completion,
                         char *reason, size_t size)
{
    for (size_t k = 0; k < completion->dimension; k++) {
        if (fabs(space_scaled(space, k, completion->features[k])) <= SPACE_FARTHEST)
            continue;
        snprintf(reason, size, "features[%zu]: %g lies more than %g times 1 / scale from %g", k,
                 (double)completion->features[k], SPACE_FARTHEST, space->centre[k]);
        return true;
    }
    return false;
}

/* False, with the reason in `text`, for a space whose matrices are beyond what was planned. */
static bool space_fits(const struct engine *engine, size_t dimension, char *text, size_t size)
{
    size_t most = engine->options.model_bytes;
    size_t bytes = most == 0 ? 0 : engine_fixed_bytes(&engine->options, dimension);
    if (bytes <= most)
        return true;
    snprintf(text, size,
             "features: a space of %zu needs %zu KiB for its matrices, memory.limit leaves %zu "
             "KiB; set features.dimension to plan for it and raise memory.limit",
             dimension, (bytes + 1023) / 1024, most / 1024);
    return false;
}

/* A completion of a space not seen before. */
static bool admit_new(struct engine *engine, const struct completion *completion, struct id id,
                      char *reason, size_t size)
{
    const struct space *current = &engine->model.space;
    struct coming_space *coming = &engine->coming;
    const char *newest = coming->known ? coming->name : current->name;
    int64_t epoch = coming->known ? coming->epoch : current->epoch;
    if (newest != NULL && completion->feature_epoch <= epoch) {
        snprintf(reason, size,
                 "feature_space: '%.*s' of feature_epoch %lld is not newer than the space '%s' of "
                 "feature_epoch %lld",
                 (int)completion->feature_space.size, completion->feature_space.data,
                 (long long)completion->feature_epoch, newest, (long long)epoch);
        return false;
    }
    if (wrong_dimension(completion, engine->options.features_dimension, reason, size) ||
        !space_fits(engine, completion->dimension, reason, size))
        return false;
    forget_coming(engine);
    *coming = (struct coming_space){.known = true,
                                    .id = id,
                                    .epoch = completion->feature_epoch,
                                    .dimension = completion->dimension};
    memcpy(coming->name, completion->feature_space.data, completion->feature_space.size);
    close_pools(engine, current->id, id);
    return true;
}

bool space_admit(struct engine *engine, const struct completion *completion, struct id *space,
                 char *reason, size_t size)
{
    struct span wanted = span_of(engine->options.features_space);
    struct span name = completion->feature_space;
    if (wanted.size > 0 && !span_equal(wanted, name)) {
        snprintf(reason, size, "feature_space: '%.*s' is not features.space '%s'", (int)name.size,
                 name.data, engine->options.features_space);
        return false;
    }
    *space = identity_of(name);
    if (engine->model.space.name != NULL && identity_equal(engine->model.space.id, *space))
        return !wrong_dimension(completion, engine->model.space.dimension, reason, size) &&
               !lies_too_far(&engine->model.space, completion, reason, size);
    if (engine->coming.known && identity_equal(engine->coming.id, *space))
        return !wrong_dimension(completion, engine->coming.dimension, reason, size);
    return admit_new(engine, completion, *space, reason, size);
}

/* ---- SPACE ---- */

bool space_measure(struct engine *engine, struct pool *pool)
{
    struct coming_space *coming = &engine->coming;
    size_t d = coming->dimension;
    if (!coming->known || !pool->ready || pool->measured || pool->count == 0 ||
        !identity_equal(pool->space, coming->id))
        return true;
    if (coming->means == NULL && (coming->means = calloc(2 * d, sizeof(double))) == NULL)
        return false;
    double *mean = coming->means + d;
    memset(mean, 0, d * sizeof *mean);
    for (size_t row = 0; row < pool->count; row++) {
        for (size_t k = 0; k < d; k++)
            mean[k] += (double)pool->held[row]->features[k] / (double)pool->count;
    }
    for (size_t row = 0; row < pool->count; row++) {
        for (size_t k = 0; k < d; k++) {
            double distance = (double)pool->held[row]->features[k] - mean[k];
            coming->squares += distance * distance;
        }
    }
    for (size_t k = 0; k < d; k++)
        coming->means[k] += mean[k];
    coming->completions += pool->count;
    coming->pools++;
    pool->measured = true;
    return true;
}

/* The coming space has the features that groups name: without, it gathers and gets no SPACE, and
 * engine_obstacle says why. */
static bool has_groups(const struct engine *engine, char *text, size_t size)
{
    return feature_groups_fit(engine->options.features_groups, engine->coming.dimension, text,
                              size);
}

bool space_obstacle(const struct engine *engine, char *text, size_t size)
{
    char reason[160];
    if (!engine->coming.known || has_groups(engine, reason, sizeof reason))
        return false;
    snprintf(text, size, "the feature space '%.60s' cannot begin: %s", engine->coming.name, reason);
    return true;
}

static bool measure_all(struct engine *engine, struct error *error)
{
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        if (!space_measure(engine, engine->pools.ready[k]))
            return error_set(error, ERROR_FATAL, "out of memory for a feature space");
    }
    return true;
}

void space_fini(struct engine *engine)
{
    forget_coming(engine);
}

static bool any_live(const struct engine *engine)
{
    for (int32_t k = 0; k < engine->partition_count; k++) {
        if (partition_live(&engine->partitions[k]))
            return true;
    }
    return false;
}

/* SPACE of the coming space: the mean of its pools' means, and the factor that makes the mean
 * squared distance of a completion from its pool's mean d. */
static bool write_coming(struct engine *engine, struct error *error)
{
    struct coming_space *coming = &engine->coming;
    size_t d = coming->dimension;
    double scale = engine->options.features_scale;
    bool given = scale > 0;
    double *centre = calloc(d, sizeof *centre);
    if (centre == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for a feature space");
    if (!given) {
        double spread = coming->squares / (double)coming->completions;
        /* All completions of a prompt alike: no scale can be estimated, and none is needed. */
        scale = spread > 0 && isfinite(spread) ? sqrt((double)d / spread) : 1;
        for (size_t k = 0; k < d; k++)
            centre[k] = coming->means[k] / (double)coming->pools;
    }
    struct entry entry = {.kind = ENTRY_SPACE,
                          .space = {.feature_space = span_of(coming->name),
                                    .feature_epoch = coming->epoch,
                                    .dimension = (int32_t)d,
                                    .centre = {(const char *)centre, d * sizeof *centre},
                                    .scale = scale,
                                    .pools = given ? 0 : coming->pools}};
    coming->written = true;
    bool done = effect_entry(engine, &entry, 0, error);
    free(centre);
    return done;
}

bool space_tick(struct engine *engine, struct error *error)
{
    const struct coming_space *coming = &engine->coming;
    char reason[160];
    if (!coming->known || coming->written || !has_groups(engine, reason, sizeof reason))
        return true;
    if (!measure_all(engine, error))
        return false;
    bool enough =
        engine->options.features_scale > 0 || coming->pools >= engine->options.features_scale_pools;
    return !enough || !any_live(engine) || write_coming(engine, error);
}

/* The ledger's topic keeps nothing for ever: the space in force is written again, the same, long
 * before its first entry is deleted. The lowest offset still counts. */
bool space_renew(struct engine *engine, struct error *error)
{
    const struct space *space = &engine->model.space;
    int64_t window = engine->options.labels_window;
    if (space->name == NULL || entry_time(engine) - space->time < window / 2)
        return true;
    struct entry entry = {
        .kind = ENTRY_SPACE,
        .time = entry_time(engine),
        .space = {.feature_space = span_of(space->name),
                  .feature_epoch = space->epoch,
                  .dimension = (int32_t)space->dimension,
                  .centre = {(const char *)space->centre, space->dimension * sizeof(double)},
                  .scale = space->scale}};
    engine->model.space.time = entry.time;
    return effect_entry(engine, &entry, 0, error);
}

/* Pools, panes and the coming space follow the space that has just become current. */
static void follow_current(struct engine *engine)
{
    const struct space *current = &engine->model.space;
    struct coming_space *coming = &engine->coming;
    if (coming->known &&
        (identity_equal(coming->id, current->id) || coming->epoch <= current->epoch))
        forget_coming(engine);
    close_pools(engine, current->id, coming->known ? coming->id : current->id);
    for (int32_t k = 0; k < engine->partition_count; k++) {
        moments_clear(&engine->partitions[k].pane);
        engine->partitions[k].carried = false;
    }
}

bool space_entry(struct engine *engine, const struct entry *entry, int64_t offset,
                 enum applied *applied, struct error *error)
{
    const struct space *current = &engine->model.space;
    const struct entry_space *space = &entry->space;
    struct span name = space->feature_space;
    struct span wanted = span_of(engine->options.features_space);
    bool same = current->name != NULL && identity_equal(current->id, identity_of(name));
    bool older = current->name != NULL && space->feature_epoch <= current->epoch;
    if (name.size > SPACE_NAME_MAX) {
        *applied = APPLIED_REFUSED;
        error_set(error, ERROR_DATA, "feature_space: has %zu bytes, may have %d", name.size,
                  SPACE_NAME_MAX);
        return true;
    }
    if ((wanted.size > 0 && !span_equal(wanted, name)) || (!same && older))
        return true;
    /* Others work in this space by now: to go on in another one would contradict them. */
    char reason[256];
    bool possible =
        space->dimension > 0 && (size_t)space->dimension <= engine->options.limits_dimension;
    if (possible && !same &&
        (!space_fits(engine, (size_t)space->dimension, reason, sizeof reason) ||
         !feature_groups_fit(engine->options.features_groups, (size_t)space->dimension, reason,
                             sizeof reason)))
        return error_set(error, ERROR_FATAL, "%s", reason);
    *applied = model_space(&engine->model, space, entry->time, offset, error);
    if (*applied == APPLIED_NEW)
        follow_current(engine);
    return true;
}
