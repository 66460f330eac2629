#include "world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double REWARD_DEVIATION = 1.5;

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
                            .beta = beta,
                            .features = calloc(rows * dimension, sizeof(double)),
                            .psi = calloc(dimension, sizeof(double)),
                            .reward = calloc(rows, sizeof(double)),
                            .log_reference = calloc(rows, sizeof(double))};
    if (world->features != NULL && world->psi != NULL && world->reward != NULL &&
        world->log_reference != NULL)
        return world;
    world_free(world);
    return NULL;
}

/* Mean of a prompt's rows under `weights` (NULL: equal). */
static void mean_row(const struct world *world, size_t prompt, const double *weights, double *mean)
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
        mean_row(world, p, NULL, mean);
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

static void draw_features(struct world *world, struct sel_random *random, double *scale,
                          double *offset)
{
    size_t d = world->dimension;
    double harmonic = 0;
    for (size_t k = 1; k <= d; k++)
        harmonic += 1.0 / (double)k;
    for (size_t p = 0; p < world->prompts; p++) {
        double of_prompt = exp(.3 * sel_random_normal(random));
        for (size_t k = 0; k < d; k++) {
            double share = (double)d / ((double)(k + 1) * harmonic);
            scale[k] = exp(.4 * sel_random_normal(random)) * of_prompt * sqrt(share);
            offset[k] = sel_random_normal(random);
        }
        for (size_t m = 0; m < world->completions; m++) {
            double *row = world->features + (p * world->completions + m) * d;
            for (size_t k = 0; k < d; k++)
                row[k] = sel_random_normal(random) * scale[k] + offset[k];
        }
    }
}

/* psi drawn, then scaled to the standard deviation of the reward within a prompt. */
static void draw_psi(struct world *world, struct sel_random *random, double *mean)
{
    double squares = 0;
    for (size_t k = 0; k < world->dimension; k++)
        world->psi[k] = sel_random_normal(random);
    set_rewards(world);
    for (size_t p = 0; p < world->prompts; p++) {
        mean_row(world, p, NULL, mean);
        double centre = dot(mean, world->psi, world->dimension);
        for (size_t m = 0; m < world->completions; m++) {
            double distance = world->reward[p * world->completions + m] - centre;
            squares += distance * distance;
        }
    }
    double deviation = sqrt(squares / (double)(world->prompts * world->completions));
    for (size_t k = 0; k < world->dimension; k++)
        world->psi[k] *= REWARD_DEVIATION / deviation;
    set_rewards(world);
}

struct world *world_new(size_t dimension, size_t prompts, size_t completions, double beta,
                        uint64_t seed)
{
    struct world *world = allocate(dimension, prompts, completions, beta);
    double *scratch = calloc(2 * dimension, sizeof *scratch);
    if (world == NULL || scratch == NULL) {
        world_free(world);
        free(scratch);
        return NULL;
    }
    struct sel_random random = sel_random_init(seed, 1);
    draw_features(world, &random, scratch, scratch + dimension);
    rescale(world, scratch);
    draw_psi(world, &random, scratch);
    for (size_t p = 0; p < prompts; p++) {
        double *logits = world->log_reference + p * completions;
        for (size_t m = 0; m < completions; m++)
            logits[m] = .5 * sel_random_normal(&random);
        normalise(logits, completions);
    }
    free(scratch);
    return world;
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
        mean_row(world, p, NULL, mean);
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
    free(mean);
    return world;
}

void world_inform(struct world *world, double share)
{
    for (size_t k = 0; k < world->prompts * world->completions; k++)
        world->log_reference[k] += share * world->reward[k] / world->beta;
    for (size_t p = 0; p < world->prompts; p++)
        normalise(world->log_reference + p * world->completions, world->completions);
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

/* ---- measures ---- */

/* E[r] - beta KL of a policy in one prompt. */
static double objective(const struct world *world, size_t prompt, const double *log_pi)
{
    double sum = 0;
    for (size_t m = 0; m < world->completions; m++) {
        size_t row = prompt * world->completions + m;
        sum += exp(log_pi[m]) *
               (world->reward[row] - world->beta * (log_pi[m] - world->log_reference[row]));
    }
    return sum;
}

double world_gap(const struct world *world, const double *psi)
{
    double *best = calloc(2 * world->completions, sizeof *best);
    if (best == NULL)
        return (double)NAN;
    double *learnt = best + world->completions;
    double sum = 0;
    for (size_t p = 0; p < world->prompts; p++) {
        world_log_policy(world, p, world->psi, 1, best);
        world_log_policy(world, p, psi, 1, learnt);
        sum += objective(world, p, best) - objective(world, p, learnt);
    }
    free(best);
    return sum / (double)world->prompts;
}

bool world_policy(const struct world *world, double *policy)
{
    size_t d = world->dimension;
    double *pi = calloc(world->completions + d, sizeof *pi);
    if (pi == NULL)
        return false;
    double *mean = pi + world->completions;
    memset(policy, 0, d * d * sizeof *policy);
    for (size_t p = 0; p < world->prompts; p++) {
        world_log_policy(world, p, world->psi, 1, pi);
        for (size_t m = 0; m < world->completions; m++)
            pi[m] = exp(pi[m]);
        mean_row(world, p, pi, mean);
        for (size_t m = 0; m < world->completions; m++) {
            const double *row = world_row(world, p, m);
            double weight = pi[m] / (double)world->prompts;
            for (size_t i = 0; i < d; i++) {
                double part = weight * (row[i] - mean[i]);
                for (size_t j = 0; j < d; j++)
                    policy[i * d + j] += part * (row[j] - mean[j]);
            }
        }
    }
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
        double w =
            sel_weight_plug(world_margin(world, labels[k].prompt, labels[k].left, labels[k].right));
        difference(world, &labels[k], x);
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

size_t world_fit(const struct world *world, const struct world_label *labels, size_t count,
                 enum pair_arm arm, size_t most, double *psi)
{
    size_t d = world->dimension;
    float *x = calloc((most + 1) * d, sizeof *x);
    const float **rows = calloc(most + 1, sizeof *rows);
    double *y = calloc(2 * (most + 1), sizeof *y);
    struct sel_preference *preference = sel_preference_new(d);
    size_t used = 0;
    if (x == NULL || rows == NULL || y == NULL || preference == NULL)
        goto out;
    double *weight = y + most + 1;
    for (size_t k = 0; k < count && used < most; k++) {
        if (labels[k].arm != arm)
            continue;
        difference(world, &labels[k], x + used * d);
        rows[used] = x + used * d;
        y[used] = labels[k].y;
        weight[used++] = 1;
    }
    struct sel_preference_options options = sel_preference_defaults(d);
    struct sel_preference_result result;
    enum sel_status status = used == 0 ? SEL_INVALID
                                       : sel_preference_fit(preference, rows, y, weight, used, NULL,
                                                            &options, psi, &result);
    if (status != SEL_OK && status != SEL_NOT_CONVERGED)
        used = 0;
out:
    sel_preference_free(preference);
    free(x);
    free(rows);
    free(y);
    return used;
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
