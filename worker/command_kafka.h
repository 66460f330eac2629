/* What topics, send and tail have in common beside their command line. */
#ifndef INFOPAIR_COMMAND_KAFKA_H
#define INFOPAIR_COMMAND_KAFKA_H

#include "kafka.h"
#include "options.h"
#include "schemas/contracts.h"

/* How long a command waits for a broker, in milliseconds. */
struct command_patience {
    bool no_wait;
    int64_t timeout; /* 0: 30 s */
};

/* Rows of a struct command_option for it, and what takes their values. */
#define COMMAND_PATIENCE                                                                           \
    {"timeout", 0, "SECONDS", "wait so long for a broker (30)"},                                   \
    {                                                                                              \
        "no-wait", 0, NULL, "give up after 5 seconds, with exit code 4"                            \
    }
/* False when the option is none of the two; else *good, or the error says why not. */
bool command_take_patience(struct command_patience *patience, const char *name, const char *value,
                           bool *good, struct error *error);

/* A number above 0, or one that is whole too, for option --name. */
bool command_positive(const char *name, const char *text, double *number, struct error *error);
bool command_count(const char *name, const char *text, int64_t *count, struct error *error);

/* Opens a handle that creates and describes topics, and waits until a broker answers. NULL with
 * *code, an exit code, after having printed why. */
rd_kafka_t *command_admin(const char *command, const struct options *options,
                          const struct command_patience *patience, int *code);

/* The partitions of a topic that must exist. */
bool command_topic(rd_kafka_t *admin, const char *topic, int32_t *partitions, struct error *error);

/* The contracts as the options say, for records of up to record_max bytes. */
struct contracts *command_contracts(const struct options *options, size_t record_max,
                                    struct error *error);

#endif
