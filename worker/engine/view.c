/* What is in force, for those who only look. */
#include <stdio.h>

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

const char *engine_foreign_digest(const struct engine *engine)
{
    return engine->foreign;
}

const char *engine_refusal(const struct engine *engine)
{
    return engine->refusal;
}

const struct engine_stats *engine_stats(struct engine *engine)
{
    return &engine->stats;
}

int64_t engine_next(const struct engine *engine, enum input input, int32_t partition)
{
    if (partition < 0)
        return -1;
    if (input == INPUT_COMPLETIONS && partition < engine->partition_count &&
        engine->partitions[partition].held)
        return engine->partitions[partition].next;
    if (input == INPUT_LABELS && partition < engine->labels_count && engine->labels[partition].held)
        return engine->labels[partition].next;
    return -1;
}

int64_t engine_reread_left(const struct engine *engine)
{
    int64_t left = 0;
    for (int32_t k = 0; k < engine->partition_count; k++) {
        const struct partition *partition = &engine->partitions[k];
        if (partition->held && partition->next < partition->committed)
            left += partition->committed - partition->next;
    }
    return left;
}

double engine_budget_level(const struct engine *engine)
{
    double level = 0;
    for (int32_t k = 0; k < engine->partition_count; k++) {
        if (partition_live(&engine->partitions[k]))
            level +=
                budget_level(&engine->budget, &engine->partitions[k].bucket, k, entry_time(engine));
    }
    return level;
}

bool engine_obstacle(struct engine *engine, char *text, size_t size)
{
    if (engine->model.space.name == NULL && !engine->coming.known)
        snprintf(text, size, "no completion has come yet");
    else if (space_obstacle(engine, text, size))
        return true;
    else if (engine->model.space.name == NULL)
        snprintf(text, size,
                 "the feature space '%.100s' has no scale yet: %lld of %lld ready pools",
                 engine->coming.name, (long long)engine->coming.pools,
                 (long long)engine->options.features_scale_pools);
    else if (engine->model.policy_pools == 0)
        snprintf(text, size, "no moments of the policy yet");
    else if (engine_window_full(engine))
        snprintf(text, size,
                 "memory.limit: the window of requests and labels is full (%zu MiB); lower "
                 "labels.max, pool.age or labels.late, or raise memory.limit",
                 engine->window.limit >> 20);
    else if (spend_obstacle(engine, text, size))
        return true;
    else if (select_declined(engine) > 0)
        snprintf(text, size, "the rule %s takes no pair of the %zu ready pools",
                 engine->options.selection.rule->name, select_declined(engine));
    else
        return false;
    return true;
}

const double *engine_preference(struct engine *engine, double *scale)
{
    *scale = engine->model.space.scale;
    return engine->model.psi;
}

const double *engine_policy(struct engine *engine)
{
    return engine->model.policy_pools > 0 ? engine->model.policy : NULL;
}

const double *engine_inverse(struct engine *engine)
{
    const struct model *model = &engine->model;
    return model->information == NULL || model->stale ? NULL
                                                      : sel_information_inverse(model->information);
}
