/* What can be asked of one request. */
#include "requests.h"

bool request_counting(const struct request *request, struct request_label *label)
{
    if (request->labels == LABELS_PLAIN) {
        *label = request_plain_label(request);
        return true;
    }
    if (request->labels == LABELS_NONE || request->listed.counting == NULL)
        return false;
    *label = request->listed.counting->said;
    return true;
}

bool request_informative(const struct request *request)
{
    struct request_label label;
    /* Without its SELECTED, which stands before it in the same partition, it is from before the
     * window. */
    return (request->selected || request->imported) && !request->elsewhere &&
           request_counting(request, &label) && !isnan(label.probability);
}

double request_share(const struct request *request, double return_rate)
{
    struct request_label label;
    if (request_informative(request) && request_counting(request, &label))
        return label.confidence;
    return request->open ? return_rate : 0;
}

double request_propensity(const struct request *request)
{
    return request->labels == LABELS_NONE     ? request->under_way.propensity
           : request->labels == LABELS_LISTED ? request->listed.propensity
                                              : 0;
}

struct span request_label_annotator(const struct requests *requests,
                                    const struct request_label *label)
{
    if (label->annotator == 0)
        return (struct span){"", 0};
    const struct name *name = names_get(&requests->annotators, label->annotator - 1);
    return (struct span){name->text, name->size};
}

/* ---- of one that is whole ---- */

static const struct name *space_of(const struct requests *requests, const struct request *request)
{
    return names_get(&requests->spaces, request->space);
}

size_t request_dimension(const struct requests *requests, const struct request *request)
{
    return (size_t)space_of(requests, request)->value;
}

struct id request_space_id(const struct requests *requests, const struct request *request)
{
    return space_of(requests, request)->id;
}

struct span request_space(const struct requests *requests, const struct request *request)
{
    const struct name *name = space_of(requests, request);
    return (struct span){name->text, name->size};
}

int64_t request_policy_epoch(const struct requests *requests, const struct request *request)
{
    return names_get(&requests->policies, request->policy)->value;
}

struct span request_policy_version(const struct requests *requests, const struct request *request)
{
    const struct name *name = names_get(&requests->policies, request->policy);
    return (struct span){name->text, name->size};
}

static struct span text_at(const struct requests *requests, const struct request *request,
                           size_t before, size_t size)
{
    const char *texts = (const char *)(request->x + request_dimension(requests, request));
    return (struct span){texts + before, size};
}

struct span request_prompt_id(const struct requests *requests, const struct request *request)
{
    return text_at(requests, request, 0, request->prompt_size);
}

struct span request_left_id(const struct requests *requests, const struct request *request)
{
    return text_at(requests, request, request->prompt_size, request->left_size);
}

struct span request_right_id(const struct requests *requests, const struct request *request)
{
    return text_at(requests, request, (size_t)request->prompt_size + request->left_size,
                   request->right_size);
}

struct id request_pair(const struct requests *requests, const struct request *request)
{
    return identity_pair(request_prompt_id(requests, request), request_left_id(requests, request),
                         request_right_id(requests, request));
}

struct id request_prompt(const struct requests *requests, const struct request *request)
{
    return identity_of(request_prompt_id(requests, request));
}
