/* What an entry about a request must fulfil by itself, whoever wrote it: numbers in range, and
 * names that belong together. An entry that fails is refused whole. */
#include "requests.h"

/* The pair that an entry names must be the one of its completions: a forged entry must not claim
 * somebody else's. */
static bool check_pair(struct span pair_id, struct span prompt_id, struct span left_id,
                       struct span right_id, struct error *error)
{
    struct id id;
    if (prompt_id.size > REQUEST_ID_MAX || left_id.size > REQUEST_ID_MAX ||
        right_id.size > REQUEST_ID_MAX)
        return error_set(error, ERROR_DATA, "prompt_id, left_id or right_id: may have %d bytes",
                         REQUEST_ID_MAX);
    return (identity_parse(pair_id, &id) &&
            identity_equal(id, identity_pair(prompt_id, left_id, right_id)) &&
            !span_equal(left_id, right_id)) ||
           error_set(error, ERROR_DATA, "pair_id: is not that of prompt_id, left_id and right_id");
}

bool requests_check_selected(const struct entry_selected *selected, struct error *error)
{
    struct id pair, request;
    if (!(selected->weight >= 0 && selected->weight <= .25))
        return error_set(error, ERROR_DATA, "weight: %g is not in [0, 0.25]", selected->weight);
    if (selected->issued_at < 0 || selected->deadline < selected->issued_at)
        return error_set(error, ERROR_DATA, "deadline: lies before issued_at");
    if (selected->slot < 0 || selected->slot > REQUEST_SLOT_MAX)
        return error_set(error, ERROR_DATA, "slot: %lld is out of range",
                         (long long)selected->slot);
    if (selected->deadline > REQUEST_DEADLINE_MAX)
        return error_set(error, ERROR_DATA, "deadline: is out of range");
    if (selected->completions_partition < 0 ||
        selected->completions_partition > REQUEST_PARTITION_MAX)
        return error_set(error, ERROR_DATA, "completions_partition: is out of range");
    if (selected->replica < 1 || selected->replica > REQUEST_REPLICAS_MAX)
        return error_set(error, ERROR_DATA, "replica: %d is not in 1 to %d", selected->replica,
                         REQUEST_REPLICAS_MAX);
    if (selected->attempt < 1 || selected->attempt > REQUEST_ATTEMPTS_MAX)
        return error_set(error, ERROR_DATA, "attempt: %d is not in 1 to %d", selected->attempt,
                         REQUEST_ATTEMPTS_MAX);
    if (!completion_cost_is_valid(selected->cost))
        return error_set(error, ERROR_DATA, "cost: %g is not within 1e-100 to 1e100",
                         selected->cost);
    if (selected->fit_id < 0 || selected->fit_id > UINT32_MAX)
        return error_set(error, ERROR_DATA, "fit_id: is out of range");
    if (!check_pair(selected->pair_id, selected->prompt_id, selected->left_id, selected->right_id,
                    error))
        return false;
    return (identity_parse(selected->pair_id, &pair) &&
            identity_parse(selected->request_id, &request) &&
            identity_equal(request, identity_request(selected->feature_space, pair,
                                                     selected->replica, selected->attempt))) ||
           error_set(error, ERROR_DATA,
                     "request_id: is not that of feature_space, pair_id, replica and attempt");
}

bool requests_check_labelled(const struct entry_labelled *labelled, struct error *error)
{
    bool silent = outcome_is_silent(labelled->outcome);
    if (labelled->label_id.size == 0)
        return error_set(error, ERROR_DATA, "label_id: is empty");
    if (!silent && !(labelled->probability_left >= 0 && labelled->probability_left <= 1))
        return error_set(error, ERROR_DATA, "probability_left: %g is not in [0, 1]",
                         labelled->probability_left);
    if (labelled->origin == ORIGIN_CARRIED &&
        (labelled->source_partition < 0 || labelled->source_partition > REQUEST_PARTITION_MAX))
        return error_set(error, ERROR_DATA, "source_partition: is out of range");
    if (!(labelled->confidence > 0 && labelled->confidence <= 1))
        return error_set(error, ERROR_DATA, "confidence: %g is not in (0, 1]",
                         labelled->confidence);
    return check_pair(labelled->pair_id, labelled->prompt_id, labelled->left_id, labelled->right_id,
                      error);
}
