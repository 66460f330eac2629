/* What a rule sees of an open pool, and the rules that look at the whole of it. Private. */
#ifndef SEL_VIEW_H
#define SEL_VIEW_H

#include "selectors/candidates.h"

/* Scores or weighs all pairs and finds the best. Nothing is found before all needs are given. */
void view_scan(struct candidates *candidates, const struct candidates_round *round);
/* Deviations of a pool just opened from the draws of the round; needs round->centred. */
void view_deviate(struct candidates *candidates, const struct candidates_round *round);
/* What it costs to ask a pair; 1 when no costs were given. */
double view_cost(const struct candidates *candidates, size_t i, size_t j);
/* Gain per unit of cost: a score >= 0 is divided by the cost of the pair, one below 0 multiplied,
 * so that the dearer of two pairs is never the better one. As it is when no costs were given. */
double view_priced(const struct candidates *candidates, double score, size_t i, size_t j);

#endif
