/* Weight of a pair: the Fisher information of one label about the margin m = psi' x.
 *
 *   P = sigma(m)                    w = sigma'(m) = e^-|m| / (1 + e^-|m|)^2        ("plug")
 *   P = (1-e) sigma(m) + e/2        w = [(1-e) sigma'(m)]^2 / (P (1-P))            ("lapse")
 *   m ~ N(margin, variance)         w = kappa sigma'(kappa m), kappa = (1 + pi variance / 8)^-1/2
 *
 * weights_fill does the same without calls and branches, so that several pairs go through a vector
 * unit at once; its exponential is its own: e^-m = 2^k e^f, |f| <= ln 2 / 2, by Taylor's series.
 *
 * Invariants: symmetric in the sign of m bit for bit; 0 <= w <= 1/4; no underflow before e^-|m|
 * itself underflows (|m| > 745), where sigma (1 - sigma) would be 0 from |m| = 37. */
#include "selectors/weights.h"

#include "selectors/wide.h"

#include <math.h>
#include <string.h>

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

/* ---- many at once ---- */

WIDE_BODY double of_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

WIDE_BODY uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* e^f - 1 - f for |f| <= ln 2 / 2: terms up to f^13 / 13!, the next is below 1e-17. By pairs, so
 * that no sum waits long for another. */
WIDE_BODY double series(double f)
{
    double two = f * f;
    double four = two * two;
    double low = (1. / 2 + f * (1. / 6)) + two * (1. / 24 + f * (1. / 120));
    double middle = (1. / 720 + f * (1. / 5040)) + two * (1. / 40320 + f * (1. / 362880));
    double high =
        (1. / 3628800 + f * (1. / 39916800)) + two * (1. / 479001600 + f * (1. / 6227020800));
    return two * (low + four * (middle + four * high));
}

/* e^-size for size >= 0. */
WIDE_BODY double decay(double size)
{
    const double whole = 0x1.8p52; /* added, it leaves the nearest whole number in the low bits */
    const double last = 746;       /* e^-746 is 0 */
    double x = size < last ? -size : -last;
    double shifted = x * 0x1.71547652b82fep+0 + whole;
    double k = shifted - whole;
    /* ln 2 in two parts; k times the first is exact. */
    double f = (x - k * 0x1.62e42fefa38p-1) - k * 0x1.ef35793c7673p-45;
    /* 2^k as a product of two powers: k may be as low as -1077. */
    uint64_t lifted = bits_of(shifted) - bits_of(whole) + 2048;
    uint64_t half = lifted >> 1;
    double power = of_bits((half - 1) << 52);
    double rest = of_bits((lifted - half - 1) << 52);
    return (1 + (f + series(f))) * power * rest;
}

/* log(1 + small) for 0 <= small <= 1, as 2 artanh(z), z = small / (2 + small) <= 1/3: terms up to
 * z^33 / 33, the next is below 1e-17 of the first. */
WIDE_BODY double log_one_more(double small)
{
    enum { LAST = 33 };
    double z = small / (2 + small);
    double square = z * z;
    double sum = 1. / LAST;
    for (int odd = LAST - 2; odd >= 1; odd -= 2)
        sum = sum * square + 1. / odd;
    return 2 * z * sum;
}

/* As the functions above, word by word, with decay for exp. */
WIDE_BODY double weigh(double margin, double variance, bool probit, double lapse)
{
    double kappa = probit ? 1 / sqrt(1 + M_PI * variance / 8) : 1;
    double small = decay(fabs(kappa * margin));
    if (lapse <= 0)
        return kappa * (small / ((1 + small) * (1 + small)));
    double slope = (1 - lapse) * small / ((1 + small) * (1 + small));
    double likelier = (1 - lapse) / (1 + small) + lapse / 2;
    double other = (1 - lapse) * small / (1 + small) + lapse / 2;
    return kappa * (slope / likelier * (slope / other));
}

WIDE_BODY void fill(double *restrict weight, const double *restrict margin,
                    const double *restrict variance, size_t count, bool probit, double lapse)
{
    if (probit && lapse <= 0)
        for (size_t k = 0; k < count; k++)
            weight[k] = weigh(margin[k], variance[k], true, 0);
    else if (probit)
        for (size_t k = 0; k < count; k++)
            weight[k] = weigh(margin[k], variance[k], true, lapse);
    else
        for (size_t k = 0; k < count; k++)
            weight[k] = weigh(margin[k], 0, false, lapse);
}

WIDE_TARGET static void fill_wide(double *weight, const double *margin, const double *variance,
                                  size_t count, bool probit, double lapse)
{
    fill(weight, margin, variance, count, probit, lapse);
}

void weights_fill(double *weight, const double *margin, const double *variance, size_t count,
                  bool probit, double lapse)
{
    if (wide_is_possible())
        fill_wide(weight, margin, variance, count, probit, lapse);
    else
        fill(weight, margin, variance, count, probit, lapse);
}

WIDE_BODY void find_losses(const double *restrict margin, const double *restrict y, size_t count,
                           struct weights_losses losses)
{
    double *restrict value = losses.value, *restrict slope = losses.slope;
    double *restrict weight = losses.weight;
    for (size_t k = 0; k < count; k++) {
        double m = margin[k];
        double size = m < 0 ? -m : m;
        double small = decay(size);
        double larger = 1 / (1 + small), smaller = small / (1 + small);
        double sigma = m >= 0 ? larger : smaller, other = m >= 0 ? smaller : larger;
        double wrong = m >= 0 ? 1 - y[k] : y[k]; /* share of the answers for the other side */
        value[k] = log_one_more(small) + wrong * size;
        slope[k] = (1 - y[k]) * sigma - y[k] * other;
        weight[k] = small / ((1 + small) * (1 + small));
    }
}

WIDE_TARGET static void find_losses_wide(const double *margin, const double *y, size_t count,
                                         struct weights_losses losses)
{
    find_losses(margin, y, count, losses);
}

void weights_find_losses(const double *margin, const double *y, size_t count,
                         struct weights_losses losses)
{
    if (wide_is_possible())
        find_losses_wide(margin, y, count, losses);
    else
        find_losses(margin, y, count, losses);
}
