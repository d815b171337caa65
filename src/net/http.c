/* net/http.c */
#include "net/http.h"

#include <time.h>

#include "base/clock.h"
#include "base/hex.h"

str http_get(const struct http_head *h, str name)
{
    for (unsigned i = 0; i < h->n_headers; i++)
        if (str_ieq(h->headers[i].name, name))
            return h->headers[i].value;
    return (str){ 0 };
}

bool http_has(const struct http_head *h, str name)
{
    for (unsigned i = 0; i < h->n_headers; i++)
        if (str_ieq(h->headers[i].name, name))
            return true;
    return false;
}

bool http_token_in(str list, str token)
{
    while (list.len) {
        str one = str_trim(str_cut(&list, ','));
        if (str_ieq(one, token))
            return true;
    }
    return false;
}

bool http_is_named_in_connection(const struct http_head *h, str name)
{
    for (unsigned i = 0; i < h->n_headers; i++)
        if (str_ieq(h->headers[i].name, S("connection")) && http_token_in(h->headers[i].value, name))
            return true;
    return false;
}

const char *http_reason(int status)
{
    static const struct { int status; const char *reason; } table[] = {
        { 100, "Continue" }, { 101, "Switching Protocols" },
        { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" },
        { 304, "Not Modified" },
        { 400, "Bad Request" }, { 401, "Unauthorized" }, { 402, "Payment Required" },
        { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
        { 408, "Request Timeout" }, { 409, "Conflict" }, { 411, "Length Required" },
        { 412, "Precondition Failed" }, { 413, "Content Too Large" }, { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" }, { 422, "Unprocessable Content" }, { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" }, { 499, "Client Closed Request" },
        { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
        { 503, "Service Unavailable" }, { 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (table[i].status == status)
            return table[i].reason;
    return "Status";
}

bool http_is_hop_by_hop(str name)
{
    switch (name.len) {
    case 2:  return str_ieq(name, S("te"));
    case 7:  return str_ieq(name, S("trailer")) || str_ieq(name, S("upgrade"));
    case 10: return str_ieq(name, S("connection")) || str_ieq(name, S("keep-alive"));
    case 14: return str_ieq(name, S("content-length"));
    case 16: return str_ieq(name, S("proxy-connection"));
    case 17: return str_ieq(name, S("transfer-encoding"));
    case 18: return str_ieq(name, S("proxy-authenticate"));
    case 19: return str_ieq(name, S("proxy-authorization"));
    default: return false;
    }
}

static str percent_decode(struct arena *a, str s, bool is_form)
{
    char *to = arena_alloc(a, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        int high, low;
        if (s.ptr[i] == '%' && i + 2 < s.len && (high = hex_digit(s.ptr[i + 1])) >= 0
            && (low = hex_digit(s.ptr[i + 2])) >= 0) {
            to[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            to[n++] = is_form && s.ptr[i] == '+' ? ' ' : s.ptr[i];
        }
    }
    return (str){ to, n };
}

str http_query_get(str query, str name, struct arena *a)
{
    while (query.len) {
        str value = str_cut(&query, '&');
        str key = str_cut(&value, '=');
        if (str_eq(key, name) && value.len < 2048)
            return percent_decode(a, value, true);
    }
    return S("");
}

str http_path_decode(str path, struct arena *a)
{
    return percent_decode(a, path, false);
}

void http_path_encode(str s, const char *also, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";            /* RFC 3986, 2.1: in upper case */
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c && (strchr("-._~", c) || strchr(also, c))))
            buf_char(out, (char)c);
        else
            buf_str(out, (str){ (char[]){ '%', digits[c >> 4], digits[c & 15] }, 3 });
    }
}

str http_date(void)
{
    static _Thread_local time_t last = -1;
    static _Thread_local char text[32];
    static _Thread_local size_t len;
    struct timespec coarse;                     /* of the last tick: half the price, and seconds are all we tell */
    clock_gettime(CLOCK_REALTIME_COARSE, &coarse);
    time_t now = coarse.tv_sec;
    if (now != last) {
        struct tm tm;
        gmtime_r(&now, &tm);
        len = strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        last = now;
    }
    return (str){ text, len };
}

uint64_t http_retry_after_ns(const struct http_head *h)
{
    double v;
    if (str_double(str_trim(http_get(h, S("retry-after-ms"))), &v) && v > 0)
        return v > 86400e3 ? 86400 * NS_PER_S : (uint64_t)(v * 1e6);
    str text = str_trim(http_get(h, S("retry-after")));
    if (str_double(text, &v) && v > 0)
        return v > 86400 ? 86400 * NS_PER_S : (uint64_t)(v * 1e9);
    char copy[40];
    struct tm tm = { 0 };
    if (text.len < 20 || text.len >= sizeof copy)
        return 0;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    if (!strptime(copy, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return 0;
    time_t at = timegm(&tm), now = (time_t)(clock_wall() / NS_PER_S);
    return at > now && at - now <= 86400 ? (uint64_t)(at - now) * NS_PER_S : 0;
}
