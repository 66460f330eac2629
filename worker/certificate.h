/* The certificate of the pairs asked so far: taken from the engine at intervals and when somebody
 * asks for it, solved on a thread of its own, published for GET /certificate and /metrics. */
#ifndef INFOPAIR_CERTIFICATE_H
#define INFOPAIR_CERTIFICATE_H

#include "engine/engine.h"
#include "metrics.h"
#include "options.h"
#include "schemas/error.h"

struct certificate;

/* Starts the thread. bytes: what a certificate may take (memory_plan). `options` and `metrics` are
 * borrowed and must outlive it. NULL: ERROR_FATAL. */
struct certificate *certificate_new(const struct options *options, size_t bytes,
                                    struct metrics *metrics, struct error *error);
/* Ends the thread: a solve under way stops at its next step. NULL is allowed. */
void certificate_free(struct certificate *certificate);

/* As background_set_interval, background_tick, background_answer and background_settle. */
void certificate_set_interval(struct certificate *certificate, int64_t interval);
void certificate_tick(struct certificate *certificate, const struct engine *engine);
int certificate_answer(struct certificate *certificate, char **body);
void certificate_settle(struct certificate *certificate);

#endif
