/* What is in force, for commands and tests that only look. */
#include "internal.h"

bool engine_refresh(struct engine *engine, struct error *error)
{
    return model_refresh(&engine->model, error) || error->class == ERROR_NONE;
}

struct engine_view engine_view(const struct engine *engine)
{
    const struct model *model = &engine->model;
    struct engine_view view = {.space = model->space.name,
                               .dimension = model->space.dimension,
                               .centre = model->space.centre,
                               .scale = model->space.scale,
                               .fit_id = model->fit_id,
                               .psi = model->psi,
                               .lambda = model->lambda,
                               .lapse = model->lapse,
                               .return_rate = model->return_rate,
                               .left_bias = model->left_bias,
                               .tie = model->tie,
                               .annotators = model->annotators.rows,
                               .annotator_count = model->annotators.count,
                               .groups = model->groups,
                               .lambdas = model->lambdas,
                               .group = model->group,
                               .time = engine->requests.time_last};
    if (model->information == NULL || model->stale)
        return view;
    view.sigma = sel_information_sigma(model->information);
    view.inverse = sel_information_inverse(model->information);
    view.design = sel_information_inverse(model_design(model));
    if (!model->policy_stale && model->policy_pools > 0)
        view.policy = model->policy;
    return view;
}

const char *engine_group_name(const struct engine *engine, size_t group, char name[33])
{
    return feature_groups_name(engine->options.features_groups, group, name);
}

const struct requests *engine_requests(const struct engine *engine)
{
    return &engine->requests;
}

int32_t engine_ledger_partition(const struct engine *engine, struct id request)
{
    return ledger_partition_of(engine, request);
}
