/* One budget for all memory: `memory.limit` is split before anything is allocated. */
#ifndef INFOPAIR_MEMORY_H
#define INFOPAIR_MEMORY_H

#include "schemas/error.h"
#include "worker/options.h"

struct memory_plan {
    size_t dimension;      /* features that the plan is made for */
    size_t consumer_bytes; /* queue of the group consumer */
    size_t follower_bytes; /* queue of the ledger's reader */
    size_t producer_bytes; /* queue of the producer */
    size_t batch_bytes;    /* effects of two batches, before the tick that closes them */
    size_t tick_bytes;     /* what one tick adds to each: its pairs and the panes of moments */
    size_t model_bytes;    /* Sigma, I, psi, selection */
    size_t panes_bytes;    /* moments that are gathered or read, of topics.partitions partitions */
    size_t waiting_bytes;  /* labels that wait for their pair */
    size_t window_bytes;   /* requests and labels of the window */
    size_t fit_bytes;      /* what a fit borrows to go through them */
    /* Certificates: what they need, at most an eighth of what would be left for pools. */
    size_t certificate_bytes;
    size_t accounting_bytes; /* shadows and reports, likewise */
    size_t pools_bytes;      /* what is left: open pools */
    size_t waiting_max;      /* labels that may wait for their pair */
    int64_t requests;        /* that the window is planned for */
};

/* Most features that are planned for when features.dimension is 0. Fewer where they do not fit; a
 * feature space beyond the plan is refused by the engine. */
enum { MEMORY_DIMENSION = 1024 };

/* Most labels that wait for their pair, however small they are. */
enum { MEMORY_LABELS_WAITING = 10000 };

/* Splits the limit. Fails (ERROR_FATAL) with the sum spelled out when less than a few pools' room
 * is left, or when the largest record could not be sent. */
bool memory_plan(const struct options *options, struct memory_plan *plan, struct error *error);

/* The engine's options from the process's: everything but topics' partition counts, digest and
 * writer. Borrowed from `options`. */
struct engine_options memory_engine_options(const struct options *options,
                                            const struct memory_plan *plan);

#endif
