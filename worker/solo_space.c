#include "solo_space.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool solo_space_init(struct solo_space *space, size_t dimension, bool moves,
                     struct sel_random random)
{
    size_t d = dimension;
    *space = (struct solo_space){.dimension = d, .name = "world", .random = random};
    if (!moves)
        return true;
    space->basis = calloc(d * d, sizeof *space->basis);
    space->step = calloc(d * d, sizeof *space->step);
    space->scratch = calloc(d * d, sizeof *space->scratch);
    for (size_t k = 0; space->basis != NULL && k < d; k++)
        space->basis[k * d + k] = 1;
    return space->basis != NULL && space->step != NULL && space->scratch != NULL;
}

void solo_space_fini(struct solo_space *space)
{
    free(space->basis);
    free(space->step);
    free(space->scratch);
    *space = (struct solo_space){0};
}

/* Id + drift (Z - Z') / sqrt(d). It has full rank whatever Z is: Z - Z' is skew-symmetric. */
static void draw_step(struct solo_space *space, double drift)
{
    size_t d = space->dimension;
    for (size_t k = 0; k < d * d; k++)
        space->scratch[k] = sel_random_normal(&space->random);
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < d; j++)
            space->step[i * d + j] =
                (i == j ? 1 : 0) +
                drift * (space->scratch[i * d + j] - space->scratch[j * d + i]) / sqrt((double)d);
    }
}

static double dot_columns(const double *matrix, size_t d, size_t left, size_t right)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++)
        sum += matrix[k * d + left] * matrix[k * d + right];
    return sum;
}

/* Gram-Schmidt on the columns. */
static void orthonormalise(double *matrix, size_t d)
{
    for (size_t column = 0; column < d; column++) {
        for (size_t before = 0; before < column; before++) {
            double along = dot_columns(matrix, d, column, before);
            for (size_t k = 0; k < d; k++)
                matrix[k * d + column] -= along * matrix[k * d + before];
        }
        double length = sqrt(dot_columns(matrix, d, column, column));
        for (size_t k = 0; k < d; k++)
            matrix[k * d + column] /= length;
    }
}

void solo_space_move(struct solo_space *space, double drift)
{
    size_t d = space->dimension;
    draw_step(space, drift);
    orthonormalise(space->step, d);
    memcpy(space->scratch, space->basis, d * d * sizeof *space->basis);
    memset(space->basis, 0, d * d * sizeof *space->basis);
    for (size_t i = 0; i < d; i++) {
        for (size_t k = 0; k < d; k++) {
            for (size_t j = 0; j < d; j++)
                space->basis[i * d + j] += space->scratch[i * d + k] * space->step[k * d + j];
        }
    }
    space->number++;
    snprintf(space->name, sizeof space->name, "world-%zu", space->number);
}

void solo_space_features(const struct solo_space *space, const double *phi, float *features)
{
    size_t d = space->dimension;
    for (size_t column = 0; column < d; column++) {
        double sum = space->number == 0 ? phi[column] : 0;
        for (size_t k = 0; space->number > 0 && k < d; k++)
            sum += phi[k] * space->basis[k * d + column];
        features[column] = (float)sum;
    }
}

void solo_space_psi(const struct solo_space *space, const double *psi, double *of_world)
{
    size_t d = space->dimension;
    for (size_t row = 0; row < d; row++) {
        double sum = space->number == 0 ? psi[row] : 0;
        for (size_t k = 0; space->number > 0 && k < d; k++)
            sum += space->basis[row * d + k] * psi[k];
        of_world[row] = sum;
    }
}
