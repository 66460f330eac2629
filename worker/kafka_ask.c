/* Questions to the brokers and their answers. */
#include "clock.h"
#include "interrupt.h"
#include "kafka.h"

static int32_t fewest_replicas(const struct rd_kafka_metadata_topic *topic)
{
    int fewest = topic->partition_cnt == 0 ? 0 : topic->partitions[0].replica_cnt;
    for (int k = 1; k < topic->partition_cnt; k++)
        if (topic->partitions[k].replica_cnt < fewest)
            fewest = topic->partitions[k].replica_cnt;
    return fewest;
}

bool kafka_topic(rd_kafka_t *kafka, const char *topic, int timeout_ms, int32_t *partitions,
                 int32_t *replicas, struct error *error)
{
    *partitions = *replicas = 0;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(kafka, topic, NULL);
    if (handle == NULL)
        return error_set(error, ERROR_FATAL, "topic '%s': %s", topic,
                         rd_kafka_err2str(rd_kafka_last_error()));
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(kafka, 0, handle, &metadata, timeout_ms);
    rd_kafka_topic_destroy(handle);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return error_set(error, ERROR_RETRY, "no broker answers: %s", rd_kafka_err2str(code));
    const struct rd_kafka_metadata_topic *found =
        metadata->topic_cnt == 1 ? &metadata->topics[0] : NULL;
    code = found == NULL ? RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART : found->err;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        *partitions = found->partition_cnt;
        *replicas = fewest_replicas(found);
    }
    rd_kafka_metadata_destroy(metadata);
    /* Not authorized to see it is something else than absent; just made is neither. */
    return code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
           error_set(error, ERROR_RETRY, "topic '%s': %s", topic, rd_kafka_err2str(code));
}

bool kafka_partitions(rd_kafka_t *kafka, const char *topic, int timeout_ms, int32_t *count,
                      struct error *error)
{
    int32_t replicas;
    return kafka_topic(kafka, topic, timeout_ms, count, &replicas, error);
}

rd_kafka_event_t *kafka_answer(rd_kafka_queue_t *queue, const char *doing, struct error *error)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, KAFKA_ANSWER_TIMEOUT);
    if (event == NULL) {
        error_set(error, ERROR_RETRY, "%s: no answer", doing);
        return NULL;
    }
    if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return event;
    error_set(error, ERROR_FATAL, "%s: %s", doing, rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    return NULL;
}

/* True after a pause when the question had an error that passes: right after a topic was made,
 * while leaders or coordinators move. */
static bool ask_again(rd_kafka_t *kafka, rd_kafka_resp_err_t code, int64_t end)
{
    enum { PAUSE = 100 };
    struct error seen;
    if (kafka_failure(kafka, code, "", &seen) || seen.class != ERROR_RETRY ||
        clock_monotonic_ms() >= end || interrupt_seen())
        return false;
    rd_kafka_poll(kafka, PAUSE);
    return true;
}

/* rd_kafka_query_watermark_offsets of librdkafka before 2.2 forgets its timeout while a leader is
 * away (its issue 2588); this question asks for the same and keeps to it. */
static rd_kafka_resp_err_t ask_offsets(rd_kafka_t *kafka, const struct kafka_place *place,
                                       int64_t which, int timeout_ms, int64_t *offsets)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(place->count);
    for (int32_t k = 0; k < place->count; k++)
        rd_kafka_topic_partition_list_add(list, place->topic, place->partition + k)->offset = which;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(kafka, list, timeout_ms);
    for (int k = 0; k < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; k++) {
        code = list->elems[k].err;
        offsets[list->elems[k].partition - place->partition] = list->elems[k].offset;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && list->elems[k].offset < 0)
            code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

bool kafka_offsets(rd_kafka_t *kafka, const struct kafka_place *place, int64_t which,
                   int timeout_ms, int64_t *offsets, struct error *error)
{
    rd_kafka_resp_err_t code = ask_offsets(kafka, place, which, timeout_ms, offsets);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           error_set(error, ERROR_RETRY, "%s: its %s is not known: %s", place->topic,
                     which == RD_KAFKA_OFFSET_END ? "end" : "start", rd_kafka_err2str(code));
}

bool kafka_watermarks(rd_kafka_t *kafka, const char *topic, int32_t partition, int64_t *low,
                      int64_t *high, struct error *error)
{
    const int64_t end = clock_monotonic_ms() + KAFKA_ANSWER_TIMEOUT;
    const struct kafka_place place = {topic, partition, 1};
    rd_kafka_resp_err_t code;
    do {
        code = ask_offsets(kafka, &place, RD_KAFKA_OFFSET_BEGINNING, KAFKA_ANSWER_TIMEOUT, low);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            code = ask_offsets(kafka, &place, RD_KAFKA_OFFSET_END, KAFKA_ANSWER_TIMEOUT, high);
    } while (ask_again(kafka, code, end));
    return kafka_failure(kafka, code, "its start and end", error);
}

bool kafka_committed(rd_kafka_t *kafka, rd_kafka_topic_partition_list_t *partitions,
                     struct error *error)
{
    const int64_t end = clock_monotonic_ms() + KAFKA_ANSWER_TIMEOUT;
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_committed(kafka, partitions, KAFKA_ANSWER_TIMEOUT);
    } while (ask_again(kafka, code, end));
    return kafka_failure(kafka, code, "its committed offsets", error);
}
