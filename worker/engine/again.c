/* Asking again: attempts of replicas that were not answered, and the replicas of a pair for which
 * there was no slot yet.
 *
 * What is to be asked again of a pool is a function of the ledger's requests of its prompt and of
 * the completions that the ready pool holds, found anew whenever one of them has changed; so
 * whoever gains the partition goes on. Oldest request first, before any new pick, each charged to
 * the budget like a pick. */
#include <stdio.h>
#include <stdlib.h>

#include "replicas.h"
#include "selection.h"

bool again_all(const struct engine_options *options)
{
    return options->labels_replicas > 1 && options->labels_replicate == REPLICATE_ALL;
}

bool again_best(const struct engine_options *options)
{
    return options->labels_replicas > 1 && options->labels_replicate == REPLICATE_BEST;
}

static bool again_wanted(const struct engine_options *options)
{
    return options->labels_attempts > 1 || again_all(options);
}

void again_look(struct engine *engine, const struct request *request)
{
    if (request->partition < 0 || request->partition >= engine->partition_count ||
        !request->whole || !(again_wanted(&engine->options) || again_best(&engine->options)))
        return;
    struct partition_pools *pools = &engine->partitions[request->partition].pools;
    if (pools->first == NULL)
        return;
    const struct requests *requests = &engine->requests;
    struct id key =
        pool_key(request_space_id(requests, request), request_prompt(requests, request));
    struct pool *pool = pool_find(pools, key);
    if (pool == NULL)
        return;
    pool->again_looked = false;
    engine->pools.again_stale = true;
    if (again_best(&engine->options) && request->labels != LABELS_NONE)
        pool->scored = false; /* the pair may compete again */
}

bool again_competes(const struct engine *engine, const struct pool *pool,
                    const struct request *request)
{
    if (!again_best(&engine->options) || request->imported || request->withdrawn ||
        request->arm != ARM_SELECTED || request->partition != pool->partition)
        return false;
    /* The attempt that holds the answer speaks for the others. */
    bool skipped = request->labels != LABELS_NONE && !request_answered(&engine->requests, request);
    if (request->elsewhere || (skipped && replicas_answered(&engine->requests, request)))
        return true;
    return request->replica < engine->options.labels_replicas && request_informative(request);
}

bool again_is_repeat(const struct engine *engine, const struct pool *pool, size_t i, size_t j)
{
    if (pool->repeats == 0)
        return false;
    struct id pair = identity_pair(pool->prompt_id, held_completion_id(pool->held[i]),
                                   held_completion_id(pool->held[j]));
    struct id first = identity_request(span_of(engine->model.space.name), pair, 1, 1);
    return requests_find(&engine->requests, first) != NULL;
}

/* ---- what is to be asked ---- */

/* Both completions are still there, a pair of them fits into a record, and its label would count.
 */
static bool may_ask(const struct engine *engine, const struct pool *pool,
                    const struct request *request, struct again *again)
{
    const struct requests *requests = &engine->requests;
    size_t i = pool_place(pool, identity_of(request_left_id(requests, request)));
    size_t j = pool_place(pool, identity_of(request_right_id(requests, request)));
    if (i == pool->count || j == pool->count || i == j || pool->held[i]->too_large ||
        pool->held[j]->too_large || !working_would_count(engine, pool->held[i], pool->held[j]))
        return false;
    again->i = i < j ? i : j;
    again->j = i < j ? j : i;
    return true;
}

/* The request brought no answer, and another attempt may. */
static bool wants_attempt(const struct engine *engine, const struct request *request)
{
    const struct requests *requests = &engine->requests;
    if (request->attempt >= engine->options.labels_attempts || request->withdrawn ||
        request->elsewhere || !(request->expired || request->labels != LABELS_NONE) ||
        replicas_answered(requests, request))
        return false;
    return replicas_find(requests, request, (int32_t)request->replica,
                         (int32_t)request->attempt + 1) == NULL;
}

/* Other replicas of its pair may be missing. */
static bool wants_replicas(const struct engine *engine, const struct request *request)
{
    struct request_label label;
    if (!again_all(&engine->options) || request->replica != 1 || request->attempt != 1 ||
        request->withdrawn)
        return false;
    /* A pair that was skipped for good is not put to others. */
    bool skipped = request_counting(request, &label) && outcome_is_silent(label.outcome);
    return !skipped || engine->options.labels_skips == SKIPS_AGAIN;
}

static bool append(struct engine *engine, const struct again *again)
{
    if (engine->again_count == engine->again_capacity) {
        size_t capacity = 2 * engine->again_capacity + 64;
        struct again *grown = realloc(engine->again, capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        engine->again = grown;
        engine->again_capacity = capacity;
    }
    engine->again[engine->again_count++] = *again;
    return true;
}

/* Appends what is to be asked of a pool; false: out of memory. */
static bool look_at(struct engine *engine, struct pool *pool)
{
    const struct requests *requests = &engine->requests;
    size_t before = engine->again_count;
    for (const struct request *request = requests_of(requests, pool->prompt); request != NULL;
         request = request->of_prompt) {
        struct again again = {.pool = pool, .request = request};
        if (!request->selected || request->partition != pool->partition ||
            !identity_equal(request_space_id(requests, request), pool->space))
            continue;
        bool attempt = wants_attempt(engine, request), replicas = wants_replicas(engine, request);
        if (!(attempt || replicas) || !may_ask(engine, pool, request, &again))
            continue;
        again.replica = (int32_t)request->replica;
        again.attempt = (int32_t)request->attempt + 1;
        if (attempt && !append(engine, &again))
            return false;
        again.attempt = 1;
        for (again.replica = 2; replicas && again.replica <= engine->options.labels_replicas;
             again.replica++)
            if (replicas_find(requests, request, again.replica, 1) == NULL &&
                !append(engine, &again))
                return false;
    }
    pool->again_looked = true;
    pool->again_due = engine->again_count - before;
    return true;
}

static int oldest_first(const void *left, const void *right)
{
    const struct again *a = left, *b = right;
    if (a->request->issued_at != b->request->issued_at)
        return a->request->issued_at < b->request->issued_at ? -1 : 1;
    int order = identity_compare(a->request->id, b->request->id);
    return order != 0 ? order : (a->replica > b->replica) - (a->replica < b->replica);
}

/* Finds what is to be asked of the pools whose partition has a slot, oldest first. */
static bool find_again(struct engine *engine, struct error *error)
{
    bool stale = false, due = false;
    engine->again_count = 0;
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        struct pool *pool = engine->pools.ready[k];
        bool idle = pool->again_looked && pool->again_due == 0;
        if (idle || !space_is_current(engine, pool))
            continue;
        if (!spend_allows_partition(engine, pool->partition)) {
            stale = stale || !pool->again_looked;
            due = due || pool->again_due > 0;
            continue;
        }
        spend_look_at(engine, pool);
        if (!look_at(engine, pool))
            return error_set(error, ERROR_FATAL, "out of memory for what is asked again");
        due = due || pool->again_due > 0;
    }
    engine->pools.again_stale = stale;
    engine->again_due = due;
    if (engine->again_count > 0)
        qsort(engine->again, engine->again_count, sizeof *engine->again, oldest_first);
    return true;
}

bool again_tick(struct engine *engine, struct error *error)
{
    if (!again_wanted(&engine->options) || !(engine->pools.again_stale || engine->again_due))
        return true;
    if (!find_again(engine, error))
        return false;
    for (size_t k = 0; k < engine->again_count; k++) {
        const struct again *again = &engine->again[k];
        spend_quotas(engine);
        if (!spend_allows(engine, again->pool) || again->pool->held[again->i]->too_large ||
            again->pool->held[again->j]->too_large)
            continue;
        if (!publish_again(engine, again, error))
            return false;
    }
    return true;
}

bool again_owes(const struct engine *engine, const struct pool *pool)
{
    return again_all(&engine->options) && (!pool->again_looked || pool->again_due > 0);
}
