#include "journal.h"

#include "options_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char MAGIC[] = "infopair journal 1\n";
enum { VALUE_MAX = 64 * 1024, BYTES_MAX = 1 << 30, BUFFER = 1 << 20 };

struct journal {
    FILE *file;
    char *name;
    char *bytes; /* of the last frame read */
    size_t capacity;
};

/* As it stands in the file. */
struct head {
    int32_t kind, event, input, partition;
    int64_t offset, committed, low_water, now, timestamp;
    uint64_t high, low; /* digest */
    uint32_t sizes[4];  /* key, value, traceparent, tracestate */
};

static bool fail(const struct journal *journal, const char *doing, struct error *error)
{
    return error_set(error, ERROR_FATAL, "journal %s: %s: %s", journal->name, doing,
                     strerror(errno));
}

static struct journal *open_file(const char *file, const char *mode, struct error *error)
{
    struct journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL || (journal->name = strdup(file)) == NULL) {
        free(journal);
        error_set(error, ERROR_FATAL, "out of memory for a journal");
        return NULL;
    }
    journal->file = fopen(file, mode);
    if (journal->file == NULL) {
        fail(journal, "cannot be opened", error);
        journal_free(journal);
        return NULL;
    }
    setvbuf(journal->file, NULL, _IOFBF, BUFFER);
    return journal;
}

/* The option table's print of a name or a number as `--set` takes it: without quotes. */
static void bare(char *value)
{
    char *to = value;
    for (const char *from = value; *from != '\0'; from++) {
        if (strchr("[]\"", *from) == NULL && !(*from == ' ' && (to == value || to[-1] == ',')))
            *to++ = *from;
    }
    while (to > value && to[-1] == ' ')
        to--;
    *to = '\0';
}

static bool write_options(struct journal *journal, const struct options *options)
{
    char *value = malloc(VALUE_MAX);
    bool done = value != NULL && fputs(MAGIC, journal->file) >= 0;
    for (size_t k = 0; done && k < option_count(); k++) {
        const struct option_row *row = &OPTION_ROWS[k];
        if (row->secret || !options_text(options, row->name, value, VALUE_MAX))
            continue;
        if (row->type == TYPE_STRING)
            snprintf(value, VALUE_MAX, "%s", *(char *const *)option_member(options, row));
        else if (row->type != TYPE_LIST)
            bare(value);
        if (value[0] != '\0')
            done = fprintf(journal->file, "%s=%s\n", row->name, value) > 0;
    }
    free(value);
    return done && fputc('\n', journal->file) != EOF;
}

struct journal *journal_create(const char *file, const struct options *options, struct error *error)
{
    struct journal *journal = open_file(file, "wbx", error);
    if (journal == NULL)
        return NULL;
    if (write_options(journal, options) && journal_flush(journal, error))
        return journal;
    fail(journal, "cannot be written", error);
    journal_free(journal);
    return NULL;
}

/* The lines of options, each cut from its newline; NULL-terminated. */
static bool read_lines(struct journal *journal, char ***lines, struct error *error)
{
    char *line = NULL;
    size_t capacity = 0, count = 0;
    ssize_t size = getline(&line, &capacity, journal->file);
    bool done = size > 0 && strcmp(line, MAGIC) == 0;
    *lines = calloc(option_count() + 1, sizeof **lines);
    if (!done)
        error_set(error, ERROR_FATAL, "journal %s: does not begin with '%.18s'", journal->name,
                  MAGIC);
    while (done && *lines != NULL && (size = getline(&line, &capacity, journal->file)) > 1) {
        line[size - 1] = '\0';
        done = count < option_count() && ((*lines)[count++] = strdup(line)) != NULL;
        if (!done)
            error_set(error, ERROR_FATAL, "journal %s: too many options", journal->name);
    }
    free(line);
    return done;
}

struct journal *journal_open(const char *file, struct options *options, struct error *error)
{
    struct journal *journal = open_file(file, "rb", error);
    char **lines = NULL;
    if (journal == NULL)
        return NULL;
    bool done = read_lines(journal, &lines, error);
    const struct options_input input = {.no_default_file = true,
                                        .sets = (const char *const *)lines};
    done = done && options_load(options, &input, error);
    for (size_t k = 0; lines != NULL && lines[k] != NULL; k++)
        free(lines[k]);
    free(lines);
    if (done)
        return journal;
    journal_free(journal);
    return NULL;
}

void journal_free(struct journal *journal)
{
    if (journal == NULL)
        return;
    if (journal->file != NULL)
        fclose(journal->file);
    free(journal->name);
    free(journal->bytes);
    free(journal);
}

bool journal_write(struct journal *journal, const struct journal_frame *frame, struct error *error)
{
    const struct event *event = &frame->event;
    const struct source *source = &event->source;
    const struct span parts[] = {source->key, source->value, source->traceparent,
                                 source->tracestate};
    struct head head = {.kind = (int32_t)frame->kind,
                        .event = (int32_t)event->kind,
                        .input = (int32_t)event->input,
                        .partition = event->partition,
                        .offset = event->offset,
                        .committed = event->committed,
                        .low_water = event->low_water,
                        .now = event->now,
                        .timestamp = source->timestamp,
                        .high = frame->digest.high,
                        .low = frame->digest.low};
    if (frame->kind == JOURNAL_SESSION) {
        head.partition = frame->partitions[0];
        head.offset = frame->partitions[1];
    }
    for (size_t k = 0; k < 4; k++)
        head.sizes[k] = (uint32_t)parts[k].size;
    bool done = fwrite(&head, sizeof head, 1, journal->file) == 1;
    for (size_t k = 0; done && k < 4; k++)
        done = parts[k].size == 0 || fwrite(parts[k].data, parts[k].size, 1, journal->file) == 1;
    return done || fail(journal, "cannot be written", error);
}

static bool read_bytes(struct journal *journal, size_t size, struct error *error)
{
    if (size > BYTES_MAX)
        return error_set(error, ERROR_FATAL, "journal %s: is damaged", journal->name);
    if (size > journal->capacity) {
        char *grown = realloc(journal->bytes, size);
        if (grown == NULL)
            return error_set(error, ERROR_FATAL, "out of memory for a journal");
        journal->bytes = grown;
        journal->capacity = size;
    }
    return true;
}

bool journal_read(struct journal *journal, struct journal_frame *frame, struct error *error)
{
    struct head head;
    size_t sum = 0;
    *frame = (struct journal_frame){.kind = JOURNAL_END};
    if (fread(&head, sizeof head, 1, journal->file) != 1)
        return !ferror(journal->file) || fail(journal, "cannot be read", error);
    for (size_t k = 0; k < 4; k++)
        sum += head.sizes[k];
    if (head.kind < 0 || head.kind >= JOURNAL_END || head.event < 0 || head.event >= EVENTS ||
        head.input < 0 || head.input >= INPUTS)
        return error_set(error, ERROR_FATAL, "journal %s: is damaged", journal->name);
    if (!read_bytes(journal, sum, error))
        return false;
    if (sum > 0 && fread(journal->bytes, sum, 1, journal->file) != 1)
        return true;
    const char *at = journal->bytes == NULL ? "" : journal->bytes;
    struct span parts[4];
    for (size_t k = 0; k < 4; k++) {
        parts[k] = (struct span){at, head.sizes[k]};
        at += head.sizes[k];
    }
    *frame = (struct journal_frame){.kind = (enum journal_kind)head.kind,
                                    .event = {.kind = (enum event_kind)head.event,
                                              .input = (enum input)head.input,
                                              .partition = head.partition,
                                              .offset = head.offset,
                                              .committed = head.committed,
                                              .low_water = head.low_water,
                                              .now = head.now,
                                              .source = {.input = (enum input)head.input,
                                                         .partition = head.partition,
                                                         .offset = head.offset,
                                                         .timestamp = head.timestamp,
                                                         .key = parts[0],
                                                         .value = parts[1],
                                                         .traceparent = parts[2],
                                                         .tracestate = parts[3]}},
                                    .partitions = {head.partition, (int32_t)head.offset},
                                    .digest = {head.high, head.low}};
    return true;
}

bool journal_flush(struct journal *journal, struct error *error)
{
    return fflush(journal->file) == 0 || fail(journal, "cannot be written", error);
}
