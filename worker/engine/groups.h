/* Groups of features, each with a lambda of its own in the fit.
 *
 * Given by name, "reward=0-15" or "style=16-31+40" (indexes from 0, both ends belong to it), where
 * what no group names makes one more, "other"; or as so many contiguous blocks of equal size, block
 * b from floor(b d / blocks) on. Without either there is one group, "all". */
#ifndef INFOPAIR_GROUPS_H
#define INFOPAIR_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/error.h"
#include "selectors/selectors.h"

enum { GROUP_NAME_MAX = 32, GROUP_RANGES_MAX = 256, GROUP_FEATURE_MAX = 65535 };

struct feature_range {
    size_t first, last;
    size_t group;
};

/* All zero: one group. */
struct feature_groups {
    size_t blocks; /* 0 or 1: by name, or one group */
    size_t count;  /* of names */
    size_t range_count;
    char names[SEL_GROUPS_MAX][GROUP_NAME_MAX + 1];
    struct feature_range ranges[GROUP_RANGES_MAX];
};

/* Reads "name=RANGE+RANGE" each. The error names the item and what is wrong with it. */
bool feature_groups_parse(const char *const *items, size_t count, struct feature_groups *groups,
                          struct error *error);
/* False, with the reason in `text`, where a space of so many features does not have them. NULL: one
 * group, as below. */
bool feature_groups_fit(const struct feature_groups *groups, size_t dimension, char *text,
                        size_t size);
/* Writes the group of each feature of a space that fits; returns how many groups there are, none of
 * them empty. */
size_t feature_groups_of(const struct feature_groups *groups, size_t dimension, uint8_t *group);
/* The name of a group of such a space. */
const char *feature_groups_name(const struct feature_groups *groups, size_t group,
                                char name[GROUP_NAME_MAX + 1]);

#endif
