/* base/put.h -- members of a JSON object that is written, one line each: key and value. */
#ifndef SBX_PUT_H
#define SBX_PUT_H

#include <math.h>

#include "base/json.h"

/* jw_key; a name that the program spells itself is copied, for no name of a wire format needs an escape. */
static inline void put_key(struct json_writer *w, str key)
{
    if (!__builtin_constant_p(key.len)) {
        jw_key(w, key);
        return;
    }
    if (w->need_comma)
        buf_char(w->out, ',');
    buf_char(w->out, '"');
    buf_str(w->out, key);
    buf_str(w->out, S("\":"));
    w->need_comma = false;
}

static inline void put_str(struct json_writer *w, str key, str v)       { put_key(w, key); jw_str(w, v); }
static inline void put_int(struct json_writer *w, str key, int64_t v)   { put_key(w, key); jw_int(w, v); }
static inline void put_bool(struct json_writer *w, str key, bool v)     { put_key(w, key); jw_bool(w, v); }
static inline void put_raw(struct json_writer *w, str key, str raw)     { put_key(w, key); jw_raw(w, raw); }
static inline void put_null(struct json_writer *w, str key)             { put_key(w, key); jw_null(w); }
static inline void put_open(struct json_writer *w, str key, char b)     { put_key(w, key); jw_begin(w, b); }
static inline void put_hex(struct json_writer *w, str key, uint64_t v)  { put_key(w, key); jw_hex(w, v); }
static inline void put_double(struct json_writer *w, str key, double v) { put_key(w, key); jw_double(w, v); }   /* NaN: null */
static inline void put_float(struct json_writer *w, str key, float v)   { put_key(w, key); jw_float(w, v); }

static inline void put_or_null(struct json_writer *w, str key, str v)
{
    if (v.len)
        put_str(w, key, v);
    else
        put_null(w, key);
}

static inline void put_strs(struct json_writer *w, str key, const str *items, size_t n)
{
    put_open(w, key, '[');
    for (size_t i = 0; i < n; i++)
        jw_str(w, items[i]);
    jw_end(w, ']');
}

/* Absent when there is nothing to say. */
static inline void put_text(struct json_writer *w, str key, str v)      { if (v.len) put_str(w, key, v); }
static inline void put_given(struct json_writer *w, str key, str raw)   { if (raw.len) put_raw(w, key, raw); }
static inline void put_number(struct json_writer *w, str key, double v) { if (isfinite(v)) put_double(w, key, v); }
static inline void put_flag(struct json_writer *w, str key, int v)      { if (v >= 0) put_bool(w, key, v); }
static inline void put_positive(struct json_writer *w, str key, int64_t v) { if (v > 0) put_int(w, key, v); }

#endif
