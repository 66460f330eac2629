/* Labels outlive their feature space.
 *
 * Once both completions of a labelled pair of another space stand in one open pool of the current
 * space, the owner of the pool's partition writes LABELLED for it anew: x in the current space,
 * everything else as the label that counts says it.
 *
 * Names. request XOR space (hashes) is the same for an asked request and for all that is carried of
 * it, so that the id in a third space does not depend on the way there: of two copies one is
 * written, and the answer to the request, where it is known, has the last word. The k-th label of a
 * carried request is "carried-REQUEST-k". A label whose request is known is not written again,
 * whoever wrote it: the owner has passed the barrier. When the answer to an asked request changes,
 * the label carried of it is replaced, by one that says nothing where another attempt turns out to
 * hold the answer; what was carried to a space before stays as it is.
 *
 * Cost: a look at the requests of the prompt for each completion that enters a pool, while there
 * are requests of another space; all pools of a partition when it is taken over and when the space
 * changes. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "replicas.h"

enum { LABEL_SIZE = 64, SCAN_BYTES = 4 << 20 /* of the open batch, after which a scan rests */ };

/* One label that may be carried. */
struct carry {
    const struct pool *pool;
    const struct request *from;
    struct request_label said;       /* its label that counts */
    const struct held *left, *right; /* in the pool */
};

static struct id current_space(const struct engine *engine)
{
    return engine->model.space.id;
}

static bool is_of_current(const struct engine *engine, const struct request *request)
{
    return identity_equal(request_space_id(&engine->requests, request), current_space(engine));
}

/* The request's id in the current space. */
static struct id id_here(const struct engine *engine, const struct request *request)
{
    return identity_carried(request->id, request_space_id(&engine->requests, request),
                            current_space(engine));
}

/* ---- which label ---- */

/* What a request says: the label that counts, or nothing once another attempt holds the answer. */
static bool is_labelled(const struct request *request, struct request_label *label)
{
    if (!(request->selected || request->imported) || !request_counting(request, label))
        return false;
    if (request->elsewhere) {
        label->outcome = OUTCOME_SKIP;
        label->probability = (double)NAN;
        label->confidence = 1;
    }
    return true;
}

static bool same_words(const struct request_label *left, const struct request_label *right)
{
    return left->outcome == right->outcome && left->confidence == right->confidence &&
           left->annotator == right->annotator &&
           (left->probability == right->probability ||
            (isnan(left->probability) && isnan(right->probability)));
}

static void name_label(const char *request_id, int number, char text[LABEL_SIZE])
{
    snprintf(text, LABEL_SIZE, "carried-%s-%d", request_id, number);
}

/* What an entry calls things. */
struct naming {
    struct id id;
    char request_id[ID_TEXT_SIZE], pair_id[ID_TEXT_SIZE];
    char label_id[LABEL_SIZE], replaced[LABEL_SIZE]; /* the latter is empty: none */
};

/* The label that comes next, and the one that it replaces. False: there is nothing to write. */
static bool name_next(const struct engine *engine, const struct carry *carry,
                      const struct request *known, struct naming *naming)
{
    struct request_label now;
    bool found = false;
    name_label(naming->request_id, 1, naming->label_id);
    if (known == NULL)
        return request_informative(carry->from);
    if (!carry->from->selected || !request_counting(known, &now) || same_words(&now, &carry->said))
        return false;
    for (int number = 1;;) {
        struct id id = identity_of(span_of(naming->label_id));
        if (!requests_has_label(&engine->requests, id))
            return found; /* else somebody has answered it here */
        if (identity_equal(id, now.id)) {
            memcpy(naming->replaced, naming->label_id, LABEL_SIZE);
            found = true;
        }
        name_label(naming->request_id, ++number, naming->label_id);
    }
}

/* ---- writing it ---- */

/* x = left - right in the scale of SPACE, in engine->scratch. */
static void difference(struct engine *engine, const struct carry *carry)
{
    const struct space *space = &engine->model.space;
    float *x = (float *)engine->scratch;
    for (size_t k = 0; k < space->dimension; k++)
        x[k] = (float)space_bounded(space, k, carry->left->features[k]) -
               (float)space_bounded(space, k, carry->right->features[k]);
}

static bool apply(struct engine *engine, struct entry *entry, struct id id, struct error *error)
{
    struct request *request;
    if (!effect_entry(engine, entry, ledger_partition_of(engine, id), error))
        return false;
    if (requests_labelled(&engine->requests, entry, -1, INT64_MAX, &request, error) !=
        APPLIED_NEW) {
        if (error->class != ERROR_FATAL)
            error_set(error, ERROR_FATAL, "memory.limit: no room for a label that is carried over");
        return false;
    }
    engine->stats.labels_carried++;
    model_label_arrived(&engine->model, request);
    engine_follow_request(engine, request, false);
    return true;
}

/* As the label said it, also where labels.both_bad keeps it out of Sigma. */
static double probability_of(const struct request_label *label)
{
    return label->outcome == OUTCOME_BOTH_BAD ? .5 : label->probability;
}

static struct entry_labelled labelled_of(const struct engine *engine, const struct carry *carry,
                                         const struct naming *naming, const void *x)
{
    const struct requests *requests = &engine->requests;
    const struct request *from = carry->from;
    const struct held *newest =
        carry->left->offset > carry->right->offset ? carry->left : carry->right;
    return (struct entry_labelled){.label_id = span_of(naming->label_id),
                                   .request_id = span_of(naming->request_id),
                                   .pair_id = span_of(naming->pair_id),
                                   .prompt_id = request_prompt_id(requests, from),
                                   .left_id = request_left_id(requests, from),
                                   .right_id = request_right_id(requests, from),
                                   .feature_space = span_of(engine->model.space.name),
                                   .policy_version = request_policy_version(requests, from),
                                   .policy_epoch = request_policy_epoch(requests, from),
                                   .x = {x, engine->model.space.dimension * sizeof(float)},
                                   .source_topic =
                                       span_of(engine->options.topics[INPUT_COMPLETIONS]),
                                   .source_partition = carry->pool->partition,
                                   .source_offset = newest->offset,
                                   .outcome = carry->said.outcome,
                                   .probability_left = probability_of(&carry->said),
                                   .confidence = carry->said.confidence,
                                   .annotator_id = request_label_annotator(requests, &carry->said),
                                   .annotator_kind = span_of(""),
                                   .labelled_at = carry->said.accepted_at,
                                   .origin = ORIGIN_CARRIED,
                                   .supersedes = span_of(naming->replaced),
                                   .arm = (enum pair_arm)from->arm};
}

/* Anybody who writes the ledger can have put something else under the name. */
static bool is_copy(const struct engine *engine, const struct request *from,
                    const struct request *known)
{
    const struct requests *requests = &engine->requests;
    return known->whole && request_dimension(requests, known) == engine->model.space.dimension &&
           span_equal(request_prompt_id(requests, known), request_prompt_id(requests, from)) &&
           span_equal(request_left_id(requests, known), request_left_id(requests, from)) &&
           span_equal(request_right_id(requests, known), request_right_id(requests, from));
}

static bool carry_over(struct engine *engine, const struct carry *carry, struct error *error)
{
    struct naming naming = {.id = id_here(engine, carry->from)};
    const struct request *known = requests_find(&engine->requests, naming.id);
    identity_format(naming.id, naming.request_id);
    identity_format(request_pair(&engine->requests, carry->from), naming.pair_id);
    if ((known != NULL && !is_copy(engine, carry->from, known)) ||
        !name_next(engine, carry, known, &naming))
        return true;
    difference(engine, carry);
    const void *x = known != NULL ? (const void *)known->x : engine->scratch;
    struct entry entry = {.kind = ENTRY_LABELLED,
                          .labelled = labelled_of(engine, carry, &naming, x)};
    return apply(engine, &entry, naming.id, error);
}

/* ---- when to look ---- */

static const struct held *find_held(const struct pool *pool, struct span completion_id)
{
    for (size_t k = 0; k < pool->count; k++) {
        if (span_equal(held_completion_id(pool->held[k]), completion_id))
            return pool->held[k];
    }
    return NULL;
}

/* Carries the label of one request; only: if the pair is of this completion. */
static bool look(struct engine *engine, const struct pool *pool, const struct request *request,
                 const struct held *only, struct error *error)
{
    const struct requests *requests = &engine->requests;
    struct carry carry = {.pool = pool, .from = request};
    if (is_of_current(engine, request) || !is_labelled(request, &carry.said))
        return true;
    struct span left_id = request_left_id(requests, request);
    struct span right_id = request_right_id(requests, request);
    if (only != NULL && !span_equal(held_completion_id(only), left_id) &&
        !span_equal(held_completion_id(only), right_id))
        return true;
    carry.left = find_held(pool, left_id);
    carry.right = find_held(pool, right_id);
    return carry.left == NULL || carry.right == NULL || carry_over(engine, &carry, error);
}

/* True when there are requests of more than the current space. */
static bool knows_another_space(const struct engine *engine)
{
    const struct names *spaces = &engine->requests.spaces;
    for (uint32_t k = 0; k < spaces->count; k++) {
        const struct name *name = names_get(spaces, k);
        if (name != NULL && !identity_equal(name->id, current_space(engine)))
            return true;
    }
    return false;
}

/* All requests of the pool's prompt. What the window has no room for is looked at again later. */
static bool look_at_pool(struct engine *engine, const struct pool *pool, const struct held *only,
                         struct error *error)
{
    if (!knows_another_space(engine))
        return true;
    for (const struct request *request = requests_of(&engine->requests, pool->prompt);
         request != NULL; request = request->of_prompt) {
        if (engine_window_full(engine)) {
            engine->partitions[pool->partition].carried = false;
            return true;
        }
        if (!look(engine, pool, request, only, error))
            return false;
    }
    return true;
}

bool carried_completion(struct engine *engine, const struct pool *pool, struct error *error)
{
    if (!engine->partitions[pool->partition].carried || !space_is_current(engine, pool))
        return true;
    return look_at_pool(engine, pool, pool->held[pool->count - 1], error);
}

/* Looks at one request in the pools of its prompt. */
static bool look_at_request(struct engine *engine, const struct request *request,
                            struct error *error)
{
    struct id key = pool_key(current_space(engine), request_prompt(&engine->requests, request));
    for (int32_t k = 0; k < engine->partition_count; k++) {
        struct partition *partition = &engine->partitions[k];
        const struct pool *pool = partition->carried ? pool_find(&partition->pools, key) : NULL;
        if (pool != NULL && engine_window_full(engine))
            partition->carried = false;
        else if (pool != NULL && !look(engine, pool, request, NULL, error))
            return false;
    }
    return true;
}

bool carried_label(struct engine *engine, const struct request *request, struct error *error)
{
    if (engine->model.space.name == NULL || !request->whole || is_of_current(engine, request))
        return true;
    struct request *attempts[REQUEST_ATTEMPTS_MAX];
    size_t count = replicas_attempts(&engine->requests, request, attempts);
    for (size_t k = 0; k < count; k++) {
        if (!look_at_request(engine, attempts[k], error))
            return false;
    }
    return true;
}

bool carried_tick(struct engine *engine, struct error *error)
{
    for (int32_t k = 0; k < engine->partition_count; k++) {
        struct partition *partition = &engine->partitions[k];
        if (partition->carried || !partition_live(partition) || engine_window_full(engine))
            continue;
        partition->carried = true;
        for (const struct pool *pool = partition->pools.first; pool != NULL; pool = pool->next) {
            if (!space_is_current(engine, pool))
                continue;
            if (engine_batch_bytes(engine) > SCAN_BYTES) {
                partition->carried = false;
                return true;
            }
            if (!look_at_pool(engine, pool, NULL, error))
                return false;
        }
    }
    return true;
}
