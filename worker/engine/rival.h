/* Rivals: what another rule would have asked.
 *
 * With `accounting.rule` two rivals look at a uniform sample of the pools open to the slots of a
 * tick: that rule, and the one in use, so that both have the same choice. At each slot of the
 * selected arm each takes its best pair, which nobody is asked, by a Sigma of its own: diag(lambda)
 * + sum over its pairs of w x x', w at the psi of the newest fit, which the real labels have
 * taught. It asks no pair twice, of its last RIVAL_PICKS. Of its pairs x is kept like a shadow's
 * (shadows.h), by a coin with the share of requests that are answered; between two fits its picks
 * stand in Sigma with that share.
 *
 * Like shadows they are this worker's own, begin anew with it, and change nothing else. Most of
 * their time goes into opening the pools, once a tick. */
#ifndef INFOPAIR_ENGINE_RIVAL_H
#define INFOPAIR_ENGINE_RIVAL_H

#include "identity.h"
#include "schemas/error.h"

#include <stdbool.h>

enum { RIVALS = 2, RIVAL_POOLS = 64, RIVAL_PICKS = 4096 };

struct pool;
struct engine;
struct engine_options;

/* A pair that it has taken. */
struct rival_pick {
    struct id pool, left, right;
};

struct rival {
    const struct sel_rule *rule;
    struct sel_picker *picker;
    struct sel_information *information;
    const struct pool *open[RIVAL_POOLS]; /* by the picker's numbers */
    size_t open_count;                    /* 0: the tick has had no slot yet */
    struct rival_pick *picks;             /* RIVAL_PICKS, a ring */
    uint64_t taken;
    float *x; /* RIVAL_PICKS x d, in the scale of SPACE: a uniform sample */
    uint64_t drawn;
};

struct rivals {
    struct id space;
    size_t dimension; /* 0: not prepared */
    struct rival each[RIVALS];
    float *rows;        /* pool.max x d */
    uint8_t *forbidden; /* of the pairs of a pool */
};

/* Memory of both; 0 without the option. */
size_t rivals_bytes(const struct engine_options *options, size_t dimension);
/* As for shadows. */
bool rivals_prepare(struct engine *engine);
void rivals_fini(struct rivals *rivals);
/* A pair of the selected arm is about to be asked: its slot is not charged yet, and the pools that
 * are open to it are those that they see. Then: it was asked. False: ERROR_FATAL. */
bool rivals_look(struct engine *engine, int64_t slot, struct error *error);
bool rivals_follow(struct engine *engine, int64_t slot, struct error *error);
/* Pools were closed, or time has passed. */
void rivals_forget(struct rivals *rivals);
/* Pairs whose x is kept. */
size_t rival_held(const struct rival *rival);

#endif
