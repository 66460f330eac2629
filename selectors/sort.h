/* Sorting without memory of its own: the C library's qsort may allocate. Private to the library. */
#ifndef SEL_SORT_H
#define SEL_SORT_H

#include <stddef.h>

/* Restores the heap below `root`: no value is smaller than its children. */
static inline void sort_sink(double *values, size_t root, size_t count)
{
    double value = values[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && values[child + 1] > values[child])
            child++;
        if (values[child] <= value)
            break;
        values[root] = values[child];
    }
    values[root] = value;
}

/* Heap sort, ascending; O(count log count). */
static inline void sort_ascending(double *values, size_t count)
{
    for (size_t root = count / 2; root-- > 0;)
        sort_sink(values, root, count);
    for (size_t end = count; end-- > 1;) {
        double largest = values[0];
        values[0] = values[end];
        values[end] = largest;
        sort_sink(values, 0, end);
    }
}

#endif
