#include "world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const double *world_row(const struct world *world, size_t prompt, size_t completion)
{
    return world->features + (prompt * world->completions + completion) * world->dimension;
}

static double dot(const double *left, const double *right, size_t d)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++)
        sum += left[k] * right[k];
    return sum;
}

double world_margin(const struct world *world, size_t prompt, size_t left, size_t right)
{
    const double *reward = world->reward + prompt * world->completions;
    return reward[left] - reward[right];
}

void world_free(struct world *world)
{
    if (world == NULL)
        return;
    free(world->features);
    free(world->psi);
    free(world->reward);
    free(world->log_reference);
    free(world->log_optimal);
    free(world);
}

static struct world *allocate(size_t dimension, size_t prompts, size_t completions, double beta)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL)
        return NULL;
    size_t rows = prompts * completions;
    *world = (struct world){.dimension = dimension,
                            .prompts = prompts,
                            .completions = completions,
                            .deployed = prompts,
                            .beta = beta,
                            .scale = 1,
                            .features = calloc(rows * dimension, sizeof(double)),
                            .psi = calloc(dimension, sizeof(double)),
                            .reward = calloc(rows, sizeof(double)),
                            .log_reference = calloc(rows, sizeof(double)),
                            .log_optimal = calloc(rows, sizeof(double))};
    if (world->features != NULL && world->psi != NULL && world->reward != NULL &&
        world->log_reference != NULL && world->log_optimal != NULL)
        return world;
    world_free(world);
    return NULL;
}

/* Mean of a prompt's rows under `weights` (NULL: equal). */
void world_mean(const struct world *world, size_t prompt, const double *weights, double *mean)
{
    memset(mean, 0, world->dimension * sizeof *mean);
    for (size_t m = 0; m < world->completions; m++) {
        double weight = weights == NULL ? 1.0 / (double)world->completions : weights[m];
        for (size_t k = 0; k < world->dimension; k++)
            mean[k] += weight * world_row(world, prompt, m)[k];
    }
}

/* Scales all features so that the mean squared distance within a prompt is d. */
static void rescale(struct world *world, double *mean)
{
    double squares = 0;
    size_t rows = world->prompts * world->completions;
    for (size_t p = 0; p < world->prompts; p++) {
        world_mean(world, p, NULL, mean);
        for (size_t m = 0; m < world->completions; m++) {
            for (size_t k = 0; k < world->dimension; k++) {
                double distance = world_row(world, p, m)[k] - mean[k];
                squares += distance * distance;
            }
        }
    }
    double factor = sqrt((double)world->dimension * (double)rows / squares);
    for (size_t k = 0; k < rows * world->dimension; k++)
        world->features[k] *= factor;
    world->scale = factor;
}

static void set_rewards(struct world *world)
{
    for (size_t row = 0; row < world->prompts * world->completions; row++)
        world->reward[row] =
            dot(world->features + row * world->dimension, world->psi, world->dimension);
}

/* Log softmax in place. */
static void normalise(double *logits, size_t count)
{
    double most = logits[0], sum = 0;
    for (size_t k = 1; k < count; k++)
        most = logits[k] > most ? logits[k] : most;
    for (size_t k = 0; k < count; k++)
        sum += exp(logits[k] - most);
    for (size_t k = 0; k < count; k++)
        logits[k] -= most + log(sum);
}

/* The best policy, once rewards and reference stand. */
static void find_optimal(struct world *world)
{
    for (size_t row = 0; row < world->prompts * world->completions; row++)
        world->log_optimal[row] = world->log_reference[row] + world->reward[row] / world->beta;
    for (size_t p = 0; p < world->prompts; p++)
        normalise(world->log_optimal + p * world->completions, world->completions);
}

/* Standard deviations of a spectrum 1/j^power that sums to d. */
static void set_spectrum(const struct world_spec *spec, double *deviation)
{
    double sum = 0;
    for (size_t k = 0; k < spec->dimension; k++)
        sum += pow((double)k + 1, -spec->spectrum);
    for (size_t k = 0; k < spec->dimension; k++)
        deviation[k] = sqrt((double)spec->dimension * pow((double)k + 1, -spec->spectrum) / sum);
}

/* Of the deployed prompts of a target world: most of their axes hardly vary. */
static double narrowed(const struct world_spec *spec, size_t prompt, size_t axis)
{
    return prompt < spec->deployed && axis >= spec->dimension / 4 ? spec->narrow : 1;
}

static void draw_features(struct world *world, const struct world_spec *spec,
                          struct sel_random *random, double *scratch)
{
    size_t d = world->dimension;
    double *scale = scratch, *offset = scratch + d, *deviation = scratch + 2 * d;
    set_spectrum(spec, deviation);
    for (size_t p = 0; p < world->prompts; p++) {
        double of_prompt = exp(spec->spread_prompts * sel_random_normal(random));
        for (size_t k = 0; k < d; k++) {
            scale[k] = exp(spec->spread_axes * sel_random_normal(random)) * of_prompt *
                       deviation[k] * narrowed(spec, p, k);
            offset[k] = sel_random_normal(random);
        }
        for (size_t m = 0; m < world->completions; m++) {
            double *row = world->features + (p * world->completions + m) * d;
            for (size_t k = 0; k < d; k++)
                row[k] = sel_random_normal(random) * scale[k] + offset[k];
        }
    }
}

/* Standard deviation of the reward within a prompt. */
static double reward_deviation(const struct world *world)
{
    double squares = 0;
    for (size_t p = 0; p < world->prompts; p++) {
        const double *reward = world->reward + p * world->completions;
        double mean = 0;
        for (size_t m = 0; m < world->completions; m++)
            mean += reward[m] / (double)world->completions;
        for (size_t m = 0; m < world->completions; m++)
            squares += (reward[m] - mean) * (reward[m] - mean);
    }
    return sqrt(squares / (double)(world->prompts * world->completions));
}

/* psi drawn, then scaled to the reward's standard deviation. */
static void draw_psi(struct world *world, const struct world_spec *spec, struct sel_random *random)
{
    for (size_t k = 0; k < world->dimension; k++)
        world->psi[k] = sel_random_normal(random);
    set_rewards(world);
    double factor = spec->reward_deviation / reward_deviation(world);
    for (size_t k = 0; k < world->dimension; k++)
        world->psi[k] *= factor;
    set_rewards(world);
}

static void draw_reference(struct world *world, double spread, struct sel_random *random)
{
    for (size_t p = 0; p < world->prompts; p++) {
        double *logits = world->log_reference + p * world->completions;
        for (size_t m = 0; m < world->completions; m++)
            logits[m] = spread * sel_random_normal(random);
        normalise(logits, world->completions);
    }
}

/* What no psi explains. */
static void draw_misfit(struct world *world, const struct world_spec *spec,
                        struct sel_random *random)
{
    double deviation = spec->misspecified * spec->reward_deviation;
    for (size_t row = 0; deviation > 0 && row < world->prompts * world->completions; row++)
        world->reward[row] += deviation * sel_random_normal(random);
}

/* One prompt whose completions are items: phi = e_a. */
static void make_tabular(struct world *world, const struct world_spec *spec,
                         struct sel_random *random)
{
    for (size_t k = 0; k < world->dimension; k++) {
        world->features[k * world->dimension + k] = 1;
        world->psi[k] = spec->reward_deviation * sel_random_normal(random);
    }
    set_rewards(world);
}

/* phi = [x; a; x o a], x of the prompt and a of the action: a third of the axes each. */
static void make_contextual(struct world *world, const struct world_spec *spec,
                            struct sel_random *random)
{
    size_t third = world->dimension / 3;
    for (size_t p = 0; p < world->prompts; p++) {
        double x[third];
        for (size_t k = 0; k < third; k++)
            x[k] = sel_random_normal(random);
        for (size_t m = 0; m < world->completions; m++) {
            double *row = world->features + (p * world->completions + m) * world->dimension;
            for (size_t k = 0; k < third; k++) {
                row[k] = x[k];
                row[third + k] = sel_random_normal(random);
                row[2 * third + k] = x[k] * row[third + k];
            }
        }
    }
    draw_psi(world, spec, random);
}

static void make_log_linear(struct world *world, const struct world_spec *spec,
                            struct sel_random *random, double *scratch)
{
    draw_features(world, spec, random, scratch);
    rescale(world, scratch);
    draw_psi(world, spec, random);
}

struct world_spec world_spec_of(enum world_kind kind)
{
    static const struct world_spec SPECS[] = {[WORLD_LOG_LINEAR] = {.dimension = 8,
                                                                    .prompts = 100,
                                                                    .completions = 64,
                                                                    .beta = .5,
                                                                    .spectrum = 1,
                                                                    .spread_axes = .4,
                                                                    .spread_prompts = .3,
                                                                    .reward_deviation = 1.5,
                                                                    .reference_spread = .5,
                                                                    .narrow = .1},
                                              [WORLD_TABULAR] = {.dimension = 100,
                                                                 .prompts = 1,
                                                                 .completions = 100,
                                                                 .beta = .1,
                                                                 .reward_deviation = .25,
                                                                 .reference_spread = 2},
                                              [WORLD_CONTEXTUAL] = {.dimension = 15,
                                                                    .prompts = 50,
                                                                    .completions = 20,
                                                                    .beta = .1,
                                                                    .reward_deviation = 1,
                                                                    .reference_spread = 1}};
    struct world_spec spec = SPECS[kind];
    spec.kind = kind;
    return spec;
}

bool world_spec_check(const struct world_spec *spec, struct error *error)
{
    if (spec->kind == WORLD_TABULAR && (spec->prompts != 1 || spec->completions != spec->dimension))
        return error_set(error, ERROR_DATA,
                         "a tabular world has one prompt and a completion for each of the %zu axes",
                         spec->dimension);
    if (spec->kind == WORLD_CONTEXTUAL && spec->dimension % 3 != 0)
        return error_set(error, ERROR_DATA,
                         "dimension: %zu; a contextual world has three blocks of the same size",
                         spec->dimension);
    if (spec->completions < 2)
        return error_set(error, ERROR_DATA, "completions: %zu of a prompt; a pair needs 2",
                         spec->completions);
    if (spec->deployed > spec->prompts)
        return error_set(error, ERROR_DATA, "deployed: %zu of %zu prompts", spec->deployed,
                         spec->prompts);
    return true;
}

struct world *world_make(const struct world_spec *spec, uint64_t seed)
{
    struct world *world = allocate(spec->dimension, spec->prompts, spec->completions, spec->beta);
    double *scratch = calloc(3 * spec->dimension, sizeof *scratch);
    if (world == NULL || scratch == NULL) {
        world_free(world);
        free(scratch);
        return NULL;
    }
    struct sel_random random = sel_random_init(seed, 1);
    world->deployed = spec->deployed > 0 ? spec->deployed : spec->prompts;
    if (spec->kind == WORLD_TABULAR)
        make_tabular(world, spec, &random);
    else if (spec->kind == WORLD_CONTEXTUAL)
        make_contextual(world, spec, &random);
    else
        make_log_linear(world, spec, &random, scratch);
    draw_reference(world, spec->reference_spread, &random);
    draw_misfit(world, spec, &random);
    find_optimal(world);
    free(scratch);
    return world;
}

struct world *world_new(size_t dimension, size_t prompts, size_t completions, double beta,
                        uint64_t seed)
{
    struct world_spec spec = world_spec_of(WORLD_LOG_LINEAR);
    spec.dimension = dimension;
    spec.prompts = prompts;
    spec.completions = completions;
    spec.beta = beta;
    return world_make(&spec, seed);
}

struct world *world_of_features(const float *rows, size_t prompts, size_t completions,
                                size_t dimension, const double *psi, double beta)
{
    struct world *world = allocate(dimension, prompts, completions, beta);
    double *mean = calloc(dimension, sizeof *mean);
    if (world == NULL || mean == NULL) {
        world_free(world);
        free(mean);
        return NULL;
    }
    for (size_t k = 0; k < prompts * completions * dimension; k++)
        world->features[k] = (double)rows[k];
    for (size_t p = 0; p < prompts; p++) {
        world_mean(world, p, NULL, mean);
        for (size_t m = 0; m < completions; m++) {
            double *row = world->features + (p * completions + m) * dimension;
            for (size_t k = 0; k < dimension; k++)
                row[k] -= mean[k];
        }
    }
    rescale(world, mean);
    for (size_t k = 0; k < dimension; k++)
        world->psi[k] = psi[k] / world->scale;
    set_rewards(world);
    for (size_t k = 0; k < prompts * completions; k++)
        world->log_reference[k] = -log((double)completions);
    find_optimal(world);
    free(mean);
    return world;
}

void world_inform(struct world *world, double share)
{
    for (size_t k = 0; k < world->prompts * world->completions; k++)
        world->log_reference[k] += share * world->reward[k] / world->beta;
    for (size_t p = 0; p < world->prompts; p++)
        normalise(world->log_reference + p * world->completions, world->completions);
    find_optimal(world);
}

/* ---- draws ---- */

void world_draw_rows(const struct world *world, struct sel_random *random, const double *log_pi,
                     size_t held, size_t n, size_t *rows)
{
    double keys[world->completions];
    for (size_t m = 0; m < world->completions; m++) {
        double uniform = 1 - sel_random_uniform(random);
        keys[m] = log_pi[m] - log(-log(uniform));
    }
    for (size_t k = 0; k < held; k++)
        keys[rows[k]] = -INFINITY;
    for (size_t k = held; k < n; k++) {
        size_t best = 0;
        for (size_t m = 1; m < world->completions; m++)
            best = keys[m] > keys[best] ? m : best;
        rows[k] = best;
        keys[best] = -INFINITY;
    }
}

size_t world_draw(const struct world *world, struct sel_random *random, size_t n, size_t *rows)
{
    size_t prompt = (size_t)sel_random_below(random, world->prompts);
    world_draw_rows(world, random, world->log_reference + prompt * world->completions, 0, n, rows);
    return prompt;
}

void world_log_policy(const struct world *world, size_t prompt, const double *psi, double share,
                      double *log_pi)
{
    for (size_t m = 0; m < world->completions; m++)
        log_pi[m] = world->log_reference[prompt * world->completions + m] +
                    share * dot(world_row(world, prompt, m), psi, world->dimension) / world->beta;
    normalise(log_pi, world->completions);
}
