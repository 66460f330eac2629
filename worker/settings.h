/* The settings of one topic or one broker, as a broker tells them. */
#ifndef INFOPAIR_SETTINGS_H
#define INFOPAIR_SETTINGS_H

#include "schemas/error.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

struct setting {
    const char *name;  /* "retention.ms" */
    const char *value; /* NULL: not told */
    bool own;          /* set on this topic, not inherited from the broker */
};

struct settings {
    struct setting *items;
    size_t count;
    rd_kafka_event_t *answer; /* owns the texts */
};

/* Asks for all settings of topic `name`, or of the broker whose id it is (that broker itself is
 * asked). The caller releases *settings in any case. Waits up to 30 s. Any thread. */
bool settings_read(rd_kafka_t *admin, rd_kafka_ResourceType_t type, const char *name,
                   struct settings *settings, struct error *error);
void settings_free(struct settings *settings);

/* The setting with its value; NULL where the broker does not know it or does not tell. */
const struct setting *settings_find(const struct settings *settings, const char *name);

#endif
