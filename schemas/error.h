/* What went wrong, in a form that a loop can branch on and a user can act on.
 *
 * An error has a class and one sentence. Functions that can fail take a `struct error *` as their
 * last parameter and return false (or NULL) after filling it. Nobody but `main` ends the process.
 */
#ifndef INFOPAIR_ERROR_H
#define INFOPAIR_ERROR_H

#include <stdbool.h>

/* What the caller should do about it. */
enum error_class {
    ERROR_NONE,
    ERROR_DATA,   /* one input record is unusable: dead-letter it and go on */
    ERROR_RETRY,  /* nothing is wrong with us: try the same again later */
    ERROR_ABORT,  /* the transaction must be aborted and its effects sent again */
    ERROR_FENCED, /* another worker holds our slot: stop, do not retry */
    ERROR_FATAL,  /* configuration, memory or a broken promise: stop */
};

struct error {
    enum error_class class;
    char message[512]; /* one sentence, names the field and the limit */
};

/* Fills `error` (which may be NULL) from a printf format and returns false, so that a caller can
 * write `return error_set(error, ERROR_DATA, "...")`. */
bool error_set(struct error *error, enum error_class class, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<format>: " in front of the message that `error` already holds. Returns false. */
bool error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
