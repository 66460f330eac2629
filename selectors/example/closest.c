/* An example of a rule of one's own: of the widest pairs, the one of the smallest margin,
 *   q exp(-(D / m)^2),  q = x' S x, D = psi' x, m a parameter.
 * Built outside the tree, see Makefile. */
#include <infopair/selectors.h>
#include <math.h>

static double score(const struct sel_pair *pair)
{
    double margin = pair->margin / pair->parameters[0];
    return pair->variance * exp(-margin * margin);
}

static const struct sel_parameter parameters[] = {
    {.name = "margin_width",
     .fallback = 1,
     .least = 1e-6,
     .most = HUGE_VAL,
     .text = "m: margins much above it are not asked"},
};

extern const struct sel_rule sel_rule_plugin;
const struct sel_rule sel_rule_plugin = {
    .version = SEL_RULE_VERSION,
    .name = "closest",
    .formula = "q exp(-(D / m)^2)",
    .source = "the example of the library",
    .cost = "K^2",
    .parameters = parameters,
    .parameter_count = 1,
    .score = score,
};
