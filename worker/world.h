/* A simulated world in which the truth is known: prompts, completions, a reference policy and a
 * log-linear reward r = psi' phi. The demo, the simulator's benches and tests measure policies in
 * it.
 *
 * World of the demo (all z are fresh standard normals): features phi_pmj = z s_pj sqrt(D_j) + z_pj
 * with D_j proportional to 1/j and log-normal scales s, all scaled to a mean squared distance of d
 * within a prompt; psi scaled to a reward of standard deviation 1.5 within a prompt; log pi_ref =
 * log softmax(z / 2). */
#ifndef INFOPAIR_WORLD_H
#define INFOPAIR_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

struct world {
    size_t dimension, prompts, completions; /* completions of each prompt */
    size_t deployed; /* the first so many prompts are what the policy will be used for */
    double beta;
    double scale;          /* that the given features were multiplied by */
    double *features;      /* (prompts * completions) x dimension */
    double *psi;           /* dimension */
    double *reward;        /* prompts * completions */
    double *log_reference; /* prompts * completions */
    double *log_optimal;   /* prompts * completions: pi* in proportion to pi_ref exp(r / beta) */
};

/* One labelled pair: completions of one prompt, y = 1 when the first was preferred. */
struct world_label {
    enum pair_arm arm;
    size_t prompt, left, right;
    double y;
};

/* Of which kind a world is, beside those of given features. */
enum world_kind { WORLD_LOG_LINEAR, WORLD_TABULAR, WORLD_CONTEXTUAL };

/* What a world is drawn by. tabular: one prompt, d items with phi = e_a and psi = reward_deviation
 * z. contextual: phi = [x; a; x o a], x of the prompt and a of the completion, all z. */
struct world_spec {
    enum world_kind kind;
    size_t dimension, prompts, completions;
    double beta;
    double spectrum;         /* D_j in proportion to j^-spectrum; 0: all axes alike */
    double spread_axes;      /* of log s, for each axis of a prompt */
    double spread_prompts;   /* of log s, for the whole prompt */
    double reward_deviation; /* within a prompt */
    double reference_spread; /* of the logits of pi_ref */
    size_t deployed;         /* the first so many prompts are deployed; 0: all */
    double narrow;           /* factor on theirs beyond the first quarter of the axes */
    double misspecified;     /* deviation of what no psi explains, in reward_deviation */
};

/* The defaults of a kind. */
struct world_spec world_spec_of(enum world_kind kind);
/* ERROR_DATA: no such world can be drawn. */
bool world_spec_check(const struct world_spec *spec, struct error *error);
/* NULL when memory runs out. */
struct world *world_make(const struct world_spec *spec, uint64_t seed);
/* The log-linear one. */
struct world *world_new(size_t dimension, size_t prompts, size_t completions, double beta,
                        uint64_t seed);
/* A world of given features (float32 rows, prompt by prompt) and psi: features are centred within
 * each prompt and scaled to a mean squared distance of d; psi is that of the raw features. The
 * reference policy is uniform. */
struct world *world_of_features(const float *rows, size_t prompts, size_t completions,
                                size_t dimension, const double *psi, double beta);
void world_free(struct world *world);

/* Moves the reference policy a share of the way to the best one: log pi_ref += share r / beta. What
 * it draws first is then better than what it draws last. */
void world_inform(struct world *world, double share);

/* Draws a prompt, and `n` distinct completions of it from the reference policy (Gumbel top n). */
size_t world_draw(const struct world *world, struct sel_random *random, size_t n, size_t *rows);
/* Draws completions from log_pi (of one prompt's completions) into rows held, ..., n - 1: distinct,
 * and none that stands before them. */
void world_draw_rows(const struct world *world, struct sel_random *random, const double *log_pi,
                     size_t held, size_t n, size_t *rows);
/* log pi of a prompt's completions, pi in proportion to pi_ref exp(share psi' phi / beta). */
void world_log_policy(const struct world *world, size_t prompt, const double *psi, double share,
                      double *log_pi);
/* Mean of a prompt's rows under `weights` (NULL: equal), d values. */
void world_mean(const struct world *world, size_t prompt, const double *weights, double *mean);
const double *world_row(const struct world *world, size_t prompt, size_t completion);
/* Reward of `left` above that of `right`. */
double world_margin(const struct world *world, size_t prompt, size_t left, size_t right);

/* J of the best policy less J of the policy pi_ref exp(psi' phi / beta), exactly: the mean over the
 * deployed prompts of E[r] - beta KL(pi | pi_ref); 0 for the true psi, where it explains the
 * reward. NaN: out of memory. */
double world_gap(const struct world *world, const double *psi);
/* I at the true psi: the mean over the deployed prompts of Cov(phi), dimension x dimension, into
 * `policy`. */
bool world_policy(const struct world *world, double *policy);
/* c = T tr(I F^-1), F = sum of sigma'(psi' x) x x' over the T labelled pairs: how good a design is,
 * nearly without noise. NaN where F is singular or memory runs out. */
double world_design(const struct world *world, const struct world_label *labels, size_t count);

/* psi by penalised maximum likelihood, lambda by evidence, on the first `most` labels of one arm
 * (dimension values, the start and the result). How many labels there were; 0: none or an error. */
size_t world_fit(const struct world *world, const struct world_label *labels, size_t count,
                 enum pair_arm arm, size_t most, double *psi);

/* The same on the first `count` labels of whatever arm, with lambda given (0: by evidence). */
bool world_fit_ridge(const struct world *world, const struct world_label *labels, size_t count,
                     double lambda, double *psi);

/* m / n: m labels of the control arm (at most as many as the selected arm has), n the labels at
 * which the selected arm's gap first reached the control's at its m-th, on a grid of `step`
 * labels, linear in the number of labels on the log of the gap. 1 when it did not. NaN: no labels.
 */
double world_saving(const struct world *world, const struct world_label *labels, size_t count,
                    size_t step);

#endif
