/* observe/log.h -- what the process has to say about itself, on stderr.
 *
 * JSON lines for machines, plain text when stderr is a terminal. An event is a stable snake_case
 * literal; at most LOG_BURST lines of one event in LOG_BURST_S seconds get through, the next one
 * that does says how many did not. Any thread. A line is one write(2); a message has at most
 * LOG_MESSAGE_MAX bytes, the rest is cut. */
#ifndef SBX_LOG_H
#define SBX_LOG_H

#include "base/str.h"

enum { LOG_BURST = 20, LOG_BURST_S = 10, LOG_MESSAGE_MAX = 1000, LOG_LINE_MAX = 8192 };

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_AUTO, LOG_JSON, LOG_TEXT };

void log_setup(enum log_level from, enum log_format format);
bool log_level_parse(str name, enum log_level *out);        /* debug, info, warn(ing), error, off */
bool log_format_parse(str name, enum log_format *out);      /* auto, json, text (also: console) */

void log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define log_debug(event, ...) log_line(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_line(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_line(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_line(LOG_ERROR, event, __VA_ARGS__)

/* An event with fields: `members` is the inside of a JSON object, "\"model\":\"a\",\"n\":1". In
 * text form they are printed as they are. Not rate limited below LOG_WARN: VSR's routing_decision
 * and llm_usage are such lines. */
void log_fields(enum log_level level, const char *event, str members);

#endif
