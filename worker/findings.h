/* What a look at topics, brokers and offsets found: a line each, and how many break a promise. */
#ifndef INFOPAIR_FINDINGS_H
#define INFOPAIR_FINDINGS_H

#include "schemas/error.h"

#include <stdio.h>

struct findings {
    FILE *out;
    int broken; /* lines that break a promise, and things that could not be looked at */
};

/* "SUBJECT: NOT FIT: ...": a promise would break. */
void findings_break(struct findings *findings, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "SUBJECT: note: ...": worth knowing. */
void findings_note(struct findings *findings, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "SUBJECT: NOT CHECKED: ...": counts as broken, for nobody knows that it is not. */
void findings_unchecked(struct findings *findings, const char *subject, const struct error *error);

#endif
