#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The simulator has no use for a run without memory. */
static void *need(void *memory)
{
    if (memory == NULL) {
        fputs("simulate: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static char *copy_of(struct span bytes)
{
    char *copy = need(malloc(bytes.size + 1));
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return copy;
}

struct cluster *cluster_new(int32_t completions_partitions)
{
    struct cluster *cluster = need(calloc(1, sizeof *cluster));
    cluster->partitions[INPUT_COMPLETIONS] = completions_partitions;
    cluster->partitions[INPUT_LABELS] = LABELS_PARTITIONS;
    for (int input = 0; input < INPUTS; input++) {
        for (int k = 0; k < PARTITIONS_MAX; k++)
            cluster->committed[input][k].next = -1;
    }
    return cluster;
}

void cluster_free(struct cluster *cluster)
{
    for (int input = 0; input < INPUTS; input++) {
        for (int k = 0; k < PARTITIONS_MAX; k++) {
            struct input_log *log = &cluster->inputs[input][k];
            for (size_t record = 0; record < log->count; record++)
                free(log->records[record].bytes);
            free(log->records);
        }
    }
    for (int k = 0; k < LEDGER_PARTITIONS; k++) {
        for (size_t slot = 0; slot < cluster->ledger[k].count; slot++)
            free(cluster->ledger[k].slots[slot].bytes);
        free(cluster->ledger[k].slots);
    }
    free(cluster);
}

int64_t cluster_append(struct cluster *cluster, enum input input, int32_t partition,
                       struct span bytes, int64_t timestamp)
{
    struct input_log *log = &cluster->inputs[input][partition];
    if (log->count == log->capacity) {
        log->capacity = log->capacity * 2 + 64;
        log->records = need(realloc(log->records, log->capacity * sizeof *log->records));
    }
    log->records[log->count] = (struct input_record){timestamp, bytes.size, copy_of(bytes)};
    return (int64_t)log->count++;
}

static int64_t append_slot(struct ledger_log *log, const struct ledger_slot *slot)
{
    if (log->count == log->capacity) {
        log->capacity = log->capacity * 2 + 64;
        log->slots = need(realloc(log->slots, log->capacity * sizeof *log->slots));
    }
    log->slots[log->count] = *slot;
    return (int64_t)log->count++;
}

int64_t cluster_poison(struct cluster *cluster, int32_t partition, struct span bytes,
                       int64_t timestamp)
{
    const struct ledger_slot slot = {SLOT_COMMITTED, -1, timestamp, bytes.size, copy_of(bytes)};
    return append_slot(&cluster->ledger[partition], &slot);
}

/* ---- transactions ---- */

int64_t cluster_init(struct cluster *cluster, int worker)
{
    struct producer *producer = &cluster->producers[worker];
    if (producer->state == TRANSACTION_OPEN)
        cluster_decide(cluster, worker, producer->epoch, false);
    cluster_settle(cluster, worker);
    return ++producer->epoch;
}

bool cluster_begin(struct cluster *cluster, int worker, int64_t epoch, int64_t now)
{
    struct producer *producer = &cluster->producers[worker];
    if (producer->epoch != epoch)
        return false;
    cluster_settle(cluster, worker); /* AddPartitionsToTxn waits for the markers before */
    producer->state = TRANSACTION_OPEN;
    producer->transaction = ++cluster->transactions;
    producer->opened_at = now;
    producer->offsets_sent = producer->offsets_marked = false;
    for (int input = 0; input < INPUTS; input++) {
        for (int k = 0; k < PARTITIONS_MAX; k++)
            producer->sent[input][k].next = -1;
    }
    return true;
}

bool cluster_produce(struct cluster *cluster, int worker, int64_t epoch, int32_t partition,
                     struct span bytes, int64_t now, int64_t *offset)
{
    struct producer *producer = &cluster->producers[worker];
    if (producer->epoch != epoch || producer->state != TRANSACTION_OPEN)
        return false;
    producer->wrote[partition] = true;
    const struct ledger_slot slot = {SLOT_OPEN, producer->transaction, now, bytes.size,
                                     copy_of(bytes)};
    *offset = append_slot(&cluster->ledger[partition], &slot);
    return true;
}

bool cluster_send_offsets(struct cluster *cluster, int worker, int64_t epoch, int64_t generation,
                          const struct batch *batch)
{
    struct producer *producer = &cluster->producers[worker];
    const struct member *member = &cluster->members[worker];
    if (producer->epoch != epoch || producer->state != TRANSACTION_OPEN)
        return false;
    /* Nothing to send does nothing, and fences nothing. */
    if (batch->offset_count == 0)
        return true;
    if (!member->in_group || member->generation != generation)
        return false;
    for (size_t k = 0; k < batch->offset_count; k++) {
        const struct batch_offset *offset = &batch->offsets[k];
        struct committed *sent = &producer->sent[offset->input][offset->partition];
        sent->next = offset->next;
        batch_metadata_format(offset, sent->metadata);
    }
    producer->offsets_sent = true;
    return true;
}

bool cluster_decide(struct cluster *cluster, int worker, int64_t epoch, bool commit)
{
    struct producer *producer = &cluster->producers[worker];
    if (producer->epoch != epoch || producer->state != TRANSACTION_OPEN)
        return false;
    producer->state = TRANSACTION_DECIDED;
    producer->commits = commit;
    return true;
}

void cluster_time_out(struct cluster *cluster, int worker)
{
    struct producer *producer = &cluster->producers[worker];
    if (producer->state != TRANSACTION_OPEN)
        return;
    cluster_decide(cluster, worker, producer->epoch, false);
    producer->epoch++;
}

static void mark_offsets(struct cluster *cluster, struct producer *producer)
{
    for (int input = 0; input < INPUTS; input++) {
        for (int k = 0; k < PARTITIONS_MAX; k++) {
            if (producer->commits && producer->sent[input][k].next >= 0)
                cluster->committed[input][k] = producer->sent[input][k];
        }
    }
    producer->offsets_marked = true;
}

static bool all_marked(const struct producer *producer)
{
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++) {
        if (producer->wrote[k])
            return false;
    }
    return !producer->offsets_sent || producer->offsets_marked;
}

void cluster_mark(struct cluster *cluster, int worker, int32_t partition)
{
    struct producer *producer = &cluster->producers[worker];
    if (producer->state != TRANSACTION_DECIDED)
        return;
    if (partition == LEDGER_PARTITIONS) {
        if (producer->offsets_sent && !producer->offsets_marked)
            mark_offsets(cluster, producer);
    } else if (producer->wrote[partition]) {
        struct ledger_log *log = &cluster->ledger[partition];
        for (size_t slot = (size_t)log->stable; slot < log->count; slot++) {
            if (log->slots[slot].state == SLOT_OPEN &&
                log->slots[slot].transaction == producer->transaction)
                log->slots[slot].state = producer->commits ? SLOT_COMMITTED : SLOT_ABORTED;
        }
        const struct ledger_slot marker = {.state = SLOT_MARKER,
                                           .timestamp = log->slots[log->count - 1].timestamp,
                                           .bytes = copy_of((struct span){"", 0})};
        append_slot(log, &marker);
        producer->wrote[partition] = false;
        while (log->stable < (int64_t)log->count && log->slots[log->stable].state != SLOT_OPEN)
            log->stable++;
    }
    if (all_marked(producer))
        producer->state = TRANSACTION_NONE;
}

void cluster_settle(struct cluster *cluster, int worker)
{
    struct producer *producer = &cluster->producers[worker];
    for (int32_t k = 0; k <= LEDGER_PARTITIONS; k++)
        cluster_mark(cluster, worker, k);
    if (producer->state == TRANSACTION_DECIDED)
        producer->state = TRANSACTION_NONE;
}

/* ---- the group ---- */

static void finish_rebalance(struct cluster *cluster)
{
    for (int k = 0; k < WORKERS; k++) {
        if (cluster->members[k].in_group && !cluster->members[k].acknowledged)
            return;
    }
    cluster->generation++;
    cluster->rebalancing = false;
    for (int k = 0; k < WORKERS; k++) {
        struct member *member = &cluster->members[k];
        if (!member->in_group)
            continue;
        member->generation = cluster->generation;
        memcpy(member->holds, member->target, sizeof member->holds);
    }
}

void cluster_rebalance(struct cluster *cluster)
{
    cluster->rebalancing = true;
    for (int k = 0; k < WORKERS; k++)
        cluster->members[k].acknowledged = false;
}

void cluster_join(struct cluster *cluster, int worker)
{
    cluster->members[worker] = (struct member){.in_group = true, .generation = -1};
}

void cluster_leave(struct cluster *cluster, int worker)
{
    cluster->members[worker] = (struct member){.in_group = false};
    if (cluster->rebalancing)
        finish_rebalance(cluster);
}

void cluster_acknowledge(struct cluster *cluster, int worker)
{
    cluster->members[worker].acknowledged = true;
    finish_rebalance(cluster);
}

bool cluster_committed(const struct cluster *cluster, enum input input, int32_t partition,
                       struct committed *committed)
{
    for (int k = 0; k < WORKERS; k++) {
        const struct producer *producer = &cluster->producers[k];
        if (producer->state != TRANSACTION_NONE && producer->offsets_sent &&
            !producer->offsets_marked && producer->sent[input][partition].next >= 0)
            return false;
    }
    *committed = cluster->committed[input][partition];
    return true;
}

int64_t cluster_high(const struct cluster *cluster, int32_t partition)
{
    return (int64_t)cluster->ledger[partition].count;
}

const struct ledger_slot *cluster_read(const struct cluster *cluster, int32_t partition,
                                       int64_t *position)
{
    const struct ledger_log *log = &cluster->ledger[partition];
    if (*position < log->start)
        *position = log->start;
    int64_t stable = log->stable;
    while (stable < (int64_t)log->count && log->slots[stable].state != SLOT_OPEN)
        stable++;
    while (*position < stable) {
        const struct ledger_slot *slot = &log->slots[(*position)++];
        if (slot->state == SLOT_COMMITTED)
            return slot;
    }
    return NULL;
}
