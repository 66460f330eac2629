#include "nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

enum { LENGTH_MAX = 63 };

static size_t minimum(size_t left, size_t right)
{
    return left < right ? left : right;
}

static bool same(char left, char right)
{
    return tolower((unsigned char)left) == tolower((unsigned char)right);
}

size_t nearest_distance(const char *left, const char *right)
{
    size_t rows[3][LENGTH_MAX + 1];
    size_t *before = rows[0], *previous = rows[1], *current = rows[2];
    size_t left_size = strnlen(left, LENGTH_MAX), right_size = strnlen(right, LENGTH_MAX);
    for (size_t j = 0; j <= right_size; j++)
        previous[j] = j;
    for (size_t i = 1; i <= left_size; i++) {
        current[0] = i;
        for (size_t j = 1; j <= right_size; j++) {
            size_t replaced = previous[j - 1] + (same(left[i - 1], right[j - 1]) ? 0 : 1);
            current[j] = minimum(replaced, minimum(previous[j], current[j - 1]) + 1);
            if (i > 1 && j > 1 && same(left[i - 1], right[j - 2]) &&
                same(left[i - 2], right[j - 1]))
                current[j] = minimum(current[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = previous;
        previous = current;
        current = oldest;
    }
    return previous[right_size];
}

void nearest_offer(struct nearest *nearest, const char *typed, const char *candidate)
{
    size_t distance = nearest_distance(typed, candidate);
    if (nearest->name != NULL && distance >= nearest->distance)
        return;
    nearest->name = candidate;
    nearest->distance = distance;
}
