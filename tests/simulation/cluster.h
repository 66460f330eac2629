/* A model of what Kafka does for several transactional workers of one group.
 *
 * Inputs are plain logs. The ledger is a log a partition in which transactions leave records and
 * control records; a transaction's outcome is decided at once and becomes visible partition by
 * partition, when its marker is written. Committed offsets, with their metadata as text, become
 * visible like one more partition; until then they are unstable, and cannot be read. A producer is
 * fenced by its epoch, a member by the generation that it was given. */
#ifndef INFOPAIR_SIMULATION_CLUSTER_H
#define INFOPAIR_SIMULATION_CLUSTER_H

#include "worker/engine/batch.h"

enum { WORKERS = 3, LEDGER_PARTITIONS = 3 };
enum { PARTITIONS_MAX = 4, LABELS_PARTITIONS = 2 };

struct input_record {
    int64_t timestamp;
    size_t size;
    char *bytes;
};

struct input_log {
    struct input_record *records;
    size_t count, capacity;
    int64_t start; /* what lies below was deleted */
};

enum slot_state { SLOT_OPEN, SLOT_COMMITTED, SLOT_ABORTED, SLOT_MARKER };

struct ledger_slot {
    enum slot_state state;
    int64_t transaction;
    int64_t timestamp;
    size_t size;
    char *bytes;
};

struct ledger_log {
    struct ledger_slot *slots;
    size_t count, capacity;
    int64_t start;
    int64_t stable; /* everything below is decided and marked */
};

struct committed {
    int64_t next; /* -1: nothing committed */
    char metadata[BATCH_METADATA_SIZE];
};

enum transaction_state { TRANSACTION_NONE, TRANSACTION_OPEN, TRANSACTION_DECIDED };

/* A worker slot's transactional producer. */
struct producer {
    int64_t epoch;
    enum transaction_state state;
    int64_t transaction; /* number over all */
    int64_t opened_at;
    bool commits; /* the outcome, once decided */
    bool offsets_sent, offsets_marked;
    bool wrote[LEDGER_PARTITIONS]; /* and the marker is missing */
    struct committed sent[INPUTS][PARTITIONS_MAX];
};

struct member {
    bool in_group;
    bool acknowledged; /* has given up what the next generation takes away */
    int64_t generation;
    bool holds[INPUTS][PARTITIONS_MAX];  /* by the newest generation */
    bool target[INPUTS][PARTITIONS_MAX]; /* by the next one */
};

struct cluster {
    int32_t partitions[INPUTS];
    struct input_log inputs[INPUTS][PARTITIONS_MAX];
    struct ledger_log ledger[LEDGER_PARTITIONS];
    struct committed committed[INPUTS][PARTITIONS_MAX];
    struct producer producers[WORKERS];
    struct member members[WORKERS];
    int64_t transactions;
    int64_t generation;
    bool rebalancing;
};

struct cluster *cluster_new(int32_t completions_partitions);
void cluster_free(struct cluster *cluster);

/* Appends to an input; returns the record's offset. */
int64_t cluster_append(struct cluster *cluster, enum input input, int32_t partition,
                       struct span bytes, int64_t timestamp);
/* Somebody else writes to the ledger, outside any transaction. */
int64_t cluster_poison(struct cluster *cluster, int32_t partition, struct span bytes,
                       int64_t timestamp);

/* ---- transactions; false: fenced ---- */
/* Aborts what the slot left open, waits for all markers, gives the next epoch. */
int64_t cluster_init(struct cluster *cluster, int worker);
bool cluster_begin(struct cluster *cluster, int worker, int64_t epoch, int64_t now);
bool cluster_produce(struct cluster *cluster, int worker, int64_t epoch, int32_t partition,
                     struct span bytes, int64_t now, int64_t *offset);
/* False also when the member or its generation is not the group's. */
bool cluster_send_offsets(struct cluster *cluster, int worker, int64_t epoch, int64_t generation,
                          const struct batch *batch);
/* Decides the open transaction's outcome; the markers are written later. */
bool cluster_decide(struct cluster *cluster, int worker, int64_t epoch, bool commit);
/* The coordinator aborts a transaction that has been open for too long, and fences its producer. */
void cluster_time_out(struct cluster *cluster, int worker);
/* Writes the marker of one ledger partition, or of the offsets (LEDGER_PARTITIONS). */
void cluster_mark(struct cluster *cluster, int worker, int32_t partition);
/* Writes all that are missing. */
void cluster_settle(struct cluster *cluster, int worker);

/* ---- the group ---- */
void cluster_join(struct cluster *cluster, int worker);
/* Leaves, or is thrown out. */
void cluster_leave(struct cluster *cluster, int worker);
/* Deals out anew: `owner` of each partition is drawn by the caller. */
void cluster_rebalance(struct cluster *cluster);
void cluster_acknowledge(struct cluster *cluster, int worker);

/* False while a transaction holds the offset back. */
bool cluster_committed(const struct cluster *cluster, enum input input, int32_t partition,
                       struct committed *committed);
/* End of a ledger partition, uncommitted records and markers included. */
int64_t cluster_high(const struct cluster *cluster, int32_t partition);
/* The next committed record at or after *position, as a read_committed consumer gets it; *position
 * moves behind it. NULL: nothing more to read, *position is where reading stands. */
const struct ledger_slot *cluster_read(const struct cluster *cluster, int32_t partition,
                                       int64_t *position);

#endif
