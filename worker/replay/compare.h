/* Designs side by side, by one fit: how much their first labels measure of what the policy needs.
 *
 *   trace(m) = tr(I (diag(lambda) + F + sum over the first m labels of confidence w x x')^-1)
 *
 * w at the common psi and lapse, I the policy's Fisher information under that psi over the replayed
 * completions. Labels count in the order of their answers.
 * F: the same sum over what was labelled of requests before the range, which all rules know. */
#ifndef INFOPAIR_COMPARE_H
#define INFOPAIR_COMPARE_H

#include "off_policy.h"
#include "trial.h"

/* The pairs that a design had labelled. */
struct design {
    const float **x; /* owned array of borrowed vectors, in the order of the answers */
    double *weight;  /* confidence w; owned */
    size_t labels;
    size_t points; /* of the curve: at 0 and at least one more */
    size_t *at;    /* owned, like trace */
    double *trace;
};

/* I by the engine from all replayed completions under the common psi; d x d, of the caller. */
bool compare_policy(const struct past *past, const struct options *options,
                    const struct common *common, double *policy, struct error *error);

/* Those of a trial, and those that were recorded; design_fini in any case. */
bool design_of_trial(struct design *design, const struct trial *trial,
                     const struct recorded *recorded, const struct common *common,
                     const double *policy, struct error *error);
bool design_of_past(struct design *design, const struct recorded *recorded,
                    const struct common *common, const double *policy, struct error *error);
void design_fini(struct design *design);

/* trace(m), by interpolation of its logarithm; NaN beyond the labels. */
double design_trace(const struct design *design, double labels);
/* Fewest labels with which the trace is that low; NaN: it never is. */
double design_labels(const struct design *design, double trace);
/* exp of the mean of log(trace / base's trace) over the second half of the labels of both. */
double design_late(const struct design *design, const struct design *base);

/* Recorded requests that the trial asks too, by pair, and the pairs of either. */
struct overlap {
    size_t both, either;
};
bool compare_overlap(const struct trial *trial, const struct recorded *recorded,
                     struct overlap *overlap, struct error *error);

#endif
