/* Gram matrices of a pool whose features are widened already. Private to the library. */
#ifndef SEL_GRAM_H
#define SEL_GRAM_H

#include "selectors/selectors.h"

/* As sel_gram_open; phi: n x d doubles, product: scratch of n x d doubles, room: rows_scratch(n, d)
 * doubles aligned to 32 bytes, or NULL. */
void gram_open(struct sel_gram *gram, const double *phi, size_t n, size_t d, const double *inverse,
               const double *policy_inverse, double *product, double *room);

#endif
