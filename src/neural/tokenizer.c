/* neural/tokenizer.c -- text to token numbers, exactly as Hugging Face `tokenizers` does it.
 *
 * The path of a text: broken bytes are mended; added tokens are cut out; normalisers rewrite; added tokens that are looked for
 * behind the normaliser are cut out; pre-tokenisers rewrite and cut; the model turns every split into tokens; the post-processor
 * puts its own around them. Through all of it every byte carries the place it came from (tokenizer_parts.h).
 *
 * Languages repeat their words, so a scratch remembers what the model made of short ones: one cache line each, in a table that
 * is simply overwritten. With it the model is asked for a small part of a text. */
#include "neural/tokenizer.h"

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "neural/tokenizer_parts.h"

enum {
    WORDS = 4096,                   /* remembered: 256 KB, which stays in the second cache */
    WORD_BYTES = 28, WORD_PIECES = 6,
    FRAME_MAX = 4,                  /* as in struct tokenizer_frame */
    KEPT_BYTES = 4 << 20,           /* a scratch that a giant text has made larger is given back before the next */
};

struct tokenizer {
    struct arena *a;
    struct steps normalizer, pre_tokenizer;
    struct added_tokens raw, normalized;
    struct model model;
    struct post_processor post;
    uint32_t n_ids;                 /* of model and added tokens */
    str *added;                     /* [n_ids]: what is not in the model's vocabulary */
    uint64_t serial;                /* of all tokenizers of the process: whose words a scratch remembers */
};

struct word {                       /* a cache line */
    uint32_t hash;
    uint8_t len, n;                 /* len 0: free */
    uint8_t ends[WORD_PIECES];
    int32_t ids[WORD_PIECES];
    char bytes[WORD_BYTES];
};

static_assert(sizeof(struct word) == 64, "a word fills one cache line");

struct tokenizer_scratch {
    struct word *words;             /* [WORDS] */
    uint64_t serial;                /* of the tokenizer they are from */
    struct work work;
    struct model_work model;
    struct raw_token *raw;
    size_t n_raw, cap_raw;
    struct tokens out;
    size_t cap_out;
};

static atomic_uint_fast64_t serials;

/* ---- the caller's text ---- */

static bool text_load(struct work *w, str text)
{
    struct text *t = &w->text;
    t->n = 0;
    t->most = w->out.most = text_limit(text.len);
    if (text.len > TOKENIZER_TEXT_MAX || !text_reserve(t, text.len))
        return false;
    for (size_t at = 0; at < text.len;) {
        size_t from = at;
        unsigned char byte = (unsigned char)text.ptr[at];
        if (byte < 0x80 && t->n < t->cap) {             /* it is full early only if broken bytes have become three each */
            t->bytes[t->n] = (char)byte;
            t->spans[t->n++] = (struct span){ (uint32_t)at, (uint32_t)at + 1 };
            at++;
        } else {
            uint32_t code = text_next(text, &at);
            text_put(t, code, (struct span){ (uint32_t)from, (uint32_t)at });
        }
    }
    return !t->is_failed;
}

/* ---- words to tokens ---- */

static void raw_add(struct tokenizer_scratch *s, struct raw_token one)
{
    if (s->n_raw == s->cap_raw) {
        s->raw = work_room(&s->work, s->raw, &s->cap_raw, s->n_raw + 1, sizeof *s->raw);
        if (!s->raw) {
            s->n_raw = s->cap_raw = 0;
            return;
        }
    }
    s->raw[s->n_raw++] = one;
}

/* A piece of the word at `base` of the text under work, of a split that began at `origin`. */
static void piece_place(struct tokenizer_scratch *s, size_t base, uint32_t origin, struct piece one)
{
    const struct span *spans = s->work.text.spans + base;
    bool is_empty = one.from >= one.to;
    raw_add(s, (struct raw_token){ one.id, is_empty ? origin : spans[one.from].from, is_empty ? origin : spans[one.to - 1].to });
}

static void word_remember(struct word *slot, str word, uint32_t hash, const struct pieces *pieces)
{
    if (word.len > WORD_BYTES || pieces->n > WORD_PIECES)
        return;
    for (size_t i = 0; i < pieces->n; i++) {
        if (pieces->items[i].from != (i ? pieces->items[i - 1].to : 0))     /* bytes that each stand for a whole character */
            return;
    }
    slot->hash = hash;
    slot->len = (uint8_t)word.len;
    slot->n = (uint8_t)pieces->n;
    for (size_t i = 0; i < pieces->n; i++) {
        slot->ends[i] = (uint8_t)pieces->items[i].to;
        slot->ids[i] = pieces->items[i].id;
    }
    memcpy(slot->bytes, word.ptr, word.len);
}

static void word_encode(const struct tokenizer *t, struct tokenizer_scratch *s, size_t base, size_t len, uint32_t origin)
{
    str word = { s->work.text.bytes + base, len };
    uint32_t hash = (uint32_t)hash_str(word);
    struct word *slot = s->words + hash % WORDS;
    if (slot->hash == hash && slot->len == len && memcmp(slot->bytes, word.ptr, len) == 0) {
        uint32_t from = 0;
        for (size_t i = 0; i < slot->n; i++) {
            piece_place(s, base, origin, (struct piece){ slot->ids[i], from, slot->ends[i] });
            from = slot->ends[i];
        }
        return;
    }
    s->model.pieces.n = 0;
    if (t->model.run(&t->model, &s->model, word) < 0) {
        s->work.is_failed = true;
        return;
    }
    word_remember(slot, word, hash, &s->model.pieces);
    for (size_t i = 0; i < s->model.pieces.n; i++)
        piece_place(s, base, origin, s->model.pieces.items[i]);
}

/* The next "▁" behind another character, or the end: what a merge cannot reach over. */
static size_t space_after(str text, size_t from)
{
    for (size_t at = from; at < text.len; at++) {
        const char *hit = memchr(text.ptr + at, SPACE_MARK[0], text.len - at);
        if (!hit)
            break;
        at = (size_t)(hit - text.ptr);
        bool is_mark = str_starts(str_from(text, at), S(SPACE_MARK));
        bool is_behind_mark = at >= from + 3 && memcmp(hit - 3, SPACE_MARK, 3) == 0;
        if (is_mark && at > from && !is_behind_mark)
            return at;
    }
    return text.len;
}

static void split_encode(const struct tokenizer *t, struct tokenizer_scratch *s, const struct split *in)
{
    if (!t->model.cuts_at_space) {
        word_encode(t, s, in->from, in->to - in->from, in->origin);
        return;
    }
    str text = { s->work.text.bytes + in->from, in->to - in->from };
    for (size_t from = 0, to; from < text.len && !s->work.is_failed; from = to) {
        to = space_after(text, from);
        word_encode(t, s, in->from + from, to - from, in->origin);
    }
}

/* Appends the tokens of one text to s->raw. */
static void text_encode(const struct tokenizer *t, struct tokenizer_scratch *s, str text)
{
    struct work *w = &s->work;
    size_t first = s->n_raw;
    if (!text_load(w, text)) {
        w->is_failed = true;
        return;
    }
    w->splits.n = 0;
    if (text.len)
        splits_add(&w->splits, (struct split){ 0, (uint32_t)w->text.n, 0, -1 });
    added_cut(&t->raw, w);
    steps_run(&t->normalizer, w);
    added_cut(&t->normalized, w);
    steps_run(&t->pre_tokenizer, w);
    for (size_t i = 0; i < w->splits.n && !w->is_failed; i++) {
        const struct split *in = w->splits.items + i;
        size_t before = s->n_raw;
        if (in->id >= 0)
            piece_place(s, in->from, in->origin, (struct piece){ in->id, 0, in->to - in->from });
        else
            split_encode(t, s, in);
        for (size_t k = before; t->post.trims && k < s->n_raw; k++) {
            str token = in->id >= 0 ? (str){ w->text.bytes + in->from, in->to - in->from } : tokenizer_token(t, s->raw[k].id);
            post_trim(&t->post, text, token, k == first, s->raw + k);
        }
    }
}

/* ---- what comes out ---- */

static bool out_reserve(struct tokenizer_scratch *s, size_t n)      /* what was there is gone */
{
    if (n <= s->cap_out)
        return true;
    size_t cap = n + n / 2 + 64, size = 3 * sizeof(uint32_t) + 2;
    free(s->out.ids);
    s->cap_out = 0;
    char *block = cap < UINT32_MAX ? malloc(cap * size) : NULL;     /* all in one, widest first */
    s->out = (struct tokens){ .ids = (int32_t *)(void *)block };
    if (!block)
        return false;
    s->out.from = (uint32_t *)(void *)(block + cap * sizeof(uint32_t));
    s->out.to = (uint32_t *)(void *)(block + cap * 2 * sizeof(uint32_t));
    s->out.types = (uint8_t *)block + cap * 3 * sizeof(uint32_t);
    s->out.is_special = (bool *)(block + cap * 3 * sizeof(uint32_t) + cap);
    s->cap_out = cap;
    return true;
}

static size_t part_tokens(const struct template_part *part, bool adds_special, size_t n_a, size_t n_b)
{
    return part->sequence == 'A' ? n_a : part->sequence == 'B' ? n_b : adds_special ? part->n_ids : 0;
}

static bool template_lay(const struct template *template, bool adds_special, struct tokenizer_scratch *s, size_t n_a)
{
    size_t n_b = s->n_raw - n_a, n = 0;
    for (size_t i = 0; i < template->n; i++)
        n += part_tokens(template->parts + i, adds_special, n_a, n_b);
    if (!out_reserve(s, n))
        return false;
    struct tokens *out = &s->out;
    out->n = 0;
    for (size_t i = 0; i < template->n; i++) {
        const struct template_part *part = template->parts + i;
        const struct raw_token *raw = s->raw + (part->sequence == 'B' ? n_a : 0);
        size_t n_part = part_tokens(part, adds_special, n_a, n_b);
        for (size_t k = 0; k < n_part; k++) {
            struct raw_token one = part->sequence ? raw[k] : (struct raw_token){ part->ids[k], 0, 0 };
            out->ids[out->n] = one.id;
            out->from[out->n] = one.from;
            out->to[out->n] = one.to;
            out->types[out->n] = part->type;
            out->is_special[out->n++] = !part->sequence;
        }
    }
    return true;
}

static void scratch_empty(struct tokenizer_scratch *s)
{
    work_free(&s->work);
    free(s->model.pieces.items);
    free(s->model.symbols);
    free(s->model.heap);
    free(s->model.path);
    free(s->raw);
    free(s->out.ids);
    struct word *words = s->words;
    uint64_t serial = s->serial;
    *s = (struct tokenizer_scratch){ .words = words, .serial = serial };
    s->model.w = &s->work;
}

int tokenizer_encode(const struct tokenizer *t, str a, str b, bool adds_special, struct tokenizer_scratch *s, struct tokens *out)
{
    bool is_pair = b.ptr != NULL;
    if (s->work.text.cap > KEPT_BYTES && a.len + b.len < KEPT_BYTES / 8)
        scratch_empty(s);
    if (s->serial != t->serial) {
        memset(s->words, 0, WORDS * sizeof *s->words);
        s->serial = t->serial;
    }
    s->n_raw = 0;
    text_encode(t, s, a);
    size_t n_a = s->n_raw;
    if (is_pair)
        text_encode(t, s, b);
    if (s->work.is_failed || !template_lay(is_pair ? &t->post.pair : &t->post.single, adds_special, s, n_a)) {
        scratch_empty(s);
        return -1;
    }
    *out = s->out;
    return 0;
}

struct tokenizer_scratch *tokenizer_scratch_new(void)
{
    struct tokenizer_scratch *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->words = aligned_alloc(64, WORDS * sizeof *s->words);
    if (!s->words) {
        free(s);
        return NULL;
    }
    scratch_empty(s);
    return s;
}

void tokenizer_scratch_free(struct tokenizer_scratch *s)
{
    if (!s)
        return;
    scratch_empty(s);
    free(s->words);
    free(s);
}

/* ---- loading ---- */

/* The texts of added tokens, by number, where the model has none of that number. */
static int added_names(const struct place_in_file *f, struct tokenizer *t, jref list)
{
    const struct json *j = f->j;
    const struct added_tokens *const sets[] = { &t->raw, &t->normalized };
    t->n_ids = t->model.vocabulary.n_ids;
    for (size_t i = 0; i < COUNT_OF(sets); i++) {
        for (size_t k = 0; k < sets[i]->n; k++) {
            if ((uint32_t)sets[i]->items[k].id >= t->n_ids)
                t->n_ids = (uint32_t)sets[i]->items[k].id + 1;
        }
    }
    t->added = arena_try(f->a, ((size_t)t->n_ids + 1) * sizeof *t->added);
    if (!t->added)
        return part_error(f, S("added_tokens"), "no memory");
    memset(t->added, 0, ((size_t)t->n_ids + 1) * sizeof *t->added);
    if (json_is(j, list, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, list, item) {
            int64_t id = 0;
            json_int(j, json_get(j, item, S("id")), &id);
            if (id < (int64_t)t->n_ids)
                t->added[id] = part_str(f, item, S("content"));
        }
    }
    return 0;
}

static int tokenizer_read(const struct place_in_file *f, struct tokenizer *t)
{
    const struct json *j = f->j;
    if (!json_is(j, 0, JSON_OBJECT))
        return part_error(f, S("tokenizer"), "expected an object");
    jref normalizer = json_get(j, 0, S("normalizer")), pre_tokenizer = json_get(j, 0, S("pre_tokenizer"));
    jref added = json_get(j, 0, S("added_tokens"));
    if (normalizer != JSON_NONE && !json_is(j, normalizer, JSON_NULL) &&
        normalizer_parse(f, normalizer, S("normalizer"), &t->normalizer, 0) < 0)
        return -1;
    if (pre_tokenizer != JSON_NONE && !json_is(j, pre_tokenizer, JSON_NULL) &&
        pre_tokenizer_parse(f, pre_tokenizer, S("pre_tokenizer"), &t->pre_tokenizer, 0) < 0)
        return -1;
    if (model_parse(f, json_get(j, 0, S("model")), &t->model) < 0)
        return -1;
    if (added_parse(f, added, &t->model.vocabulary, &t->normalizer, &t->raw, &t->normalized) < 0 || added_names(f, t, added) < 0)
        return -1;
    return post_processor_parse(f, json_get(j, 0, S("post_processor")), S("post_processor"), &t->post, 0);
}

struct tokenizer *tokenizer_parse(str json, const char *file, struct err *e)
{
    struct arena *a = arena_new(), *passing = arena_new();
    struct tokenizer *t = a ? arena_try(a, sizeof *t) : NULL;
    struct json j;
    struct json_error json_error;
    int rc = -1;
    if (!t || !passing) {
        err_set(e, "%s: no memory", file);
    } else if (json_parse(passing, json, &j, &json_error) < 0) {
        err_set(e, "%s: byte %zu: %s", file, json_error.at, json_error.what);
    } else {
        *t = (struct tokenizer){ .a = a, .serial = atomic_fetch_add(&serials, 1) + 1 };
        rc = tokenizer_read(&(struct place_in_file){ &j, file, a, e }, t);
        if (rc == 0 && arena_exhausted(a))
            rc = err_set(e, "%s: no memory", file);
    }
    arena_free(passing);
    if (rc < 0) {
        arena_free(a);
        return NULL;
    }
    return t;
}

struct tokenizer *tokenizer_open(const char *file, struct err *e)
{
    struct tokenizer *t = NULL;
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
        err_set(e, "%s: is not a file that can be read", file);
        goto close;
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED) {
        err_set(e, "%s: cannot be mapped", file);
        goto close;
    }
    t = tokenizer_parse((str){ map, (size_t)st.st_size }, file, e);
    munmap(map, (size_t)st.st_size);
close:
    if (fd >= 0)
        close(fd);
    return t;
}

void tokenizer_close(struct tokenizer *t)
{
    if (t)
        arena_free(t->a);
}

/* ---- questions ---- */

uint32_t tokenizer_vocabulary(const struct tokenizer *t)
{
    return t->n_ids;
}

str tokenizer_token(const struct tokenizer *t, int32_t id)
{
    if (id < 0 || (uint32_t)id >= t->n_ids)
        return S("");
    bool is_model = (uint32_t)id < t->model.vocabulary.n_ids && t->model.vocabulary.tokens[id].ptr;
    return is_model ? t->model.vocabulary.tokens[id] : t->added[id];
}

int32_t tokenizer_id(const struct tokenizer *t, str token)
{
    int32_t id = vocabulary_id(&t->model.vocabulary, token);
    for (uint32_t i = 0; id < 0 && i < t->n_ids; i++) {
        if (t->added[i].len && str_eq(t->added[i], token))
            id = (int32_t)i;
    }
    return id;
}

struct tokenizer_frame tokenizer_frame(const struct tokenizer *t)
{
    struct tokenizer_frame frame = { 0 };
    bool is_behind = false;
    for (size_t i = 0; i < t->post.single.n; i++) {
        const struct template_part *part = t->post.single.parts + i;
        is_behind |= part->sequence != 0;
        for (uint32_t k = 0; k < part->n_ids; k++) {
            if (!is_behind && frame.n_before < FRAME_MAX)
                frame.before[frame.n_before++] = part->ids[k];
            if (is_behind && frame.n_after < FRAME_MAX)
                frame.after[frame.n_after++] = part->ids[k];
        }
    }
    return frame;
}
