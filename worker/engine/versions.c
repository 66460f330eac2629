#include "versions.h"

#include <string.h>

void versions_init(struct versions *versions, struct store *store)
{
    *versions = (struct versions){.store = store};
}

void versions_fini(struct versions *versions)
{
    store_give(versions->store, versions->known, versions->capacity * sizeof *versions->known);
    versions_init(versions, versions->store);
}

/* Place of the first epoch that is not below. */
static size_t place_of(const struct versions *versions, int64_t epoch)
{
    size_t low = 0, high = versions->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (versions->known[middle].epoch < epoch)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool grow(struct versions *versions)
{
    size_t capacity = versions->capacity == 0 ? 16 : 2 * versions->capacity;
    struct version *grown = store_take(versions->store, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    if (versions->count > 0)
        memcpy(grown, versions->known, versions->count * sizeof *grown);
    store_give(versions->store, versions->known, versions->capacity * sizeof *grown);
    versions->known = grown;
    versions->capacity = capacity;
    return true;
}

bool versions_note(struct versions *versions, int64_t epoch, int64_t time, bool *changed)
{
    size_t place = place_of(versions, epoch);
    if (place < versions->count && versions->known[place].epoch == epoch) {
        if (time > versions->known[place].time)
            versions->known[place].time = time;
        return true;
    }
    if (versions->count == versions->capacity && !grow(versions))
        return false;
    struct version *at = versions->known + place;
    memmove(at + 1, at, (versions->count - place) * sizeof *at);
    *at = (struct version){epoch, time};
    versions->count++;
    *changed = true;
    return true;
}

bool versions_forget(struct versions *versions, int64_t edge)
{
    size_t kept = 0;
    for (size_t k = 0; k < versions->count; k++) {
        if (versions->known[k].time >= edge)
            versions->known[kept++] = versions->known[k];
    }
    bool forgot = kept < versions->count;
    versions->count = kept;
    return forgot;
}

size_t versions_age(const struct versions *versions, int64_t epoch)
{
    size_t place = place_of(versions, epoch);
    bool held = place < versions->count && versions->known[place].epoch == epoch;
    return versions->count - place - held;
}
