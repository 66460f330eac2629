/* librdkafka, configured for what each handle is for, and its errors as ours. Any thread. */
#ifndef INFOPAIR_KAFKA_H
#define INFOPAIR_KAFKA_H

#include "options.h"
#include "schemas/error.h"

#include <librdkafka/rdkafka.h>

enum kafka_role {
    KAFKA_GROUP,      /* member of the group on completions and labels, read_committed */
    KAFKA_FOLLOWER,   /* assigned to the ledger, read_committed, no group of its own */
    KAFKA_WATERMARKS, /* read_uncommitted, asked for high watermarks only */
    KAFKA_PRODUCER,   /* the transactional producer of a worker slot */
    KAFKA_APPENDER,   /* the transactional producer of a command, which fences no worker */
    KAFKA_SENDER,     /* plain idempotent producer (send) */
    KAFKA_READER,     /* plain assigned consumer, read_committed (tail) */
    KAFKA_ADMIN,      /* creates and describes topics */
};

/* Behind kafka.instance, the name under which commands write. */
#define KAFKA_COMMAND_SUFFIX ".command"

/* A configuration with our defaults for the role, then kafka.properties verbatim. queue_bytes: what
 * its queue may hold (0: librdkafka's default). The caller owns it until kafka_open takes it. */
rd_kafka_conf_t *kafka_conf(const struct options *options, enum kafka_role role, size_t queue_bytes,
                            struct error *error);
/* Makes a handle; takes `conf` in any case. */
rd_kafka_t *kafka_open(enum kafka_role role, rd_kafka_conf_t *conf, struct error *error);

/* Destroys a handle (NULL: nothing to do) without leaving a group. librdkafka 2.0.2 can wait for
 * ever for a coordinator that is gone; after timeout_ms the handle is left to itself, which costs
 * its memory, and this returns false. Nothing may poll it any more. */
bool kafka_close(rd_kafka_t *kafka, int timeout_ms);

/* Fills `error` from librdkafka's, with the class by what it demands: abort, fenced, fatal, retry,
 * else fatal. Destroys `source`. Returns true when source is NULL (no error). */
bool kafka_error(rd_kafka_error_t *source, const char *doing, struct error *error);
/* The same for calls that return a bare code: fenced, retry (no broker, no leader, no coordinator,
 * too slow), else fatal. Behind RD_KAFKA_RESP_ERR__FATAL it looks for the handle's own reason. */
bool kafka_failure(rd_kafka_t *kafka, rd_kafka_resp_err_t code, const char *doing,
                   struct error *error);

/* Partitions of a topic, 0 when it does not exist. Asked through a consumer it creates none. False
 * (ERROR_RETRY): no broker answered in time, or the topic cannot be used now. */
bool kafka_partitions(rd_kafka_t *kafka, const char *topic, int timeout_ms, int32_t *count,
                      struct error *error);
/* The same, and the replicas of the partition that has the fewest. */
bool kafka_topic(rd_kafka_t *kafka, const char *topic, int timeout_ms, int32_t *partitions,
                 int32_t *replicas, struct error *error);

/* Waits for the answer to a request of the admin interface; the caller destroys it. NULL: none came
 * in time, or it says that the request failed. */
enum { KAFKA_ANSWER_TIMEOUT = 30000 };
rd_kafka_event_t *kafka_answer(rd_kafka_queue_t *queue, const char *doing, struct error *error);

/* Partitions of one topic: `count` from `partition` on. */
struct kafka_place {
    const char *topic;
    int32_t partition;
    int32_t count;
};
/* Where the partitions' logs begin (RD_KAFKA_OFFSET_BEGINNING) or end (RD_KAFKA_OFFSET_END), as far
 * as the handle's isolation level sees, into `offsets`. Answers within timeout_ms; ERROR_RETRY. */
bool kafka_offsets(rd_kafka_t *kafka, const struct kafka_place *place, int64_t which,
                   int timeout_ms, int64_t *offsets, struct error *error);
/* The first offset of a partition's log and the next one to be written (of a read_committed handle:
 * the last stable offset). Errors that pass are waited out, for up to KAFKA_ANSWER_TIMEOUT. */
bool kafka_watermarks(rd_kafka_t *kafka, const char *topic, int32_t partition, int64_t *low,
                      int64_t *high, struct error *error);
/* Fills in what the group of the handle has committed for the partitions, in the same way. */
bool kafka_committed(rd_kafka_t *kafka, rd_kafka_topic_partition_list_t *partitions,
                     struct error *error);

#endif
