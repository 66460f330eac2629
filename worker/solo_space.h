/* The feature space in which a world is sent, and how it moves.
 *
 * A trainer whose network goes on learning has other features for the same completions every now
 * and then. Here they are phi Q, Q orthogonal: Id at first, and with each move
 *   Q <- Q qr(Id + drift (Z - Z') / sqrt(d)), Z of d x d standard normals.
 * Each Q is a feature_space of its own name and a larger feature_epoch. Rewards and policies are
 * what they were: psi' phi = (Q' psi)' (phi Q). */
#ifndef INFOPAIR_SOLO_SPACE_H
#define INFOPAIR_SOLO_SPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "selectors/selectors.h"

struct solo_space {
    size_t dimension;
    size_t number; /* of moves so far, which is the feature_epoch */
    char name[32];
    double *basis, *step, *scratch; /* Q and room for a move, d x d; NULL: it never moves */
    struct sel_random random;
};

/* `random` is used up by moves. False: out of memory; to be given to solo_space_fini in any case.
 */
bool solo_space_init(struct solo_space *space, size_t dimension, bool moves,
                     struct sel_random random);
void solo_space_fini(struct solo_space *space);
/* To the next space. */
void solo_space_move(struct solo_space *space, double drift);
/* phi Q of the world's features, `dimension` values. */
void solo_space_features(const struct solo_space *space, const double *phi, float *features);
/* Q psi: what psi of this space is for the world's features. The two may not overlap. */
void solo_space_psi(const struct solo_space *space, const double *psi, double *of_world);

#endif
