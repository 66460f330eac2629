/* What was asked, for the tests of replicas and outcomes. */
#ifndef TEST_REPLICAS_FIXTURE_H
#define TEST_REPLICAS_FIXTURE_H

#include "tests/unit/selection_fixture.h"
#include "worker/engine/replicas.h"

static inline struct engine_options options_asking(int64_t attempts, int64_t replicas)
{
    struct engine_options options = options_with(selection_of("policy_trace"));
    options.labels_attempts = attempts;
    options.labels_replicas = replicas;
    return options;
}

static inline struct shell begin(const struct engine_options *options)
{
    struct shell shell = start_with(cluster_new(), options, 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    turn(&shell, 2000);
    turn(&shell, 1); /* with the moments of the turn before */
    return shell;
}

/* The fields of a SELECTED that tests look at. */
struct asked {
    char request[ID_TEXT_SIZE], pair[ID_TEXT_SIZE];
    int32_t replica, attempt;
    enum pair_arm arm;
    double propensity;
};
enum { ASKED_MAX = 1500 };

static inline size_t list_asked(struct shell *shell, struct asked asked[ASKED_MAX])
{
    struct entry entry;
    size_t at = 0, count = 0;
    while (next_selected(shell, &at, &entry)) {
        const struct entry_selected *selected = &entry.selected;
        assert_true(count < ASKED_MAX);
        struct asked *each = &asked[count++];
        *each = (struct asked){.replica = selected->replica,
                               .attempt = selected->attempt,
                               .arm = selected->arm,
                               .propensity = selected->propensity};
        memcpy(each->request, selected->request_id.data, ID_TEXT_SIZE - 1);
        memcpy(each->pair, selected->pair_id.data, ID_TEXT_SIZE - 1);
    }
    return count;
}

static inline const struct asked *find_asked(const struct asked *asked, size_t count,
                                             const char *pair, int32_t replica, int32_t attempt)
{
    const struct asked *found = NULL;
    for (size_t k = 0; k < count; k++) {
        if (asked[k].replica != replica || asked[k].attempt != attempt ||
            strcmp(asked[k].pair, pair) != 0)
            continue;
        assert_null(found); /* nothing is asked twice */
        found = &asked[k];
    }
    return found;
}

static inline void same_choice(const struct asked *one, const struct asked *other)
{
    assert_non_null(one);
    assert_non_null(other);
    assert_int_equal(one->arm, other->arm);
    assert_float_equal(one->propensity, other->propensity, 0);
    assert_string_not_equal(one->request, other->request);
}

#endif
