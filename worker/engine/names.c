#include "names.h"

#include <string.h>

static struct id key_of(const void *context, const void *thing)
{
    const struct name *name = thing;
    (void)context;
    return name->key;
}

static size_t bytes_of(const struct name *name)
{
    return sizeof *name + name->size + name->note_size;
}

void names_init(struct names *names, struct store *store, uint32_t most)
{
    *names = (struct names){.store = store, .most = most};
    index_init(&names->by_key, store, key_of, NULL);
}

void names_fini(struct names *names)
{
    for (uint32_t k = 0; k < names->count; k++) {
        struct name *name = names->numbered[k];
        if (name != NULL)
            store_give(names->store, name, bytes_of(name));
    }
    store_give(names->store, names->numbered, names->capacity * sizeof *names->numbered);
    index_fini(&names->by_key);
    names_init(names, names->store, names->most);
}

/* A free number; false: none, or no memory for another. */
static bool free_number(struct names *names, uint32_t *number)
{
    for (*number = names->free_from; *number < names->count; ++*number) {
        names->free_from = *number;
        if (names->numbered[*number] == NULL)
            return true;
    }
    names->free_from = names->count;
    if (names->count == names->most)
        return false;
    if (names->count == names->capacity) {
        uint32_t capacity = names->capacity == 0 ? 8 : 2 * names->capacity;
        struct name **grown = store_take(names->store, capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        if (names->count > 0)
            memcpy(grown, names->numbered, names->count * sizeof *grown);
        store_give(names->store, names->numbered, names->capacity * sizeof *grown);
        names->numbered = grown;
        names->capacity = capacity;
    }
    names->numbered[names->count++] = NULL;
    return true;
}

bool names_take(struct names *names, struct span text, int64_t value, uint32_t *number)
{
    return names_take_noted(names, text, value, (struct span){NULL, 0}, number);
}

bool names_take_noted(struct names *names, struct span text, int64_t value, struct span note,
                      uint32_t *number)
{
    const struct span parts[] = {text, {(const char *)&value, sizeof value}};
    struct id key = identity_hash(parts, 2);
    struct name *name = index_find(&names->by_key, key);
    if (name == NULL) {
        if (!free_number(names, number))
            return false;
        name = index_reserve(&names->by_key)
                   ? store_take(names->store, sizeof *name + text.size + note.size)
                   : NULL;
        if (name == NULL)
            return false;
        *name = (struct name){.id = identity_of(text),
                              .key = key,
                              .value = value,
                              .number = *number,
                              .size = text.size,
                              .note_size = note.size};
        if (text.size > 0)
            memcpy(name->text, text.data, text.size);
        if (note.size > 0)
            memcpy(name->text + text.size, note.data, note.size);
        index_add(&names->by_key, name);
        names->numbered[*number] = name;
    }
    *number = name->number;
    name->users++;
    return true;
}

void names_give(struct names *names, uint32_t number)
{
    struct name *name = names->numbered[number];
    if (--name->users > 0)
        return;
    index_remove(&names->by_key, name);
    names->numbered[number] = NULL;
    if (number < names->free_from)
        names->free_from = number;
    store_give(names->store, name, bytes_of(name));
}

const struct name *names_get(const struct names *names, uint32_t number)
{
    return names->numbered[number];
}

struct span name_note(const struct name *name)
{
    return (struct span){name->text + name->size, name->note_size};
}
