/* What is simulated: a world, its pools and labels, and the rules that are compared in it.
 *
 * A scene is read from a file (libconfig; config/worlds has those that come with infopair) and
 * changed by NAME=VALUE of the command line. Both go through one table of fields; an error names
 * the field, its limit and the nearest valid name, and for a file its line. */
#ifndef INFOPAIR_SCENE_H
#define INFOPAIR_SCENE_H

#include "worker/options.h"
#include "worker/world.h"

enum scene_kind { SCENE_LOG_LINEAR, SCENE_TABULAR, SCENE_CONTEXTUAL, SCENE_FEATURES };

struct scene {
    char *name;
    enum scene_kind kind;
    struct world_spec world;
    char *features; /* .npy: rows of completions, prompt by prompt; paths as the file gives them */
    char *theta;    /* .npy: psi of the raw features */
    size_t pool;    /* completions of a pool; 0: whole prompts, which stay open */
    size_t pools;   /* drawn for each round */
    size_t batch;   /* labels of a round */
    size_t labels;  /* in all */
    size_t keep;    /* rounds that a pool stays open */
    size_t seeds, first_seed;
    double lapse;        /* share of the answers that are coin flips */
    double duplicates;   /* chance that a completion of a pool repeats an earlier one */
    double informed;     /* share of the way that pi_ref has gone to the best policy */
    double drift;        /* how far the feature space moves each time; 0: it stays */
    size_t drift_rounds; /* rounds between two moves */
    bool drift_carry;    /* labels come along; false: the worker begins anew */
    bool traffic;        /* deployed prompts come as traffic, and I is theirs alone */
    char *annotators; /* "0,.05,.5": lapse rates of those who answer in turn; NULL: nobody's name */
    size_t partitions, workers; /* of completions; engines that split them */
    double lag;                 /* seconds after which a worker knows of another's entries */
    bool spread;                /* labels go to all workers, not to one */
    bool pending; /* a pick knows of the others of its batch; false: not before the first fit */
    bool fitted;  /* measure the gap at the psi fitted to exactly these labels as well */
    struct string_list rules; /* RULE[,NAME=VALUE]... each */
    struct string_list set;   /* NAME=VALUE: options of the worker, for all rules */
};

/* The scene of that name (config/worlds/NAME.cfg) or path. NULL with `error` filled. */
struct scene *scene_load(const char *name, struct error *error);
void scene_free(struct scene *scene);
/* Sets one field from text, as a command line gives it; lists are separated by ';'. */
bool scene_set(struct scene *scene, const char *name, const char *text, struct error *error);
/* What fields say together; after the last change. */
bool scene_check(const struct scene *scene, struct error *error);
/* How many features its completions have; reads the heads of the files of given features, and
 * refuses files that do not fit together. */
bool scene_dimension(const struct scene *scene, size_t *dimension, struct error *error);
/* The world of one seed; of given features, the same for each. NULL with `error` filled. */
struct world *scene_world(const struct scene *scene, uint64_t seed, struct error *error);
/* The rates of `annotators`; returns how many, SIZE_MAX where the text is none. */
enum { SCENE_ANNOTATORS = 8 };
size_t scene_annotators(const struct scene *scene, double rates[SCENE_ANNOTATORS]);
/* Everything that shapes a run of one rule and seed, as one line: runs of equal texts are equal.
 * Owned by the caller; NULL: out of memory. */
char *scene_text(const struct scene *scene);

/* Prints the fields with their meaning, for --help. */
void scene_fields(FILE *out);
/* Names of the scenes that come with infopair, a line each, with their first comment. */
bool scene_list(FILE *out, struct error *error);

#endif
