/* File: a head and the value of each record, padded to 8 bytes, as they came. */
#include "spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20, ALIGNMENT = 8 };

struct head {
    int64_t order, offset;
    uint32_t size;
    int32_t partition;
};

struct place {
    int64_t time;
    uint64_t at;
};

struct spool {
    FILE *file;
    struct place *places;
    size_t count, capacity;
    uint64_t size; /* bytes written */
    const char *map;
};

static bool fail(const char *doing, struct error *error)
{
    const char *folder = getenv("TMPDIR");
    return error_set(error, ERROR_FATAL, "a temporary file in %s: %s: %s",
                     folder != NULL && *folder != '\0' ? folder : "/var/tmp", doing,
                     strerror(errno));
}

static FILE *open_unlinked(void)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/infopair-XXXXXX",
             folder != NULL && *folder != '\0' ? folder : "/var/tmp");
    int number = mkstemp(path);
    if (number < 0)
        return NULL;
    unlink(path);
    FILE *file = fdopen(number, "w+b");
    if (file == NULL)
        close(number);
    return file;
}

struct spool *spool_new(struct error *error)
{
    struct spool *spool = calloc(1, sizeof *spool);
    if (spool == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for a spool");
        return NULL;
    }
    spool->file = open_unlinked();
    if (spool->file == NULL) {
        fail("cannot be made", error);
        free(spool);
        return NULL;
    }
    setvbuf(spool->file, NULL, _IOFBF, BUFFER_BYTES);
    return spool;
}

void spool_free(struct spool *spool)
{
    if (spool == NULL)
        return;
    if (spool->map != NULL)
        munmap((void *)(uintptr_t)spool->map, spool->size);
    if (spool->file != NULL)
        fclose(spool->file);
    free(spool->places);
    free(spool);
}

bool spool_add(struct spool *spool, const struct spool_record *record, struct error *error)
{
    static const char PADDING[ALIGNMENT] = {0};
    if (spool->count == spool->capacity) {
        size_t capacity = spool->capacity == 0 ? 1024 : 2 * spool->capacity;
        struct place *grown = reallocarray(spool->places, capacity, sizeof *grown);
        if (grown == NULL)
            return error_set(error, ERROR_FATAL, "out of memory for %zu records", capacity);
        spool->places = grown;
        spool->capacity = capacity;
    }
    if (record->value.size > UINT32_MAX)
        return error_set(error, ERROR_FATAL, "a record of %zu bytes", record->value.size);
    const struct head head = {.order = record->order,
                              .offset = record->offset,
                              .size = (uint32_t)record->value.size,
                              .partition = record->partition};
    size_t padding = -record->value.size % ALIGNMENT;
    spool->places[spool->count++] = (struct place){record->time, spool->size};
    spool->size += sizeof head + record->value.size + padding;
    return (fwrite(&head, sizeof head, 1, spool->file) == 1 &&
            (record->value.size == 0 ||
             fwrite(record->value.data, record->value.size, 1, spool->file) == 1) &&
            (padding == 0 || fwrite(PADDING, padding, 1, spool->file) == 1)) ||
           fail("cannot be written", error);
}

static const struct head *head_at(const struct spool *spool, const struct place *place)
{
    return (const struct head *)(const void *)(spool->map + place->at);
}

static int compare(const void *left, const void *right, void *context)
{
    const struct place *a = left, *b = right;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    const struct head *x = head_at(context, a), *y = head_at(context, b);
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

bool spool_seal(struct spool *spool, struct error *error)
{
    bool ordered = true;
    if (spool->size == 0)
        return true;
    if (fflush(spool->file) != 0)
        return fail("cannot be written", error);
    const void *map = mmap(NULL, spool->size, PROT_READ, MAP_PRIVATE, fileno(spool->file), 0);
    if (map == MAP_FAILED)
        return fail("cannot be mapped", error);
    spool->map = map;
    for (size_t k = 1; ordered && k < spool->count; k++)
        ordered = compare(&spool->places[k - 1], &spool->places[k], spool) < 0;
    if (!ordered)
        qsort_r(spool->places, spool->count, sizeof *spool->places, compare, spool);
    return true;
}

size_t spool_count(const struct spool *spool)
{
    return spool->count;
}

struct spool_record spool_at(const struct spool *spool, size_t k)
{
    const struct head *head = head_at(spool, &spool->places[k]);
    return (struct spool_record){.time = spool->places[k].time,
                                 .order = head->order,
                                 .partition = head->partition,
                                 .offset = head->offset,
                                 .value = {(const char *)(head + 1), head->size}};
}
