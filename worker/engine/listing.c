/* Rules that choose a batch from a list of candidate pairs.
 *
 * Once selection.batch slots are open (this worker's share of it), the pairs of the pools in the
 * picker are listed, a uniform sample of selection.candidates where there are more, and the rule
 * chooses as many as the coins of the slots leave to it. Slots of the control arm and of
 * selection.epsilon get a uniform pair as everywhere. The propensity of a chosen pair is the rule's
 * own (of inclusion in the batch, or given the choices before), times the share that was sampled.
 * Posterior draws are of N(psi, S). What diversity is measured against are the last pairs asked. */
#include <stdlib.h>
#include <string.h>

#include "selection.h"

enum { LISTING_BATCH = 50, LISTING_DRAWS = 16, LISTING_PAST = 256 };

/* Where a pair of the list stands. */
struct place {
    struct pool *pool;
    uint32_t i, j;
};

struct listing {
    struct sel_select *select;
    size_t count_max, budget_max, past_max;
    double *x, *weight, *margin, *draws, *ensemble, *square, *past;
    double *propensity, *design;
    size_t *group, *chosen;
    struct place *places;
    const struct request **recent;
    /* Of the round. */
    size_t count, groups, past_count;
    double sampled; /* share of the pairs that could be asked */
    struct sel_selection selection;
};

/* ---- sizes ---- */

/* Most choices of one run. */
static size_t batch_of(const struct engine_options *options)
{
    const struct selection_options *selection = &options->selection;
    int64_t most = options->budget_burst < options->budget_in_flight ? options->budget_burst
                                                                     : options->budget_in_flight;
    int64_t batch = selection->batch > 0 ? selection->batch : LISTING_BATCH;
    size_t limit = selection->rule->budget_max;
    if (batch > most)
        batch = most < 1 ? 1 : most;
    return limit > 0 && (size_t)batch > limit ? limit : (size_t)batch;
}

static bool looks_back(const struct sel_rule *rule)
{
    return rule->score == NULL && (rule->traits & SEL_UNWEIGHTED) == 0;
}

static size_t groups_max(const struct selection_options *options)
{
    bool lists = (options->rule->traits & SEL_GROUPS) != 0;
    return lists ? options->candidates : SELECT_POOLS;
}

static struct sel_select_options select_options(const struct engine_options *options,
                                                size_t dimension)
{
    const struct selection_options *selection = &options->selection;
    bool draws = (selection->rule->needs & SEL_NEEDS(SEL_DRAWS)) != 0;
    return (struct sel_select_options){
        .rule = selection->rule,
        .parameters = selection->parameters,
        .largest = {.count = selection->candidates,
                    .d = dimension,
                    .groups = groups_max(selection),
                    .draw_count = draws ? LISTING_DRAWS : 0,
                    .context_d = dimension,
                    .past_count = looks_back(selection->rule) ? LISTING_PAST : 0},
        .budget_max = batch_of(options)};
}

size_t listing_bytes(const struct engine_options *options, size_t dimension)
{
    if (!selection_lists(&options->selection))
        return 0;
    const struct sel_select_options select = select_options(options, dimension);
    size_t of_pair = dimension + 3 + select.largest.draw_count;
    return sel_select_bytes(&select) + select.largest.count * of_pair * sizeof(double) +
           select.largest.count * (sizeof(size_t) + sizeof(struct place)) +
           (select.largest.draw_count + select.largest.past_count + dimension) * dimension *
               sizeof(double) +
           select.budget_max * 2 * sizeof(double) + 2 * LISTING_PAST * sizeof(struct request *);
}

void listing_fini(struct engine *engine)
{
    struct listing *listing = engine->listing;
    engine->listing = NULL;
    if (listing == NULL)
        return;
    sel_select_free(listing->select);
    void *const parts[] = {listing->x,        listing->weight,     listing->margin, listing->draws,
                           listing->ensemble, listing->square,     listing->past,   listing->design,
                           listing->group,    listing->propensity, listing->chosen, listing->places,
                           listing->recent};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
        free(parts[k]);
    free(listing);
}

bool listing_prepare(struct engine *engine)
{
    if (!selection_lists(&engine->options.selection))
        return true;
    size_t d = engine->model.space.dimension;
    const struct sel_select_options options = select_options(&engine->options, d);
    size_t count = options.largest.count, draws = options.largest.draw_count;
    struct listing *listing = calloc(1, sizeof *listing);
    engine->listing = listing;
    if (listing == NULL)
        return false;
    listing->select = sel_select_new(&options);
    listing->count_max = count;
    listing->budget_max = options.budget_max;
    listing->past_max = options.largest.past_count;
    listing->x = calloc(count, d * sizeof(double));
    listing->weight = calloc(count, sizeof(double));
    listing->margin = calloc(count, sizeof(double));
    listing->design = calloc(count, sizeof(double));
    listing->draws = calloc(count, (draws + 1) * sizeof(double));
    listing->ensemble = calloc(draws + 1, d * sizeof(double));
    listing->square = calloc(d, d * sizeof(double));
    listing->past = calloc(listing->past_max + 1, d * sizeof(double));
    listing->group = calloc(count, sizeof(size_t));
    listing->places = calloc(count, sizeof(struct place));
    listing->propensity = calloc(listing->budget_max, sizeof(double));
    listing->chosen = calloc(listing->budget_max, sizeof(size_t));
    listing->recent = calloc(2 * LISTING_PAST, sizeof(struct request *));
    return listing->select != NULL && listing->x != NULL && listing->weight != NULL &&
           listing->margin != NULL && listing->design != NULL && listing->draws != NULL &&
           listing->ensemble != NULL && listing->square != NULL && listing->past != NULL &&
           listing->group != NULL && listing->places != NULL && listing->propensity != NULL &&
           listing->chosen != NULL && listing->recent != NULL;
}

/* ---- the list ---- */

static size_t count_pairs(const struct engine *engine)
{
    size_t count = 0;
    for (size_t k = 0; k < engine->working_count; k++)
        if (engine->working[k] != NULL && !engine->working[k]->exhausted)
            count += sel_picker_allowed(engine->picker, k);
    return count;
}

static void add_pair(struct engine *engine, struct listing *listing, const struct sel_choice *pair)
{
    size_t d = engine->model.space.dimension, k = listing->count++;
    const float *left = engine->gathered + pair->i * d;
    const float *right = engine->gathered + pair->j * d;
    for (size_t axis = 0; axis < d; axis++)
        listing->x[k * d + axis] = (double)(left[axis] - right[axis]);
    bool unweighted = engine->model.unweighted != NULL;
    listing->weight[k] =
        unweighted ? sel_weight_tie(pair->pair.margin, engine->model.lapse, engine->model.tie)
                   : pair->pair.weight;
    listing->margin[k] = pair->pair.margin;
    listing->group[k] = listing->groups;
    listing->places[k] =
        (struct place){engine->working[pair->pool], (uint32_t)pair->i, (uint32_t)pair->j};
}

/* Pairs of completions first, first + 1, ... of a pool, if all of them fit, as one group. */
static void list_group(struct engine *engine, struct listing *listing, size_t number, size_t first)
{
    const struct pool *pool = engine->working[number];
    size_t last = first + engine->options.selection.list, before = listing->count;
    struct sel_choice pair;
    if (last > pool->count)
        last = pool->count;
    if (listing->count + (last - first) * (last - first - 1) / 2 > listing->count_max)
        return;
    for (size_t i = first; i < last; i++)
        for (size_t j = i + 1; j < last; j++)
            if (sel_picker_choice(engine->picker, number, i, j, &pair))
                add_pair(engine, listing, &pair);
    listing->groups += listing->count > before;
}

/* Pools are cut into lists; they come in a random order as it is. */
static void list_groups(struct engine *engine, struct listing *listing)
{
    listing->count = listing->groups = 0;
    listing->sampled = 1;
    for (size_t k = 0; k < engine->working_count; k++) {
        if (engine->working[k] == NULL || engine->working[k]->exhausted)
            continue;
        completions_gather(engine, engine->working[k]);
        for (size_t i = 0; i < engine->working[k]->count; i += engine->options.selection.list)
            list_group(engine, listing, k, i);
    }
}

/* Each pair with the probability needed / left, in order: a uniform sample of exactly count_max. */
static void list_pairs(struct engine *engine, struct listing *listing, struct sel_random *random)
{
    size_t left = count_pairs(engine);
    size_t needed = left < listing->count_max ? left : listing->count_max;
    listing->count = listing->groups = 0;
    listing->sampled = left > 0 ? (double)needed / (double)left : 0;
    for (size_t k = 0; k < engine->working_count; k++) {
        const struct pool *pool = engine->working[k];
        if (pool == NULL || pool->exhausted)
            continue;
        completions_gather(engine, pool);
        struct sel_choice pair;
        for (size_t i = 0; i < pool->count; i++) {
            for (size_t j = i + 1; j < pool->count; j++) {
                if (!sel_picker_choice(engine->picker, k, i, j, &pair) ||
                    sel_random_below(random, left--) >= needed)
                    continue;
                needed--;
                add_pair(engine, listing, &pair);
            }
        }
        listing->groups++;
    }
}

static int newest_first(const void *left, const void *right)
{
    const struct request *a = *(const struct request *const *)left;
    const struct request *b = *(const struct request *const *)right;
    if (a->issued_at != b->issued_at)
        return a->issued_at > b->issued_at ? -1 : 1;
    return identity_compare(b->id, a->id);
}

static void keep_newest(struct listing *listing, size_t *count)
{
    qsort(listing->recent, *count, sizeof *listing->recent, newest_first);
    *count = *count < listing->past_max ? *count : listing->past_max;
}

/* The last pairs that were asked in this space. */
static void list_past(struct engine *engine, struct listing *listing)
{
    size_t d = engine->model.space.dimension, count = 0;
    const struct request *each;
    listing->past_count = 0;
    for (size_t at = 0;
         listing->past_max > 0 && (each = requests_next(&engine->requests, &at)) != NULL; at++) {
        if (!each->whole ||
            !identity_equal(request_space_id(&engine->requests, each), engine->model.space.id))
            continue;
        listing->recent[count++] = each;
        if (count == 2 * LISTING_PAST)
            keep_newest(listing, &count);
    }
    keep_newest(listing, &count);
    for (; listing->past_count < count; listing->past_count++)
        for (size_t k = 0; k < d; k++)
            listing->past[listing->past_count * d + k] =
                (double)listing->recent[listing->past_count]->x[k];
}

/* Margins of the pairs under draws of the posterior. */
static enum sel_status list_draws(struct engine *engine, struct listing *listing,
                                  struct sel_random *random, size_t draws)
{
    size_t d = engine->model.space.dimension;
    enum sel_status status =
        draws == 0 ? SEL_OK
                   : sel_information_draw(engine->model.information, engine->model.psi, draws,
                                          random, listing->ensemble, listing->square);
    for (size_t e = 0; e < draws && status == SEL_OK; e++)
        for (size_t k = 0; k < listing->count; k++) {
            double margin = 0;
            for (size_t axis = 0; axis < d; axis++)
                margin += listing->ensemble[e * d + axis] * listing->x[k * d + axis];
            listing->draws[e * listing->count + k] = margin;
        }
    return status;
}

static bool choose(struct engine *engine, struct listing *listing, size_t budget,
                   struct sel_random *random, struct error *error)
{
    const struct sel_rule *rule = engine->options.selection.rule;
    size_t d = engine->model.space.dimension;
    size_t draws = (rule->needs & SEL_NEEDS(SEL_DRAWS)) != 0 ? LISTING_DRAWS : 0;
    const struct sel_information *design = model_design(&engine->model);
    for (size_t k = 0; k < listing->count; k++)
        listing->design[k] = (double)NAN;
    listing->selection = (struct sel_selection){.budget = budget,
                                                .chosen = listing->chosen,
                                                .propensity = listing->propensity,
                                                .design = listing->design};
    list_past(engine, listing);
    enum sel_status status = list_draws(engine, listing, random, draws);
    const struct sel_set set = {.count = listing->count,
                                .d = d,
                                .x = listing->x,
                                .weight = listing->weight,
                                .margin = listing->margin,
                                .group = listing->group,
                                .groups = listing->groups,
                                .draws = draws > 0 ? listing->draws : NULL,
                                .draw_count = draws,
                                .context = listing->x,
                                .context_d = d,
                                .past = listing->past_count > 0 ? listing->past : NULL,
                                .past_count = listing->past_count,
                                .sigma = sel_information_sigma(design),
                                .inverse = sel_information_inverse(design),
                                .policy = engine->model.policy,
                                .random = random};
    if (status == SEL_OK)
        status = sel_select_run(listing->select, &set, &listing->selection);
    return status == SEL_OK || status == SEL_NOT_CONVERGED ||
           error_set(error, ERROR_FATAL, "selection.rule: %s: %s", rule->name,
                     sel_status_text(status));
}

/* ---- slots ---- */

static int64_t slots_open(const struct engine *engine)
{
    int64_t slots = 0;
    for (int32_t k = 0; k < engine->partition_count; k++)
        if (partition_live(&engine->partitions[k]))
            slots +=
                budget_slots(&engine->budget, &engine->partitions[k].bucket, k, entry_time(engine));
    return slots;
}

bool listing_due(const struct engine *engine)
{
    const struct engine_options *options = &engine->options;
    int64_t live = 0, most = 0;
    for (int32_t k = 0; k < engine->partition_count; k++) {
        if (!partition_live(&engine->partitions[k]))
            continue;
        live++;
        most += budget_most(&engine->budget, k);
    }
    int64_t batch = selection_lists(&options->selection) ? (int64_t)batch_of(options)
                                                         : options->selection.batch;
    int64_t share = batch * live / options->completions_partitions;
    share = share > most ? most : share;
    return slots_open(engine) >= (share < 1 ? 1 : share);
}

/* How many of the coming slots fall to the rule. */
static size_t rule_slots(const struct engine *engine, int64_t slots)
{
    size_t count = 0;
    for (int64_t k = 0; k < slots; k++)
        count += draw_arm(engine, draw_slot(engine) + k) == DRAW_BY_RULE;
    return count;
}

/* The next pair that the rule chose and that may be asked; false with ERROR_NONE: there is none. */
static bool next_chosen(struct engine *engine, struct listing *listing, size_t *next,
                        struct decision *decision, struct error *error)
{
    struct sel_selection *selection = &listing->selection;
    for (; *next < selection->count; ++*next) {
        size_t k = selection->chosen[*next], number;
        const struct place *place = &listing->places[k];
        if (place->pool->exhausted || !spend_allows(engine, place->pool))
            continue;
        if (!working_number(engine, place->pool, &number, error))
            return false;
        error->class = ERROR_NONE;
        if (!sel_picker_choice(engine->picker, number, place->i, place->j, &decision->choice))
            continue;
        decision->pool = place->pool;
        decision->choice.score = 0;
        decision->chance = selection->propensity[*next] * listing->sampled;
        decision->listed = listing->count;
        decision->design = listing->design[k];
        bool designed = !isnan(decision->design);
        decision->objective = designed ? selection->objective : (double)NAN;
        decision->certificate = designed ? selection->certificate : (double)NAN;
        ++*next;
        return true;
    }
    return false;
}

/* The probability with which the rule takes a uniform pair into its batch, where that is known. */
static double chance_of(const struct listing *listing, const struct decision *decision)
{
    for (size_t k = 0; k < listing->count; k++) {
        const struct place *place = &listing->places[k];
        if (place->pool != decision->pool || place->i != decision->choice.i ||
            place->j != decision->choice.j)
            continue;
        double inclusion = (double)listing->selection.budget * listing->design[k];
        for (size_t c = 0; c < listing->selection.count && !isfinite(inclusion); c++)
            if (listing->selection.chosen[c] == k)
                inclusion = listing->selection.propensity[c];
        return isfinite(inclusion) ? fmin(1, inclusion) * listing->sampled : 0;
    }
    return 0;
}

/* Fills one slot. False with ERROR_NONE: nothing is left for it. */
static bool fill_slot(struct engine *engine, struct listing *listing, size_t *next,
                      struct error *error)
{
    struct decision decision = {.slot = draw_slot(engine)};
    enum draw_arm arm = draw_arm(engine, decision.slot);
    struct sel_random random = draw_random(engine, "uniform", decision.slot, 0);
    error->class = ERROR_NONE;
    /* A rule may weigh all pairs with 0, as one of margins does before the first fit: without a
     * label it would never weigh them otherwise. */
    bool none = listing->selection.count == 0;
    spend_quotas(engine);
    bool found = arm == DRAW_PROBE ? draw_probe(engine, NULL, &decision)
                 : arm == DRAW_BY_RULE && !none
                     ? next_chosen(engine, listing, next, &decision, error)
                     : draw_uniform(engine, NULL, &random, &decision, error);
    if (!found)
        return false;
    decision.arm = draw_pair_arm(arm);
    if (none)
        decision.chance = draw_uniform_chance(engine, NULL, &decision);
    else if (arm != DRAW_BY_RULE)
        decision.chance = chance_of(listing, &decision);
    decision.propensity = draw_propensity(engine, NULL, &decision);
    bool fits = true;
    if (!publish_decision(engine, &decision, &fits, error))
        return false;
    error->class = ERROR_NONE;
    return fits;
}

/* One list and one batch of it. *published: false when it brought nothing. */
static bool batch(struct engine *engine, bool *published, struct error *error)
{
    struct listing *listing = engine->listing;
    int64_t slots = slots_open(engine), before = engine->requests.slot_last;
    if (slots > (int64_t)listing->budget_max)
        slots = (int64_t)listing->budget_max;
    *published = false;
    if (!working_fill(engine, error))
        return false;
    size_t budget = rule_slots(engine, slots);
    if (budget == 0)
        budget = 1; /* the propensity of a uniform pair asks what the rule would have taken */
    struct sel_random random = draw_random(engine, "list", draw_slot(engine), 0);
    listing->selection.count = 0;
    if ((engine->options.selection.rule->traits & SEL_GROUPS) != 0)
        list_groups(engine, listing);
    else
        list_pairs(engine, listing, &random);
    if (listing->count > 0 && !choose(engine, listing, budget, &random, error))
        return false;
    size_t next = 0;
    for (int64_t k = 0; k < slots; k++) {
        if (!fill_slot(engine, listing, &next, error)) {
            if (error->class != ERROR_NONE)
                return false;
            break;
        }
    }
    *published = engine->requests.slot_last > before;
    return true;
}

bool listing_tick(struct engine *engine, struct error *error)
{
    bool more = true;
    error->class = ERROR_NONE;
    while (more && working_candidates(engine) > 0 && listing_due(engine))
        if (!batch(engine, &more, error))
            return false;
    return true;
}
