/* The producer behind `infopair send`: counts what was delivered, waits when its queue is full. */
#ifndef INFOPAIR_SEND_PRODUCER_H
#define INFOPAIR_SEND_PRODUCER_H

#include "options.h"
#include "schemas/bytes.h"
#include "schemas/error.h"

#include <stdint.h>

struct send_producer;

/* topic: borrowed. queue_bytes: of records that wait for the broker. rate: records a second, 0: as
 * fast as it goes. */
struct send_producer *send_producer_new(const struct options *options, const char *topic,
                                        size_t queue_bytes, double rate, struct error *error);
/* Drops what was not delivered. */
void send_producer_free(struct send_producer *producer);

/* Hands one record over; key and value are copied. Waits for its turn (rate) and for room. False
 * when that was interrupted or the producer is broken for good. */
bool send_produce(struct send_producer *producer, struct span key, struct span value,
                  struct error *error);

/* Waits until each record was delivered or given up. A second SIGINT ends the process. */
void send_flush(struct send_producer *producer);

int64_t send_delivered(const struct send_producer *producer);
/* Records given up so far; *reason: why the first was, "" when none. */
int64_t send_undelivered(const struct send_producer *producer, const char **reason);

#endif
