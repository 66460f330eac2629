/* What labels of another design would say, from the recorded ones and their logged propensities.
 *
 * Self-normalised importance weighting: for requests k with the probability q_k under which they
 * were asked and p_k under the design in question, in the same state,
 *   estimate = sum w f / sum w,  w = p / q;  variance = sum w^2 (f - estimate)^2 / (sum w)^2
 * (delta method). The mean of w over all requests is 1 where everything that the design may ask may
 * have been asked; where it is far below, the past does not support the estimate. */
#ifndef INFOPAIR_OFF_POLICY_H
#define INFOPAIR_OFF_POLICY_H

#include "recorded.h"

struct estimate {
    double value, low, high; /* 95 %; NaN without a label of positive weight */
    double effective;        /* sample size: (sum w)^2 / sum w^2 */
    size_t count;            /* labels of positive weight */
};

/* Pure: n weights >= 0 and what is averaged. */
struct estimate off_policy_estimate(const double *weight, const double *value, size_t n);

enum measure { MEASURE_LOG_LOSS, MEASURE_TIES, MEASURE_AGREEMENT, MEASURES };
extern const char *const MEASURE_NAMES[MEASURES];

struct off_policy {
    bool known;                          /* the design's probabilities could be had */
    size_t requests;                     /* with a propensity */
    double support;                      /* mean of w over them */
    double control;                      /* the control arm's part of the weights of labels */
    struct estimate estimates[MEASURES]; /* of the common fit, on labels that say something */
};

/* Of which design. */
struct off_policy_target {
    bool uniform;                   /* uniform pairs, whatever the options' rule */
    const struct options *options;  /* else theirs */
    const struct options *recorded; /* whose budget the record was made under */
};

/* By an engine that observes: it is given what the ledger says at its time, and is asked for the
 * chance of each recorded pair just before. It sees the pools of all partitions; where several
 * workers shared them, each chose among its own, and `support` is lower by their number (the
 * estimates are not: a common factor of the weights does not matter). */
bool off_policy_run(const struct past *past, const struct off_policy_target *target,
                    const struct recorded *recorded, const struct common *common,
                    struct off_policy *found, struct error *error);
/* True where a design draws, so that its propensities say more than the control arm's. */
bool off_policy_draws(const struct options *options);

#endif
