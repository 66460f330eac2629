/* Several workers without a broker. */
#include "engine_fixture.h"
#include "worker/engine/requests.h"
#include "worker/solo_group.h"

enum { WORKERS = 2, LAG = 2000, START = 1000000 };

struct state {
    struct contracts *contracts;
    struct solo_group *group;
    int64_t now;
    int64_t ends[PARTITIONS];
    int64_t asked;
};

static bool count(void *context, const struct entry_selected *selected, double seconds,
                  struct error *error)
{
    struct state *state = context;
    (void)selected;
    (void)seconds;
    (void)error;
    state->asked++;
    return true;
}

static void turn_group(struct state *state, int64_t passed)
{
    struct error error;
    state->now += passed;
    check(solo_group_turn(state->group, state->now, state->ends, count, state, &error), &error);
}

static void give_pools(struct state *state)
{
    struct error error;
    char prompt[32], name[32];
    float features[D];
    for (int64_t k = 0; k < PROMPTS * POOL; k++) {
        int32_t partition = (int32_t)(k / POOL % PARTITIONS);
        struct sel_random random = sel_random_init(3, (uint64_t)k);
        for (size_t column = 0; column < D; column++)
            features[column] = (float)sel_random_normal(&random);
        snprintf(prompt, sizeof prompt, "prompt %lld", (long long)(k / POOL));
        snprintf(name, sizeof name, "completion %lld", (long long)(k % POOL));
        const struct completion completion = records_completion(prompt, name, features, D);
        const struct source source = {.input = INPUT_COMPLETIONS,
                                      .partition = partition,
                                      .offset = state->ends[partition]++,
                                      .timestamp = state->now};
        check(solo_group_completion(state->group, &source, &completion, &error), &error);
    }
}

static struct state start_group(int64_t lag)
{
    struct error error;
    struct state state = {.contracts = load_contracts(), .now = START};
    struct engine_options options = options_of();
    options.features_scale = 1;
    options.budget_in_flight = 40;
    options.budget_per_second = 1000;
    options.budget_burst = 100;
    const struct solo_group_plan plan = {
        .workers = WORKERS, .partitions = PARTITIONS, .labels_partitions = 1, .lag = lag};
    state.group = solo_group_new(&plan, &options, state.contracts, state.now, &error);
    check(state.group != NULL, &error);
    give_pools(&state);
    return state;
}

static void stop_group(struct state *state)
{
    solo_group_free(state->group);
    contracts_free(state->contracts);
}

static int64_t known(struct state *state, size_t worker)
{
    return engine_requests(solo_group_engine(state->group, worker))->count;
}

static void entries_of_others_come_when_the_lag_is_over(void **unused)
{
    (void)unused;
    struct state state = start_group(LAG);
    for (int k = 0; k < 3; k++)
        turn_group(&state, LAG / 8);
    assert_int_equal(state.asked, 40); /* all that may be under way */
    assert_int_equal(known(&state, 0), 20);
    assert_int_equal(known(&state, 1), 20);
    turn_group(&state, LAG);
    assert_int_equal(known(&state, 0), 40);
    assert_int_equal(known(&state, 1), 40);
    stop_group(&state);
}

static void without_a_lag_they_come_within_the_turn(void **unused)
{
    (void)unused;
    struct state state = start_group(0);
    char digests[WORKERS][ID_TEXT_SIZE];
    for (int k = 0; k < 3; k++) {
        turn_group(&state, 300);
        assert_int_equal(known(&state, 0), state.asked);
        assert_int_equal(known(&state, 1), state.asked);
    }
    assert_int_equal(state.asked, 40);
    turn_group(&state, 1);
    for (size_t k = 0; k < WORKERS; k++)
        engine_digest(solo_group_engine(state.group, k), digests[k]);
    assert_string_equal(digests[0], digests[1]);
    stop_group(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_of_others_come_when_the_lag_is_over),
        cmocka_unit_test(without_a_lag_they_come_within_the_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
