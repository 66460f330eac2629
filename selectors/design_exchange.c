/* One exchange of a design.
 *
 * It moves weight from the j of smallest d with p_j > 0 to the i of largest d with p_i < cap, as
 * far as f falls: with U = [x_i x_j], C = t diag(mass w_i, -mass w_j), Q = U'SU, R = U'VU and the
 * symmetric B = (Id + C Q)^-1 C,
 *   S -= SU B U'S,  V -= VU B U'S + SU B U'V - SU B R B U'S,  f -= tr(B R)
 *   f'(t) = -mass w_i T_ii + mass w_j T_jj,  T = (Id + Q C)^-1 R (Id + C Q)^-1
 * and the root of f' is bracketed and bisected. Cost: O(count d + d^2). */
#include "selectors/design_work.h"
#include "selectors/linear.h"

/* B = (Id + C Q)^-1 C for C = diag(c): symmetric 2 x 2, as (11, 12, 22). */
struct middle {
    double b11;
    double b12;
    double b22;
};

static struct middle middle_of(const double c[2], const double q[3])
{
    double determinant = (1 + c[0] * q[0]) * (1 + c[1] * q[2]) - c[0] * c[1] * q[1] * q[1];
    return (struct middle){c[0] * (1 + c[1] * q[2]) / determinant,
                           -c[0] * c[1] * q[1] / determinant,
                           c[1] * (1 + c[0] * q[0]) / determinant};
}

/* f'(t) of moving t from j to i. */
static double slope_along(double t, const double a[2], const double q[3], const double r[3])
{
    double c[2] = {t * a[0], -t * a[1]};
    double determinant = (1 + c[0] * q[0]) * (1 + c[1] * q[2]) - c[0] * c[1] * q[1] * q[1];
    /* Rows of (Id + Q C)^-1. */
    double e11 = (1 + c[1] * q[2]) / determinant;
    double e12 = -c[1] * q[1] / determinant;
    double e21 = -c[0] * q[1] / determinant;
    double e22 = (1 + c[0] * q[0]) / determinant;
    double first = e11 * e11 * r[0] + 2 * e11 * e12 * r[1] + e12 * e12 * r[2];
    double second = e21 * e21 * r[0] + 2 * e21 * e22 * r[1] + e22 * e22 * r[2];
    return a[1] * second - a[0] * first;
}

static double best_length(double most, const double a[2], const double q[3], const double r[3])
{
    double low = 0;
    double high = most;
    if (slope_along(most, a, q, r) <= 0)
        return most;
    for (int k = 0; k < 100 && high - low > 1e-15 * most; k++) {
        double t = (low + high) / 2;
        if (slope_along(t, a, q, r) <= 0)
            low = t;
        else
            high = t;
    }
    return low;
}

static void apply_exchange(struct design_work *work, struct middle b, const double r[3])
{
    size_t d = work->problem->d;
    /* B R B */
    double left11 = b.b11 * r[0] + b.b12 * r[1];
    double left12 = b.b11 * r[1] + b.b12 * r[2];
    double left21 = b.b12 * r[0] + b.b22 * r[1];
    double left22 = b.b12 * r[1] + b.b22 * r[2];
    struct middle w = {left11 * b.b11 + left12 * b.b12, left11 * b.b12 + left12 * b.b22,
                       left21 * b.b12 + left22 * b.b22};
    for (size_t k = 0; k < work->problem->count; k++) {
        double s0 = work->s[0][k];
        double s1 = work->s[1][k];
        double v0 = work->v[0][k];
        double v1 = work->v[1][k];
        double cross = v0 * (b.b11 * s0 + b.b12 * s1) + v1 * (b.b12 * s0 + b.b22 * s1);
        double square = s0 * (w.b11 * s0 + w.b12 * s1) + s1 * (w.b12 * s0 + w.b22 * s1);
        work->r[k] = fmax(0, work->r[k] - 2 * cross + square);
    }
    for (size_t row = 0; row < d; row++) {
        double s0 = work->su[0][row];
        double s1 = work->su[1][row];
        double bs0 = b.b11 * s0 + b.b12 * s1;
        double bs1 = b.b12 * s0 + b.b22 * s1;
        double bv0 = b.b11 * work->vu[0][row] + b.b12 * work->vu[1][row];
        double bv1 = b.b12 * work->vu[0][row] + b.b22 * work->vu[1][row];
        double ws0 = w.b11 * s0 + w.b12 * s1 - bv0;
        double ws1 = w.b12 * s0 + w.b22 * s1 - bv1;
        for (size_t k = 0; k < d; k++) {
            work->inverse[row * d + k] -= bs0 * work->su[0][k] + bs1 * work->su[1][k];
            work->square[row * d + k] += ws0 * work->su[0][k] + ws1 * work->su[1][k] -
                                         bs0 * work->vu[0][k] - bs1 * work->vu[1][k];
        }
    }
    work->objective -= b.b11 * r[0] + 2 * b.b12 * r[1] + b.b22 * r[2];
}

bool design_exchange(struct design_work *work, size_t i, size_t j)
{
    const struct sel_design_problem *problem = work->problem;
    size_t d = problem->d;
    const double *x[2] = {problem->x + i * d, problem->x + j * d};
    for (int k = 0; k < 2; k++) {
        linear_apply(work->inverse, d, x[k], work->su[k]);
        linear_apply(work->square, d, x[k], work->vu[k]);
    }
    double q[3] = {linear_dot(x[0], work->su[0], d), linear_dot(x[0], work->su[1], d),
                   linear_dot(x[1], work->su[1], d)};
    double r[3] = {linear_dot(x[0], work->vu[0], d), linear_dot(x[0], work->vu[1], d),
                   linear_dot(x[1], work->vu[1], d)};
    double a[2] = {problem->mass * problem->weight[i], problem->mass * problem->weight[j]};
    double most = fmin(problem->cap - work->p[i], work->p[j]);
    double t = best_length(most, a, q, r);
    if (!(t > 0))
        return false;
    blasint rows = (blasint)problem->count;
    for (int k = 0; k < 2; k++) {
        cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, (blasint)d, 1, problem->x, (blasint)d,
                    work->su[k], 1, 0, work->s[k], 1);
        cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, (blasint)d, 1, problem->x, (blasint)d,
                    work->vu[k], 1, 0, work->v[k], 1);
    }
    double c[2] = {t * a[0], -t * a[1]};
    apply_exchange(work, middle_of(c, q), r);
    double room = problem->cap - work->p[i];
    work->p[i] = t >= room ? problem->cap : work->p[i] + t;
    work->p[j] = t >= work->p[j] ? 0 : work->p[j] - t;
    return true;
}

bool design_find_exchange(const struct design_work *work, size_t *i, size_t *j)
{
    size_t groups = design_groups_of(work->problem);
    double *high = work->s[0]; /* of each group, and so on */
    double *low = work->s[1];
    double *high_place = work->v[0];
    double *low_place = work->v[1];
    double farthest = 0;
    for (size_t g = 0; g < groups; g++) {
        high[g] = -INFINITY;
        low[g] = INFINITY;
    }
    for (size_t k = 0; k < work->problem->count; k++) {
        double slope = design_slope_at(work, k);
        size_t group = design_group_of(work, k);
        if (work->p[k] < work->problem->cap && slope > high[group]) {
            high[group] = slope;
            high_place[group] = (double)k;
        }
        if (work->p[k] > 0 && slope < low[group]) {
            low[group] = slope;
            low_place[group] = (double)k;
        }
    }
    for (size_t g = 0; g < groups; g++)
        if (high[g] - low[g] > farthest && isfinite(high[g] - low[g])) {
            farthest = high[g] - low[g];
            *i = (size_t)high_place[g];
            *j = (size_t)low_place[g];
        }
    return farthest > 0;
}
