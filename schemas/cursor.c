#include "cursor.h"

#include <string.h>

struct cursor cursor_init(struct span record)
{
    const unsigned char *at = (const unsigned char *)(record.size == 0 ? "" : record.data);
    return (struct cursor){at, at + record.size, NULL};
}

size_t cursor_left(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

static bool fail(struct cursor *cursor, const char *why)
{
    cursor->why = why;
    return false;
}

bool cursor_long(struct cursor *cursor, int64_t *value)
{
    uint64_t bits = 0;
    const unsigned char *at = cursor->at;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (at == cursor->end)
            return fail(cursor, "ends inside a number");
        unsigned char byte = *at++;
        /* The tenth byte may hold the last of the 64 bits only. */
        if (shift == 63 && byte > 1)
            return fail(cursor, "has a number of more than 64 bits");
        bits |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            cursor->at = at;
            *value = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return true;
        }
    }
    return fail(cursor, "has a number of more than 64 bits");
}

bool cursor_int(struct cursor *cursor, int64_t *value)
{
    struct cursor before = *cursor;
    if (!cursor_long(cursor, value))
        return false;
    if (*value >= INT32_MIN && *value <= INT32_MAX)
        return true;
    *cursor = before;
    return fail(cursor, "has an int of more than 32 bits");
}

bool cursor_boolean(struct cursor *cursor, bool *value)
{
    if (cursor->at == cursor->end)
        return fail(cursor, "ends before a boolean");
    if (*cursor->at > 1)
        return fail(cursor, "has a boolean that is neither 0 nor 1");
    *value = *cursor->at++ == 1;
    return true;
}

static bool take(struct cursor *cursor, void *out, size_t size)
{
    if (cursor_left(cursor) < size)
        return fail(cursor, "ends inside a floating-point number");
    memcpy(out, cursor->at, size);
    cursor->at += size;
    return true;
}

bool cursor_float(struct cursor *cursor, float *value)
{
    return take(cursor, value, sizeof *value);
}

bool cursor_double(struct cursor *cursor, double *value)
{
    return take(cursor, value, sizeof *value);
}

bool cursor_skip(struct cursor *cursor, size_t size)
{
    if (cursor_left(cursor) < size)
        return fail(cursor, "is shorter than a length in it says");
    cursor->at += size;
    return true;
}

bool cursor_bytes(struct cursor *cursor, struct span *value)
{
    struct cursor before = *cursor;
    int64_t size;
    if (!cursor_long(cursor, &size))
        return false;
    if (size < 0 || (uint64_t)size > cursor_left(cursor)) {
        *cursor = before;
        return fail(cursor,
                    size < 0 ? "has a negative length" : "is shorter than a length in it says");
    }
    *value = (struct span){(const char *)cursor->at, (size_t)size};
    cursor->at += size;
    return true;
}

bool cursor_block(struct cursor *cursor, int64_t *count)
{
    int64_t size;
    if (!cursor_long(cursor, count))
        return false;
    if (*count >= 0)
        return true;
    if (*count == INT64_MIN)
        return fail(cursor, "has a block of an impossible count");
    *count = -*count;
    if (!cursor_long(cursor, &size))
        return false;
    if (size < 0 || (uint64_t)size > cursor_left(cursor))
        return fail(cursor, "has a block that is longer than the record");
    return true;
}
