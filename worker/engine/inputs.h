/* What the rule in force must know of each completion beside its features. */
#ifndef INFOPAIR_ENGINE_INPUTS_H
#define INFOPAIR_ENGINE_INPUTS_H

#include "engine.h"

/* The field of a completion that is this input of a rule; NULL: it comes from elsewhere. */
const char *inputs_field(enum sel_input input);
/* Bits (SEL_NEEDS) of the inputs that are kept with each completion. The cost is not among them. */
unsigned inputs_kept(const struct selection_options *options);
/* The pools' ranking in force: a rule that has a share of prompts as its parameter takes entropy.
 */
enum selection_prompts inputs_prompts(const struct selection_options *options);
/* The first field of those kept that a completion lacks; NULL: none. */
const char *inputs_missing(unsigned kept, const struct completion *completion);
/* Writes those kept, in the order of enum sel_input. Returns how many: at most SEL_INPUTS. */
size_t inputs_take(unsigned kept, const struct completion *completion, double *values);
/* Place of an input in what inputs_take wrote. */
size_t inputs_place(unsigned kept, enum sel_input input);

#endif
