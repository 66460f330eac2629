/* The requests that count in Sigma, and those that cannot matter any more. */
#include <stdlib.h>

#include "model.h"
#include "replicas.h"

int64_t model_edge(const struct model *model)
{
    int64_t window = model->options->labels_window;
    int64_t step = window / MODEL_BUCKETS < 1 ? 1 : window / MODEL_BUCKETS;
    return model->requests->time_last / step * step - window;
}

bool model_in_window(const struct model *model, const struct request *request)
{
    const struct requests *requests = model->requests;
    return request->whole && request_dimension(requests, request) == model->space.dimension &&
           identity_equal(request_space_id(requests, request), model->space.id) &&
           request->issued_at >= model->edge;
}

static void reverse(struct request **members, size_t count)
{
    for (size_t k = 0; k < count / 2; k++) {
        struct request *moved = members[k];
        members[k] = members[count - 1 - k];
        members[count - 1 - k] = moved;
    }
}

/* By insertion: they come from the index nearly in order but for the first, whose places were at
 * its end. */
static void sort_by_id(struct request **members, size_t count)
{
    size_t wrapped = 0;
    while (wrapped < count && members[wrapped]->id.high >> 63 != 0)
        wrapped++;
    reverse(members, wrapped);
    reverse(members + wrapped, count - wrapped);
    reverse(members, count);
    for (size_t k = 1; k < count; k++) {
        struct request *moved = members[k];
        size_t at = k;
        for (; at > 0 && identity_compare(moved->id, members[at - 1]->id) < 0; at--)
            members[at] = members[at - 1];
        members[at] = moved;
    }
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

bool model_seen_by_fit(const struct model *model, const struct request *request)
{
    struct request_label label;
    return request_counting(request, &label) && label.accepted_at < model->fit_time;
}

/* Keeps the newest labels.max of the requests whose label the fit has seen, and all others, in
 * order of id. */
static void cut_oldest(struct model *model)
{
    qsort(model->members, model->member_count, sizeof *model->members, compare_newest);
    int64_t labels = 0;
    size_t kept = 0;
    for (size_t k = 0; k < model->member_count; k++) {
        struct request *request = model->members[k];
        bool seen = model_seen_by_fit(model, request);
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
    qsort(model->members, kept, sizeof *model->members, compare_id);
}

bool model_counts(const struct model *model, const struct request *request)
{
    return request_informative(request) && model_request_weight(model, request) > 0;
}

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
        request->counted = model_counts(model, request);
        model->counted += request->counted;
    }
    if ((int64_t)model->member_count > model->options->labels_max)
        cut_oldest(model);
    else
        sort_by_id(model->members, model->member_count);
    return true;
}

/* ---- forgetting ---- */

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
    return request->issued_at < model_edge(model) && now > request->deadline + options->labels_late;
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
    return model->requests->issued_first >= model_edge(model) &&
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
