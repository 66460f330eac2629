/* One vector of features beside the two directions of a pick. Private to the library. */
#ifndef SEL_PROJECT_H
#define SEL_PROJECT_H

#include "selectors/candidates.h"
#include "selectors/wide.h"

#include <string.h>

/* Widened in pieces that stay in the cache, then four coordinates at once, in two sums so that no
 * addition waits for the one before. The order of additions is the same on every machine. */
enum { PROJECT_LANES = 4, PROJECT_PIECE = 32 };
typedef double project_lanes __attribute__((vector_size(PROJECT_LANES * sizeof(double))));

WIDE_BODY void project_add(project_lanes *sum, const double *a, const double *b)
{
    project_lanes left;
    project_lanes right;
    memcpy(&left, a, sizeof left);
    memcpy(&right, b, sizeof right);
    *sum += left * right;
}

WIDE_BODY double project_sum(const project_lanes *even, const project_lanes *odd)
{
    project_lanes sum = *even + *odd;
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* *g = phi' u and *h = phi' v for one row of d features. */
WIDE_BODY void project(const sel_feature *phi, const struct candidates_pick *pick, size_t d,
                       double *g, double *h)
{
    project_lanes g_even = {0};
    project_lanes h_even = {0};
    project_lanes g_odd = {0};
    project_lanes h_odd = {0};
    double wide[PROJECT_PIECE];
    size_t from = 0;
    for (; from + PROJECT_PIECE <= d; from += PROJECT_PIECE) {
        const double *u = pick->u + from;
        const double *v = pick->v + from;
        for (size_t k = 0; k < PROJECT_PIECE; k++)
            wide[k] = (double)phi[from + k];
        for (size_t even = 0; even < PROJECT_PIECE; even += 2 * PROJECT_LANES) {
            size_t odd = even + PROJECT_LANES;
            project_add(&g_even, wide + even, u + even);
            project_add(&h_even, wide + even, v + even);
            project_add(&g_odd, wide + odd, u + odd);
            project_add(&h_odd, wide + odd, v + odd);
        }
    }
    *g = project_sum(&g_even, &g_odd);
    *h = project_sum(&h_even, &h_odd);
    for (; from < d; from++) {
        *g += (double)phi[from] * pick->u[from];
        *h += (double)phi[from] * pick->v[from];
    }
}

#endif
