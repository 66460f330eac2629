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

#endif
