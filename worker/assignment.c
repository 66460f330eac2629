/* Partitions come and go.
 *
 * On assignment, inside librdkafka's callback and before anything is fetched: the stable committed
 * offsets with their metadata are read, THEN the ledger's high watermarks, and the follower reads
 * up to them. Only then do the partitions start, at their low-water. On revocation what was read is
 * committed first; when the assignment is already lost, the session ends and the next one restores.
 */
#include "kafka.h"
#include "log.h"
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { COMMITTED_TIMEOUT = 60000, WATERMARK_TIMEOUT = 5000 };

enum input assignment_input(const struct session *session, const char *topic)
{
    if (strcmp(topic, session->options->topics_completions) == 0)
        return INPUT_COMPLETIONS;
    return strcmp(topic, session->options->topics_labels) == 0 ? INPUT_LABELS : INPUTS;
}

/* Where a partition starts: what was committed, and from where it must be read again. */
struct start {
    int64_t committed, low_water, time;
};

static bool parse_metadata(const rd_kafka_topic_partition_t *partition, struct start *start)
{
    char text[BATCH_METADATA_SIZE];
    if (partition->metadata == NULL || partition->metadata_size >= sizeof text)
        return false;
    memcpy(text, partition->metadata, partition->metadata_size);
    text[partition->metadata_size] = '\0';
    return batch_metadata_parse(text, &start->low_water, &start->time);
}

static bool find_start(struct session *session, const rd_kafka_topic_partition_t *partition,
                       struct start *start, struct error *error)
{
    int64_t low, high;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(session->watermarks, partition->topic,
                                         partition->partition, &low, &high, WATERMARK_TIMEOUT);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return error_set(error, ERROR_RETRY, "%s [%d]: its start is not known: %s",
                         partition->topic, partition->partition, rd_kafka_err2str(code));
    *start = (struct start){.committed = partition->offset, .low_water = partition->offset};
    if (partition->offset < 0) {
        *start = (struct start){.committed = low, .low_water = low};
        return true;
    }
    if (assignment_input(session, partition->topic) == INPUT_COMPLETIONS &&
        !parse_metadata(partition, start)) {
        /* Offsets that somebody else committed: pools start empty there. */
        log_write(LOG_LEVEL_WARN, "assignment",
                  "the committed offset carries no low-water; its open pools are not read "
                  "again\ttopic=%s partition=%d",
                  partition->topic, partition->partition);
        *start = (struct start){.committed = partition->offset, .low_water = partition->offset};
    }
    if (start->committed < low && !session->flags->accept_loss)
        return error_set(error, ERROR_RETRY,
                         "%s [%d]: %" PRId64 " records were deleted before they were read "
                         "(committed offset %" PRId64 ", the log starts at %" PRId64
                         "); start with --accept-loss to go on without them",
                         partition->topic, partition->partition, low - start->committed,
                         start->committed, low);
    if (start->committed < low) {
        log_write(LOG_LEVEL_WARN, "assignment",
                  "records were deleted before they were read\ttopic=%s partition=%d "
                  "lost=%" PRId64,
                  partition->topic, partition->partition, low - start->committed);
        start->committed = low;
    }
    if (start->low_water < low) {
        log_write(LOG_LEVEL_WARN, "assignment",
                  "open pools reach below the start of the log; they are read again from "
                  "there\ttopic=%s partition=%d missing=%" PRId64,
                  partition->topic, partition->partition, low - start->low_water);
        start->low_water = low;
        start->time = 0;
    }
    return true;
}

/* Reads committed offsets, then the barrier; fills in where each partition starts. */
static bool prepare(struct session *session, rd_kafka_topic_partition_list_t *partitions,
                    struct error *error)
{
    rd_kafka_resp_err_t code = rd_kafka_committed(session->consumer, partitions, COMMITTED_TIMEOUT);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return error_set(error, ERROR_RETRY, "committed offsets: %s", rd_kafka_err2str(code));
    if (!follower_barrier(session, error) || !follower_pass_barrier(session, "takeover", error))
        return false;
    for (int k = 0; k < partitions->cnt; k++) {
        rd_kafka_topic_partition_t *partition = &partitions->elems[k];
        enum input input = assignment_input(session, partition->topic);
        struct start start;
        if (partition->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            return error_set(error, ERROR_RETRY, "%s [%d]: committed offset: %s", partition->topic,
                             partition->partition, rd_kafka_err2str(partition->err));
        if (!find_start(session, partition, &start, error) ||
            !engine_gain(session->engine, input, partition->partition, start.committed,
                         start.low_water, start.time, error) ||
            !engine_barrier(session->engine, input, partition->partition, error))
            return false;
        partition->offset = start.low_water;
        log_write(LOG_LEVEL_INFO, "assignment",
                  "assigned\ttopic=%s partition=%d committed=%" PRId64 " from=%" PRId64,
                  partition->topic, partition->partition, start.committed, start.low_water);
    }
    return true;
}

static void assign(struct session *session, rd_kafka_topic_partition_list_t *partitions)
{
    if (!prepare(session, partitions, &session->failed))
        return;
    if (strcmp(rd_kafka_rebalance_protocol(session->consumer), "COOPERATIVE") == 0) {
        kafka_error(rd_kafka_incremental_assign(session->consumer, partitions), "assignment",
                    &session->failed);
    } else {
        rd_kafka_resp_err_t code = rd_kafka_assign(session->consumer, partitions);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            error_set(&session->failed, ERROR_RETRY, "assignment: %s", rd_kafka_err2str(code));
    }
}

static void revoke(struct session *session, rd_kafka_topic_partition_list_t *partitions)
{
    if (rd_kafka_assignment_lost(session->consumer))
        error_set(&session->failed, ERROR_RETRY, "the assignment was lost");
    else if (session->failed.class == ERROR_NONE)
        commit_batch(session, &session->failed);
    for (int k = 0; k < partitions->cnt; k++) {
        enum input input = assignment_input(session, partitions->elems[k].topic);
        engine_lose(session->engine, input, partitions->elems[k].partition);
        log_write(LOG_LEVEL_INFO, "assignment", "revoked\ttopic=%s partition=%d",
                  partitions->elems[k].topic, partitions->elems[k].partition);
    }
    if (strcmp(rd_kafka_rebalance_protocol(session->consumer), "COOPERATIVE") == 0)
        kafka_error(rd_kafka_incremental_unassign(session->consumer, partitions), "assignment",
                    &session->failed);
    else
        rd_kafka_assign(session->consumer, NULL);
}

void assignment_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t code,
                          rd_kafka_topic_partition_list_t *partitions, void *opaque)
{
    struct session *session = opaque;
    if (session->failed.class != ERROR_NONE) {
        /* The session is over: only let go. */
        rd_kafka_assign(consumer, NULL);
        return;
    }
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        assign(session, partitions);
    else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
        revoke(session, partitions);
    else
        error_set(&session->failed, ERROR_RETRY, "rebalance: %s", rd_kafka_err2str(code));
    session->labels_paused = false;
    if (session->failed.class != ERROR_NONE)
        rd_kafka_assign(consumer, NULL);
}
