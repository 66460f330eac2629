/* Requests: found by id, pair, prompt and label, listed while under way, made and closed by
 * entries.
 */
#include <float.h>
#include <string.h>

#include "requests_internal.h"

_Static_assert(offsetof(struct request, x) == 112, "window pairs are many");

static struct id id_of(const void *context, const void *thing)
{
    (void)context;
    return ((const struct request *)thing)->id;
}

static struct id plain_label_of(const void *context, const void *thing)
{
    (void)context;
    return ((const struct request *)thing)->plain.id;
}

static struct id listed_label_of(const void *context, const void *thing)
{
    (void)context;
    return ((const struct listed_label *)thing)->said.id;
}

static struct id pair_of(const void *context, const void *thing)
{
    return request_pair(context, thing);
}

static struct id prompt_of(const void *context, const void *thing)
{
    return request_prompt(context, thing);
}

void requests_init(struct requests *requests, struct store *store)
{
    *requests = (struct requests){.store = store, .slot_last = -1, .issued_first = INT64_MAX};
    index_init(&requests->by_id, store, id_of, requests);
    index_init(&requests->by_pair, store, pair_of, requests);
    index_init(&requests->by_prompt, store, prompt_of, requests);
    index_init(&requests->by_plain_label, store, plain_label_of, requests);
    index_init(&requests->by_listed_label, store, listed_label_of, requests);
    names_init(&requests->spaces, store, REQUEST_SPACES_MAX);
    names_init(&requests->policies, store, REQUEST_POLICIES_MAX);
    names_init(&requests->annotators, store, REQUEST_ANNOTATORS_MAX);
}

void requests_fini(struct requests *requests)
{
    size_t at = 0;
    for (struct request *request; (request = requests_next(requests, &at)) != NULL;)
        requests_forget(requests, request);
    index_fini(&requests->by_id);
    index_fini(&requests->by_pair);
    index_fini(&requests->by_prompt);
    index_fini(&requests->by_plain_label);
    index_fini(&requests->by_listed_label);
    names_fini(&requests->spaces);
    names_fini(&requests->policies);
    names_fini(&requests->annotators);
    requests_init(requests, requests->store);
}

/* ---- looking up ---- */

struct request *requests_find(const struct requests *requests, struct id id)
{
    return index_find(&requests->by_id, id);
}

struct request *requests_find_pair(const struct requests *requests, struct id pair)
{
    return index_find(&requests->by_pair, pair);
}

struct request *requests_of(const struct requests *requests, struct id prompt)
{
    return index_find(&requests->by_prompt, prompt);
}

struct request *requests_next(const struct requests *requests, size_t *at)
{
    return index_next(&requests->by_id, at);
}

bool requests_has_label(const struct requests *requests, struct id label_id)
{
    return index_find(&requests->by_plain_label, label_id) != NULL ||
           index_find(&requests->by_listed_label, label_id) != NULL;
}

void requests_note_issued(struct requests *requests, const struct request *request)
{
    if (request->whole && request->issued_at < requests->issued_first)
        requests->issued_first = request->issued_at;
}

/* ---- under way ---- */

static void open_insert(struct requests *requests, struct request *request)
{
    request->open = true;
    request->under_way.next = NULL;
    request->under_way.before = requests->open_last;
    if (requests->open_last != NULL)
        requests->open_last->under_way.next = request;
    else
        requests->open_first = request;
    requests->open_last = request;
    requests->open_count++;
}

void requests_not_under_way(struct requests *requests, struct request *request)
{
    if (!request->open)
        return;
    struct request *next = request->under_way.next, *before = request->under_way.before;
    request->open = false;
    if (before != NULL)
        before->under_way.next = next;
    else
        requests->open_first = next;
    if (next != NULL)
        next->under_way.before = before;
    else
        requests->open_last = before;
    requests->open_count--;
}

void requests_follow(struct requests *requests, struct request *request)
{
    bool open = request->selected && !request->expired && !request->withdrawn &&
                !request->elsewhere && request->labels == LABELS_NONE;
    if (open && !request->open)
        open_insert(requests, request);
    else if (!open)
        requests_not_under_way(requests, request);
}

void requests_set_elsewhere(struct requests *requests, struct request *request, bool elsewhere)
{
    request->elsewhere = elsewhere;
    requests_follow(requests, request);
}

/* ---- entries ---- */

enum applied requests_obtain(struct requests *requests, struct span request_id,
                             struct request **request, bool *fresh, struct error *error)
{
    struct id id;
    if (!identity_parse(request_id, &id)) {
        error_set(error, ERROR_DATA, "request_id: is not 32 hex digits");
        return APPLIED_REFUSED;
    }
    *request = requests_find(requests, id);
    *fresh = *request == NULL;
    if (!*fresh)
        return APPLIED_NEW;
    if (index_reserve(&requests->by_id))
        *request = store_take(requests->store, sizeof **request);
    if (*request == NULL)
        return APPLIED_NO_MEMORY;
    memset(*request, 0, sizeof **request);
    (*request)->id = id;
    (*request)->partition = -1;
    index_add(&requests->by_id, *request);
    requests->count++;
    return APPLIED_NEW;
}

enum applied requests_selected(struct requests *requests, const struct entry *entry,
                               struct request **out, struct error *error)
{
    const struct entry_selected *selected = &entry->selected;
    if (!requests_check_selected(selected, error))
        return APPLIED_REFUSED;
    bool fresh;
    enum applied result = requests_obtain(requests, selected->request_id, out, &fresh, error);
    if (result != APPLIED_NEW)
        return result;
    if ((*out)->selected)
        return APPLIED_KNOWN;
    if (!(*out)->whole) {
        const struct request_body body = {
            selected->x,           selected->prompt_id,      selected->left_id,
            selected->right_id,    selected->policy_version, selected->feature_space,
            selected->policy_epoch};
        result = requests_complete(requests, out, &body, error);
        if (result != APPLIED_NEW) {
            if (fresh)
                requests_forget(requests, *out);
            return result;
        }
    }
    struct request *request = *out;
    request->selected = true;
    request->weight = selected->weight;
    request->cost = (float)fmin(selected->cost, FLT_MAX);
    request->replica = (unsigned)selected->replica & REQUEST_REPLICAS_MAX;
    request->attempt = (unsigned)selected->attempt & REQUEST_ATTEMPTS_MAX;
    request->fit_id = (uint32_t)selected->fit_id;
    request->issued_at = selected->issued_at;
    requests_note_issued(requests, request);
    request->deadline = selected->deadline & REQUEST_DEADLINE_MAX;
    request->partition = selected->completions_partition & REQUEST_PARTITION_MAX;
    request->arm = (unsigned)selected->arm & 3;
    if (request->labels == LABELS_NONE)
        request->under_way.propensity = selected->propensity;
    else if (request->labels == LABELS_LISTED)
        request->listed.propensity = selected->propensity;
    if (selected->attempt > requests->attempts_most)
        requests->attempts_most = selected->attempt;
    int64_t slot = selected->slot < REQUEST_SLOT_MAX ? selected->slot : REQUEST_SLOT_MAX - 1;
    if (slot > requests->slot_last)
        requests->slot_last = slot; /* the next one is valid too */
    requests_follow(requests, request);
    return APPLIED_NEW;
}
enum applied requests_closed(struct requests *requests, struct span request_id, bool expired,
                             struct request **out, struct error *error)
{
    bool fresh;
    enum applied result = requests_obtain(requests, request_id, out, &fresh, error);
    if (result != APPLIED_NEW)
        return result;
    struct request *request = *out;
    if (expired ? request->expired : request->withdrawn)
        return APPLIED_KNOWN;
    if (expired)
        request->expired = true;
    else
        request->withdrawn = true;
    requests_follow(requests, request);
    return APPLIED_NEW;
}

void requests_forget(struct requests *requests, struct request *request)
{
    requests_not_under_way(requests, request);
    requests_give_labels(requests, request);
    index_remove(&requests->by_id, request);
    requests->count--;
    requests_give_block(requests, request);
}
