/* The runs of a scene, each in a process of its own, as many at a time as asked. */
#ifndef INFOPAIR_JOBS_H
#define INFOPAIR_JOBS_H

#include "run.h"

struct jobs {
    const struct scene *scene;
    const char *text;   /* scene_text of it */
    size_t processes;   /* at a time */
    const char *record; /* file of runs as JSON lines: those that are in it are not run again, and
                           each that ends is added at once; NULL: none */
    bool quiet;         /* no progress on standard error */
    /* By rule, then seed: scene->rules.count * scene->seeds. */
    struct run *runs;
};

/* All runs. A SIGINT or SIGTERM ends it: false with ERROR_RETRY, and `record` holds what was done.
 */
bool jobs_run(struct jobs *jobs, struct error *error);
void jobs_free(struct jobs *jobs);

#endif
