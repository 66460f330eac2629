#include "committed.h"

#include "kafka.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool committed_parse(struct span metadata, struct batch_offset *found)
{
    char text[BATCH_METADATA_SIZE];
    const char *waiting;
    if (metadata.data == NULL || metadata.size >= sizeof text)
        return false;
    memcpy(text, metadata.data, metadata.size);
    text[metadata.size] = '\0';
    if (!batch_metadata_parse(text, &found->low_water, &found->time, &waiting))
        return false;
    snprintf(found->waiting, sizeof found->waiting, "%s", waiting);
    return true;
}

/* ---- comparing ---- */

static const char GO_ON[] = "`infopair run --accept-loss` goes on without them";

static void compare_low_water(const char *subject, const struct committed_found *found,
                              struct findings *findings)
{
    struct batch_offset carried;
    if (!committed_parse(found->metadata, &carried) || carried.low_water > found->committed)
        findings_break(findings, subject,
                       "the metadata of its committed offset is damaged or not a worker's: which "
                       "open pools are to be read again is lost; %s",
                       GO_ON);
    else if (carried.low_water < found->low)
        findings_break(findings, subject,
                       "%" PRId64 " records of open pools were deleted (the low-water is %" PRId64
                       ", must be at least the log's start %" PRId64 "); %s",
                       found->low - carried.low_water, carried.low_water, found->low, GO_ON);
}

void committed_compare(const char *subject, bool low_water, const struct committed_found *found,
                       struct findings *findings)
{
    if (found->committed < 0)
        return;
    if (found->committed < found->low)
        findings_break(findings, subject,
                       "%" PRId64 " records were deleted before they were read (the committed "
                       "offset is %" PRId64 ", must be at least the log's start %" PRId64 "); %s",
                       found->low - found->committed, found->committed, found->low, GO_ON);
    else if (found->committed > found->high)
        findings_break(findings, subject,
                       "the committed offset is %" PRId64 ", must be at most the log's end %" PRId64
                       ": the topic was made anew or lost records",
                       found->committed, found->high);
    if (low_water)
        compare_low_water(subject, found, findings);
}

/* ---- asking ---- */

static bool find(rd_kafka_t *kafka, const rd_kafka_topic_partition_t *partition,
                 struct committed_found *found, struct error *error)
{
    *found = (struct committed_found){.committed = partition->offset,
                                      .metadata = {partition->metadata, partition->metadata_size}};
    return kafka_failure(kafka, partition->err, "its committed offset", error) &&
           kafka_watermarks(kafka, partition->topic, partition->partition, &found->low,
                            &found->high, error);
}

/* Returns how many partitions have a committed offset. */
static int compare_all(rd_kafka_t *kafka, const struct options *options,
                       const rd_kafka_topic_partition_list_t *list, struct findings *findings)
{
    int committed = 0;
    for (int k = 0; k < list->cnt; k++) {
        const rd_kafka_topic_partition_t *partition = &list->elems[k];
        char subject[300];
        snprintf(subject, sizeof subject, "%s [%" PRId32 "]", partition->topic,
                 partition->partition);
        struct error error = {ERROR_NONE, ""};
        struct committed_found found;
        if (!find(kafka, partition, &found, &error)) {
            findings_unchecked(findings, subject, &error);
            continue;
        }
        bool low_water = strcmp(partition->topic, options->topics_completions) == 0;
        committed_compare(subject, low_water, &found, findings);
        committed += found.committed >= 0;
    }
    return committed;
}

static rd_kafka_topic_partition_list_t *inputs_of(const struct options *options,
                                                  const struct topic_found found[TOPICS])
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    if (found[TOPIC_COMPLETIONS].partitions > 0)
        rd_kafka_topic_partition_list_add_range(list, options->topics_completions, 0,
                                                found[TOPIC_COMPLETIONS].partitions - 1);
    if (found[TOPIC_LABELS].partitions > 0)
        rd_kafka_topic_partition_list_add_range(list, options->topics_labels, 0,
                                                found[TOPIC_LABELS].partitions - 1);
    return list;
}

void committed_check(const struct options *options, const struct topic_found found[TOPICS],
                     bool written, struct findings *findings)
{
    char subject[300];
    snprintf(subject, sizeof subject, "group %s", options->kafka_group);
    struct error error = {ERROR_NONE, ""};
    /* A member's handle that never subscribes: it asks and does not join. */
    rd_kafka_t *kafka =
        kafka_open(KAFKA_GROUP, kafka_conf(options, KAFKA_GROUP, 0, &error), &error);
    if (kafka == NULL) {
        findings_unchecked(findings, subject, &error);
        return;
    }
    rd_kafka_topic_partition_list_t *list = inputs_of(options, found);
    if (list->cnt > 0 && !kafka_committed(kafka, list, &error))
        findings_unchecked(findings, subject, &error);
    else if (compare_all(kafka, options, list, findings) == 0)
        findings_note(findings, subject, "%s",
                      written ? "has no committed offsets although the ledger is written: the "
                                "inputs are read again from their start"
                              : "has committed nothing yet");
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(kafka);
}
