/* Sizes: a record on a topic is its value plus key, headers and the frame of its batch, OVERHEAD
 * together. Brokers bound whole batches, and ours are of up to a million bytes, so that nothing
 * goes below Kafka's own default.
 *
 * Retention of the ledger: window + deadline + late allowance + a day, the
 * larger of the two windows. Its records are stamped by the broker (LogAppendTime): both ways are
 * wall clock, but then a worker whose clock is wrong can neither shorten nor stretch what is kept.
 * Event time is in the body. The inputs keep their writers' stamps (CreateTime): pools live by
 * them. */
#include "topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY ((int64_t)24 * 3600 * 1000)

enum {
    OVERHEAD = 32 * 1024,
    MESSAGE_DEFAULT = 1048588, /* Kafka's */
    DEAD_LETTER_ROOM = 64 * 1024,
    CHUNK = 256 * 1024, /* of MOMENTS */
};

static int64_t most(int64_t left, int64_t right)
{
    return left > right ? left : right;
}

static struct topic_setting *add(struct topic_plan *plan, const char *name)
{
    struct topic_setting *setting = &plan->settings[plan->count++];
    *setting = (struct topic_setting){.name = name};
    return setting;
}

static void set_number(struct topic_setting *setting, int64_t value)
{
    snprintf(setting->text, sizeof setting->text, "%" PRId64, value);
}

static void choose(struct topic_plan *plan, const char *name, const char *text)
{
    snprintf(add(plan, name)->text, sizeof plan->settings->text, "%s", text);
}

static void demand_equal(struct topic_plan *plan, const char *name, const char *text,
                         const char *why)
{
    choose(plan, name, text);
    struct topic_setting *setting = &plan->settings[plan->count - 1];
    setting->demand = DEMAND_EQUAL;
    setting->why = why;
}

static void demand_least(struct topic_plan *plan, const char *name, int64_t value, int64_t least,
                         const char *why)
{
    struct topic_setting *setting = add(plan, name);
    set_number(setting, value);
    setting->demand = DEMAND_LEAST;
    setting->least = least;
    setting->why = why;
}

/* What all five have in common. */
static void begin(struct topic_plan *plan, const struct options *options, const char *name,
                  const char *why_delete)
{
    *plan = (struct topic_plan){.name = name,
                                .partitions = (int)options->topics_partitions,
                                .replication = (int)options->topics_replication};
    demand_equal(plan, "cleanup.policy", "delete", why_delete);
    choose(plan, "min.insync.replicas", options->topics_replication > 2 ? "2" : "1");
}

static void plan_inputs(const struct options *options, struct topic_plan plans[TOPICS])
{
    int64_t record = most((int64_t)options->limits_record + OVERHEAD, MESSAGE_DEFAULT);
    struct topic_plan *completions = &plans[TOPIC_COMPLETIONS];
    begin(completions, options, options->topics_completions,
          "compaction deletes completions of the same prompt");
    set_number(add(completions, "max.message.bytes"), record);
    demand_least(completions, "retention.ms", most(7 * DAY, options->pool_age + DAY),
                 options->pool_age, "open pools are read again from here (pool.age)");
    choose(completions, "message.timestamp.type", "CreateTime");

    struct topic_plan *labels = &plans[TOPIC_LABELS];
    begin(labels, options, options->topics_labels, "compaction deletes labels");
    set_number(add(labels, "max.message.bytes"), record);
    set_number(add(labels, "retention.ms"),
               most(7 * DAY, options->labels_deadline + options->labels_late));
    choose(labels, "message.timestamp.type", "CreateTime");
}

static void plan_outputs(const struct options *options, struct topic_plan plans[TOPICS])
{
    int64_t record = most((int64_t)options->limits_record + OVERHEAD, MESSAGE_DEFAULT);
    struct topic_plan *pairs = &plans[TOPIC_PAIRS];
    begin(pairs, options, options->topics_pairs, "compaction deletes requests for labels");
    demand_least(pairs, "max.message.bytes", record, record,
                 "a pair with two long texts could not be written (limits.record)");
    demand_least(pairs, "retention.ms",
                 most(7 * DAY, options->labels_deadline + options->labels_late),
                 options->labels_deadline, "requests vanish before their deadline");

    struct topic_plan *letters = &plans[TOPIC_DEAD_LETTERS];
    begin(letters, options, options->topics_dead_letters, "compaction deletes dead letters");
    demand_least(letters, "max.message.bytes", 0, 0,
                 "the largest input could not be kept as a dead letter");
    set_number(add(letters, "retention.ms"), 30 * DAY);
    topics_raise_dead_letters(plans, record);
}

static void plan_ledger(const struct options *options, struct topic_plan *plan)
{
    begin(plan, options, options->topics_ledger, "compaction deletes what Sigma and I are made of");
    plan->partitions = LEDGER_PARTITIONS;
    /* FIT and SPACE hold a float64 for each feature. */
    int64_t entry = most(CHUNK, 8 * (int64_t)options->limits_dimension) + 2 * OVERHEAD;
    demand_least(plan, "max.message.bytes", most(entry, MESSAGE_DEFAULT), entry,
                 "moments or a fit could not be written");
    int64_t window = most(options->labels_window, options->policy_window);
    int64_t kept = window + options->labels_deadline + options->labels_late + DAY;
    demand_least(plan, "retention.ms", kept, kept,
                 "entries vanish while they still count (labels.window or policy.window + "
                 "labels.deadline + labels.late + a day)");
    demand_equal(plan, "retention.bytes", "-1", "entries vanish while they still count");
    choose(plan, "message.timestamp.type", "LogAppendTime");
    plan->settings[plan->count - 1].why = "a worker whose clock is wrong can change what is kept";
}

void topics_plan(const struct options *options, struct topic_plan plans[TOPICS])
{
    plan_inputs(options, plans);
    plan_outputs(options, plans);
    plan_ledger(options, &plans[TOPIC_LEDGER]);
}

void topics_raise_dead_letters(struct topic_plan plans[TOPICS], int64_t bytes)
{
    struct topic_plan *plan = &plans[TOPIC_DEAD_LETTERS];
    for (size_t k = 0; k < plan->count; k++) {
        struct topic_setting *setting = &plan->settings[k];
        if (strcmp(setting->name, "max.message.bytes") != 0)
            continue;
        setting->least = most(setting->least, bytes + DEAD_LETTER_ROOM);
        set_number(setting, setting->least);
    }
}

bool topic_setting_fits(const struct topic_setting *setting, const char *actual)
{
    if (setting->demand == DEMAND_EQUAL)
        return strcmp(setting->text, actual) == 0;
    if (setting->demand == DEMAND_NONE)
        return true;
    char *end;
    long long number = strtoll(actual, &end, 10);
    return end != actual && *end == '\0' && (number == -1 || number >= setting->least);
}
