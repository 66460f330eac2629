/* How often each annotator answers by a coin flip, and how much each one likes the left side.
 *
 *   P(left | e) = (1-e) sigma(k m) + e/2,  k = (1 + pi q / 8)^-1/2;  with ties as in ties.c
 *   L_a(e)      = product over the labels of a of P(y | e)^weight
 *   e_a | s     ~ Beta(s mean, s (1 - mean)) L_a(e),  mean = the overall rate
 *   Z(s)        = product over a of the integral of the prior times L_a
 *   e_a         = sum_s Z(s) E[e_a | s] / sum_s Z(s)
 *
 * m, q: mean and variance of a margin by the fit that has not seen the label. With m of the fit
 * that has, and without q, lapses would hide in psi and rates come out too low. Strengths s are
 * STRENGTHS, the last of which says that all are alike. Integrals over cells that are equally wide
 * in sqrt(e); a cell's prior mass and mean are exact but for the factor (1-e)^(s (1-mean) - 1)
 * within it, so that a small s mean, with its pole at 0, does no harm. Two different people who err
 * alike are taken as alike; one alone has the overall rate, which was learnt from the same labels.
 *
 * Bias b: P(left) = (1-e_a) sigma(k m + b) + e_a/2, posterior mode under N(0, BIAS^2) over all
 * labels, and under N(that, BIAS^2) of each annotator. Cost: O(n CELLS). */
#include "selectors/selectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 96, STRENGTHS = 5, ITERATIONS = 30 };
static const double STRENGTH[STRENGTHS] = {2, 8, 32, 128, INFINITY};
static const double BIAS = .5;
static const double MEAN_LEAST = 1e-4;

/* Rates and what the prior of one strength says of them. */
struct prior {
    double rate[CELLS];
    double mass[CELLS]; /* sums to 1 */
};

static double edge(int cell)
{
    double root = (double)cell / CELLS;
    return root * root;
}

/* A cell's middle, where the likelihood is taken. */
static double rate_of(int cell)
{
    double root = (cell + .5) / CELLS;
    return root * root;
}

static void fill_prior(struct prior *prior, double strength, double mean)
{
    double alpha = strength * mean, beta = strength * (1 - mean);
    double most = -INFINITY, sum = 0;
    for (int cell = 0; cell < CELLS; cell++) {
        double from = edge(cell), to = edge(cell + 1);
        double mass = pow(to, alpha) - pow(from, alpha);
        double moment = pow(to, alpha + 1) - pow(from, alpha + 1);
        prior->rate[cell] =
            mass > 0 ? fmin(to, alpha / (alpha + 1) * moment / mass) : rate_of(cell);
        prior->mass[cell] = mass > 0 ? log(mass) + (beta - 1) * log1p(-rate_of(cell)) : -INFINITY;
        most = fmax(most, prior->mass[cell]);
    }
    for (int cell = 0; cell < CELLS; cell++)
        sum += prior->mass[cell] = exp(prior->mass[cell] - most);
    for (int cell = 0; cell < CELLS; cell++)
        prior->mass[cell] /= sum;
}

static double shrunk_margin(const struct sel_answers *answers, size_t k)
{
    return answers->margin[k] / sqrt(1 + M_PI * answers->variance[k] / 8);
}

/* Of an answer whose honest chances are given. */
static double log_likelihood(const struct sel_chances *honest, double y, double lapse)
{
    if (honest->tie > 0 && y == .5)
        return log1p(-lapse) + log(honest->tie);
    return (y > 0 ? y * log((1 - lapse) * honest->left + lapse / 2) : 0) +
           (y < 1 ? (1 - y) * log((1 - lapse) * honest->right + lapse / 2) : 0);
}

/* Away from 0, where an answer to the contrary would be impossible at rate 0. */
static struct sel_chances honest_chances(const struct sel_answers *answers, double margin)
{
    struct sel_chances honest = sel_tie_chances(margin, 0, answers->tie);
    honest.left = fmax(honest.left, 1e-12);
    honest.right = fmax(honest.right, 1e-12);
    return honest;
}

/* log L_a at every rate, the overall rate being the last: CELLS + 1 values for each annotator. */
static void add_likelihoods(const struct sel_answers *answers, size_t annotators, double overall,
                            double *log_likelihoods)
{
    for (size_t k = 0; k < answers->n; k++) {
        size_t who = answers->annotator[k];
        if (who >= annotators)
            continue;
        double *row = log_likelihoods + who * (CELLS + 1);
        const struct sel_chances honest = honest_chances(answers, shrunk_margin(answers, k));
        double y = answers->y[k], weight = answers->weight[k];
        for (int cell = 0; cell < CELLS; cell++)
            row[cell] += weight * log_likelihood(&honest, y, rate_of(cell));
        row[CELLS] += weight * log_likelihood(&honest, y, overall);
    }
}

/* Of one annotator under one prior: log of the integral, mean and mean square of the rate. */
static double integrate(const struct prior *prior, const double *row, double *mean, double *square)
{
    double most = -INFINITY, sum = 0;
    for (int cell = 0; cell < CELLS; cell++)
        most = prior->mass[cell] > 0 ? fmax(most, row[cell]) : most;
    *mean = *square = 0;
    for (int cell = 0; cell < CELLS; cell++) {
        double share = prior->mass[cell] > 0 ? prior->mass[cell] * exp(row[cell] - most) : 0;
        sum += share;
        *mean += share * prior->rate[cell];
        *square += share * prior->rate[cell] * prior->rate[cell];
    }
    *mean /= sum;
    *square /= sum;
    return most + log(sum);
}

static double integrate_at(int strength, const struct prior *prior, const double *row,
                           double overall, double *mean, double *square)
{
    if (isfinite(STRENGTH[strength]))
        return integrate(prior, row, mean, square);
    *mean = overall;
    *square = overall * overall;
    return row[CELLS];
}

/* Shares of the strengths, by the marginal likelihood of all annotators. */
static void weigh_strengths(const struct prior *priors, const double *log_likelihoods,
                            size_t annotators, double overall, double share[STRENGTHS])
{
    double most = -INFINITY, sum = 0, mean, square;
    for (int s = 0; s < STRENGTHS; s++) {
        share[s] = 0;
        for (size_t a = 0; a < annotators; a++)
            share[s] += integrate_at(s, &priors[s], log_likelihoods + a * (CELLS + 1), overall,
                                     &mean, &square);
        most = fmax(most, share[s]);
    }
    for (int s = 0; s < STRENGTHS; s++)
        sum += share[s] = exp(share[s] - most);
    for (int s = 0; s < STRENGTHS; s++)
        share[s] /= sum;
}

static bool find_lapses(const struct sel_answers *answers, size_t annotators, double overall,
                        struct sel_annotator *result)
{
    struct prior *priors = calloc(STRENGTHS, sizeof *priors);
    double *log_likelihoods = calloc(annotators * (CELLS + 1), sizeof *log_likelihoods);
    bool done = priors != NULL && log_likelihoods != NULL;
    double share[STRENGTHS];
    if (done) {
        for (int s = 0; s < STRENGTHS; s++)
            if (isfinite(STRENGTH[s]))
                fill_prior(&priors[s], STRENGTH[s], fmax(overall, MEAN_LEAST));
        add_likelihoods(answers, annotators, overall, log_likelihoods);
        weigh_strengths(priors, log_likelihoods, annotators, overall, share);
    }
    for (size_t a = 0; done && a < annotators; a++) {
        double rate = 0, moment = 0;
        for (int s = 0; s < STRENGTHS; s++) {
            double mean, square;
            integrate_at(s, &priors[s], log_likelihoods + a * (CELLS + 1), overall, &mean, &square);
            rate += share[s] * mean;
            moment += share[s] * square;
        }
        result[a].lapse = fmin(rate, edge(CELLS) - 1e-6);
        result[a].lapse_deviation = sqrt(fmax(0, moment - rate * rate));
    }
    free(priors);
    free(log_likelihoods);
    return done;
}

/* Labels, sides and agreement. */
static void count(const struct sel_answers *answers, size_t annotators,
                  struct sel_annotator *result)
{
    for (size_t k = 0; k < answers->n; k++) {
        struct sel_annotator *of[] = {&result[annotators], answers->annotator[k] < annotators
                                                               ? &result[answers->annotator[k]]
                                                               : NULL};
        double y = answers->y[k];
        for (size_t at = 0; at < 2 && of[at] != NULL; at++) {
            of[at]->labels++;
            if (y == .5)
                continue;
            of[at]->sided++;
            of[at]->left_share += y > .5;
            of[at]->agreement += (y > .5) == (answers->margin[k] > 0);
        }
    }
    for (size_t a = 0; a <= annotators; a++) {
        double sided = result[a].sided > 0 ? (double)result[a].sided : 1;
        result[a].left_share /= sided;
        result[a].agreement /= sided;
    }
}

/* What one answer says of a bias at its present value. Ties say nothing of sides. */
static void add_answer(const struct sel_answers *answers, size_t k, double bias, double lapse,
                       double *slope, double *information)
{
    double y = answers->y[k], weight = answers->weight[k];
    if (answers->tie > 0 && y == .5)
        return;
    double margin = shrunk_margin(answers, k) + bias;
    double left = (1 - lapse) * sel_sigmoid(margin) + lapse / 2;
    double right = (1 - lapse) * sel_sigmoid(-margin) + lapse / 2;
    *slope += weight * (1 - lapse) * sel_weight_plug(margin) *
              (y / fmax(left, 1e-12) - (1 - y) / fmax(right, 1e-12));
    *information += weight * sel_weight_lapse(margin, lapse);
}

/* Fisher scoring of all biases at once: those of the annotators, or the one of all labels. */
static bool find_biases(const struct sel_answers *answers, size_t annotators, bool together,
                        struct sel_annotator *result)
{
    size_t from = together ? annotators : 0, to = together ? annotators + 1 : annotators;
    double centre = together ? 0 : result[annotators].left_bias;
    double *slope = calloc(2 * (annotators + 1), sizeof *slope);
    if (slope == NULL)
        return false;
    double *information = slope + annotators + 1, moved = INFINITY;
    for (size_t a = from; a < to; a++)
        result[a].left_bias = centre;
    for (int iteration = 0; iteration < ITERATIONS && moved > 1e-9; iteration++) {
        for (size_t a = from; a < to; a++) {
            information[a] = 1 / (BIAS * BIAS);
            slope[a] = (centre - result[a].left_bias) * information[a];
        }
        for (size_t k = 0; k < answers->n; k++) {
            size_t known = answers->annotator[k] < annotators ? answers->annotator[k] : annotators;
            size_t of = together ? annotators : known;
            if (of < to)
                add_answer(answers, k, result[of].left_bias, result[known].lapse, &slope[of],
                           &information[of]);
        }
        moved = 0;
        for (size_t a = from; a < to; a++) {
            double step = fmin(fmax(slope[a] / information[a], -1), 1);
            result[a].left_bias += step;
            moved = fmax(moved, fabs(step));
        }
    }
    free(slope);
    return true;
}

enum sel_status sel_annotators(const struct sel_answers *answers, size_t annotators, double overall,
                               struct sel_annotator *result)
{
    if (!(overall >= 0 && overall < 1))
        return SEL_INVALID;
    for (size_t k = 0; k < answers->n; k++) {
        if (!(answers->y[k] >= 0 && answers->y[k] <= 1) || !(answers->weight[k] >= 0) ||
            !isfinite(answers->weight[k]) || !isfinite(answers->margin[k]) ||
            !(answers->variance[k] >= 0))
            return SEL_INVALID;
    }
    for (size_t a = 0; a <= annotators; a++)
        result[a] = (struct sel_annotator){.lapse = overall};
    count(answers, annotators, result);
    bool done = annotators < 2 || find_lapses(answers, annotators, overall, result);
    return done && find_biases(answers, annotators, true, result) &&
                   find_biases(answers, annotators, false, result)
               ? SEL_OK
               : SEL_NO_MEMORY;
}
