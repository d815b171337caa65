/* signal/pii_scan.h -- personal data in a text: what can be told by form, checksum and the words beside it.
 *
 * Pure, any thread, no allocation; one pass, time proportional to the text whatever is in it. A score is the chance that the
 * bytes are personal data of that type: a card number that passes its checksum behind the word "card" is near 1; a date that is
 * nobody's birthday or a host name stays at PII_MENTION, below any usual threshold. Names of people, companies and places come
 * from pii_names.h. */
#ifndef SBX_PII_SCAN_H
#define SBX_PII_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum pii_type {
    PII_AGE, PII_CREDIT_CARD, PII_DATE_TIME, PII_DOMAIN_NAME, PII_EMAIL_ADDRESS, PII_GPE, PII_IBAN_CODE, PII_IP_ADDRESS, PII_NRP,
    PII_ORGANIZATION, PII_PERSON, PII_PHONE_NUMBER, PII_STREET_ADDRESS, PII_US_DRIVER_LICENSE, PII_US_SSN, PII_ZIP_CODE,
    /* types that VSR's labels lack */
    PII_ACCOUNT_NUMBER, PII_API_KEY, PII_CRYPTO_ADDRESS, PII_DATE_OF_BIRTH, PII_MAC_ADDRESS, PII_NATIONAL_ID, PII_PASSPORT,
    PII_PASSWORD, PII_PRIVATE_KEY, PII_USERNAME,
    PII_TYPES
};

struct pii_span {
    uint32_t start, end;                /* bytes, end exclusive */
    float score;                        /* 0..1 */
    enum pii_type type;
};

#define PII_FLOOR 0.3f                  /* spans below are not told */
#define PII_MENTION 0.4f                /* of the type, but hardly about a person */

/* Spans in order of place, without overlap, at most `max`; `best`, if not NULL, gets the highest score of every type (0: none)
 * over the whole text, also of spans that had no room. Returns how many were written. Texts over 4 GB are read to there. */
uint32_t pii_scan(str text, struct pii_span *out, uint32_t max, float best[PII_TYPES]);

str pii_type_name(enum pii_type type);          /* "EMAIL_ADDRESS" */
bool pii_type_find(str name, enum pii_type *type);
/* The v0.3 label that covers a type which v0.3 lacks (a DATE_OF_BIRTH is a DATE_TIME there), else the type itself: a rule that
 * allows either allows the span. */
enum pii_type pii_type_family(enum pii_type type);

#endif
