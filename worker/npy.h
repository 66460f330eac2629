/* Rows of a matrix in NumPy's .npy format, one after the other: little-endian float32 or float64,
 * two dimensions, C order. The matrix is never held in memory. And one vector. */
#ifndef INFOPAIR_NPY_H
#define INFOPAIR_NPY_H

#include "schemas/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct npy_header {
    size_t item; /* bytes of one value: 4 or 8 */
    uint64_t rows;
    uint64_t columns;
    bool vector; /* of one dimension: rows is 1 */
};

/* Parses the dictionary of a header, `size` bytes such as
 * "{'descr': '<f4', 'fortran_order': False, 'shape': (8016, 64), }   \n". Anything but a
 * little-endian float matrix in C order, or a vector, is an error that names what was found. */
bool npy_parse_header(const char *text, size_t size, struct npy_header *header,
                      struct error *error);

struct npy;

/* Opens a regular file. Fails unless its length is what the header says and it has 1 to columns_max
 * columns. */
struct npy *npy_open(const char *path, size_t columns_max, struct error *error);
void npy_close(struct npy *npy);

uint64_t npy_rows(const struct npy *npy);
size_t npy_columns(const struct npy *npy);

/* Reads the next row; *row, npy_columns values, lasts until the next call. float64 is rounded to
 * float32. False after the last row (ERROR_FATAL) or on a value that is not finite as float32
 * (ERROR_DATA), of which the error names row and column, both from 0; the row behind it can be
 * read. */
bool npy_next(struct npy *npy, const float **row, struct error *error);

/* The values of a vector, or of a matrix of one row, rounded to float32; at most `most`. Owned by
 * the caller; NULL with `error` filled. */
double *npy_read_vector(const char *path, size_t most, size_t *count, struct error *error);

/* Writes a vector as little-endian float64, over what the file may hold: first beside it, so that
 * whoever reads meets the old file or the new one. */
bool npy_write(const char *path, const double *values, size_t count, struct error *error);

#endif
