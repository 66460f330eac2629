/* A picker's memory: one allocation, cut into parts; see lay_out. */
#include "selectors/picker.h"
#include "selectors/rows.h"
#include "selectors/rules/rules.h"

#include <stdlib.h>
#include <string.h>

/* Parts are cut from one block; without a base only the size is counted. */
struct arena {
    char *base;
    size_t size;
    bool overflow;
};

static void *cut(struct arena *arena, size_t count, size_t size)
{
    const size_t alignment = 64;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, alignment - 1, &bytes)) {
        arena->overflow = true;
        return NULL;
    }
    bytes -= bytes % alignment;
    size_t from = arena->size;
    arena->overflow |= __builtin_add_overflow(arena->size, bytes, &arena->size);
    return arena->base == NULL ? NULL : arena->base + from;
}

static size_t draws_of(const struct sel_picker_options *options)
{
    const size_t draws_default = 16;
    if ((options->rule->needs & SEL_NEEDS(SEL_DRAWS)) == 0)
        return 0;
    return options->draws_max > 0 ? options->draws_max : draws_default;
}

static void cut_pool(struct arena *arena, struct candidates *pool,
                     const struct sel_picker_options *options)
{
    size_t n = options->n_max;
    size_t d = options->d;
    unsigned needs = options->rule->needs | SEL_NEEDS(SEL_COST);
    pool->phi = cut(arena, n * d, sizeof(sel_feature));
    pool->gram.g = cut(arena, n * n, sizeof(double));
    pool->gram.h = cut(arena, n * n, sizeof(double));
    pool->reward = cut(arena, n, sizeof(double));
    pool->weight = cut(arena, candidates_pairs(n), sizeof(double));
    pool->allowed = cut(arena, candidates_pairs(n), sizeof(uint8_t));
    pool->score = NULL;
    if (options->rule->score == NULL)
        pool->score = cut(arena, candidates_pairs(n), sizeof(double));
    pool->deviation = cut(arena, draws_of(options), n * sizeof(double));
    for (size_t k = 0; k < SEL_INPUTS; k++) {
        pool->inputs[k] = NULL;
        if ((needs & SEL_NEEDS(k)) != 0)
            pool->inputs[k] =
                cut(arena, k == SEL_DRAWS ? draws_of(options) : 1, n * sizeof(double));
    }
}

/* What view.c needs. */
static void lay_out_view(struct arena *arena, struct candidates_round *round,
                         const struct sel_picker_options *options)
{
    size_t n = options->n_max;
    round->draws = draws_of(options);
    round->ensemble = cut(arena, round->draws, options->d * sizeof(double));
    round->rewards = cut(arena, round->draws, n * sizeof(double));
    round->pairs = cut(arena, candidates_pairs(n), sizeof(struct sel_pair));
    round->scores = cut(arena, candidates_pairs(n), sizeof(double));
    round->width = cut(arena, n, sizeof(double));
    round->scratch = cut(arena, sel_view_scratch(n), sizeof(double));
}

static void lay_out_lagging(struct arena *arena, struct lagging *lagging,
                            const struct sel_picker_options *options)
{
    size_t pools = options->pools_max;
    lagging->standings.leaves = standings_leaves(pools);
    lagging->standings.key = cut(arena, lagging->standings.leaves, sizeof(double));
    lagging->standings.winner = cut(arena, lagging->standings.leaves, 2 * sizeof(uint32_t));
    lagging->seen = cut(arena, pools, sizeof(size_t));
    if (pools <= picker_lazy_from(options))
        return;
    double **const numbers[] = {&lagging->weight,   &lagging->variance, &lagging->policy,
                                &lagging->margin,   &lagging->score,    lagging->price,
                                lagging->price + 1, &lagging->g,        &lagging->h};
    for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
        *numbers[k] = cut(arena, pools, sizeof(double));
    if (options->rule->score != NULL)
        lagging->x = cut(arena, pools, options->d * sizeof(sel_feature));
}

/* Everything but the pools' own parts, and these too once there is a base. */
static void lay_out(struct arena *arena, struct sel_picker *picker)
{
    size_t d = picker->options.d;
    size_t n = picker->options.n_max;
    picker->pools = cut(arena, picker->options.pools_max, sizeof(struct candidates));
    picker->round.policy_inverse = cut(arena, d * d, sizeof(double));
    picker->round.centred = cut(arena, n * d, sizeof(double));
    picker->round.product = cut(arena, n * d, sizeof(double));
    picker->round.room = cut(arena, rows_scratch(n, d), sizeof(double));
    picker->round.mean = cut(arena, d, sizeof(double));
    picker->round.g = cut(arena, n, sizeof(double));
    picker->round.h = cut(arena, n, sizeof(double));
    picker->round.twin = cut(arena, n, sizeof(size_t));
    picker->round.mark = cut(arena, n, sizeof(uint64_t));
    picker->round.g_diagonal = cut(arena, n, sizeof(double));
    picker->round.h_diagonal = cut(arena, n, sizeof(double));
    picker->round.variance = cut(arena, n + CANDIDATES_BLOCK, sizeof(double));
    picker->round.policy = cut(arena, n + CANDIDATES_BLOCK, sizeof(double));
    picker->round.block_scores = cut(arena, n + CANDIDATES_BLOCK, sizeof(double));
    picker->square = cut(arena, d * d, sizeof(double));
    picker->image = cut(arena, d, sizeof(double));
    picker->wide = cut(arena, d, sizeof(double));
    picker->x = cut(arena, d, sizeof(sel_feature));
    picker->shift = cut(arena, draws_of(&picker->options), sizeof(double));
    picker->backlog.room =
        cut(arena, BACKLOG_PICKS * backlog_width(d, draws_of(&picker->options)), sizeof(double));
    lay_out_view(arena, &picker->round, &picker->options);
    lay_out_lagging(arena, &picker->lagging, &picker->options);
    for (size_t k = 0; arena->base != NULL && k < picker->options.pools_max; k++)
        cut_pool(arena, picker->pools + k, &picker->options);
}

size_t sel_picker_bytes(const struct sel_picker_options *options)
{
    const size_t side_max = 1 << 15; /* keeps n n, n d and d d far from overflow */
    const size_t pools_most = 1 << 30;
    if (options->d == 0 || options->d > side_max || options->n_max < 2 ||
        options->n_max > side_max || options->pools_max == 0 || options->pools_max > pools_most ||
        options->draws_max > side_max)
        return 0;
    if (options->rule == NULL || !sel_rule_is_of_pools(options->rule))
        return 0;
    struct sel_picker picker = {.options = *options};
    struct arena all = {0};
    lay_out(&all, &picker);
    struct arena one = {0};
    struct candidates pool;
    cut_pool(&one, &pool, options);
    cut(&all, options->pools_max, one.size);
    return all.overflow || one.overflow ? 0 : all.size + sizeof picker;
}

struct sel_picker *sel_picker_new(const struct sel_picker_options *options)
{
    size_t bytes = sel_picker_bytes(options);
    if (bytes == 0 || !(options->weight_min >= 0) || !(options->beta >= 0))
        return NULL;
    if ((options->rule->traits & SEL_NEEDS_BETA) != 0 && !(options->beta > 0))
        return NULL;
    double parameters[SEL_PARAMETERS_MAX];
    if (!rule_parameters(options->rule, options->parameters, parameters))
        return NULL;
    struct sel_picker *picker = calloc(1, sizeof *picker);
    if (picker == NULL)
        return NULL;
    picker->options = *options;
    picker->round.options = &picker->options;
    picker->memory = aligned_alloc(64, bytes - sizeof *picker);
    if (picker->memory == NULL) {
        free(picker);
        return NULL;
    }
    struct arena arena = {.base = picker->memory};
    lay_out(&arena, picker);
    lagging_init(&picker->lagging, options->n_max, options->d);
    memcpy(picker->round.parameters, parameters, sizeof parameters);
    return picker;
}

void sel_picker_free(struct sel_picker *picker)
{
    if (picker == NULL)
        return;
    free(picker->memory);
    free(picker);
}
