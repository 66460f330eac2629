/* The fit by which designs are compared. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "recorded.h"
#include "worker/npy.h"

void common_fini(struct common *common)
{
    free(common->psi);
    free(common->prior);
    buffer_free(&common->fit);
    *common = (struct common){0};
}

static bool begin(struct common *common, const struct recorded *recorded, struct error *error)
{
    const struct engine_view view = engine_view(recorded->engine);
    *common = (struct common){.dimension = view.dimension,
                              .psi = calloc(view.dimension, sizeof(double)),
                              .prior = calloc(view.dimension, sizeof(double)),
                              .groups = view.groups,
                              .scale = view.scale,
                              .fit = {.maximum = SIZE_MAX / 2}};
    return (common->psi != NULL && common->prior != NULL) ||
           error_set(error, ERROR_FATAL, "out of memory for a fit");
}

/* Each group's lambda, and with it each feature's. */
static void set_lambdas(struct common *common, const struct recorded *recorded,
                        const double *lambdas, double mean)
{
    const struct engine_view view = engine_view(recorded->engine);
    common->lambda = mean;
    for (size_t k = 0; k < common->groups; k++)
        common->lambdas[k] = lambdas == NULL ? mean : lambdas[k];
    for (size_t k = 0; k < common->dimension; k++)
        common->prior[k] = common->lambdas[view.group[k]];
}

/* The same as the FIT of a fitter. */
static bool encode(struct common *common, const struct recorded *recorded, struct error *error)
{
    const struct engine_view view = engine_view(recorded->engine);
    struct entry entry = {
        .version = LEDGER_VERSION,
        .digest = span_of("replay"),
        .writer = span_of("replay"),
        .kind = ENTRY_FIT,
        .fit = {.fit_id = 1,
                .feature_space = span_of(view.space),
                .psi = {(const char *)common->psi, common->dimension * sizeof(double)},
                .lambda = {(const char *)common->lambdas, common->groups * sizeof(double)},
                .lapse = common->lapse,
                .tie = common->tie,
                .return_rate = 1,
                .labels = common->labels}};
    common->fit.size = 0;
    return contracts_encode_entry(recorded->contracts, &entry, &common->fit, error);
}

/* Lets the engine fit: it holds the labels, and its next tick writes FIT. */
static bool fit_labels(struct common *common, const struct recorded *recorded,
                       const struct past *past, struct error *error)
{
    struct engine *engine = recorded->engine;
    int64_t now = past->end + 1;
    for (size_t k = 0; k < recorded->count; k++)
        now = recorded->pairs[k].answered_at >= now ? recorded->pairs[k].answered_at + 1 : now;
    if (!engine_tick(engine, now, error) ||
        !engine_gain(engine, INPUT_LABELS, 0, 0, 0, 0, "", error) ||
        !engine_barrier(engine, INPUT_LABELS, 0, error) || !engine_refresh(engine, error) ||
        !engine_tick(engine, now, error))
        return false;
    const struct engine_view view = engine_view(engine);
    if (view.fit_id == 0)
        return error_set(error, ERROR_FATAL, "the labels could not be fitted");
    memcpy(common->psi, view.psi, common->dimension * sizeof(double));
    set_lambdas(common, recorded, view.lambdas, view.lambda);
    common->lapse = view.lapse;
    common->tie = view.tie;
    common->labels = (int64_t)recorded->informative;
    return true;
}

bool common_fit(struct common *common, const struct recorded *recorded, const struct past *past,
                const struct options *options, struct error *error)
{
    (void)options;
    if (recorded->informative == 0)
        return error_set(error, ERROR_DATA,
                         "%s: there is no recorded label to fit; give what answers with --oracle "
                         "FILE.npy (psi of the features, as of infopair model --npy)",
                         past->name);
    return begin(common, recorded, error) && fit_labels(common, recorded, past, error) &&
           encode(common, recorded, error);
}

/* psi of the features as they were sent. */
static bool read_psi(struct common *common, const char *path, struct error *error)
{
    size_t count;
    double *values = npy_read_vector(path, SIZE_MAX, &count, error);
    bool done = values != NULL &&
                (count == common->dimension ||
                 error_set(error, ERROR_DATA, "%s: a vector of %zu values, the space has %zu", path,
                           count, common->dimension));
    for (size_t k = 0; done && k < count; k++)
        common->psi[k] = values[k] / common->scale;
    free(values);
    return done;
}

/* The file is what the user gave, whatever is wrong with it. */
static bool blame_oracle(struct error *error)
{
    error->class = ERROR_DATA;
    return error_prefix(error, "--oracle");
}

bool common_given(struct common *common, const char *path, const struct recorded *recorded,
                  const struct past *past, const struct options *options, struct error *error)
{
    if (!begin(common, recorded, error))
        return false;
    if (recorded->informative > 0 && !fit_labels(common, recorded, past, error))
        return false;
    if (recorded->informative == 0)
        set_lambdas(common, recorded, NULL, options->fit_lambda > 0 ? options->fit_lambda : 1);
    common->labels = 0;
    common->tie = 0;
    common->lapse = isnan(options->labels_lapse) ? 0 : options->labels_lapse;
    return (read_psi(common, path, error) || blame_oracle(error)) &&
           encode(common, recorded, error);
}
