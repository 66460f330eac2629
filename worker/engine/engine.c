/* The engine: its life, its events and its batches. What an event means is in the files beside. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "replicas.h"

/* A transaction may hold this much; moments of 4,096 features for some dozen partitions fit. */
enum { BATCH_BYTES_MAX = 1 << 30 };

static bool usable(const struct engine_options *options, struct error *error)
{
    if (options->completions_partitions < 1 || options->ledger_partitions < 1)
        return error_set(error, ERROR_FATAL, "topics: partition counts are not known");
    if (options->pool_max < 2 || options->pool_min < 2 || options->pool_size < options->pool_min ||
        options->pool_max < options->pool_size)
        return error_set(error, ERROR_FATAL, "pool: 2 <= pool.min <= pool.size <= pool.max");
    const struct budget_options budget = spend_options(options);
    if (!(options->policy_beta > 0) || !spend_is_limited(&budget) ||
        options->selection.rule == NULL || options->digest == NULL || options->writer == NULL)
        return error_set(error, ERROR_FATAL,
                         "policy.beta, selection.rule and one of budget.per_second, per_hour and "
                         "per_day are required");
    return true;
}

/* What is asked after an answer repeats the propensity of its pair. */
static bool keeps_propensity(const struct engine_options *options)
{
    return again_all(options) ||
           (options->labels_skips == SKIPS_AGAIN && options->labels_attempts > 1);
}

size_t engine_listed_bytes(const struct engine_options *options)
{
    return keeps_propensity(options) ? requests_listed_bytes() : 0;
}

struct engine *engine_new(const struct engine_options *options, struct contracts *contracts,
                          struct error *error)
{
    if (!usable(options, error))
        return NULL;
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for the engine");
        return NULL;
    }
    engine->options = *options;
    if (options->pools_bytes == 0)
        engine->options.pools_bytes = SIZE_MAX / 2;
    engine->contracts = contracts;
    pools_init(&engine->pools, &engine->options, &engine->stats);
    store_init(&engine->window, options->window_bytes == 0 ? SIZE_MAX / 2 : options->window_bytes);
    store_init(&engine->room, options->waiting_bytes == 0 ? SIZE_MAX / 2 : options->waiting_bytes);
    requests_init(&engine->requests, &engine->window);
    engine->requests.both_bad_ignored = options->labels_both_bad == BOTH_BAD_IGNORE;
    engine->requests.skips_again = options->labels_skips == SKIPS_AGAIN;
    engine->requests.keeps_propensity = keeps_propensity(options);
    model_init(&engine->model, &engine->options, &engine->requests);
    const struct budget_options budget = spend_options(options);
    budget_init(&engine->budget, &budget, options->labels_window, options->completions_partitions);
    batch_init(&engine->batches[0], BATCH_BYTES_MAX);
    batch_init(&engine->batches[1], BATCH_BYTES_MAX);
    engine->open = &engine->batches[0];
    engine->stats.policy_trace = engine->stats.gap_estimate = (double)NAN;
    return engine;
}

void engine_free(struct engine *engine)
{
    if (engine == NULL)
        return;
    for (int32_t k = 0; k < engine->partition_count; k++) {
        engine_lose(engine, INPUT_COMPLETIONS, k);
        free(engine->partitions[k].pane.sums);
        buffer_free(&engine->partitions[k].pane.chunks);
        budget_fini(&engine->partitions[k].bucket);
    }
    for (int32_t k = 0; k < engine->labels_count; k++)
        labels_drop(engine, &engine->labels[k]);
    select_fini(engine);
    shadows_fini(&engine->shadows);
    rivals_fini(&engine->rivals);
    space_fini(engine);
    model_fini(&engine->model);
    requests_fini(&engine->requests);
    pools_fini(&engine->pools);
    store_fini(&engine->window);
    store_fini(&engine->room);
    batch_free(&engine->batches[0]);
    batch_free(&engine->batches[1]);
    free(engine->partitions);
    free(engine->labels);
    free(engine->again);
    free(engine);
}

/* ---- events ---- */

bool engine_reject(struct engine *engine, const struct source *source, const char *stage,
                   const char *reason, struct error *error)
{
    if (source->input == INPUT_COMPLETIONS)
        return completions_reject(engine, source, stage, reason, error);
    struct labels_partition *partition;
    if (!labels_accept_record(engine, source, &partition, error))
        return error->class == ERROR_NONE;
    return effect_dead_letter(engine, source, stage, reason, error);
}

bool engine_end(struct engine *engine, enum input input, int32_t number, int64_t next_offset,
                struct error *error)
{
    if (input == INPUT_COMPLETIONS && number >= 0 && number < engine->partition_count)
        return completions_end(engine, number, next_offset, error);
    if (input == INPUT_LABELS && number >= 0 && number < engine->labels_count &&
        next_offset > engine->labels[number].next) {
        engine->labels[number].next = next_offset;
        engine->moved = true;
    }
    return true;
}

static void follow_one(struct engine *engine, struct request *request, bool was_open)
{
    if (request->partition >= 0 && request->partition < engine->partition_count)
        engine->partitions[request->partition].bucket.open += request->open - was_open;
    model_follow(&engine->model, request);
}

void engine_follow_request(struct engine *engine, struct request *request, bool was_open)
{
    struct replica_change changes[REQUEST_ATTEMPTS_MAX];
    size_t count = replicas_settle(&engine->requests, request, changes);
    for (size_t k = 0; k < count; k++) {
        follow_one(engine, changes[k].request, changes[k].was_open);
        if (changes[k].request->labels != LABELS_NONE)
            engine->model.fresh = -1; /* labels that count are others now */
    }
    follow_one(engine, request, was_open);
    again_look(engine, request);
}

/* False when x of an entry cannot be of the current space, by whose name it calls itself. */
static bool fits_space(const struct engine *engine, const struct entry *entry, struct error *error)
{
    const struct space *space = &engine->model.space;
    bool selected = entry->kind == ENTRY_SELECTED;
    struct span name = selected ? entry->selected.feature_space : entry->labelled.feature_space;
    size_t size = selected ? entry->selected.x.size : entry->labelled.x.size;
    if (space->name == NULL || size == space->dimension * sizeof(float) ||
        !identity_equal(space->id, identity_of(name)))
        return true;
    return error_set(error, ERROR_DATA, "x: has %zu bytes, the space '%s' has %zu features", size,
                     space->name, space->dimension);
}

enum { NO_PARTITION = INT32_MIN };

/* The partition of completions in which an entry's pair stood in a pool. */
static int32_t pool_partition_of(const struct entry *entry)
{
    if (entry->kind == ENTRY_SELECTED)
        return entry->selected.completions_partition;
    bool carried = entry->kind == ENTRY_LABELLED && entry->labelled.origin == ORIGIN_CARRIED;
    return carried ? entry->labelled.source_partition : NO_PARTITION;
}

static bool request_entry(struct engine *engine, const struct entry *entry, int32_t partition,
                          int64_t offset, enum applied *applied, struct error *error)
{
    struct request *request = NULL;
    struct id id;
    bool has_x = entry->kind == ENTRY_SELECTED || entry->kind == ENTRY_LABELLED;
    if (has_x && !fits_space(engine, entry, error)) {
        *applied = APPLIED_REFUSED;
        return true;
    }
    struct span request_id = entry_request(entry);
    if (identity_parse(request_id, &id))
        request = requests_find(&engine->requests, id);
    bool was_open = request != NULL && request->open;
    int32_t number = pool_partition_of(entry);
    if (number != NO_PARTITION && !engine_partition_known(number)) {
        *applied = APPLIED_REFUSED;
        error_set(error, ERROR_DATA, "completions_partition or source_partition: is out of range");
        return true;
    }
    if (number != NO_PARTITION && !engine_partitions(engine, number, error))
        return false;
    if (entry->kind == ENTRY_SELECTED) {
        *applied = requests_selected(&engine->requests, entry, &request, error);
        engine->arrivals = engine->arrivals || *applied == APPLIED_NEW;
        if (*applied == APPLIED_NEW && !spend_note(engine, &entry->selected, error))
            return false;
    } else if (entry->kind == ENTRY_LABELLED) {
        *applied = requests_labelled(&engine->requests, entry, partition, offset, &request, error);
        if (*applied == APPLIED_NEW)
            model_label_arrived(&engine->model, request);
    } else {
        *applied = requests_closed(&engine->requests, request_id, entry->kind == ENTRY_EXPIRED,
                                   &request, error);
    }
    /* A label that is read back may have another place than its sibling's. */
    bool placed = *applied == APPLIED_KNOWN && entry->kind == ENTRY_LABELLED &&
                  engine->requests.attempts_most > 1;
    if (*applied != APPLIED_NEW && !placed)
        return true;
    engine_follow_request(engine, request, was_open);
    return entry->kind != ENTRY_LABELLED || carried_label(engine, request, error);
}

static enum applied fit_entry(struct engine *engine, const struct entry *entry, struct error *error)
{
    const struct space *space = &engine->model.space;
    if (space->name == NULL || !identity_equal(space->id, identity_of(entry->fit.feature_space)))
        return APPLIED_KNOWN;
    return model_fit(&engine->model, entry, error);
}

/* ---- forgetting ---- */

/* A pool that is open remembers what was asked of it, whoever holds it: it began at most
 * limits.clock_ahead after its request was issued, and is closed for every owner to come once a
 * published pane of its partition has reached pool.age later. */
static bool may_be_in_a_pool(void *context, const struct request *request)
{
    const struct engine *engine = context;
    const struct engine_options *options = &engine->options;
    if (!request->whole || request->partition < 0 || request->partition >= engine->partition_count)
        return false;
    return engine->partitions[request->partition].pane.from_time <
           request->issued_at + options->limits_clock_ahead + options->pool_age;
}

/* Requests that come between two times of forgetting. */
static int64_t forget_step(const struct engine_options *options)
{
    return options->labels_max / 32 + 64;
}

/* Forgets what cannot matter any more, each time the window has grown by a thirty-second part. */
static bool forget_tick(struct engine *engine, struct error *error)
{
    int64_t step = forget_step(&engine->options);
    if (engine->requests.count < engine->forget_at)
        return true;
    if (!model_forget(&engine->model, may_be_in_a_pool, engine))
        return error_set(error, ERROR_FATAL, "out of memory for forgetting requests");
    engine->forget_at = engine->requests.count + step;
    return true;
}

bool engine_window_full(const struct engine *engine)
{
    return engine->window.used > engine->window.limit / 16 * 15;
}

void engine_refuse(struct engine *engine, int32_t partition, int64_t offset, const char *reason)
{
    engine->stats.entries_refused++;
    snprintf(engine->refusal, sizeof engine->refusal, "partition %d, offset %lld: %s", partition,
             (long long)offset, reason);
}

const char *engine_foreign_digest(const struct engine *engine)
{
    return engine->foreign;
}

const char *engine_refusal(const struct engine *engine)
{
    return engine->refusal;
}

/* An entry stands in the partition that its key gives, at a time that a clock can show: nothing
 * else makes the state a function of the set of entries. */
static bool has_its_place(const struct engine *engine, const struct entry *entry, int32_t partition,
                          struct error *error)
{
    struct id id;
    int32_t place = identity_parse(entry_request(entry), &id) ? ledger_partition_of(engine, id) : 0;
    if (entry->time < 0 || entry->time > REQUEST_DEADLINE_MAX / 2)
        return error_set(error, ERROR_DATA, "time: %lld is not milliseconds since the epoch",
                         (long long)entry->time);
    /* Budgets of an hour and a day follow the newest request. */
    if (entry->kind == ENTRY_SELECTED && entry->selected.issued_at > entry->time)
        return error_set(error, ERROR_DATA, "issued_at: lies behind the entry's time");
    return partition == place ||
           error_set(error, ERROR_DATA, "stands in partition %d of the ledger, not in %d",
                     partition, place);
}

/* What was decided here before the budget changed is no other worker's word. */
static bool own_digest(const struct engine *engine, const struct entry *entry)
{
    return span_equal(entry->digest, span_of(engine->options.digest)) ||
           (engine->digest_before[0] != '\0' &&
            span_equal(entry->writer, span_of(engine->options.writer)) &&
            span_equal(entry->digest, span_of(engine->digest_before)));
}

bool engine_entry(struct engine *engine, const struct entry *entry, int32_t partition,
                  int64_t offset, struct error *error)
{
    enum applied applied = APPLIED_KNOWN;
    bool done = true;
    if (entry->version < LEDGER_VERSION - 1 || entry->version > LEDGER_VERSION) {
        error_set(error, ERROR_DATA, "version: %d, this build reads %d and %d", entry->version,
                  LEDGER_VERSION - 1, LEDGER_VERSION);
        engine_refuse(engine, partition, offset, error->message);
        return true;
    }
    if (!own_digest(engine, entry)) {
        engine->stats.foreign_entries++;
        snprintf(engine->foreign, sizeof engine->foreign, "%.*s", (int)entry->digest.size,
                 entry->digest.data);
    }
    if (!span_equal(entry->writer, span_of(engine->options.writer))) {
        engine->stats.others_entries++;
        engine->stats.others_time = entry->time;
    }
    if (!has_its_place(engine, entry, partition, error)) {
        engine_refuse(engine, partition, offset, error->message);
        return true;
    }
    switch (entry->kind) {
    case ENTRY_SELECTED:
    case ENTRY_LABELLED:
    case ENTRY_EXPIRED:
    case ENTRY_WITHDRAWN:
        done = request_entry(engine, entry, partition, offset, &applied, error);
        break;
    case ENTRY_MOMENTS:
        done = moments_entry(engine, entry, &applied, error);
        break;
    case ENTRY_FIT:
        applied = fit_entry(engine, entry, error);
        break;
    case ENTRY_SPACE:
        done = space_entry(engine, entry, offset, &applied, error);
        break;
    case ENTRY_PRICE:
        done = price_entry(engine, entry, &applied, error);
        break;
    }
    if (applied != APPLIED_REFUSED && !model_note_version(&engine->model, entry))
        applied = APPLIED_NO_MEMORY;
    if (!done || !forget_tick(engine, error))
        return false;
    if (applied == APPLIED_NO_MEMORY)
        return error_set(error, ERROR_FATAL, "memory.limit: the ledger's window does not fit");
    if (applied == APPLIED_REFUSED)
        engine_refuse(engine, partition, offset, error->message);
    if (applied != APPLIED_REFUSED && entry->time > engine->requests.time_last)
        engine->requests.time_last = entry->time;
    return true;
}

static void update_stats(struct engine *engine)
{
    struct engine_stats *stats = &engine->stats;
    const struct model *model = &engine->model;
    stats->pools_bytes = engine->pools.store.bytes;
    stats->window_bytes = engine->window.bytes;
    stats->requests = engine->requests.count;
    stats->requests_open = engine->requests.open_count;
    stats->labels_counted = model->counted;
    stats->moments_pools = model->policy_pools;
    stats->moments_pools_effective = model->policy_pools_effective;
    stats->moments_completions = model->policy_completions;
    stats->fit_id = model->fit_id;
    stats->lambda = model->lambda;
    stats->lapse = model->lapse;
    stats->left_bias = model->left_bias;
    stats->label_loss = drift_loss(&model->drift);
    stats->label_surprise = drift_surprise(&model->drift);
    stats->return_rate = model->return_rate;
    stats->dimension = model->space.dimension;
    if (model->policy_pools > 0 && !model->stale && !model->policy_stale) {
        stats->policy_trace = model_trace(model);
        stats->gap_estimate = stats->policy_trace / (2 * engine->options.policy_beta);
    }
}

bool engine_tick(struct engine *engine, int64_t now, struct error *error)
{
    if (now > engine->now)
        engine->now = now;
    if (!forget_tick(engine, error))
        return false;
    if (engine->arrivals && !labels_resolve(engine, -1, error))
        return false;
    engine->arrivals = false;
    if (!completions_tick(engine, error) || !expiry_tick(engine, error) ||
        !select_prepare(engine, error) || !space_tick(engine, error) ||
        !carried_tick(engine, error) || !moments_tick(engine, error) || !fit_tick(engine, error) ||
        !select_tick(engine, error))
        return false;
    update_stats(engine);
    return true;
}

/* ---- batches ---- */

static bool add_offsets(struct engine *engine)
{
    for (int32_t k = 0; k < engine->partition_count; k++) {
        const struct partition *partition = &engine->partitions[k];
        if (!partition_live(partition))
            continue;
        struct batch_offset offset = {
            .input = INPUT_COMPLETIONS, .partition = k, .next = partition->next};
        completions_low_water(partition, &offset);
        if (!batch_offset_add(engine->open, &offset))
            return false;
    }
    for (int32_t k = 0; k < engine->labels_count; k++) {
        const struct labels_partition *partition = &engine->labels[k];
        if (!partition->held || !partition->barrier)
            continue;
        struct batch_offset offset = {
            .input = INPUT_LABELS, .partition = k, .next = labels_next(partition)};
        labels_low_water(partition, &offset);
        if (!batch_offset_add(engine->open, &offset))
            return false;
    }
    return true;
}

const struct batch *engine_close(struct engine *engine, struct error *error)
{
    struct batch *batch = engine->open;
    error->class = ERROR_NONE;
    if (engine->closed != NULL || (batch->effect_count == 0 && !engine->moved))
        return NULL;
    if (!add_offsets(engine)) {
        error_set(error, ERROR_FATAL, "out of memory for a batch");
        return NULL;
    }
    if (batch->offset_count == 0) {
        /* Nothing may leave without offsets: they fence it. */
        if (batch->effect_count > 0)
            error_set(error, ERROR_FATAL, "a batch has effects and no offsets");
        return NULL;
    }
    batch_close(batch);
    engine->closed = batch;
    engine->open = &engine->batches[batch == &engine->batches[0]];
    batch_clear(engine->open);
    engine->records = 0;
    engine->moved = false;
    return engine->closed;
}

void engine_confirm(struct engine *engine)
{
    engine->closed = NULL;
}

size_t engine_batch_bytes(const struct engine *engine)
{
    return engine->open->arena.size;
}

size_t engine_batch_records(const struct engine *engine)
{
    return engine->records;
}

/* ---- looking in ---- */

const struct engine_stats *engine_stats(struct engine *engine)
{
    return &engine->stats;
}

int64_t engine_next(const struct engine *engine, enum input input, int32_t partition)
{
    if (partition < 0)
        return -1;
    if (input == INPUT_COMPLETIONS && partition < engine->partition_count &&
        engine->partitions[partition].held)
        return engine->partitions[partition].next;
    if (input == INPUT_LABELS && partition < engine->labels_count && engine->labels[partition].held)
        return engine->labels[partition].next;
    return -1;
}

int64_t engine_reread_left(const struct engine *engine)
{
    int64_t left = 0;
    for (int32_t k = 0; k < engine->partition_count; k++) {
        const struct partition *partition = &engine->partitions[k];
        if (partition->held && partition->next < partition->committed)
            left += partition->committed - partition->next;
    }
    return left;
}

double engine_budget_level(const struct engine *engine)
{
    double level = 0;
    for (int32_t k = 0; k < engine->partition_count; k++) {
        if (partition_live(&engine->partitions[k]))
            level +=
                budget_level(&engine->budget, &engine->partitions[k].bucket, k, entry_time(engine));
    }
    return level;
}

size_t engine_fixed_bytes(const struct engine_options *options, size_t dimension)
{
    return model_bytes(options, dimension) + select_bytes(options, dimension);
}

size_t engine_pane_bytes(size_t dimension)
{
    return dimension * dimension * sizeof(double);
}

size_t engine_moments_bytes(size_t dimension)
{
    return dimension * (dimension + 1) / 2 * sizeof(float);
}

size_t engine_fit_bytes(void)
{
    return model_fit_bytes();
}

int64_t engine_labels_kept(const struct engine_options *options)
{
    return options->labels_max + model_slack(options) + forget_step(options);
}

size_t engine_request_bytes(size_t dimension)
{
    enum { TEXTS = 128 };
    return requests_bytes(dimension, TEXTS);
}

bool engine_obstacle(struct engine *engine, char *text, size_t size)
{
    if (engine->model.space.name == NULL && !engine->coming.known)
        snprintf(text, size, "no completion has come yet");
    else if (space_obstacle(engine, text, size))
        return true;
    else if (engine->model.space.name == NULL)
        snprintf(text, size,
                 "the feature space '%.100s' has no scale yet: %lld of %lld ready pools",
                 engine->coming.name, (long long)engine->coming.pools,
                 (long long)engine->options.features_scale_pools);
    else if (engine->model.policy_pools == 0)
        snprintf(text, size, "no moments of the policy yet");
    else if (engine_window_full(engine))
        snprintf(text, size,
                 "memory.limit: the window of requests and labels is full (%zu MiB); lower "
                 "labels.max, pool.age or labels.late, or raise memory.limit",
                 engine->window.limit >> 20);
    else if (spend_obstacle(engine, text, size))
        return true;
    else if (select_declined(engine) > 0)
        snprintf(text, size, "the rule %s takes no pair of the %zu ready pools",
                 engine->options.selection.rule->name, select_declined(engine));
    else
        return false;
    return true;
}

const double *engine_preference(struct engine *engine, double *scale)
{
    *scale = engine->model.space.scale;
    return engine->model.psi;
}

const double *engine_policy(struct engine *engine)
{
    return engine->model.policy_pools > 0 ? engine->model.policy : NULL;
}

const double *engine_inverse(struct engine *engine)
{
    const struct model *model = &engine->model;
    return model->information == NULL || model->stale ? NULL
                                                      : sel_information_inverse(model->information);
}
