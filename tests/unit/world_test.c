/* The simulated world, and the engine run in one: what the demo shows must be true of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "worker/solo.h"
#include "worker/world.h"

enum { D = 4, PROMPTS = 30, COMPLETIONS = 12 };

static struct world *make(uint64_t seed)
{
    struct world *world = world_new(D, PROMPTS, COMPLETIONS, .5, seed);
    assert_non_null(world);
    return world;
}

static void expect_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.9g instead of %.9g", value, expected);
}

static void a_prompts_features_lie_d_from_their_mean(void **state)
{
    (void)state;
    struct world *world = make(1);
    double squares = 0;
    for (size_t prompt = 0; prompt < PROMPTS; prompt++) {
        for (size_t k = 0; k < D; k++) {
            double mean = 0;
            for (size_t row = 0; row < COMPLETIONS; row++)
                mean += world_row(world, prompt, row)[k] / COMPLETIONS;
            for (size_t row = 0; row < COMPLETIONS; row++)
                squares += pow(world_row(world, prompt, row)[k] - mean, 2);
        }
    }
    expect_near(squares / (PROMPTS * COMPLETIONS), D, 1e-9);
    world_free(world);
}

static void the_true_psi_has_no_gap_and_others_have(void **state)
{
    (void)state;
    struct world *world = make(2);
    double other[D];
    for (size_t k = 0; k < D; k++)
        other[k] = -world->psi[k];
    expect_near(world_gap(world, world->psi), 0, 1e-12);
    assert_true(world_gap(world, other) > .1);
    world_free(world);
}

/* Close to the truth the gap is (psi - psi*)' I (psi - psi*) / (2 beta). */
static void the_gap_is_quadratic_near_the_truth(void **state)
{
    (void)state;
    struct world *world = make(3);
    double policy[D * D], psi[D], step[D] = {.003, -.001, .002, .001}, quadratic = 0;
    assert_true(world_policy(world, policy));
    for (size_t j = 0; j < D; j++) {
        psi[j] = world->psi[j] + step[j];
        for (size_t k = 0; k < D; k++)
            quadratic += step[j] * policy[j * D + k] * step[k];
    }
    quadratic /= 2 * world->beta;
    expect_near(world_gap(world, psi) / quadratic, 1, .02);
    world_free(world);
}

static void a_draw_holds_each_completion_once(void **state)
{
    (void)state;
    struct world *world = make(4);
    struct sel_random random = sel_random_init(1, 1);
    size_t rows[COMPLETIONS];
    for (int round = 0; round < 50; round++) {
        bool seen[COMPLETIONS] = {false};
        assert_true(world_draw(world, &random, COMPLETIONS, rows) < PROMPTS);
        for (size_t k = 0; k < COMPLETIONS; k++) {
            assert_true(rows[k] < COMPLETIONS && !seen[rows[k]]);
            seen[rows[k]] = true;
        }
    }
    world_free(world);
}

static void rows_are_drawn_beside_those_that_stand(void **state)
{
    (void)state;
    struct world *world = make(4);
    struct sel_random random = sel_random_init(1, 2);
    double log_pi[COMPLETIONS];
    size_t rows[COMPLETIONS] = {3, 7};
    for (int round = 0; round < 20; round++) {
        bool seen[COMPLETIONS] = {false};
        world_log_policy(world, 5, world->psi, 1, log_pi);
        world_draw_rows(world, &random, log_pi, 2, COMPLETIONS, rows);
        assert_true(rows[0] == 3 && rows[1] == 7);
        for (size_t k = 0; k < COMPLETIONS; k++) {
            assert_true(rows[k] < COMPLETIONS && !seen[rows[k]]);
            seen[rows[k]] = true;
        }
    }
    world_free(world);
}

/* All the way, it is the best policy: nothing is left to learn. */
static void a_reference_policy_can_be_informed(void **state)
{
    (void)state;
    struct world *world = make(8);
    double best[COMPLETIONS], reference[COMPLETIONS];
    world_log_policy(world, 2, world->psi, 1, best);
    world_inform(world, .25);
    world_inform(world, .75);
    world_log_policy(world, 2, world->psi, 0, reference);
    for (size_t m = 0; m < COMPLETIONS; m++) {
        expect_near(reference[m], best[m], 1e-12);
        expect_near(world->log_reference[2 * COMPLETIONS + m], best[m], 1e-12);
    }
    world_free(world);
}

static struct solo_result run_rule(const struct world *world, uint64_t seed, const char *rule,
                                   const char *share)
{
    struct error error = {ERROR_NONE, ""};
    const char *const sets[] = {"policy.beta=0.5",
                                "budget.per_second=100",
                                "pool.size=6",
                                "pool.max=6",
                                "features.scale_pools=5",
                                "moments.interval=1s",
                                "selection.prompt_share=1",
                                rule,
                                share,
                                NULL};
    const struct options_input input = {.no_default_file = true, .sets = sets};
    const struct solo_plan plan = {.labels = 200,
                                   .pool = 6,
                                   .pools_per_round = 10,
                                   .pairs_per_round = 20,
                                   .partitions = 2,
                                   .reward_deviation = .5,
                                   .seed = seed};
    struct solo_result result = {0};
    struct options *options = options_new();
    assert_non_null(options);
    if (!options_load(options, &input, &error) || !solo_run(world, options, &plan, &result, &error))
        fail_msg("%s", error.message);
    options_free(options);
    return result;
}

/* A pair of each pool, as soon as it is full. */
static struct solo_result run_plan(const struct world *world, const struct solo_plan *plan)
{
    struct error error = {ERROR_NONE, ""};
    const char *const sets[] = {"policy.beta=0.5",
                                "budget.per_second=100",
                                "pool.size=6",
                                "pool.max=6",
                                "features.scale=1",
                                "moments.interval=1s",
                                "selection.when=pool",
                                "pool.picks=1",
                                "control.share=0",
                                "labels.lapse=0",
                                NULL};
    const struct options_input input = {.no_default_file = true, .sets = sets};
    struct solo_result result = {0};
    struct options *options = options_new();
    assert_non_null(options);
    if (!options_load(options, &input, &error) || !solo_run(world, options, plan, &result, &error))
        fail_msg("%s", error.message);
    options_free(options);
    return result;
}

static void workers_that_learn_of_each_other_late_ask_and_learn_all_the_same(void **state)
{
    (void)state;
    struct world *world = make(5);
    double nothing[D] = {0}, psi[D] = {0};
    const struct solo_plan plan = {.labels = 200,
                                   .pool = 6,
                                   .pools_per_round = 20,
                                   .pairs_per_round = 20,
                                   .partitions = 8,
                                   .workers = 4,
                                   .labels_partitions = 4,
                                   .lag = 2000,
                                   .seed = 7};
    struct solo_result result = run_plan(world, &plan), again = run_plan(world, &plan);
    assert_int_equal(result.count, 200);
    assert_memory_equal(result.psi, again.psi, D * sizeof(double));
    for (size_t k = 0; k < D; k++)
        psi[k] = result.scale * result.psi[k];
    assert_true(world_gap(world, psi) < .5 * world_gap(world, nothing));
    solo_free(&result);
    solo_free(&again);
    world_free(world);
}

static void a_batch_that_does_not_see_its_own_picks_is_a_worse_design(void **state)
{
    (void)state;
    struct world *world = make(5);
    struct solo_plan plan = {.labels = 60,
                             .pool = 6,
                             .pools_per_round = 60,
                             .pairs_per_round = 60,
                             .partitions = 1,
                             .seed = 7};
    struct solo_result on = run_plan(world, &plan);
    plan.pending_off = true;
    struct solo_result off = run_plan(world, &plan);
    assert_true(world_design(world, off.labels, off.count) >
                1.2 * world_design(world, on.labels, on.count));
    solo_free(&on);
    solo_free(&off);
    world_free(world);
}

static struct solo_result run(const struct world *world, uint64_t seed)
{
    return run_rule(world, seed, "selection.rule=policy_trace", "control.share=0.5");
}

static void a_world_through_the_engine_is_labelled_and_learnt(void **state)
{
    (void)state;
    struct world *world = make(5);
    struct solo_result result = run(world, 7);
    double nothing[D] = {0}, psi[D] = {0};
    size_t arms[3] = {0};
    assert_true(result.count >= 200);
    for (size_t k = 0; k < result.count; k++) {
        arms[result.labels[k].arm]++;
        assert_true(result.labels[k].left != result.labels[k].right);
    }
    assert_true(arms[ARM_CONTROL] > 60 && arms[ARM_SELECTED] > 60);
    assert_true(world_fit(world, result.labels, result.count, ARM_SELECTED, 60, psi) == 60);
    assert_true(world_gap(world, psi) < .5 * world_gap(world, nothing));
    solo_free(&result);
    world_free(world);
}

static void the_same_seed_asks_the_same_pairs(void **state)
{
    (void)state;
    struct world *world = make(6);
    struct solo_result one = run(world, 3), other = run(world, 3), third = run(world, 4);
    assert_int_equal(one.count, other.count);
    assert_memory_equal(one.psi, other.psi, D * sizeof(double));
    for (size_t k = 0; k < one.count; k++) {
        assert_int_equal(one.labels[k].prompt, other.labels[k].prompt);
        assert_int_equal(one.labels[k].left, other.labels[k].left);
        assert_int_equal(one.labels[k].right, other.labels[k].right);
    }
    assert_memory_not_equal(one.psi, third.psi, D * sizeof(double));
    solo_free(&one);
    solo_free(&other);
    solo_free(&third);
    world_free(world);
}

/* Mean over the asked pairs of a value of the two completions. */
static double mean_of_two(const struct world *world, const char *rule,
                          double (*value)(const struct world *, const struct world_label *))
{
    struct solo_result result = run_rule(world, 9, rule, "control.share=0");
    double sum = 0;
    assert_int_equal(result.count, 200);
    for (size_t k = 0; k < result.count; k++) {
        assert_true(result.seconds[k] >= 0);
        sum += value(world, &result.labels[k]) / (double)result.count;
    }
    solo_free(&result);
    return sum;
}

static double distance(const struct world *world, const struct world_label *label)
{
    return fabs(world_margin(world, label->prompt, label->left, label->right));
}

static double likelihood(const struct world *world, const struct world_label *label)
{
    const double *log_pi = world->log_reference + label->prompt * COMPLETIONS;
    return log_pi[label->left] + log_pi[label->right];
}

static double merit(const struct world *world, const struct world_label *label)
{
    const double *reward = world->reward + label->prompt * COMPLETIONS;
    double mean = 0;
    for (size_t m = 0; m < COMPLETIONS; m++)
        mean += reward[m] / COMPLETIONS;
    return reward[label->left] + reward[label->right] - 2 * mean;
}

/* Each rule is told what it looks at: what it asks is then what it looks for. */
static void completions_carry_what_the_rule_needs(void **state)
{
    (void)state;
    struct world *world = make(7);
    double far = mean_of_two(world, "selection.rule=uniform", distance);
    double likely = mean_of_two(world, "selection.rule=uniform", likelihood);
    double good = mean_of_two(world, "selection.rule=uniform", merit);
    assert_true(mean_of_two(world, "selection.rule=oracle_maxmin", distance) > 2 * far);
    assert_true(mean_of_two(world, "selection.rule=apl", distance) > 1.5 * far);
    assert_true(mean_of_two(world, "selection.rule=pi0_greedy", likelihood) > likely + .5);
    assert_true(mean_of_two(world, "selection.rule=most_likely", merit) > good + 1);
    assert_true(mean_of_two(world, "selection.rule=sparring", merit) > good + .7);
    /* Two of three sources follow psi. */
    assert_true(mean_of_two(world, "selection.rule=pilaf_src", merit) > good + .4);
    assert_true(mean_of_two(world, "selection.rule=xpo_src", merit) > good + .5);
    world_free(world);
}

static void ids_lead_back_to_their_numbers(void **state)
{
    (void)state;
    char text[SOLO_ID_SIZE];
    solo_prompt_id(17, 4, text);
    assert_int_equal(solo_number(span_of(text)), 17);
    solo_completion_id(5, text);
    assert_int_equal(solo_number(span_of(text)), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompts_features_lie_d_from_their_mean),
        cmocka_unit_test(the_true_psi_has_no_gap_and_others_have),
        cmocka_unit_test(the_gap_is_quadratic_near_the_truth),
        cmocka_unit_test(a_draw_holds_each_completion_once),
        cmocka_unit_test(rows_are_drawn_beside_those_that_stand),
        cmocka_unit_test(a_reference_policy_can_be_informed),
        cmocka_unit_test(a_world_through_the_engine_is_labelled_and_learnt),
        cmocka_unit_test(the_same_seed_asks_the_same_pairs),
        cmocka_unit_test(workers_that_learn_of_each_other_late_ask_and_learn_all_the_same),
        cmocka_unit_test(a_batch_that_does_not_see_its_own_picks_is_a_worse_design),
        cmocka_unit_test(completions_carry_what_the_rule_needs),
        cmocka_unit_test(ids_lead_back_to_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
