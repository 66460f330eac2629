/* The past as files tell it: the lines of `infopair send`, encoded as it would have. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "past.h"
#include "past_labels.h"
#include "worker/command_kafka.h"
#include "worker/npy.h"
#include "worker/send_lines.h"
#include "worker/send_prompts.h"

/* JSON takes more room than Avro, as of `send`. Records without a time begin here. */
enum { LINE_FACTOR = 8 };
static const int64_t START_MS = INT64_C(1000000000000);

struct loading {
    struct past *past;
    const struct options *options;
    const struct past_files *files;
    struct contracts *contracts;
    struct send_fields *fields;
    struct npy *features;
    struct send_prompts *prompts;
    struct send_lines *lines;
    struct buffer record;
    int64_t taken;    /* lines, this one included */
    size_t dimension; /* of the first completion; 0: none yet */
    bool timed;       /* the first completion has created_at */
};

/* created_at, or the place of the line at the given rate. */
static bool time_of(struct loading *loading, const struct completion *completion, int64_t *time,
                    struct error *error)
{
    bool timed = completion->created_at != 0;
    if (loading->taken == 1)
        loading->timed = timed;
    if (timed)
        loading->past->rate = 0;
    if (timed != loading->timed)
        return error_set(error, ERROR_DATA, "created_at: %s, unlike the first line",
                         timed ? "is given" : "is missing");
    if (timed && !past_check_time("created_at", completion->created_at, error))
        return false;
    *time = timed
                ? completion->created_at
                : START_MS + (int64_t)((double)(loading->taken - 1) * 1000 / loading->files->rate);
    return true;
}

static bool check_dimension(struct loading *loading, const struct completion *completion,
                            struct error *error)
{
    if (loading->dimension == 0)
        loading->dimension = completion->dimension;
    return completion->dimension == loading->dimension ||
           error_set(error, ERROR_DATA, "features: %zu values, the first line has %zu",
                     completion->dimension, loading->dimension);
}

static bool take_object(struct loading *loading, json_t *line, struct error *error)
{
    struct completion completion;
    struct spool_record record = {.offset = loading->taken - 1};
    const float *row = NULL;
    if (loading->features != NULL && !npy_next(loading->features, &row, error))
        return false;
    size_t dimension = row == NULL ? 0 : npy_columns(loading->features);
    if (!send_completion(loading->fields, line, row, dimension, &completion, error) ||
        !check_dimension(loading, &completion, error) ||
        !time_of(loading, &completion, &record.time, error))
        return false;
    if (completion.prompt.size == 0 && loading->prompts != NULL)
        completion.prompt = send_prompts_find(loading->prompts, completion.prompt_id);
    loading->record.size = 0;
    if (!contracts_encode_completion(loading->contracts, &completion, &loading->record, error))
        return false;
    record.value = (struct span){loading->record.data, loading->record.size};
    return contracts_decode_completion(loading->contracts, record.value, &completion, NULL,
                                       error) &&
           spool_add(loading->past->completions, &record, error);
}

static bool take_line(void *closure, enum send_line found, json_t *line, struct error *error)
{
    struct loading *loading = closure;
    if (found != LINE_OBJECT)
        return false;
    return take_object(loading, line, error) || send_lines_blame(loading->lines, error);
}

static bool check_rows(const struct loading *loading, struct error *error)
{
    if (loading->features == NULL || (uint64_t)loading->taken == npy_rows(loading->features))
        return true;
    return error_set(error, ERROR_DATA,
                     "%s has %" PRIu64 " rows, %s has %" PRId64 " lines: do they belong together?",
                     loading->files->features, npy_rows(loading->features),
                     loading->files->completions, loading->taken);
}

static bool open_all(struct loading *loading, struct error *error)
{
    const struct options *options = loading->options;
    const struct past_files *files = loading->files;
    size_t line_max = LINE_FACTOR * options->limits_record;
    loading->record.maximum = options->limits_record;
    loading->contracts = command_contracts(options, options->limits_record, error);
    if (loading->contracts == NULL)
        return false;
    loading->fields = send_fields_new(CONTRACT_COMPLETION, options, NULL, 0, error);
    if (loading->fields == NULL)
        return false;
    if (files->features != NULL) {
        loading->features = npy_open(files->features, options->limits_dimension, error);
        if (loading->features == NULL)
            return false;
    }
    if (files->prompts != NULL) {
        loading->prompts =
            send_prompts_load(files->prompts, line_max, options->memory_limit / 2, error);
        if (loading->prompts == NULL)
            return false;
    }
    loading->lines = send_lines_open(files->completions, line_max, error);
    return loading->lines != NULL;
}

static bool read_completions(struct loading *loading, struct error *error)
{
    bool end;
    loading->past->rate = loading->files->rate;
    return open_all(loading, error) &&
           send_lines_each(loading->lines, -1, take_line, loading, &loading->taken, &end, error) &&
           check_rows(loading, error) && past_seal_completions(loading->past, error);
}

static void close_all(struct loading *loading)
{
    send_lines_close(loading->lines);
    send_prompts_free(loading->prompts);
    npy_close(loading->features);
    send_fields_free(loading->fields);
    contracts_free(loading->contracts);
    buffer_free(&loading->record);
}

bool past_read_files(struct past *past, const struct options *options,
                     const struct past_files *files, struct error *error)
{
    struct loading loading = {.past = past, .options = options, .files = files};
    const char *slash = strrchr(files->completions, '/');
    *past =
        (struct past){.partitions = 1, .ledger_partitions = 1, .from = INT64_MIN, .to = INT64_MAX};
    snprintf(past->name, sizeof past->name, "%.255s",
             slash == NULL ? files->completions : slash + 1);
    bool done = past_begin(past, error) && read_completions(&loading, error) &&
                past_estimate_space(past, options, error) &&
                (files->labels == NULL || past_read_labels(past, options, files->labels, error)) &&
                past_seal_ledger(past, error);
    close_all(&loading);
    return done;
}
