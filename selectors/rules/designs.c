/* Rules that weigh all candidates by a design, then sample.
 *
 *   trace_fw      as published: min_w tr(I (ridge Id + beta^2 sum w x x')^-1) by Frank-Wolfe, steps
 *                 2/(t+2), t = 1, 2, ..., from equal weights, oracle beta^2 x' A^-1 I A^-1 x; then
 * draws without replacement in proportion to w, or to w within a uniform prompt trace_design  min_p
 * tr(I (Sigma + n sum p w x x')^-1), p <= 1/n, to a proven gap (design.c); then systematic sampling
 * with inclusion n p dopt_fw       min_p -log det(ridge Id + sum p x x') by Frank-Wolfe with exact
 * line search, the oracle over all pairs or a random subset of R; draws without replacement by p
 *   list_fw       the same over lists: all pairs of one group enter together, V = sum of x x'
 *   gopt_round    the design of dopt_fw, pair b repeated round(n p_b) times
 * The line search: with A(s) = (1 - s) A + s (ridge Id + V), the derivative of log det is bisected.
 * For one pair it is the step of Fedorov and Wynn. */
#include "selectors/design_work.h"
#include "selectors/linear.h"
#include "selectors/rules/rules.h"
#include "selectors/rules/set.h"

#include <string.h>

/* A = ridge Id + factor sum_k p_k x_k x_k', then its inverse, both triangles. */
static bool invert_at(const struct sel_set *set, const double *p, double ridge, double factor,
                      double *a)
{
    size_t d = set->d;
    memset(a, 0, d * d * sizeof(double));
    for (size_t k = 0; k < d; k++)
        a[k * d + k] = ridge;
    for (size_t k = 0; k < set->count; k++)
        if (p[k] > 0)
            cblas_dsyr(CblasRowMajor, CblasLower, (blasint)d, factor * p[k], set->x + k * d, 1, a,
                       (blasint)d);
    if (!linear_factor(a, d) || !linear_invert(a, d))
        return false;
    linear_mirror(a, d);
    return true;
}

static void keep_design(const struct sel_set *set, struct sel_selection *selection, const double *p)
{
    if (selection->design != NULL)
        memcpy(selection->design, p, set->count * sizeof *p);
}

/* ---- the published design ---- */

enum { FW_RIDGE, FW_BETA, FW_ITERATIONS, FW_WITHIN_PROMPTS };

/* S I S of the present weights, in `square`; returns tr(I S). */
static double sandwich(const struct sel_set *set, const double *inverse, double *half,
                       double *square)
{
    size_t d = set->d;
    blasint n = (blasint)d;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, inverse, n, set->policy, n,
                0, half, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, half, n, inverse, n, 0,
                square, n);
    double trace = 0;
    for (size_t k = 0; k < d; k++)
        trace += half[k * d + k];
    return trace;
}

static void sample_within_prompts(const struct sel_set *set, struct sel_selection *selection,
                                  double *p, double *share)
{
    while (!set_is_full(set, selection)) {
        double *mass = share; /* of each group */
        size_t open = 0;
        for (size_t g = 0; g < set->groups; g++)
            mass[g] = 0;
        for (size_t k = 0; k < set->count; k++)
            mass[set->group[k]] += p[k];
        for (size_t g = 0; g < set->groups; g++)
            open += mass[g] > 0;
        if (open == 0)
            return;
        size_t left = (size_t)sel_random_below(set->random, open);
        size_t group = 0;
        while (!(mass[group] > 0) || left > 0)
            left -= mass[group++] > 0;
        double target = sel_random_uniform(set->random) * mass[group];
        size_t drawn = set->count;
        for (size_t k = 0; k < set->count && (drawn == set->count || target >= 0); k++) {
            if (set->group[k] != group || !(p[k] > 0))
                continue;
            drawn = k;
            target -= p[k];
        }
        set_choose(selection, drawn, p[drawn] / mass[group] / (double)open);
        p[drawn] = 0;
    }
}

static enum sel_status trace_fw(const struct sel_set *set, struct sel_selection *selection)
{
    size_t d = set->d;
    double factor = set->parameters[FW_BETA] * set->parameters[FW_BETA];
    double ridge = set->parameters[FW_RIDGE];
    double *inverse = set->scratch;
    double *half = inverse + d * d;
    double *square = half + d * d;
    double *p = square + d * d;
    double *image = p + set->count;
    double *mass = image + d;
    int iterations = (int)set->parameters[FW_ITERATIONS];
    if (set->random == NULL || (set->parameters[FW_WITHIN_PROMPTS] > 0 && set->group == NULL))
        return SEL_MISSING;
    for (size_t k = 0; k < set->count; k++)
        p[k] = 1 / (double)set->count;
    for (int t = 0; t <= iterations; t++) {
        if (!invert_at(set, p, ridge, factor, inverse))
            return SEL_SINGULAR;
        selection->objective = sandwich(set, inverse, half, square);
        double best = -INFINITY;
        double mean = 0;
        size_t vertex = 0;
        for (size_t k = 0; k < set->count; k++) {
            linear_apply(square, d, set->x + k * d, image);
            double slope = factor * linear_dot(image, set->x + k * d, d);
            mean += p[k] * slope;
            if (slope > best) {
                best = slope;
                vertex = k;
            }
        }
        selection->certificate = fmax(0, best - mean);
        double step = 2 / ((double)t + 3);
        for (size_t k = 0; t < iterations && k < set->count; k++)
            p[k] *= 1 - step;
        p[vertex] += t < iterations ? step : 0;
    }
    keep_design(set, selection, p);
    if (set->parameters[FW_WITHIN_PROMPTS] > 0)
        sample_within_prompts(set, selection, p, mass);
    else
        set_sample(set, selection, p);
    return SEL_OK;
}

static size_t trace_fw_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    return 3 * largest->d * largest->d + largest->count + largest->d + largest->groups;
}

/* ---- the better solver ---- */

static enum sel_status trace_design(const struct sel_set *set, struct sel_selection *selection)
{
    if (set->random == NULL)
        return SEL_MISSING;
    size_t budget = selection->budget < set->count ? selection->budget : set->count;
    double *p = set->scratch;
    struct sel_design_problem problem = {.count = set->count,
                                         .d = set->d,
                                         .x = set->x,
                                         .weight = set->weight,
                                         .sigma = set->sigma,
                                         .policy = set->policy,
                                         .mass = (double)budget,
                                         .cap = 1 / (double)budget};
    struct sel_design_result result;
    enum sel_status status = design_solve(&problem, set->parameters[0], (int)set->parameters[1], p,
                                          &result, p + set->count);
    if (status != SEL_OK && status != SEL_NOT_CONVERGED)
        return status;
    selection->objective = result.objective;
    selection->certificate = result.gap;
    keep_design(set, selection, p);
    for (size_t k = 0; k < set->count; k++)
        p[k] *= (double)budget;
    selection->count =
        sel_sample_systematic(p, set->count, sel_random_uniform(set->random), selection->chosen);
    for (size_t k = 0; k < selection->count; k++)
        selection->propensity[k] = p[selection->chosen[k]];
    return status;
}

static size_t trace_design_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    return largest->count + design_room(largest->count, largest->d);
}

/* ---- D-optimal designs ---- */

enum { DFW_RIDGE, DFW_ITERATIONS, DFW_SUBSET };

/* One pair, or all pairs of a group, are an atom. */
struct atoms {
    const struct sel_set *set;
    bool lists;
    size_t count;
};

static size_t atom_of(const struct atoms *atoms, size_t k)
{
    return atoms->lists && atoms->set->group != NULL ? atoms->set->group[k] : k;
}

/* tr(V_a S) of every atom; q: of every pair. */
static void score_atoms(const struct atoms *atoms, const double *inverse, double *score)
{
    const struct sel_set *set = atoms->set;
    for (size_t a = 0; a < atoms->count; a++)
        score[a] = 0;
    for (size_t k = 0; k < set->count; k++) {
        const double *x = set->x + k * set->d;
        for (size_t i = 0; i < set->d; i++)
            score[atom_of(atoms, k)] += x[i] * linear_dot(inverse + i * set->d, x, set->d);
    }
}

/* Weights of the pairs when atoms move from p towards `vertex` by s. */
static void spread(const struct atoms *atoms, const double *p, size_t vertex, double s,
                   double *weight)
{
    for (size_t k = 0; k < atoms->set->count; k++) {
        size_t atom = atom_of(atoms, k);
        weight[k] = (1 - s) * p[atom] + (atom == vertex ? s : 0);
    }
}

/* d/ds log det A(s) = tr(A(s)^-1 (V_vertex - V(p))). */
static double slope_of(const struct atoms *atoms, const double *p, size_t vertex,
                       const double *score)
{
    double slope = score[vertex];
    for (size_t a = 0; a < atoms->count; a++)
        slope -= p[a] * score[a];
    return slope;
}

static size_t best_atom(const struct atoms *atoms, const double *score, size_t subset)
{
    const struct sel_set *set = atoms->set;
    if (subset == 0 || subset >= atoms->count)
        return set_best(score, atoms->count);
    size_t best = (size_t)sel_random_below(set->random, atoms->count);
    for (size_t k = 1; k < subset; k++) {
        size_t other = (size_t)sel_random_below(set->random, atoms->count);
        if (score[other] > score[best])
            best = other;
    }
    return best;
}

/* The step in [0, 1] of largest log det, by bisection of its derivative. */
static bool search(const struct atoms *atoms, const double *p, size_t vertex, double *room,
                   double *length)
{
    const struct sel_set *set = atoms->set;
    double *inverse = room;
    double *weight = inverse + set->d * set->d;
    double *score = weight + set->count;
    double low = 0;
    double high = 1;
    for (int k = 0; k < 40; k++) {
        double s = (low + high) / 2;
        spread(atoms, p, vertex, s, weight);
        if (!invert_at(set, weight, set->parameters[DFW_RIDGE], 1, inverse))
            return false;
        score_atoms(atoms, inverse, score);
        if (slope_of(atoms, p, vertex, score) > 0)
            low = s;
        else
            high = s;
    }
    *length = low;
    return true;
}

/* Writes the weights of the atoms. Scratch after p: d^2 + 2 count for the line search, d^2 + count.
 */
static enum sel_status dopt_weights(const struct atoms *atoms, struct sel_selection *selection,
                                    double *p, double *room)
{
    const struct sel_set *set = atoms->set;
    double *inverse = room;
    double *score = inverse + set->d * set->d;
    double *weight = score + set->count + set->groups;
    double *line = weight + set->count;
    for (size_t a = 0; a < atoms->count; a++)
        p[a] = 1 / (double)atoms->count;
    for (int t = 0; t <= (int)set->parameters[DFW_ITERATIONS]; t++) {
        spread(atoms, p, 0, 0, weight);
        if (!invert_at(set, weight, set->parameters[DFW_RIDGE], 1, inverse))
            return SEL_SINGULAR;
        score_atoms(atoms, inverse, score);
        /* The certificate is over all atoms, whatever the oracle sees. */
        selection->certificate = fmax(0, slope_of(atoms, p, set_best(score, atoms->count), score));
        if (t == (int)set->parameters[DFW_ITERATIONS] || selection->certificate < 1e-9)
            break;
        size_t vertex = best_atom(atoms, score, (size_t)set->parameters[DFW_SUBSET]);
        double step = 0;
        if (slope_of(atoms, p, vertex, score) > 0 && !search(atoms, p, vertex, line, &step))
            return SEL_SINGULAR;
        for (size_t a = 0; a < atoms->count; a++)
            p[a] = (1 - step) * p[a] + (a == vertex ? step : 0);
    }
    spread(atoms, p, 0, 0, weight);
    if (selection->design != NULL)
        memcpy(selection->design, weight, set->count * sizeof *weight);
    return SEL_OK;
}

static size_t dopt_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    return 2 * largest->d * largest->d + 6 * (largest->count + largest->groups);
}

static enum sel_status dopt_fw(const struct sel_set *set, struct sel_selection *selection)
{
    struct atoms atoms = {set, false, set->count};
    double *p = set->scratch;
    if (set->random == NULL)
        return SEL_MISSING;
    enum sel_status status = dopt_weights(&atoms, selection, p, p + set->count + set->groups);
    if (status == SEL_OK)
        set_sample(set, selection, p);
    return status;
}

/* Chooses whole lists while all their pairs fit into the budget; of the first, where not even that
 * fits, as many as do. */
static enum sel_status list_fw(const struct sel_set *set, struct sel_selection *selection)
{
    if (set->random == NULL || set->group == NULL)
        return SEL_MISSING;
    struct atoms atoms = {set, true, set->groups};
    double *p = set->scratch;
    enum sel_status status = dopt_weights(&atoms, selection, p, p + set->count + set->groups);
    while (status == SEL_OK) {
        double share = 0;
        size_t list = set_draw(p, set->groups, set->random, &share);
        if (list == set->groups)
            break;
        size_t size = 0;
        for (size_t k = 0; k < set->count; k++)
            size += set->group[k] == list;
        if (selection->count > 0 && selection->count + size > selection->budget)
            break;
        for (size_t k = 0; k < set->count && selection->count < selection->budget; k++)
            if (set->group[k] == list)
                set_choose(selection, k, share);
        p[list] = 0;
    }
    return status;
}

static enum sel_status gopt_round(const struct sel_set *set, struct sel_selection *selection)
{
    struct atoms atoms = {set, false, set->count};
    double *p = set->scratch;
    enum sel_status status = dopt_weights(&atoms, selection, p, p + set->count + set->groups);
    for (size_t k = 0; status == SEL_OK && k < set->count; k++)
        for (double left = round((double)selection->budget * p[k]);
             left > 0 && selection->count < selection->budget; left--)
            set_choose(selection, k, 1);
    return status;
}

/* ---- the rows ---- */

static const struct sel_parameter trace_fw_parameters[] = {
    {.name = "ridge",
     .fallback = 1e-3,
     .least = 1e-300,
     .most = HUGE_VAL,
     .text = "on the diagonal of the information matrix"},
    {.name = "design_beta",
     .fallback = .1,
     .least = 1e-300,
     .most = HUGE_VAL,
     .text = "beta of g = beta (phi_a - phi_b)"},
    {.name = "iterations",
     .count = true,
     .fallback = 200,
     .least = 1,
     .most = 1e6,
     .text = "steps of Frank-Wolfe"},
    {.name = "within_prompts",
     .count = true,
     .fallback = 0,
     .least = 0,
     .most = 1,
     .text = "1: a uniform prompt, then a pair of it by weight; 0: by weight alone"},
};

const struct sel_rule rule_trace_fw = {
    .name = "trace_fw",
    .formula = "min_w tr(I (ridge Id + sum w g g')^-1), g = beta x, by Frank-Wolfe; sampled by w",
    .source = "Han, Goyal, Ma, arXiv 2606.19607, as published",
    .cost = "iterations (N d^2 + d^3)",
    .traits = SEL_UNWEIGHTED,
    .parameters = trace_fw_parameters,
    .parameter_count = 4,
    .select = trace_fw,
    .room = trace_fw_room,
};

static const struct sel_parameter trace_design_parameters[] = {
    {.name = "gap",
     .fallback = 1e-4,
     .least = 0,
     .most = 1,
     .text = "proven distance from the optimum, as a share of the objective, at which it stops"},
    {.name = "exchanges",
     .count = true,
     .fallback = 20000,
     .least = 0,
     .most = 1e9,
     .text = "most exchanges"},
};

const struct sel_rule rule_trace_design = {
    .name = "trace_design",
    .formula = "min_p tr(I (Sigma + n sum p w x x')^-1), p <= 1/n; inclusion n p",
    .source = "derived from arXiv 2606.19607; vertex exchange after Boehning 1986",
    .cost = "exchanges (N d + d^2)",
    .parameters = trace_design_parameters,
    .parameter_count = 2,
    .select = trace_design,
    .room = trace_design_room,
};

static const struct sel_parameter dopt_fw_parameters[] = {
    {.name = "ridge",
     .fallback = 1e-3,
     .least = 1e-300,
     .most = HUGE_VAL,
     .text = "on the diagonal of the information matrix"},
    {.name = "iterations",
     .count = true,
     .fallback = 100,
     .least = 1,
     .most = 1e6,
     .text = "steps of Frank-Wolfe"},
    {.name = "subset",
     .count = true,
     .fallback = 0,
     .least = 0,
     .most = 1e9,
     .text = "R: the oracle looks at so many random candidates; 0: at all"},
};

static const char *const dopt_fw_aliases[] = {"dopewolfe", NULL};

const struct sel_rule rule_dopt_fw = {
    .name = "dopt_fw",
    .aliases = dopt_fw_aliases,
    .formula = "min_p -log det(ridge Id + sum p x x') by Frank-Wolfe; sampled by p",
    .source = "ODPO, arXiv 2410.17055; DopeWolfe, arXiv 2412.19396",
    .cost = "iterations 40 (N d^2 + d^3)",
    .traits = SEL_UNWEIGHTED,
    .parameters = dopt_fw_parameters,
    .parameter_count = 3,
    .select = dopt_fw,
    .room = dopt_room,
};

const struct sel_rule rule_list_fw = {
    .name = "list_fw",
    .formula = "dopt_fw over lists: V of a list is the sum of x x' over its pairs",
    .source = "Dope, DopeWolfe, arXiv 2412.19396",
    .cost = "iterations 40 (N d^2 + d^3)",
    .traits = SEL_UNWEIGHTED | SEL_GROUPS,
    .parameters = dopt_fw_parameters,
    .parameter_count = 3,
    .select = list_fw,
    .room = dopt_room,
};

const struct sel_rule rule_gopt_round = {
    .name = "gopt_round",
    .formula = "the design of dopt_fw, pair b repeated round(n p_b) times",
    .source = "ODPO, arXiv 2410.17055",
    .cost = "iterations 40 (N d^2 + d^3)",
    .traits = SEL_UNWEIGHTED,
    .parameters = dopt_fw_parameters,
    .parameter_count = 3,
    .select = gopt_round,
    .room = dopt_room,
};
