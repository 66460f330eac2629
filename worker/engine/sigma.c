/* Sigma, by the invariant of model.h. */
#include <stdlib.h>

#include "model.h"

/* Share of w that stands in Sigma, faded by the age of the policy. */
static double share_of(const struct model *model, const struct request *request)
{
    return model_request_weight(model, request) * request_share(request, model->return_rate);
}

double model_weight(const struct model *model, const struct request *request)
{
    struct request_label label;
    double lapse = model->lapse;
    if (model_seen_by_fit(model, request) && request_counting(request, &label))
        lapse = annotators_lapse(&model->annotators, model->requests, label.annotator, lapse);
    return sel_weight_tie(model_margin(model, request->x), lapse, model->tie);
}

/* w of a request under the newest fit. */
static double current_weight(const struct model *model, const struct request *request)
{
    if (request->selected && request->fit_id == model->fit_id)
        return request->weight;
    return model_weight(model, request);
}

/* Sums the members into `information`, weighted or with w = 1, and factors it. */
static enum sel_status sum_members(const struct model *model, struct sel_information *information,
                                   const double *lambda, bool weighted)
{
    enum { BLOCK = 256 };
    enum sel_status status = sel_information_reset(information, lambda);
    const float *x[BLOCK];
    double w[BLOCK];
    size_t filled = 0;
    for (size_t k = 0; k < model->member_count && status == SEL_OK; k++) {
        const struct request *request = model->members[k];
        x[filled] = request->x;
        w[filled++] = weighted ? request->applied : share_of(model, request);
        if (filled == BLOCK || k + 1 == model->member_count) {
            status = sel_information_accumulate(information, x, w, filled);
            filled = 0;
        }
    }
    return status == SEL_OK ? sel_information_factor(information) : status;
}

static enum sel_status rebuild(struct model *model)
{
    size_t d = model->space.dimension;
    double *lambda = malloc(d * sizeof *lambda);
    if (lambda == NULL || !model_collect(model)) {
        free(lambda);
        return SEL_NO_MEMORY;
    }
    for (size_t k = 0; k < d; k++)
        lambda[k] = model->lambdas[model->group[k]];
    for (size_t k = 0; k < model->member_count; k++) {
        struct request *request = model->members[k];
        request->applied = share_of(model, request) * current_weight(model, request);
    }
    enum sel_status status = sum_members(model, model->information, lambda, true);
    if (status == SEL_OK && model->unweighted != NULL)
        status = sum_members(model, model->unweighted, lambda, false);
    free(lambda);
    model_members_end(model);
    model->stale = status != SEL_OK;
    model->moved = true;
    return status;
}

struct sel_information *model_design(const struct model *model)
{
    return model->unweighted != NULL ? model->unweighted : model->information;
}

static enum sel_status shift(struct sel_information *information, const float *x, double change)
{
    return change > 0 ? sel_information_add(information, x, change)
                      : sel_information_remove(information, x, -change);
}

bool model_picked(struct model *model, struct request *request, struct error *error)
{
    if (model->unweighted == NULL)
        return true;
    enum sel_status status = shift(model->information, request->x, request->applied);
    return status == SEL_OK ||
           error_set(error, ERROR_FATAL, "information matrix: %s", sel_status_text(status));
}

static bool design_stale(const struct model *model)
{
    return sel_information_stale(model->information) ||
           (model->unweighted != NULL && sel_information_stale(model->unweighted));
}

void model_follow(struct model *model, struct request *request)
{
    if (model->stale || model->information == NULL || request->cut ||
        !model_in_window(model, request))
        return;
    if (model->requests->count > model->options->labels_max && model_seen_by_fit(model, request)) {
        model->stale = true; /* it may push another one out of the newest labels.max */
        return;
    }
    double weight = current_weight(model, request);
    double target = share_of(model, request) * weight;
    bool counted = model_counts(model, request);
    /* w may have changed with the annotator, not only the share. */
    if (model->unweighted != NULL && model->annotators.count > 0 &&
        (request->counted || model_seen_by_fit(model, request)))
        model->stale = true;
    model->counted += counted - request->counted;
    request->counted = counted;
    double change = target - request->applied;
    if (model->unweighted != NULL && weight == 0)
        model->stale = true; /* the share may have changed all the same */
    if (change == 0)
        return;
    /* Between fits the weight stays, so that `change` is that of the share times it. */
    enum sel_status status = shift(model->information, request->x, change);
    if (status == SEL_OK && model->unweighted != NULL)
        status = shift(model->unweighted, request->x, change / weight);
    request->applied = target;
    model->moved = true;
    if (status != SEL_OK || design_stale(model))
        model->stale = true;
}

bool model_refresh(struct model *model, struct error *error)
{
    if (error != NULL)
        error->class = ERROR_NONE;
    if (model->information == NULL)
        return false;
    if (design_stale(model) || model->edge != model_edge(model))
        model->stale = true;
    model->edge = model_edge(model);
    model_forget_versions(model);
    if (model->stale) {
        enum sel_status status = rebuild(model);
        if (status != SEL_OK)
            return error_set(error, ERROR_FATAL, "information matrix: %s", sel_status_text(status));
    }
    if (model->policy_stale) {
        model_sum_policy(model);
        model->moved = true;
    }
    return model->policy_pools > 0;
}

double model_trace(const struct model *model)
{
    return model->policy_pools > 0 ? sel_information_trace(model->information, model->policy)
                                   : (double)NAN;
}
