/* Rules of selection through the engine alone, in the log-linear world of worker/world.h: 100
 * prompts of 64 completions, pools of 16, as many pools as labels a round, which last for it.
 *
 *   rules_alone --labels T --seed S --dimension D [--informed SHARE] [--lapse SHARE]
 *       [--round PAIRS] [--workers N] [--partitions N] [--lag SECONDS] [--spread-labels]
 *       [--pending-off] [--annotators SHARE,...] [--set NAME=VALUE] RULE[,NAME=VALUE]...
 *
 * A NAME=VALUE behind a rule is an option of this rule's run; parameters without a default have
 * values here. `rules_alone --names` prints the rules of the library. --informed: the reference
 * policy has gone that share of the way to the best one. All runs of a seed see the same world,
 * pools and random numbers of labels. --workers: engines that split the partitions, each of which
 * learns of the others' entries after --lag; labels go to one of them, or to all (--spread-labels).
 * --pending-off: until the first fit a batch is picked as if each pair were its only one. Prints a
 * JSON line for each:
 *   c       T tr(I F^-1) of the asked pairs, at the truth
 *   gap     J of the best policy less that of the policy at the last psi
 *   fitted  the same at the psi that is fitted to exactly these labels
 *   merit   mean reward of the asked completions above their prompt's mean
 *   margin  mean absolute reward difference of the asked pairs
 *   likely  mean log pi_ref of the asked completions above their prompt's mean
 *   lapse   the last estimate of the share of the answers that are coin flips (--lapse: the truth)
 *   lapses  the same of each annotator (--annotators: the truth; they answer in turn)
 *   seconds median over the labels: processor time of the tick that asked the pair, by its pairs */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/options.h"
#include "worker/solo.h"

enum { PROMPTS = 100, COMPLETIONS = 64, POOL = 16, ROUND = 50, SETS = 24, SET_SIZE = 64 };

static const char *const PRESETS[] = {
    "policy.beta=0.5", "budget.per_second=50", "pool.size=16",     "pool.max=16",
    "pool.age=1s",     "pool.wait=1s",         "features.scale=1", "moments.interval=1s",
    "control.share=0", "memory.limit=2GiB",    "labels.lapse=0",   NULL};

/* Of parameters without a default. */
static const char *const REQUIRED[] = {"target_margin=1",  "gate=1",         "implicit_margin=1",
                                       "prompt_share=0.5", "top_quantile=4", "resolution=0.1",
                                       "entropy_weight=1", "neighbours=5",   "radius=1",
                                       "reward_share=0.5", "kernel_scale=1"};
static const double SECOND_DEVIATION = .5; /* of the second learner's reward */

struct arguments {
    size_t labels, dimension, round, workers;
    int32_t partitions;
    double lag; /* seconds */
    bool spread_labels, pending_off;
    uint64_t seed;
    double informed, lapse;
    size_t annotators;
    double lapses[SOLO_ANNOTATORS];
    const char *sets[SETS];
    size_t set_count;
};

struct case_of {
    const char *name;
    char sets[SETS][SET_SIZE];
    size_t set_count;
};

static void add_set(struct case_of *run, const char *prefix, const char *text, size_t size)
{
    if (run->set_count < SETS)
        snprintf(run->sets[run->set_count++], SET_SIZE, "%s%.*s", prefix, (int)size, text);
}

/* Values for the required parameters of a rule. */
static void add_required(struct case_of *run)
{
    const struct sel_rule *rule = sel_rule_find(run->name);
    for (size_t k = 0; rule != NULL && k < sizeof REQUIRED / sizeof *REQUIRED; k++) {
        char name[SET_SIZE];
        size_t size = strcspn(REQUIRED[k], "=");
        snprintf(name, sizeof name, "%.*s", (int)size, REQUIRED[k]);
        if (sel_rule_parameter(rule, name) < rule->parameter_count)
            add_set(run, "selection.", REQUIRED[k], strlen(REQUIRED[k]));
    }
}

/* ---- measures ---- */

static double mean_of(const struct world *world, const double *values, size_t prompt)
{
    double sum = 0;
    for (size_t m = 0; m < world->completions; m++)
        sum += values[prompt * world->completions + m];
    return sum / (double)world->completions;
}

/* Mean over the asked completions of a value above that of their prompt. */
static double above(const struct world *world, const struct solo_result *result,
                    const double *values)
{
    double sum = 0;
    for (size_t k = 0; k < result->count; k++) {
        const struct world_label *label = &result->labels[k];
        const double *of_prompt = values + label->prompt * world->completions;
        sum += (of_prompt[label->left] + of_prompt[label->right]) / 2 -
               mean_of(world, values, label->prompt);
    }
    return sum / (double)result->count;
}

static double mean_margin(const struct world *world, const struct solo_result *result)
{
    double sum = 0;
    for (size_t k = 0; k < result->count; k++) {
        const struct world_label *label = &result->labels[k];
        sum += fabs(world_margin(world, label->prompt, label->left, label->right));
    }
    return sum / (double)result->count;
}

static double fitted_gap(const struct world *world, const struct solo_result *result)
{
    double psi[world->dimension];
    memset(psi, 0, sizeof psi);
    size_t used = world_fit(world, result->labels, result->count, ARM_SELECTED, result->count, psi);
    return used > 0 ? world_gap(world, psi) : -1;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void print(const struct world *world, const struct arguments *arguments,
                  const struct case_of *run, struct solo_result *result)
{
    double psi[world->dimension];
    for (size_t k = 0; k < world->dimension; k++)
        psi[k] = result->psi[k] * result->scale;
    qsort(result->seconds, result->count, sizeof(double), ascending);
    printf(
        "{\"rule\": \"%s\", \"seed\": %zu, \"labels\": %zu, \"c\": %.8g, \"gap\": %.8g, "
        "\"fitted\": %.8g, "
        "\"merit\": %.6g, \"margin\": %.6g, \"likely\": %.6g, \"seconds\": %.4g, \"lapse\": %.4g, "
        "\"lapses\": [",
        run->name, (size_t)arguments->seed, result->count,
        world_design(world, result->labels, result->count), world_gap(world, psi),
        fitted_gap(world, result), above(world, result, world->reward), mean_margin(world, result),
        above(world, result, world->log_reference), result->seconds[result->count / 2],
        result->lapse);
    for (size_t k = 0; k < arguments->annotators; k++)
        printf("%s%.4g", k == 0 ? "" : ", ", isnan(result->lapses[k]) ? -1 : result->lapses[k]);
    printf("], \"options\": [");
    for (size_t k = 0; k < run->set_count; k++)
        printf("%s\"%s\"", k == 0 ? "" : ", ", run->sets[k]);
    printf("]}\n");
    fflush(stdout);
}

/* ---- runs ---- */

static bool run_case(const struct world *world, const struct arguments *arguments,
                     const struct case_of *run)
{
    struct error error = {ERROR_NONE, ""};
    const char *sets[2 * SETS + 2] = {NULL};
    char rule[SET_SIZE];
    size_t count = 0;
    snprintf(rule, sizeof rule, "selection.rule=%s", run->name);
    sets[count++] = rule;
    for (size_t k = 0; k < arguments->set_count; k++)
        sets[count++] = arguments->sets[k];
    for (size_t k = 0; k < run->set_count; k++)
        sets[count++] = run->sets[k];
    const struct options_input input = {.presets = PRESETS, .no_default_file = true, .sets = sets};
    struct solo_plan plan = {.labels = arguments->labels,
                             .pool = POOL,
                             .pools_per_round = arguments->round,
                             .pairs_per_round = arguments->round,
                             .partitions = arguments->partitions,
                             .workers = arguments->workers,
                             .labels_partitions =
                                 arguments->spread_labels ? (int32_t)arguments->workers : 1,
                             .lag = (int64_t)(1000 * arguments->lag),
                             .pending_off = arguments->pending_off,
                             .reward_deviation = SECOND_DEVIATION,
                             .lapse = arguments->lapse,
                             .annotators = arguments->annotators,
                             .seed = arguments->seed};
    memcpy(plan.lapses, arguments->lapses, sizeof plan.lapses);
    struct solo_result result = {0};
    struct options *options = options_new();
    bool done = options != NULL && options_load(options, &input, &error) &&
                solo_run(world, options, &plan, &result, &error);
    if (done)
        print(world, arguments, run, &result);
    else
        fprintf(stderr, "rules_alone: %s: %s\n", run->name, error.message);
    solo_free(&result);
    options_free(options);
    return done;
}

static bool run_named(const struct world *world, const struct arguments *arguments, char *text)
{
    char *more = strchr(text, ',');
    if (more != NULL)
        *more++ = '\0';
    struct case_of run = {.name = text};
    add_required(&run);
    for (size_t size; more != NULL && (size = strcspn(more, ",")) > 0; more += size) {
        add_set(&run, "", more, size);
        size += more[size] == ',';
    }
    return run_case(world, arguments, &run);
}

/* "0,.05,.5" */
static void add_annotators(struct arguments *arguments, char *text)
{
    for (char *next = text; arguments->annotators < SOLO_ANNOTATORS; next++) {
        arguments->lapses[arguments->annotators++] = strtod(next, &next);
        if (*next != ',')
            return;
    }
}

static bool parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"labels", 1, NULL, 'l'},        {"seed", 1, NULL, 's'},
        {"dimension", 1, NULL, 'd'},     {"informed", 1, NULL, 'i'},
        {"lapse", 1, NULL, 'e'},         {"set", 1, NULL, 'o'},
        {"round", 1, NULL, 'r'},         {"workers", 1, NULL, 'w'},
        {"lag", 1, NULL, 'g'},           {"partitions", 1, NULL, 'p'},
        {"spread-labels", 0, NULL, 'b'}, {"pending-off", 0, NULL, 'n'},
        {"annotators", 1, NULL, 'a'},    {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'l')
            arguments->labels = strtoul(optarg, NULL, 10);
        else if (option == 's')
            arguments->seed = strtoul(optarg, NULL, 10);
        else if (option == 'd')
            arguments->dimension = strtoul(optarg, NULL, 10);
        else if (option == 'i')
            arguments->informed = strtod(optarg, NULL);
        else if (option == 'e')
            arguments->lapse = strtod(optarg, NULL);
        else if (option == 'r')
            arguments->round = strtoul(optarg, NULL, 10);
        else if (option == 'w')
            arguments->workers = strtoul(optarg, NULL, 10);
        else if (option == 'p')
            arguments->partitions = (int32_t)strtol(optarg, NULL, 10);
        else if (option == 'g')
            arguments->lag = strtod(optarg, NULL);
        else if (option == 'b')
            arguments->spread_labels = true;
        else if (option == 'n')
            arguments->pending_off = true;
        else if (option == 'a')
            add_annotators(arguments, optarg);
        else if (option == 'o' && arguments->set_count < SETS)
            arguments->sets[arguments->set_count++] = optarg;
        else
            return false;
    }
    return optind < argc && arguments->labels > 0 && arguments->dimension > 0 &&
           arguments->round > 0 && arguments->workers > 0 && arguments->partitions > 0 &&
           arguments->lag >= 0;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .labels = 500, .dimension = 8, .round = ROUND, .workers = 1, .partitions = 1, .seed = 1};
    sel_init();
    if (argc == 2 && strcmp(argv[1], "--names") == 0) {
        const struct sel_rule *rule;
        for (size_t k = 0; (rule = sel_rule_at(k)) != NULL; k++)
            printf("%s\n", rule->name);
        return 0;
    }
    if (!parse(argc, argv, &arguments)) {
        fprintf(stderr, "rules_alone: see the head of rules_alone.c\n");
        return 2;
    }
    struct world *world = world_new(arguments.dimension, PROMPTS, COMPLETIONS, .5, arguments.seed);
    if (world == NULL) {
        fprintf(stderr, "rules_alone: out of memory for a world\n");
        return 1;
    }
    if (arguments.informed != 0)
        world_inform(world, arguments.informed);
    bool done = true;
    for (int k = optind; k < argc; k++)
        done = run_named(world, &arguments, argv[k]) && done;
    world_free(world);
    return done ? 0 : 1;
}
