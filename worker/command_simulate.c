/* infopair simulate: rules compared in worlds whose truth is known. */
#include "command.h"
#include "interrupt.h"
#include "simulate/report.h"
#include "simulate/runs.h"
#include "simulate/summary.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHANGES_MAX = 64, VARIED_SIZE = 256, PROCESSES_MAX = 256 };

struct arguments {
    const char *scene;
    const char *with[CHANGES_MAX]; /* NAME=VALUE each */
    const char *set[CHANGES_MAX];
    size_t with_count, set_count;
    const char *rules, *vary, *seeds, *labels;
    const char *record, *html;
    size_t processes;
    bool json, runs, list, quiet;
};

static const struct command_option OPTIONS[] = {
    {"rules", 'r', "LIST", "RULE[,OPTION=VALUE]... each, separated by ';', instead of the scene's"},
    {"seeds", 's', "N", "worlds; N-M: their numbers"},
    {"labels", 'l', "N", "labels in all"},
    {"with", 'w', "NAME=VALUE", "a field of the scene, see --list; may be repeated"},
    {"vary", 0, "NAME=A,B,...", "the scene once with each value of a field"},
    {"set", 0, "NAME=VALUE", "an option of the worker for all rules; may be repeated"},
    {"jobs", 'j', "N", "processes at a time (default: the processors)"},
    {"record", 0, "FILE", "keeps each run as a JSON line; what is in it is not run again"},
    {"runs", 0, NULL, "prints each run as a JSON line, and nothing else"},
    {"json", 0, NULL, "prints a JSON line for each rule instead of a table"},
    {"html", 0, "FILE", "writes a report with plots, in one file"},
    {"quiet", 'q', NULL, "no progress"},
    {"list", 0, NULL, "names the scenes that come with infopair, and the fields of one"},
    {0}};

static bool add(const char **list, size_t *count, const char *name, const char *value,
                struct error *error)
{
    if (strchr(value, '=') == NULL || *count == CHANGES_MAX)
        return error_set(error, ERROR_FATAL, "--%s: '%.60s' is not NAME=VALUE, or one of too many",
                         name, value);
    list[(*count)++] = value;
    return true;
}

static bool take_processes(const char *value, size_t *processes, struct error *error)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*value == '\0' || *end != '\0' || number < 1 || number > PROCESSES_MAX)
        return error_set(error, ERROR_FATAL, "--jobs: '%.60s' is not a number from 1 to %d", value,
                         PROCESSES_MAX);
    *processes = number;
    return true;
}

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct arguments *arguments = closure;
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } plain[] = {{"rules", &arguments->rules, NULL},   {"seeds", &arguments->seeds, NULL},
                 {"labels", &arguments->labels, NULL}, {"vary", &arguments->vary, NULL},
                 {"record", &arguments->record, NULL}, {"html", &arguments->html, NULL},
                 {"runs", NULL, &arguments->runs},     {"json", NULL, &arguments->json},
                 {"list", NULL, &arguments->list},     {"quiet", NULL, &arguments->quiet}};
    if (name == NULL) {
        if (arguments->scene != NULL)
            return error_set(error, ERROR_FATAL, "simulate takes one scene");
        arguments->scene = value;
        return true;
    }
    if (strcmp(name, "with") == 0)
        return add(arguments->with, &arguments->with_count, name, value, error);
    if (strcmp(name, "set") == 0)
        return add(arguments->set, &arguments->set_count, name, value, error);
    if (strcmp(name, "jobs") == 0)
        return take_processes(value, &arguments->processes, error);
    for (size_t k = 0; k < sizeof plain / sizeof *plain; k++) {
        if (strcmp(name, plain[k].name) != 0)
            continue;
        if (plain[k].text != NULL)
            *plain[k].text = value;
        else
            *plain[k].flag = true;
    }
    return true;
}

static const struct command_usage USAGE = {
    .name = "simulate",
    .arguments = "[SCENE]",
    .summary =
        "Runs rules of selection through the worker's engine in worlds whose truth is known, and\n"
        "compares them with uniform pairs: all rules of a seed see the same world, pools and\n"
        "labels' random numbers. SCENE is one of --list (default main), or a file like those of\n"
        "config/worlds; --list also names the fields of a scene.\n\n"
        "c = labels tr(I inverse(F)) at the truth says how good the asked pairs are, nearly\n"
        "without noise; saving is labels / labels at which the rule's policy is as good as that\n"
        "of all uniform labels, with a 95 % interval over seeds.",
    .examples = "  infopair simulate\n"
                "  infopair simulate main --with dimension=32 --html report.html\n"
                "  infopair simulate main --rules 'uniform;policy_trace;dopt' --vary pool=4,16,32\n"
                "  infopair simulate tabular --record runs.jsonl --json\n",
    .options = OPTIONS,
    .take = take,
    .no_default_file = true,
};

/* ---- the scene ---- */

static bool set_pair(struct scene *scene, const char *text, struct error *error)
{
    char name[64];
    size_t size = strcspn(text, "=");
    snprintf(name, sizeof name, "%.*s", (int)size, text);
    return scene_set(scene, name, text + size + (text[size] == '='), error);
}

/* "24", or "5-28": numbers of worlds. */
static bool set_seeds(struct scene *scene, const char *text, struct error *error)
{
    const char *dash = strchr(text, '-');
    if (dash == NULL)
        return scene_set(scene, "seeds", text, error);
    char first[32];
    snprintf(first, sizeof first, "%.*s", (int)(dash - text), text);
    if (!scene_set(scene, "first_seed", first, error) ||
        !scene_set(scene, "seeds", dash + 1, error))
        return false;
    if (scene->seeds < scene->first_seed)
        return error_set(error, ERROR_DATA, "--seeds: %s is no range", text);
    scene->seeds -= scene->first_seed - 1;
    return true;
}

static bool names_kind(const char *pair)
{
    return strncmp(pair, "kind=", strlen("kind=")) == 0;
}

static bool change(struct scene *scene, const struct arguments *arguments, const char *varied,
                   struct error *error)
{
    /* A kind brings its defaults: it comes first, as in a file. */
    bool done = varied == NULL || !names_kind(varied) || set_pair(scene, varied, error);
    for (int pass = 0; pass < 2; pass++)
        for (size_t k = 0; done && k < arguments->with_count; k++)
            if (names_kind(arguments->with[k]) == (pass == 0))
                done = set_pair(scene, arguments->with[k], error);
    for (size_t k = 0; done && k < arguments->set_count; k++)
        done = string_list_append(&scene->set, arguments->set[k], strlen(arguments->set[k])) ||
               error_set(error, ERROR_FATAL, "out of memory");
    if (done && arguments->rules != NULL)
        done = scene_set(scene, "rules", arguments->rules, error);
    if (done && arguments->labels != NULL)
        done = scene_set(scene, "labels", arguments->labels, error);
    if (done && arguments->seeds != NULL)
        done = set_seeds(scene, arguments->seeds, error);
    return done && (varied == NULL || names_kind(varied) || set_pair(scene, varied, error));
}

/* What all rules are compared with is always run. */
static bool complete(struct scene *scene, bool bases, struct error *error)
{
    size_t dimension;
    if (!scene_check(scene, error) || !scene_dimension(scene, &dimension, error))
        return false;
    if (bases && !summary_add_bases(&scene->rules))
        return error_set(error, ERROR_FATAL, "out of memory");
    for (size_t k = 0; k < scene->rules.count; k++) {
        if (!run_check(scene, scene->rules.items[k], error))
            return false;
    }
    return true;
}

static struct scene *prepare(const struct arguments *arguments, const char *varied,
                             struct error *error)
{
    struct scene *scene = scene_load(arguments->scene, error);
    if (scene == NULL ||
        (change(scene, arguments, varied, error) && complete(scene, !arguments->runs, error)))
        return scene;
    scene_free(scene);
    return NULL;
}

/* ---- output ---- */

static bool print_table(const struct scene *scene, const struct summary *summaries)
{
    printf("%s: d = %zu, pools of %zu, %zu labels, %zu seeds\n", scene->name,
           summaries[0].dimension, scene->pool == 0 ? scene->world.completions : scene->pool,
           scene->labels, scene->seeds);
    if (scene->seeds < 2)
        printf("one seed: errors and intervals tell nothing\n");
    printf("%-40s %9s %15s %19s %19s %21s\n", "rule", "c", "c ratio", "gap", "late", "saving");
    for (size_t k = 0; k < scene->rules.count; k++) {
        const struct summary *summary = &summaries[k];
        size_t last = summary->points;
        printf("%-40.40s %9.4g %7.3g ± %-5.2g %9.3g ± %-7.2g %5.2f (%.2f to %.2f)", summary->rule,
               summary->c, summary->c_ratio, summary->c_ratio_error,
               last == 0 ? (double)NAN : summary->gap[last - 1],
               last == 0 ? (double)NAN : summary->gap_error[last - 1], summary->late,
               summary->late_low, summary->late_high);
        if (isnan(summary->saving))
            printf("%21s\n", "never");
        else
            printf("%7.2f (%.2f to %.2f)\n", summary->saving, summary->saving_low,
                   summary->saving_high);
    }
    return fflush(stdout) == 0;
}

static bool print_lines(const struct scene *scene, const struct summary *summaries)
{
    bool done = true;
    for (size_t k = 0; done && k < scene->rules.count; k++) {
        json_t *line = summary_line(scene, &summaries[k]);
        done = line != NULL && json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)) == 0;
        putchar('\n');
        json_decref(line);
    }
    return done && fflush(stdout) == 0;
}

static bool print_runs(const struct jobs *jobs)
{
    for (size_t k = 0; k < jobs->scene->rules.count * jobs->scene->seeds; k++) {
        char *line = runs_line(jobs->text, &jobs->runs[k]);
        if (line == NULL)
            return false;
        puts(line);
        free(line);
    }
    return fflush(stdout) == 0;
}

/* One scene from its runs to what is said of it. */
static bool simulate(const struct arguments *arguments, struct report *report, const char *varied,
                     struct error *error)
{
    struct scene *scene = prepare(arguments, varied, error);
    if (scene == NULL)
        return false;
    struct jobs jobs = {.scene = scene,
                        .text = scene_text(scene),
                        .processes = arguments->processes,
                        .record = arguments->record,
                        .quiet = arguments->quiet};
    struct summary *summaries = NULL;
    bool done = (jobs.text != NULL || error_set(error, ERROR_FATAL, "out of memory")) &&
                jobs_run(&jobs, error);
    if (done) {
        summaries = summarise(&jobs);
        done = summaries != NULL || error_set(error, ERROR_FATAL, "out of memory");
    }
    if (done && arguments->runs)
        done = print_runs(&jobs) ||
               error_set(error, ERROR_FATAL, "standard output: %s", strerror(errno));
    else if (done && arguments->json)
        done = print_lines(scene, summaries) ||
               error_set(error, ERROR_FATAL, "standard output: %s", strerror(errno));
    else if (done)
        done = print_table(scene, summaries) ||
               error_set(error, ERROR_FATAL, "standard output: %s", strerror(errno));
    if (done && report != NULL)
        done = report_add(report, scene, varied, summaries) ||
               error_set(error, ERROR_FATAL, "out of memory for a report");
    summary_free(summaries, scene->rules.count);
    jobs_free(&jobs);
    free((char *)(uintptr_t)jobs.text);
    scene_free(scene);
    return done;
}

static bool check(const struct arguments *arguments, struct report *report, const char *varied,
                  struct error *error)
{
    (void)report;
    struct scene *scene = prepare(arguments, varied, error);
    scene_free(scene);
    return scene != NULL;
}

typedef bool scene_action(const struct arguments *arguments, struct report *report,
                          const char *varied, struct error *error);

/* With the value of `vary` that begins at `value`. */
static bool with_value(const struct arguments *arguments, scene_action *action,
                       struct report *report, const char *value, struct error *error)
{
    char varied[VARIED_SIZE];
    int name = (int)strcspn(arguments->vary, "="), size = (int)strcspn(value, ",");
    if (size == 0)
        return error_set(error, ERROR_DATA, "--vary: '%.100s' has an empty value", arguments->vary);
    if (name + size + 1 >= VARIED_SIZE)
        return error_set(error, ERROR_DATA, "--vary: '%.60s...' has more than %d bytes", value,
                         VARIED_SIZE - 2);
    snprintf(varied, sizeof varied, "%.*s=%.*s", name, arguments->vary, size, value);
    return action(arguments, report, varied, error);
}

/* The scene once, or once with each value of `vary`. */
static bool each_scene(const struct arguments *arguments, scene_action *action,
                       struct report *report, struct error *error)
{
    if (arguments->vary == NULL)
        return action(arguments, report, NULL, error);
    const char *value = strchr(arguments->vary, '=');
    if (value == NULL || value == arguments->vary)
        return error_set(error, ERROR_DATA, "--vary: '%.60s' is not NAME=VALUE,...",
                         arguments->vary);
    do {
        value++;
        if (!with_value(arguments, action, report, value, error))
            return false;
        value += strcspn(value, ",");
    } while (*value != '\0');
    return true;
}

/* Nothing is run before all that can be known to be wrong is known to be right. */
static bool simulate_all(const struct arguments *arguments, struct report *report,
                         struct error *error)
{
    if (arguments->html != NULL && arguments->record != NULL &&
        strcmp(arguments->html, arguments->record) == 0)
        return error_set(error, ERROR_DATA, "--html: '%.200s' is the --record", arguments->html);
    return (arguments->html == NULL || report_can_write(arguments->html, error)) &&
           each_scene(arguments, check, report, error) &&
           each_scene(arguments, simulate, report, error);
}

static int fail(const struct error *error)
{
    bool usage = error->class == ERROR_DATA;
    return command_fail("simulate", error, usage ? EXIT_USAGE : EXIT_FAILED);
}

static int run_all(const struct arguments *arguments)
{
    struct error error = {ERROR_NONE, ""};
    struct report *report = arguments->html == NULL ? NULL : report_new();
    bool done = arguments->html == NULL || report != NULL ||
                error_set(&error, ERROR_FATAL, "out of memory for a report");
    interrupt_catch();
    done = done && simulate_all(arguments, report, &error);
    if (done && report != NULL)
        done = report_write(report, arguments->html, &error);
    report_free(report);
    return done ? EXIT_DONE : fail(&error);
}

static bool list_all(struct error *error)
{
    puts("Scenes:");
    if (!scene_list(stdout, error))
        return false;
    puts("\nFields of a scene:");
    scene_fields(stdout);
    return fflush(stdout) == 0 ||
           error_set(error, ERROR_FATAL, "standard output: %s", strerror(errno));
}

int command_simulate(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct error error = {ERROR_NONE, ""};
    int code = command_parse(&USAGE, argc, argv, &arguments, NULL);
    if (code != COMMAND_GO_ON)
        return code;
    if (arguments.list)
        return list_all(&error) ? EXIT_DONE : fail(&error);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (arguments.processes == 0)
        arguments.processes = processors < 1               ? 1
                              : processors > PROCESSES_MAX ? PROCESSES_MAX
                                                           : (size_t)processors;
    if (arguments.scene == NULL)
        arguments.scene = "main";
    return run_all(&arguments);
}
