/* "Did you mean": the name of a set that is closest to what somebody typed. */
#ifndef INFOPAIR_NEAREST_H
#define INFOPAIR_NEAREST_H

#include <stddef.h>

/* The best candidate so far; zero-initialise. Names are borrowed. */
struct nearest {
    const char *name;
    size_t distance;
};

/* Insertions, deletions, replacements and swaps of neighbours that lead from one name to the other
 * (optimal string alignment), without regard to case. Only the first 63 bytes are compared. */
size_t nearest_distance(const char *left, const char *right);

/* Keeps `candidate` when it is closer to `typed` than what was offered before. */
void nearest_offer(struct nearest *nearest, const char *typed, const char *candidate);

#endif
