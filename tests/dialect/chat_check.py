#!/usr/bin/env python3
"""OpenAI's SDK judges what the Chat Completions writer says, and what comes of it when it is read again.

Usage: chat_check.py TRANSLATE   (the program built from translate.c)

Requests made of other dialects are checked against the SDK's own model of a request, answers and chunks against its types
(strictly), and streams are served over HTTP to the SDK, whose accumulated message must be what the source said. Needs
`pip install openai`; without it, it says so and passes. Ends with `N passed, M failed`.
"""
import http.server
import json
import subprocess
import sys
import threading

try:
    import openai
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
    from pydantic import TypeAdapter
except ImportError as e:
    print(f"skip: chat_check: {e}")
    sys.exit(0)

TRANSLATE = sys.argv[1]
passed = failed = 0


def check(what, ok, detail=""):
    global passed, failed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print(f"{what}: {str(detail)[:1000]}")


def translate(source, target, mode, text, *options):
    p = subprocess.run([TRANSLATE, source, target, mode, *options], input=text.encode(), capture_output=True)
    check(f"{source} -> {target} {mode}", p.returncode == 0, p.stderr.decode() + text)
    return p.stdout.decode()


# ---- one conversation in four dialects ----

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
REQUESTS = {
    "anthropic": [
        {"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]},
        {"max_tokens": 5000, "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
         "thinking": {"type": "enabled", "budget_tokens": 2000}, "temperature": 1, "stop_sequences": ["a"], "metadata": {"user_id": "u"},
         "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}], "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
         "messages": [
             {"role": "user", "content": [{"type": "text", "text": "look"},
                                          {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                                          {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}]},
             {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "S"}, {"type": "text", "text": "t"},
                                               {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
                                               {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}}]},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"},
                                          {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True,
                                           "content": [{"type": "text", "text": "no"},
                                                       {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]},
                                          {"type": "text", "text": "go on"}]}]},
    ],
    "openai_responses": [
        {"input": "Hi", "instructions": "s", "max_output_tokens": 5},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]},
                   {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "E"},
                   {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"},
                   {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
                   {"type": "function_call_output", "call_id": "c1", "output": "42"},
                   {"type": "function_call_output", "call_id": "c2", "output": "43"}],
         "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}], "tool_choice": "auto", "parallel_tool_calls": True,
         "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA, "strict": True}}, "reasoning": {"effort": "low"}},
    ],
    "gemini": [
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
        {"systemInstruction": {"parts": [{"text": "s"}]},
         "contents": [{"role": "user", "parts": [{"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
                      {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "R1M="}]},
                      {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": 42}}}]}],
         "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}}}]}],
         "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
         "generationConfig": {"temperature": 0.5, "maxOutputTokens": 9, "stopSequences": ["x"], "seed": 3}},
    ],
}
adapter = TypeAdapter(CompletionCreateParamsNonStreaming)
for source, requests in REQUESTS.items():
    for request in requests:
        request.setdefault("model", "m") if source != "gemini" else None
        out = translate(source, "openai_chat", "request", json.dumps(request))
        if not out:
            continue
        body = json.loads(out)
        try:
            adapter.validate_python(body)
            check("request", True)
        except Exception as e:
            check(f"{source} request", False, f"{e}\n{out}")
        calls = [c["id"] for m in body["messages"] for c in m.get("tool_calls") or []]
        results = [m["tool_call_id"] for m in body["messages"] if m["role"] == "tool"]
        check(f"{source}: every call has its result", calls == results, out)
        for i, m in enumerate(body["messages"]):
            if m.get("tool_calls"):
                n = len(m["tool_calls"])
                check(f"{source}: results follow their calls", all(x["role"] == "tool" for x in body["messages"][i + 1:i + 1 + n]), out)
        again = json.loads(translate("openai_chat", "openai_chat", "request", out))
        check(f"{source}: a request stays what it is", again == body, f"{out}\n{json.dumps(again)}")


# ---- answers ----

def events(*datas, named=True):
    return "".join((f"event: {d['type']}\n" if named else "") + f"data: {json.dumps(d)}\n\n" for d in datas)


def anthropic_stream(stop="tool_use"):
    def block(i, start, *deltas):
        return [{"type": "content_block_start", "index": i, "content_block": start},
                *[{"type": "content_block_delta", "index": i, "delta": d} for d in deltas], {"type": "content_block_stop", "index": i}]
    return events(
        {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
                                              "stop_reason": None, "stop_sequence": None,
                                              "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1}}},
        *block(0, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": "h"},
               {"type": "thinking_delta", "thinking": "m"}, {"type": "signature_delta", "signature": "SIG=="}),
        *block(1, {"type": "redacted_thinking", "data": "ENC"}), {"type": "ping"},
        *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "hé"}, {"type": "text_delta", "text": "llo"}),
        *block(3, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}, {"type": "input_json_delta", "partial_json": "{\"a\":"},
               {"type": "input_json_delta", "partial_json": "1}"}),
        *block(4, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}),
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 20}},
        {"type": "message_stop"})


GEMINI = [{"candidates": [{"content": {"role": "model", "parts": [{"text": "h", "thought": True}]}, "index": 0}], "responseId": "r", "modelVersion": "g"},
          {"candidates": [{"content": {"role": "model", "parts": [{"text": "m", "thought": True}, {"text": "hé"}]}, "index": 0}]},
          {"candidates": [{"content": {"role": "model", "parts": [
              {"text": "llo"}, {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "R1M="}, {"functionCall": {"name": "g", "args": {}}}]},
              "finishReason": "STOP", "index": 0}],
           "usageMetadata": {"promptTokenCount": 15, "cachedContentTokenCount": 5, "candidatesTokenCount": 15, "thoughtsTokenCount": 5, "totalTokenCount": 35}}]
CHAT_UNTIDY = [{"id": "c", "choices": [{"delta": {"role": "assistant", "reasoning": "hm"}}]},
               {"id": "c", "choices": [{"delta": {"role": "assistant", "content": "hé"}, "finish_reason": ""}]},
               {"id": "c", "choices": [{"delta": {"content": "llo"}}], "usage": {"prompt_tokens": 15, "completion_tokens": 1}},
               {"id": "c", "choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}}]},
               {"id": "c", "choices": [{"delta": {"tool_calls": [{"function": {"name": "g", "arguments": ""}}]}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 15, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 5}}}]
STREAMS = {"anthropic": anthropic_stream(), "gemini": events(*GEMINI, named=False), "openai_chat": events(*CHAT_UNTIDY, named=False)}
STREAMS["openai_responses"] = translate("anthropic", "openai_responses", "stream", STREAMS["anthropic"])

served = {}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = served["body"].encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if served["is_stream"] else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *a):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.OpenAI(api_key="k", base_url=f"http://127.0.0.1:{server.server_port}/v1", max_retries=0)


def accumulate(text):
    served.update(body=text, is_stream=True)
    content, thought, calls, finish, usage, ids, blocks = "", "", {}, None, None, set(), []
    for chunk in client.chat.completions.create(model="m", messages=[], stream=True):
        ChatCompletionChunk.model_validate(chunk.model_dump(), strict=True)
        ids.add((chunk.id, chunk.created, chunk.model))
        usage = chunk.usage or usage
        for choice in chunk.choices:
            content += choice.delta.content or ""
            extra = choice.delta.model_extra or {}
            thought += extra.get("reasoning_content") or ""
            blocks += extra.get("thinking_blocks") or []
            finish = choice.finish_reason or finish
            for c in choice.delta.tool_calls or []:
                if c.id:
                    check("a call begins once", c.index not in calls, text)
                    calls[c.index] = [c.id, c.function.name, ""]
                calls[c.index][2] += c.function.arguments or ""
    check("one id, time and model", len(ids) == 1, ids)
    return content, thought, [calls[i] for i in sorted(calls)], finish, usage, blocks


for source, stream in STREAMS.items():
    out = translate(source, "openai_chat", "stream", stream)
    content, thought, calls, finish, usage, blocks = accumulate(out)
    check(f"{source} stream: texts", (content, thought) == ("héllo", "hm"), (content, thought))
    check(f"{source} stream: calls", [(n, json.loads(a)) for _, n, a in calls] == [("f", {"a": 1}), ("g", {})], calls)
    check(f"{source} stream: ids", all(i for i, _, _ in calls) and len({i for i, _, _ in calls}) == 2, calls)
    check(f"{source} stream: reason", finish == "tool_calls", finish)
    check(f"{source} stream: usage", (usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens) == (15, 20, 5), usage)
    if source == "anthropic":
        check("signatures come along", blocks == [{"type": "thinking", "thinking": "hm", "signature": "SIG=="},
                                                  {"type": "redacted_thinking", "data": "ENC"}], blocks)
    if source == "gemini":
        check("thought signatures come along", '"extra_content":{"google":{"thought_signature":"R1M="}}' in out, out)
    again = translate("openai_chat", "openai_chat", "stream", out)
    check(f"{source} stream: stays what it is", source == "openai_responses" or again == out.replace(": ping\n\n", ""), f"{out}\n\n{again}")
    cut = out[:out.rindex('"finish_reason":"tool_calls"')].rsplit("data: ", 1)[0]
    broken = translate("openai_chat", "openai_chat", "stream", cut)
    try:
        accumulate(broken)
        check(f"{source}: a broken stream raises", False, broken)
    except openai.APIError as e:
        check(f"{source}: a broken stream raises", "broke off" in str(e), e)

REPLIES = {
    "anthropic": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use", "stop_sequence": None,
                  "content": [{"type": "thinking", "thinking": "hm", "signature": "S"}, {"type": "text", "text": "héllo"},
                              {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}],
                  "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 20}},
    "gemini": {"candidates": [{"content": {"role": "model", "parts": [p for g in GEMINI for p in g["candidates"][0]["content"]["parts"]]}, "finishReason": "STOP"}],
               "usageMetadata": GEMINI[-1]["usageMetadata"], "modelVersion": "g", "responseId": "r"},
}
for source, reply in REPLIES.items():
    served.update(body=translate(source, "openai_chat", "reply", json.dumps(reply)), is_stream=False)
    got = client.chat.completions.create(model="m", messages=[])
    ChatCompletion.model_validate_json(served["body"], strict=True)
    message = got.choices[0].message
    check(f"{source} reply: text", message.content == "héllo" and message.model_extra["reasoning_content"] == "hm", message)
    check(f"{source} reply: calls", [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls] == [("f", {"a": 1}), ("g", {})], message)
    check(f"{source} reply: reason and usage", got.choices[0].finish_reason == "tool_calls" and got.usage.total_tokens == 35, got)

print("%d passed, %d failed" % (passed, failed))
sys.exit(failed > 0)
