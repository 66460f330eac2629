/* Labels: matched to their requests, accepted once, or kept waiting; expiry; fits.
 *
 * A label whose pair is not known waits: it may have overtaken the ledger. It is unknown only when
 * the ledger was read beyond everything committed when the label arrived (the shell says so with
 * the label's ticket). The committed offset of a labels partition never passes a waiting label. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "replicas.h"

/* ---- the waiting room ---- */

int64_t labels_next(const struct labels_partition *partition)
{
    return partition->waiting != NULL ? partition->waiting->offset : partition->next;
}

/* Names one more offset; false: there is no room. */
static bool name_waiting(struct batch_offset *offset, size_t *count, int64_t waiting)
{
    size_t used = strlen(offset->waiting);
    if (*count == BATCH_WAITING_MAX)
        return false;
    snprintf(offset->waiting + used, sizeof offset->waiting - used, "%s%" PRId64,
             used == 0 ? "" : ",", waiting);
    ++*count;
    return true;
}

void labels_low_water(const struct labels_partition *partition, struct batch_offset *offset)
{
    size_t count = 0;
    offset->low_water = partition->next > partition->handled ? partition->next : partition->handled;
    for (const struct waiting *waiting = partition->waiting; waiting != NULL;
         waiting = waiting->next) {
        if (!name_waiting(offset, &count, waiting->offset)) {
            offset->low_water = waiting->offset;
            return;
        }
    }
    for (size_t k = 0; k < partition->undecided_count; k++) {
        int64_t undecided = partition->undecided[k];
        if (undecided >= partition->next && !name_waiting(offset, &count, undecided)) {
            offset->low_water = undecided;
            return;
        }
    }
}

void labels_take_over(struct labels_partition *partition, int64_t handled, const char *waiting)
{
    partition->handled = handled;
    partition->undecided_count = 0;
    while (*waiting != '\0' && partition->undecided_count < BATCH_WAITING_MAX) {
        char *end;
        partition->undecided[partition->undecided_count++] = strtoll(waiting, &end, 10);
        waiting = end + strspn(end, ",");
    }
}

/* True for a record that the owner before has read and decided. */
static bool decided_before(const struct labels_partition *partition, int64_t offset)
{
    for (size_t k = 0; k < partition->undecided_count; k++) {
        if (partition->undecided[k] == offset)
            return false;
    }
    return offset < partition->handled;
}

static void waiting_remove(struct engine *engine, struct labels_partition *partition,
                           struct waiting **link)
{
    struct waiting *waiting = *link;
    *link = waiting->next;
    partition->waiting_count--;
    partition->waiting_bytes -= waiting->bytes;
    store_give(&engine->room, waiting, waiting->bytes);
    engine->stats.labels_waiting--;
    engine->moved = true;
}

void labels_drop(struct engine *engine, struct labels_partition *partition)
{
    while (partition->waiting != NULL)
        waiting_remove(engine, partition, &partition->waiting);
}

/* Each partition that is held has its part of the room, so that one cannot stop the others; by
 * bytes the whole room counts too, for a few large labels of many partitions. */
double engine_waiting(const struct engine *engine, int32_t number)
{
    const struct engine_options *options = &engine->options;
    if (number < 0 || number >= engine->labels_count)
        return 0;
    const struct labels_partition *partition = &engine->labels[number];
    double held = 0;
    for (int32_t k = 0; k < engine->labels_count; k++)
        held += engine->labels[k].held;
    if (held == 0)
        held = 1;
    double most = (double)options->waiting_max / held;
    double share = (double)partition->waiting_count / (most < 1 ? 1 : most);
    if (options->waiting_bytes == 0)
        return share;
    double bytes = (double)partition->waiting_bytes * held / (double)options->waiting_bytes;
    size_t taken = engine->room.bytes - engine->room.empty_bytes;
    double all = (double)taken / (double)options->waiting_bytes;
    share = bytes > share ? bytes : share;
    return all > share ? all : share;
}

int64_t engine_ticket(const struct engine *engine)
{
    return engine->ticket;
}

static bool wait_for_pair(struct engine *engine, struct labels_partition *partition,
                          const struct source *source, struct error *error)
{
    size_t bytes = sizeof(struct waiting) + source->key.size + source->value.size;
    struct waiting *waiting = store_take(&engine->room, bytes);
    if (waiting == NULL)
        return error_set(error, ERROR_FATAL,
                         "memory.limit: no room for a label that waits for its pair");
    *waiting = (struct waiting){.ticket = ++engine->ticket,
                                .offset = source->offset,
                                .timestamp = source->timestamp,
                                .bytes = bytes,
                                .key_size = source->key.size,
                                .value_size = source->value.size};
    if (source->key.size > 0)
        memcpy(waiting->data, source->key.data, source->key.size);
    memcpy(waiting->data + source->key.size, source->value.data, source->value.size);
    struct waiting **link = &partition->waiting;
    while (*link != NULL)
        link = &(*link)->next;
    *link = waiting;
    partition->waiting_count++;
    partition->waiting_bytes += bytes;
    engine->stats.labels_waiting++;
    return true;
}

/* ---- acceptance ---- */

/* Tells labellers of the attempts that an answer to another one has closed. */
static bool tell_closed(struct engine *engine, struct request *const *attempts,
                        const bool *was_open, size_t count, const struct request *answered,
                        struct error *error)
{
    for (size_t k = 0; k < count; k++)
        if (attempts[k] != answered && was_open[k] && !attempts[k]->open &&
            !effect_notice(engine, attempts[k], "answered: by a label for another attempt", error))
            return false;
    return true;
}

/* A label that was accepted: Sigma, the fit and the other attempts follow. */
static bool follow_label(struct engine *engine, struct request *request, bool was_open,
                         struct error *error)
{
    struct request *attempts[REQUEST_ATTEMPTS_MAX];
    bool open[REQUEST_ATTEMPTS_MAX];
    size_t count = replicas_attempts(&engine->requests, request, attempts);
    for (size_t k = 0; k < count; k++)
        open[k] = attempts[k]->open;
    model_label_arrived(&engine->model, request);
    engine_follow_request(engine, request, was_open);
    return tell_closed(engine, attempts, open, count, request, error);
}

static bool accept(struct engine *engine, const struct source *source, const struct label *label,
                   struct span label_id, struct request *request, struct error *error)
{
    char request_id[ID_TEXT_SIZE], pair_id[ID_TEXT_SIZE];
    identity_format(request->id, request_id);
    const struct requests *requests = &engine->requests;
    identity_format(request_pair(requests, request), pair_id);
    struct entry entry = {
        .kind = ENTRY_LABELLED,
        .labelled = {
            .label_id = label_id,
            .request_id = span_of(request_id),
            .pair_id = span_of(pair_id),
            .prompt_id = request_prompt_id(requests, request),
            .left_id = request_left_id(requests, request),
            .right_id = request_right_id(requests, request),
            .feature_space = request_space(requests, request),
            .policy_version = request_policy_version(requests, request),
            .policy_epoch = request_policy_epoch(requests, request),
            .x = {(const char *)request->x, request_dimension(requests, request) * sizeof(float)},
            .source_topic = span_of(engine->options.topics[INPUT_LABELS]),
            .source_partition = source->partition,
            .source_offset = source->offset,
            .outcome = label->outcome,
            .probability_left = label_probability(label),
            .confidence = label->confidence,
            .annotator_id = label->annotator_id,
            .annotator_kind = label->annotator_kind,
            .labelled_at = label->labelled_at,
            .origin = ORIGIN_REQUEST,
            .supersedes = label->supersedes,
            .arm = (enum pair_arm)request->arm}};
    bool was_open = request->open;
    if (!effect_entry(engine, &entry, ledger_partition_of(engine, request->id), error))
        return false;
    if (requests_labelled(&engine->requests, &entry, -1, INT64_MAX, &request, error) !=
        APPLIED_NEW) {
        if (error->class != ERROR_FATAL)
            error_set(error, ERROR_FATAL, "memory.limit: no room for a label");
        return false;
    }
    engine->stats.labels++;
    engine->stats.outcomes[label->outcome]++;
    engine->stats.labels_ignored +=
        label->outcome == OUTCOME_BOTH_BAD && engine->requests.both_bad_ignored;
    engine->stats.clock_ahead +=
        label->labelled_at > engine->now + engine->options.limits_clock_ahead;
    return follow_label(engine, request, was_open, error) && carried_label(engine, request, error);
}

/* request_id and pair_id of one label belong together. */
static bool names_one_pair(const struct engine *engine, const struct label *label,
                           const struct request *request, char *reason, size_t size)
{
    struct id pair, own = request_pair(&engine->requests, request);
    char text[ID_TEXT_SIZE];
    if (label->pair_id.size == 0 || label->request_id.size == 0 ||
        (identity_parse(label->pair_id, &pair) && identity_equal(pair, own)))
        return true;
    identity_format(own, text);
    snprintf(reason, size, "pair_id: %.*s is not that of request_id %.*s, which asks for %s",
             (int)(label->pair_id.size < 64 ? label->pair_id.size : 64), label->pair_id.data,
             (int)label->request_id.size, label->request_id.data, text);
    return false;
}

/* Each answer to a pair must come from somebody else: as far as the ledger was read here. Whoever
 * corrects an answer may have given the others. */
static bool is_another_annotator(struct engine *engine, const struct label *label,
                                 const struct request *request, char *reason, size_t size)
{
    bool says = !outcome_is_silent(label->outcome);
    if (engine->options.labels_replicas < 2 || !says || label->annotator_id.size == 0 ||
        label->supersedes.size > 0)
        return true;
    const struct request *other =
        replicas_answered_by(&engine->requests, request, label->annotator_id);
    if (other == NULL)
        return true;
    char id[ID_TEXT_SIZE];
    identity_format(other->id, id);
    snprintf(reason, size,
             "annotator_id: %.*s has answered this pair before, as request %s; this one is for "
             "somebody else",
             (int)(label->annotator_id.size < 256 ? label->annotator_id.size : 256),
             label->annotator_id.data, id);
    engine->stats.labels_repeated++;
    return false;
}

/* What became of a label. */
enum fate { FATE_DECIDED, FATE_UNKNOWN };

static bool decide(struct engine *engine, const struct source *source, const struct label *label,
                   enum fate *fate, struct error *error)
{
    char number[64];
    struct span label_id = label->label_id;
    *fate = FATE_DECIDED;
    if (label_id.size == 0) {
        char place[320];
        snprintf(number, sizeof number, "-%" PRId32 "-%" PRId64, source->partition, source->offset);
        snprintf(place, sizeof place, "%.249s%s", engine->options.topics[INPUT_LABELS], number);
        struct label named = *label;
        named.label_id = span_of(place);
        return decide(engine, source, &named, fate, error);
    }
    struct id id;
    struct request *request = NULL;
    if (requests_has_label(&engine->requests, identity_of(label_id))) {
        engine->stats.labels_duplicate++;
        return true;
    }
    if (label->request_id.size > 0) {
        if (!identity_parse(label->request_id, &id))
            return effect_dead_letter(engine, source, "label", "request_id: is not 32 hex digits",
                                      error);
        request = requests_find(&engine->requests, id);
    } else {
        if (!identity_parse(label->pair_id, &id))
            return effect_dead_letter(engine, source, "label", "pair_id: is not 32 hex digits",
                                      error);
        request = replicas_of_pair(&engine->requests, id, label->supersedes);
    }
    if (request == NULL || !request->whole) {
        *fate = FATE_UNKNOWN;
        return true;
    }
    char reason[512];
    if (!names_one_pair(engine, label, request, reason, sizeof reason) ||
        !is_another_annotator(engine, label, request, reason, sizeof reason))
        return effect_dead_letter(engine, source, "label", reason, error);
    if (request_labels_count(request) >= REQUEST_LABELS_MAX) {
        snprintf(reason, sizeof reason, "request_id: has had %d labels, as many as one may have",
                 REQUEST_LABELS_MAX);
        return effect_dead_letter(engine, source, "label", reason, error);
    }
    if (request->selected && source->timestamp > request->deadline + engine->options.labels_late)
        return effect_dead_letter(
            engine, source, "label",
            "too late: behind the request's deadline by more than labels.late", error);
    return accept(engine, source, label, label_id, request, error);
}

bool engine_label(struct engine *engine, const struct source *source, const struct label *label,
                  struct error *error)
{
    struct labels_partition *partition;
    if (!labels_accept_record(engine, source, &partition, error))
        return error->class == ERROR_NONE;
    enum fate fate;
    if (!decide(engine, source, label, &fate, error))
        return false;
    return fate == FATE_DECIDED || wait_for_pair(engine, partition, source, error);
}

bool labels_accept_record(struct engine *engine, const struct source *source,
                          struct labels_partition **partition, struct error *error)
{
    bool known = source->partition >= 0 && source->partition < engine->labels_count;
    *partition = known ? &engine->labels[source->partition] : NULL;
    if (!known || !(*partition)->held || !(*partition)->barrier)
        return error_set(error, ERROR_FATAL, "labels partition %d delivered before its turn",
                         source->partition);
    if (source->offset < (*partition)->next) {
        error->class = ERROR_NONE;
        return false;
    }
    (*partition)->next = source->offset + 1;
    engine->moved = true;
    engine->records++;
    error->class = ERROR_NONE;
    return !decided_before(*partition, source->offset);
}

/* Looks at one waiting label again. *resolved: it may leave. */
static bool look_again(struct engine *engine, int32_t number, const struct waiting *waiting,
                       bool final, bool *resolved, struct error *error)
{
    const struct source source = {
        .input = INPUT_LABELS,
        .partition = number,
        .offset = waiting->offset,
        .timestamp = waiting->timestamp,
        .key = {waiting->data, waiting->key_size},
        .value = {waiting->data + waiting->key_size, waiting->value_size}};
    struct label label;
    enum fate fate;
    if (!contracts_decode_label(engine->contracts, source.value, &label, NULL, error) ||
        !decide(engine, &source, &label, &fate, error))
        return false;
    *resolved = fate == FATE_DECIDED || final;
    if (fate == FATE_DECIDED || !final)
        return true;
    engine->stats.dead_letters_unknown++;
    return effect_dead_letter(engine, &source, "label",
                              "aborted-or-unknown: no committed request has this request_id or "
                              "pair_id; read pairs with isolation.level=read_committed",
                              error);
}

bool labels_resolve(struct engine *engine, int64_t ticket, struct error *error)
{
    for (int32_t k = 0; engine->stats.labels_waiting > 0 && k < engine->labels_count; k++) {
        struct waiting **link = &engine->labels[k].waiting;
        while (*link != NULL) {
            bool resolved = false;
            if (!look_again(engine, k, *link, (*link)->ticket <= ticket, &resolved, error))
                return false;
            if (resolved)
                waiting_remove(engine, &engine->labels[k], link);
            else
                link = &(*link)->next;
        }
    }
    return true;
}

bool engine_ledger_passed(struct engine *engine, int64_t ticket, struct error *error)
{
    return labels_resolve(engine, ticket, error);
}

/* ---- time ---- */

bool expiry_tick(struct engine *engine, struct error *error)
{
    struct request *next;
    for (struct request *request = engine->requests.open_first; request != NULL; request = next) {
        next = request->under_way.next;
        bool ours = request->partition >= 0 && request->partition < engine->partition_count &&
                    partition_live(&engine->partitions[request->partition]);
        /* By the clock too: a record dated ahead takes no time from the labellers. */
        if (!ours || engine->now < request->deadline ||
            engine->partitions[request->partition].stream_time < request->deadline)
            continue;
        char request_id[ID_TEXT_SIZE];
        identity_format(request->id, request_id);
        struct entry entry = {.kind = ENTRY_EXPIRED,
                              .expired = {.request_id = span_of(request_id),
                                          .completions_partition = request->partition}};
        bool was_open = request->open;
        if (!effect_entry(engine, &entry, ledger_partition_of(engine, request->id), error))
            return false;
        requests_closed(&engine->requests, span_of(request_id), true, &request, error);
        engine->stats.expired++;
        engine_follow_request(engine, request, was_open);
    }
    return true;
}

/* The owner of labels partition 0 writes the fits. */
bool fit_tick(struct engine *engine, struct error *error)
{
    struct model *model = &engine->model;
    bool fitter = engine->labels_count > 0 && engine->labels[0].held && engine->labels[0].barrier;
    if (fitter && !space_renew(engine, error))
        return false;
    if (!fitter || !model_fit_due(model, entry_time(engine)))
        return true;
    size_t d = model->space.dimension;
    double *psi = malloc(d * sizeof *psi);
    if (psi == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for a fit");
    struct model_fit_result result = {0};
    bool done = model_compute_fit(model, psi, &result, error);
    if (done) {
        char digest[ID_TEXT_SIZE];
        identity_format(result.digest, digest);
        struct entry entry = {
            /* Later than every label in it, so that a reader can tell which labels are newer. */
            .time = engine->now > engine->requests.time_last ? engine->now
                                                             : engine->requests.time_last + 1,
            .kind = ENTRY_FIT,
            .fit = {
                .fit_id = model->fit_last + 1,
                .feature_space = span_of(model->space.name),
                .psi = {(const char *)psi, d * sizeof *psi},
                .lambda = {(const char *)result.preference.lambdas, model->groups * sizeof(double)},
                .lapse = result.lapse,
                .left_bias = result.left_bias,
                .return_rate = result.return_rate,
                .labels = result.labels,
                .label_digest = span_of(digest),
                .objective = result.preference.objective,
                .iterations = result.preference.iterations,
                .annotators = {result.annotators.data, result.annotators.size},
                .tie = result.tie}};
        done = effect_entry(engine, &entry, 0, error) &&
               model_fit(model, &entry, error) == APPLIED_NEW;
        engine->stats.fits++;
    }
    free(psi);
    buffer_free(&result.annotators);
    return done;
}
