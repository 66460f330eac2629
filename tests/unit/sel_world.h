/* A small world for the tests of the picker: three pools before one Sigma. */
#ifndef SEL_WORLD_H
#define SEL_WORLD_H

#include "sel_fixture.h"

enum { D = 6, N = 7, POOLS = 3, PAIRS = N * (N - 1) / 2 };

/* Three pools of seven completions before one Sigma. */
struct world {
    size_t d;
    struct sel_information *information;
    double *policy;
    double *psi;
    float *phi[POOLS];
    struct sel_picker *picker;
};

static inline struct sel_picker_options options_of(size_t d, size_t pools, size_t n)
{
    return (struct sel_picker_options){.d = d,
                                       .pools_max = pools,
                                       .n_max = n,
                                       .rule = sel_rule_find("policy_trace"),
                                       .weighting = SEL_WEIGHT_PROBIT};
}

static inline struct world world_new(uint64_t seed, size_t d)
{
    struct sel_random random = sel_random_init(seed, 0);
    struct sel_picker_options options = options_of(d, POOLS, N);
    struct world world = {.d = d,
                          .information = fixture_information(&random, d, .5, 2 * d),
                          .policy = fixture_policy(&random, d),
                          .psi = fixture_normals(&random, d),
                          .picker = sel_picker_new(&options)};
    assert_non_null(world.picker);
    for (size_t k = 0; k < POOLS; k++)
        world.phi[k] = fixture_features(&random, N * d);
    return world;
}

static inline void world_free(struct world *world)
{
    sel_picker_free(world->picker);
    for (size_t k = 0; k < POOLS; k++)
        free(world->phi[k]);
    free(world->psi);
    free(world->policy);
    sel_information_free(world->information);
}

static inline void world_begin(struct world *world, double lapse)
{
    assert_int_equal(
        sel_picker_begin(world->picker, world->information, world->policy, world->psi, lapse),
        SEL_OK);
}

static inline void world_open(struct world *world)
{
    world_begin(world, 0);
    for (size_t k = 0; k < POOLS; k++) {
        size_t pool;
        assert_int_equal(sel_picker_open(world->picker, world->phi[k], N, NULL, &pool), SEL_OK);
        assert_int_equal(pool, k);
        assert_int_equal(sel_picker_allowed(world->picker, k), PAIRS);
    }
}

#endif
