#include "requests.h"

#include <string.h>

struct requests_of_prompt {
    UT_hash_handle hh;
    struct id prompt;
    struct request *first;
};

void requests_init(struct requests *requests, struct store *store)
{
    *requests = (struct requests){.store = store, .slot_last = -1};
}

static void free_body(struct requests *requests, struct request *request)
{
    if (request->body != NULL)
        store_give(requests->store, request->body, request->body->bytes);
    request->body = NULL;
}

void requests_fini(struct requests *requests)
{
    struct request *request, *next;
    HASH_ITER(hh, requests->by_id, request, next)
    {
        requests_forget(requests, request);
    }
    requests_init(requests, requests->store);
}

struct request *requests_find(const struct requests *requests, struct id id)
{
    struct request *request;
    HASH_FIND(hh, requests->by_id, &id, sizeof id, request);
    return request;
}

struct request_label *requests_find_label(const struct requests *requests,
                                          const struct request *request, struct id label_id)
{
    struct request_label *label;
    HASH_FIND(hh, requests->labels, &label_id, sizeof label_id, label);
    while (label != NULL && request != NULL && label->request != request)
        label = label->same_id;
    return label;
}

/* Labels of one name stand in a chain behind the one in the index. */
static void label_index(struct requests *requests, struct request_label *label)
{
    struct request_label *first = requests_find_label(requests, NULL, label->id);
    if (first == NULL) {
        HASH_ADD(hh, requests->labels, id, sizeof label->id, label);
        return;
    }
    label->same_id = first->same_id;
    first->same_id = label;
}

static void label_unindex(struct requests *requests, struct request_label *label)
{
    struct request_label *first = requests_find_label(requests, NULL, label->id);
    if (first == label) {
        HASH_DEL(requests->labels, label);
        if (label->same_id != NULL)
            HASH_ADD(hh, requests->labels, id, sizeof label->id, label->same_id);
        return;
    }
    while (first->same_id != label)
        first = first->same_id;
    first->same_id = label->same_id;
}

struct request *requests_of(const struct requests *requests, struct id prompt)
{
    struct requests_of_prompt *list;
    HASH_FIND(hh, requests->by_prompt, &prompt, sizeof prompt, list);
    return list == NULL ? NULL : list->first;
}

struct request *requests_find_pair(const struct requests *requests, struct id pair)
{
    struct request *request;
    HASH_FIND(by_pair, requests->by_pair, &pair, sizeof pair, request);
    return request;
}

static void open_insert(struct requests *requests, struct request *request)
{
    request->open = true;
    request->open_next = NULL;
    request->open_before = requests->open_last;
    if (requests->open_last != NULL)
        requests->open_last->open_next = request;
    else
        requests->open_first = request;
    requests->open_last = request;
    requests->open_count++;
}

static void open_remove(struct requests *requests, struct request *request)
{
    if (!request->open)
        return;
    request->open = false;
    if (request->open_before != NULL)
        request->open_before->open_next = request->open_next;
    else
        requests->open_first = request->open_next;
    if (request->open_next != NULL)
        request->open_next->open_before = request->open_before;
    else
        requests->open_last = request->open_before;
    requests->open_count--;
}

/* A request is under way from SELECTED until anything closes it. */
static void open_update(struct requests *requests, struct request *request)
{
    bool open =
        request->selected && !request->expired && !request->withdrawn && request->labels == NULL;
    if (open && !request->open)
        open_insert(requests, request);
    else if (!open)
        open_remove(requests, request);
}

static struct request *add_request(struct requests *requests, struct id id)
{
    struct request *request = store_take(requests->store, sizeof *request);
    if (request == NULL)
        return NULL;
    memset(request, 0, sizeof *request);
    request->id = id;
    request->partition = -1;
    HASH_ADD(hh, requests->by_id, id, sizeof request->id, request);
    requests->count++;
    return request;
}

static bool list_under_prompt(struct requests *requests, struct request *request)
{
    struct requests_of_prompt *list;
    HASH_FIND(hh, requests->by_prompt, &request->prompt, sizeof request->prompt, list);
    if (list == NULL) {
        list = store_take(requests->store, sizeof *list);
        if (list == NULL)
            return false;
        memset(list, 0, sizeof *list);
        list->prompt = request->prompt;
        HASH_ADD(hh, requests->by_prompt, prompt, sizeof list->prompt, list);
    }
    request->of_prompt = list->first;
    list->first = request;
    return true;
}

static void unlist_from_prompt(struct requests *requests, struct request *request)
{
    struct requests_of_prompt *list;
    HASH_FIND(hh, requests->by_prompt, &request->prompt, sizeof request->prompt, list);
    if (list == NULL)
        return;
    struct request **link = &list->first;
    while (*link != NULL && *link != request)
        link = &(*link)->of_prompt;
    if (*link == request)
        *link = request->of_prompt;
    if (list->first == NULL) {
        HASH_DEL(requests->by_prompt, list);
        store_give(requests->store, list, sizeof *list);
    }
}

/* The newest request of a pair stands in the index. */
static void index_pair(struct requests *requests, struct request *request)
{
    struct request *before = requests_find_pair(requests, request->pair);
    if (before != NULL)
        HASH_DELETE(by_pair, requests->by_pair, before);
    HASH_ADD(by_pair, requests->by_pair, pair, sizeof request->pair, request);
}

static void unindex_pair(struct requests *requests, struct request *request)
{
    if (requests_find_pair(requests, request->pair) == request)
        HASH_DELETE(by_pair, requests->by_pair, request);
}

/* The parts of an entry that SELECTED and LABELLED share. */
struct body_source {
    struct span x, prompt, left, right, version, space;
};

static enum applied attach_body(struct requests *requests, struct request *request,
                                const struct body_source *source, struct error *error)
{
    if (source->x.size == 0 || source->x.size % sizeof(float) != 0) {
        error_set(error, ERROR_DATA, "x: has %zu bytes, not a positive multiple of 4",
                  source->x.size);
        return APPLIED_REFUSED;
    }
    size_t texts = source->prompt.size + source->left.size + source->right.size +
                   source->version.size + source->space.size;
    size_t bytes = sizeof(struct request_body) + source->x.size + texts;
    struct request_body *body = store_take(requests->store, bytes);
    if (body == NULL)
        return APPLIED_NO_MEMORY;
    *body = (struct request_body){.bytes = bytes,
                                  .dimension = (uint32_t)(source->x.size / sizeof(float)),
                                  .prompt_size = (uint32_t)source->prompt.size,
                                  .left_size = (uint32_t)source->left.size,
                                  .right_size = (uint32_t)source->right.size,
                                  .version_size = (uint32_t)source->version.size,
                                  .space_size = (uint32_t)source->space.size};
    memcpy(body->x, source->x.data, source->x.size);
    for (size_t k = 0; k < body->dimension; k++) {
        if (!isfinite(body->x[k])) {
            store_give(requests->store, body, bytes);
            error_set(error, ERROR_DATA, "x[%zu]: is not finite", k);
            return APPLIED_REFUSED;
        }
    }
    char *text = (char *)(body->x + body->dimension);
    const struct span parts[] = {source->prompt, source->left, source->right, source->version,
                                 source->space};
    for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
        if (parts[k].size > 0)
            memcpy(text, parts[k].data, parts[k].size);
        text += parts[k].size;
    }
    request->body = body;
    request->prompt = identity_of(source->prompt);
    request->left = identity_of(source->left);
    request->right = identity_of(source->right);
    request->space = identity_of(source->space);
    request->pair = identity_pair(source->prompt, source->left, source->right);
    index_pair(requests, request);
    if (!list_under_prompt(requests, request)) {
        unindex_pair(requests, request);
        free_body(requests, request);
        return APPLIED_NO_MEMORY;
    }
    return APPLIED_NEW;
}

/* Finds or makes the request that an entry speaks of. *fresh: it was made now. */
static enum applied obtain(struct requests *requests, struct span request_id,
                           struct request **request, bool *fresh, struct error *error)
{
    struct id id;
    if (!identity_parse(request_id, &id)) {
        error_set(error, ERROR_DATA, "request_id: is not 32 hex digits");
        return APPLIED_REFUSED;
    }
    *request = requests_find(requests, id);
    *fresh = *request == NULL;
    if (*fresh)
        *request = add_request(requests, id);
    return *request == NULL ? APPLIED_NO_MEMORY : APPLIED_NEW;
}

enum applied requests_selected(struct requests *requests, const struct entry *entry,
                               struct request **out, struct error *error)
{
    const struct entry_selected *selected = &entry->selected;
    if (!requests_check_selected(selected, error))
        return APPLIED_REFUSED;
    bool fresh;
    enum applied result = obtain(requests, selected->request_id, out, &fresh, error);
    if (result != APPLIED_NEW)
        return result;
    struct request *request = *out;
    if (request->selected)
        return APPLIED_KNOWN;
    if (request->body == NULL) {
        const struct body_source source = {
            selected->x,        selected->prompt_id,      selected->left_id,
            selected->right_id, selected->policy_version, selected->feature_space};
        result = attach_body(requests, request, &source, error);
        if (result != APPLIED_NEW) {
            if (fresh)
                requests_forget(requests, request);
            return result;
        }
    }
    request->selected = true;
    request->weight = selected->weight;
    request->fit_id = selected->fit_id;
    request->policy_epoch = selected->policy_epoch;
    request->issued_at = selected->issued_at;
    request->deadline = selected->deadline;
    request->slot = selected->slot;
    request->partition = selected->completions_partition;
    request->replica = selected->replica;
    request->attempt = selected->attempt;
    request->arm = selected->arm;
    if (selected->slot > requests->slot_last)
        requests->slot_last = selected->slot;
    open_update(requests, request);
    return APPLIED_NEW;
}

static bool superseded(const struct request *request, const struct request_label *label)
{
    for (const struct request_label *other = request->labels; other != NULL; other = other->next) {
        if (other != label && other->replaces && identity_equal(other->supersedes, label->id))
            return true;
    }
    return false;
}

/* <0: left counts rather than right. */
static int label_order(const struct request_label *left, const struct request_label *right)
{
    bool left_read = left->ledger_offset != INT64_MAX;
    bool right_read = right->ledger_offset != INT64_MAX;
    if (left_read != right_read)
        return left_read ? -1 : 1;
    if (!left_read)
        return left->order < right->order ? -1 : 1;
    if (left->ledger_partition != right->ledger_partition)
        return left->ledger_partition < right->ledger_partition ? -1 : 1;
    return left->ledger_offset < right->ledger_offset ? -1 : 1;
}

static void choose_counting(struct request *request)
{
    request->counting = NULL;
    for (const struct request_label *label = request->labels; label != NULL; label = label->next) {
        if (superseded(request, label))
            continue;
        if (request->counting == NULL || label_order(label, request->counting) < 0)
            request->counting = label;
    }
}

/* A label of a known request must be about the same two completions. */
static bool same_pair(const struct request *request, const struct entry_labelled *labelled,
                      struct error *error)
{
    return (identity_equal(request->left, identity_of(labelled->left_id)) &&
            identity_equal(request->right, identity_of(labelled->right_id)) &&
            labelled->x.size == request->body->dimension * sizeof(float) &&
            memcmp(labelled->x.data, request->body->x, labelled->x.size) == 0) ||
           error_set(error, ERROR_DATA, "x, left_id, right_id: are not those of the request");
}

/* What the label says, and where it was read. */
static void label_fill(struct request_label *label, const struct entry *entry, int32_t partition,
                       int64_t offset)
{
    const struct entry_labelled *labelled = &entry->labelled;
    bool silent = labelled->outcome == OUTCOME_SKIP || labelled->outcome == OUTCOME_INVALID;
    label->replaces = labelled->supersedes.size > 0;
    label->supersedes = identity_of(labelled->supersedes);
    label->outcome = labelled->outcome;
    label->probability = silent ? (double)NAN : labelled->probability_left;
    label->confidence = labelled->confidence;
    label->accepted_at = entry->time;
    label->ledger_partition = partition;
    label->ledger_offset = offset;
}

/* A label seen again: decided here it now has its place in the ledger, and says what stands there
 * (another worker may have accepted the label before). */
static enum applied label_again(struct request_label *label, const struct entry *entry,
                                int32_t partition, int64_t offset)
{
    if (offset == INT64_MAX || label->ledger_offset != INT64_MAX)
        return APPLIED_KNOWN;
    const struct request_label *before = label->request->counting;
    const struct request_label said = *label;
    label_fill(label, entry, partition, offset);
    choose_counting(label->request);
    bool same = label->outcome == said.outcome && label->confidence == said.confidence &&
                (label->probability == said.probability || isnan(said.probability));
    return same && label->request->counting == before ? APPLIED_KNOWN : APPLIED_NEW;
}

static enum applied body_of_labelled(struct requests *requests, struct request *request,
                                     const struct entry *entry, struct error *error)
{
    const struct entry_labelled *labelled = &entry->labelled;
    const struct body_source source = {
        labelled->x,        labelled->prompt_id,      labelled->left_id,
        labelled->right_id, labelled->policy_version, labelled->feature_space};
    enum applied result = attach_body(requests, request, &source, error);
    if (result != APPLIED_NEW)
        return result;
    request->issued_at = entry->time;
    request->policy_epoch = labelled->policy_epoch;
    request->arm = labelled->arm;
    request->imported = labelled->origin != ORIGIN_REQUEST;
    return APPLIED_NEW;
}

enum applied requests_labelled(struct requests *requests, const struct entry *entry,
                               int32_t partition, int64_t offset, struct request **out,
                               struct error *error)
{
    const struct entry_labelled *labelled = &entry->labelled;
    bool fresh;
    if (!requests_check_labelled(labelled, error))
        return APPLIED_REFUSED;
    enum applied result = obtain(requests, labelled->request_id, out, &fresh, error);
    if (result != APPLIED_NEW)
        return result;
    struct request *request = *out;
    struct request_label *label =
        requests_find_label(requests, request, identity_of(labelled->label_id));
    if (label != NULL)
        return label_again(label, entry, partition, offset);
    if (request->body == NULL)
        result = body_of_labelled(requests, request, entry, error);
    else if (!same_pair(request, labelled, error))
        result = APPLIED_REFUSED;
    if (result == APPLIED_NEW && (label = store_take(requests->store, sizeof *label)) == NULL)
        result = APPLIED_NO_MEMORY;
    if (result != APPLIED_NEW) {
        if (fresh)
            requests_forget(requests, request);
        return result;
    }
    *label = (struct request_label){.id = identity_of(labelled->label_id),
                                    .request = request,
                                    .next = request->labels,
                                    .order = requests->label_order++};
    label_fill(label, entry, partition, offset);
    request->labels = label;
    label_index(requests, label);
    choose_counting(request);
    open_update(requests, request);
    return APPLIED_NEW;
}

enum applied requests_closed(struct requests *requests, struct span request_id, bool expired,
                             struct request **out, struct error *error)
{
    bool fresh;
    enum applied result = obtain(requests, request_id, out, &fresh, error);
    if (result != APPLIED_NEW)
        return result;
    struct request *request = *out;
    bool *flag = expired ? &request->expired : &request->withdrawn;
    if (*flag)
        return APPLIED_KNOWN;
    *flag = true;
    open_update(requests, request);
    return APPLIED_NEW;
}

bool request_informative(const struct request *request)
{
    /* Without its SELECTED, which stands before it in the same partition, it is from before the
     * window. */
    return request->counting != NULL && !isnan(request->counting->probability) &&
           (request->selected || request->imported);
}

double request_share(const struct request *request, double return_rate)
{
    if (request_informative(request))
        return request->counting->confidence;
    return request->open ? return_rate : 0;
}

static struct span body_text(const struct request *request, size_t before, size_t size)
{
    const struct request_body *body = request->body;
    return (struct span){(const char *)(body->x + body->dimension) + before, size};
}

struct span request_prompt_id(const struct request *request)
{
    return body_text(request, 0, request->body->prompt_size);
}

struct span request_left_id(const struct request *request)
{
    return body_text(request, request->body->prompt_size, request->body->left_size);
}

struct span request_right_id(const struct request *request)
{
    const struct request_body *body = request->body;
    return body_text(request, (size_t)body->prompt_size + body->left_size, body->right_size);
}

struct span request_policy_version(const struct request *request)
{
    const struct request_body *body = request->body;
    return body_text(request, (size_t)body->prompt_size + body->left_size + body->right_size,
                     body->version_size);
}

struct span request_space(const struct request *request)
{
    const struct request_body *body = request->body;
    size_t before = (size_t)body->prompt_size + body->left_size + body->right_size;
    return body_text(request, before + body->version_size, body->space_size);
}

void requests_forget(struct requests *requests, struct request *request)
{
    open_remove(requests, request);
    while (request->labels != NULL) {
        struct request_label *label = request->labels;
        request->labels = label->next;
        label_unindex(requests, label);
        store_give(requests->store, label, sizeof *label);
    }
    if (request->body != NULL) {
        unlist_from_prompt(requests, request);
        unindex_pair(requests, request);
    }
    free_body(requests, request);
    HASH_DEL(requests->by_id, request);
    requests->count--;
    store_give(requests->store, request, sizeof *request);
}
