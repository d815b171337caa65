/* base/file.h -- a whole file of bounded size, for what is read at start: configurations, keys, tables. Blocks. */
#ifndef SBX_FILE_H
#define SBX_FILE_H

#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

/* Appends all of it to *out. 0; -1 and "PATH: why": cannot be opened or read, is a folder, is larger than `most` bytes, no memory. */
int file_read(const char *path, size_t most, struct buf *out, struct err *e);
/* The same of a stream that the caller opened and closes; `name` is for the sentence. */
int stream_read(FILE *f, const char *name, size_t most, struct buf *out, struct err *e);

#endif
