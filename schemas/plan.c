#include "plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"

struct node {
    avro_type_t type;
    int slot;         /* -1: skipped */
    const char *name; /* of the field, for messages; in the plan's texts */
    struct node *children;
    size_t child_count;
    int64_t *symbols; /* of an enum or a union of records: ours for the writer's, -1 unknown */
    size_t symbol_count;
    size_t fixed_size;
    bool later; /* the record may end here */
};

struct plan {
    const struct target *targets;
    size_t target_count;
    struct node root;
    size_t nodes;
};

/* ---- compiling ---- */

static int find_target(const struct plan *plan, const char *path)
{
    for (size_t k = 0; k < plan->target_count; k++) {
        if (strcmp(plan->targets[k].path, path) == 0)
            return (int)k;
    }
    return -1;
}

static bool readable(enum want want, avro_type_t type)
{
    switch (want) {
    case WANT_ID:
    case WANT_TEXT:
    case WANT_LONGTEXT:
    case WANT_BYTES:
        return type == AVRO_STRING || type == AVRO_BYTES;
    case WANT_LONG:
        return type == AVRO_INT32 || type == AVRO_INT64;
    case WANT_DOUBLE:
        return type == AVRO_INT32 || type == AVRO_INT64 || type == AVRO_FLOAT ||
               type == AVRO_DOUBLE;
    case WANT_BOOLEAN:
        return type == AVRO_BOOLEAN;
    case WANT_ENUM:
        return type == AVRO_ENUM;
    case WANT_VECTOR:
        return type == AVRO_BYTES || type == AVRO_ARRAY;
    case WANT_MAP:
        return type == AVRO_MAP;
    case WANT_ROWS:
        return type == AVRO_ARRAY;
    case WANT_BRANCH:
        return type == AVRO_UNION;
    }
    return false;
}

static bool compile(struct plan *plan, avro_schema_t schema, const char *path, int depth,
                    struct node *node, struct error *error);

static bool add_children(struct node *node, size_t count, struct error *error)
{
    node->children = calloc(count == 0 ? 1 : count, sizeof *node->children);
    if (node->children == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for a schema");
    node->child_count = count;
    return true;
}

static bool join(char *out, size_t size, const char *path, const char *name, struct error *error)
{
    int used = snprintf(out, size, "%s%s%s", path, path[0] == '\0' ? "" : ".", name);
    return (used >= 0 && (size_t)used < size) ||
           error_set(error, ERROR_FATAL, "field %s: its path is too long", name);
}

static bool compile_record(struct plan *plan, avro_schema_t schema, const char *path, int depth,
                           struct node *node, struct error *error)
{
    char child[256];
    size_t count = avro_schema_record_size(schema);
    if (!add_children(node, count, error))
        return false;
    for (size_t k = 0; k < count; k++) {
        avro_schema_t field = avro_schema_record_field_get_by_index(schema, (int)k);
        if (!join(child, sizeof child, path, avro_schema_record_field_name(schema, (int)k),
                  error) ||
            !compile(plan, field, child, depth + 1, &node->children[k], error))
            return false;
        int target = find_target(plan, child);
        node->children[k].later = target >= 0 && plan->targets[target].later;
    }
    return true;
}

static int64_t symbol_index(const struct target *target, const char *symbol)
{
    for (int64_t k = 0; target->symbols != NULL && target->symbols[k] != NULL; k++) {
        if (strcmp(target->symbols[k], symbol) == 0)
            return k;
    }
    return -1;
}

static bool add_symbols(struct node *node, size_t count, struct error *error)
{
    node->symbols = calloc(count == 0 ? 1 : count, sizeof *node->symbols);
    if (node->symbols == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for a schema");
    node->symbol_count = count;
    return true;
}

static bool compile_union(struct plan *plan, avro_schema_t schema, const char *path, int depth,
                          struct node *node, struct error *error)
{
    char child[256];
    size_t count = avro_schema_union_size(schema);
    int slot = find_target(plan, path);
    bool branches = slot >= 0 && plan->targets[slot].want == WANT_BRANCH;
    node->slot = branches ? slot : -1;
    if (!add_children(node, count, error) || !add_symbols(node, count, error))
        return false;
    for (size_t k = 0; k < count; k++) {
        avro_schema_t branch = avro_schema_union_branch(schema, (int)k);
        bool record = avro_typeof(branch) == AVRO_RECORD && branches;
        node->symbols[k] =
            record ? symbol_index(&plan->targets[slot], avro_schema_name(branch)) : -1;
        if (!join(child, sizeof child, path, record ? avro_schema_name(branch) : "", error))
            return false;
        if (!compile(plan, branch, record ? child : path, depth + 1, &node->children[k], error))
            return false;
    }
    return true;
}

static bool compile_enum(struct plan *plan, avro_schema_t schema, struct node *node,
                         struct error *error)
{
    size_t count = (size_t)avro_schema_enum_number_of_symbols(schema);
    if (!add_symbols(node, count, error))
        return false;
    for (size_t k = 0; k < count; k++) {
        const char *symbol = avro_schema_enum_get(schema, (int)k);
        node->symbols[k] = node->slot < 0 ? -1 : symbol_index(&plan->targets[node->slot], symbol);
    }
    return true;
}

/* True when the items are the record that the one who walks the region expects. */
static bool are_rows(avro_schema_t items, const char *const *fields)
{
    while (avro_typeof(items) == AVRO_LINK)
        items = avro_schema_link_target(items);
    size_t count = avro_typeof(items) == AVRO_RECORD ? avro_schema_record_size(items) : 0;
    size_t k = 0;
    for (; k < count && fields[k] != NULL; k++) {
        char field[64];
        avro_type_t type = avro_typeof(avro_schema_record_field_get_by_index(items, (int)k));
        snprintf(field, sizeof field, "%s:%s", avro_schema_record_field_name(items, (int)k),
                 type == AVRO_STRING   ? "string"
                 : type == AVRO_INT64  ? "long"
                 : type == AVRO_DOUBLE ? "double"
                                       : "");
        if (strcmp(field, fields[k]) != 0)
            return false;
    }
    return k > 0 && k == count && fields[k] == NULL;
}

/* The items of an array or map are skipped unless the whole is wanted. */
static bool compile_items(struct plan *plan, avro_schema_t items, const char *path, int depth,
                          struct node *node, struct error *error)
{
    (void)path;
    if (!add_children(node, 1, error) ||
        !compile(plan, items, "\x01item", depth + 1, &node->children[0], error))
        return false;
    avro_type_t type = avro_typeof(items);
    enum want want = node->slot < 0 ? WANT_BYTES : plan->targets[node->slot].want;
    if (want == WANT_VECTOR && type != AVRO_FLOAT && type != AVRO_DOUBLE)
        return error_set(error, ERROR_FATAL,
                         "field %s: must be bytes, array<float> or "
                         "array<double>",
                         node->name);
    if (want == WANT_MAP && type != AVRO_STRING)
        return error_set(error, ERROR_FATAL, "field %s: must be map<string>", node->name);
    if (want == WANT_ROWS && !are_rows(items, plan->targets[node->slot].symbols))
        return error_set(error, ERROR_FATAL, "field %s: its items are not the contract's",
                         node->name);
    return true;
}

static bool compile(struct plan *plan, avro_schema_t schema, const char *path, int depth,
                    struct node *node, struct error *error)
{
    /* A name that was defined before: follow it; recursion ends at the depth limit. */
    while (avro_typeof(schema) == AVRO_LINK)
        schema = avro_schema_link_target(schema);
    node->type = avro_typeof(schema);
    node->slot = find_target(plan, path);
    node->name = strdup(path);
    if (node->name == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for a schema");
    if (depth > PLAN_DEPTH || ++plan->nodes > PLAN_NODES_MAX)
        return error_set(error, ERROR_FATAL,
                         "field %s: the schema is recursive, deeper than %d or larger than %d "
                         "nodes",
                         path, PLAN_DEPTH, PLAN_NODES_MAX);
    if (node->type == AVRO_NULL)
        node->slot = -1;
    if (node->slot >= 0 && node->type != AVRO_UNION &&
        !readable(plan->targets[node->slot].want, node->type))
        return error_set(error, ERROR_FATAL,
                         "field %s: has a type that cannot be read as the "
                         "contract's",
                         path);
    switch (node->type) {
    case AVRO_RECORD:
        return compile_record(plan, schema, path, depth, node, error);
    case AVRO_UNION:
        return compile_union(plan, schema, path, depth, node, error);
    case AVRO_ENUM:
        return compile_enum(plan, schema, node, error);
    case AVRO_ARRAY:
        return compile_items(plan, avro_schema_array_items(schema), path, depth, node, error);
    case AVRO_MAP:
        return compile_items(plan, avro_schema_map_values(schema), path, depth, node, error);
    case AVRO_FIXED:
        node->fixed_size = (size_t)avro_schema_fixed_size(schema);
        return true;
    default:
        return true;
    }
}

static void node_fini(struct node *node)
{
    for (size_t k = 0; k < node->child_count; k++)
        node_fini(&node->children[k]);
    free(node->children);
    free(node->symbols);
    free((void *)(uintptr_t)node->name);
}

/* True when some node of the tree fills the slot. */
static bool fills(const struct node *node, int slot)
{
    if (node->slot == slot)
        return true;
    for (size_t k = 0; k < node->child_count; k++) {
        if (fills(&node->children[k], slot))
            return true;
    }
    return false;
}

struct plan *plan_new(avro_schema_t writer, const struct target *targets, size_t count,
                      struct error *error)
{
    struct plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for a schema");
        return NULL;
    }
    plan->targets = targets;
    plan->target_count = count;
    bool done =
        is_avro_record(writer) || error_set(error, ERROR_FATAL, "the schema is not a record");
    done = done && compile(plan, writer, "", 0, &plan->root, error);
    for (size_t k = 0; done && k < count; k++) {
        if (targets[k].required && !fills(&plan->root, (int)k))
            done = error_set(error, ERROR_FATAL, "field %s: is missing in the schema",
                             targets[k].path);
    }
    if (done)
        return plan;
    plan_free(plan);
    return NULL;
}

void plan_free(struct plan *plan)
{
    if (plan == NULL)
        return;
    node_fini(&plan->root);
    free(plan);
}

/* ---- decoding ---- */

struct decoding {
    const struct plan *plan;
    const struct plan_limits *limits;
    struct cursor cursor;
    struct value *values;
    struct vector *vector;
    size_t items; /* left to be skipped */
    bool validation;
    struct error *error;
};

static bool malformed(struct decoding *decoding, const struct node *node)
{
    const char *why = decoding->cursor.why == NULL ? "is malformed" : decoding->cursor.why;
    return error_set(decoding->error, ERROR_DATA, "%s: the record %s",
                     node->name[0] == '\0' ? "record" : node->name, why);
}

static bool invalid(struct decoding *decoding, const struct node *node, const char *what)
{
    decoding->validation = true;
    return error_set(decoding->error, ERROR_DATA, "%s: %s", node->name, what);
}

static const struct target *target_of(const struct decoding *decoding, const struct node *node)
{
    return node->slot < 0 ? NULL : &decoding->plan->targets[node->slot];
}

bool text_valid(struct span text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    const unsigned char *end = at + text.size;
    while (at < end) {
        if (*at < 0x80) {
            at++;
            continue;
        }
        size_t more = *at >= 0xF0 ? 3 : *at >= 0xE0 ? 2 : 1;
        uint32_t point = *at & (0x3Fu >> more);
        if (*at < 0xC2 || *at > 0xF4 || (size_t)(end - at) <= more)
            return false;
        for (size_t k = 1; k <= more; k++) {
            if ((at[k] & 0xC0) != 0x80)
                return false;
            point = point << 6 | (at[k] & 0x3Fu);
        }
        if (point < (more == 1   ? 0x80u
                     : more == 2 ? 0x800u
                                 : 0x10000u) ||
            point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
            return false;
        at += more + 1;
    }
    return true;
}

static bool vector_add(struct decoding *decoding, const struct node *node, double value)
{
    struct vector *vector = decoding->vector;
    char text[96];
    if (vector->dimension >= decoding->limits->dimension_max) {
        snprintf(text, sizeof text, "has more values than limits.dimension = %zu",
                 decoding->limits->dimension_max);
        return invalid(decoding, node, text);
    }
    float narrow = (float)value;
    if (!isfinite(narrow)) {
        snprintf(text, sizeof text, "value %zu is not a finite float32", vector->dimension);
        return invalid(decoding, node, text);
    }
    vector->values[vector->dimension++] = narrow;
    return true;
}

static bool vector_bytes(struct decoding *decoding, const struct node *node, struct span bytes)
{
    struct vector *vector = decoding->vector;
    char text[96];
    if (bytes.size % sizeof(float) != 0) {
        snprintf(text, sizeof text, "has %zu bytes, not a multiple of 4", bytes.size);
        return invalid(decoding, node, text);
    }
    size_t dimension = bytes.size / sizeof(float);
    if (dimension > decoding->limits->dimension_max) {
        snprintf(text, sizeof text, "has %zu values, more than limits.dimension = %zu", dimension,
                 decoding->limits->dimension_max);
        return invalid(decoding, node, text);
    }
    memcpy(vector->values, bytes.data, bytes.size);
    vector->dimension = dimension;
    /* Not finite is an exponent of all ones. */
    for (size_t k = 0; k < dimension; k++) {
        uint32_t bits;
        memcpy(&bits, vector->values + k, sizeof bits);
        if ((bits & 0x7F800000u) == 0x7F800000u) {
            snprintf(text, sizeof text, "value %zu is not finite", k);
            return invalid(decoding, node, text);
        }
    }
    return true;
}

static bool walk(struct decoding *decoding, const struct node *node);

static bool take_bytes(struct decoding *decoding, const struct node *node)
{
    struct span bytes;
    char text[96];
    const struct target *target = target_of(decoding, node);
    if (!cursor_bytes(&decoding->cursor, &bytes))
        return malformed(decoding, node);
    if (target == NULL)
        return true;
    struct value *value = &decoding->values[node->slot];
    value->present = true;
    value->bytes = bytes;
    if (target->want == WANT_VECTOR)
        return vector_bytes(decoding, node, bytes);
    if (target->want == WANT_BYTES)
        return true;
    size_t most = target->want == WANT_ID     ? PLAN_ID_MAX
                  : target->want == WANT_TEXT ? PLAN_TEXT_MAX
                                              : SIZE_MAX;
    if (bytes.size > most) {
        snprintf(text, sizeof text, "has %zu bytes, may have %zu", bytes.size, most);
        return invalid(decoding, node, text);
    }
    return text_valid(bytes) || invalid(decoding, node, "is not valid UTF-8");
}

static bool take_number(struct decoding *decoding, const struct node *node)
{
    struct cursor *cursor = &decoding->cursor;
    int64_t integer = 0;
    float narrow = 0;
    double number = 0;
    bool truth = false;
    bool done = node->type == AVRO_INT32    ? cursor_int(cursor, &integer)
                : node->type == AVRO_INT64  ? cursor_long(cursor, &integer)
                : node->type == AVRO_FLOAT  ? cursor_float(cursor, &narrow)
                : node->type == AVRO_DOUBLE ? cursor_double(cursor, &number)
                                            : cursor_boolean(cursor, &truth);
    if (!done)
        return malformed(decoding, node);
    if (node->slot < 0)
        return true;
    struct value *value = &decoding->values[node->slot];
    value->present = true;
    value->integer = node->type == AVRO_BOOLEAN ? truth : integer;
    value->number = node->type == AVRO_FLOAT    ? (double)narrow
                    : node->type == AVRO_DOUBLE ? number
                                                : (double)integer;
    return target_of(decoding, node)->want != WANT_DOUBLE || isfinite(value->number) ||
           invalid(decoding, node, "is not finite");
}

static bool take_enum(struct decoding *decoding, const struct node *node)
{
    int64_t index;
    char text[96];
    if (!cursor_int(&decoding->cursor, &index))
        return malformed(decoding, node);
    if (index < 0 || (size_t)index >= node->symbol_count) {
        snprintf(text, sizeof text, "symbol %lld is not one of its %zu", (long long)index,
                 node->symbol_count);
        return invalid(decoding, node, text);
    }
    if (node->slot < 0)
        return true;
    if (node->symbols[index] < 0) {
        snprintf(text, sizeof text, "symbol %lld of the writer's schema is not known here",
                 (long long)index);
        return invalid(decoding, node, text);
    }
    decoding->values[node->slot].present = true;
    decoding->values[node->slot].integer = node->symbols[index];
    return true;
}

static bool take_union(struct decoding *decoding, const struct node *node)
{
    int64_t branch;
    if (!cursor_long(&decoding->cursor, &branch))
        return malformed(decoding, node);
    if (branch < 0 || (size_t)branch >= node->child_count) {
        decoding->cursor.why = "names a branch that its union does not have";
        return malformed(decoding, node);
    }
    if (node->slot >= 0) {
        if (node->symbols[branch] < 0)
            return invalid(decoding, node, "is of a kind that is not known here");
        decoding->values[node->slot].present = true;
        decoding->values[node->slot].integer = node->symbols[branch];
    }
    return walk(decoding, &node->children[branch]);
}

/* One item of an array that is wanted as a vector, else skipped. */
static bool take_item(struct decoding *decoding, const struct node *node, bool vector)
{
    const struct node *item = &node->children[0];
    float narrow;
    double number;
    if (!vector)
        return walk(decoding, item);
    if (item->type == AVRO_FLOAT) {
        if (!cursor_float(&decoding->cursor, &narrow))
            return malformed(decoding, node);
        return vector_add(decoding, node, (double)narrow);
    }
    if (!cursor_double(&decoding->cursor, &number))
        return malformed(decoding, node);
    return vector_add(decoding, node, number);
}

static bool take_array(struct decoding *decoding, const struct node *node)
{
    const struct target *target = target_of(decoding, node);
    bool vector = target != NULL && target->want == WANT_VECTOR;
    const char *start = (const char *)decoding->cursor.at;
    int64_t count;
    if (target != NULL)
        decoding->values[node->slot].present = true;
    while (cursor_block(&decoding->cursor, &count)) {
        if (count == 0) {
            if (target != NULL)
                decoding->values[node->slot].bytes =
                    (struct span){start, (size_t)((const char *)decoding->cursor.at - start)};
            return true;
        }
        if (!vector && (uint64_t)count > decoding->items)
            return invalid(decoding, node, "has more items than limits.record has bytes");
        decoding->items -= vector ? 0 : (size_t)count;
        for (; count > 0; count--) {
            if (!take_item(decoding, node, vector))
                return false;
        }
    }
    return malformed(decoding, node);
}

static bool take_map(struct decoding *decoding, const struct node *node)
{
    const char *start = (const char *)decoding->cursor.at;
    size_t most = node->slot < 0 ? decoding->items : decoding->limits->attributes_max;
    struct span key;
    int64_t count;
    char text[96];
    while (cursor_block(&decoding->cursor, &count)) {
        if (count == 0) {
            decoding->items = node->slot < 0 ? most : decoding->items;
            if (node->slot >= 0)
                decoding->values[node->slot] = (struct value){
                    .present = true,
                    .bytes = {start, (size_t)((const char *)decoding->cursor.at - start)}};
            return true;
        }
        if ((uint64_t)count > most) {
            if (node->slot >= 0)
                snprintf(text, sizeof text, "has more entries than limits.attributes = %zu",
                         decoding->limits->attributes_max);
            else
                snprintf(text, sizeof text, "has more entries than limits.record has bytes");
            return invalid(decoding, node, text);
        }
        most -= (size_t)count;
        for (; count > 0; count--) {
            if (!cursor_bytes(&decoding->cursor, &key))
                return malformed(decoding, node);
            if (!walk(decoding, &node->children[0]))
                return false;
        }
    }
    return malformed(decoding, node);
}

static bool walk(struct decoding *decoding, const struct node *node)
{
    switch (node->type) {
    case AVRO_NULL:
        return true;
    case AVRO_STRING:
    case AVRO_BYTES:
        return take_bytes(decoding, node);
    case AVRO_INT32:
    case AVRO_INT64:
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
    case AVRO_BOOLEAN:
        return take_number(decoding, node);
    case AVRO_ENUM:
        return take_enum(decoding, node);
    case AVRO_UNION:
        return take_union(decoding, node);
    case AVRO_ARRAY:
        return take_array(decoding, node);
    case AVRO_MAP:
        return take_map(decoding, node);
    case AVRO_FIXED:
        return cursor_skip(&decoding->cursor, node->fixed_size) || malformed(decoding, node);
    case AVRO_RECORD:
        for (size_t k = 0; k < node->child_count; k++) {
            if (node->children[k].later && cursor_left(&decoding->cursor) == 0)
                return true;
            if (!walk(decoding, &node->children[k]))
                return false;
        }
        return true;
    default:
        return malformed(decoding, node);
    }
}

bool plan_decode(const struct plan *plan, struct span record, const struct plan_limits *limits,
                 struct value *values, struct vector *vector, bool *validation, struct error *error)
{
    struct decoding decoding = {.plan = plan,
                                .limits = limits,
                                .cursor = cursor_init(record),
                                .values = values,
                                .vector = vector,
                                .items = limits->items_max,
                                .error = error};
    memset(values, 0, plan->target_count * sizeof *values);
    if (vector != NULL)
        vector->dimension = 0;
    bool done = walk(&decoding, &plan->root);
    if (validation != NULL)
        *validation = decoding.validation;
    if (!done)
        return false;
    if (cursor_left(&decoding.cursor) > 0)
        return error_set(error, ERROR_DATA, "record: %zu bytes are left over",
                         cursor_left(&decoding.cursor));
    return true;
}
