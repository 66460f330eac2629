/* infopair explain: why a pair was asked and what its label changed, from the topics alone. */
#include "command.h"
#include "command_kafka.h"
#include "explain.h"
#include "interrupt.h"

#include <stdio.h>
#include <string.h>

struct explain_command {
    struct command_patience patience;
    struct id id;
    bool given;
    bool json;
};

static const struct command_option OPTIONS[] = {
    {"json", 'j', NULL, "one line of JSON, with psi and all eigenvalues"}, COMMAND_PATIENCE, {0}};

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct explain_command *explain = closure;
    bool good = true;
    if (name == NULL && explain->given)
        return error_set(error, ERROR_FATAL, "one request at a time: '%.80s' is too many", value);
    if (name == NULL) {
        explain->given = true;
        return identity_parse(span_of(value), &explain->id) ||
               error_set(error, ERROR_FATAL, "'%.80s' is no request_id: 32 hex digits", value);
    }
    if (!command_take_patience(&explain->patience, name, value, &good, error))
        explain->json = true;
    return good;
}

static const struct command_usage USAGE = {
    .name = "explain",
    .arguments = "REQUEST_ID",
    .summary =
        "Tells from the topics why a pair was asked and what came of it: the fit and the "
        "prediction\n"
        "of that moment, arm, propensity, score and reason; how its difference x lies in the\n"
        "eigenvectors of Sigma as it was then, and the labelled pairs nearest to it; what its "
        "label\n"
        "said, how far that label lowers tr(I inverse(Sigma)) of then, and psi' x before and after "
        "the\n"
        "next fit; and what was asked within a second of it.\n"
        "\n"
        "Sigma and I are those of the entries before it, put through the workers' own engine. "
        "With\n"
        "several workers some of those may not have been read yet when it was asked: the variance "
        "that\n"
        "the pair itself carries stands beside the recomputed one. Use the workers' configuration.",
    .examples =
        "  infopair explain --config infopair.cfg 4fb0000000000000000000000000000a\n"
        "  infopair explain --config infopair.cfg --json 4fb0... | jq .directions.nearest\n",
    .options = OPTIONS,
    .take = take,
};

static bool show(const struct explain_command *explain, const struct options *options,
                 int32_t pairs, struct error *error)
{
    json_t *found = explain_request(options, USAGE.name, pairs, explain->id, error);
    if (found == NULL)
        return false;
    bool good;
    if (explain->json)
        good = (json_dumpf(found, stdout, 0) == 0 && putchar('\n') != EOF && fflush(stdout) == 0) ||
               error_set(error, ERROR_FATAL, "standard output cannot be written");
    else
        good = explain_print(found, error);
    json_decref(found);
    return good;
}

static int run(const struct explain_command *explain, const struct options *options)
{
    struct error error = {ERROR_NONE, ""};
    int code;
    rd_kafka_t *admin = command_admin(USAGE.name, options, &explain->patience, &code);
    if (admin == NULL)
        return code;
    int32_t ledger, pairs;
    bool good = command_topic(admin, options->topics_ledger, &ledger, &error) &&
                command_topic(admin, options->topics_pairs, &pairs, &error);
    rd_kafka_destroy(admin);
    return good && show(explain, options, pairs, &error)
               ? EXIT_DONE
               : command_fail(USAGE.name, &error, EXIT_FAILED);
}

int command_explain(int argc, char **argv)
{
    struct explain_command explain = {0};
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, &explain, &options);
    if (code != COMMAND_GO_ON)
        return code;
    interrupt_catch();
    const struct error missing = {ERROR_FATAL, "which request? See --help."};
    code = explain.given ? run(&explain, options) : command_fail(USAGE.name, &missing, EXIT_USAGE);
    options_free(options);
    return code;
}
