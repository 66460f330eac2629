/* Encoded records, kept once and read many times: written into a file without a name, then mapped
 * and ordered by time. Processes that are forked later share the map. */
#ifndef INFOPAIR_SPOOL_H
#define INFOPAIR_SPOOL_H

#include "schemas/bytes.h"
#include "schemas/error.h"

struct spool;

struct spool_record {
    int64_t time;  /* milliseconds since the epoch */
    int64_t order; /* among those of one time */
    int32_t partition;
    int64_t offset;
    struct span value;
};

/* The file stands in $TMPDIR, else in /var/tmp. NULL: ERROR_FATAL. */
struct spool *spool_new(struct error *error);
void spool_free(struct spool *spool);
/* Copies a record; before spool_seal. False (ERROR_FATAL): the disk is full, or memory ran out. */
bool spool_add(struct spool *spool, const struct spool_record *record, struct error *error);
/* No record follows: they are ordered by (time, order, partition, offset). */
bool spool_seal(struct spool *spool, struct error *error);
size_t spool_count(const struct spool *spool);
/* The k-th record of a sealed spool; its value lives as long as the spool. */
struct spool_record spool_at(const struct spool *spool, size_t k);

#endif
