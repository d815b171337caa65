/* pipeline/signatures.h -- signatures of tool calls, kept for clients that do not give them back.
 *
 * Gemini signs the first call of an answer and refuses a later request that lacks the signature. Most clients of other dialects
 * have a place for it and return it; for the rest it is remembered here, by owner and call id. Memory of the process, bounded:
 * what is forgotten costs quality, not an error (dialect/gemini_write.c sends the value that Google documents for it). */
#ifndef SBX_SIGNATURES_H
#define SBX_SIGNATURES_H

#include "dialect/canonical.h"

enum {
    SIGNATURES_MAX = 4096,              /* beyond: the oldest is forgotten */
    SIGNATURE_BYTES_MAX = 16 << 10,     /* longer ones are not kept */
};

/* All any thread. Texts are copied. */
void signature_keep(str owner, str call_id, str origin, str signature);
bool signature_find(str owner, str call_id, struct arena *a, str *origin, str *signature);

struct signature_watch { str call_id; uint32_t index; char text[160]; };    /* the open call of a stream; zero-initialise */
void signature_watch(struct signature_watch *w, str owner, const struct delta *d, str origin);
void signatures_of_reply(str owner, const struct reply *r);
/* Fills in what the client left out. */
void signatures_fill(str owner, struct prompt *p, struct arena *a);

#endif
