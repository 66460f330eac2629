#include "account.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef I /* of complex.h, which cblas.h brings along */

enum { DRAWS = 128, SHADOWS_A_DRAW = 2 };
static const double TAIL = .05;

void dsyev_(const char *job, const char *triangle, const blasint *n, double *a,
            const blasint *stride, double *values, double *work, const blasint *size,
            blasint *info);

/* ---- m_u ---- */

/* Newton from below: the trace falls and is convex in t, so that no step goes beyond the root. */
static double find_root(const double *parts, const double *values, size_t d, double lambda,
                        double target)
{
    enum { STEPS = 200 };
    double t = 0;
    for (int step = 0; step < STEPS; step++) {
        double trace = 0, slope = 0;
        for (size_t k = 0; k < d; k++) {
            double value = values[k] > 0 ? values[k] : 0; /* of a sum of squares */
            double share = 1 / (lambda + t * value);
            trace += parts[k] * share;
            slope += parts[k] * share * share * value;
        }
        double more = (trace - target) / slope;
        if (!(trace > target) || more <= 1e-12 * t)
            return t;
        t += more;
    }
    return (double)INFINITY;
}

double account_solve(double *m, const double *policy, size_t d, double lambda, double target,
                     double *scratch)
{
    double *values = scratch, *parts = scratch + d, *work = scratch + 2 * d;
    const blasint n = (blasint)d, size = (blasint)(3 * d);
    blasint info;
    dsyev_("V", "L", &n, m, &n, values, work, &size, &info);
    if (info != 0)
        return (double)NAN;
    /* Row k of m is the eigenvector of values[k]. */
    for (size_t k = 0; k < d; k++) {
        cblas_dsymv(CblasRowMajor, CblasLower, n, 1, policy, n, m + k * d, 1, 0, work, 1);
        parts[k] = fmax(0, cblas_ddot(n, m + k * d, 1, work, 1));
    }
    return find_root(parts, values, d, lambda, target);
}

struct accounting {
    const struct accounting_snapshot *snapshot;
    const atomic_bool *stop;
    struct sel_information *information;
    const float **x; /* the longer of labels and a shadow */
    double *y, *weight, *confidence, *lapses;
    double *lambda; /* d */
    double *draws;  /* DRAWS x d */
    double *matrix; /* d x d */
    double *policy; /* d x d: I at the draw at hand */
    double *logits; /* completions of a pool, and as many of scratch, at least d */
    size_t *chosen; /* pools: how often each is in the sample at hand */
    struct sel_random random;
    double *scratch; /* 5 d */
    size_t first[SHADOWS_MAX];
    size_t span; /* shadows that the last m_u took */
    double values[DRAWS];
    size_t value_count;
};

static void accounting_fini(struct accounting *accounting)
{
    sel_information_free(accounting->information);
    free(accounting->x);
    free(accounting->y);
    free(accounting->weight);
    free(accounting->confidence);
    free(accounting->lapses);
    free(accounting->lambda);
    free(accounting->draws);
    free(accounting->matrix);
    free(accounting->policy);
    free(accounting->logits);
    free(accounting->chosen);
    free(accounting->scratch);
}

static double *doubles(size_t count)
{
    return malloc(count * sizeof(double));
}

static bool accounting_init(struct accounting *accounting,
                            const struct accounting_snapshot *snapshot, const atomic_bool *stop)
{
    size_t d = snapshot->dimension, rows = snapshot->count + 1, at = 0;
    size_t most = d;
    *accounting = (struct accounting){.snapshot = snapshot, .stop = stop};
    for (size_t k = 0; k < snapshot->pools; k++)
        most = snapshot->pool_rows[k] > most ? snapshot->pool_rows[k] : most;
    accounting->random = sel_random_init((uint64_t)snapshot->time, 0);
    accounting->policy = doubles(d * d);
    accounting->logits = doubles(most * (d + 2));
    accounting->chosen = calloc(snapshot->pools + 1, sizeof *accounting->chosen);
    for (size_t k = 0; k < snapshot->shadows; k++) {
        accounting->first[k] = at;
        at += snapshot->held[k];
        rows = snapshot->held[k] > rows ? snapshot->held[k] : rows;
    }
    for (size_t k = 0; k < RIVALS; k++)
        rows = snapshot->rival_held[k] > rows ? snapshot->rival_held[k] : rows;
    accounting->information = sel_information_new(d);
    accounting->x = malloc(rows * sizeof *accounting->x);
    accounting->y = doubles(rows);
    accounting->weight = doubles(rows);
    accounting->confidence = doubles(rows);
    accounting->lapses = doubles(rows);
    accounting->lambda = doubles(d);
    accounting->draws = doubles(DRAWS * d);
    accounting->matrix = doubles(d * d);
    accounting->scratch = doubles(5 * d);
    return accounting->information != NULL && accounting->x != NULL && accounting->y != NULL &&
           accounting->weight != NULL && accounting->confidence != NULL &&
           accounting->lambda != NULL && accounting->draws != NULL && accounting->matrix != NULL &&
           accounting->scratch != NULL && accounting->policy != NULL &&
           accounting->logits != NULL && accounting->chosen != NULL && accounting->lapses != NULL;
}

static double weight_at(const struct accounting *accounting, const double *psi, const float *x,
                        double lapse)
{
    double margin = 0;
    for (size_t k = 0; k < accounting->snapshot->dimension; k++)
        margin += psi[k] * (double)x[k];
    return sel_weight_tie(margin, lapse, accounting->snapshot->tie);
}

/* Sigma = diagonal Id + sum weight x x' of the first `count` listed. */
static enum sel_status sum(struct accounting *accounting, double diagonal, size_t count)
{
    for (size_t k = 0; k < accounting->snapshot->dimension; k++)
        accounting->lambda[k] = diagonal;
    enum sel_status status = sel_information_reset(accounting->information, accounting->lambda);
    return status != SEL_OK ? status
                            : sel_information_accumulate(accounting->information, accounting->x,
                                                         accounting->weight, count);
}

enum { ALL_ARMS = -1 };

/* Lists the first `most` labels of an arm; their number. */
static size_t list(struct accounting *accounting, int arm, size_t most)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    size_t count = 0;
    for (size_t k = 0; k < snapshot->count && count < most; k++) {
        if (arm != ALL_ARMS && snapshot->arm[k] != arm)
            continue;
        accounting->x[count] = snapshot->x + k * snapshot->dimension;
        accounting->y[count] = snapshot->y[k];
        accounting->lapses[count] = snapshot->lapses[k];
        accounting->confidence[count++] = snapshot->weight[k];
    }
    return count;
}

/* tr(I Sigma^-1) of the listed labels, each standing for so many. */
static enum sel_status trace_of(struct accounting *accounting, size_t count, const double *psi,
                                double lambda, double each, const double *policy, double *trace)
{
    for (size_t k = 0; k < count; k++)
        accounting->weight[k] = each * accounting->confidence[k] *
                                weight_at(accounting, psi, accounting->x[k], accounting->lapses[k]);
    enum sel_status status = sum(accounting, lambda, count);
    if (status == SEL_OK)
        status = sel_information_factor(accounting->information);
    if (status == SEL_OK)
        *trace = sel_information_trace(accounting->information, policy);
    return status;
}

/* matrix += sum of w x x' over `count` rows of d, divided by `total`. */
static enum sel_status add_pairs(struct accounting *accounting, const float *rows, size_t count,
                                 double total, const double *psi)
{
    size_t d = accounting->snapshot->dimension;
    for (size_t k = 0; k < count; k++) {
        accounting->x[k] = rows + k * d;
        accounting->weight[k] =
            weight_at(accounting, psi, accounting->x[k], accounting->snapshot->lapse) / total;
    }
    enum sel_status status = sum(accounting, 1, count);
    if (status != SEL_OK)
        return status;
    const double *sigma = sel_information_sigma(accounting->information);
    for (size_t place = 0; place < d * d; place++)
        accounting->matrix[place] += sigma[place] - (place % (d + 1) == 0);
    return SEL_OK;
}

/* Mean of w x x' over the pairs of `span` shadows from `shadow` on. */
static enum sel_status sum_shadows(struct accounting *accounting, size_t shadow, size_t span,
                                   const double *psi)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    size_t d = snapshot->dimension, rows = 0;
    enum sel_status status = SEL_OK;
    memset(accounting->matrix, 0, d * d * sizeof(double));
    for (size_t k = 0; k < span; k++)
        rows += snapshot->held[(shadow + k) % snapshot->shadows];
    for (size_t k = 0; k < span && status == SEL_OK; k++) {
        size_t at = (shadow + k) % snapshot->shadows;
        status = add_pairs(accounting, snapshot->shadow_x + accounting->first[at] * d,
                           snapshot->held[at], (double)rows, psi);
    }
    return status;
}

/* How many shadows from `shadow` on hold so many pairs; all of them at most. */
static size_t spans(const struct accounting *accounting, size_t shadow, double pairs)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    size_t span = 0;
    for (double held = 0; held < pairs && span < snapshot->shadows; span++)
        held += (double)snapshot->held[(shadow + span) % snapshot->shadows];
    return span < 1 ? 1 : span;
}

/* m_u of one shadow at one psi: of as many shadows from u on as hold m_u pairs, since a mean of
 * fewer would be too uneven and m_u too large. */
static enum sel_status find_value(struct accounting *accounting, size_t shadow, const double *psi,
                                  double target, double *value)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    for (size_t span = 0, wanted = accounting->span; wanted > span;) {
        span = accounting->span = wanted;
        enum sel_status status = sum_shadows(accounting, shadow, span, psi);
        if (status != SEL_OK)
            return status;
        *value = account_solve(accounting->matrix, accounting->policy, snapshot->dimension,
                               snapshot->lambda, target, accounting->scratch);
        if (isnan(*value))
            return SEL_SINGULAR;
        wanted = spans(accounting, shadow, *value);
    }
    return SEL_OK;
}

static enum sel_status draw_psi(struct accounting *accounting)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    double trace;
    size_t count = list(accounting, ALL_ARMS, SIZE_MAX);
    enum sel_status status = trace_of(accounting, count, snapshot->psi, snapshot->lambda,
                                      snapshot->each, snapshot->policy, &trace);
    return status != SEL_OK
               ? status
               : sel_information_draw(accounting->information, snapshot->psi, DRAWS,
                                      &accounting->random, accounting->draws, accounting->matrix);
}

/* 1 - sum p^2 of softmax(logits). */
static double spread_of(const double *logits, size_t count)
{
    double most = logits[0], sum = 0, squares = 0;
    for (size_t k = 1; k < count; k++)
        most = fmax(most, logits[k]);
    for (size_t k = 0; k < count; k++) {
        double share = exp(logits[k] - most);
        sum += share;
        squares += share * share;
    }
    return 1 - squares / (sum * sum);
}

/* Adds Cov of one pool, `times` times, a part of the way from as it is to over 1 - sum p^2. */
static enum sel_status add_pool(struct accounting *accounting, size_t pool, const float *rows,
                                const double *psi, double part)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    size_t d = snapshot->dimension, n = snapshot->pool_rows[pool];
    double *logits = accounting->logits, ess;
    for (size_t k = 0; k < n; k++) {
        logits[k] = 0;
        for (size_t j = 0; j < d; j++)
            logits[k] += psi[j] * (double)rows[k * d + j] / snapshot->beta;
    }
    double spread = fmax(spread_of(logits, n), 1e-6);
    double weight =
        snapshot->pool_weight[pool] * (double)accounting->chosen[pool] * (1 - part + part / spread);
    return sel_policy_moments(rows, n, d, logits, weight, accounting->policy, &ess, logits + n);
}

/* I at psi of as many pools drawn with replacement. How much of it small pools miss is not known:
 * a uniform part of what 1 - sum p^2 says. */
static enum sel_status draw_policy(struct accounting *accounting, const double *psi)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    size_t d = snapshot->dimension, at = 0;
    enum sel_status status = SEL_OK;
    if (snapshot->pools == 0) {
        memcpy(accounting->policy, snapshot->policy, d * d * sizeof(double));
        return SEL_OK;
    }
    memset(accounting->policy, 0, d * d * sizeof(double));
    memset(accounting->chosen, 0, snapshot->pools * sizeof *accounting->chosen);
    for (size_t k = 0; k < snapshot->pools; k++)
        accounting->chosen[sel_random_below(&accounting->random, snapshot->pools)]++;
    double part = sel_random_uniform(&accounting->random);
    for (size_t k = 0; k < snapshot->pools && status == SEL_OK; k++) {
        if (accounting->chosen[k] > 0)
            status = add_pool(accounting, k, snapshot->pool_x + at * d, psi, part);
        at += snapshot->pool_rows[k];
    }
    for (size_t row = 0; row < d; row++)
        for (size_t column = 0; column <= row; column++) {
            double value = accounting->policy[row * d + column] / (double)snapshot->pools;
            accounting->policy[row * d + column] = accounting->policy[column * d + row] = value;
        }
    return status;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Linear between the order statistics; infinite values stay so. */
static double quantile(const double *values, size_t count, double share)
{
    double place = share * (double)(count - 1);
    size_t k = (size_t)place;
    if (k + 1 >= count || isinf(values[k + 1]))
        return values[k + (place > (double)k && k + 1 < count)];
    return values[k] + (place - (double)k) * (values[k + 1] - values[k]);
}

/* m at one psi: the mean of a few shadows, far from each other so that they share few pairs. */
static enum sel_status add_value(struct accounting *accounting, size_t draw)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    const double *psi = accounting->draws + draw * snapshot->dimension;
    double target, mean = 0;
    size_t count = list(accounting, ARM_SELECTED, SIZE_MAX);
    enum sel_status status = draw_policy(accounting, psi);
    if (status == SEL_OK)
        status = trace_of(accounting, count, psi, snapshot->lambda, snapshot->each,
                          accounting->policy, &target);
    for (size_t k = 0; status == SEL_OK && k < SHADOWS_A_DRAW; k++) {
        double value = 0;
        size_t shadow = (draw + k * snapshot->shadows / SHADOWS_A_DRAW) % snapshot->shadows;
        status = find_value(accounting, shadow, psi, target, &value);
        mean += value / SHADOWS_A_DRAW;
    }
    accounting->values[accounting->value_count++] = mean;
    return status;
}

static enum sel_status find_labels(struct accounting *accounting, struct account *account)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    enum sel_status status = draw_psi(accounting);
    accounting->span = 1;
    for (size_t k = 0; status == SEL_OK && k < DRAWS && !atomic_load(accounting->stop); k++)
        status = add_value(accounting, k);
    if (status != SEL_OK || accounting->value_count < DRAWS)
        return status;
    qsort(accounting->values, DRAWS, sizeof(double), ascending);
    account->labels = (struct account_range){quantile(accounting->values, DRAWS, TAIL),
                                             quantile(accounting->values, DRAWS, .5),
                                             quantile(accounting->values, DRAWS, 1 - TAIL)};
    size_t count = list(accounting, ARM_SELECTED, SIZE_MAX);
    return trace_of(accounting, count, snapshot->psi, snapshot->lambda, snapshot->each,
                    snapshot->policy, &account->trace);
}

/* ---- arms ---- */

static enum sel_status fit_arm(struct accounting *accounting, enum pair_arm arm, size_t most,
                               struct sel_preference *preference, struct account_arm *found)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    size_t d = snapshot->dimension, count = list(accounting, (int)arm, most);
    struct sel_preference_options options = sel_preference_defaults(d);
    struct sel_preference_result result;
    options.lapse = snapshot->lapse;
    options.lapses = accounting->lapses;
    options.tie = snapshot->tie;
    options.lambda = snapshot->fit_lambda;
    if (snapshot->fit_lambda_max > 0)
        options.lambda_max = snapshot->fit_lambda_max;
    double *psi = accounting->scratch;
    memset(psi, 0, d * sizeof *psi);
    enum sel_status status =
        sel_preference_fit(preference, accounting->x, accounting->y, accounting->confidence, count,
                           NULL, &options, psi, &result);
    if (status != SEL_OK && status != SEL_NOT_CONVERGED)
        return status;
    found->lambda = result.lambda;
    status = trace_of(accounting, count, psi, result.lambda, 1, snapshot->policy, &found->trace);
    found->gap = found->trace / (2 * snapshot->beta);
    return status;
}

/* Of a sample the first labels are not known. */
static enum sel_status compare_arms(struct accounting *accounting, struct account *account)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    int64_t each = snapshot->selected < snapshot->control ? snapshot->selected : snapshot->control;
    if (snapshot->each > 1 || each == 0)
        return SEL_OK;
    struct sel_preference *preference = sel_preference_new(snapshot->dimension);
    if (preference == NULL)
        return SEL_NO_MEMORY;
    enum sel_status status =
        fit_arm(accounting, ARM_SELECTED, (size_t)each, preference, &account->selected);
    if (status == SEL_OK)
        status = fit_arm(accounting, ARM_CONTROL, (size_t)each, preference, &account->control);
    sel_preference_free(preference);
    account->each = status == SEL_OK ? (size_t)each : 0;
    return status;
}

/* ---- rivals ---- */

static enum sel_status find_rivals(struct accounting *accounting, struct account *account)
{
    const struct accounting_snapshot *snapshot = accounting->snapshot;
    size_t d = snapshot->dimension, at = 0;
    enum sel_status status = SEL_OK;
    for (size_t k = 0; k < RIVALS && snapshot->rival_held[k] > 0 && status == SEL_OK; k++) {
        size_t held = snapshot->rival_held[k];
        memset(accounting->matrix, 0, d * d * sizeof(double));
        status =
            add_pairs(accounting, snapshot->rival_x + at * d, held, (double)held, snapshot->psi);
        if (status == SEL_OK)
            account->rivals[k] =
                account_solve(accounting->matrix, snapshot->policy, d, snapshot->lambda,
                              account->trace, accounting->scratch);
        at += held;
    }
    return status;
}

/* ---- the whole ---- */

static void judge(const struct accounting_snapshot *snapshot, struct account *account)
{
    account->supported = false;
    if (snapshot->predicted < ACCOUNT_CONTROL)
        snprintf(account->reason, sizeof account->reason,
                 "not supported by the control arm: %zu of its labels were predicted since the "
                 "start, %d are needed",
                 snapshot->predicted, ACCOUNT_CONTROL);
    else if (!(snapshot->surprise <= ACCOUNT_SURPRISE))
        snprintf(account->reason, sizeof account->reason,
                 "not supported by the control arm: the last %zu labels contradict the fit by %.1f "
                 "deviations, at most %.1f are allowed",
                 snapshot->predicted, snapshot->surprise, ACCOUNT_SURPRISE);
    else
        account->supported = true;
}

bool account(const struct accounting_snapshot *snapshot, const atomic_bool *stop,
             struct account *account, struct error *error)
{
    struct accounting accounting;
    enum sel_status status = SEL_NO_MEMORY;
    *account = (struct account){0};
    if (accounting_init(&accounting, snapshot, stop))
        status = find_labels(&accounting, account);
    bool whole = accounting.value_count == DRAWS;
    if (status == SEL_OK && whole)
        status = compare_arms(&accounting, account);
    if (status == SEL_OK && whole)
        status = find_rivals(&accounting, account);
    accounting_fini(&accounting);
    if (status == SEL_OK && !whole)
        return error_set(error, ERROR_RETRY, "told to stop");
    if (status != SEL_OK)
        return error_set(error, ERROR_DATA, "accounting: %s", sel_status_text(status));
    account->gap.low = snapshot->trace / (2 * snapshot->beta);
    account->gap.high = snapshot->effective > 1 ? account->gap.low / (1 - 1 / snapshot->effective)
                                                : (double)INFINITY;
    judge(snapshot, account);
    return true;
}
