/* pipeline/models.h -- which encoder, head or remote service answers the needs of a snapshot's signals.
 *
 * A role of a signal is resolved once, while the snapshot is built: a folder that the configuration names and that is there; else the
 * head that ships for the role, on the bundled trunk; else nothing, and the signal says so. Opened models are shared by all
 * snapshots; a snapshot holds what it uses. */
#ifndef SBX_PIPELINE_MODELS_H
#define SBX_PIPELINE_MODELS_H

#include "config/config.h"
#include "decide/decide.h"
#include "runtime/fiber.h"
#include "signal/models.h"

struct models;

/* `file`: of the configuration, for relative paths. Nothing is loaded before somebody asks. In arena a, released with it. */
struct models *models_new(struct arena *a, const struct config *c, const char *file, struct findings *out);
const struct signal_models *models_for_signals(struct models *m);

/* Answers needs of one decide_run on the calling fiber or thread; see decide_gather. */
struct gatherer { struct models *models; struct arena *a; uint64_t deadline; };
WAITS void models_gather(void *gatherer, struct needs *needs);

/* Vectors of n texts: out [n][dim], each the mean of its windows, length 1. `dim`: 0, or fewer numbers than the source has (Matryoshka).
 * NULL: all well; else why not: "timeout", "no-model", ... `tokens`: how many were read; may be NULL. */
WAITS const char *models_embed(const struct need_source *s, const str *texts, size_t n, uint32_t dim,
                               uint64_t deadline, float *out, uint64_t *tokens);
/* The source of a role (signal/models.h) as the configuration has it, never NULL; opened on an offload thread if it is not yet. */
WAITS const struct need_source *models_source(struct models *m, enum need_kind kind, const char *role, str model);

/* Does the hypothesis follow from the premise? By the classifier of pairs that the configuration names (the explainer of
 * hallucination_mitigation); none ships. */
enum nli_label { NLI_ENTAILMENT, NLI_NEUTRAL, NLI_CONTRADICTION, NLI_N };
struct nli {
    const char *why;                    /* NULL, or why there is no answer: "no-model", "bad-labels", "queue-full", "failed" */
    enum nli_label label;
    float score[NLI_N];
    str model;
    bool is_cut;                        /* both texts together are longer than the model reads */
};
WAITS void models_nli(struct models *m, str premise, str hypothesis, struct arena *a, struct nli *out);

/* Vectors of the bundled trunk as heads read them: of its middle layer, or its last. *layer: which (0: the last). */
WAITS const struct need_source *models_trunk(struct models *m, bool is_middle, uint32_t *layer);
/* From now on the role's head is the file at `path`, whatever ships or is configured. Before the first question of that role. */
void models_use_head(struct models *m, const char *role, str path);
void models_be_patient(struct models *m);       /* many texts are asked at once and nobody waits: no time-out */
const struct findings *models_findings(const struct models *m);   /* what was said while models were looked for */

/* A file that ships with the program: below $SIGNALBOX_HOME, beside the binary (../share/signalbox, ..), /usr/share/signalbox.
 * Empty when it is nowhere. `relative`: "heads/jailbreak.safetensors". */
str models_resource(struct arena *a, str relative);

/* Looks for heads whose files have changed and reads them again; how many were. Housekeeping thread. */
unsigned models_reload_heads(struct models *m);

#endif
