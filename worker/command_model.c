/* infopair model: the newest fit in force, as the workers take it from the ledger. SPACE and FIT
 * stand in the ledger's first partition, so that nothing else is read. */
#include "annotators_report.h"
#include "command.h"
#include "command_kafka.h"
#include "interrupt.h"
#include "lambdas.h"
#include "ledger_view.h"
#include "npy.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model_command {
    struct command_patience patience;
    const char *space;
    const char *npy;

    struct ledger_view view;
    char spaces[400]; /* that the ledger names, for an error */
    /* Of the FIT in force. */
    int64_t fit_id, time, labels;
    double objective;
};

static const struct command_option OPTIONS[] = {
    {"space", 0, "NAME", "of this feature space, instead of the current one"},
    {"npy", 0, "FILE", "write psi * scale, for raw features, as float64 to FILE (.npy)"},
    COMMAND_PATIENCE,
    {0}};

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct model_command *model = closure;
    bool good = true;
    if (name == NULL)
        return error_set(error, ERROR_FATAL, "model takes no argument '%.80s'", value);
    if (command_take_patience(&model->patience, name, value, &good, error))
        return good;
    if (strcmp(name, "space") == 0)
        model->space = value;
    else
        model->npy = value;
    return true;
}

static const struct command_usage USAGE = {
    .name = "model",
    .summary =
        "Prints the fit in force as one line of JSON: what the labels have taught so far, as "
        "every\n"
        "worker takes it from the ledger (the highest fit_id of the current feature space). Reads\n"
        "committed entries only, joins no group and changes nothing.\n"
        "\n"
        "The reward of a completion with features phi is, up to a constant of its prompt,\n"
        "    psi' ((phi - centre) * scale)\n"
        "where centre and scale are those of the space; P(left is better) is\n"
        "    (1 - lapse) sigma(reward(left) - reward(right)) + lapse / 2.\n"
        "With tie > 0 (labels.ties) that is so of answers that prefer a side; a tie comes with\n"
        "    (1 - lapse) tie / (exp(m / 2) + exp(-m / 2) + tie), m = reward(left) - "
        "reward(right).\n"
        "With --npy, FILE holds the vector psi * scale, so that a trainer's reward head is\n"
        "    numpy.load(FILE) @ phi\n"
        "with the features as they were sent. Of each annotator stand there the share of answers\n"
        "that are coin flips (lapse), the preference for the left side in log-odds, and the "
        "shares\n"
        "of answers that agree with the fit of all others and with others' answers to the same\n"
        "pairs. Ends with 1 when the ledger holds no fit.",
    .examples = "  infopair model --config infopair.cfg | jq '{fit_id, labels, lambda}'\n"
                "  infopair model --config infopair.cfg --npy head.npy > model.json\n",
    .options = OPTIONS,
    .take = take,
};

static bool wants(void *closure, const struct entry *entry, struct ledger_place place)
{
    (void)closure;
    (void)place;
    return entry->kind == ENTRY_SPACE || entry->kind == ENTRY_FIT;
}

static void note_space(struct model_command *model, struct span name)
{
    char quoted[220];
    snprintf(quoted, sizeof quoted, "'%.*s'", (int)(name.size > 200 ? 200 : name.size), name.data);
    size_t used = strlen(model->spaces);
    if (strstr(model->spaces, quoted) == NULL)
        snprintf(model->spaces + used, sizeof model->spaces - used, "%s%s", used == 0 ? "" : ", ",
                 quoted);
}

static bool took(void *closure, const struct entry *entry, struct ledger_place place,
                 struct error *error)
{
    struct model_command *model = closure;
    (void)place;
    (void)error;
    const struct engine_view view = engine_view(model->view.engine);
    if (entry->kind == ENTRY_SPACE)
        note_space(model, entry->space.feature_space);
    if (view.fit_id == 0)
        model->fit_id = 0; /* another space has taken over */
    if (entry->kind != ENTRY_FIT || view.fit_id == model->fit_id)
        return true;
    model->fit_id = view.fit_id;
    model->time = entry->time;
    model->labels = entry->fit.labels;
    model->objective = entry->fit.objective;
    return true;
}

static bool nothing_there(const struct model_command *model, const struct engine_view *view,
                          struct error *error)
{
    const struct options *options = model->view.options;
    if (view->space == NULL && model->spaces[0] == '\0')
        return error_set(error, ERROR_FATAL,
                         "%s holds no SPACE and no FIT yet: a space gets its scale once "
                         "features.scale_pools = %lld pools are ready, a fit comes after "
                         "fit.every = %lld labels",
                         options->topics_ledger, (long long)options->features_scale_pools,
                         (long long)options->fit_every);
    if (view->space == NULL)
        return error_set(
            error, ERROR_FATAL, "%s holds no SPACE of '%s'; it holds %s", options->topics_ledger,
            model->space != NULL ? model->space : options->features_space, model->spaces);
    return error_set(error, ERROR_FATAL,
                     "%s holds no FIT of the space '%s' yet: the first comes after fit.every = "
                     "%lld labels",
                     options->topics_ledger, view->space, (long long)options->fit_every);
}

static json_t *numbers(const double *values, size_t count)
{
    json_t *array = json_array();
    for (size_t k = 0; k < count; k++)
        json_array_append_new(array, json_real(values[k]));
    return array;
}

static bool print(const struct model_command *model, const struct engine_view *view,
                  struct error *error)
{
    json_t *line = json_pack(
        "{s:s, s:I, s:I, s:I, s:o, s:f, s:o, s:f, s:f, s:f, s:f, s:I, s:f, s:o, s:f, s:o}",
        "feature_space", view->space, "fit_id", (json_int_t)model->fit_id, "time",
        (json_int_t)model->time, "dimension", (json_int_t)view->dimension, "psi",
        numbers(view->psi, view->dimension), "lambda", view->lambda, "lambdas",
        lambdas_json(model->view.engine), "lapse", view->lapse, "left_bias", view->left_bias, "tie",
        view->tie, "return_rate", view->return_rate, "labels", (json_int_t)model->labels,
        "objective", model->objective, "centre", numbers(view->centre, view->dimension), "scale",
        view->scale, "annotators", annotators_json(view));
    bool good = line != NULL && json_dumpf(line, stdout, 0) == 0 && putchar('\n') != EOF &&
                fflush(stdout) == 0;
    json_decref(line);
    return good || error_set(error, ERROR_FATAL, "standard output cannot be written");
}

static bool write_head(const struct model_command *model, const struct engine_view *view,
                       struct error *error)
{
    double *head = malloc(view->dimension * sizeof *head);
    if (head == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    for (size_t k = 0; k < view->dimension; k++)
        head[k] = view->psi[k] * view->scale;
    bool good = npy_write(model->npy, head, view->dimension, error);
    free(head);
    return good;
}

static bool show(struct model_command *model, struct error *error)
{
    const struct ledger_visitor visitor = {model, wants, took};
    if (!ledger_view_read(&model->view, USAGE.name, 1, &visitor, error))
        return false;
    const struct engine_view view = engine_view(model->view.engine);
    if (view.space == NULL || view.fit_id == 0)
        return nothing_there(model, &view, error);
    return (model->npy == NULL || write_head(model, &view, error)) && print(model, &view, error);
}

static int run(struct model_command *model, const struct options *options)
{
    struct error error = {ERROR_NONE, ""};
    int code = EXIT_USAGE;
    if (!ledger_view_init(&model->view, options, model->space, &error))
        return command_fail(USAGE.name, &error, code);
    rd_kafka_t *admin = command_admin(USAGE.name, options, &model->patience, &code);
    if (admin == NULL)
        return code;
    int32_t partitions;
    bool good = command_topic(admin, options->topics_ledger, &partitions, &error);
    rd_kafka_destroy(admin);
    return good && show(model, &error) ? EXIT_DONE : command_fail(USAGE.name, &error, EXIT_FAILED);
}

int command_model(int argc, char **argv)
{
    struct model_command model = {0};
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, &model, &options);
    if (code != COMMAND_GO_ON)
        return code;
    interrupt_catch();
    code = run(&model, options);
    ledger_view_fini(&model.view);
    options_free(options);
    return code;
}
