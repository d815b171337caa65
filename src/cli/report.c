/* cli/report.c */
#include "cli/report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { WIDTH = 520, HEIGHT = 420, LEFT = 56, RIGHT = 20, TOP = 20, BOTTOM = 48, LEGEND_LINE = 18 };

static const char *const colours[] = { "#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f", "#6b7280" };

static unsigned lines;                  /* of the chart that is open */
static struct buf legend;

static void escaped(struct buf *page, str s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '<': buf_str(page, S("&lt;")); break;
        case '>': buf_str(page, S("&gt;")); break;
        case '&': buf_str(page, S("&amp;")); break;
        case '"': buf_str(page, S("&quot;")); break;
        default: buf_char(page, s.ptr[i]);
        }
    }
}

static double across(double x) { return LEFT + x * (WIDTH - LEFT - RIGHT); }
static double down(double y)   { return HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM); }

void report_begin(struct buf *page, str title)
{
    buf_str(page, S("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>"));
    escaped(page, title);
    buf_str(page, S("</title><style>body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#111;background:#fff}"
                    "h1{font-size:1.4em}figure{display:inline-block;margin:0 1.5em 1.5em 0;vertical-align:top}figcaption{font-weight:600}"
                    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .9em;text-align:right;border-bottom:1px solid #ddd}"
                    "td:first-child,th:first-child{text-align:left}tr:last-child td{font-weight:600}svg{background:#fff}</style><h1>"));
    escaped(page, title);
    buf_str(page, S("</h1>\n"));
}

void report_svg_begin(struct buf *page)
{
    buf_printf(page, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-size=\"12\" "
                     "font-family=\"system-ui,sans-serif\">\n", WIDTH, HEIGHT, WIDTH, HEIGHT);
}

static double told(struct report_range r, double share)
{
    double v = r.low + share * (r.high - r.low);
    return r.is_log ? pow(10, v) : v;
}

void report_axes(struct buf *page, const char *x, const char *y, struct report_range across_is, struct report_range down_is)
{
    lines = 0;
    for (int i = 0; i <= 5; i++) {
        double v = i / 5.0;
        buf_printf(page, "<path d=\"M%.1f %.1fV%.1fM%.1f %.1fH%.1f\" stroke=\"#e5e7eb\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.2g</text>"
                         "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n",
                   across(v), down(0), down(1), across(0), down(v), across(1), across(v), HEIGHT - BOTTOM + 18,
                   told(across_is, v), LEFT - 8, down(v) + 4, told(down_is, v));
    }
    buf_printf(page, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text><text transform=\"translate(14 %.1f) rotate(-90)\" "
                     "text-anchor=\"middle\">%s</text>\n", across(.5), HEIGHT - 8, x, down(.5), y);
}

void report_svg_end(struct buf *page)
{
    buf_str(page, buf_view(&legend));
    buf_free(&legend);
    buf_str(page, S("</svg>"));
}

void report_chart_begin(struct buf *page, const char *title, const char *x, const char *y)
{
    buf_printf(page, "<figure><figcaption>%s</figcaption>", title);
    report_svg_begin(page);
    report_axes(page, x, y, (struct report_range){ 0, 1, false }, (struct report_range){ 0, 1, false });
}

void report_diagonal(struct buf *page)
{
    buf_printf(page, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#9ca3af\" stroke-dasharray=\"4 4\"/>\n", across(0), down(0), across(1), down(1));
}

void report_line(struct buf *page, const float *x, const float *y, size_t n, const char *name)
{
    const char *colour = colours[lines % COUNT_OF(colours)];
    buf_printf(page, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", colour);
    for (size_t i = 0; i < n; i++)
        buf_printf(page, "%c%.1f %.1f", i ? 'L' : 'M', across((double)x[i]), down((double)y[i]));
    buf_str(page, S("\"/>\n"));
    double row = HEIGHT - BOTTOM - 10 - LEGEND_LINE * (double)lines++;
    buf_printf(&legend, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\" fill=\"%s\">", WIDTH - RIGHT - 6, row, colour);
    escaped(&legend, str_of(name));
    buf_str(&legend, S("</text>\n"));
}

void report_dot(struct buf *page, float x, float y, const char *colour, const char *hint)
{
    buf_printf(page, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"><title>", across((double)x), down((double)y), colour);
    escaped(page, str_of(hint));
    buf_str(page, S("</title></circle>\n"));
}

void report_mark(struct buf *page, float x, float y, const char *text)
{
    buf_printf(page, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#111\"/><text x=\"%.1f\" y=\"%.1f\">%s</text>\n", across((double)x),
               down((double)y), across((double)x) + 8, down((double)y) + 14, text);
}

void report_chart_end(struct buf *page)
{
    report_svg_end(page);
    buf_str(page, S("</figure>\n"));
}

void report_table_begin(struct buf *page, const char *const *heads)
{
    buf_str(page, S("<table><tr>"));
    for (; *heads; heads++)
        buf_printf(page, "<th>%s</th>", *heads);
    buf_str(page, S("</tr>\n"));
}

void report_row_begin(struct buf *page) { buf_str(page, S("<tr>")); }
void report_row_end(struct buf *page)   { buf_str(page, S("</tr>\n")); }
void report_table_end(struct buf *page) { buf_str(page, S("</table>\n")); }

static void formatted(struct buf *page, const char *format, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    escaped(page, str_of(text));
}

void report_cell(struct buf *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_str(page, S("<td>"));
    formatted(page, format, args);
    buf_str(page, S("</td>"));
    va_end(args);
}

void report_text(struct buf *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_str(page, S("<p>"));
    formatted(page, format, args);
    buf_str(page, S("</p>\n"));
    va_end(args);
}

int report_end(struct buf *page, const char *path, struct err *e)
{
    buf_str(page, S("</html>\n"));
    return report_write(page, path, e);
}

int report_write(const struct buf *bytes, const char *path, struct err *e)
{
    FILE *f = bytes->is_failed ? NULL : fopen(path, "w");
    if (!f)
        return err_set(e, "cannot write '%s': %s", path, bytes->is_failed ? "no memory" : strerror(errno));
    bool ok = fwrite(bytes->ptr, 1, bytes->len, f) == bytes->len;
    ok = fclose(f) == 0 && ok;
    return ok ? 0 : err_set(e, "cannot write '%s': %s", path, strerror(errno));
}
