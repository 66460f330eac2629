/* What stands around the workers: a trainer that writes completions, and labellers. */
#ifndef INFOPAIR_SIMULATION_WORLD_H
#define INFOPAIR_SIMULATION_WORLD_H

#include "cluster.h"
#include "schemas/contracts.h"

enum { WORLD_DIMENSION = 8, WORLD_PROMPTS = 36, WORLD_REQUESTS = 4000 };

struct asked {
    char id[ID_TEXT_SIZE], pair[ID_TEXT_SIZE];
    int32_t replica;
    float x[WORLD_DIMENSION];
    int64_t asked_at;
    bool committed;
    bool closed; /* LABELLED or EXPIRED was written */
    int worker;  /* while it is not committed */
    int answers;
    char first_label[64];
};

struct world {
    uint64_t seed;
    struct sel_random chance;
    struct contracts *contracts;
    struct cluster *cluster;
    int completions[WORLD_PROMPTS]; /* sent so far, of each prompt */
    int64_t epoch;                  /* of the policy and of the feature space */
    bool spaces;                    /* newer spaces come */
    int32_t partitions;             /* of completions, at first */
    bool skips_again;               /* a skip closes its own request alone */
    bool versions;                  /* completions of older policies still come now and then */
    struct asked *asked;
    size_t asked_count;
};

void world_completion(struct world *world, int64_t now);
/* Labels of committed pairs, each unanswered one with this probability; some answers come twice,
 * correct what was said before, speak of pairs that nobody asked, or are broken. */
void world_labels(struct world *world, double share, int64_t now);
/* A labeller that reads uncommitted pairs answers what may be aborted. */
void world_early_label(struct world *world, int64_t now);
/* When the oldest request was asked that is still open; INT64_MAX: none is. */
int64_t world_oldest_open(const struct world *world);
/* An entry was produced by a worker; its transaction was decided. */
void world_asked(struct world *world, int worker, const struct effect *effect);
void world_decided(struct world *world, int worker, bool committed);

#endif
