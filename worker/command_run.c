/* infopair run: the worker as a process. */
#include "command.h"
#include "kafka_properties.h"
#include "log.h"
#include "worker.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct command_option OPTIONS[] = {
    {"no-wait", 0, NULL, "end with exit code 4 when no broker answers at the start"},
    {"accept-loss", 0, NULL,
     "go on although records, metadata or ledger entries are lost or unusable"},
    {"journal", 0, "FILE", "record every event of the engine, for `infopair replay`"},
    {0}};

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct worker_flags *flags = closure;
    if (name == NULL)
        return error_set(error, ERROR_FATAL, "run takes no arguments");
    if (strcmp(name, "no-wait") == 0)
        flags->no_wait = true;
    else if (strcmp(name, "journal") == 0)
        flags->journal = value;
    else
        flags->accept_loss = true;
    return true;
}

static const struct command_usage USAGE = {
    .name = "run",
    .summary =
        "Reads completions and labels, publishes the pairs that are worth a label, and learns "
        "from\nthe labels that come back. SIGTERM and SIGINT commit what was read and end "
        "with exit code\n0; a second signal ends at once. SIGHUP reads the configuration again: a "
        "new "
        "budget holds at\nonce. Status: http.address, /live /ready "
        "/metrics /certificate.",
    .examples = "  infopair run --config /etc/infopair/infopair.cfg\n"
                "  infopair run --set kafka.brokers=localhost:9092 --set policy.beta=0.1 \\\n"
                "      --set budget.per_second=5\n",
    .options = OPTIONS,
    .take = take,
};

/* The command line, which is read again on SIGHUP. */
struct command_line {
    int argc;
    char **argv;
};

static struct options *reload(void *closure, struct error *error)
{
    const struct command_line *line = closure;
    struct worker_flags ignored = {0};
    return command_reload(&USAGE, line->argc, line->argv, &ignored, error);
}

/* The worker that a signal stops; set once, before the handlers are. */
static struct worker *signalled;

static void on_signal(int number)
{
    static volatile sig_atomic_t before;
    if (before)
        _exit(128 + number);
    before = 1;
    worker_stop(signalled);
}

static void on_hangup(int number)
{
    (void)number;
    worker_reload(signalled);
}

static void catch_signals(struct worker *worker)
{
    signalled = worker;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    struct sigaction again = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
    sigaction(SIGHUP, &again, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

int command_run(int argc, char **argv)
{
    struct command_line line = {argc, argv};
    struct worker_flags flags = {.reload = reload, .reload_closure = &line};
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, &flags, &options);
    if (code != COMMAND_GO_ON)
        return code;
    struct error error = {ERROR_NONE, ""};
    struct worker *worker = NULL;
    if (options_require_worker(options, &error) && kafka_properties_check(options, &error))
        worker = worker_new(options, &flags, &error);
    if (worker == NULL) {
        options_free(options);
        return command_fail("run", &error, EXIT_USAGE);
    }
    catch_signals(worker);
    log_write(LOG_LEVEL_INFO, "worker", "started\tversion=%s instance=%s http_port=%d",
              INFOPAIR_VERSION, options->kafka_instance, worker_port(worker));
    char needs[OPTIONS_NEEDS_SIZE];
    options_needs(options->rule, needs);
    if (needs[0] != '\0')
        log_write(LOG_LEVEL_INFO, "worker",
                  "the rule needs fields of every completion; one without is dead-lettered"
                  "\trule=%s fields=\"%s\"",
                  options->rule->name, needs);
    bool done = worker_run(worker, &error);
    if (done)
        log_write(LOG_LEVEL_INFO, "worker", "stopped");
    worker_free(worker);
    options_free(options);
    if (done)
        return EXIT_DONE;
    return command_fail("run", &error, error.class == ERROR_RETRY ? EXIT_UNREACHABLE : EXIT_FAILED);
}
