/* Random problems and slow twins for the tests of libinfopair. */
#ifndef SEL_FIXTURE_H
#define SEL_FIXTURE_H

#include "selectors/selectors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline void *fixture_room(size_t count, size_t size)
{
    void *room = calloc(count, size);
    if (room == NULL)
        abort();
    return room;
}

/* Multiples of 1/64 of a standard normal: sums and differences of two are exact in float32. */
static inline float *fixture_features(struct sel_random *random, size_t count)
{
    float *features = fixture_room(count, sizeof *features);
    for (size_t k = 0; k < count; k++)
        features[k] = (float)(round(sel_random_normal(random) * 64) / 64);
    return features;
}

static inline double *fixture_normals(struct sel_random *random, size_t count)
{
    double *values = fixture_room(count, sizeof *values);
    for (size_t k = 0; k < count; k++)
        values[k] = sel_random_normal(random);
    return values;
}

/* A A' / d with A d x d of normals. */
static inline double *fixture_policy(struct sel_random *random, size_t d)
{
    double *a = fixture_normals(random, d * d);
    double *policy = fixture_room(d * d, sizeof *policy);
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            for (size_t k = 0; k < d; k++)
                policy[i * d + j] += a[i * d + k] * a[j * d + k] / (double)d;
    free(a);
    return policy;
}

/* Sigma = lambda Id + `labels` random pairs of weight 0.2. */
static inline struct sel_information *fixture_information(struct sel_random *random, size_t d,
                                                          double lambda, size_t labels)
{
    struct sel_information *information = sel_information_new(d);
    double *scale = fixture_room(d, sizeof *scale);
    float *x = fixture_features(random, labels * d + 1);
    for (size_t k = 0; k < d; k++)
        scale[k] = lambda;
    assert_int_equal(sel_information_reset(information, scale), SEL_OK);
    for (size_t k = 0; k < labels; k++) {
        const float *row = x + k * d;
        double w = 0.2;
        assert_int_equal(sel_information_accumulate(information, &row, &w, 1), SEL_OK);
    }
    assert_int_equal(sel_information_factor(information), SEL_OK);
    free(scale);
    free(x);
    return information;
}

/* out = a b, d x d. */
static inline void fixture_multiply(const double *a, const double *b, double *out, size_t d)
{
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            double sum = 0;
            for (size_t k = 0; k < d; k++)
                sum += a[i * d + k] * b[k * d + j];
            out[i * d + j] = sum;
        }
}

/* S I S; the caller frees. */
static inline double *fixture_sandwich(const struct sel_information *information,
                                       const double *policy)
{
    size_t d = sel_information_dimension(information);
    double *half = fixture_room(d * d, sizeof *half);
    double *out = fixture_room(d * d, sizeof *out);
    fixture_multiply(sel_information_inverse(information), policy, half, d);
    fixture_multiply(half, sel_information_inverse(information), out, d);
    free(half);
    return out;
}

/* Largest |a - b| beside the largest |b|. */
static inline double fixture_distance(const double *a, const double *b, size_t count)
{
    double largest = 0;
    double scale = 0;
    for (size_t k = 0; k < count; k++) {
        double away = fabs(a[k] - b[k]);
        if (!(away <= largest)) /* keeps a NaN */
            largest = away;
        scale = fmax(scale, fabs(b[k]));
    }
    return scale > 0 ? largest / scale : largest;
}

static inline void fixture_close(double found, double expected, double relative)
{
    if (!(fabs(found - expected) <= relative * fabs(expected)))
        fail_msg("%.17g is not %.17g within %g", found, expected, relative);
}

static inline void fixture_below(double found, double bound)
{
    if (!(found <= bound))
        fail_msg("%.17g is above %g", found, bound);
}

#endif
