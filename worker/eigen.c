#include "eigen.h"

#include <cblas.h>
#include <stdlib.h>

void dsyev_(const char *vectors, const char *triangle, const blasint *n, double *a,
            const blasint *stride, double *values, double *work, const blasint *room,
            blasint *info);

bool eigen_symmetric(double *matrix, size_t d, double *values)
{
    blasint n = (blasint)d, room = (blasint)(34 * d), info = 1;
    double *work = malloc((size_t)room * sizeof *work);
    if (work == NULL)
        return false;
    dsyev_("V", "U", &n, matrix, &n, values, work, &room, &info);
    free(work);
    return info == 0;
}
