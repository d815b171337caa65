/* dialect/openai_answer.c */
#include "dialect/openai_answer.h"

#include "base/json.h"

static void usage_write(struct json_writer *w, const struct openai_answer *v)
{
    jw_begin(w, '{');
    jw_key(w, S("prompt_tokens"));
    jw_int(w, v->prompt_tokens);
    jw_key(w, S("completion_tokens"));
    jw_int(w, 0);
    jw_key(w, S("total_tokens"));
    jw_int(w, v->prompt_tokens);
    jw_end(w, '}');
}

static void envelope_begin(struct json_writer *w, const struct openai_answer *v, const char *object)
{
    jw_begin(w, '{');
    jw_key(w, S("id"));
    jw_str(w, v->id);
    jw_key(w, S("object"));
    jw_str(w, str_of(object));
    jw_key(w, S("created"));
    jw_int(w, v->created);
    jw_key(w, S("model"));
    jw_str(w, v->model);
    jw_key(w, S("choices"));
    jw_begin(w, '[');
}

static void choice_end(struct json_writer *w, const char *finish)
{
    jw_key(w, S("logprobs"));
    jw_null(w);
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
    jw_key(&w, S("index"));
    jw_int(&w, 0);
    if (v->is_chat) {
        jw_key(&w, S("message"));
        jw_begin(&w, '{');
        jw_key(&w, S("role"));
        jw_str(&w, S("assistant"));
        jw_key(&w, S("content"));
        jw_str(&w, v->text);
        jw_key(&w, S("refusal"));
        jw_null(&w);
        jw_end(&w, '}');
    } else {
        jw_key(&w, S("text"));
        jw_str(&w, v->text);
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
    jw_key(&w, S("index"));
    jw_int(&w, 0);
    if (v->is_chat) {
        jw_key(&w, S("delta"));
        jw_begin(&w, '{');
        if (role) {
            jw_key(&w, S("role"));
            jw_str(&w, str_of(role));
        }
        if (text) {
            jw_key(&w, S("content"));
            jw_str(&w, *text);
        }
        jw_end(&w, '}');
    } else {
        jw_key(&w, S("text"));
        jw_str(&w, text ? *text : S(""));
    }
    choice_end(&w, finish);
    jw_end(&w, ']');
    if (v->includes_usage) {
        jw_key(&w, S("usage"));
        jw_null(&w);
    }
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
