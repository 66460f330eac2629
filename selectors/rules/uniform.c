/* Uniform: a pair drawn at random; the control that every other rule is measured against. */
#include "selectors/rules/rules.h"

#include <stddef.h>

static double score(const struct sel_pair *pair)
{
    (void)pair;
    return 0;
}

static const char *const aliases[] = {"random", NULL};

const struct sel_rule rule_uniform = {
    .name = "uniform",
    .aliases = aliases,
    .formula = "every pair of a uniform pool alike",
    .source = "the usual baseline, arXiv 2606.19607",
    .randomised = true,
    .score = score,
};
