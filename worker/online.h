/* check --online: everything of a cluster that could break a promise. */
#ifndef INFOPAIR_ONLINE_H
#define INFOPAIR_ONLINE_H

#include "findings.h"
#include "options.h"

#include <librdkafka/rdkafka.h>

/* Looks at the topics, the brokers, the ledger and the group's offsets, and says a line of each
 * thing that breaks a promise or is worth knowing. Changes nothing and joins no group. A part that
 * cannot be looked at is a line, and the others are looked at all the same. Any thread. */
void online_check(const struct options *options, rd_kafka_t *admin, struct findings *findings);

#endif
