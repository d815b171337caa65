/* front/decode.c */
#include "front/decode.h"

#include <zlib.h>
#include <zstd.h>

static int too_large(struct req *r, uint64_t limit)
{
    return req_fail(r, 413, "invalid_request_error", "request_too_large", "decoded_too_large",
                    "the body has more than %llu bytes once decoded (global.limits.decoded_body_bytes)", (unsigned long long)limit);
}

static int damaged(struct req *r, const char *coding)
{
    return req_fail(r, 400, "invalid_request_error", "invalid_encoding", "encoding",
                    "the body is not valid %s data", coding);
}

static int inflate_body(struct req *r, uint64_t limit, struct buf *out)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)r->body.ptr, .avail_in = (uInt)r->body.len };
    if (r->body.len > UINT32_MAX || inflateInit2(&z, 15 + 32) != Z_OK)     /* 32: gzip or zlib, by its header */
        return damaged(r, "gzip");
    int rc = Z_OK;
    while (rc == Z_OK && out->len <= limit && buf_reserve(out, 64 * 1024)) {
        z.next_out = (Bytef *)out->ptr + out->len;
        z.avail_out = (uInt)(out->cap - out->len > 1u << 30 ? 1u << 30 : out->cap - out->len);
        size_t room = z.avail_out;
        rc = inflate(&z, Z_NO_FLUSH);
        out->len += room - z.avail_out;
        if (rc == Z_STREAM_END && z.avail_in > 0)       /* gzip members may follow each other */
            rc = inflateReset(&z);
        else if (rc == Z_BUF_ERROR)
            break;
    }
    inflateEnd(&z);
    if (out->len > limit)
        return too_large(r, limit);
    return rc == Z_STREAM_END ? 0 : damaged(r, "gzip");
}

static int unzstd_body(struct req *r, uint64_t limit, struct buf *out)
{
    ZSTD_DStream *z = ZSTD_createDStream();
    ZSTD_inBuffer in = { r->body.ptr, r->body.len, 0 };
    size_t rc = 1;
    if (z) {
        ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 26);     /* 64 MB of window at most */
        while ((in.pos < in.size || rc != 0) && out->len <= limit && buf_reserve(out, 64 * 1024)) {
            ZSTD_outBuffer to = { out->ptr + out->len, out->cap - out->len, 0 };
            size_t before = in.pos;
            rc = ZSTD_decompressStream(z, &to, &in);
            out->len += to.pos;
            if (ZSTD_isError(rc) || (in.pos == before && to.pos == 0))
                break;
        }
    }
    ZSTD_freeDStream(z);
    if (out->len > limit)
        return too_large(r, limit);
    return rc == 0 ? 0 : damaged(r, "zstd");
}

int body_decode(struct req *r, str coding, uint64_t limit)
{
    struct buf out = { 0 };
    int rc;
    if (str_ieq(coding, S("gzip")) || str_ieq(coding, S("x-gzip")) || str_ieq(coding, S("deflate")))
        rc = inflate_body(r, limit, &out);
    else if (str_ieq(coding, S("zstd")))
        rc = unzstd_body(r, limit, &out);
    else
        rc = req_fail(r, 415, "invalid_request_error", "unsupported_encoding", "encoding",
                      "content-encoding '" STR_FMT "' is not understood; gzip, deflate and zstd are", STR_ARG(coding));
    if (rc == 0) {
        char *copy = arena_try(r->a, out.len + 1);
        if (!copy || out.is_failed)
            rc = req_fail(r, 503, "overloaded_error", "overloaded", "memory", "no memory for this body; try again");
        else
            r->body = (str){ memcpy(copy, out.ptr ? out.ptr : "", out.len), out.len };
    }
    buf_free(&out);
    return rc;
}
