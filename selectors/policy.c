/* Policy information: the covariance of the features of one pool under p = softmax(logits),
 *
 *   Cov = sum_k p_k (phi_k - mu)(phi_k - mu)',  mu = sum_k p_k phi_k,  effective = 1 / sum_k p_k^2
 *
 * from centred rows, so that an offset common to the pool costs no digits. Rows are taken relative
 * to row 0, which leaves row 0 of the scratch free to gather the mean. Cost O(n d^2). On an error
 * `sums` is unchanged. */
#include "selectors/linear.h"

struct softmax {
    const double *logits; /* NULL: equal weights */
    double largest;
    double total;
};

/* False when no probability can be given: a NaN, +inf, or nothing but -inf. */
static bool softmax_init(struct softmax *softmax, const double *logits, size_t n)
{
    *softmax = (struct softmax){logits, -INFINITY, 0};
    if (logits == NULL) {
        softmax->total = (double)n;
        return true;
    }
    for (size_t k = 0; k < n; k++) {
        if (isnan(logits[k]))
            return false;
        softmax->largest = fmax(softmax->largest, logits[k]);
    }
    if (!isfinite(softmax->largest))
        return false;
    for (size_t k = 0; k < n; k++)
        softmax->total += exp(logits[k] - softmax->largest);
    return true;
}

static double softmax_at(const struct softmax *softmax, size_t k)
{
    if (softmax->logits == NULL)
        return 1 / softmax->total;
    return exp(softmax->logits[k] - softmax->largest) / softmax->total;
}

enum sel_status sel_policy_moments(const sel_feature *phi, size_t n, size_t d, const double *logits,
                                   double weight, double *sums, double *effective, double *scratch)
{
    struct softmax softmax;
    if (n == 0 || d == 0 || !(weight >= 0) || !isfinite(weight) ||
        !softmax_init(&softmax, logits, n))
        return SEL_INVALID;

    double *mean = scratch;
    double squares = softmax_at(&softmax, 0) * softmax_at(&softmax, 0);
    for (size_t j = 0; j < d; j++)
        mean[j] = 0;
    for (size_t k = 1; k < n; k++) {
        double p = softmax_at(&softmax, k);
        double *row = scratch + k * d;
        squares += p * p;
        for (size_t j = 0; j < d; j++) {
            row[j] = (double)phi[k * d + j] - (double)phi[j];
            mean[j] += p * row[j];
        }
    }
    for (size_t j = 0; j < d; j++)
        if (!isfinite(mean[j]))
            return SEL_INVALID;

    for (size_t k = 1; k < n; k++) {
        double root = sqrt(softmax_at(&softmax, k));
        double *row = scratch + k * d;
        for (size_t j = 0; j < d; j++)
            row[j] = root * (row[j] - mean[j]);
    }
    cblas_dscal((blasint)d, -sqrt(softmax_at(&softmax, 0)), mean, 1);
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (blasint)d, (blasint)n, weight, scratch,
                (blasint)d, 1, sums, (blasint)d);
    if (effective != NULL)
        *effective = 1 / squares;
    return SEL_OK;
}
