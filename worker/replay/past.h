/* What is replayed: completions and the ledger's entries as they were recorded, in order of time.
 *
 * From topics they are the records themselves. From files they are what `infopair send` would have
 * written, each label an entry of its own, so that everything behind this header sees one form. */
#ifndef INFOPAIR_PAST_H
#define INFOPAIR_PAST_H

#include "spool.h"
#include "worker/kafka.h"

struct past {
    char name[256];             /* what it is called in the report */
    struct spool *completions;  /* in the framing of the options */
    struct spool *ledger;       /* entries dated before the end of the range */
    int32_t partitions;         /* of the completions */
    int32_t ledger_partitions;  /* of the ledger */
    int64_t from, to;           /* range of requests and labels, [from, to) */
    int64_t start, end;         /* first and last time of what is replayed */
    struct buffer space;        /* the SPACE in force, encoded */
    bool moments;               /* the ledger holds MOMENTS */
    double rate;                /* completions a second where they had no time; else 0 */
    int64_t requests, labelled; /* SELECTED and LABELLED entries of the range */
};

/* The range of recorded topics; milliseconds since the epoch, INT64_MIN and INT64_MAX where open.
 */
struct past_range {
    int64_t from, to;
};

struct past_files {
    const char *completions; /* JSON lines of `infopair send completions` */
    const char *features;    /* .npy or NULL */
    const char *prompts;     /* JSON lines or NULL */
    const char *labels;      /* JSON lines of `infopair send history`, or NULL. Their features may
                                be missing where the completions have them; propensity, arm and
                                issued_at tell of the request behind a label */
    double rate;             /* completions a second where they have no created_at: 1e-5 to 1e9 */
};

/* `admin` reaches the broker. Each fills a zeroed `past`, to be given to past_fini in any case.
 * Options: topics, contracts, features. Errors of the files are ERROR_DATA and name file and line.
 */
bool past_read_topics(struct past *past, const struct options *options,
                      const struct past_range *range, rd_kafka_t *admin, struct error *error);
bool past_read_files(struct past *past, const struct options *options,
                     const struct past_files *files, struct error *error);
void past_fini(struct past *past);

/* ---- past.c: what both have in common ---- */

bool past_begin(struct past *past, struct error *error);
/* A line's time lies within the years 2000 to 2099 in milliseconds; else ERROR_DATA with the unit
 * that it seems to have. */
bool past_check_time(const char *field, int64_t time, struct error *error);
/* Orders the completions; finds start and end. ERROR_DATA when there are none, or when one is dated
 * as no engine takes it. */
bool past_seal_completions(struct past *past, struct error *error);
/* Adds an entry of the ledger, after the completions; of the range, requests and labels are counted
 * and the end is not before them. */
bool past_add_entry(struct past *past, const struct entry *entry, const struct spool_record *record,
                    struct error *error);
/* Orders the ledger. */
bool past_seal_ledger(struct past *past, struct error *error);
/* Keeps the SPACE that is in force, from the start on: nothing is dated before it. */
bool past_keep_space(struct past *past, struct contracts *contracts, const struct entry *entry,
                     struct error *error);
/* The SPACE that the engine itself estimates from the completions, where none was recorded. */
bool past_estimate_space(struct past *past, const struct options *options, struct error *error);

#endif
