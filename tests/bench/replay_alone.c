/* Completions given to an engine as they are, without a record to be decoded, a spool or a
 * recorded label: the floor of `infopair replay`.
 *
 *   replay_alone FEATURES.npy POOL RATE NAME=VALUE...
 *
 * Row k is completion k of prompt k / POOL, at k / RATE seconds; a tick comes every
 * commit.interval, and each asked pair is answered left before the next. Prints {"completions": N,
 * "pairs": N, "seconds": of a processor}. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/clock.h"
#include "worker/memory.h"
#include "worker/npy.h"

enum { START_MS = 1000000, ASKED_MAX = 4096 };

struct alone {
    struct engine *engine;
    struct contracts *contracts;
    float *rows;
    size_t count, dimension, pool;
    double rate;
    int64_t interval, now, entries, labels, pairs;
    char asked[ASKED_MAX][ID_TEXT_SIZE];
    size_t asked_count;
};

static bool load(struct alone *alone, const char *path, struct error *error)
{
    struct npy *npy = npy_open(path, 4096, error);
    if (npy == NULL)
        return false;
    alone->count = (size_t)npy_rows(npy);
    alone->dimension = npy_columns(npy);
    alone->rows = calloc(alone->count * alone->dimension + 1, sizeof(float));
    const float *row;
    bool done = alone->rows != NULL;
    for (size_t k = 0; done && k < alone->count; k++) {
        done = npy_next(npy, &row, error);
        if (done)
            memcpy(alone->rows + k * alone->dimension, row, alone->dimension * sizeof(float));
    }
    npy_close(npy);
    return done;
}

static bool answer(struct alone *alone, struct error *error)
{
    for (size_t k = 0; k < alone->asked_count; k++) {
        const struct source source = {
            .input = INPUT_LABELS, .offset = alone->labels++, .timestamp = alone->now};
        const struct label label = {.request_id = span_of(alone->asked[k]),
                                    .outcome = OUTCOME_LEFT,
                                    .probability_left = (double)NAN,
                                    .confidence = 1,
                                    .lead_time = -1};
        if (!engine_label(alone->engine, &source, &label, error))
            return false;
    }
    alone->asked_count = 0;
    return true;
}

static bool tick(struct alone *alone, int64_t now, int64_t next, struct error *error)
{
    alone->now = now;
    if (!answer(alone, error) || !engine_end(alone->engine, INPUT_COMPLETIONS, 0, next, error) ||
        !engine_tick(alone->engine, now, error))
        return false;
    const struct batch *batch = engine_close(alone->engine, error);
    engine_confirm(alone->engine);
    for (size_t k = 0; batch != NULL && k < batch->effect_count; k++) {
        struct entry entry;
        if (batch->effects[k].output != OUTPUT_LEDGER)
            continue;
        if (!contracts_decode_entry(alone->contracts, batch->effects[k].value, &entry, NULL,
                                    error) ||
            !engine_entry(alone->engine, &entry, 0, alone->entries++, error))
            return false;
        if (entry.kind != ENTRY_SELECTED || alone->asked_count == ASKED_MAX)
            continue;
        snprintf(alone->asked[alone->asked_count++], ID_TEXT_SIZE, "%.32s",
                 entry.selected.request_id.data);
        alone->pairs++;
    }
    return batch != NULL || error->class == ERROR_NONE;
}

static bool feed(struct alone *alone, struct error *error)
{
    for (size_t k = 0; k < alone->count; k++) {
        char prompt_id[32], completion_id[32];
        int64_t time = START_MS + (int64_t)((double)k * 1000 / alone->rate);
        while (alone->now + alone->interval < time) {
            if (!tick(alone, alone->now + alone->interval, (int64_t)k, error))
                return false;
        }
        snprintf(prompt_id, sizeof prompt_id, "p-%07zu", k / alone->pool);
        snprintf(completion_id, sizeof completion_id, "c-%zu", k);
        const struct source source = {
            .input = INPUT_COMPLETIONS, .offset = (int64_t)k, .timestamp = time};
        const struct completion completion = {.prompt_id = span_of(prompt_id),
                                              .completion_id = span_of(completion_id),
                                              .feature_space = span_of("default"),
                                              .features = alone->rows + k * alone->dimension,
                                              .dimension = alone->dimension,
                                              COMPLETION_ABSENT};
        if (!engine_completion(alone->engine, &source, &completion, error))
            return false;
    }
    return tick(alone, alone->now + alone->interval, (int64_t)alone->count, error);
}

static bool begin(struct alone *alone, const struct options *options, struct error *error)
{
    struct memory_plan plan;
    const struct contracts_options contracts = options_contracts(options);
    if (!memory_plan(options, &plan, error))
        return false;
    struct engine_options engine = memory_engine_options(options, &plan);
    engine.completions_partitions = engine.ledger_partitions = 1;
    engine.writer = engine.digest = "alone";
    alone->interval = options->commit_interval;
    alone->contracts = contracts_new(&contracts, error);
    if (alone->contracts != NULL)
        alone->engine = engine_new(&engine, alone->contracts, error);
    return alone->engine != NULL && engine_tick(alone->engine, START_MS, error) &&
           engine_gain(alone->engine, INPUT_COMPLETIONS, 0, 0, 0, 0, "", error) &&
           engine_barrier(alone->engine, INPUT_COMPLETIONS, 0, error) &&
           engine_gain(alone->engine, INPUT_LABELS, 0, 0, 0, 0, "", error) &&
           engine_barrier(alone->engine, INPUT_LABELS, 0, error);
}

int main(int argc, char **argv)
{
    struct error error = {ERROR_NONE, ""};
    struct options *options = options_new();
    struct alone *alone = calloc(1, sizeof *alone);
    if (argc < 4 || options == NULL || alone == NULL) {
        fprintf(stderr, "replay_alone: see the head of replay_alone.c\n");
        return 2;
    }
    sel_init();
    alone->pool = strtoul(argv[2], NULL, 10);
    alone->rate = strtod(argv[3], NULL);
    alone->now = START_MS;
    const struct options_input input = {.no_default_file = true,
                                        .sets = (const char *const *)argv + 4};
    bool done = options_load(options, &input, &error) && load(alone, argv[1], &error) &&
                begin(alone, options, &error);
    int64_t started = clock_thread_ns();
    done = done && feed(alone, &error);
    if (done)
        printf("{\"completions\": %" PRId64 ", \"pairs\": %" PRId64 ", \"seconds\": %.4f}\n",
               engine_stats(alone->engine)->completions, alone->pairs,
               (double)(clock_thread_ns() - started) / 1e9);
    else
        fprintf(stderr, "replay_alone: %s\n", error.message);
    engine_free(alone->engine);
    contracts_free(alone->contracts);
    free(alone->rows);
    free(alone);
    options_free(options);
    return done ? 0 : 1;
}
