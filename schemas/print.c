/* Records as lines of JSON, for people and tools.
 *
 * The bounded decoder walks the record first; only then libavro reads it into a generic value. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "source.h"

/* Names of bytes fields that hold numbers, and the size of one. */
static const struct {
    const char *name;
    size_t size;
} VECTORS[] = {{"features", sizeof(float)}, {"x", sizeof(float)},       {"sums", sizeof(float)},
               {"psi", sizeof(double)},     {"lambda", sizeof(double)}, {"centre", sizeof(double)}};

static json_t *json_of(const avro_value_t *value, const char *name);

static json_t *number(double value)
{
    json_t *json = json_real(value);
    return json == NULL ? json_null() : json; /* JSON has no NaN */
}

static json_t *json_vector(const void *bytes, size_t bytes_size, size_t size)
{
    json_t *array = json_array();
    for (size_t at = 0; at + size <= bytes_size; at += size) {
        float narrow = 0;
        double wide = 0;
        if (size == sizeof narrow)
            memcpy(&narrow, (const char *)bytes + at, size);
        else
            memcpy(&wide, (const char *)bytes + at, size);
        json_array_append_new(array, number(size == sizeof narrow ? (double)narrow : wide));
    }
    return array;
}

static json_t *json_bytes(const avro_value_t *value, const char *name)
{
    const void *bytes;
    size_t size;
    if (avro_value_get_bytes(value, &bytes, &size) != 0)
        return json_null();
    for (size_t k = 0; k < sizeof VECTORS / sizeof VECTORS[0]; k++) {
        if (strcmp(name, VECTORS[k].name) == 0)
            return json_vector(bytes, size, VECTORS[k].size);
    }
    json_t *text = json_stringn(bytes, size);
    return text == NULL ? json_null() : text;
}

static json_t *json_record(const avro_value_t *value)
{
    json_t *object = json_object();
    size_t count = 0;
    avro_value_get_size(value, &count);
    for (size_t k = 0; k < count; k++) {
        avro_value_t field;
        const char *name;
        if (avro_value_get_by_index(value, k, &field, &name) == 0)
            json_object_set_new(object, name, json_of(&field, name));
    }
    return object;
}

static json_t *json_items(const avro_value_t *value, const char *name, bool map)
{
    json_t *items = map ? json_object() : json_array();
    size_t count = 0;
    avro_value_get_size(value, &count);
    for (size_t k = 0; k < count; k++) {
        avro_value_t item;
        const char *key = NULL;
        if (avro_value_get_by_index(value, k, &item, &key) != 0)
            continue;
        if (map)
            json_object_set_new(items, key, json_of(&item, name));
        else
            json_array_append_new(items, json_of(&item, name));
    }
    return items;
}

static json_t *json_number(const avro_value_t *value)
{
    int32_t narrow;
    int64_t wide;
    float single;
    double real;
    int truth;
    switch (avro_value_get_type(value)) {
    case AVRO_INT32:
        return avro_value_get_int(value, &narrow) == 0 ? json_integer(narrow) : json_null();
    case AVRO_INT64:
        return avro_value_get_long(value, &wide) == 0 ? json_integer(wide) : json_null();
    case AVRO_FLOAT:
        return avro_value_get_float(value, &single) == 0 ? number((double)single) : json_null();
    case AVRO_DOUBLE:
        return avro_value_get_double(value, &real) == 0 ? number(real) : json_null();
    case AVRO_BOOLEAN:
        return avro_value_get_boolean(value, &truth) == 0 ? json_boolean(truth) : json_null();
    default:
        return json_null();
    }
}

static json_t *json_of(const avro_value_t *value, const char *name)
{
    const char *text;
    size_t size;
    int index;
    avro_value_t branch;
    json_t *json;
    switch (avro_value_get_type(value)) {
    case AVRO_STRING:
        json =
            avro_value_get_string(value, &text, &size) == 0 ? json_stringn(text, size - 1) : NULL;
        return json == NULL ? json_null() : json;
    case AVRO_BYTES:
        return json_bytes(value, name);
    case AVRO_ENUM:
        return avro_value_get_enum(value, &index) == 0
                   ? json_string(avro_schema_enum_get(avro_value_get_schema(value), index))
                   : json_null();
    case AVRO_UNION:
        return avro_value_get_current_branch(value, &branch) == 0 ? json_of(&branch, name)
                                                                  : json_null();
    case AVRO_RECORD:
        return json_record(value);
    case AVRO_ARRAY:
        return json_items(value, name, false);
    case AVRO_MAP:
        return json_items(value, name, true);
    default:
        return json_number(value);
    }
}

static const char *const KINDS[] = {"selected", "labelled", "expired", "withdrawn",
                                    "moments",  "fit",      "price",   "space"};

/* A ledger entry reads better flat: its kind, then the fields of its body. */
static void flatten(json_t *entry)
{
    json_t *body = json_object_get(entry, "body");
    json_object_update_missing(entry, body);
    json_object_del(entry, "body");
}

static json_t *read_value(const struct writer *writer, struct span record, struct error *error)
{
    avro_value_iface_t *class = avro_generic_class_from_schema(writer->schema);
    avro_value_t value = {NULL, NULL};
    json_t *json = NULL;
    if (class == NULL || avro_generic_value_new(class, &value) != 0) {
        error_set(error, ERROR_FATAL, "%s: %s", writer->file, avro_strerror());
        goto out;
    }
    avro_reader_t reader = avro_reader_memory(record.data, (int64_t)record.size);
    if (reader == NULL || avro_value_read(reader, &value) != 0)
        error_set(error, ERROR_DATA, "record: %s", avro_strerror());
    else
        json = json_of(&value, "");
    if (reader != NULL)
        avro_reader_free(reader);
out:
    if (value.self != NULL)
        avro_value_decref(&value);
    if (class != NULL)
        avro_value_iface_decref(class);
    return json;
}

bool contracts_print_json(struct contracts *contracts, enum contract contract, struct span record,
                          struct buffer *out, struct error *error)
{
    const struct writer *writer;
    const char *stage;
    if (!decode_values(contracts, contract, record, &writer, &stage, error))
        return false;
    size_t head = contracts->framing == FRAMING_CONFLUENT ? 5 : 0;
    const struct span body = {record.data + head, record.size - head};
    json_t *json = read_value(writer, body, error);
    if (json == NULL)
        return false;
    if (contract == CONTRACT_LEDGER) {
        size_t kind = (size_t)decoded_kind(contracts);
        json_object_set_new(json, "kind", json_string(KINDS[kind]));
        flatten(json);
    }
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    bool done = text != NULL && buffer_append(out, text, strlen(text));
    free(text);
    return done || error_set(error, ERROR_FATAL, "out of memory for a line of JSON");
}
