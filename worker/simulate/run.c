#include "run.h"

#include "selectors/rule.h"
#include "worker/clock.h"
#include "worker/memory.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETS_MAX = 96, SET_SIZE = 128, PRESETS_MAX = 32 };

/* Of parameters without a default. */
static const char *const REQUIRED[RUN_REQUIRED] = {
    "target_margin=1", "gate=1",           "implicit_margin=1", "prompt_share=0.5",
    "top_quantile=4",  "resolution=0.1",   "entropy_weight=1",  "neighbours=5",
    "radius=1",        "reward_share=0.5", "kernel_scale=1"};
static const double SECOND_DEVIATION = .5; /* of the second learner's reward */

/* The options of one run, as `--set` has them: those of the simulation, of the scene, of the rule.
 */
struct sets {
    char presets[PRESETS_MAX][SET_SIZE];
    const char *preset[PRESETS_MAX + 1];
    char text[SETS_MAX][SET_SIZE];
    const char *set[SETS_MAX + 1];
    size_t preset_count, count;
};

__attribute__((format(printf, 2, 3))) static void add_preset(struct sets *sets, const char *format,
                                                             ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sets->presets[sets->preset_count], SET_SIZE, format, arguments);
    va_end(arguments);
    sets->preset[sets->preset_count] = sets->presets[sets->preset_count];
    sets->preset_count++;
}

static bool add_set(struct sets *sets, const char *prefix, const char *text, size_t size,
                    struct error *error)
{
    if (sets->count == SETS_MAX || strlen(prefix) + size >= SET_SIZE)
        return error_set(error, ERROR_DATA,
                         "'%.60s': more than %d options, or one of more than %d "
                         "bytes",
                         text, SETS_MAX, SET_SIZE - 1);
    snprintf(sets->text[sets->count], SET_SIZE, "%s%.*s", prefix, (int)size, text);
    sets->set[sets->count] = sets->text[sets->count];
    sets->count++;
    return true;
}

/* Those of all feature spaces: labels of a space before count as long as the window lasts, and a
 * space carries those that there are by then. */
static size_t labels_kept(const struct scene *scene)
{
    size_t rounds = scene->labels / scene->batch;
    size_t spaces = scene->drift > 0 ? rounds / scene->drift_rounds + 1 : 1;
    size_t kept = scene->labels * (spaces + 1) / 2 + scene->labels;
    return kept < 100000 ? 100000 : kept;
}

/* A world's features are scaled already, and what is not simulated is off. */
static void add_presets(const struct scene *scene, size_t dimension, struct sets *sets)
{
    size_t whole = scene->pool == 0 || scene->traffic ? scene->world.completions : scene->pool;
    add_preset(sets, "policy.beta=%.17g", scene->world.beta);
    add_preset(sets, "budget.per_second=%zu", scene->batch);
    add_preset(sets, "pool.size=%zu", scene->pool == 0 ? whole : scene->pool);
    add_preset(sets, "pool.max=%zu", whole);
    if (scene->pool == 0) {
        add_preset(sets, "pool.age=3000d");
        add_preset(sets, "pool.wait=365d");
    } else {
        add_preset(sets, "pool.age=%zus", scene->keep);
        add_preset(sets, "pool.wait=1s");
    }
    if (scene->traffic)
        add_preset(sets, "policy.sampling=logged");
    add_preset(sets, "features.scale=1");
    add_preset(sets, "features.dimension=%zu", dimension);
    add_preset(sets, "moments.interval=1s");
    add_preset(sets, "labels.deadline=365d");
    add_preset(sets, "labels.window=3000d");
    add_preset(sets, "policy.window=3000d");
    add_preset(sets, "labels.max=%zu", labels_kept(scene));
    add_preset(sets, "limits.dimension=4096");
    add_preset(sets, "control.share=0");
    add_preset(sets, "accounting.memory=0");
    add_preset(sets, "memory.limit=4GiB");
    if (scene->lapse == 0 && scene->annotators == NULL)
        add_preset(sets, "labels.lapse=0");
}

size_t run_required(const char *name, const char *found[RUN_REQUIRED])
{
    char own[SET_SIZE];
    size_t count = 0;
    snprintf(own, sizeof own, "%.*s", (int)strcspn(name, ","), name);
    const struct sel_rule *rule = sel_rule_find(own);
    for (size_t k = 0; rule != NULL && k < sizeof REQUIRED / sizeof *REQUIRED; k++) {
        char parameter[SET_SIZE];
        snprintf(parameter, sizeof parameter, "%.*s", (int)strcspn(REQUIRED[k], "="), REQUIRED[k]);
        if (sel_rule_parameter(rule, parameter) < rule->parameter_count)
            found[count++] = REQUIRED[k];
    }
    return count;
}

static bool add_required(const char *name, struct sets *sets, struct error *error)
{
    const char *found[RUN_REQUIRED];
    size_t count = run_required(name, found);
    for (size_t k = 0; k < count; k++) {
        if (!add_set(sets, "selection.", found[k], strlen(found[k]), error))
            return false;
    }
    return true;
}

static bool collect(const struct scene *scene, const char *rule, struct sets *sets,
                    struct error *error)
{
    char name[SET_SIZE];
    size_t size = strcspn(rule, ","), dimension;
    if (!scene_dimension(scene, &dimension, error))
        return false;
    snprintf(name, sizeof name, "%.*s", (int)size, rule);
    add_presets(scene, dimension, sets);
    if (!fixed_known(name) && (!add_set(sets, "selection.rule=", name, strlen(name), error) ||
                               !add_required(name, sets, error)))
        return false;
    for (size_t k = 0; k < scene->set.count; k++) {
        if (!add_set(sets, "", scene->set.items[k], strlen(scene->set.items[k]), error))
            return false;
    }
    for (const char *text = rule + size; *text != '\0'; text += size) {
        text++;
        size = strcspn(text, ",");
        if (!add_set(sets, "", text, size, error))
            return false;
    }
    return true;
}

/* The options of a rule's run, owned by the caller. */
static struct options *options_of(const struct scene *scene, const char *rule, struct error *error)
{
    struct sets *sets = calloc(1, sizeof *sets);
    struct options *options = options_new();
    bool done = (sets != NULL && options != NULL) || error_set(error, ERROR_FATAL, "out of memory");
    done = done && collect(scene, rule, sets, error);
    if (done) {
        const struct options_input input = {
            .presets = sets->preset, .no_default_file = true, .sets = sets->set};
        done = options_load(options, &input, error);
        error->class = done ? error->class : ERROR_DATA; /* what was asked for, not the machine */
    }
    free(sets);
    if (done)
        return options;
    options_free(options);
    error_prefix(error, "%.100s", rule);
    return NULL;
}

/* Without costs of their own, completions cost 1. */
static bool can_be_paid(const struct scene *scene, const struct options *options,
                        struct error *error)
{
    return !(options->budget_total > 0 && options->budget_total < (double)scene->labels) ||
           error_set(error, ERROR_DATA, "budget.total: %g is less than the scene's %zu labels",
                     options->budget_total, scene->labels);
}

static bool can_move(const struct scene *scene, const struct options *options, struct error *error)
{
    return !(scene->drift > 0 && options->features_scale == 0) ||
           error_set(error, ERROR_DATA,
                     "features.scale: auto beside drift %g; a new space must begin at once",
                     scene->drift);
}

/* The window that holds the labels of all spaces fits the memory that a run has. */
static bool can_be_held(const struct scene *scene, const struct options *options,
                        struct error *error)
{
    struct memory_plan memory;
    if (memory_plan(options, &memory, error))
        return true;
    error->class = ERROR_DATA;
    return scene->drift > 0 ? error_prefix(error,
                                           "drift_rounds: %zu keeps up to %zu labels over all "
                                           "feature spaces",
                                           scene->drift_rounds, labels_kept(scene))
                            : false;
}

bool run_check(const struct scene *scene, const char *rule, struct error *error)
{
    struct options *options = options_of(scene, rule, error);
    bool done = options != NULL &&
                (fixed_known(rule) ||
                 (can_be_paid(scene, options, error) && can_move(scene, options, error) &&
                  can_be_held(scene, options, error)) ||
                 error_prefix(error, "%.100s", rule));
    options_free(options);
    return done;
}

/* ---- a run ---- */

struct observed {
    const struct world *world;
    struct run *run;
    size_t most, step;
    bool failed;
};

static void observe(void *context, size_t labels, const double *psi)
{
    struct observed *observed = context;
    struct run *run = observed->run;
    size_t before = run->points == 0 ? 0 : run->at[run->points - 1];
    labels = labels < observed->most ? labels : observed->most;
    bool last = labels == observed->most && before < labels;
    if ((last || labels / observed->step > before / observed->step) &&
        !run_point(observed->world, labels, psi, run))
        observed->failed = true;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static bool through_engine(const struct scene *scene, const struct world *world,
                           const struct options *options, struct run *run, struct error *error)
{
    struct observed observed = {
        .world = world, .run = run, .most = scene->labels, .step = run_step(scene)};
    struct solo_plan plan = {.labels = scene->labels,
                             .pool = scene->pool,
                             .pools_per_round = scene->pools,
                             .pairs_per_round = scene->batch,
                             .partitions = (int32_t)scene->partitions,
                             .workers = scene->workers,
                             .labels_partitions = scene->spread ? (int32_t)scene->workers : 1,
                             .lag = (int64_t)(1000 * scene->lag),
                             .pending_off = !scene->pending,
                             .reward_deviation = SECOND_DEVIATION,
                             .lapse = scene->lapse,
                             .duplicates = scene->duplicates,
                             .traffic = scene->traffic,
                             .drift = scene->drift,
                             .drift_rounds = scene->drift_rounds,
                             .forget = !scene->drift_carry,
                             .seed = run->seed,
                             .observe = observe,
                             .context = &observed};
    plan.annotators = scene_annotators(scene, plan.lapses);
    struct solo_result result = {0};
    if (!solo_run(world, options, &plan, &result, error))
        return false;
    qsort(result.seconds, result.count, sizeof(double), ascending);
    run->labels = result.count;
    run->pools = scene->pool == 0 ? 0 : result.pools;
    run->lapse = result.lapse;
    run->annotators = plan.annotators;
    memcpy(run->lapses, result.lapses, sizeof run->lapses);
    run->pick = result.seconds[result.count / 2];
    bool done = !observed.failed || error_set(error, ERROR_FATAL, "out of memory for a curve");
    done = done && run_measure(scene, world, result.labels, run, error);
    solo_free(&result);
    return done;
}

static bool through_design(const struct scene *scene, const struct world *world,
                           const struct options *options, struct run *run, struct error *error)
{
    struct world_label *labels = calloc(scene->labels, sizeof *labels);
    bool done = labels != NULL || error_set(error, ERROR_FATAL, "out of memory for labels");
    done = done && fixed_run(scene, world, run->rule, run->seed, options, labels, run, error) &&
           run_measure(scene, world, labels, run, error);
    free(labels);
    return done;
}

bool run_rule(const struct scene *scene, const struct world *world, const char *rule, uint64_t seed,
              struct run *run, struct error *error)
{
    int64_t start = clock_thread_ns();
    *run = (struct run){.rule = strdup(rule), .seed = seed};
    struct options *options = options_of(scene, rule, error);
    bool done = options != NULL &&
                (run->rule != NULL || error_set(error, ERROR_FATAL, "out of memory")) &&
                (fixed_known(rule) ? through_design(scene, world, options, run, error)
                                   : through_engine(scene, world, options, run, error));
    options_free(options);
    run->seconds = (double)(clock_thread_ns() - start) / 1e9;
    if (!done)
        run_free(run);
    return done;
}

void run_free(struct run *run)
{
    free(run->rule);
    free(run->at);
    free(run->gap);
    free(run->important);
    free(run->measured);
    *run = (struct run){0};
}
