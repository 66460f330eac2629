/* Which pair for a slot.
 *
 * The arm is drawn first, by a coin keyed by the lowest partition that is live here and the slot's
 * number (one more than the largest in the ledger): no two slots have the same key, since a
 * partition's next owner has read the ledger.
 *
 * control: a uniform candidate pool, then a uniform unasked pair of it.
 *
 * probe: the pair of the largest |psi' x| of those compared, whose answers tell how often
 * annotators err.
 *
 * selected: by epsilon a uniform pair; else of a rule of scores the best pair of all that are
 * compared, or one drawn by its score; of a rule that draws a uniform pool of those that compete,
 * then a pair by the rule's distribution, and where that skips the pool another draw for the same
 * slot.
 *
 * The propensity of the pair is its probability over all arms, given the state at the draw. */
#include <string.h>

#include "selection.h"

bool selection_lists(const struct selection_options *options)
{
    return !sel_rule_is_of_pools(options->rule);
}

bool selection_draws(const struct selection_options *options)
{
    return options->rule->randomised || options->rule->distribution != NULL;
}

int64_t draw_slot(const struct engine *engine)
{
    return engine->requests.slot_last + 1;
}

struct sel_random draw_random(const struct engine *engine, const char *purpose, int64_t slot,
                              int64_t attempt)
{
    int32_t lowest = 0;
    while (!partition_live(&engine->partitions[lowest]))
        lowest++;
    const struct span key[] = {span_of(engine->model.space.name),
                               {(const char *)&lowest, sizeof lowest},
                               {(const char *)&slot, sizeof slot},
                               {(const char *)&attempt, sizeof attempt}};
    return identity_random(engine->options.seed, purpose, identity_hash(key, attempt > 0 ? 4 : 3));
}

static double probe_share(const struct engine *engine)
{
    bool learns = isnan(engine->options.labels_lapse) && engine->model.fit_id > 0;
    return learns ? engine->options.labels_probes : 0;
}

bool draw_probes(const struct engine *engine)
{
    return probe_share(engine) > 0;
}

/* What the coin of a slot hangs on: it is another one in another space, once another partition is
 * the lowest, and when probes begin. */
static uint64_t coin_of(const struct engine *engine, int64_t slot)
{
    struct sel_random random = draw_random(engine, "slot", slot, draw_probes(engine));
    return sel_random_bits(&random);
}

static int64_t skips_of(const struct engine *engine, int64_t slot)
{
    return engine->skips > 0 && engine->skips_coin == coin_of(engine, slot) ? engine->skips : 0;
}

void draw_skipped(struct engine *engine)
{
    int64_t slot = draw_slot(engine);
    engine->skips = skips_of(engine, slot) + 1;
    engine->skips_coin = coin_of(engine, slot);
}

enum pair_arm draw_pair_arm(enum draw_arm arm)
{
    return arm == DRAW_CONTROL ? ARM_CONTROL : arm == DRAW_PROBE ? ARM_PROBE : ARM_SELECTED;
}

enum draw_arm draw_arm(const struct engine *engine, int64_t slot)
{
    const struct engine_options *options = &engine->options;
    struct sel_random random = draw_random(engine, "slot", slot, 0);
    if (sel_random_uniform(&random) < options->control_share)
        return DRAW_CONTROL;
    double probe = probe_share(engine);
    if (probe > 0 && sel_random_uniform(&random) < probe)
        return DRAW_PROBE;
    return sel_random_uniform(&random) < options->selection.epsilon ? DRAW_EPSILON : DRAW_BY_RULE;
}

/* ---- a uniform pair ---- */

/* A pool with pairs that nobody was asked: those that compete again are the rule's alone. */
static bool uniform_candidate(const struct engine *engine, const struct pool *pool)
{
    return working_candidate(engine, pool) && (pool->unasked > 0 || !again_best(&engine->options));
}

static size_t uniform_candidates(const struct engine *engine)
{
    size_t count = 0;
    for (size_t k = 0; k < engine->pools.ready_count; k++)
        count += uniform_candidate(engine, engine->pools.ready[k]);
    return count;
}

/* The pair at a place among those of an open pool that were not asked. */
static bool unasked_pair(const struct engine *engine, const struct pool *pool, size_t number,
                         size_t place, struct sel_choice *choice)
{
    for (size_t k = pool->repeats == 0 ? place : 0;
         sel_picker_pair(engine->picker, number, k, choice); k++)
        if (pool->repeats == 0 ||
            (!again_is_repeat(engine, pool, choice->i, choice->j) && place-- == 0))
            return true;
    return false;
}

bool draw_uniform(struct engine *engine, struct pool *only, struct sel_random *random,
                  struct decision *decision, struct error *error)
{
    struct pool *pool = only;
    error->class = ERROR_NONE;
    decision->pool = NULL;
    if (only == NULL) {
        size_t candidates = uniform_candidates(engine);
        if (candidates == 0)
            return false;
        uint64_t left = sel_random_below(random, candidates);
        size_t k = 0;
        while (!uniform_candidate(engine, engine->pools.ready[k]) || left-- > 0)
            k++;
        pool = engine->pools.ready[k];
    }
    size_t number;
    if (!working_number(engine, pool, &number, error))
        return false;
    error->class = ERROR_NONE;
    size_t allowed = sel_picker_allowed(engine->picker, number) - pool->repeats;
    if (allowed == 0) {
        pool->exhausted = pool->repeats == 0;
        return false;
    }
    decision->pool = pool;
    enum draw_arm arm = draw_arm(engine, decision->slot);
    decision->uniform = arm == DRAW_CONTROL   ? "control arm"
                        : arm == DRAW_EPSILON ? "selection.epsilon"
                                              : "the rule chose nothing";
    return unasked_pair(engine, pool, number, sel_random_below(random, allowed), &decision->choice);
}

double draw_uniform_chance(const struct engine *engine, const struct pool *only,
                           const struct decision *decision)
{
    const struct pool *pool = decision->pool;
    if ((only == NULL && !uniform_candidate(engine, pool)) ||
        again_is_repeat(engine, pool, decision->choice.i, decision->choice.j))
        return 0;
    double pools = only != NULL ? 1 : (double)uniform_candidates(engine);
    size_t allowed = sel_picker_allowed(engine->picker, decision->choice.pool) - pool->repeats;
    return 1 / pools / (double)allowed;
}

/* ---- the most confident pair ---- */

static bool stands(const struct engine *engine, const struct pool *only, size_t number)
{
    const struct pool *pool = engine->working[number];
    return pool != NULL && !pool->exhausted && !pool->skipped &&
           (only == NULL ? number < engine->compared : pool == only) && spend_allows(engine, pool);
}

/* The pair of the largest |psi' x|, the first of those alike; or the first that is found above
 * `enough`. *most: its |psi' x|, -1 when there is no pair. */
static void find_confident(struct engine *engine, const struct pool *only, double enough,
                           struct decision *decision, double *most)
{
    *most = -1;
    for (size_t k = 0; k < engine->working_count && *most <= enough; k++) {
        size_t n = stands(engine, only, k) ? engine->working[k]->count : 0;
        struct sel_choice choice;
        for (size_t i = 0; i + 1 < n && *most <= enough; i++)
            for (size_t j = i + 1; j < n && *most <= enough; j++) {
                if (!sel_picker_choice(engine->picker, k, i, j, &choice) ||
                    fabs(choice.pair.margin) <= *most ||
                    again_is_repeat(engine, engine->working[k], i, j))
                    continue;
                *most = fabs(choice.pair.margin);
                decision->choice = choice;
                decision->pool = engine->working[k];
            }
    }
}

bool draw_probe(struct engine *engine, const struct pool *only, struct decision *decision)
{
    double most;
    find_confident(engine, only, INFINITY, decision, &most);
    decision->probe = most >= 0;
    return most >= 0;
}

static double probe_chance(struct engine *engine, const struct pool *only,
                           const struct decision *decision)
{
    const struct sel_choice *choice = &decision->choice;
    struct decision probe = {0};
    struct sel_choice own;
    double most;
    if (!sel_picker_choice(engine->picker, choice->pool, choice->i, choice->j, &own))
        return 0;
    /* Of nearly every pair it shows soon that another one is more confident. */
    double enough = fabs(own.pair.margin);
    find_confident(engine, only, enough, &probe, &most);
    bool same = most == enough && probe.pool == decision->pool && probe.choice.i == choice->i &&
                probe.choice.j == choice->j;
    return same ? 1 : 0;
}

static bool has_probe(struct engine *engine, const struct pool *only)
{
    struct decision probe = {0};
    double most;
    find_confident(engine, only, -1, &probe, &most);
    return most >= 0;
}

double draw_propensity(struct engine *engine, const struct pool *only,
                       const struct decision *decision)
{
    const struct engine_options *options = &engine->options;
    if (skips_of(engine, decision->slot) > 0)
        return decision->chance; /* by then it is known that the slot is the rule's */
    double control = options->control_share, probe = (1 - control) * probe_share(engine);
    double epsilon = (1 - control - probe) * options->selection.epsilon;
    double uniform = control + epsilon;
    if (again_best(options)) {
        /* Where nothing is left for them their slots are the rule's. */
        if (uniform_candidates(engine) == 0)
            uniform = 0;
        if (probe > 0 && !has_probe(engine, only))
            probe = 0;
    }
    double sum = uniform * draw_uniform_chance(engine, only, decision) +
                 (1 - probe - uniform) * decision->chance;
    return probe > 0 ? sum + probe * probe_chance(engine, only, decision) : sum;
}

/* ---- a rule that draws ---- */

static size_t count_eligible(const struct engine *engine)
{
    size_t count = 0;
    for (size_t k = 0; k < engine->eligible_count; k++)
        count += engine->eligible[k] != NULL && working_candidate(engine, engine->eligible[k]);
    return count;
}

static struct pool *pick_eligible(const struct engine *engine, struct sel_random *random)
{
    size_t count = count_eligible(engine);
    if (count == 0)
        return NULL;
    uint64_t left = sel_random_below(random, count);
    size_t k = 0;
    while (engine->eligible[k] == NULL || !working_candidate(engine, engine->eligible[k]) ||
           left-- > 0)
        k++;
    return engine->eligible[k];
}

static bool draw_by_distribution(struct engine *engine, struct pool *only,
                                 struct sel_random *random, struct decision *decision,
                                 struct error *error)
{
    size_t number;
    error->class = ERROR_NONE;
    decision->pool = only != NULL ? only : pick_eligible(engine, random);
    if (decision->pool == NULL || !working_number(engine, decision->pool, &number, error))
        return false;
    error->class = ERROR_NONE;
    double chance;
    if (!sel_picker_draw(engine->picker, number, random, &decision->choice, &chance)) {
        decision->pool->skipped = true;
        return false;
    }
    decision->choice.score = 0; /* it was a probability */
    return true;
}

/* The probability of a pair under such a rule. */
static double chance_by_distribution(struct engine *engine, const struct pool *only,
                                     const struct decision *decision)
{
    const struct pool *pool = decision->pool;
    size_t pools = only != NULL ? 1 : count_eligible(engine);
    bool competes = only != NULL;
    for (size_t place = 0; place < engine->eligible_count && !competes; place++)
        competes = engine->eligible[place] == pool;
    if (!competes || pools == 0)
        return 0;
    sel_picker_distribution(engine->picker, decision->choice.pool, engine->chances);
    size_t k = pair_place(pool->count, decision->choice.i, decision->choice.j);
    return engine->chances[k] / (double)pools;
}

/* ---- a rule of scores ---- */

/* Looks at pools from the highest bound on until one offers what its bound says. */
static bool best_choice(struct engine *engine, const struct pool *only, struct decision *decision)
{
    bool standing[SELECT_POOLS];
    for (size_t k = 0; k < engine->working_count; k++)
        standing[k] = stands(engine, only, k);
    for (;;) {
        size_t first = engine->working_count;
        double most = -INFINITY;
        for (size_t k = 0; k < engine->working_count; k++) {
            double bound = standing[k] ? sel_picker_bound(engine->picker, k) : -INFINITY;
            if (bound > most) {
                most = bound;
                first = k;
            }
        }
        if (first == engine->working_count)
            return false;
        struct sel_choice choice;
        standing[first] = sel_picker_best_of(engine->picker, first, &choice);
        if (!standing[first] || choice.score < most)
            continue;
        decision->choice = choice;
        decision->pool = engine->working[first];
        return true;
    }
}

#define SCORE_MOST 1e300

/* Pairs whose weight is beyond numbers are alike, and so are all pairs where none weighs anything:
 * a power of margins is 0 for every pair before the first fit, which without a label never comes.
 */
static void settle_weights(const double *score, size_t count, double *log_weight)
{
    double largest = -INFINITY;
    for (size_t k = 0; k < count; k++) {
        log_weight[k] = fmin(log_weight[k], SCORE_MOST);
        largest = fmax(largest, log_weight[k]);
    }
    for (size_t k = 0; k < count && largest == -INFINITY; k++)
        log_weight[k] = score[k] > -INFINITY ? 0 : -INFINITY;
}

/* Probabilities of all pairs that are compared, pool by pool, into engine->chances. Returns how
 * many pairs those are. */
static size_t soften(struct engine *engine, const struct pool *only)
{
    const struct selection_options *options = &engine->options.selection;
    static const enum sel_softening SOFTENINGS[] = {
        [DRAW_SOFTMAX] = SEL_SOFTMAX, [DRAW_POWER] = SEL_POWER, [DRAW_SOFTRANK] = SEL_SOFTRANK};
    double *score = engine->chances, *log_weight = score + engine->chances_max;
    size_t count = 0;
    for (size_t k = 0; k < engine->working_count; k++)
        if (stands(engine, only, k))
            count += sel_picker_scores(engine->picker, k, score + count);
    for (size_t k = 0; k < count; k++) {
        if (isnan(score[k])) /* a rule overflows, or is somebody else's */
            score[k] = -INFINITY;
        score[k] = fmin(score[k], SCORE_MOST);
    }
    /* The sharpness is in range, and the scores are now. */
    sel_wrap_soften(SOFTENINGS[options->draw], options->sharpness, score, NULL, count, log_weight);
    settle_weights(score, count, log_weight);
    sel_gumbel_first(log_weight, count, score);
    return count;
}

/* Where the pairs of a pool of the picker begin among those compared. */
static size_t first_place(const struct engine *engine, const struct pool *only, size_t number)
{
    size_t place = 0;
    for (size_t k = 0; k < number; k++)
        if (stands(engine, only, k))
            place += engine->working[k]->count * (engine->working[k]->count - 1) / 2;
    return place;
}

/* The pair at a place among those compared. */
static bool pair_at(struct engine *engine, const struct pool *only, size_t place,
                    struct decision *decision)
{
    for (size_t k = 0; k < engine->working_count; k++) {
        if (!stands(engine, only, k))
            continue;
        size_t n = engine->working[k]->count, i = 0;
        if (place >= n * (n - 1) / 2) {
            place -= n * (n - 1) / 2;
            continue;
        }
        while (place >= n - 1 - i)
            place -= n - 1 - i++;
        decision->pool = engine->working[k];
        return sel_picker_choice(engine->picker, k, i, i + 1 + place, &decision->choice);
    }
    return false;
}

static bool draw_softened(struct engine *engine, const struct pool *only, struct sel_random *random,
                          struct decision *decision)
{
    size_t count = soften(engine, only), place = 0, last = count;
    double left = sel_random_uniform(random);
    for (; place < count; place++) {
        if (engine->chances[place] > 0)
            last = place;
        if (left < engine->chances[place])
            break;
        left -= engine->chances[place];
    }
    if (place == count)
        place = last; /* what rounding lacks of 1; count: no pair is possible */
    if (place == count)
        return false;
    decision->chance = engine->chances[place];
    return pair_at(engine, only, place, decision);
}

static double chance_softened(struct engine *engine, const struct pool *only,
                              const struct decision *decision)
{
    const struct sel_choice *choice = &decision->choice;
    if (!stands(engine, only, choice->pool))
        return 0;
    soften(engine, only);
    return engine->chances[first_place(engine, only, choice->pool) +
                           pair_place(decision->pool->count, choice->i, choice->j)];
}

static double chance_best(struct engine *engine, const struct pool *only,
                          const struct decision *decision)
{
    struct decision best = {0};
    bool same = best_choice(engine, only, &best) && best.pool == decision->pool &&
                best.choice.i == decision->choice.i && best.choice.j == decision->choice.j;
    return same ? 1 : 0;
}

/* ---- a slot ---- */

static bool draw_by_rule(struct engine *engine, struct pool *only, struct sel_random *random,
                         struct decision *decision, struct error *error)
{
    const struct selection_options *options = &engine->options.selection;
    error->class = ERROR_NONE;
    decision->pool = NULL;
    if (selection_draws(options))
        return draw_by_distribution(engine, only, random, decision, error);
    if (options->draw != DRAW_BEST)
        return draw_softened(engine, only, random, decision);
    return best_choice(engine, only, decision);
}

double draw_rule_chance(struct engine *engine, const struct pool *only,
                        const struct decision *decision)
{
    const struct selection_options *options = &engine->options.selection;
    if (selection_draws(options))
        return chance_by_distribution(engine, only, decision);
    return options->draw != DRAW_BEST ? chance_softened(engine, only, decision)
                                      : chance_best(engine, only, decision);
}

bool draw_pair(struct engine *engine, struct pool *only, bool declined, struct decision *decision,
               struct error *error)
{
    *decision = (struct decision){.slot = draw_slot(engine)};
    enum draw_arm arm = draw_arm(engine, decision->slot);
    struct sel_random random =
        draw_random(engine, "pair", decision->slot, skips_of(engine, decision->slot));
    error->class = ERROR_NONE;
    bool drawn = arm == DRAW_BY_RULE ? draw_by_rule(engine, only, &random, decision, error)
                 : arm == DRAW_PROBE ? draw_probe(engine, only, decision)
                                     : draw_uniform(engine, only, &random, decision, error);
    if (!drawn && arm != DRAW_BY_RULE && error->class == ERROR_NONE &&
        again_best(&engine->options)) {
        arm = DRAW_BY_RULE; /* every pair has been asked: the rule may repeat one */
        drawn = draw_by_rule(engine, only, &random, decision, error);
    }
    if (!drawn)
        return false;
    decision->arm = draw_pair_arm(arm);
    bool known = arm == DRAW_BY_RULE && engine->options.selection.draw != DRAW_BEST;
    if (!known)
        decision->chance = declined ? 0 : draw_rule_chance(engine, only, decision);
    decision->propensity = draw_propensity(engine, only, decision);
    return true;
}
