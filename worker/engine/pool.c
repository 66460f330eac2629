#include "pool.h"

#include "inputs.h"

#include <stdlib.h>
#include <string.h>

void pools_init(struct pools *pools, const struct engine_options *options,
                struct engine_stats *stats)
{
    *pools = (struct pools){.options = options, .stats = stats};
    pools->inputs = inputs_kept(&options->selection);
    store_init(&pools->store, options->pools_bytes);
}

void pools_fini(struct pools *pools)
{
    free(pools->ready);
    store_fini(&pools->store);
    pools->ready = NULL;
    pools->ready_count = pools->ready_capacity = 0;
}

struct span text_cut(struct span text, size_t size)
{
    if (text.size <= size)
        return text;
    while (size > 0 && ((unsigned char)text.data[size] & 0xC0) == 0x80)
        size--;
    return (struct span){text.data, size};
}

struct id pool_key(struct id space, struct id prompt)
{
    const struct span parts[] = {{(const char *)&space, sizeof space},
                                 {(const char *)&prompt, sizeof prompt}};
    return identity_hash(parts, 2);
}

struct pool *pool_find(const struct partition_pools *partition, struct id key)
{
    struct pool *pool;
    HASH_FIND(hh, partition->by_key, &key, sizeof key, pool);
    return pool;
}

/* A block of the pools' store; what was refused is remembered. */
static void *take(struct pools *pools, size_t size)
{
    void *block = store_take(&pools->store, size);
    if (block == NULL)
        pools->refused = store_need(&pools->store, size);
    return block;
}

/* Copies `text` to *at and moves *at behind it. */
static struct span put(char **at, struct span text)
{
    struct span copy = {*at, text.size};
    if (text.size > 0)
        memcpy(*at, text.data, text.size);
    *at += text.size;
    return copy;
}

static void free_texts(struct pools *pools, struct pool *pool)
{
    /* One block that starts with prompt_id. */
    store_give(&pools->store, (void *)(uintptr_t)pool->prompt_id.data,
               pool->prompt_id.size + pool->prompt_text.size + pool->domain.size);
}

/* The prompt's texts: those that the pool has, and of the completion what it still lacks. */
static bool set_texts(struct pools *pools, struct pool *pool, const struct completion *completion)
{
    bool lacks_prompt = pool->prompt_text.size == 0, lacks_domain = pool->domain.size == 0;
    bool opened = pool->prompt_id.data == NULL;
    if (!opened && !(lacks_prompt && completion->prompt.size > 0) &&
        !(lacks_domain && completion->domain.size > 0))
        return true;
    struct span cut = text_cut(completion->prompt, pools->options->limits_text);
    struct span prompt = lacks_prompt ? cut : pool->prompt_text;
    struct span domain = lacks_domain ? completion->domain : pool->domain;
    struct pool had = *pool;
    char *text = take(pools, completion->prompt_id.size + prompt.size + domain.size);
    if (text == NULL)
        return false;
    if (lacks_prompt) {
        pool->prompt_cut = cut.size < completion->prompt.size;
        pools->stats->texts_cut += pool->prompt_cut;
    }
    pool->prompt_id = put(&text, completion->prompt_id);
    pool->prompt_text = put(&text, prompt);
    pool->domain = put(&text, domain);
    if (!opened)
        free_texts(pools, &had);
    return true;
}

struct pool *pool_open(struct pools *pools, struct partition_pools *partition, struct id space,
                       const struct source *source, const struct completion *completion,
                       int64_t time, int64_t time_before)
{
    struct pool *pool = take(pools, sizeof *pool);
    if (pool == NULL)
        return NULL;
    *pool = (struct pool){.prompt = identity_of(completion->prompt_id),
                          .space = space,
                          .first_offset = source->offset,
                          .first_time = time,
                          .time_before = time_before,
                          .partition = source->partition,
                          .before = partition->last};
    if (!set_texts(pools, pool, completion)) {
        store_give(&pools->store, pool, sizeof *pool);
        return NULL;
    }
    pool->key = pool_key(space, pool->prompt);
    HASH_ADD(hh, partition->by_key, key, sizeof pool->key, pool);
    if (partition->last != NULL)
        partition->last->next = pool;
    else
        partition->first = pool;
    partition->last = pool;
    if (partition->waiting == NULL)
        partition->waiting = pool;
    pools->stats->pools_open++;
    return pool;
}

/* Of the inputs and the cost. */
static size_t numbers_size(const struct held *held)
{
    return ((size_t)held->input_count + held->has_cost) * sizeof(double);
}

static size_t held_bytes(const struct held *held)
{
    return offsetof(struct held, features) + held->dimension * sizeof(float) + numbers_size(held) +
           held->id_size + held->version_size + held->uri_size + held->traceparent_size +
           held->tracestate_size + held->text_size;
}

static void held_free(struct pools *pools, struct held *held)
{
    store_give(&pools->store, held, held_bytes(held));
    pools->stats->completions_held--;
}

static struct held *held_new(struct pools *pools, const struct source *source,
                             const struct completion *completion)
{
    struct span text = text_cut(completion->text, pools->options->limits_text);
    double numbers[SEL_INPUTS + 1];
    size_t count = inputs_take(pools->inputs, completion, numbers);
    bool has_cost = completion->cost != 1;
    numbers[count] = completion->cost;
    const struct held head = {.id = identity_of(completion->completion_id),
                              .offset = source->offset,
                              .policy_epoch = completion->policy_epoch,
                              .log_ratio =
                                  completion->reference_logprob - completion->policy_logprob,
                              .traffic_weight = (float)completion->traffic_weight,
                              .text_size = (uint32_t)text.size,
                              .id_size = (uint16_t)completion->completion_id.size,
                              .version_size = (uint16_t)completion->policy_version.size,
                              .uri_size = (uint16_t)completion->uri.size,
                              .traceparent_size = (uint16_t)source->traceparent.size,
                              .tracestate_size = (uint16_t)source->tracestate.size,
                              .candidate = completion->candidate,
                              .text_cut = text.size < completion->text.size,
                              .has_cost = has_cost,
                              .input_count = (unsigned char)(count & 7),
                              .dimension = (uint32_t)completion->dimension};
    struct held *held = take(pools, held_bytes(&head));
    if (held == NULL)
        return NULL;
    memcpy(held, &head, offsetof(struct held, features));
    memcpy(held->features, completion->features, completion->dimension * sizeof(float));
    char *at = (char *)(held->features + completion->dimension);
    put(&at, (struct span){(const char *)numbers, numbers_size(held)});
    put(&at, completion->completion_id);
    put(&at, completion->policy_version);
    put(&at, completion->uri);
    put(&at, source->traceparent);
    put(&at, source->tracestate);
    put(&at, text);
    pools->stats->texts_cut += head.text_cut;
    pools->stats->completions_held++;
    return held;
}

/* Room for one more, within pool.max. */
static bool make_room(struct pools *pools, struct pool *pool)
{
    enum { FIRST = 4 };
    size_t most = pools->options->pool_max;
    if (pool->count < pool->capacity || pool->capacity == most)
        return true;
    size_t capacity = pool->capacity == 0 ? FIRST : 2 * (size_t)pool->capacity;
    if (capacity > most)
        capacity = most;
    struct held **grown = take(pools, capacity * sizeof(struct held *));
    if (grown == NULL)
        return false;
    if (pool->count > 0)
        memcpy(grown, pool->held, pool->count * sizeof(struct held *));
    store_give(&pools->store, pool->held, pool->capacity * sizeof(struct held *));
    pool->held = grown;
    pool->capacity = (uint32_t)capacity;
    return true;
}

enum pool_added pool_add(struct pools *pools, struct pool *pool, const struct source *source,
                         const struct completion *completion)
{
    struct id id = identity_of(completion->completion_id);
    for (size_t k = 0; k < pool->count; k++) {
        if (identity_equal(pool->held[k]->id, id))
            return POOL_DUPLICATE;
    }
    struct held *held = set_texts(pools, pool, completion) && make_room(pools, pool)
                            ? held_new(pools, source, completion)
                            : NULL;
    if (held == NULL)
        return POOL_FULL_MEMORY;
    if (pool->count == pools->options->pool_max) {
        held_free(pools, pool->held[0]);
        memmove(pool->held, pool->held + 1, (pool->count - 1) * sizeof(struct held *));
        pool->count--;
        pools->stats->completions_dropped++;
    }
    pool->held[pool->count++] = held;
    pool->scored = pool->again_looked = false;
    pools->again_stale = true;
    return POOL_ADDED;
}

static void ready_remove(struct pools *pools, struct pool *pool)
{
    struct pool *moved = pools->ready[--pools->ready_count];
    pools->ready[pool->ready_index] = moved;
    moved->ready_index = pool->ready_index;
    pools->stats->pools_ready--;
}

void pool_close(struct pools *pools, struct partition_pools *partition, struct pool *pool,
                enum pool_end reason)
{
    if (pool->ready)
        ready_remove(pools, pool);
    if (partition->waiting == pool)
        partition->waiting = pool->next;
    if (pool->before != NULL)
        pool->before->next = pool->next;
    else
        partition->first = pool->next;
    if (pool->next != NULL)
        pool->next->before = pool->before;
    else
        partition->last = pool->before;
    HASH_DEL(partition->by_key, pool);
    for (size_t k = 0; k < pool->count; k++)
        held_free(pools, pool->held[k]);
    free_texts(pools, pool);
    store_give(&pools->store, pool->held, pool->capacity * sizeof(struct held *));
    store_give(&pools->store, pool, sizeof *pool);
    pools->stats->pools_open--;
    pools->stats->pools_closed[reason]++;
}

bool pool_update_ready(struct pools *pools, struct pool *pool, int64_t stream_time)
{
    const struct engine_options *options = pools->options;
    bool waited = stream_time - pool->first_time >= options->pool_wait;
    if (pool->ready ||
        !(pool->count >= options->pool_size || (waited && pool->count >= options->pool_min)))
        return true;
    if (pools->ready_count == pools->ready_capacity) {
        size_t capacity = pools->ready_capacity == 0 ? 256 : 2 * pools->ready_capacity;
        struct pool **ready = realloc(pools->ready, capacity * sizeof *ready);
        if (ready == NULL)
            return false;
        pools->ready = ready;
        pools->ready_capacity = capacity;
    }
    pool->ready = pools->again_stale = true;
    pool->ready_index = pools->ready_count;
    pools->ready[pools->ready_count++] = pool;
    pools->stats->pools_ready++;
    return true;
}

bool pools_wait_over(struct pools *pools, struct partition_pools *partition, int64_t stream_time)
{
    while (partition->waiting != NULL &&
           stream_time - partition->waiting->first_time >= pools->options->pool_wait) {
        if (!pool_update_ready(pools, partition->waiting, stream_time))
            return false;
        partition->waiting = partition->waiting->next;
    }
    return true;
}

static struct span held_part(const struct held *held, size_t before, size_t size)
{
    return (struct span){
        (const char *)(held->features + held->dimension) + numbers_size(held) + before, size};
}

static double number_at(const struct held *held, size_t place)
{
    double number;
    memcpy(&number, (const char *)(held->features + held->dimension) + place * sizeof number,
           sizeof number);
    return number;
}

double held_input(const struct held *held, size_t place)
{
    return number_at(held, place);
}

double held_cost(const struct held *held)
{
    return held->has_cost ? number_at(held, held->input_count) : 1;
}

struct span held_completion_id(const struct held *held)
{
    return held_part(held, 0, held->id_size);
}

struct span held_policy_version(const struct held *held)
{
    return held_part(held, held->id_size, held->version_size);
}

struct span held_uri(const struct held *held)
{
    return held_part(held, (size_t)held->id_size + held->version_size, held->uri_size);
}

struct span held_traceparent(const struct held *held)
{
    size_t before = (size_t)held->id_size + held->version_size + held->uri_size;
    return held_part(held, before, held->traceparent_size);
}

struct span held_tracestate(const struct held *held)
{
    size_t before = (size_t)held->id_size + held->version_size + held->uri_size;
    return held_part(held, before + held->traceparent_size, held->tracestate_size);
}

struct span held_text(const struct held *held)
{
    size_t before = (size_t)held->id_size + held->version_size + held->uri_size;
    return held_part(held, before + held->traceparent_size + held->tracestate_size,
                     held->text_size);
}

size_t pool_place(const struct pool *pool, struct id id)
{
    size_t k = 0;
    while (k < pool->count && !identity_equal(pool->held[k]->id, id))
        k++;
    return k;
}
