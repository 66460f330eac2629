/* How likely a pair is to be asked next: for estimates from recorded labels. */
#include "selection.h"

/* Scores all ready pools, as so many ticks would. */
static bool score_all(struct engine *engine, struct error *error)
{
    for (size_t k = 0; k <= engine->pools.ready_count / SELECT_REFRESH; k++) {
        if (!working_refresh(engine, error))
            return false;
    }
    return true;
}

static struct pool *find_pool(const struct engine *engine, struct span prompt_id)
{
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        struct pool *pool = engine->pools.ready[k];
        if (span_equal(pool->prompt_id, prompt_id) && working_candidate(engine, pool))
            return pool;
    }
    return NULL;
}

static size_t find_completion(const struct pool *pool, struct span id)
{
    size_t k = 0;
    while (k < pool->count && !span_equal(held_completion_id(pool->held[k]), id))
        k++;
    return k;
}

bool engine_chance(struct engine *engine, struct span prompt_id, struct span completion,
                   struct span other, struct engine_chance *chance, struct error *error)
{
    const struct selection_options *selection = &engine->options.selection;
    struct decision decision = {.slot = draw_slot(engine)};
    *chance = (struct engine_chance){0, 0};
    error->class = ERROR_NONE;
    if (!select_prepare(engine, error))
        return false;
    if (engine->picker == NULL || !model_refresh(&engine->model, error))
        return error->class == ERROR_NONE;
    spend_refresh(engine);
    if (!score_all(engine, error) || !working_fill(engine, error))
        return false;
    struct pool *pool = decision.pool = find_pool(engine, prompt_id);
    size_t number, i = pool == NULL ? 0 : find_completion(pool, completion);
    size_t j = pool == NULL ? 0 : find_completion(pool, other);
    if (pool == NULL || i == pool->count || j == pool->count || i == j)
        return true;
    if (!working_number(engine, pool, &number, error))
        return false;
    if (!sel_picker_choice(engine->picker, number, i < j ? i : j, i < j ? j : i, &decision.choice))
        return true;
    chance->uniform = draw_uniform_chance(engine, NULL, &decision);
    chance->propensity = (double)NAN;
    if (selection->when == WHEN_SLOTS && !selection_lists(selection)) {
        decision.chance = draw_rule_chance(engine, NULL, &decision);
        chance->propensity = draw_propensity(engine, NULL, &decision);
    }
    return true;
}
