#include "passage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/command_kafka.h"
#include "worker/engine/event.h"
#include "worker/interrupt.h"
#include "worker/memory.h"

/* Ticks are at most so many intervals apart, or this part of the time without any event. */
enum { STEP_MOST = 64 };
/* Offsets of entries that are read back: behind all that are given. */
static const int64_t OWN_ENTRIES = INT64_C(1) << 60;

bool passage_options(const struct past *past, const struct options *options,
                     struct engine_options *engine, struct error *error)
{
    struct memory_plan plan;
    if (!memory_plan(options, &plan, error))
        return false;
    *engine = memory_engine_options(options, &plan);
    engine->completions_partitions = past->partitions;
    engine->ledger_partitions = past->ledger_partitions;
    engine->writer = "replay";
    engine->digest = "replay";
    engine->accounting_bytes = 0; /* shadows decide nothing */
    engine->accounting_rule = NULL;
    return true;
}

/* The first offset that each partition has. */
static bool find_offsets(struct passage *passage, struct error *error)
{
    const struct past *past = passage->past;
    passage->next = malloc((size_t)past->partitions * sizeof *passage->next);
    if (passage->next == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for %d partitions", past->partitions);
    for (int32_t k = 0; k < past->partitions; k++)
        passage->next[k] = INT64_MAX;
    for (size_t k = 0; k < spool_count(past->completions); k++) {
        const struct spool_record record = spool_at(past->completions, k);
        if (record.offset < passage->next[record.partition])
            passage->next[record.partition] = record.offset;
    }
    for (int32_t k = 0; k < past->partitions; k++)
        passage->next[k] = passage->next[k] == INT64_MAX ? 0 : passage->next[k];
    return true;
}

static bool gain(struct passage *passage, enum input input, int32_t partition, int64_t offset,
                 struct error *error)
{
    return engine_gain(passage->engine, input, partition, offset, offset, 0, "", error) &&
           engine_barrier(passage->engine, input, partition, error);
}

/* What stood in the ledger when the range began. */
static bool give_known(struct passage *passage, struct error *error)
{
    const struct past *past = passage->past;
    for (size_t k = 0; k < spool_count(past->ledger); k++) {
        const struct spool_record record = spool_at(past->ledger, k);
        if (record.time >= past->from)
            return true;
        if (!passage_give_entry(passage, record.value, record.partition, record.offset, error))
            return false;
    }
    return true;
}

bool passage_begin(struct passage *passage, const struct past *past, const struct options *options,
                   const struct engine_options *engine, bool worker, struct error *error)
{
    *passage = (struct passage){.past = past,
                                .interval = options->commit_interval,
                                .records = options->commit_records,
                                .step = options->commit_interval,
                                .now = past->start,
                                .active = past->start,
                                .entries = OWN_ENTRIES};
    passage->contracts = command_contracts(options, options->limits_record, error);
    if (passage->contracts != NULL)
        passage->engine = engine_new(engine, passage->contracts, error);
    if (passage->engine == NULL || !find_offsets(passage, error) ||
        !engine_tick(passage->engine, passage->now, error))
        return false;
    const struct span space = {past->space.data, past->space.size};
    if (space.size > 0 && !passage_give_entry(passage, space, 0, 0, error))
        return false;
    if (worker && !give_known(passage, error))
        return false;
    for (int32_t k = 0; k < past->partitions; k++) {
        if (!gain(passage, INPUT_COMPLETIONS, k, passage->next[k], error))
            return false;
    }
    return !worker || gain(passage, INPUT_LABELS, 0, 0, error);
}

void passage_fini(struct passage *passage)
{
    engine_free(passage->engine);
    contracts_free(passage->contracts);
    free(passage->next);
    *passage = (struct passage){0};
}

bool passage_give_entry(struct passage *passage, struct span record, int32_t partition,
                        int64_t offset, struct error *error)
{
    const struct event event = {
        .kind = EVENT_ENTRY, .partition = partition, .offset = offset, .source = {.value = record}};
    return event_apply(passage->engine, passage->contracts, &event, error);
}

static void note_refusal(struct passage *passage, const struct effect *effect)
{
    for (size_t k = 0; k < effect->header_count && passage->refusal[0] == '\0'; k++) {
        const struct effect_header *header = &effect->headers[k];
        if (strcmp(header->name, "infopair.reason") == 0)
            snprintf(passage->refusal, sizeof passage->refusal, "%.*s", (int)header->value.size,
                     header->value.data);
    }
}

static bool read_back(struct passage *passage, const struct effect *effect, struct error *error)
{
    const struct passage_visitor *visitor = passage->visitor;
    struct entry entry;
    passage->decided = passage->decided || effect->output != OUTPUT_LEDGER;
    if (effect->output == OUTPUT_PAIRS)
        return visitor->paired == NULL || visitor->paired(visitor->closure, effect->value, error);
    if (effect->output != OUTPUT_LEDGER) {
        note_refusal(passage, effect);
        return true;
    }
    if (!contracts_decode_entry(passage->contracts, effect->value, &entry, NULL, error))
        return false;
    /* MOMENTS of long silence are written again and again; nothing follows from them. */
    passage->decided = passage->decided || entry.kind != ENTRY_MOMENTS ||
                       passage->step <= STEP_MOST * passage->interval;
    return engine_entry(passage->engine, &entry, effect->partition, passage->entries++, error) &&
           (visitor->took == NULL || visitor->took(visitor->closure, &entry, error));
}

static bool tick(struct passage *passage, int64_t now, struct error *error)
{
    const struct passage_visitor *visitor = passage->visitor;
    passage->now = now;
    if (interrupt_seen())
        return error_set(error, ERROR_FATAL, "interrupted");
    if (visitor->give != NULL && !visitor->give(visitor->closure, now, error))
        return false;
    for (int32_t k = 0; k < passage->past->partitions; k++) {
        if (!engine_end(passage->engine, INPUT_COMPLETIONS, k, passage->next[k], error))
            return false;
    }
    if (!engine_tick(passage->engine, now, error))
        return false;
    const struct batch *batch = engine_close(passage->engine, error);
    if (batch == NULL && error->class != ERROR_NONE)
        return false;
    passage->decided = false;
    engine_confirm(passage->engine);
    for (size_t k = 0; batch != NULL && k < batch->effect_count; k++) {
        if (!read_back(passage, &batch->effects[k], error))
            return false;
    }
    return true;
}

static bool is_enough(const struct passage *passage)
{
    const struct passage_visitor *visitor = passage->visitor;
    return visitor->enough != NULL && visitor->enough(visitor->closure);
}

/* Time passes up to right before `time`, which has its own tick when the last one lies far back:
 * what is due at a record's time comes after the record. */
static bool pass_until(struct passage *passage, int64_t time, struct error *error)
{
    const struct passage_visitor *visitor = passage->visitor;
    while (!is_enough(passage)) {
        int64_t due = visitor->due == NULL ? INT64_MAX : visitor->due(visitor->closure);
        int64_t next = passage->now + passage->step;
        next = due < next ? due : next;
        if (next >= time)
            break;
        if (!tick(passage, next, error))
            return false;
        int64_t slower = 2 * passage->step;
        if (passage->decided)
            passage->active = passage->now;
        int64_t quiet = (passage->now - passage->active) / STEP_MOST;
        int64_t most = STEP_MOST * passage->interval;
        most = quiet > most ? quiet : most;
        passage->step = passage->decided ? passage->interval : slower < most ? slower : most;
    }
    return time - passage->now <= passage->interval || is_enough(passage) ||
           tick(passage, time - 1, error);
}

static bool give_record(struct passage *passage, const struct spool_record *record,
                        struct error *error)
{
    const struct event event = {.kind = EVENT_RECORD,
                                .source = {.input = INPUT_COMPLETIONS,
                                           .partition = record->partition,
                                           .offset = record->offset,
                                           .timestamp = record->time,
                                           .value = record->value}};
    if (record->offset >= passage->next[record->partition])
        passage->next[record->partition] = record->offset + 1;
    passage->step = passage->interval;
    passage->active = passage->now;
    if (!event_apply(passage->engine, passage->contracts, &event, error))
        return false;
    return engine_batch_records(passage->engine) < (size_t)passage->records ||
           tick(passage, passage->now, error);
}

bool passage_go(struct passage *passage, const struct passage_visitor *visitor, struct error *error)
{
    const struct past *past = passage->past;
    size_t count = spool_count(past->completions);
    passage->visitor = visitor;
    for (size_t k = 0; k < count && !is_enough(passage); k++) {
        const struct spool_record record = spool_at(past->completions, k);
        if (!pass_until(passage, record.time, error))
            return false;
        if (!is_enough(passage) && !give_record(passage, &record, error))
            return false;
    }
    return pass_until(passage, past->end, error) &&
           (is_enough(passage) || tick(passage, past->end, error));
}
