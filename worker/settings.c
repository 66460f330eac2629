#include "settings.h"

#include "kafka.h"

#include <stdlib.h>
#include <string.h>

static bool take_items(const rd_kafka_ConfigResource_t *resource, struct settings *settings,
                       struct error *error)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    settings->items = calloc(count + 1, sizeof *settings->items);
    if (settings->items == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    for (size_t k = 0; k < count; k++)
        settings->items[k] = (struct setting){.name = rd_kafka_ConfigEntry_name(entries[k]),
                                              .value = rd_kafka_ConfigEntry_value(entries[k]),
                                              .own = rd_kafka_ConfigEntry_source(entries[k]) ==
                                                     RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG};
    settings->count = count;
    return true;
}

static bool take_answer(struct settings *settings, struct error *error)
{
    size_t count;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(settings->answer), &count);
    if (count != 1)
        return error_set(error, ERROR_FATAL, "its settings are missing from the answer");
    const char *reason = rd_kafka_ConfigResource_error_string(resources[0]);
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resources[0]);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return error_set(error, ERROR_FATAL, "its settings: %s",
                         reason != NULL ? reason : rd_kafka_err2str(code));
    return take_items(resources[0], settings, error);
}

bool settings_read(rd_kafka_t *admin, rd_kafka_ResourceType_t type, const char *name,
                   struct settings *settings, struct error *error)
{
    *settings = (struct settings){0};
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(type, name);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
    rd_kafka_DescribeConfigs(admin, &resource, 1, NULL, queue);
    rd_kafka_ConfigResource_destroy(resource);
    settings->answer = kafka_answer(queue, "its settings", error);
    rd_kafka_queue_destroy(queue);
    return settings->answer != NULL && take_answer(settings, error);
}

void settings_free(struct settings *settings)
{
    if (settings->answer != NULL)
        rd_kafka_event_destroy(settings->answer);
    free(settings->items);
    *settings = (struct settings){0};
}

const struct setting *settings_find(const struct settings *settings, const char *name)
{
    for (size_t k = 0; k < settings->count; k++)
        if (strcmp(settings->items[k].name, name) == 0)
            return settings->items[k].value == NULL ? NULL : &settings->items[k];
    return NULL;
}
