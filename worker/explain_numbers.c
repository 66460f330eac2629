/* With S = inverse(Sigma), x = left - right:
 *   variance  q = x' S x
 *   policy    r = x' S I S x
 *   drop      w r / (1 + w q), what a label of weight w takes from tr(I S)
 *   share     (e' x)^2 / x' x for each eigenvector e of Sigma
 *   cosine    x' S y / sqrt(x' S x y' S y) with each labelled pair y */
#include "eigen.h"
#include "explain.h"
#include "number_json.h"

#include "engine/requests.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NEAREST = 5, BLOCK = 256 };

struct near {
    const struct request *request;
    double cosine;
};

double explain_margin(const double *psi, const float *x, size_t dimension)
{
    double margin = 0;
    for (size_t k = 0; k < dimension; k++)
        margin += psi[k] * (double)x[k];
    return margin;
}

static double dot(const double *left, const double *right, size_t d)
{
    return cblas_ddot((blasint)d, left, 1, right, 1);
}

/* out = A in, A symmetric. */
static void times(const double *a, const double *in, double *out, size_t d)
{
    cblas_dsymv(CblasRowMajor, CblasLower, (blasint)d, 1, a, (blasint)d, in, 1, 0, out, 1);
}

/* ---- eigenvectors ---- */

/* Shares of x in the eigenvectors of Sigma, largest eigenvalue first. */
static json_t *shares(const double *sigma, const double *x, size_t d)
{
    double *vectors = malloc((d * d + d) * sizeof *vectors);
    if (vectors == NULL)
        return NULL;
    double *values = vectors + d * d;
    memcpy(vectors, sigma, d * d * sizeof *vectors);
    json_t *list = eigen_symmetric(vectors, d, values) ? json_array() : NULL;
    double squared = dot(x, x, d);
    for (size_t k = d; list != NULL && k-- > 0;) {
        double along = dot(vectors + k * d, x, d);
        json_array_append_new(list, json_pack("{s:f, s:f}", "eigenvalue", values[k], "share",
                                              squared > 0 ? along * along / squared : 0));
    }
    free(vectors);
    return list;
}

/* ---- nearest labelled pairs ---- */

static void keep_nearest(struct near nearest[NEAREST], const struct request *request, double cosine)
{
    size_t k = NEAREST;
    while (k > 0 && (nearest[k - 1].request == NULL || fabs(nearest[k - 1].cosine) < fabs(cosine)))
        k--;
    if (k == NEAREST)
        return;
    memmove(nearest + k + 1, nearest + k, (NEAREST - 1 - k) * sizeof *nearest);
    nearest[k] = (struct near){request, cosine};
}

/* Pairs of one block: rows and their S y; at is x' S. */
struct block {
    const struct request *requests[BLOCK];
    double *rows, *mapped;
    size_t count;
};

static void take_block(struct block *block, const double *inverse, const double *at,
                       double variance, size_t d, struct near nearest[NEAREST])
{
    blasint n = (blasint)d;
    if (block->count > 0)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)block->count, n, n, 1,
                    block->rows, n, inverse, n, 0, block->mapped, n);
    for (size_t k = 0; k < block->count; k++) {
        const double *y = block->rows + k * d;
        double own = dot(y, block->mapped + k * d, d);
        if (own > 0 && variance > 0)
            keep_nearest(nearest, block->requests[k], dot(at, y, d) / sqrt(own * variance));
    }
    block->count = 0;
}

static bool find_nearest(const struct engine *engine, const double *at, double variance,
                         struct near nearest[NEAREST])
{
    const struct engine_view view = engine_view(engine);
    const struct requests *requests = engine_requests(engine);
    size_t d = view.dimension;
    struct block block = {.rows = malloc(BLOCK * d * sizeof(double)),
                          .mapped = malloc(BLOCK * d * sizeof(double))};
    bool good = block.rows != NULL && block.mapped != NULL;
    const struct request *request;
    for (size_t k = 0; good && (request = requests_next(requests, &k)) != NULL; k++) {
        if (!request->counted)
            continue;
        for (size_t column = 0; column < d; column++)
            block.rows[block.count * d + column] = (double)request->x[column];
        block.requests[block.count++] = request;
        if (block.count == BLOCK)
            take_block(&block, view.inverse, at, variance, d, nearest);
    }
    if (good)
        take_block(&block, view.inverse, at, variance, d, nearest);
    free(block.rows);
    free(block.mapped);
    return good;
}

static json_t *describe(const struct requests *requests, const struct near nearest[NEAREST])
{
    json_t *list = json_array();
    for (size_t k = 0; k < NEAREST && nearest[k].request != NULL; k++) {
        const struct request *request = nearest[k].request;
        struct request_label label = {0};
        char id[ID_TEXT_SIZE];
        identity_format(request->id, id);
        request_counting(request, &label);
        json_array_append_new(
            list, json_pack("{s:s, s:f, s:o, s:o, s:o, s:f}", "request_id", id, "cosine",
                            nearest[k].cosine, "prompt_id",
                            explain_text(request_prompt_id(requests, request)), "left_id",
                            explain_text(request_left_id(requests, request)), "right_id",
                            explain_text(request_right_id(requests, request)), "label",
                            label.probability));
    }
    return list;
}

/* ---- together ---- */

/* scratch: 3 d */
static json_t *directions(const struct engine *engine, const float *features, double said,
                          double *scratch)
{
    const struct engine_view view = engine_view(engine);
    size_t d = view.dimension;
    double *x = scratch, *at = scratch + d, *mapped = scratch + 2 * d;
    struct near nearest[NEAREST] = {{NULL, 0}};
    double policy = (double)NAN, trace = (double)NAN;
    for (size_t k = 0; k < d; k++)
        x[k] = (double)features[k];
    times(view.design, x, at, d);
    double design = dot(x, at, d);
    times(view.inverse, x, at, d);
    double variance = dot(x, at, d);
    if (view.policy != NULL) {
        times(view.policy, at, mapped, d);
        policy = dot(at, mapped, d);
        trace = dot(view.policy, view.inverse, d * d);
    }
    json_t *eigen = shares(view.sigma, x, d);
    if (eigen == NULL || !find_nearest(engine, at, variance, nearest)) {
        json_decref(eigen);
        return NULL;
    }
    return json_pack("{s:f, s:o, s:f, s:o, s:o, s:o, s:o}", "variance", variance, "variance_said",
                     number_json(said), "variance_of_rule", design, "policy", number_json(policy),
                     "trace", number_json(trace), "eigen", eigen, "nearest",
                     describe(engine_requests(engine), nearest));
}

json_t *explain_directions(const struct engine *engine, const float *x, double said,
                           struct error *error)
{
    double *scratch = malloc(3 * engine_view(engine).dimension * sizeof *scratch);
    json_t *found = scratch == NULL ? NULL : directions(engine, x, said, scratch);
    free(scratch);
    if (found == NULL)
        error_set(error, ERROR_FATAL, "the directions of x: out of memory, or no eigenvectors");
    return found;
}

double explain_drop(const json_t *found, double weight)
{
    const json_t *policy = json_object_get(found, "policy");
    double variance = json_real_value(json_object_get(found, "variance"));
    if (!json_is_real(policy))
        return (double)NAN;
    return weight * json_real_value(policy) / (1 + weight * variance);
}
