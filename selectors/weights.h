/* Weights of many pairs at once. Private to the library. */
#ifndef SEL_WEIGHTS_H
#define SEL_WEIGHTS_H

#include "selectors/selectors.h"

/* weight = kappa sel_weight_lapse(kappa margin, lapse) of each of `count` pairs, with kappa of
 * sel_weight_probit where probit and else 1. Relative error below 1e-15 (1 + |margin|) as far as w
 * is a normal number; 0 where a margin is infinite or not a number. */
void weights_fill(double *weight, const double *margin, const double *variance, size_t count,
                  bool probit, double lapse);
/* The same with sel_weight_tie, by libm. */
void weights_fill_ties(double *weight, const double *margin, const double *variance, size_t count,
                       bool probit, double lapse, double tie);

/* Of labels y in [0, 1] at margins m, without lapses and ties: -y log sigma(m) - (1-y) log
 * sigma(-m), its derivative in m, and sigma'(m). A fit of clean labels takes
 * them by blocks. */
struct weights_losses {
    double *value, *slope, *weight; /* count each */
};
void weights_find_losses(const double *margin, const double *y, size_t count,
                         struct weights_losses losses);

#endif
