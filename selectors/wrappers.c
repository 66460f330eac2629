/* Probabilities over arms.
 *
 * Gumbel top-k: the k largest of log w_i + G_i are draws one by one without replacement in
 * proportion to w; equally, the k smallest of T_i ~ Exp(w_i). Arm i is among them with probability
 *   int_0^inf w_i e^(-w_i t) P(N_-i(t) < k) dt,  N_-i(t) = the number of other T_j <= t
 * Over s = log t the integrand is analytic for |Im s| < pi/2, so the trapezoidal rule of step h
 * errs by about e^(-pi^2 / h). Invariant: log weights are used relative to the largest. */
#include "selectors/selectors.h"

#include <math.h>

enum sel_status sel_wrap_mix(double *probability, const uint8_t *allowed, size_t count,
                             double share)
{
    if (!(share >= 0 && share <= 1))
        return SEL_INVALID;
    size_t arms = 0;
    for (size_t k = 0; k < count; k++)
        arms += allowed == NULL || allowed[k];
    if (arms == 0)
        return SEL_INVALID;
    for (size_t k = 0; k < count; k++) {
        bool open = allowed == NULL || allowed[k];
        probability[k] = (1 - share) * probability[k] + (open ? share / (double)arms : 0);
    }
    return SEL_OK;
}

/* ---- ranks ---- */

/* True when arm a comes after arm b: a lower score, or as high and later. */
static bool follows(const double *score, double a, double b)
{
    double left = score[(size_t)a], right = score[(size_t)b];
    return left < right || (left == right && a > b);
}

/* Restores the heap below `root`: no arm comes before its children. */
static void sink(const double *score, double *arms, size_t root, size_t count)
{
    double arm = arms[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && follows(score, arms[child + 1], arms[child]))
            child++;
        if (!follows(score, arms[child], arm))
            break;
        arms[root] = arms[child];
    }
    arms[root] = arm;
}

/* Writes the rank of each arm that is not -INFINITY in `out`, 1 for the first. Heap sort of the
 * arms' numbers within `out`, then each cycle of that order is followed; ranks are kept negative
 * until all are known. */
static void rank_arms(const double *score, const uint8_t *allowed, size_t count, double *out)
{
    size_t arms = 0;
    for (size_t k = 0; k < count; k++)
        if (allowed == NULL || allowed[k])
            out[arms++] = (double)k;
    for (size_t root = arms / 2; root-- > 0;)
        sink(score, out, root, arms);
    for (size_t end = arms; end-- > 1;) {
        double last = out[0];
        out[0] = out[end];
        out[end] = last;
        sink(score, out, 0, end);
    }
    /* Those that are not allowed follow, so that `out` is an order of all. */
    for (size_t k = 0, at = arms; k < count; k++)
        if (allowed != NULL && !allowed[k])
            out[at++] = (double)k;
    for (size_t start = 0; start < count; start++) {
        if (out[start] < 0)
            continue;
        size_t place = start;
        double arm = out[start];
        do {
            double next = out[(size_t)arm];
            out[(size_t)arm] = -(double)(place + 1);
            place = (size_t)arm;
            arm = next;
        } while (place != start);
    }
    for (size_t k = 0; k < count; k++)
        out[k] = -out[k];
}

enum sel_status sel_wrap_soften(enum sel_softening softening, double beta, const double *score,
                                const uint8_t *allowed, size_t count, double *log_weight)
{
    if (!(beta >= 0) || !isfinite(beta) || (unsigned)softening > SEL_SOFTRANK ||
        (softening == SEL_SOFTRANK && score == log_weight))
        return SEL_INVALID;
    for (size_t k = 0; k < count; k++)
        if (isnan(score[k]) || score[k] == INFINITY)
            return SEL_INVALID;
    if (softening == SEL_SOFTRANK)
        rank_arms(score, allowed, count, log_weight);
    for (size_t k = 0; k < count; k++) {
        double value = score[k];
        if ((allowed != NULL && !allowed[k]) || value == -INFINITY ||
            (softening == SEL_POWER && !(value > 0)))
            log_weight[k] = -INFINITY;
        else if (softening == SEL_SOFTMAX)
            log_weight[k] = beta * value;
        else if (softening == SEL_POWER)
            log_weight[k] = beta * log(value);
        else
            log_weight[k] = -beta * log(log_weight[k]);
    }
    return SEL_OK;
}

static double largest_of(const double *log_weight, size_t count)
{
    double largest = -INFINITY;
    for (size_t k = 0; k < count; k++)
        largest = fmax(largest, log_weight[k]);
    return largest;
}

void sel_gumbel_first(const double *log_weight, size_t count, double *probability)
{
    double largest = largest_of(log_weight, count);
    double sum = 0;
    for (size_t k = 0; k < count; k++) {
        probability[k] = largest > -INFINITY ? exp(log_weight[k] - largest) : 0;
        sum += probability[k];
    }
    for (size_t k = 0; k < count; k++)
        probability[k] = sum > 0 ? probability[k] / sum : 0;
}

size_t sel_gumbel_draw(const double *log_weight, size_t count, size_t k, struct sel_random *random,
                       double *key, size_t *chosen)
{
    for (size_t i = 0; i < count; i++) {
        double uniform = 1 - sel_random_uniform(random); /* in (0, 1] */
        key[i] = log_weight[i] > -INFINITY ? log_weight[i] - log(-log(uniform) + 1e-300) : NAN;
    }
    return sel_shortlist(key, count, k, chosen);
}

/* P(fewer than k of the arms but i have come), arm j with chance 1 - e^(-rate_j): `ways` is the
 * distribution of their number, cut at k. */
static double too_few(const double *weight, size_t count, size_t i, double t, size_t k,
                      double *ways)
{
    ways[0] = 1;
    for (size_t m = 1; m < k; m++)
        ways[m] = 0;
    for (size_t j = 0; j < count; j++) {
        if (j == i || !(weight[j] > 0))
            continue;
        double come = -expm1(-weight[j] * t);
        for (size_t m = k; m-- > 1;)
            ways[m] = ways[m] * (1 - come) + ways[m - 1] * come;
        ways[0] *= 1 - come;
    }
    double sum = 0;
    for (size_t m = 0; m < k; m++)
        sum += ways[m];
    return sum;
}

void sel_gumbel_inclusion(const double *log_weight, size_t count, size_t k, double *inclusion,
                          double *scratch)
{
    const double step = .25;
    double *weight = scratch;
    double largest = largest_of(log_weight, count);
    size_t possible = 0;
    double smallest = 1;
    for (size_t i = 0; i < count; i++) {
        weight[i] = largest > -INFINITY ? exp(log_weight[i] - largest) : 0;
        possible += weight[i] > 0;
        if (weight[i] > 0)
            smallest = fmin(smallest, weight[i]);
    }
    double from = -42 - log((double)count + 1);
    double to = log(745 / smallest) + step;
    for (size_t i = 0; i < count; i++) {
        inclusion[i] = weight[i] > 0 && k >= possible;
        if (!(weight[i] > 0) || k >= possible || k == 0)
            continue;
        for (double s = from; s <= to; s += step) {
            double rate = weight[i] * exp(s);
            double density = rate * exp(-rate);
            if (density > 1e-18)
                inclusion[i] +=
                    step * density * too_few(weight, count, i, exp(s), k, scratch + count);
        }
    }
}
