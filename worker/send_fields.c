/* A table of the contract's fields, a row each, drives both directions of "is this name known, of
 * what type is it, where does it go". Defaults are JSON values as if the line had held them. */
#include "send_fields.h"

#include "nearest.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ATTRIBUTE_NAME_MAX = 255 }; /* what contracts_encode_completion keeps of it */

enum field_type {
    FIELD_TEXT,
    FIELD_INTEGER,
    FIELD_NUMBER,
    FIELD_FLAG,
    FIELD_OUTCOME,
    FIELD_SOURCE,
    FIELD_FEATURES,
    FIELD_LEFT, /* features of one side */
    FIELD_RIGHT,
    FIELD_ATTRIBUTES,
};

struct field {
    const char *name;
    enum field_type type;
    bool required;
    size_t offset;
};

#define COMPLETION(member) #member, .offset = offsetof(struct completion, member)
#define LABEL(member) #member, .offset = offsetof(struct label, member)

#define HISTORY(member) #member, .offset = offsetof(struct history, member)
#define HISTORY_LABEL(member) #member, .offset = offsetof(struct history, label.member)

static const struct field COMPLETION_FIELDS[] = {
    {COMPLETION(prompt_id), .type = FIELD_TEXT, .required = true},
    {COMPLETION(completion_id), .type = FIELD_TEXT, .required = true},
    {COMPLETION(policy_version), .type = FIELD_TEXT},
    {COMPLETION(policy_epoch), .type = FIELD_INTEGER},
    {COMPLETION(feature_space), .type = FIELD_TEXT},
    {COMPLETION(feature_epoch), .type = FIELD_INTEGER},
    {COMPLETION(features), .type = FIELD_FEATURES},
    {COMPLETION(policy_logprob), .type = FIELD_NUMBER},
    {COMPLETION(reference_logprob), .type = FIELD_NUMBER},
    {COMPLETION(reward), .type = FIELD_NUMBER},
    {COMPLETION(traffic_weight), .type = FIELD_NUMBER},
    {COMPLETION(candidate), .type = FIELD_FLAG},
    {COMPLETION(domain), .type = FIELD_TEXT},
    {COMPLETION(prompt), .type = FIELD_TEXT},
    {COMPLETION(text), .type = FIELD_TEXT},
    {COMPLETION(uri), .type = FIELD_TEXT},
    {COMPLETION(created_at), .type = FIELD_INTEGER},
    {COMPLETION(attributes), .type = FIELD_ATTRIBUTES},
    {COMPLETION(source), .type = FIELD_SOURCE},
    {COMPLETION(reward_deviation), .type = FIELD_NUMBER},
    {COMPLETION(cost), .type = FIELD_NUMBER},
    {.name = NULL},
};

static const struct field LABEL_FIELDS[] = {
    {LABEL(label_id), .type = FIELD_TEXT},
    {LABEL(request_id), .type = FIELD_TEXT},
    {LABEL(pair_id), .type = FIELD_TEXT},
    {LABEL(outcome), .type = FIELD_OUTCOME},
    {LABEL(probability_left), .type = FIELD_NUMBER},
    {LABEL(confidence), .type = FIELD_NUMBER},
    {LABEL(annotator_id), .type = FIELD_TEXT},
    {LABEL(annotator_kind), .type = FIELD_TEXT},
    {LABEL(lead_time), .type = FIELD_INTEGER},
    {LABEL(labelled_at), .type = FIELD_INTEGER},
    {LABEL(supersedes), .type = FIELD_TEXT},
    {.name = NULL},
};

static const struct field HISTORY_FIELDS[] = {
    {HISTORY(prompt_id), .type = FIELD_TEXT, .required = true},
    {HISTORY(left_id), .type = FIELD_TEXT, .required = true},
    {HISTORY(right_id), .type = FIELD_TEXT, .required = true},
    {HISTORY(feature_space), .type = FIELD_TEXT},
    {HISTORY(policy_version), .type = FIELD_TEXT},
    {HISTORY(policy_epoch), .type = FIELD_INTEGER},
    {"features_left", .type = FIELD_LEFT},
    {"features_right", .type = FIELD_RIGHT},
    {HISTORY_LABEL(label_id), .type = FIELD_TEXT},
    {HISTORY_LABEL(outcome), .type = FIELD_OUTCOME},
    {HISTORY_LABEL(probability_left), .type = FIELD_NUMBER},
    {HISTORY_LABEL(confidence), .type = FIELD_NUMBER},
    {HISTORY_LABEL(annotator_id), .type = FIELD_TEXT},
    {HISTORY_LABEL(annotator_kind), .type = FIELD_TEXT},
    {HISTORY_LABEL(labelled_at), .type = FIELD_INTEGER},
    {.name = NULL},
};

/* In the order of enum label_outcome. */
static const char *const OUTCOMES[] = {"left", "right", "tie", "both_bad", "skip", "invalid", NULL};
/* In the order of enum completion_source, from its second on. */
static const char *const SOURCES[] = {"policy", "reference", "optimist", "pessimist", NULL};

struct send_fields {
    const struct field *table;
    const char *contract;
    json_t *defaults;
    size_t dimension_max;
    size_t attributes_max;
    float *features;             /* dimension_max values, twice: a side each */
    size_t side[2];              /* how many the line gave; 0: none */
    struct span *names, *values; /* of the attributes of one line */
    char **texts;                /* those of them that are not strings in the line, owned */
    size_t count, text_count;
    struct buffer attributes;
};

static const struct field *find_field(const struct field *table, const char *name)
{
    for (; table->name != NULL; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

static const char *nearest_field(const struct field *table, const char *name)
{
    struct nearest nearest = {0};
    for (; table->name != NULL; table++)
        nearest_offer(&nearest, name, table->name);
    return nearest.name;
}

/* The text of a default as the JSON value that a line would hold. */
static json_t *default_value(const struct field *field, const char *text)
{
    json_t *value = NULL;
    if (field->type == FIELD_NUMBER || field->type == FIELD_INTEGER || field->type == FIELD_FLAG)
        value = json_loads(text, JSON_DECODE_ANY, NULL);
    /* What does not parse stays a string, which the field then refuses by its type. */
    return value != NULL ? value : json_string(text);
}

static bool read_field(struct send_fields *fields, const struct field *field, json_t *value,
                       void *record, struct error *error);

/* Parses one "NAME=VALUE" and tries it on a record that is thrown away. */
static bool add_default(struct send_fields *fields, const char *text, struct error *error)
{
    char name[64];
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof name)
        return error_set(error, ERROR_FATAL, "--default %.80s: expected NAME=VALUE", text);
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    const struct field *field = find_field(fields->table, name);
    if (field == NULL)
        return error_set(error, ERROR_FATAL,
                         "--default %s: a %s has no such field; the nearest is '%s'", name,
                         fields->contract, nearest_field(fields->table, name));
    if (field->type == FIELD_FEATURES || field->type == FIELD_LEFT || field->type == FIELD_RIGHT ||
        field->type == FIELD_ATTRIBUTES)
        return error_set(error, ERROR_FATAL, "--default %s: has no default", name);
    json_t *value = default_value(field, equals + 1);
    union {
        struct completion completion;
        struct label label;
        struct history history;
    } scratch;
    if (!read_field(fields, field, value, &scratch, error)) {
        json_decref(value);
        return error_prefix(error, "--default");
    }
    return json_object_set_new(fields->defaults, name, value) == 0 ||
           error_set(error, ERROR_FATAL, "out of memory");
}

static bool prepare(struct send_fields *fields, const char *const *defaults, size_t count,
                    struct error *error)
{
    fields->defaults = json_object();
    fields->features = malloc(2 * fields->dimension_max * sizeof *fields->features);
    fields->names = calloc(fields->attributes_max + 1, sizeof *fields->names);
    fields->values = calloc(fields->attributes_max + 1, sizeof *fields->values);
    fields->texts = calloc(fields->attributes_max + 1, sizeof *fields->texts);
    if (fields->defaults == NULL || fields->features == NULL || fields->names == NULL ||
        fields->values == NULL || fields->texts == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    for (size_t k = 0; k < count; k++)
        if (!add_default(fields, defaults[k], error))
            return false;
    return true;
}

struct send_fields *send_fields_new(enum contract contract, const struct options *options,
                                    const char *const *defaults, size_t count, struct error *error)
{
    struct send_fields *fields = calloc(1, sizeof *fields);
    if (fields == NULL) {
        error_set(error, ERROR_FATAL, "out of memory");
        return NULL;
    }
    fields->table = contract == CONTRACT_COMPLETION ? COMPLETION_FIELDS
                    : contract == CONTRACT_LABEL    ? LABEL_FIELDS
                                                    : HISTORY_FIELDS;
    fields->contract = contract == CONTRACT_COMPLETION ? "completion"
                       : contract == CONTRACT_LABEL    ? "label"
                                                       : "line of history";
    fields->dimension_max = options->limits_dimension;
    fields->attributes_max = options->limits_attributes;
    fields->attributes.maximum = options->limits_record;
    if (prepare(fields, defaults, count, error))
        return fields;
    send_fields_free(fields);
    return NULL;
}

static void forget_texts(struct send_fields *fields)
{
    while (fields->text_count > 0)
        free(fields->texts[--fields->text_count]);
}

void send_fields_free(struct send_fields *fields)
{
    if (fields == NULL)
        return;
    if (fields->texts != NULL)
        forget_texts(fields);
    json_decref(fields->defaults);
    free(fields->features);
    free(fields->names);
    free(fields->values);
    free(fields->texts);
    buffer_free(&fields->attributes);
    free(fields);
}

static const char *type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "null";
}

static bool wrong_type(const struct field *field, const char *wanted, const json_t *value,
                       struct error *error)
{
    return error_set(error, ERROR_DATA, "%s: expected %s, found %s", field->name, wanted,
                     type_of(value));
}

static bool read_integer(const struct field *field, const json_t *value, int64_t *out,
                         struct error *error)
{
    /* Writers without integers send 1700000000000.0; up to 2^53 that is exact. */
    const double exact = 9007199254740992.0;
    double real = json_real_value(value);
    if (json_is_integer(value))
        *out = json_integer_value(value);
    else if (json_is_real(value) && fabs(real) <= exact && floor(real) == real)
        *out = (int64_t)real;
    else if (json_is_real(value))
        return error_set(error, ERROR_DATA, "%s: expected an integer, found %g", field->name, real);
    else
        return wrong_type(field, "an integer", value, error);
    return true;
}

/* *place: of the value among the symbols. */
static bool read_symbol(const struct field *field, const json_t *value, const char *const *symbols,
                        int *place, struct error *error)
{
    if (!json_is_string(value))
        return wrong_type(field, "a string", value, error);
    char list[96] = "";
    for (*place = 0; symbols[*place] != NULL; ++*place) {
        if (strcmp(symbols[*place], json_string_value(value)) == 0)
            return true;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used == 0 ? "" : ", ", symbols[*place]);
    }
    return error_set(error, ERROR_DATA, "%s: '%.60s' is none of %s", field->name,
                     json_string_value(value), list);
}

/* An array of numbers into `out`, which has room for dimension_max. */
static bool read_features(const struct send_fields *fields, const struct field *field,
                          const json_t *value, float *out, size_t *count, struct error *error)
{
    *count = json_array_size(value);
    if (!json_is_array(value))
        return wrong_type(field, "an array of numbers", value, error);
    if (*count == 0 || *count > fields->dimension_max)
        return error_set(error, ERROR_DATA, "%s: %zu values; limits.dimension allows 1 to %zu",
                         field->name, *count, fields->dimension_max);
    for (size_t k = 0; k < *count; k++) {
        const json_t *item = json_array_get(value, k);
        out[k] = (float)json_number_value(item);
        if (!json_is_number(item) || !isfinite(out[k]))
            return error_set(error, ERROR_DATA, "%s: value %zu is not a finite number", field->name,
                             k);
    }
    return true;
}

/* The shortest of JSON_REAL_PRECISION 15 to 17 that reads back as the same value. */
static char *compact_json(const json_t *value)
{
    for (size_t precision = 15;; precision++) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS |
                                           JSON_REAL_PRECISION(precision));
        if (text == NULL || precision == 17)
            return text;
        json_t *back = json_loads(text, JSON_DECODE_ANY, NULL);
        bool same = back != NULL && json_equal(back, value);
        json_decref(back);
        if (same)
            return text;
        free(text);
    }
}

static bool add_attribute(struct send_fields *fields, const char *name, const json_t *value,
                          struct error *error)
{
    if (fields->count == fields->attributes_max)
        return error_set(error, ERROR_DATA,
                         "%s: the line has more attributes (fields that a completion does not "
                         "have) than limits.attributes = %zu",
                         name, fields->attributes_max);
    if (strlen(name) > ATTRIBUTE_NAME_MAX)
        return error_set(error, ERROR_DATA, "%.40s...: a name of more than %d bytes", name,
                         ATTRIBUTE_NAME_MAX);
    struct span text = {json_string_value(value), json_string_length(value)};
    if (!json_is_string(value)) {
        char *compact = compact_json(value);
        if (compact == NULL)
            return error_set(error, ERROR_FATAL, "out of memory");
        fields->texts[fields->text_count++] = compact;
        text = span_of(compact);
    }
    fields->names[fields->count] = span_of(name);
    fields->values[fields->count++] = text;
    return true;
}

static bool add_attributes(struct send_fields *fields, json_t *object, struct error *error)
{
    if (!json_is_object(object))
        return error_set(error, ERROR_DATA, "attributes: expected an object, found %s",
                         type_of(object));
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (!add_attribute(fields, name, value, error))
            return false;
    }
    return true;
}

static bool read_field(struct send_fields *fields, const struct field *field, json_t *value,
                       void *record, struct error *error)
{
    void *member = (char *)record + field->offset;
    int place;
    switch (field->type) {
    case FIELD_TEXT:
        if (!json_is_string(value))
            return wrong_type(field, "a string", value, error);
        *(struct span *)member = (struct span){json_string_value(value), json_string_length(value)};
        return true;
    case FIELD_INTEGER:
        return read_integer(field, value, member, error);
    case FIELD_NUMBER:
        *(double *)member = json_number_value(value);
        return json_is_number(value) || wrong_type(field, "a number", value, error);
    case FIELD_FLAG:
        *(bool *)member = json_is_true(value);
        return json_is_boolean(value) || wrong_type(field, "true or false", value, error);
    case FIELD_OUTCOME:
        if (!read_symbol(field, value, OUTCOMES, &place, error))
            return false;
        *(enum label_outcome *)member = (enum label_outcome)place;
        return true;
    case FIELD_SOURCE:
        if (!read_symbol(field, value, SOURCES, &place, error))
            return false;
        *(enum completion_source *)member = (enum completion_source)(place + 1);
        return true;
    case FIELD_FEATURES:
        ((struct completion *)record)->features = fields->features;
        return read_features(fields, field, value, fields->features,
                             &((struct completion *)record)->dimension, error);
    case FIELD_LEFT:
        return read_features(fields, field, value, fields->features, &fields->side[0], error);
    case FIELD_RIGHT:
        return read_features(fields, field, value, fields->features + fields->dimension_max,
                             &fields->side[1], error);
    case FIELD_ATTRIBUTES:
        return add_attributes(fields, value, error);
    }
    return false;
}

/* The fields of the table: from the line, else the default, else as `record` was. */
static bool read_known(struct send_fields *fields, json_t *line, void *record, struct error *error)
{
    for (const struct field *field = fields->table; field->name != NULL; field++) {
        json_t *value = json_object_get(line, field->name);
        if (value == NULL || json_is_null(value))
            value = json_object_get(fields->defaults, field->name);
        if (value != NULL && !read_field(fields, field, value, record, error))
            return false;
        const struct span *text = (const struct span *)(void *)((char *)record + field->offset);
        if (field->required && text->size == 0)
            return error_set(error, ERROR_DATA, "%s: %s", field->name,
                             value == NULL ? "is missing" : "is empty");
    }
    return true;
}

static bool read_unknown(struct send_fields *fields, json_t *line, struct error *error)
{
    const json_t *given = json_object_get(line, "attributes");
    const char *name;
    json_t *value;
    json_object_foreach(line, name, value)
    {
        if (find_field(fields->table, name) != NULL)
            continue;
        if (json_object_get(given, name) != NULL)
            return error_set(error, ERROR_DATA, "%.60s: also stands in attributes", name);
        if (!add_attribute(fields, name, value, error))
            return false;
    }
    fields->attributes.size = 0;
    return fields->count == 0 ||
           attributes_encode(fields->names, fields->values, fields->count, &fields->attributes) ||
           error_set(error, ERROR_DATA, "attributes: larger than limits.record = %zu bytes",
                     fields->attributes.maximum);
}

static bool check_object(json_t *line, struct error *error)
{
    return json_is_object(line) ||
           error_set(error, ERROR_DATA, "expected an object, found %s", type_of(line));
}

bool send_completion(struct send_fields *fields, json_t *line, const float *features,
                     size_t dimension, struct completion *completion, struct error *error)
{
    *completion = (struct completion){COMPLETION_ABSENT, .feature_space = span_of("default")};
    forget_texts(fields);
    fields->count = 0;
    if (!check_object(line, error) || !read_known(fields, line, completion, error) ||
        !read_unknown(fields, line, error))
        return false;
    if (completion->traffic_weight < 0)
        return error_set(error, ERROR_DATA, "traffic_weight: %g is below 0",
                         completion->traffic_weight);
    if (completion->reward_deviation < 0)
        return error_set(error, ERROR_DATA, "reward_deviation: %g is below 0",
                         completion->reward_deviation);
    if (!completion_cost_is_valid(completion->cost))
        return error_set(error, ERROR_DATA, "cost: %g is not within 1e-100 to 1e100",
                         completion->cost);
    completion->attributes = (struct span){fields->attributes.data, fields->attributes.size};
    if (features != NULL && completion->features != NULL)
        return error_set(error, ERROR_DATA, "features: in the line and by --features");
    if (features != NULL) {
        completion->features = features;
        completion->dimension = dimension;
    }
    return completion->features != NULL ||
           error_set(error, ERROR_DATA, "features: is missing; give it in the line or --features");
}

static bool check_answer(const struct label *label, struct error *error)
{
    bool outcome_given = label->outcome != OUTCOME_PROBABILITY;
    bool probability_given = !isnan(label->probability_left);
    if (outcome_given && probability_given)
        return error_set(error, ERROR_DATA, "outcome: given, and probability_left too; want one");
    if (!outcome_given && !probability_given)
        return error_set(error, ERROR_DATA, "outcome: is missing, and so is probability_left");
    if (probability_given && !(label->probability_left >= 0 && label->probability_left <= 1))
        return error_set(error, ERROR_DATA, "probability_left: %g is not in [0, 1]",
                         label->probability_left);
    if (!(label->confidence > 0 && label->confidence <= 1))
        return error_set(error, ERROR_DATA, "confidence: %g is not in (0, 1]", label->confidence);
    return true;
}

/* An object without fields that are not known. */
static bool check_known(const struct send_fields *fields, json_t *line, struct error *error)
{
    const char *name;
    json_t *value;
    if (!check_object(line, error))
        return false;
    json_object_foreach(line, name, value)
    {
        if (find_field(fields->table, name) == NULL)
            return error_set(error, ERROR_DATA,
                             "%.60s: a %s has no such field; the nearest is '%s'", name,
                             fields->contract, nearest_field(fields->table, name));
    }
    return true;
}

static const struct label NO_LABEL = {.outcome = OUTCOME_PROBABILITY,
                                      .probability_left = (double)NAN,
                                      .confidence = 1,
                                      .lead_time = -1};

bool send_label(struct send_fields *fields, json_t *line, struct label *label, struct error *error)
{
    *label = NO_LABEL;
    if (!check_known(fields, line, error) || !read_known(fields, line, label, error))
        return false;
    if (label->request_id.size == 0 && label->pair_id.size == 0)
        return error_set(error, ERROR_DATA, "request_id: is missing, and so is pair_id");
    return check_answer(label, error);
}

/* The features of both sides, from the line or the rows that belong to it. */
static bool take_sides(struct send_fields *fields, const float *left, const float *right,
                       size_t dimension, struct history *history, struct error *error)
{
    const size_t *side = fields->side;
    if (left != NULL && (side[0] > 0 || side[1] > 0))
        return error_set(error, ERROR_DATA, "%s: in the line and by --features",
                         side[0] > 0 ? "features_left" : "features_right");
    if (left == NULL && (side[0] == 0 || side[1] == 0))
        return error_set(error, ERROR_DATA,
                         "%s: is missing; give it in the line or both by --features",
                         side[0] == 0 ? "features_left" : "features_right");
    if (left == NULL && side[0] != side[1])
        return error_set(error, ERROR_DATA, "features_right: %zu values, features_left has %zu",
                         side[1], side[0]);
    history->left = left != NULL ? left : fields->features;
    history->right = left != NULL ? right : fields->features + fields->dimension_max;
    history->dimension = left != NULL ? dimension : side[0];
    return memcmp(history->left, history->right, history->dimension * sizeof(float)) != 0 ||
           error_set(error, ERROR_DATA,
                     "features_right: the same as features_left: such a label tells nothing");
}

bool send_history_line(struct send_fields *fields, json_t *line, const float *left,
                       const float *right, size_t dimension, struct history *history,
                       struct error *error)
{
    *history = (struct history){.label = NO_LABEL};
    fields->side[0] = fields->side[1] = 0;
    return check_known(fields, line, error) && read_known(fields, line, history, error) &&
           check_answer(&history->label, error) &&
           take_sides(fields, left, right, dimension, history, error);
}
