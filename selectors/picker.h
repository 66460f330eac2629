/* The picker's own state, for picker.c and picker_room.c. Private to the library. */
#ifndef SEL_PICKER_H
#define SEL_PICKER_H

#include "selectors/backlog.h"
#include "selectors/candidates.h"
#include "selectors/lagging.h"

struct sel_picker {
    struct sel_picker_options options;
    struct sel_information *information; /* the caller's, from begin on; NULL: no round */
    size_t pools_used;
    struct candidates *pools;
    struct candidates_round round;
    struct lagging lagging;
    struct backlog backlog; /* empty with more than lazy_from pools */
    double *square;         /* d x d: S I, then a factor of S */
    double *shift;          /* of each draw */
    uint64_t key;
    uint64_t stream;
    double *image;  /* d: v */
    double *wide;   /* d: x, widened */
    sel_feature *x; /* d */
    void *memory;   /* holds all of the above */
};

/* Above so many open pools lagging.c finds the best of all. */
static inline size_t picker_lazy_from(const struct sel_picker_options *options)
{
    const size_t lagging_default = 256;
    return options->lazy_from > 0 ? options->lazy_from : lagging_default;
}

#endif
