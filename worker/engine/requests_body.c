/* The block of a request that is whole: x, three ids, the names they come with, and its place in
 * the indexes of pairs and prompts. */
#include <string.h>

#include "requests_internal.h"

static size_t block_bytes(size_t dimension, size_t texts)
{
    return offsetof(struct request, x) + dimension * sizeof(float) + texts;
}

size_t requests_bytes(size_t dimension, size_t texts)
{
    /* Four indexes of at most one and a half slots for each. */
    enum { INDEXES = 4 * 12 };
    return block_bytes(dimension, texts) + INDEXES;
}

static size_t texts_of(const struct request *request)
{
    return (size_t)request->prompt_size + request->left_size + request->right_size;
}

static bool check_x(struct span x, struct error *error)
{
    if (x.size == 0 || x.size % sizeof(float) != 0)
        return error_set(error, ERROR_DATA, "x: has %zu bytes, not a positive multiple of 4",
                         x.size);
    for (size_t k = 0; k < x.size / sizeof(float); k++) {
        float value;
        memcpy(&value, x.data + k * sizeof value, sizeof value);
        if (!isfinite(value))
            return error_set(error, ERROR_DATA, "x[%zu]: is not finite", k);
        if (fabs((double)value) > REQUEST_X_MAX)
            return error_set(error, ERROR_DATA, "x[%zu]: %g is farther than %g", k, (double)value,
                             REQUEST_X_MAX);
    }
    return true;
}

/* The names of a request, or none of them. */
static enum applied take_names(struct requests *requests, const struct request_body *body,
                               uint32_t *space, uint32_t *policy, struct error *error)
{
    int64_t dimension = (int64_t)(body->x.size / sizeof(float));
    if (!names_take(&requests->spaces, body->space, dimension, space)) {
        if (requests->spaces.count < REQUEST_SPACES_MAX)
            return APPLIED_NO_MEMORY;
        error_set(error, ERROR_DATA, "feature_space: is one of more than %d", REQUEST_SPACES_MAX);
        return APPLIED_REFUSED;
    }
    if (names_take(&requests->policies, body->version, body->policy_epoch, policy))
        return APPLIED_NEW;
    names_give(&requests->spaces, *space);
    if (requests->policies.count < REQUEST_POLICIES_MAX)
        return APPLIED_NO_MEMORY;
    error_set(error, ERROR_DATA, "policy_version: is one of more than %d", REQUEST_POLICIES_MAX);
    return APPLIED_REFUSED;
}

/* The newest request of a pair: what a label by pair_id answers. One that nobody asked is none. */
static void index_pair(struct requests *requests, struct request *request)
{
    struct request *before = requests_find_pair(requests, request_pair(requests, request));
    if (request->imported)
        return;
    if (before != NULL)
        index_replace(&requests->by_pair, before, request);
    else
        index_add(&requests->by_pair, request);
}

/* The newest request of a pair and of a prompt stand in the indexes, which have room. */
static void index_whole(struct requests *requests, struct request *request)
{
    index_pair(requests, request);
    struct request *before = requests_of(requests, request_prompt(requests, request));
    request->of_prompt = before;
    if (before != NULL)
        index_replace(&requests->by_prompt, before, request);
    else
        index_add(&requests->by_prompt, request);
}

static void unindex_whole(struct requests *requests, struct request *request)
{
    if (requests_find_pair(requests, request_pair(requests, request)) == request)
        index_remove(&requests->by_pair, request);
    struct request *first = requests_of(requests, request_prompt(requests, request));
    if (first == request && request->of_prompt == NULL) {
        index_remove(&requests->by_prompt, request);
    } else if (first == request) {
        index_replace(&requests->by_prompt, request, request->of_prompt);
    } else {
        while (first->of_prompt != request)
            first = first->of_prompt;
        first->of_prompt = request->of_prompt;
    }
}

enum applied requests_complete(struct requests *requests, struct request **request,
                               const struct request_body *body, struct error *error)
{
    uint32_t space, policy;
    if (!check_x(body->x, error))
        return APPLIED_REFUSED;
    if (!index_reserve(&requests->by_pair) || !index_reserve(&requests->by_prompt))
        return APPLIED_NO_MEMORY;
    enum applied result = take_names(requests, body, &space, &policy, error);
    if (result != APPLIED_NEW)
        return result;
    size_t texts = body->prompt.size + body->left.size + body->right.size;
    struct request *whole =
        store_take(requests->store, block_bytes(body->x.size / sizeof(float), texts));
    if (whole == NULL) {
        names_give(&requests->spaces, space);
        names_give(&requests->policies, policy);
        return APPLIED_NO_MEMORY;
    }
    memcpy(whole, *request, offsetof(struct request, x));
    whole->whole = true;
    whole->policy = policy & REQUEST_POLICIES_MAX;
    whole->space = space & 0x1FFF;
    whole->prompt_size = body->prompt.size & 0x7FF;
    whole->left_size = body->left.size & 0x7FF;
    whole->right_size = body->right.size & 0x7FF;
    memcpy(whole->x, body->x.data, body->x.size);
    char *text = (char *)whole->x + body->x.size;
    const struct span parts[] = {body->prompt, body->left, body->right};
    for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
        if (parts[k].size > 0)
            memcpy(text, parts[k].data, parts[k].size);
        text += parts[k].size;
    }
    index_replace(&requests->by_id, *request, whole);
    index_whole(requests, whole);
    store_give(requests->store, *request, sizeof **request);
    *request = whole;
    return APPLIED_NEW;
}

void requests_give_block(struct requests *requests, struct request *request)
{
    size_t bytes = sizeof *request;
    if (request->whole) {
        bytes = block_bytes(request_dimension(requests, request), texts_of(request));
        unindex_whole(requests, request);
        names_give(&requests->spaces, request->space);
        names_give(&requests->policies, request->policy);
    }
    store_give(requests->store, request, bytes);
}
