/* psi, lambda, the lapse rate and rho from the labels of the window: what a FIT holds. */
#include <stdlib.h>
#include <string.h>

#include "model.h"

static bool is_fresh(const struct model *model, const struct request *request)
{
    struct request_label label;
    return request_informative(request) && request_counting(request, &label) &&
           identity_equal(request_space_id(model->requests, request), model->space.id) &&
           label.accepted_at >= model->fit_time && model_request_weight(model, request) > 0;
}

/* What the fit says of the pair before it has seen the label. */
static void watch_drift(struct model *model, const struct request *request)
{
    struct request_label label;
    if (model->fit_id == 0 || model->stale || !model_in_window(model, request) ||
        !request_informative(request) || !request_counting(request, &label) || label.replaces ||
        label.accepted_at < model->fit_time)
        return;
    if (model->tie > 0 && label.probability == .5)
        return; /* what is predicted is the side */
    double q = sel_information_variance(model->information, request->x);
    double margin = model_margin(model, request->x) / sqrt(1 + M_PI * q / 8);
    double lapse =
        annotators_lapse(&model->annotators, model->requests, label.annotator, model->lapse);
    double p = (1 - lapse) * sel_sigmoid(margin) + lapse / 2;
    p = fmin(fmax(p, 1e-12), 1 - 1e-12);
    drift_add(&model->drift, p, label.probability);
    if (request->selected && request->arm == ARM_CONTROL)
        drift_add(&model->control, p, label.probability);
}

void model_label_arrived(struct model *model, const struct request *request)
{
    watch_drift(model, request);
    if (model->fresh >= 0)
        model->fresh += is_fresh(model, request);
}

/* A restore reads hundreds of fits over a full window, and only the fitter ever asks. */
static void count_fresh(struct model *model)
{
    if (model->fresh >= 0)
        return;
    model->fresh = 0;
    const struct request *request;
    for (size_t at = 0; (request = requests_next(model->requests, &at)) != NULL; at++)
        model->fresh += is_fresh(model, request);
}

bool model_fit_due(struct model *model, int64_t now)
{
    /* Labels have left the window, and the FIT would be deleted from the topic some day. */
    if (model->fit_id > 0 && now - model->fit_time >= model->options->labels_window / 2)
        return true;
    if ((model->options->selection.rule->traits & SEL_REFIT_DOUBLING) != 0)
        return model->information != NULL &&
               sel_refit_due((size_t)model->fit_labels, (size_t)model->counted);
    int64_t every = model->options->fit_every;
    int64_t grown = model->counted > 5000 ? model->counted / 100 : 0;
    count_fresh(model);
    return model->information != NULL && model->fresh >= (grown > every ? grown : every);
}

/* The labels of the window, in order of request id, as the fit wants them. */
struct label_set {
    const struct request **request;
    const float **x;
    double *y, *weight;
    double *lapse;             /* that a label is taken at */
    double *margin, *variance; /* without the label */
    uint32_t *annotator;
    size_t count;
};

size_t model_fit_bytes(void)
{
    /* members, and of struct label_set: request, x, five numbers, the annotator and the ids of
     * request and label; while there are none of these, answers of annotators, an id and more. */
    return 2 * sizeof(struct request *) + sizeof(float *) + 5 * sizeof(double) + sizeof(uint32_t) +
           2 * sizeof(struct id);
}

static void label_set_free(struct label_set *set)
{
    free(set->request);
    free(set->x);
    free(set->y); /* and what follows it */
    free(set->annotator);
}

static bool label_set_init(struct label_set *set, size_t room)
{
    set->request = malloc(room * sizeof *set->request);
    set->x = malloc(room * sizeof *set->x);
    set->y = malloc(5 * room * sizeof *set->y);
    set->annotator = malloc(room * sizeof *set->annotator);
    if (set->request == NULL || set->x == NULL || set->y == NULL || set->annotator == NULL)
        return false;
    set->weight = set->y + room;
    set->lapse = set->weight + room;
    set->margin = set->lapse + room;
    set->variance = set->margin + room;
    return true;
}

static bool label_set_fill(const struct model *model, struct label_set *set, struct id *digest)
{
    size_t room = model->member_count == 0 ? 1 : model->member_count;
    struct id *ids = malloc(room * 2 * sizeof *ids);
    bool filled = ids != NULL && label_set_init(set, room);
    for (size_t k = 0; filled && k < model->member_count; k++) {
        const struct request *request = model->members[k];
        struct request_label label;
        double omega = model_request_weight(model, request);
        if (!request_informative(request) || !request_counting(request, &label) || omega == 0)
            continue;
        ids[2 * set->count] = request->id;
        ids[2 * set->count + 1] = label.id;
        set->request[set->count] = request;
        set->x[set->count] = request->x;
        set->annotator[set->count] = label.annotator;
        set->y[set->count] = label.probability;
        set->weight[set->count] = omega * label.confidence;
        set->count++;
    }
    if (filled) {
        const struct span bytes = {(const char *)ids, set->count * 2 * sizeof *ids};
        *digest = identity_of(bytes);
    }
    free(ids);
    return filled;
}

/* rho: the share of the requests whose fate is known that brought information, in the window. What
 * became of a request that another attempt's answer closed, or made superfluous, is not known. A
 * Beta prior of 10 requests with mean .95 stands in for what is not known yet. */
static double find_return_rate(const struct model *model)
{
    double answered = 9.5, decided = 10;
    const struct request *request;
    for (size_t at = 0; (request = requests_next(model->requests, &at)) != NULL; at++) {
        if (!request->selected || request->withdrawn || !model_in_window(model, request))
            continue;
        bool informative = request_informative(request);
        answered += informative;
        decided += request->expired || (request->labels != LABELS_NONE && !request->elsewhere);
    }
    return answered / decided;
}

static bool has_ties(const struct model *model)
{
    return model->options->labels_ties == TIES_DAVIDSON;
}

/* Fewer labels cannot tell lapses from a small psi; of many, one in ten more hardly moves it. The
 * same holds for what annotators are like; where that changes no fit, of few labels too. */
static bool lapse_due(const struct model *model, int64_t labels)
{
    enum { FOR_EACH_FEATURE = 10, OFTEN_BELOW = 2000 };
    if (labels < FOR_EACH_FEATURE * (int64_t)model->space.dimension)
        return false;
    bool matters = isnan(model->options->labels_lapse) || has_ties(model);
    return (matters && labels < OFTEN_BELOW) ||
           labels > model->lapse_labels + model->lapse_labels / 10 || labels < model->lapse_labels;
}

/* The lapse rate that the fit takes as known. */
static enum sel_status find_lapse(struct model *model, const struct label_set *set,
                                  struct sel_preference_options *options)
{
    size_t d = model->space.dimension;
    options->lapse =
        isnan(model->options->labels_lapse) ? model->lapse : model->options->labels_lapse;
    if (!isnan(model->options->labels_lapse) || !lapse_due(model, (int64_t)set->count))
        return SEL_OK;
    double *scratch = malloc(d * sizeof *scratch);
    if (scratch == NULL)
        return SEL_NO_MEMORY;
    struct sel_lapse lapse;
    enum sel_status status =
        sel_preference_lapse(model->preference, set->x, set->y, set->weight, set->count, NULL,
                             options, model->psi, d, &lapse, scratch);
    free(scratch);
    if (status != SEL_OK)
        return status;
    options->lapse = lapse.rate;
    return SEL_OK;
}

static bool by_annotator(const struct model *model)
{
    return model->options->labels_by_annotator && isnan(model->options->labels_lapse);
}

static double find_tie(const struct label_set *set, const struct sel_preference_options *options)
{
    const struct sel_answers answers = {.margin = set->margin,
                                        .variance = set->variance,
                                        .y = set->y,
                                        .weight = set->weight,
                                        .n = set->count};
    return sel_tie_estimate(&answers, options->lapses, options->lapse);
}

/* The rate that each label is taken at, by the rows of a fit. */
static void set_lapses(const struct model *model, const struct annotators *annotators,
                       double overall, struct label_set *set)
{
    for (size_t k = 0; k < set->count; k++)
        set->lapse[k] = annotators_lapse(annotators, model->requests, set->annotator[k], overall);
}

/* The rows of annotators and the parameter of ties, by a fit that is done; where they change the
 * likelihood they call for another. */
static enum sel_status describe_annotators(struct model *model, struct label_set *set,
                                           struct sel_preference_options *options, double *psi,
                                           struct model_fit_result *result)
{
    enum sel_status status =
        sel_preference_left_out(model->preference, set->x, set->y, set->weight, set->count, options,
                                psi, result->preference.lambdas, set->margin, set->variance);
    if (status != SEL_OK)
        return status;
    const struct annotated labels = {set->request, set->annotator, set->y,    set->weight,
                                     set->margin,  set->variance,  set->count};
    struct annotators found = {0};
    struct error ignored;
    if (!annotators_estimate(model->requests, &labels, options->lapse, options->tie,
                             by_annotator(model), &result->annotators, &result->left_bias) ||
        annotators_adopt(&found, (struct span){result->annotators.data, result->annotators.size},
                         &ignored) != APPLIED_NEW)
        return SEL_NO_MEMORY;
    model->lapse_labels = (int64_t)set->count;
    if (options->lapses != NULL)
        set_lapses(model, &found, options->lapse, set);
    if (has_ties(model))
        options->tie = find_tie(set, options);
    if (options->lapses != NULL || has_ties(model))
        status = sel_preference_fit(model->preference, set->x, set->y, set->weight, set->count,
                                    NULL, options, psi, &result->preference);
    result->tie = options->tie;
    annotators_free(&found);
    return status;
}

/* Those of the fit in force stay while nothing new was found. */
static bool keep_annotators(const struct model *model, struct model_fit_result *result)
{
    const struct annotators *known = &model->annotators;
    struct fit_annotator *rows = malloc((known->count + 1) * sizeof *rows);
    if (rows == NULL)
        return false;
    for (size_t k = 0; k < known->count; k++) {
        rows[k] = known->rows[k];
        if (!by_annotator(model))
            rows[k].lapse = result->lapse;
    }
    bool done = annotators_encode(rows, known->count, &result->annotators);
    free(rows);
    result->left_bias = model->left_bias;
    return done;
}

/* psi, lambda and the rates from a set of labels. */
static enum sel_status solve_fit(struct model *model, struct label_set *set, double *psi,
                                 struct model_fit_result *result)
{
    struct sel_preference_options options = sel_preference_defaults(model->space.dimension);
    options.lambda = model->options->fit_lambda;
    options.groups = model->groups;
    options.group = model->group;
    options.lambda_starts = model->lambdas;
    options.lambda_start = model->lambda;
    if (model->options->fit_lambda_max > 0)
        options.lambda_max = model->options->fit_lambda_max;
    result->tie = options.tie = has_ties(model) ? model->tie : 0;
    enum sel_status status = find_lapse(model, set, &options);
    if (status != SEL_OK)
        return status;
    result->lapse = options.lapse;
    set_lapses(model, &model->annotators, options.lapse, set);
    options.lapses = by_annotator(model) ? set->lapse : NULL;
    status = sel_preference_fit(model->preference, set->x, set->y, set->weight, set->count, NULL,
                                &options, psi, &result->preference);
    if (status != SEL_OK && status != SEL_NOT_CONVERGED)
        return status;
    if (lapse_due(model, (int64_t)set->count))
        return describe_annotators(model, set, &options, psi, result);
    return keep_annotators(model, result) ? status : SEL_NO_MEMORY;
}

bool model_compute_fit(struct model *model, double *psi, struct model_fit_result *result,
                       struct error *error)
{
    size_t d = model->space.dimension;
    struct label_set set = {0};
    bool done = false;
    if (!model_collect(model) || !label_set_fill(model, &set, &result->digest)) {
        error_set(error, ERROR_FATAL, "out of memory for a fit");
        goto out;
    }
    memcpy(psi, model->psi, d * sizeof *psi);
    result->annotators.maximum = 2 * ANNOTATORS_BYTES_MAX;
    enum sel_status status = solve_fit(model, &set, psi, result);
    result->return_rate = find_return_rate(model);
    result->labels = (int64_t)set.count;
    done = (status == SEL_OK || status == SEL_NOT_CONVERGED) && model_finite(psi, d);
    if (!done)
        error_set(error, ERROR_FATAL, "fit: %s", sel_status_text(status));
out:
    label_set_free(&set);
    model_members_end(model);
    model->stale = true; /* model_collect() cleared what stood in Sigma */
    return done;
}
