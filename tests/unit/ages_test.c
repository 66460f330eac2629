/* Policy versions: their ages, and what these do to labels and to I. */
#include "tests/unit/engine_fixture.h"
#include "worker/engine/internal.h"
#include "worker/engine/requests.h"
#include "worker/engine/versions.h"

/* ---- ages ---- */

static void ages_do_not_depend_on_the_order(void **state)
{
    (void)state;
    enum { NOTES = 200, ORDERS = 20 };
    struct store store;
    struct sel_random random = sel_random_init(3, 3);
    int64_t epochs[NOTES], times[NOTES];
    store_init(&store, 1 << 20);
    for (size_t k = 0; k < NOTES; k++) {
        epochs[k] = (int64_t)sel_random_below(&random, 60) - 20;
        times[k] = (int64_t)sel_random_below(&random, 1000);
    }
    for (size_t order = 0; order < ORDERS; order++) {
        struct versions versions;
        bool changed;
        versions_init(&versions, &store);
        for (size_t k = NOTES - 1; k > 0; k--) {
            size_t other = (size_t)sel_random_below(&random, k + 1);
            int64_t epoch = epochs[k], time = times[k];
            epochs[k] = epochs[other];
            times[k] = times[other];
            epochs[other] = epoch;
            times[other] = time;
        }
        for (size_t k = 0; k < NOTES; k++)
            assert_true(versions_note(&versions, epochs[k], times[k], &changed));
        versions_forget(&versions, 700);
        for (int64_t epoch = -25; epoch < 45; epoch++) {
            bool larger[64] = {false};
            size_t age = 0;
            for (size_t k = 0; k < NOTES; k++) {
                if (epochs[k] > epoch && times[k] >= 700 && !larger[epochs[k] + 20]) {
                    larger[epochs[k] + 20] = true;
                    age++;
                }
            }
            assert_int_equal(versions_age(&versions, epoch), age);
        }
        versions_fini(&versions);
    }
    assert_int_equal(store.used, 0);
    store_fini(&store);
}

static void a_version_is_new_once(void **state)
{
    (void)state;
    struct store store;
    struct versions versions;
    bool changed = false;
    store_init(&store, 1 << 20);
    versions_init(&versions, &store);
    assert_true(versions_note(&versions, 5, 100, &changed) && changed);
    changed = false;
    assert_true(versions_note(&versions, 5, 200, &changed) && !changed);
    assert_true(versions_note(&versions, 5, 50, &changed) && !changed);
    assert_false(versions_forget(&versions, 200)); /* the newest entry holds it */
    assert_true(versions_forget(&versions, 201));
    assert_int_equal(versions_age(&versions, 4), 0);
    versions_fini(&versions);
    store_fini(&store);
}

/* ---- the same entries in other orders ---- */

/* Gives the entries of the cluster their epochs: a request's by its id, a pane's by its end. */
static void change_epoch(struct entry *entry)
{
    struct span id = entry->kind == ENTRY_SELECTED   ? entry->selected.request_id
                     : entry->kind == ENTRY_LABELLED ? entry->labelled.request_id
                                                     : span_of("");
    if (entry->kind == ENTRY_SELECTED)
        entry->selected.policy_epoch = id.data[3] % 7;
    if (entry->kind == ENTRY_LABELLED)
        entry->labelled.policy_epoch = id.data[3] % 7;
    if (entry->kind == ENTRY_MOMENTS)
        entry->moments.policy_epoch = entry->moments.to / POOL % 6;
}

/* Gives all entries; each partition in its order, the partitions in turns of a random length. */
static void give_entries(struct shell *shell, uint64_t seed)
{
    struct cluster *cluster = shell->cluster;
    struct sel_random random = sel_random_init(seed, 9);
    size_t at[LEDGER] = {0}, given = 0;
    struct error error;
    while (given < cluster->entries) {
        int32_t partition = (int32_t)sel_random_below(&random, LEDGER);
        size_t turn = (size_t)sel_random_below(&random, seed == 0 ? 2 : 400);
        for (size_t *k = &at[partition]; *k < cluster->entries && turn > 0; ++*k) {
            if (cluster->ledger[*k].partition != partition)
                continue;
            struct entry entry = entry_at(shell, *k);
            change_epoch(&entry);
            check(
                engine_entry(shell->engine, &entry, partition, cluster->ledger[*k].offset, &error),
                &error);
            given++;
            turn--;
            if (sel_random_below(&random, 50) == 0)
                check(engine_refresh(shell->engine, &error), &error);
        }
    }
    check(engine_refresh(shell->engine, &error), &error);
    assert_int_equal(engine_stats(shell->engine)->entries_refused, 0);
}

struct seen {
    char digest[33];
    double sigma[D * D], policy[D * D];
    int64_t counted;
};

/* Sums over the requests of Sigma are then the same bit for bit, in whatever order they came. */
static void assert_collected_in_order(struct model *model)
{
    assert_true(model_collect(model) && model->member_count > 100);
    for (size_t k = 1; k < model->member_count; k++)
        assert_true(identity_compare(model->members[k - 1]->id, model->members[k]->id) < 0);
    model_members_end(model);
}

static struct seen see(struct cluster *cluster, const struct engine_options *options,
                       uint64_t order)
{
    struct error error;
    struct seen seen = {.counted = 0};
    struct shell shell = {.contracts = load_contracts(), .cluster = cluster};
    const struct request *request;
    shell.engine = engine_new(options, shell.contracts, &error);
    give_entries(&shell, order);
    struct engine_view view = engine_view(shell.engine);
    engine_digest(shell.engine, seen.digest);
    memcpy(seen.sigma, view.sigma, sizeof seen.sigma);
    memcpy(seen.policy, view.policy, sizeof seen.policy);
    for (size_t k = 0; (request = requests_next(engine_requests(shell.engine), &k)) != NULL; k++)
        seen.counted += request->counted;
    assert_collected_in_order(&shell.engine->model);
    stop(&shell);
    return seen;
}

/* Completions come bit by bit, so that there are many panes. */
static struct cluster *run_cluster(void)
{
    struct cluster *cluster = cluster_new();
    struct shell shell = start(cluster, 1000000);
    int64_t labels = 0;
    size_t answered = 0;
    for (int64_t k = 1; k <= 40; k++) {
        size_t entries = cluster->entries;
        give_completions(&shell, 2 * k * POOL);
        turn(&shell, 1100);
        labels = answer_all(&shell, answered, labels);
        answered = entries;
    }
    stop(&shell);
    return cluster;
}

static void assert_near(const double *left, const double *right)
{
    for (size_t k = 0; k < D * D; k++)
        if (!(fabs(left[k] - right[k]) <= 1e-11 * (1 + fabs(left[k]))))
            fail_msg("%.17g, %.17g", left[k], right[k]);
}

static void shared_state_does_not_depend_on_the_order(void **state)
{
    (void)state;
    struct cluster *cluster = run_cluster();
    struct engine_options options[4];
    struct seen plain;
    for (size_t k = 0; k < 4; k++) {
        options[k] = options_of();
        options[k].labels_versions = k % 3 == 1   ? VERSIONS_FORGET
                                     : k % 3 == 2 ? VERSIONS_RESET
                                                  : VERSIONS_KEEP;
        options[k].labels_gamma = .6;
        options[k].moments_fade = k > 0;
        options[k].moments_gamma = .7;
        options[k].policy_window = k == 3 ? 16 * 3000 : 7 * 86400000ll;
    }
    plain = see(cluster, &options[0], 0);
    for (size_t k = 0; k < 4; k++) {
        struct seen first = see(cluster, &options[k], 0);
        assert_true(first.counted > 0);
        for (uint64_t order = 1; order < 8; order++) {
            struct seen other = see(cluster, &options[k], order);
            assert_string_equal(first.digest, other.digest);
            assert_int_equal(first.counted, other.counted);
            assert_near(first.sigma, other.sigma);
            assert_near(first.policy, other.policy);
        }
        bool same_sigma = memcmp(first.sigma, plain.sigma, sizeof plain.sigma) == 0;
        bool same_policy = memcmp(first.policy, plain.policy, sizeof plain.policy) == 0;
        assert_int_equal(same_sigma, options[k].labels_versions == VERSIONS_KEEP);
        assert_int_equal(same_policy, !options[k].moments_fade);
    }
    cluster_free(cluster);
}

/* Four versions in each sixteenth of the window, under psi = 0 and later: 32 more triangles each.
 */
static void fading_moments_are_planned_for(void **state)
{
    (void)state;
    struct engine_options options = options_of();
    size_t kept = engine_fixed_bytes(&options, 10);
    options.moments_fade = true;
    assert_int_equal(engine_fixed_bytes(&options, 10) - kept, 3 * 32 * 55 * sizeof(double));
}

/* ---- the fit ---- */

enum { LABELS_MAX_HERE = 2000 };

/* The informative labels of the ledger that a fit of this time has seen. */
struct labels {
    float x[LABELS_MAX_HERE][D];
    const float *rows[LABELS_MAX_HERE];
    double y[LABELS_MAX_HERE], weight[LABELS_MAX_HERE];
    size_t count;
};

static void find_labels(struct shell *shell, int64_t before, double older, struct labels *labels)
{
    labels->count = 0;
    for (size_t k = 0; k < shell->cluster->entries; k++) {
        const struct entry entry = entry_at(shell, k);
        if (entry.kind != ENTRY_LABELLED || entry.time >= before)
            continue;
        double weight = entry.labelled.policy_epoch == 2 ? 1 : older;
        if (weight == 0)
            continue;
        memcpy(labels->x[labels->count], entry.labelled.x.data, D * sizeof(float));
        labels->rows[labels->count] = labels->x[labels->count];
        labels->y[labels->count] = entry.labelled.probability_left;
        labels->weight[labels->count++] = weight;
    }
}

static struct entry newest_fit(struct shell *shell)
{
    struct entry fit = {0};
    for (size_t k = 0; k < shell->cluster->entries; k++) {
        const struct entry entry = entry_at(shell, k);
        if (entry.kind == ENTRY_FIT)
            fit = entry;
    }
    return fit;
}

/* Once an entry of epoch 2 was read, no pair is asked whose label would not count. */
static void expect_new_pairs_only(struct shell *shell)
{
    int64_t known = INT64_MAX;
    size_t later = 0;
    for (size_t k = 0; k < shell->cluster->entries; k++) {
        const struct entry entry = entry_at(shell, k);
        if (entry.kind == ENTRY_MOMENTS && entry.moments.policy_epoch == 2 && known == INT64_MAX)
            known = entry.time;
        if (entry.kind != ENTRY_SELECTED)
            continue;
        if (entry.selected.policy_epoch == 2 && known == INT64_MAX)
            known = entry.time;
        if (entry.time <= known)
            continue;
        assert_int_equal(entry.selected.policy_epoch, 2);
        later++;
    }
    assert_true(later > 50);
}

/* Labels of epoch 1, then of epoch 2; psi of the last fit is that of the labels with their weights.
 */
static void fit_and_compare(enum label_versions versions, double gamma, double older)
{
    static struct labels labels;
    struct engine_options options = options_of();
    options.labels_versions = versions;
    options.labels_gamma = gamma;
    options.fit_lambda = 1;
    struct shell shell = start_with(cluster_new(), &options, 1000000);
    shell.policy_epoch = 1;
    int64_t answered = run(&shell, 30, 0);
    size_t entries = shell.cluster->entries;
    int64_t fits = engine_view(shell.engine).fit_id;
    shell.policy_epoch = 2;
    give_completions(&shell, PROMPTS * POOL);
    for (int k = 0; k < 30; k++) {
        turn(&shell, 500);
        size_t to = shell.cluster->entries;
        answered = answer_all(&shell, entries, answered);
        entries = to;
    }
    if (versions == VERSIONS_RESET)
        expect_new_pairs_only(&shell);
    struct entry fit = newest_fit(&shell);
    assert_true(fit.fit.fit_id > fits + 1);
    find_labels(&shell, fit.time, older, &labels);
    assert_int_equal(fit.fit.labels, labels.count);

    double psi[D] = {0}, found[D];
    struct sel_preference_options exact = sel_preference_defaults(D);
    struct sel_preference_result result;
    struct sel_preference *preference = sel_preference_new(D);
    exact.lambda = 1;
    assert_int_equal(sel_preference_fit(preference, labels.rows, labels.y, labels.weight,
                                        labels.count, NULL, &exact, psi, &result),
                     SEL_OK);
    memcpy(found, fit.fit.psi.data, sizeof found);
    for (size_t k = 0; k < D; k++)
        assert_true(fabs(psi[k] - found[k]) < 1e-6);
    sel_preference_free(preference);
    finish(&shell);
}

static void a_fit_weighs_labels_by_the_age_of_their_policy(void **state)
{
    (void)state;
    fit_and_compare(VERSIONS_KEEP, 0, 1);
    fit_and_compare(VERSIONS_FORGET, .25, .25);
    fit_and_compare(VERSIONS_RESET, .25, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ages_do_not_depend_on_the_order),
        cmocka_unit_test(a_version_is_new_once),
        cmocka_unit_test(shared_state_does_not_depend_on_the_order),
        cmocka_unit_test(fading_moments_are_planned_for),
        cmocka_unit_test(a_fit_weighs_labels_by_the_age_of_their_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
