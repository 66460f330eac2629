#include "sel_fixture.h"
#include "selectors/rows.h"

/* A product of n rows beside its formula; the last row equals the first. */
static void expect_product(size_t n, size_t d)
{
    struct sel_random random = sel_random_init(n, d);
    double *a = fixture_policy(&random, d);
    double *phi = fixture_normals(&random, n * d);
    double *out = fixture_normals(&random, n * d);
    double *scratch = aligned_alloc(64, (rows_scratch(n, d) * sizeof(double) + 63) / 64 * 64);
    assert_non_null(scratch);
    memcpy(phi + (n - 1) * d, phi, d * sizeof *phi);
    for (size_t k = 0; k < d; k++) /* nobody looks above the diagonal */
        for (size_t l = 0; l < k; l++)
            a[l * d + k] = NAN;
    rows_multiply(out, phi, n, d, a, scratch);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++) {
            double sum = 0;
            double scale = 0;
            for (size_t l = 0; l < d; l++) {
                double part = phi[i * d + l] * (l < k ? a[k * d + l] : a[l * d + k]);
                sum += part;
                scale += fabs(part);
            }
            fixture_below(fabs(out[i * d + k] - sum), 1e-14 * scale);
        }
    assert_memory_equal(out, out + (n - 1) * d, d * sizeof *out);
    free(scratch);
    free(out);
    free(phi);
    free(a);
}

static void a_product_is_its_formula(void **state)
{
    (void)state;
    const size_t rows[] = {1, 2, 4, 7, 16, 32};
    const size_t dimensions[] = {1, 3, 4, 127, 128, 130, 261};
    if (!rows_is_faster(8, 512))
        skip(); /* not on this machine */
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
        for (size_t l = 0; l < sizeof dimensions / sizeof dimensions[0]; l++)
            expect_product(rows[k], dimensions[l]);
}

static void many_rows_are_left_to_blas(void **state)
{
    (void)state;
    assert_false(rows_is_faster(ROWS_MAX + 1, 1024));
    assert_false(rows_is_faster(8, 64));
    assert_true(rows_scratch(1000, 10) == rows_scratch(ROWS_MAX, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_is_its_formula),
        cmocka_unit_test(many_rows_are_left_to_blas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
