/* Labels saved: how many uniform labels would have been as good as those of the selected arm.
 *
 *   Sigma(psi) = lambda Id + sum over the labelled pairs of the selected arm of c w(psi' x) x x'
 *   M_u(psi)   = mean over the pairs of shadow u of w(psi' x) x x'
 *   m_u(psi)   solves  tr(I (lambda Id + m M_u)^-1) = tr(I Sigma^-1)
 *
 * n is the number of labelled pairs of the selected arm in the window, c a label's confidence, w
 * the Fisher information of a label (by the lapse rate of who gave it; of nobody's by that of all),
 * lambda and I those of the newest fit. m_u - n are the labels
 * saved, m_u / n is the factor. M_u is of as many pairs as m_u: where shadow u holds fewer, the
 * next ones lend theirs.
 *
 * The interval holds the middle 90 % of m over draws of what is not known: psi, from its posterior,
 * by which the pairs of either kind are weighted; I at that psi, of a sample with replacement of
 * the pools, a uniform part of the way from the covariance within small pools (too small by the
 * share sum p^2) to that over 1 - sum p^2 (too large); and the shadows, of which m is the mean of
 * two. So it is for the mean over orders of uniform labels; one order varies a little more. Where
 * policy.sampling is not `reference`, moments.gamma is below 1, or there are fewer than 50 pools, I
 * is that of the fit.
 *
 * It rests on the model: that labels follow sigma(psi' x). Control labels, which no rule has
 * chosen, say whether to believe it: each is predicted before it enters a fit, and z (drift.h) of
 * the last of them is a standard normal if the model holds. Above ACCOUNT_SURPRISE (a one-sided
 * test at 1 %), or below ACCOUNT_CONTROL labels, the figure is not supported.
 *
 * Arms at equal label counts: of each of the two its first m labels alone, m those of the smaller
 * arm; psi and lambda from those, by the rule of a fit; tr(I Sigma^-1). Probes and imported labels
 * are of neither.
 *
 * Rivals (rival.h): labels that would reach the selected arm's tr(I Sigma^-1) at psi, by the same
 * equation with M of the pairs that a rule has taken. Both had the same sample of pools to choose
 * from, which is less than what the selected arm has: compare them with each other.
 *
 * The gap of the policy is tr(I S) / (2 beta) of all labels. I of small pools is too small: the
 * policy's weights p concentrate on few of the drawn completions, and their covariance misses the
 * share sum p^2. The bracket is from I as it is to I / (1 - 1/e), e the mean of 1 / sum p^2. */
#ifndef INFOPAIR_ACCOUNT_H
#define INFOPAIR_ACCOUNT_H

#include "engine/accounting.h"
#include "schemas/error.h"

#include <stdatomic.h>

enum { ACCOUNT_CONTROL = 20 };
#define ACCOUNT_SURPRISE 2.326

struct account_range {
    double low, mid, high;
};

struct account_arm {
    double trace, gap, lambda; /* at the arms' equal label count */
};

struct account {
    struct account_range labels; /* m_u: uniform labels as good as n; infinite: no number is */
    double trace;                /* tr(I Sigma^-1) of the selected arm alone at psi */
    struct account_range gap;    /* low and high of the bracket; mid is not set */
    size_t each;                 /* labels of each arm that are compared; 0: there are none */
    struct account_arm selected, control;
    double rivals[RIVALS]; /* labels that each rule would need; 0: there are no rivals */
    bool supported;
    char reason[160]; /* why it is not; "" */
};

/* False: ERROR_RETRY, *stop was set; ERROR_DATA, why there is none. Takes about 500 factorisations
 * of d x d and as many sums over the pairs. Any thread. */
bool account(const struct accounting_snapshot *snapshot, const atomic_bool *stop,
             struct account *account, struct error *error);

/* t >= 0 with tr(I (lambda Id + t M)^-1) = target; INFINITY when there is none. M: d x d symmetric,
 * destroyed; policy: I; scratch: 5 d. NaN: M has no eigenvalues (LAPACK). */
double account_solve(double *m, const double *policy, size_t d, double lambda, double target,
                     double *scratch);

#endif
