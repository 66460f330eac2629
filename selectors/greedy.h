/* Greedy choice from a list by a rule with `score`. Private to the library; the set's scratch and
 * integers are room for greedy_room doubles and 4 count + 4 size_t. */
#ifndef SEL_GREEDY_H
#define SEL_GREEDY_H

#include "selectors/selectors.h"

/* Picks between two corrections of S and V. */
enum { GREEDY_LOG = 32 };

/* Candidates under close watch: their q and r are exact after every pick. */
struct greedy_list {
    size_t most;
    size_t count;
    size_t *member; /* places in the set */
    double *x;      /* (most + 1) x d */
    double *q;      /* of each member, and so on */
    double *r;
    double *score;
    double *g;
    double *h;
};

struct greedy {
    const struct sel_set *set;
    const struct sel_rule *rule;
    bool of_policy;  /* r matters */
    double *inverse; /* S before the picks of the log */
    double *square;  /* V before the picks of the log */
    double *w;       /* of each candidate, and so on; 1 under SEL_UNWEIGHTED */
    double *score;   /* NAN: taken */
    double *q;
    double *r;
    double *next_q;
    double *next_r;
    double *watched; /* 1: on the list */
    double *block;   /* room for a block of rows or of products */
    size_t logged;
    double *u; /* GREEDY_LOG x d: S x of each pick */
    double *v; /* GREEDY_LOG x d: V x */
    double c[GREEDY_LOG];
    double rho[GREEDY_LOG]; /* r of each pick at its time */
    double bar[GREEDY_LOG]; /* a candidate of at least this score would have been picked */
    struct greedy_list list;
    double *rest; /* what greedy_room leaves to lazy.c */
};

/* Candidates that a list holds, but for one more. */
size_t greedy_list_most(size_t count);
size_t greedy_room(const struct sel_set *largest);
struct greedy greedy_of(const struct sel_set *set, const struct sel_rule *rule);
/* Picks until the budget is spent or nothing is left; goes on from the picks of `selection`. */
void greedy_run(struct greedy *greedy, struct sel_selection *selection);

double greedy_score(const struct greedy *greedy, size_t k, double q, double r);
/* Places of about `most` of the highest scores: all that are above the value returned. places: room
 * of count + 1. NAN is never among them. */
double greedy_above(const double *score, size_t count, size_t most, size_t *places, size_t *found);
/* Places of the `most` highest; returns what no other is above. */
double greedy_top(const double *score, size_t count, size_t most, size_t *places, size_t *found);
/* The first member whose score is the highest but for rounding; list->count when there is none. */
size_t greedy_best_member(const struct greedy *greedy);
/* Logs a pick and brings the list past it. False when the log is full. */
void greedy_take(struct greedy *greedy, size_t member);
/* Takes the log into S and V. */
void greedy_flush(struct greedy *greedy);

/* As greedy_run for rules of the trait SEL_SHRINKING, from an empty selection. SEL_INVALID when an
 * x is not finite. */
enum sel_status lazy_run(const struct sel_set *set, const struct sel_rule *rule,
                         struct sel_selection *selection);
size_t lazy_room(const struct sel_set *largest);

#endif
