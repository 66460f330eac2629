/* The labels of a request: the usual one within it, others in a list, and which of them counts. */
#include <string.h>

#include "requests_internal.h"

size_t requests_listed_bytes(void)
{
    enum { SLOT = 12 };
    return sizeof(struct listed_label) + SLOT;
}
static bool tells_nothing(const struct requests *requests, enum label_outcome outcome)
{
    return outcome_is_silent(outcome) ||
           (outcome == OUTCOME_BOTH_BAD && requests->both_bad_ignored);
}

/* What an outcome says by itself. */
static double probability_of(enum label_outcome outcome)
{
    return outcome_is_silent(outcome) ? (double)NAN
           : outcome == OUTCOME_LEFT  ? 1
           : outcome == OUTCOME_RIGHT ? 0
                                      : .5;
}

/* The place of a plain label: the partition's 15 bits before the offset's 48, or, decided here and
 * not read back, the highest bit and the order of arrival. False: it does not fit. */
static bool pack_place(const struct request_label *label, uint64_t *place)
{
    enum { OFFSET_BITS = 48 };
    if (label->ledger_offset == INT64_MAX) {
        *place = (uint64_t)1 << 63 | (uint64_t)label->order;
        return true;
    }
    *place = (uint64_t)label->ledger_partition << OFFSET_BITS | (uint64_t)label->ledger_offset;
    return label->ledger_partition >= 0 && label->ledger_partition < 1 << 15 &&
           label->ledger_offset >= 0 && label->ledger_offset >> OFFSET_BITS == 0;
}

static bool is_plain(const struct requests *requests, const struct request_label *label)
{
    uint64_t place;
    return !requests->keeps_propensity && label->outcome != OUTCOME_PROBABILITY &&
           !label->replaces && label->confidence == 1 &&
           (outcome_is_silent(label->outcome) ||
            label->probability == probability_of(label->outcome)) &&
           pack_place(label, &place);
}

/* Who gave a label has a number as long as one of theirs is kept, with the kind that the first of
 * these names; one of more than there are numbers for, with a longer id than is sent,
 * or where there is no memory for it, is unknown. */
static void take_annotator(struct requests *requests, const struct entry_labelled *labelled,
                           uint32_t *number)
{
    *number = 0;
    struct span kind = labelled->annotator_kind;
    if (labelled->annotator_id.size == 0 || labelled->annotator_id.size > REQUEST_ID_MAX)
        return;
    if (kind.size > REQUEST_ID_MAX)
        kind.size = 0;
    uint32_t taken;
    if (names_take_noted(&requests->annotators, labelled->annotator_id, 0, kind, &taken))
        *number = taken + 1;
}

static void give_annotator(struct requests *requests, uint32_t number)
{
    if (number > 0)
        names_give(&requests->annotators, number - 1);
}

static void set_plain(struct request *request, const struct request_label *label)
{
    request->labels = LABELS_PLAIN;
    request->outcome = (unsigned)label->outcome & 7;
    request->annotator = label->annotator & 0xFFFFF;
    request->plain.id = label->id;
    request->plain.accepted_at = label->accepted_at;
    pack_place(label, &request->plain.place);
}

struct request_label request_plain_label(const struct request *request)
{
    uint64_t place = request->plain.place;
    bool read = place >> 63 == 0;
    enum label_outcome outcome = (enum label_outcome)request->outcome;
    return (struct request_label){.id = request->plain.id,
                                  .probability = probability_of(outcome),
                                  .confidence = 1,
                                  .accepted_at = request->plain.accepted_at,
                                  .outcome = outcome,
                                  .annotator = request->annotator,
                                  .ledger_partition = read ? (int32_t)(place >> 48) : -1,
                                  .ledger_offset =
                                      read ? (int64_t)(place & 0xFFFFFFFFFFFF) : INT64_MAX,
                                  .order = read ? 0 : (int64_t)(place & INT64_MAX)};
}

bool request_label_stands(const struct listed_label *label)
{
    return !label->said.superseded;
}

static bool supersedes(const struct request_label *label, const struct request_label *other)
{
    return label->replaces && identity_equal(label->supersedes, other->id);
}

/* Of a label that has come to the list: a request may have thousands. */
static void mark_superseded(struct request *request, struct listed_label *label)
{
    for (struct listed_label *other = request->listed.first; other != NULL; other = other->next) {
        if (other == label)
            continue;
        label->said.superseded = label->said.superseded || supersedes(&other->said, &label->said);
        other->said.superseded = other->said.superseded || supersedes(&label->said, &other->said);
    }
}

/* Of all: one of them says something else now. */
static void mark_all_superseded(struct request *request)
{
    for (struct listed_label *label = request->listed.first; label != NULL; label = label->next)
        label->said.superseded = false;
    for (struct listed_label *label = request->listed.first; label != NULL; label = label->next)
        mark_superseded(request, label);
}

int request_label_order(const struct request_label *left, const struct request_label *right)
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
    request->listed.counting = NULL;
    for (const struct listed_label *label = request->listed.first; label != NULL;
         label = label->next) {
        const struct listed_label *best = request->listed.counting;
        if (request_label_stands(label) &&
            (best == NULL || request_label_order(&label->said, &best->said) < 0))
            request->listed.counting = label;
    }
}

static bool list_label(struct requests *requests, struct request *request,
                       const struct request_label *said)
{
    struct listed_label *label = index_reserve(&requests->by_listed_label)
                                     ? store_take(requests->store, sizeof *label)
                                     : NULL;
    if (label == NULL)
        return false;
    if (request->labels != LABELS_LISTED) {
        double propensity = request_propensity(request);
        request->listed.first = NULL;
        request->listed.propensity = propensity;
    }
    request->labels = LABELS_LISTED;
    *label = (struct listed_label){.said = *said, .next = request->listed.first};
    request->listed.first = label;
    index_add(&requests->by_listed_label, label);
    mark_superseded(request, label);
    choose_counting(request);
    return true;
}

/* The plain label of a request goes into a list. */
static bool list_plain(struct requests *requests, struct request *request)
{
    const struct request_label said = request_plain_label(request);
    index_remove(&requests->by_plain_label, request);
    if (list_label(requests, request, &said)) {
        request->annotator = 0;
        return true;
    }
    index_add(&requests->by_plain_label, request);
    return false;
}

static bool place_label(struct requests *requests, struct request *request,
                        const struct request_label *said)
{
    bool first = request->labels == LABELS_NONE;
    if (first && is_plain(requests, said)) {
        if (!index_reserve(&requests->by_plain_label))
            return false;
        requests_not_under_way(requests, request);
        set_plain(request, said);
        index_add(&requests->by_plain_label, request);
        return true;
    }
    if (request->labels == LABELS_PLAIN && !list_plain(requests, request))
        return false;
    requests_not_under_way(requests, request);
    if (list_label(requests, request, said))
        return true;
    requests_follow(requests, request);
    return false;
}

/* A label that the request did not have. False: no memory, and nothing has changed. */
static bool add_label(struct requests *requests, struct request *request,
                      struct request_label *said, const struct entry_labelled *labelled)
{
    take_annotator(requests, labelled, &said->annotator);
    if (place_label(requests, request, said))
        return true;
    give_annotator(requests, said->annotator);
    return false;
}

/* The request's label of that name in *said; false: it has none. */
static bool find_label(const struct request *request, struct id id, struct request_label *said,
                       struct listed_label **listed)
{
    *listed = NULL;
    if (request->labels == LABELS_PLAIN && identity_equal(request->plain.id, id)) {
        *said = request_plain_label(request);
        return true;
    }
    if (request->labels != LABELS_LISTED)
        return false;
    *listed = request->listed.first;
    while (*listed != NULL && !identity_equal((*listed)->said.id, id))
        *listed = (*listed)->next;
    if (*listed != NULL)
        *said = (*listed)->said;
    return *listed != NULL;
}

bool request_has_label(const struct request *request, struct id label_id)
{
    struct request_label said;
    struct listed_label *listed;
    return find_label(request, label_id, &said, &listed);
}

size_t request_labels_count(const struct request *request)
{
    size_t count = request->labels == LABELS_PLAIN;
    if (request->labels != LABELS_LISTED)
        return count;
    for (const struct listed_label *label = request->listed.first; label != NULL;
         label = label->next)
        count++;
    return count;
}

/* A label of a known request must be about the same two completions. */
static bool same_pair(const struct requests *requests, const struct request *request,
                      const struct entry_labelled *labelled, struct error *error)
{
    size_t d = request_dimension(requests, request);
    return (span_equal(request_left_id(requests, request), labelled->left_id) &&
            span_equal(request_right_id(requests, request), labelled->right_id) &&
            labelled->x.size == d * sizeof(float) &&
            memcmp(labelled->x.data, request->x, labelled->x.size) == 0) ||
           error_set(error, ERROR_DATA, "x, left_id, right_id: are not those of the request");
}

/* What an entry says, and where it was read. */
static struct request_label label_of(const struct requests *requests, const struct entry *entry,
                                     int32_t partition, int64_t offset)
{
    const struct entry_labelled *labelled = &entry->labelled;
    return (struct request_label){.id = identity_of(labelled->label_id),
                                  .supersedes = identity_of(labelled->supersedes),
                                  .replaces = labelled->supersedes.size > 0,
                                  .outcome = labelled->outcome,
                                  .probability = tells_nothing(requests, labelled->outcome)
                                                     ? (double)NAN
                                                     : labelled->probability_left,
                                  .confidence = labelled->confidence,
                                  .accepted_at = entry->time,
                                  .ledger_partition = partition,
                                  .ledger_offset = offset,
                                  .order = requests->label_order};
}

/* A label seen again: decided here it now has its place in the ledger, and says what stands there
 * (another worker may have accepted the label before). */
static enum applied label_again(struct requests *requests, struct request *request,
                                struct listed_label *listed, const struct request_label *said,
                                struct request_label *read, const struct entry_labelled *labelled)
{
    if (read->ledger_offset == INT64_MAX || said->ledger_offset != INT64_MAX)
        return APPLIED_KNOWN;
    take_annotator(requests, labelled, &read->annotator);
    struct request_label before = {0}, now = {0};
    request_counting(request, &before);
    if (listed == NULL && is_plain(requests, read)) {
        set_plain(request, read);
    } else {
        if (listed == NULL && !list_plain(requests, request)) {
            give_annotator(requests, read->annotator);
            return APPLIED_NO_MEMORY;
        }
        listed = listed == NULL ? request->listed.first : listed;
        read->superseded = listed->said.superseded;
        listed->said = *read;
        if (read->replaces != said->replaces || !identity_equal(read->supersedes, said->supersedes))
            mark_all_superseded(request);
        choose_counting(request);
    }
    give_annotator(requests, said->annotator);
    request_counting(request, &now);
    bool same = read->outcome == said->outcome && read->confidence == said->confidence &&
                read->annotator == said->annotator && read->accepted_at == said->accepted_at &&
                (read->probability == said->probability || isnan(said->probability));
    return same && identity_equal(now.id, before.id) ? APPLIED_KNOWN : APPLIED_NEW;
}

static enum applied body_of_labelled(struct requests *requests, struct request **request,
                                     const struct entry *entry, struct error *error)
{
    const struct entry_labelled *labelled = &entry->labelled;
    const struct request_body body = {
        labelled->x,           labelled->prompt_id,      labelled->left_id,
        labelled->right_id,    labelled->policy_version, labelled->feature_space,
        labelled->policy_epoch};
    (*request)->imported = labelled->origin != ORIGIN_REQUEST;
    enum applied result = requests_complete(requests, request, &body, error);
    if (result != APPLIED_NEW) {
        (*request)->imported = false;
        return result;
    }
    (*request)->issued_at = entry->time;
    requests_note_issued(requests, *request);
    if (labelled->origin == ORIGIN_CARRIED)
        (*request)->partition = labelled->source_partition & REQUEST_PARTITION_MAX;
    (*request)->arm = (unsigned)labelled->arm & 3;
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
    enum applied result = requests_obtain(requests, labelled->request_id, out, &fresh, error);
    if (result != APPLIED_NEW)
        return result;
    struct request_label read = label_of(requests, entry, partition, offset), said;
    struct listed_label *listed;
    if (find_label(*out, read.id, &said, &listed)) {
        read.order = said.order;
        return label_again(requests, *out, listed, &said, &read, labelled);
    }
    if (!(*out)->whole)
        result = body_of_labelled(requests, out, entry, error);
    else if (!same_pair(requests, *out, labelled, error))
        result = APPLIED_REFUSED;
    if (result == APPLIED_NEW && !add_label(requests, *out, &read, labelled))
        result = APPLIED_NO_MEMORY;
    if (result != APPLIED_NEW) {
        if (fresh)
            requests_forget(requests, *out);
        return result;
    }
    requests->label_order++;
    return APPLIED_NEW;
}
void requests_give_labels(struct requests *requests, struct request *request)
{
    if (request->labels == LABELS_PLAIN) {
        index_remove(&requests->by_plain_label, request);
        give_annotator(requests, request->annotator);
    }
    while (request->labels == LABELS_LISTED && request->listed.first != NULL) {
        struct listed_label *label = request->listed.first;
        request->listed.first = label->next;
        index_remove(&requests->by_listed_label, label);
        give_annotator(requests, label->said.annotator);
        store_give(requests->store, label, sizeof *label);
    }
}
