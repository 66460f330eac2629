#include "repeat.h"

#include <inttypes.h>
#include <stdio.h>

#include "worker/journal.h"
#include "worker/memory.h"

struct repeat {
    const struct options *options;
    struct contracts *contracts;
    struct engine *engine; /* of the present session */
    char digest[OPTIONS_DIGEST_SIZE];
    int64_t sessions, events, batches, effects;
};

static bool begin_session(struct repeat *again, const struct journal_frame *frame,
                          struct error *error)
{
    struct memory_plan plan;
    if (!memory_plan(again->options, &plan, error))
        return false;
    struct engine_options engine = memory_engine_options(again->options, &plan);
    engine.completions_partitions = frame->partitions[0];
    engine.ledger_partitions = frame->partitions[1];
    engine.writer = again->options->kafka_instance;
    engine.digest = again->digest;
    engine_free(again->engine);
    again->engine = engine_new(&engine, again->contracts, error);
    again->sessions++;
    return again->engine != NULL;
}

static bool same_batch(struct repeat *again, const struct journal_frame *frame, struct error *error)
{
    const struct batch *batch = engine_close(again->engine, error);
    if (batch == NULL)
        return error_set(error, ERROR_FATAL,
                         "batch %" PRId64 ": the worker committed one, the replay has none",
                         again->batches + 1);
    again->batches++;
    again->effects += (int64_t)batch->effect_count;
    return identity_equal(batch_digest(batch), frame->digest) ||
           error_set(error, ERROR_FATAL,
                     "batch %" PRId64 " of %zu effects differs from the worker's", again->batches,
                     batch->effect_count);
}

static bool follow(struct repeat *again, struct journal *journal, struct error *error)
{
    struct journal_frame frame;
    while (journal_read(journal, &frame, error)) {
        bool done = true;
        if (frame.kind == JOURNAL_END)
            return true;
        if (frame.kind == JOURNAL_SESSION)
            done = begin_session(again, &frame, error);
        else if (again->engine == NULL)
            done = error_set(error, ERROR_FATAL, "the journal does not begin with a session");
        else if (frame.kind == JOURNAL_BATCH)
            done = same_batch(again, &frame, error);
        else
            done = event_apply(again->engine, again->contracts, &frame.event, error);
        if (!done)
            return false;
        again->events += frame.kind == JOURNAL_EVENT;
    }
    return false;
}

bool repeat_journal(const char *file, struct error *error)
{
    struct options *options = options_new();
    struct repeat again = {.options = options};
    struct journal *journal = options == NULL ? NULL : journal_open(file, options, error);
    bool done = journal != NULL;
    if (done) {
        const struct contracts_options contracts = options_contracts(options);
        sel_init();
        options_digest(options, again.digest);
        again.contracts = contracts_new(&contracts, error);
        done = again.contracts != NULL && follow(&again, journal, error);
    }
    if (done)
        printf("%" PRId64 " sessions, %" PRId64 " events, %" PRId64 " batches of %" PRId64
               " effects: all equal\n",
               again.sessions, again.events, again.batches, again.effects);
    engine_free(again.engine);
    contracts_free(again.contracts);
    journal_free(journal);
    options_free(options);
    return done;
}
