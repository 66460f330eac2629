/* The options of one rule: the configuration, --set, and what stands behind the rule's name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replay.h"
#include "worker/options_table.h"

enum { SETS_MAX = 256, SET_SIZE = 512 };

struct sets {
    char text[SETS_MAX][SET_SIZE];
    const char *list[SETS_MAX + 1];
    size_t count;
};

static bool add(struct sets *sets, const char *prefix, const char *text, size_t size,
                struct error *error)
{
    if (sets->count == SETS_MAX || strlen(prefix) + size >= SET_SIZE)
        return error_set(error, ERROR_DATA,
                         "'%.60s': more than %d options, or one of more than %d bytes", text,
                         SETS_MAX, SET_SIZE - 1);
    snprintf(sets->text[sets->count], SET_SIZE, "%s%.*s", prefix, (int)size, text);
    sets->list[sets->count] = sets->text[sets->count];
    sets->count++;
    return true;
}

static bool collect(const struct replay_request *request, const char *rule, const char *more,
                    struct sets *sets, struct error *error)
{
    for (const char *const *set = request->sets; set != NULL && *set != NULL; set++) {
        if (!add(sets, "", *set, strlen(*set), error))
            return false;
    }
    if (more != NULL && !add(sets, "", more, strlen(more), error))
        return false;
    if (rule == NULL)
        return true;
    size_t size = strcspn(rule, ",");
    if (!add(sets, "selection.rule=", rule, size, error))
        return false;
    for (const char *text = rule + size; *text != '\0'; text += size) {
        text++;
        size = strcspn(text, ",");
        if (!add(sets, "", text, size, error))
            return false;
    }
    return true;
}

static bool check(const struct options *options, struct error *error)
{
    if ((options->rule->traits & SEL_SIMULATION) != 0)
        return error_set(error, ERROR_DATA,
                         "selection.rule: %s looks at true rewards, which only a simulation has",
                         options->rule->name);
    return options_require(options, error, "policy.beta", NULL) &&
           options_require_budget(options, error);
}

struct options *replay_options(const struct replay_request *request, const char *rule,
                               const char *more, struct error *error)
{
    struct sets *sets = calloc(1, sizeof *sets);
    struct options *options = options_new();
    bool done = (sets != NULL && options != NULL) || error_set(error, ERROR_FATAL, "out of memory");
    done = done && collect(request, rule, more, sets, error);
    if (done) {
        const struct options_input input = {.file = request->config,
                                            .environment = (const char *const *)environ,
                                            .sets = sets->list};
        done = options_load(options, &input, error) && check(options, error);
    }
    free(sets);
    if (done)
        return options;
    options_free(options);
    if (rule != NULL)
        error_prefix(error, "%.100s", rule);
    return NULL;
}
