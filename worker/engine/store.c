#include "store.h"

#include <stdint.h>
#include <stdlib.h>

enum { SLAB_LEAST = 64 * 1024, SLAB_BLOCKS = 8, LARGEST = 64 * 1024, ALIGNMENT = 16 };

struct store_slab {
    struct store_slab *next;
    size_t filler;
    char data[];
};

struct store_free {
    struct store_free *next;
};

void store_init(struct store *store, size_t limit)
{
    *store = (struct store){.limit = limit};
}

void store_fini(struct store *store)
{
    while (store->slabs != NULL) {
        struct store_slab *slab = store->slabs;
        store->slabs = slab->next;
        free(slab);
    }
    *store = (struct store){.limit = store->limit};
}

/* The class of a size and, through *rounded, the size of its blocks. */
static size_t class_of(size_t size, size_t *rounded)
{
    size_t units = (size + ALIGNMENT - 1) / ALIGNMENT;
    if (units == 0)
        units = 1;
    if (units <= 8) {
        *rounded = units * ALIGNMENT;
        return units - 1;
    }
    size_t doubling = 0;
    while ((units - 1) >> (doubling + 4) != 0)
        doubling++;
    size_t step = (size_t)1 << doubling;
    size_t steps = (units + step - 1) >> doubling; /* 9 .. 16 */
    *rounded = (steps << doubling) * ALIGNMENT;
    return 8 + doubling * 8 + (steps - 9);
}

static bool grow(struct store *store, size_t class, size_t rounded)
{
    size_t room = SLAB_BLOCKS * rounded > SLAB_LEAST ? SLAB_BLOCKS * rounded : SLAB_LEAST;
    size_t bytes = sizeof(struct store_slab) + room;
    if (store->bytes + bytes > store->limit)
        return false;
    struct store_slab *slab = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (slab == NULL)
        return false;
    slab->next = store->slabs;
    store->slabs = slab;
    store->bytes += bytes;
    for (size_t at = room / rounded; at-- > 0;) {
        struct store_free *block = (struct store_free *)(void *)(slab->data + at * rounded);
        block->next = store->free[class];
        store->free[class] = block;
    }
    return true;
}

void *store_take(struct store *store, size_t size)
{
    if (size > LARGEST) {
        if (size > store->limit || store->bytes > store->limit - size)
            return NULL;
        void *large = malloc(size);
        if (large != NULL) {
            store->bytes += size;
            store->used += size;
        }
        return large;
    }
    size_t rounded;
    size_t class = class_of(size, &rounded);
    if (store->free[class] == NULL && !grow(store, class, rounded))
        return NULL;
    struct store_free *block = store->free[class];
    store->free[class] = block->next;
    store->used += rounded;
    return block;
}

void store_give(struct store *store, void *block, size_t size)
{
    if (block == NULL)
        return;
    if (size > LARGEST) {
        free(block);
        store->bytes -= size;
        store->used -= size;
        return;
    }
    size_t rounded;
    size_t class = class_of(size, &rounded);
    struct store_free *first = block;
    first->next = store->free[class];
    store->free[class] = first;
    store->used -= rounded;
}
