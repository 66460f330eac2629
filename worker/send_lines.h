/* JSON lines of a file, one at a time, in bounded memory. */
#ifndef INFOPAIR_SEND_LINES_H
#define INFOPAIR_SEND_LINES_H

#include "schemas/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct send_lines;

enum send_line {
    LINE_OBJECT, /* *value is the caller's, to be given to json_decref */
    LINE_BAD,    /* the error (ERROR_DATA) begins with file:line; the next line can be read */
    LINE_FAILED, /* the file cannot be read (ERROR_FATAL) */
    LINE_END,
};

/* path: NULL or "-" is standard input. A line of more than line_max bytes is bad. */
struct send_lines *send_lines_open(const char *path, size_t line_max, struct error *error);
void send_lines_close(struct send_lines *lines);

/* The next line that is not blank. */
enum send_line send_lines_next(struct send_lines *lines, json_t **value, struct error *error);

/* Gives each line to `take` (LINE_OBJECT or LINE_BAD, with its error), at most `limit` (below 0:
 * all), until that returns false. *taken: how many. False: take did, the file cannot be read, or
 * the process is interrupted. *end: whether the last line was among them. */
typedef bool send_take(void *closure, enum send_line found, json_t *line, struct error *error);
bool send_lines_each(struct send_lines *lines, int64_t limit, send_take *take, void *closure,
                     int64_t *taken, bool *end, struct error *error);

/* Lines up to and with the last one, blank ones too: the number that an editor shows. */
int64_t send_lines_number(const struct send_lines *lines);
/* Puts file:line of the last line in front of the error. Returns false. */
bool send_lines_blame(const struct send_lines *lines, struct error *error);

#endif
