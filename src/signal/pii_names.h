/* signal/pii_names.h -- names of people, organisations and places in a text.
 *
 * A linear chain CRF over hashed features of words (pii_features.h), trained on tweets, encyclopedia sentences and made-up
 * prompts; its card is docs/internals/pii.md. Pure, any thread, no allocation, time proportional to the text. A score is the
 * chance that the words are a name of that kind, by the model. */
#ifndef SBX_PII_NAMES_H
#define SBX_PII_NAMES_H

#include "signal/pii_scan.h"

/* As pii_scan, types PII_PERSON, PII_ORGANIZATION and PII_GPE. */
uint32_t pii_names(str text, struct pii_span *out, uint32_t max, float best[PII_TYPES]);

/* Both together: names that lie inside an address, an e-mail or another span of the scanner are part of that and left out. */
uint32_t pii_find(str text, struct pii_span *out, uint32_t max, float best[PII_TYPES]);

#endif
