/* Designs that are computed once and never adapted: those that the paper compares. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "selectors/design.h"

enum { DIFFERENCES_MAX = 64 * 1024 * 1024 }; /* doubles of all pairs' x */
static const double TOLERANCE = 1e-3;
enum { ITERATIONS = 20000, STREAM_PAIRS = 7, STREAM_ANSWERS = 3 };

static const char PREFIX[] = "design:";
static const char *const NAMES[] = {"uniform", "reference", "oracle", "plugin"};
enum fixed { FIXED_UNIFORM, FIXED_REFERENCE, FIXED_ORACLE, FIXED_PLUGIN, FIXED_COUNT };

static enum fixed find(const char *rule)
{
    size_t size = strcspn(rule, ",");
    for (size_t k = 0; k < FIXED_COUNT; k++) {
        if (size == strlen(PREFIX) + strlen(NAMES[k]) &&
            strncmp(rule + strlen(PREFIX), NAMES[k], strlen(NAMES[k])) == 0)
            return (enum fixed)k;
    }
    return FIXED_COUNT;
}

bool fixed_known(const char *rule)
{
    return strncmp(rule, PREFIX, strlen(PREFIX)) == 0 && find(rule) < FIXED_COUNT;
}

/* All pairs of a world and how often each is asked. */
struct design {
    const struct world *world;
    size_t count;
    struct world_label *pairs;
    double *share; /* sums to 1 */
};

static void list_pairs(struct design *design)
{
    size_t k = 0;
    for (size_t p = 0; p < design->world->prompts; p++) {
        for (size_t i = 0; i < design->world->completions; i++) {
            for (size_t j = i + 1; j < design->world->completions; j++)
                design->pairs[k++] = (struct world_label){.prompt = p, .left = i, .right = j};
        }
    }
}

/* x of a pair as doubles, and its margin under psi. */
static double difference(const struct design *design, size_t pair, const double *psi, double *x)
{
    const struct world_label *label = &design->pairs[pair];
    const double *left = world_row(design->world, label->prompt, label->left);
    const double *right = world_row(design->world, label->prompt, label->right);
    double margin = 0;
    for (size_t k = 0; k < design->world->dimension; k++) {
        x[k] = left[k] - right[k];
        margin += psi[k] * x[k];
    }
    return margin;
}

/* The best design under psi, all pairs at hand: with `labels` labels to come and lambda known. */
static bool solve(struct design *design, const double *psi, size_t labels, double lambda,
                  struct error *error)
{
    const struct world *world = design->world;
    size_t d = world->dimension, n = design->count;
    if (n > DIFFERENCES_MAX / d)
        return error_set(error, ERROR_DATA, "design: %zu pairs of %zu features are too many", n, d);
    double *x = malloc(n * d * sizeof *x), *weight = malloc(n * sizeof *weight);
    double *sigma = calloc(2 * d * d, sizeof *sigma);
    struct sel_design *solver = sel_design_new(n, d);
    struct world assumed = *world; /* I as it is under psi */
    assumed.psi = (double *)(uintptr_t)psi;
    enum sel_status status = SEL_NO_MEMORY;
    if (x != NULL && weight != NULL && sigma != NULL && solver != NULL &&
        world_policy(&assumed, sigma + d * d)) {
        for (size_t k = 0; k < n; k++)
            weight[k] = sel_weight_plug(difference(design, k, psi, x + k * d));
        for (size_t k = 0; k < d; k++)
            sigma[k * d + k] = lambda;
        const struct sel_design_problem problem = {.count = n,
                                                   .d = d,
                                                   .x = x,
                                                   .weight = weight,
                                                   .sigma = sigma,
                                                   .policy = sigma + d * d,
                                                   .mass = (double)labels,
                                                   .cap = 1};
        struct sel_design_result result;
        status = sel_design_solve(solver, &problem, TOLERANCE, ITERATIONS, design->share, &result);
    }
    sel_design_free(solver);
    free(x);
    free(weight);
    free(sigma);
    return status == SEL_OK || status == SEL_NOT_CONVERGED ||
           error_set(error, ERROR_FATAL, "design: %s", sel_status_text(status));
}

static bool fill(struct design *design, enum fixed fixed, size_t labels, double lambda,
                 struct error *error)
{
    const struct world *world = design->world;
    if (fixed == FIXED_ORACLE)
        return solve(design, world->psi, labels, lambda, error);
    if (fixed == FIXED_PLUGIN) {
        double *zero = calloc(world->dimension, sizeof *zero);
        bool done = zero != NULL || error_set(error, ERROR_FATAL, "out of memory");
        done = done && solve(design, zero, labels, lambda, error);
        free(zero);
        return done;
    }
    double sum = 0;
    for (size_t k = 0; k < design->count; k++) {
        const double *log_reference =
            world->log_reference + design->pairs[k].prompt * world->completions;
        design->share[k] =
            fixed == FIXED_UNIFORM
                ? 1
                : exp(log_reference[design->pairs[k].left] + log_reference[design->pairs[k].right]);
        sum += design->share[k];
    }
    for (size_t k = 0; k < design->count; k++)
        design->share[k] /= sum;
    return true;
}

/* Each pair has its part of a share `epsilon` that the design has no say in. */
static void mix(struct design *design, double epsilon)
{
    for (size_t k = 0; k < design->count; k++)
        design->share[k] = (1 - epsilon) * design->share[k] + epsilon / (double)design->count;
}

/* Draws pairs by their share, and their answers. */
static void ask(const struct design *design, const struct scene *scene, uint64_t seed,
                struct world_label *labels)
{
    struct sel_random pairs = sel_random_init(seed, STREAM_PAIRS);
    struct sel_random answers = sel_random_init(seed, STREAM_ANSWERS);
    double *sum = design->share; /* running */
    for (size_t k = 1; k < design->count; k++)
        sum[k] += sum[k - 1];
    for (size_t t = 0; t < scene->labels; t++) {
        double u = sel_random_uniform(&pairs) * sum[design->count - 1];
        size_t low = 0, high = design->count - 1;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (sum[middle] > u)
                high = middle;
            else
                low = middle + 1;
        }
        labels[t] = design->pairs[low];
        double margin =
            world_margin(design->world, labels[t].prompt, labels[t].left, labels[t].right);
        double left = (1 - scene->lapse) * sel_sigmoid(margin) + scene->lapse / 2;
        labels[t].y = sel_random_uniform(&answers) < left ? 1 : 0;
    }
}

/* The fit after each round, warm from the one before. */
static bool fit(const struct scene *scene, const struct world *world, double lambda,
                const struct world_label *labels, struct run *run)
{
    double *psi = calloc(world->dimension, sizeof *psi);
    bool done = psi != NULL;
    for (size_t t = 0; done && t < scene->labels;) {
        t = t + run_step(scene) < scene->labels ? t + run_step(scene) : scene->labels;
        done = world_fit_ridge(world, labels, t, lambda, psi) && run_point(world, t, psi, run);
    }
    free(psi);
    return done;
}

bool fixed_run(const struct scene *scene, const struct world *world, const char *rule,
               uint64_t seed, const struct options *options, struct world_label *labels,
               struct run *run, struct error *error)
{
    double lambda = options->fit_lambda;
    size_t per_prompt = world->completions * (world->completions - 1) / 2;
    struct design design = {.world = world, .count = world->prompts * per_prompt};
    design.pairs = calloc(design.count, sizeof *design.pairs);
    design.share = calloc(design.count, sizeof *design.share);
    bool done = (design.pairs != NULL && design.share != NULL) ||
                error_set(error, ERROR_FATAL, "out of memory for %zu pairs", design.count);
    if (done) {
        list_pairs(&design);
        done = fill(&design, find(rule), scene->labels, lambda, error);
    }
    if (done) {
        mix(&design, options->selection_epsilon);
        ask(&design, scene, seed, labels);
        run->labels = scene->labels;
        done = fit(scene, world, lambda, labels, run) ||
               error_set(error, ERROR_FATAL, "out of memory for a fit");
    }
    free(design.pairs);
    free(design.share);
    return done;
}
