/* pipeline/req.c */
#include "pipeline/req.h"

int req_fail(struct req *r, int status, const char *type, const char *code, const char *reason,
             const char *format, ...)
{
    if (r->fail.status)
        return -1;
    va_list args;
    va_start(args, format);
    r->fail = (struct fail){ .status = status, .type = type, .code = code, .reason = reason,
                             .message = arena_vprintf(r->a, format, args) };
    va_end(args);
    return -1;
}
