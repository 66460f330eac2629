/* Optimal designs by vertex exchange.
 *
 *   f(p) = tr(I S), S = M^-1, M = Sigma + mass sum_k p_k w_k x_k x_k', V = S I S
 *   -df/dp_k = d_k = mass w_k x_k' V x_k;  f(p) - min f <= max_v d'v - d'p   (f is convex)
 * A step moves weight from the j of smallest d with p_j > 0 to the i of largest d with p_i < cap,
 * as far as f falls: with U = [x_i x_j], C = t diag(mass w_i, -mass w_j), Q = U'SU, R = U'VU and
 * the symmetric B = (Id + C Q)^-1 C, S -= SU B U'S,  V -= VU B U'S + SU B U'V - SU B R B U'S,  f -=
 * tr(B R) f'(t) = -mass w_i T_ii + mass w_j T_jj,  T = (Id + Q C)^-1 R (Id + C Q)^-1 and the root
 * of f' is bracketed and bisected. Multiplicative steps p_k d_k, cut at the cap, come first: fast,
 * but f may rise. Such a step is undone, and those after it are p_k sqrt(d_k), which raise f never
 * without a cap. Then pairs that are all but left are dropped.
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

/* The parts of the scratch. */
struct work {
    const struct sel_design_problem *problem;
    double *p;
    double *inverse; /* S */
    double *square;  /* V */
    double *half;    /* d x d */
    double *block;   /* LINEAR_BLOCK x d */
    double *r;       /* count: x' V x */
    double *s[2];    /* count each: x' S x_i, x' S x_j */
    double *v[2];    /* count each: x' V x_i, x' V x_j */
    double *order;   /* count */
    double *su[2];   /* d each */
    double *vu[2];
    double objective;
    double *part_x; /* what struct part has of the pairs in play: count x d, and count each */
    double *part_weight;
    double *part_p;
    double *part_place;
};

static struct work cut(const struct sel_design_problem *problem, double *p, double *scratch)
{
    size_t count = problem->count;
    size_t d = problem->d;
    struct work work = {.problem = problem, .p = p};
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

static double slope_at(const struct work *work, size_t k)
{
    return work->problem->mass * work->problem->weight[k] * work->r[k];
}

/* S, V, r and f from p. */
static enum sel_status refresh(struct work *work)
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

/* max over the feasible v of d'v, less d'p. */
static double gap_of(const struct work *work)
{
    const struct sel_design_problem *problem = work->problem;
    double here = 0;
    for (size_t k = 0; k < problem->count; k++) {
        work->order[k] = slope_at(work, k);
        here += work->p[k] * work->order[k];
    }
    if (problem->cap < 1)
        sort_ascending(work->order, problem->count);
    double best = 0;
    double left = 1;
    for (size_t k = 0; problem->cap < 1 && left > 0 && k < problem->count; k++) {
        double share = fmin(left, problem->cap);
        best += share * work->order[problem->count - 1 - k];
        left -= share;
    }
    for (size_t k = 0; problem->cap >= 1 && k < problem->count; k++)
        best = fmax(best, work->order[k]);
    return fmax(0, best - here);
}

/* ---- an exchange ---- */

/* B = (Id + C Q)^-1 C for C = diag(c): symmetric 2 x 2, as (11, 12, 22). */
struct middle {
    double b11;
    double b12;
    double b22;
};

static struct middle middle_of(const double c[2], const double q[3])
{
    double determinant = (1 + c[0] * q[0]) * (1 + c[1] * q[2]) - c[0] * c[1] * q[1] * q[1];
    return (struct middle){c[0] * (1 + c[1] * q[2]) / determinant,
                           -c[0] * c[1] * q[1] / determinant,
                           c[1] * (1 + c[0] * q[0]) / determinant};
}

/* f'(t) of moving t from j to i. */
static double slope_along(double t, const double a[2], const double q[3], const double r[3])
{
    double c[2] = {t * a[0], -t * a[1]};
    double determinant = (1 + c[0] * q[0]) * (1 + c[1] * q[2]) - c[0] * c[1] * q[1] * q[1];
    /* Rows of (Id + Q C)^-1. */
    double e11 = (1 + c[1] * q[2]) / determinant;
    double e12 = -c[1] * q[1] / determinant;
    double e21 = -c[0] * q[1] / determinant;
    double e22 = (1 + c[0] * q[0]) / determinant;
    double first = e11 * e11 * r[0] + 2 * e11 * e12 * r[1] + e12 * e12 * r[2];
    double second = e21 * e21 * r[0] + 2 * e21 * e22 * r[1] + e22 * e22 * r[2];
    return a[1] * second - a[0] * first;
}

static double best_length(double most, const double a[2], const double q[3], const double r[3])
{
    double low = 0;
    double high = most;
    if (slope_along(most, a, q, r) <= 0)
        return most;
    for (int k = 0; k < 100 && high - low > 1e-15 * most; k++) {
        double t = (low + high) / 2;
        if (slope_along(t, a, q, r) <= 0)
            low = t;
        else
            high = t;
    }
    return low;
}

static void apply_exchange(struct work *work, struct middle b, const double r[3])
{
    size_t d = work->problem->d;
    /* B R B */
    double left11 = b.b11 * r[0] + b.b12 * r[1];
    double left12 = b.b11 * r[1] + b.b12 * r[2];
    double left21 = b.b12 * r[0] + b.b22 * r[1];
    double left22 = b.b12 * r[1] + b.b22 * r[2];
    struct middle w = {left11 * b.b11 + left12 * b.b12, left11 * b.b12 + left12 * b.b22,
                       left21 * b.b12 + left22 * b.b22};
    for (size_t k = 0; k < work->problem->count; k++) {
        double s0 = work->s[0][k];
        double s1 = work->s[1][k];
        double v0 = work->v[0][k];
        double v1 = work->v[1][k];
        double cross = v0 * (b.b11 * s0 + b.b12 * s1) + v1 * (b.b12 * s0 + b.b22 * s1);
        double square = s0 * (w.b11 * s0 + w.b12 * s1) + s1 * (w.b12 * s0 + w.b22 * s1);
        work->r[k] = fmax(0, work->r[k] - 2 * cross + square);
    }
    for (size_t row = 0; row < d; row++) {
        double s0 = work->su[0][row];
        double s1 = work->su[1][row];
        double bs0 = b.b11 * s0 + b.b12 * s1;
        double bs1 = b.b12 * s0 + b.b22 * s1;
        double bv0 = b.b11 * work->vu[0][row] + b.b12 * work->vu[1][row];
        double bv1 = b.b12 * work->vu[0][row] + b.b22 * work->vu[1][row];
        double ws0 = w.b11 * s0 + w.b12 * s1 - bv0;
        double ws1 = w.b12 * s0 + w.b22 * s1 - bv1;
        for (size_t k = 0; k < d; k++) {
            work->inverse[row * d + k] -= bs0 * work->su[0][k] + bs1 * work->su[1][k];
            work->square[row * d + k] += ws0 * work->su[0][k] + ws1 * work->su[1][k] -
                                         bs0 * work->vu[0][k] - bs1 * work->vu[1][k];
        }
    }
    work->objective -= b.b11 * r[0] + 2 * b.b12 * r[1] + b.b22 * r[2];
}

/* Moves weight from j to i; false when f does not fall. */
static bool exchange(struct work *work, size_t i, size_t j)
{
    const struct sel_design_problem *problem = work->problem;
    size_t d = problem->d;
    const double *x[2] = {problem->x + i * d, problem->x + j * d};
    for (int k = 0; k < 2; k++) {
        linear_apply(work->inverse, d, x[k], work->su[k]);
        linear_apply(work->square, d, x[k], work->vu[k]);
    }
    double q[3] = {linear_dot(x[0], work->su[0], d), linear_dot(x[0], work->su[1], d),
                   linear_dot(x[1], work->su[1], d)};
    double r[3] = {linear_dot(x[0], work->vu[0], d), linear_dot(x[0], work->vu[1], d),
                   linear_dot(x[1], work->vu[1], d)};
    double a[2] = {problem->mass * problem->weight[i], problem->mass * problem->weight[j]};
    double most = fmin(problem->cap - work->p[i], work->p[j]);
    double t = best_length(most, a, q, r);
    if (!(t > 0))
        return false;
    blasint rows = (blasint)problem->count;
    for (int k = 0; k < 2; k++) {
        cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, (blasint)d, 1, problem->x, (blasint)d,
                    work->su[k], 1, 0, work->s[k], 1);
        cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, (blasint)d, 1, problem->x, (blasint)d,
                    work->vu[k], 1, 0, work->v[k], 1);
    }
    double c[2] = {t * a[0], -t * a[1]};
    apply_exchange(work, middle_of(c, q), r);
    double room = problem->cap - work->p[i];
    work->p[i] = t >= room ? problem->cap : work->p[i] + t;
    work->p[j] = t >= work->p[j] ? 0 : work->p[j] - t;
    return true;
}

/* The largest d with room above and the smallest with weight to give. */
static bool find_exchange(const struct work *work, size_t *i, size_t *j)
{
    double high = -INFINITY;
    double low = INFINITY;
    for (size_t k = 0; k < work->problem->count; k++) {
        double slope = slope_at(work, k);
        if (work->p[k] < work->problem->cap && slope > high) {
            high = slope;
            *i = k;
        }
        if (work->p[k] > 0 && slope < low) {
            low = slope;
            *j = k;
        }
    }
    return high > low && *i != *j;
}

/* ---- solving ---- */

/* Scales p, nowhere above the cap, to the sum 1; false when there is too little of it. */
static bool spread(double *p, size_t count, double cap)
{
    for (;;) {
        double full = 0;
        double sum = 0;
        for (size_t k = 0; k < count; k++) {
            full += p[k] >= cap ? cap : 0;
            sum += p[k] >= cap ? 0 : p[k];
        }
        if (!(sum > 0))
            return fabs(full - 1) <= 1e-12;
        double factor = (1 - full) / sum;
        bool more = false;
        for (size_t k = 0; k < count; k++) {
            p[k] = p[k] >= cap ? cap : factor * p[k];
            more |= p[k] > cap;
        }
        if (!more)
            return true;
    }
}

/* One step p_k d_k^power, or the end of pairs of hardly any weight. When f rises the old p comes
 * back, S and what follows from it do not, and it returns false. */
static bool try_spread(struct work *work, double power, bool drops)
{
    size_t count = work->problem->count;
    double before = work->objective;
    double *old = work->order;
    memcpy(old, work->p, count * sizeof *old);
    for (size_t k = 0; k < count; k++) {
        if (!drops)
            work->p[k] *= pow(slope_at(work, k), power);
        else if (work->p[k] < 1e-4 / (double)count)
            work->p[k] = 0;
    }
    double sum = 0;
    for (size_t k = 0; k < count; k++)
        sum += work->p[k];
    for (size_t k = 0; k < count; k++)
        work->p[k] /= sum;
    double *saved = work->part_p;
    memcpy(saved, old, count * sizeof *saved);
    if (sum > 0 && spread(work->p, count, work->problem->cap) && refresh(work) == SEL_OK &&
        (drops || work->objective <= before))
        return true;
    memcpy(work->p, saved, count * sizeof *saved);
    return false;
}

static enum sel_status multiply(struct work *work)
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
    struct work work;
};

static double entering_slope(const struct work *work, size_t most)
{
    double low = 0;
    double high = 0;
    for (size_t k = 0; k < work->problem->count; k++) {
        low += work->p[k] * slope_at(work, k);
        high = fmax(high, slope_at(work, k));
    }
    for (int step = 0; step < 12; step++) {
        double bar = (low + high) / 2;
        size_t above = 0;
        for (size_t k = 0; k < work->problem->count; k++)
            above += work->p[k] <= 0 && slope_at(work, k) >= bar;
        if (above > most)
            low = bar;
        else
            high = bar;
    }
    return high;
}

static void part_open(struct part *part, struct work *whole)
{
    size_t d = whole->problem->d;
    size_t held = 0;
    for (size_t k = 0; k < whole->problem->count; k++)
        held += whole->p[k] > 0;
    double bar = entering_slope(whole, PART_LEAST + held / 2);
    part->problem = *whole->problem;
    part->work = *whole;
    size_t count = 0;
    for (size_t k = 0; k < whole->problem->count; k++) {
        if (!(whole->p[k] > 0) && slope_at(whole, k) < bar)
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
}

/* Exchanges until the gap within the part is at most `target`, or nothing moves. */
static enum sel_status improve(struct work *work, double target, int iterations_max,
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
        moved = find_exchange(work, &i, &j) && exchange(work, i, j);
        *iterations += moved;
        fresh = fresh && !moved;
    }
}

/* From a p whose S, V and d are fresh. */
static enum sel_status descend(struct work *work, double tolerance, int iterations_max,
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

static bool is_valid(const struct sel_design_problem *problem)
{
    if (problem->count == 0 || problem->d == 0 || !(problem->mass > 0) ||
        !isfinite(problem->mass) || !(problem->cap * (double)problem->count >= 1 - 1e-12))
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
    if (!is_valid(problem) || !(tolerance >= 0))
        return SEL_INVALID;
    struct work work = cut(problem, p, scratch);
    for (size_t k = 0; k < problem->count; k++)
        p[k] = 1 / (double)problem->count;
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
    if (problem->count > design->count_max || problem->d != design->d || !is_valid(problem))
        return SEL_INVALID;
    double sum = 0;
    for (size_t k = 0; k < problem->count; k++) {
        if (!(p[k] >= 0 && p[k] <= problem->cap * (1 + 1e-12)))
            return SEL_INVALID;
        sum += p[k];
    }
    if (!(fabs(sum - 1) <= 1e-9))
        return SEL_INVALID;
    struct work work = cut(problem, (double *)(uintptr_t)p, design->scratch); /* only read */
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
