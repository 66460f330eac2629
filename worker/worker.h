/* The worker process without its process: what `infopair run` and the demo share.
 *
 * A worker runs sessions. A session connects, reads the ledger, joins the group and loops until it
 * is told to stop or something goes wrong that only a fresh start can mend (lost partitions, a
 * transaction that cannot be repeated); then the next session restores everything from Kafka. */
#ifndef INFOPAIR_WORKER_H
#define INFOPAIR_WORKER_H

#include "metrics.h"
#include "options.h"
#include "reload.h"
#include "schemas/error.h"

#include <stdint.h>

struct worker;

struct worker_flags {
    bool no_wait;          /* fail when no broker answers at the start */
    bool accept_loss;      /* go on although records were deleted before they were read */
    const char *journal;   /* file for every event of the engine; NULL: none. Borrowed. */
    reload_source *reload; /* NULL: options stay as they are */
    void *reload_closure;
};

/* `options` is borrowed and must outlive the worker. Starts the HTTP server. Errors are
 * ERROR_FATAL: configuration, memory, schema files. */
struct worker *worker_new(const struct options *options, const struct worker_flags *flags,
                          struct error *error);
/* Runs until worker_stop (true), or until it cannot go on (false): ERROR_FENCED, ERROR_FATAL, or
 * ERROR_RETRY with no_wait. Blocks; call it from one thread. */
bool worker_run(struct worker *worker, struct error *error);
/* Asks for the end: what was read is committed first. Any thread, and signal handlers. */
void worker_stop(struct worker *worker);
/* Asks for the options to be read again. Any thread, and signal handlers. */
void worker_reload(struct worker *worker);
void worker_free(struct worker *worker);

/* Port of the status server, 0 without one. */
uint16_t worker_port(const struct worker *worker);
/* Lives as long as the worker. */
struct accounting *worker_accounting(struct worker *worker);
/* The worker's figures. Any thread. */
struct metrics *worker_metrics(struct worker *worker);

#endif
