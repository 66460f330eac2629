/* One pool's pair quadratics.
 *
 *   G = phi S phi', H = phi S I S phi'; for x = phi_i - phi_j
 *   q = x' S x     = G_ii + G_jj - 2 G_ij
 *   r = x' S I S x = H_ii + H_jj - 2 H_ij
 * Sigma + w x x' with g = phi S x, h = phi S I S x and c = w / (1 + w q) makes of them
 *   G - c g g'  and  H - c (g h' + h g') + c^2 r g g'.
 * For a pair of the pool itself g and h are differences of columns of G and H.
 *
 * Invariants: G and H are symmetric bit for bit (products of two coordinates come first, and are
 * commutative); a refused removal changes nothing. q and r are clamped at 0: near-duplicates lose
 * their digits to cancellation. Cost: open O(n d^2 + n^2 d), updates O(n^2) without scratch. */
#include "selectors/gram.h"

#include "selectors/linear.h"
#include "selectors/rows.h"
#include "selectors/wide.h"

enum { BAND = 32 };

/* out = phi a phi' for symmetric a. */
static void sandwich(double *out, const double *phi, size_t n, size_t d, const double *a,
                     double *product, double *room)
{
    blasint rows = (blasint)n;
    blasint columns = (blasint)d;
    if (room != NULL && rows_is_faster(n, d))
        rows_multiply(product, phi, n, d, a, room);
    else
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, columns, columns, 1, phi,
                    columns, a, columns, 0, product, columns);
    /* The lower triangle by bands of rows: what lies right of a band's diagonal block is not
     * computed. */
    for (blasint from = 0; from < rows; from += BAND) {
        blasint count = rows - from < BAND ? rows - from : BAND;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, from + count, columns, 1,
                    product + from * columns, columns, phi, columns, 0, out + from * rows, rows);
    }
    linear_mirror(out, n);
}

void gram_open(struct sel_gram *gram, const double *phi, size_t n, size_t d, const double *inverse,
               const double *policy_inverse, double *product, double *room)
{
    gram->n = n;
    sandwich(gram->g, phi, n, d, inverse, product, room);
    sandwich(gram->h, phi, n, d, policy_inverse, product, room);
}

void sel_gram_open(struct sel_gram *gram, const sel_feature *phi, size_t n, size_t d,
                   const double *inverse, const double *policy_inverse, double *scratch)
{
    linear_widen(phi, scratch, n * d);
    gram_open(gram, scratch, n, d, inverse, policy_inverse, scratch + n * d, NULL);
}

static double quadratic(const double *a, size_t n, size_t i, size_t j)
{
    return fmax(0, a[i * n + i] + a[j * n + j] - 2 * a[i * n + j]);
}

double sel_gram_variance(const struct sel_gram *gram, size_t i, size_t j)
{
    return quadratic(gram->g, gram->n, i, j);
}

double sel_gram_policy(const struct sel_gram *gram, size_t i, size_t j)
{
    return quadratic(gram->h, gram->n, i, j);
}

struct change {
    double c;
    double square; /* c^2 r */
};

/* Row a of G and H, from the rows i and j as they were before the update. */
static void take_row(struct sel_gram *gram, size_t a, size_t i, size_t j, struct change change)
{
    size_t n = gram->n;
    const double *gi = gram->g + i * n;
    const double *gj = gram->g + j * n;
    const double *hi = gram->h + i * n;
    const double *hj = gram->h + j * n;
    double *restrict g_row = gram->g + a * n;
    double *restrict h_row = gram->h + a * n;
    double ga = gi[a] - gj[a];
    double ha = hi[a] - hj[a];
    for (size_t b = 0; b < n; b++) {
        double gb = gi[b] - gj[b];
        double hb = hi[b] - hj[b];
        double product = ga * gb;
        h_row[b] += change.square * product - change.c * (ga * hb + ha * gb);
        g_row[b] -= change.c * product;
    }
}

/* Rows i and j, last and together: each needs both as they were. */
static void take_pair(struct sel_gram *gram, size_t i, size_t j, struct change change)
{
    size_t n = gram->n;
    double *gi = gram->g + i * n;
    double *gj = gram->g + j * n;
    double *hi = gram->h + i * n;
    double *hj = gram->h + j * n;
    double g_at_i = gi[i] - gj[i];
    double g_at_j = gi[j] - gj[j];
    double h_at_i = hi[i] - hj[i];
    double h_at_j = hi[j] - hj[j];
    for (size_t b = 0; b < n; b++) {
        double gb = gi[b] - gj[b];
        double hb = hi[b] - hj[b];
        hi[b] += change.square * (g_at_i * gb) - change.c * (g_at_i * hb + h_at_i * gb);
        hj[b] += change.square * (g_at_j * gb) - change.c * (g_at_j * hb + h_at_j * gb);
        gi[b] -= change.c * (g_at_i * gb);
        gj[b] -= change.c * (g_at_j * gb);
    }
}

enum sel_status sel_gram_take(struct sel_gram *gram, size_t i, size_t j, double w)
{
    if (i >= gram->n || j >= gram->n || i == j || !isfinite(w))
        return SEL_INVALID;
    double remainder = 1 + w * sel_gram_variance(gram, i, j);
    if (!(remainder > 0))
        return SEL_REFUSED;
    struct change change = {.c = w / remainder};
    change.square = change.c * change.c * sel_gram_policy(gram, i, j);
    for (size_t a = 0; a < gram->n; a++)
        if (a != i && a != j)
            take_row(gram, a, i, j, change);
    take_pair(gram, i, j, change);
    return SEL_OK;
}

WIDE_BODY void update(struct sel_gram *gram, const double *g, const double *h, double c, double r)
{
    size_t n = gram->n;
    double square = c * c * r;
    for (size_t a = 0; a < n; a++) {
        double *restrict g_row = gram->g + a * n;
        double *restrict h_row = gram->h + a * n;
        double ga = g[a];
        double ha = h[a];
        for (size_t b = 0; b < n; b++) {
            double product = ga * g[b];
            g_row[b] -= c * product;
            h_row[b] += square * product - c * (ga * h[b] + ha * g[b]);
        }
    }
}

WIDE_TARGET static void update_wide(struct sel_gram *gram, const double *g, const double *h,
                                    double c, double r)
{
    update(gram, g, h, c, r);
}

void sel_gram_update(struct sel_gram *gram, const double *g, const double *h, double c, double r)
{
    if (wide_is_possible())
        update_wide(gram, g, h, c, r);
    else
        update(gram, g, h, c, r);
}
