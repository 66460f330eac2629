/* The ledger as the workers see it, for commands: its entries go through an engine that holds no
 * partition and so decides nothing. */
#ifndef INFOPAIR_LEDGER_VIEW_H
#define INFOPAIR_LEDGER_VIEW_H

#include "engine/engine.h"
#include "kafka.h"
#include "options.h"

/* An entry where it stands. */
struct ledger_place {
    int32_t partition;
    int64_t offset;
};

struct ledger_view {
    const struct options *options;
    struct contracts *contracts;
    struct engine *engine;
    char digest[OPTIONS_DIGEST_SIZE]; /* of the options */
    int64_t entries;                  /* given to the engine */
    int64_t newest;    /* event time of the newest entry, by which the next is judged: */
    char foreign[512]; /* options in which it differs from ours; "" when in none */
};

/* Whoever looks at entries as they are read. Each may be NULL. */
struct ledger_visitor {
    void *closure;
    /* False: the engine is not given this one. */
    bool (*wants)(void *closure, const struct entry *entry, struct ledger_place place);
    /* The engine has it. False: reading ends, with the error. */
    bool (*took)(void *closure, const struct entry *entry, struct ledger_place place,
                 struct error *error);
};

/* space: the one feature space that may be in force; NULL: as features.space says. Options that
 * have no default and were not given matter to no view. `options` is borrowed. */
bool ledger_view_init(struct ledger_view *view, const struct options *options, const char *space,
                      struct error *error);
void ledger_view_fini(struct ledger_view *view);

/* Reads `partitions` partitions of the ledger (0: all) to their ends. visitor may be NULL. What
 * was refused is told on stderr, under the command's name. */
bool ledger_view_read(struct ledger_view *view, const char *command, int32_t partitions,
                      const struct ledger_visitor *visitor, struct error *error);

/* False, with the names of the options that differ, when the newest entry was written under others:
 * who writes into the ledger must share them. */
bool ledger_view_shares(const struct ledger_view *view, struct error *error);

#endif
