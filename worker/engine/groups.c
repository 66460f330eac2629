#include "groups.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading them ---- */

static bool take_name(const char *item, struct feature_groups *groups, struct error *error)
{
    static const char LETTERS[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t size = strspn(item, LETTERS);
    if (size == 0 || size > GROUP_NAME_MAX || item[size] != '=')
        return error_set(error, ERROR_FATAL,
                         "'%.80s' is not of the form name=FROM-TO, with a name of 1 to %d letters, "
                         "digits, '.', '_' or '-'",
                         item, GROUP_NAME_MAX);
    char *name = groups->names[groups->count];
    memcpy(name, item, size);
    name[size] = '\0';
    if (strcmp(name, "other") == 0 || strcmp(name, "all") == 0)
        return error_set(error, ERROR_FATAL,
                         "'%s' is not a name to give: it is that of what no group names, or of all",
                         name);
    for (size_t k = 0; k < groups->count; k++)
        if (strcmp(groups->names[k], name) == 0)
            return error_set(error, ERROR_FATAL, "'%s' is given twice", name);
    return true;
}

/* A feature's index; *text moves behind it. */
static bool take_index(const char **text, size_t *index)
{
    char *end;
    if (!isdigit((unsigned char)**text))
        return false;
    unsigned long value = strtoul(*text, &end, 10);
    *index = value;
    *text = end;
    return value <= GROUP_FEATURE_MAX;
}

static bool overlaps(const struct feature_groups *groups, const struct feature_range *range,
                     struct error *error)
{
    for (size_t k = 0; k < groups->range_count; k++) {
        const struct feature_range *other = &groups->ranges[k];
        size_t first = range->first > other->first ? range->first : other->first;
        if (first > range->last || first > other->last)
            continue;
        error_set(error, ERROR_FATAL, "feature %zu is in '%s' and in '%s'", first,
                  groups->names[other->group], groups->names[range->group]);
        return true;
    }
    return false;
}

/* "0-15+20": all ranges of the group that comes next. */
static bool take_ranges(const char *item, struct feature_groups *groups, struct error *error)
{
    const char *text = strchr(item, '=');
    do {
        struct feature_range range = {.group = groups->count};
        text++;
        bool read = take_index(&text, &range.first);
        range.last = range.first;
        if (read && *text == '-') {
            text++;
            read = take_index(&text, &range.last);
        }
        if (!read || (*text != '\0' && *text != '+') || range.last < range.first)
            return error_set(error, ERROR_FATAL,
                             "'%.80s': expected ranges FROM-TO of feature indexes, 0 to %d, FROM "
                             "not above TO, joined by '+'",
                             item, GROUP_FEATURE_MAX);
        if (groups->range_count == GROUP_RANGES_MAX)
            return error_set(error, ERROR_FATAL, "there are more than %d ranges", GROUP_RANGES_MAX);
        if (overlaps(groups, &range, error))
            return false;
        groups->ranges[groups->range_count++] = range;
    } while (*text == '+');
    return true;
}

bool feature_groups_parse(const char *const *items, size_t count, struct feature_groups *groups,
                          struct error *error)
{
    *groups = (struct feature_groups){0};
    if (count > SEL_GROUPS_MAX - 1)
        return error_set(error, ERROR_FATAL,
                         "%zu groups; there may be %d, and one of what they leave", count,
                         SEL_GROUPS_MAX - 1);
    for (size_t k = 0; k < count; k++) {
        if (!take_name(items[k], groups, error) || !take_ranges(items[k], groups, error))
            return false;
        groups->count++;
    }
    return true;
}

/* ---- in a space ---- */

bool feature_groups_fit(const struct feature_groups *groups, size_t dimension, char *text,
                        size_t size)
{
    if (groups != NULL && groups->blocks > dimension) {
        snprintf(text, size, "features.blocks: %zu features do not make %zu blocks", dimension,
                 groups->blocks);
        return false;
    }
    for (size_t k = 0; groups != NULL && k < groups->range_count; k++) {
        const struct feature_range *range = &groups->ranges[k];
        if (range->last < dimension)
            continue;
        snprintf(text, size, "features.groups: '%s' names feature %zu, there are %zu, from 0 on",
                 groups->names[range->group], range->last, dimension);
        return false;
    }
    return true;
}

static size_t blocks_of(size_t blocks, size_t dimension, uint8_t *group)
{
    size_t block = 0;
    for (size_t k = 0; k < dimension; k++) {
        while ((block + 1) * dimension / blocks <= k)
            block++;
        group[k] = (uint8_t)block;
    }
    return blocks;
}

size_t feature_groups_of(const struct feature_groups *groups, size_t dimension, uint8_t *group)
{
    if (groups != NULL && groups->blocks > 1)
        return blocks_of(groups->blocks, dimension, group);
    size_t named = 0, count = groups == NULL ? 0 : groups->count;
    for (size_t k = 0; k < dimension; k++)
        group[k] = (uint8_t)count;
    for (size_t k = 0; groups != NULL && k < groups->range_count; k++) {
        const struct feature_range *range = &groups->ranges[k];
        for (size_t feature = range->first; feature <= range->last; feature++)
            group[feature] = (uint8_t)range->group;
        named += range->last - range->first + 1;
    }
    return count + (named < dimension);
}

const char *feature_groups_name(const struct feature_groups *groups, size_t group,
                                char name[GROUP_NAME_MAX + 1])
{
    if (groups != NULL && groups->blocks > 1)
        snprintf(name, GROUP_NAME_MAX + 1, "block%zu", group);
    else if (groups == NULL || groups->count == 0)
        snprintf(name, GROUP_NAME_MAX + 1, "all");
    else
        snprintf(name, GROUP_NAME_MAX + 1, "%s",
                 group < groups->count ? groups->names[group] : "other");
    return name;
}
