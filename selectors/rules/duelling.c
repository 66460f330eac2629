/* Duelling bandits: a champion, then a partner. With U_ij, L_ij = sigma(D_ij +- c s_ij), s_ij the
 * exact width |phi_i - phi_j| in Sigma^-1, and the candidates C = {i: U_ij > 1/2 - buffer for all
 * j}; a C of fewer than two skips the pool.
 *
 *   ucb        i = argmax r, j = argmax -|D_ij| + c s_ij
 *   maxminlcb  i = argmax_i min_{j in C} L_ij, j that argmin
 *   minmaxucb  i = argmin_i max_j U_ij, j that argmax
 *   maxmaxucb  the largest U_ij of all
 *   maxwidth   the largest (U_ij - L_ij) / 2 within C
 *   multisbm   i = the last challenger, j = argmax_j U_ji
 *   sparring   i = argmax r + c s of one learner, j = argmax of the other learner's
 *   rucb       j uniform in C, i = argmax_i U_ij
 *   doubler    j uniform in C, i = argmax_i mean_k U_ik
 *   ids        g = argmax r, D = max_{i in C} U_ig; j in C and p in (0, 1] that minimise
 *              (D + p P_gj)^2 / p log(1 + w_gj / rho^2); asked with probability p, else skipped
 *
 * Where a published rule would ask (i, i), the next j is taken. Widths w are (U - L) / 2 and P_gj =
 * sigma(k D_gj), k = (1 + pi s^2 / 8)^-1/2, the posterior mean. Ties go to the first. Bounds are
 * compared as margins D_ij +- c s_ij, which sigma, rising, would only round. */
#include "selectors/rules/rules.h"
#include "selectors/rules/view.h"

static double confidence(const struct sel_view *view)
{
    return view->parameters[0];
}

/* The margin above which an upper bound must be for a candidate: sigma of it is 1/2 - buffer. */
static double least_margin(const struct sel_view *view)
{
    double buffer = view->parameters[1];
    return log((.5 - buffer) / (.5 + buffer));
}

/* Marks C in `member` (n values, 0 or 1); returns its size. */
static size_t find_candidates(const struct sel_view *view, double *member)
{
    double least = least_margin(view);
    size_t size = 0;
    for (size_t i = 0; i < view->n; i++) {
        member[i] = 1;
        for (size_t j = 0; j < view->n && member[i] > 0 && least > -INFINITY; j++)
            if (i != j && view->pairs[view_index(view, i, j)].variance > 0 &&
                !(view_upper_margin(view, i, j, confidence(view)) > least))
                member[i] = 0;
        size += member[i] > 0;
    }
    return size;
}

static void ucb(const struct sel_view *view, double *scores)
{
    view_fill(view, scores, -INFINITY);
    size_t i = view_champion(view, view->reward);
    for (size_t j = 0; i < view->n && j < view->n; j++)
        if (view_allows(view, i, j))
            scores[view_index(view, i, j)] =
                confidence(view) * view_width(view, i, j) - fabs(view->reward[i] - view->reward[j]);
}

/* min or max over the allowed partners of i (in C where `member` is given); NAN when none. */
static double extreme(const struct sel_view *view, size_t i, const double *member, bool lower)
{
    double value = NAN;
    for (size_t j = 0; j < view->n; j++) {
        if (!view_allows(view, i, j) || (member != NULL && member[j] == 0))
            continue;
        double bound = lower ? view_lower_margin(view, i, j, confidence(view))
                             : view_upper_margin(view, i, j, confidence(view));
        if (!(lower ? value <= bound : value >= bound)) /* the first, too */
            value = bound;
    }
    return value;
}

static void maxminlcb(const struct sel_view *view, double *scores)
{
    view_fill(view, scores, -INFINITY);
    double *member = view->scratch;
    size_t champion = view->n;
    double highest = -INFINITY;
    if (find_candidates(view, member) < 2)
        return;
    for (size_t i = 0; i < view->n; i++) {
        double value = member[i] > 0 ? extreme(view, i, member, true) : NAN;
        if (value > highest) {
            highest = value;
            champion = i;
        }
    }
    for (size_t j = 0; champion < view->n && j < view->n; j++)
        if (view_allows(view, champion, j) && member[j] > 0)
            scores[view_index(view, champion, j)] =
                -view_lower(view, champion, j, confidence(view));
}

static void minmaxucb(const struct sel_view *view, double *scores)
{
    view_fill(view, scores, -INFINITY);
    size_t champion = view->n;
    double lowest = INFINITY;
    for (size_t i = 0; i < view->n; i++) {
        double value = extreme(view, i, NULL, false);
        if (value < lowest) {
            lowest = value;
            champion = i;
        }
    }
    for (size_t j = 0; champion < view->n && j < view->n; j++)
        if (view_allows(view, champion, j))
            scores[view_index(view, champion, j)] = view_upper(view, champion, j, confidence(view));
}

static double maxmaxucb(const struct sel_pair *pair)
{
    return sel_sigmoid(fabs(pair->margin) + pair->parameters[0] * sqrt(pair->variance));
}

static void maxwidth(const struct sel_view *view, double *scores)
{
    double c = confidence(view);
    double *member = view->scratch;
    view_fill(view, scores, -INFINITY);
    if (find_candidates(view, member) < 2)
        return;
    for (size_t i = 0; i + 1 < view->n; i++)
        for (size_t j = i + 1; j < view->n; j++)
            if (member[i] > 0 && member[j] > 0)
                scores[view_index(view, i, j)] =
                    (view_upper(view, i, j, c) - view_lower(view, i, j, c)) / 2;
}

static void multisbm(const struct sel_view *view, double *scores)
{
    view_fill(view, scores, -INFINITY);
    const double *previous = view->inputs[SEL_PREVIOUS];
    size_t i = view_champion(view, view->reward);
    for (size_t k = 0; k < view->n; k++)
        if (previous[k] > 0 && view_can_play(view, k))
            i = k;
    for (size_t j = 0; i < view->n && j < view->n; j++)
        if (view_allows(view, i, j))
            scores[view_index(view, i, j)] = view_upper(view, j, i, confidence(view));
}

static void sparring(const struct sel_view *view, double *scores)
{
    double c = confidence(view);
    double *left = view->scratch;
    const double *second = view->inputs[SEL_SECOND_REWARD];
    const double *width = view->inputs[SEL_SECOND_WIDTH];
    view_fill(view, scores, -INFINITY);
    for (size_t i = 0; i < view->n; i++)
        left[i] = view->reward[i] + c * view->width[i];
    size_t i = view_champion(view, left);
    for (size_t j = 0; i < view->n && j < view->n; j++)
        if (view_allows(view, i, j))
            scores[view_index(view, i, j)] = second[j] + c * width[j];
}

/* ---- drawn from C ---- */

/* The allowed partner i of j of the highest value; n when none. */
static size_t partner(const struct sel_view *view, size_t j,
                      double (*value)(const struct sel_view *view, size_t i, size_t j))
{
    size_t best = view->n;
    double highest = -INFINITY;
    for (size_t i = 0; i < view->n; i++)
        if (view_allows(view, i, j) && value(view, i, j) > highest) {
            highest = value(view, i, j);
            best = i;
        }
    return best;
}

static double upper(const struct sel_view *view, size_t i, size_t j)
{
    return view_upper(view, i, j, confidence(view));
}

static double mean_upper(const struct sel_view *view, size_t i, size_t j)
{
    (void)j;
    double sum = 0;
    for (size_t k = 0; k < view->n; k++)
        if (k != i)
            sum += upper(view, i, k);
    return sum / (double)(view->n - 1);
}

static void uniform_then(const struct sel_view *view,
                         double (*value)(const struct sel_view *view, size_t i, size_t j),
                         double *probability)
{
    double *member = view->scratch;
    size_t size = find_candidates(view, member);
    view_fill(view, probability, 0);
    for (size_t j = 0; size >= 2 && j < view->n; j++) {
        size_t i = member[j] > 0 ? partner(view, j, value) : view->n;
        if (i < view->n)
            probability[view_index(view, i, j)] += 1;
    }
    view_normalise(view, probability);
}

static void rucb(const struct sel_view *view, double *probability)
{
    uniform_then(view, upper, probability);
}

static void doubler(const struct sel_view *view, double *probability)
{
    uniform_then(view, mean_upper, probability);
}

static void ids(const struct sel_view *view, double *probability)
{
    double c = confidence(view);
    double rho = view->parameters[2];
    double *member = view->scratch;
    size_t size = find_candidates(view, member);
    view_fill(view, probability, 0);
    size_t greedy = view_champion(view, view->reward);
    if (size < 2 || greedy == view->n)
        return;
    double regret = -INFINITY;
    for (size_t i = 0; i < view->n; i++)
        if (i != greedy && member[i] > 0)
            regret = fmax(regret, view_upper(view, i, greedy, c));
    double lowest = INFINITY;
    for (size_t j = 0; j < view->n; j++) {
        if (!view_allows(view, greedy, j) || member[j] == 0)
            continue;
        double s = view_width(view, greedy, j);
        double mean =
            sel_sigmoid((view->reward[greedy] - view->reward[j]) / sqrt(1 + M_PI * s * s / 8));
        double width = (view_upper(view, greedy, j, c) - view_lower(view, greedy, j, c)) / 2;
        double p = fmin(1, regret / mean);
        double loss = regret + p * mean;
        double value = loss * loss / p * log1p(width / (rho * rho));
        if (value < lowest) {
            lowest = value;
            view_fill(view, probability, 0);
            probability[view_index(view, greedy, j)] = p;
        }
    }
}

/* ---- the rows ---- */

static const struct sel_parameter candidate_parameters[] = {
    RULE_CONFIDENCE,
    {.name = "buffer",
     .fallback = 0,
     .least = -.5,
     .most = .5,
     .text = "a completion is a candidate while no upper bound is below 1/2 - buffer"},
    {.name = "resolution",
     .required = true,
     .least = 1e-9,
     .most = HUGE_VAL,
     .text = "rho: width of one observation, in units of probability"},
};

static const struct sel_parameter maxminlcb_parameters[] = {
    RULE_CONFIDENCE,
    {.name = "buffer",
     .fallback = .5,
     .least = -.5,
     .most = .5,
     .text =
         "a completion is a candidate while no upper bound is below 1/2 - buffer; 1/2: all are"},
};

const struct sel_rule rule_ucb = {
    .name = "ucb",
    .formula = "i = argmax r; j = argmax -abs(D) + c s",
    .source = "champion and challenger, the usual baseline",
    .cost = "K^2",
    .traits = SEL_SIGNED,
    .parameters = rules_confidence,
    .parameter_count = 1,
    .scores = ucb,
};

const struct sel_rule rule_maxminlcb = {
    .name = "maxminlcb",
    .formula = "i = argmax_i min_j L_ij, j that argmin",
    .source = "Pasztor et al., arXiv 2406.16745 (MaxMinLCB); arXiv 2603.09692",
    .cost = "K^2",
    .traits = SEL_SIGNED,
    .parameters = maxminlcb_parameters,
    .parameter_count = 2,
    .scores = maxminlcb,
};

const struct sel_rule rule_minmaxucb = {
    .name = "minmaxucb",
    .formula = "i = argmin_i max_j U_ij, j that argmax",
    .source = "arXiv 2406.16745, baselines",
    .cost = "K^2",
    .parameters = rules_confidence,
    .parameter_count = 1,
    .scores = minmaxucb,
};

const struct sel_rule rule_maxmaxucb = {
    .name = "maxmaxucb",
    .formula = "max(U_ij, U_ji) = sigma(abs(D) + c s)",
    .source = "arXiv 2406.16745, baselines",
    .cost = "K^2",
    .traits = SEL_SHRINKING,
    .parameters = rules_confidence,
    .parameter_count = 1,
    .score = maxmaxucb,
};

static const char *const maxwidth_aliases[] = {"max_info_gain", NULL};

const struct sel_rule rule_maxwidth = {
    .name = "maxwidth",
    .aliases = maxwidth_aliases,
    .formula = "(U_ij - L_ij) / 2 among the candidates",
    .source = "arXiv 2406.16745 (MaxInP), baselines",
    .cost = "K^2",
    .parameters = candidate_parameters,
    .parameter_count = 2,
    .scores = maxwidth,
};

const struct sel_rule rule_multisbm = {
    .name = "multisbm",
    .formula = "i = the last challenger, j = argmax_j U_ji",
    .source = "Ailon et al. 2014 (MultiSBM)",
    .cost = "K",
    .needs = SEL_NEEDS(SEL_PREVIOUS),
    .parameters = rules_confidence,
    .parameter_count = 1,
    .scores = multisbm,
};

const struct sel_rule rule_sparring = {
    .name = "sparring",
    .formula = "i = argmax u of one learner, j = argmax u of the other, u = r + c s",
    .source = "Ailon et al. 2014 (Sparring)",
    .cost = "K",
    .needs = SEL_NEEDS(SEL_SECOND_REWARD) | SEL_NEEDS(SEL_SECOND_WIDTH),
    .traits = SEL_SIGNED,
    .parameters = rules_confidence,
    .parameter_count = 1,
    .scores = sparring,
};

const struct sel_rule rule_rucb = {
    .name = "rucb",
    .formula = "j uniform among the candidates, i = argmax_i U_ij",
    .source = "Zoghi et al., arXiv 1312.3393 (RUCB)",
    .cost = "K^2",
    .parameters = candidate_parameters,
    .parameter_count = 2,
    .distribution = rucb,
};

const struct sel_rule rule_doubler = {
    .name = "doubler",
    .formula = "j uniform among the candidates, i = argmax_i mean_k U_ik",
    .source = "Ailon et al. 2014 (Doubler), in its single-estimator form",
    .cost = "K^3",
    .parameters = candidate_parameters,
    .parameter_count = 2,
    .distribution = doubler,
};

const struct sel_rule rule_ids = {
    .name = "ids",
    .formula = "min over j, p of (D + p P_gj)^2 / p log(1 + w_gj / rho^2); g = argmax r",
    .source = "Kirschner, Krause, arXiv 2105.11802; ActiveUltraFeedback, arXiv 2603.09692",
    .cost = "K^2",
    .parameters = candidate_parameters,
    .parameter_count = 3,
    .distribution = ids,
};
