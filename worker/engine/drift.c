#include "drift.h"

#include <math.h>

void drift_clear(struct drift *drift)
{
    drift->count = 0;
}

void drift_add(struct drift *drift, double p, double y)
{
    size_t place = drift->count++ % DRIFT_LABELS;
    double left = log(p), right = log1p(-p), odds = left - right;
    double loss = -y * left - (1 - y) * right;
    drift->loss[place] = loss;
    drift->excess[place] = loss + p * left + (1 - p) * right;
    drift->variance[place] = p * (1 - p) * odds * odds;
}

static double sum(const double *values, size_t count)
{
    double total = 0;
    for (size_t k = 0; k < count; k++)
        total += values[k];
    return total;
}

size_t drift_recent(const struct drift *drift, double *loss, double *surprise)
{
    size_t count = drift->count < DRIFT_LABELS ? drift->count : DRIFT_LABELS;
    double variance = sum(drift->variance, count);
    *loss = *surprise = (double)NAN;
    if (count == 0)
        return 0;
    *loss = sum(drift->loss, count) / (double)count;
    *surprise = variance > 0 ? sum(drift->excess, count) / sqrt(variance) : 0;
    return count;
}

double drift_loss(const struct drift *drift)
{
    double loss, surprise;
    return drift_recent(drift, &loss, &surprise) < DRIFT_LABELS ? (double)NAN : loss;
}

double drift_surprise(const struct drift *drift)
{
    double loss, surprise;
    return drift_recent(drift, &loss, &surprise) < DRIFT_LABELS ? (double)NAN : surprise;
}
