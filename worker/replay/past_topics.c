/* The past as the topics hold it. */
#include <inttypes.h>
#include <stdio.h>

#include "past.h"
#include "worker/command_kafka.h"
#include "worker/ledger_view.h"
#include "worker/topic_read.h"

struct reading {
    struct past *past;
    const struct past_range *range;
    struct contracts *contracts;
    struct ledger_view *view; /* finds the space in force */
    int64_t refused;
};

static int64_t time_of(const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    return rd_kafka_message_timestamp(message, &type);
}

static struct spool_record record_of(const rd_kafka_message_t *message, int64_t time)
{
    return (struct spool_record){.time = time,
                                 .partition = message->partition,
                                 .offset = message->offset,
                                 .value = {message->payload, message->len}};
}

static bool take_completion(void *closure, const rd_kafka_message_t *message, struct error *error)
{
    struct reading *reading = closure;
    int64_t time = time_of(message);
    if (time < reading->range->from || time >= reading->range->to)
        return true;
    const struct spool_record record = record_of(message, time);
    return spool_add(reading->past->completions, &record, error);
}

/* SPACE in force is the one after which the view's engine has another space or scale. */
static bool follow_space(struct reading *reading, const struct entry *entry,
                         const struct spool_record *record, struct error *error)
{
    struct engine *engine = reading->view->engine;
    const struct engine_view before = engine_view(engine);
    double scale = before.space == NULL ? 0 : before.scale;
    size_t dimension = before.dimension;
    if (!engine_entry(engine, entry, record->partition, record->offset, error))
        return false;
    const struct engine_view after = engine_view(engine);
    bool ours = after.space != NULL &&
                span_equal(entry->space.feature_space, span_of(after.space)) &&
                entry->space.scale == after.scale;
    bool moved = after.space != NULL && (after.scale != scale || after.dimension != dimension);
    return !ours || (!moved && reading->past->space.size > 0) ||
           past_keep_space(reading->past, reading->contracts, entry, error);
}

static bool take_entry(void *closure, const rd_kafka_message_t *message, struct error *error)
{
    struct reading *reading = closure;
    struct error reason = {ERROR_NONE, ""};
    struct entry entry;
    struct spool_record record = record_of(message, 0);
    if (!contracts_decode_entry(reading->contracts, record.value, &entry, NULL, &reason)) {
        reading->refused++;
        return true;
    }
    record.time = entry.time;
    if (entry.kind == ENTRY_SPACE && entry.time < reading->range->to &&
        !follow_space(reading, &entry, &record, error))
        return false;
    return past_add_entry(reading->past, &entry, &record, error);
}

static bool read_topics(struct reading *reading, const struct options *options, rd_kafka_t *admin,
                        struct error *error)
{
    struct past *past = reading->past;
    if (!command_topic(admin, options->topics_completions, &past->partitions, error) ||
        !command_topic(admin, options->topics_ledger, &past->ledger_partitions, error))
        return false;
    const struct kafka_place completions = {options->topics_completions, 0, past->partitions};
    const struct kafka_place ledger = {options->topics_ledger, 0, past->ledger_partitions};
    return topic_read(options, &completions, take_completion, reading, error) &&
           past_seal_completions(past, error) &&
           topic_read(options, &ledger, take_entry, reading, error) &&
           past_seal_ledger(past, error);
}

bool past_read_topics(struct past *past, const struct options *options,
                      const struct past_range *range, rd_kafka_t *admin, struct error *error)
{
    struct ledger_view view = {0};
    struct reading reading = {.past = past, .range = range, .view = &view};
    past->from = range->from;
    past->to = range->to;
    snprintf(past->name, sizeof past->name, "%s", options->topics_completions);
    bool done = past_begin(past, error) && ledger_view_init(&view, options, NULL, error);
    reading.contracts = view.contracts;
    done = done && read_topics(&reading, options, admin, error);
    if (reading.refused > 0)
        fprintf(stderr, "infopair replay: %" PRId64 " records of %s cannot be read as entries\n",
                reading.refused, options->topics_ledger);
    ledger_view_fini(&view);
    return done && (past->space.size > 0 || past_estimate_space(past, options, error));
}
