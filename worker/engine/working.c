/* The pools that are compared: opened in the picker, scored, ranked.
 *
 * Candidates are the ready pools that the budget allows to be asked (spend.c). They are scored
 * when they become ready, when they change, and after each fit, at most SELECT_REFRESH a tick. By
 * that score, or what selection.prompts names instead, they are ranked; the first share of them
 * competes, and of those at most selection.shortlist are looked at in full. */
#include <stdlib.h>
#include <string.h>

#include "inputs.h"
#include "selection.h"

/* ---- rounds ---- */

/* Draws of a rule that looks at the posterior differ from slot to slot and fit to fit. */
static void seed_draws(struct engine *engine)
{
    const int64_t state[] = {engine->requests.slot_last, engine->model.fit_id};
    const struct span key[] = {span_of(engine->model.space.name),
                               {(const char *)state, sizeof state}};
    struct sel_random random =
        identity_random(engine->options.seed, "draws", identity_hash(key, 2));
    uint64_t stream = sel_random_bits(&random);
    sel_picker_seed(engine->picker, engine->options.seed, stream);
}

bool working_start(struct engine *engine, struct error *error)
{
    struct model *model = &engine->model;
    engine->working_count = engine->compared = 0;
    bool draws = (engine->options.selection.rule->needs & SEL_NEEDS(SEL_DRAWS)) != 0;
    if (!model->moved && !draws) {
        sel_picker_clear(engine->picker);
        return true;
    }
    seed_draws(engine);
    enum sel_status status = sel_picker_ties(engine->picker, model->tie);
    if (status == SEL_OK)
        status = sel_picker_begin(engine->picker, model_design(model), model->policy, model->psi,
                                  model->lapse);
    model->moved = false;
    return status == SEL_OK ||
           error_set(error, ERROR_FATAL, "selection: %s", sel_status_text(status));
}

void select_forget_pool(struct engine *engine, const struct pool *pool)
{
    shadows_forget(&engine->shadows);
    rivals_forget(&engine->rivals);
    for (size_t k = 0; k < engine->working_count; k++) {
        if (engine->working[k] == pool)
            engine->working[k] = NULL;
    }
    for (size_t k = 0; k < engine->eligible_count; k++) {
        if (engine->eligible[k] == pool)
            engine->eligible[k] = NULL;
    }
}

/* ---- pairs that may not be asked ---- */

static void forbid(uint8_t *forbidden, size_t pair)
{
    forbidden[pair / 8] = (uint8_t)(forbidden[pair / 8] | 1u << pair % 8);
}

static double distance_squared(const float *left, const float *right, size_t d)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++) {
        double away = (double)left[k] - (double)right[k];
        sum += away * away;
    }
    return sum;
}

/* Of the rows gathered. */
static bool are_near(const struct engine *engine, const struct pool *pool, size_t i, size_t j)
{
    struct span text = held_text(pool->held[i]);
    if (text.size > 0 && span_equal(text, held_text(pool->held[j])))
        return true;
    size_t d = engine->model.space.dimension;
    double near = engine->options.pool_near;
    return near > 0 && distance_squared(engine->gathered + i * d, engine->gathered + j * d, d) <=
                           near * near * 2 * (double)d;
}

/* Counts near-duplicates of completions before them. */
static void mark_near(struct engine *engine, const struct pool *pool)
{
    for (size_t j = 1; j < pool->count; j++) {
        bool near = false;
        for (size_t i = 0; i < j && !near; i++)
            near = !pool->held[i]->near && are_near(engine, pool, i, j);
        engine->stats.completions_near += near && !pool->held[j]->near;
        pool->held[j]->near = near;
    }
}

bool working_may_compare(const struct engine *engine, const struct held *held)
{
    return held->candidate && !held->too_large && !(held->near && engine->options.pool_drop_near);
}

bool working_would_count(const struct engine *engine, const struct held *left,
                         const struct held *right)
{
    const struct held *newer = left->offset > right->offset ? left : right;
    return model_label_weight(&engine->model, newer->policy_epoch) > 0;
}

bool working_may_ask(const struct engine *engine, const struct held *left, const struct held *right)
{
    return working_may_compare(engine, left) && working_may_compare(engine, right) &&
           working_would_count(engine, left, right);
}

/* Counts the pairs that were asked and are not forbidden. */
static void count_repeats(const struct engine *engine, struct pool *pool)
{
    const struct requests *requests = &engine->requests;
    size_t n = pool->count;
    pool->repeats = 0;
    if (!again_best(&engine->options))
        return;
    for (const struct request *request = requests_of(requests, pool->prompt); request != NULL;
         request = request->of_prompt) {
        if (request->replica != 1 || request->attempt != 1 ||
            !identity_equal(request_space_id(requests, request), engine->model.space.id))
            continue;
        size_t i = pool_place(pool, identity_of(request_left_id(requests, request)));
        size_t j = pool_place(pool, identity_of(request_right_id(requests, request)));
        if (i == n || j == n || i == j)
            continue;
        size_t place = i < j ? pair_place(n, i, j) : pair_place(n, j, i);
        pool->repeats += (engine->forbidden[place / 8] >> place % 8 & 1) == 0;
    }
}

/* Attempts after the first, and replicas that go with every pair, are no picks of their own. */
static bool is_pick(const struct engine *engine, const struct request *request)
{
    return !request->imported && request->attempt <= 1 &&
           (request->replica <= 1 || again_best(&engine->options));
}

/* Marks the pairs asked before (whichever pool they stood in) and those that may not be compared.
 * Returns how many both stand in this pool of those that were asked; labelled elsewhere and
 * imported, a pair is not asked again either. */
static int64_t mark_forbidden(struct engine *engine, struct pool *pool)
{
    size_t n = pool->count;
    int64_t asked = 0;
    memset(engine->forbidden, 0, n * (n - 1) / 2 / 8 + 1);
    for (const struct request *request = requests_of(&engine->requests, pool->prompt);
         request != NULL; request = request->of_prompt) {
        const struct requests *requests = &engine->requests;
        if (!identity_equal(request_space_id(requests, request), engine->model.space.id))
            continue;
        size_t i = pool_place(pool, identity_of(request_left_id(requests, request)));
        size_t j = pool_place(pool, identity_of(request_right_id(requests, request)));
        if (i == n || j == n || i == j)
            continue;
        if (!again_competes(engine, pool, request))
            forbid(engine->forbidden, i < j ? pair_place(n, i, j) : pair_place(n, j, i));
        asked += is_pick(engine, request);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            if (!working_may_ask(engine, pool->held[i], pool->held[j]))
                forbid(engine->forbidden, pair_place(n, i, j));
        }
    }
    count_repeats(engine, pool);
    return asked;
}

/* ---- what the rule knows of completions ---- */

static bool later(const struct request *left, const struct request *right)
{
    if (right == NULL || left->issued_at != right->issued_at)
        return right == NULL || left->issued_at > right->issued_at;
    return identity_compare(left->id, right->id) > 0;
}

/* The completion of the prompt's last pair that did not stand in the pair before: who came to
 * challenge. pool->count when it is not in the pool, or nothing was asked. */
static size_t find_challenger(const struct engine *engine, const struct pool *pool)
{
    const struct requests *requests = &engine->requests;
    const struct request *last = NULL, *before = NULL;
    for (const struct request *each = requests_of(requests, pool->prompt); each != NULL;
         each = each->of_prompt) {
        if (!each->imported && !is_pick(engine, each))
            continue;
        if (later(each, last)) {
            before = last;
            last = each;
        } else if (later(each, before)) {
            before = each;
        }
    }
    if (last == NULL)
        return pool->count;
    struct id left = identity_of(request_left_id(requests, last));
    struct id right = identity_of(request_right_id(requests, last));
    bool stood =
        before != NULL && (identity_equal(left, identity_of(request_left_id(requests, before))) ||
                           identity_equal(left, identity_of(request_right_id(requests, before))));
    return pool_place(pool, stood ? right : left);
}

/* Of traffic that is never compared a number may be missing; it is 0 then. */
static void gather_input(const struct engine *engine, const struct pool *pool, enum sel_input input,
                         double *values)
{
    size_t place = inputs_place(engine->pools.inputs, input);
    for (size_t k = 0; k < pool->count; k++) {
        double value =
            input == SEL_COST ? held_cost(pool->held[k]) / 2 : held_input(pool->held[k], place);
        values[k] = isfinite(value) ? value : 0;
    }
}

static enum sel_status give_challenger(struct engine *engine, const struct pool *pool,
                                       size_t number, size_t challenger)
{
    double *values = engine->scratch;
    engine->challengers[number] = challenger;
    for (size_t k = 0; k < pool->count; k++)
        values[k] = k == challenger;
    return sel_picker_give(engine->picker, number, SEL_PREVIOUS, values);
}

bool working_follow(struct engine *engine, const struct decision *decision, struct error *error)
{
    if ((engine->options.selection.rule->needs & SEL_NEEDS(SEL_PREVIOUS)) == 0)
        return true;
    const struct sel_choice *choice = &decision->choice;
    bool stood = engine->challengers[choice->pool] == choice->j;
    enum sel_status status =
        give_challenger(engine, decision->pool, choice->pool, stood ? choice->i : choice->j);
    return status == SEL_OK ||
           error_set(error, ERROR_FATAL, "selection: %s", sel_status_text(status));
}

static bool has_costs(const struct pool *pool)
{
    for (size_t k = 0; k < pool->count; k++)
        if (pool->held[k]->has_cost)
            return true;
    return false;
}

static bool give_inputs(struct engine *engine, const struct pool *pool, size_t number,
                        struct error *error)
{
    double *values = engine->scratch;
    for (int k = 0; k < SEL_INPUTS; k++) {
        enum sel_input input = (enum sel_input)k;
        bool needed = (engine->options.selection.rule->needs & SEL_NEEDS(k)) != 0;
        bool priced = input == SEL_COST && engine->options.selection.per_cost && has_costs(pool);
        if (input == SEL_DRAWS || !(needed || priced))
            continue;
        if (input != SEL_PREVIOUS)
            gather_input(engine, pool, input, values);
        enum sel_status status =
            input == SEL_PREVIOUS
                ? give_challenger(engine, pool, number, find_challenger(engine, pool))
                : sel_picker_give(engine->picker, number, input, values);
        if (status != SEL_OK)
            return error_set(error, ERROR_FATAL, "selection: %s: %s", sel_input_name(input),
                             sel_status_text(status));
    }
    return true;
}

/* ---- scores of pools ---- */

/* psi' phi of the rows gathered. */
static double spread_of(const struct engine *engine, const struct pool *pool)
{
    size_t d = engine->model.space.dimension;
    double *reward = engine->scratch;
    for (size_t k = 0; k < pool->count; k++)
        reward[k] = model_margin(&engine->model, engine->gathered + k * d);
    return sel_prompt_spread(reward, pool->count);
}

/* Minus max_i min_j of the lower bound psi' x - s of i against j. */
static double contest_of(struct engine *engine, const struct pool *pool, size_t number)
{
    double *least = engine->scratch;
    struct sel_choice pair;
    for (size_t k = 0; k < pool->count; k++)
        least[k] = INFINITY;
    for (size_t i = 0; i + 1 < pool->count; i++)
        for (size_t j = i + 1; j < pool->count; j++) {
            if (!sel_picker_choice(engine->picker, number, i, j, &pair))
                continue;
            double width = sqrt(pair.pair.variance);
            least[i] = fmin(least[i], pair.pair.margin - width);
            least[j] = fmin(least[j], -pair.pair.margin - width);
        }
    double most = -INFINITY;
    for (size_t k = 0; k < pool->count; k++)
        if (isfinite(least[k]))
            most = fmax(most, least[k]);
    return -most;
}

/* A rule that chooses from a list has no best pair: which pools give it candidates is drawn. */
static double rank_by_chance(const struct engine *engine, const struct pool *pool)
{
    struct sel_random random = identity_random(engine->options.seed, "rank", pool->key);
    return sel_random_uniform(&random);
}

bool working_ranks_by_pair(const struct selection_options *options)
{
    return inputs_prompts(options) == PROMPTS_PAIR && !selection_lists(options);
}

static double score_of(struct engine *engine, const struct pool *pool, size_t number, double best)
{
    switch (inputs_prompts(&engine->options.selection)) {
    case PROMPTS_PAIR:
        return selection_lists(&engine->options.selection) ? rank_by_chance(engine, pool) : best;
    case PROMPTS_SPREAD:
        return spread_of(engine, pool);
    case PROMPTS_ENTROPY:
        gather_input(engine, pool, SEL_LOG_POLICY, engine->scratch);
        return sel_prompt_entropy(engine->scratch, pool->count);
    case PROMPTS_MAXMINLCB:
        return contest_of(engine, pool, number);
    }
    return best;
}

int64_t working_picks(const struct engine *engine)
{
    int64_t most = engine->options.pool_picks;
    return most == 0 && engine->options.selection.when != WHEN_SLOTS ? 1 : most;
}

void working_judge(const struct engine *engine, struct pool *pool, size_t number,
                   struct sel_choice *best)
{
    int64_t most = working_picks(engine);
    bool spent = most > 0 && pool->picks >= most;
    bool empty = sel_picker_allowed(engine->picker, number) == 0;
    bool found = selection_draws(&engine->options.selection) ||
                 sel_picker_best_of(engine->picker, number, best);
    pool->exhausted = spent || empty || !found;
    pool->declined = !spent && !empty && !found;
}

bool working_open(struct engine *engine, struct pool *pool, size_t *number, struct error *error)
{
    completions_gather(engine, pool);
    spend_look_at(engine, pool);
    mark_near(engine, pool);
    int64_t asked = mark_forbidden(engine, pool);
    if (asked > pool->picks)
        pool->picks = asked;
    enum sel_status status =
        sel_picker_open(engine->picker, engine->gathered, pool->count, engine->forbidden, number);
    if (status != SEL_OK)
        return error_set(error, ERROR_FATAL, "selection: %s", sel_status_text(status));
    engine->working[*number] = pool;
    engine->working_count = *number + 1;
    pool->unasked = sel_picker_allowed(engine->picker, *number) - pool->repeats;
    if (!give_inputs(engine, pool, *number, error))
        return false;
    struct sel_choice best = {0};
    working_judge(engine, pool, *number, &best);
    pool->score = pool->exhausted ? 0 : score_of(engine, pool, *number, best.score);
    pool->scored = true;
    pool->score_fit = engine->model.fit_id;
    return true;
}

/* ---- candidates ---- */

bool working_stands(const struct engine *engine, const struct pool *pool)
{
    return pool->scored && !pool->exhausted && !pool->skipped && pool->count >= 2 &&
           space_is_current(engine, pool);
}

bool working_candidate(const struct engine *engine, const struct pool *pool)
{
    return working_stands(engine, pool) && spend_allows(engine, pool);
}

size_t working_candidates(const struct engine *engine)
{
    size_t count = 0;
    for (size_t k = 0; k < engine->pools.ready_count; k++)
        count += working_candidate(engine, engine->pools.ready[k]);
    return count;
}

size_t select_declined(const struct engine *engine)
{
    size_t declined = 0;
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        const struct pool *pool = engine->pools.ready[k];
        if (!pool->scored || (!pool->exhausted && !pool->skipped))
            return 0;
        declined += pool->declined || pool->skipped;
    }
    return declined;
}

static bool needs_score(const struct engine *engine, const struct pool *pool)
{
    bool open = !pool->exhausted || pool->declined;
    bool stale = open && pool->score_fit != engine->model.fit_id;
    return pool->count >= 2 && space_is_current(engine, pool) && (!pool->scored || stale);
}

bool working_refresh(struct engine *engine, struct error *error)
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
        if ((!started || engine->working_count == SELECT_SHORTLIST_MAX) &&
            !working_start(engine, error))
            return false;
        started = true;
        size_t number;
        if (!working_open(engine, pool, &number, error))
            return false;
        pool->skipped = false;
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

static bool same_domain(const struct pool *left, const struct pool *right)
{
    return span_equal(left->domain, right->domain);
}

/* Drops the pools that come after domain_quota better ones of their domain. */
static void keep_quota(struct engine *engine)
{
    size_t quota = engine->options.selection.domain_quota, kept = 0;
    /* A rule of scores looks no farther than the shortlist. */
    size_t enough = selection_draws(&engine->options.selection)
                        ? engine->eligible_count
                        : engine->options.selection.shortlist;
    for (size_t k = 0; quota > 0 && k < engine->eligible_count && kept < enough; k++) {
        size_t before = 0;
        for (size_t other = 0; other < kept && before < quota; other++)
            before += same_domain(engine->eligible[other], engine->eligible[k]);
        if (before < quota)
            engine->eligible[kept++] = engine->eligible[k];
    }
    if (quota > 0)
        engine->eligible_count = kept;
}

/* The pools that compete, best first. */
static bool find_eligible(struct engine *engine, struct error *error)
{
    size_t room = engine->pools.ready_count;
    if (room > engine->eligible_capacity) {
        struct pool **grown = realloc(engine->eligible, room * sizeof(struct pool *));
        if (grown == NULL)
            return error_set(error, ERROR_FATAL, "out of memory for selection");
        engine->eligible = grown;
        engine->eligible_capacity = room;
    }
    engine->eligible_count = 0;
    engine->quotas = spend_quotas(engine);
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        if (working_candidate(engine, engine->pools.ready[k]))
            engine->eligible[engine->eligible_count++] = engine->pools.ready[k];
    }
    if (engine->eligible_count == 0)
        return true;
    qsort(engine->eligible, engine->eligible_count, sizeof(struct pool *), best_first);
    double share = engine->options.selection.prompt_share * (double)engine->eligible_count;
    engine->eligible_count = share <= 1 ? 1 : (size_t)ceil(share - 1e-9);
    keep_quota(engine);
    return true;
}

bool working_fill(struct engine *engine, struct error *error)
{
    if (!find_eligible(engine, error) || !working_start(engine, error))
        return false;
    size_t wanted = engine->options.selection.shortlist;
    if (selection_draws(&engine->options.selection) && !draw_probes(engine))
        wanted = 0; /* each is opened once it is drawn */
    for (size_t k = 0; k < wanted && k < engine->eligible_count; k++) {
        size_t number;
        if (!working_open(engine, engine->eligible[k], &number, error))
            return false;
        engine->compared = engine->working_count;
    }
    return true;
}

bool working_number(struct engine *engine, struct pool *pool, size_t *number, struct error *error)
{
    for (*number = 0; *number < engine->working_count; ++*number) {
        if (engine->working[*number] == pool)
            return true;
    }
    if (engine->working_count == SELECT_POOLS && !working_fill(engine, error))
        return false;
    return working_open(engine, pool, number, error);
}
