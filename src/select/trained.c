/* select/trained.c */
#include "select/trained.h"

#include <math.h>

static const char *const categories[CATEGORIES] = {
    "math", "physics", "chemistry", "biology", "computer science", "history", "economics", "business", "law", "health",
        "psychology", "philosophy",
    "other", "unknown",
};

float *trained_query(const struct select_in *in, struct arena *a, uint32_t *n)
{
    if (!in->embedding || in->dim == 0)
        return NULL;
    float *x = ARENA_ARRAY(a, float, in->dim + CATEGORIES);
    memcpy(x, in->embedding, in->dim * sizeof *x);
    uint32_t at = in->category.len ? 12 : 13;           /* a name that is not listed is "other", none is "unknown" */
    for (uint32_t i = 0; i < CATEGORIES; i++)
        if (str_ieq(in->category, str_of(categories[i])))
            at = i;
    x[in->dim + at] = 1;
    *n = in->dim + CATEGORIES;
    return x;
}

jref trained_open(struct arena *a, str bytes, const char *name, struct json *j, struct err *e)
{
    struct json_error je;
    if (json_parse(a, bytes, j, &je) < 0) {
        err_set(e, "this is no JSON: byte %zu: %s", je.at, je.what);
        return JSON_NONE;
    }
    str algorithm = json_is(j, 0, JSON_OBJECT) ? json_str(j, json_get(j, 0, S("algorithm")), a) : S("");
    if (!str_eq(algorithm, str_of(name))) {
        err_set(e, "a file with \"algorithm\": \"%s\" is needed; this one has '" STR_FMT "'", name, STR_ARG(algorithm));
        return JSON_NONE;
    }
    return 0;
}

static bool number_at(const struct json *j, jref at, float *out)
{
    double v;
    if (!json_is(j, at, JSON_NUMBER) || !json_double(j, at, &v) || !(fabs(v) < 1e30))
        return false;
    *out = (float)v;
    return true;
}

int trained_matrix(const struct json *j, jref object, const char *key, struct arena *a, struct matrix *out, struct err *e)
{
    jref list = json_get(j, object, str_of(key));
    *out = (struct matrix){ 0 };
    if (!json_is(j, list, JSON_ARRAY))
        return err_set(e, "\"%s\" is missing, or no list", key);
    uint32_t n = json_count(j, list), at = 0;
    bool is_flat = n == 0 || !json_is(j, list + 1, JSON_ARRAY);
    out->rows = is_flat ? 1 : n;
    out->columns = is_flat ? n : json_count(j, list + 1);
    size_t cells = (size_t)out->rows * out->columns;    /* not more than the file has values */
    if (cells > j->n)
        return err_set(e, "\"%s\": its rows differ in length", key);
    float *v = arena_try(a, (cells + 1) * sizeof *v);
    if (!v)
        return err_set(e, "no memory for \"%s\"", key);
    out->v = v;
    JSON_EACH_ITEM(j, list, row) {
        if (is_flat) {
            if (!number_at(j, row, &v[at++]))
                return err_set(e, "\"%s\": item %u is no number", key, at);
            continue;
        }
        if (!json_is(j, row, JSON_ARRAY) || json_count(j, row) != out->columns)
            return err_set(e, "\"%s\": its rows differ in length", key);
        JSON_EACH_ITEM(j, row, item)
            if (!number_at(j, item, &v[at++]))
                return err_set(e, "\"%s\": item %u is no number", key, at);
    }
    return 0;
}

int trained_names(const struct json *j, jref object, const char *key, struct arena *a, struct strings *out, struct err *e)
{
    jref list = json_get(j, object, str_of(key));
    if (!json_is(j, list, JSON_ARRAY))
        return err_set(e, "\"%s\" is missing, or no list", key);
    *out = (struct strings){ .items = ARENA_ARRAY(a, str, json_count(j, list)) };
    JSON_EACH_ITEM(j, list, item) {
        if (!json_is(j, item, JSON_STRING))
            return err_set(e, "\"%s\": item %zu is no name", key, out->n + 1);
        out->items[out->n++] = arena_str(a, json_str(j, item, a));
    }
    return 0;
}

void trained_choose(const struct select_in *in, struct arena *a, struct pick *out, str label, const char *why)
{
    pick_declared(in, a, out);
    for (uint32_t i = 0; i < in->n && label.len; i++) {
        const struct candidate *c = &in->candidates[i];
        if (!str_eq(label, c->ref && c->ref->lora_name.len ? c->ref->lora_name : c->model))
            continue;
        pick_first(out, i, in->n);
        out->scores[i] = 1;
        out->confidence = 0.8;          /* VSR's figure: these selectors do not say how sure they are */
        out->reason = "trained";
        return;
    }
    out->confidence = 0;
    out->fallback = why ? why : "selector_undeclared_candidate";
}
