#include "options.h"

#include "nearest.h"
#include "options_table.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char DEFAULT_FILE[] = "/etc/infopair/infopair.cfg";
static const char VARIABLE_PREFIX[] = "INFOPAIR_";

/* What a default-less option holds until it is given. */
static bool set_empty(struct options *options, const struct option_row *row)
{
    if (row->type != TYPE_STRING)
        return true; /* zeroed at birth */
    char **member = option_member(options, row);
    *member = strdup("");
    return *member != NULL;
}

static bool set_default(struct options *options, const struct option_row *row, struct error *error)
{
    if (row->fallback != NULL)
        return option_parse(options, row, row->fallback, error) ||
               error_prefix(error, "default of %s", row->name);
    if (row->compute == NULL)
        return set_empty(options, row) || error_set(error, ERROR_FATAL, "out of memory");
    char *text = row->compute();
    if (text == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    bool done = option_parse(options, row, text, error);
    free(text);
    return done;
}

static struct options *new_defaults(struct error *error)
{
    struct options *options = calloc(1, sizeof *options);
    if (options == NULL)
        return NULL;
    options->sources = calloc(option_count(), sizeof *options->sources);
    bool done = options->sources != NULL;
    for (const struct option_row *row = OPTION_ROWS; done && row->name != NULL; row++)
        done = set_default(options, row, error);
    if (done)
        return options;
    options_free(options);
    return NULL;
}

struct options *options_new(void)
{
    return new_defaults(NULL);
}

void options_free(struct options *options)
{
    if (options == NULL)
        return;
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++)
        option_clear(options, row);
    sel_rule_unload(options->plugin);
    free(options->groups);
    free(options->sources);
    free(options);
}

void option_mark(struct options *options, const struct option_row *row, enum option_source source)
{
    options->sources[row - OPTION_ROWS] = (unsigned char)source;
}

static bool unknown_option(const char *name, struct error *error)
{
    struct nearest nearest = {0};
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++)
        nearest_offer(&nearest, name, row->name);
    return error_set(error, ERROR_FATAL, "no such option; the nearest valid name is %s",
                     nearest.name);
}

/* kafka.properties.NAME=VALUE: librdkafka's names hold dots, so this one form adds to a list. */
static const struct option_row *list_entry(const char *text, const char **item)
{
    static const char PREFIX[] = "kafka.properties.";
    if (strncmp(text, PREFIX, sizeof PREFIX - 1) != 0)
        return NULL;
    *item = text + sizeof PREFIX - 1;
    return option_find("kafka.properties");
}

/* Copies what stands before '=', cut to fit; returns its whole length. */
static size_t take_name(const char *text, char name[OPTION_NAME_SIZE])
{
    size_t size = strcspn(text, "=");
    size_t kept = size < OPTION_NAME_SIZE ? size : OPTION_NAME_SIZE - 1;
    memcpy(name, text, kept);
    name[kept] = '\0';
    return size;
}

/* One "name=value" of a preset or of --set. */
static bool set_text(struct options *options, const char *text, const char *origin,
                     enum option_source source, struct error *error)
{
    char name[OPTION_NAME_SIZE];
    size_t size = take_name(text, name);
    if (text[size] != '=')
        return error_set(error, ERROR_FATAL, "%s: %s: expected NAME=VALUE", origin, name);
    const char *item = NULL;
    const struct option_row *row = list_entry(text, &item);
    if (row == NULL)
        row = option_find(name);
    bool done;
    if (row == NULL)
        done = unknown_option(name, error);
    else if (item != NULL)
        done = option_put_property(options, row, item, error);
    else
        done = option_parse(options, row, text + size + 1, error);
    if (!done)
        return error_prefix(error, "%s: %s", origin, name);
    option_mark(options, row, source);
    return row->type != TYPE_LIST || option_place(options, row, SIZE_MAX, origin, error);
}

static bool read_texts(struct options *options, const char *const *texts, const char *origin,
                       enum option_source source, struct error *error)
{
    for (; texts != NULL && *texts != NULL; texts++)
        if (!set_text(options, *texts, origin, source, error))
            return false;
    return true;
}

static const struct option_row *find_variable(const char *variable, struct nearest *nearest)
{
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        char candidate[OPTION_NAME_SIZE];
        option_variable(row->name, candidate);
        if (strcmp(candidate, variable) == 0)
            return row;
        nearest_offer(nearest, variable + sizeof VARIABLE_PREFIX - 1,
                      candidate + sizeof VARIABLE_PREFIX - 1);
        if (nearest->name == candidate + sizeof VARIABLE_PREFIX - 1)
            nearest->name = row->name;
    }
    return NULL;
}

static bool read_variable(struct options *options, const char *text, struct error *error)
{
    char name[OPTION_NAME_SIZE];
    size_t size = take_name(text, name);
    struct nearest nearest = {0};
    const struct option_row *row = find_variable(name, &nearest);
    if (row == NULL) {
        char variable[OPTION_NAME_SIZE];
        option_variable(nearest.name, variable);
        return error_set(error, ERROR_FATAL,
                         "environment: %s: no such option; the nearest valid name is %s", name,
                         variable);
    }
    const char *value = text[size] == '=' ? text + size + 1 : "";
    if (!option_parse(options, row, value, error))
        return error_prefix(error, "environment: %s", name);
    option_mark(options, row, OPTION_ENVIRONMENT);
    return row->type != TYPE_LIST || option_place(options, row, SIZE_MAX, name, error);
}

static bool read_environment(struct options *options, const char *const *environment,
                             struct error *error)
{
    for (; environment != NULL && *environment != NULL; environment++) {
        if (strncmp(*environment, VARIABLE_PREFIX, sizeof VARIABLE_PREFIX - 1) != 0)
            continue;
        if (!read_variable(options, *environment, error))
            return false;
    }
    return true;
}

bool options_load(struct options *options, const struct options_input *input, struct error *error)
{
    const char *file = input->file;
    if (file == NULL && !input->no_default_file && access(DEFAULT_FILE, F_OK) == 0)
        file = DEFAULT_FILE;
    return read_texts(options, input->presets, "preset", OPTION_COMMAND, error) &&
           (file == NULL || options_read_file(options, file, error)) &&
           read_environment(options, input->environment, error) &&
           read_texts(options, input->sets, "--set", OPTION_SET, error) &&
           options_check(options, error);
}

bool options_require(const struct options *options, struct error *error, ...)
{
    va_list names;
    va_start(names, error);
    bool given = true;
    for (const char *name; given && (name = va_arg(names, const char *)) != NULL;) {
        const struct option_row *row = option_find(name);
        if (row != NULL &&
            (!row->required || options->sources[row - OPTION_ROWS] != OPTION_DEFAULT))
            continue;
        char variable[OPTION_NAME_SIZE];
        option_variable(name, variable);
        given = error_set(error, ERROR_FATAL,
                          "%s: has no default and must be given: in the file, as %s, or with --set "
                          "%s=VALUE",
                          name, variable, name);
    }
    va_end(names);
    return given;
}

const char *options_property(const struct options *options, const char *name)
{
    size_t size = strlen(name);
    for (size_t k = options->kafka_properties.count; k-- > 0;) {
        const char *item = options->kafka_properties.items[k];
        if (strncmp(item, name, size) == 0 && item[size] == '=')
            return item + size + 1;
    }
    return NULL;
}

bool options_secret(const char *property)
{
    static const char *const WORDS[] = {"password", "secret", "token",
                                        "jaas",     "key",    "oauthbearer.config"};
    char name[128];
    size_t size = strcspn(property, "=");
    if (size >= sizeof name)
        return true;
    snprintf(name, sizeof name, "%.*s", (int)size, property);
    for (size_t k = 0; k < sizeof WORDS / sizeof *WORDS; k++)
        if (strcasestr(name, WORDS[k]) != NULL)
            return true;
    return false;
}

static bool same_variable(const struct option_row *left, const struct option_row *right)
{
    char first[OPTION_NAME_SIZE], second[OPTION_NAME_SIZE];
    option_variable(left->name, first);
    option_variable(right->name, second);
    return strcmp(first, second) == 0;
}

bool options_check_table(struct error *error)
{
    struct options *options = new_defaults(error);
    if (options == NULL)
        return false;
    bool good = options_check(options, error) && options_check_parameters(error);
    char digest[OPTIONS_DIGEST_SIZE];
    options_digest(options, digest);
    if (good && digest[0] == '\0')
        good = error_set(error, ERROR_FATAL, "the digest of the shared options has no room");
    options_free(options);
    for (const struct option_row *row = OPTION_ROWS; good && row->name != NULL; row++)
        for (const struct option_row *other = OPTION_ROWS; good && other < row; other++)
            if (same_variable(row, other))
                good = error_set(error, ERROR_FATAL, "%s and %s share a variable", row->name,
                                 other->name);
    return good;
}

struct contracts_options options_contracts(const struct options *options)
{
    return (struct contracts_options){.framing = options->schemas_framing,
                                      .directory = options->schemas_directory,
                                      .ids = (const char *const *)options->schemas_ids.items,
                                      .id_count = options->schemas_ids.count,
                                      .record_max = options->limits_record,
                                      .dimension_max = options->limits_dimension,
                                      .attributes_max = options->limits_attributes};
}
