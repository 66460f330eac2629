/* The solver of designs on the caller's memory. Private to the library. */
#ifndef SEL_DESIGN_WORK_H
#define SEL_DESIGN_WORK_H

#include "selectors/selectors.h"

/* Doubles of scratch for so many pairs. */
size_t design_room(size_t count, size_t d);
/* As sel_design_solve. */
enum sel_status design_solve(const struct sel_design_problem *problem, double tolerance,
                             int iterations_max, double *p, struct sel_design_result *result,
                             double *scratch);

/* The parts of the scratch. */
struct design_work {
    const struct sel_design_problem *problem;
    double *p;
    double *inverse; /* S */
    double *square;  /* V */
    double *half;    /* d x d */
    double *block;   /* LINEAR_BLOCK x d */
    double *r;       /* count: x' V x */
    double *s[2];    /* count each: x' S x_i, x' S x_j */
    double *v[2];    /* count each: x' V x_i, x' V x_j */
    double *order;   /* count */
    double *su[2];   /* d each */
    double *vu[2];
    double objective;
    const double *place; /* of each pair of a part in the whole; NULL: this is the whole */
    double *part_x;      /* what struct part has of the pairs in play: count x d, and count each */
    double *part_weight;
    double *part_p;
    double *part_place;
};

static inline size_t design_group_of(const struct design_work *work, size_t k)
{
    const struct sel_design_problem *problem = work->problem;
    if (problem->group == NULL)
        return 0;
    return problem->group[work->place != NULL ? (size_t)work->place[k] : k];
}

static inline size_t design_groups_of(const struct sel_design_problem *problem)
{
    return problem->group != NULL ? problem->groups : 1;
}

/* The sum of p of a group. */
static inline double design_share_of(const struct sel_design_problem *problem)
{
    return 1 / (double)design_groups_of(problem);
}

static inline double design_slope_at(const struct design_work *work, size_t k)
{
    return work->problem->mass * work->problem->weight[k] * work->r[k];
}

/* The exchange within the group where they are farthest apart: the i of largest d with room above
 * and the j of smallest with weight to give. False when none falls f. */
bool design_find_exchange(const struct design_work *work, size_t *i, size_t *j);
/* Moves weight from j to i; false when f does not fall. */
bool design_exchange(struct design_work *work, size_t i, size_t j);

#endif
