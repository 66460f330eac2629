/* Greedy picks over several pools.
 *
 * At begin, M = S I S. A pick x of frozen weight w, whose label arrives with probability `share`:
 *   u = S x, v = M x, q = x' u, r = x' v, c = share w / (1 + share w q)
 *   S -= c u u', M += c^2 r u u' - c (u v' + v u'), and each open pool as candidates.c says.
 * Posterior draws psi_e are kept as deviations e = psi_e - psi ~ N(0, S). They follow a pick by
 *   e -= k (x' e) u, k = (1 - sqrt(1 - c q)) / q:  then  e ~ N(0, S - c u u'),
 * since 2 k - k^2 q = c.
 *
 * Only the pool of the pick follows it at once. Up to lazy_from open pools any other follows, pick
 * by pick (backlog.h), when it is asked about; until then its best score of before bounds what it
 * offers, where the rule's scores cannot rise, so that most pools need not be asked for the best of
 * all. Above lazy_from it is computed anew from S, and lagging.c finds the best of all.
 *
 * Invariants: M = S I S belongs to the present S, and so do G and H of every pool that does not
 * lag; M is symmetric bit for bit; a take that does not return SEL_OK changes nothing. Cost: begin
 * O(d^3); take O(d^2 + pools), and O(n d + n^2) for each pool that follows, then or later; best
 * O(1) and the pools that must follow first, or what lagging.c says. */
#include "selectors/picker.h"

#include "selectors/information.h"
#include "selectors/linear.h"

#include <string.h>

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
    picker->backlog.held = 0;
    lagging_clear(&picker->lagging);
}

static bool is_crowded(const struct sel_picker *picker)
{
    return picker->pools_used > picker_lazy_from(&picker->options);
}

/* The pool's numbers and its best pair become those of the present. */
static void catch_up(struct sel_picker *picker, struct candidates *pool)
{
    struct lagging *lagging = &picker->lagging;
    size_t missed = lagging->picks - lagging->seen[pool->best.pool];
    if (missed == 0)
        return;
    if (is_crowded(picker)) {
        lagging_catch_up(lagging, pool, &picker->round,
                         sel_information_inverse(picker->information));
        return;
    }
    backlog_follow(&picker->backlog, pool, &picker->round, missed);
    candidates_scan(pool, &picker->round);
    lagging_enter(lagging, pool, &picker->round);
}

static void catch_up_all(struct sel_picker *picker)
{
    for (size_t k = 0; k < picker->pools_used; k++)
        catch_up(picker, picker->pools + k);
    picker->backlog.held = 0;
}

enum sel_status sel_picker_open(struct sel_picker *picker, const sel_feature *phi, size_t n,
                                const uint8_t *forbidden, size_t *pool)
{
    if (picker->information == NULL || n < 2 || n > picker->options.n_max)
        return SEL_INVALID;
    if (picker->pools_used == picker->options.pools_max)
        return SEL_NO_MEMORY;
    if (picker->pools_used == picker_lazy_from(&picker->options))
        catch_up_all(picker); /* above, the backlog is not kept */
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

/* Looks at pools from the highest bound on until the first of them is up to date. */
static const struct candidates *best_of_bounded(struct sel_picker *picker)
{
    const struct lagging *lagging = &picker->lagging;
    for (;;) {
        size_t first = standings_first(&lagging->standings);
        if (lagging->standings.key[first] == -INFINITY)
            return NULL;
        if (lagging->seen[first] == lagging->picks)
            return picker->pools + first;
        catch_up(picker, picker->pools + first);
    }
}

bool sel_picker_best(struct sel_picker *picker, struct sel_choice *choice)
{
    if (picker->pools_used == 0)
        return false;
    const struct candidates *best =
        is_crowded(picker)
            ? lagging_best(&picker->lagging, picker->pools, picker->pools_used, &picker->round,
                           sel_information_inverse(picker->information))
            : best_of_bounded(picker);
    if (best == NULL)
        return false;
    *choice = best->best;
    return true;
}

double sel_picker_bound(const struct sel_picker *picker, size_t pool)
{
    if (pool >= picker->pools_used)
        return -INFINITY;
    const struct lagging *lagging = &picker->lagging;
    double key = lagging->standings.key[pool];
    bool guessed = is_crowded(picker) && lagging->seen[pool] != lagging->picks;
    return guessed && key > -INFINITY ? INFINITY : key;
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

/* What the pools but `own` offer at most after a pick. An old score is a bound up to its rounding,
 * which may be that of a difference of probabilities; that of q, 1e-16 of G, is far below a score
 * unless all that a pool has left are near-twins, and is not in it. */
static void bound_scores(struct sel_picker *picker, const struct candidates *own, bool added)
{
    const double relative = 1e-12, absolute = 1e-15;
    struct lagging *lagging = &picker->lagging;
    double *key = lagging->standings.key;
    unsigned traits = picker->options.rule->traits;
    if (picker->options.rule->randomised || (traits & SEL_STILL) != 0)
        return;
    bool falls = added && (traits & SEL_SHRINKING) != 0;
    for (size_t k = 0; k < picker->pools_used; k++) {
        if (picker->pools + k == own)
            continue;
        if (!falls)
            key[k] = INFINITY;
        else if (key[k] > -INFINITY && lagging->seen[k] + 1 == lagging->picks)
            key[k] += relative * fabs(key[k]) + absolute;
    }
    standings_settle(&lagging->standings);
}

/* The picker's pools follow a pick of `own`; see above. */
static void follow(struct sel_picker *picker, struct candidates *own,
                   const struct candidates_pick *pick)
{
    const size_t updates_max = 200; /* then rounding may have eaten digits, as in information.c */
    struct lagging *lagging = &picker->lagging;
    if (!is_crowded(picker)) {
        size_t d = picker->options.d;
        if (picker->backlog.held == BACKLOG_PICKS)
            catch_up_all(picker);
        lagging->picks++;
        backlog_add(&picker->backlog, pick, d, picker->round.draws);
        bound_scores(picker, own, pick->c >= 0);
        catch_up(picker, own);
        return;
    }
    lagging_fall_behind(lagging, picker->pools_used, &picker->round, pick);
    if (lagging->seen[own->best.pool] + 1 != lagging->picks || own->updates >= updates_max) {
        catch_up(picker, own);
        return;
    }
    candidates_update(own, &picker->round, pick);
    candidates_scan(own, &picker->round);
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
