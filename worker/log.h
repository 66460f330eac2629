/* The log: one line of logfmt an event, to standard error.
 *
 *   time=2026-01-31T12:00:00.123Z level=info module=stream msg="assigned" partition=3
 *
 * Any thread may write. The level and the destination are the process's only mutable globals
 * besides the signal flags. */
#ifndef INFOPAIR_LOG_H
#define INFOPAIR_LOG_H

#include <stdbool.h>
#include <stdio.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above `level` are dropped from now on; info at first. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* Where lines go; standard error at first. NULL switches the log off. The stream stays the
 * caller's and must outlive its use. For tests, and for commands that own the screen. */
void log_set_stream(FILE *stream);

/* Writes one line. The printf format gives the sentence of msg="..."; quotes, backslashes and
 * control characters in it are escaped, and a line is cut at 2 KiB. A format may end with fields of
 * its own behind a tab: "assigned\tpartition=%d offset=%" PRId64 puts what follows the tab after
 * msg as it is. A line equal to the one before (level, module, text) within ten seconds is counted
 * and not written; the count follows as a line of its own before the next one that is written. */
void log_write(enum log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
