/* `infopair simulate`: scenes from files and fields, runs that repeat, what runs come to, and the
 * plots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <unistd.h>

#include "worker/processes.h"
#include "worker/simulate/plot.h"
#include "worker/simulate/report.h"
#include "worker/simulate/runs.h"
#include "worker/simulate/summary.h"

static char path[64];

static int make_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/infopair-scene-XXXXXX.cfg");
    int file = mkstemps(path, 4);
    if (file < 0)
        return -1;
    close(file);
    return 0;
}

static int drop_path(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_scene(const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* A world small enough for a test. */
static const char SMALL[] = "kind = \"log-linear\";\ndimension = 3;\nprompts = 8;\n"
                            "completions = 6;\npool = 4;\npools = 10;\nbatch = 10;\n"
                            "labels = 100;\nseeds = 2;\nrules = (\"uniform\", \"policy_trace\");\n";

static struct scene *small(void)
{
    struct error error = {ERROR_NONE, ""};
    write_scene(SMALL);
    struct scene *scene = scene_load(path, &error);
    if (scene == NULL)
        fail_msg("%s", error.message);
    return scene;
}

/* ---- scenes ---- */

static void the_scenes_that_come_with_it_can_be_run(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    struct error error;
    FILE *out = open_memstream(&text, &size);
    assert_true(scene_list(out, &error));
    assert_int_equal(fclose(out), 0);
    size_t scenes = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char name[64];
        assert_int_equal(sscanf(line, "%63s", name), 1);
        struct scene *scene = scene_load(name, &error);
        if (scene == NULL || !scene_check(scene, &error))
            fail_msg("%s: %s", name, error.message);
        for (size_t k = 0; k < scene->rules.count; k++) {
            if (!run_check(scene, scene->rules.items[k], &error))
                fail_msg("%s: %s", name, error.message);
        }
        struct world *world = scene_world(scene, 1, &error);
        assert_non_null(world);
        world_free(world);
        scene_free(scene);
        scenes++;
    }
    assert_true(scenes >= 4);
    free(text);
}

static void bad_scenes_are_named_with_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } CASES[] = {
        {"kind = \"log-liner\";", ":1: kind: 'log-liner' is none; the nearest is log-linear"},
        {"\npols = 3;", ":2: pols: a scene has no such field; the nearest is pool"},
        {"dimension = 0;", ":1: dimension: 0 is not within 1 to 4096"},
        {"dimension = 2.5;", ":1: dimension: 2.5 is not a whole number"},
        {"dimension = \"8\";", ":1: dimension: expected a whole number"},
        {"traffic = 1;", ":1: traffic: expected true or false"},
        {"rules = (1, 2);", ":1: rules: item 1 is not a text"},
        {"rules = ", ":1: syntax error"},
    };
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        struct error error = {ERROR_NONE, ""};
        write_scene(CASES[k].text);
        assert_null(scene_load(path, &error));
        if (strncmp(error.message, path, strlen(path)) != 0 ||
            strstr(error.message, CASES[k].words) == NULL)
            fail_msg("'%s' does not say '%s'", error.message, CASES[k].words);
    }
    struct error error = {ERROR_NONE, ""};
    assert_null(scene_load("mian", &error));
    assert_non_null(strstr(error.message, "the nearest is main"));
    assert_null(scene_load("/nonexistent/scene.cfg", &error));
    assert_non_null(strstr(error.message, "cannot be read"));
}

static void fields_that_do_not_fit_together_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *words;
    } CASES[] = {{"rules", "", "rules: there is none"},
                 {"pool", "1", "pool: 1 completion"},
                 {"pool", "7", "pool: 7 of the 6 completions of a prompt"},
                 {"deployed", "9", "deployed: 9 of 8 prompts"},
                 {"workers", "2", "workers: 2 split 1 partitions"},
                 {"annotators", "0,2", "annotators: '0,2' are not up to 8 rates"},
                 {"lag", "1", "drift: 0.6 beside lag 1"},
                 {"pending", "false", "drift: 0.6 beside pending = false"},
                 {"kind", "features", "needs both files"}};
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        struct error error = {ERROR_NONE, ""};
        struct scene *scene = small();
        assert_true(scene_set(scene, "drift", "0.6", &error));
        assert_true(scene_set(scene, CASES[k].name, CASES[k].value, &error));
        assert_false(scene_check(scene, &error));
        if (strstr(error.message, CASES[k].words) == NULL)
            fail_msg("'%s' does not say '%s'", error.message, CASES[k].words);
        scene_free(scene);
    }
}

static void rules_and_their_options_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *words;
    } CASES[] = {{"policy_trase", "policy_trace"},
                 {"policy_trace,fit.evry=10", "fit.every"},
                 {"design:orakle", "selection.rule"},
                 {"policy_trace,pool.picks=-1", "pool.picks"}};
    struct scene *scene = small();
    struct error error = {ERROR_NONE, ""};
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        assert_false(run_check(scene, CASES[k].rule, &error));
        if (strstr(error.message, CASES[k].words) == NULL)
            fail_msg("'%s' does not say '%s'", error.message, CASES[k].words);
    }
    assert_true(run_check(scene, "gate", &error)); /* its parameter has a value here */
    assert_true(run_check(scene, "design:oracle", &error));
    scene_free(scene);
}

/* ---- worlds ---- */

static void the_paper_worlds_have_their_shape(void **state)
{
    (void)state;
    struct world_spec spec = world_spec_of(WORLD_TABULAR);
    struct world *world = world_make(&spec, 3);
    assert_non_null(world);
    assert_int_equal(world->prompts * world->completions, 100);
    for (size_t k = 0; k < 100; k++) {
        assert_true(world_row(world, 0, k)[k] == 1);
        assert_true(world->reward[k] == world->psi[k]);
    }
    assert_true(fabs(world_gap(world, world->psi)) < 1e-12);
    world_free(world);
    spec = world_spec_of(WORLD_CONTEXTUAL);
    world = world_make(&spec, 3);
    assert_non_null(world);
    for (size_t m = 0; m < world->completions; m++) {
        const double *row = world_row(world, 7, m), *first = world_row(world, 7, 0);
        for (size_t k = 0; k < 5; k++) {
            assert_true(row[k] == first[k]);
            assert_true(fabs(row[10 + k] - row[k] * row[5 + k]) < 1e-12);
        }
    }
    world_free(world);
}

static void only_deployed_prompts_count(void **state)
{
    (void)state;
    struct world_spec spec = world_spec_of(WORLD_LOG_LINEAR);
    spec.deployed = 30;
    struct world *world = world_make(&spec, 5);
    double policy[64], all[64];
    assert_true(world_policy(world, policy));
    world->deployed = world->prompts;
    assert_true(world_policy(world, all));
    /* Of eight axes the deployed prompts vary in two. */
    assert_true(policy[63] < .05 * all[63]);
    assert_true(policy[0] > .3 * all[0]);
    world_free(world);
}

static void a_misspecified_world_has_a_floor(void **state)
{
    (void)state;
    struct world_spec spec = world_spec_of(WORLD_LOG_LINEAR);
    struct world *plain = world_make(&spec, 6);
    spec.misspecified = .3;
    struct world *world = world_make(&spec, 6);
    assert_memory_equal(world->psi, plain->psi, 8 * sizeof(double));
    assert_true(world_gap(world, world->psi) > .01);
    assert_true(fabs(world_gap(plain, plain->psi)) < 1e-12);
    world_free(world);
    world_free(plain);
}

/* ---- runs ---- */

static void a_run_repeats_itself_and_its_line(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct scene *scene = small();
    struct world *world = scene_world(scene, 1, &error);
    struct run first, again, read;
    assert_true(run_rule(scene, world, "policy_trace", 1, &first, &error));
    assert_true(run_rule(scene, world, "policy_trace", 1, &again, &error));
    assert_int_equal(first.labels, 100);
    assert_int_equal(first.points, 2);
    assert_int_equal(first.at[1], 100);
    assert_memory_equal(first.gap, again.gap, 2 * sizeof(double));
    assert_true(first.c == again.c);
    char *line = runs_line("this scene", &first);
    assert_false(runs_parse(line, "another scene", &read));
    assert_false(runs_parse("{\"scene\": \"this scene\"", "this scene", &read));
    assert_true(runs_parse(line, "this scene", &read));
    assert_string_equal(read.rule, "policy_trace");
    assert_true(fabs(read.c / first.c - 1) < 1e-10);
    assert_true(fabs(read.gap[1] / first.gap[1] - 1) < 1e-10);
    assert_int_equal(first.pools, 100);
    assert_int_equal(read.pools, 100);
    assert_int_equal(read.dimension, 3);
    free(line);
    run_free(&first);
    run_free(&again);
    run_free(&read);
    world_free(world);
    scene_free(scene);
}

static void the_oracle_design_is_the_best_one(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct scene *scene = small();
    assert_true(scene_set(scene, "labels", "2000", &error));
    struct world *world = scene_world(scene, 1, &error);
    static const char *const DESIGNS[] = {"design:oracle", "design:uniform", "design:plugin",
                                          "design:reference"};
    double best = 0;
    for (size_t k = 0; k < 4; k++) {
        struct run run;
        assert_true(run_rule(scene, world, DESIGNS[k], 1, &run, &error));
        assert_int_equal(run.points, 40);
        best = k == 0 ? run.c : best;
        if (k > 0 && !(run.c > 1.02 * best))
            fail_msg("%s: c is %g, the oracle's is %g", DESIGNS[k], run.c, best);
        run_free(&run);
    }
    world_free(world);
    scene_free(scene);
}

static double c_of(const struct scene *scene, const struct world *world, const char *rule)
{
    struct error error = {ERROR_NONE, ""};
    struct run run;
    assert_true(run_rule(scene, world, rule, 1, &run, &error));
    double c = run.c;
    run_free(&run);
    return c;
}

static void a_share_of_a_design_is_uniform(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct scene *scene = small();
    assert_true(scene_set(scene, "labels", "2000", &error));
    struct world *world = scene_world(scene, 1, &error);
    double uniform = c_of(scene, world, "design:uniform");
    double best = c_of(scene, world, "design:oracle");
    double mixed = c_of(scene, world, "design:oracle,selection.epsilon=0.5");
    assert_true(c_of(scene, world, "design:oracle,selection.epsilon=1") == uniform);
    assert_true(best < mixed && mixed < uniform);
    world_free(world);
    scene_free(scene);
}

/* Whole prompts show the engine by their traffic alone what pi_ref is, and anew each round what psi
 * makes of it: the items that matter are the likely ones, and then the good ones. */
static void whole_prompts_are_asked_by_their_traffic(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    write_scene("kind = \"tabular\"; dimension = 40; completions = 40; pool = 0; labels = 2000;"
                "rules = (\"policy_trace\");"
                "set = (\"labels.replicas=15\", \"labels.replicate=best\");");
    struct scene *scene = scene_load(path, &error);
    assert_non_null(scene);
    struct world *world = scene_world(scene, 1, &error);
    struct run without, with;
    assert_true(run_rule(scene, world, "policy_trace", 1, &without, &error));
    assert_true(scene_set(scene, "traffic", "true", &error));
    assert_true(run_rule(scene, world, "policy_trace", 1, &with, &error));
    assert_true(with.likely > without.likely + 1);
    assert_true(with.merit > without.merit + .1);
    run_free(&without);
    run_free(&with);
    world_free(world);
    scene_free(scene);
}

static void interrupt_itself(void *closure, size_t job, int out)
{
    (void)closure;
    raise(job == 0 ? SIGINT : SIGTERM);
    processes_say(out, "done", 4);
}

static bool count_done(void *closure, size_t job, const struct buffer *said, int status,
                       struct error *error)
{
    (void)job;
    (void)error;
    *(size_t *)closure += status == 0 && strcmp(said->data, "done") == 0;
    return true;
}

/* A terminal signals all of a group: what to say and when to end is the parent's. */
static void jobs_outlive_an_interrupt(void **state)
{
    (void)state;
    size_t done = 0;
    struct error error;
    const struct processes processes = {.total = 2,
                                        .at_a_time = 2,
                                        .said_max = 100,
                                        .closure = &done,
                                        .work = interrupt_itself,
                                        .finish = count_done};
    assert_true(processes_run(&processes, &error));
    assert_int_equal(done, 2);
}

static void runs_of_a_record_are_not_run_again(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct scene *scene = small();
    char record[] = "/tmp/infopair-runs-XXXXXX";
    int file = mkstemp(record);
    assert_true(file >= 0);
    /* A line that a crash cut off, as a record may end. */
    assert_int_equal(write(file, "{\"scene\": \"x", 12), 12);
    close(file);
    char *text = scene_text(scene);
    struct jobs jobs = {
        .scene = scene, .text = text, .processes = 2, .record = record, .quiet = true};
    if (!jobs_run(&jobs, &error))
        fail_msg("%s", error.message);
    struct jobs again = jobs;
    again.runs = NULL;
    assert_true(jobs_run(&again, &error));
    for (size_t k = 0; k < 4; k++) {
        assert_string_equal(jobs.runs[k].rule, k < 2 ? "uniform" : "policy_trace");
        assert_int_equal(jobs.runs[k].seed, 1 + k % 2);
        /* Time is never the same twice. */
        assert_true(again.runs[k].seconds == jobs.runs[k].seconds);
        assert_true(again.runs[k].c == jobs.runs[k].c);
    }
    jobs_free(&jobs);
    jobs_free(&again);
    unlink(record);
    free(text);
    scene_free(scene);
}

/* ---- what they come to ---- */

static void a_curve_ends_at_the_last_label(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    static const char *const RULES[] = {"policy_trace", "design:uniform"};
    struct scene *scene = small();
    assert_true(scene_set(scene, "labels", "130", &error));
    struct world *world = scene_world(scene, 1, &error);
    for (size_t k = 0; k < 2; k++) {
        struct run run;
        assert_true(run_rule(scene, world, RULES[k], 1, &run, &error));
        assert_int_equal(run.points, 3);
        assert_int_equal(run.at[1], 100);
        assert_int_equal(run.at[2], 130);
        run_free(&run);
    }
    world_free(world);
    scene_free(scene);
}

static void names_are_text_in_a_report(void **state)
{
    (void)state;
    char place[] = "/tmp/infopair-report-XXXXXX", page[1 << 16];
    struct error error = {ERROR_NONE, ""};
    struct scene *scene = small();
    free(scene->name);
    scene->name = strdup("<img src=x>.cfg");
    assert_true(scene_set(scene, "rules", "uniform", &error) &&
                scene_set(scene, "seeds", "1", &error));
    struct jobs jobs = {.scene = scene, .runs = calloc(1, sizeof *jobs.runs)};
    struct world *world = scene_world(scene, 1, &error);
    assert_true(run_rule(scene, world, "uniform", 1, &jobs.runs[0], &error));
    world_free(world);
    struct summary *summaries = summarise(&jobs);
    struct report *report = report_new();
    assert_true(summaries != NULL && report != NULL);
    assert_true(report_add(report, scene, "lapse=<b>", summaries));
    int file = mkstemp(place);
    assert_true(file >= 0);
    assert_true(report_write(report, place, &error));
    ssize_t size = read(file, page, sizeof page - 1);
    assert_true(size > 0);
    page[size] = '\0';
    assert_non_null(strstr(page, "&lt;img src=x&gt;.cfg, lapse=&lt;b&gt;"));
    assert_null(strstr(page, "<img"));
    close(file);
    unlink(place);
    report_free(report);
    summary_free(summaries, 1);
    jobs_free(&jobs);
    scene_free(scene);
}

static size_t count_of(const char *text, const char *words)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, words)) != NULL; at++)
        count++;
    return count;
}

static void plots_leave_out_what_cannot_be_drawn(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3}, y[] = {.5, 0, INFINITY}, error[] = {.1, .1, .1};
    const struct plot_series series[] = {{"a <rule> & \"more\"", 0, x, y, error, 3},
                                         {"empty", 1, x, y + 1, NULL, 2}};
    const struct plot plot = {
        .title = "t", .x_label = "x", .y_label = "y", .log_y = true, .series = series, .count = 2};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    plot_lines(&plot, out);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(count_of(text, "class=\"curve\" data-rule="), 2);
    assert_int_equal(count_of(text, "nan"), 0);
    assert_int_equal(count_of(text, "inf"), 0);
    assert_int_equal(count_of(text, "<rule>"), 0);
    assert_true(count_of(text, "a &lt;rule&gt; &amp; &quot;more&quot;") >= 2);
    assert_non_null(strstr(text, "data-rule=\"empty\" style=\"stroke:var(--c1)\" "
                                 "stroke-dasharray=\"7 3\" d=\"\""));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scenes_that_come_with_it_can_be_run),
        cmocka_unit_test(bad_scenes_are_named_with_their_line),
        cmocka_unit_test(fields_that_do_not_fit_together_are_refused),
        cmocka_unit_test(rules_and_their_options_are_checked),
        cmocka_unit_test(the_paper_worlds_have_their_shape),
        cmocka_unit_test(only_deployed_prompts_count),
        cmocka_unit_test(a_misspecified_world_has_a_floor),
        cmocka_unit_test(a_run_repeats_itself_and_its_line),
        cmocka_unit_test(the_oracle_design_is_the_best_one),
        cmocka_unit_test(a_share_of_a_design_is_uniform),
        cmocka_unit_test(whole_prompts_are_asked_by_their_traffic),
        cmocka_unit_test(jobs_outlive_an_interrupt),
        cmocka_unit_test(runs_of_a_record_are_not_run_again),
        cmocka_unit_test(a_curve_ends_at_the_last_label),
        cmocka_unit_test(names_are_text_in_a_report),
        cmocka_unit_test(plots_leave_out_what_cannot_be_drawn),
    };
    return cmocka_run_group_tests(tests, make_path, drop_path);
}
