/* Greedy choice from a list: the same picks as scoring all candidates after every pick, a block of
 * picks for each pass over the candidates.
 *
 * q_k = x_k' S x_k, r_k = x_k' V x_k, V = S I S. A pick x of weight w makes of them, with u = S x,
 * v = V x, q and rho of the pick, c = w / (1 + w q), g_k = x_k' u, h_k = x_k' v:
 *   q_k -= c g_k^2, r_k += c^2 rho g_k^2 - 2 c g_k h_k
 *   S -= c u u', V += c^2 rho u u' - c (u v' + v u')
 * A panel: the candidates of highest score make a list; up to GREEDY_LOG picks are chosen from the
 * list alone, O(list d + d^2) each; then one pass of matrix products brings all candidates past
 * them and finds the first step at which another candidate scores as high as the pick did. The
 * picks before that step stand, since all candidates were looked at; those from it on are undone.
 * The first pick of a panel is the best of all candidates, so a panel without progress is none.
 *
 * Invariant: what stands is what the plain greedy choice picks, up to rounding: scores within TIE
 * of the highest count as equal, and the first of them is picked. Cost: O(N d^2 + d^3) at first, 4
 * N d a pick at the rate of matrix products, twice that for picks that are undone. */
#include "selectors/greedy.h"

#include "selectors/linear.h"
#include "selectors/rules/rules.h"
#include "selectors/sort.h"

#include <string.h>

static const double TIE = 1e-12;
enum { LIST_LEAST = 64, LIST_SHARE = 64, STEPS_FIRST = 8, SAMPLE = 1024 };

size_t greedy_list_most(size_t count)
{
    size_t most = LIST_LEAST + count / LIST_SHARE;
    return count < most ? count : most;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Rows of a block times d, or the products of a block with the log. */
static size_t block_room(size_t d)
{
    return LINEAR_BLOCK * larger(d, 2 * GREEDY_LOG + 1);
}

size_t greedy_room(const struct sel_set *largest)
{
    size_t d = largest->d;
    size_t most = greedy_list_most(largest->count) + 1;
    return 2 * d * d + 7 * largest->count + block_room(d) + 2 * GREEDY_LOG * d + most * (d + 5);
}

struct greedy greedy_of(const struct sel_set *set, const struct sel_rule *rule)
{
    size_t d = set->d;
    size_t count = set->count;
    size_t most = greedy_list_most(count);
    struct greedy greedy = {.set = set, .rule = rule, .inverse = set->scratch};
    greedy.of_policy = (rule->traits & SEL_SHRINKING) == 0;
    greedy.square = greedy.inverse + d * d;
    greedy.w = greedy.square + d * d;
    greedy.score = greedy.w + count;
    greedy.q = greedy.score + count;
    greedy.r = greedy.q + count;
    greedy.next_q = greedy.r + count;
    greedy.next_r = greedy.next_q + count;
    greedy.watched = greedy.next_r + count;
    greedy.block = greedy.watched + count;
    greedy.u = greedy.block + block_room(d);
    greedy.v = greedy.u + GREEDY_LOG * d;
    greedy.list = (struct greedy_list){.most = most, .member = set->integers};
    greedy.list.x = greedy.v + GREEDY_LOG * d;
    greedy.list.q = greedy.list.x + (most + 1) * d;
    greedy.list.r = greedy.list.q + most + 1;
    greedy.list.score = greedy.list.r + most + 1;
    greedy.list.g = greedy.list.score + most + 1;
    greedy.list.h = greedy.list.g + most + 1;
    greedy.rest = greedy.list.h + most + 1;
    memcpy(greedy.inverse, set->inverse, d * d * sizeof(double));
    memset(greedy.r, 0, count * sizeof(double));
    memset(greedy.watched, 0, count * sizeof(double));
    for (size_t k = 0; k < count; k++) {
        greedy.w[k] = (rule->traits & SEL_UNWEIGHTED) != 0 ? 1 : set->weight[k];
        greedy.score[k] = 0;
    }
    return greedy;
}

double greedy_score(const struct greedy *greedy, size_t k, double q, double r)
{
    struct sel_pair pair = {greedy->w[k], q, r, greedy->set->margin[k], greedy->set->parameters};
    return greedy->rule->score(&pair);
}

static bool is_policy_trace(const struct sel_rule *rule)
{
    return rule == &rule_policy_trace || rule == &rule_aopt;
}

/* Scores of the rows from ... from + rows; q and r are of these rows. */
static void score_rows(const struct greedy *greedy, size_t from, size_t rows, const double *q,
                       const double *r, double *score)
{
    const double *w = greedy->w + from;
    if (is_policy_trace(greedy->rule))
        for (size_t k = 0; k < rows; k++)
            score[k] = w[k] * r[k] / (1 + w[k] * q[k]);
    else
        for (size_t k = 0; k < rows; k++)
            score[k] = greedy_score(greedy, from + k, q[k], r[k]);
}

/* ---- the log ---- */

void greedy_flush(struct greedy *greedy)
{
    size_t d = greedy->set->d;
    blasint n = (blasint)d;
    blasint rows = (blasint)greedy->logged;
    double *scaled = greedy->block;
    for (size_t s = 0; s < greedy->logged && greedy->of_policy; s++)
        for (size_t k = 0; k < d; k++)
            scaled[s * d + k] =
                greedy->c[s] * greedy->c[s] * greedy->rho[s] / 2 * greedy->u[s * d + k] -
                greedy->c[s] * greedy->v[s * d + k];
    if (greedy->of_policy) {
        cblas_dsyr2k(CblasRowMajor, CblasLower, CblasTrans, n, rows, 1, greedy->u, n, scaled, n, 1,
                     greedy->square, n);
        linear_mirror(greedy->square, d);
    }
    for (size_t s = 0; s < greedy->logged; s++)
        for (size_t k = 0; k < d; k++)
            scaled[s * d + k] = sqrt(greedy->c[s]) * greedy->u[s * d + k];
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, n, rows, -1, scaled, n, 1, greedy->inverse,
                n);
    linear_mirror(greedy->inverse, d);
    greedy->logged = 0;
}

/* Adds the pick x to the log: u and v as S and V stand after the picks that are in it. */
static void log_pick(struct greedy *greedy, const double *x, double w)
{
    size_t d = greedy->set->d;
    size_t logged = greedy->logged;
    double *u = greedy->u + logged * d;
    double *v = greedy->v + logged * d;
    linear_apply(greedy->inverse, d, x, u);
    if (greedy->of_policy)
        linear_apply(greedy->square, d, x, v);
    for (size_t s = 0; s < logged; s++) {
        const double *old_u = greedy->u + s * d;
        const double *old_v = greedy->v + s * d;
        double c = greedy->c[s];
        double g = linear_dot(old_u, x, d);
        cblas_daxpy((blasint)d, -c * g, old_u, 1, u, 1);
        if (!greedy->of_policy)
            continue;
        double h = linear_dot(old_v, x, d);
        cblas_daxpy((blasint)d, c * c * greedy->rho[s] * g - c * h, old_u, 1, v, 1);
        cblas_daxpy((blasint)d, -c * g, old_v, 1, v, 1);
    }
    double q = fmax(0, linear_dot(x, u, d));
    greedy->c[logged] = w / (1 + w * q);
    greedy->rho[logged] = greedy->of_policy ? fmax(0, linear_dot(x, v, d)) : 0;
    greedy->logged++;
}

/* ---- the list ---- */

static void sink(const double *score, size_t *heap, size_t root, size_t count)
{
    size_t place = heap[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && score[heap[child + 1]] < score[heap[child]])
            child++;
        if (score[heap[child]] >= score[place])
            break;
        heap[root] = heap[child];
    }
    heap[root] = place;
}

/* A value that about `most` of the scores are above, by a sample. */
static double sampled_bar(const double *score, size_t count, size_t most)
{
    double lowest[SAMPLE]; /* of the sample's negatives, a heap */
    size_t held = 0;
    size_t wanted = most * SAMPLE / count + 2;
    if (wanted >= SAMPLE)
        return -INFINITY;
    for (size_t k = 0; k < SAMPLE; k++) {
        double value = -score[k * count / SAMPLE];
        if (held < wanted) {
            lowest[held++] = isnan(value) ? INFINITY : value;
            for (size_t root = held == wanted ? held / 2 : 0; root-- > 0;)
                sort_sink(lowest, root, held);
        } else if (value < lowest[0]) {
            lowest[0] = value;
            sort_sink(lowest, 0, held);
        }
    }
    return -lowest[0];
}

double greedy_above(const double *score, size_t count, size_t most, size_t *places, size_t *found)
{
    double bar = count > 2 * SAMPLE ? sampled_bar(score, count, most) : -INFINITY;
    size_t held = 0;
    for (size_t k = 0; k < count; k++) {
        places[held] = k;
        held += score[k] > bar;
    }
    *found = held;
    return bar;
}

double greedy_top(const double *score, size_t count, size_t most, size_t *places, size_t *found)
{
    double bar = greedy_above(score, count, most + most / 4, places, found);
    if (*found < most && bar > -INFINITY) /* the sample was not like the rest */
        bar = greedy_above(score, count, count, places, found);
    if (*found <= most)
        return bar;
    for (size_t root = most / 2; root-- > 0;)
        sink(score, places, root, most);
    for (size_t k = most; k < *found; k++)
        if (score[places[k]] > score[places[0]]) {
            places[0] = places[k];
            sink(score, places, 0, most);
        }
    *found = most;
    return score[places[0]];
}

size_t greedy_best_member(const struct greedy *greedy)
{
    const struct greedy_list *list = &greedy->list;
    double highest = -INFINITY;
    for (size_t k = 0; k < list->count; k++)
        highest = list->score[k] > highest ? list->score[k] : highest;
    double bar = highest - TIE * fabs(highest);
    size_t best = list->count;
    for (size_t k = 0; k < list->count && highest > -INFINITY; k++)
        if (list->score[k] >= bar && (best == list->count || list->member[k] < list->member[best]))
            best = k;
    return best;
}

void greedy_take(struct greedy *greedy, size_t member)
{
    struct greedy_list *list = &greedy->list;
    size_t d = greedy->set->d;
    size_t step = greedy->logged;
    blasint rows = (blasint)list->count;
    greedy->bar[step] = list->score[member] - TIE * fabs(list->score[member]);
    log_pick(greedy, list->x + member * d, greedy->w[list->member[member]]);
    double c = greedy->c[step];
    double rho = greedy->rho[step];
    cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, (blasint)d, 1, list->x, (blasint)d,
                greedy->u + step * d, 1, 0, list->g, 1);
    if (greedy->of_policy)
        cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, (blasint)d, 1, list->x, (blasint)d,
                    greedy->v + step * d, 1, 0, list->h, 1);
    for (size_t k = 0; k < list->count; k++) {
        double g = list->g[k];
        list->q[k] = fmax(0, list->q[k] - c * g * g);
        if (greedy->of_policy)
            list->r[k] = fmax(0, list->r[k] + c * c * rho * g * g - 2 * c * g * list->h[k]);
        if (!isnan(list->score[k]))
            list->score[k] = greedy_score(greedy, list->member[k], list->q[k], list->r[k]);
    }
    list->score[member] = NAN;
}

static size_t first_of_best(const double *score, size_t count)
{
    double highest = -INFINITY;
    for (size_t k = 0; k < count; k++)
        highest = score[k] > highest ? score[k] : highest;
    double bar = highest - TIE * fabs(highest);
    for (size_t k = 0; k < count && highest > -INFINITY; k++)
        if (score[k] >= bar)
            return k;
    return count;
}

/* The candidates of highest score, and `first`. */
static void fill_list(struct greedy *greedy, size_t first)
{
    struct greedy_list *list = &greedy->list;
    size_t d = greedy->set->d;
    for (size_t k = 0; k < list->count; k++)
        greedy->watched[list->member[k]] = 0;
    size_t *places = greedy->set->integers + greedy->set->count + 1;
    greedy_top(greedy->score, greedy->set->count, list->most, places, &list->count);
    memcpy(list->member, places, list->count * sizeof *places);
    bool held = false;
    for (size_t k = 0; k < list->count; k++)
        held |= list->member[k] == first;
    if (!held)
        list->member[list->count++] = first;
    for (size_t k = 0; k < list->count; k++) {
        size_t place = list->member[k];
        greedy->watched[place] = 1;
        memcpy(list->x + k * d, greedy->set->x + place * d, d * sizeof(double));
        list->q[k] = greedy->q[place];
        list->r[k] = greedy->r[place];
        list->score[k] = greedy->score[place];
    }
}

/* ---- passes over all candidates ---- */

/* q and r of all from S and V. */
static void score_all(struct greedy *greedy)
{
    const struct sel_set *set = greedy->set;
    linear_forms(greedy->inverse, set->d, set->x, set->count, greedy->block, greedy->q);
    if (greedy->of_policy)
        linear_forms(greedy->square, set->d, set->x, set->count, greedy->block, greedy->r);
    for (size_t k = 0; k < set->count; k++)
        if (!isnan(greedy->score[k]))
            greedy->score[k] = greedy_score(greedy, k, greedy->q[k], greedy->r[k]);
}

/* Whether a candidate off the list is at the bar of a step. */
static bool is_passed(const struct greedy *greedy, size_t from, size_t rows, size_t step,
                      double *score)
{
    double bar = greedy->bar[step];
    size_t above = 0;
    score_rows(greedy, from, rows, greedy->next_q + from, greedy->next_r + from, score);
    for (size_t k = 0; k < rows; k++)
        above +=
            (score[k] >= bar) & (greedy->watched[from + k] <= 0) & !isnan(greedy->score[from + k]);
    return above > 0;
}

/* Brings the candidates past the picks of the log, into next_q and next_r. With `checked`: returns
 * the first step at which one of them would have been picked instead, or else `logged`. */
static size_t pass(struct greedy *greedy, bool checked)
{
    const struct sel_set *set = greedy->set;
    size_t d = set->d;
    size_t steps = greedy->logged;
    blasint n = (blasint)d;
    double *g = greedy->block;
    double *h = g + LINEAR_BLOCK * GREEDY_LOG;
    double *score = h + LINEAR_BLOCK * GREEDY_LOG;
    memcpy(greedy->next_q, greedy->q, set->count * sizeof(double));
    memcpy(greedy->next_r, greedy->r, set->count * sizeof(double));
    for (size_t from = 0; from < set->count; from += LINEAR_BLOCK) {
        size_t rows = set->count - from < LINEAR_BLOCK ? set->count - from : LINEAR_BLOCK;
        blasint columns = (blasint)rows;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)steps, columns, n, 1,
                    greedy->u, n, set->x + from * d, n, 0, g, columns);
        if (greedy->of_policy)
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)steps, columns, n, 1,
                        greedy->v, n, set->x + from * d, n, 0, h, columns);
        double *q = greedy->next_q + from;
        double *r = greedy->next_r + from;
        for (size_t step = 0; step < steps; step++) {
            if (checked && step > 0 && is_passed(greedy, from, rows, step, score))
                steps = step;
            double c = greedy->c[step];
            double square = c * c * greedy->rho[step];
            const double *g_row = g + step * rows;
            const double *h_row = h + step * rows;
            for (size_t k = 0; k < rows; k++) {
                double left = q[k] - c * g_row[k] * g_row[k];
                q[k] = left > 0 ? left : 0;
            }
            for (size_t k = 0; k < rows && greedy->of_policy; k++) {
                double left = r[k] + square * g_row[k] * g_row[k] - 2 * c * g_row[k] * h_row[k];
                r[k] = left > 0 ? left : 0;
            }
        }
    }
    return steps;
}

static void adopt(struct greedy *greedy)
{
    double *q = greedy->q;
    double *r = greedy->r;
    greedy->q = greedy->next_q;
    greedy->r = greedy->next_r;
    greedy->next_q = q;
    greedy->next_r = r;
    for (size_t from = 0; from < greedy->set->count; from += LINEAR_BLOCK) {
        size_t left = greedy->set->count - from;
        size_t rows = left < LINEAR_BLOCK ? left : LINEAR_BLOCK;
        score_rows(greedy, from, rows, greedy->q + from, greedy->r + from, greedy->block);
        for (size_t k = 0; k < rows; k++)
            if (!isnan(greedy->score[from + k]))
                greedy->score[from + k] = greedy->block[k];
    }
}

/* ---- the run ---- */

/* Up to `steps` picks from the list; the first is `best`, a member. */
static void pick_from_list(struct greedy *greedy, size_t best, size_t steps,
                           struct sel_selection *selection)
{
    struct greedy_list *list = &greedy->list;
    for (; greedy->logged < steps && best < list->count; best = greedy_best_member(greedy)) {
        selection->propensity[selection->count] = 1;
        selection->chosen[selection->count++] = list->member[best];
        greedy_take(greedy, best);
    }
}

static size_t member_of(const struct greedy_list *list, size_t place)
{
    size_t member = 0;
    while (list->member[member] != place)
        member++;
    return member;
}

/* V = S I S of the present S. */
static void open_square(struct greedy *greedy)
{
    const struct sel_set *set = greedy->set;
    size_t d = set->d;
    blasint n = (blasint)d;
    if ((greedy->rule->traits & SEL_IDENTITY) != 0) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, greedy->inverse, n,
                    greedy->inverse, n, 0, greedy->square, n);
    } else {
        /* Row by row: S I needs no matrix of its own. */
        for (size_t i = 0; i < d; i++) {
            linear_apply(set->policy, d, greedy->inverse + i * d, greedy->u);
            linear_apply(greedy->inverse, d, greedy->u, greedy->square + i * d);
        }
    }
    linear_mirror(greedy->square, d);
}

static bool is_done(const struct greedy *greedy, const struct sel_selection *selection)
{
    return selection->count >= selection->budget || selection->count >= greedy->set->count;
}

/* All candidates are on the list: nothing else is to be looked at. */
static void run_whole(struct greedy *greedy, struct sel_selection *selection)
{
    size_t best = greedy_best_member(greedy);
    while (!is_done(greedy, selection) && best < greedy->list.count) {
        size_t left = selection->budget - selection->count;
        pick_from_list(greedy, best, left < GREEDY_LOG ? left : GREEDY_LOG, selection);
        greedy_flush(greedy);
        best = greedy_best_member(greedy);
    }
}

void greedy_run(struct greedy *greedy, struct sel_selection *selection)
{
    size_t count = greedy->set->count;
    size_t steps = STEPS_FIRST;
    greedy_flush(greedy);
    if (greedy->of_policy)
        open_square(greedy);
    score_all(greedy);
    size_t best = first_of_best(greedy->score, count);
    if (best < count)
        fill_list(greedy, best);
    if (greedy->list.most >= count && best < count)
        run_whole(greedy, selection);
    while (!is_done(greedy, selection) && best < count) {
        size_t before = selection->count;
        size_t left = selection->budget - before;
        pick_from_list(greedy, member_of(&greedy->list, best), left < steps ? left : steps,
                       selection);
        size_t wanted = greedy->logged;
        size_t stands = pass(greedy, true);
        steps = stands < wanted ? stands : 2 * steps;
        steps = steps < GREEDY_LOG ? steps : GREEDY_LOG;
        greedy->logged = stands;
        selection->count = before + stands;
        if (stands < wanted)
            pass(greedy, false);
        for (size_t k = before; k < selection->count; k++)
            greedy->score[selection->chosen[k]] = NAN;
        adopt(greedy);
        greedy_flush(greedy);
        best = first_of_best(greedy->score, count);
        if (best < count)
            fill_list(greedy, best);
    }
}
