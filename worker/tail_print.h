/* Records of our topics as JSON lines. */
#ifndef INFOPAIR_TAIL_PRINT_H
#define INFOPAIR_TAIL_PRINT_H

#include "options.h"
#include "schemas/contracts.h"

#include <librdkafka/rdkafka.h>

struct tail_printer {
    struct contracts *contracts; /* borrowed */
    const struct options *options;
    enum contract contract; /* of the topic; CONTRACTS for dead letters */
    bool meta;              /* adds _topic, _partition, _offset, _timestamp and _key */
    struct buffer line;     /* zero-initialise, set its maximum, free it with buffer_free */
    int64_t unreadable;     /* records that could not be decoded */
};

/* Makes printer->line the record's JSON, ended by a newline. What cannot be decoded becomes
 * {"_error": why, "_bytes": base64}. A dead letter becomes
 * {"topic", "partition", "offset", "timestamp", "stage", "reason", "headers", "key", "bytes",
 * "record"}: where it came from and why, other headers, its bytes in base64, and the record where
 * it can be decoded all the same. A pairs record without a value becomes {"withdrawn", "reason"}:
 * the request that was taken back. False: out of memory, or longer than the line may be. */
bool tail_format(struct tail_printer *printer, const rd_kafka_message_t *message,
                 struct error *error);

#endif
