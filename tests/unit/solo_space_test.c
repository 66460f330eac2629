/* A world whose feature space moves while an engine asks: the same rewards in other axes, and
 * labels that come along. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "worker/solo.h"
#include "worker/solo_space.h"

enum { D = 5, PROMPTS = 30, COMPLETIONS = 12, LABELS = 300 };

static void check(bool done, const struct error *error)
{
    if (!done)
        fail_msg("%s", error->message);
}

/* ---- the axes ---- */

static void a_move_turns_features_and_keeps_rewards(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(3, 1);
    struct solo_space space;
    double phi[D], psi[D], of_world[D];
    float features[D];
    assert_true(solo_space_init(&space, D, true, sel_random_init(3, 2)));
    assert_string_equal(space.name, "world");
    for (size_t k = 0; k < D; k++) {
        phi[k] = sel_random_normal(&random);
        psi[k] = sel_random_normal(&random);
    }
    for (size_t move = 0; move < 30; move++) {
        double length = 0, moved = 0, reward = 0, reward_here = 0, before[D];
        solo_space_features(&space, phi, features);
        for (size_t k = 0; k < D; k++)
            before[k] = (double)features[k];
        solo_space_move(&space, .6);
        solo_space_features(&space, phi, features);
        solo_space_psi(&space, psi, of_world);
        for (size_t k = 0; k < D; k++) {
            length += (double)features[k] * (double)features[k] - phi[k] * phi[k];
            moved += pow((double)features[k] - before[k], 2);
            reward += of_world[k] * phi[k];
            reward_here += psi[k] * (double)features[k];
        }
        assert_true(fabs(length) < 1e-5 && fabs(reward - reward_here) < 1e-5);
        assert_true(moved > .2);
    }
    assert_string_equal(space.name, "world-30");
    solo_space_fini(&space);
}

/* ---- through the engine ---- */

static struct solo_result run(const struct world *world, const struct solo_plan *plan)
{
    struct error error = {ERROR_NONE, ""};
    const char *const sets[] = {"policy.beta=0.5",
                                "budget.per_second=100",
                                plan->pool == 0 ? "pool.size=12" : "pool.size=6",
                                plan->pool == 0 ? "pool.max=12" : "pool.max=6",
                                plan->pool == 0 ? "pool.age=365d" : "pool.age=1s",
                                "pool.wait=1s",
                                "features.scale=1",
                                "moments.interval=1s",
                                "control.share=0",
                                "fit.every=1",
                                "fit.lambda=1",
                                "labels.lapse=0",
                                NULL};
    const struct options_input input = {.no_default_file = true, .sets = sets};
    struct solo_result result = {0};
    struct options *options = options_new();
    assert_non_null(options);
    check(options_load(options, &input, &error), &error);
    check(solo_run(world, options, plan, &result, &error), &error);
    assert_int_equal(result.count, LABELS);
    options_free(options);
    return result;
}

static struct solo_plan plan_of(double drift)
{
    return (struct solo_plan){.labels = LABELS,
                              .pool = 6,
                              .pools_per_round = 20,
                              .pairs_per_round = 20,
                              .partitions = 1,
                              .drift = drift,
                              .drift_rounds = 4,
                              .seed = 7};
}

/* How far the engine's last psi lies from the fit on all labels of the run, in its length. */
static double distance_to_fit(const struct world *world, const struct solo_result *result)
{
    double psi[D] = {0}, length = 0, distance = 0;
    assert_true(world_fit_ridge(world, result->labels, result->count, 1, psi));
    for (size_t k = 0; k < D; k++) {
        length += psi[k] * psi[k];
        distance += pow(psi[k] - result->psi[k], 2);
    }
    return sqrt(distance / length);
}

static void all_labels_come_along(void **state)
{
    (void)state;
    struct world *world = world_new(D, PROMPTS, COMPLETIONS, .5, 5);
    /* The last labels of several workers, or of rounds that do not end with their second, come
     * after the last fit, with and without moves. */
    static const double WITHIN[] = {1e-6, .06, .01, 1e-6, 1e-6};
    struct solo_plan plans[5];
    for (size_t k = 0; k < 5; k++)
        plans[k] = plan_of(.6);
    plans[1].partitions = 4;
    plans[1].workers = 4;
    plans[2].pool = 0; /* whole prompts, which are sent again anyway */
    plans[3].duplicates = .4;
    plans[4].annotators = 2;
    for (size_t k = 0; k < 5; k++) {
        struct solo_result result = run(world, &plans[k]);
        double distance = distance_to_fit(world, &result);
        if (!(distance < WITHIN[k]))
            fail_msg("plan %zu: %g from the fit on all labels", k, distance);
        solo_free(&result);
    }
    world_free(world);
}

static void a_worker_without_them_begins_anew(void **state)
{
    (void)state;
    struct world *world = world_new(D, PROMPTS, COMPLETIONS, .5, 5);
    struct solo_plan plan = plan_of(.6);
    plan.forget = true;
    for (size_t pool = 0; pool <= 6; pool += 6) {
        plan.pool = pool;
        struct solo_result result = run(world, &plan);
        assert_true(distance_to_fit(world, &result) > .05);
        solo_free(&result);
    }
    world_free(world);
}

/* The rule looks at nothing that turning the axes changes, but for I, which begins anew. */
static void a_turned_space_asks_as_good_pairs(void **state)
{
    (void)state;
    struct world *world = world_new(D, PROMPTS, COMPLETIONS, .5, 5);
    struct solo_plan still = plan_of(0), moving = plan_of(.6);
    struct solo_result one = run(world, &still), other = run(world, &moving);
    size_t first = moving.drift_rounds * moving.pairs_per_round;
    for (size_t k = 0; k < first; k++) {
        assert_int_equal(one.labels[k].prompt, other.labels[k].prompt);
        assert_int_equal(one.labels[k].left + one.labels[k].right,
                         other.labels[k].left + other.labels[k].right);
    }
    double ratio =
        world_design(world, other.labels, other.count) / world_design(world, one.labels, one.count);
    if (!(ratio > .9 && ratio < 1.1))
        fail_msg("c is %g times that without moves", ratio);
    solo_free(&one);
    solo_free(&other);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_move_turns_features_and_keeps_rewards),
        cmocka_unit_test(all_labels_come_along),
        cmocka_unit_test(a_worker_without_them_begins_anew),
        cmocka_unit_test(a_turned_space_asks_as_good_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
