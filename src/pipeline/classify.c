/* pipeline/classify.c */
#include "pipeline/classify.h"

#include <math.h>

#include "signal/langid.h"
#include "signal/neural.h"
#include "signal/pii_names.h"

enum { SPANS_MAX = 4096 };

enum reading { MEAN_OF_WINDOWS, MOST_OF_WINDOWS, SPANS, LANGUAGE };

static const struct { const char *name; enum reading reading; } signals[] = {
    { "domain", MEAN_OF_WINDOWS }, { "fact_check", MEAN_OF_WINDOWS }, { "user_feedback", MEAN_OF_WINDOWS },
    { "jailbreak", MOST_OF_WINDOWS }, { "modality", MEAN_OF_WINDOWS }, { "pii", SPANS }, { "language", LANGUAGE },
};

static int signal_index(str name)
{
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        if (str_eq(name, str_of(signals[i].name)))
            return (int)i;
    return -1;
}

bool classify_knows(str signal)
{
    return signal_index(signal) >= 0;
}

const char *classify_names(void)
{
    return "domain, fact_check, user_feedback, jailbreak, modality, pii, language";
}

/* One label: the head gives its probability alone; the other answer is its opposite. */
static void labels_read(const struct need *n, enum reading reading, struct arena *a, struct classification *out)
{
    const struct need_source *s = n->source;
    bool is_alone = s->n_labels == 1;
    out->n_scores = s->n_labels + is_alone;
    out->scores = ARENA_ARRAY(a, struct label_score, out->n_scores);
    uint32_t surest = 0;                        /* window in which the first label is likeliest */
    for (uint32_t w = 1; w < n->n_windows && reading == MOST_OF_WINDOWS; w++)
        if (n->values[w * s->n_labels] > n->values[surest * s->n_labels])
            surest = w;
    for (uint32_t i = 0; i < s->n_labels; i++) {
        float sum = 0;
        for (uint32_t w = 0; w < n->n_windows; w++)
            sum += n->values[w * s->n_labels + i];
        out->scores[i].label = s->labels[i];
        out->scores[i].score = reading == MOST_OF_WINDOWS ? n->values[surest * s->n_labels + i] : sum / (float)n->n_windows;
    }
    if (is_alone)
        out->scores[1] = (struct label_score){ arena_printf(a, "not " STR_FMT, STR_ARG(s->labels[0])), 1 - out->scores[0].score };
    uint32_t best = 0;
    for (uint32_t i = 1; i < out->n_scores; i++)
        if (out->scores[i].score > out->scores[best].score)
            best = i;
    out->label = out->scores[best].label;
    out->score = out->scores[best].score;
}

static void span_add(struct classification *out, struct arena *a, struct found_span span)
{
    for (uint32_t i = 0; i < out->n_spans; i++)     /* what form and checksum found needs no second name */
        if (span.from < out->spans[i].to && out->spans[i].from < span.to)
            return;
    if (out->n_spans < SPANS_MAX)
        *PUSH(a, out->spans, out->n_spans) = span;
}

static void spans_read(const struct need *names, const struct facts *f, struct arena *a, struct classification *out)
{
    struct pii_span *forms = ARENA_ARRAY(a, struct pii_span, SPANS_MAX);
    uint32_t n = names ? pii_scan(f->evaluation_text, forms, SPANS_MAX, NULL) : pii_find(f->evaluation_text, forms, SPANS_MAX, NULL);
    for (uint32_t i = 0; i < n; i++)
        span_add(out, a, (struct found_span){ forms[i].start, forms[i].end, pii_type_name(forms[i].type), forms[i].score });
    for (uint32_t i = 0; names && i < names->n_spans; i++) {
        const struct need_span *s = &names->spans[i];
        if (s->label < names->source->n_labels)
            span_add(out, a, (struct found_span){ s->from, s->to, neural_label_base(names->source->labels[s->label]), s->score });
    }
    out->label = out->n_spans ? S("pii") : S("none");
    for (uint32_t i = 0; i < out->n_spans; i++)
        out->score = fmaxf(out->score, out->spans[i].score);
}

static void language_read(const struct facts *f, struct arena *a, struct classification *out)
{
    struct langid l = langid_detect(f->evaluation_text.ptr, f->evaluation_text.len);
    out->label = l.code[0] ? arena_printf(a, "%s", l.code) : S("und");
    out->score = l.confidence;
    out->why = NULL;
}

WAITS void classify_many(struct models *m, str signal, const struct facts *const *f, size_t n, uint64_t deadline, struct arena *a,
                         struct classification *out)
{
    int at = signal_index(signal);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct classification){ .why = "no-signal" };
    if (at < 0)
        return;
    enum reading reading = signals[at].reading;
    if (reading == LANGUAGE) {
        for (size_t i = 0; i < n; i++)
            language_read(f[i], a, &out[i]);
        return;
    }
    const struct need_source *source = models_source(m, reading == SPANS ? NEED_SPANS : NEED_LABELS, signals[at].name, (str){ 0 });
    struct gatherer gatherer = { m, a, deadline };
    struct needs needs = { .a = a };
    for (size_t i = 0; i < n && !source->why_absent; i++)
        if (f[i]->evaluation_text.len)
            *PUSH(a, needs.items, needs.n) = (struct need){ .source = source, .text = f[i]->evaluation_text };
    if (needs.n)
        models_gather(&gatherer, &needs);
    for (size_t i = 0, k = 0; i < n; i++) {
        const struct need *asked = !source->why_absent && f[i]->evaluation_text.len ? &needs.items[k++] : NULL;
        const struct need *answer = asked && asked->is_answered ? asked : NULL;
        out[i].why = answer || reading == SPANS ? NULL : source->why_absent ? source->why_absent : asked ? asked->why : "no-text";
        out[i].n_windows = answer ? answer->n_windows : 0;
        if (reading == SPANS)
            spans_read(answer, f[i], a, &out[i]);
        else if (answer)
            labels_read(answer, reading, a, &out[i]);
    }
}

WAITS void classify(struct models *m, str signal, const struct facts *f, uint64_t deadline, struct arena *a, struct classification *out)
{
    classify_many(m, signal, &f, 1, deadline, a, out);
}
