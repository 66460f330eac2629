/* Shadows: what uniform pairs would have told in the place of the selected ones.
 *
 * Whenever a pair of the selected arm is asked, each shadow draws a uniform pool of those open to
 * the slot and in it a uniform pair, whatever was asked of it, and keeps x by a coin with the share
 * of requests that are answered. Beyond the memory given a shadow keeps a uniform sample of its
 * pairs (Vitter's algorithm R).
 *
 * Two things are simpler than a control arm of its own would be. A shadow may draw a pair twice.
 * And of the rules that look at one pool after the other the shadows draw from the same pool, so
 * that what the choice of pools gains is not seen.
 *
 * Beside them a uniform sample of the pools that went into I is kept with all completions, by which
 * I can be had at another psi than that of the fit.
 *
 * They are this worker's own and no shared state: nothing hangs on them, and a restart, another
 * feature space or another worker begins anew. Draws are keyed by the slot. */
#ifndef INFOPAIR_ENGINE_SHADOWS_H
#define INFOPAIR_ENGINE_SHADOWS_H

#include "identity.h"

#include <stdbool.h>

enum {
    SHADOWS_MAX = 32,
    SHADOWS_LEAST = 4,       /* fewer say too little of how much they differ */
    SHADOW_PAIRS_EACH = 4,   /* pairs for each feature that a shadow must have room for */
    SHADOW_PAIRS_MAX = 4096, /* more of them tell nothing new of a mean of x x' */
    SHADOW_POOLS_MAX = 512   /* nor do more pools of I */
};

/* Pools behind I: completions of the policy's traffic. */
struct shadow_pools {
    size_t room, rows; /* pools at most, completions of each at most; room 0: none are kept */
    float *x;          /* room x rows x d, in the scale of SPACE */
    uint32_t *count;   /* room: completions */
    double *weight;    /* room: traffic weight */
    uint64_t seen;
};

struct pool;
struct engine;
struct decision;

struct shadows {
    struct id space;
    size_t dimension;            /* 0: not prepared */
    size_t count;                /* 0: switched off, or too little memory for so many features */
    size_t room;                 /* pairs that each keeps at most */
    float *x;                    /* count x room x dimension, in the scale of SPACE */
    uint64_t drawn[SHADOWS_MAX]; /* pairs that each had */
    int64_t slots;               /* that were counted */
    int64_t since;               /* time of the first, milliseconds since the epoch */
    struct shadow_pools traffic;
    /* Pools open to a slot, as of some slot of the same tick, where they are few of the ready ones:
     * those that are open still are drawn by rejection. */
    struct pool **open;
    size_t open_count, open_capacity;
};

/* How many shadows half of so much memory gives, and pairs for each. 0: too few. */
size_t shadows_count(size_t dimension, size_t bytes, size_t *room);
/* Memory that is enough for the least. */
size_t shadows_least(size_t dimension);
/* Makes room for the features of the current space; another space begins anew. False: out of
 * memory. */
bool shadows_prepare(struct engine *engine);
void shadows_fini(struct shadows *shadows);
/* A pair of the selected arm is about to be asked. Nothing else of the engine changes. */
void shadows_follow(struct engine *engine, const struct decision *decision);
/* A pool goes into I, or went there before this worker held it. Not where policy.sampling knows
 * other weights than those of psi, nor where versions fade. */
void shadows_see_pool(struct engine *engine, const struct pool *pool);
size_t shadows_pools(const struct shadows *shadows);
/* A uniform pool of those open to a slot; NULL: none is. */
const struct pool *shadows_draw_pool(struct engine *engine, struct sel_random *random);
/* Pools were closed, or time has passed. */
void shadows_forget(struct shadows *shadows);
/* Pairs that a shadow holds; its first x. */
size_t shadows_held(const struct shadows *shadows, size_t shadow);
const float *shadows_x(const struct shadows *shadows, size_t shadow);

#endif
