/* One worker's engine under a seeded schedule: the shell of worker/session.c and worker/commit.c in
 * small, on a model of Kafka, with a trainer and a labeller. Everything that happens is written to
 * standard output for the judge.
 *
 * A boundary is a place where a process may die: every one is asked, by name, whether this is it.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "tests/support/records.h"
#include "trace.h"
#include "worker/engine/identity.h"

enum { D = 3, PROMPTS = 36, TURNS = 260, REQUESTS_MAX = 4000, TURNS_QUIET = 40 };

struct asked {
    char id[ID_TEXT_SIZE];
    float x[D];
    bool committed;
    int answers;
};

struct simulation {
    uint64_t seed;
    struct sel_random chance; /* the schedule */
    struct sel_random world;
    struct engine_options options;
    struct contracts *contracts;
    struct cluster *cluster;
    struct engine *engine;
    int64_t position[LEDGER_PARTITIONS]; /* of the follower */
    int64_t unknown_goal[LEDGER_PARTITIONS];
    int64_t unknown_ticket;
    int64_t now;
    struct asked *asked;
    size_t asked_count, asked_of_transaction;
    int completions[PROMPTS]; /* sent so far, of each prompt */
    double danger;            /* of a crash at a boundary; 0 once the world calms down */
};

static void check(bool done, const struct error *error)
{
    if (done)
        return;
    fprintf(stderr, "simulate: the engine failed: %s\n", error->message);
    exit(2);
}

static bool happens(struct simulation *simulation, double probability)
{
    return sel_random_uniform(&simulation->chance) < probability;
}

static int below(struct simulation *simulation, int bound)
{
    return (int)sel_random_below(&simulation->chance, (uint64_t)bound);
}

/* True: the process dies here. What it had in memory is gone; an open transaction stays open. */
static bool dies(struct simulation *simulation, const char *boundary)
{
    if (!happens(simulation, simulation->danger))
        return false;
    trace_text("crash", "boundary", boundary);
    engine_free(simulation->engine);
    simulation->engine = NULL;
    return true;
}

/* ---- the world ---- */

static void append_completion(struct simulation *simulation)
{
    static const char JUNK[] = "\x05not a completion";
    struct error error;
    char prompt[32], name[32];
    float features[D];
    int number = below(simulation, PROMPTS);
    int row = simulation->completions[number];
    bool broken = happens(simulation, .03);
    /* Some rows come twice under one id, some under two. */
    bool again = row > 0 && happens(simulation, .05);
    if (!broken && !again)
        simulation->completions[number]++;
    row -= again;
    bool copy = row > 0 && (number + row) % 10 == 0;
    struct sel_random random =
        sel_random_init(simulation->seed ^ 99, (uint64_t)(number * 1000 + row - copy));
    for (size_t k = 0; k < D; k++)
        features[k] = (float)sel_random_normal(&random);
    snprintf(prompt, sizeof prompt, "prompt %d", number);
    snprintf(name, sizeof name, "completion %d", row);
    const struct completion completion = records_completion(prompt, name, features, D);
    struct buffer record = {.maximum = 4096};
    check(contracts_encode_completion(simulation->contracts, &completion, &record, &error), &error);
    struct span bytes = {record.data, record.size};
    int64_t time = simulation->now - below(simulation, 500);
    if (happens(simulation, .01))
        time += 86400000; /* a clock that is a day ahead */
    int32_t partition = number % COMPLETIONS_PARTITIONS;
    int64_t offset = cluster_append(simulation->cluster, INPUT_COMPLETIONS, partition,
                                    broken ? (struct span){JUNK, sizeof JUNK - 1} : bytes, time);
    trace_completion(partition, offset, time, &completion, broken);
    buffer_free(&record);
}

static void append_label(struct simulation *simulation, const char *request_id,
                         enum label_outcome outcome, const char *label_id)
{
    struct error error;
    bool broken = happens(simulation, .02);
    const struct label label = {.label_id = span_of(label_id),
                                .request_id = span_of(request_id),
                                .outcome = outcome,
                                .probability_left =
                                    outcome == OUTCOME_PROBABILITY ? .75 : (double)NAN,
                                .confidence = 1,
                                .lead_time = -1};
    struct buffer record = {.maximum = 4096};
    check(contracts_encode_label(simulation->contracts, &label, &record, &error), &error);
    int32_t partition = below(simulation, LABELS_PARTITIONS);
    struct span bytes = {record.data, broken ? record.size / 2 : record.size};
    int64_t offset =
        cluster_append(simulation->cluster, INPUT_LABELS, partition, bytes, simulation->now);
    trace_label(partition, offset, simulation->now, &label, broken);
    buffer_free(&record);
}

static enum label_outcome outcome_of(struct simulation *simulation, const struct asked *asked)
{
    static const double TRUTH[D] = {1, -.5, .25};
    static const enum label_outcome OTHERS[] = {OUTCOME_TIE, OUTCOME_BOTH_BAD, OUTCOME_SKIP,
                                                OUTCOME_INVALID, OUTCOME_PROBABILITY};
    if (happens(simulation, .1))
        return OTHERS[below(simulation, 5)];
    double margin = 0;
    for (size_t k = 0; k < D; k++)
        margin += TRUTH[k] * (double)asked->x[k];
    return sel_random_uniform(&simulation->world) < sel_sigmoid(margin) ? OUTCOME_LEFT
                                                                        : OUTCOME_RIGHT;
}

static void answer(struct simulation *simulation, struct asked *asked)
{
    char label_id[48] = "";
    enum label_outcome outcome = outcome_of(simulation, asked);
    asked->answers++;
    if (happens(simulation, .5))
        snprintf(label_id, sizeof label_id, "label %s %d", asked->id, asked->answers);
    append_label(simulation, asked->id, outcome, label_id);
    /* At least once: the same record again, with its id or without. */
    while (happens(simulation, .1))
        append_label(simulation, asked->id, outcome, label_id);
}

/* Labels of pairs that are committed; some annotators answer a second time, some never. */
static void label_some(struct simulation *simulation, double share)
{
    for (size_t k = 0; k < simulation->asked_count; k++) {
        struct asked *asked = &simulation->asked[k];
        if (asked->committed && asked->answers == 0 && happens(simulation, share))
            answer(simulation, asked);
        else if (asked->committed && asked->answers == 1 && happens(simulation, .002))
            answer(simulation, asked);
    }
    if (happens(simulation, .1))
        append_label(simulation, "00000000000000000000000000000001", OUTCOME_LEFT, "");
}

/* A labeller that reads uncommitted pairs answers what may be aborted. */
static void label_early(struct simulation *simulation)
{
    if (simulation->asked_of_transaction < simulation->asked_count && happens(simulation, .2))
        answer(
            simulation,
            &simulation->asked[simulation->asked_count - 1 -
                               (size_t)below(simulation, (int)(simulation->asked_count -
                                                               simulation->asked_of_transaction))]);
}

/* ---- a transaction ---- */

static void remember(struct simulation *simulation, const struct effect *effect)
{
    struct error error;
    struct entry entry;
    check(contracts_decode_entry(simulation->contracts, effect->value, &entry, NULL, &error),
          &error);
    if (entry.kind != ENTRY_SELECTED || simulation->asked_count == REQUESTS_MAX)
        return;
    struct asked *asked = &simulation->asked[simulation->asked_count++];
    *asked = (struct asked){.committed = false};
    snprintf(asked->id, sizeof asked->id, "%.*s", (int)entry.selected.request_id.size,
             entry.selected.request_id.data);
    memcpy(asked->x, entry.selected.x.data, sizeof asked->x);
}

static void produce(struct simulation *simulation, const struct effect *effect)
{
    int64_t offset = -1;
    if (effect->output == OUTPUT_LEDGER) {
        offset = cluster_produce(simulation->cluster, effect->partition, effect->value);
        remember(simulation, effect);
    }
    trace_effect(simulation->contracts, effect, offset);
}

static void decide(struct simulation *simulation, bool commit)
{
    trace_number(commit ? "commit" : "abort", "transaction", simulation->cluster->transaction);
    cluster_decide(simulation->cluster, commit);
    for (size_t k = simulation->asked_of_transaction; commit && k < simulation->asked_count; k++)
        simulation->asked[k].committed = true;
    if (!commit)
        simulation->asked_count = simulation->asked_of_transaction;
    simulation->asked_of_transaction = simulation->asked_count;
}

/* Markers that this moment brings. */
static void marks(struct simulation *simulation)
{
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++) {
        if (happens(simulation, .5))
            cluster_mark(simulation->cluster, k);
    }
}

enum sent { SENT, ABORTED, DEAD };

/* A broker's error in the middle, which is answered by an abort. */
static bool refused(struct simulation *simulation)
{
    if (!happens(simulation, simulation->danger))
        return false;
    decide(simulation, false);
    return true;
}

static enum sent attempt(struct simulation *simulation, const struct batch *batch)
{
    struct cluster *cluster = simulation->cluster;
    cluster_settle(cluster);
    cluster_begin(cluster);
    simulation->asked_of_transaction = simulation->asked_count;
    trace_number("begin", "now", simulation->now);
    for (size_t k = 0; k < batch->effect_count; k++) {
        if (dies(simulation, "before an effect"))
            return DEAD;
        if (refused(simulation))
            return ABORTED;
        produce(simulation, &batch->effects[k]);
    }
    label_early(simulation);
    if (dies(simulation, "before the offsets"))
        return DEAD;
    cluster_send_offsets(cluster, batch);
    trace_offsets(batch);
    if (dies(simulation, "before the commit"))
        return DEAD;
    if (refused(simulation))
        return ABORTED;
    /* The request or the answer may be lost; asking again tells, unless the process is gone. */
    if (dies(simulation, "commit not arrived"))
        return DEAD;
    decide(simulation, true);
    marks(simulation);
    if (dies(simulation, "commit of unknown outcome"))
        return DEAD;
    return SENT;
}

static bool follow(struct simulation *simulation, int most);

/* False: the process died. */
static bool commit(struct simulation *simulation)
{
    struct error error;
    const struct batch *batch = engine_close(simulation->engine, &error);
    check(error.class == ERROR_NONE, &error);
    if (batch == NULL)
        return true;
    if (dies(simulation, "closed"))
        return false;
    enum sent sent;
    do {
        sent = attempt(simulation, batch);
        if (sent == DEAD)
            return false;
    } while (sent == ABORTED);
    if (dies(simulation, "before the confirm"))
        return false;
    engine_confirm(simulation->engine);
    return !dies(simulation, "confirmed");
}

/* ---- reading ---- */

/* Gives the engine up to `most` entries of partitions in any order. True: something was read. */
static bool follow(struct simulation *simulation, int most)
{
    struct error error;
    bool any = false;
    int first = below(simulation, LEDGER_PARTITIONS);
    for (int k = 0; k < LEDGER_PARTITIONS; k++) {
        int32_t partition = (first + k) % LEDGER_PARTITIONS;
        for (int given = 0; given < most; given++) {
            struct entry entry;
            const struct ledger_slot *slot =
                cluster_read(simulation->cluster, partition, &simulation->position[partition]);
            if (slot == NULL)
                break;
            check(contracts_decode_entry(simulation->contracts,
                                         (struct span){slot->bytes, slot->size}, &entry, NULL,
                                         &error),
                  &error);
            check(engine_entry(simulation->engine, &entry, partition,
                               simulation->position[partition] - 1, &error),
                  &error);
            any = true;
        }
    }
    return any;
}

static void watermarks(const struct simulation *simulation, int64_t *goal)
{
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++)
        goal[k] = cluster_high(simulation->cluster, k);
}

static bool passed(const struct simulation *simulation, const int64_t *goal)
{
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++) {
        if (simulation->position[k] < goal[k])
            return false;
    }
    return true;
}

static void unknown_labels(struct simulation *simulation)
{
    struct error error;
    if (engine_stats(simulation->engine)->labels_waiting == 0) {
        simulation->unknown_ticket = 0;
    } else if (simulation->unknown_ticket == 0) {
        simulation->unknown_ticket = engine_ticket(simulation->engine);
        watermarks(simulation, simulation->unknown_goal);
    } else if (passed(simulation, simulation->unknown_goal)) {
        int64_t ticket = simulation->unknown_ticket;
        simulation->unknown_ticket = 0;
        check(engine_ledger_passed(simulation->engine, ticket, &error), &error);
    }
}

static void take_completion(struct simulation *simulation, const struct source *source)
{
    struct error error, reason;
    struct completion completion;
    const char *stage;
    if (contracts_decode_completion(simulation->contracts, source->value, &completion, &stage,
                                    &reason))
        check(engine_completion(simulation->engine, source, &completion, &error), &error);
    else
        check(engine_reject(simulation->engine, source, stage, reason.message, &error), &error);
}

static void take_label(struct simulation *simulation, const struct source *source)
{
    struct error error, reason;
    struct label label;
    const char *stage;
    if (contracts_decode_label(simulation->contracts, source->value, &label, &stage, &reason))
        check(engine_label(simulation->engine, source, &label, &error), &error);
    else
        check(engine_reject(simulation->engine, source, stage, reason.message, &error), &error);
}

/* Delivers up to `most` records of one partition, and its end where it is reached. */
static void deliver(struct simulation *simulation, enum input input, int32_t partition, int most)
{
    struct error error;
    const struct input_log *log = &simulation->cluster->inputs[input][partition];
    int64_t next = engine_next(simulation->engine, input, partition);
    for (; most > 0 && next < (int64_t)log->count; most--, next++) {
        if (input == INPUT_LABELS && engine_waiting(simulation->engine, partition) >= 1)
            return;
        const struct input_record *record = &log->records[next];
        const struct source source = {.input = input,
                                      .partition = partition,
                                      .offset = next,
                                      .timestamp = record->timestamp,
                                      .value = {record->bytes, record->size}};
        if (input == INPUT_COMPLETIONS)
            take_completion(simulation, &source);
        else
            take_label(simulation, &source);
    }
    if (next == (int64_t)log->count)
        check(engine_end(simulation->engine, input, partition, next, &error), &error);
}

/* ---- a process ---- */

static void gain(struct simulation *simulation, enum input input, int32_t partition)
{
    struct error error;
    const struct committed *committed = &simulation->cluster->committed[input][partition];
    int64_t next = committed->next < 0 ? 0 : committed->next;
    int64_t low_water = next, time = 0;
    if (committed->next >= 0 && !batch_metadata_parse(committed->metadata, &low_water, &time)) {
        fputs("simulate: damaged metadata\n", stderr);
        exit(2);
    }
    check(engine_gain(simulation->engine, input, partition, next, low_water, time, &error), &error);
}

/* Starts a process; false: it died while it restored. */
static bool start(struct simulation *simulation)
{
    struct error error;
    int64_t goal[LEDGER_PARTITIONS];
    if (simulation->cluster->state == TRANSACTION_OPEN)
        decide(simulation, false);
    cluster_settle(simulation->cluster); /* init_transactions */
    trace_number("start", "now", simulation->now);
    simulation->engine = engine_new(&simulation->options, simulation->contracts, &error);
    check(simulation->engine != NULL, &error);
    check(engine_tick(simulation->engine, simulation->now, &error), &error);
    simulation->unknown_ticket = 0;
    memset(simulation->position, 0, sizeof simulation->position);
    watermarks(simulation, goal);
    while (!passed(simulation, goal)) {
        follow(simulation, 1 + below(simulation, 50));
        if (dies(simulation, "restoring"))
            return false;
    }
    for (int32_t k = 0; k < COMPLETIONS_PARTITIONS; k++) {
        if (dies(simulation, "restored"))
            return false;
        gain(simulation, INPUT_COMPLETIONS, k);
        check(engine_barrier(simulation->engine, INPUT_COMPLETIONS, k, &error), &error);
    }
    for (int32_t k = 0; k < LABELS_PARTITIONS; k++) {
        gain(simulation, INPUT_LABELS, k);
        check(engine_barrier(simulation->engine, INPUT_LABELS, k, &error), &error);
    }
    return true;
}

/* One turn of the worker's loop. */
static bool turn(struct simulation *simulation)
{
    struct error error;
    for (int k = below(simulation, 6); k > 0; k--) {
        if (happens(simulation, .5))
            deliver(simulation, INPUT_COMPLETIONS, below(simulation, COMPLETIONS_PARTITIONS),
                    1 + below(simulation, 12));
        else
            deliver(simulation, INPUT_LABELS, below(simulation, LABELS_PARTITIONS),
                    1 + below(simulation, 6));
        marks(simulation);
        if (happens(simulation, .5))
            follow(simulation, 1 + below(simulation, 8));
    }
    unknown_labels(simulation);
    if (dies(simulation, "before a tick"))
        return false;
    check(engine_tick(simulation->engine, simulation->now, &error), &error);
    return commit(simulation);
}

/* Ends the process in good order. */
static void stop(struct simulation *simulation)
{
    trace_number("stop", "now", simulation->now);
    engine_free(simulation->engine);
    simulation->engine = NULL;
}

static void run_while_lively(struct simulation *simulation)
{
    for (int k = 0; k < TURNS; k++) {
        simulation->now += 20 + below(simulation, 400);
        if (happens(simulation, .01))
            simulation->now += 15000;
        for (int more = below(simulation, 6); more > 0; more--)
            append_completion(simulation);
        label_some(simulation, .15);
        while (simulation->engine == NULL)
            start(simulation);
        turn(simulation);
        if (simulation->engine != NULL && happens(simulation, .01) && commit(simulation))
            stop(simulation);
    }
}

/* No faults and no new picks: everything that is on its way arrives. */
static void run_until_quiet(struct simulation *simulation)
{
    struct error error;
    simulation->danger = 0;
    simulation->options.budget_in_flight = 0;
    if (simulation->engine != NULL)
        stop(simulation);
    start(simulation);
    label_some(simulation, .7);
    for (int k = 0; k < TURNS_QUIET; k++) {
        simulation->now += 2000;
        for (int32_t partition = 0; partition < COMPLETIONS_PARTITIONS; partition++)
            deliver(simulation, INPUT_COMPLETIONS, partition, 100000);
        for (int32_t partition = 0; partition < LABELS_PARTITIONS; partition++)
            deliver(simulation, INPUT_LABELS, partition, 100000);
        cluster_settle(simulation->cluster);
        follow(simulation, 100000);
        unknown_labels(simulation);
        check(engine_tick(simulation->engine, simulation->now, &error), &error);
        commit(simulation);
    }
    cluster_settle(simulation->cluster);
    follow(simulation, 100000);
}

/* ---- a run ---- */

static struct engine_options options_of(uint64_t seed)
{
    struct sel_random random = sel_random_init(seed, 77);
    bool short_lives = seed % 2 == 1;
    return (struct engine_options){
        .topics = {"completions", "labels"},
        .completions_partitions = COMPLETIONS_PARTITIONS,
        .ledger_partitions = LEDGER_PARTITIONS,
        .writer = "slot",
        .digest = "digest",
        .features_space = "",
        .features_scale_pools = 5,
        .limits_record = 1 << 20,
        .limits_dimension = 64,
        .limits_text = 100,
        .limits_clock_ahead = 60000,
        .pool_size = 4,
        .pool_min = 2,
        .pool_max = short_lives ? 6 : 100,
        .pool_wait = 5000,
        .pool_age = short_lives ? 30000 : 864000000,
        .pool_picks = short_lives && seed % 3 == 0 ? 4 : 0,
        .policy_beta = .5,
        .policy_sampling = SAMPLING_CURRENT,
        .policy_window = 7 * 86400000ll,
        .moments_interval = 1000,
        .labels_window = 30 * 86400000ll,
        .labels_max = 100000,
        .labels_deadline = short_lives ? 6000 : 3600000,
        .labels_late = 10000,
        .fit_every = 10,
        .rule = sel_rule_find(sel_random_below(&random, 4) == 0 ? "uniform" : "policy_trace"),
        .control_share = .25,
        .budget_per_second = 5 + sel_random_uniform(&random) * 20,
        .budget_burst = 10,
        .budget_in_flight = 24,
        .seed = seed,
        .waiting_max = 6};
}

static struct contracts *load_contracts(void)
{
    struct error error;
    struct contracts *contracts = records_contracts(&error);
    check(contracts != NULL, &error);
    return contracts;
}

static void run(uint64_t seed, struct contracts *contracts)
{
    struct simulation simulation = {.seed = seed,
                                    .chance = sel_random_init(seed, 1),
                                    .world = sel_random_init(seed, 2),
                                    .options = options_of(seed),
                                    .contracts = contracts,
                                    .cluster = cluster_new(),
                                    .now = 1000000,
                                    .asked = calloc(REQUESTS_MAX, sizeof(struct asked)),
                                    .danger = .004};
    trace_run(seed, &simulation.options);
    run_while_lively(&simulation);
    run_until_quiet(&simulation);
    trace_state("survivor", simulation.engine);
    engine_free(simulation.engine);
    while (!start(&simulation))
        continue;
    struct error error;
    for (int32_t partition = 0; partition < COMPLETIONS_PARTITIONS; partition++)
        deliver(&simulation, INPUT_COMPLETIONS, partition, 100000);
    check(engine_tick(simulation.engine, simulation.now, &error), &error);
    trace_state("restored", simulation.engine);
    trace_number("end", "seed", (int64_t)seed);
    engine_free(simulation.engine);
    cluster_free(simulation.cluster);
    free(simulation.asked);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fputs("Usage: simulate FIRST_SEED [LAST_SEED]\n", stderr);
        return 2;
    }
    uint64_t first = strtoull(argv[1], NULL, 10);
    uint64_t last = argc > 2 ? strtoull(argv[2], NULL, 10) : first;
    sel_init();
    struct contracts *contracts = load_contracts();
    for (uint64_t seed = first; seed <= last; seed++)
        run(seed, contracts);
    contracts_free(contracts);
    return 0;
}
