/* The options of the budget, and options read again while a worker runs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "worker/options_table.h"
#include "worker/reload.h"

static struct options *load_sets(const char *const *sets, struct error *error)
{
    struct options *options = options_new();
    assert_non_null(options);
    *error = (struct error){ERROR_NONE, ""};
    if (options_load(options, &(struct options_input){.no_default_file = true, .sets = sets},
                     error))
        return options;
    options_free(options);
    return NULL;
}

static struct options *good(const char *first, const char *second)
{
    const char *const sets[] = {"policy.beta=0.1", "kafka.brokers=localhost:9092", first, second,
                                NULL};
    return expect_options(sets);
}

static void expect_error(const char *first, const char *second, const char *message)
{
    const char *const sets[] = {first, second, NULL};
    struct error error;
    struct options *options = load_sets(sets, &error);
    if (options != NULL)
        fail_msg("'%s' was accepted, expected '%s'", first, message);
    expect_says(error.message, message);
}

static void one_limit_in_time_must_be_given(void **state)
{
    (void)state;
    struct error error;
    static const char *const SETS[] = {"budget.per_second=2", "budget.per_hour=100",
                                       "budget.per_day=1000"};
    struct options *options = good(NULL, NULL);
    assert_false(options_require_worker(options, &error));
    assert_non_null(strstr(error.message, "budget.per_second, budget.per_hour or budget.per_day"));
    assert_non_null(strstr(error.message, "INFOPAIR_BUDGET_PER_SECOND"));
    options_free(options);
    for (size_t k = 0; k < sizeof SETS / sizeof *SETS; k++) {
        options = good(SETS[k], NULL);
        assert_true(options_require_worker(options, &error));
        options_free(options);
    }
    expect_error("budget.per_second=0", NULL, "must be above 0");
    expect_error("budget.per_second=fast", NULL, "expected a number or \"none\"");
    expect_error("budget.per_hour=0.5", NULL, "budget.per_hour: must be at least 1 label");
    options = good("budget.per_hour=0.5", "budget.unit=cost");
    assert_true(options->budget_limits.by_cost);
    options_free(options);
}

static void domains_are_read(void **state)
{
    (void)state;
    struct options *options = good("budget.domains=code=0.2..0.5,chat=..0.3,a=b=0.1..", NULL);
    const struct budget_limits *limits = &options->budget_limits;
    assert_int_equal(limits->domain_count, 3);
    assert_float_equal(limits->domains[0].floor, .2, 0);
    assert_float_equal(limits->domains[0].cap, .5, 0);
    assert_float_equal(limits->domains[1].floor, 0, 0);
    assert_float_equal(limits->domains[1].cap, .3, 0);
    assert_float_equal(limits->domains[2].cap, 1, 0);
    assert_true(identity_equal(limits->domains[2].name, identity_of(span_of("a=b"))));
    assert_int_equal(budget_domain(limits, span_of("chat")), 2);
    assert_int_equal(budget_domain(limits, span_of("")), 0);
    options_free(options);
    expect_error("budget.domains=code=0.5", NULL, "budget.domains: 'code=0.5': expected name=");
    expect_error("budget.domains=code=0.5..1.5", NULL, "shares from 0 to 1");
    expect_error("budget.domains=code=0.5..0.2", NULL, "its floor 0.5 is above its cap 0.2");
    expect_error("budget.domains=code=.5..x", NULL, "expected name=FLOOR..CAP");
    expect_error("budget.domains=code", NULL, "not of the form name=value");
    expect_error("budget.domains=code=.6..,math=.5..", NULL, "the floors add up to 1.1, at most 1");
    expect_error("budget.domains=code=.6..,code=.1..", NULL, "its domain has a share already");
    expect_error("budget.domains=code=.6..", "selection.when=pool", "a floor needs selection.when");
    options_free(good("budget.domains=code=..0.6", "selection.when=pool"));
}

static void quiet_hours_are_read(void **state)
{
    (void)state;
    struct options *options =
        good("budget.quiet=22:00-07:00,Sat 00:00-24:00,Mon-Fri 18:00-08:00,Sat-Mon 01:30-02:00",
             "budget.utc_offset=-03:30");
    const struct budget_limits *limits = &options->budget_limits;
    assert_int_equal(limits->quiet_count, 4);
    assert_int_equal(limits->quiet[0].days, 0x7F);
    assert_int_equal(limits->quiet[0].from, 22 * 60);
    assert_int_equal(limits->quiet[0].to, 7 * 60);
    assert_int_equal(limits->quiet[1].days, 1 << 5);
    assert_int_equal(limits->quiet[1].to, 24 * 60);
    assert_int_equal(limits->quiet[2].days, 0x1F);
    assert_int_equal(limits->quiet[3].days, 1 << 5 | 1 << 6 | 1);
    assert_int_equal(limits->utc_offset, -(3 * 60 + 30) * 60000);
    options_free(options);
    expect_error("budget.quiet=22:00", NULL, "budget.quiet: '22:00': expected times");
    expect_error("budget.quiet=22:00-07:00 ", NULL, "expected times");
    expect_error("budget.quiet=22:60-07:00", NULL, "expected times");
    expect_error("budget.quiet=24:00-07:00", NULL, "expected times");
    expect_error("budget.quiet=9:00-07:00", NULL, "expected times");
    expect_error("budget.quiet=07:00-07:00", NULL, "begins when it ends");
    expect_error("budget.quiet=Sut 00:00-24:00", NULL, "unknown day 'Sut'; the nearest is 'Sat'");
    expect_error("budget.quiet=Mon-Fry 00:00-24:00", NULL, "unknown day 'Fry'");
    expect_error("budget.quiet=Mon00:00-24:00", NULL, "unknown day");
    expect_error("budget.quiet=Mon", NULL, "a blank behind the days");
    expect_error("budget.quiet=00:00-24:00", NULL, "leaves no time of the week");
    expect_error("budget.utc_offset=2", NULL, "budget.utc_offset: '2' is not a time from");
    expect_error("budget.utc_offset=+15:00", NULL, "is not a time from -14:00 to +14:00");
    expect_error("budget.utc_offset=+02:00h", NULL, "is not a time from");
}

static void an_item_of_a_file_names_its_line(void **state)
{
    (void)state;
    char path[] = "/tmp/infopair-budget-XXXXXX";
    int handle = mkstemp(path);
    assert_true(handle >= 0);
    FILE *file = fdopen(handle, "w");
    assert_non_null(file);
    fputs("budget:\n{\n    quiet = [\"22:00-07:00\",\n             \"Sad 00:00-24:00\"];\n};\n",
          file);
    fclose(file);
    struct options *options = options_new();
    struct error error = {ERROR_NONE, ""};
    assert_false(options_load(options, &(struct options_input){.file = path}, &error));
    char expected[128];
    snprintf(expected, sizeof expected,
             "%s:4: budget.quiet: 'Sad 00:00-24:00': unknown day 'Sad'; the nearest is", path);
    assert_non_null(strstr(error.message, expected));
    options_free(options);
    unlink(path);
}

static void the_digest_names_the_budget(void **state)
{
    (void)state;
    static const char *const SETS[] = {"budget.per_hour=9",        "budget.per_day=9",
                                       "budget.per_prompt=9",      "budget.unit=cost",
                                       "budget.total=9",           "budget.domains=code=..0.5",
                                       "budget.quiet=22:00-07:00", "budget.utc_offset=+01:00"};
    struct options *ours = good(NULL, NULL);
    for (size_t k = 0; k < sizeof SETS / sizeof *SETS; k++) {
        char digest[OPTIONS_DIGEST_SIZE], names[64];
        struct options *theirs = good(SETS[k], NULL);
        options_digest(theirs, digest);
        assert_true(options_digest_differs(ours, span_of(digest), names, sizeof names));
        assert_string_equal(names, "budget.*");
        options_free(theirs);
    }
    options_free(ours);
}

/* ---- read again ---- */

static void only_what_is_live_takes_effect(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct options *running = good("budget.per_second=2", "pool.size=8");
    const char *const sets[] = {"policy.beta=0.1",
                                "kafka.brokers=localhost:9092",
                                "budget.per_second=3",
                                "pool.size=9",
                                "budget.quiet=22:00-07:00",
                                "labels.surprise=6",
                                "kafka.properties=sasl.password=other",
                                NULL};
    struct options *fresh = load_sets(sets, &error);
    assert_non_null(fresh);
    log_set_stream(out);
    assert_true(reload_merge(fresh, running, &error));
    log_set_stream(stderr);
    fclose(out);
    assert_non_null(strstr(text, "budget.per_second: 2 -> 3"));
    assert_non_null(strstr(text, "budget.quiet: [] -> [\\\"22:00-07:00\\\"]"));
    assert_non_null(strstr(text, "labels.surprise: 4 -> 6"));
    assert_non_null(strstr(text, "pool.size: 9 waits for a restart; 8 is in force"));
    assert_non_null(strstr(text, "kafka.properties: "));
    assert_null(strstr(text, "other"));
    assert_null(strstr(text, "policy.beta"));
    assert_float_equal(fresh->budget_per_second, 3, 0);
    assert_int_equal(fresh->pool_size, 8);
    assert_int_equal(fresh->kafka_properties.count, 0);
    assert_int_equal(fresh->budget_limits.quiet_count, 1);
    /* The digest is that of a worker which was started so. */
    struct options *same = good("budget.per_second=3", "pool.size=8");
    const char *const like[] = {"policy.beta=0.1", "budget.per_second=3", "pool.size=8",
                                "budget.quiet=22:00-07:00", NULL};
    struct options *started = load_sets(like, &error);
    char first[OPTIONS_DIGEST_SIZE], second[OPTIONS_DIGEST_SIZE];
    options_digest(fresh, first);
    options_digest(started, second);
    assert_string_equal(first, second);
    options_digest(same, second);
    assert_string_not_equal(first, second);
    options_free(same);
    options_free(started);
    options_free(fresh);
    options_free(running);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_limit_in_time_must_be_given),
        cmocka_unit_test(domains_are_read),
        cmocka_unit_test(quiet_hours_are_read),
        cmocka_unit_test(an_item_of_a_file_names_its_line),
        cmocka_unit_test(the_digest_names_the_budget),
        cmocka_unit_test(only_what_is_live_takes_effect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
