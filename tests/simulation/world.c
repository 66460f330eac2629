#include "world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/records.h"
#include "trace.h"

static void check(bool done, const struct error *error)
{
    if (done)
        return;
    fprintf(stderr, "simulate: %s\n", error->message);
    exit(2);
}

static bool happens(struct world *world, double probability)
{
    return sel_random_uniform(&world->chance) < probability;
}

enum { CLICKER = 4 }; /* of five who label */

static int below(struct world *world, int bound)
{
    return (int)sel_random_below(&world->chance, (uint64_t)bound);
}

static void append(struct world *world, enum input input, int32_t partition, struct span record,
                   int64_t time, bool broken)
{
    int64_t offset = cluster_append(world->cluster, input, partition, record, time);
    trace_input(input, partition, offset, time, record, broken);
}

void world_completion(struct world *world, int64_t now)
{
    static const char JUNK[] = "\x05not a completion";
    struct error error;
    char prompt[32], name[32], space[32], version[32];
    float features[WORLD_DIMENSION];
    int number = below(world, WORLD_PROMPTS);
    int row = world->completions[number];
    bool broken = happens(world, .03);
    /* Some rows come twice under one id, some under two. */
    bool again = row > 0 && happens(world, .05);
    row -= again;
    /* Embedded anew, rows of old come again for a newer space. */
    bool old = world->epoch > 0 && row > 0 && happens(world, .5);
    if (old && !broken)
        row = below(world, world->completions[number]);
    if (!broken && !again && !old)
        world->completions[number]++;
    bool copy = row > 0 && (number + row) % 10 == 0;
    struct sel_random random =
        sel_random_init(world->seed ^ 99, (uint64_t)(number * 1000 + row - copy));
    for (size_t k = 0; k < WORLD_DIMENSION; k++)
        features[k] = (float)sel_random_normal(&random);
    if (world->spaces && happens(world, .0012))
        world->epoch++;
    int64_t epoch = world->epoch > 0 && happens(world, .02) ? world->epoch - 1 : world->epoch;
    snprintf(prompt, sizeof prompt, "prompt %d", number);
    snprintf(name, sizeof name, "completion %d", row);
    snprintf(space, sizeof space, "space %lld", (long long)epoch);
    int64_t policy = now / 20000;
    if (world->versions && happens(world, .15))
        policy -= below(world, 4);
    snprintf(version, sizeof version, "policy %lld", (long long)policy);
    struct completion completion = records_completion(prompt, name, features, WORLD_DIMENSION);
    completion.feature_space = span_of(space);
    completion.feature_epoch = epoch;
    completion.policy_version = span_of(version);
    completion.policy_epoch = policy;
    completion.candidate = !old || (number + row) % 2 == 0;
    static const char *const DOMAINS[] = {"", "code", "chat", "math"};
    completion.domain = span_of(DOMAINS[number % 4]);
    completion.cost = 1 + (number + row) % 5 * .5;
    struct buffer record = {.maximum = 4096};
    check(contracts_encode_completion(world->contracts, &completion, &record, &error), &error);
    int64_t time = now - below(world, 500);
    if (happens(world, .01))
        time += 86400000; /* a clock that is a day ahead */
    /* What comes again must not come to another partition, where two owners ask the same pairs. */
    int32_t partition = number % (world->spaces ? world->partitions
                                                : world->cluster->partitions[INPUT_COMPLETIONS]);
    append(world, INPUT_COMPLETIONS, partition,
           broken ? (struct span){JUNK, sizeof JUNK - 1} : (struct span){record.data, record.size},
           time, broken);
    buffer_free(&record);
}

static void append_label(struct world *world, const struct label *label, int64_t now)
{
    struct error error;
    bool broken = happens(world, .02);
    struct buffer record = {.maximum = 4096};
    check(contracts_encode_label(world->contracts, label, &record, &error), &error);
    struct span bytes = {record.data, broken ? record.size / 2 : record.size};
    append(world, INPUT_LABELS, below(world, LABELS_PARTITIONS), bytes, now, broken);
    buffer_free(&record);
}

static enum label_outcome outcome_of(struct world *world, const struct asked *asked)
{
    static const enum label_outcome OTHERS[] = {OUTCOME_TIE, OUTCOME_BOTH_BAD, OUTCOME_SKIP,
                                                OUTCOME_INVALID, OUTCOME_PROBABILITY};
    if (happens(world, .1))
        return OTHERS[below(world, 5)];
    double margin = 0;
    for (size_t k = 0; k < WORLD_DIMENSION; k++)
        margin += (k % 2 == 0 ? 1 : -.5) * (double)asked->x[k] / (double)(k + 1);
    return sel_random_uniform(&world->chance) < sel_sigmoid(margin) ? OUTCOME_LEFT : OUTCOME_RIGHT;
}

static void answer(struct world *world, struct asked *asked, int64_t now)
{
    char label_id[64] = "", annotator[32];
    enum label_outcome outcome = outcome_of(world, asked);
    bool corrects = asked->first_label[0] != '\0' && happens(world, .7);
    bool by_pair = happens(world, .1);
    int who = below(world, 5);
    snprintf(annotator, sizeof annotator, "annotator %d", who);
    /* One of them looks at nothing. */
    if (outcome <= OUTCOME_RIGHT && who == CLICKER)
        outcome = asked->id[30] % 2 == 0 ? OUTCOME_LEFT : OUTCOME_RIGHT;
    asked->answers++;
    if (corrects || happens(world, .5))
        snprintf(label_id, sizeof label_id, "label %s %d", asked->id, asked->answers);
    const struct label label = {.label_id = span_of(label_id),
                                .request_id = span_of(by_pair ? "" : asked->id),
                                .pair_id = span_of(by_pair ? asked->pair : ""),
                                .outcome = outcome,
                                .probability_left =
                                    outcome == OUTCOME_PROBABILITY ? .75 : (double)NAN,
                                .confidence = happens(world, .1) ? .5 : 1,
                                .annotator_id = span_of(annotator),
                                .annotator_kind = span_of(who == CLICKER ? "model" : ""),
                                .supersedes = span_of(corrects ? asked->first_label : ""),
                                .lead_time = -1};
    append_label(world, &label, now);
    if (asked->first_label[0] == '\0')
        memcpy(asked->first_label, label_id, sizeof label_id);
    /* At least once: the same record again, with its id or without, on any partition. */
    while (happens(world, .1))
        append_label(world, &label, now);
}

void world_labels(struct world *world, double share, int64_t now)
{
    /* Late enough that labels change which were carried over. */
    double again = world->spaces ? .002 : .004;
    int64_t patience = world->spaces ? 600000 : 60000;
    for (size_t k = 0; k < world->asked_count; k++) {
        struct asked *asked = &world->asked[k];
        if (!asked->committed || asked->answers > 1 || now - asked->asked_at > patience)
            continue;
        if (happens(world, asked->answers == 0 ? share : again))
            answer(world, asked, now);
    }
    if (happens(world, .1))
        append_label(world,
                     &(struct label){.request_id = span_of("00000000000000000000000000000001"),
                                     .outcome = OUTCOME_LEFT,
                                     .probability_left = (double)NAN,
                                     .confidence = 1,
                                     .lead_time = -1},
                     now);
}

void world_early_label(struct world *world, int64_t now)
{
    size_t k = world->asked_count;
    while (k > 0 && world->asked[k - 1].committed)
        k--;
    if (k > 0 && world->asked[k - 1].answers == 0)
        answer(world, &world->asked[k - 1], now);
}

/* all: the other attempts of its replica too. */
static void close_request(struct world *world, struct span request_id, bool all)
{
    const struct asked *closed = NULL;
    for (size_t k = 0; k < world->asked_count; k++) {
        if (!span_equal(span_of(world->asked[k].id), request_id))
            continue;
        closed = &world->asked[k];
        world->asked[k].closed = true;
    }
    for (size_t k = 0; all && closed != NULL && k < world->asked_count; k++)
        if (world->asked[k].replica == closed->replica &&
            strcmp(world->asked[k].pair, closed->pair) == 0)
            world->asked[k].closed = true;
}

static bool is_answer(const struct world *world, enum label_outcome outcome)
{
    return !world->skips_again || (outcome != OUTCOME_SKIP && outcome != OUTCOME_INVALID);
}

int64_t world_oldest_open(const struct world *world)
{
    int64_t oldest = INT64_MAX;
    for (size_t k = 0; k < world->asked_count; k++) {
        if (!world->asked[k].closed && world->asked[k].asked_at < oldest)
            oldest = world->asked[k].asked_at;
    }
    return oldest;
}

void world_asked(struct world *world, int worker, const struct effect *effect)
{
    struct error error;
    struct entry entry;
    if (effect->output != OUTPUT_LEDGER || world->asked_count == WORLD_REQUESTS)
        return;
    check(contracts_decode_entry(world->contracts, effect->value, &entry, NULL, &error), &error);
    if (entry.kind == ENTRY_LABELLED)
        close_request(world, entry.labelled.request_id, is_answer(world, entry.labelled.outcome));
    if (entry.kind == ENTRY_EXPIRED)
        close_request(world, entry.expired.request_id, false);
    if (entry.kind != ENTRY_SELECTED)
        return;
    struct asked *asked = &world->asked[world->asked_count++];
    *asked = (struct asked){
        .worker = worker, .asked_at = entry.selected.issued_at, .replica = entry.selected.replica};
    snprintf(asked->id, sizeof asked->id, "%.*s", (int)entry.selected.request_id.size,
             entry.selected.request_id.data);
    snprintf(asked->pair, sizeof asked->pair, "%.*s", (int)entry.selected.pair_id.size,
             entry.selected.pair_id.data);
    memcpy(asked->x, entry.selected.x.data, sizeof asked->x);
}

void world_decided(struct world *world, int worker, bool committed)
{
    size_t kept = 0;
    for (size_t k = 0; k < world->asked_count; k++) {
        struct asked *asked = &world->asked[k];
        bool of_it = !asked->committed && asked->worker == worker;
        if (of_it && !committed)
            continue;
        asked->committed = asked->committed || of_it;
        if (kept != k)
            world->asked[kept] = *asked;
        kept++;
    }
    world->asked_count = kept;
}
