/* What the accounting of saved labels is computed from, copied out of the engine: the labels of the
 * window with their arms, the shadows (shadows.h), psi, I, and how well control labels were
 * predicted. account.h says what is made of it.
 *
 * Labels have the weight of their confidence, whatever the age of their policy: it would fade
 * uniform labels alike. Where features are in groups with a lambda each, x, psi and I are those of
 * features in a scale in which all have the one lambda.
 *
 * Memory is bounded: of more labels than fit a uniform sample is taken, of which each stands for
 * `each` of them. */
#ifndef INFOPAIR_ENGINE_ACCOUNTING_H
#define INFOPAIR_ENGINE_ACCOUNTING_H

#include "engine.h"
#include "rival.h"
#include "shadows.h"

struct accounting_snapshot {
    size_t dimension; /* d */
    /* Informative labels of the window, in the order in which their pairs were asked. */
    size_t count;
    float *x;                  /* count x d, in the scale of SPACE */
    double *y, *weight;        /* count: probability of left, confidence */
    double *lapses;            /* count: of who gave it, as the fit has it */
    unsigned char *arm;        /* count: enum pair_arm; ACCOUNTING_IMPORTED */
    int64_t selected, control; /* labels of the two arms in the window, sampled or not */
    double each;               /* labels that one of the snapshot stands for; 1: all are there */
    /* Shadows. */
    size_t shadows;           /* >= SHADOWS_LEAST */
    size_t held[SHADOWS_MAX]; /* pairs of each */
    float *shadow_x;          /* the first one's rows of d, then the second one's, ... */
    int64_t slots, since;     /* slots that they saw, and from when */
    /* Pools behind I; none: I is that of the fit. */
    size_t pools;
    size_t *pool_rows;   /* pools: completions of each */
    double *pool_weight; /* pools */
    float *pool_x;       /* the first one's rows of d, then the second one's, ... */
    /* Rivals: the rule of accounting.rule, and the one in use; none: rival_names[0] is NULL. */
    const char *rival_names[RIVALS]; /* the library's */
    size_t rival_held[RIVALS];
    float *rival_x; /* the first one's rows of d, then the second one's */
    /* The newest fit. */
    double *psi;               /* d */
    double *policy;            /* d x d: I */
    double lambda, lapse, tie; /* lapse: of pairs that nobody was asked */
    double trace;              /* tr(I S) of all pairs, those under way included */
    double effective;          /* mean effective sample size of the pools behind I */
    int64_t fit_id;
    double beta, fit_lambda, fit_lambda_max; /* options */
    /* Control labels as they were predicted before they entered a fit: the last ones. */
    size_t predicted;
    double loss, surprise; /* as drift.h has it; NaN without any */
    int64_t time;          /* the engine's, milliseconds since the epoch */
    char *space;
};

enum { ACCOUNTING_IMPORTED = 255 };

/* Copies what is needed, O(window + snapshot); changes nothing, so that it is no event of the
 * engine. bytes: for the snapshot and what works on it. The engine's thread. On success the caller
 * frees the snapshot, which any thread may use. False: ERROR_RETRY, Sigma is about to be rebuilt by
 * the next tick; ERROR_DATA, why there can be none for now. */
bool engine_accounting(const struct engine *engine, size_t bytes,
                       struct accounting_snapshot *snapshot, struct error *error);
void accounting_snapshot_free(struct accounting_snapshot *snapshot);

/* Of memory for accounting, what the engine's shadows take; the rest is for snapshots. */
size_t accounting_shadow_bytes(size_t bytes);

#endif
