/* The event log of a run: one JSON object a line, for the judge. */
#ifndef INFOPAIR_SIMULATION_TRACE_H
#define INFOPAIR_SIMULATION_TRACE_H

#include "schemas/contracts.h"
#include "worker/engine/engine.h"

void trace_run(uint64_t seed, const struct engine_options *options);
void trace_completion(int32_t partition, int64_t offset, int64_t time,
                      const struct completion *completion, bool broken);
void trace_label(int32_t partition, int64_t offset, int64_t time, const struct label *label,
                 bool broken);
/* `event` with one number, or with a text. */
void trace_number(const char *event, const char *name, int64_t number);
void trace_text(const char *event, const char *name, const char *text);
/* offset: in the ledger; else -1. */
void trace_effect(struct contracts *contracts, const struct effect *effect, int64_t offset);
void trace_offsets(const struct batch *batch);
/* What an engine holds; `who` it belongs to. */
void trace_state(const char *who, struct engine *engine);

#endif
