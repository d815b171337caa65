/* tests/unit/config/config_test.h -- what these tests share: a made-up environment, short loads. */
#ifndef SBX_CONFIG_TEST_H
#define SBX_CONFIG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "config/config.h"

static inline const char *test_env(const char *name)
{
    static const struct { const char *name, *value; } set[] = {
        { "SET", "value" }, { "EMPTY", "" }, { "PORT", "9000" }, { "KEY", "sk-secret" },
        { "REF", "$SET" },
    };
    for (size_t i = 0; i < COUNT_OF(set); i++)
        if (!strcmp(name, set[i].name))
            return set[i].value;
    return NULL;
}

struct loaded { struct arena *a; struct findings found; struct config *config; };

static inline struct loaded load_as(const char *text, bool strict)
{
    struct loaded l = { .a = arena_new() };
    l.found.a = l.a;
    l.config = config_load(l.a, str_of(text), "test.yaml", test_env, strict, &l.found);
    return l;
}

static inline struct loaded load(const char *text)
{
    return load_as(text, false);
}

static inline const struct finding *find(const struct loaded *l, const char *name)
{
    for (size_t i = 0; i < l->found.n; i++)
        if (!strcmp(l->found.items[i].name, name))
            return &l->found.items[i];
    return NULL;
}

static inline void show(const struct loaded *l)
{
    for (size_t i = 0; i < l->found.n; i++)
        fprintf(stderr, "  %u:%u %s %s: %s | %s\n", l->found.items[i].at.line,
                l->found.items[i].at.col, l->found.items[i].name, l->found.items[i].path.ptr,
                l->found.items[i].text.ptr, l->found.items[i].hint.ptr);
}

static inline void must_load(const struct loaded *l)
{
    if (!l->config) {
        show(l);
        fail_msg("does not load");
    }
}

#endif
