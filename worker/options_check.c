/* What one option demands of another, and of the world outside the table. */
#include "engine/groups.h"
#include "http.h"
#include "options_table.h"

#include <stdlib.h>
#include <string.h>

/* "pool.min: 17 is above pool.size = 16", each value as people write it. */
static bool conflict(const struct options *options, const char *name, const char *relation,
                     const char *other, struct error *error)
{
    char value[64], against[64];
    options_text(options, name, value, sizeof value);
    options_text(options, other, against, sizeof against);
    return error_set(error, ERROR_FATAL, "%s: %s is %s %s = %s", name, value, relation, other,
                     against);
}

static bool check_pools(const struct options *options, struct error *error)
{
    if (options->pool_min > options->pool_size)
        return conflict(options, "pool.min", "above", "pool.size", error);
    if (options->pool_size > options->pool_max)
        return conflict(options, "pool.size", "above", "pool.max", error);
    /* Pools would be closed before they are ready. */
    if (options->pool_wait > options->pool_age)
        return conflict(options, "pool.wait", "above", "pool.age", error);
    return true;
}

static bool check_features(const struct options *options, struct error *error)
{
    if (options->features_dimension > options->limits_dimension)
        return conflict(options, "features.dimension", "above", "limits.dimension", error);
    if (options->limits_text > options->limits_record)
        return conflict(options, "limits.text", "above", "limits.record", error);
    if (options->fit_lambda_max > 0 && options->fit_lambda > options->fit_lambda_max)
        return conflict(options, "fit.lambda", "above", "fit.lambda_max", error);
    return true;
}

/* Those that features.groups and features.blocks come to. A space may have any dimension, unless
 * features.dimension says which. */
static bool check_groups(struct options *options, struct error *error)
{
    const struct string_list *given = &options->features_groups;
    char reason[256];
    if (options->groups == NULL)
        options->groups = calloc(1, sizeof *options->groups);
    if (options->groups == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    if (!feature_groups_parse((const char *const *)given->items, given->count, options->groups,
                              error))
        return error_prefix(error, "features.groups");
    if (given->count > 0 && options->features_blocks > 1)
        return error_set(error, ERROR_FATAL,
                         "features.blocks: %zu blocks beside features.groups; give one of them",
                         options->features_blocks);
    options->groups->blocks = options->features_blocks;
    size_t d =
        options->features_dimension > 0 ? options->features_dimension : options->limits_dimension;
    return feature_groups_fit(options->groups, d, reason, sizeof reason) ||
           error_set(error, ERROR_FATAL, "%s", reason);
}

static bool check_topic(const char *option, const char *topic, struct error *error)
{
    static const char LETTERS[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t size = strlen(topic);
    if (size > 249 || topic[strspn(topic, LETTERS)] != '\0' || strcmp(topic, ".") == 0 ||
        strcmp(topic, "..") == 0)
        return error_set(
            error, ERROR_FATAL,
            "%s: '%.80s' is not a topic name (up to 249 letters, digits, '.', '_', '-')", option,
            topic);
    return true;
}

/* One topic in two roles would feed the worker its own output. */
static bool check_topics(const struct options *options, struct error *error)
{
    const struct {
        const char *option;
        const char *topic;
    } topics[] = {{"topics.completions", options->topics_completions},
                  {"topics.labels", options->topics_labels},
                  {"topics.pairs", options->topics_pairs},
                  {"topics.ledger", options->topics_ledger},
                  {"topics.dead_letters", options->topics_dead_letters}};
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        if (!check_topic(topics[i].option, topics[i].topic, error))
            return false;
        for (size_t j = 0; j < i; j++)
            if (strcmp(topics[i].topic, topics[j].topic) == 0)
                return error_set(error, ERROR_FATAL, "%s: '%.80s' is already %s", topics[i].option,
                                 topics[i].topic, topics[j].option);
    }
    return true;
}

static bool check_kafka(const struct options *options, struct error *error)
{
    if (options->commit_interval >= options->kafka_transaction_timeout)
        return conflict(options, "kafka.transaction_timeout", "not above", "commit.interval",
                        error);
    const char *message = options_property(options, "message.timeout.ms");
    if (message == NULL)
        message = options_property(options, "delivery.timeout.ms");
    if (message == NULL)
        return true;
    char *end;
    long long timeout = strtoll(message, &end, 10);
    if (*end != '\0' || timeout <= 0 || timeout > options->kafka_transaction_timeout)
        return error_set(error, ERROR_FATAL,
                         "kafka.properties: message.timeout.ms = %.40s must lie between 1 and "
                         "kafka.transaction_timeout = %lld ms",
                         message, (long long)options->kafka_transaction_timeout);
    return true;
}

static bool check_ids(const struct options *options, struct error *error)
{
    for (size_t k = 0; k < options->schemas_ids.count; k++) {
        const char *item = options->schemas_ids.items[k];
        char *end;
        long long id = strtoll(item, &end, 10);
        if (end == item || *end != '=' || end[1] == '\0' || id < 0 || id > INT32_MAX)
            return error_set(error, ERROR_FATAL,
                             "schemas.ids: '%.80s' is not of the form id=file with an id from 0 to "
                             "2147483647",
                             item);
    }
    return true;
}

/* A pair competes again only where pairs are scored or drawn one by one, and its pool is open. */
static bool check_replicas(const struct options *options, struct error *error)
{
    if (options->labels_replicas < 2 || options->labels_replicate != REPLICATE_BEST)
        return true;
    if (options->selection_when != WHEN_SLOTS)
        return conflict(options, "labels.replicate",
                        "only possible with selection.when = slots, not", "selection.when", error);
    if (!sel_rule_is_of_pools(options->rule))
        return conflict(options, "labels.replicate",
                        "not possible where the rule chooses from a list:", "selection.rule",
                        error);
    return true;
}

bool options_check(struct options *options, struct error *error)
{
    return check_pools(options, error) && check_features(options, error) &&
           options_check_budget(options, error) && check_groups(options, error) &&
           options_check_rule(options, error) && check_replicas(options, error) &&
           check_topics(options, error) && check_kafka(options, error) &&
           check_ids(options, error) &&
           (http_check_address(options->http_address, error) ||
            error_prefix(error, "http.address"));
}
