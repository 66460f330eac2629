/* The four contracts, loaded from files: decode what comes from the network, encode what we
 * publish.
 *
 * Decoding is our own bounded cursor driven by a plan compiled from the writer's schema (libavro
 * parses that schema and nothing else touches hostile bytes). Encoding is libavro's. Framing is
 * Confluent's (byte 0, big-endian 4-byte schema id) or none.
 *
 * A `struct contracts` is used by one thread at a time. */
#ifndef INFOPAIR_CONTRACTS_H
#define INFOPAIR_CONTRACTS_H

#include "error.h"
#include "records.h"

enum contract { CONTRACT_COMPLETION, CONTRACT_LABEL, CONTRACT_PAIR, CONTRACT_LEDGER, CONTRACTS };

/* "completion", "label", "pair", "ledger". */
const char *contract_name(enum contract contract);

enum framing { FRAMING_CONFLUENT, FRAMING_BARE };

struct contracts_options {
    enum framing framing;
    const char *directory;  /* holds completion.avsc, label.avsc, pair.avsc, ledger.avsc */
    const char *const *ids; /* "id=file" each, file relative to directory; may be empty: then
                             * 1=completion.avsc 2=label.avsc 3=pair.avsc 4=ledger.avsc */
    size_t id_count;
    size_t record_max;     /* bytes of one record; prompt, text and uri are bounded by this alone,
                            * and whoever publishes them cuts */
    size_t dimension_max;  /* values of one feature vector */
    size_t attributes_max; /* entries of `attributes` */
};

struct contracts;

/* Parses the schema files and compiles the plans. Errors (ERROR_FATAL) name file and field. */
struct contracts *contracts_new(const struct contracts_options *options, struct error *error);
void contracts_free(struct contracts *contracts);

/* Decode one record. Views in `out` point into `record`, or, where the encoding is not contiguous,
 * into memory of `contracts` that lasts until the next decode. `out->features` points to
 * memory of `contracts` that lasts until the next decode.
 * On failure the error is ERROR_DATA and *stage (may be NULL) says where: "framing", "schema",
 * "decode" or "validate". Validation: ids not empty, numbers finite, outcome known, confidence in
 * (0, 1], probability in [0, 1], dimension within limits, no bytes left over. */
bool contracts_decode_completion(struct contracts *contracts, struct span record,
                                 struct completion *out, const char **stage, struct error *error);
bool contracts_decode_label(struct contracts *contracts, struct span record, struct label *out,
                            const char **stage, struct error *error);
bool contracts_decode_entry(struct contracts *contracts, struct span record, struct entry *out,
                            const char **stage, struct error *error);

/* Append one framed record to `out`. False when it would pass out's maximum (ERROR_DATA) or memory
 * runs out (ERROR_FATAL); out is then as before. */
bool contracts_encode_completion(struct contracts *contracts, const struct completion *completion,
                                 struct buffer *out, struct error *error);
bool contracts_encode_label(struct contracts *contracts, const struct label *label,
                            struct buffer *out, struct error *error);
bool contracts_encode_pair(struct contracts *contracts, const struct pair *pair, struct buffer *out,
                           struct error *error);
bool contracts_encode_entry(struct contracts *contracts, const struct entry *entry,
                            struct buffer *out, struct error *error);

/* Steps through a map<string> as encoded (completion.attributes). *position starts at 0 and is
 * opaque; returns false after the last. The map was validated by the decoder. */
bool attributes_next(struct span attributes, size_t *position, struct span *name,
                     struct span *value);
/* Appends one encoded map<string> (count, items, end) to `out`. */
bool attributes_encode(const struct span *names, const struct span *values, size_t count,
                       struct buffer *out);

/* Steps through the annotators of a FIT as encoded (entry_fit.annotators), as attributes_next does.
 * The region was walked by the decoder; what it says was not judged. */
bool annotators_next(struct span annotators, size_t *position, struct fit_annotator *out);
/* Appends the encoded array to `out`. */
bool annotators_encode(const struct fit_annotator *annotators, size_t count, struct buffer *out);

/* Prints one record of `contract`, as read from a topic, as one line of JSON (Avro's JSON names;
 * unions without the type wrapper, bytes of float vectors as arrays of numbers) through libavro.
 * For people and tools, never for the worker's own reading. The record is checked by the bounded
 * decoder's walk first. */
bool contracts_print_json(struct contracts *contracts, enum contract contract, struct span record,
                          struct buffer *out, struct error *error);

#endif
