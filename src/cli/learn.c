/* cli/learn.c */
#include "cli/learn.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "base/map.h"

static uint32_t name_index(struct arena *a, struct map *by_name, str **names, uint32_t *n, str name)
{
    uintptr_t known = (uintptr_t)map_get(by_name, name);
    if (known)
        return (uint32_t)known - 1;
    *PUSH(a, *names, *n) = arena_str(a, name);
    map_put(by_name, (*names)[*n - 1], (void *)(uintptr_t)*n);
    return *n - 1;
}

static bool is_left_out(const char *const *without, str source)
{
    for (; without && *without; without++)
        if (str_eq(source, str_of(*without)))
            return true;
    return false;
}

static int file_read(struct learn *l, const char *path, const char *const *without, struct map *labels, struct map *sources, struct err *e)
{
    struct rows *rows = rows_open(path, e);
    int rc = rows ? 1 : -1;
    while (rc == 1) {
        struct arena *a = arena_new();
        struct row row;
        rc = rows_next(rows, a, &row, e);
        if (rc == 1 && row.label.len == 0)
            rc = err_set(e, "%s:%llu: this row has no label: {\"text\": ..., \"label\": ...}", path, (unsigned long long)row.line);
        if (rc == 1 && l->n == LEARN_ROWS_MAX)
            rc = err_set(e, "%s: more than %d rows", path, LEARN_ROWS_MAX);
        if (rc == 1 && !is_left_out(without, row.source)) {
            struct learn_row *to = PUSH(l->a, l->rows, l->n);
            to->text = arena_str(l->a, row.text);
            to->label = name_index(l->a, labels, &l->labels, &l->n_labels, row.label);
            to->source = name_index(l->a, sources, &l->sources, &l->n_sources, row.source);
            double weight;
            if (row.is_json && json_double(&row.json, json_get(&row.json, 0, S("weight")), &weight) && weight > 0) {
                to->weight = (float)weight;
                l->has_weights = true;
            }
        }
        arena_free(a);
    }
    rows_close(rows);
    return rc;
}

/* 1 for "1", "true" and the positive label, 0 for "0", "false" and what stands against that label, else -1. */
static int truth_of(const struct learn *l, str label)
{
    for (uint32_t i = 0; i < l->n_labels && l->n_labels == 2; i++)
        if (l->positive.len && str_ieq(l->labels[i], l->positive))
            return str_ieq(label, l->positive);
    return str_eq(label, S("1")) || str_eq(label, S("true")) ? 1 : str_eq(label, S("0")) || str_eq(label, S("false")) ? 0 : -1;
}

int learn_read(struct learn *l, const char *const *files, size_t n, const char *const *without, struct err *e)
{
    struct map labels = { .a = l->a }, sources = { .a = l->a };
    for (size_t i = 0; i < n; i++)
        if (file_read(l, files[i], without, &labels, &sources, e) < 0)
            return -1;
    if (l->n == 0)
        return err_set(e, "there is no row to learn from");
    l->is_binary = l->n_labels <= 2;
    for (uint32_t i = 0; i < l->n_labels; i++)
        l->is_binary &= truth_of(l, l->labels[i]) >= 0;
    for (uint32_t i = 0; i < l->n && l->is_binary; i++)
        l->rows[i].label = (uint32_t)truth_of(l, l->labels[l->rows[i].label]);
    return 0;
}

float *texts_vectors(const str *all, uint32_t n_all, const struct need_source *source, const char *command)
{
    float *v = malloc((size_t)n_all * source->dim * sizeof *v + 1);
    str texts[ROWS_AT_ONCE];
    const char *why = v ? NULL : "no memory";
    struct progress progress = progress_start("reading texts");
    for (uint32_t at = 0, n; at < n_all && !why; at += n) {
        size_t bytes = 0;
        for (n = 0; at + n < n_all && n < ROWS_AT_ONCE && bytes < ROWS_BYTES; bytes += texts[n++].len)
            texts[n] = all[at + n].len ? all[at + n] : S(" ");
        why = models_embed(source, texts, n, 0, NEVER, v + (size_t)at * source->dim, NULL);
        progress_show(&progress, (double)at / n_all, at);
    }
    progress_end(&progress);
    if (!why)
        return v;
    fprintf(stderr, "signalbox %s: the encoder did not answer: %s\n", command, why);
    free(v);
    return NULL;
}

float *learn_vectors(const struct learn *l, const struct need_source *source, const char *command)
{
    str *texts = malloc((l->n + 1) * sizeof *texts);
    for (uint32_t i = 0; texts && i < l->n; i++)
        texts[i] = l->rows[i].text;
    float *v = texts ? texts_vectors(texts, l->n, source, command) : NULL;
    free(texts);
    return v;
}

bool learn_words(const struct learn *l, const struct ngram_spec *spec, struct ngram_feature **features, uint64_t **starts)
{
    static struct ngram_feature some[NGRAM_FEATURES_MAX];
    struct ngram_feature *all = NULL;
    uint64_t *at = malloc((l->n + 1) * sizeof *at), n = 0, cap = 0;
    for (uint32_t i = 0; at && i < l->n; i++) {
        uint32_t more = ngram_features(spec, l->rows[i].text, some, NGRAM_FEATURES_MAX);
        at[i] = n;
        if (n + more > cap) {
            cap = 2 * cap > n + more ? 2 * cap : n + more + (1 << 20);
            struct ngram_feature *grown = realloc(all, cap * sizeof *grown);
            if (!grown) {
                free(all);
                free(at);
                return false;
            }
            all = grown;
        }
        memcpy(all + n, some, more * sizeof *some);
        n += more;
    }
    if (!at)
        return false;
    at[l->n] = n;
    *features = all;
    *starts = at;
    return true;
}

str learn_positive(str signal)
{
    static const struct { const char *signal, *name; } table[] = {
        { "jailbreak", "jailbreak" }, { "fact_check", "FACT_CHECK_NEEDED" }, { "modality", "DIFFUSION" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_eq(signal, str_of(table[i].signal)))
            return str_of(table[i].name);
    return S("");
}

float learn_score(const struct classification *c, str positive)
{
    if (c->n_scores == 0)
        return str_eq(c->label, S("none")) ? 0 : c->score;
    for (uint32_t i = 0; i < c->n_scores; i++) {
        if (str_ieq(c->scores[i].label, positive))
            return c->scores[i].score;
        if (str_ieq(c->scores[i].label, S("satisfied")) || str_ieq(c->scores[i].label, S("SAT")))
            return 1 - c->scores[i].score;
    }
    return c->scores[0].score;
}
