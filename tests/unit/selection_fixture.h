/* Rules, prompts and decisions for the tests of selection. */
#ifndef TEST_SELECTION_FIXTURE_H
#define TEST_SELECTION_FIXTURE_H

#include "tests/unit/engine_fixture.h"
#include "worker/engine/inputs.h"

/* A rule with values for the parameters that have no default. */
static inline struct selection_options selection_of(const char *name)
{
    static const struct {
        const char *parameter;
        double value;
    } REQUIRED[] = {{"target_margin", .5}, {"gate", 1},         {"implicit_margin", 10},
                    {"prompt_share", 1},   {"top_quantile", 2}, {"resolution", .1},
                    {"entropy_weight", 1}, {"neighbours", 2},   {"radius", 1},
                    {"reward_share", .5},  {"kernel_scale", 1}};
    struct selection_options options = selection_defaults(sel_rule_find(name));
    for (size_t k = 0; k < sizeof REQUIRED / sizeof *REQUIRED; k++) {
        size_t place = sel_rule_parameter(options.rule, REQUIRED[k].parameter);
        if (place < options.rule->parameter_count)
            options.parameters[place] = REQUIRED[k].value;
    }
    return options;
}

static inline struct engine_options options_with(struct selection_options selection)
{
    struct engine_options options = options_of();
    options.selection = selection;
    options.features_scale = 1;
    return options;
}

/* The next SELECTED from entry *at on; false when there is none. */
static inline bool next_selected(struct shell *shell, size_t *at, struct entry *entry)
{
    while (*at < shell->cluster->entries) {
        *entry = entry_at(shell, (*at)++);
        if (entry->kind == ENTRY_SELECTED)
            return true;
    }
    *entry = (struct entry){0};
    return false;
}

/* A pool of a prompt with random features, each completion as `change` wants it. */
static inline void give_prompt(struct shell *shell, int32_t partition, const char *prompt,
                               void (*change)(struct completion *completion, size_t k))
{
    for (size_t k = 0; k < POOL; k++) {
        float features[D];
        char name[32];
        struct error error;
        const struct source source = {.partition = partition,
                                      .offset =
                                          engine_next(shell->engine, INPUT_COMPLETIONS, partition),
                                      .timestamp = 1000000,
                                      .value = span_of("raw")};
        struct sel_random random =
            sel_random_init(5, (uint64_t)(source.offset * PARTITIONS + partition));
        for (size_t axis = 0; axis < D; axis++)
            features[axis] = (float)sel_random_normal(&random);
        snprintf(name, sizeof name, "c%zu", k);
        struct completion completion = records_completion(prompt, name, features, D);
        completion.domain = span_of(prompt);
        if (change != NULL)
            change(&completion, k);
        check(engine_completion(shell->engine, &source, &completion, &error), &error);
    }
}

static inline size_t count_kind(struct shell *shell, enum entry_kind kind)
{
    size_t count = 0;
    for (size_t k = 0; k < shell->cluster->entries; k++)
        count += entry_at(shell, k).kind == kind;
    return count;
}

static inline void check_selected(struct shell *shell, const char *rule)
{
    struct entry entry;
    struct id seen[400];
    size_t at = 0, count = 0;
    while (next_selected(shell, &at, &entry)) {
        const struct entry_selected *selected = &entry.selected;
        if (!(selected->propensity > 0 && selected->propensity <= 1 + 1e-9))
            fail_msg("%s: propensity %g", rule, selected->propensity);
        if (!(selected->weight > 0 && selected->weight <= .25))
            fail_msg("%s: weight %g", rule, selected->weight);
        struct id pair = identity_of(selected->pair_id);
        for (size_t k = 0; k < count; k++)
            assert_false(identity_equal(seen[k], pair));
        assert_true(count < sizeof seen / sizeof *seen);
        seen[count++] = pair;
    }
    if (count < 60)
        fail_msg("%s asked %zu pairs", rule, count);
}

/* A run under these options asks as it should. */
static inline void check_run(const struct engine_options *options, int rounds)
{
    struct shell shell = start_with(cluster_new(), options, 1000000);
    run(&shell, rounds, 0);
    check_selected(&shell, options->selection.rule->name);
    finish(&shell);
}

/* Over many seeds, 1 / propensity of the first pair, of that domain, averages to the number of
 * pairs that can come. */
static inline void check_propensities(struct engine_options options, uint64_t seeds,
                                      void (*give)(struct shell *shell), double pairs,
                                      const char *domain, const char *what)
{
    double sum = 0, squares = 0, asked = 0;
    options.budget_burst = options.budget_in_flight = 1;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        options.seed = seed;
        struct shell shell = start_with(cluster_new(), &options, 1000000);
        struct entry entry;
        size_t at = 0;
        give(&shell);
        turn(&shell, 2000);
        turn(&shell, 0);
        turn(&shell, 0);
        if (next_selected(&shell, &at, &entry)) {
            assert_true(span_equal(entry.selected.domain, span_of(domain)));
            double inverse = 1 / entry.selected.propensity;
            sum += inverse;
            squares += inverse * inverse;
            asked++;
        }
        finish(&shell);
    }
    double mean = sum / asked, sd = sqrt(squares / asked - mean * mean) / sqrt(asked);
    if (asked < (double)seeds || fabs(mean - pairs) > 4 * sd + 1e-9)
        fail_msg("%s: %g pairs expected, %g +- %g found in %g", what, pairs, mean, sd, asked);
}

/* A rule that takes the first pair of pools of 4, and nothing of larger ones. */
static inline void distribute(const struct sel_view *view, double *probability)
{
    for (size_t k = 0; k < view->n * (view->n - 1) / 2; k++)
        probability[k] = view->n == 4 && k == 0;
}

static const struct sel_rule SMALL_POOLS = {
    .version = SEL_RULE_VERSION,
    .name = "small_pools",
    .formula = "1",
    .source = "this test",
    .distribution = distribute,
};

static inline void give_small_prompt(struct shell *shell, int32_t partition)
{
    struct error error;
    for (int64_t k = 0; k < 4; k++)
        give_completion_of(shell, partition, 600 + k, "space", 0, D);
    check(engine_end(shell->engine, INPUT_COMPLETIONS, partition, 604, &error), &error);
}

#endif
