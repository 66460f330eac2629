/* Texts that many share, each kept once with a number: feature spaces with their dimension, policy
 * versions with their epoch, domains, annotators.
 *
 * A name is forgotten when the last who took it has given it back; its number is used again. */
#ifndef INFOPAIR_NAMES_H
#define INFOPAIR_NAMES_H

#include <stdint.h>

#include "identity.h"
#include "index.h"
#include "store.h"

struct name {
    struct id id;  /* of the text */
    struct id key; /* of text and value */
    int64_t value;
    uint32_t number, users;
    size_t size, note_size;
    char text[]; /* then the note */
};

struct names {
    struct store *store;
    struct index by_key;
    struct name **numbered; /* NULL where a number is free */
    uint32_t count, capacity, most;
    uint32_t free_from; /* no number below is free */
};

/* most: names at a time; numbers are below it. */
void names_init(struct names *names, struct store *store, uint32_t most);
void names_fini(struct names *names);
/* The number of a text and a value, which stays until it is given back as often as it was taken.
 * False: no memory, or too many at a time. */
bool names_take(struct names *names, struct span text, int64_t value, uint32_t *number);
/* The same; a name that is new keeps a note beside its text. */
bool names_take_noted(struct names *names, struct span text, int64_t value, struct span note,
                      uint32_t *number);
void names_give(struct names *names, uint32_t number);
const struct name *names_get(const struct names *names, uint32_t number);
struct span name_note(const struct name *name);

#endif
