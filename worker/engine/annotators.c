/* The rows of the FIT in force. */
#include "annotators.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/plan.h"

struct annotator_key {
    struct id id; /* of the annotator's text */
    size_t row;
};

static bool is_share(double value)
{
    return value >= 0 && value <= 1;
}

static bool row_is_valid(const struct fit_annotator *row, struct error *error)
{
    if (row->id.size == 0 || row->id.size > REQUEST_ID_MAX || row->kind.size > REQUEST_ID_MAX ||
        !text_valid(row->id) || !text_valid(row->kind))
        return error_set(error, ERROR_DATA,
                         "annotators: an id or kind is empty, longer than %d bytes or not UTF-8",
                         REQUEST_ID_MAX);
    if (!(row->lapse >= 0 && row->lapse < 1))
        return error_set(error, ERROR_DATA, "annotators: lapse %g is not in [0, 1)", row->lapse);
    if (!isfinite(row->left_bias))
        return error_set(error, ERROR_DATA, "annotators: left_bias is not finite");
    return (row->labels >= 0 && row->sided >= 0 && row->sided <= row->labels &&
            row->compared >= 0 && is_share(row->left_share) && is_share(row->agreement) &&
            is_share(row->compared_agreement)) ||
           error_set(error, ERROR_DATA, "annotators: a count or a share is out of range");
}

static int compare_keys(const void *left, const void *right)
{
    const struct annotator_key *a = left, *b = right;
    return identity_compare(a->id, b->id);
}

static bool read_rows(struct annotators *annotators, struct error *error)
{
    struct fit_annotator row;
    size_t position = 0;
    while (annotators_next(annotators->region, &position, &row)) {
        if (annotators->count == ANNOTATORS_MAX)
            return error_set(error, ERROR_DATA, "annotators: are more than %d", ANNOTATORS_MAX);
        if (!row_is_valid(&row, error))
            return false;
        annotators->keys[annotators->count] =
            (struct annotator_key){identity_of(row.id), annotators->count};
        annotators->rows[annotators->count++] = row;
    }
    if (annotators->count > 0)
        qsort(annotators->keys, annotators->count, sizeof *annotators->keys, compare_keys);
    for (size_t k = 1; k < annotators->count; k++) {
        if (identity_equal(annotators->keys[k - 1].id, annotators->keys[k].id))
            return error_set(error, ERROR_DATA, "annotators: one of them comes twice");
    }
    return true;
}

/* Rows that a region of so many bytes can hold: each has 10 fields of at least a byte. */
static size_t rows_room(size_t bytes)
{
    size_t most = bytes / 10 + 1;
    return most < ANNOTATORS_MAX ? most : ANNOTATORS_MAX;
}

enum applied annotators_adopt(struct annotators *annotators, struct span region,
                              struct error *error)
{
    struct annotators next = {0};
    if (region.size > 2 * ANNOTATORS_BYTES_MAX) {
        error_set(error, ERROR_DATA, "annotators: take more than %d bytes",
                  2 * ANNOTATORS_BYTES_MAX);
        return APPLIED_REFUSED;
    }
    char *copy = malloc(region.size + 1);
    size_t room = rows_room(region.size);
    next.rows = malloc(room * sizeof *next.rows);
    next.keys = malloc(room * sizeof *next.keys);
    next.region = (struct span){copy, region.size};
    if (copy == NULL || next.rows == NULL || next.keys == NULL) {
        annotators_free(&next);
        return APPLIED_NO_MEMORY;
    }
    if (region.size > 0)
        memcpy(copy, region.data, region.size);
    if (!read_rows(&next, error)) {
        annotators_free(&next);
        return APPLIED_REFUSED;
    }
    annotators_free(annotators);
    *annotators = next;
    return APPLIED_NEW;
}

void annotators_free(struct annotators *annotators)
{
    free((void *)(uintptr_t)annotators->region.data);
    free(annotators->rows);
    free(annotators->keys);
    *annotators = (struct annotators){0};
}

double annotators_lapse(const struct annotators *annotators, const struct requests *requests,
                        uint32_t annotator, double otherwise)
{
    if (annotator == 0 || annotators->count == 0)
        return otherwise;
    const struct annotator_key wanted = {names_get(&requests->annotators, annotator - 1)->id, 0};
    const struct annotator_key *key = bsearch(&wanted, annotators->keys, annotators->count,
                                              sizeof *annotators->keys, compare_keys);
    return key == NULL ? otherwise : annotators->rows[key->row].lapse;
}
