/* dialect/dialect.c -- the list of wire formats, and what a translation could not say. */
#include "dialect/dialect.h"

#include <stdio.h>

#define X(symbol) extern const struct dialect_ops dialect_##symbol;
#include "dialect/list.h"
#undef X

const struct dialect_ops *const dialect_all[] = {
#define X(symbol) &dialect_##symbol,
#include "dialect/list.h"
#undef X
    NULL
};

const struct dialect_ops *dialect_by_name(str name)
{
    for (size_t i = 0; dialect_all[i]; i++)
        if (str_eq(str_of(dialect_all[i]->name), name))
            return dialect_all[i];
    return NULL;
}

enum { WARNINGS_MAX = 64 };             /* they go into one header; the client learns nothing from the 65th */

/* Fields with a number in them ("messages[3].name") are told once each; the same field twice is not. */
void translation_warn(struct translation *t, str field, const char *reason)
{
    for (size_t i = 0; i < t->n_warnings; i++)
        if (str_eq(t->warnings[i].field, field) && strcmp(t->warnings[i].reason, reason) == 0)
            return;
    if (t->n_warnings < WARNINGS_MAX)
        *PUSH(t->a, t->warnings, t->n_warnings) = (struct warning){ arena_str(t->a, field), reason };
}

int translation_refuse(struct translation *t, str param, const char *format, ...)
{
    if (t->refusal.text[0])
        return -1;                      /* the first one counts */
    va_list args;
    va_start(args, format);
    vsnprintf(t->refusal.text, sizeof t->refusal.text, format, args);
    va_end(args);
    t->param = arena_str(t->a, param);
    return -1;
}

int translation_lose(struct translation *t, const struct target *to, str param, const char *what)
{
    if (!to->drops_unsupported)
        return translation_refuse(t, param, STR_FMT ": %s cannot be sent to the provider of model '" STR_FMT "'",
                                  STR_ARG(param), what, STR_ARG(to->model));
    translation_warn(t, param, "dropped");
    return 0;
}

str translation_name_back(const struct translation *t, str to)
{
    for (size_t i = 0; t && i < t->n_renames; i++)
        if (str_eq(t->renames[i].to, to))
            return t->renames[i].from;
    return to;
}
