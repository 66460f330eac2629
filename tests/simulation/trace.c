#include "trace.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static void put(json_t *event)
{
    json_dumpf(event, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(event);
}

static json_t *text_of(struct span text)
{
    json_t *json = json_stringn(text.data, text.size);
    return json == NULL ? json_null() : json;
}

static json_t *number_of(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

void trace_run(uint64_t seed, const struct engine_options *options)
{
    put(json_pack(
        "{ss, sI, si, sI, sI, sI, sI, sI, sf, sI, sI}", "event", "run", "seed", (json_int_t)seed,
        "partitions", (int)options->completions_partitions, "pool_size",
        (json_int_t)options->pool_size, "pool_min", (json_int_t)options->pool_min, "pool_max",
        (json_int_t)options->pool_max, "pool_age", (json_int_t)options->pool_age, "in_flight",
        (json_int_t)options->budget_in_flight, "per_second", options->budget_per_second, "burst",
        (json_int_t)options->budget_burst, "deadline", (json_int_t)options->labels_deadline));
}

void trace_completion(int32_t partition, int64_t offset, int64_t time,
                      const struct completion *completion, bool broken)
{
    json_t *features = json_array();
    for (size_t k = 0; k < completion->dimension; k++)
        json_array_append_new(features, json_real((double)completion->features[k]));
    put(json_pack("{ss, si, sI, sI, so, so, so, sb}", "event", "completion", "partition",
                  (int)partition, "offset", (json_int_t)offset, "time", (json_int_t)time, "prompt",
                  text_of(completion->prompt_id), "completion", text_of(completion->completion_id),
                  "features", features, "broken", broken));
}

void trace_label(int32_t partition, int64_t offset, int64_t time, const struct label *label,
                 bool broken)
{
    static const char *const OUTCOMES[] = {"left", "right",   "tie",        "both_bad",
                                           "skip", "invalid", "probability"};
    put(json_pack("{ss, si, sI, sI, so, so, ss, so, sb}", "event", "label", "partition",
                  (int)partition, "offset", (json_int_t)offset, "time", (json_int_t)time, "request",
                  text_of(label->request_id), "label_id", text_of(label->label_id), "outcome",
                  OUTCOMES[label->outcome], "probability_left", number_of(label->probability_left),
                  "broken", broken));
}

void trace_number(const char *event, const char *name, int64_t number)
{
    put(json_pack("{ss, sI}", "event", event, name, (json_int_t)number));
}

void trace_text(const char *event, const char *name, const char *text)
{
    put(json_pack("{ss, ss}", "event", event, name, text));
}

/* The value as the contract's JSON; dead letters are told by their headers. */
void trace_effect(struct contracts *contracts, const struct effect *effect, int64_t offset)
{
    static const char *const NAMES[] = {"pairs", "ledger", "dead_letters"};
    json_t *value = json_object();
    if (effect->output == OUTPUT_DEAD_LETTERS) {
        for (size_t k = 0; k < effect->header_count; k++)
            json_object_set_new(value, effect->headers[k].name, text_of(effect->headers[k].value));
    } else {
        struct error error;
        struct buffer text = {.maximum = 1 << 20};
        if (contracts_print_json(contracts,
                                 effect->output == OUTPUT_PAIRS ? CONTRACT_PAIR : CONTRACT_LEDGER,
                                 effect->value, &text, &error)) {
            json_decref(value);
            value = json_loadb(text.data, text.size, 0, NULL);
        }
        buffer_free(&text);
    }
    put(json_pack("{ss, ss, si, sI, so}", "event", "effect", "output", NAMES[effect->output],
                  "partition", (int)effect->partition, "offset", (json_int_t)offset, "value",
                  value));
}

void trace_offsets(const struct batch *batch)
{
    json_t *list = json_array();
    for (size_t k = 0; k < batch->offset_count; k++) {
        const struct batch_offset *offset = &batch->offsets[k];
        json_array_append_new(list,
                              json_pack("[s, i, I, I]",
                                        offset->input == INPUT_LABELS ? "labels" : "completions",
                                        (int)offset->partition, (json_int_t)offset->next,
                                        (json_int_t)offset->low_water));
    }
    put(json_pack("{ss, so}", "event", "offsets", "offsets", list));
}

static json_t *vector(const double *values, size_t count)
{
    json_t *array = json_array();
    for (size_t k = 0; values != NULL && k < count; k++)
        json_array_append_new(array, number_of(values[k]));
    return array;
}

void trace_state(const char *who, struct engine *engine)
{
    const struct engine_stats *stats = engine_stats(engine);
    size_t d = stats->dimension;
    double scale = 1;
    const double *psi = engine_preference(engine, &scale);
    put(json_pack("{ss, ss, sI, sI, sI, sI, sI, sI, sI, sf, so, so, so}", "event", "state", "who",
                  who, "requests", (json_int_t)stats->requests, "open",
                  (json_int_t)stats->requests_open, "counted", (json_int_t)stats->labels_counted,
                  "waiting", (json_int_t)stats->labels_waiting, "held",
                  (json_int_t)stats->completions_held, "pools", (json_int_t)stats->pools_open,
                  "refused", (json_int_t)stats->entries_refused, "lambda", stats->lambda, "psi",
                  vector(psi, d), "policy", vector(engine_policy(engine), d * d), "inverse",
                  vector(engine_inverse(engine), d * d)));
}
