/* The subcommands of `infopair`: a table, the exit codes, and what all of them share.
 *
 * A command lives in command_<name>.c as `int command_<name>(int argc, char **argv)`; argv[0] is
 * the command's name. It returns an exit code and never calls exit(). A command reads:
 *
 *   static const struct command_option OPTIONS[] = {
 *       {"follow", 'f', NULL, "go on after the end"}, {"count", 'n', "N", "stop after N"}, {0}};
 *   static const struct command_usage USAGE = {.name = "tail", .arguments = "TOPIC", ...};
 *
 *   int command_tail(int argc, char **argv)
 *   {
 *       struct tail tail = {0};
 *       struct options *options = NULL;
 *       int code = command_parse(&USAGE, argc, argv, &tail, &options);
 *       if (code != COMMAND_GO_ON)
 *           return code;
 *       ...
 *       options_free(options);
 *       return code;
 *   } */
#ifndef INFOPAIR_COMMAND_H
#define INFOPAIR_COMMAND_H

#include "options.h"
#include "schemas/error.h"

#include <stdbool.h>

/* A promise, like the topics. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,       /* usage or configuration */
    EXIT_FENCED = 3,      /* another worker holds our slot */
    EXIT_UNREACHABLE = 4, /* no broker at the start, with --no-wait; in check --online, at all */
};

#define COMMAND_EXIT_CODES                                                                         \
    "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 fenced by another worker, 4 no\n"   \
    "broker reached, at the start with --no-wait or by check --online."

#define COMMAND_GO_ON (-1) /* command_parse: nothing to return yet */

struct command {
    const char *name;
    const char *summary; /* one line of `infopair --help`; NULL: not listed */
    int (*run)(int argc, char **argv);
};

/* The table; ends with a NULL name. */
extern const struct command COMMANDS[];

/* One long option. Arrays end with a NULL name. */
struct command_option {
    const char *name;
    char letter;          /* 0: none */
    const char *argument; /* its name in the help; NULL: takes none */
    const char *help;
};

struct command_usage {
    const char *name;
    const char *arguments;                /* "FILE...", shown in the help; NULL: takes none */
    const char *summary;                  /* a sentence or a paragraph */
    const char *examples;                 /* lines, shown as they are */
    const struct command_option *options; /* its own, besides the common ones; may be NULL */
    /* Called for each own option with its long name and its value (NULL for a flag), and for each
     * argument with the name NULL. May be NULL where there is neither. Strings live as long
     * as argv. */
    bool (*take)(void *closure, const char *name, const char *value, struct error *error);
    const char *const *presets; /* "name=value", the command's own defaults; may be NULL */
    bool no_default_file;       /* do not look for /etc/infopair/infopair.cfg */
};

/* Parses the command line (GNU conventions) with the common options --config FILE, --set
 * NAME=VALUE, -v/--verbose, --log-level LEVEL, --help and --version, loads the configuration and
 * sets the log's level. options NULL: the command has no configuration, and so no --config and no
 * --set. Returns COMMAND_GO_ON with *options owned by the caller, or an exit code after having
 * printed help to stdout or the error to stderr. */
int command_parse(const struct command_usage *usage, int argc, char **argv, void *closure,
                  struct options **options);

/* The configuration that the same command line gives now: the file may be another one. NULL with
 * the reason, and nothing is printed. `closure` takes the command's own options once more. */
struct options *command_reload(const struct command_usage *usage, int argc, char **argv,
                               void *closure, struct error *error);

/* Prints "infopair NAME: message" to stderr and returns the exit code that fits the class: fenced
 * 3, others `code`. */
int command_fail(const char *name, const struct error *error, int code);

/* The whole process: picks the command of argv[1]. Called by main, and by tests. */
int command_main(int argc, char **argv);

int command_run(int argc, char **argv);
int command_check(int argc, char **argv);
int command_topics(int argc, char **argv);
int command_send(int argc, char **argv);
int command_tail(int argc, char **argv);
int command_model(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_withdraw(int argc, char **argv);
int command_demo(int argc, char **argv);
int command_simulate(int argc, char **argv);
int command_replay(int argc, char **argv);
int command_reference(int argc, char **argv);

#endif
