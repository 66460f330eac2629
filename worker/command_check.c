/* infopair check: everything that can be known of a configuration without a broker, and with
 * --online everything that brokers and topics could break. */
#include "command.h"
#include "command_kafka.h"
#include "interrupt.h"
#include "kafka_properties.h"
#include "memory.h"
#include "online.h"
#include "schemas/contracts.h"

#include <stdio.h>
#include <string.h>

struct check_command {
    bool online;
    struct command_patience patience;
};

static const struct command_option OPTIONS[] = {
    {"online", 'o', NULL, "also check topics, brokers and committed offsets"},
    {"timeout", 0, "SECONDS", "with --online: wait so long for a broker (5)"},
    {0}};

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct check_command *check = closure;
    if (name == NULL)
        return error_set(error, ERROR_FATAL, "takes no argument '%.80s'", value);
    bool good;
    if (command_take_patience(&check->patience, name, value, &good, error))
        return good;
    check->online = true;
    return true;
}

static const struct command_usage USAGE = {
    .name = "check",
    .summary =
        "Loads the configuration as `infopair run` would, prints every value with its source\n"
        "(secrets masked), and checks the properties of librdkafka, the schema files and the sum "
        "of\n"
        "the memory.\n\n"
        "With --online it then connects to kafka.brokers, changes nothing, and names each setting "
        "of\n"
        "topics and brokers under which a promise would break (NOT FIT: what it is, what it must "
        "be,\n"
        "what breaks), what could not be looked at (NOT CHECKED) and what is worth knowing "
        "(note),\n"
        "the bytes a day by which the ledger grows, and what the group would miss that starts "
        "from\n"
        "its committed offsets. The exit code is 0 when nothing breaks, 1 when something does or "
        "was\n"
        "not checked, and 4 when no broker answers.",
    .examples = "  infopair check --config infopair.cfg\n"
                "  infopair check --online --config infopair.cfg\n"
                "  infopair check --set policy.beta=0.1 --set budget.per_second=5 \\\n"
                "      --set kafka.brokers=localhost:9092\n",
    .options = OPTIONS,
    .take = take,
};

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
    options_require_worker,
    kafka_properties_check,
    check_schemas,
    check_memory,
};

/* Not wrong, but perhaps not what was meant. */
static void note_attempts(const struct options *options)
{
    char age[64], deadline[64];
    if (options->labels_attempts < 2 || options->pool_age > options->labels_deadline)
        return;
    options_text(options, "pool.age", age, sizeof age);
    options_text(options, "labels.deadline", deadline, sizeof deadline);
    printf("# nothing is asked again (labels.attempts): pools close after pool.age = %s, before a "
           "request runs out after labels.deadline = %s\n",
           age, deadline);
}

static int check_alone(const struct options *options)
{
    char digest[OPTIONS_DIGEST_SIZE];
    options_digest(options, digest);
    if (!options_print(options, stdout, true))
        return EXIT_FAILED;
    printf("# digest of the shared options: %.*s\n", OPTIONS_DIGEST_HASH, digest);
    char needs[OPTIONS_NEEDS_SIZE];
    options_needs(options->rule, needs);
    if (needs[0] != '\0')
        printf("# %s needs of every completion: %s\n", options->rule->name, needs);
    note_attempts(options);
    fflush(stdout);
    struct error error = {ERROR_NONE, ""};
    for (size_t k = 0; k < sizeof CHECKS / sizeof *CHECKS; k++)
        if (!CHECKS[k](options, &error))
            return command_fail(USAGE.name, &error, EXIT_USAGE);
    puts("configuration is good");
    return EXIT_DONE;
}

static int check_online(const struct options *options, const struct command_patience *patience)
{
    int code;
    fflush(stdout);
    interrupt_catch();
    rd_kafka_t *admin = command_admin(USAGE.name, options, patience, &code);
    if (admin == NULL)
        return code;
    struct findings findings = {.out = stdout};
    online_check(options, admin, &findings);
    rd_kafka_destroy(admin);
    if (findings.broken == 0)
        puts("topics and brokers keep the promises");
    else
        printf("topics and brokers do NOT keep the promises: %d lines above\n", findings.broken);
    return findings.broken == 0 && fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int command_check(int argc, char **argv)
{
    /* Whoever asks for the brokers wants to know that there is none. */
    struct check_command check = {.patience = {.no_wait = true}};
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, &check, &options);
    if (code != COMMAND_GO_ON)
        return code;
    code = check_alone(options);
    if (code == EXIT_DONE && check.online)
        code = check_online(options, &check.patience);
    options_free(options);
    return code;
}
