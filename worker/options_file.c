/* The configuration file: libconfig's groups, one for the part of a name before its dot. */
#include "nearest.h"
#include "options_table.h"

#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 1024 };

/* The file that holds the setting. libconfig names an included file as the @include does; it stands
 * beside the file that was opened. */
static void source_path(const config_setting_t *setting, const char *path, char full[PATH_SIZE])
{
    const char *file = config_setting_source_file(setting);
    const char *slash = strrchr(path, '/');
    if (file == NULL || file[0] == '/' || slash == NULL || strcmp(file, path) == 0)
        snprintf(full, PATH_SIZE, "%s", file == NULL ? path : file);
    else
        snprintf(full, PATH_SIZE, "%.*s%s", (int)(slash - path) + 1, path, file);
}

/* Puts "file:line: " before the message. */
static bool fail_at(const config_setting_t *setting, const char *path, struct error *error)
{
    char full[PATH_SIZE];
    source_path(setting, path, full);
    return error_prefix(error, "%s:%u", full, config_setting_source_line(setting));
}

/* Whether the line "... name = 5000000000" holds a whole number that 32 bits do not. */
static bool is_cut(const char *line, const char *name)
{
    const char *from = strstr(line, name);
    if (from == NULL)
        return false;
    from += strlen(name);
    from += strspn(from, " \t");
    if (*from != '=' && *from != ':')
        return false;
    char *end;
    errno = 0;
    long long value = strtoll(from + 1, &end, 0);
    return end != from + 1 && *end != 'L' && (errno != 0 || value > INT32_MAX || value < INT32_MIN);
}

/* libconfig 1.5 cuts whole numbers to 32 bits without a word, so the text itself is looked at. */
static bool check_cut(const struct option_row *row, const char *path,
                      const config_setting_t *setting, struct error *error)
{
    char full[PATH_SIZE];
    source_path(setting, path, full);
    FILE *file = fopen(full, "re");
    if (file == NULL)
        return true;
    char *line = NULL;
    size_t size = 0;
    bool cut = false;
    unsigned wanted = config_setting_source_line(setting);
    for (unsigned k = 1; k <= wanted && getline(&line, &size, file) > 0; k++)
        cut = k == wanted && is_cut(line, config_setting_name(setting));
    free(line);
    fclose(file);
    return !cut || error_set(error, ERROR_FATAL,
                             "%s: a whole number above 2147483647 needs an L behind it, as in "
                             "5000000000L",
                             row->name);
}

static bool wrong_type(const struct option_row *row, struct error *error)
{
    return error_set(error, ERROR_FATAL, "%s: expected %s", row->name, option_expected(row));
}

/* What is checked of an item later than the file is read can still say where it stands. */
static bool place_item(struct options *options, const struct option_row *row, size_t item,
                       const config_setting_t *setting, const char *path, struct error *error)
{
    char full[PATH_SIZE], place[PATH_SIZE + 16];
    source_path(setting, path, full);
    snprintf(place, sizeof place, "%s:%u", full, config_setting_source_line(setting));
    return option_place(options, row, item, place, error);
}

static bool read_list(struct options *options, const struct option_row *row, const char *path,
                      const config_setting_t *setting, struct error *error)
{
    if (!config_setting_is_array(setting) && !config_setting_is_list(setting))
        return wrong_type(row, error);
    size_t count = (size_t)config_setting_length(setting);
    const char **items = calloc(count + 1, sizeof *items);
    if (items == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    bool done = true;
    for (size_t k = 0; done && k < count; k++) {
        items[k] = config_setting_get_string_elem(setting, (int)k);
        done = items[k] != NULL || wrong_type(row, error);
    }
    done = done && (option_assign_list(options, row, items, count, error) ||
                    error_prefix(error, "%s", row->name));
    free(items);
    for (size_t k = 0; done && k < count; k++)
        done =
            place_item(options, row, k, config_setting_get_elem(setting, (unsigned)k), path, error);
    return done;
}

/* The setting's value as the text that --set would have; NULL when its type does not fit. */
static const char *setting_text(const struct option_row *row, const config_setting_t *setting,
                                char number[64])
{
    bool numeric = row->type == TYPE_INTEGER || row->type == TYPE_COUNT || row->type == TYPE_SIZE ||
                   row->type == TYPE_NUMBER;
    bool quoted = row->type == TYPE_STRING || row->type == TYPE_NAME ||
                  row->type == TYPE_DURATION || row->type == TYPE_SIZE || row->automatic != NULL;
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_STRING:
        return quoted ? config_setting_get_string(setting) : NULL;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(number, 64, "%lld", config_setting_get_int64(setting));
        return numeric ? number : NULL;
    case CONFIG_TYPE_FLOAT:
        snprintf(number, 64, "%.17g", config_setting_get_float(setting));
        return row->type == TYPE_NUMBER ? number : NULL;
    case CONFIG_TYPE_BOOL:
        return row->type != TYPE_BOOL ? NULL : config_setting_get_bool(setting) ? "true" : "false";
    default:
        return NULL;
    }
}

static bool read_option(struct options *options, const struct option_row *row, const char *path,
                        const config_setting_t *setting, struct error *error)
{
    if (config_setting_type(setting) == CONFIG_TYPE_INT && !check_cut(row, path, setting, error))
        return false;
    if (row->type == TYPE_LIST) {
        if (!read_list(options, row, path, setting, error))
            return false;
    } else {
        char number[64];
        const char *text = setting_text(row, setting, number);
        if (text == NULL)
            return wrong_type(row, error);
        if (!option_parse(options, row, text, error))
            return error_prefix(error, "%s", row->name);
    }
    option_mark(options, row, OPTION_FILE);
    return true;
}

/* `group` is "" for what stands outside of any group. */
static bool unknown_setting(const char *group, const char *name, struct error *error)
{
    char full[OPTION_NAME_SIZE * 2];
    snprintf(full, sizeof full, "%.60s%s%.60s", group, group[0] == '\0' ? "" : ".", name);
    struct nearest nearest = {0};
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++)
        nearest_offer(&nearest, full, row->name);
    return error_set(error, ERROR_FATAL, "%s: no such option; the nearest valid name is %s", full,
                     nearest.name);
}

static bool read_group(struct options *options, const char *path, const config_setting_t *group,
                       struct error *error)
{
    const char *group_name = config_setting_name(group);
    for (int k = 0; k < config_setting_length(group); k++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)k);
        const char *name = config_setting_name(setting);
        char full[OPTION_NAME_SIZE * 2];
        snprintf(full, sizeof full, "%.60s.%.60s", group_name, name);
        const struct option_row *row = option_find(full);
        bool done = row == NULL ? unknown_setting(group_name, name, error)
                                : read_option(options, row, path, setting, error);
        if (!done)
            return fail_at(setting, path, error);
    }
    return true;
}

static bool known_group(const char *name, struct error *error)
{
    struct nearest nearest = {0};
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        size_t size = option_group(row);
        if (size == 0)
            continue;
        if (size == strlen(name) && strncmp(row->name, name, size) == 0)
            return true;
        char group[OPTION_NAME_SIZE];
        snprintf(group, sizeof group, "%.*s", (int)size, row->name);
        nearest_offer(&nearest, name, group);
        if (nearest.name == group)
            nearest.name = row->name;
    }
    const char *dot = strchr(nearest.name, '.');
    return error_set(error, ERROR_FATAL,
                     "%.60s: no such group of options; the nearest valid name is %.*s", name,
                     (int)(dot - nearest.name), nearest.name);
}

static bool read_top(struct options *options, const char *path, const config_setting_t *setting,
                     struct error *error)
{
    const char *name = config_setting_name(setting);
    const struct option_row *row = option_find(name);
    if (row != NULL)
        return read_option(options, row, path, setting, error) || fail_at(setting, path, error);
    if (config_setting_is_group(setting))
        return known_group(name, error) ? read_group(options, path, setting, error)
                                        : fail_at(setting, path, error);
    if (known_group(name, NULL))
        error_set(error, ERROR_FATAL, "%s: expected a group of options, %s: { ... };", name, name);
    else
        unknown_setting("", name, error);
    return fail_at(setting, path, error);
}

static bool syntax_error(const config_t *config, const char *path, struct error *error)
{
    if (config_error_type(config) == CONFIG_ERR_FILE_IO)
        return error_set(error, ERROR_FATAL, "%s: cannot be read", path);
    const char *file = config_error_file(config);
    return error_set(error, ERROR_FATAL, "%s:%d: %s", file != NULL ? file : path,
                     config_error_line(config), config_error_text(config));
}

bool options_read_file(struct options *options, const char *path, struct error *error)
{
    config_t config;
    config_init(&config);
    /* An @include is found beside the file that names it, wherever the worker was started. */
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    bool done = directory != NULL || error_set(error, ERROR_FATAL, "out of memory");
    if (done) {
        config_set_include_dir(&config, directory);
        done = config_read_file(&config, path) == CONFIG_TRUE || syntax_error(&config, path, error);
    }
    const config_setting_t *root = done ? config_root_setting(&config) : NULL;
    for (int k = 0; done && k < config_setting_length(root); k++)
        done = read_top(options, path, config_setting_get_elem(root, (unsigned)k), error);
    free(directory);
    config_destroy(&config);
    return done;
}
