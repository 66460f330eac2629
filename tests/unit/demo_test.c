/* The summary of the demo: a geometric mean over worlds and its interval. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "worker/demo.h"

static void expect_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-3 * fabs(expected)))
        fail_msg("%.9g instead of %.9g", value, expected);
}

static struct demo_summary summary_of(const double *ratios, size_t count)
{
    struct demo_summary summary;
    for (size_t k = 0; k < DEMO_WORLDS; k++)
        summary.ratios[k] = k < count ? ratios[k] : (double)NAN;
    demo_summarise(&summary);
    return summary;
}

static void equal_ratios_leave_no_doubt(void **state)
{
    (void)state;
    const double ratios[DEMO_WORLDS] = {2, 2, 2, 2, 2, 2, 2, 2, 2};
    struct demo_summary summary = summary_of(ratios, DEMO_WORLDS);
    assert_int_equal(summary.worlds, DEMO_WORLDS);
    expect_near(summary.mean, 2);
    expect_near(summary.low, 2);
    expect_near(summary.high, 2);
}

/* Two worlds: mean of logs ln 2, standard error ln 2, t(1) = 12.706 at 97.5 %. */
static void the_interval_is_students_on_the_log(void **state)
{
    (void)state;
    const double ratios[] = {1, 4};
    struct demo_summary summary = summary_of(ratios, 2);
    assert_int_equal(summary.worlds, 2);
    expect_near(summary.mean, 2);
    expect_near(summary.low, exp(log(2) - 12.706 * log(2)));
    expect_near(summary.high, exp(log(2) + 12.706 * log(2)));
}

static void worlds_without_a_ratio_do_not_count(void **state)
{
    (void)state;
    const double ratios[] = {3, (double)NAN, 3, 3};
    struct demo_summary summary = summary_of(ratios, 4);
    assert_int_equal(summary.worlds, 3);
    expect_near(summary.mean, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_ratios_leave_no_doubt),
        cmocka_unit_test(the_interval_is_students_on_the_log),
        cmocka_unit_test(worlds_without_a_ratio_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
