/* Greedy choice from a list by a rule whose scores only fall (trait SEL_SHRINKING): an old score is
 * a bound of the new one, so that most candidates need not be looked at after a pick.
 *
 * Every candidate has a bound b_k >= q_k. It is found in float32, for the row y_k = x_k / |x_k| of
 * norm 1 and u / |u| of each pick, and holds whatever the rounding. A sum of d products, in any
 * order and with factors rounded once or twice, errs by at most e = (d + 8) 2^-24 times the product
 * of the norms of its factors, so
 *   at first    q = |L' x|^2, S = L L', T = |L|_F^2:
 *               b = T |x|^2 (|y' L / sqrt T| (1 + e) + e)^2
 *   after takes b -= c |x|^2 |u|^2 max(0, |y' u / |u|| - e)^2, for all takes that were missed
 * The candidates of highest bounds, all of them up to date, are the list (greedy.c): exact in
 * double after every pick. As long as the best of them is above all bounds off the list, it is the
 * pick of the plain greedy choice. Then the list is filled anew: bounds from the highest on are
 * brought up to date until those of the list are.
 *
 * When bounds are too wide to tell (the q have become small beside what they were), they are found
 * afresh from S; where that does not help either, for instance when more candidates tie than a list
 * holds, greedy_run goes on with full passes. Cost: N d^2 at first and, at the rate of float32
 * matrix products, at most 2 N d a pick; O(list d + d^2) when nothing is missed. */
#include "selectors/greedy.h"
#include "selectors/linear.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes between two fresh starts of the bounds. */
enum { TAKES_MAX = 256 };
static const double SLACK = 1e-11; /* far above the rounding of exact q, far below e */

struct lazy {
    struct greedy *greedy;
    float *unit;             /* count x d: y */
    double *norm2;           /* of each candidate: |x|^2 */
    double *bound;           /* b */
    double *upper;           /* the score at b; NAN: taken */
    size_t *epoch;           /* takes that b knows of */
    size_t *stale;           /* count: room */
    size_t *places;          /* count: room */
    float *rows;             /* LINEAR_BLOCK x d */
    float *product;          /* LINEAR_BLOCK x max(d, TAKES_MAX) */
    float *factor;           /* d x d: L / sqrt T */
    double *wide;            /* d x d or list x d */
    float *takes;            /* TAKES_MAX x d: u / |u| */
    float length[TAKES_MAX]; /* c |u|^2 / T, at most 1 */
    size_t taken;            /* since the bounds were found afresh */
    double trace;            /* T at that time */
    double error;            /* e */
};

/* Doubles that hold so many floats. */
static size_t halved(size_t floats)
{
    return floats / 2 + 1;
}

static size_t product_width(size_t d)
{
    return d > TAKES_MAX ? d : TAKES_MAX;
}

static size_t wide_rows(size_t count, size_t d)
{
    return greedy_list_most(count) > d ? greedy_list_most(count) : d;
}

size_t lazy_room(const struct sel_set *largest)
{
    size_t count = largest->count;
    size_t d = largest->d;
    return greedy_room(largest) + halved(count * d) + 3 * count + halved(LINEAR_BLOCK * d) +
           halved(LINEAR_BLOCK * product_width(d)) + halved(d * d) + wide_rows(count, d) * d +
           halved(TAKES_MAX * d);
}

static float *cut_floats(double **rest, size_t floats)
{
    float *room = (float *)(void *)*rest;
    *rest += halved(floats);
    return room;
}

static struct lazy lazy_of(struct greedy *greedy)
{
    const struct sel_set *set = greedy->set;
    size_t count = set->count;
    size_t d = set->d;
    double *rest = greedy->rest;
    struct lazy lazy = {.greedy = greedy, .error = (double)(d + 8) * 0x1p-24};
    lazy.unit = cut_floats(&rest, count * d);
    lazy.rows = cut_floats(&rest, LINEAR_BLOCK * d);
    lazy.product = cut_floats(&rest, LINEAR_BLOCK * product_width(d));
    lazy.factor = cut_floats(&rest, d * d);
    lazy.takes = cut_floats(&rest, TAKES_MAX * d);
    lazy.norm2 = rest;
    lazy.bound = lazy.norm2 + count;
    lazy.upper = lazy.bound + count;
    lazy.wide = lazy.upper + count;
    lazy.epoch = set->integers + count + 1; /* the list's places come first */
    lazy.stale = lazy.epoch + count;
    lazy.places = lazy.stale + count;
    return lazy;
}

/* ---- the rows in float32 ---- */

typedef double lanes __attribute__((vector_size(8 * sizeof(double))));
typedef float narrow_lanes __attribute__((vector_size(8 * sizeof(float))));
typedef int32_t integer_lanes __attribute__((vector_size(8 * sizeof(int32_t))));

static double square_norm(const double *x, size_t d)
{
    lanes sums = {0};
    double sum = 0;
    size_t k = 0;
    for (; k + 8 <= d; k += 8) {
        lanes next;
        memcpy(&next, x + k, sizeof next);
        sums += next * next;
    }
    for (; k < d; k++)
        sum += x[k] * x[k];
    for (k = 0; k < 8; k++)
        sum += sums[k];
    return sum;
}

static double narrow_square_norm(const float *y, size_t d)
{
    narrow_lanes sums = {0};
    float sum = 0;
    size_t k = 0;
    for (; k + 8 <= d; k += 8) {
        narrow_lanes next;
        memcpy(&next, y + k, sizeof next);
        sums += next * next;
    }
    for (; k < d; k++)
        sum += y[k] * y[k];
    for (k = 0; k < 8; k++)
        sum += sums[k];
    return (double)sum;
}

static void narrow(const double *x, double scale, float *y, size_t d)
{
    size_t k = 0;
    for (; k + 8 <= d; k += 8) {
        lanes next;
        memcpy(&next, x + k, sizeof next);
        narrow_lanes scaled = __builtin_convertvector(next * scale, narrow_lanes);
        memcpy(y + k, &scaled, sizeof scaled);
    }
    for (; k < d; k++)
        y[k] = (float)(x[k] * scale);
}

/* Fills unit and norm2. *within: all |x|^2 are far from the ends of what a double holds. */
static enum sel_status read_rows(struct lazy *lazy, bool *within)
{
    const struct sel_set *set = lazy->greedy->set;
    size_t d = set->d;
    *within = true;
    for (size_t k = 0; k < set->count; k++) {
        const double *x = set->x + k * d;
        double norm2 = square_norm(x, d);
        bool zero = norm2 <= 0;
        if (!(norm2 > 1e-280 && norm2 < 1e280))
            for (size_t l = 0; l < d; l++) {
                if (!isfinite(x[l]))
                    return SEL_INVALID;
                zero = zero && x[l] == 0;
                *within = *within && zero;
            }
        lazy->norm2[k] = norm2;
        narrow(x, zero ? 0 : 1 / sqrt(norm2), lazy->unit + k * d, d);
    }
    return SEL_OK;
}

/* ---- bounds ---- */

static void set_bound(struct lazy *lazy, size_t k, double bound)
{
    lazy->bound[k] = fmax(bound, SLACK * lazy->trace * lazy->norm2[k]);
    lazy->epoch[k] = lazy->taken;
    if (!isnan(lazy->upper[k]))
        lazy->upper[k] = greedy_score(lazy->greedy, k, lazy->bound[k], 0);
}

/* Bounds from the present S. False when it has no factor. */
static bool start_afresh(struct lazy *lazy)
{
    const struct sel_set *set = lazy->greedy->set;
    size_t d = set->d;
    blasint n = (blasint)d;
    greedy_flush(lazy->greedy);
    memcpy(lazy->wide, lazy->greedy->inverse, d * d * sizeof(double));
    if (!linear_factor(lazy->wide, d))
        return false;
    lazy->trace = 0;
    for (size_t i = 0; i < d; i++)
        lazy->trace += square_norm(lazy->wide + i * d, i + 1);
    for (size_t i = 0; i < d; i++)
        narrow(lazy->wide + i * d, 1 / sqrt(lazy->trace), lazy->factor + i * d, i + 1);
    lazy->taken = 0;
    for (size_t from = 0; from < set->count; from += LINEAR_BLOCK) {
        size_t rows = set->count - from < LINEAR_BLOCK ? set->count - from : LINEAR_BLOCK;
        memcpy(lazy->product, lazy->unit + from * d, rows * d * sizeof(float));
        cblas_strmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit,
                    (blasint)rows, n, 1, lazy->factor, n, lazy->product, n);
        for (size_t k = 0; k < rows; k++) {
            double length = sqrt(narrow_square_norm(lazy->product + k * d, d));
            double most = length * (1 + lazy->error) + lazy->error;
            set_bound(lazy, from + k, lazy->trace * lazy->norm2[from + k] * most * most);
        }
    }
    return true;
}

static void sort_by_epoch(struct lazy *lazy, const size_t *places, size_t count)
{
    size_t start[TAKES_MAX + 2] = {0};
    for (size_t k = 0; k < count; k++)
        start[lazy->epoch[places[k]] + 1]++;
    for (size_t e = 0; e < TAKES_MAX; e++)
        start[e + 1] += start[e];
    for (size_t k = 0; k < count; k++)
        if (lazy->epoch[places[k]] < lazy->taken)
            lazy->stale[start[lazy->epoch[places[k]]]++] = places[k];
}

/* The squares and their sum, in units of T |x|^2, were rounded. */
static void lower(struct lazy *lazy, size_t k, float fall)
{
    double sum = (double)fall * (1 - 1e-4);
    set_bound(lazy, k, lazy->bound[k] - lazy->trace * lazy->norm2[k] * sum);
}

/* fall[k] += length max(0, |g[k]| - error)^2 for k < count, and some beyond, up to a multiple of 8.
 */
static void add_squares(const float *g, size_t count, float length, float error, float *fall)
{
    for (size_t k = 0; k < count; k += 8) {
        narrow_lanes size;
        narrow_lanes sum;
        memcpy(&size, g + k, sizeof size);
        memcpy(&sum, fall + k, sizeof sum);
        size = (narrow_lanes)((integer_lanes)size & 0x7fffffff) - error;
        size = (narrow_lanes)((integer_lanes)size & (size > 0));
        sum += length * size * size;
        memcpy(fall + k, &sum, sizeof sum);
    }
}

/* Brings up to 256 bounds past the takes they missed; the oldest come first. */
static void renew_block(struct lazy *lazy, const size_t *places, size_t rows)
{
    size_t d = lazy->greedy->set->d;
    size_t first = lazy->epoch[places[0]];
    size_t steps = lazy->taken - first;
    float fall[LINEAR_BLOCK] = {0};
    for (size_t k = 0; k < rows; k++)
        memcpy(lazy->rows + k * d, lazy->unit + places[k] * d, d * sizeof(float));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)steps, (blasint)rows, (blasint)d,
                1, lazy->takes + first * d, (blasint)d, lazy->rows, (blasint)d, 0, lazy->product,
                LINEAR_BLOCK);
    /* Rows of old epochs come first; from the newest take on, those that knew of it drop out. */
    size_t reached = rows;
    for (size_t step = steps; step-- > 0;) {
        for (; lazy->epoch[places[reached - 1]] > first + step; reached--)
            lower(lazy, places[reached - 1], fall[reached - 1]);
        add_squares(lazy->product + step * LINEAR_BLOCK, reached, lazy->length[first + step],
                    (float)lazy->error, fall);
    }
    for (; reached > 0; reached--)
        lower(lazy, places[reached - 1], fall[reached - 1]);
}

static size_t stale_among(const struct lazy *lazy, size_t found)
{
    size_t stale = 0;
    for (size_t k = 0; k < found; k++)
        stale += lazy->epoch[lazy->places[k]] < lazy->taken;
    return stale;
}

/* Brings the highest bounds up to date until those of the list are. */
static double renew(struct lazy *lazy)
{
    const struct greedy *greedy = lazy->greedy;
    size_t count = greedy->set->count;
    for (size_t batch = 4 * greedy->list.most;; batch *= 4) {
        size_t found = 0;
        double limit = greedy_top(lazy->upper, count, greedy->list.most, lazy->places, &found);
        if (stale_among(lazy, found) == 0)
            return limit;
        /* A second look at so many at once is cheaper than many looks for the highest. */
        greedy_above(lazy->upper, count, batch < count ? batch : count, lazy->places, &found);
        size_t stale = stale_among(lazy, found);
        sort_by_epoch(lazy, lazy->places, found);
        for (size_t k = 0; k < stale; k += LINEAR_BLOCK)
            renew_block(lazy, lazy->stale + k, stale - k < LINEAR_BLOCK ? stale - k : LINEAR_BLOCK);
    }
}

/* ---- the list ---- */

/* What is exact of the list goes back to the candidates. */
static void return_list(struct lazy *lazy)
{
    struct greedy *greedy = lazy->greedy;
    const struct greedy_list *list = &greedy->list;
    for (size_t k = 0; k < list->count; k++) {
        size_t place = list->member[k];
        greedy->q[place] = list->q[k];
        greedy->watched[place] = 1;
        set_bound(lazy, place, list->q[k] + SLACK * lazy->trace * lazy->norm2[place]);
    }
}

/* The list becomes the first `count` places; q of those that were not on it is found from S. */
static void fill_list(struct lazy *lazy, size_t count)
{
    struct greedy *greedy = lazy->greedy;
    struct greedy_list *list = &greedy->list;
    size_t d = greedy->set->d;
    blasint n = (blasint)d;
    size_t known = 0;
    list->count = count;
    for (int watched = 1; watched >= 0; watched--)
        for (size_t k = 0; k < count; k++)
            if ((greedy->watched[lazy->places[k]] > 0) == (watched > 0))
                list->member[known++] = lazy->places[k];
    known = 0;
    while (known < count && greedy->watched[list->member[known]] > 0)
        known++;
    for (size_t k = 0; k < count; k++)
        memcpy(list->x + k * d, greedy->set->x + list->member[k] * d, d * sizeof(double));
    if (known < count)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)(count - known), n, n, 1,
                    list->x + known * d, n, greedy->inverse, n, 0, lazy->wide, n);
    for (size_t k = 0; k < count; k++) {
        const double *product = lazy->wide + (k - known) * d;
        list->q[k] = k < known ? greedy->q[list->member[k]]
                               : fmax(0, linear_dot(product, list->x + k * d, d));
        list->r[k] = 0;
        list->score[k] = greedy_score(greedy, list->member[k], list->q[k], 0);
    }
    memset(greedy->watched, 0, greedy->set->count * sizeof(double));
}

/* Returns what no candidate off the list is above. */
static double refill(struct lazy *lazy)
{
    greedy_flush(lazy->greedy);
    return_list(lazy);
    double limit = renew(lazy);

    size_t found = 0;
    greedy_top(lazy->upper, lazy->greedy->set->count, lazy->greedy->list.most, lazy->places,
               &found);
    fill_list(lazy, found);
    return limit;
}

/* ---- the run ---- */

static void take(struct lazy *lazy, size_t member, struct sel_selection *selection)
{
    struct greedy *greedy = lazy->greedy;
    size_t d = greedy->set->d;
    size_t place = greedy->list.member[member];
    selection->propensity[selection->count] = 1;
    selection->chosen[selection->count++] = place;
    greedy_take(greedy, member);
    const double *u = greedy->u + (greedy->logged - 1) * d;
    double norm2 = square_norm(u, d);
    narrow(u, norm2 > 0 ? 1 / sqrt(norm2) : 0, lazy->takes + lazy->taken * d, d);
    lazy->length[lazy->taken++] = (float)(greedy->c[greedy->logged - 1] * norm2 / lazy->trace);
    lazy->upper[place] = NAN;
    greedy->score[place] = NAN;
    if (greedy->logged == GREEDY_LOG)
        greedy_flush(greedy);
}

/* False: the bounds do not tell the candidates apart. */
static bool run(struct lazy *lazy, struct sel_selection *selection)
{
    struct greedy *greedy = lazy->greedy;
    double limit = INFINITY;
    bool fresh = false;
    if (!start_afresh(lazy))
        return false;
    while (selection->count < selection->budget && selection->count < greedy->set->count) {
        size_t best = greedy_best_member(greedy);
        if (best < greedy->list.count && greedy->list.score[best] > limit &&
            lazy->taken < TAKES_MAX) {
            take(lazy, best, selection);
            fresh = false;
            continue;
        }
        if (best == greedy->list.count && limit == -INFINITY)
            return true;
        if (fresh && lazy->taken == 0)
            return false;
        if ((fresh || lazy->taken == TAKES_MAX) && !start_afresh(lazy))
            return false;
        limit = refill(lazy);
        fresh = true;
    }
    return true;
}

enum sel_status lazy_run(const struct sel_set *set, const struct sel_rule *rule,
                         struct sel_selection *selection)
{
    struct greedy greedy = greedy_of(set, rule);
    struct lazy lazy = lazy_of(&greedy);
    bool within = true;
    enum sel_status status = read_rows(&lazy, &within);
    if (status != SEL_OK)
        return status;
    memset(lazy.upper, 0, set->count * sizeof(double));
    if (greedy.list.most >= set->count || !within || !run(&lazy, selection))
        greedy_run(&greedy, selection);
    return SEL_OK;
}
