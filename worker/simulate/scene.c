#include "scene.h"

#include "worker/nearest.h"

#include <dirent.h>
#include <errno.h>
#include <libconfig.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 1024 };

enum type { KIND, TEXT, PATH, COUNT, NUMBER, FLAG, LIST };

struct field {
    const char *name;
    size_t offset;
    enum type type;
    double least, most;
    const char *text;
};

#define FIELD(member) .name = #member, .offset = offsetof(struct scene, member)
#define WORLD(member) .name = #member, .offset = offsetof(struct scene, world.member)

static const char *const KINDS[] = {"log-linear", "tabular", "contextual", "features"};

static const struct field FIELDS[] = {
    {FIELD(kind), KIND, .text = "log-linear, tabular, contextual, or features: those of a file"},
    {WORLD(dimension), COUNT, .least = 1, .most = 4096, .text = "length d of the features"},
    {WORLD(prompts), COUNT, .least = 1, .most = 1e6, .text = "prompts of the world"},
    {WORLD(completions), COUNT, .least = 2, .most = 1e5, .text = "completions of each"},
    {WORLD(beta), NUMBER, .least = 1e-6, .most = 1e6, .text = "strength of the KL penalty"},
    {WORLD(spectrum), NUMBER, .least = 0, .most = 10,
     .text = "variance of axis j in proportion to j^-spectrum"},
    {WORLD(spread_axes), NUMBER, .least = 0, .most = 3,
     .text = "deviation of the log scale of an axis in a prompt"},
    {WORLD(spread_prompts), NUMBER, .least = 0, .most = 3,
     .text = "deviation of the log scale of a prompt"},
    {WORLD(reward_deviation), NUMBER, .least = 1e-6, .most = 1e6,
     .text = "of the reward within a prompt"},
    {WORLD(reference_spread), NUMBER, .least = 0, .most = 100,
     .text = "deviation of the logits of pi_ref"},
    {WORLD(deployed), COUNT, .least = 0, .most = 1e6,
     .text = "the first so many prompts are what counts; 0: all"},
    {WORLD(narrow), NUMBER, .least = 0, .most = 10,
     .text = "factor on their scale beyond the first quarter of the axes"},
    {WORLD(misspecified), NUMBER, .least = 0, .most = 10,
     .text = "deviation of the reward that no psi explains, in reward_deviation"},
    {FIELD(features), PATH, .text = "kind features: .npy of the completions, prompt by prompt"},
    {FIELD(theta), PATH, .text = "kind features: .npy of psi"},
    {FIELD(pool), COUNT, .least = 0, .most = 1e5,
     .text = "completions of a pool; 0: whole prompts, each once"},
    {FIELD(pools), COUNT, .least = 1, .most = 1e6, .text = "pools drawn for a round"},
    {FIELD(batch), COUNT, .least = 1, .most = 1e6, .text = "labels of a round"},
    {FIELD(labels), COUNT, .least = 1, .most = 1e7, .text = "labels in all"},
    {FIELD(keep), COUNT, .least = 1, .most = 1e6, .text = "rounds that a pool stays open"},
    {FIELD(seeds), COUNT, .least = 1, .most = 1e5,
     .text = "worlds, each with its pools and labels"},
    {FIELD(first_seed), COUNT, .least = 1, .most = 1e9, .text = "the first of their numbers"},
    {FIELD(lapse), NUMBER, .least = 0, .most = .99, .text = "share of answers that are coin flips"},
    {FIELD(duplicates), NUMBER, .least = 0, .most = .99,
     .text = "chance that a completion repeats an earlier one of its pool"},
    {FIELD(informed), NUMBER, .least = 0, .most = 1,
     .text = "share of the way that pi_ref has gone to the best policy"},
    {FIELD(drift), NUMBER, .least = 0, .most = 10,
     .text = "how far each move to a new feature space turns the axes; 0: none"},
    {FIELD(drift_rounds), COUNT, .least = 1, .most = 1e6, .text = "rounds between two moves"},
    {FIELD(drift_carry), FLAG,
     .text = "labelled completions come again in each new space, so that labels are carried over"},
    {FIELD(traffic), FLAG, .text = "deployed prompts come as traffic, and I is theirs alone"},
    {FIELD(annotators), TEXT, .text = "lapse rates of annotators who answer in turn: \"0,.05,.5\""},
    {FIELD(partitions), COUNT, .least = 1, .most = 1024, .text = "partitions of completions"},
    {FIELD(workers), COUNT, .least = 1, .most = 64, .text = "workers that split them"},
    {FIELD(lag), NUMBER, .least = 0, .most = 3600,
     .text = "seconds until a worker knows of another's entries"},
    {FIELD(spread), FLAG, .text = "labels go to all workers, not to one"},
    {FIELD(pending), FLAG,
     .text = "a pick knows of those before it in its batch; false: not before "
             "the first fit"},
    {FIELD(fitted), FLAG, .text = "also the gap at the psi fitted to exactly these labels"},
    {FIELD(rules), LIST, .text = "RULE[,OPTION=VALUE]... each, or a design:NAME"},
    {FIELD(set), LIST, .text = "OPTION=VALUE of the worker, for all rules"},
    {.name = NULL}};

static void *member_of(struct scene *scene, const struct field *field)
{
    return (char *)scene + field->offset;
}

static const struct field *find_field(const char *name, struct error *error)
{
    struct nearest nearest = {0};
    for (const struct field *field = FIELDS; field->name != NULL; field++) {
        if (strcmp(field->name, name) == 0)
            return field;
        nearest_offer(&nearest, name, field->name);
    }
    error_set(error, ERROR_DATA, "%.60s: a scene has no such field; the nearest is %s", name,
              nearest.name);
    return NULL;
}

/* ---- values ---- */

static bool find_kind(const char *text, enum scene_kind *kind, struct error *error)
{
    struct nearest nearest = {0};
    for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++) {
        if (strcmp(text, KINDS[k]) == 0) {
            *kind = (enum scene_kind)k;
            return true;
        }
        nearest_offer(&nearest, text, KINDS[k]);
    }
    return error_set(error, ERROR_DATA, "kind: '%.60s' is none; the nearest is %s", text,
                     nearest.name);
}

/* A kind brings its defaults, so it comes before all else. */
static bool set_kind(struct scene *scene, const char *text, struct error *error)
{
    enum scene_kind kind = SCENE_LOG_LINEAR;
    if (!find_kind(text, &kind, error))
        return false;
    scene->kind = kind;
    scene->world = world_spec_of(kind == SCENE_FEATURES ? WORLD_LOG_LINEAR : (enum world_kind)kind);
    return true;
}

static bool set_number(struct scene *scene, const struct field *field, double value,
                       struct error *error)
{
    if (!(value >= field->least && value <= field->most))
        return error_set(error, ERROR_DATA, "%s: %g is not within %g to %g", field->name, value,
                         field->least, field->most);
    if (field->type == COUNT && value != floor(value))
        return error_set(error, ERROR_DATA, "%s: %g is not a whole number", field->name, value);
    if (field->type == COUNT)
        *(size_t *)member_of(scene, field) = (size_t)value;
    else
        *(double *)member_of(scene, field) = value;
    return true;
}

static bool set_text(struct scene *scene, const struct field *field, const char *text,
                     struct error *error)
{
    char **member = member_of(scene, field), *copy = strdup(text);
    if (copy == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    free(*member);
    *member = copy;
    return true;
}

static bool set_list(struct scene *scene, const struct field *field, const char *text,
                     struct error *error)
{
    struct string_list list = {0};
    for (; *text != '\0'; text += *text == ';') {
        size_t size = strcspn(text, ";");
        if (size > 0 && !string_list_append(&list, text, size)) {
            string_list_free(&list);
            return error_set(error, ERROR_FATAL, "out of memory");
        }
        text += size;
    }
    struct string_list *member = member_of(scene, field);
    string_list_free(member);
    *member = list;
    return true;
}

static bool set_field(struct scene *scene, const struct field *field, const char *text,
                      struct error *error)
{
    char *end;
    switch (field->type) {
    case KIND:
        return set_kind(scene, text, error);
    case TEXT:
    case PATH:
        return set_text(scene, field, text, error);
    case LIST:
        return set_list(scene, field, text, error);
    case FLAG:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return error_set(error, ERROR_DATA, "%s: expected true or false", field->name);
        *(bool *)member_of(scene, field) = text[0] == 't';
        return true;
    default:
        break;
    }
    double value = strtod(text, &end);
    if (end == text || *end != '\0')
        return error_set(error, ERROR_DATA, "%s: '%.60s' is not a number", field->name, text);
    return set_number(scene, field, value, error);
}

bool scene_set(struct scene *scene, const char *name, const char *text, struct error *error)
{
    const struct field *field = find_field(name, error);
    return field != NULL && set_field(scene, field, text, error);
}

/* ---- the file ---- */

static bool read_list(struct scene *scene, const struct field *field,
                      const config_setting_t *setting, struct error *error)
{
    struct string_list list = {0};
    for (int k = 0; k < config_setting_length(setting); k++) {
        const char *item = config_setting_get_string_elem(setting, k);
        if (item == NULL || !string_list_append(&list, item, strlen(item))) {
            string_list_free(&list);
            return error_set(error, ERROR_DATA, "%s: item %d is not a text", field->name, k + 1);
        }
    }
    struct string_list *member = member_of(scene, field);
    string_list_free(member);
    *member = list;
    return true;
}

/* A file's path is that of the scene unless it is absolute. */
static bool read_path(struct scene *scene, const struct field *field, const char *path,
                      const char *text, struct error *error)
{
    char full[PATH_SIZE];
    const char *slash = strrchr(path, '/');
    if (text[0] == '/' || slash == NULL)
        return set_text(scene, field, text, error);
    snprintf(full, sizeof full, "%.*s%s", (int)(slash - path) + 1, path, text);
    return set_text(scene, field, full, error);
}

static bool read_field(struct scene *scene, const struct field *field, const char *path,
                       const config_setting_t *setting, struct error *error)
{
    const char *text = config_setting_get_string(setting);
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_STRING:
        if (field->type == KIND)
            return set_kind(scene, text, error);
        if (field->type == TEXT)
            return set_text(scene, field, text, error);
        if (field->type == PATH)
            return read_path(scene, field, path, text, error);
        break;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        if (field->type == COUNT || field->type == NUMBER)
            return set_number(scene, field, (double)config_setting_get_int64(setting), error);
        break;
    case CONFIG_TYPE_FLOAT:
        if (field->type == COUNT || field->type == NUMBER)
            return set_number(scene, field, config_setting_get_float(setting), error);
        break;
    case CONFIG_TYPE_BOOL:
        if (field->type == FLAG) {
            *(bool *)member_of(scene, field) = config_setting_get_bool(setting) != 0;
            return true;
        }
        break;
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        if (field->type == LIST)
            return read_list(scene, field, setting, error);
        break;
    default:
        break;
    }
    static const char *const WANTED[] = {"a text",         "a text",   "a text",
                                         "a whole number", "a number", "true or false",
                                         "a list of texts"};
    return error_set(error, ERROR_DATA, "%s: expected %s", field->name, WANTED[field->type]);
}

static bool read_setting(struct scene *scene, const char *path, const config_setting_t *setting,
                         struct error *error)
{
    const struct field *field = find_field(config_setting_name(setting), error);
    return (field != NULL && read_field(scene, field, path, setting, error)) ||
           error_prefix(error, "%s:%u", path, config_setting_source_line(setting));
}

static bool read_file(struct scene *scene, const char *path, struct error *error)
{
    config_t config;
    config_init(&config);
    bool done = config_read_file(&config, path) == CONFIG_TRUE;
    if (!done && config_error_type(&config) == CONFIG_ERR_FILE_IO)
        error_set(error, ERROR_DATA, "%s: cannot be read", path);
    else if (!done)
        error_set(error, ERROR_DATA, "%s:%d: %s", path, config_error_line(&config),
                  config_error_text(&config));
    config_setting_t *root = done ? config_root_setting(&config) : NULL;
    const config_setting_t *kind = done ? config_setting_get_member(root, "kind") : NULL;
    done = done && (kind == NULL || read_setting(scene, path, kind, error));
    for (int k = 0; done && k < config_setting_length(root); k++) {
        const config_setting_t *setting = config_setting_get_elem(root, (unsigned)k);
        done = setting == kind || read_setting(scene, path, setting, error);
    }
    config_destroy(&config);
    return done;
}

/* ---- scenes ---- */

/* Worlds of a build that was not installed are those of the source tree. */
static const char *directory(void)
{
    bool installed = access(INFOPAIR_WORLD_DIRECTORY "/main.cfg", R_OK) == 0;
    return installed ? INFOPAIR_WORLD_DIRECTORY : INFOPAIR_SOURCE_WORLD_DIRECTORY;
}

static bool is_path(const char *name)
{
    return strchr(name, '/') != NULL || strchr(name, '.') != NULL;
}

/* Names of the scenes' files, without their ending; negative: the folder cannot be read. */
static int scan(struct dirent ***found)
{
    int count = scandir(directory(), found, NULL, alphasort), kept = 0;
    for (int k = 0; k < count; k++) {
        char *dot = strrchr((*found)[k]->d_name, '.');
        if (dot != NULL && strcmp(dot, ".cfg") == 0) {
            *dot = '\0';
            (*found)[kept++] = (*found)[k];
        } else {
            free((*found)[k]);
        }
    }
    return count < 0 ? count : kept;
}

static void free_names(struct dirent **found, int count)
{
    for (int k = 0; k < count; k++)
        free(found[k]);
    if (count >= 0)
        free(found);
}

static bool unknown_scene(const char *name, struct error *error)
{
    struct nearest nearest = {.name = "main"};
    struct dirent **found;
    int count = scan(&found);
    for (int k = 0; k < count; k++)
        nearest_offer(&nearest, name, found[k]->d_name);
    error_set(error, ERROR_DATA, "%.60s: no such scene; the nearest is %s", name, nearest.name);
    free_names(found, count);
    return false;
}

struct scene *scene_load(const char *name, struct error *error)
{
    struct scene *scene = calloc(1, sizeof *scene);
    char path[PATH_SIZE];
    if (scene == NULL) {
        error_set(error, ERROR_FATAL, "out of memory");
        return NULL;
    }
    *scene = (struct scene){.world = world_spec_of(WORLD_LOG_LINEAR),
                            .pool = 16,
                            .pools = 50,
                            .batch = 50,
                            .labels = 2000,
                            .keep = 1,
                            .seeds = 24,
                            .first_seed = 1,
                            .partitions = 1,
                            .workers = 1,
                            .drift_rounds = 5,
                            .drift_carry = true,
                            .pending = true};
    snprintf(path, sizeof path, is_path(name) ? "%.1000s" : "%s/%.200s.cfg",
             is_path(name) ? name : directory(), name);
    const char *slash = strrchr(name, '/');
    const char *base = slash == NULL ? name : slash + 1;
    scene->name = strndup(base, strcspn(base, "."));
    bool known = scene->name != NULL && (is_path(name) || access(path, R_OK) == 0);
    if (known && read_file(scene, path, error))
        return scene;
    if (!known)
        unknown_scene(name, error);
    scene_free(scene);
    return NULL;
}

void scene_free(struct scene *scene)
{
    if (scene == NULL)
        return;
    free(scene->name);
    free(scene->features);
    free(scene->theta);
    free(scene->annotators);
    string_list_free(&scene->rules);
    string_list_free(&scene->set);
    free(scene);
}

size_t scene_annotators(const struct scene *scene, double rates[SCENE_ANNOTATORS])
{
    size_t count = 0;
    for (char *at = scene->annotators; at != NULL && *at != '\0';) {
        char *end;
        double rate = strtod(at, &end);
        if (end == at || count == SCENE_ANNOTATORS || !(rate >= 0 && rate <= .99) ||
            (*end != ',' && *end != '\0'))
            return SIZE_MAX;
        rates[count++] = rate;
        at = end + (*end == ',');
    }
    return count;
}

bool scene_check(const struct scene *scene, struct error *error)
{
    if (scene->rules.count == 0)
        return error_set(error, ERROR_DATA, "rules: there is none");
    if (scene->kind == SCENE_FEATURES && (scene->features == NULL || scene->theta == NULL))
        return error_set(error, ERROR_DATA, "features, theta: kind features needs both files");
    if (scene->workers > scene->partitions)
        return error_set(error, ERROR_DATA, "workers: %zu split %zu partitions", scene->workers,
                         scene->partitions);
    double rates[SCENE_ANNOTATORS];
    if (scene_annotators(scene, rates) == SIZE_MAX)
        return error_set(error, ERROR_DATA,
                         "annotators: '%.60s' are not up to %d rates from 0 to .99",
                         scene->annotators, SCENE_ANNOTATORS);
    if (scene->drift > 0 && scene->lag > 0)
        return error_set(error, ERROR_DATA,
                         "drift: %g beside lag %g; all workers must know the new space at once",
                         scene->drift, scene->lag);
    if (scene->drift > 0 && !scene->pending)
        return error_set(error, ERROR_DATA, "drift: %g beside pending = false", scene->drift);
    if (scene->pool == 1)
        return error_set(error, ERROR_DATA, "pool: 1 completion has no pair");
    if (scene->pool > scene->world.completions)
        return error_set(error, ERROR_DATA, "pool: %zu of the %zu completions of a prompt",
                         scene->pool, scene->world.completions);
    if (scene->kind != SCENE_FEATURES && !world_spec_check(&scene->world, error))
        return false;
    return true;
}

static void write_field(const struct scene *scene, const struct field *field, FILE *out)
{
    const void *member = (const char *)scene + field->offset;
    const struct string_list *list = member;
    switch (field->type) {
    case KIND:
        fprintf(out, "%s", KINDS[scene->kind]);
        break;
    case TEXT:
    case PATH:
        fprintf(out, "%s", *(char *const *)member == NULL ? "" : *(char *const *)member);
        break;
    case COUNT:
        fprintf(out, "%zu", *(const size_t *)member);
        break;
    case NUMBER:
        fprintf(out, "%.17g", *(const double *)member);
        break;
    case FLAG:
        fprintf(out, "%d", *(const bool *)member);
        break;
    case LIST:
        for (size_t k = 0; k < list->count; k++)
            fprintf(out, "%s%s", k == 0 ? "" : ";", list->items[k]);
        break;
    }
}

/* Runs on a file that was written anew are others. */
static void write_state(const char *path, FILE *out)
{
    struct stat state;
    if (stat(path, &state) == 0)
        fprintf(out, " %lld@%lld.%09ld", (long long)state.st_size, (long long)state.st_mtim.tv_sec,
                state.st_mtim.tv_nsec);
}

char *scene_text(const struct scene *scene)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    fprintf(out, "%s %s", INFOPAIR_VERSION, scene->name);
    for (const struct field *field = FIELDS; field->name != NULL; field++) {
        /* Runs of other rules and seeds do not make this one another. */
        if (strcmp(field->name, "rules") == 0 || strstr(field->name, "seed") != NULL)
            continue;
        fprintf(out, " %s=", field->name);
        write_field(scene, field, out);
    }
    if (scene->kind == SCENE_FEATURES) {
        write_state(scene->features, out);
        write_state(scene->theta, out);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

void scene_fields(FILE *out)
{
    for (const struct field *field = FIELDS; field->name != NULL; field++)
        fprintf(out, "  %-18s %s\n", field->name, field->text);
}

static void print_scene(const char *name, FILE *out)
{
    char path[PATH_SIZE], line[256] = "";
    snprintf(path, sizeof path, "%.700s/%.255s.cfg", directory(), name);
    FILE *in = fopen(path, "re");
    if (in == NULL || fgets(line, sizeof line, in) == NULL)
        line[0] = '\0';
    if (in != NULL)
        fclose(in);
    line[strcspn(line, "\n")] = '\0';
    fprintf(out, "  %-14s %s\n", name, line + strspn(line, "# "));
}

bool scene_list(FILE *out, struct error *error)
{
    struct dirent **found;
    int count = scan(&found);
    if (count < 0)
        return error_set(error, ERROR_DATA, "%s: %s", directory(), strerror(errno));
    for (int k = 0; k < count; k++)
        print_scene(found[k]->d_name, out);
    free_names(found, count);
    return true;
}
