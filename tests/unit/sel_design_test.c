#include "sel_fixture.h"

enum { COUNT = 10, WIDTH = 3 };

struct problem {
    double x[COUNT * WIDTH];
    double weight[COUNT];
    double sigma[WIDTH * WIDTH];
    double *policy;
    struct sel_design_problem it;
};

static void problem_fill(struct problem *problem, uint64_t seed, double mass, double cap)
{
    struct sel_random random = sel_random_init(seed, 0);
    for (size_t k = 0; k < COUNT * WIDTH; k++)
        problem->x[k] = sel_random_normal(&random);
    for (size_t k = 0; k < COUNT; k++)
        problem->weight[k] = .05 + .2 * sel_random_uniform(&random);
    for (size_t k = 0; k < WIDTH * WIDTH; k++)
        problem->sigma[k] = k % (WIDTH + 1) == 0 ? .3 : 0;
    problem->policy = fixture_policy(&random, WIDTH);
    problem->it = (struct sel_design_problem){.count = COUNT,
                                              .d = WIDTH,
                                              .x = problem->x,
                                              .weight = problem->weight,
                                              .sigma = problem->sigma,
                                              .policy = problem->policy,
                                              .mass = mass,
                                              .cap = cap};
}

/* At every stop the gap is proven: it bounds the distance to the best value ever found, and falls
 * to 0; the objective never rises. */
static void the_gap_bounds_the_distance_and_goes_to_zero(void **state)
{
    (void)state;
    const double caps[] = {1, .2, .1};
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct problem problem;
        struct sel_design_result best;
        struct sel_design_result now;
        double p[COUNT];
        problem_fill(&problem, seed, 5, caps[seed % 3]);
        struct sel_design *design = sel_design_new(COUNT, WIDTH);
        assert_int_equal(sel_design_solve(design, &problem.it, 1e-10, 100000, p, &best), SEL_OK);
        double last = INFINITY;
        for (int iterations = 0; iterations < 40; iterations++) {
            enum sel_status status = sel_design_solve(design, &problem.it, 0, iterations, p, &now);
            assert_true(status == SEL_OK || status == SEL_NOT_CONVERGED);
            assert_true(now.gap >= 0);
            assert_true(now.objective - now.gap <= best.objective * (1 + 1e-12));
            assert_true(now.objective <= last * (1 + 1e-12));
            last = now.objective;
        }
        sel_design_free(design);
        free(problem.policy);
    }
}

/* f of every choice of three pairs, against the certificate of one of them. */
static void a_certificate_bounds_every_choice(void **state)
{
    (void)state;
    struct problem problem;
    struct sel_certificate certificate;
    double p[COUNT];
    double least = INFINITY;
    problem_fill(&problem, 20, 1, 1);
    struct sel_design *design = sel_design_new(COUNT, WIDTH);
    size_t chosen[3];
    for (chosen[0] = 0; chosen[0] < COUNT; chosen[0]++)
        for (chosen[1] = chosen[0] + 1; chosen[1] < COUNT; chosen[1]++)
            for (chosen[2] = chosen[1] + 1; chosen[2] < COUNT; chosen[2]++) {
                assert_int_equal(sel_certify(design, &problem.it, chosen, 3, 1e-6, p, &certificate),
                                 SEL_OK);
                least = fmin(least, certificate.objective);
                assert_true(certificate.efficiency <= 1 + 1e-12);
                assert_true(certificate.efficiency_least <= certificate.efficiency);
                fixture_close(certificate.efficiency_least, certificate.efficiency, 2e-6);
                assert_true(certificate.bound > 0);
            }
    assert_true(certificate.bound <= least); /* the same bound for all of them */
    chosen[0] = chosen[1] = 2;
    assert_int_equal(sel_certify(design, &problem.it, chosen, 2, 1e-6, p, &certificate),
                     SEL_INVALID);
    assert_int_equal(sel_certify(design, &problem.it, chosen, 0, 1e-6, p, &certificate),
                     SEL_INVALID);
    sel_design_free(design);
    free(problem.policy);
}

/* Gauss and Jordan; a is overwritten. */
static void invert(double *a, double *inverse, size_t d)
{
    for (size_t k = 0; k < d * d; k++)
        inverse[k] = k % (d + 1) == 0;
    for (size_t i = 0; i < d; i++) {
        double pivot = a[i * d + i];
        for (size_t k = 0; k < d; k++) {
            a[i * d + k] /= pivot;
            inverse[i * d + k] /= pivot;
        }
        for (size_t j = 0; j < d; j++) {
            double factor = j == i ? 0 : a[j * d + i];
            for (size_t k = 0; k < d; k++) {
                a[j * d + k] -= factor * a[i * d + k];
                inverse[j * d + k] -= factor * inverse[i * d + k];
            }
        }
    }
}

/* x' A x */
static double form(const double *a, const double *x, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            sum += x[i] * a[i * d + j] * x[j];
    return sum;
}

/* The gap by its definition over all pairs, from M inverted anew. */
static double plain_gap(const struct sel_design_problem *problem, const double *p,
                        double *objective)
{
    size_t d = problem->d;
    double *m = fixture_room(d * d, sizeof *m);
    double *half = fixture_room(d * d, sizeof *half);
    double *square = fixture_room(d * d, sizeof *square);
    memcpy(m, problem->sigma, d * d * sizeof *m);
    for (size_t k = 0; k < problem->count; k++)
        for (size_t i = 0; i < d * d; i++)
            m[i] += problem->mass * p[k] * problem->weight[k] * problem->x[k * d + i / d] *
                    problem->x[k * d + i % d];
    invert(m, half, d);
    fixture_multiply(half, problem->policy, m, d);
    fixture_multiply(m, half, square, d);
    *objective = 0;
    for (size_t i = 0; i < d; i++)
        *objective += m[i * d + i];
    double here = 0;
    double *slope = fixture_room(problem->count, sizeof *slope);
    for (size_t k = 0; k < problem->count; k++) {
        slope[k] = problem->mass * problem->weight[k] * form(square, problem->x + k * d, d);
        here += p[k] * slope[k];
    }
    size_t groups = problem->group == NULL ? 1 : problem->groups;
    double most = 0;
    for (size_t g = 0; g < groups; g++)
        for (double left = 1 / (double)groups; left > 1e-15; left -= fmin(left, problem->cap)) {
            size_t first = problem->count;
            for (size_t k = 0; k < problem->count; k++)
                if ((problem->group == NULL || problem->group[k] == g) &&
                    (first == problem->count || slope[k] > slope[first]))
                    first = k;
            most += fmin(left, problem->cap) * slope[first];
            slope[first] = -1;
        }
    free(m);
    free(half);
    free(square);
    free(slope);
    return most - here;
}

/* Most pairs of a long list never come into play; the gap is over all of them. */
static void a_long_list_is_solved_over_all_its_pairs(void **state)
{
    (void)state;
    enum { LONG = 1500, D = 6 };
    static const double caps[] = {1, .02, 1. / LONG};
    for (size_t c = 0; c < 3; c++) {
        struct sel_random random = sel_random_init(50 + c, 0);
        double *x = fixture_normals(&random, LONG * D);
        double *weight = fixture_room(LONG, sizeof *weight);
        double *policy = fixture_policy(&random, D);
        double sigma[D * D] = {0};
        double *p = fixture_room(LONG, sizeof *p);
        for (size_t k = 0; k < LONG; k++)
            weight[k] = .25 * sel_random_uniform(&random);
        for (size_t k = 0; k < D; k++)
            sigma[k * D + k] = .1;
        struct sel_design_problem problem = {.count = LONG,
                                             .d = D,
                                             .x = x,
                                             .weight = weight,
                                             .sigma = sigma,
                                             .policy = policy,
                                             .mass = 50,
                                             .cap = caps[c]};
        struct sel_design *design = sel_design_new(LONG, D);
        struct sel_design_result result;
        assert_int_equal(sel_design_solve(design, &problem, 1e-6, 100000, p, &result), SEL_OK);
        double sum = 0;
        double objective = 0;
        for (size_t k = 0; k < LONG; k++) {
            assert_true(p[k] >= 0 && p[k] <= caps[c] * (1 + 1e-12));
            sum += p[k];
        }
        fixture_close(sum, 1, 1e-12);
        double gap = plain_gap(&problem, p, &objective);
        fixture_close(result.objective, objective, 1e-10);
        fixture_below(fabs(gap - result.gap), 1e-10 * objective);
        fixture_below(result.gap, 1e-6 * objective);
        sel_design_free(design);
        free(x);
        free(weight);
        free(policy);
        free(p);
    }
}

/* Each group has its share, and the gap is that over the designs that leave it so. */
static void groups_keep_their_shares(void **state)
{
    (void)state;
    enum { LONG = 600, D = 4, GROUPS = 12 };
    static const double caps[] = {1, .01};
    for (size_t c = 0; c < 2; c++) {
        struct sel_random random = sel_random_init(60 + c, 0);
        double *x = fixture_normals(&random, LONG * D);
        double *policy = fixture_policy(&random, D);
        double weight[LONG];
        double sigma[D * D] = {0};
        double p[LONG];
        size_t group[LONG];
        double sum[GROUPS] = {0};
        for (size_t k = 0; k < LONG; k++) {
            weight[k] = .25 * sel_random_uniform(&random);
            group[k] = k < GROUPS ? k : (size_t)sel_random_below(&random, GROUPS);
            for (size_t l = 0; l < D; l++) /* alone, some groups would have all the weight */
                x[k * D + l] *= 1 + (double)group[k];
        }
        for (size_t k = 0; k < D; k++)
            sigma[k * D + k] = .1;
        struct sel_design_problem problem = {.count = LONG,
                                             .d = D,
                                             .x = x,
                                             .weight = weight,
                                             .sigma = sigma,
                                             .policy = policy,
                                             .mass = 50,
                                             .cap = caps[c],
                                             .group = group,
                                             .groups = GROUPS};
        struct sel_design *design = sel_design_new(LONG, D);
        struct sel_design_result result;
        struct sel_design_result again;
        double objective = 0;
        assert_int_equal(sel_design_solve(design, &problem, 1e-6, 100000, p, &result), SEL_OK);
        for (size_t k = 0; k < LONG; k++) {
            assert_true(p[k] >= 0 && p[k] <= caps[c] * (1 + 1e-12));
            sum[group[k]] += p[k];
        }
        for (size_t g = 0; g < GROUPS; g++)
            fixture_close(sum[g], 1. / GROUPS, 1e-12);
        double gap = plain_gap(&problem, p, &objective);
        fixture_close(result.objective, objective, 1e-10);
        fixture_below(fabs(gap - result.gap), 1e-10 * objective);
        fixture_below(result.gap, 1e-6 * objective);
        assert_int_equal(sel_design_evaluate(design, &problem, p, &again), SEL_OK);
        fixture_close(again.objective, objective, 1e-10);
        problem.group = NULL; /* whoever need not share does better */
        problem.groups = 0;
        assert_int_equal(sel_design_solve(design, &problem, 1e-6, 100000, p, &again), SEL_OK);
        assert_true(again.objective < result.objective);
        sel_design_free(design);
        free(x);
        free(policy);
    }
}

/* Two groups of three pairs: no point of a grid is better than what the gap allows. */
static void groups_are_solved_as_by_brute_force(void **state)
{
    (void)state;
    enum { STEPS = 20 };
    const size_t group[6] = {0, 1, 0, 1, 1, 0};
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct problem problem;
        struct sel_design_result result;
        struct sel_design_result at;
        double p[6];
        double best[6];
        double least = INFINITY;
        problem_fill(&problem, 70 + seed, 3, seed % 2 == 0 ? 1 : .3);
        problem.it.count = 6;
        problem.it.group = group;
        problem.it.groups = 2;
        struct sel_design *design = sel_design_new(6, WIDTH);
        for (size_t a = 0; a <= STEPS; a++)
            for (size_t b = 0; a + b <= STEPS; b++)
                for (size_t c = 0; c <= STEPS; c++)
                    for (size_t e = 0; c + e <= STEPS; e++) {
                        const size_t parts[6] = {a, c, b, e, STEPS - c - e, STEPS - a - b};
                        for (size_t k = 0; k < 6; k++)
                            p[k] = (double)parts[k] / STEPS / 2;
                        if (sel_design_evaluate(design, &problem.it, p, &at) == SEL_OK)
                            least = fmin(least, at.objective);
                    }
        assert_int_equal(sel_design_solve(design, &problem.it, 1e-9, 10000, best, &result), SEL_OK);
        assert_true(result.objective <= least * (1 + 1e-12));
        fixture_close(result.objective, least, 2e-2);
        problem.it.groups = 3; /* one of them empty */
        assert_int_equal(sel_design_solve(design, &problem.it, 1e-9, 10000, best, &result),
                         SEL_INVALID);
        problem.it.groups = 1; /* a number beyond them */
        assert_int_equal(sel_design_solve(design, &problem.it, 1e-9, 10000, best, &result),
                         SEL_INVALID);
        problem.it.groups = 2;
        problem.it.cap = .16; /* three pairs of a half together */
        assert_int_equal(sel_design_solve(design, &problem.it, 1e-9, 10000, best, &result),
                         SEL_INVALID);
        sel_design_free(design);
        free(problem.policy);
    }
}

static void inclusion_is_what_systematic_sampling_gives(void **state)
{
    (void)state;
    enum { TRIES = 100000 };
    const double inclusion[] = {.3, 0, 1, .45, .05, .2};
    double seen[6] = {0};
    struct sel_random random = sel_random_init(30, 0);
    for (int k = 0; k < TRIES; k++) {
        size_t chosen[6];
        assert_int_equal(sel_sample_systematic(inclusion, 6, sel_random_uniform(&random), chosen),
                         2);
        assert_true(chosen[0] < chosen[1]);
        seen[chosen[0]] += 1. / TRIES;
        seen[chosen[1]] += 1. / TRIES;
    }
    for (size_t k = 0; k < 6; k++)
        fixture_below(fabs(seen[k] - inclusion[k]), 5 * sqrt(.25 / TRIES));
    assert_true(seen[1] == 0);
    fixture_close(seen[2], 1, 1e-9);
}

static void bad_problems_are_refused(void **state)
{
    (void)state;
    struct problem problem;
    struct sel_design_result result;
    double p[COUNT];
    problem_fill(&problem, 40, 2, .05); /* ten pairs of at most .05 do not sum to 1 */
    struct sel_design *design = sel_design_new(COUNT, WIDTH);
    assert_int_equal(sel_design_solve(design, &problem.it, 1e-6, 100, p, &result), SEL_INVALID);
    problem.it.cap = 1;
    problem.weight[3] = -1;
    assert_int_equal(sel_design_solve(design, &problem.it, 1e-6, 100, p, &result), SEL_INVALID);
    problem.weight[3] = 0;
    problem.x[4] = INFINITY;
    assert_int_equal(sel_design_solve(design, &problem.it, 1e-6, 100, p, &result), SEL_INVALID);
    problem.x[4] = 0;
    problem.sigma[0] = -100;
    assert_int_equal(sel_design_solve(design, &problem.it, 1e-6, 100, p, &result), SEL_SINGULAR);
    problem.it.count = COUNT + 1;
    assert_int_equal(sel_design_solve(design, &problem.it, 1e-6, 100, p, &result), SEL_INVALID);
    assert_null(sel_design_new(0, 3));
    assert_null(sel_design_new(SIZE_MAX / 2, 3));
    sel_design_free(design);
    free(problem.policy);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gap_bounds_the_distance_and_goes_to_zero),
        cmocka_unit_test(a_certificate_bounds_every_choice),
        cmocka_unit_test(a_long_list_is_solved_over_all_its_pairs),
        cmocka_unit_test(groups_keep_their_shares),
        cmocka_unit_test(groups_are_solved_as_by_brute_force),
        cmocka_unit_test(inclusion_is_what_systematic_sampling_gives),
        cmocka_unit_test(bad_problems_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
