/* Frames for event_stream_check.py. Usage:
 *     event_stream_tool decode PIECE < frames      PIECE bytes at a time; a line {"name":..,"data":..,"exception":..} a frame,
 *                                                  then "end" (nothing was left over), "more", or "broken: why"
 *     event_stream_tool encode < lines             "TYPE<TAB>0|1<TAB>PAYLOAD"; 1: an exception */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "provider/event_stream.h"

static int decode(size_t piece)
{
    struct event_stream es = { 0 };
    struct buf line = { 0 };
    char *bytes = malloc(piece);
    size_t n;
    int rc = 0;
    while (rc >= 0 && (n = fread(bytes, 1, piece, stdin)) > 0) {
        str left = { bytes, n };
        struct stream_event e;
        while ((rc = event_stream_next(&es, &left, &e)) > 0) {
            struct json_writer w = { .out = &line };
            line.len = 0;
            jw_begin(&w, '{');
            jw_key(&w, S("name"));
            jw_str(&w, e.name);
            jw_key(&w, S("data"));
            jw_str(&w, e.data);
            jw_key(&w, S("exception"));
            jw_bool(&w, e.is_exception);
            jw_end(&w, '}');
            fwrite(line.ptr, 1, line.len, stdout);
            putchar(0x0a);
        }
    }
    str nothing = S("");
    struct stream_event e;
    if (rc >= 0)
        event_stream_next(&es, &nothing, &e);       /* drops the last frame */
    if (es.why)
        printf("broken: %s\n", es.why);
    else
        puts(es.partial.len ? "more" : "end");
    event_stream_free(&es);
    buf_free(&line);
    free(bytes);
    return 0;
}

static int encode(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    struct buf out = { 0 };
    while ((n = getline(&line, &cap, stdin)) > 0) {
        str rest = { line, (size_t)n - (line[n - 1] == '\n') };
        str type = str_cut(&rest, '\t'), kind = str_cut(&rest, '\t');
        event_stream_write(&out, type, str_eq(kind, S("1")), rest);
    }
    fwrite(out.ptr, 1, out.len, stdout);
    buf_free(&out);
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "decode") == 0 && atoi(argv[2]) > 0)
        return decode((size_t)atoi(argv[2]));
    if (argc == 2 && strcmp(argv[1], "encode") == 0)
        return encode();
    fprintf(stderr, "usage: event_stream_tool decode PIECE | encode\n");
    return 2;
}
