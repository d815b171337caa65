/* plugin/plugin.c -- the family and its names. */
#include "plugin/plugin.h"

#define X(name) extern const struct plugin_ops plugin_##name;
#include "plugin/list.h"
#undef X

const struct plugin_ops *const plugin_all[] = {
#define X(name) &plugin_##name,
#include "plugin/list.h"
#undef X
    NULL,
};

const struct plugin_ops *plugin_by_type(str type)
{
    for (size_t i = 0; plugin_all[i]; i++) {
        if (str_eq(type, str_of(plugin_all[i]->type)))
            return plugin_all[i];
        str rest = str_of(plugin_all[i]->aliases);
        while (rest.len) {
            str alias = str_cut(&rest, ' ');
            if (str_eq(type, alias))
                return plugin_all[i];
        }
    }
    return NULL;
}
