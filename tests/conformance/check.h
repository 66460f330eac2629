/* Reading golden cases and comparing numbers with them. */
#ifndef CONFORMANCE_CHECK_H
#define CONFORMANCE_CHECK_H

#include "selectors/selectors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* One run of the program. Numbers read by a case live until the case ends. */
struct check {
    size_t passed;
    size_t failed;
    size_t skipped;
    const char *file;
    char name[128]; /* of the case under way */
    bool good;      /* nothing of the case under way has failed */
    struct check_block *blocks;
};

void check_begin(struct check *check, const char *name);
/* Counts the case and releases its numbers. */
void check_end(struct check *check);
void check_skip(struct check *check, const char *name, const char *why);
/* Prints one line for the first failure of a case; the case goes on. */
void check_fail(struct check *check, const char *what, double found, double expected);

/* n doubles that live until the case ends. */
double *check_room(struct check *check, size_t n);
/* All numbers of object[name], nested lists flattened. When it is missing, or does not hold `count`
 * numbers, the case fails and zeros are returned. */
const double *check_numbers(struct check *check, const json_t *object, const char *name,
                            size_t count);
double check_number(struct check *check, const json_t *object, const char *name);
/* Entries of object[name], 0 when it is no list. */
size_t check_length(const json_t *object, const char *name);

/* |found - expected| <= relative |expected| + absolute. */
void check_close(struct check *check, const char *what, double found, double expected,
                 double relative, double absolute);
/* Entry by entry; entries that are small beside the largest may differ by 1e-13 of that one. */
void check_all_close(struct check *check, const char *what, const double *found,
                     const double *expected, size_t count, double relative);
void check_true(struct check *check, const char *what, bool holds);

/* Sigma of a case, by its Cholesky factor L: the rows of L' are the pairs, beside a lambda small
 * enough to vanish. */
void check_give_sigma(struct check *check, struct sel_information *information,
                      const double *sigma);

/* One function a kind of golden file. */
void check_weights(struct check *check, const json_t *golden);
void check_fisher(struct check *check, const json_t *golden);
void check_downdate(struct check *check, const json_t *golden);
void check_mle(struct check *check, const json_t *golden);
void check_pool(struct check *check, const json_t *golden);
void check_batch(struct check *check, const json_t *golden);
void check_design(struct check *check, const json_t *golden);
void check_sampling(struct check *check, const json_t *golden);
void check_rules(struct check *check, const json_t *golden);
void check_lists(struct check *check, const json_t *golden);

#endif
