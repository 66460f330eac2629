/* Labels saved, as the worker computes them, beside the truth, in the log-linear world of
 * worker/world.h through the engine alone: 100 prompts of 64 completions, pools of 16, 50 pools and
 * 50 labels a round, which last for it.
 *
 *   accounting_alone --labels T --seed S --runs N --dimension D [--set NAME=VALUE]...
 *   accounting_alone --cost D
 *
 * Prints a JSON line for each of N runs (seeds S, S + 1, ...):
 *   labels     of the selected arm
 *   truth      uniform labels, drawn one after the other from the same pools, after which their
 *              tr(I (lambda Id + F)^-1) reaches that of the selected arm; weights, I at the true
 *              psi, lambda of the last fit; the mean over 64 orders
 *   low, mid, high  uniform labels as /accounting has them
 *   supported, surprise  of the control arm
 *   gap, gap_low, gap_high  of the policy at the last psi: the truth, and the bracket
 *   each, trace_selected, trace_control  of the arms at equal label counts
 *   rule, own  labels that accounting.rule and the rule in use would need; 0 without the option
 *
 * --cost prints processor time of a pick over 10,000 open pools of 16, without and with shadows,
 * some pairs of runs in turn. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/options.h"
#include "worker/solo.h"

enum { PROMPTS = 100, COMPLETIONS = 64, POOL = 16, ROUND = 50, SETS = 24, ORDERS = 64 };
enum { COST_PROMPTS = 10000, COST_LABELS = 1500, COST_REPEATS = 9, LABELS_MOST = 1000000 };

static const char *const PRESETS[] = {
    "policy.beta=0.5",   "budget.per_second=50", "pool.size=16",     "pool.max=16",
    "pool.age=1s",       "pool.wait=1s",         "features.scale=1", "moments.interval=1s",
    "control.share=0.2", "memory.limit=2GiB",    "labels.lapse=0",   NULL};

struct arguments {
    size_t labels, dimension, runs, cost;
    uint64_t seed;
    const char *sets[SETS];
    size_t set_count;
};

/* ---- the truth ---- */

/* The pools that the run was given, in their order: rows of each, and its prompt. */
struct offered {
    size_t count;
    size_t *prompts;
    size_t *rows; /* count x POOL */
};

static struct offered draw_again(const struct world *world, uint64_t seed, size_t count)
{
    enum { STREAM_DRAWS = 2 }; /* of solo.c */
    struct sel_random random = sel_random_init(seed, STREAM_DRAWS);
    struct offered offered = {count, calloc(count, sizeof(size_t)),
                              calloc(count * POOL, sizeof(size_t))};
    if (offered.prompts == NULL || offered.rows == NULL)
        abort();
    for (size_t k = 0; k < count; k++)
        offered.prompts[k] = world_draw(world, &random, POOL, offered.rows + k * POOL);
    return offered;
}

static void add_pair(const struct world *world, struct sel_information *information, size_t prompt,
                     size_t left, size_t right)
{
    float x[world->dimension];
    for (size_t k = 0; k < world->dimension; k++)
        x[k] = (float)(world_row(world, prompt, left)[k] - world_row(world, prompt, right)[k]);
    double w = sel_weight_plug(world_margin(world, prompt, left, right));
    sel_information_add(information, x, w);
}

static void reset(struct sel_information *information, size_t d, double lambda)
{
    double diagonal[d];
    for (size_t k = 0; k < d; k++)
        diagonal[k] = lambda;
    sel_information_reset(information, diagonal);
}

/* Uniform labels of one order until the trace is at most `target`. */
static double labels_of_order(const struct world *world, const struct offered *offered,
                              struct sel_information *information, struct sel_random *random,
                              const double *policy, double lambda, double target)
{
    size_t labels = 0;
    reset(information, world->dimension, lambda);
    while (labels < LABELS_MOST && sel_information_trace(information, policy) > target) {
        size_t pool = (size_t)sel_random_below(random, offered->count);
        size_t i = (size_t)sel_random_below(random, POOL);
        size_t j = (size_t)sel_random_below(random, POOL - 1);
        j += j >= i;
        const size_t *rows = offered->rows + pool * POOL;
        add_pair(world, information, offered->prompts[pool], rows[i], rows[j]);
        labels++;
    }
    return (double)labels;
}

static double find_truth(const struct world *world, const struct solo_result *result, uint64_t seed,
                         size_t *selected)
{
    size_t d = world->dimension;
    double policy[d * d], sum = 0;
    struct sel_information *information = sel_information_new(d);
    struct sel_random random = sel_random_init(seed, 99);
    if (information == NULL || !world_policy(world, policy))
        abort();
    reset(information, d, result->lambda);
    *selected = 0;
    for (size_t k = 0; k < result->count; k++) {
        const struct world_label *label = &result->labels[k];
        if (label->arm != ARM_SELECTED)
            continue;
        ++*selected;
        add_pair(world, information, label->prompt, label->left, label->right);
    }
    double target = sel_information_trace(information, policy);
    struct offered offered = draw_again(world, seed, result->count / ROUND * ROUND);
    for (size_t k = 0; k < ORDERS; k++)
        sum +=
            labels_of_order(world, &offered, information, &random, policy, result->lambda, target);
    free(offered.prompts);
    free(offered.rows);
    sel_information_free(information);
    return sum / ORDERS;
}

/* ---- runs ---- */

static struct options *load(const struct arguments *arguments, const char *more)
{
    struct error error = {ERROR_NONE, ""};
    const char *sets[SETS + 2] = {NULL};
    size_t count = 0;
    for (; count < arguments->set_count; count++)
        sets[count] = arguments->sets[count];
    sets[count] = more;
    const struct options_input input = {.presets = PRESETS, .no_default_file = true, .sets = sets};
    struct options *options = options_new();
    if (options != NULL && options_load(options, &input, &error))
        return options;
    fprintf(stderr, "accounting_alone: %s\n", error.message);
    exit(1);
}

static void print(const struct world *world, const struct solo_result *result, uint64_t seed)
{
    const struct account *account = &result->account;
    double psi[world->dimension];
    size_t selected;
    for (size_t k = 0; k < world->dimension; k++)
        psi[k] = result->psi[k] * result->scale;
    double truth = find_truth(world, result, seed, &selected);
    printf("{\"seed\": %zu, \"labels\": %zu, \"truth\": %.8g, \"low\": %.8g, \"mid\": %.8g, "
           "\"high\": %.8g, \"supported\": %s, \"surprise\": %.4g, \"gap\": %.6g, "
           "\"gap_low\": %.6g, \"gap_high\": %.6g, \"each\": %zu, \"trace_selected\": %.6g, "
           "\"trace_control\": %.6g, \"rule\": %.6g, \"own\": %.6g}\n",
           (size_t)seed, selected, truth, account->labels.low, account->labels.mid,
           account->labels.high, account->supported ? "true" : "false", result->surprise,
           world_gap(world, psi), account->gap.low, account->gap.high, account->each,
           account->selected.trace, account->control.trace, account->rivals[0], account->rivals[1]);
    fflush(stdout);
}

static bool run(const struct arguments *arguments, uint64_t seed)
{
    char set[32];
    snprintf(set, sizeof set, "seed=%zu", (size_t)seed);
    struct options *options = load(arguments, set);
    struct error error = {ERROR_NONE, ""};
    const struct solo_plan plan = {.labels = arguments->labels,
                                   .pool = POOL,
                                   .pools_per_round = ROUND,
                                   .pairs_per_round = ROUND,
                                   .partitions = 1,
                                   .seed = seed,
                                   .account = true};
    struct solo_result result = {0};
    struct world *world = world_new(arguments->dimension, PROMPTS, COMPLETIONS, .5, seed);
    bool done = world != NULL && solo_run(world, options, &plan, &result, &error);
    if (done)
        print(world, &result, seed);
    else
        fprintf(stderr, "accounting_alone: seed %zu: %s\n", (size_t)seed, error.message);
    solo_free(&result);
    world_free(world);
    options_free(options);
    return done;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Median seconds of a pick while all pools are open. */
static double pick_seconds(const struct arguments *arguments, const struct world *world,
                           const char *memory)
{
    struct error error = {ERROR_NONE, ""};
    struct options *options = load(arguments, memory);
    const struct solo_plan plan = {
        .labels = COST_LABELS, .pairs_per_round = ROUND, .partitions = 1, .seed = 1};
    struct solo_result result = {0};
    options->pool_age = (int64_t)1 << 40;
    if (!solo_run(world, options, &plan, &result, &error)) {
        fprintf(stderr, "accounting_alone: %s\n", error.message);
        exit(1);
    }
    qsort(result.seconds, result.count, sizeof(double), ascending);
    double median = result.seconds[result.count / 2];
    solo_free(&result);
    options_free(options);
    return median;
}

static void cost(const struct arguments *arguments)
{
    struct world *world = world_new(arguments->cost, COST_PROMPTS, POOL, .5, 1);
    if (world == NULL)
        abort();
    for (int k = 0; k < COST_REPEATS; k++) {
        double without = pick_seconds(arguments, world, "accounting.memory=0");
        double with = pick_seconds(arguments, world, "accounting.memory=32MiB");
        printf("{\"d\": %zu, \"pools\": %d, \"without\": %.4g, \"with\": %.4g}\n", arguments->cost,
               COST_PROMPTS, without, with);
        fflush(stdout);
    }
    world_free(world);
}

static bool parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {{"labels", 1, NULL, 'l'},    {"seed", 1, NULL, 's'},
                                            {"dimension", 1, NULL, 'd'}, {"runs", 1, NULL, 'r'},
                                            {"set", 1, NULL, 'o'},       {"cost", 1, NULL, 'c'},
                                            {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'l')
            arguments->labels = strtoul(optarg, NULL, 10);
        else if (option == 's')
            arguments->seed = strtoul(optarg, NULL, 10);
        else if (option == 'd')
            arguments->dimension = strtoul(optarg, NULL, 10);
        else if (option == 'r')
            arguments->runs = strtoul(optarg, NULL, 10);
        else if (option == 'c')
            arguments->cost = strtoul(optarg, NULL, 10);
        else if (option == 'o' && arguments->set_count < SETS)
            arguments->sets[arguments->set_count++] = optarg;
        else
            return false;
    }
    return optind == argc && arguments->labels > 0 && arguments->dimension > 0;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.labels = 400, .dimension = 8, .seed = 1, .runs = 1};
    sel_init();
    if (!parse(argc, argv, &arguments)) {
        fprintf(stderr, "accounting_alone: see its head\n");
        return 2;
    }
    if (arguments.cost > 0) {
        cost(&arguments);
        return 0;
    }
    bool done = true;
    for (size_t k = 0; k < arguments.runs; k++)
        done = run(&arguments, arguments.seed + k) && done;
    return done ? 0 : 1;
}
