/* infopair replay: a worker's journal, repeated. */
#include "command.h"
#include "journal.h"
#include "memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct command_option OPTIONS[] = {
    {"journal", 0, "FILE", "what `infopair run --journal FILE` has written"}, {0}};

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    const char **file = closure;
    if (name == NULL)
        return error_set(error, ERROR_FATAL, "replay takes no arguments");
    *file = value;
    return true;
}

static const struct command_usage USAGE = {
    .name = "replay",
    .summary =
        "Gives a new engine the events of a journal, in their order, and compares what it decides\n"
        "with what the worker decided, byte for byte. The journal holds the options; the schema "
        "files\nare read from the same folder. Ends with 0 when all is equal, with 1 at the first "
        "difference.",
    .examples = "  infopair run --config infopair.cfg --journal /var/tmp/worker.journal\n"
                "  infopair replay --journal /var/tmp/worker.journal\n",
    .options = OPTIONS,
    .take = take,
    .no_default_file = true,
};

struct replay {
    const struct options *options;
    struct contracts *contracts;
    struct engine *engine; /* of the present session */
    char digest[OPTIONS_DIGEST_SIZE];
    int64_t sessions, events, batches, effects;
};

static bool begin_session(struct replay *replay, const struct journal_frame *frame,
                          struct error *error)
{
    struct memory_plan plan;
    if (!memory_plan(replay->options, &plan, error))
        return false;
    struct engine_options engine = memory_engine_options(replay->options, &plan);
    engine.completions_partitions = frame->partitions[0];
    engine.ledger_partitions = frame->partitions[1];
    engine.writer = replay->options->kafka_instance;
    engine.digest = replay->digest;
    engine_free(replay->engine);
    replay->engine = engine_new(&engine, replay->contracts, error);
    replay->sessions++;
    return replay->engine != NULL;
}

static bool same_batch(struct replay *replay, const struct journal_frame *frame,
                       struct error *error)
{
    const struct batch *batch = engine_close(replay->engine, error);
    if (batch == NULL)
        return error_set(error, ERROR_FATAL,
                         "batch %" PRId64 ": the worker committed one, the replay has none",
                         replay->batches + 1);
    replay->batches++;
    replay->effects += (int64_t)batch->effect_count;
    return identity_equal(batch_digest(batch), frame->digest) ||
           error_set(error, ERROR_FATAL,
                     "batch %" PRId64 " of %zu effects differs from the worker's", replay->batches,
                     batch->effect_count);
}

static bool repeat(struct replay *replay, struct journal *journal, struct error *error)
{
    struct journal_frame frame;
    while (journal_read(journal, &frame, error)) {
        bool done = true;
        if (frame.kind == JOURNAL_END)
            return true;
        if (frame.kind == JOURNAL_SESSION)
            done = begin_session(replay, &frame, error);
        else if (replay->engine == NULL)
            done = error_set(error, ERROR_FATAL, "the journal does not begin with a session");
        else if (frame.kind == JOURNAL_BATCH)
            done = same_batch(replay, &frame, error);
        else
            done = event_apply(replay->engine, replay->contracts, &frame.event, error);
        if (!done)
            return false;
        replay->events += frame.kind == JOURNAL_EVENT;
    }
    return false;
}

static bool replay_file(const char *file, struct error *error)
{
    struct options *options = options_new();
    struct replay replay = {.options = options};
    struct journal *journal = options == NULL ? NULL : journal_open(file, options, error);
    bool done = journal != NULL;
    if (done) {
        const struct contracts_options contracts = options_contracts(options);
        sel_init();
        options_digest(options, replay.digest);
        replay.contracts = contracts_new(&contracts, error);
        done = replay.contracts != NULL && repeat(&replay, journal, error);
    }
    if (done)
        printf("%" PRId64 " sessions, %" PRId64 " events, %" PRId64 " batches of %" PRId64
               " effects: all equal\n",
               replay.sessions, replay.events, replay.batches, replay.effects);
    engine_free(replay.engine);
    contracts_free(replay.contracts);
    journal_free(journal);
    options_free(options);
    return done;
}

int command_replay(int argc, char **argv)
{
    const char *file = NULL;
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, &file, &options);
    if (code != COMMAND_GO_ON)
        return code;
    options_free(options);
    struct error error = {ERROR_NONE, ""};
    if (file == NULL) {
        error_set(&error, ERROR_FATAL, "--journal FILE is required");
        return command_fail("replay", &error, EXIT_USAGE);
    }
    return replay_file(file, &error) ? EXIT_DONE : command_fail("replay", &error, EXIT_FAILED);
}
