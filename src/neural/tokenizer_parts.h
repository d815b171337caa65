/* neural/tokenizer_parts.h -- what the files of the tokenizer share.
 *
 * A text on its way is a row of bytes with a span for each: the bytes of the caller's text that it stands for. Splits are ranges
 * of it. Normalisers and pre-tokenisers are one list of steps that rewrite the text, cut the splits, or both; the model then
 * turns each split into tokens. So offsets need no thought anywhere but where a character is made. */
#ifndef SBX_TOKENIZER_PARTS_H
#define SBX_TOKENIZER_PARTS_H

#include "base/json.h"
#include "base/utf8.h"
#include "neural/tokenizer.h"
#include "neural/tokenizer_pattern.h"
#include "neural/tokenizer_unicode.h"

/* ---- text under work ---- */

struct span { uint32_t from, to; };

struct text { char *bytes; struct span *spans; size_t n, cap, most; bool is_failed; };       /* most: see text_limit */

struct split {
    uint32_t from, to;              /* in the text */
    uint32_t origin;                /* what is inserted before its first byte belongs to this place of the caller's text */
    int32_t id;                     /* an added token; -1: not tokenised yet */
};

struct splits { struct split *items; size_t n, cap; bool is_failed; };

/* Bytes that a text may grow to, whatever the file replaces by whatever. Unicode's forms make it twelve times as long at most. */
static inline size_t text_limit(size_t n)
{
    return 64 * n + 4096 < 256 << 20 ? 64 * n + 4096 : 256 << 20;
}

/* One character of a caller's text; broken bytes count as U+FFFD, one for each maximal subpart of a well-formed sequence (Unicode
 * 3.9, table 3-8), as Python decodes with errors="replace". */
uint32_t text_next(str s, size_t *at);
size_t   text_before(str s, size_t at);             /* where the character that ends at `at` begins; 0 < at <= s.len */

bool text_reserve(struct text *t, size_t more);
void text_free(struct text *t);
void text_add(struct text *t, const char *bytes, const struct span *spans, size_t n);
void splits_add(struct splits *s, struct split one);

static inline void text_put(struct text *t, uint32_t code, struct span span)
{
    if (t->cap - t->n < UTF8_MAX && !text_reserve(t, UTF8_MAX))
        return;
    size_t size = utf8_put(t->bytes + t->n, code);
    for (size_t i = 0; i < size; i++)
        t->spans[t->n++] = span;
}

/* ---- vocabulary.c: token <-> number, and a trie for what matches by prefix ---- */

struct vocabulary_slot { uint32_t hash; int32_t id; uint32_t at, len; };

struct vocabulary {
    struct vocabulary_slot *slots;  /* [mask + 1], at most half full; len 0 and id -1: free */
    char *bytes;                    /* all tokens, one after the other */
    str *tokens;                    /* [n_ids]; ptr NULL: the number is not used */
    uint32_t mask, n, n_ids;
    size_t n_bytes;
};

enum { TOKEN_ID_MAX = 1 << 24 };    /* hostile files shall not make us allocate by the number they name */

int vocabulary_make(struct vocabulary *v, struct arena *a, size_t n_tokens, size_t n_bytes, uint32_t n_ids);
void vocabulary_add(struct vocabulary *v, str token, int32_t id);       /* the last of equals wins; copies */
int32_t vocabulary_id(const struct vocabulary *v, str token);           /* -1: none */
/* The same in two steps, with other work between them while memory answers. */
uint32_t vocabulary_seek(const struct vocabulary *v, str token);
int32_t vocabulary_found(const struct vocabulary *v, str token, uint32_t seek);

struct trie_slot { uint32_t key, child; };      /* key: parent << 8 | byte; child 0: free, as nobody is the root's parent */

struct trie {
    struct trie_slot *slots;
    int32_t *values;                /* [nodes]: -1: no entry ends here */
    uint32_t n_nodes, cap_nodes;
    unsigned shift;                 /* of the hash: 32 - log2(slots) */
};

int trie_make(struct trie *t, struct arena *a, size_t n_bytes);     /* for about so many bytes of keys; it grows */
int trie_add(struct trie *t, struct arena *a, str key, int32_t value);  /* the first of equals wins; -1: no memory, too large */

static inline struct trie_slot *trie_slot(const struct trie *t, uint32_t key)   /* where it is or would be */
{
    uint32_t at = key * 0x9E3779B1u >> t->shift;
    while (t->slots[at].child && t->slots[at].key != key)
        at = (at + 1) & (UINT32_MAX >> t->shift);
    return t->slots + at;
}

static inline uint32_t trie_step(const struct trie *t, uint32_t node, unsigned char byte)   /* 0: no way on */
{
    return trie_slot(t, node << 8 | byte)->child;
}

/* ---- steps: normalisers and pre-tokenisers ---- */

struct step;
struct work;

typedef void (*step_rewrite)(const struct step *s, struct work *w, const struct split *in);     /* appends to w->out */
typedef void (*step_cut)(const struct step *s, struct work *w, const struct split *in);         /* appends to w->cuts */

/* What happens to the pieces that a pattern matches. */
enum behaviour { REMOVED, ISOLATED, CONTIGUOUS, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT };

enum form { FORM_NONE, FORM_NFD, FORM_NFC, FORM_NFKD, FORM_NFKC };
enum prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct step {
    step_rewrite rewrite;           /* one of the two */
    step_cut cut;
    /* rewrites of characters: what happens to each, in this order */
    const uint8_t *flags;           /* unicode_flags() */
    bool cleans;                    /* controls go, white space becomes a blank */
    bool cleans_nmt;                /* the same by other rules */
    bool spaces_chinese;
    enum form form;
    uint8_t drop;                   /* flags of what goes */
    bool lowers;
    uint8_t ascii[128];             /* what becomes of ASCII; 0x80: nothing */
    /* other rewrites */
    bool left, right;               /* Strip: at which ends */
    enum prepend when;              /* Prepend, Metaspace: on which splits */
    bool unless_there;              /* ... and not where the text begins with it already */
    str content;                    /* what is inserted */
    const char *units;              /* Precompiled: the double array, little-endian words */
    uint32_t n_units;
    str replacements;               /* Precompiled: texts that end in NUL */
    /* cuts, and Replace */
    enum behaviour behaviour;
    bool is_inverted;               /* what lies between matches is the match */
    uint8_t cut_flag;               /* a flag whose characters match, one by one */
    str literal;                    /* else a text that matches */
    struct pattern *regex;          /* else, not NULL: what matches */
};

struct steps { struct step *items; size_t n; };

/* The state of one encoding; all that grows stays for the next one. */
struct source { uint32_t code; struct span span; };
struct rune { uint32_t code; int32_t change; uint32_t class, order; };      /* change: see tokenizer_normalizer.c */

struct work {
    str original;
    struct text text, out;
    struct splits splits, cuts;
    struct source *sources;         /* normalisation forms: characters that may act on each other, */
    size_t n_sources, cap_sources;
    struct rune *runes;             /* and what they fall into */
    size_t n_runes, cap_runes;
    bool is_failed;                 /* no memory */
};

/* The array with room for `need` items; NULL and w->is_failed: no memory. */
void work_free(struct work *w);
void *work_room(struct work *w, void *items, size_t *cap, size_t need, size_t size);

struct place_in_file { const struct json *j; const char *file; struct arena *a; struct err *e; };

/* Says "FILE: WHERE: WHAT"; -1. */
int part_error(const struct place_in_file *f, str where, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Append to `out` what the node says; -1 and the reason in f->e. `where` is its place: "normalizer.normalizers[1]". */
int normalizer_parse(const struct place_in_file *f, jref node, str where, struct steps *out, unsigned depth);
int pre_tokenizer_parse(const struct place_in_file *f, jref node, str where, struct steps *out, unsigned depth);
int step_pattern(const struct place_in_file *f, jref node, str where, struct step *out);    /* {"String": ...}, {"Regex": ...} */

void steps_run(const struct steps *steps, struct work *w);

struct matches { size_t from, last_end; bool has_last; };           /* zero: from the beginning */
bool step_match(const struct step *s, str text, struct matches *m, size_t *start, size_t *end);     /* the next one */
void rewrite_bytes(const struct step *s, struct work *w, const struct split *in);   /* every byte becomes a visible character */
void rewrite_prepend(const struct step *s, struct work *w, const struct split *in);
void rewrite_replace(const struct step *s, struct work *w, const struct split *in);

enum { PARTS_DEPTH_MAX = 8 };       /* Sequences in Sequences */

/* The inside of a class: \w as Rust's regular expressions know it, with the two joiners, without Oniguruma's Latin-1 numbers. */
#define RUST_WORD "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200C}\\x{200D}\\x{24B6}-\\x{24E9}" \
                  "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"

/* ---- added tokens: found in the text before anything else ---- */

struct added { str content; int32_t id; bool is_single_word, strips_left, strips_right; };

struct added_tokens {
    struct added *items;
    size_t n;
    struct trie trie;               /* of what they look like where they are looked for */
    bool begins[256];               /* a token begins with this byte */
    struct pattern *word;           /* for is_single_word, or NULL */
};

/* Both sets of a file: those looked for in the text as it comes, and those looked for behind the normaliser. Of equals the first
 * counts (there, one by chance). */
int added_parse(const struct place_in_file *f, jref list, const struct vocabulary *v, const struct steps *normalizer,
                struct added_tokens *raw, struct added_tokens *normalized);
void added_cut(const struct added_tokens *a, struct work *w);

/* ---- post-processors ---- */

struct raw_token { int32_t id; uint32_t from, to; };

struct template_part { char sequence; uint8_t type; int32_t *ids; uint32_t n_ids; };    /* 'A', 'B'; 0: these special tokens */
struct template { struct template_part *parts; size_t n; };

struct post_processor {
    struct template single, pair;
    bool has_template, trims, trims_after_prefix;       /* white space off the offsets, as byte-level files want it */
};

int post_processor_parse(const struct place_in_file *f, jref node, str where, struct post_processor *p, unsigned depth);
void post_trim(const struct post_processor *p, str original, str token, bool is_first, struct raw_token *one);

/* ---- models ---- */

struct piece { int32_t id; uint32_t from, to; };    /* bytes of the word */

struct pieces { struct piece *items; size_t n, cap; };

struct symbol { int32_t id; uint32_t len; int32_t before, after; };
struct merge_try { uint64_t order; int32_t left, right, made; };    /* order: rank << 32 | position */
struct path_node { double score; uint32_t from; int32_t id; };      /* from UINT32_MAX: not reached */

/* What models need while they work on one word. */
struct model_work {
    struct work *w;                 /* for memory */
    struct pieces pieces;
    struct symbol *symbols;
    size_t cap_symbols;
    struct merge_try *heap;
    size_t n_heap, cap_heap;
    struct path_node *path;
    size_t cap_path;
};

struct merge_slot { uint64_t key; uint32_t rank; int32_t id; };     /* key: left << 32 | right; id -1: free */

struct model;
typedef int (*model_run)(const struct model *m, struct model_work *w, str word);    /* appends pieces; -1 with w->w->is_failed */

struct model {
    model_run run;
    struct vocabulary vocabulary;
    struct trie trie;               /* WordPiece, Unigram */
    int32_t unknown;                /* -1: none */
    bool fuses_unknown, has_byte_fallback, ignores_merges;
    int32_t bytes[256];             /* <0x00> ... <0xFF>; -1 */
    /* WordPiece */
    uint32_t continuing;            /* node of the prefix in the trie; UINT32_MAX: no token begins with it */
    size_t chars_max;
    /* BPE */
    str prefix, suffix;             /* of continuing parts; of the last part */
    struct merge_slot *merges;
    uint32_t merges_mask;
    int32_t short_ids[0x180];       /* of the characters of byte-level texts */
    bool cuts_at_space;             /* no merge reaches over the beginning of a "▁" */
    /* Unigram */
    double *scores;                 /* [n_ids] */
    double unknown_score;
};

/* A member of an object: what it says, or the fallback where it is absent or null. */
bool part_bool(const struct place_in_file *f, jref node, str key, bool fallback);
str part_str(const struct place_in_file *f, jref node, str key);    /* "" */

int model_parse(const struct place_in_file *f, jref node, struct model *m);
int wordpiece_parse(const struct place_in_file *f, jref node, struct model *m);
int bpe_parse(const struct place_in_file *f, jref node, struct model *m);
int unigram_parse(const struct place_in_file *f, jref node, struct model *m);
int model_vocabulary(const struct place_in_file *f, jref vocab, struct model *m);   /* {"token": number} */
int model_trie(const struct place_in_file *f, struct model *m);     /* of the vocabulary; of equals the last, as the vocabulary */
bool model_bytes(struct model *m);                  /* finds <0x00> ... <0xFF>, which bytes fall back on; true: all are there */
bool piece_add(struct model_work *w, int32_t id, size_t from, size_t to);

#define SPACE_MARK "\xE2\x96\x81"   /* "▁", U+2581 */

#endif
