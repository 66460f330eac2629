/* Optimal designs by vertex exchange.
 *
 *   f(p) = tr(I S), S = M^-1, M = Sigma + mass sum_k p_k w_k x_k x_k', V = S I S
 *   -df/dp_k = d_k = mass w_k x_k' V x_k;  f(p) - min f <= max_v d'v - d'p   (f is convex)
 * Exchanges (design_exchange.c) move weight from one pair to another. Multiplicative steps p_k d_k,
 * cut at the cap, come first: fast, but f may rise. Such a step is undone, and those after it are
 * p_k sqrt(d_k), which raise f never without a cap. Then pairs that are all but left are dropped.
 *
 * With groups an exchange stays within one, that of the largest d_i - d_j, and the v and the
 * scaling of the multiplicative steps are each group's own.
 *
 * Exchanges are made within a part of the pairs, those of weight and the largest d of the others,
 * until its gap is a quarter of the whole gap or half of what is asked for; then the whole is
 * looked at and the part is chosen anew.
 *
 * Invariants: p is feasible after every step, f never rises but by rounding, and by what is
 * dropped; S, V, d and f are found anew every REFRESH_EVERY exchanges and, over all pairs, before
 * the gap that is reported. Cost: a refresh N d^2 + d^3, an exchange O(part d + d^2). */
#include "selectors/design_work.h"

#include "selectors/linear.h"
#include "selectors/sort.h"

#include <stdlib.h>
#include <string.h>

static const int REFRESH_EVERY = 64;
static const int MULTIPLICATIVE_STEPS = 40;
enum { PART_LEAST = 64 };

size_t design_room(size_t count, size_t d)
{
    return 3 * d * d + (LINEAR_BLOCK + count) * d + 9 * count + 4 * d;
}

static struct design_work cut(const struct sel_design_problem *problem, double *p, double *scratch)
{
    size_t count = problem->count;
    size_t d = problem->d;
    struct design_work work = {.problem = problem, .p = p};
    work.inverse = scratch;
    work.square = work.inverse + d * d;
    work.half = work.square + d * d;
    work.block = work.half + d * d;
    work.r = work.block + LINEAR_BLOCK * d;
    for (int k = 0; k < 2; k++) {
        work.s[k] = work.r + (size_t)(1 + k) * count;
        work.v[k] = work.r + (size_t)(3 + k) * count;
        work.su[k] = work.r + 6 * count + (size_t)k * d;
        work.vu[k] = work.r + 6 * count + (size_t)(2 + k) * d;
    }
    work.order = work.r + 5 * count;
    work.part_x = work.r + 6 * count + 4 * d;
    work.part_weight = work.part_x + count * d;
    work.part_p = work.part_weight + count;
    work.part_place = work.part_p + count;
    return work;
}

/* S, V, r and f from p. */
static enum sel_status refresh(struct design_work *work)
{
    const struct sel_design_problem *problem = work->problem;
    size_t d = problem->d;
    blasint n = (blasint)d;
    if (problem->sigma != NULL)
        memcpy(work->inverse, problem->sigma, d * d * sizeof(double));
    else
        memset(work->inverse, 0, d * d * sizeof(double));
    size_t rows = 0;
    for (size_t k = 0; k < problem->count; k++) {
        double root = sqrt(problem->mass * work->p[k] * problem->weight[k]);
        for (size_t l = 0; root > 0 && l < d; l++)
            work->block[rows * d + l] = root * problem->x[k * d + l];
        rows += root > 0;
        if (rows < LINEAR_BLOCK && k + 1 < problem->count)
            continue;
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, n, (blasint)rows, 1, work->block, n, 1,
                    work->inverse, n);
        rows = 0;
    }
    if (!linear_factor(work->inverse, d) || !linear_invert(work->inverse, d))
        return SEL_SINGULAR;
    linear_mirror(work->inverse, d);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, work->inverse, n,
                problem->policy, n, 0, work->half, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, work->half, n, work->inverse,
                n, 0, work->square, n);
    linear_mirror(work->square, d);
    linear_forms(work->square, d, problem->x, problem->count, work->block, work->r);
    work->objective = 0;
    for (size_t k = 0; k < d; k++)
        work->objective += work->half[k * d + k];
    return isfinite(work->objective) ? SEL_OK : SEL_SINGULAR;
}

/* max over the feasible v of d'v within one group, which the cap binds. */
static double best_of_capped(const struct design_work *work, size_t group)
{
    const struct sel_design_problem *problem = work->problem;
    size_t size = 0;
    for (size_t k = 0; k < problem->count; k++)
        if (design_group_of(work, k) == group)
            work->order[size++] = design_slope_at(work, k);
    sort_ascending(work->order, size);
    double best = 0;
    double left = design_share_of(problem);
    for (; left > 0 && size > 0; size--) {
        double share = fmin(left, problem->cap);
        best += share * work->order[size - 1];
        left -= share;
    }
    return best;
}

/* max over the feasible v of d'v, less d'p. */
static double gap_of(const struct design_work *work)
{
    const struct sel_design_problem *problem = work->problem;
    size_t groups = design_groups_of(problem);
    double *highest = work->order;
    double here = 0;
    double best = 0;
    for (size_t g = 0; g < groups; g++)
        highest[g] = 0;
    for (size_t k = 0; k < problem->count; k++) {
        double slope = design_slope_at(work, k);
        size_t group = design_group_of(work, k);
        here += work->p[k] * slope;
        highest[group] = fmax(highest[group], slope);
    }
    for (size_t g = 0; g < groups && problem->cap >= design_share_of(problem); g++)
        best += highest[g] * design_share_of(problem);
    for (size_t g = 0; g < groups && problem->cap < design_share_of(problem); g++)
        best += best_of_capped(work, g);
    return fmax(0, best - here);
}

/* ---- solving ---- */

/* Scales p to the sum of each group, nowhere above the cap; false when there is too little of it.
 */
static bool spread(struct design_work *work)
{
    size_t count = work->problem->count;
    size_t groups = design_groups_of(work->problem);
    double cap = INFINITY; /* at first, for p may be of any size */
    double *full = work->s[0];
    double *sum = work->s[1];
    double *p = work->p;
    for (bool more = true; more; cap = work->problem->cap) {
        memset(full, 0, groups * sizeof *full);
        memset(sum, 0, groups * sizeof *sum);
        for (size_t k = 0; k < count; k++)
            *(p[k] >= cap ? full + design_group_of(work, k) : sum + design_group_of(work, k)) +=
                p[k];
        for (size_t g = 0; g < groups; g++) {
            double left = design_share_of(work->problem) - full[g];
            if (!(sum[g] > 0) && !(fabs(left) <= 1e-12))
                return false;
            sum[g] = sum[g] > 0 ? left / sum[g] : 0;
        }
        more = false;
        for (size_t k = 0; k < count; k++) {
            if (p[k] < cap)
                p[k] *= sum[design_group_of(work, k)];
            if (p[k] > work->problem->cap) {
                p[k] = work->problem->cap;
                more = true;
            }
        }
    }
    return true;
}

/* One step p_k d_k^power, or the end of pairs of hardly any weight. When f rises the old p comes
 * back, S and what follows from it do not, and it returns false. */
static bool try_spread(struct design_work *work, double power, bool drops)
{
    size_t count = work->problem->count;
    double before = work->objective;
    double *saved = work->part_p;
    memcpy(saved, work->p, count * sizeof *saved);
    for (size_t k = 0; k < count; k++) {
        if (!drops)
            work->p[k] *= pow(design_slope_at(work, k), power);
        else if (work->p[k] < 1e-4 / (double)count)
            work->p[k] = 0;
    }
    if (spread(work) && refresh(work) == SEL_OK && (drops || work->objective <= before))
        return true;
    memcpy(work->p, saved, count * sizeof *saved);
    return false;
}

static enum sel_status multiply(struct design_work *work)
{
    double power = 1;
    for (int step = 0; step < MULTIPLICATIVE_STEPS; step++) {
        if (try_spread(work, power, false))
            continue;
        enum sel_status status = refresh(work);
        if (status != SEL_OK || power < 1)
            return status;
        power = .5;
    }
    return try_spread(work, 0, true) ? SEL_OK : refresh(work);
}

/* The pairs of weight and those of the largest d, as a problem of their own. */
struct part {
    struct sel_design_problem problem;
    struct design_work work;
};

/* By how much d_k is above the mean of its group, which `level` has. */
static double excess_of(const struct design_work *work, const double *level, size_t k)
{
    return design_slope_at(work, k) - level[design_group_of(work, k)];
}

static void find_levels(const struct design_work *work, double *level)
{
    memset(level, 0, design_groups_of(work->problem) * sizeof *level);
    for (size_t k = 0; k < work->problem->count; k++)
        level[design_group_of(work, k)] +=
            work->p[k] * design_slope_at(work, k) / design_share_of(work->problem);
}

/* An excess that at most `most` pairs without weight reach. */
static double entering_excess(const struct design_work *work, const double *level, size_t most)
{
    double low = 0;
    double high = 0;
    for (size_t k = 0; k < work->problem->count; k++)
        high = fmax(high, excess_of(work, level, k));
    for (int step = 0; step < 12; step++) {
        double bar = (low + high) / 2;
        size_t above = 0;
        for (size_t k = 0; k < work->problem->count; k++)
            above += work->p[k] <= 0 && excess_of(work, level, k) >= bar;
        if (above > most)
            low = bar;
        else
            high = bar;
    }
    return high;
}

static void part_open(struct part *part, struct design_work *whole)
{
    size_t d = whole->problem->d;
    size_t held = 0;
    for (size_t k = 0; k < whole->problem->count; k++)
        held += whole->p[k] > 0;
    double *level = whole->order;
    find_levels(whole, level);
    double bar = entering_excess(whole, level, PART_LEAST + held / 2);
    part->problem = *whole->problem;
    part->work = *whole;
    size_t count = 0;
    for (size_t k = 0; k < whole->problem->count; k++) {
        if (!(whole->p[k] > 0) && excess_of(whole, level, k) < bar)
            continue;
        memcpy(whole->part_x + count * d, whole->problem->x + k * d, d * sizeof(double));
        whole->part_weight[count] = whole->problem->weight[k];
        whole->part_p[count] = whole->p[k];
        whole->part_place[count] = (double)k;
        part->work.r[count++] = whole->r[k]; /* in the same place or before it */
    }
    part->problem.count = count;
    part->problem.x = whole->part_x;
    part->problem.weight = whole->part_weight;
    part->work.problem = &part->problem;
    part->work.p = whole->part_p;
    part->work.place = whole->part_place;
}

/* Exchanges until the gap within the part is at most `target`, or nothing moves. */
static enum sel_status improve(struct design_work *work, double target, int iterations_max,
                               int *iterations)
{
    bool fresh = true;
    bool moved = true;
    for (int step = 0;; step++) {
        bool last = *iterations >= iterations_max || !moved;
        if (!fresh && (last || step % REFRESH_EVERY == 0)) {
            enum sel_status status = refresh(work);
            if (status != SEL_OK)
                return status;
            fresh = true;
        }
        if (last || (fresh && gap_of(work) <= target))
            return SEL_OK;
        size_t i = 0;
        size_t j = 0;
        moved = design_find_exchange(work, &i, &j) && design_exchange(work, i, j);
        *iterations += moved;
        fresh = fresh && !moved;
    }
}

/* From a p whose S, V and d are fresh. */
static enum sel_status descend(struct design_work *work, double tolerance, int iterations_max,
                               struct sel_design_result *result)
{
    for (int before = -1;;) {
        result->objective = work->objective;
        result->gap = gap_of(work);
        if (result->gap <= tolerance * work->objective || result->iterations >= iterations_max ||
            result->iterations == before)
            return SEL_OK;
        before = result->iterations;
        struct part part;
        part_open(&part, work);
        double target = fmax(tolerance * work->objective / 2, result->gap / 4);
        enum sel_status status = improve(&part.work, target, iterations_max, &result->iterations);
        for (size_t k = 0; k < part.problem.count; k++)
            work->p[(size_t)work->part_place[k]] = work->part_p[k];
        if (status == SEL_OK)
            status = refresh(work);
        if (status != SEL_OK)
            return status;
    }
}

/* Every group has pairs enough for its share. size: room of count. */
static bool groups_are_valid(const struct sel_design_problem *problem, double *size)
{
    if (problem->group == NULL)
        return problem->cap * (double)problem->count >= 1 - 1e-12;
    if (problem->groups == 0 || problem->groups > problem->count)
        return false;
    memset(size, 0, problem->groups * sizeof *size);
    for (size_t k = 0; k < problem->count; k++) {
        if (problem->group[k] >= problem->groups)
            return false;
        size[problem->group[k]]++;
    }
    for (size_t g = 0; g < problem->groups; g++)
        if (!(size[g] > 0 && problem->cap * size[g] >= design_share_of(problem) * (1 - 1e-12)))
            return false;
    return true;
}

/* Leaves the sizes of the groups in `size`, room of count. */
static bool is_valid(const struct sel_design_problem *problem, double *size)
{
    if (problem->count == 0 || problem->d == 0 || !(problem->mass > 0) ||
        !isfinite(problem->mass) || !(problem->cap > 0) || !groups_are_valid(problem, size))
        return false;
    for (size_t k = 0; k < problem->count; k++)
        if (!(problem->weight[k] >= 0) || !isfinite(problem->weight[k]))
            return false;
    double sum = 0;
    for (size_t k = 0; k < problem->count * problem->d; k++)
        sum += 0 * problem->x[k];
    return sum == 0;
}

enum sel_status design_solve(const struct sel_design_problem *problem, double tolerance,
                             int iterations_max, double *p, struct sel_design_result *result,
                             double *scratch)
{
    *result = (struct sel_design_result){0};
    struct design_work work = cut(problem, p, scratch);
    if (!is_valid(problem, work.order) || !(tolerance >= 0))
        return SEL_INVALID;
    for (size_t k = 0; k < problem->count; k++)
        p[k] = problem->group == NULL ? 1 / (double)problem->count
                                      : design_share_of(problem) / work.order[problem->group[k]];
    enum sel_status status = refresh(&work);
    if (status == SEL_OK && problem->count > 1)
        status = multiply(&work);
    if (status == SEL_OK)
        status = descend(&work, tolerance, iterations_max, result);
    if (status != SEL_OK)
        return status;
    return result->gap <= tolerance * result->objective ? SEL_OK : SEL_NOT_CONVERGED;
}

/* ---- the public functions ---- */

struct sel_design {
    size_t count_max;
    size_t d;
    double *scratch;
};

struct sel_design *sel_design_new(size_t count_max, size_t d)
{
    const size_t most = (size_t)1 << 28;
    if (count_max == 0 || d == 0 || d > 32768 || count_max > most / d)
        return NULL;
    struct sel_design *design = calloc(1, sizeof *design);
    if (design == NULL)
        return NULL;
    *design = (struct sel_design){.count_max = count_max, .d = d};
    design->scratch = malloc(design_room(count_max, d) * sizeof(double));
    if (design->scratch == NULL) {
        free(design);
        return NULL;
    }
    return design;
}

void sel_design_free(struct sel_design *design)
{
    if (design == NULL)
        return;
    free(design->scratch);
    free(design);
}

enum sel_status sel_design_solve(struct sel_design *design,
                                 const struct sel_design_problem *problem, double tolerance,
                                 int iterations_max, double *p, struct sel_design_result *result)
{
    if (problem->count > design->count_max || problem->d != design->d)
        return SEL_INVALID;
    return design_solve(problem, tolerance, iterations_max, p, result, design->scratch);
}

enum sel_status sel_design_evaluate(struct sel_design *design,
                                    const struct sel_design_problem *problem, const double *p,
                                    struct sel_design_result *result)
{
    *result = (struct sel_design_result){0};
    if (problem->count > design->count_max || problem->d != design->d)
        return SEL_INVALID;
    struct design_work work = cut(problem, (double *)(uintptr_t)p, design->scratch); /* only read */
    if (!is_valid(problem, work.order))
        return SEL_INVALID;
    double *sum = work.order;
    memset(sum, 0, design_groups_of(problem) * sizeof *sum);
    for (size_t k = 0; k < problem->count; k++) {
        if (!(p[k] >= 0 && p[k] <= problem->cap * (1 + 1e-12)))
            return SEL_INVALID;
        sum[design_group_of(&work, k)] += p[k];
    }
    for (size_t g = 0; g < design_groups_of(problem); g++)
        if (!(fabs(sum[g] - design_share_of(problem)) <= 1e-9))
            return SEL_INVALID;
    enum sel_status status = refresh(&work);
    if (status != SEL_OK)
        return status;
    result->objective = work.objective;
    result->gap = gap_of(&work);
    return SEL_OK;
}

enum sel_status sel_certify(struct sel_design *design, const struct sel_design_problem *problem,
                            const size_t *chosen, size_t chosen_count, double tolerance, double *p,
                            struct sel_certificate *certificate)
{
    if (chosen_count == 0 || chosen_count > problem->count)
        return SEL_INVALID;
    struct sel_design_problem whole = *problem;
    struct sel_design_result result;
    whole.mass = (double)chosen_count;
    whole.cap = 1 / (double)chosen_count;
    whole.group = NULL;
    whole.groups = 0;
    for (size_t k = 0; k < problem->count; k++)
        p[k] = 0;
    for (size_t k = 0; k < chosen_count; k++) {
        if (chosen[k] >= problem->count || p[chosen[k]] > 0)
            return SEL_INVALID;
        p[chosen[k]] = whole.cap;
    }
    enum sel_status status = sel_design_evaluate(design, &whole, p, &result);
    if (status != SEL_OK)
        return status;
    certificate->objective = result.objective;
    double bound = result.objective - result.gap; /* the chosen pairs' own certificate */
    status = sel_design_solve(design, &whole, tolerance, 100 * (int)problem->count, p, &result);
    if (status != SEL_OK && status != SEL_NOT_CONVERGED)
        return status;
    certificate->optimum = fmin(result.objective, certificate->objective);
    certificate->bound = fmax(0, fmax(bound, result.objective - result.gap));
    certificate->efficiency = certificate->optimum / certificate->objective;
    certificate->efficiency_least = certificate->bound / certificate->objective;
    return SEL_OK;
}

size_t sel_sample_systematic(const double *inclusion, size_t count, double u, size_t *chosen)
{
    double total = 0;
    size_t last = 0;
    for (size_t k = 0; k < count; k++)
        if (inclusion[k] > 0) {
            total += inclusion[k];
            last = k;
        }
    /* A total that rounding left beside a whole number is that number. */
    bool whole = fabs(total - round(total)) < 1e-9 * (1 + total);
    double most = whole ? round(total) : total;
    double sum = 0;
    size_t taken = 0;
    for (size_t k = 0; k < count; k++) {
        if (!(inclusion[k] > 0))
            continue;
        sum = whole && k == last ? most : sum + inclusion[k];
        if (u + (double)taken < fmin(sum, most))
            chosen[taken++] = k;
    }
    return taken;
}
