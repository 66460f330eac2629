/* A worker's journal, repeated. */
#ifndef INFOPAIR_REPEAT_H
#define INFOPAIR_REPEAT_H

#include "schemas/error.h"

/* Gives a new engine the events of a journal, and compares what it decides with what the worker
 * decided, byte for byte; prints how much was equal. False at the first difference. */
bool repeat_journal(const char *file, struct error *error);

#endif
