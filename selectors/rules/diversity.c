/* Rules that spread a batch over the context f (the pair's own vector unless the caller gives
 * another). S: those chosen, and the past. k_ab = exp(-(dist(f_a, f_b)/h)^2), h the median
 * distance.
 *
 *   kcenter      argmax_e min_{s in S} dist(f_e, f_s); the first: nearest the mean
 *   max_herding  argmax_e mean_j max(0, k_ej - m_j), m_j = max_{s in S} k_sj, kept up to date
 *   uherding     the same with weight H_j, the entropy of the answer of j
 *   knn_herding  argmax_e mean_j sqrt(k' K^-1 k), k and K of the three in S + e nearest to j
 *   div_reward   drawn one by one in proportion to dist(f_e, S)^2 |D_e|; the first by |D_e|
 *   lr_coreset   drawn by the sensitivity N / (1 + sum_c n_c exp(-R dist(f_e, mu_c)) - exp(-R
 *                dist(f_e, mu_c(e)))), mu of ten clusters
 * Ties go to the first. What is drawn has the share among those left as its propensity. */
#include "selectors/rules/rules.h"
#include "selectors/rules/set.h"

#include <string.h>

static double distance_of(const struct sel_set *set, const double *row, size_t k)
{
    return sqrt(set_distance2(row, set_context(set, k), set->context_d));
}

static void find_mean(const struct sel_set *set, double *mean)
{
    memset(mean, 0, set->context_d * sizeof *mean);
    for (size_t k = 0; k < set->count; k++)
        for (size_t l = 0; l < set->context_d; l++)
            mean[l] += set_context(set, k)[l] / (double)set->count;
}

/* Distance of each candidate to the past; INFINITY when there is none. */
static void distances_to_past(const struct sel_set *set, double *distance)
{
    for (size_t k = 0; k < set->count; k++) {
        distance[k] = INFINITY;
        for (size_t p = 0; p < set->past_count; p++)
            distance[k] = fmin(distance[k], distance_of(set, set->past + p * set->context_d, k));
    }
}

/* NAN marks those that are chosen. */
static void come_nearer(const struct sel_set *set, size_t pick, double *distance)
{
    for (size_t k = 0; k < set->count; k++)
        if (!isnan(distance[k]))
            distance[k] = fmin(distance[k], distance_of(set, set_context(set, pick), k));
    distance[pick] = NAN;
}

static enum sel_status kcenter(const struct sel_set *set, struct sel_selection *selection)
{
    double *distance = set->scratch;
    double *mean = distance + set->count;
    distances_to_past(set, distance);
    if (set->past_count == 0) {
        find_mean(set, mean);
        for (size_t k = 0; k < set->count; k++)
            distance[k] = -distance_of(set, mean, k);
        size_t first = set_best(distance, set->count);
        set_choose(selection, first, 1);
        for (size_t k = 0; k < set->count; k++)
            distance[k] = INFINITY;
        come_nearer(set, first, distance);
    }
    while (!set_is_full(set, selection)) {
        size_t best = set_best(distance, set->count);
        set_choose(selection, best, 1);
        come_nearer(set, best, distance);
    }
    return SEL_OK;
}

static size_t context_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    size_t dc = largest->context_d > largest->d ? largest->context_d : largest->d;
    return 3 * largest->count + dc + SET_MEDIAN_ROOM;
}

/* ---- herding ---- */

static double kernel(const struct sel_set *set, const double *row, size_t k, double width)
{
    return exp(-set_distance2(row, set_context(set, k), set->context_d) / (width * width));
}

static enum sel_status herd(const struct sel_set *set, struct sel_selection *selection,
                            bool by_entropy)
{
    double *value = set->scratch;
    double *covered = value + set->count; /* m_j */
    double *weight = covered + set->count;
    double width = set_median_distance(set, weight + set->count);
    for (size_t j = 0; j < set->count; j++) {
        value[j] = 0;
        covered[j] = 0;
        weight[j] = by_entropy ? rule_entropy(set->margin[j]) : 1;
        for (size_t p = 0; p < set->past_count; p++)
            covered[j] = fmax(covered[j], kernel(set, set->past + p * set->context_d, j, width));
    }
    while (!set_is_full(set, selection)) {
        for (size_t e = 0; e < set->count; e++) {
            if (isnan(value[e]))
                continue;
            value[e] = 0;
            for (size_t j = 0; j < set->count; j++) {
                double more = kernel(set, set_context(set, e), j, width) - covered[j];
                value[e] += weight[j] * fmax(0, more) / (double)set->count;
            }
        }
        size_t best = set_best(value, set->count);
        set_choose(selection, best, 1);
        value[best] = NAN;
        for (size_t j = 0; j < set->count; j++)
            covered[j] = fmax(covered[j], kernel(set, set_context(set, best), j, width));
    }
    return SEL_OK;
}

static enum sel_status max_herding(const struct sel_set *set, struct sel_selection *selection)
{
    return herd(set, selection, false);
}

static enum sel_status uherding(const struct sel_set *set, struct sel_selection *selection)
{
    return herd(set, selection, true);
}

/* k' K^-1 k of `size` <= 3 rows: by Cholesky, with a little on the diagonal for copies. */
static double explained(const double *const row[3], size_t size, const double k[3], size_t d,
                        double width)
{
    const double little = 1e-9;
    double l[3][3] = {{0}};
    double y[3] = {0};
    double sum = 0;
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j <= i; j++) {
            double entry =
                i == j ? 1 + little : exp(-set_distance2(row[i], row[j], d) / (width * width));
            for (size_t m = 0; m < j; m++)
                entry -= l[i][m] * l[j][m];
            l[i][j] = i == j ? sqrt(fmax(entry, little)) : entry / l[j][j];
        }
        y[i] = k[i];
        for (size_t m = 0; m < i; m++)
            y[i] -= l[i][m] * y[m];
        y[i] /= l[i][i];
        sum += y[i] * y[i];
    }
    return sum;
}

/* The rows nearest to a candidate, at most three, the nearest first. */
struct nearest {
    const double *row[3];
    double k[3];
    size_t size;
};

static void offer(struct nearest *nearest, const double *row, double k)
{
    size_t place = 0;
    while (place < nearest->size && nearest->k[place] >= k)
        place++;
    if (place >= 3)
        return;
    nearest->size = nearest->size < 3 ? nearest->size + 1 : 3;
    for (size_t m = nearest->size - 1; m > place; m--) {
        nearest->row[m] = nearest->row[m - 1];
        nearest->k[m] = nearest->k[m - 1];
    }
    nearest->row[place] = row;
    nearest->k[place] = k;
}

static struct nearest nearest_of(const struct sel_set *set, const struct sel_selection *selection,
                                 size_t j, double width)
{
    struct nearest nearest = {.size = 0};
    for (size_t p = 0; p < set->past_count; p++) {
        const double *row = set->past + p * set->context_d;
        offer(&nearest, row, kernel(set, row, j, width));
    }
    for (size_t s = 0; s < selection->count; s++) {
        const double *row = set_context(set, selection->chosen[s]);
        offer(&nearest, row, kernel(set, row, j, width));
    }
    return nearest;
}

static enum sel_status knn_herding(const struct sel_set *set, struct sel_selection *selection)
{
    double *value = set->scratch;
    double width = set_median_distance(set, value + 3 * set->count);
    for (size_t e = 0; e < set->count; e++)
        value[e] = 0;
    while (!set_is_full(set, selection)) {
        for (size_t e = 0; e < set->count; e++)
            value[e] = isnan(value[e]) ? NAN : 0;
        for (size_t j = 0; j < set->count; j++) {
            struct nearest before = nearest_of(set, selection, j, width);
            for (size_t e = 0; e < set->count; e++) {
                if (isnan(value[e]))
                    continue;
                struct nearest with = before;
                offer(&with, set_context(set, e), kernel(set, set_context(set, e), j, width));
                value[e] += sqrt(explained(with.row, with.size, with.k, set->context_d, width)) /
                            (double)set->count;
            }
        }
        size_t best = set_best(value, set->count);
        set_choose(selection, best, 1);
        value[best] = NAN;
    }
    return SEL_OK;
}

/* ---- drawn ---- */

static enum sel_status div_reward(const struct sel_set *set, struct sel_selection *selection)
{
    double *distance = set->scratch;
    double *weight = distance + set->count;
    if (set->random == NULL)
        return SEL_MISSING;
    distances_to_past(set, distance);
    while (!set_is_full(set, selection)) {
        for (size_t k = 0; k < set->count; k++) {
            double squared = isinf(distance[k]) ? 1 : distance[k] * distance[k];
            weight[k] = isnan(distance[k]) ? 0 : squared * fabs(set->margin[k]);
        }
        double share = 0;
        size_t drawn = set_draw(weight, set->count, set->random, &share);
        if (drawn == set->count)
            return SEL_OK; /* copies of what is chosen, or margins of 0 */
        set_choose(selection, drawn, share);
        come_nearer(set, drawn, distance);
    }
    return SEL_OK;
}

enum { CORESET_CENTRES = 10 };

static enum sel_status lr_coreset(const struct sel_set *set, struct sel_selection *selection)
{
    double *weight = set->scratch;
    double *centre = weight + set->count;
    size_t *member = set->integers;
    size_t centres = set->count < CORESET_CENTRES ? set->count : CORESET_CENTRES;
    double sizes[CORESET_CENTRES] = {0};
    if (set->random == NULL)
        return SEL_MISSING;
    set_kmeans(set->context, set->count, set->context_d, centres, centre, member);
    for (size_t k = 0; k < set->count; k++)
        sizes[member[k]]++;
    for (size_t k = 0; k < set->count; k++) {
        double sum = 1;
        for (size_t c = 0; c < centres; c++) {
            double near =
                exp(-set->parameters[0] * distance_of(set, centre + c * set->context_d, k));
            sum += (sizes[c] - (c == member[k] ? 1 : 0)) * near;
        }
        weight[k] = (double)set->count / sum;
    }
    set_sample(set, selection, weight);
    return SEL_OK;
}

static size_t coreset_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    size_t dc = largest->context_d > largest->d ? largest->context_d : largest->d;
    return largest->count + CORESET_CENTRES * dc;
}

/* ---- the rows ---- */

const struct sel_rule rule_kcenter = {
    .name = "kcenter",
    .formula = "argmax_e min_s dist(f_e, f_s)",
    .source = "Sener, Savarese, arXiv 1708.00489 (core-set)",
    .cost = "N d",
    .select = kcenter,
    .room = context_room,
};

static const char *const max_herding_aliases[] = {"herding", NULL};

const struct sel_rule rule_max_herding = {
    .name = "max_herding",
    .aliases = max_herding_aliases,
    .formula = "argmax_e mean_j max(0, k_ej - max_s k_sj)",
    .source = "Bae, Noh, Sutherland, arXiv 2407.12212 (MaxHerding)",
    .cost = "N^2 d",
    .select = max_herding,
    .room = context_room,
};

const struct sel_rule rule_uherding = {
    .name = "uherding",
    .formula = "argmax_e mean_j H_j max(0, k_ej - max_s k_sj)",
    .source = "Bae, Oliveira, Sutherland, arXiv 2412.20644 (UHerding)",
    .cost = "N^2 d",
    .select = uherding,
    .room = context_room,
};

const struct sel_rule rule_knn_herding = {
    .name = "knn_herding",
    .formula = "argmax_e mean_j sqrt(k' K^-1 k) over the three nearest in S + e",
    .source = "Random is hard to beat, arXiv 2604.02766",
    .cost = "N^2 d",
    .select = knn_herding,
    .room = context_room,
};

const struct sel_rule rule_div_reward = {
    .name = "div_reward",
    .formula = "drawn in proportion to dist(f_e, S)^2 abs(D_e)",
    .source = "k-means++ seeding, Arthur, Vassilvitskii 2007; arXiv 2604.02766",
    .cost = "N d",
    .select = div_reward,
    .room = context_room,
};

static const struct sel_parameter coreset_parameters[] = {
    {.name = "radius",
     .required = true,
     .least = 0,
     .most = HUGE_VAL,
     .text = "R of exp(-R distance)"},
};

const struct sel_rule rule_lr_coreset = {
    .name = "lr_coreset",
    .formula = "drawn by N / (1 + sum_c n_c exp(-R dist(f_e, mu_c)) - exp(-R dist(f_e, mu_c(e))))",
    .source = "Huggins et al., arXiv 1605.06423; ARM-FI, arXiv 2502.04354",
    .cost = "N d clusters",
    .parameters = coreset_parameters,
    .parameter_count = 1,
    .select = lr_coreset,
    .room = coreset_room,
};
