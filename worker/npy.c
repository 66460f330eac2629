/* The format: "\x93NUMPY", one byte major and one byte minor version, the length of the header as
 * little-endian 2 bytes (version 1) or 4 bytes (2 and 3), the header: a Python dictionary literal
 * padded with blanks; then the values.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#include "npy.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are copied as they stand");

/* numpy writes 128 bytes; it refuses to read more than 10000 itself. */
enum { HEADER_MAX = 10000, MAGIC_SIZE = 6, DIMENSIONS = 2 };

struct npy {
    FILE *file;
    struct npy_header header;
    uint64_t next; /* row */
    char *raw;     /* one row as in the file */
    float *row;
};

/* What is left of the header to parse. */
struct cursor {
    const char *at;
    const char *end;
};

static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end && strchr(" \t\r\n", *cursor->at) != NULL && *cursor->at)
        cursor->at++;
}

/* Steps over `word`, and blanks in front of it, when it comes next. */
static bool take(struct cursor *cursor, const char *word)
{
    skip_blanks(cursor);
    size_t size = strlen(word);
    if ((size_t)(cursor->end - cursor->at) < size || memcmp(cursor->at, word, size) != 0)
        return false;
    cursor->at += size;
    return true;
}

/* A string in quotes without escapes; longer ones than `text` are cut, none of ours is. */
static bool take_string(struct cursor *cursor, char *text, size_t size)
{
    skip_blanks(cursor);
    if (cursor->at == cursor->end || (*cursor->at != '\'' && *cursor->at != '"'))
        return false;
    const char *from = cursor->at + 1;
    const char *to = memchr(from, *cursor->at, (size_t)(cursor->end - from));
    if (to == NULL)
        return false;
    snprintf(text, size, "%.*s", (int)(to - from), from);
    cursor->at = to + 1;
    return true;
}

static bool take_number(struct cursor *cursor, uint64_t *number)
{
    skip_blanks(cursor);
    const char *from = cursor->at;
    for (*number = 0; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9';
         cursor->at++) {
        uint64_t digit = (uint64_t)(*cursor->at - '0');
        if (*number > (INT64_MAX - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    return cursor->at > from;
}

static bool wrong_shape(int dimensions, struct error *error)
{
    return error_set(error, ERROR_DATA,
                     "the array has %d dimensions; wanted are 2: lines x features", dimensions);
}

static bool take_shape(struct cursor *cursor, struct npy_header *header, struct error *error)
{
    uint64_t sizes[DIMENSIONS] = {0};
    int count = 0;
    if (!take(cursor, "("))
        return error_set(error, ERROR_DATA, "the header's shape is not a tuple");
    while (!take(cursor, ")")) {
        uint64_t size;
        if (!take_number(cursor, &size))
            return error_set(error, ERROR_DATA, "the header's shape cannot be read");
        if (count < DIMENSIONS)
            sizes[count] = size;
        count++;
        take(cursor, ",");
    }
    header->vector = count == 1;
    header->rows = header->vector ? 1 : sizes[0];
    header->columns = header->vector ? sizes[0] : sizes[1];
    return header->vector || count == DIMENSIONS || wrong_shape(count, error);
}

static bool take_type(struct cursor *cursor, struct npy_header *header, struct error *error)
{
    char type[32];
    if (!take_string(cursor, type, sizeof type))
        return error_set(error, ERROR_DATA, "the header's descr is not a string");
    if (strcmp(type, "<f4") == 0)
        header->item = sizeof(float);
    else if (strcmp(type, "<f8") == 0)
        header->item = sizeof(double);
    else
        return error_set(error, ERROR_DATA,
                         "values are of type '%s'; wanted is '<f4' or '<f8' (little-endian float)",
                         type);
    return true;
}

static bool take_order(struct cursor *cursor, struct error *error)
{
    if (take(cursor, "False"))
        return true;
    if (take(cursor, "True"))
        return error_set(error, ERROR_DATA,
                         "the array is in Fortran order; save it with numpy.ascontiguousarray");
    return error_set(error, ERROR_DATA, "the header's fortran_order is neither True nor False");
}

bool npy_parse_header(const char *text, size_t size, struct npy_header *header, struct error *error)
{
    struct cursor cursor = {text, text + size};
    *header = (struct npy_header){0};
    bool type = false, order = false, shape = false;
    if (!take(&cursor, "{"))
        return error_set(error, ERROR_DATA, "the header is not a dictionary");
    while (!take(&cursor, "}")) {
        char key[32];
        if (!take_string(&cursor, key, sizeof key) || !take(&cursor, ":"))
            return error_set(error, ERROR_DATA, "the header cannot be read");
        bool good;
        if (strcmp(key, "descr") == 0)
            good = type = take_type(&cursor, header, error);
        else if (strcmp(key, "fortran_order") == 0)
            good = order = take_order(&cursor, error);
        else if (strcmp(key, "shape") == 0)
            good = shape = take_shape(&cursor, header, error);
        else
            good = error_set(error, ERROR_DATA, "the header has an unknown key '%s'", key);
        if (!good)
            return false;
        take(&cursor, ",");
    }
    return (type && order && shape) || error_set(error, ERROR_DATA, "the header lacks %s",
                                                 !type    ? "descr"
                                                 : !order ? "fortran_order"
                                                          : "shape");
}

/* Reads up to the first value; *start is its position in the file. */
static bool read_header(struct npy *npy, uint64_t *start, struct error *error)
{
    unsigned char fixed[MAGIC_SIZE + 6];
    size_t before = MAGIC_SIZE + 4;
    if (fread(fixed, 1, before, npy->file) != before || memcmp(fixed, "\x93NUMPY", MAGIC_SIZE) != 0)
        return error_set(error, ERROR_DATA, "not a file of numpy.save");
    unsigned major = fixed[MAGIC_SIZE];
    size_t length = fixed[8] + 256u * fixed[9];
    if (major < 1 || major > 3)
        return error_set(error, ERROR_DATA, "version %u of the format is not known", major);
    if (major > 1) {
        if (fread(fixed + before, 1, 2, npy->file) != 2)
            return error_set(error, ERROR_DATA, "the file ends inside its header");
        before += 2;
        length += ((size_t)fixed[10] << 16) + ((size_t)fixed[11] << 24);
    }
    if (length > HEADER_MAX)
        return error_set(error, ERROR_DATA, "a header of %zu bytes is longer than any of numpy's",
                         length);
    char text[HEADER_MAX];
    if (fread(text, 1, length, npy->file) != length)
        return error_set(error, ERROR_DATA, "the file ends inside its header");
    *start = before + length;
    return npy_parse_header(text, length, &npy->header, error);
}

/* The lengths come from the file: nothing is multiplied before it is bounded. */
static bool check_sizes(const struct npy *npy, uint64_t start, size_t columns_max,
                        struct error *error)
{
    const struct npy_header *header = &npy->header;
    if (header->columns == 0 || header->columns > columns_max)
        return error_set(error, ERROR_DATA, "%" PRIu64 " columns; limits.dimension allows 1 to %zu",
                         header->columns, columns_max);
    struct stat status;
    if (fstat(fileno(npy->file), &status) != 0 || !S_ISREG(status.st_mode))
        return error_set(error, ERROR_DATA, "not a regular file");
    uint64_t bytes = (uint64_t)status.st_size;
    uint64_t row = header->columns * header->item;
    if (header->rows > bytes / row || start + header->rows * row != bytes)
        return error_set(error, ERROR_DATA,
                         "the file has %" PRIu64 " bytes, not those of %" PRIu64 " x %" PRIu64
                         " values of %zu bytes: cut short, or not of one array",
                         bytes, header->rows, header->columns, header->item);
    return true;
}

static bool start(struct npy *npy, const char *path, bool vector, size_t columns_max,
                  struct error *error)
{
    npy->file = fopen(path, "rb");
    if (npy->file == NULL)
        return error_set(error, ERROR_FATAL, "%s", strerror(errno));
    uint64_t first = 0;
    if (!read_header(npy, &first, error))
        return false;
    if (npy->header.vector && !vector)
        return wrong_shape(1, error);
    if (vector && npy->header.rows != 1)
        return error_set(error, ERROR_DATA, "%" PRIu64 " rows; wanted is one vector",
                         npy->header.rows);
    if (!check_sizes(npy, first, columns_max, error))
        return false;
    npy->raw = malloc(npy->header.columns * npy->header.item);
    npy->row = malloc(npy->header.columns * sizeof *npy->row);
    return (npy->raw != NULL && npy->row != NULL) || error_set(error, ERROR_FATAL, "out of memory");
}

static struct npy *open_file(const char *path, bool vector, size_t columns_max, struct error *error)
{
    struct npy *npy = calloc(1, sizeof *npy);
    if (npy == NULL) {
        error_set(error, ERROR_FATAL, "out of memory");
        return NULL;
    }
    if (start(npy, path, vector, columns_max, error))
        return npy;
    error_prefix(error, "%s", path);
    npy_close(npy);
    return NULL;
}

struct npy *npy_open(const char *path, size_t columns_max, struct error *error)
{
    return open_file(path, false, columns_max, error);
}

double *npy_read_vector(const char *path, size_t most, size_t *count, struct error *error)
{
    const float *row;
    struct npy *npy = open_file(path, true, most, error);
    double *values = npy == NULL ? NULL : calloc(npy_columns(npy), sizeof *values);
    bool done = values != NULL && (npy_next(npy, &row, error) || error_prefix(error, "%s", path));
    if (npy != NULL && values == NULL)
        error_set(error, ERROR_FATAL, "%s: out of memory", path);
    *count = done ? npy_columns(npy) : 0;
    for (size_t k = 0; k < *count; k++)
        values[k] = (double)row[k];
    npy_close(npy);
    if (!done)
        free(values);
    return done ? values : NULL;
}

void npy_close(struct npy *npy)
{
    if (npy == NULL)
        return;
    if (npy->file != NULL)
        fclose(npy->file);
    free(npy->raw);
    free(npy->row);
    free(npy);
}

uint64_t npy_rows(const struct npy *npy)
{
    return npy->header.rows;
}

size_t npy_columns(const struct npy *npy)
{
    return (size_t)npy->header.columns;
}

static float value_at(const struct npy *npy, size_t column)
{
    if (npy->header.item == sizeof(float)) {
        float value;
        memcpy(&value, npy->raw + column * sizeof value, sizeof value);
        return value;
    }
    double value;
    memcpy(&value, npy->raw + column * sizeof value, sizeof value);
    return (float)value;
}

bool npy_next(struct npy *npy, const float **row, struct error *error)
{
    if (npy->next >= npy->header.rows)
        return error_set(error, ERROR_FATAL, "only %" PRIu64 " rows of features", npy->header.rows);
    size_t columns = npy_columns(npy);
    if (fread(npy->raw, npy->header.item, columns, npy->file) != columns)
        return error_set(error, ERROR_FATAL, "features: row %" PRIu64 " cannot be read", npy->next);
    uint64_t number = npy->next++;
    for (size_t column = 0; column < columns; column++) {
        npy->row[column] = value_at(npy, column);
        if (!isfinite(npy->row[column]))
            return error_set(error, ERROR_DATA,
                             "features: row %" PRIu64 ", column %zu is not finite", number, column);
    }
    *row = npy->row;
    return true;
}

/* ---- writing ---- */

static bool write_vector(FILE *file, const double *values, size_t count)
{
    /* As numpy does: the values begin at a multiple of 64. */
    enum { HEADER = 118 };
    const unsigned char fixed[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, HEADER, 0};
    char text[HEADER + 1];
    int used = snprintf(text, sizeof text,
                        "{'descr': '<f8', 'fortran_order': False, 'shape': (%zu,), }", count);
    memset(text + used, ' ', (size_t)(HEADER - used));
    text[HEADER - 1] = '\n';
    return fwrite(fixed, 1, sizeof fixed, file) == sizeof fixed &&
           fwrite(text, 1, HEADER, file) == HEADER &&
           fwrite(values, sizeof *values, count, file) == count;
}

bool npy_write(const char *path, const double *values, size_t count, struct error *error)
{
    size_t room = strlen(path) + sizeof ".part";
    char *part = malloc(room);
    if (part == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    snprintf(part, room, "%s.part", path);
    FILE *file = fopen(part, "wb");
    bool good = file != NULL && write_vector(file, values, count);
    if (file != NULL)
        good = fclose(file) == 0 && good;
    good = good && rename(part, path) == 0;
    if (!good) {
        error_set(error, ERROR_FATAL, "%s: %s", path, strerror(errno));
        if (file != NULL)
            remove(part);
    }
    free(part);
    return good;
}
