/* neural/tokenizer.h -- text to token numbers, exactly as Hugging Face `tokenizers` does it.
 *
 * Reads tokenizer.json: normaliser, pre-tokeniser, model (WordPiece, BPE, Unigram), added tokens, post-processor. Truncation and
 * padding that the file asks for are ignored: the caller windows (see tokens_window). Immutable after load; any thread encodes
 * with its own tokenizer_scratch. Text is UTF-8; broken bytes count as U+FFFD. */
#ifndef SBX_TOKENIZER_H
#define SBX_TOKENIZER_H

#include "base/err.h"

struct tokenizer;
struct tokenizer_scratch;

struct tokenizer *tokenizer_open(const char *file, struct err *e);             /* path of tokenizer.json */
struct tokenizer *tokenizer_parse(str json, const char *file, struct err *e);  /* `file`: for messages; the text may go then */
void tokenizer_close(struct tokenizer *t);
struct tokenizer_scratch *tokenizer_scratch_new(void);
void tokenizer_scratch_free(struct tokenizer_scratch *s);

struct tokens {                                     /* in the scratch, valid until its next use */
    int32_t *ids;
    uint32_t *from, *to;                            /* byte offsets into the text as given; special tokens: 0, 0 */
    uint8_t *types;
    bool *is_special;
    uint32_t n;
};

enum { TOKENIZER_TEXT_MAX = 64 << 20 };             /* bytes; beyond: the error below */

/* `adds_special`: with [CLS] and the like, by the post-processor. `b`: second text of a pair (NLI), or ptr NULL.
 * 0; -1: no memory or text too long. */
int tokenizer_encode(const struct tokenizer *t, str a, str b, bool adds_special, struct tokenizer_scratch *s, struct tokens *out);

uint32_t tokenizer_vocabulary(const struct tokenizer *t);      /* one more than the highest number */
int32_t  tokenizer_id(const struct tokenizer *t, str token);   /* -1: none */
str      tokenizer_token(const struct tokenizer *t, int32_t id);

/* What the post-processor puts around a single text. */
struct tokenizer_frame { int32_t before[4], after[4]; uint8_t n_before, n_after; };
struct tokenizer_frame tokenizer_frame(const struct tokenizer *t);

#endif
