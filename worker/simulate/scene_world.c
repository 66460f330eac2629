/* The worlds of a scene: drawn by seed, or of features in files. */
#include <stdlib.h>
#include <string.h>

#include "scene.h"
#include "worker/npy.h"

/* All rows of a matrix, rows x columns, owned by the caller. */
static float *read_rows(const char *path, size_t *rows, size_t *columns, struct error *error)
{
    struct npy *npy = npy_open(path, 4096, error);
    if (npy == NULL)
        return NULL;
    *rows = (size_t)npy_rows(npy);
    *columns = npy_columns(npy);
    float *values = calloc(*rows * *columns + 1, sizeof *values);
    bool done = values != NULL || error_set(error, ERROR_FATAL, "%s: out of memory", path);
    for (size_t k = 0; done && k < *rows; k++) {
        const float *row;
        done = npy_next(npy, &row, error) || error_prefix(error, "%s", path);
        if (done)
            memcpy(values + k * *columns, row, *columns * sizeof *row);
    }
    npy_close(npy);
    if (done)
        return values;
    free(values);
    return NULL;
}

static bool sizes_agree(const struct scene *scene, size_t rows, size_t columns, size_t theta_rows,
                        size_t theta_columns, struct error *error)
{
    if (theta_rows != 1 || theta_columns != columns)
        return error_set(error, ERROR_DATA,
                         "%s: is %zu x %zu; one row of %zu values is needed for %s", scene->theta,
                         theta_rows, theta_columns, columns, scene->features);
    if (rows == 0 || rows % scene->world.completions != 0)
        return error_set(error, ERROR_DATA, "%s: %zu rows are not prompts of %zu completions each",
                         scene->features, rows, scene->world.completions);
    return true;
}

static struct world *world_of_files(const struct scene *scene, struct error *error)
{
    size_t rows, columns, theta_rows, theta_columns;
    struct world *world = NULL;
    float *features = read_rows(scene->features, &rows, &columns, error);
    float *theta =
        features == NULL ? NULL : read_rows(scene->theta, &theta_rows, &theta_columns, error);
    if (theta != NULL && sizes_agree(scene, rows, columns, theta_rows, theta_columns, error)) {
        double psi[columns];
        for (size_t k = 0; k < columns; k++)
            psi[k] = (double)theta[k];
        world = world_of_features(features, rows / scene->world.completions,
                                  scene->world.completions, columns, psi, scene->world.beta);
        if (world == NULL)
            error_set(error, ERROR_FATAL, "out of memory for a world");
    }
    free(features);
    free(theta);
    return world;
}

struct world *scene_world(const struct scene *scene, uint64_t seed, struct error *error)
{
    struct world *world;
    if (scene->kind == SCENE_FEATURES) {
        world = world_of_files(scene, error);
    } else {
        world = world_make(&scene->world, seed);
        if (world == NULL)
            error_set(error, ERROR_FATAL, "out of memory for a world");
    }
    if (world != NULL && scene->informed > 0)
        world_inform(world, scene->informed);
    return world;
}
