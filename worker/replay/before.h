/* What was known before the range begins, and what the range says of it: labels of requests that
 * were under way by then come when they came. */
#ifndef INFOPAIR_BEFORE_H
#define INFOPAIR_BEFORE_H

#include "passage.h"
#include "recorded.h"

struct before {
    const struct past *past;
    size_t *entries; /* LABELLED of the range, places in past->ledger; owned */
    size_t count, next;
};

bool before_find(struct before *before, const struct past *past, const struct recorded *recorded,
                 struct error *error);
void before_fini(struct before *before);
/* When the next of them is due, later than `now`; INT64_MAX: none is left. */
int64_t before_due(const struct before *before, int64_t now);
/* Gives the passage's engine what is due. */
bool before_give(struct before *before, struct passage *passage, int64_t now, struct error *error);

#endif
