/* The pairs of one open pool, for picker.c. Private to the library. */
#ifndef SEL_CANDIDATES_H
#define SEL_CANDIDATES_H

#include "selectors/selectors.h"

/* One pool. Its arrays are the picker's; room for n_max completions. */
struct candidates {
    struct sel_gram gram;
    sel_feature *phi;  /* n x d */
    double *reward;    /* n: psi' phi, relative to the pool's mean */
    double *weight;    /* of each pair */
    uint8_t *allowed;  /* of each pair: 1 while it may be picked */
    double *score;     /* of each pair as view.c last found it; NULL under a rule with `score` */
    double *deviation; /* draws x n: (psi_e - psi)' phi of posterior draws psi_e, or NULL */
    double *inputs[SEL_INPUTS]; /* room for what the rule needs; NULL where it has no use */
    unsigned given;             /* SEL_NEEDS of the inputs that were given */
    bool twins;                 /* there are rows that are bytewise equal */
    bool found;                 /* there is a best pair */
    size_t open_pairs;
    size_t updates;         /* of G and H since they were computed from S */
    struct sel_choice best; /* the best allowed pair; its pool number is the picker's to set */
};

/* What all pools of a round share, and room to work in. */
struct candidates_round {
    const struct sel_picker_options *options;
    const double *psi;
    double lapse, tie;
    double *policy_inverse; /* M = S I S, d x d */
    double *centred;        /* n_max x d */
    double *product;        /* n_max x d */
    double *room;           /* of rows.h */
    double *mean;           /* d */
    double *g;              /* n_max */
    double *h;              /* n_max */
    size_t *twin;           /* n_max: the first bytewise equal row */
    uint64_t *mark;         /* n_max: the same for equal rows */
    double *g_diagonal;     /* n_max */
    double *h_diagonal;     /* n_max */
    double *variance;       /* this and the next two: of a block of pairs, see scan.c */
    double *policy;
    double *block_scores;
    double parameters[SEL_PARAMETERS_MAX];
    size_t draws;           /* posterior draws, 0 where the rule needs none */
    double *ensemble;       /* draws x d: psi_e - psi, as N(0, S) for the present S */
    struct sel_pair *pairs; /* this and the rest: room for a struct sel_view */
    double *scores;         /* of each pair */
    double *width;          /* n_max */
    double *rewards;        /* draws x n_max */
    double *scratch;
};

/* A pick: u = S x, v = M x, c = w / (1 + w q), r = x' v. */
struct candidates_pick {
    const double *u;
    const double *v;
    double c;
    double r;
    const double *shift; /* draws: each deviation falls by g times this, see picker.c */
};

/* Pairs that scan.c looks at together: whole rows until there are so many. */
enum { CANDIDATES_BLOCK = 512 };

static inline size_t candidates_pairs(size_t n)
{
    return n * (n - 1) / 2;
}

/* Place of the pair i < j in the order (0,1), (0,2), ..., (n-2,n-1). */
static inline size_t candidates_index(size_t n, size_t i, size_t j)
{
    return i * n - i * (i + 1) / 2 + (j - i - 1);
}

struct candidates_place {
    size_t i;
    size_t j;
};

/* The pair at a place of that order. */
static inline struct candidates_place candidates_place(size_t n, size_t index)
{
    size_t i = 0;
    for (; index >= n - 1 - i; i++)
        index -= n - 1 - i;
    return (struct candidates_place){i, i + 1 + index};
}

/* Fills a pool at S = inverse; see sel_picker_open. SEL_INVALID when something is not finite. */
enum sel_status candidates_open(struct candidates *candidates, const struct candidates_round *round,
                                const double *inverse, const sel_feature *phi, size_t n,
                                const uint8_t *forbidden);
/* Features relative to the pool's mean, into round->centred. */
void candidates_centre(const struct candidates_round *round, const sel_feature *phi, size_t n);
/* Brings G and H up to date after a pick of any pool; the best pair is the caller's to find. */
void candidates_update(struct candidates *candidates, const struct candidates_round *round,
                       const struct candidates_pick *pick);
/* Computes G, H and the deviations of the draws anew from S = inverse and what the round holds; the
 * best pair is the caller's to find. */
void candidates_renew(struct candidates *candidates, const struct candidates_round *round,
                      const double *inverse);
/* The best pair is found anew by the caller. */
void candidates_set_allowed(struct candidates *candidates, size_t index, bool allowed);
/* The k-th allowed pair, k < open_pairs; `pool` is copied into the choice. */
struct sel_choice candidates_at(const struct candidates *candidates,
                                const struct candidates_round *round, size_t pool, size_t k);
/* Weighs the pairs of a pool whose G, H and rewards stand, and says which are allowed. */
void candidates_weigh(struct candidates *candidates, const struct candidates_round *round,
                      const uint8_t *forbidden);
/* Finds the best pair. */
void candidates_scan(struct candidates *candidates, const struct candidates_round *round);
/* All pairs with their present numbers, into round->pairs. */
void candidates_fill(const struct candidates *candidates, const struct candidates_round *round);
/* The present score of pair i < j, per unit of cost. */
double candidates_score(const struct candidates *candidates, const struct candidates_round *round,
                        size_t i, size_t j);
/* The present numbers of pair i < j. */
struct sel_pair candidates_pair(const struct candidates *candidates,
                                const struct candidates_round *round, size_t i, size_t j);

#endif
