#include "send_producer.h"

#include "clock.h"
#include "interrupt.h"
#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>

enum { WAIT = 100, POLL_EVERY = 64 };

struct send_producer {
    rd_kafka_t *kafka;
    const char *topic;
    double rate;
    int64_t started;
    int64_t produced;
    int64_t delivered;
    int64_t undelivered;
    char reason[256];
};

/* Called from rd_kafka_poll and rd_kafka_flush, on our own thread. */
static void on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
    (void)kafka;
    struct send_producer *producer = opaque;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        producer->delivered++;
        return;
    }
    if (producer->undelivered++ == 0)
        snprintf(producer->reason, sizeof producer->reason, "%s", rd_kafka_err2str(message->err));
}

struct send_producer *send_producer_new(const struct options *options, const char *topic,
                                        size_t queue_bytes, double rate, struct error *error)
{
    struct send_producer *producer = calloc(1, sizeof *producer);
    if (producer == NULL) {
        error_set(error, ERROR_FATAL, "out of memory");
        return NULL;
    }
    *producer = (struct send_producer){.topic = topic, .rate = rate};
    rd_kafka_conf_t *conf = kafka_conf(options, KAFKA_SENDER, queue_bytes, error);
    if (conf != NULL) {
        rd_kafka_conf_set_opaque(conf, producer);
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    }
    producer->kafka = kafka_open(KAFKA_SENDER, conf, error);
    producer->started = clock_monotonic_ms();
    if (producer->kafka != NULL)
        return producer;
    free(producer);
    return NULL;
}

void send_producer_free(struct send_producer *producer)
{
    if (producer == NULL)
        return;
    rd_kafka_purge(producer->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_destroy(producer->kafka);
    free(producer);
}

/* Waits until the next record is due. */
static bool await_turn(struct send_producer *producer, struct error *error)
{
    if (producer->rate == 0)
        return true;
    double due = (double)producer->started + 1000 * (double)producer->produced / producer->rate;
    for (double left; (left = due - (double)clock_monotonic_ms()) >= 1;) {
        if (interrupt_seen())
            return error_set(error, ERROR_FATAL, "interrupted");
        rd_kafka_poll(producer->kafka, left < WAIT ? (int)left : WAIT);
    }
    return true;
}

bool send_produce(struct send_producer *producer, struct span key, struct span value,
                  struct error *error)
{
    if (!await_turn(producer, error))
        return false;
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_producev(
            producer->kafka, RD_KAFKA_V_TOPIC(producer->topic),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_KEY((void *)(uintptr_t)key.data, key.size),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.size), RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return kafka_failure(producer->kafka, code, producer->topic, error);
        if (interrupt_seen())
            return error_set(error, ERROR_FATAL, "interrupted");
        rd_kafka_poll(producer->kafka, WAIT);
    }
    if (++producer->produced % POLL_EVERY == 0)
        rd_kafka_poll(producer->kafka, 0);
    return true;
}

void send_flush(struct send_producer *producer)
{
    while (rd_kafka_flush(producer->kafka, 10 * WAIT) == RD_KAFKA_RESP_ERR__TIMED_OUT)
        continue;
}

int64_t send_delivered(const struct send_producer *producer)
{
    return producer->delivered;
}

int64_t send_undelivered(const struct send_producer *producer, const char **reason)
{
    *reason = producer->reason;
    return producer->undelivered;
}
