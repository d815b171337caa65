#!/usr/bin/env python3
"""The official SDKs of Anthropic and Amazon judge what the Messages and Converse writers say.

Usage: messages_converse_check.py TRANSLATE EVENT_STREAM_TOOL   (programs built from translate.c and event_stream_tool.c)

Requests are checked against the SDKs' own models of a request. Answers and streams are served over HTTP to the SDKs, and what
they make of them must be what the source said. Needs `pip install anthropic botocore`; without them it says so and passes. Ends with
`N passed, M failed`.
"""
import http.server
import json
import subprocess
import sys
import threading
import typing

try:
    import anthropic
    import botocore
    import botocore.session
    from anthropic.types import MessageCreateParams
    from botocore.config import Config
    from botocore.validate import ParamValidator
    from pydantic import TypeAdapter
except ImportError as e:
    print(f"skip: messages_converse_check: {e}")
    sys.exit(0)

TRANSLATE, FRAMES = sys.argv[1:3]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
checks = 0


def check(what, ok, detail=""):
    global checks
    checks += 1
    if not ok:
        sys.exit(f"messages_converse_check: {what} {detail}")


def translate(source, target, mode, text, *options):
    p = subprocess.run([TRANSLATE, source, target, mode, *options], input=text if isinstance(text, bytes) else text.encode(),
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(f"{source} -> {target} {mode}", p.returncode == 0, p.stderr.decode())
    return p.stdout


# ---- requests ----

CHAT = [
    {"messages": [{"role": "user", "content": "Hi"}]},
    {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [
        {"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "file", "file": {"filename": "a.b.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}]}],
     "temperature": 1.7, "top_p": 0.9, "stop": ["END"], "max_completion_tokens": 50, "user": "u"},
    {"messages": [{"role": "user", "content": "q"},
                  {"role": "assistant", "content": "", "tool_calls": [
                      {"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
                      {"id": "c2", "type": "function", "function": {"name": "g.h", "arguments": ""}}]},
                  {"role": "tool", "tool_call_id": "functions.f:0", "content": "1"},
                  {"role": "tool", "tool_call_id": "c2", "content": ""}, {"role": "user", "content": "go on"}],
     "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {}}, "strict": True}},
               {"type": "function", "function": {"name": "g.h"}}], "tool_choice": "required", "parallel_tool_calls": False},
    {"messages": [{"role": "user", "content": "q"}], "reasoning_effort": "high", "max_tokens": 30000,
     "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {
         "a": {"type": "string"}}, "required": ["a"]}}}},
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "x"}], "metadata": {"a": "b"}, "service_tier": "default"},
]


def deep(value, kind):
    """pydantic reads Iterable lazily; JSON lists are what travels, so they are checked as lists."""
    adapter = TypeAdapter(kind)
    result = adapter.validate_python(value)
    stack = [result]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            stack.extend(one.values())
        elif isinstance(one, (list, tuple)):
            stack.extend(one)
        elif isinstance(one, typing.Iterator):
            stack.extend(list(one))


def requests():
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    shape = model.operation_model("ConverseStream").input_shape
    for request in CHAT:
        text = json.dumps({"model": "m", **request})
        for legacy in ((), ("legacy_reasoning",)):
            body = json.loads(translate("openai_chat", "anthropic", "request", text, *legacy))
            deep(body, MessageCreateParams)
            body = json.loads(translate("openai_chat", "bedrock", "request", text, "model=anthropic.claude", *legacy))
            report = ParamValidator().validate({"modelId": "m", **body}, shape)
            check("Converse request", not report.has_errors(), report.generate_report() + json.dumps(body))


# ---- answers ----

class Server(http.server.BaseHTTPRequestHandler):
    answer = (200, "application/json", b"")
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status, kind, body = Server.answer
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if kind == "application/json" and status >= 400:
            self.send_header("x-amzn-errortype", json.loads(body).get("__type", ""))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def chat_reply(message, finish, usage=None):
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [
        {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
        "usage": usage or {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35,
                           "prompt_tokens_details": {"cached_tokens": 20}, "completion_tokens_details": {"reasoning_tokens": 2}}})


def call(name, arguments, i=0):
    return {"index": i, "id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}


# message, finish reason -> blocks, stop reason
REPLIES = [
    ({"content": "Hello"}, "stop", [("text", "Hello")], "end_turn"),
    ({"content": "cut"}, "length", [("text", "cut")], "max_tokens"),
    ({"content": None, "tool_calls": [call("f", "{\"a\": [1, \"é\"]}"), call("g", "", 1)]}, "tool_calls",
     [("tool_use", "f", {"a": [1, "é"]}), ("tool_use", "g", {})], "tool_use"),
    ({"content": "both", "reasoning_content": "hm", "tool_calls": [call("f", "{}")]}, "stop",
     [("thinking", "hm"), ("text", "both"), ("tool_use", "f", {})], "tool_use"),
    ({"content": None, "refusal": "no"}, "stop", [("text", "no")], "refusal"),
    ({"content": ""}, "content_filter", [], "refusal"),
]


def chat_stream(message, finish):
    """The same answer in pieces of two characters."""
    out = []

    def line(choices, **more):
        out.append("data: " + json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt",
                                          "choices": choices, **more}) + "\n\n")

    def chunk(delta, reason=None):
        line([{"index": 0, "delta": delta, "finish_reason": reason}])

    chunk({"role": "assistant", "content": ""})
    for key in ("reasoning_content", "content", "refusal"):
        text = message.get(key) or ""
        for at in range(0, len(text), 2):
            chunk({key: text[at:at + 2]})
    for one in message.get("tool_calls", []):
        chunk({"tool_calls": [{**one, "function": {**one["function"], "arguments": ""}}]})
        arguments = one["function"]["arguments"]
        for at in range(0, len(arguments), 2):
            chunk({"tool_calls": [{"index": one["index"], "function": {"arguments": arguments[at:at + 2]}}]})
    chunk({}, finish)
    line([], usage=json.loads(chat_reply({}, ""))["usage"])
    out.append("data: [DONE]\n\n")
    return "".join(out)


def messages_blocks(message):
    out = []
    for block in message.content:
        out.append(("tool_use", block.name, block.input) if block.type == "tool_use"
                   else (block.type, getattr(block, block.type)))
    return out


def tokens(usage):
    return usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens


def converse_blocks(content):
    out = []
    for block in content:
        if "text" in block:
            out.append(("text", block["text"]))
        elif "toolUse" in block:
            out.append(("tool_use", block["toolUse"]["name"], block["toolUse"]["input"]))
        else:
            out.append(("thinking", block["reasoningContent"]["reasoningText"]["text"]))
    return out


def frames(sse):
    lines = ""
    for event in sse.decode().split("\n\n"):
        if event:
            name, data = event.split("\n")
            lines += f"{name[7:]}\t{int(name.endswith('Exception'))}\t{data[6:]}\n"
    return subprocess.run([FRAMES, "encode"], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout


def collect_converse(stream):
    content, stop, usage = {}, None, None
    for event in stream:
        if "contentBlockStart" in event:
            start = event["contentBlockStart"]["start"]["toolUse"]
            content[event["contentBlockStart"]["contentBlockIndex"]] = {"toolUse": {"name": start["name"], "input": ""}}
        elif "contentBlockDelta" in event:
            delta, at = event["contentBlockDelta"]["delta"], event["contentBlockDelta"]["contentBlockIndex"]
            if "text" in delta:
                content.setdefault(at, {"text": ""})["text"] += delta["text"]
            elif "toolUse" in delta:
                content[at]["toolUse"]["input"] += delta["toolUse"]["input"]
            else:
                block = content.setdefault(at, {"reasoningContent": {"reasoningText": {"text": ""}}})
                block["reasoningContent"]["reasoningText"]["text"] += delta["reasoningContent"].get("text", "")
        elif "messageStop" in event:
            stop = event["messageStop"]["stopReason"]
        elif "metadata" in event:
            usage = event["metadata"]["usage"]
    for block in content.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return [content[at] for at in sorted(content)], stop, usage


def answers(messages, converse):
    ask = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "q"}]}
    converse_ask = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "q"}]}]}
    for message, finish, blocks, stop in REPLIES:
        converse_stop = {"refusal": "content_filtered" if finish == "content_filter" else "end_turn"}.get(stop, stop)
        Server.answer = (200, "application/json", translate("openai_chat", "anthropic", "reply", chat_reply(message, finish)))
        got = messages.messages.create(**ask)
        anthropic.types.Message.model_validate(got.model_dump(), strict=False)
        check("Messages reply", messages_blocks(got) == blocks and got.stop_reason == stop, f"{got}")
        check("Messages usage", tokens(got.usage) == (10, 20, 5))

        sse = translate("openai_chat", "anthropic", "stream", chat_stream(message, finish))
        Server.answer = (200, "text/event-stream", sse)
        with messages.messages.stream(**ask) as stream:
            kinds = [event.type for event in stream]
            got = stream.get_final_message()
        check("Messages stream", messages_blocks(got) == blocks and got.stop_reason == stop, f"{got}")
        check("Messages stream usage", tokens(got.usage) == (10, 20, 5))
        check("Messages events", (kinds[0], kinds[-1], kinds.count("message_start")) == ("message_start", "message_stop", 1))
        adapter = TypeAdapter(anthropic.types.RawMessageStreamEvent)
        for line in sse.decode().split("\n"):
            if line.startswith("data: "):
                adapter.validate_json(line[6:])

        Server.answer = (200, "application/json", translate("openai_chat", "bedrock", "reply", chat_reply(message, finish)))
        got = converse.converse(**converse_ask)
        check("Converse reply", converse_blocks(got["output"]["message"]["content"]) == blocks, f"{got}")
        check("Converse stop", got["stopReason"] == converse_stop, f"{got}")
        check("Converse usage", (got["usage"]["inputTokens"], got["usage"]["cacheReadInputTokens"]) == (10, 20))

        sse = translate("openai_chat", "bedrock", "stream", chat_stream(message, finish))
        binary = frames(sse)
        Server.answer = (200, "application/vnd.amazon.eventstream", binary)
        content, got_stop, usage = collect_converse(converse.converse_stream(**converse_ask)["stream"])
        check("Converse stream", converse_blocks(content) == blocks, f"{content}")
        check("Converse stream usage", (usage["inputTokens"], usage["outputTokens"]) == (10, 5))

        # and back: what botocore read is what our reader makes of the same frames
        Server.answer = (200, "text/event-stream", translate("bedrock", "anthropic", "stream", binary))
        with messages.messages.stream(**ask) as stream:
            got = stream.get_final_message()
        check("Converse frames as a Messages stream", messages_blocks(got) == blocks, f"{got}")

        # Claude by InvokeModel: botocore takes the chunks apart, their bytes are a Messages stream
        invoke = frames(translate("openai_chat", "bedrock_invoke", "stream", chat_stream(message, finish)))
        Server.answer = (200, "application/vnd.amazon.eventstream", invoke)
        events = [json.loads(event["chunk"]["bytes"]) for event in
                  converse.invoke_model_with_response_stream(modelId="m", body=b"{}")["body"]]
        check("Invoke stream", events[0]["type"] == "message_start" and events[-1]["type"] == "message_stop")
        for event in events:
            adapter.validate_python(event)
        Server.answer = (200, "text/event-stream", translate("bedrock_invoke", "anthropic", "stream", invoke))
        with messages.messages.stream(**ask) as stream:
            got = stream.get_final_message()
        check("Invoke frames as a Messages stream", messages_blocks(got) == blocks, f"{got}")


def errors(messages, converse):
    ask = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "q"}]}
    for status, kind in ((400, anthropic.BadRequestError), (401, anthropic.AuthenticationError), (404, anthropic.NotFoundError),
                         (429, anthropic.RateLimitError), (503, anthropic.OverloadedError)):
        body = translate("openai_chat", "anthropic", "error", json.dumps({"error": {
            "message": "m", "type": "t", "param": None, "code": "some_code"}}), f"status={status}")
        Server.answer = (529 if status == 503 else status, "application/json", body)
        try:
            messages.messages.create(**ask)
            check("an error raises", False)
        except kind as e:
            check("the SDK reads the code", e.error_code == "some_code" and e.body["error"]["message"] == "m", repr(e))
    body = translate("openai_chat", "bedrock", "error", json.dumps({"error": {"message": "slow", "type": "t", "param": None,
                                                                              "code": None}}), "status=429")
    Server.answer = (429, "application/json", body)
    try:
        converse.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "q"}]}])
        check("an error raises", False)
    except converse.exceptions.ThrottlingException as e:
        check("botocore reads the message", e.response["Error"]["Message"] == "slow")
    # an exception inside a stream
    sse = translate("openai_chat", "bedrock", "stream",
                    'data: {"error":{"message":"over","type":"server_error","param":null,"code":null}}\n\n')
    Server.answer = (200, "application/vnd.amazon.eventstream", frames(sse))
    try:
        list(converse.converse_stream(modelId="m", messages=[{"role": "user", "content": [{"text": "q"}]}])["stream"])
        check("an exception frame raises", False)
    except botocore.exceptions.EventStreamError as e:
        check("botocore reads the exception", "over" in str(e))


def main():
    requests()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    messages = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
    converse = botocore.session.get_session().create_client(
        "bedrock-runtime", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(retries={"max_attempts": 0}))
    answers(messages, converse)
    errors(messages, converse)
    server.shutdown()
    print(f"messages_converse_check: {checks} checks by anthropic {anthropic.__version__} and botocore {botocore.__version__}")
    print(f"{checks} passed, 0 failed")           # the first that fails ends it


if __name__ == "__main__":
    main()
