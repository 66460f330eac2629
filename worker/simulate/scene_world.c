/* The worlds of a scene: drawn by seed, or of features in files. */
#include <stdlib.h>
#include <string.h>

#include "scene.h"
#include "worker/npy.h"

enum { COLUMNS_MAX = 4096 };

/* All rows of a matrix, rows x columns, owned by the caller. */
static float *read_rows(const char *path, size_t *rows, size_t *columns, struct error *error)
{
    struct npy *npy = npy_open(path, COLUMNS_MAX, error);
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

static bool sizes_agree(const struct scene *scene, size_t rows, size_t columns, size_t axes,
                        struct error *error)
{
    if (axes != columns)
        return error_set(error, ERROR_DATA, "%s: has %zu values, %s has %zu columns", scene->theta,
                         axes, scene->features, columns);
    if (rows == 0)
        return error_set(error, ERROR_DATA, "%s: has no rows", scene->features);
    return rows % scene->world.completions == 0 ||
           error_set(error, ERROR_DATA, "%s: %zu rows are not prompts of %zu completions each",
                     scene->features, rows, scene->world.completions);
}

/* What was asked for is wrong, not the machine. */
static bool blame(const char *field, struct error *error)
{
    error->class = ERROR_DATA;
    return error_prefix(error, "%s", field);
}

bool scene_dimension(const struct scene *scene, size_t *dimension, struct error *error)
{
    *dimension = scene->world.dimension;
    if (scene->kind != SCENE_FEATURES)
        return true;
    struct npy *npy = npy_open(scene->features, COLUMNS_MAX, error);
    if (npy == NULL)
        return blame("features", error);
    size_t rows = (size_t)npy_rows(npy), axes;
    *dimension = npy_columns(npy);
    npy_close(npy);
    double *psi = npy_read_vector(scene->theta, COLUMNS_MAX, &axes, error);
    bool done =
        (psi != NULL || blame("theta", error)) && sizes_agree(scene, rows, *dimension, axes, error);
    free(psi);
    return done;
}

static struct world *world_of_files(const struct scene *scene, struct error *error)
{
    size_t rows, columns, axes;
    struct world *world = NULL;
    float *features = read_rows(scene->features, &rows, &columns, error);
    double *psi =
        features == NULL ? NULL : npy_read_vector(scene->theta, COLUMNS_MAX, &axes, error);
    if (psi != NULL && sizes_agree(scene, rows, columns, axes, error)) {
        world = world_of_features(features, rows / scene->world.completions,
                                  scene->world.completions, columns, psi, scene->world.beta);
        if (world == NULL)
            error_set(error, ERROR_FATAL, "out of memory for a world");
    }
    free(features);
    free(psi);
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
