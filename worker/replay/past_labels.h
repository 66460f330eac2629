/* Labels of a file as entries of the ledger: LABELLED each, and SELECTED before it where the line
 * gives a propensity. */
#ifndef INFOPAIR_PAST_LABELS_H
#define INFOPAIR_PAST_LABELS_H

#include "past.h"
#include "worker/send_fields.h"

/* Completions are sealed, and the space is known. Errors are ERROR_DATA and name file and line. */
bool past_read_labels(struct past *past, const struct options *options, const char *path,
                      struct error *error);

#endif
