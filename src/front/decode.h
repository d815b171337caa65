/* front/decode.h -- compressed request bodies: gzip, deflate, zstd, with a cap on what they become. */
#ifndef SBX_DECODE_H
#define SBX_DECODE_H

#include "pipeline/req.h"

/* Replaces r->body. 0; -1: r->fail (400 damaged, 413 too large once decoded, 415 unknown coding). */
int body_decode(struct req *r, str coding, uint64_t limit);

#endif
