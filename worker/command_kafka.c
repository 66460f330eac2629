#include "command_kafka.h"

#include "clock.h"
#include "command.h"
#include "interrupt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT = 30000, NO_WAIT_TIMEOUT = 5000, STEP = 500 };

bool command_positive(const char *name, const char *text, double *number, struct error *error)
{
    char *end;
    *number = strtod(text, &end);
    if (end != text && *end == '\0' && isfinite(*number) && *number > 0)
        return true;
    return error_set(error, ERROR_FATAL, "--%s: expected a number above 0, not '%.60s'", name,
                     text);
}

bool command_count(const char *name, const char *text, int64_t *count, struct error *error)
{
    const double exact = 9007199254740992.0; /* 2^53 */
    double number;
    if (!command_positive(name, text, &number, error))
        return false;
    *count = (int64_t)fmin(number, exact);
    return number == floor(number) ||
           error_set(error, ERROR_FATAL, "--%s: expected a whole number, not '%.60s'", name, text);
}

bool command_take_patience(struct command_patience *patience, const char *name, const char *value,
                           bool *good, struct error *error)
{
    *good = true;
    if (strcmp(name, "no-wait") == 0) {
        patience->no_wait = true;
        return true;
    }
    if (strcmp(name, "timeout") != 0)
        return false;
    double seconds;
    *good = command_positive(name, value, &seconds, error);
    if (*good)
        patience->timeout = (int64_t)(fmin(seconds, 1e6) * 1000) + 1;
    return true;
}

/* Waits until a broker answers, in steps between which a signal is heard. */
static bool await_broker(rd_kafka_t *kafka, int64_t timeout, struct error *error)
{
    const int64_t end = clock_monotonic_ms() + timeout;
    for (;;) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t code = rd_kafka_metadata(kafka, 0, NULL, &metadata, STEP);
        if (metadata != NULL)
            rd_kafka_metadata_destroy(metadata);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return true;
        if (interrupt_seen())
            return error_set(error, ERROR_FATAL, "interrupted");
        if (clock_monotonic_ms() >= end)
            return error_set(error, ERROR_RETRY, "no broker answers: %s", rd_kafka_err2str(code));
    }
}

rd_kafka_t *command_admin(const char *command, const struct options *options,
                          const struct command_patience *patience, int *code)
{
    struct error error = {ERROR_NONE, ""};
    *code = EXIT_USAGE;
    rd_kafka_t *admin = NULL;
    if (options_require(options, &error, "kafka.brokers", NULL))
        admin = kafka_open(KAFKA_ADMIN, kafka_conf(options, KAFKA_ADMIN, 0, &error), &error);
    if (admin == NULL) {
        command_fail(command, &error, *code);
        return NULL;
    }
    int64_t timeout = patience->timeout > 0 ? patience->timeout
                      : patience->no_wait   ? NO_WAIT_TIMEOUT
                                            : TIMEOUT;
    if (await_broker(admin, timeout, &error))
        return admin;
    error_prefix(&error, "kafka.brokers %s", options->kafka_brokers);
    *code = command_fail(command, &error, patience->no_wait ? EXIT_UNREACHABLE : EXIT_FAILED);
    rd_kafka_destroy(admin);
    return NULL;
}

bool command_topic(rd_kafka_t *admin, const char *topic, int32_t *partitions, struct error *error)
{
    if (!kafka_partitions(admin, topic, TIMEOUT, partitions, error))
        return false;
    return *partitions > 0 ||
           error_set(error, ERROR_FATAL, "topic '%s' does not exist; `infopair topics` creates it",
                     topic);
}

struct contracts *command_contracts(const struct options *options, size_t record_max,
                                    struct error *error)
{
    struct contracts_options contracts = options_contracts(options);
    contracts.record_max = record_max;
    return contracts_new(&contracts, error);
}
