/* The event log that the judge reads: a JSON object a line. Records stand in it as the bytes that
 * they are in their topic, in hex. */
#ifndef INFOPAIR_SIMULATION_TRACE_H
#define INFOPAIR_SIMULATION_TRACE_H

#include "worker/engine/engine.h"

void trace_run(uint64_t seed, const struct engine_options *options, bool cuts);
/* A record that was put into an input; broken: it cannot be decoded. */
/* How features are grouped: so many blocks, or the first `count` definitions. */
void trace_groups(size_t blocks, const char *const *definitions, size_t count);
void trace_input(enum input input, int32_t partition, int64_t offset, int64_t time,
                 struct span record, bool broken);
void trace_poison(int32_t partition, int64_t offset);
/* What lies below `start` of a completions partition was deleted. */
void trace_cut(int32_t partition, int64_t start);
void trace_number(const char *event, const char *name, int64_t number);
void trace_crash(int worker, const char *boundary);
void trace_begin(int64_t transaction, int worker, int64_t now);
void trace_effect(int64_t transaction, const struct effect *effect, int64_t offset);
void trace_offsets(int64_t transaction, const struct batch *batch);
/* What an engine has arrived at: `when` names the moment, engines of one moment must agree. */
void trace_state(const char *when, int worker, struct engine *engine);

#endif
