/* A figure that takes long: taken from the engine at intervals and when somebody asks for it,
 * computed on a thread of its own, told as JSON. What it is, its owner says by `kind`. */
#ifndef INFOPAIR_BACKGROUND_H
#define INFOPAIR_BACKGROUND_H

#include "engine/engine.h"
#include "schemas/error.h"

#include <jansson.h>
#include <stdatomic.h>

/* Snapshots and outcomes are structs of these sizes, moved by memcpy; all zero is an empty one. */
struct background_kind {
    const char *name; /* in errors */
    size_t snapshot_size, outcome_size;
    /* Copies what is needed, on the engine's thread. False: ERROR_RETRY, after the next tick;
     * ERROR_DATA, why there can be none. */
    bool (*take)(void *context, const struct engine *engine, void *snapshot, struct error *error);
    /* On the thread. *stop ends it with ERROR_RETRY. */
    bool (*solve)(void *context, void *snapshot, const atomic_bool *stop, void *outcome,
                  struct error *error);
    void (*drop)(void *snapshot);
    void (*discard)(void *outcome);
    json_t *(*tell)(const void *outcome); /* NULL: out of memory */
};

struct background;

/* Starts the thread. interval: milliseconds, 0: only when asked for. NULL: ERROR_FATAL. */
struct background *background_new(const struct background_kind *kind, void *context,
                                  int64_t interval, struct error *error);
/* Ends the thread: what is under way stops at its next step. NULL is allowed. */
void background_free(struct background *background);

/* From the next tick on, on the engine's thread. */
void background_set_interval(struct background *background, int64_t interval);
/* Hands a snapshot to the thread when one is due and the last one is done. Call it right after a
 * tick, on the engine's thread; it begins at most once a second. */
void background_tick(struct background *background, const struct engine *engine);

/* Asks for a new one unless one is under way, and writes what is known now as JSON. Returns 200
 * with the newest, or 202 with the reason why there is none. 0: out of memory. Any thread; *body is
 * the caller's to free. */
int background_answer(struct background *background, char **body);

/* Asks for one and waits until a try that begins from now on has ended, at most `timeout`
 * milliseconds. Then gives the newest outcome to `look`; false: there is none. Any thread but the
 * engine's, which must go on with its ticks. */
bool background_wait(struct background *background, int64_t timeout,
                     void (*look)(void *context, const void *outcome), void *context);

/* Waits until no try is under way. For tests that tick themselves. */
void background_settle(struct background *background);

#endif
