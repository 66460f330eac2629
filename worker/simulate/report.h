/* The report of a simulation: one HTML file with its plots inside, light and dark, fit for print.
 */
#ifndef INFOPAIR_REPORT_H
#define INFOPAIR_REPORT_H

#include "summary.h"

struct report;

/* Whether a report can be written there later; what stands there stays as it is. */
bool report_can_write(const char *path, struct error *error);

/* NULL: out of memory. */
struct report *report_new(void);
void report_free(struct report *report);
/* Adds a scene; varied: "NAME=VALUE" of --vary, or NULL. All that is needed of the summaries is
 * copied. False: out of memory. */
bool report_add(struct report *report, const struct scene *scene, const char *varied,
                const struct summary *summaries);
bool report_write(const struct report *report, const char *path, struct error *error);

#endif
