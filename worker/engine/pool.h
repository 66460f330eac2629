/* Pools: the completions of one prompt in one partition, a sliding window by count and age.
 *
 * A pool opens with its first completion, is ready at `pool.size` completions or `pool.wait` after
 * the first when it has `pool.min`, grows to `pool.max` and then drops its oldest, and closes at
 * `pool.age`. A pool holds completions of one feature space. Time is the stream time of its
 * partition, which never goes back, so the pools of a partition stand in order of first_offset and
 * first_time alike.
 *
 * Each completion is one block: its features as they came (float32) and its texts. The prompt's
 * text and domain are those of the first completion that carries them. */
#ifndef INFOPAIR_POOL_H
#define INFOPAIR_POOL_H

#include <uthash.h>

#include "engine.h"
#include "identity.h"
#include "store.h"

/* One completion in a pool. */
struct held {
    struct id id; /* of the completion_id */
    int64_t offset;
    int64_t policy_epoch;
    double log_ratio; /* log of reference over policy probability; NaN: absent */
    float traffic_weight;
    uint32_t dimension;
    uint32_t text_size;
    uint16_t id_size, version_size, uri_size, traceparent_size, tracestate_size;
    bool candidate : 1;
    bool too_large : 1; /* for a pair, even without texts */
    bool text_cut : 1;
    bool has_cost : 1;             /* other than 1 */
    bool near : 1;                 /* a near-duplicate of one before it, counted */
    unsigned char input_count : 3; /* numbers that the rule needs (inputs.h) */
    float features[]; /* then, as doubles, the inputs and the cost; then id, version, uri,
                         traceparent, tracestate, text */
};

struct pool {
    UT_hash_handle hh;
    struct pool *next, *before; /* of the partition, in order of first_offset */
    struct id key;              /* of its space and prompt */
    struct id prompt, space;
    int64_t first_offset;
    int64_t first_time;
    int64_t time_before; /* time of the records just before first_offset */
    int32_t partition;
    uint32_t count;
    int64_t picks;
    size_t ready_index; /* in pools.ready, when ready */
    bool ready;
    bool counted;   /* its moments are in a pane */
    bool measured;  /* it has gone into the scale of a coming space */
    bool scored;    /* score is not older than its completions */
    bool exhausted; /* no pair of it may be asked, as of the last scoring */
    bool declined;  /* and that is the rule's word: another fit may change it */
    bool skipped;   /* the rule drew that nothing is asked of it, as of the last scoring */
    bool prompt_cut;
    bool again_looked;    /* again_due is not older than its completions and requests */
    bool settled;         /* asked pool by pool, and open for its replicas only */
    size_t again_due;     /* requests that are to be asked again */
    size_t repeats;       /* pairs that were asked and compete again, as of the last opening */
    size_t unasked;       /* pairs that may be asked and were not, as of then */
    uint8_t quota;        /* its domain's place in budget.domains, plus 1; 0: none */
    float dearest;        /* most that a pair of it may cost, as of the last scoring */
    int64_t prompt_again; /* when its prompt may be asked again, or looked at anew; 0: now */
    double score;
    int64_t score_fit;                          /* the fit it was made under */
    struct span prompt_id, prompt_text, domain; /* one block */
    uint32_t capacity;  /* of held: as many as came, rounded up; at most pool.max */
    struct held **held; /* oldest first */
};

/* What pools need to know of a partition. */
struct partition_pools {
    struct pool *by_key;
    struct pool *first, *last;
    struct pool *waiting; /* first pool whose wait has not been looked at */
};

struct pools {
    struct store store;
    size_t refused; /* what the block needed that could not be had last (store_need) */
    const struct engine_options *options;
    struct engine_stats *stats;
    bool again_stale;    /* a ready pool may be one that was not looked at for asking again */
    unsigned inputs;     /* kept with each completion, as inputs_kept says */
    struct pool **ready; /* of all partitions */
    size_t ready_count, ready_capacity;
};

void pools_init(struct pools *pools, const struct engine_options *options,
                struct engine_stats *stats);
void pools_fini(struct pools *pools);

/* What a prompt's pool in a feature space is found by. */
struct id pool_key(struct id space, struct id prompt);
struct pool *pool_find(const struct partition_pools *partition, struct id key);
/* Opens a pool for the completion's prompt. NULL: the memory limit is reached. */
struct pool *pool_open(struct pools *pools, struct partition_pools *partition, struct id space,
                       const struct source *source, const struct completion *completion,
                       int64_t time, int64_t time_before);
enum pool_added { POOL_ADDED, POOL_DUPLICATE, POOL_FULL_MEMORY };
/* Adds a completion, dropping the oldest beyond pool.max. The same completion_id again is a
 * duplicate and changes nothing. */
enum pool_added pool_add(struct pools *pools, struct pool *pool, const struct source *source,
                         const struct completion *completion);
/* Frees a pool and its completions. */
void pool_close(struct pools *pools, struct partition_pools *partition, struct pool *pool,
                enum pool_end reason);
/* Marks as ready what is ready at this stream time. False: out of memory. */
bool pool_update_ready(struct pools *pools, struct pool *pool, int64_t stream_time);
bool pools_wait_over(struct pools *pools, struct partition_pools *partition, int64_t stream_time);

/* An input of the rule, in the order of inputs_take. */
double held_input(const struct held *held, size_t place);
/* What it costs to judge the completion. */
double held_cost(const struct held *held);
/* Where the completion of that id hash is held; pool->count: nowhere. */
size_t pool_place(const struct pool *pool, struct id id);
struct span held_completion_id(const struct held *held);
struct span held_policy_version(const struct held *held);
struct span held_uri(const struct held *held);
struct span held_traceparent(const struct held *held);
struct span held_tracestate(const struct held *held);
struct span held_text(const struct held *held);

/* The longest prefix of `text` within `size` bytes that does not cut a UTF-8 character. */
struct span text_cut(struct span text, size_t size);

#endif
