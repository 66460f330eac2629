/* Greedy picks over several pools.
 *
 * At begin, M = S I S. A pick x of frozen weight w, whose label arrives with probability `share`:
 *   u = S x, v = M x, q = x' u, r = x' v, c = share w / (1 + share w q)
 *   S -= c u u', M += c^2 r u u' - c (u v' + v u'), and each open pool as candidates.c says.
 *
 * Invariants: M = S I S and G, H of every pool belong to the present S; M is symmetric bit for bit;
 * a take that does not return SEL_OK changes nothing.
 * Cost: begin O(d^3); take O(d^2 + pools (n d + n^2)); best O(pools).
 * One allocation holds everything; see lay_out. */
#include "selectors/candidates.h"
#include "selectors/information.h"
#include "selectors/linear.h"

#include <stdlib.h>
#include <string.h>

struct sel_picker {
    struct sel_picker_options options;
    struct sel_information *information; /* the caller's, from begin on; NULL: no round */
    size_t pools_used;
    struct candidates *pools;
    struct candidates_round round;
    double *square; /* d x d: S I */
    double *image;  /* d: v */
    double *wide;   /* d: x, widened */
    sel_feature *x; /* d */
    void *memory;   /* holds all of the above */
};

/* ---- memory ---- */

/* Parts are cut from one block; without a base only the size is counted. */
struct arena {
    char *base;
    size_t size;
    bool overflow;
};

static void *cut(struct arena *arena, size_t count, size_t size)
{
    const size_t alignment = 64;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, alignment - 1, &bytes)) {
        arena->overflow = true;
        return NULL;
    }
    bytes -= bytes % alignment;
    size_t from = arena->size;
    arena->overflow |= __builtin_add_overflow(arena->size, bytes, &arena->size);
    return arena->base == NULL ? NULL : arena->base + from;
}

static void cut_pool(struct arena *arena, struct candidates *pool, size_t n, size_t d)
{
    pool->phi = cut(arena, n * d, sizeof(sel_feature));
    pool->gram.g = cut(arena, n * n, sizeof(double));
    pool->gram.h = cut(arena, n * n, sizeof(double));
    pool->reward = cut(arena, n, sizeof(double));
    pool->weight = cut(arena, candidates_pairs(n), sizeof(double));
    pool->allowed = cut(arena, candidates_pairs(n), sizeof(uint8_t));
}

/* Everything but the pools' own parts, and these too once there is a base. */
static void lay_out(struct arena *arena, struct sel_picker *picker)
{
    size_t d = picker->options.d;
    size_t n = picker->options.n_max;
    picker->pools = cut(arena, picker->options.pools_max, sizeof(struct candidates));
    picker->round.policy_inverse = cut(arena, d * d, sizeof(double));
    picker->round.centred = cut(arena, n * d, sizeof(double));
    picker->round.product = cut(arena, n * d, sizeof(double));
    picker->round.mean = cut(arena, d, sizeof(double));
    picker->round.g = cut(arena, n, sizeof(double));
    picker->round.h = cut(arena, n, sizeof(double));
    picker->round.twin = cut(arena, n, sizeof(size_t));
    picker->square = cut(arena, d * d, sizeof(double));
    picker->image = cut(arena, d, sizeof(double));
    picker->wide = cut(arena, d, sizeof(double));
    picker->x = cut(arena, d, sizeof(sel_feature));
    for (size_t k = 0; arena->base != NULL && k < picker->options.pools_max; k++)
        cut_pool(arena, picker->pools + k, n, d);
}

size_t sel_picker_bytes(const struct sel_picker_options *options)
{
    const size_t side_max = 1 << 15; /* keeps n n, n d and d d far from overflow */
    if (options->d == 0 || options->d > side_max || options->n_max < 2 ||
        options->n_max > side_max || options->pools_max == 0)
        return 0;
    struct sel_picker picker = {.options = *options};
    struct arena all = {0};
    lay_out(&all, &picker);
    struct arena one = {0};
    struct candidates pool;
    cut_pool(&one, &pool, options->n_max, options->d);
    cut(&all, options->pools_max, one.size);
    return all.overflow || one.overflow ? 0 : all.size + sizeof picker;
}

struct sel_picker *sel_picker_new(const struct sel_picker_options *options)
{
    size_t bytes = sel_picker_bytes(options);
    if (bytes == 0 || options->rule == NULL || !(options->weight_min >= 0))
        return NULL;
    struct sel_picker *picker = calloc(1, sizeof *picker);
    if (picker == NULL)
        return NULL;
    picker->options = *options;
    picker->round.options = &picker->options;
    picker->memory = aligned_alloc(64, bytes - sizeof *picker);
    if (picker->memory == NULL) {
        free(picker);
        return NULL;
    }
    struct arena arena = {.base = picker->memory};
    lay_out(&arena, picker);
    return picker;
}

void sel_picker_free(struct sel_picker *picker)
{
    if (picker == NULL)
        return;
    free(picker->memory);
    free(picker);
}

/* ---- rounds ---- */

enum sel_status sel_picker_begin(struct sel_picker *picker, struct sel_information *information,
                                 const double *policy, const double *psi, double lapse)
{
    size_t d = picker->options.d;
    picker->information = NULL;
    picker->pools_used = 0;
    if (sel_information_dimension(information) != d || !(lapse >= 0 && lapse < 1))
        return SEL_INVALID;
    picker->round.psi = psi;
    picker->round.lapse = lapse;

    blasint n = (blasint)d;
    const double *inverse = sel_information_inverse(information);
    double *out = picker->round.policy_inverse;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, inverse, n, policy, n, 0,
                picker->square, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, picker->square, n, inverse,
                n, 0, out, n);
    linear_mirror(out, d);
    for (size_t k = 0; k < d; k++)
        if (!isfinite(out[k * d + k]) || !isfinite(psi[k]))
            return SEL_INVALID;
    picker->information = information;
    return SEL_OK;
}

void sel_picker_clear(struct sel_picker *picker)
{
    picker->pools_used = 0;
}

enum sel_status sel_picker_open(struct sel_picker *picker, const sel_feature *phi, size_t n,
                                const uint8_t *forbidden, size_t *pool)
{
    if (picker->information == NULL || n < 2 || n > picker->options.n_max)
        return SEL_INVALID;
    if (picker->pools_used == picker->options.pools_max)
        return SEL_NO_MEMORY;
    struct candidates *candidates = picker->pools + picker->pools_used;
    candidates->best.pool = picker->pools_used;
    const double *inverse = sel_information_inverse(picker->information);
    enum sel_status status =
        candidates_open(candidates, &picker->round, inverse, phi, n, forbidden);
    if (status == SEL_OK)
        *pool = picker->pools_used++;
    return status;
}

bool sel_picker_best_of(const struct sel_picker *picker, size_t pool, struct sel_choice *choice)
{
    if (sel_picker_allowed(picker, pool) == 0)
        return false;
    *choice = picker->pools[pool].best;
    return true;
}

bool sel_picker_best(const struct sel_picker *picker, struct sel_choice *choice)
{
    const struct candidates *best = NULL;
    for (size_t k = 0; k < picker->pools_used; k++) {
        const struct candidates *pool = picker->pools + k;
        if (pool->open_pairs > 0 && (best == NULL || pool->best.score > best->best.score))
            best = pool;
    }
    if (best == NULL)
        return false;
    *choice = best->best;
    return true;
}

size_t sel_picker_allowed(const struct sel_picker *picker, size_t pool)
{
    return pool < picker->pools_used ? picker->pools[pool].open_pairs : 0;
}

bool sel_picker_pair(const struct sel_picker *picker, size_t pool, size_t k,
                     struct sel_choice *choice)
{
    if (k >= sel_picker_allowed(picker, pool))
        return false;
    *choice = candidates_at(picker->pools + pool, picker->options.rule, pool, k);
    return true;
}

/* ---- a pick ---- */

/* M += c^2 r u u' - c (u v' + v u'); products of two coordinates come first, and are commutative.
 */
static void update_policy_inverse(struct sel_picker *picker, const struct candidates_pick *pick)
{
    size_t d = picker->options.d;
    const double *u = pick->u;
    const double *v = pick->v;
    double square = pick->c * pick->c * pick->r;
    for (size_t i = 0; i < d; i++) {
        double *restrict row = picker->round.policy_inverse + i * d;
        double ui = u[i];
        double vi = v[i];
        for (size_t j = 0; j < d; j++)
            row[j] += square * (ui * u[j]) - pick->c * (ui * v[j] + vi * u[j]);
    }
}

static bool is_open(const struct sel_picker *picker, const struct sel_choice *choice)
{
    if (choice->pool >= picker->pools_used || choice->i >= choice->j)
        return false;
    const struct candidates *pool = picker->pools + choice->pool;
    size_t n = pool->gram.n;
    return choice->j < n && pool->allowed[candidates_index(n, choice->i, choice->j)];
}

enum sel_status sel_picker_take(struct sel_picker *picker, const struct sel_choice *choice,
                                double share)
{
    if (!is_open(picker, choice) || !(share >= 0 && share <= 1))
        return SEL_INVALID;
    size_t d = picker->options.d;
    size_t i = choice->i;
    size_t j = choice->j;
    struct candidates *pool = picker->pools + choice->pool;
    double weight = share * pool->weight[candidates_index(pool->gram.n, i, j)];

    /* Rounded like the vector that the caller's list keeps, so that Sigma equals that list. */
    for (size_t k = 0; k < d; k++)
        picker->x[k] = pool->phi[i * d + k] - pool->phi[j * d + k];
    linear_widen(picker->x, picker->wide, d);
    linear_apply(picker->round.policy_inverse, d, picker->wide, picker->image);
    double r = fmax(0, linear_dot(picker->wide, picker->image, d));
    enum sel_status status = sel_information_add(picker->information, picker->x, weight);
    if (status != SEL_OK)
        return status;

    double variance;
    const double *u = information_direction(picker->information, &variance);
    struct candidates_pick pick = {u, picker->image, weight / (1 + weight * variance), r};
    update_policy_inverse(picker, &pick);
    candidates_forbid(pool, i, j);
    for (size_t k = 0; k < picker->pools_used; k++)
        candidates_update(picker->pools + k, &picker->round, &pick);
    return SEL_OK;
}
