/* A journal: every event that a worker's engine was given, in order, and what it decided.
 *
 *   infopair journal 1\n
 *   name=value\n           for every option that is not secret
 *   \n
 *   frames                 kind, numbers, and the bytes of a record, little-endian
 *
 * A session begins with JOURNAL_SESSION and a new engine. JOURNAL_BATCH carries the digest of a
 * batch, so that a replay can tell whether it decides the same, byte for byte. Input records are
 * kept whole: a journal holds what the topics hold. */
#ifndef INFOPAIR_JOURNAL_H
#define INFOPAIR_JOURNAL_H

#include "engine/event.h"
#include "options.h"

struct journal;

/* Creates FILE, which must not exist yet, and writes the options. Errors are ERROR_FATAL. */
struct journal *journal_create(const char *file, const struct options *options,
                               struct error *error);
/* Opens FILE and reads its options into `options` (fresh from options_new). */
struct journal *journal_open(const char *file, struct options *options, struct error *error);
/* NULL is allowed. */
void journal_free(struct journal *journal);

enum journal_kind { JOURNAL_EVENT, JOURNAL_SESSION, JOURNAL_BATCH, JOURNAL_END };

struct journal_frame {
    enum journal_kind kind;
    struct event event;    /* JOURNAL_EVENT */
    int32_t partitions[2]; /* JOURNAL_SESSION: of completions, of the ledger */
    struct id digest;      /* JOURNAL_BATCH */
};

bool journal_write(struct journal *journal, const struct journal_frame *frame, struct error *error);
/* The next frame; its spans live until the next read. JOURNAL_END where the file ends, be it in the
 * middle of a frame: a worker that was killed leaves that. */
bool journal_read(struct journal *journal, struct journal_frame *frame, struct error *error);
/* Makes what was written visible to readers of the file. */
bool journal_flush(struct journal *journal, struct error *error);

#endif
