/* observe/process.c -- what the system says about us, from /proc and getrusage. A figure that
 * cannot be read stays as it was. */
#include "observe/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "observe/metrics.h"

static void set(enum metric_id id, double v)
{
    metric_set(metric_cell(id, NULL), v);
}

static bool file_read(const char *path, char *to, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, to, room - 1);
    close(fd);
    to[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* Field 22 of stat(5) is the start in ticks since boot; the name in field 2 may hold anything, even
 * ')'. */
static bool start_time(double *since_1970)
{
    char text[1024];
    struct timespec boot;
    unsigned long long ticks;
    if (!file_read("/proc/self/stat", text, sizeof text)
        || clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
        return false;
    const char *p = strrchr(text, ')');
    for (unsigned field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    if (!p || sscanf(p, " %llu", &ticks) != 1)
        return false;
    double up = (double)boot.tv_sec + (double)boot.tv_nsec * 1e-9;
    *since_1970 = (double)clock_wall() * 1e-9 - up + (double)ticks / (double)sysconf(_SC_CLK_TCK);
    return true;
}

static void publish_memory(void)
{
    char text[128];
    unsigned long long total, resident;
    if (!file_read("/proc/self/statm", text, sizeof text)
        || sscanf(text, "%llu %llu", &total, &resident) != 2)
        return;
    double page = (double)sysconf(_SC_PAGESIZE);
    set(METRIC_PROCESS_VIRTUAL, (double)total * page);
    set(METRIC_PROCESS_RESIDENT, (double)resident * page);
}

static void publish_descriptors(void)
{
    struct rlimit limit;
    DIR *d = opendir("/proc/self/fd");
    if (d) {
        unsigned n = 0;
        for (struct dirent *e; (e = readdir(d)) != NULL; )
            n += e->d_name[0] != '.';
        closedir(d);
        set(METRIC_PROCESS_FDS, n - 1);         /* without the one that counts */
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        set(METRIC_PROCESS_FDS_MAX, (double)limit.rlim_cur);
}

void process_publish(void)
{
    struct rusage used;
    double start;
    publish_memory();
    publish_descriptors();
    if (getrusage(RUSAGE_SELF, &used) == 0)
        set(METRIC_PROCESS_CPU, (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
                                + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6);
    if (start_time(&start))
        set(METRIC_PROCESS_START, start);
}
