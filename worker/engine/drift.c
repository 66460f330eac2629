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

static double sum(const double values[DRIFT_LABELS])
{
    double total = 0;
    for (size_t k = 0; k < DRIFT_LABELS; k++)
        total += values[k];
    return total;
}

double drift_loss(const struct drift *drift)
{
    return drift->count < DRIFT_LABELS ? (double)NAN : sum(drift->loss) / DRIFT_LABELS;
}

double drift_surprise(const struct drift *drift)
{
    if (drift->count < DRIFT_LABELS)
        return (double)NAN;
    double variance = sum(drift->variance);
    return variance > 0 ? sum(drift->excess) / sqrt(variance) : 0;
}
