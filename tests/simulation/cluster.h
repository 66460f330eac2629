/* A model of what Kafka does for one transactional worker slot.
 *
 * Inputs are plain logs. The ledger is a log a partition in which transactions leave records and
 * control records; a transaction's outcome is decided at once and becomes visible partition by
 * partition, when its marker is written. Committed offsets, with their metadata as text, become
 * visible like one more partition. */
#ifndef INFOPAIR_SIMULATION_CLUSTER_H
#define INFOPAIR_SIMULATION_CLUSTER_H

#include "worker/engine/batch.h"

enum { COMPLETIONS_PARTITIONS = 2, LABELS_PARTITIONS = 2, LEDGER_PARTITIONS = 3 };
enum { PARTITIONS = 2 }; /* most of any input */

struct input_record {
    int64_t timestamp;
    size_t size;
    char *bytes;
};

struct input_log {
    struct input_record *records;
    size_t count, capacity;
};

enum slot_state { SLOT_OPEN, SLOT_COMMITTED, SLOT_ABORTED, SLOT_MARKER };

struct ledger_slot {
    enum slot_state state;
    size_t size;
    char *bytes;
};

struct ledger_log {
    struct ledger_slot *slots;
    size_t count, capacity;
    int64_t open_from; /* first record of the transaction whose marker is missing; -1: none */
};

struct committed {
    int64_t next;
    char metadata[BATCH_METADATA_SIZE];
};

enum transaction_state { TRANSACTION_NONE, TRANSACTION_OPEN, TRANSACTION_DECIDED };

struct cluster {
    struct input_log inputs[INPUTS][PARTITIONS];
    struct ledger_log ledger[LEDGER_PARTITIONS];
    struct committed committed[INPUTS][PARTITIONS];
    struct committed sent[INPUTS][PARTITIONS]; /* by the open transaction; next -1: not sent */
    enum transaction_state state;
    bool commits; /* the outcome, once decided */
    int64_t transaction;
};

struct cluster *cluster_new(void);
void cluster_free(struct cluster *cluster);

/* Appends to an input; returns the record's offset. */
int64_t cluster_append(struct cluster *cluster, enum input input, int32_t partition,
                       struct span bytes, int64_t timestamp);

/* Opens a transaction; the one before must be settled. */
void cluster_begin(struct cluster *cluster);
/* Appends a ledger record of the open transaction; returns its offset. */
int64_t cluster_produce(struct cluster *cluster, int32_t partition, struct span bytes);
void cluster_send_offsets(struct cluster *cluster, const struct batch *batch);
/* Decides the open transaction's outcome; the markers are written later. */
void cluster_decide(struct cluster *cluster, bool commit);
/* Writes the marker of one ledger partition, if one is missing. */
void cluster_mark(struct cluster *cluster, int32_t partition);
/* What init_transactions and the next begin wait for: an open transaction is aborted, all markers
 * are written, offsets are stable. */
void cluster_settle(struct cluster *cluster);

/* End of a ledger partition, uncommitted records and markers included. */
int64_t cluster_high(const struct cluster *cluster, int32_t partition);
/* The next committed record at or after *position, as a read_committed consumer gets it; *position
 * moves behind it. NULL: nothing more to read, *position is where reading stands. */
const struct ledger_slot *cluster_read(const struct cluster *cluster, int32_t partition,
                                       int64_t *position);

#endif
