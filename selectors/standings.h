/* The highest of many keys that change one at a time: a tree of matches, each won by the higher
 * key, the lower place among equals. set O(log count), first O(1). Private to the library. */
#ifndef SEL_STANDINGS_H
#define SEL_STANDINGS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct standings {
    size_t leaves;    /* a power of two */
    double *key;      /* of each place; -INFINITY: not in the running */
    uint32_t *winner; /* 2 leaves: of the match below each node; node 1 is the root, leaf k is node
                         leaves + k */
};

static inline size_t standings_leaves(size_t count)
{
    size_t leaves = 1;
    while (leaves < count)
        leaves *= 2;
    return leaves;
}

static inline void standings_play(struct standings *standings, size_t node)
{
    uint32_t left = standings->winner[2 * node];
    uint32_t right = standings->winner[2 * node + 1];
    standings->winner[node] = standings->key[right] > standings->key[left] ? right : left;
}

/* All matches again, after keys were written directly. */
static inline void standings_settle(struct standings *standings)
{
    for (size_t node = standings->leaves; node-- > 1;)
        standings_play(standings, node);
}

/* No place is in the running. */
static inline void standings_reset(struct standings *standings)
{
    size_t leaves = standings->leaves;
    for (size_t k = 0; k < leaves; k++) {
        standings->key[k] = -INFINITY;
        standings->winner[leaves + k] = (uint32_t)k;
    }
    standings_settle(standings);
}

static inline void standings_set(struct standings *standings, size_t place, double key)
{
    standings->key[place] = key;
    for (size_t node = (standings->leaves + place) / 2; node > 0; node /= 2)
        standings_play(standings, node);
}

/* The place of the highest key; its key is -INFINITY when none is in the running. */
static inline size_t standings_first(const struct standings *standings)
{
    return standings->winner[standings->leaves > 1 ? 1 : standings->leaves];
}

#endif
