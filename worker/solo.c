#include "solo.h"

#include "engine/identity.h"
#include "engine/inputs.h"
#include "memory.h"
#include "solo_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUND_MS = 1000, START_MS = 1000000, ROUNDS_IDLE_MAX = 200 };
/* Streams of random numbers of a seed; that of the world is 1. */
enum {
    STREAM_DRAWS = 2,
    STREAM_LABELS,
    STREAM_SOURCES,
    STREAM_NOISE,
    STREAM_DUPLICATES = 1 << 30,
    STREAM_SPACES
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
    free(result->seconds);
    free(result->psi);
    *result = (struct solo_result){0};
}

static bool keeps(const struct solo *solo, enum sel_input input)
{
    return (solo->kept & SEL_NEEDS(input)) != 0;
}

/* Error of a reward model of the user's own: always the same for the same completion. */
static double reward_noise(const struct solo *solo, size_t place)
{
    struct sel_random random = sel_random_init(solo->plan->seed, STREAM_NOISE + place);
    return solo->plan->reward_deviation * sel_random_normal(&random);
}

/* Fills in what the rule needs. */
static void tell(const struct solo *solo, size_t prompt, size_t row, struct completion *completion)
{
    size_t place = prompt * solo->world->completions + row;
    if (keeps(solo, SEL_LOG_REFERENCE))
        completion->reference_logprob = solo->world->log_reference[place];
    if (solo->plan->traffic) {
        completion->reference_logprob = solo->world->log_reference[place];
        if (isnan(completion->policy_logprob))
            completion->policy_logprob = solo->world->log_reference[place];
    } else if (keeps(solo, SEL_LOG_POLICY)) {
        completion->policy_logprob = solo->log_pi[row];
    }
    if (keeps(solo, SEL_TRUTH))
        completion->reward = solo->world->reward[place];
    if (keeps(solo, SEL_SECOND_REWARD)) {
        completion->reward = solo->world->reward[place] + reward_noise(solo, place);
        completion->reward_deviation = solo->plan->reward_deviation;
    }
}

bool solo_give(struct solo *solo, size_t prompt, size_t draw, size_t row,
               struct completion *completion, struct error *error)
{
    const struct world *world = solo->world;
    char prompt_id[SOLO_ID_SIZE];
    solo_prompt_id(prompt, draw, prompt_id);
    solo_space_features(&solo->space, world_row(world, prompt, row), solo->features);
    int32_t partition = (int32_t)((prompt + draw) % (size_t)solo->plan->partitions);
    const struct source source = {.input = INPUT_COMPLETIONS,
                                  .partition = partition,
                                  .offset = solo->offsets[partition]++,
                                  .timestamp = solo->now};
    completion->prompt_id = span_of(prompt_id);
    completion->feature_space = span_of(solo->space.name);
    completion->feature_epoch = (int64_t)solo->space.number;
    completion->features = solo->features;
    completion->dimension = world->dimension;
    tell(solo, prompt, row, completion);
    return solo_group_completion(solo->group, &source, completion, error);
}

static bool give_completion(struct solo *solo, size_t prompt, size_t draw, size_t row,
                            enum completion_source from, struct error *error)
{
    char completion_id[SOLO_ID_SIZE];
    solo_completion_id(row, completion_id);
    struct completion completion = {
        .completion_id = span_of(completion_id), .source = from, COMPLETION_ABSENT};
    if (solo->plan->traffic)
        completion.traffic_weight = 0;
    return solo_give(solo, prompt, draw, row, &completion, error);
}

/* The place of a pool holds an earlier completion again, under a name of its own. */
static bool give_duplicate(struct solo *solo, size_t prompt, size_t row, size_t place,
                           struct error *error)
{
    char completion_id[SOLO_ID_SIZE];
    snprintf(completion_id, sizeof completion_id, "%zu.%zu", row, place);
    struct completion completion = {.completion_id = span_of(completion_id), COMPLETION_ABSENT};
    return solo_give(solo, prompt, solo->drawn, row, &completion, error);
}

/* What the deployed policy is asked, anew each round: I is theirs alone. */
static bool give_traffic(struct solo *solo, struct error *error)
{
    const struct world *world = solo->world;
    size_t draw = SIZE_MAX - (solo->plan->pool > 0 ? solo->drawn : solo->round);
    for (size_t prompt = 0; prompt < world->deployed; prompt++) {
        for (size_t row = 0; row < world->completions; row++) {
            char completion_id[SOLO_ID_SIZE];
            solo_completion_id(row, completion_id);
            struct completion completion = {.completion_id = span_of(completion_id),
                                            COMPLETION_ABSENT};
            completion.candidate = false;
            completion.policy_logprob = -log((double)world->completions);
            if (!solo_give(solo, prompt, draw, row, &completion, error))
                return false;
        }
    }
    return true;
}

static enum completion_source source_at(const struct solo *solo, size_t place)
{
    static const enum completion_source SOURCES[] = {SOURCE_REFERENCE, SOURCE_POLICY,
                                                     SOURCE_OPTIMIST, SOURCE_PESSIMIST};
    return keeps(solo, SEL_SOURCE) ? SOURCES[4 * place / solo->plan->pool] : SOURCE_UNKNOWN;
}

/* Replaces what the reference policy did not draw. */
static void draw_sources(struct solo *solo, size_t prompt, size_t *rows)
{
    static const double SHARES[] = {
        [SOURCE_POLICY] = 1, [SOURCE_OPTIMIST] = 2, [SOURCE_PESSIMIST] = .5};
    size_t n = solo->plan->pool;
    for (size_t held = 0, end; held < n; held = end) {
        enum completion_source from = source_at(solo, held);
        for (end = held; end < n && source_at(solo, end) == from;)
            end++;
        if (from == SOURCE_REFERENCE || from == SOURCE_UNKNOWN)
            continue;
        world_log_policy(solo->world, prompt, solo->psi, SHARES[from], solo->log_pi);
        world_draw_rows(solo->world, &solo->sources, solo->log_pi, held, end, rows);
    }
}

static bool give_drawn(struct solo *solo, struct error *error)
{
    size_t rows[solo->plan->pool];
    for (size_t k = 0; k < solo->plan->pools_per_round; k++) {
        size_t prompt = world_draw(solo->world, &solo->draws, solo->plan->pool, rows);
        draw_sources(solo, prompt, rows);
        if (keeps(solo, SEL_LOG_POLICY))
            world_log_policy(solo->world, prompt, solo->psi, 1, solo->log_pi);
        for (size_t place = 0; place < solo->plan->pool; place++) {
            bool again =
                place >= 2 && sel_random_uniform(&solo->duplicates) < solo->plan->duplicates;
            if (again)
                rows[place] = rows[sel_random_below(&solo->duplicates, place)];
            bool given = again ? give_duplicate(solo, prompt, rows[place], place, error)
                               : give_completion(solo, prompt, solo->drawn, rows[place],
                                                 source_at(solo, place), error);
            if (!given)
                return false;
        }
        solo->drawn++;
    }
    return true;
}

bool solo_give_prompts(struct solo *solo, struct error *error)
{
    bool early = solo->result->count * 10 < solo->plan->labels;
    size_t to = early && solo->plan->early > 0 ? solo->plan->early : solo->world->prompts;
    size_t draw = solo->plan->forget ? solo->space.number : 0;
    for (; solo->drawn < to; solo->drawn++) {
        if (keeps(solo, SEL_LOG_POLICY))
            world_log_policy(solo->world, solo->drawn, solo->psi, 1, solo->log_pi);
        for (size_t row = 0; row < solo->world->completions; row++) {
            if (!give_completion(solo, solo->drawn, draw, row, SOURCE_UNKNOWN, error))
                return false;
        }
    }
    return true;
}

static bool give_label(struct solo *solo, const struct label *label, struct error *error)
{
    struct id request;
    size_t owners = (size_t)solo->plan->labels_partitions;
    int32_t partition = identity_parse(label->request_id, &request) && owners > 1
                            ? (int32_t)(request.high % owners)
                            : 0;
    solo->record.size = 0;
    if (!contracts_encode_label(solo->contracts, label, &solo->record, error))
        return false;
    const struct source source = {.input = INPUT_LABELS,
                                  .partition = partition,
                                  .offset = solo->label_offset++,
                                  .timestamp = solo->now,
                                  .value = {solo->record.data, solo->record.size}};
    return solo_group_label(solo->group, &source, label, error);
}

static bool answer(void *context, const struct entry_selected *selected, double seconds,
                   struct error *error)
{
    struct solo *solo = context;
    const struct world *world = solo->world;
    struct solo_result *result = solo->result;
    struct world_label label = {.arm = selected->arm,
                                .prompt = solo_number(selected->prompt_id),
                                .left = solo_number(selected->left_id),
                                .right = solo_number(selected->right_id)};
    double margin = world_margin(world, label.prompt, label.left, label.right);
    size_t who =
        solo->plan->annotators > 0 ? (size_t)solo->label_offset % solo->plan->annotators : 0;
    char annotator[SOLO_ID_SIZE] = "";
    if (solo->plan->annotators > 0)
        snprintf(annotator, sizeof annotator, "%zu", who);
    double lapse = solo->plan->annotators > 0 ? solo->plan->lapses[who] : solo->plan->lapse;
    double left = (1 - lapse) * sel_sigmoid(margin) + lapse / 2;
    label.y = sel_random_uniform(&solo->labels) < left ? 1 : 0;
    const struct label record = {.request_id = selected->request_id,
                                 .outcome = label.y > 0 ? OUTCOME_LEFT : OUTCOME_RIGHT,
                                 .probability_left = (double)NAN,
                                 .confidence = 1,
                                 .annotator_id = span_of(annotator),
                                 .lead_time = -1};
    if (result->count < solo->plan->labels) {
        solo_keep_sent(solo, selected);
        result->seconds[result->count] = seconds;
        result->labels[result->count++] = label;
    }
    return give_label(solo, &record, error);
}

bool solo_turn(struct solo *solo, int64_t passed, struct error *error)
{
    solo->now += passed;
    return solo_group_turn(solo->group, solo->now, solo->offsets, answer, solo, error);
}

/* psi of the engine as it stands, for the world's own features. */
static void look_up_psi(struct solo *solo)
{
    double scale = 1;
    const double *psi = engine_preference(solo_group_engine(solo->group, FITTER), &scale);
    if (psi == NULL)
        return;
    solo_space_psi(&solo->space, psi, solo->psi);
    for (size_t k = 0; k < solo->world->dimension; k++)
        solo->psi[k] *= scale;
}

/* ---- rounds ---- */

/* What keeps pairs from being asked, as long as the round's pools are open. */
static void look_for_obstacle(struct solo *solo)
{
    size_t workers = solo->plan->workers > 0 ? solo->plan->workers : 1;
    for (size_t k = 0; k < workers; k++) {
        struct engine *engine = solo_group_engine(solo->group, k);
        if (engine_obstacle(engine, solo->obstacle, sizeof solo->obstacle))
            return;
    }
    solo->obstacle[0] = '\0';
}

static bool give_up(const struct solo *solo, struct error *error)
{
    return error_set(error, ERROR_FATAL, "%zu of %zu labels were asked, and none in %d rounds: %s",
                     solo->result->count, solo->plan->labels, ROUNDS_IDLE_MAX,
                     solo->obstacle[0] != '\0' ? solo->obstacle
                                               : "the open pools have no more pairs to ask");
}

static bool round_of(struct solo *solo, struct error *error)
{
    size_t before = solo->result->count;
    bool moves =
        solo->plan->drift > 0 && solo->round > 0 && solo->round % solo->plan->drift_rounds == 0;
    solo->round++;
    bool done = (!moves || solo_move_space(solo, error)) &&
                (!solo->plan->traffic || give_traffic(solo, error)) &&
                (solo->plan->pool > 0 ? give_drawn(solo, error) : solo_give_prompts(solo, error)) &&
                solo_turn(solo, 0, error) && solo_turn(solo, ROUND_MS - 1, error);
    if (done && solo->result->count == before)
        look_for_obstacle(solo);
    return done && solo_turn(solo, 1, error);
}

static bool rounds(struct solo *solo, struct error *error)
{
    int idle = 0;
    while (solo->result->count < solo->plan->labels) {
        size_t before = solo->result->count;
        if (!round_of(solo, error))
            return false;
        look_up_psi(solo);
        if (solo->plan->observe != NULL)
            solo->plan->observe(solo->plan->context, solo->result->count, solo->psi);
        idle = solo->result->count > before ? 0 : idle + 1;
        if (idle > ROUNDS_IDLE_MAX)
            return give_up(solo, error);
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
    const struct solo_group_plan group = {
        .workers = solo->plan->workers > 0 ? solo->plan->workers : 1,
        .partitions = solo->plan->partitions,
        .labels_partitions = solo->plan->labels_partitions > 0 ? solo->plan->labels_partitions : 1,
        .lag = solo->plan->lag,
        .pending_off = solo->plan->pending_off};
    solo->accounting_bytes = memory.accounting_bytes;
    engine.budget_per_second = (double)solo->plan->pairs_per_round * 1000 / ROUND_MS;
    engine.budget_burst = (int64_t)solo->plan->pairs_per_round;
    /* There and back takes the lag twice, and the rate shall be the same. */
    engine.budget_in_flight =
        (int64_t)solo->plan->pairs_per_round * (1 + 2 * solo->plan->lag / ROUND_MS);
    solo->kept = inputs_kept(&engine.selection);
    solo->contracts = contracts_new(&contracts, error);
    if (solo->contracts != NULL)
        solo->group = solo_group_new(&group, &engine, solo->contracts, solo->now, error);
    return solo->group != NULL;
}

static void take_lapses(struct solo *solo, const struct engine *fitter)
{
    const struct engine_view view = engine_view(fitter);
    solo->result->lapse = view.lapse;
    for (size_t who = 0; who < SOLO_ANNOTATORS; who++)
        solo->result->lapses[who] = (double)NAN;
    for (size_t k = 0; k < view.annotator_count; k++) {
        size_t who = solo_number(view.annotators[k].id);
        if (who < SOLO_ANNOTATORS)
            solo->result->lapses[who] = view.annotators[k].lapse;
    }
}

static void take_preference(struct solo *solo)
{
    struct engine *fitter = solo_group_engine(solo->group, FITTER);
    const double *psi = engine_preference(fitter, &solo->result->scale);
    take_lapses(solo, fitter);
    if (psi != NULL)
        solo_space_psi(&solo->space, psi, solo->result->psi);
}

/* As the worker computes it, of what the engine has seen. */
static bool take_account(struct solo *solo, struct error *error)
{
    static const atomic_bool NEVER;
    struct accounting_snapshot snapshot;
    if (!solo->plan->account)
        return true;
    struct engine *fitter = solo_group_engine(solo->group, FITTER);
    if (!engine_refresh(fitter, error) ||
        !engine_accounting(fitter, solo->accounting_bytes, &snapshot, error))
        return false;
    solo->result->lambda = snapshot.lambda;
    solo->result->surprise = snapshot.surprise;
    bool done = account(&snapshot, &NEVER, &solo->result->account, error);
    accounting_snapshot_free(&snapshot);
    return done;
}

bool solo_run(const struct world *world, const struct options *options,
              const struct solo_plan *plan, struct solo_result *result, struct error *error)
{
    struct solo solo = {.world = world,
                        .plan = plan,
                        .result = result,
                        .draws = sel_random_init(plan->seed, STREAM_DRAWS),
                        .labels = sel_random_init(plan->seed, STREAM_LABELS),
                        .sources = sel_random_init(plan->seed, STREAM_SOURCES),
                        .duplicates = sel_random_init(plan->seed, STREAM_DUPLICATES),
                        .record = {.maximum = 4096},
                        .features = calloc(world->dimension, sizeof(float)),
                        .offsets = calloc((size_t)plan->partitions + 1, sizeof(int64_t)),
                        .psi = calloc(world->dimension, sizeof(double)),
                        .log_pi = calloc(world->completions, sizeof(double)),
                        .sent = calloc(plan->labels + 1, sizeof *solo.sent),
                        .now = START_MS};
    *result = (struct solo_result){.labels = calloc(plan->labels + 1, sizeof *result->labels),
                                   .seconds = calloc(plan->labels + 1, sizeof(double)),
                                   .psi = calloc(world->dimension, sizeof(double)),
                                   .scale = 1};
    bool done = solo_space_init(&solo.space, world->dimension, plan->drift > 0,
                                sel_random_init(plan->seed, STREAM_SPACES)) &&
                solo.sent != NULL && solo.features != NULL && solo.offsets != NULL &&
                solo.psi != NULL && solo.log_pi != NULL && result->labels != NULL &&
                result->seconds != NULL && result->psi != NULL;
    if (!done)
        error_set(error, ERROR_FATAL, "out of memory for a world");
    done = done && prepare(&solo, options, error) && rounds(&solo, error) &&
           take_account(&solo, error);
    if (done)
        take_preference(&solo);
    result->pools = solo.drawn;
    solo_group_free(solo.group);
    contracts_free(solo.contracts);
    buffer_free(&solo.record);
    free(solo.features);
    free(solo.offsets);
    free(solo.psi);
    free(solo.log_pi);
    free(solo.sent);
    solo_space_fini(&solo.space);
    if (!done)
        solo_free(result);
    return done;
}
