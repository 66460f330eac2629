/* What the age of a policy version does to labels and to moments. */
#include <math.h>

#include "model.h"

static bool labels_age(const struct model *model)
{
    return model->options->labels_versions != VERSIONS_KEEP;
}

bool model_ages(const struct model *model)
{
    return labels_age(model) || model->options->moments_fade;
}

int64_t model_epochs_edge(const struct model *model)
{
    const struct engine_options *options = model->options;
    int64_t window = options->labels_window > options->policy_window ? options->labels_window
                                                                     : options->policy_window;
    int64_t step = window / MODEL_BUCKETS < 1 ? 1 : window / MODEL_BUCKETS;
    return model->requests->time_last / step * step - window;
}

static void became_stale(struct model *model)
{
    model->stale = model->stale || labels_age(model);
    model->policy_stale = model->policy_stale || model->options->moments_fade;
    if (labels_age(model))
        model->fresh = -1;
}

bool model_note_version(struct model *model, const struct entry *entry)
{
    int64_t epoch;
    bool changed = false;
    if (!model_ages(model))
        return true;
    if (entry->kind == ENTRY_SELECTED)
        epoch = entry->selected.policy_epoch;
    else if (entry->kind == ENTRY_LABELLED)
        epoch = entry->labelled.policy_epoch;
    else if (entry->kind == ENTRY_MOMENTS && entry->moments.pools > 0)
        epoch = entry->moments.policy_epoch;
    else
        return true;
    if (!versions_note(&model->versions, epoch, entry->time, &changed))
        return false;
    if (changed)
        became_stale(model);
    return true;
}

void model_forget_versions(struct model *model)
{
    if (model_ages(model) && versions_forget(&model->versions, model_epochs_edge(model)))
        became_stale(model);
}

double model_label_weight(const struct model *model, int64_t policy_epoch)
{
    if (!labels_age(model))
        return 1;
    size_t age = versions_age(&model->versions, policy_epoch);
    if (model->options->labels_versions == VERSIONS_RESET)
        return age == 0;
    return pow(model->options->labels_gamma, (double)age);
}

double model_request_weight(const struct model *model, const struct request *request)
{
    return labels_age(model)
               ? model_label_weight(model, request_policy_epoch(model->requests, request))
               : 1;
}
