/* A topic from its beginning to the end that it has now: committed records only, no group, no
 * trace. */
#ifndef INFOPAIR_TOPIC_READ_H
#define INFOPAIR_TOPIC_READ_H

#include "kafka.h"

/* Gives every record of the place's partitions to `take`, each partition in its order. Ends early
 * when take returns false, whose error then stands. A signal and half a minute without a record or
 * an end are errors. */
bool topic_read(const struct options *options, const struct kafka_place *place,
                bool (*take)(void *closure, const rd_kafka_message_t *message, struct error *error),
                void *closure, struct error *error);

#endif
