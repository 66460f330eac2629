/* The last picks of a round, for the pools that have yet to follow them. Private to the library.
 *
 * A pool that follows several picks one after the other, however late, has the numbers that it
 * would have had following each at once, bit for bit. Cost: add O(d + draws), follow O(n d + n^2) a
 * pick. */
#ifndef SEL_BACKLOG_H
#define SEL_BACKLOG_H

#include "selectors/candidates.h"

#include <string.h>

enum { BACKLOG_PICKS = 32 };

struct backlog {
    size_t held;                                 /* picks, the oldest first */
    struct candidates_pick picks[BACKLOG_PICKS]; /* their arrays are parts of `room` */
    double *room;                                /* BACKLOG_PICKS x backlog_width() */
};

/* Doubles of room for one pick. */
static inline size_t backlog_width(size_t d, size_t draws)
{
    return 2 * d + draws;
}

/* Keeps a pick; there must be room. */
static inline void backlog_add(struct backlog *backlog, const struct candidates_pick *pick,
                               size_t d, size_t draws)
{
    double *room = backlog->room + backlog->held * backlog_width(d, draws);
    memcpy(room, pick->u, d * sizeof(double));
    memcpy(room + d, pick->v, d * sizeof(double));
    if (draws > 0)
        memcpy(room + 2 * d, pick->shift, draws * sizeof(double));
    backlog->picks[backlog->held++] = (struct candidates_pick){
        .u = room, .v = room + d, .c = pick->c, .r = pick->r, .shift = room + 2 * d};
}

/* Brings G and H of a pool past its last `missed` picks; its best pair is the caller's to find. */
static inline void backlog_follow(const struct backlog *backlog, struct candidates *candidates,
                                  const struct candidates_round *round, size_t missed)
{
    for (size_t k = backlog->held - missed; k < backlog->held; k++)
        candidates_update(candidates, round, backlog->picks + k);
}

#endif
