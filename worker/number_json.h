/* A number as JSON has it. */
#ifndef INFOPAIR_NUMBER_JSON_H
#define INFOPAIR_NUMBER_JSON_H

#include <jansson.h>
#include <math.h>

/* null where JSON has no such number. */
static inline json_t *number_json(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

#endif
