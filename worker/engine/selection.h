/* What the files of selection share: working.c (pools opened for comparison), draw.c (which pair
 * for a slot), listing.c (rules that choose from a list), publish.c (what a choice writes), price.c
 * and select.c (when which of them). */
#ifndef INFOPAIR_ENGINE_SELECTION_H
#define INFOPAIR_ENGINE_SELECTION_H

#include "internal.h"

enum { SELECT_SPARE = 28, SELECT_SHORTLIST_MAX = 100, SELECT_REFRESH = 256 };
enum { SELECT_POOLS = SELECT_SHORTLIST_MAX + SELECT_SPARE };
enum { SELECT_PARTS = SEL_PARTS + 4 };

/* Place of the pair i < j of n completions in the order (0,1), (0,2), ..., (n-2,n-1). */
static inline size_t pair_place(size_t n, size_t i, size_t j)
{
    return i * (2 * n - i - 1) / 2 + (j - i - 1);
}

/* A pair chosen for a slot, and why. */
struct decision {
    struct pool *pool;
    struct sel_choice choice; /* i < j of the pool; score 0 where there is none */
    enum pair_arm arm;
    bool probe;
    const char *uniform; /* why it is a uniform pair; NULL: the rule chose it */
    double propensity;   /* over all arms */
    double chance;       /* of the pair under the rule */
    int64_t slot;
    int32_t replica, attempt;    /* 0: the next replica, the first attempt */
    const struct request *again; /* what is asked again, or NULL */
    /* Of a rule that chooses from a list. */
    size_t listed; /* pairs of the list; 0: no list */
    double objective, certificate, design;
};

/* The rule of the options has this shape: it draws pairs of a pool, or chooses from a list. Else it
 * scores pairs. */
bool selection_draws(const struct selection_options *options);
bool selection_lists(const struct selection_options *options);

/* ---- working.c ---- */

/* Closes the picker's pools; S I S is computed anew only when Sigma or I changed otherwise. */
bool working_start(struct engine *engine, struct error *error);
/* Opens a pool in the picker under *number, and finds its score. */
bool working_open(struct engine *engine, struct pool *pool, size_t *number, struct error *error);
/* Scores ready pools that have no score of their present state and fit. */
bool working_refresh(struct engine *engine, struct error *error);
/* Finds the pools that compete, best first, and opens the first of them where pairs are scored. */
bool working_fill(struct engine *engine, struct error *error);
/* Finds whether a pair of an open pool may still be asked, and the best one by the rule's score. */
void working_judge(const struct engine *engine, struct pool *pool, size_t number,
                   struct sel_choice *best);
/* A pair was picked: what the rule knows of the pool's last pair follows. */
bool working_follow(struct engine *engine, const struct decision *decision, struct error *error);
/* The number of a pool in the picker; opened where it is not. */
bool working_number(struct engine *engine, struct pool *pool, size_t *number, struct error *error);
/* A completion may stand in a pair. */
bool working_may_compare(const struct engine *engine, const struct held *held);
/* True when a pair of the pool may be asked now. */
bool working_candidate(const struct engine *engine, const struct pool *pool);
size_t working_candidates(const struct engine *engine);
/* True when it has a pair that may be asked, whatever the budget says. */
bool working_stands(const struct engine *engine, const struct pool *pool);
/* False where a label of the pair would not count: labels.versions = reset, and a newer version is
 * known than that of its newer completion. */
bool working_would_count(const struct engine *engine, const struct held *left,
                         const struct held *right);
/* Both may stand in a pair, and its label would count. */
bool working_may_ask(const struct engine *engine, const struct held *left,
                     const struct held *right);
/* Pools are ranked by the score of their best pair. */
bool working_ranks_by_pair(const struct selection_options *options);
/* Picks that a pool may have; 0: any number. */
int64_t working_picks(const struct engine *engine);

/* ---- spend.c ---- */

/* Looks anew at what may be spent: time has passed, or the ledger said more. */
void spend_refresh(struct engine *engine);
/* Finds which domains have the next slot to themselves. The number differs when they, or those at
 * their cap, are others: then other pools compete. */
uint64_t spend_quotas(struct engine *engine);
/* Finds what the limits must know of a pool. */
void spend_look_at(struct engine *engine, struct pool *pool);
/* True when a partition may ask a pair of no cost, and when a pool may be asked. */
bool spend_allows_partition(const struct engine *engine, int32_t number);
bool spend_allows(const struct engine *engine, const struct pool *pool);
/* A request of this pool was decided: what it takes is spent. */
bool spend_charge(struct engine *engine, struct pool *pool, const struct request *request,
                  int64_t slot, struct error *error);

/* ---- draw.c ---- */

/* The slot that comes next, and the generator of its coins. */
int64_t draw_slot(const struct engine *engine);
struct sel_random draw_random(const struct engine *engine, const char *purpose, int64_t slot,
                              int64_t attempt);
/* The rule, to which the next slot falls, takes nothing of a pool: the slot is drawn for again. */
void draw_skipped(struct engine *engine);
/* What fills a slot: fixed by its number. */
enum draw_arm { DRAW_CONTROL, DRAW_PROBE, DRAW_EPSILON, DRAW_BY_RULE };
enum pair_arm draw_pair_arm(enum draw_arm arm);
enum draw_arm draw_arm(const struct engine *engine, int64_t slot);
/* The probability of a decision over all arms, from its chance under the rule. */
double draw_propensity(struct engine *engine, const struct pool *only,
                       const struct decision *decision);
/* The probability with which the rule, where the slot is its own, takes the pair of a decision. */
double draw_rule_chance(struct engine *engine, const struct pool *only,
                        const struct decision *decision);
/* Draws the arm and the pair of the next slot; only: among the pairs of that pool. declined: the
 * rule would take none of them, so that the slot is another arm's. False with ERROR_NONE:
 * decision->pool is NULL when no pair may be asked, else the rule skipped that pool. */
bool draw_pair(struct engine *engine, struct pool *only, bool declined, struct decision *decision,
               struct error *error);
/* True while some slots go to probes. */
bool draw_probes(const struct engine *engine);
/* The most confident pair that is compared, into *decision. False: there is none. */
bool draw_probe(struct engine *engine, const struct pool *only, struct decision *decision);
/* The probability with which draw_uniform takes the pair of a decision. */
double draw_uniform_chance(const struct engine *engine, const struct pool *only,
                           const struct decision *decision);
/* A uniform pair of a uniform candidate, or of `only`. False like draw_pair. */
bool draw_uniform(struct engine *engine, struct pool *only, struct sel_random *random,
                  struct decision *decision, struct error *error);

/* ---- listing.c ---- */

/* True when as many slots are open as selection.batch wants at once. */
bool listing_due(const struct engine *engine);
/* Chooses batches for the open slots from lists of pairs and publishes them. */
bool listing_tick(struct engine *engine, struct error *error);
bool listing_prepare(struct engine *engine);
void listing_fini(struct engine *engine);
size_t listing_bytes(const struct engine_options *options, size_t dimension);

/* ---- publish.c ---- */

/* Puts a decision into the batch and lets Sigma, the bucket and the pools follow. *fits: false when
 * it is too large for a record, so that one side of it is never compared again, or was just asked
 * for another partition; the pools in the picker are to be opened anew. */
bool publish_decision(struct engine *engine, struct decision *decision, bool *fits,
                      struct error *error);

/* A request that follows another one of its pair. */
struct again {
    struct pool *pool;
    const struct request *request; /* the one before */
    size_t i, j;                   /* i < j, its completions in the pool */
    int32_t replica, attempt;
};
/* Publishes it, unless it is too large for a record. */
bool publish_again(struct engine *engine, const struct again *again, struct error *error);

/* ---- again.c ---- */

/* The pair of a request may be chosen again, by its rule, for another replica. */
bool again_competes(const struct engine *engine, const struct pool *pool,
                    const struct request *request);
/* The pair i < j of a pool was asked before. */
bool again_is_repeat(const struct engine *engine, const struct pool *pool, size_t i, size_t j);

/* Asks again what can be, as far as the slots reach. */
bool again_tick(struct engine *engine, struct error *error);

/* ---- price.c ---- */

/* Whether to ask a pool of this partition whose best pair has this score. */
bool price_asks(struct engine *engine, int32_t partition, double score);
/* Writes the prices that have moved, each at most once a second. */
bool price_tick(struct engine *engine, struct error *error);

#endif
