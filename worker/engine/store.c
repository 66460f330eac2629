#include "store.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    ALIGNMENT = 16,
    EXACT = 16,
    STEPS = 16,
    LARGEST = 64 * 1024,
    MAPPED = 128 * 1024,
    HEAD = 64
};

/* The largest block of an order, and the size and alignment of its slabs. An allocator that keeps
 * a few bytes before each block can set slabs side by side when they end a little early. */
static const struct {
    size_t block, slab;
} ORDERS[STORE_ORDERS] = {{16 * 1024, 64 * 1024}, {LARGEST, 256 * 1024}};

enum { SLAB_SHORT = 64 };

struct store_free {
    struct store_free *next;
};

struct store_slab {
    struct store_slab *next, *before; /* in one list of the store */
    struct store_free *given_back;
    size_t block; /* size of each */
    uint32_t used, cut, count;
    uint16_t class, order;
};

_Static_assert(sizeof(struct store_slab) <= HEAD, "blocks start behind the head");

void store_init(struct store *store, size_t limit)
{
    *store = (struct store){.limit = limit};
}

/* ---- lists ---- */

static void list_add(struct store_slab **list, struct store_slab *slab)
{
    slab->before = NULL;
    slab->next = *list;
    if (*list != NULL)
        (*list)->before = slab;
    *list = slab;
}

static void list_remove(struct store_slab **list, struct store_slab *slab)
{
    if (slab->before != NULL)
        slab->before->next = slab->next;
    else
        *list = slab->next;
    if (slab->next != NULL)
        slab->next->before = slab->before;
}

static void list_free(struct store_slab **list)
{
    while (*list != NULL) {
        struct store_slab *slab = *list;
        *list = slab->next;
        free(slab);
    }
}

void store_fini(struct store *store)
{
    for (size_t class = 0; class < STORE_CLASSES; class ++)
        list_free(&store->open[class]);
    for (size_t order = 0; order < STORE_ORDERS; order++)
        list_free(&store->empty[order]);
    list_free(&store->full);
    store_init(store, store->limit);
}

/* ---- sizes ---- */

/* The class of a size and, through *rounded, the size of its blocks. */
static size_t class_of(size_t size, size_t *rounded)
{
    size_t units = (size + ALIGNMENT - 1) / ALIGNMENT;
    if (units == 0)
        units = 1;
    if (units <= EXACT) {
        *rounded = units * ALIGNMENT;
        return units - 1;
    }
    size_t doubling = 0;
    while ((units - 1) >> (doubling + 5) != 0)
        doubling++;
    size_t step = (size_t)1 << doubling;
    size_t steps = (units + step - 1) >> doubling; /* 17 .. 32 */
    *rounded = (steps << doubling) * ALIGNMENT;
    return EXACT + doubling * STEPS + (steps - STEPS - 1);
}

static size_t order_of(size_t rounded)
{
    size_t order = 0;
    while (rounded > ORDERS[order].block)
        order++;
    return order;
}

/* What a block beyond all classes takes. */
static size_t large_bytes(size_t size)
{
    enum { PAGE = 4096 };
    return size < MAPPED ? size : (size + PAGE - 1) / PAGE * PAGE;
}

size_t store_need(const struct store *store, size_t size)
{
    size_t rounded;
    (void)store;
    if (size > LARGEST)
        return large_bytes(size);
    class_of(size, &rounded);
    return ORDERS[order_of(rounded)].slab;
}

/* ---- slabs ---- */

static void release_empty(struct store *store, size_t order)
{
    struct store_slab *slab = store->empty[order];
    list_remove(&store->empty[order], slab);
    store->bytes -= ORDERS[order].slab;
    store->empty_bytes -= ORDERS[order].slab;
    free(slab);
}

/* True when `bytes` more stay within the limit, if need be without the empty slabs. */
static bool make_room(struct store *store, size_t bytes)
{
    if (bytes > store->limit)
        return false;
    for (size_t order = 0; order < STORE_ORDERS; order++) {
        while (store->bytes > store->limit - bytes && store->empty[order] != NULL)
            release_empty(store, order);
    }
    return store->bytes <= store->limit - bytes;
}

/* A slab without blocks; the one that was emptied last comes first. */
static struct store_slab *obtain(struct store *store, size_t order)
{
    struct store_slab *slab = store->empty[order];
    size_t bytes = ORDERS[order].slab;
    if (slab != NULL) {
        list_remove(&store->empty[order], slab);
        store->empty_bytes -= bytes;
        return slab;
    }
    if (!make_room(store, bytes))
        return NULL;
    void *fresh = NULL;
    if (posix_memalign(&fresh, bytes, bytes - SLAB_SHORT) != 0)
        return NULL;
    store->bytes += bytes;
    return fresh;
}

static bool grow(struct store *store, size_t class, size_t rounded)
{
    size_t order = order_of(rounded);
    struct store_slab *slab = obtain(store, order);
    if (slab == NULL)
        return false;
    *slab =
        (struct store_slab){.block = rounded,
                            .count = (uint32_t)((ORDERS[order].slab - SLAB_SHORT - HEAD) / rounded),
                            .class = (uint16_t) class,
                            .order = (uint16_t)order};
    list_add(&store->open[class], slab);
    return true;
}

/* Keeps an empty slab for whoever needs one next, unless much is empty already. */
static void retire(struct store *store, struct store_slab *slab)
{
    size_t order = slab->order;
    list_remove(&store->open[slab->class], slab);
    list_add(&store->empty[order], slab);
    store->empty_bytes += ORDERS[order].slab;
    while (store->empty[order] != NULL &&
           store->empty_bytes > store->bytes / 8 + 8 * ORDERS[order].slab)
        release_empty(store, order);
}

/* ---- blocks ---- */

static void *take_large(struct store *store, size_t size)
{
    size_t bytes = large_bytes(size);
    if (bytes < size || !make_room(store, bytes))
        return NULL;
    void *large = size < MAPPED ? malloc(bytes)
                                : mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (large == NULL || large == MAP_FAILED)
        return NULL;
    store->bytes += bytes;
    store->used += bytes;
    return large;
}

static void give_large(struct store *store, void *large, size_t size)
{
    size_t bytes = large_bytes(size);
    store->bytes -= bytes;
    store->used -= bytes;
    if (size < MAPPED)
        free(large);
    else
        munmap(large, bytes);
}

void *store_take(struct store *store, size_t size)
{
    size_t rounded;
    if (size > LARGEST)
        return take_large(store, size);
    size_t class = class_of(size, &rounded);
    if (store->open[class] == NULL && !grow(store, class, rounded))
        return NULL;
    struct store_slab *slab = store->open[class];
    void *block = slab->given_back;
    if (block != NULL)
        slab->given_back = slab->given_back->next;
    else
        block = (char *)slab + HEAD + slab->cut++ * slab->block;
    if (++slab->used == slab->count) {
        list_remove(&store->open[class], slab);
        list_add(&store->full, slab);
    }
    store->used += rounded;
    return block;
}

void store_give(struct store *store, void *block, size_t size)
{
    size_t rounded;
    if (block == NULL)
        return;
    if (size > LARGEST) {
        give_large(store, block, size);
        return;
    }
    size_t class = class_of(size, &rounded);
    size_t within = (uintptr_t)block & (ORDERS[order_of(rounded)].slab - 1);
    struct store_slab *slab = (struct store_slab *)(void *)((char *)block - within);
    struct store_free *first = block;
    if (slab->used == slab->count) {
        list_remove(&store->full, slab);
        list_add(&store->open[class], slab);
    }
    first->next = slab->given_back;
    slab->given_back = first;
    store->used -= rounded;
    if (--slab->used == 0)
        retire(store, slab);
}
