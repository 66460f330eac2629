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

/* Hands a snapshot to the thread when one is due and the last one is done. Call it right after a
 * tick, on the engine's thread; it begins at most once a second. */
/* How often one is computed from now on, in milliseconds; 0: when asked for. One thread: that of
 * certificate_tick. */
void certificate_set_interval(struct certificate *certificate, int64_t interval);
void certificate_tick(struct certificate *certificate, const struct engine *engine);

/* Asks for a new one unless one is under way, and writes what is known now as JSON. Returns 200
 * with the newest certificate, or 202 with the reason why there is none. 0: out of memory. Any
 * thread; *body is the caller's to free. */
int certificate_answer(struct certificate *certificate, char **body);

#endif
