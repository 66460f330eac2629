/* Identities: XXH3 128-bit hashes of length-prefixed UTF-8, written in hex.
 *
 * An identity depends on what it names alone, never on a counter, a clock or a process, so that two
 * workers, or one before and after a restart, give the same thing the same name. */
#ifndef INFOPAIR_IDENTITY_H
#define INFOPAIR_IDENTITY_H

#include "schemas/bytes.h"
#include "selectors/selectors.h"

struct id {
    uint64_t high;
    uint64_t low;
};

enum { ID_TEXT_SIZE = 33 }; /* 32 hex digits and a NUL */

/* Hash of the parts, each preceded by its length as 8 little-endian bytes. */
struct id identity_hash(const struct span *parts, size_t count);
struct id identity_of(struct span text);
bool identity_equal(struct id left, struct id right);
/* <0, 0, >0 in the order of the hex text. */
int identity_compare(struct id left, struct id right);
void identity_format(struct id id, char text[ID_TEXT_SIZE]);
/* False unless the text is 32 lower-case hex digits. */
bool identity_parse(struct span text, struct id *id);

/* Of (prompt_id, the two completion ids sorted bytewise): free of order. */
struct id identity_pair(struct span prompt_id, struct span completion, struct span other);
/* Of (feature space, pair_id, replica, attempt). */
struct id identity_request(struct span feature_space, struct id pair, int32_t replica,
                           int32_t attempt);

/* Of a label that answers no request: of ("imported", feature space, pair_id, label_id). */
struct id identity_imported(struct span feature_space, struct id pair, struct span label_id);

/* Of a request of space `from` whose label is carried to space `to` (hashes of their names). */
struct id identity_carried(struct id request, struct id from, struct id to);

/* A generator keyed by the seed, a purpose and an id or a number. */
struct sel_random identity_random(uint64_t seed, const char *purpose, struct id id);

#endif
