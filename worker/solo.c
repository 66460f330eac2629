#include "solo.h"

#include "memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUND_MS = 1000, START_MS = 1000000, ROUNDS_IDLE_MAX = 200 };

struct solo {
    const struct world *world;
    const struct solo_plan *plan;
    struct solo_result *result;
    struct contracts *contracts;
    struct engine *engine;
    struct sel_random draws, labels;
    struct buffer ledger; /* lengths and bytes of the entries of one batch */
    float *features;
    int64_t now, label_offset;
    int64_t *offsets; /* next one of each completions partition */
    size_t drawn;     /* pools, or whole prompts */
};

void solo_prompt_id(size_t prompt, size_t draw, char text[SOLO_ID_SIZE])
{
    snprintf(text, SOLO_ID_SIZE, "%zu-%zu", prompt, draw);
}

void solo_completion_id(size_t row, char text[SOLO_ID_SIZE])
{
    snprintf(text, SOLO_ID_SIZE, "%zu", row);
}

size_t solo_number(struct span id)
{
    size_t number = 0;
    for (size_t k = 0; k < id.size && id.data[k] >= '0' && id.data[k] <= '9'; k++)
        number = 10 * number + (size_t)(id.data[k] - '0');
    return number;
}

void solo_free(struct solo_result *result)
{
    free(result->labels);
    free(result->psi);
    *result = (struct solo_result){0};
}

static bool give_completion(struct solo *solo, size_t prompt, size_t draw, size_t row,
                            struct error *error)
{
    const struct world *world = solo->world;
    char prompt_id[SOLO_ID_SIZE], completion_id[SOLO_ID_SIZE];
    solo_prompt_id(prompt, draw, prompt_id);
    solo_completion_id(row, completion_id);
    for (size_t k = 0; k < world->dimension; k++)
        solo->features[k] = (float)world_row(world, prompt, row)[k];
    int32_t partition = (int32_t)((prompt + draw) % (size_t)solo->plan->partitions);
    const struct source source = {.input = INPUT_COMPLETIONS,
                                  .partition = partition,
                                  .offset = solo->offsets[partition]++,
                                  .timestamp = solo->now};
    const struct completion completion = {.prompt_id = span_of(prompt_id),
                                          .completion_id = span_of(completion_id),
                                          .feature_space = span_of("world"),
                                          .features = solo->features,
                                          .dimension = world->dimension,
                                          COMPLETION_ABSENT};
    return engine_completion(solo->engine, &source, &completion, error);
}

static bool give_drawn(struct solo *solo, struct error *error)
{
    size_t rows[solo->plan->pool];
    for (size_t k = 0; k < solo->plan->pools_per_round; k++) {
        size_t prompt = world_draw(solo->world, &solo->draws, solo->plan->pool, rows);
        for (size_t row = 0; row < solo->plan->pool; row++) {
            if (!give_completion(solo, prompt, solo->drawn, rows[row], error))
                return false;
        }
        solo->drawn++;
    }
    return true;
}

static bool give_prompts(struct solo *solo, struct error *error)
{
    bool early = solo->result->count * 10 < solo->plan->labels;
    size_t to = early && solo->plan->early > 0 ? solo->plan->early : solo->world->prompts;
    for (; solo->drawn < to; solo->drawn++) {
        for (size_t row = 0; row < solo->world->completions; row++) {
            if (!give_completion(solo, solo->drawn, 0, row, error))
                return false;
        }
    }
    return true;
}

static bool answer(struct solo *solo, const struct entry_selected *selected, struct error *error)
{
    const struct world *world = solo->world;
    struct world_label label = {.arm = selected->arm,
                                .prompt = solo_number(selected->prompt_id),
                                .left = solo_number(selected->left_id),
                                .right = solo_number(selected->right_id)};
    double margin = world_margin(world, label.prompt, label.left, label.right);
    label.y = sel_random_uniform(&solo->labels) < sel_sigmoid(margin) ? 1 : 0;
    const struct source source = {
        .input = INPUT_LABELS, .offset = solo->label_offset++, .timestamp = solo->now};
    const struct label record = {.request_id = selected->request_id,
                                 .outcome = label.y > 0 ? OUTCOME_LEFT : OUTCOME_RIGHT,
                                 .probability_left = (double)NAN,
                                 .confidence = 1,
                                 .lead_time = -1};
    if (solo->result->count < solo->plan->labels)
        solo->result->labels[solo->result->count++] = label;
    return engine_label(solo->engine, &source, &record, error);
}

/* Reads one batch's entries back, and answers its pairs. */
static bool read_back(struct solo *solo, struct error *error)
{
    for (size_t at = 0; at < solo->ledger.size;) {
        size_t size;
        struct entry entry;
        memcpy(&size, solo->ledger.data + at, sizeof size);
        const struct span record = {solo->ledger.data + at + sizeof size, size};
        at += sizeof size + size;
        if (!contracts_decode_entry(solo->contracts, record, &entry, NULL, error) ||
            !engine_entry(solo->engine, &entry, 0, (int64_t)at, error) ||
            (entry.kind == ENTRY_SELECTED && !answer(solo, &entry.selected, error)))
            return false;
    }
    return true;
}

static bool turn(struct solo *solo, struct error *error)
{
    solo->now += ROUND_MS;
    solo->ledger.size = 0;
    for (int32_t k = 0; k < solo->plan->partitions; k++) {
        if (!engine_end(solo->engine, INPUT_COMPLETIONS, k, solo->offsets[k], error))
            return false;
    }
    if (!engine_tick(solo->engine, solo->now, error))
        return false;
    const struct batch *batch = engine_close(solo->engine, error);
    for (size_t k = 0; batch != NULL && k < batch->effect_count; k++) {
        const struct effect *effect = &batch->effects[k];
        if (effect->output == OUTPUT_LEDGER &&
            (!buffer_append(&solo->ledger, &effect->value.size, sizeof effect->value.size) ||
             !buffer_append(&solo->ledger, effect->value.data, effect->value.size)))
            return error_set(error, ERROR_FATAL, "out of memory for a ledger");
    }
    if (batch == NULL)
        return error->class == ERROR_NONE;
    engine_confirm(solo->engine);
    return read_back(solo, error);
}

static bool rounds(struct solo *solo, struct error *error)
{
    int idle = 0;
    while (solo->result->count < solo->plan->labels) {
        size_t before = solo->result->count;
        bool given = solo->plan->pool > 0 ? give_drawn(solo, error) : give_prompts(solo, error);
        if (!given || !turn(solo, error))
            return false;
        idle = solo->result->count > before ? 0 : idle + 1;
        if (idle > ROUNDS_IDLE_MAX)
            return error_set(error, ERROR_FATAL, "the world has no more pairs to ask");
    }
    return true;
}

static bool prepare(struct solo *solo, const struct options *options, struct error *error)
{
    struct memory_plan memory;
    struct contracts_options contracts = options_contracts(options);
    contracts.framing = FRAMING_BARE;
    contracts.id_count = 0;
    if (!memory_plan(options, &memory, error))
        return false;
    struct engine_options engine = memory_engine_options(options, &memory);
    engine.completions_partitions = solo->plan->partitions;
    engine.ledger_partitions = 1;
    engine.writer = "solo";
    engine.digest = "solo";
    engine.budget_per_second = (double)solo->plan->pairs_per_round * 1000 / ROUND_MS;
    engine.budget_burst = (int64_t)solo->plan->pairs_per_round;
    engine.budget_in_flight = (int64_t)solo->plan->pairs_per_round;
    solo->contracts = contracts_new(&contracts, error);
    if (solo->contracts != NULL)
        solo->engine = engine_new(&engine, solo->contracts, error);
    if (solo->engine == NULL || !engine_tick(solo->engine, solo->now, error))
        return false;
    for (int32_t k = 0; k < solo->plan->partitions; k++) {
        if (!engine_gain(solo->engine, INPUT_COMPLETIONS, k, 0, 0, 0, "", error) ||
            !engine_barrier(solo->engine, INPUT_COMPLETIONS, k, error))
            return false;
    }
    return engine_gain(solo->engine, INPUT_LABELS, 0, 0, 0, 0, "", error) &&
           engine_barrier(solo->engine, INPUT_LABELS, 0, error);
}

bool solo_run(const struct world *world, const struct options *options,
              const struct solo_plan *plan, struct solo_result *result, struct error *error)
{
    struct solo solo = {.world = world,
                        .plan = plan,
                        .result = result,
                        .draws = sel_random_init(plan->seed, 2),
                        .labels = sel_random_init(plan->seed, 3),
                        .ledger = {.maximum = (size_t)1 << 30},
                        .features = calloc(world->dimension, sizeof(float)),
                        .offsets = calloc((size_t)plan->partitions + 1, sizeof(int64_t)),
                        .now = START_MS};
    *result = (struct solo_result){.labels = calloc(plan->labels + 1, sizeof *result->labels),
                                   .psi = calloc(world->dimension, sizeof(double)),
                                   .scale = 1};
    bool done = solo.features != NULL && solo.offsets != NULL && result->labels != NULL &&
                result->psi != NULL;
    if (!done)
        error_set(error, ERROR_FATAL, "out of memory for a world");
    done = done && prepare(&solo, options, error) && rounds(&solo, error) && turn(&solo, error);
    if (done && engine_preference(solo.engine, &result->scale) != NULL)
        memcpy(result->psi, engine_preference(solo.engine, &result->scale),
               world->dimension * sizeof(double));
    engine_free(solo.engine);
    contracts_free(solo.contracts);
    buffer_free(&solo.ledger);
    free(solo.features);
    free(solo.offsets);
    if (!done)
        solo_free(result);
    return done;
}
