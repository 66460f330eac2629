/* What the fit in force says of annotators, for people: JSON and figures. */
#ifndef INFOPAIR_ANNOTATORS_REPORT_H
#define INFOPAIR_ANNOTATORS_REPORT_H

#include <jansson.h>

#include "engine/engine.h"
#include "metrics.h"

/* Annotators that have figures, those with the most labels: series of a page are not for ever more.
 */
enum { ANNOTATORS_SHOWN = 50 };

/* One object for each annotator, those with the most labels first. What rests on no label is null.
 * NULL: out of memory. */
json_t *annotators_json(const struct engine_view *view);
/* {"feature_space", "fit_id", "lapse", "left_bias", "annotators"} as text, the caller's to free. */
char *annotators_text(const struct engine_view *view);
/* The figures of this fit in place of those before. */
void annotators_measure(const struct engine_view *view, struct metrics *metrics);

#endif
