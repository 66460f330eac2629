#include "curves.h"

#include <math.h>
#include <stdlib.h>

/* From the first to the last number of labels that all runs know of; empty: from > to. */
static void find_range(const struct run *runs, size_t count, size_t *from, size_t *to)
{
    *from = 0;
    *to = SIZE_MAX;
    for (size_t k = 0; k < count; k++) {
        const struct run *run = &runs[k];
        size_t first = run->points == 0 ? SIZE_MAX : run->at[0];
        size_t last = run->points == 0 ? 0 : run->at[run->points - 1];
        *from = first > *from ? first : *from;
        *to = last < *to ? last : *to;
    }
}

static double between(const struct run *run, size_t point, size_t labels)
{
    double low = run->gap[point - 1], high = run->gap[point];
    double part =
        (double)(labels - run->at[point - 1]) / (double)(run->at[point] - run->at[point - 1]);
    /* The truth itself has no gap, and no logarithm of it. */
    if (!(low > 0 && high > 0))
        return low + part * (high - low);
    return exp(log(low) + part * (log(high) - log(low)));
}

/* The run's gap at each place of the grid, all of which lie within its points. */
static void read_off(const struct run *run, const struct curves *curves, double *gap)
{
    size_t point = 0;
    for (size_t k = 0; k < curves->points; k++) {
        while (run->at[point] < curves->at[k])
            point++;
        bool exact = run->at[point] == curves->at[k];
        gap[k] = exact ? run->gap[point] : between(run, point, curves->at[k]);
    }
}

bool curves_align(struct curves *curves, const struct run *runs, size_t count, size_t step,
                  size_t labels)
{
    size_t room = labels / step + 2, from, to;
    *curves = (struct curves){.at = calloc(room, sizeof *curves->at),
                              .gap = calloc(count * room + 1, sizeof *curves->gap)};
    if (curves->at == NULL || curves->gap == NULL)
        return false;
    find_range(runs, count, &from, &to);
    for (size_t t = step; t < labels + step; t += step) {
        size_t at = t < labels ? t : labels;
        if (at >= from && at <= to)
            curves->at[curves->points++] = at;
    }
    for (size_t k = 0; k < count; k++)
        read_off(&runs[k], curves, curves->gap + k * curves->points);
    return true;
}

void curves_free(struct curves *curves)
{
    free(curves->at);
    free(curves->gap);
    *curves = (struct curves){0};
}
