/* The rows behind `struct options`, for the files options_*.c only. */
#ifndef INFOPAIR_OPTIONS_TABLE_H
#define INFOPAIR_OPTIONS_TABLE_H

#include "options.h"

enum option_type {
    TYPE_STRING,   /* char *, owned */
    TYPE_LIST,     /* struct string_list */
    TYPE_NAME,     /* an enum, by its position in `names` */
    TYPE_BOOL,     /* bool */
    TYPE_INTEGER,  /* int64_t */
    TYPE_COUNT,    /* size_t */
    TYPE_SIZE,     /* size_t, bytes */
    TYPE_DURATION, /* int64_t, milliseconds */
    TYPE_NUMBER,   /* double */
};

struct option_row {
    const char *name; /* "pool.size" */
    size_t offset;    /* of the member in struct options */
    enum option_type type;
    double minimum; /* inclusive, in the member's unit; unused where there is no number */
    double maximum;
    bool above_minimum;       /* the minimum itself is not allowed */
    const char *automatic;    /* the word that stands for a stored 0, or NaN; NULL: none */
    bool automatic_nan;       /* NaN, since 0 is a value like others */
    const char *fallback;     /* the default as text; NULL: none, or computed */
    char *(*compute)(void);   /* makes the default at run time, owned by the caller */
    const char *compute_text; /* what the reference page says about that */
    const char *const *names; /* of TYPE_NAME, NULL at the end */
    bool required;            /* no default: the commands that need it demand it */
    bool shared;              /* enters the digest */
    bool secret;              /* values may have to be masked */
    bool plain;               /* of TYPE_LIST: items need not be "name=value" */
    bool live;                /* takes effect while the worker runs (reload.h) */
    bool parameter;           /* of rules of selection: its text is theirs */
    const char *mark; /* what it is called in a digest, with the rows beside it that have the
                         same mark; NULL: by its own name */
    const char *text; /* Markdown */
};

/* The table, by group; the row past the end has no name. */
extern const struct option_row OPTION_ROWS[];
size_t option_count(void);

/* NULL when there is no such option. */
const struct option_row *option_find(const char *name);
/* The length of "pool" in "pool.size"; 0 for an option without a group. */
size_t option_group(const struct option_row *row);
enum { OPTION_NAME_SIZE = 64 };
/* "INFOPAIR_POOL_SIZE" of `name`. */
void option_variable(const char *name, char variable[OPTION_NAME_SIZE]);

/* The member of `row`, to be read or written as its type says. */
void *option_member(const struct options *options, const struct option_row *row);

/* ---- options_value.c ---- */

/* Parses `text` into the member of `row`. The error says what is expected, without the name of the
 * option. On failure the member is as before. */
bool option_parse(struct options *options, const struct option_row *row, const char *text,
                  struct error *error);
/* Replaces a list with copies of the `count` items. */
bool option_assign_list(struct options *options, const struct option_row *row,
                        const char *const *items, size_t count, struct error *error);
/* Puts "name=value" in the list, in place of an item of the same name. */
bool option_put_property(struct options *options, const struct option_row *row,
                         const char *property, struct error *error);
/* Notes where an item of a list was given, unless that is known; item SIZE_MAX: all of them. */
bool option_place(struct options *options, const struct option_row *row, size_t item,
                  const char *place, struct error *error);
/* Releases the member and clears it. */
void option_clear(struct options *options, const struct option_row *row);
/* Writes the value as libconfig reads it. mask: secrets as ********. */
void option_write(const struct options *options, const struct option_row *row, bool mask,
                  FILE *out);
/* The same as text, owned by the caller; NULL: out of memory. */
char *option_text(const struct options *options, const struct option_row *row, bool mask);
/* A bound of the row's range in the unit that people write. */
enum { OPTION_BOUND_SIZE = 32 };
void option_bound(const struct option_row *row, double bound, char text[OPTION_BOUND_SIZE]);
/* "a duration such as \"250ms\", \"5m\" or \"7d\"". */
const char *option_expected(const struct option_row *row);

/* ---- options_file.c ---- */

/* Reads the file of libconfig at `path`. */
bool options_read_file(struct options *options, const char *path, struct error *error);

/* ---- options_check.c ---- */

/* What one option demands of another; puts the rule's own name in place of an alias. */
bool options_check(struct options *options, struct error *error);

/* ---- options_budget.c ---- */

/* Reads domains, quiet hours and the rest into options->budget_limits, and finds what does not go
 * together. */
bool options_check_budget(struct options *options, struct error *error);
/* Fails unless something limits the requests of a time. */
bool options_require_budget(const struct options *options, struct error *error);

/* ---- options_rule.c ---- */

/* Finds or loads the rule, and its parameters among the options. */
bool options_check_rule(struct options *options, struct error *error);
/* The rows of the rules' parameters are what the rules say. */
bool options_check_parameters(struct error *error);

/* ---- options.c ---- */

/* Remembers where the value of `row` came from. */
void option_mark(struct options *options, const struct option_row *row, enum option_source source);

#endif
