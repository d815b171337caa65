/* front/models.c */
#include "front/models.h"

#include "base/clock.h"
#include "base/json.h"

static void entry(struct json_writer *w, const struct snap *s, str id, const char *owner, const struct recipe *recipe,
                  bool is_default, str description)
{
    jw_begin(w, '{');
    jw_key(w, S("id"));
    jw_str(w, id);
    jw_key(w, S("object"));
    jw_str(w, S("model"));
    jw_key(w, S("created"));
    jw_int(w, (int64_t)(s->built_wall_ns / NS_PER_S));
    jw_key(w, S("owned_by"));
    jw_str(w, str_of(owner));
    if (description.len) {
        jw_key(w, S("description"));
        jw_str(w, description);
    }
    jw_key(w, S("routing"));
    jw_begin(w, '{');
    jw_key(w, S("resolution"));
    jw_str(w, recipe ? S("virtual") : S("passthrough"));
    jw_key(w, S("selectable"));
    jw_bool(w, true);
    jw_key(w, S("default_route"));
    jw_bool(w, is_default);
    if (recipe) {
        jw_key(w, S("recipe"));
        jw_str(w, recipe->profile->name);
    }
    jw_end(w, '}');
    jw_end(w, '}');
}

static void virtual_entry(struct json_writer *w, const struct snap *s, size_t i)
{
    const struct recipe *r = s->virtuals.entries[i].value;
    entry(w, s, s->virtuals.entries[i].key, "signalbox", r, i == 0,
          r->profile->description.len ? r->profile->description : S("routed by policy"));
}

static void model_entry(struct json_writer *w, const struct snap *s, size_t i)
{
    const struct model *m = s->models.entries[i].value;
    entry(w, s, s->models.entries[i].key, "upstream-endpoint", NULL, false, m->card ? m->card->description : S(""));
}

void models_json(const struct snap *s, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    jw_key(&w, S("object"));
    jw_str(&w, S("list"));
    jw_key(&w, S("data"));
    jw_begin(&w, '[');
    for (size_t i = 0; i < s->virtuals.n; i++)
        virtual_entry(&w, s, i);
    for (size_t i = 0; s->config->include_config_models_in_list && i < s->models.n; i++)
        model_entry(&w, s, i);
    jw_end(&w, ']');
    jw_end(&w, '}');
}

bool models_json_one(const struct snap *s, str name, struct buf *out)
{
    struct json_writer w = { .out = out };
    for (size_t i = 0; i < s->virtuals.n; i++)
        if (str_eq(s->virtuals.entries[i].key, name)) {
            virtual_entry(&w, s, i);
            return true;
        }
    for (size_t i = 0; i < s->models.n; i++)
        if (str_eq(s->models.entries[i].key, name)) {
            model_entry(&w, s, i);
            return true;
        }
    return false;
}
