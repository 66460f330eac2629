/* The five topics as they are, beside what they must be like. */
#ifndef INFOPAIR_TOPICS_COMPARE_H
#define INFOPAIR_TOPICS_COMPARE_H

#include "findings.h"
#include "settings.h"
#include "topics.h"

struct topic_found {
    int32_t partitions; /* 0: does not exist */
    int32_t replicas;   /* of the partition that has the fewest */
    struct settings settings;
};

/* Reads what there is. The caller releases found->settings in any case. Any thread. */
bool topic_look(rd_kafka_t *admin, const struct topic_plan *plan, struct topic_found *found,
                struct error *error);

/* Dead letters need room for what the inputs may hold, not for what new inputs would. */
void topics_raise_to_inputs(struct topic_plan plans[TOPICS],
                            const struct topic_found found[TOPICS]);

/* Says of a topic that exists what is not as planned: what it is, what it must be, what breaks. */
void topic_compare(const struct topic_plan *plan, bool ledger, const struct topic_found *found,
                   struct findings *findings);

/* The largest record that a topic without a max.message.bytes of its own must take; 0: all that
 * need one have their own. */
int64_t topics_inherited_bytes(const struct topic_plan plans[TOPICS],
                               const struct topic_found found[TOPICS]);

#endif
