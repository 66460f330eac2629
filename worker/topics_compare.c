#include "topics_compare.h"

#include "kafka.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char MAX_BYTES[] = "max.message.bytes";

bool topic_look(rd_kafka_t *admin, const struct topic_plan *plan, struct topic_found *found,
                struct error *error)
{
    *found = (struct topic_found){0};
    if (!kafka_topic(admin, plan->name, KAFKA_ANSWER_TIMEOUT, &found->partitions, &found->replicas,
                     error))
        return false;
    return found->partitions == 0 ||
           settings_read(admin, RD_KAFKA_RESOURCE_TOPIC, plan->name, &found->settings, error) ||
           error_prefix(error, "topic '%s'", plan->name);
}

void topics_raise_to_inputs(struct topic_plan plans[TOPICS], const struct topic_found found[TOPICS])
{
    const enum topic inputs[] = {TOPIC_COMPLETIONS, TOPIC_LABELS};
    for (size_t k = 0; k < sizeof inputs / sizeof *inputs; k++) {
        const struct setting *bytes = settings_find(&found[inputs[k]].settings, MAX_BYTES);
        if (bytes != NULL)
            topics_raise_dead_letters(plans, strtoll(bytes->value, NULL, 10));
    }
}

static void compare_setting(const struct topic_plan *plan, const struct topic_setting *setting,
                            const struct topic_found *found, struct findings *findings)
{
    const struct setting *actual = settings_find(&found->settings, setting->name);
    if (actual == NULL)
        return;
    if (strcmp(setting->name, "min.insync.replicas") == 0 &&
        strtoll(actual->value, NULL, 10) > found->replicas) {
        findings_break(findings, plan->name,
                       "%s is %s, must be at most the number of replicas, %" PRId32
                       ": nothing can be written",
                       setting->name, actual->value, found->replicas);
        return;
    }
    if (strcmp(actual->value, setting->text) == 0)
        return;
    if (topic_setting_fits(setting, actual->value)) {
        bool silent = setting->demand != DEMAND_NONE || setting->why == NULL;
        findings_note(findings, plan->name, "%s is %s; a new topic would get %s%s%s", setting->name,
                      actual->value, setting->text, silent ? "" : ": ", silent ? "" : setting->why);
        return;
    }
    bool equal = setting->demand == DEMAND_EQUAL;
    char least[24];
    snprintf(least, sizeof least, "%" PRId64, setting->least);
    findings_break(findings, plan->name, "%s is %s, must be %s%s: %s", setting->name, actual->value,
                   equal ? "" : "at least ", equal ? setting->text : least, setting->why);
}

static void compare_partitions(const struct topic_plan *plan, bool ledger,
                               const struct topic_found *found, struct findings *findings)
{
    if (found->partitions == plan->partitions)
        return;
    if (!ledger)
        findings_note(findings, plan->name, "has %" PRId32 " partitions; a new topic would get %d",
                      found->partitions, plan->partitions);
    else if (found->partitions > plan->partitions)
        findings_note(findings, plan->name,
                      "has %" PRId32 " partitions; only the first %d are used", found->partitions,
                      plan->partitions);
    else
        findings_break(findings, plan->name,
                       "has %" PRId32
                       " partitions, must have at least %d: each entry has its place "
                       "by its key",
                       found->partitions, plan->partitions);
}

static void compare_replicas(const struct topic_plan *plan, const struct topic_found *found,
                             struct findings *findings)
{
    if (found->replicas == 1)
        findings_note(findings, plan->name, "has 1 replica: what a broker loses is lost");
    else if (found->replicas < plan->replication)
        findings_note(findings, plan->name, "has %" PRId32 " replicas; a new topic would get %d",
                      found->replicas, plan->replication);
    /* Not part of the plan: some clusters let nobody set it at creation. */
    const struct setting *unclean =
        settings_find(&found->settings, "unclean.leader.election.enable");
    if (unclean != NULL && strcmp(unclean->value, "false") != 0)
        findings_break(findings, plan->name,
                       "%s is %s, must be false: acknowledged records can vanish", unclean->name,
                       unclean->value);
}

void topic_compare(const struct topic_plan *plan, bool ledger, const struct topic_found *found,
                   struct findings *findings)
{
    compare_partitions(plan, ledger, found, findings);
    compare_replicas(plan, found, findings);
    for (size_t k = 0; k < plan->count; k++)
        compare_setting(plan, &plan->settings[k], found, findings);
}

int64_t topics_inherited_bytes(const struct topic_plan plans[TOPICS],
                               const struct topic_found found[TOPICS])
{
    int64_t bytes = 0;
    for (int topic = 0; topic < TOPICS; topic++) {
        const struct setting *actual = settings_find(&found[topic].settings, MAX_BYTES);
        if (actual == NULL || actual->own)
            continue;
        for (size_t k = 0; k < plans[topic].count; k++) {
            const struct topic_setting *setting = &plans[topic].settings[k];
            if (setting->demand == DEMAND_LEAST && strcmp(setting->name, MAX_BYTES) == 0 &&
                setting->least > bytes)
                bytes = setting->least;
        }
    }
    return bytes;
}
