/* An engine on its way through the past: it is given the recorded completions in their partitions,
 * at their offsets and times; time is theirs alone. What it decides is read back at once, as from a
 * ledger.
 *
 * A tick comes after every commit.interval of recorded time, and more seldom while no record comes
 * and the engine decides nothing: up to 64 times that, or a 64th of the time that this has lasted,
 * so that years without a record take some hundred ticks. */
#ifndef INFOPAIR_PASSAGE_H
#define INFOPAIR_PASSAGE_H

#include "past.h"

/* Who looks on, and acts between ticks. Each function may be NULL. */
struct passage_visitor {
    void *closure;
    /* A pair was published: its record. */
    bool (*paired)(void *closure, struct span record, struct error *error);
    /* An entry of the engine's own was read back. */
    bool (*took)(void *closure, const struct entry *entry, struct error *error);
    /* When something is to be given to the engine next; INT64_MAX: nothing. Later than the last
     * time given to `give`. */
    int64_t (*due)(void *closure);
    /* Gives what is due at `now`, before the tick of that time. */
    bool (*give)(void *closure, int64_t now, struct error *error);
    /* True: the way ends here. */
    bool (*enough)(void *closure);
};

struct passage {
    const struct past *past;
    const struct passage_visitor *visitor;
    struct contracts *contracts;
    struct engine *engine;
    int64_t interval, records; /* commit.interval, commit.records */
    int64_t now, step;
    int64_t active;    /* time of the last record or decision */
    int64_t entries;   /* offset of the next entry read back */
    int64_t *next;     /* by partition */
    bool decided;      /* the last tick had effects */
    char refusal[256]; /* why the first completion was refused; "": none was */
};

/* The engine's options for a passage from those of the process; `plan` fields are borrowed from
 * `options`. */
bool passage_options(const struct past *past, const struct options *options,
                     struct engine_options *engine, struct error *error);

/* Makes the engine and gives it the SPACE in force, where there is one. worker: it also knows the
 * ledger up to the range, and holds partition 0 of the labels, and so writes the fits. To be given
 * to passage_fini in any case. */
bool passage_begin(struct passage *passage, const struct past *past, const struct options *options,
                   const struct engine_options *engine, bool worker, struct error *error);
/* An entry that was not decided here. */
bool passage_give_entry(struct passage *passage, struct span record, int32_t partition,
                        int64_t offset, struct error *error);
/* From the first record to the end. */
bool passage_go(struct passage *passage, const struct passage_visitor *visitor,
                struct error *error);
void passage_fini(struct passage *passage);

#endif
