/* evaluate.c -- accuracy of langid_detect on a gzipped JSON Lines file, and its speed.
 *
 *     evaluate FILE.jsonl.gz [KIND]
 *
 * Lines need "text" and "label", and "kind" if there are several. Prints accuracy per kind, the
 * weakest languages of each (or of KIND: all of them) with what they were taken for, the mean
 * confidence of right and wrong answers, and the time for a text of 2 KB. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "signal/langid.h"

#define KINDS_MAX 8
#define LANGS_MAX 100
#define WEAKEST 12

struct kind {
    char name[32];
    long right, all;
    double confidence[2];
    long by_lang[LANGS_MAX][LANGS_MAX + 1];     /* [label][answer], the last: no answer */
};

static struct kind kinds[KINDS_MAX];
static const char *const *codes;
static size_t lang_count;

static size_t lang_index(const char *code)
{
    for (size_t i = 0; i < lang_count; i++)
        if (strcmp(codes[i], code) == 0)
            return i;
    return LANGS_MAX;
}

static unsigned hex4(const char *s)
{
    char digits[5] = {s[0], s[1], s[2], s[3], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

static char *put_utf8(char *out, unsigned c)
{
    if (c < 0x80)
        *out++ = (char)c;
    else if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(0x80 | (c & 63));
    } else {
        *out++ = (char)(0xE0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    }
    return out;
}

/* The string member NAME of a flat JSON object; surrogate pairs are not joined. */
static size_t member(const char *line, const char *name, char *out)
{
    char *begin = out, pattern[32];
    snprintf(pattern, sizeof pattern, "\"%s\": \"", name);
    const char *s = strstr(line, pattern);
    for (s = s ? s + strlen(pattern) : ""; *s && *s != '"'; s++) {
        if (*s != '\\') {
            *out++ = *s;
        } else if (*++s == 'u') {
            out = put_utf8(out, hex4(s + 1));
            s += 4;
        } else {
            *out++ = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s;
        }
    }
    *out = 0;
    return (size_t)(out - begin);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void print_lang(const struct kind *k, size_t l, long all)
{
    printf("    %s %5.1f %%", codes[l], 100.0 * (double)k->by_lang[l][l] / (double)all);
    for (int shown = 0, least = 1000000; shown < 4; shown++) {
        size_t top = LANGS_MAX + 1;
        for (size_t a = 0; a <= LANGS_MAX; a++)
            if (a != l && k->by_lang[l][a] < least && k->by_lang[l][a] > 0 &&
                (top > LANGS_MAX || k->by_lang[l][a] > k->by_lang[l][top]))
                top = a;
        if (top > LANGS_MAX)
            break;
        least = (int)k->by_lang[l][top];
        printf("  %s %ld", top < lang_count ? codes[top] : "-", k->by_lang[l][top]);
    }
    printf("\n");
}

static void print_kind(const struct kind *k, size_t limit)
{
    char is_shown[LANGS_MAX] = {0};
    double macro = 0;
    size_t seen = 0;
    for (size_t l = 0; l < lang_count; l++) {
        long all = 0;
        for (size_t a = 0; a <= LANGS_MAX; a++)
            all += k->by_lang[l][a];
        if (all) {
            macro += (double)k->by_lang[l][l] / (double)all;
            seen++;
        }
    }
    printf("%-14s %6.2f %% of %ld, macro %.2f %%, confidence %.3f right, %.3f wrong\n", k->name,
           100.0 * (double)k->right / (double)k->all, k->all, 100.0 * macro / (double)seen,
           k->confidence[1] / (double)(k->right ? k->right : 1),
           k->confidence[0] / (double)(k->all - k->right ? k->all - k->right : 1));
    for (size_t n = 0; n < limit; n++) {
        size_t worst = LANGS_MAX;
        double least = 2;
        long worst_all = 0;
        for (size_t l = 0; l < lang_count; l++) {
            long all = 0;
            for (size_t a = 0; a <= LANGS_MAX; a++)
                all += k->by_lang[l][a];
            double share = all ? (double)k->by_lang[l][l] / (double)all : 2;
            if (!is_shown[l] && share < least) {
                least = share;
                worst = l;
                worst_all = all;
            }
        }
        if (worst == LANGS_MAX)
            break;
        is_shown[worst] = 1;
        print_lang(k, worst, worst_all);
    }
}

static void print_speed(const char *sample, size_t len)
{
    double best = 1e9;
    for (int run = 0; run < 200; run++) {
        double begin = now_us();
        for (int i = 0; i < 20; i++) {
            volatile char c = langid_detect(sample, len).code[0];
            (void)c;
        }
        double took = (now_us() - begin) / 20;
        best = took < best ? took : best;
    }
    printf("%zu bytes: %.2f us\n", len, best);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: evaluate FILE.jsonl.gz [KIND]\n");
        return 2;
    }
    gzFile in = gzopen(argv[1], "rb");
    if (!in) {
        perror(argv[1]);
        return 1;
    }
    static char line[1 << 16], text[1 << 16], label[1 << 16], name[1 << 16], long_text[2048];
    size_t long_used = 0;
    lang_count = langid_codes(&codes);
    while (gzgets(in, line, sizeof line)) {
        size_t len = member(line, "text", text);
        member(line, "label", label);
        member(line, "kind", name);
        size_t lang = lang_index(label);
        if (lang == LANGS_MAX)
            continue;
        struct kind *k = kinds;
        while (k < kinds + KINDS_MAX - 1 && k->all && strncmp(k->name, name, 31) != 0)
            k++;
        snprintf(k->name, sizeof k->name, "%.31s", name);
        struct langid found = langid_detect(text, len);
        int is_right = strcmp(found.code, label) == 0;
        k->all++;
        k->right += is_right;
        k->confidence[is_right] += (double)found.confidence;
        k->by_lang[lang][lang_index(found.code)]++;
        if (len > 60 && strcmp(label, "en") == 0 && long_used + len < sizeof long_text) {
            memcpy(long_text + long_used, text, len);
            long_used += len;
            long_text[long_used++] = ' ';
        }
    }
    gzclose(in);
    for (struct kind *k = kinds; k < kinds + KINDS_MAX && k->all; k++)
        if (argc < 3 || strcmp(argv[2], k->name) == 0)
            print_kind(k, argc < 3 ? WEAKEST : LANGS_MAX);
    memset(long_text + long_used, ' ', sizeof long_text - long_used);
    print_speed(long_text, sizeof long_text);
    print_speed(long_text, 200);
    print_speed(long_text, 20);
    return 0;
}
