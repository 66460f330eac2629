/* How often annotators answer by a coin flip, by evidence.
 *
 *   P(left) = (1-e) sigma(psi' x) + e/2
 *   e_hat   = sum_g v_g e_g Z(e_g) / sum_g v_g Z(e_g),  Z(e) = the likelihood with psi integrated
 * out log Z   = -f + sum_b d_b/2 log lambda_b - 1/2 log det Sigma  (Laplace), f, lambda, Sigma of
 * the fit at e
 *
 * over a grid of rates, v_g the trapezoid's weights: the posterior mean under a flat prior. Every
 * rate has its own psi and lambda: maximised together with psi, lapses hide in a smaller psi, and
 * the rate comes out far too low. Cost: a few Newton steps for each of the GRID rates. */
#include "selectors/selectors.h"

#include <math.h>
#include <string.h>

enum { GRID = 7 };
static const double RATES[GRID] = {0, .02, .05, .1, .15, .2, .3};
static const double WIDTHS[GRID] = {.02, .025, .04, .05, .05, .075, .1};

enum sel_status sel_preference_lapse(struct sel_preference *preference, const sel_feature *const *x,
                                     const double *y, const double *weight, size_t n,
                                     const double *prior,
                                     const struct sel_preference_options *options,
                                     const double *psi, size_t d, struct sel_lapse *lapse,
                                     double *scratch)
{
    double evidence[GRID];
    double most = -INFINITY;
    for (int g = 0; g < GRID; g++) {
        struct sel_preference_options at = *options;
        struct sel_preference_result result;
        at.lapse = RATES[g];
        at.lapses = NULL;
        at.guard = false;
        memcpy(scratch, psi, d * sizeof *scratch);
        enum sel_status status =
            sel_preference_fit(preference, x, y, weight, n, prior, &at, scratch, &result);
        if (status != SEL_OK && status != SEL_NOT_CONVERGED)
            return status;
        evidence[g] = result.evidence;
        most = fmax(most, evidence[g]);
    }
    double sum = 0, mean = 0, square = 0;
    for (int g = 0; g < GRID; g++) {
        double share = WIDTHS[g] * exp(evidence[g] - most);
        sum += share;
        mean += share * RATES[g];
        square += share * RATES[g] * RATES[g];
    }
    if (!(sum > 0) || !isfinite(mean))
        return SEL_SINGULAR;
    lapse->rate = mean / sum;
    lapse->deviation = sqrt(fmax(0, square / sum - lapse->rate * lapse->rate));
    return SEL_OK;
}
