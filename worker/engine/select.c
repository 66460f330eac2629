/* Label slots: which pair next.
 *
 * Candidates are the ready pools of live partitions whose bucket holds a label. Up to
 * SELECT_ALL of them are looked at in full; of more, the SELECT_SHORTLIST with the best score when
 * they were last scored. Pools are scored when they become ready, when they change, and after each
 * fit, at most SELECT_REFRESH a tick.
 *
 * For each slot the arm is drawn first, by a coin keyed by the lowest partition that is live here
 * and the slot's number (one more than the largest in the ledger): no two slots have the same key,
 * since a partition's next owner has read the ledger. selected: the best pair of the rule; control:
 * a uniform candidate pool, then a uniform unasked pair of it. Then Sigma, the bucket and the pools
 * follow at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { SELECT_ALL = 100, SELECT_SHORTLIST = 64, SELECT_SPARE = 28, SELECT_REFRESH = 256 };
enum { SELECT_POOLS = SELECT_ALL + SELECT_SPARE };

/* ---- the picker ---- */

static struct sel_picker_options picker_options(const struct engine_options *options,
                                                size_t dimension)
{
    return (struct sel_picker_options){.d = dimension,
                                       .pools_max = SELECT_POOLS,
                                       .n_max = options->pool_max,
                                       .rule = options->rule,
                                       .weighting = options->weighting};
}

size_t select_bytes(const struct engine_options *options, size_t dimension)
{
    const struct sel_picker_options picker = picker_options(options, dimension);
    return sel_picker_bytes(&picker) +
           options->pool_max * dimension * (sizeof(float) + sizeof(double)) +
           SELECT_POOLS * sizeof(struct pool *);
}

void select_fini(struct engine *engine)
{
    sel_picker_free(engine->picker);
    free(engine->gathered);
    free(engine->scratch);
    free(engine->forbidden);
    free(engine->working);
    engine->picker = NULL;
    engine->gathered = NULL;
    engine->scratch = NULL;
    engine->forbidden = NULL;
    engine->working = NULL;
    engine->picker_dimension = engine->working_count = 0;
}

bool select_prepare(struct engine *engine, struct error *error)
{
    size_t d = engine->model.space.dimension;
    if (d == 0 || engine->picker_dimension == d)
        return true;
    select_fini(engine);
    size_t n = engine->options.pool_max;
    const struct sel_picker_options options = picker_options(&engine->options, d);
    engine->picker = sel_picker_new(&options);
    engine->gathered = malloc(n * d * sizeof(float));
    engine->scratch = malloc((n * d + n) * sizeof(double));
    engine->forbidden = malloc(n * (n - 1) / 2 / 8 + 1);
    engine->working = malloc(SELECT_POOLS * sizeof *engine->working);
    if (engine->picker == NULL || engine->gathered == NULL || engine->scratch == NULL ||
        engine->forbidden == NULL || engine->working == NULL) {
        select_fini(engine);
        return error_set(error, ERROR_FATAL, "out of memory for selection with %zu features", d);
    }
    engine->picker_dimension = d;
    engine->model.moved = true;
    return true;
}

void select_forget_pool(struct engine *engine, const struct pool *pool)
{
    for (size_t k = 0; k < engine->working_count; k++) {
        if (engine->working[k] == pool)
            engine->working[k] = NULL;
    }
}

/* Closes the picker's pools; S I S is computed anew only when Sigma or I changed otherwise. */
static bool start_round(struct engine *engine, struct error *error)
{
    struct model *model = &engine->model;
    engine->working_count = 0;
    if (!model->moved) {
        sel_picker_clear(engine->picker);
        return true;
    }
    enum sel_status status = sel_picker_begin(engine->picker, model->information, model->policy,
                                              model->psi, model->lapse);
    model->moved = false;
    return status == SEL_OK ||
           error_set(error, ERROR_FATAL, "selection: %s", sel_status_text(status));
}

/* ---- pairs that may not be asked ---- */

static size_t pair_index(size_t i, size_t j, size_t n)
{
    return i * (2 * n - i - 1) / 2 + (j - i - 1);
}

static void forbid(uint8_t *forbidden, size_t pair)
{
    forbidden[pair / 8] = (uint8_t)(forbidden[pair / 8] | 1u << pair % 8);
}

static size_t find_held(const struct pool *pool, struct id id)
{
    size_t k = 0;
    while (k < pool->count && !identity_equal(pool->held[k]->id, id))
        k++;
    return k;
}

static bool may_compare(const struct held *held)
{
    return held->candidate && !held->too_large;
}

/* Marks the pairs asked before (whichever pool they stood in) and those that may not be compared.
 * Returns how many of the asked ones both stand in this pool. */
static int64_t mark_forbidden(struct engine *engine, const struct pool *pool)
{
    size_t n = pool->count;
    int64_t asked = 0;
    memset(engine->forbidden, 0, n * (n - 1) / 2 / 8 + 1);
    for (const struct request *request = requests_of(&engine->requests, pool->prompt);
         request != NULL; request = request->of_prompt) {
        const struct requests *requests = &engine->requests;
        if (!identity_equal(request_space_id(requests, request), engine->model.space.id))
            continue;
        size_t i = find_held(pool, identity_of(request_left_id(requests, request)));
        size_t j = find_held(pool, identity_of(request_right_id(requests, request)));
        if (i == n || j == n || i == j)
            continue;
        forbid(engine->forbidden, i < j ? pair_index(i, j, n) : pair_index(j, i, n));
        asked++;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            if (!may_compare(pool->held[i]) || !may_compare(pool->held[j]))
                forbid(engine->forbidden, pair_index(i, j, n));
        }
    }
    return asked;
}

static bool open_pool(struct engine *engine, struct pool *pool, size_t *number, struct error *error)
{
    int64_t asked = mark_forbidden(engine, pool);
    if (asked > pool->picks)
        pool->picks = asked;
    completions_gather(engine, pool);
    enum sel_status status =
        sel_picker_open(engine->picker, engine->gathered, pool->count, engine->forbidden, number);
    if (status != SEL_OK)
        return error_set(error, ERROR_FATAL, "selection: %s", sel_status_text(status));
    engine->working[*number] = pool;
    engine->working_count = *number + 1;
    struct sel_choice best;
    bool spent = engine->options.pool_picks > 0 && pool->picks >= engine->options.pool_picks;
    pool->exhausted = spent || !sel_picker_best_of(engine->picker, *number, &best);
    pool->score = pool->exhausted ? 0 : best.score;
    pool->scored = true;
    pool->score_fit = engine->model.fit_id;
    return true;
}

/* ---- candidates ---- */

static bool may_spend(const struct engine *engine, int32_t partition)
{
    return partition_live(&engine->partitions[partition]) &&
           budget_allows(&engine->budget, &engine->partitions[partition].bucket, partition,
                         engine->now);
}

static bool is_candidate(const struct engine *engine, const struct pool *pool)
{
    return pool->scored && !pool->exhausted && pool->count >= 2 && space_is_current(engine, pool) &&
           may_spend(engine, pool->partition);
}

static size_t count_candidates(const struct engine *engine)
{
    size_t count = 0;
    for (size_t k = 0; k < engine->pools.ready_count; k++)
        count += is_candidate(engine, engine->pools.ready[k]);
    return count;
}

static bool needs_score(const struct engine *engine, const struct pool *pool)
{
    bool stale = !pool->exhausted && pool->score_fit != engine->model.fit_id;
    return pool->count >= 2 && space_is_current(engine, pool) && (!pool->scored || stale);
}

/* Scores ready pools that have no score of their present state and fit. */
static bool refresh_scores(struct engine *engine, struct error *error)
{
    struct pools *pools = &engine->pools;
    size_t done = 0;
    bool started = false;
    for (size_t step = 0; step < pools->ready_count && done < SELECT_REFRESH; step++) {
        if (engine->refresh_at >= pools->ready_count)
            engine->refresh_at = 0;
        struct pool *pool = pools->ready[engine->refresh_at++];
        if (!needs_score(engine, pool))
            continue;
        if ((!started || engine->working_count == SELECT_ALL) && !start_round(engine, error))
            return false;
        started = true;
        size_t number;
        if (!open_pool(engine, pool, &number, error))
            return false;
        done++;
    }
    return true;
}

static int best_first(const void *left, const void *right)
{
    const struct pool *a = *(struct pool *const *)left, *b = *(struct pool *const *)right;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    return (a->first_offset > b->first_offset) - (a->first_offset < b->first_offset);
}

/* Opens the working set: every candidate, or a shortlist. */
static bool open_working_set(struct engine *engine, struct error *error)
{
    size_t count = count_candidates(engine);
    struct pool **candidates = malloc((count + 1) * sizeof *candidates);
    if (candidates == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for selection");
    size_t filled = 0;
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        if (is_candidate(engine, engine->pools.ready[k]))
            candidates[filled++] = engine->pools.ready[k];
    }
    qsort(candidates, filled, sizeof *candidates, best_first);
    size_t wanted = filled > SELECT_ALL ? SELECT_SHORTLIST : filled;
    bool done = start_round(engine, error);
    for (size_t k = 0; done && k < wanted; k++) {
        size_t number;
        done = open_pool(engine, candidates[k], &number, error);
    }
    free(candidates);
    return done;
}

/* The number of a pool in the picker; opened where it is not. */
static bool working_number(struct engine *engine, struct pool *pool, size_t *number,
                           struct error *error)
{
    for (*number = 0; *number < engine->working_count; ++*number) {
        if (engine->working[*number] == pool)
            return true;
    }
    if (engine->working_count == SELECT_POOLS && !open_working_set(engine, error))
        return false;
    return open_pool(engine, pool, number, error);
}

/* ---- one slot ---- */

struct decision {
    struct pool *pool;
    struct sel_choice choice;
    enum pair_arm arm;
    double propensity;
    int64_t slot;
};

static bool best_choice(struct engine *engine, struct decision *decision)
{
    bool found = false;
    for (size_t k = 0; k < engine->working_count; k++) {
        struct pool *pool = engine->working[k];
        struct sel_choice choice;
        if (pool == NULL || pool->exhausted || !may_spend(engine, pool->partition) ||
            !sel_picker_best_of(engine->picker, k, &choice) ||
            (found && choice.score <= decision->choice.score))
            continue;
        decision->choice = choice;
        decision->pool = pool;
        found = true;
    }
    return found;
}

/* A uniform candidate pool, then a uniform unasked pair of it. */
static bool uniform_choice(struct engine *engine, struct sel_random *random, size_t candidates,
                           struct decision *decision, struct error *error)
{
    uint64_t left = sel_random_below(random, candidates);
    size_t k = 0;
    while (!is_candidate(engine, engine->pools.ready[k]) || left-- > 0)
        k++;
    size_t number;
    if (!working_number(engine, engine->pools.ready[k], &number, error))
        return false;
    decision->pool = engine->pools.ready[k];
    size_t allowed = sel_picker_allowed(engine->picker, number);
    error->class = ERROR_NONE;
    if (allowed == 0) {
        decision->pool->exhausted = true;
        return false;
    }
    return sel_picker_pair(engine->picker, number, sel_random_below(random, allowed),
                           &decision->choice);
}

static bool same_pair(const struct decision *left, const struct decision *right)
{
    return left->pool == right->pool && left->choice.i == right->choice.i &&
           left->choice.j == right->choice.j;
}

/* Draws the arm and the pair. False with ERROR_NONE: no pair may be asked. */
static bool draw(struct engine *engine, struct decision *decision, struct error *error)
{
    const struct engine_options *options = &engine->options;
    size_t candidates = count_candidates(engine);
    error->class = ERROR_NONE;
    if (candidates == 0)
        return false;
    decision->slot = engine->requests.slot_last + 1;
    int32_t lowest = 0;
    while (!partition_live(&engine->partitions[lowest]))
        lowest++;
    const struct span key[] = {span_of(engine->model.space.name),
                               {(const char *)&lowest, sizeof lowest},
                               {(const char *)&decision->slot, sizeof decision->slot}};
    struct sel_random random = identity_random(options->seed, "slot", identity_hash(key, 3));
    bool control = sel_random_uniform(&random) < options->control_share;
    struct decision best = *decision;
    bool found = !options->rule->randomised && best_choice(engine, &best);
    if (control || options->rule->randomised) {
        if (!uniform_choice(engine, &random, candidates, decision, error))
            return false;
    } else {
        if (!found)
            return false;
        *decision = best;
    }
    decision->arm = control ? ARM_CONTROL : ARM_SELECTED;
    size_t number = decision->choice.pool;
    double uniform = 1.0 / (double)candidates / (double)sel_picker_allowed(engine->picker, number);
    double share = options->rule->randomised ? 1 : options->control_share;
    decision->propensity = share * uniform;
    if (found && same_pair(decision, &best))
        decision->propensity += 1 - share;
    return true;
}

/* ---- publishing ---- */

static struct pair_side side_of(const struct held *held)
{
    return (struct pair_side){.completion_id = held_completion_id(held),
                              .text = held_text(held),
                              .uri = held_uri(held),
                              .text_cut = held->text_cut};
}

static void explain(const struct decision *decision, double trace, char *text, size_t size)
{
    const struct sel_choice *choice = &decision->choice;
    if (decision->arm == ARM_CONTROL)
        snprintf(text, size, "control arm: a uniform pair of a uniform prompt");
    else
        snprintf(text, size,
                 "a label is expected to lower tr(I inverse(Sigma)) = %.4g by %.3g: weight %.3g, "
                 "variance %.3g, policy part %.3g",
                 trace, choice->score, choice->pair.weight, choice->pair.variance,
                 choice->pair.policy);
}

/* x = left - right in the scale of SPACE, in engine->gathered. */
static void difference(struct engine *engine, const struct pool *pool, size_t left, size_t right)
{
    size_t d = engine->model.space.dimension;
    completions_gather(engine, pool);
    const float *of_left = engine->gathered + left * d;
    const float *of_right = engine->gathered + right * d;
    float *x = (float *)engine->scratch;
    for (size_t k = 0; k < d; k++)
        x[k] = of_left[k] - of_right[k];
}

/* What a decision is called and when it ends; texts live in this struct. */
struct naming {
    char request[ID_TEXT_SIZE], pair[ID_TEXT_SIZE], reason[256];
    struct id request_id;
    size_t left, right; /* in the pool */
    int64_t time;
};

static void name_decision(const struct engine *engine, const struct decision *decision,
                          struct naming *naming)
{
    const struct pool *pool = decision->pool;
    const struct held *first = pool->held[decision->choice.i];
    const struct held *second = pool->held[decision->choice.j];
    struct id pair =
        identity_pair(pool->prompt_id, held_completion_id(first), held_completion_id(second));
    naming->request_id =
        identity_request(span_of(engine->model.space.name), pair, /* replica */ 1, /* attempt */ 1);
    identity_format(pair, naming->pair);
    identity_format(naming->request_id, naming->request);
    struct sel_random side = identity_random(engine->options.seed, "side", naming->request_id);
    bool swap = sel_random_uniform(&side) < .5;
    naming->left = swap ? decision->choice.j : decision->choice.i;
    naming->right = swap ? decision->choice.i : decision->choice.j;
    naming->time = entry_time(engine);
}

static bool write_pair(struct engine *engine, const struct decision *decision,
                       struct naming *naming, bool *fits, struct error *error)
{
    const struct pool *pool = decision->pool;
    const struct held *left = pool->held[naming->left], *right = pool->held[naming->right];
    const struct held *newest = left->offset > right->offset ? left : right;
    const struct sel_pair *parts = &decision->choice.pair;
    double margin = model_margin(&engine->model, (const float *)engine->scratch);
    double lapse = engine->model.lapse;
    struct pair pair = {
        .request_id = span_of(naming->request),
        .pair_id = span_of(naming->pair),
        .prompt_id = pool->prompt_id,
        .prompt = pool->prompt_text,
        .prompt_cut = pool->prompt_cut,
        .left = side_of(left),
        .right = side_of(right),
        .replica = 1,
        .replicas = 1,
        .attempt = 1,
        .selector = span_of(decision->arm == ARM_CONTROL ? "uniform" : engine->options.rule->name),
        .selector_version = span_of(INFOPAIR_VERSION),
        .arm = decision->arm,
        .score = decision->arm == ARM_CONTROL ? 0 : decision->choice.score,
        .score_weight = parts->weight,
        .score_variance = parts->variance,
        .score_policy = parts->policy,
        .reason = span_of(naming->reason),
        .probability_left = (1 - lapse) * sel_sigmoid(margin) + lapse / 2,
        .propensity = decision->propensity,
        .policy_version = held_policy_version(newest),
        .feature_space = span_of(engine->model.space.name),
        .issued_at = naming->time,
        .deadline = naming->time + engine->options.labels_deadline,
        .domain = pool->domain,
        .cost = 1,
        .traceparent = held_traceparent(newest),
        .tracestate = held_tracestate(newest)};
    return effect_pair(engine, &pair, fits, error);
}

static bool write_selected(struct engine *engine, const struct decision *decision,
                           const struct naming *naming, struct error *error)
{
    const struct pool *pool = decision->pool;
    const struct held *left = pool->held[naming->left], *right = pool->held[naming->right];
    const struct held *newest = left->offset > right->offset ? left : right;
    struct entry entry = {.time = naming->time,
                          .kind = ENTRY_SELECTED,
                          .selected = {.request_id = span_of(naming->request),
                                       .pair_id = span_of(naming->pair),
                                       .prompt_id = pool->prompt_id,
                                       .left_id = held_completion_id(left),
                                       .right_id = held_completion_id(right),
                                       .feature_space = span_of(engine->model.space.name),
                                       .policy_version = held_policy_version(newest),
                                       .policy_epoch = newest->policy_epoch,
                                       .x = {(const char *)engine->scratch,
                                             engine->model.space.dimension * sizeof(float)},
                                       .weight = decision->choice.pair.weight,
                                       .fit_id = engine->model.fit_id,
                                       .arm = decision->arm,
                                       .propensity = decision->propensity,
                                       .completions_partition = pool->partition,
                                       .slot = decision->slot,
                                       .issued_at = naming->time,
                                       .deadline = naming->time + engine->options.labels_deadline,
                                       .replica = 1,
                                       .attempt = 1}};
    struct request *request;
    if (!effect_entry(engine, &entry, ledger_partition_of(engine, naming->request_id), error))
        return false;
    if (requests_selected(&engine->requests, &entry, &request, error) != APPLIED_NEW)
        return error_set(error, ERROR_FATAL, "memory.limit: no room for a request");
    /* The picker puts it into Sigma. */
    request->applied = request_share(request, engine->model.return_rate) * request->weight;
    return true;
}

/* Puts one decision into the batch and lets everything follow. */
static bool publish(struct engine *engine, struct decision *decision, struct error *error)
{
    struct pool *pool = decision->pool;
    struct naming naming;
    name_decision(engine, decision, &naming);
    explain(decision, engine->stats.policy_trace, naming.reason, sizeof naming.reason);
    difference(engine, pool, naming.left, naming.right);
    bool fits = false;
    if (!write_pair(engine, decision, &naming, &fits, error))
        return false;
    if (!fits) {
        /* Even without texts: the uris are too long. The second one is never compared again. */
        engine->stats.pairs_too_large++;
        pool->held[decision->choice.j]->too_large = true;
        size_t number;
        return start_round(engine, error) && open_pool(engine, pool, &number, error);
    }
    if (!write_selected(engine, decision, &naming, error))
        return false;
    enum sel_status status =
        sel_picker_take(engine->picker, &decision->choice, engine->model.return_rate);
    if (status != SEL_OK)
        return error_set(error, ERROR_FATAL, "selection: %s", sel_status_text(status));
    struct bucket *bucket = &engine->partitions[pool->partition].bucket;
    budget_charge(&engine->budget, bucket, naming.time);
    bucket->open++;
    engine->stats.pairs[decision->arm]++;
    engine->stats.policy_trace -= decision->choice.score;
    pool->picks++;
    struct sel_choice best;
    pool->exhausted =
        (engine->options.pool_picks > 0 && pool->picks >= engine->options.pool_picks) ||
        !sel_picker_best_of(engine->picker, decision->choice.pool, &best);
    pool->score = pool->exhausted ? 0 : best.score;
    return true;
}

static void close_spent(struct engine *engine)
{
    if (engine->options.pool_picks == 0)
        return;
    for (size_t k = 0; k < engine->pools.ready_count;) {
        struct pool *pool = engine->pools.ready[k];
        if (pool->picks >= engine->options.pool_picks)
            completions_close_pool(engine, pool, POOL_PICKS);
        else
            k++;
    }
}

bool select_tick(struct engine *engine, struct error *error)
{
    if (!select_prepare(engine, error))
        return false;
    if (!model_refresh(&engine->model, error))
        return error->class == ERROR_NONE;
    if (!refresh_scores(engine, error))
        return false;
    if (count_candidates(engine) == 0 || engine_window_full(engine))
        return true;
    if (!open_working_set(engine, error))
        return false;
    engine->stats.policy_trace = model_trace(&engine->model);
    struct decision decision = {0};
    while (draw(engine, &decision, error)) {
        if (!publish(engine, &decision, error))
            return false;
    }
    if (error->class != ERROR_NONE)
        return false;
    close_spent(engine);
    return true;
}
