/* The steady path allocates nothing: once pools are full, completions and labels come and go
 * without a call of the allocator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "counted.h"
#include "tests/support/records.h"
#include "worker/engine/engine.h"

enum { D = 64, PROMPTS = 40, POOL_MAX = 16, RECORD_MAX = 4096, ROUND = 2000 };

static void check(bool done, const struct error *error)
{
    if (!done)
        fail_msg("%s", error->message);
}

static struct contracts *load_contracts(void)
{
    struct error error;
    struct contracts *contracts = records_contracts(&error);
    check(contracts != NULL, &error);
    return contracts;
}

static struct engine *make_engine(struct contracts *contracts)
{
    struct error error;
    const struct engine_options options = {.topics = {"completions", "labels"},
                                           .completions_partitions = 1,
                                           .ledger_partitions = 3,
                                           .writer = "slot",
                                           .digest = "digest",
                                           .features_space = "",
                                           .features_scale_pools = 1000000,
                                           .limits_record = RECORD_MAX,
                                           .limits_dimension = D,
                                           .limits_text = 100,
                                           .limits_clock_ahead = 300000,
                                           .pool_size = 4,
                                           .pool_min = 2,
                                           .pool_max = POOL_MAX,
                                           .pool_wait = 300000,
                                           .pool_age = 86400000,
                                           .policy_beta = .5,
                                           .labels_max = 1000,
                                           .fit_every = 20,
                                           .selection =
                                               selection_defaults(sel_rule_find("policy_trace")),
                                           .budget_per_second = 1,
                                           .budget_burst = 1,
                                           .budget_in_flight = 1};
    struct engine *engine = engine_new(&options, contracts, &error);
    check(engine != NULL, &error);
    check(engine_tick(engine, 1000, &error), &error);
    check(engine_gain(engine, INPUT_COMPLETIONS, 0, 0, 0, 0, "", &error), &error);
    check(engine_barrier(engine, INPUT_COMPLETIONS, 0, &error), &error);
    return engine;
}

static void encode(struct contracts *contracts, int number, struct buffer *record)
{
    struct error error;
    char prompt[32], name[32];
    float features[D];
    for (int k = 0; k < D; k++)
        features[k] = (float)(number % (k + 3));
    snprintf(prompt, sizeof prompt, "prompt %05d", number % PROMPTS);
    snprintf(name, sizeof name, "completion %08d", number);
    const struct completion completion = records_completion(prompt, name, features, D);
    record->size = 0;
    check(contracts_encode_completion(contracts, &completion, record, &error), &error);
}

/* Decodes and delivers completions [from, from + ROUND); returns how often it allocated. */
static int deliver(struct contracts *contracts, struct engine *engine, int from)
{
    struct error error;
    struct buffer record = {.maximum = RECORD_MAX};
    int counted = 0;
    for (int number = from; number < from + ROUND; number++) {
        encode(contracts, number, &record);
        int before = allocations;
        struct completion completion;
        const char *stage;
        const struct source source = {.input = INPUT_COMPLETIONS,
                                      .offset = number,
                                      .timestamp = 1000,
                                      .value = {record.data, record.size}};
        check(contracts_decode_completion(contracts, source.value, &completion, &stage, &error),
              &error);
        check(engine_completion(engine, &source, &completion, &error), &error);
        counted += allocations - before;
    }
    buffer_free(&record);
    return counted;
}

static void full_pools_take_completions_without_the_allocator(void **state)
{
    (void)state;
    struct contracts *contracts = load_contracts();
    struct engine *engine = make_engine(contracts);
    int filling = deliver(contracts, engine, 0);
    assert_true(filling > 0); /* the count counts */
    assert_int_equal(deliver(contracts, engine, ROUND), 0);
    assert_int_equal(engine_stats(engine)->completions, 2 * ROUND);
    assert_int_equal(engine_stats(engine)->completions_held, PROMPTS * POOL_MAX);
    engine_free(engine);
    contracts_free(contracts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_pools_take_completions_without_the_allocator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
