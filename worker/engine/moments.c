/* Moments for I, in panes.
 *
 * A pane is an offset range [from, to) of one completions partition. It holds every pool that is
 * of the current space, ready when the pane is published, and was in none before:
 *   sums = sum over pools of weight * Cov(phi) under the policy's weights, at the newest psi.
 * to = next offset to read, so the pane is committed with an offset >= to. A new owner that reads
 * the records below `to` again and moves its time to the pane's stream_time finds the same pools
 * ready and counts none of them twice. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { CHUNK_VALUES = 64000 }; /* 256 kB of float32 */

static size_t packed_size(size_t d)
{
    return d * (d + 1) / 2;
}

size_t moments_rows(const struct pool *pool, size_t *rows)
{
    size_t count = 0;
    for (size_t k = 0; k < pool->count; k++) {
        if (!pool->held[k]->candidate)
            rows[count++] = k;
    }
    for (size_t k = 0; count == 0 && k < pool->count; k++)
        rows[k] = k;
    return count == 0 ? pool->count : count;
}

/* Effective sample size 1 / sum of p^2, p in proportion to exp(power * logits). */
static double effective_at(const double *logits, size_t n, double power)
{
    double most = logits[0], sum = 0, squares = 0;
    for (size_t k = 1; k < n; k++)
        most = fmax(most, logits[k]);
    for (size_t k = 0; k < n; k++) {
        double p = exp(power * (logits[k] - most));
        sum += p;
        squares += p * p;
    }
    return sum * sum / squares;
}

/* Takes the logits to the largest power that leaves the floor. */
static bool temper(double *logits, size_t n, double floor)
{
    if (effective_at(logits, n, 1) >= floor)
        return false;
    double low = 0x1p-16, high = 1;
    for (int step = 0; step < 16; step++) {
        double power = (low + high) / 2;
        if (effective_at(logits, n, power) >= floor)
            low = power;
        else
            high = power;
    }
    for (size_t k = 0; k < n; k++)
        logits[k] *= low;
    return true;
}

/* Adds the logged probabilities to psi' phi / beta. They may be off by far more than psi is, and a
 * few completions must not stand for the whole prompt because of them: the floor on the effective
 * sample size is a quarter of the completions, or half of what psi alone leaves of them. A prompt
 * of which psi has chosen few completions matters little, and a floor that does not know of it
 * would make it matter more; where psi leaves two or fewer there is none. */
static bool add_logged(const struct pool *pool, const size_t *rows, size_t n, double *logits)
{
    double quarter = n < 8 ? 2 : (double)n / 4, half = effective_at(logits, n, 1) / 2;
    for (size_t k = 0; k < n; k++)
        logits[k] += pool->held[rows[k]]->log_ratio;
    return temper(logits, n, fmin(quarter, half));
}

/* The pane is of the largest policy epoch in it; of completions of one epoch the last counts. */
static void note_version(struct pane *pane, const struct pool *pool)
{
    for (size_t k = 0; k < pool->count; k++) {
        const struct held *held = pool->held[k];
        struct span version = held_policy_version(held);
        if (pane->pools + (int64_t)k > 0 && held->policy_epoch < pane->policy_epoch)
            continue;
        pane->policy_epoch = held->policy_epoch;
        pane->version_size = version.size < ID_MAX ? version.size : ID_MAX;
        memcpy(pane->version, version.data, pane->version_size);
    }
}

/* Adds one pool to the pane's sums (d x d, lower triangle). */
static void add_pool(struct engine *engine, const struct pool *pool, struct pane *pane)
{
    const struct engine_options *options = &engine->options;
    size_t d = engine->model.space.dimension;
    size_t rows[pool->count];
    size_t n = moments_rows(pool, rows);
    double *logits = engine->scratch;
    double *rest = engine->scratch + options->pool_max;
    double mean = 0;
    note_version(pane, pool);
    pane->pools++;
    completions_gather(engine, pool);
    for (size_t k = 0; k < n; k++) {
        const struct held *held = pool->held[rows[k]];
        if (rows[k] != k)
            memmove(engine->gathered + k * d, engine->gathered + rows[k] * d, d * sizeof(float));
        mean += (double)held->traffic_weight / (double)n;
        logits[k] = model_margin(&engine->model, engine->gathered + k * d) / options->policy_beta;
    }
    if (options->policy_sampling == SAMPLING_LOGGED)
        engine->stats.sampling_tempered += add_logged(pool, rows, n, logits);
    shadows_see_pool(engine, pool);
    double ess = 0;
    bool equal = options->policy_sampling == SAMPLING_CURRENT;
    if (sel_policy_moments(engine->gathered, n, d, equal ? NULL : logits, mean, pane->sums, &ess,
                           rest) != SEL_OK)
        return;
    pane->weight += mean;
    pane->squares += mean * mean;
    pane->effective += mean * ess;
}

bool moments_keep(struct engine *engine, struct partition *partition, const struct pool *pool)
{
    struct pane *pane = &partition->pane;
    size_t d = engine->model.space.dimension;
    if (!space_is_current(engine, pool) || engine->picker_dimension != d)
        return true;
    if (pane->sums == NULL)
        pane->sums = calloc(d * d, sizeof(double));
    if (pane->sums == NULL)
        return false;
    if (pane->pools == 0)
        pane->fit_id = engine->model.fit_id;
    add_pool(engine, pool, pane);
    return true;
}

void moments_clear(struct pane *pane)
{
    free(pane->sums);
    pane->sums = NULL;
    pane->weight = pane->squares = pane->effective = 0;
    pane->policy_epoch = 0;
    pane->version_size = 0;
    pane->pools = 0;
    pane->closed_offset = INT64_MAX;
}

/* Adopts a whole pane: the next one starts where it ended. */
static bool adopt(struct engine *engine, const struct entry_moments *moments, int64_t time,
                  const float *packed, struct error *error)
{
    struct partition *partition = &engine->partitions[moments->completions_partition];
    partition->pane.from = moments->to;
    partition->pane.from_time = moments->stream_time;
    partition->pane.space = engine->model.space.id;
    partition->pane.from_record_time = partition->record_time;
    return model_moments(&engine->model, moments, time, packed, error);
}

static bool write_chunks(struct engine *engine, struct entry_moments *moments, const float *packed,
                         struct error *error)
{
    size_t values = moments->pools == 0 ? 0 : packed_size((size_t)moments->dimension);
    int64_t time = entry_time(engine);
    moments->chunks = values == 0 ? 1 : (int32_t)((values + CHUNK_VALUES - 1) / CHUNK_VALUES);
    for (moments->chunk = 0; moments->chunk < moments->chunks; moments->chunk++) {
        size_t start = (size_t)moments->chunk * CHUNK_VALUES;
        size_t count = values - start < CHUNK_VALUES ? values - start : CHUNK_VALUES;
        moments->sums = (struct span){(const char *)(packed + start), count * sizeof(float)};
        struct entry entry = {.time = time, .kind = ENTRY_MOMENTS, .moments = *moments};
        if (!effect_entry(engine, &entry, 0, error))
            return false;
    }
    return adopt(engine, moments, time, packed, error);
}

static void pack(const double *sums, size_t d, float *packed)
{
    for (size_t row = 0; row < d; row++) {
        for (size_t column = 0; column <= row; column++)
            *packed++ = (float)sums[row * d + column];
    }
}

static bool publish(struct engine *engine, int32_t number, struct error *error)
{
    struct partition *partition = &engine->partitions[number];
    struct pane *pane = &partition->pane;
    size_t d = engine->model.space.dimension;
    if (pane->sums == NULL)
        pane->sums = calloc(d * d, sizeof(double));
    float *packed = malloc(packed_size(d) * sizeof *packed);
    bool done = pane->sums != NULL && packed != NULL;
    if (!done)
        error_set(error, ERROR_FATAL, "out of memory for the policy's moments");
    if (done && pane->pools == 0)
        pane->fit_id = engine->model.fit_id;
    for (struct pool *pool = partition->pools.first; done && pool != NULL; pool = pool->next) {
        if (!pool->ready || pool->counted || !space_is_current(engine, pool))
            continue;
        add_pool(engine, pool, pane);
        pool->counted = true;
    }
    if (done) {
        pack(pane->sums, d, packed);
        struct entry_moments moments = {.completions_partition = number,
                                        .from = pane->from,
                                        .to = partition->next,
                                        .feature_space = span_of(engine->model.space.name),
                                        .policy_version = {pane->version, pane->version_size},
                                        .policy_epoch = pane->policy_epoch,
                                        .fit_id = pane->fit_id,
                                        .stream_time = partition->stream_time,
                                        .dimension = (int32_t)d,
                                        .pools = pane->pools,
                                        .weight = pane->weight,
                                        .effective_sample_size = pane->effective,
                                        .squares = pane->squares};
        done = write_chunks(engine, &moments, packed, error);
        pane->published_at = engine->now;
        moments_clear(pane);
    }
    free(packed);
    return done;
}

static bool anything_new(const struct engine *engine, const struct partition *partition)
{
    /* A pane is told from the one before by its range or by its time. */
    if (partition->next <= partition->pane.from &&
        partition->stream_time <= partition->pane.from_time)
        return false;
    if (partition->next > partition->pane.from || partition->pane.pools > 0 ||
        partition->stream_time - partition->pane.from_time >= engine->options.pool_age)
        return true; /* time alone is news: the pools before are closed for every owner */
    for (const struct pool *pool = partition->pools.first; pool != NULL; pool = pool->next) {
        if (pool->ready && !pool->counted && space_is_current(engine, pool))
            return true;
    }
    return false;
}

bool moments_tick(struct engine *engine, struct error *error)
{
    for (int32_t k = 0; k < engine->partition_count; k++) {
        struct partition *partition = &engine->partitions[k];
        if (engine->picker_dimension == 0 || !partition_live(partition) || !partition->met ||
            engine->now - partition->pane.published_at < engine->options.moments_interval ||
            !anything_new(engine, partition))
            continue;
        if (!publish(engine, k, error))
            return false;
    }
    return true;
}

/* ---- reading ---- */

static bool refuse(enum applied *applied, struct error *error, const char *reason)
{
    *applied = APPLIED_REFUSED;
    error_set(error, ERROR_DATA, "%s", reason);
    return true;
}

static bool consistent(const struct engine *engine, const struct entry_moments *moments)
{
    size_t values = packed_size((size_t)moments->dimension);
    size_t chunks = moments->pools == 0 ? 1 : (values + CHUNK_VALUES - 1) / CHUNK_VALUES;
    size_t start = (size_t)moments->chunk * CHUNK_VALUES;
    size_t expected = values - start < CHUNK_VALUES ? values - start : CHUNK_VALUES;
    if (moments->pools == 0)
        expected = 0;
    return moments->dimension > 0 &&
           (size_t)moments->dimension <= engine->options.limits_dimension && moments->pools >= 0 &&
           moments->from >= 0 && moments->to >= moments->from &&
           (size_t)moments->chunks == chunks && moments->chunk >= 0 &&
           moments->chunk < moments->chunks && moments->weight >= 0 && isfinite(moments->weight) &&
           moments->squares >= 0 && isfinite(moments->squares) &&
           moments->sums.size == expected * sizeof(float);
}

/* What is wrong with the lower triangle of a sum of covariances; NULL: nothing that can be seen. */
static const char *wrong_with(const float *packed, size_t values)
{
    for (size_t k = 0; k < values; k++)
        if (!isfinite(packed[k]))
            return "sums: are not finite";
    for (size_t row = 0, diagonal = 0; diagonal < values; row++, diagonal += row + 1)
        if (packed[diagonal] < 0)
            return "sums: are no covariances, one is below 0 on the diagonal";
    return NULL;
}

static bool complete(struct engine *engine, const struct entry *entry, enum applied *applied,
                     struct error *error)
{
    const struct entry_moments *moments = &entry->moments;
    struct pane *pane = &engine->partitions[moments->completions_partition].pane;
    size_t values = pane->chunks.size / sizeof(float);
    const float *packed = (const float *)(const void *)pane->chunks.data;
    const char *wrong = wrong_with(packed, values);
    if (wrong != NULL)
        return refuse(applied, error, wrong);
    const struct space *space = &engine->model.space;
    bool ours = identity_equal(identity_of(moments->feature_space), space->id) &&
                space->dimension == (size_t)moments->dimension;
    if (ours)
        return adopt(engine, moments, entry->time, packed, error);
    pane->from = moments->to;
    pane->from_time = moments->stream_time;
    pane->space = identity_of(moments->feature_space);
    return true;
}

bool moments_entry(struct engine *engine, const struct entry *entry, enum applied *applied,
                   struct error *error)
{
    const struct entry_moments *moments = &entry->moments;
    if (!consistent(engine, moments))
        return refuse(applied, error,
                      "from, to, dimension, pools, weight, squares, chunk or sums: contradict each "
                      "other");
    if (!engine_partition_known(moments->completions_partition))
        return refuse(applied, error, "completions_partition: is out of range");
    if (!engine_partitions(engine, moments->completions_partition, error))
        return false;
    struct pane *pane = &engine->partitions[moments->completions_partition].pane;
    bool newer = moments->from > pane->from ||
                 (moments->from == pane->from &&
                  (moments->to > pane->from || moments->stream_time > pane->from_time));
    if (!newer)
        return true; /* seen before, or it overlaps what is in force */
    if (moments->chunk == 0) {
        pane->chunks.maximum = packed_size(engine->options.limits_dimension) * sizeof(float);
        pane->chunks.size = 0;
        pane->read_chunks = 0;
        pane->read_from = moments->from;
        pane->read_to = moments->to;
    }
    if (moments->chunk != pane->read_chunks || moments->from != pane->read_from ||
        moments->to != pane->read_to)
        return refuse(applied, error, "chunk: the chunks of a pane do not follow each other");
    if (!buffer_append(&pane->chunks, moments->sums.data, moments->sums.size))
        return error_set(error, ERROR_FATAL, "out of memory for the policy's moments");
    pane->read_chunks++;
    if (pane->read_chunks < moments->chunks)
        return true;
    pane->read_chunks = 0;
    bool done = complete(engine, entry, applied, error);
    buffer_free(&pane->chunks);
    return done;
}
