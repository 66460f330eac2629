/* Text to value and back, for each type of option. */
#include "nearest.h"
#include "options_table.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "seed is stored as a count");
_Static_assert(sizeof(enum framing) == sizeof(int), "names are stored as int");

struct unit {
    const char *suffix;
    int64_t factor;
};

/* Largest first, as values are printed in the largest unit that divides them. */
static const struct unit DURATIONS[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                        {"s", 1000},     {"ms", 1},      {NULL, 0}};
static const struct unit SIZES[] = {{"TiB", (int64_t)1 << 40},
                                    {"GiB", (int64_t)1 << 30},
                                    {"MiB", 1 << 20},
                                    {"KiB", 1 << 10},
                                    {"B", 1},
                                    {NULL, 0}};

const char *option_expected(const struct option_row *row)
{
    switch (row->type) {
    case TYPE_STRING:
        return "a string in quotes";
    case TYPE_LIST:
        return "a list of strings such as [\"a=1\", \"b=2\"]";
    case TYPE_NAME:
        return "a name in quotes";
    case TYPE_BOOL:
        return "true or false";
    case TYPE_INTEGER:
    case TYPE_COUNT:
        return "a whole number";
    case TYPE_SIZE:
        return "a size such as \"64MiB\" or \"16KiB\", or a number of bytes";
    case TYPE_DURATION:
        return "a duration such as \"250ms\", \"5m\" or \"7d\"";
    case TYPE_NUMBER:
        return row->automatic == NULL                ? "a number"
               : strcmp(row->automatic, "none") == 0 ? "a number or \"none\""
                                                     : "a number or \"auto\"";
    }
    return "a value";
}

static bool expected(const struct option_row *row, const char *text, struct error *error)
{
    return error_set(error, ERROR_FATAL, "expected %s, not '%.80s'", option_expected(row), text);
}

static void format_units(int64_t value, const struct unit *unit, char text[OPTION_BOUND_SIZE])
{
    while (unit->factor > 1 && (value == 0 || value % unit->factor != 0))
        unit++;
    snprintf(text, OPTION_BOUND_SIZE, "%" PRId64 "%s", value / unit->factor, unit->suffix);
}

void option_bound(const struct option_row *row, double bound, char text[OPTION_BOUND_SIZE])
{
    if (row->type == TYPE_DURATION)
        format_units((int64_t)bound, DURATIONS, text);
    else if (row->type == TYPE_SIZE)
        format_units((int64_t)bound, SIZES, text);
    else if (row->type == TYPE_NUMBER)
        snprintf(text, OPTION_BOUND_SIZE, "%g", bound);
    else
        snprintf(text, OPTION_BOUND_SIZE, "%.0f", bound);
}

static bool check_range(const struct option_row *row, double value, const char *given,
                        struct error *error)
{
    char bound[OPTION_BOUND_SIZE];
    option_bound(row, value > row->maximum ? row->maximum : row->minimum, bound);
    if (value > row->maximum)
        return error_set(error, ERROR_FATAL, "must be at most %s, not %.80s", bound, given);
    if (row->above_minimum && value <= row->minimum)
        return error_set(error, ERROR_FATAL, "must be above %s, not %.80s", bound, given);
    if (value < row->minimum)
        return error_set(error, ERROR_FATAL, "must be at least %s, not %.80s", bound, given);
    return true;
}

/* A whole number without sign tricks, followed by *rest. */
static bool read_whole(const char *text, int64_t *value, const char **rest)
{
    if (!isdigit((unsigned char)text[0]) && !(text[0] == '-' && isdigit((unsigned char)text[1])))
        return false;
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    *rest = end;
    return errno == 0;
}

static bool read_units(const char *text, const struct unit *units, int64_t *value)
{
    const char *suffix;
    if (!read_whole(text, value, &suffix))
        return false;
    while (*suffix == ' ')
        suffix++;
    for (const struct unit *unit = units; unit->suffix != NULL; unit++)
        if (strcmp(unit->suffix, suffix) == 0)
            return !__builtin_mul_overflow(*value, unit->factor, value);
    return false;
}

static bool parse_whole(struct options *options, const struct option_row *row, const char *text,
                        struct error *error)
{
    int64_t value;
    const char *rest;
    bool read;
    if (row->type == TYPE_DURATION)
        read = read_units(text, DURATIONS, &value);
    else if (row->type == TYPE_SIZE && read_units(text, SIZES, &value))
        read = true;
    else
        read = read_whole(text, &value, &rest) && *rest == '\0';
    if (!read)
        return expected(row, text, error);
    if (!check_range(row, (double)value, text, error))
        return false;
    if (row->type == TYPE_COUNT || row->type == TYPE_SIZE)
        *(size_t *)option_member(options, row) = (size_t)value;
    else
        *(int64_t *)option_member(options, row) = value;
    return true;
}

static bool parse_number(struct options *options, const struct option_row *row, const char *text,
                         struct error *error)
{
    double *member = option_member(options, row);
    if (row->automatic != NULL && strcmp(text, row->automatic) == 0) {
        *member = row->automatic_nan ? (double)NAN : 0;
        return true;
    }
    /* strtod also reads hexadecimals, "inf" and "nan"; nobody means those. */
    if (text[0] == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0')
        return expected(row, text, error);
    char *end;
    double value = strtod(text, &end);
    if (*end != '\0' || end == text || !isfinite(value))
        return expected(row, text, error);
    if (!check_range(row, value, text, error))
        return false;
    *member = value;
    return true;
}

static bool parse_bool(struct options *options, const struct option_row *row, const char *text,
                       struct error *error)
{
    bool on = strcasecmp(text, "true") == 0;
    if (!on && strcasecmp(text, "false") != 0)
        return expected(row, text, error);
    *(bool *)option_member(options, row) = on;
    return true;
}

static bool parse_name(struct options *options, const struct option_row *row, const char *text,
                       struct error *error)
{
    struct nearest nearest = {0};
    for (int k = 0; row->names[k] != NULL; k++) {
        nearest_offer(&nearest, text, row->names[k]);
        if (strcmp(row->names[k], text) != 0)
            continue;
        memcpy(option_member(options, row), &k, sizeof k);
        return true;
    }
    return error_set(error, ERROR_FATAL, "unknown name '%.80s'; the nearest valid name is '%s'",
                     text, nearest.name);
}

static bool parse_string(struct options *options, const struct option_row *row, const char *text,
                         struct error *error)
{
    if (text[0] == '\0' && row->minimum > 0)
        return error_set(error, ERROR_FATAL, "must not be empty");
    char *copy = strdup(text);
    if (copy == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    char **member = option_member(options, row);
    free(*member);
    *member = copy;
    return true;
}

static void free_item(struct string_list *list, size_t k)
{
    free(list->items[k]);
    if (list->places != NULL)
        free(list->places[k]);
}

void string_list_free(struct string_list *list)
{
    for (size_t k = 0; k < list->count; k++)
        free_item(list, k);
    free(list->items);
    free(list->places);
    *list = (struct string_list){0};
}

bool string_list_append(struct string_list *list, const char *text, size_t size)
{
    char **items = reallocarray(list->items, list->count + 1, sizeof *items);
    if (items == NULL)
        return false;
    list->items = items;
    char **places = reallocarray(list->places, list->count + 1, sizeof *places);
    if (places == NULL)
        return false;
    list->places = places;
    places[list->count] = NULL;
    items[list->count] = strndup(text, size);
    if (items[list->count] == NULL)
        return false;
    list->count++;
    return true;
}

/* Most lists of ours hold "name=value". The value is not shown: it may be a secret. */
static bool check_items(const struct string_list *list, struct error *error)
{
    for (size_t k = 0; k < list->count; k++) {
        const char *equals = strchr(list->items[k], '=');
        if (equals == NULL || equals == list->items[k])
            return error_set(error, ERROR_FATAL,
                             "item %zu of the list is not of the form name=value", k + 1);
    }
    return true;
}

/* Takes over `list`, or frees it. */
static bool replace_list(struct options *options, const struct option_row *row,
                         struct string_list list, struct error *error)
{
    if (!row->plain && !check_items(&list, error)) {
        string_list_free(&list);
        return false;
    }
    struct string_list *member = option_member(options, row);
    string_list_free(member);
    *member = list;
    return true;
}

bool option_assign_list(struct options *options, const struct option_row *row,
                        const char *const *items, size_t count, struct error *error)
{
    struct string_list list = {0};
    for (size_t k = 0; k < count; k++)
        if (!string_list_append(&list, items[k], strlen(items[k]))) {
            string_list_free(&list);
            return error_set(error, ERROR_FATAL, "out of memory");
        }
    return replace_list(options, row, list, error);
}

/* One item in quotes, with \" and \\; *text moves behind it. */
static bool take_quoted(struct string_list *list, const char **text)
{
    const char *from = *text + 1;
    char *item = malloc(strlen(from) + 1);
    if (item == NULL)
        return false;
    size_t size = 0;
    while (*from != '\0' && *from != '"') {
        if (*from == '\\' && (from[1] == '"' || from[1] == '\\'))
            from++;
        item[size++] = *from++;
    }
    bool taken = *from == '"' && string_list_append(list, item, size);
    free(item);
    *text = from + 1;
    return taken;
}

/* ["a", "b"]; blanks anywhere between. */
static bool take_bracketed(struct string_list *list, const char *text)
{
    text += 1 + strspn(text + 1, " \t\n");
    while (*text != ']') {
        if (*text != '"' || !take_quoted(list, &text))
            return false;
        text += strspn(text, " \t\n");
        if (*text == ',')
            text += 1 + strspn(text + 1, " \t\n");
        else if (*text != ']')
            return false;
    }
    return text[1 + strspn(text + 1, " \t\n")] == '\0';
}

static bool take_commas(struct string_list *list, const char *text)
{
    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        if (!string_list_append(list, text, size))
            return false;
        text += size;
        if (*text == ',')
            text++;
    }
    return true;
}

static bool parse_list(struct options *options, const struct option_row *row, const char *text,
                       struct error *error)
{
    struct string_list list = {0};
    bool taken = text[0] == '[' ? take_bracketed(&list, text) : take_commas(&list, text);
    if (!taken) {
        string_list_free(&list);
        return error_set(error, ERROR_FATAL, "expected %s", option_expected(row));
    }
    return replace_list(options, row, list, error);
}

bool option_put_property(struct options *options, const struct option_row *row,
                         const char *property, struct error *error)
{
    struct string_list *list = option_member(options, row);
    size_t name = strcspn(property, "=") + 1;
    char *copy = strdup(property);
    if (copy == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    for (size_t k = 0; k < list->count; k++) {
        if (strncmp(list->items[k], property, name) != 0)
            continue;
        free_item(list, k);
        list->items[k] = copy;
        list->places[k] = NULL;
        return true;
    }
    bool done = string_list_append(list, copy, strlen(copy));
    free(copy);
    return done || error_set(error, ERROR_FATAL, "out of memory");
}

bool option_place(struct options *options, const struct option_row *row, size_t item,
                  const char *place, struct error *error)
{
    struct string_list *list = option_member(options, row);
    for (size_t k = 0; k < list->count; k++) {
        if (list->places[k] != NULL || (item != SIZE_MAX && item != k))
            continue;
        list->places[k] = strdup(place);
        if (list->places[k] == NULL)
            return error_set(error, ERROR_FATAL, "out of memory");
    }
    return true;
}

bool option_parse(struct options *options, const struct option_row *row, const char *text,
                  struct error *error)
{
    switch (row->type) {
    case TYPE_STRING:
        return parse_string(options, row, text, error);
    case TYPE_LIST:
        return parse_list(options, row, text, error);
    case TYPE_NAME:
        return parse_name(options, row, text, error);
    case TYPE_BOOL:
        return parse_bool(options, row, text, error);
    case TYPE_NUMBER:
        return parse_number(options, row, text, error);
    case TYPE_INTEGER:
    case TYPE_COUNT:
    case TYPE_SIZE:
    case TYPE_DURATION:
        return parse_whole(options, row, text, error);
    }
    return error_set(error, ERROR_FATAL, "has no type");
}

void option_clear(struct options *options, const struct option_row *row)
{
    if (row->type == TYPE_LIST) {
        string_list_free(option_member(options, row));
    } else if (row->type == TYPE_STRING) {
        char **member = option_member(options, row);
        free(*member);
        *member = NULL;
    }
}

static void write_quoted(const char *text, FILE *out)
{
    fputc('"', out);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\x%02x", (unsigned)*c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

static void write_list(const struct string_list *list, bool mask, FILE *out)
{
    fputs("[", out);
    for (size_t k = 0; k < list->count; k++) {
        const char *item = list->items[k];
        fputs(k == 0 ? "" : ", ", out);
        if (mask && options_secret(item))
            fprintf(out, "\"%.*s=********\"", (int)strcspn(item, "="), item);
        else
            write_quoted(item, out);
    }
    fputs("]", out);
}

/* The shortest text that reads back as the same number. */
static void write_number(double value, FILE *out)
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fputs(text, out);
}

void option_write(const struct options *options, const struct option_row *row, bool mask, FILE *out)
{
    const void *member = option_member(options, row);
    char text[OPTION_BOUND_SIZE];
    int name;
    switch (row->type) {
    case TYPE_STRING:
        write_quoted(*(char *const *)member, out);
        break;
    case TYPE_LIST:
        write_list(member, mask && row->secret, out);
        break;
    case TYPE_NAME:
        memcpy(&name, member, sizeof name);
        write_quoted(row->names[name], out);
        break;
    case TYPE_BOOL:
        fputs(*(const bool *)member ? "true" : "false", out);
        break;
    case TYPE_INTEGER:
        fprintf(out, "%" PRId64, *(const int64_t *)member);
        break;
    case TYPE_COUNT:
        /* libconfig wants to be told of whole numbers beyond 32 bits. */
        fprintf(out, "%zu%s", *(const size_t *)member,
                *(const size_t *)member > INT32_MAX ? "L" : "");
        break;
    case TYPE_SIZE:
        format_units((int64_t)(*(const size_t *)member), SIZES, text);
        write_quoted(text, out);
        break;
    case TYPE_DURATION:
        format_units(*(const int64_t *)member, DURATIONS, text);
        write_quoted(text, out);
        break;
    case TYPE_NUMBER:
        if (row->automatic != NULL &&
            (row->automatic_nan ? isnan(*(const double *)member) : *(const double *)member == 0))
            write_quoted(row->automatic, out);
        else
            write_number(*(const double *)member, out);
        break;
    }
}
