#!/usr/bin/env python3
"""Four dialects in, seven formats out, whole and streamed, over real sockets: what the client understands must be what the fake
provider meant, whichever way it went.

The provider (tests/mock/provider.py) writes each answer once, in no format, and refuses requests that the real one would refuse;
the readers below know each dialect's grammar and insist on it. Neither shares code with signalbox."""
import json, os, re, sys, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mock"))
import provider
from harness import *

PROVIDER = os.path.join(ROOT, "tests", "mock", "provider.py")
ACCESS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}


class Provider(Process):
    def __init__(self):
        super().__init__([sys.executable, PROVIDER])
        self.port = int(wait_for(lambda: re.search(r"listening 127\.0\.0\.1:(\d+)", self.output()), message="provider").group(1))

    def requests(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/mock/requests" % self.port, timeout=5) as r:
            return json.load(r)

    def reset(self):
        urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:%d/mock/reset" % self.port, b"", method="POST"), timeout=5).read()


def models(port):
    at = "http://127.0.0.1:%d" % port
    return {
        "to-chat": 'backend_refs: [{name: a, base_url: "%s/v1", provider: openai, api_key: sk-up}]' % at,
        "to-responses": 'api_format: responses\n      backend_refs: [{name: a, base_url: "%s/v1", provider: openai, api_key: sk-up}]' % at,
        "to-anthropic": 'api_format: anthropic\n      backend_refs: [{name: a, base_url: "%s", provider: anthropic, api_key: sk-up}]' % at,
        "to-gemini": 'api_format: gemini\n      backend_refs: [{name: a, base_url: "%s", provider: gemini, api_key: sk-up}]' % at,
        "to-converse": 'api_format: bedrock\n      backend_refs: [{name: a, base_url: "%s", provider: bedrock, region: us-east-1}]' % at,
        "to-invoke": 'api_format: bedrock_invoke\n      backend_refs: [{name: a, base_url: "%s", provider: bedrock, region: us-east-1}]' % at,
        "to-vertex": 'api_format: anthropic\n      backend_refs: [{name: a, base_url: "%s", provider: vertex-ai, project: p1, '
                     'location: us-east5, api_key: ya29.token}]' % at,
    }


def configuration(port, extra=""):
    text = "version: v0.3\nproviders:\n  defaults: {default_model: to-chat}\n  models:\n"
    for name, rest in models(port).items():
        text += "    - name: %s\n      provider_model_id: m-%s\n      reliability: {retry_count: 0}\n      %s\n" % (name, name, rest)
    text += "routing:\n  modelCards: [%s]\n" % ", ".join("{name: %s}" % m for m in models(port))
    text += "  decisions: [{name: all, priority: 1, modelRefs: [{model: to-chat}]}]\n"
    return text + 'global:\n  services: {observability: {tracing: {enabled: false}, access_log: "off"}}\n' + extra


# ---- What a client makes of an answer: text, thought, calls, stop, usage ------------------------


def events_of(body, eol="\n"):
    out = []
    text = body.decode()
    assert text.endswith(eol + eol), "the stream ends in the middle of an event: %r" % text[-80:]
    for block in text.split(eol + eol)[:-1]:
        name, data = None, []
        for line in block.split(eol):
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data.append(line[6:])
            else:
                assert line.startswith(":"), "not a line of an event: %r" % line
        if data:
            out.append((name, "\n".join(data)))
    return out


def meant(text="", thought="", signature="", calls=(), stop="", usage=None, refusal="", error=None):
    return {"text": text, "thought": thought, "signature": signature, "calls": list(calls), "stop": stop, "usage": usage, "refusal": refusal, "error": error}


def loads(text):
    return json.loads(text) if text else {}


class Chat:
    name, path = "chat", "/v1/chat/completions"
    stops = {"stop": "end", "length": "length", "tool_calls": "tools", "content_filter": "filter"}

    @staticmethod
    def ask(model, turns, tools=(), stream=False, **more):
        messages = []
        for role, what in turns:
            if role == "results":
                messages += [{"role": "tool", "tool_call_id": i, "content": t} for i, n, t in what]
            elif role == "calls":
                messages.append({"role": "assistant", "content": None, "tool_calls": [
                    {"id": i, "type": "function", "function": {"name": n, "arguments": json.dumps(a)}} for i, n, a in what]})
            elif role == "image":
                messages.append({"role": "user", "content": [{"type": "text", "text": what[0]}, {"type": "image_url", "image_url": {"url": "data:image/png;base64," + what[1]}}]})
            else:
                messages.append({"role": role, "content": what})
        body = {"model": model, "messages": messages, "stream": stream}
        if tools:
            body["tools"] = [{"type": "function", "function": {"name": n, "description": d, "parameters": p}} for n, d, p in tools]
        if stream:
            body["stream_options"] = {"include_usage": True}
        if more.get("max_tokens"):
            body["max_completion_tokens"] = more["max_tokens"]
        if more.get("schema"):
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "person", "schema": more["schema"], "strict": True}}
        if more.get("forced"):
            body["tool_choice"] = {"type": "function", "function": {"name": more["forced"]}}
        return Chat.path, body

    @staticmethod
    def usage(u):
        assert u["total_tokens"] == u["prompt_tokens"] + u["completion_tokens"], u
        return {"input": u["prompt_tokens"], "output": u["completion_tokens"], "cached": u.get("prompt_tokens_details", {}).get("cached_tokens", 0),
                "thought": u.get("completion_tokens_details", {}).get("reasoning_tokens", 0)}

    @classmethod
    def whole(cls, b):
        if "error" in b:
            assert set(b["error"]) >= {"message", "type", "param", "code"}, b
            return meant(error=b["error"])
        assert b["object"] == "chat.completion" and isinstance(b["created"], int) and b["id"] and b["model"]
        (c,) = b["choices"]
        m = c["message"]
        assert c["index"] == 0 and m["role"] == "assistant" and "content" in m, m
        for call in m.get("tool_calls", []):
            assert call["type"] == "function" and call["id"]
        return meant(m["content"] or "", m.get("reasoning_content") or "", "", [(x["function"]["name"], x["function"]["arguments"]) for x in m.get("tool_calls", [])],
                     cls.stops[c["finish_reason"]], cls.usage(b["usage"]), m.get("refusal") or "")

    @classmethod
    def stream(cls, body):
        events = events_of(body)
        if '"error"' in events[-1][1]:
            return meant(error=json.loads(events[-1][1])["error"])
        assert events[-1][1] == "[DONE]"
        chunks = [json.loads(d) for n, d in events[:-1]]
        assert all(n is None for n, d in events)
        same = {(c["id"], c["created"], c["model"], c["object"]) for c in chunks}
        assert len(same) == 1 and list(same)[0][3] == "chat.completion.chunk", same
        *chunks, last = chunks
        assert last["choices"] == [] and last["usage"], "usage comes last, without choices: %r" % last
        assert all(c.get("usage", None) is None for c in chunks)
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        assert not any("role" in c["choices"][0]["delta"] for c in chunks[1:])
        r, calls, stop = meant(), {}, None
        for c in chunks:
            (choice,) = c["choices"]
            assert choice["index"] == 0 and stop is None, "after the finish: %r" % c
            d = choice["delta"]
            r["text"] += d.get("content") or ""
            r["thought"] += d.get("reasoning_content") or ""
            r["refusal"] += d.get("refusal") or ""
            for x in d.get("tool_calls", []):
                if x["index"] in calls:
                    assert not set(x) - {"index", "function", "extra_content"} and "name" not in x.get("function", {}), x
                else:
                    assert x["index"] == len(calls) and x["id"] and x["type"] == "function" and x["function"]["name"], x
                    calls[x["index"]] = [x["function"]["name"], ""]
                calls[x["index"]][1] += x.get("function", {}).get("arguments", "")
            if choice["finish_reason"]:
                stop = cls.stops[choice["finish_reason"]]
        assert stop, "no finish_reason"
        r.update(calls=[tuple(v) for k, v in sorted(calls.items())], stop=stop, usage=cls.usage(last["usage"]))
        return r


class Messages:
    name, path = "messages", "/v1/messages"
    stops = {"end_turn": "end", "stop_sequence": "end", "max_tokens": "length", "tool_use": "tools", "refusal": "filter"}

    @staticmethod
    def ask(model, turns, tools=(), stream=False, **more):
        messages, body = [], {"model": model, "max_tokens": more.get("max_tokens") or 1024, "stream": stream}
        for role, what in turns:
            if role == "system":
                body["system"] = what
            elif role == "results":
                messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": i, "content": t} for i, n, t in what]})
            elif role == "calls":
                messages.append({"role": "assistant", "content": [{"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in what]})
            elif role == "image":
                messages.append({"role": "user", "content": [{"type": "text", "text": what[0]}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": what[1]}}]})
            else:
                messages.append({"role": role, "content": what})
        body["messages"] = messages
        if tools:
            body["tools"] = [{"name": n, "description": d, "input_schema": p} for n, d, p in tools]
        if more.get("schema"):
            body["output_config"] = {"format": {"type": "json_schema", "schema": more["schema"]}}
        if more.get("forced"):
            body["tool_choice"] = {"type": "tool", "name": more["forced"]}
        return Messages.path, body

    @staticmethod
    def usage(u):
        read, written = u.get("cache_read_input_tokens") or 0, u.get("cache_creation_input_tokens") or 0
        return {"input": u["input_tokens"] + read + written, "output": u["output_tokens"], "cached": read, "written": written}

    @classmethod
    def whole(cls, b):
        if b["type"] == "error":
            assert b["error"]["type"] and b["error"]["message"]
            return meant(error=b["error"])
        assert b["type"] == "message" and b["role"] == "assistant" and b["id"] and b["model"] and "stop_sequence" in b
        r = meant(stop=cls.stops[b["stop_reason"]], usage=cls.usage(b["usage"]))
        for x in b["content"]:
            if x["type"] == "text":
                r["text"] += x["text"]
            elif x["type"] == "thinking":
                r["thought"] += x["thinking"]
                r["signature"] = x["signature"]
            elif x["type"] == "redacted_thinking":          # opaque data of another family, on its way back
                r["signature"] = x["data"]
            else:
                assert x["type"] == "tool_use" and x["id"] and isinstance(x["input"], dict), x
                r["calls"].append((x["name"], json.dumps(x["input"])))
        return r

    @classmethod
    def stream(cls, body):
        events = [(n, json.loads(d)) for n, d in events_of(body)]
        assert all(n == d["type"] for n, d in events), "the event's name is its type"
        events = [(n, d) for n, d in events if n != "ping"]
        if events[-1][0] == "error":
            return meant(error=events[-1][1]["error"])
        assert [n for n, d in events][0] == "message_start" and [n for n, d in events][-2:] == ["message_delta", "message_stop"], [n for n, d in events]
        assert sum(n == "message_start" for n, d in events) == 1
        m = events[0][1]["message"]
        assert m["type"] == "message" and m["role"] == "assistant" and m["content"] == [] and m["stop_reason"] is None and "input_tokens" in m["usage"], m
        r, blocks, is_open = meant(), -1, False
        for n, d in events[1:-2]:
            if n == "content_block_start":
                assert not is_open and d["index"] == blocks + 1, "blocks follow each other: %r" % d
                blocks, is_open, block = d["index"], True, d["content_block"]
                if block["type"] == "tool_use":
                    assert block["input"] == {} and block["id"] and block["name"]
                    r["calls"].append([block["name"], ""])
                elif block["type"] == "text":
                    assert block["text"] == ""
            elif n == "content_block_delta":
                assert is_open and d["index"] == blocks
                x = d["delta"]
                kind = {"text": "text_delta", "thinking": ("thinking_delta", "signature_delta"), "tool_use": "input_json_delta"}[block["type"]]
                assert x["type"] in kind
                if x["type"] == "text_delta":
                    r["text"] += x["text"]
                elif x["type"] == "thinking_delta":
                    r["thought"] += x["thinking"]
                elif x["type"] == "signature_delta":
                    r["signature"] = x["signature"]
                else:
                    r["calls"][-1][1] += x["partial_json"]
            else:
                assert n == "content_block_stop" and is_open and d["index"] == blocks, d
                is_open = False
        assert not is_open
        last = events[-2][1]
        r.update(stop=cls.stops[last["delta"]["stop_reason"]], calls=[tuple(c) for c in r["calls"]])
        r["usage"] = cls.usage(dict(m["usage"], **{k: v for k, v in last["usage"].items() if v is not None}))
        return r


class Responses:
    name, path = "responses", "/v1/responses"

    @staticmethod
    def ask(model, turns, tools=(), stream=False, **more):
        items = []
        for role, what in turns:
            if role == "results":
                items += [{"type": "function_call_output", "call_id": i, "output": t} for i, n, t in what]
            elif role == "calls":
                items += [{"type": "function_call", "call_id": i, "name": n, "arguments": json.dumps(a)} for i, n, a in what]
            elif role == "image":
                items.append({"role": "user", "content": [{"type": "input_text", "text": what[0]}, {"type": "input_image", "image_url": "data:image/png;base64," + what[1], "detail": "auto"}]})
            else:
                items.append({"role": role, "content": what})
        body = {"model": model, "input": items, "stream": stream, "store": False}
        if tools:
            body["tools"] = [{"type": "function", "name": n, "description": d, "parameters": p, "strict": False} for n, d, p in tools]
        if more.get("max_tokens"):
            body["max_output_tokens"] = more["max_tokens"]
        if more.get("schema"):
            body["text"] = {"format": {"type": "json_schema", "name": "person", "schema": more["schema"], "strict": True}}
        if more.get("forced"):
            body["tool_choice"] = {"type": "function", "name": more["forced"]}
        return Responses.path, body

    @classmethod
    def whole(cls, b):
        if b.get("object") != "response":
            assert set(b["error"]) >= {"message", "type", "param", "code"}, b
            return meant(error=b["error"])
        for k in ("id", "created_at", "status", "error", "incomplete_details", "instructions", "metadata", "model", "output", "parallel_tool_calls",
                  "temperature", "tool_choice", "tools", "top_p", "usage"):
            assert k in b, k
        r, ids = meant(), []
        for it in b["output"]:
            ids.append(it["id"])
            if it["type"] == "message":
                assert it["role"] == "assistant" and it["status"] in ("completed", "incomplete")
                for p in it["content"]:
                    if p["type"] == "refusal":
                        r["refusal"] += p["refusal"]
                    else:
                        assert p["type"] == "output_text" and isinstance(p["annotations"], list)
                        r["text"] += p["text"]
            elif it["type"] == "reasoning":
                r["thought"] += "".join(s["text"] for s in it["summary"]) or "".join(s["text"] for s in it.get("content") or [])
            else:
                assert it["type"] == "function_call" and it["call_id"] and it["call_id"] != it["id"], it
                r["calls"].append((it["name"], it["arguments"]))
        assert len(set(ids)) == len(ids) and all(ids)
        reason = (b["incomplete_details"] or {}).get("reason")
        assert (b["status"] == "incomplete") == bool(reason), b["status"]
        r["stop"] = {"max_output_tokens": "length", "content_filter": "filter"}[reason] if reason else "tools" if r["calls"] else "end"
        u = b["usage"]
        assert u["total_tokens"] == u["input_tokens"] + u["output_tokens"]
        r["usage"] = {"input": u["input_tokens"], "output": u["output_tokens"], "cached": u["input_tokens_details"]["cached_tokens"],
                      "thought": u["output_tokens_details"]["reasoning_tokens"]}
        return r

    @classmethod
    def stream(cls, body):
        events = [(n, json.loads(d)) for n, d in events_of(body)]
        assert all(n == d["type"] for n, d in events)
        assert [d["sequence_number"] for n, d in events] == list(range(len(events))), "sequence numbers"
        names = [n for n, d in events]
        if names[-1] in ("error", "response.failed"):
            d = events[-1][1]
            return meant(error=d if names[-1] == "error" else d["response"]["error"])
        assert names[:2] == ["response.created", "response.in_progress"] and names[-1] in ("response.completed", "response.incomplete"), names
        items, pieces = {}, {}
        for n, d in events[2:-1]:
            k = d["output_index"]
            if n == "response.output_item.added":
                assert k == len(items), "items come in order"
                items[k] = None
                pieces[k] = ""
                assert d["item"]["id"]
            elif n == "response.output_item.done":
                items[k] = d["item"]
                whole = {"message": lambda i: "".join(p.get("text", p.get("refusal", "")) for p in i["content"]),
                         "function_call": lambda i: i["arguments"], "reasoning": lambda i: "".join(s["text"] for s in i["summary"] or i.get("content") or [])}[d["item"]["type"]](d["item"])
                assert whole == pieces[k], (whole, pieces[k])
            elif n.endswith(".delta"):
                assert d["item_id"] and items[k] is None
                pieces[k] += d["delta"]
                if n == "response.output_text.delta":
                    assert isinstance(d["logprobs"], list)
            elif n in ("response.output_text.done", "response.function_call_arguments.done"):
                assert d.get("text", d.get("arguments")) == pieces[k]
        last = events[-1][1]["response"]
        assert last["output"] == [items[k] for k in sorted(items)], "the last event holds all items"
        return cls.whole(last)


class Gemini:
    name = "gemini"
    stops = {"STOP": "end", "MAX_TOKENS": "length", "SAFETY": "filter", "PROHIBITED_CONTENT": "filter"}

    @staticmethod
    def ask(model, turns, tools=(), stream=False, **more):
        contents, body = [], {}
        for role, what in turns:
            if role == "system":
                body["systemInstruction"] = {"parts": [{"text": what}]}
            elif role == "results":
                contents.append({"role": "user", "parts": [{"functionResponse": {"id": i, "name": n, "response": {"output": t}}} for i, n, t in what]})
            elif role == "calls":
                contents.append({"role": "model", "parts": [{"functionCall": {"id": i, "name": n, "args": a}} for i, n, a in what]})
            elif role == "image":
                contents.append({"role": "user", "parts": [{"text": what[0]}, {"inlineData": {"mimeType": "image/png", "data": what[1]}}]})
            else:
                contents.append({"role": {"assistant": "model"}.get(role, role), "parts": [{"text": what}]})
        body["contents"] = contents
        if tools:
            body["tools"] = [{"functionDeclarations": [{"name": n, "description": d, "parametersJsonSchema": p} for n, d, p in tools]}]
        g = {}
        if more.get("max_tokens"):
            g["maxOutputTokens"] = more["max_tokens"]
        if more.get("schema"):
            g.update(responseMimeType="application/json", responseJsonSchema=more["schema"])
        if g:
            body["generationConfig"] = g
        if more.get("forced"):
            body["toolConfig"] = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [more["forced"]]}}
        return "/v1beta/models/%s:%s" % (model, "streamGenerateContent?alt=sse" if stream else "generateContent"), body

    @classmethod
    def add(cls, r, b):
        assert b["responseId"] and b["modelVersion"]
        for c in b.get("candidates", []):
            for p in (c.get("content") or {}).get("parts", []):
                if "functionCall" in p:
                    assert isinstance(p["functionCall"].get("args", {}), dict)
                    r["calls"].append((p["functionCall"]["name"], json.dumps(p["functionCall"].get("args", {}))))
                elif p.get("thought"):
                    r["thought"] += p.get("text", "")
                else:
                    r["text"] += p.get("text", "")
            if c.get("finishReason"):
                assert not r["stop"]
                r["stop"] = cls.stops[c["finishReason"]]
        if b.get("usageMetadata"):
            u = b["usageMetadata"]
            r["usage"] = {"input": u["promptTokenCount"], "output": u.get("candidatesTokenCount", 0) + u.get("thoughtsTokenCount", 0),
                          "cached": u.get("cachedContentTokenCount", 0), "thought": u.get("thoughtsTokenCount", 0)}

    @classmethod
    def whole(cls, b):
        if "error" in b:
            assert isinstance(b["error"]["code"], int) and b["error"]["message"] and b["error"]["status"]
            return meant(error=b["error"])
        r = meant()
        cls.add(r, b)
        if r["stop"] == "end" and r["calls"]:
            r["stop"] = "tools"
        return r

    @classmethod
    def stream(cls, body):
        r = meant()
        for n, d in events_of(body, "\r\n"):
            assert n is None
            b = json.loads(d)
            if "error" in b:
                return meant(error=b["error"])
            cls.add(r, b)
        if r["stop"] == "end" and r["calls"]:
            r["stop"] = "tools"
        return r


CLIENTS = [Chat, Messages, Responses, Gemini]
WEATHER = ("get_weather", "The weather in a city", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
TIME = ("get_time", "The time", {"type": "object", "properties": {}})
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"], "additionalProperties": False}


class Exchange:
    """Both sides of one question: what came back, and what the provider received."""

    def __init__(self, gateway, mock, client, model, turns, stream, headers=None, **more):
        path, body = client.ask(model, turns, stream=stream, **more)
        mock.reset()
        self.r = gateway.request("POST", path, body, dict({"content-type": "application/json", "authorization": "Bearer sk-client"}, **(headers or {})))
        self.seen = mock.requests()
        self.body = body
        kind = self.r.getheader("content-type") or ""
        self.got = client.stream(self.r.body) if kind.startswith("text/event-stream") else client.whole(json.loads(self.r.body))


def check(client, model, case, got, status):
    a = provider.CASES[case]
    where = "%s %s" % (client.name, model)
    if a.error:
        assert got["error"] and status >= 400, (where, got)
        return
    assert not got["error"] and status == 200, (where, status, got)
    lossy_refusal = model != "to-chat" and model != "to-responses"      # elsewhere a refusal is text, or a filter
    want_text = a.text + (a.refusal if lossy_refusal or client in (Messages, Gemini) else "")
    if not a.refusal:
        assert got["text"] == a.text, (where, got["text"], a.text)
    else:
        assert got["text"] + got["refusal"] == a.refusal or want_text == got["text"], (where, got)
    assert [n for n, x in got["calls"]] == [n for n, x in a.calls], (where, got["calls"])
    for (n, x), (n2, want) in zip(got["calls"], a.calls):
        if isinstance(want, dict):
            assert loads(x) == want, (where, x, want)
    if not a.refusal:
        want = {"sequence": "end"}.get(a.stop, a.stop)
        assert got["stop"] == want, (where, got["stop"], want)
    u, want = got["usage"], a.usage
    assert u["input"] == want["input"] and u["output"] == want["output"] and u["cached"] == want["cached"], (where, u, want)
    if "thought" in u and model in ("to-chat", "to-responses", "to-gemini"):
        assert u["thought"] == want["thought"], (where, u)
    if a.thought:
        assert got["thought"] == a.thought, (where, got["thought"])


def with_both(f):
    mock = Provider()
    g = Gateway(configuration(mock.port), env=ACCESS)
    try:
        f(g, mock)
    finally:
        g.stop()
        mock.stop()


@test
def every_case_survives_every_pair_of_dialects():
    def run(g, mock):
        n, failures = 0, []
        for client in CLIENTS:
            for model in models(0):
                for case in provider.CASES:
                    if case == "broken":
                        continue
                    for stream in (False, True):
                        n += 1
                        try:
                            e = Exchange(g, mock, client, model, [("system", "Be brief."), ("user", "case:" + case)], stream, tools=[WEATHER, TIME])
                            last = e.seen[-1]
                            assert not last["problems"], "the provider refused: %s\n%s" % (last["problems"], last["raw"][:600])
                            check(client, model, case, e.got, e.r.status)
                        except Exception as x:
                            failures.append("%s -> %s %s %s: %s: %s" % (client.name, model, case, "stream" if stream else "json", type(x).__name__, str(x)[:300]))
        print("     %d exchanges, %d wrong" % (n, len(failures)))
        assert not failures, "\n".join(failures[:40])
    with_both(run)


@test
def a_whole_conversation_with_tools_and_images_is_understood():
    turns = [("system", "You are terse."), ("image", ("What is this?", PNG)), ("calls", [("call_aaaaaaaaa1", "get_weather", {"city": "Bern"}), ("call_bbbbbbbbb2", "get_time", {})]),
             ("results", [("call_aaaaaaaaa1", "get_weather", "sunny"), ("call_bbbbbbbbb2", "get_time", "noon")]), ("assistant", "It is sunny at noon."), ("user", "Thanks. case:text")]

    def run(g, mock):
        failures = []
        for client in CLIENTS:
            for model in models(0):
                try:
                    e = Exchange(g, mock, client, model, turns, False, tools=[WEATHER, TIME], max_tokens=77)
                    assert not e.seen[-1]["problems"], (e.seen[-1]["problems"], e.seen[-1]["raw"][:900])
                    check(client, model, "text", e.got, e.r.status)
                    raw = e.seen[-1]["raw"]
                    for word in ("terse", PNG, "Bern", "sunny", "noon", "77"):
                        assert word in raw, "%s is lost: %s" % (word, raw[:900])
                except Exception as x:
                    failures.append("%s -> %s: %s" % (client.name, model, str(x)[:700]))
        assert not failures, "\n".join(failures)
    with_both(run)


@test
def forced_tools_and_schemas_are_said_in_every_format():
    def run(g, mock):
        failures = []
        for client in CLIENTS:
            for model in models(0):
                try:
                    e = Exchange(g, mock, client, model, [("user", "case:tool")], True, tools=[WEATHER, TIME], forced="get_weather")
                    assert not e.seen[-1]["problems"], e.seen[-1]["problems"]
                    b = json.dumps({k: v for k, v in e.seen[-1]["body"].items() if k in ("tool_choice", "toolConfig")})
                    assert "get_weather" in b, b
                    e = Exchange(g, mock, client, model, [("user", "case:json")], False, schema=PERSON)
                    assert not e.seen[-1]["problems"], e.seen[-1]["problems"]
                    assert '"age"' in e.seen[-1]["raw"].replace("\\", ""), "the schema is lost: %s" % e.seen[-1]["raw"][:500]
                    check(client, model, "json", e.got, e.r.status)
                except Exception as x:
                    failures.append("%s -> %s: %s" % (client.name, model, str(x)[:700]))
        assert not failures, "\n".join(failures)
    with_both(run)


@test
def a_stream_that_breaks_ends_with_the_clients_own_error_event():
    def run(g, mock):
        failures = []
        for client in CLIENTS:
            for model in models(0):
                try:
                    e = Exchange(g, mock, client, model, [("user", "case:broken")], True)
                    assert e.got["error"], e.got
                except Exception as x:
                    failures.append("%s -> %s: %s: %s" % (client.name, model, type(x).__name__, str(x)[:400]))
        assert not failures, "\n".join(failures)
    with_both(run)


@test
def errors_keep_their_meaning_and_say_it_in_the_clients_words():
    want = {  # case -> status by client
        "rate-limit": {"chat": 429, "messages": 429, "responses": 429, "gemini": 429}, "invalid": {"chat": 400, "messages": 400, "responses": 400, "gemini": 400},
        "overloaded": {"chat": 503, "messages": 529, "responses": 503, "gemini": 503}, "denied": {"chat": 502, "messages": 502, "responses": 502, "gemini": 502},
        "server-error": {"chat": 500, "messages": 500, "responses": 500, "gemini": 500},
    }

    def run(g, mock):
        failures = []
        for client in CLIENTS:
            for model in models(0):
                for case, by_client in want.items():
                    e = Exchange(g, mock, client, model, [("user", "case:" + case)], False)
                    if e.r.status != by_client[client.name]:
                        failures.append("%s -> %s %s: status %d, not %d" % (client.name, model, case, e.r.status, by_client[client.name]))
                    if case == "rate-limit" and not e.r.getheader("retry-after"):
                        failures.append("%s -> %s: retry-after is lost" % (client.name, model))
        assert not failures, "\n".join(failures)
    with_both(run)


@test
def bedrock_says_in_a_header_what_went_wrong_whatever_the_status():
    def run(g, mock):
        for model in ("to-converse", "to-invoke"):
            r = g.request("POST", "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "case:odd-status"}]})
            assert r.status == 429 and json.loads(r.body)["error"]["message"] == "slow down", (r.status, r.body)
            r = g.request("POST", "/v1/messages", {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "case:odd-status"}]})
            assert r.status == 429 and json.loads(r.body)["error"]["type"] == "rate_limit_error", (r.status, r.body)
    with_both(run)


@test
def an_answer_of_converse_has_the_id_that_amazon_knows():
    def run(g, mock):
        for client in CLIENTS:
            for stream in (False, True) if client.name != "responses" else ():      # whose answers are found by ids of ours
                e = Exchange(g, mock, client, "to-converse", [("user", "case:text")], stream)
                assert b"amzn-" in e.r.body, (client.name, stream, e.r.body[:500])
    with_both(run)


@test
def the_prompts_tokens_that_a_stream_begins_with_do_not_count_the_answer():
    def run(g, mock):
        for model in ("to-chat", "to-responses", "to-converse"):
            r = g.request("POST", "/v1/messages", {"model": model, "stream": True, "max_tokens": 2048, "messages": [{"role": "user", "content": "case:text"}]})
            start = json.loads(events_of(r.body)[0][1])
            assert 0 < start["message"]["usage"]["input_tokens"] < 100, start
    with_both(run)


@test
def a_continued_response_names_the_one_before_whoever_made_it():
    def run(g, mock):
        for model in models(0):
            first = json.loads(g.request("POST", "/v1/responses", {"model": model, "input": "case:text"}).body)
            for stream in (False, True):
                r = g.request("POST", "/v1/responses", {"model": model, "input": "case:text", "previous_response_id": first["id"], "stream": stream})
                told = [json.loads(d).get("response") for _, d in events_of(r.body)] if stream else [json.loads(r.body)]
                told = [t for t in told if t]
                assert told and all(t["previous_response_id"] == first["id"] for t in told), (model, stream, told)
    with_both(run)


@test
def a_response_is_kept_as_it_was_told():
    def run(g, mock):
        for model in models(0):
            first = json.loads(g.request("POST", "/v1/responses", {"model": model, "input": "case:tool", "tools": [
                {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}).body)
            call = next(i["call_id"] for i in first["output"] if i["type"] == "function_call")
            r = g.request("POST", "/v1/responses", {"model": model, "stream": True, "previous_response_id": first["id"], "input": [
                {"type": "function_call_output", "call_id": call, "output": "x"}, {"role": "user", "content": "case:thought"}]})
            second = json.loads(events_of(r.body)[-1][1])["response"]
            for told in (first, second):
                kept = json.loads(wait_for(lambda: [x.body for x in [g.request("GET", "/v1/responses/" + told["id"])] if x.status == 200], message="stored")[0])
                assert kept == told, (model, told, kept)
    with_both(run)


@test
def every_item_of_a_stored_input_has_a_status():
    def run(g, mock):
        turns = [{"role": "user", "content": "case:text"}, {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                 {"type": "function_call_output", "call_id": "c1", "output": "x"}]
        made = json.loads(g.request("POST", "/v1/responses", {"model": "to-chat", "input": turns}).body)
        items = json.loads(g.request("GET", "/v1/responses/%s/input_items" % made["id"]).body)["data"]
        assert len(items) == 3 and all(i["status"] == "completed" for i in items), items
    with_both(run)


@test
def the_same_dialect_passes_through_byte_for_byte():
    odd = b'{ "model" : "to-anthropic" ,"max_tokens":50, "messages":[{"role":"user","content":"case:text"}],\n "context_management": {"edits":[ 1.50 ]} }'

    def run(g, mock):
        mock.reset()
        g.request("POST", "/v1/messages", odd, {"content-type": "application/json", "x-api-key": "k", "anthropic-beta": "a,b", "anthropic-version": "2026-10-21"})
        seen = mock.requests()[-1]
        assert seen["raw"].encode() == odd.replace(b'"to-anthropic"', b'"m-to-anthropic"'), seen["raw"]
        h = {k.lower(): v for k, v in seen["headers"].items()}
        assert h["anthropic-beta"] == "a,b" and h["anthropic-version"] == "2026-10-21" and h["x-api-key"] == "sk-up", h
    with_both(run)


@test
def what_cannot_be_said_is_refused_by_name_or_dropped_with_a_warning():
    def run(g, mock):
        r = g.request("POST", "/v1/chat/completions", {"model": "to-anthropic", "n": 2, "messages": [{"role": "user", "content": "x"}]})
        assert r.status == 400 and json.loads(r.body)["error"]["param"] == "n", r.body
        r = g.request("POST", "/v1/messages", {"model": "to-chat", "max_tokens": 9, "top_k": 4, "messages": [{"role": "user", "content": "x"}]})
        assert r.status == 200 and "top_k" in (r.getheader("x-vsr-protocol-warnings") or ""), (r.status, r.getheaders())
        assert r.getheader("x-vsr-client-protocol") == "anthropic" and r.getheader("x-vsr-upstream-protocol") == "openai"
    with_both(run)

    mock = Provider()
    g = Gateway(configuration(mock.port, "  translation: {unsupported: drop}\n"), env=ACCESS)
    try:
        r = g.request("POST", "/v1/chat/completions", {"model": "to-anthropic", "n": 2, "messages": [{"role": "user", "content": "x"}]})
        assert r.status == 200 and "n" in (r.getheader("x-vsr-protocol-warnings") or ""), r.body
    finally:
        g.stop()
        mock.stop()


@test
def wrong_requests_are_refused_in_the_clients_dialect():
    def run(g, mock):
        r = g.request("POST", "/v1/messages", {"model": "to-chat", "max_tokens": 5, "messages": 7})
        b = json.loads(r.body)
        assert r.status == 400 and b["type"] == "error" and b["error"]["type"] == "invalid_request_error" and "messages" in b["error"]["message"], b
        r = g.request("POST", "/v1/messages", {"model": "nobody", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]})
        assert r.status == 404 and json.loads(r.body)["error"]["type"] == "not_found_error", r.body
        r = g.request("POST", "/v1beta/models/nobody:generateContent", {"contents": [{"parts": [{"text": "x"}]}]})
        assert r.status == 404 and json.loads(r.body)["error"]["status"] == "NOT_FOUND", r.body
        r = g.request("POST", "/v1beta/models/to-chat:generateContent", {"contents": {}})
        assert r.status == 400 and json.loads(r.body)["error"]["status"] == "INVALID_ARGUMENT", r.body
        r = g.request("POST", "/v1/responses", {"model": "to-chat", "input": 5})
        assert r.status == 400 and json.loads(r.body)["error"]["type"] == "invalid_request_error", r.body
    with_both(run)


@test
def tokens_are_counted_and_models_listed_in_each_dialect():
    def run(g, mock):
        r = g.request("POST", "/v1/messages/count_tokens", {"model": "to-chat", "messages": [{"role": "user", "content": "Hello there, how are you today?"}]})
        assert r.status == 200 and 5 <= json.loads(r.body)["input_tokens"] <= 20, r.body
        r = g.request("POST", "/v1beta/models/to-chat:countTokens", {"contents": [{"parts": [{"text": "Hello there, how are you today?"}]}]})
        assert r.status == 200 and 5 <= json.loads(r.body)["totalTokens"] <= 20, r.body
        r = g.request("GET", "/v1/models", headers={"anthropic-version": "2023-06-01"})
        b = json.loads(r.body)
        assert b["data"][0]["type"] == "model" and b["has_more"] is False, b
        r = g.request("GET", "/v1beta/models")
        assert json.loads(r.body)["models"][0]["name"].startswith("models/"), r.body
        assert g.request("HEAD", "/").status == 200
    with_both(run)


if __name__ == "__main__":
    main()
