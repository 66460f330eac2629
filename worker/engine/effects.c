/* Effects: what the engine has decided, encoded into the open batch. */
#include <inttypes.h>
#include <stdio.h>

#include "internal.h"

/* A dead letter may be this much larger than limits.record; `topics` gives the topic more. */
enum { DEAD_LETTER_EXTRA = 32 * 1024 };

int64_t entry_time(const struct engine *engine)
{
    return engine->now > engine->requests.time_last ? engine->now : engine->requests.time_last;
}

int32_t ledger_partition_of(const struct engine *engine, struct id id)
{
    return (int32_t)(id.low % (uint64_t)engine->options.ledger_partitions);
}

static bool out_of_memory(struct error *error)
{
    return error_set(error, ERROR_FATAL, "out of memory for a batch");
}

struct span entry_request(const struct entry *entry)
{
    switch (entry->kind) {
    case ENTRY_SELECTED:
        return entry->selected.request_id;
    case ENTRY_LABELLED:
        return entry->labelled.request_id;
    case ENTRY_EXPIRED:
        return entry->expired.request_id;
    case ENTRY_WITHDRAWN:
        return entry->withdrawn.request_id;
    default:
        return (struct span){"", 0};
    }
}

bool effect_entry(struct engine *engine, struct entry *entry, int32_t partition,
                  struct error *error)
{
    entry->version = LEDGER_VERSION;
    entry->digest = span_of(engine->options.digest);
    entry->writer = span_of(engine->options.writer);
    if (entry->time == 0)
        entry->time = entry_time(engine);
    struct buffer *arena = batch_arena(engine->open);
    size_t mark = arena->size;
    struct span key, value;
    if (!contracts_encode_entry(engine->contracts, entry, arena, error)) {
        error->class = ERROR_FATAL;
        return false;
    }
    value = batch_taken(engine->open, mark);
    if (!batch_copy(engine->open, entry_request(entry), &key))
        return out_of_memory(error);
    struct effect *effect = batch_effect(engine->open, OUTPUT_LEDGER, partition);
    if (effect == NULL)
        return out_of_memory(error);
    effect->key = key;
    effect->value = value;
    engine->stats.entries[entry->kind]++;
    if (entry->time > engine->requests.time_last)
        engine->requests.time_last = entry->time;
    return true;
}

static bool number_header(struct engine *engine, struct effect *effect, const char *name,
                          int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return batch_header(engine->open, effect, name, span_of(text));
}

bool effect_dead_letter(struct engine *engine, const struct source *source, const char *stage,
                        const char *reason, struct error *error)
{
    struct batch *batch = engine->open;
    size_t most = engine->options.limits_record + DEAD_LETTER_EXTRA;
    struct span kept = source->value;
    if (kept.size > most)
        kept.size = most;
    struct effect *effect = batch_effect(batch, OUTPUT_DEAD_LETTERS, -1);
    bool done = effect != NULL && batch_copy(batch, source->key, &effect->key) &&
                batch_copy(batch, kept, &effect->value) &&
                batch_header(batch, effect, "infopair.topic",
                             span_of(engine->options.topics[source->input])) &&
                number_header(engine, effect, "infopair.partition", source->partition) &&
                number_header(engine, effect, "infopair.offset", source->offset) &&
                number_header(engine, effect, "infopair.timestamp", source->timestamp) &&
                batch_header(batch, effect, "infopair.stage", span_of(stage)) &&
                batch_header(batch, effect, "infopair.reason", span_of(reason));
    if (done && kept.size < source->value.size)
        done = number_header(engine, effect, "infopair.cut_from", (int64_t)source->value.size);
    if (!done)
        return out_of_memory(error);
    engine->stats.dead_letters++;
    return true;
}

/* Cuts a side's text to `size` bytes and says so. */
static void cut_side(struct pair_side *side, size_t size)
{
    struct span cut = text_cut(side->text, size);
    side->text_cut = side->text_cut || cut.size < side->text.size;
    side->text = cut;
}

bool effect_pair(struct engine *engine, struct pair *pair, bool *fits, struct error *error)
{
    struct batch *batch = engine->open;
    struct buffer *arena = batch_arena(batch);
    size_t mark = arena->size;
    size_t most = engine->options.limits_text;
    *fits = false;
    while (true) {
        if (!contracts_encode_pair(engine->contracts, pair, arena, error)) {
            error->class = ERROR_FATAL;
            return false;
        }
        *fits = arena->size - mark <= engine->options.limits_record;
        if (*fits || most == 0)
            break;
        arena->size = mark;
        most /= 2;
        cut_side(&pair->left, most);
        cut_side(&pair->right, most);
        struct span prompt = text_cut(pair->prompt, most);
        pair->prompt_cut = pair->prompt_cut || prompt.size < pair->prompt.size;
        pair->prompt = prompt;
    }
    if (!*fits) {
        arena->size = mark;
        return true;
    }
    struct span value = batch_taken(batch, mark);
    struct effect *effect = batch_effect(batch, OUTPUT_PAIRS, -1);
    bool done = effect != NULL && batch_copy(batch, pair->prompt_id, &effect->key);
    if (!done)
        return out_of_memory(error);
    effect->value = value;
    if (pair->traceparent.size > 0)
        done = batch_header(batch, effect, "traceparent", pair->traceparent);
    if (done && pair->tracestate.size > 0)
        done = batch_header(batch, effect, "tracestate", pair->tracestate);
    return done || out_of_memory(error);
}

bool effect_notice(struct engine *engine, const struct request *request, const char *reason,
                   struct error *error)
{
    struct batch *batch = engine->open;
    char id[ID_TEXT_SIZE];
    identity_format(request->id, id);
    struct effect *effect = batch_effect(batch, OUTPUT_PAIRS, -1);
    return (effect != NULL &&
            batch_copy(batch, request_prompt_id(&engine->requests, request), &effect->key) &&
            batch_header(batch, effect, "infopair.withdrawn", span_of(id)) &&
            batch_header(batch, effect, "infopair.reason", span_of(reason))) ||
           out_of_memory(error);
}
