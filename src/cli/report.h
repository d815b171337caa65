/* cli/report.h -- a page one would rather look at than read: one HTML file, no script, nothing fetched; charts are SVG. */
#ifndef SBX_CLI_REPORT_H
#define SBX_CLI_REPORT_H

#include "base/buf.h"
#include "base/err.h"

void report_begin(struct buf *page, str title);
/* A picture alone, between begin and end; lines and marks are still given from 0 to 1, `range` says what 0 and 1 stand for. */
struct report_range { double low, high; bool is_log; };        /* is_log: of log10; told as the number itself */
void report_svg_begin(struct buf *page);
void report_axes(struct buf *page, const char *x, const char *y, struct report_range across_is, struct report_range down_is);
void report_dot(struct buf *page, float x, float y, const char *colour, const char *hint);      /* a point that says `hint` when pointed at */
void report_svg_end(struct buf *page);
int report_write(const struct buf *bytes, const char *path, struct err *e);     /* 0, or -1 and *e */

/* Axes from 0 to 1. */
void report_chart_begin(struct buf *page, const char *title, const char *x, const char *y);
void report_diagonal(struct buf *page);
void report_line(struct buf *page, const float *x, const float *y, size_t n, const char *name);    /* its colour and legend follow by themselves */
void report_mark(struct buf *page, float x, float y, const char *text);
void report_chart_end(struct buf *page);
void report_table_begin(struct buf *page, const char *const *heads);   /* NULL-terminated */
void report_row_begin(struct buf *page);
void report_cell(struct buf *page, const char *format, ...) __attribute__((format(printf, 2, 3)));  /* escaped */
void report_row_end(struct buf *page);
void report_table_end(struct buf *page);
void report_text(struct buf *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Closes the page and writes it. 0, or -1 and *e. */
int report_end(struct buf *page, const char *path, struct err *e);

#endif
