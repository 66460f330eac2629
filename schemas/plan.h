/* How to read records of one writer's schema into a table of slots.
 *
 * A plan is the writer's schema as a tree of nodes, compiled once. Each leaf is read into the slot
 * of the target with its path, or skipped. Paths are field names joined by dots ("left.text"); a
 * branch of a union of records adds the record's name ("body.Selected.x"), other unions add
 * nothing. Decoding walks the tree once over the bytes: no recursion deeper than PLAN_DEPTH, no
 * more items in arrays and maps than the limits allow, no allocation. */
#ifndef INFOPAIR_PLAN_H
#define INFOPAIR_PLAN_H

#include <avro.h>

#include "bytes.h"
#include "error.h"

enum { PLAN_DEPTH = 16, PLAN_NODES_MAX = 4096, PLAN_SLOTS_MAX = 160 };

/* Bytes of an id, version, space, domain or annotator of an input, and of any text of the ledger.
 * Fixed: a ledger must stay readable whatever the options of the one who reads it. */
enum { PLAN_ID_MAX = 1024, PLAN_TEXT_MAX = 64 * 1024 };

enum want {
    WANT_ID,       /* string or bytes, valid UTF-8, at most PLAN_ID_MAX bytes */
    WANT_TEXT,     /* the same, at most PLAN_TEXT_MAX bytes */
    WANT_LONGTEXT, /* the same without a limit of its own */
    WANT_BYTES,    /* bytes or string */
    WANT_LONG,     /* int or long */
    WANT_DOUBLE,   /* int, long, float or double; finite */
    WANT_BOOLEAN,
    WANT_ENUM,   /* index into symbols */
    WANT_VECTOR, /* bytes, array<float> or array<double>: finite float32 */
    WANT_MAP,    /* map<string>: the encoded region */
    WANT_ROWS,   /* array of a record with exactly the fields of symbols, each "name:type" with
                    type string, long or double, in that order: the encoded region */
    WANT_BRANCH, /* which record of a union: index into symbols */
};

struct target {
    const char *path;
    enum want want;
    bool required;              /* the writer must have it */
    const char *const *symbols; /* NULL-terminated */
    bool later; /* came after the first version of a contract, at the end of its record: a record
                   may end before it, as one written by an older copy of the contract does */
};

struct value {
    bool present;    /* false: null, or the writer has no such field */
    int64_t integer; /* WANT_LONG, WANT_ENUM, WANT_BRANCH, WANT_BOOLEAN */
    double number;
    struct span bytes; /* into the record */
};

struct plan_limits {
    size_t dimension_max;
    size_t items_max;      /* of all arrays and maps of a record that are skipped, together */
    size_t attributes_max; /* of a map that is kept */
};

/* Where a vector goes. */
struct vector {
    float *values; /* dimension_max of them */
    size_t dimension;
};

struct plan;

/* Compiles. targets: `count` of them, kept by reference. Errors are ERROR_FATAL and name the
 * field. */
struct plan *plan_new(avro_schema_t writer, const struct target *targets, size_t count,
                      struct error *error);
void plan_free(struct plan *plan);
/* Reads one record: `values` (one each target) and, for WANT_VECTOR, `vector`. The whole record
 * must be used up. ERROR_DATA names the field; *validation (may be NULL) tells a bad value from bad
 * encoding. */
bool plan_decode(const struct plan *plan, struct span record, const struct plan_limits *limits,
                 struct value *values, struct vector *vector, bool *validation,
                 struct error *error);

/* True when the bytes are well-formed UTF-8. */
bool text_valid(struct span text);

#endif
