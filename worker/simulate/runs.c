#include "runs.h"

#include "worker/number_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *numbers(const double *values, size_t count)
{
    json_t *list = json_array();
    for (size_t k = 0; k < count; k++)
        json_array_append_new(list, json_real(values[k]));
    return list;
}

static json_t *counts(const size_t *values, size_t count)
{
    json_t *list = json_array();
    for (size_t k = 0; k < count; k++)
        json_array_append_new(list, json_integer((json_int_t)values[k]));
    return list;
}

static json_t *parameters(const char *rule)
{
    const char *found[RUN_REQUIRED];
    size_t count = run_required(rule, found);
    json_t *list = json_array();
    for (size_t k = 0; k < count; k++)
        json_array_append_new(list, json_string(found[k]));
    return list;
}

static json_t *rates(const struct run *run)
{
    json_t *list = json_array();
    for (size_t k = 0; k < run->annotators; k++)
        json_array_append_new(list, number_json(run->lapses[k]));
    return list;
}

char *runs_line(const char *scene, const struct run *run)
{
    json_t *line = json_pack(
        "{s:s, s:s, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, "
        "s:o}",
        "scene", scene, "rule", run->rule, "parameters", parameters(run->rule), "seed",
        (json_int_t)run->seed, "labels", (json_int_t)run->labels, "pools", (json_int_t)run->pools,
        "c", number_json(run->c), "merit", number_json(run->merit), "margin",
        number_json(run->margin), "likely", number_json(run->likely), "fitted",
        number_json(run->fitted), "lapse", number_json(run->lapse), "lapses", rates(run), "seconds",
        number_json(run->seconds), "pick", number_json(run->pick), "at",
        counts(run->at, run->points), "gap", numbers(run->gap, run->points), "important",
        numbers(run->important, run->dimension), "measured",
        numbers(run->measured, run->dimension));
    char *text = line == NULL ? NULL : json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(line);
    return text;
}

static double *take_numbers(const json_t *list, size_t count)
{
    double *values = json_array_size(list) == count ? calloc(count + 1, sizeof *values) : NULL;
    for (size_t k = 0; values != NULL && k < count; k++)
        values[k] = json_number_value(json_array_get(list, k));
    return values;
}

static double take_number(const json_t *line, const char *name)
{
    const json_t *value = json_object_get(line, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* Points at ascending numbers of labels, the last of which may be the run's. */
static bool is_curve(const struct run *run)
{
    for (size_t k = 0; k < run->points; k++)
        if (run->at[k] == 0 || run->at[k] > run->labels || (k > 0 && run->at[k] <= run->at[k - 1]))
            return false;
    return run->points > 0;
}

static bool take(const json_t *line, struct run *run)
{
    const char *rule = json_string_value(json_object_get(line, "rule"));
    const json_t *at = json_object_get(line, "at"), *lapses = json_object_get(line, "lapses");
    run->rule = rule == NULL ? NULL : strdup(rule);
    run->seed = (uint64_t)json_integer_value(json_object_get(line, "seed"));
    run->labels = (size_t)json_integer_value(json_object_get(line, "labels"));
    run->pools = (size_t)json_integer_value(json_object_get(line, "pools"));
    run->c = take_number(line, "c");
    run->merit = take_number(line, "merit");
    run->margin = take_number(line, "margin");
    run->likely = take_number(line, "likely");
    run->fitted = take_number(line, "fitted");
    run->lapse = take_number(line, "lapse");
    run->seconds = take_number(line, "seconds");
    run->pick = take_number(line, "pick");
    for (size_t k = 0; k < json_array_size(lapses) && k < SCENE_ANNOTATORS; k++) {
        const json_t *rate = json_array_get(lapses, k);
        run->lapses[run->annotators++] =
            json_is_number(rate) ? json_number_value(rate) : (double)NAN;
    }
    run->points = json_array_size(at);
    run->dimension = json_array_size(json_object_get(line, "important"));
    run->at = calloc(run->points + 1, sizeof *run->at);
    for (size_t k = 0; run->at != NULL && k < run->points; k++)
        run->at[k] = (size_t)json_integer_value(json_array_get(at, k));
    run->gap = take_numbers(json_object_get(line, "gap"), run->points);
    run->important = take_numbers(json_object_get(line, "important"), run->dimension);
    run->measured = take_numbers(json_object_get(line, "measured"), run->dimension);
    return run->rule != NULL && run->at != NULL && run->gap != NULL && run->important != NULL &&
           run->measured != NULL && is_curve(run);
}

bool runs_parse(const char *line, const char *scene, struct run *run)
{
    *run = (struct run){0};
    json_t *root = json_loads(line, 0, NULL);
    const char *of = json_string_value(json_object_get(root, "scene"));
    bool done = of != NULL && strcmp(of, scene) == 0 && take(root, run);
    json_decref(root);
    if (!done)
        run_free(run);
    return done;
}
