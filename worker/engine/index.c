#include "index.h"

#include <string.h>

enum { TAG = 15, CAPACITY_LEAST = 16 };

void index_init(struct index *index, struct store *store,
                struct id (*key)(const void *context, const void *thing), const void *context)
{
    *index = (struct index){.store = store, .key = key, .context = context};
}

void index_fini(struct index *index)
{
    store_give(index->store, index->slots, index->capacity * sizeof *index->slots);
    index->slots = NULL;
    index->capacity = index->count = 0;
}

static void *thing_of(uintptr_t slot)
{
    return (void *)(slot & ~(uintptr_t)TAG);
}

static uintptr_t slot_of(const void *thing, struct id key)
{
    return (uintptr_t)thing | (key.low & TAG);
}

/* The slot where the search for a key begins; capacities need not be powers of two. */
static size_t home(const struct index *index, struct id key)
{
    return (size_t)((key.high >> 32) * index->capacity >> 32);
}

static size_t after(const struct index *index, size_t at)
{
    return at + 1 == index->capacity ? 0 : at + 1;
}

void *index_find(const struct index *index, struct id key)
{
    if (index->count == 0)
        return NULL;
    for (size_t at = home(index, key); index->slots[at] != 0; at = after(index, at)) {
        uintptr_t slot = index->slots[at];
        if ((slot & TAG) == (key.low & TAG) &&
            identity_equal(index->key(index->context, thing_of(slot)), key))
            return thing_of(slot);
    }
    return NULL;
}

static void put(struct index *index, uintptr_t slot, struct id key)
{
    size_t at = home(index, key);
    while (index->slots[at] != 0)
        at = after(index, at);
    index->slots[at] = slot;
}

static bool grow(struct index *index)
{
    struct index before = *index;
    index->capacity = before.capacity == 0 ? CAPACITY_LEAST : before.capacity + before.capacity / 5;
    index->slots = store_take(index->store, index->capacity * sizeof *index->slots);
    if (index->slots == NULL) {
        *index = before;
        return false;
    }
    memset(index->slots, 0, index->capacity * sizeof *index->slots);
    for (size_t at = 0; at < before.capacity; at++) {
        if (before.slots[at] != 0)
            put(index, before.slots[at], index->key(index->context, thing_of(before.slots[at])));
    }
    store_give(index->store, before.slots, before.capacity * sizeof *before.slots);
    return true;
}

bool index_reserve(struct index *index)
{
    return index->count + 1 <= index->capacity / 6 * 5 || grow(index);
}

void index_add(struct index *index, void *thing)
{
    struct id key = index->key(index->context, thing);
    put(index, slot_of(thing, key), key);
    index->count++;
}

/* The slot of a thing that is there. */
static size_t slot_at(const struct index *index, const void *thing, struct id key)
{
    size_t at = home(index, key);
    while (thing_of(index->slots[at]) != thing)
        at = after(index, at);
    return at;
}

void index_replace(struct index *index, const void *before, void *thing)
{
    struct id key = index->key(index->context, thing);
    index->slots[slot_at(index, before, key)] = slot_of(thing, key);
}

/* True when slot `at` lies in the cyclic stretch (from, to]. */
static bool within(size_t at, size_t from, size_t to)
{
    return from <= to ? from < at && at <= to : from < at || at <= to;
}

void index_remove(struct index *index, const void *thing)
{
    struct id key = index->key(index->context, thing);
    size_t hole = slot_at(index, thing, key);
    for (size_t at = after(index, hole); index->slots[at] != 0; at = after(index, at)) {
        key = index->key(index->context, thing_of(index->slots[at]));
        if (within(home(index, key), hole, at))
            continue;
        index->slots[hole] = index->slots[at];
        hole = at;
    }
    index->slots[hole] = 0;
    index->count--;
}

void *index_next(const struct index *index, size_t *at)
{
    while (*at < index->capacity && index->slots[*at] == 0)
        ++*at;
    return *at < index->capacity ? thing_of(index->slots[*at]) : NULL;
}
