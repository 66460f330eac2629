/* Which prompts, and when: scores of prompts, quotas, a price; psi0 of the published design. */
#include "selectors/linear.h"

double sel_prompt_entropy(const double *log_policy, size_t n)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum -= log_policy[k] / (double)n;
    return sum;
}

double sel_prompt_spread(const double *reward, size_t n)
{
    double low = INFINITY;
    double high = -INFINITY;
    for (size_t k = 0; k < n; k++) {
        low = fmin(low, reward[k]);
        high = fmax(high, reward[k]);
    }
    return n > 0 ? high - low : 0;
}

/* True when a stands before b: higher, or as high and earlier. */
static bool precedes(const double *score, size_t a, size_t b)
{
    return score[a] > score[b] || (score[a] == score[b] && a < b);
}

/* The best of those after `last` in the order of precedes; count when there is none. */
static size_t next_best(const double *score, size_t count, size_t last)
{
    size_t best = count;
    for (size_t k = 0; k < count; k++) {
        if (isnan(score[k]) || score[k] == -INFINITY || (last < count && !precedes(score, last, k)))
            continue;
        if (best == count || precedes(score, k, best))
            best = k;
    }
    return best;
}

size_t sel_prompt_choose(const double *score, size_t count, const size_t *domain,
                         const size_t *quota, size_t domains, size_t most, size_t *taken,
                         size_t *chosen)
{
    size_t size = 0;
    for (size_t k = 0; domain != NULL && k < domains; k++)
        taken[k] = 0;
    size_t last = count;
    while (size < most && (last = next_best(score, count, last)) < count) {
        if (domain != NULL) {
            size_t own = domain[last];
            if (own >= domains || taken[own] >= quota[own])
                continue;
            taken[own]++;
        }
        chosen[size++] = last;
    }
    return size;
}

size_t sel_shortlist(const double *score, size_t count, size_t most, size_t *chosen)
{
    return sel_prompt_choose(score, count, NULL, NULL, 0, most, NULL, chosen);
}

/* ---- a price ---- */

struct sel_price sel_price_defaults(void)
{
    return (struct sel_price){.rate = .1, .share = .25, .price = NAN};
}

bool sel_price_ask(struct sel_price *price, double score, size_t pools_left, size_t labels_left)
{
    if (isnan(price->price))
        price->price = score;
    bool worth = score > price->price;
    bool ask = labels_left > 0 && (worth || pools_left <= labels_left);
    price->price *= exp(price->rate * ((worth ? 1 : 0) - price->share));
    return ask;
}

/* ---- psi0 ---- */

enum sel_status sel_reference_add(const sel_feature *phi, const double *log_reference, size_t n,
                                  size_t d, double *sums, double *moments, double *row)
{
    if (n == 0 || d == 0)
        return SEL_INVALID;
    double mean = 0;
    double finite = 0;
    for (size_t k = 0; k < n; k++) {
        mean += log_reference[k] / (double)n;
        for (size_t l = 0; l < d; l++)
            finite += 0 * (double)phi[k * d + l];
    }
    if (!isfinite(mean) || finite != 0)
        return SEL_INVALID;
    for (size_t k = 0; k < n; k++) {
        for (size_t l = 0; l < d; l++) {
            row[l] = (double)phi[k * d + l];
            for (size_t m = 0; m < n; m++)
                row[l] -= (double)phi[m * d + l] / (double)n;
        }
        cblas_dsyr(CblasRowMajor, CblasLower, (blasint)d, 1, row, 1, sums, (blasint)d);
        cblas_daxpy((blasint)d, log_reference[k] - mean, row, 1, moments, 1);
    }
    return SEL_OK;
}

enum sel_status sel_reference_solve(double *sums, const double *moments, size_t d, double ridge,
                                    double *theta)
{
    if (!(ridge >= 0) || !isfinite(ridge))
        return SEL_INVALID;
    for (size_t k = 0; k < d; k++) {
        sums[k * d + k] += ridge;
        theta[k] = moments[k];
    }
    if (!linear_factor(sums, d))
        return SEL_SINGULAR;
    linear_solve(sums, d, theta);
    return SEL_OK;
}
