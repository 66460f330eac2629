/* The floor for the worker's throughput: rd_kafka_consumer_poll in a loop over a whole topic, the
 * payload touched but not decoded.
 *
 * Usage: consume BROKERS TOPIC PARTITIONS. Prints {"records": N, "bytes": B, "seconds": S}, timed
 * from the first record to the last. */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct tally {
    int64_t records;
    int64_t bytes;
    double first; /* seconds, monotonic */
    double last;
    unsigned touched; /* keeps the reads of the payload alive */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static rd_kafka_t *consumer_new(const char *brokers)
{
    const char *const settings[][2] = {{"bootstrap.servers", brokers},
                                       {"group.id", "infopair-bench-floor"},
                                       {"isolation.level", "read_committed"},
                                       {"enable.auto.commit", "false"},
                                       {"enable.partition.eof", "true"}};
    char message[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++)
        if (rd_kafka_conf_set(conf, settings[k][0], settings[k][1], message, sizeof message) !=
            RD_KAFKA_CONF_OK) {
            fprintf(stderr, "consume: %s\n", message);
            rd_kafka_conf_destroy(conf);
            return NULL;
        }
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, message, sizeof message);
    if (consumer == NULL) {
        fprintf(stderr, "consume: %s\n", message);
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

static void assign(rd_kafka_t *consumer, const char *topic, int partitions)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int32_t k = 0; k < partitions; k++)
        rd_kafka_topic_partition_list_add(list, topic, k)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void count(struct tally *tally, const rd_kafka_message_t *message)
{
    tally->last = now();
    if (tally->records++ == 0)
        tally->first = tally->last;
    tally->bytes += (int64_t)message->len;
    if (message->len > 0)
        tally->touched += ((const unsigned char *)message->payload)[message->len - 1];
}

/* Reads until each partition said that it is at its end. False on an error. */
static bool consume(rd_kafka_t *consumer, int partitions, struct tally *tally)
{
    while (partitions > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 30000);
        if (message == NULL) {
            fprintf(stderr, "consume: nothing for 30 seconds\n");
            return false;
        }
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            count(tally, message);
        else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            partitions--;
        else
            fprintf(stderr, "consume: %s\n", rd_kafka_message_errstr(message));
        rd_kafka_message_destroy(message);
    }
    return true;
}

int main(int argc, char **argv)
{
    int partitions = argc == 4 ? (int)strtol(argv[3], NULL, 10) : 0;
    if (partitions <= 0) {
        fprintf(stderr, "usage: consume BROKERS TOPIC PARTITIONS\n");
        return 2;
    }
    rd_kafka_t *consumer = consumer_new(argv[1]);
    if (consumer == NULL)
        return 1;
    struct tally tally = {0};
    assign(consumer, argv[2], partitions);
    bool done = consume(consumer, partitions, &tally);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    if (!done)
        return 1;
    printf("{\"records\": %lld, \"bytes\": %lld, \"seconds\": %.6f, \"touched\": %u}\n",
           (long long)tally.records, (long long)tally.bytes, tally.last - tally.first,
           tally.touched);
    return 0;
}
