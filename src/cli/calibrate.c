/* cli/calibrate.c -- which threshold gives so many false alarms, and what do its probabilities mean?
 *
 * Scores labelled rows that the model was not made from, finds the lowest threshold whose rate of false alarms stays within the wanted
 * one, and says how sure that rate is (Wilson 95 %) and what recall is left. With --write the threshold goes into the head's card, where
 * `--json` of train and the card show it. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "cli/cli.h"
#include "cli/learn.h"
#include "cli/report.h"
#include "neural/quality.h"

enum { FILES_MAX = 64, BINS = 10, CURVE_POINTS = 400 };

struct wish {
    const char *signal, *head, *config, *page, *files[FILES_MAX]; size_t n_files;
    double rate;
    bool as_json, writes;
};

struct result {
    struct scored *rows; uint32_t n, unknown, negatives, alarms;
    float threshold;
    double recall, error;
    struct interval range;
    struct bin bins[BINS];
};

static int row_take(struct result *r, const char *path, const struct row *row, const struct classification *c, str positive,
                    struct arena *kept, struct err *e)
{
    bool is_one = str_eq(row->label, S("1")) || str_eq(row->label, S("true"));
    if (!is_one && !str_eq(row->label, S("0")) && !str_eq(row->label, S("false")))
        return err_set(e, "%s:%llu: calibration needs labels 0 and 1", path, (unsigned long long)row->line);
    if (c->why) {
        r->unknown++;
        return 0;
    }
    *PUSH(kept, r->rows, r->n) = (struct scored){ learn_score(c, positive), is_one };
    r->negatives += !is_one;
    return 0;
}

static int rows_score(struct models *m, const struct wish *w, struct arena *kept, struct result *r, struct err *e)
{
    struct progress progress = progress_start("scoring");
    str positive = learn_positive(str_of(w->signal));
    int rc = 1;
    for (size_t i = 0; i < w->n_files && rc >= 0; i++) {
        struct rows *rows = rows_open(w->files[i], e);
        rc = rows ? 1 : -1;
        while (rc > 0) {
            struct arena *a = arena_new();
            struct row *list = ARENA_ARRAY(a, struct row, ROWS_AT_ONCE);
            struct classification *said = ARENA_ARRAY(a, struct classification, ROWS_AT_ONCE);
            const struct facts *facts[ROWS_AT_ONCE];
            int n = rc = rows_take(rows, a, list, e);
            for (int k = 0; k < n; k++)
                facts[k] = &list[k].facts;
            if (n > 0)
                classify_many(m, str_of(w->signal), facts, (size_t)n, NEVER, a, said);
            for (int k = 0; k < n && rc > 0; k++)
                rc = row_take(r, w->files[i], &list[k], &said[k], positive, kept, e) < 0 ? -1 : rc;
            arena_free(a);
            progress_show(&progress, rows_share(rows), r->n);
        }
        rows_close(rows);
    }
    progress_end(&progress);
    return rc;
}

static int result_make(struct result *r, const struct wish *w, struct err *e)
{
    if (isnan(quality_auc(r->rows, r->n)))
        return err_set(e, "%u rows with an answer, %u of them with label 0: both labels are needed", r->n, r->negatives);
    r->recall = quality_recall_at(r->rows, r->n, w->rate, &r->threshold);
    for (uint32_t i = 0; i < r->n; i++)
        r->alarms += !r->rows[i].is_positive && r->rows[i].score >= r->threshold;
    r->range = quality_share(r->alarms, r->negatives);
    r->error = quality_reliability(r->rows, r->n, r->bins, BINS);
    return 0;
}

static void result_print(const struct result *r, const struct wish *w)
{
    printf("%s: threshold %.6g for at most %g %% false alarms\n", w->signal, (double)r->threshold, 100 * w->rate);
    printf("  false alarms %.2f %% (95 %%: %.2f .. %.2f), %u of %u rows with label 0\n  recall %.1f %%\n", 100.0 * r->alarms / r->negatives,
           100 * r->range.low, 100 * r->range.high, r->alarms, r->negatives, 100 * r->recall);
    if (r->unknown)
        printf("  %u rows got no answer and are not counted\n", r->unknown);
    if (100.0 / r->negatives > 100 * w->rate)
        printf("  too few rows with label 0 to tell rates below %.2f %%\n", 100.0 / r->negatives);
    printf("  expected calibration error %.3f\n  %-14s %7s %12s %14s\n", r->error, "probability", "rows", "mean given", "were positive");
    for (unsigned b = 0; b < BINS; b++)
        if (r->bins[b].n)
            printf("  %.1f .. %.1f     %7zu %12.3f %14.3f\n", b / (double)BINS, (b + 1) / (double)BINS, r->bins[b].n, r->bins[b].mean_score,
                   r->bins[b].share_positive);
}

static void result_json(const struct result *r, const struct wish *w)
{
    struct buf out = { 0 };
    struct json_writer j = { .out = &out };
    jw_begin(&j, '{');
    jw_key(&j, S("signal")), jw_str(&j, str_of(w->signal));
    jw_key(&j, S("threshold")), jw_float(&j, r->threshold);
    jw_key(&j, S("wanted_false_alarm_rate")), jw_double(&j, w->rate);
    jw_key(&j, S("false_alarm_rate")), jw_double(&j, (double)r->alarms / r->negatives);
    put_open(&j, S("false_alarm_rate_95"), '[');
    jw_double(&j, r->range.low);
    jw_double(&j, r->range.high);
    jw_end(&j, ']');
    jw_key(&j, S("recall")), jw_double(&j, r->recall);
    jw_key(&j, S("rows")), jw_int(&j, r->n);
    jw_key(&j, S("unknown")), jw_int(&j, r->unknown);
    jw_key(&j, S("calibration_error")), jw_double(&j, r->error);
    jw_end(&j, '}');
    buf_char(&out, '\n');
    cli_put(stdout, buf_view(&out));
    buf_free(&out);
}

static int page_write(const struct result *r, const struct wish *w, struct arena *a, struct err *e)
{
    static struct curve_point points[CURVE_POINTS];
    float x[CURVE_POINTS], y[CURVE_POINTS];
    struct buf page = { 0 };
    size_t n = quality_curve(r->rows, r->n, points, CURVE_POINTS), k = 0;
    for (size_t i = 0; i < n; i++)
        x[i] = points[i].false_positive_rate, y[i] = points[i].true_positive_rate;
    report_begin(&page, arena_printf(a, "Signal %s: calibration on %u rows", w->signal, r->n));
    report_text(&page, "Threshold %.6g: %.2f %% false alarms (95 %%: %.2f .. %.2f), recall %.1f %%.", (double)r->threshold,
                100.0 * r->alarms / r->negatives, 100 * r->range.low, 100 * r->range.high, 100 * r->recall);
    report_chart_begin(&page, "ROC curve", "false positive rate", "true positive rate");
    report_line(&page, x, y, n, w->signal);
    report_mark(&page, (float)r->alarms / (float)r->negatives, (float)r->recall, "threshold");
    report_chart_end(&page);
    for (unsigned b = 0; b < BINS; b++)
        if (r->bins[b].n)
            x[k] = (float)r->bins[b].mean_score, y[k++] = (float)r->bins[b].share_positive;
    report_chart_begin(&page, "Reliability", "probability that was given", "share that was positive");
    report_diagonal(&page);
    report_line(&page, x, y, k, arena_printf(a, "expected calibration error %.3f", r->error).ptr);
    report_chart_end(&page);
    int rc = report_end(&page, w->page, e);
    buf_free(&page);
    return rc;
}

/* The card with this rate's threshold among the others, in the order of the rates. */
static int head_keep(const struct result *r, const struct wish *w, const char *path, struct arena *a, struct err *e)
{
    struct head *h = head_open(path, e);
    if (!h)
        return -1;
    uint32_t at = 0;
    while (at < h->n_thresholds && (double)h->thresholds[at].false_alarm_rate < w->rate - 1e-9)
        at++;
    bool is_known = at < h->n_thresholds && fabs((double)h->thresholds[at].false_alarm_rate - w->rate) < 1e-9;
    int rc = 0;
    if (!is_known && h->n_thresholds == HEAD_THRESHOLDS_MAX)
        rc = err_set(e, "%s: a head keeps at most %d thresholds", path, HEAD_THRESHOLDS_MAX);
    if (!is_known && rc == 0) {
        memmove(&h->thresholds[at + 1], &h->thresholds[at], (h->n_thresholds - at) * sizeof *h->thresholds);
        h->n_thresholds++;
    }
    struct buf list = { 0 }, card = { 0 };
    if (rc == 0) {
        h->thresholds[at] = (struct head_threshold){ (float)w->rate, r->threshold, (float)r->range.low, (float)r->range.high };
        struct json_writer j = { .out = &list };
        head_thresholds_json(h, &j);
        struct json card_json;
        struct json_error je;
        struct json_edits edits = { .a = a };
        json_parse(a, h->card, &card_json, &je);        /* head_open has read it */
        json_edit_set(&edits, &card_json, 0, S("thresholds"), buf_view(&list));
        json_edits_write(&edits, &card_json, &card);
        h->card = buf_view(&card);
        rc = head_write(h, path, e);
    }
    buf_free(&list);
    buf_free(&card);
    head_close(h);
    return rc;
}

static int wish_read(struct wish *w, int argc, char **argv)
{
    struct cli_args args = cli_args_start("calibrate", argc, argv);
    for (int id; (id = cli_next(&args)) != CLI_END;) {
        switch (id) {
        case 'c': w->config = args.value; break;
        case 's': w->signal = args.value; break;
        case 'h': w->head = args.value; break;
        case 'H': w->page = args.value; break;
        case 'j': w->as_json = true; break;
        case 'w': w->writes = true; break;
        case 'r':
            if (!str_double(str_of(args.value), &w->rate) || w->rate < 0 || w->rate > 1)
                return cli_usage_error("calibrate", "--false-alarms is a share of 0 to 1 (0.01 is 1 %%), not '%s'", args.value);
            break;
        case 'd':
            if (w->n_files == FILES_MAX)
                return cli_usage_error("calibrate", "at most %d files", FILES_MAX);
            w->files[w->n_files++] = args.value;
            break;
        case CLI_WORD: return cli_usage_error("calibrate", "what is '%s'? Files are given with --data", args.value);
        default: return CLI_USAGE;
        }
    }
    if (!w->signal || !classify_knows(str_of(w->signal)) || !w->n_files)
        return cli_usage_error("calibrate", "--signal (one of %s) and --data FILE are needed", classify_names());
    if (w->writes && !w->head)
        return cli_usage_error("calibrate", "--write changes the file that --head names: name one");
    return CLI_FINE;
}

int cli_calibrate(int argc, char **argv)
{
    struct wish w = { .rate = 0.01 };
    int rc = wish_read(&w, argc, argv);
    if (rc != CLI_FINE)
        return rc;
    struct arena *a = arena_new();
    struct models *models = cli_models(a, w.config, "calibrate");
    struct result r = { 0 };
    struct err e = { 0 };
    if (models && w.head)
        models_use_head(models, w.signal, str_of(w.head));
    rc = models ? rows_score(models, &w, a, &r, &e) : -1;
    if (rc >= 0 && r.n == 0)
        cli_models_tell(models, "calibrate");
    if (rc >= 0)
        rc = result_make(&r, &w, &e);
    if (rc >= 0 && w.as_json)
        result_json(&r, &w);
    else if (rc >= 0)
        result_print(&r, &w);
    if (rc >= 0 && w.page)
        rc = page_write(&r, &w, a, &e);
    if (rc >= 0 && w.writes)
        rc = head_keep(&r, &w, w.head, a, &e);
    if (e.text[0])
        fprintf(stderr, "signalbox calibrate: %s\n", e.text);
    arena_free(a);
    return rc < 0 ? CLI_USAGE : CLI_FINE;
}
