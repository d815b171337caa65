/* front/default.c -- a useful gateway before anybody has written a line of configuration.
 *
 * The policy is fixed text: seven decisions over signals that need no model. What differs from machine to machine is
 * only who answers for the four pools that the decisions name, and that is looked up here: the OpenAI key in the
 * environment, else a server on this machine that lists its models, else the built-in model that explains itself. */
#include "front/default.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "front/explain.h"
#include "net/h1.h"

enum {
    PROBE_MODELS_MAX = 256,         /* of a server's list; the rest is not looked at */
    PROBE_BODY_MAX = 1 << 20,
    POOLS = 4,
    OUR_PORT = 8899,
};

#define PUBLIC_URL "https://api.openai.com/v1"

/* ---- the policy ---- */

static const char policy[] =
    "routing:\n"
    "  modelCards:\n"
    "%s"
    "  signals:\n"
    "    keywords:\n"
    "      - name: code_words\n"
    "        operator: OR\n"
    "        keywords: [refactor, debug, compile, compiler, stack trace, segfault, unit test, unit tests, regex, SQL,\n"
    "                   Python, JavaScript, TypeScript, Rust, golang, Kotlin, bash, shell script, source code,\n"
    "                   pull request, git, Dockerfile, Kubernetes, REST API, algorithm, data structure]\n"
    "      - name: code_shapes            # what code looks like, whatever the words around it\n"
    "        operator: OR\n"
    "        method: regex\n"
    "        keywords:\n"
    "          - '```'\n"
    "          - '(?m)^\\s*(def|class|import|from|func|fn|package|public|private|const|let|var|#include|SELECT|INSERT)\\s+[\\w<\"{*]'\n"
    "          - '\\b[\\w-]+\\.(py|js|ts|tsx|rs|go|java|kt|c|cc|cpp|h|hpp|rb|php|sql|sh)\\b'\n"
    "          - 'Traceback \\(most recent call last\\)|(?m)^\\s+at [\\w.]+\\('\n"
    "          - '(?i)\\b(write|implement|fix|review|optimi[sz]e)\\b.{0,40}\\b(code|function|class|method|script|program|query|api|bug)\\b'\n"
    "      - name: proof_words\n"
    "        operator: OR\n"
    "        keywords: [prove, proof, theorem, lemma, corollary, contradiction, induction, irrational, integral, derivative,\n"
    "                   differential equation, eigenvalue, eigenvector, matrix, probability, combinatorics, modulo,\n"
    "                   prime number, prime numbers, step by step, rigorous, rigorously, derive, solve for]\n"
    "      - name: small_talk\n"
    "        operator: OR\n"
    "        method: regex\n"
    "        keywords:\n"
    "          - '(?i)^\\s*(hi|hello|hey|thanks|thank you|good (morning|afternoon|evening|night)|bye|goodbye|how are you|what''?s up)\\b'\n"
    "    context:\n"
    "      - {name: short_context, min_tokens: \"0\", max_tokens: \"2K\"}\n"
    "      - {name: long_context, min_tokens: \"32K\", max_tokens: \"100M\"}\n"
    "    structure:\n"
    "      - name: few_words\n"
    "        feature: {type: count, source: {type: text_bytes}}\n"
    "        predicate: {lt: 160}\n"
    "      - name: enough_to_tell_language\n"
    "        feature: {type: count, source: {type: text_bytes}}\n"
    "        predicate: {gte: 24}\n"
    "    conversation:\n"
    "      - name: has_tools\n"
    "        feature: {type: exists, source: {type: tool_definition}}\n"
    "      - name: in_tool_loop\n"
    "        feature: {type: exists, source: {type: active_tool_loop}}\n"
    "    language:\n"
    "      - {name: en, description: English}\n"
    "  decisions:\n"
    "    - name: agent\n"
    "      description: tools are offered or being used; mistakes are expensive there\n"
    "      priority: 100\n"
    "      rules:\n"
    "        operator: OR\n"
    "        conditions: [{type: conversation, name: has_tools}, {type: conversation, name: in_tool_loop}]\n"
    "      modelRefs: [{model: strong}, {model: balanced}]\n"
    "    - name: long_document\n"
    "      description: more text than small models read well\n"
    "      priority: 90\n"
    "      rules: {operator: AND, conditions: [{type: context, name: long_context}]}\n"
    "      modelRefs: [{model: long}, {model: strong}]\n"
    "    - name: math_and_proof\n"
    "      description: needs careful reasoning\n"
    "      priority: 80\n"
    "      rules: {operator: AND, conditions: [{type: keyword, name: proof_words}]}\n"
    "      modelRefs: [{model: strong}, {model: balanced}]\n"
    "    - name: code\n"
    "      description: writing, reading and repairing programs\n"
    "      priority: 70\n"
    "      rules:\n"
    "        operator: OR\n"
    "        conditions: [{type: keyword, name: code_words}, {type: keyword, name: code_shapes}]\n"
    "      modelRefs: [{model: strong}, {model: balanced}]\n"
    "    - name: other_language\n"
    "      description: not English; the smallest models are weakest there\n"
    "      priority: 60\n"
    "      rules:\n"
    "        operator: AND\n"
    "        conditions:\n"
    "          - {type: structure, name: enough_to_tell_language}\n"
    "          - operator: NOT\n"
    "            conditions: [{type: language, name: en}]\n"
    "      modelRefs: [{model: balanced}, {model: strong}]\n"
    "    - name: quick\n"
    "      description: small talk and short questions\n"
    "      priority: 50\n"
    "      rules:\n"
    "        operator: AND\n"
    "        conditions:\n"
    "          - {type: context, name: short_context}\n"
    "          - operator: OR\n"
    "            conditions: [{type: keyword, name: small_talk}, {type: structure, name: few_words}]\n"
    "      modelRefs: [{model: fast}, {model: balanced}]\n"
    "    - name: general\n"
    "      description: everything else\n"
    "      priority: 1\n"
    "      modelRefs: [{model: balanced}, {model: fast}]\n"
    "global:\n"
    "  services:\n"
    "    observability:\n"
    "      tracing: {enabled: false}\n";

static const struct { const char *name, *description; } pools[POOLS] = {
    { "fast", "the cheapest model that will do" },
    { "balanced", "the everyday model" },
    { "strong", "the best model there is" },
    { "long", "for long documents" },
};

/* ---- who answers ---- */

struct found {
    char base_url[1024];            /* "": the built-in model */
    const char *type;               /* of the backends */
    const char *key_env;            /* NULL: no key */
    str names[POOLS];               /* upstream model of each pool */
    bool is_public;                 /* the API whose prices we know */
    char source[256];
};

static char source_text[512];

const char *default_config_source(void)
{
    return source_text;
}

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static bool overridden(struct found *f)         /* names that somebody has chosen; true: all three */
{
    static const char *const names[POOLS] = {
        "SIGNALBOX_FAST_MODEL", "SIGNALBOX_BALANCED_MODEL", "SIGNALBOX_STRONG_MODEL", "SIGNALBOX_LONG_MODEL",
    };
    bool all = true;
    for (int i = 0; i < POOLS; i++) {
        const char *v = env(names[i]);
        if (v)
            f->names[i] = str_of(v);
        all &= v || i == 3;
    }
    return all;
}

/* ---- local servers ---- */

/* Billions of parameters by the name: "qwen2.5:7b" 7, "Mixtral-8x22B" 176, "smollm:135m" 0.135; 0: it does not say. */
static double size_of_name(str name)
{
    double best = 0;
    for (size_t i = 0; i < name.len; i++) {
        bool starts = name.ptr[i] >= '0' && name.ptr[i] <= '9'
                      && (i == 0 || !strchr("0123456789.", name.ptr[i - 1]));
        if (!starts)
            continue;
        double v = 0, times = 1, scale = 1;
        bool fraction = false;
        size_t k = i;
        for (; k < name.len; k++) {
            char c = name.ptr[k];
            if (c >= '0' && c <= '9') {
                v = fraction ? v + (c - '0') * (scale /= 10) : v * 10 + (c - '0');
            } else if (c == '.' && !fraction) {
                fraction = true;
            } else if ((c == 'x' || c == 'X') && v > 0 && times <= 1) {
                times = v;
                v = 0;
                fraction = false;
                scale = 1;
            } else {
                break;
            }
        }
        char unit = k < name.len ? (char)(name.ptr[k] | 0x20) : 0;
        bool ends = k + 1 >= name.len || !((name.ptr[k + 1] | 0x20) >= 'a' && (name.ptr[k + 1] | 0x20) <= 'z');
        if (ends && (unit == 'b' || unit == 'm') && v * times > 0) {
            double size = unit == 'b' ? v * times : v * times / 1000;
            best = size > best ? size : best;
        }
        i = k > i ? k - 1 : i;
    }
    return best;
}

static bool is_chat_model(str name)
{
    static const char *const others[] = { "embed", "rerank", "whisper", "bge-", "e5-", "clip", "tts" };
    char low[256];
    size_t n = name.len < sizeof low - 1 ? name.len : sizeof low - 1;
    for (size_t i = 0; i < n; i++)
        low[i] = (char)(name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? name.ptr[i] | 0x20 : name.ptr[i]);
    low[n] = '\0';
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (strstr(low, others[i]))
            return false;
    return true;
}

struct sized { str name; double size; size_t order; };

static int by_size(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? 1 : -1;
    return (x->order > y->order) - (x->order < y->order);
}

enum asked { ASKED_NOTHING, ASKED_NAMES, ASKED_US };

/* Smallest, middle, largest. Models whose names say nothing count as of middle size. */
static enum asked names_pick(struct arena *a, str body, str names[POOLS])
{
    struct json j;
    struct sized list[PROBE_MODELS_MAX];
    size_t n = 0;
    if (json_parse(a, body, &j, NULL) < 0 || !json_is(&j, 0, JSON_OBJECT))
        return ASKED_NOTHING;
    jref data = json_get(&j, 0, S("data"));
    if (!json_is(&j, data, JSON_ARRAY))
        return ASKED_NOTHING;
    JSON_EACH_ITEM(&j, data, item) {
        if (!json_is(&j, item, JSON_OBJECT))
            continue;
        if (str_eq(json_str(&j, json_get(&j, item, S("owned_by")), a), S("signalbox")))
            return ASKED_US;                    /* or a gateway like us: requests would go round in circles */
        str name = json_str(&j, json_get(&j, item, S("id")), a);
        if (name.len && n < PROBE_MODELS_MAX && is_chat_model(name)) {
            double size = size_of_name(name);
            list[n] = (struct sized){ name, size > 0 ? size : 7.5, n };
            n++;
        }
    }
    if (n == 0)
        return ASKED_NOTHING;
    qsort(list, n, sizeof *list, by_size);
    names[0] = list[0].name;
    names[1] = list[n / 2].name;
    names[2] = names[3] = list[n - 1].name;
    return ASKED_NAMES;
}

/* GET <path>/models on a plain connection. */
static enum asked models_ask(struct arena *a, str host, uint16_t port, str path, const char *key,
                             str names[POOLS])
{
    uint64_t until = clock_now() + DEFAULT_PROBE_MS * NS_PER_MS;
    struct conn c = { 0 };
    if (conn_dial(&c, NULL, host, port, until) < 0)
        return ASKED_NOTHING;
    struct buf out = { 0 };
    buf_printf(&out, "GET " STR_FMT "/models HTTP/1.1\r\nhost: " STR_FMT ":%u\r\naccept: application/json\r\n"
                     "user-agent: signalbox\r\nconnection: close\r\n", STR_ARG(path), STR_ARG(host), port);
    if (key)
        buf_printf(&out, "authorization: Bearer %s\r\n", key);
    buf_str(&out, S("\r\n"));
    struct h1 in;
    struct http_head head;
    str body;
    h1_init(&in, &c, H1_RESPONSES);
    bool ok = conn_write(&c, buf_view(&out), until) == 0
              && h1_read_head(&in, a, 65536, &head, until, false) == 1 && head.status == 200
              && h1_read_body(&in, a, &head, PROBE_BODY_MAX, &body, until) == 0;
    buf_free(&out);
    conn_close(&c);
    return ok ? names_pick(a, body, names) : ASKED_NOTHING;
}

static bool local_find(struct arena *a, struct found *f)
{
    static const struct { uint16_t port; const char *name, *type; } servers[] = {
        { 11434, "Ollama", "ollama" }, { 8000, "vLLM", "vllm" }, { 8080, "llama-server", "llamacpp" },
        { 1234, "LM Studio", "vllm" },
    };
    for (size_t i = 0; i < COUNT_OF(servers); i++) {
        if (models_ask(a, S("127.0.0.1"), servers[i].port, S("/v1"), NULL, f->names) != ASKED_NAMES)
            continue;
        snprintf(f->base_url, sizeof f->base_url, "http://127.0.0.1:%u/v1", servers[i].port);
        snprintf(f->source, sizeof f->source, "a local server on 127.0.0.1:%u (%s's port)", servers[i].port,
                 servers[i].name);
        f->type = servers[i].type;
        overridden(f);
        return true;
    }
    return false;
}

/* The variables for SDKs may point at this very gateway; then they are not about a provider. */
static bool points_at_us(const struct endpoint *at)
{
    bool is_here = str_eq(at->host, S("127.0.0.1")) || str_eq(at->host, S("localhost"))
                   || str_eq(at->host, S("::1"));
    return is_here && at->port == OUR_PORT;
}

static bool key_find(struct arena *a, struct found *f)
{
    static const char *const usual[POOLS] = { "gpt-4.1-nano", "gpt-4.1-mini", "gpt-4.1", "gpt-4.1-mini" };
    const char *key = env("OPENAI_API_KEY"), *url = env("OPENAI_BASE_URL");
    if (!key && !url)
        return false;
    str base = str_of(url ? url : PUBLIC_URL);
    while (str_ends(base, S("/")))
        base.len--;
    for (int i = 0; i < POOLS; i++)
        f->names[i] = str_of(usual[i]);
    bool all = overridden(f);
    if (str_starts(base, S("http://"))) {       /* a plain server can tell what it has */
        str path = str_from(base, 7), authority = str_cut(&path, '/');
        struct endpoint at;
        if (path.len)
            path = arena_printf(a, "/" STR_FMT, STR_ARG(path));
        if (!endpoint_parse(authority, 80, &at) || points_at_us(&at))
            return false;
        str names[POOLS];
        enum asked got = models_ask(a, at.host, at.port, path.len ? path : S("/v1"), key, names);
        if (got == ASKED_US)
            return false;
        if (got == ASKED_NAMES && !all) {
            memcpy(f->names, names, sizeof names);
            overridden(f);
        }
    }
    f->key_env = key ? "OPENAI_API_KEY" : NULL;
    f->type = "openai";
    snprintf(f->base_url, sizeof f->base_url, STR_FMT, STR_ARG(base));
    f->is_public = strcmp(f->base_url, PUBLIC_URL) == 0;
    snprintf(f->source, sizeof f->source, "%s at %.200s",
             key ? "OPENAI_API_KEY" : "OPENAI_BASE_URL, without a key,", f->base_url);
    return true;
}

static bool anthropic_find(struct found *f)
{
    static const char *const usual[POOLS] = { "claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5", "claude-sonnet-4-5" };
    const char *url = env("ANTHROPIC_BASE_URL");
    if (!env("ANTHROPIC_API_KEY"))
        return false;
    str base = str_of(url ? url : "https://api.anthropic.com");
    while (str_ends(base, S("/")))
        base.len--;
    struct endpoint at;
    str rest = str_starts(base, S("http://")) ? str_from(base, 7) : S("");
    if (endpoint_parse(str_cut(&rest, '/'), 80, &at) && points_at_us(&at))
        return false;
    for (int i = 0; i < POOLS; i++)
        f->names[i] = str_of(usual[i]);
    overridden(f);
    f->key_env = "ANTHROPIC_API_KEY";
    f->type = "anthropic";
    snprintf(f->base_url, sizeof f->base_url, STR_FMT, STR_ARG(base));
    snprintf(f->source, sizeof f->source, "ANTHROPIC_API_KEY at %.200s", f->base_url);
    return true;
}

/* ---- the text ---- */

/* A YAML string: JSON's quotes are YAML's, and a dollar would be expanded. */
static void quoted(struct buf *out, str s)
{
    struct buf doubled = { 0 };
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '$')
            buf_char(&doubled, '$');
        buf_char(&doubled, s.ptr[i]);
    }
    json_quote(out, buf_view(&doubled));
    buf_free(&doubled);
}

/* List prices in USD per million tokens, for the header and the metric that show what a request cost. */
static const struct { const char *name; double prompt, cached, completion; } prices[] = {
    { "gpt-4.1", 2.00, 0.50, 8.00 },
    { "gpt-4.1-mini", 0.40, 0.10, 1.60 },
    { "gpt-4.1-nano", 0.10, 0.025, 0.40 },
    { "text-embedding-3-small", 0.02, 0.02, 0 },
    { "text-embedding-3-large", 0.13, 0.13, 0 },
};

static void model_write(struct buf *out, const struct found *f, str name, str upstream)
{
    buf_str(out, S("    - name: "));
    quoted(out, name);
    if (!f->base_url[0] || str_eq(name, S(EXPLAIN_MODEL))) {
        buf_str(out, S("\n      backend_refs: [{type: explain, endpoint: \"builtin:1\"}]\n"));
        return;
    }
    if (!str_eq(name, upstream)) {
        buf_str(out, S("\n      provider_model_id: "));
        quoted(out, upstream);
    }
    buf_str(out, S("\n      backend_refs: [{base_url: "));
    quoted(out, str_of(f->base_url));
    buf_printf(out, ", type: %s", f->type);
    if (f->key_env)
        buf_printf(out, ", api_key_env: %s", f->key_env);
    buf_str(out, S("}]\n"));
    for (size_t i = 0; f->is_public && i < COUNT_OF(prices); i++)
        if (str_eq(upstream, str_of(prices[i].name)))
            buf_printf(out, "      pricing: {prompt_per_1m: %g, cached_input_per_1m: %g, completion_per_1m: %g}\n",
                       prices[i].prompt, prices[i].cached, prices[i].completion);
}

/* The names by which a client may ask for one of the provider's models itself. */
static size_t concrete_names(const struct found *f, str out[POOLS + 2])
{
    size_t n = 0;
    for (int i = 0; f->base_url[0] && i < POOLS; i++) {
        bool known = false;
        for (size_t k = 0; k < n; k++)
            known |= str_eq(out[k], f->names[i]);
        for (int k = 0; k < POOLS; k++)
            known |= str_eq(str_of(pools[k].name), f->names[i]);
        if (!known)
            out[n++] = f->names[i];
    }
    if (f->is_public) {
        out[n++] = S("text-embedding-3-small");
        out[n++] = S("text-embedding-3-large");
    }
    return n;
}

void default_config_write(struct buf *out)
{
    struct arena *a = arena_new();
    struct found f = { .type = "explain" };
    if (!a) {
        out->is_failed = true;
        return;
    }
    if (!key_find(a, &f) && !anthropic_find(&f) && !local_find(a, &f))
        snprintf(f.source, sizeof f.source, "no model: the built-in one explains the decisions");
    snprintf(source_text, sizeof source_text, "%s", f.source);
    buf_str(out, S("# signalbox's embedded default. To start your own:  signalbox config dump > signalbox.yaml\n"));
    buf_printf(out, "# Answered by: %s\nversion: v0.3\n", source_text);
    buf_str(out, S("listeners:\n  - {name: default, address: 127.0.0.1, port: 8899}\nproviders:\n"
                   "  defaults: {default_model: balanced}\n  models:\n"));
    str concrete[POOLS + 2];
    size_t n = concrete_names(&f, concrete);
    struct buf cards = { 0 };
    for (int i = 0; i < POOLS; i++) {
        model_write(out, &f, str_of(pools[i].name), f.names[i]);
        buf_printf(&cards, "    - {name: " STR_FMT ", description: \"" STR_FMT "\"}\n", STR_ARG(str_of(pools[i].name)),
                   STR_ARG(str_of(pools[i].description)));
    }
    for (size_t i = 0; i < n; i++) {
        model_write(out, &f, concrete[i], concrete[i]);
        buf_str(&cards, S("    - {name: "));
        quoted(&cards, concrete[i]);
        buf_str(&cards, S(", description: \"asked for by name\"}\n"));
    }
    model_write(out, &f, S(EXPLAIN_MODEL), S(EXPLAIN_MODEL));
    buf_str(&cards, S("    - {name: \"" EXPLAIN_MODEL "\","
                      " description: \"tells what the policy decides; no language model\"}\n"));
    buf_char(&cards, '\0');
    if (cards.is_failed)
        out->is_failed = true;
    else {                                      /* the policy's text holds no other % */
        str text = { policy, sizeof policy - 1 };
        long at = str_find(text, S("%s"));
        buf_str(out, str_upto(text, (size_t)at));
        buf_str(out, (str){ cards.ptr, cards.len - 1 });
        buf_str(out, str_from(text, (size_t)at + 2));
    }
    buf_free(&cards);
    arena_free(a);
}
