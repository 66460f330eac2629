#include "contracts.h"

#include <stdlib.h>

#include "source.h"

struct contracts *contracts_new(const struct contracts_options *options, struct error *error)
{
    struct contracts *contracts = calloc(1, sizeof *contracts);
    if (contracts == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for schemas");
        return NULL;
    }
    contracts->framing = options->framing;
    contracts->record_max = options->record_max;
    /* Items of no size could be as many as a number can say; all others take a byte at least. */
    contracts->limits = (struct plan_limits){.dimension_max = options->dimension_max,
                                             .items_max = options->record_max,
                                             .attributes_max = options->attributes_max};
    contracts->scratch.maximum = (size_t)1 << 30;
    contracts->vector.values = calloc(options->dimension_max + 1, sizeof(float));
    if (contracts->vector.values == NULL)
        error_set(error, ERROR_FATAL, "out of memory for limits.dimension");
    else if (source_load(contracts, options, error))
        return contracts;
    contracts_free(contracts);
    return NULL;
}

void contracts_free(struct contracts *contracts)
{
    if (contracts == NULL)
        return;
    source_unload(contracts);
    buffer_free(&contracts->scratch);
    free(contracts->vector.values);
    free(contracts);
}
