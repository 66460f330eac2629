/* A rule of selection: what it may look at and what it answers. Included by selectors.h; symbols
 * are explained there. A rule has one of four shapes, told by the one function it gives:
 *
 *   score         of one pair, from its weight, variance, policy part and margin
 *   scores        of all pairs of a pool, from all that is known of the pool
 *   distribution  over the pairs of a pool: the exact probability of each
 *   select        of some of a list of candidate pairs, from any pools, at once
 *
 * The first two pick the highest score, the lowest pair among equals. Functions of a rule keep no
 * state, do not allocate, and are called by one thread at a time. */
#ifndef SEL_RULE_H
#define SEL_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sel_status {
    SEL_OK,
    SEL_INVALID,       /* an argument is out of range or not finite */
    SEL_NO_MEMORY,     /* an allocation failed */
    SEL_REFUSED,       /* the removal would leave Sigma indefinite; nothing was changed */
    SEL_SINGULAR,      /* Sigma is not positive definite */
    SEL_NOT_CONVERGED, /* the iteration stopped above its tolerance */
    SEL_MISSING,       /* the rule needs an input or a parameter that was not given */
};

/* One coordinate of a feature vector. A program that defines SEL_FEATURE as double must be linked
 * with a library built so: the conformance tests check the formulas beyond float32 this way. */
#ifndef SEL_FEATURE
#define SEL_FEATURE float
#endif
typedef SEL_FEATURE sel_feature;

/* A rule loaded from a shared object must be of this version. */
#define SEL_RULE_VERSION 2u
#define SEL_PARAMETERS_MAX 4

/* One candidate pair, left = i < right = j. */
struct sel_pair {
    double weight;            /* w */
    double variance;          /* q = x' S x */
    double policy;            /* r = x' S I S x */
    double margin;            /* psi' x */
    const double *parameters; /* of the rule, in the order of its table */
};

/* What only the caller can know, a number for each completion of a pool. */
enum sel_input {
    SEL_LOG_REFERENCE, /* log pi_ref of the completion */
    SEL_LOG_POLICY,    /* log pi of the policy being trained */
    SEL_SOURCE,        /* an enum sel_source */
    SEL_TRUTH,         /* the true reward: simulations only */
    SEL_SECOND_REWARD, /* reward by the second of two learners */
    SEL_SECOND_WIDTH,  /* its standard deviation */
    SEL_PREVIOUS,      /* 1 for the challenger of the last pair, else 0; all 0: none */
    SEL_COST,          /* what it costs to judge it, > 0; a pair costs the sum. Optional always */
    SEL_DRAWS,         /* draws x n rewards of an ensemble. Without them the library draws psi from
                          N(psi, S) */
    SEL_INPUTS
};

enum sel_source {
    SEL_FROM_POLICY,
    SEL_FROM_REFERENCE,
    SEL_FROM_OPTIMIST,  /* the policy pushed away from the reference */
    SEL_FROM_PESSIMIST, /* the policy pulled towards the reference */
};

/* Bit of an input in sel_rule.needs. */
#define SEL_NEEDS(input) (1u << (input))

/* One pool as a rule sees it. Pairs are in the order (0,1), (0,2), ..., (n-2,n-1). */
struct sel_view {
    size_t n;
    size_t d;
    const double *features;           /* n x d, relative to the pool's mean */
    const struct sel_pair *pairs;     /* n (n-1) / 2 */
    const uint8_t *allowed;           /* of each pair: 1 if it may be asked */
    const double *reward;             /* n: psi' phi, relative to the pool's mean */
    const double *width;              /* n: sqrt(phi' S phi), of the same relative features */
    const double *draws;              /* draw_count x n rewards, or NULL */
    size_t draw_count;                /* rows of draws; 0 without */
    const double *inputs[SEL_INPUTS]; /* n each, NULL where not given */
    const double *parameters;
    double beta;     /* 0: not given */
    double *scratch; /* sel_view_scratch(n) doubles */
};

static inline size_t sel_view_scratch(size_t n)
{
    return n * n + 4 * n;
}

/* A list of candidate pairs, of any pools. Pointers are the caller's. */
struct sel_set {
    size_t count;
    size_t d;
    const double *x;           /* count x d: phi_left - phi_right */
    const double *weight;      /* count */
    const double *margin;      /* count */
    const size_t *group;       /* count: which prompt, 0 ... groups - 1; NULL: all the same */
    size_t groups;             /* how many prompts */
    const double *draws;       /* draw_count x count margins under posterior draws, or NULL */
    size_t draw_count;         /* rows of draws; 0 without */
    const double *context;     /* count x context_d: where diversity is measured; NULL: x */
    size_t context_d;          /* coordinates of a context */
    const double *past;        /* past_count x context_d: chosen before; NULL: none */
    size_t past_count;         /* rows of past */
    const double *sigma;       /* d x d: information so far, pending pairs included */
    const double *inverse;     /* d x d: S */
    const double *policy;      /* d x d: I */
    const double *parameters;  /* of the rule, in the order of its table */
    struct sel_random *random; /* seeded by the caller; the rules that draw need it */
    double *scratch;           /* what the rule's room() asked for */
    size_t *integers;          /* 4 count + 4 groups */
};

/* What was chosen, at most `budget` entries each. */
struct sel_selection {
    size_t budget;
    size_t count;
    size_t *chosen;     /* places in the set, in the order of choice */
    double *propensity; /* probability of each choice, given those before; of inclusion where the
                           rule samples systematically; 1 where nothing is random */
    double *design;     /* NULL, or count of the set: the weights of a design, summing to 1 */
    double certificate; /* designs: the proven distance of the objective from its optimum */
    double objective;   /* designs: its value */
};

struct sel_parameter {
    const char *name; /* option `selection.NAME` */
    bool count;       /* a whole number */
    bool required;    /* no default */
    double fallback;
    double least;
    double most;
    const char *text;
};

enum sel_trait {
    SEL_UNWEIGHTED = 1,     /* Sigma holds x x' unweighted: build it so; picks enter it so */
    SEL_IDENTITY = 2,       /* I is the identity, whatever the caller gives */
    SEL_REFIT_DOUBLING = 4, /* psi is fitted anew when the labels have doubled */
    SEL_SIMULATION = 8,     /* looks at what only a simulation knows */
    SEL_NEEDS_BETA = 16,    /* turns rewards into log-probabilities */
    SEL_SIGNED = 32,        /* scores may be below 0 */
    SEL_GROUPS = 64,     /* chooses whole groups of a set, which are small lists of completions */
    SEL_SHRINKING = 128, /* `score` looks at weight, variance and margin alone and does not fall
                           when the variance rises: a pick raises the score of no other pair */
    SEL_STILL = 256, /* what a pool offers does not change when a pair of another one is picked */
};

struct sel_rule {
    unsigned version;           /* SEL_RULE_VERSION in a loaded rule */
    const char *name;           /* what users type */
    const char *const *aliases; /* NULL-terminated, or NULL */
    const char *formula;        /* one line for the reference page */
    const char *source;         /* citation */
    const char *cost;           /* of a pick; n completions, N candidates, E draws */
    bool randomised;            /* every unasked pair of a uniform pool alike; score is not used */
    unsigned needs;             /* SEL_NEEDS of inputs */
    unsigned traits;            /* enum sel_trait */
    const struct sel_parameter *parameters;
    size_t parameter_count;
    double (*score)(const struct sel_pair *pair);
    /* Writes a score for each pair; -INFINITY: never to be asked. */
    void (*scores)(const struct sel_view *view, double *scores);
    /* Writes a probability for each pair, 0 where it is not allowed. What their sum lacks of 1 is
     * the probability that nothing is asked. */
    void (*distribution)(const struct sel_view *view, double *probability);
    enum sel_status (*select)(const struct sel_set *set, struct sel_selection *selection);
    size_t budget_max; /* most choices of one `select`; 0: any number */
    /* Doubles of scratch that `select` needs for sets of at most this size. NULL: none. */
    size_t (*room)(const struct sel_set *largest, size_t budget);
};

#endif
