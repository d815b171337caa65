/* cli/bench_signals.c -- how long the signals of a configuration take on a prompt of 2 KB.
 *
 * Every unit of every profile is run as decide_run would, cheapest first, and timed on its own:
 * the first one that asks the scanner pays for the scan, the others find it. The same again with
 * every rule ten times, its words changed letter by letter, tells what more rules cost. Each run
 * has another text, so nothing is remembered from the run before. */
#include <malloc.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "base/utf8.h"
#include "cli/bench.h"
#include "base/rand.h"
#include "signal/compress.h"
#include "signal/scanner.h"
#include "signal/signal.h"

enum {
    RUNS = 2000,                        /* the median counts: a busy machine adds little */
    WARM_RUNS = 200,
    COPIES = 10,
    TEXT_BYTES = 2048,
    UNITS_MAX = 32,                     /* beyond: not shown one by one */
};

static const struct { const char *name, *piece; } texts[] = {
    { "English", "Please look at the following report about our deployment and tell me what we could "
                 "do about it. The service handles around two thousand requests per second, and the "
                 "latency has been rising slowly, but the database shows nothing unusual. " },
    { "Chinese", "请查看以下关于我们生产部署的报告，并告诉我我们可以做些什么。该服务每秒处理大约两千个请求。" },
    { "Russian", "Пожалуйста, посмотрите следующий отчёт о нашем развертывании и скажите, что мы могли "
                 "бы с этим сделать. Служба обрабатывает около двух тысяч запросов. " },
};

/* ---- ten times the rules ---- */

static uint32_t shifted(uint32_t code, unsigned by)
{
    if (code - 'a' < 26u)
        return 'a' + (code - 'a' + by) % 26;
    if (code - 0x4E00 < 0x5000u)
        return 0x4E00 + (code - 0x4E00 + by) % 0x5000;
    if (code - 0x3042 < 80u)
        return 0x3042 + (code - 0x3042 + by) % 80;
    return code;
}

/* Another word of the same shape; syntax of patterns stays. */
static str word_shifted(struct arena *a, str word, unsigned by)
{
    char *out = arena_alloc(a, word.len * 2 + 1);
    size_t n = 0;
    bool is_escaped = false, is_syntax = false;
    for (size_t at = 0; at < word.len;) {
        uint32_t code = utf8_next(word, &at);
        bool stays = is_escaped || is_syntax;
        is_escaped = !is_escaped && code == '\\';
        is_syntax = is_syntax ? !strchr("]}:>)", (int)(code < 0x80 ? code : 'x'))
                              : code == '[' || code == '{' || code == '?';
        n += utf8_put(out + n, stays ? code : shifted(code, by));
    }
    return (str){ out, n };
}

static struct value *value_shifted(struct arena *a, const struct value *v, unsigned by,
                                   bool is_word)
{
    struct value *out = ARENA_NEW(a, struct value);
    *out = *v;
    if (v->kind == VALUE_SCALAR && is_word)
        out->text = word_shifted(a, v->text, by);
    out->items = ARENA_ARRAY(a, struct value *, v->n_items);
    for (size_t i = 0; i < v->n_items; i++)
        out->items[i] = value_shifted(a, v->items[i], by, is_word);
    out->pairs = ARENA_ARRAY(a, struct value_pair, v->n_pairs);
    for (size_t i = 0; i < v->n_pairs; i++) {
        bool below = is_word || str_eq(v->pairs[i].key, S("keywords"));
        out->pairs[i] = v->pairs[i];
        out->pairs[i].value = value_shifted(a, v->pairs[i].value, by, below);
    }
    return out;
}

/* The rules of a profile, `copies` times; but languages once, their names mean something. */
static struct profile profile_of(struct arena *a, const struct config *c, size_t profile,
                                 unsigned copies)
{
    struct profile p = { .name = c->profiles[profile].name };
    const struct value *signals = config_profile_value(c, profile, "routing.signals");
    for (size_t i = 0; signals && i < signals->n_pairs; i++) {
        const struct signal_ops *ops = signal_by_collection(signals->pairs[i].key);
        const struct value *list = signals->pairs[i].value;
        for (size_t k = 0; ops && k < list->n_items; k++) {
            unsigned n = strcmp(ops->type, "language") == 0 ? 1 : copies;
            for (unsigned copy = 0; copy < n; copy++) {
                const struct value *name = value_get(list->items[k], S("name"));
                struct findings ignored = { .a = a };
                struct signal_rule rule = { .ops = ops, .at = list->items[k]->at };
                rule.name = copy ? arena_printf(a, STR_FMT "~%u", STR_ARG(name->text), copy)
                                 : name->text;
                rule.conf = arena_alloc(a, ops->fields.struct_size);
                if (field_decode(a, &ops->fields, value_shifted(a, list->items[k], copy, false),
                                 S(""), rule.conf, &ignored))
                    *PUSH(a, p.signals, p.n_signals) = rule;
            }
        }
    }
    return p;
}

/* ---- measuring ---- */

struct figures {
    uint32_t n_units;
    double unit_ns[UNITS_MAX], all_ns, language_ns;
    double heap_bytes, arena_bytes;     /* kept from malloc, of the request's arena; a run */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v)
{
    qsort(v, RUNS, sizeof *v, by_value);
    return v[RUNS / 2];
}

static str text_of(struct arena *a, const char *piece)
{
    char *text = arena_alloc(a, TEXT_BYTES + strlen(piece));
    size_t n = 0, len = strlen(piece);
    while (n + len <= TEXT_BYTES) {
        memcpy(text + n, piece, len);
        n += len;
    }
    return (str){ text, n };
}

/* Appends a number that changes from run to run; it is no word of any rule. */
static str text_numbered(char *buffer, str text, unsigned number)
{
    memcpy(buffer, text.ptr, text.len);
    int n = snprintf(buffer + text.len, 16, " #%05u", number);
    return (str){ buffer, text.len + (size_t)n };
}

static struct figures measure(const struct policy *p, struct decide_scratch *s, str text)
{
    static char buffer[TEXT_BYTES + 16];
    static double all[RUNS], language[RUNS], unit[UNITS_MAX][RUNS];
    struct chat chat = { 0 };
    struct sigset *out = decide_sigset(s);
    struct figures f = { .n_units = policy_n_units(p) };
    uint64_t *wanted = calloc(out->n_words + 1, sizeof *wanted);
    struct mallinfo2 before = { 0 };
    if (!wanted)
        return f;
    memset(wanted, 0xFF, out->n_words * sizeof *wanted);
    for (int run = -WARM_RUNS; run < RUNS; run++) {
        unsigned at = run < 0 ? 0 : (unsigned)run;
        str now = text_numbered(buffer, text, (unsigned)(run + WARM_RUNS));
        struct facts facts = { .chat = &chat, .current_user = now, .current_user_raw = now,
                               .evaluation_text = now, .sampled_text = now };
        struct arena *request = arena_new();
        if (run == 0)
            before = mallinfo2();
        all[at] = language[at] = 0;
        for (uint32_t u = 0; request && u < f.n_units; u++) {
            const struct signal_unit *is = policy_unit_at(p, u);
            uint64_t start = clock_now();
            is->run(is->state, &facts, wanted, request, out);
            double took = (double)(clock_now() - start);
            *(str_eq(is->type, S("language")) ? &language[at] : &all[at]) += took;
            if (u < UNITS_MAX)
                unit[u][at] = took;
        }
        if (run >= 0 && request)
            f.arena_bytes += (double)arena_bytes(request) / RUNS;
        arena_free(request);
    }
    struct mallinfo2 after = mallinfo2();
    f.heap_bytes = ((double)(after.uordblks + after.hblkhd)
                    - (double)(before.uordblks + before.hblkhd)) / RUNS;
    f.all_ns = median(all);
    f.language_ns = median(language);
    for (uint32_t u = 0; u < f.n_units && u < UNITS_MAX; u++)
        f.unit_ns[u] = median(unit[u]);
    free(wanted);
    return f;
}

/* ---- telling ---- */

static void number_json(struct json_writer *w, str key, double v)
{
    put_double(w, key, round(v * 10) / 10);
}

static void figures_json(struct json_writer *w, const char *text, const struct policy *p,
                         const struct figures *f)
{
    jw_begin(w, '{');
    put_str(w, S("text"), str_of(text));
    number_json(w, S("ns"), f->all_ns);
    number_json(w, S("language_ns"), f->language_ns);
    number_json(w, S("heap_bytes"), f->heap_bytes);
    number_json(w, S("arena_bytes"), f->arena_bytes);
    put_open(w, S("units"), '[');
    for (uint32_t u = 0; u < f->n_units && u < UNITS_MAX; u++) {
        jw_begin(w, '{');
        put_str(w, S("type"), policy_unit_at(p, u)->type);
        number_json(w, S("ns"), f->unit_ns[u]);
        jw_end(w, '}');
    }
    jw_end(w, ']');
    jw_end(w, '}');
}

static void figures_text(struct buf *out, const char *text, const struct policy *p,
                         const struct figures *f)
{
    buf_printf(out, "  %-8s %7.0f ns, language %6.0f ns, heap %+.2f B, arena %.0f B  (", text,
               f->all_ns, f->language_ns, f->heap_bytes, f->arena_bytes);
    for (uint32_t u = 0; u < f->n_units && u < UNITS_MAX; u++)
        buf_printf(out, "%s" STR_FMT " %.0f", u ? ", " : "",
                   STR_ARG(policy_unit_at(p, u)->type), f->unit_ns[u]);
    buf_printf(out, ")\n");
}

static void stats_tell(struct bench_report *r, str profile, unsigned copies,
                       const struct scanner_stats *s)
{
    const struct { const char *key; uint64_t v; } all[] = {
        { "copies", copies }, { "features", s->n_features }, { "words", s->n_needles },
        { "states", s->n_states }, { "table_bytes", s->table_bytes },
        { "patterns_as_words", s->n_lowered }, { "patterns_behind_words", s->n_gated },
        { "patterns_in_set", s->n_in_set },
    };
    if (!r->is_json)
        buf_printf(r->w.out, STR_FMT ", rules x %u: %u words, %u states, %zu KB; %u patterns are "
                   "words, %u wait for words, %u are a set\n", STR_ARG(profile), copies,
                   s->n_needles, s->n_states, s->table_bytes / 1024, s->n_lowered, s->n_gated,
                   s->n_in_set);
    for (size_t i = 0; r->is_json && i < COUNT_OF(all); i++)
        put_int(&r->w, str_of(all[i].key), (int64_t)all[i].v);
}

static int bench_profile(const struct config *c, size_t profile, unsigned copies,
                         struct bench_report *r)
{
    struct arena *a = arena_new();
    struct findings findings = { .a = a };
    struct profile p = profile_of(a, c, profile, copies);
    struct signal_make_arg arg = { .scanner = scanner_new(a), .global = c->global };
    const struct policy *policy = policy_build(a, &p, signal_make_all, &arg, &findings);
    if (!policy) {
        cli_findings(stderr, &findings, SEVERITY_ERROR);
        arena_free(a);
        return CLI_FINDING;
    }
    struct decide_scratch *scratch = decide_scratch_new(a, policy);
    struct scanner_stats stats = scanner_stats(arg.scanner);
    if (r->is_json) {
        jw_begin(&r->w, '{');
        put_str(&r->w, S("profile"), p.name);
    }
    stats_tell(r, p.name, copies, &stats);
    if (r->is_json)
        put_open(&r->w, S("figures"), '[');
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct figures f = measure(policy, scratch, text_of(a, texts[i].piece));
        if (r->is_json)
            figures_json(&r->w, texts[i].name, policy, &f);
        else
            figures_text(r->w.out, texts[i].name, policy, &f);
    }
    if (r->is_json) {
        jw_end(&r->w, ']');
        jw_end(&r->w, '}');
    }
    arena_free(a);
    return CLI_FINE;
}

/* ---- prompt compression ---- */

/* Sentences of 6 to 23 words, few of them common and most rare. */
static str prose(struct arena *a, size_t tokens, uint64_t seed)
{
    struct buf b = { 0 };
    for (size_t words = 0; (double)words * 1.3 < (double)tokens; ) {
        size_t n = 6 + rand_next(&seed) % 18;
        for (size_t i = 0; i < n; i++)
            buf_printf(&b, "%sword%u", i ? " " : "", (unsigned)(exp(9 * pow(rand_unit(&seed), 2))));
        buf_str(&b, S(". "));
        words += n;
    }
    str text = arena_str(a, buf_view(&b));
    buf_free(&b);
    return text;
}

static void compression_tell(struct bench_report *r)
{
    static const size_t tokens[] = { 2000, 16000, 64000, 1700000 };     /* the last: 10 MB */
    enum { TIMES = 50 };
    struct arena *settings = arena_new();
    struct findings findings = { .a = settings };
    const struct value *global = yaml_parse(settings, S("model_catalog: {modules: {prompt_compression: {enabled: true}}}"), "", NULL);
    const struct compression *c = compression_make(settings, global, &findings);
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        struct arena *a = arena_new();
        double best = INFINITY, kept = 0, held = 0;
        str text = prose(a, tokens[i], i + 1);
        for (int k = 0; k < TIMES; k++) {
            struct arena *request = arena_new();
            uint64_t from = clock_now();
            str got = compress_text(c, text, request);
            best = fmin(best, (double)(clock_now() - from));
            kept = compress_tokens(got, INFINITY);
            held = (double)arena_bytes(request);
            arena_free(request);
        }
        buf_printf(r->w.out, "compression: %zu tokens, %zu bytes to %.0f tokens: %.0f us, arena %.0f KB\n", tokens[i], text.len, kept,
                   best / 1e3, held / 1024);
        arena_free(a);
    }
    arena_free(settings);
}

/* Behind the last profile, for people, what shortening a text costs, which depends on no configuration. */
static int profile_tell(const struct config *c, size_t profile, struct bench_report *r)
{
    int rc = CLI_FINE;
    if (config_profile_value(c, profile, "routing.signals")) {
        rc = bench_profile(c, profile, 1, r);
        rc = rc == CLI_FINE ? bench_profile(c, profile, COPIES, r) : rc;
    }
    if (rc == CLI_FINE && !r->is_json && profile + 1 == c->n_profiles)
        compression_tell(r);
    return rc;
}

int bench_signals(int argc, char **argv)
{
    return bench_profiles(argc, argv, profile_tell);
}
