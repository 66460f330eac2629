/* A trainer that goes over to a new feature space while an engine asks: what README.md tells users
 * to do. The new space begins with its first completion (features.scale is given); then the
 * completions of labelled pairs come again in it, neither compared nor taken for traffic. */
#include "solo_internal.h"

#include <stdio.h>
#include <string.h>

void solo_keep_sent(struct solo *solo, const struct entry_selected *selected)
{
    struct sent *sent = &solo->sent[solo->result->count];
    struct span id = selected->prompt_id;
    size_t dash = 0;
    while (dash < id.size && id.data[dash] != '-')
        dash++;
    sent->prompt = solo_number(id);
    if (dash < id.size)
        sent->draw = solo_number((struct span){id.data + dash + 1, id.size - dash - 1});
    snprintf(sent->left, SOLO_ID_SIZE, "%.*s", (int)selected->left_id.size, selected->left_id.data);
    snprintf(sent->right, SOLO_ID_SIZE, "%.*s", (int)selected->right_id.size,
             selected->right_id.data);
}

/* A completion as a trainer sends it that wants it neither compared nor taken for traffic. */
static bool give_old(struct solo *solo, size_t prompt, size_t draw, const char *completion_id,
                     struct error *error)
{
    struct span id = span_of(completion_id);
    struct completion completion = {.completion_id = id, COMPLETION_ABSENT};
    completion.candidate = false;
    completion.traffic_weight = 0;
    return solo_give(solo, prompt, draw, solo_number(id), &completion, error);
}

/* Its name comes with its first completion, and SPACE with that. */
static bool announce_space(struct solo *solo, struct error *error)
{
    if (!give_old(solo, 0, SIZE_MAX / 2 + solo->space.number, "0", error) ||
        !solo_turn(solo, 0, error))
        return false;
    const struct engine_view view = engine_view(solo_group_engine(solo->group, FITTER));
    return (view.space != NULL && strcmp(view.space, solo->space.name) == 0) ||
           error_set(error, ERROR_FATAL, "the feature space '%s' does not begin", solo->space.name);
}

/* All labelled pairs, or all prompts where those are what is open. */
static bool give_again(struct solo *solo, struct error *error)
{
    if (solo->plan->pool == 0) {
        solo->drawn = 0;
        return solo_give_prompts(solo, error);
    }
    for (size_t k = 0; !solo->plan->forget && k < solo->result->count; k++) {
        const struct sent *sent = &solo->sent[k];
        if (!give_old(solo, sent->prompt, sent->draw, sent->left, error) ||
            !give_old(solo, sent->prompt, sent->draw, sent->right, error))
            return false;
    }
    return true;
}

/* Labels that Sigma knows of, in the space in force. */
static bool count_labels(struct solo *solo, int64_t *count, struct error *error)
{
    struct engine *fitter = solo_group_engine(solo->group, FITTER);
    bool done = engine_refresh(fitter, error);
    *count = done ? engine_stats(fitter)->labels_counted : 0;
    return done;
}

/* The engines rest in a scan of many pools, and now and then a turn brings nothing. */
static bool carry_labels(struct solo *solo, int64_t wanted, struct error *error)
{
    enum { IDLE_MOST = 10 };
    int64_t carried = -1;
    for (int idle = 0; idle < IDLE_MOST && carried < wanted;) {
        int64_t before = carried;
        if (!solo_turn(solo, 0, error) || !count_labels(solo, &carried, error))
            return false;
        idle = carried > before ? 0 : idle + 1;
    }
    return solo->plan->forget || carried >= wanted ||
           error_set(error, ERROR_FATAL,
                     "of %lld labels %lld were carried to the feature space '%s'",
                     (long long)wanted, (long long)carried, solo->space.name);
}

bool solo_move_space(struct solo *solo, struct error *error)
{
    int64_t labels;
    /* The last labels may still be on their way. */
    if (!solo_turn(solo, 0, error) || !count_labels(solo, &labels, error))
        return false;
    solo_space_move(&solo->space, solo->plan->drift);
    return announce_space(solo, error) && give_again(solo, error) &&
           carry_labels(solo, labels, error);
}
