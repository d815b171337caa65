#!/usr/bin/env python3
"""A strict fake provider that speaks every wire format signalbox sends: Chat Completions, Responses, Messages, Gemini, Bedrock
Converse and InvokeModel, Claude on Vertex, and the token endpoints of Google and Entra.

What it answers is written once, in no format (`Answer`), and spelled by each format's encoder; what it is asked is read back by
each format's decoder into plain turns and checked as the real provider would: order of tool results, ids, names, alternation.
It shares no code with signalbox, so that the two check each other.

The request chooses what happens by a word in its text: "case:NAME" plays CASES[NAME]; "task:five" is a tool task of five turns:
the number of tool results so far says which turn it is, and each result must show what the step before asked for.

    provider.py [--port N]      first line on stdout: listening HOST:PORT
    GET /mock/requests          what was received: [{path, headers, body, problems, end}]; POST /mock/reset forgets it
                                (?last: the last one only) end: "sent", or "left" when the other side closed in the middle of a stream
"""
import argparse, base64, binascii, hashlib, json, re, struct, sys, threading, time, urllib.parse, zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STREAM_PIECE = 7            # characters a piece, so that words and escapes are cut


class Answer:
    """One answer of a model, in no format."""
    def __init__(self, text="", calls=(), thought="", signature="", stop=None, usage=None, refusal="", error=None,
                 cut_after=None, thought_tokens=0, pace=0):
        self.text, self.calls, self.thought, self.signature, self.refusal = text, list(calls), thought, signature, refusal
        self.stop = stop or ("tools" if calls else "refusal" if refusal else "end")
        self.usage = dict({"input": 30, "output": 12, "cached": 0, "written": 0, "thought": thought_tokens}, **(usage or {}))
        self.error = error              # (status, kind, message): refused as a whole
        self.cut_after = cut_after      # a stream breaks with an error after so many pieces
        self.pace = pace                # seconds between the pieces of a stream


CASES = {
    "text": Answer("Hello from the mock. Grüße, 世界 🌍 \"quoted\" \\ and\nnew line."),
    "empty": Answer(""),
    "long": Answer("word " * 400),
    "tool": Answer("", [("get_weather", {"city": "Paris", "unit": "celsius"})]),
    "text-tool": Answer("Let me look.", [("get_weather", {"city": "Zürich"})]),
    "parallel": Answer("", [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome", "deep": {"a": [1, 2.5, None, True]}})]),
    "no-arguments": Answer("", [("get_time", {})]),
    "thought": Answer("42.", thought="The question is old. Multiply six by nine.", signature="c2lnLTEyMw==", thought_tokens=9),
    "thought-tool": Answer("", [("get_weather", {"city": "Oslo"})], thought="I need the weather.", signature="c2lnLTk5", thought_tokens=5),
    "length": Answer("It stops in the mid", stop="length"),
    "stop": Answer("up to here", stop="sequence"),
    "filter": Answer("", stop="filter"),
    "refusal": Answer("", refusal="I can not help with that.", stop="refusal"),
    "json": Answer('{"name":"Ada","age":36}'),
    "cached": Answer("ok", usage={"input": 2000, "output": 3, "cached": 1500, "written": 0}),
    "written": Answer("ok", usage={"input": 2000, "output": 3, "cached": 0, "written": 1800}),
    "truncated-tool": Answer("", [("get_weather", '{"city": "Par')], stop="length"),
    "thought-all": Answer("Two at once.", [("get_weather", {"city": "Lima"}), ("get_time", {})], thought="Both, then.", signature="c2lnLWFsbA==", thought_tokens=7),
    "three-calls": Answer("", [("get_weather", {"city": c}) for c in ("A", "B", "C")]),
    "tool-unicode": Answer("", [("get_weather", {"city": "\u6771\u4eac \U0001f5fc \"quoted\" \\ and\ttab", "empty": "", "nested": {"": [{}], "k": "\u2028"}})]),
    "looks-like-events": Answer("data: [DONE]\n\nevent: error\ndata: {\"error\": {\"message\": \"no\"}}\r\n\r\n{\"type\":\"message_stop\"}"),
    "one-character": Answer("\u00e9"),
    "rate-limit": Answer(error=(429, "rate_limit", "slow down")),
    "overloaded": Answer(error=(529, "overloaded", "too busy")),
    "invalid": Answer(error=(400, "invalid", "max_tokens is too large")),
    "denied": Answer(error=(403, "permission", "not yours")),
    "server-error": Answer(error=(500, "server", "something broke")),
    "broken": Answer("This will not be finished because the", cut_after=3),
}
SLOW = {"slow": Answer("word " * 400, pace=0.03),       # to leave in the middle of; these are not for a matrix to play
        "odd-status": Answer(error=(400, "rate_limit", "slow down"))}       # only the error's type tells what it is

FIVE = 4                    # tool calls before the last word


def text_of(turns):
    return "\n".join(b["text"] for t in turns for b in t["blocks"] if b["kind"] == "text")


def shell_call(tools, step):
    """A call of whatever tool runs commands, by its own schema."""
    command = "printf '%%s-%%d-%%d\\n' step %d %d" % (step, step + 40)      # its output does not stand in it
    for name, schema in tools:
        p = schema.get("properties", {})
        if not re.search(r"(?i)^(bash|shell|exec_command|run_shell_command|execute|terminal|run_command|local_shell)$", name):
            continue
        if "command" in p and p["command"].get("type") == "array":
            return name, {"command": ["bash", "-lc", command]}
        if "command" in p:
            call = {"command": command}
            if "description" in p:
                call["description"] = "step %d" % step
            return name, call
        if "cmd" in p:
            return name, {"cmd": command}
    return None


def task_five(turns, tools):
    results = [b for t in turns for b in t["blocks"] if b["kind"] == "result"]
    k = len(results)
    for i, r in enumerate(results):
        if "step-%d-%d" % (i + 1, i + 41) not in r["text"]:
            return Answer("TASK FAILED: result %d says %r" % (i + 1, r["text"][:200]))
    if k >= FIVE:
        return Answer("TASK DONE after %d results." % k, usage={"input": 500, "output": 9})
    call = shell_call(tools, k + 1)
    if not call:
        return Answer("TASK FAILED: no shell tool among %s" % [n for n, _ in tools])
    return Answer("Step %d." % (k + 1), [call], thought="Now step %d." % (k + 1) if k == 1 else "", signature="c2lnLWZpdmU=" if k == 1 else "")


def choose(turns, tools):
    text = text_of(turns)
    if "task:five" in text:
        return task_five(turns, tools)
    found = re.findall(r"case:([a-z-]+)", text)
    if found and found[-1] in {**CASES, **SLOW}:
        return {**CASES, **SLOW}[found[-1]]
    results = [b for t in turns for b in t["blocks"] if b["kind"] == "result"]
    if results:
        return Answer("The tool said: " + results[-1]["text"][:100])
    return CASES["text"]


def pieces(s):
    return [s[i:i + STREAM_PIECE] for i in range(0, len(s), STREAM_PIECE)]


def arguments(a):
    return a if isinstance(a, str) else json.dumps(a, ensure_ascii=False, separators=(",", ":"))


def tid(prefix, i, seed):
    return prefix + hashlib.sha256(("%s-%d" % (seed, i)).encode()).hexdigest()[:18]


class Bad(Exception):
    """A request that the provider would refuse: (sentence)."""


def need(ok, text):
    if not ok:
        raise Bad(text)


def check_results(turns):
    """Every call is answered, in the turn that follows, by id; nothing is answered that was not asked."""
    open_ids = []
    for i, t in enumerate(turns):
        results = [b["id"] for b in t["blocks"] if b["kind"] == "result"]
        if open_ids or results:
            need(sorted(results) == sorted(open_ids), "turn %d answers calls %s, asked were %s" % (i, results, open_ids))
        open_ids = [b["id"] for b in t["blocks"] if b["kind"] == "call"]
        need(len(set(open_ids)) == len(open_ids), "turn %d uses a call id twice" % i)
        if open_ids:
            need(t["role"] == "assistant", "turn %d: only assistants call tools" % i)


# ---- Chat Completions -------------------------------------------------------------------------

class Chat:
    kind = "chat"

    @staticmethod
    def read(body, path):
        need(isinstance(body.get("messages"), list) and body["messages"], "messages is required")
        need(not [k for k, v in body.items() if v is None and k not in ("stop",)], "null members: %s" % [k for k, v in body.items() if v is None])
        turns = []
        for i, m in enumerate(body["messages"]):
            role, blocks = m.get("role"), []
            need(role in ("system", "developer", "user", "assistant", "tool"), "messages[%d].role" % i)
            content = m.get("content")
            if role == "tool":
                need(m.get("tool_call_id"), "messages[%d].tool_call_id" % i)
                text = content if isinstance(content, str) else "".join(p["text"] for p in content)
                blocks.append({"kind": "result", "id": m["tool_call_id"], "text": text})
                if turns and turns[-1]["role"] == "tool":
                    turns[-1]["blocks"] += blocks
                    continue
            else:
                need(content is not None or m.get("tool_calls"), "messages[%d].content" % i)
                for p in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
                    need(p.get("type") in ("text", "image_url", "input_audio", "file", "refusal"), "messages[%d] part %r" % (i, p.get("type")))
                    if p["type"] == "text":
                        blocks.append({"kind": "text", "text": p["text"]})
                    elif p["type"] == "image_url":
                        need(re.match(r"https?://|data:image/", p["image_url"]["url"]), "image_url")
                        if p["image_url"]["url"].startswith("data:"):
                            base64.b64decode(p["image_url"]["url"].split(",", 1)[1], validate=True)
                        blocks.append({"kind": "image"})
                    else:
                        blocks.append({"kind": p["type"]})
                for c in m.get("tool_calls") or []:
                    need(role == "assistant" and c["type"] == "function", "tool_calls")
                    need(isinstance(c["function"]["arguments"], str), "arguments must be a string")
                    blocks.append({"kind": "call", "id": c["id"], "name": c["function"]["name"]})
            turns.append({"role": role, "blocks": blocks})
        check_results(turns)
        tools = []
        for t in body.get("tools", []):
            need(t["type"] == "function" and re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", t["function"]["name"]), "tool %r" % t)
            tools.append((t["function"]["name"], t["function"].get("parameters", {})))
        need("tool_choice" not in body or body.get("tools"), "tool_choice without tools")
        return turns, tools, bool(body.get("stream"))

    @staticmethod
    def usage(a):
        u = a.usage
        return {"prompt_tokens": u["input"], "completion_tokens": u["output"], "total_tokens": u["input"] + u["output"],
                "prompt_tokens_details": {"cached_tokens": u["cached"], "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": u["thought"], "audio_tokens": 0,
                                              "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}

    stops = {"end": "stop", "sequence": "stop", "length": "length", "tools": "tool_calls", "filter": "content_filter", "refusal": "stop"}

    @classmethod
    def whole(cls, a, model, seed, body):
        m = {"role": "assistant", "content": a.text or (None if a.calls or a.refusal else ""), "refusal": a.refusal or None}
        if a.thought:
            m["reasoning_content"] = a.thought
        if a.calls:
            m["tool_calls"] = [{"id": tid("call_", i, seed), "type": "function", "function": {"name": n, "arguments": arguments(x)}}
                               for i, (n, x) in enumerate(a.calls)]
        return {"id": "chatcmpl-" + seed, "object": "chat.completion", "created": 1700000000, "model": model,
                "choices": [{"index": 0, "message": m, "logprobs": None, "finish_reason": cls.stops[a.stop]}],
                "usage": cls.usage(a), "service_tier": "default", "system_fingerprint": "fp_mock"}

    @classmethod
    def stream(cls, a, model, seed, body):
        wants = (body.get("stream_options") or {}).get("include_usage")
        base = {"id": "chatcmpl-" + seed, "object": "chat.completion.chunk", "created": 1700000000, "model": model, "system_fingerprint": "fp_mock"}

        def chunk(delta, finish=None):
            c = dict(base, choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])
            if wants:
                c["usage"] = None
            return "data: " + json.dumps(c, ensure_ascii=False) + "\n\n"
        yield chunk({"role": "assistant", "content": "", "refusal": None})
        for p in pieces(a.thought):
            yield chunk({"reasoning_content": p})
        for p in pieces(a.text):
            yield chunk({"content": p})
        for p in pieces(a.refusal):
            yield chunk({"refusal": p})
        for i, (n, x) in enumerate(a.calls):
            yield chunk({"tool_calls": [{"index": i, "id": tid("call_", i, seed), "type": "function", "function": {"name": n, "arguments": ""}}]})
            for p in pieces(arguments(x)):
                yield chunk({"tool_calls": [{"index": i, "function": {"arguments": p}}]})
        yield chunk({}, cls.stops[a.stop])
        if wants:
            yield "data: " + json.dumps(dict(base, choices=[], usage=cls.usage(a))) + "\n\n"
        yield "data: [DONE]\n\n"

    @staticmethod
    def error(status, kind, message):
        types = {"rate_limit": ("rate_limit_exceeded", "tokens"), "invalid": (None, "invalid_request_error"), "overloaded": (None, "server_error"),
                 "permission": ("permission_denied", "invalid_request_error"), "server": ("server_error", "server_error")}
        code, type_ = types[kind]
        return 503 if status == 529 else status, {"error": {"message": message, "type": type_, "param": None, "code": code}}

    @staticmethod
    def broken(n):
        return 'data: {"error":{"message":"the engine died","type":"server_error","param":null,"code":"engine"}}\n\n'


# ---- Responses --------------------------------------------------------------------------------

class Responses:
    kind = "responses"

    @staticmethod
    def read(body, path):
        items = body.get("input")
        turns = []
        if body.get("instructions"):
            turns.append({"role": "system", "blocks": [{"kind": "text", "text": body["instructions"]}]})
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        need(isinstance(items, list), "input is required")
        calls = []

        def put(role, block):
            if not (turns and turns[-1]["role"] == role and role in ("assistant", "tool")):
                turns.append({"role": role, "blocks": []})
            turns[-1]["blocks"].append(block)
        for i, it in enumerate(items):
            kind = it.get("type", "message")
            if kind == "message":
                need(it.get("role") in ("user", "assistant", "system", "developer"), "input[%d].role" % i)
                content = it["content"]
                for p in [{"type": "input_text", "text": content}] if isinstance(content, str) else content:
                    ok = ("output_text", "refusal") if it["role"] == "assistant" else ("input_text", "input_image", "input_file")
                    need(p["type"] in ok or isinstance(content, str), "input[%d]: %s cannot say %s" % (i, it["role"], p["type"]))
                    put(it["role"], {"kind": "text", "text": p["text"]} if "text" in p else {"kind": p["type"]})
            elif kind in ("function_call", "custom_tool_call"):
                put("assistant", {"kind": "call", "id": it["call_id"], "name": it["name"]})
                calls.append(it["call_id"])
            elif kind in ("function_call_output", "custom_tool_call_output"):
                need(it["call_id"] in calls, "input[%d]: no call %s" % (i, it["call_id"]))
                out = it["output"]
                put("tool", {"kind": "result", "id": it["call_id"], "text": out if isinstance(out, str) else "".join(p.get("text", "") for p in out)})
            elif kind == "reasoning":
                need("summary" in it, "input[%d].summary" % i)
            else:
                need(False, "input[%d].type %r" % (i, kind))
        tools = []
        for t in body.get("tools", []):
            if t["type"] == "function":
                need("name" in t, "tools are flat here: %r" % list(t))
                tools.append((t["name"], t.get("parameters") or {}))
        return turns, tools, bool(body.get("stream"))

    @staticmethod
    def response(a, model, seed, body, output, status):
        u = a.usage
        r = {"id": "resp_" + seed, "object": "response", "created_at": 1700000000, "status": status, "background": False, "error": None,
             "incomplete_details": {"length": {"reason": "max_output_tokens"}, "filter": {"reason": "content_filter"}}.get(a.stop) if status == "incomplete" else None,
             "instructions": body.get("instructions"), "max_output_tokens": body.get("max_output_tokens"), "model": model, "output": output,
             "parallel_tool_calls": True, "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "store": body.get("store", True),
             "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": body.get("tools", []), "top_p": 1.0,
             "truncation": "disabled", "usage": None, "user": None, "metadata": {}}
        if status != "in_progress":
            r["usage"] = {"input_tokens": u["input"], "input_tokens_details": {"cached_tokens": u["cached"], "cache_write_tokens": u["written"]},
                          "output_tokens": u["output"],
                          "output_tokens_details": {"reasoning_tokens": u["thought"]}, "total_tokens": u["input"] + u["output"]}
        return r

    @staticmethod
    def items(a, seed):
        out = []
        if a.thought:
            out.append({"id": "rs_" + seed, "type": "reasoning", "summary": [{"type": "summary_text", "text": a.thought}],
                        "encrypted_content": a.signature or None})
        if a.text or a.refusal or not a.calls and a.stop != "filter":
            part = {"type": "refusal", "refusal": a.refusal} if a.refusal else {"type": "output_text", "text": a.text, "annotations": [], "logprobs": []}
            out.append({"id": "msg_" + seed, "type": "message", "status": "completed", "role": "assistant", "content": [part]})
        for i, (n, x) in enumerate(a.calls):
            out.append({"id": tid("fc_", i, seed), "type": "function_call", "status": "completed", "call_id": tid("call_", i, seed), "name": n, "arguments": arguments(x)})
        return out

    @classmethod
    def status(cls, a):
        return "incomplete" if a.stop in ("length", "filter") else "completed"

    @classmethod
    def whole(cls, a, model, seed, body):
        return cls.response(a, model, seed, body, cls.items(a, seed), cls.status(a))

    @classmethod
    def stream(cls, a, model, seed, body):
        n = -1

        def event(type_, **members):
            nonlocal n
            n += 1
            return "event: %s\ndata: %s\n\n" % (type_, json.dumps(dict({"type": type_, "sequence_number": n}, **members), ensure_ascii=False))
        yield event("response.created", response=cls.response(a, model, seed, body, [], "in_progress"))
        yield event("response.in_progress", response=cls.response(a, model, seed, body, [], "in_progress"))
        for k, item in enumerate(cls.items(a, seed)):
            if item["type"] == "reasoning":
                text = item["summary"][0]["text"]
                yield event("response.output_item.added", output_index=k, item=dict(item, summary=[], encrypted_content=None))
                yield event("response.reasoning_summary_part.added", item_id=item["id"], output_index=k, summary_index=0, part={"type": "summary_text", "text": ""})
                for p in pieces(text):
                    yield event("response.reasoning_summary_text.delta", item_id=item["id"], output_index=k, summary_index=0, delta=p)
                yield event("response.reasoning_summary_text.done", item_id=item["id"], output_index=k, summary_index=0, text=text)
                yield event("response.reasoning_summary_part.done", item_id=item["id"], output_index=k, summary_index=0, part=item["summary"][0])
            elif item["type"] == "message":
                part = item["content"][0]
                word = "refusal" if a.refusal else "output_text"
                key = "refusal" if a.refusal else "text"
                more = {} if a.refusal else {"logprobs": []}
                yield event("response.output_item.added", output_index=k, item=dict(item, status="in_progress", content=[]))
                yield event("response.content_part.added", item_id=item["id"], output_index=k, content_index=0, part=dict(part, **{key: ""}))
                for p in pieces(part[key]):
                    yield event("response.%s.delta" % word, item_id=item["id"], output_index=k, content_index=0, delta=p, **more)
                yield event("response.%s.done" % word, item_id=item["id"], output_index=k, content_index=0, **{key: part[key]}, **more)
                yield event("response.content_part.done", item_id=item["id"], output_index=k, content_index=0, part=part)
            else:
                yield event("response.output_item.added", output_index=k, item=dict(item, status="in_progress", arguments=""))
                for p in pieces(item["arguments"]):
                    yield event("response.function_call_arguments.delta", item_id=item["id"], output_index=k, delta=p)
                yield event("response.function_call_arguments.done", item_id=item["id"], output_index=k, name=item["name"], arguments=item["arguments"])
            yield event("response.output_item.done", output_index=k, item=item)
        yield event("response." + cls.status(a), response=cls.whole(a, model, seed, body))

    error = Chat.error

    @staticmethod
    def broken(n):
        return 'event: error\ndata: {"type":"error","code":"server_error","message":"the engine died","param":null,"sequence_number":%d}\n\n' % n


# ---- Messages ---------------------------------------------------------------------------------

class Messages:
    kind = "messages"

    @classmethod
    def read(cls, body, path):
        need(isinstance(body.get("max_tokens"), int) and body["max_tokens"] > 0, "max_tokens: Field required")
        need(isinstance(body.get("messages"), list) and body["messages"], "messages: at least one message is required")
        known = {"model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "stop_sequences", "temperature",
                 "top_p", "top_k", "metadata", "service_tier", "speed", "container", "context_management", "cache_control", "inference_geo",
                 "diagnostics", "user_profile_id", "workspace_id", "stream", "anthropic_version", "anthropic_beta", "mcp_servers", "betas", "output_format"}
        need(not set(body) - known, "%s: Extra inputs are not permitted" % sorted(set(body) - known))
        turns = []
        system = body.get("system", [])
        for b in [{"type": "text", "text": system}] if isinstance(system, str) else system:
            need(b["type"] == "text", "system")
            turns.append({"role": "system", "blocks": [{"kind": "text", "text": b["text"]}]})
        last = None
        for i, m in enumerate(body["messages"]):
            blocks = []
            need(m["role"] in ("user", "assistant", "system"), "messages.%d.role" % i)
            content = m["content"]
            for k, b in enumerate([{"type": "text", "text": content}] if isinstance(content, str) else content):
                where, t = "messages.%d.content.%d" % (i, k), b["type"]
                if t == "text":
                    need(b["text"] != "", where + ": text content blocks must be non-empty")
                    blocks.append({"kind": "text", "text": b["text"]})
                elif t == "tool_use":
                    need(isinstance(b["input"], dict), where + ".input: Input should be an object")
                    need(re.fullmatch(r"[a-zA-Z0-9_-]+", b["id"]), where + ".id: does not match pattern")
                    blocks.append({"kind": "call", "id": b["id"], "name": b["name"]})
                elif t == "tool_result":
                    need(m["role"] == "user", where)
                    need(not [x for x in blocks if x["kind"] != "result"], where + ": tool_result must come first")
                    c = b.get("content", "")
                    text = c if isinstance(c, str) else "".join(x.get("text", "") for x in c)
                    blocks.append({"kind": "result", "id": b["tool_use_id"], "text": text})
                elif t == "thinking":
                    need(b.get("signature"), where + ".signature: Field required")
                elif t == "image":
                    need(b["source"]["type"] in ("base64", "url", "file"), where)
                    if b["source"]["type"] == "base64":
                        base64.b64decode(b["source"]["data"], validate=True)
                    blocks.append({"kind": "image"})
                else:
                    blocks.append({"kind": t})
            need(content, "messages.%d: all messages must have non-empty content" % i)
            need(m["role"] == "system" or m["role"] != last, "messages.%d: roles must alternate" % i)
            if m["role"] != "system":
                last = m["role"]
            turns.append({"role": m["role"], "blocks": blocks})
        check_results(turns)
        tools = [(t["name"], t.get("input_schema", {})) for t in body.get("tools", []) if "name" in t]
        for t in body.get("tools", []):
            need("type" in t and t["type"] != "custom" or "input_schema" in t, "tools: input_schema is required")
        need("tool_choice" not in body or body.get("tools"), "tool_choice may only be specified while providing tools")
        if (body.get("thinking") or {}).get("type") == "enabled":
            need(1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"], "max_tokens must be greater than thinking.budget_tokens")
            need(body.get("temperature", 1) == 1, "temperature may only be set to 1 when thinking is enabled")
        need(0 <= body.get("temperature", 1) <= 1, "temperature: range: 0..1")
        return turns, tools, bool(body.get("stream"))

    stops = {"end": "end_turn", "sequence": "stop_sequence", "length": "max_tokens", "tools": "tool_use", "filter": "refusal", "refusal": "refusal"}

    @staticmethod
    def usage(a):
        u = a.usage
        return {"input_tokens": u["input"] - u["cached"] - u["written"], "cache_creation_input_tokens": u["written"], "cache_read_input_tokens": u["cached"],
                "output_tokens": u["output"], "cache_creation": {"ephemeral_5m_input_tokens": u["written"], "ephemeral_1h_input_tokens": 0},
                "service_tier": "standard"}

    @classmethod
    def blocks(cls, a, seed):
        out = []
        if a.thought:
            out.append({"type": "thinking", "thinking": a.thought, "signature": a.signature})
        if a.text or a.refusal:
            out.append({"type": "text", "text": a.text or a.refusal})
        for i, (n, x) in enumerate(a.calls):
            out.append({"type": "tool_use", "id": tid("toolu_", i, seed), "name": n, "input": x if isinstance(x, dict) else {}})
        return out

    @classmethod
    def whole(cls, a, model, seed, body):
        return {"id": "msg_" + seed, "type": "message", "role": "assistant", "model": model, "content": cls.blocks(a, seed),
                "stop_reason": cls.stops[a.stop], "stop_sequence": "END" if a.stop == "sequence" else None, "usage": cls.usage(a)}

    @classmethod
    def events(cls, a, model, seed, body):
        first = cls.whole(a, model, seed, body)
        first.update(content=[], stop_reason=None, stop_sequence=None, usage=dict(first["usage"], output_tokens=1))
        yield "message_start", {"message": first}
        yield "ping", {}
        for i, b in enumerate(cls.blocks(a, seed)):
            if b["type"] == "thinking":
                yield "content_block_start", {"index": i, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}
                for p in pieces(b["thinking"]):
                    yield "content_block_delta", {"index": i, "delta": {"type": "thinking_delta", "thinking": p}}
                yield "content_block_delta", {"index": i, "delta": {"type": "signature_delta", "signature": b["signature"]}}
            elif b["type"] == "text":
                yield "content_block_start", {"index": i, "content_block": {"type": "text", "text": ""}}
                for p in pieces(b["text"]):
                    yield "content_block_delta", {"index": i, "delta": {"type": "text_delta", "text": p}}
            else:
                x = [c[1] for c in a.calls][i - len([b for b in cls.blocks(a, seed) if b["type"] != "tool_use"])]
                yield "content_block_start", {"index": i, "content_block": dict(b, input={})}
                for p in [""] + pieces(arguments(x) if x != {} else ""):
                    yield "content_block_delta", {"index": i, "delta": {"type": "input_json_delta", "partial_json": p}}
            yield "content_block_stop", {"index": i}
        yield "message_delta", {"delta": {"stop_reason": cls.stops[a.stop], "stop_sequence": "END" if a.stop == "sequence" else None},
                                "usage": cls.usage(a)}
        yield "message_stop", {}

    @classmethod
    def stream(cls, a, model, seed, body):
        for name, members in cls.events(a, model, seed, body):
            yield "event: %s\ndata: %s\n\n" % (name, json.dumps(dict({"type": name}, **members), ensure_ascii=False))

    @staticmethod
    def error(status, kind, message):
        types = {"rate_limit": "rate_limit_error", "invalid": "invalid_request_error", "overloaded": "overloaded_error",
                 "permission": "permission_error", "server": "api_error"}
        return status, {"type": "error", "error": {"type": types[kind], "message": message}, "request_id": "req_mock"}

    @staticmethod
    def broken(n):
        return 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"the engine died"}}\n\n'


# ---- Gemini -----------------------------------------------------------------------------------

class Gemini:
    kind = "gemini"

    @staticmethod
    def read(body, path):
        turns = []
        for p in (body.get("systemInstruction") or {}).get("parts", []):
            turns.append({"role": "system", "blocks": [{"kind": "text", "text": p["text"]}]})
        need(isinstance(body.get("contents"), list) and body["contents"], "contents is not specified")
        known = {"contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent", "labels", "model", "serviceTier", "store"}
        need(not set(body) - known, "Unknown name %s: Cannot find field." % sorted(set(body) - known))
        asked = []
        for i, c in enumerate(body["contents"]):
            role, blocks = c.get("role", "user"), []
            need(role in ("user", "model", "function"), "contents[%d].role" % i)
            need(c.get("parts"), "contents[%d].parts must not be empty" % i)
            results = [p["functionResponse"]["name"] for p in c["parts"] if "functionResponse" in p]
            if asked or results:
                need(sorted(asked) == sorted(results), "function response parts %s do not match calls %s" % (results, asked))
            asked = [p["functionCall"]["name"] for p in c["parts"] if "functionCall" in p]
            for p in c["parts"]:
                if "functionCall" in p:
                    need(role == "model" and isinstance(p["functionCall"].get("args", {}), dict), "contents[%d].functionCall" % i)
                    blocks.append({"kind": "call", "id": p["functionCall"].get("id", p["functionCall"]["name"]), "name": p["functionCall"]["name"]})
                elif "functionResponse" in p:
                    need(isinstance(p["functionResponse"]["response"], dict), "functionResponse.response must be an object")
                    blocks.append({"kind": "result", "id": "", "text": json.dumps(p["functionResponse"]["response"], ensure_ascii=False)})
                elif "text" in p:
                    if not p.get("thought"):
                        blocks.append({"kind": "text", "text": p["text"]})
                elif "inlineData" in p:
                    base64.b64decode(p["inlineData"]["data"], b"-_" if re.search("[-_]", p["inlineData"]["data"]) else None, validate=True)
                    blocks.append({"kind": "image"})
                elif "fileData" in p:
                    blocks.append({"kind": "image"})
                else:
                    need(False, "contents[%d]: part %s" % (i, sorted(p)))
            turns.append({"role": "assistant" if role == "model" else "user", "blocks": blocks})
        tools = []
        for t in body.get("tools", []):
            for f in t.get("functionDeclarations", []):
                need(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}", f["name"]), "function name %r" % f["name"])
                schema = f.get("parametersJsonSchema") or f.get("parameters") or {}
                tools.append((f["name"], json.loads(json.dumps(schema))))
        return turns, tools, ":streamGenerateContent" in path

    stops = {"end": "STOP", "sequence": "STOP", "length": "MAX_TOKENS", "tools": "STOP", "filter": "SAFETY", "refusal": "STOP"}

    @staticmethod
    def usage(a):
        u = a.usage
        m = {"promptTokenCount": u["input"], "candidatesTokenCount": u["output"] - u["thought"], "totalTokenCount": u["input"] + u["output"]}
        if u["cached"]:
            m["cachedContentTokenCount"] = u["cached"]
        if u["thought"]:
            m["thoughtsTokenCount"] = u["thought"]
        return m

    @classmethod
    def chunk(cls, a, model, seed, parts, finish=None):
        c = {"index": 0, "content": {"role": "model", "parts": parts}}
        if finish:
            c["finishReason"] = finish
        return {"candidates": [c], "usageMetadata": cls.usage(a), "modelVersion": model, "responseId": seed}

    @classmethod
    def parts(cls, a):
        out = []
        if a.thought:
            out.append({"text": a.thought, "thought": True})
        if a.text or a.refusal:
            out.append({"text": a.text or a.refusal})
        for i, (n, x) in enumerate(a.calls):
            p = {"functionCall": {"name": n, "args": x if isinstance(x, dict) else {}}}
            if i == 0 and a.signature:
                p["thoughtSignature"] = a.signature
            out.append(p)
        if a.signature and not a.calls and out:
            out[-1]["thoughtSignature"] = a.signature
        return out

    @classmethod
    def whole(cls, a, model, seed, body):
        return cls.chunk(a, model, seed, cls.parts(a), cls.stops[a.stop])

    @classmethod
    def stream(cls, a, model, seed, body):
        for p in cls.parts(a):
            if "text" in p:
                texts = pieces(p["text"])
                for i, t in enumerate(texts):
                    part = dict(p, text=t)
                    if i < len(texts) - 1:
                        part.pop("thoughtSignature", None)
                    yield "data: " + json.dumps(cls.chunk(a, model, seed, [part]), ensure_ascii=False) + "\r\n\r\n"
            else:
                yield "data: " + json.dumps(cls.chunk(a, model, seed, [p]), ensure_ascii=False) + "\r\n\r\n"
        yield "data: " + json.dumps(cls.chunk(a, model, seed, [{"text": ""}], cls.stops[a.stop])) + "\r\n\r\n"

    @staticmethod
    def error(status, kind, message):
        words = {"rate_limit": "RESOURCE_EXHAUSTED", "invalid": "INVALID_ARGUMENT", "overloaded": "UNAVAILABLE", "permission": "PERMISSION_DENIED", "server": "INTERNAL"}
        status = 503 if status == 529 else status
        return status, {"error": {"code": status, "message": message, "status": words[kind]}}

    @staticmethod
    def broken(n):
        return 'data: {"error":{"code":503,"message":"the engine died","status":"UNAVAILABLE"}}\r\n\r\n'


# ---- Bedrock ----------------------------------------------------------------------------------

def frame(headers, payload):
    """application/vnd.amazon.eventstream: lengths, CRC of them, headers, payload, CRC of all."""
    h = b"".join(bytes([len(k)]) + k.encode() + b"\x07" + struct.pack(">H", len(v)) + v.encode() for k, v in headers)
    prelude = struct.pack(">II", 12 + len(h) + len(payload) + 4, len(h))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + h + payload
    return body + struct.pack(">I", zlib.crc32(body))


def event_frame(name, payload):
    return frame([(":event-type", name), (":content-type", "application/json"), (":message-type", "event")],
                 json.dumps(payload, ensure_ascii=False).encode())


class Converse:
    kind = "converse"

    @staticmethod
    def read(body, path):
        known = {"messages", "system", "inferenceConfig", "toolConfig", "guardrailConfig", "additionalModelRequestFields", "promptVariables",
                 "additionalModelResponseFieldPaths", "requestMetadata", "performanceConfig", "outputConfig", "serviceTier"}
        need(not set(body) - known, "unknown members %s" % sorted(set(body) - known))
        need(body.get("messages"), "messages must not be empty")
        turns, last = [], None
        for s in body.get("system", []):
            if "text" in s:
                turns.append({"role": "system", "blocks": [{"kind": "text", "text": s["text"]}]})
        has_tools = False
        for i, m in enumerate(body["messages"]):
            need(m["role"] in ("user", "assistant") and m["role"] != last, "messages.%d: roles must alternate" % i)
            need(i or m["role"] == "user", "a conversation must start with a user message")
            need(m["content"], "messages.%d.content is empty" % i)
            last, blocks = m["role"], []
            for b in m["content"]:
                need(len(b) == 1, "messages.%d: a block has one member, not %s" % (i, sorted(b)))
                (k, v), = b.items()
                if k == "text":
                    need(v.strip(), "messages.%d: text must not be blank" % i)
                    blocks.append({"kind": "text", "text": v})
                elif k == "toolUse":
                    need(isinstance(v["input"], dict), "toolUse.input must be an object")
                    need(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", v["name"]), "toolUse.name")
                    need(re.fullmatch(r"[a-zA-Z0-9_.:-]{1,64}", v["toolUseId"]), "toolUse.toolUseId")
                    blocks.append({"kind": "call", "id": v["toolUseId"], "name": v["name"]})
                elif k == "toolResult":
                    need(m["role"] == "user" and isinstance(v["content"], list), "toolResult")
                    blocks.append({"kind": "result", "id": v["toolUseId"], "text": "".join(c.get("text") or json.dumps(c.get("json", "")) for c in v["content"])})
                elif k == "reasoningContent":
                    need(v.get("redactedContent") or v["reasoningText"].get("signature"), "reasoning without a signature")
                elif k != "cachePoint":
                    if k == "image":
                        base64.b64decode(v["source"]["bytes"], validate=True)
                    blocks.append({"kind": k})
            has_tools |= any(b["kind"] in ("call", "result") for b in blocks)
            turns.append({"role": m["role"], "blocks": blocks})
        check_results(turns)
        need(not has_tools or body.get("toolConfig"), "The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        tools = []
        for t in (body.get("toolConfig") or {}).get("tools", []):
            if "toolSpec" in t:
                need(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", t["toolSpec"]["name"]), "toolSpec.name")
                tools.append((t["toolSpec"]["name"], t["toolSpec"]["inputSchema"]["json"]))
        return turns, tools, path.endswith("/converse-stream")

    stops = {"end": "end_turn", "sequence": "stop_sequence", "length": "max_tokens", "tools": "tool_use", "filter": "content_filtered", "refusal": "content_filtered"}

    @staticmethod
    def usage(a):
        u = a.usage
        return {"inputTokens": u["input"] - u["cached"] - u["written"], "outputTokens": u["output"], "totalTokens": u["input"] + u["output"],
                "cacheReadInputTokens": u["cached"], "cacheWriteInputTokens": u["written"]}

    @staticmethod
    def blocks(a, seed):
        out = []
        if a.thought:
            out.append({"reasoningContent": {"reasoningText": {"text": a.thought, "signature": a.signature}}})
        if a.text or a.refusal:
            out.append({"text": a.text or a.refusal})
        for i, (n, x) in enumerate(a.calls):
            out.append({"toolUse": {"toolUseId": tid("tooluse_", i, seed), "name": n, "input": x if isinstance(x, dict) else {}}})
        return out

    @classmethod
    def whole(cls, a, model, seed, body):
        return {"output": {"message": {"role": "assistant", "content": cls.blocks(a, seed)}}, "stopReason": cls.stops[a.stop],
                "usage": cls.usage(a), "metrics": {"latencyMs": 12}}

    @classmethod
    def stream(cls, a, model, seed, body):
        yield event_frame("messageStart", {"role": "assistant"})
        calls = iter(a.calls)
        for i, b in enumerate(cls.blocks(a, seed)):
            if "toolUse" in b:
                x = next(calls)[1]
                yield event_frame("contentBlockStart", {"contentBlockIndex": i, "start": {"toolUse": {k: b["toolUse"][k] for k in ("toolUseId", "name")}}})
                for p in pieces(arguments(x)):
                    yield event_frame("contentBlockDelta", {"contentBlockIndex": i, "delta": {"toolUse": {"input": p}}})
            elif "text" in b:
                for p in pieces(b["text"]):
                    yield event_frame("contentBlockDelta", {"contentBlockIndex": i, "delta": {"text": p}})
            else:
                for p in pieces(a.thought):
                    yield event_frame("contentBlockDelta", {"contentBlockIndex": i, "delta": {"reasoningContent": {"text": p}}})
                yield event_frame("contentBlockDelta", {"contentBlockIndex": i, "delta": {"reasoningContent": {"signature": a.signature}}})
            yield event_frame("contentBlockStop", {"contentBlockIndex": i})
        yield event_frame("messageStop", {"stopReason": cls.stops[a.stop]})
        yield event_frame("metadata", {"usage": cls.usage(a), "metrics": {"latencyMs": 12}})

    @staticmethod
    def error(status, kind, message):
        return 503 if status == 529 else status, {"message": message}

    @staticmethod
    def broken(n):
        return frame([(":exception-type", "modelStreamErrorException"), (":content-type", "application/json"), (":message-type", "exception")],
                     b'{"message":"the engine died"}')


class Invoke(Messages):
    kind = "invoke"

    @classmethod
    def read(cls, body, path):
        need(body.get("anthropic_version") == "bedrock-2023-05-31", "anthropic_version: Field required")
        need("model" not in body and "stream" not in body, "model, stream: Extra inputs are not permitted")
        turns, tools, _ = Messages.read(body, path)
        return turns, tools, path.endswith("/invoke-with-response-stream")

    @classmethod
    def stream(cls, a, model, seed, body):
        for name, members in cls.events(a, model, seed, body):
            data = json.dumps(dict({"type": name}, **members), ensure_ascii=False).encode()
            yield event_frame("chunk", {"bytes": base64.b64encode(data).decode()})

    error = Converse.error
    broken = Converse.broken


class Vertex(Messages):
    kind = "vertex-claude"

    @classmethod
    def read(cls, body, path):
        need(body.get("anthropic_version") == "vertex-2023-10-16", "anthropic_version: Field required")
        need("model" not in body, "model: Extra inputs are not permitted")
        turns, tools, stream = Messages.read(body, path)
        return turns, tools, path.endswith(":streamRawPredict")


ROUTES = [
    (r"/chat/completions$", Chat), (r"/responses$", Responses), (r"/v1/messages$", Messages),
    (r"/publishers/anthropic/models/[^/]+:(rawPredict|streamRawPredict)$", Vertex),
    (r"/models/[^/]+:(generateContent|streamGenerateContent)$", Gemini),
    (r"^/model/[^/]+/(converse|converse-stream)$", Converse), (r"^/model/[^/]+/(invoke|invoke-with-response-stream)$", Invoke),
]

lock, received = threading.Lock(), []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *a):
        pass

    def give(self, status, obj, headers=()):
        data = obj if isinstance(obj, bytes) else json.dumps(obj, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("x-request-id", "mock-" + hashlib.sha256(data).hexdigest()[:8])
        for k, v in headers:
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path.startswith("/mock/requests"):
            with lock:
                self.give(200, received[-1:] if self.path.endswith("?last") else received)
        else:
            self.give(200, {"status": "ok"})

    def token(self, raw):
        form = dict(urllib.parse.parse_qsl(raw.decode()))
        ok = form.get("grant_type") in ("urn:ietf:params:oauth:grant-type:jwt-bearer", "client_credentials")
        with lock:
            received.append({"path": self.path, "headers": dict(self.headers), "body": form, "problems": [] if ok else ["grant_type"]})
        if ok:
            self.give(200, {"access_token": "token-%d" % len(received), "expires_in": 3599, "token_type": "Bearer"})
        else:
            self.give(400, {"error": "unsupported_grant_type", "error_description": "no"})

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/mock/reset":
            with lock:
                received.clear()
            return self.give(200, {})
        if url.path.endswith("/token"):
            return self.token(raw)
        path = url.path
        format_ = next((f for p, f in ROUTES if re.search(p, path)), None)
        if not format_:
            return self.give(404, {"error": {"message": "no such path " + path, "type": "invalid_request_error", "param": None, "code": None}})
        problem, answer, stream, body = None, None, False, None
        try:
            body = json.loads(raw)
            turns, tools, stream = format_.read(body, path)
            answer = choose(turns, tools)
        except Bad as e:
            problem = str(e)
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as e:
            problem = "%s: %s" % (type(e).__name__, e)
        entry = {"path": self.path, "format": format_.kind, "headers": dict(self.headers), "body": body,
                 "raw": raw.decode("utf-8", "replace"), "problems": [problem] if problem else [], "end": ""}
        with lock:
            received.append(entry)
        try:
            self.reply(format_, body, raw, problem, answer, stream)
            entry["end"] = "sent"
        except ConnectionError:
            entry["end"] = "left"
            self.close_connection = True

    def reply(self, format_, body, raw, problem, answer, stream):
        if problem:
            return self.give(*format_.error(400, "invalid", problem))
        if answer.error:
            extra = [("retry-after", "1")] if answer.error[0] == 429 else []
            if format_ in (Converse, Invoke):
                extra.append(("x-amzn-errortype", {"rate_limit": "ThrottlingException", "invalid": "ValidationException", "overloaded":
                              "ServiceUnavailableException", "permission": "AccessDeniedException", "server": "InternalServerException"}[answer.error[1]]))
            status, error = format_.error(*answer.error)
            return self.give(status, error, extra)
        model = body.get("model") or urllib.parse.unquote(re.search(r"/models?/([^/:]+)", urllib.parse.urlsplit(self.path).path).group(1))
        seed = hashlib.sha256(raw).hexdigest()[:16]
        if not stream:
            extra = [("x-amzn-requestid", "amzn-" + seed[:8])] if format_ in (Converse, Invoke) else []
            return self.give(200, format_.whole(answer, model, seed, body), extra)
        self.send_response(200)
        framed = format_ in (Converse, Invoke)
        self.send_header("content-type", "application/vnd.amazon.eventstream" if framed else "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("x-request-id", "mock-" + seed[:8])
        if framed:
            self.send_header("x-amzn-requestid", "amzn-" + seed[:8])
        self.end_headers()
        for i, event in enumerate(format_.stream(answer, model, seed, body)):
            if answer.cut_after is not None and i > answer.cut_after + 1:
                event = format_.broken(i)
            data = event if isinstance(event, bytes) else event.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            if answer.pace:
                time.sleep(answer.pace)
            if answer.cut_after is not None and i > answer.cut_after + 1:
                break
        self.wfile.write(b"0\r\n\r\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("--port", type=int, default=0)
    server = ThreadingHTTPServer(("127.0.0.1", ap.parse_args().port), Handler)
    server.daemon_threads = True
    print("listening 127.0.0.1:%d" % server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
