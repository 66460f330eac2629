/* What an entry of the ledger does, whoever wrote it. */
#include <stdio.h>

#include "internal.h"

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

void engine_refuse(struct engine *engine, int32_t partition, int64_t offset, const char *reason)
{
    engine->stats.entries_refused++;
    snprintf(engine->refusal, sizeof engine->refusal, "partition %d, offset %lld: %s", partition,
             (long long)offset, reason);
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
    if (!done || !engine_forget(engine, error))
        return false;
    if (applied == APPLIED_NO_MEMORY)
        return error_set(error, ERROR_FATAL, "memory.limit: the ledger's window does not fit");
    if (applied == APPLIED_REFUSED)
        engine_refuse(engine, partition, offset, error->message);
    if (applied != APPLIED_REFUSED && entry->time > engine->requests.time_last)
        engine->requests.time_last = entry->time;
    return true;
}
