/* The rate of this machine at its best: C = A B of 768 x 768 doubles on one thread, the median of
 * some runs. Prints {"flops": flops a second}. */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SIZE = 768, RUNS = 9 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(void)
{
    double *matrices = malloc(3 * sizeof *matrices * SIZE * SIZE);
    double rates[RUNS];
    if (matrices == NULL)
        return 1;
    for (size_t k = 0; k < 3 * (size_t)SIZE * SIZE; k++)
        matrices[k] = (double)(k % 17) - 8;
    openblas_set_num_threads(1);
    for (int run = -1; run < RUNS; run++) { /* the first warms up */
        double start = now();
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIZE, SIZE, SIZE, 1, matrices, SIZE,
                    matrices + SIZE * SIZE, SIZE, 0, matrices + 2 * SIZE * SIZE, SIZE);
        if (run >= 0)
            rates[run] = 2.0 * SIZE * SIZE * SIZE / (now() - start);
    }
    qsort(rates, RUNS, sizeof *rates, compare);
    printf("{\"flops\": %.0f}\n", rates[RUNS / 2]);
    free(matrices);
    return 0;
}
