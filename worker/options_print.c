/* The options as a file, as text and as the reference page. */
#include "options_table.h"

#include <stdlib.h>
#include <string.h>

static const char *const SOURCES[] = {"default", "command", "file", "environment", "--set"};

static enum option_source source_of(const struct options *options, const struct option_row *row)
{
    return (enum option_source)options->sources[row - OPTION_ROWS];
}

static void print_option(const struct options *options, const struct option_row *row, FILE *out)
{
    size_t group = option_group(row);
    const char *indent = group == 0 ? "" : "    ";
    const char *name = group == 0 ? row->name : row->name + group + 1;
    enum option_source source = source_of(options, row);
    if (row->required && source == OPTION_DEFAULT) {
        fprintf(out, "%s# %s is not given and has no default\n", indent, name);
        return;
    }
    fprintf(out, "%s%s = ", indent, name);
    option_write(options, row, true, out);
    fprintf(out, "; # %s\n", SOURCES[source]);
}

static bool same_group(const struct option_row *left, const struct option_row *right)
{
    return right->name != NULL && option_group(left) == option_group(right) &&
           strncmp(left->name, right->name, option_group(left)) == 0;
}

bool options_print(const struct options *options, FILE *out, bool all)
{
    const struct option_row *open = NULL; /* the first row printed of the group under way */
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        if (!all && source_of(options, row) == OPTION_DEFAULT)
            continue;
        size_t group = option_group(row);
        if (open != NULL && !same_group(open, row)) {
            fputs("};\n", out);
            open = NULL;
        }
        if (open == NULL && group > 0) {
            fprintf(out, "%.*s: {\n", (int)group, row->name);
            open = row;
        }
        print_option(options, row, out);
    }
    if (open != NULL)
        fputs("};\n", out);
    return ferror(out) == 0;
}

char *option_text(const struct options *options, const struct option_row *row, bool mask)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    option_write(options, row, mask, out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

bool options_text(const struct options *options, const char *name, char *text, size_t size)
{
    const struct option_row *row = option_find(name);
    char *written = row == NULL || size == 0 ? NULL : option_text(options, row, true);
    if (written == NULL)
        return false;
    snprintf(text, size, "%s", written);
    free(written);
    return true;
}

static const char *type_text(const struct option_row *row)
{
    switch (row->type) {
    case TYPE_STRING:
        return "string";
    case TYPE_LIST:
        return "list of strings";
    case TYPE_NAME:
        return "name";
    case TYPE_BOOL:
        return "true or false";
    case TYPE_INTEGER:
    case TYPE_COUNT:
        return "whole number";
    case TYPE_SIZE:
        return "size";
    case TYPE_DURATION:
        return "duration";
    case TYPE_NUMBER:
        return row->automatic == NULL                ? "number"
               : strcmp(row->automatic, "none") == 0 ? "number or `none`"
                                                     : "number or `auto`";
    }
    return "";
}

static void print_range(const struct option_row *row, FILE *out)
{
    if (row->type == TYPE_NAME) {
        for (const char *const *name = row->names; *name != NULL; name++)
            fprintf(out, "%s`%s`", name == row->names ? "" : ", ", *name);
        return;
    }
    if (row->type == TYPE_STRING || row->type == TYPE_LIST || row->type == TYPE_BOOL)
        return;
    char least[OPTION_BOUND_SIZE], most[OPTION_BOUND_SIZE];
    option_bound(row, row->minimum, least);
    option_bound(row, row->maximum, most);
    if (row->above_minimum && row->maximum >= 1e300)
        fprintf(out, "above %s", least);
    else if (row->minimum <= -1e300)
        fputs("any", out);
    else if (row->maximum >= 1e300)
        fprintf(out, "at least %s", least);
    else if (row->above_minimum)
        fprintf(out, "above %s, to %s", least, most);
    else
        fprintf(out, "%s to %s", least, most);
}

static void print_default(const struct option_row *row, FILE *out)
{
    if (row->fallback == NULL)
        fputs(row->required ? "**required**" : row->compute_text, out);
    else if (row->fallback[0] == '\0')
        fputs("`\"\"`", out);
    else
        fprintf(out, "`%s`", row->fallback);
}

/* "Parameter of `maxminlcb` (0.5), `rucb` (0): what the rule says of it." */
static void print_parameter(const struct option_row *row, FILE *out)
{
    const struct sel_parameter *found = NULL;
    const struct sel_rule *rule;
    for (size_t k = 0; (rule = sel_rule_at(k)) != NULL; k++) {
        size_t place = sel_rule_parameter(rule, row->name + option_group(row) + 1);
        if (place == rule->parameter_count)
            continue;
        fprintf(out, "%s`%s` (", found == NULL ? "Parameter of " : ", ", rule->name);
        found = rule->parameters + place;
        if (found->required)
            fputs("must be given)", out);
        else
            fprintf(out, "%g)", found->fallback);
    }
    fputs(": ", out);
    for (const char *c = found == NULL ? "" : found->text; *c != '\0'; c++)
        fprintf(out, "%s%c", *c == '|' ? "\\" : "", *c);
    fputc('.', out);
}

/* What a rule needs of every completion, and its parameters. */
static void print_needs(const struct sel_rule *rule, FILE *out)
{
    char fields[OPTIONS_NEEDS_SIZE];
    options_needs(rule, fields);
    const char *comma = fields[0] == '\0' ? "" : ", ";
    fputs(fields, out);
    for (size_t k = 0; k < rule->parameter_count; k++) {
        fprintf(out, "%s`%s`", comma, rule->parameters[k].name);
        comma = ", ";
    }
    if ((rule->traits & SEL_SIMULATION) != 0)
        fprintf(out, "%ssimulations only", comma);
}

static const char *shape_of(const struct sel_rule *rule)
{
    if (!sel_rule_is_of_pools(rule))
        return "list";
    return rule->randomised || rule->distribution != NULL ? "drawn" : "scores";
}

static void print_rules(FILE *out)
{
    fputs(
        "\n## Rules of `selection.rule`\n\n"
        "*scores*: the pair of the best score of all pools is asked. *drawn*: a pair is drawn from "
        "a\nuniform pool. *list*: a batch is chosen from a list of pairs. *needs*: fields of every "
        "completion that\nmay be compared (without one it becomes a dead letter), and "
        "parameters.\n\n"
        "| rule | aliases | shape | formula | needs | source |\n|---|---|---|---|---|---|\n",
        out);
    const struct sel_rule *rule;
    for (size_t k = 0; (rule = sel_rule_at(k)) != NULL; k++) {
        fprintf(out, "| `%s` | ", rule->name);
        for (const char *const *alias = rule->aliases; alias != NULL && *alias != NULL; alias++)
            fprintf(out, "%s`%s`", alias == rule->aliases ? "" : ", ", *alias);
        fprintf(out, " | %s | %s | ", shape_of(rule), rule->formula);
        print_needs(rule, out);
        fprintf(out, " | %s |\n", rule->source);
    }
}

static const char INTRODUCTION[] =
    "<!-- Made by `infopair reference` from worker/options_table.c; do not edit. -->\n"
    "# Options of infopair\n\n"
    "Sources, the later wins: the defaults below, the file (`--config FILE`, else\n"
    "`/etc/infopair/infopair.cfg` where it exists), the environment, `--set NAME=VALUE`. An "
    "unknown\n"
    "name is an error everywhere. `infopair check` prints every value and where it came from.\n\n"
    "The file is libconfig's: the part of a name before the dot is a group, so that `pool.size` "
    "is\n"
    "written `pool: { size = 16; };`. In the environment `pool.size` is `INFOPAIR_POOL_SIZE`. "
    "Lists\n"
    "are written `[\"a=1\", \"b=2\"]`; in the environment and after `--set` also `a=1,b=2`.\n\n"
    "Durations carry a unit (`\"250ms\"`, `\"45s\"`, `\"5m\"`, `\"1h\"`, `\"7d\"`), sizes too "
    "(`\"16KiB\"`,\n"
    "`\"1MiB\"`, `\"1GiB\"`; a bare number is bytes).\n\n"
    "*Shared*: all workers of one group need the same value; the ledger's entries carry a digest "
    "of\n"
    "these. All options are read at the start. On SIGHUP a running worker reads them again: "
    "`budget.*`,\n"
    "`labels.surprise`, `certificate.interval` and `log.level` change at once, the log names what "
    "else is\n"
    "different and waits for a restart, and a file with an error changes nothing. Values of\n"
    "`kafka.properties` whose name speaks of a password, secret, token or key are never printed.\n";

bool options_reference(FILE *out)
{
    fputs(INTRODUCTION, out);
    const struct option_row *before = NULL;
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        if (before == NULL || !same_group(before, row)) {
            size_t group = option_group(row);
            fprintf(out, "\n## %.*s\n\n", group == 0 ? (int)strlen(row->name) : (int)group,
                    row->name);
            fputs("| option | type | range | default | shared | meaning |\n"
                  "|---|---|---|---|---|---|\n",
                  out);
        }
        fprintf(out, "| `%s` | %s | ", row->name, type_text(row));
        print_range(row, out);
        fputs(" | ", out);
        print_default(row, out);
        fprintf(out, " | %s | ", row->shared ? "yes" : "");
        if (row->text != NULL)
            fputs(row->text, out);
        else
            print_parameter(row, out);
        fputs(" |\n", out);
        before = row;
    }
    print_rules(out);
    return ferror(out) == 0;
}
