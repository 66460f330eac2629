/* Selection: its memory, and which pools are looked at when.
 *
 * slots: whenever a slot is open, the pair that draw.c finds among all pools that compete, or a
 * batch of listing.c.
 *
 * pool: each pool once it is ready and its partition has a slot. Its own pairs, as many as it may
 * have; then it is closed.
 *
 * price: each pool once it is ready, whether there is a slot or not. Its best pair, if that is
 * worth more than the price; then it is closed. */
#include <stdlib.h>
#include <string.h>

#include "selection.h"

struct selection_options selection_defaults(const struct sel_rule *rule)
{
    struct selection_options options = {.rule = rule,
                                        .sharpness = 1,
                                        .prompt_share = 1,
                                        .shortlist = 64,
                                        .per_cost = true,
                                        .price_share = .25,
                                        .price_rate = .1,
                                        .candidates = 2000,
                                        .list = 4};
    sel_rule_defaults(rule, options.parameters);
    return options;
}

/* ---- memory ---- */

/* A rule that chooses from a list takes the picker for everything but its choice. */
static const struct sel_rule *picker_rule(const struct selection_options *options)
{
    if (!selection_lists(options))
        return options->rule;
    return sel_rule_find((options->rule->traits & SEL_UNWEIGHTED) != 0 ? "dopt_xx"
                                                                       : "policy_trace");
}

static struct sel_picker_options picker_options(const struct engine_options *options,
                                                size_t dimension)
{
    const struct selection_options *selection = &options->selection;
    return (struct sel_picker_options){
        .d = dimension,
        .pools_max = SELECT_POOLS,
        .n_max = options->pool_max,
        .rule = picker_rule(selection),
        .parameters = selection_lists(selection) ? NULL : selection->parameters,
        .beta = options->policy_beta,
        .weighting = selection->weighting};
}

/* Pairs whose probabilities are looked at together. */
static size_t chances_max(const struct engine_options *options)
{
    size_t pairs = options->pool_max * (options->pool_max - 1) / 2;
    if (options->selection.draw != DRAW_BEST)
        return SELECT_POOLS * pairs;
    return selection_draws(&options->selection) ? pairs : 0;
}

size_t select_bytes(const struct engine_options *options, size_t dimension)
{
    const struct sel_picker_options picker = picker_options(options, dimension);
    return sel_picker_bytes(&picker) + listing_bytes(options, dimension) +
           rivals_bytes(options, dimension) + 2 * chances_max(options) * sizeof(double) +
           options->pool_max * dimension * (sizeof(float) + sizeof(double)) +
           SELECT_POOLS * (sizeof(struct pool *) + sizeof(size_t));
}

void select_fini(struct engine *engine)
{
    sel_picker_free(engine->picker);
    listing_fini(engine);
    free(engine->gathered);
    free(engine->scratch);
    free(engine->forbidden);
    free(engine->working);
    free(engine->challengers);
    free(engine->eligible);
    free(engine->chances);
    engine->picker = NULL;
    engine->gathered = NULL;
    engine->scratch = engine->chances = NULL;
    engine->forbidden = NULL;
    engine->challengers = NULL;
    engine->working = engine->eligible = NULL;
    engine->picker_dimension = engine->working_count = engine->compared = 0;
    engine->eligible_count = engine->eligible_capacity = 0;
}

bool select_prepare(struct engine *engine, struct error *error)
{
    size_t d = engine->model.space.dimension;
    if (d > 0 && (!shadows_prepare(engine) || !rivals_prepare(engine)))
        return error_set(error, ERROR_FATAL, "out of memory for shadows");
    if (d == 0 || engine->picker_dimension == d)
        return true;
    select_fini(engine);
    size_t n = engine->options.pool_max;
    const struct sel_picker_options options = picker_options(&engine->options, d);
    engine->chances_max = chances_max(&engine->options);
    engine->picker = sel_picker_new(&options);
    engine->gathered = malloc(n * d * sizeof(float));
    engine->scratch = malloc((n * d + n) * sizeof(double));
    engine->forbidden = malloc(n * (n - 1) / 2 / 8 + 1);
    engine->working = malloc(SELECT_POOLS * sizeof *engine->working);
    engine->challengers = malloc(SELECT_POOLS * sizeof *engine->challengers);
    engine->chances = malloc((2 * engine->chances_max + 1) * sizeof(double));
    if (!listing_prepare(engine) || engine->picker == NULL || engine->gathered == NULL ||
        engine->scratch == NULL || engine->forbidden == NULL || engine->working == NULL ||
        engine->challengers == NULL || engine->chances == NULL) {
        select_fini(engine);
        return error_set(error, ERROR_FATAL, "out of memory for selection with %zu features", d);
    }
    engine->picker_dimension = d;
    engine->model.moved = true;
    return true;
}

/* ---- slots: over all pools ---- */

static bool fill_slots(struct engine *engine, struct error *error)
{
    struct decision decision;
    if (!working_fill(engine, error))
        return false;
    while (true) {
        bool fits = true;
        /* A domain reached its floor or its cap: other pools compete. */
        if (spend_quotas(engine) != engine->quotas && !working_fill(engine, error))
            return false;
        if (draw_pair(engine, NULL, false, &decision, error)) {
            if (!publish_decision(engine, &decision, &fits, error) ||
                (!fits && !working_fill(engine, error)))
                return false;
        } else if (error->class != ERROR_NONE) {
            return false;
        } else if (decision.pool == NULL || !decision.pool->skipped) {
            return true;
        } else {
            draw_skipped(engine);
        }
    }
}

static void close_spent(struct engine *engine)
{
    if (engine->options.pool_picks == 0)
        return;
    for (size_t k = 0; k < engine->pools.ready_count;) {
        struct pool *pool = engine->pools.ready[k];
        if (pool->picks >= engine->options.pool_picks && !again_owes(engine, pool))
            completions_close_pool(engine, pool, POOL_PICKS);
        else
            k++;
    }
}

static bool tick_slots(struct engine *engine, struct error *error)
{
    if (!working_refresh(engine, error))
        return false;
    spend_quotas(engine);
    bool list = selection_lists(&engine->options.selection);
    if (list) {
        if (!listing_tick(engine, error))
            return false;
    } else if (working_candidates(engine) > 0 && listing_due(engine) &&
               !fill_slots(engine, error)) {
        return false;
    }
    close_spent(engine);
    return true;
}

/* ---- pool by pool ---- */

/* Whether the price keeps the rule from asking the pool's best pair. */
static bool price_declines(struct engine *engine, const struct pool *pool, size_t number)
{
    struct sel_choice best;
    return engine->options.selection.when == WHEN_PRICE &&
           !(sel_picker_best_of(engine->picker, number, &best) &&
             price_asks(engine, pool->partition, best.score));
}

/* Asks as many pairs of one pool as it may have and the slots allow. The arms that take uniform
 * pairs and probes do not look at the price. */
static bool ask_pool(struct engine *engine, struct pool *pool, enum pool_end *end,
                     struct error *error)
{
    size_t number;
    if (!working_start(engine, error) || !working_open(engine, pool, &number, error))
        return false;
    *end = pool->picks > 0 ? POOL_PICKS : POOL_PASSED;
    while (!pool->exhausted) {
        struct decision decision;
        bool fits = true, declined = price_declines(engine, pool, number);
        if (!spend_allows(engine, pool))
            return true;
        bool by_rule = draw_arm(engine, draw_slot(engine)) == DRAW_BY_RULE;
        if (by_rule && declined) {
            draw_skipped(engine);
            return true;
        }
        if (!draw_pair(engine, pool, declined, &decision, error)) {
            if (by_rule)
                draw_skipped(engine);
            return error->class == ERROR_NONE;
        }
        if (!publish_decision(engine, &decision, &fits, error))
            return false;
        if (!fits && (!working_start(engine, error) || !working_open(engine, pool, &number, error)))
            return false;
        *end = pool->picks > 0 ? POOL_PICKS : POOL_PASSED;
    }
    return true;
}

/* The pools of a partition that are ready, the oldest first. */
static bool tick_partition(struct engine *engine, int32_t number, struct error *error)
{
    struct partition *partition = &engine->partitions[number];
    bool waits = engine->options.selection.when == WHEN_POOL;
    struct pool *next;
    for (struct pool *pool = partition->pools.first; pool != NULL; pool = next) {
        next = pool->next;
        if (!pool->ready || pool->count < 2 || !space_is_current(engine, pool))
            continue;
        if (waits && !spend_allows_partition(engine, number))
            return true;
        if (waits && !pool->settled)
            spend_look_at(engine, pool);
        if (waits && !pool->settled && !spend_allows(engine, pool))
            continue; /* its prompt, its domain or its cost must wait */
        enum pool_end end = POOL_PICKS;
        if (!pool->settled && !ask_pool(engine, pool, &end, error))
            return false;
        pool->settled = true;
        if (!again_owes(engine, pool))
            completions_close_pool(engine, pool, end);
    }
    return true;
}

static bool tick_pools(struct engine *engine, struct error *error)
{
    for (int32_t k = 0; k < engine->partition_count; k++)
        if (partition_live(&engine->partitions[k]) && !tick_partition(engine, k, error))
            return false;
    return price_tick(engine, error);
}

bool select_tick(struct engine *engine, struct error *error)
{
    if (!select_prepare(engine, error))
        return false;
    if (!model_refresh(&engine->model, error))
        return error->class == ERROR_NONE;
    if (engine_window_full(engine) || engine->options.observes)
        return true;
    spend_refresh(engine);
    if (!again_tick(engine, error))
        return false;
    engine->stats.policy_trace = model_trace(&engine->model);
    shadows_forget(&engine->shadows);
    rivals_forget(&engine->rivals);
    if (engine->options.selection.when == WHEN_SLOTS)
        return tick_slots(engine, error);
    return tick_pools(engine, error);
}
