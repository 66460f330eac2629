/* A world through the engine alone, or several: no broker, the same engine. Completions go in, the
 * ledger's entries come back as they were encoded, pairs are answered by Bernoulli((1 - lapse)
 * sigma(reward difference) + lapse / 2).
 *
 * A round is one second: completions come and the policy's moments with them; the bucket fills, and
 * pairs are asked; their labels come and are fitted before the next round. With pool.age = 1s pools
 * last for one round.
 *
 * A world that drifts moves to a new feature space between rounds (solo_space.h). Its trainer then
 * sends the completions of all labelled pairs again, as they look in the new space and under their
 * old ids, so that the engine carries their labels over and fits them before it asks on. */
#ifndef INFOPAIR_SOLO_H
#define INFOPAIR_SOLO_H

#include "account.h"
#include "options.h"
#include "world.h"

enum { SOLO_ANNOTATORS = 8 };

struct solo_plan {
    size_t labels;          /* until so many pairs are answered */
    size_t pool;            /* completions of a pool that is drawn; 0: whole prompts, each once */
    size_t pools_per_round; /* drawn before each round */
    size_t early; /* whole prompts: so many at first, the rest after a tenth of the labels */
    size_t pairs_per_round; /* most requests under way, over all partitions */
    int32_t partitions;     /* of completions; prompts are spread over them */
    /* See solo_group.h; 0: one of each. */
    size_t workers;
    int32_t labels_partitions;
    int64_t lag; /* of others' entries, milliseconds */
    bool pending_off;
    /* Of the error of the reward that a rule with a second learner is told: that of a reward model
     * of the user's own. */
    double reward_deviation;
    double lapse; /* share of the answers that are coin flips */
    /* More than 0: label k is given by annotator k modulo this, who has a lapse rate of their own.
     */
    size_t annotators;
    double lapses[SOLO_ANNOTATORS];
    bool account;      /* compute what was saved at the end */
    double duplicates; /* chance that a completion from a pool's third on repeats an earlier one */
    bool traffic;      /* the deployed prompts come whole each round, as traffic; others are none */
    double drift;      /* how far the feature space moves each time; 0: it stays */
    size_t drift_rounds; /* between two moves */
    bool forget;         /* the labelled pairs are not sent again: labels stay behind */
    uint64_t seed;
    /* After each round, if not NULL: labels so far, and the engine's psi for the world's features.
     */
    void (*observe)(void *context, size_t labels, const double *psi);
    void *context;
};

struct solo_result {
    struct world_label *labels; /* owned; in order of asking */
    double *seconds;            /* owned; of a processor: the tick that asked this pair, by pair */
    size_t count;
    size_t pools; /* drawn for them; of whole prompts: prompts */
    double *psi; /* owned: the engine's last, in the scale of its SPACE, for the world's features */
    double scale;
    double lapse;                   /* as the engine's last fit has it */
    double lapses[SOLO_ANNOTATORS]; /* the same of each annotator; NaN: without a row */
    double lambda;                  /* as the engine's last fit has it */
    double surprise;                /* of its control labels (drift.h) */
    struct account account;
};

/* Runs it under `options` (features, pools, fit, selection, control as given there; the budget is
 * the plan's). Completions carry what the rule needs: the world's log pi_ref, log pi at the
 * engine's present psi, the true reward. For a rule that looks at sources a quarter of each drawn
 * pool comes from the policy, the reference, and the policies with twice and half of psi. False
 * with `error` filled. */
bool solo_run(const struct world *world, const struct options *options,
              const struct solo_plan *plan, struct solo_result *result, struct error *error);
void solo_free(struct solo_result *result);

/* The ids under which a world's completion is sent: "PROMPT-DRAW" and "ROW"; and back. */
enum { SOLO_ID_SIZE = 48 };
void solo_prompt_id(size_t prompt, size_t draw, char text[SOLO_ID_SIZE]);
void solo_completion_id(size_t row, char text[SOLO_ID_SIZE]);
/* The leading number of an id. */
size_t solo_number(struct span id);

#endif
