/* signal/langid.h -- which of 75 languages is this text in? */
#ifndef SBX_LANGID_H
#define SBX_LANGID_H

#include <stddef.h>

struct langid {
    char code[3];                   /* ISO 639-1; "" when the text has no letters */
    float confidence;               /* 0..1, the estimated chance that the code is right */
};

/* Pure, allocates nothing, any thread. TEXT is any bytes, UTF-8 or not; of long texts only
 * samples are read, so the time is bounded. */
struct langid langid_detect(const char *text, size_t len);

/* The codes that langid_detect can return, in alphabetical order. Returns how many. */
size_t langid_codes(const char *const **codes);

#endif
