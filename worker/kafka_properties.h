/* kafka.properties: handed to librdkafka as they are, but for those that our promises rest on. */
#ifndef INFOPAIR_KAFKA_PROPERTIES_H
#define INFOPAIR_KAFKA_PROPERTIES_H

#include "options.h"

#include <librdkafka/rdkafka.h>

/* Sets every property on `conf`. The error says where the property was given, names it and, where
 * librdkafka does not know it or the worker sets it itself, what to do instead; it never shows a
 * secret. */
bool kafka_properties_apply(const struct options *options, rd_kafka_conf_t *conf,
                            struct error *error);

/* The same on a configuration that is thrown away. */
bool kafka_properties_check(const struct options *options, struct error *error);

#endif
