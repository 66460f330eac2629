/* I from the panes of moments:
 *
 *   I = sum_b omega_b sums_b / sum_b omega_b weight_b,  omega_b = gamma^(age of its version)
 *
 * over the buckets of the window, one for each sixteenth of it; where versions fade (gamma < 1) one
 * for each version within a sixteenth, but only for its MODEL_VERSIONS largest epochs: what an
 * epoch brought that has as many larger ones in its sixteenth is left out, before or after those
 * came, so that the order in which panes are read does not matter. Only the ratios of omega matter;
 * the newest bucket has 1. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static size_t packed_size(size_t d)
{
    return d * (d + 1) / 2;
}

static void clear(struct moments_bucket *bucket)
{
    free(bucket->sums);
    *bucket = (struct moments_bucket){.slice = -1};
}

void model_clear_moments(struct model *model)
{
    for (size_t made = 0; made < 2; made++)
        for (size_t k = 0; k < MODEL_BUCKETS; k++)
            for (size_t v = 0; v < MODEL_VERSIONS; v++)
                clear(&model->buckets[made][k][v]);
}

void model_init_moments(struct model *model)
{
    for (size_t made = 0; made < 2; made++)
        for (size_t k = 0; k < MODEL_BUCKETS; k++)
            for (size_t v = 0; v < MODEL_VERSIONS; v++)
                model->buckets[made][k][v].slice = -1;
}

size_t model_moments_bytes(const struct engine_options *options, size_t dimension)
{
    size_t versions = options->moments_fade ? MODEL_VERSIONS : 1;
    return 2 * MODEL_BUCKETS * versions * packed_size(dimension) * sizeof(double);
}

/* ---- adding a pane ---- */

static int64_t slice_length(const struct model *model)
{
    int64_t length = model->options->policy_window / MODEL_BUCKETS;
    return length < 1 ? 1 : length;
}

/* The bucket of a version in the buckets of a sixteenth, an empty one or one that has to give way;
 * NULL: the pane is left out. */
static struct moments_bucket *find_bucket(struct moments_bucket *versions, int64_t slice,
                                          int64_t epoch)
{
    struct moments_bucket *least = &versions[0];
    for (size_t v = 0; v < MODEL_VERSIONS; v++) {
        struct moments_bucket *bucket = &versions[v];
        if (bucket->slice > slice)
            return NULL; /* older than the window */
        if (bucket->slice < slice)
            clear(bucket);
        if (bucket->slice < 0 || bucket->epoch == epoch)
            return bucket;
        if (bucket->epoch < least->epoch)
            least = bucket;
    }
    return least->epoch < epoch ? least : NULL;
}

bool model_moments(struct model *model, const struct entry_moments *pane, int64_t time,
                   const float *packed, struct error *error)
{
    if (pane->pools == 0)
        return true;
    size_t size = packed_size(model->space.dimension);
    int64_t slice = time / slice_length(model);
    int64_t epoch = model->options->moments_fade ? pane->policy_epoch : 0;
    struct moments_bucket *bucket =
        find_bucket(model->buckets[pane->fit_id > 0][slice % MODEL_BUCKETS], slice, epoch);
    if (bucket == NULL)
        return true;
    if (bucket->slice < 0 || bucket->epoch != epoch) {
        clear(bucket);
        bucket->sums = calloc(size, sizeof(double));
        if (bucket->sums == NULL)
            return error_set(error, ERROR_FATAL, "out of memory for the policy's moments");
        bucket->slice = slice;
        bucket->epoch = epoch;
    }
    for (size_t k = 0; k < size; k++)
        bucket->sums[k] += (double)packed[k];
    bucket->weight += pane->weight;
    bucket->squares +=
        pane->squares > 0 ? pane->squares : pane->weight * pane->weight / (double)pane->pools;
    bucket->effective += pane->effective_sample_size;
    bucket->pools += pane->pools;
    model->policy_stale = true;
    return true;
}

/* ---- summing ---- */

/* Which buckets count, and the least age among them. */
struct choice {
    int64_t oldest; /* slice */
    size_t made;    /* from which on */
    size_t age;
};

static bool counts(const struct choice *choice, size_t made, const struct moments_bucket *bucket)
{
    return made >= choice->made && bucket->slice >= 0 && bucket->slice > choice->oldest;
}

static size_t age_of(const struct model *model, const struct moments_bucket *bucket)
{
    return model->options->moments_fade ? versions_age(&model->versions, bucket->epoch) : 0;
}

static struct choice choose(const struct model *model)
{
    const struct moments_bucket *all = &model->buckets[0][0][0];
    enum { HALF = MODEL_BUCKETS * MODEL_VERSIONS };
    struct choice choice = {.age = SIZE_MAX};
    int64_t newest = -1, later = 0;
    for (size_t k = 0; k < 2 * HALF; k++)
        newest = all[k].slice > newest ? all[k].slice : newest;
    choice.oldest = newest - MODEL_BUCKETS;
    for (size_t k = HALF; k < 2 * HALF; k++)
        later += counts(&choice, 1, &all[k]) ? all[k].pools : 0;
    choice.made = later >= MODEL_POOLS_FOR_LATER ? 1 : 0;
    for (size_t k = 0; k < 2 * HALF; k++) {
        if (!counts(&choice, k / HALF, &all[k]))
            continue;
        size_t age = age_of(model, &all[k]);
        choice.age = age < choice.age ? age : choice.age;
    }
    return choice;
}

/* Adds omega times the sums to I's lower triangle. */
static void add_bucket(struct model *model, const struct moments_bucket *bucket, double omega)
{
    const double *sums = bucket->sums;
    size_t d = model->space.dimension;
    for (size_t row = 0; row < d; row++) {
        for (size_t column = 0; column <= row; column++)
            model->policy[row * d + column] += omega * *sums++;
    }
}

void model_sum_policy(struct model *model)
{
    const struct moments_bucket *all = &model->buckets[0][0][0];
    enum { HALF = MODEL_BUCKETS * MODEL_VERSIONS };
    size_t d = model->space.dimension;
    struct choice choice = choose(model);
    double weight = 0, squares = 0, effective = 0;
    memset(model->policy, 0, d * d * sizeof(double));
    model->policy_pools = 0;
    for (size_t k = 0; k < 2 * HALF; k++) {
        if (!counts(&choice, k / HALF, &all[k]))
            continue;
        size_t age = age_of(model, &all[k]) - choice.age;
        double omega = age == 0 ? 1 : pow(model->options->moments_gamma, (double)age);
        if (omega == 0)
            continue;
        add_bucket(model, &all[k], omega);
        weight += omega * all[k].weight;
        squares += omega * omega * all[k].squares;
        effective += omega * all[k].effective;
        model->policy_pools += all[k].pools;
    }
    for (size_t row = 0; row < d; row++) {
        for (size_t column = 0; column <= row; column++) {
            double value = weight > 0 ? model->policy[row * d + column] / weight : 0;
            model->policy[row * d + column] = model->policy[column * d + row] = value;
        }
    }
    model->policy_pools_effective = squares > 0 ? weight * weight / squares : 0;
    model->policy_completions = weight > 0 ? effective / weight : 0;
    model->policy_stale = false;
}
