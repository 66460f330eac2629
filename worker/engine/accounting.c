/* The snapshot of the accounting: labels of the window in the order of asking, and shadows. */
#include "accounting.h"

#include "selection.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

enum { SQUARES = 14 }; /* matrices of a snapshot and of what works on it */

size_t accounting_shadow_bytes(size_t bytes)
{
    return bytes / 5 * 2;
}

/* Labels that fit beside the shadows' copy and the matrices. */
static size_t label_rows(const struct engine *engine, size_t bytes)
{
    const struct shadows *shadows = &engine->shadows;
    size_t d = shadows->dimension;
    size_t fixed = SQUARES * d * d * sizeof(double);
    size_t row = d * sizeof(float) + 10 * sizeof(double);
    for (size_t k = 0; k < shadows_pools(shadows); k++)
        fixed += shadows->traffic.count[k] * d * sizeof(float) + 4 * sizeof(double);
    for (size_t k = 0; k < shadows->count; k++)
        fixed += shadows_held(shadows, k) * (d * sizeof(float) + 2 * sizeof(double));
    for (size_t k = 0; k < RIVALS; k++)
        fixed += rival_held(&engine->rivals.each[k]) * d * sizeof(float);
    return bytes > fixed ? (bytes - fixed) / row : 0;
}

void accounting_snapshot_free(struct accounting_snapshot *snapshot)
{
    free(snapshot->x);
    free(snapshot->y);
    free(snapshot->weight);
    free(snapshot->lapses);
    free(snapshot->arm);
    free(snapshot->shadow_x);
    free(snapshot->pool_rows);
    free(snapshot->pool_weight);
    free(snapshot->pool_x);
    free(snapshot->rival_x);
    free(snapshot->psi);
    free(snapshot->policy);
    free(snapshot->space);
    *snapshot = (struct accounting_snapshot){0};
}

/* ---- labels ---- */

static int asked_first(const void *left, const void *right)
{
    const struct request *a = *(const struct request *const *)left;
    const struct request *b = *(const struct request *const *)right;
    if (a->issued_at != b->issued_at)
        return a->issued_at < b->issued_at ? -1 : 1;
    return identity_compare(a->id, b->id);
}

static bool counts(const struct model *model, const struct request *request)
{
    return request->counted && model_in_window(model, request) && request_informative(request);
}

static const struct request **list_labels(const struct engine *engine, size_t *count)
{
    const struct request **list = malloc(((size_t)engine->model.counted + 1) * sizeof *list);
    const struct request *request;
    *count = 0;
    for (size_t at = 0; list != NULL && *count < (size_t)engine->model.counted &&
                        (request = requests_next(&engine->requests, &at)) != NULL;
         at++) {
        if (counts(&engine->model, request))
            list[(*count)++] = request;
    }
    if (*count > 0)
        qsort(list, *count, sizeof *list, asked_first);
    return list;
}

static void copy_label(const struct model *model, const struct request *request,
                       struct accounting_snapshot *snapshot)
{
    size_t k = snapshot->count++, d = snapshot->dimension;
    struct request_label label;
    request_counting(request, &label);
    memcpy(snapshot->x + k * d, request->x, d * sizeof *snapshot->x);
    snapshot->y[k] = label.probability;
    snapshot->weight[k] = label.confidence;
    snapshot->lapses[k] =
        annotators_lapse(&model->annotators, model->requests, label.annotator, model->lapse);
    snapshot->arm[k] = request->selected ? (unsigned char)request->arm : ACCOUNTING_IMPORTED;
}

/* A uniform sample where there is no room for all (Knuth, algorithm S). */
static bool copy_labels(const struct engine *engine, size_t rows,
                        struct accounting_snapshot *snapshot)
{
    size_t count, d = snapshot->dimension;
    const struct span key = {(const char *)&engine->now, sizeof engine->now};
    struct sel_random random =
        identity_random(engine->options.seed, "accounting", identity_of(key));
    const struct request **list = list_labels(engine, &count);
    size_t wanted = count < rows ? count : rows;
    snapshot->x = malloc((wanted * d + 1) * sizeof *snapshot->x);
    snapshot->y = malloc((wanted + 1) * sizeof *snapshot->y);
    snapshot->weight = malloc((wanted + 1) * sizeof *snapshot->weight);
    snapshot->lapses = malloc((wanted + 1) * sizeof *snapshot->lapses);
    snapshot->arm = malloc(wanted + 1);
    snapshot->each = wanted > 0 ? (double)count / (double)wanted : 1;
    bool done = list != NULL && snapshot->x != NULL && snapshot->y != NULL &&
                snapshot->weight != NULL && snapshot->lapses != NULL && snapshot->arm != NULL;
    for (size_t k = 0; done && k < count; k++) {
        bool asked = list[k]->selected;
        snapshot->selected += asked && list[k]->arm == ARM_SELECTED;
        snapshot->control += asked && list[k]->arm == ARM_CONTROL;
        if (sel_random_below(&random, count - k) < wanted - snapshot->count)
            copy_label(&engine->model, list[k], snapshot);
    }
    free(list);
    return done;
}

/* ---- the rest ---- */

static bool copy_shadows(const struct shadows *shadows, struct accounting_snapshot *snapshot)
{
    size_t d = shadows->dimension, rows = 0, at = 0;
    for (size_t k = 0; k < shadows->count; k++)
        rows += snapshot->held[k] = shadows_held(shadows, k);
    snapshot->shadows = shadows->count;
    snapshot->slots = shadows->slots;
    snapshot->since = shadows->since;
    snapshot->shadow_x = malloc((rows * d + 1) * sizeof *snapshot->shadow_x);
    for (size_t k = 0; snapshot->shadow_x != NULL && k < shadows->count; k++) {
        memcpy(snapshot->shadow_x + at * d, shadows_x(shadows, k),
               snapshot->held[k] * d * sizeof(float));
        at += snapshot->held[k];
    }
    return snapshot->shadow_x != NULL;
}

static bool copy_rivals(const struct rivals *rivals, struct accounting_snapshot *snapshot)
{
    size_t d = snapshot->dimension, rows = 0, at = 0;
    if (rivals->dimension != d || rival_held(&rivals->each[0]) == 0)
        return true;
    for (size_t k = 0; k < RIVALS; k++) {
        snapshot->rival_names[k] = rivals->each[k].rule->name;
        rows += snapshot->rival_held[k] = rival_held(&rivals->each[k]);
    }
    snapshot->rival_x = malloc((rows * d + 1) * sizeof *snapshot->rival_x);
    for (size_t k = 0; snapshot->rival_x != NULL && k < RIVALS; k++) {
        memcpy(snapshot->rival_x + at * d, rivals->each[k].x,
               snapshot->rival_held[k] * d * sizeof(float));
        at += snapshot->rival_held[k];
    }
    return snapshot->rival_x != NULL;
}

/* Too few pools say too little of I. */
static bool copy_pools(const struct shadows *shadows, struct accounting_snapshot *snapshot)
{
    enum { POOLS_LEAST = 50 };
    const struct shadow_pools *pools = &shadows->traffic;
    size_t d = shadows->dimension, count = shadows_pools(shadows), rows = 0, at = 0;
    if (count < POOLS_LEAST)
        return true;
    for (size_t k = 0; k < count; k++)
        rows += pools->count[k];
    snapshot->pools = count;
    snapshot->pool_rows = malloc(count * sizeof *snapshot->pool_rows);
    snapshot->pool_weight = malloc(count * sizeof *snapshot->pool_weight);
    snapshot->pool_x = malloc((rows * d + 1) * sizeof *snapshot->pool_x);
    if (snapshot->pool_rows == NULL || snapshot->pool_weight == NULL || snapshot->pool_x == NULL)
        return false;
    for (size_t k = 0; k < count; k++) {
        snapshot->pool_rows[k] = pools->count[k];
        snapshot->pool_weight[k] = pools->weight[k];
        memcpy(snapshot->pool_x + at * d, pools->x + k * pools->rows * d,
               pools->count[k] * d * sizeof(float));
        at += pools->count[k];
    }
    return true;
}

static bool copy_model(const struct engine *engine, struct accounting_snapshot *snapshot)
{
    const struct model *model = &engine->model;
    size_t d = snapshot->dimension;
    snapshot->lambda = model->lambda;
    snapshot->lapse = model->lapse;
    snapshot->tie = model->tie;
    snapshot->fit_id = model->fit_id;
    snapshot->trace = model_trace(model);
    snapshot->effective = model->policy_completions;
    snapshot->beta = engine->options.policy_beta;
    snapshot->fit_lambda = engine->options.fit_lambda;
    snapshot->fit_lambda_max = engine->options.fit_lambda_max;
    snapshot->predicted = drift_recent(&model->control, &snapshot->loss, &snapshot->surprise);
    snapshot->time = engine->now;
    snapshot->psi = malloc(d * sizeof *snapshot->psi);
    snapshot->policy = malloc(d * d * sizeof *snapshot->policy);
    snapshot->space = strdup(model->space.name);
    if (snapshot->psi == NULL || snapshot->policy == NULL || snapshot->space == NULL)
        return false;
    memcpy(snapshot->psi, model->psi, d * sizeof *snapshot->psi);
    memcpy(snapshot->policy, model->policy, d * d * sizeof *snapshot->policy);
    return true;
}

static void scale_rows(float *x, size_t rows, size_t d, const double *scales)
{
    for (size_t k = 0; k < rows; k++)
        for (size_t j = 0; j < d; j++)
            x[k * d + j] = (float)(scales[j] * (double)x[k * d + j]);
}

/* Where groups of features have a lambda each, all is told of features times sqrt(lambda / that of
 * their group), of which every group has the one lambda: no margin and no tr(I S) changes. */
static void even_groups(const struct model *model, struct accounting_snapshot *snapshot)
{
    size_t d = snapshot->dimension, shadow_rows = 0, pool_rows = 0, rival_rows = 0;
    double scales[d];
    if (model->groups < 2)
        return;
    for (size_t j = 0; j < d; j++)
        scales[j] = sqrt(model->lambda / model->lambdas[model->group[j]]);
    for (size_t k = 0; k < snapshot->shadows; k++)
        shadow_rows += snapshot->held[k];
    for (size_t k = 0; k < snapshot->pools; k++)
        pool_rows += snapshot->pool_rows[k];
    for (size_t k = 0; k < RIVALS; k++)
        rival_rows += snapshot->rival_held[k];
    scale_rows(snapshot->x, snapshot->count, d, scales);
    scale_rows(snapshot->shadow_x, shadow_rows, d, scales);
    scale_rows(snapshot->pool_x, pool_rows, d, scales);
    scale_rows(snapshot->rival_x, rival_rows, d, scales);
    for (size_t j = 0; j < d; j++) {
        snapshot->psi[j] /= scales[j];
        for (size_t k = 0; k < d; k++)
            snapshot->policy[j * d + k] *= scales[j] * scales[k];
    }
}

static bool may_begin(const struct engine *engine, struct error *error)
{
    const struct model *model = &engine->model;
    const struct shadows *shadows = &engine->shadows;
    if (engine->options.accounting_bytes == 0)
        return error_set(
            error, ERROR_DATA,
            "there are no shadows: accounting.memory is 0 or memory.limit leaves none");
    if (model->space.name == NULL)
        return error_set(error, ERROR_DATA, "no feature space has a scale yet");
    if (model->information == NULL || model->stale || model->policy_stale ||
        shadows->dimension != model->space.dimension)
        return error_set(error, ERROR_RETRY, "the information matrix is about to be rebuilt");
    if (shadows->count == 0)
        return error_set(error, ERROR_DATA,
                         "accounting.memory, or what memory.limit leaves of it, is too small for "
                         "%zu features: %zu MiB are needed",
                         shadows->dimension,
                         (5 * shadows_least(shadows->dimension) / 2 + (1 << 20)) >> 20);
    if (model->policy_pools == 0)
        return error_set(error, ERROR_DATA, "no moments of the policy yet");
    return model->fit_id > 0 || error_set(error, ERROR_DATA, "no fit yet");
}

bool engine_accounting(const struct engine *engine, size_t bytes,
                       struct accounting_snapshot *snapshot, struct error *error)
{
    *snapshot = (struct accounting_snapshot){.dimension = engine->model.space.dimension};
    if (!may_begin(engine, error))
        return false;
    for (size_t k = 0; k < engine->shadows.count; k++) {
        if (shadows_held(&engine->shadows, k) < 2 * snapshot->dimension)
            return error_set(error, ERROR_DATA,
                             "the shadows have seen too few slots since %s: %lld",
                             "the start of this worker", (long long)engine->shadows.slots);
    }
    size_t rows = label_rows(engine, bytes);
    if (rows < 4 * snapshot->dimension)
        return error_set(error, ERROR_DATA, "accounting.memory leaves no room for the labels");
    if (!copy_labels(engine, rows, snapshot) || !copy_shadows(&engine->shadows, snapshot) ||
        !copy_rivals(&engine->rivals, snapshot) || !copy_pools(&engine->shadows, snapshot) ||
        !copy_model(engine, snapshot))
        error_set(error, ERROR_DATA, "out of memory for the accounting");
    else if (snapshot->selected == 0)
        error_set(error, ERROR_DATA, "no pair of the selected arm has a label yet");
    else {
        even_groups(&engine->model, snapshot);
        return true;
    }
    accounting_snapshot_free(snapshot);
    return false;
}
