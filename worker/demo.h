/* The demo's moving parts: the in-process broker, the worker's thread, the producer of completions,
 * the labeller, and the worlds that go through the engine alone. */
#ifndef INFOPAIR_DEMO_H
#define INFOPAIR_DEMO_H

#include "accounting.h"
#include "options.h"
#include "schemas/error.h"

#include <stddef.h>
#include <stdint.h>

enum {
    DEMO_DIMENSION = 8,
    DEMO_PROMPTS = 100,
    DEMO_COMPLETIONS = 64, /* of each prompt */
    DEMO_SOLO_WORLDS = 8,
    DEMO_WORLDS = DEMO_SOLO_WORLDS + 1
};

struct demo_plan {
    int64_t labels; /* in the world with the broker, and in each of the others */
    int64_t seconds;
    bool stay;
};

/* Where the world with the broker stands. */
struct demo_state {
    double seconds;
    int64_t completions; /* that entered a pool */
    int64_t pairs;
    size_t labels;
    size_t each;                      /* labels that both arms have at least */
    double gap_selected, gap_control; /* at `each` labels */
};

struct demo_summary {
    double ratios[DEMO_WORLDS]; /* the first: the world with the broker; NaN: none */
    size_t worlds;              /* with a ratio */
    double mean, low, high;     /* geometric mean and its 95 % t-interval */
    /* Of the world with the broker: what the worker said at last, and c of the control arm over c
     * of the selected one at the true psi (world_design), each of all its labels. */
    bool reported;
    struct accounting_report report;
    double design_ratio;
};

struct demo;

/* Starts everything. `options` and `plan` are borrowed; kafka.brokers is set to the broker's. */
struct demo *demo_new(struct options *options, const struct demo_plan *plan, struct error *error);
const struct options *demo_options(const struct demo *demo);
uint16_t demo_port(const struct demo *demo);
/* Lets about a second pass and tells where things stand. False when a part has failed. */
bool demo_wait(struct demo *demo, struct demo_state *state, struct error *error);
/* Stops the worker, waits for the worlds that are under way, and sums up. */
bool demo_finish(struct demo *demo, struct demo_state *state, struct demo_summary *summary,
                 struct error *error);
void demo_free(struct demo *demo);

/* Geometric mean of the ratios that are not NaN, with its 95 % t-interval on the log scale. */
void demo_summarise(struct demo_summary *summary);

#endif
