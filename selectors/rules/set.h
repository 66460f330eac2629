/* Small helpers of the rules that choose from a list. */
#ifndef SEL_RULES_SET_H
#define SEL_RULES_SET_H

#include "selectors/selectors.h"

#include <math.h>

static inline void set_choose(struct sel_selection *selection, size_t k, double propensity)
{
    selection->propensity[selection->count] = propensity;
    selection->chosen[selection->count++] = k;
}

static inline bool set_is_full(const struct sel_set *set, const struct sel_selection *selection)
{
    return selection->count >= selection->budget || selection->count >= set->count;
}

/* The first of the highest values that is not NAN; count when there is none. */
static inline size_t set_best(const double *value, size_t count)
{
    size_t best = count;
    for (size_t k = 0; k < count; k++)
        if (!isnan(value[k]) && (best == count || value[k] > value[best]))
            best = k;
    return best;
}

/* The budget's highest values; value is overwritten. */
static inline void set_top(const struct sel_set *set, struct sel_selection *selection,
                           double *value)
{
    while (!set_is_full(set, selection)) {
        size_t best = set_best(value, set->count);
        if (best == set->count)
            return;
        set_choose(selection, best, 1);
        value[best] = NAN;
    }
}

/* Draws one of the places by weight >= 0; count when all are 0. The share it had goes to *share. */
static inline size_t set_draw(const double *weight, size_t count, struct sel_random *random,
                              double *share)
{
    double sum = 0;
    for (size_t k = 0; k < count; k++)
        sum += weight[k];
    if (!(sum > 0))
        return count;
    double left = sel_random_uniform(random) * sum;
    size_t drawn = count;
    for (size_t k = 0; k < count; k++) {
        if (!(weight[k] > 0))
            continue;
        drawn = k;
        if (left < weight[k])
            break;
        left -= weight[k];
    }
    *share = weight[drawn] / sum;
    return drawn;
}

/* Successive draws without replacement; weight is overwritten. The propensity of each choice is its
 * share among those left. */
static inline void set_sample(const struct sel_set *set, struct sel_selection *selection,
                              double *weight)
{
    while (!set_is_full(set, selection)) {
        double share = 0;
        size_t drawn = set_draw(weight, set->count, set->random, &share);
        if (drawn == set->count)
            return;
        set_choose(selection, drawn, share);
        weight[drawn] = 0;
    }
}

/* Squared distance of two rows. */
static inline double set_distance2(const double *a, const double *b, size_t d)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++)
        sum += (a[k] - b[k]) * (a[k] - b[k]);
    return sum;
}

static inline const double *set_context(const struct sel_set *set, size_t k)
{
    return set->context + k * set->context_d;
}

/* Median of `count` values, which are put in order. */
double set_median(double *values, size_t count);
/* Median distance of two different candidates in the context, over all pairs of the first 256 (a
 * sample where there are more). values: 256 * 255 / 2 of scratch. 1 where it would be 0. */
double set_median_distance(const struct sel_set *set, double *values);
enum { SET_MEDIAN_ROOM = 256 * 255 / 2 };

/* k-means from the candidate nearest the mean, then farthest points; Lloyd's steps until nothing
 * moves, at most 100. rows: count x d; centre: k x d, written; member: count, written. */
void set_kmeans(const double *rows, size_t count, size_t d, size_t k, double *centre,
                size_t *member);

/* x' S x of each candidate. */
void set_variances(const struct sel_set *set, double *q);

#endif
