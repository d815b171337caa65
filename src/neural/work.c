/* neural/work.c -- one batch: texts to windows, windows to one forward, its states to answers.
 *
 * All windows of all texts that have room lie one behind the other in the worker's buffer, without padding. What a text asks
 * for is read from the states while they are there: pooled rows, and labels of tokens, which are joined into spans from
 * window to window. Heads over rows run last, when a text has been through all its forwards. */
#include "neural/job.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "neural/labels.h"
#include "neural/passages.h"

static float *worker_floats(struct worker *w, size_t n)
{
    if (n > w->cap_floats) {
        free(w->floats);
        w->floats = malloc(n * sizeof *w->floats);
        w->cap_floats = w->floats ? n : 0;
    }
    return w->floats;
}

static float *worker_middle(struct worker *w, size_t n)
{
    if (n > w->cap_middle) {
        free(w->middle);
        w->middle = malloc(n * sizeof *w->middle);
        w->cap_middle = w->middle ? n : 0;
    }
    return w->middle;
}

static void job_begin(struct worker *w, struct job *j)
{
    j->is_begun = true;
    j->windows.n = 0;
    j->n_tokens = 0;
    if (!j->needs_forward)
        return;
    const struct neural_model *m = j->model;
    if (windows_make(&j->windows, &m->rule, j->text, j->pieces, j->n_pieces, j->text_bytes, w->tokenizer) < 0)
        j->status = -ENOMEM;
    if (j->status == 0 && !j->rows_known && !(j->rows = answer_new(j->windows.n, neural_model_width(m), 0)))
        j->status = -ENOMEM;
    if (j->status < 0)
        return;
    j->n_tokens = j->windows.n_tokens;
    if (!j->rows_known)
        j->rows->n_tokens = j->windows.n_tokens;
    for (uint32_t i = 0; i < j->windows.n && !j->rows_known; i++)
        j->rows->windows[i] = j->windows.list[i].bytes;
    for (uint32_t i = 0; i < j->n_products; i++) {
        struct product *p = &j->products[i];
        if (p->kind == PRODUCT_SPANS && span_join_begin(&p->join, p->head ? &p->head->spans : &m->spans) < 0)
            j->status = -ENOMEM;
    }
}

/* As many windows as fit; a single one always does. */
static uint32_t pack(struct worker *w, const struct batch *b, uint32_t *n_tokens)
{
    uint32_t n = 0, used = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct job *j = b->jobs[i];
        for (uint32_t k = j->n_done; j->status == 0 && k < j->windows.n && n < BATCH_WINDOWS; k++) {
            const struct window *v = &j->windows.list[k];
            if (n > 0 && used + v->n > BATCH_TOKENS)
                goto full;
            if (used + v->n > w->cap_ids) {
                uint32_t cap = used + v->n > BATCH_TOKENS ? used + v->n : BATCH_TOKENS;
                int32_t *ids = realloc(w->ids, cap * sizeof *ids);
                if (!ids) {
                    j->status = -ENOMEM;
                    goto full;
                }
                w->ids = ids;
                w->cap_ids = cap;
            }
            memcpy(w->ids + used, j->windows.ids + v->at, v->n * sizeof *w->ids);
            w->starts[n] = used;
            w->items[n++] = (struct item){ j, v };
            used += v->n;
        }
    }
full:
    w->starts[n] = used;
    *n_tokens = used;
    return n;
}

/* Row of window i: the vector, that of the middle layer, the model's own class probabilities. */
static bool row_make(struct worker *w, const struct neural_model *m, const float *hidden, const struct encoder_batch *eb,
                     uint32_t i, float *row)
{
    const struct encoder_shape *shape = &m->encoder->shape;
    float *whole = worker_floats(w, shape->hidden);
    if (!whole)
        return false;
    encoder_pool(shape, shape->pooling, hidden, eb, i, whole);
    memcpy(row, whole, m->dim * sizeof *row);
    vector_normalise(row, m->dim);
    row += m->dim;
    if (m->n_middle) {
        size_t from = eb->starts[i], to = eb->starts[i + 1], width = m->n_middle;
        vector_mean(eb->middle + from * width, to - from, width, width, row);
        vector_normalise(row, m->n_middle);
        row += m->n_middle;
    }
    if (m->n_labels) {
        encoder_classify(m->encoder, hidden, eb, i, row);
        if (m->n_labels == 1)
            row[0] = 1 / (1 + expf(-row[0]));
        else
            softmax(row, m->n_labels);
    }
    return true;
}

static bool spans_add(struct worker *w, struct product *p, const struct item *it, const float *hidden,
                      const struct encoder_batch *eb, uint32_t i)
{
    const struct job *j = it->job;
    const struct window *v = it->window;
    const struct encoder *e = j->model->encoder;
    uint32_t n_labels = p->join.scheme->n_labels;
    float *labels = worker_floats(w, (size_t)v->n * n_labels);          /* [tokens of the window][n_labels] */
    if (!labels)
        return false;
    if (p->head) {
        head_tokens(p->head->head, hidden + (size_t)eb->starts[i] * e->shape.hidden, v->n, labels);
    } else {
        encoder_classify(e, hidden, eb, i, labels);
        for (uint32_t t = 0; t < v->n; t++)
            softmax(labels + (size_t)t * n_labels, n_labels);
    }
    if (!v->follows)
        span_join_gap(&p->join);
    str text = { j->text, j->text_bytes };
    uint32_t shift = 0;
    if (j->n_pieces > 1) {
        uint32_t k = (uint32_t)(v - j->windows.list);
        for (uint32_t before = 0; before < k; before++)
            text.ptr += j->pieces[before].len;
        text.len = j->pieces[k].len;
        shift = j->pieces[k].from;
    }
    span_join_add(&p->join, text, shift, j->windows.bytes + v->own_from, v->own_to - v->own_from,
                  labels + (size_t)(v->own_from - v->at) * n_labels);
    return !p->join.is_failed;
}

static void window_read(struct worker *w, const struct item *it, const float *hidden, const struct encoder_batch *eb, uint32_t i)
{
    struct job *j = it->job;
    bool ok = true;
    if (!j->rows_known)
        ok = row_make(w, j->model, hidden, eb, i, j->rows->values + (size_t)j->n_done * j->rows->width);
    for (uint32_t k = 0; k < j->n_products && ok; k++)
        if (j->products[k].kind == PRODUCT_SPANS)
            ok = spans_add(w, &j->products[k], it, hidden, eb, i);
    if (!ok)
        j->status = -ENOMEM;
    j->n_done++;
    j->n_tokens -= it->window->n;
}

/* An answer of labels for n windows, with the passages that the head wants to see by themselves. */
static struct answer *labels_new(const struct job *j, const struct head *h, uint32_t n)
{
    struct passages found = { .n = 0 };
    const char *text = j->text;
    for (uint32_t i = 0; i < j->n_pieces && j->model && passages_wanted(h, j->text_bytes); text += j->pieces[i++].len)
        passages_add(&found, h, (str){ text, j->pieces[i].len }, j->pieces[i].from);
    passages_end(&found, h);
    struct answer *r = answer_new(n, h->n_labels, found.n);
    if (r && found.n)
        memcpy(r->spans, found.list, found.n * sizeof *r->spans);
    return r;
}

/* Labels by all heads, window by window: so each window's words are counted once. */
static void labels_make(struct job *j)
{
    const struct answer *rows = j->rows;        /* NULL: words alone, each piece is a window */
    uint32_t n = rows ? rows->n_windows : j->n_pieces;
    for (uint32_t k = 0; k < j->n_products; k++)
        if (j->products[k].kind == PRODUCT_LABELS)
            j->products[k].answer = labels_new(j, j->products[k].head->head, n);
    struct word_counts counts = { 0 };
    const char *text = j->text;
    for (uint32_t i = 0; i < n; i++) {
        struct piece piece = j->pieces[j->n_pieces > 1 ? i : 0];
        struct byte_range at = rows ? rows->windows[i] : (struct byte_range){ piece.from, piece.from + piece.len };
        str words = { text + (at.from - piece.from), at.to - at.from };
        for (uint32_t k = 0; k < j->n_products; k++) {
            struct answer *r = j->products[k].kind == PRODUCT_LABELS ? j->products[k].answer : NULL;
            if (!r)
                continue;
            const struct head *h = j->products[k].head->head;
            const float *vector = rows ? rows->values + (size_t)i * rows->width + neural_model_vector_at(j->model, h) : NULL;
            labels_of(h, vector, words, &counts, r->values + (size_t)i * r->width);
            r->windows[i] = at;
            r->n_tokens = rows ? rows->n_tokens : 0;
        }
        text += j->n_pieces > 1 ? piece.len : 0;
    }
}

static struct answer *spans_make(struct product *p, const struct job *j)
{
    span_join_gap(&p->join);
    struct answer *r = p->join.is_failed ? NULL : answer_new(j->windows.n, 0, p->join.n);
    if (!r)
        return NULL;
    for (uint32_t i = 0; i < j->windows.n; i++)
        r->windows[i] = j->windows.list[i].bytes;
    r->n_tokens = j->windows.n_tokens;
    if (p->join.n)
        memcpy(r->spans, p->join.list, p->join.n * sizeof *r->spans);
    return r;
}

static void job_finish(struct job *j, struct cache *cache)
{
    if (j->rows && !j->rows_known)
        cache_put(cache, j->key, j->rows);
    labels_make(j);
    for (uint32_t i = 0; i < j->n_products; i++) {
        struct product *p = &j->products[i];
        if (p->kind == PRODUCT_ROWS)
            p->answer = answer_hold(j->rows);
        if (p->kind == PRODUCT_SPANS)
            p->answer = spans_make(p, j);
        if (p->answer && p->kind != PRODUCT_ROWS)
            cache_put(cache, p->key, p->answer);
    }
}

void work_run(struct worker *w, struct cache *cache)
{
    struct batch *b = &w->batch;
    for (uint32_t i = 0; i < b->n; i++)
        if (!b->jobs[i]->is_begun)
            job_begin(w, b->jobs[i]);
    uint32_t n_tokens, n = pack(w, b, &n_tokens);
    if (n > 0) {
        const struct neural_model *m = b->model;
        struct encoder_batch eb = { .ids = w->ids, .starts = w->starts, .n_texts = n };
        if (m->n_middle && (eb.middle = worker_middle(w, (size_t)n_tokens * m->n_middle)))
            eb.middle_layer = m->options.middle_layer;
        uint64_t started = clock_now();
        const float *hidden = m->n_middle && !eb.middle ? NULL : encoder_forward(m->encoder, &eb, w->encoder, b->gang, &b->stop);
        count_add(COUNT_BUSY_NS, (clock_now() - started) * b->n_threads);
        count_add(COUNT_FORWARDS, 1);
        count_add(COUNT_TOKENS, n_tokens);
        for (uint32_t i = 0; i < n; i++) {
            if (hidden)
                window_read(w, &w->items[i], hidden, &eb, i);
            else if (!__atomic_load_n(&b->stop, __ATOMIC_RELAXED))
                w->items[i].job->status = -ENOMEM;
        }
    }
    for (uint32_t i = 0; i < b->n; i++)
        if (b->jobs[i]->status == 0 && b->jobs[i]->n_done == b->jobs[i]->windows.n) {
            job_finish(b->jobs[i], cache);
            count_add(COUNT_TEXTS, b->jobs[i]->needs_forward);
        }
}

void worker_free(struct worker *w)
{
    encoder_scratch_free(w->encoder);
    tokenizer_scratch_free(w->tokenizer);
    free(w->ids);
    free(w->floats);
    free(w->middle);
}
