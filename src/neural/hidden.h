/* neural/hidden.h -- inside of the service: sentences that a text holds in base64, hexadecimal or percent-encoding.
 *
 * A model reads them without being asked to; a trunk and hashed words see noise. What decodes to something that could be a sentence is read
 * like a passage of the text. Pictures, keys and hashes do not. */
#ifndef SBX_HIDDEN_H
#define SBX_HIDDEN_H

#include "base/arena.h"

enum {
    HIDDEN_MAX = 2,                     /* of one text: the first */
    HIDDEN_BYTES = 1024,                /* of one, decoded; what is beyond is not read */
    HIDDEN_LOOKED_AT = 1 << 18,         /* bytes of the text */
};

/* Returns how many; they are in the arena. Linear in the text. */
uint32_t hidden_find(str text, struct arena *a, str out[HIDDEN_MAX]);

#endif
