#include "shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

static void check(bool done, const struct error *error)
{
    if (done)
        return;
    fprintf(stderr, "simulate: the engine failed: %s\n", error->message);
    exit(2);
}

static bool dies(struct shell *shell, const char *boundary)
{
    if (!shell->schedule->dies(shell->schedule->world, shell->number, boundary))
        return false;
    trace_crash(shell->number, boundary);
    shell_kill(shell);
    return true;
}

static void apply(struct shell *shell, const struct event *event)
{
    struct error error = {ERROR_NONE, ""};
    shell->events++;
    check(event_apply(shell->engine, shell->contracts, event, &error), &error);
}

void shell_kill(struct shell *shell)
{
    engine_free(shell->engine);
    shell->engine = NULL;
    shell->phase = PHASE_DOWN;
    shell->flight = (struct flight){0};
    shell->takeover = TAKEOVER_NONE;
    memset(shell->holds, 0, sizeof shell->holds);
}

static void watermarks(const struct shell *shell, int64_t *goal)
{
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++)
        goal[k] = cluster_high(shell->cluster, k);
}

static bool passed(const struct shell *shell, const int64_t *goal)
{
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++) {
        if (shell->position[k] < goal[k])
            return false;
    }
    return true;
}

/* ---- start ---- */

bool shell_start(struct shell *shell, int64_t now)
{
    struct error error;
    shell_kill(shell);
    shell->epoch = cluster_init(shell->cluster, shell->number);
    struct engine_options options = *shell->options;
    snprintf(shell->slot, sizeof shell->slot, "slot %d", shell->number);
    options.writer = shell->slot;
    options.completions_partitions = shell->cluster->partitions[INPUT_COMPLETIONS];
    shell->engine = engine_new(&options, shell->contracts, &error);
    check(shell->engine != NULL, &error);
    apply(shell, &(struct event){.kind = EVENT_TICK, .now = now + shell->skew});
    shell->phase = PHASE_RESTORING;
    shell->generation = -1;
    shell->unknown_ticket = 0;
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++)
        shell->position[k] = shell->cluster->ledger[k].start;
    watermarks(shell, shell->goal);
    trace_number("start", "worker", shell->number);
    return true;
}

static bool read_partition(struct shell *shell, int32_t partition, int most)
{
    bool any = false;
    for (; most > 0; most--) {
        const struct ledger_slot *slot =
            cluster_read(shell->cluster, partition, &shell->position[partition]);
        if (slot == NULL)
            break;
        apply(shell, &(struct event){.kind = EVENT_ENTRY,
                                     .partition = partition,
                                     .offset = shell->position[partition] - 1,
                                     .source.value = {slot->bytes, slot->size}});
        any = true;
    }
    return any;
}

/* Retention has overtaken the reader. */
static bool was_cut(const struct shell *shell)
{
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++) {
        if (shell->position[k] < shell->cluster->ledger[k].start)
            return true;
    }
    return false;
}

bool shell_follow(struct shell *shell, int most)
{
    bool any = false;
    if (was_cut(shell)) {
        trace_number("overtaken", "worker", shell->number);
        shell_kill(shell);
        return true;
    }
    int32_t first = (int32_t)shell->schedule->below(shell->schedule->world, LEDGER_PARTITIONS);
    for (int32_t k = 0; k < LEDGER_PARTITIONS; k++)
        any = read_partition(shell, (first + k) % LEDGER_PARTITIONS, most) || any;
    return any;
}

bool shell_restore(struct shell *shell)
{
    shell_follow(shell, 1 + (int)shell->schedule->below(shell->schedule->world, 50));
    if (shell->phase == PHASE_DOWN || dies(shell, "restoring") || !passed(shell, shell->goal))
        return true;
    shell->phase = PHASE_RUNNING;
    if (dies(shell, "restored"))
        return true;
    cluster_join(shell->cluster, shell->number);
    return true;
}

/* ---- the group ---- */

static void lose(struct shell *shell, enum input input, int32_t partition)
{
    shell->gaining[input][partition] = false;
    if (!shell->holds[input][partition])
        return;
    shell->holds[input][partition] = false;
    apply(shell, &(struct event){.kind = EVENT_LOSE, .input = input, .partition = partition});
}

/* Commits, then gives up what the next generation gives to others; eager: everything. */
static bool revoke(struct shell *shell, int64_t now)
{
    const struct member *member = &shell->cluster->members[shell->number];
    bool eager = shell->options->seed % 2 == 0;
    shell->takeover = TAKEOVER_NONE;
    if (!shell_commit_all(shell, now))
        return true;
    if (dies(shell, "revoked"))
        return true;
    for (int input = 0; input < INPUTS; input++) {
        for (int32_t k = 0; k < PARTITIONS_MAX; k++) {
            if (eager || !member->target[input][k])
                lose(shell, (enum input)input, k);
        }
    }
    cluster_acknowledge(shell->cluster, shell->number);
    return true;
}

/* What the newest generation gives and is not held yet. */
static void begin_takeover(struct shell *shell)
{
    const struct member *member = &shell->cluster->members[shell->number];
    shell->generation = member->generation;
    for (int input = 0; input < INPUTS; input++) {
        for (int32_t k = 0; k < PARTITIONS_MAX; k++)
            shell->gaining[input][k] = member->holds[input][k] && !shell->holds[input][k];
    }
    shell->takeover = TAKEOVER_OFFSETS;
}

bool shell_group(struct shell *shell, int64_t now)
{
    const struct cluster *cluster = shell->cluster;
    const struct member *member = &cluster->members[shell->number];
    if (!member->in_group) {
        /* Thrown out: the assignment is lost, and with it all that was not committed. */
        shell_kill(shell);
        return true;
    }
    if (cluster->rebalancing && !member->acknowledged)
        return revoke(shell, now);
    if (!cluster->rebalancing && member->generation != shell->generation)
        begin_takeover(shell);
    return true;
}

/* ---- taking over ---- */

static bool read_offsets(struct shell *shell)
{
    for (int input = 0; input < INPUTS; input++) {
        for (int32_t k = 0; k < PARTITIONS_MAX; k++) {
            if (shell->gaining[input][k] &&
                !cluster_committed(shell->cluster, (enum input)input, k, &shell->found[input][k]))
                return false;
        }
    }
    return true;
}

static void gain(struct shell *shell, enum input input, int32_t partition)
{
    const struct committed committed = shell->found[input][partition];
    int64_t start = shell->cluster->inputs[input][partition].start;
    const char *waiting = "";
    struct event event = {.kind = EVENT_GAIN, .input = input, .partition = partition};
    event.committed = event.low_water = committed.next < 0 ? start : committed.next;
    if (committed.next >= 0 &&
        !batch_metadata_parse(committed.metadata, &event.low_water, &event.now, &waiting)) {
        fputs("simulate: damaged metadata\n", stderr);
        exit(2);
    }
    if (input == INPUT_COMPLETIONS && event.low_water < start) {
        event.low_water = start;
        event.now = 0;
    }
    event.source.value = span_of(waiting);
    apply(shell, &event);
    apply(shell, &(struct event){.kind = EVENT_BARRIER, .input = input, .partition = partition});
    shell->holds[input][partition] = true;
    shell->gaining[input][partition] = false;
}

bool shell_takeover(struct shell *shell)
{
    if (shell->takeover == TAKEOVER_OFFSETS && read_offsets(shell))
        shell->takeover = TAKEOVER_BARRIER;
    if (shell->takeover == TAKEOVER_BARRIER) {
        watermarks(shell, shell->goal);
        shell->takeover = TAKEOVER_LEDGER;
    }
    if (shell->takeover != TAKEOVER_LEDGER || !passed(shell, shell->goal))
        return true;
    if (dies(shell, "taking over"))
        return true;
    for (int input = 0; input < INPUTS; input++) {
        for (int32_t k = 0; k < PARTITIONS_MAX; k++) {
            if (shell->gaining[input][k])
                gain(shell, (enum input)input, k);
        }
    }
    shell->takeover = TAKEOVER_NONE;
    return true;
}

/* ---- the loop ---- */

bool shell_deliver(struct shell *shell, enum input input, int32_t partition, int most)
{
    if (!shell->holds[input][partition])
        return false;
    const struct input_log *log = &shell->cluster->inputs[input][partition];
    int64_t next = engine_next(shell->engine, input, partition);
    if (next < log->start)
        next = log->start;
    for (; most > 0 && next < (int64_t)log->count; most--, next++) {
        if (input == INPUT_LABELS && engine_waiting(shell->engine, partition) >= 1)
            return false;
        const struct input_record *record = &log->records[next];
        apply(shell, &(struct event){.kind = EVENT_RECORD,
                                     .source = {.input = input,
                                                .partition = partition,
                                                .offset = next,
                                                .timestamp = record->timestamp,
                                                .value = {record->bytes, record->size}}});
    }
    if (next == (int64_t)log->count)
        apply(shell,
              &(struct event){
                  .kind = EVENT_END, .input = input, .partition = partition, .offset = next});
    return true;
}

static void unknown_labels(struct shell *shell)
{
    if (engine_stats(shell->engine)->labels_waiting == 0) {
        shell->unknown_ticket = 0;
    } else if (shell->unknown_ticket == 0) {
        shell->unknown_ticket = engine_ticket(shell->engine);
        watermarks(shell, shell->unknown_goal);
    } else if (passed(shell, shell->unknown_goal)) {
        int64_t ticket = shell->unknown_ticket;
        shell->unknown_ticket = 0;
        apply(shell, &(struct event){.kind = EVENT_PASSED, .offset = ticket});
    }
}

/* Hands the open batch to the committer, when that is idle. */
static void close_batch(struct shell *shell)
{
    struct error error;
    if (shell->flight.batch != NULL)
        return;
    const struct batch *batch = engine_close(shell->engine, &error);
    check(error.class == ERROR_NONE, &error);
    shell->flight = (struct flight){.batch = batch, .generation = shell->generation};
}

bool shell_tick(struct shell *shell, int64_t now)
{
    if (dies(shell, "before a tick"))
        return true;
    unknown_labels(shell);
    int32_t partitions = shell->cluster->partitions[INPUT_COMPLETIONS];
    apply(shell, &(struct event){.kind = EVENT_RESIZE, .partition = partitions});
    apply(shell, &(struct event){.kind = EVENT_TICK, .now = now + shell->skew});
    close_batch(shell);
    return !dies(shell, "closed");
}

void shell_budget(struct shell *shell, const struct budget_options *budget)
{
    if (shell->phase == PHASE_DOWN)
        return;
    apply(shell, &(struct event){.kind = EVENT_BUDGET,
                                 .source = {.key = span_of(shell->options->digest),
                                            .value = {(const char *)budget, sizeof *budget}}});
}

/* ---- the transaction in flight ---- */

static void decide(struct shell *shell, bool commit)
{
    int64_t number = shell->cluster->producers[shell->number].transaction;
    if (cluster_decide(shell->cluster, shell->number, shell->epoch, commit)) {
        trace_number(commit ? "commit" : "abort", "transaction", number);
        shell->schedule->decided(shell->schedule->world, shell->number, commit);
    }
}

/* Abort, and the same again. */
static void again(struct shell *shell)
{
    decide(shell, false);
    shell->flight.stage = STAGE_BEGIN;
    shell->flight.effect = 0;
}

static bool produce(struct shell *shell, const struct effect *effect, int64_t now)
{
    int64_t offset = -1;
    if (effect->output == OUTPUT_LEDGER &&
        !cluster_produce(shell->cluster, shell->number, shell->epoch, effect->partition,
                         effect->value, now, &offset))
        return false;
    trace_effect(shell->cluster->producers[shell->number].transaction, effect, offset);
    shell->schedule->asked(shell->schedule->world, shell->number, effect);
    return true;
}

/* False: fenced, or the generation is over; only a new session helps. */
static bool advance(struct shell *shell, int64_t now)
{
    struct flight *flight = &shell->flight;
    struct cluster *cluster = shell->cluster;
    int me = shell->number;
    switch (flight->stage) {
    case STAGE_BEGIN:
        if (!cluster_begin(cluster, me, shell->epoch, now))
            return false;
        trace_begin(cluster->producers[me].transaction, me, now);
        flight->stage = STAGE_PRODUCE;
        return true;
    case STAGE_PRODUCE:
        if (flight->effect < flight->batch->effect_count)
            return produce(shell, &flight->batch->effects[flight->effect++], now);
        flight->stage = STAGE_OFFSETS;
        return true;
    case STAGE_OFFSETS:
        if (!cluster_send_offsets(cluster, me, shell->epoch, flight->generation, flight->batch))
            return false;
        trace_offsets(cluster->producers[me].transaction, flight->batch);
        flight->stage = STAGE_COMMIT;
        return true;
    case STAGE_COMMIT:
        if (cluster->producers[me].epoch != shell->epoch)
            return false;
        decide(shell, true);
        flight->stage = STAGE_UNKNOWN;
        return true;
    case STAGE_UNKNOWN: /* the answer may be lost: asking again tells */
        flight->stage = STAGE_DONE;
        return true;
    case STAGE_DONE:
        apply(shell, &(struct event){.kind = EVENT_CONFIRM});
        *flight = (struct flight){0};
        return true;
    }
    return false;
}

bool shell_flight(struct shell *shell, int64_t now)
{
    static const char *const BOUNDARIES[] = {"before the begin",   "before an effect",
                                             "before the offsets", "before the commit",
                                             "unknown outcome",    "before the confirm"};
    struct flight *flight = &shell->flight;
    if (flight->batch == NULL)
        return false;
    if (dies(shell, BOUNDARIES[flight->stage]))
        return true;
    if (flight->stage >= STAGE_PRODUCE && flight->stage <= STAGE_COMMIT &&
        shell->schedule->refused(shell->schedule->world)) {
        again(shell);
        return true;
    }
    if (!advance(shell, now)) {
        trace_number("fenced", "worker", shell->number);
        shell_kill(shell);
    }
    return true;
}

bool shell_commit_all(struct shell *shell, int64_t now)
{
    while (shell->engine != NULL) {
        close_batch(shell);
        if (shell->flight.batch == NULL)
            return true;
        while (shell->flight.batch != NULL)
            shell_flight(shell, now);
    }
    return false;
}
