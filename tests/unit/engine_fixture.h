/* The engine in a shell that fits on a page: a ledger kept as bytes, offsets kept as committed, a
 * world of random completions. Included by the tests of the engine. */
#ifndef TEST_ENGINE_FIXTURE_H
#define TEST_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "tests/support/records.h"
#include "worker/engine/engine.h"
#include "worker/engine/identity.h"

enum { D = 4, PROMPTS = 70, POOL = 6, PARTITIONS = 2, LEDGER = 3, ENTRIES_MAX = 20000 };

/* What Kafka would hold. */
struct cluster {
    struct {
        int32_t partition;
        int64_t offset;
        struct span bytes;
    } ledger[ENTRIES_MAX];
    size_t entries;
    int64_t ledger_next[LEDGER];
    struct batch_offset committed[INPUTS][PARTITIONS];
    struct buffer effects; /* every effect's bytes, in order */
    size_t pairs, notices, dead_letters;
    char last_reason[512];
    struct buffer last_pair; /* its bytes */
};

struct shell {
    struct contracts *contracts;
    struct engine *engine;
    struct cluster *cluster;
    size_t read; /* entries given to the engine */
    int64_t now;
    bool own_texts;       /* every completion has its own, but for copies */
    int64_t policy_epoch; /* of the completions */
    int64_t step;         /* milliseconds between two completions of a partition; 0: 1 */
};

static inline struct engine_options options_of(void)
{
    return (struct engine_options){.topics = {"completions", "labels"},
                                   .completions_partitions = PARTITIONS,
                                   .ledger_partitions = LEDGER,
                                   .writer = "slot",
                                   .digest = "digest",
                                   .features_space = "",
                                   .features_scale_pools = 50,
                                   .limits_record = 1 << 20,
                                   .limits_dimension = 64,
                                   .limits_text = 100,
                                   .limits_clock_ahead = 300000,
                                   .pool_size = POOL,
                                   .pool_min = 2,
                                   .pool_max = 8,
                                   .pool_wait = 300000,
                                   .pool_age = 3600000,
                                   .policy_beta = .5,
                                   .policy_window = 7 * 86400000ll,
                                   .moments_interval = 1000,
                                   .labels_window = 30 * 86400000ll,
                                   .labels_max = 100000,
                                   .labels_deadline = 60000,
                                   .labels_late = 60000,
                                   .fit_every = 20,
                                   .selection = selection_defaults(sel_rule_find("policy_trace")),
                                   .control_share = .25,
                                   .budget_per_second = 50,
                                   .budget_burst = 10,
                                   .budget_in_flight = 40,
                                   .seed = 7,
                                   .waiting_max = 5};
}

static inline void check(bool done, const struct error *error)
{
    if (!done)
        fail_msg("%s", error->message);
}

static inline struct contracts *load_contracts(void)
{
    struct error error;
    struct contracts *contracts = records_contracts(&error);
    check(contracts != NULL, &error);
    return contracts;
}

/* Entry k of the ledger; it is valid as long as the cluster is. */
static inline struct entry entry_at(const struct shell *shell, size_t k)
{
    struct error error;
    struct entry entry;
    check(contracts_decode_entry(shell->contracts, shell->cluster->ledger[k].bytes, &entry, NULL,
                                 &error),
          &error);
    return entry;
}

/* The first entry of a kind. */
static inline struct entry first_of(const struct shell *shell, enum entry_kind kind)
{
    for (size_t k = 0; k < shell->cluster->entries; k++) {
        const struct entry entry = entry_at(shell, k);
        if (entry.kind == kind)
            return entry;
    }
    fail_msg("no entry of kind %d", (int)kind);
    return (struct entry){0};
}

static inline void read_ledger(struct shell *shell)
{
    struct error error;
    for (; shell->read < shell->cluster->entries; shell->read++) {
        const struct entry entry = entry_at(shell, shell->read);
        check(engine_entry(shell->engine, &entry, shell->cluster->ledger[shell->read].partition,
                           shell->cluster->ledger[shell->read].offset, &error),
              &error);
    }
}

static inline struct shell start_with(struct cluster *cluster, const struct engine_options *options,
                                      int64_t now)
{
    struct error error;
    struct shell shell = {.contracts = load_contracts(), .cluster = cluster, .now = now};
    shell.engine = engine_new(options, shell.contracts, &error);
    check(shell.engine != NULL, &error);
    check(engine_tick(shell.engine, now, &error), &error);
    read_ledger(&shell);
    for (int input = 0; input < INPUTS; input++) {
        for (int32_t k = 0; k < (input == INPUT_LABELS ? 1 : PARTITIONS); k++) {
            const struct batch_offset *from = &cluster->committed[input][k];
            check(engine_gain(shell.engine, (enum input)input, k, from->next, from->low_water,
                              from->time, from->waiting, &error),
                  &error);
            check(engine_barrier(shell.engine, (enum input)input, k, &error), &error);
        }
    }
    return shell;
}

static inline struct shell start(struct cluster *cluster, int64_t now)
{
    const struct engine_options options = options_of();
    return start_with(cluster, &options, now);
}

static inline void stop(struct shell *shell)
{
    engine_free(shell->engine);
    contracts_free(shell->contracts);
}

static inline void keep(struct cluster *cluster, const struct effect *effect)
{
    assert_true(buffer_append(&cluster->effects, effect->key.data, effect->key.size));
    assert_true(buffer_append(&cluster->effects, effect->value.data, effect->value.size));
    if (effect->output == OUTPUT_PAIRS && effect->value.size == 0)
        cluster->notices++;
    if (effect->output == OUTPUT_PAIRS && effect->value.size > 0) {
        cluster->pairs++;
        cluster->last_pair.size = 0;
        assert_true(buffer_append(&cluster->last_pair, effect->value.data, effect->value.size));
    }
    if (effect->output == OUTPUT_DEAD_LETTERS) {
        cluster->dead_letters++;
        const struct span reason = effect->headers[5].value;
        snprintf(cluster->last_reason, sizeof cluster->last_reason, "%.*s", (int)reason.size,
                 reason.data);
    }
    if (effect->output != OUTPUT_LEDGER)
        return;
    char *copy = malloc(effect->value.size);
    assert_non_null(copy);
    memcpy(copy, effect->value.data, effect->value.size);
    assert_true(cluster->entries < ENTRIES_MAX);
    cluster->ledger[cluster->entries].partition = effect->partition;
    cluster->ledger[cluster->entries].offset = cluster->ledger_next[effect->partition]++;
    cluster->ledger[cluster->entries++].bytes = (struct span){copy, effect->value.size};
}

/* A tick, and a transaction that always commits. */
static inline void turn(struct shell *shell, int64_t milliseconds)
{
    struct error error;
    shell->now += milliseconds;
    check(engine_tick(shell->engine, shell->now, &error), &error);
    const struct batch *batch = engine_close(shell->engine, &error);
    check(error.class == ERROR_NONE, &error);
    if (batch == NULL)
        return;
    for (size_t k = 0; k < batch->effect_count; k++)
        keep(shell->cluster, &batch->effects[k]);
    for (size_t k = 0; k < batch->offset_count; k++)
        shell->cluster->committed[batch->offsets[k].input][batch->offsets[k].partition] =
            batch->offsets[k];
    engine_confirm(shell->engine);
    read_ledger(shell);
}

static inline struct cluster *cluster_new(void)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    assert_non_null(cluster);
    cluster->effects.maximum = cluster->last_pair.maximum = 1 << 28;
    return cluster;
}

static inline void cluster_free(struct cluster *cluster)
{
    for (size_t k = 0; k < cluster->entries; k++)
        free((void *)(uintptr_t)cluster->ledger[k].bytes.data);
    buffer_free(&cluster->effects);
    buffer_free(&cluster->last_pair);
    free(cluster);
}

static inline void finish(struct shell *shell)
{
    stop(shell);
    cluster_free(shell->cluster);
}

/* Offset k of partition p is completion k % POOL of a prompt; every third is a copy of the one
 * before. */
static inline void give_completion_of(struct shell *shell, int32_t partition, int64_t offset,
                                      const char *space, int64_t epoch, size_t d)
{
    char prompt[64], name[32];
    float features[4 * D];
    struct error error;
    int64_t slot = offset % POOL % 3 == 2 ? offset - 1 : offset;
    struct sel_random random = sel_random_init(99, (uint64_t)(slot * PARTITIONS + partition));
    for (size_t k = 0; k < d; k++)
        features[k] = (float)sel_random_normal(&random);
    snprintf(prompt, sizeof prompt, "prompt %d-%lld", partition, (long long)(offset / POOL));
    snprintf(name, sizeof name, "completion %lld", (long long)(offset % POOL));
    const struct source source = {.input = INPUT_COMPLETIONS,
                                  .partition = partition,
                                  .offset = offset,
                                  .timestamp =
                                      1000000 + offset * (shell->step > 0 ? shell->step : 1),
                                  .value = span_of("raw")};
    struct completion completion = records_completion(prompt, name, features, d);
    char text[32] = "text";
    if (shell->own_texts)
        snprintf(text, sizeof text, "text %lld", (long long)slot);
    completion.text = span_of(text);
    completion.reference_logprob = -1 - sel_random_uniform(&random);
    completion.policy_logprob = -1 - sel_random_uniform(&random);
    completion.reward = sel_random_normal(&random);
    completion.reward_deviation = .3;
    completion.source = SOURCE_POLICY + (enum completion_source)(offset % 4);
    completion.feature_space = span_of(space);
    completion.feature_epoch = epoch;
    completion.policy_epoch = shell->policy_epoch;
    check(engine_completion(shell->engine, &source, &completion, &error), &error);
}

static inline void give_completion(struct shell *shell, int32_t partition, int64_t offset)
{
    give_completion_of(shell, partition, offset, "space", 0, D);
}

static inline void give_completions(struct shell *shell, int64_t to)
{
    struct error error;
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        for (int64_t offset = engine_next(shell->engine, INPUT_COMPLETIONS, partition); offset < to;
             offset++)
            give_completion(shell, partition, offset);
        check(engine_end(shell->engine, INPUT_COMPLETIONS, partition, to, &error), &error);
    }
}

/* A label of confidence 1 unless it says another. */
static inline void give_answer(struct shell *shell, int64_t offset, struct label label)
{
    struct error error;
    struct buffer record = {.maximum = 4096};
    label.probability_left = (double)NAN;
    label.lead_time = -1;
    label.confidence = label.confidence == 0 ? 1 : label.confidence;
    check(contracts_encode_label(shell->contracts, &label, &record, &error), &error);
    const struct source source = {.input = INPUT_LABELS,
                                  .offset = offset,
                                  .timestamp = shell->now,
                                  .value = {record.data, record.size}};
    check(engine_label(shell->engine, &source, &label, &error), &error);
    buffer_free(&record);
}

static inline void give_label(struct shell *shell, int64_t offset, const char *request_id,
                              enum label_outcome outcome)
{
    give_answer(shell, offset,
                (struct label){.request_id = span_of(request_id), .outcome = outcome});
}

/* Who answers, knowing the first feature of x: everything of the label but its request. */
typedef struct label labeller(void *context, int64_t offset, float x);

static inline struct label by_sign(void *context, int64_t offset, float x)
{
    (void)context, (void)offset;
    return (struct label){.outcome = x > 0 ? OUTCOME_LEFT : OUTCOME_RIGHT};
}

static inline struct label skips(void *context, int64_t offset, float x)
{
    (void)context, (void)offset, (void)x;
    return (struct label){.outcome = OUTCOME_SKIP};
}

/* Answers every SELECTED of the ledger from entry `from` on. */
static inline int64_t answer_by(struct shell *shell, size_t from, int64_t offset, labeller *answers,
                                void *context)
{
    for (size_t k = from; k < shell->cluster->entries; k++) {
        const struct entry entry = entry_at(shell, k);
        if (entry.kind != ENTRY_SELECTED)
            continue;
        float x;
        memcpy(&x, entry.selected.x.data, sizeof x);
        struct label label = answers(context, offset, x);
        label.request_id = entry.selected.request_id;
        give_answer(shell, offset++, label);
    }
    return offset;
}

static inline int64_t answer_all(struct shell *shell, size_t from, int64_t offset)
{
    return answer_by(shell, from, offset, by_sign, NULL);
}

/* The whole loop: completions, picks, labels, until `rounds` are over. */
static inline int64_t run_by(struct shell *shell, int rounds, int64_t labels, labeller *answers,
                             void *context)
{
    size_t answered = 0;
    give_completions(shell, PROMPTS / 2 * POOL);
    turn(shell, 2000);
    for (int k = 0; k < rounds; k++) {
        size_t entries = shell->cluster->entries;
        labels = answer_by(shell, answered, labels, answers, context);
        answered = entries;
        turn(shell, 500);
    }
    return labels;
}

static inline int64_t run(struct shell *shell, int rounds, int64_t labels)
{
    return run_by(shell, rounds, labels, by_sign, NULL);
}

/* A run whose last event is a tick; no answer came since. */
static inline struct shell start_run(const struct engine_options *options, int rounds)
{
    struct error error;
    struct shell shell = start_with(cluster_new(), options, 1000000);
    run(&shell, rounds, 0);
    check(engine_tick(shell.engine, shell.now, &error), &error);
    return shell;
}

#endif
