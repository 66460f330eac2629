/* A digest of the shared state, by which two engines can be compared.
 *
 * Sums of hashes, so that no order matters. Requests that neither count in Sigma nor are under way
 * may have been forgotten by one engine and not yet by the other; they do not enter. */
#include <string.h>

#include "internal.h"

static void add(struct id *sum, const void *bytes, size_t size)
{
    struct id hash = identity_of((struct span){bytes, size});
    sum->high += hash.high;
    sum->low += hash.low;
}

static void add_request(struct id *sum, const struct request *request)
{
    struct request_label label = {0};
    if (!request->counted && !request->open)
        return;
    request_counting(request, &label);
    const struct {
        struct id request, label;
        double weight;
        int64_t fit_id, issued_at;
        int64_t selected, expired, withdrawn, arm;
    } said = {.request = request->id,
              .label = label.id,
              .weight = request->weight,
              .fit_id = request->fit_id,
              .issued_at = request->issued_at,
              .selected = request->selected,
              .expired = request->expired,
              .withdrawn = request->withdrawn,
              .arm = (int64_t)request->arm};
    add(sum, &said, sizeof said);
}

void engine_digest(const struct engine *engine, char text[ID_TEXT_SIZE])
{
    const struct model *model = &engine->model;
    struct id sum = {0};
    const struct request *request;
    for (size_t at = 0; (request = requests_next(&engine->requests, &at)) != NULL; at++)
        add_request(&sum, request);
    if (model->space.name != NULL) {
        add(&sum, model->psi, model->space.dimension * sizeof(double));
        add(&sum, model->space.centre, model->space.dimension * sizeof(double));
        add(&sum, model->annotators.region.data, model->annotators.region.size);
    }
    const struct {
        struct id space;
        double scale, lambda, lapse, return_rate, left_bias, tie;
        int64_t fit_id, fit_time;
    } fit = {model->space.id, model->space.scale, model->lambda,
             model->lapse,    model->return_rate, model->left_bias,
             model->tie,      model->fit_id,      model->fit_time};
    add(&sum, &fit, sizeof fit);
    if (model->groups > 1)
        add(&sum, model->lambdas, model->groups * sizeof *model->lambdas);
    int64_t edge = model_epochs_edge(model);
    for (size_t k = 0; k < model->versions.count; k++) {
        const struct version *version = &model->versions.known[k];
        if (version->time >= edge)
            add(&sum, version, sizeof *version);
    }
    for (int32_t k = 0; k < engine->partition_count; k++) {
        const int64_t pane[] = {k, engine->partitions[k].pane.from,
                                engine->partitions[k].pane.from_time};
        if (engine->partitions[k].pane.space.low != 0) /* a pane was published */
            add(&sum, pane, sizeof pane);
    }
    identity_format(sum, text);
}
