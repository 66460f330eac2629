/* Events of the engine as data: what a shell tells it, in one shape that can be applied, recorded
 * and repeated. */
#ifndef INFOPAIR_EVENT_H
#define INFOPAIR_EVENT_H

#include "engine.h"

enum event_kind {
    EVENT_TICK,    /* now */
    EVENT_GAIN,    /* input, partition, committed, and from the metadata low_water, now (the time),
                      source.value (what waits) */
    EVENT_BARRIER, /* input, partition */
    EVENT_LOSE,    /* input, partition */
    EVENT_RECORD,  /* source: a record of an input as it came */
    EVENT_END,     /* input, partition, offset: nothing follows before it */
    EVENT_ENTRY,   /* partition, offset, source.value: a record of the ledger as it came */
    EVENT_PASSED,  /* offset: the ticket up to which the ledger was passed */
    EVENT_RESIZE,  /* partition: completions partitions from now on */
    EVENT_CONFIRM, /* the batch is committed */
    EVENT_BUDGET,  /* source.key: the digest, source.value: struct budget_options */
    EVENTS,
};

struct event {
    enum event_kind kind;
    enum input input;
    int32_t partition;
    int64_t offset;
    int64_t committed, low_water, now;
    struct source source;
};

/* Applies an event; records are decoded by `contracts`. Errors as of the engine's
 * functions. */
bool event_apply(struct engine *engine, struct contracts *contracts, const struct event *event,
                 struct error *error);

#endif
