/* neural/window.h -- a long text as windows over its whole length.
 *
 * As few windows as the length asks for, all of the same size, evenly spaced from the first token to the last: 300 tokens
 * are two windows of 166, not one of 254 and a scrap. Neighbours overlap, so that what lies on one's edge is inside the
 * other. Only a text that would need more than WINDOWS_MAX has gaps. */
#ifndef SBX_WINDOW_H
#define SBX_WINDOW_H

#include "neural/cache.h"

enum {
    TEXT_WHOLE_MAX = 256 * 1024,        /* bytes, ~10 ms of a thread; a longer text is tokenised at WINDOWS_MAX places only */
    TOKEN_BYTES = 8,                    /* a piece of so many bytes a token fills a window in nearly every script */
    WORDS_BYTES = 4096,                 /* window of a classifier that reads words alone */
    TEXT_TOKENS_MAX = 32768,            /* of all windows of one text: fewer of them when they are long */
};

struct piece { uint32_t from, len; };   /* bytes of the text that are looked at */

/* Chooses at most n_max pieces of at most `bytes` each, spread evenly over the text's whole length, cut between characters.
 * A text of at most `whole` bytes is one piece. */
uint32_t pieces_choose(str text, size_t whole, uint32_t bytes, uint32_t n_max, struct piece out[WINDOWS_MAX]);

struct window {
    uint32_t at, n;                     /* its tokens, frame included */
    uint32_t own_from, own_to;          /* those that no neighbour reads with more context: disjoint over all windows, no frame */
    struct byte_range bytes;
    bool follows;                       /* its own tokens come right after those of the window before */
};

struct windows {                        /* zero-initialise; arrays are kept for the next text */
    struct window list[WINDOWS_MAX]; uint32_t n;
    int32_t *ids;                       /* [n_tokens] windows one after the other */
    struct byte_range *bytes;           /* [n_tokens] of the text; frame tokens: empty */
    uint32_t n_tokens, cap;
};
void windows_free(struct windows *w);

/* What a model wants read before a text ("query: "), as tokens. */
struct window_prompt { str text; const int32_t *ids; uint32_t n; };
enum { PROMPTS_MAX = 16, PROMPT_TOKENS_MAX = 64 };

struct window_rule {
    const struct tokenizer *tokenizer;
    struct tokenizer_frame frame;       /* put around every window */
    const struct window_prompt *prompts; uint32_t n_prompts;    /* before every window: that which the text begins with, else ... */
    const struct window_prompt *prompt; /* ... this one; NULL: none */
    uint32_t n_prompt;                  /* tokens of the longest */
    int32_t pad;                        /* stands for a text without tokens */
    uint32_t tokens, overlap, n_max;    /* tokens: with the frame */
};
void window_rule_make(struct window_rule *r, const struct tokenizer *t, uint32_t tokens, int32_t pad);
void window_rule_prompts(struct window_rule *r, const struct window_prompt *list, uint32_t n,
                         const struct window_prompt *by_default);

/* `copy` holds the bytes of the pieces, one piece after the other; `text_bytes`: of the whole text. One piece is windowed by
 * tokens, of several each is a window. 0; -1: no memory. */
int windows_make(struct windows *w, const struct window_rule *r, const char *copy, const struct piece *pieces, uint32_t n_pieces,
                 size_t text_bytes, struct tokenizer_scratch *s);

#endif
