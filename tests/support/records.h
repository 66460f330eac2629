/* Contracts and records of the C tests, with defaults for what a test does not care about. */
#ifndef INFOPAIR_TEST_RECORDS_H
#define INFOPAIR_TEST_RECORDS_H

#include <math.h>

#include "schemas/contracts.h"

/* Bare framing, the schemas of the sources, d <= 64. NULL with `error` filled. */
static inline struct contracts *records_contracts(struct error *error)
{
    const struct contracts_options options = {.framing = FRAMING_BARE,
                                              .directory = TEST_SOURCE_DIRECTORY "/schemas",
                                              .record_max = 1 << 20,
                                              .dimension_max = 64,
                                              .attributes_max = 8};
    return contracts_new(&options, error);
}

/* A candidate of the space "space", sampled by policy "v". Texts and features are borrowed. */
static inline struct completion records_completion(const char *prompt_id, const char *completion_id,
                                                   const float *features, size_t dimension)
{
    return (struct completion){.prompt_id = span_of(prompt_id),
                               .completion_id = span_of(completion_id),
                               .policy_version = span_of("v"),
                               .feature_space = span_of("space"),
                               .features = features,
                               .dimension = dimension,
                               COMPLETION_ABSENT};
}

#endif
