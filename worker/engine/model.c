/* What SPACE and FIT say, and what depends on the dimension. */
#include <stdlib.h>
#include <string.h>

#include "model.h"

bool model_init(struct model *model, const struct engine_options *options,
                struct requests *requests)
{
    *model = (struct model){.options = options,
                            .requests = requests,
                            .lambda = options->fit_lambda > 0 ? options->fit_lambda : 1,
                            .edge = INT64_MIN,
                            .return_rate = 1};
    versions_init(&model->versions, requests->store);
    model_init_moments(model);
    return true;
}

/* Frees what depends on the dimension. */
static void drop_dimension(struct model *model)
{
    sel_information_free(model->information);
    sel_information_free(model->unweighted);
    sel_preference_free(model->preference);
    free(model->psi);
    free(model->policy);
    free(model->group);
    free(model->space.centre);
    annotators_free(&model->annotators);
    model->information = model->unweighted = NULL;
    model->preference = NULL;
    model->psi = model->policy = model->space.centre = NULL;
    model->group = NULL;
    model->space.dimension = 0;
    model_clear_moments(model);
}

void model_fini(struct model *model)
{
    drop_dimension(model);
    versions_fini(&model->versions);
    free(model->space.name);
    free(model->members);
    model->space.name = NULL;
    model->members = NULL;
}

static bool wants_unweighted(const struct engine_options *options)
{
    return (options->selection.rule->traits & SEL_UNWEIGHTED) != 0;
}

size_t model_bytes(const struct engine_options *options, size_t dimension)
{
    size_t square = dimension * dimension * sizeof(double);
    size_t unweighted = wants_unweighted(options) ? 2 : 0;
    /* Sigma and S, I, S I S, the fit's matrices, the buckets of I, and annotators. */
    return ANNOTATORS_MEMORY + (8 + unweighted) * square + model_moments_bytes(options, dimension);
}

/* Allocates what depends on the dimension. */
static bool set_dimension(struct model *model, size_t dimension)
{
    model->information = sel_information_new(dimension);
    if (wants_unweighted(model->options))
        model->unweighted = sel_information_new(dimension);
    model->preference = sel_preference_new(dimension);
    model->psi = calloc(dimension, sizeof(double));
    model->policy = calloc(dimension * dimension, sizeof(double));
    model->group = calloc(dimension, sizeof *model->group);
    model->space.centre = calloc(dimension, sizeof(double));
    if ((wants_unweighted(model->options) && model->unweighted == NULL) ||
        model->information == NULL || model->preference == NULL || model->psi == NULL ||
        model->policy == NULL || model->group == NULL || model->space.centre == NULL)
        return false;
    model->groups = feature_groups_of(model->options->features_groups, dimension, model->group);
    model->space.dimension = dimension;
    model->stale = model->policy_stale = true;
    return true;
}

/* A space without labels, fits and moments. False: out of memory, and there is no space. */
static bool set_space(struct model *model, const struct entry_space *entry)
{
    struct span name = entry->feature_space;
    drop_dimension(model);
    free(model->space.name);
    model->space = (struct space){.name = strndup(name.size == 0 ? "" : name.data, name.size),
                                  .id = identity_of(name),
                                  .epoch = entry->feature_epoch};
    model->fit_id = model->fit_last = 0;
    model->fit_time = model->fit_labels = 0;
    model->lambda = model->options->fit_lambda > 0 ? model->options->fit_lambda : 1;
    for (size_t k = 0; k < SEL_GROUPS_MAX; k++)
        model->lambdas[k] = model->lambda;
    model->lapse = isnan(model->options->labels_lapse) ? 0 : model->options->labels_lapse;
    model->left_bias = model->tie = 0;
    model->lapse_labels = 0;
    drift_clear(&model->drift);
    drift_clear(&model->control);
    model->return_rate = 1;
    model->policy_pools = 0;
    if (model->space.name != NULL && set_dimension(model, (size_t)entry->dimension))
        return true;
    drop_dimension(model);
    free(model->space.name);
    model->space.name = NULL;
    return false;
}

static enum applied refused(struct error *error, const char *reason)
{
    error_set(error, ERROR_DATA, "%s", reason);
    return APPLIED_REFUSED;
}

bool model_finite(const double *values, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        if (!isfinite(values[k]))
            return false;
    }
    return true;
}

static bool space_is_valid(const struct model *model, const struct entry_space *entry,
                           struct error *error)
{
    size_t dimension = (size_t)entry->dimension;
    if (entry->dimension < 1 || dimension > model->options->limits_dimension)
        return error_set(error, ERROR_DATA,
                         "dimension: %d is not within 1 to limits.dimension = %zu",
                         entry->dimension, model->options->limits_dimension);
    if (entry->centre.size != dimension * sizeof(double))
        return error_set(error, ERROR_DATA, "centre: its size is not that of the dimension");
    if (!(entry->scale > 0) || !isfinite(entry->scale))
        return error_set(error, ERROR_DATA, "scale: is not a positive number");
    for (size_t k = 0; k < dimension; k++) {
        double value;
        memcpy(&value, entry->centre.data + k * sizeof value, sizeof value);
        if (!isfinite(value))
            return error_set(error, ERROR_DATA, "centre[%zu]: is not finite", k);
    }
    return true;
}

/* A SPACE that is written again (pools = 0) says what was in force then: it outlasts a loser of the
 * first hour, whose winner was deleted from the topic before it. Everything else that is known of
 * the space was made in this scale. */
static enum applied space_renewed(struct model *model, const struct entry_space *entry,
                                  int64_t offset)
{
    struct space *space = &model->space;
    bool same = space->scale == entry->scale &&
                memcmp(space->centre, entry->centre.data, entry->centre.size) == 0;
    memcpy(space->centre, entry->centre.data, entry->centre.size);
    space->scale = entry->scale;
    space->offset = offset;
    space->renewed = true;
    return same ? APPLIED_KNOWN : APPLIED_NEW;
}

enum applied model_space(struct model *model, const struct entry_space *entry, int64_t time,
                         int64_t offset, struct error *error)
{
    struct space *space = &model->space;
    if (!space_is_valid(model, entry, error))
        return APPLIED_REFUSED;
    bool known =
        space->name != NULL && identity_equal(space->id, identity_of(entry->feature_space));
    if (known && time > space->time)
        space->time = time;
    if (known && entry->pools == 0 && !space->renewed)
        return space_renewed(model, entry, offset);
    if (known && offset >= space->offset)
        return APPLIED_KNOWN;
    if (!set_space(model, entry))
        return APPLIED_NO_MEMORY;
    space->time = time;
    memcpy(space->centre, entry->centre.data, entry->centre.size);
    space->scale = entry->scale;
    space->offset = offset;
    model->fresh = -1;
    return APPLIED_NEW;
}

/* One lambda for each group; a single one, of a fit without groups, is that of all. */
static bool read_lambdas(const struct model *model, const struct entry_fit *fit, double *lambdas,
                         struct error *error)
{
    size_t given = fit->lambda.size / sizeof *lambdas;
    if (fit->lambda.size % sizeof *lambdas != 0 || (given != 1 && given != model->groups))
        return error_set(error, ERROR_DATA,
                         "lambda: has %zu bytes; features.groups and features.blocks make %zu "
                         "groups, of 8 bytes each",
                         fit->lambda.size, model->groups);
    for (size_t k = 0; k < model->groups; k++) {
        memcpy(&lambdas[k], fit->lambda.data + (given == 1 ? 0 : k * sizeof *lambdas),
               sizeof *lambdas);
        if (!(lambdas[k] > 0) || !isfinite(lambdas[k]))
            return error_set(error, ERROR_DATA, "lambda[%zu]: is not a positive number", k);
        if (lambdas[k] < FIT_LAMBDA_MIN)
            return error_set(error, ERROR_DATA, "lambda[%zu]: %g is below %g", k, lambdas[k],
                             FIT_LAMBDA_MIN);
    }
    return true;
}

/* A fit made before features.groups was changed, as far as can be told. */
static bool is_of_other_groups(const struct model *model, const struct entry_fit *fit)
{
    size_t given = fit->lambda.size / sizeof(double);
    return fit->lambda.size % sizeof(double) == 0 && given > 1 && given <= SEL_GROUPS_MAX &&
           given != model->groups && fit->fit_id < FIT_ID_MAX / 2;
}

/* The geometric mean over the features; of one group its lambda, bit for bit. */
static double mean_lambda(const struct model *model)
{
    double sum = 0;
    if (model->groups == 1)
        return model->lambdas[0];
    for (size_t k = 0; k < model->space.dimension; k++)
        sum += log(model->lambdas[model->group[k]]);
    return exp(sum / (double)model->space.dimension);
}

static bool psi_in_range(const double *psi, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        if (!(fabs(psi[k]) <= FIT_PSI_MAX))
            return false;
    }
    return true;
}

enum applied model_fit(struct model *model, const struct entry *entry, struct error *error)
{
    const struct entry_fit *fit = &entry->fit;
    if (fit->fit_id <= model->fit_id)
        return APPLIED_KNOWN;
    size_t d = fit->psi.size / sizeof(double);
    if (fit->fit_id > FIT_ID_MAX)
        return refused(error, "fit_id: is larger than fits can count");
    if (fit->psi.size % sizeof(double) != 0 || d != model->space.dimension)
        return refused(error, "psi: its size is not that of the dimension");
    double lambdas[SEL_GROUPS_MAX];
    if (!read_lambdas(model, fit, lambdas, error)) {
        /* The window's picks name such fits: their numbers are not given again. */
        if (is_of_other_groups(model, fit) && fit->fit_id > model->fit_last)
            model->fit_last = fit->fit_id;
        return APPLIED_REFUSED;
    }
    if (!(fit->lapse >= 0 && fit->lapse < 1) || !(fit->return_rate > 0 && fit->return_rate <= 1))
        return refused(error, "lapse or return_rate: out of range");
    if (!isfinite(fit->left_bias) || !(fit->tie >= 0 && fit->tie <= FIT_TIE_MAX))
        return refused(error, "left_bias or tie: out of range");
    double *psi = malloc(fit->psi.size);
    if (psi == NULL)
        return APPLIED_NO_MEMORY;
    memcpy(psi, fit->psi.data, fit->psi.size);
    if (!psi_in_range(psi, d)) {
        free(psi);
        return refused(error, "psi: is not finite, or beyond what margins can be computed with");
    }
    enum applied rows = annotators_adopt(&model->annotators, fit->annotators, error);
    if (rows != APPLIED_NEW) {
        free(psi);
        return rows;
    }
    free(model->psi);
    model->psi = psi;
    model->fit_id = fit->fit_id;
    if (model->fit_last < fit->fit_id)
        model->fit_last = fit->fit_id;
    model->fit_time = entry->time;
    model->fit_labels = fit->labels < 0 ? 0 : fit->labels;
    memcpy(model->lambdas, lambdas, model->groups * sizeof *lambdas);
    model->lambda = mean_lambda(model);
    model->lapse = fit->lapse;
    model->left_bias = fit->left_bias;
    model->tie = fit->tie;
    model->return_rate = fit->return_rate;
    model->stale = model->policy_stale = true;
    model->fresh = -1;
    return APPLIED_NEW;
}

double model_margin(const struct model *model, const float *x)
{
    double margin = 0;
    for (size_t k = 0; k < model->space.dimension; k++)
        margin += model->psi[k] * (double)x[k];
    return margin;
}
