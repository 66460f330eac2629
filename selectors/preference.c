/* psi by penalised maximum likelihood, lambda by evidence.
 *
 *   f(psi) = sum_k weight_k loss(y_k, m_k) + sum_b lambda_b/2 |psi_b - prior_b|^2,  m = psi' x
 *   loss   = -y log P - (1-y) log(1-P),  P = (1-e) sigma(m) + e/2, e one for all or of the label
 *   or, with options->tie, that of three answers in ties.c, whose w then stands below
 *   F      = sum_k weight_k w_k x_k x_k', w = [(1-e) sigma']^2 / (P (1-P)): the Hessian of the sum
 *            for e = 0, the Fisher information otherwise;  Sigma = diag(lambda) + F
 * Newton: psi -= t Sigma^-1 gradient, t = 1, halved until f falls (Armijo).
 * Evidence (MacKay 1992), for each group b of d_b features: gamma_b = d_b - lambda_b times the
 * trace of its block of Sigma^-1, lambda_b = gamma_b / |psi_b - prior_b|^2 clipped, then again; f,
 * gradient and Sigma follow a change of lambda without a pass over the list. Guard: labels asked at
 * margins near 0 look like coin flips, and evidence then says psi = prior. Where the sum of gamma_b
 * is below d/2 with n > 2 d labels, the fit is started again from psi = prior, all lambda = 1 and
 * three rounds; the result with the larger evidence is kept.
 *
 * The list is read in blocks of LINEAR_BLOCK rows; margins are never stored. A pass costs O(n d^2)
 * with Sigma and O(n d) without, a step O(d^3) more. */
#include "selectors/linear.h"
#include "selectors/weights.h"

#include <stdlib.h>
#include <string.h>

static const int HALVINGS_MAX = 40;
static const int GUARD_ROUNDS = 3;

struct sel_preference {
    size_t d;
    double *fisher;     /* F, lower triangle */
    double *factor;     /* of Sigma */
    double *block;      /* LINEAR_BLOCK x d */
    double *margin;     /* LINEAR_BLOCK */
    double *slope;      /* LINEAR_BLOCK: dloss/dm */
    double *value;      /* LINEAR_BLOCK: loss */
    double *curvature;  /* LINEAR_BLOCK: w */
    double *likelihood; /* d: gradient of the sum of losses */
    double *gradient;   /* d: of f */
    double *step;       /* d */
    double *trial;      /* d */
    double *kept;       /* d: what the guard competes with */
};

/* One call's arguments and where the iteration stands. */
struct fit {
    struct sel_preference *preference;
    const sel_feature *const *x;
    const double *y;
    const double *weight;
    size_t n;
    const double *prior;
    const struct sel_preference_options *options;
    double *psi;
    size_t groups;
    size_t sizes[SEL_GROUPS_MAX];  /* d_b */
    double lambda[SEL_GROUPS_MAX]; /* of each group */
    double loss;                   /* sum of losses at psi, to which fisher and likelihood belong */
    int iterations;
};

struct sel_preference_options sel_preference_defaults(size_t d)
{
    return (struct sel_preference_options){
        .lapse = 0,
        .lambda = 0,
        .lambda_start = 1,
        .lambda_max = 2 * (double)d / .09,
        .lambda_min = .01,
        .evidence_from = d > 100 ? d / 2 : 50,
        .evidence_rounds = 2,
        .guard = true,
        .iterations_max = 50,
        .tolerance = 1e-8,
    };
}

struct sel_preference *sel_preference_new(size_t d)
{
    if (d == 0 || d > INT32_MAX / sizeof(double) / LINEAR_BLOCK)
        return NULL;
    struct sel_preference *preference = calloc(1, sizeof *preference);
    if (preference == NULL)
        return NULL;
    preference->d = d;
    preference->fisher = calloc(d * d, sizeof(double));
    preference->factor = calloc(d * d, sizeof(double));
    preference->block = calloc((LINEAR_BLOCK + 5) * d + 4 * LINEAR_BLOCK, sizeof(double));
    if (preference->fisher == NULL || preference->factor == NULL || preference->block == NULL) {
        sel_preference_free(preference);
        return NULL;
    }
    preference->margin = preference->block + LINEAR_BLOCK * d;
    preference->slope = preference->margin + LINEAR_BLOCK;
    preference->value = preference->slope + LINEAR_BLOCK;
    preference->curvature = preference->value + LINEAR_BLOCK;
    preference->likelihood = preference->curvature + LINEAR_BLOCK;
    preference->gradient = preference->likelihood + d;
    preference->step = preference->gradient + d;
    preference->trial = preference->step + d;
    preference->kept = preference->trial + d;
    return preference;
}

void sel_preference_free(struct sel_preference *preference)
{
    if (preference == NULL)
        return;
    free(preference->fisher);
    free(preference->factor);
    free(preference->block);
    free(preference);
}

/* ---- the likelihood ---- */

struct label_loss {
    double value;
    double slope;
    double weight;
};

static struct label_loss sided_loss_of(double y, double margin, double lapse)
{
    struct label_loss loss;
    if (lapse <= 0) {
        weights_find_losses(&margin, &y, 1,
                            (struct weights_losses){&loss.value, &loss.slope, &loss.weight});
        return loss;
    }
    double small = exp(-fabs(margin)); /* all that follows hangs on it */
    double larger = 1 / (1 + small), smaller = small / (1 + small);
    double left = (1 - lapse) * (margin >= 0 ? larger : smaller) + lapse / 2;
    double right = (1 - lapse) * (margin >= 0 ? smaller : larger) + lapse / 2;
    double slope = (1 - lapse) * (small / ((1 + small) * (1 + small)));
    return (struct label_loss){
        .value = -y * log(left) - (1 - y) * log(right),
        .slope = slope * ((1 - y) / right - y / left),
        .weight = slope / left * (slope / right),
    };
}

/* The same by Davidson's model; see ties.c. */
static struct label_loss tie_loss_of(double y, double margin, double lapse, double tie)
{
    struct sel_chances honest = sel_tie_chances(margin, 0, tie);
    double half = (honest.left - honest.right) / 2, weight = sel_weight_tie(margin, lapse, tie);
    if (y == .5)
        /* log T, which no subtraction has lost */
        return (struct label_loss){-log1p(-lapse) - log(tie) + fabs(margin) / 2 +
                                       log1p(exp(-fabs(margin)) + tie * exp(-fabs(margin) / 2)),
                                   half, weight};
    struct label_loss loss = {.weight = weight};
    const struct {
        double share, chance, change; /* change: of the logarithm of the honest chance */
    } sides[] = {{y, honest.left, honest.right + honest.tie / 2},
                 {1 - y, honest.right, -honest.left - honest.tie / 2}};
    for (int side = 0; side < 2; side++) {
        double answer = (1 - lapse) * sides[side].chance, all = answer + lapse / 2;
        if (sides[side].share > 0 && all > 0) {
            loss.value -= sides[side].share * log(all);
            loss.slope -= sides[side].share * sides[side].change * (answer / all);
        } else if (sides[side].share > 0) { /* e^-|m| is 0 */
            loss.value += sides[side].share * fabs(margin);
            loss.slope -= sides[side].share * sides[side].change;
        }
    }
    return loss;
}

static double lapse_of(const struct fit *fit, size_t k)
{
    return fit->options->lapses == NULL ? fit->options->lapse : fit->options->lapses[k];
}

static struct label_loss loss_of(const struct fit *fit, size_t k, double margin)
{
    double lapse = lapse_of(fit, k), tie = fit->options->tie;
    return tie > 0 ? tie_loss_of(fit->y[k], margin, lapse, tie)
                   : sided_loss_of(fit->y[k], margin, lapse);
}

/* Losses of one block at its margins. */
static void fill_losses(const struct fit *fit, size_t from, size_t rows)
{
    struct sel_preference *preference = fit->preference;
    const struct sel_preference_options *options = fit->options;
    if (options->lapses == NULL && options->lapse <= 0 && !(options->tie > 0)) {
        weights_find_losses(
            preference->margin, fit->y + from, rows,
            (struct weights_losses){preference->value, preference->slope, preference->curvature});
        return;
    }
    for (size_t k = 0; k < rows; k++) {
        struct label_loss loss = loss_of(fit, from + k, preference->margin[k]);
        preference->value[k] = loss.value;
        preference->slope[k] = loss.slope;
        preference->curvature[k] = loss.weight;
    }
}

/* Adds one block to the sum of losses; with `full` also to likelihood and fisher. */
static double add_block(const struct fit *fit, const double *psi, size_t from, size_t rows,
                        bool full)
{
    struct sel_preference *preference = fit->preference;
    size_t d = preference->d;
    blasint columns = (blasint)d;
    for (size_t k = 0; k < rows; k++)
        linear_widen(fit->x[from + k], preference->block + k * d, d);
    cblas_dgemv(CblasRowMajor, CblasNoTrans, (blasint)rows, columns, 1, preference->block, columns,
                psi, 1, 0, preference->margin, 1);
    fill_losses(fit, from, rows);
    double sum = 0;
    for (size_t k = 0; k < rows; k++)
        sum += fit->weight[from + k] * preference->value[k];
    if (!full)
        return sum;
    for (size_t k = 0; k < rows; k++) {
        preference->slope[k] *= fit->weight[from + k];
        preference->curvature[k] = sqrt(fit->weight[from + k] * preference->curvature[k]);
    }
    cblas_dgemv(CblasRowMajor, CblasTrans, (blasint)rows, columns, 1, preference->block, columns,
                preference->slope, 1, 1, preference->likelihood, 1);
    for (size_t k = 0; k < rows; k++)
        cblas_dscal(columns, preference->curvature[k], preference->block + k * d, 1);
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, columns, (blasint)rows, 1, preference->block,
                columns, 1, preference->fisher, columns);
    return sum;
}

/* Sum of losses at psi; `full` renews likelihood and fisher for it. */
static double pass(const struct fit *fit, const double *psi, bool full)
{
    size_t d = fit->preference->d;
    if (full) {
        memset(fit->preference->likelihood, 0, d * sizeof(double));
        memset(fit->preference->fisher, 0, d * d * sizeof(double));
    }
    double sum = 0;
    for (size_t from = 0; from < fit->n; from += LINEAR_BLOCK) {
        size_t rows = fit->n - from < LINEAR_BLOCK ? fit->n - from : LINEAR_BLOCK;
        sum += add_block(fit, psi, from, rows, full);
    }
    return sum;
}

static size_t group_of(const struct fit *fit, size_t feature)
{
    return fit->groups == 1 ? 0 : fit->options->group[feature];
}

/* |psi_b - prior_b|^2 of each group. */
static void find_distances(const struct fit *fit, const double *psi, double *squares)
{
    for (size_t b = 0; b < fit->groups; b++)
        squares[b] = 0;
    for (size_t k = 0; k < fit->preference->d; k++) {
        double away = psi[k] - (fit->prior == NULL ? 0 : fit->prior[k]);
        squares[group_of(fit, k)] += away * away;
    }
}

static double objective_of(const struct fit *fit, const double *psi, double loss)
{
    double squares[SEL_GROUPS_MAX], penalty = 0;
    find_distances(fit, psi, squares);
    for (size_t b = 0; b < fit->groups; b++)
        penalty += fit->lambda[b] / 2 * squares[b];
    return loss + penalty;
}

/* Gradient of f at psi; returns its largest entry in size. */
static double find_gradient(const struct fit *fit)
{
    struct sel_preference *preference = fit->preference;
    double largest = 0;
    for (size_t k = 0; k < preference->d; k++) {
        double away = fit->psi[k] - (fit->prior == NULL ? 0 : fit->prior[k]);
        preference->gradient[k] = preference->likelihood[k] + fit->lambda[group_of(fit, k)] * away;
        double size = fabs(preference->gradient[k]);
        if (!(size <= largest)) /* keeps a NaN */
            largest = size;
    }
    return largest;
}

/* Factor of diag(lambda) + F, with more on the diagonal where rounding left it indefinite. */
static bool factor_information(const struct fit *fit)
{
    struct sel_preference *preference = fit->preference;
    size_t d = preference->d;
    double largest = fit->lambda[0];
    for (size_t b = 1; b < fit->groups; b++)
        largest = fmax(largest, fit->lambda[b]);
    for (size_t k = 0; k < d; k++)
        largest = fmax(largest, preference->fisher[k * d + k]);
    double extra = 0;
    for (int attempt = 0; attempt < 8; attempt++) {
        memcpy(preference->factor, preference->fisher, d * d * sizeof(double));
        for (size_t k = 0; k < d; k++)
            preference->factor[k * d + k] += fit->lambda[group_of(fit, k)] + extra;
        if (linear_factor(preference->factor, d))
            return true;
        extra = extra > 0 ? extra * 100 : 1e-15 * (double)d * largest;
    }
    return false;
}

/* ---- Newton ---- */

/* Moves psi along `step`, whose derivative of f is `slope` < 0. False when f does not fall. */
static bool search(struct fit *fit, double slope)
{
    struct sel_preference *preference = fit->preference;
    size_t d = preference->d;
    double start = objective_of(fit, fit->psi, fit->loss);
    double rounding = 1e-14 * (fabs(start) + 1);
    double length = 1;
    for (int halvings = 0; halvings <= HALVINGS_MAX; halvings++, length /= 2) {
        for (size_t k = 0; k < d; k++)
            preference->trial[k] = fit->psi[k] + length * preference->step[k];
        /* The full step is nearly always taken: one pass then gives all that the next one needs. */
        double loss = pass(fit, preference->trial, halvings == 0);
        double value = objective_of(fit, preference->trial, loss);
        if (!(value <= start + 1e-4 * length * slope + rounding))
            continue;
        memcpy(fit->psi, preference->trial, d * sizeof(double));
        fit->loss = halvings == 0 ? loss : pass(fit, fit->psi, true);
        return true;
    }
    fit->loss = pass(fit, fit->psi, true);
    return false;
}

/* Minimises f at the present lambda. On return loss, likelihood and fisher belong to psi. */
static enum sel_status solve(struct fit *fit, double *gradient)
{
    struct sel_preference *preference = fit->preference;
    size_t d = preference->d;
    for (int iteration = 0; iteration <= fit->options->iterations_max; iteration++) {
        *gradient = find_gradient(fit);
        if (*gradient <= fit->options->tolerance)
            return SEL_OK;
        if (iteration == fit->options->iterations_max || !factor_information(fit))
            break;
        for (size_t k = 0; k < d; k++)
            preference->step[k] = -preference->gradient[k];
        linear_solve(preference->factor, d, preference->step);
        double slope = linear_dot(preference->gradient, preference->step, d);
        if (!(slope < 0) || !search(fit, slope))
            break;
        fit->iterations++;
    }
    *gradient = find_gradient(fit);
    return *gradient <= fit->options->tolerance ? SEL_OK : SEL_NOT_CONVERGED;
}

/* ---- evidence ---- */

/* Traces of the groups' blocks of Sigma^-1 = L^-T L^-1, from L^-1. */
static void find_traces(const struct fit *fit, double *traces)
{
    const double *row = fit->preference->factor;
    size_t d = fit->preference->d;
    for (size_t b = 0; b < fit->groups; b++)
        traces[b] = 0;
    for (size_t k = 0; k < d; k++, row += d) {
        if (fit->groups == 1) {
            traces[0] += linear_dot(row, row, k + 1);
            continue;
        }
        for (size_t j = 0; j <= k; j++)
            traces[group_of(fit, j)] += row[j] * row[j];
    }
}

/* gamma of each group and log det Sigma at psi. */
static bool measure(const struct fit *fit, double *gamma, double *log_determinant)
{
    struct sel_preference *preference = fit->preference;
    size_t d = preference->d;
    if (!factor_information(fit))
        return false;
    *log_determinant = linear_log_determinant(preference->factor, d);
    if (!linear_invert_triangle(preference->factor, d))
        return false;
    double traces[SEL_GROUPS_MAX];
    find_traces(fit, traces);
    for (size_t b = 0; b < fit->groups; b++)
        gamma[b] = fmax(0, (double)fit->sizes[b] - fit->lambda[b] * traces[b]);
    return true;
}

static double clip_lambda(const struct fit *fit, double lambda)
{
    return fmin(fmax(lambda, fit->options->lambda_min), fit->options->lambda_max);
}

static void renew_lambda(struct fit *fit, const double *gamma)
{
    double squares[SEL_GROUPS_MAX];
    find_distances(fit, fit->psi, squares);
    for (size_t b = 0; b < fit->groups; b++)
        fit->lambda[b] = clip_lambda(fit, squares[b] > 0 ? gamma[b] / squares[b] : INFINITY);
}

/* log of the normalised prior's share of the evidence: sum_b d_b/2 log lambda_b. */
static double log_prior(const struct fit *fit)
{
    double sum = 0;
    for (size_t b = 0; b < fit->groups; b++)
        sum += (double)fit->sizes[b] / 2 * log(fit->lambda[b]);
    return sum;
}

/* One number for all groups: the geometric mean over the features. */
static double mean_lambda(const struct fit *fit)
{
    return fit->groups == 1 ? fit->lambda[0] : exp(2 * log_prior(fit) / (double)fit->preference->d);
}

/* Solves, then `rounds` times renews lambda and solves again. Fills `result` but for iterations.
 * *total: the sum of gamma_b. */
static enum sel_status solve_rounds(struct fit *fit, int rounds, double *total,
                                    struct sel_preference_result *result)
{
    double log_determinant = 0, gamma[SEL_GROUPS_MAX];
    enum sel_status status = solve(fit, &result->gradient);
    for (int round = 0; round <= rounds; round++) {
        if (!measure(fit, gamma, &log_determinant))
            return SEL_SINGULAR;
        if (round == rounds)
            break;
        renew_lambda(fit, gamma);
        status = solve(fit, &result->gradient);
    }
    *total = 0;
    for (size_t b = 0; b < fit->groups; b++)
        *total += gamma[b];
    result->lambda = mean_lambda(fit);
    memcpy(result->lambdas, fit->lambda, sizeof result->lambdas);
    result->objective = objective_of(fit, fit->psi, fit->loss);
    result->evidence = -result->objective + log_prior(fit) - log_determinant / 2;
    return status;
}

/* Starts again from the prior; psi and result keep the solution of the larger evidence. */
static enum sel_status restart(struct fit *fit, enum sel_status status,
                               struct sel_preference_result *result)
{
    size_t bytes = fit->preference->d * sizeof(double);
    memcpy(fit->preference->kept, fit->psi, bytes);
    if (fit->prior == NULL)
        memset(fit->psi, 0, bytes);
    else
        memcpy(fit->psi, fit->prior, bytes);
    for (size_t b = 0; b < fit->groups; b++)
        fit->lambda[b] = clip_lambda(fit, 1);
    fit->loss = pass(fit, fit->psi, true);
    struct sel_preference_result again = {0};
    double gamma = 0;
    enum sel_status second = solve_rounds(fit, GUARD_ROUNDS, &gamma, &again);
    if (second == SEL_OK && again.evidence > result->evidence) {
        *result = again;
        return second;
    }
    memcpy(fit->psi, fit->preference->kept, bytes);
    return status;
}

static bool options_are_valid(const struct sel_preference_options *options)
{
    bool fixed = options->lambda > 0 && isfinite(options->lambda);
    bool evidence = options->lambda == 0 && options->lambda_start > 0 &&
                    isfinite(options->lambda_start) && options->lambda_min > 0 &&
                    options->lambda_max >= options->lambda_min && isfinite(options->lambda_max);
    return (fixed || evidence) && options->lapse >= 0 && options->lapse < 1 && options->tie >= 0 &&
           isfinite(options->tie) && options->tolerance >= 0 && options->iterations_max >= 0 &&
           options->evidence_rounds >= 0;
}

/* Counts the features of each group and sets their lambdas; starts: one for each. False: `group`
 * names none, or a lambda is not a positive number. */
static bool take_groups(struct fit *fit, const double *starts)
{
    const struct sel_preference_options *options = fit->options;
    fit->groups = options->groups < 2 ? 1 : options->groups;
    if (fit->groups > SEL_GROUPS_MAX || (fit->groups > 1 && options->group == NULL))
        return false;
    for (size_t k = 0; k < fit->preference->d; k++) {
        if (group_of(fit, k) >= fit->groups)
            return false;
        fit->sizes[group_of(fit, k)]++;
    }
    for (size_t b = 0; b < fit->groups; b++) {
        fit->lambda[b] = starts != NULL ? starts[b] : options->lambda_start;
        if (!(fit->lambda[b] > 0) || !isfinite(fit->lambda[b]) || fit->sizes[b] == 0)
            return false;
    }
    return true;
}

/* The lambda that all groups share where it is fixed, else those that the options start from. */
static bool take_starts(struct fit *fit)
{
    double fixed[SEL_GROUPS_MAX];
    for (size_t b = 0; b < SEL_GROUPS_MAX; b++)
        fixed[b] = fit->options->lambda;
    return take_groups(fit, fixed[0] > 0 ? fixed : fit->options->lambda_starts);
}

static bool labels_are_valid(const double *y, const double *weight, const double *lapses, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (!(y[k] >= 0 && y[k] <= 1) || !(weight[k] >= 0) || !isfinite(weight[k]) ||
            (lapses != NULL && !(lapses[k] >= 0 && lapses[k] < 1)))
            return false;
    return true;
}

enum sel_status sel_preference_fit(struct sel_preference *preference, const sel_feature *const *x,
                                   const double *y, const double *weight, size_t n,
                                   const double *prior,
                                   const struct sel_preference_options *options, double *psi,
                                   struct sel_preference_result *result)
{
    if (!options_are_valid(options) || !labels_are_valid(y, weight, options->lapses, n))
        return SEL_INVALID;
    size_t d = preference->d;
    struct fit fit = {.preference = preference,
                      .x = x,
                      .y = y,
                      .weight = weight,
                      .n = n,
                      .prior = prior,
                      .options = options,
                      .psi = psi};
    bool by_evidence = options->lambda == 0 && n > 0 && n >= options->evidence_from;
    if (!take_starts(&fit))
        return SEL_INVALID;
    fit.loss = pass(&fit, psi, true);
    /* A coordinate that is not finite shows here, whatever psi is. */
    if (!isfinite(objective_of(&fit, psi, fit.loss)) || !isfinite(find_gradient(&fit)))
        return SEL_INVALID;

    *result = (struct sel_preference_result){0};
    double gamma = (double)d;
    enum sel_status status =
        solve_rounds(&fit, by_evidence ? options->evidence_rounds : 0, &gamma, result);
    bool ran_away = gamma < (double)d / 2 && n > 2 * d;
    if (by_evidence && options->guard && status != SEL_SINGULAR && ran_away)
        status = restart(&fit, status, result);
    result->iterations = fit.iterations;
    return status;
}

/* ---- labels left out ---- */

/* Of one block: psi' x and x' Sigma^-1 x, the factor of Sigma being inverted. */
static void measure_block(const struct fit *fit, size_t from, size_t rows, double *margin,
                          double *variance)
{
    struct sel_preference *preference = fit->preference;
    size_t d = preference->d;
    blasint columns = (blasint)d;
    for (size_t k = 0; k < rows; k++)
        linear_widen(fit->x[from + k], preference->block + k * d, d);
    cblas_dgemv(CblasRowMajor, CblasNoTrans, (blasint)rows, columns, 1, preference->block, columns,
                fit->psi, 1, 0, margin + from, 1);
    /* x' Sigma^-1 x = |L^-1 x|^2 */
    cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (blasint)rows,
                columns, 1, preference->factor, columns, preference->block, columns);
    for (size_t k = 0; k < rows; k++) {
        const double *row = preference->block + k * d;
        variance[from + k] = linear_dot(row, row, d);
    }
}

enum sel_status sel_preference_left_out(struct sel_preference *preference,
                                        const sel_feature *const *x, const double *y,
                                        const double *weight, size_t n,
                                        const struct sel_preference_options *options,
                                        const double *psi, const double *lambdas, double *margin,
                                        double *variance)
{
    struct fit fit = {.preference = preference,
                      .x = x,
                      .y = y,
                      .weight = weight,
                      .n = n,
                      .options = options,
                      .psi = preference->trial};
    if (!options_are_valid(options) || !labels_are_valid(y, weight, options->lapses, n) ||
        !take_groups(&fit, lambdas))
        return SEL_INVALID;
    memcpy(fit.psi, psi, preference->d * sizeof *psi);
    pass(&fit, psi, true);
    if (!factor_information(&fit) || !linear_invert_triangle(preference->factor, preference->d))
        return SEL_SINGULAR;
    for (size_t from = 0; from < n; from += LINEAR_BLOCK)
        measure_block(&fit, from, n - from < LINEAR_BLOCK ? n - from : LINEAR_BLOCK, margin,
                      variance);
    for (size_t k = 0; k < n; k++) {
        struct label_loss loss = loss_of(&fit, k, margin[k]);
        /* The label alone may be all that is known of its direction. */
        variance[k] /= fmax(1 - weight[k] * loss.weight * variance[k], 1e-9);
        margin[k] += variance[k] * weight[k] * loss.slope;
    }
    return SEL_OK;
}
