/* Choosing from a list of candidate pairs.
 *
 * A rule with `score` is run greedily over the list: q_k = x_k' S x_k and r_k = x_k' V x_k, V = S I
 * S, are kept for all pairs, and a pick x of weight w makes of them, with c = w / (1 + w q),
 *   g_k = x_k' S x, h_k = x_k' V x:  q_k -= c g_k^2,  r_k += c^2 r g_k^2 - 2 c g_k h_k
 *   u = S x, v = V x:  S -= c u u',  V += c^2 r u u' - c (u v' + v u')
 * Cost: O(N d^2 + d^3) at first, O(N d + d^2) a pick. Other rules bring their own `select`.
 * Invariant: after an error the selection is empty. */
#include "selectors/linear.h"
#include "selectors/rules/rules.h"
#include "selectors/selectors.h"

#include <stdlib.h>
#include <string.h>

struct sel_select {
    struct sel_select_options options;
    double parameters[SEL_PARAMETERS_MAX];
    double *scratch;
    size_t *integers;
};

static bool is_pair_rule(const struct sel_rule *rule)
{
    return rule->score != NULL && !rule->randomised;
}

static size_t room_of(const struct sel_select_options *options)
{
    const struct sel_set *largest = &options->largest;
    if (is_pair_rule(options->rule))
        return 2 * largest->d * largest->d + largest->count * (largest->d + 6) + 2 * largest->d;
    return options->rule->room == NULL ? 1 : options->rule->room(largest, options->budget_max) + 1;
}

size_t sel_select_bytes(const struct sel_select_options *options)
{
    const struct sel_set *largest = &options->largest;
    return sizeof(struct sel_select) + room_of(options) * sizeof(double) +
           (4 * (largest->count + largest->groups) + 4) * sizeof(size_t);
}

struct sel_select *sel_select_new(const struct sel_select_options *options)
{
    const size_t most = (size_t)1 << 28;
    const struct sel_set *largest = &options->largest;
    if (options->rule == NULL || largest->count == 0 || largest->d == 0 || largest->d > 32768 ||
        largest->count > most / largest->d || options->budget_max == 0 ||
        (options->rule->select == NULL && !is_pair_rule(options->rule)))
        return NULL;
    double parameters[SEL_PARAMETERS_MAX];
    if (!rule_parameters(options->rule, options->parameters, parameters))
        return NULL;
    struct sel_select *select = calloc(1, sizeof *select);
    if (select == NULL)
        return NULL;
    select->options = *options;
    memcpy(select->parameters, parameters, sizeof parameters);
    select->scratch = calloc(room_of(options), sizeof(double));
    select->integers = calloc(4 * (largest->count + largest->groups) + 4, sizeof(size_t));
    if (select->scratch == NULL || select->integers == NULL) {
        sel_select_free(select);
        return NULL;
    }
    return select;
}

void sel_select_free(struct sel_select *select)
{
    if (select == NULL)
        return;
    free(select->scratch);
    free(select->integers);
    free(select);
}

/* ---- greedy ---- */

struct greedy {
    const struct sel_set *set;
    const struct sel_rule *rule;
    double *inverse; /* S */
    double *square;  /* V */
    double *q;       /* of each pair, and so on */
    double *r;
    double *g;
    double *h;
    double *w;
    double *taken;
    double *u; /* d */
    double *v; /* d */
};

static double quadratic(const double *a, const double *x, size_t d, double *product)
{
    linear_apply(a, d, x, product);
    return fmax(0, linear_dot(x, product, d));
}

static struct greedy greedy_of(const struct sel_set *set, const struct sel_rule *rule)
{
    size_t d = set->d;
    size_t count = set->count;
    struct greedy greedy = {.set = set, .rule = rule, .inverse = set->scratch};
    greedy.square = greedy.inverse + d * d;
    greedy.q = greedy.square + d * d;
    greedy.r = greedy.q + count;
    greedy.g = greedy.r + count;
    greedy.h = greedy.g + count;
    greedy.w = greedy.h + count;
    greedy.taken = greedy.w + count;
    greedy.u = greedy.taken + count;
    greedy.v = greedy.u + d;
    return greedy;
}

static void greedy_open(struct greedy *greedy)
{
    const struct sel_set *set = greedy->set;
    size_t d = set->d;
    blasint n = (blasint)d;
    double *product = greedy->v + d; /* count x d; d x d fits in S I's place first */
    memcpy(greedy->inverse, set->inverse, d * d * sizeof(double));
    if ((greedy->rule->traits & SEL_IDENTITY) != 0) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, set->inverse, n,
                    set->inverse, n, 0, greedy->square, n);
    } else {
        /* Row by row: S I needs no matrix of its own. */
        for (size_t i = 0; i < d; i++) {
            linear_apply(set->policy, d, set->inverse + i * d, greedy->u);
            linear_apply(set->inverse, d, greedy->u, greedy->square + i * d);
        }
    }
    linear_mirror(greedy->square, d);
    for (int of_policy = 0; of_policy < 2; of_policy++) {
        double *out = of_policy ? greedy->r : greedy->q;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)set->count, n, n, 1, set->x,
                    n, of_policy ? greedy->square : greedy->inverse, n, 0, product, n);
        for (size_t k = 0; k < set->count; k++)
            out[k] = fmax(0, linear_dot(product + k * d, set->x + k * d, d));
    }
    for (size_t k = 0; k < set->count; k++) {
        greedy->taken[k] = 0;
        greedy->w[k] = (greedy->rule->traits & SEL_UNWEIGHTED) != 0 ? 1 : set->weight[k];
    }
}

static size_t greedy_best(const struct greedy *greedy)
{
    size_t best = greedy->set->count;
    double highest = -INFINITY;
    for (size_t k = 0; k < greedy->set->count; k++) {
        struct sel_pair pair = {greedy->w[k], greedy->q[k], greedy->r[k], greedy->set->margin[k],
                                greedy->set->parameters};
        double score = greedy->taken[k] > 0 ? -INFINITY : greedy->rule->score(&pair);
        if (score > highest) {
            highest = score;
            best = k;
        }
    }
    return best;
}

static void greedy_take(struct greedy *greedy, size_t pick)
{
    const struct sel_set *set = greedy->set;
    size_t d = set->d;
    const double *x = set->x + pick * d;
    double q = quadratic(greedy->inverse, x, d, greedy->u);
    double r = quadratic(greedy->square, x, d, greedy->v);
    double c = greedy->w[pick] / (1 + greedy->w[pick] * q);
    blasint rows = (blasint)set->count;
    cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, (blasint)d, 1, set->x, (blasint)d, greedy->u, 1,
                0, greedy->g, 1);
    cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, (blasint)d, 1, set->x, (blasint)d, greedy->v, 1,
                0, greedy->h, 1);
    for (size_t k = 0; k < set->count; k++) {
        double g = greedy->g[k];
        greedy->q[k] = fmax(0, greedy->q[k] - c * g * g);
        greedy->r[k] = fmax(0, greedy->r[k] + c * c * r * g * g - 2 * c * g * greedy->h[k]);
    }
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            double product = greedy->u[i] * greedy->u[j];
            double cross = greedy->u[i] * greedy->v[j] + greedy->v[i] * greedy->u[j];
            greedy->inverse[i * d + j] -= c * product;
            greedy->square[i * d + j] += c * c * r * product - c * cross;
        }
    greedy->taken[pick] = 1;
}

static enum sel_status run_greedy(const struct sel_set *set, const struct sel_rule *rule,
                                  struct sel_selection *selection)
{
    struct greedy greedy = greedy_of(set, rule);
    greedy_open(&greedy);
    while (selection->count < selection->budget && selection->count < set->count) {
        size_t best = greedy_best(&greedy);
        if (best == set->count)
            break;
        selection->propensity[selection->count] = 1;
        selection->chosen[selection->count++] = best;
        greedy_take(&greedy, best);
    }
    return SEL_OK;
}

/* ---- checks ---- */

static bool are_finite(const double *values, size_t count)
{
    double sum = 0;
    for (size_t k = 0; values != NULL && k < count; k++)
        sum += 0 * values[k];
    return sum == 0;
}

static bool fits(const struct sel_set *set, const struct sel_set *largest)
{
    return set->count > 0 && set->count <= largest->count && set->d == largest->d &&
           set->groups <= largest->groups && set->draw_count <= largest->draw_count &&
           set->context_d <= largest->context_d && set->past_count <= largest->past_count;
}

static bool exceeds(const struct sel_select *select, size_t budget)
{
    size_t most = select->options.rule->budget_max;
    return most > 0 && budget > most;
}

static enum sel_status check_set(const struct sel_select *select, const struct sel_set *set,
                                 const struct sel_selection *selection)
{
    if (!fits(set, &select->options.largest) || selection->budget == 0 ||
        selection->budget > select->options.budget_max || exceeds(select, selection->budget))
        return SEL_INVALID;
    if (set->x == NULL || set->weight == NULL || set->margin == NULL || set->inverse == NULL ||
        set->policy == NULL || set->sigma == NULL)
        return SEL_MISSING;
    if ((select->options.rule->needs & SEL_NEEDS(SEL_DRAWS)) != 0 &&
        (set->draws == NULL || set->draw_count == 0))
        return SEL_MISSING;
    for (size_t k = 0; k < set->count; k++)
        if (!(set->weight[k] >= 0) || (set->group != NULL && set->group[k] >= set->groups))
            return SEL_INVALID;
    bool finite = are_finite(set->x, set->count * set->d) && are_finite(set->weight, set->count) &&
                  are_finite(set->margin, set->count) &&
                  are_finite(set->draws, set->draw_count * set->count) &&
                  are_finite(set->context, set->context_d * set->count) &&
                  are_finite(set->past, set->context_d * set->past_count) &&
                  are_finite(set->inverse, set->d * set->d) &&
                  are_finite(set->policy, set->d * set->d);
    return finite ? SEL_OK : SEL_INVALID;
}

enum sel_status sel_select_run(struct sel_select *select, const struct sel_set *set,
                               struct sel_selection *selection)
{
    selection->count = 0;
    selection->certificate = 0;
    selection->objective = 0;
    enum sel_status status = check_set(select, set, selection);
    if (status != SEL_OK)
        return status;
    struct sel_set own = *set;
    own.parameters = select->parameters;
    own.scratch = select->scratch;
    own.integers = select->integers;
    if (own.context == NULL) {
        own.context = own.x;
        own.context_d = own.d;
    }
    if (is_pair_rule(select->options.rule))
        status = run_greedy(&own, select->options.rule, selection);
    else
        status = select->options.rule->select(&own, selection);
    if (status != SEL_OK && status != SEL_NOT_CONVERGED)
        selection->count = 0;
    return status;
}
