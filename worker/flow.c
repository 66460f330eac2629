/* Which partitions are read.
 *
 * A labels partition is paused while half of its waiting room is taken, and goes on when a quarter
 * is. All partitions are paused once the open batch has been full for PATIENCE, because the one
 * before is not committed: polling goes on (for rebalances and heartbeats), records do not come.
 * They go on when the batch was handed over. Pausing drops what was fetched ahead, so it is not
 * done for a moment's sake. */
#include "clock.h"
#include "log.h"
#include "session.h"

static const int64_t PATIENCE = 1000;

bool flow_full(const struct session *session)
{
    return (int64_t)engine_batch_records(session->engine) >= session->options->commit_records ||
           engine_batch_bytes(session->engine) >= session->plan->batch_bytes / 2;
}

bool flow_crowded(const struct session *session)
{
    if (engine_stats(session->engine)->labels_waiting == 0)
        return false;
    for (int32_t k = 0; k < session->partitions[INPUT_LABELS]; k++) {
        if (engine_waiting(session->engine, k) >= .75)
            return true;
    }
    return false;
}

static void watch_batch(struct session *session)
{
    int64_t now = clock_monotonic_ms();
    if (!flow_full(session)) {
        session->full_since = 0;
        session->flooded = false;
        return;
    }
    if (session->full_since == 0)
        session->full_since = now;
    if (!session->flooded && now - session->full_since >= PATIENCE) {
        session->flooded = true;
        log_write(LOG_LEVEL_WARN, "flow",
                  "the brokers are slower than the input: reading pauses\trecords=%zu bytes=%zu",
                  engine_batch_records(session->engine), engine_batch_bytes(session->engine));
    }
}

static bool wants_pause(const struct session *session, const rd_kafka_topic_partition_t *partition,
                        bool paused)
{
    if (session->flooded)
        return true;
    return assignment_input(session, partition->topic) == INPUT_LABELS &&
           engine_waiting(session->engine, partition->partition) >= (paused ? .25 : .5);
}

void flow_reset(struct session *session)
{
    if (session->paused == NULL)
        return;
    if (session->paused->cnt > 0)
        rd_kafka_resume_partitions(session->consumer, session->paused);
    rd_kafka_topic_partition_list_destroy(session->paused);
    session->paused = NULL;
}

void flow_update(struct session *session)
{
    rd_kafka_topic_partition_list_t *all = NULL;
    watch_batch(session);
    if (rd_kafka_assignment(session->consumer, &all) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    if (session->paused == NULL)
        session->paused = rd_kafka_topic_partition_list_new(all->cnt);
    rd_kafka_topic_partition_list_t *pause = rd_kafka_topic_partition_list_new(all->cnt);
    rd_kafka_topic_partition_list_t *resume = rd_kafka_topic_partition_list_new(all->cnt);
    for (int k = 0; k < all->cnt; k++) {
        const rd_kafka_topic_partition_t *partition = &all->elems[k];
        bool paused = rd_kafka_topic_partition_list_find(session->paused, partition->topic,
                                                         partition->partition) != NULL;
        bool wanted = wants_pause(session, partition, paused);
        if (wanted != paused)
            rd_kafka_topic_partition_list_add(wanted ? pause : resume, partition->topic,
                                              partition->partition);
    }
    if (pause->cnt > 0)
        rd_kafka_pause_partitions(session->consumer, pause);
    if (resume->cnt > 0)
        rd_kafka_resume_partitions(session->consumer, resume);
    for (int k = 0; k < pause->cnt; k++)
        rd_kafka_topic_partition_list_add(session->paused, pause->elems[k].topic,
                                          pause->elems[k].partition);
    for (int k = 0; k < resume->cnt; k++)
        rd_kafka_topic_partition_list_del(session->paused, resume->elems[k].topic,
                                          resume->elems[k].partition);
    rd_kafka_topic_partition_list_destroy(pause);
    rd_kafka_topic_partition_list_destroy(resume);
    rd_kafka_topic_partition_list_destroy(all);
}
