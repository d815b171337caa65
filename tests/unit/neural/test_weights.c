/* tests/unit/neural/test_weights.c -- model files: what is in them is read, what is wrong with them is said, nothing is believed.
 * */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>

#include "base/buf.h"
#include "neural/weights.h"

static char folder[] = "/tmp/signalbox-weights-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* A safetensors file with this header and `n` bytes of data. */
static void put_header(const char *name, const char *header, const void *data, size_t n)
{
    struct buf b = { 0 };
    uint64_t length = strlen(header);
    buf_add(&b, &length, 8);
    buf_add(&b, header, length);
    buf_add(&b, data, n);
    put(name, b.ptr, b.len);
    buf_free(&b);
}

static struct weights *opened(const char *name)
{
    struct err e = { 0 };
    struct weights *w = weights_open(in_folder(name), &e);
    if (!w)
        fail_msg("%s: %s", name, e.text);
    return w;
}

static void refused(const char *name, const char *words)
{
    struct err e = { 0 };
    struct weights *w = weights_open(in_folder(name), &e);
    if (w)
        fail_msg("opened, though: %s", words);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" does not say \"%s\"", e.text, words);
}

static const struct tensor *found(const struct weights *w, const char *name)
{
    const struct tensor *t = weights_find(w, str_of(name));
    if (!t)
        fail_msg("no tensor \"%s\"", name);
    return t;
}

static void holds(const struct tensor *t, size_t n, const float *wanted)
{
    float got[64];
    assert_int_equal(t->n, n);
    tensor_floats(t, 0, n, got);
    for (size_t i = 0; i < n; i++)
        if (!(got[i] == wanted[i]))
            fail_msg(STR_FMT "[%zu] is %g, not %g", STR_ARG(t->name), i, (double)got[i], (double)wanted[i]);
    for (size_t i = 0; i < n; i++) {            /* any part reads like the whole */
        tensor_floats(t, i, n - i, got);
        assert_memory_equal(got, wanted + i, (n - i) * sizeof *got);
    }
}

/* ---- safetensors ---- */

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    const float a[] = { 1, -2.5f, 3, 4, 5, 6 }, scalar[] = { 7 };
    const struct tensor_out list[] = {
        { S("a"), 2, { 2, 3 }, a }, { S("scalar \"x\""), 0, { 0 }, scalar }, { S("empty"), 1, { 0 }, NULL }
    };
    str pairs[][2] = { { S("card"), S("{\"signal\": \"jailbreak\"}") } };
    const struct string_pairs metadata = { pairs, 1 };
    struct err e = { 0 };
    assert_int_equal(weights_write(in_folder("model.safetensors"), list, 3, &metadata, &e), 0);
    struct weights *w = opened("");             /* the folder */
    assert_int_equal(weights_n(w), 3);
    holds(found(w, "a"), 6, a);
    assert_int_equal(found(w, "a")->dim[1], 3);
    assert_int_equal((uintptr_t)found(w, "a")->data % 4, 0);
    holds(found(w, "scalar \"x\""), 1, scalar);
    assert_int_equal(found(w, "empty")->n, 0);
    assert_true(str_eq(weights_metadata(w, S("card")), pairs[0][1]));
    assert_int_equal(weights_metadata(w, S("none")).len, 0);
    assert_null(weights_find(w, S("b")));
    weights_close(w);
    unlink(in_folder("model.safetensors"));
}

static void a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(void **state)
{
    (void)state;
    struct err e = { 0 };
    assert_int_equal(weights_write(in_folder("none/x.safetensors"), NULL, 0, NULL, &e), -1);
    assert_non_null(strstr(e.text, "none/x.safetensors"));
}

static void every_type_reads_as_floats(void **state)
{
    (void)state;
    static const struct { const char *type; size_t bytes; unsigned char data[16]; size_t n; float wanted[8]; } cases[] = {
        { "F32", 4, { 0, 0, 0x80, 0x3f }, 1, { 1 } },
        { "F16", 2, { 0, 0x3c, 0, 0xc0, 1, 0, 0xff, 0x7b, 0, 0x80 }, 5, { 1, -2, 0x1p-24f, 65504, -0.0f } },
        { "BF16", 2, { 0x80, 0x3f, 0x20, 0xc1 }, 2, { 1, -10 } },
        { "F64", 8, { 0, 0, 0, 0, 0, 0, 0xf0, 0x3f }, 1, { 1 } },
        { "I8", 1, { 1, 0xff, 0x80 }, 3, { 1, -1, -128 } },
        { "U8", 1, { 1, 0xff }, 2, { 1, 255 } },
        { "I32", 4, { 0xfe, 0xff, 0xff, 0xff }, 1, { -2 } },
        { "I64", 8, { 3 }, 1, { 3 } },
        { "BOOL", 1, { 0, 1, 2 }, 3, { 0, 1, 1 } },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char header[128];
        snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}", cases[i].type,
                 cases[i].n, cases[i].n * cases[i].bytes);
        put_header("types", header, cases[i].data, cases[i].n * cases[i].bytes);
        struct weights *w = opened("types");
        holds(found(w, "x"), cases[i].n, cases[i].wanted);
        weights_close(w);
    }
}

static void infinity_of_half_precision_is_found(void **state)
{
    (void)state;
    static const unsigned char data[] = { 0, 0x3c, 0, 0x7c, 1, 0x7e };          /* 1, infinity, NaN */
    put_header("half", "{\"x\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[0,6]}}", data, sizeof data);
    struct weights *w = opened("half");
    float f[3];
    size_t at = 9;
    tensor_floats(found(w, "x"), 0, 3, f);
    assert_true(isinf(f[1]) && isnan(f[2]));
    assert_false(tensor_is_finite(found(w, "x"), &at));
    assert_int_equal(at, 1);
    weights_close(w);
}

static void shards_are_one_model(void **state)
{
    (void)state;
    const float a[] = { 1, 2 }, b[] = { 3 };
    struct err e = { 0 };
    weights_write(in_folder("one.safetensors"), &(struct tensor_out){ S("a"), 1, { 2 }, a }, 1, NULL, &e);
    weights_write(in_folder("two.safetensors"), &(struct tensor_out){ S("b"), 1, { 1 }, b }, 1, NULL, &e);
    static const struct { const char *index, *words; } cases[] = {
        { "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}", NULL },
        { "{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"one.safetensors\"}}", "\"c\" is in none" },
        { "{\"weight_map\":{\"a\":\"three.safetensors\"}}", "three.safetensors: No such file" },
        { "{\"weight_map\":{\"a\":\"../one.safetensors\"}}", "is not a file inside" },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "is not a file inside" },
        { "{\"weight_map\":{\"a\":3}}", "is not a file inside" },
        { "{\"metadata\":{}}", "no \"weight_map\"" },
        { "{\"weight_map\":", "not JSON" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        put("model.safetensors.index.json", cases[i].index, strlen(cases[i].index));
        if (cases[i].words) {
            refused("", cases[i].words);
            continue;
        }
        struct weights *w = opened("");
        holds(found(w, "a"), 2, a);
        holds(found(w, "b"), 1, b);
        weights_close(w);
    }
    unlink(in_folder("model.safetensors.index.json"));
}

static void a_bad_file_is_refused_with_the_reason(void **state)
{
    (void)state;
#define X(rest) "{\"x\":{" rest "}}"
    static const struct { const char *header, *words; } cases[] = {
        { "[]", "neither safetensors" },
        { "{", "not JSON" },
        { "{\"x\":3}", "\"x\" is described by a number" },
        { X("\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]"), "type \"F8_E4M3\"" },
        { X("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]"), "no shape" },
        { X("\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]"), "no shape" },
        { X("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), "no shape" },
        { X("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), "no shape" },
        { X("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]"), "not what its shape" },
        { X("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"), "not what its shape" },
        { X("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9]"), "do not lie" },
        { X("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]"), "do not lie" },
        { X("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]"), "do not lie" },
        { X("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775807,9223372036854775807]"), "do not lie" },
        { "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"y\":{\"dtype\":\"F32\",\"shape\":[1],"
          "\"data_offsets\":[2,6]}}", "\"x\" and \"y\" overlap" },
        { "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"x\":{\"dtype\":\"F32\",\"shape\":[1],"
          "\"data_offsets\":[4,8]}}", "\"x\" is there twice" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        put_header("bad", cases[i].header, "12345678", 8);
        refused("bad", cases[i].words);
    }
    uint64_t huge[] = { UINT64_MAX, 0x7b };
    put("bad", huge, sizeof huge);
    refused("bad", "more than 100 MB");
    huge[0] = 20;
    put("bad", huge, sizeof huge);
    refused("bad", "more than the file has");
    put("bad", "short", 5);
    refused("bad", "too short");
    refused("absent", "No such file");
}

/* ---- ONNX: files made with a protobuf writer of three lines ---- */

static void varint(struct buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        buf_char(b, (char)(v | 0x80));
    buf_char(b, (char)v);
}

static void field_int(struct buf *b, unsigned number, uint64_t v)
{
    varint(b, number << 3);
    varint(b, v);
}

static void field_bytes(struct buf *b, unsigned number, const void *bytes, size_t n)
{
    varint(b, number << 3 | 2);
    varint(b, n);
    buf_add(b, bytes, n);
}

static void field_text(struct buf *b, unsigned number, const char *text)
{
    field_bytes(b, number, text, strlen(text));
}

static void field_message(struct buf *b, unsigned number, struct buf *message)
{
    field_bytes(b, number, message->ptr, message->len);
    buf_free(message);
}

enum { ONNX_F32 = 1, ONNX_U8 = 2, ONNX_I8 = 3 };

/* Dimensions of 0 are none. */
static void initializer_3d(struct buf *graph, const char *name, unsigned type, size_t rows, size_t columns, size_t deep,
                           const void *raw, size_t bytes)
{
    struct buf t = { 0 };
    field_int(&t, 1, rows);
    if (columns)
        field_int(&t, 1, columns);
    if (deep)
        field_int(&t, 1, deep);
    field_int(&t, 2, type);
    field_text(&t, 8, name);
    field_bytes(&t, 9, raw, bytes);
    field_message(graph, 5, &t);
}

static void initializer(struct buf *graph, const char *name, unsigned type, size_t rows, size_t columns, const void *raw,
                        size_t bytes)
{
    initializer_3d(graph, name, type, rows, columns, 0, raw, bytes);
}

static void attribute_int(struct buf *node, const char *name, uint64_t value)
{
    struct buf a = { 0 };
    field_text(&a, 1, name);
    field_int(&a, 3, value);
    field_message(node, 5, &a);
}

/* `operands`: inputs with spaces between, "_" for one that is left out, then "> output". bits and k: 0, or of a MatMulNBits. */
static void node_of_bits(struct buf *graph, const char *op, const char *name, const char *operands, unsigned bits, unsigned k)
{
    struct buf n = { 0 };
    if (bits) {
        attribute_int(&n, "bits", bits);
        attribute_int(&n, "K", k);
    }
    str rest = str_of(operands);
    unsigned number = 1;
    while (rest.len) {
        str word = str_cut(&rest, ' ');
        if (str_eq(word, S(">")))
            number = 2;
        else
            field_bytes(&n, number, str_eq(word, S("_")) ? "" : word.ptr, str_eq(word, S("_")) ? 0 : word.len);
    }
    field_text(&n, 3, name);
    field_text(&n, 4, op);
    field_message(graph, 1, &n);
}

static void node(struct buf *graph, const char *op, const char *name, const char *operands)
{
    node_of_bits(graph, op, name, operands, 0, 0);
}

static void put_graph(const char *name, struct buf *graph)
{
    struct buf model = { 0 };
    field_int(&model, 1, 10);                   /* ir_version */
    field_message(&model, 7, graph);
    put(name, model.ptr, model.len);
    buf_free(&model);
}

static const float turned_kn[] = { 1, 2, 3, 4, 5, 6 };     /* [k = 3][n = 2] as exporters leave it */
static const float turned_nk[] = { 1, 3, 5, 2, 4, 6 };     /* [2][3] as torch has it */
static const signed char bytes_kn[] = { 10, -20, 30, -40, 50, -60 };
static const float zeros[2];

static void graph_of_products(struct buf *g)
{
    const float one_scale[] = { 0.5f }, two_scales[] = { 0.5f, 2 };
    initializer(g, "onnx::MatMul_7", ONNX_F32, 3, 2, turned_kn, sizeof turned_kn);
    initializer(g, "a.bias", ONNX_F32, 2, 0, zeros, sizeof zeros);
    node(g, "MatMul", "MatMul_1", "x onnx::MatMul_7 > y1");
    node(g, "Add", "Add_1", "a.bias y1 > z1");
    node(g, "MatMul", "/layers.0/attn/Wqkv/MatMul", "x onnx::MatMul_7 > y2");          /* no bias: named by its path */
    initializer(g, "w3", ONNX_I8, 3, 2, bytes_kn, sizeof bytes_kn);                    /* weights alone in eight bits */
    initializer(g, "w3_scale", ONNX_F32, 1, 2, two_scales, sizeof two_scales);
    initializer(g, "c.bias", ONNX_F32, 2, 0, zeros, sizeof zeros);
    node(g, "Cast", "", "w3 > w3f");
    node(g, "Mul", "", "w3f w3_scale > val_3");
    node(g, "MatMul", "", "x val_3 > y3");
    node(g, "Add", "", "y3 c.bias > z3");
    initializer(g, "w4_quantized", ONNX_U8, 3, 2, "\x82\x7e\x84\x7c\x86\x7a", 6);      /* dynamically quantised */
    initializer(g, "w4_scale", ONNX_F32, 1, 0, one_scale, sizeof one_scale);
    initializer(g, "w4_zero_point", ONNX_U8, 1, 0, "\x80", 1);
    initializer(g, "d.bias", ONNX_F32, 2, 0, zeros, sizeof zeros);
    node(g, "DynamicQuantizeLinear", "", "x > xq");
    node(g, "MatMulInteger", "", "xq w4_quantized x_zero w4_zero_point > y4");
    node(g, "Cast", "", "y4 > y4f");
    node(g, "Mul", "", "x_scale w4_scale > scales");
    node(g, "Mul", "", "y4f scales > y4s");
    node(g, "Add", "", "y4s d.bias > z4");
    initializer(g, "emb.weight_quantized", ONNX_I8, 2, 2, "\x01\x02\x03\x04", 4);      /* a table, scaled behind the Gather */
    initializer(g, "emb.weight_scale", ONNX_F32, 1, 0, one_scale, sizeof one_scale);
    node(g, "Gather", "", "emb.weight_quantized ids > rows");
    node(g, "DequantizeLinear", "", "rows emb.weight_scale > table");
    node(g, "Gemm", "", "x onnx::MatMul_7 e.bias > y6");
    initializer(g, "e.bias", ONNX_F32, 2, 0, zeros, sizeof zeros);
}

static void products_of_a_graph_get_their_names_back(void **state)
{
    (void)state;
    struct buf g = { 0 };
    graph_of_products(&g);
    put_graph("model.onnx", &g);
    struct weights *w = opened("");
    holds(found(w, "a.weight"), 6, turned_nk);
    assert_int_equal(found(w, "a.weight")->dim[0], 2);
    holds(found(w, "layers.0.attn.Wqkv.weight"), 6, turned_nk);
    holds(found(w, "e.weight"), 6, turned_nk);
    holds(found(w, "onnx::MatMul_7"), 6, turned_kn);
    holds(found(w, "c.weight"), 6, (float[]){ 5, 15, 25, -40, -80, -120 });
    holds(found(w, "d.weight"), 6, (float[]){ 1, 2, 3, -1, -2, -3 });
    holds(found(w, "emb.weight"), 4, (float[]){ 0.5f, 1, 1.5f, 2 });
    weights_close(w);
}

/* Blocks of four along k, in four and in eight bits; a block has a scale and, where it is told, a zero of its own. */
static void products_of_few_bits_are_read(void **state)
{
    (void)state;
    static const unsigned char halves[] = { 0x98, 0xba, 0x07, 0x8f,  0x10, 0x32, 0x54, 0x76 }, bytes[] = { 129, 128, 0, 255 };
    const float scales[] = { 1, 10, 2, 3 }, zeros_told[] = { 0, 1, 2, 3 }, one[] = { 0.5f };
    struct buf g = { 0 };
    initializer_3d(&g, "w_Q4", ONNX_U8, 2, 2, 2, halves, sizeof halves);
    initializer(&g, "w_scales", ONNX_F32, 2, 2, scales, sizeof scales);
    initializer(&g, "w_zeros", ONNX_U8, 2, 0, "\x10\x32", 2);
    initializer(&g, "w_real_zeros", ONNX_F32, 4, 0, zeros_told, sizeof zeros_told);
    initializer_3d(&g, "w_Q8", ONNX_U8, 1, 1, 4, bytes, sizeof bytes);
    initializer(&g, "one", ONNX_F32, 1, 0, one, sizeof one);
    const char *const names[] = { "a.bias", "b.bias", "c.bias", "d.bias", "e.bias", "f.bias" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        initializer(&g, names[i], ONNX_F32, 2, 0, zeros, sizeof zeros);
    node_of_bits(&g, "MatMulNBits", "", "x w_Q4 w_scales > y1", 4, 8);
    node_of_bits(&g, "MatMulNBits", "", "x w_Q4 w_scales w_zeros > y2", 4, 8);
    node_of_bits(&g, "MatMulNBits", "", "x w_Q4 w_scales w_real_zeros > y3", 4, 8);
    node_of_bits(&g, "MatMulNBits", "", "x w_Q8 one > y4", 8, 4);
    node_of_bits(&g, "MatMulNBits", "", "x w_Q4 w_scales > y5", 4, 7);          /* not whole blocks: not read */
    node_of_bits(&g, "MatMulNBits", "", "x w_Q4 one > y6", 4, 8);               /* too few scales: likewise */
    node(&g, "Add", "", "y1 a.bias > z1"), node(&g, "Add", "", "y2 b.bias > z2"), node(&g, "Add", "", "y3 c.bias > z3");
    node(&g, "Add", "", "y4 d.bias > z4"), node(&g, "Add", "", "y5 e.bias > z5"), node(&g, "Add", "", "y6 f.bias > z6");
    put_graph("model.onnx", &g);
    struct weights *w = opened("");
    holds(found(w, "a.weight"), 16, (float[]){ 0, 1, 2, 3, -10, -80, 70, 0,  -16, -14, -12, -10, -12, -9, -6, -3 });
    holds(found(w, "b.weight"), 16, (float[]){ 8, 9, 10, 11, 60, -10, 140, 70,  -4, -2, 0, 2, 3, 6, 9, 12 });
    holds(found(w, "c.weight"), 16, (float[]){ 8, 9, 10, 11, 60, -10, 140, 70,  -4, -2, 0, 2, 3, 6, 9, 12 });
    holds(found(w, "d.weight"), 4, (float[]){ 0.5f, 0, -64, 63.5f });
    float one_of_them;
    tensor_floats(found(w, "b.weight"), 13, 1, &one_of_them);
    assert_true(one_of_them == 6);
    assert_null(weights_find(w, S("e.weight")));
    assert_null(weights_find(w, S("f.weight")));
    weights_close(w);
}

static void typed_and_external_data_are_read(void **state)
{
    (void)state;
    put("weights.bin", "....\x01\x02\x03\x04", 8);
    static const struct { const char *location, *offset, *words; } cases[] = {
        { "weights.bin", "4", NULL },
        { "weights.bin", "5", "does not lie in" },
        { "weights.bin", "-1", "does not lie in" },
        { "weights.bin", "x", "is malformed" },
        { "../weights.bin", "4", "is not a file inside" },
        { "a/../../weights.bin", "4", "is not a file inside" },
        { "", "0", "is not a file inside" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf g = { 0 }, t = { 0 }, place = { 0 }, offset = { 0 };
        field_int(&t, 1, 4);
        field_int(&t, 2, ONNX_U8);
        field_text(&t, 8, "x");
        field_text(&place, 1, "location");
        field_text(&place, 2, cases[i].location);
        field_message(&t, 13, &place);
        field_text(&offset, 1, "offset");
        field_text(&offset, 2, cases[i].offset);
        field_message(&t, 13, &offset);
        field_int(&t, 14, 1);
        field_message(&g, 5, &t);
        field_bytes(&t, 1, "\x02", 1);          /* packed */
        field_int(&t, 2, ONNX_I8);
        field_text(&t, 8, "typed");
        field_bytes(&t, 5, "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);        /* 5, -1 */
        field_message(&g, 5, &t);
        put_graph("external", &g);
        if (cases[i].words) {
            refused("external", cases[i].words);
            continue;
        }
        struct weights *w = opened("external");
        holds(found(w, "x"), 4, (float[]){ 1, 2, 3, 4 });
        holds(found(w, "typed"), 2, (float[]){ 5, -1 });
        weights_close(w);
    }
}

static void a_file_cut_anywhere_is_no_danger(void **state)
{
    (void)state;
    const float a[] = { 1, 2, 3 };
    struct err e = { 0 };
    struct buf g = { 0 };
    weights_write(in_folder("cut"), &(struct tensor_out){ S("a"), 1, { 3 }, a }, 1, NULL, &e);
    graph_of_products(&g);
    put_graph("model.onnx", &g);
    static const char *const names[] = { "cut", "model.onnx" };
    for (size_t k = 0; k < COUNT_OF(names); k++) {
        char bytes[4096];
        FILE *f = fopen(in_folder(names[k]), "rb");
        size_t n = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        for (size_t cut = 0; cut < n; cut++) {
            put("part", bytes, cut);
            struct err why = { 0 };
            struct weights *w = weights_open(in_folder("part"), &why);
            assert_true(w || strstr(why.text, "part"));
            assert_null(w);                     /* every byte of these files is needed */
            weights_close(w);
        }
    }
}

/* ---- 4 bits ---- */

static void q4_int(struct buf *b, int32_t v)
{
    buf_add(b, &v, sizeof v);
}

/* The head of a model of hidden 32, intermediate 64, 3 words, 4 positions, 2 types; a vocabulary of 3; a map of one character. */
static void q4_begin(struct buf *b, int32_t n_arrays)
{
    const float epsilon = 1e-12f;
    buf_str(b, S("E5S1"));
    const int32_t sizes[] = { 1, 32, 1, 2, 64, 3, 4, 2 };
    buf_add(b, sizes, sizeof sizes);
    buf_add(b, &epsilon, 4);
    q4_int(b, 32);
    const int32_t words[] = { 3, 0, 2, 1, 2 };
    buf_add(b, words, sizeof words);
    buf_add(b, &(uint64_t){ 3 }, 8);
    const uint32_t starts[] = { 0, 1, 2, 3 };
    const float scores[] = { 0, -1, -2 };
    buf_add(b, starts, sizeof starts);
    buf_add(b, scores, sizeof scores);
    buf_str(b, S("abc"));
    q4_int(b, 1);
    q4_int(b, 9);
    q4_int(b, 0x41);
    buf_char(b, 1);
    q4_int(b, 0x61);
    q4_int(b, n_arrays);
}

static void q4_array(struct buf *b, str name, uint8_t kind, uint32_t n, uint64_t from, uint64_t bytes)
{
    uint16_t length = (uint16_t)name.len;
    buf_add(b, &length, 2);
    buf_str(b, name);
    buf_char(b, (char)kind);
    buf_add(b, &n, 4);
    buf_add(b, &from, 8);
    buf_add(b, &bytes, 8);
}

static void blocks_of_four_bits_are_read_as_bert(void **state)
{
    (void)state;
    struct buf b = { 0 };
    enum { PLACE = 512, BLOCKS = 3, BIAS = PLACE + BLOCKS * Q4_BLOCK_BYTES };
    q4_begin(&b, 2);
    q4_array(&b, S("emb.word"), 1, 96, PLACE, BLOCKS * Q4_BLOCK_BYTES);
    q4_array(&b, S("l0.q.b"), 0, 32, BIAS, 128);
    while (b.len < PLACE)
        buf_char(&b, 0);
    float wanted[96], bias[32];
    for (int block = 0; block < BLOCKS; block++) {
        const uint16_t scales[] = { 0x3c00, 0xb800, 0x0001 };       /* 1, -.5, the least subnormal */
        const float values[] = { 1, -.5f, 0x1p-24f };
        buf_add(&b, &scales[block], 2);
        for (int i = 0; i < 16; i++) {
            buf_char(&b, (char)(i | (15 - i) << 4));
            wanted[block * 32 + i] = (float)(i - 8) * values[block];
            wanted[block * 32 + 16 + i] = (float)(7 - i) * values[block];
        }
    }
    for (int i = 0; i < 32; i++)
        bias[i] = (float)i;
    buf_add(&b, bias, sizeof bias);
    put("model.q4", b.ptr, b.len);
    struct weights *w = opened("model.q4");
    const struct tensor *t = found(w, "embeddings.word_embeddings.weight");
    assert_int_equal(t->dim[0], 3);
    assert_int_equal(t->dim[1], 32);
    float got[96];
    for (size_t from = 0; from < 96; from++)                    /* any part reads like the whole */
        for (size_t n = 1; n <= 96 - from; n += 13) {
            tensor_floats(t, from, n, got);
            assert_memory_equal(got, wanted + from, n * sizeof *got);
        }
    holds(found(w, "encoder.layer.0.attention.self.query.bias"), 32, bias);
    size_t at;
    assert_true(tensor_is_finite(t, &at));
    weights_close(w);
    b.ptr[PLACE + Q4_BLOCK_BYTES + 1] = 0x7c;                   /* the second scale: infinite */
    put("model.q4", b.ptr, b.len);
    w = opened("model.q4");
    assert_false(tensor_is_finite(found(w, "embeddings.word_embeddings.weight"), &at));
    assert_int_equal(at, 32);
    weights_close(w);
    for (size_t cut = 8; cut < b.len; cut += 3) {               /* cut anywhere: refused, or all that opens is inside */
        put("cut", b.ptr, cut);
        struct err e = { 0 };
        struct weights *c = weights_open(in_folder("cut"), &e);
        assert_true(!c == (e.text[0] != 0));
        assert_null(c);
    }
    unlink(in_folder("model.q4"));
    buf_free(&b);
}

static void a_bad_4_bit_file_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct { const char *name; uint8_t kind; uint32_t n; uint64_t from, bytes; const char *words; } cases[] = {
        { "emb.nonsense", 1, 96, 0, 54, "is none of this format" },
        { "l999.q.w", 1, 1024, 0, 576, "is none of this format" },
        { "emb.word", 7, 96, 0, 54, "unknown type 7" },
        { "emb.word", 1, 96, 1 << 20, 54, "does not lie in the file" },
        { "emb.word", 1, 96, 0, UINT64_MAX, "does not lie in the file" },
        { "emb.word", 1, 96, 0, 53, "has 53 bytes" },
        { "emb.word", 1, 95, 0, 54, "has 95 elements" },
        { "emb.ln.w", 1, 32, 0, 17, "has 17 bytes" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf b = { 0 };
        q4_begin(&b, 1);
        q4_array(&b, str_of(cases[i].name), cases[i].kind, cases[i].n, cases[i].from, cases[i].bytes);
        put("bad", b.ptr, b.len);
        refused("bad", cases[i].words);
        buf_free(&b);
    }
    struct buf b = { 0 };
    q4_begin(&b, 2);
    q4_array(&b, S("emb.ln.b"), 0, 32, 0, 128);
    q4_array(&b, S("emb.ln.b"), 0, 32, 0, 128);
    put("bad", b.ptr, b.len);
    refused("bad", "is there twice");
    b.ptr[4] = 2;
    put("bad", b.ptr, b.len);
    refused("bad", "not of version 1");
    buf_free(&b);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = { "model.safetensors", "types", "half", "one.safetensors", "two.safetensors", "bad",
                                         "model.onnx", "model.safetensors.index.json", "weights.bin", "external", "cut", "part" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlink(in_folder(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(a_file_that_cannot_be_written_is_an_error_and_leaves_nothing),
        cmocka_unit_test(every_type_reads_as_floats),
        cmocka_unit_test(infinity_of_half_precision_is_found),
        cmocka_unit_test(shards_are_one_model),
        cmocka_unit_test(a_bad_file_is_refused_with_the_reason),
        cmocka_unit_test(products_of_a_graph_get_their_names_back),
        cmocka_unit_test(products_of_few_bits_are_read),
        cmocka_unit_test(typed_and_external_data_are_read),
        cmocka_unit_test(a_file_cut_anywhere_is_no_danger),
        cmocka_unit_test(blocks_of_four_bits_are_read_as_bert),
        cmocka_unit_test(a_bad_4_bit_file_is_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
