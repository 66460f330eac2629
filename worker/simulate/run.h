/* One run: a rule in one world, from the first label to the last, and what is measured of it. */
#ifndef INFOPAIR_RUN_H
#define INFOPAIR_RUN_H

#include "scene.h"
#include "worker/solo.h"

/* A point of the curve after every so many labels, and after the last: 50, and more where that
 * would be over 40 points. */
static inline size_t run_step(const struct scene *scene)
{
    enum { LEAST = 50, POINTS = 40 };
    return LEAST * ((scene->labels + LEAST * POINTS - 1) / (LEAST * POINTS));
}

struct run {
    char *rule; /* RULE[,OPTION=VALUE]..., or design:NAME; owned, like the arrays */
    uint64_t seed;
    size_t labels;     /* asked and answered */
    size_t pools;      /* drawn for them; 0: none, the whole world is there */
    size_t points;     /* of the curve */
    size_t *at;        /* labels of each point */
    double *gap;       /* the policy's gap there, exactly */
    size_t dimension;  /* of the two spectra */
    double *important; /* eigenvalues of I at the truth, descending */
    double *measured;  /* of the asked pairs along those eigenvectors: v' F v / labels */
    double c;          /* labels tr(I F^-1) at the truth; NaN where F is singular */
    double merit;      /* mean reward of the asked completions above their prompt's mean */
    double margin;     /* mean absolute reward difference of the asked pairs */
    double likely;     /* mean log pi_ref of the asked completions above their prompt's mean */
    double fitted; /* scene.fitted: the gap at the psi fitted to exactly these labels; else NaN */
    double lapse;  /* as the last fit has it */
    size_t annotators; /* of the scene, with the last fit's rate of each; NaN: none */
    double lapses[SCENE_ANNOTATORS];
    double seconds; /* of a processor: the whole run */
    double pick;    /* of a processor: median over the labels, the tick that asked by its pairs */
};

/* Runs one rule of a scene. The same scene, rule and seed give the same run. */
bool run_rule(const struct scene *scene, const struct world *world, const char *rule, uint64_t seed,
              struct run *run, struct error *error);
/* False: there is no such rule, option or value, or the rule does not run in a simulation. */
bool run_check(const struct scene *scene, const char *rule, struct error *error);
void run_free(struct run *run);
/* Values that a rule's parameters without a default have here, "name=value" each. */
enum { RUN_REQUIRED = 11 };
size_t run_required(const char *rule, const char *found[RUN_REQUIRED]);

/* ---- measures.c ---- */

/* Fills in what is measured of the labels at the truth; `labels`: run->labels of them. */
bool run_measure(const struct scene *scene, const struct world *world,
                 const struct world_label *labels, struct run *run, struct error *error);
/* One more point of the curve. False: out of memory. */
bool run_point(const struct world *world, size_t labels, const double *psi, struct run *run);

/* ---- fixed.c: designs that are computed once ---- */

/* design:uniform, design:reference (in proportion to pi_ref of both), design:oracle (the best
 * design at the true psi), design:plugin (the best one at psi = 0): pairs drawn independently over
 * all pairs of the world, a share selection.epsilon of them uniform; the fit is fit.lambda and no
 * lapses. The best design is that for lambda and all labels of the scene, without the share. */
bool fixed_known(const char *rule);
bool fixed_run(const struct scene *scene, const struct world *world, const char *rule,
               uint64_t seed, const struct options *options, struct world_label *labels,
               struct run *run, struct error *error);

#endif
