/* JSON objects as completions, labels and labels given before: fields have the names of the Avro
 * contracts. */
#ifndef INFOPAIR_SEND_FIELDS_H
#define INFOPAIR_SEND_FIELDS_H

#include "options.h"
#include "schemas/error.h"
#include "schemas/records.h"

#include <jansson.h>

struct send_fields;

/* A label that was given elsewhere, for `send history`: the pair stands in it. */
struct history {
    struct label label; /* its request_id and pair_id are empty */
    struct span prompt_id, left_id, right_id;
    struct span feature_space; /* empty: the one in force */
    struct span policy_version;
    int64_t policy_epoch;
    const float *left, *right; /* features as they were sent, `dimension` values each */
    size_t dimension;
};

/* defaults: `count` times "NAME=VALUE", for fields that a line does not have; a borrowed list. The
 * error is a usage error and names the nearest field. contract: CONTRACT_COMPLETION,
 * CONTRACT_LABEL, or CONTRACT_LEDGER for history. Limits are those of `options`. */
struct send_fields *send_fields_new(enum contract contract, const struct options *options,
                                    const char *const *defaults, size_t count, struct error *error);
void send_fields_free(struct send_fields *fields);

/* Fills `completion` from one object. features: the row that belongs to the line, of `dimension`
 * values, or NULL, and then the line must hold them. Views point into `line`, the defaults and
 * memory of `fields` that lasts until the next call. A null means that the field is absent. Fields
 * that the contract does not have become attributes: strings as they are, everything else as
 * compact JSON. Errors (ERROR_DATA) name the field. */
bool send_completion(struct send_fields *fields, json_t *line, const float *features,
                     size_t dimension, struct completion *completion, struct error *error);

/* Fills `label`. Labels have no attributes: a field that the contract does not have is an error. */
bool send_label(struct send_fields *fields, json_t *line, struct label *label, struct error *error);

/* Fills `history`. left, right: the rows that belong to the line, of `dimension` values, or NULL,
 * and then the line must hold features_left and features_right. Both sides must differ. Unknown
 * fields are errors, as for a label. */
bool send_history_line(struct send_fields *fields, json_t *line, const float *left,
                       const float *right, size_t dimension, struct history *history,
                       struct error *error);

#endif
