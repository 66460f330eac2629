/* One rule on its way through the past: what it would have asked, and who answers. */
#ifndef INFOPAIR_TRIAL_H
#define INFOPAIR_TRIAL_H

#include "recorded.h"

/* Who answers a pair that has no recorded label. */
enum oracle { ORACLE_NONE, ORACLE_FITTED, ORACLE_GIVEN };

enum answered { ANSWERED_NOT, ANSWERED_BY_RECORD, ANSWERED_BY_ORACLE };

/* A pair that the rule asks. Texts lie behind one another in the trial's bytes. */
struct asked {
    struct id pair;
    int64_t time, answered_at; /* -1: never */
    double propensity, score;  /* score: NaN unless wanted */
    double probability;        /* of left, as answered; NaN: nothing was said */
    double confidence;
    uint32_t text;         /* where prompt, left and right id begin, the selector behind them */
    uint16_t sizes[4];     /* of those */
    uint8_t arm, answered; /* enum pair_arm, enum answered */
    uint8_t padding[2];
};

struct trial {
    struct asked *asked; /* in order of asking; owned, like the two below */
    float *x;            /* count x dimension, left minus right in the scale of SPACE */
    struct buffer texts;
    size_t count, dimension;
    int64_t completions, refused; /* of the past; refused: dead letters */
    char refusal[256];            /* why the first was */
};

struct trial_plan {
    const struct past *past;
    const struct options *options;
    const struct recorded *recorded;
    const struct common *common; /* what the oracle says */
    enum oracle oracle;
    size_t labels; /* most that are asked; 0: no limit */
    bool scores;   /* keep scores and selectors */
};

/* Recorded labels come after the time that they took then, under their annotator's name, in the
 * order of the requests of their pair and never two of one annotator; the others at the next tick,
 * without a name. The oracle's say of a pair hangs on the seed and the pair
 * alone. *trial is to be given to trial_free in any case. */
bool trial_run(const struct trial_plan *plan, struct trial *trial, struct error *error);
void trial_free(struct trial *trial);

/* A trial as bytes, and back; *size: what was read. False: memory ran out, or they are cut short.
 */
bool trial_encode(const struct trial *trial, struct buffer *out);
bool trial_decode(struct trial *trial, struct span bytes, size_t *size);

#endif
