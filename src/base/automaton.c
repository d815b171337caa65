/* base/automaton.c
 *
 * The states near the root, breadth first, are those a text is in nearly all the time. These
 * have a full row of transitions over byte classes; a state of the rest has its own successors
 * (nearly always one) and a failure link, and a step from there ends at the latest at a full
 * row. A state is known by its place: the index of its row, or, behind all rows, its number
 * among the deep ones. Rows of states where words end come last, so that one comparison tells
 * the loop whether anything but a row look-up is to be done.
 *
 * Case: words are folded when added, capital ASCII letters share the class of the small ones,
 * and letters above ASCII are folded while reading, which only the lead bytes of blocks with
 * cases (class FOLD) have to stop for. */
#include "base/automaton.h"

#include <assert.h>
#include <string.h>

#include "base/utf8.h"

enum {
    CLASS_NONE = 0,                     /* byte of no word */
    CLASS_FOLD = 255,                   /* lead byte whose code point may have to be folded */
    CLASS_NO_CHILD = 254,               /* never the class of a byte */
    FOLD2_END = 0x800,                  /* code points of two bytes */
    BMP_PAGES = 0x10000 / 64,
};

struct node {                           /* of the trie being built */
    uint32_t child, sibling;
    uint32_t word;                      /* first word that ends here + 1 */
    unsigned char byte;
};

struct automaton_builder {
    struct arena *a;
    struct node *nodes; size_t n_nodes;
    uint32_t *word_next; size_t n_words;        /* next word of the same node + 1 */
    uint32_t *word_len; size_t n_lens;
    size_t states_max;
};

struct deep {                           /* a state without a row */
    uint32_t next;                      /* place behind `class`, the first own successor */
    uint32_t fail;                      /* place to go on from otherwise */
    uint32_t more;                      /* first of n_more further successors */
    uint16_t n_more;
    uint8_t class;
};

struct more { uint32_t next; uint8_t class; };

struct output {                         /* words that end in a state */
    uint32_t first, n;                  /* in `words` */
    uint32_t suffix;                    /* output of the longest ending with words; 0: none */
};

struct automaton {
    uint8_t class[256];                 /* of bytes; CLASS_FOLD for lead bytes that want folding */
    uint8_t plain_class[256];            /* the same without CLASS_FOLD */
    uint8_t page_folds[BMP_PAGES];
    uint8_t fold2[FOLD2_END][2];        /* classes of the folded code point's two bytes */
    uint32_t *rows;                     /* [n_dense, stride] places */
    uint32_t stride, limit;             /* limit: n_dense * stride; places from here on are deep */
    uint32_t special;                   /* places from here on have words or are deep */
    uint32_t n_dense, n_states;
    struct deep *deep;
    struct more *more;
    struct output *outputs;             /* [n_states] by row, then deep ones */
    uint32_t *words, *word_len;
    size_t bytes;
};

/* ---- building ---- */

struct automaton_builder *automaton_builder_new(struct arena *a, size_t states_max)
{
    struct automaton_builder *b = ARENA_NEW(a, struct automaton_builder);
    b->a = a;
    b->states_max = states_max;
    (void)PUSH(a, b->nodes, b->n_nodes);        /* the root */
    return b;
}

static uint32_t node_child(const struct automaton_builder *b, uint32_t node, unsigned char byte)
{
    uint32_t child = b->nodes[node].child;
    while (child && b->nodes[child].byte != byte)
        child = b->nodes[child].sibling;
    return child;
}

static uint32_t node_enter(struct automaton_builder *b, uint32_t node, unsigned char byte)
{
    uint32_t child = node_child(b, node, byte);
    if (child)
        return child;
    child = (uint32_t)b->n_nodes;
    struct node *new = PUSH(b->a, b->nodes, b->n_nodes);
    *new = (struct node){ .sibling = b->nodes[node].child, .byte = byte };
    b->nodes[node].child = child;
    return child;
}

/* The folded form of the code point at *at; broken bytes stay as they are. */
static size_t fold_next(str text, size_t *at, char out[UTF8_MAX])
{
    size_t start = *at;
    uint32_t code = utf8_next(text, at);
    if (code == UTF8_BAD && *at - start == 1) {
        out[0] = text.ptr[start];
        return 1;
    }
    return utf8_put(out, utf8_fold(code));
}

bool automaton_add(struct automaton_builder *b, str word)
{
    if (word.len > b->states_max || b->n_nodes + word.len * 2 > b->states_max)
        return false;
    uint32_t node = 0, len = 0;
    for (size_t at = 0; at < word.len;) {
        char bytes[UTF8_MAX];
        size_t n = fold_next(word, &at, bytes);
        for (size_t i = 0; i < n; i++)
            node = node_enter(b, node, (unsigned char)bytes[i]);
        len += (uint32_t)n;
    }
    *PUSH(b->a, b->word_len, b->n_lens) = len;
    uint32_t *next = PUSH(b->a, b->word_next, b->n_words);
    *next = 0;
    if (len) {
        *next = b->nodes[node].word;
        b->nodes[node].word = (uint32_t)b->n_words;     /* number + 1 */
    }
    return true;
}

static uint8_t classes_make(const struct automaton_builder *b, struct automaton *m)
{
    bool is_used[256] = { false };
    for (size_t i = 1; i < b->n_nodes; i++)
        is_used[b->nodes[i].byte] = true;
    unsigned n = 1;
    for (unsigned byte = 0; byte < 256; byte++)
        m->class[byte] = is_used[byte] ? (uint8_t)n++ : CLASS_NONE;
    for (unsigned byte = 'A'; byte <= 'Z'; byte++)
        m->class[byte] = m->class[byte + 32];
    assert(n < CLASS_NO_CHILD);
    return (uint8_t)n;
}

static void folds_make(struct automaton *m)
{
    for (uint32_t page = 0; page < BMP_PAGES; page++)
        m->page_folds[page] = utf8_page_folds(page * 64);
    for (uint32_t code = 0x80; code < FOLD2_END; code++) {
        char bytes[UTF8_MAX];
        bool is_same_length = utf8_put(bytes, utf8_fold(code)) == 2;
        m->fold2[code][0] = is_same_length ? m->class[(unsigned char)bytes[0]] : CLASS_FOLD;
        m->fold2[code][1] = m->class[(unsigned char)bytes[1]];
    }
}

/* Marks lead bytes for folding, after all that needs the true classes of the bytes. */
static void leads_mark(struct automaton *m)
{
    memcpy(m->plain_class, m->class, sizeof m->class);
    for (uint32_t page = 0x80 / 64; page < BMP_PAGES; page++) {
        if (m->page_folds[page])
            m->class[page < 32 ? 0xC0 | page : 0xE0 | page >> 6] = CLASS_FOLD;
    }
    m->class[0xF0] = CLASS_FOLD;
}

struct order {                          /* the trie breadth first */
    uint32_t *node;                     /* [n] node of state */
    uint32_t *state;                    /* [n] state of node */
    uint32_t *fail;                     /* [n] state -> state */
    uint32_t *index;                    /* [n] state -> row, or n_dense and deep number */
};

static struct order order_make(const struct automaton_builder *b, struct arena *scratch)
{
    size_t n = b->n_nodes;
    struct order o = {
        ARENA_ARRAY(scratch, uint32_t, n), ARENA_ARRAY(scratch, uint32_t, n),
        ARENA_ARRAY(scratch, uint32_t, n), ARENA_ARRAY(scratch, uint32_t, n),
    };
    uint32_t count = 1;
    for (uint32_t s = 0; s < count; s++) {
        for (uint32_t c = b->nodes[o.node[s]].child; c; c = b->nodes[c].sibling) {
            o.node[count] = c;
            o.state[c] = count;
            uint32_t fail = s;          /* the longest ending of the child's text that is a path */
            uint32_t next = 0;
            while (fail && !next) {
                fail = o.fail[fail];
                next = node_child(b, o.node[fail], b->nodes[c].byte);
            }
            o.fail[count++] = next ? o.state[next] : 0;
        }
    }
    return o;
}

/* Numbers the rows: states without words first. Words of a failure state end here too. */
static void rows_number(const struct automaton_builder *b, struct order *o, struct automaton *m)
{
    bool *has_words = ARENA_ARRAY(b->a, bool, m->n_states);
    uint32_t n_plain = 0;
    for (uint32_t s = 0; s < m->n_states; s++) {
        has_words[s] = b->nodes[o->node[s]].word || (s && has_words[o->fail[s]]);
        n_plain += s < m->n_dense && !has_words[s];
    }
    m->special = n_plain * m->stride;
    uint32_t plain = 0, with_words = n_plain;
    for (uint32_t s = 0; s < m->n_states; s++)
        o->index[s] = s >= m->n_dense ? s : has_words[s] ? with_words++ : plain++;
}

static void outputs_make(const struct automaton_builder *b, const struct order *o,
                         struct automaton *m)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < m->n_states; s++) {
        struct output *out = &m->outputs[o->index[s]];
        out->first = n;
        for (uint32_t w = b->nodes[o->node[s]].word; w; w = b->word_next[w - 1])
            m->words[n++] = w - 1;
        out->n = n - out->first;
        const struct output *fail = &m->outputs[o->index[o->fail[s]]];
        out->suffix = s == 0 ? 0 : fail->n ? o->index[o->fail[s]] : fail->suffix;
    }
}

static uint32_t place_of(const struct automaton *m, const struct order *o, uint32_t state)
{
    uint32_t i = o->index[state];
    return i < m->n_dense ? i * m->stride : m->limit + (i - m->n_dense);
}

static void rows_make(const struct automaton_builder *b, const struct order *o,
                      struct automaton *m)
{
    for (uint32_t s = 0; s < m->n_dense; s++) {
        uint32_t *row = m->rows + (size_t)o->index[s] * m->stride;
        if (s)                          /* fail is nearer to the root: its row is complete */
            memcpy(row, m->rows + (size_t)o->index[o->fail[s]] * m->stride,
                   m->stride * sizeof *row);
        for (uint32_t c = b->nodes[o->node[s]].child; c; c = b->nodes[c].sibling)
            row[m->class[b->nodes[c].byte]] = place_of(m, o, o->state[c]);
    }
}

static void deep_make(const struct automaton_builder *b, const struct order *o,
                      struct automaton *m)
{
    uint32_t n_more = 0;
    for (uint32_t s = m->n_dense; s < m->n_states; s++) {
        struct deep *d = &m->deep[s - m->n_dense];
        *d = (struct deep){
            .fail = place_of(m, o, o->fail[s]), .more = n_more, .class = CLASS_NO_CHILD };
        for (uint32_t c = b->nodes[o->node[s]].child; c; c = b->nodes[c].sibling) {
            uint8_t class = m->class[b->nodes[c].byte];
            uint32_t next = place_of(m, o, o->state[c]);
            if (d->class == CLASS_NO_CHILD) {
                d->class = class;
                d->next = next;
            } else {
                m->more[n_more++] = (struct more){ next, class };
                d->n_more++;
            }
        }
    }
}

const struct automaton *automaton_build(struct automaton_builder *b, struct arena *a,
                                        size_t dense_bytes)
{
    struct automaton *m = ARENA_NEW(a, struct automaton);
    struct order o = order_make(b, b->a);
    m->stride = classes_make(b, m);
    m->n_states = (uint32_t)b->n_nodes;
    size_t n_dense = dense_bytes / (m->stride * sizeof *m->rows);
    m->n_dense = n_dense < 1 ? 1 : n_dense < m->n_states ? (uint32_t)n_dense : m->n_states;
    m->limit = m->n_dense * m->stride;
    uint32_t n_deep = m->n_states - m->n_dense;

    m->rows = ARENA_ARRAY(a, uint32_t, m->limit);
    m->deep = ARENA_ARRAY(a, struct deep, n_deep);
    m->more = ARENA_ARRAY(a, struct more, n_deep);
    m->outputs = ARENA_ARRAY(a, struct output, m->n_states);
    m->words = ARENA_ARRAY(a, uint32_t, b->n_words);
    m->word_len = ARENA_ARRAY(a, uint32_t, b->n_words);
    if (b->n_words)
        memcpy(m->word_len, b->word_len, b->n_words * sizeof *m->word_len);
    m->bytes = m->limit * sizeof *m->rows + n_deep * (sizeof *m->deep + sizeof *m->more)
             + m->n_states * sizeof *m->outputs + b->n_words * 2 * sizeof *m->words + sizeof *m;

    folds_make(m);
    rows_number(b, &o, m);
    outputs_make(b, &o, m);
    rows_make(b, &o, m);
    deep_make(b, &o, m);
    leads_mark(m);
    return m;
}

/* ---- reading ---- */

/* Where folding changed the length of a letter: from folded position `at` on, the original
 * position is `delta` more. */
struct shift { size_t at; ptrdiff_t delta; };

struct reader {
    const struct automaton *m;
    struct buf *shifts;                 /* of struct shift */
    ptrdiff_t delta;                    /* original minus folded position, now */
    automaton_hit *hit;
    void *arg;
};

__attribute__((noinline))
static uint32_t reader_deep(const struct automaton *m, uint32_t place, uint8_t class)
{
    do {
        const struct deep *d = &m->deep[place - m->limit];
        if (d->class == class)
            return d->next;
        for (uint32_t i = 0; i < d->n_more; i++) {
            if (m->more[d->more + i].class == class)
                return m->more[d->more + i].next;
        }
        place = d->fail;
    } while (place >= m->limit);
    return m->rows[place + class];
}

static inline uint32_t reader_step(const struct automaton *m, uint32_t place, uint8_t class)
{
    return place < m->limit ? m->rows[place + class] : reader_deep(m, place, class);
}

/* Where the folded position is in the text; not behind `end`, whatever memory ran out. */
static size_t reader_original(const struct reader *r, size_t folded, size_t end)
{
    const struct shift *shifts = (const struct shift *)(const void *)r->shifts->ptr;
    size_t i = r->shifts->len / sizeof *shifts;
    while (i > 0 && shifts[i - 1].at > folded)
        i--;
    size_t start = (size_t)((ptrdiff_t)folded + (i ? shifts[i - 1].delta : 0));
    return start < end ? start : end;
}

__attribute__((noinline))
static void reader_report(const struct reader *r, uint32_t place, size_t end)
{
    const struct automaton *m = r->m;
    uint32_t i = place < m->limit ? place / m->stride : m->n_dense + (place - m->limit);
    size_t folded_end = (size_t)((ptrdiff_t)end - r->delta);
    do {
        const struct output *out = &m->outputs[i];
        for (uint32_t k = 0; k < out->n; k++) {
            uint32_t word = m->words[out->first + k];
            size_t start = folded_end - m->word_len[word];
            r->hit(r->arg, word, r->shifts->len ? reader_original(r, start, end) : start, end);
        }
        i = out->suffix;
    } while (i);
}

/* Reads the code point at *at, whose lead byte may be of one with cases. Returns the place. */
__attribute__((noinline))
static uint32_t reader_fold(struct reader *r, str text, size_t *at, uint32_t place)
{
    const struct automaton *m = r->m;
    size_t start = *at;
    uint32_t code = utf8_decode(text, at), folded = code;
    size_t read = *at - start, n = read;
    if (read == 2 || read == 4 || (read == 3 && m->page_folds[code / 64]))
        folded = utf8_fold(code);

    char bytes[UTF8_MAX];
    if (folded == code)
        memcpy(bytes, text.ptr + start, n);     /* also a broken byte */
    else
        n = utf8_put(bytes, folded);
    for (size_t i = 0; i < n; i++) {
        if (i && place >= m->special)           /* words that end within a code point are broken */
            reader_report(r, place, start + i);
        place = reader_step(m, place, m->plain_class[(unsigned char)bytes[i]]);
    }
    ptrdiff_t change = (ptrdiff_t)read - (ptrdiff_t)n;
    if (change) {
        r->delta += change;
        struct shift here = { (size_t)((ptrdiff_t)*at - r->delta), r->delta };
        buf_add(r->shifts, &here, sizeof here);
    }
    return place;
}

void automaton_scan(const struct automaton *m, str text, struct buf *scratch, automaton_hit *hit,
                    void *arg)
{
    struct reader r = { .m = m, .shifts = scratch, .hit = hit, .arg = arg };
    const unsigned char *p = (const unsigned char *)text.ptr;
    uint32_t place = 0;
    scratch->len = 0;
    for (size_t at = 0; at < text.len;) {
        uint8_t class = m->class[p[at]];
        if (class != CLASS_FOLD) {
            place = reader_step(m, place, class);
            at++;
        } else if (p[at] < 0xE0 && at + 1 < text.len && (p[at + 1] & 0xC0) == 0x80
                   && m->fold2[(p[at] & 31) << 6 | (p[at + 1] & 63)][0] != CLASS_FOLD) {
            const uint8_t *two = m->fold2[(p[at] & 31) << 6 | (p[at + 1] & 63)];
            place = reader_step(m, place, two[0]);
            if (place >= m->special)
                reader_report(&r, place, at + 1);
            place = reader_step(m, place, two[1]);
            at += 2;
        } else {
            place = reader_fold(&r, text, &at, place);
        }
        if (place >= m->special)
            reader_report(&r, place, at);
    }
}

uint32_t automaton_states(const struct automaton *m)
{
    return m->n_states;
}

size_t automaton_bytes(const struct automaton *m)
{
    return m->bytes;
}
