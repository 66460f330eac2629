/* How many labels are saved (account.h): taken from the engine at intervals and when somebody asks
 * for it, computed on a thread of its own, published for GET /accounting and /metrics. */
#ifndef INFOPAIR_ACCOUNTING_H
#define INFOPAIR_ACCOUNTING_H

#include "account.h"
#include "metrics.h"
#include "options.h"

/* An account and what it was computed from. */
struct accounting_report {
    struct account account;
    int64_t time, labels, control, fit_id; /* labels: of the selected arm; control: of the other */
    int64_t slots, since;
    size_t shadows, pools, predicted;
    double loss, surprise, seconds;
    const char *rivals[RIVALS]; /* names of their rules; NULL: there are none */
    size_t rival_pairs[RIVALS];
    char *space;
};

struct accounting;

/* Starts the thread. bytes: what accounting may take (memory_plan). `metrics` is borrowed and must
 * outlive it. NULL: ERROR_FATAL. */
struct accounting *accounting_new(const struct options *options, size_t bytes,
                                  struct metrics *metrics, struct error *error);
/* Ends the thread: what is under way stops at its next draw. NULL is allowed. */
void accounting_free(struct accounting *accounting);

/* As background_tick, background_answer and background_settle. */
void accounting_tick(struct accounting *accounting, const struct engine *engine);
int accounting_answer(struct accounting *accounting, char **body);
void accounting_settle(struct accounting *accounting);
/* Waits at most `timeout` milliseconds for a report that begins from now on; copies the newest,
 * whose `space` is NULL. False: there is none. Any thread but the engine's. */
bool accounting_wait(struct accounting *accounting, int64_t timeout,
                     struct accounting_report *report);

#endif
