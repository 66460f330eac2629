/* One budget for all memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/memory.h"

static struct options *load(const char *limit, const char *dimension)
{
    struct error error;
    const char *const sets[] = {"kafka.brokers=localhost:1",
                                "policy.beta=1",
                                "budget.per_second=1",
                                limit,
                                dimension,
                                NULL};
    const struct options_input input = {.no_default_file = true, .sets = sets};
    struct options *options = options_new();
    assert_non_null(options);
    if (!options_load(options, &input, &error))
        fail_msg("%s", error.message);
    return options;
}

static size_t sum_of(const struct memory_plan *plan)
{
    return plan->consumer_bytes + plan->follower_bytes + plan->producer_bytes + plan->batch_bytes +
           plan->model_bytes + plan->window_bytes + plan->pools_bytes;
}

static void the_parts_add_up_to_the_limit(void **state)
{
    (void)state;
    struct error error;
    struct memory_plan plan;
    struct options *options = load("memory.limit=2GiB", "features.dimension=384");
    assert_true(memory_plan(options, &plan, &error));
    assert_int_equal(sum_of(&plan), (size_t)2 << 30);
    assert_int_equal(plan.dimension, 384);
    struct engine_options engine = memory_engine_options(options, &plan);
    assert_int_equal(engine.pools_bytes, plan.pools_bytes);
    assert_int_equal(engine.window_bytes, plan.window_bytes);
    options_free(options);
}

static void more_features_leave_less_for_pools(void **state)
{
    (void)state;
    struct error error;
    struct memory_plan few, many;
    struct options *options = load("memory.limit=4GiB", "features.dimension=64");
    assert_true(memory_plan(options, &few, &error));
    options_free(options);
    options = load("memory.limit=4GiB", "features.dimension=1024");
    assert_true(memory_plan(options, &many, &error));
    options_free(options);
    assert_true(many.pools_bytes < few.pools_bytes);
}

static void a_limit_that_cannot_fit_is_spelled_out(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct memory_plan plan;
    struct options *options = load("memory.limit=64MiB", "features.dimension=4096");
    assert_false(memory_plan(options, &plan, &error));
    assert_int_equal(error.class, ERROR_FATAL);
    const char *const parts[] = {
        "memory.limit: 64 MiB",    "consumer queue", "ledger queue",      "producer queue", "model",
        "window of 100000 labels", "pools",          "raise memory.limit"};
    for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
        if (strstr(error.message, parts[k]) == NULL)
            fail_msg("'%s' does not say '%s'", error.message, parts[k]);
    }
    options_free(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_parts_add_up_to_the_limit),
        cmocka_unit_test(more_features_leave_less_for_pools),
        cmocka_unit_test(a_limit_that_cannot_fit_is_spelled_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
