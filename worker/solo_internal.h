/* What solo.c and solo_move.c share of a run. */
#ifndef INFOPAIR_SOLO_INTERNAL_H
#define INFOPAIR_SOLO_INTERNAL_H

#include "solo.h"
#include "solo_group.h"
#include "solo_space.h"

enum { FITTER = 0 }; /* the worker that writes the fits */

/* A labelled pair, as it was sent. */
struct sent {
    size_t prompt, draw;
    char left[SOLO_ID_SIZE], right[SOLO_ID_SIZE];
};

struct solo {
    const struct world *world;
    const struct solo_plan *plan;
    struct solo_result *result;
    struct contracts *contracts;
    struct solo_group *group;
    unsigned kept;  /* inputs that the rule needs */
    double *psi;    /* the engine's at the start of the round, for the world's features */
    double *log_pi; /* of one prompt's completions, under that psi */
    struct sel_random draws, labels, sources, duplicates;
    struct solo_space space;
    struct sent *sent; /* by place in the result */
    size_t round;
    struct buffer record; /* a label */
    float *features;
    int64_t now, label_offset;
    int64_t *offsets; /* next one of each completions partition */
    size_t drawn;     /* pools, or whole prompts */
    size_t accounting_bytes;
    char obstacle[256]; /* why the round asked no pair; "": nothing is known to stand in the way */
};

/* Sends a completion of the world: features, space, and what the rule needs are filled in. */
bool solo_give(struct solo *solo, size_t prompt, size_t draw, size_t row,
               struct completion *completion, struct error *error);
/* Sends the whole prompts that are due. */
bool solo_give_prompts(struct solo *solo, struct error *error);
/* Time passes and the engines do what is due. */
bool solo_turn(struct solo *solo, int64_t passed, struct error *error);

/* ---- solo_move.c ---- */

/* Remembers the pair of the next label, for when the space moves. */
void solo_keep_sent(struct solo *solo, const struct entry_selected *selected);
/* Goes over to the next feature space. Labels that the engine does not carry are an error. */
bool solo_move_space(struct solo *solo, struct error *error);

#endif
