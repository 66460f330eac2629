/* The rows of the next FIT: who has given the most labels, what sel_annotators finds of each, and
 * how often each agrees with others who saw the same pair. */
#include "annotators.h"

#include <stdlib.h>
#include <string.h>

#include "selectors/selectors.h"

/* One who is to have a row. */
struct candidate {
    uint32_t number; /* of the name */
    int64_t labels;
    struct id id;
};

struct estimate {
    const struct requests *requests;
    const struct annotated *labels;
    struct candidate *chosen;
    size_t count;
    uint32_t *row_of;            /* by the number of a label: row, or count for none */
    struct sel_annotator *found; /* count, and of all */
    struct fit_annotator *rows;
};

static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->labels != b->labels)
        return a->labels > b->labels ? -1 : 1;
    return identity_compare(a->id, b->id);
}

/* What a row takes at most as FIT holds it. */
static size_t row_bytes(const struct name *name)
{
    enum { NUMBERS = 5 * 8 + 3 * 10, LENGTHS = 2 * 10 };
    return name->size + name->note_size + NUMBERS + LENGTHS;
}

/* Keeps those who get a row. */
static void cut_candidates(struct estimate *estimate)
{
    size_t bytes = 0, kept = 0;
    if (estimate->count > 0)
        qsort(estimate->chosen, estimate->count, sizeof *estimate->chosen, compare_candidates);
    for (; kept < estimate->count && kept < ANNOTATORS_MAX; kept++) {
        bytes +=
            row_bytes(names_get(&estimate->requests->annotators, estimate->chosen[kept].number));
        if (bytes > ANNOTATORS_BYTES_MAX)
            break;
    }
    estimate->count = kept;
}

static bool choose(struct estimate *estimate)
{
    const struct annotated *labels = estimate->labels;
    const struct names *names = &estimate->requests->annotators;
    size_t numbers = (size_t)names->count + 1, known = 0;
    estimate->row_of = calloc(numbers, sizeof *estimate->row_of);
    if (estimate->row_of == NULL)
        return false;
    for (size_t k = 0; k < labels->count; k++)
        known += estimate->row_of[labels->annotator[k]]++ == 0 && labels->annotator[k] > 0;
    estimate->chosen = malloc((known + 1) * sizeof *estimate->chosen);
    if (estimate->chosen == NULL)
        return false;
    for (uint32_t k = 1; k < numbers; k++) {
        if (estimate->row_of[k] > 0)
            estimate->chosen[estimate->count++] = (struct candidate){
                k - 1, (int64_t)estimate->row_of[k], names_get(names, k - 1)->id};
    }
    cut_candidates(estimate);
    for (uint32_t k = 0; k < numbers; k++)
        estimate->row_of[k] = (uint32_t)estimate->count;
    for (size_t row = 0; row < estimate->count; row++)
        estimate->row_of[estimate->chosen[row].number + 1] = (uint32_t)row;
    return true;
}

static bool find_rates(struct estimate *estimate, double overall, double tie)
{
    const struct annotated *labels = estimate->labels;
    uint32_t *row = malloc((labels->count + 1) * sizeof *row);
    estimate->found = calloc(estimate->count + 1, sizeof *estimate->found);
    bool done = row != NULL && estimate->found != NULL;
    if (done) {
        for (size_t k = 0; k < labels->count; k++)
            row[k] = estimate->row_of[labels->annotator[k]];
        const struct sel_answers answers = {
            labels->margin, labels->variance, labels->y, labels->weight, row, labels->count, tie};
        done = sel_annotators(&answers, estimate->count, overall, estimate->found) == SEL_OK;
    }
    free(row);
    return done;
}

static void write_rows(struct estimate *estimate, double overall, bool by_annotator)
{
    for (size_t row = 0; row < estimate->count; row++) {
        const struct name *name =
            names_get(&estimate->requests->annotators, estimate->chosen[row].number);
        const struct sel_annotator *found = &estimate->found[row];
        estimate->rows[row] = (struct fit_annotator){.id = {name->text, name->size},
                                                     .kind = name_note(name),
                                                     .labels = (int64_t)found->labels,
                                                     .sided = (int64_t)found->sided,
                                                     .lapse = by_annotator ? found->lapse : overall,
                                                     .left_bias = found->left_bias,
                                                     .left_share = found->left_share,
                                                     .agreement = found->agreement};
    }
}

/* ---- answers to the same pair ---- */

/* One answer that prefers a side. */
struct answer {
    struct id pair;
    uint32_t row;    /* of its annotator; count: none */
    bool first_wins; /* the completion of the lower id: sides may differ between replicas */
};

static int compare_answers(const void *left, const void *right)
{
    const struct answer *a = left, *b = right;
    int order = identity_compare(a->pair, b->pair);
    return order != 0 ? order : a->row < b->row ? -1 : a->row > b->row;
}

static void add_answer(const struct estimate *estimate, const struct request *request,
                       const struct request_label *label, struct answer *answers, size_t *count)
{
    const struct requests *requests = estimate->requests;
    if (isnan(label->probability) || label->probability == .5)
        return;
    bool left_first = identity_compare(identity_of(request_left_id(requests, request)),
                                       identity_of(request_right_id(requests, request))) < 0;
    answers[(*count)++] =
        (struct answer){request_pair(requests, request), estimate->row_of[label->annotator],
                        left_first == (label->probability > .5)};
}

/* Answers of the fit's requests, also those that do not count but stand; *several: some pair may
 * have more than one. */
static size_t count_answers(const struct annotated *labels, bool *several)
{
    size_t count = 0;
    *several = false;
    for (size_t k = 0; k < labels->count; k++) {
        const struct request *request = labels->request[k];
        size_t listed = 0;
        *several = *several || request->replica > 1 || request->imported;
        if (request->labels == LABELS_LISTED) {
            for (const struct listed_label *each = request->listed.first; each != NULL;
                 each = each->next)
                listed++;
        }
        *several = *several || listed > 1;
        count += listed > 1 ? listed : 1;
    }
    return count;
}

static size_t gather_answers(const struct estimate *estimate, struct answer *answers)
{
    const struct annotated *labels = estimate->labels;
    size_t count = 0;
    for (size_t k = 0; k < labels->count; k++) {
        const struct request *request = labels->request[k];
        struct request_label label;
        if (request->labels != LABELS_LISTED) {
            if (request_counting(request, &label))
                add_answer(estimate, request, &label, answers, &count);
            continue;
        }
        for (const struct listed_label *each = request->listed.first; each != NULL;
             each = each->next) {
            if (request_label_stands(each))
                add_answer(estimate, request, &each->said, answers, &count);
        }
    }
    return count;
}

/* Counts the answers of one pair; each annotator's against those of all others. */
static void compare_pair(struct estimate *estimate, const struct answer *answers, size_t count)
{
    size_t wins = 0;
    for (size_t k = 0; k < count; k++)
        wins += answers[k].first_wins;
    for (size_t from = 0, to; from < count; from = to) {
        size_t own = 0;
        for (to = from; to < count && answers[to].row == answers[from].row; to++)
            own += answers[to].first_wins;
        if (answers[from].row == estimate->count)
            continue;
        struct fit_annotator *row = &estimate->rows[answers[from].row];
        size_t mine = to - from, others = count - mine, first = wins - own;
        row->compared += (int64_t)(mine * others);
        row->compared_agreement += (double)(own * first + (mine - own) * (others - first));
    }
}

static bool compare_annotators(struct estimate *estimate)
{
    bool several;
    size_t room = count_answers(estimate->labels, &several);
    if (!several)
        return true;
    struct answer *answers = malloc((room + 1) * sizeof *answers);
    if (answers == NULL)
        return false;
    size_t count = gather_answers(estimate, answers);
    if (count > 0)
        qsort(answers, count, sizeof *answers, compare_answers);
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && identity_equal(answers[to].pair, answers[from].pair);)
            to++;
        compare_pair(estimate, answers + from, to - from);
    }
    free(answers);
    for (size_t row = 0; row < estimate->count; row++) {
        if (estimate->rows[row].compared > 0)
            estimate->rows[row].compared_agreement /= (double)estimate->rows[row].compared;
    }
    return true;
}

bool annotators_estimate(const struct requests *requests, const struct annotated *labels,
                         double overall, double tie, bool by_annotator, struct buffer *region,
                         double *left_bias)
{
    struct estimate estimate = {.requests = requests, .labels = labels};
    bool done = choose(&estimate) && find_rates(&estimate, overall, tie);
    if (done)
        estimate.rows = calloc(estimate.count + 1, sizeof *estimate.rows);
    done = done && estimate.rows != NULL;
    if (done) {
        write_rows(&estimate, overall, by_annotator);
        *left_bias = estimate.found[estimate.count].left_bias;
        done = compare_annotators(&estimate) &&
               annotators_encode(estimate.rows, estimate.count, region);
    }
    free(estimate.chosen);
    free(estimate.row_of);
    free(estimate.found);
    free(estimate.rows);
    return done;
}
