/* What may be spent now, and what was: the one gate through which every request goes.
 *
 * A pool may be asked when its partition has room for the dearest of its pairs, its prompt has not
 * had budget.per_prompt requests, its domain is not at its cap, and, where a domain of the
 * partition is below its floor and has a pool that could be asked, its own domain is one of those.
 * That holds for every arm alike, so a uniform pair is uniform over the same pools. Floors need
 * pools that wait for each other: they hold with selection.when = slots.
 *
 * What is kept of a partition follows the SELECTED of its ledger entries, whoever wrote them. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "selection.h"

struct budget_options spend_options(const struct engine_options *options)
{
    return (struct budget_options){.per_second = options->budget_per_second,
                                   .burst = options->budget_burst,
                                   .in_flight = options->budget_in_flight,
                                   .limits = options->budget_limits};
}

bool spend_is_limited(const struct budget_options *options)
{
    return options->per_second > 0 || options->limits.per_hour > 0 || options->limits.per_day > 0;
}

/* ---- what was spent ---- */

/* As it stands in the window, so that a restart finds the same. */
static double request_cost(double cost)
{
    return (double)(float)fmin(cost, FLT_MAX);
}

static bool no_memory(struct error *error)
{
    return error_set(error, ERROR_FATAL, "out of memory for a budget");
}

bool spend_note(struct engine *engine, const struct entry_selected *selected, struct error *error)
{
    struct bucket *bucket = &engine->partitions[selected->completions_partition].bucket;
    /* Who asks charges as it asks; who observes charges for those who asked. */
    if (engine->options.observes)
        budget_charge(&engine->budget, bucket, selected->issued_at, request_cost(selected->cost));
    return budget_note(&engine->budget, bucket, selected->issued_at, selected->slot,
                       request_cost(selected->cost), selected->domain) ||
           no_memory(error);
}

struct charge {
    int64_t time;
    double cost;
};

static int compare_time(const void *left, const void *right)
{
    int64_t a = ((const struct charge *)left)->time, b = ((const struct charge *)right)->time;
    return (a > b) - (a < b);
}

bool spend_restore(struct engine *engine, int32_t number, struct error *error)
{
    struct bucket *bucket = &engine->partitions[number].bucket;
    size_t count = 0;
    struct charge *charges = malloc(((size_t)engine->requests.count + 1) * sizeof *charges);
    if (charges == NULL)
        return no_memory(error);
    const struct request *request;
    for (size_t at = 0; (request = requests_next(&engine->requests, &at)) != NULL; at++) {
        if (request->selected && request->partition == number)
            charges[count++] = (struct charge){request->issued_at, (double)request->cost};
    }
    qsort(charges, count, sizeof *charges, compare_time);
    bucket->arrival = 0;
    for (size_t k = 0; k < count; k++)
        budget_charge(&engine->budget, bucket, charges[k].time, charges[k].cost);
    free(charges);
    return true;
}

/* ---- what may be spent ---- */

static void look_at_partition(struct engine *engine, int32_t number)
{
    struct partition *partition = &engine->partitions[number];
    partition->room = budget_room(&engine->budget, &partition->bucket, number, entry_time(engine));
    budget_domains(&engine->budget, &partition->bucket, &partition->wanting, &partition->full);
}

/* When the prompt of a pool may be asked again, as far as is known. */
static int64_t prompt_again(const struct engine *engine, const struct pool *pool)
{
    int64_t most = engine->options.budget_limits.per_prompt, count = 0, oldest = INT64_MAX;
    int64_t from = entry_time(engine) - engine->options.labels_window;
    if (most == 0)
        return 0;
    for (const struct request *request = requests_of(&engine->requests, pool->prompt);
         request != NULL; request = request->of_prompt) {
        if (!request->selected || request->issued_at <= from)
            continue;
        count++;
        oldest = request->issued_at < oldest ? request->issued_at : oldest;
    }
    return count < most ? 0 : oldest + engine->options.labels_window;
}

static float dearest_of(const struct pool *pool)
{
    double first = 0, second = 0;
    for (size_t k = 0; k < pool->count; k++) {
        double cost = pool->held[k]->candidate ? held_cost(pool->held[k]) : 0;
        second = fmax(second, fmin(first, cost));
        first = fmax(first, cost);
    }
    return (float)request_cost(first / 2 + second / 2);
}

void spend_look_at(struct engine *engine, struct pool *pool)
{
    pool->dearest = dearest_of(pool);
    pool->quota = budget_domain(&engine->options.budget_limits, pool->domain);
    pool->prompt_again = prompt_again(engine, pool);
}

/* A pair of this cost, by what the whole partition may spend. */
static bool allows_cost(const struct engine *engine, int32_t number, double cost)
{
    const struct partition *partition = &engine->partitions[number];
    return partition_live(partition) && budget_fits(&partition->room, cost) &&
           budget_free(&engine->budget, &partition->bucket, number) > 0;
}

bool spend_allows_partition(const struct engine *engine, int32_t number)
{
    return allows_cost(engine, number, 0);
}

static uint32_t domain_bit(const struct pool *pool)
{
    return pool->quota == 0 ? 0 : (uint32_t)1 << (pool->quota - 1);
}

/* But for the floors of other domains. */
static bool allows(const struct engine *engine, const struct pool *pool)
{
    const struct partition *partition = &engine->partitions[pool->partition];
    return allows_cost(engine, pool->partition, (double)pool->dearest) &&
           (partition->full & domain_bit(pool)) == 0 && pool->prompt_again == 0;
}

bool spend_allows(const struct engine *engine, const struct pool *pool)
{
    uint32_t below = engine->partitions[pool->partition].below;
    return allows(engine, pool) && (below == 0 || (below & domain_bit(pool)) != 0);
}

/* ---- floors ---- */

/* Of the domains below their floor those that have a pool that could be asked. */
static void find_floors(struct engine *engine)
{
    for (int32_t k = 0; k < engine->partition_count; k++)
        engine->partitions[k].below = 0;
    if (engine->options.selection.when != WHEN_SLOTS)
        return;
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        const struct pool *pool = engine->pools.ready[k];
        struct partition *partition = &engine->partitions[pool->partition];
        uint32_t own = domain_bit(pool) & partition->wanting & ~partition->below;
        if (own != 0 && working_stands(engine, pool) && allows(engine, pool))
            partition->below |= own;
    }
}

uint64_t spend_quotas(struct engine *engine)
{
    if (engine->options.budget_limits.domain_count == 0) {
        for (int32_t k = 0; k < engine->partition_count; k++)
            engine->partitions[k].below = 0;
        return 0;
    }
    find_floors(engine);
    struct id state = {0};
    for (int32_t k = 0; k < engine->partition_count; k++) {
        const struct partition *partition = &engine->partitions[k];
        const uint64_t part[] = {state.high, state.low, partition->below, partition->full};
        const struct span bytes = {(const char *)part, sizeof part};
        state = identity_hash(&bytes, 1);
    }
    return state.low;
}

/* ---- as time goes on ---- */

void spend_refresh(struct engine *engine)
{
    int64_t time = entry_time(engine);
    for (int32_t k = 0; k < engine->partition_count; k++)
        if (partition_live(&engine->partitions[k]))
            look_at_partition(engine, k);
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        struct pool *pool = engine->pools.ready[k];
        if (pool->prompt_again != 0 && pool->prompt_again <= time)
            pool->prompt_again = prompt_again(engine, pool);
    }
    spend_quotas(engine);
}

bool spend_charge(struct engine *engine, struct pool *pool, const struct request *request,
                  int64_t slot, struct error *error)
{
    struct bucket *bucket = &engine->partitions[request->partition].bucket;
    double cost = (double)request->cost;
    budget_charge(&engine->budget, bucket, request->issued_at, cost);
    if (!budget_note(&engine->budget, bucket, request->issued_at, slot, cost, pool->domain))
        return no_memory(error);
    look_at_partition(engine, request->partition);
    pool->prompt_again = prompt_again(engine, pool);
    return true;
}

/* ---- what stands in the way ---- */

/* The limit that holds back a partition which has pools to ask. */
static enum budget_limit limit_of(const struct budget_room *room, double cost)
{
    return room->labels < 1                         ? room->of_labels
           : room->cost < cost || !(room->cost > 0) ? room->of_cost
                                                    : BUDGET_OPEN;
}

/* Dear pairs were asked, and the rate takes more than an hour to make up for them. */
static bool is_overdrawn(const struct engine *engine, int32_t number)
{
    enum { LONG = 3600 * 1000 };
    const struct budget *budget = &engine->budget;
    return budget->options.limits.by_cost && budget->options.per_second > 0 &&
           -budget_level(budget, &engine->partitions[number].bucket, number, entry_time(engine)) *
                   budget->interval >
               LONG;
}

static void name_limit(const struct engine *engine, enum budget_limit limit, char *text,
                       size_t size)
{
    const struct engine_options *options = &engine->options;
    const struct budget_limits *limits = &options->budget_limits;
    const char *unit = limits->by_cost ? "units of cost" : "labels";
    if (limit == BUDGET_QUIET)
        snprintf(text, size, "budget.quiet: it is a quiet hour");
    else if (limit == BUDGET_IN_FLIGHT)
        snprintf(text, size, "budget.in_flight: all of %lld requests wait for their label",
                 (long long)options->budget_in_flight);
    else if (limit == BUDGET_RATE)
        snprintf(text, size,
                 "budget.per_second: pairs of a high cost have used it up for more than an hour");
    else if (limit == BUDGET_HOUR)
        snprintf(text, size,
                 "budget.per_hour: its %g %s leave a partition no room for a pair for now",
                 limits->per_hour, unit);
    else if (limit == BUDGET_DAY)
        snprintf(text, size,
                 "budget.per_day: its %g %s leave a partition no room for a pair for now",
                 limits->per_day, unit);
    else
        snprintf(text, size,
                 "budget.total: the requests of labels.window have used up its %g units of cost",
                 limits->total);
}

/* A pool of which a pair could be asked. */
static bool offers(const struct engine *engine, const struct pool *pool)
{
    return engine->options.selection.when == WHEN_SLOTS
               ? working_stands(engine, pool)
               : pool->count >= 2 && space_is_current(engine, pool);
}

/* Ready pools that are held back by a limit of their own alone. */
static bool held_back(const struct engine *engine, char *text, size_t size)
{
    size_t prompts = 0, domains = 0, count = 0;
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        const struct pool *pool = engine->pools.ready[k];
        if (!offers(engine, pool) || !spend_allows_partition(engine, pool->partition))
            continue;
        if (spend_allows(engine, pool))
            return false;
        count++;
        prompts += pool->prompt_again != 0;
        domains += (engine->partitions[pool->partition].full & domain_bit(pool)) != 0;
    }
    if (count == 0 || prompts + domains == 0)
        return false;
    snprintf(text, size,
             "of %zu ready pools %zu have had budget.per_prompt requests, and %zu are of a domain "
             "at its cap in budget.domains",
             count, prompts, domains);
    return true;
}

bool spend_obstacle(const struct engine *engine, char *text, size_t size)
{
    enum budget_limit tightest = BUDGET_OPEN;
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        const struct pool *pool = engine->pools.ready[k];
        const struct partition *partition = &engine->partitions[pool->partition];
        if (!partition_live(partition) || !offers(engine, pool))
            continue;
        enum budget_limit limit = limit_of(&partition->room, (double)pool->dearest);
        if (limit == BUDGET_RATE && !is_overdrawn(engine, pool->partition))
            return false;
        if (limit == BUDGET_OPEN)
            return held_back(engine, text, size);
        tightest = limit;
    }
    if (tightest == BUDGET_OPEN)
        return false;
    name_limit(engine, tightest, text, size);
    return true;
}
