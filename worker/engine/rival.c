#include "rival.h"

#include "selection.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

static struct sel_picker_options picker_options(const struct engine_options *options,
                                                const struct sel_rule *rule, size_t d)
{
    return (struct sel_picker_options){
        .d = d,
        .pools_max = RIVAL_POOLS,
        .n_max = options->pool_max,
        .rule = rule,
        .parameters = rule == options->selection.rule ? options->selection.parameters : NULL,
        .beta = options->policy_beta,
        .weighting = options->selection.weighting};
}

static const struct sel_rule *rule_of(const struct engine_options *options, size_t rival)
{
    return rival == 0 ? options->accounting_rule : options->selection.rule;
}

size_t rivals_bytes(const struct engine_options *options, size_t d)
{
    if (options->accounting_rule == NULL)
        return 0;
    size_t sum = options->pool_max * (d * sizeof(float) + options->pool_max / 8);
    for (size_t k = 0; k < RIVALS; k++) {
        const struct sel_picker_options picker = picker_options(options, rule_of(options, k), d);
        sum += sel_picker_bytes(&picker) + (2 * d + 256) * d * sizeof(double) +
               RIVAL_PICKS * (d * sizeof(float) + sizeof(struct rival_pick));
    }
    return sum;
}

void rivals_fini(struct rivals *rivals)
{
    for (size_t k = 0; k < RIVALS; k++) {
        struct rival *rival = &rivals->each[k];
        sel_picker_free(rival->picker);
        sel_information_free(rival->information);
        free(rival->picks);
        free(rival->x);
    }
    free(rivals->rows);
    free(rivals->forbidden);
    *rivals = (struct rivals){0};
}

static bool prepare(struct rival *rival, const struct engine_options *options,
                    const struct sel_rule *rule, size_t d)
{
    const struct sel_picker_options picker = picker_options(options, rule, d);
    rival->rule = rule;
    rival->picker = sel_picker_new(&picker);
    rival->information = sel_information_new(d);
    rival->picks = malloc(RIVAL_PICKS * sizeof *rival->picks);
    rival->x = malloc(RIVAL_PICKS * d * sizeof *rival->x);
    return rival->picker != NULL && rival->information != NULL && rival->picks != NULL &&
           rival->x != NULL;
}

bool rivals_prepare(struct engine *engine)
{
    struct rivals *rivals = &engine->rivals;
    const struct space *space = &engine->model.space;
    const struct engine_options *options = &engine->options;
    if (options->accounting_rule == NULL ||
        (rivals->dimension == space->dimension && identity_equal(rivals->space, space->id)))
        return true;
    rivals_fini(rivals);
    rivals->space = space->id;
    rivals->dimension = space->dimension;
    size_t n = options->pool_max;
    rivals->rows = malloc(n * space->dimension * sizeof *rivals->rows);
    rivals->forbidden = malloc(n * (n - 1) / 2 / 8 + 1);
    bool done = rivals->rows != NULL && rivals->forbidden != NULL;
    for (size_t k = 0; done && k < RIVALS; k++)
        done = prepare(&rivals->each[k], options, rule_of(options, k), space->dimension);
    if (!done)
        rivals_fini(rivals);
    return done;
}

void rivals_forget(struct rivals *rivals)
{
    for (size_t k = 0; k < RIVALS; k++)
        rivals->each[k].open_count = 0;
}

size_t rival_held(const struct rival *rival)
{
    return rival->drawn < RIVAL_PICKS ? (size_t)rival->drawn : RIVAL_PICKS;
}

/* ---- its Sigma ---- */

/* Sigma at the newest psi, of the pairs whose label would have come. */
static enum sel_status rebuild(const struct engine *engine, struct rival *rival)
{
    enum { BLOCK = 256 };
    const struct model *model = &engine->model;
    size_t d = model->space.dimension, held = rival_held(rival), filled = 0;
    double lambda[d], w[BLOCK];
    const float *x[BLOCK];
    double each = held > 0 ? (double)rival->drawn / (double)held : 0;
    for (size_t k = 0; k < d; k++)
        lambda[k] = model->lambdas[model->group[k]];
    enum sel_status status = sel_information_reset(rival->information, lambda);
    for (size_t k = 0; k < held && status == SEL_OK; k++) {
        x[filled] = rival->x + k * d;
        w[filled++] =
            each * sel_weight_tie(model_margin(model, rival->x + k * d), model->lapse, model->tie);
        if (filled == BLOCK || k + 1 == held) {
            status = sel_information_accumulate(rival->information, x, w, filled);
            filled = 0;
        }
    }
    if (status == SEL_OK)
        status = sel_information_factor(rival->information);
    sel_picker_ties(rival->picker, model->tie);
    return status != SEL_OK ? status
                            : sel_picker_begin(rival->picker, rival->information, model->policy,
                                               model->psi, model->lapse);
}

/* ---- the pools that it sees ---- */

static void forbid(uint8_t *forbidden, size_t n, size_t i, size_t j)
{
    size_t pair = i < j ? pair_place(n, i, j) : pair_place(n, j, i);
    forbidden[pair / 8] = (uint8_t)(forbidden[pair / 8] | 1u << pair % 8);
}

static void mark(const struct engine *engine, const struct rival *rival, const struct pool *pool,
                 uint8_t *forbidden)
{
    size_t n = pool->count, picks = rival->taken < RIVAL_PICKS ? (size_t)rival->taken : RIVAL_PICKS;
    memset(forbidden, 0, n * (n - 1) / 2 / 8 + 1);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            if (!working_may_ask(engine, pool->held[i], pool->held[j]))
                forbid(forbidden, n, i, j);
    for (size_t k = 0; k < picks; k++) {
        if (!identity_equal(rival->picks[k].pool, pool->key))
            continue;
        size_t i = pool_place(pool, rival->picks[k].left);
        size_t j = pool_place(pool, rival->picks[k].right);
        if (i < n && j < n && i != j)
            forbid(forbidden, n, i, j);
    }
}

/* x of a row needs no centre: pairs are differences. */
static void gather(const struct engine *engine, const struct pool *pool, float *rows)
{
    size_t d = engine->model.space.dimension;
    for (size_t k = 0; k < pool->count; k++)
        for (size_t axis = 0; axis < d; axis++)
            rows[k * d + axis] =
                (float)space_scaled(&engine->model.space, axis, pool->held[k]->features[axis]);
}

static bool opened(const struct rival *rival, const struct pool *pool)
{
    for (size_t k = 0; k < rival->open_count; k++)
        if (rival->open[k] == pool)
            return true;
    return false;
}

/* The same pools for both. */
static enum sel_status open_pools(struct engine *engine, struct sel_random *random)
{
    enum { TRIES = 2 * RIVAL_POOLS };
    struct rivals *rivals = &engine->rivals;
    enum sel_status status = SEL_OK;
    for (int k = 0; k < TRIES && status == SEL_OK; k++) {
        const struct pool *pool = shadows_draw_pool(engine, random);
        if (pool == NULL || rivals->each[0].open_count == RIVAL_POOLS)
            break;
        if (opened(&rivals->each[0], pool))
            continue;
        gather(engine, pool, rivals->rows);
        for (size_t r = 0; r < RIVALS && status == SEL_OK; r++) {
            struct rival *rival = &rivals->each[r];
            size_t number;
            mark(engine, rival, pool, rivals->forbidden);
            status = sel_picker_open(rival->picker, rivals->rows, pool->count, rivals->forbidden,
                                     &number);
            if (status == SEL_OK)
                rival->open[rival->open_count++] = pool;
        }
    }
    return status;
}

/* ---- a slot ---- */

static void keep(const struct engine *engine, struct rival *rival, const struct pool *pool,
                 const struct sel_choice *choice, struct sel_random *random)
{
    size_t d = engine->model.space.dimension;
    const struct held *left = pool->held[choice->i], *right = pool->held[choice->j];
    rival->picks[rival->taken++ % RIVAL_PICKS] =
        (struct rival_pick){pool->key, left->id, right->id};
    if (sel_random_uniform(random) >= engine->model.return_rate)
        return;
    uint64_t place = rival->drawn++;
    if (place >= RIVAL_PICKS)
        place = sel_random_below(random, place + 1);
    if (place >= RIVAL_PICKS)
        return;
    for (size_t k = 0; k < d; k++)
        rival->x[place * d + k] = (float)(engine->model.space.scale *
                                          ((double)left->features[k] - (double)right->features[k]));
}

static enum sel_status pick(struct engine *engine, struct rival *rival, struct sel_random *random)
{
    struct sel_choice choice;
    if (!sel_picker_best(rival->picker, &choice))
        return SEL_OK;
    enum sel_status status = sel_picker_take(rival->picker, &choice, engine->model.return_rate);
    if (status == SEL_OK)
        keep(engine, rival, rival->open[choice.pool], &choice, random);
    return status;
}

static bool look_on(const struct engine *engine)
{
    return engine->options.accounting_rule != NULL && engine->options.selection.when == WHEN_SLOTS;
}

static bool went_well(enum sel_status status, struct error *error)
{
    return status == SEL_OK ||
           error_set(error, ERROR_FATAL, "accounting.rule: %s", sel_status_text(status));
}

bool rivals_look(struct engine *engine, int64_t slot, struct error *error)
{
    struct rivals *rivals = &engine->rivals;
    if (!look_on(engine) || rivals->each[0].open_count > 0)
        return true;
    struct sel_random random = draw_random(engine, "rival pools", slot, 0);
    enum sel_status status = SEL_OK;
    for (size_t r = 0; r < RIVALS && status == SEL_OK; r++)
        status = rebuild(engine, &rivals->each[r]);
    if (status == SEL_OK)
        status = open_pools(engine, &random);
    return went_well(status, error);
}

bool rivals_follow(struct engine *engine, int64_t slot, struct error *error)
{
    if (!look_on(engine))
        return true;
    struct sel_random random = draw_random(engine, "rival", slot, 0);
    enum sel_status status = SEL_OK;
    for (size_t r = 0; r < RIVALS && status == SEL_OK; r++)
        status = pick(engine, &engine->rivals.each[r], &random);
    return went_well(status, error);
}
