#include "identity.h"

#include <stdio.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

enum { LENGTH = 8, SHORT = 512 };

static void put_length(size_t size, char length[LENGTH])
{
    for (size_t byte = 0; byte < LENGTH; byte++)
        length[byte] = (char)((uint64_t)size >> (8 * byte) & 0xFF);
}

/* The bytes that are hashed, one after the other. */
static size_t join(const struct span *parts, size_t count, char *joined)
{
    size_t size = 0;
    for (size_t k = 0; k < count; k++) {
        put_length(parts[k].size, joined + size);
        size += LENGTH;
        if (parts[k].size > 0)
            memcpy(joined + size, parts[k].data, parts[k].size);
        size += parts[k].size;
    }
    return size;
}

static XXH128_hash_t hash_stream(const struct span *parts, size_t count)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    for (size_t k = 0; k < count; k++) {
        char length[LENGTH];
        put_length(parts[k].size, length);
        XXH3_128bits_update(&state, length, sizeof length);
        if (parts[k].size > 0)
            XXH3_128bits_update(&state, parts[k].data, parts[k].size);
    }
    return XXH3_128bits_digest(&state);
}

struct id identity_hash(const struct span *parts, size_t count)
{
    char joined[SHORT];
    size_t size = 0;
    for (size_t k = 0; k < count; k++)
        size += LENGTH + parts[k].size;
    /* The same hash; a stream costs more to set up than a few ids to read. */
    XXH128_hash_t hash = size <= SHORT ? XXH3_128bits(joined, join(parts, count, joined))
                                       : hash_stream(parts, count);
    return (struct id){hash.high64, hash.low64};
}

struct id identity_of(struct span text)
{
    return identity_hash(&text, 1);
}

bool identity_equal(struct id left, struct id right)
{
    return left.high == right.high && left.low == right.low;
}

int identity_compare(struct id left, struct id right)
{
    if (left.high != right.high)
        return left.high < right.high ? -1 : 1;
    return (left.low > right.low) - (left.low < right.low);
}

static const char DIGITS[] = "0123456789abcdef";

static void format_half(uint64_t half, char *digits)
{
    for (size_t k = 0; k < 16; k++)
        digits[k] = DIGITS[half >> (60 - 4 * k) & 15];
}

void identity_format(struct id id, char text[ID_TEXT_SIZE])
{
    format_half(id.high, text);
    format_half(id.low, text + 16);
    text[ID_TEXT_SIZE - 1] = '\0';
}

static bool parse_half(const char *digits, uint64_t *half)
{
    *half = 0;
    for (size_t k = 0; k < 16; k++) {
        char digit = digits[k];
        bool decimal = digit >= '0' && digit <= '9';
        if (!decimal && (digit < 'a' || digit > 'f'))
            return false;
        *half = *half << 4 | (uint64_t)(decimal ? digit - '0' : digit - 'a' + 10);
    }
    return true;
}

bool identity_parse(struct span text, struct id *id)
{
    return text.size == ID_TEXT_SIZE - 1 && parse_half(text.data, &id->high) &&
           parse_half(text.data + 16, &id->low);
}

struct id identity_pair(struct span prompt_id, struct span completion, struct span other)
{
    bool ordered = span_compare(completion, other) <= 0;
    const struct span parts[] = {prompt_id, ordered ? completion : other,
                                 ordered ? other : completion};
    return identity_hash(parts, 3);
}

struct id identity_request(struct span feature_space, struct id pair, int32_t replica,
                           int32_t attempt)
{
    char pair_text[ID_TEXT_SIZE], replica_text[16], attempt_text[16];
    identity_format(pair, pair_text);
    snprintf(replica_text, sizeof replica_text, "%d", replica);
    snprintf(attempt_text, sizeof attempt_text, "%d", attempt);
    const struct span parts[] = {feature_space, span_of(pair_text), span_of(replica_text),
                                 span_of(attempt_text)};
    return identity_hash(parts, 4);
}

struct id identity_imported(struct span feature_space, struct id pair, struct span label_id)
{
    char pair_text[ID_TEXT_SIZE];
    identity_format(pair, pair_text);
    const struct span parts[] = {span_of("imported"), feature_space, span_of(pair_text), label_id};
    return identity_hash(parts, 4);
}

struct id identity_carried(struct id request, struct id from, struct id to)
{
    return (struct id){request.high ^ from.high ^ to.high, request.low ^ from.low ^ to.low};
}

struct sel_random identity_random(uint64_t seed, const char *purpose, struct id id)
{
    const struct span parts[] = {span_of(purpose), {(const char *)&id, sizeof id}};
    return sel_random_init(seed, identity_hash(parts, 2).low);
}
