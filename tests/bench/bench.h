/* What the benchmarks of the selection library share. */
#ifndef BENCH_H
#define BENCH_H

#include "selectors/selectors.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static inline int ascending(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Sorts the values. */
static inline double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

static inline void *room(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        abort();
    return memory;
}

static inline double *normals(struct sel_random *random, size_t count)
{
    double *values = room(count, sizeof *values);
    for (size_t k = 0; k < count; k++)
        values[k] = sel_random_normal(random);
    return values;
}

/* Sigma = Id, I = Id / d, psi = 0.1 z: what is in them costs nothing. */
struct world {
    size_t d;
    struct sel_random random;
    struct sel_information *information;
    double *policy;
    double *psi;
};

static inline struct world world_new(size_t d)
{
    struct world world = {.d = d, .random = sel_random_init(d, 1)};
    world.information = sel_information_new(d);
    world.policy = room(d * d, sizeof(double));
    world.psi = normals(&world.random, d);
    for (size_t k = 0; k < d; k++) {
        world.policy[k * d + k] = 1 / (double)d;
        world.psi[k] *= .1;
    }
    return world;
}

static inline void world_free(struct world *world)
{
    sel_information_free(world->information);
    free(world->policy);
    free(world->psi);
}

#endif
