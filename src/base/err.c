/* base/err.c */
#include "base/err.h"

#include <stdio.h>

static int err_v(struct err *e, struct place at, const char *format, va_list args)
{
    if (e && !e->text[0]) {
        e->at = at;
        vsnprintf(e->text, sizeof e->text, format, args);
    }
    return -1;
}

int err_set(struct err *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err_v(e, (struct place){ 0 }, format, args);
    va_end(args);
    return -1;
}

int err_at(struct err *e, struct place at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err_v(e, at, format, args);
    va_end(args);
    return -1;
}

void finding_add(struct findings *f, const char *name, enum severity severity, struct place at,
                 str path, str hint, const char *format, ...)
{
    if (!f)
        return;
    struct finding *one = PUSH(f->a, f->items, f->n);
    va_list args;
    if (at.file)                                /* findings outlive what they are about */
        at.file = arena_cstr(f->a, str_of(at.file));
    va_start(args, format);
    *one = (struct finding){
        .name = name, .severity = severity, .at = at, .path = arena_str(f->a, path),
        .text = arena_vprintf(f->a, format, args), .hint = arena_str(f->a, hint),
    };
    va_end(args);
    f->n_by_severity[severity]++;
}
