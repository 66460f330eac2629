/* The command line as a user meets it: each case runs command_main in a child process and looks at
 * the exit code and at what was printed. */
#include "worker/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGUMENTS_MAX = 20 };

static char output[1 << 17]; /* stdout and stderr of the last child */

static void read_all(int from)
{
    size_t used = 0;
    for (ssize_t got; (got = read(from, output + used, sizeof output - 1 - used)) > 0;)
        used += (size_t)got;
    output[used] = '\0';
}

static void in_child(int out, int argc, char **argv)
{
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    close(out);
    int code = command_main(argc, argv);
    fflush(NULL);
    _exit(code);
}

/* Runs `infopair` with the words of `line`, split at blanks; returns the exit code, or -1 when a
 * signal ended the child. */
static int run(const char *line)
{
    char copy[1024], name[] = "infopair";
    char *argv[ARGUMENTS_MAX + 1] = {name};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    char *rest = copy;
    for (char *word; argc < ARGUMENTS_MAX && (word = strtok_r(rest, " ", &rest)) != NULL;)
        argv[argc++] = word;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        in_child(ends[1], argc, argv);
    }
    close(ends[1]);
    read_all(ends[0]);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *line, int code, const char *part)
{
    int got = run(line);
    if (got == code && strstr(output, part) != NULL)
        return;
    print_error("%s\n", output);
    fail_msg("infopair %s: exit code %d, expected %d and '%s'", line, got, code, part);
}

#define EXAMPLE "--config " TEST_SOURCE_DIRECTORY "/config/infopair.cfg"
#define SCHEMAS " --set schemas.directory=" TEST_SOURCE_DIRECTORY "/schemas"

static void test_help_and_version(void **state)
{
    (void)state;
    expect("--help", EXIT_DONE, "Usage: infopair COMMAND");
    expect("--version", EXIT_DONE, "infopair " INFOPAIR_VERSION "\n");
    expect("", EXIT_USAGE, "Usage: infopair COMMAND");
    for (const struct command *command = COMMANDS; command->name != NULL; command++) {
        char line[64], usage[64];
        snprintf(line, sizeof line, "%s --help", command->name);
        snprintf(usage, sizeof usage, "Usage: infopair %s", command->name);
        expect(line, EXIT_DONE, usage);
        assert_non_null(strstr(output, "\nExamples:\n"));
        assert_non_null(strstr(output, "--help"));
        snprintf(line, sizeof line, "%s --version", command->name);
        expect(line, EXIT_DONE, "infopair " INFOPAIR_VERSION "\n");
    }
}

static void test_wrong_usage(void **state)
{
    (void)state;
    expect("chekc", EXIT_USAGE, "no such command 'chekc'; the nearest is 'check'");
    expect("check --confg x", EXIT_USAGE, "unknown option '--confg'; the nearest is '--config'");
    expect("check -x", EXIT_USAGE, "unknown option '-x'");
    expect("check --set", EXIT_USAGE, "option '--set' needs a value");
    expect("check -s", EXIT_USAGE, "option '-s' needs a value");
    expect("check --verbose=3", EXIT_USAGE, "option '--verbose=3' takes no value");
    expect("check argument", EXIT_USAGE, "takes no argument 'argument'");
    expect("check --online --timeout=soon", EXIT_USAGE, "--timeout: expected a number above 0");
    expect("check -- --help", EXIT_USAGE, "takes no argument '--help'");
    expect("model phi64 " EXAMPLE, EXIT_USAGE, "model takes no argument 'phi64'");
    expect("model --set log.level=error", EXIT_USAGE, "kafka.brokers: has no default");
    expect("withdraw " EXAMPLE, EXIT_USAGE, "which requests? See --help.");
    expect("withdraw 4f " EXAMPLE, EXIT_USAGE, "'4f' is no request_id: 32 hex digits");
    expect("withdraw --policy-version v 4fb0000000000000000000000000000a " EXAMPLE, EXIT_USAGE,
           "either request ids or --feature-space and --policy-version");
    expect("withdraw --policy-version v --reason=\xff " EXAMPLE, EXIT_USAGE,
           "--reason: expected at most 1000 bytes of UTF-8");
    expect("send hystory " EXAMPLE, EXIT_USAGE,
           "'hystory' is none of completions, labels, history");
    expect("send history a.jsonl b.jsonl " EXAMPLE, EXIT_USAGE, "'b.jsonl' is too many");
    expect("send labels a.jsonl b.jsonl " EXAMPLE, EXIT_USAGE, "'b.jsonl' is too many");
    expect("send history --features left.npy " EXAMPLE, EXIT_USAGE, "the right is missing");
    expect("send history --rate 1 a.jsonl " EXAMPLE, EXIT_USAGE, "neither --prompts nor --rate");
    expect("send history /nonexistent.jsonl " EXAMPLE, EXIT_USAGE, "/nonexistent.jsonl: No such");
    expect("explain " EXAMPLE, EXIT_USAGE, "which request? See --help.");
    expect("explain 4F " EXAMPLE, EXIT_USAGE, "'4F' is no request_id: 32 hex digits");
    expect("replay --rate 1e-300 " EXAMPLE, EXIT_USAGE,
           "--rate: '1e-300' completions a second are not within 1e-05 to 1e+09");
    expect("replay --rate inf " EXAMPLE, EXIT_USAGE, "--rate: expected a number above 0");
    expect("reference --set pool.size=3", EXIT_USAGE, "unknown option '--set'");
}

/* Each is said before anything is run: this world would take minutes. */
#define LARGE "simulate --quiet --with dimension=64 --seeds 99 --labels 1000000 --rules uniform "

static void test_wrong_simulations_are_refused_before_they_run(void **state)
{
    (void)state;
    expect(LARGE "--vary pool=4,,8", EXIT_USAGE, "--vary: 'pool=4,,8' has an empty value");
    expect(LARGE "--vary pool=4,", EXIT_USAGE, "--vary: 'pool=4,' has an empty value");
    expect(LARGE "--vary pool=", EXIT_USAGE, "--vary: 'pool=' has an empty value");
    expect(LARGE "--vary pool", EXIT_USAGE, "--vary: 'pool' is not NAME=VALUE,...");
    expect(LARGE "--vary pool=4,x", EXIT_USAGE, "pool: 'x' is not a number");
    expect(LARGE "--vary pool=4,1", EXIT_USAGE, "pool: 1 completion has no pair");
    expect(LARGE "--html /nonexistent/a.html", EXIT_USAGE,
           "--html: '/nonexistent/a.html': No such file or directory");
    expect(LARGE "--html /tmp", EXIT_USAGE, "--html: '/tmp' is not a regular file");
    expect(LARGE "--html /dev/full", EXIT_USAGE, "--html: '/dev/full' is not a regular file");
    expect(LARGE "--record /dev/full", EXIT_USAGE, "--record: '/dev/full' is not a regular file");
    expect(LARGE "--record /tmp", EXIT_USAGE, "--record: '/tmp': Is a directory");
    const char *notes = "/tmp/infopair-cli-notes"; /* somebody's file, by mistake */
    FILE *file = fopen(notes, "we");
    assert_non_null(file);
    fputs("not a run\n", file);
    fclose(file);
    expect(LARGE "--record /tmp/infopair-cli-notes", EXIT_USAGE, "holds no runs");
    unlink(notes);
    /* A kind with its defaults comes before other fields, wherever it stands. */
    expect(LARGE "--with prompts=5 --with kind=tabular", EXIT_USAGE,
           "a tabular world has one prompt");
    expect(LARGE "--record a --html a", EXIT_USAGE, "--html: 'a' is the --record");
    expect(LARGE "--set features.blocks=64 --with dimension=8", EXIT_USAGE,
           "features.blocks: 8 features do not make 64 blocks");
    expect(LARGE "--set budget.total=9", EXIT_USAGE,
           "uniform: budget.total: 9 is less than the scene's 1000000 labels");
    expect(LARGE "--with kind=features --with features=/nonexistent.npy --with theta=/dev/null",
           EXIT_USAGE, "simulate: features: /nonexistent.npy: No such file");
}

static void test_a_simulation_says_what_stops_its_questions(void **state)
{
    (void)state;
    expect("simulate --quiet --seeds 1 --jobs 1 --labels 100 --rules uniform --set "
           "budget.per_day=30",
           EXIT_USAGE,
           "uniform, seed 1: 30 of 100 labels were asked, and none in 200 rounds: budget.per_day: "
           "its 30 labels leave a partition no room for a pair for now");
    expect("simulate tabular --quiet --seeds 1 --jobs 1 --labels 20 --rules uniform --with "
           "dimension=4 --with completions=4",
           EXIT_USAGE,
           "6 of 20 labels were asked, and none in 200 rounds: the open pools have no more pairs "
           "to ask");
}

static void test_wrong_configuration(void **state)
{
    (void)state;
    expect("check --config /nonexistent.cfg", EXIT_USAGE, "/nonexistent.cfg: cannot be read");
    expect("check " EXAMPLE " --set pool.siez=3", EXIT_USAGE, "nearest valid name is pool.size");
    expect("check " EXAMPLE " --log-level loud", EXIT_USAGE, "log.level: unknown name 'loud'");
    expect("check --set policy.beta=1 --set budget.per_second=1", EXIT_USAGE,
           "kafka.brokers: has no default");
    expect("check " EXAMPLE " --set kafka.properties.no.such=1", EXIT_USAGE,
           "No such configuration property: \"no.such\"");
    expect("check " EXAMPLE " --set kafka.properties.group.id=x", EXIT_USAGE,
           "group.id is set by kafka.group");
    expect("check " EXAMPLE " --set kafka.properties.isolation.level=read_uncommitted", EXIT_USAGE,
           "isolation.level is set by the worker");
    expect("check " EXAMPLE " --set schemas.directory=/nonexistent", EXIT_USAGE, "/nonexistent");
}

static void test_bad_properties_stop_the_start_with_their_place(void **state)
{
    (void)state;
    char path[] = "/tmp/infopair-cli-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    static const char TEXT[] = "kafka: {\n"
                               "    brokers = \"127.0.0.1:1\";\n"
                               "    properties = [\"client.rack=a\",\n"
                               "                  \"no.such=1\"];\n"
                               "};\n"
                               "policy: { beta = 1.0; };\n"
                               "budget: { per_second = 1.0; };\n"
                               "http: { address = \"\"; };\n";
    assert_int_equal(write(file, TEXT, sizeof TEXT - 1), sizeof TEXT - 1);
    close(file);
    static const char *const STARTS[] = {"check", "run --no-wait"};
    for (size_t k = 0; k < 2; k++) {
        char line[256], said[256];
        snprintf(line, sizeof line, "%s --config %s" SCHEMAS, STARTS[k], path);
        snprintf(said, sizeof said,
                 "%s:4: kafka.properties: no.such: No such configuration property", path);
        expect(line, EXIT_USAGE, said);
    }
    unlink(path);
    expect("run --no-wait " EXAMPLE SCHEMAS " --set kafka.properties.no.such=1", EXIT_USAGE,
           "--set: kafka.properties: no.such");
}

static void test_check_accepts_the_example(void **state)
{
    (void)state;
    expect("check " EXAMPLE SCHEMAS " -s kafka.properties.sasl.password=geheim", EXIT_DONE,
           "configuration is good");
    assert_null(strstr(output, "geheim"));
    assert_non_null(strstr(output, "sasl.password=********"));
    assert_non_null(strstr(output, "beta = 0.1; # file"));
    assert_non_null(strstr(output, "digest of the shared options: "));
    static const char NOTE[] = "# nothing is asked again (labels.attempts): pools close after";
    assert_non_null(strstr(output, NOTE));
    expect("check " EXAMPLE SCHEMAS " -s pool.age=2d", EXIT_DONE, "configuration is good");
    assert_null(strstr(output, NOTE));
}

static void test_check_says_what_a_rule_needs(void **state)
{
    (void)state;
    expect("check " EXAMPLE SCHEMAS " -s selection.rule=rmg -s selection.implicit_margin=2",
           EXIT_DONE, "# rmg needs of every completion: reference_logprob, policy_logprob");
    assert_non_null(strstr(output, "implicit_margin = 2; # --set"));
    expect("check " EXAMPLE SCHEMAS " -s selection.rule=rmg", EXIT_USAGE,
           "selection.implicit_margin: must be given, the rule rmg has no default for it");
    expect("check " EXAMPLE SCHEMAS " -s selection.rule=oracle_maxmin", EXIT_USAGE,
           "looks at true rewards, which only a simulation has");
}

static void test_environment_is_read(void **state)
{
    (void)state;
    setenv("INFOPAIR_POOL_SIZE", "17", 1);
    expect("check " EXAMPLE SCHEMAS, EXIT_DONE, "size = 17; # environment");
    setenv("INFOPAIR_POOL_SIEZ", "17", 1);
    expect("check " EXAMPLE SCHEMAS, EXIT_USAGE, "nearest valid name is INFOPAIR_POOL_SIZE");
    unsetenv("INFOPAIR_POOL_SIZE");
    unsetenv("INFOPAIR_POOL_SIEZ");
}

static void test_reference_page_is_current(void **state)
{
    (void)state;
    expect("reference --check " TEST_SOURCE_DIRECTORY "/config/reference.md", EXIT_DONE, "");
    expect("reference --check " TEST_SOURCE_DIRECTORY "/config/infopair.cfg", EXIT_FAILED,
           "is stale");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_wrong_simulations_are_refused_before_they_run),
        cmocka_unit_test(test_a_simulation_says_what_stops_its_questions),
        cmocka_unit_test(test_wrong_configuration),
        cmocka_unit_test(test_bad_properties_stop_the_start_with_their_place),
        cmocka_unit_test(test_check_accepts_the_example),
        cmocka_unit_test(test_check_says_what_a_rule_needs),
        cmocka_unit_test(test_environment_is_read),
        cmocka_unit_test(test_reference_page_is_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
