#include "model.h"

#include "replicas.h"

#include <stdlib.h>
#include <string.h>

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

/* ---- Sigma ---- */

/* Where the window of labels begins: it moves with the largest time in the ledger, in sixteenths.
 */
static int64_t window_edge(const struct model *model)
{
    int64_t window = model->options->labels_window;
    int64_t step = window / MODEL_BUCKETS < 1 ? 1 : window / MODEL_BUCKETS;
    return model->requests->time_last / step * step - window;
}

/* True when a request may count in Sigma: of this space and not older than the window. */
bool model_in_window(const struct model *model, const struct request *request)
{
    const struct requests *requests = model->requests;
    return request->whole && request_dimension(requests, request) == model->space.dimension &&
           identity_equal(request_space_id(requests, request), model->space.id) &&
           request->issued_at >= model->edge;
}

static int compare_id(const void *left, const void *right)
{
    const struct request *const *a = left, *const *b = right;
    return identity_compare((*a)->id, (*b)->id);
}

static int compare_newest(const void *left, const void *right)
{
    const struct request *a = *(struct request *const *)left, *b = *(struct request *const *)right;
    if (a->issued_at != b->issued_at)
        return a->issued_at > b->issued_at ? -1 : 1;
    return identity_compare(a->id, b->id);
}

/* The list is made when it is needed and given back after: it would be a tenth of the window. */
static bool members_begin(struct model *model)
{
    free(model->members);
    model->member_count = 0;
    model->members = malloc(((size_t)model->requests->count + 1) * sizeof *model->members);
    return model->members != NULL;
}

void model_members_end(struct model *model)
{
    free(model->members);
    model->members = NULL;
    model->member_count = 0;
}

/* A request whose label the newest fit has seen: only those count towards labels.max, so that what
 * stands in Sigma depends on the entries and the fit alone. */
static bool seen_by_fit(const struct model *model, const struct request *request)
{
    struct request_label label;
    return request_counting(request, &label) && label.accepted_at < model->fit_time;
}

/* Keeps the newest labels.max of the requests whose label the fit has seen, and all others. */
static void cut_oldest(struct model *model)
{
    if ((int64_t)model->member_count <= model->options->labels_max)
        return;
    qsort(model->members, model->member_count, sizeof *model->members, compare_newest);
    int64_t labels = 0;
    size_t kept = 0;
    for (size_t k = 0; k < model->member_count; k++) {
        struct request *request = model->members[k];
        bool seen = seen_by_fit(model, request);
        if (seen && labels >= model->options->labels_max) {
            model->counted -= request->counted;
            request->counted = false;
            request->cut = true;
            continue;
        }
        labels += seen;
        model->members[kept++] = request;
    }
    model->member_count = kept;
}

/* A labelled pair of Sigma: it tells left from right, and its policy is not too old to weigh. */
static bool counts(const struct model *model, const struct request *request)
{
    return request_informative(request) && model_request_weight(model, request) > 0;
}

/* Share of w that stands in Sigma, faded by the age of the policy. */
static double share_of(const struct model *model, const struct request *request)
{
    return model_request_weight(model, request) * request_share(request, model->return_rate);
}

/* Collects the requests that count in Sigma, in order of id. */
bool model_collect(struct model *model)
{
    struct request *request;
    if (!members_begin(model))
        return false;
    model->counted = 0;
    for (size_t at = 0; (request = requests_next(model->requests, &at)) != NULL; at++) {
        request->applied = 0;
        request->counted = request->cut = false;
        if (!model_in_window(model, request))
            continue;
        bool member =
            request->labels != LABELS_NONE || request_share(request, model->return_rate) > 0;
        if (member)
            model->members[model->member_count++] = request;
        request->counted = counts(model, request);
        model->counted += request->counted;
    }
    cut_oldest(model);
    if (model->member_count > 0)
        qsort(model->members, model->member_count, sizeof *model->members, compare_id);
    return true;
}

double model_weight(const struct model *model, const struct request *request)
{
    struct request_label label;
    double lapse = model->lapse;
    if (seen_by_fit(model, request) && request_counting(request, &label))
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
    if (model->requests->count > model->options->labels_max && seen_by_fit(model, request)) {
        model->stale = true; /* it may push another one out of the newest labels.max */
        return;
    }
    double weight = current_weight(model, request);
    double target = share_of(model, request) * weight;
    bool counted = counts(model, request);
    /* w may have changed with the annotator, not only the share. */
    if (model->unweighted != NULL && model->annotators.count > 0 &&
        (request->counted || seen_by_fit(model, request)))
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
    if (design_stale(model) || model->edge != window_edge(model))
        model->stale = true;
    model->edge = window_edge(model);
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

/* ---- forgetting ---- */

size_t model_fit_bytes(void)
{
    /* members, and of struct label_set: request, x, five numbers, the annotator and the ids of
     * request and label; while there are none of these, answers of annotators, an id and more. */
    return 2 * sizeof(struct request *) + sizeof(float *) + 5 * sizeof(double) + sizeof(uint32_t) +
           2 * sizeof(struct id);
}

int64_t model_slack(const struct engine_options *options)
{
    return options->labels_max / 16 + 4 * options->fit_every;
}

/* Whatever comes, this request is not among those that count in Sigma, and no label of it is waited
 * for. */
static bool is_spent(const struct model *model, const struct request *request, int64_t newer)
{
    const struct engine_options *options = model->options;
    int64_t now = model->requests->time_last;
    if (request->open || !request->whole)
        return false;
    bool answered = request->labels != LABELS_NONE || request->elsewhere;
    if (answered && newer >= options->labels_max + model_slack(options))
        return true;
    return request->issued_at < window_edge(model) &&
           now > request->deadline + options->labels_late;
}

/* The attempts of a replica are forgotten together, the newest first: what one of them says decides
 * which other one counts. `newer` is not less for an older one. */
static bool replica_spent(const struct model *model, const struct request *request, int64_t newer,
                          bool (*kept)(void *, const struct request *), void *context)
{
    struct request *attempts[REQUEST_ATTEMPTS_MAX];
    if (!is_spent(model, request, newer) || kept(context, request))
        return false;
    if (!request->selected || model->requests->attempts_most < 2)
        return true;
    size_t count = replicas_attempts(model->requests, request, attempts);
    for (size_t k = 0; k < count; k++)
        if (attempts[k]->attempt > request->attempt || !is_spent(model, attempts[k], newer) ||
            kept(context, attempts[k]))
            return false;
    return true;
}

/* True when no request can be spent: all are within the window, and fewer than would push one out.
 */
static bool nothing_spent(const struct model *model)
{
    return model->requests->issued_first >= window_edge(model) &&
           model->requests->count <= model->options->labels_max + model_slack(model->options);
}

bool model_forget(struct model *model, bool (*kept)(void *, const struct request *), void *context)
{
    struct request *each;
    if (nothing_spent(model))
        return true;
    if (!members_begin(model))
        return false;
    model->requests->issued_first = INT64_MAX;
    for (size_t at = 0; (each = requests_next(model->requests, &at)) != NULL; at++)
        model->members[model->member_count++] = each;
    if (model->member_count > 0)
        qsort(model->members, model->member_count, sizeof *model->members, compare_newest);
    int64_t labelled = 0;
    for (size_t k = 0; k < model->member_count; k++) {
        struct request *request = model->members[k];
        bool has_label = request->labels != LABELS_NONE;
        if (replica_spent(model, request, labelled, kept, context)) {
            model->counted -= request->counted;
            model->stale = model->stale || request->applied != 0;
            requests_forget(model->requests, request);
        } else {
            requests_note_issued(model->requests, request);
        }
        labelled += has_label;
    }
    model_members_end(model);
    return true;
}
