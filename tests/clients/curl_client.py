"""curl: the bytes themselves, and the parts of HTTP that no SDK uses."""

import base64
import json
import os
import re
import struct
import subprocess
import tempfile
import time

import lib
from lib import AUTO, ERRORS, HELLO, MODEL, ODD, ONE_TOOL, PERSON, TIME, TWO_TOOLS, WEATHER, scenario

folder = tempfile.TemporaryDirectory(prefix="curl-client-")


def curl(path, body=None, headers=None, *options, raw=None, auth=True, limit=10):
    """One request. Gives status, the headers that matter, the body, and what curl says about it."""
    head = os.path.join(folder.name, "head")
    out = os.path.join(folder.name, "body")
    command = ["curl", "-sS", "--max-time", str(limit), "-D", head, "-o", out, "--noproxy", "*", "-w", "%{http_code} %{num_connects} %{http_version}"]
    if auth:
        command += ["-H", "Authorization: Bearer " + lib.KEY]
    data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
    if data is not None:
        command += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
    for k, v in (headers or {}).items():
        command += ["-H", f"{k}: {v}"]
    for name in (head, out):
        if os.path.exists(name):
            os.unlink(name)
    done = subprocess.run([*command, *options, lib.BASE + path], input=data or b"", capture_output=True, timeout=limit + 5)
    received = {}
    if os.path.exists(head):
        blocks = open(head, "rb").read().decode("latin-1").replace("\r\n", "\n").strip().split("\n\n")
        for line in blocks[-1].split("\n")[1:]:
            name, _, value = line.partition(":")
            received[name.strip().lower()] = value.strip()
    text = open(out, "rb").read() if os.path.exists(out) else b""
    status = done.stdout.decode().split(" ")
    return {"exit": done.returncode, "status": int(status[0] or 0), "http": status[2] if len(status) > 2 else None,
            "headers": received, "body": text, "complaint": done.stderr.decode().strip()}


def seen(answer):
    """What may be compared: no framing, no dates, no names of servers."""
    kept = {k: answer["headers"].get(k) for k in ("content-type", "retry-after", "retry-after-ms", "content-encoding")}
    return {"exit": answer["exit"], "status": answer["status"], "http": answer["http"], "headers": kept, "complaint": answer["complaint"]}


def request(**more):
    return {"model": MODEL, "messages": [{"role": "user", "content": HELLO}]} | more


def user(text):
    return [{"role": "user", "content": text}]


def whole(body, headers=None, *options, path="/chat/completions", **more):
    answer = curl(path, body, headers, *options, **more)
    parsed = json.loads(answer["body"])
    return {"facts": lib.answer_facts(parsed), "raw": seen(answer) | {"body": parsed, "text": answer["body"].decode()}}


def events(text):
    """The stream as lines: [field, value], JSON values parsed, blank lines kept."""
    lines = []
    for line in re.split(r"\r\n|\n|\r", text.decode("utf-8-sig")):
        field, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "":             # blank, or a comment that may come and go
            if not colon:
                lines.append([""])
            continue
        try:
            lines.append([field, json.loads(value)])
        except ValueError:         # [DONE], or a line that was cut
            lines.append([field, value])
    return lines


def streamed(body, headers=None, path="/chat/completions", exact=False):
    answer = curl(path, body | {"stream": True}, headers, "-N")
    lines = events(answer["body"])
    data = [line[1] for line in lines if line[0] == "data"]
    facts = lib.stream_facts([d for d in data if isinstance(d, dict)])
    facts["done"] = bool(data) and data[-1] == "[DONE]"
    facts["unframed"] = not {"content-length", "content-encoding"} & set(answer["headers"])
    return {"facts": facts, "raw": seen(answer) | ({"text": answer["body"].decode()} if exact else {"lines": lines})}


SCHEMA = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}

# `text` in the raw part: a whole answer passes byte for byte.
lib.add("chat", lambda: whole(request()))
lib.add("chat_auto", lambda: whole(request(model=AUTO)))
lib.add("chat_odd_text", lambda: whole(request(messages=user(ODD))))
lib.add("chat_escaped", lambda: whole(None, raw=(
    b' {\n"messages" : [ {"content":"\\u00e9\\ud83d\\ude00\\/\\n","role":"user"} ] ,\t"model":"\\u006dock", "temperature":1.0e0,'
    b'"seed":12345678901234567890,"unknown":{"deep":[[[[]]]]}}\n')))
lib.add("chat_x_api_key", lambda: whole(request(), {"x-api-key": lib.KEY}, auth=False))
lib.add("chat_chunked_upload", lambda: whole(request(), {"Transfer-Encoding": "chunked"}))
lib.add("chat_expect_continue", lambda: whole(request(messages=user(HELLO + " word" * 60000)), {"Expect": "100-continue"}))
lib.add("chat_large", lambda: whole(request(messages=user(HELLO + " word" * 400000)), {"Expect": ""}))
lib.add("chat_large_answer", lambda: whole(request(), {"x-mock-tokens": "40000"}))
lib.add("chat_http10", lambda: whole(request(), None, "--http1.0"))
lib.add("chat_compressed_answer", lambda: whole(request(), None, "--compressed"))
lib.add("chat_close", lambda: whole(request(), {"Connection": "close"}))
lib.add("stream", lambda: streamed(request()))
lib.add("stream_auto", lambda: streamed(request(model=AUTO)))
lib.add("stream_usage", lambda: streamed(request(stream_options={"include_usage": True})))
lib.add("stream_usage_bytes", lambda: streamed(request(stream_options={"include_usage": True}), exact=True))
lib.add("stream_usage_false", lambda: streamed(request(stream_options={"include_usage": False})))
lib.add("stream_long", lambda: streamed(request(), {"x-mock-tokens": "5000"}))
for odd in ("crlf", "cr", "bom", "comments"):
    lib.add("stream_" + odd, lambda odd=odd: streamed(request(), {"x-mock-malformed": odd}) | {"raw": None})
lib.add("stream_split_writes", lambda: streamed(request(), {"x-mock-chunk-bytes": "7", "x-mock-tokens": "40"}))
lib.add("tool_single", lambda: whole(request(messages=user(ONE_TOOL), tools=[WEATHER])))
lib.add("tool_parallel", lambda: whole(request(messages=user(TWO_TOOLS), tools=[WEATHER, TIME])))
lib.add("tool_stream", lambda: streamed(request(messages=user(ONE_TOOL), tools=[WEATHER])))
lib.add("tool_parallel_stream", lambda: streamed(request(messages=user(TWO_TOOLS), tools=[WEATHER, TIME])))
lib.add("structured", lambda: whole(request(response_format=SCHEMA)))
lib.add("structured_stream", lambda: streamed(request(response_format=SCHEMA)))
lib.add("logprobs_n", lambda: whole(request(n=2, logprobs=True, top_logprobs=2)))
lib.add("multi_turn", lambda: whole(request(tools=[WEATHER], messages=user(ONE_TOOL) + [
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Rome\"}"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "{\"celsius\":11}"},
])))


@scenario
def keep_alive():
    """Two requests, one connection."""
    body = json.dumps(request())
    one = ["-sS", "--max-time", "10", "--noproxy", "*", "-o", os.devnull, "-w", "%{http_code} %{num_connects}\n",
           "-H", "Authorization: Bearer " + lib.KEY, "-H", "Content-Type: application/json", "-d", body, lib.BASE + "/chat/completions"]
    done = subprocess.run(["curl", *one, "--next", *one], capture_output=True, text=True, timeout=25)
    return {"facts": {"connects": [line.split() for line in done.stdout.strip().split("\n")]}, "raw": done.stderr}


@scenario
def abort_stream():
    def abort():
        answer = curl("/chat/completions", request(stream=True), {"x-mock-tokens": "400", "x-mock-gap-ms": "20"}, "-N", limit=0.5)
        return {"exit": answer["exit"], "began": answer["body"].startswith(b"data: {")}
    return lib.after_abort(abort)


def abort_early(**more):
    def abort():
        answer = curl("/chat/completions", request(**more), {"x-mock-delay-ms": "8000"}, limit=0.3)
        return {"exit": answer["exit"], "body": answer["body"].decode()}
    return lib.after_abort(abort)


lib.add("abort_before_first_byte", abort_early)
lib.add("abort_stream_before_first_byte", lambda: abort_early(stream=True))


@scenario
def abort_by_kill():
    """The process dies: no goodbye but the kernel's."""
    def abort():
        done = subprocess.Popen(["curl", "-sSN", "--max-time", "10", "--noproxy", "*", "-H", "Authorization: Bearer " + lib.KEY,
                                 "-H", "Content-Type: application/json", "-H", "x-mock-tokens: 400", "-H", "x-mock-gap-ms: 20",
                                 "-d", json.dumps(request(stream=True)), lib.BASE + "/chat/completions"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        first = done.stdout.readline()
        time.sleep(0.1)
        done.kill()
        done.wait()
        return first.startswith(b"data: {")
    return lib.after_abort(abort)


def failed(body, headers=None, path="/chat/completions", **more):
    answer = curl(path, body, headers, **more)
    try:
        parsed = json.loads(answer["body"])
    except ValueError:
        parsed = answer["body"].decode("utf-8", "replace")
    e = parsed.get("error") if isinstance(parsed, dict) else None
    e = e if isinstance(e, dict) else {}
    return {"facts": {"status": answer["status"], "class": None, **{k: e.get(k) for k in ("code", "type", "param", "message")}},
            "raw": seen(answer) | {"body": parsed, "members": sorted(e)}}


for name, headers in ERRORS.items():
    lib.add(name, lambda headers=headers: failed(request(), headers))
lib.add("error_stream_429", lambda: failed(request(stream=True), ERRORS["error_429"]))
lib.add("error_stream_500", lambda: failed(request(stream=True), ERRORS["error_500"]))
lib.add("error_in_stream", lambda: streamed_error("error-event"))
lib.add("error_no_done", lambda: streamed_error("no-done"))
lib.add("error_cut_stream", lambda: streamed_error("none", {"x-mock-close-at-byte": "b1500"}))
lib.add("error_reset_stream", lambda: streamed_error("none", {"x-mock-reset-at-byte": "b1500"}))
lib.add("unknown_model", lambda: failed(request(model="no-such-model")))
lib.add("bad_json", lambda: failed(None, raw=b'{"model":"mock","messages":[}'))
lib.add("unknown_path", lambda: failed(request(), path="/no/such/endpoint"))
lib.add("wrong_method", lambda: failed(None, path="/chat/completions"))


def streamed_error(kind, headers=None):
    """A stream that goes wrong ends with an error event and no [DONE]."""
    answer = curl("/chat/completions", request(stream=True), {"x-mock-malformed": kind, "x-mock-tokens": "9"} | (headers or {}), "-N")
    data = [line[1] for line in events(answer["body"]) if line[0] == "data"]
    error = next((d["error"] for d in data if isinstance(d, dict) and "error" in d), None)
    return {"facts": {"status": answer["status"], "class": None, "began": bool(data) and "choices" in data[0],
                      "error": bool(error), "done": "[DONE]" in data,
                      "four_members": bool(error) and {"message", "type", "param", "code"} <= set(error)},
            "raw": {"error": error, "exit": answer["exit"]}}


@scenario
def request_id():
    """An answer always has an x-request-id, the caller's own if there was one."""
    made = curl("/chat/completions", request())["headers"].get("x-request-id")
    kept = curl("/chat/completions", request(), {"x-request-id": "from-the-caller-1"})["headers"].get("x-request-id")
    return {"facts": {"made": bool(made), "kept": kept == "from-the-caller-1"}, "raw": None}


def embedded(**more):
    answer = curl("/embeddings", {"model": MODEL, "input": ["first text", "second " + ODD]} | more)
    body = json.loads(answer["body"])
    vectors = [v["embedding"] for v in body["data"]]
    sizes = {len(base64.b64decode(v)) // struct.calcsize("<f") if isinstance(v, str) else len(v) for v in vectors}
    return {"facts": {"vectors": len(vectors), "same_size": len(sizes) == 1, "size": max(sizes)},
            "raw": seen(answer) | {"text": answer["body"].decode()}}


lib.add("embeddings_float", lambda: embedded(encoding_format="float"))
lib.add("embeddings_base64", lambda: embedded(encoding_format="base64"))
lib.add("completions", lambda: whole({"model": MODEL, "prompt": HELLO, "max_tokens": 16}, path="/completions"))
lib.add("completions_stream", lambda: streamed({"model": MODEL, "prompt": HELLO, "max_tokens": 16}, path="/completions"))


@scenario
def models():
    answer = curl("/models")
    body = json.loads(answer["body"])
    return {"facts": {"ids": [m["id"] for m in body["data"]], "objects": sorted({m["object"] for m in body["data"]}),
                      "list": body["object"], "shape": all({"id", "object", "created", "owned_by"} <= set(m) for m in body["data"])},
            "raw": None}


lib.main()
