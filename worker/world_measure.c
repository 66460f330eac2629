/* How good policies and designs are in a world, measured at its truth. */
#include "world.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* KL(pi || pi*) in one prompt, pi in proportion to exp(logits): what pi lacks of the best objective
 * E[r] - beta KL(pi || pi_ref), in units of beta. The logits are overwritten. */
static double shortfall(double *logits, const double *log_optimal, size_t count)
{
    double most = -INFINITY, sum = 0, weighted = 0;
    for (size_t m = 0; m < count; m++)
        most = logits[m] > most ? logits[m] : most;
    for (size_t m = 0; m < count; m++) {
        double share = exp(logits[m] - most);
        sum += share;
        weighted += share * (logits[m] - most - log_optimal[m]);
    }
    return weighted / sum - log(sum);
}

double world_gap(const struct world *world, const double *psi)
{
    size_t n = world->completions, rows = world->deployed * n;
    double *logits = malloc(rows * sizeof *logits);
    if (logits == NULL)
        return (double)NAN;
    memcpy(logits, world->log_reference, rows * sizeof *logits);
    cblas_dgemv(CblasRowMajor, CblasNoTrans, (blasint)rows, (blasint)world->dimension,
                1 / world->beta, world->features, (blasint)world->dimension, psi, 1, 1, logits, 1);
    double sum = 0;
    for (size_t p = 0; p < world->deployed; p++)
        sum += shortfall(logits + p * n, world->log_optimal + p * n, n);
    free(logits);
    return world->beta * sum / (double)world->deployed;
}

bool world_policy(const struct world *world, double *policy)
{
    size_t d = world->dimension;
    double *pi = calloc(world->completions * (d + 1) + d, sizeof *pi);
    if (pi == NULL)
        return false;
    double *mean = pi + world->completions, *rows = mean + d; /* completions x d, weighted */
    memset(policy, 0, d * d * sizeof *policy);
    for (size_t p = 0; p < world->deployed; p++) {
        world_log_policy(world, p, world->psi, 1, pi);
        for (size_t m = 0; m < world->completions; m++)
            pi[m] = exp(pi[m]);
        world_mean(world, p, pi, mean);
        for (size_t m = 0; m < world->completions; m++) {
            const double *row = world_row(world, p, m);
            double root = sqrt(pi[m] / (double)world->deployed);
            for (size_t k = 0; k < d; k++)
                rows[m * d + k] = root * (row[k] - mean[k]);
        }
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (blasint)d, (blasint)world->completions,
                    1, rows, (blasint)d, 1, policy, (blasint)d);
    }
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < i; j++)
            policy[j * d + i] = policy[i * d + j];
    free(pi);
    return true;
}

/* x = phi_left - phi_right as float32, which is what the library takes. */
static void difference(const struct world *world, const struct world_label *label, float *x)
{
    const double *left = world_row(world, label->prompt, label->left);
    const double *right = world_row(world, label->prompt, label->right);
    for (size_t k = 0; k < world->dimension; k++)
        x[k] = (float)(left[k] - right[k]);
}

double world_design(const struct world *world, const struct world_label *labels, size_t count)
{
    size_t d = world->dimension;
    double *policy = calloc(d * d + d, sizeof *policy);
    float *x = calloc(d, sizeof *x);
    struct sel_information *information = sel_information_new(d);
    double c = (double)NAN;
    if (policy == NULL || x == NULL || information == NULL || !world_policy(world, policy))
        goto out;
    /* As good as no prior, and it keeps the matrix regular. */
    for (size_t k = 0; k < d; k++)
        policy[d * d + k] = 1e-9;
    sel_information_reset(information, policy + d * d);
    for (size_t k = 0; k < count; k++) {
        const float *row = x;
        difference(world, &labels[k], x);
        double margin = 0;
        for (size_t axis = 0; axis < d; axis++)
            margin += world->psi[axis] * (double)x[axis];
        double w = sel_weight_plug(margin);
        sel_information_accumulate(information, &row, &w, 1);
    }
    if (sel_information_factor(information) == SEL_OK)
        c = (double)count * sel_information_trace(information, policy);
out:
    sel_information_free(information);
    free(policy);
    free(x);
    return c;
}

/* The first `most` labels of an arm (any: all arms) as the fit wants them. */
struct fitted {
    float *x;
    const float **rows;
    double *y, *weight;
    size_t count;
    struct sel_preference *preference;
};

static void fitted_free(struct fitted *fitted)
{
    sel_preference_free(fitted->preference);
    free(fitted->x);
    free(fitted->rows);
    free(fitted->y);
}

static bool fitted_fill(struct fitted *fitted, const struct world *world,
                        const struct world_label *labels, size_t count, const enum pair_arm *arm,
                        size_t most)
{
    size_t d = world->dimension;
    *fitted = (struct fitted){.x = calloc((most + 1) * d, sizeof(float)),
                              .rows = calloc(most + 1, sizeof *fitted->rows),
                              .y = calloc(2 * (most + 1), sizeof(double)),
                              .preference = sel_preference_new(d)};
    if (fitted->x == NULL || fitted->rows == NULL || fitted->y == NULL ||
        fitted->preference == NULL)
        return false;
    fitted->weight = fitted->y + most + 1;
    for (size_t k = 0; k < count && fitted->count < most; k++) {
        if (arm != NULL && labels[k].arm != *arm)
            continue;
        float *x = fitted->x + fitted->count * d;
        difference(world, &labels[k], x);
        fitted->rows[fitted->count] = x;
        fitted->y[fitted->count] = labels[k].y;
        fitted->weight[fitted->count++] = 1;
    }
    return true;
}

static bool fitted_solve(struct fitted *fitted, const struct sel_preference_options *options,
                         double *psi)
{
    struct sel_preference_result result;
    enum sel_status status =
        fitted->count == 0
            ? SEL_INVALID
            : sel_preference_fit(fitted->preference, fitted->rows, fitted->y, fitted->weight,
                                 fitted->count, NULL, options, psi, &result);
    return status == SEL_OK || status == SEL_NOT_CONVERGED;
}

size_t world_fit(const struct world *world, const struct world_label *labels, size_t count,
                 enum pair_arm arm, size_t most, double *psi)
{
    struct fitted fitted;
    const struct sel_preference_options options = sel_preference_defaults(world->dimension);
    bool done = fitted_fill(&fitted, world, labels, count, &arm, most) &&
                fitted_solve(&fitted, &options, psi);
    fitted_free(&fitted);
    return done ? fitted.count : 0;
}

bool world_fit_ridge(const struct world *world, const struct world_label *labels, size_t count,
                     double lambda, double *psi)
{
    struct fitted fitted;
    struct sel_preference_options options = sel_preference_defaults(world->dimension);
    options.lambda = lambda;
    bool done = fitted_fill(&fitted, world, labels, count, NULL, count) &&
                fitted_solve(&fitted, &options, psi);
    fitted_free(&fitted);
    return done;
}

static size_t count_arm(const struct world_label *labels, size_t count, enum pair_arm arm)
{
    size_t of_arm = 0;
    for (size_t k = 0; k < count; k++)
        of_arm += labels[k].arm == arm;
    return of_arm;
}

double world_saving(const struct world *world, const struct world_label *labels, size_t count,
                    size_t step)
{
    double psi[world->dimension];
    size_t selected = count_arm(labels, count, ARM_SELECTED);
    size_t m = count_arm(labels, count, ARM_CONTROL);
    m = m < selected ? m : selected;
    memset(psi, 0, sizeof psi);
    if (m == 0 || world_fit(world, labels, count, ARM_CONTROL, m, psi) == 0)
        return (double)NAN;
    double goal = log(world_gap(world, psi));
    double before = log(world_gap(world, (memset(psi, 0, sizeof psi), psi)));
    for (size_t n = step; n <= m; n += step) {
        if (world_fit(world, labels, count, ARM_SELECTED, n, psi) == 0)
            return (double)NAN;
        double now = log(world_gap(world, psi));
        if (now <= goal) {
            double part = before > now ? (before - goal) / (before - now) : 1;
            return (double)m / ((double)(n - step) + part * (double)step);
        }
        before = now < before ? now : before;
    }
    return 1;
}
