/* x = scale (left - right) in the SPACE in force. Each label is a request of its own, that nobody
 * asked: its id is that of the label, so that the same line again is the same entry. Lines go out
 * in transactions of their own; the first bad one ends it, as of `send`. */
#include "send_history.h"

#include "clock.h"
#include "command.h"
#include "engine/requests.h"
#include "ledger_append.h"
#include "npy.h"
#include "send_fields.h"
#include "send_lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_FACTOR = 8, BATCH_LINES = 1000, BATCH_BYTES = 8 << 20, NAME_MAX_BYTES = 249 };

struct import {
    const struct history_request *request;
    struct ledger_view view;
    struct ledger_append *append; /* NULL: nothing to write yet */
    struct send_fields *fields;
    struct send_lines *lines;
    struct npy *features[2];
    char name[NAME_MAX_BYTES + 1]; /* of the file, without its folder */
    /* The space that x is in. */
    char space[256];
    bool in_force; /* by its SPACE; else by features.scale */
    double scale;
    size_t dimension; /* 0: not known yet */
    float *x;
    int64_t taken, written, known, skipped, waiting; /* lines; waiting: not committed */
    size_t waiting_bytes;
};

/* ---- what goes into the ledger ---- */

static bool take_space(struct import *import, struct error *error)
{
    const struct options *options = import->request->options;
    const struct engine_view view = engine_view(import->view.engine);
    import->in_force = view.space != NULL;
    import->scale = import->in_force ? view.scale : options->features_scale;
    import->dimension = import->in_force ? view.dimension : options->features_dimension;
    snprintf(import->space, sizeof import->space, "%s",
             import->in_force                     ? view.space
             : options->features_space[0] != '\0' ? options->features_space
                                                  : "");
    return import->scale > 0 ||
           error_set(error, ERROR_FATAL,
                     "the ledger holds no SPACE yet, and features.scale is not given: the scale of "
                     "the features is not known. Send completions and let a worker run until "
                     "features.scale_pools = %" PRId64
                     " pools are ready, or set features.scale for all workers",
                     options->features_scale_pools);
}

/* The line belongs to the space; without one in force, the first line names it. */
static bool check_space(struct import *import, const struct history *history, struct error *error)
{
    struct span name = history->feature_space;
    if (name.size >= sizeof import->space)
        return error_set(error, ERROR_DATA, "feature_space: %zu bytes; at most %zu", name.size,
                         sizeof import->space - 1);
    if (import->space[0] == '\0')
        snprintf(import->space, sizeof import->space, "%.*s", name.size == 0 ? 7 : (int)name.size,
                 name.size == 0 ? "default" : name.data);
    if (name.size > 0 && !span_equal(name, span_of(import->space)))
        return error_set(error, ERROR_DATA, "feature_space: '%.*s' is not '%s', the space %s",
                         (int)name.size, name.data, import->space,
                         import->in_force ? "in force" : "of the others");
    if (import->dimension == 0)
        import->dimension = history->dimension;
    return history->dimension == import->dimension ||
           error_set(error, ERROR_DATA, "features_left: %zu values, the space '%s' has %zu",
                     history->dimension, import->space, import->dimension);
}

static bool check_ids(const struct history *history, struct error *error)
{
    const struct span ids[] = {history->prompt_id, history->left_id, history->right_id};
    static const char *const NAMES[] = {"prompt_id", "left_id", "right_id"};
    for (size_t k = 0; k < sizeof ids / sizeof *ids; k++)
        if (ids[k].size > REQUEST_ID_MAX)
            return error_set(error, ERROR_DATA, "%s: %zu bytes; at most %d", NAMES[k], ids[k].size,
                             REQUEST_ID_MAX);
    return !span_equal(history->left_id, history->right_id) ||
           error_set(error, ERROR_DATA, "right_id: the same as left_id");
}

static bool take_difference(struct import *import, const struct history *history,
                            struct error *error)
{
    if (import->x == NULL)
        import->x = malloc(import->dimension * sizeof *import->x);
    if (import->x == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    for (size_t k = 0; k < import->dimension; k++) {
        double apart = (double)history->left[k] - (double)history->right[k];
        import->x[k] = (float)(import->scale * apart);
        if (!(fabs((double)import->x[k]) <= REQUEST_X_MAX))
            return error_set(error, ERROR_DATA,
                             "features_left: value %zu is too far from the right", k);
    }
    return true;
}

/* Of the file's name, the line and the pair. */
static struct id default_label_id(const struct import *import, struct span pair_id)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, send_lines_number(import->lines));
    const struct span parts[] = {span_of("history"), span_of(import->name), span_of(number),
                                 pair_id};
    return identity_hash(parts, sizeof parts / sizeof *parts);
}

static bool open_append(struct import *import, struct error *error)
{
    if (import->append == NULL)
        import->append = ledger_append_new(&import->view, error);
    return import->append != NULL;
}

static bool write_label(struct import *import, const struct history *history, struct error *error)
{
    char pair_id[ID_TEXT_SIZE], label_text[ID_TEXT_SIZE], request_id[ID_TEXT_SIZE];
    struct id pair = identity_pair(history->prompt_id, history->left_id, history->right_id);
    struct span label_id = history->label.label_id;
    identity_format(pair, pair_id);
    if (label_id.size == 0) {
        identity_format(default_label_id(import, span_of(pair_id)), label_text);
        label_id = span_of(label_text);
    }
    if (requests_has_label(engine_requests(import->view.engine), identity_of(label_id))) {
        import->known++;
        return true;
    }
    struct id request = identity_imported(span_of(import->space), pair, label_id);
    identity_format(request, request_id);
    struct entry entry = {
        .kind = ENTRY_LABELLED,
        .labelled = {.label_id = label_id,
                     .request_id = span_of(request_id),
                     .pair_id = span_of(pair_id),
                     .prompt_id = history->prompt_id,
                     .left_id = history->left_id,
                     .right_id = history->right_id,
                     .feature_space = span_of(import->space),
                     .policy_version = history->policy_version,
                     .policy_epoch = history->policy_epoch,
                     .x = {(const char *)import->x, import->dimension * sizeof *import->x},
                     .source_topic = span_of(import->name),
                     .source_offset = send_lines_number(import->lines),
                     .outcome = history->label.outcome,
                     .probability_left = label_probability(&history->label),
                     .confidence = history->label.confidence,
                     .annotator_id = history->label.annotator_id,
                     .annotator_kind = history->label.annotator_kind,
                     .labelled_at = history->label.labelled_at,
                     .origin = ORIGIN_IMPORTED,
                     .arm = ARM_SELECTED}};
    if (!open_append(import, error) || !ledger_append_entry(import->append, &entry, request, error))
        return false;
    import->waiting++;
    import->waiting_bytes += entry.labelled.x.size;
    return true;
}

static bool commit(struct import *import, struct error *error)
{
    if (import->waiting > 0 && !ledger_append_commit(import->append, error))
        return false;
    import->written += import->waiting;
    import->waiting = 0;
    import->waiting_bytes = 0;
    return true;
}

/* ---- lines ---- */

/* First, so that the rows stay with the lines whatever is wrong with a line. */
static bool next_rows(struct import *import, const float *rows[2], struct error *error)
{
    static const char *const SIDES[] = {"left", "right"};
    bool good = true;
    for (size_t k = 0; k < 2; k++) {
        struct error why = {ERROR_NONE, ""};
        rows[k] = NULL;
        if (import->features[k] == NULL || npy_next(import->features[k], &rows[k], &why) || !good)
            continue;
        good = error_set(error, why.class, "%s %s", SIDES[k], why.message);
    }
    return good;
}

static bool take_line(struct import *import, json_t *line, struct error *error)
{
    struct history history;
    const float *rows[2];
    size_t dimension = import->features[0] == NULL ? 0 : npy_columns(import->features[0]);
    return next_rows(import, rows, error) &&
           send_history_line(import->fields, line, rows[0], rows[1], dimension, &history, error) &&
           check_ids(&history, error) && check_space(import, &history, error) &&
           take_difference(import, &history, error) && write_label(import, &history, error);
}

/* True when nothing forbids to go on behind this line. */
static bool pass_over(struct import *import, const struct error *error)
{
    if (!import->request->skip_bad || error->class != ERROR_DATA)
        return false;
    import->skipped++;
    fprintf(stderr, "infopair send: %s\n", error->message);
    return true;
}

static bool take_next(struct import *import, enum send_line found, json_t *line,
                      struct error *error)
{
    const float *rows[2];
    struct error ignored;
    if (found == LINE_OBJECT && take_line(import, line, error))
        return true;
    if (found == LINE_OBJECT)
        send_lines_blame(import->lines, error);
    else
        next_rows(import, rows, &ignored);
    return pass_over(import, error);
}

static bool check_rows(const struct import *import, struct error *error)
{
    if (import->features[0] == NULL || (uint64_t)import->taken == npy_rows(import->features[0]))
        return true;
    return error_set(error, ERROR_DATA,
                     "%s has %" PRIu64 " rows, %s has %" PRId64 " lines: do they belong together?",
                     import->request->features[0], npy_rows(import->features[0]), import->name,
                     import->taken);
}

static bool take_any(void *closure, enum send_line found, json_t *line, struct error *error)
{
    struct import *import = closure;
    if (!take_next(import, found, line, error))
        return false;
    bool full = import->waiting >= BATCH_LINES || import->waiting_bytes >= BATCH_BYTES;
    return !full || commit(import, error);
}

static bool take_lines(struct import *import, struct error *error)
{
    bool end;
    return send_lines_each(import->lines, import->request->limit, take_any, import, &import->taken,
                           &end, error) &&
           (!end || check_rows(import, error));
}

/* ---- the command ---- */

static bool open_features(struct import *import, struct error *error)
{
    const struct history_request *request = import->request;
    for (size_t k = 0; k < 2 && request->features[k] != NULL; k++) {
        import->features[k] =
            npy_open(request->features[k], request->options->limits_dimension, error);
        if (import->features[k] == NULL)
            return false;
    }
    struct npy *const *side = import->features;
    return side[0] == NULL ||
           (npy_rows(side[0]) == npy_rows(side[1]) &&
            npy_columns(side[0]) == npy_columns(side[1])) ||
           error_set(error, ERROR_DATA,
                     "%s and %s are not of one shape: %" PRIu64 " x %zu, %" PRIu64 " x %zu",
                     request->features[0], request->features[1], npy_rows(side[0]),
                     npy_columns(side[0]), npy_rows(side[1]), npy_columns(side[1]));
}

/* Everything that can be found wrong before a broker is asked. */
static bool open_inputs(struct import *import, struct error *error)
{
    const struct history_request *request = import->request;
    bool standard = request->file == NULL || strcmp(request->file, "-") == 0;
    const char *slash = standard ? NULL : strrchr(request->file, '/');
    snprintf(import->name, sizeof import->name, "%s",
             standard        ? "standard input"
             : slash == NULL ? request->file
                             : slash + 1);
    import->fields = send_fields_new(CONTRACT_LEDGER, request->options, request->defaults,
                                     request->default_count, error);
    if (import->fields == NULL || !open_features(import, error))
        return false;
    import->lines =
        send_lines_open(request->file, LINE_FACTOR * request->options->limits_record, error);
    return import->lines != NULL && ledger_view_init(&import->view, request->options, NULL, error);
}

static int report(const struct import *import, int64_t started, int code)
{
    fprintf(stderr, "sent %" PRId64 " labels in %.1f s", import->written,
            (double)(clock_monotonic_ms() - started) / 1000);
    if (import->known > 0)
        fprintf(stderr, ", %" PRId64 " were there before", import->known);
    if (import->skipped > 0)
        fprintf(stderr, ", skipped %" PRId64 " bad lines", import->skipped);
    fputc('\n', stderr);
    return code;
}

static int import_all(struct import *import)
{
    struct error error = {ERROR_NONE, ""}, late = {ERROR_NONE, ""};
    int64_t started = clock_monotonic_ms();
    int code = EXIT_DONE;
    if (!take_lines(import, &error))
        code = command_fail("send", &error, EXIT_FAILED);
    /* What stood before a bad line goes out. */
    if (error.class == ERROR_NONE || error.class == ERROR_DATA) {
        if (!commit(import, &late))
            code = command_fail("send", &late, EXIT_FAILED);
    }
    return report(import, started, code);
}

static int run(struct import *import)
{
    const struct options *options = import->request->options;
    struct error error = {ERROR_NONE, ""};
    int code;
    if (!open_inputs(import, &error))
        return command_fail("send", &error, error.class == ERROR_DATA ? EXIT_FAILED : EXIT_USAGE);
    rd_kafka_t *admin = command_admin("send", options, &import->request->patience, &code);
    if (admin == NULL)
        return code;
    int32_t partitions;
    bool good = command_topic(admin, options->topics_ledger, &partitions, &error) &&
                ledger_view_read(&import->view, "send", 0, NULL, &error);
    rd_kafka_destroy(admin);
    if (good && !ledger_view_shares(&import->view, &error))
        return command_fail("send", &error, EXIT_USAGE);
    return good && take_space(import, &error) ? import_all(import)
                                              : command_fail("send", &error, EXIT_FAILED);
}

int send_history(const struct history_request *request)
{
    struct import import = {.request = request};
    int code = run(&import);
    ledger_append_free(import.append);
    ledger_view_fini(&import.view);
    send_lines_close(import.lines);
    send_fields_free(import.fields);
    npy_close(import.features[0]);
    npy_close(import.features[1]);
    free(import.x);
    return code;
}
