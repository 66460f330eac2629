#include "solo_group.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WRITER_SIZE = 24 };
static const double NOTHING_COMES_BACK = 1e-12; /* a FIT's return rate is above 0 */

/* An entry of the ledger: bytes of group->bytes. */
struct logged {
    size_t at, size;
    size_t writer;
    int64_t offset;
    int64_t visible; /* to others, from then on */
};

struct worker {
    struct engine *engine;
    char writer[WRITER_SIZE];
    size_t read; /* of group->logged */
};

struct solo_group {
    struct solo_group_plan plan;
    struct contracts *contracts;
    struct worker *workers;
    struct buffer bytes;
    struct logged *logged;
    size_t count, capacity;
    int64_t offset; /* of the next entry */
};

static struct worker *owner(struct solo_group *group, int32_t partition)
{
    return &group->workers[(size_t)partition % group->plan.workers];
}

static bool hold(struct solo_group *group, enum input input, int32_t partition, struct error *error)
{
    struct engine *engine = owner(group, partition)->engine;
    return engine_gain(engine, input, partition, 0, 0, 0, "", error) &&
           engine_barrier(engine, input, partition, error);
}

static bool start_worker(struct solo_group *group, size_t number,
                         const struct engine_options *given, int64_t now, struct error *error)
{
    struct worker *worker = &group->workers[number];
    struct engine_options options = *given;
    snprintf(worker->writer, sizeof worker->writer, "solo %zu", number);
    options.completions_partitions = group->plan.partitions;
    options.ledger_partitions = 1;
    options.writer = worker->writer;
    options.digest = "solo";
    worker->engine = engine_new(&options, group->contracts, error);
    return worker->engine != NULL && engine_tick(worker->engine, now, error);
}

static bool start(struct solo_group *group, const struct engine_options *options, int64_t now,
                  struct error *error)
{
    for (size_t k = 0; k < group->plan.workers; k++) {
        if (!start_worker(group, k, options, now, error))
            return false;
    }
    for (int32_t k = 0; k < group->plan.partitions; k++) {
        if (!hold(group, INPUT_COMPLETIONS, k, error))
            return false;
    }
    for (int32_t k = 0; k < group->plan.labels_partitions; k++) {
        if (!hold(group, INPUT_LABELS, k, error))
            return false;
    }
    return true;
}

struct solo_group *solo_group_new(const struct solo_group_plan *plan,
                                  const struct engine_options *options, struct contracts *contracts,
                                  int64_t now, struct error *error)
{
    struct solo_group *group = calloc(1, sizeof *group);
    if (group != NULL)
        group->workers = calloc(plan->workers, sizeof *group->workers);
    if (group == NULL || group->workers == NULL) {
        free(group);
        error_set(error, ERROR_FATAL, "out of memory for a group of workers");
        return NULL;
    }
    group->plan = *plan;
    group->contracts = contracts;
    group->bytes.maximum = SIZE_MAX / 2;
    if (start(group, options, now, error))
        return group;
    solo_group_free(group);
    return NULL;
}

void solo_group_free(struct solo_group *group)
{
    if (group == NULL)
        return;
    for (size_t k = 0; k < group->plan.workers; k++)
        engine_free(group->workers[k].engine);
    free(group->workers);
    free(group->logged);
    buffer_free(&group->bytes);
    free(group);
}

struct engine *solo_group_engine(struct solo_group *group, size_t number)
{
    return group->workers[number].engine;
}

bool solo_group_completion(struct solo_group *group, const struct source *source,
                           const struct completion *completion, struct error *error)
{
    return engine_completion(owner(group, source->partition)->engine, source, completion, error);
}

bool solo_group_label(struct solo_group *group, const struct source *source,
                      const struct label *label, struct error *error)
{
    return engine_label(owner(group, source->partition)->engine, source, label, error);
}

/* ---- the ledger ---- */

/* Keeps an entry that a worker has committed. */
static bool append(struct solo_group *group, size_t writer, struct span value, int64_t now,
                   struct error *error)
{
    if (group->count == group->capacity) {
        size_t capacity = 2 * group->capacity + 64;
        struct logged *grown = realloc(group->logged, capacity * sizeof *grown);
        if (grown == NULL)
            return error_set(error, ERROR_FATAL, "out of memory for a ledger");
        group->logged = grown;
        group->capacity = capacity;
    }
    group->logged[group->count++] = (struct logged){.at = group->bytes.size,
                                                    .size = value.size,
                                                    .writer = writer,
                                                    .offset = group->offset++,
                                                    .visible = now + group->plan.lag};
    return buffer_append(&group->bytes, value.data, value.size) ||
           error_set(error, ERROR_FATAL, "out of memory for a ledger");
}

/* The first FIT of plan.pending_off, where a SPACE has just been read. */
static bool expect_nothing(struct solo_group *group, struct engine *engine,
                           const struct entry *space, struct error *error)
{
    const double lambda = 1;
    size_t size = (size_t)space->space.dimension * sizeof(double);
    double *psi = calloc(1, size);
    if (psi == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for a fit");
    struct entry fit = *space;
    fit.kind = ENTRY_FIT;
    fit.fit = (struct entry_fit){.fit_id = 1,
                                 .feature_space = space->space.feature_space,
                                 .psi = {(const char *)psi, size},
                                 .lambda = {(const char *)&lambda, sizeof lambda},
                                 .return_rate = NOTHING_COMES_BACK};
    bool done = engine_entry(engine, &fit, 0, group->offset, error);
    free(psi);
    return done;
}

/* Gives a worker one entry; *entry lives until the ledger grows. */
static bool give(struct solo_group *group, struct engine *engine, const struct logged *logged,
                 struct entry *entry, struct error *error)
{
    const struct span record = {group->bytes.data + logged->at, logged->size};
    if (!contracts_decode_entry(group->contracts, record, entry, NULL, error) ||
        !engine_entry(engine, entry, 0, logged->offset, error))
        return false;
    return !group->plan.pending_off || entry->kind != ENTRY_SPACE ||
           expect_nothing(group, engine, entry, error);
}

/* What others have committed for long enough. */
static bool read_others(struct solo_group *group, size_t number, int64_t now, struct error *error)
{
    struct worker *worker = &group->workers[number];
    for (; worker->read < group->count; worker->read++) {
        const struct logged *logged = &group->logged[worker->read];
        struct entry entry;
        if (logged->visible > now)
            return true;
        if (logged->writer != number && !give(group, worker->engine, logged, &entry, error))
            return false;
    }
    return true;
}

/* Forgets the ledger once everybody has read all of it. */
static void forget(struct solo_group *group)
{
    for (size_t k = 0; k < group->plan.workers; k++) {
        if (group->workers[k].read < group->count)
            return;
    }
    for (size_t k = 0; k < group->plan.workers; k++)
        group->workers[k].read = 0;
    group->count = group->bytes.size = 0;
}

/* ---- a turn ---- */

struct told {
    solo_group_asked *asked;
    void *context;
    double seconds; /* of a pair */
};

/* A worker reads its own entries from place `from` on, and its pairs are told. */
static bool read_own(struct solo_group *group, size_t number, size_t from, const struct told *told,
                     struct error *error)
{
    for (size_t k = from; k < group->count; k++) {
        struct entry entry;
        if (!give(group, group->workers[number].engine, &group->logged[k], &entry, error) ||
            (entry.kind == ENTRY_SELECTED &&
             !told->asked(told->context, &entry.selected, told->seconds, error)))
            return false;
    }
    return true;
}

static bool commit(struct solo_group *group, size_t number, int64_t now, struct told *told,
                   struct error *error)
{
    struct engine *engine = group->workers[number].engine;
    const struct batch *batch = engine_close(engine, error);
    size_t from = group->count, pairs = 0;
    if (batch == NULL)
        return error->class == ERROR_NONE;
    for (size_t k = 0; k < batch->effect_count; k++) {
        const struct effect *effect = &batch->effects[k];
        pairs += effect->output == OUTPUT_PAIRS;
        if (effect->output == OUTPUT_LEDGER && !append(group, number, effect->value, now, error))
            return false;
    }
    engine_confirm(engine);
    told->seconds /= pairs > 0 ? (double)pairs : 1;
    return read_own(group, number, from, told, error);
}

static bool work(struct solo_group *group, size_t number, int64_t now, const int64_t *ends,
                 struct told *told, struct error *error)
{
    struct engine *engine = group->workers[number].engine;
    if (!read_others(group, number, now, error))
        return false;
    for (int32_t k = 0; k < group->plan.partitions; k++) {
        if (owner(group, k)->engine == engine &&
            !engine_end(engine, INPUT_COMPLETIONS, k, ends[k], error))
            return false;
    }
    int64_t start = clock_thread_ns();
    if (!engine_tick(engine, now, error))
        return false;
    told->seconds = (double)(clock_thread_ns() - start) / 1e9;
    return commit(group, number, now, told, error);
}

bool solo_group_turn(struct solo_group *group, int64_t now, const int64_t *ends,
                     solo_group_asked *asked, void *context, struct error *error)
{
    struct told told = {.asked = asked, .context = context};
    for (size_t k = 0; k < group->plan.workers; k++) {
        if (!work(group, k, now, ends, &told, error))
            return false;
    }
    for (size_t k = 0; k < group->plan.workers; k++) {
        if (!read_others(group, k, now, error))
            return false;
    }
    forget(group);
    return true;
}
