/* What a group has committed for its inputs, beside what is still there to be read. */
#ifndef INFOPAIR_COMMITTED_H
#define INFOPAIR_COMMITTED_H

#include "engine/batch.h"
#include "findings.h"
#include "options.h"
#include "schemas/bytes.h"
#include "topics_compare.h"

#include <stdbool.h>
#include <stdint.h>

/* low_water, time and waiting out of the metadata of a committed offset. False: none, or damaged.
 * Any thread. */
bool committed_parse(struct span metadata, struct batch_offset *found);

struct committed_found {
    int64_t committed;    /* below 0: none */
    struct span metadata; /* that came with it */
    int64_t low, high;    /* of the log: its first offset, and the next one to be written */
};

/* Says what a worker would miss that starts from this. low_water: the offset carries one
 * (completions). */
void committed_compare(const char *subject, bool low_water, const struct committed_found *found,
                       struct findings *findings);

/* Asks for the offsets of kafka.group on both inputs that exist and compares them. written: the
 * ledger is not empty. Any thread. */
void committed_check(const struct options *options, const struct topic_found found[TOPICS],
                     bool written, struct findings *findings);

#endif
