/* A bounded reader over one Avro record.
 *
 * Invariant: begin <= at <= end. Every length is checked against what is left before it is used;
 * nothing allocates, nothing reads past the end, whatever the bytes are. A function that fails says
 * why in `why` and leaves `at` where the bad item starts. */
#ifndef INFOPAIR_CURSOR_H
#define INFOPAIR_CURSOR_H

#include "bytes.h"

struct cursor {
    const unsigned char *at;
    const unsigned char *end;
    const char *why; /* static text; NULL while all is well */
};

struct cursor cursor_init(struct span record);
size_t cursor_left(const struct cursor *cursor);
/* A zigzag varint of at most 10 bytes. */
bool cursor_long(struct cursor *cursor, int64_t *value);
/* A varint within int32. */
bool cursor_int(struct cursor *cursor, int64_t *value);
bool cursor_boolean(struct cursor *cursor, bool *value);
bool cursor_float(struct cursor *cursor, float *value);
bool cursor_double(struct cursor *cursor, double *value);
/* A length and that many bytes; the span points into the record. */
bool cursor_bytes(struct cursor *cursor, struct span *value);
bool cursor_skip(struct cursor *cursor, size_t size);
/* The head of a block of an array or map: how many items follow (0: the end). A negative count is
 * followed by the block's size in bytes, which is checked against what is left. */
bool cursor_block(struct cursor *cursor, int64_t *count);

#endif
