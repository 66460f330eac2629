#include "sel_fixture.h"

static void rules_are_found_by_name_and_alias(void **state)
{
    (void)state;
    assert_non_null(sel_rule_find("policy_trace"));
    assert_ptr_equal(sel_rule_find("trace_greedy"), sel_rule_find("policy_trace"));
    assert_non_null(sel_rule_find("uniform"));
    assert_ptr_equal(sel_rule_find("random"), sel_rule_find("uniform"));
    assert_null(sel_rule_find("no_such_rule"));
    assert_null(sel_rule_find(""));
    assert_null(sel_rule_find(NULL));
}

static void every_name_of_the_table_is_its_own(void **state)
{
    (void)state;
    size_t count = 0;
    for (const struct sel_rule *rule; (rule = sel_rule_at(count)) != NULL; count++) {
        assert_ptr_equal(sel_rule_find(rule->name), rule);
        for (size_t other = 0; other < count; other++)
            assert_string_not_equal(rule->name, sel_rule_at(other)->name);
        for (const char *const *alias = rule->aliases; alias != NULL && *alias != NULL; alias++)
            assert_ptr_equal(sel_rule_find(*alias), rule);
        assert_non_null(rule->formula);
        assert_non_null(rule->source);
        assert_int_equal((rule->score != NULL) + (rule->scores != NULL) +
                             (rule->distribution != NULL) + (rule->select != NULL),
                         1);
        assert_non_null(rule->cost);
    }
    assert_true(count >= 2);
    assert_null(sel_rule_at(count + 1));
}

static void policy_trace_scores_by_its_formula(void **state)
{
    (void)state;
    const struct sel_pair pair = {.weight = .2, .variance = 3, .policy = 5, .margin = 1};
    fixture_close(sel_rule_find("policy_trace")->score(&pair), .2 * 5 / 1.6, 1e-15);
    assert_false(sel_rule_find("policy_trace")->randomised);
    assert_true(sel_rule_find("uniform")->randomised);
}

/* The table of selectors/README.md names every rule, its aliases and its formula. */
static void the_page_names_every_rule(void **state)
{
    (void)state;
    FILE *file = fopen(TEST_SOURCE_DIRECTORY "/selectors/README.md", "r");
    assert_non_null(file);
    char *page = fixture_room(1 << 18, 1);
    assert_true(fread(page, 1, (1 << 18) - 1, file) > 0);
    fclose(file);
    const struct sel_rule *rule;
    for (size_t k = 0; (rule = sel_rule_at(k)) != NULL; k++) {
        char row[128];
        snprintf(row, sizeof row, "| `%s`", rule->name);
        if (strstr(page, row) == NULL || strstr(page, rule->formula) == NULL)
            fail_msg("%s or its formula is not on the page", rule->name);
        for (const char *const *alias = rule->aliases; alias != NULL && *alias != NULL; alias++)
            assert_non_null(strstr(page, *alias));
    }
    free(page);
}

/* Names by which users of other systems ask. */
static void every_name_of_the_field_is_known(void **state)
{
    (void)state;
    static const char *const names[] = {
        "trace_fw",
        "policy_trace",
        "trace_greedy",
        "aopt",
        "trace_design",
        "dopt",
        "gopt",
        "dopt_xx",
        "ucb",
        "dopt_logit",
        "mass_dpo",
        "dopt_oneshot",
        "dopt_topn",
        "dopt_fw",
        "list_fw",
        "gopt_round",
        "fisher_ratio",
        "l2diff",
        "min_margin",
        "max_margin",
        "target_margin",
        "mid",
        "tails",
        "quantile",
        "gate",
        "rmg",
        "mi",
        "bald",
        "batchbald",
        "ens_var_logit",
        "var_prob",
        "kl",
        "infomax",
        "dts",
        "eets",
        "drts",
        "infogain",
        "baits",
        "ids_var",
        "deltaucb",
        "deltaquantile",
        "maxminlcb",
        "minmaxucb",
        "maxmaxucb",
        "maxwidth",
        "rucb",
        "ids",
        "multisbm",
        "doubler",
        "sparring",
        "balpm",
        "kcenter",
        "herding",
        "max_herding",
        "uherding",
        "knn_herding",
        "div_reward",
        "kmeans",
        "duo",
        "lr_coreset",
        "dpp",
        "uniform",
        "random",
        "first2",
        "first_two",
        "pi0_weighted",
        "pi0_greedy",
        "most_likely",
        "xpo_src",
        "pilaf_src",
        "oracle_maxmin",
        "best+top-1/q",
        "best_vs_worst",
        "best_worst",
        "ultrafeedback4",
        "margin",
        "max_info_gain",
        "entropy",
        "sharp",
        "apl",
        "ens_var",
    };
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        if (sel_rule_find(names[k]) == NULL)
            fail_msg("%s is unknown", names[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_are_found_by_name_and_alias),
        cmocka_unit_test(every_name_of_the_table_is_its_own),
        cmocka_unit_test(policy_trace_scores_by_its_formula),
        cmocka_unit_test(the_page_names_every_rule),
        cmocka_unit_test(every_name_of_the_field_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
