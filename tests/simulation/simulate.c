/* Several workers' engines under a seeded schedule, on a model of Kafka (cluster.h), with a trainer
 * and labellers (world.h). Everything that happens is written to standard output for the judge.
 *
 * Usage: simulate FIRST_SEED [LAST_SEED] [--turns N] [--without FAULT,FAULT...] [--quiet]
 * Each fault draws from a generator of its own, so that a run without one is the same run
 * otherwise; so a seed that fails can be shrunk. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shell.h"
#include "tests/support/records.h"
#include "trace.h"
#include "worker/engine/groups.h"
#include "world.h"

enum { TURNS = 20000, TURNS_QUIET = 60 };

enum fault {
    FAULT_CRASH,
    FAULT_ABORT,
    FAULT_FREEZE,
    FAULT_TIMEOUT,
    FAULT_REBALANCE,
    FAULT_CLOCK,
    FAULT_POISON,
    FAULT_GROWTH,
    FAULT_CUT,
    FAULT_LEAVE,
    FAULT_RELOAD,
    FAULTS
};

static const struct {
    const char *name;
    double probability; /* a turn, or a boundary */
} FAULT_ROWS[FAULTS] = {
    {"crash", .0006},    {"abort", .002},  {"freeze", .0008}, {"timeout", .01},
    {"rebalance", .002}, {"clock", .0005}, {"poison", .001},  {"growth", .0003},
    {"cut", .01},        {"leave", .0006}, {"reload", .001},
};

struct simulation {
    uint64_t seed;
    struct sel_random chance; /* the schedule */
    struct sel_random faults[FAULTS];
    bool without[FAULTS];
    bool calm; /* no more faults */
    struct engine_options options;
    struct feature_groups groups;
    struct contracts *contracts;
    struct cluster *cluster;
    struct world world;
    struct schedule schedule;
    struct shell shells[WORKERS];
    uint32_t members; /* as they were when partitions were dealt out last */
    int64_t now;
    int64_t turns;
    bool cuts;
};

static bool happens(struct simulation *simulation, double probability)
{
    return sel_random_uniform(&simulation->chance) < probability;
}

static int below(struct simulation *simulation, int bound)
{
    return (int)sel_random_below(&simulation->chance, (uint64_t)bound);
}

static bool strikes(struct simulation *simulation, enum fault fault)
{
    bool drawn = sel_random_uniform(&simulation->faults[fault]) < FAULT_ROWS[fault].probability;
    return drawn && !simulation->calm && !simulation->without[fault];
}

/* ---- what the shells ask ---- */

static bool on_dies(void *opaque, int worker, const char *boundary)
{
    (void)worker;
    (void)boundary;
    return strikes(opaque, FAULT_CRASH);
}

static bool on_refused(void *opaque)
{
    return strikes(opaque, FAULT_ABORT);
}

static uint64_t on_below(void *opaque, uint64_t bound)
{
    struct simulation *simulation = opaque;
    return sel_random_below(&simulation->chance, bound);
}

static void on_asked(void *opaque, int worker, const struct effect *effect)
{
    struct simulation *simulation = opaque;
    world_asked(&simulation->world, worker, effect);
}

static void on_decided(void *opaque, int worker, bool committed)
{
    struct simulation *simulation = opaque;
    world_decided(&simulation->world, worker, committed);
}

/* ---- the group ---- */

static uint32_t members_of(const struct simulation *simulation)
{
    uint32_t members = 0;
    for (int k = 0; k < WORKERS; k++)
        members |= (uint32_t)simulation->cluster->members[k].in_group << k;
    return members;
}

/* Draws an owner for each partition; most stay where they are. */
static void deal_out(struct simulation *simulation)
{
    struct cluster *cluster = simulation->cluster;
    uint32_t members = members_of(simulation);
    simulation->members = members;
    for (int k = 0; k < WORKERS; k++)
        memset(cluster->members[k].target, 0, sizeof cluster->members[k].target);
    for (int input = 0; members != 0 && input < INPUTS; input++) {
        for (int32_t k = 0; k < cluster->partitions[input]; k++) {
            int owner = below(simulation, WORKERS);
            for (int other = 0; other < WORKERS; other++) {
                if (cluster->members[other].holds[input][k] && happens(simulation, .7))
                    owner = other;
            }
            while ((members >> owner & 1) == 0)
                owner = (owner + 1) % WORKERS;
            cluster->members[owner].target[input][k] = true;
        }
    }
    cluster_rebalance(cluster);
}

static void watch_group(struct simulation *simulation)
{
    if (members_of(simulation) != simulation->members)
        deal_out(simulation);
}

/* ---- faults of the surroundings ---- */

static void poison(struct simulation *simulation)
{
    char junk[24];
    int32_t partition = below(simulation, LEDGER_PARTITIONS);
    for (size_t k = 0; k < sizeof junk; k++)
        junk[k] = (char)below(simulation, 256);
    junk[0] = 2; /* a version, then nonsense */
    junk[1] = (char)0x7f;
    trace_poison(partition, cluster_poison(simulation->cluster, partition,
                                           (struct span){junk, sizeof junk}, simulation->now));
}

/* Deletes what retention would: of inputs below the committed offset, of the ledger what no window
 * reaches and is not of a request that is open (whose time is the ledger's, ahead of ours at most
 * by the clocks' jumps). */
static void cut(struct simulation *simulation)
{
    struct cluster *cluster = simulation->cluster;
    const struct engine_options *options = &simulation->options;
    int64_t kept = options->labels_window + options->labels_deadline + options->labels_late + 80000;
    for (int32_t k = 0; k < cluster->partitions[INPUT_COMPLETIONS]; k++) {
        struct input_log *log = &cluster->inputs[INPUT_COMPLETIONS][k];
        int64_t next = cluster->committed[INPUT_COMPLETIONS][k].next;
        if (next > log->start && happens(simulation, .3))
            log->start += below(simulation, (int)(next - log->start) + 1) / 2;
        trace_cut(k, log->start);
    }
    int64_t oldest = world_oldest_open(&simulation->world);
    int64_t edge = simulation->now - kept;
    if (oldest != INT64_MAX && oldest - 60000 < edge)
        edge = oldest - 60000;
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++) {
        struct ledger_log *log = &cluster->ledger[k];
        while (log->start < log->stable && log->slots[log->start].timestamp < edge)
            log->start++;
    }
}

/* A worker reads its options again, which are those of the start or half of them. */
static void reload(struct simulation *simulation, struct shell *shell)
{
    const struct engine_options *options = &simulation->options;
    struct budget_options budget = {.per_second = options->budget_per_second,
                                    .burst = options->budget_burst,
                                    .in_flight = options->budget_in_flight,
                                    .limits = options->budget_limits};
    if (happens(simulation, .5)) {
        budget.per_second /= 2;
        budget.burst /= 2;
        budget.in_flight /= 2;
        budget.limits.per_hour /= 2;
        budget.limits.per_day /= 2;
        budget.limits.total /= 2;
    }
    shell_budget(shell, &budget);
}

static void surroundings(struct simulation *simulation)
{
    struct cluster *cluster = simulation->cluster;
    int victim = below(simulation, WORKERS);
    struct shell *shell = &simulation->shells[victim];
    if (strikes(simulation, FAULT_FREEZE))
        shell->frozen = true;
    if (shell->frozen && strikes(simulation, FAULT_TIMEOUT)) {
        if (cluster->members[victim].in_group)
            cluster_leave(cluster, victim);
        cluster_time_out(cluster, victim);
    }
    /* The dead do not heartbeat either, and the coordinator ends what they left open. */
    if (shell->phase == PHASE_DOWN && cluster->members[victim].in_group)
        cluster_leave(cluster, victim);
    if (shell->phase == PHASE_DOWN && happens(simulation, .05))
        cluster_time_out(cluster, victim);
    if (strikes(simulation, FAULT_REBALANCE) && members_of(simulation) != 0)
        deal_out(simulation);
    if (strikes(simulation, FAULT_CLOCK))
        shell->skew += below(simulation, 4000) - 1000;
    if (strikes(simulation, FAULT_POISON))
        poison(simulation);
    if (strikes(simulation, FAULT_GROWTH) &&
        cluster->partitions[INPUT_COMPLETIONS] < PARTITIONS_MAX) {
        cluster->partitions[INPUT_COMPLETIONS]++;
        deal_out(simulation);
    }
    if (strikes(simulation, FAULT_RELOAD))
        reload(simulation, shell);
    if (simulation->cuts && strikes(simulation, FAULT_CUT))
        cut(simulation);
    if (shell->phase == PHASE_RUNNING && !shell->frozen && strikes(simulation, FAULT_LEAVE) &&
        shell_commit_all(shell, simulation->now)) {
        trace_number("stop", "worker", victim);
        shell_kill(shell);
        cluster_leave(cluster, victim);
    }
}

/* ---- a turn ---- */

static void act(struct simulation *simulation, struct shell *shell)
{
    int64_t now = simulation->now;
    enum input input = happens(simulation, .5) ? INPUT_COMPLETIONS : INPUT_LABELS;
    switch (below(simulation, 8)) {
    case 0:
    case 1:
        shell_flight(shell, now);
        return;
    case 2:
    case 3:
        shell_deliver(shell, input,
                      (int32_t)below(simulation, simulation->cluster->partitions[input]),
                      1 + below(simulation, 12));
        return;
    case 4:
        shell_follow(shell, 1 + below(simulation, 8));
        return;
    case 5:
        shell_group(shell, now);
        return;
    case 6:
        shell_takeover(shell);
        return;
    default:
        shell_tick(shell, now);
    }
}

static void work(struct simulation *simulation, struct shell *shell)
{
    if (shell->frozen) {
        shell->frozen = !happens(simulation, .02);
        return;
    }
    if (shell->phase == PHASE_DOWN) {
        /* A process that restarts at once still stands in the group under its slot's name. */
        if (happens(simulation, .2)) {
            if (simulation->cluster->members[shell->number].in_group)
                cluster_leave(simulation->cluster, shell->number);
            shell_start(shell, simulation->now);
        }
    } else if (shell->phase == PHASE_RESTORING) {
        shell_restore(shell);
    } else {
        act(simulation, shell);
    }
}

static void markers(struct simulation *simulation)
{
    int worker = below(simulation, WORKERS);
    if (happens(simulation, .6))
        cluster_mark(simulation->cluster, worker,
                     (int32_t)below(simulation, LEDGER_PARTITIONS + 1));
}

static void turn(struct simulation *simulation)
{
    simulation->now += 2 + below(simulation, 12);
    if (happens(simulation, .0008))
        simulation->now += 15000;
    if (happens(simulation, .08))
        world_completion(&simulation->world, simulation->now);
    if (happens(simulation, .08))
        world_labels(&simulation->world, .25, simulation->now);
    if (happens(simulation, .01))
        world_early_label(&simulation->world, simulation->now);
    markers(simulation);
    surroundings(simulation);
    watch_group(simulation);
    work(simulation, &simulation->shells[below(simulation, WORKERS)]);
    watch_group(simulation);
}

/* ---- coming to rest ---- */

static void settle(struct simulation *simulation)
{
    for (int k = 0; k < WORKERS; k++)
        cluster_settle(simulation->cluster, k);
}

static void step_up(struct simulation *simulation, struct shell *shell)
{
    shell_group(shell, simulation->now);
    shell_flight(shell, simulation->now);
    if (shell->phase != PHASE_RUNNING)
        return;
    shell_follow(shell, 100000);
    if (shell->phase == PHASE_RUNNING)
        shell_takeover(shell);
}

static void bring_up(struct simulation *simulation)
{
    for (int round = 0; round < 400; round++) {
        watch_group(simulation);
        for (int k = 0; k < WORKERS; k++) {
            struct shell *shell = &simulation->shells[k];
            shell->frozen = false;
            if (shell->phase == PHASE_DOWN && simulation->cluster->members[k].in_group)
                cluster_leave(simulation->cluster, k);
            if (shell->phase == PHASE_DOWN)
                shell_start(shell, simulation->now);
            else if (shell->phase == PHASE_RESTORING)
                shell_restore(shell);
            else
                step_up(simulation, shell);
            settle(simulation);
        }
    }
}

static void must_be_up(const struct simulation *simulation, const char *when)
{
    for (int k = 0; k < WORKERS; k++) {
        const struct shell *shell = &simulation->shells[k];
        const struct member *member = &simulation->cluster->members[k];
        if (shell->phase == PHASE_RUNNING && shell->generation == member->generation &&
            shell->takeover == TAKEOVER_NONE)
            continue;
        fprintf(stderr,
                "simulate: %s: worker %d is not up: phase %d, takeover %d, generation %d of %d\n",
                when, k, (int)shell->phase, (int)shell->takeover, (int)shell->generation,
                (int)member->generation);
        exit(2);
    }
}

/* Everything that is there is read, decided and committed, until nobody has anything to say; time
 * stands still. */
static void rest(struct simulation *simulation)
{
    int64_t before = -1;
    for (int round = 0; round < 200 && before != simulation->cluster->transactions; round++) {
        before = simulation->cluster->transactions;
        for (int k = 0; k < WORKERS; k++) {
            struct shell *shell = &simulation->shells[k];
            for (int32_t partition = 0; partition < PARTITIONS_MAX; partition++) {
                shell_deliver(shell, INPUT_COMPLETIONS, partition, 100000);
                if (partition < LABELS_PARTITIONS)
                    shell_deliver(shell, INPUT_LABELS, partition, 100000);
            }
            shell_follow(shell, 100000);
            shell_tick(shell, simulation->now);
            shell_commit_all(shell, simulation->now);
            settle(simulation);
        }
    }
}

/* All engines that have read the same must have arrived at the same. */
static void compare(struct simulation *simulation, const char *when)
{
    for (int k = 0; k < WORKERS; k++)
        trace_state(when, k, simulation->shells[k].engine);
}

static void come_to_rest(struct simulation *simulation, const char *when)
{
    bool before = simulation->calm;
    simulation->calm = true;
    bring_up(simulation);
    must_be_up(simulation, when);
    rest(simulation);
    compare(simulation, when);
    simulation->calm = before;
}

/* No faults and no new picks: everything that is on its way arrives, and what was restored is what
 * lived on. */
static void run_until_quiet(struct simulation *simulation)
{
    come_to_rest(simulation, "alive");
    simulation->calm = true;
    simulation->options.budget_per_second = 1e-9;
    simulation->options.budget_burst = 0;
    for (int k = 0; k < WORKERS; k++) {
        shell_commit_all(&simulation->shells[k], simulation->now);
        shell_kill(&simulation->shells[k]);
    }
    settle(simulation);
    bring_up(simulation);
    world_labels(&simulation->world, .7, simulation->now);
    for (int k = 0; k < TURNS_QUIET / 12; k++) {
        simulation->now += 10000;
        rest(simulation);
    }
    compare(simulation, "quiet");
    for (int k = 0; k < WORKERS; k++)
        shell_kill(&simulation->shells[k]);
    bring_up(simulation);
    rest(simulation);
    compare(simulation, "restored");
}

/* ---- a run ---- */

/* Mostly the default; else a rule of each shape, and every time at which pairs are asked. */
static struct selection_options selection_of(struct sel_random *random)
{
    static const char *const RULES[] = {"policy_trace", "policy_trace", "policy_trace",
                                        "uniform",      "dts",          "dopt_xx",
                                        "kcenter",      "trace_design"};
    const size_t count = sizeof RULES / sizeof *RULES;
    struct selection_options options =
        selection_defaults(sel_rule_find(RULES[sel_random_below(random, count)]));
    uint64_t chance = sel_random_below(random, 8);
    bool scores = options.rule->score != NULL && !options.rule->randomised;
    options.batch = sel_rule_is_of_pools(options.rule) ? 0 : 3;
    if (chance == 0 && sel_rule_is_of_pools(options.rule))
        options.when = WHEN_POOL;
    if (chance == 1 && scores)
        options.when = WHEN_PRICE;
    if (chance == 2 && scores)
        options.draw = DRAW_SOFTRANK;
    return options;
}

/* How often an answer is asked for, and what counts as one. */
static void set_asking(struct engine_options *options, uint64_t seed)
{
    struct sel_random random = sel_random_init(seed, 78);
    bool slots = options->selection.when == WHEN_SLOTS;
    bool scored = slots && sel_rule_is_of_pools(options->selection.rule);
    options->labels_attempts = 1 + (int64_t)sel_random_below(&random, 4);
    if (sel_random_below(&random, 3) == 0)
        options->labels_replicas = 2 + (int64_t)sel_random_below(&random, 2);
    if (scored && sel_random_below(&random, 2) == 0)
        options->labels_replicate = REPLICATE_BEST;
    if (sel_random_below(&random, 3) == 0)
        options->labels_both_bad = BOTH_BAD_IGNORE;
    if (sel_random_below(&random, 2) == 0)
        options->labels_skips = SKIPS_AGAIN;
    if (sel_random_below(&random, 2) == 0)
        options->labels_deadline = 6000;
}

/* Each further limit in some seeds, none in half of them. */
static struct budget_limits limits_of(uint64_t seed)
{
    struct sel_random random = sel_random_init(seed, 79);
    bool lasts = seed % 8 < 6; /* else nothing would be left of a ledger that is cut meanwhile */
    if (sel_random_below(&random, 2) == 0)
        return (struct budget_limits){0};
    struct budget_limits limits = {.by_cost = sel_random_below(&random, 4) == 0};
    if (sel_random_below(&random, 5) == 0 && lasts)
        limits.per_hour = 20 + (double)sel_random_below(&random, 60);
    if (sel_random_below(&random, 5) == 0 && lasts)
        limits.per_day = 20 + (double)sel_random_below(&random, 60);
    if (sel_random_below(&random, 4) == 0)
        limits.per_prompt = 1 + (int64_t)sel_random_below(&random, 8);
    if (sel_random_below(&random, 5) == 0)
        limits.total = 40 + (double)sel_random_below(&random, 200);
    if (sel_random_below(&random, 4) == 0) {
        limits.domain_count = 2;
        limits.domains[0] = (struct budget_domain){identity_of(span_of("code")), .1, .15};
        limits.domains[1] = (struct budget_domain){identity_of(span_of("chat")), 0, .3};
    }
    if (sel_random_below(&random, 4) == 0 && lasts) {
        limits.quiet_count = 2; /* a run begins a quarter past midnight, a Thursday */
        limits.quiet[0] = (struct budget_quiet){1 << 3, 18, 19};
        limits.quiet[1] = (struct budget_quiet){0x7F, 20, 21};
    }
    return limits;
}

static const char *const GROUPS[] = {"first=0-2", "second=4+6-7"};
enum { GROUP_COUNT = sizeof GROUPS / sizeof *GROUPS };

/* Groups of features, and what newer policy versions do, where anything: on draws of their own. */
static void age_and_group(struct simulation *simulation)
{
    struct engine_options *options = &simulation->options;
    struct sel_random random = sel_random_init(simulation->seed, 79);
    struct error error;
    uint64_t versions = sel_random_below(&random, 4), groups = sel_random_below(&random, 4);
    options->labels_versions = versions == 2   ? VERSIONS_FORGET
                               : versions == 3 ? VERSIONS_RESET
                                               : VERSIONS_KEEP;
    options->labels_gamma = sel_random_below(&random, 2) == 0 ? .5 : .9;
    options->moments_fade = sel_random_below(&random, 2) == 0;
    options->moments_gamma = sel_random_below(&random, 2) == 0 ? .5 : .8;
    if (options->moments_fade && sel_random_below(&random, 2) == 0)
        options->policy_window = 64000;
    if (simulation->cuts) /* what is deleted lies in no window */
        options->policy_window = options->labels_window;
    simulation->groups = (struct feature_groups){.blocks = groups == 1 ? 3 : 1};
    if (groups == 0 && !feature_groups_parse(GROUPS, GROUP_COUNT, &simulation->groups, &error)) {
        fprintf(stderr, "simulate: %s\n", error.message);
        exit(2);
    }
    options->features_groups = &simulation->groups;
    simulation->world.versions = options->moments_fade || options->labels_versions != VERSIONS_KEEP;
}

static struct engine_options options_of(uint64_t seed)
{
    struct sel_random random = sel_random_init(seed, 77);
    bool short_lives = seed % 4 >= 2;
    bool short_window = seed % 8 >= 6;
    return (struct engine_options){.topics = {"completions", "labels"},
                                   .completions_partitions = 3,
                                   .ledger_partitions = LEDGER_PARTITIONS,
                                   .writer = "",
                                   .digest = "digest",
                                   .features_space = "",
                                   .features_scale_pools = 5,
                                   .limits_record = 1 << 20,
                                   .limits_dimension = 64,
                                   .limits_text = 100,
                                   .limits_clock_ahead = 60000,
                                   .pool_size = 4,
                                   .pool_min = 2,
                                   .pool_max = short_lives ? 8 : 400,
                                   .pool_wait = 5000,
                                   .pool_age = short_lives ? 15000 : 864000000,
                                   .pool_picks = short_lives && seed % 3 == 0 ? 4 : 0,
                                   .policy_beta = .5,
                                   .policy_sampling = SAMPLING_CURRENT,
                                   .policy_window = 7 * 86400000ll,
                                   .moments_interval = 1000,
                                   .labels_window = short_window ? 32000 : 30 * 86400000ll,
                                   .labels_max = short_window ? 150 : 100000,
                                   .labels_deadline = short_lives ? 6000 : 3600000,
                                   .labels_late = 10000,
                                   .labels_lapse = seed % 3 < 2 ? (double)NAN : 0,
                                   .labels_by_annotator = seed % 4 < 3,
                                   .labels_ties = seed % 5 < 2 ? TIES_DAVIDSON : TIES_HALF,
                                   .labels_probes = .04,
                                   .fit_every = 10,
                                   .selection = selection_of(&random),
                                   .control_share = .25,
                                   .budget_per_second = 5 + sel_random_uniform(&random) * 20,
                                   .budget_burst = 10,
                                   .budget_in_flight = 24,
                                   .budget_limits = limits_of(seed),
                                   .seed = seed,
                                   .pools_bytes = short_lives && seed % 5 == 0 ? 3 << 17 : 0,
                                   .waiting_max = 12,
                                   .accounting_bytes = seed % 2 == 0 ? 1 << 18 : 0};
}

static void prepare(struct simulation *simulation)
{
    uint64_t seed = simulation->seed;
    simulation->options = options_of(seed);
    set_asking(&simulation->options, seed);
    simulation->cuts = seed % 8 >= 6;
    simulation->cluster = cluster_new(simulation->options.completions_partitions);
    simulation->chance = sel_random_init(seed, 1);
    for (uint64_t k = 0; k < FAULTS; k++)
        simulation->faults[k] = sel_random_init(seed, 100 + k);
    simulation->world =
        (struct world){.seed = seed,
                       .chance = sel_random_init(seed, 2),
                       .contracts = simulation->contracts,
                       .cluster = simulation->cluster,
                       .spaces = seed % 4 == 1 || seed % 16 == 14,
                       .skips_again = simulation->options.labels_skips == SKIPS_AGAIN,
                       .partitions = simulation->options.completions_partitions,
                       .asked = calloc(WORLD_REQUESTS, sizeof(struct asked))};
    age_and_group(simulation);
    simulation->schedule = (struct schedule){.world = simulation,
                                             .dies = on_dies,
                                             .refused = on_refused,
                                             .below = on_below,
                                             .asked = on_asked,
                                             .decided = on_decided};
    for (int k = 0; k < WORKERS; k++)
        simulation->shells[k] = (struct shell){.number = k,
                                               .options = &simulation->options,
                                               .contracts = simulation->contracts,
                                               .cluster = simulation->cluster,
                                               .schedule = &simulation->schedule,
                                               .skew = below(simulation, 400) - 200};
    simulation->now = 1000000;
}

static int64_t run(struct simulation *simulation)
{
    int64_t events = 0;
    prepare(simulation);
    trace_run(simulation->seed, &simulation->options, simulation->cuts);
    trace_groups(simulation->groups.blocks, GROUPS, simulation->groups.count);
    for (int64_t k = 0; k < simulation->turns; k++) {
        turn(simulation);
        if (k == simulation->turns / 2)
            come_to_rest(simulation, "midway");
    }
    run_until_quiet(simulation);
    for (int k = 0; k < WORKERS; k++) {
        events += simulation->shells[k].events;
        engine_free(simulation->shells[k].engine);
    }
    trace_number("end", "events", events);
    cluster_free(simulation->cluster);
    free(simulation->world.asked);
    return events;
}

static void leave_out(struct simulation *simulation, const char *names)
{
    for (int k = 0; k < FAULTS; k++) {
        const char *found = strstr(names, FAULT_ROWS[k].name);
        simulation->without[k] = simulation->without[k] || found != NULL;
    }
}

int main(int argc, char **argv)
{
    static struct simulation base = {.turns = TURNS};
    uint64_t seeds[2] = {0, 0};
    int given = 0;
    struct error error;
    for (int k = 1; k < argc; k++) {
        if (strcmp(argv[k], "--turns") == 0 && k + 1 < argc)
            base.turns = strtoll(argv[++k], NULL, 10);
        else if (strcmp(argv[k], "--without") == 0 && k + 1 < argc)
            leave_out(&base, argv[++k]);
        else if (given < 2)
            seeds[given++] = strtoull(argv[k], NULL, 10);
    }
    if (given == 0) {
        fputs("Usage: simulate FIRST_SEED [LAST_SEED] [--turns N] [--without FAULT,...]\n", stderr);
        return 2;
    }
    sel_init();
    base.contracts = records_contracts(&error);
    if (base.contracts == NULL) {
        fprintf(stderr, "simulate: %s\n", error.message);
        return 2;
    }
    for (uint64_t seed = seeds[0]; seed <= (given > 1 ? seeds[1] : seeds[0]); seed++) {
        struct simulation simulation = base;
        simulation.seed = seed;
        run(&simulation);
    }
    contracts_free(base.contracts);
    return 0;
}
