/* A few rows times a symmetric matrix. Private to the library. */
#ifndef SEL_ROWS_H
#define SEL_ROWS_H

#include <stdbool.h>
#include <stddef.h>

/* Above so many rows BLAS is as fast. */
enum { ROWS_MAX = 32 };

/* Whether rows_multiply is to be preferred to BLAS, and runs on this machine. */
bool rows_is_faster(size_t n, size_t d);
/* Doubles of scratch for products of at most n rows. */
size_t rows_scratch(size_t n, size_t d);
/* out = phi a: n x d by d x d, a symmetric, of which the lower triangle is read. Equal rows of phi
 * become equal rows of out, bit for bit. scratch: aligned to 32 bytes. Only where rows_is_faster.
 */
void rows_multiply(double *out, const double *phi, size_t n, size_t d, const double *a,
                   double *scratch);

#endif
