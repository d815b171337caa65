/* config/reference.c -- the reference page: one section a table, one line a key.
 *
 * Generated from the tables that decode, so it cannot say anything else than the program does. */
#include <math.h>

#include "base/buf.h"
#include "config/tables.h"
#include "plugin/plugin.h"

enum { SECTIONS_MAX = 1024, DEFAULT_SHOWN = 48 };

struct section { const struct fields *table; str path; const char *help; };

struct page {
    struct buf *out;
    struct arena *a;
    struct section sections[SECTIONS_MAX];              /* in order of printing; n grows meanwhile */
    size_t n;
};

/* Findings that `check` knows, by name; those of plain reading first. */
static const struct { const char *name, *meaning; } names[] = {
    { "syntax", "the text is no YAML, or has a key twice" },
    { "not-canonical", "neither `routing` nor `global`: a file from before v0.3" },
    { "unreadable", "the file cannot be read" },
    { "unknown-key", "a key that nothing reads" },
    { "missing-key", "a key that must be there, or without which another has no use" },
    { "wrong-type", "a list where a text should be, a text where a number should be" },
    { "out-of-range", "a number beyond its bounds" },
    { "bad-value", "a word that is not one of those allowed" },
    { "deprecated-key", "an old name; the new one means the same" },
    { "removed-key", "VSR no longer has it; the hint says what to write" },
    { "not-built", "known and checked, without effect in this version" },
    { "encoder-missing", "the bundled encoder is not there or cannot run: signals that need it stay unknown" },
    { "model-substituted", "a folder that the configuration names is not there; what ships answers instead" },
    { "bad-model", "a model's or head's files cannot be used" },
    { "bad-remote", "a remote service of a signal is named wrongly" },
    { "unreadable-kb", "the exemplars of a knowledge base cannot be read" },
    { "unset-variable", "the environment lacks a variable that the file names" },
    { "duplicate-name", "two things with one name" },
    { "undefined-reference", "a name that leads nowhere" },
    { "block-mismatch", "settings of one algorithm or backend beside the choice of another" },
    { "missing-card", "a model of providers.models without a card" },
    { "no-backend", "a model that runs nowhere" },
    { "no-model", "a decision that names no model while there is no default model" },
    { "no-effect", "a setting that nothing looks at where it stands" },
    { "state-in-memory", "budgets without a state file: a restart forgets what was spent" },
    { "no-exchange-rate", "a price in a currency that budgets, which are in USD, have no rate for" },
    { "open-management", "the management API is reachable from elsewhere and asks for no key" },
    { "tls-not-verified", "a backend's certificate is not looked at" },
    { "dead-rule-name", "a name that this type of signal never reports" },
    { "dead-rule", "a signal that can never match" },
    { "missing-threshold", "without a threshold this rule matches everything" },
    { "missing-max-tokens", "a context rule without max_tokens never matches" },
    { "unreachable-literal", "a literal keyword that ASCII word boundaries keep from matching" },
    { "bad-pattern", "a pattern that RE2 does not accept" },
    { "bad-operator", "a misspelt operator; it acts as OR" },
    { "not-arity", "NOT over none or several conditions never matches" },
    { "empty-composite", "an AND or OR without conditions, a score without inputs" },
    { "mixed-rule", "a rule node that is a leaf and a composite at once" },
    { "bad-predicate", "bounds that contradict each other or are missing" },
    { "projection-cycle", "a score that depends on itself" },
    { "band-gap", "scores between two bands of a mapping that are in none" },
    { "band-overlap", "scores that are in two bands; the first wins" },
    { "vacuous-band", "a band that the inputs of its score can never reach" },
    { "tier-mixing", "some decisions have a tier and some have not; unset ones outrank tier 1" },
    { "shadowed-decision", "a decision that can never win, because one above it always matches" },
    { "unused-rule", "a signal that no decision looks at" },
    { "always-true", "a rule that matches every request" },
    { "bad-name", "a name with a colon where colons separate" },
    { "bad-source", "keys of a `source` that do not go together" },
    { "bad-sequence", "a sequence without two markers" },
    { "bad-labels", "a classifier with too few or repeated labels" },
    { "bad-modality", "a modality that cannot be compared" },
    { "module-off", "a signal whose module is switched off" },
    { "no-keywords", "a keyword rule without keywords" },
    { "no-candidates", "an embedding rule without examples" },
    { "wide-fuzzy-threshold", "an edit distance that lets nearly every word hit" },
    { "unknown-method", "a method that acts as another" },
    { "unknown-category", "a domain category that the classifier does not know" },
    { "unknown-severity", "a severity that is dropped" },
    { "unknown-provider", "a backend whose provider is not known; it is treated as vllm" },
    { "tls", "certificates or keys that cannot be used" },
    { "too-many-keywords", "more keywords than the automaton takes" },
    { "too-many-projections", "more projections than the engine takes" },
    { "rule-too-deep", "a rule nested deeper than the engine takes" },
};

static void section_later(struct page *p, const struct fields *f, str path, const char *help)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->sections[i].table->items == f->items)
            return;
    if (p->n < SECTIONS_MAX && f->n)
        p->sections[p->n++] = (struct section){ f, path, help };
}

static str section_path(const struct page *p, const struct fields *f)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->sections[i].table->items == f->items)
            return p->sections[i].path;
    return S("");
}

static const char *type_name(const struct field *f)
{
    static const char *const types[] = {
        [FIELD_STR] = "text", [FIELD_BOOL] = "boolean", [FIELD_INT] = "integer",
        [FIELD_FLOAT] = "number", [FIELD_DURATION] = "duration", [FIELD_BYTES] = "size",
        [FIELD_COUNT] = "count", [FIELD_SECRET] = "secret", [FIELD_ENUM] = "word",
        [FIELD_STRINGS] = "list of texts", [FIELD_STRING_MAP] = "map of texts",
        [FIELD_STRUCT] = "map", [FIELD_LIST] = "list", [FIELD_MAP] = "map by name",
        [FIELD_VALUE] = "any",
    };
    return f->type == FIELD_VALUE && f->sub ? "map" : types[f->type];
}

static void bounds_put(struct buf *out, const struct field *f)
{
    if (f->names && f->type != FIELD_VALUE && !(f->flags & FIELD_DEPRECATED)) {
        for (size_t i = 0; f->names[i]; i++)
            if (f->names[i][0])
                buf_printf(out, "%s`%s`", i && f->names[0][0] ? ", " : i > 1 ? ", " : "", f->names[i]);
    } else if (f->min != 0 || f->max != 0) {
        if (isinf(f->max))
            buf_printf(out, "≥ %g", f->min);
        else if (isinf(f->min))
            buf_printf(out, "≤ %g", f->max);
        else
            buf_printf(out, "%.10g … %.10g", f->min, f->max);
    }
}

static void anchor_put(struct buf *out, str path)       /* GitHub's: letters, digits, - and _ stay */
{
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
            buf_char(out, c);
        else if (c >= 'A' && c <= 'Z')
            buf_char(out, (char)(c | 32));
        else if (c == ' ')
            buf_char(out, '-');
    }
}

static void line_put(struct page *p, const struct field *f)
{
    struct buf *out = p->out;
    buf_printf(out, "| `%s` | ", f->key);
    str target = f->sub ? section_path(p, f->sub) : S("");
    if (target.len) {
        buf_printf(out, "[%s](#", type_name(f));
        anchor_put(out, target);
        buf_str(out, S(")"));
    } else {
        buf_str(out, str_of(type_name(f)));
    }
    buf_str(out, S(" | "));
    if (f->default_text && f->default_text[0] && strcmp(f->default_text, "nan")) {
        if (strlen(f->default_text) <= DEFAULT_SHOWN)
            buf_printf(out, "`%s`", f->default_text);
        else
            buf_str(out, S("see `config defaults`"));
    }
    buf_str(out, S(" | "));
    bounds_put(out, f);
    buf_printf(out, " | %s", f->help ? f->help : "");
    static const struct { unsigned flag; const char *note; } notes[] = {
        { FIELD_REQUIRED, "**required**" }, { FIELD_NOT_BUILT, "*not built yet*" },
        { FIELD_IGNORED, "*no effect*" }, { FIELD_EXTENSION, "*signalbox only*" },
        { FIELD_DEPRECATED, "*old name*" },
    };
    for (size_t i = 0; i < COUNT_OF(notes); i++)
        if (f->flags & notes[i].flag)
            buf_printf(out, "; %s", notes[i].note);
    buf_str(out, S(" |\n"));
}

static void section_put(struct page *p, const struct section *s)
{
    for (size_t i = 0; i < s->table->n; i++) {          /* first, so that links find them */
        const struct field *f = &s->table->items[i];
        if (!field_is_key(f) || !f->sub)
            continue;
        const char *tail = f->type == FIELD_LIST ? "[]" : f->type == FIELD_MAP ? ".NAME" : "";
        str path = s->path.len && s->table != &document_fields
            ? arena_printf(p->a, STR_FMT ".%s%s", STR_ARG(s->path), f->key, tail)
            : arena_printf(p->a, "%s%s", f->key, tail);
        section_later(p, f->sub, path, f->help);
    }
    if (s->table == &plugin_use_fields)
        for (size_t i = 0; plugin_all[i]; i++)
            section_later(p, &plugin_all[i]->fields,
                          arena_printf(p->a, "plugin %s", plugin_all[i]->type),
                          plugin_all[i]->is_built ? "`configuration` of this plugin"
                                                  : "`configuration` of this plugin; *not built yet*");
    buf_printf(p->out, "\n## " STR_FMT "\n\n", STR_ARG(s->path));
    if (s->help)
        buf_printf(p->out, "%s\n\n", s->help);
    buf_str(p->out, S("| Key | Type | Default | Values | Meaning |\n|---|---|---|---|---|\n"));
    for (size_t i = 0; i < s->table->n; i++)
        if (field_is_key(&s->table->items[i]))
            line_put(p, &s->table->items[i]);
}

void config_reference_markdown(struct buf *out)
{
    struct arena *a = arena_new();
    if (!a) {
        out->is_failed = true;
        return;
    }
    config_tables();
    struct page *p = ARENA_NEW(a, struct page);
    p->out = out;
    p->a = a;
    buf_str(out, S("# Configuration reference\n\n"
        "Generated by `signalbox config reference`; `signalbox config schema` has the same as JSON "
        "Schema.\n\n"
        "A configuration is YAML or JSON with `routing` or `global`. `$VAR`, `${VAR}`, "
        "`${VAR:-default}` and `${VAR-default}` in values are replaced by the environment; `$$` is "
        "a dollar. What is written below `global` is laid over the defaults: maps merge, lists "
        "replace. Durations are like `300ms` or `1m30s`, sizes like `64MiB`, counts like `32K`.\n"));
    section_later(p, &document_fields, S("document"), "the top level");
    for (size_t i = 0; i < p->n; i++) {
        struct section s = p->sections[i];
        section_put(p, &s);
    }
    buf_str(out, S("\n## Findings\n\nWhat `signalbox check` may say, by its stable name.\n\n"
                   "| Name | Meaning |\n|---|---|\n"));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        buf_printf(out, "| `%s` | %s |\n", names[i].name, names[i].meaning);
    arena_free(a);
}
