#include "sel_world.h"

static void the_score_is_the_drop_of_the_trace(void **state)
{
    (void)state;
    struct world world = world_new(41, D);
    world_open(&world);
    for (int pick = 0; pick < 12; pick++) {
        struct sel_choice choice;
        assert_true(sel_picker_best(world.picker, &choice));
        double before = sel_information_trace(world.information, world.policy);
        assert_int_equal(sel_picker_take(world.picker, &choice, 1), SEL_OK);
        double after = sel_information_trace(world.information, world.policy);
        fixture_close(before - after, choice.score, 1e-9);
        assert_true(after < before);
    }
    world_free(&world);
}

/* The best over all pools is the best of a walk through every allowed pair. */
static void the_best_is_the_first_of_the_highest(void **state)
{
    (void)state;
    struct world world = world_new(42, D);
    world_open(&world);
    for (int pick = 0; pick < 20; pick++) {
        struct sel_choice best;
        struct sel_choice seen = {.score = -1};
        assert_true(sel_picker_best(world.picker, &best));
        for (size_t pool = 0; pool < POOLS; pool++) {
            struct sel_choice local = {.score = -1};
            struct sel_choice found;
            for (size_t k = 0; sel_picker_pair(world.picker, pool, k, &found); k++)
                if (found.score > local.score)
                    local = found;
            assert_true(sel_picker_best_of(world.picker, pool, &found));
            assert_int_equal(found.i, local.i);
            assert_int_equal(found.j, local.j);
            assert_true(found.score == local.score);
            if (local.score > seen.score)
                seen = local;
        }
        assert_int_equal(best.pool, seen.pool);
        assert_int_equal(best.i, seen.i);
        assert_int_equal(best.j, seen.j);
        assert_int_equal(sel_picker_take(world.picker, &best, 1), SEL_OK);
    }
    world_free(&world);
}

/* After picks of which only a share is expected, q and r are those of pools opened anew. */
static void expect_fresh_quadratics(struct world *world)
{
    struct sel_picker_options options = options_of(world->d, POOLS, N);
    struct sel_picker *fresh = sel_picker_new(&options);
    assert_int_equal(sel_picker_begin(fresh, world->information, world->policy, world->psi, 0),
                     SEL_OK);
    for (size_t pool = 0; pool < POOLS; pool++) {
        size_t number;
        assert_int_equal(sel_picker_open(fresh, world->phi[pool], N, NULL, &number), SEL_OK);
        size_t seen = 0;
        struct sel_choice old;
        struct sel_choice new;
        for (size_t k = 0; sel_picker_pair(fresh, pool, k, &new); k++) {
            if (!sel_picker_pair(world->picker, pool, seen, &old) || old.i != new.i ||
                old.j != new.j)
                continue; /* picked already */
            seen++;
            fixture_close(old.pair.variance, new.pair.variance, 1e-10);
            fixture_close(old.pair.policy, new.pair.policy, 1e-10);
            fixture_close(old.pair.margin, new.pair.margin, 1e-12);
        }
        assert_int_equal(seen, sel_picker_allowed(world->picker, pool));
    }
    sel_picker_free(fresh);
}

static void every_pool_follows_every_pick(void **state)
{
    (void)state;
    const double shares[] = {1, .5, .25, 0, 1, .9};
    struct world world = world_new(43, D);
    world_open(&world);
    for (size_t k = 0; k < sizeof shares / sizeof shares[0]; k++) {
        struct sel_choice choice;
        assert_true(sel_picker_best_of(world.picker, k % POOLS, &choice));
        assert_int_equal(sel_picker_take(world.picker, &choice, shares[k]), SEL_OK);
    }
    assert_int_equal(sel_picker_allowed(world.picker, 0), PAIRS - 2);
    expect_fresh_quadratics(&world);
    world_free(&world);
}

static void sigma_gains_the_share_of_the_weight(void **state)
{
    (void)state;
    struct world world = world_new(44, D);
    world_open(&world);
    struct sel_choice choice;
    assert_true(sel_picker_best(world.picker, &choice));
    double before = sel_information_sigma(world.information)[0];
    assert_int_equal(sel_picker_take(world.picker, &choice, .3), SEL_OK);
    const float *phi = world.phi[choice.pool];
    double x = (double)phi[choice.i * D] - (double)phi[choice.j * D];
    fixture_close(sel_information_sigma(world.information)[0],
                  before + .3 * choice.pair.weight * x * x, 1e-13);
    world_free(&world);
}

/* Weights are frozen when the pool is opened, by the formula of the options. */
static void weights_follow_the_options_and_stay(void **state)
{
    (void)state;
    for (int probit = 0; probit < 2; probit++) {
        struct world world = world_new(45, D);
        struct sel_picker_options options = options_of(D, 1, N);
        options.weighting = probit ? SEL_WEIGHT_PROBIT : SEL_WEIGHT_PLUG;
        options.weight_min = .02;
        struct sel_picker *picker = sel_picker_new(&options);
        double weights[PAIRS];
        size_t pool;
        struct sel_choice choice;
        assert_int_equal(sel_picker_begin(picker, world.information, world.policy, world.psi, .1),
                         SEL_OK);
        assert_int_equal(sel_picker_open(picker, world.phi[0], N, NULL, &pool), SEL_OK);
        for (size_t k = 0; sel_picker_pair(picker, 0, k, &choice); k++) {
            double margin = 0;
            for (size_t l = 0; l < D; l++)
                margin += world.psi[l] * ((double)world.phi[0][choice.i * D + l] -
                                          (double)world.phi[0][choice.j * D + l]);
            double kappa = probit ? 1 / sqrt(1 + M_PI * choice.pair.variance / 8) : 1;
            fixture_close(choice.pair.margin, margin, 1e-10);
            fixture_close(choice.pair.weight,
                          fmax(.02, kappa * sel_weight_lapse(kappa * margin, .1)), 1e-10);
            weights[k] = choice.pair.weight;
        }
        assert_true(sel_picker_pair(picker, 0, 0, &choice));
        assert_int_equal(sel_picker_take(picker, &choice, 1), SEL_OK);
        for (size_t k = 0; sel_picker_pair(picker, 0, k, &choice); k++)
            assert_true(choice.pair.weight == weights[k + 1]);
        sel_picker_free(picker);
        world_free(&world);
    }
}

/* Rows 0 1 0 1 0 1 0: twelve pairs tell the same, and tie exactly however BLAS rounds. */
static void expect_no_duplicates(size_t d)
{
    struct world world = world_new(48, d);
    for (size_t row = 2; row < N; row++)
        memcpy(world.phi[0] + row * d, world.phi[0] + row % 2 * d, d * sizeof(float));
    world_begin(&world, 0);
    size_t pool;
    assert_int_equal(sel_picker_open(world.picker, world.phi[0], N, NULL, &pool), SEL_OK);
    assert_int_equal(sel_picker_allowed(world.picker, 0), 12);
    struct sel_choice choice;
    size_t last = 0;
    size_t picks = 0;
    for (; sel_picker_best(world.picker, &choice); picks++) {
        assert_int_not_equal(choice.i % 2, choice.j % 2);
        assert_true(choice.i * N + choice.j > last);
        last = choice.i * N + choice.j;
        assert_int_equal(sel_picker_take(world.picker, &choice, 1), SEL_OK);
    }
    assert_int_equal(picks, 12);
    assert_false(sel_picker_pair(world.picker, 0, 0, &choice));
    world_free(&world);
}

static void duplicates_are_never_picked(void **state)
{
    (void)state;
    for (size_t d = 1; d <= 70; d += 23)
        expect_no_duplicates(d);
}

/* 1024 pairs of a large pool tell the same. */
static void the_first_of_many_equal_pairs_is_the_best(void **state)
{
    (void)state;
    enum { ROWS = 64 };
    struct world world = world_new(58, D);
    struct sel_picker_options options = options_of(D, 1, ROWS);
    struct sel_picker *picker = sel_picker_new(&options);
    float phi[ROWS * D];
    size_t pool;
    struct sel_choice choice;
    for (size_t row = 0; row < ROWS; row++)
        memcpy(phi + row * D, world.phi[0] + row % 2 * D, D * sizeof(float));
    assert_int_equal(sel_picker_begin(picker, world.information, world.policy, world.psi, 0),
                     SEL_OK);
    assert_int_equal(sel_picker_open(picker, phi, ROWS, NULL, &pool), SEL_OK);
    assert_int_equal(sel_picker_allowed(picker, 0), ROWS * ROWS / 4);
    assert_true(sel_picker_best(picker, &choice));
    assert_true(choice.i == 0 && choice.j == 1);
    sel_picker_free(picker);
    world_free(&world);
}

static void a_pool_of_copies_offers_nothing(void **state)
{
    (void)state;
    struct world world = world_new(49, D);
    for (size_t row = 1; row < N; row++)
        memcpy(world.phi[0] + row * D, world.phi[0], D * sizeof(float));
    world_begin(&world, 0);
    size_t pool;
    struct sel_choice choice;
    assert_int_equal(sel_picker_open(world.picker, world.phi[0], N, NULL, &pool), SEL_OK);
    assert_int_equal(sel_picker_allowed(world.picker, 0), 0);
    assert_false(sel_picker_best(world.picker, &choice));
    assert_false(sel_picker_best_of(world.picker, 0, &choice));
    world_free(&world);
}

/* -0 and 0 differ bytewise, but nothing lies between them. */
static void a_pair_without_information_is_not_allowed(void **state)
{
    (void)state;
    const float phi[6] = {0, 1, -0.f, 1, 3, 1};
    struct sel_information *information = sel_information_new(2);
    const double policy[4] = {1, 0, 0, 1};
    const double psi[2] = {0, 0};
    struct sel_picker_options options = options_of(2, 1, 3);
    struct sel_picker *picker = sel_picker_new(&options);
    size_t pool;
    struct sel_choice choice;
    assert_int_equal(sel_picker_begin(picker, information, policy, psi, 0), SEL_OK);
    assert_int_equal(sel_picker_open(picker, phi, 3, NULL, &pool), SEL_OK);
    assert_int_equal(sel_picker_allowed(picker, 0), 2);
    assert_true(sel_picker_pair(picker, 0, 0, &choice));
    assert_true(choice.i == 0 && choice.j == 2);
    sel_picker_free(picker);
    sel_information_free(information);
}

static void ties_go_to_the_lowest_pool_and_pair(void **state)
{
    (void)state;
    struct world world = world_new(50, D);
    memcpy(world.phi[1], world.phi[0], N * D * sizeof(float));
    memcpy(world.phi[2], world.phi[0], N * D * sizeof(float));
    world_open(&world);
    struct sel_choice first;
    struct sel_choice second;
    assert_true(sel_picker_best(world.picker, &first));
    assert_int_equal(first.pool, 0);
    assert_true(sel_picker_best_of(world.picker, 2, &second));
    assert_true(first.score == second.score && first.i == second.i && first.j == second.j);
    world_free(&world);
}

static void forbidden_pairs_are_left_out(void **state)
{
    (void)state;
    uint8_t forbidden[(PAIRS + 7) / 8] = {0};
    struct world world = world_new(51, D);
    world_begin(&world, 0);
    forbidden[0] = 1 << 0 | 1 << 7; /* (0,1), (1,3) */
    forbidden[1] = 1 << 3;          /* pair 11: (2,3) */
    forbidden[2] = 1 << 4;          /* pair 20: (5,6) */
    size_t pool;
    assert_int_equal(sel_picker_open(world.picker, world.phi[0], N, forbidden, &pool), SEL_OK);
    assert_int_equal(sel_picker_allowed(world.picker, 0), PAIRS - 4);
    struct sel_choice choice;
    size_t last = 0;
    for (size_t k = 0; sel_picker_pair(world.picker, 0, k, &choice); k++) {
        assert_true(choice.i < choice.j && choice.j < N);
        assert_true(k == 0 || choice.i * N + choice.j > last);
        last = choice.i * N + choice.j;
        assert_false(choice.i == 0 && choice.j == 1);
        assert_false(choice.i == 1 && choice.j == 3);
        assert_false(choice.i == 2 && choice.j == 3);
        assert_false(choice.i == 5 && choice.j == 6);
    }
    choice.i = 1;
    choice.j = 3;
    assert_int_equal(sel_picker_take(world.picker, &choice, 1), SEL_INVALID);
    world_free(&world);
}

/* Golden `d4_n5_plug`, its features rounded to float32. */
static void the_golden_picks_come_out(void **state)
{
    (void)state;
    static const float phi[20] = {
        -1.3971495012149104f,  -1.6385416592662119f,  -2.300279460889581f,   -1.5808754541817795f,
        -1.4024556015818352f,  0.014217264715669992f, -0.20723539989717105f, -0.42126689587560356f,
        0.229648424980955f,    0.42547770330491896f,  0.07458274053405159f,  1.1319360664904148f,
        -0.38469046086423864f, -0.23704698536564842f, 0.09997883585067734f,  1.1889272079780224f,
        -0.11535811952013411f, -0.09204786117722157f, -0.6582176630080487f,  1.7046568896923333f,
    };
    static const double psi[4] = {-0.5394509439740565, 0.6706218698334089, 0.2859039616613203,
                                  -0.3751221390336562};
    static const double policy[16] = {
        0.5925990753081276,   -0.1824164067704262,  -0.40006870859948457, -0.006046680375092542,
        -0.1824164067704262,  0.12133974405400151,  0.18387689211216468,  0.007698718330674164,
        -0.40006870859948457, 0.18387689211216468,  0.43157352482401334,  0.07306139276848816,
        -0.00604668037509254, 0.007698718330674163, 0.07306139276848816,  0.31322520088086286,
    };
    static const float x[12][4] = {
        {0.19935412328776697f, -1.2791212978691564f, -1.2488064847376805f, -0.8877940161965066f},
        {1.1984122335112293f, -1.0302393310860694f, -0.13879194082835847f, -1.0952538501281728f},
        {0.9922448614052573f, 0.3698561534099829f, 0.10719740774830655f, 0.3478883858354931f},
        {-1.0047090363690803f, -1.6486654978269064f, 0.4148696307499323f, 0.09060644840326386f},
        {1.4184947571623934f, 1.2600192844204574f, 0.6173774040891966f, -0.2632328670531242f},
        {0.8870496337292086f, 1.9590829093172821f, -1.0478965328316352f, 1.635970726887552f},
        {1.0855455596279038f, 0.5488297049316498f, 1.1601042501180152f, -0.9935154375782839f},
        {-0.42912827642161033f, 0.9783096580327347f, 0.7658341609488304f, -0.8526651439255978f},
        {-0.204771104354157f, 0.4463801042586971f, -1.8911952394162854f, 0.7691207799698797f},
        {0.28200385984692766f, -0.4404804830563392f, 1.361721124289949f, -0.7604796477997509f},
        {-0.8092037918151325f, -0.7616597856902991f, -1.5650979667653404f, 0.860397443417127f},
        {1.0103875380379101f, -0.3946323942226468f, -0.1388602003476156f, 0.7606277594522853f},
    };
    static const double w[12] = {0.08346812588020354, 0.030604665974071618, 0.2184656338323368,
                                 0.1659294573600737,  0.12814121024867398,  0.02067230609876452,
                                 0.03437697112831377, 0.06983377584097303,  0.15998169820958638,
                                 0.14649537459478734, 0.08323441427337105,  0.03561317398196255};
    static const double lambda[4] = {.1, .1, .1, .1};
    static const struct {
        size_t i;
        size_t j;
        double score;
        double trace;
    } expected[4] = {{0, 1, 0.8565832435673835, 1.8229072356042288},
                     {1, 2, 0.6201192596902403, 1.2027879759139883},
                     {0, 3, 0.1968614171637221, 1.0059265587502662},
                     {1, 4, 0.1441656985462379, 0.8617608602040282}};
    struct sel_picker_options options = options_of(4, 1, 5);
    options.weighting = SEL_WEIGHT_PLUG;
    options.weight_min = .01;
    struct sel_picker *picker = sel_picker_new(&options);
    struct sel_information *information = sel_information_new(4);
    size_t pool;
    assert_int_equal(sel_information_reset(information, lambda), SEL_OK);
    for (size_t k = 0; k < 12; k++)
        assert_int_equal(sel_information_add(information, x[k], w[k]), SEL_OK);
    fixture_close(sel_information_trace(information, policy), 2.679490479171612, 1e-6);
    assert_int_equal(sel_picker_begin(picker, information, policy, psi, 0), SEL_OK);
    assert_int_equal(sel_picker_open(picker, phi, 5, NULL, &pool), SEL_OK);
    for (size_t k = 0; k < 4; k++) {
        struct sel_choice choice;
        assert_true(sel_picker_best(picker, &choice));
        assert_int_equal(choice.i, expected[k].i);
        assert_int_equal(choice.j, expected[k].j);
        fixture_close(choice.score, expected[k].score, 1e-6);
        assert_int_equal(sel_picker_take(picker, &choice, 1), SEL_OK);
        fixture_close(sel_information_trace(information, policy), expected[k].trace, 1e-6);
    }
    sel_information_free(information);
    sel_picker_free(picker);
}

static void the_smallest_pool_works(void **state)
{
    (void)state;
    const float phi[2] = {1, 3};
    const double one[1] = {1};
    const double psi[1] = {0};
    struct sel_information *information = sel_information_new(1);
    struct sel_picker_options options = options_of(1, 1, 2);
    options.weighting = SEL_WEIGHT_PLUG;
    struct sel_picker *picker = sel_picker_new(&options);
    size_t pool;
    struct sel_choice choice;
    assert_int_equal(sel_picker_begin(picker, information, one, psi, 0), SEL_OK);
    assert_int_equal(sel_picker_open(picker, phi, 2, NULL, &pool), SEL_OK);
    assert_true(sel_picker_best(picker, &choice));
    fixture_close(choice.score, .25 * 4 / (1 + .25 * 4), 1e-14);
    assert_int_equal(sel_picker_take(picker, &choice, 1), SEL_OK);
    fixture_close(sel_information_inverse(information)[0], .5, 1e-14);
    assert_false(sel_picker_best(picker, &choice));
    sel_picker_free(picker);
    sel_information_free(information);
}

static void a_uniform_picker_counts_pairs_only(void **state)
{
    (void)state;
    struct world world = world_new(55, D);
    struct sel_picker_options options = options_of(D, 1, N);
    options.rule = sel_rule_find("uniform");
    struct sel_picker *picker = sel_picker_new(&options);
    size_t pool;
    struct sel_choice choice;
    assert_int_equal(sel_picker_begin(picker, world.information, world.policy, world.psi, 0),
                     SEL_OK);
    assert_int_equal(sel_picker_open(picker, world.phi[0], N, NULL, &pool), SEL_OK);
    assert_true(sel_picker_pair(picker, 0, PAIRS - 1, &choice));
    assert_true(choice.i == N - 2 && choice.j == N - 1 && choice.score == 0);
    assert_int_equal(sel_picker_take(picker, &choice, 1), SEL_OK);
    assert_int_equal(sel_picker_allowed(picker, 0), PAIRS - 1);
    assert_false(sel_picker_pair(picker, 0, PAIRS - 1, &choice));
    sel_picker_free(picker);
    world_free(&world);
}

static void bad_arguments_change_nothing(void **state)
{
    (void)state;
    struct world world = world_new(56, D);
    size_t pool = 99;
    struct sel_choice choice;
    assert_int_equal(sel_picker_open(world.picker, world.phi[0], N, NULL, &pool), SEL_INVALID);
    assert_int_equal(sel_picker_begin(world.picker, world.information, world.policy, world.psi, 1),
                     SEL_INVALID);
    world_begin(&world, 0);
    assert_int_equal(sel_picker_open(world.picker, world.phi[0], 1, NULL, &pool), SEL_INVALID);
    assert_int_equal(sel_picker_open(world.picker, world.phi[0], N + 1, NULL, &pool), SEL_INVALID);
    world.phi[1][3] = NAN;
    assert_int_equal(sel_picker_open(world.picker, world.phi[1], N, NULL, &pool), SEL_INVALID);
    world.phi[1][3] = INFINITY;
    assert_int_equal(sel_picker_open(world.picker, world.phi[1], N, NULL, &pool), SEL_INVALID);
    assert_int_equal(pool, 99);
    for (size_t k = 0; k < POOLS; k++)
        assert_int_equal(sel_picker_open(world.picker, world.phi[0], N, NULL, &pool), SEL_OK);
    assert_int_equal(sel_picker_open(world.picker, world.phi[0], N, NULL, &pool), SEL_NO_MEMORY);

    assert_true(sel_picker_best(world.picker, &choice));
    struct sel_choice wrong = choice;
    double trace = sel_information_trace(world.information, world.policy);
    assert_int_equal(sel_picker_take(world.picker, &choice, 1.5), SEL_INVALID);
    assert_int_equal(sel_picker_take(world.picker, &choice, NAN), SEL_INVALID);
    wrong.pool = POOLS;
    assert_int_equal(sel_picker_take(world.picker, &wrong, 1), SEL_INVALID);
    wrong = choice;
    wrong.j = wrong.i;
    assert_int_equal(sel_picker_take(world.picker, &wrong, 1), SEL_INVALID);
    wrong.j = N;
    assert_int_equal(sel_picker_take(world.picker, &wrong, 1), SEL_INVALID);
    assert_true(sel_information_trace(world.information, world.policy) == trace);
    assert_int_equal(sel_picker_take(world.picker, &choice, 1), SEL_OK);
    assert_int_equal(sel_picker_take(world.picker, &choice, 1), SEL_INVALID);
    world_free(&world);
}

static void its_bytes_are_known_beforehand(void **state)
{
    (void)state;
    struct sel_picker_options options = options_of(64, 10, 16);
    size_t ten = sel_picker_bytes(&options);
    options.pools_max = 20;
    size_t twenty = sel_picker_bytes(&options);
    size_t a_pool = 16 * 64 * sizeof(float) + 2 * 16 * 16 * sizeof(double);
    assert_true(twenty - ten >= 10 * a_pool && twenty - ten < 20 * a_pool);
    options.pools_max = SIZE_MAX / 2;
    assert_int_equal(sel_picker_bytes(&options), 0);
    assert_null(sel_picker_new(&options));
    options.pools_max = 1;
    options.n_max = 1;
    assert_null(sel_picker_new(&options));
    options.n_max = 2;
    options.rule = NULL;
    assert_null(sel_picker_new(&options));
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_score_is_the_drop_of_the_trace),
        cmocka_unit_test(the_best_is_the_first_of_the_highest),
        cmocka_unit_test(every_pool_follows_every_pick),
        cmocka_unit_test(sigma_gains_the_share_of_the_weight),
        cmocka_unit_test(weights_follow_the_options_and_stay),
        cmocka_unit_test(duplicates_are_never_picked),
        cmocka_unit_test(the_first_of_many_equal_pairs_is_the_best),
        cmocka_unit_test(a_pool_of_copies_offers_nothing),
        cmocka_unit_test(a_pair_without_information_is_not_allowed),
        cmocka_unit_test(ties_go_to_the_lowest_pool_and_pair),
        cmocka_unit_test(forbidden_pairs_are_left_out),
        cmocka_unit_test(the_golden_picks_come_out),
        cmocka_unit_test(the_smallest_pool_works),
        cmocka_unit_test(a_uniform_picker_counts_pairs_only),
        cmocka_unit_test(bad_arguments_change_nothing),
        cmocka_unit_test(its_bytes_are_known_beforehand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
