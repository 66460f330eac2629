/* The best design over more pairs than fit into a list.
 *
 *   min over p of f(p) = tr(I M(p)^-1), M(p) = diag(lambda) + n sum_k p_k w_k x_k x_k',
 *   0 <= p_k <= 1 / n, n the asked pairs
 *   -df/dp_k = d_k = n w_k x_k' V x_k, V = M^-1 I M^-1;  f(p) - min f <= max_v d'v - d'p, where the
 *   best v is 1 / n on the n largest d_k
 *
 * Column generation: a list holds the asked pairs and at most `candidates` open ones. A round
 * solves the list, then prices all pairs, open ones pool by pool (x_i' V x_j of a pool at once);
 * that gives f, a bound that holds for all of them whatever p is, and the open pairs with the
 * largest d, which join the list in place of those that the design left.
 *
 * The list is solved a block at a time: shuffled and cut, of each block in turn the design is
 * solved with the others held. Their information joins sigma, and the block keeps the mass n P that
 * it has, P = sum of p over it, under the cap 1 / (n P) of its own shares. f falls from block to
 * block up to the solver's tolerance; mass moves between blocks with the next shuffle. A solver
 * that exchanges pairs one by one needs about as many steps as there are pairs, each O(list d) for
 * the whole list and O(block d) here. */
#include "certify.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#undef I /* of complex.h, which cblas.h brings along */

enum { BLOCK_MOST = 1000, BLOCK_LEAST = 200, ROUNDS = 20, STEPS_PER_PAIR = 100, TILE = 64 };
static const double BLOCK_TOLERANCE = CERTIFY_TOLERANCE / 10;
static const double STALLED = .95; /* of the gap before: the list is too short for more */

void dpotrf_(const char *triangle, const blasint *n, double *a, const blasint *stride,
             blasint *info);
void dpotri_(const char *triangle, const blasint *n, double *a, const blasint *stride,
             blasint *info);

/* A pair of the list, and what is known of it. */
struct column {
    uint32_t pool; /* ASKED: row i of the asked pairs */
    uint32_t i, j; /* of the pool */
    double p, weight;
};
static const uint32_t ASKED = UINT32_MAX;

/* An open pair by its d. */
struct priced {
    double slope;
    uint32_t pool, i, j;
};

struct solving {
    const struct certificate_snapshot *snapshot;
    const atomic_bool *stop;
    struct sel_design *design;
    struct sel_random random;
    struct column *columns; /* asked pairs, then open ones */
    size_t column_count;
    size_t block;          /* pairs of a block */
    size_t *order;         /* columns, shuffled */
    double *information;   /* d x d: M(p), lower triangle */
    double *rest;          /* d x d: M(p) without a block; S */
    double *half, *square; /* d x d: S I; V */
    double *x;             /* block x d */
    double *rows;          /* block x d: scaled, or times V */
    double *weight;        /* block */
    double *share;         /* block */
    double *own;           /* pool x 1: phi' V phi */
    double *cross;         /* TILE x TILE */
    double *slopes;        /* of the asked pairs */
    struct priced *best;   /* open pairs of the largest d: a heap, the smallest on top */
    size_t best_count, best_max;
};

static void solving_fini(struct solving *solving)
{
    sel_design_free(solving->design);
    free(solving->columns);
    free(solving->order);
    free(solving->information);
    free(solving->rest);
    free(solving->half);
    free(solving->square);
    free(solving->x);
    free(solving->rows);
    free(solving->weight);
    free(solving->share);
    free(solving->own);
    free(solving->cross);
    free(solving->slopes);
    free(solving->best);
}

/* Blocks are smaller where matrices are large, so that none takes long. */
static size_t block_size(size_t d)
{
    size_t size = ((size_t)1 << 27) / (d * d);
    return size > BLOCK_MOST ? BLOCK_MOST : size < BLOCK_LEAST ? BLOCK_LEAST : size;
}

static double *doubles(size_t count)
{
    return malloc(count * sizeof(double));
}

static bool solving_init(struct solving *solving, const struct certificate_snapshot *snapshot,
                         const atomic_bool *stop)
{
    size_t d = snapshot->dimension, most = snapshot->asked + snapshot->candidates;
    size_t block = block_size(d), pool = 1;
    for (size_t k = 0; k < snapshot->pool_count; k++)
        pool = snapshot->pools[k].count > pool ? snapshot->pools[k].count : pool;
    size_t best = snapshot->asked > snapshot->candidates ? snapshot->asked : snapshot->candidates;
    *solving = (struct solving){.snapshot = snapshot,
                                .stop = stop,
                                .random = sel_random_init((uint64_t)snapshot->time, 0),
                                .block = block,
                                .best_max = best,
                                .design = sel_design_new(block, d),
                                .columns = malloc(most * sizeof *solving->columns),
                                .order = malloc(most * sizeof *solving->order),
                                .information = doubles(d * d),
                                .rest = doubles(d * d),
                                .half = doubles(d * d),
                                .square = doubles(d * d),
                                .x = doubles(block * d),
                                .rows = doubles(block * d),
                                .weight = doubles(block),
                                .share = doubles(block),
                                .own = doubles(pool),
                                .cross = doubles(TILE * TILE),
                                .slopes = doubles(snapshot->asked),
                                .best = malloc(best * sizeof *solving->best)};
    if (solving->design == NULL || solving->columns == NULL || solving->order == NULL ||
        solving->information == NULL || solving->rest == NULL || solving->half == NULL ||
        solving->square == NULL || solving->x == NULL || solving->rows == NULL ||
        solving->weight == NULL || solving->share == NULL || solving->own == NULL ||
        solving->cross == NULL || solving->slopes == NULL || solving->best == NULL) {
        solving_fini(solving);
        return false;
    }
    for (size_t k = 0; k < snapshot->asked; k++)
        solving->columns[k] = (struct column){.pool = ASKED,
                                              .i = (uint32_t)k,
                                              .p = 1 / (double)snapshot->asked,
                                              .weight = snapshot->weight[k]};
    solving->column_count = snapshot->asked;
    return true;
}

static bool stopped(const struct solving *solving)
{
    return atomic_load(solving->stop);
}

/* ---- pairs ---- */

static const float *features_of(const struct certificate_snapshot *snapshot, size_t pool, size_t i)
{
    return snapshot->features + (snapshot->pools[pool].first + i) * snapshot->dimension;
}

/* x of a column, times `factor`. */
static void write_x(const struct certificate_snapshot *snapshot, const struct column *column,
                    double factor, double *x)
{
    size_t d = snapshot->dimension;
    if (column->pool == ASKED) {
        for (size_t k = 0; k < d; k++)
            x[k] = factor * (double)snapshot->x[column->i * d + k];
        return;
    }
    const float *left = features_of(snapshot, column->pool, column->i);
    const float *right = features_of(snapshot, column->pool, column->j);
    for (size_t k = 0; k < d; k++)
        x[k] = factor * ((double)left[k] - (double)right[k]);
}

static double open_weight(const struct certificate_snapshot *snapshot, size_t pool, size_t i,
                          size_t j)
{
    const double *margins = snapshot->margins + snapshot->pools[pool].first;
    return snapshot->share *
           sel_weight_tie(margins[i] - margins[j], snapshot->lapse, snapshot->tie);
}

/* ---- the list, block by block ---- */

static void shuffle(struct solving *solving)
{
    for (size_t k = 0; k < solving->column_count; k++) {
        size_t other = (size_t)sel_random_below(&solving->random, k + 1);
        if (other != k)
            solving->order[k] = solving->order[other];
        solving->order[other] = k;
    }
}

/* matrix += sign sum n p w x x' over `size` pairs of the order from `from` on. */
static void accumulate(struct solving *solving, size_t from, size_t size, double sign,
                       double *matrix)
{
    const struct certificate_snapshot *snapshot = solving->snapshot;
    size_t d = snapshot->dimension, rows = 0;
    for (size_t k = from; k < from + size; k++) {
        const struct column *column = &solving->columns[solving->order[k]];
        double root = sqrt((double)snapshot->asked * column->p * column->weight);
        if (root > 0)
            write_x(snapshot, column, root, solving->rows + rows++ * d);
    }
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (blasint)d, (blasint)rows, sign,
                solving->rows, (blasint)d, 1, matrix, (blasint)d);
}

static size_t size_at(const struct solving *solving, size_t from)
{
    size_t left = solving->column_count - from;
    return left < solving->block ? left : solving->block;
}

/* M(p) in the lower triangle of `information`; the order is shuffled. */
static void sum_information(struct solving *solving)
{
    size_t d = solving->snapshot->dimension;
    shuffle(solving);
    memset(solving->information, 0, d * d * sizeof(double));
    for (size_t k = 0; k < d; k++)
        solving->information[k * d + k] = solving->snapshot->lambda[k];
    for (size_t from = 0; from < solving->column_count; from += solving->block)
        accumulate(solving, from, size_at(solving, from), 1, solving->information);
}

static void mirror(double *matrix, size_t d)
{
    for (size_t row = 0; row < d; row++) {
        for (size_t column = 0; column < row; column++)
            matrix[column * d + row] = matrix[row * d + column];
    }
}

static enum sel_status solve_block(struct solving *solving, size_t from)
{
    const struct certificate_snapshot *snapshot = solving->snapshot;
    size_t d = snapshot->dimension, size = size_at(solving, from);
    double mass = 0, labels = (double)snapshot->asked;
    for (size_t k = 0; k < size; k++) {
        const struct column *column = &solving->columns[solving->order[from + k]];
        write_x(snapshot, column, 1, solving->x + k * d);
        solving->weight[k] = column->weight;
        mass += column->p;
    }
    if (!(mass > 0))
        return SEL_OK;
    memcpy(solving->rest, solving->information, d * d * sizeof(double));
    accumulate(solving, from, size, -1, solving->rest);
    mirror(solving->rest, d);
    const struct sel_design_problem problem = {.count = size,
                                               .d = d,
                                               .x = solving->x,
                                               .weight = solving->weight,
                                               .sigma = solving->rest,
                                               .policy = snapshot->policy,
                                               .mass = labels * mass,
                                               .cap = fmax(1 / (labels * mass), 1 / (double)size)};
    struct sel_design_result result;
    enum sel_status status = sel_design_solve(solving->design, &problem, BLOCK_TOLERANCE,
                                              STEPS_PER_PAIR * (int)size, solving->share, &result);
    if (status != SEL_OK && status != SEL_NOT_CONVERGED)
        return status;
    for (size_t k = 0; k < size; k++)
        solving->columns[solving->order[from + k]].p = fmin(mass * solving->share[k], 1 / labels);
    memcpy(solving->information, solving->rest, d * d * sizeof(double));
    accumulate(solving, from, size, 1, solving->information);
    return SEL_OK;
}

static enum sel_status solve_list(struct solving *solving)
{
    enum sel_status status = SEL_OK;
    sum_information(solving);
    for (size_t from = 0; from < solving->column_count && !stopped(solving) && status == SEL_OK;
         from += solving->block)
        status = solve_block(solving, from);
    return status;
}

/* ---- prices ---- */

static void swap(struct priced *left, struct priced *right)
{
    struct priced moved = *left;
    *left = *right;
    *right = moved;
}

static void sink(struct priced *heap, size_t count, size_t at)
{
    while (2 * at + 1 < count) {
        size_t child = 2 * at + 1;
        child += child + 1 < count && heap[child + 1].slope < heap[child].slope;
        if (heap[at].slope <= heap[child].slope)
            return;
        swap(&heap[at], &heap[child]);
        at = child;
    }
}

static void offer(struct solving *solving, const struct priced *priced)
{
    struct priced *heap = solving->best;
    if (solving->best_count == solving->best_max) {
        if (priced->slope <= heap[0].slope)
            return;
        heap[0] = *priced;
        sink(heap, solving->best_count, 0);
        return;
    }
    size_t at = solving->best_count++;
    heap[at] = *priced;
    for (; at > 0 && heap[(at - 1) / 2].slope > heap[at].slope; at = (at - 1) / 2)
        swap(&heap[(at - 1) / 2], &heap[at]);
}

/* A tile of a pool's rows as doubles. */
static size_t write_tile(const struct solving *solving, size_t pool, size_t from, double *out)
{
    const struct certificate_snapshot *snapshot = solving->snapshot;
    size_t left = snapshot->pools[pool].count - from, size = left < TILE ? left : TILE;
    const float *rows = features_of(snapshot, pool, from);
    for (size_t k = 0; k < size * snapshot->dimension; k++)
        out[k] = (double)rows[k];
    return size;
}

/* out = rows V, `size` rows. */
static void times_square(const struct solving *solving, const double *rows, size_t size,
                         double *out)
{
    blasint d = (blasint)solving->snapshot->dimension;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)size, d, d, 1, rows, d,
                solving->square, d, 0, out, d);
}

static double dot(const double *left, const double *right, size_t d)
{
    return cblas_ddot((blasint)d, left, 1, right, 1);
}

/* Offers the pairs of two tiles; `cross` holds phi_i' V phi_j. */
static void offer_tiles(struct solving *solving, size_t pool, size_t a, size_t rows, size_t b,
                        size_t columns)
{
    const struct certificate_snapshot *snapshot = solving->snapshot;
    const struct certificate_pool *part = &snapshot->pools[pool];
    const uint32_t *known = snapshot->known == NULL ? NULL : snapshot->known + part->known_first;
    for (size_t i = a; i < a + rows; i++) {
        size_t at = 0; /* of the known pairs */
        for (size_t j = i + 1 > b ? i + 1 : b; j < b + columns; j++) {
            uint32_t key = (uint32_t)(i << 16 | j);
            while (at < part->known_count && known[at] < key)
                at++;
            if (at < part->known_count && known[at] == key)
                continue;
            double r =
                solving->own[i] + solving->own[j] - 2 * solving->cross[(i - a) * TILE + (j - b)];
            double most = (double)snapshot->asked * snapshot->share / 4 * r; /* w <= 1/4 */
            if (solving->best_count == solving->best_max && most <= solving->best[0].slope)
                continue;
            const struct priced priced = {(double)snapshot->asked *
                                              open_weight(snapshot, pool, i, j) * fmax(0, r),
                                          (uint32_t)pool, (uint32_t)i, (uint32_t)j};
            offer(solving, &priced);
        }
    }
}

static void price_pool(struct solving *solving, size_t pool)
{
    size_t count = solving->snapshot->pools[pool].count, d = solving->snapshot->dimension;
    double *left = solving->x, *image = solving->rows, *right = solving->x + TILE * d;
    for (size_t a = 0; a < count; a += TILE) {
        size_t rows = write_tile(solving, pool, a, left);
        times_square(solving, left, rows, image);
        for (size_t k = 0; k < rows; k++)
            solving->own[a + k] = dot(left + k * d, image + k * d, d);
    }
    for (size_t a = 0; a < count && !stopped(solving); a += TILE) {
        size_t rows = write_tile(solving, pool, a, left);
        times_square(solving, left, rows, image);
        for (size_t b = a; b < count; b += TILE) {
            size_t columns = write_tile(solving, pool, b, right);
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)columns,
                        (blasint)d, 1, image, (blasint)d, right, (blasint)d, 0, solving->cross,
                        TILE);
            offer_tiles(solving, pool, a, rows, b, columns);
        }
    }
}

/* Slopes of the list: those of asked pairs are kept. Returns d'p. */
static double price_list(struct solving *solving)
{
    const struct certificate_snapshot *snapshot = solving->snapshot;
    size_t d = snapshot->dimension;
    double here = 0;
    for (size_t from = 0; from < solving->column_count; from += solving->block) {
        size_t size = size_at(solving, from);
        for (size_t k = 0; k < size; k++)
            write_x(snapshot, &solving->columns[from + k], 1, solving->x + k * d);
        times_square(solving, solving->x, size, solving->rows);
        for (size_t k = 0; k < size; k++) {
            const struct column *column = &solving->columns[from + k];
            double r = fmax(0, dot(solving->x + k * d, solving->rows + k * d, d));
            double slope = (double)snapshot->asked * column->weight * r;
            here += column->p * slope;
            if (column->pool == ASKED)
                solving->slopes[column->i] = slope;
        }
    }
    return here;
}

/* S, V and f of the p at hand. */
static enum sel_status invert(struct solving *solving, double *objective)
{
    size_t d = solving->snapshot->dimension;
    blasint n = (blasint)d, info = 0;
    double *inverse = solving->rest;
    sum_information(solving);
    memcpy(inverse, solving->information, d * d * sizeof(double));
    dpotrf_("U", &n, inverse, &n, &info);
    if (info == 0)
        dpotri_("U", &n, inverse, &n, &info);
    if (info != 0)
        return SEL_SINGULAR;
    mirror(inverse, d);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, inverse, n,
                solving->snapshot->policy, n, 0, solving->half, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, solving->half, n, inverse, n,
                0, solving->square, n);
    mirror(solving->square, d);
    *objective = 0;
    for (size_t k = 0; k < d; k++)
        *objective += solving->half[k * d + k];
    return isfinite(*objective) ? SEL_OK : SEL_SINGULAR;
}

static int largest_first(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a < b) - (a > b);
}

static int best_first(const void *left, const void *right)
{
    const struct priced *a = left, *b = right;
    return (a->slope < b->slope) - (a->slope > b->slope);
}

/* max over the feasible v of d'v: the mean of the n largest d. Sorts what was priced. */
static double best_vertex(struct solving *solving)
{
    size_t n = solving->snapshot->asked, asked = 0, open = 0;
    double sum = 0;
    qsort(solving->slopes, n, sizeof *solving->slopes, largest_first);
    qsort(solving->best, solving->best_count, sizeof *solving->best, best_first);
    while (asked + open < n) {
        bool from_open =
            open < solving->best_count && solving->best[open].slope > solving->slopes[asked];
        sum += from_open ? solving->best[open++].slope : solving->slopes[asked++];
    }
    return sum / (double)n;
}

/* f of the p at hand, and a bound on f of every design. */
static enum sel_status price(struct solving *solving, double *objective, double *bound)
{
    enum sel_status status = invert(solving, objective);
    if (status != SEL_OK)
        return status;
    double here = price_list(solving);
    solving->best_count = 0;
    for (size_t k = 0; k < solving->snapshot->pool_count && !stopped(solving); k++)
        price_pool(solving, k);
    *bound = *objective - fmax(0, best_vertex(solving) - here);
    return SEL_OK;
}

/* ---- the list changes ---- */

static int compare_columns(const void *left, const void *right)
{
    const struct column *a = left, *b = right;
    if (a->pool != b->pool)
        return a->pool < b->pool ? -1 : 1;
    if (a->i != b->i)
        return a->i < b->i ? -1 : 1;
    return (a->j > b->j) - (a->j < b->j);
}

/* Open pairs that the design left make room for those of the largest d. */
static void renew_list(struct solving *solving)
{
    const struct certificate_snapshot *snapshot = solving->snapshot;
    struct column *open = solving->columns + snapshot->asked;
    size_t kept = 0, most = snapshot->candidates;
    for (size_t k = 0; k < solving->column_count - snapshot->asked; k++) {
        if (open[k].p > 0)
            open[kept++] = open[k];
    }
    if (kept > 0)
        qsort(open, kept, sizeof *open, compare_columns);
    size_t count = kept;
    for (size_t k = 0; k < solving->best_count && count < most; k++) {
        const struct priced *best = &solving->best[k];
        const struct column column = {.pool = best->pool,
                                      .i = best->i,
                                      .j = best->j,
                                      .weight =
                                          open_weight(snapshot, best->pool, best->i, best->j)};
        if (kept == 0 || bsearch(&column, open, kept, sizeof *open, compare_columns) == NULL)
            open[count++] = column;
    }
    solving->column_count = snapshot->asked + count;
}

bool certify(const struct certificate_snapshot *snapshot, const atomic_bool *stop,
             struct sel_certificate *certificate, struct error *error)
{
    struct solving solving;
    double objective = 0, bound = 0;
    *certificate = (struct sel_certificate){0};
    if (!solving_init(&solving, snapshot, stop))
        return error_set(error, ERROR_DATA, "out of memory for a certificate");
    enum sel_status status = price(&solving, &objective, &bound);
    certificate->objective = certificate->optimum = objective;
    certificate->bound = fmax(0, bound);
    double gap = INFINITY; /* before the last round */
    for (int round = 0; round < ROUNDS && status == SEL_OK && !stopped(&solving); round++) {
        double left = certificate->optimum - certificate->bound;
        if (left <= CERTIFY_TOLERANCE * certificate->optimum || left > STALLED * gap)
            break;
        gap = left;
        renew_list(&solving);
        status = solve_list(&solving);
        if (status == SEL_OK)
            status = price(&solving, &objective, &bound);
        certificate->optimum = fmin(certificate->optimum, objective);
        certificate->bound = fmax(certificate->bound, bound);
    }
    solving_fini(&solving);
    if (atomic_load(stop))
        return error_set(error, ERROR_RETRY, "told to stop");
    if (status != SEL_OK)
        return error_set(error, ERROR_DATA, "the best design: %s", sel_status_text(status));
    if (!(certificate->objective > 0))
        return error_set(error, ERROR_DATA, "the policy information is zero");
    certificate->efficiency = certificate->optimum / certificate->objective;
    certificate->efficiency_least = certificate->bound / certificate->objective;
    return true;
}
