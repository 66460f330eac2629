/* The recorded requests and labels as the engine understands the ledger's entries, and what all of
 * the past's labels together teach: one fit by which everything is compared. */
#ifndef INFOPAIR_RECORDED_H
#define INFOPAIR_RECORDED_H

#include "past.h"
#include "worker/engine/identity.h"

/* A pair that was asked, or was labelled without having been asked here. */
struct recorded_pair {
    struct id request, pair;
    struct span prompt_id, left_id, right_id;
    const float *x; /* left minus right, in the scale of SPACE */
    bool asked;     /* SELECTED was seen */
    bool before;    /* asked, or labelled without that, before the range: known to every rule */
    bool imported;
    enum pair_arm arm;
    double propensity; /* NaN: unknown */
    int64_t issued_at; /* -1: unknown */
    /* Of the label that counts. */
    bool labelled;
    int64_t answered_at;
    enum label_outcome outcome;
    double probability; /* of left; NaN: tells nothing */
    double confidence;
    struct span annotator_id; /* empty: nobody's name */
};

struct recorded {
    struct contracts *contracts;
    struct engine *engine; /* owns the texts and x */
    struct recorded_pair *pairs;
    size_t count; /* in order of pair, then of the time of the answer, then of request */
    size_t asked; /* of them in the range, imported ones included */
    size_t informative;
    double worker_trace; /* tr(I inverse(Sigma)) as the workers' ledger has it at its end; NaN */
};

/* psi and Sigma_0 by which designs are compared, and what answers where the past does not. */
struct common {
    size_t dimension;
    double *psi;   /* in the scale of SPACE */
    double lambda; /* of several groups of features: their geometric mean */
    size_t groups;
    double lambdas[SEL_GROUPS_MAX]; /* of each group */
    double *prior;                  /* of each feature that of its group */
    double lapse, tie;
    double scale;      /* of SPACE */
    int64_t labels;    /* behind it; 0: given */
    struct buffer fit; /* the same as a FIT entry, encoded */
};

bool recorded_read(struct recorded *recorded, const struct past *past,
                   const struct options *options, struct error *error);
void recorded_fini(struct recorded *recorded);
/* The first of the pairs with that id; *count: how many follow each other. NULL: none. */
const struct recorded_pair *recorded_find(const struct recorded *recorded, struct id pair,
                                          size_t *count);

/* The fit on all recorded labels, by the engine. ERROR_DATA: none of them tells anything. */
bool common_fit(struct common *common, const struct recorded *recorded, const struct past *past,
                const struct options *options, struct error *error);
/* psi of raw features from an .npy of one row or a vector; lambda as the labels have it where there
 * are any, else fit.lambda, else 1. */
bool common_given(struct common *common, const char *path, const struct recorded *recorded,
                  const struct past *past, const struct options *options, struct error *error);
void common_fini(struct common *common);

#endif
