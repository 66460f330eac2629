/* Partitions of completions and labels: gained, live behind their barrier, lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "selection.h"

enum { PARTITIONS_MAX = 100000 };

bool engine_partition_known(int32_t number)
{
    return number >= 0 && number < PARTITIONS_MAX;
}

bool engine_partitions(struct engine *engine, int32_t number, struct error *error)
{
    if (number >= 0 && number < engine->partition_count)
        return true;
    if (number < 0 || number >= PARTITIONS_MAX)
        return error_set(error, ERROR_FATAL, "completions partition %d is out of range", number);
    struct partition *grown =
        realloc(engine->partitions, ((size_t)number + 1) * sizeof *engine->partitions);
    if (grown == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for partitions");
    engine->partitions = grown;
    for (int32_t k = engine->partition_count; k <= number; k++)
        grown[k] = (struct partition){.pane = {.from = -1, .closed_offset = INT64_MAX}};
    engine->partition_count = number + 1;
    return true;
}

static bool labels_partitions(struct engine *engine, int32_t number, struct error *error)
{
    if (number >= 0 && number < engine->labels_count)
        return true;
    if (number < 0 || number >= PARTITIONS_MAX)
        return error_set(error, ERROR_FATAL, "labels partition %d is out of range", number);
    struct labels_partition *grown =
        realloc(engine->labels, ((size_t)number + 1) * sizeof *engine->labels);
    if (grown == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for partitions");
    memset(grown + engine->labels_count, 0,
           (size_t)(number + 1 - engine->labels_count) * sizeof *grown);
    engine->labels = grown;
    engine->labels_count = number + 1;
    return true;
}

bool engine_gain(struct engine *engine, enum input input, int32_t number, int64_t committed,
                 int64_t low_water, int64_t time, const char *waiting, struct error *error)
{
    engine_lose(engine, input, number);
    if (input == INPUT_LABELS) {
        if (!labels_partitions(engine, number, error))
            return false;
        engine->labels[number] =
            (struct labels_partition){.held = true, .committed = committed, .next = committed};
        labels_take_over(&engine->labels[number], low_water, waiting);
        return true;
    }
    if (!engine_partitions(engine, number, error))
        return false;
    struct partition *partition = &engine->partitions[number];
    partition->held = true;
    partition->carried = false;
    partition->committed = committed;
    partition->next = low_water;
    partition->record_time = partition->stream_time = time;
    return true;
}

bool engine_barrier(struct engine *engine, enum input input, int32_t number, struct error *error)
{
    if (input == INPUT_LABELS) {
        if (!labels_partitions(engine, number, error))
            return false;
        engine->labels[number].barrier = true;
        return true;
    }
    if (!engine_partitions(engine, number, error))
        return false;
    struct partition *partition = &engine->partitions[number];
    partition->barrier = true;
    partition->met = false;
    if (partition->pane.from < 0) {
        partition->pane.from = partition->next;
        partition->pane.from_time = partition->pane.from_record_time = partition->record_time;
    }
    return spend_restore(engine, number, error) &&
           completions_end(engine, number, partition->next, error);
}

void engine_lose(struct engine *engine, enum input input, int32_t number)
{
    if (input == INPUT_LABELS) {
        if (number >= 0 && number < engine->labels_count) {
            labels_drop(engine, &engine->labels[number]);
            engine->labels[number].held = engine->labels[number].barrier = false;
        }
        return;
    }
    if (number < 0 || number >= engine->partition_count)
        return;
    struct partition *partition = &engine->partitions[number];
    while (partition->pools.first != NULL)
        completions_close_pool(engine, partition->pools.first, POOL_LOST);
    free(partition->pane.sums);
    partition->pane.sums = NULL;
    partition->pane.weight = partition->pane.effective = 0;
    partition->pane.pools = 0;
    partition->pane.closed_offset = INT64_MAX;
    partition->pane.published_at = 0;
    partition->held = partition->barrier = partition->met = partition->at_end = false;
    partition->carried = false;
}

static bool restore_buckets(struct engine *engine, struct error *error)
{
    const struct budget_options options = spend_options(&engine->options);
    budget_init(&engine->budget, &options, engine->options.labels_window,
                engine->options.completions_partitions);
    for (int32_t k = 0; k < engine->partition_count; k++) {
        if (engine->partitions[k].barrier && !spend_restore(engine, k, error))
            return false;
    }
    return true;
}

bool engine_resize(struct engine *engine, int32_t completions_partitions, struct error *error)
{
    if (completions_partitions <= engine->options.completions_partitions)
        return true;
    engine->options.completions_partitions = completions_partitions;
    return restore_buckets(engine, error);
}

bool engine_budget(struct engine *engine, const struct budget_options *options, struct span digest,
                   struct error *error)
{
    if (digest.size >= sizeof engine->digest)
        return error_set(error, ERROR_FATAL, "a digest of %zu bytes is too long", digest.size);
    if (!spend_is_limited(options))
        return error_set(error, ERROR_FATAL, "a budget without any limit in time");
    engine->options.budget_per_second = options->per_second;
    engine->options.budget_burst = options->burst;
    engine->options.budget_in_flight = options->in_flight;
    engine->options.budget_limits = options->limits;
    snprintf(engine->digest_before, sizeof engine->digest_before, "%s", engine->options.digest);
    snprintf(engine->digest, sizeof engine->digest, "%.*s", (int)digest.size, digest.data);
    engine->options.digest = engine->digest;
    for (size_t k = 0; k < engine->pools.ready_count; k++)
        spend_look_at(engine, engine->pools.ready[k]);
    return restore_buckets(engine, error);
}
