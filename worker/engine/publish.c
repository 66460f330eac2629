/* What a choice writes: the pair for labellers, SELECTED for the ledger. Then Sigma, the bucket and
 * the pools follow at once. */
#include <stdio.h>
#include <string.h>

#include "selection.h"

/* What a decision is called and when it ends; texts live in this struct. */
struct naming {
    char request[ID_TEXT_SIZE], pair[ID_TEXT_SIZE], reason[384];
    struct id request_id;
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

static void explain(const struct engine *engine, const struct decision *decision, double weight,
                    char *text, size_t size)
{
    const struct sel_pair *pair = &decision->choice.pair;
    const struct sel_rule *rule = engine->options.selection.rule;
    int used;
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
    size_t d = engine->model.space.dimension;
    completions_gather(engine, pool);
    const float *of_left = engine->gathered + left * d;
    const float *of_right = engine->gathered + right * d;
    float *x = (float *)engine->scratch;
    for (size_t k = 0; k < d; k++)
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
    double weight = engine->model.unweighted == NULL
                        ? decision->choice.pair.weight
                        : sel_weight_lapse(decision->choice.pair.margin, engine->model.lapse);
    naming->weight = fmin(weight, .25); /* rounding may go beyond */
    naming->part_count = 0;
    name_parts(engine, decision, swap, naming);
    explain(engine, decision, naming->weight, naming->reason, sizeof naming->reason);
}

static bool write_pair(struct engine *engine, const struct decision *decision,
                       struct naming *naming, bool *fits, struct error *error)
{
    const struct pool *pool = decision->pool;
    const struct held *left = pool->held[naming->left], *right = pool->held[naming->right];
    const struct held *newest = left->offset > right->offset ? left : right;
    const struct sel_pair *parts = &decision->choice.pair;
    const char *selector = decision->probe             ? "probe"
                           : decision->uniform != NULL ? "uniform"
                                                       : engine->options.selection.rule->name;
    bool scored = !decision->probe && decision->uniform == NULL;
    double margin = model_margin(&engine->model, (const float *)engine->scratch);
    double lapse = engine->model.lapse;
    struct pair pair = {.request_id = span_of(naming->request),
                        .pair_id = span_of(naming->pair),
                        .prompt_id = pool->prompt_id,
                        .prompt = pool->prompt_text,
                        .prompt_cut = pool->prompt_cut,
                        .left = side_of(left),
                        .right = side_of(right),
                        .replica = 1,
                        .replicas = 1,
                        .attempt = 1,
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
                        .probability_left = (1 - lapse) * sel_sigmoid(margin) + lapse / 2,
                        .propensity = decision->propensity,
                        .policy_version = held_policy_version(newest),
                        .feature_space = span_of(engine->model.space.name),
                        .issued_at = naming->time,
                        .deadline = naming->time + engine->options.labels_deadline,
                        .domain = pool->domain,
                        .cost = pair_cost(left, right),
                        .traceparent = held_traceparent(newest),
                        .tracestate = held_tracestate(newest)};
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
                                       .replica = 1,
                                       .attempt = 1,
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
    (*request)->applied = request_share(*request, engine->model.return_rate) * (*request)->weight;
    return true;
}

/* The pick is taken: the budget and the pool follow. */
static bool follow(struct engine *engine, const struct decision *decision,
                   const struct request *request, struct error *error)
{
    struct pool *pool = decision->pool;
    const struct sel_pair *pair = &decision->choice.pair;
    if (!spend_charge(engine, pool, request, decision->slot, error))
        return false;
    engine->stats.pairs[decision->arm]++;
    if (engine->model.unweighted == NULL)
        engine->stats.policy_trace -=
            pair->weight * pair->policy / (1 + pair->weight * pair->variance);
    pool->picks++;
    struct sel_choice best = {0};
    working_judge(engine, pool, decision->choice.pool, &best);
    if (working_ranks_by_pair(&engine->options.selection))
        pool->score = pool->exhausted ? 0 : best.score;
    return true;
}

bool publish_decision(struct engine *engine, struct decision *decision, bool *fits,
                      struct error *error)
{
    struct pool *pool = decision->pool;
    struct naming naming;
    struct request *request;
    name_decision(engine, decision, &naming);
    difference(engine, pool, naming.left, naming.right);
    *fits = false;
    if (!write_pair(engine, decision, &naming, fits, error))
        return false;
    if (!*fits) {
        /* Even without texts: the uris are too long. The second one is never compared again. */
        engine->stats.pairs_too_large++;
        pool->held[decision->choice.j]->too_large = true;
        pool->scored = false;
        return true;
    }
    if (!write_selected(engine, decision, &naming, &request, error))
        return false;
    enum sel_status status =
        sel_picker_take(engine->picker, &decision->choice, engine->model.return_rate);
    if (status != SEL_OK)
        return error_set(error, ERROR_FATAL, "selection: %s", sel_status_text(status));
    if (!model_picked(&engine->model, request, error))
        return false;
    return working_follow(engine, decision, error) && follow(engine, decision, request, error);
}
