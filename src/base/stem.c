/* base/stem.c
 *
 * Follows the definition of Porter2 step by step. A `y` that acts as a consonant is written `Y`
 * on the way. R1 and R2 are the regions a suffix must lie in for most steps to touch it. */
#include "base/stem.h"


struct word { char *p; size_t len, r1, r2; };

struct rule { const char *suffix, *with; };

static bool is_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y';
}

static bool ends(const struct word *w, const char *suffix)
{
    return str_ends((str){ w->p, w->len }, str_of(suffix));
}

static void replace(struct word *w, const char *suffix, const char *with)
{
    size_t n = strlen(with);
    w->len -= strlen(suffix);
    memcpy(w->p + w->len, with, n);
    w->len += n;
}

static bool in_r1(const struct word *w, const char *suffix)
{
    return w->len - strlen(suffix) >= w->r1;
}

static bool in_r2(const struct word *w, const char *suffix)
{
    return w->len - strlen(suffix) >= w->r2;
}

static bool has_vowel(const struct word *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_vowel(w->p[i]))
            return true;
    }
    return false;
}

/* Behind the first consonant that follows a vowel, from `from` on. */
static size_t region(const struct word *w, size_t from)
{
    for (size_t i = from + 1; i < w->len; i++) {
        if (is_vowel(w->p[i - 1]) && !is_vowel(w->p[i]))
            return i + 1;
    }
    return w->len;
}

/* Does the part of n letters end in a short syllable? */
static bool is_short_end(const struct word *w, size_t n)
{
    const char *p = w->p;
    if (n == 2)
        return is_vowel(p[0]) && !is_vowel(p[1]);
    return n > 2 && !is_vowel(p[n - 3]) && is_vowel(p[n - 2]) && !is_vowel(p[n - 1])
        && p[n - 1] != 'w' && p[n - 1] != 'x' && p[n - 1] != 'Y';
}

static const struct rule special[] = {
    { "skis", "ski" },     { "skies", "sky" },    { "dying", "die" },  { "lying", "lie" },
    { "tying", "tie" },    { "idly", "idl" },     { "gently", "gentl" }, { "ugly", "ugli" },
    { "early", "earli" },  { "only", "onli" },    { "singly", "singl" }, { "sky", "sky" },
    { "news", "news" },    { "howe", "howe" },    { "atlas", "atlas" }, { "cosmos", "cosmos" },
    { "bias", "bias" },    { "andes", "andes" },
};
static const char *const kept_after_1a[] = {
    "inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed",
};

/* Longest suffixes first where one ends another. */
static const struct rule step2[] = {
    { "ational", "ate" }, { "fulness", "ful" }, { "iveness", "ive" }, { "ization", "ize" },
    { "ousness", "ous" }, { "biliti", "ble" },  { "lessli", "less" }, { "tional", "tion" },
    { "alism", "al" },    { "aliti", "al" },    { "ation", "ate" },   { "entli", "ent" },
    { "fulli", "ful" },   { "iviti", "ive" },   { "ousli", "ous" },   { "abli", "able" },
    { "alli", "al" },     { "anci", "ance" },   { "ator", "ate" },    { "enci", "ence" },
    { "izer", "ize" },    { "bli", "ble" },     { "ogi", "og" },      { "li", "" },
};
static const struct rule step3[] = {
    { "ational", "ate" }, { "tional", "tion" }, { "alize", "al" }, { "icate", "ic" },
    { "iciti", "ic" },    { "ative", "" },      { "ical", "ic" },  { "ness", "" },
    { "ful", "" },
};
static const struct rule step4[] = {
    { "ement", "" }, { "able", "" }, { "ance", "" }, { "ence", "" }, { "ible", "" },
    { "ment", "" },  { "ant", "" },  { "ate", "" },  { "ent", "" },  { "ion", "" },
    { "ism", "" },   { "iti", "" },  { "ive", "" },  { "ize", "" },  { "ous", "" },
    { "al", "" },    { "er", "" },   { "ic", "" },
};

static const struct rule *longest(const struct word *w, const struct rule *rules, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ends(w, rules[i].suffix))
            return &rules[i];
    }
    return NULL;
}

static void step_0_and_1a(struct word *w)
{
    static const char *const possessive[] = { "'s'", "'s", "'" };
    for (size_t i = 0; i < COUNT_OF(possessive); i++) {
        if (ends(w, possessive[i])) {
            replace(w, possessive[i], "");
            break;
        }
    }
    if (ends(w, "sses"))
        replace(w, "sses", "ss");
    else if (ends(w, "ied") || ends(w, "ies"))
        w->len -= w->len > 4 ? 2 : 1;
    else if (ends(w, "us") || ends(w, "ss"))
        return;
    else if (ends(w, "s") && w->len > 2 && has_vowel(w, w->len - 2))
        w->len--;
}

static void step_1b(struct word *w)
{
    static const char *const endings[] = { "ingly", "edly", "ing", "ed" };
    static const char doubles[] = "bdfgmnprt";
    if (ends(w, "eedly") || ends(w, "eed")) {
        const char *suffix = ends(w, "eedly") ? "eedly" : "eed";
        if (in_r1(w, suffix))
            replace(w, suffix, "ee");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(endings); i++) {
        if (!ends(w, endings[i]))
            continue;
        size_t rest = w->len - strlen(endings[i]);
        if (!has_vowel(w, rest))
            return;
        w->len = rest;
        if (ends(w, "at") || ends(w, "bl") || ends(w, "iz"))
            w->p[w->len++] = 'e';
        else if (rest > 1 && w->p[rest - 1] == w->p[rest - 2] && strchr(doubles, w->p[rest - 1]))
            w->len--;
        else if (w->r1 >= w->len && is_short_end(w, w->len))
            w->p[w->len++] = 'e';
        return;
    }
}

static void step_1c(struct word *w)
{
    if (w->len > 2 && (w->p[w->len - 1] | 32) == 'y' && !is_vowel(w->p[w->len - 2]))
        w->p[w->len - 1] = 'i';
}

static void step_2(struct word *w)
{
    const struct rule *r = longest(w, step2, COUNT_OF(step2));
    if (!r || !in_r1(w, r->suffix))
        return;
    size_t n = strlen(r->suffix);
    char before = w->len > n ? w->p[w->len - n - 1] : '\0';
    if (strcmp(r->suffix, "ogi") == 0 && before != 'l')
        return;
    if (strcmp(r->suffix, "li") == 0 && !(before && strchr("cdeghkmnrt", before)))
        return;
    replace(w, r->suffix, r->with);
}

static void step_3(struct word *w)
{
    const struct rule *r = longest(w, step3, COUNT_OF(step3));
    if (!r || !in_r1(w, r->suffix))
        return;
    if (strcmp(r->suffix, "ative") != 0 || in_r2(w, r->suffix))
        replace(w, r->suffix, r->with);
}

static void step_4(struct word *w)
{
    const struct rule *r = longest(w, step4, COUNT_OF(step4));
    if (!r || !in_r2(w, r->suffix))
        return;
    char before = w->len > 3 ? w->p[w->len - 4] : '\0';
    if (strcmp(r->suffix, "ion") != 0 || before == 's' || before == 't')
        replace(w, r->suffix, "");
}

static void step_5(struct word *w)
{
    if (ends(w, "e") && (in_r2(w, "e") || (in_r1(w, "e") && !is_short_end(w, w->len - 1))))
        w->len--;
    else if (ends(w, "ll") && in_r2(w, "l"))
        w->len--;
}

size_t stem_english(char *word, size_t len)
{
    static const char *const prefixes[] = { "gener", "commun", "arsen" };
    if (len <= 2 || len > STEM_MAX || (unsigned)word[len - 1] - '0' < 10u)
        return len;                     /* no suffix ends with a digit */
    for (size_t i = 0; i < COUNT_OF(special); i++) {
        if (str_eq((str){ word, len }, str_of(special[i].suffix))) {
            len = strlen(special[i].with);
            memcpy(word, special[i].with, len);
            return len;
        }
    }
    if (word[0] == '\'')
        memmove(word, word + 1, --len);
    struct word w = { word, len, 0, 0 };
    for (size_t i = 0; i < len; i++) {
        if (word[i] == 'y' && (i == 0 || is_vowel(word[i - 1])))
            word[i] = 'Y';
    }
    w.r1 = region(&w, 0);
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        if (str_starts((str){ word, len }, str_of(prefixes[i])))
            w.r1 = strlen(prefixes[i]);
    }
    w.r2 = region(&w, w.r1);

    step_0_and_1a(&w);
    bool is_kept = false;
    for (size_t i = 0; i < COUNT_OF(kept_after_1a); i++)
        is_kept |= str_eq((str){ word, w.len }, str_of(kept_after_1a[i]));
    if (!is_kept) {
        step_1b(&w);
        step_1c(&w);
        step_2(&w);
        step_3(&w);
        step_4(&w);
        step_5(&w);
    }
    for (size_t i = 0; i < w.len; i++) {
        if (word[i] == 'Y')
            word[i] = 'y';
    }
    return w.len;
}

/* ---- stop words ---- */

/* Sorted bytewise. */
static const char *const stop_words[] = {
    "a", "about", "above", "after", "again", "against", "ain", "all", "am", "an", "and", "any",
    "are", "aren", "aren't", "as", "at", "be", "because", "been", "before", "being", "below",
    "between", "both", "but", "by", "can", "couldn", "couldn't", "d", "did", "didn", "didn't",
    "do", "does", "doesn", "doesn't", "doing", "don", "don't", "down", "during", "each", "few",
    "for", "from", "further", "had", "hadn", "hadn't", "has", "hasn", "hasn't", "have", "haven",
    "haven't", "having", "he", "her", "here", "hers", "herself", "him", "himself", "his", "how",
    "i", "if", "in", "into", "is", "isn", "isn't", "it", "it's", "its", "itself", "just", "ll",
    "m", "ma", "me", "mightn", "mightn't", "more", "most", "mustn", "mustn't", "my", "myself",
    "needn", "needn't", "no", "nor", "not", "now", "o", "of", "off", "on", "once", "only", "or",
    "other", "our", "ours", "ourselves", "out", "over", "own", "re", "s", "same", "shan",
    "shan't", "she", "she's", "should", "should've", "shouldn", "shouldn't", "so", "some",
    "such", "t", "than", "that", "that'll", "the", "their", "theirs", "them", "themselves",
    "then", "there", "these", "they", "this", "those", "through", "to", "too", "under", "until",
    "up", "ve", "very", "was", "wasn", "wasn't", "we", "were", "weren", "weren't", "what",
    "when", "where", "which", "while", "who", "whom", "why", "will", "with", "won", "won't",
    "wouldn", "wouldn't", "y", "you", "you'd", "you'll", "you're", "you've", "your", "yours",
    "yourself", "yourselves",
};

bool stop_english(str word)
{
    if (word.len == 0 || word.len > 10)
        return false;
    size_t low = 0, high = COUNT_OF(stop_words);
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = str_cmp(str_of(stop_words[middle]), word);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
