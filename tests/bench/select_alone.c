/* The picker alone, one core: JSON lines.
 *   select N D  microseconds to open a pool of N completions and find its best pair, medians; the
 *               floor, phi S, V I and the triangles of G and H at the rate of a GEMM of 256 rows,
 *               measured in turn with it; the formula pair by pair in plain C
 *   pick D      picks a second of the global rule over 10,000 open pools of 16, and tr(I S) after
 *               500 of them, beside the same with every pool updated after each pick; once with
 *               features alike in all directions, once with a spectrum 1/k
 * usage: select_alone select N D | select_alone pick D */
#include "bench.h"

#include <math.h>

enum { ROWS = 256 };

static struct sel_picker *picker_new(struct world *world, size_t pools, size_t n, size_t lazy_from)
{
    struct sel_picker_options options = {.d = world->d,
                                         .pools_max = pools,
                                         .n_max = n,
                                         .rule = sel_rule_find("policy_trace"),
                                         .weighting = SEL_WEIGHT_PROBIT,
                                         .lazy_from = lazy_from};
    struct sel_picker *picker = sel_picker_new(&options);
    if (picker == NULL ||
        sel_picker_begin(picker, world->information, world->policy, world->psi, 0) != SEL_OK)
        abort();
    return picker;
}

/* ---- select ---- */

/* q and r of up to SAMPLE pairs by their formulas; seconds a pair. */
static double by_formula(const struct world *world, const float *phi, size_t n, double *sum)
{
    enum { SAMPLE = 28 };
    size_t d = world->d;
    const double *s = sel_information_inverse(world->information);
    double *x = room(2 * d, sizeof *x);
    double *u = x + d;
    size_t count = 0;
    double start = now();
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n && count < SAMPLE; j++, count++) {
            double q = 0;
            double r = 0;
            double margin = 0;
            for (size_t k = 0; k < d; k++) {
                x[k] = (double)phi[i * d + k] - (double)phi[j * d + k];
                margin += world->psi[k] * x[k];
            }
            for (size_t k = 0; k < d; k++) {
                u[k] = 0;
                for (size_t l = 0; l < d; l++)
                    u[k] += s[k * d + l] * x[l];
                q += x[k] * u[k];
            }
            for (size_t k = 0; k < d; k++) {
                double image = 0;
                for (size_t l = 0; l < d; l++)
                    image += world->policy[k * d + l] * u[l];
                r += u[k] * image;
            }
            double w = sel_weight_probit(margin, q);
            *sum += w * r / (1 + w * q);
        }
    double seconds = (now() - start) / (double)count;
    free(x);
    return seconds;
}

static void bench_select(size_t n, size_t d)
{
    enum { RUNS_MOST = 201 };
    struct world world = world_new(d);
    struct sel_picker *picker = picker_new(&world, 1, n, 0);
    float *phi = room(n * d, sizeof *phi);
    for (size_t k = 0; k < n * d; k++)
        phi[k] = (float)sel_random_normal(&world.random);
    double *a = normals(&world.random, ROWS * d);
    double *b = normals(&world.random, d * d);
    double *c = room(ROWS * d, sizeof *c);
    double times[RUNS_MOST];
    double gemm[RUNS_MOST];
    int runs = n * d > 100000 ? 21 : RUNS_MOST;
    blasint side = (blasint)d;
    for (int run = -3; run < runs; run++) { /* the first warm up */
        size_t pool;
        struct sel_choice choice;
        double start = now();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, ROWS, side, side, 1, a, side, b,
                    side, 0, c, side);
        double product = now() - start;
        /* The product has put S out of the cache; pools come one after the other. */
        sel_picker_clear(picker);
        sel_picker_open(picker, phi, n, NULL, &pool);
        sel_picker_clear(picker);
        start = now();
        sel_picker_open(picker, phi, n, NULL, &pool);
        sel_picker_best(picker, &choice);
        if (run < 0)
            continue;
        times[run] = now() - start;
        gemm[run] = product;
    }
    double sum = 0;
    double formula = by_formula(&world, phi, n, &sum) * (double)(n * (n - 1) / 2);
    /* phi S and V I as products, the triangles of G and H. */
    double work = 4. * (double)(n * d * d) + 2. * (double)(n * n * d);
    double rate = 2. * ROWS * (double)d * (double)d / median(gemm, (size_t)runs);
    double value = median(times, (size_t)runs);
    printf("{\"n\":%zu,\"d\":%zu,\"us\":%.3f,\"min_us\":%.3f,\"max_us\":%.3f,\"floor_us\":%.3f,"
           "\"formula_us\":%.1f,\"check\":%.3g}\n",
           n, d, 1e6 * value, 1e6 * times[0], 1e6 * times[runs - 1], 1e6 * work / rate,
           1e6 * formula, sum);
    free(a);
    free(b);
    free(c);
    free(phi);
    sel_picker_free(picker);
    world_free(&world);
}

/* ---- pick ---- */

enum { POOLS = 10000, COMPLETIONS = 16, PICKS = 500 };

struct picked {
    double open;      /* seconds a pool */
    double rate;      /* picks a second */
    double objective; /* tr(I S) after them */
    double before;    /* and before them */
};

static void draw_pool(struct world *world, bool spectrum, float *phi)
{
    double scale = spectrum ? exp(.4 * sel_random_normal(&world->random)) : 1;
    for (size_t i = 0; i < COMPLETIONS; i++)
        for (size_t k = 0; k < world->d; k++)
            *phi++ = (float)(sel_random_normal(&world->random) * scale /
                             (spectrum ? sqrt(1 + (double)k) : 1));
}

static struct picked pick_with(size_t d, bool spectrum, size_t lazy_from)
{
    struct world world = world_new(d);
    for (size_t k = 0; k < d; k++)
        world.policy[k * d + k] = spectrum ? 1 / (1 + (double)k) : 1 / (double)d;
    struct sel_picker *picker = picker_new(&world, POOLS, COMPLETIONS, lazy_from);
    float *phi = room(COMPLETIONS * d, sizeof *phi);
    struct picked picked = {.before = sel_information_trace(world.information, world.policy)};
    for (size_t pool = 0; pool < POOLS; pool++) {
        size_t number;
        draw_pool(&world, spectrum, phi);
        double start = now();
        sel_picker_open(picker, phi, COMPLETIONS, NULL, &number);
        picked.open += (now() - start) / POOLS;
    }
    double start = now();
    for (int pick = 0; pick < PICKS; pick++) {
        struct sel_choice choice;
        sel_picker_best(picker, &choice);
        sel_picker_take(picker, &choice, 1);
    }
    picked.rate = PICKS / (now() - start);
    picked.objective = sel_information_trace(world.information, world.policy);
    free(phi);
    sel_picker_free(picker);
    world_free(&world);
    return picked;
}

static void bench_pick(size_t d)
{
    for (int spectrum = 0; spectrum < 2; spectrum++) {
        struct sel_picker_options options = {.d = d,
                                             .pools_max = POOLS,
                                             .n_max = COMPLETIONS,
                                             .rule = sel_rule_find("policy_trace")};
        struct picked lazy = pick_with(d, spectrum, 0);
        struct picked exact = pick_with(d, spectrum, POOLS);
        printf("{\"d\":%zu,\"n\":%d,\"pools\":%d,\"picks\":%d,\"features\":\"%s\",\"rate\":%.1f,"
               "\"exact_rate\":%.1f,\"loss\":%.5f,\"loss_of_fall\":%.5f,\"open_us\":%.1f,"
               "\"bytes_a_pool\":%zu}\n",
               d, COMPLETIONS, POOLS, PICKS, spectrum ? "spectrum 1/k" : "alike", lazy.rate,
               exact.rate, lazy.objective / exact.objective - 1,
               (lazy.objective - exact.objective) / (exact.before - exact.objective),
               1e6 * lazy.open, sel_picker_bytes(&options) / POOLS);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    sel_init();
    if (argc == 4 && strcmp(argv[1], "select") == 0)
        bench_select(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    else if (argc == 3 && strcmp(argv[1], "pick") == 0)
        bench_pick(strtoul(argv[2], NULL, 10));
    else {
        fprintf(stderr, "usage: select_alone select N D | select_alone pick D\n");
        return 2;
    }
    return 0;
}
