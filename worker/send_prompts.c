/* All bytes stand in one buffer, as the entries do: offsets, because both move as they grow. */
#include "send_prompts.h"

#include "send_lines.h"

#include <stdlib.h>
#include <string.h>

struct prompt {
    struct span id; /* while loading: data is an offset into the bytes */
    struct span text;
};

struct send_prompts {
    struct buffer bytes;
    struct buffer entries; /* of struct prompt */
};

static struct prompt *entries_of(const struct send_prompts *prompts)
{
    return (struct prompt *)(void *)prompts->entries.data;
}

static size_t count_of(const struct send_prompts *prompts)
{
    return prompts->entries.size / sizeof(struct prompt);
}

static bool read_text(const json_t *line, const char *name, struct span *text, struct error *error)
{
    const json_t *value = json_object_get(line, name);
    *text = (struct span){json_string_value(value), json_string_length(value)};
    return json_is_string(value) || error_set(error, ERROR_DATA, "%s: %s", name,
                                              value == NULL ? "is missing" : "expected a string");
}

/* Copies `text` behind the bytes; the copy's data is its offset. */
static bool keep(struct send_prompts *prompts, struct span text, struct span *copy)
{
    *copy = (struct span){(const char *)(uintptr_t)prompts->bytes.size, text.size};
    return buffer_append(&prompts->bytes, text.data, text.size);
}

static bool add(struct send_prompts *prompts, const json_t *line, struct error *error)
{
    struct span id, text;
    struct prompt prompt;
    if (!read_text(line, "prompt_id", &id, error) || !read_text(line, "prompt", &text, error))
        return false;
    if (keep(prompts, id, &prompt.id) && keep(prompts, text, &prompt.text) &&
        buffer_append(&prompts->entries, &prompt, sizeof prompt))
        return true;
    return error_set(error, ERROR_FATAL, "more than %zu bytes of prompts; raise memory.limit",
                     prompts->bytes.maximum);
}

static int compare(const void *left, const void *right)
{
    const struct prompt *first = left, *second = right;
    return span_compare(first->id, second->id);
}

/* Offsets become addresses, entries are sorted. */
static bool finish(struct send_prompts *prompts, struct error *error)
{
    struct prompt *entries = entries_of(prompts);
    size_t count = count_of(prompts);
    for (size_t k = 0; k < count; k++) {
        entries[k].id.data = prompts->bytes.data + (uintptr_t)entries[k].id.data;
        entries[k].text.data = prompts->bytes.data + (uintptr_t)entries[k].text.data;
    }
    if (count > 0)
        qsort(entries, count, sizeof *entries, compare);
    for (size_t k = 1; k < count; k++)
        if (compare(&entries[k - 1], &entries[k]) == 0 &&
            !span_equal(entries[k - 1].text, entries[k].text))
            return error_set(error, ERROR_DATA, "prompt_id '%.*s' has two different texts",
                             entries[k].id.size < 80 ? (int)entries[k].id.size : 80,
                             entries[k].id.data);
    return true;
}

static bool load(struct send_prompts *prompts, struct send_lines *lines, struct error *error)
{
    json_t *line;
    enum send_line found;
    while ((found = send_lines_next(lines, &line, error)) == LINE_OBJECT) {
        bool added = add(prompts, line, error);
        json_decref(line);
        if (!added)
            return send_lines_blame(lines, error);
    }
    return found == LINE_END && finish(prompts, error);
}

struct send_prompts *send_prompts_load(const char *path, size_t line_max, size_t bytes_max,
                                       struct error *error)
{
    struct send_prompts *prompts = calloc(1, sizeof *prompts);
    if (prompts == NULL) {
        error_set(error, ERROR_FATAL, "out of memory");
        return NULL;
    }
    prompts->bytes.maximum = prompts->entries.maximum = bytes_max;
    struct send_lines *lines = send_lines_open(path, line_max, error);
    bool loaded = lines != NULL && load(prompts, lines, error);
    send_lines_close(lines);
    if (loaded)
        return prompts;
    send_prompts_free(prompts);
    return NULL;
}

void send_prompts_free(struct send_prompts *prompts)
{
    if (prompts == NULL)
        return;
    buffer_free(&prompts->bytes);
    buffer_free(&prompts->entries);
    free(prompts);
}

struct span send_prompts_find(const struct send_prompts *prompts, struct span prompt_id)
{
    const struct prompt key = {.id = prompt_id};
    const struct prompt *found = NULL;
    if (prompts->entries.size > 0)
        found = bsearch(&key, entries_of(prompts), count_of(prompts), sizeof key, compare);
    return found == NULL ? (struct span){NULL, 0} : found->text;
}
