/* The table of subcommands and how one is chosen. */
#include "command.h"
#include "nearest.h"

#include <stdio.h>
#include <string.h>

const struct command COMMANDS[] = {
    {"run", "read completions and labels, publish the pairs worth a label", command_run},
    {"check", "check the configuration and print every value with its source", command_check},
    {"topics", "create the topics with fitting settings", command_topics},
    {"send", "turn JSON lines into completions, labels or labels given before", command_send},
    {"tail", "print pairs, labels, dead letters or the ledger as JSON lines", command_tail},
    {"model", "print the fit in force: psi, the scale of its space, and what is behind it",
     command_model},
    {"explain", "tell why a pair was asked, and what its label changed", command_explain},
    {"withdraw", "take requests back: free their slots, tell labellers", command_withdraw},
    {"demo", "show the whole loop on this machine, without a server", command_demo},
    {"simulate", "compare rules in worlds whose truth is known", command_simulate},
    {"replay", "run rules over recorded history and compare; repeat a journal", command_replay},
    {"reference", NULL, command_reference},
    {NULL, NULL, NULL},
};

static void print_usage(FILE *out)
{
    fputs("Usage: infopair COMMAND [OPTION...]\n\n"
          "Decides which pairs of model completions are worth a label.\n\nCommands:\n",
          out);
    for (const struct command *command = COMMANDS; command->name != NULL; command++)
        if (command->summary != NULL)
            fprintf(out, "  %-10s %s\n", command->name, command->summary);
    fputs("\n'infopair COMMAND --help' explains one. 'infopair --version' prints the "
          "version.\n\n" COMMAND_EXIT_CODES "\n",
          out);
}

static int unknown_command(const char *name)
{
    struct nearest nearest = {0};
    for (const struct command *command = COMMANDS; command->name != NULL; command++)
        if (command->summary != NULL)
            nearest_offer(&nearest, name, command->name);
    fprintf(stderr, "infopair: no such command '%s'; the nearest is '%s'\nTry 'infopair --help'.\n",
            name, nearest.name);
    return EXIT_USAGE;
}

int command_main(int argc, char **argv)
{
    sel_init(); /* before anything forks: threads of the library would wait for work, spinning */
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_usage(stdout);
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("infopair " INFOPAIR_VERSION);
        return EXIT_DONE;
    }
    for (const struct command *command = COMMANDS; command->name != NULL; command++)
        if (strcmp(command->name, name) == 0)
            return command->run(argc - 1, argv + 1);
    return unknown_command(name);
}
