/* The best pair of very many pools without bringing all of them up to date. Private to the library.
 */
#ifndef SEL_LAGGING_H
#define SEL_LAGGING_H

#include "selectors/candidates.h"
#include "selectors/standings.h"

/* Picks after which the age of a pool counts no more. */
enum { LAGGING_AGES = 1024 };

/* Arrays hold an entry a pool. */
struct lagging {
    struct standings standings; /* of the pools, by what they may score now */
    size_t picks;               /* taken or put back so far */
    size_t *seen;               /* as many of them as the pool is up to date with */
    size_t looks;               /* pools brought up to date since the last pick */
    size_t looks_most;
    /* The best pair that was found when the pool was up to date, its numbers of now. NULL where
     * never more than lazy_from pools are open. */
    sel_feature *x; /* d values; this only under rules with `score` */
    double *weight;
    double *variance;
    double *policy;
    double *margin;
    double *score;
    double *price[2]; /* by which a score below 0, and another, is multiplied */
    double *g;        /* of a pick */
    double *h;
    double allowance[LAGGING_AGES]; /* by age; see lagging.c */
};

/* For pools of at most n completions and d features. */
void lagging_init(struct lagging *lagging, size_t n, size_t d);
/* No pool is open. */
void lagging_clear(struct lagging *lagging);
/* A pool that is up to date enters, or comes again. */
void lagging_enter(struct lagging *lagging, const struct candidates *candidates,
                   const struct candidates_round *round);
/* Brings a pool up to date with the present S = inverse. */
void lagging_catch_up(struct lagging *lagging, struct candidates *candidates,
                      const struct candidates_round *round, const double *inverse);
/* The first `count` pools fall behind by a pick; their standings follow. */
void lagging_fall_behind(struct lagging *lagging, size_t count,
                         const struct candidates_round *round, const struct candidates_pick *pick);
/* The pool of the best pair; it is up to date. NULL when there is none. */
struct candidates *lagging_best(struct lagging *lagging, struct candidates *pools, size_t count,
                                const struct candidates_round *round, const double *inverse);

#endif
