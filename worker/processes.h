/* Jobs, each in a process of its own, as many at a time as asked. What a job says on its pipe is
 * all that is known of it. */
#ifndef INFOPAIR_PROCESSES_H
#define INFOPAIR_PROCESSES_H

#include "schemas/bytes.h"
#include "schemas/error.h"

#include <stddef.h>

struct processes {
    size_t total;     /* jobs 0 to total - 1, begun in this order */
    size_t at_a_time; /* at least 1 */
    size_t said_max;  /* bytes that one job may say */
    void *closure;
    /* Before a job is begun, in this process. NULL: nothing to do. */
    bool (*prepare)(void *closure, size_t job, struct error *error);
    /* The job, in a process of its own that ends with it; it says what it found by
     * processes_say. */
    void (*work)(void *closure, size_t job, int out);
    /* A job has ended: what it said, closed by a NUL that `said` counts, and its wait status. */
    bool (*finish)(void *closure, size_t job, const struct buffer *said, int status,
                   struct error *error);
    /* Called a few times a second; false ends it all. NULL: nothing to do. */
    bool (*look)(void *closure, struct error *error);
};

/* All jobs. False at the first function that returns false: the processes under way are killed. */
bool processes_run(const struct processes *processes, struct error *error);
/* For a job: writes it all, or ends the process. */
void processes_say(int out, const void *data, size_t size);

#endif
