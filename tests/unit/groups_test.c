/* Groups of features: how they are given, and what the engine does with them. */
#include "tests/unit/engine_fixture.h"
#include "worker/engine/groups.h"

static void expect_refusal(const char *const *items, size_t count, const char *said)
{
    struct feature_groups groups;
    struct error error;
    assert_false(feature_groups_parse(items, count, &groups, &error));
    if (strstr(error.message, said) == NULL)
        fail_msg("'%s' is not in '%s'", said, error.message);
}

static void names_and_ranges_are_read(void **state)
{
    (void)state;
    static const char *const ITEMS[] = {"reward=0-2", "style=4+6-7"};
    struct feature_groups groups;
    struct error error;
    uint8_t group[9];
    char name[GROUP_NAME_MAX + 1], text[200];
    check(feature_groups_parse(ITEMS, 2, &groups, &error), &error);
    assert_true(feature_groups_fit(&groups, 8, text, sizeof text));
    assert_int_equal(feature_groups_of(&groups, 9, group), 3);
    assert_memory_equal(group, ((const uint8_t[]){0, 0, 0, 2, 1, 2, 1, 1, 2}), 9);
    assert_string_equal(feature_groups_name(&groups, 1, name), "style");
    assert_string_equal(feature_groups_name(&groups, 2, name), "other");
    assert_false(feature_groups_fit(&groups, 7, text, sizeof text));
    assert_string_equal(text, "features.groups: 'style' names feature 7, there are 7, from 0 on");
}

static void what_names_all_features_leaves_no_other(void **state)
{
    (void)state;
    static const char *const ITEMS[] = {"b=2-3", "a=0-1"};
    struct feature_groups groups;
    struct error error;
    uint8_t group[4];
    check(feature_groups_parse(ITEMS, 2, &groups, &error), &error);
    assert_int_equal(feature_groups_of(&groups, 4, group), 2);
    assert_memory_equal(group, ((const uint8_t[]){1, 1, 0, 0}), 4);
}

static void blocks_are_of_equal_size(void **state)
{
    (void)state;
    const struct feature_groups blocks = {.blocks = 3}, one = {.blocks = 1};
    uint8_t group[8];
    char name[GROUP_NAME_MAX + 1], text[200];
    assert_int_equal(feature_groups_of(&blocks, 8, group), 3);
    assert_memory_equal(group, ((const uint8_t[]){0, 0, 1, 1, 1, 2, 2, 2}), 8);
    assert_string_equal(feature_groups_name(&blocks, 2, name), "block2");
    assert_true(feature_groups_fit(&blocks, 3, text, sizeof text));
    assert_false(feature_groups_fit(&blocks, 2, text, sizeof text));
    assert_int_equal(feature_groups_of(&one, 8, group), 1);
    assert_int_equal(feature_groups_of(NULL, 8, group), 1);
    assert_string_equal(feature_groups_name(NULL, 0, name), "all");
}

static void what_is_no_group_is_refused(void **state)
{
    (void)state;
    static const char *const CASES[][2] = {
        {"reward", "'reward' is not of the form name=FROM-TO"},
        {"=0-1", "is not of the form name=FROM-TO"},
        {"a b=0-1", "is not of the form name=FROM-TO"},
        {"a_name_of_more_than_thirty-two_letters=1", "is not of the form name=FROM-TO"},
        {"other=0-1", "'other' is not a name to give"},
        {"a=", "expected ranges FROM-TO"},
        {"a=3-2", "FROM not above TO"},
        {"a=1-", "expected ranges FROM-TO"},
        {"a=1,2", "expected ranges FROM-TO"},
        {"a=-1", "expected ranges FROM-TO"},
        {"a=0-65536", "0 to 65535"},
        {"a=99999999999999999999", "0 to 65535"},
        {"a=0-4+4", "feature 4 is in 'a' and in 'a'"},
    };
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++)
        expect_refusal(&CASES[k][0], 1, CASES[k][1]);
    expect_refusal((const char *const[]){"a=0-4", "b=7", "c=3-9"}, 3,
                   "feature 3 is in 'a' and in 'c'");
    expect_refusal((const char *const[]){"a=0", "a=1"}, 2, "'a' is given twice");
    char texts[SEL_GROUPS_MAX][16];
    const char *items[SEL_GROUPS_MAX];
    for (size_t k = 0; k < SEL_GROUPS_MAX; k++) {
        snprintf(texts[k], sizeof texts[k], "g%zu=%zu", k, k);
        items[k] = texts[k];
    }
    expect_refusal(items, SEL_GROUPS_MAX, "64 groups; there may be 63");
    struct feature_groups groups;
    struct error error;
    check(feature_groups_parse(items, SEL_GROUPS_MAX - 1, &groups, &error), &error);
}

/* ---- in the engine ---- */

static struct feature_groups parse(const char *item)
{
    struct feature_groups groups;
    struct error error;
    check(feature_groups_parse(&item, 1, &groups, &error), &error);
    return groups;
}

static void give_fit_of(struct shell *shell, int64_t fit_id, const double psi[D],
                        const double *lambdas, size_t count)
{
    struct error error;
    const struct entry entry = {.version = LEDGER_VERSION,
                                .digest = span_of("digest"),
                                .writer = span_of("other"),
                                .time = shell->now,
                                .kind = ENTRY_FIT,
                                .fit = {.fit_id = fit_id,
                                        .feature_space = span_of("space"),
                                        .psi = {(const char *)psi, D * sizeof *psi},
                                        .lambda = {(const char *)lambdas, count * sizeof *lambdas},
                                        .return_rate = 1}};
    check(engine_entry(shell->engine, &entry, 0, 1000 + fit_id, &error), &error);
    check(engine_refresh(shell->engine, &error), &error);
}

static void give_fit(struct shell *shell, int64_t fit_id, const double *lambdas, size_t count)
{
    const double psi[D] = {0};
    give_fit_of(shell, fit_id, psi, lambdas, count);
}

static double diagonal(struct shell *shell, size_t feature)
{
    return engine_view(shell->engine).sigma[feature * D + feature];
}

/* Signs of the first feature answer: the fit finds the groups, and a worker that reads it has the
 * same Sigma. */
static void a_fit_holds_a_lambda_for_each_group(void **state)
{
    (void)state;
    const struct feature_groups groups = parse("first=0");
    struct engine_options options = options_of();
    struct error error = {ERROR_NONE, ""};
    options.features_groups = &groups;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    run(&shell, 60, 0);
    struct engine_view view = engine_view(shell.engine);
    assert_true(view.fit_id > 2);
    assert_int_equal(view.groups, 2);
    assert_true(view.lambdas[1] > 3 * view.lambdas[0]);
    assert_true(view.lambda > view.lambdas[0] && view.lambda < view.lambdas[1]);
    struct shell other = start_with(shell.cluster, &options, shell.now);
    char digests[2][33];
    check(engine_refresh(shell.engine, &error), &error);
    check(engine_refresh(other.engine, &error), &error);
    engine_digest(shell.engine, digests[0]);
    engine_digest(other.engine, digests[1]);
    assert_string_equal(digests[0], digests[1]);
    assert_memory_equal(engine_view(other.engine).lambdas, view.lambdas, 2 * sizeof(double));
    stop(&other);
    finish(&shell);
}

static void one_lambda_is_that_of_all_groups_and_another_number_is_refused(void **state)
{
    (void)state;
    static const double LAMBDAS[] = {3, 50, 7}, WRONG[] = {3, -1};
    const struct feature_groups groups = parse("first=0");
    struct engine_options options = options_of();
    options.features_groups = &groups;
    options.features_scale = 1;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_completion(&shell, 0, 0); /* nothing is asked: Sigma is the prior's */
    turn(&shell, 2000);
    turn(&shell, 2000);
    give_fit(&shell, 1, LAMBDAS, 1);
    assert_true(diagonal(&shell, 0) == 3 && diagonal(&shell, 3) == 3);
    give_fit(&shell, 2, LAMBDAS, 2);
    assert_true(diagonal(&shell, 0) == 3 && diagonal(&shell, 1) == 50);
    give_fit(&shell, 3, LAMBDAS, 3);
    assert_int_equal(engine_stats(shell.engine)->entries_refused, 1);
    assert_non_null(strstr(engine_refusal(shell.engine),
                           "lambda: has 24 bytes; features.groups and features.blocks make 2"));
    give_fit(&shell, 4, WRONG, 2);
    assert_non_null(strstr(engine_refusal(shell.engine), "lambda[1]: is not a positive number"));
    assert_int_equal(engine_view(shell.engine).fit_id, 2);
    finish(&shell);
}

/* Nothing is lost for a mistake in the configuration: pools gather, and a restart with groups that
 * the space has goes on with them. */
static void a_space_without_the_features_waits(void **state)
{
    (void)state;
    const struct feature_groups groups = parse("far=3-4"), right = parse("far=3");
    struct engine_options options = options_of();
    struct error error;
    char why[300];
    options.features_groups = &groups;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    run(&shell, 4, 0);
    assert_int_equal(shell.cluster->dead_letters, 0);
    assert_int_equal(shell.cluster->entries, 0);
    assert_true(engine_obstacle(shell.engine, why, sizeof why));
    assert_string_equal(why, "the feature space 'space' cannot begin: features.groups: 'far' names "
                             "feature 4, there are 4, from 0 on");
    stop(&shell);

    options.features_groups = &right;
    shell = start_with(shell.cluster, &options, 1010000);
    run(&shell, 4, 0);
    assert_true(shell.cluster->pairs > 0);

    /* Others work in the space by now. */
    options.features_groups = &groups;
    struct shell wrong = {.contracts = load_contracts(), .cluster = shell.cluster};
    wrong.engine = engine_new(&options, wrong.contracts, &error);
    bool good = true;
    for (size_t k = 0; good && k < shell.cluster->entries; k++) {
        struct entry entry = entry_at(&wrong, k);
        good = engine_entry(wrong.engine, &entry, shell.cluster->ledger[k].partition,
                            shell.cluster->ledger[k].offset, &error);
    }
    assert_false(good);
    assert_int_equal(error.class, ERROR_FATAL);
    assert_non_null(strstr(error.message, "'far' names feature 4"));
    stop(&wrong);
    finish(&shell);
}

/* A forged fit must not stop the workers that read it. */
static void a_fit_that_no_arithmetic_can_use_is_refused(void **state)
{
    (void)state;
    static const double HUGE_PSI[D] = {1e308, -1e308, 1e308, -1e308}, PSI[D] = {1, 2, 3, 4};
    static const double SMALL = 5e-324, LAMBDA = 1;
    struct engine_options options = options_of();
    options.features_scale = 1;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    int64_t labels = run(&shell, 3, 0);
    give_fit_of(&shell, 1000, HUGE_PSI, &LAMBDA, 1);
    assert_non_null(strstr(engine_refusal(shell.engine), "psi: is not finite, or beyond"));
    give_fit_of(&shell, 1000, PSI, &SMALL, 1);
    assert_non_null(strstr(engine_refusal(shell.engine), "is below 1e-12"));
    assert_int_equal(engine_stats(shell.engine)->entries_refused, 2);
    run(&shell, 3, labels);
    assert_true(engine_view(shell.engine).fit_id < 1000);
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_ranges_are_read),
        cmocka_unit_test(what_names_all_features_leaves_no_other),
        cmocka_unit_test(blocks_are_of_equal_size),
        cmocka_unit_test(what_is_no_group_is_refused),
        cmocka_unit_test(a_fit_holds_a_lambda_for_each_group),
        cmocka_unit_test(one_lambda_is_that_of_all_groups_and_another_number_is_refused),
        cmocka_unit_test(a_fit_that_no_arithmetic_can_use_is_refused),
        cmocka_unit_test(a_space_without_the_features_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
