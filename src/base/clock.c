/* base/clock.c */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_clock(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_wall(void)
{
    return read_clock(CLOCK_REALTIME);
}

size_t clock_iso(uint64_t wall_ns, char out[32])
{
    static _Thread_local time_t last = -1;      /* the second's text is asked for many times */
    static _Thread_local char text[24];
    time_t seconds = (time_t)(wall_ns / NS_PER_S);
    if (seconds != last) {
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        last = seconds;
    }
    unsigned ms = (unsigned)(wall_ns % NS_PER_S / NS_PER_MS);
    memcpy(out, text, 19);
    out[19] = '.';
    out[20] = (char)('0' + ms / 100);
    out[21] = (char)('0' + ms / 10 % 10);
    out[22] = (char)('0' + ms % 10);
    out[23] = 'Z';
    out[24] = 0;
    return 24;
}
