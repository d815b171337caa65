/* pipeline/snap.h -- everything compiled from one configuration.
 *
 * Built beside the old one, adopts the live state of backends and models by name, and is
 * published to every loop between two turns. A request holds the snapshot it started under;
 * the last loop to leave an old one frees it. Live state is process-wide and outlives
 * snapshots. */
#ifndef SBX_SNAP_H
#define SBX_SNAP_H

#include <stdatomic.h>

#include "config/config.h"
#include "decide/decide.h"
#include "net/client.h"
#include "pipeline/models.h"
#include "plugin/plugin.h"
#include "provider/credential.h"
#include "select/select.h"

enum { LOOPS_MAX = 64, BACKENDS_MAX = 64 /* a model */ };

struct compression;
struct keyring;
struct latency;
struct learning_conf;
struct limit_rules;
struct window;

/* What we learn of one backend while running. Process life; shared by all loops. */
struct backend_state {
    str id;                             /* "model/backend@host:port" */
    atomic_int in_flight;
    atomic_int failures;                /* consecutive: 5xx, connect, timeout */
    atomic_int ejections;               /* consecutive, for the back-off */
    _Atomic uint64_t ejected_until;     /* monotonic ns; 0: not ejected */
    _Atomic uint64_t retry_at;          /* the backend said retry-after; 0: no */
    atomic_bool is_probing;             /* half-open: one request tries it */
    atomic_bool is_down;                /* the active health check failed */
    atomic_int check_failures;
    uint32_t cell_up, cell_ejections;
};

struct model_state {                    /* process life, by model name */
    str name;
    struct latency *latency;
    struct window *window;              /* NULL: more models than there are windows for */
    _Atomic uint64_t turn;              /* round robin */
    _Atomic uint32_t typical_answer;    /* tokens, a running mean; 0: none yet */
};

struct backend {
    str name;
    const struct model *model;
    const struct backend_conf *conf;
    const struct provider_ops *provider;
    const struct dialect_ops *dialect;
    struct provider_place place;
    struct target target;               /* what the dialect's writer must know; betas are the request's */
    struct credential *credential;      /* NULL: auth_line says all */
    struct origin origin;
    str host_header;                    /* "api.example.com" or with ":port" */
    str base_path;                      /* "/v1"; "" */
    str upstream_model;                 /* the name this backend knows the model by */
    str auth_line;                      /* "authorization: Bearer sk-...\r\n", or "" */
    str extra_lines;                    /* "x-tenant: a\r\n..." */
    struct backend_state *state;
};

struct model_cells {
    uint32_t requests, tokens, prompt_tokens, completion_tokens, cost, completion_seconds, ttft, tpot,
             in_flight, routing_seconds;
};

struct model {
    str name;
    const struct model_conf *conf;
    const struct card_conf *card;       /* NULL: none */
    const struct reasoning_family *family;
    struct backend *backends; unsigned n_backends;
    uint8_t *schedule; unsigned n_schedule;         /* smooth weighted round robin over backends */
    double quality;                     /* NAN: unknown */
    const struct need_source *encoder;  /* it embeds here (provider: encoder); NULL */
    struct model_state *state;
    struct latency_view latency;
    struct model_cells cells;
    uint64_t connect_ns, first_byte_ns, idle_ns, total_ns;
    int retry_count;
    unsigned retry_on;                  /* enum retry_reason bits */
};

struct plan {                           /* one decision, ready to run */
    const struct decision_conf *conf;
    const struct select_ops *selector;
    const void *trained;                /* what the selector's file says; NULL: it has none, or it could not be read */
    const struct model **candidates;    /* [conf->n_refs]; NULL entries: unknown model */
    struct plugin_step { const struct plugin_ops *ops; const void *conf; } *chain; unsigned n_chain;
    uint32_t cell_match, cell_confidence;
};

struct recipe {
    const struct profile *profile;
    struct policy *policy;
    struct plan *plans;                 /* [profile->n_decisions] */
    bool needs_identity;                /* it has role bindings */
    struct slot_cells { uint32_t extracted, matched; } *slot_cells;     /* [policy_n_slots] */
    struct unit_cells { uint32_t run, avoided, seconds; } *unit_cells;  /* [policy_n_units] */
};

struct snap {
    struct arena *a;
    uint64_t id;
    const struct config *config;
    struct recipe *recipes; unsigned n_recipes;
    struct map models;                  /* name (and LoRA name) -> struct model */
    struct map virtuals;                /* entrypoint or automatic name -> struct recipe */
    const struct model *default_model;  /* NULL: none */
    struct keyring *keyring;            /* pipeline/key.h */
    struct limit_rules *limits;         /* pipeline/limit.h */
    struct learning_conf *learning;     /* pipeline/learning_request.h; NULL: off */
    struct models *signal_models;       /* encoders and heads that its signals ask */
    const struct compression *compression;      /* signal/compress.h; NULL: signals read whole texts */
    struct findings *findings;
    uint64_t built_wall_ns;
    uint32_t in_use[LOOPS_MAX];         /* requests; each loop touches its own */
    atomic_int holders;                 /* loops that have it as their present one or in use */
};

/* Compiles. NULL when findings got an error. `strict`: warnings count. */
struct snap *snap_build(str text, const char *file, bool strict, struct findings *out);
void snap_free(struct snap *s);

/* Publication. The loops must have been registered. */
void snap_register_loop(struct loop *l);
void snap_publish(struct snap *s);              /* any thread; takes the reference of its maker */
struct snap *snap_enter(struct loop *l);        /* the present one, held; on the loop */
void snap_leave(struct loop *l, struct snap *s);
struct snap *snap_present(void);                /* housekeeping and admin: borrowed while `snap_lock` is held */
void snap_lock(void);
void snap_unlock(void);

/* Live state by name, made on first use. */
struct backend_state *backend_state_get(str model, str backend);   /* backend: "name@host:port" */
struct model_state *model_state_get(str name);

#endif
