/* Memory for things that come and go by the thousand: completions, pools, requests.
 *
 * Blocks come from size classes (16 bytes apart up to 256, then sixteen classes a doubling, so at
 * most a sixteenth is wasted) cut from slabs: 64 KiB for blocks of up to 16 KiB, 256 KiB for those
 * of up to 64 KiB, each aligned to its size, so that the slab of a block is found by its address.
 * Larger blocks come from malloc, those of 128 KiB and more from the system, which has their memory
 * back at once when they go.
 *
 * Invariants: the sum of all slabs and large blocks never passes the limit given at init. A slab
 * with no block in use belongs to no class: the next class of its size that needs one takes it, and
 * it is given back to the system when another size needs its room or when more than an eighth of
 * all is empty. So what one class gave back serves any other, and the steady path allocates
 * nothing. */
#ifndef INFOPAIR_STORE_H
#define INFOPAIR_STORE_H

#include <stdbool.h>
#include <stddef.h>

enum { STORE_CLASSES = 144, STORE_ORDERS = 2 };

struct store_slab;

struct store {
    size_t limit;
    size_t bytes;                           /* of all slabs and large blocks */
    size_t used;                            /* handed out */
    size_t empty_bytes;                     /* of the slabs without a block in use */
    struct store_slab *open[STORE_CLASSES]; /* with a block to give */
    struct store_slab *full;
    struct store_slab *empty[STORE_ORDERS];
};

void store_init(struct store *store, size_t limit);
/* Frees every slab; large blocks must have been given back. */
void store_fini(struct store *store);
/* A block of at least `size` bytes, 16-byte aligned, not cleared. NULL when the limit is reached or
 * memory ran out. */
void *store_take(struct store *store, size_t size);
/* `size` as it was taken. NULL is fine. */
void store_give(struct store *store, void *block, size_t size);
/* Bytes that must be free in one piece before a block of `size` bytes can be had, when its class
 * has none: more than the limit if it never can. */
size_t store_need(const struct store *store, size_t size);

#endif
