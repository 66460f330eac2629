/* The five topics: what each must be like for the promises to hold. */
#ifndef INFOPAIR_TOPICS_H
#define INFOPAIR_TOPICS_H

#include "options.h"

#include <stdbool.h>
#include <stdint.h>

enum topic {
    TOPIC_COMPLETIONS,
    TOPIC_LABELS,
    TOPIC_PAIRS,
    TOPIC_LEDGER,
    TOPIC_DEAD_LETTERS,
    TOPICS,
};

/* Every ledger has as many. */
enum { LEDGER_PARTITIONS = 3 };

/* How what a topic has is compared with `least`. */
enum topic_demand {
    DEMAND_NONE,  /* chosen at creation, nothing rests on it */
    DEMAND_EQUAL, /* to `text` */
    DEMAND_LEAST, /* a number, -1 meaning without limit */
};

struct topic_setting {
    const char *name; /* the broker's, "retention.ms" */
    char text[24];    /* at creation */
    enum topic_demand demand;
    int64_t least;   /* of DEMAND_LEAST */
    const char *why; /* what breaks without; with DEMAND_NONE what is worse, or NULL */
};

enum { TOPIC_SETTINGS_MAX = 8 };

struct topic_plan {
    const char *name; /* borrowed from the options */
    int partitions;
    int replication;
    struct topic_setting settings[TOPIC_SETTINGS_MAX];
    size_t count;
};

void topics_plan(const struct options *options, struct topic_plan plans[TOPICS]);

/* An input may hold records of up to `bytes` (its max.message.bytes): room for them as dead
 * letters. */
void topics_raise_dead_letters(struct topic_plan plans[TOPICS], int64_t bytes);

/* True when `actual`, as the broker tells it, is good enough. */
bool topic_setting_fits(const struct topic_setting *setting, const char *actual);

#endif
