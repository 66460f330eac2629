#include "shadows.h"

#include "selection.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

size_t shadows_least(size_t dimension)
{
    return 2 * (size_t)SHADOWS_LEAST * SHADOW_PAIRS_EACH * dimension * dimension * sizeof(float);
}

size_t shadows_count(size_t dimension, size_t bytes, size_t *room)
{
    size_t rows = bytes / 2 / (dimension * sizeof(float));
    size_t count = rows / (SHADOW_PAIRS_EACH * dimension);
    *room = 0;
    if (count < SHADOWS_LEAST)
        return 0;
    count = count < SHADOWS_MAX ? count : SHADOWS_MAX;
    *room = rows / count < SHADOW_PAIRS_MAX ? rows / count : SHADOW_PAIRS_MAX;
    return count;
}

void shadows_fini(struct shadows *shadows)
{
    free(shadows->x);
    free(shadows->traffic.x);
    free(shadows->traffic.count);
    free(shadows->traffic.weight);
    free(shadows->open);
    *shadows = (struct shadows){0};
}

static bool prepare_pools(struct shadow_pools *pools, size_t rows, size_t d, size_t bytes)
{
    size_t room = bytes / (rows * d * sizeof(float));
    *pools = (struct shadow_pools){.room = room < SHADOW_POOLS_MAX ? room : SHADOW_POOLS_MAX,
                                   .rows = rows};
    pools->x = malloc((pools->room * rows * d + 1) * sizeof(float));
    pools->count = malloc((pools->room + 1) * sizeof *pools->count);
    pools->weight = malloc((pools->room + 1) * sizeof *pools->weight);
    return pools->x != NULL && pools->count != NULL && pools->weight != NULL;
}

bool shadows_prepare(struct engine *engine)
{
    struct shadows *shadows = &engine->shadows;
    const struct space *space = &engine->model.space;
    if (shadows->dimension == space->dimension && identity_equal(shadows->space, space->id))
        return true;
    shadows_fini(shadows);
    shadows->space = space->id;
    shadows->dimension = space->dimension;
    shadows->count =
        shadows_count(space->dimension, engine->options.accounting_bytes, &shadows->room);
    if (shadows->count == 0)
        return true;
    shadows->x = malloc(shadows->count * shadows->room * shadows->dimension * sizeof(float));
    if (shadows->x != NULL && prepare_pools(&shadows->traffic, engine->options.pool_max,
                                            space->dimension, engine->options.accounting_bytes / 2))
        return true;
    shadows_fini(shadows);
    return false;
}

void shadows_forget(struct shadows *shadows)
{
    shadows->open_count = 0;
}

size_t shadows_held(const struct shadows *shadows, size_t shadow)
{
    uint64_t drawn = shadows->drawn[shadow];
    return drawn < shadows->room ? (size_t)drawn : shadows->room;
}

const float *shadows_x(const struct shadows *shadows, size_t shadow)
{
    return shadows->x + shadow * shadows->room * shadows->dimension;
}

size_t shadows_pools(const struct shadows *shadows)
{
    const struct shadow_pools *pools = &shadows->traffic;
    return pools->seen < pools->room ? (size_t)pools->seen : pools->room;
}

void shadows_see_pool(struct engine *engine, const struct pool *pool)
{
    struct shadows *shadows = &engine->shadows;
    struct shadow_pools *pools = &shadows->traffic;
    size_t d = engine->model.space.dimension, rows[pool->count];
    if (!space_is_current(engine, pool) || !shadows_prepare(engine) || pools->room == 0 ||
        pool->count > pools->rows || engine->options.policy_sampling != SAMPLING_REFERENCE ||
        engine->options.moments_fade)
        return;
    uint64_t place = pools->seen++;
    struct sel_random random = identity_random(engine->options.seed, "traffic", pool->key);
    if (place >= pools->room)
        place = sel_random_below(&random, place + 1);
    if (place >= pools->room)
        return;
    size_t n = moments_rows(pool, rows);
    float *x = pools->x + place * pools->rows * d;
    pools->count[place] = (uint32_t)n;
    pools->weight[place] = 0;
    for (size_t k = 0; k < n; k++) {
        const struct held *held = pool->held[rows[k]];
        pools->weight[place] += (double)held->traffic_weight / (double)n;
        for (size_t axis = 0; axis < d; axis++)
            x[k * d + axis] = (float)space_scaled(&engine->model.space, axis, held->features[axis]);
    }
}

/* ---- a uniform pool ---- */

/* Also one of which every pair was asked. */
static bool is_open_pool(const struct engine *engine, const struct pool *pool)
{
    return pool->count >= 2 && space_is_current(engine, pool) && spend_allows(engine, pool);
}

static void list_pools(struct engine *engine)
{
    struct shadows *shadows = &engine->shadows;
    shadows->open_count = 0;
    if (engine->pools.ready_count > shadows->open_capacity) {
        size_t room = engine->pools.ready_count + engine->pools.ready_count / 4;
        struct pool **grown = realloc(shadows->open, room * sizeof(struct pool *));
        if (grown == NULL)
            return;
        shadows->open = grown;
        shadows->open_capacity = room;
    }
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        if (is_open_pool(engine, engine->pools.ready[k]))
            shadows->open[shadows->open_count++] = engine->pools.ready[k];
    }
}

/* Of the list, or of all ready ones while there is none. */
static const struct pool *guess_pool(const struct engine *engine, struct sel_random *random)
{
    const struct shadows *shadows = &engine->shadows;
    if (shadows->open_count > 0)
        return shadows->open[sel_random_below(random, shadows->open_count)];
    return engine->pools.ready[sel_random_below(random, engine->pools.ready_count)];
}

/* `pool` is a first guess. NULL: none is open to the slot. */
static const struct pool *draw_pool(struct engine *engine, const struct pool *pool,
                                    struct sel_random *random)
{
    enum { TRIES = 16 }; /* when more fail, few are open: they are listed */
    for (int k = 0; k < TRIES; k++) {
        if (is_open_pool(engine, pool))
            return pool;
        pool = guess_pool(engine, random);
    }
    list_pools(engine);
    return engine->shadows.open_count == 0 ? NULL : guess_pool(engine, random);
}

const struct pool *shadows_draw_pool(struct engine *engine, struct sel_random *random)
{
    return draw_pool(engine, guess_pool(engine, random), random);
}

/* ---- a uniform pair of it ---- */

/* Whether it was asked does not matter: a uniform design is not left what the rule passed over. */
static bool is_open(const struct engine *engine, const struct pool *pool, size_t i, size_t j)
{
    return working_may_ask(engine, pool->held[i], pool->held[j]);
}

static bool count_to(const struct engine *engine, const struct pool *pool, size_t *left, size_t *i,
                     size_t *j)
{
    for (*i = 0; *i + 1 < pool->count; ++*i)
        for (*j = *i + 1; *j < pool->count; ++*j)
            if (is_open(engine, pool, *i, *j) && (*left)-- == 0)
                return true;
    return false;
}

static void draw_places(const struct pool *pool, struct sel_random *random, size_t *i, size_t *j)
{
    *i = (size_t)sel_random_below(random, pool->count);
    *j = (size_t)sel_random_below(random, pool->count - 1);
    *j += *j >= *i;
}

/* Draws again while i, j may not be asked. False: no pair of the pool is open. */
static bool draw_pair_of(const struct engine *engine, const struct pool *pool,
                         struct sel_random *random, size_t *i, size_t *j)
{
    enum { TRIES = 16 };
    for (int k = 0; k < TRIES; k++) {
        if (is_open(engine, pool, *i, *j))
            return true;
        draw_places(pool, random, i, j);
    }
    size_t left = SIZE_MAX, pairs = 0;
    count_to(engine, pool, &left, i, j);
    pairs = SIZE_MAX - left;
    if (pairs == 0)
        return false;
    left = (size_t)sel_random_below(random, pairs);
    return count_to(engine, pool, &left, i, j);
}

/* ---- a slot ---- */

/* Where the next pair of a shadow goes; NULL: it is not in the sample. */
static float *place_for(struct shadows *shadows, size_t shadow, struct sel_random *random)
{
    uint64_t place = shadows->drawn[shadow]++;
    if (place >= shadows->room)
        place = sel_random_below(random, place + 1);
    if (place >= shadows->room)
        return NULL;
    return shadows->x + (shadow * shadows->room + (size_t)place) * shadows->dimension;
}

static void keep(const struct engine *engine, const struct pool *pool, size_t i, size_t j, float *x)
{
    const float *left = pool->held[i]->features, *right = pool->held[j]->features;
    double scale = engine->model.space.scale;
    for (size_t k = 0; k < engine->model.space.dimension; k++)
        x[k] = (float)(scale * ((double)left[k] - (double)right[k]));
}

/* A shadow's draw for the slot. Pools and completions are far apart in memory: each step is taken
 * for all shadows, and asks for what the next one reads. */
struct drawing {
    size_t shadow;
    const struct pool *pool;
    size_t i, j;
};

static void prefetch(const void *memory, size_t size)
{
    enum { LINE = 64 };
    for (size_t k = 0; k < size; k += LINE)
        __builtin_prefetch((const char *)memory + k);
}

/* Which shadows draw, and from which pool. Returns how many. */
static size_t draw_pools(struct engine *engine, const struct decision *decision,
                         struct sel_random *random, struct drawing *drawings)
{
    struct shadows *shadows = &engine->shadows;
    bool slots = engine->options.selection.when == WHEN_SLOTS;
    size_t count = 0, kept = 0;
    for (size_t shadow = 0; shadow < shadows->count; shadow++) {
        if (sel_random_uniform(random) >= engine->model.return_rate)
            continue;
        struct drawing *drawing = &drawings[count++];
        drawing->shadow = shadow;
        drawing->pool = slots ? guess_pool(engine, random) : decision->pool;
        prefetch(drawing->pool, sizeof *drawing->pool);
    }
    for (size_t k = 0; k < count; k++) {
        struct drawing drawing = drawings[k];
        if (slots)
            drawing.pool = draw_pool(engine, drawing.pool, random);
        if (drawing.pool == NULL)
            continue;
        draw_places(drawing.pool, random, &drawing.i, &drawing.j);
        prefetch(&drawing.pool->held[drawing.i], 1);
        prefetch(&drawing.pool->held[drawing.j], 1);
        drawings[kept++] = drawing;
    }
    return kept;
}

void shadows_follow(struct engine *engine, const struct decision *decision)
{
    struct shadows *shadows = &engine->shadows;
    struct drawing drawings[SHADOWS_MAX];
    if (shadows->count == 0 || decision->arm != ARM_SELECTED)
        return;
    struct sel_random random = draw_random(engine, "shadow", decision->slot, 0);
    if (shadows->slots++ == 0)
        shadows->since = engine->now;
    size_t count = draw_pools(engine, decision, &random, drawings);
    size_t bytes = sizeof(struct held) + shadows->dimension * sizeof(float);
    for (size_t k = 0; k < count; k++) {
        prefetch(drawings[k].pool->held[drawings[k].i], bytes);
        prefetch(drawings[k].pool->held[drawings[k].j], bytes);
    }
    for (size_t k = 0; k < count; k++) {
        struct drawing *drawing = &drawings[k];
        if (!draw_pair_of(engine, drawing->pool, &random, &drawing->i, &drawing->j))
            continue;
        float *x = place_for(shadows, drawing->shadow, &random);
        if (x != NULL)
            keep(engine, drawing->pool, drawing->i, drawing->j, x);
    }
}
