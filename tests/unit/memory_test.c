/* One budget for all memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "worker/engine/certificate.h"
#include "worker/memory.h"

/* Loads "name=value" of up to four options beside the required ones. */
static struct options *load(const char *limit, const char *dimension, const char *third,
                            const char *fourth)
{
    const char *const sets[] = {"kafka.brokers=localhost:1",
                                "policy.beta=1",
                                "budget.per_second=1",
                                limit,
                                dimension,
                                third,
                                fourth,
                                NULL};
    return expect_options(sets);
}

/* The plan of such options, which must fit. */
static struct memory_plan plan_of(const char *limit, const char *dimension, const char *third,
                                  const char *fourth)
{
    struct error error;
    struct memory_plan plan;
    struct options *options = load(limit, dimension, third, fourth);
    if (!memory_plan(options, &plan, &error))
        fail_msg("%s", error.message);
    options_free(options);
    return plan;
}

/* Fails unless the message says every one of the `count` parts. */
static void assert_says(const struct error *error, const char *const *parts, size_t count)
{
    for (size_t k = 0; k < count; k++)
        expect_says(error->message, parts[k]);
}

static size_t sum_of(const struct memory_plan *plan)
{
    return plan->consumer_bytes + plan->follower_bytes + plan->producer_bytes + plan->batch_bytes +
           plan->tick_bytes + plan->model_bytes + plan->panes_bytes + plan->waiting_bytes +
           plan->window_bytes + plan->fit_bytes + plan->certificate_bytes + plan->accounting_bytes +
           plan->pools_bytes;
}

static void the_parts_add_up_to_the_limit(void **state)
{
    (void)state;
    struct error error;
    struct memory_plan plan;
    struct options *options = load("memory.limit=2GiB", "features.dimension=384", NULL, NULL);
    assert_true(memory_plan(options, &plan, &error));
    assert_int_equal(sum_of(&plan), (size_t)2 << 30);
    assert_int_equal(plan.dimension, 384);
    struct engine_options engine = memory_engine_options(options, &plan);
    assert_int_equal(engine.pools_bytes, plan.pools_bytes);
    assert_int_equal(engine.window_bytes, plan.window_bytes);
    assert_int_equal(engine.model_bytes, plan.model_bytes);
    assert_int_equal(engine.waiting_bytes, plan.waiting_bytes);
    assert_int_equal(engine.waiting_max, plan.waiting_max);
    options_free(options);
}

static void what_takes_more_leaves_less_for_pools(void **state)
{
    (void)state;
    const struct memory_plan base =
        plan_of("memory.limit=4GiB", "features.dimension=256", NULL, NULL);
    const char *const more[] = {"features.dimension=512", "topics.partitions=60",
                                "budget.burst=400",       "labels.max=200000",
                                "budget.in_flight=20000", "fit.every=5000",
                                "budget.per_second=60"};
    for (size_t k = 0; k < sizeof more / sizeof more[0]; k++) {
        const struct memory_plan plan =
            plan_of("memory.limit=4GiB", "features.dimension=256", more[k], NULL);
        if (plan.pools_bytes >= base.pools_bytes)
            fail_msg("%s costs nothing", more[k]);
        assert_int_equal(sum_of(&plan), (size_t)4 << 30);
    }
}

static void the_window_holds_what_the_engine_keeps(void **state)
{
    (void)state;
    const struct memory_plan plan =
        plan_of("memory.limit=4GiB", "features.dimension=64", "budget.in_flight=700", NULL);
    assert_true(plan.requests >= 100000 + 100000 / 16 + 4 * 50 + 700);
    assert_true(plan.window_bytes >= (size_t)plan.requests * engine_request_bytes(64));
    /* Where all labels are listed that is planned for. */
    static const char *const LISTING[] = {"labels.replicas=2", "labels.skips=again"};
    for (size_t k = 0; k < sizeof LISTING / sizeof LISTING[0]; k++) {
        const struct memory_plan more = plan_of("memory.limit=4GiB", "features.dimension=64",
                                                "budget.in_flight=700", LISTING[k]);
        const struct engine_options options = {.labels_attempts = 2, .labels_skips = SKIPS_AGAIN};
        assert_true(more.window_bytes >= (size_t)more.requests * (engine_request_bytes(64) +
                                                                  engine_listed_bytes(&options)));
    }
}

static void certificates_take_only_what_is_spare(void **state)
{
    (void)state;
    struct memory_plan plan = plan_of("memory.limit=4GiB", "features.dimension=64", NULL, NULL);
    assert_int_equal(plan.certificate_bytes, certificate_bytes(64, 10000));
    plan = plan_of("memory.limit=4GiB", "features.dimension=64", "certificate.candidates=100000",
                   NULL);
    assert_int_equal(plan.certificate_bytes, certificate_bytes(64, 100000));
    plan = plan_of("memory.limit=1GiB", "features.dimension=384", "certificate.candidates=100000",
                   NULL);
    assert_in_range(plan.certificate_bytes, plan.pools_bytes / 8, plan.pools_bytes / 6);
    assert_int_equal(sum_of(&plan), (size_t)1 << 30);
    /* Above its dimension there is none; and a start that just fits goes without. */
    plan = plan_of("memory.limit=8GiB", "features.dimension=2048", NULL, NULL);
    assert_int_equal(plan.certificate_bytes, 0);
    size_t least = (size_t)32 << 20;
    struct error error = {ERROR_NONE, ""};
    for (bool fits = false; !fits; least += (size_t)1 << 20) {
        char limit[64];
        snprintf(limit, sizeof limit, "memory.limit=%zu", least);
        struct options *options = load(limit, "features.dimension=64", "labels.max=1000", NULL);
        fits = memory_plan(options, &plan, &error);
        options_free(options);
    }
    assert_true(plan.certificate_bytes < (size_t)1 << 20);
    assert_true(plan.accounting_bytes < (size_t)1 << 20);
}

static void accounting_takes_what_it_is_given_of_what_is_spare(void **state)
{
    (void)state;
    struct memory_plan plan =
        plan_of("memory.limit=4GiB", "features.dimension=64", "accounting.memory=20MiB", NULL);
    assert_int_equal(plan.accounting_bytes, (size_t)20 << 20);
    struct options *options = load("memory.limit=4GiB", "features.dimension=64", NULL, NULL);
    assert_int_equal(memory_engine_options(options, &plan).accounting_bytes, (size_t)8 << 20);
    options_free(options);
    plan = plan_of("memory.limit=4GiB", "features.dimension=64", "accounting.memory=4GiB", NULL);
    assert_in_range(plan.accounting_bytes, plan.pools_bytes / 8, plan.pools_bytes / 5);
    assert_int_equal(sum_of(&plan), (size_t)4 << 30);
    plan = plan_of("memory.limit=4GiB", "features.dimension=64", "accounting.memory=0", NULL);
    assert_int_equal(plan.accounting_bytes, 0);
}

static void a_record_beyond_the_producer_queue_is_refused_with_the_sum(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct memory_plan plan;
    struct options *options = load("memory.limit=256MiB", "features.dimension=8",
                                   "limits.record=32MiB", "limits.text=1KiB");
    assert_false(memory_plan(options, &plan, &error));
    const char *const parts[] = {"limits.record", "32768 KiB + 64 KiB = 32832 KiB",
                                 "producer queue of 32768 KiB", "memory.limit = 256 MiB"};
    assert_says(&error, parts, sizeof parts / sizeof parts[0]);
    options_free(options);
    plan = plan_of("memory.limit=256MiB", "features.dimension=8", "limits.record=32704KiB",
                   "labels.max=1000");
    assert_true(plan.producer_bytes >= (32704u + 64) << 10);
}

static void an_unknown_dimension_is_planned_as_far_as_it_fits(void **state)
{
    (void)state;
    const struct memory_plan small =
        plan_of("memory.limit=512MiB", "features.dimension=0", NULL, NULL);
    assert_in_range(small.dimension, 128, 1023);
    const struct memory_plan large =
        plan_of("memory.limit=8GiB", "features.dimension=0", NULL, NULL);
    assert_int_equal(large.dimension, MEMORY_DIMENSION);
    assert_true(large.model_bytes > small.model_bytes);
}

static void a_few_of_the_largest_labels_can_wait(void **state)
{
    (void)state;
    const struct memory_plan plan =
        plan_of("memory.limit=64MiB", "features.dimension=8", "labels.max=1000", NULL);
    assert_true(plan.waiting_bytes >= 4u << 20);
    const struct memory_plan large =
        plan_of("memory.limit=2GiB", "features.dimension=8", NULL, NULL);
    assert_int_equal(large.waiting_bytes, 64 << 20);
}

static void a_limit_that_cannot_fit_is_spelled_out(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct memory_plan plan;
    struct options *options = load("memory.limit=64MiB", "features.dimension=4096", NULL, NULL);
    assert_false(memory_plan(options, &plan, &error));
    assert_int_equal(error.class, ERROR_FATAL);
    const char *const parts[] = {"memory.limit: 64 MiB",
                                 "consumer queue",
                                 "ledger queue",
                                 "producer queue",
                                 "batches",
                                 "model",
                                 "6 partitions",
                                 "waiting labels",
                                 "labels 1",
                                 "8 pools",
                                 "raise memory.limit",
                                 "or features.dimension"};
    assert_says(&error, parts, sizeof parts / sizeof parts[0]);
    options_free(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_parts_add_up_to_the_limit),
        cmocka_unit_test(what_takes_more_leaves_less_for_pools),
        cmocka_unit_test(the_window_holds_what_the_engine_keeps),
        cmocka_unit_test(certificates_take_only_what_is_spare),
        cmocka_unit_test(accounting_takes_what_it_is_given_of_what_is_spare),
        cmocka_unit_test(a_record_beyond_the_producer_queue_is_refused_with_the_sum),
        cmocka_unit_test(an_unknown_dimension_is_planned_as_far_as_it_fits),
        cmocka_unit_test(a_few_of_the_largest_labels_can_wait),
        cmocka_unit_test(a_limit_that_cannot_fit_is_spelled_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
