/* neural/weights_file.h -- what the readers of one format (safetensors.c, onnx.c, q4.c) fill in. Private to weights.c and them. */
#ifndef SBX_WEIGHTS_FILE_H
#define SBX_WEIGHTS_FILE_H

#include "base/map.h"
#include "neural/weights.h"

struct mapping { const char *path; const uint8_t *at; size_t size; };

struct weights {
    struct arena *a;
    struct map by_name;                 /* -> struct tensor */
    struct mapping **files; size_t n_files;
    str (*metadata)[2]; size_t n_metadata;
};

struct mapping *weights_map(struct weights *w, const char *path, struct err *e);   /* one mapping a path; NULL and *e */
/* Adds a tensor whose n_dims, dim and dtype are set: counts the elements and refuses overflow, a second of the same name, too
 * many. `bytes`: what the file holds for it. */
int weights_add(struct weights *w, const char *path, struct tensor *t, size_t bytes, struct err *e);
/* Elements of these dimensions; -1: too many for a size_t. */
int tensor_count(struct tensor *t);
/* `name`, which must stay inside, in the folder of `beside`: no absolute path, no "..". "" and *e. */
const char *weights_sibling(struct weights *w, const char *beside, str name, struct err *e);

int safetensors_read(struct weights *w, const struct mapping *file, struct err *e);
int safetensors_read_index(struct weights *w, const struct mapping *file, struct err *e);   /* model.safetensors.index.json */
int onnx_read(struct weights *w, const struct mapping *file, struct err *e);
int q4_read(struct weights *w, const struct mapping *file, struct err *e);

#endif
