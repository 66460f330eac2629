/* infopair reference: the page config/reference.md, and whether a copy of it is up to date. */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reference {
    const char *file; /* compare with this; NULL: print */
};

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct reference *reference = closure;
    if (name == NULL)
        return error_set(error, ERROR_FATAL, "takes no argument '%.80s'", value);
    reference->file = value;
    return true;
}

static const struct command_option OPTIONS[] = {
    {"check", 0, "FILE", "print nothing; fail unless FILE holds this page"},
    {NULL, 0, NULL, NULL},
};

static const struct command_usage USAGE = {
    .name = "reference",
    .summary = "Prints the reference page of all options in Markdown.",
    .options = OPTIONS,
    .examples = "  infopair reference > config/reference.md\n",
    .take = take,
};

/* True when the stream holds these bytes and no more. */
static bool holds(FILE *file, const char *text, size_t size)
{
    char block[4096];
    size_t position = 0;
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0; position += got)
        if (got > size - position || memcmp(block, text + position, got) != 0)
            return false;
    return position == size;
}

static int compare(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    FILE *file = fopen(path, "re");
    bool made = out != NULL && options_reference(out);
    if (out != NULL)
        made = fclose(out) == 0 && made;
    bool same = made && file != NULL && holds(file, text, size);
    if (file != NULL)
        fclose(file);
    free(text);
    if (same)
        return EXIT_DONE;
    fprintf(stderr, "infopair reference: %s is stale; run: infopair reference > %s\n", path, path);
    return EXIT_FAILED;
}

int command_reference(int argc, char **argv)
{
    struct reference reference = {NULL};
    int code = command_parse(&USAGE, argc, argv, &reference, NULL);
    if (code != COMMAND_GO_ON)
        return code;
    struct error error = {ERROR_NONE, ""};
    if (!options_check_table(&error))
        return command_fail(USAGE.name, &error, EXIT_FAILED);
    if (reference.file != NULL)
        return compare(reference.file);
    return options_reference(stdout) && fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}
