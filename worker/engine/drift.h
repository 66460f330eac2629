/* Whether new labels contradict the fit.
 *
 * A label y of which the fit, before it has seen it, says P(left) = p costs l = -y log p - (1-y)
 * log(1-p). If the fit is right, l has mean H = -p log p - (1-p) log(1-p) and variance V = p (1-p)
 * (log p - log(1-p))^2. Over the last labels
 *   z = sum (l - H) / sqrt(sum V)
 * is then a standard normal: far above 0 the labels contradict psi. p is averaged over the
 * posterior of psi (probit) and holds the lapse rate. */
#ifndef INFOPAIR_ENGINE_DRIFT_H
#define INFOPAIR_ENGINE_DRIFT_H

#include <stdbool.h>
#include <stddef.h>

enum { DRIFT_LABELS = 200 };

struct drift {
    size_t count;                                                            /* labels so far */
    double loss[DRIFT_LABELS], excess[DRIFT_LABELS], variance[DRIFT_LABELS]; /* the last ones */
};

/* No label yet. */
void drift_clear(struct drift *drift);
/* A label y in [0, 1] of which probability p in (0, 1) was predicted. */
void drift_add(struct drift *drift, double p, double y);
/* Mean of l over the last labels, in nats; NaN before there are DRIFT_LABELS. */
double drift_loss(const struct drift *drift);
/* z; NaN before there are DRIFT_LABELS. */
double drift_surprise(const struct drift *drift);
/* The same two over the last labels, at most DRIFT_LABELS, however few there are. Returns how many
 * there are; 0: the figures are NaN. */
size_t drift_recent(const struct drift *drift, double *loss, double *surprise);

#endif
