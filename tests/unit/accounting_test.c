/* Labels saved: the shadows of the engine, what is computed of them and told. */
#include "engine_fixture.h"

#include <jansson.h>

#include "tests/support/expect.h"
#include "worker/account.h"
#include "worker/accounting.h"
#include "worker/engine/accounting.h"
#include "worker/engine/internal.h"
#include "worker/log.h"

enum { MIB = 1 << 20, ROUNDS = 60 };

static const atomic_bool NEVER;

static struct engine_options options_with(size_t bytes)
{
    struct engine_options options = options_of();
    options.accounting_bytes = bytes;
    options.selection.weighting = SEL_WEIGHT_PLUG;
    return options;
}

/* ---- shadows ---- */

static void no_effect_hangs_on_them(void **state)
{
    (void)state;
    struct buffer effects[2];
    for (int k = 0; k < 2; k++) {
        struct engine_options options = options_with(k == 0 ? 0 : MIB);
        if (k > 0)
            options.accounting_rule = sel_rule_find("dopt");
        struct shell shell = start_run(&options, 30);
        assert_int_equal(shell.engine->shadows.slots > 0, k);
        assert_int_equal(shell.engine->rivals.each[0].taken > 0, k);
        effects[k] = shell.cluster->effects;
        shell.cluster->effects = (struct buffer){0};
        finish(&shell);
    }
    assert_int_equal(effects[0].size, effects[1].size);
    assert_memory_equal(effects[0].data, effects[1].data, effects[0].size);
    buffer_free(&effects[0]);
    buffer_free(&effects[1]);
}

/* The pool of which x is a difference, either way round; NULL: of none, or x = 0. */
static const struct pool *origin(const struct engine *engine, const float *x)
{
    for (size_t k = 0; k < engine->pools.ready_count; k++) {
        const struct pool *pool = engine->pools.ready[k];
        for (size_t i = 0; i < pool->count; i++)
            for (size_t j = 0; j < pool->count; j++) {
                bool same = i != j, zero = true;
                for (size_t a = 0; a < D && same; a++) {
                    float value =
                        (float)(engine->model.space.scale * ((double)pool->held[i]->features[a] -
                                                             (double)pool->held[j]->features[a]));
                    same = value == x[a];
                    zero = zero && value == 0;
                }
                if (same && !zero)
                    return pool;
            }
    }
    return NULL;
}

static void pools_are_drawn_alike(void **state)
{
    (void)state;
    const struct engine_options options = options_with(MIB);
    struct shell shell = start_run(&options, 12);
    const struct engine *engine = shell.engine;
    const struct shadows *shadows = &engine->shadows;
    double counts[PROMPTS] = {0}, sum = 0, deviance = 0;
    size_t unknown = 0, drawn = 0;
    for (size_t shadow = 0; shadow < shadows->count; shadow++)
        for (size_t k = 0; k < shadows_held(shadows, shadow); k++) {
            const struct pool *pool = origin(engine, shadows_x(shadows, shadow) + k * D);
            unknown += pool == NULL;
            drawn++;
            if (pool != NULL)
                counts[pool->ready_index]++;
        }
    for (size_t k = 0; k < PROMPTS; k++)
        sum += counts[k];
    for (size_t k = 0; k < PROMPTS; k++)
        deviance += (counts[k] - sum / PROMPTS) * (counts[k] - sum / PROMPTS) / (sum / PROMPTS);
    assert_true(drawn > 2000);
    /* Of 15 pairs two are of copies, whose x is 0. */
    assert_true((double)unknown / (double)drawn > .08 && (double)unknown / (double)drawn < .2);
    /* 69 degrees of freedom. */
    if (!(deviance < 69 + 5 * sqrt(2 * 69.0)))
        fail_msg("chi squared of the pools is %.1f", deviance);
    finish(&shell);
}

static void every_slot_of_the_arm_is_followed(void **state)
{
    (void)state;
    const struct engine_options options = options_with(MIB);
    struct shell shell = start_run(&options, 20);
    const struct shadows *shadows = &shell.engine->shadows;
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_int_equal(shadows->slots, stats->pairs[ARM_SELECTED]);
    assert_true(stats->pairs[ARM_CONTROL] > 0 && stats->return_rate < 1);
    double drawn = 0;
    for (size_t k = 0; k < shadows->count; k++) {
        assert_true(shadows->drawn[k] <= (uint64_t)shadows->slots);
        drawn += (double)shadows->drawn[k];
    }
    assert_true(drawn < (double)shadows->slots * (double)shadows->count);
    assert_true(drawn > .9 * (double)shadows->slots * (double)shadows->count);
    finish(&shell);
}

static void memory_bounds_them(void **state)
{
    (void)state;
    size_t room;
    assert_int_equal(shadows_count(64, 0, &room), 0);
    assert_int_equal(shadows_count(64, shadows_least(64) - 1, &room), 0);
    assert_int_equal(shadows_count(64, shadows_least(64), &room), SHADOWS_LEAST);
    assert_int_equal(room, SHADOW_PAIRS_EACH * 64);
    assert_int_equal(shadows_count(64, (size_t)MIB << 10, &room), SHADOWS_MAX);
    assert_int_equal(room, SHADOW_PAIRS_MAX);
    const struct engine_options options = options_with(shadows_least(D));
    struct shell shell = start_run(&options, 10);
    const struct shadows *shadows = &shell.engine->shadows;
    assert_int_equal(shadows->count, SHADOWS_LEAST);
    assert_int_equal(shadows->room, SHADOW_PAIRS_EACH * D);
    float before[SHADOW_PAIRS_EACH * D * D];
    memcpy(before, shadows_x(shadows, 1), sizeof before);
    size_t stayed = 0, rows = SHADOW_PAIRS_EACH * D;
    uint64_t drawn = shadows->drawn[1];
    assert_int_equal(shadows_held(shadows, 1), rows);
    for (int k = 0; k < 30 && shadows->drawn[1] < 2 * drawn; k++) {
        give_completions(&shell, PROMPTS / 2 * POOL);
        answer_all(&shell, 0, 100000 + 1000 * k);
        turn(&shell, 500);
    }
    /* A uniform sample of twice as many holds about half of those that were there. */
    for (size_t k = 0; k < rows; k++)
        stayed += memcmp(before + k * D, shadows_x(shadows, 1) + k * D, D * sizeof(float)) == 0;
    assert_true(shadows->drawn[1] >= 2 * drawn);
    assert_in_range(stayed, 2, rows - 2);
    assert_true(shadows_pools(shadows) <= shadows->traffic.room);
    finish(&shell);
}

/* ---- rivals ---- */

static bool same_pick(const struct rival_pick *left, const struct rival_pick *right)
{
    return identity_equal(left->pool, right->pool) &&
           ((identity_equal(left->left, right->left) &&
             identity_equal(left->right, right->right)) ||
            (identity_equal(left->left, right->right) && identity_equal(left->right, right->left)));
}

static void a_rival_asks_at_every_slot_and_nothing_twice(void **state)
{
    (void)state;
    struct engine_options options = options_with(MIB);
    options.accounting_rule = sel_rule_find("dopt");
    struct shell shell = start_run(&options, ROUNDS);
    for (size_t r = 0; r < RIVALS; r++) {
        const struct rival *rival = &shell.engine->rivals.each[r];
        assert_int_equal(rival->taken, shell.engine->shadows.slots);
        assert_true(rival->taken > 200 && rival->drawn <= rival->taken);
        for (size_t k = 0; k < rival->taken; k++)
            for (size_t before = 0; before < k; before++)
                assert_false(same_pick(&rival->picks[k], &rival->picks[before]));
    }
    assert_ptr_equal(shell.engine->rivals.each[0].rule, options.accounting_rule);
    assert_ptr_equal(shell.engine->rivals.each[1].rule, options.selection.rule);
    finish(&shell);
}

/* Once such a slot is charged, no pool is open any more. */
static void a_rival_asks_where_a_tick_has_one_slot(void **state)
{
    (void)state;
    struct engine_options options = options_with(MIB);
    options.accounting_rule = sel_rule_find("dopt");
    options.budget_burst = 1;
    struct shell shell = start_run(&options, ROUNDS);
    assert_true(shell.engine->shadows.slots > 5);
    for (size_t r = 0; r < RIVALS; r++)
        assert_int_equal(shell.engine->rivals.each[r].taken, shell.engine->shadows.slots);
    finish(&shell);
}

static struct account account_of(struct accounting_snapshot *made);

/* The rule in use, from most of the pools, is as good as what was asked; one that asks what it is
 * surest of needs more. */
static void a_worse_rule_needs_more_labels(void **state)
{
    (void)state;
    struct error error;
    struct engine_options options = options_with(MIB);
    options.accounting_rule = sel_rule_find("max_margin");
    struct shell shell = start_run(&options, ROUNDS);
    struct accounting_snapshot taken;
    check(engine_accounting(shell.engine, 4 * MIB, &taken, &error), &error);
    assert_string_equal(taken.rival_names[0], "max_margin");
    assert_string_equal(taken.rival_names[1], "policy_trace");
    struct account found = account_of(&taken);
    double n = (double)taken.selected;
    if (!(found.rivals[1] > .8 * n && found.rivals[1] < 1.25 * n &&
          found.rivals[0] > 1.5 * found.rivals[1]))
        fail_msg("%.1f and %.1f labels, %.1f were asked", found.rivals[0], found.rivals[1], n);
    accounting_snapshot_free(&taken);
    finish(&shell);
}

/* ---- the equation ---- */

static double trace_at(const double *m, const double *policy, double lambda, double t)
{
    double a = lambda + t * m[0], b = t * m[1], c = lambda + t * m[3], det = a * c - b * b;
    return (policy[0] * c - 2 * policy[1] * b + policy[3] * a) / det;
}

static void the_equation_is_solved(void **state)
{
    (void)state;
    double scratch[10];
    /* One feature: p / (lambda + t v) = target. */
    double one = .2, policy_of_one = 3;
    double t = account_solve(&one, &policy_of_one, 1, .5, .01, scratch);
    assert_true(fabs(t / ((3 / .01 - .5) / .2) - 1) < 1e-9);
    const double m[] = {.3, .1, .1, .05}, policy[] = {2, -.5, -.5, 1};
    double copy[4];
    memcpy(copy, m, sizeof copy);
    t = account_solve(copy, policy, 2, .7, .02, scratch);
    assert_true(fabs(trace_at(m, policy, .7, t) / .02 - 1) < 1e-9);
    /* As good without a label; and no number of labels tells what none of them looks at. */
    memcpy(copy, m, sizeof copy);
    assert_true(account_solve(copy, policy, 2, .7, 100, scratch) == 0);
    double blind[] = {1, 0, 0, 0};
    assert_true(isinf(account_solve(blind, policy, 2, .7, .02, scratch)));
}

/* ---- the account ---- */

enum { FEATURES = 3, LABELS = 400, HELD = 400, SHADOWS = 8 };

/* x of a pair: `stretch` of 1 for uniform ones. */
static void write_pairs(struct sel_random *random, size_t count, double stretch, float *x)
{
    for (size_t k = 0; k < count * FEATURES; k++)
        x[k] = (float)(stretch * sel_random_normal(random));
}

/* Small margins: w is nearly 1/4 whatever psi is. */
static struct accounting_snapshot made_up(double stretch)
{
    struct sel_random random = sel_random_init(3, 4);
    struct accounting_snapshot made = {.dimension = FEATURES,
                                       .count = LABELS,
                                       .selected = LABELS / 2,
                                       .control = LABELS / 2,
                                       .each = 1,
                                       .shadows = SHADOWS,
                                       .lambda = 1e-6,
                                       .trace = .3,
                                       .effective = 4,
                                       .fit_id = 1,
                                       .beta = .5,
                                       .fit_lambda = 1,
                                       .predicted = ACCOUNT_CONTROL,
                                       .space = strdup("made up")};
    made.x = calloc(LABELS * FEATURES, sizeof *made.x);
    made.y = calloc(LABELS, sizeof *made.y);
    made.weight = calloc(LABELS, sizeof *made.weight);
    made.lapses = calloc(LABELS, sizeof *made.lapses);
    made.arm = calloc(LABELS, 1);
    made.psi = calloc(FEATURES, sizeof *made.psi);
    made.policy = calloc(FEATURES * FEATURES, sizeof *made.policy);
    made.shadow_x = calloc(SHADOWS * HELD * FEATURES, sizeof *made.shadow_x);
    for (size_t k = 0; k < FEATURES; k++)
        made.policy[k * FEATURES + k] = 1;
    for (size_t k = 0; k < LABELS; k++) {
        bool control = k % 2 == 0;
        made.arm[k] = control ? ARM_CONTROL : ARM_SELECTED;
        made.weight[k] = 1;
        made.y[k] = k / 2 % 2 == 0 ? 0 : 1;
        write_pairs(&random, 1, control ? .02 : .02 * stretch, made.x + k * FEATURES);
    }
    for (size_t k = 0; k < SHADOWS; k++)
        made.held[k] = HELD;
    write_pairs(&random, SHADOWS * HELD, .02, made.shadow_x);
    return made;
}

static struct account account_of(struct accounting_snapshot *made)
{
    struct error error;
    struct account found;
    check(account(made, &NEVER, &found, &error), &error);
    return found;
}

/* But for what 200 of them differ from others. */
static void uniform_pairs_save_little(void **state)
{
    (void)state;
    struct accounting_snapshot made = made_up(1);
    made.lambda = 1e-3;
    struct account found = account_of(&made);
    double n = (double)made.selected;
    if (!(found.labels.low <= found.labels.mid && found.labels.mid <= found.labels.high &&
          found.labels.low > .8 * n && found.labels.high < 1.25 * n))
        fail_msg("%.1f to %.1f labels, not %.1f", found.labels.low, found.labels.high, n);
    accounting_snapshot_free(&made);
}

/* x twice as long: four times the information. lambda would hide it where it is not small. */
static void pairs_of_twice_the_length_save_three_of_four(void **state)
{
    (void)state;
    struct accounting_snapshot uniform = made_up(1), longer = made_up(2);
    uniform.lambda = longer.lambda = 1e-3;
    struct account base = account_of(&uniform), found = account_of(&longer);
    assert_true(fabs(found.labels.mid / base.labels.mid / 4 - 1) < .15);
    assert_true(found.selected.trace < found.control.trace);
    assert_int_equal(found.each, LABELS / 2);
    accounting_snapshot_free(&uniform);
    accounting_snapshot_free(&longer);
}

/* Half of the answers are coin flips: a label tells a quarter. */
static void careless_answers_count_for_less(void **state)
{
    (void)state;
    struct accounting_snapshot careful = made_up(1), careless = made_up(1);
    careful.lambda = careless.lambda = 1e-3;
    for (size_t k = 0; k < LABELS; k++)
        careless.lapses[k] = .5;
    double ratio = account_of(&careless).labels.mid / account_of(&careful).labels.mid;
    if (!(fabs(4 * ratio - 1) < .1))
        fail_msg("%.3f", ratio);
    accounting_snapshot_free(&careful);
    accounting_snapshot_free(&careless);
}

static void the_gap_is_a_bracket(void **state)
{
    (void)state;
    struct accounting_snapshot made = made_up(1);
    struct account found = account_of(&made);
    assert_true(fabs(found.gap.low - .3) < 1e-12);
    assert_true(fabs(found.gap.high - .4) < 1e-12);
    accounting_snapshot_free(&made);
}

static void arms_are_compared_on_their_first_labels(void **state)
{
    (void)state;
    struct accounting_snapshot made = made_up(3);
    /* The control arm has but 10 labels; the selected arm's first 10 are made the same. */
    made.control = 0;
    for (size_t k = 0; k < LABELS; k += 2) {
        made.arm[k] = made.control < 10 ? ARM_CONTROL : ARM_PROBE;
        made.control += made.control < 10;
        if (k < 20)
            memcpy(made.x + (k + 1) * FEATURES, made.x + k * FEATURES, FEATURES * sizeof(float));
    }
    struct account found = account_of(&made);
    assert_int_equal(found.each, 10);
    assert_true(found.selected.lambda == 1);
    assert_true(fabs(found.selected.trace / found.control.trace - 1) < 1e-9);
    made.each = 2;
    assert_int_equal(account_of(&made).each, 0);
    accounting_snapshot_free(&made);
}

static void control_labels_must_support_it(void **state)
{
    (void)state;
    struct accounting_snapshot made = made_up(1);
    struct account found = account_of(&made);
    assert_true(found.supported && found.reason[0] == '\0');
    made.surprise = 2.32;
    assert_true(account_of(&made).supported);
    made.surprise = 2.33;
    found = account_of(&made);
    assert_false(found.supported);
    assert_non_null(strstr(found.reason, "the last 20 labels contradict the fit by 2.3"));
    made.surprise = 0;
    made.predicted = ACCOUNT_CONTROL - 1;
    found = account_of(&made);
    assert_false(found.supported);
    assert_non_null(strstr(found.reason, "19 of its labels"));
    made.predicted = 0;
    made.surprise = (double)NAN;
    assert_false(account_of(&made).supported);
    accounting_snapshot_free(&made);
}

static void it_stops_when_told_to(void **state)
{
    (void)state;
    const atomic_bool now = true;
    struct error error;
    struct account found;
    struct accounting_snapshot made = made_up(1);
    assert_false(account(&made, &now, &found, &error));
    assert_int_equal(error.class, ERROR_RETRY);
    accounting_snapshot_free(&made);
}

/* ---- of an engine ---- */

static void labels_come_with_their_arms(void **state)
{
    (void)state;
    struct error error;
    const struct engine_options options = options_with(MIB);
    struct shell shell = start_run(&options, ROUNDS);
    struct accounting_snapshot all, sample;
    check(engine_accounting(shell.engine, 4 * MIB, &all, &error), &error);
    const struct engine_stats *stats = engine_stats(shell.engine);
    assert_int_equal(all.count, stats->labels_counted);
    assert_int_equal(all.selected + all.control, all.count);
    assert_true(all.control > ACCOUNT_CONTROL && all.selected > all.control);
    assert_int_equal(all.each, 1);
    assert_true(fabs(all.trace / stats->policy_trace - 1) < 1e-9);
    assert_int_equal(all.pools, PROMPTS);
    assert_true(all.effective > 1 && all.effective <= POOL);
    /* All but those that came before the first fit. */
    assert_in_range(all.predicted, ACCOUNT_CONTROL, all.control);
    /* Where there is no room for all, a sample stands for them. */
    size_t bytes = 4 * MIB;
    while (engine_accounting(shell.engine, bytes, &sample, &error) && sample.count == all.count) {
        accounting_snapshot_free(&sample);
        bytes -= bytes / 64;
    }
    assert_in_range(sample.count, 1, all.count - 1);
    assert_true(fabs(sample.each * (double)sample.count / (double)all.count - 1) < 1e-9);
    assert_int_equal(sample.selected, all.selected);
    accounting_snapshot_free(&sample);
    accounting_snapshot_free(&all);
    finish(&shell);
}

/* tr(I inverse(diag(lambda) + sum of w x x')). */
static double trace_with(const double *policy, const double *lambda, const float *const *x,
                         const double *w, size_t count)
{
    struct sel_information *information = sel_information_new(D);
    assert_int_equal(sel_information_reset(information, lambda), SEL_OK);
    assert_int_equal(sel_information_accumulate(information, x, w, count), SEL_OK);
    assert_int_equal(sel_information_factor(information), SEL_OK);
    double trace = sel_information_trace(information, policy);
    sel_information_free(information);
    return trace;
}

static double trace_of_snapshot(const struct accounting_snapshot *snapshot)
{
    double lambda[D], *w = calloc(snapshot->count, sizeof *w);
    const float **x = calloc(snapshot->count, sizeof *x);
    for (size_t j = 0; j < D; j++)
        lambda[j] = snapshot->lambda;
    for (size_t k = 0; k < snapshot->count; k++) {
        double margin = 0;
        x[k] = snapshot->x + k * D;
        for (size_t j = 0; j < D; j++)
            margin += snapshot->psi[j] * (double)x[k][j];
        w[k] = snapshot->weight[k] * sel_weight_lapse(margin, snapshot->lapses[k]);
    }
    double trace = trace_with(snapshot->policy, lambda, x, w, snapshot->count);
    free(x);
    free(w);
    return trace;
}

/* The same labels, of features as they are. */
static double trace_of_groups(const struct model *model, size_t count)
{
    double lambda[D], *w = calloc(count, sizeof *w);
    const float **x = calloc(count, sizeof *x);
    const struct request *request;
    size_t found = 0;
    for (size_t j = 0; j < D; j++)
        lambda[j] = model->lambdas[model->group[j]];
    for (size_t at = 0; (request = requests_next(model->requests, &at)) != NULL; at++) {
        if (!request->counted)
            continue;
        assert_true(found < count);
        x[found] = request->x;
        w[found++] = sel_weight_lapse(model_margin(model, request->x), model->lapse);
    }
    assert_int_equal(found, count);
    double trace = trace_with(model->policy, lambda, x, w, count);
    free(x);
    free(w);
    return trace;
}

static void groups_of_features_are_told_in_a_scale_with_one_lambda(void **state)
{
    (void)state;
    struct error error;
    const struct feature_groups groups = {.blocks = 2};
    struct engine_options options = options_with(MIB);
    options.features_groups = &groups;
    options.accounting_rule = sel_rule_find("dopt");
    struct shell shell = start_run(&options, ROUNDS);
    struct accounting_snapshot all;
    check(engine_accounting(shell.engine, 4 * MIB, &all, &error), &error);
    const struct model *model = &shell.engine->model;
    assert_true(fabs(model->lambdas[0] / model->lambdas[1] - 1) > .01);
    double trace = trace_of_groups(model, all.count);
    assert_true(fabs(trace_of_snapshot(&all) / trace - 1) < 1e-5);
    /* Each of what is told is in that scale. */
    double scale = sqrt(model->lambda / model->lambdas[0]);
    const struct shadows *shadows = &shell.engine->shadows;
    assert_true(all.shadow_x[0] == (float)(scale * (double)shadows_x(shadows, 0)[0]));
    assert_true(all.pool_x[0] == (float)(scale * (double)shadows->traffic.x[0]));
    assert_true(all.rival_x[0] == (float)(scale * (double)shell.engine->rivals.each[0].x[0]));
    accounting_snapshot_free(&all);
    finish(&shell);
}

static struct label contrary(void *context, int64_t offset, float x)
{
    return by_sign(context, offset, -x);
}

static void a_change_of_mind_takes_its_support(void **state)
{
    (void)state;
    struct error error;
    const struct engine_options options = options_with(MIB);
    struct shell shell = start_run(&options, ROUNDS);
    struct accounting_snapshot before, after;
    check(engine_accounting(shell.engine, 4 * MIB, &before, &error), &error);
    assert_true(account_of(&before).supported);
    size_t answered = shell.cluster->entries;
    int64_t labels = 100000;
    for (int k = 0; k < 20; k++) {
        turn(&shell, 500);
        size_t entries = shell.cluster->entries;
        labels = answer_by(&shell, answered, labels, contrary, NULL);
        answered = entries;
    }
    check(engine_tick(shell.engine, shell.now, &error), &error);
    check(engine_accounting(shell.engine, 4 * MIB, &after, &error), &error);
    struct account found = account_of(&after);
    assert_false(found.supported);
    assert_non_null(strstr(found.reason, "contradict the fit"));
    accounting_snapshot_free(&before);
    accounting_snapshot_free(&after);
    finish(&shell);
}

static void expect_reason(const struct shell *shell, size_t bytes, const char *part)
{
    struct error error = {ERROR_NONE, ""};
    struct accounting_snapshot snapshot;
    assert_false(engine_accounting(shell->engine, bytes, &snapshot, &error));
    assert_int_equal(error.class, ERROR_DATA);
    expect_says(error.message, part);
}

static void what_stands_in_the_way_is_said(void **state)
{
    (void)state;
    const struct {
        size_t shadows, bytes;
        int rounds;
        const char *reason;
    } cases[] = {{0, MIB, 20, "accounting.memory is 0"},
                 {MIB, MIB, 0, "no feature space"},
                 {MIB, MIB, 2, "no fit yet"},
                 {shadows_least(D) - 1, MIB, 20, "too small for 4 features: 1 MiB"},
                 {MIB, 100, 20, "no room for the labels"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct engine_options options = options_with(cases[k].shadows);
        struct shell shell = cases[k].rounds > 0 ? start_run(&options, cases[k].rounds)
                                                 : start_with(cluster_new(), &options, 1000000);
        expect_reason(&shell, cases[k].bytes, cases[k].reason);
        finish(&shell);
    }
}

/* Another worker on the same ledger has the labels, and shadows of its own slots only. */
static void a_restart_begins_the_shadows_anew(void **state)
{
    (void)state;
    const struct engine_options options = options_with(MIB);
    struct shell shell = start_run(&options, ROUNDS);
    stop(&shell);
    shell = start_with(shell.cluster, &options, shell.now);
    give_completions(&shell, PROMPTS / 2 * POOL);
    struct error error;
    check(engine_tick(shell.engine, shell.now, &error), &error);
    check(engine_refresh(shell.engine, &error), &error);
    expect_reason(&shell, MIB, "too few slots");
    /* Open pools that were in I before are read again. */
    assert_int_equal(shadows_pools(&shell.engine->shadows), PROMPTS);
    finish(&shell);
}

/* ---- telling ---- */

struct telling {
    struct options *options;
    struct metrics *metrics;
    struct accounting *accounting;
    char *body;
};

static struct telling tell(int64_t interval)
{
    struct error error;
    struct telling telling = {.options = options_new(), .metrics = metrics_new()};
    log_set_stream(NULL);
    assert_true(telling.options != NULL && telling.metrics != NULL);
    telling.options->accounting_interval = interval;
    telling.accounting = accounting_new(telling.options, 4 * MIB, telling.metrics, &error);
    check(telling.accounting != NULL, &error);
    return telling;
}

static void telling_free(struct telling *telling)
{
    accounting_free(telling->accounting);
    metrics_free(telling->metrics);
    options_free(telling->options);
    free(telling->body);
}

static json_t *answer(struct telling *telling, int status)
{
    free(telling->body);
    assert_int_equal(accounting_answer(telling->accounting, &telling->body), status);
    json_t *root = json_loads(telling->body, 0, NULL);
    assert_non_null(root);
    return root;
}

static double number(const json_t *root, const char *group, const char *name)
{
    const json_t *value =
        json_object_get(group == NULL ? root : json_object_get(root, group), name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void a_report_is_told_when_asked_for(void **state)
{
    (void)state;
    struct engine_options options = options_with(MIB);
    options.accounting_rule = sel_rule_find("aopt");
    struct shell shell = start_run(&options, ROUNDS);
    struct telling telling = tell(0);
    accounting_tick(telling.accounting, shell.engine); /* nobody has asked */
    json_decref(answer(&telling, 202));
    assert_string_equal(telling.body, "{\"reason\": \"one has been asked for\"}");
    accounting_tick(telling.accounting, shell.engine);
    accounting_settle(telling.accounting);
    json_t *root = answer(&telling, 200);
    double labels = number(root, NULL, "labels"), low = number(root, "labels_saved", "low");
    double mid = number(root, "labels_saved", "mid"), high = number(root, "labels_saved", "high");
    assert_true(json_is_true(json_object_get(root, "supported")));
    assert_true(low <= mid && mid <= high && mid > 0);
    assert_true(fabs(number(root, "factor", "mid") - (mid + labels) / labels) < 1e-9);
    assert_true(number(root, "gap_estimate", "low") < number(root, "gap_estimate", "high"));
    assert_int_equal(number(root, "shadows", "count"), SHADOWS_MAX);
    assert_int_equal(number(root, "shadows", "slots"), shell.engine->shadows.slots);
    assert_int_equal(number(root, "shadows", "since"), shell.engine->shadows.since);
    assert_int_equal(number(root, "arms", "labels_each"), number(root, NULL, "control_labels"));
    assert_int_equal(number(root, NULL, "time"), shell.now);
    const json_t *rules = json_object_get(root, "rules");
    assert_int_equal(json_array_size(rules), RIVALS);
    assert_string_equal(json_string_value(json_object_get(json_array_get(rules, 0), "rule")),
                        "aopt");
    assert_true(number(json_array_get(rules, 1), NULL, "labels") > 0);
    assert_int_equal(number(json_array_get(rules, 1), NULL, "pairs"),
                     shell.engine->rivals.each[1].drawn);
    assert_true(metrics_get(telling.metrics, METRIC_LABELS_SAVED, "mid", NULL) == mid);
    assert_true(metrics_get(telling.metrics, METRIC_ACCOUNTING_SUPPORTED, NULL, NULL) == 1);
    assert_true(metrics_get(telling.metrics, METRIC_GAP_BRACKET, "low", NULL) ==
                number(root, "gap_estimate", "low"));
    json_decref(root);
    telling_free(&telling);
    finish(&shell);
}

/* With a strength at which a gap is beyond all numbers. */
static void a_gap_without_bounds_is_told_as_null(void **state)
{
    (void)state;
    struct engine_options options = options_with(MIB);
    options.policy_beta = 1e-312;
    options.policy_sampling = SAMPLING_CURRENT;
    struct shell shell = start_run(&options, ROUNDS);
    struct telling telling = tell(1);
    accounting_tick(telling.accounting, shell.engine);
    accounting_settle(telling.accounting);
    json_t *root = answer(&telling, 200);
    const json_t *selected = json_object_get(json_object_get(root, "arms"), "selected");
    assert_true(json_is_null(json_object_get(selected, "gap_estimate")));
    assert_true(json_is_number(json_object_get(selected, "policy_trace")));
    json_decref(root);
    telling_free(&telling);
    finish(&shell);
}

static void what_is_not_supported_is_not_told(void **state)
{
    (void)state;
    struct engine_options options = options_with(MIB);
    options.control_share = 0;
    struct shell shell = start_run(&options, ROUNDS);
    struct telling telling = tell(1);
    accounting_tick(telling.accounting, shell.engine); /* at its interval */
    accounting_settle(telling.accounting);
    json_t *root = answer(&telling, 200);
    assert_true(json_is_false(json_object_get(root, "supported")));
    assert_null(json_object_get(root, "labels_saved"));
    assert_null(json_object_get(root, "factor"));
    assert_true(json_is_null(json_object_get(root, "arms")));
    assert_non_null(strstr(json_string_value(json_object_get(root, "unsupported")),
                           "not supported by the control arm: 0 of its labels"));
    assert_true(isnan(metrics_get(telling.metrics, METRIC_LABELS_SAVED, "mid", NULL)));
    assert_true(metrics_get(telling.metrics, METRIC_ACCOUNTING_SUPPORTED, NULL, NULL) == 0);
    json_decref(root);
    telling_free(&telling);
    finish(&shell);
}

static void waiting_ends_with_the_next_report(void **state)
{
    (void)state;
    struct accounting_report report;
    struct telling telling = tell(0);
    /* Nobody ticks: the time runs out. */
    assert_false(accounting_wait(telling.accounting, 1, &report));
    telling_free(&telling);
}

static void its_end_does_not_wait(void **state)
{
    (void)state;
    const struct engine_options options = options_with(MIB);
    struct shell shell = start_run(&options, ROUNDS);
    struct telling telling = tell(1);
    accounting_tick(telling.accounting, shell.engine);
    telling_free(&telling); /* the sanitizer finds what is left */
    finish(&shell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_effect_hangs_on_them),
        cmocka_unit_test(pools_are_drawn_alike),
        cmocka_unit_test(every_slot_of_the_arm_is_followed),
        cmocka_unit_test(memory_bounds_them),
        cmocka_unit_test(a_rival_asks_at_every_slot_and_nothing_twice),
        cmocka_unit_test(a_rival_asks_where_a_tick_has_one_slot),
        cmocka_unit_test(a_worse_rule_needs_more_labels),
        cmocka_unit_test(the_equation_is_solved),
        cmocka_unit_test(uniform_pairs_save_little),
        cmocka_unit_test(pairs_of_twice_the_length_save_three_of_four),
        cmocka_unit_test(careless_answers_count_for_less),
        cmocka_unit_test(the_gap_is_a_bracket),
        cmocka_unit_test(arms_are_compared_on_their_first_labels),
        cmocka_unit_test(control_labels_must_support_it),
        cmocka_unit_test(it_stops_when_told_to),
        cmocka_unit_test(labels_come_with_their_arms),
        cmocka_unit_test(groups_of_features_are_told_in_a_scale_with_one_lambda),
        cmocka_unit_test(a_change_of_mind_takes_its_support),
        cmocka_unit_test(what_stands_in_the_way_is_said),
        cmocka_unit_test(a_restart_begins_the_shadows_anew),
        cmocka_unit_test(a_report_is_told_when_asked_for),
        cmocka_unit_test(a_gap_without_bounds_is_told_as_null),
        cmocka_unit_test(what_is_not_supported_is_not_told),
        cmocka_unit_test(waiting_ends_with_the_next_report),
        cmocka_unit_test(its_end_does_not_wait),
    };
    sel_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
