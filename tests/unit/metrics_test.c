#include "worker/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int begin(void **state)
{
    *state = metrics_new();
    return *state == NULL ? -1 : 0;
}

static int end(void **state)
{
    metrics_free(*state);
    return 0;
}

/* The page as a string that the caller frees. */
static char *page(struct metrics *metrics)
{
    struct buffer out = {.maximum = 1 << 20};
    assert_true(metrics_render(metrics, &out));
    assert_true(buffer_append(&out, "", 1));
    return out.data;
}

static void assert_line(struct metrics *metrics, const char *line)
{
    char *text = page(metrics);
    char wanted[256];
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    bool found = strstr(text, wanted) != NULL;
    free(text);
    if (!found)
        fail_msg("no line '%s'", line);
}

static void test_rows_without_labels_start_at_zero(void **state)
{
    assert_line(*state, "infopair_completions_total 0");
    assert_line(*state, "# TYPE infopair_completions_total counter");
    assert_line(*state, "# TYPE infopair_pools_open gauge");
    assert_line(*state, "infopair_commit_seconds_count 0");
    assert_line(*state, "infopair_build_info{version=\"" INFOPAIR_VERSION "\"} 1");
}

static void test_values_are_exact(void **state)
{
    struct metrics *metrics = *state;
    metrics_set(metrics, METRIC_POLICY_TRACE, NULL, NULL, 0.1);
    metrics_set(metrics, METRIC_MEMORY_LIMIT, NULL, NULL, 9007199254740991.0);
    metrics_set(metrics, METRIC_GAP_ESTIMATE, NULL, NULL, (double)NAN);
    metrics_set(metrics, METRIC_LAMBDA, "style", NULL, (double)INFINITY);
    assert_line(metrics, "infopair_policy_trace 0.10000000000000001");
    assert_line(metrics, "infopair_memory_limit_bytes 9007199254740991");
    assert_line(metrics, "infopair_gap_estimate NaN");
    assert_line(metrics, "infopair_lambda{group=\"style\"} +Inf");
}

static void test_series_are_told_apart_by_labels(void **state)
{
    struct metrics *metrics = *state;
    metrics_add(metrics, METRIC_PAIRS, "selected", NULL, 2);
    metrics_add(metrics, METRIC_PAIRS, "control", NULL, 1);
    metrics_add(metrics, METRIC_PAIRS, "selected", NULL, 3);
    metrics_set(metrics, METRIC_LAG, "a\"b\\c\nd", "7", 4);
    assert_line(metrics, "infopair_pairs_total{arm=\"selected\"} 5");
    assert_line(metrics, "infopair_pairs_total{arm=\"control\"} 1");
    assert_line(metrics, "infopair_lag{topic=\"a\\\"b\\\\c\\nd\",partition=\"7\"} 4");
    assert_true(metrics_get(metrics, METRIC_PAIRS, "selected", NULL) == 5);
    assert_true(isnan(metrics_get(metrics, METRIC_PAIRS, "probe", NULL)));
}

static void test_a_removed_series_is_gone(void **state)
{
    struct metrics *metrics = *state;
    metrics_set(metrics, METRIC_LAG, "t", "0", 1);
    metrics_set(metrics, METRIC_LAG, "t", "1", 2);
    metrics_remove(metrics, METRIC_LAG, "t", "0");
    metrics_remove(metrics, METRIC_LAG, "t", "9");
    assert_true(isnan(metrics_get(metrics, METRIC_LAG, "t", "0")));
    assert_line(metrics, "infopair_lag{topic=\"t\",partition=\"1\"} 2");
    metrics_remove(metrics, METRIC_LAG, "t", "1");
    char *text = page(metrics);
    assert_null(strstr(text, "infopair_lag"));
    free(text);
}

static void test_a_row_is_cleared_of_all_its_series(void **state)
{
    struct metrics *metrics = *state;
    metrics_set(metrics, METRIC_ANNOTATOR_LAPSE, "ann", NULL, .5);
    metrics_set(metrics, METRIC_ANNOTATOR_LAPSE, "bob", NULL, .25);
    metrics_set(metrics, METRIC_ANNOTATOR_LABELS, "bob", NULL, 7);
    metrics_clear(metrics, METRIC_ANNOTATOR_LAPSE);
    assert_true(isnan(metrics_get(metrics, METRIC_ANNOTATOR_LAPSE, "ann", NULL)));
    metrics_set(metrics, METRIC_ANNOTATOR_LAPSE, "a \"b\"\\\n", NULL, 1);
    assert_line(metrics, "infopair_annotator_lapse{annotator=\"a \\\"b\\\"\\\\\\n\"} 1");
    assert_line(metrics, "infopair_annotator_labels{annotator=\"bob\"} 7");
}

static void test_long_label_values_stay_one_series(void **state)
{
    struct metrics *metrics = *state;
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    metrics_add(metrics, METRIC_DEAD_LETTERS, name, NULL, 1);
    metrics_add(metrics, METRIC_DEAD_LETTERS, name, NULL, 1);
    assert_true(metrics_get(metrics, METRIC_DEAD_LETTERS, name, NULL) == 2);
}

static void test_histogram_buckets_are_cumulative(void **state)
{
    struct metrics *metrics = *state;
    metrics_observe(metrics, METRIC_COMMIT_SECONDS, 0.05);
    metrics_observe(metrics, METRIC_COMMIT_SECONDS, 0.0501);
    metrics_observe(metrics, METRIC_COMMIT_SECONDS, 64);
    assert_line(metrics, "infopair_commit_seconds_bucket{le=\"0.025\"} 0");
    assert_line(metrics, "infopair_commit_seconds_bucket{le=\"0.05\"} 1");
    assert_line(metrics, "infopair_commit_seconds_bucket{le=\"0.1\"} 2");
    assert_line(metrics, "infopair_commit_seconds_bucket{le=\"10\"} 2");
    assert_line(metrics, "infopair_commit_seconds_bucket{le=\"+Inf\"} 3");
    assert_line(metrics, "infopair_commit_seconds_count 3");
    assert_true(fabs(metrics_get(metrics, METRIC_COMMIT_SECONDS, NULL, NULL) - 64.1001) < 1e-9);
}

/* Names are unique and legal, counters end in _total, every row has help. */
static void test_every_row_keeps_the_conventions(void **state)
{
    struct metrics *metrics = *state;
    for (int metric = 0; metric < METRICS; metric++)
        if (isnan(metrics_get(metrics, (enum metric)metric, NULL, NULL)))
            metrics_set(metrics, (enum metric)metric, "a", "b", 1);
    char *text = page(metrics);
    int rows = 0;
    for (const char *from = text; (from = strstr(from, "# TYPE ")) != NULL; from++, rows++) {
        char name[80], type[16], again[96];
        assert_int_equal(sscanf(from, "# TYPE %79s %15s", name, type), 2);
        assert_int_equal(strncmp(name, "infopair_", 9), 0);
        bool total = strstr(name, "_total") != NULL;
        assert_int_equal(total, strcmp(type, "counter") == 0);
        snprintf(again, sizeof again, "# TYPE %s ", name);
        assert_null(strstr(from + 1, again));
        snprintf(again, sizeof again, "# HELP %s ", name);
        const char *help = strstr(text, again);
        assert_non_null(help);
        assert_true(help[strlen(again)] >= '0');
    }
    assert_int_equal(rows, METRICS);
    free(text);
}

static void test_a_page_beyond_the_maximum_fails(void **state)
{
    struct buffer out = {.maximum = 100};
    assert_false(metrics_render(*state, &out));
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_without_labels_start_at_zero, begin, end),
        cmocka_unit_test_setup_teardown(test_values_are_exact, begin, end),
        cmocka_unit_test_setup_teardown(test_series_are_told_apart_by_labels, begin, end),
        cmocka_unit_test_setup_teardown(test_a_removed_series_is_gone, begin, end),
        cmocka_unit_test_setup_teardown(test_a_row_is_cleared_of_all_its_series, begin, end),
        cmocka_unit_test_setup_teardown(test_long_label_values_stay_one_series, begin, end),
        cmocka_unit_test_setup_teardown(test_histogram_buckets_are_cumulative, begin, end),
        cmocka_unit_test_setup_teardown(test_every_row_keeps_the_conventions, begin, end),
        cmocka_unit_test_setup_teardown(test_a_page_beyond_the_maximum_fails, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
