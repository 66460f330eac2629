/* The options read again while the worker runs: SIGHUP.
 *
 * The same file, environment and command line are read as at the start. Options that are `live` in
 * the table take effect; of the others the log says that they wait for a restart. Where anything is
 * wrong, nothing changes. What reaches the engine goes through an event, so a journal repeats it.
 */
#ifndef INFOPAIR_RELOAD_H
#define INFOPAIR_RELOAD_H

#include "options.h"

#include <stdatomic.h>

/* Of a worker. */
struct reload {
    atomic_bool asked;
    struct options *options; /* in force; NULL: those of the start */
};

/* Loads all options anew; the caller owns them. NULL with the reason. */
typedef struct options *reload_source(void *closure, struct error *error);

/* Makes of freshly loaded options those in force: what is not live is as in `running`. Each change
 * is logged, old -> new. False: it is not valid. */
bool reload_merge(struct options *fresh, const struct options *running, struct error *error);

#endif
