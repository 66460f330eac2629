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

struct cluster *cluster_new(void)
{
    struct cluster *cluster = need(calloc(1, sizeof *cluster));
    for (int k = 0; k < LEDGER_PARTITIONS; k++)
        cluster->ledger[k].open_from = -1;
    for (int input = 0; input < INPUTS; input++) {
        for (int k = 0; k < PARTITIONS; k++)
            cluster->committed[input][k].next = -1;
    }
    return cluster;
}

void cluster_free(struct cluster *cluster)
{
    for (int input = 0; input < INPUTS; input++) {
        for (int k = 0; k < PARTITIONS; k++) {
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

static int64_t append_slot(struct ledger_log *log, enum slot_state state, struct span bytes)
{
    if (log->count == log->capacity) {
        log->capacity = log->capacity * 2 + 64;
        log->slots = need(realloc(log->slots, log->capacity * sizeof *log->slots));
    }
    log->slots[log->count] = (struct ledger_slot){state, bytes.size, copy_of(bytes)};
    return (int64_t)log->count++;
}

void cluster_begin(struct cluster *cluster)
{
    cluster->state = TRANSACTION_OPEN;
    cluster->transaction++;
    for (int input = 0; input < INPUTS; input++) {
        for (int k = 0; k < PARTITIONS; k++)
            cluster->sent[input][k].next = -1;
    }
}

int64_t cluster_produce(struct cluster *cluster, int32_t partition, struct span bytes)
{
    struct ledger_log *log = &cluster->ledger[partition];
    if (log->open_from < 0)
        log->open_from = (int64_t)log->count;
    return append_slot(log, SLOT_OPEN, bytes);
}

void cluster_send_offsets(struct cluster *cluster, const struct batch *batch)
{
    for (size_t k = 0; k < batch->offset_count; k++) {
        const struct batch_offset *offset = &batch->offsets[k];
        struct committed *sent = &cluster->sent[offset->input][offset->partition];
        sent->next = offset->next;
        batch_metadata_format(offset, sent->metadata);
    }
}

void cluster_decide(struct cluster *cluster, bool commit)
{
    cluster->state = TRANSACTION_DECIDED;
    cluster->commits = commit;
}

void cluster_mark(struct cluster *cluster, int32_t partition)
{
    struct ledger_log *log = &cluster->ledger[partition];
    if (cluster->state != TRANSACTION_DECIDED || log->open_from < 0)
        return;
    for (size_t slot = (size_t)log->open_from; slot < log->count; slot++)
        log->slots[slot].state = cluster->commits ? SLOT_COMMITTED : SLOT_ABORTED;
    append_slot(log, SLOT_MARKER, (struct span){"", 0});
    log->open_from = -1;
}

void cluster_settle(struct cluster *cluster)
{
    if (cluster->state == TRANSACTION_NONE)
        return;
    if (cluster->state == TRANSACTION_OPEN)
        cluster_decide(cluster, false);
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++)
        cluster_mark(cluster, k);
    for (int input = 0; input < INPUTS; input++) {
        for (int k = 0; k < PARTITIONS; k++) {
            if (cluster->commits && cluster->sent[input][k].next >= 0)
                cluster->committed[input][k] = cluster->sent[input][k];
        }
    }
    cluster->state = TRANSACTION_NONE;
}

int64_t cluster_high(const struct cluster *cluster, int32_t partition)
{
    return (int64_t)cluster->ledger[partition].count;
}

const struct ledger_slot *cluster_read(const struct cluster *cluster, int32_t partition,
                                       int64_t *position)
{
    const struct ledger_log *log = &cluster->ledger[partition];
    int64_t stable = log->open_from < 0 ? (int64_t)log->count : log->open_from;
    while (*position < stable) {
        const struct ledger_slot *slot = &log->slots[(*position)++];
        if (slot->state == SLOT_COMMITTED)
            return slot;
    }
    return NULL;
}
