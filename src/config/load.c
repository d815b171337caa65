/* config/load.c -- the one place where a file becomes a configuration.
 *
 * parse -> old spellings -> environment -> decode -> complete -> validate -> check. Every step
 * adds findings and goes on as long as the next can make sense of what is left, so that one run
 * reports all there is. A configuration comes out only when no finding is an error. */
#include <errno.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hex.h"
#include "config/tables.h"

enum { FILE_BYTES_MAX = 64 * 1024 * 1024 };             /* a configuration, not a data set */

static const char *env_process(const char *name)
{
    return getenv(name);
}

/* ---- completing what was decoded ---- */

static str text_hash(struct arena *a, str text)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)(text.len ? text.ptr : ""), text.len, digest);
    char *hex = arena_alloc(a, 2 * sizeof digest);
    return (str){ hex, (size_t)(hex_write(hex, digest, sizeof digest) - hex) };
}

static str directory_of(struct arena *a, const char *file)
{
    str path = str_of(file);
    while (path.len && path.ptr[path.len - 1] != '/')
        path.len--;
    return path.len ? arena_str(a, path.len > 1 ? str_upto(path, path.len - 1) : path) : S(".");
}

static void strings_add(struct arena *a, struct strings *list, str s)
{
    *PUSH(a, list->items, list->n) = s;
}

static void auto_names(struct loading *l)
{
    struct config *c = &l->draft->config;
    if (l->draft->auto_model_names.n) {
        c->auto_names = l->draft->auto_model_names;
        return;
    }
    strings_add(l->a, &c->auto_names, S("vllm-sr/auto"));
    strings_add(l->a, &c->auto_names, S("auto"));
    str own = l->draft->auto_model_name;
    if (own.len && !str_eq(own, S("vllm-sr/auto")) && !str_eq(own, S("auto")))
        strings_add(l->a, &c->auto_names, own);
}

enum { KEY_FILE_MAX = 64 * 1024 };

/* The text of a key file; findings say why there is none. */
static str key_file_read(struct loading *l, const struct backend_conf *b, str path, const char *file)
{
    char *text = arena_alloc(l->a, KEY_FILE_MAX + 1);
    FILE *f = fopen(file, "rbe");
    size_t n = f ? fread(text, 1, KEY_FILE_MAX + 1, f) : 0;
    int why = errno;
    if (f)
        fclose(f);
    if (f && n > 0 && n <= KEY_FILE_MAX)
        return (str){ text, n };
    finding_add(l->out, "unreadable-file", SEVERITY_WARNING, b->at, path, S("set it before serving"),
                "the key file %s %s", file, !f ? strerror(why) : n ? "is too large" : "is empty");
    return S("");
}

/* What the providers' own formats need beside a key: AWS keys, a service account, an application's secret. */
static void secrets_read(struct loading *l, struct backend_conf *b, str path)
{
    const struct { str variable; str *to; const char *key; } table[] = {
        { b->aws_access_key_id_env, &b->access_key_id, "aws_access_key_id_env" },
        { b->aws_secret_access_key_env, &b->secret_access_key, "aws_secret_access_key_env" },
        { b->aws_session_token_env, &b->session_token, "aws_session_token_env" },
        { b->client_secret_env, &b->client_secret, "client_secret_env" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (!table[i].variable.len)
            continue;
        *table[i].to = arena_str(l->a, str_trim(str_of(l->env(arena_cstr(l->a, table[i].variable)))));
        if (!table[i].to->len)
            finding_add(l->out, "unset-variable", SEVERITY_WARNING, b->at,
                        arena_printf(l->a, STR_FMT ".%s", STR_ARG(path), table[i].key), S("set it before serving"),
                        "the environment variable " STR_FMT " is not set", STR_ARG(table[i].variable));
    }
    str kind = b->type.len && !str_ieq(b->type, S("chat")) ? b->type : b->provider;
    bool is_google = str_ieq(kind, S("vertex-ai")) || str_ieq(kind, S("google-vertex")) || str_ieq(kind, S("vertex-anthropic"));
    const char *file = b->service_account_file.len ? arena_cstr(l->a, b->service_account_file)
                       : is_google && !b->api_key.len && !b->api_key_env.len ? l->env("GOOGLE_APPLICATION_CREDENTIALS") : NULL;
    if (file && *file)
        b->service_account = key_file_read(l, b, arena_printf(l->a, STR_FMT ".service_account_file", STR_ARG(path)), file);
    if (!b->location.len)
        b->location = b->region;            /* one word for both: where it runs */
}

static void keys_read(struct loading *l)
{
    struct config *c = &l->draft->config;
    for (size_t i = 0; i < c->n_models; i++) {
        struct model_conf *m = &c->models[i];
        m->pricing.is_set = m->pricing.prompt > 0 || m->pricing.completion > 0 ||
                            m->pricing.cached_input > 0 || m->pricing.cache_write > 0 ||
                            m->pricing.set >> 1;
        for (size_t k = 0; k < m->n_backends; k++) {
            struct backend_conf *b = &m->backends[k];
            secrets_read(l, b, arena_printf(l->a, "providers.models[%zu].backend_refs[%zu]", i, k));
            if (b->api_key.len || b->api_key_env.len == 0)
                continue;
            const char *key = l->env(arena_cstr(l->a, b->api_key_env));
            b->api_key = arena_str(l->a, str_trim(str_of(key)));    /* files end in a newline */
            if (b->api_key.len == 0)
                finding_add(l->out, "unset-variable", SEVERITY_WARNING, b->at,
                            arena_printf(l->a, "providers.models[%zu].backend_refs[%zu].api_key_env",
                                         i, k),
                            S("set it before serving"),
                            "the environment variable " STR_FMT " is not set; requests to `" STR_FMT
                            "` go without a key", STR_ARG(b->api_key_env), STR_ARG(m->name));
        }
    }
}

/* Models without a card get one that says nothing but their name. */
static void cards_complete(struct loading *l)
{
    struct config *c = &l->draft->config;
    bool are_declared = l->draft->routing.n_cards > 0;
    for (size_t i = 0; i < l->draft->routing.n_cards; i++)
        *PUSH(l->a, c->cards, c->n_cards) = l->draft->routing.cards[i];
    for (size_t i = 0; i < c->n_models; i++) {
        bool is_known = false;
        for (size_t k = 0; k < c->n_cards && !is_known; k++)
            is_known = str_eq(c->cards[k].name, c->models[i].name);
        if (is_known)
            continue;
        if (are_declared)
            finding_add(l->out, "missing-card", SEVERITY_WARNING, c->models[i].at,
                        arena_printf(l->a, "providers.models[%zu]", i),
                        S("add it to routing.modelCards"),
                        "the model `" STR_FMT "` has no card", STR_ARG(c->models[i].name));
        *PUSH(l->a, c->cards, c->n_cards) =
            (struct card_conf){ .name = c->models[i].name, .at = c->models[i].at };
    }
}

static void key_headers(struct loading *l)
{
    struct config *c = &l->draft->config;
    for (size_t i = 0; i < l->draft->n_authz_providers; i++) {
        const struct authz_provider *p = &l->draft->authz_providers[i];
        for (size_t k = 0; k < p->headers.n; k++)
            *PUSH(l->a, c->key_headers, c->n_key_headers) =
                (struct key_header){ p->headers.items[k][0], p->headers.items[k][1] };
    }
}

static void profiles(struct loading *l)
{
    struct config *c = &l->draft->config;
    c->n_profiles = l->draft->n_recipes + 1;
    c->profiles = ARENA_ARRAY(l->a, struct profile, c->n_profiles);
    c->profiles[0].name = S("default");
    config_profile(l, &l->draft->routing, S("routing"), &c->profiles[0]);
    for (size_t i = 0; i < l->draft->n_recipes; i++) {
        c->profiles[i + 1].name = l->draft->recipes[i].name;
        c->profiles[i + 1].description = l->draft->recipes[i].description;
        config_profile(l, &l->draft->recipes[i].routing, config_profile_path(l->a, i + 1),
                       &c->profiles[i + 1]);
    }
}

static void complete(struct loading *l, struct value *root)
{
    struct config *c = &l->draft->config;
    c->families = l->draft->families.items;
    c->n_families = l->draft->families.n;
    if (c->n_listeners == 0) {
        c->listeners = ARENA_NEW(l->a, struct listener_conf);
        c->n_listeners = 1;
        const struct fields *f = field_find(&document_fields, S("listeners"))->sub;
        field_decode(l->a, f, NULL, S("listeners[0]"), c->listeners, NULL);
    }
    auto_names(l);
    keys_read(l);
    cards_complete(l);
    key_headers(l);
    config_tenancy(l);
    profiles(l);
    struct value *merged = config_overlay(l->a, config_defaults(l->a, &global_fields),
                                          value_get(root, S("global")));
    value_set(l->a, root, S("global"), merged);
    c->global = merged;
    c->root = root;
}

/* ---- findings ---- */

static int finding_order(const void *a, const void *b)
{
    const struct finding *x = a, *y = b;
    if (x->at.line != y->at.line)
        return x->at.line < y->at.line ? -1 : 1;
    if (x->at.col != y->at.col)
        return x->at.col < y->at.col ? -1 : 1;
    int c = strcmp(x->name, y->name);
    return c ? c : str_cmp(x->path, y->path);
}

static bool is_same(const struct finding *x, const struct finding *y)
{
    return finding_order(x, y) == 0 && str_eq(x->text, y->text);
}

/* Facts about this build or this machine say nothing about the document: never errors. */
static bool is_exempt(const struct finding *f)
{
    return !strcmp(f->name, "not-built") || !strcmp(f->name, "unset-variable");
}

void config_findings_settle(struct findings *out, bool strict)
{
    size_t n = 0;
    const char *file = NULL, *kept = NULL;              /* places outlive what was loaded */
    for (size_t i = 0; i < out->n; i++) {
        if (out->items[i].at.file && out->items[i].at.file != file) {
            file = out->items[i].at.file;
            kept = arena_cstr(out->a, str_of(file));
        }
        if (out->items[i].at.file)
            out->items[i].at.file = kept;
    }
    if (out->n)
        qsort(out->items, out->n, sizeof *out->items, finding_order);
    memset(out->n_by_severity, 0, sizeof out->n_by_severity);
    for (size_t i = 0; i < out->n; i++) {
        struct finding f = out->items[i];
        if (n && is_same(&out->items[n - 1], &f))
            continue;
        if (strict && f.severity == SEVERITY_WARNING && !is_exempt(&f))
            f.severity = SEVERITY_ERROR;
        out->n_by_severity[f.severity]++;
        out->items[n++] = f;
    }
    out->n = n;
}

/* ---- entry ---- */

static struct value *root_parse(struct loading *l, str text, const char *file)
{
    struct err e = { 0 };
    struct place start = { file, 1, 1 };
    struct value *root = yaml_parse(l->a, text, file, &e);
    if (!root) {
        finding_add(l->out, "syntax", SEVERITY_ERROR, e.at.line ? e.at : start, S(""), S(""), "%s",
                    e.text);
        return NULL;
    }
    if (root->kind != VALUE_MAP) {
        finding_add(l->out, "not-canonical", SEVERITY_ERROR, root->at, S(""),
                    S("`signalbox config defaults` prints one to start from"),
                    "a configuration is a map with `routing` or `global`, not %s",
                    root->kind == VALUE_SCALAR ? "a single value" : value_kind_name(root));
        return NULL;
    }
    if (!value_get(root, S("routing")) && !value_get(root, S("global"))) {
        finding_add(l->out, "not-canonical", SEVERITY_ERROR, root->at, S(""),
                    S("a flat file from before v0.3 is converted by `vllm-sr config migrate`"),
                    "neither `routing` nor `global` is here, so this is no v0.3 configuration");
        return NULL;
    }
    return root;
}

struct config *config_load(struct arena *a, str text, const char *file,
                           const char *(*env)(const char *name), bool strict,
                           struct findings *out)
{
    struct loading l = { a, out, NULL, env ? env : env_process };
    config_tables();
    struct value *root = root_parse(&l, text, file);
    struct config *c = NULL;
    if (root) {
        config_normalise(&l, root);
        config_expand(&l, root);
        l.draft = ARENA_NEW(a, struct draft);
        field_decode(a, &document_fields, root, S(""), l.draft, out);
        c = &l.draft->config;
        c->hash = text_hash(a, text);
        c->base_dir = directory_of(a, file);
        const char *base = l.env("VLLM_SR_CONFIG_BASE_DIR");
        if (base && base[0] == '/')
            c->base_dir = arena_str(a, str_of(base));
        complete(&l, root);
        config_validate(&l);
        config_check(c, out);
    }
    config_findings_settle(out, strict);
    return out->n_by_severity[SEVERITY_ERROR] ? NULL : c;
}

const struct value *config_profile_value(const struct config *c, size_t profile, const char *path)
{
    const struct value *recipes = value_get(c->root, S("recipes"));
    if (profile == 0)
        return value_path(c->root, path);
    for (size_t i = 0; recipes && recipes->kind == VALUE_LIST && i < recipes->n_items; i++) {
        const struct value *name = value_get(recipes->items[i], S("name"));
        if (name && str_eq(name->text, c->profiles[profile].name))
            return value_path(recipes->items[i], path);
    }
    return NULL;
}

str config_relative(const struct config *c, struct arena *a, str path)
{
    return path.len == 0 || path.ptr[0] == '/' || c->base_dir.len == 0 ? path
         : arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(c->base_dir), STR_ARG(path));
}

struct config *config_load_file(struct arena *a, const char *path, bool strict,
                                struct findings *out)
{
    struct buf b = { 0 };
    struct config *c = NULL;
    struct err e = { 0 };
    if (file_read(path, FILE_BYTES_MAX, &b, &e) < 0) {
        finding_add(out, "unreadable", SEVERITY_ERROR, (struct place){ path, 0, 0 }, S(""), S(""), "%s", e.text);
    } else {
        str text = arena_str(a, buf_view(&b));
        c = config_load(a, text, arena_cstr(a, str_of(path)), NULL, strict, out);
        char real[PATH_MAX];
        const char *base = getenv("VLLM_SR_CONFIG_BASE_DIR");
        if (c && !(base && base[0] == '/') && realpath(path, real))
            c->base_dir = directory_of(a, real);        /* of the file itself, not of a link to it */
    }
    buf_free(&b);
    return c;
}
