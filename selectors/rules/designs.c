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
 * A moves with p in O(d^2), the scores are one product of half the list with A^-1. The line search:
 * with A(s) = (1 - s) A + s (ridge Id + V), the derivative of log det is bisected. For one pair it
 * is the step of Fedorov and Wynn. */
#include "selectors/design_work.h"
#include "selectors/linear.h"
#include "selectors/rules/rules.h"
#include "selectors/rules/set.h"

#include <string.h>

/* A = ridge Id + factor sum_k p_k x_k x_k', its lower triangle. block: LINEAR_BLOCK x d of room. */
static void information_at(const struct sel_set *set, const double *p, double ridge, double factor,
                           double *block, double *a)
{
    size_t d = set->d;
    size_t rows = 0;
    memset(a, 0, d * d * sizeof(double));
    for (size_t k = 0; k < d; k++)
        a[k * d + k] = ridge;
    for (size_t k = 0; k < set->count; k++) {
        double root = sqrt(factor * p[k]);
        for (size_t l = 0; root > 0 && l < d; l++)
            block[rows * d + l] = root * set->x[k * d + l];
        rows += root > 0;
        if (rows < LINEAR_BLOCK && k + 1 < set->count)
            continue;
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (blasint)d, (blasint)rows, 1, block,
                    (blasint)d, 1, a, (blasint)d);
        rows = 0;
    }
}

/* A moves by s towards ridge Id: what is added to it is the caller's. */
static void shrink(double *a, size_t d, double s, double ridge)
{
    for (size_t i = 0; i < d; i++) {
        cblas_dscal((blasint)(i + 1), 1 - s, a + i * d, 1);
        a[i * d + i] += s * ridge;
    }
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
    double *a = square + d * d;
    double *p = a + d * d;
    double *slope = p + set->count;
    double *block = slope + set->count;
    double *mass = block + LINEAR_BLOCK * d;
    int iterations = (int)set->parameters[FW_ITERATIONS];
    if (set->random == NULL || (set->parameters[FW_WITHIN_PROMPTS] > 0 && set->group == NULL))
        return SEL_MISSING;
    for (size_t k = 0; k < set->count; k++)
        p[k] = 1 / (double)set->count;
    information_at(set, p, ridge, factor, block, a);
    for (int t = 0; t <= iterations; t++) {
        memcpy(inverse, a, d * d * sizeof *a);
        if (!linear_factor(inverse, d) || !linear_invert(inverse, d))
            return SEL_SINGULAR;
        linear_mirror(inverse, d);
        selection->objective = sandwich(set, inverse, half, square);
        linear_forms(square, d, set->x, set->count, block, slope);
        size_t vertex = set_best(slope, set->count);
        double mean = cblas_ddot((blasint)set->count, p, 1, slope, 1);
        selection->certificate = fmax(0, factor * (slope[vertex] - mean));
        if (t == iterations)
            break;
        double step = 2 / ((double)t + 3);
        cblas_dscal((blasint)set->count, 1 - step, p, 1);
        p[vertex] += step;
        shrink(a, d, step, ridge);
        cblas_dsyr(CblasRowMajor, CblasLower, (blasint)d, factor * step, set->x + vertex * d, 1, a,
                   (blasint)d);
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
    return 4 * largest->d * largest->d + 2 * largest->count + LINEAR_BLOCK * largest->d +
           largest->groups;
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
enum { EIGEN_WORK = 34 }; /* d times this is the work of dsyev */

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

/* tr(V_a S) of every atom. q: room for every pair. */
static void score_atoms(const struct atoms *atoms, double *inverse, double *block, double *q,
                        double *score)
{
    const struct sel_set *set = atoms->set;
    linear_forms(inverse, set->d, set->x, set->count, block, q);
    for (size_t a = 0; a < atoms->count; a++)
        score[a] = 0;
    for (size_t k = 0; k < set->count; k++)
        score[atom_of(atoms, k)] += q[k];
}

/* a += factor V_vertex. */
static void add_atom(const struct atoms *atoms, size_t vertex, double factor, double *a)
{
    const struct sel_set *set = atoms->set;
    for (size_t k = 0; k < set->count; k++)
        if (atom_of(atoms, k) == vertex)
            cblas_dsyr(CblasRowMajor, CblasLower, (blasint)set->d, factor, set->x + k * set->d, 1,
                       a, (blasint)set->d);
}

/* Weights of the pairs from those of the atoms. */
static void spread(const struct atoms *atoms, const double *p, double *weight)
{
    for (size_t k = 0; k < atoms->set->count; k++)
        weight[k] = p[atom_of(atoms, k)];
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

/* The parts of the scratch. */
struct dopt {
    double *a;       /* A, its lower triangle */
    double *factor;  /* of A */
    double *inverse; /* of A */
    double *towards; /* ridge Id + V - A */
    double *mu;      /* d */
    double *work;    /* EIGEN_WORK x d */
    double *block;   /* LINEAR_BLOCK x d */
    double *score;   /* of each atom */
    double *weight;  /* of each pair */
};

static struct dopt dopt_cut(const struct sel_set *set, double *room)
{
    size_t d = set->d;
    struct dopt dopt = {.a = room};
    dopt.factor = dopt.a + d * d;
    dopt.inverse = dopt.factor + d * d;
    dopt.towards = dopt.inverse + d * d;
    dopt.mu = dopt.towards + d * d;
    dopt.work = dopt.mu + d;
    dopt.block = dopt.work + EIGEN_WORK * d;
    dopt.score = dopt.block + LINEAR_BLOCK * d;
    dopt.weight = dopt.score + set->count + set->groups;
    return dopt;
}

/* The step s in [0, 1] of largest log det(A + s D), D = ridge Id + V - A: with mu the eigenvalues
 * of L^-1 D L^-T, A = L L', its derivative is sum mu / (1 + s mu). */
static bool search(const struct atoms *atoms, struct dopt *dopt, size_t vertex, double *length)
{
    size_t d = atoms->set->d;
    blasint n = (blasint)d;
    blasint type = 1;
    blasint room = (blasint)(EIGEN_WORK * d);
    blasint info = 0;
    for (size_t k = 0; k < d * d; k++)
        dopt->towards[k] = -dopt->a[k];
    for (size_t k = 0; k < d; k++)
        dopt->towards[k * d + k] += atoms->set->parameters[DFW_RIDGE];
    add_atom(atoms, vertex, 1, dopt->towards);
    dsygst_(&type, "U", &n, dopt->towards, &n, dopt->factor, &n, &info);
    if (info == 0)
        dsyev_("N", "U", &n, dopt->towards, &n, dopt->mu, dopt->work, &room, &info);
    if (info != 0)
        return false;
    double low = 0;
    double high = 1;
    for (int k = 0; k < 40; k++) {
        double s = (low + high) / 2;
        double slope = 0;
        for (size_t i = 0; i < d; i++) {
            double size = 1 + s * dopt->mu[i];
            slope += size > 0 ? dopt->mu[i] / size : -INFINITY;
        }
        if (slope > 0)
            low = s;
        else
            high = s;
    }
    *length = low;
    return true;
}

/* Writes the weights of the atoms. */
static enum sel_status dopt_weights(const struct atoms *atoms, struct sel_selection *selection,
                                    double *p, double *room)
{
    const struct sel_set *set = atoms->set;
    size_t d = set->d;
    double ridge = set->parameters[DFW_RIDGE];
    int iterations = (int)set->parameters[DFW_ITERATIONS];
    struct dopt dopt = dopt_cut(set, room);
    for (size_t a = 0; a < atoms->count; a++)
        p[a] = 1 / (double)atoms->count;
    spread(atoms, p, dopt.weight);
    information_at(set, dopt.weight, ridge, 1, dopt.block, dopt.a);
    for (int t = 0; t <= iterations; t++) {
        memcpy(dopt.factor, dopt.a, d * d * sizeof(double));
        if (!linear_factor(dopt.factor, d))
            return SEL_SINGULAR;
        memcpy(dopt.inverse, dopt.factor, d * d * sizeof(double));
        if (!linear_invert(dopt.inverse, d))
            return SEL_SINGULAR;
        score_atoms(atoms, dopt.inverse, dopt.block, dopt.weight, dopt.score);
        /* The certificate is over all atoms, whatever the oracle sees. */
        selection->certificate =
            fmax(0, slope_of(atoms, p, set_best(dopt.score, atoms->count), dopt.score));
        if (t == iterations || selection->certificate < 1e-9)
            break;
        size_t vertex = best_atom(atoms, dopt.score, (size_t)set->parameters[DFW_SUBSET]);
        double step = 0;
        if (!(slope_of(atoms, p, vertex, dopt.score) > 0))
            continue;
        if (!search(atoms, &dopt, vertex, &step))
            return SEL_SINGULAR;
        cblas_dscal((blasint)atoms->count, 1 - step, p, 1);
        p[vertex] += step;
        shrink(dopt.a, d, step, ridge);
        add_atom(atoms, vertex, step, dopt.a);
    }
    spread(atoms, p, dopt.weight);
    if (selection->design != NULL)
        memcpy(selection->design, dopt.weight, set->count * sizeof *dopt.weight);
    return SEL_OK;
}

static size_t dopt_room(const struct sel_set *largest, size_t budget)
{
    (void)budget;
    size_t d = largest->d;
    return 4 * d * d + (1 + EIGEN_WORK + LINEAR_BLOCK) * d + 3 * (largest->count + largest->groups);
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
    .cost = "iterations (N d^2 + d^3)",
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
    .cost = "iterations (N d^2 + d^3)",
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
    .cost = "iterations (N d^2 + d^3)",
    .traits = SEL_UNWEIGHTED,
    .parameters = dopt_fw_parameters,
    .parameter_count = 3,
    .select = gopt_round,
    .room = dopt_room,
};
