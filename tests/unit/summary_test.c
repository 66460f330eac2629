/* What the runs of a scene come to: curves at equal labels, savings, and the bases of rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "worker/simulate/summary.h"

static struct scene *two_seeds(const char *labels, const char *rules)
{
    struct error error = {ERROR_NONE, ""};
    struct scene *scene = scene_load("main", &error);
    if (scene == NULL || !scene_set(scene, "labels", labels, &error) ||
        !scene_set(scene, "rules", rules, &error) || !scene_set(scene, "seeds", "2", &error))
        fail_msg("%s", error.message);
    return scene;
}

/* Two rules and two seeds with gaps that are known: uniform halves every 100 labels from 8, the
 * other one every 50. */
static void fill(struct run *run, const char *rule, uint64_t seed, double every, double c)
{
    *run = (struct run){.rule = strdup(rule), .seed = seed, .labels = 400, .points = 8, .c = c};
    run->at = calloc(8, sizeof *run->at);
    run->gap = calloc(8, sizeof *run->gap);
    run->important = calloc(1, sizeof(double));
    run->measured = calloc(1, sizeof(double));
    run->dimension = 1;
    for (size_t k = 0; k < 8; k++) {
        run->at[k] = 50 * (k + 1);
        run->gap[k] = 8 * exp2(-(double)run->at[k] / every);
    }
}

static void savings_and_ratios_are_those_of_the_curves(void **state)
{
    (void)state;
    struct scene *scene = two_seeds("400", "uniform;policy_trace;best_vs_worst");
    struct jobs jobs = {.scene = scene, .runs = calloc(6, sizeof *jobs.runs)};
    for (size_t seed = 0; seed < 2; seed++) {
        fill(&jobs.runs[seed], "uniform", seed + 1, 100, seed == 0 ? 8 : 12);
        fill(&jobs.runs[2 + seed], "policy_trace", seed + 1, 50, seed == 0 ? 2 : 3);
        fill(&jobs.runs[4 + seed], "best_vs_worst", seed + 1, 200, 20);
    }
    struct summary *summaries = summarise(&jobs);
    assert_non_null(summaries);
    /* uniform ends at 0.5 after 400, policy_trace is there after 200. */
    assert_true(fabs(summaries[1].labels_to_base - 200) < 1e-9);
    assert_true(fabs(summaries[1].saving - 2) < 1e-9);
    assert_true(fabs(summaries[1].saving_low - 2) < 1e-9);
    assert_true(fabs(summaries[1].c_ratio - 4) < 1e-12);
    assert_true(fabs(summaries[1].c_ratio_error) < 1e-12);
    /* Over t = 250 ... 400 the ratio of the two is 2^(-t / 100). */
    assert_true(fabs(summaries[1].late - exp2(-3.25)) < 1e-9);
    assert_true(isnan(summaries[2].saving));
    assert_true(summaries[2].saving_low == 0);
    json_t *line = summary_line(scene, &summaries[2]);
    assert_true(json_is_null(json_object_get(line, "saving")));
    assert_true(json_number_value(json_object_get(line, "c_ratio")) == .5);
    json_decref(line);
    summary_free(summaries, 3);
    jobs_free(&jobs);
    scene_free(scene);
}

/* The same curve where a run that used fewer slots in some rounds had its points. */
static void move_points(struct run *run, const size_t *at, size_t points, double every)
{
    run->points = points;
    for (size_t k = 0; k < points; k++) {
        run->at[k] = at[k];
        run->gap[k] = 8 * exp2(-(double)at[k] / every);
    }
}

/* Two seeds of each; gaps fall by half every 100 labels of uniform pairs, every 50 of the others.
 */
static struct jobs three_rules(struct scene *scene)
{
    struct jobs jobs = {.scene = scene, .runs = calloc(6, sizeof *jobs.runs)};
    for (size_t seed = 0; seed < 2; seed++) {
        fill(&jobs.runs[seed], "uniform", seed + 1, 100, 8);
        fill(&jobs.runs[2 + seed], "policy_trace", seed + 1, 50, 2);
        fill(&jobs.runs[4 + seed], "dopt", seed + 1, 50, 2);
    }
    return jobs;
}

static void curves_are_means_at_equal_labels(void **state)
{
    (void)state;
    static const size_t SPARSE[] = {70, 90, 150, 230, 290, 370, 400}, SHORT[] = {50, 130, 210, 310};
    struct scene *scene = two_seeds("400", "uniform;policy_trace;dopt");
    struct jobs jobs = three_rules(scene);
    move_points(&jobs.runs[3], SPARSE, 7, 50);
    move_points(&jobs.runs[5], SHORT, 4, 50);
    struct summary *summaries = summarise(&jobs);
    assert_non_null(summaries);
    /* Of both seeds from 100 on, and the same as if all had been on the grid. */
    assert_int_equal(summaries[1].points, 7);
    for (size_t k = 0; k < 7; k++) {
        assert_int_equal(summaries[1].at[k], 100 + 50 * k);
        assert_true(fabs(summaries[1].gap[k] / (8 * exp2(-2 - (double)k)) - 1) < 1e-9);
    }
    assert_true(fabs(summaries[1].labels_to_base - 200) < 1e-9);
    assert_true(fabs(summaries[1].late - exp2(-3.25)) < 1e-9);
    /* Up to 300, where one run ends: compared with the base at the same labels. */
    assert_int_equal(summaries[2].points, 6);
    assert_int_equal(summaries[2].at[5], 300);
    assert_true(fabs(summaries[2].late - exp2(-2.75)) < 1e-9);
    summary_free(summaries, 3);
    jobs_free(&jobs);
    scene_free(scene);
}

/* Read between its two points, however the curve goes elsewhere. */
static void a_kink_is_read_where_it_is(void **state)
{
    (void)state;
    static const size_t POINTS[] = {40, 100, 160, 220, 400};
    static const double GAPS[] = {8, 1, 4, .25, .5};
    struct run run = {
        .points = 5, .at = (size_t *)(uintptr_t)POINTS, .gap = (double *)(uintptr_t)GAPS};
    struct curves curves;
    assert_true(curves_align(&curves, &run, 1, 50, 400));
    assert_int_equal(curves.points, 8);
    const double expected[] = {8 * exp2(-.5),          1,
                               exp2(2 * 50. / 60),     4 * exp2(-4 * 40. / 60),
                               .25 * exp2(30. / 180),  .25 * exp2(80. / 180),
                               .25 * exp2(130. / 180), .5};
    for (size_t k = 0; k < 8; k++) {
        assert_int_equal(curves.at[k], 50 * (k + 1));
        assert_true(fabs(curves.gap[k] / expected[k] - 1) < 1e-12);
    }
    curves_free(&curves);
}

/* Gaps of seeds differ: both rules' alike, or one's alone. */
static void the_late_ratio_has_an_interval_over_seeds(void **state)
{
    (void)state;
    struct scene *scene = two_seeds("400", "uniform;policy_trace;dopt");
    struct jobs jobs = three_rules(scene);
    for (size_t k = 0; k < 8; k++) {
        jobs.runs[1].gap[k] *= 3;
        jobs.runs[3].gap[k] *= 3;
    }
    struct summary *summaries = summarise(&jobs);
    assert_non_null(summaries);
    const double late = exp2(-3.25);
    assert_true(fabs(summaries[1].late - late) < 1e-9);
    assert_true(fabs(summaries[1].late_low - late) < 1e-9);
    assert_true(fabs(summaries[1].late_high - late) < 1e-9);
    assert_true(fabs(summaries[2].late - late / 2) < 1e-9);
    assert_true(fabs(summaries[2].late_low - late / 3) < 1e-9);
    assert_true(fabs(summaries[2].late_high - late) < 1e-9);
    json_t *line = summary_line(scene, &summaries[2]);
    assert_true(fabs(json_number_value(json_object_get(line, "late_low")) - late / 3) < 1e-6);
    assert_true(fabs(json_number_value(json_object_get(line, "late_high")) - late) < 1e-6);
    json_decref(line);
    summary_free(summaries, 3);
    jobs_free(&jobs);
    scene_free(scene);
}

static void pools_are_counted_by_label(void **state)
{
    (void)state;
    struct scene *scene = two_seeds("400", "uniform;policy_trace");
    struct jobs jobs = {.scene = scene, .runs = calloc(4, sizeof *jobs.runs)};
    for (size_t k = 0; k < 4; k++)
        fill(&jobs.runs[k], k < 2 ? "uniform" : "policy_trace", 1 + k % 2, 100, 8);
    jobs.runs[2].pools = 1000;
    jobs.runs[3].pools = 1200;
    struct summary *summaries = summarise(&jobs);
    assert_non_null(summaries);
    assert_true(summaries[1].pools_per_label == 2.75);
    json_t *line = summary_line(scene, &summaries[1]);
    assert_true(json_number_value(json_object_get(line, "pools_per_label")) == 2.75);
    json_decref(line);
    line = summary_line(scene, &summaries[0]); /* of whole worlds none are drawn */
    assert_true(json_is_null(json_object_get(line, "pools_per_label")));
    json_decref(line);
    summary_free(summaries, 2);
    jobs_free(&jobs);
    scene_free(scene);
}

static void the_base_has_the_same_fit(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct scene *scene =
        two_seeds("400", "uniform;uniform,fit.lambda=1;dopt,fit.lambda=1;dopt,pool.picks=1");
    assert_string_equal(summary_base_of(&scene->rules, scene->rules.items[2]),
                        "uniform,fit.lambda=1");
    assert_string_equal(summary_base_of(&scene->rules, scene->rules.items[3]), "uniform");
    assert_true(scene_set(scene, "rules", "dopt;aopt", &error));
    assert_null(summary_base_of(&scene->rules, "dopt"));
    assert_true(
        scene_set(scene, "rules", "dopt;aopt,pool.picks=1,fit.lambda=2,fit.every=9;gopt", &error));
    assert_true(summary_add_bases(&scene->rules));
    assert_int_equal(scene->rules.count, 5);
    assert_string_equal(scene->rules.items[3], "uniform");
    assert_string_equal(scene->rules.items[4], "uniform,fit.lambda=2,fit.every=9");
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(savings_and_ratios_are_those_of_the_curves),
        cmocka_unit_test(curves_are_means_at_equal_labels),
        cmocka_unit_test(a_kink_is_read_where_it_is),
        cmocka_unit_test(the_late_ratio_has_an_interval_over_seeds),
        cmocka_unit_test(pools_are_counted_by_label),
        cmocka_unit_test(the_base_has_the_same_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
