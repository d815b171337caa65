/* config/validate.c -- what the tables cannot see: keys that depend on each other, names that must
 * be unique or exist (spec 01 1.7), outside the profiles. */
#include "base/map.h"
#include "config/tables.h"

static str path_of(struct loading *l, const char *list, size_t i)
{
    return arena_printf(l->a, "%s[%zu]", list, i);
}

/* ---- listeners, management ---- */

static void tls_check(struct loading *l, const struct tls_files *t, struct place at, str path)
{
    if ((t->certificate.len == 0) != (t->key.len == 0))
        finding_add(l->out, "missing-key", SEVERITY_ERROR, t->at.line ? t->at : at, path,
                    S("both belong together"), "tls has `%s` but no `%s`",
                    t->key.len ? "key" : "certificate", t->key.len ? "certificate" : "key");
    if (t->require_client_certificate && t->ca.len == 0)
        finding_add(l->out, "missing-key", SEVERITY_ERROR, t->at, path,
                    S("name the authority that signs client certificates"),
                    "require_client_certificate needs `ca`");
}

static bool is_loopback(str address)
{
    return str_starts(address, S("127.")) || str_eq(address, S("::1")) ||
           str_eq(address, S("[::1]")) || str_ieq(address, S("localhost"));
}

static void listeners_check(struct loading *l)
{
    const struct config *c = &l->draft->config;
    for (size_t i = 0; i < c->n_listeners; i++) {
        const struct listener_conf *one = &c->listeners[i];
        tls_check(l, &one->tls, one->at, path_of(l, "listeners", i));
        for (size_t k = 0; k < one->api_keys.n; k++)
            if (one->api_keys.items[k].len == 0)
                finding_add(l->out, "bad-value", SEVERITY_ERROR, one->at, path_of(l, "listeners", i),
                            S("an unset variable gives an empty key"), "api_keys has an empty key");
        for (size_t k = 0; k < i && one->port; k++)
            if (c->listeners[k].port == one->port && str_eq(c->listeners[k].address, one->address))
                finding_add(l->out, "duplicate-name", SEVERITY_ERROR, one->at,
                            path_of(l, "listeners", i), S("remove one"),
                            "another listener already has " STR_FMT ":%lld", STR_ARG(one->address),
                            (long long)one->port);
    }
    const struct management_conf *m = &c->management;
    struct value *address = value_path(c->root, "global.services.management_api.bind_address");
    if (m->bind_address.len && !is_loopback(m->bind_address) && address &&
        str_eq(m->auth_mode, S("disabled")))
        finding_add(l->out, "open-management", SEVERITY_WARNING, address->at,
                    S("global.services.management_api.bind_address"),
                    S("set auth.mode: bearer, or bind it to 127.0.0.1"),
                    "the management API is reachable from elsewhere and asks for no key");
}

/* ---- models ---- */

/* RFC 9110 section 5.6.2: a field name is a token. */
static bool is_token(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return s.len > 0;
}

static bool has_control(str s)                  /* would end a header line, or worse */
{
    for (size_t i = 0; i < s.len; i++)
        if (((unsigned char)s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
            return true;
    return false;
}

static bool is_framing(str name)                /* RFC 9112: these say where a message ends and who it is for */
{
    return str_ieq(name, S("host")) || str_ieq(name, S("content-length")) || str_ieq(name, S("transfer-encoding"))
           || str_ieq(name, S("connection")) || str_ieq(name, S("upgrade"));
}

static void headers_check(struct loading *l, const struct backend_conf *b, str path)
{
    const struct { const char *key; str text; } texts[] = {
        { "auth_prefix", b->auth_prefix }, { "api_key", b->api_key },
    };
    if (b->auth_header.len && !is_token(b->auth_header))
        finding_add(l->out, "bad-value", SEVERITY_ERROR, b->at, path, S(""),
                    "`auth_header` cannot be the name of a header");
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (has_control(texts[i].text))
            finding_add(l->out, "bad-value", SEVERITY_ERROR, b->at, path, S(""),
                        "`%s` has a line break or control character", texts[i].key);
    for (size_t i = 0; i < b->extra_headers.n; i++) {
        str name = b->extra_headers.items[i][0];
        if (is_framing(name))
            finding_add(l->out, "bad-value", SEVERITY_ERROR, b->at, path, S(""),
                        "extra_headers: `" STR_FMT "` frames or addresses the request", STR_ARG(name));
        if (!is_token(name) || has_control(b->extra_headers.items[i][1]))
            finding_add(l->out, "bad-value", SEVERITY_ERROR, b->at, path, S(""),
                        "extra_headers: `" STR_FMT "` cannot be sent as a header",
                        STR_ARG(str_upto(name, 80)));
    }
}

static str backend_kind(const struct backend_conf *b)
{
    return b->type.len && !str_ieq(b->type, S("chat")) ? b->type : b->provider;
}

static bool is_one_of(str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_ieq(s, str_of(words[i])))
            return true;
    return false;
}

/* Houses whose address is known by their name (provider/provider.c has them). */
static bool has_known_host(const struct backend_conf *b)
{
    static const char *const everywhere[] = { "encoder", "openai", "openai-responses", "anthropic", "gemini", "google-gemini",
                                              "groq", "deepseek", "together", "mistral", "openrouter", "xai", "fireworks",
                                              "minimax", "nim" };
    static const char *const by_location[] = { "vertex-ai", "google-vertex", "vertex-anthropic", "bedrock", "aws-bedrock",
                                               "aws-bedrock-invoke" };
    str kind = backend_kind(b);
    return is_one_of(kind, everywhere, COUNT_OF(everywhere)) ||
           (b->location.len && is_one_of(kind, by_location, COUNT_OF(by_location)));
}

static bool is_plain_name(str s)                /* goes into a host's name */
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || (s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '-'))
            return false;
    return true;
}

/* Region, project, and who we are: what belongs together must be there together. */
static void proof_check(struct loading *l, const struct backend_conf *b, str path)
{
    static const char *const vertex[] = { "google-vertex", "vertex-anthropic" };
    bool is_whole_url = str_find(b->base_url, S("/projects/")) >= 0;
    if (is_one_of(backend_kind(b), vertex, COUNT_OF(vertex)) && !b->project.len && !is_whole_url)
        finding_add(l->out, "missing-key", SEVERITY_ERROR, b->at, path, S("project: my-project-1234"),
                    "Vertex AI needs the `project`");
    if (!is_plain_name(b->location) || !is_plain_name(b->region))
        finding_add(l->out, "bad-value", SEVERITY_ERROR, b->at, path, S("a name like us-east-1"),
                    "`region` and `location` are names of small letters, digits and hyphens");
    if ((b->aws_access_key_id_env.len > 0) != (b->aws_secret_access_key_env.len > 0))
        finding_add(l->out, "missing-key", SEVERITY_ERROR, b->at, path, S(""),
                    "`aws_access_key_id_env` and `aws_secret_access_key_env` go together");
    if (b->client_id.len && !b->tenant_id.len && !b->token_url.len)
        finding_add(l->out, "missing-key", SEVERITY_ERROR, b->at, path, S("the directory's id"),
                    "`client_id` needs `tenant_id`");
    if (b->client_id.len && !b->client_secret_env.len)
        finding_add(l->out, "missing-key", SEVERITY_ERROR, b->at, path, S("name an environment variable"),
                    "`client_id` needs `client_secret_env`");
    if (b->token_url.len && !str_starts(b->token_url, S("https://")) && !str_starts(b->token_url, S("http://")))
        finding_add(l->out, "bad-value", SEVERITY_ERROR, b->at, path, S(""), "`token_url` must start with https:// or http://");
}

static void backend_check(struct loading *l, const struct backend_conf *b, str path)
{
    if (b->endpoint.len == 0 && b->base_url.len == 0 && !has_known_host(b))
        finding_add(l->out, "missing-key", SEVERITY_ERROR, b->at, path,
                    S("endpoint: \"127.0.0.1:8000\", or base_url: https://api.example/v1"),
                    "a backend needs `endpoint` or `base_url`");
    if (b->base_url.len && !str_starts(b->base_url, S("http://")) &&
        !str_starts(b->base_url, S("https://")))
        finding_add(l->out, "bad-value", SEVERITY_ERROR, b->at, path, S(""),
                    "`base_url` must start with http:// or https://, not \"" STR_FMT "\"",
                    STR_ARG(str_upto(b->base_url, 80)));
    if (b->tls_insecure)
        finding_add(l->out, "tls-not-verified", SEVERITY_WARNING, b->at, path,
                    S("name the authority in tls.ca instead"),
                    "anybody in between can read and change what goes to this backend");
    headers_check(l, b, path);
    tls_check(l, &b->tls, b->at, path);
    proof_check(l, b, path);
}

static void reliability_check(struct loading *l, const struct model_conf *m, str path)
{
    const struct reliability_conf *r = &m->reliability;
    enum { RETRY_ON_KEY = 2 };                  /* its line in the table */
    if (r->retry_count == 0 && r->set >> RETRY_ON_KEY & 1)
        finding_add(l->out, "no-effect", SEVERITY_INFO, m->at, path, S("write retry_count: 1"),
                    "reliability.retry_on has no effect while `retry_count` is 0");
}

static bool has_family(const struct config *c, str name)
{
    for (size_t i = 0; i < c->n_families; i++)
        if (str_eq(c->families[i].name, name))
            return true;
    return false;
}

static void models_check(struct loading *l)
{
    const struct config *c = &l->draft->config;
    struct map names = { .a = l->a };
    for (size_t i = 0; i < c->n_models; i++) {
        const struct model_conf *m = &c->models[i];
        str path = path_of(l, "providers.models", i);
        if (!map_put(&names, m->name, l))
            finding_add(l->out, "duplicate-name", SEVERITY_ERROR, m->at, path, S("rename one"),
                        "another model is called `" STR_FMT "`", STR_ARG(m->name));
        if (m->reasoning_family.len && !has_family(c, m->reasoning_family))
            finding_add(l->out, "undefined-reference", SEVERITY_ERROR, m->at, path,
                        S("add it to providers.defaults.reasoning_families"),
                        "there is no reasoning family `" STR_FMT "`",
                        STR_ARG(m->reasoning_family));
        bool says_more = m->reasoning_family.len || m->provider_model_id.len ||
                         m->external_model_ids.n || m->pricing.set || m->reliability.set;
        if (m->n_backends == 0)
            finding_add(l->out, says_more ? "no-backend" : "missing-key",
                        says_more ? SEVERITY_WARNING : SEVERITY_ERROR, m->at, path,
                        S("add backend_refs"), "the model `" STR_FMT "` runs nowhere",
                        STR_ARG(m->name));
        for (size_t k = 0; k < m->n_backends; k++)
            backend_check(l, &m->backends[k],
                          arena_printf(l->a, STR_FMT ".backend_refs[%zu]", STR_ARG(path), k));
        reliability_check(l, m, path);
    }
    struct map cards = { .a = l->a };
    for (size_t i = 0; i < l->draft->routing.n_cards; i++) {
        const struct card_conf *card = &l->draft->routing.cards[i];
        if (!map_put(&cards, card->name, l))
            finding_add(l->out, "duplicate-name", SEVERITY_ERROR, card->at,
                        path_of(l, "routing.modelCards", i), S("join them"),
                        "another card is called `" STR_FMT "`", STR_ARG(card->name));
    }
}

static bool is_model_or_lora(const struct config *c, str name)
{
    for (size_t i = 0; i < c->n_cards; i++) {
        if (str_eq(c->cards[i].name, name))
            return true;
        for (size_t k = 0; k < c->cards[i].n_loras; k++)
            if (str_eq(c->cards[i].loras[k].name, name))
                return true;
    }
    return false;
}

static void defaults_check(struct loading *l)
{
    const struct config *c = &l->draft->config;
    struct value *name = value_path(c->root, "providers.defaults.default_model");
    if (c->default_model.len && c->n_cards && !is_model_or_lora(c, c->default_model))
        finding_add(l->out, "undefined-reference", SEVERITY_ERROR,
                    name ? name->at : (struct place){ 0 }, S("providers.defaults.default_model"),
                    S(""), "there is no model `" STR_FMT "`", STR_ARG(c->default_model));
}

/* ---- recipes and entrypoints ---- */

static bool has_profile(const struct config *c, str name)
{
    for (size_t i = 0; i < c->n_profiles; i++)
        if (str_eq(c->profiles[i].name, name))
            return true;
    return false;
}

static const char *const looper_slugs[] = { "vllm-sr/remom", "vllm-sr/fusion", "vllm-sr/flow" };

static void looper_names_add(const struct config *c, struct map *taken)
{
    static const char *const paths[] = { "integrations.looper.remom.model_names",
                                         "integrations.looper.fusion.model_names",
                                         "integrations.looper.flow.model_names" };
    static char who[] = "a multi-model flow";
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct value *list = value_path(c->global, paths[i]);
        if (!list || list->kind != VALUE_LIST || list->n_items == 0)
            map_put(taken, str_of(looper_slugs[i]), who);
        for (size_t k = 0; list && k < list->n_items; k++)
            map_put(taken, list->items[k]->text, who);
    }
}

static void entrypoints_check(struct loading *l)
{
    const struct config *c = &l->draft->config;
    struct map taken = { .a = l->a };
    static char model[] = "a model", lora[] = "an adapter", automatic[] = "an automatic name",
                entrypoint[] = "another entrypoint";
    for (size_t i = 0; i < c->n_cards; i++) {
        map_put(&taken, c->cards[i].name, model);
        for (size_t k = 0; k < c->cards[i].n_loras; k++)
            map_put(&taken, c->cards[i].loras[k].name, lora);
    }
    for (size_t i = 0; i < c->auto_names.n; i++)
        map_put(&taken, c->auto_names.items[i], automatic);
    looper_names_add(c, &taken);
    for (size_t i = 0; i < c->n_entrypoints; i++) {
        const struct entrypoint_conf *e = &c->entrypoints[i];
        str path = path_of(l, "entrypoints", i);
        if (e->recipe.len && !has_profile(c, e->recipe))
            finding_add(l->out, "undefined-reference", SEVERITY_ERROR, e->at, path, S(""),
                        "there is no recipe `" STR_FMT "`", STR_ARG(e->recipe));
        for (size_t k = 0; k < e->model_names.n; k++) {
            const char *owner = map_get(&taken, e->model_names.items[k]);
            if (owner)
                finding_add(l->out, "duplicate-name", SEVERITY_ERROR, e->at, path,
                            S("rename the entrypoint"), "`" STR_FMT "` is already the name of %s",
                            STR_ARG(e->model_names.items[k]), owner);
            map_put(&taken, e->model_names.items[k], entrypoint);
        }
    }
}

static void recipes_check(struct loading *l)
{
    struct map names = { .a = l->a };
    map_put(&names, S("default"), l);
    for (size_t i = 0; i < l->draft->n_recipes; i++) {
        const struct recipe_draft *r = &l->draft->recipes[i];
        bool is_default = str_eq(r->name, S("default"));
        if (!map_put(&names, r->name, l))
            finding_add(l->out, "duplicate-name", SEVERITY_ERROR, r->at, path_of(l, "recipes", i),
                        S("rename it"), is_default ? "`default` is the name of the top-level routing"
                                                   : "another recipe has this name");
    }
}

static void source_check(struct loading *l)
{
    const struct value *v = value_path(l->draft->config.root, "global.router.config_source");
    if (v && v->kind == VALUE_SCALAR && str_eq(v->text, S("kubernetes")))
        finding_add(l->out, "not-built", SEVERITY_WARNING, v->at, S("global.router.config_source"),
                    S(""), "config_source kubernetes is not built yet: only this file is read");
}

/* VSR refuses a block for a backend that is not the chosen one: it would be silently unused. */
static void cache_check(struct loading *l)
{
    static const char *const backends[] = { "redis", "valkey", "milvus", "qdrant" };
    const struct value *cache = value_path(l->draft->config.global, "stores.response_cache");
    const struct value *type = value_get(cache, S("backend_type"));
    if (!type || type->kind != VALUE_SCALAR || str_eq(type->text, S("hybrid")))
        return;
    for (size_t i = 0; i < cache->n_pairs; i++)
        for (size_t k = 0; k < COUNT_OF(backends); k++)
            if (str_eq(cache->pairs[i].key, str_of(backends[k])) &&
                cache->pairs[i].value->at.line && !str_eq(type->text, str_of(backends[k])))
                finding_add(l->out, "block-mismatch", SEVERITY_ERROR, cache->pairs[i].value->at,
                            S("global.stores.response_cache"), S("remove it"),
                            "the block `%s` does not belong to backend_type `" STR_FMT "`",
                            backends[k], STR_ARG(type->text));
}

void config_validate(struct loading *l)
{
    listeners_check(l);
    models_check(l);
    defaults_check(l);
    recipes_check(l);
    entrypoints_check(l);
    cache_check(l);
    source_check(l);
}
