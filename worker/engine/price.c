/* The price of a label, for selection.when = price: each partition has its own, which rises with
 * every pool that is worth more and falls with every other, so that a fixed share of the pools is
 * asked. PRICE in the ledger carries it to the partition's next owner; between two entries it may
 * move unseen, for a second at most. */
#include "selection.h"

enum { PRICE_EVERY = 1000 };

/* What a pool is worth that has nothing to offer, and the most that counts. */
#define WORTH_LEAST 1e-280
#define WORTH_MOST 1e280

/* A price is a positive number; scores that can be negative are put on such a scale first. */
static double worth(const struct engine *engine, double score)
{
    bool negative = (engine->options.selection.rule->traits & SEL_SIGNED) != 0;
    return fmin(fmax(negative ? exp(score) : score, WORTH_LEAST), WORTH_MOST);
}

/* A price that worthless pools made says nothing of others. */
static bool is_none(double price, double value)
{
    return !(price > 0) || (price < 2 * WORTH_LEAST && value > 2 * WORTH_LEAST);
}

bool price_asks(struct engine *engine, int32_t partition, double score)
{
    struct partition *owner = &engine->partitions[partition];
    const struct selection_options *options = &engine->options.selection;
    owner->price.rate = options->price_rate;
    owner->price.share = options->price_share;
    double value = worth(engine, score);
    if (is_none(owner->price.price, value))
        owner->price.price = (double)NAN; /* the first score becomes the price */
    owner->price_moved = true;
    return sel_price_ask(&owner->price, value, SIZE_MAX, 1);
}

bool price_entry(struct engine *engine, const struct entry *entry, enum applied *applied,
                 struct error *error)
{
    int32_t number = entry->price.completions_partition;
    *applied = APPLIED_REFUSED;
    if (!engine_partition_known(number))
        error_set(error, ERROR_DATA, "completions_partition: %d is no partition", number);
    else if (!(entry->price.price > 0) || !isfinite(entry->price.price))
        error_set(error, ERROR_DATA, "price: %g is not above 0", entry->price.price);
    else
        *applied = APPLIED_NEW;
    if (*applied == APPLIED_REFUSED)
        return true;
    if (!engine_partitions(engine, number, error))
        return false;
    struct partition *partition = &engine->partitions[number];
    if (entry->time < partition->price_time || partition_live(partition))
        return true; /* ours is newer */
    partition->price.price = entry->price.price;
    partition->price_time = entry->time;
    return true;
}

bool price_tick(struct engine *engine, struct error *error)
{
    for (int32_t k = 0; k < engine->partition_count; k++) {
        struct partition *partition = &engine->partitions[k];
        int64_t time = entry_time(engine);
        if (!partition_live(partition) || !partition->price_moved ||
            time - partition->price_time < PRICE_EVERY || !(partition->price.price > 0))
            continue;
        struct entry entry = {
            .time = time,
            .kind = ENTRY_PRICE,
            .price = {.completions_partition = k, .price = partition->price.price}};
        if (!effect_entry(engine, &entry, 0, error))
            return false;
        partition->price_time = time;
        partition->price_moved = false;
    }
    return true;
}
