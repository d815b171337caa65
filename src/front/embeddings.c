/* front/embeddings.c */
#include "front/embeddings.h"

#include <openssl/evp.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "pipeline/relay.h"

enum { INPUTS_MAX = 2048 };             /* OpenAI's bound */

static int refuse(struct req *r, const char *param, str what)
{
    req_fail(r, 400, "invalid_request_error", "invalid_value", "shape", "%s: " STR_FMT, param, STR_ARG(what));
    r->fail.param = str_of(param);
    return relay_fail(r);
}

static void answer_write(struct buf *out, const struct req *r, const float *vectors, uint32_t n, uint32_t dim, bool is_base64,
                         uint64_t tokens)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_str(&w, S("object"), S("list"));
    put_open(&w, S("data"), '[');
    for (uint32_t i = 0; i < n; i++) {
        const float *v = vectors + (size_t)i * dim;
        jw_begin(&w, '{');
        put_str(&w, S("object"), S("embedding"));
        put_int(&w, S("index"), i);
        jw_key(&w, S("embedding"));
        if (is_base64) {
            size_t bytes = dim * sizeof *v;
            char *text = arena_alloc(r->a, (bytes + 2) / 3 * 4 + 1);
            int length = EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)v, (int)bytes);
            jw_str(&w, (str){ text, (size_t)length });
        } else {
            jw_begin(&w, '[');
            for (uint32_t d = 0; d < dim; d++)
                jw_float(&w, v[d]);
            jw_end(&w, ']');
        }
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    put_str(&w, S("model"), r->model->name);
    put_open(&w, S("usage"), '{');
    put_int(&w, S("prompt_tokens"), (int64_t)tokens);
    put_int(&w, S("total_tokens"), (int64_t)tokens);
    jw_end(&w, '}');
    jw_end(&w, '}');
}

WAITS int embeddings_answer(struct req *r)
{
    r->response_path = "encoder";
    r->model = r->order[0];
    r->ref = r->refs ? r->refs[0] : NULL;
    r->response_model = r->model->name;
    if (r->endpoint != ENDPOINT_EMBEDDINGS) {
        req_fail(r, 400, "invalid_request_error", "wrong_endpoint", "wrong_endpoint",
                 "model '" STR_FMT "' makes embeddings: ask POST /v1/embeddings", STR_ARG(r->model->name));
        return relay_fail(r);
    }
    const struct need_source *source = r->model->encoder;
    const struct message *m = &r->chat.messages[0];
    int64_t dim = source->dim;
    jref dimensions = json_get(&r->json, 0, S("dimensions"));
    str format = json_str(&r->json, json_get(&r->json, 0, S("encoding_format")), r->a);
    if (m->structured_bytes)
        return refuse(r, "input", S("this model reads text, not token numbers"));
    if (m->n_texts == 0 || m->n_texts > INPUTS_MAX)
        return refuse(r, "input", arena_printf(r->a, "1 to %d texts, not %u", INPUTS_MAX, m->n_texts));
    if (dimensions != JSON_NONE && (!json_int(&r->json, dimensions, &dim) || dim < 1 || dim > source->dim))
        return refuse(r, "dimensions", arena_printf(r->a, "this model makes vectors of 1 to %u numbers", source->dim));
    if (format.len && !str_eq(format, S("float")) && !str_eq(format, S("base64")))
        return refuse(r, "encoding_format", S("float or base64"));
    float *vectors = arena_try(r->a, m->n_texts * (size_t)dim * sizeof *vectors);
    uint64_t tokens = 0;
    const char *why = !vectors ? "no-memory"
                    : models_embed(source, m->texts, m->n_texts, (uint32_t)dim, r->deadline ? r->deadline : NEVER, vectors, &tokens);
    if (why && strcmp(why, "cancelled") == 0) {
        r->is_client_gone = true;
        return -1;
    }
    if (why) {
        bool is_late = strcmp(why, "timeout") == 0;
        req_fail(r, is_late ? 504 : 503, is_late ? "timeout_error" : "overloaded_error", "encoder_unavailable", why,
                 "the encoder did not answer: %s", why);
        return relay_fail(r);
    }
    r->usage.prompt_tokens = (int64_t)tokens;
    struct buf body = { 0 };
    answer_write(&body, r, vectors, m->n_texts, (uint32_t)dim, str_eq(format, S("base64")), tokens);
    str text = buf_to_arena(&body, r->a);
    return relay_own(r, 200, S("application/json"), text);
}
