/* out = phi a for a few rows and a symmetric matrix that does not fit the cache.
 *
 * BLAS packs all of `a` first, which costs more than the product when phi has 8 or 16 rows. Here
 * each element a_kl of the lower triangle is read once and serves twice, out_k += a_kl phi_l  and
 * out_l += a_kl phi_k, for four rows of phi at a time, which lie side by side: phi and out are kept
 * as columns of `lanes`. for each strip of columns l, for each band of four rows k of `a` below the
 * strip's first, for each four rows of phi: the out_k stay in registers, the out_l of the strip in
 * the cache.
 *
 * Invariant: all rows of phi see the same operations in the same order. Cost: 2 n d^2, of which d^2
 * / 2 doubles are read from memory. */
#include "selectors/rows.h"

#include "selectors/wide.h"

#include <string.h>

enum { LANES = 4, BAND = 4, STRIP = 128, LINE = 64 / sizeof(double) };

static size_t groups_of(size_t n)
{
    return (n + LANES - 1) / LANES;
}

size_t rows_scratch(size_t n, size_t d)
{
    return 2 * groups_of(n < ROWS_MAX ? n : ROWS_MAX) * LANES * d;
}

#ifdef WIDE_AVX2

#include <immintrin.h>

#define WITH_FMA __attribute__((target("avx2,fma")))

bool rows_is_faster(size_t n, size_t d)
{
    const size_t unpacked = 1000000; /* OpenBLAS packs nothing either in products below that */
    return n <= ROWS_MAX && n * d * d > unpacked && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
}

/* Columns [from, to) of `rows` <= BAND rows of a from `band` on, all left of the diagonal. phi,
 * out: d x LANES. */
WITH_FMA static inline __attribute__((always_inline)) void strip(const double *a, size_t d,
                                                                 size_t band, size_t rows,
                                                                 size_t from, size_t to,
                                                                 const double *phi, double *out)
{
    __m256d own[BAND];
    __m256d sum[BAND];
    for (size_t k = 0; k < rows; k++) {
        own[k] = _mm256_load_pd(phi + (band + k) * LANES);
        sum[k] = _mm256_setzero_pd();
    }
    const double *first = a + band * d;
    for (size_t l = from; l < to; l++) {
        __m256d other = _mm256_load_pd(phi + l * LANES);
        __m256d gain = _mm256_load_pd(out + l * LANES);
        for (size_t k = 0; k < rows; k++) {
            __m256d entry = _mm256_broadcast_sd(first + k * d + l);
            sum[k] = _mm256_fmadd_pd(entry, other, sum[k]);
            gain = _mm256_fmadd_pd(entry, own[k], gain);
        }
        _mm256_store_pd(out + l * LANES, gain);
    }
    for (size_t k = 0; k < rows; k++) {
        double *place = out + (band + k) * LANES;
        _mm256_store_pd(place, _mm256_add_pd(_mm256_load_pd(place), sum[k]));
    }
}

/* The square of `rows` rows on the diagonal. */
WITH_FMA static void corner(const double *a, size_t d, size_t band, size_t rows, const double *phi,
                            double *out)
{
    for (size_t k = band; k < band + rows; k++) {
        __m256d sum = _mm256_load_pd(out + k * LANES);
        for (size_t l = band; l < band + rows; l++) {
            __m256d entry = _mm256_broadcast_sd(k > l ? a + k * d + l : a + l * d + k);
            sum = _mm256_fmadd_pd(entry, _mm256_load_pd(phi + l * LANES), sum);
        }
        _mm256_store_pd(out + k * LANES, sum);
    }
}

/* The next band: four short pieces of lines are too little for the hardware to foresee. */
static void prefetch(const double *a, size_t d, size_t band, size_t from, size_t to)
{
    for (size_t k = band; k < band + BAND && k < d; k++)
        for (size_t l = from; l < to; l += LINE)
            __builtin_prefetch(a + k * d + l);
}

WITH_FMA static void multiply(const double *a, size_t d, size_t groups, const double *phi,
                              double *out)
{
    for (size_t from = 0; from < d; from += STRIP)
        for (size_t band = from; band < d; band += BAND) {
            size_t rows = d - band < BAND ? d - band : BAND;
            size_t to = band < from + STRIP ? band : from + STRIP;
            prefetch(a, d, band + BAND, from, to);
            for (size_t group = 0; group < groups; group++) {
                const double *phi_group = phi + group * d * LANES;
                double *out_group = out + group * d * LANES;
                if (rows == BAND)
                    strip(a, d, band, BAND, from, to, phi_group, out_group);
                else
                    strip(a, d, band, rows, from, to, phi_group, out_group);
                if (band < from + STRIP)
                    corner(a, d, band, rows, phi_group, out_group);
            }
        }
}

#else

bool rows_is_faster(size_t n, size_t d)
{
    (void)n;
    (void)d;
    return false;
}

static void multiply(const double *a, size_t d, size_t groups, const double *phi, double *out)
{
    (void)a;
    (void)d;
    (void)groups;
    (void)phi;
    (void)out;
}

#endif

void rows_multiply(double *out, const double *phi, size_t n, size_t d, const double *a,
                   double *scratch)
{
    size_t groups = groups_of(n);
    double *columns = scratch;
    double *sums = scratch + groups * LANES * d;
    memset(scratch, 0, 2 * groups * LANES * d * sizeof *scratch);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++)
            columns[(i / LANES * d + k) * LANES + i % LANES] = phi[i * d + k];
    multiply(a, d, groups, columns, sums);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++)
            out[i * d + k] = sums[(i / LANES * d + k) * LANES + i % LANES];
}
