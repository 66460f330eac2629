/* infopair replay: rules over recorded history, and a worker's journal repeated. */
#include "command.h"
#include "interrupt.h"
#include "replay/repeat.h"
#include "replay/replay.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SETS_MAX = 200, PROCESSES_MAX = 256, RATE = 100 };
/* Completions a second: about one a day, so that times stay times, to one each nanosecond. */
static const double RATE_LEAST = 1e-5, RATE_MOST = 1e9;

struct arguments {
    struct replay_request request;
    const char *journal;
    const char *sets[SETS_MAX + 1];
    size_t set_count;
    char level[64];
    int64_t most, jobs, seeds;
};

static const struct command_option OPTIONS[] = {
    {"config", 'c', "FILE", "read the configuration from FILE"},
    {"set", 's', "NAME=VALUE", "set one option for all rules; may be repeated"},
    {"verbose", 'v', NULL, "the same as --log-level=debug"},
    {"log-level", 0, "LEVEL", "error, warn, info or debug"},
    {"rules", 'r', "LIST", "RULE[,OPTION=VALUE]... each, separated by ';' (selection.rule)"},
    {"from", 0, "TIME", "of the topics: 2026-11-28[T07:30[:00]][Z], or ms since 1970 (UTC)"},
    {"to", 0, "TIME", "up to this time, exclusive"},
    {"completions", 'C', "FILE", "JSON lines of `send completions` instead of the topics"},
    {"features", 'F', "FILE.npy", "row k becomes the features of line k"},
    {"prompts", 'p', "FILE", "JSON lines with prompt_id and prompt"},
    {"labels", 'L', "FILE", "JSON lines of `send history`; also propensity, arm, issued_at"},
    {"rate", 0, "N", "completions a second where lines have no created_at (100)"},
    {"oracle", 'o', "WHO", "answers pairs without a label: fitted (default), FILE.npy (psi), none"},
    {"most", 'n', "N", "each rule asks at most N pairs"},
    {"seeds", 0, "N", "each rule N times, from seed on: intervals of savings (1)"},
    {"asked", 0, "FILE", "writes what would have been asked, as JSON lines"},
    {"json", 0, NULL, "prints JSON lines instead of a table"},
    {"jobs", 'j', "N", "processes at a time, each within memory.limit (1)"},
    {"quiet", 'q', NULL, "no progress"},
    {"journal", 0, "FILE", "repeats what `infopair run --journal FILE` has written"},
    COMMAND_PATIENCE,
    {0}};

/* ---- times ---- */

/* Minutes that a zone lies ahead of UTC: "", "Z", "+01:00", "-0530". */
static bool take_zone(const char *text, int *minutes)
{
    int hours = 0, rest = 0, size = 0;
    *minutes = 0;
    if (*text == '\0' || strcmp(text, "Z") == 0)
        return true;
    bool given = (*text == '+' || *text == '-') &&
                 (sscanf(text + 1, "%2d:%2d%n", &hours, &rest, &size) == 2 ||
                  sscanf(text + 1, "%2d%2d%n", &hours, &rest, &size) == 2);
    *minutes = (*text == '-' ? -1 : 1) * (60 * hours + rest);
    return given && text[1 + size] == '\0';
}

/* ".123" of a second, behind which *text then stands. */
static int take_fraction(const char **text)
{
    int milliseconds = 0;
    if (**text != '.')
        return 0;
    ++*text;
    for (int unit = 100; isdigit((unsigned char)**text); ++*text, unit /= 10)
        milliseconds += unit * (**text - '0');
    return milliseconds;
}

static bool take_time(const char *name, const char *text, int64_t *time, struct error *error)
{
    static const char *const FORMATS[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
                                          "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
    char *end;
    *time = strtoll(text, &end, 10);
    if (*text != '\0' && *end == '\0' && *time >= 0)
        return true;
    for (size_t k = 0; k < sizeof FORMATS / sizeof *FORMATS; k++) {
        struct tm parts = {0};
        const char *rest = strptime(text, FORMATS[k], &parts);
        int milliseconds = rest == NULL ? 0 : take_fraction(&rest), minutes;
        if (rest == NULL || !take_zone(rest, &minutes))
            continue;
        *time = ((int64_t)timegm(&parts) - 60 * minutes) * 1000 + milliseconds;
        return true;
    }
    return error_set(error, ERROR_FATAL,
                     "--%s: '%.60s' is no time such as 2026-11-28T07:30:00Z or 1795851000000", name,
                     text);
}

/* ---- the command line ---- */

static bool add_set(struct arguments *arguments, const char *value, struct error *error)
{
    if (arguments->set_count == SETS_MAX)
        return error_set(error, ERROR_FATAL, "more than %d times --set", SETS_MAX);
    arguments->sets[arguments->set_count++] = value;
    return true;
}

static bool take_rate(const char *value, double *rate, struct error *error)
{
    return command_positive("rate", value, rate, error) &&
           ((*rate >= RATE_LEAST && *rate <= RATE_MOST) ||
            error_set(error, ERROR_FATAL,
                      "--rate: '%.60s' completions a second are not within %g to %g", value,
                      RATE_LEAST, RATE_MOST));
}

static bool take_oracle(struct replay_request *request, const char *value)
{
    request->oracle = strcmp(value, "none") == 0     ? ORACLE_NONE
                      : strcmp(value, "fitted") == 0 ? ORACLE_FITTED
                                                     : ORACLE_GIVEN;
    request->oracle_file = value;
    return true;
}

static void take_plain(struct arguments *arguments, const char *name, const char *value)
{
    struct replay_request *request = &arguments->request;
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } plain[] = {{"config", &request->config, NULL},
                 {"rules", &request->rules, NULL},
                 {"completions", &request->files.completions, NULL},
                 {"features", &request->files.features, NULL},
                 {"prompts", &request->files.prompts, NULL},
                 {"labels", &request->files.labels, NULL},
                 {"asked", &request->asked, NULL},
                 {"journal", &arguments->journal, NULL},
                 {"json", NULL, &request->json},
                 {"quiet", NULL, &request->quiet}};
    for (size_t k = 0; k < sizeof plain / sizeof *plain; k++) {
        if (strcmp(name, plain[k].name) != 0)
            continue;
        if (plain[k].text != NULL)
            *plain[k].text = value;
        else
            *plain[k].flag = true;
    }
}

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct arguments *arguments = closure;
    struct replay_request *request = &arguments->request;
    bool good;
    if (name == NULL)
        return error_set(error, ERROR_FATAL, "replay takes no arguments");
    if (command_take_patience(&request->patience, name, value, &good, error))
        return good;
    if (strcmp(name, "set") == 0)
        return add_set(arguments, value, error);
    if (strcmp(name, "verbose") == 0)
        return add_set(arguments, "log.level=debug", error);
    if (strcmp(name, "log-level") == 0) {
        snprintf(arguments->level, sizeof arguments->level, "log.level=%s", value);
        return add_set(arguments, arguments->level, error);
    }
    if (strcmp(name, "from") == 0)
        return take_time(name, value, &request->range.from, error);
    if (strcmp(name, "to") == 0)
        return take_time(name, value, &request->range.to, error);
    if (strcmp(name, "rate") == 0)
        return take_rate(value, &request->files.rate, error);
    if (strcmp(name, "most") == 0)
        return command_count(name, value, &arguments->most, error);
    if (strcmp(name, "jobs") == 0)
        return command_count(name, value, &arguments->jobs, error);
    if (strcmp(name, "seeds") == 0)
        return command_count(name, value, &arguments->seeds, error);
    if (strcmp(name, "oracle") == 0)
        return take_oracle(request, value);
    take_plain(arguments, name, value);
    return true;
}

static const struct command_usage USAGE = {
    .name = "replay",
    .summary =
        "Runs rules of selection over recorded history with the worker's own engine, before a\n"
        "label is spent: over the topics of the configuration within --from and --to, or over\n"
        "files. Each rule sees the same completions at their recorded times under the budget of\n"
        "the configuration. A pair that has a recorded label gets it, after the time that it\n"
        "took then and under its annotator's name; others are answered by the oracle: the fit on\n"
        "all recorded labels, or psi of a file as `infopair model --npy` writes it. uniform is "
        "always run too. Rules know what\n"
        "the ledger held at --from, and at first else nothing; the feature space is the recorded\n"
        "one, or estimated from the completions.\n"
        "\n"
        "The report compares designs by one fit: tr(I S), S = inverse(lambda Id + sum of w x x'),\n"
        "at equal numbers of labels; its ratio to uniform's; labels at which it is as low as that\n"
        "of all uniform labels, and what that saves; overlap with the recorded requests. Then\n"
        "estimates from the recorded labels and their logged propensities, weighted by how likely\n"
        "the design was to ask them (self-normalised, 95 % intervals): the fit's log loss on\n"
        "them (it has seen them), the share of ties, the share that agrees with the fit. "
        "`support`\n"
        "is near 1 where the record could have held all that the design asks; pairs that a\n"
        "greedy rule chose have propensity 1 and support nothing but themselves.\n"
        "\n"
        "With --seeds the comparison is the mean over seeds, counts are those of the first.\n"
        "The same input, options and seed give the same bytes, however many jobs.\n"
        "With --journal: gives a new engine the events of a worker's journal and compares what it\n"
        "decides, byte for byte; ends with 1 at the first difference.",
    .examples =
        "  infopair replay --config infopair.cfg --from 2026-11-01 --rules 'policy_trace;dopt'\n"
        "  infopair replay --completions completions.jsonl --features phi.npy \\\n"
        "      --labels preferences.jsonl --set policy.beta=0.1 --set budget.per_second=1\n"
        "  infopair run --config infopair.cfg --journal /var/tmp/worker.journal\n"
        "  infopair replay --journal /var/tmp/worker.journal\n",
    .options = OPTIONS,
    .take = take,
};

static bool check(const struct arguments *arguments, struct error *error)
{
    const struct replay_request *request = &arguments->request;
    const struct past_files *files = &request->files;
    bool range = request->range.from != INT64_MIN || request->range.to != INT64_MAX;
    if (files->completions == NULL &&
        (files->features != NULL || files->prompts != NULL || files->labels != NULL))
        return error_set(error, ERROR_FATAL,
                         "--features, --prompts and --labels go with --completions FILE");
    if (files->completions != NULL && range)
        return error_set(error, ERROR_FATAL, "--from and --to are of topics, not of files");
    if (request->range.from >= request->range.to)
        return error_set(error, ERROR_FATAL, "--from: does not lie before --to");
    return (arguments->jobs <= PROCESSES_MAX && arguments->seeds <= PROCESSES_MAX) ||
           error_set(error, ERROR_FATAL, "--jobs, --seeds: at most %d", PROCESSES_MAX);
}

int command_replay(int argc, char **argv)
{
    struct arguments arguments = {
        .request = {.range = {INT64_MIN, INT64_MAX}, .oracle = ORACLE_FITTED, .files.rate = RATE},
        .jobs = 1,
        .seeds = 1};
    struct error error = {ERROR_NONE, ""};
    int code = command_parse(&USAGE, argc, argv, &arguments, NULL);
    if (code != COMMAND_GO_ON)
        return code;
    if (arguments.journal != NULL)
        return repeat_journal(arguments.journal, &error)
                   ? EXIT_DONE
                   : command_fail("replay", &error, EXIT_FAILED);
    if (!check(&arguments, &error))
        return command_fail("replay", &error, EXIT_USAGE);
    arguments.request.sets = arguments.sets;
    arguments.request.labels = (size_t)arguments.most;
    arguments.request.seeds = (size_t)arguments.seeds;
    arguments.request.processes = (size_t)arguments.jobs;
    interrupt_catch();
    return replay(&arguments.request);
}
