/* dialect/openai_answer.c */
#include "dialect/openai_answer.h"

#include "base/json.h"
#include "base/put.h"

static void usage_write(struct json_writer *w, const struct openai_answer *v)
{
    jw_begin(w, '{');
    put_int(w, S("prompt_tokens"), v->prompt_tokens);
    put_int(w, S("completion_tokens"), 0);
    put_int(w, S("total_tokens"), v->prompt_tokens);
    jw_end(w, '}');
}

static void envelope_begin(struct json_writer *w, const struct openai_answer *v, const char *object)
{
    jw_begin(w, '{');
    put_str(w, S("id"), v->id);
    put_str(w, S("object"), str_of(object));
    put_int(w, S("created"), v->created);
    put_str(w, S("model"), v->model);
    put_open(w, S("choices"), '[');
}

static void choice_end(struct json_writer *w, const char *finish)
{
    put_null(w, S("logprobs"));
    jw_key(w, S("finish_reason"));
    if (finish)
        jw_str(w, str_of(finish));
    else
        jw_null(w);
    jw_end(w, '}');
}

void openai_answer_write(const struct openai_answer *v, struct buf *out)
{
    struct json_writer w = { .out = out };
    envelope_begin(&w, v, v->is_chat ? "chat.completion" : "text_completion");
    jw_begin(&w, '{');
    put_int(&w, S("index"), 0);
    if (v->is_chat) {
        put_open(&w, S("message"), '{');
        put_str(&w, S("role"), S("assistant"));
        put_str(&w, S("content"), v->text);
        put_null(&w, S("refusal"));
        jw_end(&w, '}');
    } else {
        put_str(&w, S("text"), v->text);
    }
    choice_end(&w, "stop");
    jw_end(&w, ']');
    jw_key(&w, S("usage"));
    usage_write(&w, v);
    jw_end(&w, '}');
}

/* One event. `role` and `text` of the delta, either may be NULL. */
static void chunk_write(const struct openai_answer *v, struct buf *out, const char *role, const str *text,
                        const char *finish)
{
    struct json_writer w = { .out = out };
    buf_str(out, S("data: "));
    envelope_begin(&w, v, v->is_chat ? "chat.completion.chunk" : "text_completion");
    jw_begin(&w, '{');
    put_int(&w, S("index"), 0);
    if (v->is_chat) {
        put_open(&w, S("delta"), '{');
        if (role)
            put_str(&w, S("role"), str_of(role));
        if (text)
            put_str(&w, S("content"), *text);
        jw_end(&w, '}');
    } else {
        put_str(&w, S("text"), text ? *text : S(""));
    }
    choice_end(&w, finish);
    jw_end(&w, ']');
    if (v->includes_usage)
        put_null(&w, S("usage"));
    jw_end(&w, '}');
    buf_str(out, S("\n\n"));
}

void openai_answer_write_stream(const struct openai_answer *v, struct buf *out)
{
    if (v->is_chat)
        chunk_write(v, out, "assistant", &(str){ "", 0 }, NULL);
    for (str rest = v->text; rest.len; ) {      /* a line a chunk */
        long end = str_chr(rest, '\n');
        str piece = end < 0 ? rest : str_upto(rest, (size_t)end + 1);
        rest = str_from(rest, piece.len);
        chunk_write(v, out, NULL, &piece, NULL);
    }
    chunk_write(v, out, NULL, NULL, "stop");
    if (v->includes_usage) {
        struct json_writer w = { .out = out };
        buf_str(out, S("data: "));
        envelope_begin(&w, v, v->is_chat ? "chat.completion.chunk" : "text_completion");
        jw_end(&w, ']');
        jw_key(&w, S("usage"));
        usage_write(&w, v);
        jw_end(&w, '}');
        buf_str(out, S("\n\n"));
    }
    buf_str(out, S("data: [DONE]\n\n"));
}
