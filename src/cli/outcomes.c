/* cli/outcomes.c -- folders of recorded outcomes: JSON Lines and CSV, plain or gzip.
 *
 * Files are read whole and parsed where they lie. Rows of the tables are matched by qid, so their order is free; a table that has
 * a query nobody asked, or a column of another model, is a mistake worth a sentence. */
#include "cli/outcomes.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "cli/learn.h"

enum { FILE_BYTES_MAX = 1 << 30, QUERIES_MAX = 4 << 20, CELLS_MAX = 256 << 20, CONSTANT_MIN = 50, CONSTANT_TOKENS = 5 };
/* Share of costs that a model must have, where costs are known at all; and of equal answers that is suspect. */
#define COSTS_MIN 0.95

/* The file `folder/name`, or the same with .gz. 1, 0: there is none, -1: *e. */
static int file_read(struct arena *a, const char *folder, const char *name, str *out, const char **path, struct err *e)
{
    static const char *const endings[] = { ".gz", "" };
    gzFile f = NULL;
    for (size_t i = 0; i < COUNT_OF(endings) && !f; i++) {
        *path = arena_printf(a, "%s/%s%s", folder, name, endings[i]).ptr;
        f = access(*path, R_OK) == 0 ? gzopen(*path, "rb") : NULL;
    }
    if (!f)
        return 0;
    struct buf b = { 0 };
    int n = 0;
    gzbuffer(f, 1 << 20);
    while (buf_reserve(&b, 1 << 20) && b.len < FILE_BYTES_MAX && (n = gzread(f, b.ptr + b.len, 1 << 20)) > 0)
        b.len += (size_t)n;
    gzclose(f);
    if (n != 0 || b.is_failed) {
        buf_free(&b);
        return err_set(e, "%s: %s", *path, n < 0 ? "cannot be unpacked" : n > 0 ? "longer than 1 GB" : "no memory");
    }
    *out = buf_to_arena(&b, a);
    return 1;
}

/* ---- CSV (RFC 4180) ---- */

struct csv { str rest; uint32_t line; bool is_row_over; };

/* The next field of the row; a quoted one with doubled quotes is unfolded in place. False: the row is over. */
static bool csv_field(struct csv *c, struct arena *a, str *out)
{
    if (c->is_row_over)
        return false;
    if (c->rest.len && c->rest.ptr[0] == '"') {
        char *text = arena_try(a, c->rest.len > 65536 ? 65536 : c->rest.len);
        size_t n = 0, at = 1;
        while (text && at < c->rest.len && n < 65536) {
            if (c->rest.ptr[at] == '"' && !(at + 1 < c->rest.len && c->rest.ptr[at + 1] == '"'))
                break;
            at += c->rest.ptr[at] == '"';
            text[n++] = c->rest.ptr[at++];
        }
        *out = (str){ text, n };
        c->rest = str_from(c->rest, at + 1);
    } else {
        size_t n = 0;
        while (n < c->rest.len && c->rest.ptr[n] != ',' && c->rest.ptr[n] != '\n' && c->rest.ptr[n] != '\r')
            n++;
        *out = str_upto(c->rest, n);
        c->rest = str_from(c->rest, n);
    }
    if (c->rest.len && c->rest.ptr[0] == ',') {
        c->rest = str_from(c->rest, 1);
        return true;
    }
    while (c->rest.len && c->rest.ptr[0] != '\n')       /* \r, and what stands behind a closing quote */
        c->rest = str_from(c->rest, 1);
    c->is_row_over = true;
    return true;
}

static bool csv_row(struct csv *c)      /* false: the file is over */
{
    if (c->line++)
        c->rest = str_from(c->rest, c->rest.len && c->rest.ptr[0] == '\n');
    c->is_row_over = c->rest.len == 0;
    return c->rest.len > 0;
}

/* Fast path of numbers: digits, a point, an exponent. str_double does the same with more care and in a hundred times the time, on
 * 28 M cells. */
static bool number_read(str s, float *out)
{
    char text[64], *end;
    if (s.len == 0 || s.len >= sizeof text)
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    if (s.len == 1 && text[0] >= '0' && text[0] <= '9') {
        *out = (float)(text[0] - '0');
        return true;
    }
    *out = strtof(text, &end);
    return end == text + s.len && isfinite(*out);
}

/* ---- a folder ---- */

static uint64_t question_hash(str text)     /* of its letters and digits, lower-cased: spacing and punctuation do not make a new
                                             * question */
{
    uint64_t h = 14695981039346656037ull;
    bool is_word = false;
    for (size_t at = 0; at < text.len;) {
        uint32_t code = utf8_next(text, &at);
        bool is_letter = code >= 0x80 || utf8_ascii_alnum((unsigned char)code);
        if (!is_letter) {
            is_word = false;
            continue;
        }
        if (!is_word)
            h = (h ^ ' ') * 1099511628211ull;
        is_word = true;
        h = (h ^ utf8_lower(code)) * 1099511628211ull;
    }
    return h;
}

static int queries_read(struct outcomes *o, const char *folder, struct map *by_id, struct err *e)
{
    str all;
    const char *path;
    int rc = file_read(o->a, folder, "queries.jsonl", &all, &path, e);
    if (rc <= 0)
        return rc < 0 ? -1 : err_set(e, "%s: there is no queries.jsonl[.gz] in it", folder);
    uint32_t lines = 1;
    for (size_t i = 0; i < all.len; i++)
        lines += all.ptr[i] == '\n';
    if (lines > QUERIES_MAX)
        return err_set(e, "%s: more than %d queries", path, QUERIES_MAX);
    o->qid = ARENA_ARRAY(o->a, str, lines);
    o->task = ARENA_ARRAY(o->a, str, lines);
    o->text = ARENA_ARRAY(o->a, str, lines);
    struct map tasks = { .a = o->a };
    struct arena *a = NULL;
    for (uint32_t line = 1; all.len; line++) {
        str row = str_trim(str_cut(&all, '\n'));
        if (row.len == 0)
            continue;
        if (line % 256 == 1 || !a) {
            arena_free(a);
            a = arena_new();
        }
        struct json j;
        struct json_error je;
        if (!a || json_parse(a, row, &j, &je) < 0 || !json_is(&j, 0, JSON_OBJECT)) {
            arena_free(a);
            return err_set(e, "%s:%u: %s", path, line, a ? "this is no JSON object" : "no memory");
        }
        str qid = arena_str(o->a, json_str(&j, json_get(&j, 0, S("qid")), a)), task = json_str(&j, json_get(&j, 0, S("task")), a);
        if (qid.len == 0 || map_has(by_id, qid)) {
            arena_free(a);
            return err_set(e, "%s:%u: %s", path, line, qid.len ? "this qid has been there before" : "no qid");
        }
        str *known = map_get(&tasks, task);
        if (!known) {
            known = ARENA_NEW(o->a, str);
            *known = arena_str(o->a, task);
            map_put(&tasks, *known, known);
        }
        o->qid[o->n] = qid;
        o->task[o->n] = *known;
        o->text[o->n] = arena_str(o->a, json_str(&j, json_get(&j, 0, S("text")), a));
        map_put(by_id, qid, (void *)(uintptr_t)++o->n);
    }
    arena_free(a);
    o->tasks = ARENA_ARRAY(o->a, str, tasks.n);
    for (size_t i = 0; i < tasks.n; i++)
        o->tasks[o->n_tasks++] = tasks.entries[i].key;
    return o->n ? 0 : err_set(e, "%s: no queries", path);
}

/* One table. The first one read says which models there are. 1, 0: no such file, -1 and *e. */
static int table_read(struct outcomes *o, const char *folder, const char *name, struct map *by_id, float **out, struct err *e)
{
    str all, field;
    const char *path;
    char file[64];
    snprintf(file, sizeof file, "%s.csv", name);
    int rc = file_read(o->a, folder, file, &all, &path, e);
    if (rc <= 0)
        return rc;
    struct csv c = { .rest = all };
    uint32_t skip = 0, n_columns = 0, *column = ARENA_ARRAY(o->a, uint32_t, LEARNER_MODELS_MAX);
    bool is_first = o->models == NULL;
    if (is_first)
        o->models = ARENA_ARRAY(o->a, str, LEARNER_MODELS_MAX);
    for (csv_row(&c); csv_field(&c, o->a, &field);) {
        if (n_columns == 0 && (str_eq(field, S("qid")) || str_eq(field, S("task")))) {
            skip++;
            continue;
        }
        uint32_t m = 0;
        while (m < o->n_models && !str_eq(o->models[m], field))
            m++;
        if (n_columns == LEARNER_MODELS_MAX || (m == o->n_models && o->n_models == LEARNER_MODELS_MAX))
            return err_set(e, "%s: more than %d models", path, LEARNER_MODELS_MAX);
        if (m == o->n_models && is_first)
            o->models[o->n_models++] = arena_str(o->a, field);
        column[n_columns++] = m < o->n_models ? m : UINT32_MAX;         /* costs of a model without scores: not read */
    }
    if (skip == 0 || n_columns == 0)
        return err_set(e, "%s: the first line must be qid,task and the models", path);
    if ((uint64_t)o->n * o->n_models > CELLS_MAX)
        return err_set(e, "%s: %u queries by %u models are too many", path, o->n, o->n_models);
    size_t cells = (size_t)o->n * o->n_models;
    *out = ARENA_ARRAY(o->a, float, cells);
    for (size_t i = 0; i < (size_t)o->n * o->n_models; i++)
        (*out)[i] = NAN;
    while (csv_row(&c)) {
        str qid;
        if (!csv_field(&c, o->a, &qid) || qid.len == 0)
            continue;
        uintptr_t at = (uintptr_t)map_get(by_id, qid);
        if (!at)
            return err_set(e, "%s:%u: no query has the qid " STR_FMT, path, c.line, STR_ARG(qid));
        for (uint32_t i = 1; i < skip; i++)
            csv_field(&c, o->a, &field);
        float *row = *out + (at - 1) * o->n_models, v;
        for (uint32_t i = 0; csv_field(&c, o->a, &field); i++) {
            if (i >= n_columns)
                return err_set(e, "%s:%u: more fields than the first line has", path, c.line);
            if (field.len == 0 || column[i] == UINT32_MAX)
                continue;
            if (!number_read(field, &v))
                return err_set(e, "%s:%u: '" STR_FMT "' is no number", path, c.line, STR_ARG(field));
            row[column[i]] = v;
        }
    }
    return 1;
}

static void model_drop(struct outcomes *o, uint32_t m)
{
    float **tables[] = { &o->quality, &o->cost_usd, &o->out_tokens, &o->latency_s };
    for (size_t t = 0; t < COUNT_OF(tables); t++) {
        float *v = *tables[t];
        for (size_t i = 0, to = 0; v && i < (size_t)o->n * o->n_models; i++)
            if (i % o->n_models != m)
                v[to++] = v[i];
    }
    memmove(&o->models[m], &o->models[m + 1], (o->n_models - m - 1) * sizeof *o->models);
    o->n_models--;
}

/* Where costs are known, a model whose costs are not has no place on a frontier. */
static void costless_drop(struct outcomes *o)
{
    for (uint32_t m = o->n_models; m-- > 0;) {
        uint32_t known = 0;
        for (uint32_t i = 0; i < o->n; i++)
            known += !isnan(o->cost_usd[(size_t)i * o->n_models + m]);
        if (known < COSTS_MIN * o->n) {
            *PUSH(o->a, o->dropped, o->n_dropped) = o->models[m];
            model_drop(o, m);
        }
    }
}

/* A model whose answers are of one length whatever was asked gives one answer: it is not routed to, it games a judge. Short
 * answers (a letter, a number) are of one length honestly. */
static void constant_drop(struct outcomes *o)
{
    for (uint32_t m = o->n_models; m-- > 0 && o->n_models > 1;) {
        uint32_t n = 0, same = 0;
        float first = NAN;
        for (uint32_t i = 0; i < o->n; i++) {
            float length = o->out_tokens[(size_t)i * o->n_models + m];
            if (isnan(length))
                continue;
            first = isnan(first) ? length : first;
            same += length == first;
            n++;
        }
        if (n >= CONSTANT_MIN && same >= COSTS_MIN * n && first >= CONSTANT_TOKENS) {
            *PUSH(o->a, o->constant, o->n_constant) = o->models[m];
            model_drop(o, m);
        }
    }
}

int outcomes_read(struct outcomes *o, struct arena *a, const char *folder, bool keep_costless, struct err *e)
{
    *o = (struct outcomes){ .a = a };
    struct map by_id = { .a = a };
    str path = str_of(folder);
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    size_t slash = path.len;
    while (slash > 0 && path.ptr[slash - 1] != '/')
        slash--;
    o->name = str_from(path, slash);
    if (queries_read(o, folder, &by_id, e) < 0)
        return -1;
    int rc = table_read(o, folder, "scores", &by_id, &o->quality, e);
    if (rc <= 0)
        return rc < 0 ? -1 : err_set(e, "%s: there is no scores.csv[.gz] in it", folder);
    if (table_read(o, folder, "costs", &by_id, &o->cost_usd, e) < 0 || (rc =
                                                                        table_read(o, folder, "outtok", &by_id, &o->out_tokens,
                                                                                   e)) < 0 ||
        table_read(o, folder, "latency", &by_id, &o->latency_s, e) < 0)
        return -1;
    if (rc == 0) {
        if (table_read(o, folder, "outchars", &by_id, &o->out_tokens, e) < 0)
            return -1;
        for (size_t i = 0; o->out_tokens && i < (size_t)o->n * o->n_models; i++)
            o->out_tokens[i] /= 4;      /* a token is about four characters */
    }
    if (o->out_tokens)
        constant_drop(o);
    o->scale = 1;                       /* judges give marks up to 10 or 100 as well */
    for (size_t i = 0; i < (size_t)o->n * o->n_models; i++) {
        if (o->quality[i] < 0 || o->quality[i] > 100)
            return err_set(e, "%s: scores must lie between 0 and 1, 10 or 100; " STR_FMT " has %g", folder,
                           STR_ARG(o->qid[i / o->n_models]),
                           (double)o->quality[i]);
        o->scale = o->quality[i] > 10 ? 100 : o->quality[i] > 1 && o->scale < 10 ? 10 : o->scale;
    }
    for (size_t i = 0; o->scale > 1 && i < (size_t)o->n * o->n_models; i++)
        o->quality[i] /= o->scale;
    if (o->cost_usd && !keep_costless)
        costless_drop(o);
    if (o->n_models < 1)
        return err_set(e, "%s: no model has both scores and costs", folder);
    o->x = ARENA_ARRAY(a, struct features, o->n);
    o->query = ARENA_ARRAY(a, uint64_t, o->n);
    for (uint32_t i = 0; i < o->n; i++) {
        features_read(&o->x[i], a, o->text[i]);
        o->x[i].kind = o->task[i];
        o->has_text |= o->text[i].len > 0;
        o->query[i] = o->text[i].len ? question_hash(o->text[i]) : hash_stable(o->qid[i], 0);
    }
    return arena_exhausted(a) ? err_set(e, "no memory for %s", folder) : 0;
}

struct recorded outcomes_recorded(const struct outcomes *o)
{
    return (struct recorded){ .x = o->x, .n = o->n, .query = o->query, .models = o->models, .n_models = o->n_models, .quality =
                              o->quality,
                              .cost_usd = o->cost_usd, .out_tokens = o->out_tokens, .latency_s = o->latency_s };
}

uint32_t outcomes_model(const struct outcomes *o, str name)
{
    for (uint32_t m = 0; m < o->n_models; m++)
        if (str_eq(o->models[m], name))
            return m;
    return UINT32_MAX;
}

struct question { uint64_t hash; uint32_t row; };

static int by_hash(const void *a, const void *b)
{
    const struct question *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash ? 1 : x->row < y->row ? -1 : x->row > y->row;
}

void outcomes_deal(const struct outcomes *o, uint32_t n, uint64_t seed, uint32_t *fold)
{
    struct arena *a = arena_new();
    struct question *q = ARENA_ARRAY(a, struct question, o->n);
    for (uint32_t i = 0; i < o->n; i++)
        q[i] = (struct question){ hash_mix(o->query[i] ^ seed * 0x9e3779b97f4a7c15ull), i };
    qsort(q, o->n, sizeof *q, by_hash);         /* the hash is the shuffle; equal questions stand together */
    uint32_t at = 0;
    for (uint32_t i = 0; i < o->n; i++) {
        at += i > 0 && q[i].hash != q[i - 1].hash;
        fold[q[i].row] = at % n;
    }
    arena_free(a);
}

float *outcomes_vectors(struct arena *a, const str *texts, uint32_t n, const char *config, const char *command, uint32_t *dim)
{
    struct models *models = cli_models(a, config, command);
    const struct need_source *source = models ? models_source(models, NEED_EMBEDDING, "embedding", S("")) : NULL;
    if (source && source->why_absent)
        cli_models_tell(models, command);
    float *v = source && !source->why_absent ? texts_vectors(texts, n, source, command) : NULL;
    if (v)
        arena_defer(a, free, v);
    *dim = v ? source->dim : 0;
    return v;
}
