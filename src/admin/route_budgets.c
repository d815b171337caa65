/* admin/route_budgets.c -- /api/v1/budgets: how much may be spent, and how much of it is. */
#include <errno.h>

#include "admin/resources.h"
#include "admin/tenancy.h"
#include "base/json.h"
#include "base/put.h"
#include "base/value.h"
#include "pipeline/budget.h"
#include "pipeline/snap.h"

static bool is_configured(const struct tenancy_call *c, str name)
{
    const struct tenancy_conf *t = c->snap ? &c->snap->config->tenancy : NULL;
    for (size_t i = 0; t && i < t->n_budgets; i++)
        if (str_eq(t->budgets[i].name, name))
            return true;
    return false;
}

static void failed(struct tenancy_call *c, str name, int rc, const struct err *e)
{
    if (rc == -ENOENT && is_configured(c, name))
        tenancy_error(c, 409, "CONFIGURED", "the budget '" STR_FMT "' is in the configuration file: change it there",
                      STR_ARG(name));
    else if (rc == -ENOENT)
        tenancy_error(c, 404, "NOT_FOUND", "there is no budget '" STR_FMT "'", STR_ARG(name));
    else if (rc == -EEXIST)
        tenancy_error(c, 409, "EXISTS", "a budget '" STR_FMT "' exists already; PUT replaces it", STR_ARG(name));
    else
        tenancy_error(c, 400, "INVALID_INPUT", "%s", e->text);
}

static void list(struct tenancy_call *c, str name)
{
    struct json_writer w = { .out = c->out };
    if (name.len == 0) {
        jw_begin(&w, '{');
        put_open(&w, S("budgets"), '[');
    }
    if (!budgets_write(name, c->snap, &w))
        failed(c, name, -ENOENT, NULL);
    if (name.len == 0) {
        jw_end(&w, ']');
        jw_end(&w, '}');
    }
}

static void put(struct tenancy_call *c, str name, bool is_new)
{
    struct err e = { 0 };
    const struct value *body = tenancy_body(c);
    if (!body)
        return;
    const struct value *given = body->kind == VALUE_MAP ? value_get(body, S("name")) : NULL;
    str called = given ? given->text : name;
    if (!given && name.len && body->kind == VALUE_MAP) {        /* PUT: the path is enough */
        struct value *named = value_map(c->a);
        for (size_t i = 0; i < body->n_pairs; i++)
            value_set(c->a, named, body->pairs[i].key, body->pairs[i].value);
        value_set(c->a, named, S("name"), value_scalar(c->a, name));
        named->pairs[named->n_pairs - 1].value->is_quoted = true;
        body = named;
    }
    int rc = is_configured(c, called) ? -EEXIST : budgets_put(name, body, is_new, &e);
    if (rc == -ENOENT)                          /* PUT makes what is not there */
        rc = budgets_put(name, body, true, &e);
    if (rc < 0) {
        failed(c, called, rc, &e);
        return;
    }
    c->status = is_new ? 201 : 200;
    list(c, called);
}

static void delete(struct tenancy_call *c, str name)
{
    struct err e = { 0 };
    int rc = budgets_delete(name, &e);
    if (rc < 0) {
        failed(c, name, rc, &e);
        return;
    }
    buf_str(c->out, S("{\"deleted\":true}"));
}

void budgets_answer(struct tenancy_call *c)
{
    str rest = str_from(c->path, sizeof "/api/v1/budgets" - 1);
    rest = str_starts(rest, S("/")) ? str_from(rest, 1) : rest;
    str name = tenancy_part(c->a, &rest);
    if (rest.len)
        tenancy_error(c, 404, "NOT_FOUND", "a budget has nothing below it");
    else if (str_eq(c->method, S("GET")))
        list(c, name);
    else if (str_eq(c->method, S("POST")) && name.len == 0)
        put(c, name, true);
    else if (str_eq(c->method, S("PUT")) && name.len)
        put(c, name, false);
    else if (str_eq(c->method, S("DELETE")) && name.len)
        delete(c, name);
    else
        tenancy_error(c, 405, "METHOD_NOT_ALLOWED", "budgets take GET, POST, PUT and DELETE");
}

WAITS void admin_budgets(struct admin_req *r)
{
    tenancy_serve(r, budgets_answer);
}
