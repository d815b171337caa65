/* A configuration, its models and requests, without loops and sockets: what the tests of keys, limits and budgets share. */
#ifndef TENANCY_WORLD_H
#define TENANCY_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "dialect/canonical.h"
#include "front/server.h"
#include "pipeline/budget.h"
#include "pipeline/key.h"
#include "pipeline/limit.h"
#include "pipeline/meter.h"
#include "pipeline/price.h"
#include "pipeline/req.h"
#include "pipeline/snap.h"

struct world { struct arena *a; struct findings found; struct snap snap; struct listener listener; };

/* `tenancy`: lines below `global`, indented by two. Three models: cheap (1 and 2 USD per million), dear (10, 20), free. */
static inline struct world *world_try(const char *tenancy, bool *ok)
{
    static struct model_state states[3];
    struct arena *a = arena_new();
    struct world *w = ARENA_NEW(a, struct world);
    w->a = a;
    w->found.a = a;
    str text = arena_printf(a,
        "version: v0.3\n"
        "providers:\n"
        "  models:\n"
        "    - {name: cheap, pricing: {prompt_per_1m: 1, completion_per_1m: 2}, backend_refs: [{endpoint: \"127.0.0.1:1\"}]}\n"
        "    - {name: dear, pricing: {prompt_per_1m: 10, completion_per_1m: 20}, backend_refs: [{endpoint: \"127.0.0.1:1\"}]}\n"
        "    - {name: free, backend_refs: [{endpoint: \"127.0.0.1:1\"}]}\n"
        "routing:\n"
        "  decisions:\n"
        "    - {name: all, priority: 1, modelRefs: [{model: dear}, {model: cheap}]}\n"
        "global:\n"
        "%s", tenancy);
    w->snap.a = a;
    w->snap.config = config_load(a, text, "test", NULL, false, &w->found);
    *ok = w->snap.config != NULL;
    if (!*ok)
        return w;
    w->snap.models.a = a;
    for (size_t i = 0; i < w->snap.config->n_models; i++) {
        struct model *m = ARENA_NEW(a, struct model);
        m->conf = &w->snap.config->models[i];
        m->name = m->conf->name;
        m->state = &states[i];
        m->state->typical_answer = 0;
        map_put(&w->snap.models, m->name, m);
    }
    w->snap.limits = limit_build(a, w->snap.config, &w->found);
    w->snap.keyring = keyring_build(a, w->snap.config, &w->found);
    *ok = w->found.n_by_severity[SEVERITY_ERROR] == 0;
    return w;
}

static inline struct world *world_new(const char *tenancy)
{
    bool ok;
    struct world *w = world_try(tenancy, &ok);
    for (size_t i = 0; !ok && i < w->found.n; i++)
        print_message(STR_FMT ": " STR_FMT "\n", STR_ARG(w->found.items[i].path), STR_ARG(w->found.items[i].text));
    assert_true(ok);
    return w;
}

static inline void world_free(struct world *w)
{
    arena_free(w->a);
    meters_forget();
}

static inline const struct model *world_model(const struct world *w, const char *name)
{
    return map_get(&w->snap.models, str_of(name));
}

/* A request that has been routed to `models` ("dear cheap"), with headers "name: value\n...". */
static inline struct req *request_new(struct world *w, const char *models, const char *headers, uint64_t max_tokens)
{
    static const struct recipe recipe;
    struct arena *a = arena_new();
    struct req *r = ARENA_NEW(a, struct req);
    r->a = a;
    r->snap = &w->snap;
    r->client = ARENA_NEW(a, struct client);
    r->client->listener = &w->listener;
    r->client->peer_len = (uint8_t)snprintf(r->client->peer, sizeof r->client->peer, "10.1.2.3:4567");
    r->head.headers = ARENA_ARRAY(a, struct header, 8);
    str rest = str_of(headers);
    while (rest.len) {
        str line = str_cut(&rest, '\n'), name = str_cut(&line, ':');
        r->head.headers[r->head.n_headers++] = (struct header){ name, str_trim(line) };
    }
    r->facts.prompt_tokens = 1000;
    r->facts.now_ns = clock_wall();
    r->chat.output_reserve = max_tokens;
    r->chat.model = S("auto");
    r->recipe = &recipe;
    r->order = ARENA_ARRAY(a, const struct model *, 4);
    rest = str_of(models);
    while (rest.len)
        r->order[r->n_order++] = map_get(&w->snap.models, str_cut(&rest, ' '));
    return r;
}

/* It ran on the first model and used so many tokens. */
static inline void request_end(struct req *r, int64_t prompt, int64_t completion)
{
    struct usage u = { .prompt_tokens = prompt, .completion_tokens = completion, .is_known = true };
    r->model = r->fail.status ? NULL : r->order[0];
    double cost = r->model ? price_of(r->model, &u, r->facts.now_ns) : (double)NAN;
    limit_settle(r, r->model ? &u : NULL, cost);
    arena_free(r->a);
}

/* Admits and ends it; the status it was refused with, 0: went through. */
static inline int request_run(struct world *w, const char *models, const char *headers, uint64_t max_tokens, int64_t prompt,
                              int64_t completion)
{
    struct req *r = request_new(w, models, headers, max_tokens);
    if (key_admit(r) == 0) {
        key_identity(r);
        limit_admit(r);
    }
    int status = r->fail.status;
    request_end(r, prompt, completion);
    return status;
}

#endif
