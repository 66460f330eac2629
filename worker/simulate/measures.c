/* What is measured of a run at the truth of its world. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "worker/eigen.h"

bool run_point(const struct world *world, size_t labels, const double *psi, struct run *run)
{
    size_t *at = reallocarray(run->at, run->points + 1, sizeof *at);
    if (at != NULL)
        run->at = at;
    double *gap = reallocarray(run->gap, run->points + 1, sizeof *gap);
    if (gap != NULL)
        run->gap = gap;
    if (at == NULL || gap == NULL)
        return false;
    at[run->points] = labels;
    gap[run->points++] = world_gap(world, psi);
    return true;
}

static double mean_of(const struct world *world, const double *values, size_t prompt)
{
    double sum = 0;
    for (size_t m = 0; m < world->completions; m++)
        sum += values[prompt * world->completions + m];
    return sum / (double)world->completions;
}

/* Mean over the asked completions of a value above that of their prompt. */
static double above(const struct world *world, const struct world_label *labels, size_t count,
                    const double *values)
{
    double sum = 0;
    for (size_t k = 0; k < count; k++) {
        const double *of_prompt = values + labels[k].prompt * world->completions;
        sum += (of_prompt[labels[k].left] + of_prompt[labels[k].right]) / 2 -
               mean_of(world, values, labels[k].prompt);
    }
    return sum / (double)count;
}

static double mean_margin(const struct world *world, const struct world_label *labels, size_t count)
{
    double sum = 0;
    for (size_t k = 0; k < count; k++)
        sum += fabs(world_margin(world, labels[k].prompt, labels[k].left, labels[k].right));
    return sum / (double)count;
}

/* v' F v for each eigenvector v of I, F = sum of w x x'. */
static void spectrum_of(const struct world *world, const struct world_label *labels,
                        const double *vectors, struct run *run)
{
    size_t d = world->dimension;
    for (size_t k = 0; k < run->labels; k++) {
        const double *left = world_row(world, labels[k].prompt, labels[k].left);
        const double *right = world_row(world, labels[k].prompt, labels[k].right);
        double margin = 0;
        for (size_t axis = 0; axis < d; axis++)
            margin += world->psi[axis] * (left[axis] - right[axis]);
        double w = sel_weight_plug(margin);
        for (size_t v = 0; v < d; v++) {
            double along = 0;
            for (size_t axis = 0; axis < d; axis++)
                along += vectors[v * d + axis] * (left[axis] - right[axis]);
            run->measured[d - 1 - v] += w * along * along / (double)run->labels;
        }
    }
}

static double fitted_gap(const struct world *world, const struct world_label *labels, size_t count)
{
    double psi[world->dimension];
    memset(psi, 0, sizeof psi);
    return world_fit_ridge(world, labels, count, 0, psi) ? world_gap(world, psi) : (double)NAN;
}

bool run_measure(const struct scene *scene, const struct world *world,
                 const struct world_label *labels, struct run *run, struct error *error)
{
    size_t d = world->dimension;
    double *vectors = calloc(d * d, sizeof *vectors), *values = calloc(d, sizeof *values);
    run->dimension = d;
    run->important = calloc(d, sizeof(double));
    run->measured = calloc(d, sizeof(double));
    bool done = vectors != NULL && values != NULL && run->important != NULL &&
                run->measured != NULL && world_policy(world, vectors);
    done = done && eigen_symmetric(vectors, d, values);
    if (done) {
        for (size_t k = 0; k < d; k++)
            run->important[k] = values[d - 1 - k];
        spectrum_of(world, labels, vectors, run);
        run->c = world_design(world, labels, run->labels);
        run->merit = above(world, labels, run->labels, world->reward);
        run->likely = above(world, labels, run->labels, world->log_reference);
        run->fitted = scene->fitted ? fitted_gap(world, labels, run->labels) : (double)NAN;
        run->margin = mean_margin(world, labels, run->labels);
    }
    free(vectors);
    free(values);
    return done || error_set(error, ERROR_FATAL, "out of memory for the measures of a run");
}
