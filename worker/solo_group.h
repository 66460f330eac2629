/* Several workers' engines without a broker: they split the partitions of completions and labels,
 * and exchange their ledger entries with a lag.
 *
 * A worker knows its own entries as soon as they are committed, those of others `lag` milliseconds
 * later. Partition k of completions and of labels is worker k % workers'. */
#ifndef INFOPAIR_SOLO_GROUP_H
#define INFOPAIR_SOLO_GROUP_H

#include "engine/engine.h"

struct solo_group;

struct solo_group_plan {
    size_t workers;
    int32_t partitions; /* of completions */
    int32_t labels_partitions;
    int64_t lag; /* milliseconds */
    /* Pairs that wait for their label do not enter Sigma: a first FIT of psi = 0 says that the
     * share which comes back is next to nothing. Until the second FIT, a batch is picked as if each
     * of its pairs were the only one. */
    bool pending_off;
};

/* `options` (partitions, writer and digest are the group's) and `contracts` are borrowed; every
 * worker holds its partitions and has seen time `now`. NULL with `error` filled. */
struct solo_group *solo_group_new(const struct solo_group_plan *plan,
                                  const struct engine_options *options, struct contracts *contracts,
                                  int64_t now, struct error *error);
void solo_group_free(struct solo_group *group);

/* A record, to the owner of its partition. */
bool solo_group_completion(struct solo_group *group, const struct source *source,
                           const struct completion *completion, struct error *error);
bool solo_group_label(struct solo_group *group, const struct source *source,
                      const struct label *label, struct error *error);

/* A pair was asked and committed. seconds: processor time of the tick that asked it, by its pairs.
 */
typedef bool solo_group_asked(void *context, const struct entry_selected *selected, double seconds,
                              struct error *error);
/* Every worker in turn reads what it may of the others, ticks and commits. ends: next offset of
 * each partition of completions. */
bool solo_group_turn(struct solo_group *group, int64_t now, const int64_t *ends,
                     solo_group_asked *asked, void *context, struct error *error);

/* A worker's engine; number 0 holds labels partition 0 and writes the fits. */
struct engine *solo_group_engine(struct solo_group *group, size_t number);

#endif
