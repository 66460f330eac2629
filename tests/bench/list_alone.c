/* Choosing from one list of candidate pairs, and designs over it, by the library alone on one core:
 * JSON lines, one a call. The Python beside it (flat.py, design.py) compares.
 * usage: list_alone flat RULE COUNT D LABELS SPREAD PICKS SEED FILE   writes the list to FILE for
 * others to read: x (COUNT x D), weight, S (D x D), I (D x D), doubles; prints seconds and the
 * picks list_alone design COUNT D MASS CAP SEED        this and plain Frank-Wolfe, see below */
#include "selectors/selectors.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void *room(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        abort();
    return memory;
}

static double *normals(struct sel_random *random, size_t count)
{
    double *values = room(count, sizeof *values);
    for (size_t k = 0; k < count; k++)
        values[k] = sel_random_normal(random);
    return values;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Sigma = Id + 0.2 sum of `labels` pairs; I = A A' / d; pairs of normals times exp(spread z). */
enum { RUNS = 5 };

struct list {
    struct sel_information *information;
    double *policy;
    struct sel_set set;
};

static struct list list_new(size_t count, size_t d, size_t labels, double spread, uint64_t seed)
{
    struct list list;
    struct sel_random random = sel_random_init(seed, d);
    float *label = room(d, sizeof *label);
    double *a = normals(&random, d * d);
    list.information = sel_information_new(d);
    list.policy = room(d * d, sizeof(double));
    for (size_t k = 0; k < labels; k++) {
        const float *row = label;
        const double w = .2;
        for (size_t l = 0; l < d; l++)
            label[l] = (float)sel_random_normal(&random);
        sel_information_accumulate(list.information, &row, &w, 1);
    }
    if (sel_information_factor(list.information) != SEL_OK)
        abort();
    int n = (int)d;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1 / (double)d, a, n, a, n, 0,
                list.policy, n);
    list.set = (struct sel_set){.count = count,
                                .d = d,
                                .x = normals(&random, count * d),
                                .margin = normals(&random, count),
                                .sigma = sel_information_sigma(list.information),
                                .inverse = sel_information_inverse(list.information),
                                .policy = list.policy};
    double *x = (double *)(uintptr_t)list.set.x;
    double *weight = room(count, sizeof *weight);
    for (size_t k = 0; k < count && spread > 0; k++)
        cblas_dscal((int)d, exp(spread * sel_random_normal(&random)), x + k * d, 1);
    for (size_t k = 0; k < count; k++)
        weight[k] = sel_weight_plug(list.set.margin[k]);
    list.set.weight = weight;
    free(label);
    free(a);
    return list;
}

static void list_free(struct list *list)
{
    free((void *)(uintptr_t)list->set.x);
    free((void *)(uintptr_t)list->set.margin);
    free((void *)(uintptr_t)list->set.weight);
    free(list->policy);
    sel_information_free(list->information);
}

static void list_write(const struct list *list, const char *path)
{
    const struct sel_set *set = &list->set;
    FILE *file = fopen(path, "wb");
    size_t d = set->d;
    if (file == NULL || fwrite(set->x, sizeof(double), set->count * d, file) != set->count * d ||
        fwrite(set->weight, sizeof(double), set->count, file) != set->count ||
        fwrite(set->inverse, sizeof(double), d * d, file) != d * d ||
        fwrite(set->policy, sizeof(double), d * d, file) != d * d || fclose(file) != 0)
        abort();
}

static double run_flat(const struct list *list, const struct sel_rule *rule, size_t picks,
                       struct sel_selection *selection)
{
    struct sel_select_options options = {.rule = rule, .largest = list->set, .budget_max = picks};
    struct sel_select *select = sel_select_new(&options);
    if (select == NULL)
        abort();
    selection->budget = 1;
    sel_select_run(select, &list->set, selection); /* brings the workspace into memory */
    selection->budget = picks;
    double seconds[RUNS];
    for (int run = 0; run < RUNS; run++) {
        double start = now();
        if (sel_select_run(select, &list->set, selection) != SEL_OK)
            abort();
        seconds[run] = now() - start;
    }
    qsort(seconds, RUNS, sizeof *seconds, ascending);
    sel_select_free(select);
    return seconds[RUNS / 2];
}

static int flat(char **words)
{
    size_t count = strtoul(words[1], NULL, 10);
    size_t picks = strtoul(words[5], NULL, 10);
    struct list list = list_new(count, strtoul(words[2], NULL, 10), strtoul(words[3], NULL, 10),
                                strtod(words[4], NULL), strtoul(words[6], NULL, 10));
    const struct sel_rule *rule = sel_rule_find(words[0]);
    size_t *chosen = room(picks, sizeof *chosen);
    double *propensity = room(picks, sizeof *propensity);
    struct sel_selection selection = {.chosen = chosen, .propensity = propensity};
    if (rule == NULL)
        return 2;
    if (strcmp(words[7], "-") != 0)
        list_write(&list, words[7]);
    double first = run_flat(&list, rule, 1, &selection);
    double seconds = run_flat(&list, rule, picks, &selection);
    printf("{\"seconds\": %.6f, \"first\": %.6f, \"picks\": [", seconds, first);
    for (size_t k = 0; k < selection.count; k++)
        printf("%s%zu", k == 0 ? "" : ", ", chosen[k]);
    printf("]}\n");
    free(chosen);
    free(propensity);
    list_free(&list);
    return 0;
}

/* Pairs of pools whose features fall off as 1 / j, and whose scales differ. */
static struct list pools_new(size_t pools, size_t rows, size_t d, uint64_t seed)
{
    size_t count = pools * rows * (rows - 1) / 2;
    struct list list = list_new(count, d, 0, 0, seed);
    struct sel_random random = sel_random_init(seed, 1);
    double *psi = normals(&random, d);
    double *x = (double *)(uintptr_t)list.set.x;
    double *weight = (double *)(uintptr_t)list.set.weight;
    for (size_t pool = 0; pool < pools; pool++) {
        double *phi = normals(&random, rows * d);
        double scale = exp(.4 * sel_random_normal(&random)) * sqrt((double)d) / 2;
        for (size_t i = 0; i < rows; i++)
            for (size_t j = i + 1; j < rows; j++, x += d) {
                for (size_t l = 0; l < d; l++)
                    x[l] = scale * (phi[i * d + l] - phi[j * d + l]) / sqrt(1 + (double)l);
                *weight++ =
                    sel_weight_plug(.5 * cblas_ddot((int)d, psi, 1, x, 1) / sqrt((double)d));
            }
        free(phi);
    }
    free(psi);
    return list;
}

static int design(char **words)
{
    struct list list = pools_new(strtoul(words[0], NULL, 10), strtoul(words[1], NULL, 10),
                                 strtoul(words[2], NULL, 10), strtoul(words[5], NULL, 10));
    struct sel_design_problem problem = {.count = list.set.count,
                                         .d = list.set.d,
                                         .x = list.set.x,
                                         .weight = list.set.weight,
                                         .sigma = list.set.sigma,
                                         .policy = list.set.policy,
                                         .mass = strtod(words[3], NULL),
                                         .cap = strtod(words[4], NULL)};
    struct sel_design *solver = sel_design_new(problem.count, problem.d);
    struct sel_design_result result;
    double *p = room(problem.count, sizeof *p);
    double seconds[RUNS];
    if (solver == NULL)
        return 2;
    list.set.inverse = list.set.sigma; /* what is to be written */
    list_write(&list, words[6]);
    for (int run = 0; run < RUNS; run++) {
        double start = now();
        if (sel_design_solve(solver, &problem, 1e-4, 1000000, p, &result) != SEL_OK)
            abort();
        seconds[run] = now() - start;
    }
    qsort(seconds, RUNS, sizeof *seconds, ascending);
    printf("{\"seconds\": %.6f, \"gap\": %.3e, \"objective\": %.17g, \"exchanges\": %d}\n",
           seconds[RUNS / 2], result.gap / result.objective, result.objective, result.iterations);
    free(p);
    sel_design_free(solver);
    list_free(&list);
    return 0;
}

int main(int argc, char **argv)
{
    sel_init();
    if (argc == 10 && strcmp(argv[1], "flat") == 0)
        return flat(argv + 2);
    if (argc == 9 && strcmp(argv[1], "design") == 0)
        return design(argv + 2);
    fprintf(stderr, "usage: list_alone flat RULE COUNT D LABELS SPREAD PICKS SEED FILE\n"
                    "       list_alone design POOLS ROWS D MASS CAP SEED FILE\n");
    return 2;
}
