/* The snapshot of a certificate: asked pairs of the window, completions of the ready pools. */
#include "certificate.h"

#include <stdlib.h>
#include <string.h>

#include "selection.h"

enum { BLOCK_ROWS = 1000, ROW_DOUBLES = 16, SQUARES = 10 };

/* ---- memory ---- */

static size_t row_bytes(size_t dimension)
{
    return dimension * sizeof(float) + ROW_DOUBLES * sizeof(double);
}

/* Matrices, and the part of the list that is solved at a time. */
static size_t fixed_bytes(size_t dimension)
{
    return (SQUARES * dimension * dimension + BLOCK_ROWS * (4 * dimension + ROW_DOUBLES)) *
           sizeof(double);
}

/* Values of pools that fit: half of what the matrices leave. */
static size_t feature_values(size_t dimension, size_t bytes)
{
    size_t fixed = fixed_bytes(dimension);
    size_t values = bytes > fixed ? (bytes - fixed) / 2 / sizeof(float) : 0;
    return values < CERTIFICATE_FEATURES_MAX ? values : CERTIFICATE_FEATURES_MAX;
}

size_t certificate_bytes(size_t dimension, size_t candidates)
{
    if (dimension > CERTIFICATE_DIMENSION_MAX)
        return 0;
    size_t rows = (CERTIFICATE_ASKED_MAX + candidates) * row_bytes(dimension);
    size_t features = (size_t)CERTIFICATE_FEATURES_MAX * sizeof(float);
    return fixed_bytes(dimension) + features + (rows > features ? rows : features);
}

size_t certificate_rows(size_t dimension, size_t bytes)
{
    size_t taken = fixed_bytes(dimension) + feature_values(dimension, bytes) * sizeof(float);
    return bytes > taken ? (bytes - taken) / row_bytes(dimension) : 0;
}

void certificate_snapshot_free(struct certificate_snapshot *snapshot)
{
    free(snapshot->x);
    free(snapshot->weight);
    free(snapshot->pools);
    free(snapshot->features);
    free(snapshot->margins);
    free(snapshot->known);
    free(snapshot->lambda);
    free(snapshot->policy);
    free(snapshot->space);
    *snapshot = (struct certificate_snapshot){0};
}

/* Keeps `wanted` of `left` things that are shown one after the other (Knuth, algorithm S). */
struct thinning {
    struct sel_random *random;
    uint64_t wanted, left;
};

static bool keep_next(struct thinning *thinning)
{
    bool kept = sel_random_below(thinning->random, thinning->left) < thinning->wanted;
    thinning->left--;
    thinning->wanted -= kept;
    return kept;
}

/* ---- open pools ---- */

static bool is_open(const struct engine *engine, const struct pool *pool)
{
    int64_t most = engine->options.pool_picks;
    return pool->count >= 2 && space_is_current(engine, pool) && (most == 0 || pool->picks < most);
}

/* Place of a completion among those of the pool that may be compared; pool->count: not there. */
static uint32_t find_place(const struct engine *engine, const struct pool *pool, struct id id)
{
    uint32_t place = 0;
    for (uint32_t k = 0; k < pool->count; k++) {
        bool may = working_may_compare(engine, pool->held[k]);
        if (may && identity_equal(pool->held[k]->id, id))
            return place;
        place += may;
    }
    return pool->count;
}

static int compare_known(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* What grows while pools are copied. */
struct copying {
    const struct engine *engine;
    struct certificate_snapshot *snapshot;
    size_t rows, rows_max;
    size_t known, known_max;
};

/* Lists the pairs of a pool that were asked, whichever pool they stood in then; a pair once. */
static bool list_known(struct copying *copying, const struct pool *pool,
                       struct certificate_pool *copy)
{
    const struct engine *engine = copying->engine;
    const struct requests *requests = &engine->requests;
    struct certificate_snapshot *snapshot = copying->snapshot;
    copy->known_first = copying->known;
    for (const struct request *request = requests_of(requests, pool->prompt); request != NULL;
         request = request->of_prompt) {
        if (!identity_equal(request_space_id(requests, request), engine->model.space.id))
            continue;
        uint32_t i = find_place(engine, pool, identity_of(request_left_id(requests, request)));
        uint32_t j = find_place(engine, pool, identity_of(request_right_id(requests, request)));
        if (i == pool->count || j == pool->count || i == j)
            continue;
        if (copying->known == copying->known_max) {
            copying->known_max = 2 * copying->known_max + 1024;
            uint32_t *grown = realloc(snapshot->known, copying->known_max * sizeof *grown);
            if (grown == NULL)
                return false;
            snapshot->known = grown;
        }
        snapshot->known[copying->known++] = i < j ? i << 16 | j : j << 16 | i;
    }
    uint32_t *known = snapshot->known == NULL ? NULL : snapshot->known + copy->known_first;
    size_t count = copying->known - copy->known_first, distinct = 0;
    if (count > 0)
        qsort(known, count, sizeof *known, compare_known);
    for (size_t k = 0; k < count; k++) {
        if (k == 0 || known[k] != known[k - 1])
            known[distinct++] = known[k];
    }
    copying->known = copy->known_first + distinct;
    copy->known_count = distinct;
    return true;
}

/* The same values as the engine gathers, and writes into SELECTED. */
static void copy_row(struct copying *copying, const float *features)
{
    const struct model *model = &copying->engine->model;
    size_t d = model->space.dimension;
    float *row = copying->snapshot->features + copying->rows * d;
    for (size_t k = 0; k < d; k++)
        row[k] = (float)(((double)features[k] - model->space.centre[k]) * model->space.scale);
    copying->snapshot->margins[copying->rows++] = model_margin(model, row);
}

static bool copy_pool(struct copying *copying, const struct pool *pool)
{
    const struct engine *engine = copying->engine;
    struct certificate_snapshot *snapshot = copying->snapshot;
    struct certificate_pool copy = {.first = copying->rows};
    for (uint32_t k = 0; k < pool->count; k++) {
        if (working_may_compare(engine, pool->held[k]) && copying->rows < copying->rows_max)
            copy_row(copying, pool->held[k]->features);
    }
    copy.count = copying->rows - copy.first;
    if (!list_known(copying, pool, &copy))
        return false;
    snapshot->open += copy.count * (copy.count - (copy.count > 0)) / 2 - copy.known_count;
    snapshot->pools[snapshot->pool_count++] = copy;
    return true;
}

/* Open pools in all, and their completions. */
static size_t count_open(const struct engine *engine, size_t *completions)
{
    size_t open = 0;
    *completions = 0;
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        if (!is_open(engine, engine->pools.ready[k]))
            continue;
        open++;
        *completions += engine->pools.ready[k]->count;
    }
    return open;
}

/* Copies the open pools, a uniform sample where there is no room for all. */
static bool copy_pools(const struct engine *engine, size_t values, struct sel_random *random,
                       struct certificate_snapshot *snapshot)
{
    size_t completions, d = snapshot->dimension, open = count_open(engine, &completions);
    double share = 1 / snapshot->each;
    if ((double)(completions * d) * share > (double)values)
        share = (double)values / (double)(completions * d);
    size_t wanted = (size_t)((double)open * share);
    wanted += wanted == 0 && open > 0;
    struct thinning thinning = {random, wanted, open};
    /* A sample may hold the larger pools. */
    struct copying copying = {.engine = engine, .snapshot = snapshot, .rows_max = values / d};
    if (copying.rows_max > completions)
        copying.rows_max = completions;
    snapshot->pools = malloc((wanted + 1) * sizeof *snapshot->pools);
    snapshot->features = malloc((copying.rows_max * d + 1) * sizeof *snapshot->features);
    snapshot->margins = malloc((copying.rows_max + 1) * sizeof *snapshot->margins);
    if (snapshot->pools == NULL || snapshot->features == NULL || snapshot->margins == NULL)
        return false;
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        const struct pool *pool = engine->pools.ready[k];
        if (!is_open(engine, pool) || !keep_next(&thinning))
            continue;
        if (copying.rows + pool->count > copying.rows_max)
            break;
        if (!copy_pool(&copying, pool))
            return false;
    }
    return true;
}

/* ---- asked pairs ---- */

static size_t count_asked(const struct engine *engine)
{
    size_t asked = 0;
    const struct request *request;
    for (size_t at = 0; (request = requests_next(&engine->requests, &at)) != NULL; at++)
        asked += request->applied > 0;
    return asked;
}

static bool copy_asked(const struct engine *engine, struct sel_random *random,
                       struct certificate_snapshot *snapshot)
{
    const struct model *model = &engine->model;
    struct thinning thinning = {random, snapshot->asked, (uint64_t)snapshot->labels};
    size_t d = snapshot->dimension, count = 0;
    double shares = 0;
    snapshot->x = malloc(snapshot->asked * d * sizeof *snapshot->x);
    snapshot->weight = malloc(snapshot->asked * sizeof *snapshot->weight);
    if (snapshot->x == NULL || snapshot->weight == NULL)
        return false;
    const struct request *request;
    for (size_t at = 0; (request = requests_next(&engine->requests, &at)) != NULL; at++) {
        if (!(request->applied > 0) || !keep_next(&thinning))
            continue;
        double share =
            model_request_weight(model, request) * request_share(request, model->return_rate);
        memcpy(snapshot->x + count * d, request->x, d * sizeof *snapshot->x);
        snapshot->weight[count++] = snapshot->each * share * model_weight(model, request);
        shares += share;
    }
    snapshot->share = snapshot->each * shares / (double)count;
    return true;
}

/* ---- the whole ---- */

static bool copy_model(const struct model *model, struct certificate_snapshot *snapshot)
{
    size_t bytes = snapshot->dimension * snapshot->dimension * sizeof *snapshot->policy;
    snapshot->lapse = model->lapse;
    snapshot->tie = model->tie;
    snapshot->fit_id = model->fit_id;
    snapshot->policy = malloc(bytes);
    snapshot->lambda = malloc(snapshot->dimension * sizeof *snapshot->lambda);
    snapshot->space = strdup(model->space.name);
    if (snapshot->policy != NULL)
        memcpy(snapshot->policy, model->policy, bytes);
    for (size_t k = 0; snapshot->lambda != NULL && k < snapshot->dimension; k++)
        snapshot->lambda[k] = model->lambdas[model->group[k]];
    return snapshot->policy != NULL && snapshot->lambda != NULL && snapshot->space != NULL;
}

/* Memory that may be used: what was given, and what this space leaves of the plan for the model. */
static size_t bytes_of(const struct engine *engine, const struct certificate_limits *limits)
{
    size_t planned = engine->options.model_bytes;
    size_t model = engine_fixed_bytes(&engine->options, engine->model.space.dimension);
    return limits->bytes + (planned > model ? planned - model : 0);
}

/* How many asked pairs are taken, and how many open ones the best design may hold. */
static bool share_room(const struct engine *engine, size_t most, size_t bytes,
                       struct certificate_snapshot *snapshot, struct error *error)
{
    /* Pairs for each feature, without which a sample says nothing. */
    enum { SAMPLE = 4, USEFUL = 500 };
    size_t d = snapshot->dimension, labels = (size_t)snapshot->labels;
    size_t rows = certificate_rows(d, bytes);
    snapshot->candidates = most < rows / 2 ? most : rows / 2;
    size_t room = rows - snapshot->candidates;
    if (room > CERTIFICATE_ASKED_MAX)
        room = CERTIFICATE_ASKED_MAX;
    if (d > CERTIFICATE_DIMENSION_MAX)
        return error_set(error, ERROR_DATA, "the space has %zu features; there is none above %d", d,
                         CERTIFICATE_DIMENSION_MAX);
    bool fits = feature_values(d, bytes) >= engine->options.pool_max * d;
    if (!fits || snapshot->candidates == 0 || (labels > room && room < SAMPLE * d))
        return error_set(error, ERROR_DATA,
                         "memory.limit leaves no room for one of %zu features (%zu MiB)", d,
                         bytes >> 20);
    snapshot->asked = labels < room ? labels : room;
    snapshot->each = (double)labels / (double)snapshot->asked;
    /* A design of n labels has little use for more. */
    size_t useful = 2 * snapshot->asked + USEFUL;
    if (snapshot->candidates > useful)
        snapshot->candidates = useful;
    return true;
}

static bool may_begin(const struct engine *engine, struct error *error)
{
    const struct model *model = &engine->model;
    if (model->space.name == NULL)
        return error_set(error, ERROR_DATA, "no feature space has a scale yet");
    if (model->information == NULL || model->stale || model->policy_stale)
        return error_set(error, ERROR_RETRY, "the information matrix is about to be rebuilt");
    if (engine->options.pool_max > CERTIFICATE_POOL_MAX)
        return error_set(error, ERROR_DATA, "pool.max is above %d", CERTIFICATE_POOL_MAX);
    return model->policy_pools > 0 || error_set(error, ERROR_DATA, "no moments of the policy yet");
}

bool engine_certificate(const struct engine *engine, const struct certificate_limits *limits,
                        struct certificate_snapshot *snapshot, struct error *error)
{
    *snapshot = (struct certificate_snapshot){0};
    if (!may_begin(engine, error))
        return false;
    snapshot->dimension = engine->model.space.dimension;
    snapshot->labels = (int64_t)count_asked(engine);
    snapshot->time = engine->now;
    if (snapshot->labels == 0)
        return error_set(error, ERROR_DATA, "no pair that counts was asked yet");
    size_t bytes = bytes_of(engine, limits);
    if (!share_room(engine, limits->candidates, bytes, snapshot, error))
        return false;
    const struct span key = {(const char *)&engine->now, sizeof engine->now};
    struct sel_random random =
        identity_random(engine->options.seed, "certificate", identity_of(key));
    size_t values = feature_values(snapshot->dimension, bytes);
    if (!copy_asked(engine, &random, snapshot) || !copy_model(&engine->model, snapshot) ||
        !copy_pools(engine, values, &random, snapshot))
        error_set(error, ERROR_DATA, "out of memory for a certificate");
    else if (snapshot->open == 0)
        error_set(error, ERROR_DATA, "no pair could be asked now: nothing to compare with");
    else
        return true;
    certificate_snapshot_free(snapshot);
    return false;
}
