/* Figures of the worker in Prometheus' text format 0.0.4.
 *
 * One table of rows (metrics.c) fixes name, type, help and labels; a series is a row plus label
 * values. The worker's thread sets values, the HTTP thread renders them, under one mutex. */
#ifndef INFOPAIR_METRICS_H
#define INFOPAIR_METRICS_H

#include "schemas/bytes.h"

#include <stdbool.h>
#include <stddef.h>

/* One row of the table each, in its order. Labels in parentheses. */
enum metric {
    METRIC_BUILD_INFO,            /* (version) */
    METRIC_READY,                 /* gauge, 0 or 1 */
    METRIC_RESTORE_PROGRESS,      /* gauge, 0 to 1 */
    METRIC_COMPLETIONS,           /* entered a pool */
    METRIC_COMPLETIONS_REREAD,    /* read again to fill pools after a start */
    METRIC_COMPLETIONS_DUPLICATE, /* known id, dropped */
    METRIC_COMPLETIONS_NEAR,      /* near-duplicates in a pool */
    METRIC_COMPLETIONS_UNPAIRED,  /* dropped by pool.max */
    METRIC_COMPLETIONS_HELD,      /* gauge */
    METRIC_PROMPTS_SPLIT,
    METRIC_TEXTS_CUT,
    METRIC_CLOCK_AHEAD,
    METRIC_POOLS_OPEN,   /* gauge */
    METRIC_POOLS_READY,  /* gauge */
    METRIC_POOLS_CLOSED, /* (reason) age, picks, memory, space, lost */
    METRIC_SAMPLING_TEMPERED,
    METRIC_PAIRS, /* (arm) selected, control, probe */
    METRIC_PAIRS_TOO_LARGE,
    METRIC_REQUESTS_IN_FLIGHT, /* gauge */
    METRIC_REQUESTS_EXPIRED,
    METRIC_REQUESTS_ASKED_AGAIN,
    METRIC_REQUESTS_REPLICAS,
    METRIC_LABELS_IGNORED,
    METRIC_LABELS_REPEATED,
    METRIC_BUDGET_LEVEL, /* gauge */
    METRIC_LABELS,       /* (outcome) */
    METRIC_LABELS_DUPLICATE,
    METRIC_LABELS_CARRIED,
    METRIC_LABELS_WAITING,       /* gauge */
    METRIC_ABORTED_OR_UNKNOWN,   /* labels of requests that never committed */
    METRIC_DEAD_LETTERS,         /* (stage) */
    METRIC_LEDGER_ENTRIES,       /* (kind), written */
    METRIC_LEDGER_FOREIGN,       /* with another digest of options */
    METRIC_LEDGER_REFUSED,       /* contradict themselves */
    METRIC_LEDGER_BEHIND,        /* gauge, records */
    METRIC_LEDGER_AGE,           /* histogram, of other workers' entries */
    METRIC_LEDGER_WHOLE_SECONDS, /* gauge, age of the oldest entry that must still be there */
    METRIC_LEDGER_HELD_SECONDS,  /* gauge, how long an open transaction holds readers back */
    METRIC_RECORDS_LOST,         /* (topic), deleted before they were read */
    METRIC_POOLS_INCOMPLETE,     /* records of open pools that were deleted before a restart */
    METRIC_LAG,                  /* gauge, (topic, partition) */
    METRIC_COMMITS,
    METRIC_COMMIT_SECONDS, /* histogram */
    METRIC_ABORTS,
    METRIC_FIT_ID,            /* gauge */
    METRIC_FIT_LABELS,        /* gauge */
    METRIC_LAMBDA,            /* gauge, (group) */
    METRIC_INFORMATION_PAIRS, /* gauge, labelled and pending pairs in Sigma */
    METRIC_POLICY_POOLS,      /* gauge, pools behind I */
    METRIC_POLICY_TRACE,      /* gauge, tr(I inverse(Sigma)) */
    METRIC_GAP_ESTIMATE,      /* gauge, policy trace / (2 beta) */
    METRIC_LABEL_LOSS,        /* gauge */
    METRIC_LABEL_SURPRISE,    /* gauge */
    METRIC_LAPSE_RATE,        /* gauge */
    METRIC_RETURN_RATE,       /* gauge */
    METRIC_LEFT_BIAS,         /* gauge */
    /* Of those with the most labels, gauges, (annotator). */
    METRIC_ANNOTATOR_LAPSE,
    METRIC_ANNOTATOR_LABELS,
    METRIC_ANNOTATOR_LEFT_BIAS,
    METRIC_ANNOTATOR_AGREEMENT,
    METRIC_MEMORY,       /* gauge, (part) */
    METRIC_MEMORY_LIMIT, /* gauge */
    /* Gauges: the pools behind I as so many of equal weight; effective completions of one. */
    METRIC_POLICY_POOLS_EFFECTIVE,
    METRIC_POLICY_COMPLETIONS_EFFECTIVE,
    /* Of the newest certificate, gauges; NaN before the first. */
    METRIC_CERTIFICATE_EFFICIENCY,
    METRIC_CERTIFICATE_EFFICIENCY_LEAST,
    METRIC_CERTIFICATE_LABELS,
    METRIC_CERTIFICATE_TIMESTAMP,
    /* Of the newest account, gauges; NaN where the control arm does not support it. */
    METRIC_LABELS_SAVED,         /* (bound) */
    METRIC_LABELS_FACTOR,        /* NaN before the first */
    METRIC_GAP_BRACKET,          /* (bound) */
    METRIC_ACCOUNTING_SUPPORTED, /* 1 or 0 */
    METRICS
};

struct metrics;

/* An empty registry: rows without labels start at 0, others show once they are set. NULL when
 * memory runs out. */
struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);

/* Any thread. `first` and `second` are the values of the row's labels (NULL where it has none),
 * copied. A value of a series that cannot be stored because memory ran out is dropped. */
void metrics_set(struct metrics *metrics, enum metric metric, const char *first, const char *second,
                 double value);
void metrics_add(struct metrics *metrics, enum metric metric, const char *first, const char *second,
                 double value);
/* One observation, in seconds, of a histogram without labels. */
void metrics_observe(struct metrics *metrics, enum metric metric, double value);
/* Takes one series away, for instance the lag of a partition that was lost. */
void metrics_remove(struct metrics *metrics, enum metric metric, const char *first,
                    const char *second);
/* Takes all series of a row with labels away. */
void metrics_clear(struct metrics *metrics, enum metric metric);
/* The value of a series; NaN when it does not exist. For tests and the demo's screen. */
double metrics_get(struct metrics *metrics, enum metric metric, const char *first,
                   const char *second);

/* Appends the page to `out`. False when it would pass out's maximum. */
bool metrics_render(struct metrics *metrics, struct buffer *out);

#endif
