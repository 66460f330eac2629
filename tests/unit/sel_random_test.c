#include "sel_fixture.h"

static void expect_block(uint64_t key, uint64_t stream, uint64_t counter, const uint32_t words[4])
{
    struct sel_random random = sel_random_init(key, stream);
    random.counter = counter;
    for (int k = 0; k < 2; k++) {
        uint64_t expected = (uint64_t)words[2 * k + 1] << 32 | words[2 * k];
        assert_int_equal(sel_random_bits(&random), expected);
    }
}

/* kat_vectors of Random123: philox4x32, 10 rounds. */
static void the_published_vectors_come_out(void **state)
{
    (void)state;
    expect_block(0, 0, 0, (const uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    expect_block(UINT64_MAX, UINT64_MAX, UINT64_MAX,
                 (const uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    expect_block(UINT64_C(0x299f31d0a4093822), UINT64_C(0x0370734413198a2e),
                 UINT64_C(0x85a308d3243f6a88),
                 (const uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

static void a_generator_is_a_function_of_key_and_stream(void **state)
{
    (void)state;
    struct sel_random first = sel_random_init(7, 9);
    struct sel_random again = sel_random_init(7, 9);
    struct sel_random other = sel_random_init(7, 10);
    int same = 0;
    for (int k = 0; k < 100; k++) {
        uint64_t bits = sel_random_bits(&first);
        assert_int_equal(bits, sel_random_bits(&again));
        same += bits == sel_random_bits(&other);
    }
    assert_int_equal(same, 0);
}

/* chi-squared with 6 degrees of freedom: 22.5 is its 0.999 quantile; the seed is fixed. */
static void below_is_uniform(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(1, 2);
    double counts[7] = {0};
    for (int k = 0; k < 70000; k++) {
        uint64_t value = sel_random_below(&random, 7);
        assert_true(value < 7);
        counts[value]++;
    }
    double chi = 0;
    for (int k = 0; k < 7; k++)
        chi += (counts[k] - 10000) * (counts[k] - 10000) / 10000;
    fixture_below(chi, 22.5);
}

/* With a bound of 3/4 of 2^64, plain remainders would put two thirds below 2^63. */
static void below_is_unbiased_for_a_large_bound(void **state)
{
    (void)state;
    const uint64_t bound = UINT64_C(3) << 62;
    struct sel_random random = sel_random_init(3, 4);
    double small = 0;
    const double draws = 30000;
    for (int k = 0; k < 30000; k++)
        small += sel_random_below(&random, bound) < bound / 3;
    fixture_below(fabs(small / draws - 1. / 3), 4 * sqrt(2. / 9 / draws));
    assert_int_equal(sel_random_below(&random, 1), 0);
}

static void uniforms_and_normals_have_their_moments(void **state)
{
    (void)state;
    struct sel_random random = sel_random_init(5, 6);
    double mean = 0;
    double normal_mean = 0;
    double normal_square = 0;
    const int draws = 100000;
    for (int k = 0; k < draws; k++) {
        double uniform = sel_random_uniform(&random);
        assert_true(uniform >= 0 && uniform < 1);
        mean += uniform / draws;
        double normal = sel_random_normal(&random);
        assert_true(isfinite(normal));
        normal_mean += normal / draws;
        normal_square += normal * normal / draws;
    }
    fixture_below(fabs(mean - 0.5), 4 * sqrt(1. / 12 / draws));
    fixture_below(fabs(normal_mean), 4 * sqrt(1. / draws));
    fixture_below(fabs(normal_square - 1), 4 * sqrt(2. / draws));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_come_out),
        cmocka_unit_test(a_generator_is_a_function_of_key_and_stream),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(below_is_unbiased_for_a_large_bound),
        cmocka_unit_test(uniforms_and_normals_have_their_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
