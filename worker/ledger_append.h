/* What a command writes into the ledger: entries framed as a worker's, in transactions of its own.
 *
 * A worker's transaction also holds the input offsets, which fence what it decides by what it has
 * read. A command reads no input; what it writes (WITHDRAWN, imported LABELLED) means the same
 * whatever stands before or behind it, and a second time nothing. Its transactional id is none of a
 * worker's; of two commands under one kafka.instance the younger ends the older (ERROR_FENCED). */
#ifndef INFOPAIR_LEDGER_APPEND_H
#define INFOPAIR_LEDGER_APPEND_H

#include "ledger_view.h"

struct ledger_append;

/* A record beside the entries. */
struct append_record {
    const char *topic;
    struct span key;
    struct span value; /* data NULL: a null value */
    struct {
        const char *name;
        struct span value;
    } headers[2]; /* ended by a NULL name, or full */
};

/* Opens the producer and begins a transaction. `view` has been read to the ledger's end; it is
 * borrowed, and its engine follows what is written. */
struct ledger_append *ledger_append_new(const struct ledger_view *view, struct error *error);
/* Aborts what was not committed. NULL is allowed. */
void ledger_append_free(struct ledger_append *append);

/* Adds an entry about a request: version, digest, writer, time, key and partition are filled in
 * here, and the view's engine follows. False with ERROR_DATA: the workers would refuse it, and it
 * is left out; else nothing of the transaction will be committed. */
bool ledger_append_entry(struct ledger_append *append, struct entry *entry, struct id request,
                         struct error *error);
bool ledger_append_record(struct ledger_append *append, const struct append_record *record,
                          struct error *error);
/* Commits, and begins the next transaction. The error says when the outcome is not known. */
bool ledger_append_commit(struct ledger_append *append, struct error *error);

#endif
