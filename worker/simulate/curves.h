/* Curves of several runs at the same numbers of labels.
 *
 * A run has a point where a round ended, and a round that uses fewer slots than another ends
 * elsewhere. The grid is every step labels, and the last label; of it those places that lie within
 * all of the runs. Between two points of a run its gap is linear in the labels on the log. */
#ifndef INFOPAIR_CURVES_H
#define INFOPAIR_CURVES_H

#include "run.h"

struct curves {
    size_t points;
    size_t *at;  /* labels of each */
    double *gap; /* runs x points */
};

/* `step`, `labels`: of the grid. To be given to curves_free in any case. False: out of memory. */
bool curves_align(struct curves *curves, const struct run *runs, size_t count, size_t step,
                  size_t labels);
void curves_free(struct curves *curves);

#endif
