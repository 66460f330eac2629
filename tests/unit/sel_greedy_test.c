/* The fast ways through a list pick what the plain greedy choice picks. */
#include "sel_fixture.h"

struct list {
    size_t count;
    size_t d;
    double *x;
    double *weight;
    double *margin;
    double *sigma;
    double *inverse;
    double *policy;
};

/* Sigma = lambda Id + labels, some of them strong: S is far from round. */
static struct list list_new(size_t count, size_t d, uint64_t seed)
{
    struct sel_random random = sel_random_init(seed, count);
    struct list list = {.count = count, .d = d};
    struct sel_information *information = fixture_information(&random, d, .3, 3 * d / 2);
    size_t size = d * d * sizeof(double);
    list.x = fixture_normals(&random, count * d);
    list.weight = fixture_room(count, sizeof(double));
    list.margin = fixture_normals(&random, count);
    list.policy = fixture_policy(&random, d);
    list.sigma = fixture_room(d * d, sizeof(double));
    list.inverse = fixture_room(d * d, sizeof(double));
    memcpy(list.sigma, sel_information_sigma(information), size);
    memcpy(list.inverse, sel_information_inverse(information), size);
    for (size_t k = 0; k < count; k++)
        list.weight[k] = sel_weight_plug(list.margin[k]);
    sel_information_free(information);
    return list;
}

static void list_free(struct list *list)
{
    free(list->x);
    free(list->weight);
    free(list->margin);
    free(list->sigma);
    free(list->inverse);
    free(list->policy);
}

static struct sel_set set_of(const struct list *list)
{
    return (struct sel_set){.count = list->count,
                            .d = list->d,
                            .x = list->x,
                            .weight = list->weight,
                            .margin = list->margin,
                            .sigma = list->sigma,
                            .inverse = list->inverse,
                            .policy = list->policy};
}

/* ---- the slow twin: after every pick all is found anew from S ---- */

static double form(const double *a, const double *x, const double *y, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            sum += x[i] * a[i * d + j] * y[j];
    return sum;
}

/* V = S I S, or S S. */
static void square_of(const struct list *list, const double *inverse, bool identity, double *square)
{
    size_t d = list->d;
    double *half = fixture_room(d * d, sizeof *half);
    if (identity)
        memcpy(half, inverse, d * d * sizeof *half);
    else
        fixture_multiply(inverse, list->policy, half, d);
    fixture_multiply(half, inverse, square, d);
    free(half);
}

static size_t plain(const struct list *list, const struct sel_rule *rule, size_t picks,
                    size_t *chosen)
{
    size_t d = list->d;
    double *inverse = fixture_room(d * d, sizeof *inverse);
    double *square = fixture_room(d * d, sizeof *square);
    double *u = fixture_room(d, sizeof *u);
    bool *taken = fixture_room(list->count, sizeof *taken);
    double parameters[SEL_PARAMETERS_MAX];
    sel_rule_defaults(rule, parameters);
    memcpy(inverse, list->inverse, d * d * sizeof *inverse);
    size_t done = 0;
    for (; done < picks && done < list->count; done++) {
        size_t best = list->count;
        double highest = -INFINITY;
        double c_best = 0;
        square_of(list, inverse, (rule->traits & SEL_IDENTITY) != 0, square);
        for (size_t k = 0; k < list->count; k++) {
            const double *x = list->x + k * d;
            bool unweighted = (rule->traits & SEL_UNWEIGHTED) != 0;
            struct sel_pair pair = {unweighted ? 1 : list->weight[k],
                                    fmax(0, form(inverse, x, x, d)), fmax(0, form(square, x, x, d)),
                                    list->margin[k], parameters};
            double score = taken[k] ? -INFINITY : rule->score(&pair);
            if (score > highest * (highest > 0 ? 1 + 1e-12 : 1 - 1e-12)) {
                highest = score;
                c_best = pair.weight / (1 + pair.weight * pair.variance);
                best = k;
            }
        }
        if (best == list->count)
            break;
        for (size_t i = 0; i < d; i++) {
            u[i] = 0;
            for (size_t j = 0; j < d; j++)
                u[i] += inverse[i * d + j] * list->x[best * d + j];
        }
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++)
                inverse[i * d + j] -= c_best * u[i] * u[j];
        taken[best] = true;
        chosen[done] = best;
    }
    free(inverse);
    free(square);
    free(u);
    free(taken);
    return done;
}

static const char *const RULES[] = {"dopt_xx", "dopt", "gopt", "policy_trace", "aopt", "infomax"};
enum { RULE_COUNT = sizeof RULES / sizeof RULES[0] };

/* All rules pick from the list as the twin does. */
static void check_list(const struct list *list, size_t picks, const char *what)
{
    size_t *expected = fixture_room(picks, sizeof *expected);
    size_t *chosen = fixture_room(picks, sizeof *chosen);
    double *propensity = fixture_room(picks, sizeof *propensity);
    struct sel_set set = set_of(list);
    for (size_t r = 0; r < RULE_COUNT; r++) {
        const struct sel_rule *rule = sel_rule_find(RULES[r]);
        struct sel_select_options options = {.rule = rule, .largest = set, .budget_max = picks};
        struct sel_selection selection = {
            .budget = picks, .chosen = chosen, .propensity = propensity};
        struct sel_select *select = sel_select_new(&options);
        assert_non_null(select);
        size_t count = plain(list, rule, picks, expected);
        for (int again = 0; again < 2; again++) { /* what a run leaves behind is no matter */
            assert_int_equal(sel_select_run(select, &set, &selection), SEL_OK);
            assert_int_equal(selection.count, count);
            for (size_t k = 0; k < count; k++) {
                assert_true(propensity[k] == 1);
                if (chosen[k] != expected[k])
                    fail_msg("%s, %s: pick %zu is %zu, not %zu", what, rule->name, k, chosen[k],
                             expected[k]);
            }
        }
        sel_select_free(select);
    }
    free(expected);
    free(chosen);
    free(propensity);
}

static void random_lists(void **state)
{
    (void)state;
    static const struct {
        size_t count, d, picks;
    } sizes[] = {{1, 1, 1},   {1, 3, 5},      {7, 2, 20},     {66, 3, 66},    {150, 5, 150},
                 {400, 1, 9}, {3000, 6, 300}, {2000, 17, 60}, {900, 40, 100}, {2500, 3, 40}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
        for (uint64_t seed = 0; seed < 2; seed++) {
            struct list list = list_new(sizes[k].count, sizes[k].d, seed);
            check_list(&list, sizes[k].picks, "random");
            list_free(&list);
        }
}

/* The best first, and the best last: samples of the scores mislead. */
static int by_norm(const void *left, const void *right)
{
    const double *a = left;
    const double *b = right;
    double away = a[0] * a[0] + a[1] * a[1] - b[0] * b[0] - b[1] * b[1];
    return (away > 0) - (away < 0);
}

static void sorted_lists(void **state)
{
    (void)state;
    for (int backwards = 0; backwards < 2; backwards++) {
        struct list list = list_new(3000, 2, 5);
        qsort(list.x, list.count, 2 * sizeof(double), by_norm);
        for (size_t k = 0; backwards && k < list.count; k++) {
            double first = list.x[k];
            list.x[k] = list.x[2 * list.count - 1 - k];
            list.x[2 * list.count - 1 - k] = first;
        }
        check_list(&list, 60, "sorted");
        list_free(&list);
    }
}

/* Every pair three times, once with its sides changed: the first of them comes first. */
static void duplicates(void **state)
{
    (void)state;
    struct list list = list_new(1500, 8, 6);
    for (size_t k = 0; k < 500; k++) {
        for (size_t l = 0; l < 8; l++) {
            list.x[(1499 - k) * 8 + l] = list.x[k * 8 + l];
            list.x[(500 + k) * 8 + l] = -list.x[k * 8 + l];
        }
        list.margin[1499 - k] = list.margin[500 + k] = list.margin[k];
        list.weight[1499 - k] = list.weight[500 + k] = list.weight[k];
    }
    check_list(&list, 100, "duplicates");
    list_free(&list);
}

/* More equals than any list of the best holds. */
static void crowds(void **state)
{
    (void)state;
    struct list list = list_new(2000, 4, 7);
    for (size_t k = 0; k < 1800; k++) {
        size_t from = 1800 + k % 3;
        memcpy(list.x + k * 4, list.x + from * 4, 4 * sizeof(double));
        list.margin[k] = list.margin[from];
        list.weight[k] = list.weight[from];
    }
    check_list(&list, 50, "crowds");
    memset(list.x, 0, list.count * 4 * sizeof(double));
    check_list(&list, 10, "nothing but zeros");
    list_free(&list);
}

static void zero_weights(void **state)
{
    (void)state;
    struct list list = list_new(1200, 5, 8);
    for (size_t k = 0; k < list.count; k++)
        list.weight[k] *= k % 3 != 0;
    check_list(&list, 60, "some zero weights");
    memset(list.weight, 0, list.count * sizeof(double));
    check_list(&list, 8, "all zero weights");
    list_free(&list);
}

/* Features of any size, alone and in one list. */
static void sizes_of_features(void **state)
{
    (void)state;
    static const double scales[] = {1e-30, 1e-160, 1e15};
    for (size_t s = 0; s < 3; s++) {
        struct list list = list_new(1000, 12, 9);
        for (size_t k = 0; k < list.count * list.d; k++)
            list.x[k] *= scales[s];
        check_list(&list, 8, "scaled");
        for (size_t k = 0; k < list.count * list.d / 2; k++)
            list.x[k] *= 1e3;
        check_list(&list, 8, "of two sizes");
        list_free(&list);
    }
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lists), cmocka_unit_test(sorted_lists),
        cmocka_unit_test(duplicates),   cmocka_unit_test(crowds),
        cmocka_unit_test(zero_weights), cmocka_unit_test(sizes_of_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
