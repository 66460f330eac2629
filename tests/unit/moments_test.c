/* I comes from what is deployed: traffic and its weights; and how many pools it rests on. */
#include "tests/unit/engine_fixture.h"

enum { SIZE = 4 };

static void assert_close(double found, double expected)
{
    if (!(fabs(found - expected) <= 1e-9 * fabs(expected)))
        fail_msg("%.17g is not %.17g", found, expected);
}

struct traffic {
    double weight;
    bool candidate;
};

/* Completion k of a prompt, with random features in memory that lasts. */
static void give_of(struct shell *shell, size_t prompt, size_t k, const float *features,
                    const struct traffic *traffic, double log_ratio)
{
    char name[32], id[32];
    struct error error;
    const struct source source = {.input = INPUT_COMPLETIONS,
                                  .partition = 0,
                                  .offset = engine_next(shell->engine, INPUT_COMPLETIONS, 0),
                                  .timestamp = shell->now,
                                  .value = span_of("raw")};
    snprintf(name, sizeof name, "prompt %zu", prompt);
    snprintf(id, sizeof id, "completion %zu", k);
    struct completion completion = records_completion(name, id, features, D);
    completion.traffic_weight = traffic->weight;
    completion.candidate = traffic->candidate;
    completion.policy_logprob = -50;
    completion.reference_logprob = -50 + log_ratio;
    check(engine_completion(shell->engine, &source, &completion, &error), &error);
}

static void give(struct shell *shell, size_t prompt, size_t k, const float *features,
                 const struct traffic *traffic)
{
    give_of(shell, prompt, k, features, traffic, 0);
}

static struct engine_options deployed(void)
{
    struct engine_options options = options_of();
    options.features_scale = 1;
    options.pool_size = options.pool_min = SIZE;
    options.policy_sampling = SAMPLING_CURRENT;
    options.budget_burst = 0;
    return options;
}

/* Covariance of rows with equal weights, times weight, added to sum. */
static void add_covariance(float (*rows)[D], const bool *used, double weight, double *sum)
{
    double mean[D] = {0}, count = 0;
    for (size_t k = 0; k < SIZE; k++)
        count += used[k];
    for (size_t k = 0; k < SIZE; k++)
        for (size_t j = 0; used[k] && j < D; j++)
            mean[j] += (double)rows[k][j] / count;
    for (size_t k = 0; k < SIZE; k++)
        for (size_t i = 0; used[k] && i < D; i++)
            for (size_t j = 0; j < D; j++)
                sum[i * D + j] += weight / count * ((double)rows[k][i] - mean[i]) *
                                  ((double)rows[k][j] - mean[j]);
}

static void settle(struct shell *shell)
{
    struct error error;
    check(engine_end(shell->engine, INPUT_COMPLETIONS, 0,
                     engine_next(shell->engine, INPUT_COMPLETIONS, 0), &error),
          &error);
    for (int k = 0; k < 4; k++)
        turn(shell, 1100);
    check(engine_refresh(shell->engine, &error), &error);
}

/* Pool p has weight p + 1; in odd pools two completions are traffic only, and I is of those two. */
static void information_is_of_the_traffic_by_its_weight(void **state)
{
    (void)state;
    enum { POOLS = 10 };
    static float rows[POOLS][SIZE][D];
    const struct engine_options options = deployed();
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct sel_random random = sel_random_init(4, 4);
    double expected[D * D] = {0}, weights = 0, squares = 0, effective = 0;
    for (size_t p = 0; p < POOLS; p++) {
        bool used[SIZE];
        for (size_t k = 0; k < SIZE; k++) {
            const struct traffic traffic = {(double)p + 1, p % 2 == 0 || k < 2};
            used[k] = p % 2 == 0 || k >= 2;
            for (size_t j = 0; j < D; j++)
                rows[p][k][j] = (float)sel_random_normal(&random);
            give(&shell, p, k, rows[p][k], &traffic);
        }
        double weight = (double)p + 1;
        add_covariance(rows[p], used, weight, expected);
        weights += weight;
        squares += weight * weight;
        effective += weight * (p % 2 == 0 ? SIZE : 2);
    }
    settle(&shell);
    struct engine_view view = engine_view(shell.engine);
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_non_null(view.policy);
    for (size_t k = 0; k < D * D; k++)
        assert_true(fabs(view.policy[k] - expected[k] / weights) < 1e-6);
    check(engine_tick(shell.engine, shell.now, &(struct error){ERROR_NONE, ""}),
          &(struct error){ERROR_NONE, ""});
    assert_int_equal(stats->moments_pools, POOLS);
    assert_close(stats->moments_pools_effective, weights * weights / squares);
    assert_close(stats->moments_completions, effective / weights);
    finish(&shell);
}

/* One pool that carries nearly all traffic is one pool. */
static void a_heavy_pool_leaves_few_effective_ones(void **state)
{
    (void)state;
    const struct engine_options options = deployed();
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    struct sel_random random = sel_random_init(5, 5);
    for (size_t p = 0; p < 30; p++) {
        for (size_t k = 0; k < SIZE; k++) {
            const struct traffic traffic = {p == 7 ? 1e6 : 1, true};
            float row[D];
            for (size_t j = 0; j < D; j++)
                row[j] = (float)sel_random_normal(&random);
            give(&shell, p, k, row, &traffic);
        }
    }
    settle(&shell);
    check(engine_tick(shell.engine, shell.now, &(struct error){ERROR_NONE, ""}),
          &(struct error){ERROR_NONE, ""});
    assert_int_equal(engine_stats(shell.engine)->moments_pools, 30);
    assert_true(engine_stats(shell.engine)->moments_pools_effective < 1.001);
    assert_true(engine_stats(shell.engine)->moments_pools_effective >= 1);
    finish(&shell);
}

enum { LOGGED = 8, LOGGED_PROMPTS = 5 };

static struct shell start_logged(struct cluster *cluster, const double psi[D])
{
    static const double LAMBDA = 1;
    struct engine_options options = deployed();
    struct error error;
    options.pool_size = options.pool_min = LOGGED;
    options.policy_sampling = SAMPLING_LOGGED;
    struct shell shell = start_with(cluster, &options, 1000000);
    static const float ROW[D] = {0};
    give(&shell, LOGGED_PROMPTS, 0, ROW, &(struct traffic){1, true}); /* SPACE */
    turn(&shell, 1100);
    const struct entry entry = {.version = LEDGER_VERSION,
                                .digest = span_of("digest"),
                                .writer = span_of("other"),
                                .time = shell.now,
                                .kind = ENTRY_FIT,
                                .fit = {.fit_id = 1,
                                        .feature_space = span_of("space"),
                                        .psi = {(const char *)psi, D * sizeof *psi},
                                        .lambda = {(const char *)&LAMBDA, sizeof LAMBDA},
                                        .return_rate = 1}};
    check(engine_entry(shell.engine, &entry, 0, 1001, &error), &error);
    return shell;
}

/* Completion k of each prompt lies at k on the first axis. */
static void give_ladder(struct shell *shell, double log_ratio)
{
    struct error error;
    for (size_t p = 0; p < LOGGED_PROMPTS; p++)
        for (size_t k = 0; k < LOGGED; k++)
            give_of(shell, p, k, (const float[D]){(float)k}, &(struct traffic){1, true},
                    log_ratio * (double)k);
    settle(shell);
    check(engine_tick(shell->engine, shell->now, &error), &error);
    assert_int_equal(engine_stats(shell->engine)->moments_pools, LOGGED_PROMPTS);
}

/* psi / beta = 2 leaves 1.3 of 8 completions, and nothing makes them more. */
static void a_prompt_that_is_decided_stays_so(void **state)
{
    (void)state;
    const double psi[D] = {1};
    struct cluster *cluster = cluster_new();
    struct shell shell = start_logged(cluster, psi);
    double total = 0, squares = 0, mean = 0, variance = 0;
    give_ladder(&shell, 0);
    for (size_t k = 0; k < LOGGED; k++)
        total += exp(2 * (double)k);
    for (size_t k = 0; k < LOGGED; k++) {
        double p = exp(2 * (double)k) / total;
        squares += p * p;
        mean += p * (double)k;
        variance += p * (double)(k * k);
    }
    assert_true(1 / squares < 2);
    assert_true(fabs(engine_view(shell.engine).policy[0] - (variance - mean * mean)) < 1e-6);
    assert_close(engine_stats(shell.engine)->moments_completions, 1 / squares);
    assert_int_equal(engine_stats(shell.engine)->sampling_tempered, 0);
    stop(&shell);
    cluster_free(cluster);
}

/* Log-probabilities 30 apart would leave one completion: a quarter of the 8 is what they may. */
static void logged_probabilities_leave_a_floor(void **state)
{
    (void)state;
    const double psi[D] = {0};
    struct cluster *cluster = cluster_new();
    struct shell shell = start_logged(cluster, psi);
    give_ladder(&shell, 30);
    double left = engine_stats(shell.engine)->moments_completions;
    assert_true(left >= 2 && left < 2.01);
    assert_int_equal(engine_stats(shell.engine)->sampling_tempered, LOGGED_PROMPTS);
    stop(&shell);
    cluster_free(cluster);
}

static void give_pane(struct shell *shell, int64_t from, int64_t epoch, double weight,
                      double squares, float value)
{
    struct error error;
    float sums[D * (D + 1) / 2] = {0};
    for (size_t k = 0, at = 0; k < D; at += ++k + 1)
        sums[at] = value;
    const struct entry entry = {.version = LEDGER_VERSION,
                                .digest = span_of("digest"),
                                .writer = span_of("other"),
                                .time = shell->now,
                                .kind = ENTRY_MOMENTS,
                                .moments = {.completions_partition = 1,
                                            .from = from,
                                            .to = from + 10,
                                            .feature_space = span_of("space"),
                                            .policy_epoch = epoch,
                                            .dimension = D,
                                            .pools = 10,
                                            .weight = weight,
                                            .squares = squares,
                                            .effective_sample_size = 3 * weight,
                                            .chunks = 1,
                                            .sums = {(const char *)sums, sizeof sums}}};
    check(engine_entry(shell->engine, &entry, 0, 100000 + from, &error), &error);
}

static struct shell start_with_a_space(const struct engine_options *options)
{
    struct shell shell = start_with(cluster_new(), options, 1000000);
    static const float ROW[D] = {1, 2};
    give(&shell, 0, 0, ROW, &(struct traffic){1, true});
    turn(&shell, 1100);
    turn(&shell, 1100);
    assert_non_null(engine_view(shell.engine).space);
    return shell;
}

/* Panes of before the sum of squares was written count as pools of equal weight. */
static void panes_without_squares_count_their_pools(void **state)
{
    (void)state;
    struct error error;
    const struct engine_options options = deployed();
    struct shell shell = start_with_a_space(&options);
    give_pane(&shell, 0, 0, 20, 0, 20);
    give_pane(&shell, 10, 0, 20, 0, 20);
    check(engine_refresh(shell.engine, &error), &error);
    check(engine_tick(shell.engine, shell.now, &error), &error);
    assert_close(engine_stats(shell.engine)->moments_pools_effective, 20);
    assert_close(engine_stats(shell.engine)->moments_completions, 3);
    finish(&shell);
}

/* Epochs 1 and 3 with gamma .5: age 1 and 0, since none is seen in between. */
static void moments_of_older_versions_fade(void **state)
{
    (void)state;
    struct error error;
    struct engine_options options = deployed();
    options.moments_fade = true;
    options.moments_gamma = .5;
    struct shell shell = start_with_a_space(&options);
    give_pane(&shell, 0, 3, 10, 10, 10 * 1);
    give_pane(&shell, 10, 1, 10, 10, 10 * 4);
    check(engine_refresh(shell.engine, &error), &error);
    assert_close(engine_view(shell.engine).policy[0], (1 + .5 * 4) / 1.5);
    check(engine_tick(shell.engine, shell.now, &error), &error);
    assert_close(engine_stats(shell.engine)->moments_pools_effective, 15 * 15 / 12.5);
    /* A version in between comes late: what is older is older still. */
    give_pane(&shell, 20, 2, 10, 10, 10 * 2);
    check(engine_refresh(shell.engine, &error), &error);
    assert_close(engine_view(shell.engine).policy[0], (1 + .5 * 2 + .25 * 4) / 1.75);
    /* Four versions of one sixteenth of the window are kept. */
    give_pane(&shell, 30, 5, 10, 10, 10 * 8);
    give_pane(&shell, 40, 4, 10, 10, 10 * 16);
    give_pane(&shell, 50, 1, 10, 10, 10 * 1000);
    check(engine_refresh(shell.engine, &error), &error);
    assert_close(engine_view(shell.engine).policy[0], (8 + .5 * 16 + .25 * 1 + .125 * 2) / 1.875);
    finish(&shell);
}

/* A pane is of the newest version in it, also where its pools are closed by then. */
static void a_pane_names_its_newest_version(void **state)
{
    (void)state;
    struct error error;
    struct engine_options options = options_of();
    options.features_scale = 1;
    options.pool_picks = 1;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    int64_t epochs[3] = {0};
    for (int64_t k = 0; k < 3; k++) {
        shell.policy_epoch = 10 * k;
        for (int64_t offset = 60 * k; offset < 60 * (k + 1); offset++)
            give_completion(&shell, 0, offset);
        check(engine_end(shell.engine, INPUT_COMPLETIONS, 0, 60 * (k + 1), &error), &error);
        turn(&shell, 500);
        turn(&shell, 1100);
    }
    size_t panes = 0;
    for (size_t k = 0; k < shell.cluster->entries; k++) {
        struct entry entry = entry_at(&shell, k);
        if (entry.kind != ENTRY_MOMENTS || entry.moments.pools == 0)
            continue;
        assert_true(panes < 3);
        epochs[panes++] = entry.moments.policy_epoch;
        assert_true(span_equal(entry.moments.policy_version, span_of("v")));
        assert_true(entry.moments.squares > 0);
    }
    assert_true(panes >= 2);
    assert_int_equal(epochs[panes - 1], 20);
    finish(&shell);
}

static void a_newer_space_closes_the_pools_of_the_one_before(void **state)
{
    (void)state;
    struct error error;
    const struct engine_options options = deployed();
    struct shell shell = start_with_a_space(&options);
    for (size_t p = 1; p < 5; p++)
        for (size_t k = 0; k < SIZE; k++)
            give(&shell, p, k, (const float[D]){(float)k, (float)p}, &(struct traffic){1, true});
    settle(&shell);
    assert_int_equal(engine_stats(shell.engine)->pools_open, 5);
    give_completion_of(&shell, 0, engine_next(shell.engine, INPUT_COMPLETIONS, 0), "newer", 1, D);
    settle(&shell);
    assert_string_equal(engine_view(shell.engine).space, "newer");
    assert_int_equal(engine_stats(shell.engine)->pools_closed[POOL_SPACE], 5);
    assert_int_equal(engine_stats(shell.engine)->pools_open, 1);
    check(engine_refresh(shell.engine, &error), &error);
    assert_null(engine_view(shell.engine).policy); /* nothing of the space before counts */
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(information_is_of_the_traffic_by_its_weight),
        cmocka_unit_test(a_heavy_pool_leaves_few_effective_ones),
        cmocka_unit_test(a_prompt_that_is_decided_stays_so),
        cmocka_unit_test(logged_probabilities_leave_a_floor),
        cmocka_unit_test(panes_without_squares_count_their_pools),
        cmocka_unit_test(moments_of_older_versions_fade),
        cmocka_unit_test(a_newer_space_closes_the_pools_of_the_one_before),
        cmocka_unit_test(a_pane_names_its_newest_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
