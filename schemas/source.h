/* The writers' schemas that are known, and the state of a `struct contracts`. Private to this
 * folder. */
#ifndef INFOPAIR_SOURCE_H
#define INFOPAIR_SOURCE_H

#include <avro.h>

#include "contracts.h"
#include "plan.h"

/* One writer's schema. */
struct writer {
    int32_t id;
    enum contract contract;
    char *file; /* as named in schemas.ids */
    avro_schema_t schema;
    struct plan *plan;
};

/* What we encode with: the schema of our own file and a value that is used again and again. */
struct encoder {
    int32_t id;
    avro_value_iface_t *class;
    avro_value_t value;
};

struct contracts {
    enum framing framing;
    struct plan_limits limits;
    size_t record_max;
    struct writer *writers;
    size_t writer_count;
    struct encoder encoders[CONTRACTS];
    struct vector vector;
    struct value values[PLAN_SLOTS_MAX];
    struct buffer scratch; /* texts with a NUL behind, for libavro */
};

/* Loads schemas.ids from the directory. */
bool source_load(struct contracts *contracts, const struct contracts_options *options,
                 struct error *error);
void source_unload(struct contracts *contracts);
/* Takes the framing off and finds the writer. */
const struct writer *source_find(const struct contracts *contracts, enum contract contract,
                                 struct span *record, const char **stage, struct error *error);

/* The targets of a contract. */
const struct target *targets_of(enum contract contract, size_t *count);
/* Unframes and decodes one record into contracts->values. */
bool decode_values(struct contracts *contracts, enum contract contract, struct span record,
                   const struct writer **writer, const char **stage, struct error *error);
/* Which kind of entry stands in contracts->values. */
enum entry_kind decoded_kind(const struct contracts *contracts);

#endif
