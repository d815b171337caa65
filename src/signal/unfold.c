/* signal/unfold.c -- see unfold.h.
 *
 * Models have learned from prose. In JSON a line's end is "\n", a sentence ends at a quote and a comma, and whoever writes \u0069gnore
 * is not understood. So strings are decoded and every value gets a line, which is where guards cut long texts. Keys stay: a number is
 * understood by what stands before it. A string that holds JSON itself, as from tools that wrap other tools, is unfolded in its place.
 *
 * The tape is walked from front to back: nesting costs no stack, and what comes out is no longer than what went in. */
#include "signal/unfold.h"

#include "base/json.h"

enum {
    UNFOLD_BYTES_MAX = 1 << 20,         /* a tape has 16 bytes a value; beyond: read as it is */
    NESTED_MAX = 4,                     /* JSON in strings of JSON; beyond: read as it is */
};

struct unfolding { struct arena *tapes; struct buf out; bool is_behind_key; };

static bool is_key(const struct json *j, jref n)
{
    str rest = str_trim(str_from(j->text, j->nodes[n].at + j->nodes[n].len));
    return json_is(j, n, JSON_STRING) && str_starts(rest, S(":"));
}

static void piece_add(struct unfolding *u, str text)
{
    if (u->out.len)
        buf_char(&u->out, u->is_behind_key ? ' ' : '\n');
    buf_str(&u->out, text);
}

/* False: it is no object or array, and nothing was added. */
static bool lines_add(struct unfolding *u, str text, int depth)
{
    struct json j;
    struct json_error e;
    text = str_trim(text);
    bool may_be = depth < NESTED_MAX && text.len <= UNFOLD_BYTES_MAX && (str_starts(text, S("{")) || str_starts(text, S("[")));
    if (!may_be || json_parse(u->tapes, text, &j, &e) < 0)
        return false;
    for (jref n = 0; n < j.n; n++) {
        enum json_kind kind = json_kind(&j, n);
        bool names = is_key(&j, n);
        if (names)
            u->is_behind_key = false;
        if (kind != JSON_OBJECT && kind != JSON_ARRAY) {
            str one = kind == JSON_STRING ? json_str(&j, n, u->tapes) : json_raw(&j, n);
            if (names || !lines_add(u, one, depth + 1))
                piece_add(u, one);
        }
        if (names)
            buf_char(&u->out, ':');
        u->is_behind_key = names;
    }
    return true;
}

str unfold(str text, struct arena *a)
{
    struct unfolding u = { .tapes = arena_new() };
    bool is_json = u.tapes && lines_add(&u, text, 0) && !arena_exhausted(u.tapes);
    str lines = is_json ? buf_to_arena(&u.out, a) : text;
    buf_free(&u.out);
    arena_free(u.tapes);
    return lines;
}
