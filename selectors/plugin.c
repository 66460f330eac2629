/* Rules loaded from shared objects. The object stays loaded until sel_rule_unload, and the rule is
 * its own: nobody may use it afterwards. */
#include "selectors/selectors.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct sel_plugin {
    void *object;
    const struct sel_rule *rule;
};

static bool parameters_are_whole(const struct sel_rule *rule)
{
    if (rule->parameter_count > 0 && rule->parameters == NULL)
        return false;
    for (size_t k = 0; k < rule->parameter_count; k++) {
        const struct sel_parameter *each = rule->parameters + k;
        bool whole = !each->count || each->fallback == floor(each->fallback);
        bool fits = each->fallback >= each->least && each->fallback <= each->most && whole;
        if (each->name == NULL || each->text == NULL || !(each->required || fits))
            return false;
    }
    return true;
}

/* What is wrong with a rule, NULL when nothing is. */
static const char *fault_of(const struct sel_rule *rule)
{
    if (rule->version != SEL_RULE_VERSION)
        return "it was built for another version of rule.h";
    if (rule->name == NULL || rule->name[0] == '\0' || rule->formula == NULL ||
        rule->source == NULL)
        return "its name, formula or source is missing";
    int shapes = (rule->score != NULL) + (rule->scores != NULL) + (rule->distribution != NULL) +
                 (rule->select != NULL);
    if (shapes != 1)
        return "it must give exactly one of score, scores, distribution and select";
    if (rule->parameter_count > SEL_PARAMETERS_MAX)
        return "it has too many parameters";
    if (!parameters_are_whole(rule))
        return "a parameter lacks its name or text, or its default is out of range";
    if (rule->needs >> SEL_INPUTS != 0)
        return "it needs inputs that are unknown";
    if (sel_rule_find(rule->name) != NULL)
        return "a rule of the library has its name";
    return NULL;
}

struct sel_plugin *sel_rule_load(const char *path, const struct sel_rule **rule, char *message,
                                 size_t size)
{
    struct sel_plugin *plugin = calloc(1, sizeof *plugin);
    if (plugin == NULL) {
        snprintf(message, size, "out of memory");
        return NULL;
    }
    plugin->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin->object == NULL) {
        snprintf(message, size, "cannot load: %s", dlerror());
        free(plugin);
        return NULL;
    }
    plugin->rule = dlsym(plugin->object, SEL_PLUGIN_SYMBOL);
    const char *fault =
        plugin->rule == NULL ? "it exports no symbol " SEL_PLUGIN_SYMBOL : fault_of(plugin->rule);
    if (fault != NULL) {
        snprintf(message, size, "%s is not a rule: %s", path, fault);
        sel_rule_unload(plugin);
        return NULL;
    }
    *rule = plugin->rule;
    return plugin;
}

void sel_rule_unload(struct sel_plugin *plugin)
{
    if (plugin == NULL)
        return;
    dlclose(plugin->object);
    free(plugin);
}
