#include "recorded.h"

#include <math.h>
#include <stdlib.h>

#include "passage.h"
#include "worker/command_kafka.h"
#include "worker/engine/event.h"
#include "worker/engine/requests.h"
#include "worker/memory.h"

/* Longer than anything recorded, short enough for sums with it. */
static const int64_t FOR_EVER = INT64_C(100) * 365 * 86400 * 1000;

struct propensity {
    struct id request;
    double value;
};

/* Propensities by request: they are no state of an engine. */
struct propensities {
    struct propensity *items;
    size_t count;
};

static int by_request(const void *left, const void *right)
{
    const struct propensity *a = left, *b = right;
    return identity_compare(a->request, b->request);
}

/* An engine for the past's ledger that holds no completions. */
static struct engine *open_view(const struct past *past, const struct options *options,
                                struct contracts *contracts, bool whole, struct error *error)
{
    struct engine_options engine;
    if (!passage_options(past, options, &engine, error))
        return NULL;
    engine.model_bytes = engine.window_bytes = 0;
    if (whole) {
        engine.selection = selection_defaults(sel_rule_find("policy_trace"));
        engine.labels_window = engine.policy_window = FOR_EVER;
        engine.labels_late = 0;
        engine.labels_max = INT64_MAX / 4;
        engine.fit_every = 1;
    }
    return engine_new(&engine, contracts, error);
}

static bool give(struct engine *engine, struct contracts *contracts,
                 const struct spool_record *record, struct error *error)
{
    const struct event event = {.kind = EVENT_ENTRY,
                                .partition = record->partition,
                                .offset = record->offset,
                                .source = {.value = record->value}};
    return event_apply(engine, contracts, &event, error);
}

static bool give_space(struct engine *engine, struct contracts *contracts, const struct past *past,
                       struct error *error)
{
    const struct spool_record space = {.value = {past->space.data, past->space.size}};
    return give(engine, contracts, &space, error);
}

/* Requests and labels; what else there is does not matter here. */
static bool give_requests(struct recorded *recorded, const struct past *past,
                          struct propensities *propensities, struct error *error)
{
    for (size_t k = 0; k < spool_count(past->ledger); k++) {
        const struct spool_record record = spool_at(past->ledger, k);
        struct entry entry;
        if (!contracts_decode_entry(recorded->contracts, record.value, &entry, NULL, error))
            return false;
        if (entry.kind == ENTRY_SELECTED) {
            struct propensity *item = &propensities->items[propensities->count];
            item->value = entry.selected.propensity;
            propensities->count += identity_parse(entry.selected.request_id, &item->request);
        }
        if ((entry.kind == ENTRY_SELECTED || entry.kind == ENTRY_LABELLED) &&
            !engine_entry(recorded->engine, &entry, record.partition, record.offset, error))
            return false;
    }
    qsort(propensities->items, propensities->count, sizeof *propensities->items, by_request);
    return true;
}

static struct recorded_pair pair_of(const struct requests *requests, const struct request *request,
                                    const struct propensities *propensities, int64_t from)
{
    const struct propensity wanted = {.request = request->id};
    const struct propensity *found = bsearch(&wanted, propensities->items, propensities->count,
                                             sizeof *propensities->items, by_request);
    struct recorded_pair pair = {.request = request->id,
                                 .pair = request_pair(requests, request),
                                 .prompt_id = request_prompt_id(requests, request),
                                 .left_id = request_left_id(requests, request),
                                 .right_id = request_right_id(requests, request),
                                 .x = request->x,
                                 .asked = request->selected,
                                 .imported = request->imported,
                                 .arm = (enum pair_arm)request->arm,
                                 .propensity = found == NULL ? (double)NAN : found->value,
                                 .issued_at = request->selected ? request->issued_at : -1,
                                 .probability = (double)NAN};
    struct request_label label;
    pair.labelled = request_counting(request, &label);
    if (pair.labelled) {
        pair.answered_at = label.accepted_at;
        pair.outcome = label.outcome;
        pair.probability = label.probability;
        pair.confidence = label.confidence;
        pair.annotator_id = request_label_annotator(requests, &label);
    }
    int64_t time = pair.asked ? pair.issued_at : pair.labelled ? pair.answered_at : 0;
    pair.before = time < from;
    return pair;
}

static int by_pair(const void *left, const void *right)
{
    const struct recorded_pair *a = left, *b = right;
    int order = identity_compare(a->pair, b->pair);
    if (order != 0)
        return order;
    if (a->labelled != b->labelled)
        return a->labelled ? -1 : 1;
    if (a->answered_at != b->answered_at)
        return a->answered_at < b->answered_at ? -1 : 1;
    return identity_compare(a->request, b->request);
}

static bool list_pairs(struct recorded *recorded, const struct past *past,
                       const struct propensities *propensities, struct error *error)
{
    const struct requests *requests = engine_requests(recorded->engine);
    struct id space = identity_of(span_of(engine_view(recorded->engine).space));
    recorded->pairs = calloc((size_t)requests->count + 1, sizeof *recorded->pairs);
    if (recorded->pairs == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for the recorded pairs");
    const struct request *request;
    for (size_t at = 0; (request = requests_next(requests, &at)) != NULL; at++) {
        if (!request->whole || !identity_equal(request_space_id(requests, request), space))
            continue;
        struct recorded_pair *pair = &recorded->pairs[recorded->count++];
        *pair = pair_of(requests, request, propensities, past->from);
        recorded->asked += !pair->before && (pair->asked || pair->imported);
        recorded->informative += pair->labelled && !isnan(pair->probability);
    }
    qsort(recorded->pairs, recorded->count, sizeof *recorded->pairs, by_pair);
    return true;
}

/* tr(I S) of two d x d matrices, both symmetric. */
static double trace_of(const struct engine_view *view)
{
    double sum = 0;
    for (size_t k = 0; k < view->dimension * view->dimension; k++)
        sum += view->policy[k] * view->inverse[k];
    return sum;
}

/* All that the ledger says, under the options as they are. */
static bool find_worker_trace(struct recorded *recorded, const struct past *past,
                              const struct options *options, struct error *error)
{
    recorded->worker_trace = (double)NAN;
    if (!past->moments)
        return true;
    struct engine *engine = open_view(past, options, recorded->contracts, false, error);
    bool done = engine != NULL;
    for (size_t k = 0; done && k < spool_count(past->ledger); k++) {
        const struct spool_record record = spool_at(past->ledger, k);
        done = give(engine, recorded->contracts, &record, error);
    }
    done = done && engine_refresh(engine, error);
    if (done) {
        const struct engine_view view = engine_view(engine);
        if (view.policy != NULL && view.inverse != NULL)
            recorded->worker_trace = trace_of(&view);
    }
    engine_free(engine);
    return done;
}

bool recorded_read(struct recorded *recorded, const struct past *past,
                   const struct options *options, struct error *error)
{
    struct propensities propensities = {
        .items = calloc(spool_count(past->ledger) + 1, sizeof *propensities.items)};
    *recorded = (struct recorded){0};
    recorded->contracts = command_contracts(options, options->limits_record, error);
    if (recorded->contracts != NULL)
        recorded->engine = open_view(past, options, recorded->contracts, true, error);
    bool done = recorded->engine != NULL &&
                (propensities.items != NULL || error_set(error, ERROR_FATAL, "out of memory")) &&
                give_space(recorded->engine, recorded->contracts, past, error) &&
                give_requests(recorded, past, &propensities, error) &&
                list_pairs(recorded, past, &propensities, error) &&
                find_worker_trace(recorded, past, options, error);
    free(propensities.items);
    return done;
}

void recorded_fini(struct recorded *recorded)
{
    free(recorded->pairs);
    engine_free(recorded->engine);
    contracts_free(recorded->contracts);
    *recorded = (struct recorded){0};
}

const struct recorded_pair *recorded_find(const struct recorded *recorded, struct id pair,
                                          size_t *count)
{
    size_t low = 0, high = recorded->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (identity_compare(recorded->pairs[middle].pair, pair) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (*count = 0; low + *count < recorded->count &&
                     identity_equal(recorded->pairs[low + *count].pair, pair);)
        ++*count;
    return *count == 0 ? NULL : &recorded->pairs[low];
}
