#include "worker/clock.h"
#include "worker/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct capture {
    FILE *stream;
    char *text;
    size_t size;
};

static int begin(void **state)
{
    struct capture *capture = calloc(1, sizeof *capture);
    if (capture == NULL)
        return -1;
    capture->stream = open_memstream(&capture->text, &capture->size);
    log_set_stream(capture->stream);
    log_set_level(LOG_LEVEL_INFO);
    *state = capture;
    return capture->stream == NULL ? -1 : 0;
}

static int end(void **state)
{
    struct capture *capture = *state;
    log_set_stream(stderr);
    fclose(capture->stream);
    free(capture->text);
    free(capture);
    return 0;
}

/* What stands behind the time of the k-th line, up to its end. */
static const char *line(struct capture *capture, size_t k)
{
    static char copy[4096];
    const char *from = capture->text;
    for (; k > 0 && from != NULL; k--)
        from = strchr(from, '\n') == NULL ? NULL : strchr(from, '\n') + 1;
    assert_non_null(from);
    assert_int_equal(strncmp(from, "time=20", 7), 0);
    assert_int_equal(from[28], 'Z');
    assert_int_equal(from[29], ' ');
    snprintf(copy, sizeof copy, "%.*s", (int)strcspn(from + 30, "\n"), from + 30);
    return copy;
}

static size_t lines(const struct capture *capture)
{
    size_t count = 0;
    for (size_t k = 0; k < capture->size; k++)
        count += capture->text[k] == '\n';
    return count;
}

static void test_a_line_is_logfmt(void **state)
{
    log_write(LOG_LEVEL_WARN, "stream", "lost %d partitions", 3);
    assert_string_equal(line(*state, 0), "level=warn module=stream msg=\"lost 3 partitions\"");
}

static void test_fields_follow_a_tab(void **state)
{
    log_write(LOG_LEVEL_INFO, "http", "listening\tport=%d host=%s", 80, "a\nb");
    assert_string_equal(line(*state, 0),
                        "level=info module=http msg=\"listening\" port=80 host=a b");
}

static void test_input_cannot_forge_a_line(void **state)
{
    log_write(LOG_LEVEL_ERROR, "m", "%s", "a\"b\\c\nd\x01");
    assert_int_equal(lines(*state), 1);
    assert_string_equal(line(*state, 0), "level=error module=m msg=\"a\\\"b\\\\c\\nd\\x01\"");
}

static void test_long_lines_are_cut(void **state)
{
    char text[8192];
    memset(text, '"', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_write(LOG_LEVEL_INFO, "m", "%s", text);
    const struct capture *capture = *state;
    assert_int_equal(lines(capture), 1);
    assert_true(capture->size < 2200);
    assert_int_equal(capture->text[capture->size - 2], '"');
}

static void test_levels_filter(void **state)
{
    struct capture *capture = *state;
    log_write(LOG_LEVEL_DEBUG, "m", "no");
    assert_int_equal(capture->size, 0);
    log_set_level(LOG_LEVEL_DEBUG);
    log_write(LOG_LEVEL_DEBUG, "m", "yes");
    assert_int_equal(lines(capture), 1);
    log_set_level(LOG_LEVEL_ERROR);
    assert_false(log_enabled(LOG_LEVEL_WARN));
    log_write(LOG_LEVEL_WARN, "m", "no");
    assert_int_equal(lines(capture), 1);
}

static void test_repeated_lines_are_counted(void **state)
{
    struct capture *capture = *state;
    for (int k = 0; k < 5; k++)
        log_write(LOG_LEVEL_WARN, "m", "again");
    assert_int_equal(lines(capture), 1);
    log_write(LOG_LEVEL_WARN, "m", "other");
    assert_int_equal(lines(capture), 3);
    assert_non_null(strstr(line(capture, 1), "repeated=4"));
    assert_non_null(strstr(line(capture, 2), "other"));
}

static void *write_many(void *closure)
{
    const int *thread = closure;
    for (int k = 0; k < 500; k++)
        log_write(LOG_LEVEL_INFO, "thread", "line %d of %d", k, *thread);
    return NULL;
}

static void test_threads_do_not_mix_lines(void **state)
{
    pthread_t threads[4];
    int numbers[4];
    for (int k = 0; k < 4; k++) {
        numbers[k] = k;
        assert_int_equal(pthread_create(&threads[k], NULL, write_many, &numbers[k]), 0);
    }
    for (int k = 0; k < 4; k++)
        pthread_join(threads[k], NULL);
    struct capture *capture = *state;
    assert_int_equal(lines(capture), 2000);
    const char *from = capture->text;
    for (int k = 0; k < 2000; k++, from = strchr(from, '\n') + 1) {
        int number, thread, used = 0;
        assert_int_equal(sscanf(from, "time=%*s level=info module=thread msg=\"line %d of %d\"%n",
                                &number, &thread, &used),
                         2);
        assert_int_equal(from[used], '\n');
    }
}

static void test_clocks(void **state)
{
    (void)state;
    int64_t first = clock_monotonic_ms();
    int64_t wall = clock_now_ms();
    assert_true(wall > 1700000000000 && wall < 4100000000000);
    assert_true(clock_monotonic_ms() >= first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_line_is_logfmt, begin, end),
        cmocka_unit_test_setup_teardown(test_fields_follow_a_tab, begin, end),
        cmocka_unit_test_setup_teardown(test_input_cannot_forge_a_line, begin, end),
        cmocka_unit_test_setup_teardown(test_long_lines_are_cut, begin, end),
        cmocka_unit_test_setup_teardown(test_levels_filter, begin, end),
        cmocka_unit_test_setup_teardown(test_repeated_lines_are_counted, begin, end),
        cmocka_unit_test_setup_teardown(test_threads_do_not_mix_lines, begin, end),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
