/* Finding things by their identity: a table of pointers, no handle within the things.
 *
 * Open addressing with linear probing over slots of 8 bytes, at most 5/6 of them taken. A slot
 * holds the pointer and, in the four bits that alignment leaves free, a part of the key, so that
 * few others are looked at. A key is derived from the thing whenever it is needed. Removing moves
 * what stands behind back, so nothing is left over. Cost: O(1), at growth O(n). Things must be
 * aligned to 16 bytes, and keys must be hashes. */
#ifndef INFOPAIR_INDEX_H
#define INFOPAIR_INDEX_H

#include <stdint.h>

#include "identity.h"
#include "store.h"

struct index {
    struct store *store;
    struct id (*key)(const void *context, const void *thing);
    const void *context;
    uintptr_t *slots;
    size_t capacity, count;
};

void index_init(struct index *index, struct store *store,
                struct id (*key)(const void *context, const void *thing), const void *context);
void index_fini(struct index *index);
/* NULL: there is none of that key. */
void *index_find(const struct index *index, struct id key);
/* Makes room for one more; false: no memory. */
bool index_reserve(struct index *index);
/* Adds a thing, for which room was made. Several may have one key; any of them is found. */
void index_add(struct index *index, void *thing);
/* Puts a thing of the same key in the place of another. */
void index_replace(struct index *index, const void *before, void *thing);
/* The thing must be there. */
void index_remove(struct index *index, const void *thing);
/* The next thing from slot *at on, or NULL; *at moves to its slot. Begin with 0; go on with *at +
 * 1, or with *at where the thing was removed. Things come nearly in the order of their keys; the
 * first few may be of those that belong to the end. */
void *index_next(const struct index *index, size_t *at);

#endif
