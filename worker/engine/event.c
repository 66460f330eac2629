#include "event.h"

#include <stdio.h>
#include <string.h>

/* A record becomes a completion or a label, or is rejected with the reason. */
static bool apply_record(struct engine *engine, struct contracts *contracts,
                         const struct source *source, struct error *error)
{
    const char *stage = "decode";
    struct error reason = {ERROR_NONE, ""};
    struct completion completion;
    struct label label;
    if (source->input == INPUT_COMPLETIONS &&
        contracts_decode_completion(contracts, source->value, &completion, &stage, &reason))
        return engine_completion(engine, source, &completion, error);
    if (source->input == INPUT_LABELS &&
        contracts_decode_label(contracts, source->value, &label, &stage, &reason))
        return engine_label(engine, source, &label, error);
    if (reason.class == ERROR_FATAL) {
        *error = reason;
        return false;
    }
    return engine_reject(engine, source, stage, reason.message, error);
}

static bool apply_entry(struct engine *engine, struct contracts *contracts,
                        const struct event *event, struct error *error)
{
    struct entry entry;
    struct error reason;
    if (contracts_decode_entry(contracts, event->source.value, &entry, NULL, &reason))
        return engine_entry(engine, &entry, event->partition, event->offset, error);
    engine_refuse(engine, event->partition, event->offset, reason.message);
    return true;
}

static bool apply_gain(struct engine *engine, const struct event *event, struct error *error)
{
    char waiting[BATCH_WAITING_SIZE];
    snprintf(waiting, sizeof waiting, "%.*s", (int)event->source.value.size,
             event->source.value.size == 0 ? "" : event->source.value.data);
    return engine_gain(engine, event->input, event->partition, event->committed, event->low_water,
                       event->now, waiting, error);
}

static bool apply_budget(struct engine *engine, const struct event *event, struct error *error)
{
    struct budget_options options;
    const struct span *bytes = &event->source.value;
    if (bytes->size != sizeof options)
        return error_set(error, ERROR_FATAL, "a budget of %zu bytes is of another build",
                         bytes->size);
    memcpy(&options, bytes->data, sizeof options);
    return engine_budget(engine, &options, event->source.key, error);
}

bool event_apply(struct engine *engine, struct contracts *contracts, const struct event *event,
                 struct error *error)
{
    switch (event->kind) {
    case EVENT_TICK:
        return engine_tick(engine, event->now, error);
    case EVENT_GAIN:
        return apply_gain(engine, event, error);
    case EVENT_BARRIER:
        return engine_barrier(engine, event->input, event->partition, error);
    case EVENT_LOSE:
        engine_lose(engine, event->input, event->partition);
        return true;
    case EVENT_RECORD:
        return apply_record(engine, contracts, &event->source, error);
    case EVENT_END:
        return engine_end(engine, event->input, event->partition, event->offset, error);
    case EVENT_ENTRY:
        return apply_entry(engine, contracts, event, error);
    case EVENT_PASSED:
        return engine_ledger_passed(engine, event->offset, error);
    case EVENT_RESIZE:
        return engine_resize(engine, event->partition, error);
    case EVENT_CONFIRM:
        engine_confirm(engine);
        return true;
    case EVENT_BUDGET:
        return apply_budget(engine, event, error);
    case EVENTS:
        break;
    }
    return error_set(error, ERROR_FATAL, "event %d cannot be applied", (int)event->kind);
}
