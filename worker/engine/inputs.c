#include "inputs.h"

#include <math.h>

const char *inputs_field(enum sel_input input)
{
    switch (input) {
    case SEL_LOG_REFERENCE:
        return "reference_logprob";
    case SEL_LOG_POLICY:
        return "policy_logprob";
    case SEL_SOURCE:
        return "source";
    case SEL_TRUTH:
    case SEL_SECOND_REWARD:
        return "reward";
    case SEL_SECOND_WIDTH:
        return "reward_deviation";
    default:
        return NULL;
    }
}

enum selection_prompts inputs_prompts(const struct selection_options *options)
{
    const struct sel_rule *rule = options->rule;
    return sel_rule_parameter(rule, "prompt_share") < rule->parameter_count ? PROMPTS_ENTROPY
                                                                            : options->prompts;
}

unsigned inputs_kept(const struct selection_options *options)
{
    unsigned kept = 0;
    for (int k = 0; k < SEL_INPUTS; k++)
        if (inputs_field((enum sel_input)k) != NULL)
            kept |= options->rule->needs & SEL_NEEDS(k);
    if (inputs_prompts(options) == PROMPTS_ENTROPY)
        kept |= SEL_NEEDS(SEL_LOG_POLICY);
    return kept;
}

/* NaN: absent. */
static double value_of(const struct completion *completion, enum sel_input input)
{
    switch (input) {
    case SEL_LOG_REFERENCE:
        return completion->reference_logprob;
    case SEL_LOG_POLICY:
        return completion->policy_logprob;
    case SEL_SOURCE:
        /* enum sel_source has the same order. */
        return completion->source == SOURCE_UNKNOWN
                   ? (double)NAN
                   : (double)((int)completion->source - (int)SOURCE_POLICY);
    case SEL_TRUTH:
    case SEL_SECOND_REWARD:
        return completion->reward;
    case SEL_SECOND_WIDTH:
        return completion->reward_deviation;
    default:
        return (double)NAN;
    }
}

const char *inputs_missing(unsigned kept, const struct completion *completion)
{
    for (int k = 0; k < SEL_INPUTS; k++)
        if ((kept & SEL_NEEDS(k)) != 0 && isnan(value_of(completion, (enum sel_input)k)))
            return inputs_field((enum sel_input)k);
    return NULL;
}

size_t inputs_take(unsigned kept, const struct completion *completion, double *values)
{
    size_t count = 0;
    for (int k = 0; k < SEL_INPUTS; k++)
        if ((kept & SEL_NEEDS(k)) != 0)
            values[count++] = value_of(completion, (enum sel_input)k);
    return count;
}

size_t inputs_place(unsigned kept, enum sel_input input)
{
    return (size_t)__builtin_popcount(kept & (SEL_NEEDS(input) - 1));
}
