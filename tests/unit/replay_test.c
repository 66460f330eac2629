/* Rules over recorded history: what is read, who answers, what is estimated. */
#include "worker/command.h"
#include "worker/replay/compare.h"
#include "worker/replay/passage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>

enum { D = 3, PROMPTS = 60, COMPLETIONS = 6 };

static char folder[64];

static void check(bool done, const struct error *error)
{
    if (!done)
        fail_msg("%s", error->message);
}

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", folder, name);
    return paths[next];
}

static void write_file(const char *name, const char *text, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_true(size == 0 || fwrite(text, size, 1, file) == 1);
    assert_int_equal(fclose(file), 0);
}

/* ---- a world in files ---- */

static double normal_of(struct sel_random *random)
{
    return sel_random_normal(random);
}

static void write_npy(const char *name, size_t rows, const float *values)
{
    char bytes[128 + PROMPTS * COMPLETIONS * D * sizeof(float)] = "\x93NUMPY\x01";
    char *header = bytes + 10;
    memset(header, ' ', 118);
    bytes[8] = 118;
    int used = snprintf(header, 118,
                        "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %d), }", rows, D);
    header[used] = ' ';
    header[117] = '\n';
    memcpy(bytes + 128, values, rows * D * sizeof *values);
    write_file(name, bytes, 128 + rows * D * sizeof *values);
}

static float features[PROMPTS * COMPLETIONS * D];

static double margin_of(size_t left, size_t right)
{
    static const double PSI[D] = {1, -.5, .25};
    double sum = 0;
    for (size_t k = 0; k < D; k++)
        sum += PSI[k] * (double)(features[left * D + k] - features[right * D + k]);
    return sum;
}

/* Every pair of the first `labelled` prompts has a label: left where it is better; the later id
 * stands left in every second one. */
static void write_world(size_t labelled, const char *more)
{
    struct sel_random random = sel_random_init(3, 1);
    struct buffer lines = {.maximum = 1 << 24}, labels = {.maximum = 1 << 24};
    char text[512];
    for (size_t k = 0; k < PROMPTS * COMPLETIONS * D; k++)
        features[k] = (float)normal_of(&random);
    for (size_t row = 0; row < PROMPTS * COMPLETIONS; row++) {
        int size =
            snprintf(text, sizeof text, "{\"prompt_id\": \"p%zu\", \"completion_id\": \"c%zu\"}\n",
                     row / COMPLETIONS, row);
        assert_true(buffer_append(&lines, text, (size_t)size));
    }
    for (size_t prompt = 0, number = 0; prompt < labelled; prompt++) {
        for (size_t i = 0; i < COMPLETIONS; i++) {
            for (size_t j = i + 1; j < COMPLETIONS; j++, number++) {
                size_t a = prompt * COMPLETIONS + i, b = prompt * COMPLETIONS + j;
                size_t left = number % 2 == 0 ? a : b, right = left == a ? b : a;
                int size = snprintf(text, sizeof text,
                                    "{\"prompt_id\": \"p%zu\", \"left_id\": \"c%zu\", "
                                    "\"right_id\": \"c%zu\", \"outcome\": \"%s\"%s}\n",
                                    prompt, left, right,
                                    margin_of(left, right) > 0 ? "left" : "right", more);
                assert_true(buffer_append(&labels, text, (size_t)size));
            }
        }
    }
    write_file("c.jsonl", lines.data, lines.size);
    write_file("l.jsonl", labels.data, labels.size);
    write_npy("f.npy", PROMPTS * COMPLETIONS, features);
    buffer_free(&lines);
    buffer_free(&labels);
}

static struct options *load_options(const char *const *more)
{
    const char *sets[16] = {
        "policy.beta=0.5",    "budget.per_second=20",
        "budget.burst=20",    "schemas.directory=" TEST_SOURCE_DIRECTORY "/schemas",
        "pool.size=6",        "pool.max=6",
        "moments.interval=1s"};
    struct error error;
    for (size_t k = 0; more != NULL && more[k] != NULL; k++)
        sets[7 + k] = more[k];
    const struct options_input input = {.no_default_file = true, .sets = sets};
    struct options *options = options_new();
    check(options_load(options, &input, &error), &error);
    return options;
}

struct scene {
    struct options *options;
    struct past past;
    struct recorded recorded;
    struct common common;
};

static struct scene read_world_from(const char *const *sets, int64_t from)
{
    struct scene scene = {.options = load_options(sets)};
    struct error error = {ERROR_NONE, ""};
    char completions[128], rows[128], labels[128];
    snprintf(completions, sizeof completions, "%s", path_of("c.jsonl"));
    snprintf(rows, sizeof rows, "%s", path_of("f.npy"));
    snprintf(labels, sizeof labels, "%s", path_of("l.jsonl"));
    const struct past_files files = {
        .completions = completions, .features = rows, .labels = labels, .rate = 50};
    check(past_read_files(&scene.past, scene.options, &files, &error), &error);
    scene.past.from = from;
    check(recorded_read(&scene.recorded, &scene.past, scene.options, &error), &error);
    check(common_fit(&scene.common, &scene.recorded, &scene.past, scene.options, &error), &error);
    return scene;
}

static struct scene read_world(const char *const *sets)
{
    return read_world_from(sets, INT64_MIN);
}

static void forget(struct scene *scene)
{
    common_fini(&scene->common);
    recorded_fini(&scene->recorded);
    past_fini(&scene->past);
    options_free(scene->options);
}

static struct trial run(const struct scene *scene, enum oracle oracle)
{
    struct error error = {ERROR_NONE, ""};
    struct trial trial;
    const struct trial_plan plan = {.past = &scene->past,
                                    .options = scene->options,
                                    .recorded = &scene->recorded,
                                    .common = &scene->common,
                                    .oracle = oracle,
                                    .scores = true};
    check(trial_run(&plan, &trial, &error), &error);
    assert_true(trial.count > 50);
    return trial;
}

/* Row of a completion, by its id "cROW" in the texts of an asked pair. */
static size_t row_of(const struct trial *trial, const struct asked *asked, int side)
{
    size_t at = asked->text;
    for (int k = 0; k < side; k++)
        at += asked->sizes[k];
    return strtoul(trial->texts.data + at + 1, NULL, 10);
}

/* ---- the spool ---- */

static void a_spool_gives_records_in_their_order(void **state)
{
    (void)state;
    static const struct {
        int64_t time, order, offset;
        int32_t partition;
        const char *value;
    } given[] = {{5, 0, 1, 1, "f"},  {3, 0, 9, 0, "c"},   {3, 1, 1, 0, "e"},
                 {3, 0, 2, 1, "dd"}, {3, 0, 8, 0, "bbb"}, {1, 0, 4, 2, ""}};
    static const char *const wanted[] = {"", "bbb", "c", "dd", "e", "f"};
    struct error error;
    struct spool *spool = spool_new(&error);
    check(spool != NULL, &error);
    for (size_t k = 0; k < 6; k++) {
        const struct spool_record record = {.time = given[k].time,
                                            .order = given[k].order,
                                            .partition = given[k].partition,
                                            .offset = given[k].offset,
                                            .value = span_of(given[k].value)};
        check(spool_add(spool, &record, &error), &error);
    }
    check(spool_seal(spool, &error), &error);
    assert_int_equal(spool_count(spool), 6);
    for (size_t k = 0; k < 6; k++)
        assert_true(span_equal(spool_at(spool, k).value, span_of(wanted[k])));
    assert_int_equal(spool_at(spool, 1).offset, 8);
    assert_int_equal(spool_at(spool, 3).partition, 1);
    spool_free(spool);
}

/* ---- who answers ---- */

static void recorded_labels_answer_whichever_side_stands_left(void **state)
{
    (void)state;
    write_world(PROMPTS, "");
    struct scene scene = read_world(NULL);
    assert_int_equal(scene.recorded.count, PROMPTS * COMPLETIONS * (COMPLETIONS - 1) / 2);
    assert_int_equal(scene.recorded.informative, scene.recorded.count);
    struct trial trial = run(&scene, ORACLE_FITTED);
    for (size_t k = 0; k < trial.count; k++) {
        const struct asked *asked = &trial.asked[k];
        size_t left = row_of(&trial, asked, 1), right = row_of(&trial, asked, 2);
        assert_int_equal(asked->answered, ANSWERED_BY_RECORD);
        assert_true(asked->probability == (margin_of(left, right) > 0 ? 1 : 0));
        for (size_t axis = 0; axis < D; axis++)
            assert_true(fabs((double)trial.x[k * D + axis] -
                             scene.common.scale * ((double)features[left * D + axis] -
                                                   (double)features[right * D + axis])) < 1e-5);
    }
    struct overlap overlap;
    struct error error;
    check(compare_overlap(&trial, &scene.recorded, &overlap, &error), &error);
    assert_int_equal(overlap.both, trial.count);
    assert_int_equal(overlap.either, scene.recorded.count);
    trial_free(&trial);
    forget(&scene);
}

/* Pairs of the first prompts with two labels each, by the annotators that are given. */
static void write_two_answers(const char *first, const char *second)
{
    struct buffer labels = {.maximum = 1 << 24};
    char text[512];
    write_world(0, "");
    for (size_t prompt = 0, number = 0; prompt < PROMPTS; prompt++) {
        for (size_t i = 0; i < COMPLETIONS; i++) {
            for (size_t j = i + 1; j < COMPLETIONS; j++, number++) {
                size_t left = prompt * COMPLETIONS + i, right = prompt * COMPLETIONS + j;
                for (int k = 0; k < 2; k++) {
                    /* The second annotator flips a coin. */
                    bool won = k == 0 ? margin_of(left, right) > 0 : number % 2 == 0;
                    int size = snprintf(text, sizeof text,
                                        "{\"prompt_id\": \"p%zu\", \"left_id\": \"c%zu\", "
                                        "\"right_id\": \"c%zu\", \"outcome\": \"%s\", "
                                        "\"label_id\": \"%zu-%d\", \"annotator_id\": \"%s\"}\n",
                                        prompt, left, right, won ? "left" : "right", number, k,
                                        k == 0 ? first : second);
                    assert_true(buffer_append(&labels, text, (size_t)size));
                }
            }
        }
    }
    write_file("l.jsonl", labels.data, labels.size);
    buffer_free(&labels);
}

static const char *const TWICE[] = {"labels.replicas=2", "labels.replicate=all", NULL};

static size_t count_answers(const struct trial *trial, enum answered who)
{
    size_t count = 0;
    for (size_t k = 0; k < trial->count; k++)
        count += trial->asked[k].answered == who;
    return count;
}

static void recorded_labels_bring_their_annotators(void **state)
{
    (void)state;
    write_two_answers("careful", "careless");
    struct scene scene = read_world(TWICE);
    struct trial two = run(&scene, ORACLE_FITTED);
    assert_int_equal(count_answers(&two, ANSWERED_BY_RECORD), two.count);
    forget(&scene);
    /* Without names a rule's own fit cannot tell them apart, and asks other pairs. */
    write_two_answers("", "");
    scene = read_world(TWICE);
    struct trial nameless = run(&scene, ORACLE_FITTED);
    assert_int_equal(count_answers(&nameless, ANSWERED_BY_RECORD), nameless.count);
    size_t same = 0;
    for (size_t k = 0; k < two.count && k < nameless.count; k++)
        same += identity_equal(two.asked[k].pair, nameless.asked[k].pair);
    assert_true(same < two.count * 3 / 4);
    forget(&scene);
    /* Nobody is asked twice: the engine would refuse the answer. */
    write_two_answers("both", "both");
    scene = read_world(TWICE);
    struct trial one = run(&scene, ORACLE_FITTED);
    size_t recorded = count_answers(&one, ANSWERED_BY_RECORD);
    assert_int_equal(one.refused, 0);
    assert_true(recorded >= one.count / 2 && recorded <= one.count / 2 + 20);
    forget(&scene);
    trial_free(&two);
    trial_free(&nameless);
    trial_free(&one);
}

static void the_oracle_answers_the_rest_and_none_leaves_it(void **state)
{
    (void)state;
    write_world(20, "");
    struct scene scene = read_world(NULL);
    struct trial fitted = run(&scene, ORACLE_FITTED), none = run(&scene, ORACLE_NONE);
    size_t agree = 0, asked_oracle = 0;
    for (size_t k = 0; k < fitted.count; k++) {
        const struct asked *asked = &fitted.asked[k];
        size_t left = row_of(&fitted, asked, 1), right = row_of(&fitted, asked, 2);
        assert_int_equal(asked->answered,
                         left / COMPLETIONS < 20 ? ANSWERED_BY_RECORD : ANSWERED_BY_ORACLE);
        assert_true(asked->answered_at > asked->time);
        if (asked->answered != ANSWERED_BY_ORACLE)
            continue;
        asked_oracle++;
        agree += (asked->probability > .5) == (margin_of(left, right) > 0);
    }
    assert_true(asked_oracle > 20 && agree > asked_oracle * 6 / 10);
    for (size_t k = 0; k < none.count; k++) {
        if (row_of(&none, &none.asked[k], 1) / COMPLETIONS < 20)
            continue;
        assert_int_equal(none.asked[k].answered, ANSWERED_NOT);
        assert_true(isnan(none.asked[k].probability) && none.asked[k].answered_at == -1);
    }
    trial_free(&fitted);
    trial_free(&none);
    forget(&scene);
}

static void the_same_past_and_seed_ask_the_same(void **state)
{
    (void)state;
    write_world(10, "");
    struct scene scene = read_world(NULL);
    struct trial first = run(&scene, ORACLE_FITTED), second = run(&scene, ORACLE_FITTED);
    assert_int_equal(first.count, second.count);
    assert_memory_equal(first.asked, second.asked, first.count * sizeof *first.asked);
    assert_memory_equal(first.x, second.x, first.count * D * sizeof *first.x);
    assert_memory_equal(first.texts.data, second.texts.data, first.texts.size);
    struct buffer bytes = {.maximum = 1 << 24};
    struct trial back;
    size_t size;
    assert_true(trial_encode(&first, &bytes));
    assert_true(trial_decode(&back, (struct span){bytes.data, bytes.size}, &size));
    assert_int_equal(size, bytes.size);
    assert_memory_equal(first.asked, back.asked, first.count * sizeof *first.asked);
    trial_free(&back);
    assert_false(trial_decode(&back, (struct span){bytes.data, bytes.size - 1}, &size));
    trial_free(&back);
    buffer_free(&bytes);
    trial_free(&first);
    trial_free(&second);
    forget(&scene);
}

/* Every pair of the first 30 prompts was labelled before the range. */
static void what_was_labelled_before_the_range_is_known_to_all(void **state)
{
    enum { KNOWN = 30 * COMPLETIONS * (COMPLETIONS - 1) / 2 };
    const double policy[D * D] = {2, 0, 0, 0, 1, 0, 0, 0, .5};
    (void)state;
    write_world(30, ", \"labelled_at\": 999999000000");
    struct scene scene = read_world_from(NULL, 1000000000000);
    struct trial trial = run(&scene, ORACLE_FITTED);
    for (size_t k = 0; k < trial.count; k++) {
        assert_true(row_of(&trial, &trial.asked[k], 1) / COMPLETIONS >= 30);
        assert_int_equal(trial.asked[k].answered, ANSWERED_BY_ORACLE);
    }
    struct design before, asked;
    struct error error;
    check(design_of_past(&before, &scene.recorded, &scene.common, policy, &error), &error);
    check(design_of_trial(&asked, &trial, &scene.recorded, &scene.common, policy, &error), &error);
    assert_int_equal(scene.recorded.count, KNOWN);
    assert_int_equal(scene.recorded.asked, 0);
    assert_int_equal(before.labels, 0);
    assert_int_equal(asked.labels, trial.count);
    assert_true(design_trace(&before, 0) < .9 * 3.5 / scene.common.lambda);
    assert_true(fabs(design_trace(&before, 0) / design_trace(&asked, 0) - 1) < 1e-12);
    design_fini(&before);
    design_fini(&asked);
    trial_free(&trial);
    forget(&scene);
}

/* ---- designs ---- */

static void a_curve_is_the_trace_of_its_first_labels(void **state)
{
    (void)state;
    write_world(PROMPTS, "");
    struct scene scene = read_world(NULL);
    const double policy[D * D] = {2, 0, 0, 0, 1, 0, 0, 0, .5};
    struct design design;
    struct error error;
    check(design_of_past(&design, &scene.recorded, &scene.common, policy, &error), &error);
    assert_int_equal(design.labels, scene.recorded.count);
    assert_true(fabs(design_trace(&design, 0) - 3.5 / scene.common.lambda) < 1e-9);
    struct sel_information *information = sel_information_new(D);
    const double lambda[D] = {scene.common.lambda, scene.common.lambda, scene.common.lambda};
    assert_int_equal(sel_information_reset(information, lambda), SEL_OK);
    assert_int_equal(
        sel_information_accumulate(information, design.x, design.weight, design.labels), SEL_OK);
    assert_int_equal(sel_information_factor(information), SEL_OK);
    double last = sel_information_trace(information, policy);
    assert_true(fabs(design_trace(&design, (double)design.labels) / last - 1) < 1e-9);
    assert_true(fabs(design_labels(&design, last) - (double)design.labels) < 1e-6);
    assert_true(isnan(design_labels(&design, last / 2)));
    for (double labels = 50; labels < 900; labels += 13.5) {
        double trace = design_trace(&design, labels);
        double back = design_labels(&design, trace);
        assert_true(back <= labels + 1e-3 && fabs(design_trace(&design, back) / trace - 1) < 1e-9);
    }
    assert_true(fabs(design_late(&design, &design) - 1) < 1e-12);
    sel_information_free(information);
    design_fini(&design);
    forget(&scene);
}

/* ---- estimates ---- */

static void an_estimate_has_its_closed_form(void **state)
{
    (void)state;
    const double weight[] = {1, 2, 1, 0}, value[] = {0, 1, 1, 100};
    struct estimate estimate = off_policy_estimate(weight, value, 4);
    assert_true(fabs(estimate.value - .75) < 1e-15);
    assert_true(fabs(estimate.effective - 16. / 6) < 1e-15);
    assert_int_equal(estimate.count, 3);
    /* (1 x .75)^2 + (2 x .25)^2 + (1 x .25)^2 = .875, over 4^2 */
    double half = 1.959963984540054 * sqrt(.875) / 4;
    assert_true(fabs(estimate.high - (.75 + half)) < 1e-14);
    assert_true(fabs(estimate.low - (.75 - half)) < 1e-14);
    estimate = off_policy_estimate(weight + 3, value + 3, 1);
    assert_true(isnan(estimate.value) && estimate.count == 0);
}

struct sums {
    struct passage *passage;
    size_t looks;
};

/* The chances of all pairs that could be asked add up to 1. */
static bool add_up(void *closure, int64_t now, struct error *error)
{
    struct sums *sums = closure;
    double uniform = 0, propensity = 0;
    (void)now;
    for (size_t a = 0; a < PROMPTS * COMPLETIONS && sums->looks < 3; a++) {
        for (size_t b = a + 1; b / COMPLETIONS == a / COMPLETIONS; b++) {
            char prompt[16], left[16], right[16];
            struct engine_chance chance;
            snprintf(prompt, sizeof prompt, "p%zu", a / COMPLETIONS);
            snprintf(left, sizeof left, "c%zu", b);
            snprintf(right, sizeof right, "c%zu", a);
            if (!engine_chance(sums->passage->engine, span_of(prompt), span_of(left),
                               span_of(right), &chance, error))
                return false;
            uniform += chance.uniform;
            propensity += chance.propensity;
        }
    }
    if (uniform == 0)
        return true; /* no pool yet */
    sums->looks++;
    assert_true(fabs(uniform - 1) < 1e-9);
    assert_true(fabs(propensity - 1) < 1e-9);
    return true;
}

static void chances_of_all_pairs_add_up_to_one(void **state)
{
    (void)state;
    static const char *const DRAWS[][4] = {{"selection.draw=softmax", "labels.probes=0", NULL},
                                           {"selection.epsilon=0.3", "control.share=0.2", NULL},
                                           {"selection.rule=uniform", NULL}};
    write_world(PROMPTS, "");
    for (size_t k = 0; k < 3; k++) {
        struct scene scene = read_world(DRAWS[k]);
        struct engine_options engine;
        struct passage passage;
        struct sums sums = {.passage = &passage};
        struct error error = {ERROR_NONE, ""};
        const struct passage_visitor visitor = {.closure = &sums, .give = add_up};
        check(passage_options(&scene.past, scene.options, &engine, &error), &error);
        engine.observes = true;
        check(passage_begin(&passage, &scene.past, scene.options, &engine, false, &error), &error);
        check(passage_go(&passage, &visitor, &error), &error);
        assert_int_equal(sums.looks, 3);
        assert_int_equal(engine_stats(passage.engine)->requests, 0);
        passage_fini(&passage);
        forget(&scene);
    }
}

/* Labels whose propensities make a uniform design of one that preferred the first prompts. */
static void weights_undo_how_the_pairs_were_asked(void **state)
{
    (void)state;
    write_world(PROMPTS, ", \"propensity\": 0.5");
    struct scene scene = read_world(NULL);
    struct off_policy found;
    struct error error = {ERROR_NONE, ""};
    assert_int_equal(scene.past.requests, scene.recorded.count);
    const struct off_policy_target target = {
        .uniform = true, .options = scene.options, .recorded = scene.options};
    check(off_policy_run(&scene.past, &target, &scene.recorded, &scene.common, &found, &error),
          &error);
    assert_true(found.known);
    assert_int_equal(found.requests, scene.recorded.count);
    /* All pools were open when all was asked, one pair after the other: the k-th had 1 / left. */
    const struct estimate *loss = &found.estimates[MEASURE_LOG_LOSS];
    assert_int_equal(loss->count, scene.recorded.count);
    assert_true(found.support < .05); /* 0.5 was no honest propensity */
    assert_true(loss->value > 0 && loss->value < .7 && loss->low < loss->value);
    assert_true(found.estimates[MEASURE_TIES].value == 0);
    assert_true(found.estimates[MEASURE_AGREEMENT].value > .9);
    forget(&scene);
}

/* ---- files that are wrong ---- */

#define LINE(id, values)                                                                           \
    "{\"prompt_id\": \"p\", \"completion_id\": \"" id "\", \"features\": " values "}\n"
#define LABEL(left, right, more)                                                                   \
    "{\"prompt_id\": \"p\", \"left_id\": \"" left "\", \"right_id\": \"" right                     \
    "\", \"outcome\": \"left\"" more "}\n"

#define TIMED(id, time)                                                                            \
    "{\"prompt_id\": \"p\", \"completion_id\": \"" id                                              \
    "\", \"features\": [1, 2], \"created_at\": " time "}\n"

static void bad_files_are_named_with_their_line(void **state)
{
    (void)state;
    static const char *const SCALE[] = {"features.scale=1", NULL};
    static const char GOOD[] = LINE("a", "[1, 2]") LINE("b", "[2, 1]");
    static const struct {
        const char *completions, *labels, *error;
    } cases[] = {
        {"", NULL, "c.jsonl holds no completions of that range"},
        {LINE("a", "[1, 2]") "{\"prompt_id\": \"p\"}\n", NULL,
         "c.jsonl:2: completion_id: is missing"},
        {LINE("a", "[1, 2]") "[]\n", NULL, "c.jsonl:2: not a JSON object"},
        {LINE("a",
              "[1, 2]") "{\"prompt_id\": \"p\", \"completion_id\": \"b\", \"features\": [1]}\n",
         NULL, "c.jsonl:2: features: 1 values, the first line has 2"},
        {LINE("a",
              "[1, 2]") "{\"prompt_id\": \"p\", \"completion_id\": \"b\", \"features\": [1, 3], "
                        "\"created_at\": 5}\n",
         NULL, "c.jsonl:2: created_at: is given, unlike the first line"},
        {TIMED("a", "1795851000000") TIMED("b", "9223372036854775807"), NULL,
         "c.jsonl:2: created_at: 9223372036854775807 is not within 946684800000 to 4102444799999"},
        {TIMED("a", "4102444800000"), NULL, "c.jsonl:1: created_at: 4102444800000 is not within"},
        {TIMED("a", "-1795851000000"), NULL, "c.jsonl:1: created_at: -1795851000000 is not within"},
        {TIMED("a", "1795851000"), NULL, "it seems to be in seconds"},
        {TIMED("a", "1795851000000000"), NULL, "it seems to be in microseconds"},
        {TIMED("a", "1795851000000000000"), NULL, "it seems to be in nanoseconds"},
        {GOOD, LABEL("a", "b", ", \"labelled_at\": 1795851"),
         "l.jsonl:1: labelled_at: 1795851 is not within"},
        {GOOD, LABEL("a", "z", ""),
         "l.jsonl:1: right_id: 'z' of the prompt 'p' is not among the completions"},
        {GOOD, "\n" LABEL("a", "b", ", \"propensity\": 2"),
         "l.jsonl:2: propensity: is not a number in (0, 1]"},
        {GOOD, LABEL("a", "b", ", \"propensty\": 1"),
         "l.jsonl:1: propensty: a line of history has no such field"},
        {GOOD, LABEL("a", "b", ", \"arm\": \"odd\""), "l.jsonl:1: arm: 'odd' is none of"},
        {GOOD, LABEL("a", "b", ", \"issued_at\": 9, \"labelled_at\": 5"),
         "l.jsonl:1: issued_at: lies behind labelled_at"},
        {GOOD, LABEL("a", "b", ", \"features_left\": [1], \"features_right\": [2]"),
         "l.jsonl:1: features_left: 1 values, the completions have 2"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct options *options = load_options(SCALE);
        struct past past = {0};
        struct error error = {ERROR_NONE, ""};
        char completions[128], labels[128];
        write_file("c.jsonl", cases[k].completions, strlen(cases[k].completions));
        if (cases[k].labels != NULL)
            write_file("l.jsonl", cases[k].labels, strlen(cases[k].labels));
        snprintf(completions, sizeof completions, "%s", path_of("c.jsonl"));
        snprintf(labels, sizeof labels, "%s", path_of("l.jsonl"));
        const struct past_files files = {.completions = completions,
                                         .labels = cases[k].labels == NULL ? NULL : labels,
                                         .rate = 1};
        bool done = past_read_files(&past, options, &files, &error);
        if (done || strstr(error.message, cases[k].error) == NULL)
            fail_msg("case %zu: '%s' is not in '%s'", k, cases[k].error, error.message);
        past_fini(&past);
        options_free(options);
    }
}

/* ---- the command ---- */

/* Runs `infopair` in a child process, its standard output into a file; the exit code. */
static int run_command(char **argv, const char *out)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (freopen(path_of(out), "wb", stdout) == NULL ||
            freopen(path_of("errors"), "wb", stderr) == NULL)
            _exit(99);
        int code = command_main(argc, argv);
        fflush(NULL);
        _exit(code);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *read_file(const char *name)
{
    static char texts[8][1 << 17];
    static int next;
    FILE *file = fopen(path_of(name), "rb");
    assert_non_null(file);
    next = (next + 1) % 8;
    size_t size = fread(texts[next], 1, sizeof texts[next] - 1, file);
    texts[next][size] = '\0';
    fclose(file);
    return texts[next];
}

#define WORD(text) (char *)(uintptr_t)(text)

static int replay_world(const char *jobs, const char *rules, const char *out)
{
    char completions[128], rows[128], labels[128], asked[128];
    snprintf(completions, sizeof completions, "--completions=%s", path_of("c.jsonl"));
    snprintf(rows, sizeof rows, "--features=%s", path_of("f.npy"));
    snprintf(labels, sizeof labels, "--labels=%s", path_of("l.jsonl"));
    snprintf(asked, sizeof asked, "--asked=%s.asked", path_of(out));
    char *argv[] = {WORD("infopair"),
                    WORD("replay"),
                    completions,
                    rows,
                    labels,
                    asked,
                    WORD("--rate=50"),
                    WORD("--json"),
                    WORD("--seeds=2"),
                    WORD("--set=policy.beta=0.5"),
                    WORD("--set=budget.per_second=20"),
                    WORD("--set=pool.size=6"),
                    WORD("--set=moments.interval=1s"),
                    WORD("--set=schemas.directory=" TEST_SOURCE_DIRECTORY "/schemas"),
                    WORD(jobs),
                    WORD(rules),
                    NULL};
    return run_command(argv, out);
}

static void the_report_has_the_same_bytes_however_many_jobs(void **state)
{
    (void)state;
    write_world(30, ", \"propensity\": 0.001");
    const char *rules = "--rules=policy_trace;dopt;policy_trace,selection.epsilon=0.2";
    assert_int_equal(replay_world("--jobs=1", rules, "one"), 0);
    assert_int_equal(replay_world("--jobs=2", rules, "two"), 0);
    const char *one = read_file("one");
    assert_string_equal(one, read_file("two"));
    assert_string_equal(read_file("one.asked"), read_file("two.asked"));
    for (const char *const *part =
             (const char *const[]){"\"rule\":\"recorded\"", "\"rule\":\"policy_trace\"",
                                   "\"rule\":\"uniform\"", "\"estimate\":\"log_loss\"",
                                   "the rule does not draw",
                                   "\"labels_to_uniform\":", "\"seeds\":2", "\"gap_se\":0.", NULL};
         *part != NULL; part++) {
        if (strstr(one, *part) == NULL)
            fail_msg("'%s' is not in %s", *part, one);
    }
    assert_non_null(strstr(read_file("one.asked"), "\"answered_by\":\"record\""));
    assert_non_null(strstr(read_file("one.asked"), "\"selector\":\"policy_trace\""));
}

/* One rule with one more option; the file for what would have been asked is `asked`. */
static int replay_more(const char *asked, const char *more)
{
    char completions[128], rows[128], labels[128], out[128];
    snprintf(completions, sizeof completions, "--completions=%s", path_of("c.jsonl"));
    snprintf(rows, sizeof rows, "--features=%s", path_of("f.npy"));
    snprintf(labels, sizeof labels, "--labels=%s", path_of("l.jsonl"));
    snprintf(out, sizeof out, "--asked=%s", path_of(asked));
    char *argv[] = {WORD("infopair"),
                    WORD("replay"),
                    completions,
                    rows,
                    labels,
                    out,
                    WORD("--rules=uniform"),
                    WORD("--set=policy.beta=0.5"),
                    WORD("--set=budget.per_second=20"),
                    WORD("--set=pool.size=6"),
                    WORD("--set=schemas.directory=" TEST_SOURCE_DIRECTORY "/schemas"),
                    WORD(more),
                    NULL};
    return run_command(argv, "out");
}

static void the_file_for_asked_pairs_is_opened_before_anything_runs(void **state)
{
    (void)state;
    write_world(2, "");
    char *labels = read_file("l.jsonl");
    assert_int_equal(replay_more("none/asked", "--seeds=1"), 2);
    assert_non_null(strstr(read_file("errors"), "--asked: "));
    assert_null(strstr(read_file("errors"), " completions in "));
    assert_int_equal(replay_more("l.jsonl", "--seeds=1"), 2);
    assert_non_null(strstr(read_file("errors"), "l.jsonl is the file of --labels"));
    assert_string_equal(read_file("l.jsonl"), labels);
    /* What it held stays when nothing comes of the run. */
    write_file("out.asked", "before", 6);
    assert_int_equal(replay_more("out.asked", "--oracle=none.npy"), 2);
    assert_non_null(strstr(read_file("errors"), "--oracle: none.npy"));
    assert_string_equal(read_file("out.asked"), "before");
}

static bool count_tick(void *closure, int64_t now, struct error *error)
{
    (void)now;
    (void)error;
    ++*(int64_t *)closure;
    return *(int64_t *)closure < 100000; /* no end in sight */
}

/* A century without a record takes some hundred ticks. */
static void years_without_a_record_are_passed_over(void **state)
{
    (void)state;
    static const char *const SCALE[] = {"features.scale=1", NULL};
    static const char LINES[] = TIMED("a", "946684800000") TIMED("b", "4102444799999");
    struct options *options = load_options(SCALE);
    struct past past = {0};
    struct error error = {ERROR_NONE, ""};
    struct engine_options engine;
    struct passage passage;
    int64_t ticks = 0;
    const struct passage_visitor visitor = {.closure = &ticks, .give = count_tick};
    char completions[128];
    write_file("c.jsonl", LINES, strlen(LINES));
    snprintf(completions, sizeof completions, "%s", path_of("c.jsonl"));
    const struct past_files files = {.completions = completions, .rate = 1};
    check(past_read_files(&past, options, &files, &error), &error);
    check(passage_options(&past, options, &engine, &error), &error);
    engine.observes = true;
    check(passage_begin(&passage, &past, options, &engine, false, &error), &error);
    check(passage_go(&passage, &visitor, &error), &error);
    assert_in_range(ticks, 100, 3000);
    passage_fini(&passage);
    past_fini(&past);
    options_free(options);
}

static void what_is_wrong_ends_with_code_2(void **state)
{
    (void)state;
    write_world(2, "");
    assert_int_equal(replay_world("--jobs=1", "--rules=policy_trase", "out"), 2);
    assert_non_null(strstr(read_file("errors"), "policy_trace"));
    write_file("l.jsonl", "{}\n", 3);
    assert_int_equal(replay_world("--jobs=1", "--rules=uniform", "out"), 2);
    assert_non_null(strstr(read_file("errors"), "l.jsonl:1: "));
    static char line[1 << 17];
    int size = snprintf(line, sizeof line,
                        "\n{\"prompt_id\": \"p0\", \"left_id\": \"c0\", \"right_id\": \"c1\", "
                        "\"outcome\": \"left\", \"annotator_id\": \"%070000d\"}\n",
                        0);
    write_file("l.jsonl", line, (size_t)size);
    assert_int_equal(replay_world("--jobs=1", "--rules=uniform", "out"), 2);
    assert_non_null(strstr(read_file("errors"), "l.jsonl:2: body.Labelled.annotator_id: "));
    write_file("l.jsonl", "", 0);
    assert_int_equal(replay_world("--jobs=1", "--rules=uniform", "out"), 2);
    assert_non_null(strstr(read_file("errors"), "there is no recorded label to fit"));
    write_npy("f.npy", PROMPTS, features);
    assert_int_equal(replay_world("--jobs=1", "--rules=uniform", "out"), 2);
    assert_non_null(strstr(read_file("errors"), "c.jsonl:61: only 60 rows of features"));
}

static int make_folder(void **state)
{
    (void)state;
    sel_init();
    snprintf(folder, sizeof folder, "/tmp/infopair-replay-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    static const char *const NAMES[] = {"c.jsonl", "l.jsonl",   "f.npy",     "one", "two",
                                        "errors",  "one.asked", "two.asked", "out", "out.asked"};
    (void)state;
    for (size_t k = 0; k < sizeof NAMES / sizeof *NAMES; k++)
        remove(path_of(NAMES[k]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spool_gives_records_in_their_order),
        cmocka_unit_test(recorded_labels_answer_whichever_side_stands_left),
        cmocka_unit_test(recorded_labels_bring_their_annotators),
        cmocka_unit_test(the_oracle_answers_the_rest_and_none_leaves_it),
        cmocka_unit_test(the_same_past_and_seed_ask_the_same),
        cmocka_unit_test(what_was_labelled_before_the_range_is_known_to_all),
        cmocka_unit_test(a_curve_is_the_trace_of_its_first_labels),
        cmocka_unit_test(an_estimate_has_its_closed_form),
        cmocka_unit_test(chances_of_all_pairs_add_up_to_one),
        cmocka_unit_test(weights_undo_how_the_pairs_were_asked),
        cmocka_unit_test(bad_files_are_named_with_their_line),
        cmocka_unit_test(the_report_has_the_same_bytes_however_many_jobs),
        cmocka_unit_test(the_file_for_asked_pairs_is_opened_before_anything_runs),
        cmocka_unit_test(years_without_a_record_are_passed_over),
        cmocka_unit_test(what_is_wrong_ends_with_code_2),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
