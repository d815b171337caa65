/* neural/service.c -- the caller's side: what is asked, what is known already, and the wait for the rest.
 *
 * Every ask comes down to one product of a (model, text): its rows, labels by a head, or spans. A short text's labels are
 * made from the rows right here, in microseconds, so that a text in the cache costs no thread anything; a long one's n-grams
 * are counted on the encoder threads. What the cache has not is asked of batch.c under one lock, so that all asks of a text
 * board the same flight. */
#include "neural/service.h"

#include <errno.h>
#include <math.h>

#include "base/clock.h"
#include "neural/batch.h"
#include "neural/hidden.h"
#include "neural/labels.h"
#include "neural/passages.h"

enum {
    SHORT_TEXT = 1024,                  /* bytes whose n-grams are counted on the caller's thread: some 100 us */
    LOOK_BACK = 32,                     /* asks of one text stand together: so many before are compared before hashing again */
};

struct plan {                           /* of one ask */
    struct neural_ask *ask;
    struct wish wish;
    bool heads_here;                    /* labels are made by the caller from the rows */
    bool is_ready;                      /* nothing to wait for: words alone */
    struct answer *answer;              /* held */
    struct ticket ticket;
};

/* ---- what is needed ---- */

static bool plan_labels(struct plan *p, const struct neural_ask *ask)
{
    const struct head *h = p->wish.head ? p->wish.head->head : NULL;
    p->wish.kind = PRODUCT_ROWS;
    if (!h)
        return ask->model && ask->model->n_labels > 0;
    if (h->kind == HEAD_TOKENS || (h->dim && (!ask->model || neural_model_vector_at(ask->model, h) < 0)))
        return false;
    if (h->dim == 0)
        p->wish.model = NULL;
    p->heads_here = h->ngrams.buckets == 0 || (p->wish.text.len <= (p->wish.model ? SHORT_TEXT : WORDS_BYTES) &&
                                               !(p->wish.model && passages_wanted(h, p->wish.text.len)));
    p->is_ready = p->heads_here && !p->wish.model;
    p->wish.kind = p->heads_here ? PRODUCT_ROWS : PRODUCT_LABELS;
    return true;
}

static bool plan_spans(struct plan *p, const struct neural_ask *ask)
{
    const struct head *h = p->wish.head ? p->wish.head->head : NULL;
    p->wish.kind = PRODUCT_SPANS;
    if (!ask->model)
        return false;
    return h ? h->kind == HEAD_TOKENS && h->dim == ask->model->encoder->shape.hidden : ask->model->spans.n_labels > 0;
}

static void plan_keys(struct plan *p, const struct plan *first)
{
    struct wish *w = &p->wish;
    const struct wish *same = NULL;
    for (const struct plan *other = p; !same && other > first && p - other < LOOK_BACK;) {
        const struct wish *o = &(--other)->wish;
        if (o->text.ptr == w->text.ptr && o->text.len == w->text.len && o->model == w->model)
            same = o;
    }
    w->key = same ? same->key : key_mix(key_of_text(w->text), w->model ? w->model->serial : 0);
    w->product = w->key;
    if (w->kind != PRODUCT_ROWS)
        w->product = key_mix(w->key, w->head ? w->head->serial : w->model->serial);
}

static bool plan_make(struct plan *p, struct neural_ask *ask, const struct plan *first)
{
    p->ask = ask;
    p->wish.model = ask->model;
    p->wish.head = ask->head && (ask->task == NEURAL_LABELS || ask->task == NEURAL_SPANS) ? head_version_now(ask->head) : NULL;
    p->wish.text = str_upto(ask->text, TOKENIZER_TEXT_MAX);
    bool fits = ask->task == NEURAL_EMBED ? ask->model != NULL
              : ask->task == NEURAL_MIDDLE ? ask->model && ask->model->n_middle > 0
              : ask->task == NEURAL_LABELS ? plan_labels(p, ask) : plan_spans(p, ask);
    if (fits)
        plan_keys(p, first);
    return fits;
}

/* ---- answers into the caller's memory ---- */

static float *values_new(struct neural_ask *ask, uint32_t n_windows, uint32_t width, struct arena *a)
{
    ask->n_windows = n_windows;
    ask->values = arena_try(a, (size_t)n_windows * width * sizeof(float));
    return ask->values;
}

static int answer_labels_here(const struct plan *p, struct word_counts *counts, struct arena *a)
{
    const struct answer *r = p->answer;         /* NULL: words alone */
    const struct head *h = p->wish.head->head;
    str text = p->wish.text;
    uint32_t n = r ? r->n_windows : 1;
    float *out = values_new(p->ask, n, h->n_labels, a);
    if (!out)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        struct byte_range at = r ? r->windows[i] : (struct byte_range){ 0, (uint32_t)text.len };
        const float *vector = r ? r->values + (size_t)i * r->width + neural_model_vector_at(p->wish.model, h) : NULL;
        labels_of(h, vector, (str){ text.ptr + at.from, at.to - at.from }, counts, out + (size_t)i * h->n_labels);
    }
    return 0;
}

static int answer_columns(const struct plan *p, uint32_t from, uint32_t width, struct arena *a)
{
    const struct answer *r = p->answer;
    float *out = values_new(p->ask, r->n_windows, width, a);
    if (!out)
        return -ENOMEM;
    for (uint32_t i = 0; i < r->n_windows; i++)
        memcpy(out + (size_t)i * width, r->values + (size_t)i * r->width + from, width * sizeof *out);
    return 0;
}

static int answer_spans(const struct plan *p, struct arena *a)
{
    struct neural_ask *ask = p->ask;
    const struct answer *r = p->answer;
    ask->n_windows = r->n_windows;
    ask->spans = arena_try(a, (r->n_spans ? r->n_spans : 1) * sizeof *ask->spans);
    if (!ask->spans)
        return -ENOMEM;
    if (r->n_spans)
        memcpy(ask->spans, r->spans, r->n_spans * sizeof *ask->spans);
    ask->n_spans = r->n_spans;
    return 0;
}

static int answer_write(const struct plan *p, struct word_counts *counts, struct arena *a)
{
    const struct neural_model *m = p->wish.model;
    p->ask->n_tokens = p->answer ? p->answer->n_tokens : 0;
    if (p->heads_here)
        return answer_labels_here(p, counts, a);
    if (p->wish.kind == PRODUCT_SPANS)
        return answer_spans(p, a);
    if (p->wish.kind == PRODUCT_LABELS)                         /* spans: the passages to look at */
        return answer_columns(p, 0, p->answer->width, a) < 0 ? -ENOMEM : answer_spans(p, a);
    switch (p->ask->task) {
    case NEURAL_EMBED:  return answer_columns(p, 0, m->dim, a);
    case NEURAL_MIDDLE: return answer_columns(p, m->dim, m->n_middle, a);
    default:            return answer_columns(p, m->dim + m->n_middle, m->n_labels, a);
    }
}

/* ---- run ---- */

/* Asks for what is missing and waits for it. */
WAITS static void plans_fetch(struct plan **missing, size_t n, struct ticket **tickets, uint64_t deadline)
{
    struct waiter *w = waiter_get();
    bool waits = false;
    int rc = -ENOMEM;
    if (w) {
        batch_enter();
        for (size_t i = 0; i < n; i++) {
            tickets[i] = &missing[i]->ticket;
            batch_ask(&missing[i]->wish, w, deadline, tickets[i]);
            waits |= tickets[i]->job != NULL;
        }
        batch_go();
        rc = waits ? waiter_wait(w, deadline) : 0;
        waiter_leave(w, tickets, n, rc);
    }
    for (size_t i = 0; i < n; i++) {
        missing[i]->answer = missing[i]->ticket.answer;
        missing[i]->ask->status = w ? missing[i]->ticket.status : rc;
    }
}

static bool is_missing(struct plan *p, uint64_t now, uint64_t deadline)
{
    if (p->is_ready)
        return false;
    p->answer = batch_cached(p->wish.product);
    count_add(p->answer ? COUNT_HITS : COUNT_MISSES, 1);
    if (p->answer)
        return false;
    if (deadline <= now)
        p->ask->status = -ETIMEDOUT;
    return deadline > now;
}

/* What a head wants to see by itself of one ask's text: passages that its words point at, and what the text hides in a code. */
struct closer { str text[PASSAGES_MAX + HIDDEN_MAX]; float lowered[PASSAGES_MAX + HIDDEN_MAX]; uint32_t n; };

static struct closer closer_of(const struct neural_ask *ask, struct arena *a)
{
    struct closer c = { .n = 0 };
    const struct head *h = ask->task == NEURAL_LABELS && ask->status == 0 && ask->head && ask->model ? neural_head_get(ask->head) : NULL;
    for (uint32_t i = 0; h && i < ask->n_spans && i < PASSAGES_MAX; i++) {
        const struct neural_span *s = &ask->spans[i];
        c.lowered[c.n] = s->score;
        c.text[c.n++] = (str){ ask->text.ptr + s->from, s->to - s->from };
    }
    if (h && h->passages.most > 0)
        c.n += hidden_find(ask->text, a, c.text + c.n);
    return c;
}

/* Each becomes a window behind the others. `looked`: the answers, [c->n]. */
static int closer_join(struct neural_ask *ask, const struct closer *c, const struct neural_ask *looked, struct arena *a)
{
    uint32_t n = ask->n_windows;
    float *values = arena_try(a, (n + c->n) * sizeof *values);             /* one label */
    if (!values)
        return -ENOMEM;
    memcpy(values, ask->values, n * sizeof *values);
    for (uint32_t i = 0; i < c->n; i++) {
        if (looked[i].status < 0)
            return looked[i].status;
        float worst = 0;
        for (uint32_t w = 0; w < looked[i].n_windows; w++)
            worst = fmaxf(worst, looked[i].values[w]);
        values[n + i] = passage_probability(&neural_head_get(ask->head)->passages, worst, c->lowered[i]);
        ask->n_tokens += looked[i].n_tokens;
    }
    ask->values = values;
    ask->n_windows += c->n;
    return 0;
}

/* What was answered for whole windows is joined by what the head says of single passages, in the same way: a passage has none, and what is
 * decoded is shorter than its code. An answer without them would be half of one, so an ask has the status of those that it waits for. */
WAITS static void passages_look(struct neural_ask *asks, size_t n, uint64_t deadline, struct arena *a)
{
    size_t total = 0, at = 0;
    struct closer *closer = arena_try(a, n * sizeof *closer);
    for (size_t i = 0; i < n && closer; i++) {
        closer[i] = closer_of(&asks[i], a);
        total += closer[i].n;
    }
    if (closer && total == 0)
        return;
    struct neural_ask *looked = closer ? arena_try(a, total * sizeof *looked) : NULL;
    if (!looked) {
        for (size_t i = 0; i < n; i++)
            asks[i].status = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < closer[i].n; k++)
            looked[at++] = (struct neural_ask){
                .task = NEURAL_LABELS, .model = asks[i].model, .head = asks[i].head, .text = closer[i].text[k] };
    neural_run(looked, total, deadline, a);
    at = 0;
    for (size_t i = 0; i < n; at += closer[i++].n)
        if (closer[i].n > 0)
            asks[i].status = closer_join(&asks[i], &closer[i], looked + at, a);
}

WAITS size_t neural_run(struct neural_ask *asks, size_t n, uint64_t deadline, struct arena *a)
{
    struct plan *plans = arena_try(a, (n ? n : 1) * sizeof *plans);
    struct plan **missing = arena_try(a, (n ? n : 1) * sizeof *missing);
    struct ticket **tickets = arena_try(a, (n ? n : 1) * sizeof *tickets);
    bool has_memory = plans && missing && tickets;
    uint64_t now = deadline == NEVER ? 0 : clock_now();
    size_t n_missing = 0, n_good = 0;
    for (size_t i = 0; i < n; i++) {
        struct neural_ask *ask = &asks[i];
        ask->status = has_memory ? 0 : -ENOMEM;
        ask->n_windows = ask->n_tokens = ask->n_spans = 0;
        ask->values = NULL;
        ask->spans = NULL;
        if (!has_memory)
            continue;
        plans[i] = (struct plan){ 0 };
        if (!plan_make(&plans[i], ask, plans))
            ask->status = -EINVAL;
        else if (is_missing(&plans[i], now, deadline))
            missing[n_missing++] = &plans[i];
    }
    if (n_missing > 0)
        plans_fetch(missing, n_missing, tickets, deadline);
    struct word_counts counts = { 0 };
    for (size_t i = 0; i < n && has_memory; i++) {
        if (asks[i].status == 0)
            asks[i].status = answer_write(&plans[i], &counts, a);
        answer_release(plans[i].answer);
    }
    if (has_memory)
        passages_look(asks, n, deadline, a);
    for (size_t i = 0; i < n && has_memory; i++) {
        n_good += asks[i].status == 0;
        count_add(COUNT_REFUSED, asks[i].status == -EAGAIN);
        count_add(COUNT_EXPIRED, asks[i].status == -ETIMEDOUT);
    }
    return n_good;
}
