/* Memory for things that come and go by the thousand: completions, pools, requests.
 *
 * Blocks come from size classes (16 bytes apart up to 128, then eight classes a doubling, so at
 * most an eighth is wasted) cut from slabs of 64 KiB or eight blocks. A block given back is used
 * again for its class, so the steady path allocates nothing. The sum of all slabs never passes the
 * limit given at init. */
#ifndef INFOPAIR_STORE_H
#define INFOPAIR_STORE_H

#include <stdbool.h>
#include <stddef.h>

enum { STORE_CLASSES = 96 };

struct store_slab;
struct store_free;

struct store {
    size_t limit;
    size_t bytes; /* of all slabs and large blocks */
    size_t used;  /* handed out */
    struct store_slab *slabs;
    struct store_free *free[STORE_CLASSES];
};

void store_init(struct store *store, size_t limit);
/* Frees every slab; large blocks must have been given back. */
void store_fini(struct store *store);
/* A block of at least `size` bytes, 16-byte aligned, not cleared. NULL when the limit is reached or
 * memory ran out. */
void *store_take(struct store *store, size_t size);
/* `size` as it was taken. NULL is fine. */
void store_give(struct store *store, void *block, size_t size);

#endif
