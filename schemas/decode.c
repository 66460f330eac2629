/* Slots of a plan become the structs of records.h, and values are checked. */
#include <math.h>
#include <string.h>

#include "cursor.h"
#include "entry_fields.h"
#include "source.h"

static const char *const OUTCOMES[] = {"left", "right",   "tie",         "both_bad",
                                       "skip", "invalid", "probability", NULL};
static const char *const ARMS[] = {"selected", "control", "probe", NULL};
static const char *const ORIGINS[] = {"request", "imported", "carried", NULL};
static const char *const KINDS[] = {"Selected", "Labelled", "Expired", "Withdrawn", "Moments",
                                    "Fit",      "Price",    "Space",   NULL};

/* ---- completion ---- */

enum {
    C_PROMPT_ID,
    C_COMPLETION_ID,
    C_FEATURES,
    C_POLICY_VERSION,
    C_POLICY_EPOCH,
    C_FEATURE_SPACE,
    C_FEATURE_EPOCH,
    C_POLICY_LOGPROB,
    C_REFERENCE_LOGPROB,
    C_REWARD,
    C_TRAFFIC_WEIGHT,
    C_CANDIDATE,
    C_DOMAIN,
    C_PROMPT,
    C_TEXT,
    C_URI,
    C_CREATED_AT,
    C_ATTRIBUTES,
    C_SOURCE,
    C_REWARD_DEVIATION,
    C_COST,
    C_COUNT
};

/* In the order of enum completion_source from its second on. */
static const char *const SOURCES[] = {"policy", "reference", "optimist", "pessimist", NULL};

static const struct target COMPLETION[C_COUNT] = {
    [C_PROMPT_ID] = {"prompt_id", WANT_ID, true, NULL},
    [C_COMPLETION_ID] = {"completion_id", WANT_ID, true, NULL},
    [C_FEATURES] = {"features", WANT_VECTOR, true, NULL},
    [C_POLICY_VERSION] = {"policy_version", WANT_ID, false, NULL},
    [C_POLICY_EPOCH] = {"policy_epoch", WANT_LONG, false, NULL},
    [C_FEATURE_SPACE] = {"feature_space", WANT_ID, false, NULL},
    [C_FEATURE_EPOCH] = {"feature_epoch", WANT_LONG, false, NULL},
    [C_POLICY_LOGPROB] = {"policy_logprob", WANT_DOUBLE, false, NULL},
    [C_REFERENCE_LOGPROB] = {"reference_logprob", WANT_DOUBLE, false, NULL},
    [C_REWARD] = {"reward", WANT_DOUBLE, false, NULL},
    [C_TRAFFIC_WEIGHT] = {"traffic_weight", WANT_DOUBLE, false, NULL},
    [C_CANDIDATE] = {"candidate", WANT_BOOLEAN, false, NULL},
    [C_DOMAIN] = {"domain", WANT_ID, false, NULL},
    [C_PROMPT] = {"prompt", WANT_LONGTEXT, false, NULL},
    [C_TEXT] = {"text", WANT_LONGTEXT, false, NULL},
    [C_URI] = {"uri", WANT_LONGTEXT, false, NULL},
    [C_CREATED_AT] = {"created_at", WANT_LONG, false, NULL},
    [C_ATTRIBUTES] = {"attributes", WANT_MAP, false, NULL},
    [C_SOURCE] = {"source", WANT_ENUM, false, SOURCES, .later = true},
    [C_REWARD_DEVIATION] = {"reward_deviation", WANT_DOUBLE, false, NULL, .later = true},
    [C_COST] = {"cost", WANT_DOUBLE, false, NULL, .later = true},
};

/* ---- label ---- */

enum {
    L_LABEL_ID,
    L_REQUEST_ID,
    L_PAIR_ID,
    L_OUTCOME,
    L_PROBABILITY_LEFT,
    L_CONFIDENCE,
    L_ANNOTATOR_ID,
    L_ANNOTATOR_KIND,
    L_LEAD_TIME,
    L_LABELLED_AT,
    L_SUPERSEDES,
    L_COUNT
};

static const struct target LABEL[L_COUNT] = {
    [L_LABEL_ID] = {"label_id", WANT_ID, false, NULL},
    [L_REQUEST_ID] = {"request_id", WANT_ID, false, NULL},
    [L_PAIR_ID] = {"pair_id", WANT_ID, false, NULL},
    [L_OUTCOME] = {"outcome", WANT_ENUM, false, OUTCOMES},
    [L_PROBABILITY_LEFT] = {"probability_left", WANT_DOUBLE, false, NULL},
    [L_CONFIDENCE] = {"confidence", WANT_DOUBLE, false, NULL},
    [L_ANNOTATOR_ID] = {"annotator_id", WANT_ID, false, NULL},
    [L_ANNOTATOR_KIND] = {"annotator_kind", WANT_ID, false, NULL},
    [L_LEAD_TIME] = {"lead_time", WANT_LONG, false, NULL},
    [L_LABELLED_AT] = {"labelled_at", WANT_LONG, false, NULL},
    [L_SUPERSEDES] = {"supersedes", WANT_ID, false, NULL},
};

/* ---- ledger ---- */

static const char *const ANNOTATOR[] = {"id:string",
                                        "kind:string",
                                        "labels:long",
                                        "sided:long",
                                        "lapse:double",
                                        "left_bias:double",
                                        "left_share:double",
                                        "agreement:double",
                                        "compared:long",
                                        "compared_agreement:double",
                                        NULL};

#define SLOT(member, record, field, kind) E_##member##_##field,
enum { E_VERSION, E_DIGEST, E_WRITER, E_TIME, E_BODY, ENTRY_FIELDS(SLOT) E_COUNT };

#define TARGET_TEXT WANT_TEXT, false, NULL
#define TARGET_BYTES WANT_BYTES, false, NULL
#define TARGET_LONG WANT_LONG, false, NULL
#define TARGET_INT WANT_LONG, false, NULL
#define TARGET_DOUBLE WANT_DOUBLE, false, NULL
#define TARGET_OPTIONAL WANT_DOUBLE, false, NULL
#define TARGET_ARM WANT_ENUM, false, ARMS
#define TARGET_OUTCOME WANT_ENUM, false, OUTCOMES
#define TARGET_ORIGIN WANT_ENUM, false, ORIGINS
#define TARGET_LATER_ONE WANT_DOUBLE, false, NULL, .later = true
#define TARGET_LATER_ZERO WANT_DOUBLE, false, NULL, .later = true
#define TARGET_LATER_TEXT WANT_TEXT, false, NULL, .later = true
#define TARGET_LATER_ANNOTATORS WANT_ROWS, false, ANNOTATOR, .later = true
#define TARGET(member, record, field, kind)                                                        \
    [E_##member##_##field] = {"body." #record "." #field, TARGET_##kind},

static const struct target ENTRY[E_COUNT] = {[E_VERSION] = {"version", WANT_LONG, true, NULL},
                                             [E_DIGEST] = {"digest", WANT_TEXT, true, NULL},
                                             [E_WRITER] = {"writer", WANT_TEXT, false, NULL},
                                             [E_TIME] = {"time", WANT_LONG, true, NULL},
                                             [E_BODY] = {"body", WANT_BRANCH, true, KINDS},
                                             ENTRY_FIELDS(TARGET)};

const struct target *targets_of(enum contract contract, size_t *count)
{
    switch (contract) {
    case CONTRACT_COMPLETION:
        *count = C_COUNT;
        return COMPLETION;
    case CONTRACT_LABEL:
        *count = L_COUNT;
        return LABEL;
    case CONTRACT_LEDGER:
        *count = E_COUNT;
        return ENTRY;
    default:
        /* Pairs are only written. */
        *count = 0;
        return ENTRY;
    }
}

bool decode_values(struct contracts *contracts, enum contract contract, struct span record,
                   const struct writer **writer, const char **stage, struct error *error)
{
    bool validation = false;
    if (record.size > contracts->record_max && contract != CONTRACT_LEDGER) {
        *stage = "decode";
        return error_set(error, ERROR_DATA, "record: has %zu bytes, more than limits.record = %zu",
                         record.size, contracts->record_max);
    }
    *writer = source_find(contracts, contract, &record, stage, error);
    if (*writer == NULL)
        return false;
    *stage = "decode";
    bool done = plan_decode((*writer)->plan, record, &contracts->limits, contracts->values,
                            &contracts->vector, &validation, error);
    if (validation)
        *stage = "validate";
    return done;
}

enum entry_kind decoded_kind(const struct contracts *contracts)
{
    return (enum entry_kind)contracts->values[E_BODY].integer;
}

/* ---- values into structs ---- */

static double number_or(const struct value *value, double otherwise)
{
    return value->present ? value->number : otherwise;
}

static bool not_empty(const struct value *value, const char *name, struct error *error)
{
    return value->bytes.size > 0 || error_set(error, ERROR_DATA, "%s: is empty", name);
}

bool contracts_decode_completion(struct contracts *contracts, struct span record,
                                 struct completion *out, const char **stage, struct error *error)
{
    const struct value *value = contracts->values;
    const struct writer *writer;
    const char *ignored;
    const char **where = stage == NULL ? &ignored : stage;
    if (!decode_values(contracts, CONTRACT_COMPLETION, record, &writer, where, error))
        return false;
    *where = "validate";
    if (!not_empty(&value[C_PROMPT_ID], "prompt_id", error) ||
        !not_empty(&value[C_COMPLETION_ID], "completion_id", error))
        return false;
    if (contracts->vector.dimension == 0)
        return error_set(error, ERROR_DATA, "features: is empty");
    *out = (struct completion){
        .prompt_id = value[C_PROMPT_ID].bytes,
        .completion_id = value[C_COMPLETION_ID].bytes,
        .policy_version = value[C_POLICY_VERSION].bytes,
        .policy_epoch = value[C_POLICY_EPOCH].integer,
        .feature_space = value[C_FEATURE_SPACE].bytes,
        .feature_epoch = value[C_FEATURE_EPOCH].integer,
        .features = contracts->vector.values,
        .dimension = contracts->vector.dimension,
        .policy_logprob = number_or(&value[C_POLICY_LOGPROB], (double)NAN),
        .reference_logprob = number_or(&value[C_REFERENCE_LOGPROB], (double)NAN),
        .reward = number_or(&value[C_REWARD], (double)NAN),
        .traffic_weight = number_or(&value[C_TRAFFIC_WEIGHT], 1),
        .candidate = !value[C_CANDIDATE].present || value[C_CANDIDATE].integer != 0,
        .domain = value[C_DOMAIN].bytes,
        .prompt = value[C_PROMPT].bytes,
        .text = value[C_TEXT].bytes,
        .uri = value[C_URI].bytes,
        .created_at = value[C_CREATED_AT].integer,
        .attributes = value[C_ATTRIBUTES].bytes,
        .source = value[C_SOURCE].present ? (enum completion_source)(value[C_SOURCE].integer + 1)
                                          : SOURCE_UNKNOWN,
        .reward_deviation = number_or(&value[C_REWARD_DEVIATION], (double)NAN),
        .cost = number_or(&value[C_COST], 1)};
    if (!value[C_FEATURE_SPACE].present)
        out->feature_space = (struct span){"default", 7};
    if (out->reward_deviation < 0)
        return error_set(error, ERROR_DATA, "reward_deviation: is negative");
    if (!completion_cost_is_valid(out->cost))
        return error_set(error, ERROR_DATA, "cost: %g is not within 1e-100 to 1e100", out->cost);
    return out->traffic_weight >= 0 || error_set(error, ERROR_DATA, "traffic_weight: is negative");
}

static bool check_label(const struct label *label, bool outcome, struct error *error)
{
    bool probability = !isnan(label->probability_left);
    if (label->request_id.size == 0 && label->pair_id.size == 0)
        return error_set(error, ERROR_DATA, "request_id, pair_id: one of them is needed");
    if (outcome == probability)
        return error_set(error, ERROR_DATA,
                         "outcome, probability_left: exactly one of them is needed");
    if (probability && !(label->probability_left >= 0 && label->probability_left <= 1))
        return error_set(error, ERROR_DATA, "probability_left: %g is not in [0, 1]",
                         label->probability_left);
    if (!(label->confidence > 0 && label->confidence <= 1))
        return error_set(error, ERROR_DATA, "confidence: %g is not in (0, 1]", label->confidence);
    return true;
}

bool contracts_decode_label(struct contracts *contracts, struct span record, struct label *out,
                            const char **stage, struct error *error)
{
    const struct value *value = contracts->values;
    const struct writer *writer;
    const char *ignored;
    const char **where = stage == NULL ? &ignored : stage;
    if (!decode_values(contracts, CONTRACT_LABEL, record, &writer, where, error))
        return false;
    *where = "validate";
    bool outcome = value[L_OUTCOME].present;
    *out = (struct label){.label_id = value[L_LABEL_ID].bytes,
                          .request_id = value[L_REQUEST_ID].bytes,
                          .pair_id = value[L_PAIR_ID].bytes,
                          .outcome = outcome ? (enum label_outcome)value[L_OUTCOME].integer
                                             : OUTCOME_PROBABILITY,
                          .probability_left = number_or(&value[L_PROBABILITY_LEFT], (double)NAN),
                          .confidence = number_or(&value[L_CONFIDENCE], 1),
                          .annotator_id = value[L_ANNOTATOR_ID].bytes,
                          .annotator_kind = value[L_ANNOTATOR_KIND].bytes,
                          .lead_time = value[L_LEAD_TIME].present ? value[L_LEAD_TIME].integer : -1,
                          .labelled_at = value[L_LABELLED_AT].integer,
                          .supersedes = value[L_SUPERSEDES].bytes};
    return check_label(out, outcome, error);
}

#define PUT_TEXT(member, field) out->member.field = value[E_##member##_##field].bytes;
#define PUT_BYTES(member, field) out->member.field = value[E_##member##_##field].bytes;
#define PUT_LATER_TEXT(member, field) PUT_TEXT(member, field)
#define PUT_LATER_ANNOTATORS(member, field) PUT_TEXT(member, field)
#define PUT_LONG(member, field) out->member.field = value[E_##member##_##field].integer;
#define PUT_INT(member, field) out->member.field = (int32_t)value[E_##member##_##field].integer;
#define PUT_DOUBLE(member, field) out->member.field = value[E_##member##_##field].number;
#define PUT_OPTIONAL(member, field)                                                                \
    out->member.field = number_or(&value[E_##member##_##field], (double)NAN);
#define PUT_LATER_ONE(member, field) out->member.field = number_or(&value[E_##member##_##field], 1);
#define PUT_LATER_ZERO(member, field)                                                              \
    out->member.field = number_or(&value[E_##member##_##field], 0);
#define PUT_ARM(member, field)                                                                     \
    out->member.field = (enum pair_arm)value[E_##member##_##field].integer;
#define PUT_OUTCOME(member, field)                                                                 \
    out->member.field = (enum label_outcome)value[E_##member##_##field].integer;
#define PUT_ORIGIN(member, field)                                                                  \
    out->member.field = (enum label_origin)value[E_##member##_##field].integer;
/* Only the member that the branch names: the others share its memory. */
#define PUT(member, record, field, kind)                                                           \
    if (entry_kind == kind_of_##member) {                                                          \
        PUT_##kind(member, field)                                                                  \
    }

bool contracts_decode_entry(struct contracts *contracts, struct span record, struct entry *out,
                            const char **stage, struct error *error)
{
    const struct value *value = contracts->values;
    const struct writer *writer;
    const char *ignored;
    const char **where = stage == NULL ? &ignored : stage;
    if (!decode_values(contracts, CONTRACT_LEDGER, record, &writer, where, error))
        return false;
    *where = "validate";
    *out = (struct entry){.version = (int32_t)value[E_VERSION].integer,
                          .digest = value[E_DIGEST].bytes,
                          .writer = value[E_WRITER].bytes,
                          .time = value[E_TIME].integer,
                          .kind = (enum entry_kind)value[E_BODY].integer};
    const int entry_kind = (int)out->kind;
    ENTRY_FIELDS(PUT)
    return true;
}

/* ---- encoded regions ---- */

/* Before the next item of a region. The low half of a position counts bytes, the high half what is
 * left of the block. */
static bool region_open(struct span region, size_t position, struct cursor *cursor, int64_t *left)
{
    size_t at = position & 0xFFFFFFFFu;
    *left = (int64_t)(position >> 32);
    *cursor = cursor_init((struct span){region.data + at, region.size - at});
    return region.size > 0 && (*left > 0 || (cursor_block(cursor, left) && *left > 0));
}

static size_t region_position(struct span region, const struct cursor *cursor, int64_t left)
{
    return (size_t)(left - 1) << 32 | (region.size - cursor_left(cursor));
}

bool attributes_next(struct span attributes, size_t *position, struct span *name,
                     struct span *value)
{
    struct cursor cursor;
    int64_t left;
    if (!region_open(attributes, *position, &cursor, &left) || !cursor_bytes(&cursor, name) ||
        !cursor_bytes(&cursor, value))
        return false;
    *position = region_position(attributes, &cursor, left);
    return true;
}

bool annotators_next(struct span annotators, size_t *position, struct fit_annotator *out)
{
    struct cursor cursor;
    int64_t left;
    if (!region_open(annotators, *position, &cursor, &left) || !cursor_bytes(&cursor, &out->id) ||
        !cursor_bytes(&cursor, &out->kind) || !cursor_long(&cursor, &out->labels) ||
        !cursor_long(&cursor, &out->sided) || !cursor_double(&cursor, &out->lapse) ||
        !cursor_double(&cursor, &out->left_bias) || !cursor_double(&cursor, &out->left_share) ||
        !cursor_double(&cursor, &out->agreement) || !cursor_long(&cursor, &out->compared) ||
        !cursor_double(&cursor, &out->compared_agreement))
        return false;
    *position = region_position(annotators, &cursor, left);
    return true;
}
