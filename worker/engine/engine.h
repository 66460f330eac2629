/* The deterministic core: events in, effects out.
 *
 * The engine has no clock, no I/O, no thread and no randomness but a counter-based generator keyed
 * by ids. The same events give the same effects, byte for byte. State is a function of the set of
 * ledger entries (requests, labels, fits, moments) plus, for the partitions of completions it
 * holds, of the records from the low-water on.
 *
 * A shell (worker/session.c, the simulator, the demo, a test) drives it:
 *   engine_tick             first of all: no record is taken before the time is known
 *   engine_entry            for everything read from the ledger, at first up to the barrier
 *   engine_gain             a partition and what was committed for it
 *   engine_barrier          the ledger has been read up to the barrier: the partition may go live
 *   engine_completion/label/reject  for every record from the low-water on
 *   engine_end              the partition has been read up to this offset and nothing follows
 *   engine_ledger_passed    the ledger was read beyond all that was committed when labels arrived
 *   engine_tick             time: readiness, closing, expiry, moments, fits, picks
 *   engine_close            what a transaction must hold; then engine_confirm once it is committed
 *
 * One thread. Event functions return false only for ERROR_FATAL (memory ran out, a broken promise);
 * bad input is an effect. */
#ifndef INFOPAIR_ENGINE_H
#define INFOPAIR_ENGINE_H

#include "batch.h"
#include "budget.h"
#include "schemas/contracts.h"
#include "selectors/selectors.h"

struct feature_groups;

enum policy_sampling { SAMPLING_REFERENCE, SAMPLING_CURRENT, SAMPLING_LOGGED };

/* Which pairs have replicas, what both_bad tells, and what a skip or invalid label leads to: the
 * options `labels.replicate`, `.both_bad` and `.skips`, in the order of their names. */
enum labels_replicate { REPLICATE_ALL, REPLICATE_BEST };
enum labels_both_bad { BOTH_BAD_TIE, BOTH_BAD_IGNORE };
enum labels_skips { SKIPS_EXCLUDE, SKIPS_AGAIN };

/* What a tie says: half an answer for each side, or one of its own. */
enum labels_ties { TIES_HALF, TIES_DAVIDSON };

/* When a pair is asked, how it is drawn by its score, and which pools come first: the options
 * `selection.when`, `.draw` and `.prompts`, in the order of their names. */
enum selection_when { WHEN_SLOTS, WHEN_PRICE, WHEN_POOL };
enum selection_draw { DRAW_BEST, DRAW_SOFTMAX, DRAW_POWER, DRAW_SOFTRANK };
enum selection_prompts { PROMPTS_PAIR, PROMPTS_SPREAD, PROMPTS_ENTROPY, PROMPTS_MAXMINLCB };

/* What becomes of labels when newer policy versions come (versions.h): they stay as they are, weigh
 * labels.gamma^age, or count only while their version is the newest. `labels.versions`. */
enum label_versions { VERSIONS_KEEP, VERSIONS_FORGET, VERSIONS_RESET };

struct selection_options {
    const struct sel_rule *rule;
    double parameters[SEL_PARAMETERS_MAX]; /* of the rule; NaN: its default */
    enum sel_weighting weighting;
    enum selection_when when;
    enum selection_draw draw;
    double sharpness; /* of a draw */
    double epsilon;
    enum selection_prompts prompts;
    double prompt_share; /* of the open pools that are compared */
    size_t shortlist;    /* most of them */
    size_t domain_quota; /* 0: none */
    bool per_cost;
    double price_share, price_rate;
    size_t candidates; /* most pairs of a list */
    size_t list;       /* completions of a list that is asked as a whole */
    int64_t batch;     /* slots that must be open, over all workers; 0: as the rule needs */
};

/* The defaults of the option table, for one rule and its defaults. */
struct selection_options selection_defaults(const struct sel_rule *rule);

/* All times in milliseconds. Names as in the option table. */
struct engine_options {
    const char *topics[INPUTS]; /* names, for label ids and dead letters */
    int32_t completions_partitions;
    int32_t ledger_partitions;
    const char *writer; /* worker slot */
    const char *digest; /* of the shared options */
    size_t features_dimension;
    const char *features_space;
    double features_scale; /* 0: estimated */
    int64_t features_scale_pools;
    const struct feature_groups *features_groups; /* borrowed; NULL: one group */
    size_t limits_record;
    size_t limits_dimension;
    size_t limits_text;
    int64_t limits_clock_ahead;
    size_t pool_size, pool_min, pool_max;
    int64_t pool_wait, pool_age;
    int64_t pool_picks; /* 0: no limit */
    double pool_near;   /* distance of near-duplicates, as a share of the typical one */
    bool pool_drop_near;
    double policy_beta;
    enum policy_sampling policy_sampling;
    int64_t policy_window;
    int64_t moments_interval;
    bool moments_fade;    /* moments of older policy versions weigh less */
    double moments_gamma; /* then: gamma^age */
    enum label_versions labels_versions;
    double labels_gamma; /* of VERSIONS_FORGET */
    int64_t labels_window;
    int64_t labels_max;
    int64_t labels_deadline, labels_late;
    int64_t labels_attempts; /* most requests for one replica; 0: 1 */
    int64_t labels_replicas; /* answers wanted of a pair; 0: 1 */
    enum labels_replicate labels_replicate;
    enum labels_both_bad labels_both_bad;
    enum labels_skips labels_skips;
    int64_t fit_every;
    double fit_lambda;     /* 0: by evidence */
    double fit_lambda_max; /* 0: 2 d / .09 */
    double labels_lapse;   /* NaN: estimated */
    enum labels_ties labels_ties;
    bool labels_by_annotator; /* a rate of each annotator's own, where it is estimated */
    double labels_probes;     /* share of the slots that learn how often annotators err */
    struct selection_options selection;
    double control_share;
    double budget_per_second; /* 0: no rate */
    int64_t budget_burst;
    int64_t budget_in_flight;
    struct budget_limits budget_limits;
    uint64_t seed;
    bool observes;           /* asks nothing: for engine_chance, and for what else the pools tell */
    size_t model_bytes;      /* most that engine_fixed_bytes of a space may be; 0: no limit */
    size_t pools_bytes;      /* memory for open pools; 0: no limit */
    size_t window_bytes;     /* memory for requests and labels; 0: no limit */
    size_t waiting_max;      /* labels that may wait for their pair */
    size_t waiting_bytes;    /* memory for those; 0: no limit */
    size_t accounting_bytes; /* memory of shadows; 0: none */
    const struct sel_rule *accounting_rule; /* a rule of scores that needs nothing; NULL: none */
};

/* A record of an input topic as it came. Spans live through the call only. */
struct source {
    enum input input;
    int32_t partition;
    int64_t offset;
    int64_t timestamp; /* of the record */
    struct span key;
    struct span value;
    struct span traceparent;
    struct span tracestate;
};

enum pool_end { POOL_AGE, POOL_PICKS, POOL_PASSED, POOL_MEMORY, POOL_SPACE, POOL_LOST, POOL_ENDS };

/* Counters and gauges since the engine was made; see the metrics page for their meaning. */
struct engine_stats {
    int64_t completions; /* entered a pool, without re-reading */
    int64_t completions_reread;
    int64_t completions_duplicate;
    int64_t completions_near;    /* near-duplicates of another one of their pool */
    int64_t completions_dropped; /* pool.max */
    int64_t prompts_split;
    int64_t clock_ahead; /* records, and labels that say they were given later than now */
    int64_t texts_cut;
    int64_t pairs_too_large;
    int64_t labels;      /* accepted */
    int64_t outcomes[7]; /* the same by enum label_outcome */
    int64_t labels_duplicate;
    int64_t labels_waiting;
    int64_t labels_carried;  /* to the current space from others */
    int64_t labels_ignored;  /* both_bad without information */
    int64_t labels_repeated; /* refused: their annotator has answered another replica */
    int64_t pairs[3];        /* by arm */
    int64_t asked_again;     /* of those, attempts after the first */
    int64_t replicas;        /* of those, for a replica after the first */
    int64_t dead_letters;
    int64_t dead_letters_unknown; /* aborted-or-unknown */
    int64_t expired;
    int64_t entries[8];      /* by kind, as decided here */
    int64_t foreign_entries; /* with another options digest */
    int64_t others_entries;  /* read, of other writers */
    int64_t others_time;     /* event time of the last of those */
    int64_t entries_refused;
    int64_t pools_open;
    int64_t pools_ready;
    int64_t pools_closed[POOL_ENDS];
    int64_t completions_held;
    int64_t sampling_tempered; /* pools whose effective sample size was below the floor */
    size_t pools_bytes;
    size_t window_bytes;
    int64_t requests;               /* known */
    int64_t requests_open;          /* under way */
    int64_t labels_counted;         /* in Sigma */
    int64_t moments_pools;          /* behind I */
    double moments_pools_effective; /* the same, as many of equal weight */
    double moments_completions;     /* mean effective completions of one */
    int64_t fits;
    int64_t fit_id;
    double lambda; /* of several groups of features: their geometric mean */
    double lapse;
    double left_bias;
    double label_loss;     /* of the last 200 labels as predicted before they came; NaN: too few */
    double label_surprise; /* how far that is above what the fit expects, in deviations; NaN */
    double return_rate;
    double policy_trace; /* tr(I S); NaN before there is an I */
    double gap_estimate; /* policy_trace / (2 beta) */
    size_t dimension;
};

struct engine;

/* `contracts` is borrowed and must outlive the engine. */
struct engine *engine_new(const struct engine_options *options, struct contracts *contracts,
                          struct error *error);
void engine_free(struct engine *engine);

/* A partition was assigned. committed: the stable committed offset (the first offset to read when
 * there is none); low_water, time and waiting: from its metadata (committed, 0 and "" when there is
 * none). Records from
 * low_water (completions) or committed (labels) on must be delivered next. */
bool engine_gain(struct engine *engine, enum input input, int32_t partition, int64_t committed,
                 int64_t low_water, int64_t time, const char *waiting, struct error *error);
/* The ledger's entries up to the barrier have been given: the partition may have effects as soon as
 * its records reach `committed`. */
bool engine_barrier(struct engine *engine, enum input input, int32_t partition,
                    struct error *error);
void engine_lose(struct engine *engine, enum input input, int32_t partition);

bool engine_completion(struct engine *engine, const struct source *source,
                       const struct completion *completion, struct error *error);
bool engine_label(struct engine *engine, const struct source *source, const struct label *label,
                  struct error *error);
/* A record that could not be decoded. stage and reason become headers of its dead letter. */
bool engine_reject(struct engine *engine, const struct source *source, const char *stage,
                   const char *reason, struct error *error);
/* Everything below next_offset was delivered and nothing follows for now. */
bool engine_end(struct engine *engine, enum input input, int32_t partition, int64_t next_offset,
                struct error *error);

/* A committed entry, read at (partition, offset) of the ledger; seeing one twice changes nothing.
 * An entry that contradicts itself is refused and counted. */
bool engine_entry(struct engine *engine, const struct entry *entry, int32_t partition,
                  int64_t offset, struct error *error);
/* Counts an entry that could not be read. */
void engine_refuse(struct engine *engine, int32_t partition, int64_t offset, const char *reason);
/* A number that grows with each label that begins to wait. Shell: read it, then the ledger's high
 * watermarks; when the follower has passed those, call engine_ledger_passed with that number. */
int64_t engine_ticket(const struct engine *engine);
bool engine_ledger_passed(struct engine *engine, int64_t ticket, struct error *error);
/* Share of a labels partition's waiting room that is taken, by labels or by bytes, whichever is
 * more. Shell: pause the partition from a half on; the rest is for what was fetched already. From 1
 * on the next label that has to wait may find no memory, which is fatal. */
double engine_waiting(const struct engine *engine, int32_t partition);

bool engine_tick(struct engine *engine, int64_t now, struct error *error);

/* Closes the open batch; NULL when there is nothing to commit. At most one batch is closed at a
 * time: it must be confirmed before the next close. Events may come in between. */
const struct batch *engine_close(struct engine *engine, struct error *error);
void engine_confirm(struct engine *engine);
/* Bytes and input records in the open batch: the shell closes it before it grows too large. */
size_t engine_batch_bytes(const struct engine *engine);
size_t engine_batch_records(const struct engine *engine);

const struct engine_stats *engine_stats(struct engine *engine);
/* Next offset of a partition; -1 when it is not held. */
int64_t engine_next(const struct engine *engine, enum input input, int32_t partition);
/* Records that are still to be read again before all partitions held are live. */
int64_t engine_reread_left(const struct engine *engine);
/* Labels that the buckets of the live partitions hold now. */
double engine_budget_level(const struct engine *engine);
/* Memory that selection and the model take at a dimension, beside pools and window. */
size_t engine_fixed_bytes(const struct engine_options *options, size_t dimension);
/* Memory of the moments that a partition gathers, and of those of one pane on their way. */
size_t engine_pane_bytes(size_t dimension);
size_t engine_moments_bytes(size_t dimension);
/* Memory that one request and its label take in the window, with ids of usual length. */
size_t engine_request_bytes(size_t dimension);
/* What options that list every label add to that. */
size_t engine_listed_bytes(const struct engine_options *options);
/* Memory that a fit borrows for each request. */
size_t engine_fit_bytes(void);
/* Labelled requests that are kept at most, but for those that an open pool remembers: labels.max,
 * those that a fit has not seen yet, and what is forgotten in bulk. */
int64_t engine_labels_kept(const struct engine_options *options);
/* The partitions of completions are this many from now on: each has its part of the budget. */
bool engine_resize(struct engine *engine, int32_t completions_partitions, struct error *error);
/* The budget is another one from now on, and with it the digest of the shared options. */
bool engine_budget(struct engine *engine, const struct budget_options *options, struct span digest,
                   struct error *error);
/* Digest of what all engines must agree on once they have read the same ledger: requests, labels
 * and what counts of them, the fit, the space, the panes. 32 hex digits and a NUL. */
void engine_digest(const struct engine *engine, char text[33]);
/* The last digest of other options that an entry carried; "" when none did. */
const char *engine_foreign_digest(const struct engine *engine);
/* Why an entry was refused last, with its place; "" when none was. */
const char *engine_refusal(const struct engine *engine);
/* Why no pair can be chosen right now, as one line; false when nothing stands in the way. */
bool engine_obstacle(struct engine *engine, char *text, size_t size);
/* psi in the scale of SPACE (stats.dimension values), or NULL before a space is known; scale of
 * SPACE through *scale. */
const double *engine_preference(struct engine *engine, double *scale);
/* I and S (dimension x dimension), or NULL before there are any. For reports and tests. */
const double *engine_policy(struct engine *engine);
const double *engine_inverse(struct engine *engine);

/* What is in force by the entries so far. Pointers are the engine's, until its next event; those of
 * the space are NULL before there is one. */
struct engine_view {
    const char *space;
    size_t dimension;
    const double *centre; /* phi in use = (features - centre) * scale */
    double scale;
    int64_t fit_id; /* 0: none yet */
    const double *psi;
    double lambda; /* of several groups of features: their geometric mean */
    double lapse, return_rate;
    size_t groups;
    const double *lambdas; /* of each group */
    const uint8_t *group;  /* of each feature */
    double left_bias;
    double tie;                             /* of Davidson's model; 0: none */
    const struct fit_annotator *annotators; /* those with the most labels first */
    size_t annotator_count;
    /* NULL unless engine_refresh has brought them up to date; policy also before there is an I. */
    const double *sigma, *inverse, *policy;
    const double *design; /* inverse of the matrix that the rule picks by: with w = 1 for some */
    int64_t time;         /* largest event time seen */
};
struct engine_view engine_view(const struct engine *engine);
/* The name of a group of features, below view.groups. */
const char *engine_group_name(const struct engine *engine, size_t group, char name[33]);
/* Brings Sigma and I up to date. False (ERROR_FATAL): out of memory, or Sigma is singular. */
bool engine_refresh(struct engine *engine, struct error *error);
/* How likely the next slot asks this pair, as things stand: by a uniform pair of a uniform
 * candidate pool, and over all arms under the options (NaN where these choose from a list, or pool
 * by pool). 0: it could not be asked now. What engine_tick does for a slot is done but for asking.
 */
struct engine_chance {
    double uniform, propensity;
};
bool engine_chance(struct engine *engine, struct span prompt_id, struct span completion,
                   struct span other, struct engine_chance *chance, struct error *error);
/* Partition of the ledger in which the entries of a request stand. */
int32_t engine_ledger_partition(const struct engine *engine, struct id request);
/* The ledger's requests; see requests.h. */
struct requests;
const struct requests *engine_requests(const struct engine *engine);

#endif
