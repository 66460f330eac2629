/* What the topics tell of one request: what was known when it was asked, what it covered, what its
 * label changed, what was asked beside it.
 *
 * The state of the pick is replayed through the engine: the entries that stood before SELECTED, by
 *   FIT                        the fit_id that SELECTED names, and those below
 *   SELECTED                   an earlier time, or the same time and a smaller slot
 *   LABELLED, WITHDRAWN        an earlier time: those of the same tick come after its picks
 *   others                     no later time: they come before the picks of a tick
 * With one worker this is the state of the pick. Of several, what one had written and another not
 * yet read counts here too; the variance that the pair said tells how far that goes. */
#ifndef INFOPAIR_EXPLAIN_H
#define INFOPAIR_EXPLAIN_H

#include "ledger_view.h"

#include <jansson.h>

/* The explanation as JSON, which the caller releases; NULL with the reason. pairs: partitions of
 * that topic. */
json_t *explain_request(const struct options *options, const char *command, int32_t pairs,
                        struct id request, struct error *error);
/* The same as text for people, on stdout. */
bool explain_print(const json_t *explanation, struct error *error);

/* A JSON string, "" for what is no UTF-8. */
json_t *explain_text(struct span text);

/* ---- explain_numbers.c ---- */

/* What x covered: variance, policy, trace, eigen and nearest of a refreshed engine. `said` is the
 * pair's own variance, NaN: not known. NULL: out of memory, or LAPACK gave up. */
json_t *explain_directions(const struct engine *engine, const float *x, double said,
                           struct error *error);
double explain_margin(const double *psi, const float *x, size_t dimension);
/* How far tr(I inverse(Sigma)) falls by a label of this weight; NaN before there is an I. */
double explain_drop(const json_t *directions, double weight);

#endif
