/* Rules that choose a whole batch by information.
 *
 *   dopt_oneshot  w x' M^-1 x with M = Sigma + sum over all candidates of w x x'; the top of it
 *   dopt_topn     q = x' S x; the top of it, nothing updated within the batch
 *   fisher_ratio  u_i + (sum_{j != i} u_j (x_i' x_j)^2) / (1/u_i + (x_i' x_i)^2), x of unit norm,
 *                 u_j = w_j / .001 at first; after pick o: u_j = 1 / (1/u_j + (w_o/w_j)(x_j'
 * x_o)^2) batchbald     H(E_e prod_b p_be) - sum_b E_e H(p_be), greedily, over posterior draws e;
 * at most ten picks: the table of outcomes doubles with each balpm         mi + b (log d_k -
 * digamma(n + 1) / D), greedily: d_k the distance in the context to the k-th nearest candidate, n
 * how many chosen ones lie nearer, D its dimension Ties go to the first. */
#include "selectors/linear.h"
#include "selectors/rules/rules.h"
#include "selectors/rules/set.h"
#include "selectors/sort.h"

#include <string.h>

static enum sel_status dopt_oneshot(const struct sel_set *set, struct sel_selection *selection)
{
    size_t d = set->d;
    double *m = set->scratch;
    double *value = m + d * d;
    double *row = value + set->count;
    memcpy(m, set->sigma, d * d * sizeof(double));
    for (size_t k = 0; k < set->count; k++)
        cblas_dsyr(CblasRowMajor, CblasLower, (blasint)d, set->weight[k], set->x + k * d, 1, m,
                   (blasint)d);
    if (!linear_factor(m, d))
        return SEL_SINGULAR;
    for (size_t k = 0; k < set->count; k++) {
        memcpy(row, set->x + k * d, d * sizeof(double));
        linear_solve(m, d, row);
        value[k] = set->weight[k] * linear_dot(row, set->x + k * d, d);
    }
    set_top(set, selection, value);
    return SEL_OK;
}

static size_t oneshot_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    return largest->d * largest->d + largest->count + largest->d;
}

static enum sel_status dopt_topn(const struct sel_set *set, struct sel_selection *selection)
{
    set_variances(set, set->scratch);
    set_top(set, selection, set->scratch);
    return SEL_OK;
}

static size_t count_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    return largest->count;
}

/* ---- Fisher ratio ---- */

static double fisher_value(const struct sel_set *set, const double *unit, const double *u, size_t i)
{
    size_t d = set->d;
    double sum = 0;
    for (size_t j = 0; j < set->count; j++) {
        if (j == i)
            continue;
        double product = linear_dot(unit + i * d, unit + j * d, d);
        sum += u[j] * product * product;
    }
    double own = linear_dot(unit + i * d, unit + i * d, d);
    return u[i] + sum / (1 / u[i] + own * own);
}

static enum sel_status fisher_ratio(const struct sel_set *set, struct sel_selection *selection)
{
    const double prior = .001;
    size_t d = set->d;
    double *u = set->scratch;
    double *value = u + set->count;
    double *unit = value + set->count;
    for (size_t k = 0; k < set->count; k++) {
        double norm = sqrt(linear_dot(set->x + k * d, set->x + k * d, d));
        for (size_t l = 0; l < d; l++)
            unit[k * d + l] = norm > 0 ? set->x[k * d + l] / norm : 0;
        u[k] = set->weight[k] / prior;
        value[k] = 0;
    }
    while (!set_is_full(set, selection)) {
        for (size_t i = 0; i < set->count; i++)
            if (!isnan(value[i]))
                value[i] = u[i] > 0 ? fisher_value(set, unit, u, i) : 0;
        size_t best = set_best(value, set->count);
        set_choose(selection, best, 1);
        value[best] = NAN;
        for (size_t j = 0; j < set->count; j++) {
            double product = linear_dot(unit + j * d, unit + best * d, d);
            if (u[j] > 0)
                u[j] = 1 / (1 / u[j] + set->weight[best] / set->weight[j] * product * product);
        }
    }
    return SEL_OK;
}

static size_t fisher_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    return largest->count * (largest->d + 2);
}

/* ---- batchBALD ---- */

enum { BATCHBALD_MAX = 10 };

/* Entropy of the outcomes of those chosen so far and candidate k. joint: outcomes x draws. */
static double joint_entropy(const struct sel_set *set, const double *joint, size_t outcomes,
                            size_t k)
{
    double entropy = 0;
    for (size_t o = 0; o < 2 * outcomes; o++) {
        double p = 0;
        for (size_t e = 0; e < set->draw_count; e++) {
            double margin = set->draws[e * set->count + k];
            double answer = sel_sigmoid(o % 2 == 0 ? margin : -margin);
            p += joint[o / 2 * set->draw_count + e] * answer / (double)set->draw_count;
        }
        entropy -= p > 0 ? p * log(p) : 0;
    }
    return entropy;
}

/* Every outcome splits in two by the answer of k; from the last, so that none is lost. */
static void split(const struct sel_set *set, double *joint, size_t outcomes, size_t k)
{
    size_t draws = set->draw_count;
    for (size_t o = outcomes; o-- > 0;)
        for (size_t e = 0; e < draws; e++) {
            double margin = set->draws[e * set->count + k];
            double before = joint[o * draws + e];
            joint[(2 * o + 1) * draws + e] = before * sel_sigmoid(-margin);
            joint[2 * o * draws + e] = before * sel_sigmoid(margin);
        }
}

static double mean_entropy(const struct sel_set *set, size_t k)
{
    double sum = 0;
    for (size_t e = 0; e < set->draw_count; e++)
        sum += rule_entropy(set->draws[e * set->count + k]) / (double)set->draw_count;
    return sum;
}

static enum sel_status batchbald(const struct sel_set *set, struct sel_selection *selection)
{
    double *value = set->scratch;
    double *joint = value + set->count;
    double conditional = 0;
    size_t outcomes = 1;
    for (size_t e = 0; e < set->draw_count; e++)
        joint[e] = 1;
    for (size_t k = 0; k < set->count; k++)
        value[k] = 0;
    while (!set_is_full(set, selection)) {
        for (size_t k = 0; k < set->count; k++)
            if (!isnan(value[k]))
                value[k] =
                    joint_entropy(set, joint, outcomes, k) - conditional - mean_entropy(set, k);
        size_t best = set_best(value, set->count);
        set_choose(selection, best, 1);
        selection->objective = value[best];
        conditional += mean_entropy(set, best);
        value[best] = NAN;
        split(set, joint, outcomes, best);
        outcomes *= 2;
    }
    return SEL_OK;
}

static size_t batchbald_room(const struct sel_set *largest, size_t budget)
{
    size_t picks = budget < BATCHBALD_MAX ? budget : BATCHBALD_MAX;
    return largest->count + ((size_t)1 << picks) * largest->draw_count;
}

/* ---- BAL-PM ---- */

/* digamma(x), x > 0: the recurrence up to 10, then its asymptotic series. */
static double digamma(double x)
{
    double sum = 0;
    for (; x < 10; x++)
        sum -= 1 / x;
    double square = 1 / (x * x);
    return sum + log(x) - .5 / x -
           square * (1. / 12 - square * (1. / 120 - square * (1. / 252 - square / 240)));
}

static double mutual_information(const struct sel_set *set, size_t k)
{
    double p = 0;
    for (size_t e = 0; e < set->draw_count; e++)
        p += sel_sigmoid(set->draws[e * set->count + k]) / (double)set->draw_count;
    double entropy = -(p > 0 ? p * log(p) : 0) - (p < 1 ? (1 - p) * log1p(-p) : 0);
    return fmax(0, entropy - mean_entropy(set, k));
}

static double kth_distance(const struct sel_set *set, size_t i, size_t k, double *distance)
{
    size_t count = 0;
    for (size_t j = 0; j < set->count; j++)
        if (j != i)
            distance[count++] =
                sqrt(set_distance2(set_context(set, i), set_context(set, j), set->context_d));
    sort_ascending(distance, count);
    return count == 0 ? 1 : distance[k < count ? k - 1 : count - 1];
}

static double balpm_value(const struct sel_set *set, size_t i, double kth, double nearer)
{
    const double smallest = 1e-300; /* copies: log d_k stays finite */
    double entropy = log(fmax(kth, smallest)) - digamma(nearer + 1) / (double)set->context_d;
    return mutual_information(set, i) + set->parameters[0] * entropy;
}

static enum sel_status balpm(const struct sel_set *set, struct sel_selection *selection)
{
    double *value = set->scratch;
    double *kth = value + set->count;
    double *nearer = kth + set->count;
    double *distance = nearer + set->count;
    size_t dc = set->context_d;
    for (size_t i = 0; i < set->count; i++) {
        kth[i] = kth_distance(set, i, (size_t)set->parameters[1], distance);
        nearer[i] = 0;
        for (size_t p = 0; p < set->past_count; p++)
            nearer[i] += sqrt(set_distance2(set_context(set, i), set->past + p * dc, dc)) < kth[i];
        value[i] = balpm_value(set, i, kth[i], nearer[i]);
    }
    while (!set_is_full(set, selection)) {
        size_t best = set_best(value, set->count);
        set_choose(selection, best, 1);
        value[best] = NAN;
        for (size_t i = 0; i < set->count; i++) {
            double away = sqrt(set_distance2(set_context(set, i), set_context(set, best), dc));
            if (isnan(value[i]) || !(away < kth[i]))
                continue;
            nearer[i]++;
            value[i] = balpm_value(set, i, kth[i], nearer[i]);
        }
    }
    return SEL_OK;
}

static size_t balpm_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    return 4 * largest->count;
}

/* ---- the rows ---- */

static const char *const dopt_oneshot_aliases[] = {"pastaware", NULL};

const struct sel_rule rule_dopt_oneshot = {
    .name = "dopt_oneshot",
    .aliases = dopt_oneshot_aliases,
    .formula = "w x' M^-1 x, M = Sigma + all candidates; the top of it",
    .source = "ARM-FI, arXiv 2502.04354",
    .cost = "N d^2 once",
    .select = dopt_oneshot,
    .room = oneshot_room,
};

const struct sel_rule rule_dopt_topn = {
    .name = "dopt_topn",
    .formula = "x' S x without weights; the top of it, no update within the batch",
    .source = "APO, arXiv 2402.10500; Online_RLHF",
    .cost = "N d^2 once",
    .traits = SEL_UNWEIGHTED,
    .select = dopt_topn,
    .room = count_room,
};

const struct sel_rule rule_fisher_ratio = {
    .name = "fisher_ratio",
    .formula = "u_i + sum_j u_j (x_i' x_j)^2 / (1/u_i + (x_i' x_i)^2), x of unit norm",
    .source = "Guo et al. 2019 (FishGreedy), after Hoi et al. 2006",
    .cost = "N^2 d",
    .select = fisher_ratio,
    .room = fisher_room,
};

const struct sel_rule rule_batchbald = {
    .name = "batchbald",
    .formula = "H(mean over draws of the joint answer) - sum of mean H, greedily",
    .source = "Kirsch et al., arXiv 1906.08158 (BatchBALD); Guo et al. 2019",
    .cost = "N E 2^picks",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .select = batchbald,
    .budget_max = BATCHBALD_MAX,
    .room = batchbald_room,
};

static const struct sel_parameter balpm_parameters[] = {
    {.name = "entropy_weight",
     .required = true,
     .least = 0,
     .most = HUGE_VAL,
     .text = "b: weight of the entropy of the chosen prompts beside mutual information"},
    {.name = "neighbours",
     .count = true,
     .required = true,
     .least = 1,
     .most = 1e6,
     .text = "k: d_k is the distance to the k-th nearest candidate"},
};

const struct sel_rule rule_balpm = {
    .name = "balpm",
    .formula = "mi + b (log d_k - digamma(n + 1) / D), greedily",
    .source = "Melo et al., arXiv 2406.10023 (BAL-PM)",
    .cost = "N^2 D once, N D",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .parameters = balpm_parameters,
    .parameter_count = 2,
    .select = balpm,
    .room = balpm_room,
};
