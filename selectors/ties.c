/* Davidson's model of ties (Davidson 1970, JASA 65, 317-328): of two completions with worth e^(m/2)
 * and e^(-m/2), m = psi' x,
 *
 *   P(left) = e^(m/2) / D,  P(right) = e^(-m/2) / D,  P(tie) = n / D,  D = e^(m/2) + e^(-m/2) + n.
 *
 * n = 0 is the model of Bradley and Terry. One who lapses, with probability e, says left or right
 * by a coin and never tie: P'(left) = (1-e) P(left) + e/2, P'(tie) = (1-e) P(tie). With L, S the
 * chances of the likelier and of the other side, T of a tie, the Fisher information of an answer
 * about m is
 *
 *   w = (1-e) [L (S + T/2)^2 r(L) + S (L + T/2)^2 r(S) + T (L - S)^2 / 4],
 *   r(P) = (1-e) P / ((1-e) P + e/2)
 *
 * (dL/dm = L (S + T/2) and so on), which at e = 0 is also minus the second derivative of the
 * logarithm of each of the three. All is computed from e^-|m|, so that nothing overflows or is lost
 * by subtraction. */
#include "selectors/weights.h"

#include <math.h>

struct sel_chances sel_tie_chances(double margin, double lapse, double tie)
{
    double small = exp(-fabs(margin)), draws = tie * sqrt(small), total = 1 + small + draws;
    double likelier = (1 - lapse) / total + lapse / 2;
    double other = (1 - lapse) * small / total + lapse / 2;
    return (struct sel_chances){.left = margin >= 0 ? likelier : other,
                                .right = margin >= 0 ? other : likelier,
                                .tie = (1 - lapse) * draws / total};
}

double sel_weight_tie(double margin, double lapse, double tie)
{
    if (tie <= 0)
        return sel_weight_lapse(margin, lapse);
    double small = exp(-fabs(margin)), draws = tie * sqrt(small), total = 1 + small + draws;
    double likelier = 1 / total, other = small / total, even = draws / total;
    double sided = likelier * (other + even / 2) * (other + even / 2);
    double against = other * (likelier + even / 2) * (likelier + even / 2);
    if (lapse > 0) {
        sided *= (1 - lapse) * likelier / ((1 - lapse) * likelier + lapse / 2);
        against *= (1 - lapse) * other / ((1 - lapse) * other + lapse / 2);
    }
    return (1 - lapse) * (sided + against + even * (likelier - other) * (likelier - other) / 4);
}

void weights_fill_ties(double *weight, const double *margin, const double *variance, size_t count,
                       bool probit, double lapse, double tie)
{
    for (size_t k = 0; k < count; k++) {
        double kappa = probit ? 1 / sqrt(1 + M_PI * variance[k] / 8) : 1;
        double value = kappa * sel_weight_tie(kappa * margin[k], lapse, tie);
        weight[k] = isfinite(value) ? value : 0;
    }
}

/* Derivative of the log-likelihood of one answer by log n. */
static double slope_of(double y, double margin, double lapse, double tie)
{
    struct sel_chances honest = sel_tie_chances(margin, 0, tie);
    if (y == .5)
        return 1 - honest.tie;
    double left = (1 - lapse) * honest.left, right = (1 - lapse) * honest.right;
    return -honest.tie * ((y > 0 ? y * left / fmax(left + lapse / 2, 1e-300) : 0) +
                          (y < 1 ? (1 - y) * right / fmax(right + lapse / 2, 1e-300) : 0));
}

double sel_tie_estimate(const struct sel_answers *answers, const double *lapses, double lapse)
{
    enum { STEPS = 50 };
    double low = -12, high = 6, ties = 0;
    for (size_t k = 0; k < answers->n; k++)
        ties += answers->y[k] == .5 ? answers->weight[k] : 0;
    if (!(ties > 0))
        return 0;
    for (int step = 0; step < STEPS; step++) {
        double middle = (low + high) / 2, tie = exp(middle);
        /* As much as one answer at m = 0, of which half is a tie. */
        double slope = .5 * slope_of(.5, 0, 0, tie) + .5 * slope_of(1, 0, 0, tie);
        for (size_t k = 0; k < answers->n; k++)
            slope += answers->weight[k] * slope_of(answers->y[k], answers->margin[k],
                                                   lapses == NULL ? lapse : lapses[k], tie);
        if (slope > 0)
            low = middle;
        else
            high = middle;
    }
    return exp((low + high) / 2);
}
