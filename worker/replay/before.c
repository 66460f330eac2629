#include "before.h"

#include <stdlib.h>

/* A request of the pair was asked before the range, and this label is of it. */
static bool is_of_before(const struct recorded *recorded, const struct entry_labelled *labelled)
{
    struct id pair, request;
    size_t count;
    if (!identity_parse(labelled->pair_id, &pair) ||
        !identity_parse(labelled->request_id, &request))
        return false;
    const struct recorded_pair *found = recorded_find(recorded, pair, &count);
    for (size_t k = 0; k < count; k++) {
        if (identity_equal(found[k].request, request))
            return found[k].before;
    }
    return false;
}

bool before_find(struct before *before, const struct past *past, const struct recorded *recorded,
                 struct error *error)
{
    size_t count = spool_count(past->ledger);
    *before = (struct before){.past = past, .entries = calloc(count + 1, sizeof *before->entries)};
    if (before->entries == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for %zu entries", count);
    for (size_t k = 0; k < count; k++) {
        const struct spool_record record = spool_at(past->ledger, k);
        struct entry entry;
        if (record.time < past->from)
            continue;
        if (!contracts_decode_entry(recorded->contracts, record.value, &entry, NULL, error))
            return false;
        if (entry.kind == ENTRY_LABELLED && is_of_before(recorded, &entry.labelled))
            before->entries[before->count++] = k;
    }
    return true;
}

void before_fini(struct before *before)
{
    free(before->entries);
    *before = (struct before){0};
}

int64_t before_due(const struct before *before, int64_t now)
{
    if (before->next == before->count)
        return INT64_MAX;
    int64_t time = spool_at(before->past->ledger, before->entries[before->next]).time;
    return time > now ? time : now + 1;
}

bool before_give(struct before *before, struct passage *passage, int64_t now, struct error *error)
{
    for (; before->next < before->count; before->next++) {
        const struct spool_record record =
            spool_at(before->past->ledger, before->entries[before->next]);
        if (record.time > now)
            break;
        if (!passage_give_entry(passage, record.value, record.partition, record.offset, error))
            return false;
    }
    return true;
}
