/* What a choice writes: the pair for labellers, SELECTED for the ledger. Then Sigma, the bucket and
 * the pools follow at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replicas.h"
#include "selection.h"

/* What a decision is called and when it ends; texts live in this struct. */
struct naming {
    char request[ID_TEXT_SIZE], pair[ID_TEXT_SIZE], reason[384];
    struct id request_id, pair_id;
    size_t left, right; /* in the pool */
    int64_t time;
    struct pair_part parts[SELECT_PARTS];
    size_t part_count;
    double weight; /* w, whatever Sigma the rule works with */
};

static struct pair_side side_of(const struct held *held)
{
    return (struct pair_side){.completion_id = held_completion_id(held),
                              .text = held_text(held),
                              .uri = held_uri(held),
                              .text_cut = held->text_cut};
}

static double pair_cost(const struct held *left, const struct held *right)
{
    return held_cost(left) / 2 + held_cost(right) / 2;
}

static bool lowers_trace(const struct engine *engine)
{
    return strcmp(engine->options.selection.rule->name, "policy_trace") == 0;
}

static void explain_again(const struct engine *engine, const struct decision *decision, char *text,
                          size_t size)
{
    if (decision->attempt > 1)
        snprintf(text, size, "asked again, %s: attempt %d of %d for answer %d",
                 decision->again->expired ? "nobody answered in time" : "it was skipped",
                 decision->attempt, (int)engine->options.labels_attempts, decision->replica);
    else
        snprintf(text, size, "another answer for the same pair: %d of %d", decision->replica,
                 (int)engine->options.labels_replicas);
}

static void explain(const struct engine *engine, const struct decision *decision, double weight,
                    char *text, size_t size)
{
    const struct sel_pair *pair = &decision->choice.pair;
    const struct sel_rule *rule = engine->options.selection.rule;
    int used;
    if (decision->again != NULL) {
        explain_again(engine, decision, text, size);
        return;
    }
    if (decision->uniform != NULL) {
        snprintf(text, size, "%s: a uniform pair of a uniform prompt", decision->uniform);
        return;
    }
    if (decision->probe)
        used = snprintf(text, size,
                        "probe: the most confident pair, to learn how often annotators err");
    else if (decision->listed > 0)
        used = snprintf(text, size, "%s chose it from a list of %zu pairs", rule->name,
                        decision->listed);
    else if (selection_draws(&engine->options.selection))
        used =
            snprintf(text, size, "drawn by %s with probability %.3g", rule->name, decision->chance);
    else if (lowers_trace(engine))
        used = snprintf(
            text, size, "a label is expected to lower tr(I inverse(Sigma)) = %.4g by %.3g",
            engine->stats.policy_trace, weight * pair->policy / (1 + weight * pair->variance));
    else
        used = snprintf(text, size, "%s %.4g, %.300s", rule->name, decision->choice.score,
                        rule->formula);
    if (used > 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, ": weight %.3g, variance %.3g, policy part %.3g",
                 weight, pair->variance, pair->policy);
}

/* x = left - right in the scale of SPACE, in engine->scratch. */
static void difference(struct engine *engine, const struct pool *pool, size_t left, size_t right)
{
    const struct space *space = &engine->model.space;
    float *of_left = engine->gathered, *of_right = of_left + space->dimension;
    completions_place(space, pool->held[left], of_left);
    completions_place(space, pool->held[right], of_right);
    float *x = (float *)engine->scratch;
    for (size_t k = 0; k < space->dimension; k++)
        x[k] = of_left[k] - of_right[k];
}

static void add_part(struct naming *naming, const char *name, double value)
{
    if (isfinite(value))
        naming->parts[naming->part_count++] = (struct pair_part){name, value};
}

/* The numbers behind the choice, as seen from the left side. */
static void name_parts(const struct engine *engine, const struct decision *decision, bool swap,
                       struct naming *naming)
{
    struct sel_part parts[SEL_PARTS];
    if (decision->again != NULL) { /* the picker does not hold it */
        const struct sel_pair *pair = &decision->choice.pair;
        add_part(naming, "weight", naming->weight);
        add_part(naming, "variance", pair->variance);
        add_part(naming, "policy", pair->policy);
        add_part(naming, "margin", swap ? -pair->margin : pair->margin);
        return;
    }
    size_t count = sel_picker_explain(engine->picker, &decision->choice, parts);
    for (size_t k = 0; k < count; k++) {
        const char *name = parts[k].name;
        double value = parts[k].value;
        if (swap && strcmp(name, "margin") == 0)
            value = -value;
        else if (swap && strcmp(name, "reward_left") == 0)
            name = "reward_right";
        else if (swap && strcmp(name, "reward_right") == 0)
            name = "reward_left";
        else if (strcmp(name, "weight") == 0)
            value = naming->weight;
        add_part(naming, name, value);
    }
    if (decision->listed == 0)
        return;
    add_part(naming, "objective", decision->objective);
    add_part(naming, "certificate", decision->certificate);
    add_part(naming, "design", decision->design);
    add_part(naming, "listed", (double)decision->listed);
}

/* Only where the rule may choose a pair again there may be replicas before. */
static int32_t next_replica(const struct engine *engine, struct id pair)
{
    int32_t replica = 1;
    while (again_best(&engine->options) && replica < engine->options.labels_replicas &&
           requests_find(&engine->requests, identity_request(span_of(engine->model.space.name),
                                                             pair, replica, 1)) != NULL)
        replica++;
    return replica;
}

/* The first request for the pair of a replica or attempt that follows others; NULL: it is that. */
static const struct request *first_request(const struct engine *engine,
                                           const struct decision *decision,
                                           const struct naming *naming)
{
    if (decision->replica == 1 && decision->attempt == 1)
        return NULL;
    return requests_find(&engine->requests, identity_request(span_of(engine->model.space.name),
                                                             naming->pair_id, 1, 1));
}

static void name_decision(const struct engine *engine, struct decision *decision,
                          struct naming *naming)
{
    const struct pool *pool = decision->pool;
    const struct held *first = pool->held[decision->choice.i];
    const struct held *second = pool->held[decision->choice.j];
    struct id pair =
        identity_pair(pool->prompt_id, held_completion_id(first), held_completion_id(second));
    if (decision->replica == 0)
        decision->replica = next_replica(engine, pair);
    if (decision->attempt == 0)
        decision->attempt = 1;
    naming->pair_id = pair;
    naming->request_id = identity_request(span_of(engine->model.space.name), pair,
                                          decision->replica, decision->attempt);
    identity_format(pair, naming->pair);
    identity_format(naming->request_id, naming->request);
    struct sel_random side = identity_random(engine->options.seed, "side", naming->request_id);
    bool swap = sel_random_uniform(&side) < .5;
    naming->left = swap ? decision->choice.j : decision->choice.i;
    naming->right = swap ? decision->choice.i : decision->choice.j;
    naming->time = entry_time(engine);
    double weight =
        engine->model.unweighted == NULL
            ? decision->choice.pair.weight
            : sel_weight_tie(decision->choice.pair.margin, engine->model.lapse, engine->model.tie);
    naming->weight = fmin(weight, .25); /* rounding may go beyond */
    naming->part_count = 0;
    name_parts(engine, decision, swap, naming);
    explain(engine, decision, naming->weight, naming->reason, sizeof naming->reason);
}

/* Answers that are wanted of the pair: what is not of the rule has no replicas under `best`. */
static int32_t replicas_of(const struct engine *engine, const struct decision *decision)
{
    const struct engine_options *options = &engine->options;
    bool once =
        options->labels_replicas < 1 || (again_best(options) && decision->arm != ARM_SELECTED);
    return once ? 1 : (int32_t)options->labels_replicas;
}

static bool write_pair(struct engine *engine, const struct decision *decision,
                       struct naming *naming, bool *fits, struct error *error)
{
    const struct pool *pool = decision->pool;
    const struct held *left = pool->held[naming->left], *right = pool->held[naming->right];
    const struct held *newest = left->offset > right->offset ? left : right;
    const struct sel_pair *parts = &decision->choice.pair;
    const char *selector = decision->arm == ARM_PROBE ? "probe"
                           : decision->uniform != NULL || decision->arm == ARM_CONTROL
                               ? "uniform"
                               : engine->options.selection.rule->name;
    bool scored = !decision->probe && decision->uniform == NULL && decision->again == NULL;
    struct span excluded[REQUEST_REPLICAS_MAX];
    const struct request *first = first_request(engine, decision, naming);
    size_t excludes = first == NULL ? 0 : replicas_annotators(&engine->requests, first, excluded);
    double margin = model_margin(&engine->model, (const float *)engine->scratch);
    double lapse = engine->model.lapse;
    struct pair pair = {.request_id = span_of(naming->request),
                        .pair_id = span_of(naming->pair),
                        .prompt_id = pool->prompt_id,
                        .prompt = pool->prompt_text,
                        .prompt_cut = pool->prompt_cut,
                        .left = side_of(left),
                        .right = side_of(right),
                        .replica = decision->replica,
                        .replicas = replicas_of(engine, decision),
                        .attempt = decision->attempt,
                        .selector = span_of(selector),
                        .selector_version = span_of(INFOPAIR_VERSION),
                        .arm = decision->arm,
                        .score = scored ? decision->choice.score : 0,
                        .score_weight = naming->weight,
                        .score_variance = parts->variance,
                        .score_policy = parts->policy,
                        .reason = span_of(naming->reason),
                        .parts = naming->parts,
                        .part_count = naming->part_count,
                        .probability_left = sel_tie_chances(margin, lapse, engine->model.tie).left,
                        .propensity = decision->propensity,
                        .policy_version = held_policy_version(newest),
                        .feature_space = span_of(engine->model.space.name),
                        .issued_at = naming->time,
                        .deadline = naming->time + engine->options.labels_deadline,
                        .domain = pool->domain,
                        .cost = pair_cost(left, right),
                        .traceparent = held_traceparent(newest),
                        .tracestate = held_tracestate(newest),
                        .exclude_annotators = excluded,
                        .exclude_count = excludes};
    return effect_pair(engine, &pair, fits, error);
}

static bool write_selected(struct engine *engine, const struct decision *decision,
                           const struct naming *naming, struct request **request,
                           struct error *error)
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
                                       .weight = naming->weight,
                                       .fit_id = engine->model.fit_id,
                                       .arm = decision->arm,
                                       .propensity = decision->propensity,
                                       .completions_partition = pool->partition,
                                       .slot = decision->slot,
                                       .issued_at = naming->time,
                                       .deadline = naming->time + engine->options.labels_deadline,
                                       .replica = decision->replica,
                                       .attempt = decision->attempt,
                                       .cost = pair_cost(left, right),
                                       .domain = pool->domain}};
    if (!effect_entry(engine, &entry, ledger_partition_of(engine, naming->request_id), error))
        return false;
    enum applied applied = requests_selected(&engine->requests, &entry, request, error);
    if (applied == APPLIED_REFUSED) {
        error->class = ERROR_FATAL;
        return error_prefix(error, "a pair chosen here is not valid");
    }
    if (applied != APPLIED_NEW)
        return error_set(error, ERROR_FATAL, "memory.limit: no room for a request");
    return true;
}

static bool charge(struct engine *engine, const struct decision *decision,
                   const struct request *request, struct error *error)
{
    if (!spend_charge(engine, decision->pool, request, decision->slot, error))
        return false;
    engine->stats.pairs[decision->arm]++;
    engine->stats.asked_again += decision->attempt > 1;
    engine->stats.replicas += decision->replica > 1;
    return true;
}

/* The pick is taken: the pool follows. */
static void follow(struct engine *engine, const struct decision *decision)
{
    struct pool *pool = decision->pool;
    const struct sel_pair *pair = &decision->choice.pair;
    if (engine->model.unweighted == NULL)
        engine->stats.policy_trace -=
            pair->weight * pair->policy / (1 + pair->weight * pair->variance);
    pool->picks++;
    pool->unasked -= decision->replica == 1 && pool->unasked > 0;
    pool->repeats -= decision->replica > 1 && pool->repeats > 0;
    struct sel_choice best = {0};
    working_judge(engine, pool, decision->choice.pool, &best);
    if (working_ranks_by_pair(&engine->options.selection))
        pool->score = pool->exhausted ? 0 : best.score;
}

/* In this round, by another partition that holds completions of the same names. */
static bool is_asked(const struct engine *engine, struct id request_id)
{
    const struct request *request = requests_find(&engine->requests, request_id);
    return request != NULL && request->selected;
}

/* Writes the pair and SELECTED and charges the slot; *request: NULL when it was asked elsewhere, or
 * is too large for a record even without texts: the uris are too long. Its second completion is
 * never compared again then. */
static bool write(struct engine *engine, struct decision *decision, struct request **request,
                  struct error *error)
{
    struct naming naming;
    bool fits = false;
    *request = NULL;
    name_decision(engine, decision, &naming);
    if (is_asked(engine, naming.request_id)) {
        decision->pool->scored = false;
        return true;
    }
    difference(engine, decision->pool, naming.left, naming.right);
    if (!write_pair(engine, decision, &naming, &fits, error))
        return false;
    if (!fits) {
        engine->stats.pairs_too_large++;
        decision->pool->held[decision->choice.j]->too_large = true;
        decision->pool->scored = false;
        return true;
    }
    if (decision->again == NULL)
        shadows_follow(engine, decision);
    if (!write_selected(engine, decision, &naming, request, error))
        return false;
    return charge(engine, decision, *request, error);
}

/* The request enters Sigma by way of the picker, which holds its pair. */
static bool take(struct engine *engine, const struct decision *decision, struct request *request,
                 struct error *error)
{
    const struct model *model = &engine->model;
    double omega = model_request_weight(model, request), share = omega * model->return_rate;
    engine->partitions[decision->pool->partition].bucket.open++;
    request->applied = omega * request_share(request, model->return_rate) * request->weight;
    enum sel_status status = sel_picker_take(engine->picker, &decision->choice, share);
    if (status != SEL_OK)
        return error_set(error, ERROR_FATAL, "selection: %s", sel_status_text(status));
    return model_picked(&engine->model, request, error);
}

/* The other replicas of a pair that was picked, as far as the slots reach; again.c asks the rest.
 */
static bool take_replicas(struct engine *engine, const struct decision *picked, struct error *error)
{
    const struct pool *pool = picked->pool;
    struct request *request;
    if (!again_all(&engine->options))
        return true;
    for (int32_t k = 2; k <= engine->options.labels_replicas; k++) {
        struct decision decision = *picked;
        spend_quotas(engine);
        if (!spend_allows(engine, pool))
            return true;
        decision.slot = draw_slot(engine);
        decision.replica = k;
        if (!write(engine, &decision, &request, error))
            return false;
        if (request == NULL)
            return true;
        /* The picker takes a pair once: allowed again without its first share being taken back. */
        if (sel_picker_put_back(engine->picker, &decision.choice, 0) != SEL_OK)
            return error_set(error, ERROR_FATAL, "selection: a pair taken is not held");
        if (!take(engine, &decision, request, error))
            return false;
    }
    return true;
}

bool publish_decision(struct engine *engine, struct decision *decision, bool *fits,
                      struct error *error)
{
    struct request *request;
    *fits = false;
    /* Before the slot is charged: afterwards no pool may be open to another. */
    if ((decision->arm == ARM_SELECTED && !rivals_look(engine, decision->slot, error)) ||
        !write(engine, decision, &request, error))
        return false;
    *fits = request != NULL;
    if (request == NULL)
        return true;
    if (!take(engine, decision, request, error) || !working_follow(engine, decision, error) ||
        !take_replicas(engine, decision, error))
        return false;
    follow(engine, decision);
    again_look(engine, request);
    return decision->arm != ARM_SELECTED || rivals_follow(engine, decision->slot, error);
}

/* ---- asked again ---- */

static double times(const double *matrix, const double *x, double *result, size_t d)
{
    double product = 0;
    for (size_t row = 0; row < d; row++) {
        result[row] = 0;
        for (size_t column = 0; column < d; column++)
            result[row] += matrix[row * d + column] * x[column];
        product += result[row] * x[row];
    }
    return product;
}

/* The numbers of a pair that the picker need not hold, its left side first. */
static bool measure(struct engine *engine, const struct again *again, struct sel_pair *pair,
                    struct error *error)
{
    const struct model *model = &engine->model;
    size_t d = model->space.dimension;
    double *x = malloc(3 * d * sizeof *x), *along = x + d, *image = along + d;
    if (x == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for a pair that is asked again");
    difference(engine, again->pool, again->i, again->j);
    const float *features = (const float *)engine->scratch;
    for (size_t k = 0; k < d; k++)
        x[k] = (double)features[k];
    *pair = (struct sel_pair){.margin = model_margin(model, features)};
    pair->variance = times(sel_information_inverse(model_design(model)), x, along, d);
    pair->policy = times(model->policy, along, image, d);
    bool probit = engine->options.selection.weighting == SEL_WEIGHT_PROBIT;
    double kappa = probit ? 1 / sqrt(1 + M_PI * pair->variance / 8) : 1;
    pair->weight = kappa * sel_weight_tie(kappa * pair->margin, model->lapse, model->tie);
    free(x);
    return true;
}

bool publish_again(struct engine *engine, const struct again *again, struct error *error)
{
    const struct request *before = again->request;
    struct decision decision = {.pool = again->pool,
                                .choice = {.i = again->i, .j = again->j},
                                .arm = (enum pair_arm)before->arm,
                                .propensity = request_propensity(before),
                                .slot = draw_slot(engine),
                                .replica = again->replica,
                                .attempt = again->attempt,
                                .again = before};
    struct request *request;
    if (!measure(engine, again, &decision.choice.pair, error) ||
        !write(engine, &decision, &request, error))
        return false;
    if (request != NULL)
        engine_follow_request(engine, request, false);
    return true;
}
