/* Partitions come and go.
 *
 * A takeover is not done inside librdkafka's callback: the group waits for the call that assigns,
 * and until the barrier is passed the loop goes on with what is held already. First the stable
 * committed offsets with their metadata are read (an open transaction holds them back), THEN the
 * ledger's high watermarks, and once the follower has read up to those the partitions are assigned,
 * to start at their low-water. On revocation what was read is committed first, by the metadata of
 * the generation that ends; when the assignment is already lost, the session ends and the next one
 * restores. */
#include "clock.h"
#include "committed.h"
#include "kafka.h"
#include "log.h"
#include "session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMMITTED_TIMEOUT = 500, WATERMARK_TIMEOUT = 5000 };

enum input assignment_input(const struct session *session, const char *topic)
{
    if (strcmp(topic, session->options->topics_completions) == 0)
        return INPUT_COMPLETIONS;
    return strcmp(topic, session->options->topics_labels) == 0 ? INPUT_LABELS : INPUTS;
}

/* Where a partition starts: what was committed, and from where it must be read again. */
struct start {
    int64_t committed;
    struct batch_offset carried;
};

/* Reads what the committed offset carries. */
static bool read_committed(struct session *session, const rd_kafka_topic_partition_t *partition,
                           struct start *start, struct error *error)
{
    *start = (struct start){.committed = partition->offset, .carried.low_water = partition->offset};
    if (partition->metadata_size == 0) {
        /* An operator's reset leaves none: pools start empty there. */
        log_write(LOG_LEVEL_WARN, "assignment",
                  "the committed offset carries no low-water; open pools are not read "
                  "again\ttopic=%s partition=%d",
                  partition->topic, partition->partition);
        return true;
    }
    const struct span metadata = {partition->metadata, partition->metadata_size};
    bool pools = assignment_input(session, partition->topic) == INPUT_COMPLETIONS;
    if (committed_parse(metadata, &start->carried) &&
        (!pools || start->carried.low_water <= start->committed))
        return true;
    if (!session->flags->accept_loss)
        return error_set(error, ERROR_RETRY,
                         "%s [%d]: the metadata of the committed offset is not ours or damaged: "
                         "'%.64s'; start with --accept-loss to go on without the open pools",
                         partition->topic, partition->partition,
                         partition->metadata == NULL ? "" : (const char *)partition->metadata);
    *start = (struct start){.committed = partition->offset, .carried.low_water = partition->offset};
    return true;
}

/* Records that were deleted before they were read. */
static bool accept_lost(struct session *session, const rd_kafka_topic_partition_t *partition,
                        struct start *start, int64_t low, struct error *error)
{
    int64_t lost = low - start->committed;
    if (!session->flags->accept_loss)
        return error_set(error, ERROR_RETRY,
                         "%s [%d]: %" PRId64 " records were deleted before they were read "
                         "(committed offset %" PRId64 ", the log starts at %" PRId64
                         "); start with --accept-loss to go on without them",
                         partition->topic, partition->partition, lost, start->committed, low);
    log_write(LOG_LEVEL_WARN, "assignment",
              "records were deleted before they were read\ttopic=%s partition=%d lost=%" PRId64,
              partition->topic, partition->partition, lost);
    metrics_add(session->metrics, METRIC_RECORDS_LOST, partition->topic, NULL, (double)lost);
    start->committed = low;
    return true;
}

static bool find_start(struct session *session, const rd_kafka_topic_partition_t *partition,
                       struct start *start, struct error *error)
{
    int64_t low;
    const struct kafka_place place = {partition->topic, partition->partition, 1};
    if (!kafka_offsets(session->watermarks, &place, RD_KAFKA_OFFSET_BEGINNING, WATERMARK_TIMEOUT,
                       &low, error))
        return false;
    if (partition->offset < 0) {
        *start = (struct start){.committed = low, .carried.low_water = low};
        return true;
    }
    if (!read_committed(session, partition, start, error) ||
        (start->committed < low && !accept_lost(session, partition, start, low, error)))
        return false;
    if (assignment_input(session, partition->topic) == INPUT_LABELS ||
        start->carried.low_water >= low)
        return true;
    log_write(LOG_LEVEL_WARN, "assignment",
              "open pools reach below the start of the log; they are read again from "
              "there\ttopic=%s partition=%d missing=%" PRId64,
              partition->topic, partition->partition, low - start->carried.low_water);
    metrics_add(session->metrics, METRIC_POOLS_INCOMPLETE, NULL, NULL,
                (double)(low - start->carried.low_water));
    start->carried.low_water = low;
    start->carried.time = 0;
    return true;
}

/* ---- taking over ---- */

/* The stable committed offsets, once no open transaction holds them back. */
static bool take_offsets(struct session *session, struct error *error)
{
    rd_kafka_resp_err_t code =
        rd_kafka_committed(session->consumer, session->gaining, COMMITTED_TIMEOUT);
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT) {
        session_not_ready(session, "takeover: waiting for offsets that an open transaction holds "
                                   "back");
        return true;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return error_set(error, ERROR_RETRY, "committed offsets: %s", rd_kafka_err2str(code));
    for (int k = 0; k < session->gaining->cnt; k++) {
        const rd_kafka_topic_partition_t *partition = &session->gaining->elems[k];
        if (partition->err == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT)
            return true;
        if (partition->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            return error_set(error, ERROR_RETRY, "%s [%d]: committed offset: %s", partition->topic,
                             partition->partition, rd_kafka_err2str(partition->err));
    }
    session->takeover = TAKEOVER_BARRIER;
    return true;
}

static bool gain(struct session *session, rd_kafka_topic_partition_t *partition,
                 struct error *error)
{
    struct start start;
    struct event event = {.kind = EVENT_GAIN,
                          .input = assignment_input(session, partition->topic),
                          .partition = partition->partition};
    if (!find_start(session, partition, &start, error))
        return false;
    event.committed = start.committed;
    event.low_water = start.carried.low_water;
    event.now = start.carried.time;
    event.source.value = span_of(start.carried.waiting);
    const struct event barrier = {
        .kind = EVENT_BARRIER, .input = event.input, .partition = event.partition};
    if (!session_event(session, &event, error) || !session_event(session, &barrier, error))
        return false;
    partition->offset = event.input == INPUT_LABELS ? start.committed : start.carried.low_water;
    log_write(LOG_LEVEL_INFO, "assignment",
              "assigned\ttopic=%s partition=%d committed=%" PRId64 " from=%" PRId64,
              partition->topic, partition->partition, start.committed, partition->offset);
    return true;
}

static void forget_takeover(struct session *session)
{
    if (session->gaining != NULL)
        rd_kafka_topic_partition_list_destroy(session->gaining);
    session->gaining = NULL;
    session->takeover = TAKEOVER_NONE;
}

static bool is_cooperative(const struct session *session)
{
    return strcmp(rd_kafka_rebalance_protocol(session->consumer), "COOPERATIVE") == 0;
}

/* The call that the group waits for. */
static bool assign(struct session *session, struct error *error)
{
    flow_reset(session);
    if (is_cooperative(session))
        return kafka_error(rd_kafka_incremental_assign(session->consumer, session->gaining),
                           "assignment", error);
    rd_kafka_resp_err_t code = rd_kafka_assign(session->consumer, session->gaining);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           error_set(error, ERROR_RETRY, "assignment: %s", rd_kafka_err2str(code));
}

static bool finish_takeover(struct session *session, struct error *error)
{
    for (int k = 0; k < session->gaining->cnt; k++) {
        if (!gain(session, &session->gaining->elems[k], error))
            return false;
    }
    bool done = assign(session, error);
    if (session->gaining->cnt > 0)
        log_write(LOG_LEVEL_INFO, "assignment", "takeover done\tpartitions=%d ms=%" PRId64,
                  session->gaining->cnt, clock_monotonic_ms() - session->takeover_started);
    forget_takeover(session);
    return done;
}

bool assignment_takeover(struct session *session, struct error *error)
{
    if (session->takeover == TAKEOVER_OFFSETS && !take_offsets(session, error))
        return false;
    if (session->takeover == TAKEOVER_BARRIER) {
        if (!follower_barrier(session, error)) {
            session_not_ready(session, "takeover: %s", error->message);
            return error->class == ERROR_RETRY; /* asked again in the next round */
        }
        session->takeover = TAKEOVER_LEDGER;
    }
    if (session->takeover != TAKEOVER_LEDGER)
        return true;
    if (!follower_passed(session)) {
        follower_progress(session, "takeover", session->takeover_started);
        return true;
    }
    return finish_takeover(session, error);
}

static void begin_takeover(struct session *session, rd_kafka_topic_partition_list_t *partitions)
{
    forget_takeover(session);
    session->gaining = rd_kafka_topic_partition_list_copy(partitions);
    session->takeover = partitions->cnt > 0 ? TAKEOVER_OFFSETS : TAKEOVER_LEDGER;
    session->takeover_started = clock_monotonic_ms();
    session->joined = true;
    session->looked_at = 0; /* partitions that were added share the budget at once */
}

/* ---- giving up ---- */

static void revoke(struct session *session, rd_kafka_topic_partition_list_t *partitions)
{
    forget_takeover(session);
    if (rd_kafka_assignment_lost(session->consumer))
        error_set(&session->failed, ERROR_RETRY, "the assignment was lost");
    else if (session->failed.class == ERROR_NONE)
        commit_all(session, session->options->kafka_session_timeout, &session->failed);
    for (int k = 0; k < partitions->cnt; k++) {
        const struct event event = {.kind = EVENT_LOSE,
                                    .input = assignment_input(session, partitions->elems[k].topic),
                                    .partition = partitions->elems[k].partition};
        session_event(session, &event, &session->failed);
        log_write(LOG_LEVEL_INFO, "assignment", "revoked\ttopic=%s partition=%d",
                  partitions->elems[k].topic, partitions->elems[k].partition);
    }
    flow_reset(session);
    if (is_cooperative(session))
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
        begin_takeover(session, partitions);
    else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
        revoke(session, partitions);
    else
        error_set(&session->failed, ERROR_RETRY, "rebalance: %s", rd_kafka_err2str(code));
    if (session->failed.class != ERROR_NONE)
        rd_kafka_assign(consumer, NULL);
}
