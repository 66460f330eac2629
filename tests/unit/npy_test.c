/* .npy files as numpy writes them, and as nobody should. */
#include "tests/support/expect.h"
#include "worker/npy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/infopair-npy-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int drop_file(void **state)
{
    (void)state;
    return unlink(path);
}

/* Writes a file of version `major` with this header and these values. */
static void write_npy(int major, const char *header, const void *values, size_t size)
{
    size_t length = strlen(header);
    const unsigned char fixed[] = {0x93,
                                   'N',
                                   'U',
                                   'M',
                                   'P',
                                   'Y',
                                   (unsigned char)major,
                                   0,
                                   (unsigned char)(length & 255),
                                   (unsigned char)(length >> 8),
                                   0,
                                   0};
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    size_t fixed_size = major == 1 ? 10 : 12;
    assert_int_equal(fwrite(fixed, 1, fixed_size, file), fixed_size);
    assert_int_equal(fwrite(header, 1, length, file), length);
    assert_int_equal(fwrite(values, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

#define HEADER_F4 "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }      \n"
#define HEADER_F8 "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }      \n"

static void assert_rows(int major, const char *header, const void *values, size_t size)
{
    struct error error;
    write_npy(major, header, values, size);
    struct npy *npy = npy_open(path, 3, &error);
    assert_non_null(npy);
    assert_int_equal(npy_rows(npy), 2);
    assert_int_equal(npy_columns(npy), 3);
    const float expected[] = {1.5F, -2, 0.25F, 4, 1e-3F, -6};
    for (size_t k = 0; k < 2; k++) {
        const float *row;
        assert_true(npy_next(npy, &row, &error));
        for (size_t column = 0; column < 3; column++)
            assert_true(row[column] == expected[3 * k + column]);
    }
    const float *row;
    assert_false(npy_next(npy, &row, &error));
    assert_int_equal(error.class, ERROR_FATAL);
    assert_non_null(strstr(error.message, "only 2 rows"));
    npy_close(npy);
}

static void rows_of_float32_and_float64_come_in_order(void **state)
{
    (void)state;
    const float single[] = {1.5F, -2, 0.25F, 4, 1e-3F, -6};
    const double wide[] = {1.5, -2, 0.25, 4, 1e-3, -6};
    assert_rows(1, HEADER_F4, single, sizeof single);
    assert_rows(2, HEADER_F4, single, sizeof single);
    assert_rows(3, HEADER_F8, wide, sizeof wide);
}

static void values_that_are_not_finite_are_named_and_the_next_row_can_be_read(void **state)
{
    (void)state;
    struct error error;
    const float *row;
    /* 1e300 is finite, but not as float32. */
    const double values[] = {1, 2, 1e300, 4, 5, 6};
    write_npy(1, HEADER_F8, values, sizeof values);
    struct npy *npy = npy_open(path, 3, &error);
    assert_non_null(npy);
    assert_false(npy_next(npy, &row, &error));
    assert_int_equal(error.class, ERROR_DATA);
    assert_non_null(strstr(error.message, "row 0, column 2"));
    assert_true(npy_next(npy, &row, &error));
    assert_true(row[0] == 4);
    npy_close(npy);
}

static void a_vector_is_written_as_numpy_writes_it(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    const double values[] = {1.5, -2, 1e300};
    static const char HEADER[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, "
        "'shape': (3,), }";
    char read[256];
    assert_true(npy_write(path, values, 3, &error));
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(read, 1, sizeof read, file), 128 + sizeof values);
    fclose(file);
    assert_memory_equal(read, HEADER, sizeof HEADER - 1);
    assert_int_equal(read[127], '\n');
    assert_memory_equal(read + 128, values, sizeof values);
    assert_false(npy_write("/nonexistent/head.npy", values, 3, &error));
    assert_non_null(strstr(error.message, "/nonexistent/head.npy: "));
}

static void a_vector_is_read_back_and_is_no_matrix(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    const double values[] = {1.5, -2, 0.25}, matrix[6] = {0};
    size_t count;
    assert_true(npy_write(path, values, 3, &error));
    double *read = npy_read_vector(path, 3, &count, &error);
    assert_non_null(read);
    assert_int_equal(count, 3);
    assert_memory_equal(read, values, sizeof values);
    free(read);
    assert_null(npy_read_vector(path, 2, &count, &error));
    assert_non_null(strstr(error.message, "3 columns"));
    assert_null(npy_open(path, 3, &error));
    assert_non_null(strstr(error.message, "1 dimensions"));
    write_npy(1, HEADER_F8, matrix, sizeof matrix);
    assert_null(npy_read_vector(path, 3, &count, &error));
    assert_non_null(strstr(error.message, "2 rows"));
}

/* Opening fails with a message that contains `words` and begins with the file's name. */
static void assert_refused(size_t columns_max, const char *words)
{
    struct error error;
    assert_null(npy_open(path, columns_max, &error));
    assert_non_null(strstr(error.message, words));
    assert_int_equal(strncmp(error.message, path, strlen(path)), 0);
}

static void files_of_another_length_than_they_say_are_refused(void **state)
{
    (void)state;
    const float values[7] = {0};
    write_npy(1, HEADER_F4, values, 6 * sizeof(float) - 1);
    assert_refused(3, "cut short");
    write_npy(1, HEADER_F4, values, sizeof values);
    assert_refused(3, "cut short");
    /* rows x columns x 4 overflows 64 bits. */
    write_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }\n",
              values, 0);
    assert_refused(4, "cut short");
}

static void more_columns_than_allowed_are_refused(void **state)
{
    (void)state;
    const float values[6] = {0};
    write_npy(1, HEADER_F4, values, sizeof values);
    assert_refused(2, "3 columns; limits.dimension allows 1 to 2");
    write_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0), }\n", values, 0);
    assert_refused(2, "0 columns");
}

static void files_that_are_no_arrays_are_refused(void **state)
{
    (void)state;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("{\"prompt_id\": 1}\n", file);
    fclose(file);
    assert_refused(3, "not a file of numpy.save");
    write_npy(9, HEADER_F4, "", 0);
    assert_refused(3, "version 9");
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite("\x93NUMPY\x02\0\xff\xff\xff\x7f{", 1, 13, file), 13);
    fclose(file);
    assert_refused(3, "a header of 2147483647 bytes");
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite("\x93NUMPY\x01\0\x76\0{'descr'", 1, 18, file), 18);
    fclose(file);
    assert_refused(3, "ends inside its header");
}

static void headers_that_say_something_else_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        const char *words;
    } CASES[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", "type '>f4'"},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }", "type '<i8'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "descr"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", "Fortran order"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3), }", "fortran_order"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "0 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }", "3 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 99999999999999999999), }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 2, }", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, }", "lacks shape"},
        {"{'descr': '<f4', 'shape': (2, 3)}", "lacks fortran_order"},
        {"{}", "lacks descr"},
        {"{'descr': '<f4", "descr"},
        {"{'descr' '<f4'}", "cannot be read"},
        {"{'descr': '<f4', 'exec': 'x', }", "unknown key 'exec'"},
        {"[1, 2]", "dictionary"},
        {"", "dictionary"},
    };
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        struct npy_header header;
        struct error error;
        /* An exact copy, so that the sanitizer sees a read behind it. */
        size_t size = strlen(CASES[k].header);
        char *copy = malloc(size == 0 ? 1 : size);
        assert_non_null(copy);
        memcpy(copy, CASES[k].header, size);
        assert_false(npy_parse_header(copy, size, &header, &error));
        assert_int_equal(error.class, ERROR_DATA);
        expect_says(error.message, CASES[k].words);
        free(copy);
    }
}

static void every_prefix_of_a_header_is_refused(void **state)
{
    (void)state;
    const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    for (size_t size = 0; size < sizeof header - 1; size++) {
        struct npy_header parsed;
        char *copy = malloc(size + 1);
        assert_non_null(copy);
        memcpy(copy, header, size);
        assert_false(npy_parse_header(copy, size, &parsed, NULL));
        free(copy);
    }
    struct npy_header parsed;
    assert_true(npy_parse_header(header, sizeof header - 1, &parsed, NULL));
    assert_int_equal(parsed.rows, 2);
    assert_int_equal(parsed.columns, 3);
    assert_int_equal(parsed.item, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_float32_and_float64_come_in_order),
        cmocka_unit_test(values_that_are_not_finite_are_named_and_the_next_row_can_be_read),
        cmocka_unit_test(a_vector_is_written_as_numpy_writes_it),
        cmocka_unit_test(a_vector_is_read_back_and_is_no_matrix),
        cmocka_unit_test(files_of_another_length_than_they_say_are_refused),
        cmocka_unit_test(more_columns_than_allowed_are_refused),
        cmocka_unit_test(files_that_are_no_arrays_are_refused),
        cmocka_unit_test(headers_that_say_something_else_are_refused_by_name),
        cmocka_unit_test(every_prefix_of_a_header_is_refused),
    };
    return cmocka_run_group_tests(tests, make_file, drop_file);
}
