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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_are_found_by_name_and_alias),
        cmocka_unit_test(every_name_of_the_table_is_its_own),
        cmocka_unit_test(policy_trace_scores_by_its_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
