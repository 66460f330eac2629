#include "ledger_view.h"

#include "command_kafka.h"
#include "memory.h"
#include "topic_read.h"
#include "topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct pass {
    struct ledger_view *view;
    const struct ledger_visitor *visitor;
};

bool ledger_view_init(struct ledger_view *view, const struct options *options, const char *space,
                      struct error *error)
{
    struct memory_plan plan;
    *view = (struct ledger_view){.options = options};
    sel_init();
    if (!memory_plan(options, &plan, error))
        return false;
    view->contracts = command_contracts(options, options->limits_record, error);
    if (view->contracts == NULL)
        return false;
    options_digest(options, view->digest);
    struct engine_options engine = memory_engine_options(options, &plan);
    engine.completions_partitions = (int32_t)options->topics_partitions;
    engine.ledger_partitions = LEDGER_PARTITIONS;
    engine.writer = options->kafka_instance;
    engine.digest = view->digest;
    engine.model_bytes = 0; /* whatever the workers could hold */
    if (space != NULL)
        engine.features_space = space;
    if (!(engine.policy_beta > 0))
        engine.policy_beta = 1;
    if (!(engine.budget_per_second > 0))
        engine.budget_per_second = 1;
    view->engine = engine_new(&engine, view->contracts, error);
    return view->engine != NULL;
}

void ledger_view_fini(struct ledger_view *view)
{
    engine_free(view->engine);
    contracts_free(view->contracts);
    view->engine = NULL;
    view->contracts = NULL;
}

/* Options may have been changed for all workers some day: the newest entry tells what they are. */
static void note_digest(struct ledger_view *view, const struct entry *entry)
{
    if (entry->time < view->newest)
        return;
    view->newest = entry->time;
    if (!options_digest_differs(view->options, entry->digest, view->foreign, sizeof view->foreign))
        view->foreign[0] = '\0';
}

static bool take(void *closure, const rd_kafka_message_t *message, struct error *error)
{
    struct pass *pass = closure;
    struct ledger_view *view = pass->view;
    const struct ledger_visitor *visitor = pass->visitor;
    const struct ledger_place place = {message->partition, message->offset};
    struct entry entry;
    struct error reason;
    if (!contracts_decode_entry(view->contracts, (struct span){message->payload, message->len},
                                &entry, NULL, &reason)) {
        engine_refuse(view->engine, place.partition, place.offset, reason.message);
        return true;
    }
    if (visitor != NULL && visitor->wants != NULL &&
        !visitor->wants(visitor->closure, &entry, place))
        return true;
    note_digest(view, &entry);
    view->entries++;
    return engine_entry(view->engine, &entry, place.partition, place.offset, error) &&
           (visitor == NULL || visitor->took == NULL ||
            visitor->took(visitor->closure, &entry, place, error));
}

bool ledger_view_read(struct ledger_view *view, const char *command, int32_t partitions,
                      const struct ledger_visitor *visitor, struct error *error)
{
    struct pass pass = {view, visitor};
    const struct kafka_place place = {view->options->topics_ledger, 0,
                                      partitions > 0 ? partitions : LEDGER_PARTITIONS};
    if (!topic_read(view->options, &place, take, &pass, error))
        return false;
    int64_t refused = engine_stats(view->engine)->entries_refused;
    if (refused > 0)
        fprintf(stderr,
                "infopair %s: %" PRId64 " entries of the ledger were refused, as by the "
                "workers; the last: %s\n",
                command, refused, engine_refusal(view->engine));
    return true;
}

bool ledger_view_shares(const struct ledger_view *view, struct error *error)
{
    return view->foreign[0] == '\0' ||
           error_set(error, ERROR_FATAL,
                     "the ledger was written under other values of options that its writers must "
                     "share: %s; use the workers' configuration",
                     view->foreign);
}
