/* What a certificate of the pairs asked so far is computed from, copied out of the engine.
 *
 *   f  = tr(I Sigma^-1),  Sigma = diag(lambda) + sum over the asked pairs of share w x x'
 *   f* = min of the same over all designs of as many labels, each pair at most once, or in part
 *   efficiency = f* / f <= 1, proven to be at least bound / f where bound <= f*
 *
 * Designs are over the pairs that stand in Sigma's window (with their label, or under way) and
 * those that could be asked now: not asked yet, in the ready pools of the partitions held here.
 * They do not see what could have been asked of pools that are closed by now, or at other workers:
 * the certificate says how well the labels are spent on all pairs that can still be seen, and says
 * little when those are few beside the labels.
 *
 * All weights are those of one label at the present psi, w = sel_weight_tie(psi' x), as a fit
 * recomputes them, whatever selection.weights made of them at the pick: pairs asked early and pairs
 * not asked at all are measured alike. So f is the engine's policy trace where no pair was weighted
 * otherwise since the newest fit. I is the present one. The best design knows that psi and that I
 * from the first label on, which those who asked did not. An asked pair counts for its share as in
 * Sigma (its label's confidence, or the share of requests that are answered while it is under way),
 * one not asked for the mean share of those.
 *
 * Memory is bounded. Of more asked pairs than fit, a uniform sample is taken of which each stands
 * for `each` of them (their weight is multiplied), beside the same share of the pools; of more
 * pools than fit, a uniform sample. What is proven then is proven of the sample. */
#ifndef INFOPAIR_ENGINE_CERTIFICATE_H
#define INFOPAIR_ENGINE_CERTIFICATE_H

#include "engine.h"

enum {
    CERTIFICATE_ASKED_MAX = 10000,      /* asked pairs of a snapshot */
    CERTIFICATE_FEATURES_MAX = 4 << 20, /* values of the open pools, 16 MiB */
    CERTIFICATE_DIMENSION_MAX = 1024,   /* a factorisation of more takes seconds */
    CERTIFICATE_POOL_MAX = 1 << 16      /* completions of one pool */
};

struct certificate_limits {
    size_t candidates; /* most open pairs that the best design holds at a time */
    size_t
        bytes; /* for the snapshot and what works on it, beside what the model leaves of its plan */
};

/* A pool's completions that may be compared, and the pairs of them that were asked. */
struct certificate_pool {
    size_t first, count;             /* rows of `features` */
    size_t known_first, known_count; /* of `known`, ascending */
};

struct certificate_snapshot {
    size_t dimension; /* d */
    /* Asked pairs. */
    size_t asked;   /* >= 1 */
    float *x;       /* asked x d, in the scale of SPACE */
    double *weight; /* asked */
    /* Open pairs: i < j of a pool, but for those known. */
    struct certificate_pool *pools;
    size_t pool_count;
    float *features; /* rows of d, in the scale of SPACE */
    double *margins; /* psi' of each row */
    uint32_t *known; /* i << 16 | j */
    size_t open;     /* such pairs, >= 1 */
    double share;    /* of w that an open pair counts for, `each` included */
    double lapse, tie;

    double *lambda; /* d: diagonal of the prior's precision */
    double *policy; /* d x d: I */
    int64_t labels; /* asked pairs that stand in Sigma */
    double each;    /* of them that an asked pair of the snapshot stands for; 1: all are there */
    int64_t fit_id;
    int64_t time; /* the engine's, milliseconds since the epoch */
    size_t candidates;
    char *space;
};

/* Copies what is needed, O(window + snapshot); changes nothing, so that it is no event of the
 * engine. The engine's thread. The draws are keyed by options.seed and the time. On success the
 * caller frees the snapshot, which any thread may use. False: ERROR_RETRY, Sigma is about to be
 * rebuilt by the next tick; ERROR_DATA, why there can be none for now. */
bool engine_certificate(const struct engine *engine, const struct certificate_limits *limits,
                        struct certificate_snapshot *snapshot, struct error *error);
void certificate_snapshot_free(struct certificate_snapshot *snapshot);

/* Memory of a certificate as large as it can be, snapshot and solving; 0 where there is none for so
 * many features. */
size_t certificate_bytes(size_t dimension, size_t candidates);
/* Pairs, asked and in the best design, that fit into so much memory. */
size_t certificate_rows(size_t dimension, size_t bytes);

#endif
