#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct check_block {
    struct check_block *next;
    double values[];
};

void check_begin(struct check *check, const char *name)
{
    snprintf(check->name, sizeof check->name, "%s", name);
    check->good = true;
}

void check_end(struct check *check)
{
    if (check->good)
        check->passed++;
    else
        check->failed++;
    while (check->blocks != NULL) {
        struct check_block *next = check->blocks->next;
        free(check->blocks);
        check->blocks = next;
    }
}

void check_skip(struct check *check, const char *name, const char *why)
{
    check->skipped++;
    printf("skipped: %s (%s)\n", name, why);
}

void check_fail(struct check *check, const char *what, double found, double expected)
{
    if (check->good)
        printf("failed: %s %s: %s is %.17g, expected %.17g\n", check->file, check->name, what,
               found, expected);
    check->good = false;
}

double *check_room(struct check *check, size_t n)
{
    struct check_block *block = calloc(1, sizeof *block + n * sizeof(double));
    if (block == NULL)
        abort();
    block->next = check->blocks;
    check->blocks = block;
    return block->values;
}

/* Writes the numbers of a nested list; returns how many there are, of which `room` are written. */
static size_t flatten(const json_t *list, double *out, size_t room)
{
    if (json_is_number(list)) {
        if (room > 0)
            *out = json_number_value(list);
        return 1;
    }
    size_t count = 0;
    for (size_t k = 0; k < json_array_size(list); k++) {
        size_t left = count < room ? room - count : 0;
        count += flatten(json_array_get(list, k), left > 0 ? out + count : out, left);
    }
    return count;
}

const double *check_numbers(struct check *check, const json_t *object, const char *name,
                            size_t count)
{
    double *values = check_room(check, count);
    size_t found = flatten(json_object_get(object, name), values, count);
    if (found != count)
        check_fail(check, name, (double)found, (double)count);
    return values;
}

double check_number(struct check *check, const json_t *object, const char *name)
{
    return check_numbers(check, object, name, 1)[0];
}

size_t check_length(const json_t *object, const char *name)
{
    return json_array_size(json_object_get(object, name));
}

void check_close(struct check *check, const char *what, double found, double expected,
                 double relative, double absolute)
{
    if (!(fabs(found - expected) <= relative * fabs(expected) + absolute))
        check_fail(check, what, found, expected);
}

void check_all_close(struct check *check, const char *what, const double *found,
                     const double *expected, size_t count, double relative)
{
    double largest = 0;
    for (size_t k = 0; k < count; k++)
        largest = fmax(largest, fabs(expected[k]));
    for (size_t k = 0; k < count; k++)
        check_close(check, what, found[k], expected[k], relative, 1e-13 * largest);
}

void check_true(struct check *check, const char *what, bool holds)
{
    if (!holds)
        check_fail(check, what, 0, 1);
}

void check_give_sigma(struct check *check, struct sel_information *information, const double *sigma)
{
    size_t d = sel_information_dimension(information);
    double *factor = check_room(check, d * d);
    for (size_t j = 0; j < d; j++)
        for (size_t i = j; i < d; i++) {
            double sum = sigma[i * d + j];
            for (size_t k = 0; k < j; k++)
                sum -= factor[k * d + i] * factor[k * d + j];
            factor[j * d + i] = i == j ? sqrt(sum) : sum / factor[j * d + j];
        }
    double *lambda = check_room(check, d);
    double one = 1;
    for (size_t k = 0; k < d; k++)
        lambda[k] = 1e-16;
    sel_information_reset(information, lambda);
    for (size_t k = 0; k < d; k++) {
        const double *row = factor + k * d;
        sel_information_accumulate(information, &row, &one, 1);
    }
    check_true(check, "factor", sel_information_factor(information) == SEL_OK);
}
