/* The records that infopair reads and writes, as C structs; the contracts themselves, field by
 * field, are the .avsc files beside this header.
 *
 * Text and bytes are views: of the record that was decoded, or of the caller's memory when a record
 * is to be encoded. An absent optional text has size 0; an absent optional number is NaN. Times are
 * milliseconds since the epoch. Vectors in the ledger are little-endian bytes (float32 where the
 * name says so, else float64). */
#ifndef INFOPAIR_RECORDS_H
#define INFOPAIR_RECORDS_H

#include "bytes.h"

#include <math.h>

/* The version of the ledger's contract that this build writes. It reads this one and the one
 * before. */
#define LEDGER_VERSION 2

/* What a completion may cost: scores per unit of cost, and sums of costs, stay finite. */
#define COMPLETION_COST_LEAST 1e-100
#define COMPLETION_COST_MOST 1e100

/* False for NaN as well. */
static inline bool completion_cost_is_valid(double cost)
{
    return cost >= COMPLETION_COST_LEAST && cost <= COMPLETION_COST_MOST;
}

/* Which model wrote a completion: the contract's symbols, in order, after the first. */
enum completion_source {
    SOURCE_UNKNOWN,
    SOURCE_POLICY,
    SOURCE_REFERENCE,
    SOURCE_OPTIMIST,
    SOURCE_PESSIMIST,
};

struct completion {
    struct span prompt_id;
    struct span completion_id;
    struct span policy_version;
    int64_t policy_epoch; /* grows with the policy; 0 when unknown */
    struct span feature_space;
    int64_t feature_epoch;
    const float *features; /* `dimension` values, in the memory given to the decoder */
    size_t dimension;
    double policy_logprob;
    double reference_logprob;
    double reward;
    double traffic_weight; /* 1 when absent */
    bool candidate;        /* false: traffic only, never compared */
    struct span domain;
    struct span prompt;
    struct span text;
    struct span uri;
    int64_t created_at;
    struct span attributes; /* the Avro map<string> as encoded; see attributes_next */
    enum completion_source source;
    double reward_deviation;
    double cost;             /* 1 when absent */
    struct span traceparent; /* from the record's Kafka headers, not from Avro */
    struct span tracestate;
};

/* For an initialiser: what a completion has when its optional numbers are absent. */
#define COMPLETION_ABSENT                                                                          \
    .policy_logprob = (double)NAN, .reference_logprob = (double)NAN, .reward = (double)NAN,        \
    .reward_deviation = (double)NAN, .traffic_weight = 1, .cost = 1, .candidate = true

enum label_outcome {
    OUTCOME_LEFT,
    OUTCOME_RIGHT,
    OUTCOME_TIE,
    OUTCOME_BOTH_BAD,
    OUTCOME_SKIP,
    OUTCOME_INVALID,
    OUTCOME_PROBABILITY, /* no symbol of the contract: outcome is null, probability_left is set */
};

/* Outcomes that free the slot and carry no information. */
static inline bool outcome_is_silent(enum label_outcome outcome)
{
    return outcome == OUTCOME_SKIP || outcome == OUTCOME_INVALID;
}

struct label {
    struct span label_id; /* empty: topic-partition-offset of the record */
    struct span request_id;
    struct span pair_id;
    enum label_outcome outcome;
    double probability_left; /* NaN unless outcome is OUTCOME_PROBABILITY */
    double confidence;       /* (0, 1], 1 when absent */
    struct span annotator_id;
    struct span annotator_kind;
    int64_t lead_time; /* milliseconds, -1 when absent */
    int64_t labelled_at;
    struct span supersedes;
};

/* y of the likelihood: 1 left, 0 right, .5 a tie and both bad; NaN where nothing was said. */
static inline double label_probability(const struct label *label)
{
    switch (label->outcome) {
    case OUTCOME_LEFT:
        return 1;
    case OUTCOME_RIGHT:
        return 0;
    case OUTCOME_TIE:
    case OUTCOME_BOTH_BAD:
        return .5;
    case OUTCOME_PROBABILITY:
        return label->probability_left;
    default:
        return (double)NAN;
    }
}

enum pair_arm { ARM_SELECTED, ARM_CONTROL, ARM_PROBE };

/* One side of a pair as the labeller sees it. */
struct pair_side {
    struct span completion_id;
    struct span text;
    struct span uri;
    bool text_cut; /* the text was longer than limits.text or than the record allows */
};

/* One named number of the reason. */
struct pair_part {
    const char *name; /* at most 63 bytes */
    double value;
};

struct pair {
    struct span request_id;
    struct span pair_id;
    struct span prompt_id;
    struct span prompt;
    struct pair_side left;
    struct pair_side right;
    int32_t replica; /* 1 .. replicas */
    int32_t replicas;
    int32_t attempt; /* 1 for the first */
    struct span selector;
    struct span selector_version;
    enum pair_arm arm;
    double score;            /* under the rule; 0 for the control arm */
    double score_weight;     /* w of the formula */
    double score_variance;   /* q = x' S x */
    double score_policy;     /* r = x' S I S x */
    struct span reason;      /* one plain sentence */
    double probability_left; /* predicted */
    double propensity;
    struct span policy_version;
    struct span feature_space;
    int64_t issued_at;
    int64_t deadline;
    struct span domain;
    double cost;
    bool prompt_cut; /* the prompt was longer than limits.text or than the record allows */
    const struct pair_part *parts; /* the numbers behind the choice */
    size_t part_count;
    const struct span *exclude_annotators; /* who must not answer */
    size_t exclude_count;
    struct span traceparent; /* Kafka headers */
    struct span tracestate;
};

enum entry_kind {
    ENTRY_SELECTED,
    ENTRY_LABELLED,
    ENTRY_EXPIRED,
    ENTRY_WITHDRAWN,
    ENTRY_MOMENTS,
    ENTRY_FIT,
    ENTRY_PRICE,
    ENTRY_SPACE,
};

/* A pair was published. x is oriented left minus right, in the scale of SPACE. */
struct entry_selected {
    struct span request_id;
    struct span pair_id;
    struct span prompt_id;
    struct span left_id;
    struct span right_id;
    struct span feature_space;
    struct span policy_version;
    int64_t policy_epoch;
    struct span x; /* float32 */
    double weight; /* w at the pick */
    int64_t fit_id;
    enum pair_arm arm;
    double propensity;
    int32_t completions_partition;
    int64_t slot; /* sequence number that keyed the coin of the arm */
    int64_t issued_at;
    int64_t deadline;
    int32_t replica;
    int32_t attempt;
    /* Since version 2; before, a pair of cost 1 without a domain. */
    double cost;
    struct span domain;
};

enum label_origin { ORIGIN_REQUEST, ORIGIN_IMPORTED, ORIGIN_CARRIED };

/* A label was accepted. Self-contained: repeats what SELECTED said. */
struct entry_labelled {
    struct span label_id;
    struct span request_id;
    struct span pair_id;
    struct span prompt_id;
    struct span left_id;
    struct span right_id;
    struct span feature_space;
    struct span policy_version;
    int64_t policy_epoch;
    struct span x; /* float32, left minus right */
    struct span source_topic;
    int32_t source_partition;
    int64_t source_offset;
    enum label_outcome outcome;
    double probability_left; /* y: 1 left, 0 right, .5 tie and both_bad; NaN for skip, invalid */
    double confidence;
    struct span annotator_id;
    struct span annotator_kind;
    int64_t labelled_at;
    enum label_origin origin;
    struct span supersedes;
    enum pair_arm arm;
};

struct entry_expired {
    struct span request_id;
    int32_t completions_partition;
};

struct entry_withdrawn {
    struct span request_id;
    struct span reason;
};

/* Sums for I over the pools that became ready in offsets [from, to) of one completions partition;
 * one chunk of the packed lower triangle of sum_p weight_p Cov_p. */
struct entry_moments {
    int32_t completions_partition;
    int64_t from;
    int64_t to;
    struct span feature_space;
    struct span policy_version;
    int64_t policy_epoch;
    int64_t fit_id;
    int64_t stream_time; /* of the partition, when the pane was closed */
    int32_t dimension;
    int64_t pools;
    double weight;                /* sum of the pools' traffic weights */
    double effective_sample_size; /* sum over pools of weight / sum p^2 */
    int32_t chunk;                /* 0 .. chunks - 1 */
    int32_t chunks;               /* 1 even when pools = 0; then sums is empty */
    struct span sums;             /* float32, row-major packed lower triangle, this chunk's part */
    double squares;               /* sum of the pools' squared traffic weights; 0: not known */
};

/* What a fit knows of one annotator. */
struct fit_annotator {
    struct span id;
    struct span kind;
    int64_t labels;            /* that carry information */
    int64_t sided;             /* those that prefer a side */
    double lapse;              /* probability that an answer is a coin flip */
    double left_bias;          /* log-odds */
    double left_share;         /* of the sided; 0 when there are none */
    double agreement;          /* share of the sided that agree with the fit without them */
    int64_t compared;          /* answers of others to the same pairs, that prefer a side as well */
    double compared_agreement; /* share of those that prefer the same; 0 when there are none */
};

struct entry_fit {
    int64_t fit_id;
    struct span feature_space;
    struct span psi;    /* float64 */
    struct span lambda; /* float64, one for each feature group */
    double lapse;
    double left_bias;
    double return_rate; /* rho */
    int64_t labels;     /* that counted */
    struct span label_digest;
    double objective;
    int32_t iterations;
    struct span annotators; /* the array as encoded, see annotators_next; "": none */
    double tie;             /* of Davidson's model; 0: a tie is half an answer for each side */
};

struct entry_price {
    int32_t completions_partition;
    double price;
};

struct entry_space {
    struct span feature_space;
    int64_t feature_epoch;
    int32_t dimension;
    struct span centre; /* float64 */
    double scale;
    int64_t pools; /* that it was estimated from; 0 when given by features.scale */
};

struct entry {
    int32_t version;
    struct span digest; /* of the options that shape shared state */
    struct span writer; /* worker slot */
    int64_t time;       /* event time */
    enum entry_kind kind;
    union {
        struct entry_selected selected;
        struct entry_labelled labelled;
        struct entry_expired expired;
        struct entry_withdrawn withdrawn;
        struct entry_moments moments;
        struct entry_fit fit;
        struct entry_price price;
        struct entry_space space;
    };
};

#endif
