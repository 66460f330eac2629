/* A pool as its rule sees it.
 *
 * Posterior draws psi_e ~ N(psi, S) are made once a round (picker.c); a pool keeps the deviations
 * phi' (psi_e - psi). Both follow the picks of the round, see picker.c, so that they stay draws
 * from the posterior in which the pairs under way count. An ensemble that the caller gives stays as
 * it is. Cost of a scan: O(n d + n^2 + draws n) and the rule's own. */
#include "selectors/view.h"

#include "selectors/linear.h"

#include <string.h>

void view_deviate(struct candidates *candidates, const struct candidates_round *round)
{
    if (round->draws == 0)
        return;
    blasint n = (blasint)candidates->gram.n;
    blasint d = (blasint)round->options->d;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)round->draws, n, d, 1,
                round->ensemble, d, round->centred, d, 0, candidates->deviation, n);
}

double view_cost(const struct candidates *candidates, size_t i, size_t j)
{
    const double *each = candidates->inputs[SEL_COST];
    return (candidates->given & SEL_NEEDS(SEL_COST)) != 0 ? each[i] + each[j] : 1;
}

double view_priced(const struct candidates *candidates, double score, size_t i, size_t j)
{
    double cost = view_cost(candidates, i, j);
    return score >= 0 ? score / cost : score * cost;
}

static const double *rewards_of_draws(const struct candidates *candidates,
                                      const struct candidates_round *round)
{
    if ((candidates->given & SEL_NEEDS(SEL_DRAWS)) != 0)
        return candidates->inputs[SEL_DRAWS];
    size_t n = candidates->gram.n;
    for (size_t e = 0; e < round->draws; e++)
        for (size_t i = 0; i < n; i++)
            round->rewards[e * n + i] = candidates->reward[i] + candidates->deviation[e * n + i];
    return round->rewards;
}

static struct sel_view view_of(const struct candidates *candidates,
                               const struct candidates_round *round)
{
    size_t n = candidates->gram.n;
    candidates_centre(round, candidates->phi, n);
    candidates_fill(candidates, round);
    for (size_t i = 0; i < n; i++)
        round->width[i] = sqrt(fmax(0, candidates->gram.g[i * n + i]));
    struct sel_view view = {
        .n = n,
        .d = round->options->d,
        .features = round->centred,
        .pairs = round->pairs,
        .allowed = candidates->allowed,
        .reward = candidates->reward,
        .width = round->width,
        .draws = round->draws > 0 ? rewards_of_draws(candidates, round) : NULL,
        .draw_count = round->draws,
        .parameters = round->parameters,
        .beta = round->options->beta,
        .scratch = round->scratch,
    };
    for (size_t k = 0; k < SEL_INPUTS; k++)
        if ((candidates->given & SEL_NEEDS(k)) != 0)
            view.inputs[k] = candidates->inputs[k];
    return view;
}

/* What a rule of somebody else's may write: no number, less than 0, more than 1 in all, or on a
 * pair that may not be asked. */
static void settle_probabilities(const struct candidates *candidates, double *probability)
{
    size_t pairs = candidates_pairs(candidates->gram.n);
    double sum = 0;
    for (size_t k = 0; k < pairs; k++) {
        bool valid = candidates->allowed[k] && probability[k] > 0;
        probability[k] = valid ? fmin(probability[k], 1) : 0;
        sum += probability[k];
    }
    for (size_t k = 0; k < pairs && sum > 1 + 1e-9; k++)
        probability[k] /= sum;
}

/* Probabilities per unit of cost; their sum stays. */
static void price_probabilities(const struct candidates *candidates, double *probability)
{
    size_t n = candidates->gram.n;
    double before = 0;
    double after = 0;
    if ((candidates->given & SEL_NEEDS(SEL_COST)) == 0)
        return;
    size_t index = 0;
    for (size_t i = 0; i + 1 < n; i++)
        for (size_t j = i + 1; j < n; j++, index++) {
            before += probability[index];
            probability[index] = view_priced(candidates, probability[index], i, j);
            after += probability[index];
        }
    for (size_t k = 0; k < index; k++)
        probability[k] = after > 0 ? probability[k] * (before / after) : 0;
}

/* Scores, or probabilities, of all pairs. */
static void evaluate(const struct candidates *candidates, const struct candidates_round *round,
                     double *scores)
{
    const struct sel_rule *rule = round->options->rule;
    struct sel_view view = view_of(candidates, round);
    size_t n = view.n;
    if (rule->distribution != NULL) {
        rule->distribution(&view, scores);
        settle_probabilities(candidates, scores);
        price_probabilities(candidates, scores);
        return;
    }
    if (rule->scores != NULL)
        rule->scores(&view, scores);
    else
        for (size_t k = 0; k < candidates_pairs(n); k++)
            scores[k] = rule->score(view.pairs + k);
    if ((candidates->given & SEL_NEEDS(SEL_COST)) == 0)
        return;
    size_t index = 0;
    for (size_t i = 0; i + 1 < n; i++)
        for (size_t j = i + 1; j < n; j++, index++)
            scores[index] = view_priced(candidates, scores[index], i, j);
}

void view_scan(struct candidates *candidates, const struct candidates_round *round)
{
    const struct sel_rule *rule = round->options->rule;
    struct sel_choice *best = &candidates->best;
    candidates->found = false;
    double *scores = candidates->score != NULL ? candidates->score : round->scores;
    if ((rule->needs & ~candidates->given & ~SEL_NEEDS(SEL_DRAWS)) != 0) {
        for (size_t k = 0; k < candidates_pairs(candidates->gram.n); k++)
            scores[k] = -INFINITY;
        return;
    }
    evaluate(candidates, round, scores);
    best->score = rule->distribution != NULL ? 0 : -INFINITY;
    size_t n = candidates->gram.n;
    size_t index = 0;
    for (size_t i = 0; i + 1 < n; i++)
        for (size_t j = i + 1; j < n; j++, index++)
            if (candidates->allowed[index] && scores[index] > best->score) {
                *best = (struct sel_choice){best->pool, i, j, scores[index], round->pairs[index]};
                candidates->found = true;
            }
}
