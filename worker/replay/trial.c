#include "trial.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "before.h"

enum { TEXTS_MAX = 1 << 30 };

/* An answer on its way: a binary heap by (due, number). */
struct answer {
    int64_t due;
    size_t number; /* of the asked pair */
    enum label_outcome outcome;
    struct id request;
    struct span annotator_id;
};

struct running {
    const struct trial_plan *plan;
    struct trial *trial;
    struct passage passage;
    struct before before;
    struct answer *answers;
    size_t answer_count, answer_capacity;
    uint8_t *used;     /* recorded labels, by place: this one has answered already */
    size_t capacity;   /* of asked */
    int64_t delivered; /* labels */
    /* Of the pair that was published last. */
    char request_id[ID_TEXT_SIZE], selector[64];
    double score;
};

/* ---- the heap ---- */

static bool earlier(const struct answer *left, const struct answer *right)
{
    return left->due != right->due ? left->due < right->due : left->number < right->number;
}

static void swap(struct answer *left, struct answer *right)
{
    struct answer kept = *left;
    *left = *right;
    *right = kept;
}

static bool push(struct running *running, const struct answer *answer, struct error *error)
{
    if (running->answer_count == running->answer_capacity) {
        running->answer_capacity = 2 * running->answer_capacity + 64;
        struct answer *grown =
            reallocarray(running->answers, running->answer_capacity, sizeof *grown);
        if (grown == NULL)
            return error_set(error, ERROR_FATAL, "out of memory for answers");
        running->answers = grown;
    }
    size_t k = running->answer_count++;
    running->answers[k] = *answer;
    for (; k > 0 && earlier(&running->answers[k], &running->answers[(k - 1) / 2]); k = (k - 1) / 2)
        swap(&running->answers[k], &running->answers[(k - 1) / 2]);
    return true;
}

static struct answer pop(struct running *running)
{
    struct answer first = running->answers[0];
    size_t count = --running->answer_count, k = 0;
    running->answers[0] = running->answers[count];
    while (true) {
        size_t least = k;
        for (size_t child = 2 * k + 1; child <= 2 * k + 2 && child < count; child++)
            least = earlier(&running->answers[child], &running->answers[least]) ? child : least;
        if (least == k)
            return first;
        swap(&running->answers[k], &running->answers[least]);
        k = least;
    }
}

/* ---- who answers ---- */

static bool turned(const struct recorded_pair *recorded, struct span left_id)
{
    return !span_equal(recorded->left_id, left_id);
}

static enum label_outcome turn(enum label_outcome outcome)
{
    return outcome == OUTCOME_LEFT    ? OUTCOME_RIGHT
           : outcome == OUTCOME_RIGHT ? OUTCOME_LEFT
                                      : outcome;
}

/* One of the labels that have answered is of the same annotator: nobody is asked twice. */
static bool has_answered(const struct running *running, const struct recorded_pair *found,
                         size_t count, struct span annotator_id)
{
    size_t first = (size_t)(found - running->plan->recorded->pairs);
    for (size_t k = 0; annotator_id.size > 0 && k < count; k++) {
        if ((running->used[first + k] != 0 || found[k].before) &&
            span_equal(found[k].annotator_id, annotator_id))
            return true;
    }
    return false;
}

/* The first recorded label of the pair that has not answered yet. */
static const struct recorded_pair *find_label(struct running *running, struct id pair)
{
    const struct recorded *recorded = running->plan->recorded;
    size_t count;
    const struct recorded_pair *found = recorded_find(recorded, pair, &count);
    for (size_t k = 0; k < count; k++) {
        size_t place = (size_t)(found + k - recorded->pairs);
        if (!found[k].labelled || found[k].before || running->used[place] != 0 ||
            has_answered(running, found, count, found[k].annotator_id))
            continue;
        running->used[place] = 1;
        return found + k;
    }
    return NULL;
}

static int64_t delay_of(const struct recorded_pair *recorded)
{
    return recorded->issued_at >= 0 && recorded->answered_at > recorded->issued_at
               ? recorded->answered_at - recorded->issued_at
               : 0;
}

/* Left's probability as answered. The same answer for a pair, whichever side stands left and
 * whoever asks. */
static double ask_oracle(const struct running *running, const struct entry_selected *selected,
                         const float *x)
{
    const struct common *common = running->plan->common;
    const struct span key[] = {selected->pair_id,
                               {(const char *)&selected->replica, sizeof selected->replica}};
    bool swapped = span_compare(selected->left_id, selected->right_id) > 0;
    double margin = 0;
    for (size_t k = 0; k < common->dimension; k++)
        margin += common->psi[k] * (double)x[k];
    const struct sel_chances first =
        sel_tie_chances(swapped ? -margin : margin, common->lapse, common->tie);
    struct sel_random random =
        identity_random(running->plan->options->seed, "oracle", identity_hash(key, 2));
    double coin = sel_random_uniform(&random);
    if (coin >= first.left && coin < first.left + first.tie)
        return .5;
    return (coin < first.left) != swapped ? 1 : 0;
}

/* Finds the answer of a pair that was just asked. */
static bool answer(struct running *running, const struct entry_selected *selected, size_t number,
                   struct error *error)
{
    struct asked *asked = &running->trial->asked[number];
    const float *x = running->trial->x + number * running->trial->dimension;
    const struct recorded_pair *recorded = find_label(running, asked->pair);
    /* At the next tick, at the earliest. */
    int64_t delay = running->passage.interval;
    struct answer answer = {.number = number};
    identity_parse(selected->request_id, &answer.request);
    if (recorded != NULL) {
        bool other = turned(recorded, selected->left_id);
        answer.outcome = other ? turn(recorded->outcome) : recorded->outcome;
        answer.annotator_id = recorded->annotator_id;
        asked->answered = ANSWERED_BY_RECORD;
        asked->probability = other ? 1 - recorded->probability : recorded->probability;
        asked->confidence = recorded->confidence;
        delay = delay_of(recorded) > delay ? delay_of(recorded) : delay;
    } else if (running->plan->oracle != ORACLE_NONE) {
        asked->answered = ANSWERED_BY_ORACLE;
        asked->probability = ask_oracle(running, selected, x);
        asked->confidence = 1;
        answer.outcome = asked->probability == .5 ? OUTCOME_TIE
                         : asked->probability > 0 ? OUTCOME_LEFT
                                                  : OUTCOME_RIGHT;
    } else {
        return true;
    }
    asked->answered_at = answer.due = running->passage.now + delay;
    return push(running, &answer, error);
}

/* ---- what the engine says ---- */

/* Score and selector stand in the pair alone, right before SELECTED. */
static bool paired(void *closure, struct span record, struct error *error)
{
    struct running *running = closure;
    struct buffer text = {.maximum = TEXTS_MAX};
    if (!running->plan->scores)
        return true;
    bool done =
        contracts_print_json(running->passage.contracts, CONTRACT_PAIR, record, &text, error);
    json_t *pair = done ? json_loadb(text.data, text.size, 0, NULL) : NULL;
    running->score = json_number_value(json_object_get(pair, "score"));
    const char *selector = json_string_value(json_object_get(pair, "selector"));
    const char *request_id = json_string_value(json_object_get(pair, "request_id"));
    snprintf(running->selector, sizeof running->selector, "%s", selector == NULL ? "" : selector);
    snprintf(running->request_id, sizeof running->request_id, "%s",
             request_id == NULL ? "" : request_id);
    json_decref(pair);
    buffer_free(&text);
    return done;
}

static bool reserve(struct running *running, size_t dimension, struct error *error)
{
    struct trial *trial = running->trial;
    trial->dimension = dimension;
    if (trial->count < running->capacity)
        return true;
    running->capacity = 2 * running->capacity + 256;
    struct asked *asked = reallocarray(trial->asked, running->capacity, sizeof *asked);
    if (asked != NULL)
        trial->asked = asked;
    float *x = reallocarray(trial->x, running->capacity, dimension * sizeof *x);
    if (x != NULL)
        trial->x = x;
    return (asked != NULL && x != NULL) ||
           error_set(error, ERROR_FATAL, "out of memory for %zu asked pairs", running->capacity);
}

static bool keep_texts(struct running *running, const struct entry_selected *selected,
                       struct asked *asked, struct error *error)
{
    struct buffer *texts = &running->trial->texts;
    const struct span parts[] = {selected->prompt_id, selected->left_id, selected->right_id,
                                 span_of(running->selector)};
    asked->text = (uint32_t)texts->size;
    for (size_t k = 0; k < 4; k++) {
        asked->sizes[k] = (uint16_t)parts[k].size;
        if (parts[k].size > 0 && !buffer_append(texts, parts[k].data, parts[k].size))
            return error_set(error, ERROR_FATAL, "out of memory for the ids of asked pairs");
    }
    return true;
}

static bool took(void *closure, const struct entry *entry, struct error *error)
{
    struct running *running = closure;
    struct trial *trial = running->trial;
    const struct entry_selected *selected = &entry->selected;
    if (entry->kind != ENTRY_SELECTED)
        return true;
    if (!reserve(running, selected->x.size / sizeof(float), error))
        return false;
    bool scored =
        running->plan->scores && span_equal(selected->request_id, span_of(running->request_id));
    if (!scored)
        running->selector[0] = '\0';
    struct asked *asked = &trial->asked[trial->count];
    *asked = (struct asked){.time = selected->issued_at,
                            .answered_at = -1,
                            .propensity = selected->propensity,
                            .score = scored ? running->score : (double)NAN,
                            .probability = (double)NAN,
                            .arm = (uint8_t)selected->arm};
    identity_parse(selected->pair_id, &asked->pair);
    memcpy(trial->x + trial->count * trial->dimension, selected->x.data, selected->x.size);
    return keep_texts(running, selected, asked, error) &&
           answer(running, selected, trial->count++, error);
}

static int64_t due(void *closure)
{
    const struct running *running = closure;
    int64_t before = before_due(&running->before, running->passage.now);
    int64_t answer = running->answer_count == 0 ? INT64_MAX : running->answers[0].due;
    return answer < before ? answer : before;
}

static bool give(void *closure, int64_t now, struct error *error)
{
    struct running *running = closure;
    if (!before_give(&running->before, &running->passage, now, error))
        return false;
    while (running->answer_count > 0 && running->answers[0].due <= now) {
        const struct answer answer = pop(running);
        const struct asked *asked = &running->trial->asked[answer.number];
        char request_id[ID_TEXT_SIZE];
        identity_format(answer.request, request_id);
        const struct source source = {
            .input = INPUT_LABELS, .offset = running->delivered++, .timestamp = now};
        const struct label label = {.request_id = span_of(request_id),
                                    .outcome = answer.outcome,
                                    .probability_left = answer.outcome == OUTCOME_PROBABILITY
                                                            ? asked->probability
                                                            : (double)NAN,
                                    .confidence = asked->confidence,
                                    .annotator_id = answer.annotator_id,
                                    .lead_time = -1,
                                    .labelled_at = now};
        if (!engine_label(running->passage.engine, &source, &label, error))
            return false;
    }
    return true;
}

static bool enough(void *closure)
{
    const struct running *running = closure;
    return running->plan->labels > 0 && running->trial->count >= running->plan->labels;
}

bool trial_run(const struct trial_plan *plan, struct trial *trial, struct error *error)
{
    struct engine_options engine;
    struct running running = {
        .plan = plan, .trial = trial, .used = calloc(plan->recorded->count + 1, 1)};
    const struct passage_visitor visitor = {.closure = &running,
                                            .paired = paired,
                                            .took = took,
                                            .due = due,
                                            .give = give,
                                            .enough = enough};
    *trial = (struct trial){.texts = {.maximum = TEXTS_MAX}};
    bool done = (running.used != NULL || error_set(error, ERROR_FATAL, "out of memory")) &&
                before_find(&running.before, plan->past, plan->recorded, error) &&
                passage_options(plan->past, plan->options, &engine, error) &&
                passage_begin(&running.passage, plan->past, plan->options, &engine, true, error) &&
                passage_go(&running.passage, &visitor, error);
    if (done) {
        const struct engine_stats *stats = engine_stats(running.passage.engine);
        trial->completions = stats->completions;
        trial->refused = stats->dead_letters;
        memcpy(trial->refusal, running.passage.refusal, sizeof trial->refusal);
        if (plan->labels > 0 && trial->count > plan->labels)
            trial->count = plan->labels;
    }
    passage_fini(&running.passage);
    before_fini(&running.before);
    free(running.answers);
    free(running.used);
    return done;
}

void trial_free(struct trial *trial)
{
    free(trial->asked);
    free(trial->x);
    buffer_free(&trial->texts);
    *trial = (struct trial){0};
}

/* ---- between processes of one build ---- */

bool trial_encode(const struct trial *trial, struct buffer *out)
{
    size_t values = trial->count * trial->dimension;
    return buffer_append(out, trial, sizeof *trial) &&
           (trial->count == 0 ||
            (buffer_append(out, trial->asked, trial->count * sizeof *trial->asked) &&
             buffer_append(out, trial->x, values * sizeof *trial->x))) &&
           (trial->texts.size == 0 || buffer_append(out, trial->texts.data, trial->texts.size));
}

/* A copy of the next `size` bytes, or NULL. */
static void *take_bytes(struct span bytes, size_t *at, size_t size)
{
    void *copy = bytes.size - *at >= size ? malloc(size + 1) : NULL;
    if (copy != NULL && size > 0)
        memcpy(copy, bytes.data + *at, size);
    *at += size;
    return copy;
}

bool trial_decode(struct trial *trial, struct span bytes, size_t *size)
{
    struct trial head;
    *trial = (struct trial){0};
    if (bytes.size < sizeof head)
        return false;
    memcpy(&head, bytes.data, sizeof head);
    *size = sizeof head;
    trial->count = head.count;
    trial->dimension = head.dimension;
    trial->completions = head.completions;
    trial->refused = head.refused;
    memcpy(trial->refusal, head.refusal, sizeof trial->refusal);
    trial->asked = take_bytes(bytes, size, head.count * sizeof *trial->asked);
    if (trial->asked != NULL)
        trial->x = take_bytes(bytes, size, head.count * head.dimension * sizeof(float));
    if (trial->x != NULL)
        trial->texts.data = take_bytes(bytes, size, head.texts.size);
    trial->texts.size = trial->texts.capacity = head.texts.size;
    return trial->texts.data != NULL;
}
