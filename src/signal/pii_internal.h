/* signal/pii_internal.h -- what the parts of the personal data scanner share. Private to signal/pii_*.c. */
#ifndef SBX_PII_INTERNAL_H
#define SBX_PII_INTERNAL_H

#include "base/utf8.h"
#include "signal/pii_scan.h"

/* ---- words (pii_words.c) ---- */

/* What a word says about what stands near it. The first ones are contexts; the rest are parts of dates and addresses. */
enum pii_word {
    WORD_PHONE, WORD_CARD, WORD_ID, WORD_SSN, WORD_PASSPORT, WORD_LICENSE, WORD_ACCOUNT, WORD_BIRTH, WORD_ADDRESS, WORD_ZIP,
    WORD_IP, WORD_USER, WORD_SECRET, WORD_KEY,
    WORD_OTHER,                         /* orders, versions, parts: numbers that are nobody's */
    WORD_CONTEXTS,
    WORD_AGE = WORD_CONTEXTS,           /* "years": behind a number */
    WORD_DIAL,                          /* "text", "cell": a telephone, if the number follows at once */
    WORD_AGED,                          /* "aged": before a number */
    WORD_PERSONAL,                      /* "I", "patient", "her": an age beside them is somebody's */
    WORD_MONTH,
    WORD_STREET_FIRST,                  /* "rue", "via": the name follows */
    WORD_STREET_LAST,                   /* "Street", "Road": the name comes before */
    WORD_STREET_NUMBERED,               /* "Caddesi", "utca": as before, and the house number follows */
    WORD_STREET_RARE,                   /* "Rest", "Key": streets in America, other things as well */
    WORD_UNIT,                          /* "Apt", "Piso" */
    WORD_STATE,                         /* "NM" */
    WORD_LINK,                          /* "de", "van": small words inside names of places */
    WORD_COPULA,                        /* "is", "was": between a label and its value */
    WORD_COMMON,                        /* what follows "user" without being a name */
    WORDS
};

#define BIT(kind) (1u << (kind))

/* Hash of a word, case folded, code point by code point. */
static inline uint32_t word_mix(uint32_t hash, uint32_t code)
{
    return (hash ^ code) * 0x9E3779B1u;                 /* the high bits are the good ones */
}
enum { WORD_SEED = 0x811C9DC5 };

void word_prepare(void);                        /* before the others: builds the table once a process */
uint32_t word_kinds(uint32_t hash);             /* set of BIT(WORD_...), 0: nothing known */
uint32_t word_hash(str word);
/* "Hauptstraße", "Michalaan": BIT(WORD_STREET_NUMBERED), or _RARE for doubtful ones; 0 */
uint32_t word_ending(str word);

/* ---- digits in groups (pii_numbers.c) ---- */

enum { GROUPS_MAX = 12, DIGITS_MAX = 40 };      /* beyond: the number ends there; IBANs and cards have fewer */

struct number {
    size_t start, end[GROUPS_MAX];              /* bytes in the text */
    uint8_t len[GROUPS_MAX], total[GROUPS_MAX]; /* digits of a group, and up to its end */
    char before[GROUPS_MAX + 1];                /* separator before a group: + ( ) space - . /, 0 at the ends */
    uint8_t n;
    bool is_chained;                            /* grown to letters or digits at the left */
    char digits[DIGITS_MAX + 1];
};

/* `at` is a digit, '+' or '('. False: no number there. */
bool number_read(struct number *n, str text, size_t at);

struct pii_guess {                              /* an answer of a recogniser */
    size_t end;
    float score;
    enum pii_type type;
};

void number_prepare(void);
/* The best reading of the first groups of a number; context: the nearest word's kind, WORD_CONTEXTS when there is none. */
bool number_guess(const struct number *n, enum pii_word context, struct pii_guess *g);
/* What a value of that many letters and digits is, by the word beside it alone. */
bool context_guess(enum pii_word context, uint32_t n_digits, uint32_t n_letters, struct pii_guess *g);

bool luhn_is_valid(const char *digits, size_t n);

/* ---- identifiers of letters and digits (pii_codes.c) ---- */

void code_prepare(void);
/* At the start of a word. Secrets by prefix, IBAN, national identity numbers, crypto addresses, JWT. */
bool code_guess(str text, size_t at, bool has_digit, enum pii_word context, struct pii_guess *g);
bool text_looks_random(str s);                  /* digits and cases mixed as in a key, not as in words */
bool ipv6_guess(str text, size_t at, struct pii_guess *g);
bool mac_guess(str text, size_t at, struct pii_guess *g);
bool pem_guess(str text, size_t at, struct pii_guess *g);

/* ---- net names (pii_hosts.c) ---- */

/* '@' at `at`: finds where the address starts. */
bool email_guess(str text, size_t at, size_t *start, struct pii_guess *g);
/* A host name or URL at the start of a word. *end: how far was read, to be skipped by the caller even if it is none. */
bool host_guess(str text, size_t at, size_t *end, struct pii_guess *g);

/* ---- street addresses (pii_address.c) ---- */

/* "12 Long Lane, ...": at a number. has_context: a word like "address" is near. */
bool address_from_number(str text, size_t at, bool has_context, struct pii_guess *g);
/* "rue de la Paix 5", "Hauptstr. 5": `at` is the word that tells a street, `name` where its name may begin. */
bool address_from_street(str text, size_t at, size_t word_end, uint32_t kinds, bool has_context, struct pii_guess *g);
/* "Kirkeveien 2, 04736 Oslo": at the house number behind capitalised words; needs all the rest. */
bool address_from_house(str text, size_t at, bool has_context, struct pii_guess *g);
/* "Flat 3, Emily Spurs, ...", "PO Box 12, ...": at a capitalised word for a unit. */
bool address_from_unit(str text, size_t at, bool has_context, struct pii_guess *g);

#endif
