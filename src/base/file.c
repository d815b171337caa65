/* base/file.c */
#include "base/file.h"

#include <errno.h>

enum { STEP = 64 * 1024 };

int stream_read(FILE *f, const char *name, size_t most, struct buf *out, struct err *e)
{
    size_t start = out->len, n = 1;
    errno = 0;
    while (n > 0 && out->len - start <= most && buf_reserve(out, STEP)) {
        n = fread(out->ptr + out->len, 1, STEP, f);
        out->len += n;
    }
    if (ferror(f))                              /* a folder opens, and then cannot be read */
        return err_set(e, "%s: %s", name, strerror(errno ? errno : EIO));
    if (out->is_failed)
        return err_set(e, "%s: out of memory", name);
    if (out->len - start > most)
        return most >> 20 ? err_set(e, "%s: larger than %zu MiB", name, most >> 20)
             : err_set(e, "%s: larger than %zu bytes", name, most);
    return 0;
}

int file_read(const char *path, size_t most, struct buf *out, struct err *e)
{
    FILE *f = fopen(path, "rbe");
    if (!f)
        return err_set(e, "%s: %s", path, strerror(errno));
    int rc = stream_read(f, path, most, out, e);
    fclose(f);
    return rc;
}
