/* Greedy picks over several pools.
 *
 * At begin, M = S I S. A pick x of frozen weight w, whose label arrives with probability `share`:
 *   u = S x, v = M x, q = x' u, r = x' v, c = share w / (1 + share w q)
 *   S -= c u u', M += c^2 r u u' - c (u v' + v u'), and each open pool as candidates.c says.
 * Posterior draws psi_e are kept as deviations e = psi_e - psi ~ N(0, S). They follow a pick by
 *   e -= k (x' e) u, k = (1 - sqrt(1 - c q)) / q:  then  e ~ N(0, S - c u u'),
 * since 2 k - k^2 q = c.
 *
 * Up to lazy_from open pools all of them follow each pick at once. Above, only the pool of the pick
 * does; any other is computed anew from S when it is asked about, and lagging.c finds the best of
 * all.
 *
 * Invariants: M = S I S belongs to the present S, and so do G and H of every pool that does not
 * lag; M is symmetric bit for bit; a take that does not return SEL_OK changes nothing. Cost: begin
 * O(d^3); take O(d^2), and O(n d + n^2) for each pool that follows; best O(1), or what lagging.c
 * says. One allocation holds everything; see lay_out. */
#include "selectors/candidates.h"
#include "selectors/information.h"
#include "selectors/lagging.h"
#include "selectors/linear.h"
#include "selectors/rows.h"
#include "selectors/rules/rules.h"

#include <stdlib.h>
#include <string.h>

struct sel_picker {
    struct sel_picker_options options;
    struct sel_information *information; /* the caller's, from begin on; NULL: no round */
    size_t pools_used;
    struct candidates *pools;
    struct candidates_round round;
    struct lagging lagging;
    double *square; /* d x d: S I, then a factor of S */
    double *shift;  /* of each draw */
    uint64_t key;
    uint64_t stream;
    double *image;  /* d: v */
    double *wide;   /* d: x, widened */
    sel_feature *x; /* d */
    void *memory;   /* holds all of the above */
};

/* ---- memory ---- */

/* Parts are cut from one block; without a base only the size is counted. */
struct arena {
    char *base;
    size_t size;
    bool overflow;
};

static void *cut(struct arena *arena, size_t count, size_t size)
{
    const size_t alignment = 64;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, alignment - 1, &bytes)) {
        arena->overflow = true;
        return NULL;
    }
    bytes -= bytes % alignment;
    size_t from = arena->size;
    arena->overflow |= __builtin_add_overflow(arena->size, bytes, &arena->size);
    return arena->base == NULL ? NULL : arena->base + from;
}

static size_t draws_of(const struct sel_picker_options *options)
{
    const size_t draws_default = 16;
    if ((options->rule->needs & SEL_NEEDS(SEL_DRAWS)) == 0)
        return 0;
    return options->draws_max > 0 ? options->draws_max : draws_default;
}

static size_t lazy_from(const struct sel_picker_options *options)
{
    const size_t lagging_default = 256;
    return options->lazy_from > 0 ? options->lazy_from : lagging_default;
}

static void cut_pool(struct arena *arena, struct candidates *pool,
                     const struct sel_picker_options *options)
{
    size_t n = options->n_max;
    size_t d = options->d;
    unsigned needs = options->rule->needs | SEL_NEEDS(SEL_COST);
    pool->phi = cut(arena, n * d, sizeof(sel_feature));
    pool->gram.g = cut(arena, n * n, sizeof(double));
    pool->gram.h = cut(arena, n * n, sizeof(double));
    pool->reward = cut(arena, n, sizeof(double));
    pool->weight = cut(arena, candidates_pairs(n), sizeof(double));
    pool->allowed = cut(arena, candidates_pairs(n), sizeof(uint8_t));
    pool->score = NULL;
    if (options->rule->score == NULL)
        pool->score = cut(arena, candidates_pairs(n), sizeof(double));
    pool->deviation = cut(arena, draws_of(options), n * sizeof(double));
    for (size_t k = 0; k < SEL_INPUTS; k++) {
        pool->inputs[k] = NULL;
        if ((needs & SEL_NEEDS(k)) != 0)
            pool->inputs[k] =
                cut(arena, k == SEL_DRAWS ? draws_of(options) : 1, n * sizeof(double));
    }
}

/* What view.c needs. */
static void lay_out_view(struct arena *arena, struct candidates_round *round,
                         const struct sel_picker_options *options)
{
    size_t n = options->n_max;
    round->draws = draws_of(options);
    round->ensemble = cut(arena, round->draws, options->d * sizeof(double));
    round->rewards = cut(arena, round->draws, n * sizeof(double));
    round->pairs = cut(arena, candidates_pairs(n), sizeof(struct sel_pair));
    round->scores = cut(arena, candidates_pairs(n), sizeof(double));
    round->width = cut(arena, n, sizeof(double));
    round->scratch = cut(arena, sel_view_scratch(n), sizeof(double));
}

static void lay_out_lagging(struct arena *arena, struct lagging *lagging,
                            const struct sel_picker_options *options)
{
    size_t pools = options->pools_max;
    lagging->standings.leaves = standings_leaves(pools);
    lagging->standings.key = cut(arena, lagging->standings.leaves, sizeof(double));
    lagging->standings.winner = cut(arena, lagging->standings.leaves, 2 * sizeof(uint32_t));
    lagging->seen = cut(arena, pools, sizeof(size_t));
    if (pools <= lazy_from(options))
        return;
    double **const numbers[] = {&lagging->weight,   &lagging->variance, &lagging->policy,
                                &lagging->margin,   &lagging->score,    lagging->price,
                                lagging->price + 1, &lagging->g,        &lagging->h};
    for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
        *numbers[k] = cut(arena, pools, sizeof(double));
    if (options->rule->score != NULL)
        lagging->x = cut(arena, pools, options->d * sizeof(sel_feature));
}

/* Everything but the pools' own parts, and these too once there is a base. */
static void lay_out(struct arena *arena, struct sel_picker *picker)
{
    size_t d = picker->options.d;
    size_t n = picker->options.n_max;
    picker->pools = cut(arena, picker->options.pools_max, sizeof(struct candidates));
    picker->round.policy_inverse = cut(arena, d * d, sizeof(double));
    picker->round.centred = cut(arena, n * d, sizeof(double));
    picker->round.product = cut(arena, n * d, sizeof(double));
    picker->round.room = cut(arena, rows_scratch(n, d), sizeof(double));
    picker->round.mean = cut(arena, d, sizeof(double));
    picker->round.g = cut(arena, n, sizeof(double));
    picker->round.h = cut(arena, n, sizeof(double));
    picker->round.twin = cut(arena, n, sizeof(size_t));
    picker->round.mark = cut(arena, n, sizeof(uint64_t));
    picker->round.g_diagonal = cut(arena, n, sizeof(double));
    picker->round.h_diagonal = cut(arena, n, sizeof(double));
    picker->round.variance = cut(arena, n + CANDIDATES_BLOCK, sizeof(double));
    picker->round.policy = cut(arena, n + CANDIDATES_BLOCK, sizeof(double));
    picker->round.block_scores = cut(arena, n + CANDIDATES_BLOCK, sizeof(double));
    picker->square = cut(arena, d * d, sizeof(double));
    picker->image = cut(arena, d, sizeof(double));
    picker->wide = cut(arena, d, sizeof(double));
    picker->x = cut(arena, d, sizeof(sel_feature));
    picker->shift = cut(arena, draws_of(&picker->options), sizeof(double));
    lay_out_view(arena, &picker->round, &picker->options);
    lay_out_lagging(arena, &picker->lagging, &picker->options);
    for (size_t k = 0; arena->base != NULL && k < picker->options.pools_max; k++)
        cut_pool(arena, picker->pools + k, &picker->options);
}

size_t sel_picker_bytes(const struct sel_picker_options *options)
{
    const size_t side_max = 1 << 15; /* keeps n n, n d and d d far from overflow */
    const size_t pools_most = 1 << 30;
    if (options->d == 0 || options->d > side_max || options->n_max < 2 ||
        options->n_max > side_max || options->pools_max == 0 || options->pools_max > pools_most ||
        options->draws_max > side_max)
        return 0;
    if (options->rule == NULL || !sel_rule_is_of_pools(options->rule))
        return 0;
    struct sel_picker picker = {.options = *options};
    struct arena all = {0};
    lay_out(&all, &picker);
    struct arena one = {0};
    struct candidates pool;
    cut_pool(&one, &pool, options);
    cut(&all, options->pools_max, one.size);
    return all.overflow || one.overflow ? 0 : all.size + sizeof picker;
}

struct sel_picker *sel_picker_new(const struct sel_picker_options *options)
{
    size_t bytes = sel_picker_bytes(options);
    if (bytes == 0 || !(options->weight_min >= 0) || !(options->beta >= 0))
        return NULL;
    if ((options->rule->traits & SEL_NEEDS_BETA) != 0 && !(options->beta > 0))
        return NULL;
    double parameters[SEL_PARAMETERS_MAX];
    if (!rule_parameters(options->rule, options->parameters, parameters))
        return NULL;
    struct sel_picker *picker = calloc(1, sizeof *picker);
    if (picker == NULL)
        return NULL;
    picker->options = *options;
    picker->round.options = &picker->options;
    picker->memory = aligned_alloc(64, bytes - sizeof *picker);
    if (picker->memory == NULL) {
        free(picker);
        return NULL;
    }
    struct arena arena = {.base = picker->memory};
    lay_out(&arena, picker);
    lagging_init(&picker->lagging, options->n_max, options->d);
    memcpy(picker->round.parameters, parameters, sizeof parameters);
    return picker;
}

void sel_picker_free(struct sel_picker *picker)
{
    if (picker == NULL)
        return;
    free(picker->memory);
    free(picker);
}

/* ---- rounds ---- */

enum sel_status sel_picker_ties(struct sel_picker *picker, double tie)
{
    if (!(tie >= 0) || !isfinite(tie))
        return SEL_INVALID;
    picker->round.tie = tie;
    return SEL_OK;
}

enum sel_status sel_picker_begin(struct sel_picker *picker, struct sel_information *information,
                                 const double *policy, const double *psi, double lapse)
{
    size_t d = picker->options.d;
    picker->information = NULL;
    sel_picker_clear(picker);
    if (sel_information_dimension(information) != d || !(lapse >= 0 && lapse < 1))
        return SEL_INVALID;
    picker->round.psi = psi;
    picker->round.lapse = lapse;

    blasint n = (blasint)d;
    const double *inverse = sel_information_inverse(information);
    double *out = picker->round.policy_inverse;
    if ((picker->options.rule->traits & SEL_IDENTITY) != 0)
        memcpy(picker->square, inverse, d * d * sizeof(double));
    else
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, inverse, n, policy, n, 0,
                    picker->square, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, picker->square, n, inverse,
                n, 0, out, n);
    linear_mirror(out, d);
    for (size_t k = 0; k < d; k++)
        if (!isfinite(out[k * d + k]) || !isfinite(psi[k]))
            return SEL_INVALID;
    struct sel_random random = sel_random_init(picker->key, picker->stream);
    if (picker->round.draws > 0 &&
        sel_information_draw(information, NULL, picker->round.draws, &random,
                             picker->round.ensemble, picker->square) != SEL_OK)
        return SEL_SINGULAR;
    picker->information = information;
    return SEL_OK;
}

void sel_picker_seed(struct sel_picker *picker, uint64_t key, uint64_t stream)
{
    picker->key = key;
    picker->stream = stream;
}

void sel_picker_clear(struct sel_picker *picker)
{
    picker->pools_used = 0;
    lagging_clear(&picker->lagging);
}

/* With few pools open none lags, and this does nothing. */
static void catch_up(struct sel_picker *picker, struct candidates *pool)
{
    lagging_catch_up(&picker->lagging, pool, &picker->round,
                     sel_information_inverse(picker->information));
}

enum sel_status sel_picker_open(struct sel_picker *picker, const sel_feature *phi, size_t n,
                                const uint8_t *forbidden, size_t *pool)
{
    if (picker->information == NULL || n < 2 || n > picker->options.n_max)
        return SEL_INVALID;
    if (picker->pools_used == picker->options.pools_max)
        return SEL_NO_MEMORY;
    struct candidates *candidates = picker->pools + picker->pools_used;
    candidates->best.pool = picker->pools_used;
    const double *inverse = sel_information_inverse(picker->information);
    enum sel_status status =
        candidates_open(candidates, &picker->round, inverse, phi, n, forbidden);
    if (status != SEL_OK)
        return status;
    lagging_enter(&picker->lagging, candidates, &picker->round);
    *pool = picker->pools_used++;
    return SEL_OK;
}

static bool is_open(const struct sel_picker *picker, const struct sel_choice *choice)
{
    if (choice->pool >= picker->pools_used || choice->i >= choice->j)
        return false;
    const struct candidates *pool = picker->pools + choice->pool;
    size_t n = pool->gram.n;
    return choice->j < n && pool->allowed[candidates_index(n, choice->i, choice->j)];
}

bool sel_picker_best_of(struct sel_picker *picker, size_t pool, struct sel_choice *choice)
{
    if (sel_picker_allowed(picker, pool) == 0)
        return false;
    catch_up(picker, picker->pools + pool);
    if (!picker->pools[pool].found)
        return false;
    *choice = picker->pools[pool].best;
    return true;
}

bool sel_picker_best(struct sel_picker *picker, struct sel_choice *choice)
{
    if (picker->pools_used == 0)
        return false;
    const struct candidates *best =
        lagging_best(&picker->lagging, picker->pools, picker->pools_used, &picker->round,
                     sel_information_inverse(picker->information));
    if (best == NULL)
        return false;
    *choice = best->best;
    return true;
}

size_t sel_picker_allowed(const struct sel_picker *picker, size_t pool)
{
    return pool < picker->pools_used ? picker->pools[pool].open_pairs : 0;
}

bool sel_picker_pair(struct sel_picker *picker, size_t pool, size_t k, struct sel_choice *choice)
{
    if (k >= sel_picker_allowed(picker, pool))
        return false;
    catch_up(picker, picker->pools + pool);
    *choice = candidates_at(picker->pools + pool, &picker->round, pool, k);
    return true;
}

size_t sel_picker_scores(struct sel_picker *picker, size_t pool, double *scores)
{
    if (pool >= picker->pools_used)
        return 0;
    const struct candidates *candidates = picker->pools + pool;
    catch_up(picker, picker->pools + pool);
    size_t n = candidates->gram.n, index = 0;
    for (size_t i = 0; i + 1 < n; i++)
        for (size_t j = i + 1; j < n; j++, index++)
            scores[index] = candidates->allowed[index]
                                ? candidates_score(candidates, &picker->round, i, j)
                                : -INFINITY;
    return index;
}

bool sel_picker_choice(struct sel_picker *picker, size_t pool, size_t i, size_t j,
                       struct sel_choice *choice)
{
    struct sel_choice wanted = {.pool = pool, .i = i, .j = j};
    if (!is_open(picker, &wanted))
        return false;
    catch_up(picker, picker->pools + pool);
    const struct candidates *candidates = picker->pools + pool;
    wanted.score = candidates_score(candidates, &picker->round, i, j);
    wanted.pair = candidates_pair(candidates, &picker->round, i, j);
    *choice = wanted;
    return true;
}

enum sel_status sel_picker_give(struct sel_picker *picker, size_t pool, enum sel_input input,
                                const double *values)
{
    if (pool >= picker->pools_used || (unsigned)input >= SEL_INPUTS)
        return SEL_INVALID;
    struct candidates *candidates = picker->pools + pool;
    size_t count = candidates->gram.n * (input == SEL_DRAWS ? picker->round.draws : 1);
    if (candidates->inputs[input] == NULL)
        return SEL_OK; /* of no use to this rule */
    for (size_t k = 0; k < count; k++)
        if (!isfinite(values[k]) || (input == SEL_COST && !(values[k] > 0)))
            return SEL_INVALID;
    memcpy(candidates->inputs[input], values, count * sizeof *values);
    candidates->given |= SEL_NEEDS(input);
    catch_up(picker, candidates);
    candidates_scan(candidates, &picker->round);
    lagging_enter(&picker->lagging, candidates, &picker->round);
    return SEL_OK;
}

/* ---- probabilities ---- */

double sel_picker_distribution(struct sel_picker *picker, size_t pool, double *probability)
{
    if (pool >= picker->pools_used)
        return 0;
    struct candidates *candidates = picker->pools + pool;
    const struct sel_rule *rule = picker->options.rule;
    catch_up(picker, candidates);
    size_t pairs = candidates_pairs(candidates->gram.n);
    double sum = 0;
    for (size_t k = 0; k < pairs; k++) {
        probability[k] = 0;
        if (rule->randomised && candidates->allowed[k])
            probability[k] = 1 / (double)candidates->open_pairs;
        else if (rule->distribution != NULL && candidates->found && candidates->allowed[k])
            probability[k] = candidates->score[k];
        sum += probability[k];
    }
    if (rule->randomised || rule->distribution != NULL || !candidates->found)
        return sum;
    size_t index = candidates_index(candidates->gram.n, candidates->best.i, candidates->best.j);
    probability[index] = 1;
    return 1;
}

bool sel_picker_draw(struct sel_picker *picker, size_t pool, struct sel_random *random,
                     struct sel_choice *choice, double *probability)
{
    double *each = picker->round.scores;
    double sum = sel_picker_distribution(picker, pool, each);
    double left = sel_random_uniform(random);
    if (left >= 1 - 1e-12 && sum > 1 - 1e-12)
        left = 0; /* what rounding lacks of 1 is not a skip */
    size_t n = sum > 0 ? picker->pools[pool].gram.n : 0;
    size_t index = 0;
    for (size_t i = 0; i + 1 < n; i++)
        for (size_t j = i + 1; j < n; j++, index++) {
            if (left < each[index]) {
                struct candidates *candidates = picker->pools + pool;
                struct sel_pair pair = candidates_pair(candidates, &picker->round, i, j);
                *choice = (struct sel_choice){pool, i, j, each[index], pair};
                if (probability != NULL)
                    *probability = each[index];
                return true;
            }
            left -= each[index];
        }
    return false;
}

size_t sel_picker_explain(const struct sel_picker *picker, const struct sel_choice *choice,
                          struct sel_part parts[SEL_PARTS])
{
    if (choice->pool >= picker->pools_used)
        return 0;
    const struct candidates *pool = picker->pools + choice->pool;
    const struct sel_part all[] = {
        {"score", choice->score},
        {"weight", choice->pair.weight},
        {"variance", choice->pair.variance},
        {"policy", choice->pair.policy},
        {"margin", choice->pair.margin},
        {"reward_left", pool->reward[choice->i]},
        {"reward_right", pool->reward[choice->j]},
    };
    size_t count = sizeof all / sizeof all[0];
    memcpy(parts, all, sizeof all);
    if ((pool->given & SEL_NEEDS(SEL_COST)) != 0)
        parts[count++] = (struct sel_part){"cost", pool->inputs[SEL_COST][choice->i] +
                                                       pool->inputs[SEL_COST][choice->j]};
    return count;
}

/* ---- a pick ---- */

/* M += c^2 r u u' - c (u v' + v u'); products of two coordinates come first, and are commutative.
 */
static void update_policy_inverse(struct sel_picker *picker, const struct candidates_pick *pick)
{
    size_t d = picker->options.d;
    const double *u = pick->u;
    const double *v = pick->v;
    double square = pick->c * pick->c * pick->r;
    for (size_t i = 0; i < d; i++) {
        double *restrict row = picker->round.policy_inverse + i * d;
        double ui = u[i];
        double vi = v[i];
        for (size_t j = 0; j < d; j++)
            row[j] += square * (ui * u[j]) - pick->c * (ui * v[j] + vi * u[j]);
    }
}

/* Moves the draws of the round and finds by how much those of the pools move. */
static void update_draws(struct sel_picker *picker, const double *u, double c, double q)
{
    size_t d = picker->options.d;
    double factor = q > 0 ? (1 - sqrt(fmax(0, 1 - c * q))) / q : 0;
    for (size_t e = 0; e < picker->round.draws; e++) {
        double *deviation = picker->round.ensemble + e * d;
        picker->shift[e] = factor * linear_dot(picker->wide, deviation, d);
        cblas_daxpy((blasint)d, -picker->shift[e], u, 1, deviation, 1);
    }
}

/* All pools follow a pick of `own` at once; where they are many only `own` does. */
static void follow(struct sel_picker *picker, struct candidates *own,
                   const struct candidates_pick *pick)
{
    const size_t updates_max = 200; /* then rounding may have eaten digits, as in information.c */
    struct lagging *lagging = &picker->lagging;
    if (picker->pools_used <= lazy_from(&picker->options)) {
        lagging->picks++;
        for (size_t k = 0; k < picker->pools_used; k++) {
            candidates_update(picker->pools + k, &picker->round, pick);
            lagging_enter(lagging, picker->pools + k, &picker->round);
        }
        return;
    }
    lagging_fall_behind(lagging, picker->pools_used, &picker->round, pick);
    if (lagging->seen[own->best.pool] + 1 != lagging->picks || own->updates >= updates_max) {
        catch_up(picker, own);
        return;
    }
    candidates_update(own, &picker->round, pick);
    lagging_enter(lagging, own, &picker->round);
}

/* Sigma + weight x x' of pair (i, j), weight of either sign, and all that follows from Sigma. */
static enum sel_status change(struct sel_picker *picker, struct candidates *pool, size_t i,
                              size_t j, double weight)
{
    size_t d = picker->options.d;
    /* Rounded like the vector that the caller's list keeps, so that Sigma equals that list. */
    for (size_t k = 0; k < d; k++)
        picker->x[k] = pool->phi[i * d + k] - pool->phi[j * d + k];
    linear_widen(picker->x, picker->wide, d);
    linear_apply(picker->round.policy_inverse, d, picker->wide, picker->image);
    double r = fmax(0, linear_dot(picker->wide, picker->image, d));
    enum sel_status status = weight >= 0
                                 ? sel_information_add(picker->information, picker->x, weight)
                                 : sel_information_remove(picker->information, picker->x, -weight);
    if (status != SEL_OK)
        return status;

    double variance;
    const double *u = information_direction(picker->information, &variance);
    struct candidates_pick pick = {u, picker->image, weight / (1 + weight * variance), r,
                                   picker->shift};
    update_policy_inverse(picker, &pick);
    update_draws(picker, u, pick.c, variance);
    follow(picker, pool, &pick);
    return SEL_OK;
}

enum sel_status sel_picker_take(struct sel_picker *picker, const struct sel_choice *choice,
                                double share)
{
    if (!is_open(picker, choice) || !(share >= 0 && share <= 1))
        return SEL_INVALID;
    struct candidates *pool = picker->pools + choice->pool;
    size_t index = candidates_index(pool->gram.n, choice->i, choice->j);
    candidates_set_allowed(pool, index, false); /* before the pools look for their best pairs */
    enum sel_status status =
        change(picker, pool, choice->i, choice->j, share * pool->weight[index]);
    if (status != SEL_OK)
        candidates_set_allowed(pool, index, true);
    return status;
}

enum sel_status sel_picker_put_back(struct sel_picker *picker, const struct sel_choice *choice,
                                    double share)
{
    if (choice->pool >= picker->pools_used || choice->i >= choice->j || !(share >= 0 && share <= 1))
        return SEL_INVALID;
    struct candidates *pool = picker->pools + choice->pool;
    if (choice->j >= pool->gram.n)
        return SEL_INVALID;
    size_t index = candidates_index(pool->gram.n, choice->i, choice->j);
    if (pool->allowed[index])
        return SEL_INVALID;
    candidates_set_allowed(pool, index, true);
    enum sel_status status =
        change(picker, pool, choice->i, choice->j, -share * pool->weight[index]);
    if (status != SEL_OK)
        candidates_set_allowed(pool, index, false);
    return status;
}
