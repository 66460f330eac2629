/* What the picker needs of information.c beyond the public header. */
#ifndef SEL_INFORMATION_H
#define SEL_INFORMATION_H

#include "selectors/selectors.h"

/* S x (d values) and q = x' S x as of the last sel_information_add or _remove that returned SEL_OK,
 * taken before that update. */
const double *information_direction(const struct sel_information *information, double *variance);

#endif
