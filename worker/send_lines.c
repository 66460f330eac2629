#include "send_lines.h"

#include "interrupt.h"
#include "schemas/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct send_lines {
    FILE *file;
    char *name;
    struct buffer line;
    int64_t number;
};

struct send_lines *send_lines_open(const char *path, size_t line_max, struct error *error)
{
    bool standard = path == NULL || strcmp(path, "-") == 0;
    struct send_lines *lines = calloc(1, sizeof *lines);
    if (lines != NULL)
        lines->name = strdup(standard ? "standard input" : path);
    if (lines == NULL || lines->name == NULL) {
        error_set(error, ERROR_FATAL, "out of memory");
        free(lines);
        return NULL;
    }
    lines->line.maximum = line_max;
    lines->file = standard ? stdin : fopen(path, "rb");
    if (lines->file != NULL)
        return lines;
    error_set(error, ERROR_FATAL, "%s: %s", path, strerror(errno));
    send_lines_close(lines);
    return NULL;
}

void send_lines_close(struct send_lines *lines)
{
    if (lines == NULL)
        return;
    if (lines->file != NULL && lines->file != stdin)
        fclose(lines->file);
    buffer_free(&lines->line);
    free(lines->name);
    free(lines);
}

int64_t send_lines_number(const struct send_lines *lines)
{
    return lines->number;
}

bool send_lines_blame(const struct send_lines *lines, struct error *error)
{
    return error_prefix(error, "%s:%" PRId64, lines->name, lines->number);
}

/* Reads up to the end of the line, or of the file; *fits: all of it is in the buffer. False: there
 * was nothing left. */
static bool read_line(struct send_lines *lines, bool *fits)
{
    lines->line.size = 0;
    *fits = true;
    int c = getc_unlocked(lines->file);
    if (c == EOF)
        return false;
    lines->number++;
    for (; c != EOF && c != '\n'; c = getc_unlocked(lines->file)) {
        char byte = (char)c;
        *fits = *fits && buffer_append(&lines->line, &byte, 1);
    }
    return true;
}

static bool is_blank(const struct buffer *line)
{
    for (size_t k = 0; k < line->size; k++)
        if (memchr(" \t\r", line->data[k], 3) == NULL)
            return false;
    return true;
}

enum send_line send_lines_next(struct send_lines *lines, json_t **value, struct error *error)
{
    bool fits;
    *value = NULL;
    do {
        if (!read_line(lines, &fits)) {
            if (ferror(lines->file) == 0)
                return LINE_END;
            error_set(error, ERROR_FATAL, "%s: %s", lines->name, strerror(errno));
            return LINE_FAILED;
        }
    } while (fits && is_blank(&lines->line));
    json_error_t reason = {.text = ""};
    if (!fits)
        error_set(error, ERROR_DATA, "longer than %zu bytes", lines->line.maximum);
    else
        *value = json_loadb(lines->line.data, lines->line.size, JSON_REJECT_DUPLICATES, &reason);
    if (*value != NULL && json_is_object(*value))
        return LINE_OBJECT;
    if (fits && *value == NULL)
        error_set(error, ERROR_DATA, "not JSON: %s (column %d)", reason.text, reason.column);
    else if (fits)
        error_set(error, ERROR_DATA, "not a JSON object");
    json_decref(*value);
    *value = NULL;
    send_lines_blame(lines, error);
    return LINE_BAD;
}

bool send_lines_each(struct send_lines *lines, int64_t limit, send_take *take, void *closure,
                     int64_t *taken, bool *end, struct error *error)
{
    *end = false;
    while (limit < 0 || *taken < limit) {
        json_t *line;
        enum send_line found = send_lines_next(lines, &line, error);
        if (interrupt_seen()) {
            json_decref(line);
            return error_set(error, ERROR_FATAL, "interrupted");
        }
        *end = found == LINE_END;
        if (found == LINE_FAILED || found == LINE_END)
            return found == LINE_END;
        ++*taken;
        bool good = take(closure, found, line, error);
        json_decref(line);
        if (!good)
            return false;
    }
    return true;
}
