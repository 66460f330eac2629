/* Designs: how often to ask each of a list of candidate pairs, and how good the pairs chosen so far
 * are beside the best possible. Part of selectors.h. */
#ifndef SEL_DESIGN_H
#define SEL_DESIGN_H

#include "rule.h"

/* min over p of f(p) = tr(I M(p)^-1), M(p) = Sigma + mass sum_k p_k w_k x_k x_k', p >= 0, sum p =
 * 1, p <= cap; with groups, the p of each sum to the same. */
struct sel_design_problem {
    size_t count;         /* pairs */
    size_t d;             /* features */
    const double *x;      /* count x d */
    const double *weight; /* count: w >= 0 */
    const double *sigma;  /* d x d: what is known already; NULL: nothing */
    const double *policy; /* d x d: I */
    double mass;          /* labels to come, > 0 */
    double cap;           /* 1: none; at least 1 / count */
    const size_t *group;  /* count: 0 ... groups - 1, none of them empty, each to have p of sum 1 /
                             groups; NULL: p has the sum 1 and that is all */
    size_t groups;        /* 0 without group */
};

struct sel_design_result {
    double objective; /* f(p) */
    double gap;       /* f(p) - min f is proven to be at most this */
    int iterations;
};

struct sel_design;

/* NULL when the sizes are out of range or memory is short. */
struct sel_design *sel_design_new(size_t count_max, size_t d);
void sel_design_free(struct sel_design *design);
/* Minimises f until gap <= tolerance f. p: count values, written. SEL_NOT_CONVERGED still leaves
 * the best design found and its gap; SEL_SINGULAR: the pairs do not span I's space beside Sigma. */
enum sel_status sel_design_solve(struct sel_design *design,
                                 const struct sel_design_problem *problem, double tolerance,
                                 int iterations_max, double *p, struct sel_design_result *result);
/* f and the gap of a given p, which must be feasible. */
enum sel_status sel_design_evaluate(struct sel_design *design,
                                    const struct sel_design_problem *problem, const double *p,
                                    struct sel_design_result *result);

/* How good chosen pairs are: f of them against the best design of as many labels over the same
 * list, each pair at most once. */
struct sel_certificate {
    double objective;        /* f: tr(I Sigma^-1) after the chosen pairs */
    double optimum;          /* f of the best design found */
    double bound;            /* no design has an f below this: proven */
    double efficiency;       /* optimum / objective */
    double efficiency_least; /* bound / objective: proven */
};

/* chosen: places of `chosen_count` >= 1 pairs in the problem's list, each once; mass, cap and
 * groups of the problem are not read. p: count values of room. */
enum sel_status sel_certify(struct sel_design *design, const struct sel_design_problem *problem,
                            const size_t *chosen, size_t chosen_count, double tolerance, double *p,
                            struct sel_certificate *certificate);

/* Systematic sampling: the t-th choice is the i with c_i <= u + t < c_(i+1), c the running sum of
 * inclusion, 0 <= u < 1. With u uniform, i is chosen with probability inclusion[i] exactly (each at
 * most 1). Writes at most ceil(sum) places, in ascending order; returns how many. */
size_t sel_sample_systematic(const double *inclusion, size_t count, double u, size_t *chosen);

#endif
