#include "lambdas.h"

#include "engine/groups.h"

json_t *lambdas_json(const struct engine *engine)
{
    const struct engine_view view = engine_view(engine);
    json_t *object = json_object();
    for (size_t k = 0; object != NULL && k < view.groups; k++) {
        char name[GROUP_NAME_MAX + 1];
        json_object_set_new(object, engine_group_name(engine, k, name), json_real(view.lambdas[k]));
    }
    return object;
}
