#include "sel_fixture.h"

struct problem {
    struct sel_information *information;
    double *policy;
    float *phi;
    struct sel_gram gram;
    double *scratch;
    size_t n;
    size_t d;
};

static void problem_open_gram(struct problem *problem, struct sel_gram *gram)
{
    double *policy_inverse = fixture_sandwich(problem->information, problem->policy);
    sel_gram_open(gram, problem->phi, problem->n, problem->d,
                  sel_information_inverse(problem->information), policy_inverse, problem->scratch);
    free(policy_inverse);
}

static struct sel_gram gram_new(size_t n)
{
    return (struct sel_gram){fixture_room(n * n, sizeof(double)),
                             fixture_room(n * n, sizeof(double)), n};
}

static void gram_free(struct sel_gram *gram)
{
    free(gram->g);
    free(gram->h);
}

static struct problem problem_new(struct sel_random *random, size_t n, size_t d)
{
    struct problem problem = {
        .information = fixture_information(random, d, .7, 2 * d),
        .policy = fixture_policy(random, d),
        .phi = fixture_features(random, n * d),
        .gram = gram_new(n),
        .scratch = fixture_room(2 * n * d, sizeof(double)),
        .n = n,
        .d = d,
    };
    problem_open_gram(&problem, &problem.gram);
    return problem;
}

static void problem_free(struct problem *problem)
{
    sel_information_free(problem->information);
    free(problem->policy);
    free(problem->phi);
    free(problem->scratch);
    gram_free(&problem->gram);
}

static void problem_add(struct problem *problem, const float *phi, size_t i, size_t j, double w)
{
    float *x = fixture_room(problem->d, sizeof *x);
    for (size_t k = 0; k < problem->d; k++)
        x[k] = phi[i * problem->d + k] - phi[j * problem->d + k];
    assert_int_equal(sel_information_add(problem->information, x, w), SEL_OK);
    free(x);
}

static void expect_equal(const struct sel_gram *found, const struct sel_gram *expected,
                         double bound)
{
    size_t size = found->n * found->n;
    fixture_below(fixture_distance(found->g, expected->g, size), bound);
    fixture_below(fixture_distance(found->h, expected->h, size), bound);
    for (size_t i = 0; i < found->n; i++)
        for (size_t j = 0; j < found->n; j++) {
            assert_true(found->g[i * found->n + j] == found->g[j * found->n + i]);
            assert_true(found->h[i * found->n + j] == found->h[j * found->n + i]);
        }
}

static void picks_of_the_pool_agree_with_a_new_opening(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(11, 0);
    for (size_t round = 0; round < 30; round++) {
        size_t n = 2 + sel_random_below(&random, 15);
        size_t d = 1 + sel_random_below(&random, 20);
        struct problem problem = problem_new(&random, n, d);
        struct sel_gram expected = gram_new(n);
        for (int pick = 0; pick < 6; pick++) {
            size_t i = sel_random_below(&random, n);
            size_t j = (i + 1 + sel_random_below(&random, n - 1)) % n;
            double w = sel_random_uniform(&random) / 4;
            assert_int_equal(sel_gram_take(&problem.gram, i, j, w), SEL_OK);
            problem_add(&problem, problem.phi, i, j, w);
        }
        problem_open_gram(&problem, &expected);
        expect_equal(&problem.gram, &expected, 1e-10);
        gram_free(&expected);
        problem_free(&problem);
    }
}

static void picks_of_another_pool_agree_with_a_new_opening(void **state)
{
    (void)state;
    const size_t n = 9;
    const size_t d = 17;
    struct sel_random random = sel_random_init(12, 0);
    struct problem problem = problem_new(&random, n, d);
    float *x = fixture_features(&random, d);
    double *policy_inverse = fixture_sandwich(problem.information, problem.policy);
    double *g = fixture_room(n, sizeof *g);
    double *h = fixture_room(n, sizeof *h);
    double q = 0;
    double r = 0;
    const double *inverse = sel_information_inverse(problem.information);
    for (size_t k = 0; k < d; k++)
        for (size_t l = 0; l < d; l++) {
            double u = inverse[k * d + l] * (double)x[l];
            double v = policy_inverse[k * d + l] * (double)x[l];
            q += (double)x[k] * u;
            r += (double)x[k] * v;
            for (size_t i = 0; i < n; i++) {
                g[i] += (double)problem.phi[i * d + k] * u;
                h[i] += (double)problem.phi[i * d + k] * v;
            }
        }
    const double w = .21;
    sel_gram_update(&problem.gram, g, h, w / (1 + w * q), r);
    assert_int_equal(sel_information_add(problem.information, x, w), SEL_OK);
    struct sel_gram expected = gram_new(n);
    problem_open_gram(&problem, &expected);
    expect_equal(&problem.gram, &expected, 1e-10);
    gram_free(&expected);
    free(h);
    free(g);
    free(policy_inverse);
    free(x);
    problem_free(&problem);
}

static void taking_and_removing_returns(void **state)
{
    (void)state;
    const size_t n = 12;
    struct sel_random random = sel_random_init(13, 0);
    struct problem problem = problem_new(&random, n, 8);
    struct sel_gram before = gram_new(n);
    problem_open_gram(&problem, &before);
    for (size_t k = 0; k < 6; k++)
        assert_int_equal(sel_gram_take(&problem.gram, k, k + 6, .25), SEL_OK);
    for (size_t k = 0; k < 6; k++)
        assert_int_equal(sel_gram_take(&problem.gram, k, k + 6, -.25), SEL_OK);
    expect_equal(&problem.gram, &before, 1e-10);
    gram_free(&before);
    problem_free(&problem);
}

static void a_refusal_changes_nothing(void **state)
{
    (void)state;
    const size_t n = 5;
    struct sel_random random = sel_random_init(14, 0);
    struct problem problem = problem_new(&random, n, 4);
    struct sel_gram before = gram_new(n);
    problem_open_gram(&problem, &before);
    double too_much = -1.01 / sel_gram_variance(&problem.gram, 1, 3);
    assert_int_equal(sel_gram_take(&problem.gram, 1, 3, too_much), SEL_REFUSED);
    assert_int_equal(sel_gram_take(&problem.gram, 1, 1, .2), SEL_INVALID);
    assert_int_equal(sel_gram_take(&problem.gram, 1, n, .2), SEL_INVALID);
    assert_int_equal(sel_gram_take(&problem.gram, 1, 2, NAN), SEL_INVALID);
    assert_memory_equal(problem.gram.g, before.g, n * n * sizeof(double));
    assert_memory_equal(problem.gram.h, before.h, n * n * sizeof(double));
    gram_free(&before);
    problem_free(&problem);
}

static void quadratics_are_never_negative(void **state)
{
    (void)state;
    double g[4] = {1, 1 + 1e-15, 1 + 1e-15, 1};
    struct sel_gram gram = {g, g, 2};
    assert_true(sel_gram_variance(&gram, 0, 1) == 0);
    assert_true(sel_gram_policy(&gram, 0, 1) == 0);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_of_the_pool_agree_with_a_new_opening),
        cmocka_unit_test(picks_of_another_pool_agree_with_a_new_opening),
        cmocka_unit_test(taking_and_removing_returns),
        cmocka_unit_test(a_refusal_changes_nothing),
        cmocka_unit_test(quadratics_are_never_negative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
