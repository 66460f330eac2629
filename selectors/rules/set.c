#include "selectors/rules/set.h"

#include "selectors/linear.h"
#include "selectors/sort.h"

#include <string.h>

double set_median(double *values, size_t count)
{
    sort_ascending(values, count);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double set_median_distance(const struct sel_set *set, double *values)
{
    size_t rows = set->count < 256 ? set->count : 256;
    size_t count = 0;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = i + 1; j < rows; j++)
            values[count++] =
                sqrt(set_distance2(set_context(set, i), set_context(set, j), set->context_d));
    double median = count > 0 ? set_median(values, count) : 1;
    return median > 0 ? median : 1;
}

static size_t nearest(const double *row, const double *centre, size_t k, size_t d)
{
    size_t best = 0;
    double lowest = INFINITY;
    for (size_t c = 0; c < k; c++) {
        double distance = set_distance2(row, centre + c * d, d);
        if (distance < lowest) {
            lowest = distance;
            best = c;
        }
    }
    return best;
}

/* The first centre is the row nearest the mean; each next one the row farthest from all so far. */
static void seed(const double *rows, size_t count, size_t d, size_t k, double *centre)
{
    memset(centre, 0, d * sizeof(double));
    for (size_t i = 0; i < count; i++)
        for (size_t l = 0; l < d; l++)
            centre[l] += rows[i * d + l] / (double)count;
    for (size_t c = 0; c < k; c++) {
        size_t best = 0;
        double extreme = -INFINITY;
        for (size_t i = 0; i < count; i++) {
            size_t closest = nearest(rows + i * d, centre, c == 0 ? 1 : c, d);
            double distance = set_distance2(rows + i * d, centre + closest * d, d);
            distance = c == 0 ? -distance : distance;
            if (distance > extreme) {
                extreme = distance;
                best = i;
            }
        }
        memcpy(centre + c * d, rows + best * d, d * sizeof(double));
    }
}

void set_kmeans(const double *rows, size_t count, size_t d, size_t k, double *centre,
                size_t *member)
{
    const int steps_max = 100;
    seed(rows, count, d, k, centre);
    for (int step = 0; step < steps_max; step++) {
        bool moved = step == 0;
        for (size_t i = 0; i < count; i++) {
            size_t closest = nearest(rows + i * d, centre, k, d);
            moved |= member[i] != closest;
            member[i] = closest;
        }
        if (!moved)
            return;
        for (size_t c = 0; c < k; c++) {
            double size = 0;
            for (size_t i = 0; i < count; i++)
                size += member[i] == c;
            if (size == 0)
                continue; /* an empty cluster keeps its centre */
            memset(centre + c * d, 0, d * sizeof(double));
            for (size_t i = 0; i < count; i++)
                for (size_t l = 0; member[i] == c && l < d; l++)
                    centre[c * d + l] += rows[i * d + l] / size;
        }
    }
}

void set_variances(const struct sel_set *set, double *q)
{
    for (size_t k = 0; k < set->count; k++) {
        const double *x = set->x + k * set->d;
        q[k] = 0;
        for (size_t i = 0; i < set->d; i++)
            q[k] += x[i] * linear_dot(set->inverse + i * set->d, x, set->d);
    }
}
