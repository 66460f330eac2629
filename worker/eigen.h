/* Eigenvectors of a symmetric matrix. */
#ifndef INFOPAIR_EIGEN_H
#define INFOPAIR_EIGEN_H

#include <stdbool.h>
#include <stddef.h>

/* d x d in `matrix`, of which the lower triangle by rows is read, becomes its eigenvectors, one
 * after the other (vector k at matrix + k d); values: d, ascending. False: out of memory, or no
 * convergence. */
bool eigen_symmetric(double *matrix, size_t d, double *values);

#endif
