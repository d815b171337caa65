/* neural/onnx.c -- the weights of an ONNX graph, under the names that the model had before it was exported.
 *
 * An ONNX file is one protobuf message; arrays are initialisers of its graph. Exporters keep the names of embeddings, norms and
 * biases, but fold a Linear's weight into the operand of a MatMul: turned round ([k][n]) and nameless ("onnx::MatMul_123",
 * "val_49"), perhaps quantised. The graph tells what such an array was, so the nodes are walked once, in their order (which is
 * topological by the standard), and every value that comes from an array alone is remembered:
 *
 *     constant   an initialiser, also cast, transposed or dequantised (DequantizeLinear; Cast and Mul by a constant)
 *     rows       a Gather of a constant: its dequantisation comes later and names the scale of a table
 *     scale      something unknown times a constant: the scale of activations times that of weights, in dynamic quantisation
 *     product    something unknown times a constant matrix: a Linear without its bias
 *
 * A product to which "x.bias" is added is the Linear x, so its matrix is "x.weight", seen as [n][k]. One that meets no bias is
 * named by its node, which newer exporters call by the module's path ("/layers.0/attn/Wqkv/MatMul").
 *
 * (Formats: onnx.proto3 and the operators' pages of onnx.ai; for com.microsoft, ContribOperators.md of ONNX Runtime.) */
#include <stdlib.h>

#include "neural/weights_file.h"

enum { INPUTS_MAX = 8 };                        /* of a node; operators that matter here have fewer */

/* ---- protobuf ---- */

struct wire { const uint8_t *at, *end; bool is_bad; };
struct field_read { uint64_t number, value; unsigned type; struct wire inside; };     /* inside: of types 1, 2 and 5 */
enum { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_FIXED32 = 5 };

static bool wire_varint(struct wire *w, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
        uint8_t byte = *w->at++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    w->is_bad = true;
    return false;
}

/* The next field; false at the end and, with is_bad, where the bytes make no sense. */
static bool wire_next(struct wire *w, struct field_read *f)
{
    uint64_t tag, size = 0;
    if (w->at == w->end || w->is_bad || !wire_varint(w, &tag))
        return false;
    *f = (struct field_read){ .number = tag >> 3, .type = tag & 7 };
    switch (f->type) {
    case WIRE_VARINT: return wire_varint(w, &f->value);
    case WIRE_FIXED64: size = 8; break;
    case WIRE_FIXED32: size = 4; break;
    case WIRE_BYTES:
        if (wire_varint(w, &size))
            break;
        return false;
    default: size = UINT64_MAX;
    }
    if (size > (size_t)(w->end - w->at)) {
        w->is_bad = true;
        return false;
    }
    f->inside = (struct wire){ .at = w->at, .end = w->at + size };
    w->at += size;
    return true;
}

static str wire_str(const struct field_read *f)
{
    return f->type == WIRE_BYTES ? (str){ (const char *)f->inside.at, (size_t)(f->inside.end - f->inside.at) } : S("");
}

/* ---- the file ---- */

enum origin_kind { ORIGIN_CONSTANT, ORIGIN_ROWS, ORIGIN_SCALE, ORIGIN_PRODUCT };

struct origin {
    enum origin_kind kind;
    struct tensor *t;                           /* the array; SCALE: the constant factor */
    const struct tensor *zero;                  /* PRODUCT: zero point of the matrix, until its scale is known; NULL: none */
    str path;                                   /* PRODUCT: name by its node; "": none */
    bool is_named;
};

struct graph {
    struct weights *w;
    const struct mapping *file;
    struct err *e;
    struct map origins;                         /* name -> struct origin */
    struct origin **products; size_t n_products;
};

struct node {
    str op, name, in[INPUTS_MAX], out;
    int64_t axis, bits, k; bool is_transposed_b;    /* bits, k: of MatMulNBits */
    struct wire constant;                       /* attribute "value" of a Constant; at NULL: none */
};

static int read_tensor(struct graph *g, struct wire about, str name);
static int read_node(struct graph *g, struct wire w);
static void name_by_path(struct graph *g);
static int read_metadata(struct graph *g, struct wire w);

int onnx_read(struct weights *w, const struct mapping *file, struct err *e)
{
    enum { MODEL_GRAPH = 7, MODEL_METADATA = 14, GRAPH_NODE = 1, GRAPH_INITIALIZER = 5 };
    struct graph g = { .w = w, .file = file, .e = e, .origins.a = w->a };
    struct wire model = { file->at, file->at + file->size, false }, graph = { NULL, NULL, false };
    struct field_read f;
    while (wire_next(&model, &f))
        if (f.number == MODEL_GRAPH && f.type == WIRE_BYTES)
            graph = f.inside;
        else if (f.number == MODEL_METADATA && f.type == WIRE_BYTES && read_metadata(&g, f.inside) < 0)
            return -1;
    if (model.is_bad || !graph.at)
        return err_set(e, "%s: neither safetensors nor an ONNX model", file->path);
    struct wire again = graph;                  /* initialisers stand behind the nodes that use them */
    while (wire_next(&graph, &f))
        if (f.number == GRAPH_INITIALIZER && f.type == WIRE_BYTES && read_tensor(&g, f.inside, (str){ NULL, 0 }) < 0)
            return -1;
    while (wire_next(&again, &f))
        if (f.number == GRAPH_NODE && f.type == WIRE_BYTES && read_node(&g, f.inside) < 0)
            return -1;
    if (graph.is_bad || again.is_bad)
        return err_set(e, "%s: the ONNX graph is malformed", file->path);
    name_by_path(&g);
    return 0;
}

static int malformed(struct graph *g, str name)
{
    return err_set(g->e, "%s: initialiser \"" STR_FMT "\" is malformed", g->file->path, STR_ARG(name));
}

static int read_pair(struct wire w, str pair[2])        /* StringStringEntryProto: key 1, value 2 */
{
    struct field_read f;
    pair[0] = pair[1] = S("");
    while (wire_next(&w, &f))
        if (f.number == 1 || f.number == 2)
            pair[f.number - 1] = wire_str(&f);
    return w.is_bad ? -1 : 0;
}

static int read_metadata(struct graph *g, struct wire w)
{
    str pair[2];
    if (read_pair(w, pair) < 0)
        return err_set(g->e, "%s: the metadata is malformed", g->file->path);
    memcpy(*PUSH(g->w->a, g->w->metadata, g->w->n_metadata), pair, sizeof pair);
    return 0;
}

/* ---- initialisers ---- */

enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_FLOATS = 4, TENSOR_INT32S = 5, TENSOR_INT64S = 7, TENSOR_NAME = 8, TENSOR_RAW = 9,
       TENSOR_DOUBLES = 10, TENSOR_EXTERNAL = 13, TENSOR_LOCATION = 14 };

/* TensorProto.DataType, and the field that holds the elements when raw_data does not. Others (strings, float8) are no weights. */
static const struct { unsigned type; enum dtype dtype; unsigned field; } types[] = {
    { 1, DTYPE_F32, TENSOR_FLOATS }, { 2, DTYPE_U8, TENSOR_INT32S },    { 3, DTYPE_I8, TENSOR_INT32S },
    { 6, DTYPE_I32, TENSOR_INT32S }, { 7, DTYPE_I64, TENSOR_INT64S },   { 9, DTYPE_BOOL, TENSOR_INT32S },
    { 10, DTYPE_F16, TENSOR_INT32S }, { 11, DTYPE_F64, TENSOR_DOUBLES }, { 16, DTYPE_BF16, TENSOR_INT32S },
};

/* Elements of a typed field: whole words as they are, varints cut to `size` bytes. Counts them when out is NULL. */
static size_t read_typed(struct wire about, unsigned field, size_t size, uint8_t *out)
{
    bool is_words = field == TENSOR_FLOATS || field == TENSOR_DOUBLES;
    size_t n = 0;
    for (struct field_read f; wire_next(&about, &f);) {
        if (f.number != field)
            continue;
        struct wire in = f.inside;
        uint64_t v = f.value;
        if (f.type == WIRE_VARINT) {            /* not packed: one */
            if (out)
                memcpy(out + n * size, &v, size);
            n++;
        }
        for (; !is_words && in.at < in.end && wire_varint(&in, &v); n++)
            if (out)
                memcpy(out + n * size, &v, size);       /* little endian */
        if (!is_words || !in.at)
            continue;
        if (out)
            memcpy(out + n * size, in.at, (size_t)(in.end - in.at) / size * size);
        n += (size_t)(in.end - in.at) / size;
    }
    return n;
}

static int read_external(struct graph *g, struct wire about, struct tensor *t, size_t bytes)
{
    str location = S(""), pair[2];
    int64_t offset = 0, length = -1;
    for (struct field_read f; wire_next(&about, &f);) {
        if (f.number != TENSOR_EXTERNAL || f.type != WIRE_BYTES)
            continue;
        if (read_pair(f.inside, pair) < 0)
            return malformed(g, t->name);
        if (str_eq(pair[0], S("location")))
            location = pair[1];
        int64_t *number = str_eq(pair[0], S("offset")) ? &offset : str_eq(pair[0], S("length")) ? &length : NULL;
        if (number && !str_int(pair[1], number))
            return malformed(g, t->name);
    }
    const char *path = weights_sibling(g->w, g->file->path, location, g->e);
    const struct mapping *file = path ? weights_map(g->w, path, g->e) : NULL;
    if (!file)
        return -1;
    if (offset < 0 || (size_t)offset > file->size || bytes > file->size - (size_t)offset ||
        (length >= 0 && (size_t)length != bytes))
        return err_set(g->e, "%s: initialiser \"" STR_FMT "\" does not lie in %s", g->file->path, STR_ARG(t->name), file->path);
    t->data = file->at + offset;
    return 0;
}

/* `name`: of a Constant node's output; else the tensor's own. */
static int read_tensor(struct graph *g, struct wire about, str name)
{
    struct tensor *t = ARENA_NEW(g->w->a, struct tensor);
    struct wire dims = { NULL, NULL, false };
    uint64_t type = 0, location = 0, sizes[TENSOR_DIMS_MAX + 1];
    unsigned n_dims = 0;
    str raw = { NULL, 0 };
    t->name = name;
    struct field_read f;
    for (struct wire w = about; wire_next(&w, &f) || w.is_bad;) {
        if (w.is_bad)
            return malformed(g, t->name);
        switch (f.number) {
        case TENSOR_DIMS:
            dims = f.inside;
            if (f.type == WIRE_VARINT && n_dims <= TENSOR_DIMS_MAX)
                sizes[n_dims++] = f.value;
            while (dims.at < dims.end && n_dims <= TENSOR_DIMS_MAX && wire_varint(&dims, &sizes[n_dims]))
                n_dims++;
            break;
        case TENSOR_TYPE: type = f.value; break;
        case TENSOR_NAME: t->name = name.ptr ? name : wire_str(&f); break;
        case TENSOR_RAW: raw = wire_str(&f); break;
        case TENSOR_LOCATION: location = f.value; break;
        }
    }
    size_t k = 0;
    while (k < COUNT_OF(types) && types[k].type != type)
        k++;
    if (k == COUNT_OF(types) || n_dims > TENSOR_DIMS_MAX)
        return 0;
    t->dtype = types[k].dtype;
    t->n_dims = n_dims;
    for (unsigned i = 0; i < n_dims; i++)
        t->dim[i] = sizes[i];
    if (dims.is_bad || tensor_count(t) < 0)
        return malformed(g, t->name);
    size_t bytes = t->n * dtype_size(t->dtype);
    if (location == 1) {
        if (read_external(g, about, t, bytes) < 0)
            return -1;
    } else if (raw.ptr) {
        t->data = raw.ptr;
        bytes = raw.len;
    } else {
        if (read_typed(about, types[k].field, dtype_size(t->dtype), NULL) != t->n)
            return malformed(g, t->name);
        uint8_t *out = arena_try(g->w->a, bytes ? bytes : 1);
        if (!out)
            return err_set(g->e, "%s: no memory", g->file->path);
        read_typed(about, types[k].field, dtype_size(t->dtype), out);
        t->data = out;
    }
    if (weights_add(g->w, g->file->path, t, bytes, g->e) < 0)
        return -1;
    struct origin *v = ARENA_NEW(g->w->a, struct origin);
    *v = (struct origin){ .kind = ORIGIN_CONSTANT, .t = t };
    map_put(&g->origins, t->name, v);
    return 0;
}

/* ---- the walk ---- */

static struct origin *origin_of(const struct graph *g, str name)
{
    return name.len ? map_get(&g->origins, name) : NULL;
}

static struct tensor *constant(const struct graph *g, str name)
{
    const struct origin *v = origin_of(g, name);
    return v && v->kind == ORIGIN_CONSTANT ? v->t : NULL;
}

static struct origin *set_origin(struct graph *g, str name, enum origin_kind kind, struct tensor *t)
{
    struct origin *v = ARENA_NEW(g->w->a, struct origin);
    *v = (struct origin){ .kind = kind, .t = t };
    if (name.len)
        map_put(&g->origins, name, v);
    return v;
}

/* The same array under another name; a view that the graph makes of a tensor takes its place. */
static void publish(struct graph *g, str name, const struct tensor *t)
{
    struct tensor *copy = ARENA_NEW(g->w->a, struct tensor);
    *copy = *t;
    copy->name = name;
    if (g->w->by_name.n < TENSORS_MAX || map_has(&g->w->by_name, name))
        map_put(&g->w->by_name, name, copy);
}

static struct tensor *turned(struct graph *g, const struct tensor *t)
{
    struct tensor *out = ARENA_NEW(g->w->a, struct tensor);
    *out = *t;
    out->dim[0] = t->dim[1], out->dim[1] = t->dim[0];
    out->is_transposed = !t->is_transposed;
    out->scale_axis = !t->scale_axis;
    return out;
}

static bool is_integer(const struct tensor *t)
{
    return t->dtype == DTYPE_I8 || t->dtype == DTYPE_U8 || t->dtype == DTYPE_I32;
}

static bool is_real(const struct tensor *t)
{
    return t->dtype == DTYPE_F32 || t->dtype == DTYPE_F16 || t->dtype == DTYPE_BF16;
}

/* `t` with a scale and, unless NULL, a zero point; each is one number or one for each index of `axis` of the array as it lies in
 * the file. NULL: they do not fit. */
static struct tensor *scaled(struct graph *g, const struct tensor *t, const struct tensor *scale, const struct tensor *zero,
                             unsigned axis)
{
    if (!is_integer(t) || t->scale || !scale || !is_real(scale) || !scale->n || t->n_dims > 2)
        return NULL;
    if (scale->n_dims == 2 && scale->dim[1] == 1)       /* a column, by the rule of broadcasting */
        axis = 0;
    if (t->n_dims < 2 || axis > 1)
        axis = 0;
    if (t->is_transposed)
        axis = !axis;
    size_t n = scale->n > 1 || !zero ? scale->n : zero->n;
    bool fits = n == 1 || (t->n_dims && n == t->dim[axis]);
    if (!fits || (scale->n != 1 && scale->n != n) || (zero && zero->n != 1 && zero->n != n))
        return NULL;
    float *numbers[2] = { ARENA_ARRAY(g->w->a, float, n), zero ? ARENA_ARRAY(g->w->a, float, n) : NULL };
    for (size_t i = 0; i < n; i++) {
        tensor_floats(scale, scale->n == 1 ? 0 : i, 1, &numbers[0][i]);
        if (zero)
            tensor_floats(zero, zero->n == 1 ? 0 : i, 1, &numbers[1][i]);
    }
    struct tensor *out = ARENA_NEW(g->w->a, struct tensor);
    *out = *t;
    out->scale = numbers[0], out->zero = numbers[1];
    out->n_scales = n, out->scale_axis = axis;
    return out;
}

static str without_end(str name, str end)
{
    return str_ends(name, end) ? str_upto(name, name.len - end.len) : name;
}

/* "/model/layers.0/attn/Wqkv/MatMul" -> "model.layers.0.attn.Wqkv.weight" */
static str path_name(struct graph *g, str node)
{
    size_t n = node.len;
    if (!n || node.ptr[0] != '/')
        return S("");
    while (n > 1 && node.ptr[n - 1] != '/')
        n--;
    if (n <= 2)
        return S("");
    char *out = arena_cstr(g->w->a, str_from(str_upto(node, n - 1), 1));
    for (char *c = out; *c; c++)
        *c = *c == '/' ? '.' : *c;
    return arena_printf(g->w->a, "%s.weight", out);
}

static void name_by_bias(struct graph *g, struct origin *product, str bias)
{
    str name = without_end(bias, S(".bias"));
    if (name.len == bias.len || product->is_named)
        return;
    publish(g, arena_printf(g->w->a, STR_FMT ".weight", STR_ARG(name)), product->t);
    product->is_named = true;
}

static void name_by_path(struct graph *g)
{
    for (size_t i = 0; i < g->n_products; i++)
        if (!g->products[i]->is_named && g->products[i]->path.len)
            publish(g, g->products[i]->path, g->products[i]->t);
}

/* Operators and their operands, by number; 0: none (operand 0 is the activation). */
static const struct { const char *op; unsigned weight, scale, zero, bias; } products[] = {
    { "MatMul", 1, 0, 0, 0 },
    { "Gemm", 1, 0, 0, 2 },
    { "MatMulInteger", 1, 0, 3, 0 },            /* the scale comes in a Mul behind it */
    { "DynamicQuantizeMatMul", 1, 2, 3, 4 },
    { "MatMulIntegerToFloat", 1, 3, 5, 6 },
};

static const struct { const char *op; unsigned value, bias; } adders[] = {
    { "Add", 0, 1 }, { "Add", 1, 0 }, { "BiasGelu", 0, 1 }, { "FastGelu", 0, 1 }, { "SkipLayerNormalization", 0, 4 },
};

/* The matrix of a MatMulNBits, [n][k]: B is [n][blocks][bytes of a block], the scales [n][blocks], and so are the zero points: floats,
 * or as many bits as B's elements, each row beginning with a byte. NULL: not of 4 or 8 bits, or they do not fit. */
static struct tensor *blockwise(struct graph *g, const struct node *n)
{
    const struct tensor *b = constant(g, n->in[1]), *scale = constant(g, n->in[2]), *zero = constant(g, n->in[3]);
    if (!b || b->dtype != DTYPE_U8 || b->n_dims != 3 || !scale || !is_real(scale) || (n->bits != 4 && n->bits != 8) ||
        (n->in[3].len && !zero) || n->in[4].len)
        return NULL;
    struct tensor *out = ARENA_NEW(g->w->a, struct tensor);
    const size_t rows = b->dim[0], blocks = b->dim[1], a_byte = n->bits == 4 ? 2 : 1;
    *out = (struct tensor){ .name = b->name, .dtype = n->bits == 4 ? DTYPE_U4 : DTYPE_U8, .n_dims = 2, .data = b->data,
                            .dim = { rows, blocks * b->dim[2] * a_byte }, .n = b->n * a_byte, .scale_block = b->dim[2] * a_byte };
    const size_t packed = (blocks + a_byte - 1) / a_byte;       /* bytes of a row's zero points */
    bool zero_fits = !zero || (is_real(zero) ? zero->n == rows * blocks : zero->dtype == DTYPE_U8 && zero->n == rows * packed);
    if (!out->n || (uint64_t)n->k != out->dim[1] || scale->n != rows * blocks || !zero_fits)
        return NULL;
    float *scales = ARENA_ARRAY(g->w->a, float, scale->n), *zeros = ARENA_ARRAY(g->w->a, float, scale->n);
    tensor_floats(scale, 0, scale->n, scales);
    for (size_t i = 0; i < scale->n; i++)
        zeros[i] = n->bits == 4 ? 8 : 128;
    if (zero && is_real(zero))
        tensor_floats(zero, 0, zero->n, zeros);
    for (size_t r = 0; zero && !is_real(zero) && r < rows; r++) {
        const struct tensor row = { .dtype = out->dtype, .n_dims = 1, .dim = { blocks }, .n = blocks,
                                    .data = (const uint8_t *)zero->data + r * packed };
        tensor_floats(&row, 0, blocks, zeros + r * blocks);
    }
    out->scale = scales, out->zero = zeros, out->n_scales = scale->n;
    return out;
}

static struct origin *add_product(struct graph *g, const struct node *n, struct tensor *t, str bias)
{
    struct origin *v = set_origin(g, n->out, ORIGIN_PRODUCT, t);
    v->path = path_name(g, n->name);
    *PUSH(g->w->a, g->products, g->n_products) = v;
    name_by_bias(g, v, bias);
    return v;
}

static bool walk_product(struct graph *g, const struct node *n)
{
    struct tensor *t;
    if (str_eq(n->op, S("MatMulNBits"))) {
        if ((t = blockwise(g, n)))
            add_product(g, n, t, n->in[5]);
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(products); i++) {
        if (!str_eq(n->op, str_of(products[i].op)))
            continue;
        t = constant(g, n->in[products[i].weight]);
        if (!t || t->n_dims != 2)
            return true;
        struct tensor *zero = products[i].zero ? constant(g, n->in[products[i].zero]) : NULL;
        struct tensor *scale = products[i].scale ? constant(g, n->in[products[i].scale]) : NULL;
        if (scale && !(t = scaled(g, t, scale, zero, 1)))
            return true;
        str bias = products[i].bias ? n->in[products[i].bias] : S("");
        add_product(g, n, n->is_transposed_b ? t : turned(g, t), bias)->zero = scale ? NULL : zero;
        return true;
    }
    return false;
}

static bool walk_adder(struct graph *g, const struct node *n)
{
    bool is_adder = false;
    for (size_t i = 0; i < COUNT_OF(adders); i++) {
        if (!str_eq(n->op, str_of(adders[i].op)))
            continue;
        struct origin *v = origin_of(g, n->in[adders[i].value]);
        if (v && v->kind == ORIGIN_PRODUCT && constant(g, n->in[adders[i].bias]))
            name_by_bias(g, v, n->in[adders[i].bias]);
        is_adder = true;
    }
    return is_adder;
}

static void walk_mul(struct graph *g, const struct node *n, str left, str right)
{
    struct origin *v = origin_of(g, left), *by = origin_of(g, right);
    struct tensor *t;
    if (!v && by && by->kind == ORIGIN_CONSTANT)
        set_origin(g, n->out, ORIGIN_SCALE, by->t);
    if (!v || !by || (by->kind != ORIGIN_CONSTANT && by->kind != ORIGIN_SCALE))
        return;
    if (v->kind == ORIGIN_CONSTANT && by->kind == ORIGIN_CONSTANT && (t = scaled(g, v->t, by->t, NULL, 1))) {
        set_origin(g, n->out, ORIGIN_CONSTANT, t);
        publish(g, n->out, t);
    } else if (v->kind == ORIGIN_PRODUCT && (t = scaled(g, v->t, by->t, v->zero, 1))) {
        v->t = t;
        map_put(&g->origins, n->out, v);
    }
}

static void walk_dequantise(struct graph *g, const struct node *n)
{
    struct origin *v = origin_of(g, n->in[0]);
    struct tensor *t = v && v->kind != ORIGIN_SCALE ? scaled(g, v->t, constant(g, n->in[1]), constant(g, n->in[2]),
                                                            v->kind == ORIGIN_ROWS ? 1 : (unsigned)n->axis) : NULL;
    if (!t)
        return;
    if (v->kind == ORIGIN_CONSTANT)
        set_origin(g, n->out, ORIGIN_CONSTANT, t);
    publish(g, without_end(v->t->name, S("_quantized")), t);
    publish(g, n->out, t);
}

static void walk(struct graph *g, const struct node *n)
{
    struct origin *v = origin_of(g, n->in[0]);
    if (walk_product(g, n) || walk_adder(g, n))
        return;
    if (str_eq(n->op, S("Mul"))) {
        walk_mul(g, n, n->in[0], n->in[1]);
        walk_mul(g, n, n->in[1], n->in[0]);
    } else if (str_eq(n->op, S("DequantizeLinear"))) {
        walk_dequantise(g, n);
    } else if (str_eq(n->op, S("Gather")) && v && v->kind == ORIGIN_CONSTANT) {
        set_origin(g, n->out, ORIGIN_ROWS, v->t);
    } else if (str_eq(n->op, S("Transpose")) && v && v->kind == ORIGIN_CONSTANT && v->t->n_dims == 2) {
        set_origin(g, n->out, ORIGIN_CONSTANT, turned(g, v->t));
    } else if (v && n->out.len && (str_eq(n->op, S("Cast")) || str_eq(n->op, S("Identity")) || str_eq(n->op, S("Reshape")))) {
        if (v->kind != ORIGIN_CONSTANT || !str_eq(n->op, S("Reshape")))
            map_put(&g->origins, n->out, v);
        if (str_eq(n->op, S("Identity")) && v->kind == ORIGIN_CONSTANT)      /* a tied array goes by both names */
            publish(g, n->out, v->t);
    }
}

static void read_attribute(struct wire w, struct node *n)
{
    enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_INT = 3, ATTRIBUTE_TENSOR = 5 };
    str name = S("");
    uint64_t number = 0;
    struct wire tensor = { NULL, NULL, false };
    for (struct field_read f; wire_next(&w, &f);) {
        if (f.number == ATTRIBUTE_NAME)
            name = wire_str(&f);
        if (f.number == ATTRIBUTE_INT)
            number = f.value;
        if (f.number == ATTRIBUTE_TENSOR)
            tensor = f.inside;
    }
    if (str_eq(name, S("axis")))
        n->axis = (int64_t)number < 0 ? (int64_t)number + 2 : (int64_t)number;
    if (str_eq(name, S("bits")))
        n->bits = (int64_t)number;
    if (str_eq(name, S("K")))
        n->k = (int64_t)number;
    if (str_eq(name, S("transB")))
        n->is_transposed_b = number != 0;
    if (str_eq(name, S("value")))
        n->constant = tensor;
}

static int read_node(struct graph *g, struct wire w)
{
    enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5 };
    struct node n = { .axis = 1 };
    unsigned n_in = 0;
    for (struct field_read f; wire_next(&w, &f);)
        switch (f.number) {
        case NODE_INPUT:
            if (n_in < INPUTS_MAX)
                n.in[n_in++] = wire_str(&f);
            break;
        case NODE_OUTPUT: n.out = n.out.ptr ? n.out : wire_str(&f); break;
        case NODE_NAME: n.name = wire_str(&f); break;
        case NODE_OP: n.op = wire_str(&f); break;
        case NODE_ATTRIBUTE: read_attribute(f.inside, &n); break;
        }
    if (w.is_bad)
        return err_set(g->e, "%s: a node of the ONNX graph is malformed", g->file->path);
    if (str_eq(n.op, S("Constant")))
        return n.constant.at && n.out.len ? read_tensor(g, n.constant, n.out) : 0;
    walk(g, &n);
    return 0;
}
