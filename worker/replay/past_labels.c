#include "past_labels.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/command_kafka.h"
#include "worker/engine/requests.h"
#include "worker/send_lines.h"

enum { LINE_FACTOR = 8 };

/* Where a completion stands. */
struct place {
    struct id id; /* of prompt_id and completion_id */
    size_t record;
};

struct labels {
    struct past *past;
    const struct options *options;
    const char *name; /* of the file, without its folder */
    struct contracts *contracts;
    struct send_fields *fields;
    struct send_lines *lines;
    struct place *places; /* in order of id */
    size_t place_count;
    float *rows[2], *x;
    struct buffer record;
    char space[256];
    size_t dimension;
    double scale;
    struct tally *tallies; /* open addressing, at most half of it taken */
    size_t tally_count, tally_capacity;
    int64_t taken, offset;
};

/* Lines of a pair so far; 0: an empty slot. */
struct tally {
    struct id pair;
    int32_t lines;
};

/* What a line says of the request behind its label. */
struct behind {
    bool asked;
    double propensity;
    enum pair_arm arm;
    int64_t issued_at; /* -1: unknown */
};

/* ---- completions by name ---- */

static struct id name_of(struct span prompt_id, struct span completion_id)
{
    const struct span parts[] = {prompt_id, completion_id};
    return identity_hash(parts, 2);
}

static int by_id(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    int order = identity_compare(a->id, b->id);
    return order != 0 ? order : (a->record > b->record) - (a->record < b->record);
}

static bool index_completions(struct labels *labels, struct error *error)
{
    const struct spool *spool = labels->past->completions;
    labels->place_count = spool_count(spool);
    labels->places = calloc(labels->place_count, sizeof *labels->places);
    if (labels->places == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for %zu names", labels->place_count);
    for (size_t k = 0; k < labels->place_count; k++) {
        struct completion completion;
        if (!contracts_decode_completion(labels->contracts, spool_at(spool, k).value, &completion,
                                         NULL, error))
            return false;
        labels->places[k] =
            (struct place){name_of(completion.prompt_id, completion.completion_id), k};
    }
    qsort(labels->places, labels->place_count, sizeof *labels->places, by_id);
    return true;
}

/* The features of a completion, the first of that name, into `row`. */
static bool find_features(struct labels *labels, struct span prompt_id, struct span completion_id,
                          float *row, struct error *error)
{
    struct id id = name_of(prompt_id, completion_id);
    size_t low = 0, high = labels->place_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (identity_compare(labels->places[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == labels->place_count || !identity_equal(labels->places[low].id, id))
        return error_set(error, ERROR_DATA,
                         "'%.*s' of the prompt '%.*s' is not among the completions, and the line "
                         "has no features",
                         (int)completion_id.size, completion_id.data, (int)prompt_id.size,
                         prompt_id.data);
    struct completion completion;
    const struct span value = spool_at(labels->past->completions, labels->places[low].record).value;
    if (!contracts_decode_completion(labels->contracts, value, &completion, NULL, error))
        return false;
    if (completion.dimension != labels->dimension)
        return error_set(error, ERROR_DATA, "'%.*s' has %zu features, the space has %zu",
                         (int)completion_id.size, completion_id.data, completion.dimension,
                         labels->dimension);
    memcpy(row, completion.features, labels->dimension * sizeof *row);
    return true;
}

static struct span text_of(const json_t *line, const char *name)
{
    const json_t *value = json_object_get(line, name);
    return (struct span){json_string_value(value), json_string_length(value)};
}

/* *found: both sides' features stand among the completions; else the line must have them. */
static bool look_up(struct labels *labels, const json_t *line, bool *found, struct error *error)
{
    static const char *const SIDES[] = {"left_id", "right_id"};
    *found = json_object_get(line, "features_left") == NULL &&
             json_object_get(line, "features_right") == NULL;
    for (size_t k = 0; *found && k < 2; k++) {
        if (!find_features(labels, text_of(line, "prompt_id"), text_of(line, SIDES[k]),
                           labels->rows[k], error))
            return error_prefix(error, "%s", SIDES[k]);
    }
    return true;
}

/* ---- one line ---- */

static bool read_arm(const char *text, enum pair_arm *arm, struct error *error)
{
    static const char *const ARMS[] = {"selected", "control", "probe"};
    for (int k = 0; text != NULL && k < 3; k++) {
        if (strcmp(text, ARMS[k]) == 0) {
            *arm = (enum pair_arm)k;
            return true;
        }
    }
    return error_set(error, ERROR_DATA, "arm: '%.60s' is none of selected, control, probe",
                     text == NULL ? "not a string" : text);
}

/* Takes what `send history` does not know out of the line. */
static bool take_behind(json_t *line, struct behind *behind, struct error *error)
{
    const json_t *propensity = json_object_get(line, "propensity");
    const json_t *arm = json_object_get(line, "arm"), *issued = json_object_get(line, "issued_at");
    *behind =
        (struct behind){.asked = json_is_number(propensity),
                        .propensity = json_number_value(propensity),
                        .issued_at = json_is_integer(issued) ? json_integer_value(issued) : -1};
    if (propensity != NULL && !json_is_null(propensity) &&
        !(behind->propensity > 0 && behind->propensity <= 1))
        return error_set(error, ERROR_DATA, "propensity: is not a number in (0, 1]");
    if (issued != NULL && !json_is_null(issued) && behind->issued_at < 0)
        return error_set(error, ERROR_DATA, "issued_at: is not milliseconds since the epoch");
    if (arm != NULL && !json_is_null(arm) && !read_arm(json_string_value(arm), &behind->arm, error))
        return false;
    json_object_del(line, "propensity");
    json_object_del(line, "arm");
    json_object_del(line, "issued_at");
    return true;
}

static bool take_difference(struct labels *labels, const struct history *history,
                            struct error *error)
{
    if (history->dimension != labels->dimension)
        return error_set(error, ERROR_DATA, "features_left: %zu values, the completions have %zu",
                         history->dimension, labels->dimension);
    for (size_t k = 0; k < labels->dimension; k++) {
        double apart = (double)history->left[k] - (double)history->right[k];
        labels->x[k] = (float)(labels->scale * apart);
        if (!isfinite(labels->x[k]))
            return error_set(error, ERROR_DATA,
                             "features_left: value %zu is too far from the right", k);
    }
    return true;
}

static bool write_entry(struct labels *labels, struct entry *entry, struct error *error)
{
    entry->version = LEDGER_VERSION;
    entry->digest = entry->writer = span_of("replay");
    labels->record.size = 0;
    if (!contracts_encode_entry(labels->contracts, entry, &labels->record, error))
        return false;
    const struct spool_record record = {.time = entry->time,
                                        .offset = labels->offset++,
                                        .value = {labels->record.data, labels->record.size}};
    struct entry back; /* what cannot be read again is blamed on its line */
    return contracts_decode_entry(labels->contracts, record.value, &back, NULL, error) &&
           past_add_entry(labels->past, entry, &record, error);
}

static struct tally *find_tally(struct tally *tallies, size_t capacity, struct id pair)
{
    size_t slot = (size_t)pair.low & (capacity - 1);
    while (tallies[slot].lines > 0 && !identity_equal(tallies[slot].pair, pair))
        slot = (slot + 1) & (capacity - 1);
    return &tallies[slot];
}

static bool grow_tallies(struct labels *labels, struct error *error)
{
    size_t capacity = labels->tally_capacity == 0 ? 1024 : 2 * labels->tally_capacity;
    struct tally *grown = calloc(capacity, sizeof *grown);
    if (grown == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for labels");
    for (size_t k = 0; k < labels->tally_capacity; k++) {
        if (labels->tallies[k].lines > 0)
            *find_tally(grown, capacity, labels->tallies[k].pair) = labels->tallies[k];
    }
    free(labels->tallies);
    labels->tallies = grown;
    labels->tally_capacity = capacity;
    return true;
}

/* How often the pair stood in a line before: each line is a request of its own. */
static bool count_before(struct labels *labels, struct id pair, int32_t *before,
                         struct error *error)
{
    if (2 * labels->tally_count >= labels->tally_capacity && !grow_tallies(labels, error))
        return false;
    struct tally *tally = find_tally(labels->tallies, labels->tally_capacity, pair);
    labels->tally_count += tally->lines == 0;
    tally->pair = pair;
    *before = tally->lines++;
    return true;
}

/* Milliseconds that an answer may come behind the last completion. */
static const int64_t LATEST = INT64_C(3650) * 86400000;

/* The ids of one line as an entry has them. */
struct naming {
    char pair[ID_TEXT_SIZE], request[ID_TEXT_SIZE], label[320];
    struct span label_id, x;
    int32_t replica;
    int64_t issued_at, answered_at;
};

static bool name_line(struct labels *labels, const struct history *history, struct behind *behind,
                      struct naming *naming, struct error *error)
{
    struct id pair = identity_pair(history->prompt_id, history->left_id, history->right_id);
    struct span space = span_of(labels->space);
    int32_t before;
    if (!count_before(labels, pair, &before, error))
        return false;
    naming->label_id = history->label.label_id;
    if (naming->label_id.size == 0) {
        snprintf(naming->label, sizeof naming->label, "%.250s:%" PRId64, labels->name,
                 send_lines_number(labels->lines));
        naming->label_id = span_of(naming->label);
    }
    behind->asked = behind->asked && before < REQUEST_REPLICAS_MAX;
    naming->replica = before + 1;
    struct id request = behind->asked ? identity_request(space, pair, naming->replica, 1)
                                      : identity_imported(space, pair, naming->label_id);
    identity_format(pair, naming->pair);
    identity_format(request, naming->request);
    naming->x = (struct span){(const char *)labels->x, labels->dimension * sizeof *labels->x};
    naming->answered_at =
        history->label.labelled_at > 0 ? history->label.labelled_at : labels->past->end;
    if (naming->answered_at > labels->past->end + LATEST)
        return error_set(error, ERROR_DATA,
                         "labelled_at: %" PRId64
                         " lies ten years behind the last completion; it is "
                         "in milliseconds since the epoch",
                         naming->answered_at);
    naming->issued_at = behind->issued_at >= 0 ? behind->issued_at : naming->answered_at;
    if (naming->issued_at > naming->answered_at)
        return error_set(error, ERROR_DATA, "issued_at: lies behind labelled_at");
    return (behind->issued_at < 0 || past_check_time("issued_at", behind->issued_at, error)) &&
           (history->label.labelled_at <= 0 ||
            past_check_time("labelled_at", history->label.labelled_at, error));
}

static bool write_selected(struct labels *labels, const struct history *history,
                           const struct behind *behind, const struct naming *naming,
                           struct error *error)
{
    struct entry entry = {.kind = ENTRY_SELECTED,
                          .time = naming->issued_at,
                          .selected = {.request_id = span_of(naming->request),
                                       .pair_id = span_of(naming->pair),
                                       .prompt_id = history->prompt_id,
                                       .left_id = history->left_id,
                                       .right_id = history->right_id,
                                       .feature_space = span_of(labels->space),
                                       .policy_version = history->policy_version,
                                       .policy_epoch = history->policy_epoch,
                                       .x = naming->x,
                                       .arm = behind->arm,
                                       .propensity = behind->propensity,
                                       .slot = labels->offset,
                                       .issued_at = naming->issued_at,
                                       .deadline = naming->answered_at,
                                       .replica = naming->replica,
                                       .attempt = 1,
                                       .cost = 1}};
    return write_entry(labels, &entry, error);
}

static bool write_labelled(struct labels *labels, const struct history *history,
                           const struct behind *behind, const struct naming *naming,
                           struct error *error)
{
    struct entry entry = {.kind = ENTRY_LABELLED,
                          .time = naming->answered_at,
                          .labelled = {.label_id = naming->label_id,
                                       .request_id = span_of(naming->request),
                                       .pair_id = span_of(naming->pair),
                                       .prompt_id = history->prompt_id,
                                       .left_id = history->left_id,
                                       .right_id = history->right_id,
                                       .feature_space = span_of(labels->space),
                                       .policy_version = history->policy_version,
                                       .policy_epoch = history->policy_epoch,
                                       .x = naming->x,
                                       .source_topic = span_of(labels->name),
                                       .source_offset = send_lines_number(labels->lines),
                                       .outcome = history->label.outcome,
                                       .probability_left = label_probability(&history->label),
                                       .confidence = history->label.confidence,
                                       .annotator_id = history->label.annotator_id,
                                       .annotator_kind = history->label.annotator_kind,
                                       .labelled_at = naming->answered_at,
                                       .origin = behind->asked ? ORIGIN_REQUEST : ORIGIN_IMPORTED,
                                       .arm = behind->arm}};
    return write_entry(labels, &entry, error);
}

static bool take_object(struct labels *labels, json_t *line, struct error *error)
{
    struct behind behind;
    struct history history;
    struct naming naming;
    bool found;
    size_t d = labels->dimension;
    return take_behind(line, &behind, error) && look_up(labels, line, &found, error) &&
           send_history_line(labels->fields, line, found ? labels->rows[0] : NULL,
                             found ? labels->rows[1] : NULL, d, &history, error) &&
           take_difference(labels, &history, error) &&
           name_line(labels, &history, &behind, &naming, error) &&
           (!behind.asked || write_selected(labels, &history, &behind, &naming, error)) &&
           write_labelled(labels, &history, &behind, &naming, error);
}

static bool take_line(void *closure, enum send_line found, json_t *line, struct error *error)
{
    struct labels *labels = closure;
    if (found != LINE_OBJECT)
        return false;
    return take_object(labels, line, error) || send_lines_blame(labels->lines, error);
}

/* ---- the file ---- */

static bool read_space(struct labels *labels, struct error *error)
{
    struct entry entry;
    const struct span record = {labels->past->space.data, labels->past->space.size};
    if (!contracts_decode_entry(labels->contracts, record, &entry, NULL, error))
        return false;
    labels->dimension = (size_t)entry.space.dimension;
    labels->scale = entry.space.scale;
    snprintf(labels->space, sizeof labels->space, "%.*s", (int)entry.space.feature_space.size,
             entry.space.feature_space.data);
    return true;
}

static bool prepare(struct labels *labels, const char *path, struct error *error)
{
    const struct options *options = labels->options;
    labels->record.maximum = options->limits_record;
    labels->contracts = command_contracts(options, options->limits_record, error);
    if (labels->contracts == NULL || !read_space(labels, error))
        return false;
    for (size_t k = 0; k < 2; k++)
        labels->rows[k] = malloc(labels->dimension * sizeof(float));
    labels->x = malloc(labels->dimension * sizeof(float));
    if (labels->rows[0] == NULL || labels->rows[1] == NULL || labels->x == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for labels");
    labels->fields = send_fields_new(CONTRACT_LEDGER, options, NULL, 0, error);
    if (labels->fields == NULL || !index_completions(labels, error))
        return false;
    labels->lines = send_lines_open(path, LINE_FACTOR * options->limits_record, error);
    return labels->lines != NULL;
}

bool past_read_labels(struct past *past, const struct options *options, const char *path,
                      struct error *error)
{
    const char *slash = strrchr(path, '/');
    struct labels labels = {
        .past = past, .options = options, .name = slash == NULL ? path : slash + 1};
    bool end;
    bool done = prepare(&labels, path, error) &&
                send_lines_each(labels.lines, -1, take_line, &labels, &labels.taken, &end, error);
    send_lines_close(labels.lines);
    send_fields_free(labels.fields);
    contracts_free(labels.contracts);
    buffer_free(&labels.record);
    free(labels.places);
    free(labels.rows[0]);
    free(labels.rows[1]);
    free(labels.x);
    free(labels.tallies);
    return done;
}
