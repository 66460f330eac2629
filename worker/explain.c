#include "explain.h"

#include "command_kafka.h"
#include "engine/requests.h"
#include "lambdas.h"
#include "number_json.h"
#include "topic_read.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BESIDE = 1000, BESIDE_MOST = 1000 /* ms and pairs that count as asked beside it */ };

struct explain {
    const struct options *options;
    const char *command;
    struct id id;
    char id_text[ID_TEXT_SIZE];
    /* The first pass. */
    struct buffer record;     /* of SELECTED */
    enum label_origin origin; /* of a label that answers no request */
    /* The second. `asked` points into record. */
    struct ledger_view view; /* at the pick */
    char *space;             /* that the view's engine follows */
    struct entry asked;
    float *x;
    size_t dimension;
    struct store store;
    struct requests after; /* this request alone, to the ledger's end */
    json_t *labels;        /* by label_id */
    json_t *fits;   /* of the space: fit_id, time, labels, margin, ... in the ledger's order */
    json_t *beside; /* by request_id */
    bool broken;    /* out of memory, or an entry about the request was refused */
    /* The third. */
    json_t *pair; /* its record, or NULL */
};

json_t *explain_text(struct span span)
{
    json_t *text = json_stringn(span.size == 0 ? "" : span.data, span.size);
    return text != NULL ? text : json_string("");
}

/* ---- first pass: SELECTED ---- */

static bool is_about(const struct explain *explain, const struct entry *entry)
{
    struct span id = entry->kind == ENTRY_SELECTED    ? entry->selected.request_id
                     : entry->kind == ENTRY_LABELLED  ? entry->labelled.request_id
                     : entry->kind == ENTRY_EXPIRED   ? entry->expired.request_id
                     : entry->kind == ENTRY_WITHDRAWN ? entry->withdrawn.request_id
                                                      : (struct span){NULL, 0};
    return span_equal(id, span_of(explain->id_text));
}

static bool find_selected(void *closure, const rd_kafka_message_t *message, struct error *error)
{
    struct explain *explain = closure;
    struct entry entry;
    struct error ignored;
    const struct span record = {message->payload, message->len};
    if (!contracts_decode_entry(explain->view.contracts, record, &entry, NULL, &ignored) ||
        !is_about(explain, &entry))
        return true;
    if (entry.kind == ENTRY_LABELLED && entry.labelled.origin != ORIGIN_REQUEST)
        explain->origin = entry.labelled.origin;
    if (entry.kind != ENTRY_SELECTED || explain->record.size > 0)
        return true;
    return buffer_append(&explain->record, record.data, record.size) ||
           error_set(error, ERROR_FATAL, "out of memory");
}

/* Of a request without SELECTED. */
static const char *why_unknown(enum label_origin origin)
{
    if (origin == ORIGIN_IMPORTED)
        return "was never asked, its label was imported";
    if (origin == ORIGIN_CARRIED)
        return "was never asked, its label was carried over from another feature space";
    return "the ledger knows no such request, or does not hold it any more";
}

static bool take_selected(struct explain *explain, struct error *error)
{
    const struct kafka_place place = {explain->options->topics_ledger,
                                      engine_ledger_partition(explain->view.engine, explain->id),
                                      1};
    explain->record.maximum = SIZE_MAX / 2;
    if (!topic_read(explain->options, &place, find_selected, explain, error))
        return false;
    if (explain->record.size == 0)
        return error_set(error, ERROR_FATAL, "%s: %s", explain->id_text,
                         why_unknown(explain->origin));
    const struct span record = {explain->record.data, explain->record.size};
    if (!contracts_decode_entry(explain->view.contracts, record, &explain->asked, NULL, error))
        return false;
    struct span x = explain->asked.selected.x;
    explain->dimension = x.size / sizeof(float);
    explain->x = malloc(x.size + 1);
    if (explain->x == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    memcpy(explain->x, x.data, x.size);
    return true;
}

/* ---- second pass: before and after ---- */

static bool was_before(const struct entry *asked, const struct entry *entry)
{
    const struct entry_selected *selected = &asked->selected;
    switch (entry->kind) {
    case ENTRY_FIT:
        return span_equal(entry->fit.feature_space, selected->feature_space)
                   ? entry->fit.fit_id <= selected->fit_id
                   : entry->time <= asked->time;
    case ENTRY_SELECTED:
        return entry->time < asked->time ||
               (entry->time == asked->time && entry->selected.slot < selected->slot);
    case ENTRY_LABELLED:
    case ENTRY_WITHDRAWN:
        return entry->time < asked->time;
    default:
        return entry->time <= asked->time;
    }
}

static void note_label(struct explain *explain, const struct entry *entry)
{
    static const char *const OUTCOMES[] = {"left", "right",   "tie",        "both_bad",
                                           "skip", "invalid", "probability"};
    const struct entry_labelled *label = &entry->labelled;
    char id[ID_TEXT_SIZE];
    identity_format(identity_of(label->label_id), id);
    if (json_object_get(explain->labels, id) == NULL)
        json_object_set_new(
            explain->labels, id,
            json_pack("{s:o, s:s, s:o, s:f, s:o, s:o, s:I, s:I}", "label_id",
                      explain_text(label->label_id), "outcome", OUTCOMES[label->outcome],
                      "probability_left", number_json(label->probability_left), "confidence",
                      label->confidence, "annotator_id", explain_text(label->annotator_id),
                      "annotator_kind", explain_text(label->annotator_kind), "labelled_at",
                      (json_int_t)label->labelled_at, "accepted_at", (json_int_t)entry->time));
}

/* Follows what became of this request, as every worker does. */
static void follow(struct explain *explain, const struct entry *entry, struct ledger_place place)
{
    struct request *request;
    struct error ignored;
    enum applied applied = APPLIED_KNOWN;
    if (entry->kind == ENTRY_SELECTED)
        applied = requests_selected(&explain->after, entry, &request, &ignored);
    else if (entry->kind == ENTRY_LABELLED)
        applied = requests_labelled(&explain->after, entry, place.partition, place.offset, &request,
                                    &ignored);
    else if (entry->kind == ENTRY_EXPIRED)
        applied =
            requests_closed(&explain->after, entry->expired.request_id, true, &request, &ignored);
    else
        applied = requests_closed(&explain->after, entry->withdrawn.request_id, false, &request,
                                  &ignored);
    explain->broken = explain->broken || applied == APPLIED_NO_MEMORY;
    if (entry->kind == ENTRY_LABELLED)
        note_label(explain, entry);
}

static void note_fit(struct explain *explain, const struct entry_fit *fit, int64_t time)
{
    size_t d = explain->dimension;
    double *psi = malloc(fit->psi.size + 1);
    bool ours = span_equal(fit->feature_space, explain->asked.selected.feature_space) &&
                fit->psi.size == d * sizeof *psi;
    if (psi != NULL && ours) {
        memcpy(psi, fit->psi.data, fit->psi.size);
        double margin = explain_margin(psi, explain->x, d);
        json_array_append_new(
            explain->fits,
            json_pack("{s:I, s:I, s:I, s:f, s:f}", "fit_id", (json_int_t)fit->fit_id, "time",
                      (json_int_t)time, "labels", (json_int_t)fit->labels, "margin", margin,
                      "probability_left", sel_tie_chances(margin, fit->lapse, fit->tie).left));
    }
    free(psi);
}

static void note_beside(struct explain *explain, const struct entry *entry)
{
    static const char *const ARMS[] = {"selected", "control", "probe"};
    const struct entry_selected *other = &entry->selected;
    int64_t apart = other->issued_at - explain->asked.selected.issued_at;
    char id[ID_TEXT_SIZE];
    if (apart < -BESIDE || apart > BESIDE || json_object_size(explain->beside) >= BESIDE_MOST)
        return;
    snprintf(id, sizeof id, "%.*s", (int)other->request_id.size, other->request_id.data);
    bool together = apart == 0 && span_equal(entry->writer, explain->asked.writer);
    json_object_set_new(explain->beside, id,
                        json_pack("{s:s, s:o, s:s, s:I, s:b, s:f, s:I}", "request_id", id,
                                  "prompt_id", explain_text(other->prompt_id), "arm",
                                  ARMS[other->arm], "milliseconds", (json_int_t)apart, "together",
                                  together, "propensity", other->propensity, "slot",
                                  (json_int_t)other->slot));
}

static bool wants(void *closure, const struct entry *entry, struct ledger_place place)
{
    struct explain *explain = closure;
    if (is_about(explain, entry))
        follow(explain, entry, place);
    else if (entry->kind == ENTRY_SELECTED)
        note_beside(explain, entry);
    if (entry->kind == ENTRY_FIT)
        note_fit(explain, &entry->fit, entry->time);
    return was_before(&explain->asked, entry);
}

/* Only the space that it was asked in counts, whichever is in force by now. */
static bool follow_space(struct explain *explain, struct span space, struct error *error)
{
    char *name = strndup(space.size == 0 ? "" : space.data, space.size);
    ledger_view_fini(&explain->view);
    bool good = name != NULL && ledger_view_init(&explain->view, explain->options, name, error);
    explain->space = name;
    return good;
}

static bool replay(struct explain *explain, struct error *error)
{
    const struct ledger_visitor visitor = {.closure = explain, .wants = wants};
    struct span space = explain->asked.selected.feature_space;
    if (!follow_space(explain, space, error) ||
        !ledger_view_read(&explain->view, explain->command, 0, &visitor, error) ||
        !engine_refresh(explain->view.engine, error))
        return false;
    const struct engine_view view = engine_view(explain->view.engine);
    if (explain->broken)
        return error_set(error, ERROR_FATAL, "out of memory");
    if (view.space == NULL || !span_equal(space, span_of(view.space)) ||
        view.dimension != explain->dimension || view.sigma == NULL)
        return error_set(error, ERROR_FATAL,
                         "the ledger does not hold the SPACE '%.*s' any more in which it was asked",
                         (int)space.size, space.data);
    return true;
}

/* ---- third pass: pairs ---- */

static json_t *whose(struct explain *explain, const char *head, size_t size, bool *ours)
{
    const char *id;
    json_t *beside;
    *ours = memmem(head, size, explain->id_text, ID_TEXT_SIZE - 1) != NULL;
    if (*ours)
        return NULL;
    json_object_foreach(explain->beside, id, beside)
    {
        if (memmem(head, size, id, ID_TEXT_SIZE - 1) != NULL)
            return beside;
    }
    return NULL;
}

static bool take_pair(void *closure, const rd_kafka_message_t *message, struct error *error)
{
    enum { HEAD = 64 }; /* a pair begins with its request_id */
    static const char *const KEPT[] = {"selector", "score", "probability_left", NULL};
    struct explain *explain = closure;
    struct buffer text = {.maximum = SIZE_MAX / 2};
    struct error ignored;
    bool ours;
    if (message->payload == NULL)
        return true;
    json_t *beside =
        whose(explain, message->payload, message->len < HEAD ? message->len : HEAD, &ours);
    if (!ours && beside == NULL)
        return true;
    (void)error;
    if (contracts_print_json(explain->view.contracts, CONTRACT_PAIR,
                             (struct span){message->payload, message->len}, &text, &ignored)) {
        json_t *pair = json_loadb(text.data, text.size, 0, NULL);
        for (size_t k = 0; beside != NULL && KEPT[k] != NULL; k++)
            json_object_set(beside, KEPT[k], json_object_get(pair, KEPT[k]));
        if (ours && explain->pair == NULL)
            explain->pair = json_incref(pair);
        json_decref(pair);
    }
    buffer_free(&text);
    return true;
}

static bool read_pairs(struct explain *explain, int32_t partitions, struct error *error)
{
    const struct kafka_place place = {explain->options->topics_pairs, 0, partitions};
    return topic_read(explain->options, &place, take_pair, explain, error);
}

/* ---- the answer ---- */

static json_t *request_json(const struct explain *explain)
{
    static const char *const ARMS[] = {"selected", "control", "probe"};
    const struct entry_selected *asked = &explain->asked.selected;
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:f, s:I, s:I, s:I, s:I, s:o}",
                     "request_id", explain->id_text, "pair_id", explain_text(asked->pair_id),
                     "prompt_id", explain_text(asked->prompt_id), "left_id",
                     explain_text(asked->left_id), "right_id", explain_text(asked->right_id),
                     "feature_space", explain_text(asked->feature_space), "policy_version",
                     explain_text(asked->policy_version), "arm", ARMS[asked->arm], "propensity",
                     asked->propensity, "issued_at", (json_int_t)asked->issued_at, "deadline",
                     (json_int_t)asked->deadline, "completions_partition",
                     (json_int_t)asked->completions_partition, "slot", (json_int_t)asked->slot,
                     "writer", explain_text(explain->asked.writer));
}

static json_t *known_json(const struct explain *explain)
{
    const struct engine_view view = engine_view(explain->view.engine);
    const struct requests *requests = engine_requests(explain->view.engine);
    const struct request *request;
    double margin = explain_margin(view.psi, explain->x, view.dimension);
    int64_t labels = 0;
    json_t *psi = json_array();
    for (size_t k = 0; k < view.dimension; k++)
        json_array_append_new(psi, json_real(view.psi[k]));
    for (size_t k = 0; (request = requests_next(requests, &k)) != NULL; k++)
        labels += request->counted;
    return json_pack("{s:I, s:I, s:o, s:f, s:o, s:f, s:f, s:f, s:I, s:I}", "fit_id",
                     (json_int_t)view.fit_id, "fit_named",
                     (json_int_t)explain->asked.selected.fit_id, "psi", psi, "lambda", view.lambda,
                     "lambdas", lambdas_json(explain->view.engine), "lapse", view.lapse, "margin",
                     margin, "probability_left", sel_tie_chances(margin, view.lapse, view.tie).left,
                     "labels", (json_int_t)labels, "under_way", (json_int_t)requests->open_count);
}

/* The fit in force at a time, or, `next`, the first one behind it that has seen what came before
 * then; NULL: none. */
static json_t *fit_at(const struct explain *explain, int64_t time, bool next)
{
    json_t *best = NULL, *fit;
    size_t k;
    json_array_foreach(explain->fits, k, fit)
    {
        json_int_t id = json_integer_value(json_object_get(fit, "fit_id"));
        json_int_t best_id = json_integer_value(json_object_get(best, "fit_id"));
        bool later = json_integer_value(json_object_get(fit, "time")) > time;
        if (later == next && (best == NULL || (next ? id < best_id : id > best_id)))
            best = fit;
    }
    return best;
}

/* What the label that counts said and changed. */
static json_t *label_json(const struct explain *explain, const struct request *request,
                          double predicted, const json_t *directions)
{
    struct request_label counting;
    char id[ID_TEXT_SIZE];
    if (request == NULL || !request_counting(request, &counting))
        return json_null();
    identity_format(counting.id, id);
    json_t *label = json_object_get(explain->labels, id);
    double y = counting.probability;
    bool tells = isfinite(y) && y != .5 && predicted != .5;
    double weight = isfinite(y) ? counting.confidence * explain->asked.selected.weight : 0;
    json_t *fresh = json_deep_copy(label);
    json_object_set_new(fresh, "agreed",
                        tells ? json_boolean((y > .5) == (predicted > .5)) : json_null());
    json_object_set_new(fresh, "drop", number_json(explain_drop(directions, weight)));
    json_t *before = fit_at(explain, counting.accepted_at, false);
    json_t *after = fit_at(explain, counting.accepted_at, true);
    json_object_set(fresh, "fit_before", before == NULL ? json_null() : before);
    json_object_set(fresh, "fit_after", after == NULL ? json_null() : after);
    return fresh;
}

/* Those of the same transaction first: they were compared under the same fit. */
static int by_score(const void *left, const void *right)
{
    json_t *const *one = left, *const *other = right;
    bool first = json_is_true(json_object_get(*one, "together"));
    bool second = json_is_true(json_object_get(*other, "together"));
    double a = json_number_value(json_object_get(*one, "score"));
    double b = json_number_value(json_object_get(*other, "score"));
    if (first != second)
        return first ? -1 : 1;
    return a > b ? -1 : a < b;
}

static json_t *beside_json(const struct explain *explain)
{
    size_t count = 0;
    json_t **each = calloc(json_object_size(explain->beside) + 1, sizeof *each);
    json_t *list = json_array(), *other;
    const char *id;
    if (each == NULL)
        return list;
    json_object_foreach(explain->beside, id, other) each[count++] = other;
    qsort(each, count, sizeof *each, by_score);
    for (size_t k = 0; k < count; k++)
        json_array_append(list, each[k]);
    free(each);
    return list;
}

static json_t *choice_json(const struct explain *explain)
{
    static const char *const KEPT[] = {
        "selector",         "selector_version", "reason",       "score",
        "score_weight",     "score_variance",   "score_policy", "reason_parts",
        "probability_left", "domain",           "cost",         NULL};
    if (explain->pair == NULL)
        return json_null();
    json_t *choice = json_object();
    for (size_t k = 0; KEPT[k] != NULL; k++)
        json_object_set(choice, KEPT[k], json_object_get(explain->pair, KEPT[k]));
    return choice;
}

static json_t *answer(const struct explain *explain, struct error *error)
{
    const struct request *request = requests_find(&explain->after, explain->id);
    const json_t *said = json_object_get(explain->pair, "score_variance");
    json_t *directions =
        explain_directions(explain->view.engine, explain->x,
                           said == NULL ? (double)NAN : json_number_value(said), error);
    if (directions == NULL)
        return NULL;
    json_t *result = request_json(explain), *known = known_json(explain);
    double predicted = json_real_value(json_object_get(known, "probability_left"));
    const char *state = request == NULL                  ? "refused"
                        : request->labels != LABELS_NONE ? "answered"
                        : request->withdrawn             ? "withdrawn"
                        : request->expired               ? "expired"
                                                         : "under way";
    json_object_set_new(result, "state", json_string(state));
    json_object_set_new(result, "weight", json_real(explain->asked.selected.weight));
    json_object_set_new(result, "known", known);
    json_object_set_new(result, "choice", choice_json(explain));
    json_object_set_new(directions, "drop_expected",
                        number_json(explain_drop(directions, explain->asked.selected.weight)));
    json_object_set_new(result, "directions", directions);
    json_object_set_new(result, "label", label_json(explain, request, predicted, directions));
    json_object_set_new(result, "beside", beside_json(explain));
    return result;
}

json_t *explain_request(const struct options *options, const char *command, int32_t pairs,
                        struct id request, struct error *error)
{
    struct explain explain = {.options = options,
                              .command = command,
                              .id = request,
                              .labels = json_object(),
                              .fits = json_array(),
                              .beside = json_object()};
    json_t *result = NULL;
    identity_format(request, explain.id_text);
    store_init(&explain.store, SIZE_MAX / 2);
    requests_init(&explain.after, &explain.store);
    if (ledger_view_init(&explain.view, options, NULL, error) && take_selected(&explain, error) &&
        replay(&explain, error) && read_pairs(&explain, pairs, error))
        result = answer(&explain, error);
    if (result != NULL && explain.view.foreign[0] != '\0')
        json_object_set_new(result, "foreign_options", json_string(explain.view.foreign));
    ledger_view_fini(&explain.view);
    requests_fini(&explain.after);
    store_fini(&explain.store);
    buffer_free(&explain.record);
    free(explain.x);
    free(explain.space);
    json_decref(explain.labels);
    json_decref(explain.fits);
    json_decref(explain.beside);
    json_decref(explain.pair);
    return result;
}
