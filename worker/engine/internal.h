/* The engine's state, shared by the files of this folder only. */
#ifndef INFOPAIR_ENGINE_INTERNAL_H
#define INFOPAIR_ENGINE_INTERNAL_H

#include "budget.h"
#include "engine.h"
#include "model.h"
#include "pool.h"
#include "rival.h"
#include "shadows.h"

/* Longest texts of a completion that are held beside its prompt, text and id limits. */
enum { URI_MAX = 8192, TRACE_MAX = 1024, ID_MAX = 1024 };

/* The pane of moments that a partition is gathering, and chunks of one being read. */
struct pane {
    int64_t from;      /* first offset not in a published pane */
    int64_t from_time; /* stream time there, ticks included */
    int64_t from_record_time;
    struct id space; /* of the last published pane */
    int64_t published_at;
    /* Pools that closed before the pane was published; d x d, lower triangle. */
    double *sums;
    double weight, squares, effective;
    int64_t pools;
    int64_t fit_id; /* smallest behind sums */
    /* Of the completion with the largest policy epoch in them. */
    int64_t policy_epoch;
    size_t version_size;
    char version[ID_MAX];
    /* Oldest pool that closed since: its records may be re-read, so they must be whole. */
    int64_t closed_offset; /* INT64_MAX: none */
    int64_t closed_time;
    /* Reading: chunks of [read_from, read_to) so far. */
    struct buffer chunks;
    int64_t read_from, read_to;
    int32_t read_chunks;
};

struct partition {
    bool held;    /* assigned to us */
    bool barrier; /* the ledger was read up to the barrier */
    bool met;     /* reading passed the last published pane, its pools are marked */
    bool carried; /* labels of other spaces were looked for in all its pools since it is live */
    bool at_end;  /* nothing follows for now: time may move on by ticks */
    int64_t committed, next;
    int64_t record_time; /* largest of the records so far: reading again finds the same */
    int64_t stream_time; /* the same, moved on by ticks */
    struct partition_pools pools;
    struct pane pane;
    struct sel_price price;
    int64_t price_time; /* of its last entry */
    bool price_moved;
    struct bucket bucket;
    struct budget_room room; /* what it may spend, as of the last look (spend.c) */
    /* Bits of domains: below their floor; of those the ones that have the slot to themselves; at
     * their cap. */
    uint32_t wanting, below, full;
};

/* A label that waits for its pair. */
struct waiting {
    struct waiting *next;
    int64_t ticket;
    int64_t offset, timestamp;
    size_t bytes;
    size_t key_size, value_size;
    char data[]; /* key, then the record as it came */
};

struct labels_partition {
    bool held, barrier;
    int64_t committed, next;
    int64_t handled; /* below, all was decided before we read it, but for: */
    int64_t undecided[BATCH_WAITING_MAX];
    size_t undecided_count;
    struct waiting *waiting; /* in order of offset */
    size_t waiting_count, waiting_bytes;
};

enum { SPACE_NAME_MAX = 200 };

/* A newer space than the current one, that has no SPACE in force yet: its pools gather. */
struct coming_space {
    bool known;
    char name[SPACE_NAME_MAX + 1];
    struct id id;
    int64_t epoch;
    size_t dimension;
    bool written; /* SPACE was decided here; it is in force once it is read in the ledger */
    /* Over its pools that became ready so far. */
    int64_t pools;
    int64_t completions;
    double *means;  /* d: sum of the pools' means, then d of scratch */
    double squares; /* sum of squared distances from the pool's mean */
};

struct engine {
    struct engine_options options;
    struct contracts *contracts;
    struct engine_stats stats;
    int64_t now;
    struct budget budget;
    char digest[256]; /* of the shared options, once they have changed */
    char digest_before[256];
    struct partition *partitions;
    int32_t partition_count;
    struct labels_partition *labels;
    int32_t labels_count;
    struct pools pools;
    struct store window; /* requests and labels */
    struct store room;   /* labels that wait for their pair */
    struct requests requests;
    struct model model;
    struct coming_space coming;
    int64_t forget_at; /* count of requests that is worth a look */
    int64_t ticket;
    /* Selection. */
    struct sel_picker *picker;
    size_t picker_dimension;
    float *gathered; /* pool.max x d, one pool in the scale of SPACE */
    double *scratch; /* pool.max x d and logits */
    uint8_t *forbidden;
    double *chances; /* probabilities of pairs, chances_max twice; NULL: no rule needs them */
    size_t chances_max;
    struct pool **working; /* pools open in the picker, by its numbers */
    size_t working_count;
    size_t *challengers; /* of the last pair of each; for rules that look at it */
    size_t compared; /* the first so many of them compete; others were opened for a uniform pair */
    struct pool **eligible; /* that compete, best first */
    size_t eligible_count, eligible_capacity;
    size_t refresh_at;
    uint64_t quotas;         /* of the domains, as they were when those were found */
    int64_t skips;           /* pools of which the rule took nothing for a slot that is its own */
    uint64_t skips_coin;     /* which slot */
    struct listing *listing; /* NULL: the rule takes no list */
    struct again *again;     /* what is to be asked again (again.c); scratch of a tick */
    size_t again_count, again_capacity;
    bool again_due; /* some of it waits for a slot */
    struct shadows shadows;
    struct rivals rivals;
    /* Output. */
    struct batch batches[2];
    struct batch *open;   /* being filled */
    struct batch *closed; /* being committed, or NULL */
    size_t records;
    bool moved;    /* offsets changed since the last close */
    bool arrivals; /* a SELECTED arrived: waiting labels deserve another look */
    char refusal[640];
    char foreign[256];
};

/* True when the partition may have effects. */
bool partition_live(const struct partition *partition);
/* False for a number that no topic has. */
bool engine_partition_known(int32_t number);
/* Makes room for partition `number`. */
bool engine_partitions(struct engine *engine, int32_t number, struct error *error);

/* ---- effects.c ---- */
/* Time of an entry decided now: never before any entry seen. */
int64_t entry_time(const struct engine *engine);
/* Encodes an entry (version, digest, writer are filled in; time when it is 0) into the open batch.
 */
bool effect_entry(struct engine *engine, struct entry *entry, int32_t partition,
                  struct error *error);
bool effect_dead_letter(struct engine *engine, const struct source *source, const char *stage,
                        const char *reason, struct error *error);
/* *fits: false when the pair is too large for a record even without texts. */
bool effect_pair(struct engine *engine, struct pair *pair, bool *fits, struct error *error);
/* Tells labellers that a request needs no answer any more. */
bool effect_notice(struct engine *engine, const struct request *request, const char *reason,
                   struct error *error);
/* The request that an entry speaks of, which is its key; empty for the other kinds. */
struct span entry_request(const struct entry *entry);
int32_t ledger_partition_of(const struct engine *engine, struct id id);

/* ---- completions.c ---- */
bool completions_reject(struct engine *engine, const struct source *source, const char *stage,
                        const char *reason, struct error *error);
bool completions_end(struct engine *engine, int32_t number, int64_t next_offset,
                     struct error *error);
bool completions_tick(struct engine *engine, struct error *error);
void completions_close_pool(struct engine *engine, struct pool *pool, enum pool_end reason);
/* Oldest offset that a new owner must read again, and the stream time before it. */
void completions_low_water(const struct partition *partition, struct batch_offset *offset);
/* Features of a completion in the scale of SPACE. */
void completions_place(const struct space *space, const struct held *held, float *features);
/* Those of a pool (count x d) in engine->gathered. */
void completions_gather(struct engine *engine, const struct pool *pool);

/* ---- carried.c ---- */
/* A completion, the pool's last, has come: labels of its pairs in other spaces are carried over. */
bool carried_completion(struct engine *engine, const struct pool *pool, struct error *error);
/* A request of whatever space has got a label. */
bool carried_label(struct engine *engine, const struct request *request, struct error *error);
/* Looks through the partitions that have become live, or whose space has changed. */
bool carried_tick(struct engine *engine, struct error *error);

/* ---- moments.c ---- */
bool moments_tick(struct engine *engine, struct error *error);
/* A ready pool closes before its pane is published: its moments join the pane now. */
bool moments_keep(struct engine *engine, struct partition *partition, const struct pool *pool);
bool moments_entry(struct engine *engine, const struct entry *entry, enum applied *applied,
                   struct error *error);
/* Fills `rows` with the completions that describe the traffic, at most pool->count: those marked
 * so, else all. Returns how many. */
size_t moments_rows(const struct pool *pool, size_t *rows);
/* Forgets what the unpublished pane holds of closed pools. */
void moments_clear(struct pane *pane);

/* ---- space.c ---- */
/* Which space a completion belongs to; `reason` says why it belongs to none. */
bool space_admit(struct engine *engine, const struct completion *completion, struct id *space,
                 char *reason, size_t size);
bool space_is_current(const struct engine *engine, const struct pool *pool);
/* A ready pool closes: what it tells of the coming space's scale is kept. */
bool space_measure(struct engine *engine, struct pool *pool);
void space_fini(struct engine *engine);
/* Why the coming space cannot begin, as one line; false when nothing stands in its way. */
bool space_obstacle(const struct engine *engine, char *text, size_t size);
/* Writes SPACE of the coming space once there are pools enough. */
bool space_tick(struct engine *engine, struct error *error);
/* Writes SPACE in force again before it is deleted from the topic: the fitter's. */
bool space_renew(struct engine *engine, struct error *error);
/* Adopts SPACE; false only for memory. */
bool space_entry(struct engine *engine, const struct entry *entry, int64_t offset,
                 enum applied *applied, struct error *error);

/* ---- labels.c ---- */
/* Where reading of labels stands after this record; false with ERROR_NONE: it was given before,
 * here or to the owner before, and is decided. */
bool labels_accept_record(struct engine *engine, const struct source *source,
                          struct labels_partition **partition, struct error *error);
/* Gives waiting labels another look; those up to `ticket` are decided. */
bool labels_resolve(struct engine *engine, int64_t ticket, struct error *error);
/* Offset that may be committed for a labels partition. */
int64_t labels_next(const struct labels_partition *partition);
/* What the next owner must know of the labels behind that offset. */
void labels_low_water(const struct labels_partition *partition, struct batch_offset *offset);
/* Takes what the owner before knew: everything below `handled` is decided but for `waiting`. */
void labels_take_over(struct labels_partition *partition, int64_t handled, const char *waiting);
void labels_drop(struct engine *engine, struct labels_partition *partition);
bool expiry_tick(struct engine *engine, struct error *error);
bool fit_tick(struct engine *engine, struct error *error);

/* ---- price.c ---- */
/* Adopts a price: that of a partition's owner before. */
bool price_entry(struct engine *engine, const struct entry *entry, enum applied *applied,
                 struct error *error);

/* ---- spend.c ---- */
/* Notes what a request of the ledger has spent. False: out of memory. */
bool spend_note(struct engine *engine, const struct entry_selected *selected, struct error *error);
/* The bucket of a partition from the issue times of its requests. */
bool spend_restore(struct engine *engine, int32_t number, struct error *error);
/* Some limit in time is given. */
bool spend_is_limited(const struct budget_options *options);
struct budget_options spend_options(const struct engine_options *options);
/* Which limit keeps every pool from being asked, for longer than the rate does; false: none. */
bool spend_obstacle(const struct engine *engine, char *text, size_t size);

/* ---- select.c ---- */
/* Allocates what selection needs at the dimension of the space. */
bool select_prepare(struct engine *engine, struct error *error);
bool select_tick(struct engine *engine, struct error *error);
/* Ready pools with pairs of which the rule takes none, while it takes none of any other; else 0. */
size_t select_declined(const struct engine *engine);
void select_forget_pool(struct engine *engine, const struct pool *pool);
void select_fini(struct engine *engine);
size_t select_bytes(const struct engine_options *options, size_t dimension);

/* ---- again.c ---- */
/* Pairs are asked by all their replicas at once; or where the rule says so. */
bool again_all(const struct engine_options *options);
bool again_best(const struct engine_options *options);
/* A request changed: what its pool is to be asked again is found anew. */
void again_look(struct engine *engine, const struct request *request);
/* True while replicas of the pool's pairs wait for a slot: it stays open for them. */
bool again_owes(const struct engine *engine, const struct pool *pool);

/* Forgets what cannot matter any more, each time the window has grown by a thirty-second part. */
bool engine_forget(struct engine *engine, struct error *error);
/* True when the memory of the window is so full that nothing more may be asked. */
bool engine_window_full(const struct engine *engine);
/* A request changed: its partition's count, Sigma and the fit follow. */
void engine_follow_request(struct engine *engine, struct request *request, bool was_open);

#endif
