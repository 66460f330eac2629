/* Rules that spread a batch by clusters or determinants.
 *
 *   kmeans  as many clusters of the context as picks; of each the candidate nearest its centre
 *   duo     a uniform oversample of ten times the picks; of it the half of larger mutual
 *           information; clusters of their reward-difference vectors (m_e over the draws e)
 *   dpp     greedily the largest log det L, L_ab = s_a s_b [(1-b) exp(-g_z dist(z_a, z_b)^2) + b
 *           exp(-g_r dist(m_a, m_b)^2)], s = sqrt(x' S x), z = x, m over the draws, g_z = g /
 *           median dist(z)^2 and g_r likewise. Symmetric: each pair has its own vectors
 * Ties go to the first. */
#include "selectors/rules/rules.h"
#include "selectors/rules/set.h"

#include <string.h>

/* Chooses of each cluster the row nearest its centre; rows: count x d, name: their candidates. */
static void choose_nearest(struct sel_selection *selection, const double *rows, size_t count,
                           size_t d, size_t clusters, const double *centre, const size_t *member,
                           const size_t *name)
{
    for (size_t c = 0; c < clusters && selection->count < selection->budget; c++) {
        double lowest = INFINITY;
        size_t best = count;
        for (size_t k = 0; k < count; k++) {
            double distance = set_distance2(rows + k * d, centre + c * d, d);
            if (member[k] == c && distance < lowest) {
                lowest = distance;
                best = k;
            }
        }
        if (best < count)
            set_choose(selection, name == NULL ? best : name[best], 1);
    }
}

static enum sel_status kmeans(const struct sel_set *set, struct sel_selection *selection)
{
    size_t clusters = selection->budget < set->count ? selection->budget : set->count;
    set_kmeans(set->context, set->count, set->context_d, clusters, set->scratch, set->integers);
    choose_nearest(selection, set->context, set->count, set->context_d, clusters, set->scratch,
                   set->integers, NULL);
    return SEL_OK;
}

static size_t kmeans_room(const struct sel_set *largest, size_t budget)
{
    size_t dc = largest->context_d > largest->d ? largest->context_d : largest->d;
    return budget * dc;
}

/* ---- duo ---- */

static double mutual_information(const struct sel_set *set, size_t k)
{
    double count = (double)set->draw_count;
    double p = 0;
    double entropy = 0;
    for (size_t e = 0; e < set->draw_count; e++) {
        p += sel_sigmoid(set->draws[e * set->count + k]) / count;
        entropy += rule_entropy(set->draws[e * set->count + k]) / count;
    }
    return -(p > 0 ? p * log(p) : 0) - (p < 1 ? (1 - p) * log1p(-p) : 0) - entropy;
}

/* Names of a uniform sample of `size`, in order: each is kept by how many are still wanted. */
static void oversample(const struct sel_set *set, size_t size, size_t *name)
{
    size_t kept = 0;
    for (size_t k = 0; k < set->count; k++)
        if (size == set->count || sel_random_below(set->random, set->count - k) < size - kept)
            name[kept++] = k;
}

static enum sel_status duo(const struct sel_set *set, struct sel_selection *selection)
{
    const size_t times = 10;
    size_t draws = set->draw_count;
    size_t wanted = selection->budget > set->count / times ? set->count : selection->budget * times;
    size_t *name = set->integers;
    size_t *half = name + set->count;
    size_t *member = half + set->count;
    double *value = set->scratch;
    double *rows = value + set->count;
    if (wanted < set->count && set->random == NULL)
        return SEL_MISSING;
    oversample(set, wanted, name);
    for (size_t k = 0; k < wanted; k++)
        value[k] = mutual_information(set, name[k]);
    size_t kept = (wanted + 1) / 2;
    for (size_t k = 0; k < kept; k++) {
        size_t best = set_best(value, wanted);
        half[k] = name[best];
        value[best] = NAN;
        for (size_t e = 0; e < draws; e++)
            rows[k * draws + e] = set->draws[e * set->count + half[k]];
    }
    size_t clusters = selection->budget < kept ? selection->budget : kept;
    double *centre = rows + kept * draws;
    set_kmeans(rows, kept, draws, clusters, centre, member);
    choose_nearest(selection, rows, kept, draws, clusters, centre, member, half);
    return SEL_OK;
}

static size_t duo_room(const struct sel_set *largest, size_t budget)
{
    return largest->count + (largest->count + budget + 1) * largest->draw_count;
}

/* ---- dpp ---- */

struct kernels {
    const struct sel_set *set;
    const double *q;
    double share;
    double by_vector; /* g_z */
    double by_reward; /* g_r */
};

static double reward_distance2(const struct sel_set *set, size_t a, size_t b)
{
    double sum = 0;
    for (size_t e = 0; e < set->draw_count; e++) {
        double away = set->draws[e * set->count + a] - set->draws[e * set->count + b];
        sum += away * away;
    }
    return sum;
}

static double entry(const struct kernels *kernels, size_t a, size_t b)
{
    const struct sel_set *set = kernels->set;
    double vectors = set_distance2(set->x + a * set->d, set->x + b * set->d, set->d);
    double rewards = reward_distance2(set, a, b);
    return sqrt(kernels->q[a] * kernels->q[b]) *
           ((1 - kernels->share) * exp(-kernels->by_vector * vectors) +
            kernels->share * exp(-kernels->by_reward * rewards));
}

/* Squared median distance of the first 256 candidates, of vectors or of rewards. */
static double median_square(const struct sel_set *set, bool of_rewards, double *values)
{
    size_t rows = set->count < 256 ? set->count : 256;
    size_t count = 0;
    for (size_t a = 0; a < rows; a++)
        for (size_t b = a + 1; b < rows; b++)
            values[count++] =
                sqrt(of_rewards ? reward_distance2(set, a, b)
                                : set_distance2(set->x + a * set->d, set->x + b * set->d, set->d));
    double median = count > 0 ? set_median(values, count) : 1;
    return median > 0 ? median * median : 1;
}

/* Greedy by an incremental Cholesky factor: left_a is what of L_aa the chosen ones do not explain.
 */
static enum sel_status dpp(const struct sel_set *set, struct sel_selection *selection)
{
    size_t count = set->count;
    double *q = set->scratch;
    double *left = q + count;
    double *median = left + count;
    double *factor = median + SET_MEDIAN_ROOM; /* budget x count */
    set_variances(set, q);
    struct kernels kernels = {
        .set = set,
        .q = q,
        .share = set->parameters[0],
        .by_vector = set->parameters[1] / median_square(set, false, median),
        .by_reward = set->parameters[1] / median_square(set, true, median),
    };
    for (size_t a = 0; a < count; a++)
        left[a] = entry(&kernels, a, a);
    while (!set_is_full(set, selection)) {
        size_t best = set_best(left, count);
        if (best == count || !(left[best] > 0))
            return SEL_OK; /* all others are copies */
        double root = sqrt(left[best]);
        double *row = factor + selection->count * count;
        for (size_t a = 0; a < count; a++) {
            double sum = entry(&kernels, a, best);
            for (size_t s = 0; s < selection->count; s++)
                sum -= factor[s * count + a] * factor[s * count + best];
            row[a] = sum / root;
            left[a] -= row[a] * row[a];
        }
        selection->objective += 2 * log(root);
        set_choose(selection, best, 1);
        left[best] = NAN;
    }
    return SEL_OK;
}

static size_t dpp_room(const struct sel_set *largest, size_t budget)
{
    return (budget + 2) * largest->count + SET_MEDIAN_ROOM;
}

/* ---- the rows ---- */

const struct sel_rule rule_kmeans = {
    .name = "kmeans",
    .formula = "the candidate nearest the centre of each of n clusters",
    .source = "ARM-FI, arXiv 2502.04354",
    .cost = "N n d steps, once",
    .select = kmeans,
    .room = kmeans_room,
};

const struct sel_rule rule_duo = {
    .name = "duo",
    .formula = "kmeans of reward differences in the uncertain half of a tenfold oversample",
    .source = "Random is hard to beat, arXiv 2604.02766",
    .cost = "N E n steps, once",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .select = duo,
    .room = duo_room,
};

static const struct sel_parameter dpp_parameters[] = {
    {.name = "reward_share",
     .required = true,
     .least = 0,
     .most = 1,
     .text = "b: weight of the kernel of reward differences beside that of features"},
    {.name = "kernel_scale",
     .required = true,
     .least = 0,
     .most = HUGE_VAL,
     .text = "g: the kernels are exp(-g dist^2 / median dist^2)"},
};

const struct sel_rule rule_dpp = {
    .name = "dpp",
    .formula = "greedy log det L, L = s_a s_b [(1-b) k_z + b k_r]",
    .source = "Kulesza, Taskar, arXiv 1207.6083; arXiv 2604.02766",
    .cost = "N (d + E + n)",
    .needs = SEL_NEEDS(SEL_DRAWS),
    .parameters = dpp_parameters,
    .parameter_count = 2,
    .select = dpp,
    .room = dpp_room,
};
