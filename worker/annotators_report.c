#include "annotators_report.h"

#include "engine/pool.h"

#include <math.h>
#include <stdio.h>

static json_t *share(double value, int64_t of)
{
    return of > 0 ? json_real(value) : json_null();
}

json_t *annotators_json(const struct engine_view *view)
{
    json_t *list = json_array();
    for (size_t k = 0; k < view->annotator_count; k++) {
        const struct fit_annotator *row = &view->annotators[k];
        json_t *object = json_pack(
            "{s:s%, s:s%, s:I, s:I, s:f, s:f, s:o, s:o, s:I, s:o}", "annotator_id", row->id.data,
            row->id.size, "annotator_kind", row->kind.data, row->kind.size, "labels",
            (json_int_t)row->labels, "sided", (json_int_t)row->sided, "lapse", row->lapse,
            "left_bias", row->left_bias, "left_share", share(row->left_share, row->sided),
            "agreement", share(row->agreement, row->sided), "compared", (json_int_t)row->compared,
            "compared_agreement", share(row->compared_agreement, row->compared));
        if (object == NULL || json_array_append_new(list, object) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

char *annotators_text(const struct engine_view *view)
{
    json_t *list = annotators_json(view);
    json_t *root =
        json_pack("{s:s, s:I, s:f, s:f, s:o}", "feature_space",
                  view->space == NULL ? "" : view->space, "fit_id", (json_int_t)view->fit_id,
                  "lapse", view->lapse, "left_bias", view->left_bias, "annotators", list);
    char *text = root == NULL ? NULL : json_dumps(root, 0);
    json_decref(root);
    return text;
}

void annotators_measure(const struct engine_view *view, struct metrics *metrics)
{
    enum { NAME_MAX_BYTES = 255 }; /* what a series keeps */
    const enum metric rows[] = {METRIC_ANNOTATOR_LAPSE, METRIC_ANNOTATOR_LABELS,
                                METRIC_ANNOTATOR_LEFT_BIAS, METRIC_ANNOTATOR_AGREEMENT};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
        metrics_clear(metrics, rows[k]);
    size_t shown =
        view->annotator_count < ANNOTATORS_SHOWN ? view->annotator_count : ANNOTATORS_SHOWN;
    /* Where two ids begin alike, the one with more labels has the series. */
    for (size_t k = shown; k-- > 0;) {
        const struct fit_annotator *row = &view->annotators[k];
        struct span cut = text_cut(row->id, NAME_MAX_BYTES);
        char name[NAME_MAX_BYTES + 1];
        snprintf(name, sizeof name, "%.*s", (int)cut.size, cut.data);
        const double values[] = {row->lapse, (double)row->labels, row->left_bias,
                                 row->sided > 0 ? row->agreement : (double)NAN};
        for (size_t at = 0; at < sizeof rows / sizeof rows[0]; at++)
            metrics_set(metrics, rows[at], name, NULL, values[at]);
    }
}
