/* Designs and systematic sampling. */
#include "check.h"

#include "selectors/selectors.h"

#include <math.h>
#include <string.h>

/* x of all pairs (0,1), (0,2), ... of n completions. */
static double *pairs_of(struct check *check, const double *phi, size_t n, size_t d)
{
    double *x = check_room(check, n * (n - 1) / 2 * d);
    double *out = x;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            for (size_t k = 0; k < d; k++)
                *out++ = phi[i * d + k] - phi[j * d + k];
    return x;
}

/* M(p) by its definition. */
static double *information_at(struct check *check, const struct sel_design_problem *problem,
                              const double *p)
{
    size_t d = problem->d;
    double *m = check_room(check, d * d);
    memcpy(m, problem->sigma, d * d * sizeof(double));
    for (size_t k = 0; k < problem->count; k++)
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++)
                m[i * d + j] += problem->mass * p[k] * problem->weight[k] * problem->x[k * d + i] *
                                problem->x[k * d + j];
    return m;
}

static void check_feasible(struct check *check, const struct sel_design_problem *problem,
                           const double *p)
{
    double sum = 0;
    for (size_t k = 0; k < problem->count; k++) {
        check_true(check, "0 <= p <= cap", p[k] >= 0 && p[k] <= problem->cap);
        sum += p[k];
    }
    check_close(check, "sum of p", sum, 1, 1e-12, 0);
}

static void run_design(struct check *check, const json_t *item)
{
    const json_t *expect = json_object_get(item, "expect");
    size_t n = (size_t)check_number(check, item, "n");
    size_t d = (size_t)check_number(check, item, "d");
    bool capped = json_is_number(json_object_get(item, "cap"));
    struct sel_design_problem problem = {
        .count = n * (n - 1) / 2,
        .d = d,
        .sigma = check_numbers(check, item, "Sigma0", d * d),
        .policy = check_numbers(check, item, "I", d * d),
        .mass = check_number(check, item, "m"),
        .cap = capped ? check_number(check, item, "cap") : 1,
    };
    problem.x = pairs_of(check, check_numbers(check, item, "Phi", n * d), n, d);
    problem.weight = check_numbers(check, item, "w", problem.count);
    double *p = check_room(check, problem.count);
    struct sel_design_result result;
    struct sel_design *design = sel_design_new(problem.count, d);
    double golden = check_number(check, expect, "f_opt");

    for (size_t k = 0; k < problem.count; k++)
        p[k] = 1 / (double)problem.count;
    check_true(check, "evaluate", sel_design_evaluate(design, &problem, p, &result) == SEL_OK);
    check_close(check, "f_uniform", result.objective, check_number(check, expect, "f_uniform"),
                1e-9, 0);
    check_true(check, "certificate of uniform", result.objective - result.gap <= golden + 1e-9);

    check_true(check, "solve",
               sel_design_solve(design, &problem, 1e-9, 20000, p, &result) == SEL_OK);
    check_close(check, "f_opt", result.objective, golden, 1e-6, 0);
    check_true(check, "certificate",
               result.gap >= 0 && result.objective - result.gap <= golden * (1 + 1e-12));
    check_feasible(check, &problem, p);
    const double *expected = check_numbers(check, expect, "M_opt", d * d);
    const double *found = information_at(check, &problem, p);
    double largest = 0;
    for (size_t k = 0; k < d * d; k++)
        largest = fmax(largest, fabs(expected[k]));
    for (size_t k = 0; k < d * d; k++)
        check_close(check, "M_opt", found[k], expected[k], 1e-3, 1e-3 * largest);
    sel_design_free(design);
}

void check_design(struct check *check, const json_t *golden)
{
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *item = json_array_get(cases, k);
        check_begin(check, json_string_value(json_object_get(item, "name")));
        run_design(check, item);
        check_end(check);
    }
}

void check_sampling(struct check *check, const json_t *golden)
{
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *item = json_array_get(cases, k);
        const json_t *index = json_object_get(json_object_get(item, "expect"), "index");
        check_begin(check, "systematic");
        size_t count = check_length(item, "pi");
        size_t chosen[64];
        size_t taken = sel_sample_systematic(check_numbers(check, item, "pi", count), count,
                                             check_number(check, item, "u"), chosen);
        check_close(check, "choices", (double)taken, (double)json_array_size(index), 0, 0);
        for (size_t l = 0; l < taken && l < json_array_size(index); l++)
            check_close(check, "index", (double)chosen[l],
                        (double)json_integer_value(json_array_get(index, l)), 0, 0);
        check_end(check);
    }
}
