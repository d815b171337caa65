/* cli/evaluate.c -- `evaluate signals`: how good a signal's model is on labelled rows that it was not made from.
 *
 * Two-class signals: AUC, recall at 1 % false alarms, accuracy at 0.5 and at the head's own threshold, with bootstrap intervals, by
 * source. Several classes: accuracy, and precision and recall of each. pii: spans found, by type. As a table, as JSON, or as a page with
 * curves. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "cli/cli.h"
#include "cli/learn.h"
#include "cli/report.h"
#include "cli/rows.h"
#include "neural/quality.h"
#include "pipeline/classify.h"

enum { DRAWS = 400, CLASSES_MAX = 256, SOURCES_MAX = 4096, TYPES_MAX = 128, CURVE_POINTS = 400, BINS = 10 };

struct verdict { float score; int32_t label, said; uint32_t source; };  /* label: truth; said: class; -1: none */

struct tally { str type; uint32_t hit, missed, wrong; };        /* spans of a type */

struct evaluation {
    struct arena *a;
    str signal;
    struct verdict *rows; uint32_t n, unknown;
    str *sources; uint32_t n_sources;
    str *classes; uint32_t n_classes;   /* as the data and the model spell them */
    struct tally *types; uint32_t n_types;
    bool is_binary;
    str positive;                       /* the model's label for 1 */
    double ms;                          /* a row */
};

static uint32_t index_of(struct arena *a, str **list, uint32_t *n, str name)
{
    for (uint32_t i = 0; i < *n; i++)
        if (str_ieq((*list)[i], name))
            return i;
    *PUSH(a, *list, *n) = arena_str(a, name);
    return *n - 1;
}

/* ---- spans ---- */

struct truth { uint32_t from, to; str type; };

/* The data's types in the words of v0.3. */
static str type_name(str t)
{
    static const struct { const char *from, *to; } table[] = {
        { "EMAIL", "EMAIL_ADDRESS" }, { "PHONE", "PHONE_NUMBER" }, { "ADDRESS", "STREET_ADDRESS" }, { "ZIP", "ZIP_CODE" },
        { "IBAN", "IBAN_CODE" }, { "SSN", "US_SSN" }, { "IP", "IP_ADDRESS" }, { "DOB", "DATE_OF_BIRTH" }, { "ACCOUNT", "ACCOUNT_NUMBER" },
        { "DRIVER_LICENSE", "US_DRIVER_LICENSE" }, { "ORG", "ORGANIZATION" }, { "LOCATION", "GPE" }, { "DATE", "DATE_TIME" },
        { "URL", "DOMAIN_NAME" }, { "PER", "PERSON" }, { "LOC", "GPE" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_ieq(t, str_of(table[i].from)))
            return str_of(table[i].to);
    return t;
}

static struct tally *tally_of(struct evaluation *ev, str type)
{
    for (uint32_t i = 0; i < ev->n_types; i++)
        if (str_ieq(ev->types[i].type, type))
            return &ev->types[i];
    struct tally *t = PUSH(ev->a, ev->types, ev->n_types);
    t->type = arena_str(ev->a, type);
    return t;
}

/* A found span counts for a true one of the same type that it overlaps by more than half of both. */
static bool is_same(const struct truth *t, const struct found_span *f)
{
    uint32_t from = t->from > f->from ? t->from : f->from, to = t->to < f->to ? t->to : f->to;
    uint32_t longer = t->to - t->from > f->to - f->from ? t->to - t->from : f->to - f->from;
    return from < to && 2 * (to - from) > longer && str_ieq(t->type, type_name(f->type));
}

static void spans_count(struct evaluation *ev, const struct row *row, const struct classification *c, float threshold, struct arena *a)
{
    jref list = json_get(&row->json, 0, S("spans"));
    struct truth *truths = NULL;
    uint32_t n = 0;
    if (json_is(&row->json, list, JSON_ARRAY))
        JSON_EACH_ITEM(&row->json, list, item) {
            int64_t from = 0, to = 0;
            json_int(&row->json, json_get(&row->json, item, S("start")), &from);
            json_int(&row->json, json_get(&row->json, item, S("end")), &to);
            *PUSH(a, truths, n) = (struct truth){ (uint32_t)from, (uint32_t)to, type_name(json_str(&row->json, json_get(&row->json, item, S("type")), a)) };
        }
    /* Spans count bytes of the text as written; the signal reads it without white space at its ends. */
    str text = json_str(&row->json, json_get(&row->json, 0, S("text")), a);
    uint32_t shift = 0;
    while (shift < text.len && row->text.len && text.ptr[shift] != row->text.ptr[0])
        shift++;
    bool *is_used = ARENA_ARRAY(a, bool, n);
    for (uint32_t i = 0; i < c->n_spans; i++) {
        struct found_span f = c->spans[i];
        if (f.score < threshold)
            continue;
        f.from += shift, f.to += shift;
        uint32_t k = 0;
        while (k < n && (is_used[k] || !is_same(&truths[k], &f)))
            k++;
        if (k < n)
            is_used[k] = true;
        struct tally *t = tally_of(ev, type_name(f.type));
        t->hit += k < n;
        t->wrong += k == n;
    }
    for (uint32_t k = 0; k < n; k++)
        tally_of(ev, truths[k].type)->missed += !is_used[k];
}

/* ---- reading and scoring ---- */

static int32_t class_of(struct evaluation *ev, str label)
{
    return (int32_t)index_of(ev->a, &ev->classes, &ev->n_classes, label);
}

static void row_score(struct evaluation *ev, const struct row *row, const struct classification *c)
{
    struct verdict *v = PUSH(ev->a, ev->rows, ev->n);
    bool is_one = str_eq(row->label, S("1")) || str_eq(row->label, S("true"));
    v->source = index_of(ev->a, &ev->sources, &ev->n_sources, row->source);
    if (ev->is_binary) {
        v->label = is_one;
        v->score = learn_score(c, ev->positive);
        v->said = v->score >= 0.5f;
    } else {
        v->label = class_of(ev, row->label);
        v->said = class_of(ev, c->label);
        v->score = c->score;
    }
}

static int row_take(struct evaluation *ev, const struct row *row, const struct classification *c, float threshold, const char *path,
                    struct arena *a, struct err *e)
{
    bool is_binary = str_eq(row->label, S("0")) || str_eq(row->label, S("1")) || str_eq(row->label, S("true")) || str_eq(row->label, S("false"));
    if (row->label.len == 0)
        return err_set(e, "%s:%llu: this row has no label", path, (unsigned long long)row->line);
    if (c->why) {
        ev->unknown++;
        return 0;
    }
    ev->is_binary = ev->n == 0 ? is_binary : ev->is_binary && is_binary;
    row_score(ev, row, c);
    if (str_eq(ev->signal, S("pii")) && row->is_json)
        spans_count(ev, row, c, threshold, a);
    return 0;
}

static int rows_score(struct evaluation *ev, struct models *m, const char *path, float threshold, struct err *e)
{
    struct rows *rows = rows_open(path, e);
    struct progress progress = progress_start("evaluating");
    uint64_t from = clock_now(), n = 0;
    struct row *list = ARENA_ARRAY(ev->a, struct row, ROWS_AT_ONCE);
    struct classification *said = ARENA_ARRAY(ev->a, struct classification, ROWS_AT_ONCE);
    const struct facts *facts[ROWS_AT_ONCE];
    int rc = rows ? 1 : -1;
    while (rc > 0) {
        struct arena *a = arena_new();
        int taken = rc = rows_take(rows, a, list, e);
        for (int i = 0; i < taken; i++)
            facts[i] = &list[i].facts;
        if (taken > 0)
            classify_many(m, ev->signal, facts, (size_t)taken, NEVER, a, said);
        for (int i = 0; i < taken && rc > 0; i++, n++)
            if (row_take(ev, &list[i], &said[i], threshold, path, a, e) < 0)
                rc = -1;
        progress_show(&progress, rows_share(rows), n);
        arena_free(a);
    }
    progress_end(&progress);
    rows_close(rows);
    ev->ms += n ? (double)(clock_now() - from) / 1e6 / (double)n : 0;
    return rc;
}

/* ---- figures ---- */

static double auc_figure(struct scored *rows, size_t n, void *arg)
{
    (void)arg;
    return quality_auc(rows, n);
}

static double recall_figure(struct scored *rows, size_t n, void *arg)
{
    (void)arg;
    return quality_recall_at(rows, n, 0.01, NULL);
}

struct figures { uint32_t n, n_positive; double auc, recall, precision_area, accuracy; struct interval auc_range, recall_range, accuracy_range; };

static struct figures figures_of(const struct evaluation *ev, int64_t source, struct scored *rows)
{
    struct figures f = { 0 };
    uint32_t right = 0;
    for (uint32_t i = 0; i < ev->n; i++) {
        const struct verdict *v = &ev->rows[i];
        if (source >= 0 && v->source != source)
            continue;
        rows[f.n++] = (struct scored){ v->score, v->label == 1 };
        f.n_positive += v->label == 1;
        right += v->said == v->label;
    }
    f.accuracy = f.n ? (double)right / f.n : (double)NAN;
    f.accuracy_range = quality_share(right, f.n);
    if (ev->is_binary && f.n) {
        f.auc = quality_auc(rows, f.n);
        f.recall = quality_recall_at(rows, f.n, 0.01, NULL);
        f.precision_area = quality_average_precision(rows, f.n);
        f.auc_range = quality_bootstrap(rows, f.n, DRAWS, 1, auc_figure, NULL);
        f.recall_range = quality_bootstrap(rows, f.n, DRAWS, 1, recall_figure, NULL);
    }
    return f;
}

static void figures_text(const struct evaluation *ev, const char *name, const struct figures *f)
{
    printf("  %-24s %7u", name, f->n);
    if (ev->is_binary) {
        printf(" %7u", f->n_positive);
        if (isnan(f->auc))
            printf("  %-22s   %-22s", "(one class only)", "");
        else
            printf("  %.3f (%.3f .. %.3f)   %5.1f %% (%4.1f .. %5.1f)", f->auc, f->auc_range.low, f->auc_range.high, 100 * f->recall,
                   100 * f->recall_range.low, 100 * f->recall_range.high);
    }
    printf("   %.3f (%.3f .. %.3f)\n", f->accuracy, f->accuracy_range.low, f->accuracy_range.high);
}

static void interval_json(struct json_writer *j, const char *key, double value, struct interval r)
{
    char name[64];
    jw_key(j, str_of(key)), jw_double(j, value);
    snprintf(name, sizeof name, "%s_95", key);
    put_open(j, str_of(name), '[');
    jw_double(j, r.low);
    jw_double(j, r.high);
    jw_end(j, ']');
}

static void figures_json(const struct evaluation *ev, str name, const struct figures *f, struct json_writer *j)
{
    jw_begin(j, '{');
    jw_key(j, S("source")), jw_str(j, name);
    jw_key(j, S("rows")), jw_int(j, f->n);
    interval_json(j, "accuracy", f->accuracy, f->accuracy_range);
    if (ev->is_binary) {
        jw_key(j, S("positives")), jw_int(j, f->n_positive);
        interval_json(j, "auc", f->auc, f->auc_range);
        interval_json(j, "recall_at_1_percent", f->recall, f->recall_range);
        jw_key(j, S("average_precision")), jw_double(j, f->precision_area);
    }
    jw_end(j, '}');
}

static double ratio(uint32_t k, uint32_t n)
{
    return n ? (double)k / n : (double)NAN;
}

static double f1_of(const struct tally *t)
{
    return ratio(2 * t->hit, 2 * t->hit + t->missed + t->wrong);
}

static int by_count(const void *a, const void *b)
{
    const struct tally *x = a, *y = b;
    uint32_t m = x->hit + x->missed, n = y->hit + y->missed;
    return m > n ? -1 : m < n;
}

static void table_print(struct evaluation *ev, struct scored *rows)
{
    printf("%.*s on %u rows, %u sources, %.2f ms a row", (int)ev->signal.len, ev->signal.ptr, ev->n, ev->n_sources, ev->ms);
    if (ev->unknown)
        printf("; %u rows got no answer and are not counted", ev->unknown);
    printf("\n  %-24s %7s", "source", "rows");
    if (ev->is_binary)
        printf(" %7s  %-22s   %-22s", "label 1", "AUC (95 %)", "recall at 1 % false");
    printf("   accuracy (95 %%)\n");
    for (uint32_t s = 0; s < ev->n_sources && ev->n_sources > 1; s++) {
        char name[64];
        struct figures f = figures_of(ev, s, rows);
        snprintf(name, sizeof name, STR_FMT, STR_ARG(ev->sources[s]));
        figures_text(ev, name, &f);
    }
    struct figures all = figures_of(ev, -1, rows);
    figures_text(ev, "all", &all);
    if (ev->n_types)
        printf("\n  %-24s %7s %9s %9s %7s\n", "spans", "true", "precision", "recall", "F1");
    for (uint32_t i = 0; i < ev->n_types; i++) {
        const struct tally *t = &ev->types[i];
        printf("  %-24.*s %7u %9.3f %9.3f %7.3f\n", (int)t->type.len, t->type.ptr, t->hit + t->missed, ratio(t->hit, t->hit + t->wrong),
               ratio(t->hit, t->hit + t->missed), f1_of(t));
    }
    for (uint32_t c = 0; c < ev->n_classes && !ev->is_binary; c++) {
        uint32_t said = 0, is = 0, both = 0;
        for (uint32_t i = 0; i < ev->n; i++) {
            said += ev->rows[i].said == (int32_t)c;
            is += ev->rows[i].label == (int32_t)c;
            both += ev->rows[i].said == (int32_t)c && ev->rows[i].label == (int32_t)c;
        }
        if (c == 0)
            printf("\n  %-24s %7s %9s %9s\n", "class", "rows", "precision", "recall");
        printf("  %-24.*s %7u %9.3f %9.3f\n", (int)ev->classes[c].len, ev->classes[c].ptr, is, ratio(both, said), ratio(both, is));
    }
}

static void json_print(struct evaluation *ev, struct scored *rows)
{
    struct buf out = { 0 };
    struct json_writer j = { .out = &out };
    struct figures all = figures_of(ev, -1, rows);
    jw_begin(&j, '{');
    jw_key(&j, S("signal")), jw_str(&j, ev->signal);
    jw_key(&j, S("unknown")), jw_int(&j, ev->unknown);
    jw_key(&j, S("ms_per_row")), jw_double(&j, ev->ms);
    jw_key(&j, S("all"));
    figures_json(ev, S("all"), &all, &j);
    put_open(&j, S("sources"), '[');
    for (uint32_t s = 0; s < ev->n_sources; s++) {
        struct figures f = figures_of(ev, s, rows);
        figures_json(ev, ev->sources[s], &f, &j);
    }
    jw_end(&j, ']');
    put_open(&j, S("spans"), '[');
    for (uint32_t i = 0; i < ev->n_types; i++) {
        const struct tally *t = &ev->types[i];
        jw_begin(&j, '{');
        jw_key(&j, S("type")), jw_str(&j, t->type);
        jw_key(&j, S("true")), jw_int(&j, t->hit + t->missed);
        jw_key(&j, S("precision")), jw_double(&j, ratio(t->hit, t->hit + t->wrong));
        jw_key(&j, S("recall")), jw_double(&j, ratio(t->hit, t->hit + t->missed));
        jw_key(&j, S("f1")), jw_double(&j, f1_of(t));
        jw_end(&j, '}');
    }
    jw_end(&j, ']');
    jw_end(&j, '}');
    buf_char(&out, '\n');
    cli_put(stdout, buf_view(&out));
    buf_free(&out);
}

/* ---- the page ---- */

static void page_curve(struct buf *page, const struct evaluation *ev, int64_t source, const char *name, struct scored *rows)
{
    static struct curve_point points[CURVE_POINTS];
    struct figures f = figures_of(ev, source, rows);
    size_t n = isnan(f.auc) ? 0 : quality_curve(rows, f.n, points, CURVE_POINTS);
    float x[CURVE_POINTS], y[CURVE_POINTS];
    for (size_t i = 0; i < n; i++)
        x[i] = points[i].false_positive_rate, y[i] = points[i].true_positive_rate;
    if (n)
        report_line(page, x, y, n, name);
}

static int page_write(struct evaluation *ev, struct scored *rows, const char *path, struct err *e)
{
    struct buf page = { 0 };
    char name[64];
    report_begin(&page, arena_printf(ev->a, "Signal " STR_FMT ": quality on %u rows", STR_ARG(ev->signal), ev->n));
    if (ev->is_binary) {
        report_chart_begin(&page, "ROC curve", "false positive rate", "true positive rate");
        for (uint32_t s = 0; s < ev->n_sources && ev->n_sources > 1; s++) {
            snprintf(name, sizeof name, STR_FMT, STR_ARG(ev->sources[s]));
            page_curve(&page, ev, s, name, rows);
        }
        page_curve(&page, ev, -1, "all", rows);
        report_chart_end(&page);
        struct bin bins[BINS];
        struct figures f = figures_of(ev, -1, rows);
        double error = quality_reliability(rows, f.n, bins, BINS);
        float x[BINS], y[BINS];
        size_t n = 0;
        for (size_t b = 0; b < BINS; b++)
            if (bins[b].n)
                x[n] = (float)bins[b].mean_score, y[n++] = (float)bins[b].share_positive;
        report_chart_begin(&page, "Reliability", "probability that was given", "share that was positive");
        report_diagonal(&page);
        snprintf(name, sizeof name, "expected calibration error %.3f", error);
        report_line(&page, x, y, n, name);
        report_chart_end(&page);
    }
    static const char *const two[] = { "source", "rows", "label 1", "AUC", "95 %", "recall at 1 % false", "95 %", "accuracy", NULL };
    static const char *const many[] = { "source", "rows", "accuracy", "95 %", NULL };
    report_table_begin(&page, ev->is_binary ? two : many);
    for (int64_t s = 0; s <= (int64_t)ev->n_sources; s++) {
        bool is_all = s == (int64_t)ev->n_sources;
        struct figures f = figures_of(ev, is_all ? -1 : s, rows);
        report_row_begin(&page);
        report_cell(&page, STR_FMT, STR_ARG(is_all ? S("all") : ev->sources[s]));
        report_cell(&page, "%u", f.n);
        if (ev->is_binary) {
            report_cell(&page, "%u", f.n_positive);
            report_cell(&page, isnan(f.auc) ? "-" : "%.3f", f.auc);
            report_cell(&page, isnan(f.auc) ? "-" : "%.3f .. %.3f", f.auc_range.low, f.auc_range.high);
            report_cell(&page, isnan(f.auc) ? "-" : "%.1f %%", 100 * f.recall);
            report_cell(&page, isnan(f.auc) ? "-" : "%.1f .. %.1f", 100 * f.recall_range.low, 100 * f.recall_range.high);
        }
        report_cell(&page, "%.3f", f.accuracy);
        if (!ev->is_binary)
            report_cell(&page, "%.3f .. %.3f", f.accuracy_range.low, f.accuracy_range.high);
        report_row_end(&page);
    }
    report_table_end(&page);
    static const char *const spans[] = { "type", "true spans", "precision", "recall", "F1", NULL };
    if (ev->n_types)
        report_table_begin(&page, spans);
    for (uint32_t i = 0; i < ev->n_types; i++) {
        const struct tally *t = &ev->types[i];
        report_row_begin(&page);
        report_cell(&page, STR_FMT, STR_ARG(t->type));
        report_cell(&page, "%u", t->hit + t->missed);
        report_cell(&page, "%.3f", ratio(t->hit, t->hit + t->wrong));
        report_cell(&page, "%.3f", ratio(t->hit, t->hit + t->missed));
        report_cell(&page, "%.3f", f1_of(t));
        report_row_end(&page);
    }
    if (ev->n_types)
        report_table_end(&page);
    int rc = report_end(&page, path, e);
    buf_free(&page);
    return rc;
}

/* ---- the command ---- */

int cli_evaluate(int argc, char **argv)
{
    enum { FILES_MAX = 64 };
    if (argc >= 2 && strcmp(argv[1], "selection") == 0)
        return cli_evaluate_selection(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "newcomer") == 0)
        return cli_evaluate_newcomer(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "online") == 0)
        return cli_evaluate_online(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "budget") == 0)
        return cli_evaluate_budget(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "policy") == 0)
        return cli_evaluate_policy(argc - 1, argv + 1);
    if (argc >= 2 && str_starts(str_of(argv[1]), S("--policy")) && !str_starts(str_of(argv[1]), S("--policies")))
        return cli_evaluate_policy(argc, argv);
    if (argc < 2 || strcmp(argv[1], "signals") != 0) {
        if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
            command_help(command_find(S("evaluate")), stdout);
            return CLI_FINE;
        }
        return cli_usage_error("evaluate", "say what to evaluate: signals, selection, online, budget, newcomer or policy");
    }
    struct cli_args args = cli_args_start("evaluate", argc - 1, argv + 1);
    const char *config = NULL, *signal = NULL, *page = NULL, *head = NULL, *files[FILES_MAX];
    size_t n_files = 0;
    double threshold = 0.5;
    bool as_json = false;
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'c': config = args.value; break;
        case 's': signal = args.value; break;
        case 'h': head = args.value; break;
        case 'H': page = args.value; break;
        case 'j': as_json = true; break;
        case 't':
            if (!str_double(str_of(args.value), &threshold))
                return cli_usage_error("evaluate", "--threshold wants a number, not '%s'", args.value);
            break;
        case 'd':
            if (n_files == FILES_MAX)
                return cli_usage_error("evaluate", "at most %d files", FILES_MAX);
            files[n_files++] = args.value;
            break;
        case CLI_WORD: return cli_usage_error("evaluate", "what is '%s'? Files are given with --data", args.value);
        default: return CLI_USAGE;
        }
    }
    if (!signal || !classify_knows(str_of(signal)) || !n_files)
        return cli_usage_error("evaluate", "--signal (one of %s) and --data FILE are needed", classify_names());
    struct arena *a = arena_new();
    struct models *models = cli_models(a, config, "evaluate");
    struct evaluation ev = { .a = a, .signal = str_of(signal) };
    struct err e = { 0 };
    int rc = models ? 0 : -1;
    if (models && head)
        models_use_head(models, signal, str_of(head));
    ev.positive = learn_positive(ev.signal);
    for (size_t i = 0; i < n_files && rc >= 0; i++)
        rc = rows_score(&ev, models, files[i], (float)threshold, &e);
    struct scored *rows = malloc((ev.n + 1) * sizeof *rows);
    if (ev.n_types)
        qsort(ev.types, ev.n_types, sizeof *ev.types, by_count);
    if (rc >= 0 && ev.n == 0) {
        rc = err_set(&e, "no row got an answer");
        cli_models_tell(models, "evaluate");
    } else if (rc >= 0 && as_json) {
        json_print(&ev, rows);
    } else if (rc >= 0) {
        table_print(&ev, rows);
    }
    if (rc >= 0 && page && (rc = page_write(&ev, rows, page, &e)) == 0 && !as_json)
        printf("written: %s\n", page);
    if (e.text[0])
        fprintf(stderr, "signalbox evaluate: %s\n", e.text);
    free(rows);
    arena_free(a);
    return rc < 0 ? CLI_USAGE : CLI_FINE;
}
