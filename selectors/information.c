/* Sigma = diag(lambda) + sum_k w_k x_k x_k', its inverse S and log det Sigma.
 *
 *   add:     u = S x, q = x' u, S -= w / (1 + w q) u u', log det += log1p(w q)
 *   remove:  the same with -w; needs 1 - w q > 0
 *
 * Invariants: Sigma and S are symmetric bit for bit (an update multiplies u_i u_j first, which is
 * commutative); an operation that does not return SEL_OK leaves them as they were, but for
 * sel_information_factor, after whose failure S is not to be used.
 * Cost: add, remove O(d^2); accumulate O(n d^2); factor O(d^3).
 * Rounding: S drifts from the inverse of Sigma. Every PROBE_EVERY updates, and after each removal
 * that loses more than three digits, |S Sigma z - z| is measured on a fixed vector z of signs. */
#include "selectors/information.h"

#include "selectors/linear.h"

#include <stdlib.h>
#include <string.h>

static const unsigned UPDATES_MAX = 200;
static const unsigned PROBE_EVERY = 8;
static const double DRIFT_MAX = 1e-8;
static const double REMAINDER_MIN = 1e-6;
static const double REMAINDER_PROBE = 1e-3;

struct sel_information {
    size_t d;
    double *sigma;
    double *inverse;
    double *x;         /* the vector of an update, widened */
    double *direction; /* S x */
    double *probe;     /* z: +1 or -1 */
    double *image;     /* Sigma z, then S Sigma z */
    double *block;     /* LINEAR_BLOCK x d */
    double log_determinant;
    double variance; /* x' S x of the last update */
    unsigned updates;
    bool stale;
};

struct sel_information *sel_information_new(size_t d)
{
    if (d == 0 || d > INT32_MAX / sizeof(double) / LINEAR_BLOCK)
        return NULL;
    struct sel_information *information = calloc(1, sizeof *information);
    if (information == NULL)
        return NULL;
    information->d = d;
    information->sigma = calloc(d * d, sizeof(double));
    information->inverse = calloc(d * d, sizeof(double));
    information->block = calloc((LINEAR_BLOCK + 5) * d, sizeof(double));
    if (information->sigma == NULL || information->inverse == NULL || information->block == NULL) {
        sel_information_free(information);
        return NULL;
    }
    information->x = information->block + LINEAR_BLOCK * d;
    information->direction = information->x + d;
    information->probe = information->direction + d;
    information->image = information->probe + d;
    struct sel_random random = sel_random_init(0, 0);
    double *scale = information->image + d;
    for (size_t k = 0; k < d; k++) {
        information->probe[k] = sel_random_below(&random, 2) == 0 ? 1 : -1;
        scale[k] = 1;
    }
    sel_information_reset(information, scale);
    return information;
}

void sel_information_free(struct sel_information *information)
{
    if (information == NULL)
        return;
    free(information->sigma);
    free(information->inverse);
    free(information->block);
    free(information);
}

size_t sel_information_dimension(const struct sel_information *information)
{
    return information->d;
}

enum sel_status sel_information_reset(struct sel_information *information, const double *lambda)
{
    size_t d = information->d;
    for (size_t k = 0; k < d; k++)
        if (!(lambda[k] > 0) || !isfinite(lambda[k]) || !isfinite(1 / lambda[k]))
            return SEL_INVALID;
    memset(information->sigma, 0, d * d * sizeof(double));
    memset(information->inverse, 0, d * d * sizeof(double));
    information->log_determinant = 0;
    for (size_t k = 0; k < d; k++) {
        information->sigma[k * d + k] = lambda[k];
        information->inverse[k * d + k] = 1 / lambda[k];
        information->log_determinant += log(lambda[k]);
    }
    information->updates = 0;
    information->stale = false;
    return SEL_OK;
}

/* True when the pairs can be summed: no negative or infinite weight, no infinite coordinate. */
static bool list_is_finite(const sel_feature *const *x, const double *w, size_t n, size_t d)
{
    for (size_t k = 0; k < n; k++) {
        if (!(w[k] >= 0) || !isfinite(w[k]))
            return false;
        double sum = 0;
        for (size_t j = 0; j < d; j++)
            sum += 0 * (double)x[k][j];
        if (sum != 0) /* 0 times an infinity or a NaN is a NaN */
            return false;
    }
    return true;
}

enum sel_status sel_information_accumulate(struct sel_information *information,
                                           const sel_feature *const *x, const double *w, size_t n)
{
    size_t d = information->d;
    if (!list_is_finite(x, w, n, d))
        return SEL_INVALID;
    for (size_t from = 0; from < n; from += LINEAR_BLOCK) {
        size_t rows = n - from < LINEAR_BLOCK ? n - from : LINEAR_BLOCK;
        for (size_t k = 0; k < rows; k++) {
            double root = sqrt(w[from + k]);
            double *row = information->block + k * d;
            for (size_t j = 0; j < d; j++)
                row[j] = root * (double)x[from + k][j];
        }
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (blasint)d, (blasint)rows, 1,
                    information->block, (blasint)d, 1, information->sigma, (blasint)d);
    }
    linear_mirror(information->sigma, d);
    return SEL_OK;
}

enum sel_status sel_information_factor(struct sel_information *information)
{
    size_t d = information->d;
    memcpy(information->inverse, information->sigma, d * d * sizeof(double));
    if (!linear_factor(information->inverse, d))
        return SEL_SINGULAR;
    information->log_determinant = linear_log_determinant(information->inverse, d);
    if (!linear_invert(information->inverse, d))
        return SEL_SINGULAR;
    linear_mirror(information->inverse, d);
    information->updates = 0;
    information->stale = false;
    return SEL_OK;
}

/* a += factor x x'. */
static void add_rank_one(double *a, size_t d, double factor, const double *x)
{
    for (size_t i = 0; i < d; i++) {
        double *restrict row = a + i * d;
        double at = x[i];
        for (size_t j = 0; j < d; j++)
            row[j] += factor * (at * x[j]);
    }
}

static double drift(struct sel_information *information)
{
    size_t d = information->d;
    double *image = information->image;
    double *back = information->x;
    linear_apply(information->sigma, d, information->probe, image);
    linear_apply(information->inverse, d, image, back);
    double largest = 0;
    for (size_t k = 0; k < d; k++) {
        double error = fabs(back[k] - information->probe[k]);
        if (!(error <= largest)) /* keeps a NaN */
            largest = error;
    }
    return largest;
}

/* Sigma + weight x x', weight of either sign. */
static enum sel_status update(struct sel_information *information, const sel_feature *x,
                              double weight)
{
    size_t d = information->d;
    linear_widen(x, information->x, d);
    linear_apply(information->inverse, d, information->x, information->direction);
    double variance = linear_dot(information->x, information->direction, d);
    double change = weight * variance;
    if (!isfinite(change) || variance < 0)
        return SEL_INVALID;
    if (!(1 + change > 0))
        return SEL_REFUSED;
    add_rank_one(information->sigma, d, weight, information->x);
    add_rank_one(information->inverse, d, -weight / (1 + change), information->direction);
    information->log_determinant += log1p(change);
    information->variance = variance;
    information->updates++;
    if (1 + change < REMAINDER_MIN || information->updates >= UPDATES_MAX)
        information->stale = true;
    else if (1 + change < REMAINDER_PROBE || information->updates % PROBE_EVERY == 0)
        information->stale |= !(drift(information) <= DRIFT_MAX);
    return SEL_OK;
}

enum sel_status sel_information_add(struct sel_information *information, const sel_feature *x,
                                    double w)
{
    return w >= 0 ? update(information, x, w) : SEL_INVALID;
}

enum sel_status sel_information_remove(struct sel_information *information, const sel_feature *x,
                                       double w)
{
    return w >= 0 ? update(information, x, -w) : SEL_INVALID;
}

bool sel_information_stale(const struct sel_information *information)
{
    return information->stale;
}

const double *sel_information_sigma(const struct sel_information *information)
{
    return information->sigma;
}

const double *sel_information_inverse(const struct sel_information *information)
{
    return information->inverse;
}

double sel_information_log_determinant(const struct sel_information *information)
{
    return information->log_determinant;
}

double sel_information_variance(const struct sel_information *information, const sel_feature *x)
{
    size_t d = information->d;
    double sum = 0;
    for (size_t i = 0; i < d; i++) {
        const double *row = information->inverse + i * d;
        double product = 0;
        for (size_t k = 0; k < d; k++)
            product += row[k] * (double)x[k];
        sum += (double)x[i] * product;
    }
    return fmax(0, sum);
}

double sel_information_trace(const struct sel_information *information, const double *policy)
{
    double sum = 0;
    for (size_t i = 0; i < information->d; i++)
        sum += linear_dot(information->inverse + i * information->d, policy + i * information->d,
                          information->d);
    return sum;
}

enum sel_status sel_information_draw(const struct sel_information *information, const double *psi,
                                     size_t count, struct sel_random *random, double *draws,
                                     double *scratch)
{
    size_t d = information->d;
    blasint n = (blasint)d;
    memcpy(scratch, information->inverse, d * d * sizeof(double));
    if (!linear_factor(scratch, d)) /* S = L L' */
        return SEL_SINGULAR;
    for (size_t k = 0; k < count * d; k++)
        draws[k] = sel_random_normal(random);
    for (size_t e = 0; e < count; e++) {
        cblas_dtrmv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, n, scratch, n,
                    draws + e * d, 1);
        for (size_t k = 0; psi != NULL && k < d; k++)
            draws[e * d + k] += psi[k];
    }
    return SEL_OK;
}

const double *information_direction(const struct sel_information *information, double *variance)
{
    *variance = information->variance;
    return information->direction;
}
