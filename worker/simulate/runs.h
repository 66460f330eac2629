/* Runs as JSON lines: what a simulation writes down as it goes, and reads to go on. */
#ifndef INFOPAIR_RUNS_H
#define INFOPAIR_RUNS_H

#include <jansson.h>

#include "run.h"

/* A line, owned by the caller (free). scene: what scene_text says. NULL: out of memory. */
char *runs_line(const char *scene, const struct run *run);
/* Takes a line apart. False: it is none, or of another scene; then *run is empty. */
bool runs_parse(const char *line, const char *scene, struct run *run);

#endif
