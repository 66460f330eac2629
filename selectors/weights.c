/* Weight of a pair: the Fisher information of one label about the margin m = psi' x.
 *
 *   P = sigma(m)                    w = sigma'(m) = e^-|m| / (1 + e^-|m|)^2        ("plug")
 *   P = (1-e) sigma(m) + e/2        w = [(1-e) sigma'(m)]^2 / (P (1-P))            ("lapse")
 *   m ~ N(margin, variance)         w = kappa sigma'(kappa m), kappa = (1 + pi variance / 8)^-1/2
 *
 * Invariants: symmetric in the sign of m bit for bit; 0 <= w <= 1/4; no underflow before e^-|m|
 * itself underflows (|m| > 745), where sigma (1 - sigma) would be 0 from |m| = 37. */
#include "selectors/selectors.h"

#include <math.h>

double sel_sigmoid(double margin)
{
    double small = exp(-fabs(margin));
    return margin >= 0 ? 1 / (1 + small) : small / (1 + small);
}

double sel_weight_plug(double margin)
{
    double small = exp(-fabs(margin));
    return small / ((1 + small) * (1 + small));
}

double sel_weight_probit(double margin, double variance)
{
    double kappa = 1 / sqrt(1 + M_PI * variance / 8);
    return kappa * sel_weight_plug(kappa * margin);
}

double sel_weight_lapse(double margin, double lapse)
{
    if (lapse <= 0)
        return sel_weight_plug(margin);
    double small = exp(-fabs(margin));
    double slope = (1 - lapse) * small / ((1 + small) * (1 + small));
    /* Of the likelier and of the other answer; neither is found by subtraction from 1. */
    double likelier = (1 - lapse) / (1 + small) + lapse / 2;
    double other = (1 - lapse) * small / (1 + small) + lapse / 2;
    return slope / likelier * (slope / other);
}
