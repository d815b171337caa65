/* signal/models.h -- what the makers of neural signals ask of whoever serves models.
 *
 * Signals are pure: they name a role and what the configuration says of it, and get a source to put into their needs. The pipeline
 * (pipeline/models.c) knows which folder, head or remote service that is. */
#ifndef SBX_SIGNAL_MODELS_H
#define SBX_SIGNAL_MODELS_H

#include "base/value.h"
#include "decide/need.h"

struct model_request {
    enum need_kind kind;
    /* "embedding", "preference", "kb", "domain", "fact_check", "user_feedback", "jailbreak", "pii", "modality", "classifier" */
    const char *role;
    str model;                          /* as configured: a folder, a model_type, a name of model_catalog; "": the role's default */
    const struct value *options;        /* the map that configures it (module, classifier rule); NULL */
};

struct signal_models {
    void *arg;
    /* Never NULL: one that is not there says so in why_absent. Same request: same source. */
    const struct need_source *(*find)(void *arg, const struct model_request *r);
    /* Embeds configuration texts while the snapshot is built: out [n][source->dim], normalised. False: source is absent or failed. */
    bool (*embed)(void *arg, const struct need_source *s, const str *texts, size_t n, float *out);
    /* Reads a file that the configuration names, relative to it; in the snapshot's arena. False: *why is set. */
    bool (*file)(void *arg, str path, str *text, struct err *why);
};

#endif
