/* How fast the ledger grows, from the newest records of its partitions. */
#ifndef INFOPAIR_LEDGER_RATE_H
#define INFOPAIR_LEDGER_RATE_H

#include "findings.h"
#include "options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger_sample {
    int32_t partition;
    int64_t time; /* the record's timestamp: wall clock, milliseconds since the epoch */
    size_t bytes; /* key, value and headers */
};

struct ledger_rate {
    double bytes_a_day; /* before compression, of one copy */
    size_t records;     /* that it rests on */
    int64_t span;       /* milliseconds that these cover */
};

/* Rate over the time that all partitions cover: from the latest start of those that were cut (older
 * records exist and were not read; by partition) to the newest record. samples: in the order of
 * each partition. False: they cover less than a minute. */
bool ledger_rate(const struct ledger_sample *samples, size_t count, const bool *cut,
                 int32_t partitions, struct ledger_rate *rate);

/* Reads the newest records (10,000, and 64 MiB, at most) and says what they show. *written: there
 * are any. Any thread. */
void ledger_growth(const struct options *options, int32_t partitions, bool *written,
                   struct findings *findings);

#endif
