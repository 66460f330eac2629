/* The few dense operations that OpenBLAS does not give in one call. Matrices are row-major; a
 * factor is the lower triangle L of A = L L'. To LAPACK, which is column-major, our lower triangle
 * is the upper one. Private to the library. */
#ifndef SEL_LINEAR_H
#define SEL_LINEAR_H

#include "selectors/selectors.h"

#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Rows that are converted to double and handed to BLAS together. */
enum { LINEAR_BLOCK = 256 };

void dpotrf_(const char *triangle, const blasint *n, double *a, const blasint *stride,
             blasint *info);
void dpotri_(const char *triangle, const blasint *n, double *a, const blasint *stride,
             blasint *info);
void dtrtri_(const char *triangle, const char *diagonal, const blasint *n, double *a,
             const blasint *stride, blasint *info);

void dsygst_(const blasint *type, const char *triangle, const blasint *n, double *a,
             const blasint *stride, const double *factor, const blasint *factor_stride,
             blasint *info);
void dsyev_(const char *vectors, const char *triangle, const blasint *n, double *a,
            const blasint *stride, double *values, double *work, const blasint *room,
            blasint *info);

/* Replaces the lower triangle of a (d x d) by its factor. False unless positive definite. */
static inline bool linear_factor(double *a, size_t d)
{
    blasint n = (blasint)d;
    blasint info = 0;
    dpotrf_("U", &n, a, &n, &info);
    return info == 0;
}

/* Lower triangle of the inverse from a factor. */
static inline bool linear_invert(double *factor, size_t d)
{
    blasint n = (blasint)d;
    blasint info = 0;
    dpotri_("U", &n, factor, &n, &info);
    return info == 0;
}

/* Replaces a factor L by its inverse. */
static inline bool linear_invert_triangle(double *factor, size_t d)
{
    blasint n = (blasint)d;
    blasint info = 0;
    dtrtri_("U", "N", &n, factor, &n, &info);
    return info == 0;
}

/* log det of L L'. */
static inline double linear_log_determinant(const double *factor, size_t d)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++)
        sum += log(factor[k * d + k]);
    return 2 * sum;
}

/* x becomes the solution of L L' y = x. */
static inline void linear_solve(const double *factor, size_t d, double *x)
{
    blasint n = (blasint)d;
    cblas_dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, n, factor, n, x, 1);
    cblas_dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, n, factor, n, x, 1);
}

/* Copies the lower triangle to the upper one, by strips of columns that stay in the cache. */
static inline void linear_mirror(double *a, size_t d)
{
    for (size_t from = 0; from < d; from += 16)
        for (size_t i = from; i < d; i++)
            for (size_t j = from; j < from + 16 && j < i; j++)
                a[j * d + i] = a[i * d + j];
}

static inline double linear_dot(const double *x, const double *y, size_t d)
{
    return cblas_ddot((blasint)d, x, 1, y, 1);
}

/* y = a x for symmetric a with both triangles. */
static inline void linear_apply(const double *a, size_t d, const double *x, double *y)
{
    blasint n = (blasint)d;
    cblas_dgemv(CblasRowMajor, CblasNoTrans, n, n, 1, a, n, x, 1, 0, y, 1);
}

/* out_k = x_k' a x_k for the `rows` rows x of d numbers, at least 0, as x' T x with T the lower
 * triangle of a and twice what is off the diagonal: half the multiplications, and doubling is
 * exact. Reads no more than the lower triangle, and leaves it as it was. block: LINEAR_BLOCK x d of
 * room. */
static inline void linear_forms(double *a, size_t d, const double *x, size_t rows, double *block,
                                double *out)
{
    for (size_t i = 1; i < d; i++)
        cblas_dscal((blasint)i, 2, a + i * d, 1);
    for (size_t from = 0; from < rows; from += LINEAR_BLOCK) {
        size_t some = rows - from < LINEAR_BLOCK ? rows - from : LINEAR_BLOCK;
        memcpy(block, x + from * d, some * d * sizeof(double));
        cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit,
                    (blasint)some, (blasint)d, 1, a, (blasint)d, block, (blasint)d);
        for (size_t k = 0; k < some; k++)
            out[from + k] = fmax(0, linear_dot(block + k * d, x + (from + k) * d, d));
    }
    for (size_t i = 1; i < d; i++)
        cblas_dscal((blasint)i, .5, a + i * d, 1);
}

static inline void linear_widen(const sel_feature *from, double *to, size_t count)
{
    for (size_t k = 0; k < count; k++)
        to[k] = (double)from[k];
}

#endif
