#include "replicas.h"

bool request_answered(const struct requests *requests, const struct request *request)
{
    if (request->labels == LABELS_NONE || !requests->skips_again)
        return request->labels != LABELS_NONE;
    if (request->labels == LABELS_PLAIN)
        return !outcome_is_silent((enum label_outcome)request->outcome);
    const struct listed_label *label = request->listed.first;
    while (label != NULL && outcome_is_silent(label->said.outcome))
        label = label->next;
    return label != NULL;
}

struct request *replicas_find(const struct requests *requests, const struct request *request,
                              int32_t replica, int32_t attempt)
{
    return requests_find(requests,
                         identity_request(request_space(requests, request),
                                          request_pair(requests, request), replica, attempt));
}

size_t replicas_attempts(const struct requests *requests, const struct request *request,
                         struct request *attempts[REQUEST_ATTEMPTS_MAX])
{
    if (!request->selected || requests->attempts_most < 2) {
        attempts[0] = requests_find(requests, request->id);
        return 1;
    }
    size_t count = 0;
    struct id pair = request_pair(requests, request);
    struct span space = request_space(requests, request);
    for (int32_t k = 1; k <= requests->attempts_most; k++) {
        struct id id = identity_request(space, pair, (int32_t)request->replica, k);
        struct request *attempt = requests_find(requests, id);
        if (attempt != NULL && attempt->selected)
            attempts[count++] = attempt;
    }
    return count;
}

bool replicas_answered(const struct requests *requests, const struct request *request)
{
    struct request *attempts[REQUEST_ATTEMPTS_MAX];
    size_t count = replicas_attempts(requests, request, attempts);
    for (size_t k = 0; k < count; k++)
        if (request_answered(requests, attempts[k]))
            return true;
    return false;
}

/* The attempt that holds the answer; NULL: there is none. */
static struct request *holder_of(const struct requests *requests, struct request *const *attempts,
                                 size_t count)
{
    struct request *holder = NULL;
    struct request_label best, label;
    bool held = false;
    for (size_t k = 0; k < count; k++) {
        if (!request_answered(requests, attempts[k]))
            continue;
        bool counts = request_counting(attempts[k], &label);
        if (holder != NULL && (!counts || (held && request_label_order(&label, &best) > 0)))
            continue;
        holder = attempts[k];
        held = counts;
        best = label;
    }
    return holder;
}

size_t replicas_settle(struct requests *requests, struct request *request,
                       struct replica_change changes[REQUEST_ATTEMPTS_MAX])
{
    struct request *attempts[REQUEST_ATTEMPTS_MAX];
    if (!request->selected || requests->attempts_most < 2)
        return 0;
    size_t changed = 0, count = replicas_attempts(requests, request, attempts);
    const struct request *holder = holder_of(requests, attempts, count);
    for (size_t k = 0; k < count; k++) {
        struct request *attempt = attempts[k];
        bool skipped = attempt->labels != LABELS_NONE && !request_answered(requests, attempt);
        bool elsewhere = holder != NULL && attempt != holder && !skipped;
        if (elsewhere == attempt->elsewhere)
            continue;
        if (attempt != request)
            changes[changed++] = (struct replica_change){attempt, attempt->open};
        requests_set_elsewhere(requests, attempt, elsewhere);
    }
    return changed;
}

/* ---- all of a pair ---- */

static bool is_before(const struct request *left, const struct request *right)
{
    if (left->issued_at != right->issued_at)
        return left->issued_at < right->issued_at;
    return identity_compare(left->id, right->id) < 0;
}

/* The next request of the pair that was asked, from *at on in the chain of its prompt. */
static struct request *next_of_pair(const struct requests *requests, struct id pair,
                                    struct request **at)
{
    while (*at != NULL) {
        struct request *request = *at;
        *at = request->of_prompt;
        if (request->selected && identity_equal(request_pair(requests, request), pair))
            return request;
    }
    return NULL;
}

struct request *replicas_of_pair(const struct requests *requests, struct id pair,
                                 struct span supersedes)
{
    struct request *newest = requests_find_pair(requests, pair), *oldest = NULL, *each;
    if (newest == NULL)
        return NULL;
    struct request *at = requests_of(requests, request_prompt(requests, newest));
    while ((each = next_of_pair(requests, pair, &at)) != NULL) {
        if (supersedes.size > 0 && request_has_label(each, identity_of(supersedes)))
            return each;
        if (each->open && (oldest == NULL || is_before(each, oldest)))
            oldest = each;
        if (!newest->selected || is_before(newest, each))
            newest = each;
    }
    return oldest != NULL ? oldest : newest;
}

/* ---- who answered ---- */

/* The labels of a request, one after the other; *listed: NULL at first. */
static bool next_label(const struct request *request, const struct listed_label **listed,
                       struct request_label *label)
{
    if (request->labels == LABELS_PLAIN && *listed == NULL) {
        static const struct listed_label END = {0};
        *listed = &END;
        *label = request_plain_label(request);
        return true;
    }
    if (request->labels != LABELS_LISTED)
        return false;
    *listed = *listed == NULL ? request->listed.first : (*listed)->next;
    if (*listed != NULL)
        *label = (*listed)->said;
    return *listed != NULL;
}

static bool holds(const struct span *annotators, size_t count, struct span annotator)
{
    for (size_t k = 0; k < count; k++)
        if (span_equal(annotators[k], annotator))
            return true;
    return false;
}

size_t replicas_annotators(const struct requests *requests, const struct request *request,
                           struct span annotators[REQUEST_REPLICAS_MAX])
{
    size_t count = 0;
    struct id pair = request_pair(requests, request);
    struct request *at = requests_of(requests, request_prompt(requests, request)), *each;
    while ((each = next_of_pair(requests, pair, &at)) != NULL) {
        const struct listed_label *listed = NULL;
        struct request_label label;
        while (count < REQUEST_REPLICAS_MAX && next_label(each, &listed, &label)) {
            struct span annotator = request_label_annotator(requests, &label);
            if (annotator.size > 0 && !holds(annotators, count, annotator))
                annotators[count++] = annotator;
        }
    }
    return count;
}

const struct request *replicas_answered_by(const struct requests *requests,
                                           const struct request *request, struct span annotator)
{
    struct id pair = request_pair(requests, request);
    struct request *at = requests_of(requests, request_prompt(requests, request)), *each;
    while ((each = next_of_pair(requests, pair, &at)) != NULL) {
        const struct listed_label *listed = NULL;
        struct request_label label;
        while (each->replica != request->replica && next_label(each, &listed, &label))
            if (!outcome_is_silent(label.outcome) &&
                (each->labels == LABELS_PLAIN || request_label_stands(listed)) &&
                span_equal(request_label_annotator(requests, &label), annotator))
                return each;
    }
    return NULL;
}
