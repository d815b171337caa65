// base/regex.cc -- the only C++ of the program: RE2 behind C (regex.h says what).
//
// C++ exceptions stop here: the only one RE2 can meet is a failing `new`, which becomes "no
// memory". A set's matcher wants a vector for its answer; one per thread is kept.
#include <new>
#include <string>
#include <vector>

#include <re2/re2.h>
#include <re2/set.h>

extern "C" {
#include "base/regex.h"
}

using re2::RE2;
using re2::StringPiece;

struct regex {
    regex(const StringPiece &pattern, const RE2::Options &options) : re(pattern, options) {}
    RE2 re;
};

struct regex_set {
    explicit regex_set(const RE2::Options &options) : set(options, RE2::UNANCHORED) {}
    RE2::Set set;
};

static StringPiece piece(str s)
{
    return StringPiece(s.ptr ? s.ptr : "", s.len);
}

static RE2::Options options_for(size_t memory_bytes)
{
    RE2::Options o;
    o.set_log_errors(false);
    o.set_max_mem(static_cast<int64_t>(memory_bytes));
    return o;
}

// (?i) inside the pattern rather than an option, because a set has one set of options for all.
static std::string with_case(str pattern, bool fold)
{
    std::string p(fold ? "(?i)" : "");
    p.append(pattern.ptr ? pattern.ptr : "", pattern.len);
    return p;
}

extern "C" struct regex *regex_new(str pattern, bool fold, struct err *e)
try {
    struct regex *r = new regex(with_case(pattern, fold), options_for(REGEX_MEMORY));
    if (r->re.ok())
        return r;
    err_set(e, "pattern \"" STR_FMT "\": %s", STR_ARG(pattern), r->re.error().c_str());
    delete r;
    return nullptr;
} catch (const std::bad_alloc &) {
    err_set(e, "no memory for a pattern");
    return nullptr;
}

static void regex_drop(void *r)
{
    delete static_cast<struct regex *>(r);
}

extern "C" struct regex *regex_in(struct arena *a, str pattern, bool fold, struct err *e)
{
    struct regex *r = regex_new(pattern, fold, e);
    if (r)
        arena_defer(a, regex_drop, r);
    return r;
}

extern "C" void regex_free(struct regex *r)
{
    delete r;
}

extern "C" bool regex_has(const struct regex *r, str text)
{
    return r->re.Match(piece(text), 0, text.len, RE2::UNANCHORED, nullptr, 0);
}

extern "C" bool regex_is(const struct regex *r, str text)
{
    return r->re.Match(piece(text), 0, text.len, RE2::ANCHOR_BOTH, nullptr, 0);
}

extern "C" bool regex_find(const struct regex *r, str text, size_t from, str *groups, size_t n)
{
    StringPiece found[REGEX_GROUPS_MAX + 1];
    if (from > text.len)
        return false;
    if (n > REGEX_GROUPS_MAX + 1)
        n = REGEX_GROUPS_MAX + 1;
    if (!r->re.Match(piece(text), from, text.len, RE2::UNANCHORED, found, static_cast<int>(n)))
        return false;
    for (size_t i = 0; i < n; i++)
        groups[i] = str{ found[i].data(), found[i].size() };
    return true;
}

extern "C" size_t regex_groups(const struct regex *r)
{
    return static_cast<size_t>(r->re.NumberOfCapturingGroups());
}

// Go's FindAll: after an empty match the search goes on one code point later, and an empty match
// right behind the previous match does not count.
extern "C" uint64_t regex_count(const struct regex *r, str text)
{
    uint64_t n = 0;
    const char *begin = text.ptr ? text.ptr : "";
    size_t from = 0, last_end = SIZE_MAX;
    str at;
    while (regex_find(r, str{ begin, text.len }, from, &at, 1)) {
        size_t start = static_cast<size_t>(at.ptr - begin), end = start + at.len;
        bool is_adjacent = at.len == 0 && start == last_end;
        n += !is_adjacent;
        last_end = end;
        from = end;
        if (at.len == 0) {
            from++;
            while (from < text.len && (static_cast<unsigned char>(begin[from]) & 0xC0) == 0x80)
                from++;
        }
    }
    return n;
}

extern "C" struct regex_set *regex_set_new(size_t memory_bytes)
try {
    return new regex_set(options_for(memory_bytes));
} catch (const std::bad_alloc &) {
    return nullptr;
}

extern "C" void regex_set_free(struct regex_set *s)
{
    delete s;
}

extern "C" int regex_set_add(struct regex_set *s, str pattern, bool fold, struct err *e)
try {
    std::string error;
    int n = s->set.Add(with_case(pattern, fold), &error);
    return n >= 0 ? n : err_set(e, "pattern \"" STR_FMT "\": %s", STR_ARG(pattern), error.c_str());
} catch (const std::bad_alloc &) {
    return err_set(e, "no memory for a pattern");
}

extern "C" bool regex_set_compile(struct regex_set *s)
try {
    return s->set.Compile();
} catch (const std::bad_alloc &) {
    return false;
}

extern "C" int regex_set_match(const struct regex_set *s, str text, uint64_t *bits)
try {
    static thread_local std::vector<int> found;
    RE2::Set::ErrorInfo error;
    if (!s->set.Match(piece(text), &found, &error))
        return error.kind == RE2::Set::kNoError ? 0 : -1;
    for (int i : found)
        bits[i >> 6] |= uint64_t{ 1 } << (i & 63);
    return 1;
} catch (const std::bad_alloc &) {
    return -1;
}
