#include "brokers.h"

#include "kafka.h"
#include "worker/engine/batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTE = 60 * 1000, DAY = 24 * 60 * MINUTE, SUBJECT_SIZE = 256 };

/* ---- asking ---- */

static bool list_brokers(const struct rd_kafka_metadata *metadata, struct broker **brokers,
                         size_t *count, struct error *error)
{
    *brokers = calloc((size_t)metadata->broker_cnt + 1, sizeof **brokers);
    if (*brokers == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    *count = (size_t)metadata->broker_cnt;
    for (size_t k = 0; k < *count; k++)
        (*brokers)[k].id = metadata->brokers[k].id;
    return true;
}

bool brokers_look(rd_kafka_t *admin, struct broker **brokers, size_t *count, struct error *error)
{
    *brokers = NULL;
    *count = 0;
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(admin, 0, NULL, &metadata, KAFKA_ANSWER_TIMEOUT);
    if (!kafka_failure(admin, code, "which brokers there are", error))
        return false;
    bool listed = list_brokers(metadata, brokers, count, error);
    rd_kafka_metadata_destroy(metadata);
    for (size_t k = 0; k < *count; k++) {
        char id[16];
        snprintf(id, sizeof id, "%" PRId32, (*brokers)[k].id);
        settings_read(admin, RD_KAFKA_RESOURCE_BROKER, id, &(*brokers)[k].settings,
                      &(*brokers)[k].unread);
    }
    return listed;
}

void brokers_free(struct broker *brokers, size_t count)
{
    for (size_t k = 0; k < count; k++)
        settings_free(&brokers[k].settings);
    free(brokers);
}

/* ---- comparing ---- */

enum demand { AT_LEAST, AT_MOST, FALSE };

struct broker_rule {
    const char *name;
    enum demand demand;
    int64_t bound;
    const char *why;
    bool note; /* nothing breaks, but it is worth knowing */
};

enum { RULES_MAX = 16 };

struct broker_rules {
    struct broker_rule rules[RULES_MAX];
    size_t count;
};

static void add(struct broker_rules *rules, bool note, const char *name, enum demand demand,
                int64_t bound, const char *why)
{
    rules->rules[rules->count++] = (struct broker_rule){name, demand, bound, why, note};
}

/* Of two rules for one setting the stricter comes last: it is looked at where the first holds. */
static void make_rules(const struct options *options, int64_t inherited_bytes,
                       struct broker_rules *rules)
{
    *rules = (struct broker_rules){.count = 0};
    add(rules, false, "transaction.max.timeout.ms", AT_LEAST, options->kafka_transaction_timeout,
        "no transaction could begin (kafka.transaction_timeout)");
    add(rules, false, "group.min.session.timeout.ms", AT_MOST, options->kafka_session_timeout,
        "no worker could join the group (kafka.session_timeout)");
    add(rules, false, "group.max.session.timeout.ms", AT_LEAST, options->kafka_session_timeout,
        "no worker could join the group (kafka.session_timeout)");
    add(rules, false, "offset.metadata.max.bytes", AT_LEAST, BATCH_METADATA_SIZE,
        "offsets could not be committed with the place from which open pools are read again");
    add(rules, false, "offsets.retention.minutes", AT_LEAST,
        (options->pool_age + MINUTE - 1) / MINUTE,
        "a group that rests loses its offsets while pools are still open (pool.age)");
    add(rules, true, "offsets.retention.minutes", AT_LEAST, 7 * (DAY / MINUTE),
        "a group that rests for days loses its offsets");
    add(rules, false, "unclean.leader.election.enable", FALSE, 0,
        "committed offsets and transactions can vanish");
    if (inherited_bytes > 0)
        add(rules, false, "message.max.bytes", AT_LEAST, inherited_bytes,
            "topics without a max.message.bytes of their own cannot take our records");
    add(rules, true, "offsets.topic.replication.factor", AT_LEAST, 2,
        "committed offsets are lost with one broker");
    add(rules, true, "transaction.state.log.replication.factor", AT_LEAST, 2,
        "the state of transactions is lost with one broker");
    add(rules, true, "transaction.state.log.min.isr", AT_LEAST, 2,
        "what one broker alone has acknowledged of a transaction is lost with it");
    add(rules, true, "transactional.id.expiration.ms", AT_LEAST, DAY,
        "who was fenced is forgotten while a worker rests");
}

static bool fits(const struct broker_rule *rule, const char *actual)
{
    if (rule->demand == FALSE)
        return strcmp(actual, "false") == 0;
    char *end;
    long long number = strtoll(actual, &end, 10);
    return end != actual && *end == '\0' &&
           (rule->demand == AT_LEAST ? number >= rule->bound : number <= rule->bound);
}

static const char *value_of(const struct broker *broker, const char *name)
{
    const struct setting *setting = settings_find(&broker->settings, name);
    return setting == NULL ? NULL : setting->value;
}

/* True when an earlier broker has the same: its line names this one too. */
static bool named_before(const struct broker *brokers, size_t at, const char *name)
{
    const char *value = value_of(&brokers[at], name);
    for (size_t k = 0; k < at; k++) {
        const char *earlier = value_of(&brokers[k], name);
        if (earlier != NULL && strcmp(earlier, value) == 0)
            return true;
    }
    return false;
}

/* "broker 1", or "brokers 1, 3": those that have `value`. */
static void write_subject(const struct broker *brokers, size_t count, const char *name,
                          const char *value, char subject[SUBJECT_SIZE])
{
    char ids[SUBJECT_SIZE - 16] = "";
    size_t used = 0, alike = 0;
    for (size_t k = 0; k < count; k++) {
        const char *other = value_of(&brokers[k], name);
        if (other == NULL || strcmp(other, value) != 0)
            continue;
        int more = snprintf(ids + used, sizeof ids - used, "%s%" PRId32, alike == 0 ? "" : ", ",
                            brokers[k].id);
        used += (size_t)more;
        alike++;
        if (used >= sizeof ids)
            break; /* a cluster of this size is named by its first brokers */
    }
    snprintf(subject, SUBJECT_SIZE, "broker%s %s", alike == 1 ? "" : "s", ids);
}

static void say(const struct broker_rule *rule, const char *subject, const char *value,
                struct findings *findings)
{
    char bound[40] = "false";
    if (rule->demand != FALSE)
        snprintf(bound, sizeof bound, "at %s %" PRId64, rule->demand == AT_LEAST ? "least" : "most",
                 rule->bound);
    if (rule->note)
        findings_note(findings, subject, "%s is %s, should be %s: %s", rule->name, value, bound,
                      rule->why);
    else
        findings_break(findings, subject, "%s is %s, must be %s: %s", rule->name, value, bound,
                       rule->why);
}

static void compare_rule(const struct broker_rules *rules, size_t at, const struct broker *brokers,
                         size_t count, struct findings *findings)
{
    const struct broker_rule *rule = &rules->rules[at];
    const struct broker_rule *before =
        at > 0 && strcmp(rule[-1].name, rule->name) == 0 ? &rule[-1] : NULL;
    for (size_t k = 0; k < count; k++) {
        const char *value = value_of(&brokers[k], rule->name);
        if (value == NULL || fits(rule, value) || named_before(brokers, k, rule->name) ||
            (before != NULL && !fits(before, value)))
            continue;
        char subject[SUBJECT_SIZE];
        write_subject(brokers, count, rule->name, value, subject);
        say(rule, subject, value, findings);
    }
}

/* Which worker meets which of the values depends on who leads a partition at the time. */
static void compare_brokers(const char *name, const struct broker *brokers, size_t count,
                            struct findings *findings)
{
    size_t first = 0;
    while (first < count && value_of(&brokers[first], name) == NULL)
        first++;
    for (size_t k = first + 1; k < count; k++) {
        const char *value = value_of(&brokers[k], name);
        if (value == NULL || named_before(brokers, k, name))
            continue;
        char subject[SUBJECT_SIZE], other[SUBJECT_SIZE];
        const char *usual = value_of(&brokers[first], name);
        write_subject(brokers, count, name, value, subject);
        write_subject(brokers, count, name, usual, other);
        findings_note(findings, subject, "%s is %s, but %s on %s", name, value, usual, other);
    }
}

void brokers_compare(const struct options *options, const struct broker *brokers, size_t count,
                     int64_t inherited_bytes, struct findings *findings)
{
    for (size_t k = 0; k < count; k++) {
        char subject[SUBJECT_SIZE];
        snprintf(subject, sizeof subject, "broker %" PRId32, brokers[k].id);
        if (brokers[k].unread.class != ERROR_NONE)
            findings_unchecked(findings, subject, &brokers[k].unread);
    }
    struct broker_rules rules;
    make_rules(options, inherited_bytes, &rules);
    for (size_t k = 0; k < rules.count; k++)
        compare_rule(&rules, k, brokers, count, findings);
    for (size_t k = 0; k < rules.count; k++)
        if (k == 0 || strcmp(rules.rules[k - 1].name, rules.rules[k].name) != 0)
            compare_brokers(rules.rules[k].name, brokers, count, findings);
}
