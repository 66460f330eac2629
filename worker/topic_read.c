#include "topic_read.h"

#include "clock.h"
#include "interrupt.h"

#include <stdlib.h>

enum { WAIT = 100, SILENCE = 30000, QUEUE = 16 << 20 };

struct reading {
    const struct kafka_place *place;
    rd_kafka_t *reader;
    bool *ended; /* by partition */
    int32_t ended_count;
    bool (*take)(void *, const rd_kafka_message_t *, struct error *);
    void *closure;
};

static bool start(struct reading *reading, struct error *error)
{
    const struct kafka_place *place = reading->place;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(place->count);
    for (int32_t k = 0; k < place->count; k++)
        rd_kafka_topic_partition_list_add(list, place->topic, place->partition + k)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_poll_set_consumer(reading->reader);
    rd_kafka_resp_err_t code = rd_kafka_assign(reading->reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    return kafka_failure(reading->reader, code, place->topic, error);
}

/* Errors that pass are librdkafka's to repeat; it has logged them. */
static bool take_message(struct reading *reading, const rd_kafka_message_t *message,
                         struct error *error)
{
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return reading->take(reading->closure, message, error);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        bool *ended = &reading->ended[message->partition - reading->place->partition];
        reading->ended_count += !*ended;
        *ended = true;
        return true;
    }
    struct error seen;
    kafka_failure(reading->reader, message->err, rd_kafka_message_errstr(message), &seen);
    return seen.class == ERROR_RETRY || error_set(error, seen.class, "%s", seen.message);
}

static bool read_all(struct reading *reading, struct error *error)
{
    bool good = true;
    int64_t heard = clock_monotonic_ms();
    while (good && reading->ended_count < reading->place->count) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reading->reader, WAIT);
        if (interrupt_seen())
            good = error_set(error, ERROR_FATAL, "interrupted");
        else if (message == NULL && clock_monotonic_ms() - heard > SILENCE)
            good = error_set(error, ERROR_RETRY, "%s: its end could not be read within %d s",
                             reading->place->topic, SILENCE / 1000);
        else if (message != NULL)
            good = take_message(reading, message, error);
        if (message == NULL)
            continue;
        heard = clock_monotonic_ms();
        rd_kafka_message_destroy(message);
    }
    return good;
}

bool topic_read(const struct options *options, const struct kafka_place *place,
                bool (*take)(void *, const rd_kafka_message_t *, struct error *), void *closure,
                struct error *error)
{
    struct reading reading = {.place = place, .take = take, .closure = closure};
    reading.ended = calloc((size_t)place->count, sizeof *reading.ended);
    if (reading.ended == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    reading.reader =
        kafka_open(KAFKA_READER, kafka_conf(options, KAFKA_READER, QUEUE, error), error);
    bool good = reading.reader != NULL && start(&reading, error) && read_all(&reading, error);
    if (reading.reader != NULL) {
        rd_kafka_consumer_close(reading.reader);
        rd_kafka_destroy(reading.reader);
    }
    free(reading.ended);
    return good;
}
