#include "online.h"

#include "brokers.h"
#include "committed.h"
#include "ledger_rate.h"
#include "topics_compare.h"

static void check_brokers(const struct options *options, rd_kafka_t *admin, int64_t inherited_bytes,
                          struct findings *findings)
{
    struct error error = {ERROR_NONE, ""};
    struct broker *brokers;
    size_t count;
    if (brokers_look(admin, &brokers, &count, &error))
        brokers_compare(options, brokers, count, inherited_bytes, findings);
    else
        findings_unchecked(findings, "brokers", &error);
    brokers_free(brokers, count);
}

static void check_topics(struct topic_plan plans[TOPICS], rd_kafka_t *admin,
                         struct topic_found found[TOPICS], struct findings *findings)
{
    struct error unread[TOPICS] = {{ERROR_NONE, ""}};
    for (int topic = 0; topic < TOPICS; topic++)
        topic_look(admin, &plans[topic], &found[topic], &unread[topic]);
    topics_raise_to_inputs(plans, found);
    for (int topic = 0; topic < TOPICS; topic++) {
        if (unread[topic].class != ERROR_NONE)
            findings_unchecked(findings, plans[topic].name, &unread[topic]);
        else if (found[topic].partitions > 0)
            topic_compare(&plans[topic], topic == TOPIC_LEDGER, &found[topic], findings);
        else
            findings_break(findings, plans[topic].name,
                           "does not exist, must exist before a worker is ready; `infopair topics` "
                           "creates it");
    }
}

void online_check(const struct options *options, rd_kafka_t *admin, struct findings *findings)
{
    struct topic_plan plans[TOPICS];
    struct topic_found found[TOPICS];
    topics_plan(options, plans);
    check_topics(plans, admin, found, findings);
    check_brokers(options, admin, topics_inherited_bytes(plans, found), findings);
    bool written = false;
    if (found[TOPIC_LEDGER].partitions > 0)
        ledger_growth(options, found[TOPIC_LEDGER].partitions, &written, findings);
    committed_check(options, found, written, findings);
    for (int topic = 0; topic < TOPICS; topic++)
        settings_free(&found[topic].settings);
}
