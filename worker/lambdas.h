/* lambda of each group of features, for the commands that print JSON. */
#ifndef INFOPAIR_LAMBDAS_H
#define INFOPAIR_LAMBDAS_H

#include <jansson.h>

#include "engine/engine.h"

/* {group: lambda} of the fit in force; {"all": lambda} without groups. The caller's; NULL: out of
 * memory. */
json_t *lambdas_json(const struct engine *engine);

#endif
