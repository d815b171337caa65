/* front/models.c */
#include "front/models.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "dialect/anthropic.h"
#include "dialect/gemini.h"

static void entry(struct json_writer *w, const struct snap *s, str id, const char *owner, const struct recipe *recipe,
                  bool is_default, str description)
{
    jw_begin(w, '{');
    put_str(w, S("id"), id);
    put_str(w, S("object"), S("model"));
    put_int(w, S("created"), (int64_t)(s->built_wall_ns / NS_PER_S));
    put_str(w, S("owned_by"), str_of(owner));
    if (description.len)
        put_str(w, S("description"), description);
    put_open(w, S("routing"), '{');
    put_str(w, S("resolution"), recipe ? S("virtual") : S("passthrough"));
    put_bool(w, S("selectable"), true);
    put_bool(w, S("default_route"), is_default);
    if (recipe)
        put_str(w, S("recipe"), recipe->profile->name);
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

static void models_json(const struct snap *s, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_str(&w, S("object"), S("list"));
    put_open(&w, S("data"), '[');
    for (size_t i = 0; i < s->virtuals.n; i++)
        virtual_entry(&w, s, i);
    for (size_t i = 0; s->config->include_config_models_in_list && i < s->models.n; i++)
        model_entry(&w, s, i);
    jw_end(&w, ']');
    jw_end(&w, '}');
}

static bool models_json_one(const struct snap *s, str name, struct buf *out)
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

/* ---- the same lists in other dialects ---- */

/* All names one may ask for, virtual ones first. */
static size_t names_list(const struct snap *s, const struct model ***models, str **names, struct arena *a)
{
    size_t n = 0, most = s->virtuals.n + s->models.n;
    *names = ARENA_ARRAY(a, str, most);
    *models = ARENA_ARRAY(a, const struct model *, most);
    for (size_t i = 0; i < s->virtuals.n; i++)
        (*names)[n++] = s->virtuals.entries[i].key;
    for (size_t i = 0; s->config->include_config_models_in_list && i < s->models.n; i++) {
        (*models)[n] = s->models.entries[i].value;
        (*names)[n++] = s->models.entries[i].key;
    }
    return n;
}

static int64_t window_of_card(const struct model *m)
{
    return m && m->card ? m->card->context_window : 0;
}

static struct anthropic_model anthropic_entry(const struct snap *s, str name, const struct model *m)
{
    return (struct anthropic_model){ .id = name, .display_name = name, .created = (int64_t)(s->built_wall_ns / NS_PER_S),
                                     .max_input_tokens = window_of_card(m) };
}

static struct gemini_model gemini_entry(const struct snap *s, str name, const struct model *m)
{
    const struct recipe *r = map_get(&s->virtuals, name);
    str text = m && m->card ? m->card->description : r ? r->profile->description : S("");
    return (struct gemini_model){ .name = name, .description = text, .context_tokens = window_of_card(m) };
}

static void models_anthropic(const struct snap *s, struct arena *a, struct buf *out)
{
    const struct model **models;
    str *names;
    size_t n = names_list(s, &models, &names, a);
    struct anthropic_model *list = ARENA_ARRAY(a, struct anthropic_model, n);
    for (size_t i = 0; i < n; i++)
        list[i] = anthropic_entry(s, names[i], models[i]);
    anthropic_models_write(list, n, false, out);
}

static void models_gemini(const struct snap *s, struct arena *a, struct buf *out)
{
    const struct model **models;
    str *names;
    size_t n = names_list(s, &models, &names, a);
    struct gemini_model *list = ARENA_ARRAY(a, struct gemini_model, n);
    for (size_t i = 0; i < n; i++)
        list[i] = gemini_entry(s, names[i], models[i]);
    gemini_models_write(list, n, out);
}

void models_all(const struct snap *s, struct arena *a, const struct dialect_ops *d, struct buf *out)
{
    if (d == &dialect_anthropic)
        models_anthropic(s, a, out);
    else if (d == &dialect_gemini)
        models_gemini(s, a, out);
    else
        models_json(s, out);
}

bool models_one(const struct snap *s, str name, const struct dialect_ops *d, struct buf *out)
{
    const struct model *m = map_get(&s->models, name);
    if (!m && !map_get(&s->virtuals, name))
        return false;
    if (d == &dialect_anthropic) {
        struct anthropic_model entry = anthropic_entry(s, name, m);
        anthropic_model_write(&entry, out);
    } else if (d == &dialect_gemini) {
        struct gemini_model entry = gemini_entry(s, name, m);
        gemini_model_write(&entry, out);
    } else {
        return models_json_one(s, name, out);
    }
    return true;
}
