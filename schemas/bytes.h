/* Views of bytes and a growing buffer with a hard maximum: the two ways in which records travel. */
#ifndef INFOPAIR_BYTES_H
#define INFOPAIR_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes (or UTF-8 text, never NUL-terminated) that somebody else owns. data may be NULL when size
 * is 0: an absent optional field. */
struct span {
    const char *data;
    size_t size;
};

/* A span over a NUL-terminated string (without its NUL). */
struct span span_of(const char *text);
bool span_equal(struct span left, struct span right);
/* <0, 0 or >0 as left is before, equal to or after right, bytewise. */
int span_compare(struct span left, struct span right);

/* Grows by doubling up to `maximum`, never beyond. Zero-initialise, then set `maximum`. */
struct buffer {
    char *data;
    size_t size;
    size_t capacity;
    size_t maximum;
};

/* Makes room for `more` bytes behind size. False when that would pass the maximum or memory ran
 * out; the buffer is then unchanged. */
bool buffer_reserve(struct buffer *buffer, size_t more);
bool buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_free(struct buffer *buffer);

#endif
