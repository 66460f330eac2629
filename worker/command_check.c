/* infopair check: everything that can be known of a configuration without a broker. */
#include "command.h"
#include "kafka_properties.h"
#include "memory.h"
#include "schemas/contracts.h"

#include <stdio.h>

static const struct command_usage USAGE = {
    .name = "check",
    .summary =
        "Loads the configuration as `infopair run` would, prints every value with its source\n"
        "(secrets masked), and checks the properties of librdkafka, the schema files and the sum "
        "of\n"
        "the memory.",
    .examples = "  infopair check --config infopair.cfg\n"
                "  infopair check --set policy.beta=0.1 --set budget.per_second=5 \\\n"
                "      --set kafka.brokers=localhost:9092\n",
};

static bool check_required(const struct options *options, struct error *error)
{
    return options_require(options, error, "kafka.brokers", "policy.beta", "budget.per_second",
                           NULL);
}

static bool check_schemas(const struct options *options, struct error *error)
{
    const struct contracts_options contracts_options = options_contracts(options);
    struct contracts *contracts = contracts_new(&contracts_options, error);
    contracts_free(contracts);
    return contracts != NULL;
}

static bool check_memory(const struct options *options, struct error *error)
{
    struct memory_plan plan;
    return memory_plan(options, &plan, error);
}

/* In the order in which a start of the worker would meet them. */
static bool (*const CHECKS[])(const struct options *options, struct error *error) = {
    check_required,
    kafka_properties_check,
    check_schemas,
    check_memory,
};

int command_check(int argc, char **argv)
{
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, NULL, &options);
    if (code != COMMAND_GO_ON)
        return code;
    char digest[OPTIONS_DIGEST_SIZE];
    options_digest(options, digest);
    code = options_print(options, stdout, true) ? EXIT_DONE : EXIT_FAILED;
    printf("# digest of the shared options: %.*s\n", OPTIONS_DIGEST_HASH, digest);
    fflush(stdout);
    struct error error = {ERROR_NONE, ""};
    for (size_t k = 0; code == EXIT_DONE && k < sizeof CHECKS / sizeof *CHECKS; k++)
        if (!CHECKS[k](options, &error))
            code = command_fail(USAGE.name, &error, EXIT_USAGE);
    if (code == EXIT_DONE)
        puts("configuration is good");
    options_free(options);
    return code;
}
