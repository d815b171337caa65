#!/usr/bin/env python3
"""The state of the Responses API over real sockets: turns that refer to earlier ones, whatever provider answered; owners; a process
that is killed; signatures that a client forgets.

The provider speaks chat, Responses and Gemini and answers with what it was sent, so that a test can see the whole prompt."""
import http.server, shutil

from harness import *


class Upstream(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), UpstreamHandler)
        self.seen = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class UpstreamHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append(body)
        if "input" in body:
            is_stream = body.get("stream", False)
            data = responses(body, is_stream, len(self.server.seen))
        elif "contents" in body:
            answer, is_stream = gemini(body), "stream" in self.path
            data = "data: %s\r\n\r\n" % json.dumps(answer) if is_stream else json.dumps(answer)
        else:
            is_stream = body.get("stream", False)
            data = chat(body, is_stream)
        data = data.encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if is_stream else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


def chat(body, is_stream):
    said = " | ".join("%s:%s" % (m["role"], m["content"] or "call") for m in body["messages"])
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    message = {"role": "assistant", "content": said}
    finish = "stop"
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        message = {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}}]}
        finish = "tool_calls"
    head = {"id": "c1", "created": 1700000000, "model": "m"}
    if not is_stream:
        return json.dumps(dict(head, object="chat.completion", usage=usage,
                               choices=[{"index": 0, "message": message, "finish_reason": finish}]))
    deltas = [dict(message), {}]
    for call in deltas[0].get("tool_calls", []):
        call["index"] = 0
    chunks = [dict(head, object="chat.completion.chunk", choices=[{"index": 0, "delta": d, "finish_reason": f}])
              for d, f in zip(deltas, (None, finish))]
    chunks.append(dict(head, object="chat.completion.chunk", choices=[], usage=usage))
    return "".join("data: %s\n\n" % json.dumps(c) for c in chunks) + "data: [DONE]\n\n"


def responses(body, is_stream, n):
    answer = {"id": "resp_up%d" % n, "object": "response", "created_at": 1700000000, "status": "completed", "error": None,
              "incomplete_details": None, "model": "m", "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "odd": n,
              "output": [{"type": "message", "id": "msg_up%d" % n, "role": "assistant", "status": "completed",
                          "content": [{"type": "output_text", "text": "up%d" % n, "annotations": []}]}],
              "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_tokens_details": {"cached_tokens": 0},
                        "output_tokens_details": {"reasoning_tokens": 0}}}
    if not is_stream:
        return json.dumps(answer)
    events = [{"type": "response.created", "sequence_number": 0, "response": dict(answer, status="in_progress", output=[])},
              {"type": "response.completed", "sequence_number": 1, "response": answer}]
    return "".join("event: %s\ndata: %s\n\n" % (e["type"], json.dumps(e)) for e in events)


def gemini(body):
    if body["contents"][-1]["parts"][-1].get("functionResponse"):
        parts = [{"text": "done"}]
    else:
        parts = [{"functionCall": {"id": "g1", "name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "U0lHTg=="}]
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}, "modelVersion": "gemini-3-pro", "responseId": "r1"}


def configuration(up, extra="", store="store_backend: memory"):
    return """version: v0.3
providers:
  defaults: {default_model: m}
  models:
    - {name: m, backend_refs: [{name: a, base_url: "http://127.0.0.1:%d/v1", provider: openai, api_key: k}]}
    - {name: r, api_format: responses, backend_refs: [{name: a, base_url: "http://127.0.0.1:%d/v1", provider: openai, api_key: k}]}
    - {name: gemini-3-pro, api_format: gemini, backend_refs: [{name: b, base_url: "http://127.0.0.1:%d", provider: gemini, api_key: k}]}
routing: {}
global:
  services: {observability: {access_log: "off"}, response_api: {%s}}
%s""" % (up.server_port, up.server_port, up.server_port, store, extra)


TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]


def ask(g, want=200, headers=None, **body):
    r = g.request("POST", "/v1/responses", dict({"model": "m"}, **body), headers)
    assert r.status == want, (r.status, r.body)
    if body.get("stream"):
        return json.loads(r.body.decode().strip().rsplit("data: ", 1)[1])["response"]
    return json.loads(r.body)


def get(g, path, want=200, headers=None, method="GET", body=None):
    r = g.request(method, path, body, headers)
    assert r.status == want, (r.status, r.body)
    return json.loads(r.body)


def text(response):
    return "".join(p["text"] for i in response["output"] if i["type"] == "message" for p in i["content"])


def with_gateway(run, **more):
    up = Upstream()
    g = Gateway(configuration(up, **more))
    try:
        run(g, up)
    finally:
        g.stop()
        up.shutdown()


@test
def a_response_is_gone_on_with():
    def run(g, up):
        for stream in (False, True):
            one = ask(g, input="hello", instructions="be brief", stream=stream)
            assert text(one) == "system:be brief | user:hello"
            two = ask(g, input="more", previous_response_id=one["id"], stream=stream)
            assert text(two) == "user:hello | assistant:system:be brief | user:hello | user:more", text(two)
            assert two["previous_response_id"] == one["id"]
            assert get(g, "/v1/responses/" + two["id"]) == two
            items = get(g, "/v1/responses/%s/input_items" % two["id"])
            assert [i["content"][0]["text"] for i in items["data"]] == ["more"] and items["has_more"] is False
            assert get(g, "/v1/responses/" + one["id"], method="DELETE") == {"id": one["id"], "object": "response", "deleted": True}
            get(g, "/v1/responses/" + one["id"], 404)
            e = ask(g, 404, input="x", previous_response_id=two["id"])["error"]     # its history has a hole now
            assert e["code"] == "previous_response_not_found" and e["param"] == "previous_response_id", e
    with_gateway(run)


@test
def a_tool_loop_may_refer_to_items_by_id():
    def run(g, up):
        one = ask(g, input="call", tools=TOOLS, stream=True)
        call = one["output"][0]
        assert call["type"] == "function_call" and call["id"].startswith("fc_")
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        ask(g, input=[result], previous_response_id=one["id"], tools=TOOLS)
        ask(g, input=[{"role": "user", "content": "call"}, {"type": "item_reference", "id": call["id"]}, result], tools=TOOLS)
        for body in up.seen[-2:]:
            assert [m["role"] for m in body["messages"]] == ["user", "assistant", "tool"], body["messages"]
            assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{\"city\":\"Paris\"}"
        ask(g, 404, input=[{"type": "item_reference", "id": "fc_unknown"}])
    with_gateway(run)


@test
def a_conversation_collects_its_items():
    def run(g, up):
        c = get(g, "/v1/conversations", method="POST", body={"metadata": {"a": "b"}, "items": [{"role": "user", "content": "one"}]})
        assert c["object"] == "conversation" and c["metadata"] == {"a": "b"}
        for conversation in (c["id"], {"id": c["id"]}):
            r = ask(g, input="next", conversation=conversation)
            assert r["conversation"] == {"id": c["id"]}, r
        assert len(up.seen[-1]["messages"]) == 4
        seen, after = [], ""
        while True:
            page = get(g, "/v1/conversations/%s/items?order=asc&limit=2%s" % (c["id"], after))
            seen += page["data"]
            after = "&after=" + page["last_id"]
            if not page["has_more"]:
                break
        assert [i["role"] for i in seen] == ["user", "user", "assistant", "user", "assistant"], seen
        get(g, "/v1/conversations/%s/items/%s" % (c["id"], seen[0]["id"]), method="DELETE")
        assert len(get(g, "/v1/conversations/%s/items" % c["id"])["data"]) == 4
        assert get(g, "/v1/conversations/" + c["id"], method="POST", body={"metadata": {"n": "m"}})["metadata"] == {"n": "m"}
        assert get(g, "/v1/conversations/" + c["id"], method="DELETE")["deleted"] is True
        e = ask(g, 404, input="x", conversation=c["id"])["error"]
        assert e["code"] == "conversation_not_found" and e["param"] == "conversation", e
    with_gateway(run)


@test
def what_is_not_stored_or_not_offered_says_so():
    def run(g, up):
        r = ask(g, input="x", store=False)
        assert r["store"] is False
        get(g, "/v1/responses/" + r["id"], 404)
        for body, param in (({"background": True}, "background"),
                            ({"previous_response_id": "a", "conversation": "b"}, "previous_response_id")):
            e = ask(g, 400, input="x", **body)["error"]
            assert e["param"] == param and set(e) == {"message", "type", "param", "code"}, e
        one = ask(g, input="x")
        get(g, "/v1/responses/%s/cancel" % one["id"], 400, method="POST")
        get(g, "/v1/responses/%s/input_items?limit=0" % one["id"], 400)
        get(g, "/v1/responses/%s/input_items?after=nothing" % one["id"], 400)
        get(g, "/v1/responses/%s/what" % one["id"], 404)
    with_gateway(run)
    def off(g, up):
        r = ask(g, input="x")
        get(g, "/v1/responses/" + r["id"], 400)
        assert "response_api" in ask(g, 400, input="x", previous_response_id=r["id"])["error"]["message"]
    with_gateway(off, store="enabled: false")


@test
def ids_belong_to_the_key_that_made_them():
    keys = "  identity:\n    keys: [{id: ann, secret: secret-of-ann, owner: ann}, {id: bob, secret: secret-of-bob, owner: bob}]\n"
    ann, bob = ({"authorization": "Bearer sbx-%s-secret-of-%s" % (n, n)} for n in ("ann", "bob"))
    def run(g, up):
        one = ask(g, input="mine", headers=ann)
        c = get(g, "/v1/conversations", method="POST", body={}, headers=ann)
        get(g, "/v1/responses/" + one["id"], 200, ann)
        for method, path in (("GET", "/v1/responses/" + one["id"]), ("DELETE", "/v1/responses/" + one["id"]),
                             ("GET", "/v1/responses/%s/input_items" % one["id"]), ("POST", "/v1/responses/%s/cancel" % one["id"]),
                             ("GET", "/v1/conversations/" + c["id"]), ("DELETE", "/v1/conversations/" + c["id"]),
                             ("GET", "/v1/conversations/%s/items" % c["id"])):
            get(g, path, 404, bob, method)
        ask(g, 404, input="x", previous_response_id=one["id"], headers=bob)
        ask(g, 404, input="x", conversation=c["id"], headers=bob)
        ask(g, 404, input=[{"type": "item_reference", "id": one["output"][0]["id"]}], headers=bob)
        get(g, "/v1/responses/" + one["id"], 200, ann)
    with_gateway(run, extra=keys)


@test
def a_killed_gateway_has_kept_what_it_told():
    up = Upstream()
    folder = tempfile.mkdtemp(prefix="e2e-")
    text_of = configuration(up, store='store_backend: sqlite, path: "%s/state.db"' % folder)
    told = []
    try:
        for round in range(3):
            g = Gateway(text_of)
            for one in told:
                assert get(g, "/v1/responses/" + one["id"]) == one
            told += [ask(g, input="n%d.%d" % (round, i)) for i in range(5)]
            g.stop(signal.SIGKILL)
    finally:
        up.shutdown()
        shutil.rmtree(folder)


@test
def a_forgotten_signature_is_remembered_for_gemini():
    def run(g, up):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
        for stream in (False, True):
            first = {"role": "user", "content": "weather?"}
            r = g.request("POST", "/v1/chat/completions", {"model": "gemini-3-pro", "messages": [first], "tools": tools, "stream": stream})
            assert r.status == 200 and b"g1" in r.body, r.body
            call = {"id": "g1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}}
            messages = [first, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "g1", "content": "hot"}]
            r = g.request("POST", "/v1/chat/completions", {"model": "gemini-3-pro", "messages": messages, "tools": tools})
            assert r.status == 200, r.body
            assert up.seen[-1]["contents"][1]["parts"][0]["thoughtSignature"] == "U0lHTg==", up.seen[-1]
            call["id"] = "unknown"
            messages[2]["tool_call_id"] = "unknown"
            g.request("POST", "/v1/chat/completions", {"model": "gemini-3-pro", "messages": messages, "tools": tools})
            assert up.seen[-1]["contents"][1]["parts"][0]["thoughtSignature"] == "skip_thought_signature_validator", up.seen[-1]
    with_gateway(run)


@test
def history_goes_to_another_provider():
    def run(g, up):
        one = ask(g, input="call", tools=TOOLS, model="gemini-3-pro")
        call = [i for i in one["output"] if i["type"] == "function_call"][0]
        result = [{"type": "function_call_output", "call_id": call["call_id"], "output": "hot"}]
        two = ask(g, input=result, previous_response_id=one["id"], tools=TOOLS, model="gemini-3-pro")
        assert text(two) == "done"
        assert up.seen[-1]["contents"][1]["parts"][0]["thoughtSignature"] == "U0lHTg==", up.seen[-1]
        three = ask(g, input="and now", previous_response_id=two["id"], model="m")
        assert [m["role"] for m in up.seen[-1]["messages"]] == ["user", "assistant", "tool", "assistant", "user"], up.seen[-1]
        assert "U0lHTg" not in json.dumps(up.seen[-1]["messages"][1]["tool_calls"][0]["function"])
    with_gateway(run)


@test
def an_answer_that_is_passed_on_is_kept_under_its_own_id():
    def run(g, up):
        for stream in (False, True):
            one = ask(g, input="a", model="r", stream=stream)
            assert one["id"] == "resp_up%d" % len(up.seen) and one["odd"] == len(up.seen), one
            assert get(g, "/v1/responses/" + one["id"])["odd"] == one["odd"]
            two = ask(g, input="b", model="r", previous_response_id=one["id"], stream=stream, custom=7)
            sent = up.seen[-1]
            assert "previous_response_id" not in sent and sent["custom"] == 7, sent
            assert [i["role"] for i in sent["input"]] == ["user", "assistant", "user"] and "id" not in sent["input"][1], sent
            kept = get(g, "/v1/responses/" + two["id"])
            assert kept["previous_response_id"] == one["id"] and text(kept) == text(two)
            three = ask(g, input="c", model="m", previous_response_id=two["id"])
            assert text(three).startswith("user:a | assistant:up"), three
    with_gateway(run)


if __name__ == "__main__":
    main()
