/* What all commands share: their command line and how it is explained. */
#include "command.h"

#include "nearest.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTIONS_MAX = 48, LONG_BASE = 256 };

static const struct command_option CONFIGURED[] = {
    {"config", 'c', "FILE", "read the configuration from FILE"},
    {"set", 's', "NAME=VALUE", "set one option; may be repeated"},
    {"verbose", 'v', NULL, "the same as --log-level=debug"},
    {"log-level", 0, "LEVEL", "error, warn, info or debug"},
    {NULL, 0, NULL, NULL},
};

static const struct command_option COMMON[] = {
    {"help", 'h', NULL, "print this and end"},
    {"version", 'V', NULL, "print the version and end"},
    {NULL, 0, NULL, NULL},
};

/* One command line under way. */
struct parse {
    const struct command_usage *usage;
    void *closure;
    const struct command_option *options[OPTIONS_MAX]; /* own ones first */
    size_t own;
    size_t count;
    const char **sets; /* room for one more than argc */
    size_t set_count;
    const char *file;
    char level[64];
};

static void add_options(struct parse *parse, const struct command_option *options)
{
    for (; options != NULL && options->name != NULL && parse->count < OPTIONS_MAX; options++)
        parse->options[parse->count++] = options;
}

static void print_option(const struct command_option *option)
{
    char left[80];
    char letter[8] = "    ";
    if (option->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name,
             option->argument == NULL ? "" : "=", option->argument == NULL ? "" : option->argument);
    printf("  %-28s %s\n", left, option->help);
}

static int print_help(const struct parse *parse)
{
    const struct command_usage *usage = parse->usage;
    printf("Usage: infopair %s [OPTION...]%s%s\n\n%s\n", usage->name,
           usage->arguments == NULL ? "" : " ", usage->arguments == NULL ? "" : usage->arguments,
           usage->summary);
    for (size_t k = 0; k < parse->count; k++) {
        if (k == 0)
            puts(parse->own > 0 ? "\nOptions:" : "\nCommon options:");
        else if (k == parse->own)
            puts("\nCommon options:");
        print_option(parse->options[k]);
    }
    if (usage->examples != NULL)
        printf("\nExamples:\n%s", usage->examples);
    puts("\n" COMMAND_EXIT_CODES);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int usage_error(const struct parse *parse, const struct error *error)
{
    fprintf(stderr, "infopair %s: %s\nTry 'infopair %s --help'.\n", parse->usage->name,
            error->message, parse->usage->name);
    return EXIT_USAGE;
}

static void unknown_option(const struct parse *parse, const char *text, struct error *error)
{
    struct nearest nearest = {0};
    char typed[64];
    snprintf(typed, sizeof typed, "%.*s", (int)strcspn(text + 2, "="), text + 2);
    for (size_t k = 0; k < parse->count; k++)
        nearest_offer(&nearest, typed, parse->options[k]->name);
    error_set(error, ERROR_FATAL, "unknown option '--%s'; the nearest is '--%s'", typed,
              nearest.name);
}

/* Why getopt_long refused what stands at argv[optind - 1]. */
static int refused(const struct parse *parse, const char *text, int result)
{
    struct error error;
    if (result == ':')
        error_set(&error, ERROR_FATAL, "option '%.80s' needs a value", text);
    else if (optopt >= LONG_BASE)
        error_set(&error, ERROR_FATAL, "option '%.80s' takes no value", text);
    else if (optopt > 0)
        error_set(&error, ERROR_FATAL, "unknown option '-%c'", optopt);
    else
        unknown_option(parse, text, &error);
    return usage_error(parse, &error);
}

static int take_common(struct parse *parse, const char *name, const char *value)
{
    if (strcmp(name, "help") == 0)
        return print_help(parse);
    if (strcmp(name, "version") == 0) {
        puts("infopair " INFOPAIR_VERSION);
        return EXIT_DONE;
    }
    if (strcmp(name, "config") == 0)
        parse->file = value;
    else if (strcmp(name, "set") == 0)
        parse->sets[parse->set_count++] = value;
    else
        snprintf(parse->level, sizeof parse->level, "log.level=%s",
                 value == NULL ? "debug" : value);
    return COMMAND_GO_ON;
}

static int take_own(struct parse *parse, const char *name, const char *value)
{
    struct error error = {ERROR_NONE, ""};
    if (parse->usage->take == NULL)
        error_set(&error, ERROR_FATAL, "takes no argument '%.80s'", value);
    else if (parse->usage->take(parse->closure, name, value, &error))
        return COMMAND_GO_ON;
    return usage_error(parse, &error);
}

static size_t option_of(const struct parse *parse, int result)
{
    if (result >= LONG_BASE)
        return (size_t)(result - LONG_BASE);
    for (size_t k = 0; k < parse->count; k++)
        if (parse->options[k]->letter == result)
            return k;
    return parse->count;
}

static void describe(const struct parse *parse, struct option *longs, char *letters)
{
    size_t used = 0;
    letters[used++] = ':'; /* a missing value is told apart from an unknown option */
    for (size_t k = 0; k < parse->count; k++) {
        const struct command_option *option = parse->options[k];
        int has_value = option->argument == NULL ? no_argument : required_argument;
        longs[k] = (struct option){option->name, has_value, NULL, LONG_BASE + (int)k};
        if (option->letter == 0)
            continue;
        letters[used++] = option->letter;
        if (option->argument != NULL)
            letters[used++] = ':';
    }
    letters[used] = '\0';
    longs[parse->count] = (struct option){NULL, 0, NULL, 0};
}

static int parse_line(struct parse *parse, int argc, char **argv)
{
    struct option longs[OPTIONS_MAX + 1];
    char letters[2 * OPTIONS_MAX + 2];
    describe(parse, longs, letters);
    optind = 0; /* glibc: forget an earlier command line */
    opterr = 0;
    int code = COMMAND_GO_ON;
    for (int result; code == COMMAND_GO_ON;) {
        result = getopt_long(argc, argv, letters, longs, NULL);
        if (result == -1)
            break;
        if (result == '?' || result == ':') {
            code = refused(parse, argv[optind - 1], result);
            continue;
        }
        size_t k = option_of(parse, result);
        const char *name = parse->options[k]->name;
        code = k < parse->own ? take_own(parse, name, optarg) : take_common(parse, name, optarg);
    }
    for (; code == COMMAND_GO_ON && optind < argc; optind++)
        code = take_own(parse, NULL, argv[optind]);
    return code;
}

static struct options *load(struct parse *parse, struct error *error)
{
    if (parse->level[0] != '\0')
        parse->sets[parse->set_count++] = parse->level;
    parse->sets[parse->set_count] = NULL;
    const struct options_input input = {
        .presets = parse->usage->presets,
        .file = parse->file,
        .no_default_file = parse->usage->no_default_file,
        .environment = (const char *const *)environ,
        .sets = parse->sets,
    };
    struct options *options = options_new();
    error_set(error, ERROR_FATAL, "out of memory");
    if (options != NULL && options_load(options, &input, error))
        return options;
    options_free(options);
    return NULL;
}

/* False: out of memory. */
static bool begin(struct parse *parse, bool configured, int argc)
{
    add_options(parse, parse->usage->options);
    parse->own = parse->count;
    if (configured)
        add_options(parse, CONFIGURED);
    add_options(parse, COMMON);
    parse->sets = calloc((size_t)argc + 2, sizeof *parse->sets);
    return parse->sets != NULL;
}

int command_parse(const struct command_usage *usage, int argc, char **argv, void *closure,
                  struct options **options)
{
    struct parse parse = {.usage = usage, .closure = closure};
    struct error error = {ERROR_FATAL, "out of memory"};
    if (!begin(&parse, options != NULL, argc))
        return command_fail(usage->name, &error, EXIT_FAILED);
    int code = parse_line(&parse, argc, argv);
    if (code == COMMAND_GO_ON && options != NULL) {
        *options = load(&parse, &error);
        if (*options == NULL)
            code = command_fail(usage->name, &error, EXIT_USAGE);
        else
            log_set_level((*options)->log_level);
    }
    free(parse.sets);
    return code;
}

struct options *command_reload(const struct command_usage *usage, int argc, char **argv,
                               void *closure, struct error *error)
{
    struct parse parse = {.usage = usage, .closure = closure};
    struct options *options = NULL;
    error_set(error, ERROR_FATAL, "out of memory");
    if (begin(&parse, true, argc) && parse_line(&parse, argc, argv) == COMMAND_GO_ON)
        options = load(&parse, error);
    free(parse.sets);
    return options;
}

int command_fail(const char *name, const struct error *error, int code)
{
    fprintf(stderr, "infopair %s: %s\n", name, error->message);
    return error->class == ERROR_FENCED ? EXIT_FENCED : code;
}
