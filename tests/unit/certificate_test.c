/* The certificate of the pairs asked so far: what is taken of the engine, solved and told. */
#include "engine_fixture.h"

#include <jansson.h>

#include "tests/support/expect.h"
#include "worker/certificate.h"
#include "worker/certify.h"
#include "worker/engine/certificate.h"
#include "worker/log.h"

enum { PAIRS = PROMPTS * POOL * (POOL - 1) / 2, MIB = 1 << 20 };

static const struct certificate_limits WHOLE = {.candidates = 10000, .bytes = 64 * MIB};
static const atomic_bool NEVER;

static void take(const struct shell *shell, const struct certificate_limits *limits,
                 struct certificate_snapshot *snapshot)
{
    struct error error;
    check(engine_certificate(shell->engine, limits, snapshot, &error), &error);
}

static struct sel_certificate solve(const struct certificate_snapshot *snapshot)
{
    struct error error;
    struct sel_certificate certificate;
    check(certify(snapshot, &NEVER, &certificate, &error), &error);
    return certificate;
}

/* The certificate of a run under these options. */
static struct sel_certificate certificate_of(const struct engine_options *options, int rounds,
                                             const struct certificate_limits *limits)
{
    struct shell shell = start_run(options, rounds);
    struct certificate_snapshot snapshot;
    take(&shell, limits, &snapshot);
    struct sel_certificate certificate = solve(&snapshot);
    certificate_snapshot_free(&snapshot);
    finish(&shell);
    return certificate;
}

static void expect_reason(const struct shell *shell, const struct certificate_limits *limits,
                          const char *part)
{
    struct error error = {ERROR_NONE, ""};
    struct certificate_snapshot snapshot;
    assert_false(engine_certificate(shell->engine, limits, &snapshot, &error));
    assert_int_equal(error.class, ERROR_DATA);
    expect_says(error.message, part);
}

/* ---- the list ---- */

static void its_objective_is_the_policy_trace(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.selection.weighting = SEL_WEIGHT_PLUG;
    struct shell shell = start_run(&options, 20);
    const struct engine_stats *stats = engine_stats(shell.engine);
    struct certificate_snapshot snapshot;
    take(&shell, &WHOLE, &snapshot);
    assert_true(stats->fit_id > 0 && stats->requests_open > 0);
    assert_int_equal(snapshot.labels, stats->labels_counted + stats->requests_open);
    assert_int_equal(snapshot.asked, snapshot.labels);
    assert_int_equal(snapshot.fit_id, stats->fit_id);
    assert_string_equal(snapshot.space, "space");
    double objective = solve(&snapshot).objective;
    if (!(fabs(objective / stats->policy_trace - 1) < 1e-6))
        fail_msg("%.12g, the policy trace is %.12g", objective, stats->policy_trace);
    certificate_snapshot_free(&snapshot);
    finish(&shell);
}

static void every_pair_stands_in_the_list_once(void **state)
{
    (void)state;
    const struct engine_options options = options_of();
    struct shell shell = start_run(&options, 20);
    struct certificate_snapshot snapshot;
    take(&shell, &WHOLE, &snapshot);
    assert_int_equal(snapshot.asked + snapshot.open, PAIRS);
    assert_in_range(snapshot.asked, 100, PAIRS - 100);
    certificate_snapshot_free(&snapshot);
    finish(&shell);
}

static void a_short_list_leaves_the_bound_true(void **state)
{
    (void)state;
    const struct engine_options options = options_of();
    const struct certificate_limits few = {.candidates = 20, .bytes = WHOLE.bytes};
    struct sel_certificate all = certificate_of(&options, 20, &WHOLE);
    struct sel_certificate one = certificate_of(&options, 20, &few);
    assert_true(fabs(one.objective / all.objective - 1) < 1e-12);
    assert_true(all.optimum - all.bound <= CERTIFY_TOLERANCE * all.optimum);
    assert_true(one.bound <= all.optimum && one.optimum >= all.bound);
    assert_true(one.optimum - one.bound > CERTIFY_TOLERANCE * one.optimum);
}

static void more_asked_pairs_than_fit_are_sampled(void **state)
{
    (void)state;
    const struct engine_options options = options_of();
    struct shell shell = start_run(&options, 40);
    struct certificate_limits small = WHOLE;
    while (certificate_rows(D, small.bytes) > 250)
        small.bytes -= small.bytes / 1000;
    struct certificate_snapshot all, sample, again;
    take(&shell, &WHOLE, &all);
    take(&shell, &small, &sample);
    take(&shell, &small, &again);
    assert_true(all.asked > 250 && all.each == 1 && all.pool_count == PROMPTS);
    assert_int_equal(sample.asked, 125);
    assert_int_equal(sample.labels, all.labels);
    assert_true(fabs(sample.each * 125 - (double)sample.labels) < 1e-6);
    /* The same state gives the same sample. */
    assert_memory_equal(sample.x, again.x, 125 * D * sizeof *sample.x);
    /* Its pools stand for no more than there are. */
    assert_in_range(sample.pool_count, 1, (size_t)(PROMPTS / sample.each));
    struct sel_certificate exact = solve(&all), about = solve(&sample);
    assert_true(fabs(about.objective / exact.objective - 1) < .15);
    assert_true(fabs(about.efficiency - exact.efficiency) < .15);
    certificate_snapshot_free(&all);
    certificate_snapshot_free(&sample);
    certificate_snapshot_free(&again);
    finish(&shell);
}

/* ---- what it says ---- */

static void pairs_of_the_rule_score_higher_than_uniform_ones(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.control_share = 0;
    struct sel_certificate chosen = certificate_of(&options, 15, &WHOLE);
    options.control_share = 1;
    struct sel_certificate uniform = certificate_of(&options, 15, &WHOLE);
    assert_true(chosen.efficiency <= 1 && chosen.efficiency >= chosen.efficiency_least);
    assert_true(uniform.efficiency <= 1 && uniform.efficiency >= uniform.efficiency_least);
    assert_true(chosen.bound <= chosen.optimum && chosen.optimum <= chosen.objective);
    if (!(uniform.efficiency < chosen.efficiency_least - .05))
        fail_msg("the rule's pairs %.3f (at least %.3f), uniform ones %.3f", chosen.efficiency,
                 chosen.efficiency_least, uniform.efficiency);
}

static void what_stands_in_the_way_is_said(void **state)
{
    (void)state;
    struct error error;
    const struct engine_options options = options_of();
    const struct certificate_limits none = {.candidates = 100, .bytes = 0};
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    expect_reason(&shell, &WHOLE, "no feature space");
    run(&shell, 3, 0);
    check(engine_tick(shell.engine, shell.now, &error), &error);
    expect_reason(&shell, &none, "memory.limit");
    /* Pools close by their age. */
    turn(&shell, options.pool_age + 1000);
    turn(&shell, 1000);
    expect_reason(&shell, &WHOLE, "nothing to compare with");
    finish(&shell);
}

/* A plan for more features than the space has leaves its certificate room. */
static void what_the_model_leaves_is_used(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    const struct certificate_limits none = {.candidates = 100, .bytes = 0};
    options.model_bytes = engine_fixed_bytes(&options, D) + WHOLE.bytes;
    struct shell shell = start_run(&options, 3);
    struct certificate_snapshot snapshot;
    take(&shell, &none, &snapshot);
    assert_int_equal(snapshot.asked + snapshot.open, PAIRS);
    certificate_snapshot_free(&snapshot);
    finish(&shell);
}

static void moments_are_waited_for(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    options.moments_interval = 2000000; /* since the epoch: later than this run */
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    give_completions(&shell, PROMPTS / 2 * POOL);
    for (int k = 0; k < 3; k++)
        turn(&shell, 1000);
    expect_reason(&shell, &WHOLE, "no moments");
    finish(&shell);
}

static void pairs_that_told_nothing_are_none(void **state)
{
    (void)state;
    struct error error;
    struct engine_options options = options_of();
    options.budget_per_second = 1e-9; /* what the buckets hold at first is all there is */
    struct shell shell = start_run(&options, 1);
    struct certificate_snapshot snapshot;
    take(&shell, &WHOLE, &snapshot);
    assert_int_equal(snapshot.labels, shell.cluster->pairs);
    assert_int_equal(snapshot.asked + snapshot.open, PAIRS);
    certificate_snapshot_free(&snapshot);
    answer_by(&shell, 0, 0, skips, NULL);
    turn(&shell, 1000);
    check(engine_tick(shell.engine, shell.now, &error), &error);
    expect_reason(&shell, &WHOLE, "no pair that counts was asked yet");
    finish(&shell);
}

static void a_fit_that_was_read_waits_for_its_tick(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    const struct engine_options options = options_of();
    const double psi[D] = {0}, lambda = 1;
    struct shell shell = start_run(&options, 5);
    struct certificate_snapshot snapshot;
    const struct entry entry = {.version = LEDGER_VERSION,
                                .digest = span_of("digest"),
                                .writer = span_of("other"),
                                .time = shell.now,
                                .kind = ENTRY_FIT,
                                .fit = {.fit_id = 1000,
                                        .feature_space = span_of("space"),
                                        .psi = {(const char *)psi, sizeof psi},
                                        .lambda = {(const char *)&lambda, sizeof lambda},
                                        .return_rate = 1}};
    check(engine_entry(shell.engine, &entry, 0, 1000, &error), &error);
    assert_false(engine_certificate(shell.engine, &WHOLE, &snapshot, &error));
    assert_int_equal(error.class, ERROR_RETRY);
    check(engine_tick(shell.engine, shell.now, &error), &error);
    take(&shell, &WHOLE, &snapshot);
    assert_int_equal(snapshot.fit_id, 1000);
    certificate_snapshot_free(&snapshot);
    finish(&shell);
}

/* ---- solving ---- */

enum {
    N = 70,
    OPEN = (N - 1) * (N - 2) / 2,
    ANSWERED = 1200,
    FEATURES = 12,
    LIST = ANSWERED + OPEN
};

/* Random pairs that were asked, and one pool whose first completion tells by far the most: all
 * pairs with it were asked. */
static struct certificate_snapshot random_snapshot(void)
{
    struct sel_random random = sel_random_init(5, 5);
    struct certificate_snapshot made = {.dimension = FEATURES,
                                        .asked = ANSWERED,
                                        .pool_count = 1,
                                        .open = OPEN,
                                        .share = .9,
                                        .labels = ANSWERED,
                                        .each = 1,
                                        .candidates = 4000};
    made.x = calloc(ANSWERED * FEATURES, sizeof *made.x);
    made.weight = calloc(ANSWERED, sizeof *made.weight);
    made.pools = calloc(1, sizeof *made.pools);
    made.features = calloc(N * FEATURES, sizeof *made.features);
    made.margins = calloc(N, sizeof *made.margins);
    made.known = calloc(N, sizeof *made.known);
    made.lambda = calloc(FEATURES, sizeof *made.lambda);
    made.policy = calloc(FEATURES * FEATURES, sizeof *made.policy);
    made.pools[0] = (struct certificate_pool){.count = N, .known_count = N - 1};
    for (uint32_t j = 1; j < N; j++)
        made.known[j - 1] = j;
    for (size_t k = 0; k < ANSWERED * FEATURES; k++)
        made.x[k] = (float)sel_random_normal(&random);
    for (size_t k = 0; k < ANSWERED; k++)
        made.weight[k] = .25 * sel_random_uniform(&random);
    for (size_t k = 0; k < N * FEATURES; k++)
        made.features[k] = (float)((k < FEATURES ? 20 : 1) * (1 + sel_random_normal(&random)));
    for (size_t k = 0; k < N; k++)
        made.margins[k] = sel_random_normal(&random);
    for (size_t k = 0; k < FEATURES; k++)
        made.policy[k * FEATURES + k] = 1 / (1 + (double)k);
    for (size_t k = 0; k < FEATURES; k++)
        made.lambda[k] = k < 4 ? 2 : 5;
    return made;
}

/* The same as one list, and its certificate by the library. */
static struct sel_certificate library_of(const struct certificate_snapshot *snapshot)
{
    static double x[LIST * FEATURES], weight[LIST], p[LIST], sigma[FEATURES * FEATURES];
    static size_t chosen[ANSWERED];
    size_t count = ANSWERED;
    for (size_t k = 0; k < ANSWERED * FEATURES; k++)
        x[k] = (double)snapshot->x[k];
    for (size_t k = 0; k < ANSWERED; k++) {
        weight[k] = snapshot->weight[k];
        chosen[k] = k;
    }
    for (size_t i = 1; i < N; i++) {
        for (size_t j = i + 1; j < N; j++) {
            for (size_t k = 0; k < FEATURES; k++)
                x[count * FEATURES + k] = (double)snapshot->features[i * FEATURES + k] -
                                          (double)snapshot->features[j * FEATURES + k];
            weight[count++] =
                snapshot->share * sel_weight_lapse(snapshot->margins[i] - snapshot->margins[j], 0);
        }
    }
    for (size_t k = 0; k < FEATURES; k++)
        sigma[k * FEATURES + k] = snapshot->lambda[k];
    const struct sel_design_problem problem = {.count = count,
                                               .d = FEATURES,
                                               .x = x,
                                               .weight = weight,
                                               .sigma = sigma,
                                               .policy = snapshot->policy};
    struct sel_certificate certificate;
    struct sel_design *design = sel_design_new(LIST, FEATURES);
    assert_int_equal(sel_certify(design, &problem, chosen, ANSWERED, 1e-3, p, &certificate),
                     SEL_OK);
    sel_design_free(design);
    return certificate;
}

static void it_agrees_with_the_library(void **state)
{
    (void)state;
    struct certificate_snapshot made = random_snapshot();
    struct sel_certificate mine = solve(&made), whole = library_of(&made);
    assert_true(fabs(mine.objective / whole.objective - 1) < 1e-9);
    assert_true(mine.bound <= whole.optimum * (1 + 1e-9) && mine.optimum >= whole.bound);
    assert_true(mine.bound >= whole.optimum * (1 - 2 * CERTIFY_TOLERANCE));
    assert_true(mine.optimum <= whole.optimum * (1 + CERTIFY_TOLERANCE));
    assert_true(mine.efficiency < .9);
    certificate_snapshot_free(&made);
}

static void it_stops_when_told_to(void **state)
{
    (void)state;
    struct error error = {ERROR_NONE, ""};
    struct sel_certificate certificate;
    const atomic_bool now = true;
    struct certificate_snapshot made = random_snapshot();
    assert_false(certify(&made, &now, &certificate, &error));
    assert_int_equal(error.class, ERROR_RETRY);
    certificate_snapshot_free(&made);
}

/* ---- telling ---- */

struct telling {
    struct options *options;
    struct metrics *metrics;
    struct certificate *certificate;
    char *body;
};

static struct telling tell(int64_t interval)
{
    struct error error;
    struct telling telling = {.options = options_new(), .metrics = metrics_new()};
    log_set_stream(NULL);
    assert_true(telling.options != NULL && telling.metrics != NULL);
    telling.options->certificate_interval = interval;
    telling.certificate = certificate_new(telling.options, WHOLE.bytes, telling.metrics, &error);
    check(telling.certificate != NULL, &error);
    return telling;
}

static void telling_free(struct telling *telling)
{
    certificate_free(telling->certificate);
    metrics_free(telling->metrics);
    options_free(telling->options);
    free(telling->body);
}

static int answer(struct telling *telling)
{
    free(telling->body);
    return certificate_answer(telling->certificate, &telling->body);
}

static bool told(const struct telling *telling)
{
    return !isnan(metrics_get(telling->metrics, METRIC_CERTIFICATE_EFFICIENCY, NULL, NULL));
}

static double number(const json_t *root, const char *name)
{
    const json_t *value = json_object_get(root, name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void it_is_computed_when_asked_for(void **state)
{
    (void)state;
    const struct engine_options options = options_of();
    struct shell shell = start_run(&options, 15);
    struct telling telling = tell(0);
    assert_int_equal(answer(&telling), 202);
    assert_string_equal(telling.body, "{\"reason\": \"one has been asked for\"}");
    certificate_tick(telling.certificate, shell.engine);
    certificate_settle(telling.certificate);
    assert_int_equal(answer(&telling), 200);
    json_t *root = json_loads(telling.body, 0, NULL);
    assert_non_null(root);
    double efficiency = number(root, "efficiency"), least = number(root, "efficiency_least");
    assert_true(0 < least && least <= efficiency && efficiency <= 1);
    assert_true(fabs(number(root, "optimum") / number(root, "objective") - efficiency) < 1e-12);
    assert_true(fabs(number(root, "bound") / number(root, "objective") - least) < 1e-12);
    assert_int_equal(number(root, "labels") + number(root, "candidates"), PAIRS);
    assert_int_equal(number(root, "listed"), number(root, "labels"));
    assert_int_equal(number(root, "time"), shell.now);
    assert_int_equal(number(root, "fit_id"), engine_stats(shell.engine)->fit_id);
    assert_true(number(root, "seconds") >= 0);
    assert_string_equal(json_string_value(json_object_get(root, "space")), "space");
    assert_null(json_object_get(root, "reason"));
    const struct {
        enum metric metric;
        double value;
    } rows[] = {{METRIC_CERTIFICATE_EFFICIENCY, efficiency},
                {METRIC_CERTIFICATE_EFFICIENCY_LEAST, least},
                {METRIC_CERTIFICATE_LABELS, number(root, "labels")},
                {METRIC_CERTIFICATE_TIMESTAMP, (double)shell.now / 1000}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
        assert_true(metrics_get(telling.metrics, rows[k].metric, NULL, NULL) == rows[k].value);
    json_decref(root);
    telling_free(&telling);
    finish(&shell);
}

static void it_is_computed_at_intervals(void **state)
{
    (void)state;
    const struct engine_options options = options_of();
    struct shell shell = start_run(&options, 15);
    struct telling never = tell(0), telling = tell(1);
    certificate_tick(telling.certificate, shell.engine);
    certificate_settle(telling.certificate);
    assert_true(told(&telling));
    for (int k = 0; k < 10; k++)
        certificate_tick(never.certificate, shell.engine);
    assert_int_equal(answer(&never), 202);
    assert_string_equal(never.body, "{\"reason\": \"one has been asked for\"}");
    assert_false(told(&never));
    telling_free(&telling);
    telling_free(&never);
    finish(&shell);
}

static void an_answer_says_why_there_is_none(void **state)
{
    (void)state;
    const struct engine_options options = options_of();
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct telling telling = tell(0);
    assert_int_equal(answer(&telling), 202);
    certificate_tick(telling.certificate, shell.engine);
    assert_int_equal(answer(&telling), 202);
    assert_string_equal(telling.body, "{\"reason\": \"no feature space has a scale yet\"}");
    assert_false(told(&telling));
    telling_free(&telling);
    finish(&shell);
}

static void its_end_does_not_wait_for_a_solve(void **state)
{
    (void)state;
    const struct engine_options options = options_of();
    struct shell shell = start_run(&options, 15);
    struct telling telling = tell(0);
    answer(&telling);
    certificate_tick(telling.certificate, shell.engine);
    telling_free(&telling); /* the sanitizer finds what is left */
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_objective_is_the_policy_trace),
        cmocka_unit_test(every_pair_stands_in_the_list_once),
        cmocka_unit_test(a_short_list_leaves_the_bound_true),
        cmocka_unit_test(more_asked_pairs_than_fit_are_sampled),
        cmocka_unit_test(pairs_of_the_rule_score_higher_than_uniform_ones),
        cmocka_unit_test(what_stands_in_the_way_is_said),
        cmocka_unit_test(what_the_model_leaves_is_used),
        cmocka_unit_test(moments_are_waited_for),
        cmocka_unit_test(pairs_that_told_nothing_are_none),
        cmocka_unit_test(a_fit_that_was_read_waits_for_its_tick),
        cmocka_unit_test(it_agrees_with_the_library),
        cmocka_unit_test(it_stops_when_told_to),
        cmocka_unit_test(it_is_computed_when_asked_for),
        cmocka_unit_test(it_is_computed_at_intervals),
        cmocka_unit_test(an_answer_says_why_there_is_none),
        cmocka_unit_test(its_end_does_not_wait_for_a_solve),
    };
    sel_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
