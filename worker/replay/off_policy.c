#include "off_policy.h"

#include <math.h>
#include <stdlib.h>

#include "passage.h"

#define QUANTILE 1.959963984540054

const char *const MEASURE_NAMES[MEASURES] = {"log_loss", "ties", "agreement"};

struct estimate off_policy_estimate(const double *weight, const double *value, size_t n)
{
    double sum = 0, squares = 0, weighted = 0, spread = 0;
    struct estimate estimate = {.value = (double)NAN, .low = (double)NAN, .high = (double)NAN};
    for (size_t k = 0; k < n; k++) {
        sum += weight[k];
        squares += weight[k] * weight[k];
        weighted += weight[k] * value[k];
        estimate.count += weight[k] > 0;
    }
    if (!(sum > 0))
        return estimate;
    estimate.value = weighted / sum;
    estimate.effective = sum * sum / squares;
    for (size_t k = 0; k < n; k++) {
        double off = weight[k] * (value[k] - estimate.value);
        spread += off * off;
    }
    double half = QUANTILE * sqrt(spread) / sum;
    estimate.low = estimate.value - half;
    estimate.high = estimate.value + half;
    return estimate;
}

bool off_policy_draws(const struct options *options)
{
    const struct sel_rule *rule = options->rule;
    return rule->randomised || rule->distribution != NULL || options->selection_draw != DRAW_BEST ||
           options->selection_epsilon > 0;
}

/* ---- chances ---- */

struct observing {
    const struct past *past;
    const struct recorded *recorded;
    struct passage *passage;
    size_t next; /* entry of the ledger */
    bool uniform;
    double *chance; /* by recorded pair; NaN: was not asked with a propensity */
};

static int64_t due(void *closure)
{
    const struct observing *observing = closure;
    if (observing->next == spool_count(observing->past->ledger))
        return INT64_MAX;
    int64_t time = spool_at(observing->past->ledger, observing->next).time;
    return time > observing->passage->now ? time : observing->passage->now + 1;
}

/* The pair of this very request, asked in the range. */
static size_t find_request(const struct recorded *recorded, const struct entry_selected *selected)
{
    struct id pair, request;
    size_t count;
    if (!identity_parse(selected->pair_id, &pair) ||
        !identity_parse(selected->request_id, &request))
        return recorded->count;
    const struct recorded_pair *found = recorded_find(recorded, pair, &count);
    for (size_t k = 0; k < count; k++) {
        if (found[k].asked && !found[k].before && identity_equal(found[k].request, request))
            return (size_t)(found + k - recorded->pairs);
    }
    return recorded->count;
}

static bool look(struct observing *observing, const struct entry_selected *selected,
                 struct error *error)
{
    struct engine_chance chance;
    size_t place = find_request(observing->recorded, selected);
    /* Of a pair's later requests it is fixed that they come, not drawn. */
    if (place == observing->recorded->count || !(selected->propensity > 0) ||
        selected->replica > 1 || selected->attempt > 1)
        return true;
    if (!engine_chance(observing->passage->engine, selected->prompt_id, selected->left_id,
                       selected->right_id, &chance, error))
        return false;
    observing->chance[place] = observing->uniform ? chance.uniform : chance.propensity;
    return true;
}

/* Everything that was written up to now; a request after a look at what it was chosen from. */
static bool give(void *closure, int64_t now, struct error *error)
{
    struct observing *observing = closure;
    const struct spool *ledger = observing->past->ledger;
    if (!engine_tick(observing->passage->engine, now, error)) /* what is asked for is now */
        return false;
    while (observing->next < spool_count(ledger)) {
        const struct spool_record record = spool_at(ledger, observing->next);
        struct entry entry;
        if (record.time > now)
            break;
        observing->next++;
        if (!contracts_decode_entry(observing->passage->contracts, record.value, &entry, NULL,
                                    error))
            return false;
        if (entry.kind == ENTRY_SELECTED && !look(observing, &entry.selected, error))
            return false;
        if (!passage_give_entry(observing->passage, record.value, record.partition, record.offset,
                                error))
            return false;
    }
    return true;
}

/* What the budget was when the record was made: that of the configuration. Files tell of none. */
static bool set_budget(const struct past *past, const struct options *recorded,
                       struct engine_options *engine, struct error *error)
{
    struct engine_options then;
    if (!passage_options(past, recorded, &then, error))
        return false;
    engine->budget_per_second = past->moments ? then.budget_per_second : 1e6;
    engine->budget_burst = past->moments ? then.budget_burst : INT32_MAX;
    engine->budget_in_flight = past->moments ? then.budget_in_flight : INT32_MAX;
    engine->budget_limits = past->moments ? then.budget_limits : (struct budget_limits){0};
    return true;
}

static bool find_chances(struct observing *observing, const struct off_policy_target *target,
                         struct error *error)
{
    struct engine_options engine;
    struct passage passage = {0};
    const struct past *past = observing->past;
    const struct passage_visitor visitor = {.closure = observing, .due = due, .give = give};
    observing->passage = &passage;
    bool done = passage_options(past, target->options, &engine, error) &&
                set_budget(past, target->recorded, &engine, error);
    engine.observes = true;
    if (past->moments)
        engine.moments_interval = INT64_MAX / 4; /* I is that of the ledger */
    done = done && passage_begin(&passage, past, target->options, &engine, false, error) &&
           passage_go(&passage, &visitor, error);
    passage_fini(&passage);
    return done;
}

/* ---- estimates ---- */

/* y against the common fit. */
static double measure_of(enum measure measure, const struct common *common,
                         const struct recorded_pair *pair)
{
    double margin = 0, y = pair->probability;
    for (size_t k = 0; k < common->dimension; k++)
        margin += common->psi[k] * (double)pair->x[k];
    const struct sel_chances chances = sel_tie_chances(margin, common->lapse, common->tie);
    double left = fmax(chances.left, 1e-300), right = fmax(chances.right, 1e-300);
    if (measure == MEASURE_LOG_LOSS)
        return y == .5 && common->tie > 0 ? -log(chances.tie)
                                          : -(y * log(left) + (1 - y) * log(right));
    if (measure == MEASURE_TIES)
        return y == .5 ? 1 : 0;
    return y == .5 || margin == 0 ? .5 : (y > .5) == (margin > 0) ? 1 : 0;
}

/* Weights of the requests, into `chance`; those without are left out of all that follows. */
static void weigh(const struct recorded *recorded, double *chance, struct off_policy *found)
{
    double sum = 0;
    for (size_t k = 0; k < recorded->count; k++) {
        if (isnan(chance[k]))
            continue;
        chance[k] /= recorded->pairs[k].propensity;
        sum += chance[k];
        found->requests++;
    }
    found->support = found->requests == 0 ? 0 : sum / (double)found->requests;
    found->known = found->requests > 0;
}

static void estimate(const struct recorded *recorded, const struct common *common,
                     const double *chance, double *weight, double *value, struct off_policy *found)
{
    for (int measure = 0; measure < MEASURES; measure++) {
        double sum = 0, control = 0;
        size_t n = 0;
        for (size_t k = 0; k < recorded->count; k++) {
            const struct recorded_pair *pair = &recorded->pairs[k];
            if (isnan(chance[k]) || !pair->labelled || isnan(pair->probability))
                continue;
            weight[n] = chance[k];
            value[n++] = measure_of((enum measure)measure, common, pair);
            sum += chance[k];
            control += pair->arm == ARM_CONTROL ? chance[k] : 0;
        }
        struct estimate *here = &found->estimates[measure];
        *here = off_policy_estimate(weight, value, n);
        if (here->low < 0)
            here->low = 0;
        if (here->high > 1 && measure != MEASURE_LOG_LOSS)
            here->high = 1;
        found->control = sum > 0 ? control / sum : 0;
    }
}

bool off_policy_run(const struct past *past, const struct off_policy_target *target,
                    const struct recorded *recorded, const struct common *common,
                    struct off_policy *found, struct error *error)
{
    *found = (struct off_policy){0};
    double *memory = calloc(3 * recorded->count + 1, sizeof *memory);
    if (memory == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for estimates");
    for (size_t k = 0; k < recorded->count; k++)
        memory[k] = (double)NAN;
    struct observing observing = {
        .past = past, .recorded = recorded, .uniform = target->uniform, .chance = memory};
    bool done = find_chances(&observing, target, error);
    if (done) {
        weigh(recorded, memory, found);
        estimate(recorded, common, memory, memory + recorded->count, memory + 2 * recorded->count,
                 found);
    }
    free(memory);
    return done;
}
