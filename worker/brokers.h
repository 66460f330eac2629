/* The brokers' own settings, beside what the promises need of every one of them. */
#ifndef INFOPAIR_BROKERS_H
#define INFOPAIR_BROKERS_H

#include "findings.h"
#include "options.h"
#include "settings.h"

struct broker {
    int32_t id;
    struct settings settings;
    struct error unread; /* why the settings are not known; ERROR_NONE: they are */
};

/* Asks every broker of the cluster for its settings; one that does not answer is in the list too,
 * with the reason. *brokers: owned by the caller, brokers_free. False: nobody says which brokers
 * there are. Any thread. */
bool brokers_look(rd_kafka_t *admin, struct broker **brokers, size_t *count, struct error *error);
void brokers_free(struct broker *brokers, size_t count);

/* Says what does not fit, with the ids of the brokers that have it so, and which settings differ
 * between them. inherited_bytes: topics_inherited_bytes. */
void brokers_compare(const struct options *options, const struct broker *brokers, size_t count,
                     int64_t inherited_bytes, struct findings *findings);

#endif
