/* Real features through the engine alone, without a broker.
 *
 *   engine_alone --features F.npy --prompts PROMPTS.jsonl --theta THETA.npy --labels N --seed S
 *                [--rule NAME] [--early PROMPTS] [--partitions P] [--round PAIRS] [--set
 * NAME=VALUE]
 *
 * Rows of F stand prompt by prompt, 48 each (`n` of PROMPTS.jsonl's first line). Pairs are answered
 * by Bernoulli(sigma(theta' (phi_left - phi_right))). Prints {"left": row, "right": row} for each
 * asked pair in order, then {"psi": [...], "scale": s}: the last fit, of features (phi - centre) *
 * s. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/npy.h"
#include "worker/options.h"
#include "worker/solo.h"

static const char *const PRESETS[] = {"policy.beta=0.5",    "budget.per_second=100",
                                      "pool.max=48",        "pool.age=2d",
                                      "pool.size=16",       "moments.interval=2s",
                                      "labels.deadline=1d", "control.share=0.05",
                                      "memory.limit=2GiB",  NULL};

struct arguments {
    const char *features, *prompts, *theta, *rule;
    size_t labels, early, partitions, round;
    uint64_t seed;
    const char *sets[16];
    size_t set_count;
};

static bool parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"features", 1, NULL, 'f'}, {"prompts", 1, NULL, 'p'}, {"theta", 1, NULL, 't'},
        {"labels", 1, NULL, 'l'},   {"seed", 1, NULL, 's'},    {"rule", 1, NULL, 'r'},
        {"early", 1, NULL, 'e'},    {"set", 1, NULL, 'o'},     {"partitions", 1, NULL, 'n'},
        {"round", 1, NULL, 'q'},    {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        const char **text = option == 'f'   ? &arguments->features
                            : option == 'p' ? &arguments->prompts
                            : option == 't' ? &arguments->theta
                            : option == 'r' ? &arguments->rule
                                            : NULL;
        if (text != NULL)
            *text = optarg;
        else if (option == 'l')
            arguments->labels = strtoul(optarg, NULL, 10);
        else if (option == 'e')
            arguments->early = strtoul(optarg, NULL, 10);
        else if (option == 'n')
            arguments->partitions = strtoul(optarg, NULL, 10);
        else if (option == 'q')
            arguments->round = strtoul(optarg, NULL, 10);
        else if (option == 's')
            arguments->seed = strtoul(optarg, NULL, 10);
        else if (option == 'o' && arguments->set_count < 14)
            arguments->sets[arguments->set_count++] = optarg;
        else
            return false;
    }
    return arguments->features != NULL && arguments->prompts != NULL && arguments->theta != NULL;
}

/* All rows of a matrix, or of a vector with its columns as rows. */
static float *load(const char *path, uint64_t *rows, size_t *columns, struct error *error)
{
    struct npy *npy = npy_open(path, 4096, error);
    if (npy == NULL)
        return NULL;
    *rows = npy_rows(npy);
    *columns = npy_columns(npy);
    float *values = calloc((size_t)*rows * *columns + 1, sizeof *values);
    for (uint64_t k = 0; values != NULL && k < *rows; k++) {
        const float *row;
        if (!npy_next(npy, &row, error)) {
            free(values);
            values = NULL;
            break;
        }
        memcpy(values + k * *columns, row, *columns * sizeof *values);
    }
    npy_close(npy);
    return values;
}

/* A one-dimensional little-endian float32 file: what npy.h does not read. */
static double *load_vector(const char *path, size_t count)
{
    FILE *file = fopen(path, "rb");
    double *values = calloc(count, sizeof *values);
    if (file == NULL || values == NULL || fseek(file, -(long)(count * sizeof(float)), SEEK_END))
        return NULL;
    for (size_t k = 0; k < count; k++) {
        float value;
        if (fread(&value, sizeof value, 1, file) != 1)
            return NULL;
        values[k] = (double)value;
    }
    fclose(file);
    return values;
}

static size_t completions_of_a_prompt(const char *path)
{
    json_error_t trouble;
    FILE *file = fopen(path, "r");
    json_t *line = file == NULL ? NULL : json_loadf(file, JSON_DISABLE_EOF_CHECK, &trouble);
    size_t count = (size_t)json_integer_value(json_object_get(line, "n"));
    json_decref(line);
    if (file != NULL)
        fclose(file);
    return count;
}

static void print(const struct world *world, const struct solo_result *result)
{
    for (size_t k = 0; k < result->count; k++) {
        const struct world_label *label = &result->labels[k];
        printf("{\"left\": %zu, \"right\": %zu}\n",
               label->prompt * world->completions + label->left,
               label->prompt * world->completions + label->right);
    }
    printf("{\"psi\": [");
    for (size_t k = 0; k < world->dimension; k++)
        printf("%s%.17g", k == 0 ? "" : ", ", result->psi[k]);
    printf("], \"scale\": %.17g, \"c\": %.6g}\n", result->scale * world->scale,
           world_design(world, result->labels, result->count));
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.labels = 2000, .partitions = 1, .round = 60, .seed = 1};
    struct error error = {ERROR_NONE, ""};
    uint64_t rows = 0;
    size_t d = 0;
    int code = 1;
    char rule[64];
    sel_init();
    if (!parse(argc, argv, &arguments)) {
        fprintf(stderr, "engine_alone: see the head of engine_alone.c\n");
        return 2;
    }
    if (arguments.rule != NULL) {
        snprintf(rule, sizeof rule, "selection.rule=%s", arguments.rule);
        arguments.sets[arguments.set_count] = rule;
    }
    float *features = load(arguments.features, &rows, &d, &error);
    size_t n = completions_of_a_prompt(arguments.prompts);
    double *theta = features == NULL ? NULL : load_vector(arguments.theta, d);
    struct options *options = options_new();
    const struct options_input input = {
        .presets = PRESETS, .no_default_file = true, .sets = arguments.sets};
    struct world *world = NULL;
    struct solo_result result = {0};
    const struct solo_plan plan = {.labels = arguments.labels,
                                   .pairs_per_round = arguments.round,
                                   .partitions = (int32_t)arguments.partitions,
                                   .early = arguments.early,
                                   .seed = arguments.seed};
    if (theta == NULL || n < 2 || options == NULL)
        fprintf(stderr, "engine_alone: the data cannot be read: %s\n", error.message);
    else if (options_load(options, &input, &error) &&
             (world = world_of_features(features, (size_t)rows / n, n, d, theta, .5)) != NULL &&
             solo_run(world, options, &plan, &result, &error)) {
        print(world, &result);
        code = 0;
    } else {
        fprintf(stderr, "engine_alone: %s\n", error.message);
    }
    solo_free(&result);
    world_free(world);
    options_free(options);
    free(theta);
    free(features);
    return code;
}
