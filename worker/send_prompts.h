/* Prompt texts by prompt id, for completions that come without. */
#ifndef INFOPAIR_SEND_PROMPTS_H
#define INFOPAIR_SEND_PROMPTS_H

#include "schemas/bytes.h"
#include "schemas/error.h"

struct send_prompts;

/* Reads JSON lines with `prompt_id` and `prompt`; other fields are passed over. All texts are held
 * in memory, at most bytes_max. Fails on a bad line and on an id with two different texts. */
struct send_prompts *send_prompts_load(const char *path, size_t line_max, size_t bytes_max,
                                       struct error *error);
void send_prompts_free(struct send_prompts *prompts);

/* An empty span when the id is not known. Lives as long as `prompts`. */
struct span send_prompts_find(const struct send_prompts *prompts, struct span prompt_id);

#endif
