/* Personal data: what is found, what is not, checksums, hostile texts, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signal/pii_names.h"

#define ACCEPTED 0.5f

/* Each text marks its one span with [ ]; the test takes the marks out. */
struct claim { enum pii_type type; const char *text; };

static const struct claim found[] = {
    { PII_CREDIT_CARD, "my card is [4111 1111 1111 1111] ok?" },
    { PII_CREDIT_CARD, "pay with [5555-5555-5555-4444]" },
    { PII_CREDIT_CARD, "amex [378282246310005] declined, credit card" },
    { PII_IBAN_CODE, "send it to [DE89 3704 0044 0532 0130 00] please" },
    { PII_IBAN_CODE, "[GB82WEST12345698765432]" },
    { PII_US_SSN, "SSN: [219-09-9999]" },
    { PII_US_SSN, "social security number [219 09 9999]" },
    { PII_PHONE_NUMBER, "call [+44 20 7946 0958] now" },
    { PII_PHONE_NUMBER, "call me at [(212) 555-0123]" },
    { PII_PHONE_NUMBER, "[212-555-0123 ext. 42] is my number" },
    { PII_PHONE_NUMBER, "appelez le [01 23 45 67 89]" },
    { PII_PHONE_NUMBER, "我的电话是[13812345678]。" },
    { PII_PHONE_NUMBER, "Мой телефон [8 (495) 123-45-67]" },
    { PII_PHONE_NUMBER, "[788 957 925] is my phone" },
    { PII_EMAIL_ADDRESS, "mail [jane.doe+x@mail.example.co.uk], thanks" },
    { PII_EMAIL_ADDRESS, "<[müller@bücher.de]>" },
    { PII_IP_ADDRESS, "server [203.0.113.77] is down" },
    { PII_IP_ADDRESS, "ping [2001:db8::8a2e:370:7334] fails" },
    { PII_MAC_ADDRESS, "NIC [00:1b:44:11:3a:b7] is up" },
    { PII_DATE_OF_BIRTH, "born on [12 May 1980] in Rome" },
    { PII_DATE_OF_BIRTH, "DOB [1980-05-12]" },
    { PII_DATE_OF_BIRTH, "geboren am [12.05.1980]" },
    { PII_STREET_ADDRESS, "ship to [221B Baker Street, London NW1 6XE] today" },
    { PII_STREET_ADDRESS, "I live at [3619 Howard Rest Apt. 107, New Catherine, NM 19224]." },
    { PII_STREET_ADDRESS, "Adresse: [Hauptstr. 5, 12345 Berlin]" },
    { PII_STREET_ADDRESS, "j'habite au [14, rue de la Paix, 75002 Paris]" },
    { PII_STREET_ADDRESS, "abito in [Via Roma 5, 20121 Milano (MI)]" },
    { PII_STREET_ADDRESS, "Mijn adres is [Prinsengracht 263, 1016 GV Amsterdam]" },
    { PII_STREET_ADDRESS, "Adres: [ul. Witosa 82/60, 12-387 Koszalin]" },
    { PII_ZIP_CODE, "my zip code is [94110]" },
    { PII_PASSPORT, "passport number [V43361546] expired" },
    { PII_US_DRIVER_LICENSE, "driver's license [D1234567]" },
    { PII_ACCOUNT_NUMBER, "bank account [0372173499] is blocked" },
    { PII_NATIONAL_ID, "CPF [529.982.247-25]" },
    { PII_NATIONAL_ID, "il mio codice fiscale: [RSSMRA85T10A562S]" },
    { PII_NATIONAL_ID, "Mi DNI es [12345678Z]" },
    { PII_API_KEY, "key [ghp_0123456789abcdefABCDEFghijklmnopqrst] leaked" },
    { PII_API_KEY, "[AKIAIOSFODNN7EXAMPLQ]" },
    { PII_API_KEY, "OPENAI_API_KEY=[sk-proj-a8B2c9D4e7F1g6H3i5J0kLmN]" },
    { PII_API_KEY, "Bearer [eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U]" },
    { PII_PASSWORD, "password: [hunter2] and nothing else" },
    { PII_PASSWORD, "postgres://app:[s3cr3t!x]@db.internal.example/app" },
    { PII_USERNAME, "username=[jdoe_42]" },
    { PII_PRIVATE_KEY, "[-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----]\n" },
    { PII_CRYPTO_ADDRESS, "pay [bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4]" },
    { PII_AGE, "my son is [12] years old" },
};

/* No span at ACCEPTED or above. */
static const char *const innocent[] = {
    "Order 4111111111 was shipped, tracking number 9400111899223197428490.",
    "upgrade from 1.2.3.4 to 10.0.19041.1",
    "ISBN 978-3-16-148410-0 and 0-306-40615-2",
    "commit 3f2c1d9e8b7a6f5e4d3c2b1a0f9e8d7c6b5a4f3e",
    "uuid 550e8400-e29b-41d4-a716-446655440000",
    "latitude 52.5200066 longitude 13.404954",
    "On 2012-04-23 nothing happened.",
    "4111 1111 1111 1112 fails the Luhn test",
    "The sum of 123-45-6789012 is unclear",
    "std::vector<int> v; a::b::c(); Foo::Bar",
    "The password must have eight characters. Is the password required?",
    "password = os.environ[\"PASSWORD\"]",
    "Why is the user interface slow? Improve user satisfaction.",
    "during 1996 and remembering 25 years of engineering 12 bridges",
    "Compute 1368 times 4767 and 100000 + 250000.",
    "array[10][20] = 3.14159265358979; x = 1e10; y = 0x7fffffff;",
    "Visit https://example.com/2012/04/23/article-1234567890 for more.",
    "The model has 6605 parameters, 4333 layers and costs $1,234,567.",
    "sk-learn-is-a-python-package and key-value-store-benchmark-results",
    "He was 34th in the race of 1984 runners.",
};

static uint32_t scan(const char *text, struct pii_span *out, uint32_t max)
{
    return pii_scan(str_of(text), out, max, NULL);
}

static void every_kind_is_found_where_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(found); i++) {
        char text[512];
        uint32_t start = 0, end = 0, at = 0, hits = 0;
        for (const char *p = found[i].text; *p; p++) {
            if (*p == '[' && !end && !(start || hits))
                start = at, hits = 1;
            else if (*p == ']' && !end)
                end = at;
            else
                text[at++] = *p;
        }
        text[at] = 0;
        struct pii_span spans[16];
        uint32_t n = scan(text, spans, 16), matches = 0;
        for (uint32_t k = 0; k < n; k++)
            matches += spans[k].type == found[i].type && spans[k].start == start && spans[k].end == end &&
                       spans[k].score >= ACCEPTED;
        if (matches != 1) {
            print_error("%s: %u spans", text, n);
            for (uint32_t k = 0; k < n; k++)
                print_error(" %s %u-%u %.2f", pii_type_name(spans[k].type).ptr, spans[k].start, spans[k].end,
                            (double)spans[k].score);
            fail_msg(" expected %s %u-%u", pii_type_name(found[i].type).ptr, start, end);
        }
    }
}

static void numbers_of_other_things_are_left_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(innocent); i++) {
        struct pii_span spans[16];
        uint32_t n = scan(innocent[i], spans, 16);
        for (uint32_t k = 0; k < n; k++) {
            if (spans[k].score >= ACCEPTED)
                fail_msg("%s: %s %u-%u %.2f", innocent[i], pii_type_name(spans[k].type).ptr, spans[k].start, spans[k].end,
                         (double)spans[k].score);
        }
    }
}

static void a_wrong_check_digit_is_no_identity(void **state)
{
    (void)state;
    static const char *const wrong[] = { "GB82WEST12345698765433", "529.982.247-26", "756.9217.0769.86", "RSSMRA85T10A562T" };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        float best[PII_TYPES];
        struct pii_span spans[4];
        pii_scan(str_of(wrong[i]), spans, 4, best);
        assert_true(best[PII_IBAN_CODE] < ACCEPTED);
        assert_true(best[PII_NATIONAL_ID] < ACCEPTED);
    }
}

static void numbers_that_people_test_with_are_cards(void **state)
{
    (void)state;
    static const char *const cards[] = { "4111 1111 1111 1111", "my card: 4111111111111111", "4242 4242 4242 4242", "5555-5555-5555-4444" };
    for (size_t i = 0; i < COUNT_OF(cards); i++) {
        float best[PII_TYPES];
        pii_scan(str_of(cards[i]), NULL, 0, best);
        assert_true(best[PII_CREDIT_CARD] >= .9f);
    }
    float best[PII_TYPES];
    pii_scan(S("4000 0000 0000 0002"), NULL, 0, best);      /* a round number */
    assert_true(best[PII_CREDIT_CARD] < ACCEPTED);
}

static void the_nearest_word_decides(void **state)
{
    (void)state;
    float best[PII_TYPES];
    pii_scan(S("phone number for order 2125550123"), NULL, 0, best);
    assert_true(best[PII_PHONE_NUMBER] < ACCEPTED);
    pii_scan(S("order late, my phone number is 2125550123"), NULL, 0, best);
    assert_true(best[PII_PHONE_NUMBER] > .8f);
}

static void best_scores_cover_spans_without_room(void **state)
{
    (void)state;
    char text[4096] = "";
    for (int i = 0; i < 40; i++)
        strcat(text, "a@example.com, ");
    strcat(text, "SSN 219-09-9999");
    struct pii_span spans[2];
    float best[PII_TYPES];
    assert_int_equal(pii_scan(str_of(text), spans, 2, best), 2);
    assert_true(best[PII_US_SSN] > .9f);
}

static void types_have_names_and_families(void **state)
{
    (void)state;
    for (enum pii_type t = 0; t < PII_TYPES; t++) {
        enum pii_type back;
        assert_true(pii_type_find(pii_type_name(t), &back));
        assert_int_equal(back, t);
        assert_true(pii_type_family(pii_type_family(t)) == pii_type_family(t));
    }
    assert_int_equal(pii_type_family(PII_DATE_OF_BIRTH), PII_DATE_TIME);
}

/* Pieces that a recogniser would like to read for ever, repeated to a megabyte. */
static void hostile_texts_take_linear_time(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "1", "1 ", "1-", "1.", "1:", "+1", "(1", "a.", "a@", "a-", "-----BEGIN ", "eyJ", "eyJ.", "sk-", "sk-a1B2", "password ",
        "user is ", "http://", "1 A ", "1 Main ", "rue ", "::", "a:", "\xE4\xB8\xAD", "Apt 1 ", "0 ", "May 1 ", "A ", "\"@",
        "12 Ab, ",
        "\xFF", "Flat 3\nAb\n",
        "key=a1B2c3D4e5F6g7H8i9J0k ", "phone 123 ", "x://", "a_", "12-34/", "bc1q", "Ab-", "://a:", "born May ",
    };
    enum { BYTES = 1 << 20 };
    char *text = malloc(BYTES);
    static struct pii_span spans[64];
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        size_t len = strlen(pieces[i]);
        for (size_t at = 0; at < BYTES; at++)
            text[at] = pieces[i][at % len];
        struct timespec from, to;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        pii_find((str){ text, BYTES }, spans, 64, NULL);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        if (seconds > 20)                               /* generous: a sanitizer on a busy machine; quadratic time is hours */
            fail_msg("\"%s\" takes %.1f s a megabyte", pieces[i], seconds);
    }
    free(text);
}

static bool has_name(const char *text, enum pii_type type, const char *name)
{
    struct pii_span spans[32];
    uint32_t n = pii_names(str_of(text), spans, 32, NULL);
    for (uint32_t i = 0; i < n; i++) {
        str s = { text + spans[i].start, spans[i].end - spans[i].start };
        if (spans[i].type == type && str_eq(s, str_of(name)))
            return true;
    }
    return false;
}

static void names_of_people_and_places_are_found(void **state)
{
    (void)state;
    assert_true(has_name("My name is Maria Gonzalez and I need a visa.", PII_PERSON, "Maria Gonzalez"));
    assert_true(has_name("Write a letter to Thomas Müller about the rent.", PII_PERSON, "Thomas Müller"));
    assert_true(has_name("She moved from Paris to Berlin in 1990.", PII_GPE, "Paris"));
    assert_false(has_name("How do I write a loop in this language?", PII_PERSON, "How"));
}

static void a_street_swallows_the_names_in_it(void **state)
{
    (void)state;
    str text = S("Deliver to 12 Abraham Lincoln Road, Bath, BA1 5NE please");
    struct pii_span spans[8];
    uint32_t n = pii_find(text, spans, 8, NULL);
    for (uint32_t i = 0; i < n; i++)
        assert_true(spans[i].type != PII_PERSON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_found_where_it_is),
        cmocka_unit_test(numbers_of_other_things_are_left_alone),
        cmocka_unit_test(a_wrong_check_digit_is_no_identity),
        cmocka_unit_test(numbers_that_people_test_with_are_cards),
        cmocka_unit_test(the_nearest_word_decides),
        cmocka_unit_test(best_scores_cover_spans_without_room),
        cmocka_unit_test(types_have_names_and_families),
        cmocka_unit_test(hostile_texts_take_linear_time),
        cmocka_unit_test(names_of_people_and_places_are_found),
        cmocka_unit_test(a_street_swallows_the_names_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
