#include "worker/engine/groups.h"
#include "worker/options.h"
#include "worker/options_table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- support ---- */

struct scratch {
    char directory[64];
    char file[96];
};

static int make_scratch(void **state)
{
    struct scratch *scratch = calloc(1, sizeof *scratch);
    if (scratch == NULL)
        return -1;
    snprintf(scratch->directory, sizeof scratch->directory, "/tmp/infopair-options-XXXXXX");
    if (mkdtemp(scratch->directory) == NULL)
        return -1;
    snprintf(scratch->file, sizeof scratch->file, "%s/test.cfg", scratch->directory);
    *state = scratch;
    return 0;
}

static int drop_scratch(void **state)
{
    struct scratch *scratch = *state;
    char included[96];
    snprintf(included, sizeof included, "%s/more.cfg", scratch->directory);
    unlink(included);
    unlink(scratch->file);
    rmdir(scratch->directory);
    free(scratch);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* Loads and returns the options, or NULL with the message in `error`. */
static struct options *load(const struct options_input *input, struct error *error)
{
    struct options *options = options_new();
    assert_non_null(options);
    *error = (struct error){ERROR_NONE, ""};
    if (options_load(options, input, error))
        return options;
    assert_int_equal(error->class, ERROR_FATAL);
    options_free(options);
    return NULL;
}

static struct options *load_good(const struct options_input *input)
{
    struct error error;
    struct options *options = load(input, &error);
    if (options == NULL)
        fail_msg("%s", error.message);
    return options;
}

static struct options *load_set(const char *first, const char *second)
{
    const char *const sets[] = {first, second, NULL};
    return load_good(&(struct options_input){.no_default_file = true, .sets = sets});
}

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' does not contain '%s'", text, part);
}

static void expect_failure(const struct options_input *input, const char *part)
{
    struct error error;
    struct options *options = load(input, &error);
    if (options != NULL) {
        options_free(options);
        fail_msg("was accepted; expected '%s'", part);
    }
    assert_contains(error.message, part);
}

static void refuse_set(const char *set, const char *part)
{
    const char *const sets[] = {set, NULL};
    expect_failure(&(struct options_input){.no_default_file = true, .sets = sets}, part);
}

static void refuse_file(const struct scratch *scratch, const char *text, const char *part)
{
    write_file(scratch->file, text);
    expect_failure(&(struct options_input){.file = scratch->file}, part);
}

static char *printed(const struct options *options, bool all)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_true(options_print(options, out, all));
    assert_int_equal(fclose(out), 0);
    return text;
}

/* ---- the table ---- */

static void test_table_is_sound(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    if (!options_check_table(&error))
        fail_msg("%s", error.message);
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        assert_true(strlen(row->name) + sizeof "INFOPAIR_" <= OPTION_NAME_SIZE);
        assert_true(row->required + (row->fallback != NULL) + (row->compute != NULL) == 1);
        assert_true(row->compute == NULL || row->compute_text != NULL);
        assert_true(row->text != NULL || row->parameter);
    }
}

static void test_members_hold_the_defaults(void **state)
{
    (void)state;
    struct options *options = load_set(NULL, NULL);
    assert_string_equal(options->kafka_brokers, "");
    assert_string_equal(options->kafka_group, "infopair");
    assert_true(options->kafka_static);
    assert_true(options->kafka_instance[0] != '\0');
    assert_int_equal(options->kafka_transaction_timeout, 15000);
    assert_int_equal(options->kafka_assignment, ASSIGNMENT_RANGE);
    assert_string_equal(options->topics_dead_letters, "infopair.dead-letters");
    assert_int_equal(options->schemas_framing, FRAMING_CONFLUENT);
    assert_int_equal(options->commit_interval, 200);
    assert_int_equal(options->limits_record, 1 << 20);
    assert_int_equal(options->limits_attributes, 64);
    assert_int_equal(options->pool_size, 16);
    assert_int_equal(options->pool_wait, 300000);
    assert_int_equal(options->policy_window, 604800000);
    assert_true(options->features_scale == 0 && options->fit_lambda_max == 0);
    assert_true(options->control_share == 0.05);
    assert_int_equal(options->selection_weights, SEL_WEIGHT_PROBIT);
    assert_int_equal(options->certificate_interval, 600000);
    assert_int_equal(options->certificate_candidates, 10000);
    assert_int_equal(options->accounting_interval, 600000);
    assert_int_equal(options->accounting_memory, 64 << 20);
    assert_int_equal(options->memory_limit, 1 << 30);
    assert_int_equal(options->seed, 1);
    assert_int_equal(options->log_level, LOG_LEVEL_INFO);
    assert_int_equal(options->kafka_properties.count, 0);
    options_free(options);
}

/* ---- sources ---- */

static void test_later_sources_win(void **state)
{
    const struct scratch *scratch = *state;
    write_file(scratch->file, "pool: { size = 20; min = 3; max = 40; picks = 5; };\n");
    const char *const presets[] = {"pool.size=10", "pool.wait=1m", NULL};
    const char *const environment[] = {"PATH=/bin", "INFOPAIR_POOL_MIN=4", "INFOPAIR_POOL_MAX=41",
                                       NULL};
    const char *const sets[] = {"pool.max=42", NULL};
    struct options *options = load_good(&(struct options_input){
        .presets = presets, .file = scratch->file, .environment = environment, .sets = sets});
    assert_int_equal(options->pool_wait, 60000);
    assert_int_equal(options->pool_size, 20);
    assert_int_equal(options->pool_picks, 5);
    assert_int_equal(options->pool_min, 4);
    assert_int_equal(options->pool_max, 42);
    char *text = printed(options, false);
    assert_string_equal(text, "pool: {\n"
                              "    size = 20; # file\n"
                              "    min = 4; # environment\n"
                              "    max = 42; # --set\n"
                              "    wait = \"1m\"; # command\n"
                              "    picks = 5; # file\n"
                              "};\n");
    free(text);
    options_free(options);
}

static void test_file_accepts_every_type(void **state)
{
    const struct scratch *scratch = *state;
    write_file(scratch->file, "seed = 5000000000L;\n"
                              "kafka: { static = false; properties = [\"a.b=1\", \"c=x=y\"]; };\n"
                              "policy: { beta = 2; sampling = \"logged\"; };\n"
                              "features: { scale = \"auto\"; };\n"
                              "fit: { lambda = 0.5; };\n"
                              "limits: { record = 2097152; text = \"1KiB\"; };\n"
                              "commit: { interval = \"250ms\"; };\n");
    struct options *options = load_good(&(struct options_input){.file = scratch->file});
    assert_true(options->seed == 5000000000);
    assert_false(options->kafka_static);
    assert_int_equal(options->kafka_properties.count, 2);
    assert_string_equal(options_property(options, "c"), "x=y");
    assert_null(options_property(options, "a"));
    assert_true(options->policy_beta == 2 && options->fit_lambda == 0.5);
    assert_int_equal(options->policy_sampling, SAMPLING_LOGGED);
    assert_int_equal(options->limits_record, 2 << 20);
    assert_int_equal(options->limits_text, 1024);
    assert_int_equal(options->commit_interval, 250);
    options_free(options);
}

static void test_file_errors_name_file_line_and_nearest_name(void **state)
{
    const struct scratch *scratch = *state;
    char part[256];
    snprintf(part, sizeof part,
             "%s:2: pool.siez: no such option; the nearest valid name is pool.size", scratch->file);
    refuse_file(scratch, "pool: {\n siez = 3;\n};\n", part);
    snprintf(part, sizeof part,
             "%s:3: pol: no such group of options; the nearest valid name is pool", scratch->file);
    refuse_file(scratch, "\n\npol: { size = 3; };\n", part);
    refuse_file(scratch, "sede = 3;\n", ":1: sede: no such option; the nearest valid name is seed");
    refuse_file(scratch, "\nseed = 5000000000;\n",
                ":2: seed: a whole number above 2147483647 needs");
    refuse_file(scratch, "memory: { limit = 0x100000000; };\n",
                ":1: memory.limit: a whole number above");
    refuse_file(scratch, "pool = 3;\n", ":1: pool: expected a group of options");
    refuse_file(scratch, "pool: { size = \"3\"; };\n", ":1: pool.size: expected a whole number");
    refuse_file(scratch, "pool: { size = 3.5; };\n", ":1: pool.size: expected a whole number");
    refuse_file(scratch, "pool: { wait = 300; };\n", ":1: pool.wait: expected a duration");
    refuse_file(scratch, "kafka: { static = 1; };\n", ":1: kafka.static: expected true or false");
    refuse_file(scratch, "kafka: { brokers: { a = 1; }; };\n",
                ":1: kafka.brokers: expected a string");
    refuse_file(scratch, "kafka: { properties = \"a=b\"; };\n", "expected a list of strings");
    refuse_file(scratch, "kafka: { properties = [1, 2]; };\n", "expected a list of strings");
    refuse_file(scratch, "policy: { sampling = \"refernce\"; };\n",
                "nearest valid name is 'reference'");
    refuse_file(scratch, "pool: { size = 1; };\n", ":1: pool.size: must be at least 2, not 1");
    refuse_file(scratch, "pool: {\n size = ;\n};\n", ":2: syntax error");
    expect_failure(&(struct options_input){.file = "/nonexistent/x.cfg"},
                   "/nonexistent/x.cfg: cannot be read");
}

static void test_includes_are_found_beside_the_file(void **state)
{
    const struct scratch *scratch = *state;
    char included[96], part[256];
    snprintf(included, sizeof included, "%s/more.cfg", scratch->directory);
    write_file(included, "\npool: { size = 5; };\n");
    write_file(scratch->file, "@include \"more.cfg\"\n");
    struct options *options = load_good(&(struct options_input){.file = scratch->file});
    assert_int_equal(options->pool_size, 5);
    options_free(options);
    write_file(included, "\n\npool: { wiat = \"5m\"; };\n");
    snprintf(part, sizeof part, "%s:3: pool.wiat", included);
    expect_failure(&(struct options_input){.file = scratch->file}, part);
}

static void test_environment_refuses_unknown_names(void **state)
{
    (void)state;
    const char *const unknown[] = {"INFOPAIR_POOL_SIEZ=3", NULL};
    expect_failure(&(struct options_input){.no_default_file = true, .environment = unknown},
                   "environment: INFOPAIR_POOL_SIEZ: no such option; the nearest valid name is "
                   "INFOPAIR_POOL_SIZE");
    const char *const wrong[] = {"INFOPAIR_POOL_SIZE=", NULL};
    expect_failure(&(struct options_input){.no_default_file = true, .environment = wrong},
                   "environment: INFOPAIR_POOL_SIZE: expected a whole number");
    const char *const secret[] = {"INFOPAIR_SASL_PASSWORD=geheim", NULL};
    struct error error;
    assert_null(
        load(&(struct options_input){.no_default_file = true, .environment = secret}, &error));
    assert_null(strstr(error.message, "geheim"));
}

static void test_lists_from_text(void **state)
{
    (void)state;
    struct options *options = load_set("kafka.properties=a=1,b=2", NULL);
    assert_int_equal(options->kafka_properties.count, 2);
    assert_string_equal(options->kafka_properties.items[1], "b=2");
    options_free(options);
    options = load_set("kafka.properties=[ \"a=1,2\" , \"b=\\\"q\\\\\" ]", NULL);
    assert_int_equal(options->kafka_properties.count, 2);
    assert_string_equal(options->kafka_properties.items[0], "a=1,2");
    assert_string_equal(options->kafka_properties.items[1], "b=\"q\\");
    options_free(options);
    options = load_set("kafka.properties=[]", NULL);
    assert_int_equal(options->kafka_properties.count, 0);
    options_free(options);
    refuse_set("kafka.properties=[\"a=1\"", "expected a list of strings");
    refuse_set("kafka.properties=[\"a=1\" \"b=2\"]", "expected a list of strings");
    refuse_set("kafka.properties=[\"a=1\"]x", "expected a list of strings");
    refuse_set("kafka.properties=[\"a=1", "expected a list of strings");
    refuse_set("kafka.properties=a=1,b", "item 2 of the list is not of the form name=value");
}

static void test_properties_may_be_set_one_by_one(void **state)
{
    (void)state;
    const char *const sets[] = {"kafka.properties=a.b=1,c=2", "kafka.properties.a.b=3",
                                "kafka.properties.sasl.jaas.config=x=y", NULL};
    struct options *options =
        load_good(&(struct options_input){.no_default_file = true, .sets = sets});
    assert_int_equal(options->kafka_properties.count, 3);
    assert_string_equal(options_property(options, "a.b"), "3");
    assert_string_equal(options_property(options, "c"), "2");
    assert_string_equal(options_property(options, "sasl.jaas.config"), "x=y");
    options_free(options);
}

/* ---- values ---- */

static void test_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t milliseconds;
    } durations[] = {{"1s", 1000},      {"90s", 90000},   {"5m", 300000}, {"1h", 3600000},
                     {"7d", 604800000}, {"1500ms", 1500}, {"2 m", 120000}};
    for (size_t k = 0; k < sizeof durations / sizeof *durations; k++) {
        char set[64];
        snprintf(set, sizeof set, "labels.deadline=%s", durations[k].text);
        struct options *options = load_set(set, NULL);
        assert_int_equal(options->labels_deadline, durations[k].milliseconds);
        options_free(options);
    }
    struct options *options = load_set("memory.limit=64MiB", "limits.record=300000");
    assert_int_equal(options->memory_limit, 64 << 20);
    assert_int_equal(options->limits_record, 300000);
    options_free(options);
}

static void test_wrong_values_are_refused(void **state)
{
    (void)state;
    refuse_set("labels.deadline=5", "expected a duration");
    refuse_set("labels.deadline=5 minutes", "expected a duration");
    refuse_set("labels.deadline=m", "expected a duration");
    refuse_set("labels.deadline=-5m", "must be at least 1s");
    refuse_set("labels.deadline=99999999999999d", "expected a duration");
    refuse_set("labels.deadline=366d", "must be at most 365d");
    refuse_set("limits.record=1MB", "expected a size");
    refuse_set("limits.record=9999999999999TiB", "expected a size");
    refuse_set("memory.limit=1KiB", "must be at least 32MiB");
    refuse_set("pool.size=3x", "expected a whole number");
    refuse_set("pool.size=", "expected a whole number");
    refuse_set("pool.size=+3", "expected a whole number");
    refuse_set("pool.size=99999999999999999999", "expected a whole number");
    refuse_set("pool.picks=-1", "must be at least 0");
    refuse_set("policy.beta=0", "must be above 0");
    refuse_set("policy.beta=nan", "expected a number");
    refuse_set("policy.beta=inf", "expected a number");
    refuse_set("policy.beta=0x1p3", "expected a number");
    refuse_set("policy.beta=1e999", "expected a number");
    refuse_set("policy.beta=auto", "expected a number");
    refuse_set("fit.lambda=0", "must be at least 1e-09");
    refuse_set("fit.lambda=1e-310", "must be at least 1e-09");
    refuse_set("fit.lambda_max=0.009", "fit.lambda_max: must be at least 0.01, not 0.009");
    refuse_set("fit.lambda=none", "expected a number or \"auto\"");
    refuse_set("certificate.candidates=99", "must be at least 100");
    refuse_set("certificate.candidates=100001", "must be at most 100000");
    refuse_set("certificate.interval=soon", "expected a duration");
    refuse_set("accounting.rule=dop", "the nearest valid name is 'dopt'");
    refuse_set("accounting.rule=uniform", "is not a rule of scores");
    refuse_set("accounting.rule=rmg", "is not a rule of scores");
    refuse_set("control.share=1.01", "must be at most 1");
    refuse_set("kafka.static=yes", "expected true or false");
    refuse_set("kafka.instance=", "must not be empty");
    refuse_set("log.level=loud", "unknown name 'loud'");
    refuse_set("pool.size", "expected NAME=VALUE");
    refuse_set("pol.size=3",
               "--set: pol.size: no such option; the nearest valid name is pool.size");
}

static void test_options_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    refuse_set("pool.min=17", "pool.min: 17 is above pool.size = 16");
    refuse_set("pool.size=65", "pool.size: 65 is above pool.max = 64");
    refuse_set("pool.wait=2h", "pool.wait: \"2h\" is above pool.age = \"1h\"");
    refuse_set("features.dimension=5000",
               "features.dimension: 5000 is above limits.dimension = 4096");
    refuse_set("limits.text=2MiB", "limits.text: \"2MiB\" is above limits.record = \"1MiB\"");
    refuse_set("topics.labels=infopair.pairs",
               "topics.pairs: 'infopair.pairs' is already topics.labels");
    refuse_set("topics.labels=a b", "not a topic name");
    refuse_set("topics.labels=..", "not a topic name");
    refuse_set("commit.interval=15s",
               "kafka.transaction_timeout: \"15s\" is not above commit.interval = \"15s\"");
    refuse_set("kafka.properties.message.timeout.ms=15001",
               "message.timeout.ms = 15001 must lie between 1 and kafka.transaction_timeout");
    refuse_set("schemas.ids=x=completion.avsc", "schemas.ids");
    refuse_set("http.address=8080", "http.address: expected HOST:PORT");
    refuse_set("selection.rule=polcy_trace", "the nearest valid name is 'policy_trace'");
    const char *const lambdas[] = {"fit.lambda=3", "fit.lambda_max=2", NULL};
    expect_failure(&(struct options_input){.no_default_file = true, .sets = lambdas},
                   "fit.lambda: 3 is above fit.lambda_max = 2");
}

static void test_groups_of_features_are_checked(void **state)
{
    (void)state;
    refuse_set("features.groups=reward=0-15,style=15-20",
               "features.groups: feature 15 is in 'reward' and in 'style'");
    refuse_set("features.groups=reward=a", "features.groups: 'reward=a': expected ranges FROM-TO");
    refuse_set("features.groups=reward=0-4096",
               "features.groups: 'reward' names feature 4096, there are 4096, from 0 on");
    refuse_set("features.groups=reward", "features.groups");
    refuse_set("features.blocks=65", "features.blocks: must be at most 64, not 65");
    refuse_set("features.blocks=0", "features.blocks: must be at least 1, not 0");
    const char *const both[] = {"features.blocks=2", "features.groups=a=0", NULL};
    expect_failure(&(struct options_input){.no_default_file = true, .sets = both},
                   "features.blocks: 2 blocks beside features.groups; give one of them");
    const char *const small[] = {"features.dimension=8", "features.groups=a=0-8", NULL};
    expect_failure(&(struct options_input){.no_default_file = true, .sets = small},
                   "features.groups: 'a' names feature 8, there are 8, from 0 on");
    const char *const few[] = {"features.dimension=3", "features.blocks=4", NULL};
    expect_failure(&(struct options_input){.no_default_file = true, .sets = few},
                   "features.blocks: 3 features do not make 4 blocks");
    struct options *options = load_set("features.groups=reward=0-15,style=16-31+40", NULL);
    uint8_t group[42];
    assert_int_equal(feature_groups_of(options->groups, 42, group), 3);
    assert_int_equal(group[40], 1);
    assert_int_equal(group[41], 2);
    options_free(options);
}

static void test_versions_and_gammas_are_checked(void **state)
{
    (void)state;
    refuse_set("labels.versions=drop", "labels.versions: unknown name 'drop'");
    refuse_set("labels.gamma=1.1", "labels.gamma: must be at most 1, not 1.1");
    refuse_set("moments.gamma=-0.1", "moments.gamma: must be at least 0, not -0.1");
    refuse_set("policy.pools_min=-1", "policy.pools_min: must be at least 0, not -1");
}

static void test_a_rule_goes_by_its_own_name(void **state)
{
    (void)state;
    struct options *options = load_set("selection.rule=random", NULL);
    assert_string_equal(options->selection_rule, "uniform");
    options_free(options);
}

static void test_required_options(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct options *options = load_set("policy.beta=0.1", NULL);
    assert_true(options_require(options, &error, "policy.beta", "pool.size", NULL));
    assert_false(options_require(options, &error, "policy.beta", "kafka.brokers", NULL));
    assert_contains(error.message, "kafka.brokers: has no default");
    assert_contains(error.message, "INFOPAIR_KAFKA_BROKERS");
    options_free(options);
}

/* ---- printing ---- */

static void test_secrets_are_masked(void **state)
{
    (void)state;
    static const char *const names[] = {
        "sasl.password", "ssl.key.password", "sasl.jaas.config", "SASL.Password",
        "ssl.key.pem",   "my.secret",        "some.token.value", "sasl.oauthbearer.config"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char set[128], expected[64];
        snprintf(set, sizeof set, "kafka.properties.%s=geheim", names[k]);
        struct options *options = load_set(set, "kafka.properties.client.rack=visible");
        char *text = printed(options, true);
        snprintf(expected, sizeof expected, "\"%s=********\"", names[k]);
        assert_contains(text, expected);
        assert_contains(text, "\"client.rack=visible\"");
        assert_null(strstr(text, "geheim"));
        free(text);
        char value[256];
        assert_true(options_text(options, "kafka.properties", value, sizeof value));
        assert_null(strstr(value, "geheim"));
        options_free(options);
    }
}

static void test_what_is_printed_loads_again(void **state)
{
    const struct scratch *scratch = *state;
    const char *const sets[] = {"policy.beta=0.1",
                                "budget.per_second=0.3333333333333333",
                                "kafka.brokers=a:1,b:2",
                                "features.space=a\"b\\c\td",
                                "seed=9000000000000000",
                                "limits.text=1000",
                                "labels.late=0ms",
                                "schemas.ids=1=a.avsc,2=b.avsc",
                                NULL};
    struct options *options =
        load_good(&(struct options_input){.no_default_file = true, .sets = sets});
    char *first = printed(options, true);
    write_file(scratch->file, first);
    struct options *again = load_good(&(struct options_input){.file = scratch->file});
    assert_string_equal(again->features_space, "a\"b\\c\td");
    assert_true(again->budget_per_second == 0.3333333333333333);
    assert_int_equal(again->schemas_ids.count, 2);
    char digest[OPTIONS_DIGEST_SIZE], digest_again[OPTIONS_DIGEST_SIZE];
    options_digest(options, digest);
    options_digest(again, digest_again);
    assert_string_equal(digest, digest_again);
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        char left[256], right[256];
        assert_true(options_text(options, row->name, left, sizeof left));
        assert_true(options_text(again, row->name, right, sizeof right));
        assert_string_equal(left, right);
    }
    free(first);
    options_free(options);
    options_free(again);
}

static void test_digest_covers_shared_options_only(void **state)
{
    (void)state;
    static const struct {
        const char *set;
        bool differs;
    } cases[] = {{"pool.size=15", true},
                 {"policy.beta=0.2", true},
                 {"control.share=0.5", true},
                 {"seed=2", true},
                 {"features.space=x", true},
                 {"kafka.instance=other", false},
                 {"log.level=debug", false},
                 {"kafka.properties.a=b", false},
                 {"memory.limit=2GiB", false},
                 {"certificate.interval=0s", false},
                 {"certificate.candidates=500", false},
                 {"accounting.interval=0s", false},
                 {"accounting.memory=0", false},
                 {"pool.size=16", false},
                 {"pool.wait=300s", false}};
    struct options *options = load_set(NULL, NULL);
    char base[OPTIONS_DIGEST_SIZE], digest[OPTIONS_DIGEST_SIZE];
    options_digest(options, base);
    options_free(options);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        options = load_set(cases[k].set, NULL);
        options_digest(options, digest);
        if ((strcmp(base, digest) != 0) != cases[k].differs)
            fail_msg("%s", cases[k].set);
        options_free(options);
    }
}

/* A foreign worker's options differ from ours by `sets`; the names that we then give. */
static const char *differing(const char *first, const char *second)
{
    static char names[256];
    char foreign[OPTIONS_DIGEST_SIZE];
    struct options *theirs = load_set(first, second);
    options_digest(theirs, foreign);
    options_free(theirs);
    struct options *ours = load_set(NULL, NULL);
    bool differs = options_digest_differs(ours, span_of(foreign), names, sizeof names);
    assert_true(differs == (names[0] != '\0'));
    options_free(ours);
    return names;
}

static void test_a_foreign_digest_names_the_options_that_differ(void **state)
{
    (void)state;
    assert_string_equal(differing(NULL, NULL), "");
    assert_string_equal(differing("log.level=debug", "kafka.instance=other"), "");
    assert_string_equal(differing("pool.size=17", NULL), "pool.size");
    assert_string_equal(differing("pool.size=17", "policy.beta=0.2"), "pool.size, policy.beta");
    assert_string_equal(differing("features.dimension=3", "seed=2"), "features.dimension, seed");
}

static void test_every_shared_option_is_named(void **state)
{
    (void)state;
    static const char *const SETS[] = {"features.dimension=3",
                                       "features.space=x",
                                       "features.scale=2",
                                       "features.scale_pools=5",
                                       "pool.size=17",
                                       "pool.min=3",
                                       "pool.max=65",
                                       "pool.wait=4m",
                                       "pool.age=2h",
                                       "pool.picks=1",
                                       "pool.near=0.1",
                                       "pool.drop_near=true",
                                       "policy.beta=0.2",
                                       "policy.sampling=current",
                                       "policy.window=6d",
                                       "moments.interval=9s",
                                       "labels.window=31d",
                                       "labels.max=99999",
                                       "labels.deadline=2d",
                                       "labels.late=6d",
                                       "labels.lapse=0",
                                       "labels.probes=0.1",
                                       "fit.every=49",
                                       "fit.lambda=0.1",
                                       "fit.lambda_max=3",
                                       "selection.rule=uniform",
                                       "selection.when=pool",
                                       "selection.weights=plug",
                                       "control.share=0.06",
                                       "budget.per_second=3.1",
                                       "budget.burst=49",
                                       "budget.in_flight=499",
                                       "seed=2"};
    size_t at = 0;
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        if (!row->shared || row->mark != NULL)
            continue;
        assert_true(at < sizeof SETS / sizeof *SETS);
        const char *set = SETS[at++];
        assert_memory_equal(set, row->name, strlen(row->name));
        assert_string_equal(differing(set, NULL), row->name);
    }
    assert_int_equal(at, sizeof SETS / sizeof *SETS);
}

static void test_options_of_one_mark_are_named_by_it(void **state)
{
    (void)state;
    static const char *const SETS[] = {
        "selection.draw=softmax",   "selection.sharpness=2",      "selection.epsilon=0.1",
        "selection.prompts=spread", "selection.prompt_share=0.5", "selection.shortlist=32",
        "selection.domain_quota=3", "selection.per_cost=false",   "selection.price_share=0.5",
        "selection.price_rate=0.2", "selection.candidates=1000",  "selection.batch=2",
        "selection.list=3"};
    for (size_t k = 0; k < sizeof SETS / sizeof *SETS; k++)
        assert_string_equal(differing(SETS[k], NULL), "selection.*");
    assert_string_equal(differing("selection.epsilon=0.1", "seed=2"), "selection.*, seed");
    assert_string_equal(differing("features.blocks=2", NULL), "features.groups");
    assert_string_equal(differing("features.groups=a=0", NULL), "features.groups");
    assert_string_equal(differing("moments.gamma=0.5", NULL), "labels.versions and the gammas");
    assert_string_equal(differing("labels.versions=reset", NULL), "labels.versions and the gammas");
    assert_string_equal(differing("labels.gamma=0.4", NULL), "labels.versions and the gammas");
    assert_string_equal(differing("policy.pools_min=9", NULL), "");
    assert_string_equal(differing("selection.plugin=", NULL), "");
    assert_string_equal(differing("selection.prompt_share=1", NULL), "");
}

/* ---- the rule and its parameters ---- */

static void test_a_rule_takes_its_parameters(void **state)
{
    (void)state;
    struct options *options = load_set("selection.rule=quantile", "selection.quantile_low=0.25");
    assert_string_equal(options->selection_rule, "deltaquantile");
    assert_string_equal(options->rule->name, "deltaquantile");
    assert_float_equal(options->rule_parameters[0], .25, 0);
    assert_float_equal(options->rule_parameters[1], 1, 0);
    assert_float_equal(options->selection_quantile_high, 1, 0); /* the rule's default */
    assert_true(isnan(options->selection_gate));
    options_free(options);
    /* Who gives the default agrees with who does not. */
    struct options *given = load_set("selection.rule=infomax", "selection.confidence=1");
    struct options *absent = load_set("selection.rule=infomax", NULL);
    char first[OPTIONS_DIGEST_SIZE], second[OPTIONS_DIGEST_SIZE];
    options_digest(given, first);
    options_digest(absent, second);
    assert_string_equal(first, second);
    options_free(given);
    options_free(absent);
}

static void test_what_does_not_go_with_a_rule_is_refused(void **state)
{
    (void)state;
    static const char *const CASES[][3] = {
        {"selection.rule=gate", "seed=1",
         "selection.gate: must be given, the rule gate has no default for it"},
        {"selection.rule=gate", "selection.gate=-1", "selection.gate: must be at least 0, not -1"},
        {"selection.rule=trace_fw", "selection.iterations=1.5",
         "selection.iterations: 1.5 is not a whole number from 1 to"},
        {"selection.gate=1", "seed=1",
         "selection.gate: the rule policy_trace has no such parameter; its parameters: none"},
        {"selection.rule=infomax", "selection.buffer=0",
         "selection.buffer: the rule infomax has no such parameter; its parameters: confidence"},
        {"selection.rule=kcenter", "selection.when=pool",
         "selection.when: \"pool\" does not go with the rule kcenter"},
        {"selection.rule=dts", "selection.when=price",
         "selection.when: \"price\" does not go with the rule dts"},
        {"selection.rule=kcenter", "selection.draw=power", "selection.draw: \"power\""},
        {"selection.rule=min_margin", "selection.draw=power",
         "selection.draw: \"power\" does not go with the rule min_margin, whose scores may be "
         "below"},
        {"selection.rule=list_fw", "selection.candidates=5",
         "selection.candidates: 5 does not go with the rule list_fw, whose lists have more pairs"},
        {"selection.rule=uniform", "selection.draw=softmax", "selection.draw: \"softmax\""},
        {"selection.batch=51", "seed=1", "selection.batch: 51 slots are never open at once"},
        {"selection.parameters=a=1", "seed=1", "the rule policy_trace has no 'a'"},
        {"selection.rule=policy_trase", "seed=1", "the nearest valid name is 'policy_trace'"},
        {"selection.plugin=/nonexistent.so", "seed=1", "selection.plugin: cannot load"}};
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        const char *const sets[] = {CASES[k][0], CASES[k][1], NULL};
        expect_failure(&(struct options_input){.no_default_file = true, .sets = sets}, CASES[k][2]);
    }
}

static void test_a_pair_competes_again_only_where_pairs_are_scored_in_open_pools(void **state)
{
    (void)state;
    static const char *const CASES[][2] = {
        {"selection.when=pool",
         "labels.replicate: \"best\" is only possible with selection.when = slots, not"},
        {"selection.rule=kcenter",
         "labels.replicate: \"best\" is not possible where the rule chooses"}};
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        const char *const sets[] = {"labels.replicas=2", "labels.replicate=best", CASES[k][0],
                                    NULL};
        expect_failure(&(struct options_input){.no_default_file = true, .sets = sets}, CASES[k][1]);
        options_free(load_set("labels.replicate=best", CASES[k][0])); /* one answer is no matter */
    }
    assert_string_equal(differing("labels.skips=again", NULL), "labels.attempts...skips");
}

static void test_a_rule_of_simulations_does_not_run(void **state)
{
    (void)state;
    struct options *options = load_set("selection.rule=oracle_maxmin", "policy.beta=1");
    struct error error;
    assert_false(options_require_worker(options, &error));
    assert_non_null(strstr(error.message, "oracle_maxmin looks at true rewards"));
    options_free(options);
}

static void test_names_that_do_not_fit_are_cut(void **state)
{
    (void)state;
    static const char *const SETS[] = {
        "pool.size=17", "pool.max=65", "pool.picks=1", "labels.max=200", "budget.burst=51",
        "seed=2",       NULL};
    char foreign[OPTIONS_DIGEST_SIZE], names[64];
    struct options *theirs =
        load_good(&(struct options_input){.no_default_file = true, .sets = SETS});
    options_digest(theirs, foreign);
    options_free(theirs);
    struct options *ours = load_set(NULL, NULL);
    assert_true(options_digest_differs(ours, span_of(foreign), names, sizeof names));
    assert_string_equal(names, "pool.size, pool.max, pool.picks, labels.max, budget.burst, ...");
    options_free(ours);
}

static void test_a_digest_of_another_version_is_told_as_such(void **state)
{
    (void)state;
    static const char VERSION[] = "the list of options (another version of infopair)";
    struct options *options = load_set(NULL, NULL);
    char own[OPTIONS_DIGEST_SIZE], foreign[OPTIONS_DIGEST_SIZE], names[64];
    options_digest(options, own);
    size_t size = strlen(own);
    assert_int_equal(own[OPTIONS_DIGEST_HASH], ':');
    assert_false(options_digest_differs(options, (struct span){own, size}, names, sizeof names));
    snprintf(foreign, sizeof foreign, "%s", own);
    foreign[0] = own[0] == '0' ? '1' : '0'; /* what another value makes of it */
    const size_t lengths[] = {0,        1,       OPTIONS_DIGEST_HASH, OPTIONS_DIGEST_HASH + 1,
                              size - 3, size - 1};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        assert_true(options_digest_differs(options, (struct span){foreign, lengths[k]}, names,
                                           sizeof names));
        assert_string_equal(names, VERSION);
    }
    /* As many options, but not the same ones. */
    foreign[OPTIONS_DIGEST_HASH + 1] ^= 1;
    assert_true(options_digest_differs(options, span_of(foreign), names, sizeof names));
    assert_string_equal(names, VERSION);
    options_free(options);
}

static void test_reference_page_names_every_option(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_true(options_reference(out));
    fclose(out);
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        char cell[80];
        snprintf(cell, sizeof cell, "\n| `%s` | ", row->name);
        assert_contains(text, cell);
    }
    assert_contains(text, "| `policy.beta` | number | above 0 | **required** | yes |");
    assert_contains(text, "`policy_trace`");
    free(text);
}

static void test_example_configuration_loads(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct options *options =
        load_good(&(struct options_input){.file = TEST_SOURCE_DIRECTORY "/config/infopair.cfg"});
    assert_true(options_require_worker(options, &error));
    options_free(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_members_hold_the_defaults),
        cmocka_unit_test_setup_teardown(test_later_sources_win, make_scratch, drop_scratch),
        cmocka_unit_test_setup_teardown(test_file_accepts_every_type, make_scratch, drop_scratch),
        cmocka_unit_test_setup_teardown(test_file_errors_name_file_line_and_nearest_name,
                                        make_scratch, drop_scratch),
        cmocka_unit_test_setup_teardown(test_includes_are_found_beside_the_file, make_scratch,
                                        drop_scratch),
        cmocka_unit_test(test_environment_refuses_unknown_names),
        cmocka_unit_test(test_lists_from_text),
        cmocka_unit_test(test_properties_may_be_set_one_by_one),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_wrong_values_are_refused),
        cmocka_unit_test(test_options_that_contradict_each_other_are_refused),
        cmocka_unit_test(test_groups_of_features_are_checked),
        cmocka_unit_test(test_versions_and_gammas_are_checked),
        cmocka_unit_test(test_a_rule_goes_by_its_own_name),
        cmocka_unit_test(test_required_options),
        cmocka_unit_test(test_secrets_are_masked),
        cmocka_unit_test_setup_teardown(test_what_is_printed_loads_again, make_scratch,
                                        drop_scratch),
        cmocka_unit_test(test_digest_covers_shared_options_only),
        cmocka_unit_test(test_a_foreign_digest_names_the_options_that_differ),
        cmocka_unit_test(test_every_shared_option_is_named),
        cmocka_unit_test(test_options_of_one_mark_are_named_by_it),
        cmocka_unit_test(test_a_rule_takes_its_parameters),
        cmocka_unit_test(test_what_does_not_go_with_a_rule_is_refused),
        cmocka_unit_test(test_a_pair_competes_again_only_where_pairs_are_scored_in_open_pools),
        cmocka_unit_test(test_a_rule_of_simulations_does_not_run),
        cmocka_unit_test(test_names_that_do_not_fit_are_cut),
        cmocka_unit_test(test_a_digest_of_another_version_is_told_as_such),
        cmocka_unit_test(test_reference_page_names_every_option),
        cmocka_unit_test(test_example_configuration_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
