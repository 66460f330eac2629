#include "kafka_properties.h"

#include <stdlib.h>
#include <string.h>

/* What the worker sets itself; `option` says which option decides it, NULL: the protocol does. */
static const struct {
    const char *name;
    const char *option;
} RESERVED[] = {
    {"bootstrap.servers", "kafka.brokers"},
    {"metadata.broker.list", "kafka.brokers"},
    {"group.id", "kafka.group"},
    {"group.instance.id", "kafka.instance and kafka.static"},
    {"transactional.id", "kafka.group and kafka.instance"},
    {"partition.assignment.strategy", "kafka.assignment"},
    {"session.timeout.ms", "kafka.session_timeout"},
    {"transaction.timeout.ms", "kafka.transaction_timeout"},
    {"enable.idempotence", NULL},
    {"enable.auto.commit", NULL},
    {"auto.commit.enable", NULL},
    {"enable.auto.offset.store", NULL},
    {"enable.partition.eof", NULL},
    {"auto.offset.reset", NULL},
    {"isolation.level", NULL},
    {"acks", NULL},
    {"request.required.acks", NULL},
};

static bool check_reserved(const char *name, struct error *error)
{
    for (size_t k = 0; k < sizeof RESERVED / sizeof *RESERVED; k++) {
        if (strcmp(RESERVED[k].name, name) != 0)
            continue;
        if (RESERVED[k].option == NULL)
            return error_set(error, ERROR_FATAL,
                             "kafka.properties: %s is set by the worker, whose promises rest on it",
                             name);
        return error_set(error, ERROR_FATAL, "kafka.properties: %s is set by %s", name,
                         RESERVED[k].option);
    }
    return true;
}

static bool apply(const char *item, rd_kafka_conf_t *conf, struct error *error)
{
    const char *equals = strchr(item, '=');
    char name[256], text[256];
    if (equals == NULL || (size_t)(equals - item) >= sizeof name)
        return error_set(error, ERROR_FATAL,
                         "kafka.properties: an item is not of the form name=value");
    snprintf(name, sizeof name, "%.*s", (int)(equals - item), item);
    if (!check_reserved(name, error))
        return false;
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, equals + 1, text, sizeof text);
    if (result == RD_KAFKA_CONF_OK)
        return true;
    /* librdkafka's sentence repeats the value. */
    if (result == RD_KAFKA_CONF_INVALID && options_secret(item))
        snprintf(text, sizeof text, "the value is not valid");
    return error_set(error, ERROR_FATAL, "kafka.properties: %s: %s", name, text);
}

bool kafka_properties_apply(const struct options *options, rd_kafka_conf_t *conf,
                            struct error *error)
{
    const struct string_list *list = &options->kafka_properties;
    for (size_t k = 0; k < list->count; k++) {
        if (apply(list->items[k], conf, error))
            continue;
        const char *place = list->places == NULL ? NULL : list->places[k];
        return place == NULL ? false : error_prefix(error, "%s", place);
    }
    return true;
}

bool kafka_properties_check(const struct options *options, struct error *error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool good = kafka_properties_apply(options, conf, error);
    rd_kafka_conf_destroy(conf);
    return good;
}
