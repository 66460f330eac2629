/* The library alone, one core: JSON lines of medians, each beside its floor or a reference measured
 * in the same run where there is one.
 *   select  microseconds to open a pool of n completions and find its best pair; floor: its
 *           multiplications at the rate of a GEMM of 256 rows
 *   pick    picks a second of the global rule over 1,000 open pools of 16
 *   flat    milliseconds a pick over one list of candidate pairs
 *   design  seconds to a proven gap of 1e-4
 * usage: select_alone [select | pick | flat | design]... */
#include "selectors/selectors.h"

#include <cblas.h>
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

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
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

/* Sigma = Id, I = Id / d, psi = 0.1 z: what is in them costs nothing. */
struct world {
    size_t d;
    struct sel_random random;
    struct sel_information *information;
    double *policy;
    double *psi;
};

static struct world world_new(size_t d)
{
    struct world world = {.d = d, .random = sel_random_init(d, 1)};
    world.information = sel_information_new(d);
    world.policy = room(d * d, sizeof(double));
    world.psi = normals(&world.random, d);
    for (size_t k = 0; k < d; k++) {
        world.policy[k * d + k] = 1 / (double)d;
        world.psi[k] *= .1;
    }
    return world;
}

static void world_free(struct world *world)
{
    sel_information_free(world->information);
    free(world->policy);
    free(world->psi);
}

static float *features(struct world *world, size_t count)
{
    float *values = room(count, sizeof *values);
    for (size_t k = 0; k < count; k++)
        values[k] = (float)sel_random_normal(&world->random);
    return values;
}

static struct sel_picker *picker_new(struct world *world, size_t pools, size_t n)
{
    struct sel_picker_options options = {.d = world->d,
                                         .pools_max = pools,
                                         .n_max = n,
                                         .rule = sel_rule_find("policy_trace"),
                                         .weighting = SEL_WEIGHT_PROBIT};
    struct sel_picker *picker = sel_picker_new(&options);
    if (picker == NULL)
        abort();
    sel_picker_begin(picker, world->information, world->policy, world->psi, 0);
    return picker;
}

/* Multiplications and additions a second of a GEMM of 256 rows. */
static double gemm_rate(size_t d)
{
    enum { ROWS = 256, RUNS = 7 };
    struct sel_random random = sel_random_init(1, d);
    double *a = normals(&random, ROWS * d);
    double *b = normals(&random, d * d);
    double *c = room(ROWS * d, sizeof *c);
    double times[RUNS];
    int n = (int)d;
    for (int run = 0; run < RUNS; run++) {
        double start = now();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, ROWS, n, n, 1, a, n, b, n, 0, c, n);
        times[run] = now() - start;
    }
    free(a);
    free(b);
    free(c);
    return 2. * ROWS * (double)d * (double)d / median(times, RUNS);
}

static void bench_select(void)
{
    enum { RUNS = 41 };
    static const size_t dimensions[] = {64, 384};
    static const size_t sizes[] = {8, 16, 64, 256};
    for (size_t k = 0; k < 2; k++)
        for (size_t s = 0; s < 4; s++) {
            size_t d = dimensions[k];
            size_t n = sizes[s];
            struct world world = world_new(d);
            struct sel_picker *picker = picker_new(&world, 1, n);
            float *phi = features(&world, n * d);
            double times[RUNS];
            double rate = gemm_rate(d);
            for (int run = 0; run < RUNS; run++) {
                struct sel_choice choice;
                size_t pool;
                sel_picker_clear(picker);
                double start = now();
                sel_picker_open(picker, phi, n, NULL, &pool);
                sel_picker_best(picker, &choice);
                times[run] = now() - start;
            }
            /* phi S and V I as products, the triangles of G and H. */
            double work = 4. * (double)(n * d * d) + 2. * (double)(n * n * d);
            double value = median(times, RUNS);
            printf("{\"bench\":\"select\",\"n\":%zu,\"d\":%zu,\"us\":%.2f,\"floor_us\":%.2f,"
                   "\"ratio\":%.2f}\n",
                   n, d, 1e6 * value, 1e6 * work / rate, value * rate / work);
            free(phi);
            sel_picker_free(picker);
            world_free(&world);
        }
}

static void bench_pick(void)
{
    enum { POOLS = 1000, ROWS = 16, PICKS = 60 };
    static const size_t dimensions[] = {64, 384};
    for (size_t k = 0; k < 2; k++) {
        struct world world = world_new(dimensions[k]);
        struct sel_picker *picker = picker_new(&world, POOLS, ROWS);
        float *phi = features(&world, ROWS * world.d);
        for (size_t pool = 0; pool < POOLS; pool++) {
            size_t number;
            for (size_t l = 0; l < ROWS * world.d; l++)
                phi[l] = (float)sel_random_normal(&world.random);
            sel_picker_open(picker, phi, ROWS, NULL, &number);
        }
        double start = now();
        for (int pick = 0; pick < PICKS; pick++) {
            struct sel_choice choice;
            sel_picker_best(picker, &choice);
            sel_picker_take(picker, &choice, 1);
        }
        printf("{\"bench\":\"pick\",\"pools\":%d,\"n\":%d,\"d\":%zu,\"picks_per_second\":%.0f}\n",
               POOLS, ROWS, world.d, PICKS / (now() - start));
        free(phi);
        sel_picker_free(picker);
        world_free(&world);
    }
}

static struct sel_set list_of(struct world *world, size_t count)
{
    struct sel_set set = {.count = count,
                          .d = world->d,
                          .x = normals(&world->random, count * world->d),
                          .margin = normals(&world->random, count),
                          .sigma = sel_information_sigma(world->information),
                          .inverse = sel_information_inverse(world->information),
                          .policy = world->policy};
    double *weight = room(count, sizeof *weight);
    for (size_t k = 0; k < count; k++)
        weight[k] = sel_weight_plug(set.margin[k]);
    set.weight = weight;
    return set;
}

static void list_free(struct sel_set *set)
{
    free((void *)(uintptr_t)set->x);
    free((void *)(uintptr_t)set->margin);
    free((void *)(uintptr_t)set->weight);
}

static void bench_flat(void)
{
    enum { PICKS = 50 };
    static const char *const rules[] = {"dopt_xx", "policy_trace"};
    static const size_t counts[] = {10000, 100000};
    for (size_t r = 0; r < 2; r++)
        for (size_t c = 0; c < 2; c++) {
            struct world world = world_new(64);
            struct sel_set set = list_of(&world, counts[c]);
            struct sel_select_options options = {
                .rule = sel_rule_find(rules[r]), .largest = set, .budget_max = PICKS};
            struct sel_select *select = sel_select_new(&options);
            size_t chosen[PICKS];
            double propensity[PICKS];
            struct sel_selection selection = {
                .budget = PICKS, .chosen = chosen, .propensity = propensity};
            double start = now();
            sel_select_run(select, &set, &selection);
            printf(
                "{\"bench\":\"flat\",\"rule\":\"%s\",\"count\":%zu,\"d\":64,\"ms_a_pick\":%.3f}\n",
                rules[r], counts[c], 1e3 * (now() - start) / PICKS);
            sel_select_free(select);
            list_free(&set);
            world_free(&world);
        }
}

static void bench_design(void)
{
    static const double caps[] = {1, .01};
    for (size_t c = 0; c < 2; c++) {
        struct world world = world_new(32);
        struct sel_set set = list_of(&world, 2000);
        struct sel_design_problem problem = {.count = set.count,
                                             .d = set.d,
                                             .x = set.x,
                                             .weight = set.weight,
                                             .sigma = set.sigma,
                                             .policy = set.policy,
                                             .mass = 500,
                                             .cap = caps[c]};
        struct sel_design *design = sel_design_new(set.count, set.d);
        struct sel_design_result result;
        double *p = room(set.count, sizeof *p);
        double start = now();
        enum sel_status status = sel_design_solve(design, &problem, 1e-4, 100000, p, &result);
        printf("{\"bench\":\"design\",\"count\":2000,\"d\":32,\"cap\":%g,\"seconds\":%.3f,"
               "\"steps\":%d,\"gap\":%.2e,\"solved\":%s}\n",
               caps[c], now() - start, result.iterations, result.gap / result.objective,
               status == SEL_OK ? "true" : "false");
        free(p);
        sel_design_free(design);
        list_free(&set);
        world_free(&world);
    }
}

static bool is_wanted(int argc, char **argv, const char *name)
{
    for (int k = 1; k < argc; k++)
        if (strcmp(argv[k], name) == 0)
            return true;
    return argc == 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } benches[] = {{"select", bench_select},
                   {"pick", bench_pick},
                   {"flat", bench_flat},
                   {"design", bench_design}};
    sel_init();
    for (size_t k = 0; k < sizeof benches / sizeof benches[0]; k++)
        if (is_wanted(argc, argv, benches[k].name))
            benches[k].run();
    return 0;
}
