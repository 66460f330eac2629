/* Structs of records.h become Avro, through libavro's generic values.
 *
 * Spans have no NUL behind them and libavro wants one, so texts go through a scratch buffer. The
 * value of a contract is used again for each record; every field is set each time. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "entry_fields.h"
#include "source.h"

/* Longest name of an attribute that is written. */
enum { ATTRIBUTE_NAME_MAX = 255 };

/* One encoding under way: the first thing that fails stays in `failed`. */
struct encoding {
    struct contracts *contracts;
    const char *failed; /* name of a field, or NULL */
};

static void note(struct encoding *encoding, const char *name, int status)
{
    if (status != 0 && encoding->failed == NULL)
        encoding->failed = name;
}

static avro_value_t field_of(struct encoding *encoding, avro_value_t *record, const char *name)
{
    avro_value_t field = {NULL, NULL};
    note(encoding, name, avro_value_get_by_name(record, name, &field, NULL));
    return field;
}

/* Chooses null or the value of a ["null", T] union; true when there is a value to set. */
static bool choose(struct encoding *encoding, const char *name, avro_value_t *field, bool present)
{
    avro_value_t branch = {NULL, NULL};
    if (field->iface == NULL)
        return false;
    note(encoding, name, avro_value_set_branch(field, present ? 1 : 0, &branch));
    if (!present) {
        note(encoding, name, avro_value_set_null(&branch));
        return false;
    }
    *field = branch;
    return branch.iface != NULL;
}

static void set_string(struct encoding *encoding, const char *name, avro_value_t *field,
                       struct span text)
{
    struct buffer *scratch = &encoding->contracts->scratch;
    scratch->size = 0;
    if (field->iface == NULL || !buffer_append(scratch, text.data, text.size) ||
        !buffer_append(scratch, "", 1)) {
        note(encoding, name, -1);
        return;
    }
    note(encoding, name, avro_value_set_string_len(field, scratch->data, scratch->size));
}

static void put_text(struct encoding *encoding, avro_value_t *record, const char *name,
                     struct span text)
{
    avro_value_t field = field_of(encoding, record, name);
    set_string(encoding, name, &field, text);
}

static void put_optional_text(struct encoding *encoding, avro_value_t *record, const char *name,
                              struct span text)
{
    avro_value_t field = field_of(encoding, record, name);
    if (choose(encoding, name, &field, text.size > 0))
        set_string(encoding, name, &field, text);
}

static void put_bytes(struct encoding *encoding, avro_value_t *record, const char *name,
                      struct span bytes)
{
    avro_value_t field = field_of(encoding, record, name);
    const char *data = bytes.size == 0 ? "" : bytes.data;
    if (field.iface != NULL)
        note(encoding, name, avro_value_set_bytes(&field, (void *)(uintptr_t)data, bytes.size));
}

static void put_long(struct encoding *encoding, avro_value_t *record, const char *name,
                     int64_t value)
{
    avro_value_t field = field_of(encoding, record, name);
    if (field.iface != NULL)
        note(encoding, name, avro_value_set_long(&field, value));
}

static void put_optional_long(struct encoding *encoding, avro_value_t *record, const char *name,
                              bool present, int64_t value)
{
    avro_value_t field = field_of(encoding, record, name);
    if (choose(encoding, name, &field, present))
        note(encoding, name, avro_value_set_long(&field, value));
}

static void put_int(struct encoding *encoding, avro_value_t *record, const char *name,
                    int32_t value)
{
    avro_value_t field = field_of(encoding, record, name);
    if (field.iface != NULL)
        note(encoding, name, avro_value_set_int(&field, value));
}

static void put_double(struct encoding *encoding, avro_value_t *record, const char *name,
                       double value)
{
    avro_value_t field = field_of(encoding, record, name);
    if (field.iface != NULL)
        note(encoding, name, avro_value_set_double(&field, value));
}

static void put_optional_double(struct encoding *encoding, avro_value_t *record, const char *name,
                                double value)
{
    avro_value_t field = field_of(encoding, record, name);
    if (choose(encoding, name, &field, !isnan(value)))
        note(encoding, name, avro_value_set_double(&field, value));
}

static void put_boolean(struct encoding *encoding, avro_value_t *record, const char *name,
                        bool value)
{
    avro_value_t field = field_of(encoding, record, name);
    if (field.iface != NULL)
        note(encoding, name, avro_value_set_boolean(&field, value));
}

static void put_enum(struct encoding *encoding, avro_value_t *record, const char *name, int value)
{
    avro_value_t field = field_of(encoding, record, name);
    if (field.iface != NULL)
        note(encoding, name, avro_value_set_enum(&field, value));
}

/* value: -1 is null. */
static void put_optional_enum(struct encoding *encoding, avro_value_t *record, const char *name,
                              int value)
{
    avro_value_t field = field_of(encoding, record, name);
    if (choose(encoding, name, &field, value >= 0))
        note(encoding, name, avro_value_set_enum(&field, value));
}

/* Frames and appends the encoder's value. */
static bool finish(struct encoding *encoding, enum contract contract, struct buffer *out,
                   struct error *error)
{
    struct encoder *encoder = &encoding->contracts->encoders[contract];
    size_t before = out->size, size = 0;
    if (encoding->failed != NULL)
        return error_set(error, ERROR_FATAL, "%s.avsc: field %s does not fit this build: %s",
                         contract_name(contract), encoding->failed, avro_strerror());
    if (encoding->contracts->framing == FRAMING_CONFLUENT) {
        uint32_t id = (uint32_t)encoder->id;
        const unsigned char head[5] = {0, (unsigned char)(id >> 24), (unsigned char)(id >> 16),
                                       (unsigned char)(id >> 8), (unsigned char)id};
        if (!buffer_append(out, head, sizeof head))
            return error_set(error, ERROR_DATA, "%s: does not fit into %zu bytes",
                             contract_name(contract), out->maximum);
    }
    if (avro_value_sizeof(&encoder->value, &size) != 0 || !buffer_reserve(out, size)) {
        out->size = before;
        return error_set(error, ERROR_DATA, "%s: %zu bytes do not fit into %zu",
                         contract_name(contract), size, out->maximum);
    }
    avro_writer_t writer = avro_writer_memory(out->data + out->size, (int64_t)size);
    int status = writer == NULL ? -1 : avro_value_write(writer, &encoder->value);
    if (writer != NULL)
        avro_writer_free(writer);
    if (status != 0) {
        out->size = before;
        return error_set(error, ERROR_FATAL, "%s: %s", contract_name(contract), avro_strerror());
    }
    out->size += size;
    return true;
}

/* ---- records ---- */

static void put_attributes(struct encoding *encoding, avro_value_t *record, struct span attributes)
{
    avro_value_t map = field_of(encoding, record, "attributes");
    struct span name, value;
    size_t position = 0;
    if (map.iface == NULL)
        return;
    note(encoding, "attributes", avro_value_reset(&map));
    while (attributes_next(attributes, &position, &name, &value)) {
        char key[ATTRIBUTE_NAME_MAX + 1];
        avro_value_t item = {NULL, NULL};
        if (name.size >= sizeof key) {
            note(encoding, "attributes", EINVAL);
            return;
        }
        memcpy(key, name.data, name.size);
        key[name.size] = '\0';
        note(encoding, "attributes", avro_value_add(&map, key, &item, NULL, NULL));
        set_string(encoding, "attributes", &item, value);
    }
}

bool contracts_encode_completion(struct contracts *contracts, const struct completion *completion,
                                 struct buffer *out, struct error *error)
{
    struct encoding encoding = {contracts, NULL};
    avro_value_t *record = &contracts->encoders[CONTRACT_COMPLETION].value;
    const struct span features = {(const char *)completion->features,
                                  completion->dimension * sizeof(float)};
    put_text(&encoding, record, "prompt_id", completion->prompt_id);
    put_text(&encoding, record, "completion_id", completion->completion_id);
    put_text(&encoding, record, "policy_version", completion->policy_version);
    put_long(&encoding, record, "policy_epoch", completion->policy_epoch);
    put_text(&encoding, record, "feature_space", completion->feature_space);
    put_long(&encoding, record, "feature_epoch", completion->feature_epoch);
    put_bytes(&encoding, record, "features", features);
    put_optional_double(&encoding, record, "policy_logprob", completion->policy_logprob);
    put_optional_double(&encoding, record, "reference_logprob", completion->reference_logprob);
    put_optional_double(&encoding, record, "reward", completion->reward);
    put_double(&encoding, record, "traffic_weight", completion->traffic_weight);
    put_boolean(&encoding, record, "candidate", completion->candidate);
    put_optional_text(&encoding, record, "domain", completion->domain);
    put_optional_text(&encoding, record, "prompt", completion->prompt);
    put_optional_text(&encoding, record, "text", completion->text);
    put_optional_text(&encoding, record, "uri", completion->uri);
    put_long(&encoding, record, "created_at", completion->created_at);
    put_attributes(&encoding, record, completion->attributes);
    put_optional_enum(&encoding, record, "source", (int)completion->source - 1);
    put_optional_double(&encoding, record, "reward_deviation", completion->reward_deviation);
    put_double(&encoding, record, "cost", completion->cost);
    return finish(&encoding, CONTRACT_COMPLETION, out, error);
}

bool contracts_encode_label(struct contracts *contracts, const struct label *label,
                            struct buffer *out, struct error *error)
{
    struct encoding encoding = {contracts, NULL};
    avro_value_t *record = &contracts->encoders[CONTRACT_LABEL].value;
    put_optional_text(&encoding, record, "label_id", label->label_id);
    put_optional_text(&encoding, record, "request_id", label->request_id);
    put_optional_text(&encoding, record, "pair_id", label->pair_id);
    put_optional_enum(&encoding, record, "outcome",
                      label->outcome == OUTCOME_PROBABILITY ? -1 : (int)label->outcome);
    put_optional_double(&encoding, record, "probability_left",
                        label->outcome == OUTCOME_PROBABILITY ? label->probability_left
                                                              : (double)NAN);
    put_double(&encoding, record, "confidence", label->confidence);
    put_optional_text(&encoding, record, "annotator_id", label->annotator_id);
    put_optional_text(&encoding, record, "annotator_kind", label->annotator_kind);
    put_optional_long(&encoding, record, "lead_time", label->lead_time >= 0, label->lead_time);
    put_long(&encoding, record, "labelled_at", label->labelled_at);
    put_optional_text(&encoding, record, "supersedes", label->supersedes);
    return finish(&encoding, CONTRACT_LABEL, out, error);
}

static void put_parts(struct encoding *encoding, avro_value_t *record, const struct pair *pair)
{
    avro_value_t map = field_of(encoding, record, "reason_parts");
    if (map.iface == NULL)
        return;
    note(encoding, "reason_parts", avro_value_reset(&map));
    for (size_t k = 0; k < pair->part_count; k++) {
        avro_value_t item = {NULL, NULL};
        note(encoding, "reason_parts",
             avro_value_add(&map, pair->parts[k].name, &item, NULL, NULL));
        if (item.iface != NULL)
            note(encoding, "reason_parts", avro_value_set_double(&item, pair->parts[k].value));
    }
}

static void put_excluded(struct encoding *encoding, avro_value_t *record, const struct pair *pair)
{
    avro_value_t list = field_of(encoding, record, "exclude_annotators");
    if (list.iface == NULL)
        return;
    note(encoding, "exclude_annotators", avro_value_reset(&list));
    for (size_t k = 0; k < pair->exclude_count && encoding->failed == NULL; k++) {
        avro_value_t item;
        note(encoding, "exclude_annotators", avro_value_append(&list, &item, NULL));
        if (encoding->failed == NULL)
            set_string(encoding, "exclude_annotators", &item, pair->exclude_annotators[k]);
    }
}

static void put_side(struct encoding *encoding, avro_value_t *record, const char *name,
                     const struct pair_side *side)
{
    avro_value_t inner = field_of(encoding, record, name);
    if (inner.iface == NULL)
        return;
    put_text(encoding, &inner, "completion_id", side->completion_id);
    put_optional_text(encoding, &inner, "text", side->text);
    put_optional_text(encoding, &inner, "uri", side->uri);
    put_boolean(encoding, &inner, "text_cut", side->text_cut);
}

bool contracts_encode_pair(struct contracts *contracts, const struct pair *pair, struct buffer *out,
                           struct error *error)
{
    struct encoding encoding = {contracts, NULL};
    avro_value_t *record = &contracts->encoders[CONTRACT_PAIR].value;
    put_text(&encoding, record, "request_id", pair->request_id);
    put_text(&encoding, record, "pair_id", pair->pair_id);
    put_text(&encoding, record, "prompt_id", pair->prompt_id);
    put_optional_text(&encoding, record, "prompt", pair->prompt);
    put_side(&encoding, record, "left", &pair->left);
    put_side(&encoding, record, "right", &pair->right);
    put_int(&encoding, record, "replica", pair->replica);
    put_int(&encoding, record, "replicas", pair->replicas);
    put_int(&encoding, record, "attempt", pair->attempt);
    put_text(&encoding, record, "selector", pair->selector);
    put_text(&encoding, record, "selector_version", pair->selector_version);
    put_enum(&encoding, record, "arm", (int)pair->arm);
    put_double(&encoding, record, "score", pair->score);
    put_double(&encoding, record, "score_weight", pair->score_weight);
    put_double(&encoding, record, "score_variance", pair->score_variance);
    put_double(&encoding, record, "score_policy", pair->score_policy);
    put_text(&encoding, record, "reason", pair->reason);
    put_double(&encoding, record, "probability_left", pair->probability_left);
    put_double(&encoding, record, "propensity", pair->propensity);
    put_text(&encoding, record, "policy_version", pair->policy_version);
    put_text(&encoding, record, "feature_space", pair->feature_space);
    put_long(&encoding, record, "issued_at", pair->issued_at);
    put_long(&encoding, record, "deadline", pair->deadline);
    put_optional_text(&encoding, record, "domain", pair->domain);
    put_double(&encoding, record, "cost", pair->cost);
    put_boolean(&encoding, record, "prompt_cut", pair->prompt_cut);
    put_parts(&encoding, record, pair);
    put_excluded(&encoding, record, pair);
    return finish(&encoding, CONTRACT_PAIR, out, error);
}

static void put_annotators(struct encoding *encoding, avro_value_t *record, const char *name,
                           struct span annotators)
{
    avro_value_t array = field_of(encoding, record, name), item;
    struct fit_annotator each;
    size_t position = 0;
    if (array.iface == NULL)
        return;
    note(encoding, name, avro_value_reset(&array));
    while (annotators_next(annotators, &position, &each)) {
        int status = avro_value_append(&array, &item, NULL);
        note(encoding, name, status);
        if (status != 0)
            return;
        put_text(encoding, &item, "id", each.id);
        put_text(encoding, &item, "kind", each.kind);
        put_long(encoding, &item, "labels", each.labels);
        put_long(encoding, &item, "sided", each.sided);
        put_double(encoding, &item, "lapse", each.lapse);
        put_double(encoding, &item, "left_bias", each.left_bias);
        put_double(encoding, &item, "left_share", each.left_share);
        put_double(encoding, &item, "agreement", each.agreement);
        put_long(encoding, &item, "compared", each.compared);
        put_double(encoding, &item, "compared_agreement", each.compared_agreement);
    }
}

#define SET_TEXT(member, field) put_text(&encoding, &body, #field, entry->member.field);
#define SET_BYTES(member, field) put_bytes(&encoding, &body, #field, entry->member.field);
#define SET_LATER_ONE(member, field) SET_DOUBLE(member, field)
#define SET_LATER_ZERO(member, field) SET_DOUBLE(member, field)
#define SET_LATER_TEXT(member, field) SET_TEXT(member, field)
#define SET_LATER_ANNOTATORS(member, field)                                                        \
    put_annotators(&encoding, &body, #field, entry->member.field);
#define SET_LONG(member, field) put_long(&encoding, &body, #field, entry->member.field);
#define SET_INT(member, field) put_int(&encoding, &body, #field, entry->member.field);
#define SET_DOUBLE(member, field) put_double(&encoding, &body, #field, entry->member.field);
#define SET_OPTIONAL(member, field)                                                                \
    put_optional_double(&encoding, &body, #field, entry->member.field);
#define SET_ARM(member, field) put_enum(&encoding, &body, #field, (int)entry->member.field);
#define SET_OUTCOME(member, field) put_enum(&encoding, &body, #field, (int)entry->member.field);
#define SET_ORIGIN(member, field) put_enum(&encoding, &body, #field, (int)entry->member.field);
#define SET(member, record, field, kind_)                                                          \
    if (kind == kind_of_##member) {                                                                \
        SET_##kind_(member, field)                                                                 \
    }

bool contracts_encode_entry(struct contracts *contracts, const struct entry *entry,
                            struct buffer *out, struct error *error)
{
    struct encoding encoding = {contracts, NULL};
    avro_value_t *record = &contracts->encoders[CONTRACT_LEDGER].value;
    put_int(&encoding, record, "version", entry->version);
    put_text(&encoding, record, "digest", entry->digest);
    put_text(&encoding, record, "writer", entry->writer);
    put_long(&encoding, record, "time", entry->time);
    avro_value_t choice = field_of(&encoding, record, "body");
    avro_value_t body = {NULL, NULL};
    const int kind = (int)entry->kind;
    if (choice.iface != NULL)
        note(&encoding, "body", avro_value_set_branch(&choice, kind, &body));
    if (body.iface != NULL) {
        ENTRY_FIELDS(SET)
    }
    return finish(&encoding, CONTRACT_LEDGER, out, error);
}

/* ---- attributes ---- */

static bool append_long(struct buffer *out, int64_t value)
{
    uint64_t bits = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    unsigned char bytes[10];
    size_t size = 0;
    do {
        bytes[size] = (unsigned char)(bits & 0x7F);
        bits >>= 7;
        bytes[size] = (unsigned char)(bytes[size] | (bits == 0 ? 0 : 0x80));
        size++;
    } while (bits != 0);
    return buffer_append(out, bytes, size);
}

static bool append_text(struct buffer *out, struct span text)
{
    return append_long(out, (int64_t)text.size) && buffer_append(out, text.data, text.size);
}

bool attributes_encode(const struct span *names, const struct span *values, size_t count,
                       struct buffer *out)
{
    size_t before = out->size;
    bool done = count == 0 || append_long(out, (int64_t)count);
    for (size_t k = 0; done && k < count; k++)
        done = append_text(out, names[k]) && append_text(out, values[k]);
    if (done && append_long(out, 0))
        return true;
    out->size = before;
    return false;
}

static bool append_double(struct buffer *out, double value)
{
    return buffer_append(out, (const char *)&value, sizeof value);
}

bool annotators_encode(const struct fit_annotator *annotators, size_t count, struct buffer *out)
{
    size_t before = out->size;
    bool done = count == 0 || append_long(out, (int64_t)count);
    for (size_t k = 0; done && k < count; k++) {
        const struct fit_annotator *each = &annotators[k];
        done = append_text(out, each->id) && append_text(out, each->kind) &&
               append_long(out, each->labels) && append_long(out, each->sided) &&
               append_double(out, each->lapse) && append_double(out, each->left_bias) &&
               append_double(out, each->left_share) && append_double(out, each->agreement) &&
               append_long(out, each->compared) && append_double(out, each->compared_agreement);
    }
    if (done && append_long(out, 0))
        return true;
    out->size = before;
    return false;
}
