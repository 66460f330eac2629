#include "batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void batch_metadata_format(const struct batch_offset *offset, char *text)
{
    snprintf(text, BATCH_METADATA_SIZE, "1 %" PRId64 " %" PRId64 "%s%s", offset->low_water,
             offset->time, offset->waiting[0] == '\0' ? "" : " ", offset->waiting);
}

bool batch_metadata_parse(const char *text, int64_t *low_water, int64_t *time, const char **waiting)
{
    int end = 0;
    int version = 0;
    if (text == NULL ||
        sscanf(text, "%d %" SCNd64 " %" SCNd64 "%n", &version, low_water, time, &end) != 3 ||
        version != 1 || *low_water < 0 || *time < 0)
        return false;
    *waiting = text + end + (text[end] == ' ');
    return text[end] == '\0' || (text[end] == ' ' && **waiting != '\0' &&
                                 (*waiting)[strspn(*waiting, "0123456789,")] == '\0');
}

void batch_init(struct batch *batch, size_t bytes_max)
{
    *batch = (struct batch){.arena = {.maximum = bytes_max}};
}

void batch_free(struct batch *batch)
{
    free(batch->effects);
    free(batch->offsets);
    buffer_free(&batch->arena);
    *batch = (struct batch){.arena = {.maximum = batch->arena.maximum}};
}

void batch_clear(struct batch *batch)
{
    batch->effect_count = batch->offset_count = 0;
    batch->arena.size = 0;
}

/* Room for one more of `size` bytes in an array that doubles. */
static bool grow(void **items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return true;
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = realloc(*items, wanted * size);
    if (grown == NULL)
        return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

struct effect *batch_effect(struct batch *batch, enum output output, int32_t partition)
{
    void *effects = batch->effects;
    if (!grow(&effects, batch->effect_count, &batch->effect_capacity, sizeof *batch->effects))
        return NULL;
    batch->effects = effects;
    struct effect *effect = &batch->effects[batch->effect_count++];
    *effect = (struct effect){.output = output, .partition = partition};
    return effect;
}

/* Until batch_close a span's data is its distance from the arena's start. */
static struct span relative(size_t at, size_t size)
{
    return (struct span){(const char *)(uintptr_t)at, size};
}

bool batch_copy(struct batch *batch, struct span bytes, struct span *copy)
{
    size_t mark = batch->arena.size;
    if (!buffer_append(&batch->arena, bytes.data, bytes.size))
        return false;
    *copy = relative(mark, bytes.size);
    return true;
}

struct buffer *batch_arena(struct batch *batch)
{
    return &batch->arena;
}

struct span batch_taken(const struct batch *batch, size_t mark)
{
    return relative(mark, batch->arena.size - mark);
}

bool batch_header(struct batch *batch, struct effect *effect, const char *name, struct span value)
{
    if (effect->header_count == EFFECT_HEADERS_MAX)
        return false;
    struct effect_header *header = &effect->headers[effect->header_count];
    if (!batch_copy(batch, value, &header->value))
        return false;
    header->name = name;
    effect->header_count++;
    return true;
}

bool batch_offset_add(struct batch *batch, const struct batch_offset *offset)
{
    void *offsets = batch->offsets;
    if (!grow(&offsets, batch->offset_count, &batch->offset_capacity, sizeof *batch->offsets))
        return false;
    batch->offsets = offsets;
    batch->offsets[batch->offset_count++] = *offset;
    return true;
}

static void absolute(const struct batch *batch, struct span *span)
{
    span->data = span->size == 0 ? "" : batch->arena.data + (uintptr_t)span->data;
}

void batch_close(struct batch *batch)
{
    for (size_t k = 0; k < batch->effect_count; k++) {
        struct effect *effect = &batch->effects[k];
        absolute(batch, &effect->key);
        absolute(batch, &effect->value);
        for (size_t header = 0; header < effect->header_count; header++)
            absolute(batch, &effect->headers[header].value);
    }
}

/* Hash of what was hashed so far and one more piece. */
static void mix(struct id *digest, struct span piece)
{
    const struct span parts[] = {{(const char *)digest, sizeof *digest}, piece};
    *digest = identity_hash(parts, 2);
}

struct id batch_digest(const struct batch *batch)
{
    struct id digest = {0};
    for (size_t k = 0; k < batch->effect_count; k++) {
        const struct effect *effect = &batch->effects[k];
        const int32_t place[] = {(int32_t)effect->output, effect->partition};
        mix(&digest, (struct span){(const char *)place, sizeof place});
        mix(&digest, effect->key);
        mix(&digest, effect->value);
        for (size_t header = 0; header < effect->header_count; header++) {
            mix(&digest, span_of(effect->headers[header].name));
            mix(&digest, effect->headers[header].value);
        }
    }
    for (size_t k = 0; k < batch->offset_count; k++) {
        const struct batch_offset *offset = &batch->offsets[k];
        const int64_t said[] = {offset->input, offset->partition, offset->next, offset->low_water,
                                offset->time};
        mix(&digest, (struct span){(const char *)said, sizeof said});
        mix(&digest, span_of(offset->waiting));
    }
    return digest;
}
