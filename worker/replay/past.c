#include "past.h"

#include "worker/engine/requests.h"

#include <inttypes.h>

#include "passage.h"

bool past_begin(struct past *past, struct error *error)
{
    past->space.maximum = SIZE_MAX / 2;
    past->completions = spool_new(error);
    if (past->completions != NULL)
        past->ledger = spool_new(error);
    return past->ledger != NULL;
}

void past_fini(struct past *past)
{
    spool_free(past->completions);
    spool_free(past->ledger);
    buffer_free(&past->space);
    *past = (struct past){0};
}

/* 2000-01-01 and 2100-01-01 */
static const int64_t TIME_LEAST = INT64_C(946684800000), TIME_MOST = INT64_C(4102444800000);

static bool is_time(int64_t time)
{
    return time >= TIME_LEAST && time < TIME_MOST;
}

bool past_check_time(const char *field, int64_t time, struct error *error)
{
    if (is_time(time))
        return true;
    const char *unit = time > 0 && time < TIME_MOST / 1000 && is_time(time * 1000) ? "seconds"
                       : is_time(time / 1000)                                      ? "microseconds"
                       : is_time(time / 1000000)                                   ? "nanoseconds"
                                                                                   : NULL;
    return error_set(error, ERROR_DATA,
                     "%s: %" PRId64 " is not within %" PRId64 " to %" PRId64
                     ", the years 2000 to 2099 in milliseconds since 1970%s%s",
                     field, time, TIME_LEAST, TIME_MOST - 1,
                     unit == NULL ? "" : "; it seems to be in ", unit == NULL ? "" : unit);
}

bool past_seal_completions(struct past *past, struct error *error)
{
    size_t count = spool_count(past->completions);
    if (count == 0)
        return error_set(error, ERROR_DATA, "%s holds no completions of that range", past->name);
    if (!spool_seal(past->completions, error))
        return false;
    past->start = spool_at(past->completions, 0).time;
    past->end = spool_at(past->completions, count - 1).time;
    if (past->start <= 0)
        return error_set(error, ERROR_DATA, "%s: a completion has no time (%" PRId64 ")",
                         past->name, past->start);
    return past->end <= REQUEST_DEADLINE_MAX / 2 ||
           error_set(error, ERROR_DATA,
                     "%s: a completion is dated %" PRId64 ", later than %" PRId64 " ms since 1970",
                     past->name, past->end, REQUEST_DEADLINE_MAX / 2);
}

bool past_add_entry(struct past *past, const struct entry *entry, const struct spool_record *record,
                    struct error *error)
{
    bool asks = entry->kind == ENTRY_SELECTED, answers = entry->kind == ENTRY_LABELLED;
    /* No engine takes what is dated beyond these. */
    if (entry->time >= past->to || entry->time < 0 || entry->time > REQUEST_DEADLINE_MAX / 2)
        return true;
    past->moments = past->moments || entry->kind == ENTRY_MOMENTS;
    if (entry->time >= past->from) {
        past->requests += asks;
        past->labelled += answers;
        if ((asks || answers) && entry->time > past->end)
            past->end = entry->time;
    }
    /* A tick asks after all else, slot by slot; no label comes before its request. */
    struct spool_record ordered = *record;
    ordered.order = answers ? INT64_MAX : asks ? entry->selected.slot + 1 : 0;
    return spool_add(past->ledger, &ordered, error);
}

bool past_seal_ledger(struct past *past, struct error *error)
{
    return spool_seal(past->ledger, error);
}

/* ---- SPACE ---- */

bool past_keep_space(struct past *past, struct contracts *contracts, const struct entry *entry,
                     struct error *error)
{
    struct entry first = *entry;
    if (first.time > past->start)
        first.time = past->start;
    past->space.size = 0;
    return contracts_encode_entry(contracts, &first, &past->space, error);
}

struct search {
    struct past *past;
    struct contracts *contracts;
    bool found;
};

static bool took(void *closure, const struct entry *entry, struct error *error)
{
    struct search *search = closure;
    if (entry->kind != ENTRY_SPACE || search->found)
        return true;
    search->found = true;
    return past_keep_space(search->past, search->contracts, entry, error);
}

static bool enough(void *closure)
{
    return ((const struct search *)closure)->found;
}

bool past_estimate_space(struct past *past, const struct options *options, struct error *error)
{
    struct engine_options engine;
    struct passage passage = {0};
    struct search search = {.past = past};
    const struct passage_visitor visitor = {.closure = &search, .took = took, .enough = enough};
    bool done = passage_options(past, options, &engine, error);
    engine.observes = true;
    done = done && passage_begin(&passage, past, options, &engine, false, error);
    search.contracts = passage.contracts;
    done = done && passage_go(&passage, &visitor, error);
    if (done && !search.found) {
        char obstacle[256] = "";
        engine_obstacle(passage.engine, obstacle, sizeof obstacle);
        done = error_set(
            error, ERROR_DATA,
            "%s: %s; fewer will do with features.scale_pools, none with "
            "features.scale, and pool.size and pool.wait say when a pool is "
            "ready%s%.200s",
            past->name, obstacle,
            passage.refusal[0] == '\0' ? "" : "; a completion was refused: ", passage.refusal);
    }
    passage_fini(&passage);
    return done;
}
