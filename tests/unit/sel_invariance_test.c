#include "sel_world.h"

/* Rows of pool k go to place order[row]; pools are opened in the order 2, 0, 1. */
static void picks_do_not_depend_on_the_order_of_pools_or_rows(void **state)
{
    (void)state;
    const size_t order[N] = {3, 6, 0, 5, 1, 4, 2};
    const size_t place[POOLS] = {1, 2, 0};
    struct world plain = world_new(46, D);
    struct world moved = world_new(46, D);
    world_open(&plain);
    for (size_t pool = 0; pool < POOLS; pool++)
        for (size_t row = 0; row < N; row++)
            memcpy(moved.phi[place[pool]] + order[row] * D, plain.phi[pool] + row * D,
                   D * sizeof(float));
    world_open(&moved);
    for (int pick = 0; pick < 15; pick++) {
        struct sel_choice a;
        struct sel_choice b;
        assert_true(sel_picker_best(plain.picker, &a));
        assert_true(sel_picker_best(moved.picker, &b));
        assert_int_equal(place[a.pool], b.pool);
        size_t i = order[a.i] < order[a.j] ? order[a.i] : order[a.j];
        size_t j = order[a.i] < order[a.j] ? order[a.j] : order[a.i];
        assert_int_equal(i, b.i);
        assert_int_equal(j, b.j);
        fixture_close(a.score, b.score, 1e-10);
        assert_int_equal(sel_picker_take(plain.picker, &a, 1), SEL_OK);
        assert_int_equal(sel_picker_take(moved.picker, &b, 1), SEL_OK);
    }
    world_free(&plain);
    world_free(&moved);
}

/* Rows become T' phi, with T of powers of two on and above the diagonal: exact in float32. */
static void transform(float *rows, size_t n)
{
    const float scale[D] = {1, 4, .5f, 2, .25f, 1};
    for (size_t i = 0; i < n; i++)
        for (size_t k = D; k-- > 0;) {
            float below = k > 0 ? rows[i * D + k - 1] : 0;
            rows[i * D + k] = scale[k] * (rows[i * D + k] + below);
        }
}

/* Sigma of the pairs alone: a prior of lambda Id would not follow the transformation. */
static struct sel_information *information_of(const float *rows, size_t n)
{
    struct sel_information *information = sel_information_new(D);
    double lambda[D];
    for (size_t k = 0; k < D; k++)
        lambda[k] = 1e-14;
    assert_int_equal(sel_information_reset(information, lambda), SEL_OK);
    for (size_t k = 0; k < n; k++) {
        const float *row = rows + k * D;
        double w = .2;
        assert_int_equal(sel_information_accumulate(information, &row, &w, 1), SEL_OK);
    }
    assert_int_equal(sel_information_factor(information), SEL_OK);
    return information;
}

/* I becomes T' I T. */
static void transform_policy(double *policy)
{
    float t[D * D] = {0}; /* T: row a is the image of the a-th unit vector */
    double left[D * D];
    double transposed[D * D];
    double wide[D * D];
    for (size_t k = 0; k < D; k++)
        t[k * D + k] = 1;
    transform(t, D);
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            wide[i * D + j] = (double)t[i * D + j];
            transposed[j * D + i] = (double)t[i * D + j];
        }
    fixture_multiply(transposed, policy, left, D);
    fixture_multiply(left, wide, policy, D);
}

/* Whether two worlds, of which `turned` has transformed features, give the same picks. */
static bool picks_agree(struct world *plain, struct world *turned)
{
    bool same = true;
    world_open(plain);
    world_open(turned);
    for (int pick = 0; pick < 12; pick++) {
        struct sel_choice a;
        struct sel_choice b;
        assert_true(sel_picker_best(plain->picker, &a));
        assert_true(sel_picker_best(turned->picker, &b));
        same &= a.pool == b.pool && a.i == b.i && a.j == b.j &&
                fabs(a.score - b.score) <= 1e-9 * a.score;
        assert_int_equal(sel_picker_take(plain->picker, &a, 1), SEL_OK);
        assert_int_equal(sel_picker_take(turned->picker, &b, 1), SEL_OK);
    }
    return same;
}

/* `identity`: I = Id on both sides (A-optimality), else I follows the transformation. */
static bool picks_survive_a_transformation(bool identity)
{
    struct sel_random random = sel_random_init(47, 0);
    struct world plain = world_new(47, D);
    struct world turned = world_new(47, D);
    float *list = fixture_features(&random, 3 * D * D);
    sel_information_free(plain.information);
    sel_information_free(turned.information);
    plain.information = information_of(list, 3 * D);
    transform(list, 3 * D);
    turned.information = information_of(list, 3 * D);
    free(list);
    for (size_t k = 0; k < POOLS; k++)
        transform(turned.phi[k], N);
    for (size_t k = 0; identity && k < D * D; k++)
        plain.policy[k] = turned.policy[k] = k % (D + 1) == 0;
    if (!identity)
        transform_policy(turned.policy);
    for (size_t k = 0; k < D; k++)
        plain.psi[k] = turned.psi[k] = 0; /* every margin is 0 on both sides */
    bool same = picks_agree(&plain, &turned);
    world_free(&plain);
    world_free(&turned);
    return same;
}

static void policy_trace_does_not_depend_on_the_coordinates(void **state)
{
    (void)state;
    assert_true(picks_survive_a_transformation(false));
}

/* Negative control. */
static void an_identity_policy_does_depend_on_them(void **state)
{
    (void)state;
    assert_false(picks_survive_a_transformation(true));
}

/* The same pool in units of 1e-30 and 1e15, the prior along with it, gives the same picks. */
static void the_unit_of_the_features_does_not_matter(void **state)
{
    (void)state;
    const float units[] = {0x1p-100f, 0x1p50f};
    for (size_t u = 0; u < 2; u++) {
        struct world plain = world_new(52, D);
        struct world scaled = world_new(52, D);
        double lambda[D];
        for (size_t k = 0; k < D; k++)
            lambda[k] = 1;
        assert_int_equal(sel_information_reset(plain.information, lambda), SEL_OK);
        for (size_t k = 0; k < D; k++) {
            lambda[k] = (double)units[u] * (double)units[u];
            scaled.psi[k] /= (double)units[u];
        }
        assert_int_equal(sel_information_reset(scaled.information, lambda), SEL_OK);
        for (size_t k = 0; k < D * D; k++)
            scaled.policy[k] *= (double)units[u] * (double)units[u];
        for (size_t k = 0; k < POOLS * N * D; k++)
            scaled.phi[k / (N * D)][k % (N * D)] *= units[u];
        world_open(&plain);
        world_open(&scaled);
        for (int pick = 0; pick < 8; pick++) {
            struct sel_choice a;
            struct sel_choice b;
            assert_true(sel_picker_best(plain.picker, &a) && sel_picker_best(scaled.picker, &b));
            assert_true(a.pool == b.pool && a.i == b.i && a.j == b.j);
            fixture_close(b.score, a.score, 1e-9);
            assert_int_equal(sel_picker_take(plain.picker, &a, 1), SEL_OK);
            assert_int_equal(sel_picker_take(scaled.picker, &b, 1), SEL_OK);
        }
        world_free(&plain);
        world_free(&scaled);
    }
}

/* Under a plain prior, tiny and huge features still leave finite scores. */
static void extreme_features_leave_finite_scores(void **state)
{
    (void)state;
    const float sizes[] = {1e-30f, 1e15f};
    for (size_t s = 0; s < 2; s++) {
        struct world world = world_new(53, D);
        for (size_t k = 0; k < POOLS * N * D; k++)
            world.phi[k / (N * D)][k % (N * D)] *= sizes[s];
        world_open(&world);
        for (int pick = 0; pick < 5; pick++) {
            struct sel_choice choice;
            assert_true(sel_picker_best(world.picker, &choice));
            assert_true(isfinite(choice.score) && choice.score >= 0);
            assert_int_equal(sel_picker_take(world.picker, &choice, 1), SEL_OK);
        }
        assert_true(isfinite(sel_information_trace(world.information, world.policy)));
        world_free(&world);
    }
}

static void a_common_offset_changes_nothing(void **state)
{
    (void)state;
    struct world plain = world_new(54, D);
    struct world moved = world_new(54, D);
    for (size_t k = 0; k < POOLS * N * D; k++)
        moved.phi[k / (N * D)][k % (N * D)] += 65536; /* exact: multiples of 1/64 */
    world_open(&plain);
    world_open(&moved);
    for (int pick = 0; pick < 12; pick++) {
        struct sel_choice a;
        struct sel_choice b;
        assert_true(sel_picker_best(plain.picker, &a) && sel_picker_best(moved.picker, &b));
        assert_true(a.pool == b.pool && a.i == b.i && a.j == b.j);
        fixture_close(b.score, a.score, 1e-8);
        assert_int_equal(sel_picker_take(plain.picker, &a, 1), SEL_OK);
        assert_int_equal(sel_picker_take(moved.picker, &b, 1), SEL_OK);
    }
    world_free(&plain);
    world_free(&moved);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_do_not_depend_on_the_order_of_pools_or_rows),
        cmocka_unit_test(policy_trace_does_not_depend_on_the_coordinates),
        cmocka_unit_test(an_identity_policy_does_depend_on_them),
        cmocka_unit_test(the_unit_of_the_features_does_not_matter),
        cmocka_unit_test(extreme_features_leave_finite_scores),
        cmocka_unit_test(a_common_offset_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
