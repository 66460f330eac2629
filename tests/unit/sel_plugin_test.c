/* The example of selectors/example, built outside the tree against the installed header. */
#include "sel_world.h"

#include <unistd.h>

static char folder[256];

static int shell(const char *format, const char *first, const char *second)
{
    char command[1024];
    snprintf(command, sizeof command, format, first, second);
    return system(command);
}

static int build_example(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sel_plugin_XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    if (shell("cmake --install %s/selectors --prefix %s >/dev/null", TEST_BINARY_DIRECTORY,
              folder) != 0 ||
        shell("cp -r %s/selectors/example %s/", TEST_SOURCE_DIRECTORY, folder) != 0)
        return -1;
    return shell("PKG_CONFIG_PATH=$(dirname $(find %s -name infopair.pc)) "
                 "make -s -C %s/example",
                 folder, folder);
}

static int remove_example(void **state)
{
    (void)state;
    return shell("rm -r %s%s", folder, "");
}

static void a_rule_of_ones_own_picks(void **state)
{
    (void)state;
    char path[512];
    char message[256];
    const struct sel_rule *rule = NULL;
    snprintf(path, sizeof path, "%s/example/closest.so", folder);
    struct sel_plugin *plugin = sel_rule_load(path, &rule, message, sizeof message);
    assert_non_null(plugin);
    assert_string_equal(rule->name, "closest");
    assert_true(sel_rule_is_plain(rule));
    struct world world = world_new(80, D);
    struct sel_picker_options options = options_of(D, 1, N);
    options.rule = rule;
    struct sel_picker *picker = sel_picker_new(&options);
    struct sel_choice choice;
    size_t pool;
    assert_int_equal(sel_picker_begin(picker, world.information, world.policy, world.psi, 0),
                     SEL_OK);
    assert_int_equal(sel_picker_open(picker, world.phi[0], N, NULL, &pool), SEL_OK);
    assert_true(sel_picker_best(picker, &choice));
    fixture_close(choice.score,
                  choice.pair.variance * exp(-choice.pair.margin * choice.pair.margin), 1e-12);
    sel_picker_free(picker);
    world_free(&world);
    sel_rule_unload(plugin);
}

static void the_worker_takes_it_with_its_parameters(void **state)
{
    (void)state;
    static const char CHECK[] =
        TEST_BINARY_DIRECTORY "/infopair check --config " TEST_SOURCE_DIRECTORY
                              "/config/infopair.cfg --set selection.plugin=%s/example/closest.so ";
    char good[1024], unnamed[1024], unknown[1024];
    snprintf(good, sizeof good, "%s%s", CHECK,
             "--set selection.rule=closest --set selection.parameters=margin_width=2 >/dev/null%s");
    snprintf(unnamed, sizeof unnamed, "%s%s", CHECK, "2>&1 | grep -q 'is not the rule of'%s");
    snprintf(unknown, sizeof unknown, "%s%s", CHECK,
             "--set selection.rule=closest --set selection.parameters=width=2 2>&1 | "
             "grep -q \"closest has no 'width'; its parameters: margin_width\"%s");
    assert_int_equal(shell(good, folder, ""), 0);
    assert_int_equal(shell(unnamed, folder, ""), 0);
    assert_int_equal(shell(unknown, folder, ""), 0);
}

static void what_is_no_rule_is_refused_with_a_sentence(void **state)
{
    (void)state;
    char path[512];
    char message[256] = "";
    const struct sel_rule *rule = NULL;
    assert_null(sel_rule_load("/no/such/file.so", &rule, message, sizeof message));
    assert_non_null(strstr(message, "cannot load"));
    assert_int_equal(
        shell("cd %s/example && echo 'int x;' > no.c && cc -shared -o no.so no.c%s", folder, ""),
        0);
    snprintf(path, sizeof path, "%s/example/no.so", folder);
    assert_null(sel_rule_load(path, &rule, message, sizeof message));
    assert_non_null(strstr(message, "exports no symbol"));
    static const char *const FAULTS[][2] = {
        {"s/SEL_RULE_VERSION/99/", "another version"},
        {"s/fallback = 1/fallback = 1e-9/", "its default is out of range"},
        {"s/.parameters = parameters,//", "lacks its name"},
        {"s/.parameter_count = 1/.needs = 1u << 20/", "inputs that are unknown"}};
    for (size_t k = 0; k < sizeof FAULTS / sizeof *FAULTS; k++) {
        char build[1024];
        snprintf(build, sizeof build,
                 "cd %%s/example && sed '%s' closest.c > fault.c && "
                 "PKG_CONFIG_PATH=$(dirname $(find %%s -name infopair.pc)) && "
                 "export PKG_CONFIG_PATH && cc -fPIC $(pkg-config --cflags infopair) "
                 "-shared -o fault%zu.so fault.c -lm",
                 FAULTS[k][0], k);
        assert_int_equal(shell(build, folder, folder), 0);
        snprintf(path, sizeof path, "%s/example/fault%zu.so", folder, k);
        assert_null(sel_rule_load(path, &rule, message, sizeof message));
        if (strstr(message, FAULTS[k][1]) == NULL)
            fail_msg("%s", message);
    }
    assert_null(rule);
    sel_rule_unload(NULL);
}

int main(void)
{
    sel_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_of_ones_own_picks),
        cmocka_unit_test(the_worker_takes_it_with_its_parameters),
        cmocka_unit_test(what_is_no_rule_is_refused_with_a_sentence),
    };
    return cmocka_run_group_tests(tests, build_example, remove_example);
}
