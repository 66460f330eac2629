#include "requests.h"

#include <float.h>
#include <string.h>

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

static void open_remove(struct requests *requests, struct request *request)
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

/* A request is under way from SELECTED until anything closes it. */
static void open_update(struct requests *requests, struct request *request)
{
    bool open = request->selected && !request->expired && !request->withdrawn &&
                !request->elsewhere && request->labels == LABELS_NONE;
    if (open && !request->open)
        open_insert(requests, request);
    else if (!open)
        open_remove(requests, request);
}

void requests_set_elsewhere(struct requests *requests, struct request *request, bool elsewhere)
{
    request->elsewhere = elsewhere;
    open_update(requests, request);
}

/* ---- what SELECTED and LABELLED share ---- */

struct body_source {
    struct span x, prompt, left, right, version, space;
    int64_t policy_epoch;
};

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

size_t requests_listed_bytes(void)
{
    enum { SLOT = 12 };
    return sizeof(struct listed_label) + SLOT;
}

static size_t texts_of(const struct request *request)
{
    return (size_t)request->prompt_size + request->left_size + request->right_size;
}

static size_t bytes_of(const struct requests *requests, const struct request *request)
{
    return request->whole ? block_bytes(request_dimension(requests, request), texts_of(request))
                          : sizeof *request;
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
static enum applied take_names(struct requests *requests, const struct body_source *source,
                               uint32_t *space, uint32_t *policy, struct error *error)
{
    int64_t dimension = (int64_t)(source->x.size / sizeof(float));
    if (!names_take(&requests->spaces, source->space, dimension, space)) {
        if (requests->spaces.count < REQUEST_SPACES_MAX)
            return APPLIED_NO_MEMORY;
        error_set(error, ERROR_DATA, "feature_space: is one of more than %d", REQUEST_SPACES_MAX);
        return APPLIED_REFUSED;
    }
    if (names_take(&requests->policies, source->version, source->policy_epoch, policy))
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

/* Completes *request, which moves to a block that holds all of it. */
static enum applied attach_body(struct requests *requests, struct request **request,
                                const struct body_source *source, struct error *error)
{
    uint32_t space, policy;
    if (!check_x(source->x, error))
        return APPLIED_REFUSED;
    if (!index_reserve(&requests->by_pair) || !index_reserve(&requests->by_prompt))
        return APPLIED_NO_MEMORY;
    enum applied result = take_names(requests, source, &space, &policy, error);
    if (result != APPLIED_NEW)
        return result;
    size_t texts = source->prompt.size + source->left.size + source->right.size;
    struct request *whole =
        store_take(requests->store, block_bytes(source->x.size / sizeof(float), texts));
    if (whole == NULL) {
        names_give(&requests->spaces, space);
        names_give(&requests->policies, policy);
        return APPLIED_NO_MEMORY;
    }
    memcpy(whole, *request, offsetof(struct request, x));
    whole->whole = true;
    whole->policy = policy & REQUEST_POLICIES_MAX;
    whole->space = space & 0x1FFF;
    whole->prompt_size = source->prompt.size & 0x7FF;
    whole->left_size = source->left.size & 0x7FF;
    whole->right_size = source->right.size & 0x7FF;
    memcpy(whole->x, source->x.data, source->x.size);
    char *text = (char *)whole->x + source->x.size;
    const struct span parts[] = {source->prompt, source->left, source->right};
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
    enum applied result = obtain(requests, selected->request_id, out, &fresh, error);
    if (result != APPLIED_NEW)
        return result;
    if ((*out)->selected)
        return APPLIED_KNOWN;
    if (!(*out)->whole) {
        const struct body_source source = {
            selected->x,           selected->prompt_id,      selected->left_id,
            selected->right_id,    selected->policy_version, selected->feature_space,
            selected->policy_epoch};
        result = attach_body(requests, out, &source, error);
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
    open_update(requests, request);
    return APPLIED_NEW;
}

/* ---- labels ---- */

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
        open_remove(requests, request);
        set_plain(request, said);
        index_add(&requests->by_plain_label, request);
        return true;
    }
    if (request->labels == LABELS_PLAIN && !list_plain(requests, request))
        return false;
    open_remove(requests, request);
    if (list_label(requests, request, said))
        return true;
    open_update(requests, request);
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
    const struct body_source source = {
        labelled->x,           labelled->prompt_id,      labelled->left_id,
        labelled->right_id,    labelled->policy_version, labelled->feature_space,
        labelled->policy_epoch};
    (*request)->imported = labelled->origin != ORIGIN_REQUEST;
    enum applied result = attach_body(requests, request, &source, error);
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
    enum applied result = obtain(requests, labelled->request_id, out, &fresh, error);
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

enum applied requests_closed(struct requests *requests, struct span request_id, bool expired,
                             struct request **out, struct error *error)
{
    bool fresh;
    enum applied result = obtain(requests, request_id, out, &fresh, error);
    if (result != APPLIED_NEW)
        return result;
    struct request *request = *out;
    if (expired ? request->expired : request->withdrawn)
        return APPLIED_KNOWN;
    if (expired)
        request->expired = true;
    else
        request->withdrawn = true;
    open_update(requests, request);
    return APPLIED_NEW;
}

void requests_forget(struct requests *requests, struct request *request)
{
    size_t bytes = bytes_of(requests, request);
    open_remove(requests, request);
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
    index_remove(&requests->by_id, request);
    requests->count--;
    if (request->whole) {
        unindex_whole(requests, request);
        names_give(&requests->spaces, request->space);
        names_give(&requests->policies, request->policy);
    }
    store_give(requests->store, request, bytes);
}
