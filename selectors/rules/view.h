/* Small helpers of the rules that look at a whole pool. */
#ifndef SEL_RULES_VIEW_H
#define SEL_RULES_VIEW_H

#include "selectors/selectors.h"

#include <math.h>

static inline size_t view_pairs(const struct sel_view *view)
{
    return view->n * (view->n - 1) / 2;
}

/* Place of the pair of i and j, in either order. */
static inline size_t view_index(const struct sel_view *view, size_t i, size_t j)
{
    size_t low = i < j ? i : j;
    size_t high = i < j ? j : i;
    return low * view->n - low * (low + 1) / 2 + (high - low - 1);
}

static inline bool view_allows(const struct sel_view *view, size_t i, size_t j)
{
    return i != j && view->allowed[view_index(view, i, j)] != 0;
}

/* True when completion i has a pair that may be asked. */
static inline bool view_can_play(const struct sel_view *view, size_t i)
{
    for (size_t j = 0; j < view->n; j++)
        if (view_allows(view, i, j))
            return true;
    return false;
}

/* |phi_i - phi_j| in Sigma^-1, exactly. */
static inline double view_width(const struct sel_view *view, size_t i, size_t j)
{
    return sqrt(view->pairs[view_index(view, i, j)].variance);
}

/* Upper and lower bound of the margin, D_ij +- c |x_ij|. */
static inline double view_upper_margin(const struct sel_view *view, size_t i, size_t j, double c)
{
    return view->reward[i] - view->reward[j] + c * view_width(view, i, j);
}

static inline double view_lower_margin(const struct sel_view *view, size_t i, size_t j, double c)
{
    return view->reward[i] - view->reward[j] - c * view_width(view, i, j);
}

/* Upper and lower bound of P(i preferred to j). */
static inline double view_upper(const struct sel_view *view, size_t i, size_t j, double c)
{
    return sel_sigmoid(view_upper_margin(view, i, j, c));
}

static inline double view_lower(const struct sel_view *view, size_t i, size_t j, double c)
{
    return sel_sigmoid(view_lower_margin(view, i, j, c));
}

static inline void view_fill(const struct sel_view *view, double *values, double value)
{
    for (size_t k = 0; k < view_pairs(view); k++)
        values[k] = value;
}

/* Leaves the allowed pairs and scales them to a sum of 1, unless all are 0. */
static inline void view_normalise(const struct sel_view *view, double *probability)
{
    double sum = 0;
    for (size_t k = 0; k < view_pairs(view); k++) {
        probability[k] = view->allowed[k] ? probability[k] : 0;
        sum += probability[k];
    }
    for (size_t k = 0; sum > 0 && k < view_pairs(view); k++)
        probability[k] /= sum;
}

/* The completion of the highest value among those with a pair that may be asked, n when none. */
static inline size_t view_champion(const struct sel_view *view, const double *value)
{
    size_t best = view->n;
    for (size_t i = 0; i < view->n; i++)
        if (view_can_play(view, i) && (best == view->n || value[i] > value[best]))
            best = i;
    return best;
}

#endif
