/* Reading the end of the ledger for ledger_rate. A few records of each partition first, whose size
 * says how many fit the budget; then as many. */
#include "clock.h"
#include "interrupt.h"
#include "kafka.h"
#include "ledger_rate.h"
#include "topics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PROBE = 100,         /* records of a partition */
    RECORDS_MOST = 3333, /* of a partition */
    BYTES_MOST = 64 << 20,
    QUEUE = 16 << 20,
    SILENCE = 30000, /* ms without a record */
    STEP = 500,      /* ms between two looks at the signals */
};

struct tail_reading {
    rd_kafka_t *reader;
    const char *topic;
    int32_t partitions;
    int64_t low[LEDGER_PARTITIONS], high[LEDGER_PARTITIONS];
    bool cut[LEDGER_PARTITIONS];
    struct ledger_sample samples[LEDGER_PARTITIONS * RECORDS_MOST];
    size_t count;
    double bytes;
};

/* The reader is read_committed: its high watermark is the last stable offset. */
static bool find_ends(struct tail_reading *reading, struct error *error)
{
    for (int32_t k = 0; k < reading->partitions; k++)
        if (!kafka_watermarks(reading->reader, reading->topic, k, &reading->low[k],
                              &reading->high[k], error))
            return false;
    return true;
}

static bool seek_back(struct tail_reading *reading, int64_t records, struct error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(reading->partitions);
    for (int32_t k = 0; k < reading->partitions; k++) {
        reading->cut[k] = reading->high[k] - records > reading->low[k];
        rd_kafka_topic_partition_list_add(list, reading->topic, k)->offset =
            reading->cut[k] ? reading->high[k] - records : reading->low[k];
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(reading->reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    reading->count = 0;
    reading->bytes = 0;
    return kafka_failure(reading->reader, code, "reading its end", error);
}

static size_t size_of(const rd_kafka_message_t *message)
{
    size_t bytes = message->len + message->key_len;
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return bytes;
    const char *name;
    const void *value;
    size_t size;
    for (size_t k = 0;
         rd_kafka_header_get_all(headers, k, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         k++)
        bytes += strlen(name) + size;
    return bytes;
}

/* A worker may be writing behind the end that was seen. */
static void take_sample(struct tail_reading *reading, const rd_kafka_message_t *message)
{
    if (reading->count == sizeof reading->samples / sizeof *reading->samples ||
        message->offset >= reading->high[message->partition])
        return;
    struct ledger_sample *sample = &reading->samples[reading->count++];
    *sample = (struct ledger_sample){.partition = message->partition,
                                     .time = rd_kafka_message_timestamp(message, NULL),
                                     .bytes = size_of(message)};
    reading->bytes += (double)sample->bytes;
}

/* An error that passes is librdkafka's to repeat; it has logged it. */
static bool take_message(struct tail_reading *reading, const rd_kafka_message_t *message,
                         bool ended[LEDGER_PARTITIONS], struct error *error)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        ended[message->partition] = true;
        return true;
    }
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        take_sample(reading, message);
        return true;
    }
    struct error seen;
    kafka_failure(reading->reader, message->err, "reading its end", &seen);
    return seen.class == ERROR_RETRY || error_set(error, seen.class, "%s", seen.message);
}

static bool all_ended(const struct tail_reading *reading, const bool ended[LEDGER_PARTITIONS])
{
    for (int32_t k = 0; k < reading->partitions; k++)
        if (!ended[k])
            return false;
    return true;
}

/* Reads each partition to its end; records that cannot be had in time are an error. */
static bool read_to_end(struct tail_reading *reading, struct error *error)
{
    bool ended[LEDGER_PARTITIONS] = {false}, good = true;
    for (int64_t heard = clock_monotonic_ms(); good && !all_ended(reading, ended);) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reading->reader, STEP);
        if (interrupt_seen())
            good = error_set(error, ERROR_FATAL, "interrupted");
        else if (message != NULL)
            good = take_message(reading, message, ended, error);
        else if (clock_monotonic_ms() - heard > SILENCE)
            good = error_set(error, ERROR_RETRY, "its end could not be read within %d s",
                             SILENCE / 1000);
        if (message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            heard = clock_monotonic_ms();
        if (message != NULL)
            rd_kafka_message_destroy(message);
    }
    return good;
}

static bool read_tail(struct tail_reading *reading, struct error *error)
{
    if (!find_ends(reading, error) || !seek_back(reading, PROBE, error) ||
        !read_to_end(reading, error) || reading->count == 0)
        return error->class == ERROR_NONE;
    double mean = reading->bytes / (double)reading->count;
    double records = BYTES_MOST / (double)reading->partitions / (mean + 1);
    if (records > RECORDS_MOST)
        records = RECORDS_MOST;
    return records <= PROBE ||
           (seek_back(reading, (int64_t)records, error) && read_to_end(reading, error));
}

static void say(const struct tail_reading *reading, struct findings *findings)
{
    const double mib = 1024 * 1024, minute = 60 * 1000, hour = 60 * minute;
    struct ledger_rate rate;
    if (reading->count == 0) {
        findings_note(findings, reading->topic, "nothing written yet");
        return;
    }
    if (!ledger_rate(reading->samples, reading->count, reading->cut, reading->partitions, &rate)) {
        findings_note(findings, reading->topic,
                      "the last %zu records cover less than a minute: how fast it grows is not "
                      "known yet",
                      reading->count);
        return;
    }
    double span = (double)rate.span;
    findings_note(
        findings, reading->topic,
        "grows by %.1f MiB a day (from the last %zu records, %.1f %s; before compression, "
        "each copy)",
        rate.bytes_a_day / mib, rate.records, span / (span < 2 * hour ? minute : hour),
        span < 2 * hour ? "min" : "h");
}

void ledger_growth(const struct options *options, int32_t partitions, bool *written,
                   struct findings *findings)
{
    struct error error = {ERROR_NONE, ""};
    struct tail_reading *reading = calloc(1, sizeof *reading);
    *written = false;
    if (reading == NULL) {
        error_set(&error, ERROR_FATAL, "out of memory");
        findings_unchecked(findings, options->topics_ledger, &error);
        return;
    }
    reading->topic = options->topics_ledger;
    reading->partitions = partitions < LEDGER_PARTITIONS ? partitions : LEDGER_PARTITIONS;
    reading->reader =
        kafka_open(KAFKA_READER, kafka_conf(options, KAFKA_READER, QUEUE, &error), &error);
    if (reading->reader != NULL) {
        rd_kafka_poll_set_consumer(reading->reader);
        if (read_tail(reading, &error))
            say(reading, findings);
        *written = reading->count > 0;
        rd_kafka_consumer_close(reading->reader);
        rd_kafka_destroy(reading->reader);
    }
    if (error.class != ERROR_NONE)
        findings_unchecked(findings, reading->topic, &error);
    free(reading);
}
