/* How old policy versions are: by that labels and moments weigh less.
 *
 *   age(e) = number of policy epochs above e that the ledger's window holds an entry of
 *
 * The window is the longer one of labels.window and policy.window, which ends with the largest time
 * in the ledger and moves in sixteenths of itself. An epoch is held by an entry (SELECTED, LABELLED
 * or MOMENTS, of any feature space) that names it, for as long as the newest such entry lies in the
 * window. So the age is a function of the set of entries that every worker holds, whenever it
 * started and in whatever order it read them. Ages grow as newer epochs come; one falls only when
 * an epoch in between has left the window while an older one is still written. */
#ifndef INFOPAIR_VERSIONS_H
#define INFOPAIR_VERSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

struct version {
    int64_t epoch;
    int64_t time; /* of the newest entry that names it */
};

struct versions {
    struct store *store;
    struct version *known; /* by epoch, ascending */
    size_t count, capacity;
};

void versions_init(struct versions *versions, struct store *store);
void versions_fini(struct versions *versions);
/* An entry of this time names an epoch. *changed is set when the epoch is new. False: no memory. */
bool versions_note(struct versions *versions, int64_t epoch, int64_t time, bool *changed);
/* Forgets epochs whose newest entry is older than `edge`; true when there were any. */
bool versions_forget(struct versions *versions, int64_t edge);
/* How many known epochs are larger. O(log count). */
size_t versions_age(const struct versions *versions, int64_t epoch);

#endif
